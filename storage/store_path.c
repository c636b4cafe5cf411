/*
 * A path is compared with the roots after its symbolic links are resolved, so a root may be reached
 * by any name, and a link out of a root is outside. What does not exist yet has no links; ".." is
 * refused before, because behind a link it means something else than it says.
 */
#include "storage/store_path.h"

#include "base/uri.h"

#include <stdio.h>
#include <stdlib.h>

static bool append_segment(pk_span segment, char *out, size_t *len, pk_error *err)
{
    if (segment.len == 0 || pk_span_equal(segment, PK_SPAN(".")))
        return true;
    if (pk_span_equal(segment, PK_SPAN("..")))
        return pk_fail(err, PK_E_PARAMETER, "a path must not contain \"..\"");
    if (*len + 1 + segment.len >= PATH_MAX)
        return pk_fail(err, PK_E_PARAMETER, "path is too long");
    out[(*len)++] = '/';
    memcpy(out + *len, segment.ptr, segment.len);
    *len += segment.len;
    return true;
}

bool pk_path_normalise(pk_span text, char out[static PATH_MAX], pk_error *err)
{
    if (text.len == 0 || text.ptr[0] != '/')
        return pk_fail(err, PK_E_PARAMETER, "path is not absolute");
    if (memchr(text.ptr, '\0', text.len) != NULL)
        return pk_fail(err, PK_E_PARAMETER, "path contains a zero byte");
    size_t len = 0;
    size_t start = 1;
    for (size_t i = 1; i <= text.len; i++) {
        if (i < text.len && text.ptr[i] != '/')
            continue;
        if (!append_segment((pk_span){text.ptr + start, i - start}, out, &len, err))
            return false;
        start = i + 1;
    }
    if (len == 0)
        out[len++] = '/';
    out[len] = '\0';
    return true;
}

const char *pk_path_shown(const char *path, char out[static PK_PATH_SHOWN])
{
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_MAX(PK_PATH_SHOWN);
    bool ok = pk_path_redact(pk_span_of(path), &buf, NULL);
    pk_span shown = ok ? pk_buf_span(&buf) : PK_SPAN("******");
    (void)snprintf(out, PK_PATH_SHOWN, "%.*s", PK_SPAN_ARG(shown));
    return out;
}

static bool fail_resolve(const char *path, pk_error *err)
{
    char shown[PK_PATH_SHOWN];
    return pk_fail(err, PK_E_IO, "could not resolve path \"%s\"", pk_path_shown(path, shown));
}

bool pk_path_real(const char *path, char out[static PATH_MAX], pk_error *err)
{
    char head[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof head)
        return pk_fail(err, PK_E_PARAMETER, "path is too long");
    memcpy(head, path, len + 1);
    /* Shorter and shorter until something exists; "/" always does. */
    while (realpath(head, out) == NULL) {
        char *slash = strrchr(head, '/');
        if (slash == NULL || len <= 1)
            return fail_resolve(path, err);
        len = slash == head ? 1 : (size_t)(slash - head);
        head[len] = '\0';
    }
    const char *rest = path + len;
    while (*rest == '/')
        rest++;
    size_t done = strlen(out);
    if (*rest == '\0')
        return true;
    if (done + 1 + strlen(rest) >= PATH_MAX)
        return pk_fail(err, PK_E_PARAMETER, "path is too long");
    (void)snprintf(out + done, PATH_MAX - done, "%s%s", done == 1 ? "" : "/", rest);
    return true;
}

bool pk_path_within(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    if (len == 1) /* "/" */
        return true;
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool pk_path_hint(const pk_store_options *options, pk_error *err)
{
    char roots[160] = "";
    size_t len = 0;
    if (options->root_count == 0)
        return pk_error_hint(err,
                             "Set %s in the configuration file, or start with --set %s=/directory.",
                             options->roots_setting, options->roots_setting);
    for (size_t i = 0; i < options->root_count && len < sizeof roots; i++) {
        int put = snprintf(roots + len, sizeof roots - len, "%s%s", i == 0 ? "" : ", ",
                           options->roots[i]);
        len += put > 0 ? (size_t)put : 0;
    }
    return pk_error_hint(err, "Use a path below %s, or change %s.", roots, options->roots_setting);
}

static bool fail_outside(const char *path, const pk_store_options *options, pk_error *err)
{
    char shown[PK_PATH_SHOWN];
    pk_path_shown(path, shown);
    if (options->root_count == 0)
        pk_fail(err, PK_E_PARAMETER, "path \"%s\" is not allowed: %s names no directory", shown,
                options->roots_setting);
    else
        pk_fail(err, PK_E_PARAMETER, "path \"%s\" is outside %s", shown, options->roots_setting);
    pk_error_detail(err,
                    "Nobody may use files outside these directories, administrators included.");
    return pk_path_hint(options, err);
}

/* Is `real` below this root? A root that does not exist counts if the path was written below it. */
static bool try_root(const char *root, const char *real, pk_place *place, bool *absent)
{
    char plain[PATH_MAX];
    if (!pk_path_normalise(pk_span_of(root), plain, NULL))
        return false;
    if (realpath(plain, place->root) == NULL) {
        *absent = *absent || pk_path_within(real, plain);
        return false;
    }
    if (!pk_path_within(real, place->root))
        return false;
    const char *rest = real + strlen(place->root);
    while (*rest == '/')
        rest++;
    (void)snprintf(place->rest, sizeof place->rest, "%s", rest);
    return true;
}

bool pk_path_place(const char *path, const pk_store_options *options, pk_place *place,
                   pk_error *err)
{
    char real[PATH_MAX];
    char shown[PK_PATH_SHOWN];
    bool absent = false;
    if (!pk_path_real(path, real, err))
        return false;
    for (size_t i = 0; i < options->root_count; i++)
        if (try_root(options->roots[i], real, place, &absent))
            return true;
    if (absent)
        return pk_fail(err, PK_E_UNDEFINED_FILE,
                       "the directory of %s that path \"%s\" lies in does not exist",
                       options->roots_setting, pk_path_shown(path, shown));
    return fail_outside(path, options, err);
}
