/*
 * A secret is bytes that must never be printed, swapped or left behind: a password, a key. It lives
 * in OpenSSL's secure heap and is wiped when freed. Outside crypto/ it is only a handle: nothing
 * here hands out its bytes, so they cannot reach a log or a message by mistake.
 *
 * A secret has exactly one owner; `const pk_secret *` parameters borrow it for the call. Any thread
 * may use a secret it owns; none is shared without a lock.
 */
#ifndef PK_CRYPTO_SECRET_H
#define PK_CRYPTO_SECRET_H

#include "base/error.h"
#include "base/span.h"

typedef struct pk_secret pk_secret;

#define PK_SECRET_MAX 8192u
#define PK_KEY_LEN    32u

typedef enum pk_secure_heap { PK_SECURE_HEAP_LOCKED, PK_SECURE_HEAP_UNLOCKED } pk_secure_heap;
/* Before any other call of crypto/ and before the first thread. Once. UNLOCKED: the pages may be
 * swapped (low RLIMIT_MEMLOCK): warn loudly. */
bool pk_secret_heap_init(pk_secure_heap *state, pk_error *err) PK_MUST_USE;

/* Copies the caller's bytes (1..PK_SECRET_MAX); the caller wipes its own copy. 53200 when the
 * secure heap is full; never falls back to ordinary memory. */
pk_secret *pk_secret_new(const void *bytes, size_t len, pk_error *err) PK_MUST_USE;
pk_secret *pk_secret_random(size_t len, pk_error *err) PK_MUST_USE;
pk_secret *pk_secret_copy(const pk_secret *secret, pk_error *err) PK_MUST_USE;
/* Wipes, then frees. NULL is fine. */
void pk_secret_free(pk_secret *secret);
PK_DEFINE_AUTO_PTR(pk_secret_free, pk_secret *)

size_t pk_secret_len(const pk_secret *secret);
/* Constant time in the bytes; the lengths are not secret. */
bool pk_secret_equal(const pk_secret *a, const pk_secret *b);

#endif
