/*
 * A queue and a uv_async. libuv merges wake-ups, so every wake-up empties the queue.
 */
#include "proxy/post.h"

#include "base/queue.h"

typedef struct letter {
    const pk_letter_kind *kind; /* NULL: a request */
    void *what;
} letter;

struct pk_post {
    uv_async_t async;
    pk_queue *queue;
    pk_loop *loop;
    void (*deliver)(pk_loop *loop, pk_request *request);
};

static void open_letter(pk_post *post, letter *one)
{
    if (one->kind == NULL)
        post->deliver(post->loop, one->what);
    else
        one->kind->open(post->loop, one->what);
    pk_free(one);
}

static void discard(letter *one)
{
    if (one->kind == NULL)
        pk_request_free(one->what);
    else if (one->kind->discard != NULL)
        one->kind->discard(one->what);
    pk_free(one);
}

static void on_wake_up(uv_async_t *async)
{
    pk_post *post = async->data;
    letter *one;
    while ((one = pk_queue_try_take(post->queue)) != NULL)
        open_letter(post, one);
}

pk_post *pk_post_open(uv_loop_t *uv, pk_loop *loop,
                      void (*deliver)(pk_loop *loop, pk_request *request), pk_error *err)
{
    pk_post *post = pk_new(pk_post);
    int rc = uv_async_init(uv, &post->async, on_wake_up);
    if (rc < 0) {
        pk_free(post);
        (void)pk_fail(err, PK_E_SYSTEM, "could not make a wake-up: %s", uv_strerror(rc));
        return NULL;
    }
    post->async.data = post;
    post->queue = pk_queue_new(0);
    post->loop = loop;
    post->deliver = deliver;
    return post;
}

void pk_post_send(pk_post *post, const pk_letter_kind *kind, void *what)
{
    letter *one = pk_new(letter);
    *one = (letter){kind, what};
    if (!pk_queue_post(post->queue, one)) /* no limit, closed only after the last thread */
        discard(one);
    else
        (void)uv_async_send(&post->async);
}

void pk_post_request(void *post, pk_request *request)
{
    pk_post_send(post, NULL, request);
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
    letter *one;
    pk_queue_close(post->queue);
    while ((one = pk_queue_try_take(post->queue)) != NULL)
        discard(one);
    uv_close((uv_handle_t *)&post->async, on_closed);
}
