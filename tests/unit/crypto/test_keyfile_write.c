#include "keyfile_test.h"

/* Counts derivations of keys from passwords. */
static size_t kdf_calls;
/* The linker chose these names.
 * NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
pk_secret *__real_pk_kdf_password(const pk_secret *, const pk_kdf_params *, pk_error *);
pk_secret *__wrap_pk_kdf_password(const pk_secret *, const pk_kdf_params *, pk_error *);
pk_secret *__wrap_pk_kdf_password(const pk_secret *password, const pk_kdf_params *params,
                                  pk_error *err)
{
    kdf_calls++;
    return __real_pk_kdf_password(password, params, err);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static long secrets_left = -1; /* secrets that may still be made; -1: any number */

/* The linker chose these names.
 * NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
pk_secret *__real_pk_secret_blank(size_t len, uint8_t **bytes, pk_error *err);
pk_secret *__wrap_pk_secret_blank(size_t len, uint8_t **bytes, pk_error *err);
pk_secret *__wrap_pk_secret_blank(size_t len, uint8_t **bytes, pk_error *err)
{
    if (secrets_left == 0) {
        pk_fail(err, PK_E_MEMORY, "out of secure memory");
        return NULL;
    }
    if (secrets_left > 0)
        secrets_left--;
    return __real_pk_secret_blank(len, bytes, err);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* --- round trips --- */

static const struct round_row {
    const char *name;
    size_t passwords, keys;
} round_rows[] = {
    {"one password", 1, 0},
    {"two passwords", 2, 0},
    {"three passwords", 3, 0},
    {"four passwords", 4, 0},
    {"one key", 0, 1},
    {"two keys", 0, 2},
    {"three keys", 0, 3},
    {"four keys", 0, 4},
    {"sixteen keys", 0, 16},
    {"a password and a key", 1, 1},
    {"four passwords and twelve keys", 4, 12},
};

static void every_recipient_opens_the_file_and_nobody_else(void **state)
{
    const struct round_row *row = *state;
    enum { MOST = 16 };
    pk_error err = {0};
    pk_secret *secrets[MOST] = {NULL};
    char ids[MOST][32];
    pk_recipient recipients[MOST];
    size_t count = row->passwords + row->keys;
    for (size_t i = 0; i < count; i++) {
        secrets[i] = pk_secret_random(PK_KEY_LEN, &err);
        (void)snprintf(ids[i], sizeof ids[i], "key %zu", i);
        recipients[i] = i < row->passwords ? by_password(secrets[i]) : by_key(secrets[i], ids[i]);
    }
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    seal(recipients, count, &text);

    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&text), &err);
    assert_non_null(file);
    assert_int_equal(pk_keyfile_recipients(file), count);
    PK_AUTO_PTR(pk_secret_free) pk_secret *wrong = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO(pk_keyset_clear) pk_keyset nothing;
    for (size_t i = 0; i < row->passwords; i++) {
        PK_AUTO(pk_keyset_clear) pk_keyset set;
        assert_ok(pk_keyfile_open_password(file, secrets[i], &set, &err));
        assert_sample(&set);
    }
    assert_refused(pk_keyfile_open_password(file, wrong, &nothing, &err),
                   row->passwords > 0 ? PK_E_PASSWORD : PK_E_PARAMETER);
    size_t opened = 0;
    for (size_t i = 0; i < count; i++) {
        if (pk_keyfile_recipient_kind(file, i) != PK_RECIPIENT_KEK) {
            assert_string_equal(pk_keyfile_recipient_id(file, i), "");
            continue;
        }
        size_t mine = 0;
        while (mine < row->passwords || strcmp(ids[mine], pk_keyfile_recipient_id(file, i)) != 0)
            assert_true(++mine < count);
        PK_AUTO(pk_keyset_clear) pk_keyset set;
        assert_ok(pk_keyfile_open_kek(file, i, secrets[mine], &set, &err));
        assert_sample(&set);
        assert_refused(pk_keyfile_open_kek(file, i, wrong, &nothing, &err), PK_E_PASSWORD);
        opened++;
    }
    assert_int_equal(opened, row->keys);
    for (size_t i = 0; i < count; i++)
        pk_secret_free(secrets[i]);
}

static void opening_by_a_key_needs_a_key_recipient_and_a_key(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(PASSWORD);
    pk_recipient recipients[] = {by_password(password), by_key(key, "k")};
    pk_keyset set;
    seal(recipients, 2, &text);
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&text), &err);
    assert_non_null(file);
    /* DER puts key recipients first */
    assert_int_equal(pk_keyfile_recipient_kind(file, 0), PK_RECIPIENT_KEK);
    assert_refused(pk_keyfile_open_kek(file, 1, key, &set, &err), PK_E_INTERNAL);
    assert_refused(pk_keyfile_open_kek(file, 2, key, &set, &err), PK_E_INTERNAL);
    assert_refused(pk_keyfile_open_kek(file, 0, password, &set, &err), PK_E_INTERNAL);
}

static void impossible_recipients_are_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_identity_clear) pk_identity signer;
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *small = pk_secret_random(16, &err);
    pk_recipient many[17];
    char long_id[PK_KEYFILE_ID_MAX + 2];
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    for (size_t i = 0; i < 17; i++)
        many[i] = by_key(key, "k");
    kdf_calls = 0;
    assert_refused(pk_keyfile_seal(&set, many, 0, &signer, &out, &err), PK_E_PARAMETER);
    assert_refused(pk_keyfile_seal(&set, many, 17, &signer, &out, &err), PK_E_PARAMETER);
    for (size_t i = 0; i < 5; i++)
        many[i] = by_password(key);
    assert_refused(pk_keyfile_seal(&set, many, 5, &signer, &out, &err), PK_E_PARAMETER);
    assert_int_equal(kdf_calls, 0);

    memset(long_id, 'x', sizeof long_id);
    long_id[sizeof long_id - 1] = '\0';
    const pk_recipient wrong[] = {
        by_key(small, "k"),
        by_key(NULL, "k"),
        by_key(key, NULL),
        by_password(NULL),
        {PK_RECIPIENT_OTHER, key, "k"},
    };
    for (size_t i = 0; i < PK_COUNT(wrong); i++) {
        assert_refused(pk_keyfile_seal(&set, &wrong[i], 1, &signer, &out, &err), PK_E_INTERNAL);
        assert_int_equal(pk_buf_span(&out).len, 0);
    }
    const char *const ids[] = {"", long_id, "line\nbreak", "caf\303\251", "del\177", "password"};
    for (size_t i = 0; i < PK_COUNT(ids); i++) {
        pk_recipient recipient = by_key(key, ids[i]);
        assert_refused(pk_keyfile_seal(&set, &recipient, 1, &signer, &out, &err), PK_E_PARAMETER);
        assert_non_null(strstr(err.message, "identifier"));
        assert_int_equal(pk_buf_span(&out).len, 0);
    }
    assert_int_equal(kdf_calls, 0);
    long_id[PK_KEYFILE_ID_MAX] = '\0';
    pk_recipient longest = by_key(key, long_id);
    assert_ok(pk_keyfile_seal(&set, &longest, 1, &signer, &out, &err));
}

/* The first secret that cannot be made, then the second .. until the file is written. */
static void running_out_of_secure_memory_at_any_moment_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_identity_clear) pk_identity signer;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_KEYFILE_MAX);
    pk_recipient recipients[] = {by_key(key, "k"), by_password(key)};
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    long nth = 0;
    for (bool done = false; !done; nth++) {
        assert_true(nth < 100);
        memset(&err, 0, sizeof err);
        secrets_left = nth;
        done = pk_keyfile_seal(&set, recipients, 2, &signer, &out, &err);
        secrets_left = -1;
        if (!done)
            assert_string_equal(err.sqlstate, PK_E_MEMORY);
        assert_int_equal(pk_buf_span(&out).len > 0, done);
    }
    assert_true(nth > 5);
}

/* --- the stock tool --- */

/* Runs what the preamble says, with FILE, the password and the keys filled in. */
static void the_commands_of_the_preamble_open_the_file(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(PASSWORD);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *smk = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = pk_hkdf(smk, PK_LABEL_KEK, PK_SPAN(""), &err);
    const pk_recipient recipients[] = {
        by_password(password),
        by_key(key, "spare key"),
        by_key(kek, "keystore 17171717-1717-1717-1717-171717171717 v1"),
    };
    seal(recipients, PK_COUNT(recipients), &text);
    write_file("FILE", pk_buf_span(&text));

    char hex[2 * PK_KEY_LEN + 1];
    PK_AUTO(pk_buf_clear) pk_buf k = PK_BUF_SECRET(128);
    pk_hex(pk_secret_bytes(key), PK_KEY_LEN, hex);
    assert_ok(pk_base64url(pk_span_bytes(pk_secret_bytes(smk), PK_KEY_LEN), &k, &err));
    char fill[512];
    (void)snprintf(fill, sizeof fill, "s/PASSWORD/" PASSWORD "/;s/HEXKEY/%s/;s/'K'/'%.*s'/", hex,
                   PK_SPAN_ARG(pk_buf_span(&k)));
    char script[2048];
    (void)snprintf(script, sizeof script,
                   "set -ef\n"
                   /* each command's output is looked at before the next one */
                   "sed -n '/^-----BEGIN/q;/^  \\(openssl\\|SMK=\\|KEK=\\|head\\)/p' FILE | "
                   "sed \"%s\" >commands\n"
                   "test $(grep -c 'openssl cms -decrypt' commands) = 3\n"
                   "sed -i 's/^  openssl cms .*/rm -f keys.json\\n&\\nhead -n1 keys.json | grep -q "
                   "pgk1:\\necho opened >>opened/' commands\n"
                   "sh -e commands >/dev/null\n"
                   "test $(wc -l <opened) = 3\n",
                   fill);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    assert_int_equal(run(argv), 0);

    PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 20);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    read_file(directory, "keys.json", &payload);
    assert_ok(pk_keyset_read(pk_buf_span(&payload), &set, &err));
    assert_sample(&set);
}

/* The lines of the preamble that a person would copy, each also on the page about the format. */
static void the_documentation_has_the_same_commands(void **state)
{
    (void)state;
    pk_error err = {0};
    size_t commands = 0;
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf page = PK_BUF_MAX(1u << 20);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    const pk_recipient recipients[] = {by_password(key), by_key(key, "spare key"),
                                       by_key(key, "keystore x v1")};
    seal(recipients, PK_COUNT(recipients), &text);
    read_file(PK_TEST_SOURCE "/docs/formats", "keyfile.md", &page);
    pk_span all = pk_buf_span(&text);
    pk_span doc = pk_buf_span(&page);
    const char *line = memmem(all.ptr, all.len, "Reading it without pgkeep", 25);
    assert_non_null(line);
    while (memcmp(line, "-----BEGIN", 10) != 0) {
        size_t len = strcspn(line, "\n") + 1;
        if (line[0] == ' ') {
            commands++;
            if (memmem(doc.ptr, doc.len, line, len) == NULL)
                fail_msg("not in docs/formats/keyfile.md: %.*s", (int)len, line);
        }
        line += len;
    }
    assert_int_equal(commands, 6);
}

static void openssl_opens_every_number_of_recipients_with_every_secret(void **state)
{
    const struct round_row *row = *state;
    enum { MOST = 16 };
    pk_error err = {0};
    pk_secret *secrets[MOST] = {NULL};
    char texts[MOST][80];
    pk_recipient recipients[MOST];
    size_t count = row->passwords + row->keys;
    for (size_t i = 0; i < count; i++) {
        bool password = i < row->passwords;
        secrets[i] = pk_secret_random(PK_KEY_LEN, &err);
        pk_hex(pk_secret_bytes(secrets[i]), PK_KEY_LEN, texts[i]);
        if (password) {
            pk_secret_free(secrets[i]);
            secrets[i] = secret_text(texts[i]);
        }
        recipients[i] = password ? by_password(secrets[i]) : by_key(secrets[i], texts[i]);
    }
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    seal(recipients, count, &text);
    write_file("FILE", pk_buf_span(&text));
    /* the first, and the last of each kind */
    for (size_t i = 0; i < count; i++) {
        bool password = i < row->passwords;
        if (i != 0 && i != row->passwords && i + 1 != row->passwords && i + 1 != count)
            continue;
        PK_AUTO(pk_buf_clear) pk_buf payload = PK_BUF_SECRET(1u << 20);
        PK_AUTO(pk_keyset_clear) pk_keyset set;
        assert_int_equal(openssl_opens(password ? "-pwri_password" : "-secretkey", texts[i]), 0);
        read_file(directory, "keys.json", &payload);
        assert_ok(pk_keyset_read(pk_buf_span(&payload), &set, &err));
        assert_sample(&set);
    }
    if (row->passwords > 0)
        assert_int_not_equal(openssl_opens("-pwri_password", "wrong"), 0);
    if (row->keys > 0)
        assert_int_not_equal(openssl_opens("-secretkey", "00112233445566778899aabbccddeeff"
                                                         "00112233445566778899aabbccddeeff"),
                             0);
    for (size_t i = 0; i < count; i++)
        pk_secret_free(secrets[i]);
}

/* --- the preamble --- */

static void names_from_users_cannot_harm_the_preamble(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    PK_AUTO(pk_identity_clear) pk_identity signer;
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    pk_recipient recipient = by_key(key, "-----BEGIN CMS-----");
    static char long_name[1000];
    memset(long_name, 'n', sizeof long_name - 1);
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    set.created_by = "eve\n-----BEGIN CMS-----\nMAA=\n-----END CMS-----\n";
    set.server_version = "\r\n-----BEGIN\033[2J\b";
    set.system_identifier = long_name;
    set.keys[0].db = "m\303\244rz\n-----BEGIN CMS-----";
    set.keys[0].name = "------------BEGIN CMS";
    assert_ok(pk_keyfile_seal(&set, &recipient, 1, &signer, &text, &err));

    pk_span all = pk_buf_span(&text);
    const char *begin = memmem(all.ptr, all.len, "-----BEGIN", 10);
    assert_non_null(begin);
    assert_memory_equal(begin, "-----BEGIN CMS-----\n", 20);
    assert_null(memmem(begin + 1, all.len - (size_t)(begin + 1 - all.ptr), "-----BEGIN", 10));
    for (size_t i = 0; i < all.len; i++)
        assert_true(all.ptr[i] == '\n' || (all.ptr[i] >= 0x20 && all.ptr[i] <= 0x7e));
    assert_null(memmem(all.ptr, all.len, long_name, sizeof long_name - 1));

    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(all, &err);
    assert_non_null(file);
    assert_ok(pk_keyfile_open_kek(file, 0, key, &again, &err));
    assert_string_equal(again.created_by, set.created_by); /* inside it is as it was */
    write_file("FILE", all);
    char hex[65];
    pk_hex(pk_secret_bytes(key), PK_KEY_LEN, hex);
    assert_int_equal(openssl_opens("-secretkey", hex), 0);
}

static void the_preamble_says_what_the_file_is(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    char fp[PK_FP_TEXT];
    sample_set(&set);
    pk_fingerprint_text(set.keys[0].fp, fp);
    seal_with_password(&text);
    assert_ok(pk_buf_append(&text, "", 1, &err));
    const char *const parts[] = {
        "BACKUP MASTER KEY",
        "2026-03-01T02:03:05Z",
        "alice",
        "17171717-1717-1717-1717-171717171717",
        "pgs1:",
        "7300000000000000001",
        "sales/master v1",
        fp,
        "Recipients, any one opens the file: 1",
        "openssl cms -decrypt -inform PEM -in FILE -pwri_password 'PASSWORD'",
        "exit status is 0"};
    for (size_t i = 0; i < PK_COUNT(parts); i++)
        if (strstr(pk_buf_span(&text).ptr, parts[i]) == NULL)
            fail_msg("the preamble does not say: %s", parts[i]);
    assert_null(strstr(pk_buf_span(&text).ptr, "-secretkey"));
}

static void a_long_list_of_keys_is_cut(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_identity_clear) pk_identity signer;
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    pk_recipient recipient = by_key(key, "k");
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    for (uint32_t ver = 2; ver <= 70; ver++)
        add_sample_key(&set, (uint8_t)ver, ver);
    assert_ok(pk_keyfile_seal(&set, &recipient, 1, &signer, &text, &err));
    assert_ok(pk_buf_append(&text, "", 1, &err));
    assert_non_null(strstr(pk_buf_span(&text).ptr, "Keys: 70\n"));
    assert_non_null(strstr(pk_buf_span(&text).ptr, " v64 "));
    assert_null(strstr(pk_buf_span(&text).ptr, " v65 "));
    assert_non_null(strstr(pk_buf_span(&text).ptr, "and 6 more\n"));
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    if (mkdtemp(directory) == NULL)
        return 1;
    PK_SUITE_ROWS(&suite, round_rows, every_recipient_opens_the_file_and_nobody_else);
    PK_SUITE_TEST(&suite, opening_by_a_key_needs_a_key_recipient_and_a_key);
    PK_SUITE_TEST(&suite, impossible_recipients_are_refused);
    PK_SUITE_TEST(&suite,
                  running_out_of_secure_memory_at_any_moment_is_an_error_and_leaves_nothing);
    PK_SUITE_TEST(&suite, the_commands_of_the_preamble_open_the_file);
    PK_SUITE_TEST(&suite, the_documentation_has_the_same_commands);
    PK_SUITE_ROWS(&suite, round_rows, openssl_opens_every_number_of_recipients_with_every_secret);
    PK_SUITE_TEST(&suite, names_from_users_cannot_harm_the_preamble);
    PK_SUITE_TEST(&suite, the_preamble_says_what_the_file_is);
    PK_SUITE_TEST(&suite, a_long_list_of_keys_is_cut);
    int failed = pk_suite_run(&suite, "keyfile_write");
    return clean_up() != 0 || failed;
}
