#include "crypto_test.h"

#include "crypto/kdf.h"
#include "vectors/crypto/vectors.h"

static void derives_by_label(void **state)
{
    const struct hkdf_vector *row = *state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_hex(row->key);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *out = pk_hkdf(key, row->label, pk_span_of(row->context), &err);
    assert_secret(out, row->out);
}

/* RFC 5869, case 3: no salt, no info; the first 32 of its 42 bytes. */
static void hkdf_matches_the_rfc(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *key = secret_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    PK_AUTO_PTR(pk_secret_free) pk_secret *out = pk_hkdf(key, "", PK_SPAN(""), &err);
    assert_secret(out, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

static void
a_context_of_8_kib_is_derived_and_a_longer_one_than_the_ceiling_is_an_error(void **state)
{
    (void)state;
    pk_error err = {0};
    static const char context[20000];
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_text("key");
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *fits = pk_hkdf(key, PK_LABEL_WRAP, (pk_span){context, 8192}, &err);
    assert_non_null(fits);
    assert_refused(pk_hkdf(key, PK_LABEL_WRAP, (pk_span){context, sizeof context}, &err),
                   PK_E_TOO_LONG);
}

/* The inputs of RFC 7914 with the salts made as long as our limits want them; the outputs are of
 * another program, which gives the RFC's own for the RFC's own. */
static const struct password_row {
    const char *name, *password, *salt;
    pk_kdf_params params;
    const char *out;
} password_rows[] = {
    {"scrypt: like RFC 7914, third vector",
     "pleaseletmein",
     "SodiumChloride-2",
     {.alg = PK_KDF_SCRYPT, .n = 16384, .r = 8, .p = 1},
     "6ee691c450f36d8a6e9a252cae801c8b418362e542af192aad35d6bda72cb190"},
    {"scrypt: like RFC 7914, second vector",
     "password",
     "NaCl-NaCl-NaCl-NaCl",
     {.alg = PK_KDF_SCRYPT, .n = 1024, .r = 8, .p = 16},
     "b1d108d4400f076d907e82d9908a50958f96c4c0e99cb0dd792407faefe7836b"},
    {"PBKDF2-HMAC-SHA256: like RFC 7914, first vector",
     "passwd",
     "salt-salt-salt-salt",
     {.alg = PK_KDF_PBKDF2_SHA256, .iterations = 10000},
     "2d24c984af3e5cc4c77c5be198e7048d06457f59b753f4284c9d12d8bf88c4db"},
    {"PBKDF2-HMAC-SHA256: like RFC 7914, second vector",
     "Password",
     "NaCl-NaCl-NaCl-NaCl",
     {.alg = PK_KDF_PBKDF2_SHA256, .iterations = 80000},
     "a2b0364c32ed69b453f043b49aad77b81f6cd93c06ae0376db5962b0f809b459"},
};

static void derives_from_passwords(void **state)
{
    const struct password_row *row = *state;
    pk_error err = {0};
    pk_kdf_params params = row->params;
    params.salt_len = strlen(row->salt);
    memcpy(params.salt, row->salt, params.salt_len);
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(row->password);
    PK_AUTO_PTR(pk_secret_free) pk_secret *out = pk_kdf_password(password, &params, &err);
    assert_secret(out, row->out);
}

static void pbkdf2_sha512_matches(void **state)
{
    const struct pbkdf2_vector *row = *state;
    pk_error err = {0};
    pk_kdf_params params = {.alg = PK_KDF_PBKDF2_SHA512, .iterations = row->rounds};
    if (strcmp(row->salt, "salt") == 0) {
        params.salt_len = 4;
        memcpy(params.salt, "salt", 4);
    } else {
        params.salt_len = unhex(row->salt, params.salt, sizeof params.salt);
    }
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(row->password);
    if (row->rounds < PK_KDF_ROUNDS_MIN) { /* vectors below what we ever derive with */
        assert_refused(pk_kdf_password(password, &params, &err), PK_E_CORRUPT);
        return;
    }
    PK_AUTO_PTR(pk_secret_free) pk_secret *out = pk_kdf_password(password, &params, &err);
    assert_secret(out, row->out);
}

/* N = 2^15, r = 8 fails with OpenSSL's own memory cap. */
static void the_release_cost_of_scrypt_fits_our_memory_cap(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_kdf_params params = {.alg = PK_KDF_SCRYPT, .n = 1 << 15, .r = 8, .p = 3, .salt_len = 32};
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text("x");
    PK_AUTO_PTR(pk_secret_free) pk_secret *out = pk_kdf_password(password, &params, &err);
    assert_non_null(out);
}

static void impossible_parameters_are_an_error(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text("x");
    pk_kdf_params params = {.alg = PK_KDF_SCRYPT, .n = UINT64_MAX, .r = 8, .p = 3, .salt_len = 32};
    assert_refused(pk_kdf_password(password, &params, &err), PK_E_CORRUPT);
    params = (pk_kdf_params){.alg = PK_KDF_PBKDF2_SHA512, .iterations = 10000, .salt_len = 65};
    assert_refused(pk_kdf_password(password, &params, &err), PK_E_CORRUPT);
    params = (pk_kdf_params){.alg = PK_KDF_SCRYPT, .n = 1000, .r = 8, .p = 1, .salt_len = 32};
    assert_refused(pk_kdf_password(password, &params, &err), PK_E_CORRUPT);
}

/* Whoever filled the struct: a caller that forgot the check must not be kept busy either. */
static void parameters_outside_the_limits_are_not_derived_with(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text("x");
    static const pk_kdf_params outside[] = {
        {.alg = PK_KDF_PBKDF2_SHA512, .iterations = 9999, .salt_len = 32},
        {.alg = PK_KDF_PBKDF2_SHA256, .iterations = 10000001, .salt_len = 32},
        {.alg = PK_KDF_PBKDF2_SHA512, .iterations = 10000, .salt_len = 15},
        {.alg = PK_KDF_SCRYPT, .n = 512, .r = 8, .p = 1, .salt_len = 32},
        {.alg = PK_KDF_SCRYPT, .n = 1024, .r = 8, .p = 17, .salt_len = 32},
    };
    for (size_t i = 0; i < PK_COUNT(outside); i++)
        assert_refused(pk_kdf_password(password, &outside[i], &err), PK_E_CORRUPT);
}

static void what_is_new_may_be_written_and_has_its_own_salt(void **state)
{
    (void)state;
    pk_error err = {0};
    static const pk_kdf_alg algs[] = {PK_KDF_SCRYPT, PK_KDF_PBKDF2_SHA512, PK_KDF_PBKDF2_SHA256};
    for (size_t i = 0; i < PK_COUNT(algs); i++) {
        pk_kdf_params one;
        pk_kdf_params two;
        assert_ok(pk_kdf_params_new(algs[i], &one, &err));
        assert_ok(pk_kdf_params_new(algs[i], &two, &err));
        assert_true(pk_kdf_floor_ok(&one));
        assert_true(pk_kdf_limits_ok(&one));
        assert_int_equal(one.salt_len, 32);
        assert_memory_not_equal(one.salt, two.salt, 32);
        one.salt_len = 31;
        assert_false(pk_kdf_floor_ok(&one));
    }
}

static void parameters_are_read_as_they_were_written(void **state)
{
    (void)state;
    pk_error err = {0};
    static const pk_kdf_alg algs[] = {PK_KDF_SCRYPT, PK_KDF_PBKDF2_SHA512, PK_KDF_PBKDF2_SHA256};
    for (size_t i = 0; i < PK_COUNT(algs); i++) {
        PK_AUTO(pk_buf_clear) pk_buf json = PK_BUF_MAX(1024);
        pk_kdf_params one;
        pk_kdf_params two;
        assert_ok(pk_kdf_params_new(algs[i], &one, &err));
        assert_ok(pk_kdf_params_write(&one, &json, &err));
        assert_ok(pk_kdf_params_read(pk_buf_span(&json), &two, &err));
        assert_int_equal(one.alg, two.alg);
        assert_int_equal(one.n, two.n);
        assert_int_equal(one.r, two.r);
        assert_int_equal(one.p, two.p);
        assert_int_equal(one.iterations, two.iterations);
        assert_int_equal(one.salt_len, two.salt_len);
        assert_memory_equal(one.salt, two.salt, one.salt_len);
    }
}

#define SALT "AAECAwQFBgcICQoLDA0ODw=="
/* clang-format off */
static const struct read_row {
    const char *name, *json;
    bool ok;
} read_rows[] = {
    {"scrypt as released is read", "{\"alg\":\"scrypt\",\"n\":32768,\"r\":8,\"p\":3,\"salt\":\"" SALT "\"}", true},
    {"scrypt of 64 MiB is read", "{\"alg\":\"scrypt\",\"n\":65536,\"r\":8,\"p\":1,\"salt\":\"" SALT "\"}", true},
    {"scrypt of 128 MiB is refused", "{\"alg\":\"scrypt\",\"n\":131072,\"r\":8,\"p\":1,\"salt\":\"" SALT "\"}", false},
    {"scrypt with N no power of two is refused", "{\"alg\":\"scrypt\",\"n\":32769,\"r\":8,\"p\":3,\"salt\":\"" SALT "\"}", false},
    {"scrypt with N below 1024 is refused", "{\"alg\":\"scrypt\",\"n\":512,\"r\":8,\"p\":3,\"salt\":\"" SALT "\"}", false},
    {"scrypt with N of zero is refused", "{\"alg\":\"scrypt\",\"n\":0,\"r\":8,\"p\":3,\"salt\":\"" SALT "\"}", false},
    {"scrypt with a negative N is refused", "{\"alg\":\"scrypt\",\"n\":-32768,\"r\":8,\"p\":3,\"salt\":\"" SALT "\"}", false},
    {"scrypt with a huge N is refused", "{\"alg\":\"scrypt\",\"n\":4611686018427387904,\"r\":8,\"p\":3,\"salt\":\"" SALT "\"}", false},
    {"scrypt with p of 17 is refused", "{\"alg\":\"scrypt\",\"n\":1024,\"r\":8,\"p\":17,\"salt\":\"" SALT "\"}", false},
    {"scrypt with r of zero is refused", "{\"alg\":\"scrypt\",\"n\":1024,\"r\":0,\"p\":1,\"salt\":\"" SALT "\"}", false},
    {"scrypt with r above 32 bits is refused", "{\"alg\":\"scrypt\",\"n\":1024,\"r\":4294967304,\"p\":1,\"salt\":\"" SALT "\"}", false},
    {"PBKDF2 of 10,000 rounds is read", "{\"alg\":\"pbkdf2-sha512\",\"iterations\":10000,\"salt\":\"" SALT "\"}", true},
    {"PBKDF2 of 10,000,000 rounds is read", "{\"alg\":\"pbkdf2-sha256\",\"iterations\":10000000,\"salt\":\"" SALT "\"}", true},
    {"PBKDF2 of 9,999 rounds is refused", "{\"alg\":\"pbkdf2-sha512\",\"iterations\":9999,\"salt\":\"" SALT "\"}", false},
    {"PBKDF2 of 10,000,001 rounds is refused", "{\"alg\":\"pbkdf2-sha512\",\"iterations\":10000001,\"salt\":\"" SALT "\"}", false},
    {"PBKDF2 with rounds above 32 bits is refused", "{\"alg\":\"pbkdf2-sha512\",\"iterations\":4294977296,\"salt\":\"" SALT "\"}", false},
    {"a salt of 15 bytes is refused", "{\"alg\":\"pbkdf2-sha512\",\"iterations\":10000,\"salt\":\"AAECAwQFBgcICQoLDA0O\"}", false},
    {"a salt of 66 bytes is refused",
     "{\"alg\":\"pbkdf2-sha512\",\"iterations\":10000,\"salt\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", false},
    {"an unknown algorithm is refused", "{\"alg\":\"md5\",\"iterations\":10000,\"salt\":\"" SALT "\"}", false},
    {"scrypt's members under another name are refused", "{\"alg\":\"argon2\",\"n\":32768,\"r\":8,\"p\":3,\"salt\":\"" SALT "\"}", false},
    {"an unknown member is refused", "{\"alg\":\"pbkdf2-sha512\",\"iterations\":10000,\"salt\":\"" SALT "\",\"x\":1}", false},
    {"a missing member is refused", "{\"alg\":\"scrypt\",\"n\":32768,\"r\":8,\"salt\":\"" SALT "\"}", false},
    {"a text that is no JSON is refused", "scrypt", false},
    {"an array is refused", "[]", false},
};
/* clang-format on */

static void reads_within_limits(void **state)
{
    const struct read_row *row = *state;
    pk_error err = {0};
    pk_kdf_params params;
    if (row->ok)
        assert_ok(pk_kdf_params_read(pk_span_of(row->json), &params, &err));
    else
        assert_refused(pk_kdf_params_read(pk_span_of(row->json), &params, &err), PK_E_CORRUPT);
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_ROWS(&suite, hkdf_vectors, derives_by_label);
    PK_SUITE_TEST(&suite, hkdf_matches_the_rfc);
    PK_SUITE_TEST(&suite,
                  a_context_of_8_kib_is_derived_and_a_longer_one_than_the_ceiling_is_an_error);
    PK_SUITE_ROWS(&suite, password_rows, derives_from_passwords);
    PK_SUITE_ROWS(&suite, pbkdf2_sha512_vectors, pbkdf2_sha512_matches);
    PK_SUITE_TEST(&suite, the_release_cost_of_scrypt_fits_our_memory_cap);
    PK_SUITE_TEST(&suite, impossible_parameters_are_an_error);
    PK_SUITE_TEST(&suite, parameters_outside_the_limits_are_not_derived_with);
    PK_SUITE_TEST(&suite, what_is_new_may_be_written_and_has_its_own_salt);
    PK_SUITE_TEST(&suite, parameters_are_read_as_they_were_written);
    PK_SUITE_ROWS(&suite, read_rows, reads_within_limits);
    return pk_suite_run(&suite, "kdf");
}
