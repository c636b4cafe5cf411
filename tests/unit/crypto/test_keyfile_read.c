#include "keyfile_test.h"

/* A hostile file must not cause a derivation. */
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

/* Where the elements of a DER structure lie. */
typedef struct element {
    size_t at, content, len; /* offsets from the beginning */
    uint8_t tag;
} element;

/* As deep as the file that we wrote. NOLINTNEXTLINE(misc-no-recursion) */
static void find_elements(pk_span der, size_t base, element *list, size_t *count)
{
    pk_der at = pk_der_of(der);
    uint8_t tag = 0;
    while (pk_der_peek(&at, &tag)) {
        pk_span content;
        size_t start = (size_t)(at.rest.ptr - der.ptr);
        assert_true(pk_der_bytes(&at, tag, 0, SIZE_MAX, &content));
        size_t inside = (size_t)(content.ptr - der.ptr);
        assert_true(*count < 64);
        list[(*count)++] = (element){base + start, base + inside, content.len, tag};
        if ((tag & 0x20) != 0)
            find_elements(content, base + inside, list, count);
    }
}

static bool we_open(pk_span text)
{
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(PASSWORD);
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(text, &err);
    PK_AUTO(pk_keyset_clear) pk_keyset set = {0};
    if (file != NULL && pk_keyfile_open_password(file, password, &set, &err))
        return true;
    assert_true(pk_error_is(&err, PK_E_PASSWORD) || pk_error_is(&err, PK_E_CORRUPT));
    return false;
}

/* What OpenSSL does not look at, and what changes nothing about the content: version numbers, the
 * NULL behind the PRF, the type of the content. */
static bool is_only_ours_to_check(pk_span der, const element *e)
{
    pk_span content = {der.ptr + e->content, e->len};
    return e->tag == PK_DER_NULL || pk_span_equal(content, PK_OID_DATA) ||
           (e->tag == PK_DER_INTEGER &&
            (pk_span_equal(content, PK_SPAN("\0")) || pk_span_equal(content, PK_SPAN("\x10"))));
}

/* One flipped bit in the content of each primitive element and in every other tag: 30 or so. */
static void a_flipped_bit_in_any_field_is_refused_by_openssl_and_by_us(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(PK_KEYFILE_MAX);
    element elements[64];
    size_t count = 0;
    size_t tool_runs = 0;
    seal_with_password(&text);
    der_of(pk_buf_span(&text), &der);
    find_elements(pk_buf_span(&der), 0, elements, &count);
    assert_true(count > 25);
    for (size_t i = 0; i < count; i++) {
        const element *e = &elements[i];
        bool primitive = (e->tag & 0x20) == 0 && e->len > 0;
        bool only_ours = is_only_ours_to_check(pk_buf_span(&der), e);
        size_t at = primitive ? e->content + e->len / 2 : e->at;
        if (!primitive && i % 2 != 0)
            continue;
        der.block[at] ^= 1;
        PK_AUTO(pk_buf_clear) pk_buf bad = PK_BUF_MAX(PK_KEYFILE_MAX);
        pem_of(pk_buf_span(&der), &bad);
        der.block[at] ^= 1;
        if (we_open(pk_buf_span(&bad)))
            fail_msg("we open a file whose byte %zu was flipped", at);
        if (only_ours)
            continue;
        write_file("FILE", pk_buf_span(&bad));
        tool_runs++;
        if (openssl_opens("-pwri_password", PASSWORD) == 0)
            fail_msg("openssl opens a file whose byte %zu was flipped", at);
    }
    assert_true(tool_runs >= 20);
    PK_AUTO(pk_buf_clear) pk_buf good = PK_BUF_MAX(PK_KEYFILE_MAX);
    pem_of(pk_buf_span(&der), &good);
    assert_true(we_open(pk_buf_span(&good)));
    write_file("FILE", pk_buf_span(&good));
    assert_int_equal(openssl_opens("-pwri_password", PASSWORD), 0);
}

/* Opening by key costs no derivation, so every bit can be tried. The id is the one thing that can
 * be changed without damage: it says which key to try. The signed list of recipients shows it. */
static void every_flipped_bit_of_a_file_for_a_key_is_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, &err);
    pk_recipient recipient = by_key(key, "IDENTIFIER");
    seal(&recipient, 1, &text);
    der_of(pk_buf_span(&text), &der);
    pk_span all = pk_buf_span(&der);
    const char *id = memmem(all.ptr, all.len, "IDENTIFIER", 10);
    assert_non_null(id);
    size_t first = (size_t)(id - all.ptr);
    for (size_t bit = 0; bit < 8 * all.len; bit++) {
        bool in_id = bit / 8 >= first && bit / 8 < first + 10;
        der.block[bit / 8] = (char)(der.block[bit / 8] ^ (1 << (bit % 8)));
        PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse_der(all, &err);
        PK_AUTO(pk_keyset_clear) pk_keyset set = {0};
        if (file != NULL && pk_keyfile_open_kek(file, 0, key, &set, &err) &&
            !(in_id && set.recipients_differ))
            fail_msg("opens although bit %zu was flipped", bit);
        der.block[bit / 8] = (char)(der.block[bit / 8] ^ (1 << (bit % 8)));
    }
}

static void damage_behind_a_right_password_is_damage_and_not_a_wrong_password(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO_PTR(pk_secret_free) pk_secret *one = secret_text(PASSWORD);
    PK_AUTO_PTR(pk_secret_free) pk_secret *two = secret_text("Another-Horse-2");
    PK_AUTO_PTR(pk_secret_free) pk_secret *wrong = secret_text("wrong");
    pk_recipient recipients[] = {by_password(one), by_password(two)};
    pk_keyset set;
    seal(recipients, 2, &text);
    der_of(pk_buf_span(&text), &der);
    der.block[der.filled - 1] ^= 1; /* the tag */
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse_der(pk_buf_span(&der), &err);
    assert_non_null(file);
    assert_refused(pk_keyfile_open_password(file, one, &set, &err), PK_E_CORRUPT);
    assert_refused(pk_keyfile_open_password(file, two, &set, &err), PK_E_CORRUPT);
    assert_refused(pk_keyfile_open_password(file, wrong, &set, &err), PK_E_PASSWORD);
}

/* --- hostile structures --- */

/* What differs from a good file; zero means good. */
typedef struct shape {
    const char *name;
    bool ok;
    int passwords, keys; /* both 0: one password */
    uint32_t rounds, key_len, icv;
    int salt_len, iv_len, pwri_len, kek_len, nonce_len, tag_len, sealed_len;
    uint32_t version, pwri_version, kek_version; /* added */
    pk_span prf, kdf, wrap, cipher, kek_wrap, content, gcm, type;
    pk_span prf_parameters; /* NULL if empty */
    pk_span kek_parameters; /* absent if empty */
    const char *id;
    int id_len;
    int other_len; /* of a wrapped key beside the id */
    bool other_oid, after_other;
    bool backwards, originator, attributes, unprotected, implicit_kdf_missing, kari;
    bool inside_pwri, inside_kek, inside_gcm, inside_prf, constructed;
} shape;

static const char filler[9000];
static pk_error ignored;

static pk_span bytes_of(int len, int usual)
{
    return (pk_span){filler, (size_t)(len == 0 ? usual : len < 0 ? 0 : len)};
}

static void put(pk_buf *out, uint8_t tag, pk_span content)
{
    assert_true(pk_der_put(out, tag, content, &ignored));
}

static void put_number(pk_buf *out, uint32_t value, uint32_t usual)
{
    assert_true(pk_der_put_uint(out, value == 0 ? usual : value, &ignored));
}

static void put_raw(pk_buf *out, pk_span bytes)
{
    assert_true(pk_buf_append_span(out, bytes, &ignored));
}

static pk_span or_usual(pk_span given, pk_span usual)
{
    return given.len == 0 ? usual : given;
}

static void put_algorithm(pk_buf *out, uint8_t tag, pk_span oid, pk_span parameters)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(16384);
    put(&inside, PK_DER_OID, oid);
    put_raw(&inside, parameters);
    put(out, tag, pk_buf_span(&inside));
}

static void put_kdf(pk_buf *out, const shape *s)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(4096);
    PK_AUTO(pk_buf_clear) pk_buf parameters = PK_BUF_MAX(4096);
    PK_AUTO(pk_buf_clear) pk_buf prf = PK_BUF_MAX(4096);
    put_raw(&prf, or_usual(s->prf_parameters, PK_SPAN("\x05\x00")));
    if (s->inside_prf)
        put_raw(&prf, PK_SPAN("\x05\x00"));
    put(&inside, PK_DER_OCTETS, bytes_of(s->salt_len, 32));
    put_number(&inside, s->rounds, 10000);
    if (s->key_len != UINT32_MAX)
        put_number(&inside, s->key_len, 32);
    put_algorithm(&inside, PK_DER_SEQUENCE, or_usual(s->prf, PK_OID_HMAC_SHA512),
                  pk_buf_span(&prf));
    put(&parameters, PK_DER_SEQUENCE, pk_buf_span(&inside));
    put_algorithm(out, PK_DER_CONTEXT_CONSTRUCTED(0), or_usual(s->kdf, PK_OID_PBKDF2),
                  pk_buf_span(&parameters));
}

static void put_password(pk_buf *out, const shape *s)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(4096);
    PK_AUTO(pk_buf_clear) pk_buf iv = PK_BUF_MAX(4096);
    PK_AUTO(pk_buf_clear) pk_buf cipher = PK_BUF_MAX(4096);
    assert_true(pk_der_put_uint(&inside, s->pwri_version, &ignored));
    if (!s->implicit_kdf_missing)
        put_kdf(&inside, s);
    put(&iv, PK_DER_OCTETS, bytes_of(s->iv_len, 16));
    put_algorithm(&cipher, PK_DER_SEQUENCE, or_usual(s->cipher, PK_OID_AES256_CBC),
                  pk_buf_span(&iv));
    put_algorithm(&inside, PK_DER_SEQUENCE, or_usual(s->wrap, PK_OID_PWRI_KEK),
                  pk_buf_span(&cipher));
    put(&inside, PK_DER_OCTETS, bytes_of(s->pwri_len, 48));
    if (s->inside_pwri)
        put(&inside, PK_DER_NULL, PK_SPAN(""));
    put(out, PK_DER_CONTEXT_CONSTRUCTED(s->kari ? 1 : 3), pk_buf_span(&inside));
}

static void put_key(pk_buf *out, const shape *s, int number)
{
    char id[32];
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(16384);
    PK_AUTO(pk_buf_clear) pk_buf kekid = PK_BUF_MAX(16384);
    PK_AUTO(pk_buf_clear) pk_buf other = PK_BUF_MAX(16384);
    (void)snprintf(id, sizeof id, "key %02d", number);
    assert_true(pk_der_put_uint(&inside, 4 + s->kek_version, &ignored));
    if (s->id_len != 0)
        put(&kekid, PK_DER_OCTETS, (pk_span){s->id, s->id_len < 0 ? 0 : (size_t)s->id_len});
    else
        put(&kekid, PK_DER_OCTETS, pk_span_of(s->id == NULL ? id : s->id));
    if (s->other_len != 0) {
        put(&other, PK_DER_OCTETS, bytes_of(s->other_len, 0));
        put_algorithm(&kekid, PK_DER_SEQUENCE, s->other_oid ? PK_OID_DATA : PK_OID_WRAPPED_KEK,
                      pk_buf_span(&other));
    }
    if (s->after_other)
        put(&kekid, PK_DER_NULL, PK_SPAN(""));
    put(&inside, PK_DER_SEQUENCE, pk_buf_span(&kekid));
    put_algorithm(&inside, PK_DER_SEQUENCE, or_usual(s->kek_wrap, PK_OID_AES256_WRAP),
                  s->kek_parameters);
    put(&inside, PK_DER_OCTETS, bytes_of(s->kek_len, 40));
    if (s->inside_kek)
        put(&inside, PK_DER_NULL, PK_SPAN(""));
    put(out, PK_DER_CONTEXT_CONSTRUCTED(2), pk_buf_span(&inside));
}

static void put_set(pk_buf *out, const shape *s)
{
    PK_AUTO(pk_buf_clear) pk_buf set = PK_BUF_MAX(1u << 18);
    int passwords = s->passwords == 0 && s->keys == 0 ? 1 : s->passwords < 0 ? 0 : s->passwords;
    for (int i = 0; i < s->keys; i++)
        put_key(&set, s, s->backwards ? s->keys - i : i);
    for (int i = 0; i < passwords; i++)
        put_password(&set, s);
    put(out, PK_DER_SET, pk_buf_span(&set));
}

static void put_content(pk_buf *out, const shape *s)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(1u << 16);
    PK_AUTO(pk_buf_clear) pk_buf gcm = PK_BUF_MAX(4096);
    PK_AUTO(pk_buf_clear) pk_buf parameters = PK_BUF_MAX(4096);
    put(&gcm, PK_DER_OCTETS, bytes_of(s->nonce_len, 12));
    put_number(&gcm, s->icv, 16);
    if (s->inside_gcm)
        put(&gcm, PK_DER_NULL, PK_SPAN(""));
    put(&parameters, PK_DER_SEQUENCE, pk_buf_span(&gcm));
    put(&inside, PK_DER_OID, or_usual(s->content, PK_OID_DATA));
    put_algorithm(&inside, PK_DER_SEQUENCE, or_usual(s->gcm, PK_OID_AES256_GCM),
                  pk_buf_span(&parameters));
    put(&inside, s->constructed ? PK_DER_CONTEXT_CONSTRUCTED(0) : PK_DER_CONTEXT(0),
        s->constructed ? PK_SPAN("\x04\x01x") : bytes_of(s->sealed_len, 100));
    put(out, PK_DER_SEQUENCE, pk_buf_span(&inside));
    if (s->attributes)
        put(out, PK_DER_CONTEXT_CONSTRUCTED(1), PK_SPAN("\x30\x00"));
    put(out, PK_DER_OCTETS, bytes_of(s->tag_len, 16));
    if (s->unprotected)
        put(out, PK_DER_CONTEXT_CONSTRUCTED(2), PK_SPAN("\x30\x00"));
}

static void build(const shape *s, pk_buf *out)
{
    PK_AUTO(pk_buf_clear) pk_buf inside = PK_BUF_MAX(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf body = PK_BUF_MAX(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf info = PK_BUF_MAX(1u << 20);
    assert_true(pk_der_put_uint(&inside, s->version, &ignored));
    if (s->originator)
        put(&inside, PK_DER_CONTEXT_CONSTRUCTED(0), PK_SPAN(""));
    put_set(&inside, s);
    put_content(&inside, s);
    put(&body, PK_DER_SEQUENCE, pk_buf_span(&inside));
    put(&info, PK_DER_OID, or_usual(s->type, PK_OID_AUTH_ENVELOPED));
    put(&info, PK_DER_CONTEXT_CONSTRUCTED(0), pk_buf_span(&body));
    put(out, PK_DER_SEQUENCE, pk_buf_span(&info));
}

/* clang-format off */
static const shape shapes[] = {
    {"good: one password", .ok = true},
    {"good: one key", .ok = true, .keys = 1},
    {"good: 10,000,000 rounds", .ok = true, .rounds = 10000000},
    {"good: HMAC-SHA-256", .ok = true, .prf = {"\x2a\x86\x48\x86\xf7\x0d\x02\x09", 8}},
    {"good: salt of 16 bytes", .ok = true, .salt_len = 16},
    {"good: salt of 64 bytes", .ok = true, .salt_len = 64},
    {"good: 4 passwords with 20,000,000 rounds together", .ok = true, .passwords = 4, .rounds = 5000000},
    {"good: 16 recipients", .ok = true, .passwords = 4, .keys = 12},
    {"good: an id of 256 bytes", .ok = true, .keys = 1, .id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
    {"good: a wrapped key of 8 KiB beside the id", .ok = true, .keys = 1, .other_len = 8192},
    {"9,999 rounds", .rounds = 9999},
    {"10,000,001 rounds", .rounds = 10000001},
    {"50,000,000 rounds", .rounds = 50000000},
    {"2^31-1 rounds", .rounds = 2147483647},
    {"2^32-1 rounds", .rounds = UINT32_MAX},
    {"20,000,004 rounds together", .passwords = 4, .rounds = 5000001},
    {"more than 20,000,000 rounds in three", .passwords = 3, .rounds = 6666667},
    {"5 passwords", .passwords = 5},
    {"no recipient", .passwords = -1},
    {"17 recipients", .keys = 17},
    {"17 recipients of both kinds", .keys = 13, .passwords = 4},
    {"recipients out of order", .keys = 3, .backwards = true},
    {"a recipient by key agreement", .kari = true},
    {"salt of 15 bytes", .salt_len = 15},
    {"salt of 65 bytes", .salt_len = 65},
    {"no salt", .salt_len = -1},
    {"derived key of 16 bytes", .key_len = 16},
    {"derived key of 33 bytes", .key_len = 33},
    {"length of the derived key left out", .key_len = UINT32_MAX},
    {"HMAC-SHA-1", .prf = {"\x2a\x86\x48\x86\xf7\x0d\x02\x07", 8}},
    {"HMAC-SHA-384", .prf = {"\x2a\x86\x48\x86\xf7\x0d\x02\x0a", 8}},
    {"parameters of the PRF are not NULL", .prf_parameters = {"\x30\x00", 2}},
    {"something behind the PRF's NULL", .inside_prf = true},
    {"scrypt", .kdf = {"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b", 9}},
    {"no derivation", .implicit_kdf_missing = true},
    {"wrapped by another algorithm than RFC 3211", .wrap = {"\x60\x86\x48\x01\x65\x03\x04\x01\x2d", 9}},
    {"RFC 3211 with AES-128-CBC", .cipher = {"\x60\x86\x48\x01\x65\x03\x04\x01\x02", 9}},
    {"RFC 3211 with AES-256-GCM", .cipher = {"\x60\x86\x48\x01\x65\x03\x04\x01\x2e", 9}},
    {"IV of 12 bytes", .iv_len = 12},
    {"IV of 17 bytes", .iv_len = 17},
    {"wrapped key of 32 bytes", .pwri_len = 32},
    {"wrapped key of 64 bytes", .pwri_len = 64},
    {"password recipient of version 1", .pwri_version = 1},
    {"something behind a password recipient", .inside_pwri = true},
    {"key recipient of version 5", .keys = 1, .kek_version = 1},
    {"AES-128 key wrap", .keys = 1, .kek_wrap = {"\x60\x86\x48\x01\x65\x03\x04\x01\x05", 9}},
    {"AES key wrap with padding", .keys = 1, .kek_wrap = {"\x60\x86\x48\x01\x65\x03\x04\x01\x30", 9}},
    {"AES key wrap with NULL parameters", .keys = 1, .kek_parameters = {"\x05\x00", 2}},
    {"wrapped by key: 24 bytes", .keys = 1, .kek_len = 24},
    {"wrapped by key: 48 bytes", .keys = 1, .kek_len = 48},
    {"something behind a key recipient", .keys = 1, .inside_kek = true},
    {"an empty id", .keys = 1, .id_len = -1, .id = ""},
    {"an id of 257 bytes", .keys = 1, .id_len = 257, .id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefX"},
    {"an id with a line break", .keys = 1, .id = "key\n1"},
    {"an id with an escape", .keys = 1, .id = "key\033[2J"},
    {"an id with a zero byte", .keys = 1, .id_len = 5, .id = "key\0001"},
    {"an id with a delete character", .keys = 1, .id = "key\177"},
    {"an id beyond ASCII", .keys = 1, .id = "cl\303\251"},
    {"a wrapped key of 8193 bytes beside the id", .keys = 1, .other_len = 8193},
    {"an empty wrapped key beside the id", .keys = 1, .other_len = -1},
    {"something unknown beside the id", .keys = 1, .other_len = 10, .other_oid = true},
    {"something behind the wrapped key", .keys = 1, .other_len = 10, .after_other = true},
    {"a NULL beside the id", .keys = 1, .after_other = true},
    {"nonce of 11 bytes", .nonce_len = 11},
    {"nonce of 16 bytes", .nonce_len = 16},
    {"tag length of 12", .icv = 12},
    {"tag of 15 bytes", .tag_len = 15},
    {"tag of 12 bytes", .tag_len = 12, .icv = 12},
    {"no tag", .tag_len = -1},
    {"something behind the tag's length", .inside_gcm = true},
    {"no content", .sealed_len = -1},
    {"content in pieces", .constructed = true},
    {"content in AES-128-GCM", .gcm = {"\x60\x86\x48\x01\x65\x03\x04\x01\x06", 9}},
    {"content in AES-256-CBC", .gcm = {"\x60\x86\x48\x01\x65\x03\x04\x01\x2a", 9}},
    {"content that is not data", .content = {"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", 9}},
    {"EnvelopedData", .type = {"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", 9}},
    {"version 1", .version = 1},
    {"an originator", .originator = true},
    {"authenticated attributes", .attributes = true},
    {"unprotected attributes", .unprotected = true},
};
/* clang-format on */

static void assert_nobody_opens(pk_span text)
{
    pk_error err = {0};
    kdf_calls = 0;
    assert_refused(pk_keyfile_parse(text, &err), PK_E_CORRUPT);
    assert_int_equal(kdf_calls, 0);
    assert_string_not_equal(err.detail, "");
}

static void hostile_structures_are_refused_before_any_derivation(void **state)
{
    const shape *row = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(1u << 20);
    build(row, &der);
    pem_of(pk_buf_span(&der), &text);
    if (!row->ok) {
        assert_nobody_opens(pk_buf_span(&text));
        return;
    }
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&text), &err);
    if (file == NULL)
        fail_msg("%s (%s)", err.message, err.detail);
}

/* --- BER and bytes outside the structure --- */

static void refuses_der(const void *head, size_t head_len, pk_span middle, const char *tail,
                        size_t tail_len)
{
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(1u << 20);
    assert_true(pk_buf_append(&der, head, head_len, &ignored));
    put_raw(&der, middle);
    assert_true(pk_buf_append(&der, tail, tail_len, &ignored));
    pem_of(pk_buf_span(&der), &text);
    assert_nobody_opens(pk_buf_span(&text));
}

static void other_encodings_of_the_same_structure_are_refused(void **state)
{
    (void)state;
    static const shape good = {.name = "good"};
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(1u << 20);
    build(&good, &der);
    pk_span all = pk_buf_span(&der);
    assert_memory_equal(all.ptr, "\x30\x82", 2);
    pk_span inside = {all.ptr + 4, all.len - 4};
    const char longer[] = {0x30, (char)0x83, 0, all.ptr[2], all.ptr[3]};
    const char longest[] = {0x30, (char)0x84, 0, 0, all.ptr[2], all.ptr[3]};
    refuses_der(longer, sizeof longer, inside, "", 0);
    refuses_der(longest, sizeof longest, inside, "", 0);
    refuses_der("\x30\x80", 2, inside, "\0\0", 2);
    refuses_der("\x31", 1, (pk_span){all.ptr + 1, all.len - 1}, "", 0);
    refuses_der("", 0, all, "\0", 1);
    refuses_der("", 0, all, "\0\0", 2);
    refuses_der("", 0, all, all.ptr, all.len);
    refuses_der("\0", 1, all, "", 0);
    refuses_der("", 0, PK_SPAN(""), "", 0);
}

static void every_shortened_structure_is_refused(void **state)
{
    (void)state;
    static const shape good = {.name = "good", .passwords = 1, .keys = 1, .other_len = 20};
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(1u << 20);
    build(&good, &der);
    for (size_t len = 0; len < pk_buf_span(&der).len; len++) {
        pk_error err = {0};
        /* a copy of exactly that length, so that a sanitizer sees every byte read beyond it */
        PK_AUTO(pk_buf_clear) pk_buf part = PK_BUF_MAX(len + 1);
        assert_ok(pk_buf_append(&part, pk_buf_span(&der).ptr, len, &err));
        assert_refused(pk_keyfile_parse_der(pk_buf_span(&part), &err), PK_E_CORRUPT);
    }
}

static void every_shortened_file_is_refused(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    seal_with_password(&text);
    size_t whole = pk_buf_span(&text).len;
    for (size_t len = 0; len < whole - 1; len++) /* the last newline may be missing */
        assert_nobody_opens((pk_span){pk_buf_span(&text).ptr, len});
}

/* --- PEM --- */

#define LINE_OF_64 "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD"
static const struct pem_row {
    const char *name, *text;
} pem_rows[] = {
    {"nothing", ""},
    {"only a preamble", "pgkeep key file\n"},
    {"another label", "-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n"},
    {"another block first", "-----BEGIN X-----\nMAA=\n-----END X-----\n"
                            "-----BEGIN CMS-----\nMAA=\n-----END CMS-----\n"},
    {"a begin line that is indented", " -----BEGIN CMS-----\nMAA=\n-----END CMS-----\n"},
    {"a begin line with a blank behind", "-----BEGIN CMS----- \nMAA=\n-----END CMS-----\n"},
    {"no end", "-----BEGIN CMS-----\nMAA=\n"},
    {"another end", "-----BEGIN CMS-----\nMAA=\n-----END PKCS7-----\n"},
    {"no content", "-----BEGIN CMS-----\n-----END CMS-----\n"},
    {"an empty line", "-----BEGIN CMS-----\n\nMAA=\n-----END CMS-----\n"},
    {"a short line in the middle", "-----BEGIN CMS-----\nMAAA\nMAA=\n-----END CMS-----\n"},
    {"a line of 68", "-----BEGIN CMS-----\n" LINE_OF_64 "QUJD\n-----END CMS-----\n"},
    {"a header", "-----BEGIN CMS-----\nA: b\n\nMAA=\n-----END CMS-----\n"},
    {"a blank in a line", "-----BEGIN CMS-----\nMA A=\n-----END CMS-----\n"},
    {"padding left out", "-----BEGIN CMS-----\nMAA\n-----END CMS-----\n"},
    {"bits left over", "-----BEGIN CMS-----\nMAB=\n-----END CMS-----\n"},
    {"base64url", "-----BEGIN CMS-----\nMA-_\n-----END CMS-----\n"},
    {"DER that is no key file", "-----BEGIN CMS-----\nMAA=\n-----END CMS-----\n"},
};

static void is_no_key_file(void **state)
{
    const struct pem_row *row = *state;
    assert_nobody_opens(pk_span_of(row->text));
}

static void append_changed(pk_buf *out, pk_span text, const char *before, const char *after,
                           bool crlf)
{
    pk_error err = {0};
    assert_ok(pk_buf_append_text(out, before, &err));
    for (size_t i = 0; i < text.len; i++)
        assert_ok((!crlf || text.ptr[i] != '\n' || pk_buf_append_text(out, "\r", &err)) &&
                  pk_buf_append(out, text.ptr + i, 1, &err));
    assert_ok(pk_buf_append_text(out, after, &err));
}

static const struct around_row {
    const char *name, *before, *after;
    bool crlf, last_newline_lost, ok;
} around_rows[] = {
    {"the file as written", "", "", .ok = true},
    {"lines end in CRLF after a transfer", "", "", .crlf = true, .ok = true},
    {"the last newline is lost", "", "", .last_newline_lost = true, .ok = true},
    {"more text before", "my notes\n\n", "", .ok = true},
    {"text behind", "", "x", .ok = false},
    {"a newline behind", "", "\n", .ok = false},
    {"a block behind", "", "-----BEGIN CMS-----\nMAA=\n-----END CMS-----\n", .ok = false},
    {"a block before", "-----BEGIN CMS-----\nMAA=\n-----END CMS-----\n", "", .ok = false},
    {"something like a block in the text before", "see -----BEGIN below\n", "", .ok = false},
};

static void the_surroundings_of_the_block(void **state)
{
    const struct around_row *row = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_buf_clear) pk_buf changed = PK_BUF_MAX(PK_KEYFILE_MAX);
    seal_with_password(&text);
    pk_span span = pk_buf_span(&text);
    span.len -= row->last_newline_lost;
    append_changed(&changed, span, row->before, row->after, row->crlf);
    if (!row->ok) {
        assert_nobody_opens(pk_buf_span(&changed));
        return;
    }
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&changed), &err);
    assert_non_null(file);
}

static void a_file_of_4_mib_is_looked_at_and_a_larger_one_is_not(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX + 1);
    assert_ok(pk_buf_reserve(&text, PK_KEYFILE_MAX + 1, &err));
    memset(pk_buf_tail(&text), 'A', PK_KEYFILE_MAX + 1);
    pk_buf_filled(&text, PK_KEYFILE_MAX);
    assert_refused(pk_keyfile_parse(pk_buf_span(&text), &err), PK_E_CORRUPT);
    pk_buf_filled(&text, 1);
    assert_refused(pk_keyfile_parse(pk_buf_span(&text), &err), PK_E_TOO_LONG);
}

/* --- files that must open for ever --- */

static void the_committed_file_opens(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    read_file(PK_TEST_VECTORS "/keyfile", "v1-password-and-key.cms.pem", &text);
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&text), &err);
    assert_non_null(file);
    assert_int_equal(pk_keyfile_recipients(file), 2);
    assert_string_equal(pk_keyfile_recipient_id(file, 0),
                        "keystore 17171717-1717-1717-1717-171717171717 v1");
    assert_int_equal(file->recipients[1].kdf.iterations, 1000000);

    PK_AUTO(pk_keyset_clear) pk_keyset by_password_set;
    PK_AUTO(pk_keyset_clear) pk_keyset by_key_set;
    PK_AUTO(pk_identity_clear) pk_identity signer;
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(PASSWORD);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *smk = secret_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = pk_hkdf(smk, PK_LABEL_KEK, PK_SPAN(""), &err);
    sample_identity(&signer, SIGNER);
    assert_ok(pk_keyfile_open_kek(file, 0, kek, &by_key_set, &err));
    assert_sample(&by_key_set);
    assert_false(by_key_set.recipients_differ);
    assert_memory_equal(by_key_set.signer, signer.public_key, 32);
    assert_ok(pk_keyfile_open_password(file, password, &by_password_set, &err));
    assert_sample(&by_password_set);
}

/* Made by `openssl cms -encrypt` alone: one certificate, one key. */
static void a_file_made_by_openssl_opens(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    read_file(PK_TEST_VECTORS "/keyfile", "openssl-certificate-and-key.cms.pem", &text);
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&text), &err);
    if (file == NULL)
        fail_msg("%s (%s)", err.message, err.detail);
    assert_int_equal(pk_keyfile_recipients(file), 2);
    assert_int_equal(pk_keyfile_recipient_kind(file, 0), PK_RECIPIENT_OTHER);
    assert_string_equal(pk_keyfile_recipient_id(file, 0), "");
    assert_int_equal(pk_keyfile_recipient_kind(file, 1), PK_RECIPIENT_KEK);
    assert_string_equal(pk_keyfile_recipient_id(file, 1), "kms aws:///alias/test");
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *kek = secret_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    assert_ok(pk_keyfile_open_kek(file, 1, kek, &set, &err));
    assert_int_equal(set.count, 2);
    assert_true(set.recipients_differ); /* whoever sealed it anew could not sign */
    PK_AUTO(pk_keyset_clear) pk_keyset none;
    assert_refused(pk_keyfile_open_password(file, kek, &none, &err), PK_E_PARAMETER);
}

/* --- recipients that the signature does not name --- */

/* What somebody does to the recipients of a file for a password and the keys "one" and "two";
 * without damage to the rest, as a restored copy with other recipients would be. */
typedef void (*tamper)(pk_keyfile *file);

static pk_keyfile_recipient *find_id(pk_keyfile *file, const char *id)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->recipients[i].id, id) == 0)
            return &file->recipients[i];
    fail_msg("no recipient \"%s\"", id);
    return NULL;
}

static void leave(pk_keyfile *file)
{
    (void)file;
}

static void reverse(pk_keyfile *file)
{
    pk_keyfile_recipient first = file->recipients[0];
    file->recipients[0] = file->recipients[2];
    file->recipients[2] = first;
}

static void drop(pk_keyfile *file, pk_keyfile_recipient *gone)
{
    file->count--;
    *gone = file->recipients[file->count];
}

static void remove_key(pk_keyfile *file)
{
    drop(file, find_id(file, "two"));
}

static void remove_password(pk_keyfile *file)
{
    drop(file, find_id(file, ""));
}

static void add_key(pk_keyfile *file)
{
    pk_keyfile_recipient *more = &file->recipients[file->count];
    *more = *find_id(file, "two");
    file->count++;
    (void)snprintf(more->id, sizeof more->id, "three");
}

static void add_same_key(pk_keyfile *file)
{
    file->recipients[file->count] = *find_id(file, "two");
    file->count++;
}

static void add_password(pk_keyfile *file)
{
    file->recipients[file->count] = *find_id(file, "");
    file->count++;
}

static void add_certificate(pk_keyfile *file)
{
    file->recipients[file->count++] = (pk_keyfile_recipient){.kind = PK_RECIPIENT_OTHER};
}

static void rename_key(pk_keyfile *file)
{
    (void)snprintf(find_id(file, "two")->id, 4, "owt");
}

/* Two of one in place of one of each: as many, but not the same. */
static void double_key(pk_keyfile *file)
{
    *find_id(file, "two") = *find_id(file, "one");
}

static void password_for_key(pk_keyfile *file)
{
    *find_id(file, "two") = *find_id(file, "");
}

static void certificate_for_key(pk_keyfile *file)
{
    *find_id(file, "two") = (pk_keyfile_recipient){.kind = PK_RECIPIENT_OTHER};
}

/* A key whose id is the word that stands for a password. */
static void key_for_password(pk_keyfile *file)
{
    pk_keyfile_recipient *password = find_id(file, "");
    *password = *find_id(file, "two");
    (void)snprintf(password->id, sizeof password->id, "password");
}

static const struct tamper_row {
    const char *name;
    tamper change;
    bool differ;
} tamper_rows[] = {
    {"the recipients as they were signed", leave, false},
    {"their order does not matter", reverse, false},
    {"a key removed", remove_key, true},
    {"the password removed", remove_password, true},
    {"a key added", add_key, true},
    {"a key added under the same id", add_same_key, true},
    {"a password added", add_password, true},
    {"a certificate added", add_certificate, true},
    {"a key renamed", rename_key, true},
    {"one key twice in place of two keys", double_key, true},
    {"a password in place of a key", password_for_key, true},
    {"a certificate in place of a key", certificate_for_key, true},
    {"a key that is called like a password", key_for_password, true},
};

static void recipients_are_compared_with_the_signed_list(void **state)
{
    const struct tamper_row *row = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO_PTR(pk_secret_free) pk_secret *one = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *two = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(PASSWORD);
    pk_recipient recipients[] = {by_key(one, "one"), by_password(password), by_key(two, "two")};
    seal(recipients, 3, &text);
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&text), &err);
    assert_non_null(file);
    row->change(file);
    size_t first = (size_t)(find_id(file, "one") - file->recipients);
    assert_ok(pk_keyfile_open_kek(file, first, one, &set, &err));
    assert_sample(&set);
    assert_int_equal(set.recipient_count, 3);
    assert_int_equal(set.recipients_differ, row->differ);
    if (row->change == remove_password || row->change == key_for_password)
        return;
    PK_AUTO(pk_keyset_clear) pk_keyset again;
    assert_ok(pk_keyfile_open_password(file, password, &again, &err));
    assert_int_equal(again.recipients_differ, row->differ);
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    if (mkdtemp(directory) == NULL)
        return 1;
    PK_SUITE_TEST(&suite, a_flipped_bit_in_any_field_is_refused_by_openssl_and_by_us);
    PK_SUITE_TEST(&suite, every_flipped_bit_of_a_file_for_a_key_is_refused);
    PK_SUITE_TEST(&suite, damage_behind_a_right_password_is_damage_and_not_a_wrong_password);
    PK_SUITE_ROWS(&suite, shapes, hostile_structures_are_refused_before_any_derivation);
    PK_SUITE_TEST(&suite, other_encodings_of_the_same_structure_are_refused);
    PK_SUITE_TEST(&suite, every_shortened_structure_is_refused);
    PK_SUITE_TEST(&suite, every_shortened_file_is_refused);
    PK_SUITE_ROWS(&suite, pem_rows, is_no_key_file);
    PK_SUITE_ROWS(&suite, around_rows, the_surroundings_of_the_block);
    PK_SUITE_TEST(&suite, a_file_of_4_mib_is_looked_at_and_a_larger_one_is_not);
    PK_SUITE_TEST(&suite, the_committed_file_opens);
    PK_SUITE_TEST(&suite, a_file_made_by_openssl_opens);
    PK_SUITE_ROWS(&suite, tamper_rows, recipients_are_compared_with_the_signed_list);
    int failed = pk_suite_run(&suite, "keyfile_read");
    return clean_up() != 0 || failed;
}
