/*
 * The table of states and events of a session, and the one function that changes a state. The
 * picture in docs/architecture.md is printed from it by a test.
 */
#ifndef PK_PROXY_SESSION_STATE_H
#define PK_PROXY_SESSION_STATE_H

#define PK_STATES(X)                                                                               \
    X(NONE, "")                                                                                    \
    X(START, "first packet: encryption asked, startup or cancel")                                  \
    X(CONNECT, "startup packet is there, connecting to the backend")                               \
    X(LOGIN, "authentication passes through")                                                      \
    X(RELAY, "messages pass both ways")                                                            \
    X(HOLD, "a message may be ours: waits until everything before it is answered")                 \
    X(CHECK, "stand-in sent, its answer is awaited and swallowed")                                 \
    X(STEP, "a message about a name of ours was sent alone, its answer is awaited")                \
    X(POISON, "refused: the server is made to fail, its error is replaced by ours")                \
    X(LOCAL, "the engine runs our statement")                                                      \
    X(FINISH, "the client said goodbye, the server still works through what came before")          \
    X(CANCEL, "a cancel request: forwarded, waits for the server to close")                        \
    X(CLOSING, "what is pending goes out, input is thrown away")                                   \
    X(LINGER, "said goodbye, waits for the client to close")                                       \
    X(CLOSED, "over")

#define PK_EVENTS(X)                                                                               \
    X(STARTUP_READ)                                                                                \
    X(CANCEL_READ)                                                                                 \
    X(CONNECTED)                                                                                   \
    X(READY)                                                                                       \
    X(MAYBE_OURS)                                                                                  \
    X(FOREIGN)                                                                                     \
    X(CHECK_SENT)                                                                                  \
    X(STEP_SENT)                                                                                   \
    X(CHECK_OK)                                                                                    \
    X(POISON_SENT)                                                                                 \
    X(ANSWERED)                                                                                    \
    X(REFUSED)                                                                                     \
    X(CLIENT_LEAVES)                                                                               \
    X(CLIENT_HURRIES)                                                                              \
    X(CLIENT_LOST)                                                                                 \
    X(BACKEND_LOST)                                                                                \
    X(TIMEOUT)                                                                                     \
    X(FLUSHED)                                                                                     \
    X(LINGERED)

typedef enum pk_state {
#define X(name, meaning) PK_ST_##name,
    PK_STATES(X)
#undef X
        PK_ST_COUNT
} pk_state;

typedef enum pk_event {
#define X(name) PK_EV_##name,
    PK_EVENTS(X)
#undef X
        PK_EV_COUNT
} pk_event;

struct pk_session;

/* The only place that changes a state. An event that has no place in the table is a protocol
 * violation: 08P01, and the session ends. */
void pk_session_event(struct pk_session *session, pk_event event);

/* For pictures and logs. The state after the event; NONE: a violation. */
pk_state pk_state_after(pk_state state, pk_event event);
const char *pk_state_name(pk_state state);
const char *pk_state_meaning(pk_state state);
const char *pk_event_name(pk_event event);

#endif
