/*
 * A list with a lock and a condition. Nodes are ours, so an item can be anything; there is one wait
 * (take) and one wake-up per item. Closing lets the takers empty the queue first.
 */
#include "base/queue.h"

#include <assert.h>
#include <pthread.h>

typedef struct node {
    struct node *next;
    void *item;
} node;

struct pk_queue {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t changed;
    node *first, **end;
    size_t count, limit;
    bool closed;
};

pk_queue *pk_queue_new(size_t limit)
{
    pk_queue *queue = pk_new(pk_queue);
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_cond_init(&queue->changed, NULL);
    queue->end = &queue->first;
    queue->limit = limit;
    return queue;
}

void pk_queue_free(pk_queue *queue)
{
    if (queue == NULL)
        return;
    assert(queue->first == NULL);
    (void)pthread_cond_destroy(&queue->changed);
    (void)pthread_mutex_destroy(&queue->lock);
    pk_free(queue);
}

bool pk_queue_post(pk_queue *queue, void *item)
{
    (void)pthread_mutex_lock(&queue->lock);
    bool room = !queue->closed && (queue->limit == 0 || queue->count < queue->limit);
    if (room) {
        node *last = pk_new(node);
        last->item = item;
        *queue->end = last;
        queue->end = &last->next;
        queue->count++;
        (void)pthread_cond_signal(&queue->changed);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return room;
}

/* With the lock held. */
static void *take_first(pk_queue *queue)
{
    node *first = queue->first;
    if (first == NULL)
        return NULL;
    void *item = first->item;
    queue->first = first->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->count--;
    pk_free(first);
    return item;
}

void *pk_queue_take(pk_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    while (queue->first == NULL && !queue->closed)
        (void)pthread_cond_wait(&queue->changed, &queue->lock);
    void *item = take_first(queue);
    (void)pthread_mutex_unlock(&queue->lock);
    return item;
}

void *pk_queue_try_take(pk_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    void *item = take_first(queue);
    (void)pthread_mutex_unlock(&queue->lock);
    return item;
}

void pk_queue_close(pk_queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    (void)pthread_cond_broadcast(&queue->changed);
    (void)pthread_mutex_unlock(&queue->lock);
}
