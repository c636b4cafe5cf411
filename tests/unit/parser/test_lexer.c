/*
 * Tokens as one line of text per row: kind letter and source. And what is told about lexical
 * errors: position, and that the tokens around them are still there.
 */
#include "parser_test.h"

static const struct row {
    const char *name, *text, *tokens;
    const char *message; /* of the lexical error, NULL if there is none */
    uint32_t position;
    bool backslashes;
} rows[] = {
    {"nothing", "", .tokens = ""},
    {"blanks and comments only", " -- a\n /* b */ ", .tokens = ""},
    {"words are words, keywords or not", "SELECT backup Master KEY",
     .tokens = "W:SELECT W:backup W:Master W:KEY"},
    {"a word of more than 63 bytes is not cut",
     "a123456789b123456789c123456789d123456789e123456789f123456789g123456789",
     .tokens = "W:a123456789b123456789c123456789d123456789e123456789f123456789g123456789"},
    {"integers of any length", "1 731204455108722691", .tokens = "I:1 I:731204455108722691"},
    {"other numbers", "1.5 1e5 B'01'", .tokens = "#:1.5 #:1e5 #:B'01'"},
    {"parameters", "$1 $22", .tokens = "P:$1 P:$22"},
    {"national string is one token", "N'a'", .tokens = "S:N'a'"},
    {"an N that does not touch is a word", "N 'a'", .tokens = "W:N S:'a'"},
    {"strings on one line are two tokens", "'a' 'b'", .tokens = "S:'a' S:'b'"},
    {"strings on two lines are one", "'a'\n'b'", .tokens = "S:'a'\n'b'"},
    {"Unicode string with its escape character", "U&'!0041' UESCAPE '!' x",
     .tokens = "S:U&'!0041' UESCAPE '!' W:x"},
    {"Unicode name keeps its end", "U&\"a\\0062\" = 1", .tokens = "N:U&\"a\\0062\" Y:= I:1"},
    {"UESCAPE behind a plain string stays a word", "'a' UESCAPE '!'",
     .tokens = "S:'a' W:UESCAPE S:'!'"},
    {"an operator glued to a question mark", "a =? b", .tokens = "W:a Y:=? W:b"},
    {"semicolons and brackets are symbols", "[a];", .tokens = "Y:[ W:a Y:] Y:;"},
    {"dollar quote", "$x$a;b$x$", .tokens = "S:$x$a;b$x$"},
    {"backslashes as the session reads them", "'a\\' b' c", .tokens = "S:'a\\' b' W:c",
     .backslashes = true},

    {"unclosed string", "a 'b", .tokens = "W:a", .message = "unterminated quoted string",
     .position = 3},
    {"unclosed second line of a string", "a 'b'\n'c", .tokens = "W:a",
     .message = "unterminated quoted string", .position = 3},
    {"unclosed name", "a \"b", .tokens = "W:a", .message = "unterminated quoted identifier",
     .position = 3},
    {"unclosed dollar quote", "a $x$ b $x", .tokens = "W:a",
     .message = "unterminated dollar-quoted string", .position = 3},
    {"unclosed comment", "a /* b /* */", .tokens = "W:a", .message = "unterminated /* comment",
     .position = 3},
    {"unclosed bit string", "a B'0", .tokens = "W:a", .message = "unterminated bit string literal",
     .position = 3},
    {"positions count characters", "\xc3\xa9\xe8\xb4\xa2 'b", .tokens = "W:\xc3\xa9\xe8\xb4\xa2",
     .message = "unterminated quoted string", .position = 4},
    {"letters behind a parameter; what follows is still seen", "a $1b c",
     .tokens = "W:a Y:$ #:1b W:c", .message = "trailing junk after parameter", .position = 3},
    {"letters behind a number; what follows is still seen", "a 1b; c", .tokens = "W:a #:1b Y:; W:c",
     .message = "trailing junk after number", .position = 3},
    {"a name without characters", "a \"\" b", .tokens = "W:a N:\"\" W:b",
     .message = "zero-length delimited identifier", .position = 3},
    {"the first of two errors is told", "\"\" 'b", .tokens = "N:\"\"",
     .message = "zero-length delimited identifier", .position = 1},
    {"Unicode string while backslashes escape", "a U&'b' c", .tokens = "W:a S:U&'b' W:c",
     .message = "unsafe use of string constant with Unicode escapes", .position = 3,
     .backslashes = true},
};

static void print_tokens(const pk_tokens *tokens, char *out, size_t size)
{
    static const char letters[] = {
        [PK_TOKEN_END] = '.',    [PK_TOKEN_WORD] = 'W',   [PK_TOKEN_NAME] = 'N',
        [PK_TOKEN_STRING] = 'S', [PK_TOKEN_INT] = 'I',    [PK_TOKEN_NUMBER] = '#',
        [PK_TOKEN_PARAM] = 'P',  [PK_TOKEN_SYMBOL] = 'Y',
    };
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < tokens->count && len < size; i++) {
        pk_span text = pk_token_text(tokens, i);
        len += (size_t)snprintf(out + len, size - len, "%s%c:%.*s", i == 0 ? "" : " ",
                                letters[tokens->list[i].kind], PK_SPAN_ARG(text));
    }
}

static void lexes(void **state)
{
    const struct row *row = *state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_tokens tokens;
    pk_error err;
    assert_true(pk_lex(pk_span_of(row->text), !row->backslashes, &arena, &tokens, &err));
    char printed[512];
    print_tokens(&tokens, printed, sizeof printed);
    assert_string_equal(printed, row->tokens);
    assert_int_equal(tokens.list[tokens.count].kind, PK_TOKEN_END);
    assert_string_equal(tokens.error.sqlstate, row->message == NULL ? "" : PK_E_SYNTAX);
    assert_string_equal(tokens.error.message, row->message == NULL ? "" : row->message);
    assert_int_equal(tokens.error.position, row->position);
    pk_arena_clear(&arena);
}

static void nothing_behind_a_nul_byte_is_read(void **state)
{
    (void)state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_tokens tokens;
    pk_error err;
    assert_true(pk_lex(pk_span_bytes("a\0'b", 4), true, &arena, &tokens, &err));
    assert_int_equal(tokens.count, 1);
    assert_string_equal(tokens.error.sqlstate, PK_E_SYNTAX);
    assert_int_equal(tokens.error.position, 2);
    pk_arena_clear(&arena);
}

static void a_text_above_the_arenas_ceiling_is_54000(void **state)
{
    (void)state;
    static const char text[] = "SELECT a, b, c FROM d WHERE e = 'f'";
    for (size_t ceiling = 0; ceiling < 4096; ceiling += 64) {
        pk_arena arena = PK_ARENA_MAX(ceiling);
        pk_tokens tokens;
        pk_error err = {0};
        if (!pk_lex(pk_span_of(text), true, &arena, &tokens, &err))
            assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
        else
            assert_true(ceiling > sizeof text);
        pk_arena_clear(&arena);
    }
}

static void words_and_symbols_are_compared_without_case(void **state)
{
    (void)state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_tokens tokens;
    pk_error err;
    assert_true(pk_lex(PK_SPAN("backUP \"backup\" 'backup' ="), true, &arena, &tokens, &err));
    assert_true(pk_token_is(&tokens, 0, "BACKUP"));
    assert_false(pk_token_is(&tokens, 0, "BACKUPS"));
    assert_false(pk_token_is(&tokens, 1, "\"backup\""));
    assert_false(pk_token_is(&tokens, 2, "'backup'"));
    assert_true(pk_token_is(&tokens, 3, "="));
    assert_false(pk_token_is(&tokens, 4, ""));
    pk_arena_clear(&arena);
}

static void positions_are_characters(void **state)
{
    (void)state;
    pk_span text = PK_SPAN("a\xc3\xa9\xf0\x9f\x94\x91z");
    assert_int_equal(pk_position(text, 0), 1);
    assert_int_equal(pk_position(text, 1), 2);
    assert_int_equal(pk_position(text, 3), 3);
    assert_int_equal(pk_position(text, 7), 4);
    assert_int_equal(pk_position(text, 8), 5);
    assert_int_equal(pk_position(text, 99), 5);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, lexes);
    PK_SUITE_TEST(&suite, nothing_behind_a_nul_byte_is_read);
    PK_SUITE_TEST(&suite, a_text_above_the_arenas_ceiling_is_54000);
    PK_SUITE_TEST(&suite, words_and_symbols_are_compared_without_case);
    PK_SUITE_TEST(&suite, positions_are_characters);
    return pk_suite_run(&suite, "lexer");
}
