/*
 * The server stays the judge of names: it has a stand-in under each of ours, answers duplicates,
 * missing names and aborted transactions itself, and loses the stand-in when SQL does it behind our
 * back (DEALLOCATE, PREPARE). So nothing here is believed that the stand-in does not prove: before
 * a Bind the statement is described, and its only column must have our nonce for a name; an Execute
 * must answer our nonce as its only row. Otherwise the name is foreign by now, its entry goes, and
 * the client's message or the server's answer passes unchanged.
 *
 * After an error the server throws everything away until a Sync; what the client sends meanwhile
 * may hold our parameters and is thrown away here instead (session->discard).
 */
#include "proxy/lockstep.h"

#include "engine/exec.h"
#include "parser/bind.h"
#include "proxy/encoding.h"
#include "proxy/refuse.h"
#include "proxy/step.h"

#include <stdio.h>

/* A Describe may be 10000 bytes long, and we make one of the name in a Bind. */
#define NAME_MAX_SENT 8000u

pk_step *pk_step_new(pk_step_kind kind)
{
    pk_step *step = pk_new(pk_step);
    step->kind = kind;
    return step;
}

void pk_step_free(pk_step *step)
{
    if (step == NULL)
        return;
    pk_prepared_unref(step->prepared);
    pk_portal_free(step->portal);
    pk_free(step);
}

pk_span pk_step_name(const pk_step *step)
{
    return pk_span_of(step->name.text);
}

void pk_step_drop_entry(pk_session *session)
{
    const pk_step *step = session->step;
    if (step->of_portal)
        pk_names_drop_portal(&session->names, pk_step_name(step));
    else
        pk_names_drop_statement(&session->names, pk_step_name(step));
}

void pk_step_end(pk_session *session, pk_event event)
{
    pk_step_free(pk_steal(&session->step));
    pk_session_event(session, event);
}

/* ---- looking ---- */

static bool touches(const pk_session *session, const pk_targets *targets)
{
    return (targets->statement.ptr != NULL &&
            pk_names_statement(session->names, targets->statement) != NULL) ||
           (targets->portal.ptr != NULL &&
            pk_names_portal(session->names, targets->portal) != NULL);
}

static pk_look wait_for(pk_session *session, size_t size)
{
    session->client_wants = size;
    return PK_LOOK_WAIT;
}

typedef enum names_found { NAMES_READ, NAMES_MALFORMED, NAMES_TOO_LONG } names_found;

/* Within the first 64 KiB. Longer ones than anybody needs could be ours by their first bytes, and
 * values may follow; what is not well-formed the server refuses unread. */
static names_found read_names(pk_header header, pk_span bytes, pk_targets *targets)
{
    if (bytes.len > header.size)
        bytes.len = header.size;
    if (bytes.len > PK_WIRE_HEADER + PK_LOOKED_AT)
        bytes.len = PK_WIRE_HEADER + PK_LOOKED_AT;
    if (pk_extended_targets(header.type, bytes, targets))
        return NAMES_READ;
    return bytes.len < header.size ? NAMES_TOO_LONG : NAMES_MALFORMED;
}

pk_look pk_lockstep_look(pk_session *session, pk_header header, pk_span bytes)
{
    pk_targets targets;
    size_t first = PK_WIRE_HEADER + PK_LOOKED_AT;
    if (first > header.size)
        first = header.size;
    if (bytes.len < first)
        return wait_for(session, first);
    const names_found found = read_names(header, bytes, &targets);
    if (found == NAMES_TOO_LONG)
        return PK_LOOK_HOLD;
    if (found == NAMES_MALFORMED || !touches(session, &targets))
        return PK_LOOK_PASS;
    if (header.size <= PK_HELD_MAX && bytes.len < header.size)
        return wait_for(session, header.size);
    return PK_LOOK_HOLD;
}

/* ---- sending ---- */

static void begin_step(pk_session *session, pk_step *step, pk_span name, bool of_portal)
{
    pk_step_free(session->step);
    step->name = pk_name_of(name);
    step->of_portal = of_portal;
    session->step = step;
}

static void sent(pk_session *session)
{
    pk_refuse_send_flush(session);
    pk_session_event(session, PK_EV_STEP_SENT);
}

/* The client's own message, unchanged. It is whole. */
static void forward_held(pk_session *session, pk_header header, pk_span message)
{
    pk_replyq_sent(&session->replies, header.type);
    pk_stream_write(&session->backend, message);
    pk_refuse_drop_held(session, header);
    sent(session);
}

/* ---- Parse of ours ---- */

static bool name_too_long(pk_error *err)
{
    return pk_fail(err, PK_E_TOO_LONG, "the name of the prepared statement or portal is too long");
}

/* The server converts names before it compares them, and cuts them then; only those of ASCII are
 * the same bytes in every client encoding. */
static bool check_name(pk_span name, const char *what, pk_error *err)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] >= 0x80)
            return pk_fail(err, PK_E_UNSUPPORTED,
                           "the name of a %s of pgkeep's statements is written in ASCII", what);
    return true;
}

static bool keep_text(pk_session *session, const pk_parse_message *parse, pk_prepared *prepared,
                      pk_error *err)
{
    if (pk_encoding_is_plain(session->encoding, parse->text))
        return pk_buf_append_span(&prepared->text, parse->text, err);
    switch (pk_encoding_to_utf8(session->encoding, parse->text, false, &prepared->text)) {
    case PK_ENCODING_NO_ROOM:
        return pk_fail(err, PK_E_MEMORY, "out of memory");
    case PK_ENCODING_OK:
        return true;
    case PK_ENCODING_BAD: /* cannot be: it was converted before */
    case PK_ENCODING_UNKNOWN:
        break;
    }
    pk_buf_clear(&prepared->text);
    return pk_buf_append_span(&prepared->text, parse->text, err);
}

static bool prepare(pk_session *session, const pk_parse_message *parse, const pk_request *parsed,
                    pk_prepared *prepared, pk_error *err)
{
    const pk_stmt *stmt = &parsed->script.stmts[0];
    prepared->standard_conforming = session->standard_conforming;
    prepared->kind = stmt->kind;
    (void)snprintf(prepared->words, sizeof prepared->words, "%s", pk_refuse_name(stmt));
    if (pk_script_params(&parsed->script) > PK_PARAMETERS_MAX ||
        parse->type_count > PK_PARAMETERS_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "a statement of pgkeep can have at most %u parameters",
                       PK_PARAMETERS_MAX);
    return check_name(parse->name, "prepared statement", err) &&
           pk_extended_check_types(parse, err) && keep_text(session, parse, prepared, err) &&
           pk_names_room_for_statement(session->names, parse->name, prepared->text.size, err);
}

void pk_lockstep_prepare(pk_session *session, pk_header header, pk_span message,
                         const pk_request *parsed)
{
    PK_AUTO_PTR(pk_prepared_unref) pk_prepared *prepared = pk_prepared_new();
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_OWN_MESSAGE_MAX);
    pk_parse_message parse;
    pk_error err;
    char comment[96];
    uint32_t parameters = pk_script_params(&parsed->script);
    if (!pk_extended_read_parse(message, &parse)) {
        (void)pk_fail(&err, PK_E_PROTOCOL, "invalid message format");
        pk_refuse_held(session, header, &err);
        return;
    }
    if (!prepare(session, &parse, parsed, prepared, &err)) {
        pk_refuse_held(session, header, &err);
        return;
    }
    if (parse.type_count > parameters)
        parameters = parse.type_count;
    pk_refuse_need_nonce(session);
    (void)snprintf(comment, sizeof comment, "%s %llu", prepared->words,
                   (unsigned long long)pk_hub_next_request(session->loop->hub));
    if (parse.name.len > NAME_MAX_SENT ||
        !pk_extended_stand_in(&out, &parse, session->nonce, comment, parameters)) {
        (void)name_too_long(&err);
        pk_refuse_held(session, header, &err);
        return;
    }
    begin_step(session, pk_step_new(PK_STEP_PREPARE), parse.name, false);
    session->step->prepared = pk_steal(&prepared);
    pk_refuse_drop_held(session, header);
    pk_session_send(session, &out);
    sent(session);
}

/* ---- Bind ---- */

/* Before our NULLs are bound to it: is it our stand-in that stands under this name? */
static void verify(pk_session *session, pk_header header, pk_span statement)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_OWN_MESSAGE_MAX);
    pk_error err;
    if (statement.len > NAME_MAX_SENT || !pk_extended_describe(&out, statement)) {
        (void)name_too_long(&err);
        pk_refuse_held(session, header, &err);
        return;
    }
    begin_step(session, pk_step_new(PK_STEP_VERIFY), statement, false);
    pk_session_send(session, &out);
    sent(session);
}

static pk_header held_header(const pk_session *session, pk_span *message)
{
    pk_header header = {0, 0};
    *message = pk_stream_held(&session->client);
    (void)!pk_wire_client(*message, &header); /* it was looked at before */
    if (message->len > header.size)
        message->len = header.size;
    return header;
}

static bool take_bind(pk_session *session, pk_header header, pk_span message,
                      const pk_targets *targets, pk_portal *portal, pk_error *err)
{
    size_t columns = 0;
    if (header.size > PK_HELD_MAX)
        return pk_fail(err, PK_E_TOO_LONG,
                       "the parameters of a statement of pgkeep can take at most %u bytes",
                       PK_HELD_MAX);
    pk_prepared *prepared = pk_names_statement(session->names, targets->statement);
    if (prepared == NULL) /* only a server that answers what nobody asked can bring this about */
        return pk_fail(err, PK_E_PROTOCOL, "the server dropped the prepared statement meanwhile");
    if (!check_name(targets->portal, "portal", err))
        return false;
    portal->prepared = pk_prepared_ref(prepared);
    portal->has_rows = pk_exec_columns(portal->prepared->kind, &columns) != NULL;
    return pk_extended_read_bind(message, session->encoding, columns, portal, err) &&
           pk_names_room_for_portal(session->names, targets->portal, pk_portal_size(portal), err);
}

/* The held Bind is of our stand-in. */
static void bind_ours(pk_session *session)
{
    PK_AUTO_PTR(pk_portal_free) pk_portal *portal = pk_portal_new();
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX((size_t)2 * PK_HELD_MAX);
    pk_targets targets;
    pk_error err;
    pk_span message;
    pk_header header = held_header(session, &message);
    (void)!pk_extended_targets(header.type, message, &targets); /* it could be read before */
    if (!take_bind(session, header, message, &targets, portal, &err) ||
        (!pk_extended_null_bind(&out, &targets, portal->value_count) &&
         !pk_fail(&err, PK_E_TOO_LONG, "the name of the portal is too long"))) {
        pk_step_free(pk_steal(&session->step));
        pk_refuse_held(session, header, &err);
        return;
    }
    begin_step(session, pk_step_new(PK_STEP_BIND), targets.portal, true);
    session->step->portal = pk_steal(&portal);
    pk_refuse_drop_held(session, header);
    pk_session_send(session, &out);
    sent(session);
}

/* ---- Execute ---- */

static bool may_run(const pk_session *session, const pk_portal *portal, pk_error *err)
{
    const pk_replyq *replies = &session->replies;
    const char *words = portal->prepared->words;
    if (portal->ran || pk_exec_in_block(portal->prepared->kind))
        return true;
    if (replies->tx == 'T')
        return pk_refuse_in_block(words, err);
    /* Behind another Execute nobody knows whether a transaction is open. In an aborted one the
     * server says so itself. */
    return !replies->executed || pk_refuse_in_pipeline(words, err);
}

static void execute(pk_session *session, pk_header header, pk_span message, pk_span name)
{
    pk_error err;
    const pk_portal *portal = pk_names_portal(session->names, name);
    if (!may_run(session, portal, &err)) {
        pk_refuse_held(session, header, &err);
        return;
    }
    begin_step(session, pk_step_new(PK_STEP_EXECUTE), name, true);
    session->step->limit = pk_extended_row_limit(message);
    session->step->in_block = session->replies.tx == 'T' || session->replies.executed;
    forward_held(session, header, message);
}

/* ---- deciding ---- */

/* A message too long to be kept passes without waiting for its answer. What it does to the unnamed
 * portal is known whatever the answer is; any other entry that is wrong now is found out. */
static void let_pass(pk_session *session, const pk_targets *targets)
{
    if (targets->portal.ptr != NULL && targets->portal.len == 0)
        pk_names_drop_portal(&session->names, targets->portal);
}

static void forward_step(pk_session *session, pk_header header, pk_span message,
                         const pk_targets *targets)
{
    static const pk_step_kind kinds[] = {['P'] = PK_STEP_PARSE,
                                         ['B'] = PK_STEP_REBIND,
                                         ['D'] = PK_STEP_DESCRIBE,
                                         ['C'] = PK_STEP_CLOSE};
    bool of_portal = targets->portal.ptr != NULL;
    begin_step(session, pk_step_new(kinds[(unsigned char)header.type]),
               of_portal ? targets->portal : targets->statement, of_portal);
    forward_held(session, header, message);
}

bool pk_lockstep_decide(pk_session *session, pk_header header, pk_span message)
{
    pk_targets targets;
    pk_error err;
    const names_found found = read_names(header, message, &targets);
    if (found == NAMES_TOO_LONG) {
        (void)name_too_long(&err);
        pk_refuse_held(session, header, &err);
        return true;
    }
    if (found == NAMES_MALFORMED || !touches(session, &targets))
        return false;
    bool of_statement = targets.statement.ptr != NULL &&
                        pk_names_statement(session->names, targets.statement) != NULL;
    if (header.type == 'B' && of_statement) {
        verify(session, header, targets.statement);
    } else if (header.size > PK_HELD_MAX) {
        let_pass(session, &targets);
        return false;
    } else if (header.type == 'E') {
        execute(session, header, message, targets.portal);
    } else {
        forward_step(session, header, message, &targets);
    }
    return true;
}

/* ---- going on ---- */

/* The answer may be another Describe's. The nonce would have proved itself; that it did not come
 * proves nothing, and the values would go where they must not. */
static void end_in_doubt(pk_session *session)
{
    pk_error err;
    (void)pk_fail(&err, PK_E_PROTOCOL,
                  "parameters of a statement of pgkeep cannot be bound behind a COPY FROM STDIN "
                  "that failed with a Sync before the end of its data");
    pk_session_fatal(session, &err);
}

void pk_lockstep_settle(pk_session *session)
{
    pk_step *step = session->step;
    if (!step->answered)
        return;
    if (step->kind == PK_STEP_VERIFY) {
        if (step->proved) {
            bind_ours(session);
        } else if (session->replies.doubtful) {
            end_in_doubt(session);
        } else {
            pk_step_drop_entry(session);
            pk_step_end(session, PK_EV_FOREIGN);
        }
        return;
    }
    pk_step_run(session);
}

void pk_lockstep_forget(pk_session *session)
{
    pk_step_free(pk_steal(&session->step));
    pk_names_clear(&session->names);
}
