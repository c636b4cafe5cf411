/* Messages of the extended protocol: whose names, what a Bind holds, and what is made of it. */
#include "proxy/extended.h"
#include "table.h"

#define MESSAGE(literal)                                                                           \
    (pk_span)                                                                                      \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }

static void is(pk_span got, const char *text)
{
    assert_non_null(got.ptr);
    assert_int_equal(got.len, strlen(text));
    assert_memory_equal(got.ptr, text, got.len);
}

static void names_of_each_message(void **state)
{
    pk_targets targets;
    (void)state;
    assert_true(pk_extended_targets('P', MESSAGE("P\0\0\0\x0as\0x\0\0\0"), &targets));
    is(targets.statement, "s");
    assert_null(targets.portal.ptr);
    assert_true(pk_extended_targets('B', MESSAGE("B\0\0\0\x0fp\0s\0\0\0\0\0\0\0"), &targets));
    is(targets.statement, "s");
    is(targets.portal, "p");
    assert_true(pk_extended_targets('D', MESSAGE("D\0\0\0\7Ss\0"), &targets));
    is(targets.statement, "s");
    assert_null(targets.portal.ptr);
    assert_true(pk_extended_targets('C', MESSAGE("C\0\0\0\7Pp\0"), &targets));
    is(targets.portal, "p");
    assert_null(targets.statement.ptr);
    assert_true(pk_extended_targets('E', MESSAGE("E\0\0\0\x09\0\0\0\0\0"), &targets));
    is(targets.portal, "");
    /* of what else */
    assert_true(pk_extended_targets('D', MESSAGE("D\0\0\0\7Xp\0"), &targets));
    assert_null(targets.portal.ptr);
    assert_null(targets.statement.ptr);
}

static void a_name_that_is_not_all_there(void **state)
{
    pk_targets targets;
    (void)state;
    assert_false(pk_extended_targets('B', MESSAGE("B\0\0\0\x0fp\0s"), &targets));
    assert_false(pk_extended_targets('E', MESSAGE("E\0\0\0\x09"), &targets));
    assert_false(pk_extended_targets('D', MESSAGE("D\0\0\0\x05S"), &targets));
}

static void the_stand_in_refers_to_every_parameter(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    const pk_parse_message parse = {
        .name = PK_SPAN("s"), .types = PK_SPAN("\0\0\0\x19"), .type_count = 1};
    (void)state;
    assert_true(pk_extended_stand_in(&out, &parse, "N", "SHOW 7", 2));
    static const char wanted[] =
        "P\0\0\0\x70s\0SELECT 'N' AS \"N\" FROM (SELECT $1::pg_catalog.text, $2::pg_catalog.text) _"
        " /* pgkeep: SHOW 7 */\0\0\1\0\0\0\x19";
    assert_int_equal(pk_buf_span(&out).len, sizeof wanted - 1);
    assert_memory_equal(pk_buf_span(&out).ptr + 5, wanted + 5, sizeof wanted - 6);
    assert_int_equal(pk_wire_u32(pk_buf_span(&out).ptr + 1), sizeof wanted - 2);
    pk_buf_clear(&out);
    const pk_parse_message bare = {.name = PK_SPAN(""), .types = PK_SPAN("")};
    assert_true(pk_extended_stand_in(&out, &bare, "N", "SHOW 7", 0));
    static const char without[] = "\0SELECT 'N' AS \"N\" /* pgkeep: SHOW 7 */\0\0";
    assert_int_equal(pk_buf_span(&out).len, sizeof without + 5); /* one more NUL: the count */
    assert_memory_equal(pk_buf_span(&out).ptr + 5, without, sizeof without);
}

static void row_limits(void **state)
{
    (void)state;
    assert_int_equal(pk_extended_row_limit(MESSAGE("E\0\0\0\x0ap\0\0\0\0\x05")), 5);
    assert_int_equal(pk_extended_row_limit(MESSAGE("E\0\0\0\x0ap\0\xff\xff\xff\xff")), 0);
    assert_int_equal(pk_extended_row_limit(MESSAGE("E\0\0\0\x0ap\0\x7f\xff\xff\xff")), INT32_MAX);
}

/* Behind the header and two empty names. */
#define BIND(literal)                                                                              \
    {                                                                                              \
        "B\0\0\0\0\0\0" literal, sizeof("B\0\0\0\0\0\0" literal) - 1                               \
    }

static const struct row {
    const char *name;
    pk_span message;
    const char *encoding;
    size_t columns;
    const char *sqlstate; /* NULL: it is right */
    const char *values;   /* all of them, as UTF-8 */
    uint16_t count;
} rows[] = {
    {"nothing", {"B\0\0\0\0\0\0\0\0\0\0\0\0", 13}, "UTF8", 0, NULL, "", 0},
    {"values, one of them NULL", BIND("\0\0\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\1c\0\0"), "UTF8", 0,
     NULL, "abc", 3},
    {"one format for all", BIND("\0\1\0\1\0\1\0\0\0\1a\0\0"), "UTF8", 0, NULL, "a", 1},
    {"a format each", BIND("\0\2\0\1\0\0\0\2\0\0\0\1a\0\0\0\1b\0\0"), "UTF8", 0, NULL, "ab", 2},
    {"too many formats", BIND("\0\2\0\1\0\0\0\1\0\0\0\1a\0\0"), "UTF8", 0, "08P01", NULL, 0},
    {"a format for no value", BIND("\0\1\0\1\0\0\0\0"), "UTF8", 0, NULL, "", 0},
    {"a format of the future", BIND("\0\1\0\2\0\0\0\0"), "UTF8", 0, "22023", NULL, 0},
    {"a result format each", BIND("\0\0\0\0\0\2\0\1\0\0"), "UTF8", 2, NULL, "", 0},
    {"one result format", BIND("\0\0\0\0\0\1\0\1"), "UTF8", 0, NULL, "", 0},
    {"result formats for other columns", BIND("\0\0\0\0\0\2\0\1\0\0"), "UTF8", 3, "08P01", NULL, 0},
    {"a result format of the future", BIND("\0\0\0\0\0\1\1\0"), "UTF8", 2, "22023", NULL, 0},
    {"a value that leads outside", BIND("\0\0\0\1\0\0\0\7ab\0\0"), "UTF8", 0, "08P01", NULL, 0},
    {"more values than a statement can have", BIND("\0\0\xff\xff\0\0"), "UTF8", 0, "08P01", NULL,
     0},
    {"a negative length that is not -1", BIND("\0\0\0\1\xff\xff\xff\xfe\0\0"), "UTF8", 0, "08P01",
     NULL, 0},
    {"something behind it", BIND("\0\0\0\0\0\0x"), "UTF8", 0, "08P01", NULL, 0},
    {"a zero byte", BIND("\0\0\0\1\0\0\0\2a\0\0\0"), "UTF8", 0, "22021", NULL, 0},
    {"broken UTF-8", BIND("\0\0\0\1\0\0\0\2a\xc3\0\0"), "UTF8", 0, "22021", NULL, 0},
    {"overlong UTF-8", BIND("\0\0\0\1\0\0\0\2\xc0\x80\0\0"), "UTF8", 0, "22021", NULL, 0},
    {"a surrogate", BIND("\0\0\0\1\0\0\0\3\xed\xa0\x80\0\0"), "UTF8", 0, "22021", NULL, 0},
    {"above Unicode", BIND("\0\0\0\1\0\0\0\4\xf4\x90\x80\x80\0\0"), "UTF8", 0, "22021", NULL, 0},
    {"four bytes", BIND("\0\0\0\1\0\0\0\4\xf0\x9f\x94\x91\0\0"), "UTF8", 0, NULL,
     "\xf0\x9f\x94\x91", 1},
    {"bytes without an encoding", BIND("\0\0\0\1\0\0\0\1\xe9\0\0"), "SQL_ASCII", 0, "22021", NULL,
     0},
    {"LATIN1 becomes UTF-8", BIND("\0\0\0\1\0\0\0\1\xe9\0\0"), "LATIN1", 0, NULL, "\xc3\xa9", 1},
    {"broken SJIS", BIND("\0\0\0\1\0\0\0\2\x85\xff\0\0"), "SJIS", 0, "22021", NULL, 0},
};

static void reads_bind(void **state)
{
    const struct row *row = *state;
    PK_AUTO_PTR(pk_portal_free) pk_portal *portal = pk_portal_new();
    pk_error err;
    bool right = pk_extended_read_bind(row->message, row->encoding, row->columns, portal, &err);
    if (row->sqlstate != NULL) {
        assert_false(right);
        assert_string_equal(err.sqlstate, row->sqlstate);
        return;
    }
    assert_true(right);
    assert_int_equal(portal->value_count, row->count);
    assert_true(pk_span_equal(pk_buf_span(&portal->bytes), pk_span_of(row->values)));
}

static void lengths_and_formats_are_kept(void **state)
{
    PK_AUTO_PTR(pk_portal_free) pk_portal *portal = pk_portal_new();
    pk_error err;
    (void)state;
    assert_true(pk_extended_read_bind(
        (pk_span)BIND("\0\0\0\3\0\0\0\1\xe9\xff\xff\xff\xff\0\0\0\0\0\2\0\1\0\0"), "LATIN1", 2,
        portal, &err));
    assert_int_equal(portal->lengths[0], 2);
    assert_int_equal(portal->lengths[1], UINT32_MAX);
    assert_int_equal(portal->lengths[2], 0);
    assert_int_equal(portal->format_count, 2);
    assert_int_equal(portal->formats[0], 1);
    assert_int_equal(portal->formats[1], 0);
}

static void the_servers_bind_has_no_values(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(64);
    const pk_targets targets = {.portal = PK_SPAN("p"), .statement = PK_SPAN("s")};
    (void)state;
    assert_true(pk_extended_null_bind(&out, &targets, 2));
    static const char wanted[] = "B\0\0\0\x16p\0s\0\0\0\0\2\xff\xff\xff\xff\xff\xff\xff\xff\0\0";
    assert_int_equal(pk_buf_span(&out).len, sizeof wanted - 1);
    assert_memory_equal(pk_buf_span(&out).ptr, wanted, sizeof wanted - 1);
}

static void types_that_are_text(void **state)
{
    pk_error err;
    pk_parse_message parse;
    (void)state;
    assert_true(pk_extended_read_parse(MESSAGE("P\0\0\0\0s\0x\0\0\2\0\0\0\0\0\0\4\x13"), &parse));
    assert_int_equal(parse.type_count, 2);
    assert_true(pk_extended_check_types(&parse, &err));
    assert_true(pk_extended_read_parse(MESSAGE("P\0\0\0\0s\0x\0\0\1\0\0\0\x17"), &parse));
    assert_false(pk_extended_check_types(&parse, &err));
    assert_string_equal(err.sqlstate, PK_E_DATATYPE);
    assert_false(pk_extended_read_parse(MESSAGE("P\0\0\0\0s\0x\0\0\2\0\0\0\x17"), &parse));
    assert_false(pk_extended_read_parse(MESSAGE("P\0\0\0\0s\0x\0\0\0y"), &parse));
}

static void only_the_stand_in_proves_itself(void **state)
{
    (void)state;
    assert_true(pk_extended_is_row(MESSAGE("D\0\0\0\x0b\0\1\0\0\0\1N"), "N"));
    assert_false(pk_extended_is_row(MESSAGE("D\0\0\0\x0b\0\1\0\0\0\1M"), "N"));
    assert_false(pk_extended_is_row(MESSAGE("D\0\0\0\x0b\0\2\0\0\0\1N\xff\xff\xff\xff"), "N"));
    assert_false(pk_extended_is_row(MESSAGE("D\0\0\0\x0a\0\1\xff\xff\xff\xff"), "N"));
    assert_false(pk_extended_is_row(MESSAGE("D\0\0\0\x06\0\0"), "N"));
    assert_true(pk_extended_is_column(MESSAGE("T\0\0\0\x08\0\1N\0"), "N"));
    assert_false(pk_extended_is_column(MESSAGE("T\0\0\0\x08\0\2N\0"), "N"));
    assert_false(pk_extended_is_column(MESSAGE("T\0\0\0\x08\0\1NN"), "N"));
    assert_false(pk_extended_is_column(MESSAGE("T\0\0\0\x08\0\1M\0"), "N"));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, names_of_each_message);
    PK_SUITE_TEST(&suite, a_name_that_is_not_all_there);
    PK_SUITE_TEST(&suite, the_stand_in_refers_to_every_parameter);
    PK_SUITE_TEST(&suite, row_limits);
    PK_SUITE_ROWS(&suite, rows, reads_bind);
    PK_SUITE_TEST(&suite, lengths_and_formats_are_kept);
    PK_SUITE_TEST(&suite, the_servers_bind_has_no_values);
    PK_SUITE_TEST(&suite, types_that_are_text);
    PK_SUITE_TEST(&suite, only_the_stand_in_proves_itself);
    return pk_suite_run(&suite, "extended");
}
