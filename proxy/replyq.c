/*
 * The rules of wire-protocol 3.1, each of which some other proxy got wrong: the server swallows
 * Sync while in COPY IN (pgdog #885, PgBouncer #1470), throws Query away while it skips to a Sync
 * (YugabyteDB #33915), and ignores stray CopyDone. One rule is sharper than the reference: after a
 * ReadyForQuery `unsynced` stays set if extended messages are queued behind its Sync, for they are
 * not synced yet.
 */
#include "proxy/replyq.h"

#include <assert.h>
#include <string.h>

static const char NOBODY = 0; /* no message is being answered */

static char *ring_of(pk_replyq *queue)
{
    return queue->ring != NULL ? queue->ring : queue->inline_ring;
}

static uint32_t size_of(const pk_replyq *queue)
{
    return queue->ring != NULL ? queue->size : PK_REPLYQ_INLINE;
}

static char at(const pk_replyq *queue, uint32_t i)
{
    const char *ring = queue->ring != NULL ? queue->ring : queue->inline_ring;
    return ring[(queue->first + i) & (size_of(queue) - 1)];
}

static void drop(pk_replyq *queue, uint32_t count)
{
    queue->first = (queue->first + count) & (size_of(queue) - 1);
    queue->count -= count;
    if (queue->count == 0 && queue->ring != NULL)
        pk_replyq_clear(queue); /* a deep pipeline is over: give its memory back */
}

void pk_replyq_clear(pk_replyq *queue)
{
    pk_free(queue->ring);
    queue->ring = NULL;
    queue->first = queue->count = queue->size = 0;
}

bool pk_replyq_full(const pk_replyq *queue)
{
    return queue->count == PK_REPLYQ_MAX;
}

static void grow(pk_replyq *queue)
{
    uint32_t old = size_of(queue);
    char *ring = pk_new_bytes((size_t)old * 2);
    for (uint32_t i = 0; i < queue->count; i++)
        ring[i] = at(queue, i);
    pk_free(queue->ring);
    queue->ring = ring;
    queue->size = old * 2;
    queue->first = 0;
}

static void push(pk_replyq *queue, char type)
{
    assert(queue->count < PK_REPLYQ_MAX);
    if (queue->count == size_of(queue))
        grow(queue);
    ring_of(queue)[(queue->first + queue->count) & (size_of(queue) - 1)] = type;
    queue->count++;
}

static bool is_extended(char type)
{
    return type != 0 && strchr("PBDCE", type) != NULL;
}

static bool ends_with_ready(char type)
{
    return type == 'Q' || type == 'F' || type == 'S';
}

static bool ends_copy(char type)
{
    return type == 'c' || type == 'f';
}

void pk_replyq_sent(pk_replyq *queue, char type)
{
    if (queue->skip) {
        if (type != 'S')
            return; /* thrown away by the server, Query and FunctionCall too */
        queue->skip = false;
    }
    if (is_extended(type))
        queue->unsynced = true;
    if (type == 'E')
        queue->executed = true;
    if (is_extended(type) || ends_with_ready(type) || ends_copy(type))
        push(queue, type);
}

/* The message that is being answered. A CopyDone in front is a stray one, which the server ignored.
 */
static char head(pk_replyq *queue)
{
    if (!queue->copy_in)
        while (queue->count > 0 && ends_copy(at(queue, 0)))
            drop(queue, 1);
    if (queue->count == 0)
        return NOBODY;
    return at(queue, 0);
}

static void pop(pk_replyq *queue, char type)
{
    if (head(queue) == type)
        drop(queue, 1);
}

static uint32_t find(const pk_replyq *queue, bool (*is)(char type))
{
    uint32_t i = 0;
    while (i < queue->count && !is(at(queue, i)))
        i++;
    return i;
}

/* Not at the front. */
static uint32_t find_behind(const pk_replyq *queue, bool (*is)(char type))
{
    uint32_t i = 1;
    while (i < queue->count && !is(at(queue, i)))
        i++;
    return i;
}

static bool is_execute(char type)
{
    return type == 'E';
}

static bool is_sync(char type)
{
    return type == 'S';
}

static bool is_other_than_sync(char type)
{
    return type != 'S';
}

static void put_back(pk_replyq *queue, char type)
{
    if (queue->count == size_of(queue))
        grow(queue);
    queue->first = (queue->first - 1) & (size_of(queue) - 1);
    ring_of(queue)[queue->first] = type;
    queue->count++;
}

/* What stood between the COPY and its end was swallowed, if it had come that far: one that fails
 * may not have read anything (a trigger before the first row). Returns the message that owned the
 * COPY. */
static char copy_ended(pk_replyq *queue, bool failed)
{
    queue->copy_in = false;
    if (queue->count == 0)
        return NOBODY;
    char owner = at(queue, 0);
    uint32_t end = find(queue, ends_copy);
    queue->doubtful = queue->doubtful || (failed && find_behind(queue, is_sync) < end);
    if (end < queue->count) {
        drop(queue, end + 1);
    } else {
        drop(queue, 1);
        drop(queue, find(queue, is_other_than_sync));
    }
    if (ends_with_ready(owner))
        put_back(queue, owner); /* its ReadyForQuery is still to come */
    return owner;
}

/* The server skips to the next Sync: one that is queued, or one that is still to be sent. */
static void extended_failed(pk_replyq *queue)
{
    uint32_t sync = find(queue, is_sync);
    queue->skip = sync == queue->count;
    drop(queue, sync);
}

static void got_complete(pk_replyq *queue)
{
    if (queue->copy_in)
        (void)copy_ended(queue, false);
    else
        pop(queue, 'E');
}

static void got_error(pk_replyq *queue)
{
    char owner;
    if (queue->copy_in)
        owner = copy_ended(queue, true);
    else
        owner = head(queue);
    /* An error that nobody asked for is of a malformed Flush, which is an extended message; if it
     * is a FATAL one, it does not matter any more. */
    if (is_extended(owner) || owner == NOBODY)
        extended_failed(queue);
}

static void got_ready(pk_replyq *queue, char status)
{
    queue->copy_in = false;
    queue->skip = false; /* a Sync that we took for swallowed by a COPY was not */
    uint32_t done = find(queue, ends_with_ready);
    if (done < queue->count) /* else: tolerated, see "known ambiguity" in 3.1 */
        drop(queue, done + 1);
    queue->tx = status;
    queue->unsynced = find(queue, is_extended) < queue->count;
    queue->executed = find(queue, is_execute) < queue->count;
}

void pk_replyq_got(pk_replyq *queue, char type, char status)
{
    switch (type) {
    case '1':
        pop(queue, 'P');
        break;
    case '2':
        pop(queue, 'B');
        break;
    case '3':
        pop(queue, 'C');
        break;
    case 'n':
    case 'T':
        pop(queue, 'D'); /* under a Query the head is Q, and nothing happens */
        break;
    case 'C':
        got_complete(queue);
        break;
    case 'I':
    case 's':
        pop(queue, 'E');
        break;
    case 'E':
        got_error(queue);
        break;
    case 'Z':
        got_ready(queue, status);
        break;
    case 'G':
    case 'W':
        (void)head(queue);
        queue->copy_in = true;
        break;
    default:
        break;
    }
}

bool pk_replyq_drained(pk_replyq *queue)
{
    return head(queue) == 0 && !queue->copy_in;
}

bool pk_replyq_quiescent(pk_replyq *queue)
{
    return pk_replyq_drained(queue) && !queue->skip && !queue->unsynced && queue->tx != 0;
}

char pk_replyq_ready_for(const pk_replyq *queue)
{
    uint32_t i = find(queue, ends_with_ready);
    if (i == queue->count)
        return NOBODY;
    return at(queue, i);
}

bool pk_replyq_copy_ends(const pk_replyq *queue)
{
    return find(queue, ends_copy) < queue->count;
}

bool pk_replyq_needs_flush(const pk_replyq *queue)
{
    for (uint32_t i = queue->count; i > 0 && !ends_with_ready(at(queue, i - 1)); i--)
        if (is_extended(at(queue, i - 1)) || (ends_copy(at(queue, i - 1)) && queue->unsynced))
            return true; /* a COPY by an Execute: the Sync in front of its end was swallowed */
    return false;
}
