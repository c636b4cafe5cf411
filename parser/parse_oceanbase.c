/*
 * OceanBase's statements about tenant keys (sql-surface 4). Each function follows the grammar line
 * in its comment.
 */
#include "parser/claim.h"

/* People who know SQL Server write ENCRYPTION BY PASSWORD = here. */
static bool expect_end(pk_cursor *c)
{
    if (c->at == c->end)
        return true;
    bool mssql = pk_cursor_sees(c, "ENCRYPTION") || pk_cursor_sees(c, "DECRYPTION");
    pk_cursor_syntax_error(c);
    if (mssql)
        pk_error_hint(c->err, "The password of this statement is written ENCRYPTED BY '...'.");
    return false;
}

/* [ 'ENCRYPTED' 'BY' secret ] */
static bool encrypted_by(pk_cursor *c, pk_value *password)
{
    if (!pk_cursor_accept(c, "ENCRYPTED"))
        return true;
    return pk_cursor_expect(c, "BY") && pk_cursor_secret(c, password);
}

/* tenant = word | string */
static bool tenant(pk_cursor *c)
{
    pk_value value;
    return pk_cursor_value(c, PK_TAKE_WORD | PK_TAKE_STRING, PK_CLASS_NAME, &value);
}

/* 'TENANT' ['='] tenant {',' tenant}; the values stand side by side. */
static bool tenant_clause(pk_cursor *c, bool list)
{
    if (!pk_cursor_accept(c, "TENANT"))
        return true;
    (void)pk_cursor_accept(c, "=");
    pk_stmt *stmt = c->stmt;
    stmt->u.tenant_key.tenants = stmt->values + stmt->value_count;
    do {
        if (!tenant(c))
            return false;
        stmt->u.tenant_key.tenant_count++;
    } while (list && pk_cursor_accept(c, ","));
    return true;
}

/* 'ALTER' 'SYSTEM' 'BACKUP' 'KEY' [ 'TENANT' ['='] tenant {',' tenant} ] 'TO' ['='] strp
 * [ 'ENCRYPTED' 'BY' secret ] */
bool pk_parse_alter_system_backup_key(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_TENANT_KEY_BACKUP;
    if (!pk_cursor_expect(c, "ALTER SYSTEM BACKUP KEY") || !tenant_clause(c, true) ||
        !pk_cursor_expect(c, "TO"))
        return false;
    (void)pk_cursor_accept(c, "=");
    return pk_cursor_place(c, &stmt->u.tenant_key.path) &&
           encrypted_by(c, &stmt->u.tenant_key.password) && expect_end(c);
}

/* 'ALTER' 'SYSTEM' 'RESTORE' 'KEY' [ 'TENANT' ['='] tenant ] 'FROM' strp [ 'ENCRYPTED' 'BY' secret
 * ] [ 'FORCE' ] */
bool pk_parse_alter_system_restore_key(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_TENANT_KEY_RESTORE;
    if (!pk_cursor_expect(c, "ALTER SYSTEM RESTORE KEY") || !tenant_clause(c, false) ||
        !pk_cursor_expect(c, "FROM") || !pk_cursor_place(c, &stmt->u.tenant_key.path) ||
        !encrypted_by(c, &stmt->u.tenant_key.password))
        return false;
    stmt->u.tenant_key.force = pk_cursor_accept(c, "FORCE");
    return expect_end(c);
}

static bool other_value(pk_cursor *c, pk_value *value)
{
    return pk_cursor_value(c, PK_TAKE_STRING | PK_TAKE_PARAM, PK_CLASS_OTHER, value);
}

/* [ 'UNTIL' ( 'TIME' '=' strp | 'SCN' '=' int ) ] */
static bool until_clause(pk_cursor *c, pk_value *until)
{
    if (!pk_cursor_accept(c, "UNTIL"))
        return true;
    if (pk_cursor_accept(c, "SCN"))
        return pk_cursor_expect(c, "=") && pk_cursor_value(c, PK_TAKE_INT, PK_CLASS_OTHER, until);
    return pk_cursor_expect(c, "TIME =") && other_value(c, until);
}

/* [ 'WITH' 'KEY' 'FROM' strp [ 'ENCRYPTED' 'BY' secret ] ] */
static bool with_key_clause(pk_cursor *c)
{
    if (!pk_cursor_accept(c, "WITH"))
        return true;
    return pk_cursor_expect(c, "KEY FROM") &&
           pk_cursor_place(c, &c->stmt->u.tenant_restore.key_from) &&
           encrypted_by(c, &c->stmt->u.tenant_restore.key_password);
}

/* [ 'DESCRIPTION' ['='] strp ] */
static bool description_clause(pk_cursor *c)
{
    if (!pk_cursor_accept(c, "DESCRIPTION"))
        return true;
    (void)pk_cursor_accept(c, "=");
    return other_value(c, &c->stmt->u.tenant_restore.description);
}

/* 'ALTER' 'SYSTEM' 'RESTORE' word [ 'FROM' strp ] [ until ] 'WITH' strp [ 'ENCRYPTED' 'BY' secret ]
 * [ 'WITH' 'KEY' 'FROM' .. ] [ 'DESCRIPTION' ['='] strp ]. FROM holds several URIs with commas in
 * between, which no redaction of one URI is safe for: it is never shown. */
bool pk_parse_alter_system_restore(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_TENANT_RESTORE;
    if (!pk_cursor_expect(c, "ALTER SYSTEM RESTORE") ||
        !pk_cursor_name(c, &stmt->u.tenant_restore.tenant))
        return false;
    if (pk_cursor_accept(c, "FROM") && !other_value(c, &stmt->u.tenant_restore.from))
        return false;
    return until_clause(c, &stmt->u.tenant_restore.until) && pk_cursor_expect(c, "WITH") &&
           other_value(c, &stmt->u.tenant_restore.pool) &&
           encrypted_by(c, &stmt->u.tenant_restore.data_password) && with_key_clause(c) &&
           description_clause(c) && expect_end(c);
}

/* 'ALTER' 'INSTANCE' 'ROTATE' 'INNODB' 'MASTER' 'KEY' */
bool pk_parse_alter_instance_rotate(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_TENANT_KEY_ROTATE;
    return pk_cursor_expect(c, "ALTER INSTANCE ROTATE INNODB MASTER KEY") && expect_end(c);
}

/* 'ADMINISTER' 'KEY' 'MANAGEMENT' 'SET' 'KEY' 'IDENTIFIED' 'BY' secret */
bool pk_parse_administer_key_management(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_TENANT_KEY_ROTATE;
    if (!pk_cursor_expect(c, "ADMINISTER KEY MANAGEMENT"))
        return false;
    if (pk_cursor_sees(c, "CREATE KEYSTORE") || pk_cursor_sees(c, "SET KEYSTORE") ||
        pk_cursor_sees(c, "ALTER KEYSTORE"))
        return pk_cursor_unsupported(
            c, "keystore statements of ADMINISTER KEY MANAGEMENT are not supported",
            "The keystore is created and opened by pgkeep itself.");
    return pk_cursor_expect(c, "SET KEY IDENTIFIED BY") &&
           pk_cursor_secret(c, &stmt->u.tenant_key.password) && expect_end(c);
}

/* 'SET' 'ENCRYPTION' 'ON' 'IDENTIFIED' 'BY' secret 'ONLY' */
bool pk_parse_set_encryption(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_SET_ENCRYPTION;
    pk_value password;
    if (!pk_cursor_expect(c, "SET ENCRYPTION ON IDENTIFIED BY") || !pk_cursor_secret(c, &password))
        return false;
    stmt->u.session_password.passwords = stmt->values;
    stmt->u.session_password.count = 1;
    return pk_cursor_expect(c, "ONLY") && expect_end(c);
}

/* 'SET' 'DECRYPTION' 'IDENTIFIED' 'BY' secret {',' secret} */
bool pk_parse_set_decryption(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_SET_DECRYPTION;
    if (!pk_cursor_expect(c, "SET DECRYPTION IDENTIFIED BY"))
        return false;
    stmt->u.session_password.passwords = stmt->values;
    do {
        pk_value password;
        if (!pk_cursor_secret(c, &password))
            return false;
        stmt->u.session_password.count++;
    } while (pk_cursor_accept(c, ","));
    return expect_end(c);
}

/* 'SHOW' 'KEY' 'BACKUPS' */
bool pk_parse_show_key_backups(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_SHOW_KEY_BACKUPS;
    return pk_cursor_expect(c, "SHOW KEY BACKUPS") && expect_end(c);
}
