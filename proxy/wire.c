/*
 * The limits are those of PostgreSQL's SocketBackend and pq_getmessage (wire-protocol 1): a type we
 * do not know or a length outside the limit means that the stream is no longer understood, so there
 * is nothing to skip to. The length is compared as uint32_t and only then widened: adding the type
 * byte first is how PgBouncer's CVE-2026-6664 came about.
 */
#include "proxy/wire.h"

#define SMALL 10000u
#define LARGE 0x3ffffffeu /* PostgreSQL's PQ_LARGE_MESSAGE_LIMIT, 1 GiB - 2 */

const uint32_t pk_wire_client_limits[256] = {
    ['X'] = SMALL, ['C'] = SMALL,
    ['D'] = SMALL, ['E'] = SMALL,
    ['H'] = SMALL, ['S'] = SMALL,
    ['c'] = SMALL, ['f'] = SMALL,
    ['Q'] = LARGE, ['P'] = LARGE,
    ['B'] = LARGE, ['F'] = LARGE,
    ['d'] = LARGE, ['p'] = PK_WIRE_PASSWORD_MAX,
};

static pk_framing framed(pk_span bytes, uint32_t limit, pk_header *header)
{
    uint32_t length = pk_wire_u32(bytes.ptr + 1);
    if (!pk_wire_is_length(length, limit))
        return PK_FRAMING_BAD_LENGTH;
    *header = (pk_header){bytes.ptr[0], (size_t)length + 1};
    return PK_FRAMING_OK;
}

pk_framing pk_wire_client(pk_span bytes, pk_header *header)
{
    if (bytes.len == 0)
        return PK_FRAMING_MORE;
    uint32_t limit = pk_wire_client_limits[(unsigned char)bytes.ptr[0]];
    if (limit == 0)
        return PK_FRAMING_BAD_TYPE;
    return bytes.len < PK_WIRE_HEADER ? PK_FRAMING_MORE : framed(bytes, limit, header);
}

pk_framing pk_wire_server(pk_span bytes, pk_header *header)
{
    if (bytes.len == 0)
        return PK_FRAMING_MORE;
    /* A newer server may have types we do not know; all of them are printable. */
    if (bytes.ptr[0] <= ' ' || bytes.ptr[0] > '~')
        return PK_FRAMING_BAD_TYPE;
    return bytes.len < PK_WIRE_HEADER ? PK_FRAMING_MORE
                                      : framed(bytes, PK_WIRE_SERVER_LIMIT, header);
}

pk_span pk_read_bytes(pk_reader *reader, size_t len)
{
    if (reader->bad || reader->rest.len < len) {
        reader->bad = true;
        return (pk_span){"", 0};
    }
    pk_span bytes = {reader->rest.ptr, len};
    reader->rest = (pk_span){reader->rest.ptr + len, reader->rest.len - len};
    return bytes;
}

pk_span pk_read_text(pk_reader *reader)
{
    const char *end = NULL;
    if (!reader->bad && reader->rest.len > 0)
        end = memchr(reader->rest.ptr, 0, reader->rest.len);
    if (end == NULL) {
        reader->bad = true;
        return (pk_span){"", 0};
    }
    pk_span text = pk_read_bytes(reader, (size_t)(end - reader->rest.ptr));
    (void)pk_read_bytes(reader, 1);
    return text;
}

uint16_t pk_read_u16(pk_reader *reader)
{
    pk_span bytes = pk_read_bytes(reader, 2);
    if (bytes.len < 2)
        return 0;
    return (uint16_t)((unsigned char)bytes.ptr[0] << 8 | (unsigned char)bytes.ptr[1]);
}

uint32_t pk_read_u32(pk_reader *reader)
{
    pk_span bytes = pk_read_bytes(reader, 4);
    return bytes.len < 4 ? 0 : pk_wire_u32(bytes.ptr);
}

void pk_write_bytes(pk_writer *writer, pk_span bytes)
{
    if (!writer->failed)
        writer->failed = !pk_buf_append_span(writer->out, bytes, NULL);
}

void pk_write_u8(pk_writer *writer, uint8_t value)
{
    pk_write_bytes(writer, pk_span_bytes(&value, 1));
}

void pk_write_u16(pk_writer *writer, uint16_t value)
{
    const uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    pk_write_bytes(writer, pk_span_bytes(bytes, sizeof bytes));
}

void pk_write_u32(pk_writer *writer, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value};
    pk_write_bytes(writer, pk_span_bytes(bytes, sizeof bytes));
}

void pk_write_text(pk_writer *writer, pk_span text)
{
    pk_write_bytes(writer, text);
    pk_write_u8(writer, 0);
}

void pk_write_begin(pk_writer *writer, char type)
{
    writer->start = writer->out->filled - writer->out->consumed;
    pk_write_u8(writer, (uint8_t)type);
    pk_write_u32(writer, 0);
}

void pk_write_end(pk_writer *writer)
{
    if (writer->failed)
        return;
    pk_buf *out = writer->out;
    char *message = out->block + out->consumed + writer->start;
    uint32_t length = (uint32_t)((size_t)(out->block + out->filled - message) - 1);
    message[1] = (char)(length >> 24);
    message[2] = (char)(length >> 16);
    message[3] = (char)(length >> 8);
    message[4] = (char)length;
}
