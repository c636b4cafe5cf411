/*
 * Opening a connection to the PostgreSQL behind: name lookup in libuv's pool (never on the loop),
 * then every address in order, each with its own patience, then TLS if it is wanted (SSLRequest, or
 * without asking). What the kernel can do at once (a Unix socket, the loopback interface) is done
 * at once. Loop thread only.
 */
#ifndef PK_PROXY_CONNECT_H
#define PK_PROXY_CONNECT_H

#include "proxy/address.h"
#include "proxy/poller.h"
#include "proxy/tls.h"

typedef struct pk_connection {
    int fd;           /* -1: there is none */
    pk_tls_link *tls; /* NULL: plain */
    pk_address to;
} pk_connection;

/* Borrowed while it runs, `tls` is held. */
typedef struct pk_connect_order {
    const pk_target *target;
    const pk_address *exact; /* only there; NULL: all of the target's */
    pk_tls *tls;             /* NULL: none */
} pk_connect_order;

typedef struct pk_connect pk_connect;
/* fd >= 0: connected, the callee owns descriptor and TLS; -1: `err` says why not, until it returns.
 */
typedef void pk_connect_done(void *ctx, const pk_connection *made, const pk_error *err);

/* NULL: connected at once, `made` is the caller's; `done` is not called. */
pk_connect *pk_connect_start(pk_poller *poller, const pk_connect_order *order,
                             pk_connect_done *done, void *ctx, pk_connection *made);
/* The caller does not want to hear from it any more. */
void pk_connect_abandon(pk_connect *connect);

#endif
