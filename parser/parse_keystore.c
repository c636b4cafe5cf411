/*
 * Statements about the keystore itself (sql-surface 7.2). Each function follows the grammar line in
 * its comment. Kinds of slots that cannot be added by SQL are parsed all the same: what is offered
 * is for the table of statements to say, and a secret behind such a word is known as one.
 */
#include "parser/claim.h"

/* 'SEAL' */
bool pk_parse_seal(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_KEYSTORE_SEAL;
    return pk_cursor_expect(c, "SEAL") && pk_cursor_expect_end(c);
}

/* 'UNSEAL' 'WITH' ( 'PASSWORD' | 'RECOVERY' 'CODE' ) '=' secret */
bool pk_parse_unseal(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_KEYSTORE_UNSEAL;
    if (!pk_cursor_expect(c, "UNSEAL WITH"))
        return false;
    stmt->u.keystore.recovery = pk_cursor_sees(c, "RECOVERY");
    return pk_cursor_expect(c, stmt->u.keystore.recovery ? "RECOVERY CODE =" : "PASSWORD =") &&
           pk_cursor_secret(c, &stmt->u.keystore.secret) && pk_cursor_expect_end(c);
}

static pk_keystore_action kind_of_slot(pk_span word)
{
    if (pk_span_equal(word, PK_SPAN("password")))
        return PK_KEYSTORE_ADD_PASSWORD;
    if (pk_span_equal(word, PK_SPAN("file")))
        return PK_KEYSTORE_ADD_FILE;
    if (pk_span_equal(word, PK_SPAN("recovery")))
        return PK_KEYSTORE_ADD_RECOVERY;
    return PK_KEYSTORE_ADD_OTHER;
}

/* word [ strp ]: a password needs the string, a file takes none. The word is class OTHER, since
 * what is no kind of slot may be a password that lost its quotes. */
static bool added_slot(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    pk_value word;
    if (!pk_cursor_value(c, PK_TAKE_WORD, PK_CLASS_OTHER, &word))
        return false;
    stmt->u.keystore.action = kind_of_slot(word.text);
    if (stmt->u.keystore.action != PK_KEYSTORE_ADD_OTHER)
        stmt->values[stmt->value_count - 1].class = PK_CLASS_NAME;
    const bool needed = stmt->u.keystore.action == PK_KEYSTORE_ADD_PASSWORD;
    const bool allowed = stmt->u.keystore.action != PK_KEYSTORE_ADD_FILE;
    return !(needed || (allowed && c->at < c->end)) ||
           pk_cursor_secret(c, &stmt->u.keystore.secret);
}

/* 'ALTER' 'KEYSTORE' ( 'REKEY' | 'ADD' 'SLOT' word [ strp ] | 'DROP' 'SLOT' int ) */
bool pk_parse_alter_keystore(pk_cursor *c)
{
    pk_stmt *stmt = c->stmt;
    stmt->kind = PK_STMT_KEYSTORE_ALTER;
    if (!pk_cursor_expect(c, "ALTER KEYSTORE"))
        return false;
    if (pk_cursor_accept(c, "REKEY")) {
        stmt->u.keystore.action = PK_KEYSTORE_REKEY;
        return pk_cursor_expect_end(c);
    }
    if (pk_cursor_accept(c, "DROP")) {
        stmt->u.keystore.action = PK_KEYSTORE_DROP;
        return pk_cursor_expect(c, "SLOT") &&
               pk_cursor_value(c, PK_TAKE_INT | PK_TAKE_PARAM, PK_CLASS_NAME,
                               &stmt->u.keystore.slot) &&
               pk_cursor_expect_end(c);
    }
    return pk_cursor_expect(c, "ADD SLOT") && added_slot(c) && pk_cursor_expect_end(c);
}

/* 'SHOW' 'KEYSTORE' */
bool pk_parse_show_keystore(pk_cursor *c)
{
    c->stmt->kind = PK_STMT_KEYSTORE_SHOW;
    return pk_cursor_expect(c, "SHOW KEYSTORE") && pk_cursor_expect_end(c);
}
