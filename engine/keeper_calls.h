/*
 * What the keeper can be asked, one function a message: packs its arguments, goes through the door
 * (keeper.h), unpacks the reply. Strings of a reply live in the arena that is given. Secrets are
 * spans that the caller owns and wipes; an empty one means there is none.
 *
 * Every call can fail with 55000 (sealed, the hint names the kinds of unlock slots; or owned by
 * another process, which the detail names), 53400 (too many passwords wait to be tried), XX001 and
 * 58030 (catalog). `audit`: the row that the change commits with; a call that fails has written
 * none.
 */
#ifndef PK_ENGINE_KEEPER_CALLS_H
#define PK_ENGINE_KEEPER_CALLS_H

#include "engine/keeper.h"
#include "engine/keystore.h"

/* ---- the keystore itself ---- */

typedef struct pk_slot_info {
    int64_t id;
    const char *kind, *label;
    int64_t created_at, last_ok_at; /* 0: never */
} pk_slot_info;

typedef struct pk_keeper_status {
    const char *state; /* "open", "sealed"; "absent": there is none, or another process has it */
    pk_error why;      /* of "absent" and "sealed" */
    /* What is not known is "" or 0. */
    char uuid[37], identity[25], service_master_key[25], audit_head[65];
    int64_t epoch;
    pk_slot_info *slots; /* of a sealed keystore: not checked */
    size_t slot_count;
} pk_keeper_status;
/* Tries to open and unseal first, as every call does. Fails only without memory. */
bool pk_keeper_status_get(pk_keeper *keeper, pk_arena *arena, pk_keeper_status *status,
                          pk_error *err) PK_MUST_USE;

/* SEAL: forgets every key. Stays sealed until UNSEAL or the next start. */
bool pk_keeper_seal(pk_keeper *keeper, const pk_row_audit *audit, pk_error *err) PK_MUST_USE;
/* kind: "password", "recovery". 28P01 no slot of that kind opens with it; 42704 no such slot; 55000
 * it is open already. */
bool pk_keeper_unseal(pk_keeper *keeper, const char *kind, pk_span secret,
                      const pk_row_audit *audit, pk_error *err) PK_MUST_USE;
/* A fresh recovery code as text, appended to a secret buffer; asks nobody. It opens nothing before
 * it is added. */
bool pk_keeper_new_code(pk_buf *code, pk_error *err) PK_MUST_USE;
/* kind "password": `secret` is it. "recovery": `secret` is a code of pk_keeper_new_code that was
 * handed out already; an empty one: a new code, appended to `code` (a secret buffer). "file": makes
 * root.key, 58P02 if there is one. `label` may be "". At most 16 slots (54000). */
typedef struct pk_slot_request {
    const char *kind, *label;
    pk_span secret;
} pk_slot_request;
bool pk_keeper_add_slot(pk_keeper *keeper, const pk_slot_request *slot, const pk_row_audit *audit,
                        pk_buf *code, int64_t *id, pk_error *err) PK_MUST_USE;
/* 42704; 55000 the last one, or the last but those whose secret is not known to be there. */
bool pk_keeper_drop_slot(pk_keeper *keeper, int64_t id, const pk_row_audit *audit,
                         pk_error *err) PK_MUST_USE;

bool pk_keeper_audit(pk_keeper *keeper, const pk_row_audit *audit, pk_error *err) PK_MUST_USE;
/* Walks the audit chain. `head`: hex of a head noted earlier that must be in it, or "". */
typedef struct pk_audit_summary {
    int64_t rows, epoch;
    char head[65];
} pk_audit_summary;
bool pk_keeper_verify_audit(pk_keeper *keeper, const char *head, pk_audit_summary *summary,
                            pk_error *err) PK_MUST_USE;

/* ---- database master keys ---- */

bool pk_keeper_create_dmk(pk_keeper *keeper, const pk_database *db, pk_span password,
                          const pk_row_audit *audit, pk_key_brief *brief,
                          pk_error *err) PK_MUST_USE;
/* OPEN: 28P01, 42704; 55000 the key has no password; 53400 too many wrong ones of this role in this
 * database, with the time to wait in the hint. *was_open: the service master key opens it anyway.
 * Opening it again is fine. */
typedef struct pk_open_request {
    const pk_database *db;
    const pk_opener *opener;
    pk_span password;
} pk_open_request;
bool pk_keeper_open_dmk(pk_keeper *keeper, const pk_open_request *request,
                        const pk_row_audit *audit, pk_key_brief *brief, bool *was_open,
                        pk_error *err) PK_MUST_USE;
/* CLOSE: 55000 if this session did not open it. */
bool pk_keeper_close_dmk(pk_keeper *keeper, const pk_database *db, const pk_opener *opener,
                         const pk_row_audit *audit, pk_error *err) PK_MUST_USE;
/* The session ended, or DISCARD ALL: its opened keys are wiped. Never waits, never fails. */
void pk_keeper_forget_session(pk_keeper *keeper, uint64_t session);

/* SHOW MASTER KEYS; `open` in pk_key_info: by itself, or opened by this session. */
bool pk_keeper_list(pk_keeper *keeper, const pk_opener *opener, pk_arena *arena, pk_key_info **list,
                    size_t *count, pk_error *err) PK_MUST_USE;

/* SHOW KEY BACKUPS. */
bool pk_keeper_backups(pk_keeper *keeper, pk_arena *arena, pk_backup_info **list, size_t *count,
                       pk_error *err) PK_MUST_USE;

/* ---- key files ---- */

typedef struct pk_export_order {
    const pk_database *db; /* NULL: the service master key */
    const pk_opener *opener;
    pk_span password; /* empty: sealed to the keystore itself */
    /* into the file */
    const char *statement, *user, *server_version, *system_identifier;
} pk_export_order;

typedef struct pk_export_receipt {
    pk_key_brief brief;
    pk_span contents;      /* which versions are in the file: for pk_keeper_record, opaque */
    const char *recipient; /* "password", or the keystore's id */
    int64_t created_at;
} pk_export_receipt;

/* Appends the sealed file, which has been opened again and compared. */
bool pk_keeper_export(pk_keeper *keeper, const pk_export_order *order, pk_arena *arena,
                      pk_buf *file, pk_export_receipt *receipt, pk_error *err) PK_MUST_USE;

/* Files that were written and read back, recorded together: each covers the versions in it. */
typedef struct pk_backup_note {
    const char *destination; /* redacted */
    pk_span contents;        /* of the receipt */
    const char *recipients_json;
    uint8_t sha256[32];
    uint64_t size;
} pk_backup_note;
bool pk_keeper_record(pk_keeper *keeper, const pk_backup_note *notes, size_t count,
                      const pk_row_audit *audit, pk_error *err) PK_MUST_USE;

typedef struct pk_import_order {
    const pk_database *db; /* NULL: the service master key */
    const pk_opener *opener;
    pk_span file;
    const char *name;     /* of the file, for messages */
    pk_span password;     /* that opens the file; empty: the keystore's own keys */
    pk_span new_password; /* of a database master key; empty: the service master key protects it */
    bool replace;         /* another key may be replaced if it can be opened; else 42710 */
    bool force;
    const char *destination; /* redacted; the file is recorded as a verified key backup */
} pk_import_order;

typedef struct pk_import_report {
    pk_restore_report restore;
    bool signed_by_us;
    char signer[25];
    bool recipients_differ;
} pk_import_report;
/* Opens the file, looks at its signer, restores, records the file: one transaction. */
bool pk_keeper_import(pk_keeper *keeper, const pk_import_order *order, const pk_row_audit *audit,
                      pk_arena *arena, pk_import_report *report, pk_error *err) PK_MUST_USE;

#endif
