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

/* Opens and unseals; `create`: makes state directory, root secret and keystore when there is none.
 * 55006 owned by another process; 55000 not the expected uuid, or none there; 42501, XX001, 58030.
 */
pk_keystore *pk_keystore_open(const char *state_dir, bool create, const char *expect,
                              const pk_clock *clock, pk_error *err) PK_MUST_USE;
void pk_keystore_close(pk_keystore *ks);
PK_DEFINE_AUTO_PTR(pk_keystore_close, pk_keystore *)
/* 42710 if there is one already. */
bool pk_keystore_create(const char *state_dir, const pk_clock *clock, pk_error *err) PK_MUST_USE;

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

/* All live versions into the set, with store uuid, epoch, audit head and time. 42704 no key; 55000
 * a key that the service master key does not open; XX001 damaged. */
bool pk_keystore_export_smk(pk_keystore *ks, pk_keyset *set, pk_key_brief *brief,
                            pk_error *err) PK_MUST_USE;
bool pk_keystore_export_dmk(pk_keystore *ks, const pk_database *db, pk_keyset *set,
                            pk_key_brief *brief, pk_error *err) PK_MUST_USE;

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

/* keys-and-security 4.5. XX001 children that neither key opens (FORCE quarantines them). */
bool pk_keystore_restore_smk(pk_keystore *ks, const pk_keyset *set, bool force,
                             const pk_row_audit *audit, pk_restore_report *report,
                             pk_error *err) PK_MUST_USE;

typedef struct pk_dmk_restore {
    const pk_database *db;
    const pk_secret *password; /* new protector; NULL: the service master key protects it */
    bool replace; /* another key may be replaced if it can be opened (SQL Server); else 42710 */
    bool force;
} pk_dmk_restore;
bool pk_keystore_restore_dmk(pk_keystore *ks, const pk_keyset *set, const pk_dmk_restore *how,
                             const pk_row_audit *audit, pk_restore_report *report,
                             pk_error *err) PK_MUST_USE;

/* SHOW MASTER KEYS. */
typedef struct pk_key_info {
    const char *database; /* NULL: the service master key */
    int64_t db_oid;
    uint8_t uuid[16];
    int64_t version;
    bool by_server;    /* opens without a password */
    int64_t passwords; /* password protectors of the current version */
    int64_t created_at, modified_at, last_backup_at;
    char fingerprint[PK_FP_TEXT];
    const char *state;
    const char *backed_up; /* "yes", "stale", "never" */
} pk_key_info;
bool pk_keystore_list(pk_keystore *ks, pk_arena *arena, pk_key_info **list, size_t *count,
                      pk_error *err) PK_MUST_USE;

/*
 * A data key under the database's master key, for wraps that live outside the catalog (DECISIONS
 * 14a). The wrap names the key by uuid, version and fingerprint; unwrapping looks for the uuid,
 * then for the fingerprint. password: NULL when the service master key opens the master key.
 */
typedef struct pk_data_wrap {
    uint8_t key_uuid[16], chain[16];
    int64_t ver;
    uint8_t fp[16];
    uint8_t blob[PK_WRAP_OVERHEAD + PK_KEY_LEN];
} pk_data_wrap;
bool pk_keystore_wrap_data_key(pk_keystore *ks, const pk_database *db, const pk_secret *password,
                               const pk_secret *data_key, pk_data_wrap *wrap,
                               pk_error *err) PK_MUST_USE;
pk_secret *pk_keystore_unwrap_data_key(pk_keystore *ks, const pk_secret *password,
                                       const pk_data_wrap *wrap, pk_error *err) PK_MUST_USE;

#endif
