/* SHA-256 and HMAC as one call each; OpenSSL's contexts are made, wiped and freed inside it. */
#include "crypto/digest.h"

#include "crypto/fault.h"
#include "crypto/secret_bytes.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool pk_sha256(pk_span bytes, uint8_t out[static 32], pk_error *err)
{
    if (EVP_Digest(bytes.ptr, bytes.len, out, NULL, EVP_sha256(), NULL) != 1)
        return pk_crypto_fail(err, "SHA-256");
    return true;
}

bool pk_hmac_sha256(const pk_secret *key, pk_span bytes, uint8_t out[static 32], pk_error *err)
{
    const uint8_t *data = (const uint8_t *)bytes.ptr;
    if (HMAC(EVP_sha256(), pk_secret_bytes(key), (int)pk_secret_len(key), data, bytes.len, out,
             NULL) == NULL)
        return pk_crypto_fail(err, "HMAC-SHA-256");
    return true;
}

bool pk_digest_equal(const uint8_t a[static 32], const uint8_t b[static 32])
{
    return CRYPTO_memcmp(a, b, 32) == 0;
}
