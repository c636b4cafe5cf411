/*
 * What can be said of a statement without keys, storage or backend: every row is parsed for real
 * and checked; the corpus' phase=check entries of the two families run through the same function.
 */
#include "table.h"

#include "engine/exec.h"
#include "engine/exec_run.h"

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
    {"the password of OPEN has no rules", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'",
     .sqlstate = NULL},
    {"an empty password of OPEN", "OPEN MASTER KEY DECRYPTION BY PASSWORD = ''",
     .sqlstate = PK_E_PARAMETER},
    {"OPEN inside a block", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'", .sqlstate = NULL,
     .in_block = true},
    {"OPEN over plain TCP", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'", .sqlstate = PK_E_STATE,
     .remote = true},
    {"CLOSE inside a block", "CLOSE MASTER KEY", .sqlstate = NULL, .in_block = true},
    {"SEAL inside a block", "SEAL", .sqlstate = PK_E_IN_TRANSACTION, .in_block = true},
    {"UNSEAL", "UNSEAL WITH PASSWORD = 'x'", .sqlstate = NULL},
    {"UNSEAL with nothing", "UNSEAL WITH RECOVERY CODE = ''", .sqlstate = PK_E_PARAMETER},
    {"UNSEAL over plain TCP", "UNSEAL WITH RECOVERY CODE = 'x'", .sqlstate = PK_E_STATE,
     .remote = true},
    {"a password slot", "ALTER KEYSTORE ADD SLOT password 'Harbour#Lane-2081q'", .sqlstate = NULL},
    {"a password slot has SQL Server's rules", "ALTER KEYSTORE ADD SLOT password 'harbour'",
     .sqlstate = PK_E_PARAMETER},
    {"a file slot", "ALTER KEYSTORE ADD SLOT file", .sqlstate = NULL},
    {"a recovery code in an answer", "ALTER KEYSTORE ADD SLOT recovery",
     .sqlstate = PK_E_UNSUPPORTED},
    {"another kind of slot", "ALTER KEYSTORE ADD SLOT tpm", .sqlstate = PK_E_UNSUPPORTED},
    {"a slot goes", "ALTER KEYSTORE DROP SLOT 2", .sqlstate = NULL},
    {"a slot of too many digits", "ALTER KEYSTORE DROP SLOT 1234567890",
     .sqlstate = PK_E_PARAMETER},
    {"REKEY comes later", "ALTER KEYSTORE REKEY", .sqlstate = PK_E_UNSUPPORTED},
    {"SHOW KEYSTORE inside a block", "SHOW KEYSTORE", .sqlstate = NULL, .in_block = true},
    {"SHOW KEY BACKUPS inside a block", "SHOW KEY BACKUPS", .sqlstate = NULL, .in_block = true},
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
    assert_true(seen >= 8);
}

/* Rights (DECISIONS 10). One letter for each of: Administrator, key_aDmin, Export, Restore, Backup,
 * Z for the restore of data, Monitor, Owner; `may` lists who may, everybody else may not. */

#define LETTERS "ADERBZMO"

static const struct right_row {
    const char *name, *sql, *may;
    bool in_admin_database;
} right_rows[] = {
    {"the service master key: backup",
     "BACKUP SERVICE MASTER KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p'", .may = "A"},
    {"the service master key: restore",
     "RESTORE SERVICE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p'", .may = "A"},
    {"the service master key: rotation", "ALTER SERVICE MASTER KEY REGENERATE", .may = "A"},
    {"SEAL", "SEAL", .may = "A"},
    {"UNSEAL", "UNSEAL WITH PASSWORD = 'p'", .may = "A"},
    {"ALTER KEYSTORE", "ALTER KEYSTORE DROP SLOT 1", .may = "A"},
    {"SHOW KEYSTORE", "SHOW KEYSTORE", .may = "A"},
    {"a family that is not built", "BACKUP INTO 'file:///k'", .may = "A"},
    {"tenant keys, own", "ALTER SYSTEM BACKUP KEY TO 'file:///k'", .may = "AEO"},
    {"tenant keys, named", "ALTER SYSTEM BACKUP KEY TENANT a TO 'file:///k'", .may = "AE"},
    {"tenant keys, all", "ALTER SYSTEM BACKUP KEY TO 'file:///k'", .may = "AE",
     .in_admin_database = true},
    {"tenant keys: restore, own", "ALTER SYSTEM RESTORE KEY FROM 'file:///k'", .may = "ARO"},
    {"tenant keys: restore, named", "ALTER SYSTEM RESTORE KEY TENANT a FROM 'file:///k'",
     .may = "AR"},
    {"tenant keys: restore of the admin database's own",
     "ALTER SYSTEM RESTORE KEY FROM 'file:///k'", .may = "ARO", .in_admin_database = true},
    {"CREATE MASTER KEY", "CREATE MASTER KEY", .may = "ADO"},
    {"ALTER MASTER KEY", "ALTER MASTER KEY DROP ENCRYPTION BY SERVICE MASTER KEY", .may = "ADO"},
    {"DROP MASTER KEY", "DROP MASTER KEY", .may = "ADO"},
    {"OPEN MASTER KEY", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'p'", .may = LETTERS},
    {"CLOSE MASTER KEY", "CLOSE MASTER KEY", .may = LETTERS "-"},
    {"BACKUP MASTER KEY", "BACKUP MASTER KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p'",
     .may = "AEO"},
    {"RESTORE MASTER KEY",
     "RESTORE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY PASSWORD = "
     "'p'",
     .may = "ARO"},
    {"SHOW MASTER KEYS", "SHOW MASTER KEYS", .may = "AMO"},
    {"SHOW KEY BACKUPS", "SHOW KEY BACKUPS", .may = "AMO"},
};

static pk_rights rights_of(char letter)
{
    pk_rights rights = {.connect = true, .owner = letter == 'O'};
    const char *at = strchr(LETTERS, letter);
    if (at != NULL && letter != 'O')
        rights.roles[at - LETTERS] = true;
    return rights;
}

static bool may_run(const char *sql, const pk_exec_policy *policy, pk_rights rights)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    const pk_parse_options options = {.standard_conforming = true};
    pk_script script;
    pk_error err;
    assert_true(pk_parse(pk_span_of(sql), &options, &arena, &script, &err));
    return pk_exec_may(&script.stmts[0], policy, &rights);
}

static void those_may_and_nobody_else(void **state)
{
    const struct right_row *row = *state;
    const pk_exec_policy policy = {.superuser_is_admin = true,
                                   .owner_manages_dmk = true,
                                   .in_admin_database = row->in_admin_database};
    for (const char *letter = LETTERS "-"; *letter != '\0'; letter++) {
        const bool may = may_run(row->sql, &policy, rights_of(*letter));
        if (may != (strchr(row->may, *letter) != NULL))
            fail_msg("%c %s", *letter, may ? "may" : "may not");
    }
    assert_true(may_run(row->sql, &policy, (pk_rights){.superuser = true}));
}

static void a_superuser_is_nobody_when_the_setting_says_so(void **state)
{
    const struct right_row *row = *state;
    const pk_exec_policy policy = {.superuser_is_admin = false,
                                   .owner_manages_dmk = true,
                                   .in_admin_database = row->in_admin_database};
    const bool everybody = strchr(row->may, '-') != NULL;
    pk_rights rights = {.superuser = true, .connect = true};
    assert_int_equal(may_run(row->sql, &policy, rights), everybody);
    rights.roles[PK_ROLE_ADMIN] = true;
    assert_true(may_run(row->sql, &policy, rights));
}

static void an_owner_may_only_look_when_the_setting_says_so(void **state)
{
    const struct right_row *row = *state;
    const pk_exec_policy policy = {.superuser_is_admin = true,
                                   .in_admin_database = row->in_admin_database};
    const bool everybody = strchr(row->may, '-') != NULL, looks = strcmp(row->may, "AMO") == 0;
    assert_int_equal(may_run(row->sql, &policy, rights_of('O')), everybody || looks);
    assert_true(may_run(row->sql, &policy, rights_of('A')));
}

static void a_role_without_connect_is_no_right(void **state)
{
    (void)state;
    const pk_exec_policy policy = {.superuser_is_admin = true, .owner_manages_dmk = true};
    pk_rights rights = rights_of('E');
    rights.connect = false;
    assert_false(may_run("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'p'", &policy, rights));
}

static void only_these_run_while_sealed(void **state)
{
    (void)state;
    for (int kind = 0; kind < PK_STMT_KIND_COUNT; kind++)
        assert_int_equal(pk_exec_runs_sealed((pk_stmt_kind)kind),
                         kind == PK_STMT_KEYSTORE_UNSEAL || kind == PK_STMT_KEYSTORE_SHOW ||
                             kind == PK_STMT_DMK_CLOSE);
}

static void every_show_has_columns_and_nothing_else_has(void **state)
{
    (void)state;
    for (int kind = 0; kind < PK_STMT_KIND_COUNT; kind++) {
        size_t count;
        const pk_column *columns = pk_exec_columns((pk_stmt_kind)kind, &count);
        const bool shows = strcmp(pk_stmt_kind_tag((pk_stmt_kind)kind), "SHOW") == 0;
        assert_int_equal(columns != NULL, shows);
        assert_int_equal(count > 0, shows);
    }
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
        abort();
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
        abort();
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
    PK_SUITE_ROWS(&suite, right_rows, those_may_and_nobody_else);
    PK_SUITE_ROWS(&suite, right_rows, a_superuser_is_nobody_when_the_setting_says_so);
    PK_SUITE_ROWS(&suite, right_rows, an_owner_may_only_look_when_the_setting_says_so);
    PK_SUITE_TEST(&suite, a_role_without_connect_is_no_right);
    PK_SUITE_TEST(&suite, only_these_run_while_sealed);
    PK_SUITE_TEST(&suite, every_show_has_columns_and_nothing_else_has);
    for (size_t i = 0; i < entry_count; i++)
        pk_suite_add(&suite, entries[i].name, fails_as_marked, &entries[i]);
    return pk_suite_run(&suite, "exec");
}
