/*
 * Plain big-endian writing and bounded reading; and the gatekeeper of the control socket, which
 * reads a request far enough to say who asks in the audit trail and passes the rest on unread.
 */
#include "engine/keeper_message.h"

#include "engine/keeper_transport.h"

#include <string.h>

#define NONE      UINT32_MAX /* length of a text that is NULL */
#define AUDIT_MAX (64u << 10)

static const struct rule {
    const char *name;
    bool needs_open, alone, audit;
    const char *remotely; /* its action in the audit trail */
} rules[PK_KEEPER_OP_COUNT] = {
#define X(op, open, one, row, action) {#op, open, one, row, action},
    PK_KEEPER_OPS(X)
#undef X
};

bool pk_keeper_op_needs_open(pk_keeper_op op)
{
    return rules[op].needs_open;
}

bool pk_keeper_op_alone(pk_keeper_op op)
{
    return rules[op].alone;
}

bool pk_keeper_op_audited(pk_keeper_op op)
{
    return rules[op].audit;
}

const char *pk_keeper_op_name(pk_keeper_op op)
{
    return rules[op].name;
}

/* ---- writing ---- */

void pk_put_fixed(pk_message_out *out, const void *bytes, size_t len)
{
    if (!out->failed && !pk_buf_append(out->buf, bytes, len, &out->err))
        out->failed = true;
}

void pk_put_u8(pk_message_out *out, uint8_t value)
{
    pk_put_fixed(out, &value, 1);
}

void pk_put_bool(pk_message_out *out, bool value)
{
    pk_put_u8(out, value ? 1 : 0);
}

void pk_put_u32(pk_message_out *out, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value};
    pk_put_fixed(out, bytes, sizeof bytes);
}

void pk_put_i64(pk_message_out *out, int64_t value)
{
    pk_put_u32(out, (uint32_t)((uint64_t)value >> 32));
    pk_put_u32(out, (uint32_t)(uint64_t)value);
}

void pk_put_bytes(pk_message_out *out, pk_span bytes)
{
    if (bytes.len >= NONE && !out->failed)
        out->failed = !pk_fail(&out->err, PK_E_TOO_LONG, "a value is too long");
    pk_put_u32(out, (uint32_t)bytes.len);
    pk_put_fixed(out, bytes.len == 0 ? "" : bytes.ptr, bytes.len);
}

void pk_put_text(pk_message_out *out, const char *text)
{
    if (text == NULL)
        pk_put_u32(out, NONE);
    else
        pk_put_bytes(out, pk_span_of(text));
}

void pk_put_op(pk_message_out *out, pk_keeper_op op)
{
    pk_put_u8(out, PK_KEEPER_VERSION);
    pk_put_u8(out, (uint8_t)op);
}

void pk_put_audit(pk_message_out *out, const pk_row_audit *audit)
{
    pk_put_i64(out, audit->at);
    pk_put_text(out, audit->actor);
    pk_put_text(out, audit->client);
    pk_put_text(out, audit->tls_subject);
    pk_put_text(out, audit->db);
    pk_put_text(out, audit->action);
    pk_put_text(out, audit->object);
    pk_put_text(out, audit->fp);
    pk_put_text(out, audit->outcome);
    pk_put_text(out, audit->sqlstate);
    pk_put_text(out, audit->text_redacted);
}

void pk_put_database(pk_message_out *out, const pk_database *db)
{
    pk_put_bool(out, db != NULL);
    if (db == NULL)
        return;
    pk_put_text(out, db->name);
    pk_put_i64(out, db->oid);
    pk_put_bool(out, db->privileged);
}

void pk_put_opener(pk_message_out *out, const pk_opener *opener)
{
    pk_put_bool(out, opener != NULL);
    if (opener == NULL)
        return;
    pk_put_i64(out, (int64_t)opener->session);
    pk_put_text(out, opener->user);
}

void pk_put_brief(pk_message_out *out, const pk_key_brief *brief)
{
    pk_put_fixed(out, brief->uuid, sizeof brief->uuid);
    pk_put_i64(out, brief->version);
    pk_put_text(out, brief->fingerprint);
    pk_put_bool(out, brief->dropped_database);
    pk_put_bool(out, brief->recreated_database);
}

/* ---- reading ---- */

static pk_span take(pk_message_in *in, size_t len)
{
    if (in->bad || in->rest.len < len) {
        in->bad = true;
        return PK_SPAN("");
    }
    pk_span taken = {in->rest.ptr, len};
    in->rest = (pk_span){in->rest.ptr + len, in->rest.len - len};
    return taken;
}

void pk_get_fixed(pk_message_in *in, void *bytes, size_t len)
{
    pk_span taken = take(in, len);
    memset(bytes, 0, len);
    if (taken.len == len)
        memcpy(bytes, taken.ptr, len);
}

uint8_t pk_get_u8(pk_message_in *in)
{
    uint8_t value = 0;
    pk_get_fixed(in, &value, 1);
    return value;
}

bool pk_get_bool(pk_message_in *in)
{
    const uint8_t value = pk_get_u8(in);
    if (value > 1)
        in->bad = true;
    return value == 1;
}

uint32_t pk_get_u32(pk_message_in *in)
{
    uint8_t b[4];
    pk_get_fixed(in, b, sizeof b);
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

int64_t pk_get_i64(pk_message_in *in)
{
    const uint64_t high = pk_get_u32(in);
    return (int64_t)(high << 32 | pk_get_u32(in));
}

pk_span pk_get_bytes(pk_message_in *in)
{
    const uint32_t len = pk_get_u32(in);
    if (len == NONE)
        in->bad = true;
    return take(in, len == NONE ? 0 : len);
}

const char *pk_get_text(pk_message_in *in)
{
    pk_error dropped;
    const uint32_t len = pk_get_u32(in);
    if (len == NONE)
        return NULL;
    pk_span text = take(in, len);
    if (memchr(text.ptr, 0, text.len) != NULL)
        in->bad = true;
    if (in->bad)
        return NULL;
    const char *copy = pk_arena_strndup(in->arena, text.ptr, text.len, &dropped);
    if (copy == NULL)
        in->bad = in->starved = true;
    return copy;
}

const char *pk_get_some_text(pk_message_in *in)
{
    const char *text = pk_get_text(in);
    if (text == NULL)
        in->bad = true;
    return text == NULL ? "" : text;
}

void pk_get_name(pk_message_in *in, char *name, size_t size)
{
    pk_span text = pk_get_bytes(in);
    memset(name, 0, size);
    if (text.len >= size || memchr(text.ptr, 0, text.len) != NULL)
        in->bad = true;
    else
        memcpy(name, text.ptr, text.len);
}

pk_row_audit pk_get_audit(pk_message_in *in)
{
    pk_row_audit audit = {.at = pk_get_i64(in)};
    audit.actor = pk_get_text(in);
    audit.client = pk_get_text(in);
    audit.tls_subject = pk_get_text(in);
    audit.db = pk_get_text(in);
    audit.action = pk_get_some_text(in);
    audit.object = pk_get_text(in);
    audit.fp = pk_get_text(in);
    audit.outcome = pk_get_some_text(in);
    audit.sqlstate = pk_get_text(in);
    audit.text_redacted = pk_get_text(in);
    return audit;
}

bool pk_get_database(pk_message_in *in, pk_database *db)
{
    *db = (pk_database){.name = ""};
    if (!pk_get_bool(in))
        return false;
    db->name = pk_get_some_text(in);
    db->oid = pk_get_i64(in);
    db->privileged = pk_get_bool(in);
    return true;
}

bool pk_get_opener(pk_message_in *in, pk_opener *opener)
{
    *opener = (pk_opener){0};
    if (!pk_get_bool(in))
        return false;
    opener->session = (uint64_t)pk_get_i64(in);
    opener->user = pk_get_text(in);
    return true;
}

void pk_get_brief(pk_message_in *in, pk_key_brief *brief)
{
    pk_get_fixed(in, brief->uuid, sizeof brief->uuid);
    brief->version = pk_get_i64(in);
    pk_get_name(in, brief->fingerprint, sizeof brief->fingerprint);
    brief->dropped_database = pk_get_bool(in);
    brief->recreated_database = pk_get_bool(in);
}

size_t pk_get_count(pk_message_in *in, size_t least)
{
    const size_t count = pk_get_u32(in);
    if (in->bad || count > in->rest.len / least) {
        in->bad = true;
        return 0;
    }
    return count;
}

bool pk_get_op(pk_message_in *in, pk_keeper_op *op, pk_error *err)
{
    const uint8_t version = pk_get_u8(in);
    const uint8_t number = pk_get_u8(in);
    if (in->bad || version != PK_KEEPER_VERSION || number >= PK_KEEPER_OP_COUNT)
        return pk_fail(err, PK_E_PROTOCOL, "the keeper does not understand this request");
    *op = (pk_keeper_op)number;
    return true;
}

bool pk_get_end(const pk_message_in *in, pk_error *err)
{
    if (!in->bad && in->rest.len == 0)
        return true;
    if (in->starved)
        return pk_fail(err, PK_E_MEMORY, "out of memory");
    return pk_fail(err, PK_E_PROTOCOL, "a message of the keeper is malformed");
}

bool pk_keeper_admit(pk_span request, const char *actor, pk_buf *admitted, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(AUDIT_MAX);
    pk_message_in in = {.rest = request, .arena = &arena};
    pk_message_out out = {.buf = admitted};
    pk_keeper_op op;
    if (!pk_get_op(&in, &op, err))
        return false;
    if (rules[op].remotely == NULL)
        return pk_fail(err, PK_E_PRIVILEGE, "this cannot be asked over the control socket");
    pk_put_op(&out, op);
    if (rules[op].audit) {
        const pk_row_audit audit = pk_get_audit(&in);
        if (in.bad)
            return pk_get_end(&in, err);
        const pk_row_audit row = {.actor = actor,
                                  .client = "control socket",
                                  .tls_subject = "",
                                  .db = "",
                                  .action = rules[op].remotely,
                                  .object = audit.object,
                                  .fp = "",
                                  .outcome = "ok",
                                  .sqlstate = PK_OK,
                                  .text_redacted = ""};
        pk_put_audit(&out, &row);
    }
    pk_put_fixed(&out, in.rest.ptr, in.rest.len);
    if (out.failed)
        *err = out.err;
    return !out.failed;
}
