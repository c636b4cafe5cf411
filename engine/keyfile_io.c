/*
 * The order of a backup is the point of it: the keeper seals (and opens its own file again), the
 * store puts it where nothing was (syncs and reads back), and only then the keeper records that the
 * key is backed up. A failure before the record leaves no file behind.
 */
#include "engine/keyfile_io.h"

#include "base/crash.h"
#include "base/encode.h"
#include "base/uri.h"
#include "crypto/digest.h"

#include <stdio.h>
#include <string.h>

pk_store_options pk_exec_store_options(const pk_exec_context *ctx, const char *forbidden[static 1])
{
    forbidden[0] = ctx->options->state_dir;
    return (pk_store_options){.roots = ctx->options->key_roots,
                              .root_count = ctx->options->key_root_count,
                              .roots_setting = "keys.allowed_roots",
                              .forbidden = forbidden,
                              .forbidden_count = 1};
}

/* A name that a user chose may be anything: shown by the rules for paths. */
static const char *shown_name(pk_exec_context *ctx, const char *name)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(4096);
    pk_error dropped;
    if (!pk_path_redact(pk_span_of(name), &text, &dropped))
        return "...";
    pk_span span = pk_buf_span(&text);
    const char *copy = pk_arena_strndup(ctx->arena, span.ptr, span.len, &dropped);
    return copy == NULL ? "..." : copy;
}

/* Where an object lies, as it may be shown. */
static const char *shown_place(pk_exec_context *ctx, pk_store *store, const char *name,
                               pk_error *err)
{
    const char *where = pk_store_redacted(store);
    const char *slash = where[0] != '\0' && where[strlen(where) - 1] == '/' ? "" : "/";
    return pk_arena_printf(ctx->arena, err, "%s%s%s", where, slash, shown_name(ctx, name));
}

/* Out */

bool pk_export_make(pk_exec_context *ctx, const pk_database *db, pk_span password, pk_export *out,
                    pk_buf *file, pk_error *err)
{
    const bool tenant = ctx->stmt->kind == PK_STMT_TENANT_KEY_BACKUP; /* its tag is not all of it */
    const pk_opener opener = pk_exec_opener(ctx);
    const pk_export_order order = {.db = db,
                                   .opener = &opener,
                                   .password = password,
                                   .statement = tenant ? "ALTER SYSTEM BACKUP KEY" : ctx->stmt->tag,
                                   .user = ctx->request->user,
                                   .server_version = ctx->rights.server_version,
                                   .system_identifier = ctx->rights.system_identifier};
    if (db == NULL)
        snprintf(out->label, sizeof out->label, "the service master key");
    else
        snprintf(out->label, sizeof out->label, "the master key of database \"%s\"", db->name);
    return pk_keeper_export(ctx->keeper, &order, ctx->arena, file, &out->receipt, err);
}

static bool fill_note(pk_exec_context *ctx, pk_export *out, pk_span file, const char *place,
                      pk_error *err)
{
    out->note = (pk_backup_note){
        .destination = place,
        .contents = out->receipt.contents,
        .recipients_json = pk_arena_printf(ctx->arena, err, "[\"%s\"]", out->receipt.recipient),
        .size = file.len};
    return out->note.recipients_json != NULL && pk_sha256(file, out->note.sha256, err);
}

bool pk_export_put(pk_exec_context *ctx, pk_export *out, pk_span file, pk_store *store,
                   const char *name, pk_error *err)
{
    const char *place = shown_place(ctx, store, name, err);
    if (place == NULL || !fill_note(ctx, out, file, place, err) ||
        !pk_exec_check_canceled(ctx, err) || !pk_store_put(store, name, file, err))
        return false;
    PK_CRASH_POINT("key file written");
    return true;
}

bool pk_export_record(pk_exec_context *ctx, const pk_backup_note *notes, size_t count,
                      pk_error *err)
{
    PK_CRASH_POINT("every key file written");
    ctx->audited = pk_keeper_record(ctx->keeper, notes, count, &ctx->audit, err);
    PK_CRASH_POINT("key backup recorded");
    return ctx->audited;
}

void pk_export_tell(pk_exec_context *ctx, const pk_export *out)
{
    const pk_key_brief *brief = &out->receipt.brief;
    char sha[65], detail[512];
    pk_hex(out->note.sha256, sizeof out->note.sha256, sha);
    snprintf(detail, sizeof detail, "File %s, %llu bytes, sha256 %s, read back and verified.",
             out->note.destination, (unsigned long long)out->note.size, sha);
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, detail, NULL,
                     "backed up %s: version %lld, fingerprint %s", out->label,
                     (long long)brief->version, brief->fingerprint);
    if (brief->recreated_database)
        pk_result_notice(
            ctx->result, PK_WARNING, PK_E_WARNING, NULL, NULL,
            "the master key was made for a database of another name or OID: this one was "
            "created anew, renamed or moved");
    if (brief->dropped_database)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING, NULL, NULL,
                         "the database of this master key does not exist any more");
    if (strcmp(out->receipt.recipient, "password") != 0)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING,
                         "The file is sealed to this keystore's service master key; on another "
                         "host it opens only after "
                         "that key was restored there.",
                         "Take a BACKUP SERVICE MASTER KEY too, or use ENCRYPTED BY.",
                         "the key backup is not protected by a password");
}

/* In */

/* The list in the file is signed, the recipients themselves are not: somebody may have taken one
 * away. */
static void tell_origin(pk_exec_context *ctx, const pk_import_report *report)
{
    if (report->recipients_differ)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING,
                         "A recipient was added or removed after the file was written.",
                         "Take a new key backup.",
                         "the key file does not have the recipients that it was written for");
    if (!report->signed_by_us)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING,
                         "That is expected for a file of another keystore; compare the fingerprint "
                         "with the one noted when that "
                         "keystore was made.",
                         NULL, "the key file was signed by %s, which this keystore does not know",
                         report->signer);
}

static void tell_quarantined(pk_exec_context *ctx, const pk_restore_report *report)
{
    for (size_t i = 0; i < report->quarantined_count; i++)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING, NULL,
                         "Restoring the service master key that it was made under heals it.",
                         "the %s is quarantined", report->quarantined[i]);
}

static void tell_opening(pk_exec_context *ctx, const pk_database *db,
                         const pk_restore_report *report)
{
    if (!report->opens_by_itself)
        pk_result_notice(
            ctx->result, PK_NOTICE, PK_OK, NULL, NULL,
            "the key is protected by the new password only, not by the service master key");
    else if (db != NULL && report->password_added)
        pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL, NULL,
                         "the key is opened by the service master key, and by the new password");
}

static void tell(pk_exec_context *ctx, const pk_database *db, const pk_restore_report *report)
{
    char label[160], detail[256];
    if (db == NULL)
        snprintf(label, sizeof label, "service master key");
    else
        snprintf(label, sizeof label, "master key of database \"%s\"", db->name);
    if (report->identical) {
        pk_result_notice(
            ctx->result, PK_NOTICE, PK_OK, "Nothing was changed, and no password was added.", NULL,
            "the restored %s is the current one: fingerprint %s", label, report->brief.fingerprint);
        return;
    }
    snprintf(detail, sizeof detail,
             "Versions added: %zu; keys re-wrapped: %zu, healed: %zu, quarantined: %zu.",
             report->added_versions, report->rewrapped, report->healed, report->quarantined_count);
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, detail, NULL,
                     "restored %s: version %lld, fingerprint %s", label,
                     (long long)report->brief.version, report->brief.fingerprint);
    tell_opening(ctx, db, report);
    tell_quarantined(ctx, report);
}

bool pk_import(pk_exec_context *ctx, const pk_import_source *from, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf bytes = PK_BUF_MAX(PK_KEYFILE_MAX);
    pk_import_report report;
    const pk_opener opener = pk_exec_opener(ctx);
    const char *place = shown_place(ctx, from->store, from->name, err);
    if (place == NULL || !pk_store_get(from->store, from->name, &bytes, err))
        return false;
    pk_exec_note(ctx, place, "");
    const pk_import_order order = {.db = from->db,
                                   .opener = &opener,
                                   .file = pk_buf_span(&bytes),
                                   .name = from->name,
                                   .password = from->password,
                                   .new_password = from->new_password,
                                   .replace = from->replace,
                                   .force = from->force,
                                   .destination = place};
    if (!pk_exec_check_canceled(ctx, err) ||
        !pk_keeper_import(ctx->keeper, &order, &ctx->audit, ctx->arena, &report, err))
        return false;
    ctx->audited = true;
    PK_CRASH_POINT("key restored");
    pk_exec_note(ctx, place, report.restore.brief.fingerprint);
    tell_origin(ctx, &report);
    tell(ctx, from->db, &report.restore);
    return true;
}
