/*
 * Opening a connection to the PostgreSQL behind: name lookup in libuv's pool (never on the loop),
 * then every address in order, each with its own patience. A heap object that lives until it has
 * answered or was abandoned. Loop thread only.
 */
#ifndef PK_PROXY_CONNECT_H
#define PK_PROXY_CONNECT_H

#include "base/error.h"

#include <sys/socket.h>
#include <uv.h>

/* Where: a host name, a numeric address, or the directory of a Unix socket ("/run/postgresql"). */
typedef struct pk_target {
    char host[256];
    char port[24];
} pk_target;

/* "host:port", "[::1]:port", "/dir:port"; the default port may be left out. 22023. */
bool pk_target_parse(const char *text, const char *default_port, pk_target *target,
                     pk_error *err) PK_MUST_USE;
/* "host:port" to show. */
const char *pk_target_text(const pk_target *target, char *out, size_t size);

typedef struct pk_peer_address {
    struct sockaddr_storage address;
    socklen_t len;
} pk_peer_address;

typedef struct pk_connect pk_connect;
/* fd >= 0: connected, the callee owns it, `to` is where; -1: `err` says why not. Never called from
 * within pk_connect_start. */
typedef void pk_connect_done(void *ctx, int fd, const pk_peer_address *to, const pk_error *err);

/* To the target, or, if `exact` is given, only there. */
pk_connect *pk_connect_start(uv_loop_t *loop, const pk_target *target, const pk_peer_address *exact,
                             pk_connect_done *done, void *ctx);
/* The caller does not want to hear from it any more. */
void pk_connect_abandon(pk_connect *connect);

/* Does this connection lead to one of these addresses we listen on? Then every session would open
 * another one, until descriptors run out. A detour through another host is not seen. */
bool pk_connect_is_circle(int fd, const pk_peer_address *listening, size_t count);

/* Options every TCP connection of ours gets: no delay, keepalive. */
void pk_socket_tune(int fd);

#endif
