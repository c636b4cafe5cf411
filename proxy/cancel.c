/*
 * The table is an array of lists by the server's process number; two servers behind one name may
 * give the same number, so the key decides. A connection for a cancel is never reused and none is
 * queued: a late cancel would hit somebody else's statement (PgBouncer #717).
 */
#include "proxy/cancel.h"

#include "base/log.h"

#define FORWARDED_MAX 100u /* at the same time; Odyssey #1430 */
#define PATIENCE_MS   10000u
#define DROPPED_MS    1000u /* between two warnings */
#define CODE_CANCEL   80877102u

static pk_session **bucket(pk_loop *loop, uint32_t pid)
{
    return &loop->cancel_keys[pid % PK_CANCEL_BUCKETS];
}

static pk_cancel_key *key_new(uint32_t pid, pk_span bytes)
{
    pk_cancel_key *key = pk_new_bytes(sizeof *key + bytes.len);
    key->pid = pid;
    key->len = bytes.len;
    if (bytes.len > 0)
        memcpy(key->bytes, bytes.ptr, bytes.len);
    return key;
}

void pk_cancel_register(pk_session *session, pk_span body)
{
    pk_cancel_forget(session);
    if (body.len < 8 || body.len > 4 + 256) /* nothing a client could send back */
        return;
    uint32_t pid = pk_wire_u32(body.ptr);
    session->key = key_new(pid, (pk_span){body.ptr + 4, body.len - 4});
    pk_session **head = bucket(session->loop, pid);
    session->next_key = *head;
    *head = session;
}

void pk_cancel_forget(pk_session *session)
{
    if (session->key == NULL)
        return;
    pk_session **at = bucket(session->loop, session->key->pid);
    while (*at != NULL && *at != session)
        at = &(*at)->next_key;
    if (*at == session)
        *at = session->next_key;
    pk_wipe(session->key->bytes, session->key->len);
    pk_free(session->key);
    session->key = NULL;
}

void pk_cancel_read(pk_session *session, uint32_t pid, pk_span key)
{
    session->key = key_new(pid, key); /* not in the table: it opens nothing */
}

/* Constant time in the bytes. */
static bool same_key(const pk_cancel_key *a, const pk_cancel_key *b)
{
    unsigned char differs = 0;
    if (a->pid != b->pid || a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++)
        differs |= (unsigned char)(a->bytes[i] ^ b->bytes[i]);
    return differs == 0;
}

static pk_session *find(pk_loop *loop, const pk_cancel_key *key)
{
    pk_session *session = *bucket(loop, key->pid);
    while (session != NULL && !same_key(session->key, key))
        session = session->next_key;
    return session;
}

static void on_connected(void *ctx, int fd, const pk_peer_address *to, const pk_error *err)
{
    pk_session *session = ctx;
    pk_error fault = *err;
    (void)to;
    session->connect = NULL;
    if (fd >= 0 && pk_stream_open(&session->backend, &session->loop->uv, fd, &fault)) {
        session->handles++;
        pk_session_event(session, PK_EV_CONNECTED);
    } else {
        pk_log_fault(PK_LOG_WARNING, "a cancel request could not be forwarded", &fault);
        pk_session_event(session, PK_EV_REFUSED);
    }
    pk_session_settle(session);
}

static void warn_of_dropped(pk_loop *loop)
{
    if (loop->cancel_dropped_at != 0 && uv_now(&loop->uv) < loop->cancel_dropped_at + DROPPED_MS)
        return;
    loop->cancel_dropped_at = uv_now(&loop->uv);
    pk_log_warning("cancel requests are dropped: %u are being forwarded", loop->cancels);
}

void pk_cancel_forward(pk_session *session)
{
    pk_loop *loop = session->loop;
    pk_session *target = find(loop, session->key);
    if (target != NULL && target->running != 0) {
        pk_log_debug("session %llu: canceled by its client", (unsigned long long)target->number);
        pk_engine_cancel(loop->engine, target->running);
        pk_session_event(session, PK_EV_TIMEOUT); /* nothing to wait for */
        return;
    }
    if (loop->cancels >= FORWARDED_MAX) {
        warn_of_dropped(loop);
        pk_session_event(session, PK_EV_TIMEOUT);
        return;
    }
    loop->cancels++;
    session->forwards_cancel = true;
    session->deadline = uv_now(&loop->uv) + PATIENCE_MS;
    session->connect =
        pk_connect_start(&loop->uv, &loop->backend, target == NULL ? NULL : &target->backend_at,
                         on_connected, session);
}

void pk_cancel_send(pk_session *session)
{
    PK_AUTO(pk_buf_clear) pk_buf packet = PK_BUF_SECRET(512);
    pk_writer writer = {.out = &packet};
    pk_write_u32(&writer, (uint32_t)(12 + session->key->len));
    pk_write_u32(&writer, CODE_CANCEL);
    pk_write_u32(&writer, session->key->pid);
    pk_write_bytes(&writer, (pk_span){session->key->bytes, session->key->len});
    pk_stream_write(&session->backend, pk_buf_span(&packet));
}
