/*
 * AES-256-GCM over one piece. Plaintext is written where it will stay (the caller's buffer, or a
 * secret's bytes in the secure heap) and wiped there if the tag turns out wrong, so nobody can use
 * bytes that were not authenticated.
 */
#include "crypto/aead.h"

#include "crypto/fault.h"
#include "crypto/secret_bytes.h"

#include <limits.h>
#include <openssl/evp.h>

PK_DEFINE_AUTO_PTR(EVP_CIPHER_CTX_free, EVP_CIPHER_CTX *)

/* A context with key, nonce and additional data in it; NULL on failure. Its memory is wiped when it
 * is freed (EVP_CIPHER_CTX_free cleanses the key schedule). */
static EVP_CIPHER_CTX *begin(const pk_secret *key, const uint8_t nonce[static PK_AEAD_NONCE],
                             pk_span aad, bool sealing, pk_error *err)
{
    if (pk_secret_len(key) != PK_KEY_LEN || aad.len > INT_MAX) {
        pk_fail(err, PK_E_INTERNAL, "AES-256-GCM was given a key or data of the wrong length");
        return NULL;
    }
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int ignored = 0;
    const uint8_t *data = (const uint8_t *)aad.ptr;
    if (ctx == NULL ||
        EVP_CipherInit_ex2(ctx, EVP_aes_256_gcm(), pk_secret_bytes(key), nonce, sealing, NULL) !=
            1 ||
        (aad.len > 0 && EVP_CipherUpdate(ctx, NULL, &ignored, data, (int)aad.len) != 1)) {
        pk_crypto_fail(err, "AES-256-GCM");
        return NULL;
    }
    return pk_steal(&ctx);
}

/* out: room for the plaintext's length and the tag. */
static bool seal(EVP_CIPHER_CTX *ctx, pk_span plain, uint8_t *out, pk_error *err)
{
    int len = 0;
    int rest = 0;
    const uint8_t *in = (const uint8_t *)plain.ptr;
    if ((plain.len > 0 && EVP_EncryptUpdate(ctx, out, &len, in, (int)plain.len) != 1) ||
        EVP_EncryptFinal_ex(ctx, out + len, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, PK_AEAD_TAG, out + plain.len) != 1)
        return pk_crypto_fail(err, "AES-256-GCM");
    return true;
}

bool pk_aead_seal(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad, pk_span plain,
                  pk_buf *out, pk_error *err)
{
    if (plain.len > INT_MAX - PK_AEAD_TAG)
        return pk_fail(err, PK_E_TOO_LONG, "too much data for one piece");
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = begin(key, nonce, aad, true, err);
    if (ctx == NULL || !pk_buf_reserve(out, plain.len + PK_AEAD_TAG, err) ||
        !seal(ctx, plain, (uint8_t *)pk_buf_tail(out), err))
        return false;
    pk_buf_filled(out, plain.len + PK_AEAD_TAG);
    return true;
}

bool pk_aead_seal_secret(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad,
                         const pk_secret *plain, pk_buf *out, pk_error *err)
{
    pk_span bytes = pk_span_bytes(pk_secret_bytes(plain), pk_secret_len(plain));
    return pk_aead_seal(key, nonce, aad, bytes, out, err);
}

/* The plaintext is 16 bytes shorter than `sealed`. */
static bool open_to(EVP_CIPHER_CTX *ctx, pk_span sealed, uint8_t *out, pk_error *err)
{
    uint8_t tag[PK_AEAD_TAG]; /* a copy, because OpenSSL asks for it without const */
    const uint8_t *in = (const uint8_t *)sealed.ptr;
    size_t plain_len = sealed.len - PK_AEAD_TAG;
    int len = 0;
    int rest = 0;

    memcpy(tag, in + plain_len, PK_AEAD_TAG);
    if ((plain_len > 0 && EVP_DecryptUpdate(ctx, out, &len, in, (int)plain_len) != 1) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, PK_AEAD_TAG, tag) != 1) {
        pk_wipe(out, plain_len);
        return pk_crypto_fail(err, "AES-256-GCM");
    }
    if (EVP_DecryptFinal_ex(ctx, out + len, &rest) == 1)
        return true;
    pk_wipe(out, plain_len);
    return pk_fail(err, PK_E_CORRUPT, "sealed data is damaged");
}

static bool length_fits(pk_span sealed, pk_error *err)
{
    if (sealed.len < PK_AEAD_TAG || sealed.len > INT_MAX)
        return pk_fail(err, PK_E_CORRUPT, "sealed data has an impossible length");
    return true;
}

bool pk_aead_open(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad, pk_span sealed,
                  pk_buf *out, pk_error *err)
{
    if (!length_fits(sealed, err))
        return false;
    size_t plain_len = sealed.len - PK_AEAD_TAG;
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = begin(key, nonce, aad, false, err);
    if (ctx == NULL || !pk_buf_reserve(out, plain_len, err) ||
        !open_to(ctx, sealed, (uint8_t *)pk_buf_tail(out), err))
        return false;
    pk_buf_filled(out, plain_len);
    return true;
}

pk_secret *pk_aead_open_secret(const pk_secret *key, const uint8_t nonce[static 12], pk_span aad,
                               pk_span sealed, pk_error *err)
{
    if (!length_fits(sealed, err))
        return NULL;
    if (sealed.len == PK_AEAD_TAG || sealed.len - PK_AEAD_TAG > PK_SECRET_MAX) {
        pk_fail(err, PK_E_CORRUPT, "sealed data has an impossible length");
        return NULL;
    }
    uint8_t *bytes = NULL;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *plain = pk_secret_blank(sealed.len - PK_AEAD_TAG, &bytes, err);
    if (plain == NULL)
        return NULL;
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = begin(key, nonce, aad, false, err);
    if (ctx == NULL || !open_to(ctx, sealed, bytes, err))
        return NULL;
    return pk_steal(&plain);
}
