/* pk_error: what fits, what is cut, what wrapping does. */
#include "base/error.h"

#include "table.h"

static void a_new_error_replaces_everything_of_the_old(void **state)
{
    (void)state;
    pk_error err = {0};
    assert_false(pk_fail(&err, PK_E_IO, "could not open \"%s\"", "a"));
    assert_false(pk_error_detail(&err, "Detail %d.", 1));
    assert_false(pk_error_hint(&err, "Hint."));
    assert_false(pk_error_at(&err, 7));
    assert_string_equal(err.detail, "Detail 1.");
    assert_string_equal(err.hint, "Hint.");
    assert_int_equal(err.position, 7);

    assert_false(pk_fail(&err, PK_E_SYNTAX, "syntax error"));
    assert_true(pk_error_is(&err, PK_E_SYNTAX));
    assert_string_equal(err.message, "syntax error");
    assert_string_equal(err.detail, "");
    assert_string_equal(err.hint, "");
    assert_int_equal(err.position, 0);
    assert_non_null(strstr(err.file, "test_error.c"));
    assert_true(err.line > 0);
}

static void a_null_error_is_dropped(void **state)
{
    (void)state;
    assert_false(pk_fail(NULL, PK_E_IO, "x"));
    assert_false(pk_error_detail(NULL, "x"));
    assert_false(pk_error_hint(NULL, "x"));
    assert_false(pk_error_at(NULL, 1));
    assert_false(pk_error_wrap(NULL, "x"));
}

static void wrapping_slides_the_message_to_the_front_of_the_detail(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_fail(&err, PK_E_IO, "could not sync");
    int line = err.line;
    pk_error_hint(&err, "Look at the disk.");
    pk_error_at(&err, 3);
    assert_false(pk_error_wrap(&err, "could not back up key \"%s\"", "t1"));
    assert_string_equal(err.message, "could not back up key \"t1\"");
    assert_string_equal(err.detail, "Could not sync.");

    pk_error_wrap(&err, "job failed");
    assert_string_equal(err.message, "job failed");
    assert_string_equal(err.detail, "Could not back up key \"t1\". Could not sync.");
    assert_true(pk_error_is(&err, PK_E_IO));
    assert_string_equal(err.hint, "Look at the disk.");
    assert_int_equal(err.position, 3);
    assert_int_equal(err.line, line);
}

static void wrapping_adds_no_second_full_stop_and_no_empty_sentence(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_fail(&err, PK_E_IO, "\"x\" said no.");
    pk_error_wrap(&err, "outer");
    assert_string_equal(err.detail, "\"x\" said no.");
    pk_fail(&err, PK_E_IO, "%s", "");
    pk_error_wrap(&err, "outer");
    assert_string_equal(err.detail, "");
}

static void wrapping_what_was_never_set_is_an_internal_error(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_error_wrap(&err, "outer");
    assert_string_equal(err.sqlstate, PK_E_INTERNAL);
    assert_string_equal(err.message, "outer");
}

static void an_error_may_quote_its_own_fields(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_fail(&err, PK_E_IO, "inner");
    pk_error_wrap(&err, "outer of %s", err.message);
    assert_string_equal(err.message, "outer of inner");
    pk_fail(&err, err.sqlstate, "again: %s (%s)", err.message, err.detail);
    assert_string_equal(err.message, "again: outer of inner (Inner.)");
    assert_true(pk_error_is(&err, PK_E_IO));
    pk_error_detail(&err, "<%s>", err.message);
    pk_error_detail(&err, "%s%s", err.detail, err.detail);
    assert_string_equal(err.detail,
                        "<again: outer of inner (Inner.)><again: outer of inner (Inner.)>");
}

/* `character` repeated behind `offset` bytes of 'x', in a message that holds 255 bytes. */
static const struct cut_row {
    const char *name;
    const char *character;
    size_t offset, kept;
} cut_rows[] = {
    {"one byte each: cut at the end", "a", 0, 255},
    {"two bytes: the half is dropped", "\xc3\xa4", 0, 254},
    {"two bytes: a whole one stays", "\xc3\xa4", 1, 255},
    {"three bytes: whole", "\xe2\x82\xac", 0, 255},
    {"three bytes: one too few", "\xe2\x82\xac", 1, 253},
    {"three bytes: two too few", "\xe2\x82\xac", 2, 254},
    {"four bytes: one too few", "\xf0\x9f\x94\x91", 0, 252},
    {"four bytes: whole", "\xf0\x9f\x94\x91", 3, 255},
    {"no UTF-8 at all is cut at the end", "\x80", 0, 255},
};

static void long_text_is_cut_between_characters(void **state)
{
    const struct cut_row *row = *state;
    char text[1200] = "";
    size_t step = strlen(row->character);
    memset(text, 'x', row->offset);
    for (size_t at = row->offset; at + step < 1024; at += step)
        memcpy(text + at, row->character, step);

    pk_error err = {0};
    pk_fail(&err, PK_E_IO, "%s", text);
    assert_int_equal(strlen(err.message), row->kept);
    assert_memory_equal(err.message, text, row->kept);

    pk_error_hint(&err, "%s", text);
    assert_int_equal(strlen(err.hint), row->kept);
    pk_error_detail(&err, "%s", text);
    assert_memory_equal(err.detail, text, strlen(err.detail));
    assert_in_range(strlen(err.detail), 508, 511);
    /* The whole message slides, and the end of the detail is cut. */
    pk_error_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.message), row->kept);
    assert_in_range(strlen(err.detail), 508, 511);
}

static void every_sqlstate_has_five_characters_and_one_name(void **state)
{
    (void)state;
#define CODE(name, code, meaning) code,
    static const char *const codes[] = {PK_SQLSTATES(CODE)};
#undef CODE
    for (size_t i = 0; i < PK_COUNT(codes); i++) {
        assert_int_equal(strlen(codes[i]), 5);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(codes[i], codes[j]);
    }
}

static void an_errno_has_a_text_and_nonsense_too(void **state)
{
    (void)state;
    assert_string_equal(pk_errno_text(2), "No such file or directory");
    assert_string_equal(pk_errno_text(99999), "unknown error");
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, a_new_error_replaces_everything_of_the_old);
    PK_SUITE_TEST(&suite, a_null_error_is_dropped);
    PK_SUITE_TEST(&suite, wrapping_slides_the_message_to_the_front_of_the_detail);
    PK_SUITE_TEST(&suite, wrapping_adds_no_second_full_stop_and_no_empty_sentence);
    PK_SUITE_TEST(&suite, wrapping_what_was_never_set_is_an_internal_error);
    PK_SUITE_TEST(&suite, an_error_may_quote_its_own_fields);
    PK_SUITE_ROWS(&suite, cut_rows, long_text_is_cut_between_characters);
    PK_SUITE_TEST(&suite, every_sqlstate_has_five_characters_and_one_name);
    PK_SUITE_TEST(&suite, an_errno_has_a_text_and_nonsense_too);
    return pk_suite_run(&suite, "error");
}
