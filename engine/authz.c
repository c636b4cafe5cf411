/*
 * One query with everything schema-qualified and search_path empty, so that no role can shadow a
 * name or an operator (T13). A broken connection is made anew once per question; if that fails the
 * answer is no.
 */
#include "engine/authz.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 6000 /* a second more than the statement_timeout that is asked for */

struct pk_authz {
    char *conninfo;
    PGconn *conn;
    char system_identifier[24];
};

/* clang-format off: a line of SQL is a line */
#define EQUAL " OPERATOR(pg_catalog.=) "
/* PostgreSQL's own answer, but not for superusers, to whom it always says yes. */
#define HOLDS(role)                                                                                \
    "CASE WHEN r.rolsuper THEN " role EQUAL "ANY (ARRAY(SELECT h.oid FROM held h))"                \
    " ELSE pg_catalog.pg_has_role(r.oid, " role ", 'USAGE') END"
#define HOLDS_NAMED(id, name, purpose)                                                             \
    ", COALESCE((SELECT " HOLDS("p.oid") " FROM pg_catalog.pg_roles p"                             \
                                         " WHERE p.rolname::pg_catalog.text" EQUAL "'" name        \
                                         "'), false)"

/* Whether a membership passes on rights is said by the member up to PostgreSQL 15, by the
 * membership since 16; asked through JSON, since a column that is not there would be an error. */
static const char rights_query[] =
    "WITH RECURSIVE held(oid) AS ("
    " SELECT m.oid FROM pg_catalog.pg_roles m WHERE m.rolname::pg_catalog.text" EQUAL "$1"
    " UNION SELECT a.roleid FROM held h"
    " JOIN pg_catalog.pg_auth_members a ON a.member" EQUAL "h.oid"
    " JOIN pg_catalog.pg_roles m ON m.oid" EQUAL "h.oid"
    " WHERE COALESCE((pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) 'inherit_option')"
    "::pg_catalog.bool, m.rolinherit))"
    " SELECT r.rolsuper, COALESCE(d.oid, 0)::pg_catalog.text,"
    " COALESCE(" HOLDS("d.datdba") ", false),"
                                   " COALESCE(pg_catalog.has_database_privilege(r.oid, d.oid, "
                                   "'CONNECT'), false)" PK_ROLES(
                                       HOLDS_NAMED) " FROM pg_catalog.pg_roles r"
                                                    " LEFT JOIN pg_catalog.pg_database d ON "
                                                    "d.datname::pg_catalog.text" EQUAL "$2"
                                                    " WHERE r.rolname::pg_catalog.text" EQUAL "$1";

#define OR_NAMED(id, name, purpose) ", ('" name "')"
static const char absent_query[] =
    "SELECT pg_catalog.string_agg(w.name, ', ') FROM (VALUES (NULL::pg_catalog.text)" PK_ROLES(
        OR_NAMED) ") w(name)"
                  " WHERE w.name IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles p"
                  " WHERE p.rolname::pg_catalog.text" EQUAL "w.name)";
/* clang-format on */

enum { FIELD_SUPERUSER, FIELD_OID, FIELD_OWNER, FIELD_CONNECT, FIELD_ROLES };

static void drop_result(PGresult **at)
{
    PQclear(*at);
}

pk_authz *pk_authz_new(const char *conninfo)
{
    pk_authz *authz = pk_new(pk_authz);
    authz->conninfo = pk_strdup(conninfo);
    return authz;
}

static void disconnect(pk_authz *authz)
{
    PQfinish(authz->conn);
    authz->conn = NULL;
}

void pk_authz_free(pk_authz *authz)
{
    if (authz == NULL)
        return;
    disconnect(authz);
    pk_wipe(authz->conninfo, strlen(authz->conninfo)); /* may hold the service role's password */
    pk_free(authz->conninfo);
    pk_free(authz);
}

/* What libpq says goes to our log and not to the client, who may be anybody. */
static bool unreachable(const char *why, pk_error *err)
{
    const size_t len = strcspn(why, "\n"); /* libpq's text has lines; the first says it */
    pk_log_warning("service connection: %.*s", (int)len, why);
    pk_fail(err, PK_E_NOT_READY, "pgkeep's service connection is not available");
    pk_error_detail(err, "PostgreSQL could not be asked who may run this; pgkeep's log says why.");
    return pk_error_hint(
        err,
        "Check the setting service.conninfo (--service); ordinary statements are not affected.");
}

/* libpq's complaint about a connection string quotes it, password and all: it is not passed on. */
static bool check_conninfo(const char *conninfo, pk_error *err)
{
    char *complaint = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &complaint);
    const bool ok = options != NULL;
    PQconninfoFree(options);
    if (complaint != NULL) {
        pk_wipe(complaint, strlen(complaint));
        PQfreemem(complaint);
    }
    return ok || unreachable("service.conninfo is no valid connection string", err);
}

/* libpq would print notices of the server on stderr; they are of no use here. */
static void drop_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

static int64_t now_ms(void)
{
    return pk_clock_system.mono_us(&pk_clock_system) / 1000;
}

/* Waits for the socket until the deadline; libpq's own calls would wait for ever on a server that
 * hangs. */
static bool wait_readable(PGconn *conn, int64_t deadline)
{
    struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
    for (;;) {
        const int64_t left = deadline - now_ms();
        if (left <= 0 || fd.fd < 0)
            return false;
        const int n = poll(&fd, 1, (int)left);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

/* The last result of what was sent; NULL when none came in time. */
static PGresult *await_result(PGconn *conn)
{
    const int64_t deadline = now_ms() + ANSWER_MS;
    PGresult *last = NULL;
    for (;;) {
        while (PQisBusy(conn))
            if (!wait_readable(conn, deadline) || !PQconsumeInput(conn)) {
                PQclear(last);
                return NULL;
            }
        PGresult *next = PQgetResult(conn);
        if (next == NULL)
            return last;
        PQclear(last);
        last = next;
    }
}

static PGresult *ask(PGconn *conn, const char *sql, int count, const char *const *values)
{
    return PQsendQueryParams(conn, sql, count, NULL, values, NULL, NULL, 0) ? await_result(conn)
                                                                            : NULL;
}

static bool run(pk_authz *authz, const char *sql)
{
    __attribute__((cleanup(drop_result))) PGresult *res = ask(authz->conn, sql, 0, NULL);
    return PQresultStatus(res) == PGRES_TUPLES_OK;
}

/* Which cluster this is, for the key file; needs no right that matters, so a refusal is no fault.
 */
static void read_identifier(pk_authz *authz)
{
    __attribute__((cleanup(drop_result))) PGresult *res =
        ask(authz->conn, "SELECT system_identifier FROM pg_catalog.pg_control_system()", 0, NULL);
    authz->system_identifier[0] = '\0';
    if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1)
        snprintf(authz->system_identifier, sizeof authz->system_identifier, "%s",
                 PQgetvalue(res, 0, 0));
}

static bool connect_service(pk_authz *authz, pk_error *err)
{
    if (!check_conninfo(authz->conninfo, err))
        return false;
    authz->conn = PQconnectdb(authz->conninfo);
    if (authz->conn == NULL || PQstatus(authz->conn) != CONNECTION_OK) {
        unreachable(authz->conn == NULL ? "out of memory" : PQerrorMessage(authz->conn), err);
        disconnect(authz);
        return false;
    }
    PQsetNoticeReceiver(authz->conn, drop_notice, NULL);
    if (!run(authz, "SELECT pg_catalog.set_config('search_path', '', false),"
                    " pg_catalog.set_config('statement_timeout', '5s', false)")) {
        unreachable(PQerrorMessage(authz->conn), err);
        disconnect(authz);
        return false;
    }
    read_identifier(authz);
    return true;
}

/* The result of a query, on the connection that is there or on a new one. NULL: nobody could be
 * asked. */
static PGresult *query(pk_authz *authz, const char *sql, int count, const char *const *values,
                       pk_error *err)
{
    const bool fresh = authz->conn == NULL;
    if (fresh && !connect_service(authz, err))
        return NULL;
    PGresult *res = ask(authz->conn, sql, count, values);
    if (!fresh && PQstatus(authz->conn) != CONNECTION_OK) {
        pk_log_info("service connection was lost; connecting again");
        PQclear(res);
        disconnect(authz);
        if (!connect_service(authz, err))
            return NULL;
        res = ask(authz->conn, sql, count, values);
    }
    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        return res;
    unreachable(res == NULL ? "no answer within 6 s, or the connection was lost"
                            : PQerrorMessage(authz->conn),
                err);
    PQclear(res);
    disconnect(authz);
    return NULL;
}

static bool is_true(const PGresult *res, int field)
{
    return PQgetvalue(res, 0, field)[0] == 't';
}

bool pk_authz_ask(pk_authz *authz, const char *user, const char *database, pk_rights *rights,
                  pk_error *err)
{
    const char *values[] = {user, database};
    *rights = (pk_rights){0};
    __attribute__((cleanup(drop_result))) PGresult *res =
        query(authz, rights_query, 2, values, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) != 1)
        return pk_fail(err, PK_E_PRIVILEGE,
                       "permission denied: the server does not know this role");
    rights->superuser = is_true(res, FIELD_SUPERUSER);
    rights->db_oid = strtoll(PQgetvalue(res, 0, FIELD_OID), NULL, 10);
    rights->owner = is_true(res, FIELD_OWNER);
    rights->connect = is_true(res, FIELD_CONNECT);
    for (int i = 0; i < PK_ROLE_COUNT; i++)
        rights->roles[i] = is_true(res, FIELD_ROLES + i);
    const char *version = PQparameterStatus(authz->conn, "server_version");
    snprintf(rights->server_version, sizeof rights->server_version, "%s",
             version == NULL ? "" : version);
    snprintf(rights->system_identifier, sizeof rights->system_identifier, "%s",
             authz->system_identifier);
    return true;
}

bool pk_authz_databases(pk_authz *authz, pk_arena *arena, pk_authz_database **list, size_t *count,
                        pk_error *err)
{
    __attribute__((cleanup(drop_result))) PGresult *res =
        query(authz,
              "SELECT datname, oid FROM pg_catalog.pg_database WHERE datallowconn AND NOT "
              "datistemplate ORDER BY 1",
              0, NULL, err);
    if (res == NULL)
        return false;
    const size_t n = (size_t)PQntuples(res);
    *list = pk_arena_array(arena, n + 1, sizeof **list, err);
    *count = *list == NULL ? 0 : n;
    for (size_t i = 0; i < *count; i++) {
        (*list)[i].name = pk_arena_strdup(arena, PQgetvalue(res, (int)i, 0), err);
        (*list)[i].oid = strtoll(PQgetvalue(res, (int)i, 1), NULL, 10);
        if ((*list)[i].name == NULL)
            return false;
    }
    return *list != NULL;
}

void pk_authz_probe(pk_authz *authz)
{
    pk_error dropped;
    __attribute__((cleanup(drop_result))) PGresult *res =
        query(authz, absent_query, 0, NULL, &dropped);
    if (res != NULL && PQntuples(res) == 1 && !PQgetisnull(res, 0, 0))
        pk_log_warning("PostgreSQL has no roles %s; without them only superusers and owners of "
                       "databases may run key statements (pgkeep print-sql makes them)",
                       PQgetvalue(res, 0, 0));
}

void pk_authz_rest(pk_authz *authz)
{
    disconnect(authz);
}
