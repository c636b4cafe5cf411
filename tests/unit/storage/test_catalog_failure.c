/*
 * The nth step of the driver fails, for every n: a scenario of changes either happens whole or not
 * at all, the error is the driver's, and the catalog is usable afterwards. A driver in between
 * counts and fails. The disk is also made full for real, through a limit on the file's size.
 */
#include "fixture.h"
#include "storage/catalog_driver.h"

#include <signal.h>
#include <sys/resource.h>

typedef struct failing {
    pk_catalog_driver real;
    int left; /* steps until the one that fails; negative: none does */
} failing;

static bool step(failing *shim, pk_error *err)
{
    return shim->left-- != 0 || pk_fail(err, PK_E_IO, "the step that fails");
}

static bool shim_begin(void *self, pk_error *err)
{
    failing *shim = self;
    return step(shim, err) && shim->real.ops->begin(shim->real.self, err);
}

static bool shim_commit(void *self, bool scrub, pk_error *err)
{
    failing *shim = self;
    if (step(shim, err))
        return shim->real.ops->commit(shim->real.self, scrub, err);
    shim->real.ops->rollback(shim->real.self); /* as the contract says */
    return false;
}

static void shim_rollback(void *self)
{
    failing *shim = self;
    shim->real.ops->rollback(shim->real.self);
}

static bool shim_next_id(void *self, const pk_table *table, int64_t *id, pk_error *err)
{
    failing *shim = self;
    return step(shim, err) && shim->real.ops->next_id(shim->real.self, table, id, err);
}

static bool shim_insert(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    failing *shim = self;
    return step(shim, err) && shim->real.ops->insert(shim->real.self, table, values, err);
}

static bool shim_update(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    failing *shim = self;
    return step(shim, err) && shim->real.ops->update(shim->real.self, table, values, err);
}

static bool shim_erase(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    failing *shim = self;
    return step(shim, err) && shim->real.ops->erase(shim->real.self, table, values, err);
}

static bool shim_select(void *self, const pk_table *table, const pk_select *what, pk_on_row on_row,
                        void *ctx, pk_error *err)
{
    failing *shim = self;
    return step(shim, err) &&
           shim->real.ops->select(shim->real.self, table, what, on_row, ctx, err);
}

static void shim_close(void *self)
{
    failing *shim = self;
    shim->real.ops->close(shim->real.self);
}

static const pk_catalog_ops shim_ops = {
    .begin = shim_begin,
    .commit = shim_commit,
    .rollback = shim_rollback,
    .next_id = shim_next_id,
    .insert = shim_insert,
    .update = shim_update,
    .erase = shim_erase,
    .select = shim_select,
    .close = shim_close,
};

/* A rotation in small: new version, old one retired, one wrap in, one out. */
static bool scenario(pk_catalog *catalog, pk_error *err)
{
    pk_row_audit audit = audit_row("ROTATE");
    pk_row_key_version old = sample_version(1);
    pk_row_key_version new = sample_version(1);
    pk_row_wrap wrap = sample_wrap(1);
    pk_row_wrap gone = {.id = 1};
    old.state = "retired";
    new.ver = 2;
    wrap.ver = 2;
    return pk_catalog_begin(catalog, err) &&
           pk_catalog_update(catalog, PK_TABLE_KEY_VERSION, &old, err) &&
           pk_catalog_insert(catalog, PK_TABLE_KEY_VERSION, &new, err) &&
           pk_catalog_insert(catalog, PK_TABLE_WRAP, &wrap, err) &&
           pk_catalog_erase(catalog, PK_TABLE_WRAP, &gone, err) &&
           pk_catalog_commit(catalog, &audit, err);
}

typedef struct picture {
    size_t versions, wraps, audits;
    int64_t epoch, first_wrap;
} picture;

static picture take_picture(pk_catalog *catalog)
{
    pk_arena arena = ARENA;
    pk_error err = {0};
    pk_rows versions = {0};
    pk_rows wraps = {0};
    pk_rows audits = {0};
    pk_row_store store = {0};
    assert_ok(pk_catalog_rows(catalog, PK_TABLE_KEY_VERSION, NULL, &arena, &versions, &err), &err);
    assert_ok(pk_catalog_rows(catalog, PK_TABLE_WRAP, NULL, &arena, &wraps, &err), &err);
    assert_ok(pk_catalog_rows(catalog, PK_TABLE_AUDIT, NULL, &arena, &audits, &err), &err);
    assert_true(pk_catalog_store(catalog, &arena, &store, &err));
    assert_ok(pk_catalog_verify(catalog, &err), &err);
    assert_ok(pk_catalog_audit_verify(catalog, &err), &err);
    picture seen = {versions.count, wraps.count, audits.count, store.epoch,
                    ((pk_row_wrap *)wraps.list)->id};
    pk_arena_clear(&arena);
    return seen;
}

static void assert_same(picture a, picture b)
{
    assert_int_equal(a.versions, b.versions);
    assert_int_equal(a.wraps, b.wraps);
    assert_int_equal(a.audits, b.audits);
    assert_int_equal(a.epoch, b.epoch);
    assert_int_equal(a.first_wrap, b.first_wrap);
}

static void a_failing_step_leaves_everything_as_it_was(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    pk_error err = {0};
    make_temp(dir);
    failing shim = {.left = -1};
    shim.real = pk_catalog_sqlite_driver(dir, true, &fixed_clock, &err);
    assert_non_null(shim.real.ops);
    pk_catalog *catalog = pk_catalog_new((pk_catalog_driver){&shim_ops, &shim}, &fixed_clock);
    pk_secret *key = store_key('k');
    assert_ok(pk_catalog_unseal(catalog, key, &err), &err);
    fill_catalog(catalog);
    picture before = take_picture(catalog);
    int n = 0;
    for (;; n++) {
        shim.left = n;
        bool done = scenario(catalog, &err);
        pk_catalog_rollback(catalog);
        shim.left = -1;
        if (done)
            break;
        assert_fault(&err, PK_E_IO);
        assert_string_equal(err.message, "the step that fails");
        assert_same(take_picture(catalog), before);
    }
    assert_true(n >= 10); /* begin, store, 5 changes and ids, store, audit, commit */
    picture after = take_picture(catalog);
    assert_int_equal(after.versions, 3);
    assert_int_equal(after.wraps, 2);
    assert_int_equal(after.first_wrap, 2);
    assert_int_equal(after.epoch, 2);
    pk_secret_free(key);
    pk_catalog_close(catalog);
    remove_tree(dir);
}

/* A change that cannot be made, without the driver being at fault. */
static bool insert_twice(pk_catalog *catalog, pk_error *err)
{
    pk_row_key row = sample_key(1);
    return pk_catalog_insert(catalog, PK_TABLE_KEY, &row, err);
}

static bool update_none(pk_catalog *catalog, pk_error *err)
{
    pk_row_slot row = sample_slot(0);
    row.id = 99;
    return pk_catalog_update(catalog, PK_TABLE_SLOT, &row, err);
}

static bool erase_none(pk_catalog *catalog, pk_error *err)
{
    pk_row_wrap row = {.id = 99};
    return pk_catalog_erase(catalog, PK_TABLE_WRAP, &row, err);
}

static bool write_audit(pk_catalog *catalog, pk_error *err)
{
    pk_row_audit row = audit_row("X");
    return pk_catalog_insert(catalog, PK_TABLE_AUDIT, &row, err);
}

static const struct change {
    const char *name;
    bool (*fails)(pk_catalog *catalog, pk_error *err);
} changes[] = {
    {"after a failed insert commit saves nothing", insert_twice},
    {"after a failed update commit saves nothing", update_none},
    {"after a failed erase commit saves nothing", erase_none},
    {"after a refused change commit saves nothing", write_audit},
};

/* A caller that overlooks a failed change must not save the half that worked. */
static void commit_fails_after_it(void **state)
{
    const struct change *row = *state;
    char dir[PATH_MAX];
    pk_error err = {0};
    pk_row_audit audit = audit_row("X");
    pk_row_wrap wrap = sample_wrap(1);
    make_temp(dir);
    pk_catalog *catalog = open_unsealed(dir);
    fill_catalog(catalog);
    picture before = take_picture(catalog);
    assert_ok(pk_catalog_begin(catalog, &err), &err);
    assert_ok(pk_catalog_insert(catalog, PK_TABLE_WRAP, &wrap, &err), &err);
    assert_false(row->fails(catalog, &err));
    assert_false(pk_catalog_commit(catalog, &audit, &err));
    assert_fault(&err, PK_E_INTERNAL);
    assert_same(take_picture(catalog), before);
    assert_ok(scenario(catalog, &err), &err); /* the next transaction is not concerned */
    pk_catalog_close(catalog);
    remove_tree(dir);
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_is_an_io_error_and_nothing_is_half_written(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    pk_error err = {0};
    make_temp(dir);
    void (*before_signal)(int) = signal(SIGXFSZ, SIG_IGN);
    pk_catalog *catalog = open_unsealed(dir);
    fill_catalog(catalog);
    picture before = take_picture(catalog);
    set_file_limit(4096);
    bool done = scenario(catalog, &err);
    pk_catalog_rollback(catalog);
    set_file_limit(RLIM_INFINITY);
    assert_false(done);
    assert_fault(&err, PK_E_IO);
    assert_same(take_picture(catalog), before);
    assert_ok(scenario(catalog, &err), &err);
    pk_catalog_close(catalog);
    catalog = open_unsealed(dir);
    assert_int_equal(take_picture(catalog).epoch, 2);
    pk_catalog_close(catalog);
    (void)signal(SIGXFSZ, before_signal);
    remove_tree(dir);
}

static void creation_on_a_full_disk_leaves_a_file_that_counts_as_absent(void **state)
{
    (void)state;
    static const rlim_t limits[] = {1, 4096, 8192, 20000, 60000};
    void (*before_signal)(int) = signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < PK_COUNT(limits); i++) {
        char dir[PATH_MAX];
        pk_error err = {0};
        make_temp(dir);
        set_file_limit(limits[i]);
        pk_catalog *catalog = pk_catalog_open_sqlite(dir, true, &fixed_clock, &err);
        set_file_limit(RLIM_INFINITY);
        assert_null(catalog);
        assert_fault(&err, PK_E_IO);
        assert_null(pk_catalog_open_sqlite(dir, false, &fixed_clock, &err));
        assert_fault(&err, PK_E_UNDEFINED_FILE);
        catalog = open_unsealed(dir);
        fill_catalog(catalog);
        pk_catalog_close(catalog);
        remove_tree(dir);
    }
    (void)signal(SIGXFSZ, before_signal);
}

int main(void)
{
    static pk_suite suite;
    pk_secure_heap heap;
    pk_error err;
    if (!pk_secret_heap_init(&heap, &err))
        return 1;
    PK_SUITE_TEST(&suite, a_failing_step_leaves_everything_as_it_was);
    PK_SUITE_ROWS(&suite, changes, commit_fails_after_it);
    PK_SUITE_TEST(&suite, a_full_disk_is_an_io_error_and_nothing_is_half_written);
    PK_SUITE_TEST(&suite, creation_on_a_full_disk_leaves_a_file_that_counts_as_absent);
    return pk_suite_run(&suite, "catalog_failure");
}
