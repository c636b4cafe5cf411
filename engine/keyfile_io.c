/*
 * The order of a backup is the point of it: seal in memory (the writer opens its own file again),
 * put where nothing was (the store syncs and reads back), and only then record that the key is
 * backed up. A failure before the record leaves no file behind.
 */
#include "engine/keyfile_io.h"

#include "base/encode.h"
#include "base/uri.h"
#include "crypto/digest.h"
#include "crypto/keyfile.h"

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

void pk_export_clear(pk_export *out)
{
    pk_keyset_clear(&out->set);
}

static void sign_set(const pk_exec_context *ctx, pk_keyset *set)
{
    set->type =
        ctx->stmt->kind == PK_STMT_TENANT_KEY_BACKUP ? "ALTER SYSTEM BACKUP KEY" : ctx->stmt->tag;
    set->created_by = ctx->request->user;
    set->server_version = ctx->rights.server_version;
    set->system_identifier = ctx->rights.system_identifier;
}

static bool seal(pk_exec_context *ctx, pk_export *out, const pk_secret *password, pk_buf *file,
                 pk_error *err)
{
    char id[PK_KEYFILE_ID_MAX] = "";
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = NULL;
    pk_recipient recipient = {.kind = PK_RECIPIENT_PASSWORD, .secret = password, .id = ""};
    out->recipient = "password";
    if (password == NULL) {
        kek = pk_keystore_kek(ctx->keystore, id, err);
        if (kek == NULL)
            return false;
        recipient = (pk_recipient){.kind = PK_RECIPIENT_KEK, .secret = kek, .id = id};
        out->recipient = pk_arena_strdup(ctx->arena, id, err);
        if (out->recipient == NULL)
            return false;
    }
    return pk_keyfile_seal(&out->set, &recipient, 1, pk_keystore_signer(ctx->keystore), file, err);
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

const char *pk_exec_object(pk_exec_context *ctx, pk_store *store, const char *name)
{
    pk_error dropped;
    const char *text = pk_arena_printf(ctx->arena, &dropped, "%s/%s", pk_store_redacted(store),
                                       shown_name(ctx, name));
    return text == NULL ? "" : text;
}

static bool fill_record(pk_exec_context *ctx, pk_export *out, pk_store *store, const char *name,
                        pk_span file, pk_error *err)
{
    const char *where = pk_store_redacted(store);
    const char *slash = where[0] != '\0' && where[strlen(where) - 1] == '/' ? "" : "/";
    out->record.set = &out->set;
    out->record.size = file.len;
    out->record.destination =
        pk_arena_printf(ctx->arena, err, "%s%s%s", where, slash, shown_name(ctx, name));
    out->record.recipients_json = pk_arena_printf(ctx->arena, err, "[\"%s\"]", out->recipient);
    return out->record.destination != NULL && out->record.recipients_json != NULL &&
           pk_sha256(file, out->record.sha256, err);
}

bool pk_export_write(pk_exec_context *ctx, pk_export *out, const pk_secret *password,
                     pk_store *store, const char *name, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    sign_set(ctx, &out->set);
    return seal(ctx, out, password, &file, err) &&
           fill_record(ctx, out, store, name, pk_buf_span(&file), err) &&
           pk_exec_check_canceled(ctx, err) && pk_store_put(store, name, pk_buf_span(&file), err);
}

void pk_export_tell(pk_exec_context *ctx, const pk_export *out)
{
    char sha[65], detail[512];
    pk_hex(out->record.sha256, sizeof out->record.sha256, sha);
    snprintf(detail, sizeof detail, "File %s, %zu bytes, sha256 %s, read back and verified.",
             out->record.destination, out->record.size, sha);
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, detail, NULL,
                     "backed up %s: version %lld, fingerprint %s", out->label,
                     (long long)out->brief.version, out->brief.fingerprint);
    if (out->brief.recreated_database)
        pk_result_notice(
            ctx->result, PK_WARNING, PK_E_WARNING, NULL, NULL,
            "the master key was made for a database of another name or OID: this one was "
            "created anew, renamed or moved");
    if (out->brief.dropped_database)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING, NULL, NULL,
                         "the database of this master key does not exist any more");
    if (strcmp(out->recipient, "password") != 0)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING,
                         "The file is sealed to this keystore's service master key; on another "
                         "host it opens only after "
                         "that key was restored there.",
                         "Take a BACKUP SERVICE MASTER KEY too, or use ENCRYPTED BY.",
                         "the key backup is not protected by a password");
}

/* No password: every recipient that is a keystore is tried with the service master keys that are
 * here. */
static bool open_by_keystore(pk_exec_context *ctx, const pk_keyfile *file, pk_keyset *set,
                             pk_error *err)
{
    bool any = false;
    for (size_t i = 0; i < pk_keyfile_recipients(file); i++) {
        if (pk_keyfile_recipient_kind(file, i) != PK_RECIPIENT_KEK)
            continue;
        any = true;
        PK_AUTO_PTR(pk_secret_free)
        pk_secret *kek =
            pk_keystore_kek_by_id(ctx->keystore, pk_keyfile_recipient_id(file, i), err);
        if (kek != NULL && pk_keyfile_open_kek(file, i, kek, set, err))
            return true;
    }
    if (!any) {
        pk_fail(err, PK_E_PASSWORD, "the key file is protected by a password");
        return pk_error_hint(err, "Give it with ENCRYPTED BY or DECRYPTION BY PASSWORD.");
    }
    if (pk_error_is(err, PK_E_UNDEFINED_OBJECT)) {
        snprintf(err->sqlstate, sizeof err->sqlstate, "%s", PK_E_PASSWORD);
        return pk_error_hint(err, "Run RESTORE SERVICE MASTER KEY first.");
    }
    return false;
}

static bool open_by_password(const pk_keyfile *file, const pk_secret *password, pk_keyset *set,
                             pk_error *err)
{
    if (pk_keyfile_open_password(file, password, set, err))
        return true;
    if (pk_error_is(err, PK_E_PARAMETER))
        return pk_error_hint(err, "It was written without a password: ALTER SYSTEM RESTORE KEY "
                                  "without ENCRYPTED BY opens it.");
    return false;
}

/* The list in the file is signed, the recipients themselves are not: somebody may have taken one
 * away. */
static void check_recipients(pk_exec_context *ctx, const pk_keyset *set)
{
    if (set->recipients_differ)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING,
                         "A recipient was added or removed after the file was written.",
                         "Take a new key backup.",
                         "the key file does not have the recipients that it was written for");
}

static bool check_signer(pk_exec_context *ctx, const pk_keyset *set, bool force, pk_error *err)
{
    const pk_identity *own = pk_keystore_signer(ctx->keystore);
    if (memcmp(set->signer, own->public_key, PK_IDENTITY_PUBLIC) == 0)
        return true;
    uint8_t fp[16];
    char text[25];
    if (!pk_identity_fingerprint(set->signer, fp, err))
        return false;
    pk_identity_fingerprint_text(fp, text);
    const bool claims_us =
        memcmp(set->store_uuid, pk_keystore_uuid(ctx->keystore), sizeof set->store_uuid) == 0;
    if (claims_us && !force) {
        pk_fail(err, PK_E_CORRUPT,
                "the key file claims to come from this keystore, but another key signed it");
        pk_error_detail(err, "Its signer is %s.", text);
        return pk_error_hint(err, "Somebody may have exchanged the file. FORCE accepts it.");
    }
    pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING,
                     "That is expected for a file of another keystore; compare the fingerprint "
                     "with the one noted when that "
                     "keystore was made.",
                     NULL, "the key file was signed by %s, which this keystore does not know",
                     text);
    return true;
}

bool pk_import_read(pk_exec_context *ctx, const pk_import_source *from, pk_keyset *set,
                    pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf bytes = PK_BUF_MAX(PK_KEYFILE_MAX);
    if (!pk_store_get(from->store, from->name, &bytes, err))
        return false;
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(pk_buf_span(&bytes), err);
    bool ok =
        file != NULL && (from->password == NULL ? open_by_keystore(ctx, file, set, err)
                                                : open_by_password(file, from->password, set, err));
    if (!ok)
        return pk_error_wrap(err, "could not open key file \"%s\"", from->name);
    check_recipients(ctx, set);
    return check_signer(ctx, set, from->force, err);
}

static void tell_quarantined(pk_exec_context *ctx, const pk_restore_report *report)
{
    for (size_t i = 0; i < report->quarantined_count; i++)
        pk_result_notice(ctx->result, PK_WARNING, PK_E_WARNING, NULL,
                         "Restoring the service master key that it was made under heals it.",
                         "the %s is quarantined", report->quarantined[i]);
}

void pk_import_tell(pk_exec_context *ctx, const char *label, const pk_restore_report *report)
{
    if (report->identical) {
        pk_result_notice(
            ctx->result, PK_NOTICE, PK_OK, "Nothing was changed, and no password was added.", NULL,
            "the restored %s is the current one: fingerprint %s", label, report->brief.fingerprint);
        return;
    }
    char detail[256];
    snprintf(detail, sizeof detail,
             "Versions added: %zu; keys re-wrapped: %zu, healed: %zu, quarantined: %zu.",
             report->added_versions, report->rewrapped, report->healed, report->quarantined_count);
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, detail, NULL,
                     "restored %s: version %lld, fingerprint %s", label,
                     (long long)report->brief.version, report->brief.fingerprint);
    if (!report->opens_by_itself)
        pk_result_notice(
            ctx->result, PK_NOTICE, PK_OK, NULL, NULL,
            "the key is protected by the new password only, not by the service master key");
    tell_quarantined(ctx, report);
}
