/*
 * OceanBase's key statements (sql-surface 4; docs/statements/oceanbase.md). A tenant is a database.
 * One file per tenant and backup: <path>/<tenant>/key-<time>-v<newest version>.cms.pem (DECISIONS
 * 14).
 *
 * A list of tenants cannot be all or nothing on every kind of store: each tenant's copy is written
 * whole or not at all, the ones that were written are recorded, and the failures are reported
 * together.
 */
#include "base/encode.h"
#include "engine/audit.h"
#include "engine/exec_run.h"
#include "engine/keyfile_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLLISIONS_MAX 99

typedef struct tenant {
    const char *name;
    int64_t oid;
    pk_export out;
    const char *file; /* the object's name in the store */
    bool written;
} tenant;

static pk_store *open_path(pk_exec_context *ctx, pk_error *err)
{
    const char *forbidden[1];
    pk_store_options options = pk_exec_store_options(ctx, forbidden);
    return pk_store_open(ctx->stmt->u.tenant_key.path.text, &options, err);
}

/* One path segment: whatever is not [A-Za-z0-9_-] as %XX. */
static const char *segment(const char *name, pk_arena *arena, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(1024);
    if (!pk_percent(pk_span_of(name), &text, err))
        return NULL;
    pk_span span = pk_buf_span(&text);
    return pk_arena_strndup(arena, span.ptr, span.len, err);
}

/* Which tenants */

static bool add_named(pk_exec_context *ctx, const pk_value *value, tenant *out, pk_error *err)
{
    pk_rights rights;
    out->name = pk_arena_strndup(ctx->arena, value->text.ptr, value->text.len, err);
    if (out->name == NULL || !pk_authz_ask(ctx->authz, ctx->request->user, out->name, &rights, err))
        return false;
    out->oid = rights.db_oid;
    if (out->oid != 0)
        return true;
    pk_fail(err, PK_E_UNDEFINED_DATABASE, "tenant \"%s\" does not exist", out->name);
    pk_error_detail(err, "A tenant is a database.");
    return pk_error_at(err, value->position);
}

static bool named_tenants(pk_exec_context *ctx, tenant **list, size_t *count, pk_error *err)
{
    const size_t n = ctx->stmt->u.tenant_key.tenant_count;
    *list = pk_arena_array(ctx->arena, n, sizeof **list, err);
    if (*list == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!add_named(ctx, &ctx->stmt->u.tenant_key.tenants[i], &(*list)[i], err))
            return false;
    *count = n;
    return true;
}

static const pk_authz_database *database_named(const pk_authz_database *list, size_t count,
                                               const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

static void tell_skipped(pk_exec_context *ctx, const pk_authz_database *databases, size_t count,
                         const tenant *list, size_t n)
{
    for (size_t d = 0; d < count; d++) {
        bool has_key = false;
        for (size_t i = 0; i < n; i++)
            has_key = has_key || strcmp(list[i].name, databases[d].name) == 0;
        if (!has_key)
            pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL, NULL,
                             "database \"%s\" has no master key, skipping", databases[d].name);
    }
}

/* Every database that has a key (DECISIONS 10c). A database that was dropped keeps its key in the
 * keystore; that one is exported, too, because losing it would be worse than a file too many. */
static bool all_tenants(pk_exec_context *ctx, tenant **list, size_t *count, pk_error *err)
{
    pk_key_info *keys;
    pk_authz_database *databases;
    size_t n, database_count;
    const pk_opener opener = pk_exec_opener(ctx);
    if (!pk_keeper_list(ctx->keeper, &opener, ctx->arena, &keys, &n, err) ||
        !pk_authz_databases(ctx->authz, ctx->arena, &databases, &database_count, err))
        return false;
    *list = pk_arena_array(ctx->arena, n + 1, sizeof **list, err);
    if (*list == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (keys[i].database == NULL || strcmp(keys[i].state, "retired") == 0)
            continue;
        const pk_authz_database *db = database_named(databases, database_count, keys[i].database);
        (*list)[(*count)++] = (tenant){.name = keys[i].database, .oid = db == NULL ? 0 : db->oid};
    }
    tell_skipped(ctx, databases, database_count, *list, *count);
    if (*count > 0)
        return true;
    pk_fail(err, PK_E_UNDEFINED_OBJECT, "no database has a master key");
    return pk_error_hint(err, "CREATE MASTER KEY makes one.");
}

static bool own_tenant(pk_exec_context *ctx, tenant **list, size_t *count, pk_error *err)
{
    const pk_database db = pk_exec_database(ctx);
    *list = pk_arena_array(ctx->arena, 1, sizeof **list, err);
    if (*list == NULL)
        return false;
    (*list)[0] = (tenant){.name = db.name, .oid = db.oid};
    *count = 1;
    return true;
}

static bool in_admin_database(const pk_exec_context *ctx)
{
    return strcmp(ctx->request->database, ctx->options->admin_database) == 0;
}

static bool which_tenants(pk_exec_context *ctx, tenant **list, size_t *count, pk_error *err)
{
    *count = 0;
    if (ctx->stmt->u.tenant_key.tenant_count > 0)
        return named_tenants(ctx, list, count, err);
    return in_admin_database(ctx) ? all_tenants(ctx, list, count, err)
                                  : own_tenant(ctx, list, count, err);
}

/* BACKUP */

/* Under a name that is free. */
static bool put_tenant(pk_exec_context *ctx, tenant *t, pk_span file, pk_store *store,
                       pk_error *err)
{
    char time[17];
    const char *dir = segment(t->name, ctx->arena, err);
    if (dir == NULL)
        return false;
    pk_time_compact(t->out.receipt.created_at, time);
    for (int n = 1; n <= COLLISIONS_MAX; n++) {
        char again[16] = "";
        if (n > 1)
            snprintf(again, sizeof again, "-%d", n);
        const char *name = pk_arena_printf(ctx->arena, err, "%s/key-%s-v%lld%s.cms.pem", dir, time,
                                           (long long)t->out.receipt.brief.version, again);
        if (name == NULL)
            return false;
        const char kind = pk_store_kind(store, name, err);
        if (kind == '?')
            return false;
        if (kind != 0)
            continue;
        t->file = name;
        t->written = pk_export_put(ctx, &t->out, file, store, name, err);
        if (t->written || !pk_error_is(err, PK_E_DUPLICATE_FILE))
            return t->written;
    }
    return pk_fail(err, PK_E_DUPLICATE_FILE, "could not find a free name for the key of \"%s\"",
                   t->name);
}

/* The tenants of one statement, and what went wrong so far. */
typedef struct batch {
    tenant *list;
    size_t count;
    pk_span password; /* empty: sealed to the keystore itself */
    pk_store *store;
    size_t failures;
    pk_error fault; /* the first failure's SQLSTATE; all of them stand in the detail */
} batch;

/* One tenant: its failure as it is. */
static void add_failure(batch *b, const tenant *t, const pk_error *one)
{
    if (b->failures++ == 0) {
        b->fault = *one;
        if (b->count == 1)
            return;
        b->fault.detail[0] = '\0';
        snprintf(b->fault.message, sizeof b->fault.message, "could not back up every key");
    }
    pk_error_detail(&b->fault, "%s%s\"%s\": %s.", b->fault.detail,
                    b->fault.detail[0] == '\0' ? "" : " ", t->name, one->message);
}

static bool write_one(pk_exec_context *ctx, const batch *b, tenant *t, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    const pk_database db = {.name = t->name, .oid = t->oid, .privileged = ctx->rights.admin};
    return pk_export_make(ctx, &db, b->password, &t->out, &file, err) &&
           put_tenant(ctx, t, pk_buf_span(&file), b->store, err);
}

static void write_all(pk_exec_context *ctx, batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        pk_error one = {0};
        if (write_one(ctx, b, &b->list[i], &one))
            continue;
        pk_exec_hide_absence(ctx, &one); /* its words go into a detail, which is not looked at */
        add_failure(b, &b->list[i], &one);
    }
}

/* Not recorded means not backed up: the files go again. */
static void remove_all(batch *b, pk_error *err)
{
    for (size_t i = 0; i < b->count; i++) {
        pk_error dropped;
        if (b->list[i].written && !pk_store_delete(b->store, b->list[i].file, &dropped))
            pk_error_detail(err, "%s The file %s was written but is not recorded; remove it.",
                            err->detail, b->list[i].out.note.destination);
    }
}

static bool record_all(pk_exec_context *ctx, const batch *b, pk_error *err)
{
    size_t n = 0;
    pk_backup_note *notes = pk_arena_array(ctx->arena, b->count, sizeof *notes, err);
    if (notes == NULL)
        return false;
    for (size_t i = 0; i < b->count; i++)
        if (b->list[i].written)
            notes[n++] = b->list[i].out.note;
    pk_exec_note(ctx, b->count == 1 ? b->list[0].name : "several tenants",
                 b->count == 1 ? b->list[0].out.receipt.brief.fingerprint : "");
    if (n == 0)
        return true; /* the failure gets its audit row where it is answered */
    pk_audit_outcome(&ctx->audit, b->failures == 0 ? NULL : &b->fault, ctx->arena);
    return pk_export_record(ctx, notes, n, err);
}

static bool backup_batch(pk_exec_context *ctx, batch *b, pk_error *err)
{
    write_all(ctx, b);
    if (!record_all(ctx, b, err)) {
        remove_all(b, err);
        return false;
    }
    for (size_t i = 0; i < b->count; i++)
        if (b->list[i].written)
            pk_export_tell(ctx, &b->list[i].out);
    if (b->failures > 0)
        *err = b->fault;
    return b->failures == 0;
}

bool pk_exec_tenant_key_backup(pk_exec_context *ctx, pk_error *err)
{
    batch b = {.password = ctx->stmt->u.tenant_key.password.text};
    PK_AUTO_PTR(pk_store_close) pk_store *store = open_path(ctx, err);
    if (store == NULL || !which_tenants(ctx, &b.list, &b.count, err))
        return false;
    b.store = store;
    return backup_batch(ctx, &b, err);
}

/* RESTORE */

/* key-<16 characters>-v<version>[-<n>].cms.pem: its place in the order of time. */
static bool parse_name(const char *name, char time[static 17], long *version, long *again)
{
    static const char prefix[] = "key-";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || strlen(name) < 4 + 16 + 3)
        return false;
    memcpy(time, name + 4, 16);
    time[16] = '\0';
    const char *at = name + 4 + 16;
    if (strncmp(at, "-v", 2) != 0)
        return false;
    char *end;
    *version = strtol(at + 2, &end, 10);
    *again = 1;
    if (*end == '-')
        *again = strtol(end + 1, &end, 10);
    return strcmp(end, ".cms.pem") == 0;
}

static bool is_newer(const char *a, const char *b)
{
    char time_a[17], time_b[17];
    long ver_a, ver_b, again_a, again_b;
    if (!parse_name(a, time_a, &ver_a, &again_a))
        return false;
    if (b == NULL || !parse_name(b, time_b, &ver_b, &again_b))
        return true;
    int order = strcmp(time_a, time_b);
    if (order != 0)
        return order > 0;
    return ver_a != ver_b ? ver_a > ver_b : again_a > again_b;
}

/* NULL with no error: no key file there. */
static const char *newest_in(pk_exec_context *ctx, pk_store *store, const char *dir, pk_error *err)
{
    char **names;
    size_t count;
    const char *best = NULL;
    err->sqlstate[0] = '\0';
    if (!pk_store_list(store, dir, ctx->arena, &names, &count, err))
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (is_newer(names[i], best))
            best = names[i];
    if (best == NULL || dir[0] == '\0')
        return best;
    return pk_arena_printf(ctx->arena, err, "%s/%s", dir, best);
}

/* The path may be the collection, the tenant's folder in it, or the file itself. */
static pk_store *find_copy(pk_exec_context *ctx, const char *tenant_name, const char **name,
                           pk_error *err)
{
    const char *forbidden[1];
    pk_store_options options = pk_exec_store_options(ctx, forbidden);
    PK_AUTO_PTR(pk_store_close) pk_store *store = open_path(ctx, err);
    if (store == NULL)
        return NULL;
    if (pk_store_kind(store, "", err) == 'f')
        return pk_store_open_file(ctx->stmt->u.tenant_key.path.text, &options, ctx->arena, name,
                                  err);
    const char *dir = segment(tenant_name, ctx->arena, err);
    if (dir == NULL)
        return NULL;
    *name = newest_in(ctx, store, dir, err);
    if (*name == NULL && err->sqlstate[0] == '\0')
        *name = newest_in(ctx, store, "", err);
    if (*name != NULL)
        return pk_steal(&store);
    if (err->sqlstate[0] == '\0') {
        pk_fail(err, PK_E_UNDEFINED_FILE, "there is no key backup of tenant \"%s\" at %s",
                tenant_name, pk_store_redacted(store));
        pk_error_hint(err,
                      "A directory is searched for <tenant>/key-*.cms.pem; name the file itself to "
                      "take another one.");
    }
    return NULL;
}

bool pk_exec_tenant_key_restore(pk_exec_context *ctx, pk_error *err)
{
    tenant *list;
    size_t count;
    const char *name;
    bool known = ctx->stmt->u.tenant_key.tenant_count > 0 ? named_tenants(ctx, &list, &count, err)
                                                          : own_tenant(ctx, &list, &count, err);
    if (!known)
        return false;
    PK_AUTO_PTR(pk_store_close) pk_store *store = find_copy(ctx, list[0].name, &name, err);
    if (store == NULL)
        return false;
    const pk_database db = {
        .name = list[0].name, .oid = list[0].oid, .privileged = ctx->rights.admin};
    const pk_import_source from = {.store = store,
                                   .name = name,
                                   .db = &db,
                                   .password = ctx->stmt->u.tenant_key.password.text,
                                   .force = ctx->stmt->u.tenant_key.force};
    return pk_import(ctx, &from, err);
}
