/*
 * An engine without keys, for tests of the proxy: every request gets a thread that answers by the
 * kind of its statements. What a scenario can rely on:
 * - SHOW MASTER KEYS: two columns, two rows, one value of them NULL
 * - BACKUP SERVICE MASTER KEY ..: a notice that repeats the place and the session's facts; tag
 * - RESTORE SERVICE MASTER KEY ..: a notice, then error 58P01 with detail and hint
 * - ALTER SERVICE MASTER KEY ..: runs until it is canceled, then 57014
 * - OPEN MASTER KEY ..: 28P01, with the password 'linger' after a while
 * - everything else: its tag
 */
#include "base/log.h"
#include "engine/engine.h"
#include "engine/exec.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS_MAX 65536

struct pk_engine {
    pthread_mutex_t lock; /* guards everything below */
    pthread_t threads[THREADS_MAX];
    size_t count;
    unsigned forgotten; /* calls of pk_engine_forget_session */
    pk_request *running[THREADS_MAX];
};

bool pk_engine_init_process(pk_error *err)
{
    (void)err;
    return true;
}

pk_engine *pk_engine_open(const pk_engine_options *options, const pk_clock *clock, pk_error *err)
{
    pk_engine *engine = pk_new(pk_engine);
    (void)clock;
    (void)err;
    (void)pthread_mutex_init(&engine->lock, NULL);
    pk_log_info("fake engine: service %s", options->service);
    return engine;
}

void pk_engine_close(pk_engine *engine)
{
    for (size_t i = 0; i < engine->count; i++) {
        (void)pthread_mutex_lock(&engine->lock);
        if (engine->running[i] != NULL)
            atomic_store(&engine->running[i]->canceled, true);
        (void)pthread_mutex_unlock(&engine->lock);
        (void)pthread_join(engine->threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&engine->lock);
    pk_free(engine);
}

static const pk_column key_columns[] = {{"name", PK_TYPE_TEXT}, {"version", PK_TYPE_INT8}};

static bool show_keys(pk_result *result)
{
    static const char *const first[] = {"one", "1"};
    static const char *const second[] = {"two", NULL};
    pk_result_columns(result, key_columns, 2);
    return pk_result_row(result, first, NULL) && pk_result_row(result, second, NULL);
}

static void run_until_canceled(const pk_request *request, pk_result *result)
{
    const struct timespec moment = {.tv_nsec = 2000000};
    while (!atomic_load(&request->canceled))
        (void)nanosleep(&moment, NULL);
    result->failed = true;
    (void)pk_fail(&result->error, PK_E_CANCELED, "canceling statement due to user request");
}

static void answer(const pk_request *request, const pk_stmt *stmt, pk_result *result)
{
    result->tag = stmt->tag;
    if (stmt->kind == PK_STMT_SHOW_MASTER_KEYS) {
        result->failed = !show_keys(result);
    } else if (stmt->kind == PK_STMT_SMK_BACKUP) {
        pk_result_notice(result, PK_NOTICE, PK_OK, NULL, NULL, "to %.*s for %s in %s, %s, %s",
                         PK_SPAN_ARG(stmt->u.master_key.place.text),
                         request->user == NULL ? "nobody" : request->user, request->database,
                         request->secure_peer ? "secure" : "insecure",
                         request->in_block ? "in a block" : "outside");
    } else if (stmt->kind == PK_STMT_SMK_RESTORE) {
        pk_result_notice(result, PK_WARNING, PK_E_WARNING, NULL, NULL, "about to fail");
        result->failed = true;
        (void)pk_fail(&result->error, PK_E_UNDEFINED_FILE, "file does not exist");
        (void)pk_error_detail(&result->error, "It is not there.");
        (void)pk_error_hint(&result->error, "Name another one.");
    } else if (stmt->kind == PK_STMT_DMK_OPEN) {
        if (pk_span_equal(stmt->u.master_key.decryption.text, PK_SPAN("linger")))
            (void)nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        result->failed = true;
        (void)pk_fail(&result->error, PK_E_PASSWORD, "wrong password");
    } else if (stmt->kind == PK_STMT_SMK_ALTER) {
        run_until_canceled(request, result);
    }
}

typedef struct job {
    pk_engine *engine;
    pk_request *request;
    size_t slot;
} job;

static void *run(void *arg)
{
    job *work = arg;
    pk_request *request = work->request;
    pk_script *script = &request->script;
    request->results = pk_arena_array(&request->arena, script->count, sizeof(pk_result *), NULL);
    for (size_t i = 0; request->results != NULL && i < script->count; i++) {
        pk_result *result = pk_result_new();
        request->results[request->result_count++] = result;
        answer(request, &script->stmts[i], result);
        if (result->failed)
            break;
    }
    (void)pthread_mutex_lock(&work->engine->lock);
    work->engine->running[work->slot] = NULL;
    (void)pthread_mutex_unlock(&work->engine->lock);
    pk_free(work);
    request->done(request->ctx, request);
    return NULL;
}

void pk_engine_submit(pk_engine *engine, pk_request *request)
{
    job *work = pk_new(job);
    (void)pthread_mutex_lock(&engine->lock);
    *work = (job){engine, request, engine->count};
    engine->running[engine->count] = request;
    if (engine->count == THREADS_MAX ||
        pthread_create(&engine->threads[engine->count], NULL, run, work) != 0)
        abort();
    engine->count++;
    (void)pthread_mutex_unlock(&engine->lock);
}

void pk_engine_cancel(pk_engine *engine, uint64_t number)
{
    (void)pthread_mutex_lock(&engine->lock);
    for (size_t i = 0; i < engine->count; i++)
        if (engine->running[i] != NULL && engine->running[i]->number == number) {
            atomic_store(&engine->running[i]->canceled, true);
            pk_log_info("fake engine: request %llu canceled", (unsigned long long)number);
        }
    (void)pthread_mutex_unlock(&engine->lock);
}

void pk_engine_forget_session(pk_engine *engine, uint64_t session)
{
    (void)pthread_mutex_lock(&engine->lock);
    unsigned times = ++engine->forgotten;
    (void)pthread_mutex_unlock(&engine->lock);
    pk_log_info("fake engine: session %llu forgotten, call %u", (unsigned long long)session, times);
}

void pk_engine_drain(pk_engine *engine)
{
    (void)engine;
    pk_log_info("fake engine: draining");
}

struct pk_keeper *pk_engine_keeper(pk_engine *engine)
{
    (void)engine;
    return NULL;
}

bool pk_engine_create_keystore(const char *state_dir, const pk_clock *clock,
                               pk_keystore_summary *summary, pk_error *err)
{
    (void)clock;
    (void)summary;
    return pk_fail(err, PK_E_DUPLICATE_OBJECT, "no keystore in \"%s\": this engine is a fake",
                   state_dir);
}

bool pk_exec_in_block(pk_stmt_kind kind)
{
    return kind == PK_STMT_SHOW_MASTER_KEYS || kind == PK_STMT_SHOW_KEY_BACKUPS ||
           kind == PK_STMT_DMK_OPEN || kind == PK_STMT_DMK_CLOSE;
}

const pk_column *pk_exec_columns(pk_stmt_kind kind, size_t *count)
{
    *count = kind == PK_STMT_SHOW_MASTER_KEYS ? PK_COUNT(key_columns) : 0;
    return *count == 0 ? NULL : key_columns;
}
