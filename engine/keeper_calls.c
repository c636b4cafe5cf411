/*
 * Requests written, replies read. Each function is one message of keeper_message.h: the order of
 * the values here is the order in keeper_ops.c.
 */
#include "engine/keeper_message.h"

#include "crypto/recovery.h"

#include <string.h>

/* A request on its way and its reply; both may hold a secret. */
typedef struct exchange {
    pk_buf request, reply;
    pk_message_out out;
    pk_message_in in;
} exchange;

static void exchange_clear(exchange *x)
{
    pk_buf_clear(&x->request);
    pk_buf_clear(&x->reply);
}

static void begin(exchange *x, pk_keeper_op op, const pk_row_audit *audit)
{
    *x = (exchange){.request = PK_BUF_SECRET(PK_KEEPER_MESSAGE_MAX),
                    .reply = PK_BUF_SECRET(PK_KEEPER_MESSAGE_MAX)};
    x->out.buf = &x->request;
    pk_put_op(&x->out, op);
    if (audit != NULL)
        pk_put_audit(&x->out, audit);
}

/* The arena is for the reply's texts; NULL if it has none. */
static bool send(exchange *x, pk_keeper *keeper, pk_arena *arena, pk_error *err)
{
    if (x->out.failed) {
        *err = x->out.err;
        return false;
    }
    if (!pk_keeper_call(keeper, pk_buf_span(&x->request), &x->reply, err))
        return false;
    x->in = (pk_message_in){.rest = pk_buf_span(&x->reply), .arena = arena};
    return true;
}

/* For requests whose reply says nothing. */
static bool ask(exchange *x, pk_keeper *keeper, pk_error *err)
{
    return send(x, keeper, NULL, err) && pk_get_end(&x->in, err);
}

/* ---- the keystore itself ---- */

static void get_error(pk_message_in *in, pk_error *why)
{
    *why = (pk_error){0};
    pk_get_name(in, why->sqlstate, sizeof why->sqlstate);
    pk_get_name(in, why->message, sizeof why->message);
    pk_get_name(in, why->detail, sizeof why->detail);
    pk_get_name(in, why->hint, sizeof why->hint);
}

static bool get_slots(pk_message_in *in, pk_keeper_status *status, pk_error *err)
{
    status->slot_count = pk_get_count(in, 8 + 4 + 4 + 8 + 8);
    status->slots = pk_arena_array(in->arena, status->slot_count + 1, sizeof *status->slots, err);
    if (status->slots == NULL)
        return false;
    for (size_t i = 0; i < status->slot_count; i++) {
        pk_slot_info *slot = &status->slots[i];
        slot->id = pk_get_i64(in);
        slot->kind = pk_get_some_text(in);
        slot->label = pk_get_some_text(in);
        slot->created_at = pk_get_i64(in);
        slot->last_ok_at = pk_get_i64(in);
    }
    return true;
}

bool pk_keeper_status_get(pk_keeper *keeper, pk_arena *arena, pk_keeper_status *status,
                          pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_STATUS, NULL);
    *status = (pk_keeper_status){.state = ""};
    if (!send(&x, keeper, arena, err))
        return false;
    status->state = pk_get_some_text(&x.in);
    get_error(&x.in, &status->why);
    pk_get_name(&x.in, status->uuid, sizeof status->uuid);
    pk_get_name(&x.in, status->identity, sizeof status->identity);
    pk_get_name(&x.in, status->service_master_key, sizeof status->service_master_key);
    pk_get_name(&x.in, status->audit_head, sizeof status->audit_head);
    status->epoch = pk_get_i64(&x.in);
    return get_slots(&x.in, status, err) && pk_get_end(&x.in, err);
}

bool pk_keeper_seal(pk_keeper *keeper, const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_SEAL, audit);
    return ask(&x, keeper, err);
}

bool pk_keeper_unseal(pk_keeper *keeper, const char *kind, pk_span secret,
                      const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_UNSEAL, audit);
    pk_put_text(&x.out, kind);
    pk_put_bytes(&x.out, secret);
    return ask(&x, keeper, err);
}

bool pk_keeper_add_slot(pk_keeper *keeper, const pk_slot_request *slot, const pk_row_audit *audit,
                        pk_buf *code, int64_t *id, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_ADD_SLOT, audit);
    pk_put_text(&x.out, slot->kind);
    pk_put_text(&x.out, slot->label);
    pk_put_bytes(&x.out, slot->secret);
    if (!send(&x, keeper, NULL, err))
        return false;
    *id = pk_get_i64(&x.in);
    pk_span made = pk_get_bytes(&x.in);
    if (!pk_get_end(&x.in, err))
        return false;
    return made.len == 0 || (code != NULL && pk_buf_append_span(code, made, err));
}

bool pk_keeper_new_code(pk_buf *code, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_random(PK_RECOVERY_LEN, err);
    return secret != NULL && pk_recovery_write(secret, code, err);
}

bool pk_keeper_drop_slot(pk_keeper *keeper, int64_t id, const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_DROP_SLOT, audit);
    pk_put_i64(&x.out, id);
    return ask(&x, keeper, err);
}

bool pk_keeper_audit(pk_keeper *keeper, const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_AUDIT, audit);
    return ask(&x, keeper, err);
}

bool pk_keeper_verify_audit(pk_keeper *keeper, const char *head, pk_audit_summary *summary,
                            pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_VERIFY_AUDIT, NULL);
    pk_put_text(&x.out, head);
    *summary = (pk_audit_summary){0};
    if (!send(&x, keeper, NULL, err))
        return false;
    summary->rows = pk_get_i64(&x.in);
    summary->epoch = pk_get_i64(&x.in);
    pk_get_name(&x.in, summary->head, sizeof summary->head);
    return pk_get_end(&x.in, err);
}

/* ---- database master keys ---- */

bool pk_keeper_create_dmk(pk_keeper *keeper, const pk_database *db, pk_span password,
                          const pk_row_audit *audit, pk_key_brief *brief, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_CREATE_DMK, audit);
    pk_put_database(&x.out, db);
    pk_put_bytes(&x.out, password);
    if (!send(&x, keeper, NULL, err))
        return false;
    pk_get_brief(&x.in, brief);
    return pk_get_end(&x.in, err);
}

bool pk_keeper_open_dmk(pk_keeper *keeper, const pk_open_request *request,
                        const pk_row_audit *audit, pk_key_brief *brief, bool *was_open,
                        pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_OPEN_DMK, audit);
    pk_put_database(&x.out, request->db);
    pk_put_opener(&x.out, request->opener);
    pk_put_bytes(&x.out, request->password);
    if (!send(&x, keeper, NULL, err))
        return false;
    pk_get_brief(&x.in, brief);
    *was_open = pk_get_bool(&x.in);
    return pk_get_end(&x.in, err);
}

bool pk_keeper_close_dmk(pk_keeper *keeper, const pk_database *db, const pk_opener *opener,
                         const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_CLOSE_DMK, audit);
    pk_put_database(&x.out, db);
    pk_put_opener(&x.out, opener);
    return ask(&x, keeper, err);
}

static void get_key(pk_message_in *in, pk_key_info *key)
{
    *key = (pk_key_info){.database = pk_get_text(in)};
    key->db_oid = pk_get_i64(in);
    pk_get_fixed(in, key->uuid, sizeof key->uuid);
    key->version = pk_get_i64(in);
    key->by_server = pk_get_bool(in);
    key->open = pk_get_bool(in);
    key->passwords = pk_get_i64(in);
    key->created_at = pk_get_i64(in);
    key->modified_at = pk_get_i64(in);
    key->last_backup_at = pk_get_i64(in);
    pk_get_name(in, key->fingerprint, sizeof key->fingerprint);
    key->state = pk_get_some_text(in);
    key->backed_up = pk_get_some_text(in);
}

bool pk_keeper_list(pk_keeper *keeper, const pk_opener *opener, pk_arena *arena, pk_key_info **list,
                    size_t *count, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_LIST, NULL);
    pk_put_opener(&x.out, opener);
    if (!send(&x, keeper, arena, err))
        return false;
    *count = pk_get_count(&x.in, 16);
    *list = pk_arena_array(arena, *count + 1, sizeof **list, err);
    if (*list == NULL)
        return false;
    for (size_t i = 0; i < *count; i++)
        get_key(&x.in, &(*list)[i]);
    return pk_get_end(&x.in, err);
}

static void get_backup(pk_message_in *in, pk_backup_info *backup)
{
    *backup = (pk_backup_info){.database = pk_get_text(in)};
    backup->db_oid = pk_get_i64(in);
    backup->kind = pk_get_some_text(in);
    backup->destination = pk_get_some_text(in);
    backup->version = pk_get_i64(in);
    pk_get_name(in, backup->fingerprint, sizeof backup->fingerprint);
    backup->encrypted = pk_get_bool(in);
    backup->stale = pk_get_bool(in);
    backup->verified = pk_get_bool(in);
    backup->created_at = pk_get_i64(in);
    backup->recipients_json = pk_get_some_text(in);
}

bool pk_keeper_backups(pk_keeper *keeper, pk_arena *arena, pk_backup_info **list, size_t *count,
                       pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_BACKUPS, NULL);
    if (!send(&x, keeper, arena, err))
        return false;
    *count = pk_get_count(&x.in, 16);
    *list = pk_arena_array(arena, *count + 1, sizeof **list, err);
    if (*list == NULL)
        return false;
    for (size_t i = 0; i < *count; i++)
        get_backup(&x.in, &(*list)[i]);
    return pk_get_end(&x.in, err);
}

/* ---- key files ---- */

/* Bytes of a reply that outlive it. */
static pk_span kept(pk_message_in *in)
{
    pk_error dropped;
    pk_span bytes = pk_get_bytes(in);
    const char *copy = pk_arena_strndup(in->arena, bytes.ptr, bytes.len, &dropped);
    if (copy == NULL)
        in->bad = in->starved = true;
    return (pk_span){copy == NULL ? "" : copy, copy == NULL ? 0 : bytes.len};
}

bool pk_keeper_export(pk_keeper *keeper, const pk_export_order *order, pk_arena *arena,
                      pk_buf *file, pk_export_receipt *receipt, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_EXPORT, NULL);
    pk_put_database(&x.out, order->db);
    pk_put_opener(&x.out, order->opener);
    pk_put_bytes(&x.out, order->password);
    pk_put_text(&x.out, order->statement);
    pk_put_text(&x.out, order->user);
    pk_put_text(&x.out, order->server_version);
    pk_put_text(&x.out, order->system_identifier);
    if (!send(&x, keeper, arena, err))
        return false;
    pk_get_brief(&x.in, &receipt->brief);
    receipt->contents = kept(&x.in);
    receipt->recipient = pk_get_some_text(&x.in);
    receipt->created_at = pk_get_i64(&x.in);
    pk_span bytes = pk_get_bytes(&x.in);
    return pk_get_end(&x.in, err) && pk_buf_append_span(file, bytes, err);
}

bool pk_keeper_record(pk_keeper *keeper, const pk_backup_note *notes, size_t count,
                      const pk_row_audit *audit, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_RECORD, audit);
    pk_put_u32(&x.out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        pk_put_text(&x.out, notes[i].destination);
        pk_put_bytes(&x.out, notes[i].contents);
        pk_put_text(&x.out, notes[i].recipients_json);
        pk_put_fixed(&x.out, notes[i].sha256, sizeof notes[i].sha256);
        pk_put_i64(&x.out, (int64_t)notes[i].size);
    }
    return ask(&x, keeper, err);
}

/* The restore has happened: for want of memory a name may be missing here, but not the report. */
static const char *name_or_dots(pk_message_in *in)
{
    pk_error dropped;
    pk_span name = pk_get_bytes(in);
    const char *copy = pk_arena_strndup(in->arena, name.ptr, name.len, &dropped);
    return copy == NULL ? "..." : copy;
}

static void get_report(pk_message_in *in, pk_import_report *report)
{
    pk_error dropped;
    pk_restore_report *restore = &report->restore;
    *report = (pk_import_report){.restore.arena = in->arena};
    pk_get_brief(in, &restore->brief);
    restore->identical = pk_get_bool(in);
    restore->added_versions = pk_get_u32(in);
    restore->rewrapped = pk_get_u32(in);
    restore->healed = pk_get_u32(in);
    restore->password_added = pk_get_bool(in);
    restore->opens_by_itself = pk_get_bool(in);
    const size_t count = pk_get_count(in, 4);
    restore->quarantined = pk_arena_array(in->arena, count + 1, sizeof(const char *), &dropped);
    for (size_t i = 0; i < count; i++) {
        const char *name = name_or_dots(in);
        if (restore->quarantined != NULL)
            restore->quarantined[restore->quarantined_count++] = name;
    }
    report->signed_by_us = pk_get_bool(in);
    pk_get_name(in, report->signer, sizeof report->signer);
    report->recipients_differ = pk_get_bool(in);
}

bool pk_keeper_import(pk_keeper *keeper, const pk_import_order *order, const pk_row_audit *audit,
                      pk_arena *arena, pk_import_report *report, pk_error *err)
{
    PK_AUTO(exchange_clear) exchange x;
    begin(&x, PK_KEEPER_IMPORT, audit);
    pk_put_database(&x.out, order->db);
    pk_put_opener(&x.out, order->opener);
    pk_put_text(&x.out, order->name);
    pk_put_text(&x.out, order->destination);
    pk_put_bytes(&x.out, order->file);
    pk_put_bytes(&x.out, order->password);
    pk_put_bytes(&x.out, order->new_password);
    pk_put_bool(&x.out, order->replace);
    pk_put_bool(&x.out, order->force);
    if (!send(&x, keeper, arena, err))
        return false;
    get_report(&x.in, report);
    return pk_get_end(&x.in, err);
}
