/*
 * The workers. A request is taken off one bounded queue by one of a few threads, its statements run
 * in order up to the first failure, and it is handed back through its callback. Keys are the
 * keeper's: a worker asks it, and while the keystore is sealed or not there its calls say so, each
 * after a new attempt. Forwarding never waits for any of this.
 */
#include "engine/engine.h"

#include "base/crash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/queue.h"
#include "engine/audit.h"
#include "engine/exec.h"
#include "engine/exec_run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define WORKERS_DEFAULT 4u
#define WORKERS_MAX     16u
#define QUEUE_MAX       64u
#define EXECUTION_MAX   (16u << 20)

struct pk_engine {
    pk_engine_options options; /* owned copies of its strings */
    const pk_clock *clock;
    pk_queue *queue;
    pthread_t threads[WORKERS_MAX];
    unsigned worker_count;

    pk_keeper *keeper;

    pthread_mutex_t lock; /* of everything below; held for moments only */
    bool closing;
    pk_request *running[WORKERS_MAX];
    pk_request *waiting[QUEUE_MAX + 1]; /* known by number, for cancel */
};

typedef struct worker {
    pk_engine *engine;
    unsigned index;
} worker;

static bool harden(pk_error *err)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return pk_fail(err, PK_E_SYSTEM, "could not switch core dumps off: %s",
                       pk_errno_text(errno));
#ifndef __SANITIZE_ADDRESS__ /* LeakSanitizer attaches to its own process, which must be dumpable  \
                              */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return pk_fail(err, PK_E_SYSTEM, "could not make the process undumpable: %s",
                       pk_errno_text(errno));
#endif
    return true;
}

bool pk_engine_init_process(pk_error *err)
{
    pk_secure_heap heap;
    if (!harden(err) || !pk_secret_heap_init(&heap, err))
        return false;
    pk_json_init();
#ifdef PK_TEST_KDF
    pk_log_warning("this is a test build: passwords protect keys at a fraction of the real cost");
#endif
    if (heap == PK_SECURE_HEAP_UNLOCKED)
        pk_log_warning(
            "memory for keys could not be locked and may be swapped out; raise the memlock limit");
    return true;
}

/* Options */

static void copy_options(pk_engine_options *to, const pk_engine_options *from)
{
    *to = *from;
    to->state_dir = pk_strdup(from->state_dir);
    to->service = pk_strdup(from->service);
    to->admin_database = pk_strdup(from->admin_database);
    to->expect_keystore = from->expect_keystore == NULL ? NULL : pk_strdup(from->expect_keystore);
    const char **roots = pk_new_bytes((from->key_root_count + 1) * sizeof *roots);
    for (size_t i = 0; i < from->key_root_count; i++)
        roots[i] = pk_strdup(from->key_roots[i]);
    to->key_roots = roots;
}

/* The copies are ours; the struct calls them const because nobody else may change them. */
static void free_text(const char *text)
{
    pk_free((void *)(uintptr_t)text);
}

static void free_options(pk_engine_options *options)
{
    if (options->service != NULL)
        pk_wipe((void *)(uintptr_t)options->service,
                strlen(options->service)); /* may hold a password */
    free_text(options->state_dir);
    free_text(options->service);
    free_text(options->admin_database);
    free_text(options->expect_keystore);
    for (size_t i = 0; i < options->key_root_count; i++)
        free_text(options->key_roots[i]);
    pk_free((void *)(uintptr_t)options->key_roots);
}

/* Keystore */

/* A keystore that is not there or sealed has been told by the keeper, with the reason. */
static void tell_keystore(pk_engine *engine)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(EXECUTION_MAX);
    pk_error err = {0};
    pk_keeper_status status;
    if (!pk_keeper_status_get(engine->keeper, &arena, &status, &err))
        pk_log_fault(PK_LOG_WARNING, "keystore not available; forwarding goes on", &err);
    else if (strcmp(status.state, "open") == 0)
        pk_log_info("keystore %s open, signing key %s, service master key %s", status.uuid,
                    status.identity, status.service_master_key);
}

void pk_exec_hide_absence(const pk_exec_context *ctx, pk_error *err)
{
    static const char absent[] = "the keystore is not available";
    if (!ctx->rights.admin && pk_error_is(err, PK_E_STATE) &&
        strncmp(err->message, absent, sizeof absent - 1) == 0)
        pk_fail(err, PK_E_STATE, "%s", absent);
}

/* One statement */

/* A SHOW, a refusal or a failure has no row yet. Where no row can be written, because the keystore
 * is sealed or not there, the log line is all there is. */
static bool write_row(pk_exec_context *ctx, pk_error *err)
{
    return ctx->audited || pk_keeper_audit(ctx->keeper, &ctx->audit, err) ||
           pk_error_is(err, PK_E_STATE);
}

static bool run_audited(pk_exec_context *ctx, bool authorized, pk_error *err)
{
    pk_error audit_error = {0};
    const bool ok = authorized && pk_exec_check_canceled(ctx, err) && pk_exec_run(ctx, err);
    if (!ok && !ctx->audited)
        pk_audit_outcome(&ctx->audit, err, ctx->arena);
    const bool written = write_row(ctx, &audit_error);
    pk_audit_log(&ctx->audit);
    if (!ok)
        pk_exec_hide_absence(ctx, err);
    if (written)
        return ok;
    pk_log_fault(PK_LOG_ERROR, "audit row could not be written", &audit_error);
    if (!ok)
        return false;
    *err = audit_error;
    return pk_error_wrap(err, "the statement was not audited");
}

/* Rights first: who may not run it learns nothing about the keystore. */
static bool authorize_and_run(pk_engine *engine, pk_exec_context *ctx, pk_error *err)
{
    pk_error fault = {0};
    const bool authorized = pk_exec_authorize(ctx, err);
    if (pk_audit_begin(ctx->request, ctx->stmt, engine->clock->wall_us(engine->clock), ctx->arena,
                       &ctx->audit, &fault))
        return run_audited(ctx, authorized, err);
    *err = fault;
    return false;
}

static bool run_statement(worker *w, pk_authz *authz, pk_request *request, const pk_stmt *stmt,
                          pk_result *result, pk_error *err)
{
    pk_engine *engine = w->engine;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(EXECUTION_MAX);
    pk_exec_context ctx = {.options = &engine->options,
                           .request = request,
                           .stmt = stmt,
                           .keeper = engine->keeper,
                           .authz = authz,
                           .arena = &arena,
                           .result = result};
    const pk_exec_session session = {.user = request->user,
                                     .database = request->database,
                                     .admin_database = engine->options.admin_database,
                                     .secure_peer = request->secure_peer,
                                     .in_block = request->in_block,
                                     .secrets_need_tls = engine->options.secrets_need_tls};
    return pk_exec_check(stmt, &session, err) && pk_exec_check_canceled(&ctx, err) &&
           authorize_and_run(engine, &ctx, err);
}

static void run_request(worker *w, pk_authz *authz, pk_request *request)
{
    pk_error err = {0};
    request->results =
        pk_arena_array(&request->arena, request->script.count, sizeof(pk_result *), &err);
    for (size_t i = 0; request->results != NULL && i < request->script.count; i++) {
        const pk_stmt *stmt = &request->script.stmts[i];
        pk_result *result = pk_result_new();
        result->tag = stmt->tag;
        request->results[request->result_count++] = result;
        result->failed = !run_statement(w, authz, request, stmt, result, &result->error);
        if (result->failed) {
            if (pk_error_is(&result->error, PK_E_MEMORY)) /* what it was for, nobody could say */
                pk_error_wrap(&result->error, "could not run %s in database \"%s\"",
                              pk_exec_name(stmt), request->database);
            pk_log_fault(PK_LOG_INFO, pk_exec_name(stmt), &result->error);
            return;
        }
    }
}

/* Queue and threads */

static void forget_waiting(pk_engine *engine, const pk_request *request)
{
    for (size_t i = 0; i < PK_COUNT(engine->waiting); i++)
        if (engine->waiting[i] == request)
            engine->waiting[i] = NULL;
}

static void answer(pk_request *request, const char *sqlstate, const char *message)
{
    pk_error dropped;
    request->results = pk_arena_array(&request->arena, 1, sizeof(pk_result *), &dropped);
    if (request->results != NULL) {
        pk_result *result = pk_result_new();
        result->failed = true;
        pk_fail(&result->error, sqlstate, "%s", message);
        request->results[request->result_count++] = result;
    }
    request->done(request->ctx, request);
}

/* False: the engine closes and nothing more is begun. */
static bool start(worker *w, pk_request *request)
{
    pk_engine *engine = w->engine;
    pthread_mutex_lock(&engine->lock);
    forget_waiting(engine, request);
    const bool go = !engine->closing;
    if (go)
        engine->running[w->index] = request;
    pthread_mutex_unlock(&engine->lock);
    return go;
}

static void end(worker *w)
{
    pthread_mutex_lock(&w->engine->lock);
    w->engine->running[w->index] = NULL;
    pthread_mutex_unlock(&w->engine->lock);
}

static void *work(void *arg)
{
    worker *w = arg;
    PK_AUTO_PTR(pk_authz_free) pk_authz *authz = pk_authz_new(w->engine->options.service);
    if (w->index == 0) {
        tell_keystore(w->engine);
        pk_authz_probe(authz);
        pk_authz_rest(authz);
    }
    pk_request *request;
    while ((request = pk_queue_take(w->engine->queue)) != NULL) {
        if (!start(w, request)) {
            answer(request, PK_E_SHUTDOWN, "terminating connection due to administrator command");
            continue;
        }
        run_request(w, authz, request);
        pk_authz_rest(authz);
        end(w);
        PK_CRASH_POINT("statement done");
        request->done(request->ctx, request);
    }
    pk_free(w);
    return NULL;
}

/* Signals belong to the event loop. */
static int start_thread(pthread_t *thread, worker *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static bool start_workers(pk_engine *engine, unsigned count, pk_error *err)
{
    for (unsigned i = 0; i < count; i++) {
        worker *w = pk_new(worker);
        *w = (worker){.engine = engine, .index = i};
        int failed = start_thread(&engine->threads[i], w);
        if (failed != 0) {
            pk_free(w);
            return pk_fail(err, PK_E_SYSTEM, "could not start a worker thread: %s",
                           pk_errno_text(failed));
        }
        engine->worker_count++;
    }
    return true;
}

pk_engine *pk_engine_open(const pk_engine_options *options, const pk_clock *clock, pk_error *err)
{
    pk_engine *engine = pk_new(pk_engine);
    copy_options(&engine->options, options);
    engine->clock = clock;
    engine->queue = pk_queue_new(QUEUE_MAX);
    pthread_mutex_init(&engine->lock, NULL);
    unsigned count = options->workers == 0 ? WORKERS_DEFAULT : options->workers;
    if (count > WORKERS_MAX)
        count = WORKERS_MAX;
    const pk_keeper_options keys = {.state_dir = options->state_dir,
                                    .expect = options->expect_keystore,
                                    .create = options->create_keystore,
                                    .unlock_timeout_ms = options->unlock_timeout_ms,
                                    .open_idle_ms = options->open_idle_ms};
    engine->keeper = pk_keeper_open(&keys, clock, err);
    if (engine->keeper != NULL && start_workers(engine, count, err))
        return engine;
    pk_engine_close(engine);
    return NULL;
}

void pk_engine_close(pk_engine *engine)
{
    if (engine == NULL)
        return;
    pthread_mutex_lock(&engine->lock);
    engine->closing = true;
    pthread_mutex_unlock(&engine->lock);
    pk_queue_close(engine->queue);
    for (unsigned i = 0; i < engine->worker_count; i++)
        pthread_join(engine->threads[i], NULL);
    pk_queue_free(engine->queue);
    pk_keeper_close(engine->keeper);
    free_options(&engine->options);
    pthread_mutex_destroy(&engine->lock);
    pk_free(engine);
}

void pk_engine_submit(pk_engine *engine, pk_request *request)
{
    pthread_mutex_lock(&engine->lock);
    size_t place = 0;
    while (place < PK_COUNT(engine->waiting) && engine->waiting[place] != NULL)
        place++;
    const bool closing = engine->closing;
    const bool taken = place < PK_COUNT(engine->waiting) && pk_queue_post(engine->queue, request);
    if (taken)
        engine->waiting[place] = request;
    pthread_mutex_unlock(&engine->lock);
    if (!taken && closing)
        answer(request, PK_E_SHUTDOWN, "terminating connection due to administrator command");
    else if (!taken)
        answer(request, PK_E_LIMIT_CONFIGURED, "too many key statements are waiting");
}

void pk_engine_cancel(pk_engine *engine, uint64_t number)
{
    pthread_mutex_lock(&engine->lock);
    for (size_t i = 0; i < PK_COUNT(engine->waiting); i++)
        if (engine->waiting[i] != NULL && engine->waiting[i]->number == number)
            atomic_store(&engine->waiting[i]->canceled, true);
    for (unsigned i = 0; i < engine->worker_count; i++)
        if (engine->running[i] != NULL && engine->running[i]->number == number)
            atomic_store(&engine->running[i]->canceled, true);
    pthread_mutex_unlock(&engine->lock);
}

void pk_engine_forget_session(pk_engine *engine, uint64_t session)
{
    pk_keeper_forget_session(engine->keeper, session);
}

void pk_engine_drain(pk_engine *engine)
{
    pk_keeper_drain(engine->keeper);
}

pk_keeper *pk_engine_keeper(pk_engine *engine)
{
    return engine->keeper;
}

bool pk_engine_create_keystore(const char *state_dir, const pk_clock *clock,
                               pk_keystore_summary *summary, pk_error *err)
{
    if (!pk_keystore_create(state_dir, clock, err))
        return pk_error_is(err, PK_E_MEMORY) &&
               pk_error_wrap(err, "could not create a keystore in \"%s\"", state_dir);
    PK_AUTO_PTR(pk_keystore_close)
    pk_keystore *ks = pk_keystore_open(state_dir, false, NULL, clock, err);
    return (ks != NULL && pk_keystore_summary_get(ks, summary, err)) ||
           pk_error_wrap(err, "the keystore in \"%s\" was made, but cannot be opened", state_dir);
}
