/*
 * The key hierarchy (keys-and-security 2): an unlock slot opens the store key, the store key the
 * service master key, that one (or a password) the database master keys. Every change is one
 * catalog transaction with one audit row: all of it happened, or nothing.
 *
 * Keys leave only inside a keyset, on their way into a key file, and come back the same way. Calls
 * lock the keystore; any worker thread. They may derive keys from passwords (0.4 s each): never on
 * an event loop.
 */
#ifndef PK_ENGINE_KEYSTORE_H
#define PK_ENGINE_KEYSTORE_H

#include "base/clock.h"
#include "crypto/keyfile.h"
#include "engine/engine.h"
#include "storage/catalog.h"

typedef struct pk_keystore pk_keystore;

typedef struct pk_database {
    const char *name;
    int64_t oid;     /* 0: there is no such database any more */
    bool privileged; /* a superuser asks: a key made for this name or this OID alone will do, too */
} pk_database;

/* Whose opened master keys count. session 0: nobody's. */
typedef struct pk_opener {
    uint64_t session;
    const char *user; /* session_authorization when the key was opened */
} pk_opener;

/*
 * ---- life ----
 *
 *            open                      unseal_auto, unseal_password, unseal_recovery
 *   (closed) ----> SEALED  --------------------------------------------------------> OPEN
 *               catalog open, lock  <-------------------------------------------- every key call
 *               held, no key            seal
 *
 * A sealed keystore lists its slots, unchecked, and can be unsealed; every other call is 55000,
 * which says why it is sealed and what would open it.
 *
 * Calls lock the keystore, never while a key is derived from a password. What is borrowed
 * (pk_keystore_signer) ends with the seal: who seals sees to it that nobody is using it.
 */

/* Takes the lock, opens the catalog and tries the slots that need nobody; the keystore that comes
 * back is sealed if none of them opens it (the log says why). `create`: makes state directory, root
 * secret and keystore, with a `file` slot, when there is none. Fails only if there is no keystore
 * to speak of: 55006 owned by another process (the detail names it); 55000 not the expected uuid,
 * or none there; 42501, XX001 damaged, 58030. */
pk_keystore *pk_keystore_open(const char *state_dir, bool create, const char *expect,
                              const pk_clock *clock, pk_error *err) PK_MUST_USE;
void pk_keystore_close(pk_keystore *ks);
PK_DEFINE_AUTO_PTR(pk_keystore_close, pk_keystore *)
/* 42710 if there is one already. */
bool pk_keystore_create(const char *state_dir, const pk_clock *clock, pk_error *err) PK_MUST_USE;

bool pk_keystore_is_open(pk_keystore *ks);
/* 55000 "keystore is sealed": the detail says why, the hint names the kinds of slots there are and
 * the statement. For calls that hold the keystore's lock. */
bool pk_keystore_must_be_open(const pk_keystore *ks, pk_error *err) PK_MUST_USE;
/* Is it sealed? With the same error in `why`; sqlstate "" while open. Takes the lock. */
bool pk_keystore_why_sealed(pk_keystore *ks, pk_error *why);

/* Tries the `file` slots. True if it is open now, or was. False with the error of
 * pk_keystore_must_be_open, also after pk_keystore_seal: then nothing is tried. XX001: a slot
 * opened it, but what is inside is damaged. A cause is logged once, not at every try. */
bool pk_keystore_unseal_auto(pk_keystore *ks, pk_error *err) PK_MUST_USE;
/* 28P01 no slot of the kind opens with it; 42704 no such slot; 55000 it is open already. Slow: one
 * key derivation a slot, outside of every lock. The row is written with the slot's last_ok_at. */
bool pk_keystore_unseal_password(pk_keystore *ks, const pk_secret *password,
                                 const pk_row_audit *audit, pk_error *err) PK_MUST_USE;
/* `code`: text as typed; 28P01 also when it is no recovery code (the detail says so). */
bool pk_keystore_unseal_recovery(pk_keystore *ks, pk_span code, const pk_row_audit *audit,
                                 pk_error *err) PK_MUST_USE;
/* Writes the audit row (if it cannot be written, the log says so), then wipes store key, signing
 * key and the catalog's keys, whatever happened. Stays sealed until one of the two above, or the
 * next pk_keystore_open. */
bool pk_keystore_seal(pk_keystore *ks, const pk_row_audit *audit, pk_error *err) PK_MUST_USE;

/* Unlock slots, 1 to PK_SLOT_MAX, in the order of their ids; sealed: not checked. */
#define PK_SLOT_MAX       16u
#define PK_SLOT_LABEL_MAX 256u /* bytes */
bool pk_keystore_slots(pk_keystore *ks, pk_arena *arena, pk_row_slot **list, size_t *count,
                       pk_error *err) PK_MUST_USE;
/* kind "password": `password` is it; "recovery": `given` is the code's text, else a new one is made
 * and appended to `code` (a secret buffer); "file": makes root.key, 58P02 if there is one. label:
 * "" for none, 54000 longer than PK_SLOT_LABEL_MAX, 22023 not UTF-8 or with control characters.
 * 54000 PK_SLOT_MAX slots; 22023 another kind. A password is turned into a key outside of the lock.
 */
typedef struct pk_slot_order {
    const char *kind, *label;
    const pk_secret *password;
    pk_span given;
} pk_slot_order;
bool pk_keystore_add_slot(pk_keystore *ks, const pk_slot_order *order, const pk_row_audit *audit,
                          pk_buf *code, int64_t *id, pk_error *err) PK_MUST_USE;
/* 42704; 55000 the last one, or what remains is only `file` slots that root.key does not open. */
bool pk_keystore_drop_slot(pk_keystore *ks, int64_t id, const pk_row_audit *audit,
                           pk_error *err) PK_MUST_USE;

/* The audit trail's end, also of a sealed keystore. `rows` is counted by verify_audit only. */
typedef struct pk_keystore_head {
    int64_t rows, epoch;
    char hash[65]; /* hex */
} pk_keystore_head;
bool pk_keystore_head_get(pk_keystore *ks, pk_keystore_head *head, pk_error *err) PK_MUST_USE;
/* Walks the chain; `known`: hex of a head noted earlier that must be in it, or "". XX001; 42704 the
 * chain is sound but does not contain it (the catalog was put back to an older state). */
bool pk_keystore_verify_audit(pk_keystore *ks, const char *known, pk_keystore_head *head,
                              pk_error *err) PK_MUST_USE;

/* Texts to show: uuid, fingerprints. */
bool pk_keystore_summary_get(pk_keystore *ks, pk_keystore_summary *summary,
                             pk_error *err) PK_MUST_USE;
/* Borrowed as long as the keystore is open. */
const pk_identity *pk_keystore_signer(const pk_keystore *ks);
const uint8_t *pk_keystore_uuid(const pk_keystore *ks);
int64_t pk_keystore_now(const pk_keystore *ks);

/* What a change or an export did, for notices and the audit. */
typedef struct pk_key_brief {
    uint8_t uuid[16];
    int64_t version; /* current */
    char fingerprint[PK_FP_TEXT];
    bool dropped_database;   /* there is no database of that name any more */
    bool recreated_database; /* made for another name or OID: created anew, renamed, moved */
} pk_key_brief;

/* An audit row of its own: a refusal or a failure. */
bool pk_keystore_audit(pk_keystore *ks, const pk_row_audit *audit, pk_error *err) PK_MUST_USE;

/* CREATE MASTER KEY: wrapped by the service master key, and by the password if there is one. 42710.
 */
bool pk_keystore_create_dmk(pk_keystore *ks, const pk_database *db, const pk_secret *password,
                            const pk_row_audit *audit, pk_key_brief *brief,
                            pk_error *err) PK_MUST_USE;

/*
 * Opened master keys (keys-and-security 4.4): a key that only a password protects is usable by the
 * session and user that opened it, in that database, until CLOSE, pk_keystore_forget_session, SEAL,
 * or nobody used it for so long. Only in memory.
 *
 * OPEN: 42704 no key; 55000 the key has no password; 28P01 wrong password; 53400 too many wrong
 * ones of this user in this database (the hint has the seconds to wait), or too many opened keys.
 * *was_open: the service master key opens it anyway; the password is checked all the same. Opening
 * again is fine. The password becomes a key outside of the lock.
 */
typedef struct pk_open_order {
    const pk_database *db;
    const pk_opener *opener;
    const pk_secret *password;
} pk_open_order;
bool pk_keystore_open_dmk(pk_keystore *ks, const pk_open_order *order, const pk_row_audit *audit,
                          pk_key_brief *brief, bool *was_open, pk_error *err) PK_MUST_USE;
/* CLOSE: 55000 if this session and user did not open it. */
bool pk_keystore_close_dmk(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                           const pk_row_audit *audit, pk_error *err) PK_MUST_USE;
/* Wipes what the session opened. */
void pk_keystore_forget_session(pk_keystore *ks, uint64_t session);
/* How long an opened key may lie unused; 0: for ever, as in a new keystore. */
void pk_keystore_set_open_idle(pk_keystore *ks, uint32_t ms);
/* Wipes what lay unused for too long (which no call would use any more). To be called now and then.
 */
void pk_keystore_expire_opened(pk_keystore *ks);

/* All live versions into the set, with store uuid, epoch, audit head and time. 42704 no key; 55000
 * a key that neither the service master key nor the opener opened; XX001 damaged. */
bool pk_keystore_export_smk(pk_keystore *ks, pk_keyset *set, pk_key_brief *brief,
                            pk_error *err) PK_MUST_USE;
bool pk_keystore_export_dmk(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                            pk_keyset *set, pk_key_brief *brief, pk_error *err) PK_MUST_USE;

/* The key that opens files sealed to the keystore itself, and the recipient id that names it
 * ("keystore <uuid> v<n>"): of the current service master key, or of the one that an id names
 * (42704). */
pk_secret *pk_keystore_kek(pk_keystore *ks, char id[static PK_KEYFILE_ID_MAX],
                           pk_error *err) PK_MUST_USE;
pk_secret *pk_keystore_kek_by_id(pk_keystore *ks, const char *id, pk_error *err) PK_MUST_USE;

/* Verified files, recorded together: each covers the versions in its set. */
typedef struct pk_backup_record {
    const pk_keyset *set;
    const char *destination; /* redacted */
    const char *recipients_json;
    uint8_t sha256[32];
    size_t size;
} pk_backup_record;
bool pk_keystore_record_backups(pk_keystore *ks, const pk_backup_record *records, size_t count,
                                const pk_row_audit *audit, pk_error *err) PK_MUST_USE;

/* What a restore did. Names live in the arena. */
typedef struct pk_restore_report {
    pk_arena *arena; /* given by the caller */
    pk_key_brief brief;
    bool identical; /* nothing had to change */
    size_t added_versions;
    size_t rewrapped; /* children now under the restored key */
    size_t healed;    /* quarantined children that it opened */
    bool password_added;
    bool opens_by_itself;     /* wrapped by the service master key */
    const char **quarantined; /* children that FORCE left behind */
    size_t quarantined_count;
} pk_restore_report;

typedef struct pk_restore_order {
    /* The file that the set was read from, recorded as a verified key backup with the change if its
     * sha256 is not known yet; either way it covers the versions in it. Its own `set` is not looked
     * at. NULL: none. */
    const pk_backup_record *source;
    bool force;
    /* Of a database master key: */
    const pk_database *db;
    const pk_opener *opener; /* whose opened key counts as one that can be opened; NULL: nobody's */
    const pk_secret *password; /* new protector; NULL: the service master key protects it */
    bool replace; /* another key may be replaced if it can be opened (SQL Server); else 42710 */
} pk_restore_order;

/* keys-and-security 4.5. XX001 children that neither key opens (FORCE quarantines them). */
bool pk_keystore_restore_smk(pk_keystore *ks, const pk_keyset *set, const pk_restore_order *order,
                             const pk_row_audit *audit, pk_restore_report *report,
                             pk_error *err) PK_MUST_USE;
bool pk_keystore_restore_dmk(pk_keystore *ks, const pk_keyset *set, const pk_restore_order *order,
                             const pk_row_audit *audit, pk_restore_report *report,
                             pk_error *err) PK_MUST_USE;

/* SHOW MASTER KEYS. */
typedef struct pk_key_info {
    const char *database; /* NULL: the service master key */
    int64_t db_oid;
    uint8_t uuid[16];
    int64_t version;
    bool by_server;    /* opens without a password */
    bool open;         /* usable: by itself, or opened by the session that asks */
    int64_t passwords; /* password protectors of the current version */
    int64_t created_at, modified_at, last_backup_at;
    char fingerprint[PK_FP_TEXT];
    const char *state;
    const char *backed_up; /* "yes", "stale", "never" */
} pk_key_info;
bool pk_keystore_list(pk_keystore *ks, const pk_opener *opener, pk_arena *arena, pk_key_info **list,
                      size_t *count, pk_error *err) PK_MUST_USE;

/* SHOW KEY BACKUPS: a row per file and key in it, newest file first. */
typedef struct pk_backup_info {
    const char *database; /* NULL: the service master key */
    int64_t db_oid;
    const char *kind;        /* "service master key", "database master key" */
    const char *destination; /* redacted */
    int64_t version;         /* the newest of this key in the file */
    char fingerprint[PK_FP_TEXT];
    bool encrypted; /* always, until plaintext copies exist */
    bool stale;     /* the key has a newer version that this file does not contain */
    bool verified;
    int64_t created_at;
    const char *recipients_json;
} pk_backup_info;
bool pk_keystore_backups(pk_keystore *ks, pk_arena *arena, pk_backup_info **list, size_t *count,
                         pk_error *err) PK_MUST_USE;

/*
 * A data key under the database's master key, for wraps that live outside the catalog (DECISIONS
 * 14a). The wrap names the key by uuid, version and fingerprint; unwrapping looks for the uuid,
 * then for the fingerprint. opener NULL: nobody's; the service master key has to open it.
 */
typedef struct pk_data_wrap {
    uint8_t key_uuid[16], chain[16];
    int64_t ver;
    uint8_t fp[16];
    uint8_t blob[PK_WRAP_OVERHEAD + PK_KEY_LEN];
} pk_data_wrap;
bool pk_keystore_wrap_data_key(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                               const pk_secret *data_key, pk_data_wrap *wrap,
                               pk_error *err) PK_MUST_USE;
pk_secret *pk_keystore_unwrap_data_key(pk_keystore *ks, const pk_opener *opener,
                                       const pk_data_wrap *wrap, pk_error *err) PK_MUST_USE;

#endif
