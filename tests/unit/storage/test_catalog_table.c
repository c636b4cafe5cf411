/* The table descriptions against the schema, and the canonical bytes against a vector. */
#include "storage/catalog_table.h"

#include "base/encode.h"
#include "fixture.h"
#include "storage/catalog_driver.h"

static const struct row {
    const char *name;
    pk_table_id id;
} tables[] = {
    {"store", PK_TABLE_STORE}, {"slot", PK_TABLE_SLOT},
    {"key", PK_TABLE_KEY},     {"key_version", PK_TABLE_KEY_VERSION},
    {"wrap", PK_TABLE_WRAP},   {"key_backup", PK_TABLE_KEY_BACKUP},
    {"audit", PK_TABLE_AUDIT},
};

static sqlite3 *schema_only(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    for (int step = 0; step < pk_catalog_schema_version; step++)
        assert_int_equal(sqlite3_exec(db, pk_catalog_schema_steps[step], NULL, NULL, NULL),
                         SQLITE_OK);
    return db;
}

static const char *type_name(pk_column_type type)
{
    return type == PK_COLUMN_INT ? "INTEGER" : type == PK_COLUMN_TEXT ? "TEXT" : "BLOB";
}

/* cid, name, type, notnull, default, pk */
static void check_column(sqlite3_stmt *stmt, const pk_column *column)
{
    assert_string_equal((const char *)sqlite3_column_text(stmt, 1), column->name);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 2), type_name(column->type));
    assert_int_equal(sqlite3_column_int(stmt, 3), (column->flags & PK_COLUMN_NULLABLE) == 0);
    assert_int_equal(sqlite3_column_int(stmt, 5) > 0, (column->flags & PK_COLUMN_KEY) != 0);
}

static void describes_the_schema(void **state)
{
    const struct row *row = *state;
    const pk_table *table = pk_table_of(row->id);
    sqlite3 *db = schema_only();
    sqlite3_stmt *stmt = NULL;
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA table_info(\"%s\")", row->name);
    assert_string_equal(table->name, row->name);
    assert_int_equal(table->id, row->id);
    assert_true(pk_table_values(table) <= PK_TABLE_VALUES_MAX);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    for (size_t i = 0; i < table->count; i++) {
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        check_column(stmt, &table->columns[i]);
    }
    int next = sqlite3_step(stmt);
    assert_int_equal(next == SQLITE_ROW &&
                         strcmp((const char *)sqlite3_column_text(stmt, 1), "mac") == 0,
                     table->has_mac);
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void every_table_of_the_reference_is_there_and_strict(void **state)
{
    (void)state;
    static const char *const names[] = {"store",
                                        "slot",
                                        "key",
                                        "key_version",
                                        "wrap",
                                        "audit",
                                        "key_backup",
                                        "external_connection",
                                        "known_backup",
                                        "policy",
                                        "schema_migration"};
    sqlite3 *db = schema_only();
    for (size_t i = 0; i < PK_COUNT(names); i++) {
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(sqlite3_prepare_v2(db,
                                            "SELECT strict FROM pragma_table_list WHERE name = ?1",
                                            -1, &stmt, NULL),
                         SQLITE_OK);
        (void)sqlite3_bind_text(stmt, 1, names[i], -1, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(stmt, 0), 1);
        (void)sqlite3_finalize(stmt);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* docs/formats/catalog.md 3 shows these bytes. */
static void canonical_bytes_are_those_of_the_document(void **state)
{
    (void)state;
    static const char want[] = "0004"
                               "736c6f74" /* slot */
                               "0002"
                               "6964" /* id */
                               "69"
                               "00000008"
                               "0000000000000007"
                               "0004"
                               "6b696e64" /* kind */
                               "74"
                               "00000004"
                               "66696c65" /* file */
                               "0008"
                               "6b64665f6a736f6e" /* kdf_json, empty but not NULL */
                               "74"
                               "00000000"
                               "0004"
                               "626c6f62" /* blob */
                               "62"
                               "00000003"
                               "01ff00"
                               "000a"
                               "637265617465645f6174" /* created_at */
                               "69"
                               "00000008"
                               "fffffffffffffffe";
    pk_row_slot row = {.id = 7, .kind = "file", .kdf_json = "", .created_at = -2};
    row.blob = pk_span_bytes("\x01\xff\x00", 3);
    pk_value values[PK_TABLE_VALUES_MAX];
    pk_buf out = PK_BUF_MAX(PK_ROW_MAX);
    char hex[1024];
    pk_error err = {0};
    assert_ok(pk_table_store(pk_table_of(PK_TABLE_SLOT), &row, values, &err), &err);
    assert_ok(pk_table_canonical(pk_table_of(PK_TABLE_SLOT), values, &out, &err), &err);
    pk_span got = pk_buf_span(&out);
    assert_true(got.len * 2 < sizeof hex);
    pk_hex(got.ptr, got.len, hex);
    assert_string_equal(hex, want);
    pk_buf_clear(&out);
}

static void a_missing_value_is_an_internal_error_that_names_the_column(void **state)
{
    (void)state;
    pk_row_slot row = sample_slot(0);
    pk_value values[PK_TABLE_VALUES_MAX];
    pk_error err = {0};
    row.kind = NULL;
    assert_false(pk_table_store(pk_table_of(PK_TABLE_SLOT), &row, values, &err));
    assert_fault(&err, PK_E_INTERNAL);
    assert_non_null(strstr(err.message, "\"kind\""));
}

static const struct bad {
    const char *name;
    size_t column; /* of slot */
    pk_value value;
} bad_values[] = {
    {"a text where a number belongs is not sound", 0, {PK_VALUE_TEXT, 0, {"7", 1}}},
    {"a number where a text belongs is not sound", 1, {PK_VALUE_INT, 7, {NULL, 0}}},
    {"NULL where a value must be is not sound", 1, {PK_VALUE_NULL, 0, {NULL, 0}}},
    {"a zero byte in a text is not sound", 1, {PK_VALUE_TEXT, 0, {"fi\0le", 5}}},
    {"a text where a blob belongs is not sound", 5, {PK_VALUE_TEXT, 0, {"x", 1}}},
};

static void is_not_sound(void **state)
{
    const struct bad *bad = *state;
    const pk_table *table = pk_table_of(PK_TABLE_SLOT);
    pk_row_slot in = sample_slot(0);
    pk_row_slot out;
    pk_value values[PK_TABLE_VALUES_MAX];
    pk_arena arena = ARENA;
    pk_error err = {0};
    bool sound = false;
    assert_ok(pk_table_store(table, &in, values, &err), &err);
    assert_ok(pk_table_load(table, values, &arena, &out, &sound, &err), &err);
    assert_true(sound);
    values[bad->column] = bad->value;
    assert_ok(pk_table_load(table, values, &arena, &out, &sound, &err), &err);
    assert_false(sound);
    pk_arena_clear(&arena);
}

static void a_short_uuid_is_not_sound(void **state)
{
    (void)state;
    const pk_table *table = pk_table_of(PK_TABLE_KEY);
    pk_row_key in = sample_key(1);
    pk_row_key out;
    pk_value values[PK_TABLE_VALUES_MAX];
    pk_arena arena = ARENA;
    pk_error err = {0};
    bool sound = true;
    assert_ok(pk_table_store(table, &in, values, &err), &err);
    values[0].bytes.len = 15;
    assert_ok(pk_table_load(table, values, &arena, &out, &sound, &err), &err);
    assert_false(sound);
    pk_arena_clear(&arena);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, tables, describes_the_schema);
    PK_SUITE_ROWS(&suite, bad_values, is_not_sound);
    PK_SUITE_TEST(&suite, every_table_of_the_reference_is_there_and_strict);
    PK_SUITE_TEST(&suite, canonical_bytes_are_those_of_the_document);
    PK_SUITE_TEST(&suite, a_missing_value_is_an_internal_error_that_names_the_column);
    PK_SUITE_TEST(&suite, a_short_uuid_is_not_sound);
    return pk_suite_run(&suite, "catalog_table");
}
