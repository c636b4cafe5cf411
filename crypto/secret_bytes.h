/*
 * Opens a secret. For this folder only (the layers test checks): whoever includes it sees key
 * bytes.
 */
#ifndef PK_CRYPTO_SECRET_BYTES_H
#define PK_CRYPTO_SECRET_BYTES_H

#include "crypto/secret.h"

const uint8_t *pk_secret_bytes(const pk_secret *secret);
/* A secret of `len` zero bytes, to be filled in place. */
pk_secret *pk_secret_blank(size_t len, uint8_t **bytes, pk_error *err) PK_MUST_USE;

#endif
