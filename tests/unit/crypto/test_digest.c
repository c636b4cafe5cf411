#include "crypto_test.h"

#include "crypto/digest.h"

/* FIPS 180-4 examples. */
static const struct sha_row {
    const char *name, *text, *hash;
} sha_rows[] = {
    {"SHA-256 of nothing", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"SHA-256 of abc", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
};

static void hashes(void **state)
{
    const struct sha_row *row = *state;
    pk_error err = {0};
    uint8_t out[32];
    assert_ok(pk_sha256(pk_span_of(row->text), out, &err));
    assert_bytes(out, sizeof out, row->hash);
}

/* RFC 4231, cases 1, 2 and 6. */
static const struct hmac_row {
    const char *name, *key, *text, *mac;
} hmac_rows[] = {
    {"RFC 4231 case 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "Hi There",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"RFC 4231 case 2", "4a656665", "what do ya want for nothing?",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"RFC 4231 case 6: a key longer than a block",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "Test Using Larger Than Block-Size Key - Hash Key First",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
};

static void authenticates(void **state)
{
    const struct hmac_row *row = *state;
    pk_error err = {0};
    uint8_t out[32];
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_hex(row->key);
    assert_ok(pk_hmac_sha256(key, pk_span_of(row->text), out, &err));
    assert_bytes(out, sizeof out, row->mac);
}

static void equality_looks_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < 32; i++) {
        uint8_t one[32] = {0};
        uint8_t two[32] = {0};
        assert_true(pk_digest_equal(one, two));
        two[i] = 1;
        assert_false(pk_digest_equal(one, two));
    }
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_ROWS(&suite, sha_rows, hashes);
    PK_SUITE_ROWS(&suite, hmac_rows, authenticates);
    PK_SUITE_TEST(&suite, equality_looks_at_every_byte);
    return pk_suite_run(&suite, "digest");
}
