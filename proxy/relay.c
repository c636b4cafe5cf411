/*
 * Each direction is one loop over headers. `at` is how far we looked, `run` where the bytes begin
 * that are to be forwarded but not yet written; a run is cut only where a message is dropped,
 * replaced, or has something of ours in front of it. A message may begin in one call and end in
 * another: the session keeps how much of it is still to come.
 *
 * From the server only few types are looked at (wire-protocol 3); all others are stepped over by
 * length.
 *
 * Nearly all messages need nothing but a line in the books. Those that are there whole and can be
 * nothing else glide by in a loop of their own, which decides nothing: what it does not take goes
 * the long way. In a pipeline of short queries that loop is most of our work.
 */
#include "proxy/relay.h"

#include "base/log.h"
#include "proxy/auth.h"
#include "proxy/cancel.h"
#include "proxy/intercept.h"
#include "proxy/lockstep.h"
#include "proxy/startup.h"

#include <string.h>

#define ERROR_LOOK 96u /* enough of an ErrorResponse to see its severity and SQLSTATE */
#define TAG_LOOK   32u /* enough of a CommandComplete to see DEALLOCATE ALL */

typedef struct cursor {
    pk_span bytes;
    size_t at, run;
    pk_stream *to;
} cursor;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static pk_span rest_of(const cursor *c)
{
    return (pk_span){c->bytes.ptr + c->at, c->bytes.len - c->at};
}

static void flush_run(cursor *c)
{
    if (c->at > c->run)
        pk_stream_write(c->to, (pk_span){c->bytes.ptr + c->run, c->at - c->run});
    c->run = c->at;
}

/* Steps over what is there of a message's body. */
static void step_over(cursor *c, size_t *left, bool drop)
{
    size_t step = smaller(*left, c->bytes.len - c->at);
    if (drop)
        flush_run(c);
    c->at += step;
    *left -= step;
    if (drop)
        c->run = c->at;
}

/* The size of the message at the cursor if all of it is there and its length is allowed; else 0. */
static inline size_t whole(const cursor *c, uint32_t limit)
{
    const size_t there = c->bytes.len - c->at;
    if (there < PK_WIRE_HEADER)
        return 0;
    const uint32_t length = pk_wire_u32(c->bytes.ptr + c->at + 1);
    if (!pk_wire_is_length(length, limit) || (size_t)length + 1 > there)
        return 0;
    return (size_t)length + 1;
}

/* ---- from the client ---- */

static void client_violation(pk_session *session, cursor *c, pk_framing framing)
{
    pk_error err;
    flush_run(c);
    if (framing == PK_FRAMING_BAD_TYPE)
        (void)pk_fail(&err, PK_E_PROTOCOL, "invalid frontend message type %u",
                      (unsigned)(unsigned char)c->bytes.ptr[c->at]);
    else
        (void)pk_fail(&err, PK_E_PROTOCOL, "invalid message length");
    session->goodbye_sent = true; /* the server may be in the middle of anything */
    pk_session_fatal(session, &err);
    c->at = c->run = c->bytes.len;
}

/* Before the first ReadyForQuery only answers to authentication requests, and goodbye. */
static bool is_legal(const pk_session *session, char type)
{
    if (session->state == PK_ST_LOGIN)
        return type == 'p' || type == 'X';
    return type != 'p';
}

/* Behind a failure of ours, what the server would throw away is not even sent: it may hold
 * parameters of ours. */
static bool is_discarded(pk_session *session, pk_header header)
{
    if (!session->discard)
        return false;
    if (header.type == 'S') {
        session->discard = false;
        return false;
    }
    session->client_wants = 0;
    session->client_left = header.size;
    session->client_drop = true;
    return true;
}

/* Does intercept have to see it? */
static bool is_looked_at(const pk_session *session, char type)
{
    return type == 'Q' || type == 'P' || session->client_pass ||
           (session->names != NULL && (type == 'B' || type == 'D' || type == 'E' || type == 'C'));
}

static void client_breach(pk_session *session, cursor *c)
{
    flush_run(c);
    pk_intercept_breach(session);
    session->client.soiled = true;
    c->at = c->run = c->bytes.len;
}

/* A Flush is not answered; one that is not empty is, as any extended message that fails. */
static bool is_bad_flush(pk_header header)
{
    return header.type == 'H' && header.size != PK_WIRE_HEADER;
}

/* False: nothing more can be done now. */
static bool client_message(pk_session *session, cursor *c, pk_header header)
{
    if (is_discarded(session, header))
        return true;
    if (is_looked_at(session, header.type)) {
        switch (pk_intercept_look(session, header, rest_of(c))) {
        case PK_LOOK_WAIT:
            return false;
        case PK_LOOK_HOLD:
            flush_run(c);
            pk_session_event(session, PK_EV_MAYBE_OURS);
            return false;
        case PK_LOOK_BREACH:
            client_breach(session, c);
            return false;
        case PK_LOOK_PASS:
            break;
        }
    }
    session->client_wants = 0;
    session->client_left = header.size;
    session->client_drop = false;
    char counted = header.type;
    if (is_bad_flush(header))
        counted = 'D';
    pk_replyq_sent(&session->replies, counted);
    return true;
}

static void client_goodbye(pk_session *session, cursor *c)
{
    c->at += smaller(PK_WIRE_HEADER, c->bytes.len - c->at);
    flush_run(c);
    session->client_left = 0;
    session->goodbye_sent = true;
    c->at = c->bytes.len;
    if (session->state == PK_ST_RELAY && !pk_replyq_drained(&session->replies)) {
        pk_session_event(session, PK_EV_CLIENT_HURRIES);
        return;
    }
    session->client_gone = true;
    pk_session_event(session, PK_EV_CLIENT_LEAVES);
}

/* One message, or what is there of it. False: stop here. */
static bool client_step(pk_session *session, cursor *c)
{
    pk_header header;
    if (session->client_left > 0) {
        session->client.soiled = session->client.soiled || session->client_drop;
        step_over(c, &session->client_left, session->client_drop);
        return true;
    }
    pk_framing framing = pk_wire_client(rest_of(c), &header);
    if (framing == PK_FRAMING_MORE)
        return false;
    if (framing != PK_FRAMING_OK || !is_legal(session, header.type)) {
        client_violation(session, c,
                         framing == PK_FRAMING_BAD_LENGTH ? framing : PK_FRAMING_BAD_TYPE);
        return false;
    }
    if (header.type == 'X') {
        client_goodbye(session, c);
        return false;
    }
    if (pk_replyq_full(&session->replies)) {
        session->client_stalled = true;
        return false;
    }
    return client_message(session, c, header);
}

static bool client_glides(const pk_session *session)
{
    return session->state == PK_ST_RELAY && session->client_left == 0 && session->names == NULL &&
           !session->discard && !session->client_pass;
}

/* What names a statement or portal, while there are none of ours, and data. */
static void client_glide(pk_session *session, cursor *c)
{
    static const bool glides[256] = {
        ['B'] = true, ['D'] = true, ['E'] = true, ['C'] = true, ['S'] = true, ['d'] = true};
    while (c->at < c->bytes.len) {
        const unsigned char type = (unsigned char)c->bytes.ptr[c->at];
        if (!glides[type] || pk_replyq_full(&session->replies))
            return;
        const size_t size = whole(c, pk_wire_client_limits[type]);
        if (size == 0)
            return;
        pk_replyq_sent(&session->replies, (char)type);
        c->at += size;
    }
}

size_t pk_relay_client(pk_session *session, pk_span bytes)
{
    cursor c = {.bytes = bytes, .to = &session->backend};
    do {
        if (client_glides(session))
            client_glide(session, &c);
    } while (c.at < bytes.len && client_step(session, &c));
    flush_run(&c);
    return c.at;
}

/* ---- from the server ---- */

void pk_relay_note_encoding(pk_session *session, pk_span name)
{
    const size_t len = smaller(name.len, sizeof session->encoding - 1);
    memcpy(session->encoding, name.ptr, len);
    session->encoding[len] = 0;
}

static void note_parameter(pk_session *session, pk_span body)
{
    pk_reader reader = {.rest = body};
    if (body.len == 0 || (body.ptr[0] != 'c' && body.ptr[0] != 's'))
        return; /* none of those below */
    pk_span name = pk_read_text(&reader);
    pk_span value = pk_read_text(&reader);
    if (reader.bad)
        return;
    if (pk_span_equal(name, PK_SPAN("client_encoding"))) {
        pk_relay_note_encoding(session, value);
    } else if (pk_span_equal(name, PK_SPAN("standard_conforming_strings"))) {
        session->standard_conforming = pk_span_equal(value, PK_SPAN("on"));
    } else if (pk_span_equal(name, PK_SPAN("session_authorization"))) {
        if (session->user != NULL && !pk_span_equal(pk_span_of(session->user), value))
            pk_session_forget_keys(session);
        pk_free(session->user);
        session->user = pk_new_bytes(value.len + 1);
        memcpy(session->user, value.ptr, value.len);
    }
}

/* Severity, from V, which is never translated; S for servers before 9.6. */
static bool is_fatal(pk_span message)
{
    pk_reader reader = {.rest = {message.ptr + PK_WIRE_HEADER, message.len - PK_WIRE_HEADER}};
    bool fatal = false;
    for (;;) {
        pk_span code = pk_read_bytes(&reader, 1);
        pk_span value = pk_read_text(&reader);
        if (reader.bad || (code.ptr[0] != 'S' && code.ptr[0] != 'V'))
            return fatal;
        fatal = pk_span_equal(value, PK_SPAN("FATAL")) || pk_span_equal(value, PK_SPAN("PANIC"));
    }
}

/* So many bytes of a message must be there before it can be judged; 0: its header says it all. */
static size_t looked_at(const pk_session *session, pk_header header, pk_span bytes)
{
    switch (header.type) {
    case 'R':
        return pk_auth_look(session, header, bytes);
    case 'S':
    case 'Z':
        return header.size;
    case 'K':
        return session->state == PK_ST_LOGIN ? header.size : 0;
    case 'v':
        return session->negotiate ? header.size : 0;
    case 'E':
        return smaller(header.size, PK_WIRE_HEADER + ERROR_LOOK);
    case 'D':
        if (session->state != PK_ST_CHECK && session->state != PK_ST_STEP)
            return 0;
        return smaller(header.size, PK_WIRE_HEADER + PK_EXTENDED_LOOK);
    case 'T':
        if (session->state != PK_ST_STEP)
            return 0;
        return smaller(header.size, PK_WIRE_HEADER + PK_EXTENDED_LOOK);
    case 'C':
        if (session->names == NULL && !session->opened)
            return 0;
        return smaller(header.size, PK_WIRE_HEADER + TAG_LOOK);
    default:
        return 0;
    }
}

static void server_violation(pk_session *session, cursor *c)
{
    pk_error err;
    flush_run(c);
    session->fatal_seen = true;
    (void)pk_fail(&err, PK_E_BACKEND_LOST, "the server sent a message that cannot be understood");
    pk_session_fatal(session, &err);
    c->at = c->run = c->bytes.len;
}

/* A NegotiateProtocolVersion of ours goes in front of the first authentication message, if the
 * server sends none; else it is merged with the server's (wire-protocol 2.2). */
static void negotiate(pk_session *session, cursor *c, pk_span theirs)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_WIRE_SHORT_MAX + PK_STARTUP_MAX);
    pk_error err;
    session->negotiate = false;
    flush_run(c);
    if (pk_startup_negotiated(theirs, session->version, pk_buf_span(&session->removed), &out, &err))
        pk_session_say(session, &out);
    else
        pk_session_fatal(session, &err);
}

static void note_tag(pk_session *session, pk_span body)
{
    pk_reader reader = {.rest = body};
    pk_span tag = pk_read_text(&reader);
    if (!reader.bad)
        pk_lockstep_completed(session, tag);
}

/* The books, and what is tracked. `message` is whole for the types that looked_at names. */
static void note_message(pk_session *session, pk_header header, pk_span message)
{
    pk_span body = {message.ptr + PK_WIRE_HEADER, message.len - PK_WIRE_HEADER};
    char status = 0;
    if (header.type == 'S')
        note_parameter(session, body);
    else if (header.type == 'K' && session->state == PK_ST_LOGIN)
        pk_cancel_register(session, body);
    else if (header.type == 'E')
        session->fatal_seen = session->fatal_seen || is_fatal(message);
    else if (header.type == 'C' && (session->names != NULL || session->opened))
        note_tag(session, body);
    else if (header.type == 'Z' && body.len > 0)
        status = body.ptr[0];
    if (header.type == 'Z' && session->names != NULL)
        pk_lockstep_ready(session, pk_replyq_ready_for(&session->replies), status);
    pk_replyq_got(&session->replies, header.type, status);
    if (session->client_stalled && !pk_replyq_full(&session->replies)) {
        session->client_stalled = false;
        pk_session_resume(session);
    }
}

/* False: there are too many already; that is said in place of ReadyForQuery. */
static bool login_ends(pk_session *session, cursor *c)
{
    pk_error err;
    if (pk_session_count_login(session, &err)) {
        pk_session_event(session, PK_EV_READY);
        return true;
    }
    flush_run(c);
    pk_session_fatal(session, &err);
    return false;
}

/* What happens to a message whose interesting part is there. */
static pk_answer judge(pk_session *session, cursor *c, pk_header header, pk_span message)
{
    if (session->negotiate && (header.type == 'v' || header.type == 'R')) {
        negotiate(session, c, header.type == 'v' ? message : PK_SPAN(""));
        if (header.type == 'v')
            return PK_ANSWER_SWALLOW;
    }
    note_message(session, header, message);
    if (header.type == 'R' && pk_auth_look(session, header, message) > 0) {
        flush_run(c); /* something may be said in its place */
        return pk_auth_answer(session, header, message);
    }
    if (header.type == 'Z' && session->state == PK_ST_LOGIN && !login_ends(session, c))
        return PK_ANSWER_SWALLOW;
    return pk_intercept_answer(session, header, message);
}

static void say_ours(pk_session *session, cursor *c)
{
    flush_run(c);
    pk_intercept_say(session);
}

/* One message, or what is there of it. False: more bytes are needed. */
static bool server_step(pk_session *session, cursor *c)
{
    pk_header header;
    if (session->backend_left > 0) {
        step_over(c, &session->backend_left, session->backend_drop);
        return true;
    }
    pk_framing framing = pk_wire_server(rest_of(c), &header);
    if (framing == PK_FRAMING_MORE)
        return false;
    size_t needed = framing == PK_FRAMING_OK ? looked_at(session, header, rest_of(c)) : 0;
    if (framing != PK_FRAMING_OK || needed > PK_WIRE_SHORT_MAX) {
        server_violation(session, c);
        return false;
    }
    if (c->bytes.len - c->at < needed)
        return false;
    pk_span message = {c->bytes.ptr + c->at, smaller(header.size, c->bytes.len - c->at)};
    pk_answer answer = judge(session, c, header, message);
    if (session->state >= PK_ST_CANCEL) { /* it is over: nothing may follow our FATAL */
        c->at = c->run = c->bytes.len;
        return false;
    }
    if (answer & PK_ANSWER_OURS_FIRST)
        say_ours(session, c);
    session->backend_left = header.size;
    session->backend_drop = (answer & PK_ANSWER_SWALLOW) != 0;
    return true;
}

static bool server_glides(const pk_session *session)
{
    return session->state == PK_ST_RELAY && session->backend_left == 0 && session->names == NULL &&
           !session->opened && !session->negotiate && !session->client_stalled;
}

#define READY_SIZE (PK_WIRE_HEADER + 1)

/* Answers that are only counted, and data, which is not even that. */
static void server_glide(pk_session *session, cursor *c)
{
    enum { STOPS, COUNTS, PASSES };
    static const uint8_t glides[256] = {
        ['1'] = COUNTS, ['2'] = COUNTS, ['3'] = COUNTS, ['n'] = COUNTS, ['T'] = COUNTS,
        ['C'] = COUNTS, ['I'] = COUNTS, ['s'] = COUNTS, ['Z'] = COUNTS, ['D'] = PASSES,
        ['d'] = PASSES, ['t'] = PASSES, ['N'] = PASSES, ['A'] = PASSES,
    };
    while (c->at < c->bytes.len) {
        const unsigned char type = (unsigned char)c->bytes.ptr[c->at];
        if (glides[type] == STOPS)
            return;
        const size_t size = whole(c, PK_WIRE_SERVER_LIMIT);
        if (size == 0 || (type == 'Z' && size != READY_SIZE))
            return;
        char status = 0;
        if (type == 'Z')
            status = c->bytes.ptr[c->at + PK_WIRE_HEADER];
        if (glides[type] == COUNTS)
            pk_replyq_got(&session->replies, (char)type, status);
        c->at += size;
    }
}

size_t pk_relay_server(pk_session *session, pk_span bytes)
{
    cursor c = {.bytes = bytes, .to = &session->client};
    do {
        if (server_glides(session))
            server_glide(session, &c);
    } while (c.at < bytes.len && server_step(session, &c));
    flush_run(&c);
    return c.at;
}
