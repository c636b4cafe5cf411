/*
 * The one format of exported keys: CMS AuthEnvelopedData (RFC 5083) in PEM with a preamble for
 * humans; opened by the stock `openssl cms -decrypt` (keys-and-security 7;
 * docs/formats/keyfile.md). We write and read one strict DER profile; OpenSSL's CMS code never sees
 * foreign bytes. The reader checks every limit of 7.5 before any key derivation.
 *
 * Writing and opening derive keys from passwords: a second each, never on an event loop. Any
 * thread.
 */
#ifndef PK_CRYPTO_KEYFILE_H
#define PK_CRYPTO_KEYFILE_H

#include "crypto/jwk.h"

#define PK_KEYFILE_MAX        (4u << 20)
#define PK_KEYFILE_RECIPIENTS 16u
#define PK_KEYFILE_ID_MAX     256u

typedef enum pk_recipient_kind {
    PK_RECIPIENT_PASSWORD, /* PWRI, PBKDF2-HMAC-SHA512, RFC 3211 with AES-256-CBC */
    PK_RECIPIENT_KEK,      /* KEKRI, AES-256 key wrap */
    PK_RECIPIENT_OTHER,    /* when reading: a certificate */
} pk_recipient_kind;

typedef struct pk_recipient {
    pk_recipient_kind kind;
    const pk_secret *secret; /* writing: the password, or the 32-byte KEK; borrowed */
    const char *id;          /* KEK: "keystore <uuid> v<n>" */
} pk_recipient;

/*
 * Appends the whole file (preamble and PEM). Checks itself before it returns: what was written is
 * read back, opened with each recipient's secret and the fingerprints are compared. 22023 for no or
 * too many recipients, and for a KEK's id that is not 1 to PK_KEYFILE_ID_MAX printable ASCII
 * characters, or "password".
 */
bool pk_keyfile_seal(const pk_keyset *set, const pk_recipient *recipients, size_t count,
                     const pk_identity *signer, pk_buf *out, pk_error *err) PK_MUST_USE;

typedef struct pk_keyfile pk_keyfile; /* a file taken apart, nothing decrypted */

/* XX001 for anything outside the profile or its limits (54000 for more than PK_KEYFILE_MAX bytes).
 * Copies. */
pk_keyfile *pk_keyfile_parse(pk_span file, pk_error *err) PK_MUST_USE;
void pk_keyfile_free(pk_keyfile *file);
PK_DEFINE_AUTO_PTR(pk_keyfile_free, pk_keyfile *)

size_t pk_keyfile_recipients(const pk_keyfile *file);
pk_recipient_kind pk_keyfile_recipient_kind(const pk_keyfile *file, size_t i);
/* Of a KEK recipient: its id (printable ASCII, else the parse failed); "" otherwise. */
const char *pk_keyfile_recipient_id(const pk_keyfile *file, size_t i);

/* Tries every password recipient. 28P01 wrong password; 22023 if the file has none; XX001 when the
 * content is damaged although the password was right. The set is initialised by the call; the
 * caller clears it. set->recipients_differ says whether the file has other recipients than were
 * signed; that is no error, because files that the openssl tool sealed anew do. */
bool pk_keyfile_open_password(const pk_keyfile *file, const pk_secret *password, pk_keyset *set,
                              pk_error *err) PK_MUST_USE;
bool pk_keyfile_open_kek(const pk_keyfile *file, size_t recipient, const pk_secret *kek,
                         pk_keyset *set, pk_error *err) PK_MUST_USE;

#endif
