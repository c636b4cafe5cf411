/*
 * Many connections at once, through a proxy to bench_stand_in, for a while: most of them idle, some
 * asking without a pause. Every byte of every answer is compared with what must come.
 *
 *   bench_soak PORT IDLE BUSY SECONDS
 *
 * Says "ready" when all are connected, waits for a line on stdin, runs, asks every idle one once
 * more, and ends with "QUERIES answered, BYTES compared"; the first wrong byte or lost connection
 * ends it with 1.
 */
#include "bench.h"
#include "blob.h"

#define LONGEST   1000000u
#define CHUNK     65536
#define MESSAGES  8192 /* more than the longest but the row's */
#define PIPELINED 8u

typedef struct peer {
    int fd;
    uint32_t seed, asked; /* of the next answer; how many are still to come */
    uint32_t random;
    uint32_t state;  /* of the generator, inside of a row */
    size_t row_left; /* bytes of the row's value that are still to come */
    size_t got;      /* bytes in `head` */
    char head[64];   /* a short message, or a header, that was cut */
} peer;

static int epoll;
static uint64_t answered, compared;

_Noreturn static void wrong(const char *what)
{
    (void)fprintf(stderr, "bench_soak: %s\n", what);
    exit(1); /* NOLINT(concurrency-mt-unsafe) */
}

/* ---- asking ---- */

/* Which length belongs to a seed: mostly short, now and then very long. */
static size_t length_of(uint32_t seed)
{
    const uint32_t kind = seed * 2246822519u >> 16;
    if (kind % 997 == 0)
        return LONGEST;
    return kind % 31 == 0 ? kind : kind % 300;
}

static void send_all(const peer *p, const char *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t sent = send(p->fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            die("send");
        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        }
    }
}

static size_t write_query(char *to, uint32_t seed)
{
    const int len = snprintf(to + 5, 60, "blob %u %zu", seed, length_of(seed));
    const uint32_t size = htonl((uint32_t)len + 5);
    to[0] = 'Q';
    memcpy(to + 1, &size, sizeof size);
    return (size_t)len + 6;
}

/* One, or some in one piece: their seeds follow each other. */
static void ask(peer *p)
{
    char out[PIPELINED * 80];
    size_t len = 0;
    const uint32_t count = blob_next(&p->random) % 4 == 0 ? PIPELINED : 1;
    p->seed = blob_next(&p->random);
    p->asked = count;
    for (uint32_t i = 0; i < count; i++)
        len += write_query(out + len, p->seed + i);
    send_all(p, out, len);
}

/* ---- comparing ---- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t compare_row(peer *p, const char *bytes, size_t len)
{
    char expected[CHUNK];
    size_t done = 0;
    while (p->row_left > 0 && done < len) {
        const size_t part = smaller(smaller(p->row_left, len - done), sizeof expected);
        for (size_t i = 0; i < part; i++)
            expected[i] = (char)('!' + (blob_next(&p->state) >> 16) % 90);
        if (memcmp(expected, bytes + done, part) != 0)
            wrong("an answer is not what it must be");
        p->row_left -= part;
        done += part;
    }
    compared += done;
    return done;
}

static uint32_t u32_at(const char *bytes)
{
    uint32_t wire;
    memcpy(&wire, bytes, sizeof wire);
    return ntohl(wire);
}

static void begin_row(peer *p, const char *head)
{
    p->row_left = u32_at(head + 7);
    p->state = p->seed * 2654435761u | 1u;
    if (p->row_left != length_of(p->seed))
        wrong("an answer has another length");
}

/* A whole message, or of a row its head. Bytes done with; 0: more are needed. */
static size_t message(peer *p, const char *bytes, size_t len)
{
    if (len < 5)
        return 0;
    const size_t size = u32_at(bytes + 1) + 1u;
    if (bytes[0] == 'D') {
        if (len < 11)
            return 0;
        begin_row(p, bytes);
        return 11;
    }
    if (bytes[0] == 'E' || size > MESSAGES)
        wrong("an error, or no message at all");
    if (len < size)
        return 0;
    if (bytes[0] == 'Z') {
        answered++;
        p->seed++;
        p->asked--;
    }
    return size;
}

static void hear(peer *p)
{
    static char buffer[MESSAGES + CHUNK];
    memcpy(buffer, p->head, p->got);
    const ssize_t got = recv(p->fd, buffer + p->got, CHUNK, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        wrong("a connection was lost");
    const size_t len = p->got + (size_t)got;
    size_t at = 0;
    for (;;) {
        at += compare_row(p, buffer + at, len - at);
        const size_t done = p->row_left > 0 ? 0 : message(p, buffer + at, len - at);
        if (done == 0)
            break;
        at += done;
    }
    p->got = len - at;
    if (p->got > sizeof p->head)
        wrong("a message is longer than any the server sends");
    memcpy(p->head, buffer + at, p->got);
}

/* ---- connections ---- */

static void log_in(int fd)
{
    static const char startup[] = "\0\0\0\24\0\3\0\0user\0bench\0";
    char got[2048] = {0};
    size_t len = 0;
    if (send(fd, startup, sizeof startup, MSG_NOSIGNAL) != (ssize_t)sizeof startup)
        die("send");
    while (len < 6 || memcmp(got + len - 6, "Z\0\0\0\5I", 6) != 0) {
        const ssize_t part = recv(fd, got + len, sizeof got - len, 0);
        if (part <= 0)
            wrong("no login");
        len += (size_t)part;
    }
}

static void dial(peer *p, const char *port, uint32_t number)
{
    const struct sockaddr_in at = loopback(port);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)&at, sizeof at) != 0)
        die("connect");
    no_delay(p->fd);
    log_in(p->fd);
    p->random = number * 2654435761u + 12345u;
    watch(epoll, p->fd, EPOLL_CTL_ADD, EPOLLIN, p);
}

static void serve_until(double end, int go_on, uint64_t wanted)
{
    struct epoll_event events[256];
    const uint64_t before = answered;
    while ((go_on && now_s() < end) || (!go_on && answered - before < wanted)) {
        const int count = epoll_wait(epoll, events, 256, 1000);
        if (!go_on && now_s() > end)
            wrong("answers are missing");
        for (int i = 0; i < count; i++) {
            peer *p = events[i].data.ptr;
            hear(p);
            if (go_on && p->asked == 0)
                ask(p);
        }
    }
}

int main(int argc, char **argv)
{
    char line[16];
    if (argc != 5) {
        (void)fprintf(stderr, "usage: bench_soak PORT IDLE BUSY SECONDS\n");
        return 2;
    }
    const size_t idle = strtoul(argv[2], NULL, 10);
    const size_t busy = strtoul(argv[3], NULL, 10);
    take_all_files();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    static peer *peers; /* until the end of the process */
    peers = need((idle + busy) * sizeof *peers);
    for (size_t i = 0; i < idle + busy; i++)
        dial(&peers[i], argv[1], (uint32_t)i + 1);
    (void)printf("ready\n");
    (void)fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        return 1;
    for (size_t i = idle; i < idle + busy; i++)
        ask(&peers[i]);
    serve_until(now_s() + strtod(argv[4], NULL), 1, 0);
    uint64_t missing = 0;
    for (size_t i = idle; i < idle + busy; i++)
        missing += peers[i].asked;
    serve_until(now_s() + 60, 0, missing);
    for (size_t i = 0; i < idle; i++)
        ask(&peers[i]);
    missing = 0;
    for (size_t i = 0; i < idle; i++)
        missing += peers[i].asked;
    serve_until(now_s() + 60, 0, missing);
    (void)printf("%llu answered, %llu bytes compared\n", (unsigned long long)answered,
                 (unsigned long long)compared);
    free(peers);
    return 0;
}
