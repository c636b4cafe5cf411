/*
 * A state machine in one struct: look up -> try address i -> ask for TLS -> handshake -> connected,
 * or i + 1. Every attempt has PATIENCE_MS before the next address gets its chance; the last one is
 * bounded by whoever started us (login_timeout, the cancel limit). Numeric addresses and Unix
 * sockets skip the lookup but go through the same list. What fails goes on from the timer, a
 * moment later, so that `done` is never called from start.
 *
 * A connection over loopback is there when connect() returns although it says EINPROGRESS: one
 * poll() sees that, and no watch, timer or further round is needed.
 */
#include "proxy/connect.h"

#include "base/log.h"
#include "proxy/wire.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS   5000
#define ADDRESSES_MAX 16
#define AGAIN_MS      5

typedef enum phase { IDLE, CONNECTING, ASKING, SHAKING } phase;

struct pk_connect {
    pk_watch watch; /* first */
    pk_grave grave;
    uv_getaddrinfo_t lookup;
    uv_timer_t timer;
    pk_poller *poller;
    pk_connect_done *done; /* NULL: abandoned or answered */
    void *ctx;
    pk_target target;
    pk_tls *tls;
    pk_tls_link *link;
    pk_address addresses[ADDRESSES_MAX];
    size_t count, next;
    size_t plain_at; /* the address that is tried without TLS; ADDRESSES_MAX: none */
    uint64_t
        full_until; /* a Unix socket's queue is full: until then it is tried again; 0: it is not */
    phase phase;
    bool looking_up, has_timer;
    pk_error *err; /* why the last attempt failed; NULL: none did */
};

static void on_timer(uv_timer_t *timer);

/* ---- life ---- */

static void free_dial(pk_grave *grave)
{
    pk_connect *dial = (pk_connect *)(void *)((char *)grave - offsetof(pk_connect, grave));
    pk_tls_unref(dial->tls);
    pk_free(dial->err);
    pk_free(dial);
}

static void release(pk_connect *dial)
{
    if (dial->done == NULL && !dial->has_timer && !dial->looking_up)
        pk_poller_bury(dial->poller, &dial->grave);
}

static void on_timer_closed(uv_handle_t *handle)
{
    pk_connect *dial = handle->data;
    dial->has_timer = false;
    release(dial);
}

static void start_timer(pk_connect *dial, uint64_t ms)
{
    if (!dial->has_timer)
        (void)uv_timer_init(&dial->poller->uv, &dial->timer);
    dial->has_timer = true;
    dial->timer.data = dial;
    (void)uv_timer_start(&dial->timer, on_timer, ms, 0);
}

static void stop_attempt(pk_connect *dial)
{
    pk_tls_link_free(pk_steal(&dial->link));
    pk_watch_close(dial->poller, &dial->watch);
    dial->phase = IDLE;
}

/* Nothing more is to come: the rest of us goes when libuv let go of it. */
static void retire(pk_connect *dial)
{
    dial->done = NULL;
    if (dial->has_timer)
        uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
    else
        release(dial);
}

void pk_connect_abandon(pk_connect *dial)
{
    if (dial == NULL)
        return;
    stop_attempt(dial);
    if (dial->looking_up)
        (void)uv_cancel((uv_req_t *)&dial->lookup);
    retire(dial);
}

/* ---- outcome ---- */

static const pk_address *here(const pk_connect *dial)
{
    return &dial->addresses[dial->next - 1];
}

static pk_error *failure(pk_connect *dial)
{
    if (dial->err == NULL)
        dial->err = pk_new(pk_error);
    *dial->err = (pk_error){0};
    return dial->err;
}

static void note_failure(pk_connect *dial, const char *why, bool ours)
{
    char text[300];
    pk_error *err = failure(dial);
    (void)pk_fail(err, ours ? PK_E_CONNECTIONS : PK_E_BACKEND_UNREACHABLE,
                  "could not connect to server at %s: %s",
                  pk_target_text(&dial->target, text, sizeof text), why);
    (void)pk_error_hint(err,
                        "Is PostgreSQL running there and accepting connections? pgkeep connects "
                        "to what proxy.backend (--backend) names.");
}

static void attempt_failed(pk_connect *dial, int why)
{
    note_failure(dial, pk_errno_text(why), why == EMFILE || why == ENFILE);
    stop_attempt(dial);
    start_timer(dial, 1);
}

static void answer(pk_connect *dial, const pk_connection *made)
{
    pk_connect_done *done = dial->done;
    void *ctx = dial->ctx;
    pk_error *err = pk_steal(&dial->err);
    retire(dial);
    done(ctx, made, err);
    pk_free(err);
}

static pk_connection take(pk_connect *dial)
{
    pk_connection made = {.to = *here(dial)};
    made.tls = pk_steal(&dial->link);
    made.fd = pk_watch_release(dial->poller, &dial->watch);
    dial->phase = IDLE;
    return made;
}

static void succeed(pk_connect *dial)
{
    const pk_connection made = take(dial);
    answer(dial, &made);
}

/* ---- TLS ---- */

static bool wants_tls(const pk_connect *dial)
{
    return dial->tls != NULL && dial->plain_at != dial->next - 1 && here(dial)->family != AF_UNIX;
}

/* libpq's "prefer": the same address once more, without. */
static void tls_failed(pk_connect *dial, const char *why)
{
    note_failure(dial, why, false);
    stop_attempt(dial);
    if (pk_tls_mode(dial->tls) <= PK_SSL_PREFER) {
        pk_log_info("going on without TLS to the server, because its own will not do: %s", why);
        dial->plain_at = --dial->next;
    }
    start_timer(dial, 1);
}

/* True: the connection can be taken. It can be so at the first call, for the server's answer may be
 * there as soon as the first message is sent. */
static bool shake_hands(pk_connect *dial)
{
    pk_error err = {0};
    pk_tls_stop stop = PK_TLS_BROKEN;
    bool watched = true;
    if (pk_tls_handshake(dial->link, &stop, &err))
        return true;
    if (stop == PK_TLS_WANTS_READ)
        watched = pk_watch_set(dial->poller, &dial->watch, PK_READABLE);
    else if (stop == PK_TLS_WANTS_WRITE)
        watched = pk_watch_set(dial->poller, &dial->watch, PK_WRITABLE);
    else
        tls_failed(dial, err.message);
    if (!watched)
        attempt_failed(dial, errno);
    return false;
}

/* As shake_hands. */
static bool begin_tls(pk_connect *dial)
{
    pk_error err = {0};
    dial->phase = SHAKING;
    dial->link = pk_tls_connect(dial->tls, dial->watch.fd, &err);
    if (dial->link != NULL)
        return shake_hands(dial);
    tls_failed(dial, err.message);
    return false;
}

/* One byte, and one only, is read in the clear: whatever else came is left to TLS, which takes
 * nothing that is not its own (CVE-2021-23222). */
static void read_answer(pk_connect *dial)
{
    char said = 0;
    const ssize_t got = recv(dial->watch.fd, &said, 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got == 1 && said == 'S') {
        if (begin_tls(dial))
            succeed(dial);
    } else if (got == 1 && said == 'N' && pk_tls_mode(dial->tls) <= PK_SSL_PREFER) {
        succeed(dial);
    } else if (got == 1 && said == 'N') {
        note_failure(dial, "server does not support SSL, but SSL was required", false);
        stop_attempt(dial);
        start_timer(dial, 1);
    } else {
        tls_failed(dial, got == 1 ? "received invalid response to SSL negotiation"
                                  : "the server closed the connection during SSL negotiation");
    }
}

/* The socket is empty, so that eight bytes go at once or not at all. */
static void ask_for_tls(pk_connect *dial)
{
    static const char request[] = {0, 0, 0, 8, 0x04, (char)0xd2, 0x16, 0x2f};
    dial->phase = ASKING;
    if (send(dial->watch.fd, request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request ||
        !pk_watch_set(dial->poller, &dial->watch, PK_READABLE))
        attempt_failed(dial, errno);
}

/* ---- an attempt ---- */

/* There is a connection. True: there is nothing more to do, it can be taken. */
static bool connected(pk_connect *dial)
{
    pk_socket_tune(dial->watch.fd, here(dial));
    if (!wants_tls(dial))
        return true;
    if (pk_tls_is_direct(dial->tls))
        return begin_tls(dial);
    ask_for_tls(dial);
    return false;
}

static void on_ready(pk_watch *watch, unsigned events)
{
    pk_connect *dial = (pk_connect *)watch;
    int why = 0;
    socklen_t len = sizeof why;
    if (dial->phase == CONNECTING || (events & PK_FAILED)) {
        if (getsockopt(dial->watch.fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0)
            why = errno;
        if (why == 0 && (events & PK_FAILED))
            why = ECONNREFUSED;
    }
    if (why != 0)
        attempt_failed(dial, why);
    else if (dial->phase == ASKING)
        read_answer(dial);
    else if (dial->phase == SHAKING ? shake_hands(dial) : connected(dial))
        succeed(dial);
}

static bool is_there(int fd)
{
    struct pollfd it = {.fd = fd, .events = POLLOUT};
    return poll(&it, 1, 0) == 1 && (it.revents & (POLLERR | POLLHUP)) == 0;
}

static int begin_connect(const pk_target *target, int fd, const pk_address *to)
{
    struct sockaddr_un path;
    pk_error dropped;
    const struct sockaddr *name = (const struct sockaddr *)to;
    socklen_t len = pk_address_len(to);
    if (to->family == AF_UNIX) {
        if (!pk_target_path(target, &path, &dropped))
            return ENAMETOOLONG;
        name = (const struct sockaddr *)&path;
        len = sizeof path;
    }
    if (connect(fd, name, len) == 0)
        return 0;
    const int why = errno;
    return why == EINPROGRESS && pk_address_is_local(to) && is_there(fd) ? 0 : why;
}

/* A descriptor, or -1; *why: 0 if it is connected, EINPROGRESS if it may be one day. */
static int open_socket(const pk_target *target, const pk_address *to, int *why)
{
    const int fd = socket(to->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *why = fd < 0 ? errno : begin_connect(target, fd, to);
    return fd;
}

/* The server's queue is full (connect(2) of Unix sockets): it is asked again, for a while. */
static bool may_wait(pk_connect *dial)
{
    const uint64_t now = pk_poller_now(dial->poller);
    if (dial->full_until == 0)
        dial->full_until = now + PATIENCE_MS;
    return now < dial->full_until;
}

/* To the next address. True: connected already. */
static bool begin_attempt(pk_connect *dial)
{
    const pk_address *to = &dial->addresses[dial->next++];
    int why;
    dial->watch.fd = open_socket(&dial->target, to, &why);
    if (dial->watch.fd < 0) {
        attempt_failed(dial, why);
        return false;
    }
    dial->phase = CONNECTING;
    if ((why != 0 || wants_tls(dial)) && dial->next < dial->count)
        start_timer(dial, PATIENCE_MS);
    if (why == 0)
        return connected(dial);
    if (why == EAGAIN && may_wait(dial)) {
        stop_attempt(dial);
        dial->next--;
        start_timer(dial, AGAIN_MS);
    } else if (why != EINPROGRESS) {
        attempt_failed(dial, why);
    } else if (!pk_watch_set(dial->poller, &dial->watch, PK_WRITABLE)) {
        attempt_failed(dial, errno);
    }
    return false;
}

static void try_next(pk_connect *dial)
{
    static const pk_connection none = {.fd = -1};
    if (dial->next == dial->count)
        answer(dial, &none);
    else if (begin_attempt(dial))
        succeed(dial);
}

static void on_timer(uv_timer_t *timer)
{
    pk_connect *dial = timer->data;
    if (dial->watch.fd >= 0)
        attempt_failed(dial, ETIMEDOUT);
    else
        try_next(dial);
}

static void on_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    pk_connect *dial = lookup->data;
    dial->looking_up = false;
    for (struct addrinfo *a = found; a != NULL && dial->count < ADDRESSES_MAX; a = a->ai_next)
        dial->addresses[dial->count++] = pk_address_of(a->ai_addr, a->ai_addrlen);
    uv_freeaddrinfo(found);
    if (dial->done == NULL) {
        release(dial);
        return;
    }
    if (dial->count == 0)
        note_failure(dial, status < 0 ? uv_strerror(status) : "the name has no address", false);
    try_next(dial);
}

static void look_up(pk_connect *dial)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    dial->lookup.data = dial;
    const int rc = uv_getaddrinfo(&dial->poller->uv, &dial->lookup, on_looked_up, dial->target.host,
                                  dial->target.port, &hints);
    dial->looking_up = rc == 0;
    if (rc == 0)
        return;
    note_failure(dial, uv_strerror(rc), false);
    start_timer(dial, 1);
}

/* What needs no waiting needs no state either: nearly every connection of a proxy that runs beside
 * its server. What fails here is tried again, and complained of, by the long way. */
static bool connect_at_once(const pk_connect_order *order, const pk_address *to,
                            pk_connection *made)
{
    int why;
    if (!pk_address_is_local(to) || (order->tls != NULL && to->family != AF_UNIX))
        return false;
    *made = (pk_connection){.to = *to};
    made->fd = open_socket(order->target, to, &why);
    if (made->fd >= 0 && why == 0) {
        pk_socket_tune(made->fd, to);
        return true;
    }
    if (made->fd >= 0)
        (void)close(made->fd);
    return false;
}

pk_connect *pk_connect_start(pk_poller *poller, const pk_connect_order *order,
                             pk_connect_done *done, void *ctx, pk_connection *made)
{
    pk_address only;
    const bool known = order->exact != NULL || pk_target_is_address(order->target, &only);
    if (order->exact != NULL)
        only = *order->exact;
    if (known && connect_at_once(order, &only, made))
        return NULL;
    pk_connect *dial = pk_new(pk_connect);
    dial->watch = (pk_watch){.ready = on_ready, .fd = -1};
    dial->grave.free = free_dial;
    dial->poller = poller;
    dial->done = done;
    dial->ctx = ctx;
    dial->plain_at = ADDRESSES_MAX;
    dial->target = *order->target;
    dial->tls = order->tls == NULL ? NULL : pk_tls_ref(order->tls);
    if (!known) {
        look_up(dial);
        return dial;
    }
    dial->addresses[0] = only;
    dial->count = 1;
    if (!begin_attempt(dial))
        return dial;
    *made = take(dial);
    retire(dial);
    return NULL;
}
