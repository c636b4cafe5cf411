/*
 * The master keys that sessions opened with OPEN MASTER KEY (keys-and-security 4.4): each version
 * that the password opened, bound to session, session_authorization, database and key. They are
 * wiped by CLOSE, when the session forgets them (its end, DISCARD ALL, another identity), after
 * lying idle, and with everything else when the keystore is sealed. Also the memory of wrong
 * passwords, so that guessing gets slower (T11).
 *
 * Part of the keystore; every call runs under its lock.
 */
#ifndef PK_ENGINE_OPENED_H
#define PK_ENGINE_OPENED_H

#include "engine/keystore.h"

#define PK_OPENED_MAX         1024u /* keys */
#define PK_OPENED_SESSION_MAX 16u
#define PK_OPENED_FREE_TRIES  5u

typedef struct pk_opened pk_opened;

pk_opened *pk_opened_new(const pk_clock *clock) PK_MUST_USE;
void pk_opened_free(pk_opened *opened);
/* 0: keys may lie idle for ever. */
void pk_opened_set_idle(pk_opened *opened, uint32_t ms);

/* Which key, and by whom. db NULL (in pk_opened_find): any database of the session. */
typedef struct pk_opened_key {
    const pk_opener *opener;
    const pk_database *db;
    uint8_t uuid[16];
} pk_opened_key;

/* 53400 unless another key, or this one, can be put. */
bool pk_opened_has_room(pk_opened *opened, const pk_opened_key *key, pk_error *err) PK_MUST_USE;
/* After pk_opened_has_room. Takes the secret; replaces the version if it is there. `fp`: text of
 * the key's current version. */
void pk_opened_put(pk_opened *opened, const pk_opened_key *key, int64_t ver, const char *fp,
                   pk_secret *secret);
/* Borrowed until the next call; counts as a use. NULL: not open for this opener in this database.
 * Another user in the same session finds nothing, and nothing is left for the first. */
const pk_secret *pk_opened_find(pk_opened *opened, const pk_opened_key *key, int64_t ver);
/* The same question without a use. */
bool pk_opened_has(const pk_opened *opened, const pk_opened_key *key, int64_t ver);
/* What this session and user opened in the database, found by its name alone. False: nothing. `fp`
 * is of one of them. */
bool pk_opened_close(pk_opened *opened, const pk_opener *opener, const char *database,
                     char fp[static PK_FP_TEXT]) PK_MUST_USE;
void pk_opened_forget(pk_opened *opened, uint64_t session);
void pk_opened_expire(pk_opened *opened);
/* Every key; the wrong passwords are remembered. */
void pk_opened_clear(pk_opened *opened);
size_t pk_opened_count(const pk_opened *opened);

/* Between the two a password is tried. May this user try one on this database's key now? 53400
 * with the seconds to wait, after five wrong ones in a row; passwords that are being tried count
 * as wrong until they are known to be right. */
bool pk_opened_may_try(pk_opened *opened, const char *user, const pk_database *db,
                       pk_error *err) PK_MUST_USE;
typedef enum pk_try { PK_TRY_RIGHT, PK_TRY_WRONG, PK_TRY_UNKNOWN } pk_try;
void pk_opened_tried(pk_opened *opened, const char *user, const pk_database *db, pk_try result);

#endif
