/* What we answer, byte for byte. */
#include "proxy/reply.h"
#include "table.h"

static void is_message(const pk_buf *out, const char *bytes, size_t len)
{
    pk_span got = pk_buf_span(out);
    assert_int_equal(got.len, len);
    assert_memory_equal(got.ptr, bytes, len);
}
#define IS_MESSAGE(out, literal) is_message((out), (literal), sizeof(literal) - 1)

static void an_error_carries_what_there_is(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    pk_error err;
    (void)state;
    (void)pk_fail(&err, PK_E_SYNTAX, "bad");
    assert_true(pk_reply_error(&out, "UTF8", &err, false));
    IS_MESSAGE(&out, "E\0\0\0\x1fSERROR\0VERROR\0C42601\0Mbad\0\0");
    pk_buf_clear(&out);
    (void)pk_error_detail(&err, "Why.");
    (void)pk_error_hint(&err, "Caf\xc3\xa9.");
    (void)pk_error_at(&err, 12);
    assert_true(pk_reply_error(&out, "LATIN1", &err, true));
    IS_MESSAGE(&out, "E\0\0\0\x30SFATAL\0VFATAL\0C42601\0Mbad\0DWhy.\0HCaf\xe9.\0P12\0\0");
}

static const pk_column columns[] = {{"a", PK_TYPE_TEXT}, {"b", PK_TYPE_INT8}};

static void a_result_is_notices_rows_and_tag(void **state)
{
    static const char *const row[] = {"\xc3\xa9", NULL};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    PK_AUTO_PTR(pk_result_free) pk_result *result = pk_result_new();
    (void)state;
    pk_result_columns(result, columns, 2);
    assert_true(pk_result_row(result, row, NULL));
    pk_result_notice(result, PK_WARNING, "01000", NULL, NULL, "w");
    result->tag = "SHOW";
    assert_true(pk_reply_result(&out, "LATIN1", result));
    IS_MESSAGE(&out, "N\0\0\0\x21SWARNING\0VWARNING\0C01000\0Mw\0\0"
                     "T\0\0\0\x2e\0\2"
                     "a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
                     "b\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\0"
                     "D\0\0\0\x0f\0\2\0\0\0\1\xe9\xff\xff\xff\xff"
                     "C\0\0\0\x09SHOW\0");
}

static void of_a_failed_result_only_the_notices_are_told(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    PK_AUTO_PTR(pk_result_free) pk_result *result = pk_result_new();
    (void)state;
    pk_result_notice(result, PK_NOTICE, "00000", "d", "h", "n");
    pk_result_columns(result, columns, 2);
    result->failed = true;
    assert_true(pk_reply_result(&out, "UTF8", result));
    IS_MESSAGE(&out, "N\0\0\0\x25SNOTICE\0VNOTICE\0C00000\0Mn\0Dd\0Hh\0\0");
}

static void a_result_that_does_not_fit_says_so(void **state)
{
    static const char *const row[] = {"long enough", "1"};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(64);
    PK_AUTO_PTR(pk_result_free) pk_result *result = pk_result_new();
    pk_error err;
    (void)state;
    pk_result_columns(result, columns, 2);
    assert_true(pk_result_row(result, row, NULL));
    assert_false(pk_reply_result(&out, "UTF8", result));
    pk_buf_clear(&out);
    (void)pk_fail(&err, PK_E_SYNTAX, "an error text that is longer than the buffer can be");
    assert_false(pk_reply_error(&out, "UTF8", &err, false));
}

static void our_own_messages(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    (void)state;
    assert_true(pk_reply_ready(&out, 'T'));
    IS_MESSAGE(&out, "Z\0\0\0\5T");
    pk_buf_clear(&out);
    assert_true(pk_reply_query(&out, "x"));
    IS_MESSAGE(&out, "Q\0\0\0\6x\0");
    pk_buf_clear(&out);
    assert_true(pk_reply_execute(&out, "p"));
    IS_MESSAGE(&out, "E\0\0\0\x0ap\0\0\0\0\0");
    pk_buf_clear(&out);
    assert_true(pk_reply_empty(&out, 'H'));
    IS_MESSAGE(&out, "H\0\0\0\4");
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, an_error_carries_what_there_is);
    PK_SUITE_TEST(&suite, a_result_is_notices_rows_and_tag);
    PK_SUITE_TEST(&suite, of_a_failed_result_only_the_notices_are_told);
    PK_SUITE_TEST(&suite, a_result_that_does_not_fit_says_so);
    PK_SUITE_TEST(&suite, our_own_messages);
    return pk_suite_run(&suite, "reply");
}
