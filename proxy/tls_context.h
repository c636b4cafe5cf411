/*
 * Private to tls*.c: what a context is made of, and what these files do for each other. The only
 * header of proxy/ that knows OpenSSL.
 */
#ifndef PK_PROXY_TLS_CONTEXT_H
#define PK_PROXY_TLS_CONTEXT_H

#include "proxy/tls.h"

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#define PK_TLS_FILES    4u
#define PK_TLS_HASH     32u
#define PK_TLS_PROTOCOL "postgresql" /* IANA's registry of ALPN protocol IDs */

typedef struct pk_tls_file {
    char *path; /* NULL: not set */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
} pk_tls_file;

struct pk_tls {
    atomic_uint refs;
    SSL_CTX *ctx;
    pk_sslmode mode;
    bool direct;
    char *server_name; /* SNI; NULL: none */
    char *host;        /* whom the server's certificate must be for; NULL: anybody */
    uint8_t digest[PK_TLS_HASH];
    pk_tls_file files[PK_TLS_FILES];
};

/* OpenSSL's queue of errors is the thread's, not the connection's, so each call begins with an
 * empty one and leaves an empty one. */
void pk_tls_forget(void);
/* What OpenSSL complained of first, in words that stay; NULL: nothing. */
const char *pk_tls_reason(void);
/* The same as an error; the queue is empty afterwards. False. */
bool pk_tls_complain(pk_error *err, const char *sqlstate, const char *what);

/* An IPv4 or IPv6 address, as libpq sees it. */
bool pk_tls_is_address(const char *host);
/* Is this verified certificate `host`'s? libpq's rules (tls_name.c); 28000 if not. */
bool pk_tls_check_host(const X509 *cert, const char *host, pk_error *err) PK_MUST_USE;

#endif
