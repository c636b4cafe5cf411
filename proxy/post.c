/*
 * A queue and a uv_async. libuv merges wake-ups, so every wake-up empties the queue.
 */
#include "proxy/post.h"

#include "base/queue.h"

struct pk_post {
    uv_async_t async;
    pk_queue *queue;
    void (*deliver)(void *ctx, pk_request *request);
    void *ctx;
};

static void on_wake_up(uv_async_t *async)
{
    pk_post *post = async->data;
    pk_request *request;
    while ((request = pk_queue_try_take(post->queue)) != NULL)
        post->deliver(post->ctx, request);
}

pk_post *pk_post_open(uv_loop_t *loop, void (*deliver)(void *ctx, pk_request *request), void *ctx,
                      pk_error *err)
{
    pk_post *post = pk_new(pk_post);
    int rc = uv_async_init(loop, &post->async, on_wake_up);
    if (rc < 0) {
        pk_free(post);
        (void)pk_fail(err, PK_E_SYSTEM, "could not make a wake-up: %s", uv_strerror(rc));
        return NULL;
    }
    post->async.data = post;
    post->queue = pk_queue_new(0);
    post->deliver = deliver;
    post->ctx = ctx;
    return post;
}

void pk_post_request(void *post, pk_request *request)
{
    pk_post *to = post;
    if (!pk_queue_post(to->queue, request)) /* no limit, closed only after the last worker */
        pk_request_free(request);
    else
        (void)uv_async_send(&to->async);
}

static void on_closed(uv_handle_t *handle)
{
    pk_post *post = handle->data;
    pk_queue_free(post->queue);
    pk_free(post);
}

void pk_post_close(pk_post *post)
{
    if (post == NULL)
        return;
    pk_request *request;
    pk_queue_close(post->queue);
    while ((request = pk_queue_try_take(post->queue)) != NULL)
        pk_request_free(request);
    uv_close((uv_handle_t *)&post->async, on_closed);
}
