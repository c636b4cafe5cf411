/*
 * One thread's wait for everything: sockets by epoll, watched directly; timers, wake-ups, name
 * lookups and signals by libuv, whose own descriptor is one more that is watched (libuv's
 * documented way to be embedded). A socket costs one epoll_ctl in its life unless its owner changes
 * its mind, and a watch three words; uv_poll_t would cost five calls and 160 bytes
 * (docs/decisions/0009).
 *
 * What is closed in the middle of a round may still be looked at until its end: memory goes to the
 * poller (pk_poller_bury), which frees it between two rounds. The poller's own thread only. libuv
 * must have something to wait for, a timer at least: without it says that it cannot wait at all.
 */
#ifndef PK_PROXY_POLLER_H
#define PK_PROXY_POLLER_H

#include "base/error.h"

#include <sys/epoll.h>
#include <uv.h>

typedef enum pk_readiness {
    PK_READABLE = EPOLLIN,
    PK_WRITABLE = EPOLLOUT,
    PK_HUNG_UP = EPOLLRDHUP, /* the peer closed its side; bytes may be waiting */
    PK_FAILED = EPOLLERR,    /* never asked for, comes anyway; the watch is stopped then */
} pk_readiness;

typedef struct pk_watch pk_watch;
struct pk_watch {
    void (*ready)(pk_watch *watch, unsigned events);
    pk_watch *next_again; /* the poller's */
    int fd;               /* -1: none */
    uint16_t mask;        /* what epoll knows; 0: it does not know the descriptor */
    bool again;           /* in the list of those to be called although nothing happened */
};

/* First member of what is freed by pk_poller_bury. */
typedef struct pk_grave pk_grave;
struct pk_grave {
    pk_grave *next;
    void (*free)(pk_grave *grave);
};

typedef struct pk_poller {
    pk_watch uv_watch; /* first: its callback gets only this */
    uv_loop_t uv;
    pk_watch *again, *last_again;  /* a queue */
    size_t again_count, again_due; /* in the queue; of them, to be called in this round */
    pk_grave *graves;
    int fd;
    bool uv_due, stopped;
} pk_poller;

bool pk_poller_open(pk_poller *poller, pk_error *err) PK_MUST_USE;
/* Serves until pk_poller_stop. */
void pk_poller_run(pk_poller *poller);
/* Ends the round that runs, then pk_poller_run. */
void pk_poller_stop(pk_poller *poller);
/* Lets libuv close what is being closed, and frees. No watch may be open any more. */
void pk_poller_close(pk_poller *poller);

/* The time in ms of this round, from a clock that never goes back. */
uint64_t pk_poller_now(const pk_poller *poller);
void pk_poller_bury(pk_poller *poller, pk_grave *grave);

/* The watch is zeroed apart from `ready` and `fd`. Watched for `mask` from now on; 0: for nothing,
 * not even failure. False, with errno, when the kernel refuses. */
bool pk_watch_set(pk_poller *poller, pk_watch *watch, unsigned mask);
/* Calls `ready` with PK_READABLE after this round, whether anything happened or not: for bytes that
 * are already in the process. */
void pk_watch_again(pk_poller *poller, pk_watch *watch);
/* Closes the descriptor. */
void pk_watch_close(pk_poller *poller, pk_watch *watch);
/* Gives the descriptor away, unwatched: the caller has it now. */
int pk_watch_release(pk_poller *poller, pk_watch *watch);

#endif
