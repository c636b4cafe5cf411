/* Framing: the limits of the server, type by type, and what is written can be read back. */
#include "proxy/wire.h"
#include "table.h"

static const struct header_row {
    const char *name;
    const char *bytes;
    size_t len;
    bool server;
    pk_framing framing;
    size_t size;
} header_rows[] = {
    {"nothing is not enough", "", 0, .framing = PK_FRAMING_MORE},
    {"a type alone is not enough", "Q", 1, .framing = PK_FRAMING_MORE},
    {"four bytes are not enough", "Q\0\0\0", 4, .framing = PK_FRAMING_MORE},
    {"the shortest message", "S\0\0\0\4", 5, .framing = PK_FRAMING_OK, .size = 5},
    {"a length below 4", "S\0\0\0\3", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"a length of 0", "Q\0\0\0\0", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"an unknown type is seen at once", "z", 1, .framing = PK_FRAMING_BAD_TYPE},
    {"a zero type", "\0\0\0\0\4", 5, .framing = PK_FRAMING_BAD_TYPE},
    {"a high type", "\xff\0\0\0\4", 5, .framing = PK_FRAMING_BAD_TYPE},
    {"the longest Sync", "S\0\0\x27\x10", 5, .framing = PK_FRAMING_OK, .size = 10001},
    {"a Sync one longer", "S\0\0\x27\x11", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"the longest Close", "C\0\0\x27\x10", 5, .framing = PK_FRAMING_OK, .size = 10001},
    {"a Describe one longer", "D\0\0\x27\x11", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"an Execute one longer", "E\0\0\x27\x11", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"a Flush one longer", "H\0\0\x27\x11", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"a Terminate one longer", "X\0\0\x27\x11", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"a CopyDone one longer", "c\0\0\x27\x11", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"a CopyFail one longer", "f\0\0\x27\x11", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"the longest password", "p\0\0\xff\xff", 5, .framing = PK_FRAMING_OK, .size = 65536},
    {"a password one longer", "p\0\1\0\0", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"the longest Query", "Q\x3f\xff\xff\xfe", 5, .framing = PK_FRAMING_OK, .size = 0x3fffffff},
    {"a Query one longer", "Q\x3f\xff\xff\xff", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"the longest CopyData", "d\x3f\xff\xff\xfe", 5, .framing = PK_FRAMING_OK, .size = 0x3fffffff},
    {"a Parse of 2 GiB", "P\x80\0\0\0", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"a Bind of 4 GiB", "B\xff\xff\xff\xff", 5, .framing = PK_FRAMING_BAD_LENGTH},
    {"the server may say more", "D\x7f\xff\xff\xff", 5, true, PK_FRAMING_OK, 0x80000000u},
    {"but not 2 GiB", "D\x80\0\0\0", 5, true, PK_FRAMING_BAD_LENGTH, 0},
    {"a type of a newer server", "y\0\0\0\4", 5, true, PK_FRAMING_OK, 5},
    {"a type that is no letter", "\x07\0\0\0\4", 5, true, PK_FRAMING_BAD_TYPE, 0},
    {"a length of 3 from the server", "Z\0\0\0\3", 5, true, PK_FRAMING_BAD_LENGTH, 0},
};

static void header_is_judged(void **state)
{
    const struct header_row *row = *state;
    pk_header header = {0};
    pk_span bytes = {row->bytes, row->len};
    pk_framing framing =
        row->server ? pk_wire_server(bytes, &header) : pk_wire_client(bytes, &header);
    assert_int_equal(framing, row->framing);
    if (framing == PK_FRAMING_OK) {
        assert_int_equal(header.size, row->size);
        assert_int_equal(header.type, row->bytes[0]);
    }
}

static void what_is_written_is_read_back(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    pk_writer writer = {.out = &out};
    pk_header header;
    (void)state;
    pk_write_begin(&writer, 'Z');
    pk_write_u8(&writer, 'I');
    pk_write_end(&writer);
    pk_buf_consume(&out, 6); /* a second message in a buffer that was used before */
    pk_write_begin(&writer, 'D');
    pk_write_u16(&writer, 513);
    pk_write_u32(&writer, 0x01020304);
    pk_write_text(&writer, PK_SPAN("text"));
    pk_write_bytes(&writer, PK_SPAN("\1\2"));
    pk_write_end(&writer);
    assert_false(writer.failed);
    pk_span bytes = pk_buf_span(&out);
    assert_int_equal(pk_wire_server(bytes, &header), PK_FRAMING_OK);
    assert_int_equal(header.size, bytes.len);
    assert_int_equal(header.type, 'D');
    pk_reader reader = {.rest = {bytes.ptr + 5, bytes.len - 5}};
    assert_int_equal(pk_read_u16(&reader), 513);
    assert_int_equal(pk_read_u32(&reader), 0x01020304);
    assert_true(pk_span_equal(pk_read_text(&reader), PK_SPAN("text")));
    assert_true(pk_span_equal(pk_read_bytes(&reader, 2), PK_SPAN("\1\2")));
    assert_false(reader.bad);
    assert_int_equal(reader.rest.len, 0);
}

static void reading_past_the_end_sticks(void **state)
{
    pk_reader reader = {.rest = PK_SPAN("\0\1\2")};
    (void)state;
    assert_int_equal(pk_read_u32(&reader), 0);
    assert_true(reader.bad);
    assert_int_equal(pk_read_u16(&reader), 0);
    assert_int_equal(pk_read_bytes(&reader, 1).len, 0);

    pk_reader text = {.rest = PK_SPAN("no end")};
    assert_int_equal(pk_read_text(&text).len, 0);
    assert_true(text.bad);

    pk_reader empty = {.rest = {NULL, 0}};
    assert_int_equal(pk_read_text(&empty).len, 0);
    assert_true(empty.bad);
}

static void a_full_buffer_fails_the_message(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(8);
    pk_writer writer = {.out = &out};
    (void)state;
    pk_write_begin(&writer, 'C');
    pk_write_text(&writer, PK_SPAN("much too long"));
    pk_write_u32(&writer, 1);
    pk_write_end(&writer);
    assert_true(writer.failed);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, header_rows, header_is_judged);
    PK_SUITE_TEST(&suite, what_is_written_is_read_back);
    PK_SUITE_TEST(&suite, reading_past_the_end_sticks);
    PK_SUITE_TEST(&suite, a_full_buffer_fails_the_message);
    return pk_suite_run(&suite, "wire");
}
