/*
 * Where statements end; each row's statements are joined with a bar.
 */
#include "parser_test.h"

static const struct row {
    const char *name, *text, *statements;
} rows[] = {
    {"nothing", "", ""},
    {"semicolons only", ";; ;", ""},
    {"one", "SELECT 1", "SELECT 1"},
    {"the last semicolon is no part", "SELECT 1;", "SELECT 1"},
    {"empty statements vanish", ";SELECT 1;;SELECT 2;", "SELECT 1|SELECT 2"},
    {"statements without a keyword of PostgreSQL (L1)", "PAUSE JOB 12", "PAUSE JOB 12"},
    {"such a statement between others (L1)", "SELECT 1; PAUSE JOB 12; SELECT 2",
     "SELECT 1|PAUSE JOB 12|SELECT 2"},
    {"semicolons in literals and comments", "SELECT ';', $$;$$, \";\" /* ; */; -- ;\nx",
     "SELECT ';', $$;$$, \";\"|x"},
    {"parentheses keep together", "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); x",
     "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)|x"},
    {"a closing parenthesis too many is ignored", "a ) ; b ( ; c ) ; d", "a )|b ( ; c )|d"},
    {"SQL-standard body (L2)",
     "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END; SHOW JOBS",
     "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END|SHOW JOBS"},
    {"CASE nests in a body",
     "create or replace procedure p() begin atomic select case when a then b end; c; end; d",
     "create or replace procedure p() begin atomic select case when a then b end; c; end|d"},
    {"END of a CASE outside of a body", "SELECT CASE WHEN a THEN b END; c",
     "SELECT CASE WHEN a THEN b END|c"},
    {"BEGIN starts a transaction, not a body", "BEGIN; a; END; b", "BEGIN|a|END|b"},
    {"BEGIN ATOMIC without CREATE is no body", "BEGIN ATOMIC; a", "BEGIN ATOMIC|a"},
    {"quoted words open no body", "CREATE \"begin\" \"atomic\"; a",
     "CREATE \"begin\" \"atomic\"|a"},
    {"ATOMIC as the first word", "ATOMIC; a", "ATOMIC|a"},
    {"the next statement starts anew", "CREATE TABLE t (a int); BEGIN ATOMIC; a",
     "CREATE TABLE t (a int)|BEGIN ATOMIC|a"},
};

static void splits(void **state)
{
    const struct row *row = *state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_tokens tokens;
    pk_split split;
    pk_error err;
    pk_span text = pk_span_of(row->text);
    assert_true(pk_lex(text, true, &arena, &tokens, &err));
    assert_true(pk_split_statements(&tokens, &arena, &split, &err));
    char joined[512] = "";
    size_t len = 0;
    for (size_t k = 0; k < split.count; k++) {
        assert_true(split.starts[k] < split.ends[k]);
        size_t from = tokens.list[split.starts[k]].start, to = tokens.list[split.ends[k] - 1].end;
        len += (size_t)snprintf(joined + len, sizeof joined - len, "%s%.*s", k == 0 ? "" : "|",
                                (int)(to - from), row->text + from);
    }
    assert_string_equal(joined, row->statements);
    pk_arena_clear(&arena);
}

static void no_arena_left_is_54000(void **state)
{
    (void)state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_tokens tokens;
    pk_split split;
    pk_error err;
    assert_true(pk_lex(PK_SPAN("a; b"), true, &arena, &tokens, &err));
    for (size_t ceiling = 0; ceiling < 32; ceiling += 16) {
        pk_arena small = PK_ARENA_MAX(ceiling);
        assert_false(pk_split_statements(&tokens, &small, &split, &err));
        assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
        pk_arena_clear(&small);
    }
    pk_arena_clear(&arena);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, splits);
    PK_SUITE_TEST(&suite, no_arena_left_is_54000);
    return pk_suite_run(&suite, "split");
}
