/* Two keystores, as before and after a disaster, and what the tests of the hierarchy do with them.
 */
#ifndef PK_TESTS_KEYSTORE_PAIR_H
#define PK_TESTS_KEYSTORE_PAIR_H

#include "keystore_fixture.h"

#include <sqlite3.h>

static const pk_database sales = {.name = "sales", .oid = 16384};
static const pk_database hr = {.name = "hr", .oid = 16385};

typedef struct pair { /* two keystores, as before and after a disaster */
    char path_a[64], path_b[64];
    pk_keystore *a, *b;
} pair;

static inline int open_pair(void **state)
{
    pair *p = calloc(1, sizeof *p);
    fixture_dir(p->path_a);
    fixture_dir(p->path_b);
    p->a = fixture_open(p->path_a);
    p->b = fixture_open(p->path_b);
    *state = p;
    return 0;
}

static inline int close_pair(void **state)
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

static inline pk_key_brief create(pk_keystore *ks, const pk_database *db, const char *password)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_row_audit audit = fixture_audit();
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = password == NULL ? NULL : pk_secret_new(password, strlen(password), &err);
    must(pk_keystore_create_dmk(ks, db, secret, &audit, &brief, &err), &err);
    return brief;
}

static inline void export_smk(pk_keystore *ks, pk_keyset *set)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_keyset_init(set);
    must(pk_keystore_export_smk(ks, set, &brief, &err), &err);
}

static inline void export_dmk(pk_keystore *ks, const pk_database *db, pk_keyset *set)
{
    pk_error err = {0};
    pk_key_brief brief;
    pk_keyset_init(set);
    must(pk_keystore_export_dmk(ks, db, NULL, set, &brief, &err), &err);
}

static inline bool restore_smk(pk_keystore *ks, const pk_keyset *set, bool force, pk_arena *arena,
                               pk_restore_report *report, pk_error *err)
{
    pk_row_audit audit = fixture_audit();
    *report = (pk_restore_report){.arena = arena};
    const pk_restore_order order = {.force = force};
    return pk_keystore_restore_smk(ks, set, &order, &audit, report, err);
}

/* As if it had been backed up. */
static inline void record(pk_keystore *ks, const pk_keyset *set, const char *recipients)
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

static inline bool restore_dmk(pk_keystore *ks, const pk_database *db, const pk_keyset *set, how h,
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

static inline pk_data_wrap wrap_data(pk_keystore *ks, const pk_database *db, pk_secret **key)
{
    pk_error err = {0};
    pk_data_wrap wrap;
    *key = pk_secret_random(PK_KEY_LEN, &err);
    must(pk_keystore_wrap_data_key(ks, db, NULL, *key, &wrap, &err), &err);
    return wrap;
}

static const pk_opener alice = {.session = 1, .user = "alice"};

static inline bool open_dmk(pk_keystore *ks, const pk_database *db, const char *password,
                            pk_error *err)
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
static inline void unwraps(pk_keystore *ks, const char *password, const pk_data_wrap *wrap,
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
static inline pk_key_info info_of(pk_keystore *ks, const char *db, const char *state)
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
static inline void lose_smk(pk_keystore *ks)
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

static inline int64_t epoch_of(pk_keystore *ks)
{
    pk_error err = {0};
    char head[65];
    int64_t epoch;
    must(pk_catalog_audit_head(ks->catalog, head, &epoch, &err), &err);
    return epoch;
}

/* Rows whose MAC is wrong, as after tampering: changed behind the catalog's back. */
static inline void tamper(pair *p, const char *sql)
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

#define PAIR_TEST(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

#define PAIR_TESTS_RUN(name, tests)                                                                \
    do {                                                                                           \
        const char *filter = getenv("PK_TEST_FILTER"); /* NOLINT(concurrency-mt-unsafe) */         \
        fixture_init();                                                                            \
        if (filter != NULL)                                                                        \
            cmocka_set_test_filter(filter);                                                        \
        return cmocka_run_group_tests_name(name, tests, NULL, NULL);                               \
    } while (0)

#endif
