/*
 * Queue, workers and cancellation, with nobody to ask about rights: the service connection points
 * at a port where nothing listens, so a statement that gets as far as that question answers 57P03.
 */
#include "keystore_fixture.h"

#include "engine/engine.h"

#include <semaphore.h>

typedef struct waiter {
    sem_t done;
    pk_request *request;
} waiter;

static void on_done(void *ctx, pk_request *request)
{
    waiter *w = ctx;
    w->request = request;
    sem_post(&w->done);
}

static void waiter_init(waiter *w)
{
    w->request = NULL;
    assert_int_equal(sem_init(&w->done, 0, 0), 0);
}

static pk_request *make(waiter *w, const char *sql, uint64_t number)
{
    pk_error err = {0};
    const pk_parse_options options = {.standard_conforming = true};
    pk_request *request = pk_request_new();
    const char *text = pk_arena_strdup(&request->arena, sql, &err);
    must(pk_parse(pk_span_of(text), &options, &request->arena, &request->script, &err), &err);
    request->number = number;
    request->user = "alice";
    request->database = "sales";
    request->client = "test";
    request->secure_peer = true;
    request->done = on_done;
    request->ctx = w;
    return request;
}

static void finished(waiter *w, const char *sqlstate)
{
    sem_wait(&w->done);
    assert_int_equal(w->request->result_count, 1);
    assert_true(w->request->results[0]->failed);
    assert_string_equal(w->request->results[0]->error.sqlstate, sqlstate);
    pk_request_free(w->request);
    sem_destroy(&w->done);
}

static pk_engine *open_engine(const char *dir, unsigned workers)
{
    pk_error err = {0};
    const pk_engine_options options = {
        .state_dir = dir,
        .service = "host=127.0.0.1 port=1 dbname=postgres connect_timeout=1",
        .admin_database = "postgres",
        .create_keystore = true,
        .secrets_need_tls = true,
        .workers = workers};
    pk_engine *engine = pk_engine_open(&options, &pk_clock_system, &err);
    must(engine != NULL, &err);
    return engine;
}

static void nobody_to_ask_is_57P03(void **state)
{
    (void)state;
    char dir[64];
    waiter w;
    fixture_dir(dir);
    waiter_init(&w);
    pk_engine *engine = open_engine(dir, 1);
    pk_engine_submit(engine, make(&w, "SHOW MASTER KEYS", 1));
    finished(&w, PK_E_NOT_READY);
    pk_engine_close(engine);
    fixture_remove(dir);
}

static void what_cannot_succeed_is_refused_before_anybody_is_asked(void **state)
{
    (void)state;
    char dir[64];
    waiter w;
    fixture_dir(dir);
    waiter_init(&w);
    pk_engine *engine = open_engine(dir, 1);
    pk_engine_submit(engine, make(&w, "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'weak'", 1));
    finished(&w, PK_E_PARAMETER);
    pk_engine_close(engine);
    fixture_remove(dir);
}

/* The first statement holds the only worker until it may go on. */
static sem_t hold, held;
static void on_hold(void *ctx, pk_request *request)
{
    sem_post(&held);
    sem_wait(&hold);
    on_done(ctx, request);
}

static void a_waiting_statement_can_be_canceled_and_too_many_are_refused(void **state)
{
    (void)state;
    enum { MANY = 200 };
    char dir[64];
    waiter first;
    static waiter rest[MANY];
    size_t refused = 0, canceled = 0, asked = 0;
    fixture_dir(dir);
    waiter_init(&first);
    sem_init(&hold, 0, 0);
    sem_init(&held, 0, 0);
    pk_engine *engine = open_engine(dir, 1);
    pk_request *request = make(&first, "SHOW MASTER KEYS", 1);
    request->done = on_hold;
    pk_engine_submit(engine, request);
    for (unsigned i = 0; i < MANY; i++) {
        waiter_init(&rest[i]);
        pk_engine_submit(engine, make(&rest[i], "SHOW MASTER KEYS", 100 + i));
        pk_engine_cancel(engine, 100 + i);
    }
    sem_post(&hold);
    finished(&first, PK_E_NOT_READY);
    for (unsigned i = 0; i < MANY; i++) {
        sem_wait(&rest[i].done);
        const pk_error *err = &rest[i].request->results[0]->error;
        refused += pk_error_is(err, PK_E_LIMIT_CONFIGURED);
        canceled += pk_error_is(err, PK_E_CANCELED);
        asked += pk_error_is(err, PK_E_NOT_READY);
        pk_request_free(rest[i].request);
    }
    assert_true(refused > 100);
    assert_true(canceled > 50);
    assert_int_equal(refused + canceled + asked, MANY);
    assert_true(asked <= 1); /* the one that ran before its cancel came */
    pk_engine_close(engine);
    fixture_remove(dir);
}

static void *let_go_later(void *arg)
{
    usleep(300000); /* by then the engine is closing */
    sem_post(&hold);
    return arg;
}

static void closing_answers_what_waits(void **state)
{
    (void)state;
    char dir[64];
    waiter first, second;
    pthread_t thread;
    fixture_dir(dir);
    waiter_init(&first);
    waiter_init(&second);
    sem_init(&hold, 0, 0);
    sem_init(&held, 0, 0);
    pk_engine *engine = open_engine(dir, 1);
    pk_request *request = make(&first, "SHOW MASTER KEYS", 1);
    request->done = on_hold;
    pk_engine_submit(engine, request);
    sem_wait(&held); /* the only worker is busy */
    pk_engine_submit(engine, make(&second, "SHOW MASTER KEYS", 2));
    assert_int_equal(pthread_create(&thread, NULL, let_go_later, NULL), 0);
    pk_engine_close(engine);
    pthread_join(thread, NULL);
    finished(&first, PK_E_NOT_READY);
    finished(&second, PK_E_SHUTDOWN);
    fixture_remove(dir);
}

int main(void)
{
    static pk_suite suite;
    pk_error err = {0};
    if (!pk_engine_init_process(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    pk_log_set_level(PK_LOG_ERROR);
    PK_SUITE_TEST(&suite, nobody_to_ask_is_57P03);
    PK_SUITE_TEST(&suite, what_cannot_succeed_is_refused_before_anybody_is_asked);
    PK_SUITE_TEST(&suite, a_waiting_statement_can_be_canceled_and_too_many_are_refused);
    PK_SUITE_TEST(&suite, closing_answers_what_waits);
    return pk_suite_run(&suite, "engine");
}
