/*
 * The binary's verbs. Each gets what stands behind it on the command line and returns the exit
 * code: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef PK_CLI_CLI_H
#define PK_CLI_CLI_H

#include "base/error.h"
#include "proxy/config.h"

#define PK_EXIT_OK     0
#define PK_EXIT_FAILED 1
#define PK_EXIT_USAGE  2

int pk_cli_serve(int count, char *const *args);
int pk_cli_init(int count, char *const *args);
int pk_cli_key(int count, char *const *args);
int pk_cli_audit(int count, char *const *args);
int pk_cli_print_sql(int count, char *const *args);

/* The error with its detail and hint, on stderr. Returns `code`. */
int pk_cli_fail(const pk_error *err, int code);
/* The settings, or NULL after saying why, with the exit code in *code. */
pk_config *pk_cli_config(int count, char *const *args, int *code);

/* A verb's own flag: --name, or --name VALUE and --name=VALUE. */
typedef struct pk_cli_flag {
    const char *name;
    bool has_value;
    bool given;        /* found */
    const char *value; /* borrowed from the arguments; NULL when not given */
} pk_cli_flag;
/* As pk_cli_config, for a verb that has flags of its own: finds them, leaves the rest to the
 * settings. */
pk_config *pk_cli_config_with(int count, char *const *args, pk_cli_flag *flags, size_t flag_count,
                              int *code);

#endif
