/* The table of what is ours: names as the server's hash key, owners, limits. */
#include "proxy/names.h"
#include "table.h"

static pk_prepared *prepared(const char *text)
{
    pk_prepared *made = pk_prepared_new();
    assert_true(pk_buf_append_text(&made->text, text, NULL));
    return made;
}

static pk_portal *portal_of(pk_prepared *owner)
{
    pk_portal *portal = pk_portal_new();
    portal->prepared = pk_prepared_ref(owner);
    return portal;
}

static void without_entries_there_is_no_table(void **state)
{
    pk_names *names = NULL;
    (void)state;
    assert_null(pk_names_statement(names, PK_SPAN("")));
    assert_null(pk_names_portal(names, PK_SPAN("")));
    pk_names_drop_statement(&names, PK_SPAN("a"));
    pk_names_drop_portal(&names, PK_SPAN("a"));
    pk_names_drop_portals(&names);
    pk_names_drop_named_statements(&names);
    pk_names_clear(&names);
    assert_null(names);
    pk_names_put_statement(&names, PK_SPAN("a"), prepared("x"));
    assert_non_null(names);
    pk_names_drop_statement(&names, PK_SPAN("b"));
    assert_non_null(names);
    pk_names_drop_statement(&names, PK_SPAN("a"));
    assert_null(names);
}

static void statements_and_portals_have_names_of_their_own(void **state)
{
    pk_names *names = NULL;
    (void)state;
    pk_prepared *one = prepared("x");
    pk_names_put_statement(&names, PK_SPAN("a"), one);
    assert_null(pk_names_portal(names, PK_SPAN("a")));
    pk_names_put_portal(&names, PK_SPAN("a"), portal_of(one));
    pk_names_drop_statement(&names, PK_SPAN("a"));
    assert_non_null(pk_names_portal(names, PK_SPAN("a")));
    pk_names_clear(&names);
}

static void a_name_counts_by_its_first_63_bytes(void **state)
{
    char name[70];
    pk_names *names = NULL;
    (void)state;
    memset(name, 'n', sizeof name);
    pk_prepared *one = prepared("x");
    pk_names_put_statement(&names, (pk_span){name, 70}, one);
    assert_ptr_equal(pk_names_statement(names, (pk_span){name, 63}), one);
    assert_null(pk_names_statement(names, (pk_span){name, 62}));
    name[63] = 'x';
    assert_ptr_equal(pk_names_statement(names, (pk_span){name, 64}), one);
    name[62] = 'x';
    assert_null(pk_names_statement(names, (pk_span){name, 64}));
    pk_names_clear(&names);
}

static void a_portal_keeps_its_statement_alive(void **state)
{
    pk_names *names = NULL;
    (void)state;
    pk_prepared *one = prepared("text");
    pk_names_put_statement(&names, PK_SPAN("s"), one);
    pk_names_put_portal(&names, PK_SPAN("p"), portal_of(one));
    pk_names_put_statement(&names, PK_SPAN("s"), prepared("other")); /* replaces it */
    const pk_portal *portal = pk_names_portal(names, PK_SPAN("p"));
    assert_int_equal(portal->prepared->refs, 1);
    assert_true(pk_span_equal(pk_buf_span(&portal->prepared->text), PK_SPAN("text")));
    pk_names_drop_portals(&names);
    assert_non_null(pk_names_statement(names, PK_SPAN("s")));
    pk_names_clear(&names);
}

static void a_portal_is_replaced_by_the_next_of_its_name(void **state)
{
    pk_names *names = NULL;
    (void)state;
    pk_prepared *one = prepared("x");
    pk_names_put_statement(&names, PK_SPAN("s"), one);
    pk_names_put_portal(&names, PK_SPAN(""), portal_of(one));
    pk_portal *second = portal_of(one);
    pk_names_put_portal(&names, PK_SPAN(""), second);
    assert_ptr_equal(pk_names_portal(names, PK_SPAN("")), second);
    assert_int_equal(one->refs, 2);
    pk_names_drop_portal(&names, PK_SPAN(""));
    assert_null(pk_names_portal(names, PK_SPAN("")));
    assert_int_equal(one->refs, 1);
    pk_names_clear(&names);
}

static void deallocate_all_leaves_the_unnamed_one(void **state)
{
    pk_names *names = NULL;
    (void)state;
    pk_names_put_statement(&names, PK_SPAN("a"), prepared("x"));
    pk_names_put_statement(&names, PK_SPAN(""), prepared("y"));
    pk_names_put_statement(&names, PK_SPAN("b"), prepared("z"));
    pk_names_drop_named_statements(&names);
    assert_null(pk_names_statement(names, PK_SPAN("a")));
    assert_null(pk_names_statement(names, PK_SPAN("b")));
    assert_non_null(pk_names_statement(names, PK_SPAN("")));
    pk_names_drop_statement(&names, PK_SPAN(""));
    assert_null(names);
}

static void there_is_an_end_to_the_number_of_entries(void **state)
{
    char name[16];
    pk_error err;
    pk_names *names = NULL;
    (void)state;
    pk_prepared *one = prepared("x");
    for (unsigned i = 0; i < PK_STATEMENTS_MAX; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        assert_true(pk_names_room_for_statement(names, pk_span_of(name), 1, &err));
        pk_names_put_statement(&names, pk_span_of(name), pk_prepared_ref(one));
    }
    assert_false(pk_names_room_for_statement(names, PK_SPAN("more"), 1, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_true(pk_names_room_for_statement(names, PK_SPAN("s7"), 1, &err));
    for (unsigned i = 0; i < PK_PORTALS_MAX; i++) {
        (void)snprintf(name, sizeof name, "p%u", i);
        assert_true(pk_names_room_for_portal(names, pk_span_of(name), 1, &err));
        pk_names_put_portal(&names, pk_span_of(name), portal_of(one));
    }
    assert_false(pk_names_room_for_portal(names, PK_SPAN("more"), 1, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_true(pk_names_room_for_portal(names, PK_SPAN("p7"), 1, &err));
    pk_names_clear(&names);
    assert_int_equal(one->refs, 1);
    pk_prepared_unref(one);
}

static void and_to_their_bytes(void **state)
{
    static char large[1u << 20];
    pk_error err;
    pk_names *names = NULL;
    (void)state;
    pk_prepared *one = pk_prepared_new();
    pk_portal *portal = portal_of(one);
    for (int i = 0; i < 3; i++)
        assert_true(pk_buf_append(&portal->bytes, large, sizeof large, &err));
    pk_names_put_statement(&names, PK_SPAN("s"), one);
    pk_names_put_portal(&names, PK_SPAN("p"), portal);
    assert_true(pk_portal_size(portal) >= 3u << 20);
    size_t left = PK_NAMES_BYTES - pk_portal_size(portal);
    assert_true(pk_names_room_for_portal(names, PK_SPAN("q"), left, &err));
    assert_false(pk_names_room_for_portal(names, PK_SPAN("q"), left + 1, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_false(pk_names_room_for_statement(names, PK_SPAN("q"), left + 1, &err));
    portal->kept = pk_result_new();
    assert_non_null(pk_arena_alloc(&portal->kept->arena, 1000, &err));
    assert_false(pk_names_room_for_portal(names, PK_SPAN("q"), left, &err));
    pk_names_clear(&names);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, without_entries_there_is_no_table);
    PK_SUITE_TEST(&suite, statements_and_portals_have_names_of_their_own);
    PK_SUITE_TEST(&suite, a_name_counts_by_its_first_63_bytes);
    PK_SUITE_TEST(&suite, a_portal_keeps_its_statement_alive);
    PK_SUITE_TEST(&suite, a_portal_is_replaced_by_the_next_of_its_name);
    PK_SUITE_TEST(&suite, deallocate_all_leaves_the_unnamed_one);
    PK_SUITE_TEST(&suite, there_is_an_end_to_the_number_of_entries);
    PK_SUITE_TEST(&suite, and_to_their_bytes);
    return pk_suite_run(&suite, "names");
}
