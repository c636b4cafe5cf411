/*
 * What a driver of the store interface provides. A driver embeds pk_store as its first member;
 * store.c has checked every name before a driver sees it. For this folder only.
 */
#ifndef PK_STORAGE_STORE_DRIVER_H
#define PK_STORAGE_STORE_DRIVER_H

#include "base/uri.h"
#include "storage/store.h"

typedef struct pk_store_ops {
    bool (*put)(pk_store *store, const char *name, pk_span bytes, pk_error *err);
    bool (*get)(pk_store *store, const char *name, pk_buf *out, pk_error *err);
    char (*kind)(pk_store *store, const char *name, pk_error *err);
    bool (*list)(pk_store *store, const char *name, pk_arena *arena, char ***names, size_t *count,
                 pk_error *err);
    bool (*remove)(pk_store *store, const char *name, pk_error *err);
    void (*close)(pk_store *store);
} pk_store_ops;

struct pk_store {
    const pk_store_ops *ops;
    char *redacted; /* owned; pk_store_close frees it */
};

/* The directory `path` (absolute, normalised) as a store. `redacted` is how it was named. */
pk_store *pk_store_file_open(const char *path, pk_span redacted, const pk_store_options *options,
                             pk_error *err) PK_MUST_USE;

#endif
