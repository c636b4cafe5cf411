/*
 * What TLS takes on one side of the proxy: certificate, key, authorities, lowest version, as one
 * immutable context that all connections of that side share (one per connection would cost a
 * megabyte with the system's authorities). Made when the configuration is loaded, again when it is
 * reloaded; connections hold the one they began with.
 *
 * Words and meaning are PostgreSQL's: libpq's sslmode towards the server; towards clients what
 * ssl_cert_file, ssl_key_file, ssl_ca_file and ssl_min_protocol_version say. Any thread.
 */
#ifndef PK_PROXY_TLS_H
#define PK_PROXY_TLS_H

#include "base/error.h"
#include "base/span.h"

#include <sys/types.h>

/* In this order of strictness. ALLOW towards clients: TLS if they ask for it. */
typedef enum pk_sslmode {
    PK_SSL_DISABLE,
    PK_SSL_ALLOW,
    PK_SSL_PREFER,
    PK_SSL_REQUIRE,
    PK_SSL_VERIFY_CA,
    PK_SSL_VERIFY_FULL,
} pk_sslmode;

/* Paths, all of them; NULL or "": not set. */
typedef struct pk_tls_files {
    const char *cert; /* PEM, the leaf first, then its chain */
    const char *key;  /* PEM without a passphrase; not for others to read (libpq's rule) */
    const char *ca;   /* PEM; towards the server "system" is the system's own list */
    const char *crl;
} pk_tls_files;

typedef struct pk_tls pk_tls;

/* Towards clients. A client certificate is asked for if there is a `ca`; `mode` VERIFY_CA and
 * VERIFY_FULL demand one. min_version: "TLSv1.2" (the default of "") or "TLSv1.3". NULL: 58P01 a
 * file is not there, 42501 the key can be read by others, F0000 what is in a file will not do,
 * 22023 these settings do not go together. */
pk_tls *pk_tls_for_clients(const pk_tls_files *files, pk_sslmode mode, const char *min_version,
                           pk_error *err) PK_MUST_USE;
/* Towards the server: `host` is checked with VERIFY_FULL and sent as SNI unless it is an address;
 * an authority that is given is used whatever the mode, and "system" wants VERIFY_FULL, as libpq
 * does. `direct`: begin without asking, and insist on ALPN "postgresql" (PostgreSQL 17), which is
 * offered always. */
pk_tls *pk_tls_for_server(const pk_tls_files *files, pk_sslmode mode, const char *min_version,
                          const char *host, bool direct, pk_error *err) PK_MUST_USE;
pk_tls *pk_tls_ref(pk_tls *tls) PK_MUST_USE;
void pk_tls_unref(pk_tls *tls);
PK_DEFINE_AUTO_PTR(pk_tls_unref, pk_tls *)

pk_sslmode pk_tls_mode(const pk_tls *tls);
/* Towards the server: without asking. */
bool pk_tls_is_direct(const pk_tls *tls);
/* SHA-256 of the certificate we show (zeros: none), to be compared with pk_tls_link_peer_digest. */
void pk_tls_digest(const pk_tls *tls, uint8_t digest[static 32]);
/* Has one of the files changed since they were read (inode, size or time of change)? Looks at the
 * disk. */
bool pk_tls_files_changed(const pk_tls *tls);
/* Gives back what OpenSSL keeps for the calling thread: for one of a pool that is not ours, which
 * may end when OpenSSL does not hear of it any more. It may use TLS again. */
void pk_tls_leave_thread(void);

/* ---- one connection ---- */

typedef struct pk_tls_link pk_tls_link;

/* What stopped a call, when it returns -1. */
typedef enum pk_tls_stop {
    PK_TLS_WANTS_READ,  /* the socket has to become readable */
    PK_TLS_WANTS_WRITE, /* the socket has to become writable */
    PK_TLS_ENDED,       /* the peer said goodbye, or closed without a word */
    PK_TLS_BROKEN,      /* the connection cannot be used any more; pk_tls_link_why says why */
} pk_tls_stop;

/* We are the server. `begun`: bytes that were read already (a handshake without asking); copied. */
pk_tls_link *pk_tls_accept(pk_tls *tls, int fd, pk_span begun, pk_error *err) PK_MUST_USE;
/* We are the client. */
pk_tls_link *pk_tls_connect(pk_tls *tls, int fd, pk_error *err) PK_MUST_USE;
/* Sends close_notify if it can be sent at once, and frees. Does not close the descriptor. */
void pk_tls_link_free(pk_tls_link *link);
/* Nothing more is written: close_notify, if it can be sent at once. */
void pk_tls_goodbye(pk_tls_link *link);

/* True: done. False with *stop; BROKEN and ENDED: `err` says why, in words for the log (08P01,
 * 28000 the peer's certificate will not do). Never blocks. */
bool pk_tls_handshake(pk_tls_link *link, pk_tls_stop *stop, pk_error *err) PK_MUST_USE;

/* Bytes done, or -1 with *stop; there must be room, or bytes. A write that was stopped must be
 * repeated with the same bytes in front (they may have moved). Never raises SIGPIPE. */
ssize_t pk_tls_read(pk_tls_link *link, void *to, size_t room, pk_tls_stop *stop);
ssize_t pk_tls_write(pk_tls_link *link, pk_span bytes, pk_tls_stop *stop);
/* Would pk_tls_read return bytes, or an end that it has not told yet, although the socket is not
 * readable? */
bool pk_tls_has_pending(const pk_tls_link *link);
/* After BROKEN: the first cause, for the log. "" if there is none. A server that does not like our
 * certificate says so here and not in the handshake (TLS 1.3). */
const char *pk_tls_link_why(const pk_tls_link *link);

/* After the handshake. */
bool pk_tls_has_alpn(const pk_tls_link *link); /* "postgresql" was agreed on */
void pk_tls_link_peer_digest(const pk_tls_link *link, uint8_t digest[static 32]);
/* Of the peer's verified certificate, "" if there is none: the subject as pg_stat_ssl writes it,
 * and its common name, false if that has a zero byte in it. */
bool pk_tls_link_peer_names(const pk_tls_link *link, char *subject, size_t subject_size,
                            char *common_name, size_t name_size);
/* "TLSv1.3", "TLS_AES_256_GCM_SHA384" */
const char *pk_tls_link_version(const pk_tls_link *link);
const char *pk_tls_link_cipher(const pk_tls_link *link);

#endif
