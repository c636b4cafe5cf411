/*
 * How long an opened master key lives, and for whom (keys-and-security 4.4); how fast passwords can
 * be guessed (T11); and that nobody waits while a password becomes a key. Time is ours: mono_us.
 */
#include "keystore_fixture.h"

#include "crypto/kdf_pool.h"

#include <pthread.h>
#include <stdatomic.h>

#define PASSWORD "Heron!5520-Reed"
#define SECOND   INT64_C(1000000)

static const pk_database sales = {.name = "sales", .oid = 16384};
static const pk_database hr = {.name = "hr", .oid = 16385};
static const pk_opener alice = {.session = 1, .user = "alice"};

static _Atomic int64_t mono;

static int64_t read_wall(const pk_clock *clock)
{
    (void)clock;
    return pk_clock_system.wall_us(&pk_clock_system);
}

static int64_t read_mono(const pk_clock *clock)
{
    (void)clock;
    return mono;
}

static const pk_clock clock_of_ours = {.wall_us = read_wall, .mono_us = read_mono};

typedef struct world {
    char path[64];
    pk_keystore *ks;
} world;

static pk_secret *secret_of(const char *text)
{
    pk_error err = {0};
    pk_secret *secret = pk_secret_new(text, strlen(text), &err);
    assert_non_null(secret);
    return secret;
}

/* A key that only its password opens: as a restore with a password leaves it. */
static void make_key(pk_keystore *ks, const pk_database *db)
{
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    const pk_row_audit audit = fixture_audit();
    pk_restore_report report = {.arena = &arena};
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_of(PASSWORD);
    const pk_restore_order how = {.db = db, .password = password, .replace = true};
    pk_keyset_init(&set);
    pk_keyset_key *key = pk_keyset_add(&set, &err);
    key->ver = 1;
    key->kind = "dmk";
    memcpy(key->uuid, db->name, strlen(db->name));
    key->key = pk_secret_random(PK_KEY_LEN, &err);
    assert_true(pk_fingerprint(key->key, key->fp, &err));
    must(pk_keystore_restore_dmk(ks, &set, &how, &audit, &report, &err), &err);
}

static int open_world(void **state)
{
    pk_error err = {0};
    world *w = calloc(1, sizeof *w);
    mono = 1000 * SECOND;
    fixture_dir(w->path);
    w->ks = pk_keystore_open(w->path, true, NULL, &clock_of_ours, &err);
    must(w->ks != NULL, &err);
    make_key(w->ks, &sales);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    pk_keystore_close(w->ks);
    fixture_remove(w->path);
    free(w);
    return 0;
}

/* "" or the SQLSTATE. */
static const char *open_by(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                           const char *password, pk_error *err)
{
    const pk_row_audit audit = fixture_audit();
    pk_key_brief brief;
    bool was_open;
    *err = (pk_error){0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = secret_of(password);
    const pk_open_order order = {.db = db, .opener = opener, .password = secret};
    if (pk_keystore_open_dmk(ks, &order, &audit, &brief, &was_open, err))
        assert_string_equal(err->sqlstate, "");
    return err->sqlstate;
}

static void opens(pk_keystore *ks, const pk_database *db, const pk_opener *opener)
{
    pk_error err;
    if (open_by(ks, db, opener, PASSWORD, &err)[0] != '\0')
        fail_msg("%s (%s)", err.message, err.sqlstate);
}

static const char *close_by(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                            pk_error *err)
{
    const pk_row_audit audit = fixture_audit();
    *err = (pk_error){0};
    (void)!pk_keystore_close_dmk(ks, db, opener, &audit, err);
    return err->sqlstate;
}

static bool can_use(pk_keystore *ks, const pk_database *db, const pk_opener *opener)
{
    pk_error err = {0};
    pk_key_brief brief;
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_keyset_init(&set);
    const bool ok = pk_keystore_export_dmk(ks, db, opener, &set, &brief, &err);
    if (!ok)
        assert_string_equal(err.sqlstate, PK_E_STATE);
    return ok;
}

static bool is_listed_as_open(pk_keystore *ks, const pk_opener *opener)
{
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4u << 20);
    pk_key_info *list;
    size_t count;
    must(pk_keystore_list(ks, opener, &arena, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        if (list[i].database != NULL && strcmp(list[i].database, "sales") == 0)
            return list[i].open;
    fail_msg("no key of sales");
    return false;
}

static int64_t epoch_of(pk_keystore *ks)
{
    pk_error err = {0};
    pk_keystore_head head;
    must(pk_keystore_head_get(ks, &head, &err), &err);
    return head.epoch;
}

/* How long it lives */

static void open_makes_a_key_usable_and_close_ends_it(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    pk_error err;
    assert_false(can_use(ks, &sales, &alice));
    assert_false(is_listed_as_open(ks, &alice));
    const int64_t before = epoch_of(ks);
    opens(ks, &sales, &alice);
    assert_int_equal(epoch_of(ks), before + 1); /* one audit row */
    assert_true(can_use(ks, &sales, &alice));
    assert_true(is_listed_as_open(ks, &alice));
    opens(ks, &sales, &alice); /* again is fine */
    assert_string_equal(close_by(ks, &sales, &alice, &err), "");
    assert_false(can_use(ks, &sales, &alice));
    assert_false(is_listed_as_open(ks, &alice));
    assert_string_equal(close_by(ks, &sales, &alice, &err), PK_E_STATE);
    assert_int_equal(pk_opened_count(ks->opened), 0);
}

static void close_knows_the_database_by_its_name(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_database by_name = {.name = "sales"};
    pk_error err;
    opens(ks, &sales, &alice);
    assert_string_equal(close_by(ks, &hr, &alice, &err), PK_E_STATE);
    assert_string_equal(close_by(ks, &by_name, &alice, &err), "");
    assert_false(can_use(ks, &sales, &alice));
}

static void an_opened_key_wraps_and_unwraps_data_keys(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    pk_error err = {0};
    pk_data_wrap wrap;
    const pk_opener bob = {.session = 2, .user = "bob"};
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    assert_false(pk_keystore_wrap_data_key(ks, &sales, &alice, key, &wrap, &err));
    opens(ks, &sales, &alice);
    must(pk_keystore_wrap_data_key(ks, &sales, &alice, key, &wrap, &err), &err);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *found = pk_keystore_unwrap_data_key(ks, &alice, &wrap, &err);
    must(found != NULL, &err);
    assert_true(pk_secret_equal(found, key));
    assert_null(pk_keystore_unwrap_data_key(ks, &bob, &wrap, &err));
    assert_null(pk_keystore_unwrap_data_key(ks, NULL, &wrap, &err));
}

static void the_end_of_the_session_closes_what_it_opened(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_opener other = {.session = 2, .user = "alice"};
    opens(ks, &sales, &alice);
    opens(ks, &sales, &other);
    pk_keystore_forget_session(ks, alice.session);
    assert_false(can_use(ks, &sales, &alice));
    assert_true(can_use(ks, &sales, &other)); /* another session's is its own */
    pk_keystore_forget_session(ks, 77);
    assert_int_equal(pk_opened_count(ks->opened), 1);
}

static void another_session_cannot_use_it(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_opener other = {.session = 2, .user = "alice"};
    const pk_opener nobody = {.session = 0, .user = "alice"};
    opens(ks, &sales, &alice);
    assert_false(can_use(ks, &sales, &other));
    assert_false(can_use(ks, &sales, &nobody));
    assert_false(can_use(ks, &sales, NULL));
    assert_false(is_listed_as_open(ks, &other));
    assert_false(is_listed_as_open(ks, NULL));
    assert_true(can_use(ks, &sales, &alice));
}

static void another_user_in_the_session_ends_it_for_good(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_opener bob = {.session = 1, .user = "bob"};
    opens(ks, &sales, &alice);
    assert_false(is_listed_as_open(ks, &bob));
    assert_false(can_use(ks, &sales, &bob));
    assert_int_equal(pk_opened_count(ks->opened), 0);
    assert_false(can_use(ks, &sales, &alice)); /* back again: nothing was left */
}

static void it_does_not_follow_to_another_database(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_database anew = {.name = "sales", .oid = 99999, .privileged = true};
    opens(ks, &sales, &alice);
    assert_false(can_use(ks, &anew, &alice)); /* the same key, asked for from elsewhere */
    assert_true(can_use(ks, &sales, &alice));
}

static void seal_wipes_it(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_row_audit audit = fixture_audit();
    pk_error err = {0};
    opens(ks, &sales, &alice);
    must(pk_keystore_seal(ks, &audit, &err), &err);
    assert_int_equal(pk_opened_count(ks->opened), 0);
    assert_string_equal(open_by(ks, &sales, &alice, PASSWORD, &err), PK_E_STATE);
    assert_non_null(strstr(err.message, "sealed"));
    assert_string_equal(close_by(ks, &sales, &alice, &err), PK_E_STATE);
    assert_non_null(strstr(err.message, "sealed"));
}

/* Every call of the statements, on a sealed keystore: 55000, and nothing is touched. */
static void a_sealed_keystore_answers_every_key_call_with_55000(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_row_audit audit = fixture_audit();
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_of(PASSWORD);
    pk_error err = {0};
    pk_key_brief brief;
    pk_key_info *list;
    pk_backup_info *backups;
    pk_data_wrap wrap = {0};
    char id[PK_KEYFILE_ID_MAX];
    size_t count;
    pk_keyset_init(&set);
    must(pk_keystore_seal(ks, &audit, &err), &err);
#define SEALED(call)                                                                               \
    do {                                                                                           \
        err = (pk_error){0};                                                                       \
        assert_false(call);                                                                        \
        assert_string_equal(err.sqlstate, PK_E_STATE);                                             \
        assert_non_null(strstr(err.message, "sealed"));                                            \
    } while (0)
    SEALED(pk_keystore_create_dmk(ks, &hr, NULL, &audit, &brief, &err));
    SEALED(pk_keystore_create_dmk(ks, &hr, password, &audit, &brief, &err));
    SEALED(pk_keystore_export_dmk(ks, &sales, &alice, &set, &brief, &err));
    SEALED(pk_keystore_export_smk(ks, &set, &brief, &err));
    SEALED(pk_keystore_list(ks, &alice, &arena, &list, &count, &err));
    SEALED(pk_keystore_backups(ks, &arena, &backups, &count, &err));
    SEALED(pk_keystore_record_backups(ks, NULL, 0, &audit, &err));
    SEALED(pk_keystore_kek(ks, id, &err) != NULL);
    SEALED(pk_keystore_wrap_data_key(ks, &sales, &alice, password, &wrap, &err));
    SEALED(pk_keystore_unwrap_data_key(ks, &alice, &wrap, &err) != NULL);
}

static void what_lies_idle_is_wiped_and_use_keeps_it(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    pk_error err;
    pk_keystore_set_open_idle(ks, 600000);
    opens(ks, &sales, &alice);
    for (int i = 0; i < 3; i++) {
        mono += 599 * SECOND;
        assert_true(is_listed_as_open(ks, &alice)); /* looking is no use */
        assert_true(can_use(ks, &sales, &alice));
    }
    mono += 600 * SECOND;
    assert_false(is_listed_as_open(ks, &alice));
    assert_false(can_use(ks, &sales, &alice));
    assert_string_equal(close_by(ks, &sales, &alice, &err), PK_E_STATE);
    opens(ks, &sales, &alice);
    mono += 300 * SECOND;
    pk_keystore_expire_opened(ks);
    assert_int_equal(pk_opened_count(ks->opened), 1);
    assert_true(is_listed_as_open(ks, &alice));
    mono += 300 * SECOND;
    pk_keystore_expire_opened(ks);
    assert_int_equal(pk_opened_count(ks->opened), 0);
}

static void without_a_timeout_it_stays(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    opens(ks, &sales, &alice);
    mono += 1000000 * SECOND;
    pk_keystore_expire_opened(ks);
    assert_true(can_use(ks, &sales, &alice));
}

static void a_key_that_another_one_replaced_is_not_used(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    const pk_row_audit audit = fixture_audit();
    pk_restore_report report = {.arena = &arena};
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_of("Other!7731-Wren");
    pk_restore_order how = {.db = &sales, .password = password, .replace = true};
    pk_keyset_init(&set);
    pk_keyset_key *key = pk_keyset_add(&set, &err);
    key->ver = 1;
    key->kind = "dmk";
    key->uuid[0] = 9;
    key->key = pk_secret_random(PK_KEY_LEN, &err);
    assert_true(pk_fingerprint(key->key, key->fp, &err));
    assert_false(pk_keystore_restore_dmk(ks, &set, &how, &audit, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE); /* the present one is not open */
    opens(ks, &sales, &alice);
    how.opener = &alice;
    must(pk_keystore_restore_dmk(ks, &set, &how, &audit, &report, &err), &err);
    assert_false(can_use(ks, &sales, &alice));
}

/* What is held in memory is compared with the catalog at every use, as what is read from it is. */
static void an_opened_key_that_does_not_match_its_fingerprint_is_not_used(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    pk_error err = {0};
    pk_opened_key key = {.opener = &alice, .db = &sales};
    memcpy(key.uuid, sales.name, strlen(sales.name));
    opens(ks, &sales, &alice);
    pk_opened_put(ks->opened, &key, 1, "", pk_secret_random(PK_KEY_LEN, &err));
    assert_false(can_use(ks, &sales, &alice));
    opens(ks, &sales, &alice);
    assert_true(can_use(ks, &sales, &alice));
}

/* What OPEN is told */

static void open_says_what_is_wrong(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_row_audit audit = fixture_audit();
    const pk_opener nobody = {.session = 0, .user = "alice"};
    pk_error err = {0};
    pk_key_brief brief;
    assert_string_equal(open_by(ks, &hr, &alice, PASSWORD, &err), PK_E_UNDEFINED_OBJECT);
    must(pk_keystore_create_dmk(ks, &hr, NULL, &audit, &brief, &err), &err);
    assert_string_equal(open_by(ks, &hr, &alice, PASSWORD, &err), PK_E_STATE);
    assert_string_equal(open_by(ks, &sales, &alice, "wrong", &err), PK_E_PASSWORD);
    assert_string_equal(open_by(ks, &sales, &nobody, PASSWORD, &err), PK_E_STATE);
    assert_int_equal(pk_opened_count(ks->opened), 0);
}

static void a_key_that_opens_by_itself_has_its_password_checked(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_row_audit audit = fixture_audit();
    pk_error err = {0};
    pk_key_brief brief;
    bool was_open = false;
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_of(PASSWORD);
    must(pk_keystore_create_dmk(ks, &hr, password, &audit, &brief, &err), &err);
    assert_string_equal(open_by(ks, &hr, &alice, "wrong", &err), PK_E_PASSWORD);
    pk_open_order order = {.db = &hr, .opener = &alice, .password = password};
    must(pk_keystore_open_dmk(ks, &order, &audit, &brief, &was_open, &err), &err);
    assert_true(was_open);
    assert_string_equal(close_by(ks, &hr, &alice, &err), "");
    order.db = &sales;
    must(pk_keystore_open_dmk(ks, &order, &audit, &brief, &was_open, &err), &err);
    assert_false(was_open);
}

/* Limits */

static void a_session_opens_sixteen_keys_and_no_more(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    char names[17][16];
    pk_database dbs[17];
    pk_error err;
    for (int i = 0; i < 17; i++) {
        snprintf(names[i], sizeof names[i], "db%02d", i);
        dbs[i] = (pk_database){.name = names[i], .oid = 20000 + i};
        make_key(ks, &dbs[i]);
        if (i < 16)
            opens(ks, &dbs[i], &alice);
    }
    assert_string_equal(open_by(ks, &dbs[16], &alice, PASSWORD, &err), PK_E_LIMIT_CONFIGURED);
    opens(ks, &dbs[3], &alice); /* one that is open may be opened again */
    assert_string_equal(close_by(ks, &dbs[0], &alice, &err), "");
    opens(ks, &dbs[16], &alice);
}

static void the_process_holds_a_thousand_and_no_more(void **state)
{
    pk_opened *opened = pk_opened_new(&clock_of_ours);
    pk_error err = {0};
    (void)state;
    for (uint64_t i = 0; i <= PK_OPENED_MAX; i++) {
        const pk_opener who = {.session = 1 + i / PK_OPENED_SESSION_MAX, .user = "u"};
        pk_opened_key key = {.opener = &who, .db = &sales};
        memcpy(key.uuid, &i, sizeof i);
        if (i == PK_OPENED_MAX) {
            assert_false(pk_opened_has_room(opened, &key, &err));
            assert_string_equal(err.sqlstate, PK_E_LIMIT_CONFIGURED);
            break;
        }
        must(pk_opened_has_room(opened, &key, &err), &err);
        pk_opened_put(opened, &key, 1, "fp", pk_secret_random(PK_KEY_LEN, &err));
    }
    assert_int_equal(pk_opened_count(opened), PK_OPENED_MAX);
    pk_opened_free(opened);
}

/* Guessing */

static void guess_wrong(pk_keystore *ks, const pk_opener *who, unsigned times)
{
    pk_error err;
    for (unsigned i = 0; i < times; i++)
        assert_string_equal(open_by(ks, &sales, who, "wrong", &err), PK_E_PASSWORD);
}

static void after_five_wrong_passwords_one_has_to_wait_longer_and_longer(void **state)
{
    static const int waits[] = {5, 10, 20, 40, 80, 160, 300, 300};
    pk_keystore *ks = ((world *)*state)->ks;
    pk_error err;
    guess_wrong(ks, &alice, 5);
    for (size_t i = 0; i < PK_COUNT(waits); i++) {
        char hint[64];
        snprintf(hint, sizeof hint, "Try again in %d seconds.", waits[i]);
        assert_string_equal(open_by(ks, &sales, &alice, PASSWORD, &err), PK_E_LIMIT_CONFIGURED);
        assert_string_equal(err.hint, hint);
        mono += waits[i] * SECOND - 1;
        assert_string_equal(open_by(ks, &sales, &alice, PASSWORD, &err), PK_E_LIMIT_CONFIGURED);
        mono += 1;
        guess_wrong(ks, &alice, 1);
    }
    mono += 300 * SECOND;
    opens(ks, &sales, &alice);
    guess_wrong(ks, &alice, 5); /* the right one started the count anew */
}

static void one_who_guesses_locks_out_nobody_else(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_opener same_role = {.session = 9, .user = "alice"};
    const pk_opener bob = {.session = 2, .user = "bob"};
    pk_error err;
    make_key(ks, &hr);
    guess_wrong(ks, &alice, 5);
    assert_string_equal(open_by(ks, &sales, &same_role, PASSWORD, &err), PK_E_LIMIT_CONFIGURED);
    opens(ks, &sales, &bob);
    opens(ks, &hr, &alice);
}

static void hundreds_of_guessers_are_remembered_in_bounded_memory(void **state)
{
    pk_opened *opened = pk_opened_new(&clock_of_ours);
    pk_error err = {0};
    (void)state;
    for (int i = 0; i < 1000; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        must(pk_opened_may_try(opened, user, &sales, &err), &err);
        pk_opened_tried(opened, user, &sales, PK_TRY_WRONG);
    }
    for (int i = 1; i < 5; i++) {
        must(pk_opened_may_try(opened, "u999", &sales, &err), &err);
        pk_opened_tried(opened, "u999", &sales, PK_TRY_WRONG);
    }
    assert_false(pk_opened_may_try(opened, "u999", &sales, &err));
    pk_opened_free(opened);
}

/* Five attempts at once are as many as five in a row. */
static void attempts_that_run_count_until_they_are_known_to_be_right(void **state)
{
    pk_opened *opened = pk_opened_new(&clock_of_ours);
    pk_error err = {0};
    (void)state;
    for (int i = 0; i < 5; i++)
        must(pk_opened_may_try(opened, "u", &sales, &err), &err);
    assert_false(pk_opened_may_try(opened, "u", &sales, &err));
    assert_string_equal(err.sqlstate, PK_E_LIMIT_CONFIGURED);
    pk_opened_tried(opened, "u", &sales, PK_TRY_UNKNOWN);
    must(pk_opened_may_try(opened, "u", &sales, &err), &err);
    for (int i = 0; i < 5; i++)
        pk_opened_tried(opened, "u", &sales, i == 0 ? PK_TRY_RIGHT : PK_TRY_UNKNOWN);
    must(pk_opened_may_try(opened, "u", &sales, &err), &err);
    pk_opened_free(opened);
}

/* Nobody waits for a password */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int at_gate;

static void wait_at_gate(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&gate_lock);
    at_gate++;
    pthread_cond_broadcast(&gate_moved);
    while (!gate_open)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static void *hold_a_worker(void *unused)
{
    pk_error err;
    (void)unused;
    (void)!pk_kdf_pool_run(wait_at_gate, NULL, &err);
    return NULL;
}

/* The only worker of a pool is held. */
static void block_pool(pthread_t *holder, unsigned waiting)
{
    pk_error err = {0};
    gate_open = false;
    at_gate = 0;
    must(pk_kdf_pool_start(1, waiting, &err), &err);
    assert_int_equal(pthread_create(holder, NULL, hold_a_worker, NULL), 0);
    pthread_mutex_lock(&gate_lock);
    while (at_gate == 0)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static void release_pool(pthread_t holder)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = true;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
    assert_int_equal(pthread_join(holder, NULL), 0);
}

typedef struct attempt {
    pk_keystore *ks;
    pk_opener who;
    enum { OPEN_IT, CREATE_IT, RESTORE_IT } what;
    _Atomic bool done;
    pk_error err;
} attempt;

static void *try_it(void *arg)
{
    attempt *a = arg;
    const pk_row_audit audit = fixture_audit();
    pk_key_brief brief;
    if (a->what == OPEN_IT) {
        open_by(a->ks, &sales, &a->who, PASSWORD, &a->err);
    } else if (a->what == CREATE_IT) {
        PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_of(PASSWORD);
        (void)!pk_keystore_create_dmk(a->ks, &hr, password, &audit, &brief, &a->err);
    } else {
        const pk_database other = {.name = "other", .oid = 777};
        make_key(a->ks, &other);
    }
    a->done = true;
    return NULL;
}

/* With the worker held, statements that need a password wait; every other one is answered. */
static void nobody_waits_while_a_password_becomes_a_key(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    attempt attempts[] = {{.ks = ks, .who = alice, .what = OPEN_IT},
                          {.ks = ks, .what = CREATE_IT},
                          {.ks = ks, .what = RESTORE_IT}};
    pthread_t holder, threads[PK_COUNT(attempts)];
    block_pool(&holder, 8);
    for (size_t i = 0; i < PK_COUNT(attempts); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, try_it, &attempts[i]), 0);
    for (int i = 0; i < 50; i++) {
        usleep(2000);
        assert_false(is_listed_as_open(ks, &alice)); /* takes the lock */
    }
    for (size_t i = 0; i < PK_COUNT(attempts); i++)
        assert_false(attempts[i].done);
    release_pool(holder);
    for (size_t i = 0; i < PK_COUNT(attempts); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_string_equal(attempts[i].err.sqlstate, "");
    }
    assert_true(can_use(ks, &sales, &alice));
    pk_kdf_pool_stop();
}

static void too_many_passwords_at_once_are_refused_and_not_held_against_anybody(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    pthread_t holder;
    pk_error err;
    block_pool(&holder, 0);
    for (int i = 0; i < 9; i++)
        assert_string_equal(open_by(ks, &sales, &alice, PASSWORD, &err), PK_E_LIMIT_CONFIGURED);
    assert_string_equal(err.message, "too many passwords are waiting to be tried");
    release_pool(holder);
    opens(ks, &sales, &alice);
    pk_kdf_pool_stop();
}

static void a_seal_while_a_password_becomes_a_key_wins(void **state)
{
    pk_keystore *ks = ((world *)*state)->ks;
    const pk_row_audit audit = fixture_audit();
    pk_error err = {0};
    attempt a = {.ks = ks, .who = alice, .what = OPEN_IT};
    pthread_t holder, thread;
    block_pool(&holder, 8);
    assert_int_equal(pthread_create(&thread, NULL, try_it, &a), 0);
    usleep(50000); /* into the queue; if it is late, it meets the seal earlier */
    must(pk_keystore_seal(ks, &audit, &err), &err);
    release_pool(holder);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(a.err.sqlstate, PK_E_STATE);
    assert_int_equal(pk_opened_count(ks->opened), 0);
    pk_kdf_pool_stop();
}

static void *live(void *arg)
{
    attempt *a = arg;
    pk_error err;
    for (int i = 0; i < 20; i++) {
        opens(a->ks, &sales, &a->who);
        (void)can_use(a->ks, &sales, &a->who);
        if (i % 3 == 0)
            (void)close_by(a->ks, &sales, &a->who, &err);
        else if (i % 3 == 1)
            pk_keystore_forget_session(a->ks, a->who.session);
        pk_keystore_expire_opened(a->ks);
    }
    return NULL;
}

static void sessions_open_and_close_at_the_same_time(void **state)
{
    enum { SESSIONS = 6 };
    static const char *const users[SESSIONS] = {"a", "b", "c", "d", "e", "f"};
    pk_keystore *ks = ((world *)*state)->ks;
    attempt attempts[SESSIONS] = {0};
    pthread_t threads[SESSIONS];
    pk_error err = {0};
    must(pk_kdf_pool_start(2, 8, &err), &err);
    for (size_t i = 0; i < SESSIONS; i++) {
        attempts[i].ks = ks;
        attempts[i].who = (pk_opener){.session = i + 1, .user = users[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, live, &attempts[i]), 0);
    }
    for (size_t i = 0; i < SESSIONS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pk_kdf_pool_stop();
    for (uint64_t i = 1; i <= SESSIONS; i++)
        pk_keystore_forget_session(ks, i);
    assert_int_equal(pk_opened_count(ks->opened), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(open_makes_a_key_usable_and_close_ends_it),
        T(close_knows_the_database_by_its_name),
        T(an_opened_key_wraps_and_unwraps_data_keys),
        T(the_end_of_the_session_closes_what_it_opened),
        T(another_session_cannot_use_it),
        T(another_user_in_the_session_ends_it_for_good),
        T(it_does_not_follow_to_another_database),
        T(seal_wipes_it),
        T(a_sealed_keystore_answers_every_key_call_with_55000),
        T(what_lies_idle_is_wiped_and_use_keeps_it),
        T(without_a_timeout_it_stays),
        T(a_key_that_another_one_replaced_is_not_used),
        T(an_opened_key_that_does_not_match_its_fingerprint_is_not_used),
        T(open_says_what_is_wrong),
        T(a_key_that_opens_by_itself_has_its_password_checked),
        T(a_session_opens_sixteen_keys_and_no_more),
        T(the_process_holds_a_thousand_and_no_more),
        T(after_five_wrong_passwords_one_has_to_wait_longer_and_longer),
        T(one_who_guesses_locks_out_nobody_else),
        T(hundreds_of_guessers_are_remembered_in_bounded_memory),
        T(attempts_that_run_count_until_they_are_known_to_be_right),
        T(nobody_waits_while_a_password_becomes_a_key),
        T(too_many_passwords_at_once_are_refused_and_not_held_against_anybody),
        T(a_seal_while_a_password_becomes_a_key_wins),
        T(sessions_open_and_close_at_the_same_time),
    };
    fixture_init();
    const char *filter = getenv("PK_TEST_FILTER"); // NOLINT(concurrency-mt-unsafe): no thread yet
    if (filter != NULL)
        cmocka_set_test_filter(filter);
    return cmocka_run_group_tests_name("opened", tests, NULL, NULL);
}
