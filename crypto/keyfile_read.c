/*
 * Reading a key file, in steps that each finish before the next begins: the PEM block, the whole
 * DER structure with all limits of keys-and-security 7.5, and only then, on request, key derivation
 * and decryption. Everything outside the one profile is refused, also where CMS would allow it.
 */
#include "base/encode.h"
#include "crypto/aead.h"
#include "crypto/keyfile_parts.h"

#define LINE    ((size_t)64)  /* of base64 */
#define RSA_MIN ((size_t)384) /* 3072 bits */
#define RSA_MAX ((size_t)2048)
#define NO_END  "It is cut off."

static bool damaged(pk_error *err, const char *what)
{
    pk_fail(err, PK_E_CORRUPT, "not a key file of pgkeep, or a damaged one");
    return pk_error_detail(err, "%s", what);
}

/* --- PEM --- */

/* The next line without its end (LF or CRLF); false when there is none. */
static bool next_line(pk_span *rest, pk_span *line)
{
    if (rest->len == 0)
        return false;
    const char *newline = memchr(rest->ptr, '\n', rest->len);
    size_t len = newline == NULL ? rest->len : (size_t)(newline - rest->ptr);
    size_t step = newline == NULL ? len : len + 1;
    *line = (pk_span){rest->ptr, len};
    if (newline != NULL && len > 0 && line->ptr[len - 1] == '\r')
        line->len--;
    *rest = (pk_span){rest->ptr + step, rest->len - step};
    return true;
}

/* Every line but the last is full, so there is one way to write a file. */
static bool read_base64(pk_span *rest, pk_buf *der, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    pk_span line;
    pk_error fault = {0};
    bool last = false;
    while (next_line(rest, &line)) {
        if (pk_span_equal(line, PK_SPAN(PK_KEYFILE_END)))
            return pk_unbase64(pk_buf_span(&text), der, &fault) ||
                   (pk_error_is(&fault, PK_E_MEMORY)
                        ? pk_fail(err, PK_E_MEMORY, "%s", fault.message)
                        : damaged(err, "Its base64 is not valid."));
        if (last || line.len == 0 || line.len > LINE)
            return damaged(err, "It has a line of a wrong length.");
        last = line.len < LINE;
        if (!pk_buf_append_span(&text, line, err))
            return false;
    }
    return damaged(err, NO_END);
}

/* The text in front is for people; it may not look like a block, or tools could read another file
 * than we do. */
static bool read_pem(pk_span file, pk_buf *der, pk_error *err)
{
    pk_span rest = file;
    pk_span line;
    do {
        if (!next_line(&rest, &line))
            return damaged(err, "It has no line \"" PK_KEYFILE_BEGIN "\".");
        if (pk_span_equal(line, PK_SPAN(PK_KEYFILE_BEGIN)))
            break;
    } while (memmem(line.ptr, line.len, "-----BEGIN", 10) == NULL);
    if (!pk_span_equal(line, PK_SPAN(PK_KEYFILE_BEGIN)))
        return damaged(err, "It begins like another kind of file.");
    if (!read_base64(&rest, der, err))
        return false;
    return rest.len == 0 || damaged(err, "Something follows its end.");
}

/* --- DER --- */

static bool read_algorithm(pk_der *in, pk_span oid, pk_der *parameters)
{
    return pk_der_enter(in, PK_DER_SEQUENCE, parameters) && pk_der_oid_is(parameters, oid);
}

static bool read_prf(pk_der *in, pk_kdf_alg *alg)
{
    pk_der prf;
    if (!pk_der_enter(in, PK_DER_SEQUENCE, &prf))
        return false;
    if (pk_der_oid_is(&prf, PK_OID_HMAC_SHA512))
        *alg = PK_KDF_PBKDF2_SHA512;
    else if (pk_der_oid_is(&prf, PK_OID_HMAC_SHA256))
        *alg = PK_KDF_PBKDF2_SHA256;
    else
        return false;
    return pk_der_null(&prf) && pk_der_end(&prf);
}

static bool read_pbkdf2(pk_der *in, pk_kdf_params *kdf)
{
    pk_der alg;
    pk_der parameters;
    pk_span salt;
    if (!pk_der_enter(in, PK_DER_CONTEXT_CONSTRUCTED(0), &alg) ||
        !pk_der_oid_is(&alg, PK_OID_PBKDF2) || !pk_der_enter(&alg, PK_DER_SEQUENCE, &parameters) ||
        !pk_der_end(&alg) ||
        !pk_der_bytes(&parameters, PK_DER_OCTETS, 16, sizeof kdf->salt, &salt) ||
        !pk_der_uint(&parameters, &kdf->iterations) || !pk_der_uint_is(&parameters, PK_KEY_LEN) ||
        !read_prf(&parameters, &kdf->alg) || !pk_der_end(&parameters))
        return false;
    memcpy(kdf->salt, salt.ptr, salt.len);
    kdf->salt_len = salt.len;
    return pk_kdf_limits_ok(kdf);
}

static bool read_password(pk_der *in, pk_keyfile_recipient *recipient)
{
    pk_der alg;
    pk_der cipher;
    pk_span iv;
    pk_span wrapped;
    recipient->kind = PK_RECIPIENT_PASSWORD;
    if (!pk_der_uint_is(in, 0) || !read_pbkdf2(in, &recipient->kdf) ||
        !read_algorithm(in, PK_OID_PWRI_KEK, &alg) ||
        !read_algorithm(&alg, PK_OID_AES256_CBC, &cipher) || !pk_der_end(&alg) ||
        !pk_der_bytes(&cipher, PK_DER_OCTETS, 16, 16, &iv) || !pk_der_end(&cipher) ||
        !pk_der_bytes(in, PK_DER_OCTETS, PK_PWRI_LEN, PK_PWRI_LEN, &wrapped) || !pk_der_end(in))
        return false;
    memcpy(recipient->iv, iv.ptr, sizeof recipient->iv);
    memcpy(recipient->wrapped, wrapped.ptr, PK_PWRI_LEN);
    return true;
}

static bool is_printable(pk_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
            return false;
    return true;
}

/* A wrapped key that a cloud service opens: kept for `openssl` and people, not used here. */
static bool skip_wrapped_kek(pk_der *kekid)
{
    pk_der other;
    pk_span wrapped;
    if (pk_der_end(kekid))
        return true;
    return read_algorithm(kekid, PK_OID_WRAPPED_KEK, &other) &&
           pk_der_bytes(&other, PK_DER_OCTETS, 1, PK_KEYFILE_KEK_MAX, &wrapped) &&
           pk_der_end(&other) && pk_der_end(kekid);
}

static bool read_kek(pk_der *in, pk_keyfile_recipient *recipient)
{
    pk_der kekid;
    pk_der alg;
    pk_span id;
    pk_span wrapped;
    recipient->kind = PK_RECIPIENT_KEK;
    if (!pk_der_uint_is(in, 4) || !pk_der_enter(in, PK_DER_SEQUENCE, &kekid) ||
        !pk_der_bytes(&kekid, PK_DER_OCTETS, 1, PK_KEYFILE_ID_MAX, &id) || !is_printable(id) ||
        !skip_wrapped_kek(&kekid) || !read_algorithm(in, PK_OID_AES256_WRAP, &alg) ||
        !pk_der_end(&alg) ||
        !pk_der_bytes(in, PK_DER_OCTETS, PK_KEYWRAP_LEN, PK_KEYWRAP_LEN, &wrapped) ||
        !pk_der_end(in))
        return false;
    memcpy(recipient->id, id.ptr, id.len);
    memcpy(recipient->wrapped, wrapped.ptr, PK_KEYWRAP_LEN);
    return true;
}

/* SHA-256 with parameters NULL or absent: both occur. */
static bool read_sha256(pk_der *in)
{
    pk_der alg;
    return read_algorithm(in, PK_OID_SHA256, &alg) && (pk_der_end(&alg) || pk_der_null(&alg)) &&
           pk_der_end(&alg);
}

/* RSAES-OAEP-params: [0] the digest, [1] MGF1 with the digest; no label. */
static bool read_oaep(pk_der *in)
{
    pk_der parameters;
    pk_der part;
    pk_der mgf;
    return pk_der_enter(in, PK_DER_SEQUENCE, &parameters) &&
           pk_der_enter(&parameters, PK_DER_CONTEXT_CONSTRUCTED(0), &part) && read_sha256(&part) &&
           pk_der_end(&part) && pk_der_enter(&parameters, PK_DER_CONTEXT_CONSTRUCTED(1), &part) &&
           read_algorithm(&part, PK_OID_MGF1, &mgf) && pk_der_end(&part) && read_sha256(&mgf) &&
           pk_der_end(&mgf) && pk_der_end(&parameters);
}

static bool read_certificate(pk_der *in, pk_keyfile_recipient *recipient)
{
    pk_der alg;
    pk_span ignored;
    recipient->kind = PK_RECIPIENT_OTHER;
    return pk_der_uint_is(in, 2) && pk_der_bytes(in, PK_DER_CONTEXT(0), 1, 64, &ignored) &&
           read_algorithm(in, PK_OID_RSAES_OAEP, &alg) && read_oaep(&alg) && pk_der_end(&alg) &&
           pk_der_bytes(in, PK_DER_OCTETS, RSA_MIN, RSA_MAX, &ignored) && pk_der_end(in);
}

static bool read_recipient(pk_der *set, pk_keyfile_recipient *recipient)
{
    uint8_t tag = 0;
    pk_der inside;
    if (!pk_der_peek(set, &tag) || !pk_der_enter(set, tag, &inside))
        return false;
    switch (tag) {
    case PK_DER_CONTEXT_CONSTRUCTED(3):
        return read_password(&inside, recipient);
    case PK_DER_CONTEXT_CONSTRUCTED(2):
        return read_kek(&inside, recipient);
    case PK_DER_SEQUENCE:
        return read_certificate(&inside, recipient);
    default:
        return false;
    }
}

/* DER sorts a SET OF by the bytes of its elements. */
static bool in_order(pk_span before, pk_span after)
{
    size_t shorter = before.len < after.len ? before.len : after.len;
    int order = shorter == 0 ? 0 : memcmp(before.ptr, after.ptr, shorter); /* not secret */
    return order < 0 || (order == 0 && before.len <= after.len);
}

static bool read_recipients(pk_der *in, pk_keyfile *file)
{
    pk_der set;
    pk_span before = PK_SPAN("");
    uint32_t rounds = 0;
    size_t passwords = 0;
    if (!pk_der_enter(in, PK_DER_SET, &set) || pk_der_end(&set))
        return false;
    while (!pk_der_end(&set)) {
        const char *start = set.rest.ptr;
        if (file->count == PK_KEYFILE_RECIPIENTS)
            return false;
        pk_keyfile_recipient *recipient = &file->recipients[file->count++];
        if (!read_recipient(&set, recipient))
            return false;
        pk_span whole = {start, (size_t)(set.rest.ptr - start)};
        if (!in_order(before, whole))
            return false;
        before = whole;
        if (recipient->kind != PK_RECIPIENT_PASSWORD)
            continue;
        rounds += recipient->kdf.iterations; /* each at most PK_KDF_ROUNDS_MAX, at most 4 + 1 */
        if (++passwords > PK_KEYFILE_PASSWORDS || rounds > PK_KEYFILE_ROUNDS_SUM)
            return false;
    }
    return true;
}

/* Ciphertext and tag stand apart in CMS, together in our AEAD. */
static bool read_content(pk_der *in, pk_keyfile *file, pk_error *err)
{
    pk_der content;
    pk_der alg;
    pk_der parameters;
    pk_span nonce;
    pk_span ciphertext;
    pk_span tag;
    if (!pk_der_enter(in, PK_DER_SEQUENCE, &content) || !pk_der_oid_is(&content, PK_OID_DATA) ||
        !read_algorithm(&content, PK_OID_AES256_GCM, &alg) ||
        !pk_der_enter(&alg, PK_DER_SEQUENCE, &parameters) || !pk_der_end(&alg) ||
        !pk_der_bytes(&parameters, PK_DER_OCTETS, PK_AEAD_NONCE, PK_AEAD_NONCE, &nonce) ||
        !pk_der_uint_is(&parameters, PK_AEAD_TAG) || !pk_der_end(&parameters) ||
        !pk_der_bytes(&content, PK_DER_CONTEXT(0), 1, PK_KEYFILE_MAX, &ciphertext) ||
        !pk_der_end(&content) || !pk_der_bytes(in, PK_DER_OCTETS, PK_AEAD_TAG, PK_AEAD_TAG, &tag))
        return damaged(err, "Its content is outside the profile.");
    memcpy(file->nonce, nonce.ptr, sizeof file->nonce);
    return pk_buf_append_span(&file->sealed, ciphertext, err) &&
           pk_buf_append_span(&file->sealed, tag, err);
}

static bool read_envelope(pk_span der, pk_keyfile *file, pk_error *err)
{
    pk_der outer = pk_der_of(der);
    pk_der info;
    pk_der wrapper;
    pk_der envelope;
    if (!pk_der_enter(&outer, PK_DER_SEQUENCE, &info) || !pk_der_end(&outer) ||
        !pk_der_oid_is(&info, PK_OID_AUTH_ENVELOPED) ||
        !pk_der_enter(&info, PK_DER_CONTEXT_CONSTRUCTED(0), &wrapper) || !pk_der_end(&info) ||
        !pk_der_enter(&wrapper, PK_DER_SEQUENCE, &envelope) || !pk_der_end(&wrapper) ||
        !pk_der_uint_is(&envelope, 0))
        return damaged(err, "It is not CMS AuthEnvelopedData in DER.");
    if (!read_recipients(&envelope, file))
        return damaged(err, "Its recipients are outside the profile or its limits.");
    if (!read_content(&envelope, file, err))
        return false;
    return pk_der_end(&envelope) || damaged(err, "It has attributes, which the profile lacks.");
}

pk_keyfile *pk_keyfile_parse_der(pk_span der, pk_error *err)
{
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_new(pk_keyfile);
    file->sealed = PK_BUF_MAX(PK_KEYFILE_MAX);
    if (!read_envelope(der, file, err))
        return NULL;
    return pk_steal(&file);
}

pk_keyfile *pk_keyfile_parse(pk_span file, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(PK_KEYFILE_MAX);
    if (file.len > PK_KEYFILE_MAX) {
        pk_fail(err, PK_E_TOO_LONG, "key file is larger than %u bytes", PK_KEYFILE_MAX);
        return NULL;
    }
    if (!read_pem(file, &der, err))
        return NULL;
    return pk_keyfile_parse_der(pk_buf_span(&der), err);
}

void pk_keyfile_free(pk_keyfile *file)
{
    if (file == NULL)
        return;
    pk_buf_clear(&file->sealed);
    pk_free(file);
}

size_t pk_keyfile_recipients(const pk_keyfile *file)
{
    return file->count;
}

pk_recipient_kind pk_keyfile_recipient_kind(const pk_keyfile *file, size_t i)
{
    return file->recipients[i].kind;
}

const char *pk_keyfile_recipient_id(const pk_keyfile *file, size_t i)
{
    return file->recipients[i].id;
}

/* --- opening --- */

/* The content key by way of one recipient; 28P01 when the secret is not its. */
static pk_secret *content_key(const pk_keyfile_recipient *recipient, const pk_secret *secret,
                              pk_error *err)
{
    if (recipient->kind == PK_RECIPIENT_KEK)
        return pk_keyunwrap(secret, recipient->wrapped, err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = pk_kdf_password(secret, &recipient->kdf, err);
    return kek == NULL ? NULL : pk_pwri_unwrap(kek, recipient->iv, recipient->wrapped, err);
}

/* What the signed list calls this recipient; NULL for one that we never write. */
static const char *listed_as(const pk_keyfile_recipient *recipient)
{
    if (recipient->kind == PK_RECIPIENT_PASSWORD)
        return PK_KEYFILE_BY_PASSWORD;
    bool ours =
        recipient->kind == PK_RECIPIENT_KEK && strcmp(recipient->id, PK_KEYFILE_BY_PASSWORD) != 0;
    return ours ? recipient->id : NULL;
}

/*
 * CMS does not authenticate the recipients: whoever can open a file can seal its content key to
 * somebody else, or take a recipient away. The signed list says for whom it was written, in any
 * order.
 */
static bool recipients_differ(const pk_keyfile *file, const pk_keyset *set)
{
    bool taken[PK_KEYFILE_RECIPIENTS] = {false};
    if (set->recipient_count != file->count)
        return true;
    for (size_t i = 0; i < file->count; i++) {
        const char *text = listed_as(&file->recipients[i]);
        size_t j = 0;
        while (j < file->count &&
               (taken[j] || text == NULL || strcmp(text, set->recipients[j]) != 0))
            j++;
        if (j == file->count)
            return true;
        taken[j] = true;
    }
    return false;
}

bool pk_keyfile_open_one(const pk_keyfile *file, size_t recipient, const pk_secret *secret,
                         pk_keyset *set, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(PK_KEYFILE_MAX);
    pk_keyset_init(set);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *cek = content_key(&file->recipients[recipient], secret, err);
    if (cek == NULL ||
        !pk_aead_open(cek, file->nonce, PK_SPAN(""), pk_buf_span(&file->sealed), &payload, err) ||
        !pk_keyset_read(pk_buf_span(&payload), set, err))
        return false;
    set->recipients_differ = recipients_differ(file, set);
    return true;
}

/*
 * A wrong password passes a recipient's check bytes once in four thousand million tries; the
 * content then looks damaged. So the other recipients are still tried, and damage is reported only
 * if none opens the file.
 */
bool pk_keyfile_open_password(const pk_keyfile *file, const pk_secret *password, pk_keyset *set,
                              pk_error *err)
{
    bool any = false;
    pk_error worst = {0};
    pk_keyset_init(set);
    for (size_t i = 0; i < file->count; i++) {
        pk_error fault = {0};
        if (file->recipients[i].kind != PK_RECIPIENT_PASSWORD)
            continue;
        if (pk_keyfile_open_one(file, i, password, set, &fault))
            return true;
        if (!any || !pk_error_is(&fault, PK_E_PASSWORD))
            worst = fault;
        any = true;
    }
    if (!any)
        return pk_fail(err, PK_E_PARAMETER, "key file cannot be opened with a password");
    if (err != NULL)
        *err = worst;
    return false;
}

bool pk_keyfile_open_kek(const pk_keyfile *file, size_t recipient, const pk_secret *kek,
                         pk_keyset *set, pk_error *err)
{
    pk_keyset_init(set);
    if (recipient >= file->count || file->recipients[recipient].kind != PK_RECIPIENT_KEK ||
        pk_secret_len(kek) != PK_KEY_LEN)
        return pk_fail(err, PK_E_INTERNAL, "key file has no such key recipient");
    return pk_keyfile_open_one(file, recipient, kek, set, err);
}
