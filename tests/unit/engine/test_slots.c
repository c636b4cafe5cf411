/*
 * Unlock slots and the two states of a keystore: what opens it, what does not, what a sealed one
 * still says, and that nobody can drop the last way in.
 */
#include "keystore_fixture.h"

#include "crypto/recovery.h"
#include "engine/slot_file.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

static const pk_database sales = {.name = "sales", .oid = 16384};

typedef struct place {
    char dir[64];
    pk_keystore *ks;
} place;

static int open_place(void **state)
{
    place *p = calloc(1, sizeof *p);
    fixture_dir(p->dir);
    p->ks = fixture_open(p->dir);
    *state = p;
    return 0;
}

static int close_place(void **state)
{
    place *p = *state;
    pk_keystore_close(p->ks);
    fixture_remove(p->dir);
    free(p);
    return 0;
}

/* Shorthands */

static pk_keystore *reopen(place *p)
{
    pk_keystore_close(p->ks);
    p->ks = NULL;
    p->ks = fixture_open(p->dir);
    return p->ks;
}

static void lose_root(const place *p)
{
    char path[128];
    snprintf(path, sizeof path, "%s/" PK_SLOT_FILE_NAME, p->dir);
    assert_int_equal(unlink(path), 0);
}

static int64_t add(pk_keystore *ks, const char *kind, const char *password, pk_buf *code)
{
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    int64_t id = 0;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = password == NULL ? NULL : pk_secret_new(password, strlen(password), &err);
    const pk_slot_order order = {.kind = kind, .label = "paper", .password = secret};
    must(pk_keystore_add_slot(ks, &order, &audit, code, &id, &err), &err);
    return id;
}

static bool by_code(pk_keystore *ks, pk_span code, pk_error *err)
{
    pk_row_audit audit = fixture_audit();
    return pk_keystore_unseal_recovery(ks, code, &audit, err);
}

static bool by_password(pk_keystore *ks, const char *password, pk_error *err)
{
    pk_row_audit audit = fixture_audit();
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_new(password, strlen(password), err);
    return pk_keystore_unseal_password(ks, secret, &audit, err);
}

static bool drop(pk_keystore *ks, int64_t id, pk_error *err)
{
    pk_row_audit audit = fixture_audit();
    return pk_keystore_drop_slot(ks, id, &audit, err);
}

static void seal(pk_keystore *ks)
{
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    must(pk_keystore_seal(ks, &audit, &err), &err);
}

static size_t slots(pk_keystore *ks, pk_arena *arena, pk_row_slot **list)
{
    pk_error err = {0};
    size_t count = 0;
    must(pk_keystore_slots(ks, arena, list, &count, &err), &err);
    return count;
}

static void make_key(pk_keystore *ks)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_row_audit audit = fixture_audit();
    must(pk_keystore_create_dmk(ks, &sales, NULL, &audit, &brief, &err), &err);
}

static void use_key(pk_keystore *ks)
{
    pk_error err = {0};
    pk_key_brief brief;
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_keyset_init(&set);
    must(pk_keystore_export_dmk(ks, &sales, NULL, &set, &brief, &err), &err);
}

static void assert_sealed(pk_keystore *ks, const char *detail, const char *hint)
{
    pk_error err = {0};
    pk_keystore_summary summary;
    assert_false(pk_keystore_is_open(ks));
    assert_false(pk_keystore_summary_get(ks, &summary, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_string_equal(err.message, "keystore is sealed");
    if (strstr(err.detail, detail) == NULL)
        fail_msg("detail: %s", err.detail);
    if (strstr(err.hint, hint) == NULL)
        fail_msg("hint: %s", err.hint);
}

static int64_t epoch_of(pk_keystore *ks)
{
    pk_error err = {0};
    pk_keystore_head head;
    must(pk_keystore_head_get(ks, &head, &err), &err);
    return head.epoch;
}

static void sql(const place *p, const char *text)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/keystore.db", p->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Recovery */

static void a_recovery_code_opens_what_a_lost_root_secret_closed(void **state)
{
    place *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    make_key(p->ks);
    assert_int_equal(add(p->ks, "recovery", NULL, &code), 2);
    lose_root(p);
    reopen(p);
    assert_sealed(p->ks, "root.key", "UNSEAL WITH RECOVERY CODE");
    must(by_code(p->ks, pk_buf_span(&code), &err), &err);
    use_key(p->ks);
    /* and a new root secret makes it open by itself again */
    assert_int_equal(add(p->ks, "file", NULL, NULL), 3);
    reopen(p);
    assert_true(pk_keystore_is_open(p->ks));
    use_key(p->ks);
}

static void a_wrong_code_is_28P01_and_a_mistyped_one_says_so(void **state)
{
    place *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    add(p->ks, "recovery", NULL, &code);
    seal(p->ks);
    assert_false(by_code(p->ks, PK_SPAN("000G-40R4-0M30-E209-185G-R38E-1W81-24GK-CF"), &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    assert_null(strstr(err.detail, "mistyped"));
    code.block[0] = code.block[0] == '7' ? '8' : '7';
    assert_false(by_code(p->ks, pk_buf_span(&code), &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    assert_non_null(strstr(err.detail, "mistyped"));
    assert_false(pk_keystore_is_open(p->ks));
}

static void each_of_two_codes_opens_it(void **state)
{
    place *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf one = PK_BUF_SECRET(256);
    PK_AUTO(pk_buf_clear) pk_buf two = PK_BUF_SECRET(256);
    add(p->ks, "recovery", NULL, &one);
    add(p->ks, "recovery", NULL, &two);
    assert_false(pk_span_equal(pk_buf_span(&one), pk_buf_span(&two)));
    seal(p->ks);
    must(by_code(p->ks, pk_buf_span(&two), &err), &err);
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    pk_row_slot *list = NULL;
    assert_int_equal(slots(p->ks, &arena, &list), 3);
    assert_int_equal(list[1].last_ok_at, 0);
    assert_true(list[2].last_ok_at > 0);
    seal(p->ks);
    must(by_code(p->ks, pk_buf_span(&one), &err), &err);
}

/* Passwords */

static void a_password_opens_it_and_another_does_not(void **state)
{
    place *p = *state;
    pk_error err = {0};
    make_key(p->ks);
    add(p->ks, "password", "Correct horse 1", NULL);
    lose_root(p);
    reopen(p);
    assert_sealed(p->ks, "root.key", "UNSEAL WITH PASSWORD");
    assert_false(by_password(p->ks, "Correct horse 2", &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    must(by_password(p->ks, "Correct horse 1", &err), &err);
    use_key(p->ks);
}

static void a_kind_that_is_not_there_is_42704(void **state)
{
    place *p = *state;
    pk_error err = {0};
    seal(p->ks);
    assert_false(by_password(p->ks, "Correct horse 1", &err));
    assert_string_equal(err.sqlstate, PK_E_UNDEFINED_OBJECT);
}

static void what_is_open_cannot_be_unsealed(void **state)
{
    place *p = *state;
    pk_error err = {0};
    add(p->ks, "password", "Correct horse 1", NULL);
    assert_false(by_password(p->ks, "Correct horse 1", &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
}

static void a_slot_without_its_password_is_22023(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    int64_t id = 0;
    const pk_slot_order none = {.kind = "password"};
    const pk_slot_order other = {.kind = "kms"};
    assert_false(pk_keystore_add_slot(p->ks, &none, &audit, NULL, &id, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_false(pk_keystore_add_slot(p->ks, &other, &audit, NULL, &id, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
}

/* Sealing */

static void sealed_by_order_it_stays_sealed_until_the_next_start(void **state)
{
    place *p = *state;
    pk_error err = {0};
    const int64_t before = epoch_of(p->ks);
    make_key(p->ks);
    seal(p->ks);
    assert_sealed(p->ks, "SEAL", "file");
    assert_null(p->ks->store_key);
    assert_false(pk_keystore_unseal_auto(p->ks, &err));
    assert_string_equal(err.message, "keystore is sealed");
    assert_int_equal(epoch_of(p->ks), before + 2); /* the row was written, and nothing since */
    reopen(p);
    use_key(p->ks);
}

/* A full disk, which must not keep anybody from the emergency stop. */
static void a_seal_needs_no_disk(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_false(pk_keystore_audit(p->ks, &audit, &err));
    const bool sealed = pk_keystore_seal(p->ks, &audit, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    must(sealed, &err);
    assert_false(pk_keystore_is_open(p->ks));
    assert_false(pk_keystore_unseal_auto(p->ks, &err));
}

/* So that a code can be handed out before its slot is there. */
static void a_code_that_is_given_is_the_code(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    int64_t id = 0;
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    PK_AUTO(pk_buf_clear) pk_buf unused = PK_BUF_SECRET(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_random(PK_RECOVERY_LEN, &err);
    must(pk_recovery_write(secret, &code, &err), &err);
    pk_slot_order order = {.kind = "recovery", .label = "", .given = PK_SPAN("no code")};
    assert_false(pk_keystore_add_slot(p->ks, &order, &audit, &unused, &id, &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    order.given = pk_buf_span(&code);
    must(pk_keystore_add_slot(p->ks, &order, &audit, &unused, &id, &err), &err);
    assert_int_equal(pk_buf_span(&unused).len, 0);
    seal(p->ks);
    must(pk_keystore_unseal_recovery(p->ks, pk_buf_span(&code), &audit, &err), &err);
}

static void a_label_is_short_and_can_be_shown(void **state)
{
    place *p = *state;
    char longest[PK_SLOT_LABEL_MAX + 2];
    const struct {
        const char *label, *sqlstate;
    } rows[] = {{longest, PK_E_TOO_LONG}, {"two\nlines", PK_E_PARAMETER},
                {"\x7f", PK_E_PARAMETER}, {"caf\351", PK_E_PARAMETER},
                {longest + 1, NULL}, /* as long as it can be */
                {"caf\303\251", NULL}};
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < PK_COUNT(rows); i++) {
        PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
        pk_error err = {0};
        pk_row_audit audit = fixture_audit();
        int64_t id = 0;
        const pk_slot_order order = {.kind = "recovery", .label = rows[i].label};
        const bool added = pk_keystore_add_slot(p->ks, &order, &audit, &code, &id, &err);
        assert_int_equal(added, rows[i].sqlstate == NULL);
        if (!added)
            assert_string_equal(err.sqlstate, rows[i].sqlstate);
    }
}

static void a_sealed_keystore_lists_its_slots_and_changes_nothing(void **state)
{
    place *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    pk_row_slot *list = NULL;
    pk_row_audit audit = fixture_audit();
    pk_keystore_head head;
    int64_t id = 0;
    const pk_slot_order order = {.kind = "recovery"};
    add(p->ks, "recovery", NULL, &code);
    pk_buf_clear(&code);
    seal(p->ks);
    assert_int_equal(slots(p->ks, &arena, &list), 2);
    assert_string_equal(list[0].kind, "file");
    assert_string_equal(list[1].kind, "recovery");
    assert_string_equal(list[1].label, "paper");
    assert_true(list[0].last_ok_at > 0);
    assert_int_equal(list[1].last_ok_at, 0); /* never used */
    assert_false(pk_keystore_add_slot(p->ks, &order, &audit, &code, &id, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_int_equal(pk_buf_span(&code).len, 0);
    assert_false(drop(p->ks, 2, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_false(pk_keystore_audit(p->ks, &audit, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_false(pk_keystore_verify_audit(p->ks, "", &head, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_false(pk_keystore_seal(p->ks, &audit, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
}

static void a_root_secret_of_another_keystore_leaves_it_sealed_and_is_not_replaced(void **state)
{
    place *p = *state;
    pk_error err = {0};
    char from[128], to[128], other[64];
    fixture_dir(other);
    pk_keystore_close(fixture_open(other));
    snprintf(from, sizeof from, "%s/" PK_SLOT_FILE_NAME, other);
    snprintf(to, sizeof to, "%s/" PK_SLOT_FILE_NAME, p->dir);
    pk_keystore_close(p->ks);
    p->ks = NULL;
    assert_int_equal(rename(from, to), 0);
    p->ks = fixture_open(p->dir);
    assert_sealed(p->ks, "does not open the keystore", "root.key");
    assert_false(pk_keystore_unseal_auto(p->ks, &err));
    assert_int_equal(rename(to, from), 0);
    assert_false(pk_keystore_unseal_auto(p->ks, &err)); /* and a lost one is not made anew */
    assert_int_equal(access(to, F_OK), -1);
    fixture_remove(other);
}

static void a_root_secret_that_comes_back_unseals_without_a_restart(void **state)
{
    place *p = *state;
    pk_error err = {0};
    char path[128], away[128];
    snprintf(path, sizeof path, "%s/" PK_SLOT_FILE_NAME, p->dir);
    snprintf(away, sizeof away, "%s/away", p->dir);
    assert_int_equal(rename(path, away), 0);
    reopen(p);
    assert_false(pk_keystore_is_open(p->ks));
    assert_int_equal(rename(away, path), 0);
    must(pk_keystore_unseal_auto(p->ks, &err), &err);
    assert_true(pk_keystore_is_open(p->ks));
    must(pk_keystore_unseal_auto(p->ks, &err), &err); /* again is fine */
}

static void a_damaged_keystore_is_not_taken_for_a_sealed_one(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_keystore_close(p->ks);
    p->ks = NULL;
    sql(p, "UPDATE store SET epoch = epoch + 1");
    assert_null(pk_keystore_open(p->dir, false, NULL, &pk_clock_system, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
}

/* Dropping, counting, dating */

static void the_last_slot_cannot_be_dropped(void **state)
{
    place *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    assert_false(drop(p->ks, 1, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_non_null(strstr(err.message, "last"));
    assert_false(drop(p->ks, 7, &err));
    assert_string_equal(err.sqlstate, PK_E_UNDEFINED_OBJECT);
    add(p->ks, "recovery", NULL, &code);
    must(drop(p->ks, 1, &err), &err);
    assert_false(drop(p->ks, 2, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    /* root.key opens nothing any more; the code does */
    reopen(p);
    assert_sealed(p->ks, "No unlock slot", "UNSEAL WITH RECOVERY CODE");
    must(by_code(p->ks, pk_buf_span(&code), &err), &err);
}

static void what_would_leave_dead_slots_only_cannot_be_dropped(void **state)
{
    place *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    add(p->ks, "recovery", NULL, &code);
    lose_root(p);
    assert_false(drop(p->ks, 2, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_non_null(strstr(err.detail, "root.key"));
    add(p->ks, "file", NULL, NULL); /* slot 3 is alive, slot 1 stays dead */
    must(drop(p->ks, 2, &err), &err);
    assert_false(drop(p->ks, 3, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    must(drop(p->ks, 1, &err), &err);
}

static void a_dropped_code_opens_nothing(void **state)
{
    place *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf one = PK_BUF_SECRET(256);
    PK_AUTO(pk_buf_clear) pk_buf two = PK_BUF_SECRET(256);
    add(p->ks, "recovery", NULL, &one);
    add(p->ks, "recovery", NULL, &two);
    must(drop(p->ks, 2, &err), &err);
    seal(p->ks);
    assert_false(by_code(p->ks, pk_buf_span(&one), &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
}

static void a_slot_moved_to_another_id_opens_nothing(void **state)
{
    place *p = *state;
    pk_keystore_close(p->ks);
    p->ks = NULL;
    sql(p, "UPDATE slot SET id = 5");
    p->ks = fixture_open(p->dir);
    assert_sealed(p->ks, "does not open", "root.key");
}

static void there_are_sixteen_slots_at_most(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    int64_t id = 0;
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(4096);
    const pk_slot_order order = {.kind = "recovery"};
    for (size_t i = 1; i < PK_SLOT_MAX; i++)
        add(p->ks, "recovery", NULL, &code);
    assert_int_equal(pk_buf_span(&code).len, (PK_SLOT_MAX - 1) * PK_RECOVERY_TEXT_LEN);
    assert_false(pk_keystore_add_slot(p->ks, &order, &audit, &code, &id, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_int_equal(pk_buf_span(&code).len, (PK_SLOT_MAX - 1) * PK_RECOVERY_TEXT_LEN);
}

static void a_root_secret_that_is_there_is_not_overwritten(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_row_audit audit = fixture_audit();
    int64_t id = 0;
    const pk_slot_order order = {.kind = "file"};
    assert_false(pk_keystore_add_slot(p->ks, &order, &audit, NULL, &id, &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_FILE);
    reopen(p);
    assert_true(pk_keystore_is_open(p->ks));
}

static int64_t wall_now;
static int64_t wall_us(const pk_clock *clock)
{
    (void)clock;
    return wall_now;
}

static void the_use_of_a_slot_is_noted_once_a_day(void **state)
{
    place *p = *state;
    pk_error err = {0};
    const int64_t start = pk_clock_system.wall_us(&pk_clock_system);
    const int64_t hour = INT64_C(3600) * 1000000;
    const pk_clock clock = {.wall_us = wall_us, .mono_us = pk_clock_system.mono_us};
    const int64_t epoch = epoch_of(p->ks);
    const struct {
        int64_t hours, epochs;
    } starts[] = {{1, 0}, {23, 0}, {25, 1}, {26, 1}, {50, 2}};
    for (size_t i = 0; i < PK_COUNT(starts); i++) {
        PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
        pk_row_slot *list = NULL;
        pk_keystore_close(p->ks);
        wall_now = start + starts[i].hours * hour;
        p->ks = pk_keystore_open(p->dir, false, NULL, &clock, &err);
        must(p->ks != NULL, &err);
        assert_int_equal(epoch_of(p->ks), epoch + starts[i].epochs);
        assert_int_equal(slots(p->ks, &arena, &list), 1);
        assert_true(list[0].last_ok_at <= wall_now);
    }
    pk_keystore_head head;
    must(pk_keystore_verify_audit(p->ks, "", &head, &err), &err);
    pk_keystore_close(p->ks);
    p->ks = NULL; /* its clock is ours */
}

/* The trail */

static void the_trail_is_walked_and_a_head_found(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_keystore_head before, after, checked;
    must(pk_keystore_head_get(p->ks, &before, &err), &err);
    make_key(p->ks);
    must(pk_keystore_head_get(p->ks, &after, &err), &err);
    must(pk_keystore_verify_audit(p->ks, before.hash, &checked, &err), &err);
    assert_string_equal(checked.hash, after.hash);
    assert_int_equal(checked.rows, 2);
    assert_int_equal(checked.epoch, after.epoch);
    before.hash[0] = before.hash[0] == '0' ? '1' : '0';
    assert_false(pk_keystore_verify_audit(p->ks, before.hash, &checked, &err));
    assert_string_equal(err.sqlstate, PK_E_UNDEFINED_OBJECT);
    assert_false(pk_keystore_verify_audit(p->ks, "not hex", &checked, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
}

static void a_changed_row_of_the_trail_is_found(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_keystore_head head;
    make_key(p->ks);
    pk_keystore_close(p->ks);
    p->ks = NULL;
    sql(p, "UPDATE audit SET actor = 'nobody' WHERE seq = 1");
    p->ks = fixture_open(p->dir);
    assert_false(pk_keystore_verify_audit(p->ks, "", &head, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
}

#define PLACE_TEST(suite, test)                                                                    \
    ((suite)->tests[(suite)->count++] =                                                            \
         (struct CMUnitTest){#test, test, open_place, close_place, NULL})

int main(void)
{
    static pk_suite suite;
    fixture_init();
    PLACE_TEST(&suite, a_recovery_code_opens_what_a_lost_root_secret_closed);
    PLACE_TEST(&suite, a_wrong_code_is_28P01_and_a_mistyped_one_says_so);
    PLACE_TEST(&suite, each_of_two_codes_opens_it);
    PLACE_TEST(&suite, a_password_opens_it_and_another_does_not);
    PLACE_TEST(&suite, a_kind_that_is_not_there_is_42704);
    PLACE_TEST(&suite, what_is_open_cannot_be_unsealed);
    PLACE_TEST(&suite, a_slot_without_its_password_is_22023);
    PLACE_TEST(&suite, sealed_by_order_it_stays_sealed_until_the_next_start);
    PLACE_TEST(&suite, a_seal_needs_no_disk);
    PLACE_TEST(&suite, a_code_that_is_given_is_the_code);
    PLACE_TEST(&suite, a_label_is_short_and_can_be_shown);
    PLACE_TEST(&suite, a_sealed_keystore_lists_its_slots_and_changes_nothing);
    PLACE_TEST(&suite, a_root_secret_of_another_keystore_leaves_it_sealed_and_is_not_replaced);
    PLACE_TEST(&suite, a_root_secret_that_comes_back_unseals_without_a_restart);
    PLACE_TEST(&suite, a_damaged_keystore_is_not_taken_for_a_sealed_one);
    PLACE_TEST(&suite, the_last_slot_cannot_be_dropped);
    PLACE_TEST(&suite, what_would_leave_dead_slots_only_cannot_be_dropped);
    PLACE_TEST(&suite, a_dropped_code_opens_nothing);
    PLACE_TEST(&suite, a_slot_moved_to_another_id_opens_nothing);
    PLACE_TEST(&suite, there_are_sixteen_slots_at_most);
    PLACE_TEST(&suite, a_root_secret_that_is_there_is_not_overwritten);
    PLACE_TEST(&suite, the_use_of_a_slot_is_noted_once_a_day);
    PLACE_TEST(&suite, the_trail_is_walked_and_a_head_found);
    PLACE_TEST(&suite, a_changed_row_of_the_trail_is_found);
    return pk_suite_run(&suite, "slots");
}
