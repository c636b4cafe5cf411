/*
 * kdf.c is compiled into this program without PK_TEST_KDF (CMakeLists.txt), so this is the key
 * derivation of a release under the library's own writer. A wrapped pk_kdf_params_new can be told
 * to come back with less than it should: then nothing may be written.
 */
#include "crypto_test.h"

#include "crypto/kdf.h"
#include "crypto/keyfile_parts.h"

#include <fcntl.h>
#include <unistd.h>

static uint32_t cheap_rounds; /* 0: as the release does it */

/* The linker chose these names.
 * NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
bool __real_pk_kdf_params_new(pk_kdf_alg, pk_kdf_params *, pk_error *);
bool __wrap_pk_kdf_params_new(pk_kdf_alg, pk_kdf_params *, pk_error *);
bool __wrap_pk_kdf_params_new(pk_kdf_alg alg, pk_kdf_params *params, pk_error *err)
{
    bool done = __real_pk_kdf_params_new(alg, params, err);
    if (cheap_rounds != 0)
        params->iterations = cheap_rounds;
    return done;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* The file that tests/vectors/keyfile keeps: fixed secrets, release cost. */
static bool seal_vector(pk_buf *out, pk_error *err)
{
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_identity_clear) pk_identity signer;
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text("Correct-Horse-1");
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *smk = secret_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = pk_hkdf(smk, PK_LABEL_KEK, PK_SPAN(""), err);
    const pk_recipient recipients[] = {
        {PK_RECIPIENT_PASSWORD, password, NULL},
        {PK_RECIPIENT_KEK, kek, "keystore 17171717-1717-1717-1717-171717171717 v1"},
    };
    sample_identity(&signer, 0x77);
    sample_set(&set);
    return pk_keyfile_seal(&set, recipients, 2, &signer, out, err);
}

static void the_release_writes_its_cost(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    cheap_rounds = 0;
    assert_ok(seal_vector(&text, &err));
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&text), &err);
    assert_non_null(file);
    assert_int_equal(file->recipients[1].kdf.iterations, 1000000);
    assert_int_equal(file->recipients[1].kdf.salt_len, 32);
}

static void the_release_refuses_to_write_a_cheap_file(void **state)
{
    (void)state;
    pk_error err = {0};
    static const uint32_t rounds[] = {1, 10000, 209999};
    for (size_t i = 0; i < PK_COUNT(rounds); i++) {
        PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
        cheap_rounds = rounds[i];
        assert_refused(seal_vector(&text, &err), PK_E_INTERNAL);
        assert_non_null(strstr(err.message, "too cheap"));
        assert_int_equal(pk_buf_span(&text).len, 0);
    }
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    cheap_rounds = 210000;
    assert_ok(seal_vector(&text, &err));
}

static const struct floor_row {
    const char *name;
    pk_kdf_params params;
    bool ok;
} floor_rows[] = {
    {"scrypt 2^15/8/3", {.alg = PK_KDF_SCRYPT, .n = 32768, .r = 8, .p = 3, .salt_len = 32}, true},
    {"scrypt 2^14/8/3", {.alg = PK_KDF_SCRYPT, .n = 16384, .r = 8, .p = 3, .salt_len = 32}, false},
    {"scrypt 2^15/7/3", {.alg = PK_KDF_SCRYPT, .n = 32768, .r = 7, .p = 3, .salt_len = 32}, false},
    {"scrypt 2^15/8/2", {.alg = PK_KDF_SCRYPT, .n = 32768, .r = 8, .p = 2, .salt_len = 32}, false},
    {"scrypt of a test build",
     {.alg = PK_KDF_SCRYPT, .n = 1024, .r = 8, .p = 3, .salt_len = 32},
     false},
    {"PBKDF2-SHA-512, 210,000",
     {.alg = PK_KDF_PBKDF2_SHA512, .iterations = 210000, .salt_len = 32},
     true},
    {"PBKDF2-SHA-512, 209,999",
     {.alg = PK_KDF_PBKDF2_SHA512, .iterations = 209999, .salt_len = 32},
     false},
    {"PBKDF2-SHA-256, 600,000",
     {.alg = PK_KDF_PBKDF2_SHA256, .iterations = 600000, .salt_len = 32},
     true},
    {"PBKDF2-SHA-256, 599,999",
     {.alg = PK_KDF_PBKDF2_SHA256, .iterations = 599999, .salt_len = 32},
     false},
    {"a short salt", {.alg = PK_KDF_PBKDF2_SHA512, .iterations = 1000000, .salt_len = 31}, false},
};

static void floors_of_the_release(void **state)
{
    const struct floor_row *row = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf json = PK_BUF_MAX(1024);
    assert_int_equal(pk_kdf_floor_ok(&row->params), row->ok);
    if (row->ok)
        assert_ok(pk_kdf_params_write(&row->params, &json, &err));
    else
        assert_refused(pk_kdf_params_write(&row->params, &json, &err), PK_E_INTERNAL);
}

static void what_the_release_makes_is_what_the_design_says(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_kdf_params params;
    cheap_rounds = 0;
    assert_ok(pk_kdf_params_new(PK_KDF_SCRYPT, &params, &err));
    assert_true(params.n == 32768 && params.r == 8 && params.p == 3 && params.salt_len == 32);
    assert_ok(pk_kdf_params_new(PK_KDF_PBKDF2_SHA512, &params, &err));
    assert_int_equal(params.iterations, 1000000);
}

/* PK_WRITE_KEYFILE=path: writes a file for tests/vectors/keyfile instead of testing. */
static int write_vector(const char *path)
{
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    if (!seal_vector(&text, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    pk_span all = pk_buf_span(&text);
    return fd < 0 || write(fd, all.ptr, all.len) != (ssize_t)all.len || close(fd) != 0;
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    /* No other thread yet. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    const char *path = getenv("PK_WRITE_KEYFILE");
    if (path != NULL)
        return write_vector(path);
    PK_SUITE_TEST(&suite, what_the_release_makes_is_what_the_design_says);
    PK_SUITE_ROWS(&suite, floor_rows, floors_of_the_release);
    PK_SUITE_TEST(&suite, the_release_writes_its_cost);
    PK_SUITE_TEST(&suite, the_release_refuses_to_write_a_cheap_file);
    return pk_suite_run(&suite, "release");
}
