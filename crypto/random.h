/* Random bytes that need not stay secret: nonces, salts, identifiers (RAND_bytes; secrets come from
 * pk_secret_random, RAND_priv_bytes). Any thread. */
#ifndef PK_CRYPTO_RANDOM_H
#define PK_CRYPTO_RANDOM_H

#include "base/error.h"

bool pk_random(void *bytes, size_t len, pk_error *err) PK_MUST_USE;
/* Version 4, RFC 4122. */
bool pk_random_uuid(uint8_t uuid[static 16], pk_error *err) PK_MUST_USE;

#endif
