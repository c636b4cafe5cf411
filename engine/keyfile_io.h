/*
 * A key file's way out and in: sealed, verified, put where nothing was, recorded; found, opened,
 * its signer looked at. Shared by the statement families, because a restore by one must read a copy
 * made by another.
 */
#ifndef PK_ENGINE_KEYFILE_IO_H
#define PK_ENGINE_KEYFILE_IO_H

#include "engine/exec_context.h"
#include "storage/store.h"

/* Roots and forbidden places from the engine's options. Borrowed from the context. */
pk_store_options pk_exec_store_options(const pk_exec_context *ctx, const char *forbidden[static 1]);

/* Where an object lies, as it may be shown. In the context's arena; never NULL. */
const char *pk_exec_object(pk_exec_context *ctx, pk_store *store, const char *name);

typedef struct pk_export {
    pk_keyset set;
    pk_key_brief brief;
    pk_backup_record record;
    char label[160];       /* "master key of database \"x\"" */
    const char *recipient; /* for the record: "password", or the keystore's id */
} pk_export;
void pk_export_clear(pk_export *out);

/* Adds who and where to the set, seals it (password, or NULL: to the keystore itself), puts it
 * under `name`. The record is filled; the file is verified. Undo with pk_store_delete until it is
 * recorded. */
bool pk_export_write(pk_exec_context *ctx, pk_export *out, const pk_secret *password,
                     pk_store *store, const char *name, pk_error *err) PK_MUST_USE;
/* The NOTICE of a backup that is recorded. */
void pk_export_tell(pk_exec_context *ctx, const pk_export *out);

/* Reads and opens a key file: by password, or NULL: by the keystore's own keys. The caller clears
 * the set. Raises a WARNING for an unknown signer; XX001 for a file that claims this keystore and
 * is not signed by it, unless force. */
typedef struct pk_import_source {
    pk_store *store;
    const char *name;
    const pk_secret *password; /* NULL: the keystore's own keys open it */
    bool force;
} pk_import_source;
bool pk_import_read(pk_exec_context *ctx, const pk_import_source *from, pk_keyset *set,
                    pk_error *err) PK_MUST_USE;
/* The notices of a restore. */
void pk_import_tell(pk_exec_context *ctx, const char *label, const pk_restore_report *report);

#endif
