/*
 * Queue, workers, cancellation, and what a client is told while the keystore is sealed or not
 * there. Nobody is to be asked about rights: the service connection points at a port where nothing
 * listens, so a statement that gets as far as that question answers 57P03, unless the test says
 * what the answer would be.
 */
#include "successor.h"

#include "engine/authz.h"
#include "engine/engine.h"

#include <semaphore.h>

static const pk_rights *rights_of_everybody; /* NULL: PostgreSQL is asked */
/* The linker's names begin with two underscores, which C keeps for itself; hence the labels. */
bool real_ask(pk_authz *authz, const char *user, const char *database, pk_rights *rights,
              pk_error *err) __asm__("__real_pk_authz_ask");
bool wrapped_ask(pk_authz *authz, const char *user, const char *database, pk_rights *rights,
                 pk_error *err) __asm__("__wrap_pk_authz_ask");
bool wrapped_ask(pk_authz *authz, const char *user, const char *database, pk_rights *rights,
                 pk_error *err)
{
    if (rights_of_everybody == NULL)
        return real_ask(authz, user, database, rights, err);
    *rights = *rights_of_everybody;
    return true;
}

static const pk_rights admin = {.connect = true, .db_oid = 16384, .roles[PK_ROLE_ADMIN] = true};
static const pk_rights monitor = {.connect = true, .db_oid = 16384, .roles[PK_ROLE_MONITOR] = true};
static const pk_rights nobody = {.connect = true, .db_oid = 16384};

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

static pk_engine *open_with(const char *dir, bool create, unsigned workers)
{
    pk_error err = {0};
    static const char *const roots[] = {"/tmp"};
    const pk_engine_options options = {
        .state_dir = dir,
        .service = "host=127.0.0.1 port=1 dbname=postgres connect_timeout=1",
        .admin_database = "postgres",
        .key_roots = roots,
        .key_root_count = PK_COUNT(roots),
        .create_keystore = create,
        .secrets_need_tls = true,
        .unlock_timeout_ms = 20000,
        .open_idle_ms = 600000,
        .workers = workers};
    pk_engine *engine = pk_engine_open(&options, &pk_clock_system, &err);
    must(engine != NULL, &err);
    return engine;
}

static pk_engine *open_engine(const char *dir, unsigned workers)
{
    return open_with(dir, true, workers);
}

/* What came of one statement of a session; the request is the caller's to free. */
static pk_request *run(pk_engine *engine, const char *sql, uint64_t session, const pk_rights *who)
{
    waiter w;
    waiter_init(&w);
    rights_of_everybody = who;
    pk_request *request = make(&w, sql, 1);
    request->session = session;
    pk_engine_submit(engine, request);
    sem_wait(&w.done);
    sem_destroy(&w.done);
    rights_of_everybody = NULL;
    assert_int_equal(w.request->result_count, 1);
    return w.request;
}

static void succeeds(pk_engine *engine, const char *sql, uint64_t session)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = run(engine, sql, session, &admin);
    must(!request->results[0]->failed, &request->results[0]->error);
}

static pk_error fails(pk_engine *engine, const char *sql, uint64_t session, const pk_rights *who,
                      const char *sqlstate)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = run(engine, sql, session, who);
    assert_true(request->results[0]->failed);
    assert_string_equal(request->results[0]->error.sqlstate, sqlstate);
    return request->results[0]->error;
}

static void shows_state(pk_engine *engine, const char *state)
{
    PK_AUTO_PTR(pk_request_free) pk_request *request = run(engine, "SHOW KEYSTORE", 1, &admin);
    must(!request->results[0]->failed, &request->results[0]->error);
    assert_non_null(request->results[0]->rows);
    assert_string_equal(request->results[0]->rows->values[1], state);
}

static void is_bare(const pk_error *err)
{
    assert_string_equal(err->message, "the keystore is not available");
    assert_string_equal(err->detail, "");
    assert_string_equal(err->hint, "");
}

/* Everybody who has the right hears that there is none, an administrator also why; who has no right
 * hears of that only. */
static void a_keystore_that_is_absent_is_told_by_rights(void **state)
{
    (void)state;
    char dir[64], missing[80];
    fixture_dir(dir);
    snprintf(missing, sizeof missing, "%s/missing", dir);
    pk_engine *engine = open_with(missing, false, 0);
    pk_error err = fails(engine, "SHOW MASTER KEYS", 1, &admin, PK_E_STATE);
    assert_non_null(strstr(err.detail, missing));
    assert_string_not_equal(err.hint, "");
    err = fails(engine, "SHOW MASTER KEYS", 1, &monitor, PK_E_STATE);
    is_bare(&err);
    err = fails(engine, "CLOSE MASTER KEY", 1, &monitor, PK_E_STATE);
    is_bare(&err);
    err = fails(engine, "SHOW MASTER KEYS", 1, &nobody, PK_E_PRIVILEGE);
    shows_state(engine, "absent"); /* though no audit row can be written */
    pk_engine_close(engine);
    fixture_remove(dir);
}

/* A process that owns the keystore until it is killed. */
static pid_t another_owner(const char *dir)
{
    pk_error err = {0};
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        pk_keystore *ks = pk_keystore_open(dir, false, NULL, &pk_clock_system, &err);
        _exit(ks != NULL && write(ready[1], "x", 1) == 1 && pause() == 0 ? 0 : 1);
    }
    close(ready[1]);
    const bool owns = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    if (owns)
        return child;
    assert_int_equal(waitpid(child, NULL, 0), child);
    return 0;
}

static void end_owner(pid_t owner)
{
    assert_int_equal(kill(owner, SIGKILL), 0);
    assert_int_equal(waitpid(owner, NULL, 0), owner);
}

static void a_keystore_of_another_process_is_taken_when_that_ends(void **state)
{
    (void)state;
    char dir[64], name[32];
    fixture_dir(dir);
    pk_keystore_close(fixture_open(dir));
    const pid_t owner = another_owner(dir);
    assert_true(owner > 0);
    pk_engine *engine = open_with(dir, false, 0);
    pk_error err = fails(engine, "SHOW MASTER KEYS", 1, &admin, PK_E_STATE);
    snprintf(name, sizeof name, "rocess %d ", (int)owner);
    assert_non_null(strstr(err.detail, name));
    err = fails(engine, "SHOW MASTER KEYS", 1, &monitor, PK_E_STATE);
    is_bare(&err);
    end_owner(owner);
    succeeds(engine, "SHOW MASTER KEYS", 1);
    pk_engine_close(engine);
    fixture_remove(dir);
}

static void a_sealed_keystore_says_so_to_who_has_the_right(void **state)
{
    (void)state;
    char dir[64];
    fixture_dir(dir);
    pk_engine *engine = open_engine(dir, 0);
    succeeds(engine, "ALTER KEYSTORE ADD SLOT PASSWORD 'Gravel:81:oboe'", 1);
    succeeds(engine, "SEAL", 1);
    pk_error err = fails(engine, "SHOW MASTER KEYS", 1, &monitor, PK_E_STATE);
    assert_non_null(strstr(err.message, "sealed"));
    assert_string_not_equal(err.hint, "");
    err = fails(engine, "SHOW MASTER KEYS", 1, &nobody, PK_E_PRIVILEGE);
    assert_null(strstr(err.message, "sealed"));
    shows_state(engine, "sealed");
    succeeds(engine, "UNSEAL WITH PASSWORD = 'Gravel:81:oboe'", 1);
    succeeds(engine, "SHOW MASTER KEYS", 1);
    pk_engine_close(engine);
    fixture_remove(dir);
}

#define FILE_PASSWORD "'Gravel:81:oboe'"

static void back_up(char sql[static 256], const char *dir, const char *name)
{
    snprintf(sql, 256,
             "BACKUP MASTER KEY TO FILE = '%s/%s' ENCRYPTION BY PASSWORD = " FILE_PASSWORD, dir,
             name);
}

/* A key that only a password protects: it comes from another keystore. */
static pk_engine *engine_with_closed_key(const char *dir, const char *first, const char *files)
{
    char sql[256];
    pk_engine *engine = open_engine(first, 0);
    succeeds(engine, "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Lorry-5-teapot'", 1);
    back_up(sql, files, "a");
    succeeds(engine, sql, 1);
    pk_engine_close(engine);
    engine = open_engine(dir, 0);
    snprintf(sql, sizeof sql,
             "RESTORE MASTER KEY FROM FILE = '%s/a' DECRYPTION BY PASSWORD = " FILE_PASSWORD
             " ENCRYPTION BY PASSWORD = 'Lorry-5-teapot'",
             files);
    succeeds(engine, sql, 1);
    return engine;
}

static void a_session_that_is_forgotten_has_no_open_keys(void **state)
{
    (void)state;
    char dir[64], first[64], files[64], sql[256];
    fixture_dir(dir);
    fixture_dir(first);
    fixture_dir(files);
    pk_engine *engine = engine_with_closed_key(dir, first, files);
    back_up(sql, files, "b");
    fails(engine, sql, 7, &admin, PK_E_STATE);
    succeeds(engine, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Lorry-5-teapot'", 7);
    fails(engine, sql, 8, &admin, PK_E_STATE);
    succeeds(engine, sql, 7);
    pk_engine_forget_session(engine, 8);
    back_up(sql, files, "c");
    succeeds(engine, sql, 7);
    pk_engine_forget_session(engine, 7);
    back_up(sql, files, "d");
    fails(engine, sql, 7, &admin, PK_E_STATE);
    pk_engine_close(engine);
    fixture_remove(dir);
    fixture_remove(first);
    fixture_remove(files);
}

static void a_draining_engine_lets_a_successor_have_the_keystore(void **state)
{
    (void)state;
    char dir[64];
    fixture_dir(dir);
    pk_keystore_close(fixture_open(dir));
    const successor next = make_successor(dir, true);
    pk_engine *engine = open_engine(dir, 0);
    succeeds(engine, "SHOW MASTER KEYS", 1);
    assert_false(gets_it(&next)); /* not yet */
    pk_engine_drain(engine);
    gets_it_soon(&next);
    pk_error err = fails(engine, "SHOW MASTER KEYS", 1, &monitor, PK_E_STATE);
    is_bare(&err);
    end_successor(&next);
    succeeds(engine, "SHOW MASTER KEYS", 1); /* a last statement */
    pk_engine_close(engine);
    fixture_remove(dir);
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
    PK_SUITE_TEST(&suite, a_keystore_that_is_absent_is_told_by_rights);
    PK_SUITE_TEST(&suite, a_keystore_of_another_process_is_taken_when_that_ends);
    PK_SUITE_TEST(&suite, a_sealed_keystore_says_so_to_who_has_the_right);
    PK_SUITE_TEST(&suite, a_session_that_is_forgotten_has_no_open_keys);
    PK_SUITE_TEST(&suite, a_draining_engine_lets_a_successor_have_the_keystore);
    return pk_suite_run(&suite, "engine");
}
