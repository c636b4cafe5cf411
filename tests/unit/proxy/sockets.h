/*
 * What the tests of sockets share: places to listen, pairs, a directory for Unix sockets, a process
 * that has no descriptor left, and a poller that gives up after a while. One thread.
 */
#ifndef PK_TESTS_PROXY_SOCKETS_H
#define PK_TESTS_PROXY_SOCKETS_H

#include "proxy/address.h"
#include "proxy/poller.h"
#include "table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* How many descriptors the process has. */
static inline size_t count_files(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) // NOLINT(concurrency-mt-unsafe): a directory of our own
        count++;
    (void)closedir(dir);
    return count - 3; /* ".", ".." and the directory itself */
}

/* Only `left` more descriptors can be opened. Whoever started the test may have left some with high
 * numbers, so the free ones are counted. */
static inline struct rlimit allow_files(unsigned left)
{
    struct rlimit before;
    struct rlimit now;
    int end = 0;
    while (left > 0 || fcntl(end, F_GETFD) >= 0)
        if (fcntl(end++, F_GETFD) < 0)
            left--;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    now = before;
    now.rlim_cur = (rlim_t)end;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    return before;
}

static inline void restore_files(const struct rlimit *before)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, before), 0);
}

static inline pk_address loopback(uint16_t port)
{
    pk_address at = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};
    at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

/* A listener on 127.0.0.1 and some port, which `at` gets to know. */
static inline int listen_somewhere(pk_address *at, int backlog)
{
    socklen_t len = sizeof at->in;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *at = loopback(0);
    assert_int_equal(bind(fd, (const struct sockaddr *)at, sizeof at->in), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
    return fd;
}

/* A port where nobody is. */
static inline pk_address nowhere(void)
{
    pk_address at;
    (void)close(listen_somewhere(&at, 1));
    return at;
}

/* A listener that has no room for another connection: who connects hears nothing. Two more
 * descriptors are open then. */
static inline int listen_full(pk_address *at, int clients[2])
{
    const int fd = listen_somewhere(at, 0);
    for (int i = 0; i < 2; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], (const struct sockaddr *)at, sizeof at->in);
    }
    return fd;
}

static inline void make_directory(char path[static 64])
{
    (void)snprintf(path, 64, "/tmp/pgkeep-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

/* ---- a poller for one test ---- */

typedef struct test_poller {
    pk_poller poller; /* first */
    uv_timer_t watchdog;
    bool late;
} test_poller;

static inline void watchdog_barks(uv_timer_t *timer)
{
    test_poller *test = timer->data;
    test->late = true;
    pk_poller_stop(&test->poller);
}

static inline void open_poller(test_poller *test)
{
    pk_error err = {0};
    test->late = false;
    assert_true(pk_poller_open(&test->poller, &err));
    assert_int_equal(uv_timer_init(&test->poller.uv, &test->watchdog), 0);
    test->watchdog.data = test;
}

/* Until stopped, or for so long. True: it was stopped. */
static inline bool run_for(test_poller *test, uint64_t ms)
{
    test->late = false;
    test->poller.stopped = false;
    uv_update_time(&test->poller.uv);
    (void)uv_timer_start(&test->watchdog, watchdog_barks, ms, 0);
    pk_poller_run(&test->poller);
    (void)uv_timer_stop(&test->watchdog);
    return !test->late;
}

static inline void close_poller(test_poller *test)
{
    uv_close((uv_handle_t *)&test->watchdog, NULL);
    pk_poller_close(&test->poller);
}

#endif
