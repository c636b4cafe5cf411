/*
 * The only file that knows libpg_query. It is given the masked copy; each of its tokens is matched
 * with the region that begins at the same byte, because the region's end is right where the token's
 * is not (U&'': fact L3), and because the copy's words say nothing.
 *
 * Three pairs become one token: N and 'x'; U&'x', UESCAPE and 'c' (PostgreSQL's grammar does the
 * same in base_yylex); and whatever goes on over several lines, which the mask joined already.
 *
 * Lexical errors do not end the list if what follows can still be told apart: a password behind a
 * misspelt number must not be forwarded any more than one in front of it.
 */
#include "parser/lexer.h"

#include "parser/scan.h"

#include <limits.h>
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

/* libpg_query counts in int, and its result is several times as long as the text. */
#define LEX_MAX ((size_t)INT_MAX / 16)

typedef struct builder {
    pk_tokens *tokens;
    const pk_mask *mask;
    size_t region; /* the first that does not lie in front of the token at hand */
} builder;

static void note_error(pk_tokens *tokens, size_t at, const char *message)
{
    uint32_t position = pk_position(tokens->text, at);
    if (tokens->error.sqlstate[0] != '\0' && tokens->error.position <= position)
        return;
    pk_fail(&tokens->error, PK_E_SYNTAX, "%s", message);
    pk_error_at(&tokens->error, position);
}

static const pk_region *region_at(builder *b, size_t start)
{
    while (b->region < b->mask->count && b->mask->regions[b->region].start < start)
        b->region++;
    if (b->region == b->mask->count || b->mask->regions[b->region].start != start)
        return NULL;
    return &b->mask->regions[b->region];
}

static bool digits_only(pk_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!pk_char_is_digit(text.ptr[i]))
            return false;
    return true;
}

static pk_token_kind region_token_kind(pk_region_kind kind)
{
    switch (kind) {
    case PK_REGION_STRING:
    case PK_REGION_ESCAPE:
    case PK_REGION_UNICODE:
    case PK_REGION_DOLLAR:
        return PK_TOKEN_STRING;
    case PK_REGION_NAME:
    case PK_REGION_UNICODE_NAME:
        return PK_TOKEN_NAME;
    case PK_REGION_BIT:
        return PK_TOKEN_NUMBER; /* bits: no value of characters */
    case PK_REGION_LINE_COMMENT:
    case PK_REGION_BLOCK_COMMENT:
        break;
    }
    return PK_TOKEN_END; /* a comment: no token */
}

static pk_token_kind plain_token_kind(pk_span token)
{
    char first = token.ptr[0];
    if (pk_char_is_word_start(first))
        return PK_TOKEN_WORD;
    if (first == '$' && token.len > 1)
        return PK_TOKEN_PARAM;
    if (digits_only(token))
        return PK_TOKEN_INT;
    bool fraction = first == '.' && token.len > 1 && pk_char_is_digit(token.ptr[1]);
    return pk_char_is_digit(first) || fraction ? PK_TOKEN_NUMBER : PK_TOKEN_SYMBOL;
}

/* N'x': the last token is the word N, and the string touches it. */
static bool joins_national(const pk_tokens *tokens, const pk_token *string, pk_region_kind kind)
{
    if (kind != PK_REGION_STRING || tokens->count == 0)
        return false;
    const pk_token *n = &tokens->list[tokens->count - 1];
    return n->kind == PK_TOKEN_WORD && n->end == string->start && n->end - n->start == 1 &&
           (tokens->text.ptr[n->start] == 'N' || tokens->text.ptr[n->start] == 'n');
}

/* U&'x' UESCAPE 'c': the last token is the word UESCAPE, the one in front of it U&.. */
static bool joins_uescape(const pk_tokens *tokens)
{
    if (tokens->count < 2 || !pk_token_is(tokens, tokens->count - 1, "UESCAPE"))
        return false;
    const pk_token *unicode = &tokens->list[tokens->count - 2];
    const char *text = tokens->text.ptr + unicode->start;
    return (unicode->kind == PK_TOKEN_STRING || unicode->kind == PK_TOKEN_NAME) &&
           unicode->end - unicode->start > 2 && (text[0] == 'u' || text[0] == 'U') &&
           text[1] == '&';
}

static void add_token(builder *b, size_t start, size_t end)
{
    pk_tokens *tokens = b->tokens;
    if (tokens->count > 0 && start < tokens->list[tokens->count - 1].end)
        return; /* the copy has two marks for a name without characters */
    pk_token token = {PK_TOKEN_SYMBOL, start, end};
    const pk_region *region = region_at(b, start);
    if (region == NULL) {
        token.kind = plain_token_kind(pk_span_bytes(tokens->text.ptr + start, end - start));
    } else {
        token.kind = region_token_kind(region->kind);
        token.end = region->end;
        if (token.kind == PK_TOKEN_END)
            return;
        size_t joined = joins_national(tokens, &token, region->kind)             ? 1
                        : token.kind == PK_TOKEN_STRING && joins_uescape(tokens) ? 2
                                                                                 : 0;
        if (joined > 0) {
            tokens->count -= joined;
            pk_token *first = &tokens->list[tokens->count];
            token.start = first->start;
            token.kind = joined == 2 ? first->kind : PK_TOKEN_STRING;
        }
    }
    tokens->list[tokens->count++] = token;
}

static bool take_tokens(builder *b, const PgQueryScanResult *scan, pk_arena *arena, pk_error *err)
{
    const uint8_t *data = (const uint8_t *)scan->pbuf.data;
    PgQuery__ScanResult *result = pg_query__scan_result__unpack(NULL, scan->pbuf.len, data);
    if (result == NULL)
        return pk_fail(err, PK_E_MEMORY, "out of memory");
    pk_tokens *tokens = b->tokens;
    tokens->list = pk_arena_array(arena, result->n_tokens + 1, sizeof *tokens->list, err);
    bool ok = tokens->list != NULL;
    for (size_t i = 0; ok && i < result->n_tokens; i++) {
        const PgQuery__ScanToken *token = result->tokens[i];
        add_token(b, (size_t)token->start, (size_t)token->end);
    }
    pg_query__scan_result__free_unpacked(result, NULL);
    return ok;
}

/* Scans the copy's first `len` bytes. An error that the mask did not foresee shortens them; it lies
 * further in front each time, so this ends. */
static bool scan_copy(builder *b, size_t len, pk_arena *arena, pk_error *err)
{
    for (;;) {
        b->mask->text[len] = '\0';
        PgQueryScanResult scan = pg_query_scan(b->mask->text);
        if (scan.error == NULL) {
            bool ok = take_tokens(b, &scan, arena, err);
            pg_query_free_scan_result(scan);
            return ok;
        }
        size_t at = scan.error->cursorpos > 0 ? (size_t)scan.error->cursorpos - 1 : 0;
        pg_query_free_scan_result(scan);
        len = at < len ? at : len - 1;
        note_error(b->tokens, len, "syntax error");
    }
}

static const char *unclosed_message(pk_region_kind kind)
{
    switch (kind) {
    case PK_REGION_NAME:
    case PK_REGION_UNICODE_NAME:
        return "unterminated quoted identifier";
    case PK_REGION_DOLLAR:
        return "unterminated dollar-quoted string";
    case PK_REGION_BIT:
        return "unterminated bit string literal";
    case PK_REGION_BLOCK_COMMENT:
        return "unterminated /* comment";
    case PK_REGION_STRING:
    case PK_REGION_ESCAPE:
    case PK_REGION_UNICODE:
    case PK_REGION_LINE_COMMENT:
        break;
    }
    return "unterminated quoted string";
}

/* What the mask knows already. Returns how much of the copy libpg_query can scan. */
static size_t note_mask_errors(pk_tokens *tokens, const pk_mask *mask)
{
    if (mask->fault != NULL)
        note_error(tokens, mask->fault_at, mask->fault);
    size_t len = mask->len;
    for (size_t i = 0; i < mask->count; i++) {
        const pk_region *region = &mask->regions[i];
        if (!region->closed) {
            note_error(tokens, region->start, unclosed_message(region->kind));
            len = region->start;
        } else if (region->kind == PK_REGION_UNICODE && !tokens->standard_conforming) {
            /* PostgreSQL refuses them too: old servers would read the backslashes differently. */
            note_error(tokens, region->start, "unsafe use of string constant with Unicode escapes");
        }
    }
    return len;
}

bool pk_lex(pk_span text, bool standard_conforming, pk_arena *arena, pk_tokens *tokens,
            pk_error *err)
{
    *tokens = (pk_tokens){.text = text, .standard_conforming = standard_conforming};
    if (text.len > LEX_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "statement is longer than %zu bytes", LEX_MAX);

    /* The protocol's strings hold no NUL; if one does, nothing behind it is read. */
    const char *nul = text.len == 0 ? NULL : memchr(text.ptr, '\0', text.len);
    pk_span readable = {text.ptr, nul == NULL ? text.len : (size_t)(nul - text.ptr)};
    pk_mask mask;
    if (!pk_mask_make(readable, standard_conforming, arena, &mask, err))
        return false;
    if (nul != NULL)
        note_error(tokens, readable.len, "invalid byte 0x00 in statement");

    builder b = {.tokens = tokens, .mask = &mask};
    if (!scan_copy(&b, note_mask_errors(tokens, &mask), arena, err))
        return false;
    tokens->list[tokens->count] = (pk_token){PK_TOKEN_END, text.len, text.len};
    return true;
}

bool pk_token_is(const pk_tokens *tokens, size_t i, const char *word_or_symbol)
{
    const pk_token *token = &tokens->list[i];
    if (token->kind != PK_TOKEN_WORD && token->kind != PK_TOKEN_SYMBOL)
        return false;
    return pk_span_equal_nocase(pk_token_text(tokens, i), pk_span_of(word_or_symbol));
}

uint32_t pk_position(pk_span text, size_t offset)
{
    uint32_t position = 1;
    for (size_t i = 0; i < offset && i < text.len; i++)
        if (((unsigned char)text.ptr[i] & 0xc0) != 0x80)
            position++;
    return position;
}
