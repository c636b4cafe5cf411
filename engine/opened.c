/*
 * Two short lists, searched from end to end: a process has few opened keys and few people who
 * mistype. Times are monotonic, so a clock that is set does not keep a key open.
 */
#include "engine/opened.h"

#include <stdio.h>
#include <string.h>

#define WAIT_FIRST   5u /* seconds, doubled with each further wrong password */
#define WAIT_MAX     300u
#define GUESSERS_MAX 256u

typedef struct version {
    struct version *next;
    int64_t ver;
    pk_secret *secret;
} version;

typedef struct entry {
    struct entry *next;
    uint64_t session;
    char *user, *database;
    int64_t db_oid;
    uint8_t uuid[16];
    char fp[PK_FP_TEXT];
    version *versions;
    int64_t used_us;
} entry;

typedef struct guesser {
    struct guesser *next; /* the newest first */
    char *user, *database;
    int64_t db_oid;
    unsigned wrong; /* in a row */
    unsigned trying;
    int64_t at_us; /* the last wrong one */
} guesser;

struct pk_opened {
    const pk_clock *clock;
    int64_t idle_us;
    entry *entries;
    size_t count;
    guesser *guessers;
    size_t guesser_count;
};

pk_opened *pk_opened_new(const pk_clock *clock)
{
    pk_opened *opened = pk_new(pk_opened);
    opened->clock = clock;
    return opened;
}

static int64_t now(const pk_opened *opened)
{
    return opened->clock->mono_us(opened->clock);
}

static void remove_entry(pk_opened *opened, entry **at)
{
    entry *e = *at;
    *at = e->next;
    opened->count--;
    while (e->versions != NULL) {
        version *v = e->versions;
        e->versions = v->next;
        pk_secret_free(v->secret);
        pk_free(v);
    }
    pk_free(e->user);
    pk_free(e->database);
    pk_free(e);
}

static void remove_guesser(pk_opened *opened, guesser **at)
{
    guesser *g = *at;
    *at = g->next;
    opened->guesser_count--;
    pk_free(g->user);
    pk_free(g->database);
    pk_free(g);
}

void pk_opened_clear(pk_opened *opened)
{
    while (opened->entries != NULL)
        remove_entry(opened, &opened->entries);
}

void pk_opened_free(pk_opened *opened)
{
    if (opened == NULL)
        return;
    pk_opened_clear(opened);
    while (opened->guessers != NULL)
        remove_guesser(opened, &opened->guessers);
    pk_free(opened);
}

void pk_opened_set_idle(pk_opened *opened, uint32_t ms)
{
    opened->idle_us = (int64_t)ms * 1000;
}

size_t pk_opened_count(const pk_opened *opened)
{
    return opened->count;
}

static bool is_idle(const pk_opened *opened, const entry *e)
{
    return opened->idle_us > 0 && now(opened) - e->used_us >= opened->idle_us;
}

static bool is_by(const entry *e, const pk_opener *opener)
{
    return e->session == opener->session && strcmp(e->user, opener->user) == 0;
}

static bool is_of(const entry *e, const pk_opened_key *key)
{
    return is_by(e, key->opener) && memcmp(e->uuid, key->uuid, sizeof e->uuid) == 0 &&
           (key->db == NULL ||
            (e->db_oid == key->db->oid && strcmp(e->database, key->db->name) == 0));
}

/* What the session opened under another name is not there for whoever it is now, nor later. */
static void drop_strangers(pk_opened *opened, const pk_opener *opener)
{
    for (entry **at = &opened->entries; *at != NULL;)
        if ((*at)->session == opener->session && !is_by(*at, opener))
            remove_entry(opened, at);
        else
            at = &(*at)->next;
}

void pk_opened_expire(pk_opened *opened)
{
    for (entry **at = &opened->entries; *at != NULL;)
        if (is_idle(opened, *at))
            remove_entry(opened, at);
        else
            at = &(*at)->next;
}

void pk_opened_forget(pk_opened *opened, uint64_t session)
{
    for (entry **at = &opened->entries; *at != NULL;)
        if ((*at)->session == session)
            remove_entry(opened, at);
        else
            at = &(*at)->next;
}

static entry *find(const pk_opened *opened, const pk_opened_key *key)
{
    entry *e = opened->entries;
    while (e != NULL && !is_of(e, key))
        e = e->next;
    return e;
}

static version *find_version(const entry *e, int64_t ver)
{
    version *v = e == NULL ? NULL : e->versions;
    while (v != NULL && v->ver != ver)
        v = v->next;
    return v;
}

bool pk_opened_has_room(pk_opened *opened, const pk_opened_key *key, pk_error *err)
{
    size_t own = 0;
    pk_opened_expire(opened);
    drop_strangers(opened, key->opener);
    if (find(opened, key) != NULL)
        return true;
    for (const entry *e = opened->entries; e != NULL; e = e->next)
        own += e->session == key->opener->session;
    if (own < PK_OPENED_SESSION_MAX && opened->count < PK_OPENED_MAX)
        return true;
    pk_fail(err, PK_E_LIMIT_CONFIGURED, "too many master keys are open");
    pk_error_detail(err, "%zu by this session, %zu altogether.", own, opened->count);
    return pk_error_hint(err, "CLOSE MASTER KEY closes one.");
}

static entry *add(pk_opened *opened, const pk_opened_key *key, const char *fp)
{
    entry *e = pk_new(entry);
    *e = (entry){.next = opened->entries,
                 .session = key->opener->session,
                 .user = pk_strdup(key->opener->user),
                 .database = pk_strdup(key->db->name),
                 .db_oid = key->db->oid};
    memcpy(e->uuid, key->uuid, sizeof e->uuid);
    snprintf(e->fp, sizeof e->fp, "%s", fp);
    opened->entries = e;
    opened->count++;
    return e;
}

void pk_opened_put(pk_opened *opened, const pk_opened_key *key, int64_t ver, const char *fp,
                   pk_secret *secret)
{
    entry *e = find(opened, key);
    if (e == NULL)
        e = add(opened, key, fp);
    e->used_us = now(opened);
    version *v = find_version(e, ver);
    if (v == NULL) {
        v = pk_new(version);
        *v = (version){.next = e->versions, .ver = ver};
        e->versions = v;
    }
    pk_secret_free(v->secret);
    v->secret = secret;
}

static bool is_somebody(const pk_opener *opener)
{
    return opener != NULL && opener->session != 0;
}

const pk_secret *pk_opened_find(pk_opened *opened, const pk_opened_key *key, int64_t ver)
{
    if (!is_somebody(key->opener))
        return NULL;
    pk_opened_expire(opened);
    drop_strangers(opened, key->opener);
    entry *e = find(opened, key);
    const version *v = find_version(e, ver);
    if (e == NULL || v == NULL)
        return NULL;
    e->used_us = now(opened);
    return v->secret;
}

bool pk_opened_has(const pk_opened *opened, const pk_opened_key *key, int64_t ver)
{
    if (!is_somebody(key->opener))
        return false;
    const entry *e = find(opened, key);
    return e != NULL && !is_idle(opened, e) && find_version(e, ver) != NULL;
}

bool pk_opened_close(pk_opened *opened, const pk_opener *opener, const char *database,
                     char fp[static PK_FP_TEXT])
{
    bool any = false;
    pk_opened_expire(opened);
    drop_strangers(opened, opener);
    for (entry **at = &opened->entries; *at != NULL;)
        if (is_by(*at, opener) && strcmp((*at)->database, database) == 0) {
            memcpy(fp, (*at)->fp, PK_FP_TEXT);
            remove_entry(opened, at);
            any = true;
        } else {
            at = &(*at)->next;
        }
    return any;
}

/* ---- guessing ---- */

static guesser **find_guesser(pk_opened *opened, const char *user, const pk_database *db)
{
    guesser **at = &opened->guessers;
    while (*at != NULL && (strcmp((*at)->user, user) != 0 || (*at)->db_oid != db->oid ||
                           strcmp((*at)->database, db->name) != 0))
        at = &(*at)->next;
    return at;
}

static int64_t wait_us(const guesser *g)
{
    unsigned wait = WAIT_FIRST;
    for (unsigned i = PK_OPENED_FREE_TRIES; i < g->wrong && wait < WAIT_MAX; i++)
        wait *= 2;
    return (int64_t)(wait < WAIT_MAX ? wait : WAIT_MAX) * 1000000;
}

/* The oldest that nobody is at makes room: it has waited longest. */
static guesser *add_guesser(pk_opened *opened, const char *user, const pk_database *db)
{
    if (opened->guesser_count == GUESSERS_MAX) {
        guesser **oldest = NULL;
        for (guesser **at = &opened->guessers; *at != NULL; at = &(*at)->next)
            if ((*at)->trying == 0)
                oldest = at;
        if (oldest == NULL)
            return NULL;
        remove_guesser(opened, oldest);
    }
    guesser *g = pk_new(guesser);
    *g = (guesser){.next = opened->guessers,
                   .user = pk_strdup(user),
                   .database = pk_strdup(db->name),
                   .db_oid = db->oid};
    opened->guessers = g;
    opened->guesser_count++;
    return g;
}

/* After the free tries: one at a time, and not before its time. */
static int64_t left_us(const pk_opened *opened, const guesser *g)
{
    if (g->wrong + g->trying < PK_OPENED_FREE_TRIES)
        return 0;
    const int64_t left = g->wrong < PK_OPENED_FREE_TRIES ? 0 : g->at_us + wait_us(g) - now(opened);
    return left > 0 ? left : g->trying;
}

bool pk_opened_may_try(pk_opened *opened, const char *user, const pk_database *db, pk_error *err)
{
    guesser *g = *find_guesser(opened, user, db);
    if (g == NULL)
        g = add_guesser(opened, user, db);
    const int64_t left = g == NULL ? 1 : left_us(opened, g);
    if (left <= 0) {
        g->trying++;
        return true;
    }
    pk_fail(err, PK_E_LIMIT_CONFIGURED, "too many wrong passwords for the master key of \"%s\"",
            db->name);
    return pk_error_hint(err, "Try again in %lld seconds.", (long long)((left + 999999) / 1000000));
}

void pk_opened_tried(pk_opened *opened, const char *user, const pk_database *db, pk_try result)
{
    guesser **at = find_guesser(opened, user, db);
    guesser *g = *at;
    if (g == NULL || g->trying == 0)
        return;
    g->trying--;
    if (result == PK_TRY_RIGHT)
        g->wrong = 0;
    if (result == PK_TRY_WRONG) {
        g->wrong++;
        g->at_us = now(opened);
    }
    if (g->wrong == 0 && g->trying == 0)
        remove_guesser(opened, at);
}
