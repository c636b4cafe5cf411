/*
 * What the proxy and the offline verbs see of everything below: keys, catalog, files, rights. A
 * statement goes in as a request, its results come back through the request's callback. All of it
 * runs in the engine's worker threads; nothing here waits, except where it says so.
 *
 * Opening never fails because of the keystore: if it cannot be opened or unsealed, key statements
 * answer 55000 or 57P03 and forwarding goes on (keys-and-security D13, DECISIONS 14e).
 */
#ifndef PK_ENGINE_ENGINE_H
#define PK_ENGINE_ENGINE_H

#include "base/clock.h"
#include "engine/request.h"

typedef struct pk_engine pk_engine;

typedef struct pk_engine_options {
    const char *state_dir;
    const char *service;          /* libpq connection string of the service connection */
    const char *admin_database;   /* "postgres" */
    const char *const *key_roots; /* keys.allowed_roots */
    size_t key_root_count;
    bool create_keystore;        /* keystore.create = auto */
    const char *expect_keystore; /* keystore.expect: uuid text, or NULL */
    bool secrets_need_tls;       /* security.require_tls_for_secrets */
    bool superuser_is_admin;     /* security.superuser_is_admin */
    bool owner_manages_dmk;      /* security.owner_manages_dmk */
    uint32_t unlock_timeout_ms;  /* keystore.unlock_timeout */
    uint32_t open_idle_ms;       /* keys.open_idle_timeout; 0: never */
    unsigned workers;            /* 0: the default, 4 */
} pk_engine_options;

/*
 * Once per process, before the first thread and before everything else: secure heap, JSON
 * allocator, no core dumps, not dumpable. Warns in the log when pages could not be locked.
 */
bool pk_engine_init_process(pk_error *err) PK_MUST_USE;

/* Copies the options; starts the keeper, which opens and unseals the keystore (creating it, if so
 * configured), and the workers. Fails only without memory or threads. */
pk_engine *pk_engine_open(const pk_engine_options *options, const pk_clock *clock,
                          pk_error *err) PK_MUST_USE;
/* Lets running statements end (waiting ones are answered 57P01), then stops the workers. Waits. */
void pk_engine_close(pk_engine *engine);

/* Ownership of the request moves. When too many wait, `done` is called at once with 53400. Any
 * thread. */
void pk_engine_submit(pk_engine *engine, pk_request *request);
/* Asks a waiting or running request to stop at its next safe point; unknown numbers are ignored.
 * Any thread. */
void pk_engine_cancel(pk_engine *engine, uint64_t number);

/* The master keys that this session opened are closed and wiped: it ended, its identity changed, or
 * DISCARD ALL. Also to be called when a request comes back whose session is gone. Any thread, never
 * waits. */
void pk_engine_forget_session(pk_engine *engine, uint64_t session);
/* `serve` is ending: the keystore is given up whenever no statement runs, so that a successor can
 * have it. Any thread, never waits. */
void pk_engine_drain(pk_engine *engine);

/* For the control socket (control.h): the engine's own keeper, borrowed until pk_engine_close. */
struct pk_keeper *pk_engine_keeper(pk_engine *engine);

/* `pgkeep init`: makes state directory, root secret and keystore, prints nothing. 42710 if there is
 * one already. uuid and identity are texts to show. Blocking. */
typedef struct pk_keystore_summary {
    char uuid[37];
    char identity[25]; /* fingerprint of the signing key */
    char service_master_key[25];
} pk_keystore_summary;
bool pk_engine_create_keystore(const char *state_dir, const pk_clock *clock,
                               pk_keystore_summary *summary, pk_error *err) PK_MUST_USE;

#endif
