/*
 * Growing bytes with a ceiling from birth, for anything whose size somebody else decides: a
 * message, a file, a reply. One block, three positions: bytes before `consumed` are done with, up
 * to `parsed` looked at, up to `filled` there. The owner is whoever declared it; one thread at a
 * time.
 *
 * A buffer marked secret wipes its old block whenever it moves, and everything when cleared or
 * consumed to the last byte.
 */
#ifndef PK_BASE_BUF_H
#define PK_BASE_BUF_H

#include "base/error.h"
#include "base/span.h"

typedef struct pk_buf {
    char *block;
    size_t consumed, parsed, filled;
    size_t size; /* of the block */
    size_t max;  /* ceiling of `size` */
    bool secret;
} pk_buf;

#define PK_BUF_MAX(ceiling)    ((pk_buf){.max = (ceiling)})
#define PK_BUF_SECRET(ceiling) ((pk_buf){.max = (ceiling), .secret = true})

/* Frees the block (wiped if secret). The buffer is empty and may be used again. */
void pk_buf_clear(pk_buf *buf);

/* Room for `len` more bytes at the end; 54000 above the ceiling, 53200 without memory. The room may
 * come from moving the unconsumed bytes to the front: pointers into the buffer are void afterwards.
 */
bool pk_buf_reserve(pk_buf *buf, size_t len, pk_error *err) PK_MUST_USE;
bool pk_buf_append(pk_buf *buf, const void *bytes, size_t len, pk_error *err) PK_MUST_USE;
bool pk_buf_append_span(pk_buf *buf, pk_span bytes, pk_error *err) PK_MUST_USE;
bool pk_buf_append_text(pk_buf *buf, const char *text, pk_error *err) PK_MUST_USE;
bool pk_buf_printf(pk_buf *buf, pk_error *err, const char *format, ...) PK_PRINTF(3, 4) PK_MUST_USE;

/* Where the next bytes go (after pk_buf_reserve), and the note that `len` of them are there now. */
char *pk_buf_tail(pk_buf *buf);
void pk_buf_filled(pk_buf *buf, size_t len);
/* The first `len` unconsumed bytes are done with. */
void pk_buf_consume(pk_buf *buf, size_t len);

/* Everything unconsumed. Borrowed until the next call that changes the buffer. */
static inline pk_span pk_buf_span(const pk_buf *buf)
{
    return (pk_span){buf->block == NULL ? "" : buf->block + buf->consumed,
                     buf->filled - buf->consumed};
}

#endif
