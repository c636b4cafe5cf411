/*
 * The power fails at every call that the catalog makes to the disk, in every way a disk can forget:
 * afterwards the catalog opens, its MACs and its chain hold, and it is in the state of the last
 * acknowledged commit or of the one that was under way (keys-and-security 6.3, invariants i to iv;
 * v, the files, is test_crash.py's). The real driver runs on a disk in memory (fakes/crash_vfs.h).
 *
 * Whether the test can see anything is shown by its controls: with SQLite told to sync less, and on
 * a disk that lies about syncing, the same runs must find commits lost or the file damaged.
 */
#include "crypto/digest.h"
#include "fakes/crash_vfs.h"
#include "fixture.h"
#include "storage/catalog_table.h"

#include "base/log.h"

#define EPOCHS_MAX 64
#define STEPS      3
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS  1 /* of each kind of loss that draws */
#define STRIDE 4 /* from one call that crashes to the next */
#else
#define SEEDS  2
#define STRIDE 1
#endif

/* What SQLite is told in place of synchronous = FULL; NULL: nothing else. */
static const char *instead_of_full;
static sqlite3 *connection;

int real_prepare(sqlite3 *db, const char *sql, int len, sqlite3_stmt **stmt,
                 const char **tail) __asm__("__real_sqlite3_prepare_v2");
int wrapped_prepare(sqlite3 *db, const char *sql, int len, sqlite3_stmt **stmt,
                    const char **tail) __asm__("__wrap_sqlite3_prepare_v2");

int wrapped_prepare(sqlite3 *db, const char *sql, int len, sqlite3_stmt **stmt, const char **tail)
{
    connection = db;
    if (instead_of_full != NULL && strcmp(sql, "PRAGMA synchronous = FULL") == 0)
        sql = instead_of_full;
    if (instead_of_full != NULL && strcmp(sql, "PRAGMA synchronous") == 0)
        sql = "SELECT 2"; /* the driver looks whether it was obeyed */
    return real_prepare(db, sql, len, stmt, tail);
}

/* What every epoch looks like, from a run without a crash. */
typedef struct epochs {
    uint8_t at[EPOCHS_MAX][32];
    int64_t last;
} epochs;

/* A program's life up to the moment the power fails. */
typedef struct program {
    char dir[PATH_MAX];
    pk_secret *key;
    pk_catalog *catalog;
    int64_t acknowledged; /* commits that returned true */
    bool in_commit;       /* the last one was begun and did not */
    epochs *history;      /* to be written, or NULL */
} program;

static bool life_open(program *life, bool create, pk_error *err)
{
    life->catalog = pk_catalog_open_sqlite(life->dir, create, &fixed_clock, err);
    /* A small log, so that checkpoints and a log begun anew happen in the middle of it all. */
    return life->catalog != NULL &&
           sqlite3_exec(connection, "PRAGMA wal_autocheckpoint = 12", NULL, NULL, NULL) ==
               SQLITE_OK &&
           pk_catalog_unseal(life->catalog, life->key, err);
}

static void life_close(program *life)
{
    pk_catalog_close(life->catalog);
    life->catalog = NULL;
}

/* What is there, as one number: every value of every row, in order. */
static bool picture(pk_catalog *catalog, uint8_t out[static 32], pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = ARENA;
    PK_AUTO(pk_buf_clear) pk_buf all = PK_BUF_MAX(PK_ROW_MAX);
    for (pk_table_id id = PK_TABLE_STORE; id < PK_TABLE_COUNT; id++) {
        const pk_table *table = pk_table_of(id);
        pk_value values[PK_TABLE_VALUES_MAX];
        pk_rows rows = {0};
        if (!pk_catalog_rows(catalog, id, NULL, &arena, &rows, err))
            return false;
        for (size_t i = 0; i < rows.count; i++)
            if (!pk_table_store(table, (char *)rows.list + i * table->row_size, values, err) ||
                !pk_table_canonical(table, values, &all, err))
                return false;
    }
    return pk_sha256(pk_buf_span(&all), out, err);
}

static bool commit(program *life, const char *action, pk_error *err)
{
    pk_row_audit audit = audit_row(action);
    life->in_commit = true;
    if (!pk_catalog_commit(life->catalog, &audit, err))
        return false;
    life->in_commit = false;
    life->acknowledged++;
    return life->history == NULL || life->acknowledged >= EPOCHS_MAX ||
           picture(life->catalog, life->history->at[life->acknowledged], err);
}

/* Work. Each is one statement's changes; `n` counts, so that no two are alike. */

static pk_row_wrap wrap_of(int key, int64_t version, char fill)
{
    static char blob[62]; /* the catalog copies before the next is made */
    pk_row_wrap row = sample_wrap(key);
    memset(blob, fill, sizeof blob);
    row.ver = version;
    row.blob = pk_span_bytes(blob, sizeof blob);
    row.quarantined = 0;
    return row;
}

static bool populate(program *life, int n, pk_error *err)
{
    (void)n;
    pk_catalog *catalog = life->catalog;
    pk_row_store store = sample_store();
    pk_row_slot slot = sample_slot(0);
    if (!pk_catalog_begin(catalog, err) ||
        !pk_catalog_insert(catalog, PK_TABLE_STORE, &store, err) ||
        !pk_catalog_insert(catalog, PK_TABLE_SLOT, &slot, err))
        return false;
    for (int i = 0; i < 2; i++) {
        pk_row_key key = sample_key(i);
        pk_row_key_version version = sample_version(i);
        pk_row_wrap wrap = wrap_of(i, 1, 'w');
        version.covered_by = 0;
        if (!pk_catalog_insert(catalog, PK_TABLE_KEY, &key, err) ||
            !pk_catalog_insert(catalog, PK_TABLE_KEY_VERSION, &version, err) ||
            !pk_catalog_insert(catalog, PK_TABLE_WRAP, &wrap, err))
            return false;
    }
    return commit(life, "INIT", err);
}

/* The nth version of the master key replaces the one before; both have wraps. */
static bool rotate(program *life, int n, pk_error *err)
{
    pk_catalog *catalog = life->catalog;
    pk_row_key key = sample_key(1);
    pk_row_key_version old = sample_version(1);
    pk_row_key_version new = sample_version(1);
    pk_row_wrap wrap = wrap_of(1, n + 1, (char)('a' + n));
    key.current_ver = n + 1;
    old.ver = n;
    old.state = "retired";
    old.covered_by = n - 1; /* by the backup of the step before */
    new.ver = n + 1;
    new.covered_by = 0;
    return pk_catalog_begin(catalog, err) &&
           pk_catalog_update(catalog, PK_TABLE_KEY_VERSION, &old, err) &&
           pk_catalog_insert(catalog, PK_TABLE_KEY_VERSION, &new, err) &&
           pk_catalog_update(catalog, PK_TABLE_KEY, &key, err) &&
           pk_catalog_insert(catalog, PK_TABLE_WRAP, &wrap, err) && commit(life, "ROTATE", err);
}

/* The newest wrap under other bytes, the old one gone: the one change that scrubs. */
static bool rewrap(program *life, int n, pk_error *err)
{
    pk_catalog *catalog = life->catalog;
    pk_row_wrap gone = {.id = 2 * n + 1};
    pk_row_wrap wrap = wrap_of(1, n + 1, (char)('A' + n));
    return pk_catalog_begin(catalog, err) &&
           pk_catalog_insert(catalog, PK_TABLE_WRAP, &wrap, err) &&
           pk_catalog_erase(catalog, PK_TABLE_WRAP, &gone, err) && commit(life, "REWRAP", err);
}

static bool backup(program *life, int n, pk_error *err)
{
    pk_catalog *catalog = life->catalog;
    pk_row_key_backup row = sample_backup(1);
    pk_row_key_version version = sample_version(1);
    version.ver = n + 1;
    row.size = n;
    return pk_catalog_begin(catalog, err) &&
           pk_catalog_insert(catalog, PK_TABLE_KEY_BACKUP, &row, err) &&
           (version.covered_by = row.id,
            pk_catalog_update(catalog, PK_TABLE_KEY_VERSION, &version, err)) &&
           commit(life, "BACKUP", err);
}

/* A statement that gives up, then the program ends and starts again. */
static bool restart(program *life, int n, pk_error *err)
{
    pk_row_wrap wrap = wrap_of(1, n + 1, 'X');
    if (!pk_catalog_begin(life->catalog, err) ||
        !pk_catalog_insert(life->catalog, PK_TABLE_WRAP, &wrap, err))
        return false;
    pk_catalog_rollback(life->catalog);
    if (n % 3 != 0)
        return true;
    life_close(life);
    return life_open(life, true, err);
}

/* True when everything was done. */
static bool live(program *life, pk_error *err)
{
    if (!life_open(life, true, err) || !populate(life, 0, err))
        return false;
    for (int n = 1; n <= STEPS; n++)
        if (!rotate(life, n, err) || !rewrap(life, n, err) || !backup(life, n, err) ||
            !restart(life, n, err))
            return false;
    return true;
}

/* (i) and (ii): every version has a wrap whose parent is there, each live key one current version.
 */
static bool invariants_hold(pk_catalog *catalog, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = ARENA;
    pk_rows keys = {0};
    if (!pk_catalog_rows(catalog, PK_TABLE_KEY, NULL, &arena, &keys, err))
        return false;
    for (size_t k = 0; k < keys.count; k++) {
        const pk_row_key *key = (const pk_row_key *)keys.list + k;
        pk_rows versions = {0};
        pk_rows wraps = {0};
        int current = 0;
        if (!pk_catalog_rows(catalog, PK_TABLE_KEY_VERSION, key->uuid, &arena, &versions, err) ||
            !pk_catalog_rows(catalog, PK_TABLE_WRAP, key->uuid, &arena, &wraps, err))
            return false;
        for (size_t v = 0; v < versions.count; v++) {
            const pk_row_key_version *version = (const pk_row_key_version *)versions.list + v;
            bool wrapped = false;
            if (strcmp(version->state, "current") == 0 && version->ver == key->current_ver)
                current++;
            for (size_t w = 0; w < wraps.count; w++)
                wrapped |= ((const pk_row_wrap *)wraps.list)[w].ver == version->ver;
            if (!wrapped)
                return pk_fail(err, PK_E_INTERNAL, "a version without a wrap");
        }
        if (current != 1)
            return pk_fail(err, PK_E_INTERNAL, "%d current versions of a key", current);
    }
    return true;
}

/* After the power is back. */
static bool survives(program *life, const epochs *history, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = ARENA;
    pk_row_store store = {0};
    uint8_t seen[32];
    bool began = life->in_commit;
    if (!life_open(life, true, err))
        return false;
    if (!pk_catalog_store(life->catalog, &arena, &store, err))
        return life->acknowledged == 0 ||
               pk_fail(err, PK_E_INTERNAL, "everything that was acknowledged is lost");
    if (!pk_catalog_verify(life->catalog, err) || !pk_catalog_audit_verify(life->catalog, err) ||
        !picture(life->catalog, seen, err) || !invariants_hold(life->catalog, err))
        return false;
    if (store.epoch != life->acknowledged && !(began && store.epoch == life->acknowledged + 1))
        return pk_fail(err, PK_E_INTERNAL, "epoch %lld after %lld acknowledged commits",
                       (long long)store.epoch, (long long)life->acknowledged);
    if (memcmp(seen, history->at[store.epoch], sizeof seen) != 0)
        return pk_fail(err, PK_E_INTERNAL, "epoch %lld is not what it was", (long long)store.epoch);
    /* And it can be built upon. */
    life->acknowledged = store.epoch;
    if (!pk_catalog_begin(life->catalog, err) || !commit(life, "AFTERWARDS", err))
        return false;
    life_close(life);
    return life_open(life, true, err) && pk_catalog_audit_verify(life->catalog, err);
}

static void begin_life(program *life)
{
    pk_crash_vfs_reset();
    *life = (program){0};
    make_temp(life->dir);
    life->key = store_key('k');
}

static void end_life(program *life)
{
    life_close(life);
    pk_secret_free(life->key);
    remove_tree(life->dir);
}

/* A life without a crash, looked at after every commit; how many calls to the disk it makes. */
static long record(epochs *history)
{
    program life;
    pk_error err = {0};
    begin_life(&life);
    life.history = history;
    pk_crash_vfs_arm(-1);
    assert_ok(live(&life, &err), &err);
    life_close(&life);
    history->last = life.acknowledged;
    end_life(&life);
    return pk_crash_vfs_calls();
}

typedef struct score {
    long runs, lost, damaged;
    char first[256]; /* the first fault */
} score;

/* Where the power goes. `again` not negative: once more, while the first is being recovered from.
 */
typedef struct crash {
    long at, again;
    pk_power_loss loss;
    uint64_t seed;
    bool lie;
} crash;

static void crash_once(const epochs *history, const crash *c, score *tally)
{
    program life;
    pk_error err = {0};
    begin_life(&life);
    pk_crash_vfs_lie(c->lie);
    pk_crash_vfs_arm(c->at);
    (void)live(&life, &err);
    life_close(&life);
    pk_crash_vfs_reboot(c->loss, c->seed);
    if (c->again >= 0) {
        pk_crash_vfs_arm(c->again);
        (void)life_open(&life, true, &err);
        life_close(&life);
        pk_crash_vfs_reboot(c->loss, c->seed + 1);
    }
    pk_crash_vfs_lie(false);
    err = (pk_error){0};
    tally->runs++;
    if (!survives(&life, history, &err)) {
        bool lost = pk_error_is(&err, PK_E_INTERNAL);
        tally->lost += lost ? 1 : 0;
        tally->damaged += lost ? 0 : 1;
        if (tally->first[0] == '\0')
            (void)snprintf(tally->first, sizeof tally->first,
                           "call %ld, loss %d, seed %d: %.100s (%.60s)", c->at, (int)c->loss,
                           (int)c->seed, err.message, err.detail);
    }
    end_life(&life);
}

static score crash_everywhere(const epochs *history, long calls, bool lie, long stride)
{
    score tally = {0};
    for (long at = 0; at <= calls; at += stride)
        for (pk_power_loss loss = PK_LOSS_ALL; loss < PK_LOSS_COUNT; loss++) {
            bool draws = loss == PK_LOSS_RANDOM || loss == PK_LOSS_TORN;
            for (uint64_t seed = 0; seed < (draws ? SEEDS : 1); seed++) {
                const crash c = {.at = at,
                                 .again = draws && seed == 0 && at % 4 == 0 ? at / 4 % 8 : -1,
                                 .loss = loss,
                                 .seed = (uint64_t)at * 16 + seed,
                                 .lie = lie};
                crash_once(history, &c, &tally);
            }
        }
    return tally;
}

static epochs of_a_whole_life;
static long calls_of_a_life;

static score run(const char *what, const char *synchronous, bool lie)
{
    if (calls_of_a_life == 0)
        calls_of_a_life = record(&of_a_whole_life);
    instead_of_full = synchronous;
    bool control = synchronous != NULL || lie;
    score tally = crash_everywhere(&of_a_whole_life, calls_of_a_life, lie, control ? 5 : STRIDE);
    instead_of_full = NULL;
    print_message("%s: %ld crashes, %ld commits lost, %ld catalogs damaged%s%s\n", what, tally.runs,
                  tally.lost, tally.damaged, tally.first[0] != '\0' ? "; first: " : "",
                  tally.first);
    return tally;
}

static void no_crash_loses_a_commit_or_leaves_half_of_one(void **state)
{
    (void)state;
    score tally = run("as the keystore runs", NULL, false);
    assert_true(calls_of_a_life > 150); /* commits, checkpoints, scrubs, restarts */
    assert_int_equal(of_a_whole_life.last, 1 + 3 * STEPS);
    assert_int_equal(tally.lost, 0);
    assert_int_equal(tally.damaged, 0);
}

static void control_with_synchronous_normal_commits_are_lost(void **state)
{
    (void)state;
    score tally = run("control, synchronous = NORMAL", "PRAGMA synchronous = NORMAL", false);
    assert_true(tally.lost > 0);
}

static void control_with_synchronous_off_the_file_is_damaged(void **state)
{
    (void)state;
    score tally = run("control, synchronous = OFF", "PRAGMA synchronous = OFF", false);
    assert_true(tally.lost > 0);
    assert_true(tally.damaged > 0);
}

static void control_on_a_disk_that_lies_about_syncing_the_file_is_damaged(void **state)
{
    (void)state;
    score tally = run("control, a disk that lies", NULL, true);
    assert_true(tally.lost > 0);
    assert_true(tally.damaged > 0);
}

static void quiet(void *ctx, const char *line)
{
    (void)ctx, (void)line; /* every crash is a warning or two */
}

int main(void)
{
    static pk_suite suite;
    pk_secure_heap heap;
    pk_error err;
    if (!pk_secret_heap_init(&heap, &err))
        return 1;
    pk_log_set_sink(quiet, NULL);
    pk_crash_vfs_install();
    PK_SUITE_TEST(&suite, no_crash_loses_a_commit_or_leaves_half_of_one);
    PK_SUITE_TEST(&suite, control_with_synchronous_normal_commits_are_lost);
    PK_SUITE_TEST(&suite, control_with_synchronous_off_the_file_is_damaged);
    PK_SUITE_TEST(&suite, control_on_a_disk_that_lies_about_syncing_the_file_is_damaged);
    int failed = pk_suite_run(&suite, "catalog_crash_vfs");
    pk_crash_vfs_reset();
    return failed;
}
