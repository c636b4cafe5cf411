/*
 * Taking a URI apart, and printing it without its secrets. The redactor trusts nothing that it does
 * not know: a parameter keeps its value only if its name is on the list and the value looks like
 * one of that parameter (keys-and-security 9.3). An allow-list, because the next
 * provider's next parameter is a secret until somebody has looked at it.
 *
 * What is not checked here: whether a scheme or a parameter means anything. Its reader decides
 * that.
 */
#include "base/uri.h"

#include "base/encode.h"

#define HIDDEN "redacted"

static bool is_alpha(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static pk_span span_from(pk_span text, size_t start)
{
    return (pk_span){text.ptr + start, text.len - start};
}

/* Where the first byte of `set` is; the length if there is none. */
static size_t find(pk_span text, const char *set)
{
    size_t i = 0;
    while (i < text.len && !is_one_of(text.ptr[i], set))
        i++;
    return i;
}

/* Length of the scheme before "://", 0 if there is none. */
static size_t scheme_len(pk_span text)
{
    size_t len = 0;
    while (len < text.len &&
           (is_alpha(text.ptr[len]) || is_digit(text.ptr[len]) || is_one_of(text.ptr[len], "+-.")))
        len++;
    if (len == 0 || !is_alpha(text.ptr[0]) ||
        !pk_span_starts_with(span_from(text, len), PK_SPAN("://")))
        return 0;
    return len;
}

bool pk_uri_has_scheme(pk_span text)
{
    return scheme_len(text) > 0;
}

static bool check_characters(pk_span text, pk_error *err)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c == 0x7f)
            return pk_fail(err, PK_E_PARAMETER, "blank or control character in URI");
        if (c == '#')
            return pk_fail(err, PK_E_PARAMETER, "\"#\" in URI is not supported");
        uint8_t byte = 0;
        if (c == '%' &&
            (text.len - i < 3 || !pk_unhex((pk_span){text.ptr + i + 1, 2}, &byte, 1) || byte == 0))
            return pk_fail(err, PK_E_PARAMETER, "invalid percent escape in URI");
    }
    return true;
}

static bool parse_parameters(pk_span text, pk_uri *uri, pk_error *err)
{
    while (text.len > 0) {
        pk_span piece = {text.ptr, find(text, "&")};
        text = span_from(text, piece.len < text.len ? piece.len + 1 : piece.len);
        if (piece.len == 0)
            continue;
        if (uri->count == PK_URI_PARAMETERS)
            return pk_fail(err, PK_E_PARAMETER, "more than %d parameters in URI",
                           PK_URI_PARAMETERS);
        size_t name = find(piece, "=");
        uri->parameters[uri->count].name = (pk_span){piece.ptr, name};
        uri->parameters[uri->count].value = span_from(piece, name < piece.len ? name + 1 : name);
        uri->count++;
    }
    return true;
}

bool pk_uri_parse(pk_span text, pk_uri *uri, pk_error *err)
{
    *uri = (pk_uri){0};
    size_t scheme = scheme_len(text);
    if (scheme == 0)
        return pk_fail(err, PK_E_PARAMETER, "not a URI: it does not begin with scheme://");
    if (!check_characters(text, err))
        return false;
    uri->scheme = (pk_span){text.ptr, scheme};
    pk_span rest = span_from(text, scheme + 3);
    uri->authority = (pk_span){rest.ptr, find(rest, "/?")};
    rest = span_from(rest, uri->authority.len);
    uri->path = (pk_span){rest.ptr, find(rest, "?")};
    rest = span_from(rest, uri->path.len);
    return rest.len == 0 || parse_parameters(span_from(rest, 1), uri, err);
}

/* The next byte of text that may hold escapes; text is not empty and its escapes are sound. */
static char next_decoded(pk_span *text)
{
    uint8_t byte = (uint8_t)text->ptr[0];
    size_t step = 1;
    if (byte == '%' && text->len >= 3 && pk_unhex((pk_span){text->ptr + 1, 2}, &byte, 1))
        step = 3;
    *text = span_from(*text, step);
    return (char)byte;
}

/* Does a byte of the decoded text occur in `set`? */
static bool decoded_has(pk_span text, const char *set)
{
    while (text.len > 0)
        if (is_one_of(next_decoded(&text), set))
            return true;
    return false;
}

/* The word is in lower case; the text may be in any. */
static bool decoded_is(pk_span text, pk_span word)
{
    while (text.len > 0 && word.len > 0) {
        char c = next_decoded(&text);
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != word.ptr[0])
            return false;
        word = span_from(word, 1);
    }
    return text.len == 0 && word.len == 0;
}

/* Only characters of region names, host names with a port, version numbers, words. */
static bool is_plain_value(pk_span text)
{
    while (text.len > 0) {
        char c = next_decoded(&text);
        if (!is_alpha(c) && !is_digit(c) && !is_one_of(c, "._-:/[]"))
            return false;
    }
    return true;
}

static bool is_auth(pk_span text)
{
    return pk_span_equal_nocase(text, PK_SPAN("specified")) ||
           pk_span_equal_nocase(text, PK_SPAN("implicit"));
}

/* With a dot, or an access key would pass for one. */
static bool is_host_name(pk_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_alpha(text.ptr[i]) && !is_digit(text.ptr[i]) && !is_one_of(text.ptr[i], ".-"))
            return false;
    return find(text, ".") < text.len;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

/* "eu-west-1" */
static bool is_region(pk_span text)
{
    if (text.len < 6 || !is_lower(text.ptr[0]) || !is_lower(text.ptr[1]) || text.ptr[2] != '-')
        return false;
    size_t i = 3;
    while (i < text.len && is_lower(text.ptr[i]))
        i++;
    return i > 3 && text.len == i + 2 && text.ptr[i] == '-' && is_digit(text.ptr[i + 1]);
}

/* Is the value of this parameter printed? */
static bool is_harmless(pk_span name, pk_span value)
{
    static const struct {
        const char *name;
        bool (*looks_right)(pk_span value);
    } harmless[] = {
        {"AUTH", is_auth},
        {"REGION", is_plain_value},
        {"AWS_REGION", is_plain_value},
        {"AWS_ENDPOINT", is_plain_value},
        {"AWS_USE_PATH_STYLE", is_plain_value},
        {"AWS_SKIP_CHECKSUM", is_plain_value},
        {"S3_STORAGE_CLASS", is_plain_value},
        {"AZURE_ACCOUNT_NAME", is_plain_value},
        {"AZURE_VAULT_NAME", is_plain_value},
        {"AZURE_TENANT_ID", is_plain_value},
        {"AZURE_ENVIRONMENT", is_plain_value},
        {"VERSION", is_plain_value},
        /* OceanBase's */
        {"host", is_host_name},
        {"s3_region", is_region},
    };
    for (size_t i = 0; i < PK_COUNT(harmless); i++)
        if (pk_span_equal(name, pk_span_of(harmless[i].name)))
            return harmless[i].looks_right(value);
    return false;
}

/* A name that is printed even when the value is not. */
static bool is_word(pk_span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_alpha(name.ptr[i]) && !is_digit(name.ptr[i]) && !is_one_of(name.ptr[i], "_-."))
            return false;
    return name.len > 0 && name.len <= 64;
}

/*
 * Roles up to the first ';', where an external id begins. That id may hold commas, so nothing
 * behind it can be told from it. A second level of escapes could hide a ';': then nothing is shown.
 */
static bool redact_role(pk_span value, pk_buf *out, pk_error *err)
{
    if (decoded_has(value, "%"))
        return pk_buf_append_text(out, HIDDEN, err);
    pk_span rest = value;
    pk_span shown = {value.ptr, 0};
    while (rest.len > 0 && next_decoded(&rest) != ';')
        shown.len = value.len - rest.len;
    return pk_buf_append_span(out, shown, err) &&
           (shown.len == value.len || pk_buf_append_text(out, "%3B" HIDDEN, err));
}

static bool redact_parameter(pk_span name, pk_span value, pk_buf *out, pk_error *err)
{
    /* Without '=' it is perhaps the second half of a secret with '&' in it. */
    bool bare = value.ptr == name.ptr + name.len;
    if (bare)
        return pk_buf_append_text(out, HIDDEN, err);
    if (!pk_buf_append_span(out, is_word(name) ? name : PK_SPAN(HIDDEN), err) ||
        !pk_buf_append_text(out, "=", err))
        return false;
    if (pk_span_equal(name, PK_SPAN("ASSUME_ROLE")))
        return redact_role(value, out, err);
    return pk_buf_append_span(out, is_harmless(name, value) ? value : PK_SPAN(HIDDEN), err);
}

static bool is_web(const pk_uri *uri)
{
    return pk_span_equal_nocase(uri->scheme, PK_SPAN("http")) ||
           pk_span_equal_nocase(uri->scheme, PK_SPAN("https"));
}

/* Signed requests to a plain web address: anything in such a path may be part of the permission. */
static bool is_presigned(const pk_uri *uri)
{
    for (size_t i = 0; is_web(uri) && i < uri->count; i++)
        if (!is_harmless(uri->parameters[i].name, uri->parameters[i].value))
            return true;
    return false;
}

/*
 * What belongs elsewhere has slipped into the path: parameters behind a mistyped '?', or
 * user:password@host behind a third slash.
 */
static bool is_suspect(pk_span path)
{
    bool colon = false;
    while (path.len > 0) {
        char c = next_decoded(&path);
        colon = colon || c == ':';
        if (c == '=' || (c == '@' && colon))
            return true;
    }
    return false;
}

/* Length of the slash that the text begins with, which may be escaped; 0 if it begins otherwise. */
static size_t slash_len(pk_span text)
{
    if (text.len > 0 && text.ptr[0] == '/')
        return 1;
    bool escaped = text.len >= 3 && pk_span_equal_nocase((pk_span){text.ptr, 3}, PK_SPAN("%2f"));
    return escaped ? 3 : 0;
}

static size_t segment_len(pk_span text)
{
    size_t len = 0;
    while (len < text.len && slash_len(span_from(text, len)) == 0)
        len++;
    return len;
}

/*
 * In a pre-authenticated URL, /p/<token>/n/.., the token is whatever lies between "p" and "n". A
 * second level of escapes could hide all of that in one segment.
 */
static bool redact_segments(pk_span rest, pk_buf *out, pk_error *err)
{
    bool in_token = false;
    while (rest.len > 0) {
        pk_span slash = {rest.ptr, slash_len(rest)};
        rest = span_from(rest, slash.len);
        pk_span segment = {rest.ptr, segment_len(rest)};
        rest = span_from(rest, segment.len);
        in_token = in_token && !decoded_is(segment, PK_SPAN("n"));
        bool hide = segment.len > 0 && (in_token || decoded_has(segment, "%"));
        if (!pk_buf_append_span(out, slash, err) ||
            !pk_buf_append_span(out, hide ? PK_SPAN(HIDDEN) : segment, err))
            return false;
        in_token = in_token || decoded_is(segment, PK_SPAN("p"));
    }
    return true;
}

static bool redact_path(const pk_uri *uri, pk_buf *out, pk_error *err)
{
    if (is_presigned(uri) && uri->path.len > 1)
        return pk_buf_append_text(out, "/" HIDDEN, err);
    bool remote = uri->authority.len > 0 || is_web(uri);
    return remote && !is_suspect(uri->path) ? redact_segments(uri->path, out, err)
                                            : pk_path_redact(uri->path, out, err);
}

bool pk_path_redact(pk_span path, pk_buf *out, pk_error *err)
{
    return is_suspect(path) ? pk_buf_append_text(out, "/" HIDDEN, err)
                            : pk_buf_append_span(out, path, err);
}

/* Length of userinfo with its '@', 0 without. The last '@' counts: a password may hold others. */
static size_t userinfo_len(pk_span authority)
{
    size_t len = authority.len;
    while (len > 0 && authority.ptr[len - 1] != '@')
        len--;
    return len;
}

/* All of userinfo goes: a user without a password is often a token. */
static bool redact_authority(pk_span authority, pk_buf *out, pk_error *err)
{
    size_t userinfo = userinfo_len(authority);
    return pk_buf_append_text(out, userinfo > 0 ? HIDDEN "@" : "", err) &&
           pk_buf_append_span(out, span_from(authority, userinfo), err);
}

/*
 * A password with an unescaped '/' or '?' ends the authority too early, and its second half would
 * be taken for a path. Signs of that: something other than a port behind the colon, or an '@'
 * later.
 */
static bool is_torn_apart(const pk_uri *uri)
{
    pk_span authority = span_from(uri->authority, userinfo_len(uri->authority));
    if (decoded_has(authority, "=@")) /* parameters behind a mistyped '?'; escaped userinfo */
        return true;
    if (authority.len > 0 && authority.ptr[0] == '[') /* an IPv6 address has colons of its own */
        authority = span_from(authority, find(authority, "]"));
    size_t colon = find(authority, ":");
    if (colon == authority.len)
        return decoded_has(authority, ":");
    for (size_t i = colon + 1; i < authority.len; i++)
        if (!is_digit(authority.ptr[i]))
            return true;
    return find(uri->path, "@") < uri->path.len;
}

static bool redact_parameters(const pk_uri *uri, pk_buf *out, pk_error *err)
{
    for (size_t i = 0; i < uri->count; i++)
        if (!pk_buf_append_text(out, i == 0 ? "?" : "&", err) ||
            !redact_parameter(uri->parameters[i].name, uri->parameters[i].value, out, err))
            return false;
    return true;
}

bool pk_uri_redact(pk_span text, pk_buf *out, pk_error *err)
{
    pk_uri uri;
    if (!pk_uri_parse(text, &uri, NULL) || is_torn_apart(&uri))
        return pk_buf_append_text(out, "******", err);
    return pk_buf_append_span(out, uri.scheme, err) && pk_buf_append_text(out, "://", err) &&
           redact_authority(uri.authority, out, err) && redact_path(&uri, out, err) &&
           redact_parameters(&uri, out, err);
}
