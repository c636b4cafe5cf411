/* Text between the client's encoding and UTF-8. */
#include "proxy/encoding.h"
#include "table.h"

static const struct row {
    const char *name, *encoding, *text, *utf8;
    bool cut;
    pk_encoding_result result;
} rows[] = {
    {"LATIN1", "LATIN1", "caf\xe9", "caf\xc3\xa9", .cut = false},
    {"the name's case does not matter", "latin1", "\xe9", "\xc3\xa9", .cut = false},
    {"a second byte that looks like a backslash", "SJIS", "\x95\x5c'", "\xe8\xa1\xa8'",
     .cut = false},
    {"GBK", "GBK", "\xc4\xe3", "\xe4\xbd\xa0", .cut = false},
    {"EUC_JP", "EUC_JP", "\xc6\xfc", "\xe6\x97\xa5", .cut = false},
    {"BIG5", "BIG5", "\xa7\x41", "\xe4\xbd\xa0", .cut = false},
    {"UHC", "UHC", "\xb0\xa1", "\xea\xb0\x80", .cut = false},
    {"WIN1251", "WIN1251", "\xff", "\xd1\x8f", .cut = false},
    {"a byte that is no character", "WIN1252", "a\x81", NULL, .result = PK_ENCODING_BAD},
    {"a character cut in two", "SJIS", "a\x95", NULL, .result = PK_ENCODING_BAD},
    {"a cut that was announced", "SJIS", "a\x95", "a", .cut = true},
    {"an encoding iconv does not know", "MULE_INTERNAL", "\x81\xe9", NULL,
     .result = PK_ENCODING_UNKNOWN},
};

static void converts(void **state)
{
    const struct row *row = *state;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_SECRET(1024);
    assert_int_equal(pk_encoding_to_utf8(row->encoding, pk_span_of(row->text), row->cut, &out),
                     row->result);
    if (row->utf8 == NULL)
        return;
    assert_true(pk_span_equal(pk_buf_span(&out), pk_span_of(row->utf8)));
    if (row->cut)
        return;
    pk_buf_clear(&out);
    assert_true(pk_encoding_from_utf8(row->encoding, pk_span_of(row->utf8), &out, NULL));
    assert_true(pk_span_equal(pk_buf_span(&out), pk_span_of(row->text)));
}

static void what_cannot_be_said_becomes_a_question_mark(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    (void)state;
    assert_true(pk_encoding_from_utf8("LATIN1", PK_SPAN("a\xe4\xbd\xa0z\xc3\xa9"), &out, NULL));
    assert_true(pk_span_equal(pk_buf_span(&out), PK_SPAN("a?z\xe9")));
    pk_buf_clear(&out);
    assert_true(pk_encoding_from_utf8("MULE_INTERNAL", PK_SPAN("a\xe4\xbd\xa0z"), &out, NULL));
    assert_true(pk_span_equal(pk_buf_span(&out), PK_SPAN("a?z")));
    pk_buf_clear(&out);
    /* not even UTF-8 */
    assert_true(pk_encoding_from_utf8("LATIN1", PK_SPAN("a\xffz"), &out, NULL));
    assert_true(pk_span_equal(pk_buf_span(&out), PK_SPAN("a?z")));
}

static void plain_text_is_left_alone(void **state)
{
    (void)state;
    assert_true(pk_encoding_is_plain("SJIS", PK_SPAN("select 1")));
    assert_false(pk_encoding_is_plain("SJIS", PK_SPAN("select '\xe9'")));
    assert_true(pk_encoding_is_plain("UTF8", PK_SPAN("\xc3\xa9")));
    assert_true(pk_encoding_is_plain("SQL_ASCII", PK_SPAN("\xe9")));
}

static void a_long_text_needs_several_rounds(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf in = PK_BUF_MAX(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_SECRET(4u << 20);
    (void)state;
    for (int i = 0; i < 100000; i++)
        assert_true(pk_buf_append(&in, "\xa4", 1, NULL)); /* three bytes each: the euro sign */
    assert_int_equal(pk_encoding_to_utf8("LATIN9", pk_buf_span(&in), false, &out), PK_ENCODING_OK);
    assert_int_equal(pk_buf_span(&out).len, 300000);
    PK_AUTO(pk_buf_clear) pk_buf small = PK_BUF_SECRET(1000);
    assert_int_equal(pk_encoding_to_utf8("LATIN9", pk_buf_span(&in), false, &small),
                     PK_ENCODING_NO_ROOM);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, converts);
    PK_SUITE_TEST(&suite, what_cannot_be_said_becomes_a_question_mark);
    PK_SUITE_TEST(&suite, plain_text_is_left_alone);
    PK_SUITE_TEST(&suite, a_long_text_needs_several_rounds);
    return pk_suite_run(&suite, "encoding");
}
