/* Recovery codes: what is written can be read as people write it, and what was mistyped is told. */
#include "crypto_test.h"

#include "crypto/kdf.h"
#include "crypto/recovery.h"
#include "vectors/crypto/vectors.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void is_written_and_read(void **state)
{
    const struct recovery_vector *row = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_SECRET(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = secret_hex(row->secret);
    assert_ok(pk_recovery_write(secret, &text, &err));
    assert_true(pk_span_equal(pk_buf_span(&text), pk_span_of(row->code)));
    assert_int_equal(pk_buf_span(&text).len, PK_RECOVERY_TEXT_LEN);
    PK_AUTO_PTR(pk_secret_free) pk_secret *back = pk_recovery_read(pk_span_of(row->code), &err);
    assert_secret(back, row->secret);
    uint8_t store[16];
    memset(store, 0xa5, sizeof store);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *kek = pk_hkdf(back, PK_LABEL_SLOT, pk_span_bytes(store, sizeof store), &err);
    assert_secret(kek, row->kek);
}

/* All of them are the code of the counting bytes. */
static const struct spelling {
    const char *name, *text;
} spellings[] = {
    {"lower case", "000g-40r4-0m30-e209-185g-r38e-1w81-24gk-cf"},
    {"blanks for dashes", "000G 40R4 0M30 E209 185G R38E 1W81 24GK CF"},
    {"nothing between the groups", "000G40R40M30E209185GR38E1W8124GKCF"},
    {"letters for the digits they look like", "OoOG-4oR4-OM3o-E2O9-i85G-R38E-lW8I-24GK-CF"},
    {"a line end and blanks around", "  000G-40R4-0M30-E209-185G-R38E-1W81-24GK-CF\r\n"},
};

static void is_read_as_people_write_it(void **state)
{
    const struct spelling *row = *state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_recovery_read(pk_span_of(row->text), &err);
    if (secret == NULL)
        fail_msg("%s", err.detail);
    assert_secret(secret, recovery_vectors[0].secret);
}

static const struct refusal {
    const char *name, *text, *detail;
} refusals[] = {
    {"nothing", "", "too short"},
    {"one character less", "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-C", "too short"},
    {"one character more", "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-CF0", "too long"},
    {"a letter that is in no code", "000U-40R4-0M30-E209-185G-R38E-1W81-24GK-CF", "character"},
    {"a byte that is no ASCII", "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-C\xff", "character"},
    {"check characters of another code", "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-CG", "mistyped"},
    {"a check number above the modulus", "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-ZZ", "mistyped"},
};

static void is_refused_and_says_why(void **state)
{
    const struct refusal *row = *state;
    pk_error err = {0};
    assert_refused(pk_recovery_read(pk_span_of(row->text), &err), PK_E_PASSWORD);
    if (strstr(err.detail, row->detail) == NULL)
        fail_msg("%s", err.detail);
}

static void a_zero_byte_is_no_character_of_a_code(void **state)
{
    (void)state;
    pk_error err = {0};
    char text[PK_RECOVERY_TEXT_LEN];
    memcpy(text, recovery_vectors[0].code, sizeof text);
    text[3] = '\0';
    assert_refused(pk_recovery_read(pk_span_bytes(text, sizeof text), &err), PK_E_PASSWORD);
    assert_non_null(strstr(err.detail, "character"));
}

static void every_single_wrong_character_is_found(void **state)
{
    (void)state;
    pk_error err = {0};
    unsigned tried = 0;
    for (size_t v = 0; v < PK_COUNT(recovery_vectors); v++)
        for (size_t at = 0; at < PK_RECOVERY_TEXT_LEN; at++)
            for (size_t s = 0; s < 32; s++) {
                char text[PK_RECOVERY_TEXT_LEN];
                memcpy(text, recovery_vectors[v].code, sizeof text);
                if (text[at] == '-' || text[at] == alphabet[s])
                    continue;
                text[at] = alphabet[s];
                assert_refused(pk_recovery_read(pk_span_bytes(text, sizeof text), &err),
                               PK_E_PASSWORD);
                assert_non_null(strstr(err.detail, "mistyped"));
                tried++;
            }
    assert_int_equal(tried, PK_COUNT(recovery_vectors) * 34 * 31);
}

static void neighbours_that_changed_places_are_found(void **state)
{
    (void)state;
    pk_error err = {0};
    const char *code = "000G40R40M30E209185GR38E1W8124GKCF";
    for (size_t at = 0; at + 1 < 32; at++) {
        char text[34];
        memcpy(text, code, sizeof text);
        if (text[at] == text[at + 1])
            continue;
        text[at] = code[at + 1];
        text[at + 1] = code[at];
        assert_refused(pk_recovery_read(pk_span_bytes(text, sizeof text), &err), PK_E_PASSWORD);
    }
}

static void other_lengths_are_not_written(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_SECRET(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = secret_text("nineteen bytes long");
    assert_refused(pk_recovery_write(secret, &text, &err), PK_E_INTERNAL);
}

int main(void)
{
    start_crypto();
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, recovery_vectors, is_written_and_read);
    PK_SUITE_ROWS(&suite, spellings, is_read_as_people_write_it);
    PK_SUITE_ROWS(&suite, refusals, is_refused_and_says_why);
    PK_SUITE_TEST(&suite, a_zero_byte_is_no_character_of_a_code);
    PK_SUITE_TEST(&suite, every_single_wrong_character_is_found);
    PK_SUITE_TEST(&suite, neighbours_that_changed_places_are_found);
    PK_SUITE_TEST(&suite, other_lengths_are_not_written);
    return pk_suite_run(&suite, "recovery");
}
