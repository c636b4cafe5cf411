/*
 * The catalog's rows in one SQLite file, `keystore.db`. The only file that includes sqlite3.h. It
 * turns the table descriptions into SQL once per table and operation, binds every value, and maps
 * SQLite's result codes to SQLSTATEs; texts of SQLite that could quote a value are never passed on.
 *
 * Opening follows keys-and-security 6.2. locking_mode=EXCLUSIVE stands first, and the lock is taken
 * before anything is read: the file has one owner at a time (DECISIONS 14e), and there is no shared
 * memory file. The schema appears in one transaction, so a crash leaves an empty database, which
 * counts as absent, or a whole one.
 */
#include "base/crash.h"
#include "base/log.h"
#include "storage/catalog_driver.h"
#include "storage/state_dir.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_NAME      "keystore.db"
#define APPLICATION_ID 0x70676b70 /* "pgkp", at offset 68 of the file */
#define VALUE_MAX      (8 << 20)
#define SQL_MAX        8192

typedef enum operation {
    OP_INSERT,
    OP_UPDATE,
    OP_ERASE,
    OP_SELECT,
    OP_SELECT_OF_KEY,
    OP_SELECT_NEWEST,
    OP_NEXT_ID,
    OP_COUNT
} operation;

typedef struct sqlite_driver {
    sqlite3 *db;
    pk_state_dir dir;
    sqlite3_stmt *statements[PK_TABLE_COUNT][OP_COUNT]; /* prepared on first use */
} sqlite_driver;

/* What went wrong, in our words. `doing` names the attempt, never a value. */
static bool fail_sqlite(const sqlite_driver *driver, const char *doing, pk_error *err)
{
    int code = sqlite3_extended_errcode(driver->db);
    const char *text = sqlite3_errstr(code); /* a fixed text per code; sqlite3_errmsg may quote */
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: {
        pk_fail(err, PK_E_IN_USE, "keystore \"%s/%s\" is in use", driver->dir.path, FILE_NAME);
        pid_t pid = pk_state_file_owner(&driver->dir, FILE_NAME);
        return pid > 0 && pk_error_detail(err, "Process %d holds its lock.", pid);
    }
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return pk_fail(err, PK_E_CORRUPT, "keystore \"%s/%s\" is damaged or not a keystore: %s",
                       driver->dir.path, FILE_NAME, text);
    case SQLITE_CONSTRAINT:
        if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY)
            return pk_fail(err, PK_E_DUPLICATE_OBJECT, "could not %s: such a row exists already",
                           doing);
        return pk_fail(err, PK_E_INTERNAL, "could not %s: %s", doing, text);
    case SQLITE_NOMEM:
        return pk_fail(err, PK_E_MEMORY, "could not %s: %s", doing, text);
    case SQLITE_TOOBIG:
        return pk_fail(err, PK_E_TOO_LONG, "could not %s: %s", doing, text);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return pk_fail(err, PK_E_IO, "could not %s: %s", doing, text);
    default:
        return pk_fail(err, PK_E_INTERNAL, "could not %s: %s", doing, text);
    }
}

static bool exec_sql(const sqlite_driver *driver, const char *sql, const char *doing, pk_error *err)
{
    return sqlite3_exec(driver->db, sql, NULL, NULL, NULL) == SQLITE_OK ||
           fail_sqlite(driver, doing, err);
}

/* SQL text from a table description. Names are ours, but "key" and "by" are words of SQL. */

static bool put_columns(const pk_table *table, pk_buf *sql, pk_error *err)
{
    for (size_t i = 0; i < table->count; i++)
        if (!pk_buf_printf(sql, err, "%s\"%s\"", i == 0 ? "" : ", ", table->columns[i].name))
            return false;
    return !table->has_mac || pk_buf_append_text(sql, ", \"mac\"", err);
}

static bool put_insert(const pk_table *table, pk_buf *sql, pk_error *err)
{
    if (!pk_buf_printf(sql, err, "INSERT INTO \"%s\" (", table->name) ||
        !put_columns(table, sql, err) || !pk_buf_append_text(sql, ") VALUES (", err))
        return false;
    for (size_t i = 1; i <= pk_table_values(table); i++)
        if (!pk_buf_printf(sql, err, "%s?%zu", i == 1 ? "" : ", ", i))
            return false;
    return pk_buf_append_text(sql, ")", err);
}

/* Parameter n is always value n - 1, so one binding serves every statement. */
static bool put_where_key(const pk_table *table, pk_buf *sql, pk_error *err)
{
    const char *before = " WHERE";
    for (size_t i = 0; i < table->count; i++) {
        if ((table->columns[i].flags & PK_COLUMN_KEY) == 0)
            continue;
        if (!pk_buf_printf(sql, err, "%s \"%s\" = ?%zu", before, table->columns[i].name, i + 1))
            return false;
        before = " AND";
    }
    return true;
}

static bool put_update(const pk_table *table, pk_buf *sql, pk_error *err)
{
    const char *before = " SET";
    if (!pk_buf_printf(sql, err, "UPDATE \"%s\"", table->name))
        return false;
    for (size_t i = 0; i < pk_table_values(table); i++) {
        if (i < table->count && (table->columns[i].flags & PK_COLUMN_KEY) != 0)
            continue;
        const char *name = i < table->count ? table->columns[i].name : "mac";
        if (!pk_buf_printf(sql, err, "%s \"%s\" = ?%zu", before, name, i + 1))
            return false;
        before = ",";
    }
    return put_where_key(table, sql, err);
}

static bool put_select(const pk_table *table, operation op, pk_buf *sql, pk_error *err)
{
    if (!pk_buf_append_text(sql, "SELECT ", err) || !put_columns(table, sql, err) ||
        !pk_buf_printf(sql, err, " FROM \"%s\"", table->name))
        return false;
    if (op == OP_SELECT_OF_KEY && !pk_buf_printf(sql, err, " WHERE \"%s\" = ?1", table->of))
        return false;
    if (op == OP_SELECT_NEWEST)
        return pk_buf_printf(sql, err, " ORDER BY \"%s\" DESC LIMIT 1", table->columns[0].name);
    return pk_buf_printf(sql, err, " ORDER BY %s", table->order);
}

static bool put_sql(const pk_table *table, operation op, pk_buf *sql, pk_error *err)
{
    switch (op) {
    case OP_INSERT:
        return put_insert(table, sql, err);
    case OP_UPDATE:
        return put_update(table, sql, err);
    case OP_ERASE:
        return pk_buf_printf(sql, err, "DELETE FROM \"%s\"", table->name) &&
               put_where_key(table, sql, err);
    case OP_SELECT:
    case OP_SELECT_OF_KEY:
    case OP_SELECT_NEWEST:
        return put_select(table, op, sql, err);
    case OP_NEXT_ID: /* AUTOINCREMENT keeps the highest id ever used here */
        return pk_buf_printf(sql, err,
                             "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence"
                             " WHERE name = '%s'",
                             table->name);
    case OP_COUNT:
        break;
    }
    return pk_fail(err, PK_E_INTERNAL, "unknown catalog operation");
}

static sqlite3_stmt *statement(sqlite_driver *driver, const pk_table *table, operation op,
                               pk_error *err)
{
    sqlite3_stmt **at = &driver->statements[table->id][op];
    if (*at != NULL)
        return *at;
    PK_AUTO(pk_buf_clear) pk_buf sql = PK_BUF_MAX(SQL_MAX);
    if (!put_sql(table, op, &sql, err))
        return NULL;
    pk_span text = pk_buf_span(&sql);
    if (sqlite3_prepare_v3(driver->db, text.ptr, (int)text.len, SQLITE_PREPARE_PERSISTENT, at,
                           NULL) != SQLITE_OK) {
        fail_sqlite(driver, "prepare a catalog statement", err);
        return NULL;
    }
    return *at;
}

static int bind_value(sqlite3_stmt *stmt, int at, const pk_value *value)
{
    /* The driver's caller keeps the bytes until the statement has run: no copy. */
    switch (value->type) {
    case PK_VALUE_INT:
        return sqlite3_bind_int64(stmt, at, value->number);
    case PK_VALUE_TEXT:
        return sqlite3_bind_text64(stmt, at, value->bytes.ptr, value->bytes.len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case PK_VALUE_BLOB:
        return sqlite3_bind_blob64(stmt, at, value->bytes.ptr, value->bytes.len, SQLITE_STATIC);
    case PK_VALUE_NULL:
        break;
    }
    return sqlite3_bind_null(stmt, at);
}

static void finish(sqlite3_stmt *stmt)
{
    (void)sqlite3_reset(stmt); /* repeats the error of step, which was reported already */
    (void)sqlite3_clear_bindings(stmt);
}

/* One statement that changes one row. */
static bool change(sqlite_driver *driver, const pk_table *table, operation op,
                   const pk_value *values, pk_error *err)
{
    static const char *const doing[] = {[OP_INSERT] = "write the catalog",
                                        [OP_UPDATE] = "write the catalog",
                                        [OP_ERASE] = "erase from the catalog"};
    /* After a full disk SQLite may have rolled back by itself: what follows must not be saved. */
    if (sqlite3_get_autocommit(driver->db) != 0)
        return pk_fail(err, PK_E_IO, "the catalog transaction was rolled back");
    sqlite3_stmt *stmt = statement(driver, table, op, err);
    if (stmt == NULL)
        return false;
    int count = sqlite3_bind_parameter_count(stmt);
    bool ok = true;
    for (int i = 0; ok && i < count; i++)
        ok = bind_value(stmt, i + 1, &values[i]) == SQLITE_OK;
    ok = (ok && sqlite3_step(stmt) == SQLITE_DONE) || fail_sqlite(driver, doing[op], err);
    finish(stmt);
    if (ok && sqlite3_changes(driver->db) != 1)
        return pk_fail(err, PK_E_INTERNAL, "no such row in catalog table \"%s\"", table->name);
    return ok;
}

static bool driver_insert(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    return change(self, table, OP_INSERT, values, err);
}

static bool driver_update(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    return change(self, table, OP_UPDATE, values, err);
}

static bool driver_erase(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    return change(self, table, OP_ERASE, values, err);
}

static pk_value column_value(sqlite3_stmt *stmt, int column)
{
    pk_value value = {0};
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        return (pk_value){PK_VALUE_INT, sqlite3_column_int64(stmt, column), {0}};
    case SQLITE_NULL:
        return value;
    case SQLITE_TEXT:
        value.type = PK_VALUE_TEXT;
        value.bytes.ptr = (const char *)sqlite3_column_text(stmt, column);
        break;
    default: /* a REAL, which no column of ours holds, so fits no number's column either */
        value.type = PK_VALUE_BLOB;
        value.bytes.ptr = sqlite3_column_blob(stmt, column);
        break;
    }
    value.bytes.len = (size_t)sqlite3_column_bytes(stmt, column);
    return value;
}

static bool each_row(sqlite_driver *driver, sqlite3_stmt *stmt, pk_on_row on_row, void *ctx,
                     pk_error *err)
{
    pk_value values[PK_TABLE_VALUES_MAX] = {0};
    int columns = sqlite3_column_count(stmt);
    int code = SQLITE_OK;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < columns && i < (int)PK_TABLE_VALUES_MAX; i++)
            values[i] = column_value(stmt, i);
        if (!on_row(ctx, values, err))
            return false;
    }
    return code == SQLITE_DONE || fail_sqlite(driver, "read the catalog", err);
}

static bool driver_select(void *self, const pk_table *table, const pk_select *what,
                          pk_on_row on_row, void *ctx, pk_error *err)
{
    sqlite_driver *driver = self;
    operation op = what->newest           ? OP_SELECT_NEWEST
                   : what->of_key != NULL ? OP_SELECT_OF_KEY
                                          : OP_SELECT;
    sqlite3_stmt *stmt = statement(driver, table, op, err);
    if (stmt == NULL)
        return false;
    if (op == OP_SELECT_OF_KEY)
        (void)sqlite3_bind_blob(stmt, 1, what->of_key, 16, SQLITE_STATIC);
    bool ok = each_row(driver, stmt, on_row, ctx, err);
    finish(stmt);
    return ok;
}

static bool take_number(void *ctx, const pk_value *values, pk_error *err)
{
    (void)err;
    *(int64_t *)ctx = values[0].number;
    return true;
}

static bool driver_next_id(void *self, const pk_table *table, int64_t *id, pk_error *err)
{
    sqlite_driver *driver = self;
    sqlite3_stmt *stmt = statement(driver, table, OP_NEXT_ID, err);
    if (stmt == NULL)
        return false;
    bool ok = each_row(driver, stmt, take_number, id, err);
    finish(stmt);
    return ok;
}

static bool driver_begin(void *self, pk_error *err)
{
    PK_CRASH_POINT("before the transaction");
    return exec_sql(self, "BEGIN IMMEDIATE", "begin a catalog transaction", err);
}

static void driver_rollback(void *self)
{
    const sqlite_driver *driver = self;
    if (sqlite3_get_autocommit(driver->db) == 0)
        (void)sqlite3_exec(driver->db, "ROLLBACK", NULL, NULL, NULL);
}

static bool driver_commit(void *self, bool scrub, pk_error *err)
{
    sqlite_driver *driver = self;
    if (sqlite3_get_autocommit(driver->db) != 0)
        return pk_fail(err, PK_E_IO, "the catalog transaction was rolled back");
    PK_CRASH_POINT("before the commit");
    if (!exec_sql(driver, "COMMIT", "commit a catalog transaction", err)) {
        driver_rollback(driver);
        return false;
    }
    PK_CRASH_POINT("committed");
    /* The old bytes are still in the main file until the log is folded into it. */
    if (scrub && sqlite3_wal_checkpoint_v2(driver->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                           NULL) != SQLITE_OK)
        pk_log_warning("keystore: erased data stays in \"%s/%s\" until the next checkpoint: %s",
                       driver->dir.path, FILE_NAME,
                       sqlite3_errstr(sqlite3_extended_errcode(driver->db)));
    PK_CRASH_POINT("scrubbed");
    return true;
}

static void driver_close(void *self)
{
    sqlite_driver *driver = self;
    for (size_t table = 0; table < PK_TABLE_COUNT; table++)
        for (size_t op = 0; op < OP_COUNT; op++)
            (void)sqlite3_finalize(driver->statements[table][op]);
    if (sqlite3_close(driver->db) != SQLITE_OK)
        pk_log_error("keystore: \"%s/%s\" could not be closed", driver->dir.path, FILE_NAME);
    pk_state_dir_close(&driver->dir);
    pk_free(driver);
}

static const pk_catalog_ops sqlite_ops = {
    .begin = driver_begin,
    .commit = driver_commit,
    .rollback = driver_rollback,
    .next_id = driver_next_id,
    .insert = driver_insert,
    .update = driver_update,
    .erase = driver_erase,
    .select = driver_select,
    .close = driver_close,
};

/* Opening. */

/* The first column of the first row, as text ("" if there is none). */
static bool query_text(sqlite_driver *driver, const char *sql, char out[static 64], pk_error *err)
{
    sqlite3_stmt *stmt = NULL;
    out[0] = '\0';
    if (sqlite3_prepare_v2(driver->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return fail_sqlite(driver, "examine the keystore", err);
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW && sqlite3_column_text(stmt, 0) != NULL)
        (void)snprintf(out, 64, "%s", (const char *)sqlite3_column_text(stmt, 0));
    bool ok = code == SQLITE_ROW || code == SQLITE_DONE ||
              fail_sqlite(driver, "examine the keystore", err);
    (void)sqlite3_finalize(stmt);
    return ok;
}

static bool query_number(sqlite_driver *driver, const char *sql, long long *number, pk_error *err)
{
    char text[64];
    if (!query_text(driver, sql, text, err))
        return false;
    *number = strtoll(text, NULL, 10);
    return true;
}

typedef struct pragma {
    const char *sql, *want;
} pragma;

/* The lock comes before anything is read, and outlives the transaction that took it. So does what
 * makes reading a damaged file safe; both settings are the connection's, not the file's. */
static const pragma lock_pragmas[] = {
    {"PRAGMA locking_mode = EXCLUSIVE", "exclusive"},
    {"PRAGMA cell_size_check = ON", ""},
    {"PRAGMA mmap_size = 0", "0"},
    {"BEGIN EXCLUSIVE", ""},
    {"COMMIT", ""},
};
/* keys-and-security 6.2. Only once the file is known to be ours: the first one writes to it. */
static const pragma use_pragmas[] = {
    {"PRAGMA journal_mode = WAL", "wal"}, {"PRAGMA synchronous = FULL", ""},
    {"PRAGMA synchronous", "2"},          {"PRAGMA secure_delete = ON", "1"},
    {"PRAGMA foreign_keys = ON", ""},     {"PRAGMA foreign_keys", "1"},
    {"PRAGMA trusted_schema = OFF", ""},  {"PRAGMA temp_store = MEMORY", ""},
};

/* What SQLite cannot do it ignores without a word, hence the comparison. */
static bool set_pragmas(sqlite_driver *driver, const pragma *pragmas, size_t count, pk_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char got[64];
        if (!query_text(driver, pragmas[i].sql, got, err))
            return false;
        if (strcmp(got, pragmas[i].want) != 0)
            return pk_fail(err, PK_E_IO, "SQLite does not do \"%s\" for \"%s/%s\"", pragmas[i].sql,
                           driver->dir.path, FILE_NAME);
    }
    return true;
}

/* A crafted file must not make us run its triggers or views. */
static bool harden(sqlite_driver *driver, pk_error *err)
{
    static const struct {
        int option, on;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},        {SQLITE_DBCONFIG_DQS_DDL, 0},
    };
    for (size_t i = 0; i < PK_COUNT(options); i++)
        if (sqlite3_db_config(driver->db, options[i].option, options[i].on, NULL) != SQLITE_OK)
            return fail_sqlite(driver, "harden the keystore's connection", err);
    (void)sqlite3_limit(driver->db, SQLITE_LIMIT_LENGTH, VALUE_MAX);
    (void)sqlite3_limit(driver->db, SQLITE_LIMIT_ATTACHED, 0);
    return true;
}

static bool record_step(sqlite_driver *driver, int version, const pk_clock *clock, pk_error *err)
{
    sqlite3_stmt *stmt = NULL;
    bool ok = sqlite3_prepare_v2(driver->db,
                                 "INSERT INTO schema_migration (ver, applied_at, pgkeep_version)"
                                 " VALUES (?1, ?2, ?3)",
                                 -1, &stmt, NULL) == SQLITE_OK &&
              sqlite3_bind_int(stmt, 1, version) == SQLITE_OK &&
              sqlite3_bind_int64(stmt, 2, clock->wall_us(clock)) == SQLITE_OK &&
              sqlite3_bind_text(stmt, 3, PK_VERSION, -1, SQLITE_STATIC) == SQLITE_OK &&
              sqlite3_step(stmt) == SQLITE_DONE;
    ok = ok || fail_sqlite(driver, "create the keystore's tables", err);
    (void)sqlite3_finalize(stmt);
    return ok;
}

static bool apply_steps(sqlite_driver *driver, int from, const pk_clock *clock, pk_error *err)
{
    char marks[96];
    for (int version = from + 1; version <= pk_catalog_schema_version; version++)
        if (!exec_sql(driver, pk_catalog_schema_steps[version - 1], "create the keystore's tables",
                      err) ||
            !record_step(driver, version, clock, err))
            return false;
    (void)snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   APPLICATION_ID, pk_catalog_schema_version);
    return exec_sql(driver, marks, "mark the keystore", err);
}

/* From schema version `from` (0: an empty database) to ours: everything or nothing. */
static bool migrate(sqlite_driver *driver, int from, const pk_clock *clock, pk_error *err)
{
    if (from == pk_catalog_schema_version)
        return true;
    if (!driver_begin(driver, err))
        return false;
    if (apply_steps(driver, from, clock, err))
        return driver_commit(driver, false, err);
    driver_rollback(driver);
    return false;
}

static bool check_version(sqlite_driver *driver, long long version, pk_error *err)
{
    long long recorded = 0;
    if (version > pk_catalog_schema_version) {
        pk_fail(err, PK_E_UNSUPPORTED, "keystore \"%s/%s\" was written by a newer pgkeep",
                driver->dir.path, FILE_NAME);
        return pk_error_detail(err, "Its schema has version %lld, this program knows up to %d.",
                               version, pk_catalog_schema_version);
    }
    if (!query_number(driver, "SELECT max(ver) FROM schema_migration", &recorded, err))
        return false;
    if (version < 1 || version != recorded)
        return pk_fail(err, PK_E_CORRUPT, "keystore \"%s/%s\" does not know its schema version",
                       driver->dir.path, FILE_NAME);
    return true;
}

/* Ours, of a version we know, or empty (version 0) and to be created. */
static bool identify(sqlite_driver *driver, bool create, int *from, pk_error *err)
{
    long long application = 0;
    long long version = 0;
    long long objects = 0;
    if (!query_number(driver, "PRAGMA application_id", &application, err) ||
        !query_number(driver, "PRAGMA user_version", &version, err) ||
        !query_number(driver, "SELECT count(*) FROM sqlite_schema", &objects, err))
        return false;
    *from = (int)version;
    if (application == APPLICATION_ID)
        return check_version(driver, version, err);
    if (application != 0 || version != 0 || objects != 0)
        return pk_fail(err, PK_E_CORRUPT, "\"%s/%s\" is a SQLite database, but not a keystore",
                       driver->dir.path, FILE_NAME);
    return create || pk_fail(err, PK_E_UNDEFINED_FILE, "keystore \"%s/%s\" is empty",
                             driver->dir.path, FILE_NAME);
}

static bool open_files(sqlite_driver *driver, const char *state_dir, bool create, pk_error *err)
{
    char path[PATH_MAX + sizeof "/" FILE_NAME];
    if (!pk_state_dir_open(&driver->dir, state_dir, create, err) ||
        !pk_state_file_ready(&driver->dir, FILE_NAME, create, err) ||
        !pk_state_file_safe(&driver->dir, FILE_NAME "-wal", err) ||
        !pk_state_file_safe(&driver->dir, FILE_NAME "-journal", err))
        return false;
    (void)snprintf(path, sizeof path, "%s/%s", driver->dir.path, FILE_NAME);
    if (sqlite3_open_v2(path, &driver->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL) ==
        SQLITE_OK)
        return true;
    if (driver->db == NULL)
        return pk_fail(err, PK_E_MEMORY, "out of memory");
    return fail_sqlite(driver, "open the keystore", err);
}

pk_catalog_driver pk_catalog_sqlite_driver(const char *state_dir, bool create,
                                           const pk_clock *clock, pk_error *err)
{
    sqlite_driver *driver = pk_new(sqlite_driver);
    int from = 0;
    driver->dir = PK_STATE_DIR_INIT;
    if (open_files(driver, state_dir, create, err) && harden(driver, err) &&
        set_pragmas(driver, lock_pragmas, PK_COUNT(lock_pragmas), err) &&
        identify(driver, create, &from, err) &&
        set_pragmas(driver, use_pragmas, PK_COUNT(use_pragmas), err) &&
        migrate(driver, from, clock, err))
        return (pk_catalog_driver){&sqlite_ops, driver};
    driver_close(driver);
    return (pk_catalog_driver){0};
}
