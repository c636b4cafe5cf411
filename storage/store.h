/*
 * Where key files (and later backups) lie: put if absent, get, list, delete, below one location
 * that was opened by URI. An object that put says is there has been synced and read back. Drivers:
 * store_file; object stores later. Blocking: worker threads only. One thread at a time per store.
 */
#ifndef PK_STORAGE_STORE_H
#define PK_STORAGE_STORE_H

#include "base/arena.h"
#include "base/buf.h"

typedef struct pk_store pk_store;

typedef struct pk_store_options {
    const char *const *roots; /* absolute directories; files outside are refused to everybody */
    size_t root_count;
    const char *roots_setting;    /* "keys.allowed_roots": named in the hint */
    const char *const *forbidden; /* directories that nothing may be written into, above or below
                                     (state directory) */
    size_t forbidden_count;
} pk_store_options;

/* By URI: 22023 no scheme, unknown scheme, host in a file URI, "..", outside every root (the hint
 * spells the setting), inside, above or equal to a forbidden directory; 0A000 a scheme that is
 * known but not offered yet. Does not create anything. */
pk_store *pk_store_open(pk_span uri, const pk_store_options *options, pk_error *err) PK_MUST_USE;
/*
 * FILE = '..' of SQL Server: an absolute POSIX path or file:///; a drive letter, UNC or relative
 * path is 22023 with a hint that names the roots. Splits off the last segment as the object's name
 * (in the arena). The directory must exist (58P01).
 */
pk_store *pk_store_open_file(pk_span path, const pk_store_options *options, pk_arena *arena,
                             const char **name, pk_error *err) PK_MUST_USE;
void pk_store_close(pk_store *store);
PK_DEFINE_AUTO_PTR(pk_store_close, pk_store *)

/* The location without secrets, for messages and the catalog: what pk_uri_redact leaves of it, so
 * its length says nothing about the location's. Borrowed. */
const char *pk_store_redacted(const pk_store *store);

/* name: segments joined by '/', none of them "", "." or ".."; missing directories are made (0700).
 * 58P02 if it is there already: never overwrites. Synced, read back, compared; on failure nothing
 * stands under the name. */
bool pk_store_put(pk_store *store, const char *name, pk_span bytes, pk_error *err) PK_MUST_USE;
/* 58P01 absent; 54000 larger than out->max. */
bool pk_store_get(pk_store *store, const char *name, pk_buf *out, pk_error *err) PK_MUST_USE;
/* Does it exist? A file is 'f', a directory (or prefix) 'd', neither 0; '?' on error. */
char pk_store_kind(pk_store *store, const char *name, pk_error *err) PK_MUST_USE;
/* Names directly below the directory `name` ("" = the location), sorted bytewise, in the arena;
 * absent: none. */
bool pk_store_list(pk_store *store, const char *name, pk_arena *arena, char ***names, size_t *count,
                   pk_error *err) PK_MUST_USE;
/* Removing what this process put, when a later step failed. Absent is fine. */
bool pk_store_delete(pk_store *store, const char *name, pk_error *err) PK_MUST_USE;

#endif
