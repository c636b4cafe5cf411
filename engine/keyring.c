/*
 * Loads the rows of a key and opens its versions. Nothing is cached: every use reads rows, checks
 * their MACs and compares the fingerprint of what was opened, so a damaged or exchanged row is an
 * error at its first use and never a wrong key.
 */
#include "engine/keyring.h"

#include "crypto/kdf.h"

#include <string.h>

#define SCRATCH_MAX (64u << 20) /* some 100,000 keys */
#define RING_MAX    (1u << 20)

bool pk_ring_is_smk(const pk_row_key *key)
{
    return strcmp(key->kind, "smk") == 0;
}

const char *pk_ring_label(const pk_row_key *key, pk_arena *arena)
{
    pk_error dropped;
    if (pk_ring_is_smk(key))
        return "service master key";
    const char *label =
        pk_arena_printf(arena, &dropped, "master key of database \"%s\"", key->db_name);
    return label == NULL ? "database master key" : label;
}

static bool load_parts(pk_keystore *ks, pk_row_key *key, bool damaged, pk_arena *arena,
                       pk_ring_key *ring, pk_error *err)
{
    pk_rows versions = PK_ROWS_MARK;
    pk_rows wraps = PK_ROWS_MARK;
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_KEY_VERSION, key->uuid, arena, &versions, err) ||
        !pk_catalog_rows(ks->catalog, PK_TABLE_WRAP, key->uuid, arena, &wraps, err))
        return pk_error_wrap(err, "the %s is not usable", pk_ring_label(key, arena));
    *ring = (pk_ring_key){.key = key,
                          .versions = versions.list,
                          .version_damaged = versions.damaged,
                          .version_count = versions.count,
                          .wraps = wraps.list,
                          .wrap_damaged = wraps.damaged,
                          .wrap_count = wraps.count,
                          .key_damaged = damaged,
                          .damaged = damaged};
    for (size_t i = 0; i < versions.count; i++)
        ring->damaged = ring->damaged || versions.damaged[i];
    return true;
}

bool pk_ring_find_uuid(pk_keystore *ks, const uint8_t uuid[static 16], pk_arena *arena,
                       pk_ring_key *ring, pk_error *err)
{
    pk_rows rows = PK_ROWS_MARK;
    *ring = (pk_ring_key){0};
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_KEY, uuid, arena, &rows, err))
        return false;
    return rows.count == 0 || load_parts(ks, rows.list, rows.damaged[0], arena, ring, err);
}

pk_row_key pk_ring_new_row(const pk_keystore *ks, const pk_database *db, const char *actor)
{
    const int64_t now = pk_keystore_now(ks);
    return (pk_row_key){.scope = db == NULL ? "service" : "db",
                        .db_oid = db == NULL ? 0 : db->oid,
                        .db_name = db == NULL ? "" : db->name,
                        .kind = db == NULL ? "smk" : "dmk",
                        .name = "master",
                        .alg = "A256",
                        .purpose = "wrap",
                        .exportable = 1,
                        .state = "active",
                        .current_ver = 1,
                        .created_at = now,
                        .modified_at = now,
                        .created_by = actor};
}

static bool is_live(const pk_row_key *key)
{
    return strcmp(key->state, "retired") != 0 && strcmp(key->state, "destroyed") != 0;
}

bool pk_ring_is_of(const pk_row_key *key, const pk_database *db)
{
    return key->db_oid == db->oid && strcmp(key->db_name, db->name) == 0;
}

/* How well a row fits: 0 not at all. The service master key fits a NULL database. */
static int fit(const pk_row_key *key, const pk_database *db)
{
    if (!is_live(key) || strcmp(key->name, "master") != 0 || pk_ring_is_smk(key) != (db == NULL))
        return 0;
    if (db == NULL || pk_ring_is_of(key, db))
        return 3;
    if (strcmp(key->db_name, db->name) == 0)
        return 2;
    return db->oid != 0 && key->db_oid == db->oid ? 1 : 0;
}

/* The list of all keys lives in an arena of its own: however many there are, the caller's only gets
 * one. */
static bool find_best(pk_keystore *ks, const pk_database *db, uint8_t uuid[static 16], int *how,
                      pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena scratch = PK_ARENA_MAX(SCRATCH_MAX);
    pk_rows rows = PK_ROWS_MARK;
    *how = 0;
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_KEY, NULL, &scratch, &rows, err))
        return false;
    const pk_row_key *keys = rows.list;
    for (size_t i = 0; i < rows.count; i++) {
        const int found = fit(&keys[i], db);
        if (found <= *how)
            continue;
        *how = found;
        memcpy(uuid, keys[i].uuid, 16);
    }
    return true;
}

bool pk_ring_find_smk(pk_keystore *ks, pk_arena *arena, pk_ring_key *ring, pk_error *err)
{
    uint8_t uuid[16];
    int how;
    if (!find_best(ks, NULL, uuid, &how, err) ||
        (how > 0 && !pk_ring_find_uuid(ks, uuid, arena, ring, err)))
        return false;
    return (how > 0 && ring->key != NULL) ||
           pk_fail(err, PK_E_CORRUPT, "the keystore has no service master key");
}

bool pk_ring_find_dmk(pk_keystore *ks, const pk_database *db, pk_arena *arena, pk_ring_key *ring,
                      pk_error *err)
{
    uint8_t uuid[16];
    int how;
    *ring = (pk_ring_key){0};
    if (!find_best(ks, db, uuid, &how, err))
        return false;
    if (how == 0 || (how == 1 && !db->privileged))
        return true;
    if (how == 2 && !db->privileged) {
        pk_fail(err, PK_E_PRIVILEGE,
                "the master key of database \"%s\" was made for another database of that name",
                db->name);
        return pk_error_hint(err,
                             "A superuser can tie it to this one by restoring it from its backup.");
    }
    return pk_ring_find_uuid(ks, uuid, arena, ring, err);
}

bool pk_ring_all(pk_keystore *ks, pk_arena *arena, pk_ring_key **list, size_t *count, pk_error *err)
{
    pk_rows rows = PK_ROWS_MARK;
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_KEY, NULL, arena, &rows, err))
        return false;
    pk_row_key *keys = rows.list;
    *count = rows.count;
    *list = pk_arena_array(arena, rows.count + 1, sizeof **list, err);
    if (*list == NULL)
        return false;
    for (size_t i = 0; i < rows.count; i++)
        if (!load_parts(ks, &keys[i], rows.damaged[i], arena, &(*list)[i], err))
            return false;
    return true;
}

pk_row_key_version *pk_ring_version(const pk_ring_key *ring, int64_t ver)
{
    for (size_t i = 0; i < ring->version_count; i++)
        if (ring->versions[i].ver == ver)
            return &ring->versions[i];
    return NULL;
}

void pk_ring_brief(const pk_ring_key *ring, pk_key_brief *brief)
{
    *brief = (pk_key_brief){.version = ring->key->current_ver};
    memcpy(brief->uuid, ring->key->uuid, sizeof brief->uuid);
    const pk_row_key_version *v = pk_ring_version(ring, ring->key->current_ver);
    if (v != NULL && v->fp.len == PK_FP_LEN)
        pk_fingerprint_text((const uint8_t *)v->fp.ptr, brief->fingerprint);
}

bool pk_ring_usable(const pk_ring_key *ring, size_t i)
{
    return ring->wraps[i].quarantined == 0 && !ring->wrap_damaged[i];
}

bool pk_ring_had_wrap(const pk_ring_key *ring, int64_t ver, const char *by)
{
    for (size_t i = 0; i < ring->wrap_count; i++)
        if (ring->wraps[i].ver == ver && strcmp(ring->wraps[i].by, by) == 0)
            return true;
    return false;
}

bool pk_ring_has_wrap(const pk_ring_key *ring, int64_t ver, const char *by)
{
    for (size_t i = 0; i < ring->wrap_count; i++) {
        const pk_row_wrap *w = &ring->wraps[i];
        if (w->ver == ver && pk_ring_usable(ring, i) && strcmp(w->by, by) == 0)
            return true;
    }
    return false;
}

/* The identity of parent and child, as it is authenticated by the wrap. */
static void wrap_context(pk_keystore *ks, const pk_row_key *key, const pk_row_wrap *row,
                         pk_wrap_context *context)
{
    *context = (pk_wrap_context){
        .parent_kind = row->by,
        .parent_ver = (uint32_t)row->parent_ver,
        .child_kind = key->kind,
        .child_ver = (uint32_t)row->ver,
        .child_alg = key->alg,
        .purpose = key->purpose,
        .flags = key->exportable != 0 ? PK_WRAP_EXPORTABLE : 0,
        .owner_scope = "service",
    };
    memcpy(context->store_uuid, ks->uuid, sizeof context->store_uuid);
    memcpy(context->parent_uuid, row->parent_uuid, sizeof context->parent_uuid);
    memcpy(context->child_uuid, key->uuid, sizeof context->child_uuid);
    if (strcmp(key->scope, "db") == 0)
        context->owner_scope = "db";
}

pk_secret *pk_ring_unwrap(pk_keystore *ks, const pk_row_key *key, const pk_row_wrap *row,
                          const pk_secret *parent, pk_error *err)
{
    pk_wrap_context context;
    wrap_context(ks, key, row, &context);
    return pk_unwrap(parent, &context, row->blob, err);
}

bool pk_ring_check(const pk_ring_key *ring, int64_t ver, const pk_secret *secret, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4096);
    uint8_t fp[PK_FP_LEN];
    const pk_row_key_version *v = pk_ring_version(ring, ver);
    if (v == NULL || v->fp.len != PK_FP_LEN)
        return pk_fail(err, PK_E_CORRUPT, "version %lld of the %s has no fingerprint",
                       (long long)ver, pk_ring_label(ring->key, &arena));
    if (!pk_fingerprint(secret, fp, err))
        return false;
    if (memcmp(fp, v->fp.ptr, sizeof fp) != 0)
        return pk_fail(err, PK_E_CORRUPT, "version %lld of the %s does not match its fingerprint",
                       (long long)ver, pk_ring_label(ring->key, &arena));
    return true;
}

/* A service master key: wrapped by the store key only. NULL without an error when no wrap is
 * usable. */
static pk_secret *open_by_store_key(pk_keystore *ks, const pk_ring_key *ring, int64_t ver,
                                    pk_error *err)
{
    for (size_t i = 0; i < ring->wrap_count; i++) {
        const pk_row_wrap *row = &ring->wraps[i];
        if (row->ver == ver && pk_ring_usable(ring, i) && strcmp(row->by, "sk") == 0)
            return pk_ring_unwrap(ks, ring->key, row, ks->store_key, err);
    }
    return NULL;
}

/* The service master key above a wrap, found by the uuid and version that the wrap names. */
static pk_secret *open_smk_above(pk_keystore *ks, const pk_row_wrap *row, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_MAX);
    pk_ring_key smk;
    if (!pk_ring_find_uuid(ks, row->parent_uuid, &arena, &smk, err))
        return NULL;
    if (smk.key == NULL || !pk_ring_is_smk(smk.key) || smk.damaged) {
        pk_fail(err, PK_E_CORRUPT, "the service master key above it is missing or damaged");
        return NULL;
    }
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = open_by_store_key(ks, &smk, row->parent_ver, err);
    if (secret == NULL || !pk_ring_check(&smk, row->parent_ver, secret, err)) {
        if (err->sqlstate[0] == '\0')
            pk_fail(err, PK_E_CORRUPT, "the service master key cannot be decrypted");
        return NULL;
    }
    return pk_steal(&secret);
}

/* One wrap, opened by what is at hand. NULL without an error when this wrap needs what we do not
 * have. */
static pk_secret *try_wrap(pk_keystore *ks, const pk_ring_key *ring, const pk_row_wrap *row,
                           pk_error *err)
{
    if (strcmp(row->by, "sk") == 0)
        return pk_ring_unwrap(ks, ring->key, row, ks->store_key, err);
    if (strcmp(row->by, "smk") != 0)
        return NULL;
    PK_AUTO_PTR(pk_secret_free) pk_secret *smk = open_smk_above(ks, row, err);
    return smk == NULL ? NULL : pk_ring_unwrap(ks, ring->key, row, smk, err);
}

static bool any_damaged_wrap(const pk_ring_key *ring)
{
    for (size_t i = 0; i < ring->wrap_count; i++)
        if (ring->wrap_damaged[i])
            return true;
    return false;
}

static pk_secret *no_way_in(const pk_ring_key *ring, const pk_error *last, pk_arena *arena,
                            pk_error *err)
{
    const char *label = pk_ring_label(ring->key, arena);
    if (strcmp(ring->key->state, "quarantined") == 0 && last->sqlstate[0] == '\0') {
        pk_fail(err, PK_E_STATE, "the %s is quarantined", label);
        pk_error_hint(err, "RESTORE SERVICE MASTER KEY of the key it was made under, or RESTORE of "
                           "its own backup, heals it.");
    } else if (last->sqlstate[0] == '\0' && any_damaged_wrap(ring)) {
        pk_fail(err, PK_E_CORRUPT, "a wrap of the %s is damaged, and no other one opens it", label);
    } else if (last->sqlstate[0] == '\0') {
        pk_fail(err, PK_E_STATE, "the %s is not open", label);
        pk_error_detail(err, "It is not protected by the service master key, only by a password.");
        pk_error_hint(err,
                      "OPEN MASTER KEY DECRYPTION BY PASSWORD opens it for this session; ALTER "
                      "SYSTEM RESTORE KEY has the service master key protect it.");
    } else if (pk_error_is(last, PK_E_PASSWORD)) {
        pk_fail(err, PK_E_CORRUPT, "the %s cannot be decrypted", label);
        pk_error_detail(err, "Its wrap, or the key above it, is damaged.");
    } else {
        *err = *last;
        pk_error_wrap(err, "the %s cannot be opened", label);
    }
    return NULL;
}

/* A copy of what the asker opened. NULL without an error: it is not open, or no longer this key. */
static pk_secret *open_by_asker(pk_keystore *ks, const pk_ring_key *ring, int64_t ver,
                                const pk_ring_asker *asker, pk_error *err)
{
    if (asker == NULL)
        return NULL;
    pk_opened_key key = {.opener = asker->opener, .db = asker->db};
    memcpy(key.uuid, ring->key->uuid, sizeof key.uuid);
    const pk_secret *found = pk_opened_find(ks->opened, &key, ver);
    if (found == NULL || !pk_ring_check(ring, ver, found, NULL))
        return NULL;
    return pk_secret_copy(found, err);
}

static pk_secret *open_by_wraps(pk_keystore *ks, const pk_ring_key *ring, int64_t ver,
                                pk_error *last)
{
    for (size_t i = 0; i < ring->wrap_count; i++) {
        const pk_row_wrap *row = &ring->wraps[i];
        if (row->ver != ver || !pk_ring_usable(ring, i))
            continue;
        PK_AUTO_PTR(pk_secret_free) pk_secret *secret = try_wrap(ks, ring, row, last);
        if (secret != NULL && pk_ring_check(ring, ver, secret, last))
            return pk_steal(&secret);
    }
    return NULL;
}

pk_secret *pk_ring_open(pk_keystore *ks, const pk_ring_key *ring, int64_t ver,
                        const pk_ring_asker *asker, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4096);
    pk_error last = {0};
    if (ring->damaged) {
        pk_fail(err, PK_E_CORRUPT, "the catalog rows of the %s are damaged",
                pk_ring_label(ring->key, &arena));
        pk_error_hint(err, "RESTORE of its backup with FORCE mends them.");
        return NULL;
    }
    pk_secret *secret = open_by_asker(ks, ring, ver, asker, &last);
    if (secret == NULL)
        secret = open_by_wraps(ks, ring, ver, &last);
    return secret != NULL ? secret : no_way_in(ring, &last, &arena, err);
}

static const char *copy_kdf(const pk_kdf_params *params, pk_arena *arena, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf json = PK_BUF_MAX(1024);
    if (!pk_kdf_params_write(params, &json, err))
        return NULL;
    pk_span text = pk_buf_span(&json);
    return pk_arena_strndup(arena, text.ptr, text.len, err);
}

pk_secret *pk_ring_password_parent(const pk_secret *password, pk_arena *arena,
                                   pk_ring_parent *parent, pk_error *err)
{
    pk_kdf_params params;
    *parent = (pk_ring_parent){.by = "password"};
    if (!pk_kdf_params_new(PK_KDF_SCRYPT, &params, err))
        return NULL;
    parent->kdf_json = copy_kdf(&params, arena, err);
    if (parent->kdf_json == NULL)
        return NULL;
    pk_secret *key = pk_kdf_password(password, &params, err);
    parent->secret = key;
    return key;
}

static bool copy_span(pk_span bytes, pk_arena *arena, pk_span *out, pk_error *err)
{
    out->ptr = pk_arena_strndup(arena, bytes.ptr, bytes.len, err);
    out->len = bytes.len;
    return out->ptr != NULL;
}

bool pk_ring_wrap(pk_keystore *ks, const pk_ring_child *child, const pk_ring_parent *parent,
                  pk_arena *arena, pk_row_wrap *row, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf blob = PK_BUF_MAX(256);
    *row = (pk_row_wrap){.ver = child->ver,
                         .by = parent->by,
                         .parent_ver = parent->ver,
                         .kdf_json = parent->kdf_json};
    memcpy(row->key_uuid, child->key->uuid, sizeof row->key_uuid);
    memcpy(row->parent_uuid, parent->uuid, sizeof row->parent_uuid);
    if (parent->has_fp &&
        !copy_span(pk_span_bytes(parent->fp, PK_FP_LEN), arena, &row->parent_fp, err))
        return false;
    pk_wrap_context context;
    wrap_context(ks, child->key, row, &context);
    return pk_wrap(parent->secret, &context, child->secret, &blob, err) &&
           copy_span(pk_buf_span(&blob), arena, &row->blob, err);
}

pk_secret *pk_ring_smk_parent(pk_keystore *ks, pk_arena *arena, pk_ring_parent *parent,
                              pk_error *err)
{
    pk_ring_key smk;
    *parent = (pk_ring_parent){.by = "smk"};
    if (!pk_ring_find_smk(ks, arena, &smk, err))
        return NULL;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = pk_ring_open(ks, &smk, smk.key->current_ver, NULL, err);
    if (secret == NULL || !pk_fingerprint(secret, parent->fp, err))
        return NULL;
    parent->ver = smk.key->current_ver;
    memcpy(parent->uuid, smk.key->uuid, sizeof parent->uuid);
    parent->has_fp = true;
    parent->secret = secret;
    return pk_steal(&secret);
}

bool pk_ring_add_wrap(pk_keystore *ks, const pk_ring_child *child, const pk_ring_parent *parent,
                      pk_arena *arena, pk_error *err)
{
    pk_row_wrap row;
    return pk_ring_wrap(ks, child, parent, arena, &row, err) &&
           pk_catalog_insert(ks->catalog, PK_TABLE_WRAP, &row, err);
}

bool pk_ring_add_version(pk_keystore *ks, const pk_ring_child *child, const char *state,
                         const char *origin, pk_error *err)
{
    uint8_t fp[PK_FP_LEN];
    if (!pk_fingerprint(child->secret, fp, err))
        return false;
    pk_row_key_version row = {.ver = child->ver,
                              .state = state,
                              .origin = origin,
                              .fp = pk_span_bytes(fp, sizeof fp),
                              .created_at = ks->clock->wall_us(ks->clock)};
    memcpy(row.key_uuid, child->key->uuid, sizeof row.key_uuid);
    return pk_catalog_insert(ks->catalog, PK_TABLE_KEY_VERSION, &row, err);
}

bool pk_ring_end_change(pk_keystore *ks, bool ok, const pk_row_audit *audit, pk_error *err)
{
    if (ok && pk_catalog_commit(ks->catalog, audit, err))
        return true;
    pk_catalog_rollback(ks->catalog);
    return false;
}
