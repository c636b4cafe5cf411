/*
 * Two ends of a TLS connection in one thread: ours (pk_tls_link), and ours again or plain OpenSSL,
 * which can do what ours never would. Between them is a socket pair, whose ends never block.
 */
#ifndef PK_TESTS_PROXY_TLS_ENDS_H
#define PK_TESTS_PROXY_TLS_ENDS_H

#include "certificates.h"
#include "proxy/tls.h"

#include <errno.h>
#include <ftw.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

/* Everybody and every file that the tests need; main makes it. */
static struct world {
    char directory[64];
    test_identity authority, stranger, server, client;
} world;

/* A path in the world's directory; valid until the eighth call after this one. */
static inline const char *in_world(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", world.directory, name);
    return path;
}

static inline void write_pair(const char *name, const test_identity *identity)
{
    char file[80];
    (void)snprintf(file, sizeof file, "%s.crt", name);
    write_cert(in_world(file), identity);
    (void)snprintf(file, sizeof file, "%s.key", name);
    write_key(in_world(file), identity, NULL);
}

static inline void make_world(void)
{
    (void)snprintf(world.directory, sizeof world.directory, "/tmp/pgkeep-test-XXXXXX");
    assert_non_null(mkdtemp(world.directory));
    world.authority =
        make_identity(&(test_recipe){.subject = "/CN=authority", .is_authority = true});
    world.stranger = make_identity(&(test_recipe){.subject = "/CN=stranger", .is_authority = true});
    world.server = make_identity(&(test_recipe){.subject = "/CN=db.example",
                                                .alt_names = "DNS:db.example,IP:127.0.0.1",
                                                .by = &world.authority});
    world.client = make_identity(
        &(test_recipe){.subject = "/C=AT/O=Example, Inc./CN=alice", .by = &world.authority});
    write_pair("authority", &world.authority);
    write_pair("stranger", &world.stranger);
    write_pair("server", &world.server);
    write_pair("client", &world.client);
}

static inline int remove_entry(const char *path, const struct stat *info, int kind,
                               struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void remove_world(void)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the tests have one thread
    if (nftw(world.directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS) != 0)
        (void)fprintf(stderr, "could not remove %s\n", world.directory);
    free_identity(&world.authority);
    free_identity(&world.stranger);
    free_identity(&world.server);
    free_identity(&world.client);
}

/* ---- contexts ---- */

/* Of a row's words: a name is that of a file in the world, "system" and NULL are themselves. */
static inline const char *place(const char *name)
{
    return name == NULL || strcmp(name, "system") == 0 ? name : in_world(name);
}

static inline pk_tls_files files_of(const char *pair, const char *ca, const char *crl)
{
    char cert[80];
    char key[80];
    (void)snprintf(cert, sizeof cert, "%s.crt", pair == NULL ? "" : pair);
    (void)snprintf(key, sizeof key, "%s.key", pair == NULL ? "" : pair);
    return (pk_tls_files){.cert = pair == NULL ? NULL : in_world(cert),
                          .key = pair == NULL ? NULL : in_world(key),
                          .ca = place(ca),
                          .crl = place(crl)};
}

static inline pk_tls *must_tls(pk_tls *tls, const pk_error *err)
{
    if (tls == NULL)
        print_error("%s: %s\n", err->sqlstate, err->message);
    assert_non_null(tls);
    assert_int_equal(ERR_peek_error(), 0);
    return tls;
}

/* What we show clients when a test is about something else. */
static inline pk_tls *server_tls(void)
{
    pk_error err = {0};
    const pk_tls_files files = files_of("server", NULL, NULL);
    return must_tls(pk_tls_for_clients(&files, PK_SSL_REQUIRE, "", &err), &err);
}

static inline pk_tls *client_tls(void)
{
    pk_error err = {0};
    const pk_tls_files files = files_of(NULL, "authority.crt", NULL);
    return must_tls(pk_tls_for_server(&files, PK_SSL_VERIFY_FULL, "", "db.example", false, &err),
                    &err);
}

/* ---- ends ---- */

static inline void open_sockets(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

typedef struct tls_end {
    pk_tls_link *link; /* one of the two */
    SSL *raw;
    bool done, failed;
    pk_tls_stop stop; /* of ours, if it failed */
    pk_error err;
} tls_end;

typedef struct tls_ends {
    int fds[2]; /* the server's, the client's */
    tls_end server, client;
} tls_ends;

/* One step; true if nothing is left to be done. */
static inline bool step_end(tls_end *end)
{
    if (end->done || end->failed)
        return true;
    if (end->link != NULL) {
        end->done = pk_tls_handshake(end->link, &end->stop, &end->err);
        end->failed = !end->done && end->stop >= PK_TLS_ENDED;
        assert_int_equal(ERR_peek_error(), 0);
    } else {
        ERR_clear_error();
        const int result = SSL_do_handshake(end->raw);
        const int error = result == 1 ? 0 : SSL_get_error(end->raw, result);
        end->done = result == 1;
        end->failed = !end->done && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
        ERR_clear_error(); /* or the link would be blamed */
    }
    return end->done || end->failed;
}

/* Until both have finished, or nothing moves any more. */
static inline bool shake(tls_ends *ends)
{
    for (int i = 0; i < 10; i++) {
        const bool server = step_end(&ends->server);
        const bool client = step_end(&ends->client);
        if (server && client)
            break;
    }
    return ends->server.done && ends->client.done;
}

static inline void must_shake(tls_ends *ends)
{
    if (shake(ends))
        return;
    print_error("server: %s; client: %s\n", ends->server.err.message, ends->client.err.message);
    fail();
}

static inline void close_ends(tls_ends *ends)
{
    pk_tls_link_free(ends->server.link);
    pk_tls_link_free(ends->client.link);
    SSL_free(ends->server.raw);
    SSL_free(ends->client.raw);
    for (int i = 0; i < 2; i++)
        if (ends->fds[i] >= 0)
            (void)close(ends->fds[i]);
    assert_int_equal(ERR_peek_error(), 0);
}

/* The links keep the contexts. */
static inline void open_links(tls_ends *ends, pk_tls *server, pk_tls *client)
{
    pk_error err = {0};
    *ends = (tls_ends){0};
    open_sockets(ends->fds);
    ends->server.link = pk_tls_accept(server, ends->fds[0], PK_SPAN(""), &err);
    ends->client.link = pk_tls_connect(client, ends->fds[1], &err);
    pk_tls_unref(server);
    pk_tls_unref(client);
}

/* OpenSSL's own end: TLS of one version (0: any), the world's certificate if it is the server. */
static inline SSL *raw_end(int fd, bool server, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    assert_non_null(ctx);
    if (version != 0 && version < TLS1_2_VERSION)
        SSL_CTX_set_security_level(ctx, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(ctx, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, version), 1);
    if (server) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, world.server.cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, world.server.key), 1);
    }
    SSL *ssl = SSL_new(ctx);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    SSL_CTX_free(ctx);
    return ssl;
}

/* We are the server, OpenSSL is the client. */
static inline void open_with_raw_client(tls_ends *ends, int version)
{
    pk_error err = {0};
    pk_tls *tls = server_tls();
    *ends = (tls_ends){0};
    open_sockets(ends->fds);
    ends->server.link = pk_tls_accept(tls, ends->fds[0], PK_SPAN(""), &err);
    ends->client.raw = raw_end(ends->fds[1], false, version);
    pk_tls_unref(tls);
}

static inline void raw_write(SSL *ssl, const char *text)
{
    assert_int_equal(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* Exactly this is there to be read, then nothing. */
static inline void assert_reads(pk_tls_link *link, const char *text)
{
    char got[1024];
    pk_tls_stop stop = PK_TLS_BROKEN;
    const ssize_t len = pk_tls_read(link, got, sizeof got, &stop);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_int_equal(ERR_peek_error(), 0);
}

static inline pk_tls_stop stop_of_read(pk_tls_link *link)
{
    char got[1024];
    pk_tls_stop stop = PK_TLS_BROKEN;
    assert_int_equal(pk_tls_read(link, got, sizeof got, &stop), -1);
    assert_int_equal(ERR_peek_error(), 0);
    return stop;
}

#endif
