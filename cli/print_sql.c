/*
 * `pgkeep print-sql`: the SQL that makes the roles by which PostgreSQL says who may run what, and
 * the role of pgkeep's own connection; with --drop the SQL that removes them. It is printed, not
 * run: who runs it is for the administrator of PostgreSQL to say. Plain SQL that may run any number
 * of times, on PostgreSQL 13 to 17. No password in it: what is piped is also logged.
 */
#include "cli/cli.h"

#include "engine/roles.h"

#include <stdio.h>
#include <string.h>

#define SERVICE_ROLE "pgkeep_service"

static const struct role {
    const char *name, *purpose;
} roles[] = {
#define X(id, name, purpose) {name, purpose},
    PK_ROLES(X)
#undef X
};

static const char create_head[] =
    "-- Roles of pgkeep. Run as a superuser, or as a role with CREATEROLE:\n"
    "--     pgkeep print-sql | psql -X -v ON_ERROR_STOP=1 DATABASE\n"
    "-- Nothing changes for a role that exists already, but its comment.\n"
    "--\n"
    "-- Give somebody a right:    GRANT pgkeep_key_export TO alice;\n"
    "-- Take it away:             REVOKE pgkeep_key_export FROM alice;\n"
    "-- It counts from the next statement on. Without these roles superusers may run everything\n"
    "-- (setting security.superuser_is_admin) and the owner of a database what concerns its own\n"
    "-- master key (setting security.owner_manages_dmk).\n"
    "--\n"
    "-- Before PostgreSQL 16 whoever has CREATEROLE can grant himself every one of these roles.\n"
    "\n"
    "BEGIN;\n";

static const char create_service[] =
    "\n"
    "-- The role that pgkeep itself logs in with (setting service.conninfo). It reads the "
    "catalogs\n"
    "-- that everybody may read, and needs no privilege. Give it a way to log in: a line in\n"
    "-- pg_hba.conf, or a password, which is best typed in psql: \\password " SERVICE_ROLE "\n"
    "DO $$\n"
    "BEGIN\n"
    "    CREATE ROLE " SERVICE_ROLE " LOGIN CONNECTION LIMIT 16;\n"
    "EXCEPTION WHEN duplicate_object THEN\n"
    "    NULL;\n"
    "END\n"
    "$$;\n"
    "COMMENT ON ROLE " SERVICE_ROLE " IS 'pgkeep: its own connection, asks who may run what';\n";

static const char drop_head[] =
    "-- Removes the roles of pgkeep, and with them every membership. Keys and key files stay.\n"
    "-- Stop pgkeep first. A role that owns something or was given privileges by hand is refused:\n"
    "-- REASSIGN OWNED and DROP OWNED take that away, in each database.\n"
    "\n"
    "BEGIN;\n";

static void print_create(void)
{
    (void)fputs(create_head, stdout);
    for (size_t i = 0; i < PK_COUNT(roles); i++)
        (void)printf("\n-- %s\n"
                     "DO $$\n"
                     "BEGIN\n"
                     "    CREATE ROLE %s NOLOGIN;\n"
                     "EXCEPTION WHEN duplicate_object THEN\n"
                     "    NULL;\n"
                     "END\n"
                     "$$;\n"
                     "COMMENT ON ROLE %s IS 'pgkeep: %s';\n",
                     roles[i].purpose, roles[i].name, roles[i].name, roles[i].purpose);
    (void)fputs(create_service, stdout);
    (void)fputs("\nCOMMIT;\n", stdout);
}

static void print_drop(void)
{
    (void)fputs(drop_head, stdout);
    for (size_t i = PK_COUNT(roles); i > 0; i--)
        (void)printf("DROP ROLE IF EXISTS %s;\n", roles[i - 1].name);
    (void)fputs("DROP ROLE IF EXISTS " SERVICE_ROLE ";\nCOMMIT;\n", stdout);
}

int pk_cli_print_sql(int count, char *const *args)
{
    const bool drop = count == 1 && strcmp(args[0], "--drop") == 0;
    if (count > 0 && !drop) {
        (void)fprintf(stderr, "usage: pgkeep print-sql [--drop]\n");
        return PK_EXIT_USAGE;
    }
    if (drop)
        print_drop();
    else
        print_create();
    if (fflush(stdout) == 0 && !ferror(stdout))
        return PK_EXIT_OK;
    (void)fprintf(stderr, "pgkeep: could not write\n");
    return PK_EXIT_FAILED;
}
