/*
 * The table: every statement kind, who may run it, whether a transaction block bears it, who
 * carries it out. A kind without a handler is parsed and answered 0A000 with the hint in its row.
 * The static check says what can be said without keys, storage or backend, so that nothing slow
 * runs for a statement that cannot succeed.
 */
#include "engine/exec.h"
#include "engine/exec_run.h"

#include "base/uri.h"
#include "crypto/password.h"

#include <string.h>

typedef enum right {
    RIGHT_ADMIN,   /* superuser */
    RIGHT_OWNER,   /* owner of the session's database, or superuser */
    RIGHT_TENANTS, /* owner for the own database; superuser for TENANT and in the admin database */
} right;

typedef struct entry {
    right right;
    bool in_block;
    pk_exec_handler handler;
    const char *hint; /* of 0A000 */
} entry;

#define LATER_KEYS                                                                                 \
    "This version creates, backs up, restores and shows master keys; the statement comes with a "  \
    "later one."

static const entry table[PK_STMT_KIND_COUNT] = {
    [PK_STMT_TENANT_KEY_BACKUP] = {RIGHT_TENANTS, false, pk_exec_tenant_key_backup, NULL},
    [PK_STMT_TENANT_KEY_RESTORE] = {RIGHT_TENANTS, false, pk_exec_tenant_key_restore, NULL},
    [PK_STMT_TENANT_KEY_ROTATE] = {RIGHT_OWNER, false, NULL, LATER_KEYS},
    [PK_STMT_TENANT_RESTORE] =
        {RIGHT_ADMIN, false, NULL,
         "To restore a key use ALTER SYSTEM RESTORE KEY [TENANT = name] FROM 'path'."},
    [PK_STMT_SET_ENCRYPTION] = {RIGHT_OWNER, true, NULL, LATER_KEYS},
    [PK_STMT_SET_DECRYPTION] = {RIGHT_OWNER, true, NULL, LATER_KEYS},
    [PK_STMT_SMK_BACKUP] = {RIGHT_ADMIN, false, pk_exec_smk_backup, NULL},
    [PK_STMT_SMK_RESTORE] = {RIGHT_ADMIN, false, pk_exec_smk_restore, NULL},
    [PK_STMT_SMK_ALTER] = {RIGHT_ADMIN, false, NULL, LATER_KEYS},
    [PK_STMT_DMK_CREATE] = {RIGHT_OWNER, false, pk_exec_dmk_create, NULL},
    [PK_STMT_DMK_OPEN] = {RIGHT_OWNER, true, NULL,
                          "A master key that the service master key protects need not be opened."},
    [PK_STMT_DMK_CLOSE] = {RIGHT_OWNER, true, NULL,
                           "A master key that the service master key protects need not be closed."},
    [PK_STMT_DMK_ALTER] = {RIGHT_OWNER, false, NULL, LATER_KEYS},
    [PK_STMT_DMK_DROP] = {RIGHT_OWNER, false, NULL, LATER_KEYS},
    [PK_STMT_DMK_BACKUP] = {RIGHT_OWNER, false, pk_exec_dmk_backup, NULL},
    [PK_STMT_DMK_RESTORE] = {RIGHT_OWNER, false, pk_exec_dmk_restore, NULL},
    [PK_STMT_SYMKEY_BACKUP] = {RIGHT_OWNER, false, NULL, LATER_KEYS},
    [PK_STMT_SYMKEY_RESTORE] = {RIGHT_OWNER, false, NULL, LATER_KEYS},
    [PK_STMT_SHOW_MASTER_KEYS] = {RIGHT_OWNER, true, pk_exec_show_master_keys, NULL},
    [PK_STMT_SHOW_KEY_BACKUPS] = {RIGHT_OWNER, true, NULL,
                                  "SHOW MASTER KEYS tells whether each key is backed up."},
    [PK_STMT_UNBUILT] = {RIGHT_ADMIN, true, NULL, LATER_KEYS},
};

bool pk_exec_in_block(pk_stmt_kind kind)
{
    return table[kind].in_block;
}

const char *pk_exec_name(const pk_stmt *stmt)
{
    return stmt->head != NULL && stmt->head[0] != '\0' ? stmt->head : stmt->tag;
}

static bool check_offered(const pk_stmt *stmt, pk_error *err)
{
    const entry *e = &table[stmt->kind];
    if (stmt->kind == PK_STMT_SMK_ALTER && stmt->u.master_key.action == PK_ALTER_ACCOUNT) {
        pk_fail(err, PK_E_UNSUPPORTED, "there are no Windows service accounts here");
        return pk_error_hint(err,
                             "The service master key is protected by the keystore's unlock slots.");
    }
    if (e->handler != NULL)
        return true;
    const char *what = pk_exec_name(stmt);
    pk_fail(err, PK_E_UNSUPPORTED, "%s is not supported by this version of pgkeep", what);
    return pk_error_hint(err, "%s", e->hint == NULL ? LATER_KEYS : e->hint);
}

static bool check_values(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    for (size_t i = 0; i < stmt->value_count; i++) {
        const pk_value *v = &stmt->values[i];
        if (v->kind == PK_VALUE_PARAM) {
            pk_fail(err, PK_E_UNDEFINED_PARAMETER, "there is no parameter $%u", v->param);
            pk_error_detail(err, "A simple query carries no parameter values.");
            return pk_error_at(err, v->position);
        }
        if (v->class == PK_CLASS_PASSWORD && session->secrets_need_tls && !session->secure_peer) {
            pk_fail(err, PK_E_STATE, "a password was sent over an unencrypted connection");
            pk_error_detail(err, "It crossed the network in clear text: do not use it any more.");
            return pk_error_hint(
                err, "Connect from this host, or set security.require_tls_for_secrets to off.");
        }
    }
    return true;
}

static bool check_tenants(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    const pk_value *list = stmt->u.tenant_key.tenants;
    const size_t count = stmt->u.tenant_key.tenant_count;
    if (count > 0 && strcmp(session->database, session->admin_database) != 0) {
        pk_fail(err, PK_E_PRIVILEGE, "TENANT may be named in database \"%s\" only",
                session->admin_database);
        pk_error_hint(err, "Leave TENANT out to mean the database of this session.");
        return pk_error_at(err, list[0].position);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (pk_span_equal(list[i].text, list[j].text)) {
                pk_fail(err, PK_E_PARAMETER, "tenant \"%.*s\" is named twice",
                        PK_SPAN_ARG(list[i].text));
                return pk_error_at(err, list[i].position);
            }
    return true;
}

static bool check_tenant_key(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    const pk_value *path = &stmt->u.tenant_key.path;
    const pk_value *password = &stmt->u.tenant_key.password;
    if (!check_tenants(stmt, session, err))
        return false;
    if (path->text.len == 0) {
        pk_fail(err, PK_E_PARAMETER, "the path of the key backup is empty");
        return pk_error_at(err, path->position);
    }
    if (!pk_uri_has_scheme(path->text)) {
        pk_fail(err, PK_E_PARAMETER, "the path of the key backup has no scheme");
        pk_error_hint(err, "Write file:///directory.");
        return pk_error_at(err, path->position);
    }
    if (!pk_value_is_set(password))
        return true;
    return pk_password_check_presented(password->text, err) || pk_error_at(err, password->position);
}

static bool check_new_password(const pk_value *value, const pk_exec_session *session, pk_error *err)
{
    const char *names[] = {session->user, session->database};
    if (!pk_value_is_set(value))
        return true;
    return pk_password_check(value->text, names, PK_COUNT(names), err) ||
           pk_error_at(err, value->position);
}

static bool check_master_key(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    const pk_value *place = &stmt->u.master_key.place;
    const pk_value *old = &stmt->u.master_key.decryption;
    if (pk_value_is_set(place) && place->text.len == 0) {
        pk_fail(err, PK_E_PARAMETER, "the name of the key file is empty");
        return pk_error_at(err, place->position);
    }
    if (stmt->u.master_key.url && !pk_span_starts_with(place->text, PK_SPAN("file://"))) {
        pk_fail(err, PK_E_UNSUPPORTED,
                "key files at a URL are not supported by this version of pgkeep");
        pk_error_hint(err, "Use FILE = '/directory/name'.");
        return pk_error_at(err, place->position);
    }
    if (pk_value_is_set(old) && !pk_password_check_presented(old->text, err))
        return pk_error_at(err, old->position);
    return check_new_password(&stmt->u.master_key.encryption, session, err);
}

static bool check_block(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    if (!session->in_block || pk_exec_in_block(stmt->kind))
        return true;
    return pk_fail(err, PK_E_IN_TRANSACTION, "%s cannot run inside a transaction block", stmt->tag);
}

bool pk_exec_check(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    if (!check_offered(stmt, err) || !check_values(stmt, session, err) ||
        !check_block(stmt, session, err))
        return false;
    switch (table[stmt->kind].right) {
    case RIGHT_TENANTS:
        return check_tenant_key(stmt, session, err);
    case RIGHT_ADMIN:
    case RIGHT_OWNER:
        break;
    }
    return stmt->kind == PK_STMT_SHOW_MASTER_KEYS || check_master_key(stmt, session, err);
}

static bool needs_superuser(const pk_exec_context *ctx)
{
    switch (table[ctx->stmt->kind].right) {
    case RIGHT_ADMIN:
        return true;
    case RIGHT_TENANTS:
        return ctx->stmt->u.tenant_key.tenant_count > 0 ||
               (ctx->stmt->kind == PK_STMT_TENANT_KEY_BACKUP &&
                strcmp(ctx->request->database, ctx->options->admin_database) == 0);
    case RIGHT_OWNER:
        break;
    }
    return false;
}

bool pk_exec_authorize(pk_exec_context *ctx, pk_error *err)
{
    if (ctx->request->user == NULL) {
        pk_fail(err, PK_E_PRIVILEGE,
                "permission denied: the server did not say who this session is");
        return pk_error_detail(err, "pgkeep needs the session_authorization report of PostgreSQL.");
    }
    if (!pk_authz_ask(ctx->authz, ctx->request->user, ctx->request->database, &ctx->rights, err))
        return false;
    if (ctx->rights.superuser)
        return true;
    if (needs_superuser(ctx)) {
        pk_fail(err, PK_E_PRIVILEGE, "permission denied to run %s", ctx->stmt->tag);
        return pk_error_hint(err, "It needs a superuser.");
    }
    if (ctx->rights.owner)
        return true;
    pk_fail(err, PK_E_PRIVILEGE, "permission denied to run %s", ctx->stmt->tag);
    return pk_error_hint(err, "It needs the owner of database \"%s\" or a superuser.",
                         ctx->request->database);
}

bool pk_exec_run(pk_exec_context *ctx, pk_error *err)
{
    return table[ctx->stmt->kind].handler(ctx, err);
}

bool pk_exec_check_canceled(const pk_exec_context *ctx, pk_error *err)
{
    if (!atomic_load(&ctx->request->canceled))
        return true;
    return pk_fail(err, PK_E_CANCELED, "canceling statement due to user request");
}

void pk_exec_note(pk_exec_context *ctx, const char *object, const char *fingerprint)
{
    pk_error dropped;
    const char *named = object == NULL ? NULL : pk_arena_strdup(ctx->arena, object, &dropped);
    const char *fp = pk_arena_strdup(ctx->arena, fingerprint, &dropped);
    ctx->audit.object = named == NULL ? "" : named;
    ctx->audit.fp = fp == NULL ? "" : fp;
}

pk_database pk_exec_database(const pk_exec_context *ctx)
{
    return (pk_database){.name = ctx->request->database,
                         .oid = ctx->rights.db_oid,
                         .privileged = ctx->rights.superuser};
}

pk_secret *pk_exec_secret(const pk_value *value, pk_error *err)
{
    return pk_value_is_set(value) ? pk_secret_new(value->text.ptr, value->text.len, err) : NULL;
}
