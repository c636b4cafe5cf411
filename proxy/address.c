/*
 * Parsing is strict and says what is wrong; everything else is arithmetic on addresses.
 */
#include "proxy/address.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEPALIVE_IDLE     60 /* seconds */
#define KEEPALIVE_INTERVAL 10
#define KEEPALIVE_PROBES   6

bool pk_target_parse(const char *text, const char *default_port, pk_target *target, pk_error *err)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t len = strlen(text);
    *target = (pk_target){0};

    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (end == NULL || (end[1] != 0 && end[1] != ':'))
            return pk_fail(err, PK_E_PARAMETER, "invalid address \"%s\"", text);
        host = text + 1;
        len = (size_t)(end - host);
        colon = end[1] == ':' ? end + 1 : NULL;
    } else if (colon != NULL) {
        len = (size_t)(colon - text);
        if (memchr(text, ':', len) != NULL) {
            (void)pk_fail(err, PK_E_PARAMETER, "invalid address \"%s\"", text);
            return pk_error_hint(err, "Write an IPv6 address in brackets: [::1]:5432.");
        }
    }
    const char *port = colon == NULL ? default_port : colon + 1;
    char *end = NULL;
    long number = strtol(port, &end, 10);
    if (len == 0 || len >= sizeof target->host || *port < '0' || *port > '9' || *end != 0 ||
        number > 65535)
        return pk_fail(err, PK_E_PARAMETER, "invalid address \"%s\"", text);
    memcpy(target->host, host, len);
    (void)snprintf(target->port, sizeof target->port, "%ld", number);
    return true;
}

const char *pk_target_text(const pk_target *target, char *out, size_t size)
{
    bool v6 = strchr(target->host, ':') != NULL;
    (void)snprintf(out, size, "%s%s%s:%s", v6 ? "[" : "", target->host, v6 ? "]" : "",
                   target->port);
    return out;
}

pk_address pk_address_of(const struct sockaddr *from, socklen_t len)
{
    pk_address address = {.family = AF_UNIX};
    if ((from->sa_family == AF_INET && len >= sizeof address.in) ||
        (from->sa_family == AF_INET6 && len >= sizeof address.in6))
        memcpy(&address, from, len < sizeof address ? len : sizeof address);
    return address;
}

socklen_t pk_address_len(const pk_address *address)
{
    return address->family == AF_INET    ? sizeof address->in
           : address->family == AF_INET6 ? sizeof address->in6
                                         : 0;
}

bool pk_target_is_address(const pk_target *target, pk_address *address)
{
    const in_port_t port = htons((uint16_t)strtoul(target->port, NULL, 10));
    *address = (pk_address){.family = AF_UNIX};
    if (target->host[0] == '/')
        return true;
    if (inet_pton(AF_INET, target->host, &address->in.sin_addr) == 1) {
        address->in.sin_family = AF_INET;
        address->in.sin_port = port;
        return true;
    }
    *address = (pk_address){.family = AF_INET6};
    address->in6.sin6_port = port;
    return inet_pton(AF_INET6, target->host, &address->in6.sin6_addr) == 1;
}

bool pk_target_path(const pk_target *target, struct sockaddr_un *path, pk_error *err)
{
    *path = (struct sockaddr_un){.sun_family = AF_UNIX};
    const int len = snprintf(path->sun_path, sizeof path->sun_path, "%s/.s.PGSQL.%s", target->host,
                             target->port);
    if (len > 0 && (size_t)len < sizeof path->sun_path)
        return true;
    (void)pk_fail(err, PK_E_PARAMETER, "Unix-domain socket path \"%s/.s.PGSQL.%s\" is too long",
                  target->host, target->port);
    return pk_error_detail(err, "It can have at most %zu bytes.", sizeof path->sun_path - 1);
}

bool pk_address_is_local(const pk_address *address)
{
    if (address->family == AF_INET)
        return ntohl(address->in.sin_addr.s_addr) >> 24 == 127;
    if (address->family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
    return true;
}

/* inet_ntop uses printf for this, which costs more than all else that a new connection needs. */
static void write_quad(const struct in_addr *host, char out[static INET_ADDRSTRLEN])
{
    const uint8_t *bytes = (const uint8_t *)&host->s_addr;
    for (int i = 0; i < 4; i++) {
        const unsigned b = bytes[i];
        if (b >= 100)
            *out++ = (char)('0' + b / 100);
        if (b >= 10)
            *out++ = (char)('0' + b / 10 % 10);
        *out++ = (char)('0' + b % 10);
        *out++ = i < 3 ? '.' : 0;
    }
}

const char *pk_address_host(const pk_address *address, char out[static PK_ADDRESS_TEXT])
{
    if (address->family == AF_INET)
        write_quad(&address->in.sin_addr, out);
    else if (address->family != AF_INET6)
        memcpy(out, "[local]", sizeof "[local]");
    else if (inet_ntop(AF_INET6, &address->in6.sin6_addr, out, PK_ADDRESS_TEXT) == NULL)
        memcpy(out, "?", sizeof "?");
    return out;
}

const char *pk_address_text(const pk_address *address, char *out, size_t size)
{
    char host[PK_ADDRESS_TEXT];
    (void)pk_address_host(address, host);
    if (address->family == AF_INET)
        (void)snprintf(out, size, "%s:%u", host, ntohs(address->in.sin_port));
    else if (address->family == AF_INET6)
        (void)snprintf(out, size, "[%s]:%u", host, ntohs(address->in6.sin6_port));
    else
        (void)snprintf(out, size, "%s", host);
    return out;
}

/* Address without port; NULL: not an internet address. */
static const void *host_of(const pk_address *at, size_t *len, in_port_t *port)
{
    if (at->family == AF_INET) {
        *len = sizeof at->in.sin_addr;
        *port = at->in.sin_port;
        return &at->in.sin_addr;
    }
    if (at->family != AF_INET6)
        return NULL;
    *len = sizeof at->in6.sin6_addr;
    *port = at->in6.sin6_port;
    return &at->in6.sin6_addr;
}

static bool is_any(const char *address, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (address[i] != 0)
            return false;
    return true;
}

static pk_address name_of(int fd, int (*which)(int fd, struct sockaddr *name, socklen_t *len))
{
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof name;
    (void)which(fd, (struct sockaddr *)&name, &len);
    return pk_address_of((const struct sockaddr *)&name, len);
}

/* A listener on all addresses is met by a connection between two equal ones: a host that talks to
 * itself. */
static bool is_listener(int fd, const pk_address *to, const pk_address *listener)
{
    size_t len[2] = {0};
    in_port_t port[2] = {0};
    const void *at = host_of(listener, &len[0], &port[0]);
    if (at == NULL || host_of(to, &len[1], &port[1]) == NULL || port[0] != port[1])
        return false;                                 /* nearly always, and without a call */
    const pk_address peer = name_of(fd, getpeername); /* 0.0.0.0 leads to 127.0.0.1 */
    const void *host = host_of(&peer, &len[1], &port[1]);
    if (host == NULL || len[0] != len[1])
        return false;
    if (!is_any(at, len[0]))
        return memcmp(host, at, len[0]) == 0;
    const pk_address own = name_of(fd, getsockname);
    const void *from = host_of(&own, &len[0], &port[0]);
    return pk_address_is_local(&peer) ||
           (from != NULL && len[0] == len[1] && memcmp(host, from, len[0]) == 0);
}

/* A Unix socket does not say its path, but who is at its other end. */
static bool is_ourselves(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getpid();
}

bool pk_address_is_circle(int fd, const pk_address *to, const pk_address *listening, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (to->family == AF_UNIX ? listening[i].family == AF_UNIX && is_ourselves(fd)
                                  : is_listener(fd, to, &listening[i]))
            return true;
    return false;
}

void pk_socket_tune(int fd, const pk_address *peer)
{
    const int on = 1;
    const int idle = KEEPALIVE_IDLE;
    const int interval = KEEPALIVE_INTERVAL;
    const int probes = KEEPALIVE_PROBES;
    if (peer->family == AF_UNIX)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (pk_address_is_local(peer))
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}
