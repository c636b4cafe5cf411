/*
 * Whose statement it is, by its first tokens (claims.def). Inside parser/ only. Pure.
 */
#ifndef PK_PARSER_CLAIM_H
#define PK_PARSER_CLAIM_H

#include "parser/cursor.h"

typedef enum pk_claim_guard {
    PK_GUARD_ANY,
    PK_GUARD_NO_DOT,
    PK_GUARD_WORD,
    PK_GUARD_NOT_A_TABLE,
} pk_claim_guard;

typedef struct pk_claim {
    const char *first, *second, *more; /* words with blanks between them; "" for none */
    pk_claim_guard guard;
    bool (*parse)(pk_cursor *c);
    const char *head;
} pk_claim;

/* The claim on the statement of tokens [start, end), or NULL: not ours. */
const pk_claim *pk_claim_find(const pk_tokens *tokens, size_t start, size_t end) PK_MUST_USE;
/* Row i of the table, NULL behind the last. For tests and for the vocabulary of error messages. */
const pk_claim *pk_claim_row(size_t i) PK_MUST_USE;

/* Every parser that the table names is a function of this shape. */
#define PK_CLAIM(first, second, more, guard, parser, head) bool pk_parse_##parser(pk_cursor *c);
#include "parser/claims.def"

/* What stands in front of a statement of ours, and makes it one that we refuse. */
bool pk_parse_explain(pk_cursor *c);
bool pk_parse_prepare(pk_cursor *c);
bool pk_parse_batch(pk_cursor *c);

#endif
