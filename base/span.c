/*
 * The two comparisons of spans that are too long for a header. Case is folded for A-Z only and by
 * hand, because tolower() depends on the locale and keywords do not.
 */
#include "base/span.h"

static char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c;
}

bool pk_span_equal_nocase(pk_span a, pk_span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (fold(a.ptr[i]) != fold(b.ptr[i]))
            return false;
    return true;
}

bool pk_span_starts_with(pk_span text, pk_span prefix)
{
    return text.len >= prefix.len && pk_span_equal((pk_span){text.ptr, prefix.len}, prefix);
}
