/*
 * RESTORE: key versions from a file become keys of this keystore (keys-and-security 4.5).
 *
 * Nothing is destroyed: a key that is replaced stays as `retired`, a child that neither key opens
 * fails the statement, or with FORCE is quarantined, with its wrap kept, and heals when the
 * matching key comes back. Everything happens in one catalog transaction; secrets that had to be
 * opened live no longer than the call.
 */
#include "engine/keyring.h"

#include <stdio.h>
#include <string.h>

#define RESTORE_ARENA (16u << 20)

typedef struct restore {
    pk_keystore *ks;
    const pk_keyset *set;
    pk_arena *arena;
    pk_restore_report *report;
    bool force;
    int64_t now;
    uint32_t newest; /* version of the file that is to be current */
} restore;

static const pk_keyset_key *in_file(const restore *r, int64_t ver)
{
    for (size_t i = 0; i < r->set->count; i++)
        if (r->set->keys[i].ver == ver)
            return &r->set->keys[i];
    return NULL;
}

/* One key, at least one version, each version once, the kind that the statement asks for. */
static bool check_set(restore *r, const char *kind, pk_error *err)
{
    if (r->set->count == 0)
        return pk_fail(err, PK_E_CORRUPT, "the key file holds no key");
    const pk_keyset_key *first = &r->set->keys[0];
    for (size_t i = 0; i < r->set->count; i++) {
        const pk_keyset_key *k = &r->set->keys[i];
        if (strcmp(k->kind, kind) != 0) {
            pk_fail(err, PK_E_PARAMETER, "the file does not hold a %s",
                    strcmp(kind, "smk") == 0 ? "service master key" : "database master key");
            return pk_error_detail(err, "It was written by %s.", r->set->type);
        }
        if (memcmp(k->uuid, first->uuid, sizeof k->uuid) != 0)
            return pk_fail(err, PK_E_PARAMETER, "the file holds several keys");
        if (in_file(r, k->ver) != k || k->ver == 0)
            return pk_fail(err, PK_E_CORRUPT, "the key file names version %u twice or wrongly",
                           k->ver);
        if (k->ver > r->newest)
            r->newest = k->ver;
    }
    return true;
}

static void fill_brief(restore *r)
{
    const pk_keyset_key *k = in_file(r, r->newest);
    r->report->brief = (pk_key_brief){.version = k->ver};
    memcpy(r->report->brief.uuid, k->uuid, sizeof k->uuid);
    pk_fingerprint_text(k->fp, r->report->brief.fingerprint);
}

static bool finish(restore *r, bool ok, const pk_row_audit *audit, pk_error *err)
{
    if (ok && pk_catalog_commit(r->ks->catalog, audit, err))
        return true;
    pk_catalog_rollback(r->ks->catalog);
    return false;
}

/* Children: every wrap whose parent is a key of this kind */

typedef struct child {
    pk_ring_key *ring;
    pk_row_wrap *wrap;
    pk_secret *secret; /* NULL: could not be opened */
    bool damaged;      /* the row itself: it stays as it is */
} child;

typedef struct ring_list {
    pk_ring_key *list;
    size_t count;
} ring_list;

typedef struct children {
    child *list;
    size_t count;
} children;

static void children_clear(children *c)
{
    for (size_t i = 0; i < c->count; i++)
        pk_secret_free(c->list[i].secret);
    c->count = 0;
}

/* The file's version that a wrap was made under, by the fingerprint that the wrap recorded. */
static const pk_keyset_key *parent_in_file(const restore *r, const pk_row_wrap *wrap)
{
    for (size_t i = 0; i < r->set->count; i++)
        if (pk_span_equal(wrap->parent_fp, pk_span_bytes(r->set->keys[i].fp, PK_FP_LEN)))
            return &r->set->keys[i];
    return NULL;
}

static bool fits(const pk_ring_key *ring, int64_t ver, const pk_secret *secret)
{
    pk_error dropped;
    uint8_t fp[PK_FP_LEN];
    const pk_row_key_version *v = pk_ring_version(ring, ver);
    return v != NULL && pk_fingerprint(secret, fp, &dropped) &&
           pk_span_equal(v->fp, pk_span_bytes(fp, sizeof fp));
}

static pk_secret *open_under(restore *r, const pk_ring_key *ring, const pk_row_wrap *wrap,
                             const pk_secret *parent)
{
    pk_error dropped;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = pk_ring_unwrap(r->ks, ring->key, wrap, parent, &dropped);
    return secret != NULL && fits(ring, wrap->ver, secret) ? pk_steal(&secret) : NULL;
}

/* By the parent in the catalog, else by the restored key: a damaged current key plus its own backup
 * needs no FORCE. A quarantined wrap is opened by the restored key only. */
static pk_secret *open_child(restore *r, const pk_ring_key *ring, const pk_row_wrap *wrap)
{
    pk_error dropped;
    pk_ring_key parent = {0};
    if (wrap->quarantined == 0 &&
        pk_ring_find_uuid(r->ks, wrap->parent_uuid, r->arena, &parent, &dropped) &&
        parent.key != NULL) {
        PK_AUTO_PTR(pk_secret_free)
        pk_secret *key = pk_ring_open(r->ks, &parent, wrap->parent_ver, NULL, &dropped);
        PK_AUTO_PTR(pk_secret_free)
        pk_secret *secret = key == NULL ? NULL : open_under(r, ring, wrap, key);
        if (secret != NULL)
            return pk_steal(&secret);
    }
    const pk_keyset_key *k = parent_in_file(r, wrap);
    return k == NULL ? NULL : open_under(r, ring, wrap, k->key);
}

static bool is_child(const pk_row_wrap *wrap, const char *by, const uint8_t *parent)
{
    return strcmp(wrap->by, by) == 0 &&
           (parent == NULL || wrap->quarantined != 0 || memcmp(wrap->parent_uuid, parent, 16) == 0);
}

/* `parent` NULL: whatever the parent's uuid is (there is one service master key). */
static bool collect(restore *r, const char *by, const uint8_t *parent, const ring_list *rings,
                    children *out, pk_error *err)
{
    size_t room = 0;
    for (size_t i = 0; i < rings->count; i++)
        room += rings->list[i].wrap_count;
    out->list = pk_arena_array(r->arena, room + 1, sizeof *out->list, err);
    if (out->list == NULL)
        return false;
    for (size_t i = 0; i < rings->count; i++)
        for (size_t w = 0; w < rings->list[i].wrap_count; w++) {
            pk_row_wrap *wrap = &rings->list[i].wraps[w];
            const bool damaged = rings->list[i].damaged || rings->list[i].wrap_damaged[w];
            if (is_child(wrap, by, parent))
                out->list[out->count++] =
                    (child){.ring = &rings->list[i],
                            .wrap = wrap,
                            .secret = damaged ? NULL : open_child(r, &rings->list[i], wrap),
                            .damaged = damaged};
        }
    return true;
}

static bool name_quarantined(restore *r, const pk_ring_key *ring, size_t room, pk_error *err)
{
    pk_restore_report *report = r->report;
    const char *label = pk_ring_label(ring->key, report->arena);
    if (report->quarantined == NULL) {
        report->quarantined = pk_arena_array(report->arena, room, sizeof *report->quarantined, err);
        if (report->quarantined == NULL)
            return false;
    }
    for (size_t i = 0; i < report->quarantined_count; i++)
        if (strcmp(report->quarantined[i], label) == 0)
            return true;
    report->quarantined[report->quarantined_count++] = label;
    return true;
}

/* Without FORCE: one message that lists every child that would be lost. */
static bool refuse_lost(restore *r, const children *c, pk_error *err)
{
    char names[400] = "";
    size_t used = 0, lost = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->list[i].secret != NULL || c->list[i].wrap->quarantined != 0)
            continue;
        lost++;
        const char *label = pk_ring_label(c->list[i].ring->key, r->arena);
        int n = snprintf(names + used, sizeof names - used, "%s%s", used == 0 ? "" : ", ", label);
        if (n > 0 && used + (size_t)n < sizeof names)
            used += (size_t)n;
    }
    if (lost == 0 || r->force)
        return true;
    names[used] = '\0';
    pk_fail(err, PK_E_CORRUPT, "keys under the current key cannot be decrypted");
    pk_error_detail(err, "Neither the current key nor the restored one opens: %s.", names);
    return pk_error_hint(
        err, "FORCE goes on and quarantines them; restoring the matching key later heals them.");
}

/* Does this key have a way in beside the wraps of `by`? */
static bool has_other_wrap(const pk_ring_key *ring, const char *by)
{
    for (size_t i = 0; i < ring->wrap_count; i++)
        if (pk_ring_usable(ring, i) && strcmp(ring->wraps[i].by, by) != 0)
            return true;
    return false;
}

static bool quarantine(restore *r, const child *c, const char *by, size_t room, pk_error *err)
{
    if (c->damaged)
        return name_quarantined(r, c->ring, room, err);
    if (c->wrap->quarantined != 0)
        return true;
    c->wrap->quarantined = 1;
    if (!pk_catalog_update(r->ks->catalog, PK_TABLE_WRAP, c->wrap, err) ||
        !name_quarantined(r, c->ring, room, err))
        return false;
    pk_row_key *key = c->ring->key;
    if (has_other_wrap(c->ring, by) || strcmp(key->state, "active") != 0)
        return true;
    key->state = "quarantined";
    key->modified_at = r->now;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, key, err);
}

/* A second live key of the same database exists when one was created after the quarantine. */
static bool place_is_taken(restore *r, const pk_row_key *key, bool *taken, pk_error *err)
{
    pk_ring_key live;
    if (!pk_ring_find(r->ks, key->scope, key->db_name, r->arena, &live, err))
        return false;
    *taken = live.key != NULL && memcmp(live.key->uuid, key->uuid, sizeof key->uuid) != 0;
    return true;
}

static bool heal(restore *r, const child *c, pk_error *err)
{
    pk_row_key *key = c->ring->key;
    if (strcmp(key->state, "quarantined") != 0)
        return true;
    bool taken;
    if (!place_is_taken(r, key, &taken, err))
        return false;
    key->state = taken ? "retired" : "active";
    key->modified_at = r->now;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, key, err);
}

static bool rewrap(restore *r, const child *c, const pk_ring_parent *parent, pk_error *err)
{
    pk_row_wrap fresh;
    const pk_ring_child renewed = {.key = c->ring->key, .ver = c->wrap->ver, .secret = c->secret};
    if (!pk_ring_wrap(r->ks, &renewed, parent, r->arena, &fresh, err))
        return false;
    fresh.id = c->wrap->id;
    if (!pk_catalog_update(r->ks->catalog, PK_TABLE_WRAP, &fresh, err))
        return false;
    if (c->wrap->quarantined == 0) {
        r->report->rewrapped++;
        return true;
    }
    r->report->healed++;
    return heal(r, c, err);
}

/* `merged`: the key stays the one it was, so a child that opens stays as it is. */
static bool move_children(restore *r, const children *c, const pk_ring_parent *parent, bool merged,
                          pk_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        const child *one = &c->list[i];
        if (merged && one->secret != NULL && one->wrap->quarantined == 0)
            continue;
        bool ok = one->secret == NULL ? quarantine(r, one, parent->by, c->count, err)
                                      : rewrap(r, one, parent, err);
        if (!ok)
            return false;
    }
    return true;
}

/* The restored key's own rows */

static bool same_material(const pk_row_key_version *v, const pk_keyset_key *k, pk_error *err)
{
    if (pk_span_equal(v->fp, pk_span_bytes(k->fp, PK_FP_LEN)))
        return true;
    return pk_fail(err, PK_E_CORRUPT,
                   "version %u of the file differs from the same version in the keystore", k->ver);
}

static bool set_version_state(restore *r, pk_row_key_version *v, const char *state, pk_error *err)
{
    if (strcmp(v->state, state) == 0)
        return true;
    v->state = state;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY_VERSION, v, err);
}

/* Exactly one current version per live key: the newest. */
static bool settle_states(restore *r, pk_ring_key *ring, int64_t newest, pk_error *err)
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

static bool drop_wraps(restore *r, const pk_ring_key *ring, int64_t ver, const char *by,
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

/* A version that is there already gets the protectors anew (a damaged wrap is replaced; another
 * password stays), one that is missing is added. */
static bool put_version(restore *r, pk_ring_key *ring, const pk_keyset_key *k, const protectors *by,
                        int64_t newest, pk_error *err)
{
    const pk_ring_child put = {.key = ring->key, .ver = k->ver, .secret = k->key};
    pk_row_key_version *v = pk_ring_version(ring, k->ver);
    if (v != NULL && !same_material(v, k, err))
        return false;
    if (v == NULL) {
        r->report->added_versions++;
        if (!pk_ring_add_version(r->ks, &put, k->ver == newest ? "current" : "retired", "restored",
                                 err))
            return false;
    }
    for (size_t i = 0; i < by->count; i++) {
        const bool keep = strcmp(by->list[i].by, "password") == 0;
        if (!keep && !drop_wraps(r, ring, k->ver, by->list[i].by, err))
            return false;
        if (!pk_ring_add_wrap(r->ks, &put, &by->list[i], r->arena, err))
            return false;
    }
    return true;
}

static bool put_versions(restore *r, pk_ring_key *ring, const protectors *by, pk_error *err)
{
    const int64_t newest =
        r->newest > ring->key->current_ver ? (int64_t)r->newest : ring->key->current_ver;
    for (size_t i = 0; i < r->set->count; i++)
        if (!put_version(r, ring, &r->set->keys[i], by, newest, err))
            return false;
    if (!settle_states(r, ring, newest, err))
        return false;
    ring->key->current_ver = newest;
    ring->key->modified_at = r->now;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, ring->key, err);
}

static bool retire(restore *r, pk_ring_key *ring, pk_error *err)
{
    for (size_t i = 0; i < ring->version_count; i++)
        if (strcmp(ring->versions[i].state, "current") == 0 &&
            !set_version_state(r, &ring->versions[i], "retired", err))
            return false;
    ring->key->state = "retired";
    ring->key->modified_at = r->now;
    return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, ring->key, err);
}

/* The row of the file's key: the one that is there in whatever state, else a new one. */
static bool key_row(restore *r, const pk_database *db, const char *actor, pk_ring_key *ring,
                    pk_error *err)
{
    const pk_keyset_key *k = in_file(r, r->newest);
    if (!pk_ring_find_uuid(r->ks, k->uuid, r->arena, ring, err))
        return false;
    if (ring->key != NULL) {
        ring->key->state = "active";
        ring->key->db_oid = db == NULL ? 0 : db->oid;
        return pk_catalog_update(r->ks->catalog, PK_TABLE_KEY, ring->key, err);
    }
    pk_row_key *row = pk_arena_new(r->arena, pk_row_key, err);
    if (row == NULL)
        return false;
    *row = (pk_row_key){.scope = db == NULL ? "service" : "db",
                        .db_oid = db == NULL ? 0 : db->oid,
                        .db_name = db == NULL ? "" : db->name,
                        .kind = db == NULL ? "smk" : "dmk",
                        .name = "master",
                        .alg = "A256",
                        .purpose = "wrap",
                        .exportable = 1,
                        .state = "active",
                        .current_ver = k->ver,
                        .created_at = r->now,
                        .modified_at = r->now,
                        .created_by = actor};
    memcpy(row->uuid, k->uuid, sizeof row->uuid);
    *ring = (pk_ring_key){.key = row};
    return pk_catalog_insert(r->ks->catalog, PK_TABLE_KEY, row, err);
}

static void parent_of(restore *r, const char *by, pk_ring_parent *parent)
{
    const pk_keyset_key *k = in_file(r, r->newest);
    *parent = (pk_ring_parent){.by = by, .secret = k->key, .ver = k->ver, .has_fp = true};
    memcpy(parent->uuid, k->uuid, sizeof parent->uuid);
    memcpy(parent->fp, k->fp, sizeof parent->fp);
}

/* Everything of the file is there, and opens: then nothing is re-encrypted (SQL Server's 15588). */
static bool is_identical(restore *r, const pk_ring_key *ring)
{
    pk_error dropped;
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

static bool any_quarantined(const children *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->list[i].wrap->quarantined != 0 && c->list[i].secret != NULL)
            return true;
    return false;
}

/* SERVICE MASTER KEY */

static bool apply_smk(restore *r, pk_ring_key *current, bool same, const children *c,
                      const char *actor, pk_error *err)
{
    pk_ring_key target = {0};
    pk_ring_parent parent;
    const protectors by = {.list = {{.by = "sk", .secret = r->ks->store_key, .ver = 1}},
                           .count = 1};
    if (!same && current->key != NULL && !retire(r, current, err))
        return false;
    parent_of(r, "smk", &parent);
    return key_row(r, NULL, actor, &target, err) && put_versions(r, &target, &by, err) &&
           move_children(r, c, &parent, same, err);
}

bool pk_keystore_restore_smk(pk_keystore *ks, const pk_keyset *set, bool force,
                             const pk_row_audit *audit, pk_restore_report *report, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RESTORE_ARENA);
    PK_AUTO(children_clear) children c = {0};
    restore r = {.ks = ks,
                 .set = set,
                 .arena = &arena,
                 .report = report,
                 .force = force,
                 .now = pk_keystore_now(ks)};
    if (!check_set(&r, "smk", err))
        return false;
    fill_brief(&r);
    pk_row_audit audited = *audit;
    audited.fp = report->brief.fingerprint;
    report->opens_by_itself = true;
    PK_RING_LOCKED(ks);
    pk_ring_key current;
    ring_list rings;
    if (!pk_ring_find(ks, "service", "", &arena, &current, err) ||
        !pk_ring_all(ks, &arena, &rings.list, &rings.count, err) ||
        !collect(&r, "smk", NULL, &rings, &c, err) || !refuse_lost(&r, &c, err))
        return false;
    const bool same = current.key != NULL &&
                      memcmp(current.key->uuid, set->keys[0].uuid, sizeof current.key->uuid) == 0;
    report->identical = same && is_identical(&r, &current) && !any_quarantined(&c);
    if (!pk_catalog_begin(ks->catalog, err))
        return false;
    return finish(&r, report->identical || apply_smk(&r, &current, same, &c, audit->actor, err),
                  &audited, err);
}

/* MASTER KEY */

/* The file's key may belong to another database of this keystore: one key, one place. */
static bool check_place(restore *r, const pk_database *db, pk_error *err)
{
    pk_ring_key there = {0};
    if (!pk_ring_find_uuid(r->ks, r->set->keys[0].uuid, r->arena, &there, err))
        return false;
    if (there.key == NULL || strcmp(there.key->db_name, db->name) == 0)
        return true;
    pk_fail(err, PK_E_DUPLICATE_OBJECT,
            "the key in the file belongs to another database of this keystore");
    pk_error_detail(err, "It is, or was, the %s.", pk_ring_label(there.key, r->arena));
    return pk_error_hint(
        err, "Restore it in a keystore of its own, or create a new master key for \"%s\".",
        db->name);
}

/* Another key stands in the place: who may replace it? */
static bool check_replace(restore *r, const pk_ring_key *current, const pk_dmk_restore *how,
                          pk_error *err)
{
    if (r->force)
        return true;
    if (!how->replace) {
        pk_fail(err, PK_E_DUPLICATE_OBJECT,
                "database \"%s\" has a master key that the file does not contain", how->db->name);
        return pk_error_hint(err, "FORCE replaces it; the present key is kept as retired.");
    }
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = pk_ring_open(r->ks, current, current->key->current_ver, NULL, err);
    if (secret != NULL)
        return true;
    pk_error_wrap(err, "the current master key of database \"%s\" cannot be decrypted",
                  how->db->name);
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", PK_E_STATE);
    return pk_error_hint(err,
                         "FORCE goes on without it; what only that key could open is quarantined.");
}

/* SQL Server: a key that was not there gets the password only; one that replaces a key which the
 * service master key opened is opened by it, too. OceanBase has no password: the service master key
 * it is. */
static bool wants_smk(const pk_dmk_restore *how, const pk_ring_key *current)
{
    if (how->password == NULL)
        return true;
    return current->key != NULL && pk_ring_has_wrap(current, current->key->current_ver, "smk");
}

static bool apply_dmk(restore *r, pk_ring_key *current, const pk_dmk_restore *how,
                      const char *actor, pk_error *err)
{
    PK_AUTO(children_clear) children c = {0};
    protectors by = {0};
    pk_ring_key target;
    ring_list rings;
    pk_ring_parent parent;
    PK_AUTO_PTR(pk_secret_free) pk_secret *smk = NULL;
    if (wants_smk(how, current)) {
        smk = pk_ring_smk_parent(r->ks, r->arena, &by.list[by.count++], err);
        if (smk == NULL)
            return false;
        r->report->opens_by_itself = true;
    }
    if (how->password != NULL) {
        by.list[by.count++] = (pk_ring_parent){.by = "password", .secret = how->password};
        r->report->password_added = true;
    }
    const bool other =
        current->key != NULL && memcmp(current->key->uuid, r->set->keys[0].uuid, 16) != 0;
    if (other) {
        if (!pk_ring_all(r->ks, r->arena, &rings.list, &rings.count, err) ||
            !collect(r, "dmk", current->key->uuid, &rings, &c, err) || !refuse_lost(r, &c, err) ||
            !retire(r, current, err))
            return false;
    }
    parent_of(r, "dmk", &parent);
    return key_row(r, how->db, actor, &target, err) && put_versions(r, &target, &by, err) &&
           move_children(r, &c, &parent, false, err);
}

bool pk_keystore_restore_dmk(pk_keystore *ks, const pk_keyset *set, const pk_dmk_restore *how,
                             const pk_row_audit *audit, pk_restore_report *report, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RESTORE_ARENA);
    restore r = {.ks = ks,
                 .set = set,
                 .arena = &arena,
                 .report = report,
                 .force = how->force,
                 .now = pk_keystore_now(ks)};
    if (!check_set(&r, "dmk", err))
        return false;
    fill_brief(&r);
    pk_row_audit audited = *audit;
    audited.fp = report->brief.fingerprint;
    PK_RING_LOCKED(ks);
    pk_ring_key current;
    if (!check_place(&r, how->db, err) ||
        !pk_ring_find(ks, "db", how->db->name, &arena, &current, err))
        return false;
    const bool same = current.key != NULL &&
                      memcmp(current.key->uuid, set->keys[0].uuid, sizeof current.key->uuid) == 0;
    if (current.key != NULL && !same && !check_replace(&r, &current, how, err))
        return false;
    report->identical = same && is_identical(&r, &current);
    report->opens_by_itself = report->identical;
    if (!pk_catalog_begin(ks->catalog, err))
        return false;
    return finish(&r, report->identical || apply_dmk(&r, &current, how, audit->actor, err),
                  &audited, err);
}
