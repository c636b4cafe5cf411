/*
 * The keystore's life: made, opened, unsealed, sealed. Making one is one catalog transaction, so a
 * crash leaves a keystore or none. Whatever opens a slot, one function takes the store key over and
 * checks what lies below it; if anything does not fit, every key is forgotten again. Slots are in
 * slots.c; what the statements do to keys is in keystore_keys.c and keystore_restore.c.
 */
#include "engine/keyring.h"

#include "base/encode.h"
#include "base/log.h"
#include "base/newfile.h"
#include "crypto/kdf.h"
#include "crypto/random.h"
#include "crypto/recovery.h"
#include "engine/slot_file.h"
#include "engine/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_FORMAT 1
#define DAY_US       (INT64_C(86400) * 1000000)

static pk_wrap_context identity_context(const uint8_t uuid[static 16])
{
    pk_wrap_context context = {.parent_kind = "sk",
                               .parent_ver = 1,
                               .child_kind = "identity",
                               .child_ver = 1,
                               .child_alg = "ED25519",
                               .purpose = "sign",
                               .owner_scope = "service"};
    memcpy(context.store_uuid, uuid, sizeof context.store_uuid);
    memcpy(context.child_uuid, uuid, sizeof context.child_uuid);
    return context;
}

static pk_keystore *keystore_new(const pk_clock *clock)
{
    pk_keystore *ks = pk_new(pk_keystore);
    pthread_mutex_init(&ks->lock, NULL);
    ks->clock = clock;
    ks->opened = pk_opened_new(clock);
    ks->state_fd = -1;
    return ks;
}

/* Every key there is. */
static void forget_keys(pk_keystore *ks)
{
    if (ks->catalog != NULL)
        pk_catalog_seal(ks->catalog);
    pk_opened_clear(ks->opened);
    pk_secret_free(pk_steal(&ks->store_key));
    pk_identity_clear(&ks->identity);
}

void pk_keystore_close(pk_keystore *ks)
{
    if (ks == NULL)
        return;
    forget_keys(ks);
    pk_opened_free(ks->opened);
    pk_catalog_close(ks->catalog);
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
    pk_row_slot row = pk_slot_file_row();
    int64_t id = 0;
    row.last_ok_at = pk_keystore_now(ks); /* a keystore is open when it is made */
    return pk_slot_insert(ks, root, &row, &id, err);
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

/* Nobody asked for it. */
static pk_row_audit own_audit(const pk_keystore *ks, const char *action, const char *object)
{
    return (pk_row_audit){.at = pk_keystore_now(ks),
                          .actor = "pgkeep",
                          .client = "",
                          .db = "",
                          .action = action,
                          .object = object,
                          .fp = "",
                          .outcome = "ok",
                          .sqlstate = PK_OK,
                          .text_redacted = ""};
}

/* Everything of a new keystore, in one transaction. */
static bool populate(pk_keystore *ks, const pk_secret *root, pk_error *err)
{
    ks->store_key = pk_secret_random(PK_KEY_LEN, err);
    if (ks->store_key == NULL || !pk_random_uuid(ks->uuid, err) ||
        !pk_identity_generate(&ks->identity, err) ||
        !pk_catalog_unseal(ks->catalog, ks->store_key, err) || !pk_catalog_begin(ks->catalog, err))
        return false;
    const pk_row_audit audit = own_audit(ks, "INIT", "keystore");
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

static bool open_below(pk_keystore *ks, const pk_row_store *store, pk_error *err)
{
    return check_store_key(ks, store, err) && pk_catalog_unseal(ks->catalog, ks->store_key, err) &&
           pk_catalog_verify(ks->catalog, err) && open_identity(ks, store, err);
}

/* A slot gave the store key: it is the keystore's from here on, or it is wiped. */
static bool take_store_key(pk_keystore *ks, pk_secret *store_key, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(65536);
    pk_row_store store = {0};
    pk_error fault = {0};
    ks->store_key = store_key;
    if (pk_catalog_store(ks->catalog, &arena, &store, &fault) && open_below(ks, &store, &fault)) {
        ks->sealed_by_order = false;
        ks->why_sealed = (pk_error){0};
        return true;
    }
    forget_keys(ks);
    if (fault.sqlstate[0] == '\0')
        pk_fail(&fault, PK_E_CORRUPT, "the keystore has lost its store row");
    if (err != NULL)
        *err = fault;
    return false;
}

/* last_ok_at is a hint for people: once a day will do, and a full disk must not keep the keystore
 * sealed. */
static void note_use(pk_keystore *ks, const pk_row_slot *slot)
{
    pk_error err = {0};
    char object[64];
    if (slot->last_ok_at != 0 && pk_keystore_now(ks) - slot->last_ok_at < DAY_US)
        return;
    (void)snprintf(object, sizeof object, "slot %lld (%s)", (long long)slot->id, slot->kind);
    const pk_row_audit audit = own_audit(ks, "UNSEAL", object);
    bool ok = pk_catalog_begin(ks->catalog, &err) && pk_slot_used(ks, slot, &err) &&
              pk_catalog_commit(ks->catalog, &audit, &err);
    pk_catalog_rollback(ks->catalog);
    if (!ok)
        pk_log_fault(PK_LOG_WARNING, "the use of an unlock slot was not noted", &err);
}

/* The cause, logged when it is news. */
static void note_why(pk_keystore *ks, const pk_error *why)
{
    if (strcmp(ks->why_sealed.message, why->message) != 0 ||
        strcmp(ks->why_sealed.detail, why->detail) != 0)
        pk_log_fault(PK_LOG_WARNING, "keystore is sealed", why);
    ks->why_sealed = *why;
}

/* False and *damaged: a slot opens it, but what is inside does not fit; trying again is no use. */
static bool unseal_auto(pk_keystore *ks, bool *damaged, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_SLOT_ROWS_MAX);
    pk_row_slot slot = {0};
    pk_error why = {0};
    *damaged = false;
    if (ks->store_key != NULL)
        return true;
    if (ks->sealed_by_order)
        return pk_keystore_must_be_open(ks, err);
    pk_secret *store_key = pk_slot_open_file(ks, &arena, &slot, &why);
    if (store_key == NULL) {
        note_why(ks, &why);
        return pk_keystore_must_be_open(ks, err);
    }
    if (!take_store_key(ks, store_key, err)) {
        *damaged = true;
        return false;
    }
    note_use(ks, &slot);
    return true;
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

/* A catalog that has a store row: sealed is good enough. */
static bool open_existing(pk_keystore *ks, const pk_row_store *store, const char *expect,
                          pk_error *err)
{
    bool damaged = false;
    pk_error sealed = {0};
    if (!check_expected(store->uuid, expect, err))
        return false;
    memcpy(ks->uuid, store->uuid, sizeof ks->uuid);
    if (!unseal_auto(ks, &damaged, &sealed) && damaged) {
        *err = sealed;
        return false;
    }
    return true;
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
        return open_existing(ks, &store, expect, err);
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

static void warn_of_one_slot(pk_keystore *ks)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_SLOT_ROWS_MAX);
    pk_row_slot *list = NULL;
    size_t count = 0;
    if (pk_slot_rows(ks, &arena, &list, &count, NULL) && count == 1)
        pk_log_warning("the keystore has a single unlock slot, of kind \"%s\": the loss of what "
                       "opens it loses every key; add another one with pgkeep key recovery",
                       list[0].kind);
}

pk_keystore *pk_keystore_open(const char *state_dir, bool create, const char *expect,
                              const pk_clock *clock, pk_error *err)
{
    PK_AUTO_PTR(pk_keystore_close) pk_keystore *ks = keystore_new(clock);
    if (!open_or_make(ks, state_dir, create, expect, err))
        return NULL;
    /* The lock is ours: whoever wrote these was killed. */
    const size_t left = pk_newfile_sweep(ks->state_fd);
    if (left > 0)
        pk_log_info("removed %zu unfinished files from \"%s\"", left, state_dir);
    warn_of_one_slot(ks);
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

/* Open and sealed */

bool pk_keystore_must_be_open(const pk_keystore *ks, pk_error *err)
{
    pk_error sealed = {0};
    if (ks->store_key != NULL)
        return true;
    pk_fail(&sealed, PK_E_STATE, "keystore is sealed");
    if (ks->sealed_by_order)
        pk_error_detail(&sealed, "It was sealed by the statement SEAL.");
    else if (ks->why_sealed.message[0] != '\0') {
        pk_fail(&sealed, PK_E_STATE, "%s", ks->why_sealed.message);
        pk_error_detail(&sealed, "%s", ks->why_sealed.detail);
        pk_error_wrap(&sealed, "keystore is sealed");
    }
    pk_slot_hint(ks, &sealed);
    if (err != NULL)
        *err = sealed;
    return false;
}

bool pk_keystore_is_open(pk_keystore *ks)
{
    PK_RING_LOCKED(ks);
    return ks->store_key != NULL;
}

bool pk_keystore_why_sealed(pk_keystore *ks, pk_error *why)
{
    PK_RING_LOCKED(ks);
    *why = (pk_error){0};
    return !pk_keystore_must_be_open(ks, why);
}

bool pk_keystore_unseal_auto(pk_keystore *ks, pk_error *err)
{
    bool damaged = false;
    PK_RING_LOCKED(ks);
    return unseal_auto(ks, &damaged, err);
}

static bool open_already(pk_error *err)
{
    return pk_fail(err, PK_E_STATE, "the keystore is open already");
}

/* Under the lock: the slot may have gone while a password became a key. */
static bool unseal_slot(pk_keystore *ks, const pk_row_slot *slot, const pk_secret *secret,
                        const pk_row_audit *audit, pk_error *err)
{
    PK_RING_LOCKED(ks);
    if (ks->store_key != NULL)
        return open_already(err);
    pk_secret *store_key = pk_slot_unwrap(ks->uuid, secret, slot, err);
    if (store_key == NULL || !take_store_key(ks, store_key, err))
        return false;
    if (pk_catalog_begin(ks->catalog, err) && pk_slot_used(ks, slot, err) &&
        pk_catalog_commit(ks->catalog, audit, err)) {
        pk_log_info("keystore unsealed by slot %lld (%s)", (long long)slot->id, slot->kind);
        return true;
    }
    pk_catalog_rollback(ks->catalog);
    forget_keys(ks);
    return false;
}

/* One kind of slot and what was given for it. */
typedef struct pk_unseal {
    const char *kind;
    const pk_secret *secret; /* a password, or a recovery code's bytes */
    bool is_password;
} pk_unseal;

static bool try_slot(pk_keystore *ks, const pk_row_slot *slot, const pk_unseal *how,
                     const pk_row_audit *audit, pk_error *err)
{
    if (!how->is_password)
        return unseal_slot(ks, slot, how->secret, audit, err);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *secret = pk_slot_password(how->secret, slot, err);
    return secret != NULL && unseal_slot(ks, slot, secret, audit, err);
}

/* One slot of the kind after the other, until one opens. */
static bool try_slots(pk_keystore *ks, const pk_row_slot *list, size_t count, const pk_unseal *how,
                      const pk_row_audit *audit, pk_error *err)
{
    pk_error why = {0};
    pk_fail(err, PK_E_UNDEFINED_OBJECT, "the keystore has no unlock slot of kind \"%s\"",
            how->kind);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].kind, how->kind) != 0)
            continue;
        if (try_slot(ks, &list[i], how, audit, &why))
            return true;
        if (!pk_error_is(&why, PK_E_PASSWORD)) {
            if (err != NULL)
                *err = why;
            return false;
        }
        pk_fail(err, PK_E_PASSWORD, "wrong %s", how->is_password ? "password" : "recovery code");
        pk_error_detail(err, "No unlock slot of kind \"%s\" opens with it.", how->kind);
    }
    return false;
}

static bool unseal_by(pk_keystore *ks, const pk_unseal *how, const pk_row_audit *audit,
                      pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_SLOT_ROWS_MAX);
    pk_row_slot *list = NULL;
    size_t count = 0;
    if (pk_keystore_is_open(ks))
        return open_already(err);
    return pk_keystore_slots(ks, &arena, &list, &count, err) &&
           try_slots(ks, list, count, how, audit, err);
}

bool pk_keystore_unseal_password(pk_keystore *ks, const pk_secret *password,
                                 const pk_row_audit *audit, pk_error *err)
{
    const pk_unseal how = {PK_SLOT_KIND_PASSWORD, password, true};
    return unseal_by(ks, &how, audit, err);
}

bool pk_keystore_unseal_recovery(pk_keystore *ks, pk_span code, const pk_row_audit *audit,
                                 pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_recovery_read(code, err);
    const pk_unseal how = {PK_SLOT_KIND_RECOVERY, secret, false};
    return secret != NULL && unseal_by(ks, &how, audit, err);
}

bool pk_keystore_seal(pk_keystore *ks, const pk_row_audit *audit, pk_error *err)
{
    pk_error why = {0};
    PK_RING_LOCKED(ks);
    if (!pk_keystore_must_be_open(ks, err))
        return false;
    /* An emergency stop does not depend on a disk that can be written. */
    if (!pk_catalog_begin(ks->catalog, &why) || !pk_catalog_commit(ks->catalog, audit, &why))
        pk_log_fault(PK_LOG_ERROR, "SEAL has no audit row: it could not be written", &why);
    forget_keys(ks);
    ks->sealed_by_order = true;
    pk_log_warning("keystore sealed by %s", audit->actor);
    return true;
}

/* Texts and times */

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
    PK_RING_LOCKED(ks);
    if (!pk_keystore_must_be_open(ks, err) || !pk_ring_find_smk(ks, &arena, &smk, err) ||
        !pk_identity_fingerprint(ks->identity.public_key, fp, err))
        return false;
    pk_ring_brief(&smk, &brief);
    pk_uuid_text(ks->uuid, summary->uuid);
    pk_identity_fingerprint_text(fp, summary->identity);
    memcpy(summary->service_master_key, brief.fingerprint, sizeof summary->service_master_key);
    return true;
}

/* The audit trail */

bool pk_keystore_audit(pk_keystore *ks, const pk_row_audit *audit, pk_error *err)
{
    PK_RING_LOCKED(ks);
    return pk_keystore_must_be_open(ks, err) && pk_catalog_begin(ks->catalog, err) &&
           pk_catalog_commit(ks->catalog, audit, err);
}

bool pk_keystore_head_get(pk_keystore *ks, pk_keystore_head *head, pk_error *err)
{
    PK_RING_LOCKED(ks);
    *head = (pk_keystore_head){0};
    return pk_catalog_audit_head(ks->catalog, head->hash, &head->epoch, err);
}

bool pk_keystore_verify_audit(pk_keystore *ks, const char *known, pk_keystore_head *head,
                              pk_error *err)
{
    uint8_t hash[32];
    const bool given = known != NULL && known[0] != '\0';
    pk_catalog_walk walk = {.known = given ? hash : NULL};
    if (given && !pk_unhex(pk_span_of(known), hash, sizeof hash))
        return pk_fail(err, PK_E_PARAMETER, "an audit head is 64 hexadecimal digits");
    PK_RING_LOCKED(ks);
    *head = (pk_keystore_head){0};
    if (!pk_keystore_must_be_open(ks, err) || !pk_catalog_audit_walk(ks->catalog, &walk, err) ||
        !pk_catalog_audit_head(ks->catalog, head->hash, &head->epoch, err))
        return false;
    head->rows = walk.rows;
    if (!given || walk.found)
        return true;
    pk_fail(err, PK_E_UNDEFINED_OBJECT, "the audit trail does not contain this head");
    return pk_error_detail(err, "Its rows fit together: the keystore was put back to an older "
                                "state, or the head is of another keystore.");
}
