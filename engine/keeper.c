/*
 * The keeper in threads of this process: a bounded queue of calls, a few threads that take them,
 * and a housekeeper that closes idle keys, tries again to get a keystore that was not there, and
 * drops what sessions left behind.
 *
 * Two locks. `lock` guards the little state below it and is held for moments: event loops take it,
 * so nobody asks the keystore anything while holding it. `use` guards the keystore's life: held for
 * reading while an operation runs, for writing while the keystore is opened, sealed or given up.
 * Whoever opens or unseals announces it (`opening`), so that others wait for that one attempt
 * instead of making their own (DECISIONS 14e).
 */
#include "engine/keeper_ops.h"
#include "engine/keeper_transport.h"

#include "base/log.h"
#include "base/queue.h"
#include "crypto/kdf_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define THREADS         4u
#define QUEUE_MAX       64u
#define ARENA_MAX       (64u << 20)
#define HOUSEKEEPING_MS 2000
#define REPLY_ROOM      (64u << 10)

typedef struct forgotten {
    struct forgotten *next;
    uint64_t session;
} forgotten;

typedef struct local {
    const pk_clock *clock;
    char *state_dir, *expect;
    bool create;
    uint32_t unlock_timeout_ms, open_idle_ms;

    pk_queue *calls;
    pthread_t threads[THREADS + 1]; /* the last is the housekeeper */
    unsigned thread_count;

    pthread_rwlock_t use;
    pk_keystore *ks; /* read under `use`, or under `lock` by whoever announced `opening` */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool opening, draining, closing;
    unsigned running; /* calls */
    bool refused;     /* the last attempt to open was said in the log */
    pk_error absent;  /* why there is no keystore */
    forgotten *forgotten;

    pthread_mutex_t forgetting; /* while what is in that list is being dropped */
} local;

/* One call on its way through the queue; lives on its caller's stack. */
typedef struct call {
    pk_span request;
    pk_buf *reply;
    pk_error *err;
    bool ok, done;
    pthread_mutex_t lock;
    pthread_cond_t answered;
} call;

static void deadline_in(struct timespec *at, uint32_t ms)
{
    (void)clock_gettime(CLOCK_MONOTONIC, at);
    at->tv_sec += ms / 1000;
    at->tv_nsec += (long)(ms % 1000) * 1000000;
    if (at->tv_nsec >= 1000000000) {
        at->tv_sec++;
        at->tv_nsec -= 1000000000;
    }
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* ---- the keystore comes and goes ---- */

/* Not there for us: whatever the reason, a key statement answers 55000 and goes on trying. */
static void note_absent(local *k, const pk_error *why)
{
    pk_error absent = *why;
    if (pk_error_is(why, PK_E_IN_USE)) {
        pk_fail(&absent, PK_E_STATE, "the keystore is not available: another process owns it");
        pk_error_detail(&absent, "%s", why->detail);
        pk_error_hint(&absent, "Key statements work here once that process has ended.");
    } else {
        pk_error_wrap(&absent, "the keystore is not available");
        snprintf(absent.sqlstate, sizeof absent.sqlstate, "%s", PK_E_STATE);
    }
    pthread_mutex_lock(&k->lock);
    const bool news = !k->refused || strcmp(k->absent.message, absent.message) != 0;
    k->absent = absent;
    k->refused = true;
    pthread_mutex_unlock(&k->lock);
    if (news)
        pk_log_fault(PK_LOG_WARNING, "keystore not available; forwarding goes on", &absent);
}

/* Under `opening`, so by one thread at a time. */
static void try_open(local *k)
{
    pk_error err = {0};
    if (k->ks == NULL) {
        pk_keystore *ks = pk_keystore_open(k->state_dir, k->create, k->expect, k->clock, &err);
        if (ks == NULL) {
            note_absent(k, &err);
            return;
        }
        pk_keystore_set_open_idle(ks, k->open_idle_ms);
        pthread_rwlock_wrlock(&k->use);
        k->ks = ks;
        pthread_rwlock_unlock(&k->use);
        pthread_mutex_lock(&k->lock);
        const bool late = k->refused;
        k->refused = false;
        pthread_mutex_unlock(&k->lock);
        if (late)
            pk_log_info("the keystore is ours now");
    }
    if (!pk_keystore_is_open(k->ks) && !pk_keystore_unseal_auto(k->ks, &err))
        pk_log_debug("keystore: %s", err.message);
}

/* Announces an attempt, once no other one runs. False: that one takes too long. */
static bool begin_attempt(local *k, pk_error *err)
{
    struct timespec until;
    deadline_in(&until, k->unlock_timeout_ms);
    pthread_mutex_lock(&k->lock);
    while (k->opening)
        if (pthread_cond_timedwait(&k->changed, &k->lock, &until) == ETIMEDOUT && k->opening) {
            pthread_mutex_unlock(&k->lock);
            return pk_fail(err, PK_E_STATE, "the keystore is still being unsealed");
        }
    k->opening = true;
    pthread_mutex_unlock(&k->lock);
    return true;
}

static void end_attempt(local *k)
{
    pthread_mutex_lock(&k->lock);
    k->opening = false;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

static bool is_open(local *k)
{
    pthread_mutex_lock(&k->lock);
    const bool opening = k->opening;
    pthread_mutex_unlock(&k->lock);
    if (opening)
        return false;
    pthread_rwlock_rdlock(&k->use);
    const bool open = k->ks != NULL && pk_keystore_is_open(k->ks);
    pthread_rwlock_unlock(&k->use);
    return open;
}

/* The keystore is there and open, or an attempt to get there was made just now. False: an attempt
 * by somebody else takes too long. */
static bool have_tried(local *k, pk_error *err)
{
    if (is_open(k))
        return true;
    if (!begin_attempt(k, err))
        return false;
    if (k->ks == NULL || !pk_keystore_is_open(k->ks))
        try_open(k);
    end_attempt(k);
    return true;
}

static forgotten *take_forgotten(local *k)
{
    pthread_mutex_lock(&k->lock);
    forgotten *list = k->forgotten;
    k->forgotten = NULL;
    pthread_mutex_unlock(&k->lock);
    return list;
}

/* Under `use`. Before anything else is done, so that a session that forgot its keys has none;
 * whoever comes while another one does this waits for it. */
static void drop_forgotten(local *k)
{
    forgotten *next;
    pthread_mutex_lock(&k->forgetting);
    for (forgotten *f = take_forgotten(k); f != NULL; f = next) {
        next = f->next;
        if (k->ks != NULL)
            pk_keystore_forget_session(k->ks, f->session);
        pk_free(f);
    }
    pthread_mutex_unlock(&k->forgetting);
}

/* Not a sealed one: taken again, it would unseal itself. The housekeeper may be using it: then it
 * is given up in the next round. */
static pk_keystore *take_unused(local *k)
{
    pk_keystore *ks = NULL;
    if (pthread_rwlock_trywrlock(&k->use) != 0)
        return NULL;
    if (k->ks != NULL && pk_keystore_is_open(k->ks)) {
        ks = k->ks;
        k->ks = NULL;
    }
    pthread_rwlock_unlock(&k->use);
    return ks;
}

/* Draining, the keystore is given up whenever no call runs (DECISIONS 14e). A call that begins now
 * waits for the end of this and takes it again. */
static void give_up_if_draining(local *k)
{
    pthread_mutex_lock(&k->lock);
    const bool give_up = k->draining && !k->opening && k->running == 0;
    if (give_up)
        k->opening = true;
    pthread_mutex_unlock(&k->lock);
    if (!give_up)
        return;
    pk_keystore *ks = take_unused(k);
    pk_keystore_close(ks);
    if (ks != NULL)
        pk_log_info("draining: the keystore is free for a successor");
    end_attempt(k);
}

/* ---- one operation ---- */

static void why_absent(local *k, pk_error *why)
{
    pthread_mutex_lock(&k->lock);
    *why = k->absent;
    pthread_mutex_unlock(&k->lock);
}

/* Under `use`. */
static bool run_here(local *k, pk_keeper_op op, pk_message_in *in, pk_message_out *out,
                     pk_error *err)
{
    pk_error why = {0};
    drop_forgotten(k);
    if (k->ks == NULL)
        why_absent(k, &why);
    if (k->ks == NULL && pk_keeper_op_needs_open(op)) {
        *err = why;
        return false;
    }
    return pk_keeper_run(op, k->ks, &why, in, out, err);
}

static bool run(local *k, pk_span request, pk_buf *reply, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(ARENA_MAX);
    pk_message_in in = {.rest = request, .arena = &arena};
    pk_message_out out = {.buf = reply};
    pk_keeper_op op;
    if (!pk_get_op(&in, &op, err) || !have_tried(k, err))
        return false;
    /* What was done must be said: room for that is taken before. */
    if (pk_keeper_op_audited(op) && !pk_buf_reserve(reply, REPLY_ROOM, err))
        return false;
    const bool attempt = op == PK_KEEPER_UNSEAL; /* others wait for its outcome */
    if (attempt && !begin_attempt(k, err))
        return false;
    if (pk_keeper_op_alone(op))
        pthread_rwlock_wrlock(&k->use);
    else
        pthread_rwlock_rdlock(&k->use);
    const bool ok = run_here(k, op, &in, &out, err);
    pthread_rwlock_unlock(&k->use);
    if (attempt)
        end_attempt(k);
    return ok;
}

static void count_call(local *k, bool begins)
{
    pthread_mutex_lock(&k->lock);
    k->running = begins ? k->running + 1 : k->running - 1;
    pthread_mutex_unlock(&k->lock);
}

static bool run_counted(local *k, const call *c)
{
    count_call(k, true);
    const bool ok = run(k, c->request, c->reply, c->err);
    count_call(k, false);
    give_up_if_draining(k);
    return ok;
}

/* ---- threads ---- */

static void answer(call *c, bool ok)
{
    pthread_mutex_lock(&c->lock);
    c->ok = ok;
    c->done = true;
    pthread_cond_signal(&c->answered);
    pthread_mutex_unlock(&c->lock);
}

static void *serve(void *arg)
{
    local *k = arg;
    call *c;
    while ((c = pk_queue_take(k->calls)) != NULL)
        answer(c, run_counted(k, c));
    return NULL;
}

/* Waits for the next round. False: the end. */
static bool next_round(local *k)
{
    struct timespec until;
    deadline_in(&until, HOUSEKEEPING_MS);
    pthread_mutex_lock(&k->lock);
    while (!k->closing && k->forgotten == NULL)
        if (pthread_cond_timedwait(&k->changed, &k->lock, &until) == ETIMEDOUT)
            break;
    const bool go_on = !k->closing;
    pthread_mutex_unlock(&k->lock);
    return go_on;
}

static void *keep_house(void *arg)
{
    local *k = arg;
    pk_error dropped;
    bool draining = false;
    (void)have_tried(k, &dropped); /* the first attempt, at start */
    while (next_round(k)) {
        pthread_mutex_lock(&k->lock);
        draining = k->draining;
        pthread_mutex_unlock(&k->lock);
        pthread_rwlock_rdlock(&k->use);
        drop_forgotten(k);
        if (k->ks != NULL)
            pk_keystore_expire_opened(k->ks);
        const bool absent = k->ks == NULL;
        pthread_rwlock_unlock(&k->use);
        if (draining)
            give_up_if_draining(k);
        else if (absent)
            (void)have_tried(k, &dropped);
    }
    return NULL;
}

/* Signals belong to the event loop. */
static bool start_thread(local *k, void *(*body)(void *), pk_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&k->threads[k->thread_count], NULL, body, k);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return pk_fail(err, PK_E_SYSTEM, "could not start a keeper thread: %s",
                       pk_errno_text(failed));
    k->thread_count++;
    return true;
}

static bool start(local *k, pk_error *err)
{
    for (unsigned i = 0; i < THREADS; i++)
        if (!start_thread(k, serve, err))
            return false;
    return start_thread(k, keep_house, err);
}

/* ---- the transport ---- */

static bool local_call(void *self, pk_span request, pk_buf *reply, pk_error *err)
{
    local *k = self;
    call c = {.request = request, .reply = reply, .err = err};
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.answered, NULL);
    if (pk_queue_post(k->calls, &c)) {
        pthread_mutex_lock(&c.lock);
        while (!c.done)
            pthread_cond_wait(&c.answered, &c.lock);
        pthread_mutex_unlock(&c.lock);
    } else {
        pk_fail(err, PK_E_LIMIT_CONFIGURED, "too many key operations are waiting");
    }
    pthread_cond_destroy(&c.answered);
    pthread_mutex_destroy(&c.lock);
    return c.ok;
}

static void local_drain(void *self)
{
    local *k = self;
    pthread_mutex_lock(&k->lock);
    k->draining = true;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

static void free_local(local *k)
{
    forgotten *next;
    for (forgotten *f = k->forgotten; f != NULL; f = next) {
        next = f->next;
        pk_free(f);
    }
    pk_keystore_close(k->ks);
    pk_queue_free(k->calls);
    pthread_rwlock_destroy(&k->use);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->forgetting);
    pk_free(k->state_dir);
    pk_free(k->expect);
    pk_free(k);
}

static void local_close(void *self)
{
    local *k = self;
    pthread_mutex_lock(&k->lock);
    k->closing = true;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    pk_queue_close(k->calls);
    for (unsigned i = 0; i < k->thread_count; i++)
        pthread_join(k->threads[i], NULL);
    pk_kdf_pool_stop();
    free_local(k);
}

static void local_forget(void *self, uint64_t session)
{
    local *k = self;
    forgotten *f = pk_new(forgotten);
    f->session = session;
    pthread_mutex_lock(&k->lock);
    f->next = k->forgotten;
    k->forgotten = f;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

static const pk_keeper_transport local_transport = {
    .call = local_call, .forget = local_forget, .drain = local_drain, .close = local_close};

static local *local_new(const pk_keeper_options *options, const pk_clock *clock)
{
    pthread_rwlockattr_t attributes;
    local *k = pk_new(local);
    k->clock = clock;
    k->state_dir = pk_strdup(options->state_dir);
    k->expect = options->expect == NULL ? NULL : pk_strdup(options->expect);
    k->create = options->create;
    k->unlock_timeout_ms = options->unlock_timeout_ms;
    k->open_idle_ms = options->open_idle_ms;
    k->calls = pk_queue_new(QUEUE_MAX);
    pthread_rwlockattr_init(&attributes);
    /* Or a busy keystore could never be sealed. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&k->use, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->forgetting, NULL);
    init_condition(&k->changed);
    return k;
}

/* ---- the door ---- */

pk_keeper *pk_keeper_open(const pk_keeper_options *options, const pk_clock *clock, pk_error *err)
{
    if (!pk_kdf_pool_start(PK_KDF_WORKERS, PK_KDF_WAITING, err))
        return NULL;
    pk_keeper *keeper = pk_new(pk_keeper);
    local *k = local_new(options, clock);
    *keeper = (pk_keeper){.transport = &local_transport, .self = k};
    if (start(k, err))
        return keeper;
    pk_keeper_close(keeper);
    return NULL;
}

void pk_keeper_close(pk_keeper *keeper)
{
    if (keeper == NULL)
        return;
    keeper->transport->close(keeper->self);
    pk_free(keeper);
}

bool pk_keeper_call(pk_keeper *keeper, pk_span request, pk_buf *reply, pk_error *err)
{
    pk_error own = {0};
    if (keeper->transport->call(keeper->self, request, reply, &own))
        return true;
    *err = own;
    return false;
}

void pk_keeper_drain(pk_keeper *keeper)
{
    if (keeper->transport->drain != NULL)
        keeper->transport->drain(keeper->self);
}

void pk_keeper_forget_session(pk_keeper *keeper, uint64_t session)
{
    if (keeper->transport->forget != NULL)
        keeper->transport->forget(keeper->self, session);
}
