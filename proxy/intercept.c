/*
 * Deciding takes two stages. The gate reads every text and may cry wolf; the parser decides, but
 * only when everything before the message is answered, since a SET in front of it can change
 * encoding and string syntax. What is refused must also fail on the server if a transaction is open
 * there, or client and server would disagree about COMMIT: the server is sent something that always
 * fails ("poison", wire-protocol 6.4) and our error takes the place of its own.
 *
 * Copies of a claimed text: the client stream's `in` (wiped as it is consumed), a conversion buffer
 * (secret), the request's arena, which goes with the request, and, if it is prepared, the session's
 * table of names (wiped when the name and its portals are gone).
 */
#include "proxy/intercept.h"

#include "base/log.h"
#include "engine/exec.h"
#include "parser/gate.h"
#include "proxy/cancel.h"
#include "proxy/encoding.h"
#include "proxy/lockstep.h"
#include "proxy/refuse.h"
#include "proxy/reply.h"

#include <stdio.h>

#define SUBJECT_MAX     256u /* of a certificate, in the audit */
#define NUMBER(session) ((unsigned long long)(session)->number)

typedef enum verdict { FOREIGN, REFUSE, RUN } verdict;

/* ---- stage 1 ---- */

/* A Query or Parse of which not all need be there. */
typedef struct sql_part {
    pk_span text;   /* as far as it is there and is looked at */
    pk_span behind; /* what follows the text; NULL: its end is not there */
    bool named;     /* a Parse's name is there */
    bool ends;      /* the text is there to its end, and is looked at whole */
} sql_part;

static pk_span in_hand(pk_header header, pk_span bytes)
{
    if (bytes.len > header.size)
        bytes.len = header.size;
    return bytes;
}

static sql_part sql_of(pk_header header, pk_span bytes)
{
    bytes = in_hand(header, bytes);
    pk_reader reader = {.rest = {bytes.ptr + PK_WIRE_HEADER, bytes.len - PK_WIRE_HEADER}};
    if (header.type == 'P')
        (void)pk_read_text(&reader);
    sql_part sql = {.named = !reader.bad &&
                             reader.rest.ptr <= bytes.ptr + PK_WIRE_HEADER + PK_LOOKED_AT};
    if (reader.bad)
        return sql;
    sql.text = reader.rest;
    const pk_span whole = pk_read_text(&reader);
    if (!reader.bad) {
        sql.text = whole;
        sql.behind = reader.rest;
        sql.ends = whole.len <= PK_LOOKED_AT;
    }
    if (sql.text.len > PK_LOOKED_AT)
        sql.text.len = PK_LOOKED_AT;
    return sql;
}

/* A whole message that is not well-formed: the server refuses it unread, and says how. */
static bool is_malformed(pk_header header, pk_span bytes, const sql_part *sql)
{
    if (bytes.len < header.size)
        return false;
    pk_reader reader = {.rest = sql->behind, .bad = sql->behind.ptr == NULL};
    if (header.type == 'P') {
        uint16_t types = pk_read_u16(&reader);
        (void)pk_read_bytes(&reader, (size_t)types * 4);
    }
    return reader.bad || reader.rest.len != 0;
}

static pk_look wait_for(pk_session *session, size_t size)
{
    session->client_wants = size;
    return PK_LOOK_WAIT;
}

/* The text is not ours. */
static pk_look look_at_names(pk_session *session, pk_header header, pk_span bytes)
{
    if (session->names == NULL || header.type == 'Q')
        return PK_LOOK_PASS;
    return pk_lockstep_look(session, header, bytes);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static pk_look look_at_text(pk_session *session, pk_header header, pk_span bytes)
{
    size_t wanted = smaller(header.size, PK_WIRE_HEADER + PK_LOOKED_AT);
    if (bytes.len < wanted)
        return wait_for(session, wanted);
    const sql_part sql = sql_of(header, bytes);
    if (is_malformed(header, bytes, &sql))
        return look_at_names(session, header, bytes);
    if (!sql.named) /* nobody names a statement in 64 KiB; refused */
        return PK_LOOK_HOLD;
    if (header.type == 'P') /* the name does not count */
        wanted = smaller(header.size, (size_t)(sql.text.ptr - bytes.ptr) + PK_LOOKED_AT);
    if (!sql.ends && bytes.len < wanted)
        return wait_for(session, wanted);
    const pk_look names = look_at_names(session, header, bytes);
    if (names == PK_LOOK_WAIT || !pk_gate_maybe_ours(sql.text))
        return names;
    if (sql.ends && bytes.len < header.size && header.size <= PK_HELD_MAX)
        return wait_for(session, header.size); /* what is declared about parameters */
    return PK_LOOK_HOLD;
}

/* A server that waits for CopyData refuses everything else; but if the end of the data is on its
 * way already, the message comes after the COPY. */
static bool is_copying_in(const pk_session *session)
{
    return session->replies.copy_in && !pk_replyq_copy_ends(&session->replies);
}

pk_look pk_intercept_look(pk_session *session, pk_header header, pk_span bytes)
{
    if (session->client_pass) {
        session->client_pass = false;
        return PK_LOOK_PASS;
    }
    if (session->walsender)
        return PK_LOOK_PASS;
    const pk_look look = header.type == 'Q' || header.type == 'P'
                             ? look_at_text(session, header, bytes)
                             : look_at_names(session, header, bytes);
    if (look != PK_LOOK_HOLD || !is_copying_in(session))
        return look;
    return PK_LOOK_BREACH;
}

void pk_intercept_breach(pk_session *session)
{
    pk_error err;
    (void)pk_fail(&err, PK_E_PROTOCOL,
                  "a statement of pgkeep cannot be sent while COPY FROM STDIN waits for data");
    pk_session_fatal(session, &err);
}

void pk_intercept_say(pk_session *session)
{
    if (session->state == PK_ST_STEP) {
        pk_lockstep_say_columns(session);
        return;
    }
    if (session->refusal == NULL)
        return;
    pk_refuse_say_error(session, session->refusal);
    pk_free(session->refusal);
    session->refusal = NULL;
}

/* ---- stage 2 ---- */

/* The text as UTF-8 in the request's arena. FOREIGN: it is no text of its encoding by our tables
 * and stays as it is; the server's tables may be more generous, so it is forwarded only if it is
 * not ours even so. */
static verdict convert(pk_session *session, pk_span text, bool cut, pk_request *request,
                       pk_span *utf8, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf converted = PK_BUF_SECRET((size_t)4 * PK_LOOKED_AT);
    pk_span plain = text;
    verdict done = RUN;
    if (!pk_encoding_is_plain(session->encoding, text)) {
        switch (pk_encoding_to_utf8(session->encoding, text, cut, &converted)) {
        case PK_ENCODING_BAD:
            done = FOREIGN;
            break;
        case PK_ENCODING_OK:
            plain = pk_buf_span(&converted);
            break;
        case PK_ENCODING_NO_ROOM:
            (void)pk_fail(err, PK_E_MEMORY, "out of memory");
            return REFUSE;
        case PK_ENCODING_UNKNOWN: /* only MULE_INTERNAL, which is safe to read as ASCII and more */
            break;
        }
    }
    *utf8 = (pk_span){pk_arena_strndup(&request->arena, plain.ptr, plain.len, err), plain.len};
    return utf8->ptr == NULL ? REFUSE : done;
}

static verdict too_long(pk_error *err)
{
    (void)pk_fail(err, PK_E_TOO_LONG, "a statement of pgkeep can be at most %u bytes long",
                  PK_LOOKED_AT);
    return REFUSE;
}

static verdict judge_parse(const pk_script *script, pk_error *err)
{
    if (script->count == 1)
        return RUN;
    (void)pk_fail(err, PK_E_SYNTAX, "cannot insert multiple commands into a prepared statement");
    return REFUSE;
}

static verdict judge_query(const pk_session *session, const pk_script *script, pk_error *err)
{
    if (session->replies.unsynced) {
        (void)pk_refuse_in_pipeline(pk_refuse_name(&script->stmts[0]), err);
        return REFUSE;
    }
    if (session->replies.tx == 'E') {
        (void)pk_fail(err, PK_E_ABORTED_TRANSACTION,
                      "current transaction is aborted, commands ignored until end of transaction "
                      "block");
        return REFUSE;
    }
    for (size_t i = 0; session->replies.tx == 'T' && i < script->count; i++)
        if (!pk_exec_in_block(script->stmts[i].kind)) {
            (void)pk_refuse_in_block(pk_refuse_name(&script->stmts[i]), err);
            return REFUSE;
        }
    return RUN;
}

static verdict judge_script(const pk_session *session, pk_header header, const pk_script *script,
                            pk_error *err)
{
    if (header.type == 'P')
        return judge_parse(script, err);
    if (script->kind == PK_SCRIPT_MIXED) {
        (void)pk_fail(err, PK_E_UNSUPPORTED, "statements of pgkeep must be sent alone");
        (void)pk_error_hint(err, "Send the statements for PostgreSQL in a query of their own.");
        return REFUSE;
    }
    return judge_query(session, script, err);
}

/* The server reports changed settings only with ReadyForQuery (PostgreSQL 14 and later). Behind an
 * Execute it may therefore read backslashes otherwise than we think, or take one for the second
 * byte of a character. Could the text be ours to it? */
static bool could_be_ours(const pk_session *session, pk_span text, pk_span utf8)
{
    if (!session->replies.executed || text.len == 0 || memchr(text.ptr, '\\', text.len) == NULL)
        return false;
    for (size_t i = 0; i + 1 < text.len; i++)
        if ((unsigned char)text.ptr[i] >= 0x80 && text.ptr[i + 1] == '\\')
            return true;
    const pk_parse_options options = {.standard_conforming = !session->standard_conforming};
    PK_AUTO_PTR(pk_request_free) pk_request *request = pk_request_new();
    pk_error err;
    return !pk_parse(utf8, &options, &request->arena, &request->script, &err) ||
           request->script.kind != PK_SCRIPT_FOREIGN;
}

static verdict ambiguous(pk_error *err)
{
    (void)pk_fail(err, PK_E_IN_TRANSACTION,
                  "in this pipeline it cannot be told whether the backslashes hide a statement of "
                  "pgkeep");
    (void)pk_error_hint(err, "Send it after the end of the pipeline, or without backslashes.");
    return REFUSE;
}

static verdict not_text(const pk_session *session, pk_error *err)
{
    (void)pk_fail(err, PK_E_PARAMETER, "the statement is not valid text of client_encoding %s",
                  session->encoding);
    return REFUSE;
}

static verdict examine(pk_session *session, pk_header header, pk_span message, pk_request *request,
                       pk_error *err)
{
    const pk_parse_options options = {.standard_conforming = session->standard_conforming};
    const sql_part sql = sql_of(header, message);
    pk_span utf8;
    if (is_malformed(header, message, &sql))
        return FOREIGN;
    if (!sql.named) {
        (void)pk_fail(err, PK_E_TOO_LONG,
                      "the name of the prepared statement or portal is too long");
        return REFUSE;
    }
    const verdict text_is = convert(session, sql.text, !sql.ends, request, &utf8, err);
    if (text_is == REFUSE)
        return REFUSE;
    const bool parsed = pk_parse(utf8, &options, &request->arena, &request->script, err);
    if (parsed && request->script.kind == PK_SCRIPT_FOREIGN)
        return could_be_ours(session, sql.text, utf8) ? ambiguous(err) : FOREIGN;
    if (!sql.ends || message.len < header.size)
        return too_long(err);
    if (!parsed)
        return REFUSE;
    if (text_is == FOREIGN)
        return not_text(session, err);
    return judge_script(session, header, &request->script, err);
}

static void send_stand_in(pk_session *session, pk_request *request)
{
    char sql[256];
    pk_refuse_need_nonce(session);
    request->number = pk_hub_next_request(session->loop->hub);
    session->check_answered = session->check_failed = session->check_proved = false;
    session->request = request;
    (void)snprintf(sql, sizeof sql, "SELECT '%s' /* pgkeep: %s %llu */", session->nonce,
                   pk_refuse_name(&request->script.stmts[0]), (unsigned long long)request->number);
    pk_refuse_send_query(session, sql);
    pk_session_event(session, PK_EV_CHECK_SENT);
}

void pk_intercept_hold(pk_session *session)
{
    /* Without it the server may keep the answers we wait for. */
    if (pk_replyq_needs_flush(&session->replies))
        pk_refuse_send_flush(session);
}

static void let_go(pk_session *session)
{
    session->client_pass = true;
    pk_session_event(session, PK_EV_FOREIGN);
}

/* A Query or Parse. */
static void decide_text(pk_session *session, pk_header header, pk_span message)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = pk_request_new();
    pk_error err;
    switch (examine(session, header, message, request, &err)) {
    case FOREIGN:
        if (header.type == 'Q' || !pk_lockstep_decide(session, header, message))
            let_go(session);
        break;
    case REFUSE:
        pk_refuse_held(session, header, &err);
        break;
    case RUN:
        if (header.type == 'P') {
            pk_lockstep_prepare(session, header, message, request);
            break;
        }
        pk_refuse_drop_held(session, header);
        send_stand_in(session, pk_steal(&request));
        break;
    }
}

static void decide(pk_session *session)
{
    pk_header header;
    pk_span message = pk_stream_held(&session->client);
    if (pk_wire_client(message, &header) != PK_FRAMING_OK)
        return; /* cannot be: it was looked at before */
    message = in_hand(header, message);
    if (session->replies.skip) { /* the server would throw it away, and what belongs to it */
        session->discard = header.type != 'Q';
        pk_refuse_drop_held(session, header);
        pk_session_event(session, PK_EV_ANSWERED);
    } else if (header.type == 'Q' || header.type == 'P') {
        decide_text(session, header, message);
    } else if (!pk_lockstep_decide(session, header, message)) {
        let_go(session);
    }
}

/* ---- answers of the server to what we sent ---- */

static pk_answer checked(pk_session *session)
{
    if (session->check_proved && !session->check_failed) {
        pk_session_event(session, PK_EV_CHECK_OK);
        return PK_ANSWER_SWALLOW;
    }
    pk_answer answer = PK_ANSWER_FORWARD;
    if (!session->check_failed) {
        session->refusal = pk_new(pk_error);
        (void)pk_fail(session->refusal, PK_E_PROTOCOL,
                      "the server did not execute the query that stands for this statement");
        answer = PK_ANSWER_OURS_FIRST;
    }
    pk_request_free(pk_steal(&session->request));
    pk_session_event(session, PK_EV_ANSWERED);
    return answer;
}

static pk_answer answer_to_check(pk_session *session, char type, pk_span message)
{
    switch (type) {
    case 'D':
        session->check_answered = true;
        session->check_proved = pk_extended_is_row(message, session->nonce);
        return PK_ANSWER_SWALLOW;
    case 'T':
        return PK_ANSWER_SWALLOW;
    case 'C':
        session->check_answered = true;
        return PK_ANSWER_SWALLOW;
    case 'E':
        session->check_answered = session->check_failed = true;
        return PK_ANSWER_FORWARD;
    case 'Z': /* else of a Sync that we took for swallowed by a COPY (replyq) */
        return session->check_answered ? checked(session) : PK_ANSWER_FORWARD;
    default:
        return PK_ANSWER_FORWARD; /* asynchronous */
    }
}

pk_answer pk_intercept_answer(pk_session *session, pk_header header, pk_span message)
{
    if (session->state == PK_ST_CHECK)
        return answer_to_check(session, header.type, message);
    if (session->state == PK_ST_POISON)
        return pk_refuse_answer(session, header.type);
    if (session->state == PK_ST_STEP)
        return pk_lockstep_answer(session, header, message);
    /* A COPY that waits for data while we hold back what is not data. The client broke the
     * protocol. What is held goes nowhere: a COPY may still fail before it reads anything, and the
     * server would read on. */
    if (session->state == PK_ST_HOLD && (header.type == 'G' || header.type == 'W') &&
        !pk_replyq_copy_ends(&session->replies))
        session->breach = true;
    return PK_ANSWER_FORWARD;
}

/* ---- the engine ---- */

static bool opens_keys(const pk_request *request)
{
    for (size_t i = 0; i < request->script.count; i++)
        if (request->script.stmts[i].kind == PK_STMT_DMK_OPEN)
            return true;
    return false;
}

/* "/O=Example/CN=alice"; NULL: the client showed no certificate that could be verified. */
static const char *subject_of(const pk_session *session, pk_arena *arena)
{
    char subject[SUBJECT_MAX];
    char name[PK_NAME_BYTES + 2];
    pk_error dropped;
    if (session->client.tls == NULL)
        return NULL;
    (void)pk_tls_link_peer_names(session->client.tls, subject, sizeof subject, name, sizeof name);
    return subject[0] == 0 ? NULL : pk_arena_strdup(arena, subject, &dropped);
}

void pk_intercept_submit(pk_session *session)
{
    pk_request *request = pk_steal(&session->request);
    pk_error err;
    pk_arena *arena = &request->arena;
    char client[PK_ADDRESS_TEXT];
    if (session->user != NULL)
        request->user = pk_arena_strdup(arena, session->user, &err);
    request->database = pk_arena_strdup(arena, session->database, &err);
    request->client =
        pk_arena_strdup(arena, pk_address_text(&session->peer, client, sizeof client), &err);
    request->tls_subject = subject_of(session, arena);
    request->session = session->number;
    request->secure_peer = pk_session_is_secure(session);
    request->in_block = request->in_block || session->replies.tx == 'T';
    request->done = pk_post_request;
    request->ctx = session->loop->post;
    pk_cancel_note_running(session, request->number);
    session->opened = session->opened || opens_keys(request);
    pk_session_resume(session); /* a goodbye may have come meanwhile */
    pk_engine_submit(session->loop->hub->engine, request);
}

void pk_intercept_done(pk_loop *loop, pk_request *request)
{
    pk_session *session = pk_session_find(loop, request->session);
    if (session == NULL || session->running != request->number) {
        pk_log_debug("request %llu: done, its session is gone",
                     (unsigned long long)request->number);
        if (opens_keys(request))
            pk_engine_forget_session(loop->hub->engine, request->session);
        pk_request_free(request);
        return;
    }
    pk_cancel_note_running(session, 0);
    if (session->forget_too)
        pk_session_forget_keys(session);
    if (session->state != PK_ST_LOCAL) { /* it is being closed */
        pk_request_free(request);
        return;
    }
    session->request = request;
    pk_session_settle(session);
}

/* All results up to the first failure, into one buffer. The error that ends them, if any. */
static const pk_error *gather(pk_session *session, const pk_request *request, pk_buf *out,
                              pk_error *own)
{
    if (request->result_count == 0) {
        (void)pk_fail(own, PK_E_INTERNAL, "the statement ended without a result");
        return own;
    }
    for (size_t i = 0; i < request->result_count; i++) {
        const pk_result *result = request->results[i];
        if (!pk_reply_result(out, session->encoding, result)) {
            pk_buf_clear(out);
            (void)pk_fail(own, PK_E_TOO_LONG, "the result is too large");
            return own;
        }
        if (result->failed)
            return &result->error;
    }
    return NULL;
}

static void tell(pk_session *session)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = pk_steal(&session->request);
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_STREAM_OUT_MAX / 2);
    pk_error own;
    const pk_error *failed = gather(session, request, &out, &own);
    pk_session_say(session, &out);
    if (failed != NULL && session->replies.tx == 'T') {
        pk_refuse_poison(session, true, failed);
        return;
    }
    if (failed != NULL)
        pk_refuse_say_error(session, failed);
    pk_refuse_say_ready(session);
    pk_session_event(session, PK_EV_ANSWERED);
}

void pk_intercept_settle(pk_session *session)
{
    if (session->backend_left > 0)
        return; /* in the middle of a message to the client */
    if (session->state == PK_ST_HOLD && session->breach)
        pk_intercept_breach(session);
    else if (session->state == PK_ST_HOLD && pk_replyq_drained(&session->replies))
        decide(session);
    else if (session->state == PK_ST_STEP)
        pk_lockstep_settle(session);
    else if (session->state == PK_ST_LOCAL && session->request != NULL && session->step != NULL)
        pk_lockstep_tell(session, pk_steal(&session->request));
    else if (session->state == PK_ST_LOCAL && session->request != NULL)
        tell(session);
}
