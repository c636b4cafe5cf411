/*
 * Owned messages from thread to thread, first in first out. `post` hands ownership to the queue;
 * whoever takes an item owns it. Any number of threads on both ends.
 */
#ifndef PK_BASE_QUEUE_H
#define PK_BASE_QUEUE_H

#include "base/defs.h"

typedef struct pk_queue pk_queue;

/* At most `limit` items wait (0: no limit). */
pk_queue *pk_queue_new(size_t limit) PK_MUST_USE;
/* The queue must be empty: drain it first, only the caller knows how to free an item. */
void pk_queue_free(pk_queue *queue);

/* False when the queue is full or closed: the item still belongs to the caller. Never waits. */
bool pk_queue_post(pk_queue *queue, void *item) PK_MUST_USE;
/* Waits for an item. NULL once the queue is closed and empty. */
void *pk_queue_take(pk_queue *queue) PK_MUST_USE;
/* Never waits; NULL when nothing is there. */
void *pk_queue_try_take(pk_queue *queue) PK_MUST_USE;
/* No further items; wakes every waiter. */
void pk_queue_close(pk_queue *queue);

#endif
