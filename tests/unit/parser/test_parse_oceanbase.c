/*
 * OceanBase's grammar (sql-surface 4), row by row.
 */
#include "grammar_test.h"

void describe(description *d, const pk_stmt *stmt)
{
    bool key = stmt->kind == PK_STMT_TENANT_KEY_BACKUP ||
               stmt->kind == PK_STMT_TENANT_KEY_RESTORE || stmt->kind == PK_STMT_TENANT_KEY_ROTATE;
    if (key) {
        for (size_t i = 0; i < stmt->u.tenant_key.tenant_count; i++)
            describe_value(d, "tenant", &stmt->u.tenant_key.tenants[i]);
        describe_value(d, "path", &stmt->u.tenant_key.path);
        describe_value(d, "password", &stmt->u.tenant_key.password);
        describe_flag(d, "force", stmt->u.tenant_key.force);
    } else if (stmt->kind == PK_STMT_TENANT_RESTORE) {
        describe_value(d, "tenant", &stmt->u.tenant_restore.tenant);
        describe_value(d, "from", &stmt->u.tenant_restore.from);
        describe_value(d, "until", &stmt->u.tenant_restore.until);
        describe_value(d, "pool", &stmt->u.tenant_restore.pool);
        describe_value(d, "data_password", &stmt->u.tenant_restore.data_password);
        describe_value(d, "key_from", &stmt->u.tenant_restore.key_from);
        describe_value(d, "key_password", &stmt->u.tenant_restore.key_password);
        describe_value(d, "description", &stmt->u.tenant_restore.description);
    } else if (stmt->kind != PK_STMT_SHOW_KEY_BACKUPS) {
        for (size_t i = 0; i < stmt->u.session_password.count; i++)
            describe_value(d, "password", &stmt->u.session_password.passwords[i]);
    }
}

#define SYNTAX .sqlstate = "42601"

static const grammar_row rows[] = {
    {"shortest form", "ALTER SYSTEM BACKUP KEY TO 'k'", .parsed = "tenant_key_backup path:s'k'"},
    {"everything", "alter system backup key tenant = a to = 'k' encrypted by 'p'",
     .parsed = "tenant_key_backup tenant:w'a' path:s'k' password:s'p'"},
    {"tenants without =, folded, quoted and as string",
     "ALTER SYSTEM BACKUP KEY TENANT Sales, \"Finance Dept\", 'HR' TO 'k'",
     .parsed = "tenant_key_backup tenant:w'sales' tenant:w'Finance Dept' tenant:s'HR' path:s'k'"},
    {"tenants called like the grammar's words",
     "ALTER SYSTEM BACKUP KEY TENANT = key, tenant TO 'k'",
     .parsed = "tenant_key_backup tenant:w'key' tenant:w'tenant' path:s'k'"},
    {"parameters", "ALTER SYSTEM BACKUP KEY TO $2 ENCRYPTED BY $1",
     .parsed = "tenant_key_backup path:$2 password:$1"},
    {"no TO", "ALTER SYSTEM BACKUP KEY", SYNTAX, .position = 24,
     .message = "syntax error at end of input"},
    {"path is a word", "ALTER SYSTEM BACKUP KEY TO k", SYNTAX, .position = 28,
     .message = "syntax error at or near '...'", .hint = "single quotes"},
    {"path is a name", "ALTER SYSTEM BACKUP KEY TO \"k\"", SYNTAX, .position = 28,
     .hint = "Double quotes are for names"},
    {"no tenant", "ALTER SYSTEM BACKUP KEY TENANT = TO 'k'", SYNTAX, .position = 34,
     .message = "syntax error at or near \"TO\""},
    {"a comma too many", "ALTER SYSTEM BACKUP KEY TENANT = a, TO 'k'", SYNTAX, .position = 37},
    {"a tenant as a parameter", "ALTER SYSTEM BACKUP KEY TENANT $1 TO 'k'", SYNTAX, .position = 32},
    {"a reserved word as tenant", "ALTER SYSTEM BACKUP KEY TENANT select TO 'k'", SYNTAX,
     .position = 32},
    {"tenants in parentheses", "ALTER SYSTEM BACKUP KEY TENANT (a) TO 'k'", SYNTAX, .position = 32,
     .message = "syntax error at or near \"(\""},
    {"backquotes", "ALTER SYSTEM BACKUP KEY TENANT = `a` TO 'k'", SYNTAX, .position = 34,
     .hint = "double quotes"},
    {"backquotes glued to =", "ALTER SYSTEM BACKUP KEY TENANT =`a` TO 'k'", SYNTAX, .position = 32,
     .hint = "double quotes"},
    {"clauses in the wrong order", "ALTER SYSTEM BACKUP KEY TO 'k' TENANT = a", SYNTAX,
     .position = 32, .message = "syntax error at or near \"TENANT\""},
    {"two paths", "ALTER SYSTEM BACKUP KEY TO 'a', 'b'", SYNTAX, .position = 31},
    {"two strings on one line", "ALTER SYSTEM BACKUP KEY TO 'a' 'b'", SYNTAX, .position = 32},
    {"ENCRYPTED without BY", "ALTER SYSTEM BACKUP KEY TO 'a' ENCRYPTED 'p'", SYNTAX,
     .position = 42},
    {"a bare word as password", "ALTER SYSTEM BACKUP KEY TO 'a' ENCRYPTED BY hunter2", SYNTAX,
     .position = 45, .message = "syntax error at or near '...'",
     .hint = "Write the password in single quotes"},
    {"wording of SQL Server", "ALTER SYSTEM BACKUP KEY TO 'a' ENCRYPTION BY PASSWORD = 'p'", SYNTAX,
     .position = 32, .message = "syntax error at or near \"ENCRYPTION\"", .hint = "ENCRYPTED BY"},
    {"a parameter of a driver", "ALTER SYSTEM BACKUP KEY TO ?", SYNTAX, .position = 28,
     .hint = "$1"},
    {"a variable", "ALTER SYSTEM BACKUP KEY TO @p", SYNTAX, .position = 28, .hint = "$1"},
    {"BACKUP without KEY", "ALTER SYSTEM BACKUP TENANT a TO 'k'", SYNTAX, .position = 21},

    {"restore: shortest form", "ALTER SYSTEM RESTORE KEY FROM 'k'",
     .parsed = "tenant_key_restore path:s'k'"},
    {"restore: everything", "ALTER SYSTEM RESTORE KEY TENANT = a FROM 'k' ENCRYPTED BY 'p' FORCE",
     .parsed = "tenant_key_restore tenant:w'a' path:s'k' password:s'p' force"},
    {"restore: FORCE without a password", "ALTER SYSTEM RESTORE KEY TENANT 'a' FROM $1 FORCE",
     .parsed = "tenant_key_restore tenant:s'a' path:$1 force"},
    {"restore: one tenant only", "ALTER SYSTEM RESTORE KEY TENANT a, b FROM 'k'", SYNTAX,
     .position = 34},
    {"restore: no =", "ALTER SYSTEM RESTORE KEY FROM = 'k'", SYNTAX, .position = 31},
    {"restore: FORCE in front", "ALTER SYSTEM RESTORE KEY FROM 'k' FORCE ENCRYPTED BY 'p'", SYNTAX,
     .position = 41},

    {"rotate", "ALTER INSTANCE ROTATE INNODB MASTER KEY", .parsed = "tenant_key_rotate"},
    {"rotate: other instances", "ALTER INSTANCE ROTATE BINLOG MASTER KEY", SYNTAX, .position = 23},
    {"rotate: something behind", "ALTER INSTANCE ROTATE INNODB MASTER KEY NOW", SYNTAX,
     .position = 41},
    {"set key", "ADMINISTER KEY MANAGEMENT SET KEY IDENTIFIED BY 'p'",
     .parsed = "tenant_key_rotate password:s'p'"},
    {"set key: a bare password", "ADMINISTER KEY MANAGEMENT SET KEY IDENTIFIED BY p", SYNTAX,
     .position = 49, .hint = "single quotes"},
    {"create keystore", "ADMINISTER KEY MANAGEMENT CREATE KEYSTORE a IDENTIFIED BY p",
     .sqlstate = "0A000"},
    {"open keystore", "ADMINISTER KEY MANAGEMENT SET KEYSTORE OPEN IDENTIFIED BY p",
     .sqlstate = "0A000"},
    {"administer something else", "ADMINISTER USERS", SYNTAX, .position = 12},

    {"tenant restore: shortest form", "ALTER SYSTEM RESTORE a WITH 'pool_list=p'",
     .parsed = "tenant_restore tenant:w'a' pool:s'pool_list=p'"},
    {"tenant restore: everything",
     "ALTER SYSTEM RESTORE a FROM 'f' UNTIL TIME='t' WITH 'p' ENCRYPTED BY 'd' WITH KEY FROM 'k' "
     "ENCRYPTED BY 'kp' DESCRIPTION = 'n'",
     .parsed = "tenant_restore tenant:w'a' from:s'f' until:s't' pool:s'p' data_password:s'd' "
               "key_from:s'k' key_password:s'kp' description:s'n'"},
    {"tenant restore: SCN", "ALTER SYSTEM RESTORE a UNTIL SCN = 1714557600123456789 WITH $1",
     .parsed = "tenant_restore tenant:w'a' until:s'1714557600123456789' pool:$1"},
    {"tenant restore: a tenant called key", "ALTER SYSTEM RESTORE \"key\" WITH 'p'",
     .parsed = "tenant_restore tenant:w'key' pool:s'p'"},
    {"tenant restore: the first password belongs to the data",
     "ALTER SYSTEM RESTORE a WITH 'p' WITH KEY FROM 'k' ENCRYPTED BY 'kp'",
     .parsed = "tenant_restore tenant:w'a' pool:s'p' key_from:s'k' key_password:s'kp'"},
    {"tenant restore: WITH KEY cannot come first", "ALTER SYSTEM RESTORE a WITH KEY FROM 'k'",
     SYNTAX, .position = 29},
    {"tenant restore: no WITH", "ALTER SYSTEM RESTORE a FROM 'f'", SYNTAX, .position = 32},
    {"tenant restore: SCN as a string", "ALTER SYSTEM RESTORE a UNTIL SCN = '1' WITH 'p'", SYNTAX,
     .position = 36},
    {"tenant restore: a tenant as a string", "ALTER SYSTEM RESTORE 'a' WITH 'p'", SYNTAX,
     .position = 22, .hint = "without quotes"},

    {"set encryption", "SET ENCRYPTION ON IDENTIFIED BY 'p' ONLY",
     .parsed = "set_encryption password:s'p'"},
    {"set encryption: ONLY is required", "SET ENCRYPTION ON IDENTIFIED BY 'p'", SYNTAX,
     .position = 36},
    {"set encryption: one password", "SET ENCRYPTION ON IDENTIFIED BY 'p', 'q' ONLY", SYNTAX,
     .position = 36},
    {"set decryption", "SET DECRYPTION IDENTIFIED BY 'p', $1, $$q$$",
     .parsed = "set_decryption password:s'p' password:$1 password:s'q'"},
    {"set decryption: parentheses", "SET DECRYPTION IDENTIFIED BY ('p')", SYNTAX, .position = 30},
    {"set decryption: a comma too many", "SET DECRYPTION IDENTIFIED BY 'p',", SYNTAX,
     .position = 34},
    {"show key backups", "SHOW KEY BACKUPS", .parsed = "show_key_backups"},
    {"show key backups takes nothing", "SHOW KEY BACKUPS IN 'x'", SYNTAX, .position = 18},
};

int main(void)
{
    return RUN_TABLE(rows, parses);
}
