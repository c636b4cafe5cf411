/*
 * OPEN and CLOSE MASTER KEY (keys-and-security 4.4). OPEN has three steps, because a password takes
 * 0.4 seconds to become a key and nobody is to wait for it: under the lock, which wraps there are
 * and how their keys are made; without it, the keys; under it again, the wraps that are there now.
 * Versions that were wrapped together share their parameters, so there is one derivation for all
 * of them.
 */
#include "engine/keyring.h"

#include "crypto/kdf.h"

#include <string.h>

#define RING_ARENA      (4u << 20)
#define DERIVATIONS_MAX 8u /* of one OPEN; the newest versions first */

typedef struct derived {
    const char *kdf_json;
    pk_secret *key;
} derived;

/* One OPEN on its way. Strings live in the arena. */
typedef struct opening {
    pk_keystore *ks;
    const pk_open_order *order;
    pk_arena arena;
    pk_opened_key key;
    derived list[DERIVATIONS_MAX];
    size_t count;
} opening;

static void opening_clear(opening *o)
{
    for (size_t i = 0; i < o->count; i++)
        pk_secret_free(o->list[i].key);
    pk_arena_clear(&o->arena);
}

static bool is_password(const pk_ring_key *ring, size_t i)
{
    return pk_ring_usable(ring, i) && strcmp(ring->wraps[i].by, "password") == 0;
}

static derived *find_derived(opening *o, const char *kdf_json)
{
    for (size_t i = 0; i < o->count; i++)
        if (strcmp(o->list[i].kdf_json, kdf_json) == 0)
            return &o->list[i];
    return NULL;
}

static void note_kdf(opening *o, const pk_row_wrap *wrap)
{
    if (wrap->kdf_json == NULL || o->count == DERIVATIONS_MAX ||
        find_derived(o, wrap->kdf_json) != NULL)
        return;
    o->list[o->count++] = (derived){.kdf_json = wrap->kdf_json};
}

/* The row of the key, or NULL with the error. */
static const pk_row_key *find_key(opening *o, pk_ring_key *ring, pk_error *err)
{
    *ring = (pk_ring_key){0};
    if (!pk_keystore_must_be_open(o->ks, err) ||
        !pk_ring_find_dmk(o->ks, o->order->db, &o->arena, ring, err))
        return NULL;
    if (ring->key == NULL) {
        pk_fail(err, PK_E_UNDEFINED_OBJECT, "database \"%s\" has no master key",
                o->order->db->name);
        pk_error_hint(err, "CREATE MASTER KEY makes one.");
        return NULL;
    }
    if (!ring->damaged)
        return ring->key;
    pk_fail(err, PK_E_CORRUPT, "the catalog rows of the %s are damaged",
            pk_ring_label(ring->key, &o->arena));
    pk_error_hint(err, "RESTORE of its backup with FORCE mends them.");
    return NULL;
}

/* How keys are to be made from the password. Afterwards the attempt counts until it is done. */
static bool begin(opening *o, pk_error *err)
{
    PK_RING_LOCKED(o->ks);
    pk_ring_key ring;
    const pk_row_key *key = find_key(o, &ring, err);
    if (key == NULL)
        return false;
    memcpy(o->key.uuid, key->uuid, sizeof o->key.uuid);
    for (size_t i = 0; i < ring.wrap_count; i++)
        if (is_password(&ring, i) && ring.wraps[i].ver == key->current_ver)
            note_kdf(o, &ring.wraps[i]);
    for (size_t i = ring.wrap_count; i > 0; i--)
        if (is_password(&ring, i - 1))
            note_kdf(o, &ring.wraps[i - 1]);
    if (o->count == 0) {
        pk_fail(err, PK_E_STATE, "the %s has no password", pk_ring_label(ring.key, &o->arena));
        return pk_error_hint(err, "The service master key opens it for every session.");
    }
    return pk_opened_has_room(o->ks->opened, &o->key, err) &&
           pk_opened_may_try(o->ks->opened, o->order->opener->user, o->order->db, err);
}

static bool derive_all(opening *o, pk_error *err)
{
    for (size_t i = 0; i < o->count; i++) {
        pk_kdf_params params;
        if (!pk_kdf_params_read(pk_span_of(o->list[i].kdf_json), &params, err))
            return false;
        o->list[i].key = pk_kdf_password(o->order->password, &params, err);
        if (o->list[i].key == NULL)
            return false;
    }
    return true;
}

/* What one wrap holds, if the password opens it. */
static pk_secret *open_wrap(opening *o, const pk_ring_key *ring, size_t i, pk_error *err)
{
    const pk_row_wrap *wrap = &ring->wraps[i];
    if (!is_password(ring, i) || wrap->kdf_json == NULL)
        return NULL;
    const derived *d = find_derived(o, wrap->kdf_json);
    if (d == NULL || d->key == NULL)
        return NULL;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = pk_ring_unwrap(o->ks, ring->key, wrap, d->key, err);
    if (secret == NULL || !pk_ring_check(ring, wrap->ver, secret, err))
        return NULL;
    return pk_steal(&secret);
}

static pk_try verdict(bool any, const pk_error *err)
{
    if (any)
        return PK_TRY_RIGHT;
    return pk_error_is(err, PK_E_PASSWORD) ? PK_TRY_WRONG : PK_TRY_UNKNOWN;
}

/* Opens what the password opens into `secrets`, one a wrap. False with 28P01: nothing. */
static bool open_wraps(opening *o, const pk_ring_key *ring, pk_secret **secrets, pk_error *err)
{
    bool any = false;
    pk_error why = {0};
    for (size_t i = 0; i < ring->wrap_count; i++) {
        secrets[i] = open_wrap(o, ring, i, &why);
        any = any || secrets[i] != NULL;
    }
    if (any)
        return true;
    if (why.sqlstate[0] != '\0' && !pk_error_is(&why, PK_E_PASSWORD)) {
        *err = why;
        return false;
    }
    return pk_fail(err, PK_E_PASSWORD, "the password does not open the %s",
                   pk_ring_label(ring->key, &o->arena));
}

static void keep(opening *o, const pk_ring_key *ring, pk_secret **secrets, const char *fp)
{
    for (size_t i = 0; i < ring->wrap_count; i++)
        if (secrets[i] != NULL)
            pk_opened_put(o->ks->opened, &o->key, ring->wraps[i].ver, fp, pk_steal(&secrets[i]));
}

/* The key may have changed, or gone, while the password became a key. */
static bool find_again(opening *o, pk_ring_key *ring, pk_error *err)
{
    const pk_row_key *key = find_key(o, ring, err);
    if (key == NULL)
        return false;
    if (memcmp(key->uuid, o->key.uuid, sizeof o->key.uuid) == 0)
        return true;
    pk_fail(err, PK_E_CONFLICT, "the master key of database \"%s\" was replaced meanwhile",
            o->order->db->name);
    return pk_error_hint(err, "Open the new one.");
}

static bool audit_it(opening *o, const pk_key_brief *brief, const pk_row_audit *audit,
                     pk_error *err)
{
    pk_row_audit audited = *audit;
    audited.fp = brief->fingerprint;
    return pk_opened_has_room(o->ks->opened, &o->key, err) &&
           pk_catalog_begin(o->ks->catalog, err) && pk_ring_end_change(o->ks, true, &audited, err);
}

/* Under the lock. Kept also when the service master key opens it: then CLOSE has something to
 * close, and versions that only the password opens are open, too. */
static bool end_locked(opening *o, const pk_row_audit *audit, pk_key_brief *brief, bool *was_open,
                       pk_error *err)
{
    pk_ring_key ring;
    if (!find_again(o, &ring, err))
        return false;
    pk_secret **secrets =
        pk_arena_array(&o->arena, ring.wrap_count + 1, sizeof(void *), err); /* of handles */
    if (secrets == NULL)
        return false;
    bool ok = open_wraps(o, &ring, secrets, err);
    if (ok) {
        pk_ring_brief(&ring, brief);
        *was_open = pk_ring_has_wrap(&ring, ring.key->current_ver, "smk");
        ok = audit_it(o, brief, audit, err);
        if (ok)
            keep(o, &ring, secrets, brief->fingerprint);
    }
    for (size_t i = 0; i < ring.wrap_count; i++)
        pk_secret_free(secrets[i]);
    return ok;
}

static bool end(opening *o, bool derived_all, const pk_row_audit *audit, pk_key_brief *brief,
                bool *was_open, pk_error *err)
{
    PK_RING_LOCKED(o->ks);
    const bool ok = derived_all && end_locked(o, audit, brief, was_open, err);
    pk_opened_tried(o->ks->opened, o->order->opener->user, o->order->db, verdict(ok, err));
    return ok;
}

static bool is_somebody(const pk_opener *opener, pk_error *err)
{
    return (opener != NULL && opener->session != 0 && opener->user != NULL) ||
           pk_fail(err, PK_E_STATE, "only a session can open a master key");
}

bool pk_keystore_open_dmk(pk_keystore *ks, const pk_open_order *order, const pk_row_audit *audit,
                          pk_key_brief *brief, bool *was_open, pk_error *err)
{
    PK_AUTO(opening_clear)
    opening o = {.ks = ks,
                 .order = order,
                 .arena = PK_ARENA_MAX(RING_ARENA),
                 .key = {.opener = order->opener, .db = order->db}};
    if (!is_somebody(order->opener, err) || !begin(&o, err))
        return false;
    const bool derived_all = derive_all(&o, err);
    return end(&o, derived_all, audit, brief, was_open, err);
}

/* The keys are wiped whether or not the row can be written. */
bool pk_keystore_close_dmk(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                           const pk_row_audit *audit, pk_error *err)
{
    char fp[PK_FP_TEXT] = "";
    if (!is_somebody(opener, err))
        return false;
    PK_RING_LOCKED(ks);
    if (!pk_keystore_must_be_open(ks, err))
        return false;
    if (!pk_opened_close(ks->opened, opener, db->name, fp)) {
        pk_fail(err, PK_E_STATE, "this session has not opened the master key of database \"%s\"",
                db->name);
        return pk_error_hint(err, "A key that lay unused for keys.open_idle_timeout is closed.");
    }
    pk_row_audit audited = *audit;
    audited.fp = fp;
    return pk_catalog_begin(ks->catalog, err) && pk_ring_end_change(ks, true, &audited, err);
}

void pk_keystore_forget_session(pk_keystore *ks, uint64_t session)
{
    PK_RING_LOCKED(ks);
    pk_opened_forget(ks->opened, session);
}

void pk_keystore_set_open_idle(pk_keystore *ks, uint32_t ms)
{
    PK_RING_LOCKED(ks);
    pk_opened_set_idle(ks->opened, ms);
}

void pk_keystore_expire_opened(pk_keystore *ks)
{
    PK_RING_LOCKED(ks);
    pk_opened_expire(ks->opened);
}
