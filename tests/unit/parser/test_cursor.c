/*
 * The cursor's own promises; the grammars are tested where they are (test_parse_*.c).
 */
#include "parser_test.h"

#include "parser/cursor.h"

#include <ctype.h>
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

static bool scans_as_reserved(const char *word)
{
    PgQueryScanResult result = pg_query_scan(word);
    assert_null(result.error);
    PgQuery__ScanResult *scan =
        pg_query__scan_result__unpack(NULL, result.pbuf.len, (const uint8_t *)result.pbuf.data);
    bool reserved = scan->n_tokens == 1 &&
                    scan->tokens[0]->keyword_kind == PG_QUERY__KEYWORD_KIND__RESERVED_KEYWORD;
    pg_query__scan_result__free_unpacked(scan, NULL);
    pg_query_free_scan_result(result);
    return reserved;
}

/* libpg_query's list of tokens names every keyword, some with _P behind. */
static void reserved_words_are_those_of_postgres(void **state)
{
    (void)state;
    size_t reserved = 0;
    for (unsigned i = 0; i < pg_query__token__descriptor.n_values; i++) {
        char word[64];
        size_t len = 0;
        for (const char *at = pg_query__token__descriptor.values[i].name; *at != '\0'; at++)
            word[len++] = (char)tolower((unsigned char)*at);
        word[len] = '\0';
        if (len > 2 && strcmp(word + len - 2, "_p") == 0)
            word[len -= 2] = '\0';
        if (!isalpha((unsigned char)word[0]))
            continue;
        bool theirs = scans_as_reserved(word);
        if (theirs != pk_word_is_reserved(pk_span_bytes(word, len)))
            fail_msg("%s", word);
        reserved += theirs;
    }
    assert_true(reserved > 70);
}

typedef struct fixture {
    pk_arena arena;
    pk_tokens tokens;
    pk_error err;
    pk_stmt stmt;
    pk_cursor cursor;
} fixture;

static void begin(fixture *f, const char *text)
{
    *f = (fixture){.arena = PK_ARENA_MAX(TEST_ARENA)};
    assert_true(pk_lex(pk_span_of(text), true, &f->arena, &f->tokens, &f->err));
    f->cursor = (pk_cursor){.tokens = &f->tokens, .arena = &f->arena, .err = &f->err};
    assert_true(pk_cursor_begin(&f->cursor, 0, f->tokens.count, &f->stmt));
}

static void several_words_are_accepted_only_together(void **state)
{
    (void)state;
    fixture f;
    begin(&f, "backup MASTER key");
    assert_true(pk_cursor_sees(&f.cursor, "BACKUP MASTER"));
    assert_false(pk_cursor_accept(&f.cursor, "BACKUP KEY"));
    assert_int_equal(f.cursor.at, 0);
    assert_true(pk_cursor_accept(&f.cursor, "BACKUP MASTER"));
    assert_int_equal(f.cursor.at, 2);
    assert_false(pk_cursor_accept(&f.cursor, "KEY TO"));
    assert_true(pk_cursor_expect(&f.cursor, "KEY"));
    assert_true(pk_cursor_expect_end(&f.cursor));
    pk_arena_clear(&f.arena);
}

static void the_end_of_input_is_behind_the_last_token(void **state)
{
    (void)state;
    fixture f;
    begin(&f, "\xc3\xa9 KEY  ;");
    f.cursor.at = f.cursor.end = 2;
    assert_false(pk_cursor_expect(&f.cursor, "TO"));
    assert_string_equal(f.err.message, "syntax error at end of input");
    assert_int_equal(f.err.position, 6);
    pk_arena_clear(&f.arena);
}

static void only_words_of_the_grammar_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"FORCE", "syntax error at or near \"FORCE\""},
        {"force", "syntax error at or near \"force\""},
        {"=", "syntax error at or near \"=\""},
        {"hunter2", "syntax error at or near '...'"},
        {"'FORCE'", "syntax error at or near '...'"},
        {"\"FORCE\"", "syntax error at or near '...'"},
        {"12345", "syntax error at or near '...'"},
        {"$1", "syntax error at or near '...'"},
        {"@@", "syntax error at or near '...'"},
    };
    for (size_t i = 0; i < PK_COUNT(cases); i++) {
        fixture f;
        begin(&f, cases[i].text);
        assert_false(pk_cursor_syntax_error(&f.cursor));
        assert_string_equal(f.err.message, cases[i].message);
        assert_int_equal(f.err.position, 1);
        pk_arena_clear(&f.arena);
    }
}

static void values_come_in_the_order_of_the_text(void **state)
{
    (void)state;
    fixture f;
    begin(&f, "\xc3\x9c"
              "ber 'it''s' $17 42");
    pk_value v;
    assert_true(pk_cursor_name(&f.cursor, &v));
    assert_span(v.text, "\xc3\x9c"
                        "ber");
    assert_int_equal(v.position, 1);
    assert_true(pk_cursor_secret(&f.cursor, &v));
    assert_span(v.text, "it's");
    assert_span(v.source, "'it''s'");
    assert_int_equal(v.position, 6);
    assert_int_equal(v.class, PK_CLASS_PASSWORD);
    assert_true(pk_cursor_place(&f.cursor, &v));
    assert_int_equal(v.kind, PK_VALUE_PARAM);
    assert_int_equal(v.param, 17);
    assert_int_equal(v.text.len, 0);
    assert_true(pk_cursor_value(&f.cursor, PK_TAKE_INT, PK_CLASS_OTHER, &v));
    assert_span(v.text, "42");
    assert_int_equal(v.position, 18);
    assert_int_equal(f.stmt.value_count, 4);
    for (size_t i = 1; i < f.stmt.value_count; i++)
        assert_true(f.stmt.values[i].source.ptr > f.stmt.values[i - 1].source.ptr);
    assert_false(pk_cursor_name(&f.cursor, &v));
    assert_int_equal(f.stmt.value_count, 4);
    pk_arena_clear(&f.arena);
}

static void parameters_end_at_65535(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {{"$1", true},  {"$65535", true},       {"$65536", false},
                 {"$0", false}, {"$4294967297", false}, {"$99999999999999999999999", false}};
    for (size_t i = 0; i < PK_COUNT(cases); i++) {
        fixture f;
        pk_value v;
        begin(&f, cases[i].text);
        assert_int_equal(pk_cursor_secret(&f.cursor, &v), cases[i].ok);
        if (!cases[i].ok)
            assert_string_equal(f.err.sqlstate, PK_E_UNDEFINED_PARAMETER);
        pk_arena_clear(&f.arena);
    }
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, reserved_words_are_those_of_postgres);
    PK_SUITE_TEST(&suite, several_words_are_accepted_only_together);
    PK_SUITE_TEST(&suite, the_end_of_input_is_behind_the_last_token);
    PK_SUITE_TEST(&suite, only_words_of_the_grammar_are_named);
    PK_SUITE_TEST(&suite, values_come_in_the_order_of_the_text);
    PK_SUITE_TEST(&suite, parameters_end_at_65535);
    return pk_suite_run(&suite, "cursor");
}
