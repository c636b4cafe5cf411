/*
 * The catalog: slots, keys, their versions and wraps, key backups and the audit trail, as typed
 * rows that change together or not at all. What it keeps is sealed before it arrives; what it adds
 * is integrity: a MAC on every row that matters (keys-and-security 3.3), one epoch that grows by
 * one per commit, and a hash chain through the audit rows. docs/formats/catalog.md draws schema and
 * MAC input.
 *
 * The rules live in catalog.c; where the rows lie is a driver's business (catalog_sqlite; a
 * PostgreSQL one later), reached through pk_catalog_driver. One thread at a time: the keystore
 * holds its lock.
 */
#ifndef PK_STORAGE_CATALOG_H
#define PK_STORAGE_CATALOG_H

#include "base/arena.h"
#include "base/clock.h"
#include "crypto/secret.h"

typedef struct pk_catalog pk_catalog;

/* Rows. Strings and blobs of a row that was read live in the caller's arena; a NULL string, an
 * empty blob and a time of 0 are NULL in the table. Times are microseconds since 1970, UTC. */

typedef struct pk_row_store { /* exactly one */
    uint8_t uuid[16];
    int64_t fmt, epoch;
    pk_span identity_pub;  /* Ed25519 public key */
    pk_span identity_blob; /* its private half, wrapped under the store key */
    pk_span sk_fp;
    int64_t created_at;
} pk_row_store;

typedef struct pk_row_slot {
    int64_t id;
    const char *kind; /* "file", later "password", "recovery", "env", "credential", "kms" */
    const char *label;
    const char *params_json;
    const char *kdf_json;
    pk_span blob; /* the store key, wrapped */
    int64_t created_at, last_ok_at;
} pk_row_slot;

typedef struct pk_row_key {
    uint8_t uuid[16];
    const char *scope;   /* "service", "db" */
    int64_t db_oid;      /* 0 for the service scope */
    const char *db_name; /* "" for the service scope */
    const char *kind;    /* "smk", "dmk", later "named", "secret" */
    const char *name;    /* "master" */
    const char *alg;     /* "A256" */
    const char *purpose;
    int64_t exportable; /* 0, 1 */
    const char *state;  /* "active", "retired" (replaced by a restore), "quarantined",
                           "pending_destroy", "destroyed" */
    int64_t current_ver;
    int64_t created_at, modified_at;
    const char *created_by;
} pk_row_key;

typedef struct pk_row_key_version {
    uint8_t key_uuid[16];
    int64_t ver;
    const char *state; /* keys-and-security 5.1: "current", "retired", .. */
    pk_span fp;
    const char *origin; /* "generated", "restored", "imported" */
    int64_t created_at, not_after, destroy_at;
    int64_t covered_by; /* id of the newest verified key backup that contains it; 0 = none */
} pk_row_key_version;

typedef struct pk_row_wrap {
    int64_t id; /* given by the catalog on insert */
    uint8_t key_uuid[16];
    int64_t ver;
    const char *by;          /* "sk", "smk", "dmk", "password" */
    uint8_t parent_uuid[16]; /* zeroes for sk and password */
    int64_t parent_ver;
    pk_span parent_fp;
    const char *kdf_json; /* of a password */
    pk_span blob;
    int64_t quarantined; /* 0, 1 */
} pk_row_wrap;

typedef struct pk_row_key_backup {
    int64_t id; /* given by the catalog on insert */
    const char *dest_redacted;
    pk_span sha256;
    int64_t size;
    const char *recipients_json, *contents_json;
    pk_span signer_fp;
    int64_t verified_at;
    const char *created_by;
    int64_t created_at;
} pk_row_key_backup;

typedef struct pk_row_audit {
    int64_t seq;   /* given by the catalog */
    int64_t epoch; /* of the store after this row's transaction; given by the catalog */
    int64_t at;
    const char *actor, *client, *tls_subject, *db;
    const char *action;  /* the command's words */
    const char *object;  /* which key, which destination (redacted) */
    const char *fp;      /* fingerprint text */
    const char *outcome; /* "ok", "refused", "failed" */
    const char *sqlstate;
    const char *text_redacted;
    pk_span prev, hash; /* given by the catalog */
} pk_row_audit;

typedef enum pk_table_id {
    PK_TABLE_STORE,
    PK_TABLE_SLOT,
    PK_TABLE_KEY,
    PK_TABLE_KEY_VERSION,
    PK_TABLE_WRAP,
    PK_TABLE_KEY_BACKUP,
    PK_TABLE_AUDIT,
    PK_TABLE_COUNT
} pk_table_id;

/* Opens or creates the SQLite file `keystore.db` in the directory (keys-and-security 6.2:
 * EXCLUSIVE, WAL, FULL, 0700/0600). 55006 if another process owns it; 42501 wrong owner or mode;
 * XX001 not ours or damaged; 0A000 newer schema; 58P01 absent and not `create`. A file without a
 * store row is "not initialised". */
pk_catalog *pk_catalog_open_sqlite(const char *state_dir, bool create, const pk_clock *clock,
                                   pk_error *err) PK_MUST_USE;
void pk_catalog_close(pk_catalog *catalog);
PK_DEFINE_AUTO_PTR(pk_catalog_close, pk_catalog *)

/* False with no error set (sqlstate "") if there is no store row yet. Does not verify its MAC: the
 * store key that could is still wrapped. pk_catalog_verify does, later. */
bool pk_catalog_store(pk_catalog *catalog, pk_arena *arena, pk_row_store *row,
                      pk_error *err) PK_MUST_USE;

/* The store key is known: from now on rows are MACed when written and checked when read (XX001 for
 * the row, not for the rest). Derives its own keys; borrows nothing afterwards. */
bool pk_catalog_unseal(pk_catalog *catalog, const pk_secret *store_key, pk_error *err) PK_MUST_USE;
/* Forgets those keys: rows can still be read, unchecked; nothing can be written. */
void pk_catalog_seal(pk_catalog *catalog);
/* The MAC of the store and slot rows, and that the audit tail's epoch is the store's. XX001. */
bool pk_catalog_verify(pk_catalog *catalog, pk_error *err) PK_MUST_USE;

/* One transaction at a time. Rollback without begin, or after a failed commit, does nothing. */
bool pk_catalog_begin(pk_catalog *catalog, pk_error *err) PK_MUST_USE;
/* Appends the audit row, adds one to the epoch, commits durably. On failure everything is rolled
 * back. */
bool pk_catalog_commit(pk_catalog *catalog, const pk_row_audit *audit, pk_error *err) PK_MUST_USE;
void pk_catalog_rollback(pk_catalog *catalog);

/* Inside a transaction. insert gives wrap, slot and key_backup rows their id (written back into
 * *row); update and erase go by primary key and must hit exactly one row (XX000 else). 42710 for a
 * second live key of the same scope, database, kind and name. The row's type belongs to the table.
 */
bool pk_catalog_insert(pk_catalog *catalog, pk_table_id table, void *row,
                       pk_error *err) PK_MUST_USE;
bool pk_catalog_update(pk_catalog *catalog, pk_table_id table, const void *row,
                       pk_error *err) PK_MUST_USE;
bool pk_catalog_erase(pk_catalog *catalog, pk_table_id table, const void *row,
                      pk_error *err) PK_MUST_USE;

/* Rows of a table in the order of their primary key (key: by scope, db_name, kind, created_at), as
 * an array in the arena. key, key_version and wrap: those of one key if `key_uuid` is not NULL.
 * With `pk_rows rows = PK_ROWS_MARK` a row whose MAC is wrong stays in the array and is marked in
 * `damaged`, an array of the same length; with `{0}` a damaged row fails the call with XX001 naming
 * it. */
typedef struct pk_rows {
    void *list; /* cast to the row type */
    size_t count;
    bool *damaged; /* before the call: not NULL to have damaged rows marked */
} pk_rows;
#define PK_ROWS_MARK ((pk_rows){.damaged = &(bool){false}})
bool pk_catalog_rows(pk_catalog *catalog, pk_table_id table, const uint8_t *key_uuid,
                     pk_arena *arena, pk_rows *rows, pk_error *err) PK_MUST_USE;

/* Hex of the newest audit row's hash; "" when there is none. */
bool pk_catalog_audit_head(pk_catalog *catalog, char hex[static 65], int64_t *epoch,
                           pk_error *err) PK_MUST_USE;
/* Walks the whole chain: XX001 at the first row that was changed, removed, added or moved, or when
 * its end is not the store's epoch. */
bool pk_catalog_audit_verify(pk_catalog *catalog, pk_error *err) PK_MUST_USE;
/* The same; says how many rows there are and whether one has the hash that `known` (32 bytes, or
 * NULL) gives. */
typedef struct pk_catalog_walk {
    const uint8_t *known;
    bool found;
    int64_t rows;
} pk_catalog_walk;
bool pk_catalog_audit_walk(pk_catalog *catalog, pk_catalog_walk *result, pk_error *err) PK_MUST_USE;

#endif
