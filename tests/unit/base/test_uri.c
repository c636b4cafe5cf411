/* URIs: the parts of a good one, the refusal of a bad one, and no secret in a redacted one. */
#include "base/uri.h"

#include "table.h"

static void assert_span(pk_span span, const char *text)
{
    assert_int_equal(span.len, strlen(text));
    assert_memory_equal(span.ptr, text, span.len);
}

static const struct good {
    const char *name, *text, *scheme, *authority, *path;
    size_t count;
    const char *first_name, *first_value;
} good_rows[] = {
    {"storage with parameters", "s3://bucket/a/b?AUTH=specified&AWS_REGION=eu", "s3", "bucket",
     "/a/b", 2, "AUTH", "specified"},
    {"three slashes", "azure-kms:///key/version?AZURE_VAULT_NAME=v", "azure-kms", "",
     "/key/version", 1, "AZURE_VAULT_NAME", "v"},
    {"no path", "external://name", "external", "name", "", 0, NULL, NULL},
    {"no path but parameters", "s3://b?AUTH=implicit", "s3", "b", "", 1, "AUTH", "implicit"},
    {"parameters end where nothing follows", "s3://b/?", "s3", "b", "/", 0, NULL, NULL},
    {"empty pieces do not count", "s3://b/?&&A=1&&", "s3", "b", "/", 1, "A", "1"},
    {"a value may hold '=' and '?'", "s3://b/?A=b=c?d", "s3", "b", "/", 1, "A", "b=c?d"},
    {"without '=' the value is empty", "s3://b/?A", "s3", "b", "/", 1, "A", ""},
    {"escapes stay as they are", "s3://b/%2Fx?A=%3d", "s3", "b", "/%2Fx", 1, "A", "%3d"},
    {"userinfo belongs to the authority", "postgres://u:p@h:5432/d", "postgres", "u:p@h:5432", "/d",
     0, NULL, NULL},
    {"all that a scheme may hold", "a1+-.://x", "a1+-.", "x", "", 0, NULL, NULL},
    {"bytes above 0x7f", "file:///Schl\xc3\xbcssel", "file", "", "/Schl\xc3\xbcssel", 0, NULL,
     NULL},
};

static void is_taken_apart(void **state)
{
    const struct good *row = *state;
    pk_uri uri;
    pk_error err;
    assert_true(pk_uri_parse(pk_span_of(row->text), &uri, &err));
    assert_span(uri.scheme, row->scheme);
    assert_span(uri.authority, row->authority);
    assert_span(uri.path, row->path);
    assert_int_equal(uri.count, row->count);
    if (row->count > 0) {
        assert_span(uri.parameters[0].name, row->first_name);
        assert_span(uri.parameters[0].value, row->first_value);
    }
    assert_true(pk_uri_has_scheme(pk_span_of(row->text)));
}

static const struct bad {
    const char *name;
    pk_span text;
} bad_rows[] = {
    {"empty", {"", 0}},
    {"a bare word", {"CANARY", 6}},
    {"no scheme", {"://CANARY", 9}},
    {"a scheme that begins with a digit", {"3s://CANARY", 11}},
    {"a scheme with a blank", {"s 3://CANARY", 12}},
    {"one slash", {"s3:/CANARY", 10}},
    {"no slash", {"s3:CANARY", 9}},
    {"a blank", {"s3://CANARY/a b", 15}},
    {"a line break", {"s3://CANARY/a\nb", 15}},
    {"a zero byte", {"s3://CANARY/\0b", 14}},
    {"DEL", {"s3://CANARY/\x7f", 13}},
    {"a fragment", {"s3://CANARY/#x", 14}},
    {"an escape cut off", {"s3://CANARY/%4", 14}},
    {"an escape at the very end", {"s3://CANARY/%", 13}},
    {"an escape that is none", {"s3://CANARY/?A=%zz", 18}},
    {"an escaped zero byte", {"s3://CANARY/%00", 15}},
};

static void is_refused_without_repeating_it(void **state)
{
    const struct bad *row = *state;
    pk_uri uri;
    pk_error err = {0};
    assert_false(pk_uri_parse(row->text, &uri, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_null(strstr(err.message, "CANARY"));
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(100);
    assert_true(pk_uri_redact(row->text, &out, &err));
    assert_span(pk_buf_span(&out), "******");
}

static void more_parameters_than_fit_are_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_uri uri;
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(10000);
    assert_true(pk_buf_append_text(&text, "s3://b/?", &err));
    for (int i = 0; i < PK_URI_PARAMETERS; i++)
        assert_true(pk_buf_printf(&text, &err, "p%d=%d&", i, i));
    assert_true(pk_uri_parse(pk_buf_span(&text), &uri, &err));
    assert_int_equal(uri.count, PK_URI_PARAMETERS);
    assert_span(uri.parameters[PK_URI_PARAMETERS - 1].value, "31");
    assert_true(pk_buf_append_text(&text, "one=more", &err));
    assert_false(pk_uri_parse(pk_buf_span(&text), &uri, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
}

static void a_path_has_no_scheme(void **state)
{
    (void)state;
    assert_false(pk_uri_has_scheme(PK_SPAN("/var/backup")));
    assert_false(pk_uri_has_scheme(PK_SPAN("c:\\keys")));
    assert_false(pk_uri_has_scheme(PK_SPAN("a/b://c")));
    assert_true(pk_uri_has_scheme(PK_SPAN("S3://")));
}

/* Every secret below contains CANARY. */
static const struct redaction {
    const char *name, *text, *redacted;
} redactions[] = {
    {"nothing to hide", "s3://b/p/a?AUTH=implicit&AWS_REGION=eu-west-1&S3_STORAGE_CLASS=STANDARD",
     "s3://b/p/redacted?AUTH=implicit&AWS_REGION=eu-west-1&S3_STORAGE_CLASS=STANDARD"},
    {"AWS keys",
     "s3://b/a?AWS_ACCESS_KEY_ID=AKIACANARY&AWS_SECRET_ACCESS_KEY=wJalr%2FCANARY&"
     "AWS_SESSION_TOKEN=FwoCANARY%3D%3D",
     "s3://b/a?AWS_ACCESS_KEY_ID=redacted&AWS_SECRET_ACCESS_KEY=redacted&"
     "AWS_SESSION_TOKEN=redacted"},
    {"an unescaped secret with all it may hold",
     "s3://b/a?AWS_SECRET_ACCESS_KEY=a/b+CANARY==&AUTH=Implicit",
     "s3://b/a?AWS_SECRET_ACCESS_KEY=redacted&AUTH=Implicit"},
    {"the second half of a secret with '&'", "s3://b/a?AWS_SECRET_ACCESS_KEY=a&CANARY",
     "s3://b/a?AWS_SECRET_ACCESS_KEY=redacted&redacted"},
    {"AWS KMS keeps its key",
     "aws-kms:///arn:aws:kms:eu:123:key/ab-cd?REGION=eu&AWS_SESSION_TOKEN=CANARY",
     "aws-kms:///arn:aws:kms:eu:123:key/ab-cd?REGION=eu&AWS_SESSION_TOKEN=redacted"},
    {"Google's credentials", "gs://b/a?AUTH=specified&CREDENTIALS=eyJCANARY%3D",
     "gs://b/a?AUTH=specified&CREDENTIALS=redacted"},
    {"Google's bearer token", "gs://b/a?BEARER_TOKEN=CANARY", "gs://b/a?BEARER_TOKEN=redacted"},
    {"Azure's account key",
     "azure-blob://c/a?AZURE_ACCOUNT_NAME=acc&AZURE_ACCOUNT_KEY=CANARY%2B%3D%3D",
     "azure-blob://c/a?AZURE_ACCOUNT_NAME=acc&AZURE_ACCOUNT_KEY=redacted"},
    {"Azure's client secret",
     "azure-kms:///k/v?AZURE_VAULT_NAME=va&AZURE_TENANT_ID=t-1&AZURE_CLIENT_ID=cCANARY&"
     "AZURE_CLIENT_SECRET=~CANARY",
     "azure-kms:///k/v?AZURE_VAULT_NAME=va&AZURE_TENANT_ID=t-1&AZURE_CLIENT_ID=redacted&"
     "AZURE_CLIENT_SECRET=redacted"},
    {"OceanBase's access key",
     "oss://b/a?host=oss-cn.example.com&access_id=CANARY1&access_key=CANARY2",
     "oss://b/a?host=oss-cn.example.com&access_id=redacted&access_key=redacted"},
    {"OceanBase's region", "s3://b/a?host=s3.h-1.example&s3_region=eu-west-1&access_key=CANARY",
     "s3://b/a?host=s3.h-1.example&s3_region=eu-west-1&access_key=redacted"},
    {"a host without a dot may be a key", "oss://b/a?host=LTAI5tCANARY", "oss://b/a?host=redacted"},
    {"a host with other characters may be a key", "oss://b/a?host=ab/CANARY.x",
     "oss://b/a?host=redacted"},
    {"an escaped host is not shown", "oss://b/a?host=CANARY%2Ex", "oss://b/a?host=redacted"},
    {"an empty host", "oss://b/a?host=", "oss://b/a?host=redacted"},
    {"a region that is none", "s3://b/a?s3_region=CANARY", "s3://b/a?s3_region=redacted"},
    {"a region with more behind it", "s3://b/a?s3_region=eu-west-1CANARY",
     "s3://b/a?s3_region=redacted"},
    {"a region without its number", "s3://b/a?s3_region=eu-west-", "s3://b/a?s3_region=redacted"},
    {"a region without its name", "s3://b/a?s3_region=eu--1", "s3://b/a?s3_region=redacted"},
    {"a region in upper case", "s3://b/a?s3_region=EU-CANARY-1", "s3://b/a?s3_region=redacted"},
    {"AUTH in any case", "s3://b/a?AUTH=SPECIFIED", "s3://b/a?AUTH=SPECIFIED"},
    {"AUTH with something else", "s3://b/a?AUTH=CANARY", "s3://b/a?AUTH=redacted"},
    {"AUTH with something behind", "s3://b/a?AUTH=specifiedCANARY", "s3://b/a?AUTH=redacted"},
    {"a parameter nobody knows yet", "s3://b/a?NEW_THING=CANARY", "s3://b/a?NEW_THING=redacted"},
    {"names are matched exactly", "s3://b/a?auth=CANARY&Region=CANARY",
     "s3://b/a?auth=redacted&Region=redacted"},
    {"an escaped name is not on the list", "s3://b/a?%41UTH=CANARY", "s3://b/a?redacted=redacted"},
    {"a name that is no name", "s3://b/a?CANARY/+x=1", "s3://b/a?redacted=redacted"},
    {"a harmless name with a password in it", "s3://b/a?AWS_ENDPOINT=http://u:CANARY@h",
     "s3://b/a?AWS_ENDPOINT=redacted"},
    {"the same, escaped", "s3://b/a?AWS_ENDPOINT=http%3A%2F%2Fu%3ACANARY%40h",
     "s3://b/a?AWS_ENDPOINT=redacted"},
    {"a harmless name with a token in it", "s3://b/a?AWS_ENDPOINT=https://h/?sig=CANARY",
     "s3://b/a?AWS_ENDPOINT=redacted"},
    {"an endpoint stays", "s3://b/a?AWS_ENDPOINT=http%3A%2F%2F127.0.0.1%3A9000",
     "s3://b/a?AWS_ENDPOINT=http%3A%2F%2F127.0.0.1%3A9000"},
    {"roles stay, the external id goes",
     "s3://b/a?ASSUME_ROLE=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%2Carn%3Ab%3Bexternal_id%3DCANARY",
     "s3://b/a?ASSUME_ROLE=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%2Carn%3Ab%3Bredacted"},
    {"an external id may hold a comma", "s3://b/a?ASSUME_ROLE=r;external_id=x,CANARY,y",
     "s3://b/a?ASSUME_ROLE=r%3Bredacted"},
    {"an external id escaped twice", "s3://b/a?ASSUME_ROLE=r%253Bexternal_id%253DCANARY",
     "s3://b/a?ASSUME_ROLE=redacted"},
    {"roles without external id", "gs://b/a?ASSUME_ROLE=a@p.example,b@p.example",
     "gs://b/a?ASSUME_ROLE=a@p.example,b@p.example"},
    {"an external id first", "s3://b/a?ASSUME_ROLE=;CANARY", "s3://b/a?ASSUME_ROLE=%3Bredacted"},
    {"a password in userinfo", "postgres://user:CANARY@host:5432/db",
     "postgres://redacted@host:5432/db"},
    {"a password with '@'", "postgres://user:CAN@CANARY@host/db", "postgres://redacted@host/db"},
    {"a password with ':'", "postgres://user:a:CANARY@host/db", "postgres://redacted@host/db"},
    {"an empty password", "postgres://user:@host/db", "postgres://redacted@host/db"},
    {"a user without password may be a token", "https://CANARY@host/db",
     "https://redacted@host/db"},
    {"a token with an escaped '@'", "https://CANARY%40host/db", "******"},
    {"an empty user", "postgres://@host/db", "postgres://redacted@host/db"},
    {"an escaped colon in userinfo", "postgres://user%3ACANARY@host/db",
     "postgres://redacted@host/db"},
    {"an escaped '@' and colon", "postgres://user%3ACANARY%40host/db", "******"},
    {"a password with '/'", "postgres://user:ab/CANARY@host/db", "******"},
    {"a password with '/' behind digits", "postgres://user:12/CANARY@host/db", "******"},
    {"a password with '?'", "postgres://user:ab?CANARY@host/db", "******"},
    {"a password with '?' behind digits", "postgres://user:12?CANARY@host/db",
     "postgres://user:12?redacted"},
    {"a password behind three slashes", "postgres:///user:CANARY@host/db", "postgres:///redacted"},
    {"a password with '/' behind three slashes", "postgres:///user:ab/CANARY@host/db",
     "postgres:///redacted"},
    {"parameters in the path", "s3://b/a&AWS_SECRET_ACCESS_KEY=ab/CANARY", "s3://b/redacted"},
    {"parameters in the host", "s3://b&AWS_SECRET_ACCESS_KEY=CANARY", "******"},
    {"an '@' alone in a path stays", "s3://b/a@b/c", "s3://b/a@b/c"},
    {"IPv6 and a port", "postgres://[::1]:5432/db", "postgres://[::1]:5432/db"},
    {"a pre-authenticated URL",
     "https://objectstorage.eu.oraclecloud.com/p/CANARY-t0ken/n/ns/b/bucket/o/a/b",
     "https://objectstorage.eu.oraclecloud.com/p/redacted/n/ns/b/bucket/o/a/b"},
    {"the same with an escaped p", "https://objectstorage.example/%70/CANARY/n/ns",
     "https://objectstorage.example/%70/redacted/n/ns"},
    {"the same with empty segments", "https://objectstorage.example//p//CANARY/n/ns",
     "https://objectstorage.example//p//redacted/n/ns"},
    {"the token at the end", "https://objectstorage.example/p/CANARY",
     "https://objectstorage.example/p/redacted"},
    {"p in upper case", "https://objectstorage.example/P/CANARY/n/ns",
     "https://objectstorage.example/P/redacted/n/ns"},
    {"p twice", "https://objectstorage.example/p/p/CANARY/n/ns",
     "https://objectstorage.example/p/redacted/redacted/n/ns"},
    {"a token with a slash", "https://objectstorage.example/p/CANARY1/CANARY2/N/ns",
     "https://objectstorage.example/p/redacted/redacted/N/ns"},
    {"a token without an end", "https://objectstorage.example/p/CANARY1/CANARY2",
     "https://objectstorage.example/p/redacted/redacted"},
    {"escaped slashes", "https://objectstorage.example/p%2FCANARY1%2fCANARY2%2Fn%2Fns",
     "https://objectstorage.example/p%2Fredacted%2fredacted%2Fn%2Fns"},
    {"an escaped slash in the token", "https://objectstorage.example/p/CANARY1%2FCANARY2/n/ns",
     "https://objectstorage.example/p/redacted%2Fredacted/n/ns"},
    {"slashes escaped twice", "https://objectstorage.example/p%252FCANARY%252Fn/a",
     "https://objectstorage.example/redacted/a"},
    {"a pre-authenticated URL without a host", "https:///p/CANARY/n/ns",
     "https:///p/redacted/n/ns"},
    {"a presigned URL", "https://b.example/CANARY1/x?X-Amz-Signature=CANARY2",
     "https://b.example/redacted?X-Amz-Signature=redacted"},
    {"a shared access signature", "https://acc.example/c/CANARY?sv=1&sig=CANARY",
     "https://acc.example/redacted?sv=redacted&sig=redacted"},
    {"a key called p keeps its name", "keystore:///p/master", "keystore:///p/master"},
    {"a file", "file:///backup/keys/t1.key", "file:///backup/keys/t1.key"},
};

static void shows_no_secret(void **state)
{
    const struct redaction *row = *state;
    pk_error err;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1000);
    assert_true(pk_uri_redact(pk_span_of(row->text), &out, &err));
    assert_true(pk_buf_append(&out, "", 1, &err));
    assert_string_equal(pk_buf_span(&out).ptr, row->redacted);
    assert_null(strstr(pk_buf_span(&out).ptr, "CANARY"));
}

/* Cut short or with one byte changed, by a mistake of the typist, the secret still stays hidden. */
static void a_damaged_uri_shows_no_secret_either(void **state)
{
    const struct redaction *row = *state;
    static const char typos[] = "/?&=@:%; #";
    size_t len = strlen(row->text);
    const char *secret = strstr(row->text, "AWS_SECRET_ACCESS_KEY=");
    secret = secret != NULL ? secret + 22 : row->text + len;
    for (size_t at = 0; at < (size_t)(secret - row->text); at++)
        for (size_t typo = 0; typo < sizeof typos - 1; typo++) {
            char text[256];
            assert_true(len < sizeof text);
            memcpy(text, row->text, len + 1);
            text[at] = typos[typo];
            PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1000);
            assert_true(pk_uri_redact((pk_span){text, len}, &out, NULL));
            pk_span shown = pk_buf_span(&out);
            assert_null(memmem(shown.ptr, shown.len, "SECRETCANARY", 12));
        }
}

static const struct redaction damaged[] = {
    {"a typo before the secret", "s3://bucket/a?AUTH=x&AWS_SECRET_ACCESS_KEY=SECRETCANARY", NULL},
};

/* A plain path, as file:///path would be. */
static const struct redaction paths[] = {
    {"an ordinary path", "/srv/keys/a b/service_master_ key.pem",
     "/srv/keys/a b/service_master_ key.pem"},
    {"a path with all that does no harm", "/a@b/c:d/100%/e?f/#/\xc3\xa4/p/x",
     "/a@b/c:d/100%/e?f/#/\xc3\xa4/p/x"},
    {"a password and a host", "/srv/user:CANARY@host/x", "/redacted"},
    {"parameters", "/srv/x?AWS_SECRET_ACCESS_KEY=CANARY", "/redacted"},
    {"escaped parameters", "/srv/x%3fAWS_SECRET_ACCESS_KEY%3DCANARY", "/redacted"},
    {"nothing", "", ""},
};

static void a_path_shows_no_secret(void **state)
{
    const struct redaction *row = *state;
    pk_error err;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1000);
    assert_true(pk_path_redact(pk_span_of(row->text), &out, &err));
    assert_span(pk_buf_span(&out), row->redacted);
}

static void a_redacted_text_keeps_the_ceiling(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(8);
    assert_false(pk_uri_redact(PK_SPAN("s3://bucket/a?AUTH=x"), &out, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, good_rows, is_taken_apart);
    PK_SUITE_ROWS(&suite, bad_rows, is_refused_without_repeating_it);
    PK_SUITE_TEST(&suite, more_parameters_than_fit_are_refused);
    PK_SUITE_TEST(&suite, a_path_has_no_scheme);
    PK_SUITE_ROWS(&suite, redactions, shows_no_secret);
    PK_SUITE_ROWS(&suite, paths, a_path_shows_no_secret);
    PK_SUITE_ROWS(&suite, damaged, a_damaged_uri_shows_no_secret_either);
    PK_SUITE_TEST(&suite, a_redacted_text_keeps_the_ceiling);
    return pk_suite_run(&suite, "uri");
}
