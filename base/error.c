/*
 * Filling a pk_error. Every text is formatted into a local array first and copied afterwards,
 * because callers may quote a field of the very error that they fill. What does not fit is cut
 * between two characters, never inside one: a client that checks UTF-8 would refuse the whole
 * ErrorResponse.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Shortens text, which was cut at `len` bytes, by a character whose end was cut off. */
static void cut_between_characters(char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len - (start - 1) < wanted)
        text[start - 1] = '\0';
}

static void copy_text(char *out, size_t size, const char *text)
{
    size_t len = strlen(text);
    bool fits = len < size;
    if (!fits)
        len = size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
    if (!fits)
        cut_between_characters(out, len);
}

static void PK_PRINTF(3, 0) format_text(char *out, size_t size, const char *format, va_list args)
{
    int len = vsnprintf(out, size, format, args);
    if (len < 0)
        out[0] = '\0';
    else if ((size_t)len >= size)
        cut_between_characters(out, size - 1);
}

bool pk_error_set(pk_error *err, const char *sqlstate, const char *file, int line,
                  const char *format, ...)
{
    if (err == NULL)
        return false;
    pk_error fresh = {.file = file, .line = line};
    copy_text(fresh.sqlstate, sizeof fresh.sqlstate, sqlstate);
    va_list args;
    va_start(args, format);
    format_text(fresh.message, sizeof fresh.message, format, args);
    va_end(args);
    *err = fresh;
    return false;
}

bool pk_error_detail(pk_error *err, const char *format, ...)
{
    if (err == NULL)
        return false;
    char text[sizeof err->detail];
    va_list args;
    va_start(args, format);
    format_text(text, sizeof text, format, args);
    va_end(args);
    copy_text(err->detail, sizeof err->detail, text);
    return false;
}

bool pk_error_hint(pk_error *err, const char *format, ...)
{
    if (err == NULL)
        return false;
    char text[sizeof err->hint];
    va_list args;
    va_start(args, format);
    format_text(text, sizeof text, format, args);
    va_end(args);
    copy_text(err->hint, sizeof err->hint, text);
    return false;
}

bool pk_error_at(pk_error *err, uint32_t position)
{
    if (err != NULL)
        err->position = position;
    return false;
}

/* The old message becomes the first sentence of the detail. */
static void slide_message(pk_error *err)
{
    size_t len = strlen(err->message);
    if (len == 0)
        return;
    char first = err->message[0];
    if (first >= 'a' && first <= 'z')
        first = (char)(first - 'a' + 'A');
    const char *stop = err->message[len - 1] == '.' ? "" : ".";
    const char *gap = err->detail[0] == '\0' ? "" : " ";

    /* Large enough for both whole, so that only copy_text cuts. */
    char text[sizeof err->message + sizeof err->detail + 2];
    (void)snprintf(text, sizeof text, "%c%s%s%s%s", first, err->message + 1, stop, gap,
                   err->detail);
    copy_text(err->detail, sizeof err->detail, text);
}

bool pk_error_wrap(pk_error *err, const char *format, ...)
{
    if (err == NULL)
        return false;
    char text[sizeof err->message];
    va_list args;
    va_start(args, format);
    format_text(text, sizeof text, format, args);
    va_end(args);
    /* Wrapping what was never set is a fault of ours, and must not reach a client without a code.
     */
    if (err->sqlstate[0] == '\0')
        copy_text(err->sqlstate, sizeof err->sqlstate, PK_E_INTERNAL);
    slide_message(err);
    copy_text(err->message, sizeof err->message, text);
    return false;
}

const char *pk_errno_text(int number)
{
    const char *text = strerrordesc_np(number);
    return text == NULL ? "unknown error" : text;
}
