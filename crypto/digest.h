/* SHA-256 and HMAC-SHA-256, one piece. Any thread. */
#ifndef PK_CRYPTO_DIGEST_H
#define PK_CRYPTO_DIGEST_H

#include "crypto/secret.h"

bool pk_sha256(pk_span bytes, uint8_t out[static 32], pk_error *err) PK_MUST_USE;
bool pk_hmac_sha256(const pk_secret *key, pk_span bytes, uint8_t out[static 32],
                    pk_error *err) PK_MUST_USE;
/* Constant time. */
bool pk_digest_equal(const uint8_t a[static 32], const uint8_t b[static 32]);

#endif
