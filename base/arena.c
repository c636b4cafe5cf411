/*
 * A list of chunks, newest first. Small requests are cut from the first chunk; a request that would
 * waste much of a chunk gets one of its own, put behind the first so that its room stays in use. A
 * chunk comes zeroed and is handed out once, which makes every piece zeroed.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK ((size_t)8192)
#define LARGE ((size_t)2048)
#define ALIGN _Alignof(max_align_t)

struct pk_arena_chunk {
    pk_arena_chunk *next;
    size_t size, used;
    _Alignas(max_align_t) char bytes[];
};

void pk_arena_clear(pk_arena *arena)
{
    pk_arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        pk_arena_chunk *next = chunk->next;
        pk_wipe(chunk->bytes, chunk->size);
        free(chunk);
        chunk = next;
    }
    *arena = PK_ARENA_MAX(arena->max);
}

static pk_arena_chunk *add_chunk(pk_arena *arena, size_t rounded, pk_error *err)
{
    bool own = rounded > LARGE;
    size_t size = own ? rounded : CHUNK;
    size_t whole = 0;
    pk_arena_chunk *chunk = NULL;
    if (!__builtin_add_overflow(sizeof *chunk, size, &whole))
        chunk = calloc(1, whole);
    if (chunk == NULL) {
        pk_fail(err, PK_E_MEMORY, "out of memory");
        return NULL;
    }
    chunk->size = size;
    pk_arena_chunk **place = own && arena->chunks != NULL ? &arena->chunks->next : &arena->chunks;
    chunk->next = *place;
    *place = chunk;
    return chunk;
}

static void *cut(pk_arena *arena, pk_arena_chunk *chunk, size_t size)
{
    char *piece = chunk->bytes + chunk->used;
    chunk->used += size;
    arena->used += size;
    return piece;
}

void *pk_arena_alloc(pk_arena *arena, size_t size, pk_error *err)
{
    size_t rounded = 0;
    if (__builtin_add_overflow(size == 0 ? 1 : size, ALIGN - 1, &rounded))
        rounded = SIZE_MAX;
    rounded -= rounded % ALIGN;
    if (rounded > arena->max - arena->used) {
        pk_fail(err, PK_E_TOO_LONG, "statement needs more than %zu bytes of memory", arena->max);
        return NULL;
    }
    pk_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < rounded)
        chunk = add_chunk(arena, rounded, err);
    return chunk == NULL ? NULL : cut(arena, chunk, rounded);
}

void *pk_arena_array(pk_arena *arena, size_t count, size_t size, pk_error *err)
{
    size_t whole = 0;
    if (__builtin_mul_overflow(count, size, &whole))
        whole = SIZE_MAX;
    return pk_arena_alloc(arena, whole, err);
}

char *pk_arena_strndup(pk_arena *arena, const char *text, size_t len, pk_error *err)
{
    char *copy = pk_arena_alloc(arena, len == SIZE_MAX ? len : len + 1, err);
    if (copy != NULL && len > 0)
        memcpy(copy, text, len);
    return copy;
}

char *pk_arena_strdup(pk_arena *arena, const char *text, pk_error *err)
{
    return pk_arena_strndup(arena, text, strlen(text), err);
}

char *pk_arena_printf(pk_arena *arena, pk_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        pk_fail(err, PK_E_INTERNAL, "could not format text");
        return NULL;
    }
    char *text = pk_arena_alloc(arena, (size_t)len + 1, err);
    if (text == NULL)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}
