/*
 * The payload of a key file: key versions and their metadata as a JWK Set (RFC 7517) on line 1, a
 * signature on line 2 (keys-and-security 7.3, docs/formats/keyfile.md). A keyset owns its secrets
 * and strings; one thread at a time.
 */
#ifndef PK_CRYPTO_JWK_H
#define PK_CRYPTO_JWK_H

#include "base/arena.h"
#include "base/buf.h"
#include "crypto/identity.h"
#include "crypto/wrap.h"

#define PK_KEYSET_MAX 4096u

typedef struct pk_keyset_key {
    uint8_t uuid[16];
    uint32_t ver;
    const char *kind;  /* "smk", "dmk" */
    const char *scope; /* "service", "db" */
    const char *db;    /* "" for the service scope */
    const char *name;  /* "master" */
    const char *state; /* "current", "retired", .. */
    const char *purpose;
    const char *origin; /* "generated", "restored" */
    bool exportable;
    int64_t created_at; /* microseconds, UTC */
    uint8_t fp[16];
    pk_secret *key; /* owned by the keyset */
} pk_keyset_key;

typedef struct pk_keyset {
    pk_arena arena; /* of the strings */
    pk_keyset_key *keys;
    size_t count;
    /* who, when, from where */
    const char *type; /* the statement's words, "BACKUP MASTER KEY" */
    uint8_t store_uuid[16];
    int64_t store_epoch;
    const char *audit_head; /* hex, "" if none */
    int64_t created_at;
    const char *created_by;
    const char *server_version; /* of PostgreSQL; "" if unknown */
    const char *system_identifier;
    /* filled by reading: the signature was right; whose it is */
    uint8_t signer[PK_IDENTITY_PUBLIC];
    const char **recipients; /* the signed list: "password", or a key's id */
    size_t recipient_count;
    bool recipients_differ; /* by pk_keyfile_open_*: the file has others than the list */
} pk_keyset;

void pk_keyset_init(pk_keyset *set);
void pk_keyset_clear(pk_keyset *set); /* wipes */
/* Room for one more key, zeroed, to be filled before the next one is asked for (which may move it);
 * its strings may point anywhere that outlives the set or into set->arena. */
pk_keyset_key *pk_keyset_add(pk_keyset *set, pk_error *err) PK_MUST_USE;

/* Both lines, signed. out must be a secret buffer. `recipients` are texts for the payload's list.
 * XX001 if a key does not have the fingerprint that the set says; 22023 if a name is not UTF-8. */
bool pk_keyset_write(const pk_keyset *set, const char *const *recipients, size_t recipient_count,
                     const pk_identity *signer, pk_buf *out, pk_error *err) PK_MUST_USE;
/* XX001: not what we write: duplicate names, unknown format, count or fingerprint mismatch, key of
 * another length, bad signature. */
bool pk_keyset_read(pk_span payload, pk_keyset *set, pk_error *err) PK_MUST_USE;

#endif
