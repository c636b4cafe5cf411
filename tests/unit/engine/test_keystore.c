/*
 * The hierarchy as its users meet it: what survives a restart, what it refuses to open, what
 * creating and recording do. Real catalogs in temporary directories.
 */
#include "keystore_pair.h"

/* Life */

static void a_keystore_survives_a_restart(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    pk_keystore_summary before, after;
    pk_secret *key;
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    must(pk_keystore_summary_get(p->a, &before, &err), &err);
    pk_keystore_close(p->a);
    p->a = fixture_open(p->path_a);
    must(pk_keystore_summary_get(p->a, &after, &err), &err);
    assert_memory_equal(&before, &after, sizeof before);
    unwraps(p->a, NULL, &wrap, key);
    pk_secret_free(key);
}

static void a_second_owner_is_refused(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    assert_null(pk_keystore_open(p->path_a, true, NULL, &pk_clock_system, &err));
    assert_string_equal(err.sqlstate, PK_E_IN_USE);
}

static void another_root_secret_does_not_open_it(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    char from[128], to[128];
    pk_keystore_close(p->a);
    pk_keystore_close(p->b);
    p->a = p->b = NULL;
    snprintf(from, sizeof from, "%s/root.key", p->path_b);
    snprintf(to, sizeof to, "%s/root.key", p->path_a);
    assert_int_equal(rename(from, to), 0);
    p->a = pk_keystore_open(p->path_a, false, NULL, &pk_clock_system, &err);
    pk_keystore_why_sealed(p->a, &err);
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_non_null(strstr(err.detail, "root.key"));
    /* and a lost one is not replaced by a new one */
    p->b = pk_keystore_open(p->path_b, true, NULL, &pk_clock_system, &err);
    assert_false(pk_keystore_is_open(p->b));
}

static void a_root_secret_that_others_can_read_is_refused(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    char path[128];
    pk_keystore_close(p->a);
    p->a = NULL;
    snprintf(path, sizeof path, "%s/root.key", p->path_a);
    assert_int_equal(chmod(path, 0640), 0);
    p->a = pk_keystore_open(p->path_a, false, NULL, &pk_clock_system, &err);
    assert_false(pk_keystore_unseal_auto(p->a, &err));
    assert_non_null(strstr(err.detail, "not private"));
}

static void an_unexpected_or_missing_keystore_is_not_opened(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    char empty[64];
    pk_keystore_summary b;
    must(pk_keystore_summary_get(p->b, &b, &err), &err);
    pk_keystore_close(p->a);
    p->a = NULL;
    assert_null(pk_keystore_open(p->path_a, true, b.uuid, &pk_clock_system, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    fixture_dir(empty);
    assert_null(pk_keystore_open(empty, false, NULL, &pk_clock_system, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_null(pk_keystore_open(empty, true, b.uuid, &pk_clock_system,
                                 &err)); /* expecting one never makes one */
    fixture_remove(empty);
}

static void init_refuses_a_keystore_that_is_there(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    pk_keystore_close(p->a);
    p->a = NULL;
    assert_false(pk_keystore_create(p->path_a, &pk_clock_system, &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_OBJECT);
}

static void a_root_secret_left_by_a_crash_is_used(void **state)
{
    pair *p = *state;
    char path[128];
    pk_keystore_close(p->a);
    snprintf(path, sizeof path, "%s/keystore.db", p->path_a);
    assert_int_equal(unlink(path), 0);
    p->a = fixture_open(p->path_a); /* a new keystore under the old root secret */
    create(p->a, &sales, NULL);
}

/* Create, export, record */

static void a_second_master_key_is_refused(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    pk_key_brief brief;
    pk_row_audit audit = fixture_audit();
    create(p->a, &sales, "Harbour#Lane-2081q");
    const int64_t epoch = epoch_of(p->a);
    assert_false(pk_keystore_create_dmk(p->a, &sales, NULL, &audit, &brief, &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_OBJECT);
    assert_int_equal(epoch_of(p->a), epoch);
    create(p->a, &hr, NULL); /* another database may have one */
}

static void every_change_adds_one_to_the_epoch(void **state)
{
    pair *p = *state;
    const int64_t before = epoch_of(p->a);
    create(p->a, &sales, NULL);
    assert_int_equal(epoch_of(p->a), before + 1);
}

static void a_recorded_backup_covers_its_versions(void **state)
{
    pair *p = *state;
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    create(p->a, &sales, NULL);
    assert_string_equal(info_of(p->a, "sales", "active").backed_up, "never");
    export_dmk(p->a, &sales, &set);
    record(p->a, &set, "[\"password\"]");
    assert_string_equal(info_of(p->a, "sales", "active").backed_up, "yes");
    assert_true(info_of(p->a, "sales", "active").last_backup_at > 0);
}

static void a_database_that_was_dropped_or_made_anew_is_noticed(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_key_brief brief;
    const pk_database anew = {.name = "sales", .oid = 99999, .privileged = true};
    create(p->a, &sales, NULL);
    pk_keyset_init(&set);
    must(pk_keystore_export_dmk(p->a, &anew, NULL, &set, &brief, &err), &err);
    assert_true(brief.recreated_database);
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    const pk_database gone = {.name = "sales", .privileged = true};
    pk_keyset_init(&again);
    must(pk_keystore_export_dmk(p->a, &gone, NULL, &again, &brief, &err), &err);
    assert_true(brief.dropped_database && !brief.recreated_database);
}

/* A wrap and a fingerprint that do not belong together, both with sound MACs: GCM does not commit
 * to its key, the comparison does. */
static void a_key_that_does_not_match_its_fingerprint_is_never_used(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_key_brief brief;
    pk_ring_key ring;
    const pk_row_audit audit = fixture_audit();
    create(p->a, &sales, NULL);
    must(pk_ring_find_dmk(p->a, &sales, &arena, &ring, &err), &err);
    ring.versions[0].fp = pk_span_bytes("0123456789abcdef", PK_FP_LEN);
    must(pk_catalog_begin(p->a->catalog, &err), &err);
    must(pk_catalog_update(p->a->catalog, PK_TABLE_KEY_VERSION, &ring.versions[0], &err), &err);
    must(pk_catalog_commit(p->a->catalog, &audit, &err), &err);
    pk_keyset_init(&set);
    assert_false(pk_keystore_export_dmk(p->a, &sales, NULL, &set, &brief, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(a_keystore_survives_a_restart),
        PAIR_TEST(a_second_owner_is_refused),
        PAIR_TEST(another_root_secret_does_not_open_it),
        PAIR_TEST(a_root_secret_that_others_can_read_is_refused),
        PAIR_TEST(an_unexpected_or_missing_keystore_is_not_opened),
        PAIR_TEST(init_refuses_a_keystore_that_is_there),
        PAIR_TEST(a_root_secret_left_by_a_crash_is_used),
        PAIR_TEST(a_second_master_key_is_refused),
        PAIR_TEST(every_change_adds_one_to_the_epoch),
        PAIR_TEST(a_recorded_backup_covers_its_versions),
        PAIR_TEST(a_database_that_was_dropped_or_made_anew_is_noticed),
        PAIR_TEST(a_key_that_does_not_match_its_fingerprint_is_never_used),
    };
    PAIR_TESTS_RUN("keystore", tests);
}
