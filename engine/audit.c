/*
 * Fills audit rows. The text is the redacted statement, so a row can be shown to anybody who may
 * see the audit: no password, no token, no literal that is not a name or a place.
 */
#include "engine/audit.h"

#include "base/log.h"
#include "parser/redact.h"

#define TEXT_MAX 8192

static const char *redacted(const pk_stmt *stmt, pk_arena *arena, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(TEXT_MAX);
    pk_error dropped;
    if (!pk_redact(stmt, &text, &dropped)) /* too long: the words say enough */
        return stmt->tag;
    pk_span span = pk_buf_span(&text);
    return pk_arena_strndup(arena, span.ptr, span.len, err);
}

bool pk_audit_begin(const pk_request *request, const pk_stmt *stmt, int64_t now, pk_arena *arena,
                    pk_row_audit *audit, pk_error *err)
{
    *audit = (pk_row_audit){.at = now,
                            .actor = request->user == NULL ? "" : request->user,
                            .client = request->client == NULL ? "" : request->client,
                            .tls_subject = request->tls_subject == NULL ? "" : request->tls_subject,
                            .db = request->database == NULL ? "" : request->database,
                            .action = pk_stmt_kind_name(stmt->kind),
                            .object = "",
                            .fp = "",
                            .outcome = "ok",
                            .sqlstate = PK_OK,
                            .text_redacted = redacted(stmt, arena, err)};
    return audit->text_redacted != NULL;
}

void pk_audit_outcome(pk_row_audit *audit, const pk_error *fault, pk_arena *arena)
{
    pk_error dropped;
    if (fault == NULL)
        return;
    audit->outcome = pk_error_is(fault, PK_E_PRIVILEGE) ? "refused" : "failed";
    audit->sqlstate = pk_arena_strdup(arena, fault->sqlstate, &dropped);
    if (audit->sqlstate == NULL)
        audit->sqlstate = PK_E_INTERNAL;
}

void pk_audit_log(const pk_row_audit *audit)
{
    pk_log_info("audit action=%s outcome=%s sqlstate=%s user=\"%s\" database=\"%s\" client=%s "
                "fp=%s object=\"%s\"",
                audit->action, audit->outcome, audit->sqlstate, audit->actor, audit->db,
                audit->client, audit->fp[0] == '\0' ? "-" : audit->fp, audit->object);
}
