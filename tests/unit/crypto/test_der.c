#include "crypto_test.h"

#include "crypto/der.h"

#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct uint_row {
    const char *name;
    pk_span der;
    bool ok;
    uint32_t value;
} uint_rows[] = {
    {"zero", BYTES("\x02\x01\x00"), true, 0},
    {"127", BYTES("\x02\x01\x7f"), true, 127},
    {"128 has a zero in front", BYTES("\x02\x02\x00\x80"), true, 128},
    {"the largest", BYTES("\x02\x05\x00\xff\xff\xff\xff"), true, UINT32_MAX},
    {"one more", BYTES("\x02\x05\x01\x00\x00\x00\x00"), false, 0},
    {"six bytes", BYTES("\x02\x06\x00\x00\xff\xff\xff\xff"), false, 0},
    {"negative", BYTES("\x02\x01\x80"), false, 0},
    {"a zero too many", BYTES("\x02\x02\x00\x7f"), false, 0},
    {"two zeros", BYTES("\x02\x02\x00\x00"), false, 0},
    {"no byte", BYTES("\x02\x00"), false, 0},
    {"cut off", BYTES("\x02\x02\x01"), false, 0},
    {"another type", BYTES("\x04\x01\x01"), false, 0},
};

static void reads_integers(void **state)
{
    const struct uint_row *row = *state;
    pk_error err = {0};
    pk_der at = pk_der_of(row->der);
    uint32_t value = 0;
    assert_int_equal(pk_der_uint(&at, &value), row->ok);
    if (!row->ok) {
        assert_int_equal(at.rest.len, row->der.len);
        return;
    }
    assert_int_equal(value, row->value);
    assert_true(pk_der_end(&at));
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(64);
    assert_ok(pk_der_put_uint(&out, row->value, &err));
    assert_true(pk_span_equal(pk_buf_span(&out), row->der));
}

static const struct length_row {
    const char *name;
    pk_span head; /* of an OCTET STRING; `len` bytes follow */
    size_t len;
    bool ok;
} length_rows[] = {
    {"empty", BYTES("\x04\x00"), 0, true},
    {"127 bytes, short form", BYTES("\x04\x7f"), 127, true},
    {"128 bytes, one byte of length", BYTES("\x04\x81\x80"), 128, true},
    {"255 bytes", BYTES("\x04\x81\xff"), 255, true},
    {"256 bytes", BYTES("\x04\x82\x01\x00"), 256, true},
    {"65536 bytes", BYTES("\x04\x83\x01\x00\x00"), 65536, true},
    {"127 bytes in long form", BYTES("\x04\x81\x7f"), 127, false},
    {"255 bytes in two", BYTES("\x04\x82\x00\xff"), 255, false},
    {"65535 bytes in three", BYTES("\x04\x83\x00\xff\xff"), 65535, false},
    {"indefinite", BYTES("\x04\x80"), 2, false},
    {"reserved form", BYTES("\x04\xff"), 127, false},
    {"five bytes of length", BYTES("\x04\x85\x01\x00\x00\x00\x00"), 100, false},
    {"more than there is", BYTES("\x04\x05"), 4, false},
    {"4 GiB", BYTES("\x04\x84\xff\xff\xff\xff"), 100, false},
    {"length cut off", BYTES("\x04\x82\x01"), 0, false},
    {"nothing but a tag", BYTES("\x04"), 0, false},
    {"nothing", BYTES(""), 0, false},
};

static void reads_lengths(void **state)
{
    const struct length_row *row = *state;
    pk_error err = {0};
    static const char zeros[65536];
    PK_AUTO(pk_buf_clear) pk_buf der = PK_BUF_MAX(1u << 17);
    assert_ok(pk_buf_append_span(&der, row->head, &err));
    assert_ok(pk_buf_append(&der, zeros, row->len, &err));
    pk_der at = pk_der_of(pk_buf_span(&der));
    pk_span content;
    assert_int_equal(pk_der_bytes(&at, PK_DER_OCTETS, 0, SIZE_MAX, &content), row->ok);
    if (!row->ok)
        return;
    assert_int_equal(content.len, row->len);
    assert_true(pk_der_end(&at));
    PK_AUTO(pk_buf_clear) pk_buf again = PK_BUF_MAX(1u << 17);
    assert_ok(pk_der_put(&again, PK_DER_OCTETS, content, &err));
    assert_true(pk_span_equal(pk_buf_span(&again), pk_buf_span(&der)));
}

static void the_caller_bounds_the_length(void **state)
{
    (void)state;
    pk_der at = pk_der_of((pk_span)BYTES("\x04\x03xyz"));
    pk_span content;
    assert_false(pk_der_bytes(&at, PK_DER_OCTETS, 4, 9, &content));
    assert_false(pk_der_bytes(&at, PK_DER_OCTETS, 0, 2, &content));
    assert_true(pk_der_bytes(&at, PK_DER_OCTETS, 3, 3, &content));
}

static void an_element_cannot_reach_beyond_its_parent(void **state)
{
    (void)state;
    pk_der at = pk_der_of((pk_span)BYTES("\x30\x03\x04\x02x\x05\x00"));
    pk_der inside;
    pk_span content;
    assert_true(pk_der_enter(&at, PK_DER_SEQUENCE, &inside));
    assert_false(pk_der_bytes(&inside, PK_DER_OCTETS, 0, 9, &content));
    assert_true(pk_der_null(&at));
    assert_true(pk_der_end(&at));
}

static void depth_is_bounded(void **state)
{
    (void)state;
    pk_der at = pk_der_of((pk_span)BYTES("\x30\x16\x30\x14\x30\x12\x30\x10\x30\x0e\x30\x0c\x30\x0a"
                                         "\x30\x08\x30\x06\x30\x04\x30\x02\x30\x00"));
    pk_der inside;
    for (unsigned i = 0; i < PK_DER_DEPTH; i++) {
        assert_true(pk_der_enter(&at, PK_DER_SEQUENCE, &inside));
        at = inside;
    }
    assert_false(pk_der_enter(&at, PK_DER_SEQUENCE, &inside));
}

static void identifiers_and_nulls_are_exact(void **state)
{
    (void)state;
    pk_span oid = PK_SPAN("\x2a\x03");
    pk_der at = pk_der_of((pk_span)BYTES("\x06\x02\x2a\x03\x06\x02\x2a\x04\x05\x01\x00"));
    assert_true(pk_der_oid_is(&at, oid));
    assert_false(pk_der_oid_is(&at, oid));
    assert_true(pk_der_oid_is(&at, PK_SPAN("\x2a\x04")));
    assert_false(pk_der_null(&at));
    assert_false(pk_der_end(&at));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, uint_rows, reads_integers);
    PK_SUITE_ROWS(&suite, length_rows, reads_lengths);
    PK_SUITE_TEST(&suite, the_caller_bounds_the_length);
    PK_SUITE_TEST(&suite, an_element_cannot_reach_beyond_its_parent);
    PK_SUITE_TEST(&suite, depth_is_bounded);
    PK_SUITE_TEST(&suite, identifiers_and_nulls_are_exact);
    return pk_suite_run(&suite, "der");
}
