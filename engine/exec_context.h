/*
 * What a handler sees of the statement it carries out. Private to engine/: one handler a statement
 * kind, in exec_oceanbase.c, exec_mssql.c, exec_open.c, exec_keystore.c and exec_show.c; the table
 * in exec.c names them.
 */
#ifndef PK_ENGINE_EXEC_CONTEXT_H
#define PK_ENGINE_EXEC_CONTEXT_H

#include "engine/authz.h"
#include "engine/engine.h"
#include "engine/keeper_calls.h"

typedef struct pk_exec_context {
    const pk_engine_options *options;
    const pk_request *request;
    const pk_stmt *stmt;
    pk_keeper *keeper;
    pk_authz *authz;
    pk_rights rights; /* of the user, in the session's database */
    pk_arena *arena;  /* of this execution; wiped afterwards */
    pk_result *result;
    pk_row_audit audit; /* handed to the keystore call that commits */
    bool audited;       /* that call has succeeded: the statement has its row */
} pk_exec_context;

typedef bool (*pk_exec_handler)(pk_exec_context *ctx, pk_error *err);

bool pk_exec_tenant_key_backup(pk_exec_context *ctx, pk_error *err);
bool pk_exec_tenant_key_restore(pk_exec_context *ctx, pk_error *err);
bool pk_exec_smk_backup(pk_exec_context *ctx, pk_error *err);
bool pk_exec_smk_restore(pk_exec_context *ctx, pk_error *err);
bool pk_exec_dmk_create(pk_exec_context *ctx, pk_error *err);
bool pk_exec_dmk_backup(pk_exec_context *ctx, pk_error *err);
bool pk_exec_dmk_restore(pk_exec_context *ctx, pk_error *err);
bool pk_exec_dmk_open(pk_exec_context *ctx, pk_error *err);
bool pk_exec_dmk_close(pk_exec_context *ctx, pk_error *err);
bool pk_exec_show_master_keys(pk_exec_context *ctx, pk_error *err);
bool pk_exec_show_key_backups(pk_exec_context *ctx, pk_error *err);
bool pk_exec_keystore_seal(pk_exec_context *ctx, pk_error *err);
bool pk_exec_keystore_unseal(pk_exec_context *ctx, pk_error *err);
bool pk_exec_keystore_alter(pk_exec_context *ctx, pk_error *err);
bool pk_exec_keystore_show(pk_exec_context *ctx, pk_error *err);

/* What SHOW statements answer with. */
const pk_column *pk_exec_master_key_columns(size_t *count);
const pk_column *pk_exec_key_backup_columns(size_t *count);
const pk_column *pk_exec_keystore_columns(size_t *count);

/* As a timestamptz of a row; NULL for 0. */
const char *pk_exec_time(int64_t at, char text[static 33]);

/* 57014 once somebody asked to stop. Between steps, never between a file and its record. */
bool pk_exec_check_canceled(const pk_exec_context *ctx, pk_error *err) PK_MUST_USE;
/* What the audit row and the log line name; copied into the context's arena. */
void pk_exec_note(pk_exec_context *ctx, const char *object, const char *fingerprint);
/* The session's database. */
pk_database pk_exec_database(const pk_exec_context *ctx);
/* Whose opened master keys count for this statement. */
pk_opener pk_exec_opener(const pk_exec_context *ctx);

#endif
