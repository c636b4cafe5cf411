/*
 * One mutex guards everything; the work itself runs without it. A task lies on the stack of the
 * thread that waits for it, so nothing is allocated and nothing can be left behind: it is taken off
 * the list by the worker that runs it, and its owner does not return before that worker is done.
 */
#include "crypto/kdf_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#define WORKERS_MAX 16u
#define NICER       5 /* than the rest of the process */

typedef struct task {
    void (*work)(void *arg);
    void *arg;
    bool done;
    struct task *next;
} task;

static struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wanted; /* a task waits, or the end has come */
    pthread_cond_t done;   /* some task is done */
    unsigned starts, workers, waiting, busy;
    task *first, **last;
    bool ending;
    pthread_t threads[WORKERS_MAX];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .wanted = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

/* Starting and stopping take turns: a stop waits for threads without holding the pool's lock. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* Linux: the priority of this thread alone (setpriority(2), "C library/kernel differences"). One
 * that cannot be had is no reason not to work. */
static void step_back(void)
{
    errno = 0;
    const int nice = getpriority(PRIO_PROCESS, 0);
    if (errno == 0)
        (void)setpriority(PRIO_PROCESS, 0, nice + NICER);
}

static task *take(void)
{
    task *t = pool.first;
    pool.first = t->next;
    if (pool.first == NULL)
        pool.last = &pool.first;
    return t;
}

static void *serve(void *unused)
{
    (void)unused;
    step_back();
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.first == NULL && !pool.ending)
            pthread_cond_wait(&pool.wanted, &pool.lock);
        if (pool.first == NULL)
            break;
        task *t = take();
        pthread_mutex_unlock(&pool.lock);
        t->work(t->arg);
        pthread_mutex_lock(&pool.lock);
        t->done = true;
        pool.busy--;
        pthread_cond_broadcast(&pool.done);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static void end_workers(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.ending = true;
    const unsigned workers = pool.workers;
    pthread_cond_broadcast(&pool.wanted);
    pthread_mutex_unlock(&pool.lock);
    for (unsigned i = 0; i < workers; i++)
        pthread_join(pool.threads[i], NULL);
    pthread_mutex_lock(&pool.lock);
    pool.workers = 0;
    pthread_mutex_unlock(&pool.lock);
}

/* Signals belong to the event loop. */
static int start_worker(pthread_t *thread)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(thread, NULL, serve, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

/* The workers see the pool only under its lock; it is open for work when the last one is there. */
static bool start_workers(unsigned workers, unsigned waiting, pk_error *err)
{
    pthread_mutex_lock(&pool.lock);
    pool.ending = false;
    pool.first = NULL;
    pool.last = &pool.first;
    pool.waiting = waiting;
    pthread_mutex_unlock(&pool.lock);
    for (unsigned i = 0; i < workers; i++) {
        const int failed = start_worker(&pool.threads[i]);
        if (failed != 0) {
            end_workers();
            return pk_fail(err, PK_E_SYSTEM, "could not start a thread for passwords: %s",
                           pk_errno_text(failed));
        }
        pthread_mutex_lock(&pool.lock);
        pool.workers++;
        pthread_mutex_unlock(&pool.lock);
    }
    return true;
}

bool pk_kdf_pool_start(unsigned workers, unsigned waiting, pk_error *err)
{
    if (workers == 0 || workers > WORKERS_MAX)
        return pk_fail(err, PK_E_INTERNAL, "a pool of %u threads", workers);
    pthread_mutex_lock(&turn);
    const bool ok = pool.starts > 0 || start_workers(workers, waiting, err);
    if (ok)
        pool.starts++;
    pthread_mutex_unlock(&turn);
    return ok;
}

void pk_kdf_pool_stop(void)
{
    pthread_mutex_lock(&turn);
    if (pool.starts > 0 && --pool.starts == 0)
        end_workers();
    pthread_mutex_unlock(&turn);
}

/* Under the lock. */
static bool enqueue(task *t, pk_error *err)
{
    if (pool.busy >= pool.workers + pool.waiting) {
        pk_fail(err, PK_E_LIMIT_CONFIGURED, "too many passwords are waiting to be tried");
        return pk_error_hint(err, "%u are tried at once, and %u may wait. Try again in a moment.",
                             pool.workers, pool.waiting);
    }
    pool.busy++;
    *pool.last = t;
    pool.last = &t->next;
    pthread_cond_signal(&pool.wanted);
    return true;
}

bool pk_kdf_pool_run(void (*work)(void *arg), void *arg, pk_error *err)
{
    task t = {.work = work, .arg = arg};
    pthread_mutex_lock(&pool.lock);
    if (pool.workers == 0 || pool.ending) {
        pthread_mutex_unlock(&pool.lock);
        work(arg);
        return true;
    }
    const bool ok = enqueue(&t, err);
    while (ok && !t.done)
        pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    return ok;
}
