/*
 * SHOW statements over keys and key backups. Administrators and monitors see every row, an owner
 * those of his database: the others' names are none of his business.
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

const pk_column *pk_exec_master_key_columns(size_t *count)
{
    *count = PK_COUNT(master_key_columns);
    return master_key_columns;
}

const char *pk_exec_time(int64_t at, char text[static 33])
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
    const char *values[] = {key->database,
                            uuid,
                            version,
                            "AES-256",
                            "256",
                            key->by_server ? "t" : "f",
                            passwords,
                            key->open ? "t" : "f",
                            pk_exec_time(key->created_at, created),
                            pk_exec_time(key->modified_at, modified),
                            pk_exec_time(key->last_backup_at, last),
                            key->fingerprint,
                            key->state,
                            key->backed_up};
    _Static_assert(PK_COUNT(values) == PK_COUNT(master_key_columns), "one value per column");
    return pk_result_row(ctx->result, values, err);
}

/* Does he who asks see every database's rows, or only those of his own? */
static bool sees(const pk_exec_context *ctx, const char *database, int64_t oid)
{
    if (ctx->rights.admin || ctx->rights.roles[PK_ROLE_MONITOR])
        return true;
    return database != NULL && oid == ctx->rights.db_oid &&
           strcmp(database, ctx->request->database) == 0;
}

bool pk_exec_show_master_keys(pk_exec_context *ctx, pk_error *err)
{
    pk_key_info *keys;
    size_t count;
    const pk_opener opener = pk_exec_opener(ctx);
    if (!pk_keeper_list(ctx->keeper, &opener, ctx->arena, &keys, &count, err))
        return false;
    pk_result_columns(ctx->result, master_key_columns, PK_COUNT(master_key_columns));
    for (size_t i = 0; i < count; i++)
        if (sees(ctx, keys[i].database, keys[i].db_oid) && !show_key(ctx, &keys[i], err))
            return false;
    return true;
}

/* DECISIONS 8b2 */
static const pk_column key_backup_columns[] = {
    {"tenant", PK_TYPE_TEXT},    {"path", PK_TYPE_TEXT},        {"key_version", PK_TYPE_INT4},
    {"encrypted", PK_TYPE_BOOL}, {"stale", PK_TYPE_BOOL},       {"created", PK_TYPE_TIMESTAMPTZ},
    {"kind", PK_TYPE_TEXT},      {"fingerprint", PK_TYPE_TEXT}, {"verified", PK_TYPE_BOOL},
};

const pk_column *pk_exec_key_backup_columns(size_t *count)
{
    *count = PK_COUNT(key_backup_columns);
    return key_backup_columns;
}

static bool show_backup(pk_exec_context *ctx, const pk_backup_info *backup, pk_error *err)
{
    char version[24], created[33];
    snprintf(version, sizeof version, "%lld", (long long)backup->version);
    const char *values[] = {backup->database,
                            backup->destination,
                            version,
                            backup->encrypted ? "t" : "f",
                            backup->stale ? "t" : "f",
                            pk_exec_time(backup->created_at, created),
                            backup->kind,
                            backup->fingerprint,
                            backup->verified ? "t" : "f"};
    _Static_assert(PK_COUNT(values) == PK_COUNT(key_backup_columns), "one value per column");
    return pk_result_row(ctx->result, values, err);
}

bool pk_exec_show_key_backups(pk_exec_context *ctx, pk_error *err)
{
    pk_backup_info *backups;
    size_t count;
    if (!pk_keeper_backups(ctx->keeper, ctx->arena, &backups, &count, err))
        return false;
    pk_result_columns(ctx->result, key_backup_columns, PK_COUNT(key_backup_columns));
    for (size_t i = 0; i < count; i++)
        if (sees(ctx, backups[i].database, backups[i].db_oid) &&
            !show_backup(ctx, &backups[i], err))
            return false;
    return true;
}
