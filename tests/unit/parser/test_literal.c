/*
 * What literals, names and words stand for (values as PostgreSQL 15 reads them), and which are
 * refused.
 */
#include "parser_test.h"

static const struct row {
    const char *name, *text;
    const char *value, *sqlstate;
    bool backslashes;
} rows[] = {
    {"word is folded", "BackUp", .value = "backup"},
    {"only A to Z are folded",
     "\xc3\x9c"
     "B",
     .value = "\xc3\x9c"
              "b"},
    {"quoted name keeps its case", "\"Card Key\"", .value = "Card Key"},
    {"doubled quote in a name", "\"a\"\"b\"", .value = "a\"b"},
    {"plain string", "'abc'", .value = "abc"},
    {"empty string", "''", .value = ""},
    {"doubled quote", "'it''s'", .value = "it's"},
    {"backslash is a character", "'a\\b'", .value = "a\\b"},
    {"national string", "N'P\xc3\xa4ss'", .value = "P\xc3\xa4ss"},
    {"national string in lower case", "n'a''b'", .value = "a'b"},
    {"string over lines", "'a'\n  'b'\n'c'", .value = "abc"},
    {"string over lines with a comment", "'a' -- it's\n -- more\n 'b'", .value = "ab"},
    {"escape string over lines", "E'a\\n'\n'b\\t'", .value = "a\nb\t"},
    {"dollar quote", "$$it's \\$$", .value = "it's \\"},
    {"dollar quote with a tag", "$a_1$x$$y$a_1$", .value = "x$$y"},
    {"empty dollar quote", "$$$$", .value = ""},
    {"simple escapes", "E'\\b\\f\\n\\r\\t'", .value = "\b\f\n\r\t"},
    {"other escaped characters are themselves", "E'\\a\\\\\\'\\v\\q'", .value = "a\\'vq"},
    {"octal escapes", "E'\\101\\60\\7'", .value = "A0\a"},
    {"hexadecimal escapes", "E'\\x41\\x4a\\xA'", .value = "AJ\n"},
    {"x without digits is an x", "E'\\xg'", .value = "xg"},
    {"bytes by escapes that make UTF-8", "E'\\xc3\\xa9'", .value = "\xc3\xa9"},
    {"code points", "E'\\u00e9\\U0001F511'", .value = "\xc3\xa9\xf0\x9f\x94\x91"},
    {"surrogate pair", "E'\\ud83d\\udd11'", .value = "\xf0\x9f\x94\x91"},
    {"Unicode string", "U&'d\\0061t\\+000061'", .value = "data"},
    {"Unicode string: doubled escape", "U&'a\\\\b'", .value = "a\\b"},
    {"Unicode string: surrogate pair", "U&'\\D83D\\DD11'", .value = "\xf0\x9f\x94\x91"},
    {"Unicode string: own escape character", "U&'d!0061t\\' UESCAPE '!'", .value = "dat\\"},
    {"Unicode string: UESCAPE on the next line", "U&'!0041'\nUESCAPE -- c\n'!'", .value = "A"},
    {"Unicode string over lines", "U&'\\0041'\n'\\0042'", .value = "AB"},
    {"Unicode name", "U&\"\\0441l\"\"x\"", .value = "\xd1\x81l\"x"},
    {"escape string when backslashes escape", "E'a\\\\b'", .value = "a\\b", .backslashes = true},
    {"plain string without backslash when they escape", "'a''b'", .value = "a'b",
     .backslashes = true},
    {"dollar quote when backslashes escape", "$$a\\b$$", .value = "a\\b", .backslashes = true},

    {"plain string with backslash when they escape", "'a\\b'", .sqlstate = "22023",
     .backslashes = true},
    {"national string with backslash when they escape", "N'a\\b'", .sqlstate = "22023",
     .backslashes = true},
    {"code point cut short", "E'\\u00e'", .sqlstate = "42601"},
    {"long code point cut short", "E'\\U0001F51'", .sqlstate = "42601"},
    {"code point zero", "E'\\u0000'", .sqlstate = "42601"},
    {"code point too large", "E'\\U00110000'", .sqlstate = "42601"},
    {"first half alone", "E'\\ud83d'", .sqlstate = "42601"},
    {"first half in front of a character", "E'\\ud83dx'", .sqlstate = "42601"},
    {"second half alone", "E'\\udd11'", .sqlstate = "42601"},
    {"byte zero", "E'a\\000'", .sqlstate = "42601"},
    {"bytes by escapes that make no UTF-8", "E'\\xff'", .sqlstate = "42601"},
    {"overlong UTF-8 by escapes", "E'\\xc0\\x80'", .sqlstate = "42601"},
    {"surrogate in UTF-8 by escapes", "E'\\xed\\xa0\\x80'", .sqlstate = "42601"},
    {"Unicode string: bad escape", "U&'\\00g0'", .sqlstate = "42601"},
    {"Unicode string: escape at the end", "U&'a\\'", .sqlstate = "42601"},
    {"UESCAPE with a digit", "U&'a' UESCAPE '1'", .sqlstate = "42601"},
    {"UESCAPE with a quote", "U&'a' UESCAPE ''''", .sqlstate = "42601"},
    {"UESCAPE with two characters", "U&'a' UESCAPE '!!'", .sqlstate = "42601"},
};

static void decodes(void **state)
{
    const struct row *row = *state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_tokens tokens;
    pk_error err = {0};
    pk_span value = {0};
    assert_true(pk_lex(pk_span_of(row->text), !row->backslashes, &arena, &tokens, &err));
    assert_int_equal(tokens.count, 1);
    bool ok = pk_token_value(&tokens, 0, &arena, &value, &err);
    assert_string_equal(err.sqlstate, row->sqlstate == NULL ? "" : row->sqlstate);
    assert_int_equal(ok, row->sqlstate == NULL);
    if (ok)
        assert_span(value, row->value);
    else
        assert_int_equal(err.position, 1);
    pk_arena_clear(&arena);
}

static void a_value_without_escapes_is_a_span_of_the_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"'secret'", "$$secret$$", "\"secret\"",
                                        "secret",   "E'secret'",  "N'secret'"};
    for (size_t i = 0; i < PK_COUNT(texts); i++) {
        pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
        pk_tokens tokens;
        pk_error err;
        pk_span value;
        pk_span text = pk_span_of(texts[i]);
        assert_true(pk_lex(text, true, &arena, &tokens, &err));
        assert_true(pk_token_value(&tokens, 0, &arena, &value, &err));
        assert_true(value.ptr >= text.ptr && value.ptr + value.len <= text.ptr + text.len);
        pk_arena_clear(&arena);
    }
}

static void no_arena_left_is_54000(void **state)
{
    (void)state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_arena empty = PK_ARENA_MAX(0);
    pk_tokens tokens;
    pk_error err;
    pk_span value;
    assert_true(pk_lex(PK_SPAN("'a''b' Word"), true, &arena, &tokens, &err));
    assert_false(pk_token_value(&tokens, 0, &empty, &value, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_false(pk_token_value(&tokens, 1, &empty, &value, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    pk_arena_clear(&arena);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, decodes);
    PK_SUITE_TEST(&suite, a_value_without_escapes_is_a_span_of_the_text);
    PK_SUITE_TEST(&suite, no_arena_left_is_54000);
    return pk_suite_run(&suite, "literal");
}
