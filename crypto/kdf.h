/*
 * Keys from passwords (scrypt, PBKDF2; keys-and-security 8.2) and keys from keys (HKDF-SHA-256 with
 * the labels of 8.3). Parameters are stored with the result, never taken from the code when
 * reading, so costs can rise. Slow on purpose: never on an event loop. Any thread.
 *
 * A build with PK_TEST_KDF derives cheaply (scrypt N = 2^10, 10,000 rounds of PBKDF2). A release
 * refuses to *write* below the real floors (pk_kdf_params_new never returns them; pk_kdf_floor_ok).
 */
#ifndef PK_CRYPTO_KDF_H
#define PK_CRYPTO_KDF_H

#include "base/buf.h"
#include "crypto/secret.h"

typedef enum pk_kdf_alg { PK_KDF_SCRYPT, PK_KDF_PBKDF2_SHA512, PK_KDF_PBKDF2_SHA256 } pk_kdf_alg;

typedef struct pk_kdf_params {
    pk_kdf_alg alg;
    uint64_t n;          /* scrypt */
    uint32_t r, p;       /* scrypt */
    uint32_t iterations; /* PBKDF2 */
    uint8_t salt[64];
    size_t salt_len; /* 16..64; 32 in what we write */
} pk_kdf_params;

/* Fresh salt and this build's cost. */
bool pk_kdf_params_new(pk_kdf_alg alg, pk_kdf_params *params, pk_error *err) PK_MUST_USE;
/* May this build write a file or row with these parameters? */
bool pk_kdf_floor_ok(const pk_kdf_params *params);
/* May foreign parameters be tried at all? Salt of 16 to 64 bytes, PBKDF2 of PK_KDF_ROUNDS_MIN to
 * _MAX, scrypt up to 64 MiB. */
#define PK_KDF_ROUNDS_MIN 10000u
#define PK_KDF_ROUNDS_MAX 10000000u
bool pk_kdf_limits_ok(const pk_kdf_params *params);
/* {"alg":"scrypt","n":32768,"r":8,"p":3,"salt":"<base64>"}: the catalog's kdf_json. Writing
 * refuses what is below the floor (XX000); reading checks limits: XX001. */
bool pk_kdf_params_write(const pk_kdf_params *params, pk_buf *out, pk_error *err) PK_MUST_USE;
bool pk_kdf_params_read(pk_span json, pk_kdf_params *params, pk_error *err) PK_MUST_USE;

/* 32 bytes from a password. XX001 outside the limits; 53400 too many wait (kdf_pool.h). Passes its
 * own memory cap to scrypt. */
pk_secret *pk_kdf_password(const pk_secret *password, const pk_kdf_params *params,
                           pk_error *err) PK_MUST_USE;

/* Labels: every derived key has one; a new purpose needs a new label and a vector. */
#define PK_LABEL_WRAP  "pgkeep wrap 1"
#define PK_LABEL_FP    "pgkeep fp 1"
#define PK_LABEL_ROW   "pgkeep row 1"
#define PK_LABEL_AUDIT "pgkeep audit 1"
#define PK_LABEL_SLOT  "pgkeep slot 1"
#define PK_LABEL_KEK   "pgkeep kek 1"
/* HKDF-SHA-256, empty salt, info = label, and if `context` is not empty 0x00 and the context. 32
 * bytes. */
pk_secret *pk_hkdf(const pk_secret *key, const char *label, pk_span context,
                   pk_error *err) PK_MUST_USE;

#endif
