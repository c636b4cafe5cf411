/*
 * One loop for now: listeners, signals and the timer hang off it, sessions off its pk_loop. Sockets
 * are made, bound and polled by hand, because libuv's own listeners know no SO_REUSEPORT and hand
 * out streams instead of descriptors.
 *
 * SIGTERM: stop listening; a session leaves as soon as it is idle outside a transaction; after
 * proxy.drain_timeout, or at a second signal, all do. The loop ends when the last one is gone.
 */
#include "proxy/server.h"

#include "base/log.h"
#include "proxy/intercept.h"
#include "proxy/session.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define BACKLOG        4096
#define TICK_MS        1000u
#define ACCEPT_PAUSE   100u /* after descriptors ran out */
#define ACCEPT_TURNS   64
#define FORCED_END_MS  2000u
#define RESERVED_FILES 64u

typedef struct listener {
    uv_poll_t poll;
    int fd;
    bool open;
} listener;

struct pk_server {
    pk_loop loop; /* first: session_gone gets a pk_loop and wants the server */
    listener listeners[PK_LISTENERS_MAX];
    size_t listener_count;
    uv_timer_t timer;
    uv_signal_t on_term, on_int;
    uint64_t file_limit; /* descriptors of the process */
    uint64_t drain_ms, drain_until, forced_until;
    bool accept_paused, signals_open;
};

/* ---- listening ---- */

static void note_address(pk_server *server, int fd)
{
    pk_peer_address at = {.len = sizeof at.address};
    char host[64] = "?";
    char port[16] = "?";
    (void)getsockname(fd, (struct sockaddr *)&at.address, &at.len);
    server->loop.listening[server->loop.listening_count++] = at;
    (void)getnameinfo((struct sockaddr *)&at.address, at.len, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = at.address.ss_family == AF_INET6;
    pk_log_info("listening on %s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* The descriptor, or -1 with errno. */
static int bind_address(const struct addrinfo *a)
{
    const int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

static bool listen_at(pk_server *server, const char *where, pk_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    pk_target target;
    int why = 0;
    if (!pk_target_parse(where, "6543", &target, err))
        return false;
    /* Before the loop runs, so it may wait for a name server. */
    int rc = getaddrinfo(target.host, target.port, &hints, &found);
    if (rc != 0)
        return pk_fail(err, PK_E_SYSTEM, "could not look up \"%s\": %s", target.host,
                       gai_strerror(rc));
    for (struct addrinfo *a = found; a != NULL && server->listener_count < PK_LISTENERS_MAX;
         a = a->ai_next) {
        int fd = bind_address(a);
        if (fd < 0) {
            why = errno;
            continue;
        }
        server->listeners[server->listener_count++] = (listener){.fd = fd};
    }
    freeaddrinfo(found);
    if (server->listener_count > 0)
        return true;
    (void)pk_fail(err, PK_E_SYSTEM, "could not listen on %s: %s", where, uv_strerror(-why));
    return pk_error_hint(err, why == EADDRINUSE
                                  ? "Is another pgkeep or PostgreSQL running there? Choose another "
                                    "address with --listen."
                                  : "--listen takes ADDRESS:PORT of this host; *:PORT means all of "
                                    "its addresses.");
}

static void stop_listening(pk_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        listener *l = &server->listeners[i];
        if (l->open)
            uv_close((uv_handle_t *)&l->poll, NULL);
        if (l->fd >= 0)
            (void)close(l->fd);
        l->open = false;
        l->fd = -1;
    }
}

static void on_tick(uv_timer_t *timer);
static void on_connection(uv_poll_t *poll, int status, int events);

static void pause_accepting(pk_server *server, bool pause)
{
    server->accept_paused = pause;
    for (size_t i = 0; i < server->listener_count; i++) {
        listener *l = &server->listeners[i];
        if (l->open && pause)
            (void)uv_poll_stop(&l->poll);
        else if (l->open)
            (void)uv_poll_start(&l->poll, UV_READABLE, on_connection);
    }
}

/* The kernel lacks something, or the reserve of descriptors is reached: make room among those that
 * have not logged in, and wait a moment. The listener would be ready again at once. */
static void rest(pk_server *server, const char *why)
{
    bool closed = pk_session_close_oldest(&server->loop);
    pk_log_warning("%s: accepting is paused%s", why,
                   closed ? ", the oldest connection without login was closed" : "");
    pause_accepting(server, true);
    (void)uv_timer_start(&server->timer, on_tick, ACCEPT_PAUSE, TICK_MS);
}

/* Descriptors are numbered from below. Those who log in will want a backend each, and the engine
 * has files to open. */
static bool is_reserved(const pk_server *server, int fd)
{
    return server->file_limit > RESERVED_FILES &&
           (uint64_t)fd + server->loop.logging_in >= server->file_limit - RESERVED_FILES;
}

/* accept(2): these are about the one connection that was to be taken. */
static bool is_of_connection(int why)
{
    switch (why) {
    case ECONNABORTED:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM: /* a firewall */
        return true;
    default:
        return false;
    }
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    pk_server *server = poll->data;
    listener *l = (listener *)poll; /* its first member */
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_TURNS; i++) {
        pk_peer_address peer = {.len = sizeof peer.address};
        int fd = accept4(l->fd, (struct sockaddr *)&peer.address, &peer.len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && is_reserved(server, fd) && !pk_session_close_oldest(&server->loop)) {
            pk_session_turn_away(&server->loop, fd, "too many connections");
            continue;
        }
        if (fd >= 0) {
            pk_session_accept(&server->loop, fd, &peer);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (!is_of_connection(errno)) {
            rest(server, uv_strerror(-errno));
            return;
        }
    }
}

/* ---- the end ---- */

static void end_loop_if_over(pk_server *server)
{
    bool late = server->forced_until != 0 && uv_now(&server->loop.uv) >= server->forced_until;
    if (server->loop.draining && (server->loop.session_count == 0 || late))
        uv_stop(&server->loop.uv);
}

static void on_session_gone(pk_loop *loop)
{
    end_loop_if_over((pk_server *)loop);
}

static void force_end(pk_server *server, const char *why)
{
    if (server->forced_until != 0)
        return;
    pk_log_info("%s: closing %zu sessions", why, server->loop.session_count);
    server->forced_until = uv_now(&server->loop.uv) + FORCED_END_MS;
    pk_session_drain_all(&server->loop, true);
    (void)uv_timer_start(&server->timer, on_tick, ACCEPT_PAUSE, ACCEPT_PAUSE);
}

static void on_tick(uv_timer_t *timer)
{
    pk_server *server = timer->data;
    if (server->accept_paused)
        pause_accepting(server, false);
    pk_session_tick(&server->loop);
    if (server->loop.draining && uv_now(&server->loop.uv) >= server->drain_until)
        force_end(server, "proxy.drain_timeout is over");
    end_loop_if_over(server);
}

static void on_signal(uv_signal_t *handle, int number)
{
    pk_server *server = handle->data;
    if (server->loop.draining || number == SIGINT) {
        server->loop.draining = true;
        stop_listening(server);
        server->drain_until = 0;
        force_end(server, number == SIGINT ? "interrupted" : "told again to end");
    } else {
        pk_log_info("told to end: waiting for %zu sessions", server->loop.session_count);
        server->loop.draining = true;
        server->drain_until = uv_now(&server->loop.uv) + server->drain_ms;
        stop_listening(server);
        pk_engine_drain(server->loop.engine);
        pk_session_drain_all(&server->loop, false);
    }
    end_loop_if_over(server);
}

/* ---- the whole ---- */

static void raise_file_limit(pk_server *server)
{
    struct rlimit limit;
    server->loop.logging_in_max = PK_UNAUTHENTICATED_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    server->file_limit = limit.rlim_cur;
    if (limit.rlim_cur / 4 < PK_UNAUTHENTICATED_MAX)
        server->loop.logging_in_max = (size_t)limit.rlim_cur / 4;
    if (limit.rlim_cur > RESERVED_FILES)
        pk_log_debug("room for %llu sessions",
                     (unsigned long long)(limit.rlim_cur - RESERVED_FILES) / 2);
}

static void deliver(void *ctx, pk_request *request)
{
    pk_intercept_done(ctx, request);
}

pk_server *pk_server_open(const pk_config *config, pk_error *err)
{
    PK_AUTO_PTR(pk_free) pk_server *server = pk_new(pk_server);
    if (!pk_target_parse(pk_config_text(config, PK_OPT_PROXY_BACKEND), "5432",
                         &server->loop.backend, err) ||
        !listen_at(server, pk_config_text(config, PK_OPT_PROXY_LISTEN), err))
        return NULL;
    int rc = uv_loop_init(&server->loop.uv);
    if (rc < 0) {
        stop_listening(server);
        (void)pk_fail(err, PK_E_SYSTEM, "could not make an event loop: %s", uv_strerror(rc));
        return NULL;
    }
    server->loop.block = pk_new(pk_stream_block);
    server->loop.session_gone = on_session_gone;
    server->loop.login_timeout_ms =
        (uint64_t)pk_config_seconds(config, PK_OPT_PROXY_LOGIN_TIMEOUT) * 1000;
    server->drain_ms = (uint64_t)pk_config_seconds(config, PK_OPT_PROXY_DRAIN_TIMEOUT) * 1000;
    return pk_steal(&server);
}

static void watch_signal(pk_server *server, uv_signal_t *handle, int number)
{
    (void)uv_signal_init(&server->loop.uv, handle);
    handle->data = server;
    (void)uv_signal_start(handle, on_signal, number);
}

static bool start(pk_server *server, pk_error *err)
{
    uv_loop_t *uv = &server->loop.uv;
    raise_file_limit(server);
    (void)signal(SIGPIPE, SIG_IGN);
    server->loop.post = pk_post_open(uv, deliver, &server->loop, err);
    if (server->loop.post == NULL)
        return false;
    watch_signal(server, &server->on_term, SIGTERM);
    watch_signal(server, &server->on_int, SIGINT);
    (void)uv_timer_init(uv, &server->timer);
    server->timer.data = server;
    (void)uv_timer_start(&server->timer, on_tick, TICK_MS, TICK_MS);
    server->signals_open = true;
    for (size_t i = 0; i < server->listener_count; i++) {
        listener *l = &server->listeners[i];
        int rc = uv_poll_init(uv, &l->poll, l->fd);
        if (rc < 0)
            return pk_fail(err, PK_E_SYSTEM, "could not watch a socket: %s", uv_strerror(rc));
        l->open = true;
        l->poll.data = server;
        note_address(server, l->fd);
    }
    pause_accepting(server, false);
    return true;
}

bool pk_server_run(pk_server *server, pk_engine *engine, pk_error *err)
{
    server->loop.engine = engine;
    if (!start(server, err))
        return false;
    (void)uv_run(&server->loop.uv, UV_RUN_DEFAULT);
    pk_session_abort_all(&server->loop);
    pk_log_info("ended");
    return true;
}

void pk_server_close(pk_server *server)
{
    if (server == NULL)
        return;
    stop_listening(server);
    if (server->signals_open) {
        uv_close((uv_handle_t *)&server->on_term, NULL);
        uv_close((uv_handle_t *)&server->on_int, NULL);
        uv_close((uv_handle_t *)&server->timer, NULL);
    }
    pk_post_close(server->loop.post);
    while (uv_run(&server->loop.uv, UV_RUN_DEFAULT) != 0) {
    }
    (void)uv_loop_close(&server->loop.uv);
    pk_free(server->loop.block);
    pk_free(server);
}
