/*
 * What an attacker with write access to the file can do, and that it is seen: every column of every
 * row with a MAC is changed in turn, rows and blobs are exchanged, the audit trail is edited, the
 * store row is put back. Each time the right row is blamed and the others stay usable.
 */
#include "base/encode.h"
#include "crypto/digest.h"
#include "crypto/kdf.h"
#include "fixture.h"
#include "storage/catalog_table.h"

static const pk_table_id sealed_tables[] = {PK_TABLE_STORE, PK_TABLE_SLOT, PK_TABLE_KEY,
                                            PK_TABLE_KEY_VERSION, PK_TABLE_WRAP};

typedef struct pristine {
    char dir[PATH_MAX];
    char path[PATH_MAX];
    char *bytes;
    size_t size;
} pristine;

/* A keystore with its rows and three more audit rows, closed. */
static void set_up(pristine *file)
{
    make_temp(file->dir);
    keystore_path(file->dir, file->path);
    pk_catalog *catalog = open_unsealed(file->dir);
    fill_catalog(catalog);
    commit_nothing(catalog, "TWO");
    commit_nothing(catalog, "THREE");
    commit_nothing(catalog, "FOUR");
    pk_catalog_close(catalog);
    file->size = read_bytes(file->path, &file->bytes);
    assert_true(file->size > 0);
}

static void put_back(const pristine *file)
{
    write_bytes(file->path, file->bytes, file->size);
}

static void tear_down(pristine *file)
{
    free(file->bytes);
    remove_tree(file->dir);
}

/* How many rows of the table are marked as damaged; *which is the index of the last. */
static size_t count_damaged(pk_catalog *catalog, pk_table_id table, size_t *which)
{
    pk_arena arena = ARENA;
    pk_rows rows = PK_ROWS_MARK;
    pk_error err = {0};
    size_t damaged = 0;
    assert_ok(pk_catalog_rows(catalog, table, NULL, &arena, &rows, &err), &err);
    for (size_t i = 0; i < rows.count; i++) {
        if (!rows.damaged[i])
            continue;
        damaged++;
        *which = i;
    }
    pk_arena_clear(&arena);
    return damaged;
}

/* Exactly `expected` rows of `table` are damaged, and none of any other. */
static void assert_damaged(const char *dir, pk_table_id table, size_t expected, const char *what)
{
    pk_catalog *catalog = open_unsealed(dir);
    for (size_t i = 0; i < PK_COUNT(sealed_tables); i++) {
        size_t which = 0;
        size_t want = sealed_tables[i] == table ? expected : 0;
        size_t got = count_damaged(catalog, sealed_tables[i], &which);
        if (got != want)
            fail_msg("%s: %zu damaged rows in table %s, not %zu", what, got,
                     pk_table_of(sealed_tables[i])->name, want);
    }
    pk_catalog_close(catalog);
}

/* SQL that changes one column of the table's first row (by rowid). */
static void change_sql(const pk_table *table, const char *column, pk_column_type type,
                       char out[static 512])
{
    char assignment[256];
    static const char sixteen[] = "77777777777777777777777777777777";
    if (type == PK_COLUMN_INT)
        (void)snprintf(assignment, sizeof assignment, "coalesce(\"%s\", 0) + 10", column);
    else if (type == PK_COLUMN_TEXT)
        (void)snprintf(assignment, sizeof assignment, "coalesce(\"%s\", '') || 'x'", column);
    else
        (void)snprintf(assignment, sizeof assignment,
                       "iif(\"%s\" IS NULL, x'%s', CAST(x'00' || substr(\"%s\", 2) AS BLOB))",
                       column, sixteen, column);
    (void)snprintf(out, 512,
                   "UPDATE \"%s\" SET \"%s\" = %s WHERE rowid = (SELECT min(rowid) FROM \"%s\")",
                   table->name, column, assignment, table->name);
}

static const struct row {
    const char *name;
    pk_table_id id;
} rows[] = {
    {"every changed column of the store row is seen", PK_TABLE_STORE},
    {"every changed column of a slot is seen", PK_TABLE_SLOT},
    {"every changed column of a key is seen", PK_TABLE_KEY},
    {"every changed column of a key version is seen", PK_TABLE_KEY_VERSION},
    {"every changed column of a wrap is seen", PK_TABLE_WRAP},
};

static void every_column_is_covered(void **state)
{
    const struct row *row = *state;
    const pk_table *table = pk_table_of(row->id);
    pristine file;
    set_up(&file);
    assert_damaged(file.dir, row->id, 0, "untouched");
    for (size_t i = 0; i < pk_table_values(table); i++) {
        const char *column = i < table->count ? table->columns[i].name : "mac";
        char sql[512];
        put_back(&file);
        change_sql(table, column, i < table->count ? table->columns[i].type : PK_COLUMN_BLOB, sql);
        run_raw(file.dir, sql);
        assert_damaged(file.dir, row->id, 1, column);
    }
    tear_down(&file);
}

/* NULL and empty are different, in both directions. */
static const struct swap {
    const char *name, *sql;
    pk_table_id table;
    size_t damaged;
} swaps[] = {
    {"NULL made empty is seen", "UPDATE slot SET label = '' WHERE id = 2", PK_TABLE_SLOT, 1},
    {"empty made NULL is seen", "UPDATE slot SET kdf_json = NULL WHERE id = 1", PK_TABLE_SLOT, 1},
    {"a value moved to the next column is seen",
     "UPDATE slot SET params_json = label, label = NULL WHERE id = 1", PK_TABLE_SLOT, 1},
    {"blobs of two wraps exchanged are seen on both",
     "CREATE TEMP TABLE other AS SELECT * FROM wrap;"
     "UPDATE wrap SET blob = (SELECT blob FROM other WHERE other.id <> wrap.id)",
     PK_TABLE_WRAP, 2},
    {"blobs and MACs of two wraps exchanged are seen on both",
     "CREATE TEMP TABLE other AS SELECT * FROM wrap;"
     "UPDATE wrap SET (blob, mac) = (SELECT blob, mac FROM other WHERE other.id <> wrap.id)",
     PK_TABLE_WRAP, 2},
    {"blobs of two slots exchanged are seen on both",
     "CREATE TEMP TABLE other AS SELECT * FROM slot;"
     "UPDATE slot SET blob = (SELECT blob FROM other WHERE other.id <> slot.id)",
     PK_TABLE_SLOT, 2},
    {"a copy of a slot under another id is seen",
     "INSERT INTO slot SELECT 9, kind, label, params_json, kdf_json, blob, created_at, last_ok_at,"
     " mac FROM slot WHERE id = 1",
     PK_TABLE_SLOT, 1},
    {"a wrap that claims another key is seen",
     "UPDATE wrap SET key_uuid = x'"
     "41414141414141414141414141414141' WHERE id = 2",
     PK_TABLE_WRAP, 1},
};

static void is_seen(void **state)
{
    const struct swap *swap = *state;
    pristine file;
    set_up(&file);
    run_raw(file.dir, swap->sql);
    assert_damaged(file.dir, swap->table, swap->damaged, swap->name);
    tear_down(&file);
}

static void a_damaged_row_keeps_its_place_among_the_sound_ones(void **state)
{
    (void)state;
    pristine file;
    size_t which = 0;
    set_up(&file);
    run_raw(file.dir, "UPDATE wrap SET quarantined = 0 WHERE id = 2");
    pk_catalog *catalog = open_unsealed(file.dir);
    assert_int_equal(count_damaged(catalog, PK_TABLE_WRAP, &which), 1);
    assert_int_equal(which, 1);
    pk_catalog_close(catalog);
    tear_down(&file);
}

static void without_marks_a_damaged_row_fails_the_call_and_is_named(void **state)
{
    (void)state;
    pristine file;
    pk_arena arena = ARENA;
    pk_rows list = {0};
    pk_error err = {0};
    set_up(&file);
    run_raw(file.dir, "UPDATE key_version SET state = 'retired' WHERE key_uuid = x'"
                      "42424242424242424242424242424242'");
    pk_catalog *catalog = open_unsealed(file.dir);
    assert_false(pk_catalog_rows(catalog, PK_TABLE_KEY_VERSION, NULL, &arena, &list, &err));
    assert_fault(&err, PK_E_CORRUPT);
    assert_string_equal(err.message, "row (key_uuid, ver)=(42424242-4242-4242-4242-424242424242, 1)"
                                     " of catalog table \"key_version\" is damaged");
    pk_catalog_close(catalog);
    pk_arena_clear(&arena);
    tear_down(&file);
}

static void another_store_key_finds_every_row_damaged(void **state)
{
    (void)state;
    pristine file;
    pk_error err = {0};
    size_t which = 0;
    set_up(&file);
    pk_catalog *catalog = open_catalog(file.dir, false);
    pk_secret *key = store_key('x');
    assert_ok(pk_catalog_unseal(catalog, key, &err), &err);
    assert_int_equal(count_damaged(catalog, PK_TABLE_WRAP, &which), 2);
    assert_false(pk_catalog_verify(catalog, &err));
    assert_fault(&err, PK_E_CORRUPT);
    pk_secret_free(key);
    pk_catalog_close(catalog);
    tear_down(&file);
}

static void a_forged_store_row_is_not_sealed_anew_by_the_next_commit(void **state)
{
    (void)state;
    pristine file;
    pk_row_audit audit = audit_row("X");
    pk_error err = {0};
    set_up(&file);
    run_raw(file.dir, "UPDATE store SET identity_pub = zeroblob(32)");
    pk_catalog *catalog = open_unsealed(file.dir);
    assert_false(pk_catalog_verify(catalog, &err));
    assert_fault(&err, PK_E_CORRUPT);
    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_false(pk_catalog_commit(catalog, &audit, &err));
    assert_fault(&err, PK_E_CORRUPT);
    pk_catalog_close(catalog);
    assert_damaged(file.dir, PK_TABLE_STORE, 1, "still");
    tear_down(&file);
}

static void a_damaged_slot_fails_verify_but_not_the_work(void **state)
{
    (void)state;
    pristine file;
    pk_error err = {0};
    set_up(&file);
    run_raw(file.dir, "UPDATE slot SET kind = 'env' WHERE id = 1");
    pk_catalog *catalog = open_unsealed(file.dir);
    assert_false(pk_catalog_verify(catalog, &err));
    assert_fault(&err, PK_E_CORRUPT);
    assert_string_equal(err.message, "row (id)=(1) of catalog table \"slot\" is damaged");
    commit_nothing(catalog, "GOES ON");
    pk_catalog_close(catalog);
    tear_down(&file);
}

/* The store row of epoch 1, with its MAC, written back over that of epoch 4. */
static void a_store_row_put_back_to_an_earlier_epoch_is_seen(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    pk_error err = {0};
    make_temp(dir);
    pk_catalog *catalog = open_unsealed(dir);
    fill_catalog(catalog);
    pk_catalog_close(catalog);
    run_raw(dir, "CREATE TABLE old AS SELECT * FROM store");
    catalog = open_unsealed(dir);
    commit_nothing(catalog, "TWO");
    pk_catalog_close(catalog);
    run_raw(dir, "UPDATE store SET (epoch, mac) = (SELECT epoch, mac FROM old); DROP TABLE old");
    assert_damaged(dir, PK_TABLE_STORE, 0, "the old MAC is right for the old row");
    catalog = open_unsealed(dir);
    assert_false(pk_catalog_verify(catalog, &err));
    assert_fault(&err, PK_E_CORRUPT);
    assert_string_equal(err.detail, "The store is at epoch 1, its newest audit row at epoch 2.");
    assert_false(pk_catalog_audit_verify(catalog, &err));
    /* Going on does not heal it: the chain keeps the mark. */
    commit_nothing(catalog, "ON");
    assert_ok(pk_catalog_verify(catalog, &err), &err);
    assert_false(pk_catalog_audit_verify(catalog, &err));
    assert_fault(&err, PK_E_CORRUPT);
    pk_catalog_close(catalog);
    remove_tree(dir);
}

/* As before, and the newest audit row edited to fit. */
static void an_audit_tail_edited_to_fit_an_earlier_epoch_is_seen(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    pk_error err = {0};
    make_temp(dir);
    pk_catalog *catalog = open_unsealed(dir);
    fill_catalog(catalog);
    pk_catalog_close(catalog);
    run_raw(dir, "CREATE TABLE old AS SELECT * FROM store");
    catalog = open_unsealed(dir);
    commit_nothing(catalog, "TWO");
    pk_catalog_close(catalog);
    run_raw(dir, "UPDATE store SET (epoch, mac) = (SELECT epoch, mac FROM old); DROP TABLE old;"
                 "UPDATE audit SET epoch = 1 WHERE seq = 2");
    catalog = open_unsealed(dir);
    assert_false(pk_catalog_verify(catalog, &err));
    assert_fault(&err, PK_E_CORRUPT);
    assert_string_equal(err.message, "audit row 2 is damaged");
    pk_catalog_close(catalog);
    remove_tree(dir);
}

static void a_damaged_audit_tail_is_not_built_upon(void **state)
{
    (void)state;
    static const char *const tampering[] = {
        "UPDATE audit SET actor = 'bob' WHERE seq = 4",
        "UPDATE audit SET hash = zeroblob(32) WHERE seq = 4",
        "UPDATE audit SET seq = 9223372036854775807 WHERE seq = 4",
    };
    for (size_t i = 0; i < PK_COUNT(tampering); i++) {
        pristine file;
        pk_row_audit audit = audit_row("X");
        pk_error err = {0};
        set_up(&file);
        run_raw(file.dir, tampering[i]);
        pk_catalog *catalog = open_unsealed(file.dir);
        assert_ok(pk_catalog_begin(catalog, &err), &err);
        assert_false(pk_catalog_commit(catalog, &audit, &err));
        assert_fault(&err, PK_E_CORRUPT);
        assert_non_null(strstr(err.message, "audit row"));
        pk_catalog_close(catalog);
        tear_down(&file);
    }
}

/* The store row of an attacker who has the key: with this epoch and the right MAC. */
static void forge_epoch(const char *dir, int64_t epoch)
{
    pk_error err = {0};
    pk_value values[PK_TABLE_VALUES_MAX];
    uint8_t mac[PK_MAC_LEN];
    PK_AUTO(pk_buf_clear) pk_buf canonical = PK_BUF_MAX(PK_ROW_MAX);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = store_key('k');
    PK_AUTO_PTR(pk_secret_free) pk_secret *row_key = pk_hkdf(key, PK_LABEL_ROW, PK_SPAN(""), &err);
    const pk_table *table = pk_table_of(PK_TABLE_STORE);
    pk_row_store row = sample_store();
    row.epoch = epoch;
    assert_non_null(row_key);
    assert_ok(pk_table_store(table, &row, values, &err), &err);
    assert_ok(pk_table_canonical(table, values, &canonical, &err), &err);
    assert_ok(pk_hmac_sha256(row_key, pk_buf_span(&canonical), mac, &err), &err);
    sqlite3 *db = open_raw(dir);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(
        sqlite3_prepare_v2(db, "UPDATE store SET epoch = ?1, mac = ?2", -1, &stmt, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_bind_int64(stmt, 1, epoch), SQLITE_OK);
    assert_int_equal(sqlite3_bind_blob(stmt, 2, mac, sizeof mac, SQLITE_STATIC), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    (void)sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void an_epoch_that_cannot_grow_ends_all_writing(void **state)
{
    (void)state;
    pristine file;
    pk_row_audit audit = audit_row("X");
    pk_error err = {0};
    set_up(&file);
    forge_epoch(file.dir, 5); /* the control: such a row is believed */
    pk_catalog *catalog = open_unsealed(file.dir);
    commit_nothing(catalog, "FIVE");
    pk_catalog_close(catalog);
    forge_epoch(file.dir, INT64_MAX);
    catalog = open_unsealed(file.dir);
    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_false(pk_catalog_commit(catalog, &audit, &err));
    assert_fault(&err, PK_E_CORRUPT);
    pk_catalog_close(catalog);
    tear_down(&file);
}

static void assert_stored(const char *dir, const char *sql, const char *want)
{
    sqlite3 *db = open_raw(dir);
    sqlite3_stmt *stmt = NULL;
    char hex[65];
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_bytes(stmt, 0), 32);
    pk_hex(sqlite3_column_blob(stmt, 0), 32, hex);
    assert_string_equal(hex, want);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
}

/* Computed by another program from docs/formats/catalog.md, 3 and 4, with a store key of 32 times
 * 'k'. They must never change: existing keystores would be found damaged. */
static void macs_and_hashes_are_those_of_the_document(void **state)
{
    (void)state;
    pristine file;
    set_up(&file);
    assert_stored(file.dir, "SELECT mac FROM slot WHERE id = 2",
                  "21dfe4ce599ed3bbe1896695c51725127b52fc13a8b932b5dc4f2d8ac78d0a17");
    assert_stored(file.dir, "SELECT hash FROM audit WHERE seq = 1",
                  "41717cfde1fcee26cebb115c3e469896c4b5ffa65acdb42d488a634639a1b4b6");
    tear_down(&file);
}

static const struct edit {
    const char *name, *sql, *message;
} edits[] = {
    {"an untouched chain is sound", "SELECT 1", NULL},
    {"a changed action is seen", "UPDATE audit SET action = 'NOTHING' WHERE seq = 2",
     "audit row 2 is damaged"},
    {"a changed actor is seen", "UPDATE audit SET actor = 'bob' WHERE seq = 3",
     "audit row 3 is damaged"},
    {"a value added where none was is seen", "UPDATE audit SET client = '' WHERE seq = 2",
     "audit row 2 is damaged"},
    {"a changed time is seen", "UPDATE audit SET at = at + 1 WHERE seq = 1",
     "audit row 1 is damaged"},
    {"a changed hash is seen", "UPDATE audit SET hash = zeroblob(32) WHERE seq = 2",
     "audit row 2 is damaged"},
    {"a changed link is seen", "UPDATE audit SET prev = zeroblob(32) WHERE seq = 2",
     "audit row 2 does not follow the row before it"},
    {"a missing first row is seen", "DELETE FROM audit WHERE seq = 1",
     "an audit row is missing or moved after row 0"},
    {"a missing row in the middle is seen", "DELETE FROM audit WHERE seq = 2",
     "an audit row is missing or moved after row 1"},
    {"a missing last row is seen", "DELETE FROM audit WHERE seq = 4",
     "the keystore and its audit trail do not belong together"},
    {"a missing chain is seen", "DELETE FROM audit",
     "the keystore and its audit trail do not belong together"},
    {"two rows that changed places are seen",
     "UPDATE audit SET seq = -seq; UPDATE audit SET seq = 2 WHERE seq = -3;"
     "UPDATE audit SET seq = 3 WHERE seq = -2; UPDATE audit SET seq = -seq WHERE seq < 0",
     "an audit row is missing or moved after row 1"},
    {"two rows that changed places and epochs are seen",
     "UPDATE audit SET seq = -seq; UPDATE audit SET seq = 2, epoch = 2 WHERE seq = -3;"
     "UPDATE audit SET seq = 3, epoch = 3 WHERE seq = -2; UPDATE audit SET seq = -seq WHERE seq < "
     "0",
     "audit row 2 does not follow the row before it"},
    {"a row repeated at the end is seen",
     "INSERT INTO audit SELECT 5, 5, at, actor, client, tls_subject, db, action, object, fp,"
     " outcome, sqlstate, text_redacted, prev, hash FROM audit WHERE seq = 4",
     "audit row 5 does not follow the row before it"},
};

static void chain_is_checked(void **state)
{
    const struct edit *edit = *state;
    pristine file;
    pk_error err = {0};
    set_up(&file);
    run_raw(file.dir, edit->sql);
    pk_catalog *catalog = open_unsealed(file.dir);
    if (edit->message == NULL) {
        assert_ok(pk_catalog_audit_verify(catalog, &err), &err);
    } else {
        assert_false(pk_catalog_audit_verify(catalog, &err));
        assert_fault(&err, PK_E_CORRUPT);
        assert_string_equal(err.message, edit->message);
    }
    pk_catalog_close(catalog);
    tear_down(&file);
}

int main(void)
{
    static pk_suite suite;
    pk_secure_heap heap;
    pk_error err;
    if (!pk_secret_heap_init(&heap, &err))
        return 1;
    PK_SUITE_ROWS(&suite, rows, every_column_is_covered);
    PK_SUITE_ROWS(&suite, swaps, is_seen);
    PK_SUITE_ROWS(&suite, edits, chain_is_checked);
    PK_SUITE_TEST(&suite, a_damaged_row_keeps_its_place_among_the_sound_ones);
    PK_SUITE_TEST(&suite, without_marks_a_damaged_row_fails_the_call_and_is_named);
    PK_SUITE_TEST(&suite, another_store_key_finds_every_row_damaged);
    PK_SUITE_TEST(&suite, a_forged_store_row_is_not_sealed_anew_by_the_next_commit);
    PK_SUITE_TEST(&suite, a_damaged_slot_fails_verify_but_not_the_work);
    PK_SUITE_TEST(&suite, a_store_row_put_back_to_an_earlier_epoch_is_seen);
    PK_SUITE_TEST(&suite, an_audit_tail_edited_to_fit_an_earlier_epoch_is_seen);
    PK_SUITE_TEST(&suite, a_damaged_audit_tail_is_not_built_upon);
    PK_SUITE_TEST(&suite, an_epoch_that_cannot_grow_ends_all_writing);
    PK_SUITE_TEST(&suite, macs_and_hashes_are_those_of_the_document);
    return pk_suite_run(&suite, "catalog_damage");
}
