/*
 * `pgkeep init`: makes state directory and keystore before the first start, with a root secret and,
 * if there is a place to hand it out, a recovery code; says where things lie and what to do next.
 * The first `serve` makes the keystore too, unless keystore.create = never, but never a code: its
 * output ends in journals.
 */
#include "cli/offline.h"

#include "base/log.h"
#include "engine/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void tell_what(const char *state, const pk_keystore_summary *summary)
{
    (void)printf("keystore            %s\n", summary->uuid);
    (void)printf("identity            %s\n", summary->identity);
    (void)printf("service master key  %s\n", summary->service_master_key);
    (void)printf("state directory     %s\n", state);
    (void)fflush(stdout); /* the code goes around stdio */
}

/* What was given here has to be given to `serve`, too. A connection string may hold a password. */
static void tell_start(const pk_config *config, const char *file, const char *state)
{
    const char *service = pk_config_text(config, PK_OPT_SERVICE_CONNINFO);
    const bool shown = strstr(service, "pass") == NULL && strchr(service, '@') == NULL &&
                       strchr(service, '\'') == NULL;
    (void)printf("  2. Start: pgkeep serve");
    if (file != NULL)
        (void)printf(" --config %s", file);
    (void)printf(" --state %s", state);
    if (file == NULL && service[0] != '\0')
        (void)printf(" --service '%s'", shown ? service : "...");
    (void)printf("\n");
}

static void tell_next(const pk_config *config, const char *file, const char *state, bool has_code)
{
    (void)printf("\n"
                 "Everything under the state directory is needed to open the keystore again, and "
                 "whoever can\nread it can open it.\n");
    if (has_code)
        (void)printf("If root.key is lost, the recovery code opens the keystore: UNSEAL WITH "
                     "RECOVERY CODE = '...'.\n");
    else
        (void)printf("root.key is the only way in: its loss loses every key. Make a recovery code, "
                     "on a terminal or\ninto a file:\n"
                     "         pgkeep key recovery --to FILE --state %s\n",
                     state);
    (void)printf("\n"
                 "Next:\n"
                 "  1. Let keys be written to a directory that is backed up:\n"
                 "         [keys]\n"
                 "         allowed_roots = /var/backups/pgkeep\n");
    tell_start(config, file, state);
    (void)printf("  3. Back up the service master key, and keep the file and its password away "
                 "from this machine:\n"
                 "         BACKUP SERVICE MASTER KEY TO FILE = '/var/backups/pgkeep/smk.pem'\n"
                 "             ENCRYPTION BY PASSWORD = '...';\n");
}

/* The keystore is there; a code that cannot be handed out is made later. */
static bool add_code(const pk_config *config, pk_cli_code *place, pk_error *err)
{
    int64_t slot = 0;
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *keeper = pk_cli_keeper(config, true, err);
    if (keeper != NULL && pk_cli_code_make(place, keeper, "", &slot, err))
        return true;
    pk_error_wrap(err, "the keystore was made, but without a recovery code");
    return pk_error_hint(err, "Make one: pgkeep key recovery --to FILE");
}

static int init(const pk_config *config, const char *to, const char *file)
{
    pk_error err = {0};
    pk_keystore_summary summary;
    PK_AUTO(pk_cli_code_close) pk_cli_code place = PK_CLI_CODE_INIT;
    const char *state = pk_config_text(config, PK_OPT_STATE_DIR);
    const bool wanted = to != NULL || isatty(STDOUT_FILENO);
    if (wanted && !pk_cli_code_open(&place, to, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    pk_log_set_level(PK_LOG_ERROR); /* what a log would say is said here */
    if (!pk_engine_create_keystore(state, &pk_clock_system, &summary, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    tell_what(state, &summary);
    if (wanted && !add_code(config, &place, &err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    if (to != NULL)
        (void)printf("recovery code       in %s\n", to);
    tell_next(config, file, state, wanted);
    return PK_EXIT_OK;
}

static const char *config_file(int count, char *const *args)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(args[i], "--config=", 9) == 0)
            return args[i] + 9;
        if (strcmp(args[i], "--config") == 0 && i + 1 < count)
            return args[i + 1];
    }
    return NULL;
}

int pk_cli_init(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    pk_cli_flag flags[] = {{.name = "recovery-to", .has_value = true}};
    PK_AUTO_PTR(pk_config_free)
    pk_config *config = pk_cli_config_with(count, args, flags, PK_COUNT(flags), &code);
    if (config == NULL)
        return code;
    return init(config, flags[0].value, config_file(count, args));
}
