/*
 * What the storage tests share: a directory of their own, SQLSTATE assertions, a keystore with one
 * or two rows in every table, and the file itself, opened raw, to do what an attacker would.
 */
#ifndef PK_TESTS_STORAGE_FIXTURE_H
#define PK_TESTS_STORAGE_FIXTURE_H

#include "storage/catalog.h"
#include "table.h"

#include <ftw.h>
#include <limits.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA PK_ARENA_MAX(32u << 20)

static inline int64_t fixed_wall(const pk_clock *clock)
{
    (void)clock;
    return 1772323200000000; /* 2026-03-01 */
}
static const pk_clock fixed_clock = {.wall_us = fixed_wall, .mono_us = fixed_wall};

static inline int remove_entry(const char *path, const struct stat *info, int flag,
                               struct FTW *walk)
{
    (void)info, (void)flag, (void)walk;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): tests clean up when their threads are gone. */
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A fresh directory, 0700, without symbolic links in its name. */
static inline void make_temp(char out[static PATH_MAX])
{
    char name[] = "/tmp/pk-storage-XXXXXX";
    assert_non_null(mkdtemp(name));
    assert_non_null(realpath(name, out));
}

#define assert_fault(err, state)                                                                   \
    do {                                                                                           \
        if (strcmp((err)->sqlstate, (state)) != 0)                                                 \
            print_message("%s: %s (%s)\n", (err)->sqlstate, (err)->message, (err)->detail);        \
        assert_string_equal((err)->sqlstate, (state));                                             \
    } while (0)
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        *(err) = (pk_error){0};                                                                    \
        if (!(call)) {                                                                             \
            print_message("%s: %s (%s)\n", (err)->sqlstate, (err)->message, (err)->detail);        \
            fail_msg("%s", #call);                                                                 \
        }                                                                                          \
    } while (0)

static inline pk_secret *store_key(char fill)
{
    char bytes[PK_KEY_LEN];
    pk_error err = {0};
    memset(bytes, fill, sizeof bytes);
    pk_secret *key = pk_secret_new(bytes, sizeof bytes, &err);
    assert_non_null(key);
    return key;
}

static inline pk_catalog *open_catalog(const char *dir, bool create)
{
    pk_error err = {0};
    pk_catalog *catalog = pk_catalog_open_sqlite(dir, create, &fixed_clock, &err);
    if (catalog == NULL)
        fail_msg("%s: %s (%s)", err.sqlstate, err.message, err.detail);
    return catalog;
}

static inline pk_catalog *open_unsealed(const char *dir)
{
    pk_error err = {0};
    pk_catalog *catalog = open_catalog(dir, true);
    pk_secret *key = store_key('k');
    assert_ok(pk_catalog_unseal(catalog, key, &err), &err);
    pk_secret_free(key);
    return catalog;
}

/* Rows. `n` tells two of a kind apart. */

static inline pk_row_audit audit_row(const char *action)
{
    return (pk_row_audit){.action = action, .outcome = "ok", .actor = "alice"};
}

static const char bytes_a[64] = "sealed sealed sealed sealed sealed sealed sealed sealed seale a";
static const char bytes_b[64] = "SEALED SEALED SEALED SEALED SEALED SEALED SEALED SEALED SEALE B";

static inline pk_row_store sample_store(void)
{
    pk_row_store row = {.fmt = 1, .created_at = 77};
    memset(row.uuid, 's', sizeof row.uuid);
    row.identity_pub = pk_span_bytes(bytes_a, 32);
    row.identity_blob = pk_span_bytes(bytes_a, 62);
    row.sk_fp = pk_span_bytes(bytes_a, 16);
    return row;
}

static inline pk_row_slot sample_slot(int n)
{
    pk_row_slot row = {.kind = "file", .created_at = 100 + n};
    row.blob = pk_span_bytes(n == 0 ? bytes_a : bytes_b, 62);
    if (n == 0) {
        row.label = "disk";
        row.params_json = "{\"path\":\"/k\"}";
        row.kdf_json = "";
        row.last_ok_at = 5;
    }
    return row;
}

static inline pk_row_key sample_key(int n)
{
    pk_row_key row = {.scope = n == 0 ? "service" : "db",
                      .db_name = n == 0 ? "" : "sales",
                      .kind = n == 0 ? "smk" : "dmk",
                      .name = "master",
                      .alg = "A256",
                      .purpose = "wrap",
                      .exportable = 1,
                      .state = "active",
                      .current_ver = 1,
                      .created_at = 200 + n};
    memset(row.uuid, 'A' + n, sizeof row.uuid);
    if (n == 1) {
        row.db_oid = 4294967295;
        row.modified_at = 300;
        row.created_by = "alice";
    }
    return row;
}

static inline pk_row_key_version sample_version(int n)
{
    pk_row_key_version row = {
        .ver = 1, .state = "current", .origin = "generated", .created_at = 400 + n};
    memset(row.key_uuid, 'A' + n, sizeof row.key_uuid);
    row.fp = pk_span_bytes(n == 0 ? bytes_a : bytes_b, 16);
    if (n == 1) {
        row.not_after = 401;
        row.destroy_at = 402;
        row.covered_by = 1;
    }
    return row;
}

static inline pk_row_wrap sample_wrap(int n)
{
    pk_row_wrap row = {.ver = 1, .by = n == 0 ? "sk" : "smk"};
    memset(row.key_uuid, 'A' + n, sizeof row.key_uuid);
    row.blob = pk_span_bytes(n == 0 ? bytes_a : bytes_b, 62);
    if (n == 1) {
        memset(row.parent_uuid, 'A', sizeof row.parent_uuid);
        row.parent_ver = 1;
        row.parent_fp = pk_span_bytes(bytes_a, 16);
        row.quarantined = 1;
    }
    return row;
}

static inline pk_row_key_backup sample_backup(int n)
{
    pk_row_key_backup row = {.dest_redacted = "file:///k", .size = 10 + n, .created_at = 500 + n};
    row.sha256 = pk_span_bytes(bytes_a, 32);
    if (n == 1) {
        row.recipients_json = "[]";
        row.contents_json = "[{}]";
        row.signer_fp = pk_span_bytes(bytes_b, 16);
        row.verified_at = 501;
        row.created_by = "bob";
    }
    return row;
}

/* Epoch 1 afterwards. */
static inline void fill_catalog(pk_catalog *catalog)
{
    pk_error err = {0};
    pk_row_store store = sample_store();
    pk_row_audit audit = audit_row("INIT");
    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_ok(pk_catalog_insert(catalog, PK_TABLE_STORE, &store, &err), &err);
    for (int n = 0; n < 2; n++) {
        pk_row_slot slot = sample_slot(n);
        pk_row_key key = sample_key(n);
        pk_row_key_backup backup = sample_backup(n);
        pk_row_key_version version = sample_version(n);
        pk_row_wrap wrap = sample_wrap(n);
        assert_ok(pk_catalog_insert(catalog, PK_TABLE_SLOT, &slot, &err), &err);
        assert_ok(pk_catalog_insert(catalog, PK_TABLE_KEY, &key, &err), &err);
        assert_ok(pk_catalog_insert(catalog, PK_TABLE_KEY_BACKUP, &backup, &err), &err);
        assert_ok(pk_catalog_insert(catalog, PK_TABLE_KEY_VERSION, &version, &err), &err);
        assert_ok(pk_catalog_insert(catalog, PK_TABLE_WRAP, &wrap, &err), &err);
        assert_int_equal(slot.id, n + 1);
        assert_int_equal(wrap.id, n + 1);
        assert_int_equal(backup.id, n + 1);
    }
    assert_ok(pk_catalog_commit(catalog, &audit, &err), &err);
}

/* One more commit, with nothing but its audit row. */
static inline void commit_nothing(pk_catalog *catalog, const char *action)
{
    pk_error err = {0};
    pk_row_audit audit = audit_row(action);
    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_ok(pk_catalog_commit(catalog, &audit, &err), &err);
}

/* The file, raw. */

static inline void keystore_path(const char *dir, char out[static PATH_MAX])
{
    assert_true(snprintf(out, PATH_MAX, "%s/keystore.db", dir) < PATH_MAX);
}

static inline sqlite3 *open_raw(const char *dir)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    keystore_path(dir, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

/* Runs SQL with every constraint off that an attacker could switch off. */
static inline void run_raw(const char *dir, const char *sql)
{
    sqlite3 *db = open_raw(dir);
    char *message = NULL;
    (void)sqlite3_exec(db, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON", NULL,
                       NULL, NULL);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline size_t read_bytes(const char *path, char **out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    rewind(file);
    *out = malloc(size + 1);
    assert_int_equal(fread(*out, 1, size, file), size);
    (void)fclose(file);
    return size;
}

static inline void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

#endif
