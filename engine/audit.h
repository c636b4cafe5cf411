/*
 * Who ran what, redacted, with what outcome: one row per statement that reached the question of
 * rights, in the transaction of its change or, for refusals and failures, in one of its own; and
 * the same as a log line.
 */
#ifndef PK_ENGINE_AUDIT_H
#define PK_ENGINE_AUDIT_H

#include "engine/keystore.h"
#include "engine/request.h"

/* Actor, client, database, action and redacted text of the statement; strings in the arena. */
bool pk_audit_begin(const pk_request *request, const pk_stmt *stmt, int64_t now, pk_arena *arena,
                    pk_row_audit *audit, pk_error *err) PK_MUST_USE;
/* The outcome is known: `fault` NULL means ok. Its SQLSTATE is copied into the arena. */
void pk_audit_outcome(pk_row_audit *audit, const pk_error *fault, pk_arena *arena);
void pk_audit_log(const pk_row_audit *audit);

#endif
