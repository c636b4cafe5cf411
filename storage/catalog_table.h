/*
 * What the catalog's tables look like, said once: columns with type, place in the row struct and
 * role. The MAC input, the SQL text and the copying between structs and stored values all derive
 * from it, so a column cannot be stored and left out of the MAC. A test holds it against
 * catalog_schema.sql.
 *
 * Pure; any thread.
 */
#ifndef PK_STORAGE_CATALOG_TABLE_H
#define PK_STORAGE_CATALOG_TABLE_H

#include "base/buf.h"
#include "storage/catalog.h"

/* One stored value. Text and blobs are borrowed from whoever made the value. */
typedef enum pk_value_type {
    PK_VALUE_NULL,
    PK_VALUE_INT,
    PK_VALUE_TEXT,
    PK_VALUE_BLOB
} pk_value_type;
typedef struct pk_value {
    pk_value_type type;
    int64_t number;
    pk_span bytes;
} pk_value;

typedef enum pk_column_type {
    PK_COLUMN_INT,  /* int64_t */
    PK_COLUMN_TEXT, /* const char * */
    PK_COLUMN_BLOB, /* pk_span */
    PK_COLUMN_UUID, /* uint8_t[16] */
} pk_column_type;

#define PK_COLUMN_NULLABLE 1u /* 0, NULL, empty or all zero in the struct is NULL in the table */
#define PK_COLUMN_KEY      2u /* part of the primary key */
#define PK_COLUMN_CHAIN    4u /* audit's prev and hash: not part of what is hashed */

typedef struct pk_column {
    const char *name;
    pk_column_type type;
    unsigned flags;
    size_t offset;
} pk_column;

typedef struct pk_table {
    pk_table_id id;
    const char *name;
    size_t row_size;
    const pk_column *columns;
    size_t count;
    bool has_mac;      /* a column "mac" follows the others */
    bool counts_up;    /* the first column is an id that the catalog gives */
    bool holds_blobs;  /* wrapped keys: erased means gone from the disk as well */
    const char *of;    /* the column that names the key a row belongs to, or NULL */
    const char *order; /* what ORDER BY says */
} pk_table;

#define PK_TABLE_VALUES_MAX 20u /* columns and MAC of the widest table */
#define PK_ROW_MAX          (1u << 20)
#define PK_MAC_LEN          32u

const pk_table *pk_table_of(pk_table_id id);
/* Columns and MAC. */
size_t pk_table_values(const pk_table *table);

/* Row struct to values; they borrow from the row. The MAC, if any, is left NULL. XX000 when a value
 * that must be there is not. */
bool pk_table_store(const pk_table *table, const void *row, pk_value *values,
                    pk_error *err) PK_MUST_USE;
/* The primary key only; the other values are NULL. */
void pk_table_store_key(const pk_table *table, const void *row, pk_value *values);
/* Values to row struct, strings and blobs copied into the arena. A value that does not fit its
 * column is left empty and *sound is false. */
bool pk_table_load(const pk_table *table, const pk_value *values, pk_arena *arena, void *row,
                   bool *sound, pk_error *err) PK_MUST_USE;

/* Appends the table's name and every value that is not NULL: the input of the MAC and of the audit
 * hash (docs/formats/catalog.md, 3). */
bool pk_table_canonical(const pk_table *table, const pk_value *values, pk_buf *out,
                        pk_error *err) PK_MUST_USE;

/* `(id)=(7)`, from the primary key. For messages. */
void pk_table_describe(const pk_table *table, const pk_value *values, char *out, size_t size);

#endif
