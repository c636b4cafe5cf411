/*
 * Slots and what statements do to them. The id of a slot stands in the context of its wrap, and the
 * catalog gives ids on insert; so a new row is inserted with an empty wrap and gets the real one in
 * the same transaction. The keystore's lock is not held while a password becomes a key: the checks
 * are made before, for a quick answer, and again after, for a true one.
 */
#include "engine/slots.h"

#include "base/utf8.h"
#include "crypto/kdf.h"
#include "crypto/recovery.h"
#include "engine/slot_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HKDF_JSON "{\"alg\":\"hkdf-sha256\"}"

static pk_wrap_context slot_context(const uint8_t store[static 16], int64_t id)
{
    pk_wrap_context context = {.parent_kind = "slot",
                               .parent_ver = (uint32_t)id,
                               .child_kind = "sk",
                               .child_ver = 1,
                               .child_alg = "A256",
                               .purpose = "wrap",
                               .owner_scope = "service"};
    memcpy(context.store_uuid, store, sizeof context.store_uuid);
    memcpy(context.child_uuid, store, sizeof context.child_uuid);
    return context;
}

/* The slot's key-encryption key: bound to this store by the HKDF context. */
static pk_secret *slot_kek(const pk_secret *secret, const uint8_t store[static 16], pk_error *err)
{
    return pk_hkdf(secret, PK_LABEL_SLOT, pk_span_bytes(store, 16), err);
}

pk_secret *pk_slot_password(const pk_secret *password, const pk_row_slot *slot, pk_error *err)
{
    pk_kdf_params params;
    if (!pk_kdf_params_read(pk_span_of(slot->kdf_json), &params, err))
        return NULL;
    return pk_kdf_password(password, &params, err);
}

pk_secret *pk_slot_unwrap(const uint8_t store[static 16], const pk_secret *secret,
                          const pk_row_slot *slot, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = slot_kek(secret, store, err);
    if (kek == NULL)
        return NULL;
    pk_wrap_context context = slot_context(store, slot->id);
    return pk_unwrap(kek, &context, slot->blob, err);
}

bool pk_slot_rows(pk_keystore *ks, pk_arena *arena, pk_row_slot **list, size_t *count,
                  pk_error *err)
{
    pk_rows rows = {0};
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_SLOT, NULL, arena, &rows, err))
        return false;
    *list = rows.list;
    *count = rows.count;
    return true;
}

static bool is_kind(const pk_row_slot *slot, const char *kind)
{
    return strcmp(slot->kind, kind) == 0;
}

/* The store key by the first `file` slot of the list that the root secret opens. */
static pk_secret *open_by_root(const pk_keystore *ks, const pk_secret *root,
                               const pk_row_slot *list, size_t count, pk_row_slot *slot)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_kind(&list[i], PK_SLOT_KIND_FILE))
            continue;
        pk_secret *store_key = pk_slot_unwrap(ks->uuid, root, &list[i], NULL);
        *slot = list[i];
        if (store_key != NULL)
            return store_key;
    }
    return NULL;
}

pk_secret *pk_slot_open_file(pk_keystore *ks, pk_arena *arena, pk_row_slot *slot, pk_error *err)
{
    pk_row_slot *list = NULL;
    size_t count = 0;
    bool any = false;
    if (!pk_slot_rows(ks, arena, &list, &count, err))
        return NULL;
    for (size_t i = 0; i < count; i++)
        any |= is_kind(&list[i], PK_SLOT_KIND_FILE);
    if (!any) {
        pk_fail(err, PK_E_UNDEFINED_OBJECT, "no unlock slot opens the keystore by itself");
        return NULL;
    }
    PK_AUTO_PTR(pk_secret_free) pk_secret *root = pk_slot_file_read(ks->state_fd, err);
    if (root == NULL)
        return NULL;
    pk_secret *store_key = open_by_root(ks, root, list, count, slot);
    if (store_key == NULL) {
        pk_fail(err, PK_E_PASSWORD,
                "the root secret \"" PK_SLOT_FILE_NAME "\" does not open the keystore");
        pk_error_hint(err, "Put back the root.key that belongs to this keystore.db.");
    }
    return store_key;
}

/* Is the slot's secret known to be there? People keep codes and passwords; root.key can be looked
 * at. */
static bool counts(const pk_keystore *ks, const pk_row_slot *slot, const pk_secret *root)
{
    if (!is_kind(slot, PK_SLOT_KIND_FILE))
        return true;
    if (root == NULL)
        return false;
    PK_AUTO_PTR(pk_secret_free) pk_secret *opened = pk_slot_unwrap(ks->uuid, root, slot, NULL);
    return opened != NULL;
}

pk_row_slot pk_slot_file_row(void)
{
    return (pk_row_slot){.kind = PK_SLOT_KIND_FILE,
                         .label = PK_SLOT_FILE_NAME,
                         .params_json = "{\"file\":\"" PK_SLOT_FILE_NAME "\"}",
                         .kdf_json = HKDF_JSON};
}

bool pk_slot_insert(pk_keystore *ks, const pk_secret *secret, const pk_row_slot *slot, int64_t *id,
                    pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf blob = PK_BUF_MAX(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = slot_kek(secret, ks->uuid, err);
    pk_row_slot row = *slot;
    row.created_at = pk_keystore_now(ks);
    row.blob = PK_SPAN("\0");
    if (kek == NULL || !pk_catalog_insert(ks->catalog, PK_TABLE_SLOT, &row, err))
        return false;
    pk_wrap_context context = slot_context(ks->uuid, row.id);
    if (!pk_wrap(kek, &context, ks->store_key, &blob, err))
        return false;
    row.blob = pk_buf_span(&blob);
    *id = row.id;
    return pk_catalog_update(ks->catalog, PK_TABLE_SLOT, &row, err);
}

bool pk_slot_used(pk_keystore *ks, const pk_row_slot *slot, pk_error *err)
{
    pk_row_slot row = *slot;
    row.last_ok_at = pk_keystore_now(ks);
    return pk_catalog_update(ks->catalog, PK_TABLE_SLOT, &row, err);
}

bool pk_slot_hint(const pk_keystore *ks, pk_error *err)
{
    static const char *const kinds[] = {PK_SLOT_KIND_FILE, PK_SLOT_KIND_PASSWORD,
                                        PK_SLOT_KIND_RECOVERY};
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_SLOT_ROWS_MAX);
    bool there[PK_COUNT(kinds)] = {false};
    char names[64] = "";
    pk_rows rows = {0};
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_SLOT, NULL, &arena, &rows, NULL))
        return false;
    const pk_row_slot *list = rows.list;
    for (size_t i = 0; i < rows.count; i++)
        for (size_t k = 0; k < PK_COUNT(kinds); k++)
            there[k] |= is_kind(&list[i], kinds[k]);
    for (size_t k = 0; k < PK_COUNT(kinds); k++) {
        const size_t len = strlen(names);
        if (there[k])
            (void)snprintf(names + len, sizeof names - len, "%s%s", len == 0 ? "" : ", ", kinds[k]);
    }
    if (there[2])
        return pk_error_hint(err, "Unlock slots: %s. Use UNSEAL WITH RECOVERY CODE = '...'.",
                             names);
    if (there[1])
        return pk_error_hint(err, "Unlock slots: %s. Use UNSEAL WITH PASSWORD = '...'.", names);
    return pk_error_hint(err, "Unlock slots: %s. Put back its root.key.", names);
}

/* What statements do */

bool pk_keystore_slots(pk_keystore *ks, pk_arena *arena, pk_row_slot **list, size_t *count,
                       pk_error *err)
{
    PK_RING_LOCKED(ks);
    return pk_slot_rows(ks, arena, list, count, err);
}

static bool may_add(pk_keystore *ks, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_SLOT_ROWS_MAX);
    pk_row_slot *list = NULL;
    size_t count = 0;
    if (!pk_keystore_must_be_open(ks, err) || !pk_slot_rows(ks, &arena, &list, &count, err))
        return false;
    if (count < PK_SLOT_MAX)
        return true;
    pk_fail(err, PK_E_TOO_LONG, "the keystore has %u unlock slots already", PK_SLOT_MAX);
    return pk_error_hint(err, "Drop one that is not needed any more.");
}

/* One transaction: the slot and its audit row. */
static bool add(pk_keystore *ks, const pk_secret *secret, const pk_row_slot *row,
                const pk_row_audit *audit, int64_t *id, pk_error *err)
{
    if (!may_add(ks, err) || !pk_catalog_begin(ks->catalog, err))
        return false;
    if (pk_slot_insert(ks, secret, row, id, err))
        return pk_catalog_commit(ks->catalog, audit, err);
    pk_catalog_rollback(ks->catalog);
    return false;
}

static bool add_password(pk_keystore *ks, const pk_slot_order *order, const pk_row_audit *audit,
                         int64_t *id, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf kdf = PK_BUF_MAX(1024);
    pk_kdf_params params;
    if (order->password == NULL)
        return pk_fail(err, PK_E_PARAMETER, "an unlock slot needs a password");
    if (!pk_kdf_params_new(PK_KDF_SCRYPT, &params, err) ||
        !pk_kdf_params_write(&params, &kdf, err) || !pk_buf_append(&kdf, "", 1, err))
        return false;
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = pk_kdf_password(order->password, &params, err);
    if (secret == NULL)
        return false;
    pk_row_slot row = {.kind = PK_SLOT_KIND_PASSWORD,
                       .label = order->label,
                       .params_json = "{}",
                       .kdf_json = pk_buf_span(&kdf).ptr};
    PK_RING_LOCKED(ks);
    return add(ks, secret, &row, audit, id, err);
}

/* A code that the caller has handed out already, so that there is never a slot whose code nobody
 * has; or a new one, whose text goes out last. */
static bool add_recovery(pk_keystore *ks, const pk_slot_order *order, const pk_row_audit *audit,
                         pk_buf *code, int64_t *id, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_SECRET(256);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = order->given.len > 0 ? pk_recovery_read(order->given, err)
                                             : pk_secret_random(PK_RECOVERY_LEN, err);
    pk_row_slot row = {.kind = PK_SLOT_KIND_RECOVERY,
                       .label = order->label,
                       .params_json = "{}",
                       .kdf_json = HKDF_JSON};
    if (secret == NULL || !pk_recovery_write(secret, &text, err) ||
        !pk_buf_reserve(code, PK_RECOVERY_TEXT_LEN, err))
        return false;
    PK_RING_LOCKED(ks);
    return add(ks, secret, &row, audit, id, err) &&
           (order->given.len > 0 || pk_buf_append_span(code, pk_buf_span(&text), err));
}

/* root.key first: a slot whose secret could not be written would open nothing. */
static bool add_file(pk_keystore *ks, const pk_slot_order *order, const pk_row_audit *audit,
                     int64_t *id, pk_error *err)
{
    pk_row_slot row = pk_slot_file_row();
    if (order->label != NULL && order->label[0] != '\0')
        row.label = order->label;
    PK_RING_LOCKED(ks);
    if (!may_add(ks, err))
        return false;
    PK_AUTO_PTR(pk_secret_free) pk_secret *root = pk_slot_file_create(ks->state_fd, err);
    if (root == NULL && pk_error_is(err, PK_E_DUPLICATE_FILE))
        return pk_error_hint(err, "Move it away first if it belongs to another keystore.");
    if (root == NULL)
        return false;
    if (add(ks, root, &row, audit, id, err))
        return true;
    (void)unlinkat(ks->state_fd, PK_SLOT_FILE_NAME, 0);
    return false;
}

/* What SHOW KEYSTORE can show; and all labels together fit PK_SLOT_ROWS_MAX, which whoever wants to
 * open the keystore reads. */
static bool check_label(pk_span label, pk_error *err)
{
    if (label.len > PK_SLOT_LABEL_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "the label of an unlock slot can take at most %u bytes",
                       PK_SLOT_LABEL_MAX);
    bool plain = pk_utf8_is(label, NULL);
    for (size_t i = 0; i < label.len; i++)
        plain = plain && (uint8_t)label.ptr[i] >= ' ' && label.ptr[i] != 0x7f;
    return plain || pk_fail(err, PK_E_PARAMETER,
                            "the label of an unlock slot is text without control characters");
}

bool pk_keystore_add_slot(pk_keystore *ks, const pk_slot_order *order, const pk_row_audit *audit,
                          pk_buf *code, int64_t *id, pk_error *err)
{
    if (!check_label(pk_span_of(order->label), err))
        return false;
    pthread_mutex_lock(&ks->lock);
    const bool may = may_add(ks, err); /* before a password costs anything */
    pthread_mutex_unlock(&ks->lock);
    if (!may)
        return false;
    if (strcmp(order->kind, PK_SLOT_KIND_PASSWORD) == 0)
        return add_password(ks, order, audit, id, err);
    if (strcmp(order->kind, PK_SLOT_KIND_RECOVERY) == 0)
        return add_recovery(ks, order, audit, code, id, err);
    if (strcmp(order->kind, PK_SLOT_KIND_FILE) == 0)
        return add_file(ks, order, audit, id, err);
    pk_fail(err, PK_E_PARAMETER, "there is no kind of unlock slot of that name");
    return pk_error_hint(err, "Kinds: file, password, recovery.");
}

/* Would the keystore open without the slot at `gone`? */
static bool others_open(pk_keystore *ks, const pk_row_slot *list, size_t count, size_t gone,
                        pk_error *err)
{
    if (count == 1) {
        pk_fail(err, PK_E_STATE, "the last unlock slot cannot be dropped");
        return pk_error_hint(err, "Add another one first: pgkeep key recovery.");
    }
    PK_AUTO_PTR(pk_secret_free) pk_secret *root = pk_slot_file_read(ks->state_fd, NULL);
    for (size_t i = 0; i < count; i++)
        if (i != gone && counts(ks, &list[i], root))
            return true;
    pk_fail(err, PK_E_STATE, "unlock slot %lld cannot be dropped", (long long)list[gone].id);
    pk_error_detail(err, "Only \"file\" slots would remain that the present " PK_SLOT_FILE_NAME
                         " does not open.");
    return pk_error_hint(err, "Add another slot first: pgkeep key recovery.");
}

static bool find(const pk_row_slot *list, size_t count, int64_t id, size_t *at, pk_error *err)
{
    for (*at = 0; *at < count; (*at)++)
        if (list[*at].id == id)
            return true;
    return pk_fail(err, PK_E_UNDEFINED_OBJECT, "there is no unlock slot %lld", (long long)id);
}

bool pk_keystore_drop_slot(pk_keystore *ks, int64_t id, const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_SLOT_ROWS_MAX);
    pk_row_slot *list = NULL;
    size_t count = 0;
    size_t at = 0;
    PK_RING_LOCKED(ks);
    if (!pk_keystore_must_be_open(ks, err) || !pk_slot_rows(ks, &arena, &list, &count, err) ||
        !find(list, count, id, &at, err) || !others_open(ks, list, count, at, err) ||
        !pk_catalog_begin(ks->catalog, err))
        return false;
    if (pk_catalog_erase(ks->catalog, PK_TABLE_SLOT, &list[at], err))
        return pk_catalog_commit(ks->catalog, audit, err);
    pk_catalog_rollback(ks->catalog);
    return false;
}
