#include "crypto_test.h"

#include "crypto/jwk.h"
#include "vectors/crypto/vectors.h"

#define SIGNER 0x77

/* `line` with its first `from` replaced by `to`, signed anew by `signer`. */
static void sign_changed(pk_span line, const char *from, const char *to, const pk_identity *signer,
                         pk_buf *out)
{
    pk_error err = {0};
    uint8_t signature[64];
    uint8_t fp[16];
    char text[25];
    const char *at = memmem(line.ptr, line.len, from, strlen(from));
    assert_non_null(at);
    size_t before = (size_t)(at - line.ptr);
    size_t after = before + strlen(from);
    assert_ok(pk_buf_append(out, line.ptr, before, &err) && pk_buf_append_text(out, to, &err) &&
              pk_buf_append(out, line.ptr + after, line.len - after, &err));
    assert_ok(pk_identity_sign(signer, pk_buf_span(out), signature, &err));
    assert_ok(pk_identity_fingerprint(signer->public_key, fp, &err));
    pk_identity_fingerprint_text(fp, text);
    assert_ok(pk_buf_printf(out, &err, "\n#pgkeep-sig 1 ed25519 %s ", text) &&
              pk_base64(pk_span_bytes(signature, 64), out, &err) &&
              pk_buf_append_text(out, "\n", &err));
}

static void write_sample(pk_keyset *set, pk_buf *out)
{
    pk_error err = {0};
    static const char *const recipients[] = {"password", "keystore x v1"};
    PK_AUTO(pk_identity_clear) pk_identity signer;
    sample_identity(&signer, SIGNER);
    assert_ok(pk_keyset_write(set, recipients, 2, &signer, out, &err));
}

static pk_span first_line(pk_span payload)
{
    const char *newline = memchr(payload.ptr, '\n', payload.len);
    assert_non_null(newline);
    return (pk_span){payload.ptr, (size_t)(newline - payload.ptr)};
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_identity_clear) pk_identity signer;
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    add_sample_key(&set, 0xc2, 2);
    set.keys[1].exportable = true;
    set.keys[1].db = "m\303\244rz \"quoted\"";
    write_sample(&set, &payload);

    assert_ok(pk_keyset_read(pk_buf_span(&payload), &again, &err));
    assert_int_equal(again.count, 2);
    assert_string_equal(again.type, set.type);
    assert_memory_equal(again.store_uuid, set.store_uuid, 16);
    assert_int_equal(again.store_epoch, set.store_epoch);
    assert_string_equal(again.audit_head, set.audit_head);
    assert_int_equal(again.created_at, set.created_at);
    assert_string_equal(again.created_by, set.created_by);
    assert_string_equal(again.server_version, set.server_version);
    assert_string_equal(again.system_identifier, set.system_identifier);
    assert_memory_equal(again.signer, signer.public_key, 32);
    assert_int_equal(again.recipient_count, 2);
    assert_string_equal(again.recipients[0], "password");
    assert_string_equal(again.recipients[1], "keystore x v1");
    for (size_t i = 0; i < 2; i++) {
        const pk_keyset_key *a = &set.keys[i];
        const pk_keyset_key *b = &again.keys[i];
        assert_memory_equal(a->uuid, b->uuid, 16);
        assert_memory_equal(a->fp, b->fp, 16);
        assert_int_equal(a->ver, b->ver);
        assert_int_equal(a->exportable, b->exportable);
        assert_int_equal(a->created_at, b->created_at);
        assert_string_equal(a->kind, b->kind);
        assert_string_equal(a->scope, b->scope);
        assert_string_equal(a->db, b->db);
        assert_string_equal(a->name, b->name);
        assert_string_equal(a->state, b->state);
        assert_string_equal(a->purpose, b->purpose);
        assert_string_equal(a->origin, b->origin);
        assert_true(pk_secret_equal(a->key, b->key));
    }
}

/* Ed25519 signs the same bytes the same way, so the whole payload can be compared. */
static void the_payload_made_elsewhere_is_read_and_written_byte_for_byte(void **state)
{
    (void)state;
    pk_error err = {0};
    static const char *const recipients[] = {"password"};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_identity_clear) pk_identity signer;
    sample_identity(&signer, 0xa5);
    assert_ok(pk_keyset_read(pk_span_of(payload_vector), &set, &err));
    assert_int_equal(set.count, 2);
    assert_string_equal(set.keys[0].state, "retired");
    assert_string_equal(set.keys[0].origin, "restored");
    assert_false(set.keys[0].exportable);
    assert_int_equal(set.keys[1].ver, 3);
    assert_true(set.keys[1].exportable);
    assert_int_equal(set.keys[1].created_at, 1772330584000000);
    assert_ok(pk_keyset_write(&set, recipients, 1, &signer, &out, &err));
    assert_true(pk_span_equal(pk_buf_span(&out), pk_span_of(payload_vector)));
}

#define KEY_TEXT "wcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcE"
/* clang-format off */
static const struct changed_row {
    const char *name, *from, *to, *detail;
} changed_rows[] = {
    {"another format", "\"format\":1", "\"format\":2", "format"},
    {"no format", "\"format\":1,", "", "format"},
    {"the format as text", "\"format\":1", "\"format\":\"1\"", "format"},
    {"more keys promised", "\"count\":1", "\"count\":2", "number of keys"},
    {"no keys", "\"count\":1", "\"count\":0", "number of keys"},
    {"keys that are no array", "{\"keys\":[", "{\"keys\":{},\"old\":[", "members"},
    {"another fingerprint", "\"fp\":\"pgk1:", "\"fp\":\"pgk2:", "fingerprint"},
    {"another key", "\"k\":\"wcHB", "\"k\":\"wsHB", "fingerprint"},
    {"a short key", KEY_TEXT, "wcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwQ", "256 bits"},
    {"a long key", KEY_TEXT, KEY_TEXT "wcHB", "256 bits"},
    {"a padded key", KEY_TEXT, KEY_TEXT "=", "256 bits"},
    {"an empty key", KEY_TEXT, "", "256 bits"},
    {"a key with bits left over", KEY_TEXT, "wcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcF", "256 bits"},
    {"another key type", "\"kty\":\"oct\"", "\"kty\":\"RSA\"", "members"},
    {"another algorithm", "A256GCM", "A128GCM", "members"},
    {"another operation", "unwrapKey", "decrypt", "members"},
    {"an unknown member of a key", "\"kty\"", "\"x\":1,\"kty\"", "members"},
    {"an unknown member of a key's description", "\"kind\"", "\"x\":1,\"kind\"", "members"},
    {"an unknown member of the set", "\"format\"", "\"x\":1,\"format\"", "members"},
    {"a missing member", "\"purpose\":\"wrap\",", "", "members"},
    {"an unknown kind", "\"kind\":\"dmk\"", "\"kind\":\"xyz\"", "members"},
    {"an unknown scope", "\"scope\":\"db\"", "\"scope\":\"all\"", "members"},
    {"an unknown state", "\"state\":\"current\"", "\"state\":\"new\"", "members"},
    {"an unknown origin", "\"origin\":\"generated\"", "\"origin\":\"found\"", "members"},
    {"version 0", "\"ver\":1", "\"ver\":0", "members"},
    {"a version above 32 bits", "\"ver\":1", "\"ver\":4294967297", "members"},
    {"another version than in the identifier", "\"ver\":1", "\"ver\":2", "identifier"},
    {"an identifier without version", "4242:1\"", "4242\"", "identifier"},
    {"an identifier in another spelling", "4242:1\"", "4242:01\"", "identifier"},
    {"an identifier that is no uuid", "\"kid\":\"4242", "\"kid\":\"xyzt", "identifier"},
    {"a time without Z", "04Z\",\"origin\"", "04\",\"origin\"", "time"},
    {"a day that does not exist", "2026-03-01T02:03:04Z", "2026-02-29T02:03:04Z", "time"},
    {"a time with letters", "2026-03-01T02:03:04Z", "2026-03-01Tab:03:04Z", "time"},
    {"a creation time of the set that is none", "\"created_at\":\"2026-03-01T02:03:05Z\",\"created_by\"",
     "\"created_at\":\"\",\"created_by\"", "wrong value"},
    {"a store that is no uuid", "\"store\":\"1717", "\"store\":\"zz17", "wrong value"},
    {"a negative epoch", "\"store_epoch\":7", "\"store_epoch\":-7", "wrong value"},
    {"an audit head that is not hex", "\"audit_head\":\"00ff\"", "\"audit_head\":\"xyz\"", "wrong value"},
    {"an incomplete set", "\"complete\":true", "\"complete\":false", "wrong value"},
    {"recipients that are no array", "\"recipients\":[\"password\",\"keystore x v1\"]", "\"recipients\":{}", "wrong value"},
    {"a recipient that is no text", "\"recipients\":[\"password\",", "\"recipients\":[7,", "wrong value"},
    {"known backups that are no array", "\"known_backups\":[]", "\"known_backups\":null", "wrong value"},
    {"an identity of another length", "\"identity\":\"", "\"identity\":\"AAAA", "wrong value"},
    {"a duplicate name", "\"format\":1", "\"format\":1,\"format\":1", NULL},
    {"a duplicate name in a key", "\"kty\":\"oct\"", "\"kty\":\"oct\",\"kty\":\"oct\"", NULL},
    {"an array at the top", "{\"keys\"", "[{\"keys\"", NULL},
    {"something behind the object", "\"}}", "\"}}x", NULL},
};
/* clang-format on */

static void a_changed_payload_is_refused_even_if_signed(void **state)
{
    const struct changed_row *row = *state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_buf_clear) pk_buf changed = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_identity_clear) pk_identity signer;
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    write_sample(&set, &payload);
    sign_changed(first_line(pk_buf_span(&payload)), row->from, row->to, &signer, &changed);
    assert_refused(pk_keyset_read(pk_buf_span(&changed), &again, &err), PK_E_CORRUPT);
    if (row->detail != NULL && strstr(err.detail, row->detail) == NULL)
        fail_msg("refused for another reason: %s", err.detail);
    assert_int_equal(again.count, 0);
    assert_null(strstr(err.message, "wcHB"));
    assert_null(strstr(err.detail, "wcHB"));
}

/* The control of the table above: signing anew without a change is accepted. */
static void a_payload_signed_anew_is_read(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_buf_clear) pk_buf changed = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_identity_clear) pk_identity signer;
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    write_sample(&set, &payload);
    sign_changed(first_line(pk_buf_span(&payload)), "alice", "mallory", &signer, &changed);
    assert_ok(pk_keyset_read(pk_buf_span(&changed), &again, &err));
    assert_string_equal(again.created_by, "mallory");
}

static void a_key_version_that_occurs_twice_is_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 16);
    sample_set(&set);
    add_sample_key(&set, 0xc2, 1);
    write_sample(&set, &payload);
    assert_refused(pk_keyset_read(pk_buf_span(&payload), &again, &err), PK_E_CORRUPT);
    assert_non_null(strstr(err.detail, "twice"));
}

static void a_signature_by_another_identity_is_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_buf_clear) pk_buf changed = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_identity_clear) pk_identity other;
    sample_identity(&other, 0x55);
    sample_set(&set);
    write_sample(&set, &payload);
    sign_changed(first_line(pk_buf_span(&payload)), "alice", "alice", &other, &changed);
    assert_refused(pk_keyset_read(pk_buf_span(&changed), &again, &err), PK_E_CORRUPT);
    assert_non_null(strstr(err.detail, "signature"));
}

static void every_changed_byte_of_a_payload_is_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 16);
    sample_set(&set);
    write_sample(&set, &payload);
    for (size_t i = 0; i < pk_buf_span(&payload).len; i++) {
        pk_keyset again;
        payload.block[i] ^= 1;
        assert_refused(pk_keyset_read(pk_buf_span(&payload), &again, &err), PK_E_CORRUPT);
        payload.block[i] ^= 1;
    }
}

static void every_shortened_payload_is_refused_and_so_is_a_longer_one(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_keyset again;
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 16);
    sample_set(&set);
    write_sample(&set, &payload);
    for (size_t len = 0; len < pk_buf_span(&payload).len; len++) {
        pk_span part = {pk_buf_span(&payload).ptr, len};
        assert_refused(pk_keyset_read(part, &again, &err), PK_E_CORRUPT);
    }
    assert_ok(pk_buf_append_text(&payload, "\n", &err));
    assert_refused(pk_keyset_read(pk_buf_span(&payload), &again, &err), PK_E_CORRUPT);
}

static void what_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_SECRET(1u << 16);
    PK_AUTO(pk_identity_clear) pk_identity signer;
    sample_identity(&signer, SIGNER);
    pk_keyset_init(&set);
    assert_refused(pk_keyset_write(&set, NULL, 0, &signer, &out, &err), PK_E_INTERNAL);
    sample_set(&set);
    set.keys[0].fp[15] ^= 1;
    assert_refused(pk_keyset_write(&set, NULL, 0, &signer, &out, &err), PK_E_CORRUPT);
    set.keys[0].fp[15] ^= 1;
    set.keys[0].db = "caf\351";
    assert_refused(pk_keyset_write(&set, NULL, 0, &signer, &out, &err), PK_E_PARAMETER);
    set.keys[0].db = "cafe";
    set.created_by = "\377";
    assert_refused(pk_keyset_write(&set, NULL, 0, &signer, &out, &err), PK_E_PARAMETER);
    set.created_by = "x";
    assert_ok(pk_keyset_write(&set, NULL, 0, &signer, &out, &err));
}

static void a_set_takes_4096_keys_and_no_more(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(4u << 20);
    sample_set(&set);
    for (uint32_t ver = 2; ver <= PK_KEYSET_MAX; ver++)
        add_sample_key(&set, (uint8_t)ver, ver);
    assert_refused(pk_keyset_add(&set, &err), PK_E_TOO_LONG);
    write_sample(&set, &payload);
    assert_ok(pk_keyset_read(pk_buf_span(&payload), &again, &err));
    assert_int_equal(again.count, PK_KEYSET_MAX);
    assert_int_equal(again.keys[PK_KEYSET_MAX - 1].ver, PK_KEYSET_MAX);
    assert_true(pk_secret_equal(again.keys[4095].key, set.keys[4095].key));
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_TEST(&suite, what_was_written_is_read);
    PK_SUITE_TEST(&suite, the_payload_made_elsewhere_is_read_and_written_byte_for_byte);
    PK_SUITE_ROWS(&suite, changed_rows, a_changed_payload_is_refused_even_if_signed);
    PK_SUITE_TEST(&suite, a_payload_signed_anew_is_read);
    PK_SUITE_TEST(&suite, a_key_version_that_occurs_twice_is_refused);
    PK_SUITE_TEST(&suite, a_signature_by_another_identity_is_refused);
    PK_SUITE_TEST(&suite, every_changed_byte_of_a_payload_is_refused);
    PK_SUITE_TEST(&suite, every_shortened_payload_is_refused_and_so_is_a_longer_one);
    PK_SUITE_TEST(&suite, what_cannot_be_written_is_an_error);
    PK_SUITE_TEST(&suite, a_set_takes_4096_keys_and_no_more);
    return pk_suite_run(&suite, "jwk");
}
