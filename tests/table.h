/*
 * One row, one test: RUN_TABLE makes a cmocka test of every row of a table whose rows begin with
 * `const char *name`, so a report names the row. PK_TEST_FILTER (a cmocka pattern: * and ?) runs a
 * part.
 *
 *     static const struct row { const char *name; ... } rows[] = { ... };
 *     static void behaves(void **state) { const struct row *row = *state; ... }
 *     int main(void) { return RUN_TABLE(rows, behaves); }
 *
 * Several tables and plain tests in one program: PK_SUITE_ROWS and PK_SUITE_TEST between
 * pk_suite_begin and pk_suite_run.
 */
#ifndef PK_TESTS_TABLE_H
#define PK_TESTS_TABLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PK_SUITE_MAX 1024

typedef struct pk_suite {
    struct CMUnitTest tests[PK_SUITE_MAX];
    size_t count;
} pk_suite;

static inline void pk_suite_add(pk_suite *suite, const char *name, CMUnitTestFunction test,
                                const void *row)
{
    if (suite->count == PK_SUITE_MAX) {
        fprintf(stderr, "more than %d tests in one program\n", PK_SUITE_MAX);
        abort();
    }
    /* cmocka's initial_state is a plain void *; the rows stay const. */
    suite->tests[suite->count++] =
        (struct CMUnitTest){name, test, NULL, NULL, (void *)(uintptr_t)row};
}

#define PK_SUITE_ROWS(suite, rows, test)                                                           \
    do {                                                                                           \
        for (size_t row_ = 0; row_ < sizeof(rows) / sizeof((rows)[0]); row_++)                     \
            pk_suite_add((suite), (rows)[row_].name, (test), &(rows)[row_]);                       \
    } while (0)
#define PK_SUITE_TEST(suite, test) pk_suite_add((suite), #test, (test), NULL)

/* cmocka wants an array, hence the private runner. */
static inline int pk_suite_run(pk_suite *suite, const char *name)
{
    const char *filter =
        getenv("PK_TEST_FILTER"); // NOLINT(concurrency-mt-unsafe): before any thread
    if (filter != NULL)
        cmocka_set_test_filter(filter);
    return _cmocka_run_group_tests(name, suite->tests, suite->count, NULL, NULL);
}

#define RUN_TABLE(rows, test)                                                                      \
    (__extension__({                                                                               \
        static pk_suite suite_;                                                                    \
        PK_SUITE_ROWS(&suite_, rows, test);                                                        \
        pk_suite_run(&suite_, #test);                                                              \
    }))

#endif
