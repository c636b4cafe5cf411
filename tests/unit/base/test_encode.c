/* Hex, base64, base64url, percent, UUID: there, back, and every text that must be refused. */
#include "base/encode.h"

#include "table.h"

static void assert_span(pk_span span, pk_span expected)
{
    assert_int_equal(span.len, expected.len);
    assert_memory_equal(span.ptr, expected.ptr, span.len);
}

/* RFC 4648, 10, and what that list lacks. */
static const struct vector {
    const char *name;
    pk_span bytes;
    const char *base64, *base64url;
} vectors[] = {
    {"empty", {"", 0}, "", ""},
    {"f", {"f", 1}, "Zg==", "Zg"},
    {"fo", {"fo", 2}, "Zm8=", "Zm8"},
    {"foo", {"foo", 3}, "Zm9v", "Zm9v"},
    {"foob", {"foob", 4}, "Zm9vYg==", "Zm9vYg"},
    {"fooba", {"fooba", 5}, "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", {"foobar", 6}, "Zm9vYmFy", "Zm9vYmFy"},
    {"the last two digits", {"\xfb\xff\xbf", 3}, "+/+/", "-_-_"},
    {"a zero byte", {"\0", 1}, "AA==", "AA"},
    {"all ones", {"\xff\xff", 2}, "//8=", "__8"},
};

static void base64_goes_there_and_back(void **state)
{
    const struct vector *row = *state;
    pk_error err;
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(100);
    PK_AUTO(pk_buf_clear) pk_buf bytes = PK_BUF_MAX(100);
    assert_true(pk_base64(row->bytes, &text, &err));
    assert_span(pk_buf_span(&text), pk_span_of(row->base64));
    assert_true(pk_unbase64(pk_buf_span(&text), &bytes, &err));
    assert_span(pk_buf_span(&bytes), row->bytes);

    pk_buf_clear(&text);
    pk_buf_clear(&bytes);
    assert_true(pk_base64url(row->bytes, &text, &err));
    assert_span(pk_buf_span(&text), pk_span_of(row->base64url));
    assert_true(pk_unbase64url(pk_buf_span(&text), &bytes, &err));
    assert_span(pk_buf_span(&bytes), row->bytes);
}

static void every_length_and_byte_goes_there_and_back(void **state)
{
    (void)state;
    char in[256];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (char)(unsigned char)(i * 167 + 13);
    for (size_t len = 0; len <= sizeof in; len++) {
        pk_error err;
        PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(1000);
        PK_AUTO(pk_buf_clear) pk_buf bytes = PK_BUF_MAX(1000);
        assert_true(pk_base64((pk_span){in, len}, &text, &err));
        assert_true(pk_unbase64(pk_buf_span(&text), &bytes, &err));
        assert_span(pk_buf_span(&bytes), (pk_span){in, len});
        char hex[2 * sizeof in + 1];
        char back[sizeof in];
        pk_hex(in, len, hex);
        assert_int_equal(strlen(hex), 2 * len);
        assert_true(pk_unhex(pk_span_of(hex), back, len));
        assert_memory_equal(back, in, len);
    }
}

static const struct bad {
    const char *name;
    pk_span text;
    bool (*decode)(pk_span text, pk_buf *out, pk_error *err);
} bad_rows[] = {
    {"base64: one digit", {"Z", 1}, pk_unbase64},
    {"base64: padding missing", {"Zg", 2}, pk_unbase64},
    {"base64: half the padding missing", {"Zg=", 3}, pk_unbase64},
    {"base64: only padding", {"====", 4}, pk_unbase64},
    {"base64: one digit and padding", {"Z===", 4}, pk_unbase64},
    {"base64: padding inside", {"Zg==Zg==", 8}, pk_unbase64},
    {"base64: too much padding", {"Zm9v====", 8}, pk_unbase64},
    {"base64: bits left over in two digits", {"Zh==", 4}, pk_unbase64},
    {"base64: bits left over in three digits", {"Zm9=", 4}, pk_unbase64},
    {"base64: white space", {"Zm9v\n", 5}, pk_unbase64},
    {"base64: white space that keeps the length", {"Zm9 Zm9v", 8}, pk_unbase64},
    {"base64: digits of the other alphabet", {"-_-_", 4}, pk_unbase64},
    {"base64: a zero byte", {"Zm9\0", 4}, pk_unbase64},
    {"base64: a byte above 0x7f", {"Zm9\xff", 4}, pk_unbase64},
    {"base64url: one digit", {"Z", 1}, pk_unbase64url},
    {"base64url: five digits", {"Zm9vZ", 5}, pk_unbase64url},
    {"base64url: one digit of zero bits", {"A", 1}, pk_unbase64url},
    {"base64url: five digits of zero bits", {"AAAAA", 5}, pk_unbase64url},
    {"base64url: padding", {"Zg==", 4}, pk_unbase64url},
    {"base64url: bits left over", {"Zh", 2}, pk_unbase64url},
    {"base64url: bits left over in three digits", {"Zm9", 3}, pk_unbase64url},
    {"base64url: digits of the other alphabet", {"+/+/", 4}, pk_unbase64url},
    {"percent: escape cut off", {"a%", 2}, pk_unpercent},
    {"percent: escape cut off later", {"a%4", 3}, pk_unpercent},
    {"percent: no hex digit", {"%4g", 3}, pk_unpercent},
    {"percent: zero byte", {"a%00b", 5}, pk_unpercent},
    {"percent: zero byte as it is", {"a\0b", 3}, pk_unpercent},
};

static void is_refused_and_leaves_nothing(void **state)
{
    const struct bad *row = *state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(100);
    assert_true(pk_buf_append_text(&out, "before", &err));
    assert_false(row->decode(row->text, &out, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_span(pk_buf_span(&out), PK_SPAN("before"));
}

static void the_ceiling_of_the_buffer_is_kept(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(3);
    assert_false(pk_base64(PK_SPAN("foo"), &out, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_false(pk_base64url(PK_SPAN("foo"), &out, &err));
    assert_false(pk_unbase64(PK_SPAN("Zm9vYmFyZm9v"), &out, &err));
    assert_false(pk_percent(PK_SPAN("//"), &out, &err));
    assert_false(pk_unpercent(PK_SPAN("aaaa"), &out, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
}

static void hex_is_lower_case_and_read_in_either(void **state)
{
    (void)state;
    char text[9];
    unsigned char bytes[4];
    pk_hex("\x00\x9f\xAB\xff", 4, text);
    assert_string_equal(text, "009fabff");
    assert_true(pk_unhex(PK_SPAN("009FaBfF"), bytes, 4));
    assert_memory_equal(bytes, "\x00\x9f\xAB\xff", 4);
    assert_false(pk_unhex(PK_SPAN("009fabf"), bytes, 4));
    assert_false(pk_unhex(PK_SPAN("009fab"), bytes, 4));
    assert_false(pk_unhex(PK_SPAN("009fabffff"), bytes, 4));
    assert_false(pk_unhex(PK_SPAN("009fabfg"), bytes, 4));
    assert_false(pk_unhex(PK_SPAN("009fab f"), bytes, 4));
    assert_false(pk_unhex(PK_SPAN("0x9fabff"), bytes, 4));
    assert_true(pk_unhex(PK_SPAN(""), bytes, 0));
}

static void percent_escapes_all_but_the_safe_set(void **state)
{
    (void)state;
    pk_error err;
    char all[255];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)(unsigned char)(i + 1);
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(1000);
    PK_AUTO(pk_buf_clear) pk_buf bytes = PK_BUF_MAX(1000);
    assert_true(pk_percent((pk_span){all, sizeof all}, &text, &err));
    assert_int_equal(pk_buf_span(&text).len, 64 + 3 * (255 - 64));
    assert_true(pk_unpercent(pk_buf_span(&text), &bytes, &err));
    assert_span(pk_buf_span(&bytes), (pk_span){all, sizeof all});

    pk_buf_clear(&text);
    assert_true(pk_percent(PK_SPAN("a.b/c d\xc3\xa4_-"), &text, &err));
    assert_span(pk_buf_span(&text), PK_SPAN("a%2Eb%2Fc%20d%C3%A4_-"));
    pk_buf_clear(&bytes);
    assert_true(pk_unpercent(PK_SPAN("%2fa+b%2F"), &bytes, &err));
    assert_span(pk_buf_span(&bytes), PK_SPAN("/a+b/"));
}

static void a_uuid_is_written_in_five_groups(void **state)
{
    (void)state;
    static const uint8_t uuid[16] = {0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3,
                                     0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00};
    char text[37];
    uint8_t back[16];
    pk_uuid_text(uuid, text);
    assert_string_equal(text, "123e4567-e89b-12d3-a456-426614174000");
    assert_true(pk_uuid_parse(pk_span_of(text), back));
    assert_memory_equal(back, uuid, sizeof uuid);
    assert_true(pk_uuid_parse(PK_SPAN("123E4567-E89B-12D3-A456-426614174000"), back));
    assert_false(pk_uuid_parse(PK_SPAN(""), back));
    assert_false(pk_uuid_parse(PK_SPAN("123e4567-e89b-12d3-a456-42661417400"), back));
    assert_false(pk_uuid_parse(PK_SPAN("123e4567-e89b-12d3-a456-4266141740000"), back));
    assert_false(pk_uuid_parse(PK_SPAN("123e4567+e89b-12d3-a456-426614174000"), back));
    assert_false(pk_uuid_parse(PK_SPAN("123e4567-e89b-12d3-a456-42661417400g"), back));
    assert_false(pk_uuid_parse(PK_SPAN("{23e4567-e89b-12d3-a456-426614174000"), back));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, vectors, base64_goes_there_and_back);
    PK_SUITE_TEST(&suite, every_length_and_byte_goes_there_and_back);
    PK_SUITE_ROWS(&suite, bad_rows, is_refused_and_leaves_nothing);
    PK_SUITE_TEST(&suite, the_ceiling_of_the_buffer_is_kept);
    PK_SUITE_TEST(&suite, hex_is_lower_case_and_read_in_either);
    PK_SUITE_TEST(&suite, percent_escapes_all_but_the_safe_set);
    PK_SUITE_TEST(&suite, a_uuid_is_written_in_five_groups);
    return pk_suite_run(&suite, "encode");
}
