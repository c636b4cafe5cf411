/* Opening rules of the SQLite file (keys-and-security 6.2), locks, damage, and what stays on disk.
 */
#include "fixture.h"
#include "fsync.h"
#include "storage/catalog_driver.h"

#include <fcntl.h>
#include <sys/wait.h>

/* What SQL was prepared, in order; see fsync.h for the labels. */
int real_prepare(sqlite3 *db, const char *sql, int len, sqlite3_stmt **stmt,
                 const char **tail) __asm__("__real_sqlite3_prepare_v2");
int wrapped_prepare(sqlite3 *db, const char *sql, int len, sqlite3_stmt **stmt,
                    const char **tail) __asm__("__wrap_sqlite3_prepare_v2");

static char prepared[64][64];
static size_t prepare_count;

int wrapped_prepare(sqlite3 *db, const char *sql, int len, sqlite3_stmt **stmt, const char **tail)
{
    if (prepare_count < PK_COUNT(prepared))
        (void)snprintf(prepared[prepare_count++], sizeof prepared[0], "%s", sql);
    return real_prepare(db, sql, len, stmt, tail);
}

/* The place of the first statement that begins so. */
static size_t prepared_at(const char *sql)
{
    for (size_t i = 0; i < prepare_count; i++)
        if (strncmp(prepared[i], sql, strlen(sql)) == 0)
            return i;
    fail_msg("never prepared: %s", sql);
    return 0;
}

static void refused(const char *dir, bool create, const char *sqlstate, pk_error *err)
{
    *err = (pk_error){0};
    assert_null(pk_catalog_open_sqlite(dir, create, &fixed_clock, err));
    assert_fault(err, sqlstate);
}

/* A keystore with rows, closed. */
static void make_keystore(char dir[static PATH_MAX], char path[static PATH_MAX])
{
    make_temp(dir);
    keystore_path(dir, path);
    pk_catalog *catalog = open_unsealed(dir);
    fill_catalog(catalog);
    pk_catalog_close(catalog);
}

static unsigned mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static void directory_and_file_are_private_whatever_the_umask(void **state)
{
    (void)state;
    static const mode_t masks[] = {0, 022, 0777};
    for (size_t i = 0; i < PK_COUNT(masks); i++) {
        char top[PATH_MAX];
        char dir[PATH_MAX + 8];
        char path[PATH_MAX + 32];
        make_temp(top);
        (void)snprintf(dir, sizeof dir, "%s/state", top);
        mode_t before = umask(masks[i]);
        pk_catalog *catalog = open_catalog(dir, true);
        umask(before);
        (void)snprintf(path, sizeof path, "%s/keystore.db", dir);
        assert_int_equal(mode_of(dir), 0700);
        assert_int_equal(mode_of(path), 0600);
        (void)snprintf(path, sizeof path, "%s/keystore.db-wal", dir);
        assert_int_equal(mode_of(path), 0600);
        (void)snprintf(path, sizeof path, "%s/keystore.db-shm", dir);
        assert_int_equal(access(path, F_OK), -1); /* EXCLUSIVE needs no shared memory */
        pk_catalog_close(catalog);
        remove_tree(top);
    }
}

static void an_absent_directory_or_file_is_not_created_unasked(void **state)
{
    (void)state;
    char top[PATH_MAX];
    char dir[PATH_MAX + 8];
    pk_error err;
    make_temp(top);
    refused(top, false, PK_E_UNDEFINED_FILE, &err);
    (void)snprintf(dir, sizeof dir, "%s/state", top);
    refused(dir, false, PK_E_UNDEFINED_FILE, &err);
    assert_int_equal(access(dir, F_OK), -1);
    (void)snprintf(dir, sizeof dir, "%s/a/b", top);
    refused(dir, true, PK_E_UNDEFINED_FILE, &err);
    remove_tree(top);
}

static void an_empty_file_counts_as_absent(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    pk_error err;
    make_temp(dir);
    keystore_path(dir, path);
    write_bytes(path, "", 0);
    refused(dir, false, PK_E_UNDEFINED_FILE, &err);
    pk_catalog *catalog = open_unsealed(dir);
    fill_catalog(catalog);
    pk_catalog_close(catalog);
    remove_tree(dir);
}

static void the_pragmas_of_the_reference_are_in_force(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    make_keystore(dir, path);
    sqlite3 *db = open_raw(dir);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT * FROM pragma_journal_mode, "
                                        "pragma_application_id, pragma_user_version",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "wal");
    assert_int_equal(sqlite3_column_int(stmt, 1), 0x70676b70);
    assert_int_equal(sqlite3_column_int(stmt, 2), pk_catalog_schema_version);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    remove_tree(dir);
}

static void a_damaged_file_is_read_carefully_from_the_first_page_on(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    make_keystore(dir, path);
    prepare_count = 0;
    pk_catalog_close(open_catalog(dir, false));
    size_t lock = prepared_at("PRAGMA locking_mode = EXCLUSIVE");
    size_t first_read = prepared_at("BEGIN EXCLUSIVE");
    assert_true(lock < prepared_at("PRAGMA cell_size_check = ON"));
    assert_true(prepared_at("PRAGMA cell_size_check = ON") < first_read);
    assert_true(prepared_at("PRAGMA mmap_size = 0") < first_read);
    assert_true(first_read < prepared_at("PRAGMA application_id"));
    remove_tree(dir);
}

/* Its name must survive a power loss, also if another process made it just before. */
static void the_directory_above_is_synced_even_if_the_directory_was_there(void **state)
{
    (void)state;
    char top[PATH_MAX];
    char dir[PATH_MAX + 8];
    for (int there = 0; there < 2; there++) {
        make_temp(top);
        (void)snprintf(dir, sizeof dir, "%s/state", top);
        if (there)
            assert_int_equal(mkdir(dir, 0700), 0);
        sync_count = 0;
        pk_catalog_close(open_catalog(dir, true));
        assert_true(was_synced(top));
        remove_tree(top);
    }
}

static const struct mode {
    const char *name;
    bool file;
    mode_t mode;
} modes[] = {
    {"a directory that a group may read is refused", false, 0750},
    {"a directory that others may search is refused", false, 0701},
    {"a file that a group may read is refused", true, 0640},
    {"a file that others may write is refused", true, 0602},
};

static void mode_is_refused(void **state)
{
    const struct mode *row = *state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    pk_error err;
    make_keystore(dir, path);
    assert_int_equal(chmod(row->file ? path : dir, row->mode), 0);
    refused(dir, true, PK_E_PRIVILEGE, &err);
    assert_non_null(strstr(err.hint, "chmod go-rwx"));
    assert_int_equal(chmod(dir, 0700), 0);
    remove_tree(dir);
}

static void a_file_or_directory_of_another_user_is_refused(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    pk_error err;
    if (geteuid() != 0)
        skip();
    make_keystore(dir, path);
    assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
    refused(dir, true, PK_E_PRIVILEGE, &err);
    assert_int_equal(chown(path, 0, (gid_t)-1), 0);
    assert_int_equal(chown(dir, 65534, (gid_t)-1), 0);
    refused(dir, true, PK_E_PRIVILEGE, &err);
    remove_tree(dir);
}

static void a_symbolic_link_as_the_file_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"keystore.db", "keystore.db-wal", "keystore.db-journal"};
    for (size_t i = 0; i < PK_COUNT(names); i++) {
        char dir[PATH_MAX];
        char link[PATH_MAX + 32];
        pk_error err;
        make_temp(dir);
        (void)snprintf(link, sizeof link, "%s/%s", dir, names[i]);
        assert_int_equal(symlink("/dev/null", link), 0);
        refused(dir, true, PK_E_PRIVILEGE, &err);
        remove_tree(dir);
    }
}

static void a_directory_may_be_reached_through_a_symbolic_link(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    char link[PATH_MAX + 8];
    make_keystore(dir, path);
    (void)snprintf(link, sizeof link, "%s-link", dir);
    assert_int_equal(symlink(dir, link), 0);
    pk_catalog *catalog = open_catalog(link, false);
    pk_catalog_close(catalog);
    assert_int_equal(unlink(link), 0);
    remove_tree(dir);
}

/* The child owns the keystore from before the parent has ever opened it: SQLite's own bookkeeping
 * is per process and must not be what answers. */
static void a_second_process_is_refused_at_once_and_told_who_owns_it(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char byte = 0;
    char detail[64];
    int ready[2];
    int done[2];
    pk_error err;
    make_temp(dir);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(done[1]);
        pk_catalog *mine = pk_catalog_open_sqlite(dir, true, &fixed_clock, &err);
        byte = mine == NULL ? 'n' : 'y';
        (void)!write(ready[1], &byte, 1);
        (void)!read(done[0], &byte, 1); /* until the parent closes its end */
        pk_catalog_close(mine);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    refused(dir, true, PK_E_IN_USE, &err);
    assert_non_null(strstr(err.message, "is in use"));
    (void)snprintf(detail, sizeof detail, "Process %d holds its lock.", child);
    if (access("/proc/locks", R_OK) == 0)
        assert_string_equal(err.detail, detail);
    (void)close(done[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    pk_catalog_close(open_catalog(dir, false)); /* free again */
    remove_tree(dir);
}

static void a_second_opener_in_the_same_process_is_refused_and_takes_nothing_away(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    pk_error err;
    make_temp(dir);
    pk_catalog *first = open_unsealed(dir);
    refused(dir, true, PK_E_IN_USE, &err);
    fill_catalog(first);
    pid_t child = fork(); /* the lock of this process is still there for another */
    if (child == 0) {
        char path[PATH_MAX];
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        keystore_path(dir, path);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        _exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    pk_catalog_close(first);
    remove_tree(dir);
}

static const struct content {
    const char *name, *sql, *sqlstate;
} contents[] = {
    {"a newer schema is refused",
     "PRAGMA user_version = 99; INSERT INTO schema_migration VALUES (99, 0, 'x')",
     PK_E_UNSUPPORTED},
    {"a version that its own table does not know is refused",
     "INSERT INTO schema_migration VALUES (99, 0, 'x')", PK_E_CORRUPT},
    {"version 0 of our own is refused", "PRAGMA user_version = 0", PK_E_CORRUPT},
    {"a negative version is refused", "PRAGMA user_version = -1", PK_E_CORRUPT},
    {"another program's database is refused", "PRAGMA application_id = 7", PK_E_CORRUPT},
    {"a database without a mark is refused", "PRAGMA application_id = 0; PRAGMA user_version = 0",
     PK_E_CORRUPT},
    {"a keystore without its tables is refused", "DROP TABLE schema_migration", PK_E_INTERNAL},
};

static void content_is_refused(void **state)
{
    const struct content *row = *state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    pk_error err;
    make_keystore(dir, path);
    run_raw(dir, row->sql);
    refused(dir, true, row->sqlstate, &err);
    remove_tree(dir);
}

static void a_foreign_database_is_not_touched(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    char *before = NULL;
    char *after = NULL;
    pk_error err;
    make_temp(dir);
    keystore_path(dir, path);
    run_raw(dir, "CREATE TABLE theirs (x)");
    assert_int_equal(chmod(path, 0600), 0);
    size_t size = read_bytes(path, &before);
    refused(dir, true, PK_E_CORRUPT, &err);
    assert_int_equal(read_bytes(path, &after), size);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
    remove_tree(dir);
}

static void what_is_not_a_database_is_refused(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    char noise[8192];
    pk_error err;
    make_temp(dir);
    keystore_path(dir, path);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 31);
    write_bytes(path, noise, sizeof noise);
    refused(dir, true, PK_E_CORRUPT, &err);
    write_bytes(path, "xy", 2);
    refused(dir, true, PK_E_CORRUPT, &err);
    remove_tree(dir);
}

static void a_truncated_file_is_refused_or_its_rows_are(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    char *bytes = NULL;
    pk_error err;
    make_keystore(dir, path);
    size_t size = read_bytes(path, &bytes);
    assert_true(size > 8192);
    static const size_t kept[] = {2, 50, 99, 512, 4096, 8192};
    for (size_t i = 0; i < PK_COUNT(kept); i++) {
        write_bytes(path, bytes, kept[i]);
        refused(dir, true, PK_E_CORRUPT, &err);
    }
    write_bytes(path, bytes, size - 4096);
    refused(dir, true, PK_E_CORRUPT, &err);
    free(bytes);
    remove_tree(dir);
}

static bool occurs(const char *path, const char *needle, size_t len)
{
    char *bytes = NULL;
    size_t size = read_bytes(path, &bytes);
    bool found = size > 0 && memmem(bytes, size, needle, len) != NULL;
    free(bytes);
    return found;
}

static bool is_on_disk(const char *dir, const char *needle, size_t len)
{
    char path[PATH_MAX];
    char wal[PATH_MAX + 8];
    keystore_path(dir, path);
    (void)snprintf(wal, sizeof wal, "%s-wal", path);
    return occurs(path, needle, len) || occurs(wal, needle, len);
}

static void an_erased_or_overwritten_blob_is_gone_from_the_files(void **state)
{
    (void)state;
    static const char first[] = "canary-one-canary-one-canary-one-canary-one";
    static const char second[] = "canary-two-canary-two-canary-two-canary-two";
    char dir[PATH_MAX];
    pk_error err;
    make_temp(dir);
    pk_catalog *catalog = open_unsealed(dir);
    fill_catalog(catalog);
    pk_row_audit audit = audit_row("X");
    pk_row_wrap wrap = sample_wrap(0);
    wrap.blob = pk_span_bytes(first, sizeof first);
    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_ok(pk_catalog_insert(catalog, PK_TABLE_WRAP, &wrap, &err), &err);
    assert_ok(pk_catalog_commit(catalog, &audit, &err), &err);
    assert_true(is_on_disk(dir, first, sizeof first));

    wrap.blob = pk_span_bytes(second, sizeof second);
    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_ok(pk_catalog_update(catalog, PK_TABLE_WRAP, &wrap, &err), &err);
    assert_ok(pk_catalog_commit(catalog, &audit, &err), &err);
    assert_false(is_on_disk(dir, first, sizeof first));
    assert_true(is_on_disk(dir, second, sizeof second));

    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_ok(pk_catalog_erase(catalog, PK_TABLE_WRAP, &wrap, &err), &err);
    assert_ok(pk_catalog_commit(catalog, &audit, &err), &err);
    assert_false(is_on_disk(dir, second, sizeof second));
    pk_catalog_close(catalog);
    assert_false(is_on_disk(dir, second, sizeof second));
    remove_tree(dir);
}

/* The process dies with a transaction open, and after a commit: nothing of the first, all of the
 * second. */
static void a_killed_process_leaves_whole_transactions(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    pk_error err;
    pk_arena arena = ARENA;
    pk_rows rows = {0};
    make_temp(dir);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pk_row_slot slot = sample_slot(0);
        pk_catalog *mine = open_unsealed(dir);
        fill_catalog(mine);
        if (pk_catalog_begin(mine, &err) && pk_catalog_insert(mine, PK_TABLE_SLOT, &slot, &err))
            _exit(0); /* no close, no rollback */
        _exit(1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    pk_catalog *catalog = open_unsealed(dir);
    assert_ok(pk_catalog_rows(catalog, PK_TABLE_SLOT, NULL, &arena, &rows, &err), &err);
    assert_int_equal(rows.count, 2);
    assert_ok(pk_catalog_verify(catalog, &err), &err);
    assert_ok(pk_catalog_audit_verify(catalog, &err), &err);
    pk_catalog_close(catalog);
    pk_arena_clear(&arena);
    remove_tree(dir);
}

int main(void)
{
    static pk_suite suite;
    pk_secure_heap heap;
    pk_error err;
    if (!pk_secret_heap_init(&heap, &err))
        return 1;
    PK_SUITE_TEST(&suite, directory_and_file_are_private_whatever_the_umask);
    PK_SUITE_TEST(&suite, an_absent_directory_or_file_is_not_created_unasked);
    PK_SUITE_TEST(&suite, an_empty_file_counts_as_absent);
    PK_SUITE_TEST(&suite, the_pragmas_of_the_reference_are_in_force);
    PK_SUITE_TEST(&suite, a_damaged_file_is_read_carefully_from_the_first_page_on);
    PK_SUITE_TEST(&suite, the_directory_above_is_synced_even_if_the_directory_was_there);
    PK_SUITE_ROWS(&suite, modes, mode_is_refused);
    PK_SUITE_TEST(&suite, a_file_or_directory_of_another_user_is_refused);
    PK_SUITE_TEST(&suite, a_symbolic_link_as_the_file_is_refused);
    PK_SUITE_TEST(&suite, a_directory_may_be_reached_through_a_symbolic_link);
    PK_SUITE_TEST(&suite, a_second_process_is_refused_at_once_and_told_who_owns_it);
    PK_SUITE_TEST(&suite, a_second_opener_in_the_same_process_is_refused_and_takes_nothing_away);
    PK_SUITE_ROWS(&suite, contents, content_is_refused);
    PK_SUITE_TEST(&suite, a_foreign_database_is_not_touched);
    PK_SUITE_TEST(&suite, what_is_not_a_database_is_refused);
    PK_SUITE_TEST(&suite, a_truncated_file_is_refused_or_its_rows_are);
    PK_SUITE_TEST(&suite, an_erased_or_overwritten_blob_is_gone_from_the_files);
    PK_SUITE_TEST(&suite, a_killed_process_leaves_whole_transactions);
    return pk_suite_run(&suite, "catalog_sqlite");
}
