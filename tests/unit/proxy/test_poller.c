/* Who is called, when and how often; what happens to those that close in the middle of a round. */
#include "proxy/poller.h"
#include "sockets.h"

#include <pthread.h>
#include <sys/eventfd.h>

#define LATE_MS 10000u
#define LOG_MAX 64u

static test_poller loop;
static char calls[LOG_MAX]; /* a letter for each call */
static size_t call_count;

typedef struct one {
    pk_watch watch; /* first */
    pk_grave grave;
    char letter;
    unsigned events; /* of the last call */
    void (*act)(struct one *self);
    struct one *other;
    int turns;
} one;

static void note(char letter)
{
    assert_true(call_count < LOG_MAX - 1);
    calls[call_count++] = letter;
    calls[call_count] = 0;
}

static void on_ready(pk_watch *watch, unsigned events)
{
    one *self = (one *)watch;
    note(self->letter);
    self->events = events;
    if (self->act != NULL)
        self->act(self);
}

static one make(char letter, int fd, void (*act)(one *self))
{
    return (one){.watch = {.ready = on_ready, .fd = fd}, .letter = letter, .act = act};
}

/* Readable from the start. */
static int ready_fd(void)
{
    const int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

static void begin(void)
{
    call_count = 0;
    calls[0] = 0;
    open_poller(&loop);
}

static void end(void)
{
    close_poller(&loop);
}

static void stop(one *self)
{
    (void)self;
    pk_poller_stop(&loop.poller);
}

static void close_self(one *self)
{
    pk_watch_close(&loop.poller, &self->watch);
}

static void close_other(one *self)
{
    pk_watch_close(&loop.poller, &self->other->watch);
}

/* ---- descriptors ---- */

static void the_ready_are_called_until_the_round_is_over(void **state)
{
    one a = make('a', ready_fd(), stop);
    one b = make('b', ready_fd(), stop);
    (void)state;
    begin();
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_true(pk_watch_set(&loop.poller, &b.watch, PK_READABLE));
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(call_count, 2); /* both, though the first said stop */
    assert_int_equal(a.events, PK_READABLE);
    pk_watch_close(&loop.poller, &a.watch);
    pk_watch_close(&loop.poller, &b.watch);
    end();
}

static void only_what_was_asked_for_is_told(void **state)
{
    int pair[2];
    (void)state;
    begin();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    one a = make('a', pair[0], stop);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_WRITABLE));
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(a.events, PK_WRITABLE);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE | PK_WRITABLE));
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(a.events, PK_READABLE | PK_WRITABLE);
    assert_true(pk_watch_set(&loop.poller, &a.watch, 0));
    assert_int_equal(a.watch.mask, 0);
    assert_false(run_for(&loop, 30));
    assert_int_equal(call_count, 2);
    assert_true(pk_watch_set(&loop.poller, &a.watch, 0)); /* again: nothing to do */
    pk_watch_close(&loop.poller, &a.watch);
    (void)close(pair[1]);
    end();
}

static void a_peer_that_closed_its_side_is_told_as_hung_up(void **state)
{
    int pair[2];
    (void)state;
    begin();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    one a = make('a', pair[0], stop);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_HUNG_UP));
    assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(a.events, PK_HUNG_UP);
    pk_watch_close(&loop.poller, &a.watch);
    (void)close(pair[1]);
    end();
}

/* epoll says EPOLLHUP, which nobody can ask for. */
static void the_end_of_both_directions_is_told_as_what_was_asked_for(void **state)
{
    int pair[2];
    (void)state;
    begin();
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    one a = make('a', pair[0], stop);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    (void)close(pair[1]);
    assert_true(run_for(&loop, LATE_MS));
    assert_true(a.events & PK_READABLE);
    pk_watch_close(&loop.poller, &a.watch);
    end();
}

static void failure_comes_unasked_and_once(void **state)
{
    int pair[2];
    (void)state;
    begin();
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    (void)close(pair[0]); /* nobody reads what is written: EPOLLERR */
    one a = make('a', pair[1], NULL);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_WRITABLE));
    assert_false(run_for(&loop, 50));
    assert_string_equal(calls, "a");
    assert_true(a.events & PK_FAILED);
    assert_int_equal(a.watch.mask, 0);
    pk_watch_close(&loop.poller, &a.watch);
    end();
}

static void what_cannot_be_watched_is_refused(void **state)
{
    (void)state;
    begin();
    one file = make('f', open("/proc/self/exe", O_RDONLY | O_CLOEXEC), NULL);
    assert_false(pk_watch_set(&loop.poller, &file.watch, PK_READABLE));
    assert_int_equal(errno, EPERM);
    assert_int_equal(file.watch.mask, 0);
    pk_watch_close(&loop.poller, &file.watch);
    one gone = make('g', 1 << 20, NULL);
    assert_false(pk_watch_set(&loop.poller, &gone.watch, PK_READABLE));
    assert_int_equal(errno, EBADF);
    end();
}

/* ---- closing in the middle ---- */

static void a_watch_may_close_in_its_own_callback(void **state)
{
    const size_t before = count_files();
    (void)state;
    begin();
    one a = make('a', ready_fd(), close_self);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_false(run_for(&loop, 30));
    assert_string_equal(calls, "a");
    assert_int_equal(a.watch.fd, -1);
    pk_watch_close(&loop.poller, &a.watch); /* closed: nothing happens */
    end();
    assert_int_equal(count_files(), before);
}

static void who_was_closed_in_this_round_is_not_called(void **state)
{
    (void)state;
    begin();
    one a = make('a', ready_fd(), close_other);
    one b = make('b', ready_fd(), close_other);
    a.other = &b;
    b.other = &a;
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_true(pk_watch_set(&loop.poller, &b.watch, PK_READABLE));
    one last = make('s', ready_fd(), stop);
    assert_true(pk_watch_set(&loop.poller, &last.watch, PK_READABLE));
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(call_count, 2); /* one of the two, and 's' */
    assert_int_equal((a.watch.fd < 0) + (b.watch.fd < 0), 1);
    pk_watch_close(&loop.poller, &a.watch);
    pk_watch_close(&loop.poller, &b.watch);
    pk_watch_close(&loop.poller, &last.watch);
    end();
}

static void what_is_released_is_open_and_unwatched(void **state)
{
    (void)state;
    begin();
    one a = make('a', ready_fd(), NULL);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    pk_watch_again(&loop.poller, &a.watch);
    const int fd = pk_watch_release(&loop.poller, &a.watch);
    assert_int_equal(a.watch.fd, -1);
    assert_int_equal(a.watch.mask, 0);
    assert_false(run_for(&loop, 30));
    assert_int_equal(call_count, 0);
    one b = make('b', fd, stop); /* it can be watched anew */
    assert_true(pk_watch_set(&loop.poller, &b.watch, PK_READABLE));
    assert_true(run_for(&loop, LATE_MS));
    pk_watch_close(&loop.poller, &b.watch);
    end();
}

/* ---- again ---- */

static void ask_again(one *self)
{
    if (--self->turns > 0)
        pk_watch_again(&loop.poller, &self->watch);
    else
        pk_poller_stop(&loop.poller);
}

static void again_calls_once_without_an_event(void **state)
{
    (void)state;
    begin();
    one a = make('a', eventfd(0, EFD_CLOEXEC), NULL);
    pk_watch_again(&loop.poller, &a.watch);
    pk_watch_again(&loop.poller, &a.watch);
    assert_false(run_for(&loop, 30));
    assert_string_equal(calls, "a");
    assert_int_equal(a.events, PK_READABLE);
    pk_watch_close(&loop.poller, &a.watch);
    end();
}

/* Who always has more to do shares the thread with those who have as well, and with sockets. */
static void again_takes_turns(void **state)
{
    (void)state;
    begin();
    one a = make('a', eventfd(0, EFD_CLOEXEC), ask_again);
    one b = make('b', eventfd(0, EFD_CLOEXEC), ask_again);
    one socket = make('s', ready_fd(), NULL);
    a.turns = b.turns = 3;
    assert_true(pk_watch_set(&loop.poller, &socket.watch, PK_READABLE));
    pk_watch_again(&loop.poller, &a.watch);
    pk_watch_again(&loop.poller, &b.watch);
    assert_true(run_for(&loop, LATE_MS));
    assert_string_equal(calls, "sabsabsab");
    pk_watch_close(&loop.poller, &a.watch);
    pk_watch_close(&loop.poller, &b.watch);
    pk_watch_close(&loop.poller, &socket.watch);
    end();
}

static void close_other_and_ask_again(one *self)
{
    pk_watch_close(&loop.poller, &self->other->watch);
    ask_again(self);
}

/* Of three, the first closes one and asks again: its turn is the next round's all the same. */
static void a_queue_that_shrinks_gives_nobody_two_turns(void **state)
{
    (void)state;
    begin();
    one a = make('a', eventfd(0, EFD_CLOEXEC), close_other_and_ask_again);
    one b = make('b', eventfd(0, EFD_CLOEXEC), NULL);
    one c = make('c', eventfd(0, EFD_CLOEXEC), NULL);
    one socket = make('s', ready_fd(), NULL);
    a.turns = 2;
    a.other = &b;
    assert_true(pk_watch_set(&loop.poller, &socket.watch, PK_READABLE));
    pk_watch_again(&loop.poller, &a.watch);
    pk_watch_again(&loop.poller, &b.watch);
    pk_watch_again(&loop.poller, &c.watch);
    assert_true(run_for(&loop, LATE_MS));
    assert_string_equal(calls, "sacsa");
    pk_watch_close(&loop.poller, &a.watch);
    pk_watch_close(&loop.poller, &c.watch);
    pk_watch_close(&loop.poller, &socket.watch);
    end();
}

/* First, last, one in the middle, all: the queue stays whole. */
static void any_of_the_queue_may_close(void **state)
{
    (void)state;
    for (unsigned closed = 0; closed < 8; closed++) {
        one all[3];
        char expected[4] = "";
        begin();
        for (unsigned i = 0; i < 3; i++) {
            all[i] = make((char)('a' + i), eventfd(0, EFD_CLOEXEC), NULL);
            pk_watch_again(&loop.poller, &all[i].watch);
        }
        for (unsigned i = 0; i < 3; i++)
            if (closed & 1u << i)
                pk_watch_close(&loop.poller, &all[i].watch);
            else
                strncat(expected, &all[i].letter, 1);
        one last = make('z', eventfd(0, EFD_CLOEXEC), stop);
        pk_watch_again(&loop.poller, &last.watch);
        assert_true(run_for(&loop, LATE_MS));
        assert_memory_equal(calls, expected, strlen(expected));
        assert_string_equal(calls + strlen(expected), "z");
        for (unsigned i = 0; i < 3; i++)
            pk_watch_close(&loop.poller, &all[i].watch);
        pk_watch_close(&loop.poller, &last.watch);
        end();
    }
}

/* ---- graves ---- */

static one *of_grave(pk_grave *grave)
{
    return (one *)(void *)((char *)grave - offsetof(one, grave));
}

static void free_one(pk_grave *grave)
{
    one *self = of_grave(grave);
    note((char)(self->letter - 'a' + 'A'));
    if (self->other != NULL)
        pk_poller_bury(&loop.poller, &self->other->grave);
}

static void bury_self(one *self)
{
    pk_watch_close(&loop.poller, &self->watch);
    pk_poller_bury(&loop.poller, &self->grave);
}

static void the_buried_are_freed_once_when_all_were_called(void **state)
{
    (void)state;
    begin();
    one a = make('a', ready_fd(), bury_self);
    one b = make('b', ready_fd(), bury_self);
    one again = make('c', eventfd(0, EFD_CLOEXEC), stop);
    a.grave.free = b.grave.free = free_one;
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_true(pk_watch_set(&loop.poller, &b.watch, PK_READABLE));
    pk_watch_again(&loop.poller, &again.watch);
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(call_count, 5);
    assert_non_null(strchr("ab", calls[0]));
    assert_non_null(strchr("ab", calls[1]));
    assert_int_equal(calls[2], 'c');
    assert_non_null(strstr("ABA", calls + 3)); /* either order */
    assert_false(run_for(&loop, 20));
    assert_int_equal(call_count, 5);
    pk_watch_close(&loop.poller, &again.watch);
    end();
}

static void who_is_freed_may_bury_another(void **state)
{
    (void)state;
    begin();
    one a = make('a', ready_fd(), bury_self);
    one b = make('b', -1, NULL);
    a.grave.free = b.grave.free = free_one;
    a.other = &b;
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_false(run_for(&loop, 30));
    assert_string_equal(calls, "aAB");
    end();
}

static void what_is_buried_outside_a_round_is_freed_at_the_end(void **state)
{
    (void)state;
    begin();
    one a = make('a', -1, NULL);
    a.grave.free = free_one;
    pk_poller_bury(&loop.poller, &a.grave);
    assert_int_equal(call_count, 0);
    end();
    assert_string_equal(calls, "A");
}

/* ---- libuv inside ---- */

static void on_async(uv_async_t *async)
{
    (void)async;
    note('u');
    pk_poller_stop(&loop.poller);
}

static void *wake(void *async)
{
    (void)usleep(20000);
    (void)uv_async_send(async);
    return NULL;
}

static void another_thread_wakes_it(void **state)
{
    uv_async_t async;
    pthread_t thread;
    (void)state;
    begin();
    assert_int_equal(uv_async_init(&loop.poller.uv, &async, on_async), 0);
    assert_int_equal(pthread_create(&thread, NULL, wake, &async), 0);
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(calls, "u");
    uv_close((uv_handle_t *)&async, NULL);
    end();
}

static uint64_t began, fired;

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
    fired = pk_poller_now(&loop.poller);
    note('t');
    pk_poller_stop(&loop.poller);
}

/* Every round has an event; `turns` is the patience. */
static void go_on(one *self)
{
    call_count = 0;
    if (--self->turns == 0)
        pk_poller_stop(&loop.poller);
}

static void timers_fire_although_sockets_are_never_quiet(void **state)
{
    uv_timer_t timer;
    (void)state;
    begin();
    one a = make('a', ready_fd(), go_on);
    a.turns = 5000000;
    assert_int_equal(uv_timer_init(&loop.poller.uv, &timer), 0);
    uv_update_time(&loop.poller.uv);
    began = pk_poller_now(&loop.poller);
    assert_int_equal(uv_timer_start(&timer, on_timer, 30, 0), 0);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_true(run_for(&loop, LATE_MS));
    assert_true(a.turns > 0);
    assert_in_range(fired - began, 30, 5000);
    uv_close((uv_handle_t *)&timer, NULL);
    pk_watch_close(&loop.poller, &a.watch);
    end();
}

static void on_work(uv_work_t *work)
{
    (void)work;
}

static void on_work_done(uv_work_t *work, int status)
{
    (void)work;
    assert_int_equal(status, 0);
    note('w');
    pk_poller_stop(&loop.poller);
}

static uv_work_t work;

static void begin_work(one *self)
{
    pk_watch_close(&loop.poller, &self->watch);
    assert_int_equal(uv_queue_work(&loop.poller.uv, &work, on_work, on_work_done), 0);
}

static void work_that_begins_in_a_round_is_heard_of(void **state)
{
    (void)state;
    begin();
    one a = make('a', ready_fd(), begin_work);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_true(run_for(&loop, LATE_MS));
    assert_string_equal(calls, "aw");
    end();
}

static uv_async_t made_late;

static void make_async(one *self)
{
    pk_watch_close(&loop.poller, &self->watch);
    assert_int_equal(uv_async_init(&loop.poller.uv, &made_late, on_async), 0);
    assert_int_equal(uv_async_send(&made_late), 0);
}

static void a_handle_made_in_a_round_is_heard_of(void **state)
{
    (void)state;
    begin();
    one a = make('a', ready_fd(), make_async);
    assert_true(pk_watch_set(&loop.poller, &a.watch, PK_READABLE));
    assert_true(run_for(&loop, LATE_MS));
    assert_string_equal(calls, "au");
    uv_close((uv_handle_t *)&made_late, NULL);
    end();
}

/* ---- no descriptors ---- */

static bool opens_with(unsigned left)
{
    pk_error err = {0};
    pk_poller poller;
    const struct rlimit limit = allow_files(left);
    const bool ok = pk_poller_open(&poller, &err);
    restore_files(&limit);
    if (ok) {
        pk_poller_close(&poller);
        return true;
    }
    assert_string_equal(err.sqlstate, PK_E_SYSTEM);
    assert_non_null(strstr(err.message, "could not make an event loop: "));
    return false;
}

static bool libuv_opens_with(unsigned left)
{
    uv_loop_t uv;
    const struct rlimit limit = allow_files(left);
    const int rc = uv_loop_init(&uv);
    restore_files(&limit);
    return rc == 0 && uv_loop_close(&uv) == 0;
}

/* libuv 1.44 loses a descriptor when it fails; what fails behind it must not. */
static void without_descriptors_it_does_not_open_and_leaves_none(void **state)
{
    unsigned left = 0;
    (void)state;
    begin(); /* libuv keeps a pipe for signals from the first time on */
    end();
    assert_false(opens_with(0));
    while (!libuv_opens_with(left))
        left++;
    const size_t before = count_files();
    assert_false(opens_with(left));
    assert_int_equal(count_files(), before);
    assert_true(opens_with(left + 1));
    assert_int_equal(count_files(), before);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, the_ready_are_called_until_the_round_is_over);
    PK_SUITE_TEST(&suite, only_what_was_asked_for_is_told);
    PK_SUITE_TEST(&suite, a_peer_that_closed_its_side_is_told_as_hung_up);
    PK_SUITE_TEST(&suite, the_end_of_both_directions_is_told_as_what_was_asked_for);
    PK_SUITE_TEST(&suite, failure_comes_unasked_and_once);
    PK_SUITE_TEST(&suite, what_cannot_be_watched_is_refused);
    PK_SUITE_TEST(&suite, a_watch_may_close_in_its_own_callback);
    PK_SUITE_TEST(&suite, who_was_closed_in_this_round_is_not_called);
    PK_SUITE_TEST(&suite, what_is_released_is_open_and_unwatched);
    PK_SUITE_TEST(&suite, again_calls_once_without_an_event);
    PK_SUITE_TEST(&suite, again_takes_turns);
    PK_SUITE_TEST(&suite, a_queue_that_shrinks_gives_nobody_two_turns);
    PK_SUITE_TEST(&suite, any_of_the_queue_may_close);
    PK_SUITE_TEST(&suite, the_buried_are_freed_once_when_all_were_called);
    PK_SUITE_TEST(&suite, who_is_freed_may_bury_another);
    PK_SUITE_TEST(&suite, what_is_buried_outside_a_round_is_freed_at_the_end);
    PK_SUITE_TEST(&suite, another_thread_wakes_it);
    PK_SUITE_TEST(&suite, timers_fire_although_sockets_are_never_quiet);
    PK_SUITE_TEST(&suite, work_that_begins_in_a_round_is_heard_of);
    PK_SUITE_TEST(&suite, a_handle_made_in_a_round_is_heard_of);
    PK_SUITE_TEST(&suite, without_descriptors_it_does_not_open_and_leaves_none);
    return pk_suite_run(&suite, "poller");
}
