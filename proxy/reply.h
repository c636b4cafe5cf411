/*
 * What we answer, as wire bytes: pk_error and pk_result to ErrorResponse, NoticeResponse,
 * RowDescription, DataRow, CommandComplete, ReadyForQuery. Text goes out in the session's
 * client_encoding. Appends to a buffer, whose ceiling is the only reason to fail. Pure.
 */
#ifndef PK_PROXY_REPLY_H
#define PK_PROXY_REPLY_H

#include "engine/result.h"
#include "proxy/wire.h"

bool pk_reply_error(pk_buf *out, const char *encoding, const pk_error *error,
                    bool fatal) PK_MUST_USE;
/* Formats of result columns, 0 text, 1 binary: none (all text), one for all, or one each. */
typedef struct pk_formats {
    const uint16_t *codes;
    uint16_t count;
} pk_formats;
#define PK_FORMATS_TEXT ((pk_formats){NULL, 0})

/* The parts of a result. A row's text goes out in client_encoding; binary values are what
 * PostgreSQL's send functions make of the types in result.h. */
bool pk_reply_notices(pk_buf *out, const char *encoding, const pk_result *result) PK_MUST_USE;
bool pk_reply_columns(pk_buf *out, const pk_column *columns, size_t count,
                      pk_formats formats) PK_MUST_USE;
bool pk_reply_row(pk_buf *out, const char *encoding, const pk_result *result, const pk_row *row,
                  pk_formats formats) PK_MUST_USE;
bool pk_reply_tag(pk_buf *out, const char *tag) PK_MUST_USE;
/* Notices, rows and tag, all that a statement said; of a failed one only the notices, since its
 * error may have to wait for the server (wire-protocol 6.4). */
bool pk_reply_result(pk_buf *out, const char *encoding, const pk_result *result) PK_MUST_USE;
/* ReadyForQuery with status I, T or E. */
bool pk_reply_ready(pk_buf *out, char status) PK_MUST_USE;

/* Messages of ours to the server. */
bool pk_reply_query(pk_buf *out, const char *sql) PK_MUST_USE;
bool pk_reply_execute(pk_buf *out, const char *portal) PK_MUST_USE;
bool pk_reply_empty(pk_buf *out, char type) PK_MUST_USE; /* Flush, Terminate, NoData .. */

#endif
