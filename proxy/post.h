/*
 * The bridge from the engine's workers to a loop: a finished request is posted from any thread and
 * handed to `deliver` on the loop. Stays usable until it is closed, also while the loop does not
 * run.
 */
#ifndef PK_PROXY_POST_H
#define PK_PROXY_POST_H

#include "engine/request.h"

#include <uv.h>

typedef struct pk_post pk_post;

/* `deliver` takes the request over. NULL when libuv has no descriptor left. */
pk_post *pk_post_open(uv_loop_t *loop, void (*deliver)(void *ctx, pk_request *request), void *ctx,
                      pk_error *err) PK_MUST_USE;
/* Takes the request; any thread. Has the shape of pk_request's `done`. */
void pk_post_request(void *post, pk_request *request);
/* No worker may post any more. Requests nobody fetched are freed; the rest goes in a later turn of
 * the loop. */
void pk_post_close(pk_post *post);

#endif
