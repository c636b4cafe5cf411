/*
 * What can be said of a statement without keys, storage or backend: every row is parsed for real
 * and checked; the corpus' phase=check entries of the two families run through the same function.
 */
#include "table.h"

#include "engine/exec.h"

#include <stdlib.h>

static const struct row {
    const char *name, *sql, *sqlstate; /* NULL: passes */
    const char *database;              /* NULL: the admin database */
    bool in_block, remote;
} rows[] = {
    {"a master key without a password", "CREATE MASTER KEY", .sqlstate = NULL},
    {"a password that keeps the rules",
     "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour#Lane-2081q'", .sqlstate = NULL},
    {"the password of the seed document",
     "BACKUP SERVICE MASTER KEY TO FILE = '/k/s' ENCRYPTION BY PASSWORD = "
     "'3dH85Hhk003GHk2597gheij4'",
     .sqlstate = NULL},
    {"too short", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Ab1!'", .sqlstate = PK_E_PARAMETER},
    {"two classes only", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'abcdefgh1234'",
     .sqlstate = PK_E_PARAMETER},
    {"contains the user's name", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'xALICE-2081q'",
     .sqlstate = PK_E_PARAMETER},
    {"contains the database's name", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'my-Sales-2081'",
     .sqlstate = PK_E_PARAMETER, .database = "sales"},
    {"an old password is not held to the rules",
     "RESTORE SERVICE MASTER KEY FROM FILE = '/k/s' DECRYPTION BY PASSWORD = 'x'",
     .sqlstate = NULL},
    {"an empty old password",
     "RESTORE SERVICE MASTER KEY FROM FILE = '/k/s' DECRYPTION BY PASSWORD = ''",
     .sqlstate = PK_E_PARAMETER},
    {"an empty file name", "BACKUP MASTER KEY TO FILE = '' ENCRYPTION BY PASSWORD = 'Zx9!Zx9!Zx9!'",
     .sqlstate = PK_E_PARAMETER},
    {"a URL is not offered yet",
     "BACKUP MASTER KEY TO URL = 'https://h/k' ENCRYPTION BY PASSWORD = 'Zx9!Zx9!Zx9!'",
     .sqlstate = PK_E_UNSUPPORTED},
    {"tenants in the admin database", "ALTER SYSTEM BACKUP KEY TENANT = a, b TO 'file:///k'",
     .sqlstate = NULL},
    {"tenants in a tenant", "ALTER SYSTEM BACKUP KEY TENANT = sales TO 'file:///k'",
     .sqlstate = PK_E_PRIVILEGE, .database = "sales"},
    {"the same tenant in two spellings",
     "ALTER SYSTEM BACKUP KEY TENANT = sales, SALES TO 'file:///k'", .sqlstate = PK_E_PARAMETER},
    {"two tenants that differ in case only, quoted",
     "ALTER SYSTEM BACKUP KEY TENANT = sales, \"SALES\" TO 'file:///k'", .sqlstate = NULL},
    {"an empty ENCRYPTED BY", "ALTER SYSTEM BACKUP KEY TO 'file:///k' ENCRYPTED BY ''",
     .sqlstate = PK_E_PARAMETER},
    {"ENCRYPTED BY has no rules but that",
     "ALTER SYSTEM BACKUP KEY TO 'file:///k' ENCRYPTED BY 'x'", .sqlstate = NULL},
    {"an empty path", "ALTER SYSTEM BACKUP KEY TO ''", .sqlstate = PK_E_PARAMETER},
    {"a path without scheme", "ALTER SYSTEM BACKUP KEY TO 'keys/sales'",
     .sqlstate = PK_E_PARAMETER},
    {"a parameter without a value", "ALTER SYSTEM BACKUP KEY TO $1",
     .sqlstate = PK_E_UNDEFINED_PARAMETER},
    {"not inside a block", "CREATE MASTER KEY", .sqlstate = PK_E_IN_TRANSACTION, .in_block = true},
    {"a SHOW inside a block", "SHOW MASTER KEYS", .sqlstate = NULL, .in_block = true},
    {"a password over plain TCP", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour#Lane-2081q'",
     .sqlstate = PK_E_STATE, .remote = true},
    {"no password over plain TCP", "CREATE MASTER KEY", .sqlstate = NULL, .remote = true},
    {"OPEN comes later", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'",
     .sqlstate = PK_E_UNSUPPORTED},
    {"DROP comes later", "DROP MASTER KEY", .sqlstate = PK_E_UNSUPPORTED},
    {"Windows accounts", "ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = 'a', OLD_PASSWORD = 'x'",
     .sqlstate = PK_E_UNSUPPORTED},
    {"another family", "BACKUP INTO 'file:///k'", .sqlstate = PK_E_UNSUPPORTED},
    {"rotation comes later", "ALTER INSTANCE ROTATE INNODB MASTER KEY",
     .sqlstate = PK_E_UNSUPPORTED},
};

static bool check(const char *sql, const pk_exec_session *session, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    const pk_parse_options options = {.standard_conforming = true};
    pk_script script;
    return pk_parse(pk_span_of(sql), &options, &arena, &script, err) &&
           pk_exec_check(&script.stmts[0], session, err);
}

static void is_checked(void **state)
{
    const struct row *row = *state;
    const pk_exec_session session = {.user = "alice",
                                     .database = row->database == NULL ? "postgres" : row->database,
                                     .admin_database = "postgres",
                                     .secure_peer = !row->remote,
                                     .in_block = row->in_block,
                                     .secrets_need_tls = true};
    pk_error err = {0};
    bool ok = check(row->sql, &session, &err);
    assert_string_equal(err.sqlstate, row->sqlstate == NULL ? "" : row->sqlstate);
    assert_int_equal(ok, row->sqlstate == NULL);
}

static void every_refusal_has_a_hint_when_a_statement_is_not_built(void **state)
{
    (void)state;
    const pk_exec_session session = {
        .user = "alice", .database = "postgres", .admin_database = "postgres", .secure_peer = true};
    size_t seen = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pk_error err = {0};
        if (check(rows[i].sql, &session, &err) || !pk_error_is(&err, PK_E_UNSUPPORTED))
            continue;
        assert_string_not_equal(err.hint, "");
        seen++;
    }
    assert_true(seen >= 6);
}

/* The corpus */

typedef struct entry {
    char name[96], sqlstate[6];
    bool tenant;
    char sql[4096];
} entry;

static entry entries[256];
static size_t entry_count;

/* One of the two families: it parses to a kind that has a grammar. */
static bool is_ours(const char *sql)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    const pk_parse_options options = {.standard_conforming = true};
    pk_script script;
    pk_error dropped;
    return pk_parse(pk_span_of(sql), &options, &arena, &script, &dropped) &&
           script.kind == PK_SCRIPT_OURS && script.stmts[0].kind != PK_STMT_UNBUILT;
}

static void keep(const entry *e)
{
    if (e->sqlstate[0] != '\0' && is_ours(e->sql) &&
        entry_count < sizeof entries / sizeof entries[0])
        entries[entry_count++] = *e;
}

static void add_line(entry *e, const char *line)
{
    const size_t used = strlen(e->sql), len = strlen(line);
    if (used + len + 2 > sizeof e->sql) {
        fprintf(stderr, "an entry of the corpus is too long\n");
        exit(1);
    }
    if (used > 0)
        strncat(e->sql, "\n", 2);
    strncat(e->sql, line, len + 1);
}

static void load_corpus(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[4096];
    static entry e;
    if (f == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "--#", 3) != 0) {
            add_line(&e, line);
            continue;
        }
        keep(&e);
        memset(&e, 0, sizeof e);
        if (strstr(line, "phase=check") == NULL || strstr(line, "ctx=txn") != NULL)
            continue;
        snprintf(e.name, sizeof e.name, "corpus: %.80s", line + 4);
        snprintf(e.sqlstate, sizeof e.sqlstate, "%.5s", strstr(line, "error=") + 6);
        e.tenant = strstr(line, "ctx=tenant") != NULL;
    }
    keep(&e);
    fclose(f);
}

static void fails_as_marked(void **state)
{
    const entry *e = *state;
    const pk_exec_session session = {.user = "alice",
                                     .database = e->tenant ? "sales" : "postgres",
                                     .admin_database = "postgres",
                                     .secure_peer = true,
                                     .secrets_need_tls = true};
    pk_error err = {0};
    assert_false(check(e->sql, &session, &err));
    assert_string_equal(err.sqlstate, e->sqlstate);
}

int main(void)
{
    static pk_suite suite;
    load_corpus(PK_SOURCE_DIR "/tests/vectors/corpus/reject.sql");
    if (entry_count < 8) {
        fprintf(stderr, "only %zu corpus entries\n", entry_count);
        return 1;
    }
    PK_SUITE_ROWS(&suite, rows, is_checked);
    PK_SUITE_TEST(&suite, every_refusal_has_a_hint_when_a_statement_is_not_built);
    for (size_t i = 0; i < entry_count; i++)
        pk_suite_add(&suite, entries[i].name, fails_as_marked, &entries[i]);
    return pk_suite_run(&suite, "exec");
}
