/*
 * Statements about the keystore (sql-surface 7.2), row by row.
 */
#include "grammar_test.h"

void describe(description *d, const pk_stmt *stmt)
{
    static const char *const actions[] = {
        [PK_KEYSTORE_ADD_PASSWORD] = "add_password",
        [PK_KEYSTORE_ADD_FILE] = "add_file",
        [PK_KEYSTORE_ADD_RECOVERY] = "add_recovery",
        [PK_KEYSTORE_ADD_OTHER] = "add_other",
        [PK_KEYSTORE_DROP] = "drop",
        [PK_KEYSTORE_REKEY] = "rekey",
    };
    if (stmt->kind == PK_STMT_KEYSTORE_SEAL || stmt->kind == PK_STMT_KEYSTORE_SHOW)
        return;
    if (stmt->kind == PK_STMT_KEYSTORE_ALTER)
        describe_flag(d, actions[stmt->u.keystore.action], true);
    describe_flag(d, "recovery", stmt->u.keystore.recovery);
    describe_value(d, "secret", &stmt->u.keystore.secret);
    describe_value(d, "slot", &stmt->u.keystore.slot);
}

#define SYNTAX .sqlstate = "42601"

static const grammar_row rows[] = {
    {"seal", "SEAL", .parsed = "keystore_seal"},
    {"seal takes nothing", "SEAL KEYSTORE", SYNTAX, .position = 6,
     .message = "syntax error at or near \"KEYSTORE\""},
    {"unseal", "UNSEAL WITH PASSWORD = 'p'", .parsed = "keystore_unseal secret:s'p'"},
    {"unseal with a parameter", "unseal with password = $1", .parsed = "keystore_unseal secret:$1"},
    {"unseal with a code", "UNSEAL WITH RECOVERY CODE = 'c'",
     .parsed = "keystore_unseal recovery secret:s'c'"},
    {"unseal: nothing", "UNSEAL", SYNTAX, .position = 7, .message = "syntax error at end of input"},
    {"unseal: no =", "UNSEAL WITH PASSWORD 'p'", SYNTAX, .position = 22, .hint = "\"=\""},
    {"unseal: a bare word", "UNSEAL WITH PASSWORD = hunter2", SYNTAX, .position = 24,
     .message = "syntax error at or near '...'", .hint = "single quotes"},
    {"unseal: a bare code", "UNSEAL WITH RECOVERY CODE = abcd", SYNTAX, .position = 29,
     .message = "syntax error at or near '...'"},
    {"unseal: RECOVERY without CODE", "UNSEAL WITH RECOVERY = 'c'", SYNTAX, .position = 22,
     .message = "syntax error at or near \"=\""},
    {"unseal: something behind", "UNSEAL WITH PASSWORD = 'p' FORCE", SYNTAX, .position = 28,
     .message = "syntax error at or near \"FORCE\""},
    {"unseal from a file", "UNSEAL WITH PASSWORD = FROM FILE '/p'", .sqlstate = "0A000",
     .position = 24, .hint = "single quotes"},
    {"unseal from the environment", "UNSEAL WITH PASSWORD = FROM ENV 'P'", .sqlstate = "0A000",
     .position = 24, .hint = "single quotes"},
    {"unseal from a credential", "UNSEAL WITH RECOVERY CODE = FROM CREDENTIAL 'P'",
     .sqlstate = "0A000", .position = 29},
    {"unseal from something else", "UNSEAL WITH PASSWORD = FROM secret 'P'", SYNTAX, .position = 24,
     .message = "syntax error at or near \"FROM\""},
    {"add a password", "ALTER KEYSTORE ADD SLOT password 'p'",
     .parsed = "keystore_alter add_password secret:s'p'"},
    {"add a password, quoted word", "ALTER KEYSTORE ADD SLOT \"password\" $1",
     .parsed = "keystore_alter add_password secret:$1"},
    {"add: PASSWORD in capitals", "ALTER KEYSTORE ADD SLOT PASSWORD 'p'",
     .parsed = "keystore_alter add_password secret:s'p'"},
    {"add: no password", "ALTER KEYSTORE ADD SLOT password", SYNTAX, .position = 33},
    {"add: a bare password", "ALTER KEYSTORE ADD SLOT password hunter2", SYNTAX, .position = 34,
     .message = "syntax error at or near '...'", .hint = "single quotes"},
    {"add a code", "ALTER KEYSTORE ADD SLOT recovery", .parsed = "keystore_alter add_recovery"},
    {"add a file", "ALTER KEYSTORE ADD SLOT file", .parsed = "keystore_alter add_file"},
    {"add: a file takes nothing", "ALTER KEYSTORE ADD SLOT file '/f'", SYNTAX, .position = 30},
    {"add another kind", "ALTER KEYSTORE ADD SLOT kms 'aws-kms:///x'",
     .parsed = "keystore_alter add_other secret:s'aws-kms:///x'"},
    {"add another kind without a string", "ALTER KEYSTORE ADD SLOT tpm",
     .parsed = "keystore_alter add_other"},
    {"add: no kind", "ALTER KEYSTORE ADD SLOT", SYNTAX, .position = 24},
    {"add: a string as kind", "ALTER KEYSTORE ADD SLOT 'p'", SYNTAX, .position = 25,
     .hint = "without quotes"},
    {"drop", "ALTER KEYSTORE DROP SLOT 2", .parsed = "keystore_alter drop slot:s'2'"},
    {"drop a parameter", "ALTER KEYSTORE DROP SLOT $1", .parsed = "keystore_alter drop slot:$1"},
    {"drop: a word", "ALTER KEYSTORE DROP SLOT file", SYNTAX, .position = 26},
    {"drop: a string", "ALTER KEYSTORE DROP SLOT '2'", SYNTAX, .position = 26},
    {"drop: a fraction", "ALTER KEYSTORE DROP SLOT 2.0", SYNTAX, .position = 26},
    {"drop: two", "ALTER KEYSTORE DROP SLOT 2 3", SYNTAX, .position = 28},
    {"rekey", "ALTER KEYSTORE REKEY", .parsed = "keystore_alter rekey"},
    {"rekey takes nothing", "ALTER KEYSTORE REKEY FORCE", SYNTAX, .position = 22},
    {"alter: nothing", "ALTER KEYSTORE", SYNTAX, .position = 15},
    {"alter: something else", "ALTER KEYSTORE OPEN", SYNTAX, .position = 16,
     .message = "syntax error at or near \"OPEN\""},
    {"show", "SHOW KEYSTORE", .parsed = "keystore_show"},
    {"show takes nothing", "SHOW KEYSTORE x", SYNTAX, .position = 15},
};

int main(void)
{
    return RUN_TABLE(rows, parses);
}
