/*
 * Which paths of the local file system a statement may name: absolute, without "..", below one of
 * the configured roots, and away from the directories that pgkeep keeps for itself. What is decided
 * here by name is enforced again by the kernel when store_file opens it. For this folder only; any
 * thread.
 */
#ifndef PK_STORAGE_STORE_PATH_H
#define PK_STORAGE_STORE_PATH_H

#include "base/buf.h"
#include "storage/store.h"

#include <limits.h>

typedef struct pk_place {
    char root[PATH_MAX]; /* of the configured roots, without symbolic links */
    char rest[PATH_MAX]; /* below it, without a leading '/'; "" is the root itself */
} pk_place;

/* 22023 unless absolute, without "..", zero bytes and excess length. Doubled and trailing slashes
 * and "." disappear. */
bool pk_path_normalise(pk_span text, char out[static PATH_MAX], pk_error *err) PK_MUST_USE;
/* Symbolic links in the part that exists are resolved, the rest is kept. 22023 when too long. */
bool pk_path_real(const char *path, char out[static PATH_MAX], pk_error *err) PK_MUST_USE;
/* Is it the directory itself or inside it? Both normalised. */
bool pk_path_within(const char *path, const char *dir);

/* The path for a message: without what the redactor of URIs would hide. Returns `out`. */
#define PK_PATH_SHOWN (2 * (size_t)PATH_MAX)
const char *pk_path_shown(const char *path, char out[static PK_PATH_SHOWN]);

/* Finds the root that the path lies in. 22023 with the setting in the hint; 58P01 when that root
 * does not exist. */
bool pk_path_place(const char *path, const pk_store_options *options, pk_place *place,
                   pk_error *err) PK_MUST_USE;
/* The hint that names the roots, or the setting if there is none. False. */
bool pk_path_hint(const pk_store_options *options, pk_error *err);

#endif
