/* Places: taken, refused in PostgreSQL's words, given back, counted by any thread. */
#include "proxy/limits.h"
#include "table.h"

#include <pthread.h>
#include <stdatomic.h>

static const struct row {
    const char *name, *whose;
    pk_limit limit;
    const char *message;
} rows[] = {
    {"in total", NULL, PK_LIMIT_TOTAL, "sorry, too many clients already"},
    {"of an address", "192.0.2.1", PK_LIMIT_ADDRESS, "too many connections from address 192.0.2.1"},
    {"of a database", "shop", PK_LIMIT_DATABASE, "too many connections for database \"shop\""},
    {"of a role", "ann", PK_LIMIT_ROLE, "too many connections for role \"ann\""},
    {"of a role without a name", "", PK_LIMIT_ROLE, "too many connections for role \"\""},
    {"of a role with an odd name", "%s\"\n", PK_LIMIT_ROLE,
     "too many connections for role \"%s\"\n\""},
};

static void limit_alone(pk_limits *limits, pk_limit limit, uint32_t most)
{
    uint32_t all[PK_LIMIT_COUNT] = {0};
    all[limit] = most;
    pk_limits_set(limits, all);
}

static void assert_refused(const pk_error *err, const struct row *row, const char *detail)
{
    assert_string_equal(err->sqlstate, "53300");
    assert_string_equal(err->message, row->message);
    assert_string_equal(err->detail, detail);
}

static void one_more_than_allowed_is_refused(void **state)
{
    const struct row *row = *state;
    pk_error err = {0};
    pk_limits *limits = pk_limits_new();
    limit_alone(limits, row->limit, 2);
    assert_true(pk_limits_take(limits, row->limit, row->whose, &err));
    assert_true(pk_limits_has_room(limits, row->limit, row->whose, &err));
    assert_true(pk_limits_take(limits, row->limit, row->whose, &err));
    assert_false(pk_limits_has_room(limits, row->limit, row->whose, &err));
    assert_refused(&err, row, "pgkeep is configured to allow 2.");
    err = (pk_error){0};
    assert_false(pk_limits_take(limits, row->limit, row->whose, &err));
    assert_refused(&err, row, "pgkeep is configured to allow 2.");
    /* the refused one took nothing: one place given back is one place */
    pk_limits_give(limits, row->limit, row->whose);
    assert_true(pk_limits_take(limits, row->limit, row->whose, &err));
    assert_false(pk_limits_take(limits, row->limit, row->whose, &err));
    pk_limits_free(limits);
}

static void looking_takes_nothing(void **state)
{
    const struct row *row = *state;
    pk_error err;
    pk_limits *limits = pk_limits_new();
    limit_alone(limits, row->limit, 1);
    for (int i = 0; i < 5; i++)
        assert_true(pk_limits_has_room(limits, row->limit, row->whose, &err));
    assert_true(pk_limits_take(limits, row->limit, row->whose, &err));
    pk_limits_free(limits);
}

static void counts_are_kept_without_a_limit(void **state)
{
    const struct row *row = *state;
    pk_error err;
    pk_limits *limits = pk_limits_new();
    for (int i = 0; i < 100; i++)
        assert_true(pk_limits_take(limits, row->limit, row->whose, &err));
    limit_alone(limits, row->limit, 100); /* set while they are there */
    assert_false(pk_limits_take(limits, row->limit, row->whose, &err));
    limit_alone(limits, row->limit, 3); /* those beyond stay, and leave in good order */
    for (int i = 0; i < 97; i++)
        pk_limits_give(limits, row->limit, row->whose);
    assert_false(pk_limits_take(limits, row->limit, row->whose, &err));
    pk_limits_give(limits, row->limit, row->whose);
    assert_true(pk_limits_take(limits, row->limit, row->whose, &err));
    limit_alone(limits, row->limit, 0);
    assert_true(pk_limits_take(limits, row->limit, row->whose, &err));
    pk_limits_free(limits);
}

static void names_are_counted_apart(void **state)
{
    static const uint32_t ones[PK_LIMIT_COUNT] = {1, 1, 1, 1};
    pk_error err;
    (void)state;
    pk_limits *limits = pk_limits_new();
    pk_limits_set(limits, ones);
    /* the same name three times: of an address, a database and a role */
    assert_true(pk_limits_take(limits, PK_LIMIT_ADDRESS, "x", &err));
    assert_true(pk_limits_take(limits, PK_LIMIT_DATABASE, "x", &err));
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "x", &err));
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "X", &err));
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "", &err));
    assert_false(pk_limits_take(limits, PK_LIMIT_ROLE, "x", &err));
    /* in total there is one count, whatever the name */
    assert_true(pk_limits_take(limits, PK_LIMIT_TOTAL, "x", &err));
    assert_false(pk_limits_take(limits, PK_LIMIT_TOTAL, "y", &err));
    pk_limits_give(limits, PK_LIMIT_TOTAL, NULL);
    assert_true(pk_limits_take(limits, PK_LIMIT_TOTAL, NULL, &err));
    pk_limits_free(limits);
}

static void giving_what_was_not_taken_changes_nothing(void **state)
{
    pk_error err;
    (void)state;
    pk_limits *limits = pk_limits_new();
    limit_alone(limits, PK_LIMIT_ROLE, 1);
    pk_limits_give(limits, PK_LIMIT_ROLE, "ann");
    assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    assert_false(pk_limits_take(limits, PK_LIMIT_ROLE, "ann", &err));
    pk_limits_free(limits);
    pk_limits_free(NULL);
}

/* More names than there are buckets: chains are walked, and unlinked in the middle. */
static void many_names_stay_apart(void **state)
{
    enum { NAMES = 10000 };
    char name[32];
    pk_error err;
    (void)state;
    pk_limits *limits = pk_limits_new();
    limit_alone(limits, PK_LIMIT_ROLE, 1);
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof name, "role%d", i);
        assert_true(pk_limits_take(limits, PK_LIMIT_ROLE, name, &err));
    }
    for (int i = 0; i < NAMES; i += 2) {
        (void)snprintf(name, sizeof name, "role%d", i);
        pk_limits_give(limits, PK_LIMIT_ROLE, name);
    }
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof name, "role%d", i);
        assert_int_equal(pk_limits_take(limits, PK_LIMIT_ROLE, name, &err), i % 2 == 0);
    }
    pk_limits_free(limits);
}

#define THREADS 4
#define TURNS   20000
#define MOST    2

typedef struct crowd {
    pk_limits *limits;
    atomic_int inside, worst, refused;
} crowd;

static void *come_and_go(void *arg)
{
    crowd *all = arg;
    pk_error err;
    for (int i = 0; i < TURNS; i++) {
        if (!pk_limits_take(all->limits, PK_LIMIT_DATABASE, "shop", &err)) {
            atomic_fetch_add(&all->refused, 1);
            continue;
        }
        const int inside = atomic_fetch_add(&all->inside, 1) + 1;
        int worst = atomic_load(&all->worst);
        while (inside > worst && !atomic_compare_exchange_weak(&all->worst, &worst, inside))
            ;
        atomic_fetch_sub(&all->inside, 1);
        pk_limits_give(all->limits, PK_LIMIT_DATABASE, "shop");
        if (i % 1000 == 0)
            limit_alone(all->limits, PK_LIMIT_DATABASE, MOST);
    }
    return NULL;
}

static void threads_never_get_more_places_than_there_are(void **state)
{
    pthread_t threads[THREADS];
    pk_error err;
    (void)state;
    crowd all = {.limits = pk_limits_new()};
    limit_alone(all.limits, PK_LIMIT_DATABASE, MOST);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &all), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(atomic_load(&all.worst) >= 1 && atomic_load(&all.worst) <= MOST);
    /* all were given back */
    for (int i = 0; i < MOST; i++)
        assert_true(pk_limits_take(all.limits, PK_LIMIT_DATABASE, "shop", &err));
    assert_false(pk_limits_take(all.limits, PK_LIMIT_DATABASE, "shop", &err));
    pk_limits_free(all.limits);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, one_more_than_allowed_is_refused);
    PK_SUITE_ROWS(&suite, rows, looking_takes_nothing);
    PK_SUITE_ROWS(&suite, rows, counts_are_kept_without_a_limit);
    PK_SUITE_TEST(&suite, names_are_counted_apart);
    PK_SUITE_TEST(&suite, giving_what_was_not_taken_changes_nothing);
    PK_SUITE_TEST(&suite, many_names_stay_apart);
    PK_SUITE_TEST(&suite, threads_never_get_more_places_than_there_are);
    return pk_suite_run(&suite, "limits");
}
