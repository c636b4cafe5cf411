/*
 * Orders come as letters, so that every one of them is obeyed on the loop's own thread; the timer
 * looks after deadlines once a second.
 */
#include "proxy/loop.h"

#include "proxy/intercept.h"
#include "proxy/session.h"

#include <unistd.h>

#define TICK_MS 1000u

/* ---- letters ---- */

typedef struct arrival {
    int fd;
    pk_address peer;
} arrival;

static void open_arrival(pk_loop *loop, void *what)
{
    const arrival *it = what;
    pk_session_accept(loop, it->fd, &it->peer);
    pk_free(what);
}

static void discard_arrival(void *what)
{
    const arrival *it = what;
    (void)close(it->fd);
    pk_free(what);
}

void pk_loop_take(pk_loop *loop, int fd, const pk_address *peer)
{
    static const pk_letter_kind kind = {open_arrival, discard_arrival};
    arrival *it = pk_new(arrival);
    *it = (arrival){fd, *peer};
    pk_post_send(loop->post, &kind, it);
}

static void open_settings(pk_loop *loop, void *what)
{
    pk_settings_unref(loop->settings);
    loop->settings = what;
}

static void discard_settings(void *what)
{
    pk_settings_unref(what);
}

void pk_loop_apply(pk_loop *loop, pk_settings *settings)
{
    static const pk_letter_kind kind = {open_settings, discard_settings};
    pk_post_send(loop->post, &kind, pk_settings_ref(settings));
}

static void say_if_empty(pk_loop *loop)
{
    if (loop->session_count == 0)
        loop->hub->loop_is_empty(loop->hub->ctx);
}

static void open_drain(pk_loop *loop, void *what)
{
    (void)what;
    loop->draining = true;
    pk_session_drain_all(loop, false);
    say_if_empty(loop);
}

static void open_force(pk_loop *loop, void *what)
{
    (void)what;
    loop->draining = true;
    pk_session_drain_all(loop, true);
    say_if_empty(loop);
}

void pk_loop_drain(pk_loop *loop, bool force)
{
    static const pk_letter_kind kinds[] = {{open_drain, NULL}, {open_force, NULL}};
    pk_post_send(loop->post, &kinds[force], NULL);
}

static void open_close_oldest(pk_loop *loop, void *what)
{
    (void)what;
    (void)pk_session_close_oldest(loop);
}

bool pk_loop_make_room(pk_loop *loop)
{
    static const pk_letter_kind kind = {open_close_oldest, NULL};
    const pk_hub *hub = loop->hub;
    if (pk_session_close_oldest(loop))
        return true;
    for (size_t i = 0; i < hub->loop_count; i++)
        if (atomic_load(&hub->loops[i]->silent) > 0) {
            pk_post_send(hub->loops[i]->post, &kind, NULL);
            return true;
        }
    return false;
}

static void open_stop(pk_loop *loop, void *what)
{
    (void)what;
    pk_poller_stop(pk_loop_poller(loop));
}

void pk_loop_stop(pk_loop *loop)
{
    static const pk_letter_kind kind = {open_stop, NULL};
    pk_post_send(loop->post, &kind, NULL);
}

/* ---- life ---- */

static void on_tick(uv_timer_t *timer)
{
    pk_session_tick(timer->data);
}

pk_loop *pk_loop_open(pk_hub *hub, pk_settings *settings, pk_error *err)
{
    pk_loop *loop = pk_new(pk_loop);
    uv_loop_t *uv = &pk_loop_poller(loop)->uv;
    loop->hub = hub;
    loop->number = hub->loop_count + 1;
    if (!pk_poller_open(pk_loop_poller(loop), err)) {
        pk_free(loop);
        return NULL;
    }
    loop->post = pk_post_open(uv, loop, pk_intercept_done, err);
    if (loop->post == NULL) {
        pk_poller_close(pk_loop_poller(loop));
        pk_free(loop);
        return NULL;
    }
    loop->settings = pk_settings_ref(settings);
    (void)uv_timer_init(uv, &loop->timer);
    loop->timer.data = loop;
    (void)uv_timer_start(&loop->timer, on_tick, TICK_MS, TICK_MS);
    return loop;
}

void pk_loop_run(pk_loop *loop)
{
    pk_poller_run(pk_loop_poller(loop));
    pk_session_abort_all(loop);
}

void pk_loop_close(pk_loop *loop)
{
    if (loop == NULL)
        return;
    pk_post_close(loop->post);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    pk_poller_close(pk_loop_poller(loop));
    pk_settings_unref(loop->settings);
    pk_free(loop);
}
