/*
 * OpenSSL on a socket that never blocks, through a BIO of our own: it sends without SIGPIPE and
 * first serves bytes that were read before TLS was thought of. Every call leaves OpenSSL's error
 * queue empty, because it belongs to the thread and the next connection would find it; the first
 * cause of a failure is kept in the link instead.
 */
#include "proxy/tls_context.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* OpenSSL reads on for as long as a peer sends what is no data, such as key updates. So one call
 * gets so many reads, and then the others have their turn: the socket is still readable. */
#define TURNS 2

struct pk_tls_link {
    SSL *ssl;
    pk_tls *tls;
    char *begun; /* bytes to be served first; NULL: none (any more) */
    size_t begun_len, begun_at;
    const char *why; /* what broke it first; lives for ever. NULL: nothing */
    int fd;
    int turns;   /* reads that this call may still do */
    int error;   /* errno of a system call that failed; 0: none */
    bool at_end; /* the peer closed */
    bool dry;    /* what is left makes no record, or comes too late: only the socket helps */
    bool untold; /* it ended or broke behind bytes that were returned */
};

PK_DEFINE_AUTO_PTR(pk_tls_link_free, pk_tls_link *)

/* ---- the BIO ---- */

static int serve_begun(pk_tls_link *link, char *to, int room)
{
    size_t len = link->begun_len - link->begun_at;
    if (len > (size_t)room)
        len = (size_t)room;
    memcpy(to, link->begun + link->begun_at, len);
    link->begun_at += len;
    if (link->begun_at == link->begun_len) {
        pk_free(link->begun);
        link->begun = NULL;
    }
    return (int)len;
}

static int socket_read(BIO *bio, char *to, int room)
{
    pk_tls_link *link = BIO_get_data(bio);
    ssize_t got;
    BIO_clear_retry_flags(bio);
    if (link->begun != NULL)
        return serve_begun(link, to, room);
    if (link->turns-- <= 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    do
        got = recv(link->fd, to, (size_t)room, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    else if (got < 0)
        link->error = errno;
    link->at_end = got == 0;
    return (int)got;
}

static int socket_write(BIO *bio, const char *bytes, int len)
{
    pk_tls_link *link = BIO_get_data(bio);
    ssize_t sent;
    BIO_clear_retry_flags(bio);
    do
        sent = send(link->fd, bytes, (size_t)len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    else if (sent < 0)
        link->error = errno;
    return (int)sent;
}

static long socket_ctrl(BIO *bio, int what, long number, void *pointer)
{
    const pk_tls_link *link = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    if (what == BIO_CTRL_EOF)
        return link != NULL && link->at_end;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pgkeep socket");
    if (method == NULL || BIO_meth_set_read(method, socket_read) != 1 ||
        BIO_meth_set_write(method, socket_write) != 1 ||
        BIO_meth_set_ctrl(method, socket_ctrl) != 1) {
        BIO_meth_free(method);
        method = NULL;
    }
}

static BIO *bio_new(pk_tls_link *link)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_method);
    BIO *bio = method == NULL ? NULL : BIO_new(method);
    if (bio != NULL) {
        BIO_set_data(bio, link);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- life ---- */

static pk_tls_link *link_new(pk_tls *tls, int fd, pk_error *err)
{
    PK_AUTO_PTR(pk_tls_link_free) pk_tls_link *link = pk_new(pk_tls_link);
    pk_tls_forget();
    link->tls = pk_tls_ref(tls);
    link->fd = fd;
    link->ssl = SSL_new(tls->ctx);
    BIO *bio = bio_new(link);
    if (link->ssl == NULL || bio == NULL) {
        (void)BIO_free(bio);
        (void)pk_tls_complain(err, PK_E_MEMORY, "could not begin TLS");
        return NULL;
    }
    SSL_set_bio(link->ssl, bio, bio);
    return pk_steal(&link);
}

pk_tls_link *pk_tls_accept(pk_tls *tls, int fd, pk_span begun, pk_error *err)
{
    pk_tls_link *link = link_new(tls, fd, err);
    if (link == NULL)
        return NULL;
    SSL_set_accept_state(link->ssl);
    if (begun.len > 0) {
        link->begun = pk_new_bytes(begun.len);
        memcpy(link->begun, begun.ptr, begun.len);
        link->begun_len = begun.len;
    }
    return link;
}

pk_tls_link *pk_tls_connect(pk_tls *tls, int fd, pk_error *err)
{
    PK_AUTO_PTR(pk_tls_link_free) pk_tls_link *link = link_new(tls, fd, err);
    if (link == NULL)
        return NULL;
    SSL_set_connect_state(link->ssl);
    if (tls->server_name != NULL && SSL_set_tlsext_host_name(link->ssl, tls->server_name) != 1) {
        (void)pk_tls_complain(err, PK_E_MEMORY, "could not set the server's name");
        return NULL;
    }
    return pk_steal(&link);
}

void pk_tls_goodbye(pk_tls_link *link)
{
    if (SSL_in_init(link->ssl) || (SSL_get_shutdown(link->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    pk_tls_forget();
    (void)SSL_shutdown(link->ssl); /* sends it; what does not go now does not go */
    pk_tls_forget();
}

void pk_tls_link_free(pk_tls_link *link)
{
    if (link == NULL)
        return;
    if (link->ssl != NULL)
        pk_tls_goodbye(link);
    SSL_free(link->ssl);
    pk_tls_unref(link->tls);
    pk_free(link->begun);
    pk_free(link);
}

/* ---- doing ---- */

static void begin(pk_tls_link *link)
{
    link->turns = TURNS;
    pk_tls_forget();
}

static bool is_verify_failure(void)
{
    const unsigned long first = ERR_peek_error();
    return ERR_GET_LIB(first) == ERR_LIB_SSL &&
           ERR_GET_REASON(first) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

static const char *cause_of(const pk_tls_link *link)
{
    const char *reason = is_verify_failure()
                             ? X509_verify_cert_error_string(SSL_get_verify_result(link->ssl))
                             : pk_tls_reason();
    if (reason != NULL)
        return reason;
    return link->error != 0 ? pk_errno_text(link->error) : "unexpected end of the connection";
}

/* Leaves the queue as it is. */
static pk_tls_stop stop_of(pk_tls_link *link, int result)
{
    switch (SSL_get_error(link->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return PK_TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return PK_TLS_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return PK_TLS_ENDED;
    default:
        if (link->why == NULL)
            link->why = cause_of(link);
        return PK_TLS_BROKEN;
    }
}

/* In the words of PostgreSQL's two ends. */
static void why_not(const pk_tls_link *link, pk_tls_stop stop, pk_error *err)
{
    const bool server = SSL_is_server(link->ssl) == 1;
    if (stop == PK_TLS_ENDED)
        (void)pk_fail(err, PK_E_PROTOCOL, "%s: the peer closed the connection",
                      server ? "could not accept SSL connection" : "SSL error");
    else if (is_verify_failure())
        (void)pk_fail(err, PK_E_NOT_ALLOWED, "certificate verify failed: %s", link->why);
    else
        (void)pk_fail(err, PK_E_PROTOCOL, "%s: %s",
                      server ? "could not accept SSL connection" : "SSL error", link->why);
}

/* What OpenSSL leaves to us: the name, and that direct connections agree on the protocol (in
 * libpq's words). */
static bool check_peer(pk_tls_link *link, pk_error *err)
{
    const pk_tls *tls = link->tls;
    if (tls->host != NULL &&
        !pk_tls_check_host(SSL_get0_peer_certificate(link->ssl), tls->host, err)) {
        link->why = "certificate for another host";
        return false;
    }
    if (!tls->direct || pk_tls_has_alpn(link))
        return true;
    link->why = "no ALPN";
    return pk_fail(err, PK_E_PROTOCOL,
                   "direct SSL connection was established without ALPN protocol negotiation "
                   "extension");
}

bool pk_tls_handshake(pk_tls_link *link, pk_tls_stop *stop, pk_error *err)
{
    begin(link);
    const int result = SSL_do_handshake(link->ssl);
    if (result == 1) {
        *stop = PK_TLS_BROKEN;
        return check_peer(link, err);
    }
    *stop = stop_of(link, result);
    if (*stop == PK_TLS_ENDED || *stop == PK_TLS_BROKEN)
        why_not(link, *stop, err);
    pk_tls_forget();
    return false;
}

static ssize_t stopped_read(pk_tls_link *link, int result, size_t done, pk_tls_stop *stop)
{
    *stop = stop_of(link, result);
    pk_tls_forget();
    link->dry = *stop != PK_TLS_WANTS_WRITE;
    link->untold = done > 0 && (*stop == PK_TLS_ENDED || *stop == PK_TLS_BROKEN);
    return done > 0 ? (ssize_t)done : -1;
}

/* As many records as there are and fit: each SSL_read gives one. */
ssize_t pk_tls_read(pk_tls_link *link, void *to, size_t room, pk_tls_stop *stop)
{
    size_t done = 0;
    begin(link);
    do {
        size_t got = 0;
        const int result = SSL_read_ex(link->ssl, (char *)to + done, room - done, &got);
        done += got;
        if (result != 1)
            return stopped_read(link, result, done, stop);
    } while (done < room && SSL_has_pending(link->ssl) == 1);
    link->dry = false;
    return (ssize_t)done;
}

ssize_t pk_tls_write(pk_tls_link *link, pk_span bytes, pk_tls_stop *stop)
{
    size_t done = 0;
    begin(link);
    while (done < bytes.len) {
        size_t sent = 0;
        const int result = SSL_write_ex(link->ssl, bytes.ptr + done, bytes.len - done, &sent);
        done += sent;
        if (result != 1) {
            *stop = stop_of(link, result);
            pk_tls_forget();
            return done > 0 ? (ssize_t)done : -1;
        }
    }
    return (ssize_t)done;
}

bool pk_tls_has_pending(const pk_tls_link *link)
{
    return link->untold || link->begun != NULL || (!link->dry && SSL_has_pending(link->ssl) == 1);
}

const char *pk_tls_link_why(const pk_tls_link *link)
{
    return link->why == NULL ? "" : link->why;
}

/* ---- asking ---- */

bool pk_tls_has_alpn(const pk_tls_link *link)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(link->ssl, &name, &len);
    return pk_span_equal(pk_span_bytes(name, len), PK_SPAN(PK_TLS_PROTOCOL));
}

void pk_tls_link_peer_digest(const pk_tls_link *link, uint8_t digest[static 32])
{
    const X509 *peer = SSL_get0_peer_certificate(link->ssl);
    unsigned len = PK_TLS_HASH;
    memset(digest, 0, PK_TLS_HASH);
    if (peer != NULL)
        (void)X509_digest(peer, EVP_sha256(), digest, &len);
}

/* "/C=AT/O=Example/CN=alice", as the server's X509_NAME_to_cstring. */
static void write_subject(const X509_NAME *name, char *out, size_t size)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *text = NULL;
    out[0] = 0;
    if (memory == NULL)
        return;
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        const int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
        const char *field = nid == NID_undef ? "?" : OBJ_nid2sn(nid);
        (void)BIO_printf(memory, "/%s=", field == NULL ? OBJ_nid2ln(nid) : field);
        (void)ASN1_STRING_print_ex(memory, X509_NAME_ENTRY_get_data(entry),
                                   (ASN1_STRFLGS_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) |
                                       ASN1_STRFLGS_UTF8_CONVERT);
    }
    const long len = BIO_get_mem_data(memory, &text);
    (void)snprintf(out, size, "%.*s", (int)len, text);
    (void)BIO_free(memory);
    pk_tls_forget();
}

/* False: a zero byte would let "alice\0.evil" pass for alice (CVE-2009-4034), or it was cut. */
static bool write_common_name(const X509_NAME *name, char *out, size_t size)
{
    unsigned char *text = NULL;
    const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    out[0] = 0;
    if (at < 0)
        return true;
    const int len =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    const bool whole = len >= 0 && (size_t)len < size && memchr(text, 0, (size_t)len) == NULL;
    if (whole)
        (void)snprintf(out, size, "%.*s", len, (const char *)text);
    if (len >= 0)
        OPENSSL_free(text);
    pk_tls_forget();
    return whole;
}

/* OpenSSL verifies whether anybody insists or not; without authorities nothing passes. */
static const X509 *verified_peer(const pk_tls_link *link)
{
    return SSL_get_verify_result(link->ssl) == X509_V_OK ? SSL_get0_peer_certificate(link->ssl)
                                                         : NULL;
}

bool pk_tls_link_peer_names(const pk_tls_link *link, char *subject, size_t subject_size,
                            char *common_name, size_t name_size)
{
    const X509 *peer = verified_peer(link);
    subject[0] = common_name[0] = 0;
    if (peer == NULL)
        return true;
    const X509_NAME *name = X509_get_subject_name(peer);
    write_subject(name, subject, subject_size);
    return write_common_name(name, common_name, name_size);
}

const char *pk_tls_link_version(const pk_tls_link *link)
{
    return SSL_get_version(link->ssl);
}

const char *pk_tls_link_cipher(const pk_tls_link *link)
{
    return SSL_get_cipher_name(link->ssl);
}
