/*
 * What the server's answers do: to the table of names, which changes only here, and to the client,
 * who gets them as they are unless they are the stand-in's. An answer that nobody expects is left
 * alone: it is asynchronous, or the server is one that we do not understand.
 */
#include "proxy/lockstep.h"
#include "proxy/step.h"

/* SQLSTATE of an ErrorResponse, as far as it is there. */
static bool is_sqlstate(pk_span message, const char *state)
{
    pk_reader reader = {.rest = {message.ptr + PK_WIRE_HEADER, message.len - PK_WIRE_HEADER}};
    for (;;) {
        pk_span code = pk_read_bytes(&reader, 1);
        pk_span value = pk_read_text(&reader);
        if (reader.bad)
            return false;
        if (code.ptr[0] == 'C')
            return pk_span_equal(value, pk_span_of(state));
    }
}

/* Only what a Describe of a statement says: a Parse runs the functions of its constants' types,
 * which can raise anything. A portal too few holds no values back. */
static bool says_gone(const pk_step *step, pk_span message)
{
    if (step->of_portal)
        return is_sqlstate(message, "34000");
    return (step->kind == PK_STEP_VERIFY || step->kind == PK_STEP_DESCRIBE) &&
           is_sqlstate(message, "26000");
}

/* The server is in its aborted state now, or skips to the Sync. Only what it says is gone, is: a
 * Parse that it could not decode left the unnamed statement where it was. */
static pk_answer failed(pk_session *session, pk_span message)
{
    pk_step *step = session->step;
    if (session->fatal_seen)
        return PK_ANSWER_FORWARD;
    if (!session->replies.doubtful && says_gone(step, message))
        pk_step_drop_entry(session);
    session->discard = session->replies.skip; /* a Bind that is still held goes with the rest */
    pk_step_end(session, PK_EV_ANSWERED);
    return PK_ANSWER_FORWARD;
}

static pk_answer done_with(pk_session *session, char type, char expected, bool drop)
{
    if (type != expected)
        return PK_ANSWER_FORWARD; /* asynchronous, or a server that we do not understand */
    pk_step *step = session->step;
    if (drop)
        pk_step_drop_entry(session);
    if (step->prepared != NULL)
        pk_names_put_statement(&session->names, pk_step_name(step), pk_steal(&step->prepared));
    if (step->portal != NULL)
        pk_names_put_portal(&session->names, pk_step_name(step), pk_steal(&step->portal));
    pk_step_end(session, PK_EV_ANSWERED);
    return PK_ANSWER_FORWARD;
}

/* It is not our stand-in any more: its answer passes as it is. */
static pk_answer is_foreign(pk_session *session, bool over)
{
    pk_step_drop_entry(session);
    session->step->foreign = true;
    if (over)
        pk_step_end(session, PK_EV_ANSWERED);
    return PK_ANSWER_FORWARD;
}

static pk_answer answer_to_verify(pk_session *session, char type, pk_span message)
{
    if (type == 't')
        return PK_ANSWER_SWALLOW;
    if (type != 'T' && type != 'n')
        return PK_ANSWER_FORWARD;
    session->step->proved = type == 'T' && pk_extended_is_column(message, session->nonce);
    session->step->answered = true;
    return PK_ANSWER_SWALLOW;
}

static pk_answer answer_to_describe(pk_session *session, char type, pk_span message)
{
    if (type != 'T' && type != 'n')
        return PK_ANSWER_FORWARD;
    if (type == 'n' || !pk_extended_is_column(message, session->nonce))
        return is_foreign(session, true);
    return PK_ANSWER_REPLACE; /* pk_lockstep_describe ends the step */
}

/* The answer to the first Execute is the row; a portal that ran has none left. */
static pk_answer answer_to_execute(pk_session *session, char type, pk_span message)
{
    pk_step *step = session->step;
    const pk_portal *portal = pk_names_portal(session->names, pk_step_name(step));
    bool ran = portal != NULL && portal->ran;
    bool over =
        type == 'C' || type == 's' || type == 'I' || type == 'G' || type == 'H' || type == 'W';
    if (type != 'D' && !over)
        return PK_ANSWER_FORWARD;
    if (step->foreign)
        return over ? is_foreign(session, true) : PK_ANSWER_FORWARD;
    if (type == 'D' && !ran && !step->proved && pk_extended_is_row(message, session->nonce)) {
        step->proved = true;
        return PK_ANSWER_SWALLOW;
    }
    pk_reader tag = {.rest = {message.ptr + PK_WIRE_HEADER, message.len - PK_WIRE_HEADER}};
    if (ran && type == 'C' && pk_span_equal(pk_read_text(&tag), PK_SPAN("SELECT 0")))
        step->proved = true;
    if (!step->proved || (type != 'C' && type != 's'))
        return is_foreign(session, over);
    step->answered = true;
    return PK_ANSWER_SWALLOW;
}

pk_answer pk_lockstep_answer(pk_session *session, pk_header header, pk_span message)
{
    char type = header.type;
    if (type == 'E')
        return failed(session, message);
    switch (session->step->kind) {
    case PK_STEP_PREPARE:
        return done_with(session, type, '1', false);
    case PK_STEP_PARSE:
        return done_with(session, type, '1', true);
    case PK_STEP_BIND:
        return done_with(session, type, '2', false);
    case PK_STEP_REBIND:
        return done_with(session, type, '2', true);
    case PK_STEP_CLOSE:
        return done_with(session, type, '3', true);
    case PK_STEP_VERIFY:
        return answer_to_verify(session, type, message);
    case PK_STEP_DESCRIBE:
        return answer_to_describe(session, type, message);
    case PK_STEP_EXECUTE:
        return answer_to_execute(session, type, message);
    }
    return PK_ANSWER_FORWARD;
}

void pk_lockstep_ready(pk_session *session, char of, char status)
{
    /* exec_simple_query begins with dropping both unnamed ones, but the server may have refused the
     * text before. A portal did not outlive that, either; a statement did. */
    if (of == 'Q')
        pk_names_drop_portal(&session->names, PK_SPAN(""));
    if (status == 'I')
        pk_names_drop_portals(&session->names);
}

void pk_lockstep_completed(pk_session *session, pk_span tag)
{
    bool discarded = pk_span_equal(tag, PK_SPAN("DISCARD ALL"));
    if (discarded || pk_span_equal(tag, PK_SPAN("DEALLOCATE ALL")))
        pk_names_drop_named_statements(&session->names);
    if (discarded) {
        pk_names_drop_portals(&session->names);
        pk_session_forget_keys(session);
    }
}
