/*
 * Private to tls.c and tls_link.c: what a context is made of. The only header of proxy/ that knows
 * OpenSSL.
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
    uint8_t digest[PK_TLS_HASH];
    pk_tls_file files[PK_TLS_FILES];
};

/* What OpenSSL complained of first, as an error; its queue is empty afterwards. False. */
bool pk_tls_complain(pk_error *err, const char *sqlstate, const char *what);

#endif
