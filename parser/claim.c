/*
 * The claims as a table of patterns, and the match against a statement's first tokens. Rows are
 * tried in order. Only unquoted words count: "BACKUP" INTO 'x' is PostgreSQL's business.
 *
 * Words that may stand in front of a statement of ours (EXPLAIN and the like) are walked over, as
 * often as they come, before the table is asked.
 */
#include "parser/claim.h"

static const pk_claim rows[] = {
#define PK_CLAIM(first, second, more, guard, parser, head)                                         \
    {#first, second, more, PK_GUARD_##guard, pk_parse_##parser, head},
#include "parser/claims.def"
};

typedef enum head_kind { HEAD_PLAIN, HEAD_EXPLAIN, HEAD_PREPARE, HEAD_BATCH } head_kind;

static const struct head {
    const char *word;
    head_kind kind;
} heads[] = {
#define PK_HEAD(first, kind) {#first, HEAD_##kind},
#include "parser/claims.def"
};

static const pk_claim wrappers[] = {
    [HEAD_EXPLAIN] = {"EXPLAIN", "", "", PK_GUARD_ANY, pk_parse_explain, "EXPLAIN"},
    [HEAD_PREPARE] = {"PREPARE", "", "", PK_GUARD_ANY, pk_parse_prepare, "PREPARE"},
    [HEAD_BATCH] = {"GO", "", "", PK_GUARD_ANY, pk_parse_batch, "GO or USE"},
};

const pk_claim *pk_claim_row(size_t i)
{
    return i < PK_COUNT(rows) ? &rows[i] : NULL;
}

static bool is_unquoted(const pk_tokens *tokens, size_t i, size_t end, const char *word)
{
    return i < end && tokens->list[i].kind == PK_TOKEN_WORD && pk_token_is(tokens, i, word);
}

static bool is_name(const pk_tokens *tokens, size_t i, size_t end)
{
    return i < end &&
           (tokens->list[i].kind == PK_TOKEN_WORD || tokens->list[i].kind == PK_TOKEN_NAME);
}

/* Moves *at past the words; they are separated by single blanks. */
static bool match_words(const pk_tokens *tokens, size_t *at, size_t end, const char *words)
{
    while (*words != '\0') {
        pk_span word = {words, strcspn(words, " ")};
        bool any = pk_span_equal(word, PK_SPAN("*"));
        if (any ? !is_name(tokens, *at, end)
                : *at >= end || tokens->list[*at].kind != PK_TOKEN_WORD ||
                      !pk_span_equal_nocase(pk_token_text(tokens, *at), word))
            return false;
        ++*at;
        words += word.len;
        words += *words == ' ';
    }
    return true;
}

static bool guard_holds(const pk_tokens *tokens, size_t at, size_t end, pk_claim_guard guard)
{
    bool more = at < end;
    switch (guard) {
    case PK_GUARD_ANY:
        return true;
    case PK_GUARD_NO_DOT:
        return !more || !pk_token_is(tokens, at, ".");
    case PK_GUARD_WORD:
        return more && tokens->list[at].kind == PK_TOKEN_WORD;
    case PK_GUARD_NOT_A_TABLE:
        break;
    }
    return !more || !(is_unquoted(tokens, at, end, "INTO") ||
                      is_unquoted(tokens, at, end, "FROM") || is_unquoted(tokens, at, end, "AS") ||
                      pk_token_is(tokens, at, ",") || pk_token_is(tokens, at, "."));
}

static bool fits(const pk_tokens *tokens, size_t start, size_t end, const pk_claim *claim)
{
    size_t at = start;
    return match_words(tokens, &at, end, claim->first) &&
           match_words(tokens, &at, end, claim->second) &&
           match_words(tokens, &at, end, claim->more) && guard_holds(tokens, at, end, claim->guard);
}

static const pk_claim *find_plain(const pk_tokens *tokens, size_t start, size_t end)
{
    for (size_t i = 0; i < PK_COUNT(rows); i++)
        if (fits(tokens, start, end, &rows[i]))
            return &rows[i];
    return NULL;
}

static head_kind kind_of_head(const pk_tokens *tokens, size_t i, size_t end)
{
    for (size_t h = 0; h < PK_COUNT(heads); h++)
        if (heads[h].kind != HEAD_PLAIN && is_unquoted(tokens, i, end, heads[h].word))
            return heads[h].kind;
    return HEAD_PLAIN;
}

/* One past the parenthesis that closes the one at `at`, or the end. */
static size_t skip_parentheses(const pk_tokens *tokens, size_t at, size_t end)
{
    size_t depth = 0;
    for (; at < end; at++) {
        if (pk_token_is(tokens, at, "("))
            depth++;
        else if (pk_token_is(tokens, at, ")") && --depth == 0)
            return at + 1;
    }
    return end;
}

/* EXPLAIN ( options ) | EXPLAIN [ANALYZE] [VERBOSE] */
static size_t skip_explain(const pk_tokens *tokens, size_t at, size_t end)
{
    at++;
    if (at < end && pk_token_is(tokens, at, "("))
        return skip_parentheses(tokens, at, end);
    while (is_unquoted(tokens, at, end, "ANALYZE") || is_unquoted(tokens, at, end, "ANALYSE") ||
           is_unquoted(tokens, at, end, "VERBOSE"))
        at++;
    return at;
}

/* PREPARE name [( types )] AS; `at` stays where it is if this is something else. */
static size_t skip_prepare(const pk_tokens *tokens, size_t at, size_t end)
{
    size_t next = at + 1;
    if (!is_name(tokens, next, end))
        return at;
    next++;
    if (next < end && pk_token_is(tokens, next, "("))
        next = skip_parentheses(tokens, next, end);
    return is_unquoted(tokens, next, end, "AS") ? next + 1 : at;
}

/* GO and USE begin no statement of PostgreSQL: whatever of ours follows, somewhere, is meant. */
static const pk_claim *find_in_batch(const pk_tokens *tokens, size_t start, size_t end)
{
    for (size_t at = start + 1; at < end; at++)
        if (find_plain(tokens, at, end) != NULL)
            return &wrappers[HEAD_BATCH];
    return NULL;
}

const pk_claim *pk_claim_find(const pk_tokens *tokens, size_t start, size_t end)
{
    const pk_claim *wrapper = NULL;
    size_t at = start;
    for (;;) {
        head_kind kind = kind_of_head(tokens, at, end);
        size_t next = kind == HEAD_EXPLAIN   ? skip_explain(tokens, at, end)
                      : kind == HEAD_PREPARE ? skip_prepare(tokens, at, end)
                                             : at;
        if (kind == HEAD_BATCH)
            return find_in_batch(tokens, at, end);
        if (next == at)
            break;
        if (wrapper == NULL)
            wrapper = &wrappers[kind];
        at = next;
    }
    const pk_claim *claim = find_plain(tokens, at, end);
    return claim == NULL || wrapper == NULL ? claim : wrapper;
}
