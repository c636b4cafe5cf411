/*
 * Ed25519 by OpenSSL's raw-key calls. OpenSSL keeps its own copy of a private key in the secure
 * heap and wipes it when the EVP_PKEY is freed.
 */
#include "crypto/identity.h"

#include "crypto/digest.h"
#include "crypto/fault.h"
#include "crypto/secret_bytes.h"
#include "crypto/wrap.h"

#include <openssl/err.h>
#include <openssl/evp.h>

PK_DEFINE_AUTO_PTR(EVP_PKEY_free, EVP_PKEY *)
PK_DEFINE_AUTO_PTR(EVP_MD_CTX_free, EVP_MD_CTX *)

static EVP_PKEY *private_of(const pk_secret *key)
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, pk_secret_bytes(key),
                                        pk_secret_len(key));
}

bool pk_identity_generate(pk_identity *identity, pk_error *err)
{
    pk_secret *key = pk_secret_random(PK_KEY_LEN, err);
    return key != NULL && pk_identity_from_secret(identity, key, err);
}

bool pk_identity_from_secret(pk_identity *identity, pk_secret *private_key, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = private_key;
    *identity = (pk_identity){0};
    if (pk_secret_len(key) != PK_KEY_LEN)
        return pk_fail(err, PK_E_CORRUPT, "identity key has the wrong length");
    PK_AUTO_PTR(EVP_PKEY_free) EVP_PKEY *pkey = private_of(key);
    size_t len = PK_IDENTITY_PUBLIC;
    if (pkey == NULL || EVP_PKEY_get_raw_public_key(pkey, identity->public_key, &len) != 1)
        return pk_crypto_fail(err, "Ed25519");
    identity->private_key = pk_steal(&key);
    return true;
}

void pk_identity_clear(pk_identity *identity)
{
    pk_secret_free(identity->private_key);
    *identity = (pk_identity){0};
}

bool pk_identity_sign(const pk_identity *identity, pk_span bytes, uint8_t signature[static 64],
                      pk_error *err)
{
    PK_AUTO_PTR(EVP_PKEY_free) EVP_PKEY *pkey = private_of(identity->private_key);
    PK_AUTO_PTR(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = PK_IDENTITY_SIGNATURE;
    if (pkey == NULL || ctx == NULL || EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) != 1 ||
        EVP_DigestSign(ctx, signature, &len, (const uint8_t *)bytes.ptr, bytes.len) != 1)
        return pk_crypto_fail(err, "Ed25519");
    return true;
}

bool pk_identity_verify(const uint8_t public_key[static 32], pk_span bytes,
                        const uint8_t signature[static 64])
{
    PK_AUTO_PTR(EVP_PKEY_free)
    EVP_PKEY *pkey =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, PK_IDENTITY_PUBLIC);
    PK_AUTO_PTR(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool right = pkey != NULL && ctx != NULL &&
                 EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                 EVP_DigestVerify(ctx, signature, PK_IDENTITY_SIGNATURE, (const uint8_t *)bytes.ptr,
                                  bytes.len) == 1;
    ERR_clear_error(); /* a wrong signature may leave entries in the queue */
    return right;
}

bool pk_identity_fingerprint(const uint8_t public_key[static 32], uint8_t fp[static 16],
                             pk_error *err)
{
    uint8_t digest[32];
    if (!pk_sha256(pk_span_bytes(public_key, PK_IDENTITY_PUBLIC), digest, err))
        return false;
    memcpy(fp, digest, PK_FP_LEN);
    return true;
}

void pk_identity_fingerprint_text(const uint8_t fp[static 16], char out[static 25])
{
    pk_fingerprint_text_with("pgs1", fp, out);
}
