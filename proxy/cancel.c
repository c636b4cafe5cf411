/*
 * The table is an array of lists by the server's process number, with a lock to every few of them;
 * two servers behind one name may give the same number, so the key decides. A connection for a
 * cancel is never reused and none is queued: a late cancel would hit somebody else's statement
 * (PgBouncer #717).
 */
#include "proxy/cancel.h"

#include "base/log.h"

#define BUCKETS       4096u
#define LOCKS         16u
#define FORWARDED_MAX 100u /* at the same time, on one loop; Odyssey #1430 */
#define PATIENCE_MS   10000u
#define DROPPED_MS    1000u /* between two warnings */
#define CODE_CANCEL   80877102u

struct pk_cancel_key {
    pk_cancel_key *next;
    uint64_t session;
    atomic_uint_fast64_t running; /* request of ours; 0: none */
    pk_address backend;
    uint32_t pid;
    uint16_t len;
    char bytes[];
};

struct pk_cancel_table {
    pthread_mutex_t locks[LOCKS];
    pk_cancel_key *buckets[BUCKETS];
};

pk_cancel_table *pk_cancel_table_new(void)
{
    pk_cancel_table *table = pk_new(pk_cancel_table);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&table->locks[i], NULL);
    return table;
}

void pk_cancel_table_free(pk_cancel_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&table->locks[i]);
    pk_free(table);
}

static pthread_mutex_t *lock_of(pk_cancel_table *table, uint32_t pid)
{
    return &table->locks[pid % LOCKS];
}

static pk_cancel_key **bucket(pk_cancel_table *table, uint32_t pid)
{
    return &table->buckets[pid % BUCKETS];
}

static pk_cancel_key *key_new(const pk_session *session, uint32_t pid, pk_span bytes)
{
    pk_cancel_key *key = pk_new_bytes(sizeof *key + bytes.len);
    key->session = session->number;
    key->backend = session->backend_at;
    key->pid = pid;
    key->len = (uint16_t)bytes.len; /* at most 256: checked when it was read */
    if (bytes.len > 0)
        memcpy(key->bytes, bytes.ptr, bytes.len);
    return key;
}

static void free_key(pk_session *session)
{
    pk_wipe(session->key->bytes, session->key->len);
    pk_free(session->key);
    session->key = NULL;
}

void pk_cancel_register(pk_session *session, pk_span body)
{
    pk_cancel_table *table = session->loop->hub->cancels;
    pk_cancel_forget(session);
    if (body.len < 8 || body.len > 4 + 256) /* nothing a client could send back */
        return;
    const uint32_t pid = pk_wire_u32(body.ptr);
    session->key = key_new(session, pid, (pk_span){body.ptr + 4, body.len - 4});
    pthread_mutex_lock(lock_of(table, pid));
    session->key->next = *bucket(table, pid);
    *bucket(table, pid) = session->key;
    pthread_mutex_unlock(lock_of(table, pid));
}

void pk_cancel_forget(pk_session *session)
{
    pk_cancel_table *table = session->loop->hub->cancels;
    if (session->key == NULL)
        return;
    const uint32_t pid = session->key->pid;
    pthread_mutex_lock(lock_of(table, pid));
    pk_cancel_key **at = bucket(table, pid);
    while (*at != NULL && *at != session->key)
        at = &(*at)->next;
    if (*at == session->key)
        *at = session->key->next;
    pthread_mutex_unlock(lock_of(table, pid));
    free_key(session);
}

void pk_cancel_note_running(pk_session *session, uint64_t request)
{
    session->running = request;
    if (session->key != NULL)
        atomic_store(&session->key->running, request);
}

void pk_cancel_read(pk_session *session, uint32_t pid, pk_span key)
{
    session->key = key_new(session, pid, key); /* not in the table: it opens nothing */
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

typedef struct whose {
    bool known;
    uint64_t session, running;
    pk_address backend;
} whose;

static whose look_up(pk_cancel_table *table, const pk_cancel_key *key)
{
    whose found = {0};
    pthread_mutex_lock(lock_of(table, key->pid));
    const pk_cancel_key *at = *bucket(table, key->pid);
    while (at != NULL && !same_key(at, key))
        at = at->next;
    if (at != NULL)
        found = (whose){true, at->session, atomic_load(&at->running), at->backend};
    pthread_mutex_unlock(lock_of(table, key->pid));
    return found;
}

static void warn_of_dropped(pk_loop *loop)
{
    const uint64_t now = pk_poller_now(pk_loop_poller(loop));
    if (loop->cancel_dropped_at != 0 && now < loop->cancel_dropped_at + DROPPED_MS)
        return;
    loop->cancel_dropped_at = now;
    pk_log_warning("cancel requests are dropped: %u are being forwarded", loop->cancels);
}

void pk_cancel_forward(pk_session *session)
{
    pk_loop *loop = session->loop;
    const whose target = look_up(loop->hub->cancels, session->key);
    if (target.running != 0) {
        pk_log_debug("session %llu: canceled by its client", (unsigned long long)target.session);
        pk_engine_cancel(loop->hub->engine, target.running);
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
    session->deadline = pk_poller_now(pk_loop_poller(loop)) + PATIENCE_MS;
    session->backend_at = target.backend;
    session->exact_backend = target.known;
    session->connect_due = true;
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
