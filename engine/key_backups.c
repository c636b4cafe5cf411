/*
 * Key backups: which verified file holds which versions of which keys. A file is recorded when it
 * was written, or when a key was restored from it; every row covers the versions in it, and what
 * was never covered is what SHOW MASTER KEYS warns about (keys-and-security 5.2).
 */
#include "engine/keyring.h"

#include "base/encode.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#define RING_ARENA    (4u << 20)
#define LIST_ARENA    (64u << 20)
#define CONTENTS_ITEM (36 + 1) /* "<uuid>:", before the version */

/* {"keys":["<uuid>:<ver>",..]}: what the file contains. */
static const char *contents_json(const pk_keyset *set, pk_arena *arena, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf json = PK_BUF_MAX(1u << 20);
    if (!pk_buf_append_text(&json, "{\"keys\":[", err))
        return NULL;
    for (size_t i = 0; i < set->count; i++) {
        char uuid[37];
        pk_uuid_text(set->keys[i].uuid, uuid);
        if (!pk_buf_printf(&json, err, "%s\"%s:%u\"", i == 0 ? "" : ",", uuid, set->keys[i].ver))
            return NULL;
    }
    if (!pk_buf_append_text(&json, "]}", err))
        return NULL;
    pk_span text = pk_buf_span(&json);
    return pk_arena_strndup(arena, text.ptr, text.len, err);
}

/* The version may be gone by now (a restore between file and record): then there is nothing to
 * cover. */
static bool cover(pk_keystore *ks, const pk_keyset_key *key, int64_t backup, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(RING_ARENA);
    pk_ring_key ring = {0};
    if (!pk_ring_find_uuid(ks, key->uuid, &arena, &ring, err))
        return false;
    pk_row_key_version *v =
        ring.key == NULL || ring.damaged ? NULL : pk_ring_version(&ring, key->ver);
    if (v == NULL || v->covered_by >= backup) /* ids grow: there is a newer file */
        return true;
    v->covered_by = backup;
    return pk_catalog_update(ks->catalog, PK_TABLE_KEY_VERSION, v, err);
}

static bool cover_all(pk_keystore *ks, const pk_keyset *set, int64_t backup, pk_error *err)
{
    for (size_t i = 0; i < set->count; i++)
        if (!cover(ks, &set->keys[i], backup, err))
            return false;
    return true;
}

/* `public_key`: of the file's signer. */
static bool record_one(pk_keystore *ks, const pk_backup_record *record, const pk_keyset *set,
                       const uint8_t *public_key, const char *actor, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(2u << 20);
    uint8_t signer[16];
    if (!pk_identity_fingerprint(public_key, signer, err))
        return false;
    const int64_t now = pk_keystore_now(ks);
    pk_row_key_backup row = {.dest_redacted = record->destination,
                             .sha256 = pk_span_bytes(record->sha256, sizeof record->sha256),
                             .size = (int64_t)record->size,
                             .recipients_json = record->recipients_json,
                             .contents_json = contents_json(set, &arena, err),
                             .signer_fp = pk_span_bytes(signer, sizeof signer),
                             .verified_at = now,
                             .created_by = actor,
                             .created_at = now};
    return row.contents_json != NULL &&
           pk_catalog_insert(ks->catalog, PK_TABLE_KEY_BACKUP, &row, err) &&
           cover_all(ks, set, row.id, err);
}

/* *id 0: this file was never recorded. */
static bool find_file(pk_keystore *ks, const uint8_t sha256[static 32], int64_t *id, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena scratch = PK_ARENA_MAX(LIST_ARENA);
    pk_rows rows = {0};
    *id = 0;
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_KEY_BACKUP, NULL, &scratch, &rows, err))
        return false;
    const pk_row_key_backup *list = rows.list;
    for (size_t i = 0; i < rows.count; i++)
        if (pk_span_equal(list[i].sha256, pk_span_bytes(sha256, 32)))
            *id = list[i].id;
    return true;
}

bool pk_ring_record_source(pk_keystore *ks, const pk_keyset *set, const pk_backup_record *source,
                           const char *actor, pk_error *err)
{
    int64_t known = 0;
    if (source == NULL)
        return true;
    if (!find_file(ks, source->sha256, &known, err))
        return false;
    return known != 0 ? cover_all(ks, set, known, err)
                      : record_one(ks, source, set, set->signer, actor, err);
}

bool pk_keystore_record_backups(pk_keystore *ks, const pk_backup_record *records, size_t count,
                                const pk_row_audit *audit, pk_error *err)
{
    PK_RING_LOCKED(ks);
    if (!pk_keystore_must_be_open(ks, err) || !pk_catalog_begin(ks->catalog, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok =
            record_one(ks, &records[i], records[i].set, ks->identity.public_key, audit->actor, err);
    return pk_ring_end_change(ks, ok, audit, err);
}

/* ---- SHOW KEY BACKUPS ---- */

/* What a file holds of one key. */
typedef struct item {
    uint8_t uuid[16];
    int64_t ver; /* the newest */
} item;

typedef struct listing {
    pk_arena *arena;
    const pk_ring_key *rings;
    size_t ring_count;
    pk_backup_info *list;
    size_t count, room;
} listing;

static const pk_ring_key *ring_of(const listing *l, const uint8_t uuid[static 16])
{
    for (size_t i = 0; i < l->ring_count; i++)
        if (memcmp(l->rings[i].key->uuid, uuid, 16) == 0)
            return &l->rings[i];
    return NULL;
}

static pk_backup_info *new_info(listing *l, pk_error *err)
{
    if (l->count == l->room) {
        const size_t room = l->room == 0 ? 64 : 2 * l->room;
        pk_backup_info *bigger = pk_arena_array(l->arena, room, sizeof *bigger, err);
        if (bigger == NULL)
            return NULL;
        if (l->count > 0)
            memcpy(bigger, l->list, l->count * sizeof *bigger);
        l->list = bigger;
        l->room = room;
    }
    return &l->list[l->count++];
}

/* A key that is not in the catalog (any more) is shown without its name. */
static bool add_info(listing *l, const pk_row_key_backup *row, bool verified, const item *what,
                     pk_error *err)
{
    const pk_ring_key *ring = ring_of(l, what->uuid);
    const bool smk = ring != NULL && pk_ring_is_smk(ring->key);
    pk_backup_info *info = new_info(l, err);
    if (info == NULL)
        return false;
    *info = (pk_backup_info){.database = smk            ? NULL
                                         : ring == NULL ? ""
                                                        : ring->key->db_name,
                             .db_oid = ring == NULL ? 0 : ring->key->db_oid,
                             .kind = smk ? "service master key" : "database master key",
                             .destination = row->dest_redacted,
                             .version = what->ver,
                             .encrypted = true,
                             .stale = ring != NULL && ring->key->current_ver > what->ver,
                             .verified = verified && row->verified_at != 0,
                             .created_at = row->created_at,
                             .recipients_json = row->recipients_json};
    const pk_row_key_version *v = ring == NULL ? NULL : pk_ring_version(ring, what->ver);
    if (v != NULL && v->fp.len == PK_FP_LEN)
        pk_fingerprint_text((const uint8_t *)v->fp.ptr, info->fingerprint);
    return true;
}

/* "<uuid>:<ver>" */
static bool parse_item(const char *text, item *out)
{
    char *end = NULL;
    if (text == NULL || strlen(text) <= CONTENTS_ITEM || text[CONTENTS_ITEM - 1] != ':' ||
        !pk_uuid_parse(pk_span_bytes(text, 36), out->uuid))
        return false;
    out->ver = strtoll(text + CONTENTS_ITEM, &end, 10);
    return *end == '\0' && out->ver > 0;
}

/* Versions of one key stand together in a file: one item a key, with the newest version. */
static void merge_item(item *items, size_t *count, const item *one)
{
    for (size_t i = 0; i < *count; i++)
        if (memcmp(items[i].uuid, one->uuid, sizeof one->uuid) == 0) {
            if (one->ver > items[i].ver)
                items[i].ver = one->ver;
            return;
        }
    items[(*count)++] = *one;
}

static bool read_items(const char *contents, pk_arena *arena, item **items, size_t *count,
                       pk_error *err)
{
    *count = 0;
    PK_AUTO(pk_json_unref) json_t *root = pk_json_parse(pk_span_of(contents), err);
    const json_t *keys = json_object_get(root, "keys");
    *items =
        root == NULL ? NULL : pk_arena_array(arena, json_array_size(keys) + 1, sizeof **items, err);
    if (*items == NULL)
        return false;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        item one;
        if (!parse_item(json_string_value(json_array_get(keys, i)), &one))
            return pk_fail(err, PK_E_CORRUPT, "the contents of a key backup are damaged");
        merge_item(*items, count, &one);
    }
    return true;
}

/* These rows have no MAC: one whose contents cannot be read is shown all the same, as a file that
 * nobody verified. */
static bool add_file(listing *l, const pk_row_key_backup *row, pk_error *err)
{
    static const item unknown;
    item *items;
    size_t count;
    pk_error why = {0};
    if (!read_items(row->contents_json == NULL ? "" : row->contents_json, l->arena, &items, &count,
                    &why)) {
        if (pk_error_is(&why, PK_E_CORRUPT))
            return add_info(l, row, false, &unknown, err);
        *err = why;
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!add_info(l, row, true, &items[i], err))
            return false;
    return true;
}

/* Rows come in the order of their ids, which is the order of time. */
bool pk_keystore_backups(pk_keystore *ks, pk_arena *arena, pk_backup_info **list, size_t *count,
                         pk_error *err)
{
    pk_rows rows = {0};
    pk_ring_key *rings;
    listing l = {.arena = arena};
    PK_RING_LOCKED(ks);
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_all(ks, arena, &rings, &l.ring_count, err) ||
        !pk_catalog_rows(ks->catalog, PK_TABLE_KEY_BACKUP, NULL, arena, &rows, err))
        return false;
    l.rings = rings;
    const pk_row_key_backup *files = rows.list;
    for (size_t i = rows.count; i > 0; i--)
        if (!add_file(&l, &files[i - 1], err))
            return false;
    *list = l.list;
    *count = l.count;
    return true;
}
