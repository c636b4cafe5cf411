/*
 * Counting the points and dying at one of them. SIGKILL, sent to ourselves: no handler, no flush,
 * no cleanup function runs, as when an administrator or the kernel's memory killer does it.
 */
#include "base/crash.h"

#include "base/defs.h"

#ifdef PK_TEST_KDF

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static long crash_at; /* 0: never */
static int list = -1;
static atomic_long passed;

static void read_environment(void)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): tests set these before the process starts. */
    const char *at = getenv("PGKEEP_CRASH_AT");
    const char *file = getenv("PGKEEP_CRASH_LIST");
    /* NOLINTEND(concurrency-mt-unsafe) */
    if (at != NULL)
        crash_at = strtol(at, NULL, 10);
    if (file != NULL)
        list = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR);
}

void pk_crash_point(const char *name)
{
    char line[128];
    (void)pthread_once(&once, read_environment);
    int len = snprintf(line, sizeof line, "%s\n", name);
    /* One write, so that lines of two threads do not mix. A list that cannot be written shows in
     * the test that reads it. */
    if (list >= 0 && len > 0 && write(list, line, (size_t)len) < 0)
        list = -1;
    if (atomic_fetch_add(&passed, 1) + 1 == crash_at)
        (void)kill(getpid(), SIGKILL);
}

#endif
