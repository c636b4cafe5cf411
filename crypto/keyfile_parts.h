/*
 * What the writer and the reader of key files share: the object identifiers of the profile and the
 * file taken apart. For keyfile_*.c and their tests and fuzz target only. docs/formats/keyfile.md
 * draws the profile.
 */
#ifndef PK_CRYPTO_KEYFILE_PARTS_H
#define PK_CRYPTO_KEYFILE_PARTS_H

#include "crypto/cmswrap.h"
#include "crypto/der.h"
#include "crypto/kdf.h"
#include "crypto/keyfile.h"

#define PK_OID_AUTH_ENVELOPED PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17")
#define PK_OID_DATA           PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")
#define PK_OID_AES256_CBC     PK_SPAN("\x60\x86\x48\x01\x65\x03\x04\x01\x2a")
#define PK_OID_AES256_WRAP    PK_SPAN("\x60\x86\x48\x01\x65\x03\x04\x01\x2d")
#define PK_OID_AES256_GCM     PK_SPAN("\x60\x86\x48\x01\x65\x03\x04\x01\x2e")
#define PK_OID_PBKDF2         PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c")
#define PK_OID_HMAC_SHA256    PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x02\x09")
#define PK_OID_HMAC_SHA512    PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x02\x0b")
#define PK_OID_PWRI_KEK       PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x09")
#define PK_OID_RSAES_OAEP     PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07")
#define PK_OID_MGF1           PK_SPAN("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08")
#define PK_OID_SHA256         PK_SPAN("\x60\x86\x48\x01\x65\x03\x04\x02\x01")
/* 2.25.148360072561506148166992350104407860592: a wrapped key beside a KEK recipient's id. */
#define PK_OID_WRAPPED_KEK                                                                         \
    PK_SPAN("\x69\x81\xdf\x9d\x8e\x94\xc7\xb7\xf2\xa8\x99\x9d\xa0\xdc\x8c\xf6\xdb\x95\xca\x70")

#define PK_KEYFILE_PASSWORDS   4u
#define PK_KEYFILE_ROUNDS_SUM  20000000u  /* of all password recipients together */
#define PK_KEYFILE_BY_PASSWORD "password" /* what the signed list of recipients says for one */
#define PK_KEYFILE_KEK_MAX     8192u      /* a wrapped key beside a KEK recipient */

#define PK_KEYFILE_BEGIN "-----BEGIN CMS-----"
#define PK_KEYFILE_END   "-----END CMS-----"

typedef struct pk_keyfile_recipient {
    pk_recipient_kind kind;
    pk_kdf_params kdf;              /* password */
    uint8_t iv[16];                 /* password */
    uint8_t wrapped[PK_PWRI_LEN];   /* password: all of it; KEK: the first PK_KEYWRAP_LEN */
    char id[PK_KEYFILE_ID_MAX + 1]; /* KEK */
} pk_keyfile_recipient;

struct pk_keyfile {
    pk_keyfile_recipient recipients[PK_KEYFILE_RECIPIENTS];
    size_t count;
    uint8_t nonce[12];
    pk_buf sealed; /* ciphertext and tag */
};

/* The DER inside the PEM. */
pk_keyfile *pk_keyfile_parse_der(pk_span der, pk_error *err) PK_MUST_USE;
/* Opens with one recipient's secret. 28P01: not that secret; XX001: it was, but the rest is
 * damaged. */
bool pk_keyfile_open_one(const pk_keyfile *file, size_t recipient, const pk_secret *secret,
                         pk_keyset *set, pk_error *err) PK_MUST_USE;

/* The text for people before the PEM block: printable ASCII and newlines. `recipients` in the order
 * of the file. */
bool pk_keyfile_preamble(const pk_keyset *set, const pk_recipient *recipients, size_t count,
                         const pk_identity *signer, pk_buf *out, pk_error *err) PK_MUST_USE;

#endif
