/*
 * The rules for a new password (sql-surface 5.2, keys-and-security 8.1): at least 8 characters,
 * three of the four classes A-Z a-z 0-9 other, at most 128 characters, does not contain one of the
 * given names (3 characters or longer, without case); always: no zero byte, at most 1024 bytes,
 * UTF-8. Checked where a password is set, never where one is presented. Pure; any thread.
 */
#ifndef PK_CRYPTO_PASSWORD_H
#define PK_CRYPTO_PASSWORD_H

#include "base/error.h"
#include "base/span.h"

/* 22023 with a DETAIL that names the rule; never the password. NULL names are skipped. */
bool pk_password_check(pk_span password, const char *const *names, size_t name_count,
                       pk_error *err) PK_MUST_USE;
/* ENCRYPTED BY, DECRYPTION BY PASSWORD: not empty, no zero byte, at most 1024 bytes, UTF-8. 22023.
 */
bool pk_password_check_presented(pk_span password, pk_error *err) PK_MUST_USE;

#endif
