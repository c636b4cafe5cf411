/*
 * Which statements are ours: row by row, and that PostgreSQL's grammar has no use for any head that
 * we claim.
 */
#include "parser_test.h"

#include "parser/claim.h"

#include <pg_query.h>

static const struct row {
    const char *name, *text;
    const char *head; /* NULL: not ours */
} rows[] = {
    {"a plain query", "SELECT 1", NULL},
    {"any case", "bAcKuP x", "BACKUP"},
    {"a quoted first word is no keyword", "\"BACKUP\" INTO 'x'", NULL},
    {"a quoted second word is none either", "CREATE \"MASTER\" KEY", NULL},
    {"a Unicode name is none either", "U&\"BACKUP\" INTO 'x'", NULL},
    {"a longer word is another word", "BACKUPS INTO 'x'", NULL},
    {"CHECKPOINT is not CHECK EXTERNAL", "CHECKPOINT", NULL},
    {"CHECK EXTERNAL", "CHECK EXTERNAL CONNECTION 'x'", "CHECK EXTERNAL CONNECTION"},
    {"BACKUP service master", "BACKUP SERVICE MASTER KEYS TO", "BACKUP SERVICE MASTER KEY"},
    {"a table called service", "BACKUP service INTO 'x'", "BACKUP"},
    {"a table called master", "BACKUP master INTO 'x'", "BACKUP"},
    {"BACKUP master key", "BACKUP MASTER KEY", "BACKUP MASTER KEY"},
    {"a schema called master", "RESTORE master.key FROM LATEST IN 'x'", "RESTORE"},
    {"BACKUP VAULT KEY", "backup vault key a", "BACKUP VAULT KEY"},
    {"BACKUP DATABASE INTO", "BACKUP DATABASE a INTO 'x'", "BACKUP"},
    {"BACKUP DATABASE TO DISK", "BACKUP DATABASE a TO DISK = 'x'", "BACKUP DATABASE"},
    {"BACKUP DATABASE TO URL, quoted database", "BACKUP DATABASE \"a b\" TO URL = 'x'",
     "BACKUP DATABASE"},
    {"BACKUP LOG", "BACKUP LOG a TO DISK = 'x'", "BACKUP LOG"},
    {"a table called log", "BACKUP log INTO 'x'", "BACKUP"},
    {"a schema called certificate", "BACKUP certificate.a INTO 'x'", "BACKUP"},
    {"several tables, the first called log", "BACKUP log, b INTO 'x'", "BACKUP"},
    {"RESTORE SYSTEM USERS", "RESTORE SYSTEM USERS FROM LATEST", "RESTORE SYSTEM USERS"},
    {"a table called system", "RESTORE system FROM LATEST IN 'x'", "RESTORE"},
    {"CLOSE MASTER KEY", "CLOSE MASTER KEY", "CLOSE MASTER KEY"},
    {"a cursor called master", "CLOSE master", NULL},
    {"a quoted cursor", "CLOSE \"MASTER\"", NULL},
    {"CLOSE ALL", "CLOSE ALL", NULL},
    {"CREATE MASTER", "CREATE MASTER KEY", "CREATE MASTER KEY"},
    {"a server called master", "CREATE SERVER master FOREIGN DATA WRAPPER f", NULL},
    {"DROP MASTER", "drop master key", "DROP MASTER KEY"},
    {"DROP SCHEDULES", "DROP SCHEDULES 1", "DROP SCHEDULES"},
    {"DROP SCHEMA", "DROP SCHEMA schedule", NULL},
    {"ALTER SYSTEM BACKUP", "ALTER SYSTEM BACKUP", "ALTER SYSTEM BACKUP KEY"},
    {"ALTER SYSTEM RESTORE KEY", "ALTER SYSTEM RESTORE KEY FROM 'x'", "ALTER SYSTEM RESTORE KEY"},
    {"a tenant called key", "ALTER SYSTEM RESTORE \"key\" WITH 'x'", "ALTER SYSTEM RESTORE"},
    {"ALTER SYSTEM SET", "ALTER SYSTEM SET backup.x = 1", NULL},
    {"ALTER SYSTEM RESET", "ALTER SYSTEM RESET ALL", NULL},
    {"ALTER SERVICE MASTER", "ALTER SERVICE MASTER KEY", "ALTER SERVICE MASTER KEY"},
    {"ALTER SERVER", "ALTER SERVER service OWNER TO x", NULL},
    {"ALTER INSTANCE", "ALTER INSTANCE x", "ALTER INSTANCE"},
    {"ALTER DATABASE", "ALTER DATABASE backup SET encryption = 'on'", NULL},
    {"SET ENCRYPTION ON", "SET ENCRYPTION ON", "SET ENCRYPTION"},
    {"a setting called encryption", "SET encryption = 'on'", NULL},
    {"the same with TO", "SET encryption TO on", NULL},
    {"the same with FROM", "SET encryption FROM CURRENT", NULL},
    {"RESET", "RESET encryption", NULL},
    {"SET DECRYPTION IDENTIFIED", "SET DECRYPTION IDENTIFIED BY 'x'", "SET DECRYPTION"},
    {"SHOW JOBS", "SHOW JOBS", "SHOW JOBS"},
    {"a quoted setting", "SHOW \"jobs\"", NULL},
    {"a setting with a prefix", "SHOW backup.retention", NULL},
    {"SHOW paused", "SHOW paused", NULL},
    {"SHOW PAUSED SCHEDULES", "SHOW PAUSED SCHEDULES", "SHOW PAUSED SCHEDULES"},
    {"SHOW vault", "SHOW vault", NULL},
    {"SHOW VAULT KEYS", "SHOW VAULT KEYS", "SHOW VAULT KEYS"},
    {"SHOW pgkeep", "SHOW pgkeep", NULL},
    {"SHOW pgkeep.x", "SHOW pgkeep.x", NULL},
    {"SHOW PGKEEP STATUS", "SHOW PGKEEP STATUS", "SHOW PGKEEP"},
    {"SHOW ALL", "SHOW ALL", NULL},
    {"EXPLAIN of ours", "EXPLAIN BACKUP INTO 'x'", "EXPLAIN"},
    {"EXPLAIN with words", "EXPLAIN ANALYZE VERBOSE RESTORE x", "EXPLAIN"},
    {"EXPLAIN with options", "EXPLAIN (ANALYZE, COSTS (a)) ALTER MASTER KEY", "EXPLAIN"},
    {"EXPLAIN of theirs", "EXPLAIN SELECT backup FROM restore", NULL},
    {"EXPLAIN of a table in parentheses", "EXPLAIN (SELECT 1)", NULL},
    {"EXPLAIN alone", "EXPLAIN", NULL},
    {"EXPLAIN with options left open", "EXPLAIN (", NULL},
    {"PREPARE of ours", "PREPARE p AS BACKUP INTO 'x'", "PREPARE"},
    {"PREPARE with types", "PREPARE \"p q\" (text, numeric(3)) AS OPEN MASTER KEY", "PREPARE"},
    {"PREPARE of theirs", "PREPARE backup AS SELECT 1", NULL},
    {"PREPARE TRANSACTION", "PREPARE TRANSACTION 'backup'", NULL},
    {"one in front of another", "EXPLAIN PREPARE p AS BACKUP x", "EXPLAIN"},
    {"EXECUTE", "EXECUTE schedule(1)", NULL},
    {"GRANT of a role", "GRANT system TO x", NULL},
    {"GRANT SYSTEM BACKUP", "GRANT SYSTEM BACKUP TO x", "GRANT SYSTEM"},
    {"REVOKE SYSTEM RESTORE", "REVOKE SYSTEM RESTORE FROM x", "REVOKE SYSTEM"},
    {"GRANT USAGE ON EXTERNAL CONNECTION", "GRANT USAGE ON EXTERNAL CONNECTION c TO x",
     "GRANT USAGE ON EXTERNAL CONNECTION"},
    {"GRANT USAGE ON a table called external", "GRANT USAGE ON external TO x", NULL},
    {"GRANT backup is PostgreSQL's to refuse", "GRANT backup ON DATABASE d TO u", NULL},
    {"GO in front of ours", "GO BACKUP INTO 'x'", "GO or USE"},
    {"GO with a count", "GO 5 OPEN MASTER KEY", "GO or USE"},
    {"USE and GO", "USE [my db] GO BACKUP MASTER KEY TO FILE = 'x'", "GO or USE"},
    {"USE alone", "USE x", NULL},
    {"TABLE backup", "TABLE backup", NULL},
    {"CREATE TABLE", "CREATE TABLE backup (key text, master int)", NULL},
    {"SEAL", "SEAL", "SEAL"},
    {"DUMP is an old synonym that we do not know", "DUMP MASTER KEY", NULL},
};

static void claims(void **state)
{
    const struct row *row = *state;
    pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
    pk_tokens tokens;
    pk_error err;
    assert_true(pk_lex(pk_span_of(row->text), true, &arena, &tokens, &err));
    const pk_claim *claim = pk_claim_find(&tokens, 0, tokens.count);
    if (row->head == NULL)
        assert_null(claim);
    else
        assert_string_equal(claim == NULL ? "" : claim->head, row->head);
    pk_arena_clear(&arena);
}

static bool postgres_accepts(const char *sql)
{
    PgQueryParseResult result = pg_query_parse(sql);
    bool accepts = result.error == NULL;
    pg_query_free_parse_result(result);
    return accepts;
}

static void row_text(const pk_claim *row, const char *behind, char *out, size_t size)
{
    char more[64];
    size_t len = 0;
    for (const char *at = row->more; *at != '\0' && len + 1 < sizeof more; at++)
        if (*at == '*')
            more[len++] = 'x';
        else
            more[len++] = *at;
    more[len] = '\0';
    (void)snprintf(out, size, "%s %s %s%s", row->first, row->second, more, behind);
}

static const char *const continuations[] = {
    "",
    " x",
    " 'x'",
    " x y",
    " TO x",
    " = 1",
    " = 'x'",
    " (a)",
    ".x = 1",
    " FROM x",
    " ON x",
    ", y",
    " AS x",
    " KEY",
    " TO DEFAULT",
    " IN 'x'",
    " RESTART",
    " CASCADE",
    " OPTIONS (a 'b')",
    " IS 'x'",
    "::int",
    " FROM CURRENT",
    " ON TABLE x TO y",
    " TO x WITH ADMIN OPTION",
    " OWNER TO x",
    " RENAME TO x",
    " BY 1",
    " OF x",
};

static void postgres_has_no_use_for_what_we_claim(void **state)
{
    (void)state;
    const pk_claim *row = NULL;
    for (size_t i = 0; (row = pk_claim_row(i)) != NULL; i++) {
        for (size_t k = 0; k < PK_COUNT(continuations); k++) {
            char sql[160];
            row_text(row, continuations[k], sql, sizeof sql);
            /* A name alone may be a setting. */
            bool theirs = k == 0 && (row->guard == PK_GUARD_NO_DOT || row->guard == PK_GUARD_WORD);
            if (postgres_accepts(sql) != theirs) {
                print_error("%s\n", sql);
                fail();
            }
        }
    }
}

static void every_row_of_the_table_can_be_reached(void **state)
{
    (void)state;
    const pk_claim *row = NULL;
    for (size_t i = 0; (row = pk_claim_row(i)) != NULL; i++) {
        pk_arena arena = PK_ARENA_MAX(TEST_ARENA);
        pk_tokens tokens;
        pk_error err;
        char sql[160];
        row_text(row, " x", sql, sizeof sql);
        assert_true(pk_lex(pk_span_of(sql), true, &arena, &tokens, &err));
        assert_ptr_equal(pk_claim_find(&tokens, 0, tokens.count), row);
        pk_arena_clear(&arena);
    }
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, claims);
    PK_SUITE_TEST(&suite, postgres_has_no_use_for_what_we_claim);
    PK_SUITE_TEST(&suite, every_row_of_the_table_can_be_reached);
    return pk_suite_run(&suite, "claim");
}
