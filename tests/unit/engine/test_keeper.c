/*
 * The keeper from both sides of its door: every call does its work, requests that are cut, garbled
 * or unknown do none and are 08P01, what comes over the control socket is admitted by rule, a
 * keystore that another process has is waited for, and a draining keeper gives its own up.
 */
#include "successor.h"

#include "engine/keeper_message.h"
#include "engine/keeper_transport.h"

#include <pthread.h>

static const pk_database sales = {.name = "sales", .oid = 16384};
static const pk_opener seven = {.session = 7, .user = "alice"};

/* A clock that stops whoever reads it while `held`: a call that reads it under the keystore's lock
 * is then one that takes long. */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool held;
static int at_gate;

static int64_t read_wall(const pk_clock *clock)
{
    (void)clock;
    pthread_mutex_lock(&gate_lock);
    at_gate += held;
    pthread_cond_broadcast(&gate_moved);
    while (held)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
    return pk_clock_system.wall_us(&pk_clock_system);
}

static int64_t read_mono(const pk_clock *clock)
{
    (void)clock;
    return pk_clock_system.mono_us(&pk_clock_system);
}

static const pk_clock clock_of_ours = {.wall_us = read_wall, .mono_us = read_mono};

static void hold(bool on)
{
    pthread_mutex_lock(&gate_lock);
    held = on;
    at_gate = 0;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

static void wait_for_one_at_gate(void)
{
    pthread_mutex_lock(&gate_lock);
    while (at_gate == 0)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static pk_keeper *open_keeper(const char *dir)
{
    pk_error err = {0};
    const pk_keeper_options options = {
        .state_dir = dir, .create = true, .unlock_timeout_ms = 20000, .open_idle_ms = 60000};
    pk_keeper *keeper = pk_keeper_open(&options, &clock_of_ours, &err);
    must(keeper != NULL, &err);
    return keeper;
}

typedef struct world {
    char dir[64];
    pk_keeper *keeper;
    pk_arena arena;
} world;

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    fixture_dir(w->dir);
    w->keeper = open_keeper(w->dir);
    w->arena = PK_ARENA_MAX(16u << 20);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    pk_keeper_close(w->keeper);
    pk_arena_clear(&w->arena);
    fixture_remove(w->dir);
    free(w);
    return 0;
}

static void create(world *w, const char *password)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_row_audit audit = fixture_audit();
    must(pk_keeper_create_dmk(w->keeper, &sales, pk_span_of(password), &audit, &brief, &err), &err);
    assert_int_equal(brief.version, 1);
}

static pk_export_receipt export(world *w, const pk_database *db, const char *password, pk_buf *file)
{
    pk_error err = {0};
    pk_export_receipt receipt;
    const pk_export_order order = {.db = db,
                                   .opener = &seven,
                                   .password = pk_span_of(password),
                                   .statement = "BACKUP MASTER KEY",
                                   .user = "alice",
                                   .server_version = "15",
                                   .system_identifier = ""};
    must(pk_keeper_export(w->keeper, &order, &w->arena, file, &receipt, &err), &err);
    return receipt;
}

static pk_key_info *listed(world *w, const char *database)
{
    pk_error err = {0};
    pk_key_info *list;
    size_t count;
    must(pk_keeper_list(w->keeper, &seven, &w->arena, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        if ((list[i].database == NULL) == (database == NULL) &&
            (database == NULL || strcmp(list[i].database, database) == 0))
            return &list[i];
    return NULL;
}

static void a_key_goes_out_is_recorded_and_comes_back(void **state)
{
    world *w = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    create(w, "Correct1horse");
    assert_string_equal(listed(w, "sales")->backed_up, "never");

    pk_export_receipt receipt = export(w, &sales, "Out1of2here", &file);
    assert_string_equal(receipt.recipient, "password");
    assert_non_null(memmem(pk_buf_span(&file).ptr, pk_buf_span(&file).len, "BEGIN CMS", 9));
    const pk_backup_note note = {.destination = "file:///kb/a",
                                 .contents = receipt.contents,
                                 .recipients_json = "[\"password\"]",
                                 .sha256 = {1},
                                 .size = pk_buf_span(&file).len};
    must(pk_keeper_record(w->keeper, &note, 1, &audit, &err), &err);
    assert_string_equal(listed(w, "sales")->backed_up, "yes");

    pk_import_report report;
    pk_import_order order = {.db = &sales,
                             .opener = &seven,
                             .file = pk_buf_span(&file),
                             .name = "a",
                             .password = PK_SPAN("wrong"),
                             .new_password = PK_SPAN("Another2horse"),
                             .replace = true,
                             .destination = "file:///kb/a"};
    assert_false(pk_keeper_import(w->keeper, &order, &audit, &w->arena, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    order.password = PK_SPAN("Out1of2here");
    must(pk_keeper_import(w->keeper, &order, &audit, &w->arena, &report, &err), &err);
    assert_true(report.restore.identical && report.signed_by_us && !report.recipients_differ);
    assert_string_equal(report.restore.brief.fingerprint, receipt.brief.fingerprint);
}

/* Whoever signed it, a file is not looked into while the keystore is sealed. */
static void a_file_comes_back_into_an_open_keystore_only(void **state)
{
    world *w = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    pk_import_report report;
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    create(w, "Correct1horse");
    (void)export(w, &sales, "Out1of2here", &file);
    const pk_import_order order = {.db = &sales,
                                   .file = pk_buf_span(&file),
                                   .name = "a",
                                   .password = PK_SPAN("Out1of2here"),
                                   .new_password = PK_SPAN("Another2horse"),
                                   .destination = "file:///kb/a"};
    must(pk_keeper_seal(w->keeper, &audit, &err), &err);
    assert_false(pk_keeper_import(w->keeper, &order, &audit, &w->arena, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_string_equal(err.message, "keystore is sealed");
}

static void a_restored_key_is_covered_by_its_file(void **state)
{
    world *w = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    pk_import_report report;
    pk_backup_info *backups;
    size_t count;
    world other = {.arena = PK_ARENA_MAX(1u << 20)};
    create(w, "");
    export(w, &sales, "Out1of2here", &file);

    fixture_dir(other.dir);
    other.keeper = open_keeper(other.dir);
    const pk_import_order order = {.db = &sales,
                                   .opener = &seven,
                                   .file = pk_buf_span(&file),
                                   .name = "a",
                                   .password = PK_SPAN("Out1of2here"),
                                   .destination = "file:///kb/a"};
    must(pk_keeper_import(other.keeper, &order, &audit, &other.arena, &report, &err), &err);
    assert_false(report.signed_by_us);
    assert_int_equal(strlen(report.signer), 24);
    assert_string_equal(listed(&other, "sales")->backed_up, "yes");
    must(pk_keeper_backups(other.keeper, &other.arena, &backups, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(backups[0].destination, "file:///kb/a");
    assert_string_equal(backups[0].database, "sales");
    assert_true(backups[0].verified && !backups[0].stale);
    pk_keeper_close(other.keeper);
    pk_arena_clear(&other.arena);
    fixture_remove(other.dir);
}

static void sealed_says_so_and_forgets_every_key(void **state)
{
    world *w = *state;
    pk_error err = {0};
    pk_keeper_status status;
    pk_key_info *list;
    size_t count;
    int64_t id;
    pk_row_audit audit = fixture_audit();
    const pk_slot_request slot = {
        .kind = "password", .label = "", .secret = PK_SPAN("Correct1horse")};
    must(pk_keeper_add_slot(w->keeper, &slot, &audit, NULL, &id, &err), &err);
    must(pk_keeper_seal(w->keeper, &audit, &err), &err);
    must(pk_keeper_status_get(w->keeper, &w->arena, &status, &err), &err);
    assert_string_equal(status.state, "sealed");
    assert_int_equal(status.slot_count, 2);
    assert_int_equal(strlen(status.uuid), 36);
    assert_false(pk_keeper_list(w->keeper, &seven, &w->arena, &list, &count, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_non_null(strstr(err.hint, "UNSEAL"));

    assert_false(pk_keeper_unseal(w->keeper, "password", PK_SPAN("wrong"), &audit, &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    assert_false(pk_keeper_unseal(w->keeper, "telepathy", PK_SPAN("x"), &audit, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    must(pk_keeper_unseal(w->keeper, "password", PK_SPAN("Correct1horse"), &audit, &err), &err);
    must(pk_keeper_status_get(w->keeper, &w->arena, &status, &err), &err);
    assert_string_equal(status.state, "open");
}

/* Every beginning of every request, with garbage at its end: an error, or (a SEAL without the
 * garbage) a whole request; never a crash. With all of the garbage it is 08P01, sealed or not. */
static void cut_requests_are_refused(void **state)
{
    world *w = *state;
    for (int op = 0; op < PK_KEEPER_OP_COUNT; op++) {
        PK_AUTO(pk_buf_clear) pk_buf request = PK_BUF_SECRET(1u << 16);
        pk_message_out out = {.buf = &request};
        pk_row_audit audit = fixture_audit();
        pk_put_op(&out, (pk_keeper_op)op);
        if (pk_keeper_op_audited((pk_keeper_op)op))
            pk_put_audit(&out, &audit);
        for (int i = 0; i < 40; i++)
            pk_put_u8(&out, 0x7f); /* lengths and counts that nothing is behind */
        pk_span whole = pk_buf_span(&request);
        for (size_t len = 0; len <= whole.len; len++) {
            PK_AUTO(pk_buf_clear) pk_buf reply = PK_BUF_SECRET(1u << 20);
            pk_error err = {0};
            const pk_span cut = {whole.ptr, len};
            if (!pk_keeper_call(w->keeper, cut, &reply, &err))
                assert_string_not_equal(err.sqlstate, "");
            if (len == whole.len)
                assert_string_equal(err.sqlstate, PK_E_PROTOCOL);
        }
    }
}

static void unknown_requests_are_refused(void **state)
{
    world *w = *state;
    static const uint8_t requests[][2] = {
        {0, PK_KEEPER_STATUS}, {2, PK_KEEPER_STATUS}, {1, PK_KEEPER_OP_COUNT}, {1, 255}};
    for (size_t i = 0; i < PK_COUNT(requests); i++) {
        PK_AUTO(pk_buf_clear) pk_buf reply = PK_BUF_SECRET(1024);
        pk_error err = {0};
        assert_false(pk_keeper_call(w->keeper, pk_span_bytes(requests[i], 2), &reply, &err));
        assert_string_equal(err.sqlstate, PK_E_PROTOCOL);
    }
}

static void the_socket_admits_what_offline_verbs_need(void **state)
{
    static const bool admitted[PK_KEEPER_OP_COUNT] = {
        [PK_KEEPER_STATUS] = true,   [PK_KEEPER_SEAL] = true,      [PK_KEEPER_UNSEAL] = true,
        [PK_KEEPER_ADD_SLOT] = true, [PK_KEEPER_DROP_SLOT] = true, [PK_KEEPER_VERIFY_AUDIT] = true};
    (void)state;
    for (int op = 0; op < PK_KEEPER_OP_COUNT; op++) {
        PK_AUTO(pk_buf_clear) pk_buf request = PK_BUF_SECRET(4096);
        PK_AUTO(pk_buf_clear) pk_buf passed = PK_BUF_SECRET(4096);
        PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(65536);
        pk_message_out out = {.buf = &request};
        pk_row_audit audit = fixture_audit();
        pk_error err = {0};
        audit.outcome = "refused"; /* none of what it says about itself is believed */
        audit.sqlstate = PK_E_PRIVILEGE;
        audit.fp = "SHA256:00";
        audit.text_redacted = "select 1";
        pk_put_op(&out, (pk_keeper_op)op);
        pk_put_audit(&out, &audit);
        pk_put_text(&out, "rest");
        assert_int_equal(pk_keeper_admit(pk_buf_span(&request), "uid:0", &passed, &err),
                         admitted[op]);
        if (!admitted[op]) {
            assert_string_equal(err.sqlstate, PK_E_PRIVILEGE);
            continue;
        }
        if (!pk_keeper_op_audited((pk_keeper_op)op))
            continue;
        pk_message_in in = {.rest = pk_buf_span(&passed), .arena = &arena};
        pk_keeper_op same;
        must(pk_get_op(&in, &same, &err), &err);
        pk_row_audit row = pk_get_audit(&in);
        assert_string_equal(row.actor, "uid:0");
        assert_string_equal(row.client, "control socket");
        assert_string_not_equal(row.action, audit.action);
        assert_int_equal(row.at, 0); /* the keystore's clock */
        assert_string_equal(row.outcome, "ok");
        assert_string_equal(row.sqlstate, PK_OK);
        assert_string_equal(row.fp, "");
        assert_string_equal(row.text_redacted, "");
        assert_string_equal(pk_get_some_text(&in), "rest");
        must(pk_get_end(&in, &err), &err);
    }
}

/* In a child, because SQLite's locks do not keep a process from itself. */
static void another_process_is_named_and_its_end_is_noticed(void **state)
{
    world *w = *state;
    pk_error err = {0};
    pk_keeper_status status;
    int ready[2];
    char byte;
    create(w, "");
    assert_int_equal(pipe(ready), 0);
    pk_keeper_close(w->keeper);
    const pid_t child = fork();
    if (child == 0) {
        pk_keystore *ks = pk_keystore_open(w->dir, false, NULL, &pk_clock_system, &err);
        _exit(ks != NULL && write(ready[1], "x", 1) == 1 && pause() == 0 ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    w->keeper = open_keeper(w->dir);
    must(pk_keeper_status_get(w->keeper, &w->arena, &status, &err), &err);
    assert_string_equal(status.state, "absent");
    assert_string_equal(status.why.sqlstate, PK_E_STATE);
    char owner[32];
    snprintf(owner, sizeof owner, "Process %d ", (int)child);
    assert_non_null(strstr(status.why.detail, owner));
    pk_key_info *list;
    size_t count;
    assert_false(pk_keeper_list(w->keeper, &seven, &w->arena, &list, &count, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    assert_non_null(listed(w, "sales"));
}

static void a_draining_keeper_gives_the_keystore_up_and_takes_it_again(void **state)
{
    world *w = *state;
    create(w, "");
    pk_keeper_close(w->keeper);
    successor s = make_successor(w->dir, false);
    w->keeper = open_keeper(w->dir);
    assert_non_null(listed(w, "sales"));
    assert_false(gets_it(&s));
    pk_keeper_drain(w->keeper);
    gets_it_soon(&s);
    assert_non_null(listed(w, "sales")); /* a last statement while draining */
    end_successor(&s);
}

static void *export_it(void *arg)
{
    world *w = arg;
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    export(w, &sales, "Out1of2here", &file);
    return NULL;
}

typedef struct asker {
    world *w;
    _Atomic bool done;
    pk_error err;
} asker;

static void *ask_for_the_list(void *arg)
{
    asker *a = arg;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    pk_key_info *list;
    size_t count;
    (void)!pk_keeper_list(a->w->keeper, NULL, &arena, &list, &count, &a->err);
    a->done = true;
    return NULL;
}

static void *forget_and_drain(void *arg)
{
    asker *a = arg;
    pk_keeper_forget_session(a->w->keeper, 7);
    pk_keeper_drain(a->w->keeper);
    a->done = true;
    return NULL;
}

static bool done_within(const _Atomic bool *done, int ms)
{
    for (int i = 0; i < ms && !*done; i++)
        usleep(1000);
    return *done;
}

/* An event loop asks for these two: it must not stand still behind a call that takes long, nor
 * behind the calls that wait for that one. */
static void forget_and_drain_wait_for_no_call(void **state)
{
    world *w = *state;
    asker lists = {.w = w};
    asker loop = {.w = w};
    pthread_t exporter, lister, looper;
    create(w, "");
    hold(true);
    assert_int_equal(pthread_create(&exporter, NULL, export_it, w), 0);
    wait_for_one_at_gate();
    assert_int_equal(pthread_create(&lister, NULL, ask_for_the_list, &lists), 0);
    assert_false(done_within(&lists.done, 100));
    assert_int_equal(pthread_create(&looper, NULL, forget_and_drain, &loop), 0);
    const bool at_once = done_within(&loop.done, 3000);
    hold(false);
    assert_int_equal(pthread_join(exporter, NULL), 0);
    assert_int_equal(pthread_join(lister, NULL), 0);
    assert_int_equal(pthread_join(looper, NULL), 0);
    assert_true(at_once);
    assert_string_equal(lists.err.sqlstate, "");
}

/* Of four keeper threads one is held and three wait for it; 64 calls may wait in the queue. */
static void too_many_calls_at_once_are_refused(void **state)
{
    world *w = *state;
    enum { ASKERS = 3 + 64 + 8 };
    asker askers[ASKERS];
    pthread_t exporter, threads[ASKERS];
    size_t refused = 0;
    create(w, "");
    hold(true);
    assert_int_equal(pthread_create(&exporter, NULL, export_it, w), 0);
    wait_for_one_at_gate();
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (asker){.w = w};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_the_list, &askers[i]), 0);
    }
    for (int i = 0; i < 10000 && refused < 8; i++) {
        usleep(1000);
        refused = 0;
        for (size_t a = 0; a < ASKERS; a++)
            refused += askers[a].done;
    }
    hold(false);
    assert_int_equal(pthread_join(exporter, NULL), 0);
    for (size_t i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(refused >= 8);
    size_t with_53400 = 0;
    for (size_t i = 0; i < ASKERS; i++)
        if (askers[i].err.sqlstate[0] != '\0') {
            assert_string_equal(askers[i].err.sqlstate, PK_E_LIMIT_CONFIGURED);
            with_53400++;
        }
    assert_int_equal(with_53400, refused);
}

typedef struct pusher {
    world *w;
    unsigned number;
    bool ok;
} pusher;

static void *push(void *arg)
{
    pusher *p = arg;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4u << 20);
    pk_error err = {0};
    p->ok = true;
    for (int i = 0; i < 20; i++) {
        char name[32];
        pk_key_brief brief;
        pk_key_info *list;
        size_t count;
        snprintf(name, sizeof name, "db_%u_%d", p->number, i);
        const pk_database db = {.name = name, .oid = 1000 + (int64_t)p->number * 100 + i};
        pk_row_audit audit = fixture_audit();
        p->ok = p->ok &&
                pk_keeper_create_dmk(p->w->keeper, &db, PK_SPAN(""), &audit, &brief, &err) &&
                pk_keeper_list(p->w->keeper, NULL, &arena, &list, &count, &err);
        pk_keeper_forget_session(p->w->keeper, p->number);
        pk_arena_clear(&arena);
    }
    return NULL;
}

static void many_callers_at_once(void **state)
{
    world *w = *state;
    pthread_t threads[6];
    pusher pushers[6];
    pk_error err = {0};
    pk_key_info *list;
    size_t count;
    for (unsigned i = 0; i < PK_COUNT(threads); i++) {
        pushers[i] = (pusher){.w = w, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, push, &pushers[i]), 0);
    }
    for (size_t i = 0; i < PK_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_true(pushers[i].ok);
    }
    must(pk_keeper_list(w->keeper, NULL, &w->arena, &list, &count, &err), &err);
    assert_int_equal(count, 6 * 20 + 1);
}

static void *list_again_and_again(void *arg)
{
    asker *a = arg;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    pk_key_info *list;
    size_t count;
    for (int i = 0; i < 40 && a->err.sqlstate[0] == '\0'; i++) {
        (void)!pk_keeper_list(a->w->keeper, NULL, &arena, &list, &count, &a->err);
        pk_arena_clear(&arena);
    }
    return NULL;
}

/* Each of these calls may be the one that finds the keystore given up a moment ago. */
static void a_draining_keeper_answers_whoever_still_asks(void **state)
{
    world *w = *state;
    asker askers[3];
    pthread_t threads[PK_COUNT(askers)];
    create(w, "");
    pk_keeper_drain(w->keeper);
    for (size_t i = 0; i < PK_COUNT(askers); i++) {
        askers[i] = (asker){.w = w};
        assert_int_equal(pthread_create(&threads[i], NULL, list_again_and_again, &askers[i]), 0);
    }
    for (size_t i = 0; i < PK_COUNT(askers); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < PK_COUNT(askers); i++)
        must(askers[i].err.sqlstate[0] == '\0', &askers[i].err);
}

int main(void)
{
    fixture_init();
    const struct CMUnitTest tests[] = {
#define WITH_KEEPER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        WITH_KEEPER(a_key_goes_out_is_recorded_and_comes_back),
        WITH_KEEPER(a_file_comes_back_into_an_open_keystore_only),
        WITH_KEEPER(a_restored_key_is_covered_by_its_file),
        WITH_KEEPER(sealed_says_so_and_forgets_every_key),
        WITH_KEEPER(cut_requests_are_refused),
        WITH_KEEPER(unknown_requests_are_refused),
        cmocka_unit_test(the_socket_admits_what_offline_verbs_need),
        WITH_KEEPER(another_process_is_named_and_its_end_is_noticed),
        WITH_KEEPER(a_draining_keeper_gives_the_keystore_up_and_takes_it_again),
        WITH_KEEPER(a_draining_keeper_answers_whoever_still_asks),
        WITH_KEEPER(forget_and_drain_wait_for_no_call),
        WITH_KEEPER(too_many_calls_at_once_are_refused),
        WITH_KEEPER(many_callers_at_once),
    };
    return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
