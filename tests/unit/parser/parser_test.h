/*
 * What the parser's tests share: parsing in one call, and generated texts (fixed seeds, so that a
 * failure comes again).
 */
#ifndef PK_TESTS_PARSER_TEST_H
#define PK_TESTS_PARSER_TEST_H

#include "table.h"

#include "parser/lexer.h"
#include "parser/parse.h"

#define TEST_ARENA ((size_t)16 << 20)

/* Never equal to a valid answer, so that a field nobody filled is seen. */
typedef struct parsed {
    pk_arena arena;
    pk_script script;
    pk_error err;
    bool ok;
} parsed;

static inline void parsed_clear(parsed *p)
{
    pk_arena_clear(&p->arena);
}

static inline parsed parse_with(pk_span text, bool standard_conforming)
{
    parsed p = {.arena = PK_ARENA_MAX(TEST_ARENA)};
    pk_parse_options options = {standard_conforming};
    p.ok = pk_parse(text, &options, &p.arena, &p.script, &p.err);
    return p;
}

static inline parsed parse_text(const char *text)
{
    return parse_with(pk_span_of(text), true);
}

static inline void assert_span(pk_span span, const char *expected)
{
    if (!pk_span_equal(span, pk_span_of(expected))) {
        print_error("\"%.*s\" is not \"%s\"\n", PK_SPAN_ARG(span), expected);
        fail();
    }
}

/* xorshift64*; the state must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

/* Up to `pieces` pieces of the list in a row. Returns the length; `out` is NUL-terminated. */
static inline size_t random_text(uint64_t *state, const char *const *list, size_t list_len,
                                 size_t pieces, char *out, size_t size)
{
    size_t len = 0;
    for (size_t n = 1 + next_random(state) % pieces; n > 0; n--) {
        const char *piece = list[next_random(state) % list_len];
        size_t piece_len = strlen(piece);
        if (len + piece_len >= size)
            break;
        memcpy(out + len, piece, piece_len);
        len += piece_len;
    }
    out[len] = '\0';
    return len;
}

#endif
