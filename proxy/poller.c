/*
 * A round: wait, call who is ready, let libuv have its turn if it has something to do, call those
 * who asked to be called again, free what was closed.
 *
 * libuv tells how long it can wait (uv_backend_timeout) and has a descriptor that becomes readable
 * when something of its own happened. Handles that are made after the start are known to its own
 * epoll only once it ran; so it runs whenever it says that it cannot wait. It is asked once a
 * round, before the wait: what a callback gave it to do is seen in the next, which does not wait
 * then.
 */
#include "proxy/poller.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#define EVENTS_MAX 256

static void uv_is_ready(pk_watch *watch, unsigned events)
{
    pk_poller *poller = (pk_poller *)watch;
    (void)events;
    poller->uv_due = true;
}

bool pk_poller_open(pk_poller *poller, pk_error *err)
{
    *poller = (pk_poller){.fd = -1};
    int rc = uv_loop_init(&poller->uv);
    if (rc < 0)
        return pk_fail(err, PK_E_SYSTEM, "could not make an event loop: %s", uv_strerror(rc));
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    poller->uv_watch = (pk_watch){.ready = uv_is_ready, .fd = uv_backend_fd(&poller->uv)};
    if (poller->fd >= 0 && pk_watch_set(poller, &poller->uv_watch, PK_READABLE))
        return true;
    (void)pk_fail(err, PK_E_SYSTEM, "could not make an event loop: %s", pk_errno_text(errno));
    if (poller->fd >= 0)
        (void)close(poller->fd);
    (void)uv_loop_close(&poller->uv);
    return false;
}

static void call_ready(pk_poller *poller, int timeout)
{
    struct epoll_event events[EVENTS_MAX];
    const int count = epoll_wait(poller->fd, events, EVENTS_MAX, timeout);
    uv_update_time(&poller->uv);
    poller->uv_due = poller->uv_due || count == 0;
    for (int i = 0; i < count; i++) {
        pk_watch *watch = events[i].data.ptr;
        unsigned got = events[i].events;
        if (watch->fd < 0) /* closed in this round */
            continue;
        if (got & EPOLLHUP) /* nothing goes either way any more: who asks will find out */
            got |= watch->mask;
        if (got & EPOLLERR)
            (void)pk_watch_set(poller, watch, 0);
        watch->ready(watch, got);
    }
}

static void remove_again(pk_poller *poller, pk_watch *watch)
{
    pk_watch *before = NULL;
    size_t place = 0;
    if (!watch->again)
        return;
    for (pk_watch *at = poller->again; at != watch; at = at->next_again, place++)
        before = at;
    if (place < poller->again_due)
        poller->again_due--;
    if (before == NULL)
        poller->again = watch->next_again;
    else
        before->next_again = watch->next_again;
    if (poller->last_again == watch)
        poller->last_again = before;
    poller->again_count--;
    watch->again = false;
}

/* As many as there are now: who asks again meanwhile has his turn in the next round. */
static void call_again(pk_poller *poller)
{
    poller->again_due = poller->again_count;
    while (poller->again_due > 0) {
        pk_watch *watch = poller->again;
        remove_again(poller, watch);
        watch->ready(watch, PK_READABLE);
    }
}

static void free_buried(pk_poller *poller)
{
    while (poller->graves != NULL) {
        pk_grave *grave = poller->graves;
        poller->graves = grave->next;
        grave->free(grave);
    }
}

void pk_poller_run(pk_poller *poller)
{
    (void)uv_run(&poller->uv, UV_RUN_NOWAIT); /* its first handles are known to its epoll now */
    while (!poller->stopped) {
        const int patience = uv_backend_timeout(&poller->uv);
        call_ready(poller, poller->again != NULL ? 0 : patience);
        if (poller->uv_due || patience == 0)
            (void)uv_run(&poller->uv, UV_RUN_NOWAIT);
        poller->uv_due = false;
        if (poller->again != NULL)
            call_again(poller);
        if (poller->graves != NULL)
            free_buried(poller);
    }
}

void pk_poller_stop(pk_poller *poller)
{
    poller->stopped = true;
}

void pk_poller_close(pk_poller *poller)
{
    free_buried(poller);
    while (uv_run(&poller->uv, UV_RUN_DEFAULT) != 0)
        ;
    free_buried(poller);
    (void)close(poller->fd);
    int rc = uv_loop_close(&poller->uv);
    assert(rc == 0);
    (void)rc;
}

uint64_t pk_poller_now(const pk_poller *poller)
{
    return uv_now(&poller->uv);
}

void pk_poller_bury(pk_poller *poller, pk_grave *grave)
{
    grave->next = poller->graves;
    poller->graves = grave;
}

bool pk_watch_set(pk_poller *poller, pk_watch *watch, unsigned mask)
{
    if (mask == watch->mask)
        return true;
    struct epoll_event event = {.events = mask, .data.ptr = watch};
    const int op = mask == 0 ? EPOLL_CTL_DEL : watch->mask == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(poller->fd, op, watch->fd, &event) != 0)
        return false;
    watch->mask = (uint16_t)mask;
    return true;
}

void pk_watch_again(pk_poller *poller, pk_watch *watch)
{
    if (watch->again)
        return;
    watch->again = true;
    watch->next_again = NULL;
    if (poller->again == NULL)
        poller->again = watch;
    else
        poller->last_again->next_again = watch;
    poller->last_again = watch;
    poller->again_count++;
}

void pk_watch_close(pk_poller *poller, pk_watch *watch)
{
    if (watch->fd < 0)
        return;
    remove_again(poller, watch);
    (void)close(watch->fd); /* nobody else has it, so epoll forgets it, too */
    watch->fd = -1;
    watch->mask = 0;
}

int pk_watch_release(pk_poller *poller, pk_watch *watch)
{
    const int fd = watch->fd;
    remove_again(poller, watch);
    (void)pk_watch_set(poller, watch, 0);
    watch->fd = -1;
    return fd;
}
