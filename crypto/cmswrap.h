/*
 * The two ways in which a key file carries its content key: wrapped by a password's key (RFC 3211
 * with AES-256-CBC) and by a 256-bit key (RFC 3394). Both take 32-byte keys only. For keyfile.
 * Any thread.
 */
#ifndef PK_CRYPTO_CMSWRAP_H
#define PK_CRYPTO_CMSWRAP_H

#include "crypto/secret.h"

#define PK_PWRI_LEN    48u
#define PK_KEYWRAP_LEN 40u

bool pk_pwri_wrap(const pk_secret *kek, const uint8_t iv[static 16], const pk_secret *key,
                  uint8_t out[static PK_PWRI_LEN], pk_error *err) PK_MUST_USE;
/* 28P01 when the check bytes are wrong. They are few (32 bits, with the length): that they are
 * right proves nothing yet. */
pk_secret *pk_pwri_unwrap(const pk_secret *kek, const uint8_t iv[static 16],
                          const uint8_t wrapped[static PK_PWRI_LEN], pk_error *err) PK_MUST_USE;

bool pk_keywrap(const pk_secret *kek, const pk_secret *key, uint8_t out[static PK_KEYWRAP_LEN],
                pk_error *err) PK_MUST_USE;
/* 28P01 when it does not open. */
pk_secret *pk_keyunwrap(const pk_secret *kek, const uint8_t wrapped[static PK_KEYWRAP_LEN],
                        pk_error *err) PK_MUST_USE;

#endif
