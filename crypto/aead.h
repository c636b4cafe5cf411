/* AES-256-GCM, one piece. Any thread. */
#ifndef PK_CRYPTO_AEAD_H
#define PK_CRYPTO_AEAD_H

#include "base/buf.h"
#include "crypto/secret.h"

#define PK_AEAD_NONCE 12u
#define PK_AEAD_TAG   16u

/* Appends ciphertext and tag. */
bool pk_aead_seal(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad, pk_span plain,
                  pk_buf *out, pk_error *err) PK_MUST_USE;
/* Appends the plaintext, only if the tag is right; XX001 otherwise. `sealed` includes the tag. */
bool pk_aead_open(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad, pk_span sealed,
                  pk_buf *out, pk_error *err) PK_MUST_USE;

/* The same for a secret: its bytes never pass through ordinary memory. Opening gives XX001 also for
 * a length that no secret has. */
bool pk_aead_seal_secret(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad,
                         const pk_secret *plain, pk_buf *out, pk_error *err) PK_MUST_USE;
pk_secret *pk_aead_open_secret(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad,
                               pk_span sealed, pk_error *err) PK_MUST_USE;

#endif
