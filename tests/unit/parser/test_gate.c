/*
 * The gate's answers, row by row, and against the parser: for generated texts it must never say no
 * to what the parser calls ours.
 */
#include "parser_test.h"

#include "parser/gate.h"

static const struct row {
    const char *name, *text;
    bool maybe;
} rows[] = {
    {"nothing", "", false},
    {"blanks and semicolons", " ;; \n;", false},
    {"a query", "SELECT * FROM t WHERE a = 'BACKUP'", false},
    {"ordinary statements that begin like ours", "CREATE TABLE t (); DROP TABLE t; ALTER TABLE t",
     false},
    {"settings", "SET search_path = x; SHOW search_path", false},
    {"COMMIT, UPDATE, CHECKPOINT, USER", "COMMIT; UPDATE t SET a = 1; CHECKPOINT; USER", false},
    {"BACKUP", "BACKUP", true},
    {"any case", "bAcKuP x", true},
    {"blanks in front", " \t\r\n\f\vBACKUP INTO 'x'", true},
    {"comments in front", "-- a\n/* b /* c */ */BACKUP", true},
    {"line comment ends at a carriage return", "-- a\rBACKUP", true},
    {"unclosed comment in front", "/* BACKUP", false},
    {"comment that does not nest out", "/* /* */ BACKUP", false},
    {"semicolons in front", ";;BACKUP", true},
    {"the second statement", "SELECT 1; BACKUP INTO 'x'", true},
    {"directly behind the semicolon", "SELECT 1;BACKUP", true},
    {"behind a semicolon and a comment", "SELECT 1;--x\nBACKUP", true},
    {"a semicolon inside a literal is a false alarm", "SELECT ';BACKUP x'", true},
    {"an apostrophe in a comment hides nothing", "/* it's */ SELECT 1; BACKUP x", true},
    {"an unclosed comment in a literal hides nothing", "SELECT '/*'; BACKUP x", true},
    {"the same behind a semicolon", "SELECT ';/*'; BACKUP x", true},
    {"two dashes in a literal hide nothing", "SELECT ';--'; BACKUP x", true},
    {"a longer word", "BACKUPS", false},
    {"a word that goes on with a digit", "BACKUP1", false},
    {"a word that goes on with a dollar", "BACKUP$$", false},
    {"bytes above 0x7f may be blanks: behind a word", "BACKUP\xc3\xa9", true},
    {"between words", "ALTER\xc2\xa0SYSTEM\xe3\x80\x80 BACKUP", true},
    {"in front",
     "\xef\xbb\xbf"
     "BACKUP x",
     true},
    {"in front, among blanks and comments",
     " \xc2\xa0/* */\xe2\x80\x8b\n"
     "BACKUP x",
     true},
    {"behind a semicolon",
     "SELECT 1;\xa0"
     "BACKUP x",
     true},
    {"the ideographic blank of SJIS", "\x81@BACKUP x", true},
    {"the ideographic blank of EUC and GBK",
     "\xa1\xa1"
     "BACKUP x",
     true},
    {"in front of theirs", "\xef\xbb\xbfSELECT 1", false},
    {"a quote ends a word", "BACKUP'x'", true},
    {"quoted", "\"BACKUP\" INTO", false},
    {"second word", "ALTER SYSTEM BACKUP KEY", true},
    {"second word decides", "ALTER SYSTEMS BACKUP", false},
    {"comments between the words", "ALTER/**/SYSTEM--\nBACKUP", true},
    {"the third word is the parser's", "ALTER SYSTEM SET a = 1", true},
    {"SHOW of ours", "show backups", true},
    {"SHOW of a setting", "SHOW work_mem", false},
    {"EXPLAIN of theirs", "EXPLAIN ANALYZE SELECT 1", false},
    {"EXPLAIN of ours", "EXPLAIN ANALYZE VERBOSE BACKUP INTO 'x'", true},
    {"EXPLAIN with options is left to the parser", "EXPLAIN (COSTS) SELECT 1", true},
    {"EXPLAIN alone", "EXPLAIN", false},
    {"PREPARE is left to the parser", "PREPARE p AS SELECT 1", true},
    {"GO", "GO\nBACKUP INTO 'x'", true},
    {"SJIS: a quote never is the second byte", "SELECT '\x83\x5c'; BACKUP x", true},
};

static void answers(void **state)
{
    const struct row *row = *state;
    assert_int_equal(pk_gate_maybe_ours(pk_span_of(row->text)), row->maybe);
}

static char *repeated(const char *piece, size_t times, const char *behind)
{
    size_t len = strlen(piece);
    char *text = malloc(len * times + strlen(behind) + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * len, piece, len);
    size_t behind_len = strlen(behind);
    memcpy(text + len * times, behind, behind_len);
    text[len * times + behind_len] = '\0';
    return text;
}

static void comments_above_the_limit_are_forwarded(void **state)
{
    (void)state;
    char *near_limit = repeated("/*------*/", 6500, "BACKUP x");
    char *above = repeated("/*------*/", 6600, "BACKUP x");
    assert_true(pk_gate_maybe_ours(pk_span_of(near_limit)));
    assert_false(pk_gate_maybe_ours(pk_span_of(above)));
    free(near_limit);
    free(above);
}

static void blanks_have_no_limit(void **state)
{
    (void)state;
    char *text = repeated("        ", 100000, "BACKUP x");
    assert_true(pk_gate_maybe_ours(pk_span_of(text)));
    free(text);
}

/* Would take hours if each of the half million comments were walked to its end. */
static void comments_within_comments_do_not_add_up(void **state)
{
    (void)state;
    static const char *const pieces[] = {";/*", ";ALTER/*", ";EXPLAIN/*", "; ;/**/", ";EXPLAIN;"};
    size_t answered = 0;
    for (size_t i = 0; i < PK_COUNT(pieces); i++) {
        char *text = repeated(pieces[i], 500000, "");
        const bool either = pk_gate_maybe_ours(pk_span_of(text)); /* is right, at once */
        (void)either;
        answered++;
        free(text);
    }
    assert_int_equal(answered, PK_COUNT(pieces));
}

static const char *const pieces[] = {
    "BACKUP",
    "RESTORE ",
    "ALTER",
    "SYSTEM",
    "CREATE",
    "MASTER",
    "KEY",
    "CLOSE",
    "SHOW",
    "JOBS",
    "SET ",
    "ENCRYPTION",
    "ON",
    "EXPLAIN",
    "ANALYZE",
    "(",
    ")",
    "PREPARE",
    "p AS",
    "GO",
    "USE x",
    " ",
    " ",
    " ",
    " ",
    "\n",
    "\v",
    ";",
    ";",
    ";",
    "/*",
    "*/",
    "--",
    "'",
    "\"",
    "$$",
    "$a$",
    "\\",
    "\xc3\xa9",
    "\x83\x5c",
    "\x81\x30",
    "SELECT 1",
    "1",
    "1a",
    ".",
    "''",
    "E'",
    "U&'",
    "GRANT",
    "BEGIN ATOMIC",
    "END",
    "CASE",
    "CREATE F ",
    "DROP",
    "SCHEDULE",
    "OPEN",
    "USAGE ON EXTERNAL CONNECTION",
    "BACKUPS",
    "'x'",
    "VAULT KEY",
    "PGKEEP x",
    "/**/",
};

static void the_parser_finds_nothing_that_the_gate_lets_pass(void **state)
{
    (void)state;
    uint64_t seed = 6543;
    size_t ours = 0, passed = 0;
    for (int i = 0; i < 40000; i++) {
        char sql[256];
        size_t len = random_text(&seed, pieces, PK_COUNT(pieces), 10, sql, sizeof sql);
        bool maybe = pk_gate_maybe_ours(pk_span_bytes(sql, len));
        for (int conforming = 0; conforming < 2; conforming++) {
            parsed p = parse_with(pk_span_bytes(sql, len), conforming == 1);
            bool is_ours = !p.ok || p.script.kind != PK_SCRIPT_FOREIGN;
            if (is_ours && !maybe)
                fail_msg("passed: %s", sql);
            ours += is_ours;
            passed += !maybe;
            parsed_clear(&p);
        }
    }
    assert_true(ours > 1000 && passed > 1000);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, answers);
    PK_SUITE_TEST(&suite, comments_above_the_limit_are_forwarded);
    PK_SUITE_TEST(&suite, blanks_have_no_limit);
    PK_SUITE_TEST(&suite, comments_within_comments_do_not_add_up);
    PK_SUITE_TEST(&suite, the_parser_finds_nothing_that_the_gate_lets_pass);
    return pk_suite_run(&suite, "gate");
}
