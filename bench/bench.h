/*
 * What the programs of this folder share. They are tools of a script: a fault ends them with a line
 * on stderr and exit status 1, a wrong command line with 2.
 */
#ifndef PK_BENCH_H
#define PK_BENCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Noreturn static inline void die(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, strerror(errno)); /* NOLINT(concurrency-mt-unsafe) */
    exit(1);                                                  /* NOLINT(concurrency-mt-unsafe) */
}

/* Zeroed; ends the process when memory is gone. */
static inline void *need(size_t size)
{
    void *block = calloc(1, size);
    if (block == NULL)
        die("calloc");
    return block;
}

static inline double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void take_all_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static inline struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static inline void no_delay(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline int listen_on(const char *port)
{
    const int on = 1;
    const struct sockaddr_in at = loopback(port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

static inline void watch(int epoll, int fd, int op, uint32_t events, void *what)
{
    struct epoll_event event = {.events = events, .data.ptr = what};
    if (epoll_ctl(epoll, op, fd, &event) != 0)
        die("epoll_ctl");
}

#endif
