/*
 * Who may run what: asked of PostgreSQL over pgkeep's own service connection, on every statement,
 * never cached, never over the client's connection (DECISIONS 9, keys-and-security 10.2). One
 * object a worker; the connection lives as long as a request. Blocking.
 */
#ifndef PK_ENGINE_AUTHZ_H
#define PK_ENGINE_AUTHZ_H

#include "base/arena.h"
#include "engine/roles.h"

typedef struct pk_authz pk_authz;

/* Memberships as PostgreSQL's 'USAGE' has them, NOINHERIT honoured. Those of a superuser are the
 * ones that were granted, not the ones that PostgreSQL's own functions say he has. */
typedef struct pk_rights {
    bool superuser;
    bool owner;                /* of the database */
    bool connect;              /* may connect to it */
    bool roles[PK_ROLE_COUNT]; /* a role that does not exist has no members */
    bool admin;     /* may all; by the settings, so it is not PostgreSQL but exec.c who fills it */
    int64_t db_oid; /* 0: no such database */
    char server_version[32];
    char system_identifier[24]; /* "" if the service role may not know */
} pk_rights;

pk_authz *pk_authz_new(const char *conninfo) PK_MUST_USE;
void pk_authz_free(pk_authz *authz);
PK_DEFINE_AUTO_PTR(pk_authz_free, pk_authz *)

/* 57P03 when PostgreSQL cannot be asked (hint: the service connection); 42501 when the role is
 * unknown. */
bool pk_authz_ask(pk_authz *authz, const char *user, const char *database, pk_rights *rights,
                  pk_error *err) PK_MUST_USE;

/* Asks whether the roles exist, so that the log says at the start what is wrong. */
void pk_authz_probe(pk_authz *authz);
/* Nothing more to ask for now: an idle connection would hold up a shutdown of PostgreSQL. */
void pk_authz_rest(pk_authz *authz);

/* Every database that can be connected to and is no template, by name; names in the arena. */
typedef struct pk_authz_database {
    const char *name;
    int64_t oid;
} pk_authz_database;
bool pk_authz_databases(pk_authz *authz, pk_arena *arena, pk_authz_database **list, size_t *count,
                        pk_error *err) PK_MUST_USE;

#endif
