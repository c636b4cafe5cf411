/*
 * What verbs other than `serve` share: the keeper, whether `serve` runs or not, and ways for
 * secrets in and out that leave no trace: a terminal, a pipe, a file of mode 0600 that the user
 * names. One thread.
 */
#ifndef PK_CLI_OFFLINE_H
#define PK_CLI_OFFLINE_H

#include "base/newfile.h"
#include "cli/cli.h"
#include "engine/keeper_calls.h"

/* Of the `serve` that has the state directory; else, if `alone`, the keystore itself. 58P01 nobody
 * runs and not `alone`. */
pk_keeper *pk_cli_keeper(const pk_config *config, bool alone, pk_error *err) PK_MUST_USE;
/* The audit row of something done by hand. `actor` has room for the text and lives as long. */
pk_row_audit pk_cli_audit_row(char actor[static 32], const char *action, const char *object);

/* A line from the terminal, without echo, after the prompt; from stdin if that is no terminal. Into
 * a secret buffer, without its end. 22023 an empty one. */
bool pk_cli_read_secret(const char *prompt, pk_buf *secret, pk_error *err) PK_MUST_USE;

/* Where a recovery code goes. */
typedef struct pk_cli_code {
    const char *path; /* NULL: the terminal */
    int dir;
    pk_newfile file;
} pk_cli_code;
#define PK_CLI_CODE_INIT ((pk_cli_code){.dir = -1, .file = PK_NEWFILE_INIT})
/* Is there a place at all? path NULL: stdout must be a terminal (55000). Else the file is begun:
 * 58P02 if there is one. */
bool pk_cli_code_open(pk_cli_code *code, const char *path, pk_error *err) PK_MUST_USE;
/* Hands a code out, then adds its slot: so there is never a slot whose code nobody has. A code
 * whose slot was refused is taken back. */
bool pk_cli_code_make(pk_cli_code *code, pk_keeper *keeper, const char *label, int64_t *slot,
                      pk_error *err) PK_MUST_USE;
/* Removes what is not complete. */
void pk_cli_code_close(pk_cli_code *code);

#endif
