/*
 * `pgkeep key`: unlock slots, SEAL and UNSEAL for those who have a shell instead of a session.
 * While `serve` runs it is asked through its control socket; else the keystore is opened here.
 */
#include "cli/offline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *or_dash(const char *text)
{
    return text == NULL || text[0] == '\0' ? "-" : text;
}

static void day_of(int64_t at, char text[static 21])
{
    if (at == 0)
        (void)snprintf(text, 21, "never");
    else
        pk_time_iso(at, text);
}

static int list_slots(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    pk_error err = {0};
    pk_keeper_status status;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO_PTR(pk_config_free) pk_config *config = pk_cli_config(count, args, &code);
    if (config == NULL)
        return code;
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *keeper = pk_cli_keeper(config, true, &err);
    if (keeper == NULL || !pk_keeper_status_get(keeper, &arena, &status, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    if (strcmp(status.state, "absent") == 0)
        return pk_cli_fail(&status.why, PK_EXIT_FAILED);
    (void)printf("keystore  %s\nstate     %s\n\n", status.uuid, status.state);
    (void)printf("%4s  %-10s %-20s %-20s  %s\n", "slot", "kind", "created", "last used", "label");
    for (size_t i = 0; i < status.slot_count; i++) {
        const pk_slot_info *slot = &status.slots[i];
        char created[21];
        char used[21];
        day_of(slot->created_at, created);
        day_of(slot->last_ok_at, used);
        (void)printf("%4" PRId64 "  %-10s %-20s %-20s  %s\n", slot->id, slot->kind, created, used,
                     or_dash(slot->label));
    }
    if (strcmp(status.state, "sealed") == 0)
        (void)printf("\nsealed, so not checked: %s\n", or_dash(status.why.detail));
    else if (status.slot_count == 1)
        (void)printf("\nA single slot: the loss of what opens it loses every key. "
                     "Add another one: pgkeep key recovery\n");
    return PK_EXIT_OK;
}

static int add_recovery(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    int64_t id = 0;
    pk_error err = {0};
    pk_cli_flag flags[] = {{.name = "to", .has_value = true}, {.name = "label", .has_value = true}};
    PK_AUTO(pk_cli_code_close) pk_cli_code place = PK_CLI_CODE_INIT;
    PK_AUTO_PTR(pk_config_free)
    pk_config *config = pk_cli_config_with(count, args, flags, PK_COUNT(flags), &code);
    if (config == NULL)
        return code;
    if (!pk_cli_code_open(&place, flags[0].value, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *keeper = pk_cli_keeper(config, true, &err);
    const char *label = flags[1].value == NULL ? "" : flags[1].value;
    if (keeper == NULL || !pk_cli_code_make(&place, keeper, label, &id, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    (void)printf("unlock slot %" PRId64 " of kind \"recovery\" was added%s%s\n", id,
                 place.path == NULL ? "" : "; its code is in ",
                 place.path == NULL ? "" : place.path);
    return PK_EXIT_OK;
}

static int drop_slot(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    char actor[32];
    char object[32];
    char *end = NULL;
    pk_error err = {0};
    const long long id = count < 1 ? 0 : strtoll(args[0], &end, 10);
    if (count < 1 || end == args[0] || *end != '\0' || id < 1) {
        pk_fail(&err, PK_E_PARAMETER, "drop-slot needs the number of a slot");
        pk_error_hint(&err, "pgkeep key slots lists them.");
        return pk_cli_fail(&err, PK_EXIT_USAGE);
    }
    PK_AUTO_PTR(pk_config_free) pk_config *config = pk_cli_config(count - 1, args + 1, &code);
    if (config == NULL)
        return code;
    (void)snprintf(object, sizeof object, "slot %lld", id);
    const pk_row_audit audit = pk_cli_audit_row(actor, "ALTER KEYSTORE DROP SLOT", object);
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *keeper = pk_cli_keeper(config, true, &err);
    if (keeper == NULL || !pk_keeper_drop_slot(keeper, id, &audit, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    (void)printf("unlock slot %lld was dropped\n", id);
    return PK_EXIT_OK;
}

/* Only a running `serve` has a state to change. */
static int unseal(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    char actor[32];
    pk_error err = {0};
    pk_cli_flag flags[] = {{.name = "recovery"}};
    PK_AUTO(pk_buf_clear) pk_buf secret = PK_BUF_SECRET(8192);
    PK_AUTO_PTR(pk_config_free)
    pk_config *config = pk_cli_config_with(count, args, flags, PK_COUNT(flags), &code);
    if (config == NULL)
        return code;
    const bool recovery = flags[0].given;
    /* before the connection, which does not wait for slow fingers */
    if (!pk_cli_read_secret(recovery ? "recovery code: " : "password: ", &secret, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    const pk_row_audit audit = pk_cli_audit_row(actor, "UNSEAL", "keystore");
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *keeper = pk_cli_keeper(config, false, &err);
    if (keeper == NULL || !pk_keeper_unseal(keeper, recovery ? "recovery" : "password",
                                            pk_buf_span(&secret), &audit, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    (void)printf("the keystore is open\n");
    return PK_EXIT_OK;
}

static int seal(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    char actor[32];
    pk_error err = {0};
    PK_AUTO_PTR(pk_config_free) pk_config *config = pk_cli_config(count, args, &code);
    if (config == NULL)
        return code;
    const pk_row_audit audit = pk_cli_audit_row(actor, "SEAL", "keystore");
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *keeper = pk_cli_keeper(config, false, &err);
    if (keeper == NULL || !pk_keeper_seal(keeper, &audit, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    (void)printf("the keystore is sealed\n");
    return PK_EXIT_OK;
}

static const struct sub_verb {
    const char *name;
    int (*run)(int count, char *const *args);
} sub_verbs[] = {
    {"slots", list_slots}, {"recovery", add_recovery}, {"drop-slot", drop_slot}, {"unseal", unseal},
    {"seal", seal},
};

int pk_cli_key(int count, char *const *args)
{
    pk_error err = {0};
    const char *name = count < 1 ? "" : args[0];
    for (size_t i = 0; i < PK_COUNT(sub_verbs); i++)
        if (strcmp(name, sub_verbs[i].name) == 0)
            return sub_verbs[i].run(count - 1, args + 1);
    if (name[0] == '\0' || name[0] == '-')
        pk_fail(&err, PK_E_PARAMETER, "what is to be done with the keystore?");
    else
        pk_fail(&err, PK_E_PARAMETER, "pgkeep key does not know \"%s\"", name);
    pk_error_hint(&err, "One of: slots, recovery, drop-slot, unseal, seal. See pgkeep key --help.");
    return pk_cli_fail(&err, PK_EXIT_USAGE);
}
