/*
 * Pairs of ends as tests of connections begin with: for each version of TLS, a server that is plain
 * OpenSSL, and a client whose bytes the test carries over as it likes.
 */
#ifndef PK_TESTS_PROXY_TLS_PAIRS_H
#define PK_TESTS_PROXY_TLS_PAIRS_H

#include "tls_ends.h"

/* ---- for both versions ---- */

static const struct version_row {
    const char *name;
    int version;
} version_rows[] = {{"TLS 1.2", TLS1_2_VERSION}, {"TLS 1.3", TLS1_3_VERSION}};

#define ROWS(suite, test)                                                                          \
    do {                                                                                           \
        static char names[2][100];                                                                 \
        for (size_t i = 0; i < 2; i++) {                                                           \
            (void)snprintf(names[i], sizeof names[i], "%s: %s", #test, version_rows[i].name);      \
            pk_suite_add((suite), names[i], (test), &version_rows[i]);                             \
        }                                                                                          \
    } while (0)

static inline tls_ends met(void *const *state)
{
    const struct version_row *row = *state;
    tls_ends ends;
    open_with_raw_client(&ends, row->version);
    must_shake(&ends);
    return ends;
}

/* ---- towards a server ---- */

static inline void open_with_raw_server(tls_ends *ends, pk_tls *tls)
{
    pk_error err = {0};
    *ends = (tls_ends){0};
    open_sockets(ends->fds);
    ends->server.raw = raw_end(ends->fds[0], true, 0);
    ends->client.link = pk_tls_connect(tls, ends->fds[1], &err);
    pk_tls_unref(tls);
}

/* ---- in pieces ---- */

/* The client's end of a second pair, from which the test carries bytes over as it likes. */
typedef struct courier {
    tls_ends ends;
    int from_client; /* what the client sent comes out here */
} courier;

static inline void open_carried(courier *carried, int version)
{
    int fds[2];
    *carried = (courier){0};
    open_sockets(carried->ends.fds);
    open_sockets(fds);
    carried->from_client = fds[0];
    carried->ends.client.raw = raw_end(fds[1], false, version);
}

static inline void close_carried(courier *carried)
{
    (void)close(carried->from_client);
    (void)close(SSL_get_fd(carried->ends.client.raw));
    close_ends(&carried->ends);
}

static inline size_t from_client(const courier *carried, char *bytes, size_t room)
{
    const ssize_t got = read(carried->from_client, bytes, room);
    return got < 0 ? 0 : (size_t)got;
}

static inline void to_server(const courier *carried, const char *bytes, size_t len)
{
    assert_int_equal(write(carried->ends.fds[1], bytes, len), len);
}

/* What the server answered goes to the client at once. */
static inline void answer(const courier *carried)
{
    char bytes[16384];
    const ssize_t got = read(carried->ends.fds[1], bytes, sizeof bytes);
    if (got > 0)
        assert_int_equal(write(carried->from_client, bytes, (size_t)got), got);
}

static inline void start_server(courier *carried, pk_span begun)
{
    pk_error err = {0};
    pk_tls *tls = server_tls();
    carried->ends.server.link = pk_tls_accept(tls, carried->ends.fds[0], begun, &err);
    pk_tls_unref(tls);
}

/* In pieces of at most so many bytes; the server is asked after each. */
static inline void finish_carried(courier *carried, size_t most)
{
    char bytes[16384];
    for (int i = 0; i < 6; i++) {
        (void)step_end(&carried->ends.client);
        const size_t len = from_client(carried, bytes, sizeof bytes);
        for (size_t at = 0; at < len; at += most) {
            to_server(carried, bytes + at, len - at < most ? len - at : most);
            (void)step_end(&carried->ends.server);
        }
        (void)step_end(&carried->ends.server);
        answer(carried);
    }
    must_shake(&carried->ends);
}

#endif
