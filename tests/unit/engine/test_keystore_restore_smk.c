/*
 * What a restore does to the service master key and to what hangs below it: what is wrapped anew,
 * what FORCE leaves behind and how that heals.
 */
#include "keystore_pair.h"

static void another_service_master_key_takes_over_its_children(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    pk_secret *key;
    create(p->b, &sales, NULL);
    create(p->b, &hr, "Harbour#Lane-2081q");
    pk_data_wrap wrap = wrap_data(p->b, &sales, &key);
    export_smk(p->a, &set);
    must(restore_smk(p->b, &set, false, &arena, &report, &err), &err);
    assert_int_equal(report.rewrapped, 2);
    assert_string_equal(info_of(p->b, NULL, "active").fingerprint,
                        info_of(p->a, NULL, "active").fingerprint);
    assert_non_null(info_of(p->b, NULL, "retired").state);
    unwraps(p->b, NULL, &wrap, key);
    must(restore_smk(p->b, &set, false, &arena, &report, &err), &err);
    assert_true(report.identical);
    pk_secret_free(key);
}

static void the_first_service_master_key_can_come_back(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset first;
    PK_AUTO(pk_keyset_clear) pk_keyset other;
    pk_restore_report report;
    pk_secret *key;
    create(p->b, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->b, &sales, &key);
    export_smk(p->b, &first);
    export_smk(p->a, &other);
    must(restore_smk(p->b, &other, false, &arena, &report, &err), &err);
    must(restore_smk(p->b, &first, false, &arena, &report, &err), &err);
    assert_int_equal(report.rewrapped, 1);
    unwraps(p->b, NULL, &wrap, key);
    pk_secret_free(key);
}

static void a_damaged_service_master_key_heals_from_its_own_backup(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset own;
    pk_restore_report report;
    pk_secret *key;
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_smk(p->a, &own);
    lose_smk(p->a);
    assert_null(pk_keystore_unwrap_data_key(p->a, NULL, &wrap, &err));
    must(restore_smk(p->a, &own, false, &arena, &report, &err), &err); /* no FORCE needed */
    unwraps(p->a, NULL, &wrap, key);
    pk_secret_free(key);
}

static void force_quarantines_what_neither_key_opens_and_the_right_key_heals_it(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset own;
    PK_AUTO(pk_keyset_clear) pk_keyset other;
    pk_restore_report report;
    pk_secret *key;
    create(p->a, &sales, NULL);
    create(p->a, &hr, "Harbour#Lane-2081q");
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_smk(p->a, &own);
    export_smk(p->b, &other);
    lose_smk(p->a);
    const int64_t epoch = epoch_of(p->a);
    assert_false(restore_smk(p->a, &other, false, &arena, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    assert_non_null(strstr(err.detail, "sales"));
    assert_non_null(strstr(err.hint, "FORCE"));
    assert_int_equal(epoch_of(p->a), epoch);
    must(restore_smk(p->a, &other, true, &arena, &report, &err), &err);
    assert_int_equal(report.quarantined_count, 2);
    assert_non_null(info_of(p->a, "sales", "quarantined").state);
    assert_non_null(info_of(p->a, "hr", "active").state); /* its password still opens it */
    assert_false(info_of(p->a, "hr", "active").by_server);
    must(restore_smk(p->a, &own, false, &arena, &report, &err), &err);
    assert_int_equal(report.healed, 2);
    assert_true(info_of(p->a, "hr", "active").by_server);
    assert_non_null(info_of(p->a, "sales", "active").state);
    unwraps(p->a, NULL, &wrap, key);
    pk_secret_free(key);
}

static void
a_service_master_key_that_opens_files_is_not_replaced_before_it_is_backed_up(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset dmk;
    PK_AUTO(pk_keyset_clear) pk_keyset own;
    PK_AUTO(pk_keyset_clear) pk_keyset other;
    pk_restore_report report;
    char id[PK_KEYFILE_ID_MAX], recipients[PK_KEYFILE_ID_MAX + 8];
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &dmk);
    export_smk(p->a, &own);
    export_smk(p->b, &other);
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = pk_keystore_kek(p->a, id, &err);
    assert_non_null(kek);
    snprintf(recipients, sizeof recipients, "[\"%s\"]", id);
    record(p->a, &dmk, recipients);
    assert_false(restore_smk(p->a, &other, false, &arena, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    record(p->a, &own, "[\"password\"]");
    must(restore_smk(p->a, &other, false, &arena, &report, &err), &err);
}

/* However many keys there are, none of them makes a statement about another one fail. */
static void hundreds_of_keys_are_no_obstacle(void **state)
{
    enum { MANY = 400 };
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset other;
    static pk_keyset sets[MANY];
    static pk_backup_record records[MANY];
    pk_restore_report report;
    const pk_row_audit audit = fixture_audit();
    for (int i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "db%d", i);
        const pk_database db = {.name = name, .oid = 20000 + i};
        create(p->a, &db, NULL);
        export_dmk(p->a, &db, &sets[i]);
        records[i] = (pk_backup_record){.set = &sets[i],
                                        .destination = "file:///k",
                                        .recipients_json = "[\"password\"]",
                                        .size = 1};
    }
    must(pk_keystore_record_backups(p->a, records, MANY, &audit, &err), &err);
    export_smk(p->b, &other);
    must(restore_smk(p->a, &other, false, &arena, &report, &err), &err);
    assert_int_equal(report.rewrapped, MANY);
    assert_string_equal(info_of(p->a, "db399", "active").backed_up, "yes");
    for (int i = 0; i < MANY; i++)
        pk_keyset_clear(&sets[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(a_service_master_key_that_opens_files_is_not_replaced_before_it_is_backed_up),
        PAIR_TEST(hundreds_of_keys_are_no_obstacle),
        PAIR_TEST(another_service_master_key_takes_over_its_children),
        PAIR_TEST(the_first_service_master_key_can_come_back),
        PAIR_TEST(a_damaged_service_master_key_heals_from_its_own_backup),
        PAIR_TEST(force_quarantines_what_neither_key_opens_and_the_right_key_heals_it),
    };
    PAIR_TESTS_RUN("keystore_restore_smk", tests);
}
