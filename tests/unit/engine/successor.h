/*
 * A process that tries to have the keystore whenever it is asked to. Made while the test has no
 * other threads: a child could find a lock of theirs taken for ever.
 */
#ifndef PK_TESTS_SUCCESSOR_H
#define PK_TESTS_SUCCESSOR_H

#include "keystore_fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

typedef struct successor {
    int ask, answer;
    pid_t child;
} successor;

/* `keep`: once it has the keystore, it has it until it is ended; else it gives it back each time.
 */
static inline void succeed(const char *dir, bool keep, int ask, int answer)
{
    char byte;
    bool has_it = false;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!(has_it && keep) && read(ask, &byte, 1) == 1) {
        pk_error err = {0};
        pk_keystore *ks = pk_keystore_open(dir, false, NULL, &pk_clock_system, &err);
        has_it = ks != NULL;
        if (!keep)
            pk_keystore_close(ks);
        if (write(answer, has_it ? "y" : "n", 1) != 1)
            break;
    }
    if (keep)
        (void)pause();
    _exit(0);
}

static inline successor make_successor(const char *dir, bool keep)
{
    int ask[2];
    int answer[2];
    assert_int_equal(pipe(ask), 0);
    assert_int_equal(pipe(answer), 0);
    const successor s = {.ask = ask[1], .answer = answer[0], .child = fork()};
    if (s.child == 0) {
        close(ask[1]);
        close(answer[0]);
        succeed(dir, keep, ask[0], answer[1]);
    }
    close(ask[0]);
    close(answer[1]);
    return s;
}

static inline bool gets_it(const successor *s)
{
    char byte = 0;
    assert_int_equal(write(s->ask, "?", 1), 1);
    assert_int_equal(read(s->answer, &byte, 1), 1);
    return byte == 'y';
}

/* Within ten seconds. */
static inline void gets_it_soon(const successor *s)
{
    for (int i = 0; !gets_it(s); i++) {
        assert_int_not_equal(i, 500);
        usleep(20000);
    }
}

static inline void end_successor(const successor *s)
{
    kill(s->child, SIGKILL);
    assert_int_equal(waitpid(s->child, NULL, 0), s->child);
    close(s->ask);
    close(s->answer);
}

#endif
