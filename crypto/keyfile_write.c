/*
 * Writing a key file: one random content key, the payload sealed under it, the content key wrapped
 * for each recipient. DER is built inside out from small buffers; only the payload's buffer holds
 * secrets. Before a file is handed out it is read back and opened with every secret that was given
 * (keys-and-security 7.6): a backup that nobody has opened is a hope.
 */
#include "base/encode.h"
#include "crypto/aead.h"
#include "crypto/keyfile_parts.h"
#include "crypto/random.h"

#define LINE ((size_t)64)

/* One RecipientInfo in DER, and whose it is. */
typedef struct sealed_recipient {
    pk_buf der;
    const pk_recipient *from;
} sealed_recipient;

typedef struct envelope {
    sealed_recipient recipients[PK_KEYFILE_RECIPIENTS];
    size_t count;
} envelope;

static void envelope_clear(envelope *env)
{
    for (size_t i = 0; i < env->count; i++)
        pk_buf_clear(&env->recipients[i].der);
}

/* --- DER --- */

/* SEQUENCE { oid, parameters }; parameters are DER already, or empty for absent. */
static bool put_algorithm(pk_buf *out, uint8_t tag, pk_span oid, pk_span parameters, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(1024);
    return pk_der_put(&inside, PK_DER_OID, oid, err) &&
           pk_buf_append_span(&inside, parameters, err) &&
           pk_der_put(out, tag, pk_buf_span(&inside), err);
}

static bool put_pbkdf2(pk_buf *out, const pk_kdf_params *kdf, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(1024);
    PK_AUTO(pk_buf_clear) pk_buf parameters = PK_BUF_MAX(1024);
    return pk_der_put(&inside, PK_DER_OCTETS, pk_span_bytes(kdf->salt, kdf->salt_len), err) &&
           pk_der_put_uint(&inside, kdf->iterations, err) &&
           pk_der_put_uint(&inside, PK_KEY_LEN, err) &&
           put_algorithm(&inside, PK_DER_SEQUENCE, PK_OID_HMAC_SHA512, PK_SPAN("\x05\x00"), err) &&
           pk_der_put(&parameters, PK_DER_SEQUENCE, pk_buf_span(&inside), err) &&
           put_algorithm(out, PK_DER_CONTEXT_CONSTRUCTED(0), PK_OID_PBKDF2,
                         pk_buf_span(&parameters), err);
}

/* The cipher in which RFC 3211 wraps, as parameter of its algorithm. */
static bool put_pwri_kek(pk_buf *out, const uint8_t iv[static 16], pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf iv_der = PK_BUF_MAX(64);
    PK_AUTO(pk_buf_clear) pk_buf cipher = PK_BUF_MAX(64);
    return pk_der_put(&iv_der, PK_DER_OCTETS, pk_span_bytes(iv, 16), err) &&
           put_algorithm(&cipher, PK_DER_SEQUENCE, PK_OID_AES256_CBC, pk_buf_span(&iv_der), err) &&
           put_algorithm(out, PK_DER_SEQUENCE, PK_OID_PWRI_KEK, pk_buf_span(&cipher), err);
}

static bool put_password(pk_buf *out, const pk_secret *password, const pk_secret *cek,
                         pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(1024);
    pk_kdf_params kdf;
    uint8_t iv[16];
    uint8_t wrapped[PK_PWRI_LEN];
    if (!pk_kdf_params_new(PK_KDF_PBKDF2_SHA512, &kdf, err) || !pk_random(iv, sizeof iv, err))
        return false;
    if (!pk_kdf_floor_ok(&kdf))
        return pk_fail(err, PK_E_INTERNAL, "key derivation is too cheap for a key file");
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = pk_kdf_password(password, &kdf, err);
    return kek != NULL && pk_pwri_wrap(kek, iv, cek, wrapped, err) &&
           pk_der_put_uint(&inside, 0, err) && put_pbkdf2(&inside, &kdf, err) &&
           put_pwri_kek(&inside, iv, err) &&
           pk_der_put(&inside, PK_DER_OCTETS, pk_span_bytes(wrapped, sizeof wrapped), err) &&
           pk_der_put(out, PK_DER_CONTEXT_CONSTRUCTED(3), pk_buf_span(&inside), err);
}

static bool put_kek(pk_buf *out, const pk_recipient *recipient, const pk_secret *cek, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(1024);
    PK_AUTO(pk_buf_clear) pk_buf id = PK_BUF_MAX(1024);
    uint8_t wrapped[PK_KEYWRAP_LEN];
    return pk_keywrap(recipient->secret, cek, wrapped, err) && pk_der_put_uint(&inside, 4, err) &&
           pk_der_put(&id, PK_DER_OCTETS, pk_span_of(recipient->id), err) &&
           pk_der_put(&inside, PK_DER_SEQUENCE, pk_buf_span(&id), err) &&
           put_algorithm(&inside, PK_DER_SEQUENCE, PK_OID_AES256_WRAP, PK_SPAN(""), err) &&
           pk_der_put(&inside, PK_DER_OCTETS, pk_span_bytes(wrapped, sizeof wrapped), err) &&
           pk_der_put(out, PK_DER_CONTEXT_CONSTRUCTED(2), pk_buf_span(&inside), err);
}

/* DER sorts a SET OF by its elements' bytes; no element is the beginning of another. */
static bool stands_before(const sealed_recipient *a, const sealed_recipient *b)
{
    pk_span one = pk_buf_span(&a->der);
    pk_span two = pk_buf_span(&b->der);
    size_t shorter = one.len < two.len ? one.len : two.len;
    return memcmp(one.ptr, two.ptr, shorter) < 0; /* not secret */
}

static void insert(envelope *env, sealed_recipient recipient)
{
    size_t at = env->count++;
    for (; at > 0 && stands_before(&recipient, &env->recipients[at - 1]); at--)
        env->recipients[at] = env->recipients[at - 1];
    env->recipients[at] = recipient;
}

static bool wrap_for_all(const pk_recipient *recipients, size_t count, const pk_secret *cek,
                         envelope *env, pk_error *err)
{
    for (size_t i = 0; i < count; i++) {
        sealed_recipient one = {PK_BUF_MAX(2048), &recipients[i]};
        bool done = recipients[i].kind == PK_RECIPIENT_PASSWORD
                        ? put_password(&one.der, recipients[i].secret, cek, err)
                        : put_kek(&one.der, &recipients[i], cek, err);
        insert(env, one); /* owns the buffer also when it failed */
        if (!done)
            return false;
    }
    return true;
}

static bool put_recipients(pk_buf *out, const envelope *env, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf set = PK_BUF_MAX(64u << 10);
    for (size_t i = 0; i < env->count; i++)
        if (!pk_buf_append_span(&set, pk_buf_span(&env->recipients[i].der), err))
            return false;
    return pk_der_put(out, PK_DER_SET, pk_buf_span(&set), err);
}

static bool put_gcm(pk_buf *out, const uint8_t nonce[static PK_AEAD_NONCE], pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(64);
    PK_AUTO(pk_buf_clear) pk_buf parameters = PK_BUF_MAX(64);
    return pk_der_put(&inside, PK_DER_OCTETS, pk_span_bytes(nonce, PK_AEAD_NONCE), err) &&
           pk_der_put_uint(&inside, PK_AEAD_TAG, err) &&
           pk_der_put(&parameters, PK_DER_SEQUENCE, pk_buf_span(&inside), err) &&
           put_algorithm(out, PK_DER_SEQUENCE, PK_OID_AES256_GCM, pk_buf_span(&parameters), err);
}

/* The encrypted content and, behind it, the tag. */
static bool put_content(pk_buf *out, const pk_secret *cek, pk_span payload, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf sealed = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(PK_KEYFILE_MAX);
    uint8_t nonce[PK_AEAD_NONCE];
    if (!pk_random(nonce, sizeof nonce, err) ||
        !pk_aead_seal(cek, nonce, PK_SPAN(""), payload, &sealed, err))
        return false;
    pk_span all = pk_buf_span(&sealed);
    pk_span ciphertext = {all.ptr, all.len - PK_AEAD_TAG};
    pk_span tag = {all.ptr + ciphertext.len, PK_AEAD_TAG};
    return pk_der_put(&inside, PK_DER_OID, PK_OID_DATA, err) && put_gcm(&inside, nonce, err) &&
           pk_der_put(&inside, PK_DER_CONTEXT(0), ciphertext, err) &&
           pk_der_put(out, PK_DER_SEQUENCE, pk_buf_span(&inside), err) &&
           pk_der_put(out, PK_DER_OCTETS, tag, err);
}

/* The whole structure; afterwards env has the recipients in the order of the file. */
static bool build_der(pk_span payload, const pk_recipient *recipients, size_t count, envelope *env,
                      pk_buf *out, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf body = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf info = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO_PTR(pk_secret_free) pk_secret *cek = pk_secret_random(PK_KEY_LEN, err);
    return cek != NULL && wrap_for_all(recipients, count, cek, env, err) &&
           pk_der_put_uint(&inside, 0, err) && put_recipients(&inside, env, err) &&
           put_content(&inside, cek, payload, err) &&
           pk_der_put(&body, PK_DER_SEQUENCE, pk_buf_span(&inside), err) &&
           pk_der_put(&info, PK_DER_OID, PK_OID_AUTH_ENVELOPED, err) &&
           pk_der_put(&info, PK_DER_CONTEXT_CONSTRUCTED(0), pk_buf_span(&body), err) &&
           pk_der_put(out, PK_DER_SEQUENCE, pk_buf_span(&info), err);
}

/* --- PEM --- */

static bool put_pem(pk_buf *out, pk_span der, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    if (!pk_base64(der, &text, err) || !pk_buf_append_text(out, PK_KEYFILE_BEGIN "\n", err))
        return false;
    pk_span all = pk_buf_span(&text);
    for (size_t at = 0; at < all.len; at += LINE) {
        size_t len = all.len - at < LINE ? all.len - at : LINE;
        if (!pk_buf_append(out, all.ptr + at, len, err) || !pk_buf_append_text(out, "\n", err))
            return false;
    }
    return pk_buf_append_text(out, PK_KEYFILE_END "\n", err);
}

/* --- the call --- */

/* What the reader would refuse, or mistake for a password in the list of recipients. */
static bool check_id(const char *id, pk_error *err)
{
    size_t len = strlen(id);
    bool ok = len >= 1 && len <= PK_KEYFILE_ID_MAX && strcmp(id, PK_KEYFILE_BY_PASSWORD) != 0;
    for (size_t i = 0; ok && i < len; i++)
        ok = id[i] >= 0x20 && id[i] <= 0x7e;
    return ok || pk_fail(err, PK_E_PARAMETER,
                         "the identifier of a key in a key file must be 1 to %u printable ASCII "
                         "characters, and not \"" PK_KEYFILE_BY_PASSWORD "\"",
                         PK_KEYFILE_ID_MAX);
}

static bool check_recipient(const pk_recipient *recipient, pk_error *err)
{
    if (recipient->kind == PK_RECIPIENT_PASSWORD && recipient->secret != NULL)
        return true;
    if (recipient->kind == PK_RECIPIENT_KEK && recipient->secret != NULL && recipient->id != NULL &&
        pk_secret_len(recipient->secret) == PK_KEY_LEN)
        return check_id(recipient->id, err);
    return pk_fail(err, PK_E_INTERNAL, "a recipient of a key file is incomplete");
}

static bool check_recipients(const pk_recipient *recipients, size_t count, pk_error *err)
{
    size_t passwords = 0;
    for (size_t i = 0; i < count && i < PK_KEYFILE_RECIPIENTS; i++) {
        if (!check_recipient(&recipients[i], err))
            return false;
        passwords += recipients[i].kind == PK_RECIPIENT_PASSWORD;
    }
    if (count == 0 || count > PK_KEYFILE_RECIPIENTS || passwords > PK_KEYFILE_PASSWORDS)
        return pk_fail(err, PK_E_PARAMETER,
                       "a key file takes 1 to %u recipients, %u of them passwords",
                       PK_KEYFILE_RECIPIENTS, PK_KEYFILE_PASSWORDS);
    return true;
}

static bool build_payload(const pk_keyset *set, const pk_recipient *recipients, size_t count,
                          const pk_identity *signer, pk_buf *out, pk_error *err)
{
    const char *texts[PK_KEYFILE_RECIPIENTS];
    for (size_t i = 0; i < count; i++)
        texts[i] =
            recipients[i].kind == PK_RECIPIENT_PASSWORD ? PK_KEYFILE_BY_PASSWORD : recipients[i].id;
    return pk_keyset_write(set, texts, count, signer, out, err);
}

static bool build_text(const pk_keyset *set, const envelope *env, const pk_identity *signer,
                       pk_span der, pk_buf *out, pk_error *err)
{
    pk_recipient ordered[PK_KEYFILE_RECIPIENTS];
    for (size_t i = 0; i < env->count; i++)
        ordered[i] = *env->recipients[i].from;
    return pk_keyfile_preamble(set, ordered, env->count, signer, out, err) &&
           put_pem(out, der, err);
}

static bool same_key(const pk_keyset_key *a, const pk_keyset_key *b)
{
    return a->ver == b->ver && memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0 && /* not secret */
           memcmp(a->fp, b->fp, sizeof a->fp) == 0;                             /* not secret */
}

static bool same_keys(const pk_keyset *a, const pk_keyset *b, pk_error *err)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_key(&a->keys[i], &b->keys[i]);
    return same || pk_fail(err, PK_E_INTERNAL, "other keys were read than written");
}

static bool read_back(const pk_keyset *set, const envelope *env, pk_span text, pk_error *err)
{
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(text, err);
    if (file == NULL)
        return false;
    if (pk_keyfile_recipients(file) != env->count)
        return pk_fail(err, PK_E_INTERNAL, "other recipients were read than written");
    for (size_t i = 0; i < env->count; i++) {
        PK_AUTO(pk_keyset_clear) pk_keyset again;
        if (!pk_keyfile_open_one(file, i, env->recipients[i].from->secret, &again, err) ||
            !same_keys(set, &again, err))
            return false;
        if (again.recipients_differ)
            return pk_fail(err, PK_E_INTERNAL, "other recipients were read than signed");
    }
    return true;
}

/* To the caller a file that does not open is our fault, not a wrong password or a damaged file. */
static bool check_itself(const pk_keyset *set, const envelope *env, pk_span text, pk_error *err)
{
    pk_error fault = {0};
    if (read_back(set, env, text, &fault))
        return true;
    if (pk_error_is(&fault, PK_E_MEMORY) && err != NULL) {
        *err = fault;
        return false;
    }
    pk_fail(err, PK_E_INTERNAL, "key file did not pass its own check");
    return pk_error_detail(err, "Reading it back: %s.", fault.message);
}

bool pk_keyfile_seal(const pk_keyset *set, const pk_recipient *recipients, size_t count,
                     const pk_identity *signer, pk_buf *out, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(envelope_clear) envelope env = {.count = 0};

    return check_recipients(recipients, count, err) &&
           build_payload(set, recipients, count, signer, &payload, err) &&
           build_der(pk_buf_span(&payload), recipients, count, &env, &der, err) &&
           build_text(set, &env, signer, pk_buf_span(&der), &text, err) &&
           check_itself(set, &env, pk_buf_span(&text), err) &&
           pk_buf_append_span(out, pk_buf_span(&text), err);
}
