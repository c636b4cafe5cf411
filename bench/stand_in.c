/*
 * Stands in for PostgreSQL where thousands of real servers would take the machine's memory: lets
 * everybody in, answers every query with one row, and keeps next to nothing for a connection.
 *
 *   bench_stand_in PORT
 *
 * The row holds "1"; to the query "blob SEED LENGTH" so many bytes that only that seed gives
 * (bench/blob.h), so that who asked can tell that nobody else's answer came.
 */
#include "bench.h"
#include "blob.h"

#include <signal.h>

#define INPUT_MAX 4096u /* longest message that is understood */

typedef struct client {
    int fd;
    int started, leaving;
    size_t got;                 /* bytes in `input` */
    size_t begin, filled, room; /* of `output` */
    char *output;               /* not taken yet by the kernel */
    char input[];               /* INPUT_MAX */
} client;

static int epoll;

/* ---- what is said ---- */

static char *room_for(client *l, size_t len)
{
    if (l->room - l->filled < len) {
        l->room = l->filled + len + 512;
        l->output = realloc(l->output, l->room);
        if (l->output == NULL)
            die("realloc");
    }
    char *at = l->output + l->filled;
    l->filled += len;
    return at;
}

static void put(client *l, const void *bytes, size_t len)
{
    memcpy(room_for(l, len), bytes, len);
}

static void put_u32(client *l, size_t value)
{
    const uint32_t wire = htonl((uint32_t)value);
    put(l, &wire, sizeof wire);
}

static void say(client *l, char type, const void *body, size_t len)
{
    put(l, &type, 1);
    put_u32(l, len + 4);
    if (len > 0)
        put(l, body, len);
}

static void say_setting(client *l, const char *name, const char *value)
{
    char body[128];
    const int len = snprintf(body, sizeof body, "%s%c%s", name, 0, value);
    say(l, 'S', body, (size_t)len + 1);
}

static void say_welcome(client *l)
{
    say(l, 'R', "\0\0\0\0", 4);
    say_setting(l, "server_version", "15.0");
    say_setting(l, "client_encoding", "UTF8");
    say_setting(l, "standard_conforming_strings", "on");
    say_setting(l, "session_authorization", "bench");
    say(l, 'K', "\0\0\0\1\0\0\0\2", 8);
    say(l, 'Z', "I", 1);
}

static void say_columns(client *l)
{
    static const char body[] = "\0\1?column?\0\0\0\0\0\0\0\0\0\0\31\377\377\377\377\377\377\0";
    say(l, 'T', body, sizeof body);
}

static void say_row(client *l, uint32_t seed, size_t len)
{
    put(l, "D", 1);
    put_u32(l, 4 + 2 + 4 + len);
    put(l, "\0\1", 2);
    put_u32(l, len);
    blob_fill(room_for(l, len), len, seed);
    say(l, 'C', "SELECT 1", 9);
}

static void answer_query(client *l, const char *text)
{
    char *end = NULL;
    say_columns(l);
    if (strncmp(text, "blob ", 5) == 0) {
        const uint32_t seed = (uint32_t)strtoul(text + 5, &end, 10);
        say_row(l, seed, strtoul(end, NULL, 10));
    } else {
        say(l, 'D',
            "\0\1\0\0\0\1"
            "1",
            7);
        say(l, 'C', "SELECT 1", 9);
    }
    say(l, 'Z', "I", 1);
}

/* ---- what is heard ---- */

static uint32_t u32_at(const char *bytes)
{
    uint32_t wire;
    memcpy(&wire, bytes, sizeof wire);
    return ntohl(wire);
}

/* Bytes done with; 0: more are needed. */
static size_t first_packet(client *l, const char *bytes, size_t len)
{
    if (len < 8 || len < u32_at(bytes))
        return 0;
    const uint32_t code = u32_at(bytes + 4);
    if (code == 80877103 || code == 80877104) { /* SSLRequest, GSSENCRequest */
        put(l, "N", 1);
    } else if (code == 80877102) { /* CancelRequest */
        l->leaving = 1;
    } else {
        l->started = 1;
        say_welcome(l);
    }
    return u32_at(bytes);
}

static size_t message(client *l, const char *bytes, size_t len)
{
    if (len < 5 || len < u32_at(bytes + 1) + 1u)
        return 0;
    switch (bytes[0]) {
    case 'Q':
        answer_query(l, bytes + 5);
        break;
    case 'P':
        say(l, '1', NULL, 0);
        break;
    case 'B':
        say(l, '2', NULL, 0);
        break;
    case 'C':
        say(l, '3', NULL, 0);
        break;
    case 'D':
        say_columns(l);
        break;
    case 'E':
        say(l, 'D',
            "\0\1\0\0\0\1"
            "1",
            7);
        say(l, 'C', "SELECT 1", 9);
        break;
    case 'S':
        say(l, 'Z', "I", 1);
        break;
    case 'X':
        l->leaving = 1;
        break;
    default:
        break;
    }
    return u32_at(bytes + 1) + 1u;
}

static void understand(client *l)
{
    size_t at = 0;
    size_t done = 1;
    while (done > 0 && at < l->got && !l->leaving) {
        done = l->started ? message(l, l->input + at, l->got - at)
                          : first_packet(l, l->input + at, l->got - at);
        at += done;
    }
    if (at > l->got || (done == 0 && l->got - at == INPUT_MAX))
        l->leaving = 1;
    else
        memmove(l->input, l->input + at, l->got - at);
    l->got -= at > l->got ? l->got : at;
}

/* ---- events ---- */

static int flush(client *l)
{
    while (l->begin < l->filled) {
        const ssize_t sent = write(l->fd, l->output + l->begin, l->filled - l->begin);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return 0;
        l->begin += (size_t)sent;
    }
    const int waits = l->begin < l->filled;
    if (!waits) {
        free(l->output);
        l->output = NULL;
        l->begin = l->filled = l->room = 0;
    }
    watch(epoll, l->fd, EPOLL_CTL_MOD, waits ? EPOLLOUT : EPOLLIN, l);
    return waits || !l->leaving;
}

static int serve(client *l, uint32_t events)
{
    if ((events & EPOLLOUT) == 0) {
        const ssize_t got = read(l->fd, l->input + l->got, INPUT_MAX - l->got);
        if (got <= 0)
            return got < 0 && errno == EAGAIN;
        l->got += (size_t)got;
        understand(l);
    }
    return flush(l);
}

static void take(int fd)
{
    client *l = need(sizeof *l + INPUT_MAX);
    l->fd = fd;
    no_delay(fd);
    watch(epoll, fd, EPOLL_CTL_ADD, EPOLLIN, l);
} // NOLINT(clang-analyzer-unix.Malloc): the kernel keeps it, in the event

int main(int argc, char **argv)
{
    struct epoll_event events[256];
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_stand_in PORT\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    take_all_files();
    const int listener = listen_on(argv[1]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener, EPOLL_CTL_ADD, EPOLLIN, NULL);
    for (;;) {
        const int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            client *l = events[i].data.ptr;
            int fd;
            if (l == NULL) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
                    take(fd);
            } else if (!serve(l, events[i].events)) {
                (void)close(l->fd);
                free(l->output);
                free(l);
            }
        }
    }
}
