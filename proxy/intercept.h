/*
 * Theirs or ours? Looks at every Query and Parse, holds what may be ours until everything before it
 * is answered, decides, and then either lets it go, refuses it, or runs it: stand-in to the server,
 * request to the engine, results to the client (wire-protocol 4 to 6). A statement of ours never
 * reaches the server. Loop thread only; the engine answers through post.
 */
#ifndef PK_PROXY_INTERCEPT_H
#define PK_PROXY_INTERCEPT_H

#include "proxy/session.h"

/* The first so many bytes of a text decide whose it is; if it is ours it cannot be longer (54000).
 * Reading more of it would hold up the loop. */
#define PK_LOOKED_AT (64u << 10)
/* No message about our statements and names is longer, values included. */
#define PK_HELD_MAX (1u << 20)

typedef enum pk_look {
    PK_LOOK_PASS,   /* forward it */
    PK_LOOK_WAIT,   /* more of it is needed; session->client_wants says how much */
    PK_LOOK_HOLD,   /* may be ours */
    PK_LOOK_BREACH, /* may be ours, but the server waits for CopyData: nobody can answer it */
} pk_look;
/* Of a Query or Parse that begins at `bytes`, and, while the session has names of ours, of a Bind,
 * Describe, Execute or Close. */
pk_look pk_intercept_look(pk_session *session, pk_header header, pk_span bytes);

/* Ends the session: 08P01. */
void pk_intercept_breach(pk_session *session);

/* What becomes of a message of the server; a set of bits. */
typedef enum pk_answer {
    PK_ANSWER_FORWARD = 0,
    PK_ANSWER_SWALLOW = 1,
    PK_ANSWER_OURS_FIRST = 2, /* what we have to say goes in front of it */
    PK_ANSWER_REPLACE = 3,    /* it goes in its place */
} pk_answer;
/* `message` begins with the header and holds at least what relay looks at. */
pk_answer pk_intercept_answer(pk_session *session, pk_header header, pk_span message);
/* Says what goes in front or in the place of an answer: an error that was kept back, columns. The
 * client's stream is at a boundary. */
void pk_intercept_say(pk_session *session);

/* Takes what steps have become possible: decides a held message, tells a finished statement. */
void pk_intercept_settle(pk_session *session);
/* A request is done; takes it. The session may be gone. */
void pk_intercept_done(pk_loop *loop, pk_request *request);

/* Actions of the state table: a message is held; the stand-in was answered, the engine's turn. */
void pk_intercept_hold(pk_session *session);
void pk_intercept_submit(pk_session *session);

#endif
