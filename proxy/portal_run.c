/*
 * A portal of ours runs: text and values make a request, its result is told as the client bound it,
 * and what a row limit leaves waits in the portal for the next Execute. The values are wiped as
 * soon as the request has them, and the request as soon as its result is taken out of it.
 */
#include "engine/exec.h"
#include "parser/bind.h"
#include "proxy/lockstep.h"
#include "proxy/refuse.h"
#include "proxy/reply.h"
#include "proxy/step.h"

#include <stdio.h>

static pk_formats formats_of(const pk_portal *portal)
{
    if (portal == NULL)
        return PK_FORMATS_TEXT;
    return (pk_formats){portal->formats, portal->format_count};
}

/* What stands in the place of the stand-in's RowDescription. */
void pk_lockstep_say_columns(pk_session *session)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_WIRE_SHORT_MAX);
    const pk_step *step = session->step;
    const pk_portal *portal = NULL;
    const pk_prepared *prepared;
    size_t count = 0;
    if (step->of_portal) {
        portal = pk_names_portal(session->names, pk_step_name(step));
        prepared = portal == NULL ? NULL : portal->prepared;
    } else {
        prepared = pk_names_statement(session->names, pk_step_name(step));
    }
    const pk_column *columns = prepared == NULL ? NULL : pk_exec_columns(prepared->kind, &count);
    bool made = columns == NULL ? pk_reply_empty(&out, 'n')
                                : pk_reply_columns(&out, columns, count, formats_of(portal));
    if (made)
        pk_session_say(session, &out);
    pk_step_end(session, PK_EV_ANSWERED);
}

/* Text and values go into the request, and with it. */
static bool make_request(const pk_portal *portal, pk_request *request, pk_error *err)
{
    const pk_parse_options options = {.standard_conforming = portal->prepared->standard_conforming};
    pk_arena *arena = &request->arena;
    pk_span text = pk_buf_span(&portal->prepared->text);
    pk_span bytes = pk_buf_span(&portal->bytes);
    const char *copy = pk_arena_strndup(arena, text.ptr, text.len, err);
    const char *held = pk_arena_strndup(arena, bytes.ptr, bytes.len, err);
    pk_span *values = pk_arena_array(arena, (size_t)portal->value_count + 1, sizeof *values, err);
    if (copy == NULL || held == NULL || values == NULL)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < portal->value_count; i++) {
        if (portal->lengths[i] == UINT32_MAX)
            continue; /* zeroed is NULL */
        values[i] = (pk_span){held + at, portal->lengths[i]};
        at += portal->lengths[i];
    }
    return pk_parse((pk_span){copy, text.len}, &options, arena, &request->script, err) &&
           pk_bind(&request->script, values, portal->value_count, err);
}

static void run(pk_session *session, pk_portal *portal)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = pk_request_new();
    pk_error err;
    portal->ran = true;
    bool made = make_request(portal, request, &err);
    pk_buf_clear(&portal->bytes);
    if (!made) {
        pk_step_free(pk_steal(&session->step));
        pk_refuse_poison(session, false, &err);
        return;
    }
    request->number = pk_hub_next_request(session->loop->hub);
    request->in_block = session->step->in_block;
    session->request = pk_steal(&request);
    pk_session_event(session, PK_EV_CHECK_OK);
}

/* So many rows as are wanted, then the tag, or that there may be more. */
static bool write_rows(pk_session *session, pk_portal *portal, uint32_t limit, pk_buf *out)
{
    uint32_t rows = 0;
    while (portal->next_row != NULL && (limit == 0 || rows < limit)) {
        if (!pk_reply_row(out, session->encoding, portal->kept, portal->next_row,
                          formats_of(portal)))
            return false;
        portal->next_row = portal->next_row->next;
        rows++;
    }
    if (limit > 0 && rows == limit) /* the server does not look either whether one is left */
        return pk_reply_empty(out, 's');
    return pk_reply_tag(out, portal->tag);
}

/* `out` may hold the notices already. */
static void say_rows(pk_session *session, pk_portal *portal, uint32_t limit, pk_buf *out)
{
    pk_error err;
    if (!write_rows(session, portal, limit, out)) {
        (void)pk_fail(&err, PK_E_TOO_LONG, "the result is too large");
        pk_refuse_poison(session, false, &err);
        return;
    }
    if (portal->next_row == NULL) {
        pk_result_free(pk_steal(&portal->kept));
    } else if (!pk_names_room_for_portal(session->names, pk_span_of(portal->name.text), 0, &err)) {
        pk_refuse_poison(session, false, &err);
        return;
    }
    pk_session_say(session, out);
    pk_session_event(session, PK_EV_ANSWERED);
}

/* An Execute of a portal that ran before. */
static void go_on(pk_session *session, pk_portal *portal)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_STREAM_OUT_MAX / 2);
    pk_error err;
    uint32_t limit = session->step->limit;
    pk_step_free(pk_steal(&session->step));
    if (portal->has_rows) {
        say_rows(session, portal, limit, &out);
        return;
    }
    (void)pk_fail(&err, PK_E_STATE, "portal \"%s\" cannot be run", portal->name.text);
    pk_refuse_poison(session, false, &err);
}

void pk_step_run(pk_session *session)
{
    pk_portal *portal = pk_names_portal(session->names, pk_step_name(session->step));
    if (portal == NULL) /* cannot be: nothing came between that drops it */
        pk_step_end(session, PK_EV_ANSWERED);
    else if (portal->ran)
        go_on(session, portal);
    else
        run(session, portal);
}

/* Why there is nothing to tell; NULL: there is. */
static const pk_error *fault_of(const pk_request *request, const pk_portal *portal, pk_error *own)
{
    if (request->result_count > 0 && request->results[0]->failed)
        return &request->results[0]->error;
    if (request->result_count > 0 && portal != NULL)
        return NULL;
    (void)pk_fail(own, PK_E_INTERNAL, "the statement ended without a result");
    return own;
}

void pk_lockstep_tell(pk_session *session, pk_request *finished)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = finished;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_STREAM_OUT_MAX / 2);
    pk_error own;
    uint32_t limit = session->step->limit;
    pk_portal *portal = pk_names_portal(session->names, pk_step_name(session->step));
    const pk_error *fault = fault_of(request, portal, &own);
    pk_step_free(pk_steal(&session->step));
    if (request->result_count > 0 &&
        !pk_reply_notices(&out, session->encoding, request->results[0]))
        pk_buf_clear(&out);
    if (fault != NULL) {
        pk_session_say(session, &out);
        pk_refuse_poison(session, false, fault);
        return;
    }
    pk_result_free(portal->kept);
    portal->kept = pk_steal(&request->results[0]);
    portal->next_row = portal->kept->columns == NULL ? NULL : portal->kept->rows;
    (void)snprintf(portal->tag, sizeof portal->tag, "%s",
                   portal->kept->tag == NULL ? "" : portal->kept->tag);
    say_rows(session, portal, limit, &out);
}
