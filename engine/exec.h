/*
 * The one table of our statements: kind, who may, whether it runs inside a transaction block,
 * handler. The proxy asks it what it must know before running; the engine's workers run by it.
 */
#ifndef PK_ENGINE_EXEC_H
#define PK_ENGINE_EXEC_H

#include "engine/result.h"
#include "parser/parse.h"

/* May this statement run inside a transaction block (DECISIONS 8b1)? Any thread. */
bool pk_exec_in_block(pk_stmt_kind kind);

/* Does it run while the keystore is sealed or not there? Any thread. */
bool pk_exec_runs_sealed(pk_stmt_kind kind);

/* The columns a statement answers with, known before it runs; NULL: it returns no rows. Any thread.
 */
const pk_column *pk_exec_columns(pk_stmt_kind kind, size_t *count);

/* Its words, for messages: the claimed head, or the tag. */
const char *pk_exec_name(const pk_stmt *stmt);

typedef struct pk_exec_session {
    const char *user;     /* NULL: unknown */
    const char *database; /* "" : unknown */
    const char *admin_database;
    bool secure_peer, in_block;
    bool secrets_need_tls; /* setting security.require_tls_for_secrets */
} pk_exec_session;

/*
 * What can be said of a statement without storage, keys or backend: 0A000 for what is not offered
 * yet, 42P02 for $n without a value, 25001, 55000 (secret over plain TCP), 22023 (password rules,
 * repeated tenants, empty or scheme-less paths), 42501 (TENANT outside the admin database). Pure
 * but for the password rules; any thread.
 */
bool pk_exec_check(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err) PK_MUST_USE;

#endif
