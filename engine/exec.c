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

/* Who may, beside administrators, who may all (DECISIONS 10): one bit for each role, and these. */
enum {
    OWNER = 1u << PK_ROLE_COUNT,          /* of the session's database */
    OWN_ONLY = 1u << (PK_ROLE_COUNT + 1), /* the owner not with TENANT, nor when all are meant */
    EVERYBODY = 1u << (PK_ROLE_COUNT + 2),
    ADMIN = 0,
    KEY_ADMIN = 1u << PK_ROLE_KEY_ADMIN,
    KEY_EXPORT = 1u << PK_ROLE_KEY_EXPORT,
    KEY_RESTORE = 1u << PK_ROLE_KEY_RESTORE,
    MONITOR = 1u << PK_ROLE_MONITOR,
    ANY_ROLE = (1u << PK_ROLE_COUNT) - 1,
};

enum {
    IN_BLOCK = 1, /* a transaction block bears it (DECISIONS 8b1) */
    SEALED = 2,   /* needs no open keystore */
};

typedef struct entry {
    unsigned who, flags;
    pk_exec_handler handler;
    const pk_column *(*columns)(size_t *count);
    const char *hint; /* of 0A000 */
} entry;

#define LATER_KEYS                                                                                 \
    "This version creates, opens, backs up, restores and shows master keys; the statement comes "  \
    "with a later one."
#define CREATES  (KEY_ADMIN | OWNER)
#define EXPORTS  (KEY_EXPORT | OWNER)
#define RESTORES (KEY_RESTORE | OWNER)
#define SHOWS    (MONITOR | OWNER)

/* clang-format off: it is a table */
static const entry table[PK_STMT_KIND_COUNT] = {
    [PK_STMT_TENANT_KEY_BACKUP] = {EXPORTS | OWN_ONLY, 0, pk_exec_tenant_key_backup, NULL, NULL},
    [PK_STMT_TENANT_KEY_RESTORE] = {RESTORES | OWN_ONLY, 0, pk_exec_tenant_key_restore, NULL, NULL},
    [PK_STMT_TENANT_KEY_ROTATE] = {CREATES, 0, NULL, NULL, LATER_KEYS},
    [PK_STMT_TENANT_RESTORE] =
        {ADMIN, 0, NULL, NULL,
         "To restore a key use ALTER SYSTEM RESTORE KEY [TENANT = name] FROM 'path'."},
    [PK_STMT_SET_ENCRYPTION] = {ANY_ROLE | OWNER, IN_BLOCK, NULL, NULL, LATER_KEYS},
    [PK_STMT_SET_DECRYPTION] = {ANY_ROLE | OWNER, IN_BLOCK, NULL, NULL, LATER_KEYS},
    [PK_STMT_SMK_BACKUP] = {ADMIN, 0, pk_exec_smk_backup, NULL, NULL},
    [PK_STMT_SMK_RESTORE] = {ADMIN, 0, pk_exec_smk_restore, NULL, NULL},
    [PK_STMT_SMK_ALTER] = {ADMIN, 0, NULL, NULL, LATER_KEYS},
    [PK_STMT_DMK_CREATE] = {CREATES, 0, pk_exec_dmk_create, NULL, NULL},
    [PK_STMT_DMK_OPEN] = {ANY_ROLE | OWNER, IN_BLOCK, pk_exec_dmk_open, NULL, NULL},
    [PK_STMT_DMK_CLOSE] = {EVERYBODY, IN_BLOCK | SEALED, pk_exec_dmk_close, NULL, NULL},
    [PK_STMT_DMK_ALTER] = {CREATES, 0, NULL, NULL, LATER_KEYS},
    [PK_STMT_DMK_DROP] = {CREATES, 0, NULL, NULL, LATER_KEYS},
    [PK_STMT_DMK_BACKUP] = {EXPORTS, 0, pk_exec_dmk_backup, NULL, NULL},
    [PK_STMT_DMK_RESTORE] = {RESTORES, 0, pk_exec_dmk_restore, NULL, NULL},
    [PK_STMT_SYMKEY_BACKUP] = {EXPORTS, 0, NULL, NULL, LATER_KEYS},
    [PK_STMT_SYMKEY_RESTORE] = {RESTORES, 0, NULL, NULL, LATER_KEYS},
    [PK_STMT_SHOW_MASTER_KEYS] = {SHOWS, IN_BLOCK, pk_exec_show_master_keys,
                                  pk_exec_master_key_columns, NULL},
    [PK_STMT_SHOW_KEY_BACKUPS] = {SHOWS, IN_BLOCK, pk_exec_show_key_backups,
                                  pk_exec_key_backup_columns, NULL},
    [PK_STMT_KEYSTORE_SEAL] = {ADMIN, 0, pk_exec_keystore_seal, NULL, NULL},
    [PK_STMT_KEYSTORE_UNSEAL] = {ADMIN, SEALED, pk_exec_keystore_unseal, NULL, NULL},
    [PK_STMT_KEYSTORE_ALTER] = {ADMIN, 0, pk_exec_keystore_alter, NULL, NULL},
    [PK_STMT_KEYSTORE_SHOW] = {ADMIN, IN_BLOCK | SEALED, pk_exec_keystore_show,
                               pk_exec_keystore_columns, NULL},
    [PK_STMT_UNBUILT] = {ADMIN, IN_BLOCK, NULL, NULL, LATER_KEYS},
};
/* clang-format on */

bool pk_exec_in_block(pk_stmt_kind kind)
{
    return (table[kind].flags & IN_BLOCK) != 0;
}

bool pk_exec_runs_sealed(pk_stmt_kind kind)
{
    return (table[kind].flags & SEALED) != 0;
}

const pk_column *pk_exec_columns(pk_stmt_kind kind, size_t *count)
{
    *count = 0;
    return table[kind].columns == NULL ? NULL : table[kind].columns(count);
}

const char *pk_exec_name(const pk_stmt *stmt)
{
    return stmt->head != NULL && stmt->head[0] != '\0' ? stmt->head : stmt->tag;
}

static bool not_offered(pk_error *err, const char *what, const char *hint)
{
    pk_fail(err, PK_E_UNSUPPORTED, "%s", what);
    return pk_error_hint(err, "%s", hint);
}

static bool check_slot_offered(pk_keystore_action action, pk_error *err)
{
    switch (action) {
    case PK_KEYSTORE_ADD_PASSWORD:
    case PK_KEYSTORE_ADD_FILE:
    case PK_KEYSTORE_DROP:
        return true;
    case PK_KEYSTORE_ADD_RECOVERY: /* an answer travels, and clients log it */
        return not_offered(err, "a recovery code is not sent over a connection",
                           "Run pgkeep key recovery on the host of pgkeep.");
    case PK_KEYSTORE_ADD_OTHER:
        return not_offered(err, "there are no unlock slots of this kind",
                           "Kinds of slots are password and file; a recovery code comes from "
                           "pgkeep key recovery.");
    case PK_KEYSTORE_REKEY:
        break;
    }
    return not_offered(err, "ALTER KEYSTORE REKEY is not supported by this version of pgkeep",
                       "Add the new slots, drop the old ones, and back up the service master key.");
}

static bool check_offered(const pk_stmt *stmt, pk_error *err)
{
    const entry *e = &table[stmt->kind];
    if (stmt->kind == PK_STMT_SMK_ALTER && stmt->u.master_key.action == PK_ALTER_ACCOUNT)
        return not_offered(err, "there are no Windows service accounts here",
                           "The service master key is protected by the keystore's unlock slots.");
    if (stmt->kind == PK_STMT_KEYSTORE_ALTER)
        return check_slot_offered(stmt->u.keystore.action, err);
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

static bool check_keystore(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    const pk_value *secret = &stmt->u.keystore.secret;
    int64_t slot;
    if (stmt->kind == PK_STMT_KEYSTORE_UNSEAL)
        return pk_password_check_presented(secret->text, err) || pk_error_at(err, secret->position);
    if (stmt->u.keystore.action == PK_KEYSTORE_DROP)
        return pk_exec_slot_number(&stmt->u.keystore.slot, &slot, err);
    return check_new_password(secret, session, err);
}

static bool check_block(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    if (!session->in_block || pk_exec_in_block(stmt->kind))
        return true;
    return pk_fail(err, PK_E_IN_TRANSACTION, "%s cannot run inside a transaction block",
                   pk_exec_name(stmt));
}

static bool check_parts(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    switch (pk_stmt_kind_part(stmt->kind)) {
    case PK_PART_TENANT_KEY:
        return check_tenant_key(stmt, session, err);
    case PK_PART_MASTER_KEY:
        return check_master_key(stmt, session, err);
    case PK_PART_KEYSTORE:
        return check_keystore(stmt, session, err);
    case PK_PART_TENANT_RESTORE:
    case PK_PART_SESSION_PASSWORD:
    case PK_PART_NONE:
        break;
    }
    return true;
}

bool pk_exec_check(const pk_stmt *stmt, const pk_exec_session *session, pk_error *err)
{
    return check_offered(stmt, err) && check_values(stmt, session, err) &&
           check_block(stmt, session, err) && check_parts(stmt, session, err);
}

/* Who may run this very statement here. */
static unsigned who_may(const pk_stmt *stmt, const pk_exec_policy *policy)
{
    unsigned who = table[stmt->kind].who;
    const bool others = (who & OWN_ONLY) != 0 &&
                        (stmt->u.tenant_key.tenant_count > 0 ||
                         (stmt->kind == PK_STMT_TENANT_KEY_BACKUP && policy->in_admin_database));
    const bool looks = (who & ANY_ROLE) == MONITOR; /* at the own key, which harms nobody */
    if (others || (!looks && !policy->owner_manages_dmk))
        who &= ~(unsigned)OWNER;
    return who & ~(unsigned)OWN_ONLY;
}

bool pk_exec_may(const pk_stmt *stmt, const pk_exec_policy *policy, pk_rights *rights)
{
    const unsigned who = who_may(stmt, policy);
    rights->admin =
        rights->roles[PK_ROLE_ADMIN] || (rights->superuser && policy->superuser_is_admin);
    if (rights->admin || (who & EVERYBODY) != 0 || ((who & OWNER) != 0 && rights->owner))
        return true;
    for (unsigned i = 0; rights->connect && i < PK_ROLE_COUNT; i++)
        if ((who & (1u << i)) != 0 && rights->roles[i])
            return true;
    return false;
}

static const char *role_name(unsigned who)
{
    static const char *const names[] = {
#define X(id, name, purpose) [id] = (name),
        PK_ROLES(X)
#undef X
    };
    for (unsigned i = 0; i < PK_ROLE_COUNT; i++)
        if ((who & (1u << i)) != 0)
            return names[i];
    return names[PK_ROLE_ADMIN];
}

/* 42501 that says which right is missing. */
static bool denied(const pk_exec_context *ctx, unsigned who, pk_error *err)
{
    const bool any = (who & ANY_ROLE) == ANY_ROLE;
    pk_fail(err, PK_E_PRIVILEGE, "permission denied to run %s", pk_exec_name(ctx->stmt));
    if ((who & (ANY_ROLE | OWNER)) == 0)
        return pk_error_hint(err, ctx->options->superuser_is_admin
                                      ? "It needs a superuser or role pgkeep_admin."
                                      : "It needs role pgkeep_admin.");
    if ((who & OWNER) == 0)
        return pk_error_hint(err, "It needs %s%s.", any ? "" : "role ",
                             any ? "one of the pgkeep roles" : role_name(who));
    return pk_error_hint(err, "It needs the owner of database \"%s\" or %s%s.",
                         ctx->request->database, any ? "" : "role ",
                         any ? "one of the pgkeep roles" : role_name(who));
}

bool pk_exec_authorize(pk_exec_context *ctx, pk_error *err)
{
    const pk_exec_policy policy = {
        .superuser_is_admin = ctx->options->superuser_is_admin,
        .owner_manages_dmk = ctx->options->owner_manages_dmk,
        .in_admin_database = strcmp(ctx->request->database, ctx->options->admin_database) == 0};
    const unsigned who = who_may(ctx->stmt, &policy);
    if ((who & EVERYBODY) != 0) /* nobody is asked, so it works without PostgreSQL's help */
        return true;
    if (ctx->request->user == NULL) {
        pk_fail(err, PK_E_PRIVILEGE,
                "permission denied: the server did not say who this session is");
        return pk_error_detail(err, "pgkeep needs the session_authorization report of PostgreSQL.");
    }
    if (!pk_authz_ask(ctx->authz, ctx->request->user, ctx->request->database, &ctx->rights, err))
        return false;
    return pk_exec_may(ctx->stmt, &policy, &ctx->rights) || denied(ctx, who, err);
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
    return (pk_database){
        .name = ctx->request->database, .oid = ctx->rights.db_oid, .privileged = ctx->rights.admin};
}

pk_opener pk_exec_opener(const pk_exec_context *ctx)
{
    return (pk_opener){.session = ctx->request->session, .user = ctx->request->user};
}
