/*
 * Memory of one statement: taken piece by piece, freed at once, wiped always, because a statement
 * may hold a password. Has a ceiling. One thread at a time; moves with its owner.
 */
#ifndef PK_BASE_ARENA_H
#define PK_BASE_ARENA_H

#include "base/error.h"
#include "base/span.h"

typedef struct pk_arena_chunk pk_arena_chunk;
typedef struct pk_arena {
    pk_arena_chunk *chunks;
    size_t used; /* bytes handed out so far */
    size_t max;  /* ceiling */
} pk_arena;

#define PK_ARENA_MAX(ceiling) ((pk_arena){.max = (ceiling)})

/* Wipes and frees everything. The arena is empty and may be used again. */
void pk_arena_clear(pk_arena *arena);

/* Zeroed, aligned for any type; NULL with 54000 above the ceiling, 53200 without memory. */
void *pk_arena_alloc(pk_arena *arena, size_t size, pk_error *err) PK_MUST_USE;
void *pk_arena_array(pk_arena *arena, size_t count, size_t size, pk_error *err) PK_MUST_USE;
#define pk_arena_new(arena, type, err) ((type *)pk_arena_alloc((arena), sizeof(type), (err)))
/* Copies, with a NUL behind. */
char *pk_arena_strndup(pk_arena *arena, const char *text, size_t len, pk_error *err) PK_MUST_USE;
char *pk_arena_strdup(pk_arena *arena, const char *text, pk_error *err) PK_MUST_USE;
char *pk_arena_printf(pk_arena *arena, pk_error *err, const char *format, ...)
    PK_PRINTF(3, 4) PK_MUST_USE;

#endif
