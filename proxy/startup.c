/*
 * The server answers a packet of impossible length by closing without a word; we say 08P01 first,
 * which every client prints. An unsupported version and a packet without its terminator get the
 * server's own texts. User, database and `replication` are read, nothing is changed, except that
 * options named
 * `_pq_.*` and minor versions above ours are not passed on: they could alter the framing.
 */
#include "proxy/startup.h"

#include <strings.h>

#define CODE_CANCEL 80877102u
#define CODE_SSL    80877103u
#define CODE_GSS    80877104u

#define TLS_HANDSHAKE 0x16

/* PostgreSQL's parse_bool: any unambiguous prefix of false, no, off; or 0. */
static bool means_no(pk_span value)
{
    static const char *const words[] = {"false", "no", "off"};
    if (value.len == 1 && value.ptr[0] == '0')
        return true;
    for (size_t i = 0; i < PK_COUNT(words); i++) {
        size_t shortest = words[i][0] == 'o' ? 2 : 1; /* "o" could be on */
        if (value.len >= shortest && value.len <= strlen(words[i]) &&
            strncasecmp(value.ptr, words[i], value.len) == 0)
            return true;
    }
    return false;
}

static void note_option(pk_startup *startup, pk_span name, pk_span value)
{
    if (pk_span_equal(name, PK_SPAN("user")))
        startup->user = value;
    else if (pk_span_equal(name, PK_SPAN("database")))
        startup->database = value;
    else if (pk_span_equal(name, PK_SPAN("replication")))
        startup->walsender = !means_no(value);
    else if (pk_span_starts_with(name, PK_SPAN("_pq_.")))
        startup->rewrite = true;
}

static pk_first_packet parse_options(pk_span body, pk_startup *startup, pk_error *err)
{
    pk_reader reader = {.rest = body};
    for (;;) {
        pk_span name = pk_read_text(&reader);
        if (reader.bad || name.len == 0)
            break;
        pk_span value = pk_read_text(&reader);
        if (!reader.bad)
            note_option(startup, name, value);
    }
    if (reader.bad || reader.rest.len != 0) {
        (void)pk_fail(err, PK_E_PROTOCOL,
                      "invalid startup packet layout: expected terminator as last byte");
        return PK_FIRST_BAD;
    }
    if (startup->database.len == 0)
        startup->database = startup->user;
    return PK_FIRST_STARTUP;
}

static pk_first_packet parse_version(pk_span packet, pk_startup *startup, pk_error *err)
{
    if (startup->version >> 16 != 3) {
        (void)pk_fail(err, PK_E_UNSUPPORTED,
                      "unsupported frontend protocol %u.%u: server supports 3.0 to 3.2",
                      (unsigned)(startup->version >> 16), (unsigned)(startup->version & 0xffff));
        return PK_FIRST_BAD;
    }
    startup->rewrite = startup->version > PK_VERSION_NEWEST;
    return parse_options((pk_span){packet.ptr + 8, packet.len - 8}, startup, err);
}

static pk_first_packet bad_length(pk_error *err)
{
    (void)pk_fail(err, PK_E_PROTOCOL, "invalid length of startup packet");
    return PK_FIRST_BAD;
}

static pk_first_packet parse_cancel(pk_span packet, pk_startup *startup, pk_error *err)
{
    if (packet.len < 16 || packet.len > 12 + 256)
        return bad_length(err);
    startup->pid = pk_wire_u32(packet.ptr + 8);
    startup->key = (pk_span){packet.ptr + 12, packet.len - 12};
    return PK_FIRST_CANCEL;
}

pk_first_packet pk_startup_parse(pk_span bytes, pk_startup *startup, pk_error *err)
{
    *startup = (pk_startup){.size = 4, .user = PK_SPAN(""), .database = PK_SPAN("")};
    if (bytes.len > 0 && bytes.ptr[0] == TLS_HANDSHAKE)
        return PK_FIRST_TLS;
    if (bytes.len < 4)
        return PK_FIRST_MORE;
    uint32_t length = pk_wire_u32(bytes.ptr);
    if (length < 8 || length > PK_STARTUP_MAX)
        return bad_length(err);
    startup->size = length;
    if (bytes.len < length)
        return PK_FIRST_MORE;

    pk_span packet = {bytes.ptr, length};
    startup->version = pk_wire_u32(bytes.ptr + 4);
    switch (startup->version) {
    case CODE_SSL:
        return length == 8 ? PK_FIRST_SSL_REQUEST : bad_length(err);
    case CODE_GSS:
        return length == 8 ? PK_FIRST_GSS_REQUEST : bad_length(err);
    case CODE_CANCEL:
        return parse_cancel(packet, startup, err);
    default:
        return parse_version(packet, startup, err);
    }
}

/* A packet begins with its length instead of a type: written as a message, its type cut off. */
static bool end_packet(pk_writer *writer, pk_buf *scratch, pk_buf *out, pk_error *err)
{
    pk_write_end(writer);
    if (writer->failed)
        return pk_fail(err, PK_E_MEMORY, "out of memory");
    pk_buf_consume(scratch, 1);
    return pk_buf_append_span(out, pk_buf_span(scratch), err);
}

bool pk_startup_rewrite(pk_span packet, pk_buf *out, pk_buf *removed, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf scratch = PK_BUF_MAX(PK_STARTUP_MAX + 512);
    pk_writer writer = {.out = &scratch};
    pk_writer left_out = {.out = removed};
    pk_reader reader = {.rest = {packet.ptr + 8, packet.len - 8}};
    uint32_t version = pk_wire_u32(packet.ptr + 4);

    pk_write_begin(&writer, ' ');
    pk_write_u32(&writer, version > PK_VERSION_NEWEST ? PK_VERSION_NEWEST : version);
    for (pk_span name = pk_read_text(&reader); name.len > 0; name = pk_read_text(&reader)) {
        pk_span value = pk_read_text(&reader);
        if (pk_span_starts_with(name, PK_SPAN("_pq_."))) {
            pk_write_text(&left_out, name);
            continue;
        }
        pk_write_text(&writer, name);
        pk_write_text(&writer, value);
    }
    pk_write_u8(&writer, 0);
    if (left_out.failed)
        return pk_fail(err, PK_E_MEMORY, "out of memory");
    return end_packet(&writer, &scratch, out, err);
}

static uint32_t count_names(pk_span names)
{
    uint32_t count = 0;
    for (size_t i = 0; i < names.len; i++)
        count += names.ptr[i] == 0;
    return count;
}

bool pk_startup_negotiated(pk_span theirs, uint32_t version, pk_span removed, pk_buf *out,
                           pk_error *err)
{
    pk_writer writer = {.out = out};
    uint32_t newest = version > PK_VERSION_NEWEST ? PK_VERSION_NEWEST : version;
    uint32_t count = 0;
    pk_span names = PK_SPAN("");
    if (theirs.len > 0) {
        pk_reader reader = {.rest = {theirs.ptr + PK_WIRE_HEADER, theirs.len - PK_WIRE_HEADER}};
        uint32_t said = pk_read_u32(&reader);
        count = pk_read_u32(&reader);
        names = reader.rest;
        if (reader.bad || count != count_names(names))
            return pk_fail(err, PK_E_PROTOCOL, "the server negotiates in a way that is unknown");
        newest = said < PK_VERSION_NEWEST ? said : PK_VERSION_NEWEST;
    }
    pk_write_begin(&writer, 'v');
    pk_write_u32(&writer, newest);
    pk_write_u32(&writer, count + count_names(removed));
    pk_write_bytes(&writer, names);
    pk_write_bytes(&writer, removed);
    pk_write_end(&writer);
    return !writer.failed || pk_fail(err, PK_E_MEMORY, "out of memory");
}
