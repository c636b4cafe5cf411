/*
 * Private to the keystore: the rows of one key together (key, versions, wraps), and the steps every
 * statement is made of: find, open, make a wrap, write. All calls run under the keystore's lock.
 */
#ifndef PK_ENGINE_KEYRING_H
#define PK_ENGINE_KEYRING_H

#include "engine/opened.h"

#include <pthread.h>

struct pk_keystore {
    pthread_mutex_t lock;
    const pk_clock *clock;
    pk_catalog *catalog;
    pk_secret *store_key; /* NULL: sealed */
    uint8_t uuid[16];
    pk_identity identity;
    int state_fd;
    bool sealed_by_order; /* not by a slot that is missing */
    pk_error why_sealed;  /* why no slot opened it; logged when it changes */
    pk_opened *opened;    /* what OPEN MASTER KEY opened; empty while sealed */
};

/* The rest of the scope runs under the keystore's lock. */
static inline void pk_ring_unlock(pk_keystore **ks)
{
    pthread_mutex_unlock(&(*ks)->lock);
}
#define PK_RING_LOCKED(ks)                                                                         \
    pthread_mutex_lock(&(ks)->lock);                                                               \
    PK_AUTO(pk_ring_unlock) pk_keystore *pk_locked_ __attribute__((unused)) = (ks)

typedef struct pk_ring_key {
    pk_row_key *key;
    pk_row_key_version *versions;
    size_t version_count;
    pk_row_wrap *wraps;
    bool *wrap_damaged; /* its MAC is wrong: as if it were not there, and never written again */
    size_t wrap_count;
    bool key_damaged; /* the key's own row */
    bool *version_damaged;
    bool damaged; /* any of these: pk_ring_open refuses, a restore can mend */
} pk_ring_key;

/* Which key. ring->key is NULL (and the call true) when there is none; damaged ones are found,
 * marked. */
bool pk_ring_find_smk(pk_keystore *ks, pk_arena *arena, pk_ring_key *ring,
                      pk_error *err) PK_MUST_USE;
/* The live key of a database: the one made for this name and OID; else, and only when asked by a
 * superuser, of this name, else of this OID (created anew, renamed, or moved to another cluster).
 * 42501 for everybody else. */
bool pk_ring_find_dmk(pk_keystore *ks, const pk_database *db, pk_arena *arena, pk_ring_key *ring,
                      pk_error *err) PK_MUST_USE;
/* In any state. */
bool pk_ring_find_uuid(pk_keystore *ks, const uint8_t uuid[static 16], pk_arena *arena,
                       pk_ring_key *ring, pk_error *err) PK_MUST_USE;
/* Every key of the catalog, damaged ones marked. */
bool pk_ring_all(pk_keystore *ks, pk_arena *arena, pk_ring_key **list, size_t *count,
                 pk_error *err) PK_MUST_USE;

pk_row_key_version *pk_ring_version(const pk_ring_key *ring, int64_t ver);
/* "service master key" or `database master key of "x"`, in the arena (or a fixed text without
 * memory). */
/* The row of a key that is about to be made: active, version 1, not inserted. NULL: the service
 * master key. The strings are borrowed; the uuid is the caller's to fill. */
pk_row_key pk_ring_new_row(const pk_keystore *ks, const pk_database *db, const char *actor);
/* Was it made for just this database? */
bool pk_ring_is_of(const pk_row_key *key, const pk_database *db);
const char *pk_ring_label(const pk_row_key *key, pk_arena *arena);
bool pk_ring_is_smk(const pk_row_key *key);
void pk_ring_brief(const pk_ring_key *ring, pk_key_brief *brief);

/* May wrap i be opened: neither damaged nor quarantined? */
bool pk_ring_usable(const pk_ring_key *ring, size_t i);
/* Is there, or was there before it was damaged or quarantined, a wrap of this version by "smk"? */
bool pk_ring_had_wrap(const pk_ring_key *ring, int64_t ver, const char *by);
/* Is there a usable wrap of this version by "smk" / "password"? */
bool pk_ring_has_wrap(const pk_ring_key *ring, int64_t ver, const char *by);

/* Whose opened master keys count, and in which database (NULL: any of the session). */
typedef struct pk_ring_asker {
    const pk_opener *opener; /* NULL: nobody's */
    const pk_database *db;
} pk_ring_asker;

/* The key itself, by whatever opens it: OPEN MASTER KEY of the asker (NULL: nobody), store key,
 * service master key. Compared with the fingerprint of its row. 55000 no wrap that could; XX001
 * damaged. */
pk_secret *pk_ring_open(pk_keystore *ks, const pk_ring_key *ring, int64_t ver,
                        const pk_ring_asker *asker, pk_error *err) PK_MUST_USE;
/* Is this the version's key, by the fingerprint of its row? XX001. */
bool pk_ring_check(const pk_ring_key *ring, int64_t ver, const pk_secret *secret,
                   pk_error *err) PK_MUST_USE;

/* What a version is, or is to be, wrapped by. */
typedef struct pk_ring_parent {
    const char *by; /* "sk", "smk", "dmk", "password" */
    const pk_secret *secret;
    const char *kdf_json; /* how `secret` came from a password */
    uint8_t uuid[16];
    int64_t ver;
    uint8_t fp[16];
    bool has_fp;
} pk_ring_parent;
/* A version of a key and its bytes, on their way into the catalog. */
typedef struct pk_ring_child {
    const pk_row_key *key;
    int64_t ver;
    const pk_secret *secret;
} pk_ring_child;
/* A wrap row, its strings and blob in the arena, not yet inserted. */
bool pk_ring_wrap(pk_keystore *ks, const pk_ring_child *child, const pk_ring_parent *parent,
                  pk_arena *arena, pk_row_wrap *row, pk_error *err) PK_MUST_USE;
/* Opens one wrap row with the secret of its parent; of a password, with the key made from it by the
 * row's parameters. 28P01. */
pk_secret *pk_ring_unwrap(pk_keystore *ks, const pk_row_key *key, const pk_row_wrap *row,
                          const pk_secret *parent, pk_error *err) PK_MUST_USE;

/* The current service master key, opened: returned to the caller, borrowed by the parent that is
 * filled. */
pk_secret *pk_ring_smk_parent(pk_keystore *ks, pk_arena *arena, pk_ring_parent *parent,
                              pk_error *err) PK_MUST_USE;

/* A new password as a parent, its key returned to the caller and borrowed by the parent: fresh
 * parameters, in the arena. Slow: outside of the keystore's lock. */
pk_secret *pk_ring_password_parent(const pk_secret *password, pk_arena *arena,
                                   pk_ring_parent *parent, pk_error *err) PK_MUST_USE;

/* Inside a transaction: make and insert a wrap. */
bool pk_ring_add_wrap(pk_keystore *ks, const pk_ring_child *child, const pk_ring_parent *parent,
                      pk_arena *arena, pk_error *err) PK_MUST_USE;
/* Inside a transaction: a new version row. */
bool pk_ring_add_version(pk_keystore *ks, const pk_ring_child *child, const char *state,
                         const char *origin, pk_error *err) PK_MUST_USE;

/* Inside a transaction: the file that a restored set came from, as a verified key backup that
 * covers the versions in it (key_backups.c). Nothing for a NULL record. */
bool pk_ring_record_source(pk_keystore *ks, const pk_keyset *set, const pk_backup_record *source,
                           const char *actor, pk_error *err) PK_MUST_USE;

/* The end of every change: committed with its audit row, or as if it had never begun. */
bool pk_ring_end_change(pk_keystore *ks, bool ok, const pk_row_audit *audit,
                        pk_error *err) PK_MUST_USE;

#endif
