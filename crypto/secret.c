/*
 * The bytes of a secret lie in OpenSSL's secure heap (mapped apart, locked, left out of core dumps,
 * guard pages around), alone: the handle with the length is ordinary memory, so a 256-bit key costs
 * one block of 32 bytes and not 64.
 *
 * Before CRYPTO_secure_malloc_init OpenSSL hands out ordinary memory without a word, hence the
 * question at every allocation. When the heap is full it gives NULL, which is an error here.
 */
#include "crypto/fault.h"
#include "crypto/secret_bytes.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#define HEAP_BYTES    ((size_t)4 << 20) /* both must be powers of two, or OpenSSL aborts */
#define HEAP_SMALLEST ((size_t)32)

struct pk_secret {
    size_t len;
    uint8_t *bytes; /* in the secure heap */
};

bool pk_secret_heap_init(pk_secure_heap *state, pk_error *err)
{
    if (CRYPTO_secure_malloc_initialized())
        return pk_fail(err, PK_E_INTERNAL, "the secure heap is started twice");
    int got = CRYPTO_secure_malloc_init(HEAP_BYTES, HEAP_SMALLEST);
    if (got == 0)
        return pk_fail(err, PK_E_MEMORY, "could not start the secure heap");
    *state = got == 1 ? PK_SECURE_HEAP_LOCKED : PK_SECURE_HEAP_UNLOCKED;
    return true;
}

pk_secret *pk_secret_blank(size_t len, uint8_t **bytes, pk_error *err)
{
    if (len == 0 || len > PK_SECRET_MAX) {
        pk_fail(err, PK_E_PARAMETER, "a secret must have 1 to %u bytes", PK_SECRET_MAX);
        return NULL;
    }
    uint8_t *block = CRYPTO_secure_malloc_initialized() ? OPENSSL_secure_zalloc(len) : NULL;
    if (block == NULL) {
        pk_fail(err, PK_E_MEMORY, "out of secure memory");
        return NULL;
    }
    pk_secret *secret = pk_new(pk_secret);
    *secret = (pk_secret){len, block};
    *bytes = block;
    return secret;
}

pk_secret *pk_secret_new(const void *bytes, size_t len, pk_error *err)
{
    uint8_t *to = NULL;
    pk_secret *secret = pk_secret_blank(len, &to, err);
    if (secret != NULL)
        memcpy(to, bytes, len);
    return secret;
}

pk_secret *pk_secret_random(size_t len, pk_error *err)
{
    uint8_t *to = NULL;
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_blank(len, &to, err);
    if (secret == NULL)
        return NULL;
    if (RAND_priv_bytes(to, (int)len) != 1) {
        pk_crypto_fail(err, "generating random bytes");
        return NULL;
    }
    return pk_steal(&secret);
}

pk_secret *pk_secret_copy(const pk_secret *secret, pk_error *err)
{
    return pk_secret_new(secret->bytes, secret->len, err);
}

void pk_secret_free(pk_secret *secret)
{
    if (secret == NULL)
        return;
    OPENSSL_secure_clear_free(secret->bytes, secret->len);
    pk_free(secret);
}

size_t pk_secret_len(const pk_secret *secret)
{
    return secret->len;
}

bool pk_secret_equal(const pk_secret *a, const pk_secret *b)
{
    return a->len == b->len && CRYPTO_memcmp(a->bytes, b->bytes, a->len) == 0;
}

const uint8_t *pk_secret_bytes(const pk_secret *secret)
{
    return secret->bytes;
}
