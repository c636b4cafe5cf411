/* UTF-8 against its arithmetic: every sequence of up to three bytes, and the corners of four. */
#include "base/utf8.h"

#include "table.h"

/* By the first byte's leading ones. */
static size_t announced(uint8_t first)
{
    size_t ones = 0;
    while (ones < 8 && (first & (0x80u >> ones)) != 0)
        ones++;
    return ones == 0 ? 1 : ones == 1 || ones > 4 ? 0 : ones;
}

/* What the bits say, and whether they would say it in fewer bytes. */
static size_t by_arithmetic(const uint8_t *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t len = announced(at[0]);
    uint32_t code = len < 2 ? at[0] : at[0] & (0x7fu >> len);
    if (len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if (at[i] >> 6 != 2)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    return code >= least[len] && code <= 0x10ffff && code >> 11 != 0x1b ? len : 0;
}

static void agree(const uint8_t *bytes, size_t len)
{
    const size_t expected = by_arithmetic(bytes, len);
    const size_t found = pk_utf8_character(pk_span_bytes(bytes, len));
    if (found != expected)
        fail_msg("%02x %02x %02x %02x (of %zu): %zu, not %zu", bytes[0], bytes[1], bytes[2],
                 bytes[3], len, found, expected);
}

static void every_sequence_of_three_bytes_is_told(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 1u << 24; n++) {
        const uint8_t bytes[4] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 0x80};
        agree(bytes, 3);
        if ((n & 0xff) == 0x80)
            agree(bytes, 2);
        if ((n & 0xffff) == 0x8080)
            agree(bytes, 1);
    }
}

static void four_bytes_are_told(void **state)
{
    static const uint8_t corners[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    (void)state;
    for (unsigned first = 0xe0; first <= 0xff; first++)
        for (unsigned second = 0; second <= 0xff; second++)
            for (size_t i = 0; i < PK_COUNT(corners) * PK_COUNT(corners); i++) {
                const uint8_t bytes[4] = {(uint8_t)first, (uint8_t)second,
                                          corners[i / PK_COUNT(corners)],
                                          corners[i % PK_COUNT(corners)]};
                agree(bytes, 4);
            }
}

static void a_text_is_counted_to_its_end(void **state)
{
    size_t count = 7;
    (void)state;
    assert_true(pk_utf8_is(PK_SPAN(""), &count));
    assert_int_equal(count, 0);
    assert_true(pk_utf8_is(PK_SPAN("a\303\244\342\202\254\360\237\224\221z"), &count));
    assert_int_equal(count, 5);
    assert_true(pk_utf8_is(PK_SPAN("\303\244"), NULL));
    assert_false(pk_utf8_is(PK_SPAN("ab\303"), NULL));
    assert_false(pk_utf8_is(PK_SPAN("\200"), NULL));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, every_sequence_of_three_bytes_is_told);
    PK_SUITE_TEST(&suite, four_bytes_are_told);
    PK_SUITE_TEST(&suite, a_text_is_counted_to_its_end);
    return pk_suite_run(&suite, "utf8");
}
