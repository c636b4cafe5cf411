/*
 * Where literals, quoted names, dollar quotes and comments lie, and a copy of the text in which
 * their contents are `x`: libpg_query leaves several copies of every literal it scans in the heap,
 * so it only ever sees the copy (DECISIONS 6). Words become `_` and digits `1` as well, because a
 * password without its quotes is a word. The copy has the same length, so its token offsets point
 * into the original. Pure; any thread.
 */
#ifndef PK_PARSER_MASK_H
#define PK_PARSER_MASK_H

#include "base/arena.h"

typedef enum pk_region_kind {
    PK_REGION_STRING,       /* 'x', and N'x' without its N */
    PK_REGION_ESCAPE,       /* E'x' */
    PK_REGION_UNICODE,      /* U&'x' */
    PK_REGION_BIT,          /* B'x', X'x' */
    PK_REGION_DOLLAR,       /* $t$x$t$ */
    PK_REGION_NAME,         /* "x" */
    PK_REGION_UNICODE_NAME, /* U&"x" */
    PK_REGION_LINE_COMMENT,
    PK_REGION_BLOCK_COMMENT,
} pk_region_kind;

typedef struct pk_region {
    pk_region_kind kind;
    size_t start, end; /* bytes, prefix and quotes included; end is one past */
    bool closed;       /* false: the text ends inside it */
} pk_region;

typedef struct pk_mask {
    char *text; /* as long as the original, NUL behind; in the arena */
    size_t len;
    pk_region *regions; /* in order, in the arena */
    size_t count;
    /* The first number with letters stuck to it or name without characters, which PostgreSQL's
     * lexer refuses; some harmless token in the copy. NULL if there is none. */
    const char *fault;
    size_t fault_at;
} pk_mask;

/* standard_conforming: whether '..\..' is plain (the session's setting). 54000 above the arena's
 * ceiling. An unclosed region is no error here: it is the last one. */
bool pk_mask_make(pk_span text, bool standard_conforming, pk_arena *arena, pk_mask *mask,
                  pk_error *err) PK_MUST_USE;

#endif
