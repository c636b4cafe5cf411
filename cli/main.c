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
    const char *help;
} verbs[] = {
    {"serve", pk_cli_serve, "stand in front of PostgreSQL and answer key backup statements"},
    {"init", pk_cli_init, "make the keystore before the first start"},
};

static void usage(FILE *to)
{
    PK_AUTO(pk_buf_clear) pk_buf settings = PK_BUF_MAX(64u << 10);
    (void)fprintf(to, "usage: pgkeep VERB [options]\n\nverbs:\n");
    for (size_t i = 0; i < PK_COUNT(verbs); i++)
        (void)fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
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

int main(int argc, char **argv)
{
    pk_error err;
    if (!pk_engine_init_process(&err))
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    const char *verb = argc < 2 ? "" : argv[1];
    if (strcmp(verb, "--version") == 0) {
#ifdef PK_TEST_KDF
        (void)printf(
            "pgkeep %s (test build: passwords protect keys at a fraction of the real cost)\n",
            PK_VERSION);
#else
        (void)printf("pgkeep %s\n", PK_VERSION);
#endif
        return PK_EXIT_OK;
    }
    if (strcmp(argv[argc - 1], "--help") == 0 || strcmp(verb, "help") == 0) {
        usage(stdout);
        return PK_EXIT_OK;
    }
    for (size_t i = 0; i < PK_COUNT(verbs); i++)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].run(argc - 2, argv + 2);
    if (verb[0] != 0)
        (void)fprintf(stderr, "pgkeep: unknown verb \"%s\"\n", verb);
    usage(stderr);
    return PK_EXIT_USAGE;
}
