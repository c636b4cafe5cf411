/*
 * ErrorResponse carries S, V, C, M and what there is of D, H, P (wire-protocol 6.2), no file, line
 * or routine: those go to our log. The tag has no row count except for SHOW-like statements, whose
 * tag carries none either: clients that parse counts stumble over foreign ones.
 */
#include "proxy/reply.h"

#include "proxy/binary.h"
#include "proxy/encoding.h"

#include <stdio.h>

static void write_field(pk_writer *writer, const char *encoding, char code, const char *text)
{
    if (text == NULL || text[0] == 0)
        return;
    pk_write_u8(writer, (uint8_t)code);
    if (!writer->failed)
        writer->failed = !pk_encoding_from_utf8(encoding, pk_span_of(text), writer->out, NULL);
    pk_write_u8(writer, 0);
}

bool pk_reply_error(pk_buf *out, const char *encoding, const pk_error *error, bool fatal)
{
    pk_writer writer = {.out = out};
    const char *severity = fatal ? "FATAL" : "ERROR";
    char position[16] = "";
    if (error->position > 0)
        (void)snprintf(position, sizeof position, "%u", (unsigned)error->position);

    pk_write_begin(&writer, 'E');
    write_field(&writer, encoding, 'S', severity);
    write_field(&writer, encoding, 'V', severity);
    write_field(&writer, encoding, 'C', error->sqlstate);
    write_field(&writer, encoding, 'M', error->message);
    write_field(&writer, encoding, 'D', error->detail);
    write_field(&writer, encoding, 'H', error->hint);
    write_field(&writer, encoding, 'P', position);
    pk_write_u8(&writer, 0);
    pk_write_end(&writer);
    return !writer.failed;
}

static void write_notice(pk_writer *writer, const char *encoding, const pk_notice *notice)
{
    static const char *const severities[] = {
        [PK_NOTICE] = "NOTICE", [PK_WARNING] = "WARNING", [PK_INFO] = "INFO"};
    const char *severity = severities[notice->severity];

    pk_write_begin(writer, 'N');
    write_field(writer, encoding, 'S', severity);
    write_field(writer, encoding, 'V', severity);
    write_field(writer, encoding, 'C', notice->sqlstate);
    write_field(writer, encoding, 'M', notice->message);
    write_field(writer, encoding, 'D', notice->detail);
    write_field(writer, encoding, 'H', notice->hint);
    pk_write_u8(writer, 0);
    pk_write_end(writer);
}

static uint16_t type_length(pk_type type)
{
    switch (type) {
    case PK_TYPE_BOOL:
        return 1;
    case PK_TYPE_INT4:
        return 4;
    case PK_TYPE_INT8:
    case PK_TYPE_TIMESTAMPTZ:
        return 8;
    case PK_TYPE_UUID:
        return 16;
    case PK_TYPE_TEXT:
        break;
    }
    return UINT16_MAX; /* -1: variable */
}

static uint16_t format_of(pk_formats formats, size_t column)
{
    if (formats.count == 0)
        return 0;
    return formats.codes[formats.count == 1 ? 0 : column];
}

bool pk_reply_columns(pk_buf *out, const pk_column *columns, size_t count, pk_formats formats)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'T');
    pk_write_u16(&writer, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        pk_write_text(&writer, pk_span_of(columns[i].name));
        pk_write_u32(&writer, 0); /* of no table */
        pk_write_u16(&writer, 0);
        pk_write_u32(&writer, (uint32_t)columns[i].type);
        pk_write_u16(&writer, type_length(columns[i].type));
        pk_write_u32(&writer, UINT32_MAX); /* no type modifier */
        pk_write_u16(&writer, format_of(formats, i));
    }
    pk_write_end(&writer);
    return !writer.failed;
}

static void write_value(pk_writer *writer, const char *encoding, const char *value)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX((size_t)2 * PK_RESULT_MAX);
    if (!pk_encoding_from_utf8(encoding, pk_span_of(value), &text, NULL))
        writer->failed = true;
    pk_write_u32(writer, (uint32_t)pk_buf_span(&text).len);
    pk_write_bytes(writer, pk_buf_span(&text));
}

bool pk_reply_row(pk_buf *out, const char *encoding, const pk_result *result, const pk_row *row,
                  pk_formats formats)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'D');
    pk_write_u16(&writer, (uint16_t)result->column_count);
    for (size_t i = 0; i < result->column_count; i++) {
        if (row->values[i] == NULL)
            pk_write_u32(&writer, UINT32_MAX);
        else if (format_of(formats, i) == 0 || result->columns[i].type == PK_TYPE_TEXT)
            write_value(&writer, encoding, row->values[i]);
        else
            pk_binary_write(&writer, result->columns[i].type, row->values[i]);
    }
    pk_write_end(&writer);
    return !writer.failed;
}

bool pk_reply_notices(pk_buf *out, const char *encoding, const pk_result *result)
{
    pk_writer writer = {.out = out};
    for (const pk_notice *notice = result->notices; notice != NULL; notice = notice->next)
        write_notice(&writer, encoding, notice);
    return !writer.failed;
}

bool pk_reply_tag(pk_buf *out, const char *tag)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'C');
    pk_write_text(&writer, pk_span_of(tag == NULL ? "" : tag));
    pk_write_end(&writer);
    return !writer.failed;
}

bool pk_reply_result(pk_buf *out, const char *encoding, const pk_result *result)
{
    if (!pk_reply_notices(out, encoding, result))
        return false;
    if (result->failed)
        return true;
    if (result->columns != NULL) {
        if (!pk_reply_columns(out, result->columns, result->column_count, PK_FORMATS_TEXT))
            return false;
        for (const pk_row *row = result->rows; row != NULL; row = row->next)
            if (!pk_reply_row(out, encoding, result, row, PK_FORMATS_TEXT))
                return false;
    }
    return pk_reply_tag(out, result->tag);
}

bool pk_reply_ready(pk_buf *out, char status)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'Z');
    pk_write_u8(&writer, (uint8_t)status);
    pk_write_end(&writer);
    return !writer.failed;
}

bool pk_reply_query(pk_buf *out, const char *sql)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'Q');
    pk_write_text(&writer, pk_span_of(sql));
    pk_write_end(&writer);
    return !writer.failed;
}

bool pk_reply_execute(pk_buf *out, const char *portal)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, 'E');
    pk_write_text(&writer, pk_span_of(portal));
    pk_write_u32(&writer, 0);
    pk_write_end(&writer);
    return !writer.failed;
}

bool pk_reply_empty(pk_buf *out, char type)
{
    pk_writer writer = {.out = out};
    pk_write_begin(&writer, type);
    pk_write_end(&writer);
    return !writer.failed;
}
