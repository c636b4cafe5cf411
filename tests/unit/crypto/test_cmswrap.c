#include "crypto_test.h"

#include "crypto/cmswrap.h"
#include "vectors/crypto/vectors.h"

static void unwraps_the_vector(void **state)
{
    const struct pwri_vector *row = *state;
    pk_error err = {0};
    uint8_t iv[16];
    uint8_t wrapped[PK_PWRI_LEN];
    unhex(row->iv, iv, sizeof iv);
    unhex(row->wrapped, wrapped, sizeof wrapped);
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = secret_hex(row->kek);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_pwri_unwrap(kek, iv, wrapped, &err);
    assert_secret(key, row->cek);
}

static void every_flipped_byte_of_a_password_wrap_is_a_wrong_password(void **state)
{
    const struct pwri_vector *row = *state;
    pk_error err = {0};
    uint8_t iv[16];
    uint8_t wrapped[PK_PWRI_LEN];
    unhex(row->iv, iv, sizeof iv);
    unhex(row->wrapped, wrapped, sizeof wrapped);
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = secret_hex(row->kek);
    PK_AUTO_PTR(pk_secret_free) pk_secret *other = secret_hex(row->cek);
    for (size_t i = 0; i < sizeof wrapped; i++) {
        wrapped[i] ^= 0x80;
        assert_refused(pk_pwri_unwrap(kek, iv, wrapped, &err), PK_E_PASSWORD);
        wrapped[i] ^= 0x80;
    }
    assert_refused(pk_pwri_unwrap(other, iv, wrapped, &err), PK_E_PASSWORD);
}

static void a_password_wrap_opens_again_and_is_padded_at_random(void **state)
{
    (void)state;
    pk_error err = {0};
    static const uint8_t iv[16] = {9};
    uint8_t one[PK_PWRI_LEN];
    uint8_t two[PK_PWRI_LEN];
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    assert_ok(pk_pwri_wrap(kek, iv, key, one, &err));
    assert_ok(pk_pwri_wrap(kek, iv, key, two, &err));
    assert_memory_not_equal(one, two, sizeof one);
    PK_AUTO_PTR(pk_secret_free) pk_secret *again = pk_pwri_unwrap(kek, iv, one, &err);
    assert_non_null(again);
    assert_true(pk_secret_equal(key, again));
}

/* RFC 3394, 4.6. */
#define RFC3394_KEK "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define RFC3394_KEY "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"
#define RFC3394_OUT                                                                                \
    "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"

static void key_wrap_matches_rfc_3394(void **state)
{
    (void)state;
    pk_error err = {0};
    uint8_t out[PK_KEYWRAP_LEN];
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = secret_hex(RFC3394_KEK);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_hex(RFC3394_KEY);
    assert_ok(pk_keywrap(kek, key, out, &err));
    assert_bytes(out, sizeof out, RFC3394_OUT);
    PK_AUTO_PTR(pk_secret_free) pk_secret *again = pk_keyunwrap(kek, out, &err);
    assert_secret(again, RFC3394_KEY);
    for (size_t i = 0; i < sizeof out; i++) {
        out[i] ^= 1;
        assert_refused(pk_keyunwrap(kek, out, &err), PK_E_PASSWORD);
        out[i] ^= 1;
    }
    assert_refused(pk_keyunwrap(key, out, &err), PK_E_PASSWORD);
}

static void keys_of_other_lengths_are_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    uint8_t out[PK_PWRI_LEN] = {0};
    static const uint8_t iv[16];
    PK_AUTO_PTR(pk_secret_free) pk_secret *right = pk_secret_random(32, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *wrong = pk_secret_random(24, &err);
    assert_refused(pk_pwri_wrap(wrong, iv, right, out, &err), PK_E_INTERNAL);
    assert_refused(pk_pwri_wrap(right, iv, wrong, out, &err), PK_E_INTERNAL);
    assert_refused(pk_pwri_unwrap(wrong, iv, out, &err), PK_E_INTERNAL);
    assert_refused(pk_keywrap(wrong, right, out, &err), PK_E_INTERNAL);
    assert_refused(pk_keywrap(right, wrong, out, &err), PK_E_INTERNAL);
    assert_refused(pk_keyunwrap(wrong, out, &err), PK_E_INTERNAL);
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_ROWS(&suite, pwri_vectors, unwraps_the_vector);
    PK_SUITE_ROWS(&suite, pwri_vectors, every_flipped_byte_of_a_password_wrap_is_a_wrong_password);
    PK_SUITE_TEST(&suite, a_password_wrap_opens_again_and_is_padded_at_random);
    PK_SUITE_TEST(&suite, key_wrap_matches_rfc_3394);
    PK_SUITE_TEST(&suite, keys_of_other_lengths_are_refused);
    return pk_suite_run(&suite, "cmswrap");
}
