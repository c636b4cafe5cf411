/*
 * What looking at a message costs: the gate (is this statement ours?) and the framing of both
 * directions, in nanoseconds.
 *
 *   bench_micro [SECONDS]
 *
 * Each line is measured for so long (0.3), five times; the fastest counts, because everything that
 * disturbs makes it slower.
 */
#include "bench.h"

#include "parser/gate.h"
#include "proxy/wire.h"

#define ROUNDS 5

typedef struct subject {
    const char *name;
    const char *text;
    void (*once)(const struct subject *subject, uint64_t times);
} subject;

static volatile uint64_t sink; /* so that nothing is optimised away */

static void gate(const subject *s, uint64_t times)
{
    const pk_span text = pk_span_of(s->text);
    for (uint64_t i = 0; i < times; i++)
        sink += (uint64_t)pk_gate_maybe_ours(text);
}

static void client_header(const subject *s, uint64_t times)
{
    static const char message[] = "Q\0\0\0\15select 1";
    pk_header header;
    (void)s;
    for (uint64_t i = 0; i < times; i++)
        sink += (uint64_t)pk_wire_client(pk_span_bytes(message, sizeof message), &header);
}

static void server_header(const subject *s, uint64_t times)
{
    static const char message[] = "D\0\0\0\13\0\1\0\0\0\1"
                                  "1";
    pk_header header;
    (void)s;
    for (uint64_t i = 0; i < times; i++)
        sink += (uint64_t)pk_wire_server(pk_span_bytes(message, sizeof message), &header);
}

static double measure(const subject *s, double seconds)
{
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t done = 0;
        const double begin = now_s();
        double end = begin;
        while (end - begin < seconds) {
            s->once(s, 1000);
            done += 1000;
            end = now_s();
        }
        const double ns = (end - begin) / (double)done * 1e9;
        best = ns < best ? ns : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    static const subject subjects[] = {
        {"gate, SELECT 1", "SELECT 1", gate},
        {"gate, pgbench -S", "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;", gate},
        {"gate, a comment in front", "/* application=web */ select * from orders where id = $1",
         gate},
        {"gate, 10 statements in a string",
         "begin; update a set b = 1; update a set b = 2; update a set b = 3; update a set b = 4; "
         "update a "
         "set b = 5; update a set b = 6; update a set b = 7; select 1; commit",
         gate},
        {"gate, ours", "BACKUP MASTER KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = 'x'", gate},
        {"header from the client", NULL, client_header},
        {"header from the server", NULL, server_header},
    };
    const double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.3;
    (void)printf("| what | ns |\n|---|---:|\n");
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        (void)printf("| %s | %.1f |\n", subjects[i].name, measure(&subjects[i], seconds / ROUNDS));
    return 0;
}
