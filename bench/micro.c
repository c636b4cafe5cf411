/*
 * What looking at a message costs: the gate (is this statement ours?) and the framing of both
 * directions, in nanoseconds; and beside them the floor of a forwarded short query, the system
 * calls that no proxy can do without.
 *
 *   bench_micro [SECONDS]
 *
 * Prints "NANOSECONDS <tab> WHAT". Each is measured for so long (0.3), in five rounds of which the
 * fastest counts, because everything that disturbs makes it slower.
 */
#include "bench.h"

#include "parser/gate.h"
#include "proxy/wire.h"

#define ROUNDS 5

typedef struct subject {
    const char *name;
    const char *text;
    size_t padded; /* made so long with a list of numbers; 0: as it is */
    void (*once)(pk_span text, uint64_t times);
} subject;

static volatile uint64_t sink; /* so that nothing is optimised away */

static void gate(pk_span text, uint64_t times)
{
    for (uint64_t i = 0; i < times; i++)
        sink += (uint64_t)pk_gate_maybe_ours(text);
}

static void client_header(pk_span text, uint64_t times)
{
    static const char message[] = "Q\0\0\0\15select 1";
    pk_header header;
    (void)text;
    for (uint64_t i = 0; i < times; i++)
        sink += (uint64_t)pk_wire_client(pk_span_bytes(message, sizeof message), &header);
}

static void server_header(pk_span text, uint64_t times)
{
    static const char message[] = "D\0\0\0\13\0\1\0\0\0\1"
                                  "1";
    pk_header header;
    (void)text;
    for (uint64_t i = 0; i < times; i++)
        sink += (uint64_t)pk_wire_server(pk_span_bytes(message, sizeof message), &header);
}

/* ---- the floor ---- */

typedef struct wire { /* client -- near, far -- server: two connections over loopback */
    int client, near, far, server, epoll;
    char bytes[256];
} wire;

static void connect_pair(int *one, int *other)
{
    struct sockaddr_in at = loopback("0");
    socklen_t len = sizeof at;
    const int listener = listen_on("0");
    *one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (getsockname(listener, (struct sockaddr *)&at, &len) != 0 ||
        connect(*one, (const struct sockaddr *)&at, sizeof at) != 0)
        die("connect");
    *other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    (void)close(listener);
    no_delay(*one);
    no_delay(*other);
}

static wire *lay_wire(void)
{
    wire *w = need(sizeof *w);
    connect_pair(&w->client, &w->near);
    connect_pair(&w->far, &w->server);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(w->epoll, w->near, EPOLL_CTL_ADD, EPOLLIN, NULL);
    watch(w->epoll, w->far, EPOLL_CTL_ADD, EPOLLIN, NULL);
    return w;
}

/* `len` bytes put in at one end come out at the other; only the middle is timed. */
static double carry(wire *w, const int path[4], size_t len)
{
    struct epoll_event events[8];
    if (write(path[0], w->bytes, len) != (ssize_t)len)
        die("write");
    const double begin = now_s();
    const int ready = epoll_wait(w->epoll, events, 8, -1);
    const ssize_t got = read(path[1], w->bytes, sizeof w->bytes);
    const ssize_t sent = write(path[2], w->bytes, len);
    const double end = now_s();
    if (ready != 1 || got != (ssize_t)len || sent != got || read(path[3], w->bytes, len) != got)
        die("carry");
    return end - begin;
}

/* A query of 60 bytes, an answer of 70. Nobody sleeps at either end, so that this is less than a
 * real proxy pays for waking them. */
static double measure_floor(double seconds)
{
    wire *w = lay_wire();
    const int there[] = {w->client, w->near, w->far, w->server};
    const int back[] = {w->server, w->far, w->near, w->client};
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        const double until = now_s() + seconds;
        double sum = 0;
        uint64_t done = 0;
        for (; now_s() < until; done++)
            sum += carry(w, there, 60) + carry(w, back, 70);
        best = sum / (double)done < best ? sum / (double)done : best;
    }
    free(w);
    return best * 1e9;
}

/* ---- all of it ---- */

static char *padded(const subject *s)
{
    static const char filler[] = ", 1234567";
    const size_t begin = strlen(s->text);
    const size_t len = s->padded > begin ? s->padded : begin;
    char *text = need(len + 1);
    memcpy(text, s->text, begin);
    for (size_t i = begin; i < len; i++)
        text[i] = filler[(i - begin) % (sizeof filler - 1)];
    return text;
}

static double measure(const subject *s, double seconds)
{
    char *text = padded(s);
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t done = 0;
        const double begin = now_s();
        double end = begin;
        while (end - begin < seconds) {
            s->once(pk_span_of(text), 1000);
            done += 1000;
            end = now_s();
        }
        const double ns = (end - begin) / (double)done * 1e9;
        best = ns < best ? ns : best;
    }
    free(text);
    return best;
}

int main(int argc, char **argv)
{
    static const subject subjects[] = {
        {"gate: SELECT 1", "SELECT 1", 0, gate},
        {"gate: pgbench -S", "SELECT abalance FROM pgbench_accounts WHERE aid = 1234567;", 0, gate},
        {"gate: a comment in front", "/* application=web */ select * from orders where id = $1", 0,
         gate},
        {"gate: ten statements in a string",
         "begin; update a set b = 1; update a set b = 2; update a set b = 3; update a set b = 4; "
         "update a set b = 5; update a set b = 6; update a set b = 7; select 1; commit",
         0, gate},
        {"gate: 1 kB", "select * from orders where id in (0", 1000, gate},
        {"gate: 100 kB", "select * from orders where id in (0", 100000, gate},
        {"gate: ours", "BACKUP MASTER KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = 'x'", 0, gate},
        {"framing: a header from the client", "", 0, client_header},
        {"framing: a header from the server", "", 0, server_header},
    };
    const double seconds = (argc > 1 ? strtod(argv[1], NULL) : 0.3) / ROUNDS;
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        (void)printf("%.1f\t%s\n", measure(&subjects[i], seconds), subjects[i].name);
    (void)printf("%.1f\tfloor: system calls of a forwarded query\n", measure_floor(seconds));
    return 0;
}
