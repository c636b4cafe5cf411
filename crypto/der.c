/*
 * Why not OpenSSL's templates: they accept BER (indefinite lengths, lengths in any form,
 * constructed strings) and build objects from foreign bytes before anybody has looked at limits.
 * Here an element is a pair of bounds; nothing is copied and nothing allocated.
 */
#include "crypto/der.h"

/* A length at the front of `bytes`: its value and how many bytes it takes. The shortest form only.
 */
static bool read_length(pk_span bytes, size_t *value, size_t *taken)
{
    const uint8_t *in = (const uint8_t *)bytes.ptr;
    if (bytes.len == 0)
        return false;
    if (in[0] < 0x80) {
        *value = in[0];
        *taken = 1;
        return true;
    }
    size_t count = in[0] & 0x7fu;
    if (count == 0 || count > 4 || bytes.len < 1 + count || in[1] == 0)
        return false; /* indefinite, absurd, cut off, or with a leading zero */
    *value = 0;
    for (size_t i = 1; i <= count; i++)
        *value = (*value << 8) | in[i];
    *taken = 1 + count;
    return *value >= 0x80;
}

/* The next element; steps over it only on success. */
static bool next(pk_der *at, uint8_t tag, pk_span *content)
{
    size_t len = 0;
    size_t head = 0;
    if (at->rest.len < 2 || (uint8_t)at->rest.ptr[0] != tag)
        return false;
    pk_span after_tag = {at->rest.ptr + 1, at->rest.len - 1};
    if (!read_length(after_tag, &len, &head) || len > after_tag.len - head)
        return false;
    *content = (pk_span){after_tag.ptr + head, len};
    at->rest = (pk_span){content->ptr + len, after_tag.len - head - len};
    return true;
}

bool pk_der_peek(const pk_der *at, uint8_t *tag)
{
    if (at->rest.len == 0)
        return false;
    *tag = (uint8_t)at->rest.ptr[0];
    return true;
}

bool pk_der_bytes(pk_der *at, uint8_t tag, size_t min, size_t max, pk_span *content)
{
    pk_der ahead = *at;
    if (!next(&ahead, tag, content) || content->len < min || content->len > max)
        return false;
    *at = ahead;
    return true;
}

bool pk_der_enter(pk_der *at, uint8_t tag, pk_der *inside)
{
    pk_span content;
    if (at->depth == PK_DER_DEPTH || !next(at, tag, &content))
        return false;
    *inside = (pk_der){content, at->depth + 1};
    return true;
}

bool pk_der_uint(pk_der *at, uint32_t *value)
{
    pk_span content;
    pk_der ahead = *at;
    if (!pk_der_bytes(&ahead, PK_DER_INTEGER, 1, 5, &content))
        return false;
    const uint8_t *in = (const uint8_t *)content.ptr;
    bool padded = content.len > 1 && in[0] == 0 && in[1] < 0x80;
    if (in[0] >= 0x80 || padded || (content.len == 5 && in[0] != 0))
        return false;
    *value = 0;
    for (size_t i = 0; i < content.len; i++)
        *value = (*value << 8) | in[i];
    *at = ahead;
    return true;
}

bool pk_der_uint_is(pk_der *at, uint32_t value)
{
    uint32_t found = 0;
    pk_der ahead = *at;
    if (!pk_der_uint(&ahead, &found) || found != value)
        return false;
    *at = ahead;
    return true;
}

bool pk_der_oid_is(pk_der *at, pk_span oid)
{
    pk_span content;
    pk_der ahead = *at;
    if (!next(&ahead, PK_DER_OID, &content) || !pk_span_equal(content, oid))
        return false;
    *at = ahead;
    return true;
}

bool pk_der_null(pk_der *at)
{
    pk_span content;
    return pk_der_bytes(at, PK_DER_NULL, 0, 0, &content);
}

bool pk_der_end(const pk_der *at)
{
    return at->rest.len == 0;
}

bool pk_der_put(pk_buf *out, uint8_t tag, pk_span content, pk_error *err)
{
    uint8_t head[6] = {tag};
    size_t taken = 2;
    if (content.len > UINT32_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "element of a key file is too long");
    if (content.len < 0x80) {
        head[1] = (uint8_t)content.len;
    } else {
        size_t count = content.len > 0xffffff ? 4
                       : content.len > 0xffff ? 3
                       : content.len > 0xff   ? 2
                                              : 1;
        head[1] = (uint8_t)(0x80 | count);
        for (size_t i = 0; i < count; i++)
            head[2 + i] = (uint8_t)(content.len >> (8 * (count - 1 - i)));
        taken += count;
    }
    return pk_buf_append(out, head, taken, err) && pk_buf_append_span(out, content, err);
}

bool pk_der_put_uint(pk_buf *out, uint32_t value, pk_error *err)
{
    const uint8_t bytes[5] = {0, (uint8_t)(value >> 24), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 8), (uint8_t)value};
    size_t skip = 0; /* zeros in front, as long as the next byte does not look like a sign */
    while (skip < 4 && bytes[skip] == 0 && bytes[skip + 1] < 0x80)
        skip++;
    return pk_der_put(out, PK_DER_INTEGER, pk_span_bytes(bytes + skip, sizeof bytes - skip), err);
}
