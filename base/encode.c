/*
 * Bytes as text and back. The decoders accept exactly what the encoders here write (hex also in
 * upper case, percent also of safe characters), because two spellings of the same bytes would let a
 * file be changed without changing what it says. They write into the room behind `filled` and count
 * it only when all is well, so a refused text leaves nothing in the buffer.
 */
#include "base/encode.h"

static const char lower_digits[] = "0123456789abcdef";
static const char upper_digits[] = "0123456789ABCDEF";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void pk_hex(const void *bytes, size_t len, char *out)
{
    const uint8_t *in = bytes;
    for (size_t i = 0; i < len; i++) {
        *out++ = lower_digits[in[i] >> 4];
        *out++ = lower_digits[in[i] & 15];
    }
    *out = '\0';
}

/* 0 to 15, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* One byte of two digits, or -1. */
static int hex_byte(const char *digits)
{
    int high = hex_value(digits[0]);
    int low = hex_value(digits[1]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool pk_unhex(pk_span text, void *out, size_t out_len)
{
    uint8_t *to = out;
    if (text.len % 2 != 0 || text.len / 2 != out_len)
        return false;
    for (size_t i = 0; i < out_len; i++) {
        int byte = hex_byte(text.ptr + 2 * i);
        if (byte < 0)
            return false;
        to[i] = (uint8_t)byte;
    }
    return true;
}

/* Up to three bytes, at the top of 24 bits. */
static uint32_t group_of(const uint8_t *in, size_t left)
{
    uint32_t group = (uint32_t)in[0] << 16;
    if (left > 1)
        group |= (uint32_t)in[1] << 8;
    if (left > 2)
        group |= in[2];
    return group;
}

static bool encode64(pk_span bytes, const char *digits, bool padded, pk_buf *out, pk_error *err)
{
    if (bytes.len > SIZE_MAX / 2)
        return pk_fail(err, PK_E_TOO_LONG, "data exceeds the limit of %zu bytes", out->max);
    if (!pk_buf_reserve(out, (bytes.len + 2) / 3 * 4, err))
        return false;
    const uint8_t *in = (const uint8_t *)bytes.ptr;
    char *start = pk_buf_tail(out);
    char *to = start;
    for (size_t left = bytes.len; left > 0;) {
        size_t taken = left < 3 ? left : 3;
        uint32_t group = group_of(in, left);
        for (size_t i = 0; i < 4; i++) {
            if (i <= taken)
                *to++ = digits[(group >> (18 - 6 * i)) & 63];
            else if (padded)
                *to++ = '=';
        }
        in += taken;
        left -= taken;
    }
    pk_buf_filled(out, (size_t)(to - start));
    return true;
}

bool pk_base64(pk_span bytes, pk_buf *out, pk_error *err)
{
    return encode64(bytes, base64_digits, true, out, err);
}

bool pk_base64url(pk_span bytes, pk_buf *out, pk_error *err)
{
    return encode64(bytes, base64url_digits, false, out, err);
}

/* 0 to 63, or -1. `url` chooses the last two digits. */
static int value64(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* Two to four digits into one to three bytes. */
static bool decode_group(const char *text, size_t digits, bool url, char *out)
{
    uint32_t group = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = value64(text[i], url);
        if (value < 0)
            return false;
        group |= (uint32_t)value << (18 - 6 * i);
    }
    size_t bytes = digits - 1;
    for (size_t i = 0; i < bytes; i++)
        out[i] = (char)(uint8_t)(group >> (16 - 8 * i));
    /* Bits that belong to no byte must be zero. */
    return (group & (0xffffffU >> (8 * bytes))) == 0;
}

/* Digits only, without padding. */
static bool decode64(pk_span text, bool url, pk_buf *out, pk_error *err)
{
    if (!pk_buf_reserve(out, text.len / 4 * 3 + 2, err))
        return false;
    char *to = pk_buf_tail(out);
    size_t done = 0;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t digits = text.len - i < 4 ? text.len - i : 4;
        if (digits < 2 || !decode_group(text.ptr + i, digits, url, to + done))
            return pk_fail(err, PK_E_PARAMETER, "invalid base64 text");
        done += digits - 1;
    }
    pk_buf_filled(out, done);
    return true;
}

bool pk_unbase64(pk_span text, pk_buf *out, pk_error *err)
{
    if (text.len % 4 != 0)
        return pk_fail(err, PK_E_PARAMETER, "invalid base64 text");
    for (int i = 0; i < 2 && text.len > 0 && text.ptr[text.len - 1] == '='; i++)
        text.len--;
    return decode64(text, false, out, err);
}

bool pk_unbase64url(pk_span text, pk_buf *out, pk_error *err)
{
    return decode64(text, true, out, err);
}

static bool is_safe(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

bool pk_percent(pk_span bytes, pk_buf *out, pk_error *err)
{
    if (bytes.len > SIZE_MAX / 3)
        return pk_fail(err, PK_E_TOO_LONG, "data exceeds the limit of %zu bytes", out->max);
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = (uint8_t)bytes.ptr[i];
        const char text[3] = {'%', upper_digits[byte >> 4], upper_digits[byte & 15]};
        bool safe = is_safe(bytes.ptr[i]);
        if (!pk_buf_append(out, safe ? &bytes.ptr[i] : text, safe ? 1 : 3, err))
            return false;
    }
    return true;
}

bool pk_unpercent(pk_span text, pk_buf *out, pk_error *err)
{
    if (text.len == 0)
        return true;
    if (!pk_buf_reserve(out, text.len, err))
        return false;
    char *to = pk_buf_tail(out);
    size_t done = 0;
    for (size_t i = 0; i < text.len; i++) {
        int byte = (uint8_t)text.ptr[i];
        if (text.ptr[i] == '%') {
            byte = text.len - i > 2 ? hex_byte(text.ptr + i + 1) : -1;
            i += 2;
        }
        if (byte <= 0)
            return pk_fail(err, PK_E_PARAMETER, "invalid percent escape");
        to[done++] = (char)(uint8_t)byte;
    }
    pk_buf_filled(out, done);
    return true;
}

/* Where the five groups of a UUID begin and how many bytes each has. */
static const struct {
    size_t text, byte, bytes;
} uuid_groups[] = {{0, 0, 4}, {9, 4, 2}, {14, 6, 2}, {19, 8, 2}, {24, 10, 6}};

void pk_uuid_text(const uint8_t uuid[static 16], char out[static 37])
{
    for (size_t i = 0; i < PK_COUNT(uuid_groups); i++) {
        if (i > 0)
            out[uuid_groups[i].text - 1] = '-';
        pk_hex(uuid + uuid_groups[i].byte, uuid_groups[i].bytes, out + uuid_groups[i].text);
    }
}

bool pk_uuid_parse(pk_span text, uint8_t uuid[static 16])
{
    if (text.len != 36)
        return false;
    for (size_t i = 0; i < PK_COUNT(uuid_groups); i++) {
        size_t at = uuid_groups[i].text;
        size_t bytes = uuid_groups[i].bytes;
        if (i > 0 && text.ptr[at - 1] != '-')
            return false;
        if (!pk_unhex((pk_span){text.ptr + at, 2 * bytes}, uuid + uuid_groups[i].byte, bytes))
            return false;
    }
    return true;
}
