/*
 * Where sockets are: parsing what the administrator writes, naming a peer, the options of a socket,
 * and whether an address is our own. Any thread; nothing here waits.
 */
#ifndef PK_PROXY_ADDRESS_H
#define PK_PROXY_ADDRESS_H

#include "base/error.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

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

/* An internet address, or "a Unix socket" without saying which: those have one way only, which is
 * the target's. 28 bytes, for sessions keep it. */
typedef union pk_address {
    sa_family_t family;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
} pk_address;

/* What the kernel wrote. Of a Unix socket the family only. */
pk_address pk_address_of(const struct sockaddr *from, socklen_t len);
socklen_t pk_address_len(const pk_address *address);
/* Does the target name an address, or a Unix socket? Then no lookup is needed. */
bool pk_target_is_address(const pk_target *target, pk_address *address);
/* The path of a target that is a Unix socket. 22023 when it is too long. */
bool pk_target_path(const pk_target *target, struct sockaddr_un *path, pk_error *err) PK_MUST_USE;

/* The loopback interface or a Unix socket: what is sent there stays on this host. */
bool pk_address_is_local(const pk_address *address);
/* "10.0.0.1:5432", "[::1]:5432", "[local]" */
#define PK_ADDRESS_TEXT 64u
const char *pk_address_text(const pk_address *address, char *out, size_t size);
/* Without the port and brackets. */
const char *pk_address_host(const pk_address *address, char out[static PK_ADDRESS_TEXT]);

/* Does this connection, to `to`, lead to one of these addresses we listen on? Then every session
 * would open another one, until descriptors run out. A detour through another host is not seen. */
bool pk_address_is_circle(int fd, const pk_address *to, const pk_address *listening, size_t count);

/* Options of a TCP socket: no delay, and keepalive unless both ends are here. */
void pk_socket_tune(int fd, const pk_address *peer);

#endif
