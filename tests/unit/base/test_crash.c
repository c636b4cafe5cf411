/*
 * The crash points themselves, in child processes: dying at the nth and nowhere else, the list of
 * what was passed, and that a build for users has none of it. The same file is compiled a second
 * time without PK_TEST_KDF, as a release is.
 */
#include "base/crash.h"
#include "table.h"

#include "base/defs.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Three points in a process of its own; how it ended: 0, or minus the signal. *list is what the
 * file says afterwards. */
static int pass_three(const char *at, char list[static 128])
{
    char path[] = "/tmp/pk-crash-XXXXXX";
    int fd = mkstemp(path);
    int status = 0;
    assert_true(fd >= 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* NOLINTBEGIN(concurrency-mt-unsafe): the child has one thread */
        if (at != NULL)
            (void)setenv("PGKEEP_CRASH_AT", at, 1);
        (void)setenv("PGKEEP_CRASH_LIST", path, 1);
        /* NOLINTEND(concurrency-mt-unsafe) */
        PK_CRASH_POINT("one");
        PK_CRASH_POINT("two");
        PK_CRASH_POINT("three");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    ssize_t got = read(fd, list, 127);
    list[got > 0 ? got : 0] = '\0';
    (void)close(fd);
    (void)unlink(path);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#ifdef PK_TEST_KDF

static const struct row {
    const char *name, *at;
    int end;
    const char *list;
} rows[] = {
    {"without the variable every point is passed", NULL, 0, "one\ntwo\nthree\n"},
    {"dies at the first point", "1", -SIGKILL, "one\n"},
    {"dies at the second point", "2", -SIGKILL, "one\ntwo\n"},
    {"a number that is never reached does nothing", "4", 0, "one\ntwo\nthree\n"},
    {"0 is no point", "0", 0, "one\ntwo\nthree\n"},
    {"what is no number is no point", "x", 0, "one\ntwo\nthree\n"},
};

#else

static const struct row {
    const char *name, *at;
    int end;
    const char *list;
} rows[] = {
    {"a build for users does not die at a point", "1", 0, ""},
    {"a build for users writes no list", NULL, 0, ""},
};

#endif

static void ends_as_told(void **state)
{
    const struct row *row = *state;
    char list[128];
    assert_int_equal(pass_three(row->at, list), row->end);
    assert_string_equal(list, row->list);
}

int main(void)
{
    return RUN_TABLE(rows, ends_as_told);
}
