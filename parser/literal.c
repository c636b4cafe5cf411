/*
 * The value of a literal: libpg_query reports only offsets, and of the masked copy at that. A value
 * that stands in the text as it is, is a span of the text; one that must be put together is built
 * in the arena, so that a password is wiped with its statement. The result is never longer than the
 * source, which is therefore the size of the block.
 *
 * Escapes follow PostgreSQL 15: scan.l for E'', parser.c (str_udeescape) for U&''.
 */
#include "parser/lexer.h"

#include "base/utf8.h"
#include "parser/scan.h"

typedef struct decoder {
    pk_span source; /* from the opening quote on: all pieces, no prefix */
    char *out;
    size_t len;
    uint32_t high;    /* first half of a surrogate pair that waits for the second */
    bool made_bytes;  /* an escape wrote a byte above 0x7f: the whole must still be UTF-8 */
    const char *flaw; /* what is wrong, or NULL */
} decoder;

static void put(decoder *d, char c)
{
    d->out[d->len++] = c;
}

static void put_code_point(decoder *d, uint32_t c)
{
    if (c < 0x80) {
        put(d, (char)c);
    } else if (c < 0x800) {
        put(d, (char)(0xc0 | (c >> 6)));
        put(d, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        put(d, (char)(0xe0 | (c >> 12)));
        put(d, (char)(0x80 | ((c >> 6) & 0x3f)));
        put(d, (char)(0x80 | (c & 0x3f)));
    } else {
        put(d, (char)(0xf0 | (c >> 18)));
        put(d, (char)(0x80 | ((c >> 12) & 0x3f)));
        put(d, (char)(0x80 | ((c >> 6) & 0x3f)));
        put(d, (char)(0x80 | (c & 0x3f)));
    }
}

static int hex_digit(char c)
{
    if (pk_char_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Exactly `count` hex digits at `at`. */
static bool read_hex(pk_span text, size_t at, size_t count, uint32_t *value)
{
    *value = 0;
    if (text.len < at || text.len - at < count)
        return false;
    for (size_t i = at; i < at + count; i++) {
        int digit = hex_digit(text.ptr[i]);
        if (digit < 0)
            return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

/* Code points written as escapes may come as two halves, one directly behind the other. */
static void add_escaped_code_point(decoder *d, uint32_t c)
{
    bool first_half = c >= 0xd800 && c <= 0xdbff;
    bool second_half = c >= 0xdc00 && c <= 0xdfff;
    if (second_half != (d->high != 0)) {
        d->flaw = "invalid Unicode surrogate pair";
    } else if (first_half) {
        d->high = c;
    } else if (second_half) {
        put_code_point(d, 0x10000 + ((d->high - 0xd800) << 10) + (c - 0xdc00));
        d->high = 0;
    } else if (c == 0 || c > 0x10ffff) {
        d->flaw = "invalid Unicode escape value";
    } else {
        put_code_point(d, c);
    }
}

/* Anything but an escaped second half. */
static void add_byte(decoder *d, char c)
{
    if (d->high != 0)
        d->flaw = "invalid Unicode surrogate pair";
    if (c == '\0')
        d->flaw = "invalid byte in an escape";
    put(d, c);
}

/* \ooo and \xhh. `at` is behind the backslash; 0 if it is no such escape, else its end. */
static size_t add_numeric_escape(decoder *d, size_t at)
{
    pk_span s = d->source;
    uint32_t value = 0;
    size_t end = at;
    if (s.ptr[at] == 'x') {
        for (end = at + 1; end < s.len && end < at + 3 && hex_digit(s.ptr[end]) >= 0; end++)
            value = value << 4 | (uint32_t)hex_digit(s.ptr[end]);
        if (end == at + 1)
            return 0;
    } else {
        for (; end < s.len && end < at + 3 && s.ptr[end] >= '0' && s.ptr[end] <= '7'; end++)
            value = value << 3 | (uint32_t)(s.ptr[end] - '0');
        if (end == at)
            return 0;
    }
    add_byte(d, (char)value);
    d->made_bytes = d->made_bytes || (value & 0x80) != 0;
    return end;
}

static char simple_escape(char c)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *found = memchr(from, c, sizeof from - 1);
    if (found == NULL)
        return c;
    return to[found - from];
}

/* State xe. `at` is behind the backslash; returns the end. */
static size_t add_escape(decoder *d, size_t at)
{
    pk_span s = d->source;
    char c = s.ptr[at];
    if (c == 'u' || c == 'U') {
        uint32_t value = 0;
        size_t digits = c == 'u' ? 4 : 8;
        if (!read_hex(s, at + 1, digits, &value)) {
            d->flaw = "invalid Unicode escape";
            return at + 1;
        }
        add_escaped_code_point(d, value);
        return at + 1 + digits;
    }
    size_t end = add_numeric_escape(d, at);
    if (end != 0)
        return end;
    add_byte(d, simple_escape(c));
    return at + 1;
}

/* str_udeescape. `at` is behind the escape character; returns the end. */
static size_t add_unicode_escape(decoder *d, size_t at, char escape)
{
    pk_span s = d->source;
    if (at < s.len && s.ptr[at] == escape) {
        add_byte(d, escape);
        return at + 1;
    }
    bool long_form = at < s.len && s.ptr[at] == '+';
    size_t digits = long_form ? 6 : 4;
    at += long_form;
    uint32_t value = 0;
    if (!read_hex(s, at, digits, &value)) {
        d->flaw = "invalid Unicode escape";
        return at;
    }
    add_escaped_code_point(d, value);
    return at + digits;
}

/* The pieces of a quoted literal; `escape` is '\0' (none), or what starts one. */
static void decode_quoted(decoder *d, char escape, bool unicode)
{
    pk_span s = d->source;
    char quote = s.ptr[0];
    size_t at = 1;
    while (at < s.len && d->flaw == NULL) {
        char c = s.ptr[at++];
        if (c == quote && at < s.len && s.ptr[at] == quote) {
            at++;
            add_byte(d, quote);
        } else if (c == quote) {
            size_t next = quote == '\'' ? pk_scan_continued(s, at) : at;
            if (next == at)
                break;
            at = next + 1;
        } else if (escape != '\0' && c == escape && at < s.len) {
            at = unicode ? add_unicode_escape(d, at, escape) : add_escape(d, at);
        } else {
            add_byte(d, c);
        }
    }
    if (d->high != 0)
        d->flaw = "invalid Unicode surrogate pair";
}

static bool fail_at_token(const pk_tokens *tokens, size_t i, const char *flaw, pk_error *err)
{
    pk_fail(err, PK_E_SYNTAX, "%s", flaw);
    return pk_error_at(err, pk_position(tokens->text, tokens->list[i].start));
}

/* Fact L11: which value the client meant cannot be told. */
static bool fail_ambiguous(const pk_tokens *tokens, size_t i, pk_error *err)
{
    pk_fail(err, PK_E_PARAMETER,
            "backslash in a plain string while standard_conforming_strings is off");
    pk_error_hint(err, "Write E'..' with doubled backslashes, or turn "
                       "standard_conforming_strings on.");
    return pk_error_at(err, pk_position(tokens->text, tokens->list[i].start));
}

/* check_uescapechar */
static bool may_escape(char c)
{
    return hex_digit(c) < 0 && c != '+' && c != '\'' && c != '"' && !pk_char_is_blank(c);
}

/* What stands behind U&'..' in the same token: UESCAPE 'c'. False if c cannot be one. */
static bool read_uescape(pk_span token, size_t at, char *escape)
{
    *escape = '\\';
    if (at == token.len)
        return true;
    at = pk_scan_gap(token, pk_scan_word(token, pk_scan_gap(token, at)));
    if (token.len - at != 3 || token.ptr[at] != '\'')
        return false;
    *escape = token.ptr[at + 1];
    return may_escape(*escape);
}

/* A literal taken apart. */
typedef struct form {
    pk_region_kind kind;
    pk_span source; /* from the opening quote, or of a dollar quote the contents */
    char escape;    /* what begins an escape, or '\0' */
} form;

/* NULL, or what is wrong. */
static const char *take_apart(const pk_tokens *tokens, size_t i, form *f)
{
    pk_span token = pk_token_text(tokens, i);
    size_t start = token.ptr[0] == 'N' || token.ptr[0] == 'n' ? 1 : 0;
    pk_region region;
    *f = (form){0};
    if (!pk_scan_region(token, start, tokens->standard_conforming, &region) || !region.closed)
        return "invalid literal";

    f->kind = region.kind;
    if (region.kind == PK_REGION_DOLLAR) {
        const char *tag_end = memchr(token.ptr + 1, '$', token.len - 1);
        size_t tag = (size_t)(tag_end - token.ptr) + 1;
        f->source = pk_span_bytes(tag_end + 1, token.len - 2 * tag);
        return NULL;
    }
    bool unicode = region.kind == PK_REGION_UNICODE || region.kind == PK_REGION_UNICODE_NAME;
    if (unicode && !read_uescape(token, region.end, &f->escape))
        return "invalid Unicode escape character";
    size_t prefix = unicode ? 2 : region.kind == PK_REGION_ESCAPE ? 1 : start;
    f->source = pk_span_bytes(token.ptr + prefix, region.end - prefix);
    if (region.kind == PK_REGION_ESCAPE)
        f->escape = '\\';
    return NULL;
}

/* One piece in which nothing has to be undone. */
static bool stands_as_is(const form *f)
{
    pk_span body = {f->source.ptr + 1, f->source.len - 2};
    return memchr(body.ptr, f->source.ptr[0], body.len) == NULL &&
           (f->escape == '\0' || memchr(body.ptr, f->escape, body.len) == NULL);
}

static bool literal_value(const pk_tokens *tokens, size_t i, pk_arena *arena, pk_span *value,
                          pk_error *err)
{
    form f;
    const char *flaw = take_apart(tokens, i, &f);
    if (flaw != NULL)
        return fail_at_token(tokens, i, flaw, err);
    *value = f.source;
    if (f.kind == PK_REGION_DOLLAR)
        return true;
    if (f.kind == PK_REGION_STRING && !tokens->standard_conforming &&
        memchr(f.source.ptr, '\\', f.source.len) != NULL)
        return fail_ambiguous(tokens, i, err);
    if (stands_as_is(&f)) {
        *value = pk_span_bytes(f.source.ptr + 1, f.source.len - 2);
        return true;
    }

    decoder d = {.source = f.source, .out = pk_arena_alloc(arena, f.source.len, err)};
    if (d.out == NULL)
        return false;
    decode_quoted(&d, f.escape, f.kind != PK_REGION_ESCAPE);
    if (d.flaw == NULL && d.made_bytes && !pk_utf8_is((pk_span){d.out, d.len}, NULL))
        d.flaw = "escapes in this literal do not make UTF-8";
    *value = pk_span_bytes(d.out, d.len);
    return d.flaw == NULL || fail_at_token(tokens, i, d.flaw, err);
}

/* A-Z only, as the server does in every encoding that we meet here. */
static bool word_value(pk_span word, pk_arena *arena, pk_span *value, pk_error *err)
{
    *value = word;
    size_t upper = 0;
    while (upper < word.len && (word.ptr[upper] < 'A' || word.ptr[upper] > 'Z'))
        upper++;
    if (upper == word.len)
        return true;
    char *folded = pk_arena_strndup(arena, word.ptr, word.len, err);
    if (folded == NULL)
        return false;
    for (size_t i = upper; i < word.len; i++)
        if (folded[i] >= 'A' && folded[i] <= 'Z')
            folded[i] = (char)(folded[i] - 'A' + 'a');
    value->ptr = folded;
    return true;
}

bool pk_token_value(const pk_tokens *tokens, size_t i, pk_arena *arena, pk_span *value,
                    pk_error *err)
{
    if (tokens->list[i].kind == PK_TOKEN_WORD)
        return word_value(pk_token_text(tokens, i), arena, value, err);
    return literal_value(tokens, i, arena, value, err);
}
