/*
 * SQL Server's grammar (sql-surface 5), row by row.
 */
#include "grammar_test.h"

void describe(description *d, const pk_stmt *stmt)
{
    static const char *const actions[] = {
        [PK_ALTER_REGENERATE] = "regenerate",       [PK_ALTER_ADD_PASSWORD] = "add_password",
        [PK_ALTER_DROP_PASSWORD] = "drop_password", [PK_ALTER_ADD_SMK] = "add_smk",
        [PK_ALTER_DROP_SMK] = "drop_smk",           [PK_ALTER_ACCOUNT] = "account",
    };
    if (stmt->kind == PK_STMT_SHOW_MASTER_KEYS)
        return;
    if (stmt->kind == PK_STMT_SMK_ALTER || stmt->kind == PK_STMT_DMK_ALTER)
        describe_flag(d, actions[stmt->u.master_key.action], true);
    describe_value(d, "name", &stmt->u.master_key.name);
    describe_flag(d, "url", stmt->u.master_key.url);
    describe_value(d, "place", &stmt->u.master_key.place);
    describe_value(d, "decryption", &stmt->u.master_key.decryption);
    describe_value(d, "encryption", &stmt->u.master_key.encryption);
    describe_flag(d, "force", stmt->u.master_key.force);
}

#define SYNTAX .sqlstate = "42601"

static const grammar_row rows[] = {
    {"create", "CREATE MASTER KEY", .parsed = "dmk_create"},
    {"create with a password", "create master key encryption by password = 'p'",
     .parsed = "dmk_create encryption:s'p'"},
    {"create: something else of MASTER", "CREATE MASTER PLAN", SYNTAX, .position = 15},
    {"create: wrong verb", "CREATE MASTER KEY DECRYPTION BY PASSWORD = 'p'", SYNTAX, .position = 19,
     .message = "syntax error at or near \"DECRYPTION\""},
    {"create: wording of OceanBase", "CREATE MASTER KEY ENCRYPTED BY 'p'", SYNTAX, .position = 19,
     .hint = "ENCRYPTION BY PASSWORD ="},
    {"create: no =", "CREATE MASTER KEY ENCRYPTION BY PASSWORD 'p'", SYNTAX, .position = 42,
     .message = "syntax error at or near '...'", .hint = "\"=\""},
    {"create: a bare word as password", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = Secret123",
     SYNTAX, .position = 44, .message = "syntax error at or near '...'", .hint = "single quotes"},
    {"create: a number as password", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 12345678", SYNTAX,
     .position = 44, .hint = "single quotes"},
    {"create: a name as password", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = \"p\"", SYNTAX,
     .position = 44, .hint = "Double quotes are for names"},
    {"create: nothing as password", "CREATE MASTER KEY ENCRYPTION BY PASSWORD =", SYNTAX,
     .position = 43, .message = "syntax error at end of input"},
    {"create: bits as password", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = X'41'", SYNTAX,
     .position = 44},
    {"create: driver's parameter glued to =", "CREATE MASTER KEY ENCRYPTION BY PASSWORD =?", SYNTAX,
     .position = 42, .hint = "$1"},
    {"create: GO behind", "CREATE MASTER KEY\nGO", SYNTAX, .position = 19, .hint = "GO"},
    {"create: GO behind a password", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'p'\nGO", SYNTAX,
     .position = 48, .hint = "GO"},

    {"open", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $3", .parsed = "dmk_open decryption:$3"},
    {"open: no password", "OPEN MASTER KEY", SYNTAX, .position = 16},
    {"open: wrong verb", "OPEN MASTER KEY ENCRYPTION BY PASSWORD = 'p'", SYNTAX, .position = 17},
    {"open something else", "OPEN SYMMETRIC KEY k DECRYPTION BY PASSWORD = 'p'", SYNTAX,
     .position = 6},
    {"close", "CLOSE MASTER KEY", .parsed = "dmk_close"},
    {"close takes nothing", "CLOSE MASTER KEY k", SYNTAX, .position = 18},
    {"drop", "DROP MASTER KEY", .parsed = "dmk_drop"},
    {"drop takes nothing", "DROP MASTER KEY CASCADE", SYNTAX, .position = 17},

    {"regenerate", "ALTER MASTER KEY REGENERATE WITH ENCRYPTION BY PASSWORD = 'p'",
     .parsed = "dmk_alter regenerate encryption:s'p'"},
    {"regenerate by force", "ALTER MASTER KEY FORCE REGENERATE WITH ENCRYPTION BY PASSWORD = 'p'",
     .parsed = "dmk_alter regenerate encryption:s'p' force"},
    {"regenerate: no password", "ALTER MASTER KEY REGENERATE", SYNTAX, .position = 28},
    {"add a password", "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = 'p'",
     .parsed = "dmk_alter add_password encryption:s'p'"},
    {"add the service master key", "ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY",
     .parsed = "dmk_alter add_smk"},
    {"drop a password", "ALTER MASTER KEY DROP ENCRYPTION BY PASSWORD = 'p'",
     .parsed = "dmk_alter drop_password encryption:s'p'"},
    {"drop the service master key", "ALTER MASTER KEY DROP ENCRYPTION BY SERVICE MASTER KEY",
     .parsed = "dmk_alter drop_smk"},
    {"add by force", "ALTER MASTER KEY FORCE ADD ENCRYPTION BY SERVICE MASTER KEY", SYNTAX,
     .position = 24},
    {"alter: nothing", "ALTER MASTER KEY", SYNTAX, .position = 17},
    {"alter: something else of MASTER", "ALTER MASTER x", SYNTAX, .position = 14},

    {"backup", "BACKUP MASTER KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p'",
     .parsed = "dmk_backup place:s'/k' encryption:s'p'"},
    {"backup to a URL", "BACKUP MASTER KEY TO URL = $1 ENCRYPTION BY PASSWORD = $2",
     .parsed = "dmk_backup url place:$1 encryption:$2"},
    {"backup: no password", "BACKUP MASTER KEY TO FILE = '/k'", SYNTAX, .position = 33},
    {"backup: a disk", "BACKUP MASTER KEY TO DISK = '/k' ENCRYPTION BY PASSWORD = 'p'", SYNTAX,
     .position = 22, .message = "syntax error at or near \"DISK\""},
    {"backup: FORCE", "BACKUP MASTER KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p' FORCE", SYNTAX,
     .position = 63},
    {"backup: a key name", "BACKUP MASTER KEY k TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p'",
     SYNTAX, .position = 19},
    {"backup: a bare word as file", "BACKUP MASTER KEY TO FILE = k ENCRYPTION BY PASSWORD = 'p'",
     SYNTAX, .position = 29, .hint = "single quotes"},
    {"restore",
     "RESTORE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY PASSWORD = "
     "'q'",
     .parsed = "dmk_restore place:s'/k' decryption:s'p' encryption:s'q'"},
    {"restore from a URL, by force",
     "RESTORE MASTER KEY FROM URL = 'u' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY PASSWORD = 'q' "
     "FORCE",
     .parsed = "dmk_restore url place:s'u' decryption:s'p' encryption:s'q' force"},
    {"restore: one password", "RESTORE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p'",
     SYNTAX, .position = 65},
    {"restore: passwords the other way round",
     "RESTORE MASTER KEY FROM FILE = '/k' ENCRYPTION BY PASSWORD = 'p' DECRYPTION BY PASSWORD = "
     "'q'",
     SYNTAX, .position = 37},
    {"restore: FORCE twice",
     "RESTORE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY PASSWORD = "
     "'q' "
     "FORCE FORCE",
     SYNTAX, .position = 101},

    {"service: backup", "BACKUP SERVICE MASTER KEY TO FILE = N'/k' ENCRYPTION BY PASSWORD = N'p'",
     .parsed = "smk_backup place:s'/k' encryption:s'p'"},
    {"service: no URL", "BACKUP SERVICE MASTER KEY TO URL = 'u' ENCRYPTION BY PASSWORD = 'p'",
     SYNTAX, .position = 30, .message = "syntax error at or near \"URL\""},
    {"service: misspelt", "BACKUP SERVICE MASTER KEYS TO FILE = '/k'", SYNTAX, .position = 23},
    {"service: no = behind FILE", "BACKUP SERVICE MASTER KEY TO FILE '/k'", SYNTAX, .position = 35,
     .hint = "\"=\""},
    {"service: restore", "RESTORE SERVICE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p'",
     .parsed = "smk_restore place:s'/k' decryption:s'p'"},
    {"service: restore by force",
     "RESTORE SERVICE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p' FORCE",
     .parsed = "smk_restore place:s'/k' decryption:s'p' force"},
    {"service: restore takes no new password",
     "RESTORE SERVICE MASTER KEY FROM FILE = '/k' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY "
     "PASSWORD = 'q'",
     SYNTAX, .position = 74},
    {"service: regenerate", "ALTER SERVICE MASTER KEY REGENERATE",
     .parsed = "smk_alter regenerate"},
    {"service: regenerate by force", "ALTER SERVICE MASTER KEY FORCE REGENERATE",
     .parsed = "smk_alter regenerate force"},
    {"service: regenerate takes no password",
     "ALTER SERVICE MASTER KEY REGENERATE WITH ENCRYPTION BY PASSWORD = 'p'", SYNTAX,
     .position = 37},
    {"service: old account",
     "ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = 'D\\s', OLD_PASSWORD = 'p'",
     .parsed = "smk_alter account name:s'D\\s' encryption:s'p'"},
    {"service: new account", "ALTER SERVICE MASTER KEY WITH NEW_ACCOUNT = $1, NEW_PASSWORD = $2",
     .parsed = "smk_alter account name:$1 encryption:$2"},
    {"service: old and new mixed",
     "ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = 'a', NEW_PASSWORD = 'p'", SYNTAX, .position = 50},
    {"service: nothing", "ALTER SERVICE MASTER KEY", SYNTAX, .position = 25},

    {"KEYS of one", "BACKUP MASTER KEYS TO FILE = '/k'", SYNTAX, .position = 15,
     .message = "syntax error at or near \"KEYS\""},
    {"restore: KEYS", "RESTORE MASTER KEYS FROM FILE = '/k'", SYNTAX, .position = 16,
     .message = "syntax error at or near \"KEYS\""},
    {"KEY forgotten", "BACKUP MASTER TO FILE = '/k'", SYNTAX, .position = 15,
     .message = "syntax error at or near \"TO\""},
    {"symmetric: KEYS", "BACKUP SYMMETRIC KEYS k TO FILE = '/k'", SYNTAX, .position = 18,
     .message = "syntax error at or near \"KEYS\""},
    {"a password from a file",
     "BACKUP MASTER KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = FROM FILE '/p'",
     .sqlstate = "0A000", .position = 59},
    {"symmetric: backup", "BACKUP SYMMETRIC KEY Card TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p'",
     .parsed = "symkey_backup name:w'card' place:s'/k' encryption:s'p'"},
    {"symmetric: restore",
     "RESTORE SYMMETRIC KEY \"Card Key\" FROM URL = 'u' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY "
     "PASSWORD = 'q'",
     .parsed = "symkey_restore name:w'Card Key' url place:s'u' decryption:s'p' encryption:s'q'"},
    {"symmetric: no name", "BACKUP SYMMETRIC KEY TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p'",
     SYNTAX, .position = 22, .message = "syntax error at or near \"TO\""},
    {"symmetric: a name in brackets",
     "BACKUP SYMMETRIC KEY [Card] TO FILE = '/k' ENCRYPTION BY PASSWORD = 'p'", SYNTAX,
     .position = 22, .hint = "double quotes"},
    {"symmetric: no FORCE",
     "RESTORE SYMMETRIC KEY k FROM FILE = 'u' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY PASSWORD "
     "= "
     "'q' FORCE",
     SYNTAX, .position = 99},

    {"show master keys", "SHOW MASTER KEYS", .parsed = "show_master_keys"},
    {"show master keys takes nothing", "SHOW MASTER KEYS x", SYNTAX, .position = 18},
    {"data backup of SQL Server", "BACKUP DATABASE a TO DISK = 'x'", .sqlstate = "0A000",
     .hint = "INTO"},
    {"log backup", "BACKUP LOG a TO DISK = 'x'", .sqlstate = "0A000", .hint = "INTO"},
};

int main(void)
{
    return RUN_TABLE(rows, parses);
}
