/*
 * What the statements other than OPEN and RESTORE do to keys: create, export into a key file, list;
 * and the data keys that a master key protects outside the catalog.
 */
#include "engine/keyring.h"

#include "base/encode.h"
#include "crypto/kdf.h"
#include "crypto/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_ARENA (4u << 20)

static bool refuse_existing(pk_keystore *ks, const pk_database *db, pk_arena *arena, pk_error *err)
{
    pk_ring_key ring = {0};
    if (!pk_ring_find_dmk(ks, db, arena, &ring, err))
        return false;
    if (ring.key == NULL)
        return true;
    pk_fail(err, PK_E_DUPLICATE_OBJECT, "database \"%s\" has a master key already", db->name);
    if (!pk_ring_is_of(ring.key, db))
        pk_error_detail(err, "It was made for a database of that name, or of this OID, before.");
    return pk_error_hint(err, "A restore can replace it; SHOW MASTER KEYS shows it.");
}

/* `by_password` NULL: the service master key alone protects it. */
static bool insert_dmk(pk_keystore *ks, pk_row_key *row, const pk_secret *dmk,
                       const pk_ring_parent *by_password, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    pk_ring_parent smk;
    PK_AUTO_PTR(pk_secret_free) pk_secret *smk_secret = pk_ring_smk_parent(ks, &arena, &smk, err);
    if (smk_secret == NULL)
        return false;
    const pk_ring_child child = {.key = row, .ver = 1, .secret = dmk};
    return pk_catalog_insert(ks->catalog, PK_TABLE_KEY, row, err) &&
           pk_ring_add_version(ks, &child, "current", "generated", err) &&
           pk_ring_add_wrap(ks, &child, &smk, &arena, err) &&
           (by_password == NULL || pk_ring_add_wrap(ks, &child, by_password, &arena, err));
}

static bool may_create(pk_keystore *ks, const pk_database *db, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    return pk_keystore_must_be_open(ks, err) && refuse_existing(ks, db, &arena, err);
}

/* Before a password is worth 0.4 seconds of the processor. */
static bool may_create_at_all(pk_keystore *ks, const pk_database *db, pk_error *err)
{
    PK_RING_LOCKED(ks);
    return may_create(ks, db, err);
}

static bool create_locked(pk_keystore *ks, const pk_database *db, const pk_ring_parent *by_password,
                          const pk_row_audit *audit, pk_key_brief *brief, pk_error *err)
{
    PK_RING_LOCKED(ks);
    PK_AUTO_PTR(pk_secret_free) pk_secret *dmk = pk_secret_random(PK_KEY_LEN, err);
    pk_row_key row = pk_ring_new_row(ks, db, audit->actor);
    uint8_t fp[PK_FP_LEN];
    if (dmk == NULL || !pk_random_uuid(row.uuid, err) || !pk_fingerprint(dmk, fp, err) ||
        !may_create(ks, db, err))
        return false;
    *brief = (pk_key_brief){.version = 1};
    memcpy(brief->uuid, row.uuid, sizeof brief->uuid);
    pk_fingerprint_text(fp, brief->fingerprint);
    pk_row_audit audited = *audit;
    audited.fp = brief->fingerprint;
    return pk_catalog_begin(ks->catalog, err) &&
           pk_ring_end_change(ks, insert_dmk(ks, &row, dmk, by_password, err), &audited, err);
}

bool pk_keystore_create_dmk(pk_keystore *ks, const pk_database *db, const pk_secret *password,
                            const pk_row_audit *audit, pk_key_brief *brief, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4096);
    pk_ring_parent by_password;
    if (password == NULL)
        return create_locked(ks, db, NULL, audit, brief, err);
    if (!may_create_at_all(ks, db, err))
        return false;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *key = pk_ring_password_parent(password, &arena, &by_password, err);
    return key != NULL && create_locked(ks, db, &by_password, audit, brief, err);
}

static bool export_version(pk_keystore *ks, const pk_ring_key *ring, const pk_row_key_version *v,
                           const pk_ring_asker *asker, pk_keyset *set, pk_error *err)
{
    pk_keyset_key *out = pk_keyset_add(set, err);
    if (out == NULL)
        return false;
    memcpy(out->uuid, ring->key->uuid, sizeof out->uuid);
    out->ver = (uint32_t)v->ver;
    out->kind = pk_arena_strdup(&set->arena, ring->key->kind, err);
    out->scope = pk_arena_strdup(&set->arena, ring->key->scope, err);
    out->db = pk_arena_strdup(&set->arena, ring->key->db_name, err);
    out->name = pk_arena_strdup(&set->arena, ring->key->name, err);
    out->state = pk_arena_strdup(&set->arena, v->state, err);
    out->purpose = pk_arena_strdup(&set->arena, ring->key->purpose, err);
    out->origin = pk_arena_strdup(&set->arena, v->origin, err);
    out->exportable = ring->key->exportable != 0;
    out->created_at = v->created_at;
    if (out->kind == NULL || out->scope == NULL || out->db == NULL || out->name == NULL ||
        out->state == NULL || out->purpose == NULL || out->origin == NULL)
        return false;
    out->key = pk_ring_open(ks, ring, v->ver, asker, err);
    return out->key != NULL && pk_fingerprint(out->key, out->fp, err);
}

static bool is_exported(const char *state)
{
    return strcmp(state, "current") == 0 || strcmp(state, "retired") == 0 ||
           strcmp(state, "disabled") == 0 || strcmp(state, "compromised") == 0;
}

static bool export_key(pk_keystore *ks, const pk_ring_key *ring, const pk_ring_asker *asker,
                       pk_keyset *set, pk_error *err)
{
    for (size_t i = 0; i < ring->version_count; i++)
        if (is_exported(ring->versions[i].state) &&
            !export_version(ks, ring, &ring->versions[i], asker, set, err))
            return false;
    if (set->count == 0)
        return pk_fail(err, PK_E_STATE, "the %s has no live version",
                       pk_ring_label(ring->key, &set->arena));
    char head[65];
    if (!pk_catalog_audit_head(ks->catalog, head, &set->store_epoch, err))
        return false;
    set->audit_head = pk_arena_strdup(&set->arena, head, err);
    set->created_at = pk_keystore_now(ks);
    memcpy(set->store_uuid, ks->uuid, sizeof set->store_uuid);
    return set->audit_head != NULL;
}

bool pk_keystore_export_smk(pk_keystore *ks, pk_keyset *set, pk_key_brief *brief, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    PK_RING_LOCKED(ks);
    pk_ring_key ring = {0};
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_find_smk(ks, &arena, &ring, err))
        return false;
    pk_ring_brief(&ring, brief);
    return export_key(ks, &ring, NULL, set, err);
}

bool pk_keystore_export_dmk(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                            pk_keyset *set, pk_key_brief *brief, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    const pk_ring_asker asker = {.opener = opener, .db = db};
    PK_RING_LOCKED(ks);
    pk_ring_key ring = {0};
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_find_dmk(ks, db, &arena, &ring, err))
        return false;
    if (ring.key == NULL) {
        pk_fail(err, PK_E_UNDEFINED_OBJECT, "database \"%s\" has no master key", db->name);
        return pk_error_hint(err, "CREATE MASTER KEY makes one.");
    }
    pk_ring_brief(&ring, brief);
    brief->dropped_database = db->oid == 0;
    brief->recreated_database = db->oid != 0 && !pk_ring_is_of(ring.key, db);
    return export_key(ks, &ring, &asker, set, err);
}

static pk_secret *kek_of(pk_keystore *ks, const pk_ring_key *smk, int64_t ver, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_ring_open(ks, smk, ver, NULL, err);
    return secret == NULL ? NULL : pk_hkdf(secret, PK_LABEL_KEK, PK_SPAN(""), err);
}

pk_secret *pk_keystore_kek(pk_keystore *ks, char id[static PK_KEYFILE_ID_MAX], pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    PK_RING_LOCKED(ks);
    pk_ring_key smk = {0};
    char uuid[37];
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_find_smk(ks, &arena, &smk, err))
        return NULL;
    pk_uuid_text(smk.key->uuid, uuid);
    snprintf(id, PK_KEYFILE_ID_MAX, "keystore %s v%lld", uuid, (long long)smk.key->current_ver);
    return kek_of(ks, &smk, smk.key->current_ver, err);
}

/* "keystore <uuid> v<n>" */
static bool parse_id(const char *id, uint8_t uuid[static 16], int64_t *ver)
{
    static const char prefix[] = "keystore ";
    const size_t head = sizeof prefix - 1;
    if (strncmp(id, prefix, head) != 0 || strlen(id) < head + 36 + 3)
        return false;
    if (!pk_uuid_parse(pk_span_bytes(id + head, 36), uuid) || strncmp(id + head + 36, " v", 2) != 0)
        return false;
    char *end;
    *ver = strtoll(id + head + 38, &end, 10);
    return *end == '\0' && *ver > 0;
}

pk_secret *pk_keystore_kek_by_id(pk_keystore *ks, const char *id, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    PK_RING_LOCKED(ks);
    pk_ring_key smk = {0};
    uint8_t uuid[16];
    int64_t ver = 0;
    if (!parse_id(id, uuid, &ver)) {
        pk_fail(err, PK_E_CORRUPT, "a recipient of the file is not a keystore");
        return NULL;
    }
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_find_uuid(ks, uuid, &arena, &smk, err))
        return NULL;
    if (smk.key == NULL || !pk_ring_is_smk(smk.key) || pk_ring_version(&smk, ver) == NULL) {
        pk_fail(err, PK_E_UNDEFINED_OBJECT,
                "this keystore does not have the service master key that opens the file");
        return NULL;
    }
    return kek_of(ks, &smk, ver, err);
}

static int64_t backup_time(const pk_rows *backups, int64_t id)
{
    const pk_row_key_backup *list = backups->list;
    for (size_t i = 0; i < backups->count; i++)
        if (list[i].id == id)
            return list[i].created_at;
    return 0;
}

static bool is_opened(const pk_keystore *ks, const pk_ring_key *ring, const pk_opener *opener)
{
    pk_opened_key key = {.opener = opener};
    memcpy(key.uuid, ring->key->uuid, sizeof key.uuid);
    return pk_opened_has(ks->opened, &key, ring->key->current_ver);
}

/* When it was backed up, and whether that copy still is the whole key. */
static void describe_backup(const pk_ring_key *ring, const pk_rows *backups, pk_key_info *info)
{
    info->backed_up = "never";
    for (size_t i = 0; i < ring->version_count; i++) {
        const pk_row_key_version *v = &ring->versions[i];
        if (v->covered_by == 0)
            continue;
        const int64_t at = backup_time(backups, v->covered_by);
        if (at > info->last_backup_at)
            info->last_backup_at = at;
        if (v->ver == info->version)
            info->backed_up = "yes";
        else if (strcmp(info->backed_up, "never") == 0)
            info->backed_up = "stale";
    }
}

static void describe(const pk_ring_key *ring, const pk_rows *backups, pk_key_info *info)
{
    pk_key_brief brief;
    pk_ring_brief(ring, &brief);
    *info = (pk_key_info){.database = pk_ring_is_smk(ring->key) ? NULL : ring->key->db_name,
                          .db_oid = ring->key->db_oid,
                          .version = brief.version,
                          .created_at = ring->key->created_at,
                          .modified_at = ring->key->modified_at,
                          .state = ring->damaged ? "damaged" : ring->key->state};
    memcpy(info->uuid, brief.uuid, sizeof info->uuid);
    memcpy(info->fingerprint, brief.fingerprint, sizeof info->fingerprint);
    for (size_t i = 0; i < ring->wrap_count; i++) {
        const pk_row_wrap *w = &ring->wraps[i];
        if (w->ver == brief.version && pk_ring_usable(ring, i) && strcmp(w->by, "password") == 0)
            info->passwords++;
    }
    info->by_server =
        pk_ring_has_wrap(ring, brief.version, "smk") || pk_ring_has_wrap(ring, brief.version, "sk");
    describe_backup(ring, backups, info);
}

bool pk_keystore_list(pk_keystore *ks, const pk_opener *opener, pk_arena *arena, pk_key_info **list,
                      size_t *count, pk_error *err)
{
    PK_RING_LOCKED(ks);
    pk_ring_key *rings;
    pk_rows backups = {0};
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_all(ks, arena, &rings, count, err) ||
        !pk_catalog_rows(ks->catalog, PK_TABLE_KEY_BACKUP, NULL, arena, &backups, err))
        return false;
    *list = pk_arena_array(arena, *count + 1, sizeof **list, err);
    if (*list == NULL)
        return false;
    for (size_t i = 0; i < *count; i++) {
        describe(&rings[i], &backups, &(*list)[i]);
        (*list)[i].open = (*list)[i].by_server || is_opened(ks, &rings[i], opener);
    }
    return true;
}

/* Lives outside the catalog, so it must open in another store: no store uuid, no database name. */
static pk_wrap_context data_context(const pk_data_wrap *wrap)
{
    pk_wrap_context context = {.parent_kind = "dmk",
                               .parent_ver = (uint32_t)wrap->ver,
                               .child_kind = "data key",
                               .child_ver = 1,
                               .child_alg = "A256",
                               .purpose = "wrap",
                               .owner_scope = ""};
    memcpy(context.parent_uuid, wrap->key_uuid, sizeof context.parent_uuid);
    memcpy(context.child_uuid, wrap->chain, sizeof context.child_uuid);
    return context;
}

bool pk_keystore_wrap_data_key(pk_keystore *ks, const pk_database *db, const pk_opener *opener,
                               const pk_secret *data_key, pk_data_wrap *wrap, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    PK_AUTO(pk_buf_clear) pk_buf blob = PK_BUF_MAX(256);
    const pk_ring_asker asker = {.opener = opener, .db = db};
    PK_RING_LOCKED(ks);
    pk_ring_key ring = {0};
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_find_dmk(ks, db, &arena, &ring, err))
        return false;
    if (ring.key == NULL)
        return pk_fail(err, PK_E_UNDEFINED_OBJECT, "database \"%s\" has no master key", db->name);
    *wrap = (pk_data_wrap){.ver = ring.key->current_ver};
    memcpy(wrap->key_uuid, ring.key->uuid, sizeof wrap->key_uuid);
    PK_AUTO_PTR(pk_secret_free) pk_secret *dmk = pk_ring_open(ks, &ring, wrap->ver, &asker, err);
    if (dmk == NULL || !pk_fingerprint(dmk, wrap->fp, err) || !pk_random_uuid(wrap->chain, err))
        return false;
    pk_wrap_context context = data_context(wrap);
    if (!pk_wrap(dmk, &context, data_key, &blob, err))
        return false;
    pk_span bytes = pk_buf_span(&blob);
    if (bytes.len != sizeof wrap->blob)
        return pk_fail(err, PK_E_INTERNAL, "a data key has %zu bytes", pk_secret_len(data_key));
    memcpy(wrap->blob, bytes.ptr, sizeof wrap->blob);
    return true;
}

/* By uuid and version; else by fingerprint: the same key under another name. */
static bool find_wrapping_key(pk_keystore *ks, const pk_data_wrap *wrap, pk_arena *arena,
                              pk_ring_key *ring, int64_t *ver, pk_error *err)
{
    if (!pk_ring_find_uuid(ks, wrap->key_uuid, arena, ring, err))
        return false;
    if (ring->key != NULL && pk_ring_version(ring, wrap->ver) != NULL) {
        *ver = wrap->ver;
        return true;
    }
    pk_ring_key *all;
    size_t count;
    if (!pk_ring_all(ks, arena, &all, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < all[i].version_count; v++)
            if (pk_span_equal(all[i].versions[v].fp, pk_span_bytes(wrap->fp, sizeof wrap->fp))) {
                *ring = all[i];
                *ver = all[i].versions[v].ver;
                return true;
            }
    char text[PK_FP_TEXT];
    pk_fingerprint_text(wrap->fp, text);
    pk_fail(err, PK_E_UNDEFINED_OBJECT, "this keystore does not have key %s", text);
    return pk_error_hint(err, "Restore the key from its key backup.");
}

pk_secret *pk_keystore_unwrap_data_key(pk_keystore *ks, const pk_opener *opener,
                                       const pk_data_wrap *wrap, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    PK_RING_LOCKED(ks);
    const pk_ring_asker asker = {.opener = opener};
    pk_ring_key ring = {0};
    int64_t ver = 0;
    if (!pk_keystore_must_be_open(ks, err) ||
        !find_wrapping_key(ks, wrap, &arena, &ring, &ver, err))
        return NULL;
    PK_AUTO_PTR(pk_secret_free) pk_secret *dmk = pk_ring_open(ks, &ring, ver, &asker, err);
    if (dmk == NULL)
        return NULL;
    pk_wrap_context context = data_context(wrap);
    return pk_unwrap(dmk, &context, pk_span_bytes(wrap->blob, sizeof wrap->blob), err);
}
