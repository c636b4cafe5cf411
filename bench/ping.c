/*
 * Clients that pgbench is not.
 *
 *   bench_ping times SECONDS PROTOCOL CONNINFO..
 *
 * Round trips of SELECT 1; PROTOCOL: simple, extended, prepared. Prints a line for each connection:
 * how many, then in microseconds mean, 50th, 90th, 99th, 99.9th percentile and maximum. It changes
 * to the next connection every 20 ms, so that a drift of the machine's speed meets all of them
 * alike; the first few round trips after a change are not counted.
 *
 *   bench_ping hold CONNINFO N PASSES
 *
 * Opens N connections, runs PASSES queries on each, says "ready SECONDS", and keeps them until
 * stdin ends.
 */
#include "bench.h"

#include <libpq-fe.h>

#define TURN_S   0.020
#define NOT_SEEN 5

typedef struct lane {
    PGconn *connection;
    uint32_t *ns; /* round trips */
    size_t count, room, all;
    double sum;
} lane;

static PGconn *dial(const char *info)
{
    PGconn *connection = PQconnectdb(info);
    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    (void)fprintf(stderr, "bench_ping: %s", PQerrorMessage(connection));
    exit(1); /* NOLINT(concurrency-mt-unsafe) */
}

static void ask(PGconn *connection, char protocol)
{
    PGresult *result = protocol == 'p' ? PQexecPrepared(connection, "p", 0, NULL, NULL, NULL, 0)
                       : protocol == 'e'
                           ? PQexecParams(connection, "SELECT 1", 0, NULL, NULL, NULL, NULL, 0)
                           : PQexec(connection, "SELECT 1");
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        (void)fprintf(stderr, "bench_ping: %s", PQerrorMessage(connection));
        exit(1); /* NOLINT(concurrency-mt-unsafe) */
    }
    PQclear(result);
}

static void note(lane *l, double seconds)
{
    if (l->count == l->room) {
        l->room = l->room == 0 ? 1u << 16 : l->room * 2;
        l->ns = realloc(l->ns, l->room * sizeof *l->ns);
        if (l->ns == NULL)
            die("realloc");
    }
    l->ns[l->count++] = (uint32_t)(seconds * 1e9);
    l->sum += seconds;
}

static void take_turn(lane *l, char protocol, int counted)
{
    double at = now_s();
    const double end = at + TURN_S;
    for (int i = 0; at < end; i++) {
        ask(l->connection, protocol);
        const double after = now_s();
        l->all++;
        if (counted && i >= NOT_SEEN)
            note(l, after - at);
        at = after;
    }
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile(const lane *l, double part)
{
    return l->ns[(size_t)((double)(l->count - 1) * part)] / 1e3;
}

static void report(lane *l)
{
    if (l->count == 0)
        die("no round trip was counted");
    qsort(l->ns, l->count, sizeof *l->ns, by_size);
    (void)printf("%zu %.2f %.2f %.2f %.2f %.2f %.2f\n", l->all, l->sum / (double)l->count * 1e6,
                 percentile(l, 0.5), percentile(l, 0.9), percentile(l, 0.99), percentile(l, 0.999),
                 percentile(l, 1));
}

static int times(double seconds, char protocol, int count, char **infos)
{
    lane *lanes = need((size_t)count * sizeof *lanes);
    for (int i = 0; i < count; i++) {
        lanes[i].connection = dial(infos[i]);
        if (protocol == 'p')
            PQclear(PQprepare(lanes[i].connection, "p", "SELECT 1", 0, NULL));
    }
    const double end = now_s() + seconds * count;
    for (int turn = 0; now_s() < end; turn++)
        take_turn(&lanes[turn % count], protocol, turn >= count);
    for (int i = 0; i < count; i++) {
        PQfinish(lanes[i].connection);
        report(&lanes[i]);
        free(lanes[i].ns);
    }
    free(lanes);
    return 0;
}

static int hold(const char *info, long count, long passes)
{
    char byte;
    const double begin = now_s();
    take_all_files();
    for (long i = 0; i < count; i++) {
        PGconn *connection = dial(info);
        for (long pass = 0; pass < passes; pass++)
            ask(connection, 's');
    }
    (void)printf("ready %.2f\n", now_s() - begin);
    (void)fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    _exit(0); /* the connections go with us */
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "times") == 0)
        return times(strtod(argv[2], NULL), argv[3][0], argc - 4, argv + 4);
    if (argc == 5 && strcmp(argv[1], "hold") == 0)
        return hold(argv[2], strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10));
    (void)fprintf(stderr,
                  "usage: bench_ping times SECONDS PROTOCOL CONNINFO.. | hold CONNINFO N PASSES\n");
    return 2;
}
