/*
 * The bytes of one peer: what the owner sees and leaves, what the kernel does not take, how an end
 * is told. The peer is the other end of a socket pair.
 */
#include "proxy/stream.h"
#include "sockets.h"
#include "tls_ends.h"

static pk_stream_loop *streams; /* one whose poller can be waited for */
static uv_timer_t watchdog;

/* ---- the owner ---- */

static struct owner {
    pk_stream stream;
    char seen[1 << 16]; /* what was done with, in order */
    size_t seen_len;
    size_t offered; /* by the last call */
    size_t leave;   /* so many bytes are not done with */
    size_t calls, settled, hung_up, hard, ended;
    int why;
    bool deaf;          /* may not read */
    bool close_at_once; /* at the next settle */
    bool stop_when_settled;
    bool count_only;
} me;

static size_t input(pk_stream *stream, pk_span bytes)
{
    struct owner *self = stream->ctx;
    self->calls++;
    self->offered = bytes.len;
    const size_t done = bytes.len > self->leave ? bytes.len - self->leave : 0;
    if (!self->count_only) {
        assert_true(self->seen_len + done <= sizeof self->seen);
        memcpy(self->seen + self->seen_len, bytes.ptr, done);
    }
    self->seen_len += done;
    return done;
}

static bool may_read(const pk_stream *stream)
{
    const struct owner *self = stream->ctx;
    return !self->deaf;
}

static void secured(pk_stream *stream)
{
    (void)stream;
    fail();
}

static void ended(pk_stream *stream, int why)
{
    struct owner *self = stream->ctx;
    self->ended++;
    self->why = why;
}

static void hung_up(pk_stream *stream, bool hard)
{
    struct owner *self = stream->ctx;
    self->hung_up++;
    self->hard += hard;
}

static void settle(pk_stream *stream)
{
    struct owner *self = stream->ctx;
    self->settled++;
    if (self->close_at_once)
        pk_stream_close(stream);
    else
        pk_stream_update(stream);
    if (self->stop_when_settled)
        pk_poller_stop(&streams->poller);
}

static const pk_stream_owner owner = {input, may_read, secured, ended, hung_up, settle};

/* ---- a pair ---- */

static int peer; /* the other end */
static size_t files_before;

static void bark(uv_timer_t *timer)
{
    (void)timer;
    pk_poller_stop(&streams->poller);
}

static void run(uint64_t ms)
{
    streams->poller.stopped = false;
    uv_update_time(&streams->poller.uv);
    (void)uv_timer_start(&watchdog, bark, ms, 0);
    pk_poller_run(&streams->poller);
    (void)uv_timer_stop(&watchdog);
}

static void begin(void)
{
    int pair[2];
    pk_error err;
    streams = calloc(1, sizeof *streams);
    assert_true(pk_poller_open(&streams->poller, &err));
    (void)uv_timer_init(&streams->poller.uv, &watchdog);
    run(1); /* libuv has made what it makes once */
    files_before = count_files();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    peer = pair[1];
    me = (struct owner){.why = -1};
    pk_stream_init(&me.stream, streams, &owner, &me);
    assert_false(pk_stream_is_open(&me.stream));
    pk_stream_open(&me.stream, pair[0], NULL);
    assert_true(pk_stream_is_open(&me.stream));
    pk_stream_update(&me.stream);
}

static void close_peer(void)
{
    if (peer >= 0)
        (void)close(peer);
    peer = -1;
}

static void end(void)
{
    pk_stream_close(&me.stream);
    pk_stream_close(&me.stream); /* nothing happens */
    close_peer();
    assert_int_equal(count_files(), files_before);
    uv_close((uv_handle_t *)&watchdog, NULL);
    pk_poller_close(&streams->poller);
    free(streams);
}

static void say(const void *bytes, size_t len)
{
    assert_int_equal(send(peer, bytes, len, MSG_NOSIGNAL), len);
}

static void assert_seen(const char *text)
{
    assert_int_equal(me.seen_len, strlen(text));
    assert_memory_equal(me.seen, text, strlen(text));
}

static pk_span held(void)
{
    return pk_stream_held(&me.stream);
}

/* ---- input ---- */

static void what_comes_is_offered(void **state)
{
    (void)state;
    begin();
    say("hello", 5);
    run(20);
    assert_seen("hello");
    assert_int_equal(me.calls, 1);
    assert_int_equal(me.settled, 1);
    assert_int_equal(held().len, 0);
    end();
}

static const struct left_row {
    const char *name;
    size_t first, leave;
} left_rows[] = {
    {"one byte", 10, 1},
    {"as much as is carried", 20, PK_STREAM_CARRY},
    {"more than is carried", 20, PK_STREAM_CARRY + 1},
    {"everything", 100, 100},
    {"less than came, of little", 3, 2},
};

/* Whatever is left over is offered again, in front of what comes. */
static void what_is_left_comes_again(void **state)
{
    const struct left_row *row = *state;
    char text[128];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('!' + i % 90);
    begin();
    me.leave = row->leave;
    say(text, row->first);
    run(20);
    assert_int_equal(me.seen_len, row->first - row->leave);
    assert_int_equal(held().len, row->leave);
    assert_memory_equal(held().ptr, text + me.seen_len, row->leave);
    say(text + row->first, 5);
    run(20);
    assert_int_equal(me.offered, row->leave + 5);
    me.leave = 0;
    say("", 1);
    run(20);
    assert_int_equal(me.seen_len, row->first + 6);
    assert_memory_equal(me.seen, text, row->first + 5);
    assert_int_equal(held().len, 0);
    end();
}

static void bytes_one_at_a_time_are_never_lost(void **state)
{
    (void)state;
    begin();
    me.leave = 40;
    char text[80];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('!' + i);
        say(&text[i], 1);
        run(1);
        assert_int_equal(me.seen_len + held().len, i + 1);
    }
    assert_int_equal(me.seen_len, sizeof text - 40);
    me.leave = 0;
    pk_stream_process(&me.stream);
    assert_int_equal(me.seen_len, sizeof text);
    assert_memory_equal(me.seen, text, sizeof text);
    pk_stream_process(&me.stream); /* nothing is held: nothing is offered */
    assert_int_equal(me.offered, 40);
    end();
}

static const struct consume_row {
    const char *name;
    size_t len;
} consume_rows[] = {{"of a few bytes", 6}, {"of many", 60}};

static void a_part_of_what_is_held_is_consumed(void **state)
{
    const struct consume_row *row = *state;
    char text[64];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('!' + i);
    begin();
    me.leave = row->len;
    say(text, row->len);
    run(20);
    pk_stream_consume(&me.stream, 0);
    assert_int_equal(held().len, row->len);
    pk_stream_consume(&me.stream, 4);
    assert_int_equal(held().len, row->len - 4);
    assert_memory_equal(held().ptr, text + 4, row->len - 4);
    pk_stream_consume(&me.stream, row->len - 4);
    assert_int_equal(held().len, 0);
    end();
}

static void who_may_not_read_is_not_offered_anything(void **state)
{
    (void)state;
    begin();
    me.deaf = true;
    pk_stream_update(&me.stream);
    say("hello", 5);
    run(30);
    assert_int_equal(me.calls + me.settled, 0);
    me.deaf = false;
    pk_stream_update(&me.stream);
    run(30);
    assert_seen("hello");
    end();
}

/* One peer that always sends does not keep the loop: after sixteen blocks others have a turn. */
static void a_flood_is_read_in_turns(void **state)
{
    enum { SIZE = 4 << 20 };
    const int room = SIZE;
    (void)state;
    begin();
    me.count_only = true;
    me.stop_when_settled = true;
    (void)setsockopt(peer, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    PK_AUTO_PTR(pk_free) char *text = pk_new_bytes(SIZE);
    size_t sent = 0;
    ssize_t now;
    while (sent < SIZE && (now = send(peer, text, SIZE - sent, MSG_NOSIGNAL)) > 0)
        sent += (size_t)now;
    size_t rounds = 0;
    while (me.seen_len < sent && rounds < 1000) {
        const size_t before = me.seen_len;
        run(1000);
        assert_in_range(me.seen_len - before, 1, 16 * PK_STREAM_READ_SIZE);
        rounds++;
    }
    assert_int_equal(me.seen_len, sent);
    end();
}

static void what_is_held_has_a_ceiling(void **state)
{
    char text[32768];
    (void)state;
    memset(text, 'x', sizeof text);
    begin();
    me.count_only = true;
    me.leave = SIZE_MAX;
    for (size_t i = 0; i <= PK_STREAM_IN_MAX / sizeof text && me.ended == 0; i++) {
        say(text, sizeof text);
        run(1);
    }
    run(5);
    assert_int_equal(me.ended, 1);
    assert_int_equal(me.why, ENOBUFS);
    assert_true(held().len <= PK_STREAM_IN_MAX);
    end();
}

/* Passwords go through this block, which other sessions use next. */
static void authentication_leaves_nothing_in_the_shared_block(void **state)
{
    (void)state;
    begin();
    say("a public word", 13);
    run(20);
    assert_non_null(memmem(streams->bytes, sizeof streams->bytes, "a public word", 13));
    me.stream.sensitive = true;
    say("the password", 12);
    run(20);
    assert_null(memmem(streams->bytes, sizeof streams->bytes, "the password", 12));
    me.stream.sensitive = false;
    me.stream.soiled = true; /* once */
    say("a literal", 9);
    run(20);
    assert_null(memmem(streams->bytes, sizeof streams->bytes, "a literal", 9));
    assert_false(me.stream.soiled);
    me.leave = 100; /* what is held is nowhere else */
    say("a held secret", 13);
    run(20);
    assert_null(memmem(streams->bytes, sizeof streams->bytes, "a held secret", 13));
    assert_int_equal(held().len, 13);
    end();
}

/* ---- output ---- */

static size_t drain_peer(void)
{
    char buf[65536];
    size_t sum = 0;
    for (int quiet = 0; quiet < 3;) {
        const ssize_t got = recv(peer, buf, sizeof buf, 0);
        if (got > 0) {
            for (ssize_t i = 0; i < got; i++)
                assert_int_equal(buf[i], (char)((sum + (size_t)i) % 251));
            sum += (size_t)got;
            quiet = 0;
        } else {
            run(5);
            quiet++;
        }
    }
    return sum;
}

static void what_the_kernel_does_not_take_goes_later(void **state)
{
    enum { SIZE = 3 << 20 };
    (void)state;
    begin();
    PK_AUTO_PTR(pk_free) char *text = pk_new_bytes(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (char)(i % 251);
    pk_stream_write(&me.stream, (pk_span){text, SIZE - 1000});
    assert_true(me.stream.congested);
    const size_t unsent = pk_stream_unsent(&me.stream);
    assert_in_range(unsent, 1, SIZE - 1001);
    pk_stream_write(&me.stream, (pk_span){text + SIZE - 1000, 1000}); /* behind the rest */
    assert_int_equal(pk_stream_unsent(&me.stream), unsent + 1000);
    pk_stream_update(&me.stream);
    assert_int_equal(drain_peer(), SIZE);
    assert_int_equal(pk_stream_unsent(&me.stream), 0);
    assert_false(me.stream.congested);
    assert_null(me.stream.out.block);         /* an idle stream owns nothing */
    pk_stream_write(&me.stream, PK_SPAN("")); /* nothing to do */
    assert_false(me.stream.congested);
    end();
}

static void output_has_a_ceiling(void **state)
{
    enum { SIZE = 4 << 20 };
    (void)state;
    begin();
    PK_AUTO_PTR(pk_free) char *text = pk_new_bytes(SIZE);
    for (size_t i = 0; i <= PK_STREAM_OUT_MAX / SIZE + 1 && !me.stream.broken; i++) {
        assert_true(pk_stream_unsent(&me.stream) <= PK_STREAM_OUT_MAX);
        pk_stream_write(&me.stream, (pk_span){text, SIZE});
    }
    assert_true(me.stream.broken);
    assert_int_equal(pk_stream_unsent(&me.stream), 0);
    pk_stream_write(&me.stream, PK_SPAN("more")); /* to no avail */
    assert_int_equal(pk_stream_unsent(&me.stream), 0);
    end();
}

static void writing_to_who_is_gone_breaks_the_stream(void **state)
{
    (void)state;
    begin();
    close_peer();
    pk_stream_write(&me.stream, PK_SPAN("hello"));
    assert_true(me.stream.broken);
    assert_int_equal(pk_stream_unsent(&me.stream), 0);
    assert_int_equal(me.ended, 0); /* reading finds that out for itself */
    pk_stream_update(&me.stream);
    run(20);
    assert_int_equal(me.ended, 1);
    end();
}

static void flushing_to_who_is_gone_breaks_the_stream(void **state)
{
    enum { SIZE = 3 << 20 };
    (void)state;
    begin();
    PK_AUTO_PTR(pk_free) char *text = pk_new_bytes(SIZE);
    pk_stream_write(&me.stream, (pk_span){text, SIZE});
    assert_true(me.stream.congested);
    pk_stream_update(&me.stream);
    close_peer();
    run(20);
    assert_true(me.stream.broken);
    assert_false(me.stream.congested); /* nobody waits for it any more */
    assert_int_equal(pk_stream_unsent(&me.stream), 0);
    end();
}

/* ---- the end ---- */

static void an_orderly_end_is_told_once_behind_the_last_bytes(void **state)
{
    (void)state;
    begin();
    say("bye", 3);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    run(30);
    assert_seen("bye");
    assert_int_equal(me.ended, 1);
    assert_int_equal(me.why, 0);
    assert_true(me.stream.ended);
    assert_int_equal(me.hard, 0);
    assert_in_range(me.settled, 1, 3); /* and the loop does not turn for it */
    end();
}

static void a_hang_up_is_told_while_reading_is_stopped(void **state)
{
    (void)state;
    begin();
    me.deaf = true;
    pk_stream_update(&me.stream);
    say("waiting", 7);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    run(30);
    assert_int_equal(me.hung_up, 1);
    assert_int_equal(me.hard, 0);
    assert_int_equal(me.settled, 1); /* once; epoll would go on */
    assert_int_equal(me.ended, 0);
    me.deaf = false;
    pk_stream_update(&me.stream);
    run(30);
    assert_seen("waiting");
    assert_int_equal(me.ended, 1);
    assert_int_equal(me.hung_up, 1);
    end();
}

static void both_directions_gone_do_not_turn_the_loop(void **state)
{
    (void)state;
    begin();
    me.deaf = true;
    pk_stream_update(&me.stream);
    close_peer();
    run(30);
    assert_int_equal(me.hung_up, 1);
    assert_int_equal(me.settled, 1);
    end();
}

/* TCP, for Unix sockets cannot be reset. */
static void connect_tcp(void)
{
    pk_address at;
    pk_stream_close(&me.stream);
    close_peer();
    const int listener = listen_somewhere(&at, 1);
    peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(peer, (const struct sockaddr *)&at, sizeof at.in), 0);
    pk_stream_init(&me.stream, streams, &owner, &me);
    pk_stream_open(&me.stream, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), NULL);
    (void)close(listener);
}

static void reset(void)
{
    const struct linger now = {.l_onoff = 1};
    (void)setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close_peer();
}

static void a_reset_is_told_with_its_cause(void **state)
{
    (void)state;
    begin();
    connect_tcp();
    pk_stream_update(&me.stream);
    reset();
    run(30);
    assert_int_equal(me.ended, 1);
    assert_int_equal(me.why, ECONNRESET);
    assert_true(me.stream.broken);
    end();
}

static void a_reset_while_reading_is_stopped_is_a_hard_hang_up(void **state)
{
    (void)state;
    begin();
    connect_tcp();
    me.deaf = true;
    pk_stream_update(&me.stream);
    reset();
    run(30);
    assert_int_equal(me.ended, 0);
    assert_int_equal(me.hung_up, 1);
    assert_int_equal(me.hard, 1);
    assert_true(me.stream.broken);
    assert_int_equal(me.settled, 1);
    end();
}

static void what_was_sent_before_a_reset_is_still_read(void **state)
{
    (void)state;
    begin();
    connect_tcp();
    me.deaf = true;
    say("last words", 10);
    reset();
    me.deaf = false;
    pk_stream_update(&me.stream);
    run(30);
    /* the kernel may have thrown them away, but what is offered comes before the end */
    assert_int_equal(me.ended, 1);
    assert_int_equal(me.why, ECONNRESET);
    assert_true(me.seen_len == 0 || me.seen_len == 10);
    end();
}

static void finishing_lets_the_peer_see_an_end(void **state)
{
    char buf[8];
    (void)state;
    begin();
    pk_stream_write(&me.stream, PK_SPAN("bye"));
    pk_stream_finish(&me.stream);
    assert_int_equal(recv(peer, buf, sizeof buf, 0), 3);
    assert_int_equal(recv(peer, buf, sizeof buf, 0), 0);
    say("still", 5); /* the other direction goes on */
    run(20);
    assert_seen("still");
    pk_stream_close(&me.stream);
    pk_stream_finish(&me.stream); /* closed: nothing happens */
    end();
}

static void it_may_close_when_a_batch_of_events_is_over(void **state)
{
    (void)state;
    begin();
    me.leave = 5;
    me.close_at_once = true;
    say("hello", 5);
    run(20);
    assert_int_equal(me.settled, 1);
    assert_false(pk_stream_is_open(&me.stream));
    assert_int_equal(held().len, 0);
    pk_stream_write(&me.stream, PK_SPAN("x"));
    assert_int_equal(pk_stream_unsent(&me.stream), 0);
    pk_stream_update(&me.stream);
    end();
}

static void what_cannot_be_watched_ends(void **state)
{
    (void)state;
    begin();
    pk_stream_close(&me.stream);
    pk_stream_init(&me.stream, streams, &owner, &me);
    pk_stream_open(&me.stream, open("/proc/self/exe", O_RDONLY | O_CLOEXEC), NULL);
    pk_stream_update(&me.stream);
    assert_int_equal(me.ended, 1);
    assert_int_equal(me.why, EPERM);
    assert_true(me.stream.broken);
    end();
}

/* ---- TLS ---- */

/* The next renewal does not fit any more, or is not wanted. */
static bool renew(SSL *client)
{
    const bool sent =
        SSL_key_update(client, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(client) == 1;
    ERR_clear_error();
    return sent;
}

/* Each wants an answer, and nobody reads them: reading waits until one can be sent, and must not be
 * told again and again that there is something to be read. */
static void renewals_without_end_do_not_turn_the_loop(void **state)
{
    enum { MANY = 5000 };
    tls_ends ends;
    (void)state;
    begin();
    pk_stream_close(&me.stream);
    close_peer();
    make_world();
    open_with_raw_client(&ends, TLS1_3_VERSION);
    must_shake(&ends);
    pk_stream_init(&me.stream, streams, &owner, &me);
    pk_stream_open(&me.stream, ends.fds[0], pk_steal(&ends.server.link));
    ends.fds[0] = -1;
    pk_stream_update(&me.stream);
    for (int i = 0; i < MANY && renew(ends.client.raw); i++)
        if (i % 50 == 0)
            run(1);
    run(50); /* everything that can be done is done */
    assert_true(me.stream.read_wants_write);
    me.settled = 0;
    run(200);
    assert_in_range(me.settled, 0, 5);
    assert_int_equal(me.ended, 0);
    pk_stream_close(&me.stream);
    close_ends(&ends);
    remove_world();
    end();
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, what_comes_is_offered);
    PK_SUITE_ROWS(&suite, left_rows, what_is_left_comes_again);
    PK_SUITE_TEST(&suite, bytes_one_at_a_time_are_never_lost);
    PK_SUITE_ROWS(&suite, consume_rows, a_part_of_what_is_held_is_consumed);
    PK_SUITE_TEST(&suite, who_may_not_read_is_not_offered_anything);
    PK_SUITE_TEST(&suite, a_flood_is_read_in_turns);
    PK_SUITE_TEST(&suite, what_is_held_has_a_ceiling);
    PK_SUITE_TEST(&suite, authentication_leaves_nothing_in_the_shared_block);
    PK_SUITE_TEST(&suite, what_the_kernel_does_not_take_goes_later);
    PK_SUITE_TEST(&suite, output_has_a_ceiling);
    PK_SUITE_TEST(&suite, writing_to_who_is_gone_breaks_the_stream);
    PK_SUITE_TEST(&suite, flushing_to_who_is_gone_breaks_the_stream);
    PK_SUITE_TEST(&suite, an_orderly_end_is_told_once_behind_the_last_bytes);
    PK_SUITE_TEST(&suite, a_hang_up_is_told_while_reading_is_stopped);
    PK_SUITE_TEST(&suite, both_directions_gone_do_not_turn_the_loop);
    PK_SUITE_TEST(&suite, a_reset_is_told_with_its_cause);
    PK_SUITE_TEST(&suite, a_reset_while_reading_is_stopped_is_a_hard_hang_up);
    PK_SUITE_TEST(&suite, what_was_sent_before_a_reset_is_still_read);
    PK_SUITE_TEST(&suite, finishing_lets_the_peer_see_an_end);
    PK_SUITE_TEST(&suite, it_may_close_when_a_batch_of_events_is_over);
    PK_SUITE_TEST(&suite, what_cannot_be_watched_ends);
    PK_SUITE_TEST(&suite, renewals_without_end_do_not_turn_the_loop);
    return pk_suite_run(&suite, "stream");
}
