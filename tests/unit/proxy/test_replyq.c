/*
 * The books, as scripts: "C:x" a message x sent to the server, "S:x" one from it ("ZI":
 * ReadyForQuery with status I). What must hold at the end is written behind the script.
 */
#include "proxy/replyq.h"
#include "table.h"

static const struct row {
    const char *name;
    const char *script; /* > sent, < got; Z is followed by its status */
    bool drained, quiescent, skip, unsynced, copy_in, flush, doubtful;
    char tx;
} rows[] = {
    {"nothing was sent yet", "", .drained = true},
    {"a query is open", ">Q", .drained = false},
    {"rows do not end it", ">Q <T <D <C", .drained = false},
    {"ready ends it", ">Q <T <D <C <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"a failed query is ended by ready too", ">Q <E <ZE", .drained = true, .quiescent = true,
     .tx = 'E'},
    {"of two queries one is left", ">Q >Q <C <ZI", .drained = false, .tx = 'I'},
    {"a function call", ">F <V <ZT", .drained = true, .quiescent = true, .tx = 'T'},
    {"extended, complete", ">P >B >D >E >S <1 <2 <T <D <C <ZI", .drained = true, .quiescent = true,
     .tx = 'I'},
    {"extended, answered, not synced", ">P >B >E >H <1 <2 <C", .drained = true, .unsynced = true},
    {"extended, not flushed", ">P >B", .unsynced = true, .flush = true},
    {"extended behind a sync must be flushed", ">P >S >B", .unsynced = true, .flush = true},
    {"a sync flushes", ">P >B >S", .unsynced = true},
    {"a query flushes", ">P >Q", .unsynced = true},
    {"describe of a statement: t, then n", ">D <t", .unsynced = true, .flush = true},
    {"describe is answered by n", ">D <t <n", .drained = true, .unsynced = true},
    {"describe is answered by T", ">D <t <T", .drained = true, .unsynced = true},
    {"close is answered by 3", ">C <3", .drained = true, .unsynced = true},
    {"an empty query", ">E <I", .drained = true, .unsynced = true},
    {"a suspended portal", ">E <s", .drained = true, .unsynced = true},
    {"what stands behind a sync is not synced by it", ">P >S >P <1 <ZI <1", .drained = true,
     .unsynced = true, .tx = 'I'},
    {"bad parse before a query: the server throws that away", ">P >Q >S <E", .unsynced = true},
    {"and its sync is answered", ">P >Q >S <E <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"an error without a sync: skip", ">P >B <E", .drained = true, .skip = true, .unsynced = true},
    {"while skipping nothing is entered", ">P <E >Q >P >F >B", .drained = true, .skip = true,
     .unsynced = true},
    {"a sync ends skipping", ">P <E >Q >S", .unsynced = true},
    {"and is answered", ">P <E >Q >S <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"an error that nobody asked for is a malformed flush's: skip", ">H <E >Q", .drained = true,
     .skip = true},
    {"and a sync ends that", ">H <E >S <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"copy by execute fails unread: its sync is answered and ends skipping",
     ">P >B >E >S <1 <2 <G <E <ZI", .drained = true, .quiescent = true, .tx = 'I',
     .doubtful = true},
    {"what follows then is answered", ">P >B >E >S <1 <2 <G <E <ZI >Q", .tx = 'I',
     .doubtful = true},
    {"a copy by execute without a late sync must be flushed", ">P >B >E >S >d >c <1 <2 <G",
     .copy_in = true, .unsynced = true, .flush = true},
    {"ready in an empty ring is tolerated", "<ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"asynchronous messages change nothing", ">Q <N <S <A", .drained = false},
    {"copy in by a query", ">Q <G", .copy_in = true},
    {"copy in, done", ">Q <G >d >c <C <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"copy in, failed before its end", ">Q <G >d <E <ZI >d >c", .drained = true, .quiescent = true,
     .tx = 'I'},
    {"copy in, failed after its end", ">Q <G >d >c <E <ZI", .drained = true, .quiescent = true,
     .tx = 'I'},
    {"copy in, two in one query", ">Q <G >c <C <G >c <C <ZI", .drained = true, .quiescent = true,
     .tx = 'I'},
    {"copy in, ends piped behind one another", ">Q >c >c <G <C <G <C <ZI", .drained = true,
     .quiescent = true, .tx = 'I'},
    {"copy in swallows the early sync", ">P >B >E >S >d >c >S <1 <2 <G <C", .unsynced = true},
    {"and the late one is answered", ">P >B >E >S >d >c >S <1 <2 <G <C <ZI", .drained = true,
     .quiescent = true, .tx = 'I'},
    {"copy in by execute fails before its end", ">E >S <G >d <E", .drained = true, .skip = true,
     .unsynced = true, .doubtful = true},
    {"then its end is thrown away and a sync answered", ">E >S <G >d <E >c >S <ZI", .drained = true,
     .quiescent = true, .tx = 'I', .doubtful = true},
    {"copy in by execute fails after its end", ">E >S <G >d >c >S <E", .unsynced = true,
     .doubtful = true},
    {"and the sync behind is answered", ">E >S <G >d >c >S <E <ZI", .drained = true,
     .quiescent = true, .tx = 'I', .doubtful = true},
    {"copy fail", ">Q <G >f <E <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"copy out", ">Q <H <d <c <C <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"copy out by execute", ">E >S <H <d <c <C <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"a stray end of copy is ignored", ">c >f", .drained = true},
    {"also in front of a query", ">c >Q <C <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"copy both", ">Q <W >d <d >c <c <C <ZI", .drained = true, .quiescent = true, .tx = 'I'},
    {"flush, data, passwords and goodbye are not answered", ">H >d >p >X", .drained = true},
};

static void play(pk_replyq *queue, const char *script)
{
    for (const char *c = script; *c != 0; c++) {
        if (c[0] == '>')
            pk_replyq_sent(queue, c[1]);
        else if (c[0] == '<')
            pk_replyq_got(queue, c[1], (char)(c[1] == 'Z' ? c[2] : 0));
    }
}

static void books_are_right(void **state)
{
    const struct row *row = *state;
    pk_replyq queue = {0};
    play(&queue, row->script);
    assert_int_equal(pk_replyq_needs_flush(&queue), row->flush);
    assert_int_equal(pk_replyq_drained(&queue), row->drained);
    assert_int_equal(pk_replyq_quiescent(&queue), row->quiescent);
    assert_int_equal(queue.skip, row->skip);
    assert_int_equal(queue.unsynced, row->unsynced);
    assert_int_equal(queue.copy_in, row->copy_in);
    assert_int_equal(queue.doubtful, row->doubtful);
    assert_int_equal(queue.tx, row->tx);
    pk_replyq_clear(&queue);
}

static void a_deep_pipeline_grows_wraps_and_gives_back(void **state)
{
    pk_replyq queue = {0};
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 11; i++) /* not a multiple of the ring: it wraps */
            pk_replyq_sent(&queue, 'Q');
        for (int i = 0; i < 11; i++)
            pk_replyq_got(&queue, 'Z', 'I');
    }
    assert_null(queue.ring);
    for (uint32_t i = 0; i < PK_REPLYQ_MAX; i++) {
        assert_false(pk_replyq_full(&queue));
        pk_replyq_sent(&queue, i % 3 == 0 ? 'Q' : 'P');
    }
    assert_true(pk_replyq_full(&queue));
    pk_replyq_got(&queue, 'Z', 'I');
    assert_false(pk_replyq_full(&queue));
    for (uint32_t i = 0; i <= PK_REPLYQ_MAX / 3; i++)
        pk_replyq_got(&queue, 'Z', 'T');
    assert_true(pk_replyq_drained(&queue) || queue.count == 0);
    assert_null(queue.ring);
    pk_replyq_clear(&queue);
}

/* What is counted on the way is what a look at the ring would count. */
static void assert_counts(const pk_replyq *queue)
{
    const char *ring = queue->ring != NULL ? queue->ring : queue->inline_ring;
    const uint32_t size = queue->ring != NULL ? queue->size : PK_REPLYQ_INLINE;
    uint32_t extended = 0;
    uint32_t executes = 0;
    for (uint32_t i = 0; i < queue->count; i++) {
        const char type = ring[(queue->first + i) & (size - 1)];
        extended += strchr("PBDCE", type) != NULL;
        executes += type == 'E';
    }
    assert_int_equal(queue->extended, extended);
    assert_int_equal(queue->executes, executes);
}

/* Whatever comes, in whatever order: no counting below zero, no reading outside (the sanitizers
 * look). */
static void nonsense_never_hurts(void **state)
{
    static const char sent[] = "QFPBDCEScfHdpX";
    static const char got[] = "123nTtCIsEZGWHdcDANSRKv";
    uint32_t seed = 12345;
    pk_replyq queue = {0};
    (void)state;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t roll = seed >> 8;
        if (roll % 2 == 0 && !pk_replyq_full(&queue))
            pk_replyq_sent(&queue, sent[(roll / 2) % (sizeof sent - 1)]);
        else
            pk_replyq_got(&queue, got[(roll / 2) % (sizeof got - 1)], 'I');
        assert_true(queue.count <= PK_REPLYQ_MAX);
        if (i % 64 == 0)
            assert_counts(&queue);
    }
    pk_replyq_clear(&queue);
    assert_counts(&queue);
}

static void converse(pk_replyq *queue, const char *sent, const char *got)
{
    for (; *sent != 0; sent++)
        pk_replyq_sent(queue, *sent);
    for (; *got != 0; got++)
        pk_replyq_got(queue, *got, 'I');
}

static void an_execute_counts_until_its_own_sync_is_answered(void **state)
{
    pk_replyq queue = {0};
    (void)state;
    converse(&queue, "PBD", "12n");
    assert_false(queue.executed);
    converse(&queue, "E", "C");
    assert_true(queue.executed);
    converse(&queue, "SE", "Z"); /* the second stands behind that Sync */
    assert_true(queue.executed);
    converse(&queue, "S", "CZ");
    assert_false(queue.executed);
    converse(&queue, "PE", "E"); /* thrown away, but the Parse failed: nothing runs till the Sync */
    converse(&queue, "S", "Z");
    assert_false(queue.executed);
}

static void whose_ready_comes_next(void **state)
{
    pk_replyq queue = {0};
    (void)state;
    assert_int_equal(pk_replyq_ready_for(&queue), 0);
    converse(&queue, "PSQF", "");
    assert_int_equal(pk_replyq_ready_for(&queue), 'S');
    converse(&queue, "", "1Z");
    assert_int_equal(pk_replyq_ready_for(&queue), 'Q');
    converse(&queue, "", "CZ");
    assert_int_equal(pk_replyq_ready_for(&queue), 'F');
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, books_are_right);
    PK_SUITE_TEST(&suite, a_deep_pipeline_grows_wraps_and_gives_back);
    PK_SUITE_TEST(&suite, an_execute_counts_until_its_own_sync_is_answered);
    PK_SUITE_TEST(&suite, whose_ready_comes_next);
    PK_SUITE_TEST(&suite, nonsense_never_hurts);
    return pk_suite_run(&suite, "replyq");
}
