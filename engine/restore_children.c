/*
 * What hangs below a key that is being restored. A child is opened by the parent that the catalog
 * has, else by the restored key; one that neither opens is lost, which fails the statement, or with
 * FORCE is quarantined: its wrap stays as it is, and the right key heals it later. Only "it does
 * not open" counts as lost; running out of memory or a failing catalog is an error of the
 * statement.
 */
#include "engine/restore_children.h"

#include <stdio.h>
#include <string.h>

void pk_children_clear(pk_children *c)
{
    for (size_t i = 0; i < c->count; i++)
        pk_secret_free(c->list[i].secret);
    c->count = 0;
}

/* The file's version that a wrap was made under, by the fingerprint that the wrap recorded. */
static const pk_keyset_key *parent_in_file(const pk_restore *r, const pk_row_wrap *wrap)
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

/* What "does not open" looks like; every other error is one of ours and fails the statement. */
static bool is_closed(const pk_error *err)
{
    return pk_error_is(err, PK_E_PASSWORD) || pk_error_is(err, PK_E_CORRUPT) ||
           pk_error_is(err, PK_E_STATE);
}

/* True with *secret NULL: this parent does not open it. */
static bool open_under(pk_restore *r, const pk_ring_key *ring, const pk_row_wrap *wrap,
                       const pk_secret *parent, pk_secret **secret, pk_error *err)
{
    pk_error why = {0};
    *secret = pk_ring_unwrap(r->ks, ring->key, wrap, parent, &why);
    if (*secret != NULL && fits(ring, wrap->ver, *secret))
        return true;
    pk_secret_free(pk_steal(secret));
    if (why.sqlstate[0] == '\0' || is_closed(&why))
        return true;
    *err = why;
    return false;
}

/* By the parent that the catalog has. */
static bool open_by_parent(pk_restore *r, const pk_ring_key *ring, const pk_row_wrap *wrap,
                           pk_secret **secret, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena scratch = PK_ARENA_MAX(1u << 20);
    pk_ring_key parent = {0};
    pk_error why = {0};
    if (!pk_ring_find_uuid(r->ks, wrap->parent_uuid, &scratch, &parent, err))
        return false;
    if (parent.key == NULL)
        return true;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *key = pk_ring_open(r->ks, &parent, wrap->parent_ver, r->asker, &why);
    if (key != NULL)
        return open_under(r, ring, wrap, key, secret, err);
    if (is_closed(&why))
        return true;
    *err = why;
    return false;
}

/* By the parent in the catalog, else by the restored key: a damaged current key plus its own backup
 * needs no FORCE. A quarantined wrap is opened by the restored key only. */
static bool open_child(pk_restore *r, const pk_ring_key *ring, const pk_row_wrap *wrap,
                       pk_secret **secret, pk_error *err)
{
    if (wrap->quarantined == 0 && !open_by_parent(r, ring, wrap, secret, err))
        return false;
    const pk_keyset_key *k = *secret != NULL ? NULL : parent_in_file(r, wrap);
    return k == NULL || open_under(r, ring, wrap, k->key, secret, err);
}

static bool is_child(const pk_row_wrap *wrap, const char *by, const uint8_t *parent)
{
    return strcmp(wrap->by, by) == 0 &&
           (parent == NULL || wrap->quarantined != 0 || memcmp(wrap->parent_uuid, parent, 16) == 0);
}

static bool collect_of(pk_restore *r, const char *by, const uint8_t *parent, pk_ring_key *ring,
                       pk_children *out, pk_error *err)
{
    for (size_t i = 0; i < ring->wrap_count; i++) {
        if (!is_child(&ring->wraps[i], by, parent))
            continue;
        pk_child *one = &out->list[out->count++];
        *one = (pk_child){.ring = ring,
                          .wrap = &ring->wraps[i],
                          .damaged = ring->damaged || ring->wrap_damaged[i]};
        if (!one->damaged && !open_child(r, ring, one->wrap, &one->secret, err))
            return false;
    }
    return true;
}

/* `parent` NULL: whatever the parent's uuid is (there is one service master key). */
bool pk_children_collect(pk_restore *r, const char *by, const uint8_t *parent,
                         const pk_ring_list *rings, pk_children *out, pk_error *err)
{
    size_t room = 0;
    for (size_t i = 0; i < rings->count; i++)
        room += rings->list[i].wrap_count;
    out->list = pk_arena_array(r->arena, room + 1, sizeof *out->list, err);
    if (out->list == NULL)
        return false;
    for (size_t i = 0; i < rings->count; i++)
        if (!collect_of(r, by, parent, &rings->list[i], out, err))
            return false;
    return true;
}

static bool name_quarantined(pk_restore *r, const pk_ring_key *ring, size_t room, pk_error *err)
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
bool pk_children_refuse_lost(pk_restore *r, const pk_children *c, pk_error *err)
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
    if (lost == 0 || r->order->force)
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

static bool quarantine(pk_restore *r, const pk_child *c, const char *by, size_t room, pk_error *err)
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
static bool place_is_taken(pk_restore *r, const pk_row_key *key, bool *taken, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena scratch = PK_ARENA_MAX(1u << 20);
    pk_ring_key live;
    const pk_database db = {.name = key->db_name, .privileged = true};
    *taken = false;
    if (pk_ring_is_smk(key))
        return true;
    if (!pk_ring_find_dmk(r->ks, &db, &scratch, &live, err))
        return false;
    *taken = live.key != NULL && memcmp(live.key->uuid, key->uuid, sizeof key->uuid) != 0;
    return true;
}

static bool heal(pk_restore *r, const pk_child *c, pk_error *err)
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

static bool rewrap(pk_restore *r, const pk_child *c, const pk_ring_parent *parent, pk_error *err)
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
bool pk_children_move(pk_restore *r, const pk_children *c, const pk_ring_parent *parent,
                      bool merged, pk_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        const pk_child *one = &c->list[i];
        if (merged && one->secret != NULL && one->wrap->quarantined == 0)
            continue;
        bool ok = one->secret == NULL ? quarantine(r, one, parent->by, c->count, err)
                                      : rewrap(r, one, parent, err);
        if (!ok)
            return false;
    }
    return true;
}

bool pk_children_any_quarantined(const pk_children *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->list[i].wrap->quarantined != 0 && c->list[i].secret != NULL)
            return true;
    return false;
}
