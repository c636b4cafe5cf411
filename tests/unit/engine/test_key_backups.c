/*
 * What is known of key files: which keys they cover, which are stale, which rows say nothing.
 */
#include "keystore_pair.h"

static pk_backup_info *backups(pk_keystore *ks, pk_arena *arena, size_t *count)
{
    pk_error err = {0};
    pk_backup_info *list = NULL;
    must(pk_keystore_backups(ks, arena, &list, count, &err), &err);
    return list;
}

static void a_restored_key_is_backed_up_by_the_file_it_came_from(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    const pk_row_audit audit = fixture_audit();
    pk_restore_report report = {.arena = &arena};
    const pk_backup_record source = {.destination = "file:///from",
                                     .recipients_json = "[\"password\"]",
                                     .sha256 = {7},
                                     .size = 99};
    const pk_restore_order order = {.source = &source, .db = &sales};
    size_t count;
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    (void)backups(p->b, &arena, &count);
    assert_int_equal(count, 0);
    for (int twice = 0; twice < 2; twice++) {
        must(pk_keystore_restore_dmk(p->b, &set, &order, &audit, &report, &err), &err);
        assert_int_equal(report.identical, twice);
        assert_string_equal(info_of(p->b, "sales", "active").backed_up, "yes");
        const pk_backup_info *list = backups(p->b, &arena, &count);
        assert_int_equal(count, 1); /* the same file is recorded once */
        assert_string_equal(list[0].database, "sales");
        assert_string_equal(list[0].destination, "file:///from");
        assert_string_equal(list[0].fingerprint, report.brief.fingerprint);
        assert_true(list[0].verified && list[0].encrypted && !list[0].stale);
    }
}

/* The row was there before the key: as after a catalog that was put back. */
static void a_file_that_is_known_covers_what_is_restored_from_it(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    const pk_row_audit audit = fixture_audit();
    pk_restore_report report = {.arena = &arena};
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    const pk_backup_record source = {
        .set = &set, .destination = "file:///k", .recipients_json = "[]", .sha256 = {7}};
    const pk_restore_order order = {.source = &source, .db = &sales};
    size_t count;
    must(pk_keystore_record_backups(p->b, &source, 1, &audit, &err), &err);
    must(pk_keystore_restore_dmk(p->b, &set, &order, &audit, &report, &err), &err);
    assert_string_equal(info_of(p->b, "sales", "active").backed_up, "yes");
    (void)backups(p->b, &arena, &count);
    assert_int_equal(count, 1);
}

static void a_file_of_an_older_version_is_stale_and_the_newest_file_comes_first(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset own;
    pk_restore_report report;
    size_t count;
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    export_smk(p->a, &own);
    record(p->a, &set, "[\"password\"]");
    record(p->a, &own, "[\"password\"]");
    pk_keyset_key *next = pk_keyset_add(&set, &err);
    *next = set.keys[0];
    next->ver = 2;
    next->key = pk_secret_random(PK_KEY_LEN, &err);
    assert_true(pk_fingerprint(next->key, next->fp, &err));
    must(restore_dmk(p->a, &sales, &set, (how){.force = true}, &report, &err), &err);
    const pk_backup_info *list = backups(p->a, &arena, &count);
    assert_int_equal(count, 2);
    assert_null(list[0].database);
    assert_string_equal(list[0].kind, "service master key");
    assert_false(list[0].stale);
    assert_int_equal(list[1].version, 1);
    assert_true(list[1].stale);
}

static void a_record_that_cannot_be_read_is_listed_as_not_verified(void **state)
{
    static const char *const bad[] = {
        "contents_json = '{'",
        "contents_json = NULL, recipients_json = NULL",
        "contents_json = '{\"keys\":[\"x:1\"]}'",
        "contents_json = '{\"keys\":[1]}'",
    };
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset other;
    pk_restore_report report;
    size_t count;
    export_smk(p->a, &set);
    export_smk(p->b, &other);
    record(p->a, &set, "[\"password\"]");
    for (size_t i = 0; i < PK_COUNT(bad); i++) {
        char sql[160];
        snprintf(sql, sizeof sql, "UPDATE key_backup SET %s", bad[i]);
        tamper(p, sql);
        const pk_backup_info *list = backups(p->a, &arena, &count);
        assert_int_equal(count, 1);
        assert_false(list[0].verified);
        assert_string_equal(list[0].fingerprint, "");
    }
    tamper(p, "UPDATE key_backup SET recipients_json = NULL");
    must(restore_smk(p->a, &other, false, &arena, &report, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(a_restored_key_is_backed_up_by_the_file_it_came_from),
        PAIR_TEST(a_file_that_is_known_covers_what_is_restored_from_it),
        PAIR_TEST(a_file_of_an_older_version_is_stale_and_the_newest_file_comes_first),
        PAIR_TEST(a_record_that_cannot_be_read_is_listed_as_not_verified),
    };
    PAIR_TESTS_RUN("key_backups", tests);
}
