/*
 * SQL Server's master key statements (sql-surface 5; docs/statements/mssql.md). Rights are checked
 * and passwords have passed the rules when a handler runs. A file is never overwritten, and nothing
 * is recorded as backed up before the file was read back.
 */
#include "engine/keyfile_io.h"

static pk_store *open_place(pk_exec_context *ctx, const char **name, pk_error *err)
{
    const char *forbidden[1];
    pk_store_options options = pk_exec_store_options(ctx, forbidden);
    return pk_store_open_file(ctx->stmt->u.master_key.place.text, &options, ctx->arena, name, err);
}

bool pk_exec_dmk_create(pk_exec_context *ctx, pk_error *err)
{
    pk_key_brief brief;
    const pk_database db = pk_exec_database(ctx);
    pk_exec_note(ctx, "master key", "");
    if (!pk_keeper_create_dmk(ctx->keeper, &db, ctx->stmt->u.master_key.encryption.text,
                              &ctx->audit, &brief, err))
        return false;
    ctx->audited = true;
    pk_exec_note(ctx, "master key", brief.fingerprint);
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL,
                     "Back it up now: BACKUP MASTER KEY, or ALTER SYSTEM BACKUP KEY.",
                     "created the master key of database \"%s\": version 1, fingerprint %s",
                     db.name, brief.fingerprint);
    return true;
}

/* These statements name a password, always; without one the keeper would do something else. */
static bool given(pk_span password, pk_error *err)
{
    return password.len > 0 || pk_fail(err, PK_E_PARAMETER, "the password is empty");
}

/* Make, put, record; the file goes again if it cannot be recorded. */
static bool back_up(pk_exec_context *ctx, const pk_database *db, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    const char *name;
    pk_export out = {0};
    const pk_span password = ctx->stmt->u.master_key.encryption.text;
    if (!given(password, err) || !pk_export_make(ctx, db, password, &out, &file, err))
        return false;
    PK_AUTO_PTR(pk_store_close) pk_store *store = open_place(ctx, &name, err);
    if (store == NULL || !pk_export_put(ctx, &out, pk_buf_span(&file), store, name, err))
        return false;
    pk_exec_note(ctx, out.note.destination, out.receipt.brief.fingerprint);
    if (!pk_export_record(ctx, &out.note, 1, err)) {
        pk_error dropped;
        if (!pk_store_delete(store, name, &dropped))
            pk_error_detail(err, "The file %s was written but is not recorded; remove it.",
                            out.note.destination);
        return false;
    }
    pk_export_tell(ctx, &out);
    return true;
}

bool pk_exec_smk_backup(pk_exec_context *ctx, pk_error *err)
{
    return back_up(ctx, NULL, err);
}

bool pk_exec_dmk_backup(pk_exec_context *ctx, pk_error *err)
{
    const pk_database db = pk_exec_database(ctx);
    return back_up(ctx, &db, err);
}

static bool restore(pk_exec_context *ctx, pk_import_source *from, pk_error *err)
{
    from->password = ctx->stmt->u.master_key.decryption.text;
    from->force = ctx->stmt->u.master_key.force;
    if (!given(from->password, err))
        return false;
    PK_AUTO_PTR(pk_store_close) pk_store *store = open_place(ctx, &from->name, err);
    from->store = store;
    return store != NULL && pk_import(ctx, from, err);
}

bool pk_exec_smk_restore(pk_exec_context *ctx, pk_error *err)
{
    pk_import_source from = {0};
    return restore(ctx, &from, err);
}

bool pk_exec_dmk_restore(pk_exec_context *ctx, pk_error *err)
{
    const pk_database db = pk_exec_database(ctx);
    pk_import_source from = {
        .db = &db, .new_password = ctx->stmt->u.master_key.encryption.text, .replace = true};
    return given(from.new_password, err) && restore(ctx, &from, err);
}
