/*
 * The copy, row by row, and our idea of where tokens end against libpg_query's on the text itself,
 * for generated texts under both meanings of backslashes.
 */
#include "corpus.h"
#include "parser_test.h"
#include "scan_difference.h"

#include "parser/mask.h"

static const struct row {
    const char *name, *text, *copy;
    bool backslashes; /* standard_conforming_strings = off */
} rows[] = {
    {"empty text", "", .copy = ""},
    {"words become underscores", "BACKUP Into x1$", .copy = "______ ____ ___"},
    {"bytes above 0x7f belong to words", "\xc3\xa9 a\xff", .copy = "__ __"},
    {"digits become ones", "12 3.45 .5 6e-7 $89", .copy = "11 1.11 .1 1e-1 $11"},
    {"a range is two numbers", "1..25", .copy = "1..11"},
    {"marks stay", "=,();::<>[]{}\\", .copy = "=,();::<>[]{}\\"},
    {"plain string", "'secret'", .copy = "'xxxxxx'"},
    {"empty string", "''", .copy = "''"},
    {"doubled quotes", "'it''s'", .copy = "'xxxxx'"},
    {"a backslash is nothing special", "'a\\' b", .copy = "'xx' _"},
    {"a backslash escapes a quote when the session says so", "'a\\' b'", .copy = "'xxxxx'",
     .backslashes = true},
    {"escape string", "E'a\\'b\\\\'", .copy = "E'xxxxxx'"},
    {"escape string in lower case", "e'a''b'", .copy = "e'xxxx'"},
    {"escape string with a doubled quote behind an escape", "E'\\''''", .copy = "E'xxxx'"},
    {"national string: N is a word", "N'a'", .copy = "_'x'"},
    {"Unicode string", "U&'\\0441' UESCAPE '!'", .copy = "U&'xxxxx' _______ 'x'"},
    {"Unicode name", "U&\"d\\0061t\"", .copy = "U&\"xxxxxxx\""},
    {"u and & apart are a word and a mark", "u & 'a'", .copy = "_ & 'x'"},
    {"bit strings", "B'01' x'1F'", .copy = "B'xx' x'xx'"},
    {"bit strings double no quotes", "B'0''1'", .copy = "B'x''x'"},
    {"a letter at the end of a word is no prefix", "be'a'", .copy = "__'x'"},
    {"quoted name", "\"a\"\"b\"", .copy = "\"xxxx\""},
    {"dollar quote", "$$it's$$", .copy = "$$xxxx$$"},
    {"dollar quote with a tag", "$t1$a$$b$t1$", .copy = "$__$xxxx$__$"},
    {"another tag does not close", "$a$ $b$ $a$", .copy = "$_$xxxxx$_$"},
    {"a tag's own start inside", "$a$ $a $a$", .copy = "$_$xxxx$_$"},
    {"a dollar in a word starts no quote", "a$$b a$b$c", .copy = "____ _____"},
    {"a parameter is no tag", "$1$2", .copy = "$1$1"},
    {"two dollars behind a number are a quote", "1$$a$$", .copy = "1$$x$$"},
    {"string over two lines", "'a'\n 'b'", .copy = "'xxxxxx'"},
    {"string over lines with a comment between", "'a' -- c'c\n'b'", .copy = "'xxxxxxxxxxxx'"},
    {"two strings on one line stay two", "'a' 'b'", .copy = "'x' 'x'"},
    {"no continuation over a block comment", "'a' /*\n*/ 'b'", .copy = "'x' /*x*/ 'x'"},
    {"no continuation of a dollar quote", "$$a$$\n'b'", .copy = "$$x$$\n'x'"},
    {"line comment ends at a line feed", "a--b\nc", .copy = "_--x\n_"},
    {"line comment ends at a carriage return", "a--b\rc", .copy = "_--x\r_"},
    {"nested comment", "/*a/*b*/c*/d", .copy = "/*xxxxxxx*/_"},
    {"operator ends where a comment begins", "+/*a*/-", .copy = "+/*x*/-"},
    {"operator ends at two dashes", "=--a", .copy = "=--x"},
    {"blanks of Unicode",
     "a\xc2\xa0"
     "b\xe3\x80\x80\xef\xbb\xbf\xe2\x80\x8b"
     "c\xe2\x80\xaf",
     .copy = "_  _         _   "},
    {"almost blanks of Unicode", "\xc2\xa1\xe3\x80\x81\xe2\x80\x8c\xc2", .copy = "_________"},
    {"blanks of Unicode in a literal are not looked at", "'\xc2\xa0'", .copy = "'xx'"},
    {"vertical tab is a blank", "a\vb", .copy = "_ _"},
    {"unclosed string", "a 'b", .copy = "_ 'x"},
    {"unclosed comment", "/* /* */ a", .copy = "/*xxxxxxxx"},
    {"unclosed dollar quote", "$a$ b $a", .copy = "$_$xxxxx"},
    {"a number with letters is a word", "1abc d", .copy = "____ _"},
    {"a parameter with letters is a dollar and a word", "$1abc d", .copy = "$____ _"},
    {"a name without characters is marks", "a\"\"b", .copy = "_,,_"},
    {"a Unicode name without characters is a word and marks", "U&\"\"", .copy = "__,,"},
};

static void masks(void **state)
{
    const struct row *row = *state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_mask mask;
    pk_error err;
    pk_span text = pk_span_of(row->text);
    assert_true(pk_mask_make(text, !row->backslashes, &arena, &mask, &err));
    assert_int_equal(mask.len, text.len);
    assert_string_equal(mask.text, row->copy);
    for (size_t i = 0; i < mask.count; i++) {
        assert_true(mask.regions[i].start < mask.regions[i].end);
        assert_true(i == 0 || mask.regions[i].start >= mask.regions[i - 1].end);
        assert_true(mask.regions[i].closed || i == mask.count - 1);
    }
    pk_arena_clear(&arena);
}

static void too_large_for_the_arena_is_54000(void **state)
{
    (void)state;
    pk_arena arena = PK_ARENA_MAX(64);
    pk_mask mask;
    pk_error err;
    char text[200];
    memset(text, 'a', sizeof text);
    assert_false(pk_mask_make(pk_span_bytes(text, sizeof text), true, &arena, &mask, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    pk_arena_clear(&arena);
}

static void compare(const char *sql, bool conforming)
{
    const char *difference = scan_difference(sql, conforming);
    if (difference != NULL)
        fail_msg("%s: %s", difference, sql);
}

/* Every piece on which the lexer can turn. No \v: PostgreSQL 15 does not know it as a blank. */
static const char *const pieces[] = {
    "'",       "'",
    "''",      "\\",
    "\\'",     "E'",
    "e'",      "U&'",
    "u&\"",    "N'",
    "n'",      "B'",
    "X'",      "$$",
    "$$",      "$a$",
    "$a$",     "$\xc3\xa9$",
    "$",       "$1",
    "$12",     "--",
    "--",      "/*",
    "*/",      "/*",
    "*/",      "\n",
    "\n",      "\r",
    " ",       " ",
    "\t",      ";",
    "abc",     "a",
    "_",       "\xc3\xa9",
    "1",       "42",
    "1.5",     "1e",
    "1e5",     ".5",
    "..",      ".",
    "=",       "+",
    "-",       "@",
    "|",       "(",
    ")",       "[",
    "\"",      "\"a",
    "UESCAPE", " UESCAPE '!'",
    "x",       "*",
    "/",       "<",
    ">",       "::",
    ":",       ":=",
    "=>",      "`",
    "?",       "#",
    "BACK",    "SET",
    "'a'",     "'a'\n",
    "\f",      "0",
    "E",       "u&",
    "U",       "\\u00e4",
    "\\n",     "%",
    "\"a\"",   "&",
    "!",       "~",
    "^",       "{",
    "N",       "$b$",
};

static void agrees_with_libpg_query(void **state)
{
    bool conforming = *state == NULL;
    uint64_t seed = conforming ? 20240501 : 715517;
    char sql[256];
    for (int i = 0; i < 30000; i++) {
        (void)random_text(&seed, pieces, PK_COUNT(pieces), 14, sql, sizeof sql);
        compare(sql, conforming);
    }
}

static void the_corpora_have_libpg_querys_tokens(void **state)
{
    (void)state;
    static const char *const files[] = {"accept.sql", "reject.sql"};
    for (size_t f = 0; f < PK_COUNT(files); f++) {
        const corpus *c = corpus_load(PK_CORPUS, files[f]);
        assert_true(c->count > 80);
        for (size_t i = 0; i < c->count; i++) {
            compare(c->entries[i].sql, true);
            compare(c->entries[i].sql, false);
        }
    }
}

/* Letters that stay: prefixes of literals and the e of an exponent, one at a time. */
static void the_copy_holds_no_words(void **state)
{
    (void)state;
    uint64_t seed = 99;
    for (int i = 0; i < 20000; i++) {
        char sql[256];
        size_t len = random_text(&seed, pieces, PK_COUNT(pieces), 14, sql, sizeof sql);
        pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
        pk_mask mask;
        pk_error err;
        assert_true(pk_mask_make(pk_span_bytes(sql, len), true, &arena, &mask, &err));
        for (size_t at = 0; at < mask.len; at++) {
            char c = mask.text[at];
            bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            assert_true(!letter || strchr("xeEbBXuU", c) != NULL);
            assert_true((unsigned char)c < 0x80 && (c < '2' || c > '9') && c != '0');
        }
        pk_arena_clear(&arena);
    }
}

int main(void)
{
    static pk_suite suite;
    static const int off = 1;
    PK_SUITE_ROWS(&suite, rows, masks);
    PK_SUITE_TEST(&suite, too_large_for_the_arena_is_54000);
    PK_SUITE_TEST(&suite, the_corpora_have_libpg_querys_tokens);
    PK_SUITE_TEST(&suite, the_copy_holds_no_words);
    pk_suite_add(&suite, "generated texts have libpg_query's tokens", agrees_with_libpg_query,
                 NULL);
    pk_suite_add(&suite, "generated texts have libpg_query's tokens, backslashes escaping",
                 agrees_with_libpg_query, &off);
    return pk_suite_run(&suite, "mask");
}
