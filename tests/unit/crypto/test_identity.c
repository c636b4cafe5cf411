#include "crypto_test.h"

#include "crypto/identity.h"
#include "vectors/crypto/vectors.h"

/* RFC 8032, 7.1, tests 1 to 3. */
static const struct row {
    const char *name, *private_key, *public_key, *message, *signature;
} rows[] = {
    {"RFC 8032 test 1", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b"
     "46b"
     "d25bf5f0595bbe24655141438e7a100b"},
    {"RFC 8032 test 2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11"
     "d8c"
     "387b2eaeb4302aeeb00d291612bb0c00"},
    {"RFC 8032 test 3", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc"
     "659"
     "4a7c15e9716ed28dc027beceea1ec40a"},
};

static void signs_and_verifies(void **state)
{
    const struct row *row = *state;
    pk_error err = {0};
    uint8_t message[8];
    uint8_t signature[64];
    pk_span bytes = pk_span_bytes(message, unhex(row->message, message, sizeof message));
    PK_AUTO(pk_identity_clear) pk_identity identity;
    assert_ok(pk_identity_from_secret(&identity, secret_hex(row->private_key), &err));
    assert_bytes(identity.public_key, sizeof identity.public_key, row->public_key);
    assert_ok(pk_identity_sign(&identity, bytes, signature, &err));
    assert_bytes(signature, sizeof signature, row->signature);
    assert_true(pk_identity_verify(identity.public_key, bytes, signature));
}

static void every_flipped_bit_breaks_a_signature(void **state)
{
    (void)state;
    pk_error err = {0};
    uint8_t signature[64];
    PK_AUTO(pk_identity_clear) pk_identity identity;
    PK_AUTO(pk_identity_clear) pk_identity other;
    assert_ok(pk_identity_generate(&identity, &err));
    assert_ok(pk_identity_generate(&other, &err));
    assert_ok(pk_identity_sign(&identity, PK_SPAN("text"), signature, &err));
    assert_true(pk_identity_verify(identity.public_key, PK_SPAN("text"), signature));
    assert_false(pk_identity_verify(identity.public_key, PK_SPAN("Text"), signature));
    assert_false(pk_identity_verify(other.public_key, PK_SPAN("text"), signature));
    for (size_t bit = 0; bit < 512; bit++) {
        signature[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_false(pk_identity_verify(identity.public_key, PK_SPAN("text"), signature));
        signature[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void a_private_key_of_another_length_is_refused_and_freed(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_identity identity;
    assert_refused(pk_identity_from_secret(&identity, secret_text("short"), &err), PK_E_CORRUPT);
    assert_null(identity.private_key);
}

static void prints_the_fingerprint(void **state)
{
    (void)state;
    pk_error err = {0};
    uint8_t fp[16];
    char text[25];
    PK_AUTO(pk_identity_clear) pk_identity identity;
    assert_ok(pk_identity_from_secret(&identity, secret_hex(IDENTITY_PRIVATE), &err));
    assert_bytes(identity.public_key, 32, IDENTITY_PUBLIC);
    assert_ok(pk_identity_fingerprint(identity.public_key, fp, &err));
    assert_bytes(fp, sizeof fp, IDENTITY_FP);
    pk_identity_fingerprint_text(fp, text);
    assert_string_equal(text, IDENTITY_FP_TEXT);
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_ROWS(&suite, rows, signs_and_verifies);
    PK_SUITE_TEST(&suite, every_flipped_bit_breaks_a_signature);
    PK_SUITE_TEST(&suite, a_private_key_of_another_length_is_refused_and_freed);
    PK_SUITE_TEST(&suite, prints_the_fingerprint);
    return pk_suite_run(&suite, "identity");
}
