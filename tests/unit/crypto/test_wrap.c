#include "crypto_test.h"

#include "crypto/wrap.h"
#include "vectors/crypto/vectors.h"

static void context_of(const struct wrap_vector *v, pk_wrap_context *c)
{
    *c = (pk_wrap_context){.parent_kind = v->parent_kind,
                           .parent_ver = v->parent_ver,
                           .child_kind = v->child_kind,
                           .child_ver = v->child_ver,
                           .child_alg = v->child_alg,
                           .purpose = v->purpose,
                           .flags = v->flags,
                           .owner_scope = v->owner_scope};
    unhex(v->store, c->store_uuid, 16);
    unhex(v->parent_uuid, c->parent_uuid, 16);
    unhex(v->child_uuid, c->child_uuid, 16);
}

static void opens_the_vector(void **state)
{
    const struct wrap_vector *row = *state;
    pk_error err = {0};
    pk_wrap_context context;
    uint8_t blob[128];
    size_t len = unhex(row->blob, blob, sizeof blob);
    assert_int_equal(len, PK_KEY_LEN + PK_WRAP_OVERHEAD);
    context_of(row, &context);
    PK_AUTO_PTR(pk_secret_free) pk_secret *parent = secret_hex(row->parent);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *key = pk_unwrap(parent, &context, pk_span_bytes(blob, len), &err);
    assert_secret(key, row->key);
}

static void wraps_differently_each_time_and_opens_again(void **state)
{
    const struct wrap_vector *row = *state;
    pk_error err = {0};
    pk_wrap_context context;
    context_of(row, &context);
    PK_AUTO_PTR(pk_secret_free) pk_secret *parent = secret_hex(row->parent);
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_hex(row->key);
    PK_AUTO(pk_buf_clear) pk_buf one = PK_BUF_MAX(256);
    PK_AUTO(pk_buf_clear) pk_buf two = PK_BUF_MAX(256);
    assert_ok(pk_wrap(parent, &context, key, &one, &err));
    assert_ok(pk_wrap(parent, &context, key, &two, &err));
    assert_int_equal(pk_buf_span(&one).len, 62);
    assert_memory_equal(pk_buf_span(&one).ptr, "\1\1", 2);
    assert_false(pk_span_equal(pk_buf_span(&one), pk_buf_span(&two)));
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *again = pk_unwrap(parent, &context, pk_buf_span(&two), &err);
    assert_non_null(again);
    assert_true(pk_secret_equal(key, again));
}

static void store_differs(pk_wrap_context *c)
{
    c->store_uuid[15] ^= 1;
}
static void parent_kind_differs(pk_wrap_context *c)
{
    c->parent_kind = "sk";
}
static void parent_uuid_differs(pk_wrap_context *c)
{
    c->parent_uuid[0] ^= 1;
}
static void parent_ver_differs(pk_wrap_context *c)
{
    c->parent_ver++;
}
static void child_kind_differs(pk_wrap_context *c)
{
    c->child_kind = "smk";
}
static void child_uuid_differs(pk_wrap_context *c)
{
    c->child_uuid[0] ^= 1;
}
static void child_ver_differs(pk_wrap_context *c)
{
    c->child_ver++;
}
static void child_alg_differs(pk_wrap_context *c)
{
    c->child_alg = "ED25519";
}
static void purpose_differs(pk_wrap_context *c)
{
    c->purpose = "tde";
}
static void flags_differ(pk_wrap_context *c)
{
    c->flags ^= PK_WRAP_EXPORTABLE;
}
static void owner_differs(pk_wrap_context *c)
{
    c->owner_scope = "db:other";
}
static void fields_slide(pk_wrap_context *c)
{
    c->parent_kind = "smkd"; /* the same letters, cut elsewhere */
    c->child_kind = "mk";
}

static const struct bound_row {
    const char *name;
    void (*change)(pk_wrap_context *context);
} bound_rows[] = {
    {"bound to the store", store_differs},
    {"bound to the parent's kind", parent_kind_differs},
    {"bound to the parent", parent_uuid_differs},
    {"bound to the parent's version", parent_ver_differs},
    {"bound to the child's kind", child_kind_differs},
    {"bound to the child", child_uuid_differs},
    {"bound to the child's version", child_ver_differs},
    {"bound to the child's algorithm", child_alg_differs},
    {"bound to the purpose", purpose_differs},
    {"bound to the flags", flags_differ},
    {"bound to the owner", owner_differs},
    {"fields cannot slide into each other", fields_slide},
};

static void does_not_open_elsewhere(void **state)
{
    const struct bound_row *row = *state;
    pk_error err = {0};
    pk_wrap_context context;
    uint8_t blob[128];
    size_t len = unhex(wrap_vectors[0].blob, blob, sizeof blob);
    context_of(&wrap_vectors[0], &context);
    row->change(&context);
    PK_AUTO_PTR(pk_secret_free) pk_secret *parent = secret_hex(wrap_vectors[0].parent);
    assert_refused(pk_unwrap(parent, &context, pk_span_bytes(blob, len), &err), PK_E_PASSWORD);
}

static void unknown_formats_are_damage_and_flipped_bits_are_a_wrong_key(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_wrap_context context;
    uint8_t blob[128];
    size_t len = unhex(wrap_vectors[0].blob, blob, sizeof blob);
    context_of(&wrap_vectors[0], &context);
    PK_AUTO_PTR(pk_secret_free) pk_secret *parent = secret_hex(wrap_vectors[0].parent);
    for (size_t i = 0; i < len; i++) {
        blob[i] ^= 2;
        assert_refused(pk_unwrap(parent, &context, pk_span_bytes(blob, len), &err),
                       i < 2 ? PK_E_CORRUPT : PK_E_PASSWORD);
        blob[i] ^= 2;
    }
    assert_refused(pk_unwrap(parent, &context, pk_span_bytes(blob, PK_WRAP_OVERHEAD), &err),
                   PK_E_CORRUPT);
    assert_refused(pk_unwrap(parent, &context, PK_SPAN(""), &err), PK_E_CORRUPT);
    assert_refused(pk_unwrap(parent, &context, pk_span_bytes(blob, len - 1), &err), PK_E_PASSWORD);
    PK_AUTO_PTR(pk_secret_free) pk_secret *other = secret_hex(wrap_vectors[0].key);
    assert_refused(pk_unwrap(other, &context, pk_span_bytes(blob, len), &err), PK_E_PASSWORD);
}

static void a_name_that_is_too_long_is_an_error(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_wrap_context context;
    static char name[70000];
    memset(name, 'x', sizeof name - 1);
    context_of(&wrap_vectors[0], &context);
    context.owner_scope = name;
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_hex(wrap_vectors[0].key);
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(256);
    assert_refused(pk_wrap(key, &context, key, &out, &err), PK_E_TOO_LONG);
    assert_int_equal(pk_buf_span(&out).len, 0);
}

static void prints_the_fingerprint(void **state)
{
    const struct fp_vector *row = *state;
    pk_error err = {0};
    uint8_t fp[PK_FP_LEN];
    char text[PK_FP_TEXT];
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = secret_hex(row->key);
    assert_ok(pk_fingerprint(key, fp, &err));
    assert_bytes(fp, sizeof fp, row->fp);
    pk_fingerprint_text(fp, text);
    assert_string_equal(text, row->text);
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_ROWS(&suite, wrap_vectors, opens_the_vector);
    PK_SUITE_ROWS(&suite, wrap_vectors, wraps_differently_each_time_and_opens_again);
    PK_SUITE_ROWS(&suite, bound_rows, does_not_open_elsewhere);
    PK_SUITE_TEST(&suite, unknown_formats_are_damage_and_flipped_bits_are_a_wrong_key);
    PK_SUITE_TEST(&suite, a_name_that_is_too_long_is_an_error);
    PK_SUITE_ROWS(&suite, fp_vectors, prints_the_fingerprint);
    return pk_suite_run(&suite, "wrap");
}
