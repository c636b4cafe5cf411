/*
 * Text between a session's client_encoding and UTF-8, for the few texts that we look at or write
 * ourselves; everything else passes as bytes. Any thread.
 */
#ifndef PK_PROXY_ENCODING_H
#define PK_PROXY_ENCODING_H

#include "base/buf.h"

typedef enum pk_encoding_result {
    PK_ENCODING_OK,
    PK_ENCODING_BAD,     /* not text of that encoding: the server would refuse it */
    PK_ENCODING_UNKNOWN, /* no converter for this name */
    PK_ENCODING_NO_ROOM, /* memory, or the buffer's ceiling */
} pk_encoding_result;

/* Can the bytes be taken as they are (ASCII text, or UTF8 or SQL_ASCII)? */
bool pk_encoding_is_plain(const char *encoding, pk_span text);
/* Appends UTF-8. `cut`: the text may end inside a character, whose beginning is left out. */
pk_encoding_result pk_encoding_to_utf8(const char *encoding, pk_span text, bool cut,
                                       pk_buf *out) PK_MUST_USE;
/* Appends UTF-8 text in the client's encoding; what that cannot say becomes '?'. */
bool pk_encoding_from_utf8(const char *encoding, pk_span text, pk_buf *out,
                           pk_error *err) PK_MUST_USE;

#endif
