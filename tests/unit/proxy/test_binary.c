/* Binary values, against what PostgreSQL 15 sends for the same text (binary COPY of each). */
#include "proxy/binary.h"
#include "table.h"

static const struct row {
    const char *name, *text;
    pk_type type;
    const char *bytes; /* length and value; NULL: refused */
    size_t len;
} rows[] = {
    {"true", "t", PK_TYPE_BOOL, "\0\0\0\1\1", 5},
    {"false", "f", PK_TYPE_BOOL, "\0\0\0\1\0", 5},
    {"another word for true", "true", PK_TYPE_BOOL, NULL, 0},
    {"int4", "256", PK_TYPE_INT4, "\0\0\0\4\0\0\1\0", 8},
    {"least int4", "-2147483648", PK_TYPE_INT4, "\0\0\0\4\x80\0\0\0", 8},
    {"too large for int4", "2147483648", PK_TYPE_INT4, NULL, 0},
    {"int8", "4294967298", PK_TYPE_INT8, "\0\0\0\x08\0\0\0\1\0\0\0\2", 12},
    {"int8 below zero", "-2", PK_TYPE_INT8, "\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xfe", 12},
    {"too large for int8", "9223372036854775808", PK_TYPE_INT8, NULL, 0},
    {"no number", "12x", PK_TYPE_INT8, NULL, 0},
    {"an empty number", "", PK_TYPE_INT4, NULL, 0},
    {"uuid", "00112233-4455-6677-8899-aabbccddeeff", PK_TYPE_UUID,
     "\0\0\0\x10\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 20},
    {"short uuid", "00112233-4455-6677-8899-aabbccddeef", PK_TYPE_UUID, NULL, 0},
    {"long uuid", "00112233-4455-6677-8899-aabbccddeeff0", PK_TYPE_UUID, NULL, 0},
    {"the epoch", "2000-01-01 00:00:00+00", PK_TYPE_TIMESTAMPTZ, "\0\0\0\x08\0\0\0\0\0\0\0\0", 12},
    {"before the epoch", "1999-12-31 23:59:59.999999+00", PK_TYPE_TIMESTAMPTZ,
     "\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff", 12},
    {"a leap day", "2024-02-29 12:34:56.5+00", PK_TYPE_TIMESTAMPTZ,
     "\0\0\0\x08\x00\x02\xb5\x83\x41\x6e\x1d\x20", 12},
    {"another zone", "2024-02-29 12:34:56+01", PK_TYPE_TIMESTAMPTZ, NULL, 0},
    {"no time", "2024-02-29", PK_TYPE_TIMESTAMPTZ, NULL, 0},
    {"text has no binary form of its own", "x", PK_TYPE_TEXT, NULL, 0},
};

static void writes(void **state)
{
    const struct row *row = *state;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(64);
    pk_writer writer = {.out = &out};
    pk_binary_write(&writer, row->type, row->text);
    assert_int_equal(writer.failed, row->bytes == NULL);
    if (row->bytes == NULL)
        return;
    assert_int_equal(pk_buf_span(&out).len, row->len);
    assert_memory_equal(pk_buf_span(&out).ptr, row->bytes, row->len);
}

int main(void)
{
    return RUN_TABLE(rows, writes);
}
