/*
 * The recovery code: 160 random bits that a person can copy from paper, and that unseal for real
 * (keys-and-security 2.1). Eight groups of four characters and two check characters:
 *
 *     7ZK4-M0QB-..-..-..-..-..-HW3E-5R
 *
 * Crockford's base32 alphabet, which has no I, L, O and U. Reading ignores case, blanks and dashes
 * and takes I and L for 1 and O for 0. The check characters are the number modulo 1021 (a prime
 * above 32), so one wrong character, or two neighbours that changed places, is always found.
 *
 * Any thread.
 */
#ifndef PK_CRYPTO_RECOVERY_H
#define PK_CRYPTO_RECOVERY_H

#include "base/buf.h"
#include "crypto/secret.h"

#define PK_RECOVERY_LEN      20u /* bytes */
#define PK_RECOVERY_TEXT_LEN 42u /* characters, dashes included */

/* Appends the code's text to `text`, a secret buffer. XX000 if the secret is not PK_RECOVERY_LEN
 * bytes. */
bool pk_recovery_write(const pk_secret *secret, pk_buf *text, pk_error *err) PK_MUST_USE;
/* 28P01: no recovery code. The detail tells a mistyped one (its check characters do not fit) from
 * one that is too short, too long or has other characters. */
pk_secret *pk_recovery_read(pk_span text, pk_error *err) PK_MUST_USE;

#endif
