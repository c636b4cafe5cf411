/* Objects in a directory: put once, never over something, never outside; get, list, delete. */
#include "fixture.h"
#include "fsync.h"
#include "storage/store.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define OBJECT_MAX (8u << 20)

typedef struct place {
    char root[PATH_MAX];
    char uri[PATH_MAX + 16];
    char state[PATH_MAX + 16];
    const char *roots[1];
    const char *forbidden[1];
    pk_store_options options;
    pk_store *store;
    pk_error err;
} place;

/* The location is root/keys, which does not exist yet; root/state is forbidden. */
static void set_up(place *at)
{
    *at = (place){0};
    make_temp(at->root);
    (void)snprintf(at->uri, sizeof at->uri, "file://%s/keys", at->root);
    (void)snprintf(at->state, sizeof at->state, "%s/state", at->root);
    assert_int_equal(mkdir(at->state, 0700), 0);
    at->roots[0] = at->root;
    at->forbidden[0] = at->state;
    at->options = (pk_store_options){.roots = at->roots,
                                     .root_count = 1,
                                     .roots_setting = "keys.allowed_roots",
                                     .forbidden = at->forbidden,
                                     .forbidden_count = 1};
    at->store = pk_store_open(pk_span_of(at->uri), &at->options, &at->err);
    assert_non_null(at->store);
}

static void tear_down(place *at)
{
    pk_store_close(at->store);
    remove_tree(at->root);
}

static void path_of(const place *at, const char *name, char out[static PATH_MAX])
{
    assert_true(snprintf(out, PATH_MAX, "%s/keys/%s", at->root, name) < PATH_MAX);
}

static void assert_holds(place *at, const char *name, pk_span want)
{
    pk_buf got = PK_BUF_MAX(OBJECT_MAX);
    assert_ok(pk_store_get(at->store, name, &got, &at->err), &at->err);
    assert_int_equal(pk_buf_span(&got).len, want.len);
    if (want.len > 0)
        assert_memory_equal(pk_buf_span(&got).ptr, want.ptr, want.len);
    pk_buf_clear(&got);
}

static void put(place *at, const char *name, pk_span bytes)
{
    assert_ok(pk_store_put(at->store, name, bytes, &at->err), &at->err);
}

static void opening_creates_nothing(void **state)
{
    (void)state;
    place at;
    char path[PATH_MAX];
    set_up(&at);
    path_of(&at, "", path);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(pk_store_kind(at.store, "", &at.err), 0);
    tear_down(&at);
}

static void an_object_comes_back_as_it_was_put(void **state)
{
    (void)state;
    place at;
    struct stat info;
    char path[PATH_MAX];
    set_up(&at);
    put(&at, "sales/key-1.cms.pem", PK_SPAN("abc\0def"));
    assert_holds(&at, "sales/key-1.cms.pem", PK_SPAN("abc\0def"));
    put(&at, "empty", PK_SPAN(""));
    assert_holds(&at, "empty", PK_SPAN(""));
    path_of(&at, "sales/key-1.cms.pem", path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    path_of(&at, "sales", path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    tear_down(&at);
}

static void four_mebibytes_come_back_as_they_were_put(void **state)
{
    (void)state;
    place at;
    size_t size = 4u << 20;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 2654435761u >> 24);
    set_up(&at);
    put(&at, "big", (pk_span){bytes, size});
    assert_holds(&at, "big", (pk_span){bytes, size});
    free(bytes);
    tear_down(&at);
}

/* Another process made the directories and may not have got to syncing their names. */
static void directories_that_are_there_already_are_synced_too(void **state)
{
    (void)state;
    place at;
    char keys[PATH_MAX];
    char sales[PATH_MAX];
    set_up(&at);
    path_of(&at, "", keys);
    path_of(&at, "sales", sales);
    assert_int_equal(mkdir(keys, 0700), 0);
    assert_int_equal(mkdir(sales, 0700), 0);
    sync_count = 0;
    put(&at, "sales/x", PK_SPAN("x"));
    assert_true(was_synced(sales)); /* the file's own name */
    assert_true(was_synced(keys));
    assert_true(was_synced(at.root));
    tear_down(&at);
}

static void an_existing_object_is_not_overwritten(void **state)
{
    (void)state;
    place at;
    char message[PATH_MAX + 64];
    set_up(&at);
    put(&at, "a/b", PK_SPAN("first"));
    assert_false(pk_store_put(at.store, "a/b", PK_SPAN("second"), &at.err));
    assert_fault(&at.err, PK_E_DUPLICATE_FILE);
    (void)snprintf(message, sizeof message, "file \"%s/keys/a/b\" exists already", at.root);
    assert_string_equal(at.err.message, message);
    assert_holds(&at, "a/b", PK_SPAN("first"));
    tear_down(&at);
}

static void an_existing_directory_or_link_is_not_replaced(void **state)
{
    (void)state;
    place at;
    char path[PATH_MAX];
    set_up(&at);
    put(&at, "dir/x", PK_SPAN("x"));
    assert_false(pk_store_put(at.store, "dir", PK_SPAN("y"), &at.err));
    assert_fault(&at.err, PK_E_DUPLICATE_FILE);
    path_of(&at, "dangling", path);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_false(pk_store_put(at.store, "dangling", PK_SPAN("y"), &at.err));
    assert_fault(&at.err, PK_E_DUPLICATE_FILE);
    tear_down(&at);
}

static void an_object_below_an_object_is_an_io_error(void **state)
{
    (void)state;
    place at;
    set_up(&at);
    put(&at, "file", PK_SPAN("x"));
    assert_false(pk_store_put(at.store, "file/below", PK_SPAN("y"), &at.err));
    assert_fault(&at.err, PK_E_IO);
    assert_holds(&at, "file", PK_SPAN("x"));
    tear_down(&at);
}

typedef struct racer {
    place *at;
    pthread_barrier_t *start;
    int wins, losses, others;
} racer;

#define RACES 50

static void *race(void *ctx)
{
    racer *me = ctx;
    pk_error err = {0};
    pk_store *store = pk_store_open(pk_span_of(me->at->uri), &me->at->options, &err);
    for (int i = 0; store != NULL && i < RACES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "race-%d/x", i);
        (void)pthread_barrier_wait(me->start);
        if (pk_store_put(store, name, pk_span_bytes(&me->wins, sizeof me->wins), &err))
            me->wins++;
        else if (pk_error_is(&err, PK_E_DUPLICATE_FILE))
            me->losses++;
        else
            me->others++;
    }
    pk_store_close(store);
    return NULL;
}

static void of_two_that_put_the_same_name_exactly_one_wins(void **state)
{
    (void)state;
    place at;
    pthread_barrier_t start;
    pthread_t threads[2];
    racer racers[2];
    set_up(&at);
    assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
    for (int i = 0; i < 2; i++) {
        racers[i] = (racer){.at = &at, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(racers[0].wins + racers[1].wins, RACES);
    assert_int_equal(racers[0].losses + racers[1].losses, RACES);
    assert_int_equal(racers[0].others + racers[1].others, 0);
    (void)pthread_barrier_destroy(&start);
    tear_down(&at);
}

static void an_absent_object_is_told_by_its_whole_name(void **state)
{
    (void)state;
    place at;
    char message[PATH_MAX + 64];
    pk_buf out = PK_BUF_MAX(100);
    set_up(&at);
    assert_false(pk_store_get(at.store, "none/x", &out, &at.err));
    assert_fault(&at.err, PK_E_UNDEFINED_FILE);
    put(&at, "there", PK_SPAN("x"));
    assert_false(pk_store_get(at.store, "x", &out, &at.err));
    assert_fault(&at.err, PK_E_UNDEFINED_FILE);
    (void)snprintf(message, sizeof message, "file \"%s/keys/x\" does not exist", at.root);
    assert_string_equal(at.err.message, message);
    tear_down(&at);
}

static void an_object_larger_than_the_buffer_is_refused(void **state)
{
    (void)state;
    place at;
    pk_buf out = PK_BUF_MAX(64);
    char bytes[100] = {0};
    set_up(&at);
    put(&at, "x", pk_span_bytes(bytes, sizeof bytes));
    assert_false(pk_store_get(at.store, "x", &out, &at.err));
    assert_fault(&at.err, PK_E_TOO_LONG);
    pk_buf_clear(&out);
    tear_down(&at);
}

static void a_link_as_an_object_is_not_followed(void **state)
{
    (void)state;
    place at;
    char path[PATH_MAX];
    pk_buf out = PK_BUF_MAX(100);
    set_up(&at);
    put(&at, "x", PK_SPAN("x"));
    path_of(&at, "link", path);
    assert_int_equal(symlink("x", path), 0);
    assert_false(pk_store_get(at.store, "link", &out, &at.err));
    assert_fault(&at.err, PK_E_IO);
    assert_int_equal(pk_store_kind(at.store, "link", &at.err), 0);
    tear_down(&at);
}

static void a_link_that_appears_later_does_not_lead_out(void **state)
{
    (void)state;
    static const char *const targets[] = {"/tmp", "../..", "/proc/self/root/tmp"};
    for (size_t i = 0; i < PK_COUNT(targets); i++) {
        place at;
        char path[PATH_MAX];
        pk_buf out = PK_BUF_MAX(100);
        pk_arena arena = ARENA;
        char **names = NULL;
        size_t count = 0;
        set_up(&at);
        put(&at, "x", PK_SPAN("x"));
        path_of(&at, "tenant", path);
        assert_int_equal(symlink(targets[i], path), 0);
        assert_false(pk_store_put(at.store, "tenant/pk-storage-never", PK_SPAN("y"), &at.err));
        assert_fault(&at.err, PK_E_PARAMETER);
        assert_int_equal(access("/tmp/pk-storage-never", F_OK), -1);
        assert_false(pk_store_get(at.store, "tenant/x", &out, &at.err));
        assert_fault(&at.err, PK_E_PARAMETER);
        assert_int_equal(pk_store_kind(at.store, "tenant/x", &at.err), '?');
        assert_false(pk_store_list(at.store, "tenant", &arena, &names, &count, &at.err));
        assert_fault(&at.err, PK_E_PARAMETER);
        assert_false(pk_store_delete(at.store, "tenant/x", &at.err));
        assert_fault(&at.err, PK_E_PARAMETER);
        tear_down(&at);
    }
}

static void a_link_inside_the_root_does_not_lead_into_the_forbidden_directory(void **state)
{
    (void)state;
    place at;
    char path[PATH_MAX];
    char inside[PATH_MAX + 32];
    set_up(&at);
    put(&at, "x", PK_SPAN("x"));
    path_of(&at, "tenant", path);
    assert_int_equal(symlink("../state", path), 0);
    assert_false(pk_store_put(at.store, "tenant/new/key", PK_SPAN("y"), &at.err));
    assert_fault(&at.err, PK_E_PARAMETER);
    (void)snprintf(inside, sizeof inside, "%s/new", at.state);
    assert_int_equal(access(inside, F_OK), -1);
    assert_int_equal(pk_store_kind(at.store, "tenant", &at.err), '?');
    tear_down(&at);
}

static void a_link_that_stays_inside_the_root_is_followed(void **state)
{
    (void)state;
    place at;
    char path[PATH_MAX];
    set_up(&at);
    put(&at, "real/x", PK_SPAN("x"));
    path_of(&at, "tenant", path);
    assert_int_equal(symlink("../keys/real", path), 0);
    put(&at, "tenant/y", PK_SPAN("y"));
    assert_holds(&at, "real/y", PK_SPAN("y"));
    assert_int_equal(pk_store_kind(at.store, "tenant", &at.err), 'd');
    tear_down(&at);
}

static void an_unwritable_directory_is_an_io_error_and_leaves_nothing(void **state)
{
    (void)state;
    place at;
    if (geteuid() != 0)
        skip();
    set_up(&at);
    put(&at, "dir/x", PK_SPAN("x"));
    char path[PATH_MAX];
    path_of(&at, "", path);
    assert_int_equal(chmod(at.root, 0755), 0);
    assert_int_equal(chmod(path, 0755), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pk_error err = {0};
        if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
            _exit(1);
        pk_store *store = pk_store_open(pk_span_of(at.uri), &at.options, &err);
        if (store == NULL)
            _exit(2);
        if (pk_store_put(store, "y", PK_SPAN("y"), &err) || !pk_error_is(&err, PK_E_IO))
            _exit(3);
        if (pk_store_put(store, "new/y", PK_SPAN("y"), &err) || !pk_error_is(&err, PK_E_IO))
            _exit(4);
        pk_buf out = PK_BUF_MAX(10);
        if (pk_store_get(store, "dir/x", &out, &err) || !pk_error_is(&err, PK_E_IO))
            _exit(5);
        if (pk_store_delete(store, "dir/x", &err) || !pk_error_is(&err, PK_E_IO))
            _exit(6);
        pk_store_close(store);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(pk_store_kind(at.store, "y", &at.err), 0);
    assert_int_equal(pk_store_kind(at.store, "new", &at.err), 0);
    tear_down(&at);
}

#define NO_SECCOMP 77

/* From here on this process has a kernel without openat2. */
static bool take_openat2_away(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = PK_COUNT(code), .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void a_kernel_without_openat2_is_refused_clearly(void **state)
{
    (void)state;
    place at;
    set_up(&at);
    put(&at, "x", PK_SPAN("x"));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pk_error err = {0};
        if (!take_openat2_away())
            _exit(NO_SECCOMP);
        if (pk_store_kind(at.store, "x", &err) != '?' || !pk_error_is(&err, PK_E_IO))
            _exit(1);
        if (pk_store_put(at.store, "y", PK_SPAN("y"), &err) || !pk_error_is(&err, PK_E_IO))
            _exit(2);
        _exit(strstr(err.detail, "openat2") != NULL ? 0 : 3);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    tear_down(&at);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_SECCOMP)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void kinds_are_told_apart(void **state)
{
    (void)state;
    place at;
    char path[PATH_MAX];
    set_up(&at);
    put(&at, "dir/x", PK_SPAN("x"));
    assert_int_equal(pk_store_kind(at.store, "", &at.err), 'd');
    assert_int_equal(pk_store_kind(at.store, "dir", &at.err), 'd');
    assert_int_equal(pk_store_kind(at.store, "dir/x", &at.err), 'f');
    assert_int_equal(pk_store_kind(at.store, "dir/x/y", &at.err), 0);
    assert_int_equal(pk_store_kind(at.store, "none/x", &at.err), 0);
    path_of(&at, "fifo", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pk_store_kind(at.store, "fifo", &at.err), 0);
    tear_down(&at);
}

static void listing_is_sorted_by_bytes_and_hides_unfinished_files(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a", "B", "\xc3\xa4", "a.b", "dir/x", ".hidden"};
    static const char *const want[] = {".hidden", "B", "a", "a.b", "b", "dir", "\xc3\xa4"};
    place at;
    char path[PATH_MAX];
    pk_arena arena = ARENA;
    char **got = NULL;
    size_t count = 7;
    set_up(&at);
    assert_ok(pk_store_list(at.store, "", &arena, &got, &count, &at.err), &at.err);
    assert_int_equal(count, 0); /* absent: none */
    for (size_t i = 0; i < PK_COUNT(names); i++)
        put(&at, names[i], PK_SPAN("x"));
    path_of(&at, ".pgkeep-00112233445566778899aabb.tmp", path);
    write_bytes(path, "half", 4);
    assert_ok(pk_store_list(at.store, "", &arena, &got, &count, &at.err), &at.err);
    assert_int_equal(count, PK_COUNT(want));
    for (size_t i = 0; i < count; i++)
        assert_string_equal(got[i], want[i]);
    assert_ok(pk_store_list(at.store, "dir", &arena, &got, &count, &at.err), &at.err);
    assert_int_equal(count, 1);
    assert_ok(pk_store_list(at.store, "none", &arena, &got, &count, &at.err), &at.err);
    assert_int_equal(count, 0);
    assert_ok(pk_store_list(at.store, "a", &arena, &got, &count, &at.err), &at.err);
    assert_int_equal(count, 0); /* a file has nothing below it */
    pk_arena_clear(&arena);
    tear_down(&at);
}

static void a_hundred_names_are_listed(void **state)
{
    (void)state;
    place at;
    pk_arena arena = ARENA;
    char **got = NULL;
    size_t count = 0;
    char name[16];
    set_up(&at);
    for (int i = 99; i >= 0; i--) {
        (void)snprintf(name, sizeof name, "n%02d", i);
        put(&at, name, PK_SPAN("x"));
    }
    assert_ok(pk_store_list(at.store, "", &arena, &got, &count, &at.err), &at.err);
    assert_int_equal(count, 100);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "n%02d", i);
        assert_string_equal(got[i], name);
    }
    pk_arena_clear(&arena);
    pk_arena small = PK_ARENA_MAX(256);
    assert_false(pk_store_list(at.store, "", &small, &got, &count, &at.err));
    assert_fault(&at.err, PK_E_TOO_LONG);
    assert_int_equal(count, 0);
    pk_arena_clear(&small);
    tear_down(&at);
}

static void deleting_is_done_once_and_repeats_quietly(void **state)
{
    (void)state;
    place at;
    set_up(&at);
    assert_ok(pk_store_delete(at.store, "none/x", &at.err), &at.err);
    put(&at, "x", PK_SPAN("x"));
    assert_ok(pk_store_delete(at.store, "x", &at.err), &at.err);
    assert_int_equal(pk_store_kind(at.store, "x", &at.err), 0);
    assert_ok(pk_store_delete(at.store, "x", &at.err), &at.err);
    put(&at, "dir/x", PK_SPAN("x"));
    assert_false(pk_store_delete(at.store, "dir", &at.err)); /* only what put made */
    assert_fault(&at.err, PK_E_IO);
    assert_int_equal(pk_store_kind(at.store, "dir/x", &at.err), 'f');
    tear_down(&at);
}

static void a_segment_that_is_too_long_is_refused(void **state)
{
    (void)state;
    place at;
    char name[400];
    static char path[PATH_MAX + 10];
    set_up(&at);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_false(pk_store_put(at.store, name, PK_SPAN("x"), &at.err));
    assert_fault(&at.err, PK_E_PARAMETER);
    for (size_t i = 0; i < sizeof path - 1; i++)
        path[i] = i % 100 == 99 ? '/' : 'p';
    path[PATH_MAX - 5] = '\0'; /* too long only together with the location */
    assert_false(pk_store_put(at.store, path, PK_SPAN("x"), &at.err));
    assert_fault(&at.err, PK_E_PARAMETER);
    tear_down(&at);
}

static void the_location_may_be_the_root_itself(void **state)
{
    (void)state;
    place at;
    char uri[PATH_MAX + 16];
    set_up(&at);
    at.options.forbidden_count = 0;
    (void)snprintf(uri, sizeof uri, "file://%s", at.root);
    pk_store_close(at.store);
    at.store = pk_store_open(pk_span_of(uri), &at.options, &at.err);
    assert_non_null(at.store);
    put(&at, "x", PK_SPAN("x"));
    put(&at, "y/z", PK_SPAN("z"));
    assert_holds(&at, "x", PK_SPAN("x"));
    assert_holds(&at, "y/z", PK_SPAN("z"));
    assert_ok(pk_store_delete(at.store, "x", &at.err), &at.err);
    tear_down(&at);
}

static void file_and_directory_given_as_one_path_work_together(void **state)
{
    (void)state;
    place at;
    char path[PATH_MAX];
    pk_arena arena = ARENA;
    const char *name = NULL;
    set_up(&at);
    put(&at, "x", PK_SPAN("x"));
    path_of(&at, "smk.pem", path);
    pk_store *store = pk_store_open_file(pk_span_of(path), &at.options, &arena, &name, &at.err);
    assert_non_null(store);
    assert_string_equal(name, "smk.pem");
    assert_ok(pk_store_put(store, name, PK_SPAN("k"), &at.err), &at.err);
    assert_holds(&at, "smk.pem", PK_SPAN("k"));
    pk_store_close(store);
    pk_arena_clear(&arena);
    tear_down(&at);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, opening_creates_nothing);
    PK_SUITE_TEST(&suite, an_object_comes_back_as_it_was_put);
    PK_SUITE_TEST(&suite, four_mebibytes_come_back_as_they_were_put);
    PK_SUITE_TEST(&suite, directories_that_are_there_already_are_synced_too);
    PK_SUITE_TEST(&suite, an_existing_object_is_not_overwritten);
    PK_SUITE_TEST(&suite, an_existing_directory_or_link_is_not_replaced);
    PK_SUITE_TEST(&suite, an_object_below_an_object_is_an_io_error);
    PK_SUITE_TEST(&suite, of_two_that_put_the_same_name_exactly_one_wins);
    PK_SUITE_TEST(&suite, an_absent_object_is_told_by_its_whole_name);
    PK_SUITE_TEST(&suite, an_object_larger_than_the_buffer_is_refused);
    PK_SUITE_TEST(&suite, a_link_as_an_object_is_not_followed);
    PK_SUITE_TEST(&suite, a_link_that_appears_later_does_not_lead_out);
    PK_SUITE_TEST(&suite, a_link_inside_the_root_does_not_lead_into_the_forbidden_directory);
    PK_SUITE_TEST(&suite, a_link_that_stays_inside_the_root_is_followed);
    PK_SUITE_TEST(&suite, an_unwritable_directory_is_an_io_error_and_leaves_nothing);
    PK_SUITE_TEST(&suite, a_kernel_without_openat2_is_refused_clearly);
    PK_SUITE_TEST(&suite, kinds_are_told_apart);
    PK_SUITE_TEST(&suite, listing_is_sorted_by_bytes_and_hides_unfinished_files);
    PK_SUITE_TEST(&suite, a_hundred_names_are_listed);
    PK_SUITE_TEST(&suite, deleting_is_done_once_and_repeats_quietly);
    PK_SUITE_TEST(&suite, a_segment_that_is_too_long_is_refused);
    PK_SUITE_TEST(&suite, the_location_may_be_the_root_itself);
    PK_SUITE_TEST(&suite, file_and_directory_given_as_one_path_work_together);
    return pk_suite_run(&suite, "store_file");
}
