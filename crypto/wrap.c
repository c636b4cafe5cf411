/*
 * The one wrap primitive (keys-and-security 3.1). The context names parent and child completely; it
 * goes into the derivation of the wrap key and into the additional data of GCM, so a blob moved to
 * another row, another store or another version does not open. Every (parent, child) pair has its
 * own GCM key, which keeps random nonces far away from their limit.
 */
#include "crypto/wrap.h"

#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/random.h"
#include "crypto/secret_bytes.h"

#define FORMAT      1u
#define AES_256_GCM 1u
#define CONTEXT_MAX ((size_t)8192)

/* u16be(len) and the bytes. */
static bool put(pk_buf *out, const void *bytes, size_t len, pk_error *err)
{
    if (len > UINT16_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "a name in the context of a wrapped key is too long");
    const uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    return pk_buf_append(out, head, sizeof head, err) && pk_buf_append(out, bytes, len, err);
}

static bool put_text(pk_buf *out, const char *text, pk_error *err)
{
    return put(out, text == NULL ? "" : text, text == NULL ? 0 : strlen(text), err);
}

static bool put_u32(pk_buf *out, uint32_t value, pk_error *err)
{
    const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value};
    return put(out, bytes, sizeof bytes, err);
}

static bool encode_context(const pk_wrap_context *context, pk_buf *out, pk_error *err)
{
    const uint8_t format = FORMAT;
    return put_text(out, "pgkeep", err) && put(out, &format, 1, err) &&
           put(out, context->store_uuid, 16, err) && put_text(out, context->parent_kind, err) &&
           put(out, context->parent_uuid, 16, err) && put_u32(out, context->parent_ver, err) &&
           put_text(out, context->child_kind, err) && put(out, context->child_uuid, 16, err) &&
           put_u32(out, context->child_ver, err) && put_text(out, context->child_alg, err) &&
           put_text(out, context->purpose, err) && put_u32(out, context->flags, err) &&
           put_text(out, context->owner_scope, err);
}

bool pk_wrap(const pk_secret *parent, const pk_wrap_context *context, const pk_secret *key,
             pk_buf *out, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf aad = PK_BUF_MAX(CONTEXT_MAX);
    PK_AUTO(pk_buf_clear) pk_buf blob = PK_BUF_MAX(PK_SECRET_MAX + PK_WRAP_OVERHEAD);
    uint8_t head[2 + PK_AEAD_NONCE] = {FORMAT, AES_256_GCM};

    if (!encode_context(context, &aad, err) || !pk_random(head + 2, PK_AEAD_NONCE, err))
        return false;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *wrap_key = pk_hkdf(parent, PK_LABEL_WRAP, pk_buf_span(&aad), err);
    return wrap_key != NULL && pk_buf_append(&blob, head, sizeof head, err) &&
           pk_aead_seal_secret(wrap_key, head + 2, pk_buf_span(&aad), key, &blob, err) &&
           pk_buf_append_span(out, pk_buf_span(&blob), err);
}

pk_secret *pk_unwrap(const pk_secret *parent, const pk_wrap_context *context, pk_span blob,
                     pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf aad = PK_BUF_MAX(CONTEXT_MAX);
    const uint8_t *bytes = (const uint8_t *)blob.ptr;

    if (blob.len <= PK_WRAP_OVERHEAD || blob.len > PK_SECRET_MAX + PK_WRAP_OVERHEAD ||
        bytes[0] != FORMAT || bytes[1] != AES_256_GCM) {
        pk_fail(err, PK_E_CORRUPT, "wrapped key has an unknown format");
        return NULL;
    }
    if (!encode_context(context, &aad, err))
        return NULL;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *wrap_key = pk_hkdf(parent, PK_LABEL_WRAP, pk_buf_span(&aad), err);
    if (wrap_key == NULL)
        return NULL;

    pk_error inner = {0};
    size_t head = 2 + PK_AEAD_NONCE;
    pk_span sealed = {blob.ptr + head, blob.len - head};
    pk_secret *key = pk_aead_open_secret(wrap_key, bytes + 2, pk_buf_span(&aad), sealed, &inner);
    if (key == NULL && pk_error_is(&inner, PK_E_CORRUPT))
        pk_fail(err, PK_E_PASSWORD, "wrong password or key, or the wrapped key is damaged");
    else if (key == NULL && err != NULL)
        *err = inner;
    return key;
}

bool pk_fingerprint(const pk_secret *key, uint8_t fp[static 16], pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *derived = pk_hkdf(key, PK_LABEL_FP, PK_SPAN(""), err);
    if (derived == NULL)
        return false;
    memcpy(fp, pk_secret_bytes(derived), PK_FP_LEN);
    return true;
}

void pk_fingerprint_text(const uint8_t fp[static 16], char out[static PK_FP_TEXT])
{
    pk_fingerprint_text_with("pgk1", fp, out);
}

void pk_fingerprint_text_with(const char *prefix, const uint8_t fp[static 16],
                              char out[static PK_FP_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    memcpy(out, prefix, 4);
    char *to = out + 4;
    for (size_t i = 0; i < 8; i++) {
        if (i % 2 == 0)
            *to++ = i == 0 ? ':' : '-';
        *to++ = digits[fp[i] >> 4];
        *to++ = digits[fp[i] & 15];
    }
    *to = '\0';
}
