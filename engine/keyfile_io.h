/*
 * A key file's way out and in: made by the keeper, put where nothing was, recorded; found, handed
 * to the keeper, its report told. Only ciphertext passes through here. Shared by the statement
 * families, because a restore by one must read a copy made by another.
 */
#ifndef PK_ENGINE_KEYFILE_IO_H
#define PK_ENGINE_KEYFILE_IO_H

#include "engine/exec_context.h"
#include "storage/store.h"

/* Roots and forbidden places from the engine's options. Borrowed from the context. */
pk_store_options pk_exec_store_options(const pk_exec_context *ctx, const char *forbidden[static 1]);

/* A key backup on its way. Its strings live in the context's arena. */
typedef struct pk_export {
    char label[160]; /* "the master key of database \"x\"" */
    pk_export_receipt receipt;
    pk_backup_note note;
} pk_export;

/* Appends the sealed file. db NULL: the service master key. password empty: sealed to the keystore
 * itself. Fills label and receipt. */
bool pk_export_make(pk_exec_context *ctx, const pk_database *db, pk_span password, pk_export *out,
                    pk_buf *file, pk_error *err) PK_MUST_USE;
/* Puts the file under `name`, where nothing was, and reads it back; fills the note. Undo with
 * pk_store_delete until it is recorded. */
bool pk_export_put(pk_exec_context *ctx, pk_export *out, pk_span file, pk_store *store,
                   const char *name, pk_error *err) PK_MUST_USE;
/* With the statement's audit row. */
bool pk_export_record(pk_exec_context *ctx, const pk_backup_note *notes, size_t count,
                      pk_error *err) PK_MUST_USE;
/* The NOTICE of a backup that is recorded. */
void pk_export_tell(pk_exec_context *ctx, const pk_export *out);

typedef struct pk_import_source {
    pk_store *store;
    const char *name;
    const pk_database *db; /* NULL: the service master key */
    pk_span password;      /* empty: the keystore's own keys open it */
    pk_span new_password;  /* empty: the service master key protects it */
    bool replace, force;
} pk_import_source;
/* Reads the file, has it restored and recorded, and tells what came of it. */
bool pk_import(pk_exec_context *ctx, const pk_import_source *from, pk_error *err) PK_MUST_USE;

#endif
