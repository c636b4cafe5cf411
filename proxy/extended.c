/*
 * The stand-in refers to every parameter, so that the server counts and types them as we do, and
 * works when all of them are NULL. A client's values never go to the server: it may log them
 * (log_parameter_max_length, log_statement).
 */
#include "proxy/extended.h"

#include "base/utf8.h"
#include "proxy/encoding.h"

#include <string.h>

/* pg_type.dat: none, name, text, unknown, bpchar, varchar */
static const uint32_t text_types[] = {0, 19, 25, 705, 1042, 1043};

static pk_reader body_of(pk_span message)
{
    return (pk_reader){.rest = {message.ptr + PK_WIRE_HEADER, message.len - PK_WIRE_HEADER}};
}

bool pk_extended_targets(char type, pk_span bytes, pk_targets *targets)
{
    pk_reader reader = body_of(bytes);
    *targets = (pk_targets){{NULL, 0}, {NULL, 0}};
    if (type == 'P') {
        targets->statement = pk_read_text(&reader);
    } else if (type == 'E') {
        targets->portal = pk_read_text(&reader);
    } else if (type == 'B') {
        targets->portal = pk_read_text(&reader);
        targets->statement = pk_read_text(&reader);
    } else { /* Describe, Close */
        pk_span what = pk_read_bytes(&reader, 1);
        pk_span name = pk_read_text(&reader);
        if (!reader.bad && what.ptr[0] == 'S')
            targets->statement = name;
        else if (!reader.bad && what.ptr[0] == 'P')
            targets->portal = name;
    }
    return !reader.bad;
}

/* ---- Parse ---- */

bool pk_extended_read_parse(pk_span message, pk_parse_message *parse)
{
    pk_reader reader = body_of(message);
    parse->name = pk_read_text(&reader);
    parse->text = pk_read_text(&reader);
    parse->type_count = pk_read_u16(&reader);
    parse->types = pk_read_bytes(&reader, (size_t)parse->type_count * 4);
    return !reader.bad && reader.rest.len == 0;
}

bool pk_extended_check_types(const pk_parse_message *parse, pk_error *err)
{
    for (unsigned i = 0; i < parse->type_count; i++) {
        uint32_t type = pk_wire_u32(parse->types.ptr + (size_t)i * 4);
        bool text = false;
        for (size_t k = 0; k < PK_COUNT(text_types); k++)
            text = text || type == text_types[k];
        if (text)
            continue;
        (void)pk_fail(err, PK_E_DATATYPE,
                      "parameter $%u of a statement of pgkeep must be text, not of type %u", i + 1,
                      type);
        return pk_error_hint(err, "Declare it as text, or leave its type open.");
    }
    return true;
}

static void write_span(pk_writer *writer, const char *text)
{
    pk_write_bytes(writer, pk_span_of(text));
}

static void write_parameters(pk_writer *writer, uint32_t count)
{
    PK_AUTO(pk_buf_clear) pk_buf list = PK_BUF_MAX((size_t)40 * PK_PARAMETERS_MAX);
    for (uint32_t i = 1; i <= count && !writer->failed; i++)
        writer->failed = !pk_buf_printf(&list, NULL, "%s$%u::pg_catalog.text",
                                        i == 1 ? " FROM (SELECT " : ", ", i);
    pk_write_bytes(writer, pk_buf_span(&list));
    if (count > 0)
        write_span(writer, ") _");
}

bool pk_extended_stand_in(pk_buf *out, const pk_parse_message *parse, const char *nonce,
                          const char *comment, uint32_t parameters)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'P');
    pk_write_text(&writer, parse->name);
    write_span(&writer, "SELECT '");
    write_span(&writer, nonce);
    write_span(&writer, "' AS \"");
    write_span(&writer, nonce);
    write_span(&writer, "\"");
    write_parameters(&writer, parameters);
    write_span(&writer, " /* pgkeep: ");
    write_span(&writer, comment);
    pk_write_text(&writer, PK_SPAN(" */"));
    pk_write_u16(&writer, parse->type_count);
    pk_write_bytes(&writer, parse->types);
    pk_write_end(&writer);
    return !writer.failed;
}

/* ---- Execute ---- */

uint32_t pk_extended_row_limit(pk_span message)
{
    pk_reader reader = body_of(message);
    (void)pk_read_text(&reader);
    uint32_t limit = pk_read_u32(&reader);
    return limit > INT32_MAX ? 0 : limit; /* negative: as the server takes it */
}

/* ---- Bind ---- */

/* One of the two lists of format codes. */
static pk_span read_formats(pk_reader *reader, uint16_t *count)
{
    *count = pk_read_u16(reader);
    return pk_read_bytes(reader, (size_t)*count * 2);
}

static bool check_formats(pk_span codes, pk_error *err)
{
    pk_reader reader = {.rest = codes};
    while (reader.rest.len > 0) {
        unsigned code = pk_read_u16(&reader);
        if (code > 1)
            return pk_fail(err, PK_E_PARAMETER, "unsupported format code: %u", code);
    }
    return true;
}

static bool no_text(unsigned n, const char *encoding, pk_error *err)
{
    return pk_fail(err, PK_E_CHARACTERS,
                   "invalid byte sequence for encoding \"%s\" in parameter $%u", encoding, n);
}

static bool take_value(pk_span value, unsigned n, const char *encoding, pk_buf *out, pk_error *err)
{
    if (value.len > 0 && memchr(value.ptr, 0, value.len) != NULL)
        return no_text(n, encoding, err);
    if (!pk_encoding_is_plain(encoding, value)) {
        switch (pk_encoding_to_utf8(encoding, value, false, out)) {
        case PK_ENCODING_OK:
            return true;
        case PK_ENCODING_BAD:
            return no_text(n, encoding, err);
        case PK_ENCODING_NO_ROOM:
            return pk_fail(err, PK_E_MEMORY, "out of memory");
        case PK_ENCODING_UNKNOWN: /* MULE_INTERNAL: as it is */
            break;
        }
    }
    /* SQL_ASCII: the server would not look either, but what names files and keys is UTF-8. */
    if (!pk_utf8_is(value, NULL))
        return no_text(n, encoding, err);
    return pk_buf_append_span(out, value, err);
}

static bool read_values(pk_reader *reader, const char *encoding, pk_portal *portal, pk_error *err)
{
    portal->value_count = pk_read_u16(reader);
    if (reader->bad)
        return true; /* said at the end */
    if (portal->value_count > PK_PARAMETERS_MAX)
        return pk_fail(err, PK_E_PROTOCOL,
                       "bind message supplies %u parameters, a statement of pgkeep has at most %u",
                       (unsigned)portal->value_count, PK_PARAMETERS_MAX);
    portal->lengths = pk_new_bytes(((size_t)portal->value_count + 1) * sizeof portal->lengths[0]);
    for (unsigned i = 0; i < portal->value_count; i++) {
        uint32_t len = pk_read_u32(reader);
        portal->lengths[i] = UINT32_MAX;
        if (len == UINT32_MAX)
            continue;
        pk_span value = pk_read_bytes(reader, len);
        size_t before = pk_buf_span(&portal->bytes).len;
        if (!take_value(value, i + 1, encoding, &portal->bytes, err))
            return false;
        portal->lengths[i] = (uint32_t)(pk_buf_span(&portal->bytes).len - before);
    }
    return true;
}

static bool keep_formats(pk_portal *portal, pk_span codes, uint16_t count, size_t columns,
                         pk_error *err)
{
    if (count > 1 && count != columns)
        return pk_fail(err, PK_E_PROTOCOL,
                       "bind message has %u result formats but query has %zu columns",
                       (unsigned)count, columns);
    pk_reader reader = {.rest = codes};
    portal->formats = pk_new_bytes(((size_t)count + 1) * sizeof portal->formats[0]);
    portal->format_count = count;
    for (unsigned i = 0; i < count; i++)
        portal->formats[i] = pk_read_u16(&reader);
    return true;
}

bool pk_extended_read_bind(pk_span message, const char *encoding, size_t columns, pk_portal *portal,
                           pk_error *err)
{
    uint16_t given;
    uint16_t wanted;
    pk_reader reader = body_of(message);
    (void)pk_read_text(&reader);
    (void)pk_read_text(&reader);
    /* Text types are the same bytes in both formats, so the codes only have to be right. */
    pk_span codes = read_formats(&reader, &given);
    if (!read_values(&reader, encoding, portal, err))
        return false;
    pk_span results = read_formats(&reader, &wanted);
    if (reader.bad || reader.rest.len > 0)
        return pk_fail(err, PK_E_PROTOCOL, "invalid message format");
    if (given > 1 && given != portal->value_count)
        return pk_fail(err, PK_E_PROTOCOL,
                       "bind message has %u parameter formats but %u parameters", (unsigned)given,
                       (unsigned)portal->value_count);
    return check_formats(codes, err) && check_formats(results, err) &&
           keep_formats(portal, results, wanted, columns, err);
}

bool pk_extended_null_bind(pk_buf *out, const pk_targets *targets, uint16_t values)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'B');
    pk_write_text(&writer, targets->portal);
    pk_write_text(&writer, targets->statement);
    pk_write_u16(&writer, 0);
    pk_write_u16(&writer, values);
    for (unsigned i = 0; i < values; i++)
        pk_write_u32(&writer, UINT32_MAX);
    pk_write_u16(&writer, 0);
    pk_write_end(&writer);
    return !writer.failed;
}

/* ---- Describe, Close ---- */

static bool about_statement(pk_buf *out, char type, pk_span statement)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, type);
    pk_write_u8(&writer, 'S');
    pk_write_text(&writer, statement);
    pk_write_end(&writer);
    return !writer.failed;
}

bool pk_extended_describe(pk_buf *out, pk_span statement)
{
    return about_statement(out, 'D', statement);
}

bool pk_extended_close(pk_buf *out, pk_span statement)
{
    return about_statement(out, 'C', statement);
}

/* ---- from the server ---- */

bool pk_extended_is_column(pk_span message, const char *nonce)
{
    pk_reader reader = body_of(message);
    uint16_t columns = pk_read_u16(&reader);
    pk_span name = pk_read_text(&reader);
    return columns == 1 && !reader.bad && pk_span_equal(name, pk_span_of(nonce));
}

bool pk_extended_is_row(pk_span message, const char *nonce)
{
    pk_reader reader = body_of(message);
    uint16_t columns = pk_read_u16(&reader);
    uint32_t len = pk_read_u32(&reader);
    pk_span value = pk_read_bytes(&reader, len);
    return columns == 1 && !reader.bad && pk_span_equal(value, pk_span_of(nonce));
}
