/*
 * The few rules of PostgreSQL's lexer that decide where things end, written by hand over bytes.
 * Each follows a definition of scan.l, named beside it. test_mask.c holds them against libpg_query.
 */
#include "parser/scan.h"

static bool at_pair(pk_span text, size_t at, char first, char second)
{
    return at + 1 < text.len && text.ptr[at] == first && text.ptr[at + 1] == second;
}

size_t pk_scan_wide_blank(pk_span text, size_t at)
{
    const unsigned char *c = (const unsigned char *)text.ptr + at;
    size_t left = text.len - at;
    if (left == 0 || c[0] < 0xc2)
        return 0;
    if (left >= 2 && c[0] == 0xc2 && c[1] == 0xa0)
        return 2;
    if (left < 3)
        return 0;
    bool of_2000 = c[0] == 0xe2 && c[1] == 0x80 && /* U+2000 to 200B, 2028, 2029, 202F */
                   (c[2] <= 0x8b || c[2] == 0xa8 || c[2] == 0xa9 || c[2] == 0xaf);
    bool ideographic = c[0] == 0xe3 && c[1] == 0x80 && c[2] == 0x80;
    bool order_mark = c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf;
    return of_2000 || ideographic || order_mark ? 3 : 0;
}

/* {identifier} */
size_t pk_scan_word(pk_span text, size_t at)
{
    while (at < text.len && pk_char_is_word(text.ptr[at]) && pk_scan_wide_blank(text, at) == 0)
        at++;
    return at;
}

static size_t skip_digits(pk_span text, size_t at)
{
    while (at < text.len && pk_char_is_digit(text.ptr[at]))
        at++;
    return at;
}

/* {decinteger}, {decimal}, {real}; {decimalfail}: the two dots of `1..10` are no part of it. */
size_t pk_scan_number(pk_span text, size_t at)
{
    at = skip_digits(text, at);
    if (at < text.len && text.ptr[at] == '.' && !at_pair(text, at, '.', '.'))
        at = skip_digits(text, at + 1);
    if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
        size_t digits = at + 1;
        if (digits < text.len && (text.ptr[digits] == '+' || text.ptr[digits] == '-'))
            digits++;
        size_t end = skip_digits(text, digits);
        if (end > digits)
            at = end;
    }
    return at;
}

/* {comment} */
static size_t skip_line_comment(pk_span text, size_t at)
{
    while (at < text.len && !pk_char_is_newline(text.ptr[at]))
        at++;
    return at;
}

/* State xc: comments nest. */
static size_t skip_block_comment(pk_span text, size_t at, bool *closed)
{
    size_t depth = 0;
    while (at + 1 < text.len) {
        if (at_pair(text, at, '/', '*')) {
            depth++;
            at += 2;
        } else if (at_pair(text, at, '*', '/')) {
            depth--;
            at += 2;
            if (depth == 0)
                return at;
        } else {
            at++;
        }
    }
    *closed = false;
    return text.len;
}

size_t pk_scan_gap(pk_span text, size_t at)
{
    bool closed = true;
    while (at < text.len) {
        if (pk_char_is_blank(text.ptr[at]))
            at++;
        else if (at_pair(text, at, '-', '-'))
            at = skip_line_comment(text, at);
        else if (at_pair(text, at, '/', '*'))
            at = skip_block_comment(text, at, &closed);
        else if (pk_scan_wide_blank(text, at) > 0)
            at += pk_scan_wide_blank(text, at);
        else
            break;
    }
    return at;
}

size_t pk_scan_quoted(pk_span text, size_t at, bool doubled, bool backslash, bool *closed)
{
    char quote = text.ptr[at - 1];
    while (at < text.len) {
        char c = text.ptr[at++];
        bool more = at < text.len;
        bool escapes = c == '\\' && backslash && more;
        bool doubles = c == quote && doubled && more && text.ptr[at] == quote;
        if (escapes || doubles)
            at++;
        else if (c == quote)
            return at;
    }
    *closed = false;
    return text.len;
}

/* {quotecontinue}: blanks and -- comments with at least one line break, then a quote. */
size_t pk_scan_continued(pk_span text, size_t at)
{
    size_t next = at;
    bool line_break = false;
    while (next < text.len) {
        if (pk_char_is_blank(text.ptr[next])) {
            line_break = line_break || pk_char_is_newline(text.ptr[next]);
            next++;
        } else if (at_pair(text, next, '-', '-')) {
            next = skip_line_comment(text, next);
        } else {
            break;
        }
    }
    return line_break && next < text.len && text.ptr[next] == '\'' ? next : at;
}

/* 'x' 'y' over several lines; `open` is the first quote. */
static void scan_string(pk_span text, size_t open, bool doubled, bool backslash, pk_region *region)
{
    region->closed = true;
    region->end = pk_scan_quoted(text, open + 1, doubled, backslash, &region->closed);
    while (region->closed) {
        size_t next = pk_scan_continued(text, region->end);
        if (next == region->end)
            return;
        region->end = pk_scan_quoted(text, next + 1, doubled, backslash, &region->closed);
    }
}

/* {dolqdelim} .. the same again. A tag holds no `$` and does not begin with a digit. */
static bool scan_dollar(pk_span text, size_t at, pk_region *region)
{
    size_t tag = at + 1;
    if (tag < text.len && !pk_char_is_digit(text.ptr[tag]))
        while (tag < text.len && text.ptr[tag] != '$' && pk_char_is_word(text.ptr[tag]))
            tag++;
    if (tag >= text.len || text.ptr[tag] != '$')
        return false;
    size_t len = tag + 1 - at;
    const char *body = text.ptr + tag + 1;
    const char *end = memmem(body, text.len - tag - 1, text.ptr + at, len);
    region->kind = PK_REGION_DOLLAR;
    region->closed = end != NULL;
    region->end = end == NULL ? text.len : (size_t)(end - text.ptr) + len;
    return true;
}

/* A letter in front of a quote: E'' B'' X''. N'' is the word N and a plain string. */
static bool scan_prefixed(pk_span text, size_t at, pk_region *region)
{
    if (at + 1 >= text.len || text.ptr[at + 1] != '\'')
        return false;
    switch (text.ptr[at]) {
    case 'e':
    case 'E':
        region->kind = PK_REGION_ESCAPE;
        scan_string(text, at + 1, true, true, region);
        return true;
    case 'b':
    case 'B':
    case 'x':
    case 'X':
        /* States xb and xh know no doubled quotes. */
        region->kind = PK_REGION_BIT;
        scan_string(text, at + 1, false, false, region);
        return true;
    default:
        return false;
    }
}

static bool scan_name(pk_span text, size_t open, pk_region_kind kind, pk_region *region)
{
    region->kind = kind;
    region->closed = true;
    region->end = pk_scan_quoted(text, open + 1, true, false, &region->closed);
    return true;
}

/* U&'' and U&"" */
static bool scan_unicode(pk_span text, size_t at, pk_region *region)
{
    if (!at_pair(text, at + 1, '&', '\'') && !at_pair(text, at + 1, '&', '"'))
        return false;
    if (text.ptr[at + 2] == '"')
        return scan_name(text, at + 2, PK_REGION_UNICODE_NAME, region);
    region->kind = PK_REGION_UNICODE;
    scan_string(text, at + 2, true, false, region);
    return true;
}

static bool scan_comment(pk_span text, size_t at, pk_region *region)
{
    region->closed = true;
    if (at_pair(text, at, '-', '-')) {
        region->kind = PK_REGION_LINE_COMMENT;
        region->end = skip_line_comment(text, at);
        return true;
    }
    if (at_pair(text, at, '/', '*')) {
        region->kind = PK_REGION_BLOCK_COMMENT;
        region->end = skip_block_comment(text, at, &region->closed);
        return true;
    }
    return false;
}

bool pk_scan_region(pk_span text, size_t at, bool standard_conforming, pk_region *region)
{
    region->start = at;
    switch (text.ptr[at]) {
    case '\'':
        region->kind = PK_REGION_STRING;
        scan_string(text, at, true, !standard_conforming, region);
        return true;
    case '"':
        return scan_name(text, at, PK_REGION_NAME, region);
    case '$':
        return scan_dollar(text, at, region);
    case '-':
    case '/':
        return scan_comment(text, at, region);
    case 'u':
    case 'U':
        return scan_unicode(text, at, region);
    default:
        return scan_prefixed(text, at, region);
    }
}
