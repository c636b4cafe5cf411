/*
 * SHOW statements over the keystore. A superuser sees every key, an owner the key of his database:
 * the others' names are none of his business.
 */
#include "base/encode.h"
#include "engine/exec_context.h"

#include <stdio.h>
#include <string.h>

/* sql-surface 5.4, DECISIONS 8b2 */
static const pk_column master_key_columns[] = {
    {"database", PK_TYPE_TEXT},
    {"key_guid", PK_TYPE_UUID},
    {"version", PK_TYPE_INT4},
    {"algorithm", PK_TYPE_TEXT},
    {"key_length", PK_TYPE_INT4},
    {"encrypted_by_server", PK_TYPE_BOOL},
    {"password_protectors", PK_TYPE_INT4},
    {"is_open", PK_TYPE_BOOL},
    {"created", PK_TYPE_TIMESTAMPTZ},
    {"modified", PK_TYPE_TIMESTAMPTZ},
    {"last_backup", PK_TYPE_TIMESTAMPTZ},
    {"fingerprint", PK_TYPE_TEXT},
    {"state", PK_TYPE_TEXT},
    {"backed_up", PK_TYPE_TEXT},
};

static const char *time_or_null(int64_t at, char text[static 33])
{
    if (at == 0)
        return NULL;
    pk_time_timestamptz(at, text);
    return text;
}

static bool show_key(pk_exec_context *ctx, const pk_key_info *key, pk_error *err)
{
    char uuid[37], version[24], passwords[24], created[33], modified[33], last[33];
    pk_uuid_text(key->uuid, uuid);
    snprintf(version, sizeof version, "%lld", (long long)key->version);
    snprintf(passwords, sizeof passwords, "%lld", (long long)key->passwords);
    const bool usable = key->by_server && strcmp(key->state, "quarantined") != 0;
    const char *values[] = {key->database,
                            uuid,
                            version,
                            "AES-256",
                            "256",
                            key->by_server ? "t" : "f",
                            passwords,
                            usable ? "t" : "f",
                            time_or_null(key->created_at, created),
                            time_or_null(key->modified_at, modified),
                            time_or_null(key->last_backup_at, last),
                            key->fingerprint,
                            key->state,
                            key->backed_up};
    _Static_assert(PK_COUNT(values) == PK_COUNT(master_key_columns), "one value per column");
    return pk_result_row(ctx->result, values, err);
}

bool pk_exec_show_master_keys(pk_exec_context *ctx, pk_error *err)
{
    pk_key_info *keys;
    size_t count;
    if (!pk_keystore_list(ctx->keystore, ctx->arena, &keys, &count, err))
        return false;
    pk_result_columns(ctx->result, master_key_columns, PK_COUNT(master_key_columns));
    for (size_t i = 0; i < count; i++) {
        const bool own = keys[i].database != NULL && keys[i].db_oid == ctx->rights.db_oid &&
                         strcmp(keys[i].database, ctx->request->database) == 0;
        if ((ctx->rights.superuser || own) && !show_key(ctx, &keys[i], err))
            return false;
    }
    return true;
}
