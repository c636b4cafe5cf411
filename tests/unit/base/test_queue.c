/* pk_queue: order, limit, closing, many threads. */
#include "base/queue.h"

#include "table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static int items[4];

static void items_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    pk_queue *queue = pk_queue_new(0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < PK_COUNT(items); i++)
            assert_true(pk_queue_post(queue, &items[i]));
        assert_ptr_equal(pk_queue_try_take(queue), &items[0]);
        for (size_t i = 1; i < PK_COUNT(items); i++)
            assert_ptr_equal(pk_queue_take(queue), &items[i]);
        assert_null(pk_queue_try_take(queue));
    }
    pk_queue_free(queue);
    pk_queue_free(NULL);
}

static void a_full_queue_refuses_until_one_is_taken(void **state)
{
    (void)state;
    pk_queue *queue = pk_queue_new(2);
    assert_true(pk_queue_post(queue, &items[0]));
    assert_true(pk_queue_post(queue, &items[1]));
    assert_false(pk_queue_post(queue, &items[2]));
    assert_ptr_equal(pk_queue_take(queue), &items[0]);
    assert_true(pk_queue_post(queue, &items[2]));
    assert_ptr_equal(pk_queue_take(queue), &items[1]);
    assert_ptr_equal(pk_queue_take(queue), &items[2]);
    pk_queue_free(queue);
}

static void a_closed_queue_gives_what_it_has_and_takes_no_more(void **state)
{
    (void)state;
    pk_queue *queue = pk_queue_new(0);
    assert_true(pk_queue_post(queue, &items[0]));
    pk_queue_close(queue);
    assert_false(pk_queue_post(queue, &items[1]));
    assert_ptr_equal(pk_queue_take(queue), &items[0]);
    assert_null(pk_queue_take(queue));
    assert_null(pk_queue_try_take(queue));
    pk_queue_close(queue);
    pk_queue_free(queue);
}

static void *take_one(void *ctx)
{
    return pk_queue_take(ctx);
}

static void closing_wakes_everyone_who_waits(void **state)
{
    (void)state;
    pk_queue *queue = pk_queue_new(0);
    pthread_t waiters[3];
    for (size_t i = 0; i < PK_COUNT(waiters); i++)
        assert_int_equal(pthread_create(&waiters[i], NULL, take_one, queue), 0);
    (void)usleep(20000); /* so that they wait already, most of the time */
    pk_queue_close(queue);
    for (size_t i = 0; i < PK_COUNT(waiters); i++) {
        void *got = &items[0];
        assert_int_equal(pthread_join(waiters[i], &got), 0);
        assert_null(got);
    }
    pk_queue_free(queue);
}

static void a_waiting_thread_gets_what_is_posted_later(void **state)
{
    (void)state;
    pk_queue *queue = pk_queue_new(0);
    pthread_t waiter;
    assert_int_equal(pthread_create(&waiter, NULL, take_one, queue), 0);
    (void)usleep(20000);
    assert_true(pk_queue_post(queue, &items[3]));
    void *got = NULL;
    assert_int_equal(pthread_join(waiter, &got), 0);
    assert_ptr_equal(got, &items[3]);
    pk_queue_free(queue);
}

#define THREADS 4
#define EACH    2000

static struct crowd {
    pk_queue *queue;
    atomic_int seen[THREADS * EACH];
    atomic_int next_producer;
    atomic_int out_of_order;
} crowd;

static void *produce(void *ctx)
{
    (void)ctx;
    int mine = atomic_fetch_add(&crowd.next_producer, 1);
    for (int i = 0; i < EACH; i++)
        while (!pk_queue_post(crowd.queue, &crowd.seen[mine * EACH + i]))
            (void)usleep(50);
    return NULL;
}

static void *consume(void *ctx)
{
    (void)ctx;
    long last[THREADS] = {-1, -1, -1, -1};
    for (atomic_int *item = NULL; (item = pk_queue_take(crowd.queue)) != NULL;) {
        long number = item - crowd.seen;
        if (number % EACH <= last[number / EACH])
            atomic_fetch_add(&crowd.out_of_order, 1);
        last[number / EACH] = number % EACH;
        atomic_fetch_add(item, 1);
    }
    return NULL;
}

static void many_threads_lose_nothing_and_see_nothing_twice(void **state)
{
    (void)state;
    pthread_t producers[THREADS];
    pthread_t consumers[THREADS];
    crowd.queue = pk_queue_new(64);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&producers[i], NULL, produce, NULL), 0);
        assert_int_equal(pthread_create(&consumers[i], NULL, consume, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(producers[i], NULL), 0);
    pk_queue_close(crowd.queue);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(consumers[i], NULL), 0);
    for (size_t i = 0; i < PK_COUNT(crowd.seen); i++)
        assert_int_equal(atomic_load(&crowd.seen[i]), 1);
    assert_int_equal(atomic_load(&crowd.out_of_order), 0);
    pk_queue_free(crowd.queue);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, items_come_out_in_the_order_they_went_in);
    PK_SUITE_TEST(&suite, a_full_queue_refuses_until_one_is_taken);
    PK_SUITE_TEST(&suite, a_closed_queue_gives_what_it_has_and_takes_no_more);
    PK_SUITE_TEST(&suite, closing_wakes_everyone_who_waits);
    PK_SUITE_TEST(&suite, a_waiting_thread_gets_what_is_posted_later);
    PK_SUITE_TEST(&suite, many_threads_lose_nothing_and_see_nothing_twice);
    return pk_suite_run(&suite, "queue");
}
