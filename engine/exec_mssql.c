/*
 * SQL Server's master key statements (sql-surface 5; docs/statements/mssql.md). Rights are checked
 * and passwords have passed the rules when a handler runs. A file is never overwritten, and nothing
 * is recorded as backed up before the file was read back.
 */
#include "crypto/password.h"
#include "engine/keyfile_io.h"

#include <stdio.h>

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
    const pk_value *value = &ctx->stmt->u.master_key.encryption;
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = pk_exec_secret(value, err);
    if (password == NULL && pk_value_is_set(value))
        return false;
    pk_exec_note(ctx, "master key", "");
    if (!pk_keystore_create_dmk(ctx->keystore, &db, password, &ctx->audit, &brief, err))
        return false;
    ctx->audited = true;
    pk_exec_note(ctx, "master key", brief.fingerprint);
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL,
                     "Back it up now: BACKUP MASTER KEY, or ALTER SYSTEM BACKUP KEY.",
                     "created the master key of database \"%s\": version 1, fingerprint %s",
                     db.name, brief.fingerprint);
    return true;
}

/* Seal, put, record; the file goes again if it cannot be recorded. */
static bool write_out(pk_exec_context *ctx, pk_export *out, pk_error *err)
{
    const char *name;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *password = pk_exec_secret(&ctx->stmt->u.master_key.encryption, err);
    if (password == NULL)
        return false;
    PK_AUTO_PTR(pk_store_close) pk_store *store = open_place(ctx, &name, err);
    if (store == NULL || !pk_export_write(ctx, out, password, store, name, err))
        return false;
    pk_exec_note(ctx, out->record.destination, out->brief.fingerprint);
    if (!pk_keystore_record_backups(ctx->keystore, &out->record, 1, &ctx->audit, err)) {
        pk_error dropped;
        if (!pk_store_delete(store, name, &dropped))
            pk_error_detail(err, "The file %s was written but is not recorded; remove it.",
                            out->record.destination);
        return false;
    }
    ctx->audited = true;
    pk_export_tell(ctx, out);
    return true;
}

bool pk_exec_smk_backup(pk_exec_context *ctx, pk_error *err)
{
    PK_AUTO(pk_export_clear) pk_export out = {.label = "the service master key"};
    pk_keyset_init(&out.set);
    return pk_keystore_export_smk(ctx->keystore, &out.set, &out.brief, err) &&
           write_out(ctx, &out, err);
}

bool pk_exec_dmk_backup(pk_exec_context *ctx, pk_error *err)
{
    PK_AUTO(pk_export_clear) pk_export out = {0};
    const pk_database db = pk_exec_database(ctx);
    pk_keyset_init(&out.set);
    snprintf(out.label, sizeof out.label, "the master key of database \"%s\"", db.name);
    return pk_keystore_export_dmk(ctx->keystore, &db, &out.set, &out.brief, err) &&
           write_out(ctx, &out, err);
}

static bool read_in(pk_exec_context *ctx, pk_keyset *set, pk_error *err)
{
    const char *name;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *password = pk_exec_secret(&ctx->stmt->u.master_key.decryption, err);
    if (password == NULL)
        return false;
    PK_AUTO_PTR(pk_store_close) pk_store *store = open_place(ctx, &name, err);
    const pk_import_source from = {
        .store = store, .name = name, .password = password, .force = ctx->stmt->u.master_key.force};
    if (store == NULL || !pk_import_read(ctx, &from, set, err))
        return false;
    ctx->audit.object = pk_exec_object(ctx, store, name);
    return pk_exec_check_canceled(ctx, err);
}

bool pk_exec_smk_restore(pk_exec_context *ctx, pk_error *err)
{
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_restore_report report = {.arena = ctx->arena};
    pk_keyset_init(&set);
    if (!read_in(ctx, &set, err) ||
        !pk_keystore_restore_smk(ctx->keystore, &set, ctx->stmt->u.master_key.force, &ctx->audit,
                                 &report, err))
        return false;
    ctx->audited = true;
    pk_exec_note(ctx, ctx->audit.object, report.brief.fingerprint);
    pk_import_tell(ctx, "service master key", &report);
    return true;
}

bool pk_exec_dmk_restore(pk_exec_context *ctx, pk_error *err)
{
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    const pk_database db = pk_exec_database(ctx);
    pk_restore_report report = {.arena = ctx->arena};
    char label[128];
    pk_keyset_init(&set);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *password = pk_exec_secret(&ctx->stmt->u.master_key.encryption, err);
    if (password == NULL || !read_in(ctx, &set, err))
        return false;
    const pk_dmk_restore how = {
        .db = &db, .password = password, .replace = true, .force = ctx->stmt->u.master_key.force};
    if (!pk_keystore_restore_dmk(ctx->keystore, &set, &how, &ctx->audit, &report, err))
        return false;
    ctx->audited = true;
    pk_exec_note(ctx, ctx->audit.object, report.brief.fingerprint);
    snprintf(label, sizeof label, "master key of database \"%s\"", db.name);
    pk_import_tell(ctx, label, &report);
    return true;
}
