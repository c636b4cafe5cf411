/*
 * One row per state, one cell per event that may come there. CLOSED has cells for events that can
 * still arrive between the decision to close and libuv letting go of the sockets. A statement that
 * still runs when its session ends is told to stop (begin_closing); its result finds no session and
 * is dropped.
 */
#include "proxy/session_state.h"

#include "base/log.h"
#include "proxy/cancel.h"
#include "proxy/intercept.h"
#include "proxy/session.h"

#define X(name, meaning) #name,
static const char *const state_names[] = {PK_STATES(X)};
#undef X
#define X(name, meaning) meaning,
static const char *const state_meanings[] = {PK_STATES(X)};
#undef X
#define X(name) #name,
static const char *const event_names[] = {PK_EVENTS(X)};
#undef X

typedef struct step {
    pk_state to;
    void (*act)(pk_session *session);
} step;

/* clang-format off */
#define ON(event, state, act) [PK_EV_##event] = {PK_ST_##state, act}
#define ENDS                                                                                       \
    ON(REFUSED,      CLOSING, pk_session_begin_closing),                                           \
    ON(CLIENT_LOST,  CLOSING, pk_session_begin_closing),                                           \
    ON(BACKEND_LOST, CLOSING, pk_session_backend_lost)

static const step steps[PK_ST_COUNT][PK_EV_COUNT] = {
    [PK_ST_START]   = {ON(STARTUP_READ, CONNECT, pk_session_connect),
                       ON(CANCEL_READ,  CANCEL,  pk_cancel_forward),
                       ON(REFUSED,      CLOSING, pk_session_begin_closing),
                       ON(CLIENT_LOST,  CLOSED,  NULL),
                       ON(TIMEOUT,      CLOSED,  NULL)},
    [PK_ST_CONNECT] = {ON(CONNECTED,    LOGIN,   pk_session_send_startup),
                       ON(REFUSED,      CLOSING, pk_session_begin_closing),
                       ON(CLIENT_LOST,  CLOSED,  NULL),
                       ON(TIMEOUT,      CLOSING, pk_session_login_timeout)},
    [PK_ST_LOGIN]   = {ON(READY,        RELAY,   pk_session_welcome),
                       ON(CLIENT_LEAVES, CLOSING, pk_session_begin_closing),
                       ON(TIMEOUT,      CLOSING, pk_session_login_timeout),
                       ENDS},
    [PK_ST_RELAY]   = {ON(MAYBE_OURS,   HOLD,    pk_intercept_hold),
                       ON(CLIENT_LEAVES, CLOSING, pk_session_begin_closing),
                       ON(CLIENT_HURRIES, FINISH, pk_session_finish),
                       ENDS},
    [PK_ST_HOLD]    = {ON(FOREIGN,      RELAY,   pk_session_resume),
                       ON(CHECK_SENT,   CHECK,   NULL),
                       ON(STEP_SENT,    STEP,    NULL),
                       ON(POISON_SENT,  POISON,  NULL),
                       ON(ANSWERED,     RELAY,   pk_session_resume),
                       ENDS},
    [PK_ST_CHECK]   = {ON(CHECK_OK,     LOCAL,   pk_intercept_submit),
                       ON(ANSWERED,     RELAY,   pk_session_resume),
                       ENDS},
    [PK_ST_STEP]    = {ON(STEP_SENT,    STEP,    NULL), /* a Bind, behind the look at its statement */
                       ON(CHECK_OK,     LOCAL,   pk_intercept_submit),
                       ON(POISON_SENT,  POISON,  NULL),
                       ON(FOREIGN,      RELAY,   pk_session_resume),
                       ON(ANSWERED,     RELAY,   pk_session_resume),
                       ENDS},
    [PK_ST_POISON]  = {ON(ANSWERED,     RELAY,   pk_session_resume),
                       ENDS},
    [PK_ST_LOCAL]   = {ON(POISON_SENT,  POISON,  NULL),
                       ON(ANSWERED,     RELAY,   pk_session_resume),
                       ENDS},
    [PK_ST_FINISH]  = {ON(CLIENT_LOST,  FINISH,  NULL),
                       ON(BACKEND_LOST, CLOSING, pk_session_begin_closing),
                       ON(TIMEOUT,      CLOSING, pk_session_begin_closing),
                       ON(REFUSED,      CLOSING, pk_session_begin_closing)},
    [PK_ST_CANCEL]  = {ON(CONNECTED,    CANCEL,  pk_cancel_send),
                       ON(REFUSED,      CLOSED,  NULL),
                       ON(CLIENT_LOST,  CANCEL,  NULL), /* many clients do not wait */
                       ON(BACKEND_LOST, CLOSED,  NULL),
                       ON(TIMEOUT,      CLOSED,  NULL)},
    [PK_ST_CLOSING] = {ON(FLUSHED,      LINGER,  pk_session_linger),
                       ON(CLIENT_LOST,  CLOSING, NULL),
                       ON(BACKEND_LOST, CLOSING, NULL),
                       ON(TIMEOUT,      CLOSED,  NULL)},
    [PK_ST_LINGER]  = {ON(LINGERED,     CLOSED,  NULL),
                       ON(CLIENT_LOST,  CLOSED,  NULL),
                       ON(BACKEND_LOST, LINGER,  NULL),
                       ON(TIMEOUT,      CLOSED,  NULL)},
    [PK_ST_CLOSED]  = {ON(CLIENT_LOST,  CLOSED,  NULL),
                       ON(BACKEND_LOST, CLOSED,  NULL),
                       ON(TIMEOUT,      CLOSED,  NULL)},
};
/* clang-format on */

void pk_session_event(pk_session *session, pk_event event)
{
    step next = steps[session->state][event];
    pk_log_debug("session %llu: %s --%s--> %s", (unsigned long long)session->number,
                 state_names[session->state], event_names[event], state_names[next.to]);
    if (session->state == PK_ST_START && next.to != PK_ST_START)
        atomic_fetch_sub(&session->loop->silent, 1);
    if (next.to == PK_ST_NONE)
        next = (step){PK_ST_CLOSING, pk_session_violation};
    session->state = next.to;
    if (next.act != NULL)
        next.act(session);
}

pk_state pk_state_after(pk_state state, pk_event event)
{
    return steps[state][event].to;
}

const char *pk_state_name(pk_state state)
{
    return state_names[state];
}

const char *pk_state_meaning(pk_state state)
{
    return state_meanings[state];
}

const char *pk_event_name(pk_event event)
{
    return event_names[event];
}
