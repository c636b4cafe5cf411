/*
 * Opening a location by URI, and the checks that every driver may rely on. The schemes stand in one
 * table: offered, known and not offered yet, known and never offered, and everything else is
 * unknown. No message repeats a parameter of a URI, and for a scheme that is not a file's nothing
 * but the scheme: the path of a pre-authenticated URL is a secret.
 */
#include "storage/store.h"

#include "base/encode.h"
#include "storage/store_driver.h"
#include "storage/store_path.h"

static const struct scheme {
    const char *name;
    bool offered;
    const char *hint;
} schemes[] = {
    {"file", true, NULL},
    {"s3", false, NULL},
    {"gs", false, NULL},
    {"azure-blob", false, NULL},
    {"azure", false, NULL},
    {"azure-storage", false, NULL},
    {"oci", false, NULL},
    {"external", false, NULL},
    {"https", false, NULL},
    {"http", false, NULL},
    {"nodelocal", false, "Use file:///directory for a directory of the host that pgkeep runs on."},
    {"userfile", false, "Use file:///directory for a directory of the host that pgkeep runs on."},
    {"oss", false, "Use file:///directory, or an S3 compatible service by s3:// where offered."},
    {"cos", false, "Use file:///directory, or an S3 compatible service by s3:// where offered."},
};

static const struct scheme *find_scheme(pk_span name)
{
    for (size_t i = 0; i < PK_COUNT(schemes); i++)
        if (pk_span_equal_nocase(name, pk_span_of(schemes[i].name)))
            return &schemes[i];
    return NULL;
}

static bool check_scheme(const pk_uri *uri, pk_error *err)
{
    const struct scheme *scheme = find_scheme(uri->scheme);
    if (scheme == NULL) {
        pk_fail(err, PK_E_PARAMETER, "unknown URI scheme \"%.*s\"", PK_SPAN_ARG(uri->scheme));
        return pk_error_hint(err, "Use file:///directory.");
    }
    if (scheme->offered)
        return true;
    pk_fail(err, PK_E_UNSUPPORTED, "storage scheme \"%s\" is not supported", scheme->name);
    return pk_error_hint(err, "%s", scheme->hint != NULL ? scheme->hint : "Use file:///directory.");
}

/* file:///path to a plain path. Decoded before anything is looked for in it, so "%2e%2e" and "%2f"
 * are what they stand for. */
static bool path_of_uri(const pk_uri *uri, char path[static PATH_MAX], pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf decoded = PK_BUF_MAX(4 * (size_t)PATH_MAX);
    if (uri->authority.len > 0) {
        pk_fail(err, PK_E_PARAMETER, "a file URI must not name a host");
        return pk_error_hint(err, "Write three slashes: file:///directory.");
    }
    if (uri->count > 0)
        return pk_fail(err, PK_E_PARAMETER, "a file URI takes no parameters");
    if (uri->path.len >= PATH_MAX)
        return pk_fail(err, PK_E_PARAMETER, "path is too long");
    return pk_unpercent(uri->path, &decoded, err) &&
           pk_path_normalise(pk_buf_span(&decoded), path, err);
}

pk_store *pk_store_open(pk_span text, const pk_store_options *options, pk_error *err)
{
    pk_uri uri;
    char path[PATH_MAX];
    if (!pk_uri_parse(text, &uri, err) || !check_scheme(&uri, err) || !path_of_uri(&uri, path, err))
        return NULL;
    pk_span location = {text.ptr, (size_t)(uri.path.ptr + uri.path.len - text.ptr)};
    while (location.len > sizeof "file:///" - 1 && location.ptr[location.len - 1] == '/')
        location.len--;
    PK_AUTO(pk_buf_clear) pk_buf redacted = PK_BUF_MAX(text.len + 64);
    if (!pk_uri_redact(location, &redacted, err))
        return NULL;
    return pk_store_file_open(path, pk_buf_span(&redacted), options, err);
}

static bool fail_not_a_path(const char *why, const pk_store_options *options, pk_error *err)
{
    pk_fail(err, PK_E_PARAMETER, "%s", why);
    pk_error_detail(err, "FILE takes an absolute path, or file:///path.");
    return pk_path_hint(options, err);
}

static bool has_drive_letter(pk_span text)
{
    return text.len >= 2 && text.ptr[1] == ':' &&
           ((text.ptr[0] >= 'A' && text.ptr[0] <= 'Z') ||
            (text.ptr[0] >= 'a' && text.ptr[0] <= 'z'));
}

/* SQL Server's FILE in any of its spellings to a plain path (sql-surface 5). */
static bool path_of_file(pk_span text, const pk_store_options *options, char path[static PATH_MAX],
                         pk_error *err)
{
    pk_uri uri;
    if (text.len == 0)
        return fail_not_a_path("file name is empty", options, err);
    if (has_drive_letter(text))
        return fail_not_a_path("a path with a drive letter is not supported", options, err);
    if (text.ptr[0] == '\\')
        return fail_not_a_path("a network path is not supported", options, err);
    if (text.ptr[text.len - 1] == '/')
        return fail_not_a_path("the path names a directory", options, err);
    if (text.ptr[0] == '/')
        return pk_path_normalise(text, path, err) || pk_path_hint(options, err);
    if (!pk_uri_has_scheme(text))
        return fail_not_a_path("path is not absolute", options, err);
    if (!pk_uri_parse(text, &uri, err))
        return false;
    if (!pk_span_equal_nocase(uri.scheme, PK_SPAN("file")))
        return fail_not_a_path("FILE names a local file", options, err);
    return path_of_uri(&uri, path, err);
}

pk_store *pk_store_open_file(pk_span text, const pk_store_options *options, pk_arena *arena,
                             const char **name, pk_error *err)
{
    char path[PATH_MAX];
    char shown[PK_PATH_SHOWN];
    if (!path_of_file(text, options, path, err))
        return NULL;
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash[1] == '\0') {
        fail_not_a_path("the path names a directory", options, err);
        return NULL;
    }
    *name = pk_arena_strdup(arena, slash + 1, err);
    if (*name == NULL)
        return NULL;
    slash[slash == path ? 1 : 0] = '\0';
    PK_AUTO_PTR(pk_store_close)
    pk_store *store =
        pk_store_file_open(path, pk_span_of(pk_path_shown(path, shown)), options, err);
    if (store == NULL)
        return NULL;
    char kind = store->ops->kind(store, "", err);
    if (kind == '?')
        return NULL;
    if (kind != 'd') {
        pk_fail(err, PK_E_UNDEFINED_FILE, "directory \"%s\" does not exist", shown);
        return NULL;
    }
    return pk_steal(&store);
}

void pk_store_close(pk_store *store)
{
    if (store == NULL)
        return;
    pk_free(store->redacted);
    store->ops->close(store);
}

const char *pk_store_redacted(const pk_store *store)
{
    return store->redacted;
}

/* Segments joined by '/', none of them "", "." or "..". */
static bool check_name(const char *name, pk_error *err)
{
    size_t len = strlen(name);
    size_t start = 0;
    bool ok = len > 0 && len < PATH_MAX;
    for (size_t i = 0; ok && i <= len; i++) {
        if (i < len && name[i] != '/')
            continue;
        pk_span segment = {name + start, i - start};
        ok = segment.len > 0 && !pk_span_equal(segment, PK_SPAN(".")) &&
             !pk_span_equal(segment, PK_SPAN(".."));
        start = i + 1;
    }
    return ok || pk_fail(err, PK_E_PARAMETER, "invalid object name");
}

bool pk_store_put(pk_store *store, const char *name, pk_span bytes, pk_error *err)
{
    return check_name(name, err) && store->ops->put(store, name, bytes, err);
}

bool pk_store_get(pk_store *store, const char *name, pk_buf *out, pk_error *err)
{
    return check_name(name, err) && store->ops->get(store, name, out, err);
}

char pk_store_kind(pk_store *store, const char *name, pk_error *err)
{
    if (name[0] != '\0' && !check_name(name, err))
        return '?';
    return store->ops->kind(store, name, err);
}

bool pk_store_list(pk_store *store, const char *name, pk_arena *arena, char ***names, size_t *count,
                   pk_error *err)
{
    *names = NULL;
    *count = 0;
    if (name[0] != '\0' && !check_name(name, err))
        return false;
    return store->ops->list(store, name, arena, names, count, err);
}

bool pk_store_delete(pk_store *store, const char *name, pk_error *err)
{
    return check_name(name, err) && store->ops->remove(store, name, err);
}
