/*
 * Bytes as text: hex, base64, base64url, percent. Decoders are strict: no white space, no missing
 * or wrong padding, no bits left over, no second spelling of the same bytes.
 */
#ifndef PK_BASE_ENCODE_H
#define PK_BASE_ENCODE_H

#include "base/buf.h"

/* Lower case; out holds 2 * len + 1 bytes. */
void pk_hex(const void *bytes, size_t len, char *out);
/* Exactly out_len bytes from 2 * out_len digits of either case. */
bool pk_unhex(pk_span text, void *out, size_t out_len) PK_MUST_USE;

/* Append to out. base64 with padding, base64url without. Mark out as secret if the bytes are. */
bool pk_base64(pk_span bytes, pk_buf *out, pk_error *err) PK_MUST_USE;
bool pk_base64url(pk_span bytes, pk_buf *out, pk_error *err) PK_MUST_USE;
/* 22023 when the text is not canonical. */
bool pk_unbase64(pk_span text, pk_buf *out, pk_error *err) PK_MUST_USE;
bool pk_unbase64url(pk_span text, pk_buf *out, pk_error *err) PK_MUST_USE;

/* %XX for every byte outside [A-Za-z0-9_-] (the safe set of one path segment). */
bool pk_percent(pk_span bytes, pk_buf *out, pk_error *err) PK_MUST_USE;
/* %XX back to bytes; everything else is itself. 22023 for a bad escape or a zero byte. */
bool pk_unpercent(pk_span text, pk_buf *out, pk_error *err) PK_MUST_USE;

/* 16 bytes as 8-4-4-4-12 lower case; out holds 37 bytes. */
void pk_uuid_text(const uint8_t uuid[static 16], char out[static 37]);
bool pk_uuid_parse(pk_span text, uint8_t uuid[static 16]) PK_MUST_USE;

#endif
