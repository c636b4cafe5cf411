/*
 * Poison of a Query is ROLLBACK TO a savepoint that nobody has: always an error, aborts a block,
 * leaves an idle session alone. In the extended protocol it is the Execute of a portal that nobody
 * has; the server then skips to the Sync by itself. Neither touches the catalog or needs a right.
 */
#include "proxy/refuse.h"

#include "base/log.h"
#include "proxy/extended.h"
#include "proxy/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define NONCE_SIZE 40u

#define ERROR_MAX 8192u

void pk_refuse_say_error(pk_session *session, const pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(ERROR_MAX);
    pk_log_info("session %llu: answered %s: %s", (unsigned long long)session->number, err->sqlstate,
                err->message);
    if (pk_reply_error(&out, session->encoding, err, false))
        pk_session_say(session, &out);
}

void pk_refuse_say_ready(pk_session *session)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(16);
    if (pk_reply_ready(&out, session->replies.tx))
        pk_session_say(session, &out);
}

void pk_refuse_send_query(pk_session *session, const char *sql)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_OWN_MESSAGE_MAX);
    if (pk_reply_query(&out, sql))
        pk_session_send(session, &out);
}

void pk_refuse_send_flush(pk_session *session)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(16);
    if (pk_reply_empty(&out, 'H'))
        pk_session_send(session, &out);
}

static void send_execute_of_nothing(pk_session *session)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_OWN_MESSAGE_MAX);
    if (pk_reply_execute(&out, session->nonce))
        pk_session_send(session, &out);
}

void pk_refuse_need_nonce(pk_session *session)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[16];
    if (session->nonce != NULL)
        return;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        abort(); /* cannot happen for so few bytes once the kernel has booted */
    session->nonce = pk_new_bytes(NONCE_SIZE);
    size_t at = (size_t)snprintf(session->nonce, NONCE_SIZE, "pgkeep_");
    for (size_t i = 0; i < sizeof bytes; i++) {
        session->nonce[at++] = digits[bytes[i] >> 4];
        session->nonce[at++] = digits[bytes[i] & 15];
    }
    session->nonce[at] = 0;
}

const char *pk_refuse_name(const pk_stmt *stmt)
{
    if (stmt->tag != NULL && stmt->tag[0] != 0)
        return stmt->tag;
    return stmt->head != NULL && stmt->head[0] != 0 ? stmt->head : "this statement";
}

bool pk_refuse_in_block(const char *name, pk_error *err)
{
    (void)pk_fail(err, PK_E_IN_TRANSACTION, "%s cannot run inside a transaction block", name);
    return pk_error_hint(err,
                         "Send it outside of BEGIN and COMMIT; drivers need autocommit for it.");
}

bool pk_refuse_in_pipeline(const char *name, pk_error *err)
{
    (void)pk_fail(err, PK_E_IN_TRANSACTION, "%s cannot be executed within a pipeline", name);
    return pk_error_hint(
        err, "Send it alone, after the end of the pipeline; drivers need autocommit for it.");
}

void pk_refuse_poison(pk_session *session, bool query, const pk_error *err)
{
    char sql[96];
    pk_refuse_need_nonce(session);
    pk_free(session->refusal);
    session->refusal = pk_new(pk_error);
    *session->refusal = *err;
    session->refusing_query = query;
    if (query) {
        (void)snprintf(sql, sizeof sql, "ROLLBACK TO SAVEPOINT \"%s\"", session->nonce);
        pk_refuse_send_query(session, sql);
    } else {
        send_execute_of_nothing(session);
    }
    pk_session_event(session, PK_EV_POISON_SENT);
}

void pk_refuse_drop_held(pk_session *session, pk_header header)
{
    size_t held = pk_stream_held(&session->client).len;
    size_t now = held < header.size ? held : header.size;
    pk_stream_consume(&session->client, now);
    session->client_left = header.size - now;
    session->client_drop = true;
    session->client_wants = 0;
}

/* A Parse that fails takes the unnamed statement with it if it was for that one. The server did not
 * see this Parse, so it is told; else it would go on to bind what was there before. */
static void close_unnamed(pk_session *session, pk_header header)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(16);
    pk_targets targets;
    if (!pk_extended_targets('P', pk_stream_held(&session->client), &targets) ||
        targets.statement.len > 0 || header.type != 'P')
        return;
    if (pk_extended_close(&out, PK_SPAN("")))
        pk_session_send(session, &out);
    pk_names_drop_statement(&session->names, PK_SPAN(""));
}

void pk_refuse_held(pk_session *session, pk_header header, const pk_error *err)
{
    bool query = header.type == 'Q';
    if (!query)
        close_unnamed(session, header);
    pk_refuse_drop_held(session, header);
    if (!query || session->replies.unsynced || session->replies.tx == 'T') {
        pk_refuse_poison(session, query, err);
        return;
    }
    pk_refuse_say_error(session, err);
    pk_refuse_say_ready(session);
    pk_session_event(session, PK_EV_ANSWERED);
}

pk_answer pk_refuse_answer(pk_session *session, char type)
{
    switch (type) {
    case 'E':
        if (session->fatal_seen)
            return PK_ANSWER_FORWARD;
        if (!session->refusing_query) {
            session->discard = session->replies.skip;
            pk_session_event(session, PK_EV_ANSWERED);
        }
        return PK_ANSWER_REPLACE;
    case 'C':
    case 'T':
    case 'D':
        return PK_ANSWER_SWALLOW; /* it never succeeds; if it did, the refusal stands */
    case '3':
        return session->refusing_query ? PK_ANSWER_FORWARD : PK_ANSWER_SWALLOW;
    case 'Z':
        pk_session_event(session, PK_EV_ANSWERED);
        return session->refusal != NULL ? PK_ANSWER_OURS_FIRST : PK_ANSWER_FORWARD;
    default:
        return PK_ANSWER_FORWARD;
    }
}
