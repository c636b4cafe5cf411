/* pk_buf and pk_span: growth, ceiling, the three positions, wiping, memory that runs out. */
#include "base/buf.h"

#include "table.h"
#include "wrap.h"

void *wrapped_malloc(size_t size)
{
    return allocation_fails() ? NULL : real_malloc(size);
}

void wrapped_free(void *block)
{
    look_for_canary(block);
    real_free(block);
}

static void assert_span(pk_span span, const char *text)
{
    assert_int_equal(span.len, strlen(text));
    assert_memory_equal(span.ptr, text, span.len);
}

static void an_empty_buffer_has_an_empty_span(void **state)
{
    (void)state;
    pk_buf buf = PK_BUF_MAX(10);
    assert_span(pk_buf_span(&buf), "");
    assert_non_null(pk_buf_span(&buf).ptr);
    pk_buf_clear(&buf);
}

static void what_is_appended_is_there_in_order(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(100);
    pk_error err;
    assert_true(pk_buf_append_text(&buf, "one", &err));
    assert_true(pk_buf_append_span(&buf, PK_SPAN(" two "), &err));
    assert_true(pk_buf_printf(&buf, &err, "%d%s", 3, "!"));
    assert_true(pk_buf_append(&buf, NULL, 0, &err));
    assert_true(pk_buf_append_text(&buf, "", &err));
    assert_span(pk_buf_span(&buf), "one two 3!");
}

static void it_fills_to_the_ceiling_and_no_further(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(1000);
    pk_error err = {0};
    for (int i = 0; i < 1000; i++)
        assert_true(pk_buf_append(&buf, "x", 1, &err));
    assert_false(pk_buf_append(&buf, "y", 1, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_int_equal(pk_buf_span(&buf).len, 1000);
    assert_true(buf.size <= 1000);
    assert_false(pk_buf_reserve(&buf, SIZE_MAX, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_false(pk_buf_printf(&buf, &err, "%d", 1));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
}

static void formatted_text_may_end_exactly_at_the_ceiling(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(5);
    pk_error err;
    assert_true(pk_buf_printf(&buf, &err, "%s", "12345"));
    assert_span(pk_buf_span(&buf), "12345");
    pk_buf_clear(&buf);
    assert_false(pk_buf_printf(&buf, &err, "%s", "123456"));
}

static void a_buffer_without_ceiling_takes_nothing(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = {0};
    pk_error err;
    assert_false(pk_buf_append(&buf, "x", 1, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
}

static void consumed_bytes_make_room_below_the_ceiling(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(10);
    pk_error err;
    assert_true(pk_buf_append_text(&buf, "0123456789", &err));
    buf.parsed = 6;
    pk_buf_consume(&buf, 4);
    assert_int_equal(buf.parsed, 6);
    assert_true(pk_buf_append_text(&buf, "abcd", &err));
    assert_span(pk_buf_span(&buf), "456789abcd");
    assert_int_equal(buf.parsed - buf.consumed, 2);
    assert_int_equal(buf.size, 10);
    assert_false(pk_buf_append_text(&buf, "e", &err));
}

static void growing_keeps_positions_and_drops_what_is_consumed(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(10000);
    pk_error err;
    assert_true(pk_buf_append_text(&buf, "head:body", &err));
    buf.parsed = 7;
    pk_buf_consume(&buf, 5);
    assert_true(pk_buf_reserve(&buf, 5000, &err));
    assert_span(pk_buf_span(&buf), "body");
    assert_int_equal(buf.parsed - buf.consumed, 2);
    assert_true(buf.size - buf.filled >= 5000);
}

static void consuming_past_parsed_takes_parsed_along(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(10);
    pk_error err;
    assert_true(pk_buf_append_text(&buf, "abc", &err));
    pk_buf_consume(&buf, 2);
    assert_int_equal(buf.parsed, buf.consumed);
    pk_buf_consume(&buf, 1);
    assert_int_equal(buf.filled, 0);
    assert_int_equal(buf.parsed, 0);
    assert_int_equal(buf.consumed, 0);
}

static void reserved_room_is_filled_from_outside(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(10);
    pk_error err;
    assert_true(pk_buf_reserve(&buf, 4, &err));
    memcpy(pk_buf_tail(&buf), "tail", 4);
    pk_buf_filled(&buf, 4);
    assert_span(pk_buf_span(&buf), "tail");
}

static void without_memory_it_says_so_and_keeps_what_it_has(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(100000);
    pk_error err = {0};
    assert_true(pk_buf_append_text(&buf, "kept", &err));
    failing_allocation = 1;
    assert_false(pk_buf_reserve(&buf, 50000, &err));
    assert_string_equal(err.sqlstate, PK_E_MEMORY);
    assert_span(pk_buf_span(&buf), "kept");
    assert_true(pk_buf_reserve(&buf, 50000, &err));
}

/* Puts the canary in, then makes the block move, shrink and go. */
static void live_with_canary(pk_buf *buf)
{
    pk_error err;
    assert_true(pk_buf_append_text(buf, "..............SECRET-CANARY", &err));
    assert_true(pk_buf_reserve(buf, 3000, &err)); /* moves */
    pk_buf_consume(buf, 14);
    pk_buf_clear(buf);
    assert_true(pk_buf_append_text(buf, "SECRET-CANARY", &err));
    pk_buf_consume(buf, 13); /* behind `filled` now */
    pk_buf_clear(buf);
}

static void a_secret_buffer_frees_only_wiped_blocks(void **state)
{
    (void)state;
    canary = "SECRET-CANARY";
    canaries_freed = 0;
    pk_buf secret = PK_BUF_SECRET(10000);
    live_with_canary(&secret);
    assert_int_equal(canaries_freed, 0);
    assert_true(secret.secret);
    assert_int_equal(secret.max, 10000);

    /* The same without the mark, so that this test is known to see them. */
    pk_buf plain = PK_BUF_MAX(10000);
    live_with_canary(&plain);
    assert_true(canaries_freed > 0);
    canary = NULL;
}

static void a_secret_buffer_leaves_no_copy_behind_the_end_when_it_moves(void **state)
{
    (void)state;
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_SECRET(20);
    pk_error err;
    assert_true(pk_buf_append_text(&buf, "aaaaaaaaaaaaaSECRET", &err));
    pk_buf_consume(&buf, 13);
    assert_true(pk_buf_reserve(&buf, 10, &err));
    assert_int_equal(buf.consumed, 0);
    assert_span(pk_buf_span(&buf), "SECRET");
    assert_null(memmem(buf.block + 6, 13, "S", 1));
    assert_null(memmem(buf.block + 6, 13, "a", 1));
    pk_buf_consume(&buf, 6);
    assert_null(memmem(buf.block, 20, "SECRET", 6));
}

static void spans_compare_without_case_only_for_letters_of_ascii(void **state)
{
    (void)state;
    assert_true(pk_span_equal_nocase(PK_SPAN("BackUp-1"), PK_SPAN("bACKuP-1")));
    assert_false(pk_span_equal_nocase(PK_SPAN("a"), PK_SPAN("ab")));
    assert_false(pk_span_equal_nocase(PK_SPAN("@["), PK_SPAN("`{")));
    assert_false(pk_span_equal_nocase(PK_SPAN("\xc3\x84"), PK_SPAN("\xc3\xa4")));
    assert_true(pk_span_equal_nocase((pk_span){0}, PK_SPAN("")));
    assert_true(pk_span_starts_with(PK_SPAN("s3://b"), PK_SPAN("s3:")));
    assert_true(pk_span_starts_with(PK_SPAN("s3"), PK_SPAN("")));
    assert_false(pk_span_starts_with(PK_SPAN("s3"), PK_SPAN("s3:")));
    assert_false(pk_span_starts_with(PK_SPAN("S3:"), PK_SPAN("s3:")));
}

static void our_own_blocks_come_zeroed_and_may_be_empty(void **state)
{
    (void)state;
    PK_AUTO_PTR(pk_free) char *block = pk_new_bytes(64);
    static const char zeros[64];
    assert_memory_equal(block, zeros, sizeof zeros);
    pk_free(pk_new_bytes(0));
    pk_free(NULL);

    char *copy = pk_strdup("text");
    assert_string_equal(copy, "text");
    pk_wipe(copy, 4);
    assert_memory_equal(copy, zeros, 4);
    pk_wipe(NULL, 0);
    char *moved = pk_steal(&copy);
    assert_null(copy);
    pk_free(moved);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, an_empty_buffer_has_an_empty_span);
    PK_SUITE_TEST(&suite, what_is_appended_is_there_in_order);
    PK_SUITE_TEST(&suite, it_fills_to_the_ceiling_and_no_further);
    PK_SUITE_TEST(&suite, formatted_text_may_end_exactly_at_the_ceiling);
    PK_SUITE_TEST(&suite, a_buffer_without_ceiling_takes_nothing);
    PK_SUITE_TEST(&suite, consumed_bytes_make_room_below_the_ceiling);
    PK_SUITE_TEST(&suite, growing_keeps_positions_and_drops_what_is_consumed);
    PK_SUITE_TEST(&suite, consuming_past_parsed_takes_parsed_along);
    PK_SUITE_TEST(&suite, reserved_room_is_filled_from_outside);
    PK_SUITE_TEST(&suite, without_memory_it_says_so_and_keeps_what_it_has);
    PK_SUITE_TEST(&suite, a_secret_buffer_frees_only_wiped_blocks);
    PK_SUITE_TEST(&suite, a_secret_buffer_leaves_no_copy_behind_the_end_when_it_moves);
    PK_SUITE_TEST(&suite, spans_compare_without_case_only_for_letters_of_ascii);
    PK_SUITE_TEST(&suite, our_own_blocks_come_zeroed_and_may_be_empty);
    return pk_suite_run(&suite, "buf");
}
