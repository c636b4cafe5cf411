/*
 * Who answers next, and is anybody still to answer? The books of one session's pipeline: one byte
 * per forwarded message that the server will answer, and the few states in which it will not
 * (wire-protocol 3.1). Everything that is sent to the server in a session's name is entered,
 * messages of our own included, and every message from it. Pure; belongs to its session.
 */
#ifndef PK_PROXY_REPLYQ_H
#define PK_PROXY_REPLYQ_H

#include "base/defs.h"

#define PK_REPLYQ_MAX    65536u
#define PK_REPLYQ_INLINE 16u

typedef struct pk_replyq {
    char *ring; /* NULL: the inline one */
    char inline_ring[PK_REPLYQ_INLINE];
    uint32_t first, count, size; /* size is a power of two; 0 means the inline ring */
    uint32_t extended, executes; /* of those in the ring: extended messages; Executes */
    char tx;                     /* status of the last ReadyForQuery: I, T, E; 0 before the first */
    bool unsynced; /* extended messages since the last ReadyForQuery or still behind it */
    bool executed; /* an Execute since the last ReadyForQuery or still behind it */
    bool skip;     /* the server throws everything away until a Sync that was not sent yet */
    bool copy_in;  /* it reads CopyData; queries are protocol errors now */
    bool doubtful; /* a COPY failed behind which a Sync stood: nobody knows whether it was
                      swallowed, so from here on an answer may be another message's than we think */
} pk_replyq;

/* Zeroed is empty. */
void pk_replyq_clear(pk_replyq *queue);

/* No room for another message: stop reading the client. */
bool pk_replyq_full(const pk_replyq *queue);
/* A message of this type is on its way to the server. The queue must not be full. */
void pk_replyq_sent(pk_replyq *queue, char type);
/* A message of this type came from the server; `status` is ReadyForQuery's byte, else 0. */
void pk_replyq_got(pk_replyq *queue, char type, char status);

/* Every answer is there. `skip` and `unsynced` may still be set. */
bool pk_replyq_drained(pk_replyq *queue);
/* Drained, and the server stands at a ReadyForQuery: nothing is open. */
bool pk_replyq_quiescent(pk_replyq *queue);
/* Is there an answer the server may keep to itself until it is told to flush? */
bool pk_replyq_needs_flush(const pk_replyq *queue);
/* What the next ReadyForQuery answers: Q, F or S; 0: nothing. */
char pk_replyq_ready_for(const pk_replyq *queue);
/* Has a CopyDone or CopyFail been sent that the server did not come to yet? */
bool pk_replyq_copy_ends(const pk_replyq *queue);

#endif
