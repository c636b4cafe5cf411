/*
 * The few shapes of DER that key files need (X.690), strictly: one-byte tags, definite lengths in
 * their shortest form, shortest integers, at most PK_DER_DEPTH levels. A cursor walks over borrowed
 * bytes; every function looks at the next element only and leaves the cursor alone when it fails:
 * callers chain them with && and say in their own words what is wrong. Pure; any thread.
 */
#ifndef PK_CRYPTO_DER_H
#define PK_CRYPTO_DER_H

#include "base/buf.h"

#define PK_DER_INTEGER  0x02u
#define PK_DER_OCTETS   0x04u
#define PK_DER_NULL     0x05u
#define PK_DER_OID      0x06u
#define PK_DER_SEQUENCE 0x30u
#define PK_DER_SET      0x31u
/* [n] IMPLICIT of a primitive, and [n] around or instead of a constructed type. */
#define PK_DER_CONTEXT(n)             ((uint8_t)(0x80u | (n)))
#define PK_DER_CONTEXT_CONSTRUCTED(n) ((uint8_t)(0xa0u | (n)))

/* keys-and-security 7.5 says 8, but RSAES-OAEP (7.2) takes 10. */
#define PK_DER_DEPTH 10u

typedef struct pk_der {
    pk_span rest; /* what has not been looked at */
    unsigned depth;
} pk_der;

static inline pk_der pk_der_of(pk_span bytes)
{
    return (pk_der){bytes, 0};
}

/* Is there another element, and with which tag? False at the end. */
bool pk_der_peek(const pk_der *at, uint8_t *tag) PK_MUST_USE;
/* Steps over one element with this tag; its content, min..max bytes. */
bool pk_der_bytes(pk_der *at, uint8_t tag, size_t min, size_t max, pk_span *content) PK_MUST_USE;
/* Steps over one constructed element and gives a cursor over its inside. */
bool pk_der_enter(pk_der *at, uint8_t tag, pk_der *inside) PK_MUST_USE;
/* An INTEGER from 0 to UINT32_MAX, or exactly this one. */
bool pk_der_uint(pk_der *at, uint32_t *value) PK_MUST_USE;
bool pk_der_uint_is(pk_der *at, uint32_t value) PK_MUST_USE;
/* Exactly this OBJECT IDENTIFIER (the content bytes). */
bool pk_der_oid_is(pk_der *at, pk_span oid) PK_MUST_USE;
bool pk_der_null(pk_der *at) PK_MUST_USE;
/* Nothing is left. */
bool pk_der_end(const pk_der *at) PK_MUST_USE;

/* Append one element. Constructed ones are built inside out, in a buffer of their own. */
bool pk_der_put(pk_buf *out, uint8_t tag, pk_span content, pk_error *err) PK_MUST_USE;
bool pk_der_put_uint(pk_buf *out, uint32_t value, pk_error *err) PK_MUST_USE;

#endif
