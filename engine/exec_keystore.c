/*
 * SEAL, UNSEAL, ALTER KEYSTORE and SHOW KEYSTORE (sql-surface 7.2): the keystore itself and its
 * unlock slots. UNSEAL and SHOW KEYSTORE run while it is sealed, or is not there at all; that is
 * what they are for.
 */
#include "base/encode.h"
#include "engine/exec_context.h"
#include "engine/exec_run.h"

#include <stdio.h>

bool pk_exec_keystore_seal(pk_exec_context *ctx, pk_error *err)
{
    pk_exec_note(ctx, "keystore", "");
    if (!pk_keeper_seal(ctx->keeper, &ctx->audit, err))
        return false;
    ctx->audited = true;
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, "Key statements answer 55000 from now on.",
                     "UNSEAL WITH PASSWORD or UNSEAL WITH RECOVERY CODE opens it; a file slot does "
                     "at the next start.",
                     "the keystore is sealed");
    return true;
}

bool pk_exec_keystore_unseal(pk_exec_context *ctx, pk_error *err)
{
    const pk_stmt *stmt = ctx->stmt;
    pk_exec_note(ctx, "keystore", "");
    if (!pk_keeper_unseal(ctx->keeper, stmt->u.keystore.recovery ? "recovery" : "password",
                          stmt->u.keystore.secret.text, &ctx->audit, err))
        return false;
    ctx->audited = true;
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL, NULL, "the keystore is open");
    return true;
}

/* ALTER KEYSTORE */

bool pk_exec_slot_number(const pk_value *value, int64_t *slot, pk_error *err)
{
    int64_t n = 0;
    bool ok = value->text.len >= 1 && value->text.len <= 9;
    for (size_t i = 0; ok && i < value->text.len; i++) {
        const char c = value->text.ptr[i];
        ok = c >= '0' && c <= '9';
        n = n * 10 + (c - '0');
    }
    *slot = n;
    if (ok)
        return true;
    pk_fail(err, PK_E_PARAMETER, "the number of an unlock slot is a number");
    pk_error_hint(err, "SHOW KEYSTORE lists the slots.");
    return pk_error_at(err, value->position);
}

static void note_slot(pk_exec_context *ctx, int64_t id)
{
    char object[48];
    snprintf(object, sizeof object, "unlock slot %lld", (long long)id);
    pk_exec_note(ctx, object, "");
}

static bool add_slot(pk_exec_context *ctx, const char *kind, const char *hint, pk_error *err)
{
    int64_t id;
    PK_AUTO(pk_buf_clear) pk_buf unused = PK_BUF_SECRET(256); /* for codes, which never come here */
    const pk_slot_request slot = {
        .kind = kind, .label = "", .secret = ctx->stmt->u.keystore.secret.text};
    pk_exec_note(ctx, "unlock slot", "");
    if (!pk_keeper_add_slot(ctx->keeper, &slot, &ctx->audit, &unused, &id, err))
        return false;
    ctx->audited = true;
    note_slot(ctx, id);
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL, hint, "added unlock slot %lld: %s",
                     (long long)id, kind);
    return true;
}

static bool drop_slot(pk_exec_context *ctx, pk_error *err)
{
    int64_t id;
    if (!pk_exec_slot_number(&ctx->stmt->u.keystore.slot, &id, err))
        return false;
    note_slot(ctx, id);
    if (!pk_keeper_drop_slot(ctx->keeper, id, &ctx->audit, err))
        return false;
    ctx->audited = true;
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK,
                     "Copies of the keystore that were made before still open with it.", NULL,
                     "dropped unlock slot %lld", (long long)id);
    return true;
}

bool pk_exec_keystore_alter(pk_exec_context *ctx, pk_error *err)
{
    switch (ctx->stmt->u.keystore.action) {
    case PK_KEYSTORE_ADD_PASSWORD:
        return add_slot(ctx, "password", "UNSEAL WITH PASSWORD opens a sealed keystore with it.",
                        err);
    case PK_KEYSTORE_ADD_FILE:
        return add_slot(ctx, "file", "Keep root.key apart from copies of keystore.db.", err);
    case PK_KEYSTORE_DROP:
        return drop_slot(ctx, err);
    case PK_KEYSTORE_ADD_RECOVERY:
    case PK_KEYSTORE_ADD_OTHER:
    case PK_KEYSTORE_REKEY:
        break;
    }
    return pk_fail(err, PK_E_INTERNAL, "an action of ALTER KEYSTORE that is not offered");
}

/* SHOW KEYSTORE */

static const pk_column keystore_columns[] = {
    {"keystore", PK_TYPE_UUID},
    {"state", PK_TYPE_TEXT},
    {"signing_key", PK_TYPE_TEXT},
    {"service_master_key", PK_TYPE_TEXT},
    {"epoch", PK_TYPE_INT8},
    {"audit_head", PK_TYPE_TEXT},
    {"slot", PK_TYPE_INT4},
    {"slot_kind", PK_TYPE_TEXT},
    {"slot_label", PK_TYPE_TEXT},
    {"slot_created", PK_TYPE_TIMESTAMPTZ},
    {"slot_last_used", PK_TYPE_TIMESTAMPTZ},
};

const pk_column *pk_exec_keystore_columns(size_t *count)
{
    *count = PK_COUNT(keystore_columns);
    return keystore_columns;
}

static const char *known(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

/* `slot` NULL: there is none, or none that can be read. */
static bool show_slot(pk_exec_context *ctx, const pk_keeper_status *status,
                      const pk_slot_info *slot, pk_error *err)
{
    static const pk_slot_info none;
    char epoch[24], id[24], created[33], used[33];
    const pk_slot_info *s = slot == NULL ? &none : slot;
    snprintf(epoch, sizeof epoch, "%lld", (long long)status->epoch);
    snprintf(id, sizeof id, "%lld", (long long)s->id);
    const char *values[] = {known(status->uuid),
                            status->state,
                            known(status->identity),
                            known(status->service_master_key),
                            status->epoch == 0 ? NULL : epoch,
                            known(status->audit_head),
                            slot == NULL ? NULL : id,
                            known(s->kind),
                            known(s->label),
                            pk_exec_time(s->created_at, created),
                            pk_exec_time(s->last_ok_at, used)};
    _Static_assert(PK_COUNT(values) == PK_COUNT(keystore_columns), "one value per column");
    return pk_result_row(ctx->result, values, err);
}

bool pk_exec_keystore_show(pk_exec_context *ctx, pk_error *err)
{
    pk_keeper_status status;
    if (!pk_keeper_status_get(ctx->keeper, ctx->arena, &status, err))
        return false;
    pk_result_columns(ctx->result, keystore_columns, PK_COUNT(keystore_columns));
    if (status.why.sqlstate[0] != '\0')
        pk_result_notice(ctx->result, PK_NOTICE, PK_OK, status.why.detail, status.why.hint, "%s",
                         status.why.message);
    for (size_t i = 0; i < status.slot_count; i++)
        if (!show_slot(ctx, &status, &status.slots[i], err))
            return false;
    return status.slot_count > 0 || show_slot(ctx, &status, NULL, err);
}
