/*
 * The first packets of a connection, which have no type byte: requests for encryption, cancel
 * requests, the startup packet (wire-protocol 2). Pure; any thread.
 */
#ifndef PK_PROXY_STARTUP_H
#define PK_PROXY_STARTUP_H

#include "proxy/wire.h"

#define PK_STARTUP_MAX 10004u /* with its length; the server's own limit */

typedef enum pk_first_packet {
    PK_FIRST_MORE, /* `size` bytes are needed to say more */
    PK_FIRST_TLS,  /* a TLS handshake without asking (PostgreSQL 17) */
    PK_FIRST_SSL_REQUEST,
    PK_FIRST_GSS_REQUEST,
    PK_FIRST_CANCEL,
    PK_FIRST_STARTUP,
    PK_FIRST_BAD, /* `err` is what to answer before closing */
} pk_first_packet;

typedef struct pk_startup {
    size_t size; /* of the packet */
    uint32_t version;
    pk_span user, database; /* database is the user's name if it was not given */
    bool walsender;         /* a replication connection */
    bool rewrite;           /* holds what we do not understand: send pk_startup_rewrite's packet */
    uint32_t pid;           /* CANCEL */
    pk_span key;
} pk_startup;

/* Spans point into `bytes`. */
pk_first_packet pk_startup_parse(pk_span bytes, pk_startup *startup, pk_error *err);

/* The packet with its version lowered to what we know and without `_pq_.` options, which could
 * change the framing (wire-protocol 2.2). The names that were left out go to `removed`, each with
 * its NUL. */
bool pk_startup_rewrite(pk_span packet, pk_buf *out, pk_buf *removed, pk_error *err) PK_MUST_USE;

/* NegotiateProtocolVersion ('v'): what the server said (`theirs` is its message, or empty) merged
 * with what we took away. `version` is the one that was forwarded. */
bool pk_startup_negotiated(pk_span theirs, uint32_t version, pk_span removed, pk_buf *out,
                           pk_error *err) PK_MUST_USE;

#define PK_VERSION_3_0    0x00030000u
#define PK_VERSION_NEWEST 0x00030002u

#endif
