/*
 * Strings as a whole: whose they are, what they hold, what is refused. Each row's `kinds` are the
 * statements' kinds in order; the grammars have their own tests.
 */
#include "parser_test.h"

#include "parser/mask.h"

static const struct row {
    const char *name, *text;
    pk_script_kind kind;
    const char *kinds;    /* names with blanks between them */
    const char *sqlstate; /* NULL: accepted */
    uint32_t position;
    bool backslashes;
} rows[] = {
    {"nothing", "", .kind = PK_SCRIPT_FOREIGN, .kinds = ""},
    {"a query", "SELECT 1", .kind = PK_SCRIPT_FOREIGN, .kinds = "passthrough"},
    {"two of theirs", "SELECT 1; SELECT 2;", .kind = PK_SCRIPT_FOREIGN,
     .kinds = "passthrough passthrough"},
    {"one of ours", "CLOSE MASTER KEY;", .kind = PK_SCRIPT_OURS, .kinds = "dmk_close"},
    {"two of ours", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'; ; CLOSE MASTER KEY",
     .kind = PK_SCRIPT_OURS, .kinds = "dmk_open dmk_close"},
    {"a family without a grammar", "BACKUP INTO 'x'", .kind = PK_SCRIPT_OURS, .kinds = "unbuilt"},
    {"mixed", "SELECT 1; CLOSE MASTER KEY", .kind = PK_SCRIPT_MIXED,
     .kinds = "passthrough dmk_close"},
    {"mixed, and ours is malformed", "CLOSE MASTER KEY x; SELECT 1", .kind = PK_SCRIPT_MIXED,
     .kinds = "unbuilt passthrough"},
    {"a head inside parentheses", "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; BACKUP x)",
     .kind = PK_SCRIPT_MIXED, .kinds = "passthrough"},
    {"a head behind an unclosed parenthesis", "SELECT (1; BACKUP INTO 'x'", .kind = PK_SCRIPT_MIXED,
     .kinds = "passthrough"},
    {"a head in a function body", "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; OPEN MASTER KEY; END",
     .kind = PK_SCRIPT_MIXED, .kinds = "passthrough"},
    {"a function body of theirs", "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; SELECT 2; END",
     .kind = PK_SCRIPT_FOREIGN, .kinds = "passthrough"},

    {"a byte order mark in front",
     "\xef\xbb\xbf"
     "CLOSE MASTER KEY",
     .kind = PK_SCRIPT_OURS, .kinds = "dmk_close"},
    {"blanks of Unicode in front, between and behind",
     "\xc2\xa0 CLOSE\xe3\x80\x80MASTER\xe2\x80\x8bKEY\xe2\x80\xaf; SELECT 1",
     .kind = PK_SCRIPT_MIXED, .kinds = "dmk_close passthrough"},
    {"blanks of Unicode in names of theirs",
     "SELECT a\xc2\xa0"
     "b FROM \"\xef\xbb\xbf;CLOSE MASTER KEY\"",
     .kind = PK_SCRIPT_FOREIGN, .kinds = "passthrough"},

    {"malformed", "CLOSE MASTER KEY x", .kind = PK_SCRIPT_OURS, .sqlstate = "42601",
     .kinds = "unbuilt", .position = 18},
    {"the second is malformed; positions count the whole string",
     "CLOSE MASTER KEY; DROP MASTER KEY \xc3\xa9", .kind = PK_SCRIPT_OURS, .sqlstate = "42601",
     .kinds = "dmk_close unbuilt", .position = 35},
    {"lexical error in ours", "CLOSE MASTER KEY 'x", .kind = PK_SCRIPT_OURS, .sqlstate = "42601",
     .kinds = "unbuilt", .position = 18},
    {"lexical error in theirs beside ours", "CLOSE MASTER KEY; SELECT 'x", .kind = PK_SCRIPT_MIXED,
     .sqlstate = "42601", .kinds = "unbuilt passthrough", .position = 26},
    {"lexical error in front of ours", "SELECT 1abc; CLOSE MASTER KEY", .kind = PK_SCRIPT_MIXED,
     .sqlstate = "42601", .kinds = "passthrough unbuilt", .position = 8},
    {"lexical error without anything of ours", "SELECT 'x", .kind = PK_SCRIPT_FOREIGN,
     .kinds = "passthrough"},
    {"a head inside an unclosed string is no head", "SELECT '; BACKUP x", .kind = PK_SCRIPT_FOREIGN,
     .kinds = "passthrough"},
    {"EXPLAIN", "EXPLAIN BACKUP INTO 'x'", .kind = PK_SCRIPT_OURS, .sqlstate = "0A000",
     .kinds = "unbuilt"},
    {"PREPARE", "PREPARE p AS OPEN MASTER KEY", .kind = PK_SCRIPT_OURS, .sqlstate = "0A000",
     .kinds = "unbuilt"},
    {"GO", "GO BACKUP INTO 'x'", .kind = PK_SCRIPT_OURS, .sqlstate = "42601", .kinds = "unbuilt",
     .position = 1},
    {"USE", " USE db BACKUP INTO 'x'", .kind = PK_SCRIPT_OURS, .sqlstate = "42601",
     .kinds = "unbuilt", .position = 2},
    {"USE as a statement of its own", "USE db; CLOSE MASTER KEY", .kind = PK_SCRIPT_MIXED,
     .kinds = "passthrough dmk_close"},
    {"GRANT", "GRANT SYSTEM BACKUP TO x", .kind = PK_SCRIPT_OURS, .sqlstate = "0A000",
     .kinds = "unbuilt"},
    {"data backup of SQL Server", "BACKUP DATABASE a TO DISK = 'x'", .kind = PK_SCRIPT_OURS,
     .sqlstate = "0A000", .kinds = "unbuilt"},

    {"a quote behind a backslash, conforming", "SELECT 'a\\'; CLOSE MASTER KEY; --'",
     .kind = PK_SCRIPT_MIXED, .kinds = "passthrough dmk_close"},
    {"a quote behind a backslash, escaping", "SELECT 'a\\'; CLOSE MASTER KEY; --'",
     .kind = PK_SCRIPT_FOREIGN, .kinds = "passthrough", .backslashes = true},
    {"a backslash of ours, escaping", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'a\\b'",
     .kind = PK_SCRIPT_OURS, .sqlstate = "22023", .kinds = "unbuilt", .position = 42,
     .backslashes = true},
};

static void understands(void **state)
{
    const struct row *row = *state;
    parsed p = parse_with(pk_span_of(row->text), !row->backslashes);
    assert_string_equal(p.ok ? "" : p.err.sqlstate, row->sqlstate == NULL ? "" : row->sqlstate);
    assert_int_equal(p.script.kind, row->kind);
    char kinds[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < p.script.count; i++) {
        const pk_stmt *stmt = &p.script.stmts[i];
        len += (size_t)snprintf(kinds + len, sizeof kinds - len, "%s%s", i == 0 ? "" : " ",
                                pk_stmt_kind_name(stmt->kind));
        assert_non_null(stmt->tag);
        assert_true((stmt->head[0] == '\0') == (stmt->kind == PK_STMT_OTHER));
    }
    assert_string_equal(kinds, row->kinds);
    if (!p.ok)
        assert_int_equal(p.err.position, row->position);
    parsed_clear(&p);
}

static void a_statements_source_is_from_its_first_to_its_last_token(void **state)
{
    (void)state;
    parsed p = parse_text(" /* a */ CLOSE MASTER KEY -- b\n ; DROP MASTER  KEY ;");
    assert_true(p.ok);
    assert_int_equal(p.script.count, 2);
    assert_span(p.script.stmts[0].source, "CLOSE MASTER KEY");
    assert_span(p.script.stmts[1].source, "DROP MASTER  KEY");
    assert_string_equal(p.script.stmts[0].tag, "CLOSE MASTER KEY");
    parsed_clear(&p);
}

static void tags_are_those_of_the_statement(void **state)
{
    (void)state;
    static const struct {
        const char *text, *tag;
    } cases[] = {
        {"ALTER INSTANCE ROTATE INNODB MASTER KEY", "ALTER INSTANCE"},
        {"ADMINISTER KEY MANAGEMENT SET KEY IDENTIFIED BY 'x'", "ADMINISTER KEY MANAGEMENT"},
        {"ALTER SYSTEM BACKUP KEY TO 'x'", "ALTER SYSTEM"},
        {"SHOW MASTER KEYS", "SHOW"},
        {"BACKUP SERVICE MASTER KEY TO FILE = 'x' ENCRYPTION BY PASSWORD = 'y'",
         "BACKUP SERVICE MASTER KEY"},
    };
    for (size_t i = 0; i < PK_COUNT(cases); i++) {
        parsed p = parse_text(cases[i].text);
        assert_true(p.ok);
        assert_string_equal(p.script.stmts[0].tag, cases[i].tag);
        parsed_clear(&p);
    }
}

static void every_failed_allocation_is_54000_and_never_foreign(void **state)
{
    (void)state;
    static const char text[] =
        "ALTER SYSTEM BACKUP KEY TENANT Sales TO 'it''s' ENCRYPTED BY E'\\n'";
    size_t ceiling = 0;
    for (bool ok = false; !ok; ceiling += 16) {
        pk_arena arena = PK_ARENA_MAX(ceiling);
        pk_script script;
        pk_error err;
        ok = pk_parse(pk_span_of(text), &(pk_parse_options){true}, &arena, &script, &err);
        assert_int_equal(script.kind, PK_SCRIPT_OURS);
        if (!ok)
            assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
        pk_arena_clear(&arena);
    }
    assert_true(ceiling > 500);
}

/* Each within a second; quadratic behaviour would take minutes. */
static void long_strings_take_linear_time(void **state)
{
    (void)state;
    static const char *const pieces[] = {"(;EXPLAIN", "(;GO x",    "GO x ",
                                         "1a ",       "\"\" ",     "CLOSE MASTER KEY x;",
                                         "'a\n' ",    "EXPLAIN (", "BEGIN;"};
    enum { SIZE = 1 << 16 };
    static char text[SIZE + 32];
    for (size_t i = 0; i < PK_COUNT(pieces); i++) {
        size_t len = 0, piece = strlen(pieces[i]);
        for (; len + piece <= SIZE; len += piece)
            memcpy(text + len, pieces[i], piece);
        parsed p = parse_with(pk_span_bytes(text, len), true);
        assert_true(p.ok || p.err.sqlstate[0] != '\0');
        parsed_clear(&p);
    }
}

static const char *const canaries[] = {
    "ALTER SYSTEM BACKUP KEY TO 'CaNaRy' ENCRYPTED BY E'CaNaRy\\n'",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = CaNaRy",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = \"CaNaRy\"",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = $CaNaRy$CaNaRy$CaNaRy$",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = U&'CaNaRy' UESCAPE '!'",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'CaNaRy'\n'CaNaRy'",
    "OPEN MASTER KEY -- CaNaRy\n /* CaNaRy */ DECRYPTION BY PASSWORD = 1CaNaRy",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1CaNaRy",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'CaNaRy",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = @CaNaRy",
    "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x' CaNaRy",
    "BACKUP INTO 's3://b?AWS_SECRET_ACCESS_KEY=CaNaRy' WITH encryption_passphrase = 'CaNaRy'",
    "SELECT 1; OPEN MASTER KEY DECRYPTION BY PASSWORD = 'CaNaRy'",
    "GO OPEN MASTER KEY DECRYPTION BY PASSWORD = CaNaRy",
};

static void no_case_strstr(const char *text)
{
    assert_null(strcasestr(text, "canary"));
}

static void libpg_query_and_errors_never_see_a_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < PK_COUNT(canaries); i++) {
        pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
        pk_mask mask;
        pk_error err;
        for (int conforming = 0; conforming < 2; conforming++) {
            assert_true(
                pk_mask_make(pk_span_of(canaries[i]), conforming == 1, &arena, &mask, &err));
            no_case_strstr(mask.text);
            parsed p = parse_with(pk_span_of(canaries[i]), conforming == 1);
            if (!p.ok) {
                no_case_strstr(p.err.message);
                no_case_strstr(p.err.detail);
                no_case_strstr(p.err.hint);
            }
            parsed_clear(&p);
        }
        pk_arena_clear(&arena);
    }
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, understands);
    PK_SUITE_TEST(&suite, a_statements_source_is_from_its_first_to_its_last_token);
    PK_SUITE_TEST(&suite, tags_are_those_of_the_statement);
    PK_SUITE_TEST(&suite, every_failed_allocation_is_54000_and_never_foreign);
    PK_SUITE_TEST(&suite, long_strings_take_linear_time);
    PK_SUITE_TEST(&suite, libpg_query_and_errors_never_see_a_secret);
    return pk_suite_run(&suite, "parse");
}
