/*
 * One key protected by another (keys-and-security 3): HKDF-SHA-256 makes a wrap key for this parent
 * and this child, AES-256-GCM seals the child, the child's whole identity is authenticated. A blob
 * is fmt(1) alg(1) nonce(12) ciphertext tag(16): 62 bytes for a 256-bit key.
 * docs/formats/catalog.md draws it. Any thread.
 */
#ifndef PK_CRYPTO_WRAP_H
#define PK_CRYPTO_WRAP_H

#include "base/buf.h"
#include "crypto/secret.h"

#define PK_WRAP_OVERHEAD 30u

typedef struct pk_wrap_context {
    uint8_t
        store_uuid[16]; /* 16 zero bytes for wraps that live outside the catalog (DECISIONS 14a) */
    const char *parent_kind; /* "slot", "sk", "smk", "dmk", "password" */
    uint8_t parent_uuid[16];
    uint32_t parent_ver;
    const char *child_kind; /* "sk", "smk", "dmk", "identity", "data key" */
    uint8_t child_uuid[16];
    uint32_t child_ver;
    const char *child_alg;   /* "A256", "ED25519" */
    const char *purpose;     /* "wrap" */
    uint32_t flags;          /* 1 exportable, 2 external origin */
    const char *owner_scope; /* "service", "db": names may change, the row MAC binds them */
} pk_wrap_context;

#define PK_WRAP_EXPORTABLE 1u
#define PK_WRAP_EXTERNAL   2u

/* Appends the blob to out. */
bool pk_wrap(const pk_secret *parent, const pk_wrap_context *context, const pk_secret *key,
             pk_buf *out, pk_error *err) PK_MUST_USE;
/* XX001 unknown format; 28P01 if this parent or context is not what it was wrapped with, or it was
 * damaged: the two cannot be told apart. */
pk_secret *pk_unwrap(const pk_secret *parent, const pk_wrap_context *context, pk_span blob,
                     pk_error *err) PK_MUST_USE;

/* First 16 bytes of HKDF(key, "pgkeep fp 1"): one-way, equal on both sides of a backup, safe to
 * print. */
#define PK_FP_LEN 16u
bool pk_fingerprint(const pk_secret *key, uint8_t fp[static 16], pk_error *err) PK_MUST_USE;
/* "pgk1:7c4e-91a0-5d2f-b863": the first 64 bits. */
#define PK_FP_TEXT 25u
void pk_fingerprint_text(const uint8_t fp[static 16], char out[static PK_FP_TEXT]);
/* The same behind another prefix of four characters ("pgs1" for signers). */
void pk_fingerprint_text_with(const char *prefix, const uint8_t fp[static 16],
                              char out[static PK_FP_TEXT]);

#endif
