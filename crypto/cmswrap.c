/*
 * RFC 3211, 2.3: the key gets a length, three check bytes and padding, and is encrypted with CBC
 * twice, the second time with the last block of the first as its IV, so every bit of the result
 * depends on every bit of the key. Unwrapping undoes the outer layer from its end: the last block
 * first, which then is the IV of the others. All intermediate values are secrets.
 */
#include "crypto/cmswrap.h"

#include "crypto/fault.h"
#include "crypto/random.h"
#include "crypto/secret_bytes.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#define BLOCK ((size_t)16)
#define HEAD  ((size_t)4) /* length and check bytes */

PK_DEFINE_AUTO_PTR(EVP_CIPHER_CTX_free, EVP_CIPHER_CTX *)

static EVP_CIPHER_CTX *cbc(const pk_secret *kek, const uint8_t *iv, bool encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx != NULL &&
        (EVP_CipherInit_ex2(ctx, EVP_aes_256_cbc(), pk_secret_bytes(kek), iv, encrypt, NULL) != 1 ||
         EVP_CIPHER_CTX_set_padding(ctx, 0) != 1)) {
        EVP_CIPHER_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool lengths_ok(const pk_secret *kek, const pk_secret *key, pk_error *err)
{
    if (pk_secret_len(kek) != PK_KEY_LEN || (key != NULL && pk_secret_len(key) != PK_KEY_LEN))
        return pk_fail(err, PK_E_INTERNAL, "a key to wrap or to wrap with must have 32 bytes");
    return true;
}

bool pk_pwri_wrap(const pk_secret *kek, const uint8_t iv[static 16], const pk_secret *key,
                  uint8_t out[static PK_PWRI_LEN], pk_error *err)
{
    uint8_t *block = NULL;
    int len = 0;
    if (!lengths_ok(kek, key, err))
        return false;
    PK_AUTO_PTR(pk_secret_free) pk_secret *plain = pk_secret_blank(PK_PWRI_LEN, &block, err);
    if (plain == NULL || !pk_random(block, PK_PWRI_LEN, err))
        return false;
    const uint8_t *bytes = pk_secret_bytes(key);
    block[0] = PK_KEY_LEN;
    for (size_t i = 0; i < 3; i++)
        block[1 + i] = (uint8_t)~bytes[i];
    memcpy(block + HEAD, bytes, PK_KEY_LEN);

    /* One context: the second pass goes on with the IV where the first has ended. */
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = cbc(kek, iv, true);
    if (ctx == NULL || EVP_EncryptUpdate(ctx, out, &len, block, PK_PWRI_LEN) != 1 ||
        EVP_EncryptUpdate(ctx, out, &len, out, PK_PWRI_LEN) != 1)
        return pk_crypto_fail(err, "wrapping a key by password");
    return true;
}

static bool decrypt(const pk_secret *kek, const uint8_t *iv, pk_span in, uint8_t *out)
{
    int len = 0;
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = cbc(kek, iv, false);
    return ctx != NULL &&
           EVP_DecryptUpdate(ctx, out, &len, (const uint8_t *)in.ptr, (int)in.len) == 1 &&
           (size_t)len == in.len;
}

/* Length and check bytes, without a branch that depends on where they differ. */
static bool check_bytes_right(const uint8_t *plain)
{
    unsigned wrong = plain[0] ^ PK_KEY_LEN;
    for (size_t i = 0; i < 3; i++)
        wrong |= (unsigned)(plain[1 + i] ^ plain[HEAD + i]) ^ 0xffu;
    return wrong == 0;
}

pk_secret *pk_pwri_unwrap(const pk_secret *kek, const uint8_t iv[static 16],
                          const uint8_t wrapped[static PK_PWRI_LEN], pk_error *err)
{
    uint8_t *inner = NULL;
    uint8_t *block = NULL;
    size_t last = PK_PWRI_LEN - BLOCK;
    if (!lengths_ok(kek, NULL, err))
        return NULL;
    PK_AUTO_PTR(pk_secret_free) pk_secret *first = pk_secret_blank(PK_PWRI_LEN, &inner, err);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *plain = first == NULL ? NULL : pk_secret_blank(PK_PWRI_LEN, &block, err);
    if (plain == NULL)
        return NULL;
    if (!decrypt(kek, wrapped + last - BLOCK, pk_span_bytes(wrapped + last, BLOCK), inner + last) ||
        !decrypt(kek, inner + last, pk_span_bytes(wrapped, last), inner) ||
        !decrypt(kek, iv, pk_span_bytes(inner, PK_PWRI_LEN), block)) {
        pk_crypto_fail(err, "unwrapping a key by password");
        return NULL;
    }
    if (!check_bytes_right(block)) {
        pk_fail(err, PK_E_PASSWORD, "wrong password, or the wrapped key is damaged");
        return NULL;
    }
    return pk_secret_new(block + HEAD, PK_KEY_LEN, err);
}

static EVP_CIPHER_CTX *key_wrap(const pk_secret *kek, bool encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL)
        return NULL;
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex2(ctx, EVP_aes_256_wrap(), pk_secret_bytes(kek), NULL, encrypt, NULL) !=
        1) {
        EVP_CIPHER_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

bool pk_keywrap(const pk_secret *kek, const pk_secret *key, uint8_t out[static PK_KEYWRAP_LEN],
                pk_error *err)
{
    int len = 0;
    if (!lengths_ok(kek, key, err))
        return false;
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = key_wrap(kek, true);
    if (ctx == NULL || EVP_EncryptUpdate(ctx, out, &len, pk_secret_bytes(key), PK_KEY_LEN) != 1 ||
        len != (int)PK_KEYWRAP_LEN)
        return pk_crypto_fail(err, "wrapping a key");
    return true;
}

pk_secret *pk_keyunwrap(const pk_secret *kek, const uint8_t wrapped[static PK_KEYWRAP_LEN],
                        pk_error *err)
{
    uint8_t *block = NULL;
    int len = 0;
    if (!lengths_ok(kek, NULL, err))
        return NULL;
    /* OpenSSL asks for room as long as the input. */
    PK_AUTO_PTR(pk_secret_free) pk_secret *plain = pk_secret_blank(PK_KEYWRAP_LEN, &block, err);
    if (plain == NULL)
        return NULL;
    PK_AUTO_PTR(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = key_wrap(kek, false);
    if (ctx == NULL) {
        pk_crypto_fail(err, "unwrapping a key");
        return NULL;
    }
    if (EVP_DecryptUpdate(ctx, block, &len, wrapped, PK_KEYWRAP_LEN) != 1 ||
        len != (int)PK_KEY_LEN) {
        ERR_clear_error();
        pk_fail(err, PK_E_PASSWORD, "wrong key, or the wrapped key is damaged");
        return NULL;
    }
    return pk_secret_new(block, PK_KEY_LEN, err);
}
