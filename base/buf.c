/*
 * One block that grows by doubling up to its ceiling. Growing always means a new block and a copy
 * (never realloc, which may leave the old bytes of a secret behind), and takes the chance to drop
 * what is consumed. Moving within the block happens only when that frees at least half of it, or
 * when the ceiling leaves no other way, so that a nearly full buffer is not moved for every byte.
 *
 * The block is one byte longer than `size`, for the NUL that vsnprintf insists on.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SMALLEST 256u

void pk_buf_clear(pk_buf *buf)
{
    if (buf->secret && buf->block != NULL)
        pk_wipe(buf->block, buf->size + 1);
    free(buf->block);
    *buf = (pk_buf){.max = buf->max, .secret = buf->secret};
}

static void positions_move_by_consumed(pk_buf *buf)
{
    buf->filled -= buf->consumed;
    buf->parsed -= buf->consumed;
    buf->consumed = 0;
}

static void move_to_front(pk_buf *buf)
{
    size_t live = buf->filled - buf->consumed;
    memmove(buf->block, buf->block + buf->consumed, live);
    if (buf->secret)
        pk_wipe(buf->block + live, buf->consumed);
    positions_move_by_consumed(buf);
}

static bool grow(pk_buf *buf, size_t needed, pk_error *err)
{
    size_t size = buf->size < SMALLEST / 2 ? SMALLEST : buf->size * 2;
    if (buf->size > buf->max / 2 || size > buf->max)
        size = buf->max;
    if (size < needed)
        size = needed;

    char *block = malloc(size + 1);
    if (block == NULL)
        return pk_fail(err, PK_E_MEMORY, "out of memory");
    if (buf->block != NULL) {
        memcpy(block, buf->block + buf->consumed, buf->filled - buf->consumed);
        if (buf->secret)
            pk_wipe(buf->block, buf->size + 1);
        free(buf->block);
    }
    buf->block = block;
    buf->size = size;
    positions_move_by_consumed(buf);
    return true;
}

bool pk_buf_reserve(pk_buf *buf, size_t len, pk_error *err)
{
    if (buf->size - buf->filled >= len && buf->block != NULL)
        return true;
    size_t needed = 0;
    if (__builtin_add_overflow(buf->filled - buf->consumed, len, &needed) || needed > buf->max ||
        needed == SIZE_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "data exceeds the limit of %zu bytes", buf->max);
    if (buf->block != NULL && needed <= buf->size &&
        (buf->consumed >= buf->size / 2 || buf->size == buf->max)) {
        move_to_front(buf);
        return true;
    }
    return grow(buf, needed, err);
}

bool pk_buf_append(pk_buf *buf, const void *bytes, size_t len, pk_error *err)
{
    if (len == 0)
        return true;
    if (!pk_buf_reserve(buf, len, err))
        return false;
    memcpy(buf->block + buf->filled, bytes, len);
    buf->filled += len;
    return true;
}

bool pk_buf_append_span(pk_buf *buf, pk_span bytes, pk_error *err)
{
    return pk_buf_append(buf, bytes.ptr, bytes.len, err);
}

bool pk_buf_append_text(pk_buf *buf, const char *text, pk_error *err)
{
    return pk_buf_append(buf, text, strlen(text), err);
}

bool pk_buf_printf(pk_buf *buf, pk_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return pk_fail(err, PK_E_INTERNAL, "could not format text");
    if (!pk_buf_reserve(buf, (size_t)len, err))
        return false;
    va_start(args, format);
    (void)vsnprintf(pk_buf_tail(buf), (size_t)len + 1, format, args);
    va_end(args);
    buf->filled += (size_t)len;
    return true;
}

char *pk_buf_tail(pk_buf *buf)
{
    return buf->block + buf->filled;
}

void pk_buf_filled(pk_buf *buf, size_t len)
{
    buf->filled += len;
}

void pk_buf_consume(pk_buf *buf, size_t len)
{
    buf->consumed += len;
    if (buf->parsed < buf->consumed)
        buf->parsed = buf->consumed;
    /* Nothing left: start at the front again, at no cost. */
    if (buf->consumed == buf->filled) {
        if (buf->secret && buf->block != NULL)
            pk_wipe(buf->block, buf->filled);
        buf->consumed = buf->parsed = buf->filled = 0;
    }
}
