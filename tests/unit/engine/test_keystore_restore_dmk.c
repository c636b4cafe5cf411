/*
 * What a restore does to the master key of a database: where it may go, what it may replace, by
 * what it opens afterwards, what FORCE mends.
 */
#include "keystore_pair.h"

static void a_master_key_moves_to_another_keystore(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    pk_secret *key;
    pk_key_brief made = create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_dmk(p->a, &sales, &set);
    must(restore_dmk(p->b, &sales, &set, (how){0}, &report, &err), &err);
    assert_string_equal(report.brief.fingerprint, made.fingerprint);
    assert_true(report.opens_by_itself);
    unwraps(p->b, NULL, &wrap, key);
    pk_secret_free(key);
}

static void restored_with_a_password_it_opens_by_that_only(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    pk_restore_report report;
    pk_key_brief brief;
    pk_secret *key;
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_dmk(p->a, &sales, &set);
    must(restore_dmk(p->b, &sales, &set, (how){.password = "Heron!5520-Reed"}, &report, &err),
         &err);
    assert_false(report.opens_by_itself);
    assert_false(info_of(p->b, "sales", "active").by_server);
    assert_int_equal(info_of(p->b, "sales", "active").passwords, 1);
    pk_keyset_init(&again);
    assert_false(pk_keystore_export_dmk(p->b, &sales, NULL, &again, &brief, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    unwraps(p->b, "Heron!5520-Reed", &wrap, key);
    assert_null(pk_keystore_unwrap_data_key(p->b, &alice, &wrap, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_non_null(strstr(err.hint, "OPEN MASTER KEY"));
    assert_false(open_dmk(p->b, &sales, "nope", &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    pk_secret_free(key);
}

static void restoring_the_current_key_changes_nothing(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    must(restore_dmk(p->a, &sales, &set, (how){.password = "Heron!5520-Reed"}, &report, &err),
         &err);
    assert_true(report.identical);
    assert_int_equal(info_of(p->a, "sales", "active").passwords, 0);
}

static void a_newer_version_in_the_file_is_merged(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    pk_secret *key;
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_dmk(p->a, &sales, &set);
    pk_keyset_key *v2 = pk_keyset_add(&set, &err);
    assert_non_null(v2);
    pk_secret *fresh = pk_secret_random(PK_KEY_LEN, &err);
    *v2 = set.keys[0];
    v2->ver = 2;
    v2->key = fresh;
    must(pk_fingerprint(fresh, v2->fp, &err), &err);
    must(restore_dmk(p->a, &sales, &set, (how){0}, &report, &err), &err);
    assert_int_equal(report.added_versions, 1);
    assert_int_equal(info_of(p->a, "sales", "active").version, 2);
    unwraps(p->a, NULL, &wrap, key); /* version 1 still opens what it protects */
    pk_secret_free(key);
}

static void the_same_version_with_other_bytes_is_refused(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    pk_secret_free(set.keys[0].key);
    set.keys[0].key = pk_secret_random(PK_KEY_LEN, &err);
    must(pk_fingerprint(set.keys[0].key, set.keys[0].fp, &err), &err);
    const int64_t epoch = epoch_of(p->a);
    assert_false(restore_dmk(p->a, &sales, &set, (how){.force = true}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    assert_int_equal(epoch_of(p->a), epoch);
}

static void another_key_is_replaced_only_by_force_or_by_sql_servers_rule(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset own;
    pk_restore_report report;
    pk_secret *key;
    create(p->a, &sales, NULL);
    pk_key_brief old = create(p->b, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->b, &sales, &key);
    export_dmk(p->a, &sales, &set);
    assert_false(restore_dmk(p->b, &sales, &set, (how){0}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_OBJECT);
    assert_string_equal(info_of(p->b, "sales", "active").fingerprint, old.fingerprint);
    assert_false(
        restore_dmk(p->b, &sales, &set, (how){.password = "Heron!5520-Reed"}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE); /* it was never backed up */
    export_dmk(p->b, &sales, &own);
    record(p->b, &own, "[\"password\"]");
    must(restore_dmk(p->b, &sales, &set, (how){.password = "Heron!5520-Reed"}, &report, &err),
         &err);
    assert_true(
        info_of(p->b, "sales", "active").by_server); /* the replaced key was, so this one is */
    assert_string_equal(info_of(p->b, "sales", "retired").fingerprint, old.fingerprint);
    unwraps(p->b, NULL, &wrap, key); /* the replaced key is kept */
    pk_secret_free(key);
}

static void a_key_that_cannot_be_opened_is_replaced_only_by_force(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset first;
    PK_AUTO(pk_keyset_clear) pk_keyset other;
    pk_restore_report report;
    char path[64];
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &first);
    must(restore_dmk(p->b, &sales, &first, (how){.password = "Heron!5520-Reed"}, &report, &err),
         &err);
    fixture_dir(path);
    pk_keystore *c = fixture_open(path);
    create(c, &sales, NULL);
    export_dmk(c, &sales, &other);
    assert_false(
        restore_dmk(p->b, &sales, &other, (how){.password = "Other!5520-Reed"}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_STATE);
    must(restore_dmk(p->b, &sales, &other, (how){.password = "Other!5520-Reed", .force = true},
                     &report, &err),
         &err);
    pk_keystore_close(c);
    fixture_remove(path);
}

static void one_key_serves_one_database(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    assert_false(restore_dmk(p->a, &hr, &set, (how){.force = true}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_OBJECT);
    must(restore_dmk(p->b, &hr, &set, (how){0}, &report, &err),
         &err); /* elsewhere the name does not matter */
}

static void a_superuser_may_move_a_key_to_another_database_by_force(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    pk_secret *key;
    pk_database target = hr;
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_dmk(p->a, &sales, &set);
    target.privileged = true;
    assert_false(restore_dmk(p->a, &target, &set, (how){0}, &report, &err));
    must(restore_dmk(p->a, &target, &set, (how){.force = true}, &report, &err), &err);
    assert_non_null(info_of(p->a, "hr", "active").state);
    assert_null(info_of(p->a, "sales", "active").state);
    unwraps(p->a, NULL, &wrap, key);
    pk_secret_free(key);
}

static void a_key_does_not_follow_the_name_of_its_database(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset none;
    pk_key_brief brief;
    pk_restore_report report;
    pk_database anew = {.name = "sales", .oid = 99999};
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    pk_keyset_init(&none);
    assert_false(pk_keystore_export_dmk(p->a, &anew, NULL, &none, &brief,
                                        &err)); /* somebody else's database */
    assert_string_equal(err.sqlstate, PK_E_PRIVILEGE);
    assert_false(restore_dmk(p->a, &anew, &set, (how){0}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_PRIVILEGE);
    anew.privileged = true;
    must(restore_dmk(p->a, &anew, &set, (how){0}, &report, &err), &err);
    assert_false(report.identical); /* it is tied to the new database now */
    anew.privileged = false;
    pk_keyset_clear(&set);
    export_dmk(p->a, &anew, &set);
}

static void a_renamed_database_gets_its_key_back_from_a_superuser(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    pk_key_brief brief;
    pk_secret *key;
    pk_database renamed = {.name = "sales_old", .oid = sales.oid, .privileged = true};
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    pk_keyset_init(&set);
    must(pk_keystore_export_dmk(p->a, &renamed, NULL, &set, &brief, &err), &err);
    assert_true(brief.recreated_database);
    must(restore_dmk(p->a, &renamed, &set, (how){0}, &report, &err), &err);
    assert_non_null(info_of(p->a, "sales_old", "active").state);
    unwraps(p->a, NULL, &wrap, key);
    create(p->a, &(pk_database){.name = "sales", .oid = 77777}, NULL); /* the name is free again */
    pk_secret_free(key);
}

static void a_new_password_takes_the_place_of_the_old_one(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    pk_secret *key;
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_dmk(p->a, &sales, &set);
    must(restore_dmk(p->b, &sales, &set, (how){.password = "Heron!5520-Reed"}, &report, &err),
         &err);
    must(restore_dmk(p->b, &sales, &set, (how){.password = "Other!7731-Wren"}, &report, &err),
         &err);
    assert_int_equal(info_of(p->b, "sales", "active").passwords, 1);
    unwraps(p->b, "Other!7731-Wren", &wrap, key);
    assert_false(open_dmk(p->b, &sales, "Heron!5520-Reed", &err));
    assert_string_equal(err.sqlstate, PK_E_PASSWORD);
    pk_secret_free(key);
}

static void a_file_of_the_other_kind_is_refused(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset dmk;
    PK_AUTO(pk_keyset_clear) pk_keyset smk;
    pk_restore_report report;
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &dmk);
    export_smk(p->a, &smk);
    assert_false(restore_smk(p->b, &dmk, true, &arena, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_false(restore_dmk(p->b, &sales, &smk, (how){.force = true}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
}

static void force_mends_damaged_rows_from_the_key_file(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset dmk;
    PK_AUTO(pk_keyset_clear) pk_keyset smk;
    pk_restore_report report;
    pk_secret *key;
    create(p->a, &sales, NULL);
    pk_data_wrap wrap = wrap_data(p->a, &sales, &key);
    export_dmk(p->a, &sales, &dmk);
    export_smk(p->a, &smk);
    tamper(p, "UPDATE key SET modified_at = modified_at + 1 WHERE kind = 'dmk';"
              "UPDATE key_version SET created_at = created_at + 1");
    assert_null(pk_keystore_unwrap_data_key(p->a, NULL, &wrap, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    assert_non_null(info_of(p->a, "sales", "damaged").state);
    assert_false(restore_smk(p->a, &smk, false, &arena, &report, &err));
    assert_non_null(strstr(err.hint, "FORCE"));
    must(restore_smk(p->a, &smk, true, &arena, &report, &err), &err);
    assert_false(restore_dmk(p->a, &sales, &dmk, (how){0}, &report, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    must(restore_dmk(p->a, &sales, &dmk, (how){.force = true}, &report, &err), &err);
    assert_non_null(info_of(p->a, "sales", "active").state);
    unwraps(p->a, NULL, &wrap, key);
    pk_secret_free(key);
}

static void a_damaged_wrap_is_replaced_by_a_restore(void **state)
{
    pair *p = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report;
    create(p->a, &sales, NULL);
    export_dmk(p->a, &sales, &set);
    tamper(p, "UPDATE wrap SET quarantined = 1 WHERE by = 'smk'");
    must(restore_dmk(p->a, &sales, &set, (how){.password = "Heron!5520-Reed"}, &report, &err),
         &err);
    assert_true(report.opens_by_itself);
    assert_true(info_of(p->a, "sales", "active").by_server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(a_master_key_moves_to_another_keystore),
        PAIR_TEST(restored_with_a_password_it_opens_by_that_only),
        PAIR_TEST(restoring_the_current_key_changes_nothing),
        PAIR_TEST(a_newer_version_in_the_file_is_merged),
        PAIR_TEST(the_same_version_with_other_bytes_is_refused),
        PAIR_TEST(another_key_is_replaced_only_by_force_or_by_sql_servers_rule),
        PAIR_TEST(a_key_that_cannot_be_opened_is_replaced_only_by_force),
        PAIR_TEST(one_key_serves_one_database),
        PAIR_TEST(a_superuser_may_move_a_key_to_another_database_by_force),
        PAIR_TEST(a_key_does_not_follow_the_name_of_its_database),
        PAIR_TEST(a_renamed_database_gets_its_key_back_from_a_superuser),
        PAIR_TEST(a_new_password_takes_the_place_of_the_old_one),
        PAIR_TEST(force_mends_damaged_rows_from_the_key_file),
        PAIR_TEST(a_damaged_wrap_is_replaced_by_a_restore),
        PAIR_TEST(a_file_of_the_other_kind_is_refused),
    };
    PAIR_TESTS_RUN("keystore_restore_dmk", tests);
}
