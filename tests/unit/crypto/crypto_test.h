/* What the tests of crypto/ share: the secure heap started, bytes from hex, a key set to write. */
#ifndef PK_TESTS_CRYPTO_TEST_H
#define PK_TESTS_CRYPTO_TEST_H

#include "table.h"

#include "base/encode.h"
#include "base/json.h"
#include "crypto/jwk.h"
#include "crypto/secret_bytes.h"

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s: %s %s (%s)", #call, err.sqlstate, err.message, err.detail);              \
    } while (0)
#define assert_refused(call, state)                                                                \
    do {                                                                                           \
        memset(&err, 0, sizeof err);                                                               \
        assert_false(call);                                                                        \
        assert_string_equal(err.sqlstate, state);                                                  \
    } while (0)

static inline void start_crypto(void)
{
    pk_error err = {0};
    pk_secure_heap state;
    if (!pk_secret_heap_init(&state, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    pk_json_init();
}

/* Into a buffer of the test; its length. */
static inline size_t unhex(const char *hex, uint8_t *out, size_t room)
{
    size_t len = strlen(hex) / 2;
    assert_true(len <= room);
    assert_true(pk_unhex(pk_span_of(hex), out, len));
    return len;
}

static inline pk_secret *secret_text(const char *text)
{
    pk_error err = {0};
    pk_secret *secret = pk_secret_new(text, strlen(text), &err);
    assert_non_null(secret);
    return secret;
}

static inline pk_secret *secret_hex(const char *hex)
{
    uint8_t bytes[256];
    size_t len = unhex(hex, bytes, sizeof bytes);
    pk_error err = {0};
    pk_secret *secret = pk_secret_new(bytes, len, &err);
    assert_non_null(secret);
    return secret;
}

static inline void assert_bytes(const void *bytes, size_t len, const char *hex)
{
    char text[1024];
    assert_true(len < sizeof text / 2);
    pk_hex(bytes, len, text);
    assert_string_equal(text, hex);
}

static inline void assert_secret(const pk_secret *secret, const char *hex)
{
    assert_non_null(secret);
    assert_bytes(pk_secret_bytes(secret), pk_secret_len(secret), hex);
}

/* One key whose bytes are all `byte`, version `ver`. */
static inline void add_sample_key(pk_keyset *set, uint8_t byte, uint32_t ver)
{
    pk_error err = {0};
    uint8_t bytes[PK_KEY_LEN];
    memset(bytes, byte, sizeof bytes);
    pk_keyset_key *key = pk_keyset_add(set, &err);
    assert_non_null(key);
    key->key = pk_secret_new(bytes, sizeof bytes, &err);
    assert_non_null(key->key);
    assert_true(pk_fingerprint(key->key, key->fp, &err));
    memset(key->uuid, 0x42, sizeof key->uuid);
    key->ver = ver;
    key->kind = "dmk";
    key->scope = "db";
    key->db = "sales";
    key->name = "master";
    key->state = "current";
    key->purpose = "wrap";
    key->origin = "generated";
    key->created_at = 1772330584000000;
}

static inline void sample_set(pk_keyset *set)
{
    pk_keyset_init(set);
    set->type = "BACKUP MASTER KEY";
    memset(set->store_uuid, 0x17, sizeof set->store_uuid);
    set->store_epoch = 7;
    set->audit_head = "00ff";
    set->created_at = 1772330585000000;
    set->created_by = "alice";
    set->server_version = "15.4";
    set->system_identifier = "7300000000000000001";
    add_sample_key(set, 0xc1, 1);
}

static inline void sample_identity(pk_identity *identity, uint8_t byte)
{
    pk_error err = {0};
    uint8_t bytes[PK_KEY_LEN];
    memset(bytes, byte, sizeof bytes);
    pk_secret *key = pk_secret_new(bytes, sizeof bytes, &err);
    assert_non_null(key);
    assert_true(pk_identity_from_secret(identity, key, &err));
}

#endif
