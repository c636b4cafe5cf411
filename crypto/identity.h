/*
 * The signature of a keystore: an Ed25519 pair, made at init. The private half is a secret that the
 * catalog keeps wrapped under the store key; the public half travels in every key file, so that a
 * restore can say who wrote it. Any thread, borrowed const.
 */
#ifndef PK_CRYPTO_IDENTITY_H
#define PK_CRYPTO_IDENTITY_H

#include "crypto/secret.h"

#define PK_IDENTITY_PUBLIC    32u
#define PK_IDENTITY_SIGNATURE 64u

typedef struct pk_identity {
    pk_secret *private_key; /* owned; 32 bytes, RFC 8032 */
    uint8_t public_key[PK_IDENTITY_PUBLIC];
} pk_identity;

bool pk_identity_generate(pk_identity *identity, pk_error *err) PK_MUST_USE;
/* Takes the private key and computes the public one. */
bool pk_identity_from_secret(pk_identity *identity, pk_secret *private_key,
                             pk_error *err) PK_MUST_USE;
void pk_identity_clear(pk_identity *identity);

bool pk_identity_sign(const pk_identity *identity, pk_span bytes, uint8_t signature[static 64],
                      pk_error *err) PK_MUST_USE;
bool pk_identity_verify(const uint8_t public_key[static 32], pk_span bytes,
                        const uint8_t signature[static 64]) PK_MUST_USE;
/* First 16 bytes of SHA-256(public key), and its text "pgs1:7c4e-91a0-5d2f-b863". */
bool pk_identity_fingerprint(const uint8_t public_key[static 32], uint8_t fp[static 16],
                             pk_error *err) PK_MUST_USE;
void pk_identity_fingerprint_text(const uint8_t fp[static 16], char out[static 25]);

#endif
