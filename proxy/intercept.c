/*
 * Deciding takes two stages. The gate reads every text and may cry wolf; the parser decides, but
 * only when everything before the message is answered, since a SET in front of it can change
 * encoding and string syntax. What is refused must also fail on the server if a transaction is open
 * there, or client and server would disagree about COMMIT: the server is sent something that always
 * fails ("poison", wire-protocol 6.4) and our error takes the place of its own.
 *
 * Copies of a claimed text: the client stream's `in` (wiped as it is consumed), a conversion buffer
 * (secret), and the request's arena, which goes with the request.
 */
#include "proxy/intercept.h"

#include "base/log.h"
#include "engine/exec.h"
#include "parser/gate.h"
#include "proxy/encoding.h"
#include "proxy/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define OWN_MESSAGE_MAX 512u
#define ERROR_MAX       8192u

#define NUMBER(session) ((unsigned long long)(session)->number)

typedef enum verdict { FOREIGN, REFUSE, RUN } verdict;

/* ---- stage 1 ---- */

/* The SQL text of a Query or Parse of which `bytes` are there. False: not a well-formed message;
 * the server will say so. */
static bool text_of(pk_header header, pk_span bytes, pk_span *text)
{
    bool whole = bytes.len >= header.size;
    pk_reader reader = {
        .rest = {bytes.ptr + PK_WIRE_HEADER, (whole ? header.size : bytes.len) - PK_WIRE_HEADER}};
    if (header.type == 'P')
        (void)pk_read_text(&reader); /* the statement's name */
    if (!whole) {
        *text = reader.rest;
        return !reader.bad && memchr(text->ptr, 0, text->len) == NULL;
    }
    *text = pk_read_text(&reader);
    if (header.type == 'P') {
        uint16_t types = pk_read_u16(&reader);
        (void)pk_read_bytes(&reader, (size_t)types * 4);
    }
    return !reader.bad && reader.rest.len == 0;
}

static pk_look wait_for(pk_session *session, size_t size)
{
    session->client_wants = size;
    return PK_LOOK_WAIT;
}

pk_look pk_intercept_look(pk_session *session, pk_header header, pk_span bytes)
{
    pk_span text;
    if (session->client_pass) {
        session->client_pass = false;
        return PK_LOOK_PASS;
    }
    /* A server that waits for CopyData refuses everything else unread; but if the end of the data
     * is on its way already, this message comes after the COPY. */
    if (session->walsender || (session->replies.copy_in && !pk_replyq_copy_ends(&session->replies)))
        return PK_LOOK_PASS;
    size_t first = PK_WIRE_HEADER + PK_LOOKED_AT;
    if (first > header.size)
        first = header.size;
    if (bytes.len < first)
        return wait_for(session, first);
    bytes.len = bytes.len < header.size ? first : header.size;
    if (!text_of(header, bytes, &text))
        return PK_LOOK_PASS;
    if (text.len > PK_LOOKED_AT)
        text.len = PK_LOOKED_AT;
    if (!pk_gate_maybe_ours(text))
        return PK_LOOK_PASS;
    if (header.size <= PK_CLAIMED_MAX && bytes.len < header.size)
        return wait_for(session, header.size);
    return PK_LOOK_HOLD;
}

/* ---- saying and sending ---- */

static void say_error(pk_session *session, const pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(ERROR_MAX);
    pk_log_info("session %llu: answered %s: %s", NUMBER(session), err->sqlstate, err->message);
    if (pk_reply_error(&out, session->encoding, err, false))
        pk_session_say(session, &out);
}

static void say_ready(pk_session *session)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(16);
    if (pk_reply_ready(&out, session->replies.tx))
        pk_session_say(session, &out);
}

static void send_query(pk_session *session, const char *sql)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(OWN_MESSAGE_MAX);
    if (pk_reply_query(&out, sql))
        pk_session_send(session, &out);
}

static void send_other(pk_session *session, char type)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(OWN_MESSAGE_MAX);
    bool made = type == 'E' ? pk_reply_execute(&out, session->nonce) : pk_reply_empty(&out, type);
    if (made)
        pk_session_send(session, &out);
}

/* A name nobody else can have used in this session. */
static void need_nonce(pk_session *session)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[16];
    if (session->nonce[0] != 0)
        return;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        abort(); /* cannot happen for so few bytes once the kernel has booted */
    size_t at = (size_t)snprintf(session->nonce, sizeof session->nonce, "pgkeep_");
    for (size_t i = 0; i < sizeof bytes; i++) {
        session->nonce[at++] = digits[bytes[i] >> 4];
        session->nonce[at++] = digits[bytes[i] & 15];
    }
    session->nonce[at] = 0;
}

/* Makes the server fail and remembers what to say when it has. */
static void poison(pk_session *session, bool query, const pk_error *err)
{
    char sql[96];
    need_nonce(session);
    pk_free(session->refusal);
    session->refusal = pk_new(pk_error);
    *session->refusal = *err;
    session->refusing_query = query;
    if (query) {
        (void)snprintf(sql, sizeof sql, "ROLLBACK TO SAVEPOINT \"%s\"", session->nonce);
        send_query(session, sql);
    } else {
        send_other(session, 'E');
    }
    pk_session_event(session, PK_EV_POISON_SENT);
}

void pk_intercept_say_refusal(pk_session *session)
{
    if (session->refusal == NULL)
        return;
    say_error(session, session->refusal);
    pk_free(session->refusal);
    session->refusal = NULL;
}

/* The held message is ours: what is there of it goes now, the rest when it comes. */
static void drop_held(pk_session *session, pk_header header)
{
    size_t held = pk_stream_held(&session->client).len;
    size_t now = held < header.size ? held : header.size;
    pk_stream_consume(&session->client, now);
    session->client_left = header.size - now;
    session->client_drop = true;
    session->client_wants = 0;
}

static void refuse(pk_session *session, pk_header header, const pk_error *err)
{
    bool query = header.type == 'Q';
    drop_held(session, header);
    if (!query || session->replies.unsynced || session->replies.tx == 'T') {
        poison(session, query, err);
        return;
    }
    say_error(session, err);
    say_ready(session);
    pk_session_event(session, PK_EV_ANSWERED);
}

/* ---- stage 2 ---- */

/* The text as UTF-8 in the request's arena. FOREIGN: it is no text of its encoding by our tables
 * and stays as it is; the server's tables may be more generous, so it is forwarded only if it is
 * not ours even so. */
static verdict convert(pk_session *session, pk_span text, bool cut, pk_request *request,
                       pk_span *utf8, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf converted = PK_BUF_SECRET((size_t)4 * PK_CLAIMED_MAX);
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

static const char *name_of(const pk_stmt *stmt)
{
    if (stmt->tag != NULL && stmt->tag[0] != 0)
        return stmt->tag;
    return stmt->head != NULL && stmt->head[0] != 0 ? stmt->head : "this statement";
}

static verdict too_long(pk_error *err)
{
    (void)pk_fail(err, PK_E_TOO_LONG, "a statement of pgkeep can be at most %u bytes long",
                  PK_CLAIMED_MAX);
    return REFUSE;
}

static verdict judge_parse(const pk_script *script, pk_error *err)
{
    if (script->count > 1)
        (void)pk_fail(err, PK_E_SYNTAX,
                      "cannot insert multiple commands into a prepared statement");
    else {
        (void)pk_fail(err, PK_E_UNSUPPORTED, "%s is not supported in the extended query protocol",
                      name_of(&script->stmts[0]));
        (void)pk_error_hint(err, "Send it as a simple query.");
    }
    return REFUSE;
}

static verdict not_in(pk_error *err, const pk_stmt *stmt, const char *where, const char *hint)
{
    (void)pk_fail(err, PK_E_IN_TRANSACTION, "%s cannot %s", name_of(stmt), where);
    (void)pk_error_hint(err, "%s", hint);
    return REFUSE;
}

static verdict judge_query(const pk_session *session, const pk_script *script, pk_error *err)
{
    if (session->replies.unsynced)
        return not_in(
            err, &script->stmts[0], "be executed within a pipeline",
            "Send it alone, after the end of the pipeline; drivers need autocommit for it.");
    if (session->replies.tx == 'E') {
        (void)pk_fail(err, PK_E_ABORTED_TRANSACTION,
                      "current transaction is aborted, commands ignored until end of transaction "
                      "block");
        return REFUSE;
    }
    for (size_t i = 0; session->replies.tx == 'T' && i < script->count; i++)
        if (!pk_exec_in_block(script->stmts[i].kind))
            return not_in(err, &script->stmts[i], "run inside a transaction block",
                          "Send it outside of BEGIN and COMMIT; drivers need autocommit for it.");
    return RUN;
}

static verdict judge_script(const pk_session *session, pk_header header, const pk_script *script,
                            pk_error *err)
{
    if (script->kind == PK_SCRIPT_FOREIGN)
        return FOREIGN;
    if (header.size > PK_CLAIMED_MAX)
        return too_long(err);
    if (header.type == 'P')
        return judge_parse(script, err);
    if (script->kind == PK_SCRIPT_MIXED) {
        (void)pk_fail(err, PK_E_UNSUPPORTED, "statements of pgkeep must be sent alone");
        (void)pk_error_hint(err, "Send the statements for PostgreSQL in a query of their own.");
        return REFUSE;
    }
    return judge_query(session, script, err);
}

static verdict examine(pk_session *session, pk_header header, pk_span message, pk_request *request,
                       pk_error *err)
{
    const pk_parse_options options = {.standard_conforming = session->standard_conforming};
    pk_span text;
    pk_span utf8;
    if (!text_of(header, message, &text))
        return FOREIGN;
    const verdict text_is = convert(session, text, message.len < header.size, request, &utf8, err);
    if (text_is == REFUSE)
        return REFUSE;
    if (!pk_parse(utf8, &options, &request->arena, &request->script, err))
        return header.size > PK_CLAIMED_MAX ? too_long(err) : REFUSE;
    if (text_is == FOREIGN && request->script.kind != PK_SCRIPT_FOREIGN) {
        (void)pk_fail(err, PK_E_PARAMETER, "the statement is not valid text of client_encoding %s",
                      session->encoding);
        return REFUSE;
    }
    return judge_script(session, header, &request->script, err);
}

static void send_stand_in(pk_session *session, pk_request *request)
{
    char sql[256];
    need_nonce(session);
    request->number = ++session->loop->last_request;
    session->check_failed = session->check_proved = false;
    session->request = request;
    (void)snprintf(sql, sizeof sql, "SELECT '%s' /* pgkeep: %s %llu */", session->nonce,
                   name_of(&request->script.stmts[0]), (unsigned long long)request->number);
    send_query(session, sql);
    pk_session_event(session, PK_EV_CHECK_SENT);
}

void pk_intercept_hold(pk_session *session)
{
    /* Without it the server may keep the answers we wait for. */
    if (pk_replyq_needs_flush(&session->replies))
        send_other(session, 'H');
}

static void decide(pk_session *session)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = NULL;
    pk_header header;
    pk_error err;
    pk_span message = pk_stream_held(&session->client);
    if (pk_wire_client(message, &header) != PK_FRAMING_OK)
        return; /* cannot be: it was looked at before */
    if (message.len > header.size)
        message.len = header.size;
    if (session->replies.skip) { /* the server would throw it away */
        drop_held(session, header);
        pk_session_event(session, PK_EV_ANSWERED);
        return;
    }
    request = pk_request_new();
    switch (examine(session, header, message, request, &err)) {
    case FOREIGN:
        session->client_pass = true;
        pk_session_event(session, PK_EV_FOREIGN);
        break;
    case REFUSE:
        refuse(session, header, &err);
        break;
    case RUN:
        drop_held(session, header);
        send_stand_in(session, pk_steal(&request));
        break;
    }
}

/* ---- answers of the server to what we sent ---- */

/* Is this the row that the stand-in asked for? */
static bool is_our_row(const pk_session *session, pk_span message)
{
    pk_reader reader = {.rest = {message.ptr + PK_WIRE_HEADER, message.len - PK_WIRE_HEADER}};
    uint16_t columns = pk_read_u16(&reader);
    uint32_t len = pk_read_u32(&reader);
    pk_span value = pk_read_bytes(&reader, len);
    return columns == 1 && !reader.bad && pk_span_equal(value, pk_span_of(session->nonce));
}

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
        answer = PK_ANSWER_REFUSAL_FIRST;
    }
    pk_request_free(pk_steal(&session->request));
    pk_session_event(session, PK_EV_ANSWERED);
    return answer;
}

static pk_answer answer_to_check(pk_session *session, char type, pk_span message)
{
    switch (type) {
    case 'D':
        session->check_proved = is_our_row(session, message);
        return PK_ANSWER_SWALLOW;
    case 'T':
    case 'C':
        return PK_ANSWER_SWALLOW;
    case 'E':
        session->check_failed = true;
        return PK_ANSWER_FORWARD;
    case 'Z':
        return checked(session);
    default:
        return PK_ANSWER_FORWARD; /* asynchronous */
    }
}

static pk_answer answer_to_poison(pk_session *session, char type)
{
    switch (type) {
    case 'E':
        if (session->fatal_seen)
            return PK_ANSWER_FORWARD;
        if (!session->refusing_query)
            pk_session_event(session, PK_EV_ANSWERED);
        return PK_ANSWER_REPLACE;
    case 'C':
    case 'T':
    case 'D':
        return PK_ANSWER_SWALLOW; /* it never succeeds; if it did, the refusal stands */
    case 'Z':
        pk_session_event(session, PK_EV_ANSWERED);
        return session->refusal != NULL ? PK_ANSWER_REFUSAL_FIRST : PK_ANSWER_FORWARD;
    default:
        return PK_ANSWER_FORWARD;
    }
}

pk_answer pk_intercept_answer(pk_session *session, pk_header header, pk_span message)
{
    if (session->state == PK_ST_CHECK)
        return answer_to_check(session, header.type, message);
    if (session->state == PK_ST_POISON)
        return answer_to_poison(session, header.type);
    /* A COPY that waits for data while we hold back what is not data: the client broke the
     * protocol, and the server is the one to say so. */
    if (session->state == PK_ST_HOLD && (header.type == 'G' || header.type == 'W') &&
        !pk_replyq_copy_ends(&session->replies)) {
        session->client_pass = true;
        pk_session_event(session, PK_EV_FOREIGN);
    }
    return PK_ANSWER_FORWARD;
}

/* ---- the engine ---- */

void pk_intercept_submit(pk_session *session)
{
    pk_request *request = pk_steal(&session->request);
    pk_error err;
    pk_arena *arena = &request->arena;
    if (session->user != NULL)
        request->user = pk_arena_strdup(arena, session->user, &err);
    request->database = pk_arena_strdup(arena, session->database, &err);
    request->client = pk_arena_strdup(arena, session->client_name, &err);
    request->session = session->number;
    request->secure_peer = session->secure_peer;
    request->in_block = session->replies.tx == 'T';
    request->done = pk_post_request;
    request->ctx = session->loop->post;
    session->running = request->number;
    pk_session_resume(session); /* a goodbye may have come meanwhile */
    pk_engine_submit(session->loop->engine, request);
}

void pk_intercept_done(pk_loop *loop, pk_request *request)
{
    pk_session *session = pk_session_find(loop, request->session);
    if (session == NULL || session->running != request->number) {
        pk_log_debug("request %llu: done, its session is gone",
                     (unsigned long long)request->number);
        pk_request_free(request);
        return;
    }
    session->running = 0;
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
        poison(session, true, failed);
        return;
    }
    if (failed != NULL)
        say_error(session, failed);
    say_ready(session);
    pk_session_event(session, PK_EV_ANSWERED);
}

void pk_intercept_settle(pk_session *session)
{
    if (session->backend_left > 0)
        return; /* in the middle of a message to the client */
    if (session->state == PK_ST_HOLD && pk_replyq_drained(&session->replies))
        decide(session);
    else if (session->state == PK_ST_LOCAL && session->request != NULL)
        tell(session);
}
