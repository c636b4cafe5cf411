/*
 * `pgkeep init`: makes state directory and keystore before the first start, and says where things
 * lie and what to do next. The same happens at the first `serve`, unless keystore.create = never.
 */
#include "cli/cli.h"

#include "engine/engine.h"

#include <stdio.h>

static void tell(const char *state, const pk_keystore_summary *summary)
{
    (void)printf("keystore            %s\n", summary->uuid);
    (void)printf("identity            %s\n", summary->identity);
    (void)printf("service master key  %s\n", summary->service_master_key);
    (void)printf("state directory     %s\n", state);
    (void)printf("\n"
                 "Everything under the state directory is needed to open the keystore again, and "
                 "whoever can\nread it can open it.\n"
                 "\n"
                 "Next:\n"
                 "  1. Let keys be written to a directory that is backed up:\n"
                 "         [keys]\n"
                 "         allowed_roots = /var/backups/pgkeep\n"
                 "  2. Start: pgkeep serve --state %s\n"
                 "  3. Back up the service master key, and keep the file and its password away "
                 "from this machine:\n"
                 "         BACKUP SERVICE MASTER KEY TO FILE = '/var/backups/pgkeep/smk.pem'\n"
                 "             ENCRYPTION BY PASSWORD = '...';\n",
                 state);
}

int pk_cli_init(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    pk_error err;
    pk_keystore_summary summary;
    PK_AUTO_PTR(pk_config_free) pk_config *config = pk_cli_config(count, args, &code);
    if (config == NULL)
        return code;
    const char *state = pk_config_text(config, PK_OPT_STATE_DIR);
    if (!pk_engine_create_keystore(state, &pk_clock_system, &summary, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    tell(state, &summary);
    return PK_EXIT_OK;
}
