/*
 * The hierarchy as its users meet it: what survives a restart, what a restore does to keys and to
 * what hangs below them, what FORCE leaves behind and how it heals. Real catalogs in temporary
 * directories.
 */
#include "keystore_fixture.h"

#include <sqlite3.h>

static const pk_database sales = {.name = "sales", .oid = 16384};
static const pk_database hr = {.name = "hr", .oid = 16385};

typedef struct pair { /* two keystores, as before and after a disaster */
    char path_a[64], path_b[64];
    pk_keystore *a, *b;
} pair;

static int open_pair(void **state)
{
    pair *p = calloc(1, sizeof *p);
    fixture_dir(p->path_a);
    fixture_dir(p->path_b);
    p->a = fixture_open(p->path_a);
    p->b = fixture_open(p->path_b);
    *state = p;
    return 0;
}

static int close_pair(void **state)
{
    pair *p = *state;
    pk_keystore_close(p->a);
    pk_keystore_close(p->b);
    fixture_remove(p->path_a);
    fixture_remove(p->path_b);
    free(p);
    return 0;
}

/* Shorthands */

static pk_key_brief create(pk_keystore *ks, const pk_database *db, const char *password)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_row_audit audit = fixture_audit();
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = password == NULL ? NULL : pk_secret_new(password, strlen(password), &err);
    must(pk_keystore_create_dmk(ks, db, secret, &audit, &brief, &err), &err);
    return brief;
}

static void export_smk(pk_keystore *ks, pk_keyset *set)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_keyset_init(set);
    must(pk_keystore_export_smk(ks, set, &brief, &err), &err);
}

static void export_dmk(pk_keystore *ks, const pk_database *db, pk_keyset *set)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_keyset_init(set);
    must(pk_keystore_export_dmk(ks, db, NULL, set, &brief, &err), &err);
}

static bool restore_smk(pk_keystore *ks, const pk_keyset *set, bool force, pk_arena *arena,
                        pk_restore_report *report, pk_error *err)
{
    pk_row_audit audit = fixture_audit();
    *report = (pk_restore_report){.arena = arena};
    const pk_restore_order order = {.force = force};
    return pk_keystore_restore_smk(ks, set, &order, &audit, report, err);
}

/* As if it had been backed up. */
static void record(pk_keystore *ks, const pk_keyset *set, const char *recipients)
{
    pk_error err = {0};
    const pk_row_audit audit = fixture_audit();
    const pk_backup_record record = {
        .set = set, .destination = "file:///k", .recipients_json = recipients, .size = 1};
    must(pk_keystore_record_backups(ks, &record, 1, &audit, &err), &err);
}

typedef struct how {
    const char *password;
    bool force;
} how;

static bool restore_dmk(pk_keystore *ks, const pk_database *db, const pk_keyset *set, how h,
                        pk_restore_report *report, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    pk_row_audit audit = fixture_audit();
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret =
        h.password == NULL ? NULL : pk_secret_new(h.password, strlen(h.password), err);
    const pk_restore_order options = {
        .db = db, .password = secret, .replace = h.password != NULL, .force = h.force};
    *report = (pk_restore_report){.arena = &arena};
    bool ok = pk_keystore_restore_dmk(ks, set, &options, &audit, report, err);
    report->quarantined = NULL; /* its names go with the arena */
    return ok;
}

static pk_data_wrap wrap_data(pk_keystore *ks, const pk_database *db, pk_secret **key)
{
    pk_error err = {0};
    pk_data_wrap wrap;
    *key = pk_secret_random(PK_KEY_LEN, &err);
    must(pk_keystore_wrap_data_key(ks, db, NULL, *key, &wrap, &err), &err);
    return wrap;
}

static const pk_opener alice = {.session = 1, .user = "alice"};

static bool open_dmk(pk_keystore *ks, const pk_database *db, const char *password, pk_error *err)
{
    const pk_row_audit audit = fixture_audit();
    pk_key_brief brief;
    bool was_open;
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_new(password, strlen(password), err);
    assert_non_null(secret);
    const pk_open_order order = {.db = db, .opener = &alice, .password = secret};
    return pk_keystore_open_dmk(ks, &order, &audit, &brief, &was_open, err);
}

/* By the service master key; or, with a password, opened by a session. */
static void unwraps(pk_keystore *ks, const char *password, const pk_data_wrap *wrap,
                    const pk_secret *key)
{
    pk_error err = {0};
    if (password != NULL)
        must(open_dmk(ks, &sales, password, &err), &err);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *found =
        pk_keystore_unwrap_data_key(ks, password == NULL ? NULL : &alice, wrap, &err);
    must(found != NULL, &err);
    assert_true(pk_secret_equal(found, key));
    pk_keystore_forget_session(ks, alice.session);
}

/* The info of one database's live key, or of the service master key for NULL. */
static pk_key_info info_of(pk_keystore *ks, const char *db, const char *state)
{
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4u << 20);
    pk_key_info *list, found = {.state = NULL};
    size_t count;
    must(pk_keystore_list(ks, NULL, &arena, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        const bool same = db == NULL
                              ? list[i].database == NULL
                              : list[i].database != NULL && strcmp(list[i].database, db) == 0;
        if (same && strcmp(list[i].state, state) == 0) {
            found = list[i];
            found.state = state;
            found.backed_up = strcmp(list[i].backed_up, "yes") == 0     ? "yes"
                              : strcmp(list[i].backed_up, "never") == 0 ? "never"
                                                                        : "stale";
        }
    }
    return found;
}

/* The wrap of the service master key is lost, as by a damaged sector. */
static void lose_smk(pk_keystore *ks)
{
    pk_error err = {0};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    pk_ring_key smk;
    const pk_row_audit audit = fixture_audit();
    must(pk_ring_find_smk(ks, &arena, &smk, &err), &err);
    must(pk_catalog_begin(ks->catalog, &err), &err);
    must(pk_catalog_erase(ks->catalog, PK_TABLE_WRAP, &smk.wraps[0], &err), &err);
    must(pk_catalog_commit(ks->catalog, &audit, &err), &err);
}

static int64_t epoch_of(pk_keystore *ks)
{
    pk_error err = {0};
    char head[65];
    int64_t epoch;
    must(pk_catalog_audit_head(ks->catalog, head, &epoch, &err), &err);
    return epoch;
}

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

/* Restore: database master key */

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

/* Restore: service master key */

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

/* Rows whose MAC is wrong, as after tampering: changed behind the catalog's back. */
static void tamper(pair *p, const char *sql)
{
    char path[128];
    sqlite3 *db;
    pk_keystore_close(p->a);
    snprintf(path, sizeof path, "%s/keystore.db", p->path_a);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_total_changes(db) > 0);
    sqlite3_close(db);
    p->a = fixture_open(p->path_a);
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

/* Key backups */

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

#define T(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_keystore_survives_a_restart),
        T(a_second_owner_is_refused),
        T(another_root_secret_does_not_open_it),
        T(a_root_secret_that_others_can_read_is_refused),
        T(an_unexpected_or_missing_keystore_is_not_opened),
        T(init_refuses_a_keystore_that_is_there),
        T(a_root_secret_left_by_a_crash_is_used),
        T(a_second_master_key_is_refused),
        T(every_change_adds_one_to_the_epoch),
        T(a_recorded_backup_covers_its_versions),
        T(a_database_that_was_dropped_or_made_anew_is_noticed),
        T(a_key_that_does_not_match_its_fingerprint_is_never_used),
        T(a_master_key_moves_to_another_keystore),
        T(restored_with_a_password_it_opens_by_that_only),
        T(restoring_the_current_key_changes_nothing),
        T(a_newer_version_in_the_file_is_merged),
        T(the_same_version_with_other_bytes_is_refused),
        T(another_key_is_replaced_only_by_force_or_by_sql_servers_rule),
        T(a_key_that_cannot_be_opened_is_replaced_only_by_force),
        T(one_key_serves_one_database),
        T(a_superuser_may_move_a_key_to_another_database_by_force),
        T(a_key_does_not_follow_the_name_of_its_database),
        T(a_renamed_database_gets_its_key_back_from_a_superuser),
        T(a_new_password_takes_the_place_of_the_old_one),
        T(force_mends_damaged_rows_from_the_key_file),
        T(a_damaged_wrap_is_replaced_by_a_restore),
        T(a_service_master_key_that_opens_files_is_not_replaced_before_it_is_backed_up),
        T(hundreds_of_keys_are_no_obstacle),
        T(a_restored_key_is_backed_up_by_the_file_it_came_from),
        T(a_file_that_is_known_covers_what_is_restored_from_it),
        T(a_file_of_an_older_version_is_stale_and_the_newest_file_comes_first),
        T(a_record_that_cannot_be_read_is_listed_as_not_verified),
        T(a_file_of_the_other_kind_is_refused),
        T(another_service_master_key_takes_over_its_children),
        T(the_first_service_master_key_can_come_back),
        T(a_damaged_service_master_key_heals_from_its_own_backup),
        T(force_quarantines_what_neither_key_opens_and_the_right_key_heals_it),
    };
    fixture_init();
    const char *filter = getenv("PK_TEST_FILTER"); // NOLINT(concurrency-mt-unsafe): no thread yet
    if (filter != NULL)
        cmocka_set_test_filter(filter);
    return cmocka_run_group_tests_name("keystore", tests, NULL, NULL);
}
