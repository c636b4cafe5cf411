/*
 * One hash table of counters under one mutex: it is taken a few times in the life of a session. The
 * limits themselves are atomic, so that where there is none nobody waits to hear it.
 * Words are PostgreSQL's where it has some.
 */
#include "proxy/limits.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define BUCKETS 4096u /* chains stay short with as many sessions as there are descriptors */

typedef struct counter counter;
struct counter {
    counter *next;
    uint32_t count;
    pk_limit limit;
    char name[];
};

struct pk_limits {
    pthread_mutex_t lock;
    atomic_uint most[PK_LIMIT_COUNT];
    counter *total; /* always there */
    counter *buckets[BUCKETS];
};

pk_limits *pk_limits_new(void)
{
    pk_limits *limits = pk_new(pk_limits);
    pthread_mutex_init(&limits->lock, NULL);
    limits->total = pk_new_bytes(sizeof *limits->total + 1);
    return limits;
}

void pk_limits_free(pk_limits *limits)
{
    if (limits == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        counter *next;
        for (counter *c = limits->buckets[i]; c != NULL; c = next) {
            next = c->next;
            pk_free(c);
        }
    }
    pthread_mutex_destroy(&limits->lock);
    pk_free(limits->total);
    pk_free(limits);
}

void pk_limits_set(pk_limits *limits, const uint32_t most[static PK_LIMIT_COUNT])
{
    for (size_t i = 0; i < PK_LIMIT_COUNT; i++)
        atomic_store(&limits->most[i], most[i]);
}

/* FNV-1a. Names are chosen by clients; who fills one chain has made as many roles. */
static size_t bucket_of(pk_limit limit, const char *name)
{
    uint32_t hash = 2166136261u ^ (uint32_t)limit;
    for (; *name != 0; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash % BUCKETS;
}

static counter **find(pk_limits *limits, pk_limit limit, const char *name)
{
    if (limit == PK_LIMIT_TOTAL)
        return &limits->total;
    counter **at = &limits->buckets[bucket_of(limit, name)];
    while (*at != NULL && ((*at)->limit != limit || strcmp((*at)->name, name) != 0))
        at = &(*at)->next;
    return at;
}

static bool too_many(pk_limit limit, const char *name, uint32_t most, pk_error *err)
{
    switch (limit) {
    case PK_LIMIT_TOTAL:
        (void)pk_fail(err, PK_E_CONNECTIONS, "sorry, too many clients already");
        break;
    case PK_LIMIT_ADDRESS:
        (void)pk_fail(err, PK_E_CONNECTIONS, "too many connections from address %s", name);
        break;
    case PK_LIMIT_DATABASE:
        (void)pk_fail(err, PK_E_CONNECTIONS, "too many connections for database \"%s\"", name);
        break;
    case PK_LIMIT_ROLE:
    case PK_LIMIT_COUNT:
        (void)pk_fail(err, PK_E_CONNECTIONS, "too many connections for role \"%s\"", name);
        break;
    }
    return pk_error_detail(err, "pgkeep is configured to allow %u.", most);
}

static bool look(pk_limits *limits, pk_limit limit, const char *name, bool take, pk_error *err)
{
    const uint32_t most = atomic_load(&limits->most[limit]);
    if (most == 0 && !take)
        return true;
    pthread_mutex_lock(&limits->lock);
    counter **at = find(limits, limit, name);
    const bool room = most == 0 || *at == NULL || (*at)->count < most;
    if (room && take && *at == NULL) {
        counter *added = pk_new_bytes(sizeof *added + strlen(name) + 1);
        added->limit = limit;
        memcpy(added->name, name, strlen(name) + 1);
        *at = added;
    }
    if (room && take)
        (*at)->count++;
    pthread_mutex_unlock(&limits->lock);
    return room || too_many(limit, name, most, err);
}

bool pk_limits_has_room(pk_limits *limits, pk_limit limit, const char *name, pk_error *err)
{
    return look(limits, limit, name, false, err);
}

bool pk_limits_take(pk_limits *limits, pk_limit limit, const char *name, pk_error *err)
{
    return look(limits, limit, name, true, err);
}

void pk_limits_give(pk_limits *limits, pk_limit limit, const char *name)
{
    pthread_mutex_lock(&limits->lock);
    counter **at = find(limits, limit, name);
    counter *mine = *at;
    if (mine != NULL && mine->count > 0)
        mine->count--;
    if (mine != NULL && mine->count == 0 && limit != PK_LIMIT_TOTAL) {
        *at = mine->next;
        pk_free(mine);
    }
    pthread_mutex_unlock(&limits->lock);
}
