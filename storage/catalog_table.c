/*
 * The description of the tables and the three things that derive from it: values out of a row
 * struct, a row struct out of values, and the canonical bytes. The canonical form is made from the
 * values as they are stored, not from the struct, so whatever somebody wrote into the file is what
 * the MAC is computed over.
 */
#include "storage/catalog_table.h"

#include "base/encode.h"

#include <stdio.h>

#define NULLABLE PK_COLUMN_NULLABLE
#define KEY      PK_COLUMN_KEY
#define CHAIN    PK_COLUMN_CHAIN

#define COLUMN(row, field, kind, flags)                                                            \
    {                                                                                              \
#field, PK_COLUMN_##kind, (flags), offsetof(row, field)                                    \
    }

/* The order is that of catalog_schema.sql and of the canonical form: new columns go to the end. */
static const pk_column store_columns[] = {
    COLUMN(pk_row_store, uuid, UUID, KEY),        COLUMN(pk_row_store, fmt, INT, 0),
    COLUMN(pk_row_store, epoch, INT, 0),          COLUMN(pk_row_store, identity_pub, BLOB, 0),
    COLUMN(pk_row_store, identity_blob, BLOB, 0), COLUMN(pk_row_store, sk_fp, BLOB, 0),
    COLUMN(pk_row_store, created_at, INT, 0),
};
static const pk_column slot_columns[] = {
    COLUMN(pk_row_slot, id, INT, KEY),
    COLUMN(pk_row_slot, kind, TEXT, 0),
    COLUMN(pk_row_slot, label, TEXT, NULLABLE),
    COLUMN(pk_row_slot, params_json, TEXT, NULLABLE),
    COLUMN(pk_row_slot, kdf_json, TEXT, NULLABLE),
    COLUMN(pk_row_slot, blob, BLOB, 0),
    COLUMN(pk_row_slot, created_at, INT, 0),
    COLUMN(pk_row_slot, last_ok_at, INT, NULLABLE),
};
static const pk_column key_columns[] = {
    COLUMN(pk_row_key, uuid, UUID, KEY),
    COLUMN(pk_row_key, scope, TEXT, 0),
    COLUMN(pk_row_key, db_oid, INT, 0),
    COLUMN(pk_row_key, db_name, TEXT, 0),
    COLUMN(pk_row_key, kind, TEXT, 0),
    COLUMN(pk_row_key, name, TEXT, 0),
    COLUMN(pk_row_key, alg, TEXT, 0),
    COLUMN(pk_row_key, purpose, TEXT, 0),
    COLUMN(pk_row_key, exportable, INT, 0),
    COLUMN(pk_row_key, state, TEXT, 0),
    COLUMN(pk_row_key, current_ver, INT, 0),
    COLUMN(pk_row_key, created_at, INT, 0),
    COLUMN(pk_row_key, modified_at, INT, NULLABLE),
    COLUMN(pk_row_key, created_by, TEXT, NULLABLE),
};
static const pk_column key_version_columns[] = {
    COLUMN(pk_row_key_version, key_uuid, UUID, KEY),
    COLUMN(pk_row_key_version, ver, INT, KEY),
    COLUMN(pk_row_key_version, state, TEXT, 0),
    COLUMN(pk_row_key_version, fp, BLOB, 0),
    COLUMN(pk_row_key_version, origin, TEXT, 0),
    COLUMN(pk_row_key_version, created_at, INT, 0),
    COLUMN(pk_row_key_version, not_after, INT, NULLABLE),
    COLUMN(pk_row_key_version, destroy_at, INT, NULLABLE),
    COLUMN(pk_row_key_version, covered_by, INT, NULLABLE),
};
static const pk_column wrap_columns[] = {
    COLUMN(pk_row_wrap, id, INT, KEY),
    COLUMN(pk_row_wrap, key_uuid, UUID, 0),
    COLUMN(pk_row_wrap, ver, INT, 0),
    COLUMN(pk_row_wrap, by, TEXT, 0),
    COLUMN(pk_row_wrap, parent_uuid, UUID, NULLABLE),
    COLUMN(pk_row_wrap, parent_ver, INT, NULLABLE),
    COLUMN(pk_row_wrap, parent_fp, BLOB, NULLABLE),
    COLUMN(pk_row_wrap, kdf_json, TEXT, NULLABLE),
    COLUMN(pk_row_wrap, blob, BLOB, 0),
    COLUMN(pk_row_wrap, quarantined, INT, 0),
};
static const pk_column key_backup_columns[] = {
    COLUMN(pk_row_key_backup, id, INT, KEY),
    COLUMN(pk_row_key_backup, dest_redacted, TEXT, 0),
    COLUMN(pk_row_key_backup, sha256, BLOB, 0),
    COLUMN(pk_row_key_backup, size, INT, 0),
    COLUMN(pk_row_key_backup, recipients_json, TEXT, NULLABLE),
    COLUMN(pk_row_key_backup, contents_json, TEXT, NULLABLE),
    COLUMN(pk_row_key_backup, signer_fp, BLOB, NULLABLE),
    COLUMN(pk_row_key_backup, verified_at, INT, NULLABLE),
    COLUMN(pk_row_key_backup, created_by, TEXT, NULLABLE),
    COLUMN(pk_row_key_backup, created_at, INT, 0),
};
static const pk_column audit_columns[] = {
    COLUMN(pk_row_audit, seq, INT, KEY),
    COLUMN(pk_row_audit, epoch, INT, 0),
    COLUMN(pk_row_audit, at, INT, 0),
    COLUMN(pk_row_audit, actor, TEXT, NULLABLE),
    COLUMN(pk_row_audit, client, TEXT, NULLABLE),
    COLUMN(pk_row_audit, tls_subject, TEXT, NULLABLE),
    COLUMN(pk_row_audit, db, TEXT, NULLABLE),
    COLUMN(pk_row_audit, action, TEXT, 0),
    COLUMN(pk_row_audit, object, TEXT, NULLABLE),
    COLUMN(pk_row_audit, fp, TEXT, NULLABLE),
    COLUMN(pk_row_audit, outcome, TEXT, 0),
    COLUMN(pk_row_audit, sqlstate, TEXT, NULLABLE),
    COLUMN(pk_row_audit, text_redacted, TEXT, NULLABLE),
    COLUMN(pk_row_audit, prev, BLOB, CHAIN),
    COLUMN(pk_row_audit, hash, BLOB, CHAIN),
};

#define TABLE(table_id, table_name, row)                                                           \
    .id = (table_id), .name = #table_name, .row_size = sizeof(row),                                \
    .columns = table_name##_columns, .count = PK_COUNT(table_name##_columns)

static const pk_table tables[PK_TABLE_COUNT] = {
    [PK_TABLE_STORE] = {TABLE(PK_TABLE_STORE, store, pk_row_store), .has_mac = true,
                        .holds_blobs = true, .order = "\"uuid\""},
    [PK_TABLE_SLOT] = {TABLE(PK_TABLE_SLOT, slot, pk_row_slot), .has_mac = true, .counts_up = true,
                       .holds_blobs = true, .order = "\"id\""},
    [PK_TABLE_KEY] = {TABLE(PK_TABLE_KEY, key, pk_row_key), .has_mac = true, .of = "uuid",
                      .order = "\"scope\", \"db_name\", \"kind\", \"created_at\", \"uuid\""},
    [PK_TABLE_KEY_VERSION] = {TABLE(PK_TABLE_KEY_VERSION, key_version, pk_row_key_version),
                              .has_mac = true, .of = "key_uuid", .order = "\"key_uuid\", \"ver\""},
    [PK_TABLE_WRAP] = {TABLE(PK_TABLE_WRAP, wrap, pk_row_wrap), .has_mac = true, .counts_up = true,
                       .holds_blobs = true, .of = "key_uuid", .order = "\"id\""},
    [PK_TABLE_KEY_BACKUP] = {TABLE(PK_TABLE_KEY_BACKUP, key_backup, pk_row_key_backup),
                             .counts_up = true, .order = "\"id\""},
    [PK_TABLE_AUDIT] = {TABLE(PK_TABLE_AUDIT, audit, pk_row_audit), .order = "\"seq\""},
};

static const uint8_t zero_uuid[16];

const pk_table *pk_table_of(pk_table_id id)
{
    return &tables[id];
}

size_t pk_table_values(const pk_table *table)
{
    return table->count + (table->has_mac ? 1 : 0);
}

/* What lies at `at`; PK_VALUE_NULL for nothing (a number only where NULL is allowed). */
static pk_value value_of(const pk_column *column, const char *at)
{
    bool nullable = (column->flags & NULLABLE) != 0;
    pk_value value = {.type = PK_VALUE_NULL};
    const char *text = NULL;
    switch (column->type) {
    case PK_COLUMN_INT:
        memcpy(&value.number, at, sizeof value.number);
        if (value.number != 0 || !nullable)
            value.type = PK_VALUE_INT;
        break;
    case PK_COLUMN_TEXT:
        memcpy(&text, at, sizeof text);
        value.bytes = pk_span_of(text);
        if (text != NULL)
            value.type = PK_VALUE_TEXT;
        break;
    case PK_COLUMN_BLOB:
        memcpy(&value.bytes, at, sizeof value.bytes);
        if (value.bytes.len > 0)
            value.type = PK_VALUE_BLOB;
        break;
    case PK_COLUMN_UUID:
        value.bytes = pk_span_bytes(at, sizeof zero_uuid);
        if (!nullable || memcmp(at, zero_uuid, sizeof zero_uuid) != 0)
            value.type = PK_VALUE_BLOB;
        break;
    }
    return value;
}

bool pk_table_store(const pk_table *table, const void *row, pk_value *values, pk_error *err)
{
    for (size_t i = 0; i < table->count; i++) {
        const pk_column *column = &table->columns[i];
        values[i] = value_of(column, (const char *)row + column->offset);
        if (values[i].type == PK_VALUE_NULL && (column->flags & NULLABLE) == 0)
            return pk_fail(err, PK_E_INTERNAL, "column \"%s\" of catalog table \"%s\" has no value",
                           column->name, table->name);
    }
    if (table->has_mac)
        values[table->count] = (pk_value){0};
    return true;
}

void pk_table_store_key(const pk_table *table, const void *row, pk_value *values)
{
    for (size_t i = 0; i < pk_table_values(table); i++) {
        bool key = i < table->count && (table->columns[i].flags & KEY) != 0;
        values[i] = key ? value_of(&table->columns[i], (const char *)row + table->columns[i].offset)
                        : (pk_value){0};
    }
}

static bool type_fits(const pk_column *column, const pk_value *value)
{
    switch (value->type) {
    case PK_VALUE_NULL:
        return (column->flags & NULLABLE) != 0;
    case PK_VALUE_INT:
        return column->type == PK_COLUMN_INT;
    case PK_VALUE_TEXT:
        return column->type == PK_COLUMN_TEXT &&
               (value->bytes.len == 0 || memchr(value->bytes.ptr, '\0', value->bytes.len) == NULL);
    case PK_VALUE_BLOB:
        return column->type == PK_COLUMN_BLOB ||
               (column->type == PK_COLUMN_UUID && value->bytes.len == sizeof zero_uuid);
    }
    return false;
}

/* A value of the right type into its place; the row was zeroed, so NULL needs nothing. */
static bool load_value(const pk_value *value, const pk_column *column, pk_arena *arena, char *at,
                       pk_error *err)
{
    if (value->type == PK_VALUE_NULL)
        return true;
    if (value->type == PK_VALUE_INT) {
        memcpy(at, &value->number, sizeof value->number);
        return true;
    }
    if (column->type == PK_COLUMN_UUID) {
        memcpy(at, value->bytes.ptr, sizeof zero_uuid);
        return true;
    }
    const char *copy = pk_arena_strndup(arena, value->bytes.len == 0 ? "" : value->bytes.ptr,
                                        value->bytes.len, err);
    if (copy == NULL)
        return false;
    pk_span blob = {copy, value->bytes.len};
    if (column->type == PK_COLUMN_TEXT)
        memcpy(at, &copy, sizeof copy);
    else
        memcpy(at, &blob, sizeof blob);
    return true;
}

bool pk_table_load(const pk_table *table, const pk_value *values, pk_arena *arena, void *row,
                   bool *sound, pk_error *err)
{
    *sound = true;
    memset(row, 0, table->row_size);
    for (size_t i = 0; i < table->count; i++) {
        const pk_column *column = &table->columns[i];
        if (!type_fits(column, &values[i]))
            *sound = false;
        else if (!load_value(&values[i], column, arena, (char *)row + column->offset, err))
            return false;
    }
    return true;
}

static bool put_u16(pk_buf *out, size_t number, pk_error *err)
{
    const uint8_t bytes[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    return pk_buf_append(out, bytes, sizeof bytes, err);
}

static bool put_name(pk_buf *out, const char *name, pk_error *err)
{
    return put_u16(out, strlen(name), err) && pk_buf_append_text(out, name, err);
}

static bool put_big_endian(pk_buf *out, uint64_t number, size_t width, pk_error *err)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(number >> (8 * (width - 1 - i)));
    return pk_buf_append(out, bytes, width, err);
}

static bool put_value(pk_buf *out, const pk_value *value, pk_error *err)
{
    static const char types[] = {
        [PK_VALUE_NULL] = 'n', [PK_VALUE_INT] = 'i', [PK_VALUE_TEXT] = 't', [PK_VALUE_BLOB] = 'b'};
    bool number = value->type == PK_VALUE_INT;
    size_t len = number ? sizeof value->number : value->bytes.len;
    if (!pk_buf_append(out, &types[value->type], 1, err) || !put_big_endian(out, len, 4, err))
        return false;
    if (number)
        return put_big_endian(out, (uint64_t)value->number, 8, err);
    return len == 0 || pk_buf_append_span(out, value->bytes, err);
}

bool pk_table_canonical(const pk_table *table, const pk_value *values, pk_buf *out, pk_error *err)
{
    if (!put_name(out, table->name, err))
        return false;
    for (size_t i = 0; i < table->count; i++) {
        if (values[i].type == PK_VALUE_NULL || (table->columns[i].flags & CHAIN) != 0)
            continue;
        if (!put_name(out, table->columns[i].name, err) || !put_value(out, &values[i], err))
            return false;
    }
    return true;
}

static void describe_value(const pk_value *value, char out[static 41])
{
    if (value->type == PK_VALUE_INT)
        (void)snprintf(out, 41, "%lld", (long long)value->number);
    else if (value->type == PK_VALUE_BLOB && value->bytes.len == sizeof zero_uuid)
        pk_uuid_text((const uint8_t *)value->bytes.ptr, out);
    else
        (void)snprintf(out, 41, "?");
}

void pk_table_describe(const pk_table *table, const pk_value *values, char *out, size_t size)
{
    char names[64] = "";
    char texts[128] = "";
    for (size_t i = 0; i < table->count; i++) {
        if ((table->columns[i].flags & KEY) == 0)
            continue;
        char text[41];
        describe_value(&values[i], text);
        const char *comma = names[0] == '\0' ? "" : ", ";
        size_t names_len = strlen(names);
        size_t texts_len = strlen(texts);
        (void)snprintf(names + names_len, sizeof names - names_len, "%s%s", comma,
                       table->columns[i].name);
        (void)snprintf(texts + texts_len, sizeof texts - texts_len, "%s%s", comma, text);
    }
    (void)snprintf(out, size, "(%s)=(%s)", names, texts);
}
