/*
 * The pool as its callers meet it: how many run and wait, what one more is told, that without a
 * pool, and after its end, work is done all the same. Work that stands still on order takes the
 * place of passwords.
 */
#include "table.h"

#include "crypto/kdf.h"
#include "crypto/kdf_pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#define WORKERS 2
#define WAITING 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static unsigned begun, ended;

static void stand_still(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    begun++;
    pthread_cond_broadcast(&moved);
    while (!gate_open)
        pthread_cond_wait(&moved, &lock);
    ended++;
    pthread_mutex_unlock(&lock);
}

static void *ask(void *arg)
{
    pk_error *err = arg;
    (void)!pk_kdf_pool_run(stand_still, NULL, err);
    return NULL;
}

static void wait_until_begun(unsigned count)
{
    pthread_mutex_lock(&lock);
    while (begun < count)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void set_gate(bool open)
{
    pthread_mutex_lock(&lock);
    gate_open = open;
    if (!open)
        begun = ended = 0;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void start(void)
{
    pk_error err = {0};
    if (!pk_kdf_pool_start(WORKERS, WAITING, &err))
        fail_msg("%s", err.message);
}

/* Twelve ask at once: exactly two are refused, whichever they are, and the others are served. */
static void what_is_too_much_for_the_queue_is_refused(void **state)
{
    enum { ASKERS = WORKERS + WAITING + 2 };
    pthread_t threads[ASKERS];
    pk_error errs[ASKERS] = {0};
    unsigned refused = 0;
    (void)state;
    set_gate(false);
    start();
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &errs[i]), 0);
    wait_until_begun(WORKERS);
    for (int i = WORKERS; i < ASKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &errs[i]), 0);
    pk_error err = {0};
    for (int tries = 0; tries < 500 && err.sqlstate[0] == '\0'; tries++) {
        unsigned now_begun;
        pthread_mutex_lock(&lock);
        now_begun = begun;
        pthread_mutex_unlock(&lock);
        assert_int_equal(now_begun, WORKERS); /* never more at once */
        usleep(1000);
    }
    set_gate(true);
    for (int i = 0; i < ASKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (errs[i].sqlstate[0] == '\0')
            continue;
        refused++;
        assert_string_equal(errs[i].sqlstate, PK_E_LIMIT_CONFIGURED);
        assert_string_equal(errs[i].message, "too many passwords are waiting to be tried");
        assert_true(errs[i].hint[0] != '\0');
    }
    assert_int_equal(refused, 2);
    assert_int_equal(ended, WORKERS + WAITING);
    pk_kdf_pool_stop();
}

static pthread_t ran_in;
static int ran_nice;

static void note_thread(void *unused)
{
    (void)unused;
    ran_in = pthread_self();
    ran_nice = getpriority(PRIO_PROCESS, 0);
}

static void without_a_pool_work_is_done_here(void **state)
{
    pk_error err = {0};
    (void)state;
    assert_true(pk_kdf_pool_run(note_thread, NULL, &err));
    assert_true(pthread_equal(ran_in, pthread_self()));
    start();
    assert_true(pk_kdf_pool_run(note_thread, NULL, &err));
    assert_false(pthread_equal(ran_in, pthread_self()));
    assert_true(ran_nice > getpriority(PRIO_PROCESS, 0)); /* the others go first */
    pk_kdf_pool_stop();
    assert_true(pk_kdf_pool_run(note_thread, NULL, &err));
    assert_true(pthread_equal(ran_in, pthread_self()));
}

static void only_the_last_stop_ends_it(void **state)
{
    pk_error err = {0};
    (void)state;
    start();
    start();
    pk_kdf_pool_stop();
    assert_true(pk_kdf_pool_run(note_thread, NULL, &err));
    assert_false(pthread_equal(ran_in, pthread_self()));
    pk_kdf_pool_stop();
    pk_kdf_pool_stop(); /* one too many does nothing */
    assert_true(pk_kdf_pool_run(note_thread, NULL, &err));
    assert_true(pthread_equal(ran_in, pthread_self()));
}

static void *stop(void *unused)
{
    (void)unused;
    pk_kdf_pool_stop();
    return NULL;
}

static void a_stop_waits_for_what_runs_and_waits(void **state)
{
    pthread_t askers[4], stopper;
    pk_error errs[4] = {0};
    (void)state;
    set_gate(false);
    start();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&askers[i], NULL, ask, &errs[i]), 0);
    wait_until_begun(WORKERS);
    assert_int_equal(pthread_create(&stopper, NULL, stop, NULL), 0);
    set_gate(true);
    assert_int_equal(pthread_join(stopper, NULL), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(askers[i], NULL), 0);
        assert_string_equal(errs[i].sqlstate, "");
    }
    assert_int_equal(ended, 4);
}

static pk_secret *derive(const char *password, const pk_kdf_params *params, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_new(password, strlen(password), err);
    assert_non_null(secret);
    return pk_kdf_password(secret, params, err);
}

static void a_key_is_the_same_in_the_pool_and_without(void **state)
{
    pk_error err = {0};
    pk_kdf_params params;
    (void)state;
    assert_true(pk_kdf_params_new(PK_KDF_SCRYPT, &params, &err));
    PK_AUTO_PTR(pk_secret_free) pk_secret *here = derive("Heron!5520-Reed", &params, &err);
    start();
    PK_AUTO_PTR(pk_secret_free) pk_secret *there = derive("Heron!5520-Reed", &params, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *other = derive("Heron!5520-Reef", &params, &err);
    pk_kdf_pool_stop();
    assert_non_null(here);
    assert_non_null(there);
    assert_true(pk_secret_equal(here, there));
    assert_false(pk_secret_equal(here, other));
}

static void a_pool_of_no_or_too_many_threads_is_refused(void **state)
{
    pk_error err = {0};
    (void)state;
    assert_false(pk_kdf_pool_start(0, WAITING, &err));
    assert_false(pk_kdf_pool_start(1000, WAITING, &err));
    assert_string_equal(err.sqlstate, PK_E_INTERNAL);
}

int main(void)
{
    static pk_suite suite;
    pk_secure_heap heap;
    pk_error err = {0};
    if (!pk_secret_heap_init(&heap, &err))
        return 1;
    PK_SUITE_TEST(&suite, what_is_too_much_for_the_queue_is_refused);
    PK_SUITE_TEST(&suite, without_a_pool_work_is_done_here);
    PK_SUITE_TEST(&suite, only_the_last_stop_ends_it);
    PK_SUITE_TEST(&suite, a_stop_waits_for_what_runs_and_waits);
    PK_SUITE_TEST(&suite, a_key_is_the_same_in_the_pool_and_without);
    PK_SUITE_TEST(&suite, a_pool_of_no_or_too_many_threads_is_refused);
    return pk_suite_run(&suite, "kdf_pool");
}
