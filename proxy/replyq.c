/*
 * The rules of wire-protocol 3.1, each of which some other proxy got wrong: the server swallows
 * Sync while in COPY IN (pgdog #885, PgBouncer #1470), throws Query away while it skips to a Sync
 * (YugabyteDB #33915), and ignores stray CopyDone. One rule is sharper than the reference: after a
 * ReadyForQuery `unsynced` stays set if extended messages are queued behind its Sync, for they are
 * not synced yet.
 */
#include "proxy/replyq.h"

#include <assert.h>

#define KEPT_SIZE                                                                                  \
    256u /* a ring this large stays: most pipelines fit, and an idle session can bear it */

static const char NOBODY = 0; /* no message is being answered */

/* What a message from the client is to the books. */
enum trait { EXTENDED = 1, ENDS_WITH_READY = 2, ENDS_COPY = 4, EXECUTE = 8 };

static const uint8_t traits[256] = {
    ['P'] = EXTENDED,        ['B'] = EXTENDED,           ['D'] = EXTENDED,
    ['C'] = EXTENDED,        ['E'] = EXTENDED | EXECUTE, ['Q'] = ENDS_WITH_READY,
    ['F'] = ENDS_WITH_READY, ['S'] = ENDS_WITH_READY,    ['c'] = ENDS_COPY,
    ['f'] = ENDS_COPY,
};

static bool is(char type, unsigned trait)
{
    return (traits[(unsigned char)type] & trait) != 0;
}

/* ---- the ring ---- */

static uint32_t size_of(const pk_replyq *queue)
{
    return queue->ring != NULL ? queue->size : PK_REPLYQ_INLINE;
}

static char *place(pk_replyq *queue, uint32_t i)
{
    char *ring = queue->ring != NULL ? queue->ring : queue->inline_ring;
    return &ring[(queue->first + i) & (size_of(queue) - 1)];
}

static char at(const pk_replyq *queue, uint32_t i)
{
    const char *ring = queue->ring != NULL ? queue->ring : queue->inline_ring;
    return ring[(queue->first + i) & (size_of(queue) - 1)];
}

static void count_one(pk_replyq *queue, char type, uint32_t by)
{
    queue->count += by;
    queue->extended += is(type, EXTENDED) ? by : 0;
    queue->executes += is(type, EXECUTE) ? by : 0;
}

static void drop_one(pk_replyq *queue)
{
    count_one(queue, at(queue, 0), (uint32_t)-1);
    queue->first = (queue->first + 1) & (size_of(queue) - 1);
    if (queue->count == 0 && queue->size > KEPT_SIZE)
        pk_replyq_clear(queue); /* a deep pipeline is over: give its memory back */
}

static void drop(pk_replyq *queue, uint32_t count)
{
    for (; count > 0; count--)
        drop_one(queue);
}

void pk_replyq_clear(pk_replyq *queue)
{
    pk_free(queue->ring);
    queue->ring = NULL;
    queue->first = queue->count = queue->size = queue->extended = queue->executes = 0;
}

bool pk_replyq_full(const pk_replyq *queue)
{
    return queue->count == PK_REPLYQ_MAX;
}

static void grow(pk_replyq *queue)
{
    const uint32_t size = size_of(queue) < KEPT_SIZE ? KEPT_SIZE : size_of(queue) * 4;
    char *ring = pk_new_bytes(size);
    for (uint32_t i = 0; i < queue->count; i++)
        ring[i] = at(queue, i);
    pk_free(queue->ring);
    queue->ring = ring;
    queue->size = size;
    queue->first = 0;
}

static void push(pk_replyq *queue, char type)
{
    assert(queue->count < PK_REPLYQ_MAX);
    if (queue->count == size_of(queue))
        grow(queue);
    *place(queue, queue->count) = type;
    count_one(queue, type, 1);
}

static void put_back(pk_replyq *queue, char type)
{
    if (queue->count == size_of(queue))
        grow(queue);
    queue->first = (queue->first - 1) & (size_of(queue) - 1);
    *place(queue, 0) = type;
    count_one(queue, type, 1);
}

/* ---- the books ---- */

void pk_replyq_sent(pk_replyq *queue, char type)
{
    if (queue->skip) {
        if (type != 'S')
            return; /* thrown away by the server, Query and FunctionCall too */
        queue->skip = false;
    }
    if (traits[(unsigned char)type] == 0)
        return;
    queue->unsynced = queue->unsynced || is(type, EXTENDED);
    queue->executed = queue->executed || is(type, EXECUTE);
    push(queue, type);
}

/* The message that is being answered. A CopyDone in front is a stray one, which the server ignored.
 */
static char head(pk_replyq *queue)
{
    if (!queue->copy_in)
        while (queue->count > 0 && is(at(queue, 0), ENDS_COPY))
            drop_one(queue);
    if (queue->count == 0)
        return NOBODY;
    return at(queue, 0);
}

static void pop(pk_replyq *queue, char type)
{
    if (head(queue) == type)
        drop_one(queue);
}

/* The first with a trait, from `i` on. */
static uint32_t find(const pk_replyq *queue, uint32_t i, unsigned trait)
{
    while (i < queue->count && !is(at(queue, i), trait))
        i++;
    return i;
}

static uint32_t find_sync(const pk_replyq *queue, uint32_t i)
{
    while (i < queue->count && at(queue, i) != 'S')
        i++;
    return i;
}

static void drop_syncs(pk_replyq *queue)
{
    while (queue->count > 0 && at(queue, 0) == 'S')
        drop_one(queue);
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
    uint32_t end = find(queue, 0, ENDS_COPY);
    queue->doubtful = queue->doubtful || (failed && find_sync(queue, 1) < end);
    if (end < queue->count) {
        drop(queue, end + 1);
    } else {
        drop_one(queue);
        drop_syncs(queue);
    }
    if (is(owner, ENDS_WITH_READY))
        put_back(queue, owner); /* its ReadyForQuery is still to come */
    return owner;
}

/* The server skips to the next Sync: one that is queued, or one that is still to be sent. */
static void extended_failed(pk_replyq *queue)
{
    uint32_t sync = find_sync(queue, 0);
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
    if (is(owner, EXTENDED) || owner == NOBODY)
        extended_failed(queue);
}

static void got_ready(pk_replyq *queue, char status)
{
    queue->copy_in = false;
    queue->skip = false; /* a Sync that we took for swallowed by a COPY was not */
    uint32_t done = find(queue, 0, ENDS_WITH_READY);
    if (done < queue->count) /* else: tolerated, see "known ambiguity" in 3.1 */
        drop(queue, done + 1);
    queue->tx = status;
    queue->unsynced = queue->extended > 0;
    queue->executed = queue->executes > 0;
}

void pk_replyq_got(pk_replyq *queue, char type, char status)
{
    /* What each answers. Under a Query the head is Q, and nothing happens. */
    static const char answered[256] = {
        ['1'] = 'P', ['2'] = 'B', ['3'] = 'C', ['n'] = 'D', ['T'] = 'D', ['I'] = 'E', ['s'] = 'E'};
    const char owner = answered[(unsigned char)type];
    if (owner != NOBODY) {
        pop(queue, owner);
        return;
    }
    switch (type) {
    case 'C':
        got_complete(queue);
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
    uint32_t i = find(queue, 0, ENDS_WITH_READY);
    if (i == queue->count)
        return NOBODY;
    return at(queue, i);
}

bool pk_replyq_copy_ends(const pk_replyq *queue)
{
    return find(queue, 0, ENDS_COPY) < queue->count;
}

bool pk_replyq_needs_flush(const pk_replyq *queue)
{
    for (uint32_t i = queue->count; i > 0 && !is(at(queue, i - 1), ENDS_WITH_READY); i--)
        if (is(at(queue, i - 1), EXTENDED) || (is(at(queue, i - 1), ENDS_COPY) && queue->unsynced))
            return true; /* a COPY by an Execute: the Sync in front of its end was swallowed */
    return false;
}
