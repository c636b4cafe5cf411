/*
 * SQL Server's statements about master keys and symmetric keys (sql-surface 5). Each function
 * follows the grammar line in its comment; with
 *     pw(V)  = V 'BY' 'PASSWORD' '=' secret
 *     loc(P) = P ( 'FILE' | 'URL' ) '=' strp
 */
#include "parser/claim.h"

/* People who know OceanBase write ENCRYPTED BY '..' here. */
static bool expect(pk_cursor *c, const char *words)
{
    bool oceanbase = pk_cursor_sees(c, "ENCRYPTED");
    if (pk_cursor_expect(c, words))
        return true;
    if (oceanbase)
        pk_error_hint(c->err, "The password is written ENCRYPTION BY PASSWORD = '...'.");
    return false;
}

/* pw(V) */
static bool password(pk_cursor *c, const char *verb, pk_value *value)
{
    return expect(c, verb) && expect(c, "BY PASSWORD =") && pk_cursor_secret(c, value);
}

static bool encryption(pk_cursor *c)
{
    return password(c, "ENCRYPTION", &c->stmt->u.master_key.encryption);
}

static bool decryption(pk_cursor *c)
{
    return password(c, "DECRYPTION", &c->stmt->u.master_key.decryption);
}

/* loc(P) */
static bool location(pk_cursor *c, const char *preposition)
{
    if (!expect(c, preposition))
        return false;
    c->stmt->u.master_key.url = pk_cursor_accept(c, "URL");
    if (!c->stmt->u.master_key.url && !expect(c, "FILE"))
        return false;
    return expect(c, "=") && pk_cursor_place(c, &c->stmt->u.master_key.place);
}

/* P 'FILE' '=' strp: the service master key knows no URL */
static bool file(pk_cursor *c, const char *preposition)
{
    return expect(c, preposition) && expect(c, "FILE =") &&
           pk_cursor_place(c, &c->stmt->u.master_key.place);
}

/* 'CREATE' 'MASTER' 'KEY' [ pw(ENCRYPTION) ] */
bool pk_parse_create_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_DMK_CREATE;
    if (!expect(c, "CREATE MASTER KEY"))
        return false;
    return c->at == c->end || (encryption(c) && pk_cursor_expect_end(c));
}

/* 'OPEN' 'MASTER' 'KEY' pw(DECRYPTION) */
bool pk_parse_open_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_DMK_OPEN;
    return expect(c, "OPEN MASTER KEY") && decryption(c) && pk_cursor_expect_end(c);
}

/* 'CLOSE' 'MASTER' 'KEY' */
bool pk_parse_close_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_DMK_CLOSE;
    return expect(c, "CLOSE MASTER KEY") && pk_cursor_expect_end(c);
}

/* 'DROP' 'MASTER' 'KEY' */
bool pk_parse_drop_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_DMK_DROP;
    return expect(c, "DROP MASTER KEY") && pk_cursor_expect_end(c);
}

/* 'ENCRYPTION' 'BY' ( 'SERVICE' 'MASTER' 'KEY' | 'PASSWORD' '=' secret ) */
static bool protector(pk_cursor *c, pk_alter_action by_password, pk_alter_action by_service_key)
{
    if (!expect(c, "ENCRYPTION BY"))
        return false;
    if (pk_cursor_accept(c, "SERVICE")) {
        c->stmt->u.master_key.action = by_service_key;
        return expect(c, "MASTER KEY");
    }
    c->stmt->u.master_key.action = by_password;
    return expect(c, "PASSWORD =") && pk_cursor_secret(c, &c->stmt->u.master_key.encryption);
}

/* ['FORCE'] 'REGENERATE' 'WITH' pw(ENCRYPTION) | ('ADD'|'DROP') protector */
static bool alter_master_key_action(pk_cursor *c)
{
    if (pk_cursor_accept(c, "ADD"))
        return protector(c, PK_ALTER_ADD_PASSWORD, PK_ALTER_ADD_SMK);
    if (pk_cursor_accept(c, "DROP"))
        return protector(c, PK_ALTER_DROP_PASSWORD, PK_ALTER_DROP_SMK);
    c->stmt->u.master_key.force = pk_cursor_accept(c, "FORCE");
    c->stmt->u.master_key.action = PK_ALTER_REGENERATE;
    return expect(c, "REGENERATE WITH") && encryption(c);
}

/* 'ALTER' 'MASTER' 'KEY' action */
bool pk_parse_alter_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_DMK_ALTER;
    return expect(c, "ALTER MASTER KEY") && alter_master_key_action(c) && pk_cursor_expect_end(c);
}

/* 'BACKUP' 'MASTER' 'KEY' loc(TO) pw(ENCRYPTION) */
bool pk_parse_backup_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_DMK_BACKUP;
    return expect(c, "BACKUP MASTER KEY") && location(c, "TO") && encryption(c) &&
           pk_cursor_expect_end(c);
}

/* 'RESTORE' 'MASTER' 'KEY' loc(FROM) pw(DECRYPTION) pw(ENCRYPTION) ['FORCE'] */
bool pk_parse_restore_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_DMK_RESTORE;
    if (!expect(c, "RESTORE MASTER KEY") || !location(c, "FROM") || !decryption(c) ||
        !encryption(c))
        return false;
    c->stmt->u.master_key.force = pk_cursor_accept(c, "FORCE");
    return pk_cursor_expect_end(c);
}

/* 'BACKUP' 'SERVICE' 'MASTER' 'KEY' 'TO' 'FILE' '=' strp pw(ENCRYPTION) */
bool pk_parse_backup_service_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_SMK_BACKUP;
    return expect(c, "BACKUP SERVICE MASTER KEY") && file(c, "TO") && encryption(c) &&
           pk_cursor_expect_end(c);
}

/* 'RESTORE' 'SERVICE' 'MASTER' 'KEY' 'FROM' 'FILE' '=' strp pw(DECRYPTION) ['FORCE'] */
bool pk_parse_restore_service_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_SMK_RESTORE;
    if (!expect(c, "RESTORE SERVICE MASTER KEY") || !file(c, "FROM") || !decryption(c))
        return false;
    c->stmt->u.master_key.force = pk_cursor_accept(c, "FORCE");
    return pk_cursor_expect_end(c);
}

/* x_ACCOUNT '=' strp ',' x_PASSWORD '=' secret: parsed, so that the password is known as one */
static bool account(pk_cursor *c, const char *account_word, const char *password_word)
{
    pk_stmt *stmt = c->stmt;
    stmt->u.master_key.action = PK_ALTER_ACCOUNT;
    return expect(c, account_word) && expect(c, "=") &&
           pk_cursor_value(c, PK_TAKE_STRING | PK_TAKE_PARAM, PK_CLASS_OTHER,
                           &stmt->u.master_key.name) &&
           expect(c, ",") && expect(c, password_word) && expect(c, "=") &&
           pk_cursor_secret(c, &stmt->u.master_key.encryption);
}

/* 'ALTER' 'SERVICE' 'MASTER' 'KEY' ( ['FORCE'] 'REGENERATE' | 'WITH' OLD_.. | 'WITH' NEW_.. ) */
bool pk_parse_alter_service_master_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_SMK_ALTER;
    if (!expect(c, "ALTER SERVICE MASTER KEY"))
        return false;
    if (pk_cursor_accept(c, "WITH")) {
        bool old = pk_cursor_sees(c, "OLD_ACCOUNT");
        return (old ? account(c, "OLD_ACCOUNT", "OLD_PASSWORD")
                    : account(c, "NEW_ACCOUNT", "NEW_PASSWORD")) &&
               pk_cursor_expect_end(c);
    }
    c->stmt->u.master_key.action = PK_ALTER_REGENERATE;
    c->stmt->u.master_key.force = pk_cursor_accept(c, "FORCE");
    return expect(c, "REGENERATE") && pk_cursor_expect_end(c);
}

/* 'BACKUP' 'SYMMETRIC' 'KEY' word loc(TO) pw(ENCRYPTION) */
bool pk_parse_backup_symmetric_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_SYMKEY_BACKUP;
    return expect(c, "BACKUP SYMMETRIC KEY") && pk_cursor_name(c, &c->stmt->u.master_key.name) &&
           location(c, "TO") && encryption(c) && pk_cursor_expect_end(c);
}

/* 'RESTORE' 'SYMMETRIC' 'KEY' word loc(FROM) pw(DECRYPTION) pw(ENCRYPTION) */
bool pk_parse_restore_symmetric_key(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_SYMKEY_RESTORE;
    return expect(c, "RESTORE SYMMETRIC KEY") && pk_cursor_name(c, &c->stmt->u.master_key.name) &&
           location(c, "FROM") && decryption(c) && encryption(c) && pk_cursor_expect_end(c);
}

/* 'SHOW' 'MASTER' 'KEYS' */
bool pk_parse_show_master_keys(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_SHOW_MASTER_KEYS;
    return expect(c, "SHOW MASTER KEYS") && pk_cursor_expect_end(c);
}

/* BACKUP DATABASE x TO DISK .., BACKUP LOG .., BACKUP CERTIFICATE .. */
bool pk_parse_mssql_data_backup(pk_cursor *c)
{
    return pk_cursor_unsupported(c, "this form of BACKUP is not supported",
                                 "Use BACKUP [DATABASE ...] INTO for data and BACKUP MASTER KEY "
                                 "for keys.");
}
