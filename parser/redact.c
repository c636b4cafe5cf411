/*
 * Walks through a statement's text from value to value. Values print by their class; what lies
 * between them was matched word by word by its parser, so it is nothing but words and marks of the
 * grammar, blanks and comments. Statements of which only the head is known print only that.
 */
#include "parser/redact.h"

#include "base/uri.h"
#include "parser/scan.h"

static bool append_quoted(pk_span text, pk_buf *out, pk_error *err)
{
    if (!pk_buf_append_text(out, "'", err))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] == '\'' && !pk_buf_append_text(out, "'", err)) ||
            !pk_buf_append(out, text.ptr + i, 1, err))
            return false;
    return pk_buf_append_text(out, "'", err);
}

/* A plain path holds nothing secret; anything else must be a URI whose secret parts are known. */
static bool append_place(pk_span text, pk_buf *out, pk_error *err)
{
    bool path = text.len > 0 && text.ptr[0] == '/' && memchr(text.ptr, '?', text.len) == NULL;
    PK_AUTO(pk_buf_clear) pk_buf shown = PK_BUF_SECRET(text.len * 4 + 1024);
    if (path)
        return pk_path_redact(text, &shown, err) && append_quoted(pk_buf_span(&shown), out, err);
    pk_uri uri;
    pk_error ignored;
    if (!pk_uri_parse(text, &uri, &ignored))
        return pk_buf_append_text(out, "'******'", err);
    return pk_uri_redact(text, &shown, err) && append_quoted(pk_buf_span(&shown), out, err);
}

static bool append_value(const pk_value *value, pk_buf *out, pk_error *err)
{
    if (value->kind == PK_VALUE_PARAM)
        return pk_buf_append_span(out, value->source, err);
    switch (value->class) {
    case PK_CLASS_NAME:
        if (value->kind == PK_VALUE_WORD || pk_char_is_digit(value->source.ptr[0]))
            return pk_buf_append_span(out, value->source, err);
        return append_quoted(value->text, out, err);
    case PK_CLASS_PLACE:
        return append_place(value->text, out, err);
    case PK_CLASS_PASSWORD:
        return pk_buf_append_text(out, "'******'", err);
    case PK_CLASS_OTHER:
        break;
    }
    return pk_buf_append_text(out, "'...'", err);
}

/* Between two values. `first`: nothing is written yet, so no blank in front. */
static bool append_words(pk_span words, bool first, pk_buf *out, pk_error *err)
{
    for (size_t at = 0; at < words.len;) {
        size_t end = pk_scan_gap(words, at);
        if (end > at) {
            if (!first && !pk_buf_append_text(out, " ", err))
                return false;
            at = end;
            continue;
        }
        if (!pk_buf_append(out, words.ptr + at, 1, err))
            return false;
        first = false;
        at++;
    }
    return true;
}

bool pk_redact(const pk_stmt *stmt, pk_buf *out, pk_error *err)
{
    if (stmt->kind == PK_STMT_OTHER)
        return pk_buf_append_text(out, "...", err);
    if (stmt->kind == PK_STMT_UNBUILT)
        return pk_buf_append_text(out, stmt->head, err);

    const char *at = stmt->source.ptr, *end = at + stmt->source.len;
    for (size_t i = 0; i < stmt->value_count; i++) {
        const pk_value *value = &stmt->values[i];
        pk_span words = {at, (size_t)(value->source.ptr - at)};
        if (!append_words(words, i == 0 && words.len == 0, out, err) ||
            !append_value(value, out, err))
            return false;
        at = value->source.ptr + value->source.len;
    }
    return append_words(pk_span_bytes(at, (size_t)(end - at)), false, out, err);
}
