/* JSON: what is accepted, what is refused and how, and that nothing stays in memory. */
#include "base/json.h"

#include "table.h"
#include "wrap.h"

static bool long_run_fails; /* every allocation from the nth on */

void *wrapped_malloc(size_t size)
{
    if (allocation_fails()) {
        failing_allocation = long_run_fails ? 1 : 0;
        return NULL;
    }
    return real_malloc(size);
}

void wrapped_free(void *block)
{
    look_for_canary(block);
    real_free(block);
}

static void what_is_parsed_is_written_in_the_same_order(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1000);
    PK_AUTO(pk_json_unref)
    json_t *value = pk_json_parse(
        PK_SPAN("{ \"z\" : [1, true, null],\n \"a\":\"\xc3\xa4\\u00e4\\\"\" }"), &err);
    assert_non_null(value);
    assert_true(pk_json_write(value, &out, &err));
    assert_true(pk_buf_append(&out, "", 1, &err));
    assert_string_equal(pk_buf_span(&out).ptr,
                        "{\"z\":[1,true,null],\"a\":\"\xc3\xa4\xc3\xa4\\\"\"}");
}

static const struct bad {
    const char *name;
    pk_span text;
    const char *message;
} bad_rows[] = {
    {"empty", {"", 0}, "invalid JSON at line 1, column 0"},
    {"a word", {"CANARY", 6}, "invalid JSON at line 1, column 6"},
    {"a string alone", {"\"CANARY\"", 8}, NULL},
    {"an object cut off", {"{\"a\":\"CANARY\"", 13}, NULL},
    {"the second line", {"{\n\"a\" CANARY}", 13}, "invalid JSON at line 2, column 10"},
    {"something behind it", {"{} CANARY", 9}, NULL},
    {"a name twice", {"{\"CANARY\":1,\"CANARY\":2}", 23}, NULL},
    {"a name twice, once escaped", {"{\"CANARY\":1,\"\\u0043ANARY\":2}", 28}, NULL},
    {"a comma at the end", {"[1,]", 4}, NULL},
    {"a comment", {"[1] // CANARY", 13}, NULL},
    {"no UTF-8", {"[\"CANARY\xff\"]", 11}, NULL},
    {"UTF-8 with a second spelling", {"[\"\xc0\xaf\"]", 6}, NULL},
    {"half a surrogate pair", {"[\"\\ud800\"]", 10}, NULL},
    {"a zero byte in a string", {"[\"a\\u0000CANARY\"]", 17}, NULL},
    {"a zero byte in the text", {"[1]\0", 4}, NULL},
    {"a line break in a string", {"[\"CANARY\n\"]", 11}, NULL},
    {"a number too large", {"[99999999999999999999]", 22}, NULL},
    {"a real too large", {"[1e999]", 7}, NULL},
    {"not a number", {"[NaN]", 5}, NULL},
};

static void is_refused_by_place_not_by_content(void **state)
{
    const struct bad *row = *state;
    pk_error err = {0};
    assert_null(pk_json_parse(row->text, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    assert_null(strstr(err.message, "CANARY"));
    assert_string_equal(err.detail, "");
    if (row->message != NULL)
        assert_string_equal(err.message, row->message);
    else
        assert_memory_equal(err.message, "invalid JSON at line ", 21);
}

/* `depth` times `open`, then as often `close`. */
static bool accepts_depth(int depth, const char *open, const char *middle, const char *close)
{
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(1 << 20);
    for (int i = 0; i < depth; i++)
        assert_true(pk_buf_append_text(&text, open, &err));
    assert_true(pk_buf_append_text(&text, middle, &err));
    for (int i = 0; i < depth; i++)
        assert_true(pk_buf_append_text(&text, close, &err));
    PK_AUTO(pk_json_unref) json_t *value = pk_json_parse(pk_buf_span(&text), &err);
    if (value == NULL)
        assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    return value != NULL;
}

static void it_nests_32_deep_and_no_deeper(void **state)
{
    (void)state;
    assert_true(accepts_depth(32, "[", "", "]"));
    assert_false(accepts_depth(33, "[", "", "]"));
    assert_true(accepts_depth(32, "{\"a\":", "1", "}"));
    assert_false(accepts_depth(33, "{\"a\":", "1", "}"));
    assert_false(accepts_depth(100000, "[", "", "]"));
    /* Brackets in strings are not depth, behind an escaped quote or backslash either. */
    assert_true(accepts_depth(1, "[\"\\\"", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "\"]"));
    pk_error err = {0};
    static const char deep_behind_text[] =
        "[\"\\\\\",[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]";
    assert_null(pk_json_parse(pk_span_of(deep_behind_text), &err));
    assert_non_null(strstr(err.message, "deeper than 32 at line 1, column 38"));
    /* Many, one after the other, are not deep. */
    assert_true(accepts_depth(1, "[",
                              "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                              "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]",
                              "]"));
}

/* An array of `pairs` empty ones: 2 * pairs values' worth of brackets and commas. */
static bool accepts_many(size_t pairs, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_JSON_MAX);
    *err = (pk_error){0};
    assert_true(pk_buf_append_text(&text, "[[]", err));
    for (size_t i = 1; i < pairs; i++)
        assert_true(pk_buf_append_text(&text, ",[]", err));
    assert_true(pk_buf_append_text(&text, "]", err));
    PK_AUTO(pk_json_unref) json_t *value = pk_json_parse(pk_buf_span(&text), err);
    return value != NULL;
}

/* 4 MiB of empty arrays would become 350 MiB of nodes. */
static void it_holds_200000_values_and_no_more(void **state)
{
    (void)state;
    pk_error err = {0};
    assert_true(accepts_many(100000, &err)); /* 100,001 brackets, 99,999 commas */
    assert_false(accepts_many(100001, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    assert_non_null(strstr(err.message, "more than 200000 values"));
    assert_false(accepts_many(PK_JSON_MAX / 3 - 10, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    /* Commas in a string are no values. */
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_JSON_MAX);
    assert_true(pk_buf_append_text(&text, "[\"", &err));
    for (size_t i = 0; i < 300000; i++)
        assert_true(pk_buf_append_text(&text, ",", &err));
    assert_true(pk_buf_append_text(&text, "\"]", &err));
    PK_AUTO(pk_json_unref) json_t *value = pk_json_parse(pk_buf_span(&text), &err);
    assert_non_null(value);
}

static void four_mebibytes_are_the_limit(void **state)
{
    (void)state;
    pk_error err = {0};
    char *text = malloc(PK_JSON_MAX + 1);
    assert_non_null(text);
    memset(text, ' ', PK_JSON_MAX + 1);
    text[0] = '[';
    text[1] = ']';
    PK_AUTO(pk_json_unref) json_t *value = pk_json_parse((pk_span){text, PK_JSON_MAX}, &err);
    assert_non_null(value);
    assert_null(pk_json_parse((pk_span){text, PK_JSON_MAX + 1}, &err));
    assert_string_equal(err.sqlstate, PK_E_CORRUPT);
    free(text);
}

static void writing_stops_at_the_ceiling(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(6);
    PK_AUTO(pk_json_unref) json_t *value = pk_json_parse(PK_SPAN("[1,2,3,4]"), &err);
    assert_false(pk_json_write(value, &out, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
}

static void what_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(100);
    assert_false(pk_json_write(NULL, &out, &err));
    assert_string_equal(err.sqlstate, PK_E_INTERNAL);
    PK_AUTO(pk_json_unref) json_t *loop = json_array();
    PK_AUTO(pk_json_unref) json_t *inner = json_array();
    assert_int_equal(json_array_append(loop, inner), 0);
    assert_int_equal(json_array_append(inner, loop), 0);
    assert_false(pk_json_write(loop, &out, &err));
    assert_string_equal(err.sqlstate, PK_E_INTERNAL);
    assert_int_equal(json_array_clear(inner), 0);
}

static void nothing_that_was_parsed_is_freed_unwiped(void **state)
{
    (void)state;
    static const char text[] =
        "{\"k\":\"SECRET-CANARY\",\"SECRET-CANARY\":[\"x\\nSECRET-CANARY\"]}";
    canary = "SECRET-CANARY";
    canaries_freed = 0;
    pk_error err = {0};
    json_t *value = pk_json_parse(pk_span_of(text), &err);
    assert_non_null(value);
    assert_string_equal(json_string_value(json_object_get(value, "k")), canary);
    json_decref(value);
    /* A text that fails late has been copied by then. */
    assert_null(pk_json_parse(PK_SPAN("{\"k\":\"SECRET-CANARY\",\"l\":\"SECRET-CANARY"), &err));
    assert_int_equal(canaries_freed, 0);
    free(strdup(text));
    assert_int_equal(canaries_freed, 1); /* or this test would see nothing */
    canary = NULL;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,2.5,\"text\",{\"b\":null}],\"c\":\"more text\"}";
    for (int pass = 0; pass < 2; pass++) {
        long_run_fails = pass == 1;
        int nth = 1;
        for (json_t *value = NULL; value == NULL; nth++) {
            assert_true(nth < 1000);
            pk_error err = {0};
            failing_allocation = nth;
            value = pk_json_parse(pk_span_of(text), &err);
            failing_allocation = 0;
            if (value == NULL)
                assert_true(pk_error_is(&err, PK_E_MEMORY) || pk_error_is(&err, PK_E_CORRUPT));
            json_decref(value);
        }
        assert_true(nth > 5);
    }
}

/* jansson does not look whether the name of a member was taken. */
static void a_part_that_does_not_fit_is_never_left_out(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_json_unref)
    json_t *value = json_pack("{s:s, s:{s:i, s:[s]}, s:b}", "a", "b", "cc", "ddd", 1, "eeee", "f",
                              "a long name", 1);
    static const char whole[] =
        "{\"a\":\"b\",\"cc\":{\"ddd\":1,\"eeee\":[\"f\"]},\"a long name\":true}";
    assert_non_null(value);
    for (size_t room = 0; room <= sizeof whole; room++) {
        PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(room);
        bool fits = room >= sizeof whole - 1;
        assert_int_equal(pk_json_write(value, &out, &err), fits);
        if (fits)
            assert_true(pk_span_equal(pk_buf_span(&out), pk_span_of(whole)));
    }
}

int main(void)
{
    static pk_suite suite;
    pk_json_init();
    PK_SUITE_TEST(&suite, what_is_parsed_is_written_in_the_same_order);
    PK_SUITE_ROWS(&suite, bad_rows, is_refused_by_place_not_by_content);
    PK_SUITE_TEST(&suite, it_nests_32_deep_and_no_deeper);
    PK_SUITE_TEST(&suite, it_holds_200000_values_and_no_more);
    PK_SUITE_TEST(&suite, four_mebibytes_are_the_limit);
    PK_SUITE_TEST(&suite, writing_stops_at_the_ceiling);
    PK_SUITE_TEST(&suite, a_part_that_does_not_fit_is_never_left_out);
    PK_SUITE_TEST(&suite, what_cannot_be_written_is_an_error);
    PK_SUITE_TEST(&suite, nothing_that_was_parsed_is_freed_unwiped);
    PK_SUITE_TEST(&suite, each_allocation_may_fail);
    return pk_suite_run(&suite, "json");
}
