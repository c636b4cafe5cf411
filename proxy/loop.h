/*
 * One event loop and its thread: the sessions that live on it, the block they read into, the post
 * they get from other threads. A session stays on the loop that it came to. Beside it, what all
 * loops share: numbers, counts, cancel keys, the engine.
 *
 * Everything of a loop is touched by its own thread only, but for what says otherwise.
 */
#ifndef PK_PROXY_LOOP_H
#define PK_PROXY_LOOP_H

#include "engine/engine.h"
#include "proxy/address.h"
#include "proxy/post.h"
#include "proxy/settings.h"
#include "proxy/stream.h"

#include <pthread.h>

#define PK_LISTENERS_MAX 16u
#define PK_LOOPS_MAX     64u

typedef struct pk_session pk_session;
typedef struct pk_cancel_table pk_cancel_table;

/* Shared by all loops; made before the first and gone after the last. */
typedef struct pk_hub {
    pk_loop *loops[PK_LOOPS_MAX]; /* the first is the server's own */
    size_t loop_count;
    pk_engine *engine;
    pk_limits *limits;
    pk_cancel_table *cancels;
    pk_address listening[PK_LISTENERS_MAX];
    size_t listening_count;
    atomic_uint_fast64_t last_session, last_request; /* numbers given so far */
    atomic_uint_fast64_t turned_away_at;             /* when a warning was last written */
    atomic_size_t sessions;
    atomic_size_t logging_in;      /* of them, have not logged in */
    atomic_size_t logging_in_room; /* that many may, for the sake of descriptors; 0: not known */
    /* Called on the loop whose last session went while draining. */
    void (*loop_is_empty)(void *ctx);
    void *ctx;
} pk_hub;

static inline uint64_t pk_hub_next_request(pk_hub *hub)
{
    return atomic_fetch_add(&hub->last_request, 1) + 1;
}

struct pk_loop {
    pk_stream_loop streams;
    pk_hub *hub;
    size_t number; /* from 1, the server's own */
    pk_post *post;
    uv_timer_t timer;
    pthread_t thread;
    pk_settings *settings; /* for sessions that begin now */

    pk_session *sessions;
    size_t session_count;
    atomic_size_t load;         /* sessions here or on their way here; any thread */
    atomic_size_t silent;       /* sessions here that have not said who they are; any thread */
    uint64_t cancel_dropped_at; /* when the last warning about too many of them was written */
    unsigned cancels;           /* being forwarded */
    bool draining;              /* sessions leave as soon as they are idle */
};

static inline pk_poller *pk_loop_poller(pk_loop *loop)
{
    return &loop->streams.poller;
}

/* Takes a reference to the settings. */
pk_loop *pk_loop_open(pk_hub *hub, pk_settings *settings, pk_error *err) PK_MUST_USE;
/* Serves on this thread until told to stop; its sessions are gone then. */
void pk_loop_run(pk_loop *loop);
/* After run, when nobody posts any more; any thread. */
void pk_loop_close(pk_loop *loop);

/* Any thread. */
/* A connection, which the loop takes, whatever happens. */
void pk_loop_take(pk_loop *loop, int fd, const pk_address *peer);
/* Takes a reference. */
void pk_loop_apply(pk_loop *loop, pk_settings *settings);
/* Sessions leave when they are idle; `force`: now. */
void pk_loop_drain(pk_loop *loop, bool force);
/* Makes room for somebody who comes to this loop, on its thread: the oldest that has said nothing
 * yet goes, at once here or a moment later on another loop. False: there is none anywhere. */
bool pk_loop_make_room(pk_loop *loop);
void pk_loop_stop(pk_loop *loop);

#endif
