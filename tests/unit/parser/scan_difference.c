/*
 * libpg_query scans the whole text here, literals included, which the product never lets it do. Its
 * tokens are joined as PostgreSQL's grammar joins them, the slow and obvious way.
 */
#include "scan_difference.h"

#include "parser/lexer.h"
#include "parser/scan.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <string.h>
#include <strings.h>

#define ARENA_MAX ((size_t)16 << 20)

/* libpg_query's copy of the server variable, thread-local and in no header of its. */
extern __thread bool standard_conforming_strings;

/* What libpg_query makes of the text itself, in our kinds. */
static pk_token_kind kind_of(const PgQuery__ScanToken *token, pk_span text)
{
    const char *at = text.ptr + token->start;
    switch ((int)token->token) {
    case PG_QUERY__TOKEN__SQL_COMMENT:
    case PG_QUERY__TOKEN__C_COMMENT:
        return PK_TOKEN_END;
    case PG_QUERY__TOKEN__IDENT:
        return *at == '"' ? PK_TOKEN_NAME : PK_TOKEN_WORD;
    case PG_QUERY__TOKEN__UIDENT:
        return PK_TOKEN_NAME;
    case PG_QUERY__TOKEN__SCONST:
    case PG_QUERY__TOKEN__USCONST:
        return PK_TOKEN_STRING;
    case PG_QUERY__TOKEN__BCONST:
    case PG_QUERY__TOKEN__XCONST:
        return PK_TOKEN_NUMBER;
    case PG_QUERY__TOKEN__PARAM:
        return PK_TOKEN_PARAM;
    case PG_QUERY__TOKEN__ICONST:
    case PG_QUERY__TOKEN__FCONST:
        for (int i = token->start; i < token->end; i++, at++)
            if (*at < '0' || *at > '9')
                return PK_TOKEN_NUMBER;
        return PK_TOKEN_INT;
    default:
        return token->keyword_kind != PG_QUERY__KEYWORD_KIND__NO_KEYWORD ? PK_TOKEN_WORD
                                                                         : PK_TOKEN_SYMBOL;
    }
}

static bool is_unicode(pk_span text, size_t start)
{
    return start + 1 < text.len && (text.ptr[start] | 0x20) == 'u' && text.ptr[start + 1] == '&';
}

/* The same joining as in lexer.c, done the slow way; returns the number of tokens. */
static size_t reference(const PgQuery__ScanResult *scan, pk_span text, pk_token *list)
{
    size_t count = 0;
    for (size_t i = 0; i < scan->n_tokens; i++) {
        const PgQuery__ScanToken *t = scan->tokens[i];
        pk_token token = {kind_of(t, text), (size_t)t->start, (size_t)t->end};
        if (token.kind == PK_TOKEN_END)
            continue;
        bool national = i > 0 && scan->tokens[i - 1]->token == PG_QUERY__TOKEN__NCHAR &&
                        scan->tokens[i - 1]->end == t->start && t->end - t->start >= 2 &&
                        scan->tokens[i - 1]->end - scan->tokens[i - 1]->start == 1 &&
                        text.ptr[t->start] == '\'';
        if (national) {
            list[count - 1].end = token.end;
            list[count - 1].kind = PK_TOKEN_STRING;
            continue;
        }
        list[count++] = token;
        bool uescape =
            count >= 3 && token.kind == PK_TOKEN_STRING && list[count - 2].kind == PK_TOKEN_WORD &&
            list[count - 2].end - list[count - 2].start == 7 &&
            strncasecmp(text.ptr + list[count - 2].start, "uescape", 7) == 0 &&
            list[count - 3].kind != PK_TOKEN_WORD && is_unicode(text, list[count - 3].start);
        if (uescape) {
            count -= 2;
            list[count - 1].end = token.end;
        }
    }
    return count;
}

static bool about_escapes(const char *message)
{
    static const char *const parts[] = {"Unicode escape",    "surrogate",         "byte sequence",
                                        "unsafe use of \\'", "Unicode character", "escape string"};
    for (size_t i = 0; i < PK_COUNT(parts); i++)
        if (strstr(message, parts[i]) != NULL)
            return true;
    return false;
}

static const char *compare_lists(const pk_tokens *ours, const pk_token *list, size_t count,
                                 pk_span text)
{
    if (ours->error.sqlstate[0] != '\0')
        return "we see a lexical error, libpg_query does not";
    if (ours->count != count)
        return "the number of tokens differs";
    for (size_t i = 0; i < count; i++) {
        if (ours->list[i].kind != list[i].kind)
            return "the kind of a token differs";
        if (ours->list[i].start != list[i].start)
            return "the start of a token differs";
        /* Fact L3: their ends of U&.. are wrong. */
        if (!is_unicode(text, list[i].start) && ours->list[i].end != list[i].end)
            return "the end of a token differs";
        if (ours->list[i].end > ours->list[i + 1].start)
            return "tokens overlap";
    }
    return NULL;
}

static const char *compare_tokens(const pk_tokens *ours, const PgQueryScanResult *theirs,
                                  pk_span text)
{
    PgQuery__ScanResult *scan =
        pg_query__scan_result__unpack(NULL, theirs->pbuf.len, (const uint8_t *)theirs->pbuf.data);
    pk_token list[SCAN_DIFFERENCE_MAX + 1];
    if (scan == NULL)
        return "libpg_query's answer cannot be read";
    const char *difference = compare_lists(ours, list, reference(scan, text, list), text);
    pg_query__scan_result__free_unpacked(scan, NULL);
    return difference;
}

static const char *compare_errors(const pk_tokens *ours, const PgQueryScanResult *theirs)
{
    if (about_escapes(theirs->error->message))
        return NULL;
    if (strcmp(ours->error.sqlstate, PK_E_SYNTAX) != 0)
        return "libpg_query sees a lexical error, we do not";
    if (ours->error.position != (uint32_t)theirs->error->cursorpos)
        return "the position of the lexical error differs";
    return NULL;
}

/* libpg_query reports comments as tokens, and therefore does not see that a string goes on behind a
 * comment and a line break, as PostgreSQL does. test_mask has a row for that. */
static bool continues_over_comment(pk_span text, bool conforming, pk_arena *arena)
{
    pk_mask mask;
    pk_error err;
    if (!pk_mask_make(text, conforming, arena, &mask, &err))
        return true;
    for (size_t i = 0; i < mask.count; i++) {
        const pk_region *r = &mask.regions[i];
        bool string = r->kind == PK_REGION_STRING || r->kind == PK_REGION_ESCAPE ||
                      r->kind == PK_REGION_UNICODE || r->kind == PK_REGION_BIT;
        if (string && memmem(text.ptr + r->start, r->end - r->start, "--", 2) != NULL)
            return true;
    }
    return false;
}

/* Letters to PostgreSQL, blanks to us (scan.h). */
static bool has_wide_blank(pk_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (pk_scan_wide_blank(text, i) > 0)
            return true;
    return false;
}

const char *scan_difference(const char *sql, bool conforming)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(ARENA_MAX);
    pk_span text = pk_span_bytes(sql, strlen(sql));
    pk_tokens ours;
    pk_error err;
    if (text.len > SCAN_DIFFERENCE_MAX || has_wide_blank(text) ||
        continues_over_comment(text, conforming, &arena))
        return NULL;
    if (!pk_lex(text, conforming, &arena, &ours, &err))
        return "we cannot read it";

    bool saved = standard_conforming_strings;
    standard_conforming_strings = conforming;
    PgQueryScanResult theirs = pg_query_scan(sql);
    standard_conforming_strings = saved;
    const char *difference = theirs.error == NULL ? compare_tokens(&ours, &theirs, text)
                                                  : compare_errors(&ours, &theirs);
    pg_query_free_scan_result(theirs);
    return difference;
}
