/*
 * The first loop runs on the caller's thread and does what there is once: it accepts, hears
 * signals, and counts the others in at the end. A connection goes to the loop with the fewest
 * sessions and stays there: PostgreSQL's connections live long, so what SO_REUSEPORT would spread
 * at random stayed uneven (wire-protocol 8.2).
 *
 * SIGTERM: stop listening; a session leaves as soon as it is idle outside a transaction; after
 * proxy.drain_timeout, or at a second signal, all do. It ends when the last one is gone.
 */
#include "proxy/server.h"

#include "base/log.h"
#include "proxy/cancel.h"
#include "proxy/listen.h"
#include "proxy/reload.h"
#include "proxy/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define TICK_MS        1000u
#define ACCEPT_PAUSE   100u /* after descriptors ran out */
#define ACCEPT_TURNS   64
#define FORCED_END_MS  2000u
#define RESERVED_FILES 64u

struct pk_server {
    pk_hub hub;
    size_t thread_count;
    pk_listeners listeners;
    pk_reload *reload;
    pk_config *config; /* the one we were started with */
    pk_settings *settings;
    uv_timer_t timer;
    uv_signal_t signals[4];
    uint64_t file_limit; /* descriptors of the process */
    uint64_t drain_until, forced_until;
    bool accept_paused, handles_open, draining;
};

static pk_loop *first(const pk_server *server)
{
    return server->hub.loops[0];
}

static uint64_t now(const pk_server *server)
{
    return pk_poller_now(pk_loop_poller(first(server)));
}

/* ---- accepting ---- */

static void on_tick(uv_timer_t *timer);

static bool pause_accepting(pk_server *server, bool pause)
{
    bool ok = true;
    server->accept_paused = pause;
    for (size_t i = 0; i < server->listeners.count; i++) {
        pk_watch *watch = &server->listeners.list[i].watch;
        if (watch->fd >= 0)
            ok = pk_watch_set(pk_loop_poller(first(server)), watch, pause ? 0 : PK_READABLE) && ok;
    }
    return ok;
}

/* The kernel lacks something, or the reserve of descriptors is reached: make room among those that
 * have not logged in, and wait a moment. The listener would be ready again at once. */
static void rest(pk_server *server, const char *why)
{
    const bool closed = pk_loop_make_room(first(server));
    pk_log_warning("%s: accepting is paused%s", why,
                   closed ? ", the oldest connection without login was closed" : "");
    (void)pause_accepting(server, true);
    (void)uv_timer_start(&server->timer, on_tick, ACCEPT_PAUSE, TICK_MS);
}

/* Descriptors are numbered from below. Those who log in will want a backend each, and the engine
 * has files to open. */
static bool is_reserved(const pk_server *server, int fd)
{
    return server->file_limit > RESERVED_FILES &&
           (uint64_t)fd + atomic_load(&server->hub.logging_in) >=
               server->file_limit - RESERVED_FILES;
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

/* Of equals the first: its own connections need no letter. */
static pk_loop *least_loaded(pk_server *server)
{
    pk_loop *best = first(server);
    for (size_t i = 1; i < server->hub.loop_count; i++)
        if (atomic_load(&server->hub.loops[i]->load) < atomic_load(&best->load))
            best = server->hub.loops[i];
    return best;
}

static void place(pk_server *server, int fd, const pk_address *peer)
{
    pk_loop *loop = least_loaded(server);
    atomic_fetch_add(&loop->load, 1);
    if (loop == first(server))
        pk_session_accept(loop, fd, peer);
    else
        pk_loop_take(loop, fd, peer);
}

static void on_connection(pk_watch *watch, unsigned events)
{
    pk_listener *l = (pk_listener *)watch;
    pk_server *server = l->ctx;
    if (events & PK_FAILED) {
        rest(server, "a listening socket failed");
        return;
    }
    for (int i = 0; i < ACCEPT_TURNS; i++) {
        struct sockaddr_storage name;
        socklen_t len = sizeof name;
        const int fd =
            accept4(watch->fd, (struct sockaddr *)&name, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && is_reserved(server, fd) && !pk_loop_make_room(first(server))) {
            pk_session_turn_away(&server->hub, fd, "too many connections");
            continue;
        }
        if (fd >= 0) {
            const pk_address peer = pk_address_of((const struct sockaddr *)&name, len);
            place(server, fd, &peer);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (!is_of_connection(errno)) {
            rest(server, pk_errno_text(errno));
            return;
        }
    }
}

/* Also before there is a loop: then nothing is watched yet. */
static void stop_listening(pk_server *server)
{
    pk_listen_close(&server->listeners,
                    first(server) == NULL ? NULL : pk_loop_poller(first(server)));
}

/* ---- the end ---- */

static void end_if_over(pk_server *server)
{
    size_t left = 0;
    for (size_t i = 0; i < server->hub.loop_count; i++)
        left += atomic_load(&server->hub.loops[i]->load);
    const bool late = server->forced_until != 0 && now(server) >= server->forced_until;
    if (server->draining && (left == 0 || late))
        pk_poller_stop(pk_loop_poller(first(server)));
}

static void open_end(pk_loop *loop, void *server)
{
    (void)loop;
    end_if_over(server);
}

/* On any loop. */
static void loop_is_empty(void *ctx)
{
    static const pk_letter_kind kind = {open_end, NULL};
    pk_server *server = ctx;
    pk_post_send(first(server)->post, &kind, server);
}

static void drain(pk_server *server, bool force)
{
    server->draining = true;
    stop_listening(server);
    for (size_t i = 0; i < server->hub.loop_count; i++)
        pk_loop_drain(server->hub.loops[i], force);
}

static void force_end(pk_server *server, const char *why)
{
    if (server->forced_until != 0)
        return;
    pk_log_info("%s: closing %zu sessions", why, atomic_load(&server->hub.sessions));
    server->forced_until = now(server) + FORCED_END_MS;
    drain(server, true);
    (void)uv_timer_start(&server->timer, on_tick, ACCEPT_PAUSE, ACCEPT_PAUSE);
}

static void on_tick(uv_timer_t *timer)
{
    pk_server *server = timer->data;
    if (server->accept_paused)
        (void)pause_accepting(server, false);
    if (server->draining && now(server) >= server->drain_until)
        force_end(server, "proxy.drain_timeout is over");
    pk_reload_tick(server->reload);
    end_if_over(server);
}

static void on_signal(uv_signal_t *handle, int number)
{
    pk_server *server = handle->data;
    if (number == SIGHUP) {
        pk_reload_all(server->reload);
    } else if (server->draining || number != SIGTERM) {
        force_end(server, server->draining ? "told again to end" : "interrupted");
    } else {
        pk_log_info("told to end: waiting for %zu sessions", atomic_load(&server->hub.sessions));
        server->drain_until = now(server) + server->settings->drain_timeout_ms;
        pk_engine_drain(server->hub.engine);
        drain(server, false);
    }
}

/* ---- reload ---- */

static void apply(void *ctx, pk_settings *settings)
{
    pk_server *server = ctx;
    pk_settings_unref(server->settings);
    server->settings = pk_settings_ref(settings);
    pk_limits_set(server->hub.limits, settings->limits);
    for (size_t i = 0; i < server->hub.loop_count; i++)
        pk_loop_apply(server->hub.loops[i], settings);
}

/* ---- the whole ---- */

static void raise_file_limit(pk_server *server)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    server->file_limit = limit.rlim_cur;
    atomic_store(&server->hub.logging_in_room, limit.rlim_cur / 4);
    if (limit.rlim_cur > RESERVED_FILES)
        pk_log_debug("room for %llu sessions",
                     (unsigned long long)(limit.rlim_cur - RESERVED_FILES) / 2);
}

static size_t wanted_loops(const pk_config *config)
{
    size_t count = pk_config_number(config, PK_OPT_PROXY_THREADS);
    if (count == 0)
        count = uv_available_parallelism();
    return count > PK_LOOPS_MAX ? PK_LOOPS_MAX : count;
}

static bool socket_mode(const pk_config *config, mode_t *mode, pk_error *err)
{
    const char *text = pk_config_text(config, PK_OPT_PROXY_SOCKET_PERMISSIONS);
    char *end = NULL;
    const unsigned long value = strtoul(text, &end, 8);
    *mode = (mode_t)value;
    if (text[0] >= '0' && text[0] <= '7' && *end == 0 && value <= 0777)
        return true;
    return pk_fail(err, PK_E_PARAMETER,
                   "invalid value \"%s\" of setting \"proxy.unix_socket_permissions\": must be "
                   "octal, like 0770",
                   text);
}

pk_server *pk_server_open(pk_config *config, pk_error *err)
{
    mode_t mode;
    PK_AUTO_PTR(pk_server_close) pk_server *server = pk_new(pk_server);
    server->config = config;
    server->hub.limits = pk_limits_new();
    server->hub.cancels = pk_cancel_table_new();
    server->hub.loop_is_empty = loop_is_empty;
    server->hub.ctx = server;
    server->settings = pk_settings_new(config, config, err);
    if (server->settings == NULL || !socket_mode(config, &mode, err) ||
        !pk_listen(&server->listeners, pk_config_text(config, PK_OPT_PROXY_LISTEN), mode, err))
        return NULL;
    pk_limits_set(server->hub.limits, server->settings->limits);
    const size_t count = wanted_loops(config);
    while (server->hub.loop_count < count) {
        pk_loop *loop = pk_loop_open(&server->hub, server->settings, err);
        if (loop == NULL)
            return NULL;
        server->hub.loops[server->hub.loop_count++] = loop;
    }
    return pk_steal(&server);
}

static void *run_loop(void *loop)
{
    pk_loop_run(loop);
    return NULL;
}

/* Signals belong to the first thread. */
static bool start_threads(pk_server *server, pk_error *err)
{
    sigset_t all, before;
    int failed = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 1; i < server->hub.loop_count && failed == 0; i++) {
        failed =
            pthread_create(&server->hub.loops[i]->thread, NULL, run_loop, server->hub.loops[i]);
        server->thread_count += failed == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0 || pk_fail(err, PK_E_SYSTEM, "could not start an event loop's thread: %s",
                                  pk_errno_text(failed));
}

static void watch_signals(pk_server *server)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    uv_loop_t *uv = &pk_loop_poller(first(server))->uv;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN); /* where it reopens logs elsewhere it does no harm here */
    for (size_t i = 0; i < PK_COUNT(numbers); i++) {
        (void)uv_signal_init(uv, &server->signals[i]);
        server->signals[i].data = server;
        (void)uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
    (void)uv_timer_init(uv, &server->timer);
    server->timer.data = server;
    (void)uv_timer_start(&server->timer, on_tick, TICK_MS, TICK_MS);
    server->handles_open = true;
}

static bool start(pk_server *server, const pk_server_reload *reload, pk_error *err)
{
    raise_file_limit(server);
    watch_signals(server);
    server->reload = pk_reload_open(&pk_loop_poller(first(server))->uv, server->config,
                                    server->settings, reload, apply, server);
    for (size_t i = 0; i < server->listeners.count; i++) {
        pk_listener *l = &server->listeners.list[i];
        l->watch.ready = on_connection;
        l->ctx = server;
        server->hub.listening[server->hub.listening_count++] = l->at;
    }
    if (!start_threads(server, err))
        return false;
    pk_listen_announce(&server->listeners);
    return pause_accepting(server, false) ||
           pk_fail(err, PK_E_SYSTEM, "could not watch a socket: %s", pk_errno_text(errno));
}

static void stop_threads(pk_server *server)
{
    for (size_t i = 1; i <= server->thread_count; i++)
        pk_loop_stop(server->hub.loops[i]);
    for (size_t i = 1; i <= server->thread_count; i++)
        (void)pthread_join(server->hub.loops[i]->thread, NULL);
    server->thread_count = 0;
}

bool pk_server_run(pk_server *server, pk_engine *engine, const pk_server_reload *reload,
                   pk_error *err)
{
    server->hub.engine = engine;
    const bool started = start(server, reload, err);
    if (started)
        pk_loop_run(first(server));
    stop_threads(server);
    if (started)
        pk_log_info("ended");
    return started;
}

void pk_server_close(pk_server *server)
{
    if (server == NULL)
        return;
    stop_listening(server);
    for (size_t i = 0; server->handles_open && i < PK_COUNT(server->signals); i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    if (server->handles_open)
        uv_close((uv_handle_t *)&server->timer, NULL);
    pk_reload_close(server->reload);
    for (size_t i = server->hub.loop_count; i > 0; i--)
        pk_loop_close(server->hub.loops[i - 1]);
    pk_settings_unref(server->settings);
    pk_limits_free(server->hub.limits);
    pk_cancel_table_free(server->hub.cancels);
    pk_config_free(server->config);
    pk_free(server);
}
