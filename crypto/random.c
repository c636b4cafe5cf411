/*
 * OpenSSL's public generator: what comes out of it may be seen, and says nothing about the private
 * one that makes secrets.
 */
#include "crypto/random.h"

#include "crypto/fault.h"

#include <openssl/rand.h>

bool pk_random(void *bytes, size_t len, pk_error *err)
{
    if (len > INT32_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "too many random bytes at once");
    if (RAND_bytes(bytes, (int)len) != 1)
        return pk_crypto_fail(err, "generating random bytes");
    return true;
}

bool pk_random_uuid(uint8_t uuid[static 16], pk_error *err)
{
    if (!pk_random(uuid, 16, err))
        return false;
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* version 4 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
    return true;
}
