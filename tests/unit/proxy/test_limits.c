/* Counting sessions: what is full, what a place given back is worth, names that hash alike, threads. */
#include "proxy/limits.h"
#include "table.h"

#include <pthread.h>

static void set(pk_limits *limits, pk_limit limit, uint32_t most)
{
    uint32_t all[PK_LIMIT_COUNT] = {0};
    all[limit] = most;
    pk_limits_set(limits, all);
}

static const struct row {
    const char *name;
    pk_limit limit;
    const char *key, *message;
} rows[] = {
    {"in total", PK_LIMIT_TOTAL, NULL, "sorry, too many clients already"},
    {"from an address", PK_LIMIT_ADDRESS, "10.1.2.3", "too many connections from address 10.1.2.3"},
    {"of a database", PK_LIMIT_DATABASE, "sales", "too many connections for database \"sales\""},
    {"of a role", PK_LIMIT_ROLE, "ann", "too many connections for role \"ann\""},
};

static void is_limited(void **state)
{
    const struct row *row = *state;
    pk_error err = {0};
    pk_limits *limits = pk_limits_new();
    set(limits, row->limit, 2);
    assert_true(pk_limits_take(limits, row->limit, row->key, &err));
    assert_true(pk_limits_has_room(limits, row->limit, row->key, &err));
    assert_true(pk_limits_take(limits, row->limit, row->key, &err));
    assert_false(pk_limits_has_room(limits, row->limit, row->key, &err));
    assert_false(pk_limits_take(limits, row->limit, row->key, &err));
    assert_string_equal(err.sqlstate, PK_E_CONNECTIONS);
    assert_string_equal(err.message, row->message);
    assert_non_null(strstr(err.detail, " 2."));
    pk_limits_give(limits, row->limit, row->key);
    assert_true(pk_limits_take(limits, row->limit, row->key, &err));
    pk_limits_free(limits);
}

static void each_name_has_places_of_its_own(void **state)
{
    pk_error err;
    char name[16];
    (void)state;
    pk_limits *limits = pk_limits_new();
    set(limits, PK_LIMIT_ROLE, 1);
    for (int i = 0; i < 20000; i++) { /* more than there are buckets */
        snprintf(name, sizeof name, "r%d", i);
        assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, name, &err));
    }
    for (int i = 0; i < 20000; i += 2) {
        snprintf(name, sizeof name, "r%d", i);
        pk_limits_give(limits, PK_LIMIT_ROLE, name);
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "r%d", i);
        assert_int_equal(pk_limits_has_room(limits, PK_LIMIT_ROLE, name, &err), i % 2 == 0);
    }
    assert_true(pk_limits_take(limits, PK_LIMIT_DATABASE, "r1", &err)); /* another kind */
    pk_limits_free(limits);
}

static void a_limit_that_comes_later_counts_who_is_there(void **state)
{
    pk_error err;
    (void)state;
    pk_limits *limits = pk_limits_new();
    for (int i = 0; i < 3; i++)
        assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    set(limits, PK_LIMIT_ROLE, 2);
    assert_false(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    pk_limits_give(limits, PK_LIMIT_ROLE, "ann");
    assert_false(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    pk_limits_give(limits, PK_LIMIT_ROLE, "ann");
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    set(limits, PK_LIMIT_ROLE, 0);
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    pk_limits_give(limits, PK_LIMIT_ROLE, "nobody"); /* of whom nothing is known */
    pk_limits_free(limits);
}

#define ROUNDS 20000

static void *come_and_go(void *arg)
{
    pk_limits *limits = arg;
    size_t held = 0;
    for (int i = 0; i < ROUNDS; i++) {
        pk_error err;
        if (pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err)) {
            held++;
            pk_limits_give(limits, PK_LIMIT_ROLE, "ann");
        }
    }
    return (void *)held; /* NOLINT(performance-no-int-to-ptr) */
}

static void threads_lose_no_place(void **state)
{
    pthread_t threads[4];
    pk_error err;
    (void)state;
    pk_limits *limits = pk_limits_new();
    set(limits, PK_LIMIT_ROLE, 2);
    for (size_t i = 0; i < PK_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, limits), 0);
    for (size_t i = 0; i < PK_COUNT(threads); i++) {
        void *held = NULL;
        pthread_join(threads[i], &held);
        assert_non_null(held);
    }
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    assert_false(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    pk_limits_free(limits);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, is_limited);
    PK_SUITE_TEST(&suite, each_name_has_places_of_its_own);
    PK_SUITE_TEST(&suite, a_limit_that_comes_later_counts_who_is_there);
    PK_SUITE_TEST(&suite, threads_lose_no_place);
    return pk_suite_run(&suite, "limits");
}
