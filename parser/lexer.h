/*
 * PostgreSQL's own tokens, by libpg_query over the masked copy, with offsets into the original; and
 * the decoding of literals, which is ours (sql-surface 1, facts L1 to L11). The only file that
 * knows libpg_query is lexer.c. Pure but for libpg_query's thread-local state; any thread.
 */
#ifndef PK_PARSER_LEXER_H
#define PK_PARSER_LEXER_H

#include "parser/mask.h"

typedef enum pk_token_kind {
    PK_TOKEN_END,    /* behind the last one */
    PK_TOKEN_WORD,   /* unquoted identifier or keyword */
    PK_TOKEN_NAME,   /* "quoted", U&"quoted" */
    PK_TOKEN_STRING, /* every form of string that has a value of characters */
    PK_TOKEN_INT,    /* digits only, of any length */
    PK_TOKEN_NUMBER, /* any other number, and B'' and X'' */
    PK_TOKEN_PARAM,  /* $n */
    PK_TOKEN_SYMBOL, /* one operator or punctuation token, e.g. "=" "," "(" ";" */
} pk_token_kind;

typedef struct pk_token {
    pk_token_kind kind;
    size_t start, end; /* bytes of the original; end is one past */
} pk_token;

typedef struct pk_tokens {
    pk_span text; /* the original, borrowed */
    bool standard_conforming;
    pk_token *list; /* comments left out; ends with PK_TOKEN_END; in the arena */
    size_t count;   /* without the END */
    /* A lexical error, if there is one: the tokens in front of it are in the list, so it can still
     * be told whose statement it is, and those behind it unless a quote or comment never ends.
     * `error` is 42601 with its position; sqlstate "" if none. */
    pk_error error;
} pk_tokens;

/* False only for 54000 and 53200. */
bool pk_lex(pk_span text, bool standard_conforming, pk_arena *arena, pk_tokens *tokens,
            pk_error *err) PK_MUST_USE;

static inline pk_span pk_token_text(const pk_tokens *tokens, size_t i)
{
    const pk_token *t = &tokens->list[i];
    return (pk_span){tokens->text.ptr + t->start, t->end - t->start};
}
/* Is token i the unquoted word (any case), or the symbol? */
bool pk_token_is(const pk_tokens *tokens, size_t i, const char *word_or_symbol);
/* 1-based position in characters (UTF-8) of a byte offset, for ErrorResponse's P. */
uint32_t pk_position(pk_span text, size_t offset);

/* The value of a STRING, NAME or WORD token: quotes and escapes undone, words folded (A-Z only).
 * Points into the original where nothing had to be undone, else into the arena. 42601 for a bad
 * escape; 22023 for a backslash in a plain string while standard_conforming_strings is off (L11).
 */
bool pk_token_value(const pk_tokens *tokens, size_t i, pk_arena *arena, pk_span *value,
                    pk_error *err) PK_MUST_USE;

/* Statement boundaries: statement k is tokens [starts[k], ends[k]), without its semicolon; empty
 * ones are left out. Knows parentheses and BEGIN ATOMIC .. END (fact L2). */
typedef struct pk_split {
    size_t *starts, *ends; /* in the arena */
    size_t count;
} pk_split;
bool pk_split_statements(const pk_tokens *tokens, pk_arena *arena, pk_split *split,
                         pk_error *err) PK_MUST_USE;

#endif
