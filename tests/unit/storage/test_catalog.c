/* The catalog's rules: rows go in and come out, transactions, epoch, ids, uniqueness, seal. */
#include "fixture.h"

typedef struct scenery {
    char dir[PATH_MAX];
    pk_catalog *catalog;
    pk_arena arena;
    pk_error err;
} scenery;

static void set_up(scenery *scene)
{
    *scene = (scenery){.arena = ARENA};
    make_temp(scene->dir);
    scene->catalog = open_unsealed(scene->dir);
    fill_catalog(scene->catalog);
}

static void tear_down(scenery *scene)
{
    pk_catalog_close(scene->catalog);
    pk_arena_clear(&scene->arena);
    remove_tree(scene->dir);
}

static void reopen(scenery *scene)
{
    pk_catalog_close(scene->catalog);
    scene->catalog = open_unsealed(scene->dir);
}

static pk_rows rows_of(scenery *scene, pk_table_id table)
{
    pk_rows rows = {0};
    assert_ok(pk_catalog_rows(scene->catalog, table, NULL, &scene->arena, &rows, &scene->err),
              &scene->err);
    return rows;
}

static int64_t epoch_of(scenery *scene)
{
    pk_row_store row = {0};
    assert_true(pk_catalog_store(scene->catalog, &scene->arena, &row, &scene->err));
    return row.epoch;
}

static void assert_span(pk_span got, pk_span want)
{
    assert_int_equal(got.len, want.len);
    if (want.len > 0)
        assert_memory_equal(got.ptr, want.ptr, want.len);
}

static void assert_text(const char *got, const char *want)
{
    if (want == NULL)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void a_new_keystore_has_no_store_row_and_that_is_no_error(void **state)
{
    (void)state;
    scenery scene = {.arena = ARENA};
    pk_row_store row;
    make_temp(scene.dir);
    scene.catalog = open_catalog(scene.dir, true);
    (void)pk_fail(&scene.err, PK_E_INTERNAL, "left over");
    assert_false(pk_catalog_store(scene.catalog, &scene.arena, &row, &scene.err));
    assert_fault(&scene.err, "");
    tear_down(&scene);
}

static void the_store_row_comes_back_after_reopening(void **state)
{
    (void)state;
    scenery scene;
    pk_row_store want = sample_store();
    pk_row_store got;
    set_up(&scene);
    reopen(&scene);
    assert_true(pk_catalog_store(scene.catalog, &scene.arena, &got, &scene.err));
    assert_memory_equal(got.uuid, want.uuid, 16);
    assert_int_equal(got.fmt, want.fmt);
    assert_int_equal(got.epoch, 1);
    assert_int_equal(got.created_at, want.created_at);
    assert_span(got.identity_pub, want.identity_pub);
    assert_span(got.identity_blob, want.identity_blob);
    assert_span(got.sk_fp, want.sk_fp);
    assert_ok(pk_catalog_verify(scene.catalog, &scene.err), &scene.err);
    tear_down(&scene);
}

static void slots_come_back_with_their_nulls(void **state)
{
    (void)state;
    scenery scene;
    set_up(&scene);
    reopen(&scene);
    pk_rows rows = rows_of(&scene, PK_TABLE_SLOT);
    const pk_row_slot *got = rows.list;
    assert_int_equal(rows.count, 2);
    assert_null(rows.damaged);
    for (int n = 0; n < 2; n++) {
        pk_row_slot want = sample_slot(n);
        assert_int_equal(got[n].id, n + 1);
        assert_text(got[n].kind, want.kind);
        assert_text(got[n].label, want.label);
        assert_text(got[n].params_json, want.params_json);
        assert_text(got[n].kdf_json, want.kdf_json);
        assert_span(got[n].blob, want.blob);
        assert_int_equal(got[n].created_at, want.created_at);
        assert_int_equal(got[n].last_ok_at, want.last_ok_at);
    }
    tear_down(&scene);
}

static void keys_come_back_in_order_of_scope_and_database(void **state)
{
    (void)state;
    scenery scene;
    set_up(&scene);
    reopen(&scene);
    pk_rows rows = rows_of(&scene, PK_TABLE_KEY);
    const pk_row_key *got = rows.list;
    assert_int_equal(rows.count, 2);
    for (int n = 0; n < 2; n++) { /* "db" before "service" */
        pk_row_key want = sample_key(1 - n);
        assert_memory_equal(got[n].uuid, want.uuid, 16);
        assert_text(got[n].scope, want.scope);
        assert_int_equal(got[n].db_oid, want.db_oid);
        assert_text(got[n].db_name, want.db_name);
        assert_text(got[n].kind, want.kind);
        assert_text(got[n].name, want.name);
        assert_text(got[n].alg, want.alg);
        assert_text(got[n].purpose, want.purpose);
        assert_int_equal(got[n].exportable, want.exportable);
        assert_text(got[n].state, want.state);
        assert_int_equal(got[n].current_ver, want.current_ver);
        assert_int_equal(got[n].created_at, want.created_at);
        assert_int_equal(got[n].modified_at, want.modified_at);
        assert_text(got[n].created_by, want.created_by);
    }
    tear_down(&scene);
}

static void versions_of_one_key_come_back_alone(void **state)
{
    (void)state;
    scenery scene;
    pk_rows rows = {0};
    pk_row_key_version want = sample_version(1);
    set_up(&scene);
    reopen(&scene);
    assert_int_equal(rows_of(&scene, PK_TABLE_KEY_VERSION).count, 2);
    assert_ok(pk_catalog_rows(scene.catalog, PK_TABLE_KEY_VERSION, want.key_uuid, &scene.arena,
                              &rows, &scene.err),
              &scene.err);
    assert_int_equal(rows.count, 1);
    const pk_row_key_version *got = rows.list;
    assert_memory_equal(got->key_uuid, want.key_uuid, 16);
    assert_int_equal(got->ver, want.ver);
    assert_text(got->state, want.state);
    assert_span(got->fp, want.fp);
    assert_text(got->origin, want.origin);
    assert_int_equal(got->created_at, want.created_at);
    assert_int_equal(got->not_after, want.not_after);
    assert_int_equal(got->destroy_at, want.destroy_at);
    assert_int_equal(got->covered_by, want.covered_by);
    const pk_row_key_version *first = rows_of(&scene, PK_TABLE_KEY_VERSION).list;
    assert_int_equal(first->covered_by, 0);
    tear_down(&scene);
}

static void wraps_come_back_with_and_without_parent(void **state)
{
    (void)state;
    scenery scene;
    set_up(&scene);
    reopen(&scene);
    pk_rows rows = rows_of(&scene, PK_TABLE_WRAP);
    const pk_row_wrap *got = rows.list;
    assert_int_equal(rows.count, 2);
    for (int n = 0; n < 2; n++) {
        pk_row_wrap want = sample_wrap(n);
        assert_int_equal(got[n].id, n + 1);
        assert_memory_equal(got[n].key_uuid, want.key_uuid, 16);
        assert_int_equal(got[n].ver, want.ver);
        assert_text(got[n].by, want.by);
        assert_memory_equal(got[n].parent_uuid, want.parent_uuid, 16);
        assert_int_equal(got[n].parent_ver, want.parent_ver);
        assert_span(got[n].parent_fp, want.parent_fp);
        assert_text(got[n].kdf_json, want.kdf_json);
        assert_span(got[n].blob, want.blob);
        assert_int_equal(got[n].quarantined, want.quarantined);
    }
    tear_down(&scene);
}

static void key_backups_come_back_with_their_nulls(void **state)
{
    (void)state;
    scenery scene;
    set_up(&scene);
    reopen(&scene);
    pk_rows rows = rows_of(&scene, PK_TABLE_KEY_BACKUP);
    const pk_row_key_backup *got = rows.list;
    assert_int_equal(rows.count, 2);
    for (int n = 0; n < 2; n++) {
        pk_row_key_backup want = sample_backup(n);
        assert_int_equal(got[n].id, n + 1);
        assert_text(got[n].dest_redacted, want.dest_redacted);
        assert_span(got[n].sha256, want.sha256);
        assert_int_equal(got[n].size, want.size);
        assert_text(got[n].recipients_json, want.recipients_json);
        assert_text(got[n].contents_json, want.contents_json);
        assert_span(got[n].signer_fp, want.signer_fp);
        assert_int_equal(got[n].verified_at, want.verified_at);
        assert_text(got[n].created_by, want.created_by);
        assert_int_equal(got[n].created_at, want.created_at);
    }
    tear_down(&scene);
}

static void an_audit_row_comes_back_whole(void **state)
{
    (void)state;
    scenery scene;
    pk_row_audit want = {.at = 9,
                         .actor = "alice",
                         .client = "127.0.0.1:5",
                         .tls_subject = "CN=a",
                         .db = "sales",
                         .action = "BACKUP MASTER KEY",
                         .object = "dmk",
                         .fp = "pgk1:0",
                         .outcome = "failed",
                         .sqlstate = "58030",
                         .text_redacted = "BACKUP .."};
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_ok(pk_catalog_commit(scene.catalog, &want, &scene.err), &scene.err);
    pk_rows rows = rows_of(&scene, PK_TABLE_AUDIT);
    const pk_row_audit *got = rows.list;
    assert_int_equal(rows.count, 2);
    assert_int_equal(got[0].at, fixed_wall(NULL)); /* none given: the clock's */
    assert_null(got[0].client);
    assert_int_equal(got[1].seq, 2);
    assert_int_equal(got[1].epoch, 2);
    assert_int_equal(got[1].at, want.at);
    assert_text(got[1].actor, want.actor);
    assert_text(got[1].client, want.client);
    assert_text(got[1].tls_subject, want.tls_subject);
    assert_text(got[1].db, want.db);
    assert_text(got[1].action, want.action);
    assert_text(got[1].object, want.object);
    assert_text(got[1].fp, want.fp);
    assert_text(got[1].outcome, want.outcome);
    assert_text(got[1].sqlstate, want.sqlstate);
    assert_text(got[1].text_redacted, want.text_redacted);
    assert_span(got[1].prev, got[0].hash);
    tear_down(&scene);
}

static void audit_head_is_the_newest_hash_and_its_epoch(void **state)
{
    (void)state;
    scenery scene = {.arena = ARENA};
    char first[65] = "x";
    char second[65];
    int64_t epoch = -1;
    make_temp(scene.dir);
    scene.catalog = open_unsealed(scene.dir);
    assert_ok(pk_catalog_audit_head(scene.catalog, first, &epoch, &scene.err), &scene.err);
    assert_string_equal(first, "");
    assert_int_equal(epoch, 0);
    fill_catalog(scene.catalog);
    assert_ok(pk_catalog_audit_head(scene.catalog, first, &epoch, &scene.err), &scene.err);
    assert_int_equal(strlen(first), 64);
    assert_int_equal(epoch, 1);
    commit_nothing(scene.catalog, "NOTHING");
    assert_ok(pk_catalog_audit_head(scene.catalog, second, &epoch, &scene.err), &scene.err);
    assert_string_not_equal(first, second);
    assert_int_equal(epoch, 2);
    tear_down(&scene);
}

static void rollback_leaves_nothing_behind(void **state)
{
    (void)state;
    scenery scene;
    pk_row_slot slot = sample_slot(0);
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_ok(pk_catalog_insert(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err), &scene.err);
    assert_int_equal(rows_of(&scene, PK_TABLE_SLOT).count, 3);
    pk_catalog_rollback(scene.catalog);
    pk_catalog_rollback(scene.catalog);
    assert_int_equal(rows_of(&scene, PK_TABLE_SLOT).count, 2);
    assert_int_equal(rows_of(&scene, PK_TABLE_AUDIT).count, 1);
    assert_int_equal(epoch_of(&scene), 1);
    tear_down(&scene);
}

static void closing_in_the_middle_of_a_transaction_rolls_back(void **state)
{
    (void)state;
    scenery scene;
    pk_row_slot slot = sample_slot(0);
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_ok(pk_catalog_insert(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err), &scene.err);
    reopen(&scene);
    assert_int_equal(rows_of(&scene, PK_TABLE_SLOT).count, 2);
    tear_down(&scene);
}

static void the_epoch_grows_by_one_whatever_a_caller_writes_into_the_store_row(void **state)
{
    (void)state;
    scenery scene;
    pk_row_store store = sample_store();
    pk_row_audit audit = audit_row("CHANGE");
    set_up(&scene);
    commit_nothing(scene.catalog, "ONE");
    store.epoch = 40;
    store.sk_fp = pk_span_bytes(bytes_b, 16);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_ok(pk_catalog_update(scene.catalog, PK_TABLE_STORE, &store, &scene.err), &scene.err);
    assert_ok(pk_catalog_commit(scene.catalog, &audit, &scene.err), &scene.err);
    assert_int_equal(epoch_of(&scene), 3);
    assert_ok(pk_catalog_verify(scene.catalog, &scene.err), &scene.err);
    assert_ok(pk_catalog_audit_verify(scene.catalog, &scene.err), &scene.err);
    tear_down(&scene);
}

static void ids_are_not_given_twice(void **state)
{
    (void)state;
    scenery scene;
    pk_row_slot slot = {.id = 2};
    pk_row_slot next = sample_slot(1);
    pk_row_audit audit = audit_row("SLOT");
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_ok(pk_catalog_erase(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err), &scene.err);
    assert_ok(pk_catalog_insert(scene.catalog, PK_TABLE_SLOT, &next, &scene.err), &scene.err);
    assert_ok(pk_catalog_commit(scene.catalog, &audit, &scene.err), &scene.err);
    assert_int_equal(next.id, 3);
    tear_down(&scene);
}

static void a_second_live_key_of_the_same_name_is_a_duplicate(void **state)
{
    (void)state;
    scenery scene;
    pk_row_key key = sample_key(1);
    pk_row_key old = sample_key(1);
    memset(key.uuid, 'Z', sizeof key.uuid);
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_insert(scene.catalog, PK_TABLE_KEY, &key, &scene.err));
    assert_fault(&scene.err, PK_E_DUPLICATE_OBJECT);
    assert_string_equal(scene.err.message, "key \"master\" of database \"sales\" exists already");
    old.state = "pending_destroy";
    assert_ok(pk_catalog_update(scene.catalog, PK_TABLE_KEY, &old, &scene.err), &scene.err);
    assert_false(pk_catalog_insert(scene.catalog, PK_TABLE_KEY, &key, &scene.err));
    assert_fault(&scene.err, PK_E_DUPLICATE_OBJECT);
    tear_down(&scene);
}

static void a_replaced_or_destroyed_key_makes_room_for_its_name(void **state)
{
    (void)state;
    static const char *const states[] = {"retired", "destroyed"};
    scenery scene;
    pk_row_audit audit = audit_row("RESTORE");
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    pk_row_key old = sample_key(1);
    for (size_t i = 0; i < PK_COUNT(states); i++) {
        old.state = states[i];
        assert_ok(pk_catalog_update(scene.catalog, PK_TABLE_KEY, &old, &scene.err), &scene.err);
        pk_row_key key = sample_key(1);
        memset(key.uuid, 'X' + (int)i, sizeof key.uuid);
        assert_ok(pk_catalog_insert(scene.catalog, PK_TABLE_KEY, &key, &scene.err), &scene.err);
        old = key;
    }
    assert_ok(pk_catalog_commit(scene.catalog, &audit, &scene.err), &scene.err);
    tear_down(&scene);
}

static void a_second_store_row_is_refused(void **state)
{
    (void)state;
    scenery scene;
    pk_row_store store = sample_store();
    memset(store.uuid, 't', sizeof store.uuid);
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_insert(scene.catalog, PK_TABLE_STORE, &store, &scene.err));
    assert_fault(&scene.err, PK_E_DUPLICATE_OBJECT);
    tear_down(&scene);
}

static void update_and_erase_of_a_row_that_is_not_there_are_internal_errors(void **state)
{
    (void)state;
    scenery scene;
    pk_row_slot slot = sample_slot(0);
    slot.id = 77;
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_update(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    assert_false(pk_catalog_erase(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    tear_down(&scene);
}

static void a_version_without_its_key_is_refused(void **state)
{
    (void)state;
    scenery scene;
    pk_row_key_version version = sample_version(0);
    memset(version.key_uuid, 'Q', sizeof version.key_uuid);
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_insert(scene.catalog, PK_TABLE_KEY_VERSION, &version, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    tear_down(&scene);
}

static void a_state_that_does_not_exist_is_refused(void **state)
{
    (void)state;
    scenery scene;
    pk_row_key key = sample_key(1);
    key.state = "activ";
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_update(scene.catalog, PK_TABLE_KEY, &key, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    tear_down(&scene);
}

static void nothing_changes_outside_a_transaction(void **state)
{
    (void)state;
    scenery scene;
    pk_row_slot slot = sample_slot(0);
    pk_row_audit audit = audit_row("X");
    set_up(&scene);
    assert_false(pk_catalog_insert(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    assert_false(pk_catalog_commit(scene.catalog, &audit, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_begin(scene.catalog, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    tear_down(&scene);
}

static void the_audit_trail_cannot_be_changed_by_hand(void **state)
{
    (void)state;
    scenery scene;
    pk_row_audit row = audit_row("X");
    row.seq = 1;
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_insert(scene.catalog, PK_TABLE_AUDIT, &row, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    assert_false(pk_catalog_update(scene.catalog, PK_TABLE_AUDIT, &row, &scene.err));
    assert_false(pk_catalog_erase(scene.catalog, PK_TABLE_AUDIT, &row, &scene.err));
    assert_int_equal(rows_of(&scene, PK_TABLE_AUDIT).count, 1);
    tear_down(&scene);
}

static void a_commit_whose_audit_row_is_refused_is_rolled_back(void **state)
{
    (void)state;
    scenery scene;
    pk_row_slot slot = sample_slot(0);
    pk_row_audit audit = audit_row("X");
    audit.outcome = "perhaps";
    set_up(&scene);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_ok(pk_catalog_insert(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err), &scene.err);
    assert_false(pk_catalog_commit(scene.catalog, &audit, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    assert_int_equal(rows_of(&scene, PK_TABLE_SLOT).count, 2);
    assert_int_equal(epoch_of(&scene), 1);
    commit_nothing(scene.catalog, "AND ON");
    tear_down(&scene);
}

static void sealed_reads_but_does_not_write(void **state)
{
    (void)state;
    scenery scene;
    pk_row_slot slot = sample_slot(0);
    pk_row_audit audit = audit_row("X");
    set_up(&scene);
    pk_catalog_seal(scene.catalog);
    assert_int_equal(rows_of(&scene, PK_TABLE_SLOT).count, 2);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_insert(scene.catalog, PK_TABLE_SLOT, &slot, &scene.err));
    assert_fault(&scene.err, PK_E_STATE);
    assert_false(pk_catalog_commit(scene.catalog, &audit, &scene.err));
    assert_fault(&scene.err, PK_E_STATE);
    assert_false(pk_catalog_verify(scene.catalog, &scene.err));
    assert_fault(&scene.err, PK_E_STATE);
    assert_false(pk_catalog_audit_verify(scene.catalog, &scene.err));
    assert_fault(&scene.err, PK_E_STATE);
    tear_down(&scene);
}

static void a_commit_without_a_store_row_is_refused(void **state)
{
    (void)state;
    scenery scene = {.arena = ARENA};
    pk_row_audit audit = audit_row("X");
    make_temp(scene.dir);
    scene.catalog = open_unsealed(scene.dir);
    assert_ok(pk_catalog_begin(scene.catalog, &scene.err), &scene.err);
    assert_false(pk_catalog_commit(scene.catalog, &audit, &scene.err));
    assert_fault(&scene.err, PK_E_STATE);
    assert_false(pk_catalog_verify(scene.catalog, &scene.err));
    assert_fault(&scene.err, PK_E_STATE);
    tear_down(&scene);
}

static void rows_of_a_key_are_asked_only_of_tables_that_have_them(void **state)
{
    (void)state;
    scenery scene;
    pk_rows rows = {0};
    pk_row_key key = sample_key(0);
    set_up(&scene);
    assert_false(
        pk_catalog_rows(scene.catalog, PK_TABLE_SLOT, key.uuid, &scene.arena, &rows, &scene.err));
    assert_fault(&scene.err, PK_E_INTERNAL);
    tear_down(&scene);
}

static void many_rows_do_not_fit_a_small_arena_and_say_so(void **state)
{
    (void)state;
    scenery scene;
    pk_rows rows = {0};
    pk_arena small = PK_ARENA_MAX(1024);
    set_up(&scene);
    for (int i = 0; i < 40; i++)
        commit_nothing(scene.catalog, "FILL");
    assert_int_equal(rows_of(&scene, PK_TABLE_AUDIT).count, 41);
    assert_false(pk_catalog_rows(scene.catalog, PK_TABLE_AUDIT, NULL, &small, &rows, &scene.err));
    assert_fault(&scene.err, PK_E_TOO_LONG);
    pk_arena_clear(&small);
    commit_nothing(scene.catalog, "STILL USABLE");
    tear_down(&scene);
}

int main(void)
{
    static pk_suite suite;
    pk_secure_heap heap;
    pk_error err;
    if (!pk_secret_heap_init(&heap, &err))
        return 1;
    PK_SUITE_TEST(&suite, a_new_keystore_has_no_store_row_and_that_is_no_error);
    PK_SUITE_TEST(&suite, the_store_row_comes_back_after_reopening);
    PK_SUITE_TEST(&suite, slots_come_back_with_their_nulls);
    PK_SUITE_TEST(&suite, keys_come_back_in_order_of_scope_and_database);
    PK_SUITE_TEST(&suite, versions_of_one_key_come_back_alone);
    PK_SUITE_TEST(&suite, wraps_come_back_with_and_without_parent);
    PK_SUITE_TEST(&suite, key_backups_come_back_with_their_nulls);
    PK_SUITE_TEST(&suite, an_audit_row_comes_back_whole);
    PK_SUITE_TEST(&suite, audit_head_is_the_newest_hash_and_its_epoch);
    PK_SUITE_TEST(&suite, rollback_leaves_nothing_behind);
    PK_SUITE_TEST(&suite, closing_in_the_middle_of_a_transaction_rolls_back);
    PK_SUITE_TEST(&suite, the_epoch_grows_by_one_whatever_a_caller_writes_into_the_store_row);
    PK_SUITE_TEST(&suite, ids_are_not_given_twice);
    PK_SUITE_TEST(&suite, a_second_live_key_of_the_same_name_is_a_duplicate);
    PK_SUITE_TEST(&suite, a_replaced_or_destroyed_key_makes_room_for_its_name);
    PK_SUITE_TEST(&suite, a_second_store_row_is_refused);
    PK_SUITE_TEST(&suite, update_and_erase_of_a_row_that_is_not_there_are_internal_errors);
    PK_SUITE_TEST(&suite, a_version_without_its_key_is_refused);
    PK_SUITE_TEST(&suite, a_state_that_does_not_exist_is_refused);
    PK_SUITE_TEST(&suite, nothing_changes_outside_a_transaction);
    PK_SUITE_TEST(&suite, the_audit_trail_cannot_be_changed_by_hand);
    PK_SUITE_TEST(&suite, a_commit_whose_audit_row_is_refused_is_rolled_back);
    PK_SUITE_TEST(&suite, sealed_reads_but_does_not_write);
    PK_SUITE_TEST(&suite, a_commit_without_a_store_row_is_refused);
    PK_SUITE_TEST(&suite, rows_of_a_key_are_asked_only_of_tables_that_have_them);
    PK_SUITE_TEST(&suite, many_rows_do_not_fit_a_small_arena_and_say_so);
    return pk_suite_run(&suite, "catalog");
}
