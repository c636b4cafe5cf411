/*
 * Bytes that follow from a seed (xorshift32, Marsaglia 2003), printable: the stand-in server writes
 * them, the soak's clients know what must come.
 */
#ifndef PK_BENCH_BLOB_H
#define PK_BENCH_BLOB_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t blob_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline void blob_fill(char *to, size_t len, uint32_t seed)
{
    uint32_t state = seed * 2654435761u | 1u;
    for (size_t i = 0; i < len; i++)
        to[i] = (char)('!' + (blob_next(&state) >> 16) % 90);
}

#endif
