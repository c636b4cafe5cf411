/*
 * The few words of the dialect that every file uses: ownership on one line (PK_AUTO), results that
 * must be looked at (PK_MUST_USE), and allocation for sizes we chose ourselves. Sizes that somebody
 * sent go through pk_buf or pk_arena, which have a ceiling and can say no.
 */
#ifndef PK_BASE_DEFS_H
#define PK_BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PK_MUST_USE          __attribute__((warn_unused_result))
#define PK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PK_COUNT(array)      (sizeof(array) / sizeof((array)[0]))

/*
 * PK_AUTO(pk_buf_clear) pk_buf b = ..: when b goes out of scope, pk_buf_clear(&b) runs. For
 * pointers use PK_AUTO_PTR(pk_secret_free) pk_secret *s: pk_secret_free(s) runs; a header that
 * declares `void x_free(x *)` writes PK_DEFINE_AUTO_PTR(x_free, x *) below it.
 */
#define PK_AUTO(clear)    __attribute__((cleanup(clear)))
#define PK_AUTO_PTR(free) __attribute__((cleanup(free##_at)))
#define PK_DEFINE_AUTO_PTR(free, type)                                                             \
    static inline void free##_at(__typeof__(type) *at)                                             \
    {                                                                                              \
        free(*at);                                                                                 \
    }

/* Hands the pointer on: the variable is NULL afterwards, so its cleanup does nothing. */
#define pk_steal(at)                                                                               \
    (__extension__({                                                                               \
        __typeof__(at) pk_at_ = (at);                                                              \
        __typeof__(*pk_at_) pk_value_ = *pk_at_;                                                   \
        *pk_at_ = NULL;                                                                            \
        pk_value_;                                                                                 \
    }))

/* Sizes we chose: ends the process when memory is gone. Zeroed. */
void *pk_new_bytes(size_t size) PK_MUST_USE;
#define pk_new(type) ((type *)pk_new_bytes(sizeof(type)))
char *pk_strdup(const char *text) PK_MUST_USE;
/* NULL is fine. */
void pk_free(void *block);
static inline void pk_free_at(void *at)
{
    pk_free(*(void **)at);
}

/* Overwrites and is not optimised away. */
void pk_wipe(void *bytes, size_t len);

#endif
