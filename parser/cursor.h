/*
 * A place in a statement's tokens, for parsers that read like the grammar they parse: each step
 * either moves on or fills the error. Inside parser/ only.
 *
 * Every literal, bare value and parameter goes through pk_cursor_value, which appends it to the
 * statement's values: what is not there, redact.h takes for a word of the grammar.
 */
#ifndef PK_PARSER_CURSOR_H
#define PK_PARSER_CURSOR_H

#include "parser/lexer.h"
#include "parser/stmt.h"

typedef struct pk_cursor {
    const pk_tokens *tokens;
    size_t at, end; /* end is that of the statement */
    pk_arena *arena;
    pk_stmt *stmt;
    pk_error *err;
    /* Characters up to here are counted already: positions are asked for from front to back. */
    size_t counted;
    uint32_t position;
} pk_cursor;

/* The statement [start, end) of the same tokens; makes room for its values. */
bool pk_cursor_begin(pk_cursor *c, size_t start, size_t end, pk_stmt *stmt) PK_MUST_USE;

/* Does the statement go on with these words and symbols, written with blanks between them? */
bool pk_cursor_sees(const pk_cursor *c, const char *words);
/* Moves past them if so. */
bool pk_cursor_accept(pk_cursor *c, const char *words);
/* Moves past them; 42601 at the first that is not there. */
bool pk_cursor_expect(pk_cursor *c, const char *words) PK_MUST_USE;
bool pk_cursor_expect_end(pk_cursor *c) PK_MUST_USE;
/* 42601 at the token at hand, which is named only if it is a word of our grammar. False. */
bool pk_cursor_syntax_error(pk_cursor *c);
/* 0A000 at the statement's first token. False. */
bool pk_cursor_unsupported(pk_cursor *c, const char *what, const char *hint);

enum {
    PK_TAKE_STRING = 1,
    PK_TAKE_PARAM = 2,
    PK_TAKE_WORD = 4, /* bare, not reserved by PostgreSQL, or in double quotes */
    PK_TAKE_INT = 8,
};
/* The next token as a value; `takes` says which kinds may stand there. */
bool pk_cursor_value(pk_cursor *c, unsigned takes, pk_value_class class,
                     pk_value *value) PK_MUST_USE;

/* `strp` of the grammar as a place, `secret`, and `word` as a name. */
static inline bool pk_cursor_place(pk_cursor *c, pk_value *value)
{
    return pk_cursor_value(c, PK_TAKE_STRING | PK_TAKE_PARAM, PK_CLASS_PLACE, value);
}
bool pk_cursor_secret(pk_cursor *c, pk_value *value) PK_MUST_USE;
static inline bool pk_cursor_name(pk_cursor *c, pk_value *value)
{
    return pk_cursor_value(c, PK_TAKE_WORD, PK_CLASS_NAME, value);
}

/* Reserved in PostgreSQL 15 (kwlist.h): cannot name anything without quotes. */
bool pk_word_is_reserved(pk_span word) PK_MUST_USE;

#endif
