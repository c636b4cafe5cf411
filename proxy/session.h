/*
 * One client and its backend: what the pair owns, how it is born and dies. The struct is open to
 * the other files of proxy/, each of which has its part: relay moves messages, intercept answers
 * ours, lockstep keeps the prepared ones, cancel keeps the keys, session_state says what may follow
 * what. Loop thread only.
 *
 * Nothing inside a callback closes a socket: the state becomes CLOSED, and pk_session_settle, which
 * ends every callback, does the closing. The memory is the poller's from then on, which frees it
 * when its round is over; until then every callback may still look at it.
 *
 * Ten thousand of these are idle: whatever is rare is a pointer.
 */
#ifndef PK_PROXY_SESSION_H
#define PK_PROXY_SESSION_H

#include "proxy/connect.h"
#include "proxy/loop.h"
#include "proxy/names.h"
#include "proxy/replyq.h"
#include "proxy/session_state.h"
#include "proxy/stream.h"
#include "proxy/wire.h"

/* Identity, for cancelling: of the session's backend, or, in state CANCEL, what the client sent. */
typedef struct pk_cancel_key pk_cancel_key;
typedef struct pk_step pk_step;

struct pk_session {
    pk_grave grave;         /* first */
    pk_session *next, **at; /* in the loop's list */
    pk_loop *loop;
    uint64_t number;
    pk_state state;
    uint64_t deadline; /* uv_now; 0: none. Then the event is TIMEOUT. */
    pk_stream client, backend;
    pk_connect *connect; /* while connecting */
    bool connect_due;    /* settle: begin to connect */
    bool buried;         /* over, and the memory is the poller's */
    bool exact_backend;  /* a cancel request: to backend_at only */
    bool logging_in;     /* counted as not logged in */
    bool counted[PK_LIMIT_COUNT];

    /* Messages from the client. */
    size_t client_left;  /* bytes of the current one that are still to come */
    size_t client_wants; /* so many must be held before it can be looked at */
    bool client_drop;    /* the current one is ours: its rest is dropped, not forwarded */
    bool client_pass;    /* the next one was decided to be foreign */
    bool client_stalled; /* too many unanswered messages: it waits for some answers */
    bool client_gone, goodbye_sent;
    bool ssl_asked, gss_asked;
    bool direct_tls; /* TLS without asking: ALPN is demanded */
    bool resume;     /* settle: look at what is held again */

    /* Messages from the server. */
    size_t backend_left; /* bytes of the current one; 0: own messages may go to the client */
    bool backend_drop;   /* the current one is swallowed */
    bool fatal_seen;     /* the server said FATAL: its end is no surprise */

    /* What is tracked (wire-protocol 3). */
    pk_replyq replies;
    char encoding[24];        /* client_encoding */
    bool standard_conforming; /* standard_conforming_strings */
    bool walsender;           /* replication: never intercepted */
    char *user;               /* session_authorization; NULL: not reported */
    char *database, *login;   /* of the startup packet, as the server takes them */
    pk_address peer, backend_at;
    pk_cancel_key *key;
    bool forwards_cancel;
    pk_buf removed;   /* options taken out of the startup packet */
    uint32_t version; /* its protocol version */
    bool negotiate;   /* a NegotiateProtocolVersion is ours to send or to mend */

    /* A statement of ours (intercept). */
    char *nonce;         /* NULL until one is needed */
    pk_request *request; /* waits for its stand-in, or is done and waits to be told */
    uint64_t running;    /* number of the one in the engine; 0: none. pk_cancel_note_running */
    pk_error *refusal;   /* told when the server's own error arrives */
    bool refusing_query; /* of a Query: ReadyForQuery follows */
    bool check_answered, check_failed, check_proved;
    bool breach;     /* what is held was sent in the middle of a COPY: see pk_intercept_breach */
    bool opened;     /* it may have opened master keys */
    bool forget_too; /* what the running request opens is to be forgotten as well */

    /* Prepared statements and portals of ours (lockstep). */
    pk_names *names; /* NULL: none, the usual case */
    pk_step *step;   /* state STEP, and LOCAL behind an Execute: what was sent; else NULL */
    bool discard;    /* what comes before the next Sync is thrown away */
};

/* Takes the descriptor, whatever happens. `peer` is the client's address. */
void pk_session_accept(pk_loop *loop, int fd, const pk_address *peer);
/* Answers 53300 and closes the descriptor. */
void pk_session_turn_away(pk_hub *hub, int fd, const char *why);
/* Ends every callback: does what became possible, watches what is wanted, closes what is over. */
void pk_session_settle(pk_session *session);
pk_session *pk_session_find(pk_loop *loop, uint64_t number);
/* Deadlines that are over. Once a second. */
void pk_session_tick(pk_loop *loop);
/* Every session that can leave now does, with 57P01; `force`: all of them. */
void pk_session_drain_all(pk_loop *loop, bool force);
/* Closes them all, without a word. */
void pk_session_abort_all(pk_loop *loop);
/* Of those that have said nothing yet: for when descriptors run out. False: there is none. */
bool pk_session_close_oldest(pk_loop *loop);

/* At the end of its login: its database's and role's places. 53300: there is none. */
bool pk_session_count_login(pk_session *session, pk_error *err) PK_MUST_USE;

/* To the client: only at a message boundary (backend_left == 0). */
void pk_session_say(pk_session *session, const pk_buf *messages);
/* To the server, entered in the books. */
void pk_session_send(pk_session *session, const pk_buf *message);
/* FATAL to the client if its stream is at a boundary, and the end. */
void pk_session_fatal(pk_session *session, const pk_error *err);
/* The master keys it opened are closed: identity or state of the session is not what it was. */
void pk_session_forget_keys(pk_session *session);
/* Has it come over the loopback interface, a Unix socket, or with TLS? */
bool pk_session_is_secure(const pk_session *session);
/* Are the client's further messages held back? */
bool pk_session_is_holding(const pk_session *session);

/* Actions of the state table, apart from those of intercept.h and cancel.h. */
void pk_session_connect(pk_session *session);
void pk_session_send_startup(pk_session *session);
void pk_session_welcome(pk_session *session);
void pk_session_resume(pk_session *session);
void pk_session_begin_closing(pk_session *session);
void pk_session_backend_lost(pk_session *session);
void pk_session_finish(pk_session *session);
void pk_session_login_timeout(pk_session *session);
void pk_session_linger(pk_session *session);
void pk_session_violation(pk_session *session);

#endif
