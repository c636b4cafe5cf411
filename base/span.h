/*
 * Borrowed bytes: a pointer and a length, never NUL-terminated, never owned. Valid as long as what
 * it points into is.
 */
#ifndef PK_BASE_SPAN_H
#define PK_BASE_SPAN_H

#include "base/defs.h"

#include <string.h>

typedef struct pk_span {
    const char *ptr;
    size_t len;
} pk_span;

/* A span of a string literal. */
#define PK_SPAN(literal) ((pk_span){"" literal, sizeof(literal) - 1})
/* For "%.*s". */
#define PK_SPAN_ARG(span) (int)(span).len, (span).ptr

static inline pk_span pk_span_of(const char *text)
{
    return (pk_span){text, text == NULL ? 0 : strlen(text)};
}

static inline pk_span pk_span_bytes(const void *bytes, size_t len)
{
    return (pk_span){(const char *)bytes, len};
}

/* Bytes equal. Not for secrets. */
static inline bool pk_span_equal(pk_span a, pk_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Equal without regard to the case of A-Z; bytes above 0x7f are compared as they are. */
bool pk_span_equal_nocase(pk_span a, pk_span b);
bool pk_span_starts_with(pk_span text, pk_span prefix);

#endif
