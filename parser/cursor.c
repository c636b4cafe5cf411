/*
 * The cursor's steps, and what a syntax error may say. A token of the client is named in a message
 * only if it is one of our grammar's words or marks: anything else could be a password that lost
 * its quotes (DECISIONS 11a).
 */
#include "parser/cursor.h"

#include "parser/claim.h"
#include "parser/scan.h"

/* clang-format off */
static const char *const reserved[] = {
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case",
    "cast", "check", "collate", "column", "constraint", "create", "current_catalog", "current_date",
    "current_role", "current_time", "current_timestamp", "current_user", "default", "deferrable",
    "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "from",
    "grant", "group", "having", "in", "initially", "intersect", "into", "lateral", "leading",
    "limit", "localtime", "localtimestamp", "not", "null", "offset", "on", "only", "or", "order",
    "placing", "primary", "references", "returning", "select", "session_user", "some", "symmetric",
    "table", "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic",
    "when", "where", "window", "with",
};

/* The grammar's words (sql-surface 4 and 5) that no row of claims.def holds, and its marks. */
static const char *const vocabulary[] = {
    "TENANT", "TO", "BY", "ENCRYPTED", "IDENTIFIED", "ROTATE", "INNODB", "MANAGEMENT", "UNTIL",
    "TIME", "SCN", "WITH", "DESCRIPTION", "ONLY", "FORCE", "PASSWORD", "FILE", "URL", "FROM",
    "REGENERATE", "ADD", "DROP", "DISK", "TAPE", "OLD_ACCOUNT", "OLD_PASSWORD", "NEW_ACCOUNT",
    "NEW_PASSWORD", "SLOT", "REKEY", "RECOVERY", "CODE", "ENV", "CREDENTIAL", "INTO", "IN", "AS", "USE", "GO", "EXPLAIN", "PREPARE", "=", ",", "(", ")", ".",
};
/* clang-format on */

bool pk_word_is_reserved(pk_span word)
{
    for (size_t i = 0; i < PK_COUNT(reserved); i++)
        if (pk_span_equal_nocase(word, pk_span_of(reserved[i])))
            return true;
    return false;
}

bool pk_cursor_begin(pk_cursor *c, size_t start, size_t end, pk_stmt *stmt)
{
    c->at = start;
    c->end = end;
    c->stmt = stmt;
    stmt->value_count = 0;
    stmt->values = pk_arena_array(c->arena, end - start, sizeof *stmt->values, c->err);
    return stmt->values != NULL;
}

/* The next of several words; *words moves on. */
static pk_span next_word(const char **words)
{
    pk_span word = {*words, strcspn(*words, " ")};
    *words += word.len;
    *words += **words == ' ';
    return word;
}

static bool token_is(const pk_cursor *c, size_t at, pk_span word)
{
    if (at >= c->end)
        return false;
    pk_token_kind kind = c->tokens->list[at].kind;
    return (kind == PK_TOKEN_WORD || kind == PK_TOKEN_SYMBOL) &&
           pk_span_equal_nocase(pk_token_text(c->tokens, at), word);
}

bool pk_cursor_sees(const pk_cursor *c, const char *words)
{
    for (size_t at = c->at; *words != '\0'; at++)
        if (!token_is(c, at, next_word(&words)))
            return false;
    return true;
}

bool pk_cursor_accept(pk_cursor *c, const char *words)
{
    if (!pk_cursor_sees(c, words))
        return false;
    while (*words != '\0') {
        (void)next_word(&words);
        c->at++;
    }
    return true;
}

bool pk_cursor_expect(pk_cursor *c, const char *words)
{
    while (*words != '\0') {
        pk_span word = next_word(&words);
        if (!token_is(c, c->at, word)) {
            pk_cursor_syntax_error(c);
            if (pk_span_equal(word, PK_SPAN("=")) && c->err != NULL && c->err->hint[0] == '\0')
                pk_error_hint(c->err, "Write \"=\" in front of the value.");
            return false;
        }
        c->at++;
    }
    return true;
}

bool pk_cursor_expect_end(pk_cursor *c)
{
    return c->at == c->end || pk_cursor_syntax_error(c);
}

/* Characters in front of a byte, plus one. Starts anew when it has to go back. */
static uint32_t position_of(pk_cursor *c, size_t offset)
{
    if (offset < c->counted || c->position == 0) {
        c->counted = 0;
        c->position = 1;
    }
    pk_span rest = {c->tokens->text.ptr + c->counted, offset - c->counted};
    c->position += pk_position(rest, rest.len) - 1;
    c->counted = offset;
    return c->position;
}

static bool words_hold(const char *words, pk_span word)
{
    while (*words != '\0')
        if (pk_span_equal_nocase(next_word(&words), word))
            return true;
    return false;
}

static bool is_our_word(pk_span word)
{
    for (size_t i = 0; i < PK_COUNT(vocabulary); i++)
        if (pk_span_equal_nocase(word, pk_span_of(vocabulary[i])))
            return true;
    const pk_claim *row = NULL;
    for (size_t i = 0; (row = pk_claim_row(i)) != NULL; i++)
        if (words_hold(row->first, word) || words_hold(row->second, word) ||
            words_hold(row->more, word) || words_hold(row->head, word))
            return true;
    return false;
}

static bool span_holds(pk_span text, char c)
{
    return memchr(text.ptr, c, text.len) != NULL;
}

/* What people write who come from another system (fact L9). */
static void hint_foreign_syntax(pk_error *err, pk_token_kind kind, pk_span token)
{
    if (kind == PK_TOKEN_WORD && pk_span_equal_nocase(token, PK_SPAN("GO")))
        pk_error_hint(err, "GO is a command of Microsoft's tools, not of SQL: leave it out.");
    if (kind != PK_TOKEN_SYMBOL)
        return;
    if (span_holds(token, '`') || span_holds(token, '['))
        pk_error_hint(err, "Write names that need quotes in double quotes.");
    else if (span_holds(token, '@') || span_holds(token, '?'))
        pk_error_hint(err, "Parameters are written $1, $2 and so on.");
}

bool pk_cursor_syntax_error(pk_cursor *c)
{
    if (c->at >= c->end) {
        pk_fail(c->err, PK_E_SYNTAX, "syntax error at end of input");
        size_t behind = c->end == 0 ? 0 : c->tokens->list[c->end - 1].end;
        return pk_error_at(c->err, position_of(c, behind));
    }
    const pk_token *token = &c->tokens->list[c->at];
    pk_span text = pk_token_text(c->tokens, c->at);
    bool shown =
        (token->kind == PK_TOKEN_WORD || token->kind == PK_TOKEN_SYMBOL) && is_our_word(text);
    if (shown)
        pk_fail(c->err, PK_E_SYNTAX, "syntax error at or near \"%.*s\"", PK_SPAN_ARG(text));
    else
        pk_fail(c->err, PK_E_SYNTAX, "syntax error at or near '...'");
    hint_foreign_syntax(c->err, token->kind, text);
    return pk_error_at(c->err, position_of(c, token->start));
}

bool pk_cursor_unsupported(pk_cursor *c, const char *what, const char *hint)
{
    pk_fail(c->err, PK_E_UNSUPPORTED, "%s", what);
    pk_error_hint(c->err, "%s", hint);
    return false;
}

/* What may stand at the cursor as a value; 0 if nothing of it. */
static unsigned kind_of_value(const pk_cursor *c)
{
    if (c->at >= c->end)
        return 0;
    switch (c->tokens->list[c->at].kind) {
    case PK_TOKEN_STRING:
        return PK_TAKE_STRING;
    case PK_TOKEN_PARAM:
        return PK_TAKE_PARAM;
    case PK_TOKEN_NAME:
        return PK_TAKE_WORD;
    case PK_TOKEN_WORD:
        return pk_word_is_reserved(pk_token_text(c->tokens, c->at)) ? 0 : PK_TAKE_WORD;
    case PK_TOKEN_INT:
        return PK_TAKE_INT;
    case PK_TOKEN_END:
    case PK_TOKEN_NUMBER:
    case PK_TOKEN_SYMBOL:
        break;
    }
    return 0;
}

static bool value_error(pk_cursor *c, unsigned takes, pk_value_class class)
{
    pk_cursor_syntax_error(c);
    if (c->at >= c->end || c->err == NULL || c->err->hint[0] != '\0')
        return false;
    pk_token_kind kind = c->tokens->list[c->at].kind;
    if (kind == PK_TOKEN_NAME && (takes & PK_TAKE_STRING) != 0)
        pk_error_hint(c->err, "Double quotes are for names; write this in single quotes.");
    else if (kind != PK_TOKEN_SYMBOL && class == PK_CLASS_PASSWORD)
        pk_error_hint(c->err, "Write the password in single quotes or as a parameter.");
    else if (kind == PK_TOKEN_WORD && class == PK_CLASS_PLACE)
        pk_error_hint(c->err, "Write the place in single quotes or as a parameter.");
    else if (kind == PK_TOKEN_STRING && takes == PK_TAKE_WORD)
        pk_error_hint(c->err, "Write the name without quotes or in double quotes.");
    return false;
}

/* PostgreSQL's parameters are numbered from 1 to 65535. */
static bool parameter_number(pk_cursor *c, pk_value *value)
{
    uint32_t n = 0;
    for (size_t i = 1; i < value->source.len && n <= UINT16_MAX; i++)
        n = n * 10 + (uint32_t)(value->source.ptr[i] - '0');
    value->param = n;
    if (n >= 1 && n <= UINT16_MAX)
        return true;
    pk_fail(c->err, PK_E_UNDEFINED_PARAMETER, "parameters are numbered from 1 to %d", UINT16_MAX);
    return pk_error_at(c->err, value->position);
}

bool pk_cursor_value(pk_cursor *c, unsigned takes, pk_value_class class, pk_value *value)
{
    unsigned kind = kind_of_value(c) & takes;
    if (kind == 0)
        return value_error(c, takes, class);
    *value = (pk_value){.kind = kind == PK_TAKE_PARAM  ? PK_VALUE_PARAM
                                : kind == PK_TAKE_WORD ? PK_VALUE_WORD
                                                       : PK_VALUE_STRING,
                        .class = class,
                        .source = pk_token_text(c->tokens, c->at),
                        .position = position_of(c, c->tokens->list[c->at].start)};
    bool ok = true;
    if (kind == PK_TAKE_PARAM)
        ok = parameter_number(c, value);
    else if (kind == PK_TAKE_INT)
        value->text = value->source;
    else
        ok = pk_token_value(c->tokens, c->at, c->arena, &value->text, c->err);
    if (!ok)
        return false;
    c->stmt->values[c->stmt->value_count++] = *value;
    c->at++;
    return true;
}

/* secret = string | param | 'FROM' ( 'FILE' | 'ENV' | 'CREDENTIAL' ) string; of the last form only
 * that it is one. */
bool pk_cursor_secret(pk_cursor *c, pk_value *value)
{
    if (!pk_cursor_sees(c, "FROM FILE") && !pk_cursor_sees(c, "FROM ENV") &&
        !pk_cursor_sees(c, "FROM CREDENTIAL"))
        return pk_cursor_value(c, PK_TAKE_STRING | PK_TAKE_PARAM, PK_CLASS_PASSWORD, value);
    pk_cursor_unsupported(c, "secrets from files, variables and credentials are not supported",
                          "Write the password in single quotes or as a parameter.");
    return pk_error_at(c->err, position_of(c, c->tokens->list[c->at].start));
}
