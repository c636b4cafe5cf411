/*
 * RESTORE: key versions from a file become keys of this keystore (keys-and-security 4.5).
 *
 * Nothing is destroyed: a key that is replaced stays as `retired`, a child that neither key opens
 * fails the statement, or with FORCE is quarantined, with its wrap kept, and heals when the
 * matching key comes back. Everything happens in one catalog transaction; secrets that had to be
 * opened live no longer than the call.
 */
#include "engine/restore_children.h"

#include "base/encode.h"

#include <stdio.h>
#include <string.h>

#define RESTORE_ARENA (16u << 20)

static const pk_keyset_key *in_file(const pk_restore *r, int64_t ver)
{
    for (size_t i = 0; i < r->set->count; i++)
        if (r->set->keys[i].ver == ver)
            return &r->set->keys[i];
    return NULL;
}

/* One key, at least one version, each version once, the kind that the statement asks for. */
static bool check_key(const pk_restore *r, const pk_keyset_key *k, const char *kind, pk_error *err)
{
    if (strcmp(k->kind, kind) != 0) {
        pk_fail(err, PK_E_PARAMETER, "the file does not hold a %s",
                strcmp(kind, "smk") == 0 ? "service master key" : "database master key");
        return pk_error_detail(err, "It was written by %s.", r->set->type);
    }
    if (memcmp(k->uuid, r->set->keys[0].uuid, sizeof k->uuid) != 0)
        return pk_fail(err, PK_E_PARAMETER, "the file holds several keys");
    if (in_file(r, k->ver) != k || k->ver == 0)
        return pk_fail(err, PK_E_CORRUPT, "the key file names version %u twice or wrongly", k->ver);
    return true;
}

/* The newest version in the file; NULL if the file will not do. */
static const pk_keyset_key *check_set(const pk_restore *r, const char *kind, pk_error *err)
{
    const pk_keyset_key *newest = NULL;
    for (size_t i = 0; i < r->set->count; i++) {
        const pk_keyset_key *k = &r->set->keys[i];
        if (!check_key(r, k, kind, err))
            return NULL;
        if (newest == NULL || k->ver > newest->ver)
            newest = k;
    }
    if (newest == NULL)
        pk_fail(err, PK_E_CORRUPT, "the key file holds no key");
    return newest;
}

/* The newest version once the restore is done: the file's, or one that the keystore has beyond it.
 */
static void fill_brief(pk_restore *r, const pk_ring_key *target)
{
    pk_key_brief *brief = &r->report->brief;
    if (target->key != NULL && target->key->current_ver > r->newest_key->ver) {
        pk_ring_brief(target, brief);
        return;
    }
    *brief = (pk_key_brief){.version = r->newest_key->ver};
    memcpy(brief->uuid, r->newest_key->uuid, sizeof brief->uuid);
    pk_fingerprint_text(r->newest_key->fp, brief->fingerprint);
}

static bool finish(pk_restore *r, bool ok, const pk_row_audit *audit, pk_error *err)
{
    ok = ok && pk_ring_record_source(r->ks, r->set, r->order->source, audit->actor, err);
    return pk_ring_end_change(r->ks, ok, audit, err);
}

/* The restored key's own rows */

static bool same_material(const pk_row_key_version *v, const pk_keyset_key *k, pk_error *err)
{
    if (pk_span_equal(v->fp, pk_span_bytes(k->fp, PK_FP_LEN)))
        return true;
    return pk_fail(err, PK_E_CORRUPT,
                   "version %u of the file differs from the same version in the keystore", k->ver);
}

static bool set_version_state(pk_restore *r, pk_row_key_version *v, const char *state,
                              pk_error *err)
{
    if (strcmp(v->state, state) == 0)
        return true;
    v->state = state;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY_VERSION, v, err);
}

/* Exactly one current version per live key: the newest. */
static bool settle_states(pk_restore *r, pk_ring_key *ring, int64_t newest, pk_error *err)
{
    for (size_t i = 0; i < ring->version_count; i++) {
        pk_row_key_version *v = &ring->versions[i];
        const bool live = strcmp(v->state, "current") == 0 || v->ver == newest;
        if (live && !set_version_state(r, v, v->ver == newest ? "current" : "retired", err))
            return false;
    }
    return true;
}

typedef struct protectors {
    pk_ring_parent list[2];
    size_t count;
} protectors;

static bool drop_wraps(pk_restore *r, const pk_ring_key *ring, int64_t ver, const char *by,
                       pk_error *err)
{
    for (size_t i = 0; i < ring->wrap_count; i++) {
        const pk_row_wrap *w = &ring->wraps[i];
        if (w->ver == ver && strcmp(w->by, by) == 0 &&
            !pk_catalog_erase(r->ks->catalog, PK_TABLE_WRAP, w, err))
            return false;
    }
    return true;
}

/* Is the row of a version that is there already what the file says? A damaged one is written anew.
 */
static bool mend_version(pk_restore *r, pk_ring_key *ring, pk_row_key_version *v,
                         const pk_keyset_key *k, pk_error *err)
{
    if (!same_material(v, k, err))
        return false;
    if (!ring->version_damaged[v - ring->versions])
        return true;
    *v = (pk_row_key_version){.ver = k->ver,
                              .state = "retired", /* settle_states makes the newest current */
                              .fp = pk_span_bytes(k->fp, PK_FP_LEN),
                              .origin = "restored",
                              .created_at = r->now};
    memcpy(v->key_uuid, k->uuid, sizeof v->key_uuid);
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY_VERSION, v, err);
}

/* A version that is missing is added; of one that is there the protectors are replaced: a damaged
 * wrap by a sound one, an old password by the new one. */
static bool put_version(pk_restore *r, pk_ring_key *ring, const pk_keyset_key *k,
                        const protectors *by, int64_t newest, pk_error *err)
{
    const pk_ring_child put = {.key = ring->key, .ver = k->ver, .secret = k->key};
    pk_row_key_version *v = pk_ring_version(ring, k->ver);
    if (v != NULL && !mend_version(r, ring, v, k, err))
        return false;
    if (v == NULL) {
        r->report->added_versions++;
        if (!pk_ring_add_version(r->ks, &put, k->ver == newest ? "current" : "retired", "restored",
                                 err))
            return false;
    }
    for (size_t i = 0; i < by->count; i++)
        if (!drop_wraps(r, ring, k->ver, by->list[i].by, err) ||
            !pk_ring_add_wrap(r->ks, &put, &by->list[i], r->arena, err))
            return false;
    return true;
}

/* A damaged row of a version that the file does not hold stays damaged: nobody knows what it should
 * be. */
static bool check_mended(const pk_restore *r, const pk_ring_key *ring, pk_error *err)
{
    for (size_t i = 0; i < ring->version_count; i++)
        if (ring->version_damaged[i] && in_file(r, ring->versions[i].ver) == NULL)
            return pk_fail(err, PK_E_CORRUPT,
                           "version %lld of the key is damaged and not in the file",
                           (long long)ring->versions[i].ver);
    return true;
}

static bool put_versions(pk_restore *r, pk_ring_key *ring, const protectors *by, pk_error *err)
{
    int64_t newest = r->newest_key->ver;
    if (!check_mended(r, ring, err))
        return false;
    for (size_t i = 0; i < ring->version_count; i++)
        if (ring->versions[i].ver > newest)
            newest = ring->versions[i].ver;
    for (size_t i = 0; i < r->set->count; i++)
        if (!put_version(r, ring, &r->set->keys[i], by, newest, err))
            return false;
    if (!settle_states(r, ring, newest, err))
        return false;
    ring->key->current_ver = newest;
    ring->key->modified_at = r->now;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, ring->key, err);
}

static bool retire(pk_restore *r, pk_ring_key *ring, pk_error *err)
{
    for (size_t i = 0; i < ring->version_count; i++)
        if (strcmp(ring->versions[i].state, "current") == 0 &&
            !set_version_state(r, &ring->versions[i], "retired", err))
            return false;
    ring->key->state = "retired";
    ring->key->modified_at = r->now;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, ring->key, err);
}

static pk_row_key fresh_row(const pk_restore *r, const pk_database *db, const char *actor)
{
    pk_row_key row = pk_ring_new_row(r->ks, db, actor);
    row.current_ver = r->newest_key->ver;
    memcpy(row.uuid, r->newest_key->uuid, sizeof row.uuid);
    return row;
}

static bool add_row(pk_restore *r, const pk_row_key *fresh, pk_ring_key *ring, pk_error *err)
{
    ring->key = pk_arena_new(r->arena, pk_row_key, err);
    if (ring->key == NULL)
        return false;
    *ring->key = *fresh;
    return pk_catalog_insert(r->ks->catalog, PK_TABLE_KEY, ring->key, err);
}

/* The row of the file's key: the one that is there, in whatever state and for whatever database it
 * was, else a new one. Nothing of a damaged row is kept. */
static bool key_row(pk_restore *r, const pk_database *db, const char *actor, pk_ring_key *ring,
                    pk_error *err)
{
    const pk_row_key fresh = fresh_row(r, db, actor);
    if (!pk_ring_find_uuid(r->ks, fresh.uuid, r->arena, ring, err))
        return false;
    pk_row_key *key = ring->key;
    if (key == NULL)
        return add_row(r, &fresh, ring, err);
    if (ring->key_damaged)
        *key = fresh;
    key->state = "active";
    key->db_oid = fresh.db_oid;
    key->db_name = fresh.db_name;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, key, err);
}

static void parent_of(pk_restore *r, const char *by, pk_ring_parent *parent)
{
    const pk_keyset_key *k = r->newest_key;
    *parent = (pk_ring_parent){.by = by, .secret = k->key, .ver = k->ver, .has_fp = true};
    memcpy(parent->uuid, k->uuid, sizeof parent->uuid);
    memcpy(parent->fp, k->fp, sizeof parent->fp);
}

/* Everything of the file is there, and opens: then nothing is re-encrypted (SQL Server's 15588). */
static bool is_identical(pk_restore *r, const pk_ring_key *ring)
{
    pk_error dropped;
    if (ring->damaged || strcmp(ring->key->state, "active") != 0)
        return false;
    for (size_t i = 0; i < r->set->count; i++) {
        const pk_row_key_version *v = pk_ring_version(ring, r->set->keys[i].ver);
        if (v == NULL || !pk_span_equal(v->fp, pk_span_bytes(r->set->keys[i].fp, PK_FP_LEN)))
            return false;
        PK_AUTO_PTR(pk_secret_free)
        pk_secret *secret = pk_ring_open(r->ks, ring, v->ver, NULL, &dropped);
        if (secret == NULL)
            return false;
    }
    return true;
}

/* SERVICE MASTER KEY */

static const pk_ring_key none;

/* Is the key that is there the file's? */
static bool is_same(const pk_restore *r, const pk_ring_key *ring)
{
    return ring->key != NULL &&
           memcmp(ring->key->uuid, r->newest_key->uuid, sizeof ring->key->uuid) == 0;
}

/* The audit row, with the fingerprint of the key that will be current. */
static pk_row_audit named(pk_restore *r, const pk_ring_key *target, const pk_row_audit *audit)
{
    pk_row_audit row = *audit;
    fill_brief(r, target);
    row.fp = r->report->brief.fingerprint;
    return row;
}

/* Rows that do not pass their MAC are mended only when FORCE says so. */
static bool check_damage(const pk_restore *r, const pk_ring_key *current, pk_error *err)
{
    if (current->key == NULL || !current->damaged || r->order->force)
        return true;
    pk_fail(err, PK_E_CORRUPT, "the catalog rows of the %s are damaged",
            pk_ring_label(current->key, r->arena));
    return pk_error_hint(err, "FORCE writes them anew from the key file.");
}

/* A key that was never backed up is not replaced without being told so. */
static bool check_backed_up(const pk_restore *r, const pk_ring_key *current, pk_error *err)
{
    const pk_row_key_version *v = pk_ring_version(current, current->key->current_ver);
    if (r->order->force ||
        (v != NULL && (v->covered_by != 0 || strcmp(v->origin, "restored") == 0)))
        return true;
    pk_fail(err, PK_E_STATE, "the %s was never backed up", pk_ring_label(current->key, r->arena));
    pk_error_detail(err, "The restore would replace it with another key.");
    return pk_error_hint(err, "Back it up first, or use FORCE; it is kept as retired then.");
}

/* Was a file sealed to this service master key, and to nothing else? */
static bool opens_files(const pk_restore *r, const pk_row_key *smk, bool *opens, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena scratch = PK_ARENA_MAX(64u << 20);
    pk_rows rows = {0};
    char uuid[37], id[64];
    *opens = false;
    if (!pk_catalog_rows(r->ks->catalog, PK_TABLE_KEY_BACKUP, NULL, &scratch, &rows, err))
        return false;
    const pk_row_key_backup *list = rows.list;
    pk_uuid_text(smk->uuid, uuid);
    snprintf(id, sizeof id, "\"keystore %s v", uuid);
    for (size_t i = 0; i < rows.count; i++)
        *opens = *opens ||
                 (list[i].recipients_json != NULL && strstr(list[i].recipients_json, id) != NULL);
    return true;
}

/* Its children are re-wrapped, but files that only it opens need it for ever: it is not replaced by
 * another key before it was backed up. */
static bool check_sealed(const pk_restore *r, const pk_ring_key *current, pk_error *err)
{
    bool opens;
    if (r->order->force || is_same(r, current))
        return true;
    if (!opens_files(r, current->key, &opens, err))
        return false;
    return !opens || check_backed_up(r, current, err);
}

static bool apply_smk(pk_restore *r, pk_ring_key *current, bool same, const pk_children *c,
                      const char *actor, pk_error *err)
{
    pk_ring_key target = {0};
    pk_ring_parent parent;
    const protectors by = {.list = {{.by = "sk", .secret = r->ks->store_key, .ver = 1}},
                           .count = 1};
    if (!same && !retire(r, current, err))
        return false;
    parent_of(r, "smk", &parent);
    return key_row(r, NULL, actor, &target, err) && put_versions(r, &target, &by, err) &&
           pk_children_move(r, c, &parent, same, err);
}

static bool restore_smk(pk_restore *r, const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(pk_children_clear) pk_children c = {0};
    pk_ring_key current = {0};
    pk_ring_list rings = {0};
    if (!pk_keystore_must_be_open(r->ks, err) ||
        !pk_ring_find_smk(r->ks, r->arena, &current, err) || !check_damage(r, &current, err) ||
        !check_sealed(r, &current, err) ||
        !pk_ring_all(r->ks, r->arena, &rings.list, &rings.count, err) ||
        !pk_children_collect(r, "smk", NULL, &rings, &c, err) ||
        !pk_children_refuse_lost(r, &c, err))
        return false;
    const bool same = is_same(r, &current);
    const pk_row_audit audited = named(r, same ? &current : &none, audit);
    const bool identical = same && is_identical(r, &current) && !pk_children_any_quarantined(&c);
    r->report->identical = identical;
    return pk_catalog_begin(r->ks->catalog, err) &&
           finish(r, identical || apply_smk(r, &current, same, &c, audit->actor, err), &audited,
                  err);
}

bool pk_keystore_restore_smk(pk_keystore *ks, const pk_keyset *set, const pk_restore_order *order,
                             const pk_row_audit *audit, pk_restore_report *report, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RESTORE_ARENA);
    pk_restore r = {.ks = ks,
                    .set = set,
                    .arena = &arena,
                    .report = report,
                    .order = order,
                    .now = pk_keystore_now(ks)};
    r.newest_key = check_set(&r, "smk", err);
    if (r.newest_key == NULL)
        return false;
    report->opens_by_itself = true;
    PK_RING_LOCKED(ks);
    return restore_smk(&r, audit, err);
}

/* MASTER KEY */

/* The file's key may belong to another database of this keystore: one key, one place. A superuser
 * may move it: when it is the same database under another name or OID, or with FORCE. */
static bool check_place(pk_restore *r, const pk_database *db, pk_error *err)
{
    pk_ring_key there;
    if (!pk_ring_find_uuid(r->ks, r->newest_key->uuid, r->arena, &there, err))
        return false;
    if (there.key == NULL || there.key_damaged || pk_ring_is_of(there.key, db))
        return true;
    const bool related = there.key->db_oid == db->oid || strcmp(there.key->db_name, db->name) == 0;
    if (db->privileged && (related || r->order->force))
        return true;
    pk_fail(err, PK_E_DUPLICATE_OBJECT,
            "the key in the file belongs to another database of this keystore");
    if (db->privileged)
        pk_error_detail(err, "It is, or was, the %s.", pk_ring_label(there.key, r->arena));
    return pk_error_hint(err, "A superuser can move it to \"%s\" with FORCE.", db->name);
}

/* Another key stands in the place: who may replace it? */
static bool check_replace(pk_restore *r, const pk_ring_key *current, pk_error *err)
{
    const pk_restore_order *how = r->order;
    if (r->order->force)
        return true;
    if (!how->replace) {
        pk_fail(err, PK_E_DUPLICATE_OBJECT,
                "database \"%s\" has a master key that the file does not contain", how->db->name);
        return pk_error_hint(err, "FORCE replaces it; the present key is kept as retired.");
    }
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = pk_ring_open(r->ks, current, current->key->current_ver, r->asker, err);
    if (secret != NULL)
        return check_backed_up(r, current, err);
    pk_error_wrap(err, "the current master key of database \"%s\" cannot be decrypted",
                  how->db->name);
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", PK_E_STATE);
    return pk_error_hint(err,
                         "FORCE goes on without it; what only that key could open is quarantined.");
}

/* SQL Server: a key that was not there gets the password only; one that replaces a key which the
 * service master key opened is opened by it, too. OceanBase has no password: the service master key
 * it is. */
static bool wants_smk(const pk_restore_order *how, const pk_ring_key *current)
{
    if (how->password == NULL)
        return true;
    return current->key != NULL && pk_ring_had_wrap(current, current->key->current_ver, "smk");
}

/* A restore of a database master key on its way. */
typedef struct dmk_restore {
    const pk_ring_parent *password; /* made from the order's password; NULL: none */
    pk_secret *smk;                 /* what protectors borrow */
    protectors by;
} dmk_restore;

static void dmk_restore_clear(dmk_restore *d)
{
    pk_secret_free(d->smk);
}

static bool choose_protectors(pk_restore *r, const pk_ring_key *current, dmk_restore *d,
                              pk_error *err)
{
    if (wants_smk(r->order, current)) {
        d->smk = pk_ring_smk_parent(r->ks, r->arena, &d->by.list[d->by.count++], err);
        if (d->smk == NULL)
            return false;
        r->report->opens_by_itself = true;
    }
    if (d->password != NULL) {
        d->by.list[d->by.count++] = *d->password;
        r->report->password_added = true;
    }
    return true;
}

/* Another key makes room: its children move, itself is kept as retired. */
static bool replace(pk_restore *r, pk_ring_key *current, pk_children *c, pk_error *err)
{
    pk_ring_list rings = {0};
    if (current->key == NULL || is_same(r, current))
        return true;
    return pk_ring_all(r->ks, r->arena, &rings.list, &rings.count, err) &&
           pk_children_collect(r, "dmk", current->key->uuid, &rings, c, err) &&
           pk_children_refuse_lost(r, c, err) && retire(r, current, err);
}

static bool apply_dmk(pk_restore *r, pk_ring_key *current, dmk_restore *d, const char *actor,
                      pk_error *err)
{
    PK_AUTO(pk_children_clear) pk_children c = {0};
    pk_ring_key target = {0};
    pk_ring_parent parent;
    parent_of(r, "dmk", &parent);
    return choose_protectors(r, current, d, err) && replace(r, current, &c, err) &&
           key_row(r, r->order->db, actor, &target, err) && put_versions(r, &target, &d->by, err) &&
           pk_children_move(r, &c, &parent, false, err);
}

static bool restore_dmk(pk_restore *r, dmk_restore *d, const pk_row_audit *audit, pk_error *err)
{
    const pk_database *db = r->order->db;
    pk_ring_key current = {0};
    PK_RING_LOCKED(r->ks);
    if (!pk_keystore_must_be_open(r->ks, err) ||
        !pk_ring_find_dmk(r->ks, db, r->arena, &current, err) || !check_damage(r, &current, err) ||
        !check_place(r, db, err))
        return false;
    const bool same = is_same(r, &current);
    if (current.key != NULL && !same && !check_replace(r, &current, err))
        return false;
    const pk_row_audit audited = named(r, same ? &current : &none, audit);
    const bool identical = same && is_identical(r, &current) && pk_ring_is_of(current.key, db);
    r->report->identical = identical;
    r->report->opens_by_itself = identical;
    return pk_catalog_begin(r->ks->catalog, err) &&
           finish(r, identical || apply_dmk(r, &current, d, audit->actor, err), &audited, err);
}

bool pk_keystore_restore_dmk(pk_keystore *ks, const pk_keyset *set, const pk_restore_order *order,
                             const pk_row_audit *audit, pk_restore_report *report, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RESTORE_ARENA);
    PK_AUTO(dmk_restore_clear) dmk_restore d = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = NULL;
    pk_ring_parent password;
    const pk_ring_asker asker = {.opener = order->opener, .db = order->db};
    pk_restore r = {.ks = ks,
                    .set = set,
                    .arena = &arena,
                    .report = report,
                    .asker = &asker,
                    .order = order,
                    .now = pk_keystore_now(ks)};
    r.newest_key = check_set(&r, "dmk", err);
    if (r.newest_key == NULL)
        return false;
    if (order->password != NULL) {
        key = pk_ring_password_parent(order->password, &arena, &password, err);
        if (key == NULL)
            return false;
        d.password = &password;
    }
    return restore_dmk(&r, &d, audit, err);
}
