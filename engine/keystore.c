/*
 * A keystore's life: made at init (store key, service master key, signing identity, one `file`
 * slot), opened and unsealed at start. Each is one catalog transaction, so a crash leaves a
 * keystore or none. What the statements do to keys is in keystore_keys.c and keystore_restore.c.
 */
#include "engine/keyring.h"

#include "base/encode.h"
#include "base/log.h"
#include "crypto/kdf.h"
#include "crypto/random.h"
#include "engine/slot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_FORMAT 1
#define SLOT_ID      1

/* What belongs to the store itself: its key under a slot, its signing key under the store key. */
static pk_wrap_context store_context(const uint8_t uuid[static 16], const char *parent,
                                     const char *child)
{
    pk_wrap_context context = {.parent_kind = parent,
                               .parent_ver = 1,
                               .child_kind = child,
                               .child_ver = 1,
                               .child_alg = "A256",
                               .purpose = "wrap",
                               .owner_scope = "service"};
    memcpy(context.store_uuid, uuid, sizeof context.store_uuid);
    memcpy(context.child_uuid, uuid, sizeof context.child_uuid);
    return context;
}

static pk_wrap_context slot_context(const uint8_t uuid[static 16])
{
    pk_wrap_context context = store_context(uuid, "slot", "sk");
    context.parent_ver = SLOT_ID;
    return context;
}

static pk_wrap_context identity_context(const uint8_t uuid[static 16])
{
    pk_wrap_context context = store_context(uuid, "sk", "identity");
    context.child_alg = "ED25519";
    context.purpose = "sign";
    return context;
}

/* The `file` slot's key-encryption key: bound to this store by the HKDF context. */
static pk_secret *slot_kek(const pk_secret *root, const uint8_t uuid[static 16], pk_error *err)
{
    return pk_hkdf(root, PK_LABEL_SLOT, pk_span_bytes(uuid, 16), err);
}

static pk_keystore *keystore_new(const pk_clock *clock)
{
    pk_keystore *ks = pk_new(pk_keystore);
    pthread_mutex_init(&ks->lock, NULL);
    ks->clock = clock;
    ks->state_fd = -1;
    return ks;
}

void pk_keystore_close(pk_keystore *ks)
{
    if (ks == NULL)
        return;
    pk_catalog_close(ks->catalog);
    pk_secret_free(ks->store_key);
    pk_identity_clear(&ks->identity);
    if (ks->state_fd >= 0)
        close(ks->state_fd);
    pthread_mutex_destroy(&ks->lock);
    pk_free(ks);
}

/* Every missing directory of the path, 0700. Whether the last one may be used is checked when it is
 * open. */
static bool make_directories(const char *path, pk_error *err)
{
    char part[4096];
    const size_t len = strlen(path);
    if (len >= sizeof part)
        return pk_fail(err, PK_E_PARAMETER, "the path of the state directory is too long");
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return pk_fail(err, PK_E_IO, "could not create state directory \"%s\": %s", part,
                           pk_errno_text(errno));
    }
    return true;
}

static bool open_state_dir(pk_keystore *ks, const char *path, bool create, pk_error *err)
{
    if (create && !make_directories(path, err))
        return false;
    ks->state_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ks->state_fd < 0)
        return pk_fail(err, errno == ENOENT ? PK_E_UNDEFINED_FILE : PK_E_IO,
                       "could not open state directory \"%s\": %s", path, pk_errno_text(errno));
    return true;
}

static bool insert_store(pk_keystore *ks, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf blob = PK_BUF_MAX(256);
    uint8_t sk_fp[PK_FP_LEN];
    pk_wrap_context context = identity_context(ks->uuid);
    if (!pk_wrap(ks->store_key, &context, ks->identity.private_key, &blob, err) ||
        !pk_fingerprint(ks->store_key, sk_fp, err))
        return false;
    pk_row_store row = {.fmt = STORE_FORMAT,
                        .identity_pub = pk_span_bytes(ks->identity.public_key, PK_IDENTITY_PUBLIC),
                        .identity_blob = pk_buf_span(&blob),
                        .sk_fp = pk_span_bytes(sk_fp, sizeof sk_fp),
                        .created_at = pk_keystore_now(ks)};
    memcpy(row.uuid, ks->uuid, sizeof row.uuid);
    return pk_catalog_insert(ks->catalog, PK_TABLE_STORE, &row, err);
}

static bool insert_slot(pk_keystore *ks, const pk_secret *root, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf blob = PK_BUF_MAX(256);
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = slot_kek(root, ks->uuid, err);
    pk_wrap_context context = slot_context(ks->uuid);
    if (kek == NULL || !pk_wrap(kek, &context, ks->store_key, &blob, err))
        return false;
    pk_row_slot row = {.id = SLOT_ID,
                       .kind = "file",
                       .label = PK_SLOT_FILE_NAME,
                       .params_json = "{\"file\":\"" PK_SLOT_FILE_NAME "\"}",
                       .kdf_json = "{\"alg\":\"hkdf-sha256\"}",
                       .blob = pk_buf_span(&blob),
                       .created_at = pk_keystore_now(ks)};
    return pk_catalog_insert(ks->catalog, PK_TABLE_SLOT, &row, err);
}

static bool insert_smk(pk_keystore *ks, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(65536);
    PK_AUTO_PTR(pk_secret_free) pk_secret *smk = pk_secret_random(PK_KEY_LEN, err);
    pk_row_key row = pk_ring_new_row(ks, NULL, "pgkeep");
    const pk_ring_parent parent = {.by = "sk", .secret = ks->store_key, .ver = 1};
    const pk_ring_child child = {.key = &row, .ver = 1, .secret = smk};
    return smk != NULL && pk_random_uuid(row.uuid, err) &&
           pk_catalog_insert(ks->catalog, PK_TABLE_KEY, &row, err) &&
           pk_ring_add_version(ks, &child, "current", "generated", err) &&
           pk_ring_add_wrap(ks, &child, &parent, &arena, err);
}

/* Everything of a new keystore, in one transaction. */
static bool populate(pk_keystore *ks, const pk_secret *root, pk_error *err)
{
    ks->store_key = pk_secret_random(PK_KEY_LEN, err);
    if (ks->store_key == NULL || !pk_random_uuid(ks->uuid, err) ||
        !pk_identity_generate(&ks->identity, err) ||
        !pk_catalog_unseal(ks->catalog, ks->store_key, err) || !pk_catalog_begin(ks->catalog, err))
        return false;
    const pk_row_audit audit = {.at = pk_keystore_now(ks),
                                .actor = "pgkeep",
                                .client = "",
                                .db = "",
                                .action = "INIT",
                                .object = "keystore",
                                .fp = "",
                                .outcome = "ok",
                                .sqlstate = PK_OK,
                                .text_redacted = ""};
    if (insert_store(ks, err) && insert_slot(ks, root, err) && insert_smk(ks, err) &&
        pk_catalog_commit(ks->catalog, &audit, err))
        return true;
    pk_catalog_rollback(ks->catalog);
    return false;
}

/* A root secret without a keystore is what a crash between the two leaves: it is used. */
static pk_secret *root_for_new(pk_keystore *ks, pk_error *err)
{
    pk_error absent = {0};
    pk_secret *root = pk_slot_file_read(ks->state_fd, &absent);
    if (root != NULL)
        return root;
    if (pk_error_is(&absent, PK_E_UNDEFINED_FILE))
        return pk_slot_file_create(ks->state_fd, err);
    *err = absent;
    return NULL;
}

static bool make_new(pk_keystore *ks, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *root = root_for_new(ks, err);
    return root != NULL && populate(ks, root, err);
}

static bool unwrap_store_key(pk_keystore *ks, const pk_secret *root, const pk_row_slot *slot,
                             pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *kek = slot_kek(root, ks->uuid, err);
    if (kek == NULL)
        return false;
    pk_wrap_context context = slot_context(ks->uuid);
    ks->store_key = pk_unwrap(kek, &context, slot->blob, err);
    if (ks->store_key != NULL)
        return true;
    pk_error_wrap(err, "the root secret \"" PK_SLOT_FILE_NAME "\" does not open the keystore");
    return pk_error_hint(err, "Put back the root.key that belongs to this keystore.db.");
}

static bool open_slot(pk_keystore *ks, pk_arena *arena, pk_error *err)
{
    pk_rows slots = {0};
    if (!pk_catalog_rows(ks->catalog, PK_TABLE_SLOT, NULL, arena, &slots, err))
        return false;
    const pk_row_slot *list = slots.list;
    for (size_t i = 0; i < slots.count; i++) {
        if (strcmp(list[i].kind, "file") != 0)
            continue;
        PK_AUTO_PTR(pk_secret_free) pk_secret *root = pk_slot_file_read(ks->state_fd, err);
        return root != NULL && unwrap_store_key(ks, root, &list[i], err);
    }
    return pk_fail(err, PK_E_STATE,
                   "the keystore is sealed: it has no unlock slot that this version can open");
}

static bool open_identity(pk_keystore *ks, const pk_row_store *store, pk_error *err)
{
    pk_wrap_context context = identity_context(ks->uuid);
    pk_secret *private_key = pk_unwrap(ks->store_key, &context, store->identity_blob, err);
    if (private_key == NULL || !pk_identity_from_secret(&ks->identity, private_key, err))
        return pk_error_wrap(err, "the keystore's signing key cannot be opened");
    if (!pk_span_equal(store->identity_pub,
                       pk_span_bytes(ks->identity.public_key, PK_IDENTITY_PUBLIC)))
        return pk_fail(err, PK_E_CORRUPT,
                       "the keystore's signing key does not match its public half");
    return true;
}

static bool check_store_key(pk_keystore *ks, const pk_row_store *store, pk_error *err)
{
    uint8_t fp[PK_FP_LEN];
    if (!pk_fingerprint(ks->store_key, fp, err))
        return false;
    if (!pk_span_equal(store->sk_fp, pk_span_bytes(fp, sizeof fp)))
        return pk_fail(err, PK_E_CORRUPT, "the store key does not match its fingerprint");
    return true;
}

static bool unseal(pk_keystore *ks, const pk_row_store *store, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    memcpy(ks->uuid, store->uuid, sizeof ks->uuid);
    return open_slot(ks, &arena, err) && check_store_key(ks, store, err) &&
           pk_catalog_unseal(ks->catalog, ks->store_key, err) &&
           pk_catalog_verify(ks->catalog, err) && open_identity(ks, store, err);
}

static bool check_expected(const uint8_t uuid[static 16], const char *expect, pk_error *err)
{
    char text[37];
    pk_uuid_text(uuid, text);
    if (expect == NULL || strcmp(expect, text) == 0)
        return true;
    pk_fail(err, PK_E_STATE, "this keystore is not the expected one");
    pk_error_detail(err, "It is %s; keystore.expect says %s.", text, expect);
    return pk_error_hint(err, "Is the right volume mounted?");
}

static bool nothing_there(const char *state_dir, pk_error *err)
{
    pk_fail(err, PK_E_STATE, "there is no keystore in \"%s\"", state_dir);
    return pk_error_hint(err, "Run pgkeep init, or set keystore.create to auto.");
}

static void warn_new(const pk_keystore *ks, const char *state_dir)
{
    char text[37];
    pk_uuid_text(ks->uuid, text);
    pk_log_warning("created a new keystore %s in \"%s\"; whoever reads its " PK_SLOT_FILE_NAME
                   " and keystore.db has every key; take a BACKUP SERVICE MASTER KEY now",
                   text, state_dir);
}

static bool open_or_make(pk_keystore *ks, const char *state_dir, bool create, const char *expect,
                         pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(65536);
    pk_row_store store;
    pk_error none = {0};
    if (!open_state_dir(ks, state_dir, create && expect == NULL, err))
        return pk_error_is(err, PK_E_UNDEFINED_FILE) ? nothing_there(state_dir, err) : false;
    ks->catalog = pk_catalog_open_sqlite(state_dir, create && expect == NULL, ks->clock, err);
    if (ks->catalog == NULL)
        return pk_error_is(err, PK_E_UNDEFINED_FILE) ? nothing_there(state_dir, err) : false;
    if (pk_catalog_store(ks->catalog, &arena, &store, &none))
        return check_expected(store.uuid, expect, err) && unseal(ks, &store, err);
    if (none.sqlstate[0] != '\0') {
        *err = none;
        return false;
    }
    if (!create || expect != NULL)
        return nothing_there(state_dir, err);
    if (!make_new(ks, err))
        return pk_error_wrap(err, "could not create a keystore in \"%s\"", state_dir);
    warn_new(ks, state_dir);
    return true;
}

pk_keystore *pk_keystore_open(const char *state_dir, bool create, const char *expect,
                              const pk_clock *clock, pk_error *err)
{
    PK_AUTO_PTR(pk_keystore_close) pk_keystore *ks = keystore_new(clock);
    if (!open_or_make(ks, state_dir, create, expect, err))
        return NULL;
    return pk_steal(&ks);
}

bool pk_keystore_create(const char *state_dir, const pk_clock *clock, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(65536);
    PK_AUTO_PTR(pk_keystore_close) pk_keystore *ks = keystore_new(clock);
    pk_row_store store;
    pk_error none = {0};
    if (!open_state_dir(ks, state_dir, true, err))
        return false;
    ks->catalog = pk_catalog_open_sqlite(state_dir, true, clock, err);
    if (ks->catalog == NULL)
        return false;
    if (pk_catalog_store(ks->catalog, &arena, &store, &none))
        return pk_fail(err, PK_E_DUPLICATE_OBJECT, "there is a keystore in \"%s\" already",
                       state_dir);
    if (none.sqlstate[0] != '\0') {
        *err = none;
        return false;
    }
    return make_new(ks, err);
}

const pk_identity *pk_keystore_signer(const pk_keystore *ks)
{
    return &ks->identity;
}

const uint8_t *pk_keystore_uuid(const pk_keystore *ks)
{
    return ks->uuid;
}

int64_t pk_keystore_now(const pk_keystore *ks)
{
    return ks->clock->wall_us(ks->clock);
}

bool pk_keystore_summary_get(pk_keystore *ks, pk_keystore_summary *summary, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    pk_ring_key smk = {0};
    pk_key_brief brief;
    uint8_t fp[PK_FP_LEN];
    pthread_mutex_lock(&ks->lock);
    bool ok = pk_ring_find_smk(ks, &arena, &smk, err);
    pthread_mutex_unlock(&ks->lock);
    if (!ok || !pk_identity_fingerprint(ks->identity.public_key, fp, err))
        return false;
    pk_ring_brief(&smk, &brief);
    pk_uuid_text(ks->uuid, summary->uuid);
    pk_identity_fingerprint_text(fp, summary->identity);
    memcpy(summary->service_master_key, brief.fingerprint, sizeof summary->service_master_key);
    return true;
}

bool pk_keystore_audit(pk_keystore *ks, const pk_row_audit *audit, pk_error *err)
{
    pthread_mutex_lock(&ks->lock);
    bool ok = pk_catalog_begin(ks->catalog, err) && pk_catalog_commit(ks->catalog, audit, err);
    pthread_mutex_unlock(&ks->lock);
    return ok;
}
