/*
 * Finds the verb and hands over. The process is hardened before anything else happens: secure heap,
 * no core dumps (keys-and-security).
 */
#include "base/log.h"
#include "cli/cli.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

static const struct verb {
    const char *name;
    int (*run)(int count, char *const *args);
    const char *help;  /* one line */
    const char *usage; /* what --help adds for this verb */
} verbs[] = {
    {"serve", pk_cli_serve, "stand in front of PostgreSQL and answer key backup statements",
     "usage: pgkeep serve [options]\n\n"
     "Listens, forwards, and answers key statements until SIGTERM or SIGINT. Makes a keystore if\n"
     "there is none, unless keystore.create = never.\n"},
    {"init", pk_cli_init, "make the keystore before the first start",
     "usage: pgkeep init [--recovery-to FILE] [options]\n\n"
     "Makes the state directory and a keystore with two unlock slots: a root secret (root.key)\n"
     "and a recovery code. The code is shown on a terminal, or put into FILE, which must not\n"
     "exist yet (mode 0600). Without either there is none: pgkeep key recovery makes one.\n"},
    {"key", pk_cli_key, "unlock slots, recovery codes, seal and unseal",
     "usage: pgkeep key slots [options]\n"
     "       pgkeep key recovery [--to FILE] [--label TEXT] [options]\n"
     "       pgkeep key drop-slot N [options]\n"
     "       pgkeep key unseal [--recovery] [options]\n"
     "       pgkeep key seal [options]\n\n"
     "slots      lists the unlock slots; any of them opens the keystore\n"
     "recovery   adds a slot with a new recovery code, which is shown on a terminal or put into\n"
     "           FILE, which must not exist yet (mode 0600)\n"
     "drop-slot  removes a slot; the last one cannot be dropped\n"
     "unseal     opens the keystore of the running pgkeep with a password, or a recovery code,\n"
     "           asked for on the terminal or read from standard input\n"
     "seal       makes the running pgkeep forget every key until it is unsealed or restarted\n\n"
     "While pgkeep serve has the state directory it is asked through its control socket.\n"},
    {"audit", pk_cli_audit, "check the audit trail",
     "usage: pgkeep audit verify [--head HEX] [options]\n\n"
     "Walks the audit trail of the keystore: every row must be as it was written and follow the\n"
     "one before. HEX is a head noted earlier (key files and SHOW KEYSTORE have it) that must be\n"
     "part of the trail. Exit code 1 if not.\n"},
    {"print-sql", pk_cli_print_sql, "SQL that makes the roles pgkeep asks PostgreSQL about",
     "usage: pgkeep print-sql [--drop]\n\n"
     "Prints SQL for psql that makes the roles; --drop: that removes them.\n"},
};

static void print_options(FILE *to)
{
    PK_AUTO(pk_buf_clear) pk_buf settings = PK_BUF_MAX(64u << 10);
    (void)fprintf(to, "\noptions:\n"
                      "  --listen ADDRESS:PORT      proxy.listen\n"
                      "  --backend HOST:PORT        proxy.backend\n"
                      "  --service CONNINFO         service.conninfo\n"
                      "  --state DIRECTORY          state.dir\n"
                      "  --config FILE              read settings from a file\n"
                      "  --set SECTION.KEY=VALUE    any setting\n"
                      "  --version, --help\n\nsettings:\n");
    if (pk_config_help(&settings, NULL))
        (void)fprintf(to, "%.*s", PK_SPAN_ARG(pk_buf_span(&settings)));
}

static void usage(FILE *to)
{
    (void)fprintf(to, "usage: pgkeep VERB [options]\n\nverbs:\n");
    for (size_t i = 0; i < PK_COUNT(verbs); i++)
        (void)fprintf(to, "  %-9s %s\n", verbs[i].name, verbs[i].help);
    (void)fprintf(to, "\npgkeep VERB --help says more.\n");
    print_options(to);
}

int pk_cli_fail(const pk_error *err, int code)
{
    (void)fprintf(stderr, "pgkeep: %s\n", err->message);
    if (err->detail[0] != 0)
        (void)fprintf(stderr, "DETAIL: %s\n", err->detail);
    if (err->hint[0] != 0)
        (void)fprintf(stderr, "HINT: %s\n", err->hint);
    return code;
}

pk_config *pk_cli_config(int count, char *const *args, int *code)
{
    pk_error err;
    pk_log_level level;
    pk_config *config = pk_config_load(count, args, &err);
    if (config == NULL)
        *code = pk_cli_fail(&err, pk_error_is(&err, PK_E_IO) ? PK_EXIT_FAILED : PK_EXIT_USAGE);
    else if (pk_log_level_parse(pk_config_text(config, PK_OPT_LOG_LEVEL), &level))
        pk_log_set_level(level);
    return config;
}

/* How many arguments this flag takes at the front of the list: 0 it is another one, -1 its value is
 * missing. */
static int take_flag(pk_cli_flag *flag, int count, char *const *args)
{
    const size_t len = strlen(flag->name);
    if (strncmp(args[0], "--", 2) != 0 || strncmp(args[0] + 2, flag->name, len) != 0)
        return 0;
    const char *rest = args[0] + 2 + len;
    if (rest[0] != '\0' && (rest[0] != '=' || !flag->has_value))
        return 0;
    if (flag->has_value && rest[0] == '\0' && count < 2)
        return -1;
    flag->given = true;
    if (!flag->has_value)
        return 1;
    flag->value = rest[0] == '=' ? rest + 1 : args[1];
    return rest[0] == '=' ? 1 : 2;
}

static int take_any(pk_cli_flag *flags, size_t flag_count, int count, char *const *args)
{
    int taken = 0;
    for (size_t i = 0; i < flag_count && taken == 0; i++)
        taken = take_flag(&flags[i], count, args);
    return taken;
}

pk_config *pk_cli_config_with(int count, char *const *args, pk_cli_flag *flags, size_t flag_count,
                              int *code)
{
    PK_AUTO(pk_free_at) char **others = pk_new_bytes(((size_t)count + 1) * sizeof *others);
    int left = 0;
    for (int i = 0; i < count;) {
        const int taken = take_any(flags, flag_count, count - i, args + i);
        if (taken < 0) {
            pk_error err;
            pk_fail(&err, PK_E_PARAMETER, "option \"%s\" needs a value", args[i]);
            *code = pk_cli_fail(&err, PK_EXIT_USAGE);
            return NULL;
        }
        if (taken == 0)
            others[left++] = args[i];
        i += taken == 0 ? 1 : taken;
    }
    return pk_cli_config(left, others, code);
}

static int help(const char *name)
{
    for (size_t i = 0; i < PK_COUNT(verbs); i++)
        if (strcmp(name, verbs[i].name) == 0) {
            (void)fputs(verbs[i].usage, stdout);
            print_options(stdout);
            return PK_EXIT_OK;
        }
    usage(stdout);
    return PK_EXIT_OK;
}

static int version(void)
{
#ifdef PK_TEST_KDF
    (void)printf("pgkeep %s (test build: passwords protect keys at a fraction of the real cost)\n",
                 PK_VERSION);
#else
    (void)printf("pgkeep %s\n", PK_VERSION);
#endif
    return PK_EXIT_OK;
}

int main(int argc, char **argv)
{
    pk_error err;
    if (!pk_engine_init_process(&err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    const char *verb = argc < 2 ? "" : argv[1];
    if (strcmp(verb, "--version") == 0)
        return version();
    if (strcmp(argv[argc - 1], "--help") == 0)
        return help(verb);
    if (strcmp(verb, "help") == 0)
        return help(argc < 3 ? "" : argv[2]);
    for (size_t i = 0; i < PK_COUNT(verbs); i++)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].run(argc - 2, argv + 2);
    if (verb[0] != 0)
        (void)fprintf(stderr, "pgkeep: unknown verb \"%s\"\n", verb);
    usage(stderr);
    return PK_EXIT_USAGE;
}
