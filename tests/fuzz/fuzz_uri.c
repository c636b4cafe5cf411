/*
 * URIs and paths that a client wrote, taken apart and redacted. What must hold beside what the
 * sanitizers see: spans lie within the text, what is redacted parses again or is '******',
 * redacting it once more changes nothing, and a secret that stands in the places known for secrets
 * (userinfo, a parameter, a pre-authenticated token) is gone.
 */
#include "base/uri.h"

#include <stdlib.h>
#include <string.h>

#define SECRET "Qj7zSecretQj7z"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool within(pk_span part, pk_span whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_parts(pk_span text)
{
    pk_uri uri;
    pk_error err;
    if (!pk_uri_parse(text, &uri, &err)) {
        require(strcmp(err.sqlstate, PK_E_PARAMETER) == 0);
        return;
    }
    require(within(uri.scheme, text) && within(uri.authority, text) && within(uri.path, text));
    require(uri.scheme.len > 0 && pk_uri_has_scheme(text) && uri.count <= PK_URI_PARAMETERS);
    for (size_t i = 0; i < uri.count; i++)
        require(within(uri.parameters[i].name, text) && within(uri.parameters[i].value, text));
}

static void check_stable(pk_span text)
{
    PK_AUTO(pk_buf_clear) pk_buf once = PK_BUF_MAX(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf twice = PK_BUF_MAX(1u << 20);
    pk_uri uri;
    pk_error err;
    require(pk_uri_redact(text, &once, &err));
    pk_span shown = pk_buf_span(&once);
    if (pk_span_equal(shown, PK_SPAN("'******'")) || !pk_uri_parse(shown, &uri, &err))
        return;
    require(pk_uri_redact(shown, &twice, &err));
    require(pk_span_equal(pk_buf_span(&twice), shown));
}

static bool shows_secret(const pk_buf *shown)
{
    pk_span text = pk_buf_span(shown);
    return memmem(text.ptr, text.len, SECRET, sizeof SECRET - 1) != NULL;
}

/* The fuzzer's bytes around a secret that stands where a secret belongs. */
static void check_hidden(pk_span text)
{
    static const char *const shapes[][2] = {
        {"s3://user:" SECRET "@bucket/", ""},
        {"s3://bucket/path?AWS_SECRET_ACCESS_KEY=" SECRET "&x=", ""},
        {"azure-blob://container?", "&AZURE_ACCOUNT_KEY=" SECRET},
        {"https://host/p/" SECRET "/n/ns/b/bucket/o/", ""},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        PK_AUTO(pk_buf_clear) pk_buf uri = PK_BUF_MAX(1u << 20);
        PK_AUTO(pk_buf_clear) pk_buf shown = PK_BUF_MAX(1u << 20);
        pk_error err;
        require(pk_buf_append_text(&uri, shapes[i][0], &err) &&
                pk_buf_append_span(&uri, text, &err) &&
                pk_buf_append_text(&uri, shapes[i][1], &err));
        require(pk_uri_redact(pk_buf_span(&uri), &shown, &err));
        require(!shows_secret(&shown));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pk_span text = pk_span_bytes(data, size);
    PK_AUTO(pk_buf_clear) pk_buf path = PK_BUF_MAX(1u << 20);
    pk_error err;
    if (size > 8192 || (size > 0 && memmem(data, size, SECRET, sizeof SECRET - 1) != NULL))
        return 0;
    check_parts(text);
    check_stable(text);
    check_hidden(text);
    require(pk_path_redact(text, &path, &err));
    return 0;
}
