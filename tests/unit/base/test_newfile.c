/*
 * New files: whole or not at all. Each test works in a directory of its own; the calls of the C
 * library that could fail are made to fail one after the other.
 */
#include "base/newfile.h"

#include "base/buf.h"
#include "table.h"
#include "wrap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int real_fsync(int fd) REAL(fsync);
int wrapped_fsync(int fd) WRAPPED(fsync);
ssize_t real_write(int fd, const void *bytes, size_t len) REAL(write);
ssize_t wrapped_write(int fd, const void *bytes, size_t len) WRAPPED(write);
ssize_t real_pread(int fd, void *bytes, size_t len, off_t at) REAL(pread);
ssize_t wrapped_pread(int fd, void *bytes, size_t len, off_t at) WRAPPED(pread);
ssize_t wrapped_pread_chk(int fd, void *bytes, size_t len, off_t at, size_t room)
    WRAPPED(__pread_chk);
int real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
    REAL(renameat2);
int wrapped_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
    WRAPPED(renameat2);
int real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) REAL(linkat);
int wrapped_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
    WRAPPED(linkat);
int real_fchmod(int fd, mode_t mode) REAL(fchmod);
int wrapped_fchmod(int fd, mode_t mode) WRAPPED(fchmod);
ssize_t real_getrandom(void *bytes, size_t len, unsigned flags) REAL(getrandom);
ssize_t wrapped_getrandom(void *bytes, size_t len, unsigned flags) WRAPPED(getrandom);

/* What the file system does to us. All zero: nothing. */
static struct trouble {
    int nth;              /* the nth call fails, 0: none */
    int calls;            /* so far */
    int error;            /* what it fails with; 0: EIO */
    bool no_renameat2;    /* a file system without RENAME_NOREPLACE */
    bool short_io;        /* at most 3 bytes a call, and every other call is interrupted */
    bool damage;          /* the last byte of a write arrives changed */
    const char *intruder; /* this file appears just before the rename */
    char order[16];       /* the calls that matter: w, s, r, l, d (fsync of the directory) */
} trouble;

static int dir = -1;
static char dir_path[] = "/tmp/pgkeep-test-newfile-XXXXXX";

static bool fails(void)
{
    trouble.calls++;
    if (trouble.calls != trouble.nth)
        return false;
    errno = trouble.error == 0 ? EIO : trouble.error;
    return true;
}

static void note(char call)
{
    size_t len = strlen(trouble.order);
    if (len + 1 < sizeof trouble.order)
        trouble.order[len] = call;
}

static bool interrupted(void)
{
    static bool now;
    now = trouble.short_io && !now;
    if (now)
        errno = EINTR;
    return now;
}

int wrapped_fsync(int fd)
{
    if (fails() || interrupted())
        return -1;
    note(fd == dir ? 'd' : 's');
    return real_fsync(fd);
}

ssize_t wrapped_write(int fd, const void *bytes, size_t len)
{
    if (fd <= STDERR_FILENO)
        return real_write(fd, bytes, len);
    if (fails() || interrupted())
        return -1;
    note('w');
    if (trouble.short_io && len > 3)
        len = 3;
    if (!trouble.damage || len == 0)
        return real_write(fd, bytes, len);
    char copy[64];
    assert_true(len <= sizeof copy);
    memcpy(copy, bytes, len);
    copy[len - 1] ^= 1;
    return real_write(fd, copy, len);
}

ssize_t wrapped_pread(int fd, void *bytes, size_t len, off_t at)
{
    if (fails() || interrupted())
        return -1;
    return real_pread(fd, bytes, trouble.short_io && len > 3 ? 3 : len, at);
}

/* What pread becomes with _FORTIFY_SOURCE. */
ssize_t wrapped_pread_chk(int fd, void *bytes, size_t len, off_t at, size_t room)
{
    assert_true(len <= room);
    return wrapped_pread(fd, bytes, len, at);
}

static void put_file(const char *name, const char *content)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(real_write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(close(fd), 0);
}

int wrapped_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (fails())
        return -1;
    if (trouble.intruder != NULL)
        put_file(trouble.intruder, "intruder");
    if (trouble.no_renameat2) {
        errno = EINVAL;
        return -1;
    }
    note('r');
    return real_renameat2(from_dir, from, to_dir, to, flags);
}

int wrapped_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    if (fails())
        return -1;
    note('l');
    return real_linkat(from_dir, from, to_dir, to, flags);
}

int wrapped_fchmod(int fd, mode_t mode)
{
    return fails() ? -1 : real_fchmod(fd, mode);
}

ssize_t wrapped_getrandom(void *bytes, size_t len, unsigned flags)
{
    return fails() ? -1 : real_getrandom(bytes, len, flags);
}

/* How many entries the directory has. */
static int count_entries(void)
{
    int count = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fdopendir(fd);
    assert_non_null(list);
    /* One thread, so readdir is safe. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    for (struct dirent *entry = NULL; (entry = readdir(list)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count++;
    assert_int_equal(closedir(list), 0);
    return count;
}

static void remove_all(void)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fdopendir(fd);
    assert_non_null(list);
    /* One thread, so readdir is safe. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    for (struct dirent *entry = NULL; (entry = readdir(list)) != NULL;)
        if (unlinkat(dir, entry->d_name, 0) != 0)
            (void)unlinkat(dir, entry->d_name, AT_REMOVEDIR);
    assert_int_equal(closedir(list), 0);
}

static void begin(void)
{
    trouble = (struct trouble){0};
    remove_all();
    assert_int_equal(count_entries(), 0);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static bool write_file(const char *name, pk_span content, pk_error *err)
{
    PK_AUTO(pk_newfile_abort) pk_newfile file = PK_NEWFILE_INIT;
    pk_span first = {content.ptr, content.len / 2};
    pk_span second = {content.ptr + first.len, content.len - first.len};
    return pk_newfile_create(&file, dir, name, err) && pk_newfile_write(&file, first, err) &&
           pk_newfile_write(&file, second, err) && pk_newfile_commit(&file, content, err);
}

static void assert_content(const char *name, const char *content)
{
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1 << 20);
    if (!pk_file_read(dir, name, &out, &err))
        fail_msg("%s: %s", name, err.message);
    assert_int_equal(pk_buf_span(&out).len, strlen(content));
    assert_memory_equal(pk_buf_span(&out).ptr, content, strlen(content));
}

static void a_file_appears_with_its_content_and_mode_0600(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    int open_before = open_descriptors();
    mode_t old = umask(0777);
    assert_true(write_file("a.key", PK_SPAN("some content"), &err));
    (void)umask(0);
    assert_true(write_file("b.key", PK_SPAN(""), &err));
    (void)umask(old);
    assert_content("a.key", "some content");
    assert_content("b.key", "");
    struct stat info;
    assert_int_equal(fstatat(dir, "a.key", &info, 0), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(info.st_nlink, 1);
    assert_int_equal(fstatat(dir, "b.key", &info, 0), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(count_entries(), 2);
    assert_int_equal(open_descriptors(), open_before);
}

static void nothing_has_the_final_name_before_commit(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    pk_newfile file = PK_NEWFILE_INIT;
    assert_true(pk_newfile_create(&file, dir, "a.key", &err));
    assert_true(pk_newfile_write(&file, PK_SPAN("half"), &err));
    assert_int_equal(file.size, 4);
    assert_int_equal(faccessat(dir, "a.key", F_OK, 0), -1);
    assert_int_equal(count_entries(), 1);
    struct stat info;
    assert_int_equal(fstatat(dir, file.temp, &info, 0), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    pk_newfile_abort(&file);
    assert_int_equal(count_entries(), 0);
    pk_newfile_abort(&file);
}

static void aborting_what_was_never_created_does_nothing(void **state)
{
    (void)state;
    pk_newfile unset = PK_NEWFILE_INIT;
    pk_newfile_abort(&unset);
    pk_newfile zeroed = {0};
    pk_newfile_abort(&zeroed);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0 || errno == EBADF);
}

static const struct bad_name {
    const char *name, *segment;
} bad_names[] = {
    {"empty name", ""},
    {"a slash", "a/b"},
    {"an absolute path", "/tmp/x"},
    {"a slash at the end", "a/"},
    {"this directory", "."},
    {"the directory above", ".."},
    {"out of the directory", "../x"},
    {"256 bytes", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
};

static void is_no_name_of_a_file(void **state)
{
    const struct bad_name *row = *state;
    begin();
    pk_error err = {0};
    assert_false(write_file(row->segment, PK_SPAN("x"), &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_int_equal(count_entries(), 0);
}

static void names_that_only_look_odd_are_fine(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    char longest[256];
    memset(longest, 'a', 255);
    longest[255] = '\0';
    assert_true(write_file("..a", PK_SPAN("1"), &err));
    assert_true(write_file("a..", PK_SPAN("2"), &err));
    assert_true(write_file("-", PK_SPAN("3"), &err));
    assert_true(write_file(longest, PK_SPAN("4"), &err));
    assert_content(longest, "4");
    assert_int_equal(count_entries(), 4);
}

static void an_existing_file_is_not_replaced(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    put_file("a.key", "old");
    assert_false(write_file("a.key", PK_SPAN("new"), &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_FILE);
    assert_non_null(strstr(err.message, "\"a.key\""));
    assert_content("a.key", "old");
    assert_int_equal(count_entries(), 1);
}

static void neither_is_a_symbolic_link_nor_what_it_points_to(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    put_file("target", "old");
    assert_int_equal(symlinkat("target", dir, "link"), 0);
    assert_int_equal(symlinkat("nowhere", dir, "dangling"), 0);
    assert_false(write_file("link", PK_SPAN("new"), &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_FILE);
    assert_false(write_file("dangling", PK_SPAN("new"), &err));
    assert_string_equal(err.sqlstate, PK_E_DUPLICATE_FILE);
    assert_content("target", "old");
    assert_int_equal(count_entries(), 3);
}

static void a_name_that_is_taken_meanwhile_is_left_alone(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        begin();
        pk_error err = {0};
        trouble.intruder = "a.key";
        trouble.no_renameat2 = pass == 1;
        assert_false(write_file("a.key", PK_SPAN("new"), &err));
        assert_string_equal(err.sqlstate, PK_E_DUPLICATE_FILE);
        assert_content("a.key", "intruder");
        assert_int_equal(count_entries(), 1);
    }
}

static void short_and_interrupted_calls_are_continued(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        begin();
        pk_error err = {0};
        trouble.short_io = true;
        trouble.no_renameat2 = pass == 1;
        assert_true(write_file("a.key", PK_SPAN("a content of many bytes"), &err));
        assert_content("a.key", "a content of many bytes");
        assert_int_equal(count_entries(), 1);
    }
}

static void it_is_synced_before_it_has_its_name_and_the_directory_after(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    assert_true(write_file("a.key", PK_SPAN("content"), &err));
    assert_string_equal(trouble.order, "wwsrd");
    begin();
    trouble.no_renameat2 = true;
    assert_true(write_file("a.key", PK_SPAN("content"), &err));
    assert_string_equal(trouble.order, "wwsld");
}

static void a_large_file_is_compared_to_its_end(void **state)
{
    (void)state;
    /* The lengths around a block of the reader. */
    static const size_t lengths[] = {8191, 8192, 8193, 16384, 50000};
    char *content = pk_new_bytes(50001);
    memset(content, 'x', 50000);
    for (size_t i = 0; i < PK_COUNT(lengths); i++) {
        begin();
        pk_error err = {0};
        content[lengths[i]] = '\0';
        assert_true(write_file("a.key", (pk_span){content, lengths[i]}, &err));
        assert_content("a.key", content);
        content[lengths[i]] = 'x';
    }
    pk_free(content);
}

static const struct differs {
    const char *name, *written, *expected;
    bool damage;
} differing[] = {
    {"one byte arrived changed", "content", "content", true},
    {"less was written than expected", "conten", "content", false},
    {"more was written than expected", "content!", "content", false},
    {"nothing was written", "", "content", false},
    {"nothing was expected", "content", "", false},
};

static void what_differs_from_the_expected_is_not_committed(void **state)
{
    const struct differs *row = *state;
    begin();
    trouble.damage = row->damage;
    pk_error err = {0};
    pk_newfile file = PK_NEWFILE_INIT;
    assert_true(pk_newfile_create(&file, dir, "a.key", &err));
    assert_true(pk_newfile_write(&file, pk_span_of(row->written), &err));
    assert_false(pk_newfile_commit(&file, pk_span_of(row->expected), &err));
    assert_string_equal(err.sqlstate, PK_E_IO);
    assert_non_null(strstr(err.message, "\"a.key\""));
    pk_newfile_abort(&file);
    assert_int_equal(count_entries(), 0);
}

static const struct nth_row {
    const char *name;
    int error;
    bool no_renameat2;
} nth_rows[] = {
    {"input or output fails", EIO, false},
    {"the disk is full", ENOSPC, false},
    {"input or output fails without RENAME_NOREPLACE", EIO, true},
};

static void whichever_call_fails_nothing_is_left(void **state)
{
    const struct nth_row *row = *state;
    int open_before = open_descriptors();
    bool done = false;
    int nth = 1;
    for (; !done; nth++) {
        assert_true(nth < 100);
        begin();
        trouble.nth = nth;
        trouble.error = row->error;
        trouble.no_renameat2 = row->no_renameat2;
        pk_error err = {0};
        done = write_file("a.key", PK_SPAN("content"), &err);
        trouble.nth = 0;
        assert_int_equal(count_entries(), done ? 1 : 0);
        assert_int_equal(open_descriptors(), open_before);
        if (done)
            break;
        assert_true(pk_error_is(&err, PK_E_IO) || pk_error_is(&err, PK_E_SYSTEM));
        assert_non_null(strstr(err.message, "\"a.key\""));
    }
    assert_content("a.key", "content");
    /* getrandom, fchmod, two writes, fsync, pread, rename, fsync of the directory. */
    assert_true(nth > 8);
}

static void a_missing_directory_is_an_error_that_names_the_file(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    pk_newfile file = PK_NEWFILE_INIT;
    assert_false(pk_newfile_create(&file, -1, "a.key", &err));
    assert_string_equal(err.sqlstate, PK_E_IO);
    assert_non_null(strstr(err.message, "\"a.key\""));
    pk_newfile_abort(&file);
}

static void reading_says_why_it_cannot(void **state)
{
    (void)state;
    begin();
    put_file("file", "12345");
    assert_int_equal(symlinkat("file", dir, "link"), 0);
    assert_int_equal(mkdirat(dir, "folder", 0700), 0);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    static const struct {
        const char *file, *sqlstate;
    } rows[] = {{"absent", PK_E_UNDEFINED_FILE},
                {"link", PK_E_IO},
                {"folder", PK_E_IO},
                {"fifo", PK_E_IO},
                {"", PK_E_UNDEFINED_FILE}};
    int open_before = open_descriptors();
    for (size_t i = 0; i < PK_COUNT(rows); i++) {
        PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(100);
        pk_error err = {0};
        assert_false(pk_file_read(dir, rows[i].file, &out, &err));
        assert_string_equal(err.sqlstate, rows[i].sqlstate);
        assert_non_null(strstr(err.message, rows[i].file));
    }
    trouble.nth = 1;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(100);
    pk_error err = {0};
    assert_false(pk_file_read(dir, "file", &out, &err));
    assert_string_equal(err.sqlstate, PK_E_IO);
    assert_int_equal(open_descriptors(), open_before);
}

static void reading_keeps_the_ceiling_of_the_buffer(void **state)
{
    (void)state;
    begin();
    put_file("file", "12345");
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf exact = PK_BUF_MAX(5);
    assert_true(pk_file_read(dir, "file", &exact, &err));
    assert_int_equal(pk_buf_span(&exact).len, 5);
    PK_AUTO(pk_buf_clear) pk_buf small = PK_BUF_MAX(4);
    assert_false(pk_file_read(dir, "file", &small, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_non_null(strstr(err.message, "\"file\""));
}

static void what_a_killed_process_left_is_swept_and_nothing_else(void **state)
{
    (void)state;
    static const char *const others[] = {".pgkeep-.tmp",     ".pgkeep-12.tmp.pem", "pgkeep-12.tmp",
                                         ".pgkeep-12xy.tmp", ".pgkeep-12",         "root.key"};
    begin();
    put_file(".pgkeep-0123456789abcdef01234567.tmp", "a key, perhaps");
    put_file(".pgkeep-00.tmp", "");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        put_file(others[i], "x");
    assert_int_equal(pk_newfile_sweep(dir), 2);
    assert_int_equal(pk_newfile_sweep(dir), 0);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(faccessat(dir, others[i], F_OK, 0), 0);
    assert_int_equal(pk_newfile_sweep(-1), 0);
}

int main(void)
{
    static pk_suite suite;
    if (mkdtemp(dir_path) == NULL)
        return 1;
    dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    PK_SUITE_TEST(&suite, a_file_appears_with_its_content_and_mode_0600);
    PK_SUITE_TEST(&suite, nothing_has_the_final_name_before_commit);
    PK_SUITE_TEST(&suite, aborting_what_was_never_created_does_nothing);
    PK_SUITE_ROWS(&suite, bad_names, is_no_name_of_a_file);
    PK_SUITE_TEST(&suite, names_that_only_look_odd_are_fine);
    PK_SUITE_TEST(&suite, an_existing_file_is_not_replaced);
    PK_SUITE_TEST(&suite, neither_is_a_symbolic_link_nor_what_it_points_to);
    PK_SUITE_TEST(&suite, a_name_that_is_taken_meanwhile_is_left_alone);
    PK_SUITE_TEST(&suite, short_and_interrupted_calls_are_continued);
    PK_SUITE_TEST(&suite, it_is_synced_before_it_has_its_name_and_the_directory_after);
    PK_SUITE_TEST(&suite, a_large_file_is_compared_to_its_end);
    PK_SUITE_ROWS(&suite, differing, what_differs_from_the_expected_is_not_committed);
    PK_SUITE_ROWS(&suite, nth_rows, whichever_call_fails_nothing_is_left);
    PK_SUITE_TEST(&suite, a_missing_directory_is_an_error_that_names_the_file);
    PK_SUITE_TEST(&suite, reading_says_why_it_cannot);
    PK_SUITE_TEST(&suite, reading_keeps_the_ceiling_of_the_buffer);
    PK_SUITE_TEST(&suite, what_a_killed_process_left_is_swept_and_nothing_else);
    int result = pk_suite_run(&suite, "newfile");
    remove_all();
    (void)close(dir);
    (void)rmdir(dir_path);
    return result;
}
