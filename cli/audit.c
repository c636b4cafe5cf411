/*
 * `pgkeep audit verify`: walks the audit trail's chain and says where it ends. A head that was
 * noted elsewhere (every key file has one) shows whether the whole keystore was put back to an
 * older state, which the chain alone cannot.
 */
#include "cli/offline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int verify(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    pk_error err = {0};
    pk_audit_summary summary;
    pk_cli_flag flags[] = {{.name = "head", .has_value = true}};
    PK_AUTO_PTR(pk_config_free)
    pk_config *config = pk_cli_config_with(count, args, flags, PK_COUNT(flags), &code);
    if (config == NULL)
        return code;
    const char *head = flags[0].value == NULL ? "" : flags[0].value;
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *keeper = pk_cli_keeper(config, true, &err);
    if (keeper == NULL || !pk_keeper_verify_audit(keeper, head, &summary, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    (void)printf("rows   %" PRId64 "\nepoch  %" PRId64 "\nhead   %s\n", summary.rows, summary.epoch,
                 summary.head);
    (void)printf("%s\n", head[0] == '\0' ? "The audit trail is complete and unchanged."
                                         : "The audit trail is complete and unchanged, and "
                                           "contains the given head.");
    return PK_EXIT_OK;
}

int pk_cli_audit(int count, char *const *args)
{
    pk_error err = {0};
    if (count > 0 && strcmp(args[0], "verify") == 0)
        return verify(count - 1, args + 1);
    pk_fail(&err, PK_E_PARAMETER, "what is to be done with the audit trail?");
    pk_error_hint(&err, "pgkeep audit verify [--head HEX].");
    return pk_cli_fail(&err, PK_EXIT_USAGE);
}
