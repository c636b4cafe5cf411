/*
 * One function an operation, one table. The order of the values here is the order in
 * keeper_calls.c. Key files are sealed and opened here, inside the keeper: what leaves is
 * ciphertext, and the passwords that came in are secrets of ours until the end of the call.
 */
#include "engine/keeper_ops.h"

#include "base/encode.h"
#include "crypto/digest.h"
#include "crypto/keyfile.h"

#include <stdio.h>
#include <string.h>

#define RECORDS_MAX 10000u

typedef struct job {
    pk_keystore *ks;
    const pk_error *why;
    pk_row_audit audit; /* of operations that have one */
    pk_message_in *in;
    pk_message_out *out;
} job;

static void free_secret(pk_secret **secret)
{
    pk_secret_free(*secret);
}
#define SECRET __attribute__((cleanup(free_secret))) pk_secret *

/* A password of the request. False: it was there and could not be kept; *secret NULL: none. */
static bool get_secret(pk_message_in *in, pk_secret **secret, pk_error *err)
{
    pk_span text = pk_get_bytes(in);
    *secret = text.len == 0 ? NULL : pk_secret_new(text.ptr, text.len, err);
    return text.len == 0 || *secret != NULL;
}

/* ---- the keystore itself ---- */

static void put_error(pk_message_out *out, const pk_error *why)
{
    pk_put_text(out, why->sqlstate);
    pk_put_text(out, why->message);
    pk_put_text(out, why->detail);
    pk_put_text(out, why->hint);
}

static void put_slots(pk_message_out *out, const pk_row_slot *slots, size_t count)
{
    pk_put_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        pk_put_i64(out, slots[i].id);
        pk_put_text(out, slots[i].kind);
        pk_put_text(out, slots[i].label == NULL ? "" : slots[i].label);
        pk_put_i64(out, slots[i].created_at);
        pk_put_i64(out, slots[i].last_ok_at);
    }
}

static bool status(job *j, pk_error *err)
{
    pk_row_slot *slots = NULL;
    size_t count = 0;
    pk_keystore_summary summary = {0};
    pk_keystore_head head = {0};
    pk_error why = *j->why;
    if (!pk_get_end(j->in, err))
        return false;
    const bool open = j->ks != NULL && !pk_keystore_why_sealed(j->ks, &why);
    if (j->ks != NULL) {
        pk_uuid_text(pk_keystore_uuid(j->ks), summary.uuid);
        if (!pk_keystore_slots(j->ks, j->in->arena, &slots, &count, err) ||
            !pk_keystore_head_get(j->ks, &head, err) ||
            (open && !pk_keystore_summary_get(j->ks, &summary, err)))
            return false;
    }
    pk_put_text(j->out, open ? "open" : j->ks != NULL ? "sealed" : "absent");
    put_error(j->out, &why);
    pk_put_text(j->out, summary.uuid);
    pk_put_text(j->out, summary.identity);
    pk_put_text(j->out, summary.service_master_key);
    pk_put_text(j->out, head.hash);
    pk_put_i64(j->out, head.epoch);
    put_slots(j->out, slots, count);
    return true;
}

static bool seal(job *j, pk_error *err)
{
    return pk_get_end(j->in, err) && pk_keystore_seal(j->ks, &j->audit, err);
}

static bool unseal(job *j, pk_error *err)
{
    const char *kind = pk_get_some_text(j->in);
    pk_span text = pk_get_bytes(j->in);
    if (!pk_get_end(j->in, err))
        return false;
    if (j->ks == NULL) {
        *err = *j->why;
        return false;
    }
    if (strcmp(kind, "recovery") == 0)
        return pk_keystore_unseal_recovery(j->ks, text, &j->audit, err);
    if (strcmp(kind, "password") != 0)
        return pk_fail(err, PK_E_PARAMETER, "a keystore cannot be unsealed this way");
    SECRET password = pk_secret_new(text.ptr, text.len, err);
    return password != NULL && pk_keystore_unseal_password(j->ks, password, &j->audit, err);
}

static bool add_slot(job *j, pk_error *err)
{
    SECRET password = NULL;
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    pk_slot_order order = {.kind = pk_get_some_text(j->in)};
    int64_t id = 0;
    order.label = pk_get_some_text(j->in);
    pk_span text = pk_get_bytes(j->in);
    if (!pk_get_end(j->in, err))
        return false;
    if (strcmp(order.kind, "recovery") == 0) {
        order.given = text;
    } else if (text.len > 0) {
        password = pk_secret_new(text.ptr, text.len, err);
        if (password == NULL)
            return false;
        order.password = password;
    }
    if (!pk_keystore_add_slot(j->ks, &order, &j->audit, &code, &id, err))
        return false;
    pk_put_i64(j->out, id);
    pk_put_bytes(j->out, pk_buf_span(&code));
    return true;
}

static bool drop_slot(job *j, pk_error *err)
{
    const int64_t id = pk_get_i64(j->in);
    return pk_get_end(j->in, err) && pk_keystore_drop_slot(j->ks, id, &j->audit, err);
}

static bool audit(job *j, pk_error *err)
{
    return pk_get_end(j->in, err) && pk_keystore_audit(j->ks, &j->audit, err);
}

static bool verify_audit(job *j, pk_error *err)
{
    pk_keystore_head head;
    const char *known = pk_get_some_text(j->in);
    if (!pk_get_end(j->in, err) || !pk_keystore_verify_audit(j->ks, known, &head, err))
        return false;
    pk_put_i64(j->out, head.rows);
    pk_put_i64(j->out, head.epoch);
    pk_put_text(j->out, head.hash);
    return true;
}

/* ---- database master keys ---- */

static bool create_dmk(job *j, pk_error *err)
{
    SECRET password = NULL;
    pk_database db;
    pk_key_brief brief;
    if (!pk_get_database(j->in, &db))
        j->in->bad = true;
    if (!get_secret(j->in, &password, err) || !pk_get_end(j->in, err) ||
        !pk_keystore_create_dmk(j->ks, &db, password, &j->audit, &brief, err))
        return false;
    pk_put_brief(j->out, &brief);
    return true;
}

static bool open_dmk(job *j, pk_error *err)
{
    SECRET password = NULL;
    pk_database db;
    pk_opener opener;
    pk_key_brief brief;
    bool was_open = false;
    if (!pk_get_database(j->in, &db) || !pk_get_opener(j->in, &opener))
        j->in->bad = true;
    if (!get_secret(j->in, &password, err) || !pk_get_end(j->in, err))
        return false;
    if (password == NULL)
        return pk_fail(err, PK_E_PARAMETER, "the password is empty");
    const pk_open_order order = {.db = &db, .opener = &opener, .password = password};
    if (!pk_keystore_open_dmk(j->ks, &order, &j->audit, &brief, &was_open, err))
        return false;
    pk_put_brief(j->out, &brief);
    pk_put_bool(j->out, was_open);
    return true;
}

static bool close_dmk(job *j, pk_error *err)
{
    pk_database db;
    pk_opener opener;
    if (!pk_get_database(j->in, &db) || !pk_get_opener(j->in, &opener))
        j->in->bad = true;
    return pk_get_end(j->in, err) && pk_keystore_close_dmk(j->ks, &db, &opener, &j->audit, err);
}

static void put_key(pk_message_out *out, const pk_key_info *key)
{
    pk_put_text(out, key->database);
    pk_put_i64(out, key->db_oid);
    pk_put_fixed(out, key->uuid, sizeof key->uuid);
    pk_put_i64(out, key->version);
    pk_put_bool(out, key->by_server);
    pk_put_bool(out, key->open);
    pk_put_i64(out, key->passwords);
    pk_put_i64(out, key->created_at);
    pk_put_i64(out, key->modified_at);
    pk_put_i64(out, key->last_backup_at);
    pk_put_text(out, key->fingerprint);
    pk_put_text(out, key->state);
    pk_put_text(out, key->backed_up);
}

static bool list(job *j, pk_error *err)
{
    pk_opener opener;
    pk_key_info *keys;
    size_t count;
    const bool asked = pk_get_opener(j->in, &opener);
    if (!pk_get_end(j->in, err) ||
        !pk_keystore_list(j->ks, asked ? &opener : NULL, j->in->arena, &keys, &count, err))
        return false;
    pk_put_u32(j->out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        put_key(j->out, &keys[i]);
    return true;
}

static bool backups(job *j, pk_error *err)
{
    pk_backup_info *found;
    size_t count;
    if (!pk_get_end(j->in, err) || !pk_keystore_backups(j->ks, j->in->arena, &found, &count, err))
        return false;
    pk_put_u32(j->out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const pk_backup_info *b = &found[i];
        pk_put_text(j->out, b->database);
        pk_put_i64(j->out, b->db_oid);
        pk_put_text(j->out, b->kind);
        pk_put_text(j->out, b->destination);
        pk_put_i64(j->out, b->version);
        pk_put_text(j->out, b->fingerprint);
        pk_put_bool(j->out, b->encrypted);
        pk_put_bool(j->out, b->stale);
        pk_put_bool(j->out, b->verified);
        pk_put_i64(j->out, b->created_at);
        pk_put_text(j->out, b->recipients_json == NULL ? "" : b->recipients_json);
    }
    return true;
}

/* ---- key files: out ---- */

/* uuid and version of each key in the set: what pk_keeper_record needs to know again. */
static void put_contents(pk_message_out *out, const pk_keyset *set)
{
    PK_AUTO(pk_buf_clear) pk_buf contents = PK_BUF_MAX(1u << 20);
    pk_message_out inner = {.buf = &contents};
    pk_put_u32(&inner, (uint32_t)set->count);
    for (size_t i = 0; i < set->count; i++) {
        pk_put_fixed(&inner, set->keys[i].uuid, sizeof set->keys[i].uuid);
        pk_put_u32(&inner, set->keys[i].ver);
    }
    pk_put_bytes(out, pk_buf_span(&contents));
    if (inner.failed && !out->failed) {
        out->failed = true;
        out->err = inner.err;
    }
}

static bool get_contents(pk_span contents, pk_keyset *set, pk_error *err)
{
    pk_message_in in = {.rest = contents, .arena = &set->arena};
    const size_t count = pk_get_count(&in, 20);
    for (size_t i = 0; i < count; i++) {
        pk_keyset_key *key = pk_keyset_add(set, err);
        if (key == NULL)
            return false;
        pk_get_fixed(&in, key->uuid, sizeof key->uuid);
        key->ver = pk_get_u32(&in);
    }
    return pk_get_end(&in, err);
}

static bool seal_file(job *j, const pk_keyset *set, const pk_secret *password,
                      char id[static PK_KEYFILE_ID_MAX], pk_buf *file, pk_error *err)
{
    SECRET kek = NULL;
    pk_recipient recipient = {.kind = PK_RECIPIENT_PASSWORD, .secret = password, .id = ""};
    snprintf(id, PK_KEYFILE_ID_MAX, "password");
    if (password == NULL) {
        kek = pk_keystore_kek(j->ks, id, err);
        if (kek == NULL)
            return false;
        recipient = (pk_recipient){.kind = PK_RECIPIENT_KEK, .secret = kek, .id = id};
    }
    return pk_keyfile_seal(set, &recipient, 1, pk_keystore_signer(j->ks), file, err);
}

/* Keys, and who wants them where, into the set. */
static bool collect(job *j, pk_keyset *set, pk_key_brief *brief, pk_secret **password,
                    pk_error *err)
{
    pk_database db;
    pk_opener opener;
    const bool of_database = pk_get_database(j->in, &db);
    const bool opened = pk_get_opener(j->in, &opener);
    if (!get_secret(j->in, password, err))
        return false;
    set->type = pk_get_some_text(j->in);
    set->created_by = pk_get_text(j->in);
    set->server_version = pk_get_some_text(j->in);
    set->system_identifier = pk_get_some_text(j->in);
    if (!pk_get_end(j->in, err))
        return false;
    return of_database
               ? pk_keystore_export_dmk(j->ks, &db, opened ? &opener : NULL, set, brief, err)
               : pk_keystore_export_smk(j->ks, set, brief, err);
}

static bool export(job *j, pk_error *err)
{
    SECRET password = NULL;
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_buf_clear) pk_buf file = PK_BUF_MAX(PK_KEYFILE_MAX);
    char recipient[PK_KEYFILE_ID_MAX];
    pk_key_brief brief;
    pk_keyset_init(&set);
    if (!collect(j, &set, &brief, &password, err) ||
        !seal_file(j, &set, password, recipient, &file, err))
        return false;
    pk_put_brief(j->out, &brief);
    put_contents(j->out, &set);
    pk_put_text(j->out, recipient);
    pk_put_i64(j->out, set.created_at);
    pk_put_bytes(j->out, pk_buf_span(&file));
    return true;
}

static void clear_sets(pk_keyset *sets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pk_keyset_clear(&sets[i]);
}

static bool get_record(job *j, pk_backup_record *record, pk_keyset *set, pk_error *err)
{
    record->destination = pk_get_some_text(j->in);
    pk_span contents = pk_get_bytes(j->in);
    record->recipients_json = pk_get_some_text(j->in);
    pk_get_fixed(j->in, record->sha256, sizeof record->sha256);
    record->size = (size_t)pk_get_i64(j->in);
    record->set = set;
    return j->in->bad || get_contents(contents, set, err);
}

static bool record(job *j, pk_error *err)
{
    const size_t count = pk_get_count(j->in, 4 + 4 + 4 + 32 + 8);
    if (count > RECORDS_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "too many key backups at once");
    pk_backup_record *records = pk_arena_array(j->in->arena, count + 1, sizeof *records, err);
    pk_keyset *sets = pk_arena_array(j->in->arena, count + 1, sizeof *sets, err);
    if (records == NULL || sets == NULL)
        return false;
    size_t n = 0;
    bool ok = true;
    for (; ok && n < count; n++) {
        pk_keyset_init(&sets[n]);
        ok = get_record(j, &records[n], &sets[n], err);
    }
    ok = ok && pk_get_end(j->in, err) &&
         pk_keystore_record_backups(j->ks, records, count, &j->audit, err);
    clear_sets(sets, n);
    return ok;
}

/* ---- key files: in ---- */

typedef struct import {
    pk_database db;
    pk_opener opener;
    bool of_database, opened, replace, force;
    const char *name, *destination;
    pk_span file;
    pk_secret *password, *new_password;
} import;

static void import_clear(import *i)
{
    pk_secret_free(i->password);
    pk_secret_free(i->new_password);
}

static bool get_import(pk_message_in *in, import *i, pk_error *err)
{
    *i = (import){0};
    i->of_database = pk_get_database(in, &i->db);
    i->opened = pk_get_opener(in, &i->opener);
    i->name = pk_get_some_text(in);
    i->destination = pk_get_some_text(in);
    i->file = pk_get_bytes(in);
    if (!get_secret(in, &i->password, err) || !get_secret(in, &i->new_password, err))
        return false;
    i->replace = pk_get_bool(in);
    i->force = pk_get_bool(in);
    return pk_get_end(in, err);
}

/* No password: every recipient that is a keystore is tried with the service master keys that are
 * here. */
static bool open_by_keystore(job *j, const pk_keyfile *file, pk_keyset *set, pk_error *err)
{
    bool any = false;
    for (size_t i = 0; i < pk_keyfile_recipients(file); i++) {
        if (pk_keyfile_recipient_kind(file, i) != PK_RECIPIENT_KEK)
            continue;
        any = true;
        SECRET kek = pk_keystore_kek_by_id(j->ks, pk_keyfile_recipient_id(file, i), err);
        if (kek != NULL && pk_keyfile_open_kek(file, i, kek, set, err))
            return true;
    }
    if (!any) {
        pk_fail(err, PK_E_PASSWORD, "the key file is protected by a password");
        return pk_error_hint(err, "Give it with ENCRYPTED BY or DECRYPTION BY PASSWORD.");
    }
    if (pk_error_is(err, PK_E_UNDEFINED_OBJECT)) {
        snprintf(err->sqlstate, sizeof err->sqlstate, "%s", PK_E_PASSWORD);
        return pk_error_hint(err, "Run RESTORE SERVICE MASTER KEY first.");
    }
    return false;
}

static bool open_by_password(const pk_keyfile *file, const pk_secret *password, pk_keyset *set,
                             pk_error *err)
{
    if (pk_keyfile_open_password(file, password, set, err))
        return true;
    if (pk_error_is(err, PK_E_PARAMETER))
        return pk_error_hint(err, "It was written without a password: ALTER SYSTEM RESTORE KEY "
                                  "without ENCRYPTED BY opens it.");
    return false;
}

static bool open_file(job *j, const import *i, pk_keyset *set, pk_error *err)
{
    PK_AUTO_PTR(pk_keyfile_free) pk_keyfile *file = pk_keyfile_parse(i->file, err);
    if (file != NULL && (i->password == NULL ? open_by_keystore(j, file, set, err)
                                             : open_by_password(file, i->password, set, err)))
        return true;
    return pk_error_wrap(err, "could not open key file \"%s\"", i->name);
}

/* A file that claims to be ours and is signed by somebody else was exchanged. */
static bool check_signer(job *j, const import *i, const pk_keyset *set, pk_import_report *report,
                         pk_error *err)
{
    const pk_identity *own = pk_keystore_signer(j->ks);
    uint8_t fp[16];
    report->signed_by_us = memcmp(set->signer, own->public_key, PK_IDENTITY_PUBLIC) == 0;
    report->recipients_differ = set->recipients_differ;
    if (!pk_identity_fingerprint(set->signer, fp, err))
        return false;
    pk_identity_fingerprint_text(fp, report->signer);
    const bool claims_us =
        memcmp(set->store_uuid, pk_keystore_uuid(j->ks), sizeof set->store_uuid) == 0;
    if (report->signed_by_us || !claims_us || i->force)
        return true;
    pk_fail(err, PK_E_CORRUPT,
            "the key file claims to come from this keystore, but another key signed it");
    pk_error_detail(err, "Its signer is %s.", report->signer);
    return pk_error_hint(err, "Somebody may have exchanged the file. FORCE accepts it.");
}

/* A password is a right of its own. Without one the keystore opened the file, for whoever asked:
 * then an owner gets the key of his own database only. */
static bool check_origin(const import *i, const pk_keyset *set, pk_error *err)
{
    bool own = true;
    for (size_t k = 0; i->of_database && k < set->count; k++)
        own = own && strcmp(set->keys[k].db, i->db.name) == 0;
    if (own || i->password != NULL || i->db.privileged)
        return true;
    pk_fail(err, PK_E_PRIVILEGE, "permission denied to restore the key of another database");
    return pk_error_hint(err, "It needs a superuser, or a key backup with a password.");
}

/* The signed list of recipients, as it stands in key_backup rows. */
static const char *recipients_json(const pk_keyset *set, pk_arena *arena, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf json = PK_BUF_MAX(64u << 10);
    bool ok = pk_buf_append_text(&json, "[", err);
    for (size_t i = 0; ok && i < set->recipient_count; i++) {
        const char *id = set->recipients[i];
        const bool plain = strpbrk(id, "\"\\") == NULL; /* else it is not one of ours */
        ok = pk_buf_printf(&json, err, "%s\"%s\"", i == 0 ? "" : ",", plain ? id : "other");
    }
    ok = ok && pk_buf_append_text(&json, "]", err);
    pk_span text = pk_buf_span(&json);
    return ok ? pk_arena_strndup(arena, text.ptr, text.len, err) : NULL;
}

static bool fill_source(const import *i, const pk_keyset *set, pk_arena *arena,
                        pk_backup_record *source, pk_error *err)
{
    *source = (pk_backup_record){.set = set,
                                 .destination = i->destination,
                                 .recipients_json = recipients_json(set, arena, err),
                                 .size = i->file.len};
    return source->recipients_json != NULL && pk_sha256(i->file, source->sha256, err);
}

static bool restore(job *j, const import *i, const pk_keyset *set, pk_restore_report *report,
                    pk_error *err)
{
    pk_backup_record source;
    if (!fill_source(i, set, j->in->arena, &source, err))
        return false;
    const pk_restore_order order = {.source = &source,
                                    .force = i->force,
                                    .db = &i->db,
                                    .opener = i->opened ? &i->opener : NULL,
                                    .password = i->new_password,
                                    .replace = i->replace};
    return i->of_database ? pk_keystore_restore_dmk(j->ks, set, &order, &j->audit, report, err)
                          : pk_keystore_restore_smk(j->ks, set, &order, &j->audit, report, err);
}

static void put_report(pk_message_out *out, const pk_import_report *report)
{
    const pk_restore_report *restored = &report->restore;
    pk_put_brief(out, &restored->brief);
    pk_put_bool(out, restored->identical);
    pk_put_u32(out, (uint32_t)restored->added_versions);
    pk_put_u32(out, (uint32_t)restored->rewrapped);
    pk_put_u32(out, (uint32_t)restored->healed);
    pk_put_bool(out, restored->password_added);
    pk_put_bool(out, restored->opens_by_itself);
    pk_put_u32(out, (uint32_t)restored->quarantined_count);
    for (size_t i = 0; i < restored->quarantined_count; i++)
        pk_put_text(out, restored->quarantined[i]);
    pk_put_bool(out, report->signed_by_us);
    pk_put_text(out, report->signer);
    pk_put_bool(out, report->recipients_differ);
}

static bool import_file(job *j, pk_error *err)
{
    PK_AUTO(import_clear) import i;
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    pk_import_report report = {.restore.arena = j->in->arena};
    pk_keyset_init(&set);
    /* Sealed, there is no identity to compare the file's signer with. */
    if (!get_import(j->in, &i, err) || pk_keystore_why_sealed(j->ks, err) ||
        !open_file(j, &i, &set, err) || !check_signer(j, &i, &set, &report, err) ||
        !check_origin(&i, &set, err) || !restore(j, &i, &set, &report.restore, err))
        return false;
    put_report(j->out, &report);
    return true;
}

/* ---- the table ---- */

static bool (*const functions[PK_KEEPER_OP_COUNT])(job *j, pk_error *err) = {
    [PK_KEEPER_STATUS] = status,
    [PK_KEEPER_SEAL] = seal,
    [PK_KEEPER_UNSEAL] = unseal,
    [PK_KEEPER_ADD_SLOT] = add_slot,
    [PK_KEEPER_DROP_SLOT] = drop_slot,
    [PK_KEEPER_AUDIT] = audit,
    [PK_KEEPER_VERIFY_AUDIT] = verify_audit,
    [PK_KEEPER_CREATE_DMK] = create_dmk,
    [PK_KEEPER_OPEN_DMK] = open_dmk,
    [PK_KEEPER_CLOSE_DMK] = close_dmk,
    [PK_KEEPER_LIST] = list,
    [PK_KEEPER_BACKUPS] = backups,
    [PK_KEEPER_EXPORT] = export,
    [PK_KEEPER_RECORD] = record,
    [PK_KEEPER_IMPORT] = import_file,
};

bool pk_keeper_run(pk_keeper_op op, pk_keystore *ks, const pk_error *why, pk_message_in *in,
                   pk_message_out *out, pk_error *err)
{
    job j = {.ks = ks, .why = why, .in = in, .out = out};
    if (pk_keeper_op_audited(op))
        j.audit = pk_get_audit(in);
    if (!functions[op](&j, err))
        return false;
    if (out->failed)
        *err = out->err;
    return !out->failed;
}
