/*
 * The way into a loop from other threads: a letter is posted from any thread and opened on the
 * loop. Finished requests of the engine, new connections, orders of the server come this way. Stays
 * usable until it is closed, also while the loop does not run.
 */
#ifndef PK_PROXY_POST_H
#define PK_PROXY_POST_H

#include "engine/request.h"

#include <uv.h>

typedef struct pk_loop pk_loop;
typedef struct pk_post pk_post;

/* Two ways for `what` to end: opened on the loop, or thrown away when the post is closed. */
typedef struct pk_letter_kind {
    void (*open)(pk_loop *loop, void *what);
    void (*discard)(void *what);
} pk_letter_kind;

/* Finished requests go to `deliver`, which takes them over. NULL when libuv has no descriptor left.
 */
pk_post *pk_post_open(uv_loop_t *uv, pk_loop *loop,
                      void (*deliver)(pk_loop *loop, pk_request *request),
                      pk_error *err) PK_MUST_USE;
/* Any thread. `what` may be NULL; `kind` lives as long as the program. */
void pk_post_send(pk_post *post, const pk_letter_kind *kind, void *what);
/* Takes the request; any thread. Has the shape of pk_request's `done`. */
void pk_post_request(void *post, pk_request *request);
/* Nobody may post any more. What was not opened is discarded; the rest goes in a later turn of the
 * loop. */
void pk_post_close(pk_post *post);

#endif
