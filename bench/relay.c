/*
 * A bare copy loop, the least that a proxy in user space can do: one thread, level-triggered epoll,
 * one read and one write an event, nothing looked at. Everybody's floor.
 *
 *   bench_relay PORT BACKEND-PORT
 */
#include "bench.h"

#include <fcntl.h>
#include <signal.h>

#define BUFFER 65536

typedef struct side side;
struct side {
    side *peer, *next_dead;
    char *pending; /* read from the peer, not written here yet */
    size_t begin, len;
    uint32_t events;
    int fd, dead;
};

static int epoll;

static void want(side *s, uint32_t events)
{
    if (s->events != events)
        watch(epoll, s->fd, EPOLL_CTL_MOD, events, s);
    s->events = events;
}

static int flush(side *s)
{
    while (s->len > 0) {
        const ssize_t sent = write(s->fd, s->pending + s->begin, s->len);
        if (sent < 0)
            return errno == EAGAIN;
        s->begin += (size_t)sent;
        s->len -= (size_t)sent;
    }
    free(s->pending);
    s->pending = NULL;
    want(s, s->events & ~(uint32_t)EPOLLOUT);
    want(s->peer, s->peer->events | EPOLLIN);
    return 1;
}

static void keep(side *to, const char *bytes, size_t len)
{
    to->pending = need(len);
    memcpy(to->pending, bytes, len);
    to->begin = 0;
    to->len = len;
    want(to->peer, to->peer->events & ~(uint32_t)EPOLLIN);
    want(to, to->events | EPOLLOUT);
}

static int copy(side *from)
{
    static char buffer[BUFFER];
    side *to = from->peer;
    const ssize_t got = read(from->fd, buffer, sizeof buffer);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    ssize_t sent = write(to->fd, buffer, (size_t)got);
    if (sent < 0 && errno != EAGAIN)
        return 0;
    if (sent < 0)
        sent = 0;
    if (sent < got)
        keep(to, buffer + sent, (size_t)(got - sent));
    return 1;
}

static side *add(int fd)
{
    side *s = need(sizeof *s);
    no_delay(fd);
    s->fd = fd;
    s->events = EPOLLIN;
    watch(epoll, fd, EPOLL_CTL_ADD, EPOLLIN, s);
    return s;
}

static void pair(int client, const struct sockaddr_in *backend)
{
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || connect(server, (const struct sockaddr *)backend, sizeof *backend) != 0) {
        (void)close(client);
        if (server >= 0)
            (void)close(server);
        return;
    }
    (void)fcntl(server, F_SETFL, O_NONBLOCK);
    side *a = add(client);
    side *b = add(server);
    a->peer = b;
    b->peer = a;
}

static side *bury(side *s, side *dead)
{
    side *both[] = {s, s->peer};
    for (size_t i = 0; i < 2; i++) {
        (void)close(both[i]->fd);
        both[i]->dead = 1;
        both[i]->next_dead = dead;
        dead = both[i];
    }
    return dead;
}

static int serve(side *s, uint32_t events)
{
    if ((events & EPOLLOUT) != 0 && !flush(s))
        return 0;
    return (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || copy(s);
}

int main(int argc, char **argv)
{
    struct epoll_event events[256];
    if (argc != 3) {
        (void)fprintf(stderr, "usage: bench_relay PORT BACKEND-PORT\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    take_all_files();
    const struct sockaddr_in backend = loopback(argv[2]);
    const int listener = listen_on(argv[1]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener, EPOLL_CTL_ADD, EPOLLIN, NULL);
    for (;;) {
        side *dead = NULL;
        const int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            side *s = events[i].data.ptr;
            int fd;
            if (s == NULL)
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                    pair(fd, &backend);
            else if (!s->dead && !serve(s, events[i].events))
                dead = bury(s, dead);
        }
        while (dead != NULL) {
            side *next = dead->next_dead;
            free(dead->pending);
            free(dead);
            dead = next;
        }
    }
}
