#include "crypto_test.h"

#include "crypto/aead.h"

/* The GCM specification (McGrew and Viega), cases 13, 14 and 16. */
static const struct row {
    const char *name, *key, *nonce, *aad, *plain, *sealed;
} rows[] = {
    {"GCM test case 13: nothing",
     "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"GCM test case 14: one block",
     "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"GCM test case 16: additional data",
     "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b"
     "525"
     "b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828"
     "838"
     "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

static void seals_and_opens(void **state)
{
    const struct row *row = *state;
    pk_error err = {0};
    uint8_t nonce[12];
    uint8_t aad[64];
    uint8_t plain[64];
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_hex(row->key);
    PK_AUTO(pk_buf_clear) pk_buf sealed = PK_BUF_MAX(256);
    PK_AUTO(pk_buf_clear) pk_buf again = PK_BUF_SECRET(256);
    unhex(row->nonce, nonce, sizeof nonce);
    pk_span aad_span = pk_span_bytes(aad, unhex(row->aad, aad, sizeof aad));
    pk_span plain_span = pk_span_bytes(plain, unhex(row->plain, plain, sizeof plain));

    assert_ok(pk_aead_seal(key, nonce, aad_span, plain_span, &sealed, &err));
    assert_bytes(pk_buf_span(&sealed).ptr, pk_buf_span(&sealed).len, row->sealed);
    assert_ok(pk_aead_open(key, nonce, aad_span, pk_buf_span(&sealed), &again, &err));
    assert_bytes(pk_buf_span(&again).ptr, pk_buf_span(&again).len, row->plain);
}

#define PLAIN "attack at dawn"
static const uint8_t some_nonce[12] = {1, 2, 3};

static void seal_sample(pk_secret **key, pk_buf *sealed)
{
    pk_error err = {0};
    *key = pk_secret_random(PK_KEY_LEN, &err);
    assert_non_null(*key);
    assert_ok(pk_aead_seal(*key, some_nonce, PK_SPAN("aad"), PK_SPAN(PLAIN), sealed, &err));
}

static void a_flipped_bit_anywhere_is_noticed_and_leaves_no_plaintext(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf sealed = PK_BUF_MAX(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = NULL;
    seal_sample(&key, &sealed);
    for (size_t bit = 0; bit < 8 * pk_buf_span(&sealed).len; bit++) {
        PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(256);
        char copy[64];
        size_t len = pk_buf_span(&sealed).len;
        memcpy(copy, pk_buf_span(&sealed).ptr, len);
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << (bit % 8)));
        assert_ok(pk_buf_append_text(&out, "before", &err));
        assert_refused(
            pk_aead_open(key, some_nonce, PK_SPAN("aad"), (pk_span){copy, len}, &out, &err),
            PK_E_CORRUPT);
        assert_int_equal(pk_buf_span(&out).len, 6);
        assert_null(memmem(out.block, out.size, "dawn", 4));
        assert_refused(
            pk_aead_open_secret(key, some_nonce, PK_SPAN("aad"), (pk_span){copy, len}, &err),
            PK_E_CORRUPT);
    }
}

static void other_data_nonce_or_key_does_not_open(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf sealed = PK_BUF_MAX(256);
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_SECRET(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = NULL;
    PK_AUTO_PTR(pk_secret_free) pk_secret *other = pk_secret_random(PK_KEY_LEN, &err);
    static const uint8_t other_nonce[12] = {1, 2, 4};
    seal_sample(&key, &sealed);
    pk_span all = pk_buf_span(&sealed);
    assert_refused(pk_aead_open(key, some_nonce, PK_SPAN("aaD"), all, &out, &err), PK_E_CORRUPT);
    assert_refused(pk_aead_open(key, some_nonce, PK_SPAN(""), all, &out, &err), PK_E_CORRUPT);
    assert_refused(pk_aead_open(key, other_nonce, PK_SPAN("aad"), all, &out, &err), PK_E_CORRUPT);
    assert_refused(pk_aead_open(other, some_nonce, PK_SPAN("aad"), all, &out, &err), PK_E_CORRUPT);
    assert_ok(pk_aead_open(key, some_nonce, PK_SPAN("aad"), all, &out, &err));
}

static void every_shortened_form_is_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf sealed = PK_BUF_MAX(256);
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_SECRET(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = NULL;
    seal_sample(&key, &sealed);
    for (size_t len = 0; len < pk_buf_span(&sealed).len; len++) {
        pk_span part = {pk_buf_span(&sealed).ptr, len};
        assert_refused(pk_aead_open(key, some_nonce, PK_SPAN("aad"), part, &out, &err),
                       PK_E_CORRUPT);
        assert_refused(pk_aead_open_secret(key, some_nonce, PK_SPAN("aad"), part, &err),
                       PK_E_CORRUPT);
    }
}

static void secrets_are_sealed_and_opened_in_the_secure_heap(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf sealed = PK_BUF_MAX(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *plain = secret_text(PLAIN);
    assert_ok(pk_aead_seal_secret(key, some_nonce, PK_SPAN(""), plain, &sealed, &err));
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *again =
        pk_aead_open_secret(key, some_nonce, PK_SPAN(""), pk_buf_span(&sealed), &err);
    assert_non_null(again);
    assert_true(pk_secret_equal(plain, again));
}

static void keys_of_another_length_are_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(16, &err);
    assert_refused(pk_aead_seal(key, some_nonce, PK_SPAN(""), PK_SPAN("x"), &out, &err),
                   PK_E_INTERNAL);
}

static void a_buffer_without_room_is_an_error(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(20);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    assert_refused(pk_aead_seal(key, some_nonce, PK_SPAN(""), PK_SPAN("five."), &out, &err),
                   PK_E_TOO_LONG);
    assert_ok(pk_aead_seal(key, some_nonce, PK_SPAN(""), PK_SPAN("four"), &out, &err));
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_ROWS(&suite, rows, seals_and_opens);
    PK_SUITE_TEST(&suite, a_flipped_bit_anywhere_is_noticed_and_leaves_no_plaintext);
    PK_SUITE_TEST(&suite, other_data_nonce_or_key_does_not_open);
    PK_SUITE_TEST(&suite, every_shortened_form_is_refused);
    PK_SUITE_TEST(&suite, secrets_are_sealed_and_opened_in_the_secure_heap);
    PK_SUITE_TEST(&suite, keys_of_another_length_are_refused);
    PK_SUITE_TEST(&suite, a_buffer_without_room_is_an_error);
    return pk_suite_run(&suite, "aead");
}
