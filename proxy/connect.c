/*
 * A state machine in one struct: look up -> try address i -> connected, or i + 1. Every attempt has
 * PATIENCE_MS before the next address gets its chance; the last one is bounded by whoever started
 * us (login_timeout, the cancel limit). Numeric addresses and Unix sockets skip the lookup but go
 * through the same list. A failed attempt goes on from the timer, a moment later: by then libuv has
 * let go of the poll handle, and `done` is never called from start.
 */
#include "proxy/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS   5000
#define ADDRESSES_MAX 16

struct pk_connect {
    uv_getaddrinfo_t lookup;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_loop_t *loop;
    pk_connect_done *done; /* NULL: abandoned or answered */
    void *ctx;
    pk_target target;
    pk_peer_address addresses[ADDRESSES_MAX];
    size_t count, next;
    int fd;           /* being connected, -1: none */
    unsigned handles; /* open ones of libuv's; freed at zero */
    bool looking_up;
    pk_error err;
};

static void on_timer(uv_timer_t *timer);

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

void pk_socket_tune(int fd)
{
    const int on = 1;
    const int idle = 60;
    const int interval = 10;
    const int probes = 6;
    /* A Unix socket has none of these and says so; that is fine. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* Address without port; NULL: not an internet address. */
static const void *address_of(const pk_peer_address *at, size_t *len, in_port_t *port)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&at->address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&at->address;
    if (at->address.ss_family == AF_INET) {
        *len = sizeof in->sin_addr;
        *port = in->sin_port;
        return &in->sin_addr;
    }
    if (at->address.ss_family != AF_INET6)
        return NULL;
    *len = sizeof in6->sin6_addr;
    *port = in6->sin6_port;
    return &in6->sin6_addr;
}

static bool is_any(const char *address, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (address[i] != 0)
            return false;
    return true;
}

/* A listener on all addresses is met by a connection between two equal ones: a host that talks to
 * itself. */
static bool is_listener(const pk_peer_address *peer, const pk_peer_address *own,
                        const pk_peer_address *listener)
{
    size_t len[3] = {0};
    in_port_t port[3] = {0};
    const void *to = address_of(peer, &len[0], &port[0]);
    const void *from = address_of(own, &len[1], &port[1]);
    const void *at = address_of(listener, &len[2], &port[2]);
    if (to == NULL || from == NULL || at == NULL || len[0] != len[2] || len[0] != len[1] ||
        port[0] != port[2])
        return false;
    return memcmp(to, at, len[0]) == 0 || (is_any(at, len[2]) && memcmp(to, from, len[0]) == 0);
}

bool pk_connect_is_circle(int fd, const pk_peer_address *listening, size_t count)
{
    pk_peer_address peer = {.len = sizeof peer.address};
    pk_peer_address own = {.len = sizeof own.address};
    if (getpeername(fd, (struct sockaddr *)&peer.address, &peer.len) < 0 ||
        getsockname(fd, (struct sockaddr *)&own.address, &own.len) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (is_listener(&peer, &own, &listening[i]))
            return true;
    return false;
}

static void release(pk_connect *dial)
{
    if (dial->handles == 0 && !dial->looking_up)
        pk_free(dial);
}

static void on_timer_closed(uv_handle_t *handle)
{
    pk_connect *dial = handle->data;
    dial->handles--;
    release(dial);
}

static void on_poll_closed(uv_handle_t *handle)
{
    pk_connect *dial = handle->data;
    dial->handles--;
    release(dial);
}

static void stop_attempt(pk_connect *dial, bool keep_fd)
{
    if (dial->fd < 0)
        return;
    uv_close((uv_handle_t *)&dial->poll, on_poll_closed);
    if (!keep_fd)
        (void)close(dial->fd);
    dial->fd = -1;
}

static void answer(pk_connect *dial, int fd, const pk_peer_address *to)
{
    pk_connect_done *done = dial->done;
    dial->done = NULL;
    uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
    done(dial->ctx, fd, to, &dial->err);
}

static void note_failure(pk_connect *dial, const char *why, bool ours)
{
    char text[300];
    (void)pk_fail(&dial->err, ours ? PK_E_CONNECTIONS : PK_E_BACKEND_UNREACHABLE,
                  "could not connect to server at %s: %s",
                  pk_target_text(&dial->target, text, sizeof text), why);
    (void)pk_error_hint(&dial->err,
                        "Is PostgreSQL running there and accepting connections? pgkeep connects "
                        "to what proxy.backend (--backend) names.");
}

static void attempt_failed(pk_connect *dial, int why)
{
    note_failure(dial, uv_strerror(-why), why == EMFILE || why == ENFILE);
    stop_attempt(dial, false);
    (void)uv_timer_start(&dial->timer, on_timer, 1, 0);
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
    pk_connect *dial = poll->data;
    int why = 0;
    socklen_t len = sizeof why;
    (void)events;
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0)
        why = errno;
    if (why == 0 && status < 0)
        why = ECONNREFUSED;
    if (why != 0) {
        attempt_failed(dial, why);
        return;
    }
    int fd = dial->fd;
    pk_socket_tune(fd);
    stop_attempt(dial, true);
    answer(dial, fd, &dial->addresses[dial->next - 1]);
}

/* False with errno. */
static bool begin_attempt(pk_connect *dial, const pk_peer_address *to)
{
    int fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    int rc = connect(fd, (const struct sockaddr *)&to->address, to->len);
    int why = rc < 0 ? errno : 0;
    if ((why == 0 || why == EINPROGRESS) && uv_poll_init(dial->loop, &dial->poll, fd) != 0)
        why = ENOMEM;
    if (why != 0 && why != EINPROGRESS) {
        (void)close(fd);
        errno = why;
        return false;
    }
    dial->fd = fd;
    dial->handles++;
    dial->poll.data = dial;
    (void)uv_poll_start(&dial->poll, UV_WRITABLE, on_connected);
    (void)uv_timer_start(&dial->timer, on_timer, PATIENCE_MS, 0);
    return true;
}

static void try_next(pk_connect *dial)
{
    if (dial->next == dial->count)
        answer(dial, -1, NULL);
    else if (!begin_attempt(dial, &dial->addresses[dial->next++]))
        attempt_failed(dial, errno);
}

static void on_timer(uv_timer_t *timer)
{
    pk_connect *dial = timer->data;
    if (dial->fd >= 0)
        attempt_failed(dial, ETIMEDOUT);
    else
        try_next(dial);
}

static void on_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    pk_connect *dial = lookup->data;
    dial->looking_up = false;
    for (struct addrinfo *a = found; a != NULL && dial->count < ADDRESSES_MAX; a = a->ai_next) {
        pk_peer_address *to = &dial->addresses[dial->count++];
        memcpy(&to->address, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
    }
    uv_freeaddrinfo(found);
    if (dial->done == NULL) {
        release(dial);
        return;
    }
    if (dial->count == 0)
        note_failure(dial, status < 0 ? uv_strerror(status) : "the name has no address", false);
    try_next(dial);
}

static bool add_numeric(pk_connect *dial)
{
    pk_peer_address *to = &dial->addresses[0];
    const char *host = dial->target.host;
    struct sockaddr_in *in = (struct sockaddr_in *)&to->address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&to->address;
    struct sockaddr_un *un = (struct sockaddr_un *)&to->address;
    uint16_t port = htons((uint16_t)strtoul(dial->target.port, NULL, 10));

    if (host[0] == '/') {
        int len =
            snprintf(un->sun_path, sizeof un->sun_path, "%s/.s.PGSQL.%s", host, dial->target.port);
        un->sun_family = AF_UNIX;
        to->len = sizeof *un;
        dial->count = len > 0 && (size_t)len < sizeof un->sun_path ? 1 : 0;
        if (dial->count == 0)
            note_failure(dial, "the path of the Unix socket is too long", false);
        return true;
    }
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = port;
        to->len = sizeof *in;
    } else if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = port;
        to->len = sizeof *in6;
    } else {
        return false;
    }
    dial->count = 1;
    return true;
}

/* Everything from here on may fail at once, but is told later, from the timer. */
static void begin(pk_connect *dial)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    int rc = 0;
    if (dial->count == 0 && !add_numeric(dial)) {
        rc = uv_getaddrinfo(dial->loop, &dial->lookup, on_looked_up, dial->target.host,
                            dial->target.port, &hints);
        dial->looking_up = rc == 0;
        if (rc < 0)
            note_failure(dial, uv_strerror(rc), false);
    }
    if (dial->looking_up)
        return;
    if (dial->count == 0)
        (void)uv_timer_start(&dial->timer, on_timer, 1, 0);
    else
        try_next(dial);
}

pk_connect *pk_connect_start(uv_loop_t *loop, const pk_target *target, const pk_peer_address *exact,
                             pk_connect_done *done, void *ctx)
{
    pk_connect *dial = pk_new(pk_connect);
    dial->loop = loop;
    dial->done = done;
    dial->ctx = ctx;
    dial->target = *target;
    dial->fd = -1;
    dial->lookup.data = dial;
    (void)uv_timer_init(loop, &dial->timer);
    dial->timer.data = dial;
    dial->handles = 1;
    if (exact != NULL && exact->len > 0) {
        dial->addresses[0] = *exact;
        dial->count = 1;
    }
    begin(dial);
    return dial;
}

void pk_connect_abandon(pk_connect *dial)
{
    if (dial == NULL)
        return;
    dial->done = NULL;
    stop_attempt(dial, false);
    if (dial->looking_up)
        (void)uv_cancel((uv_req_t *)&dial->lookup);
    uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
}
