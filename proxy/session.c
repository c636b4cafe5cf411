/*
 * Birth, login, end. Everything that happens to a session comes in through one of a few callbacks
 * (a stream, the connector, the engine's answer, the timer); each raises events and ends with
 * pk_session_settle, which takes the steps that became possible and closes what is over. Acts of
 * the state table therefore never touch bytes that a caller further up still reads.
 *
 * Ending a session: what is pending goes out (CLOSING), then our side is shut down and the client
 * is given a moment to close (LINGER). Closing at once with unread input in the socket would send a
 * reset, which can overtake the FATAL that explains it.
 */
#include "proxy/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/cancel.h"
#include "proxy/intercept.h"
#include "proxy/lockstep.h"
#include "proxy/relay.h"
#include "proxy/reply.h"
#include "proxy/startup.h"

#include <stdio.h>
#include <unistd.h>

#define CLOSING_MS      5000u
#define LINGER_MS       1500u
#define FINISH_MS       60000u
#define HELD_MAX        (64u << 10) /* then the client is not read any more */
#define STARTUP_HELD    (16u << 10)
#define FATAL_REPLY_MAX 4096u
#define TURNED_AWAY_MS  1000u /* between two warnings */

#define NUMBER(session) ((unsigned long long)(session)->number)

static uint64_t now(const pk_session *session)
{
    return pk_poller_now(pk_loop_poller(session->loop));
}

static const char *peer_name(const pk_session *session, char out[static PK_ADDRESS_TEXT])
{
    return pk_address_text(&session->peer, out, PK_ADDRESS_TEXT);
}

/* ---- what others call ---- */

void pk_session_say(pk_session *session, const pk_buf *messages)
{
    pk_stream_write(&session->client, pk_buf_span(messages));
}

void pk_session_send(pk_session *session, const pk_buf *message)
{
    pk_span bytes = pk_buf_span(message);
    if (bytes.len == 0)
        return;
    pk_replyq_sent(&session->replies, bytes.ptr[0]);
    pk_stream_write(&session->backend, bytes);
}

static void say_fatal(pk_session *session, const pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(FATAL_REPLY_MAX);
    if (session->client.shaking) /* nothing can be said yet */
        return;
    if (session->backend_left == 0 && pk_reply_error(&out, session->encoding, err, true))
        pk_session_say(session, &out);
}

void pk_session_fatal(pk_session *session, const pk_error *err)
{
    pk_log_info("session %llu: %s (%s)", NUMBER(session), err->message, err->sqlstate);
    say_fatal(session, err);
    pk_session_event(session, PK_EV_REFUSED);
}

pk_session *pk_session_find(pk_loop *loop, uint64_t number)
{
    pk_session *session = loop->sessions;
    while (session != NULL && session->number != number)
        session = session->next;
    return session;
}

bool pk_session_is_holding(const pk_session *session)
{
    return session->state == PK_ST_HOLD || session->state == PK_ST_CHECK ||
           session->state == PK_ST_STEP || session->state == PK_ST_POISON ||
           session->state == PK_ST_LOCAL;
}

bool pk_session_is_secure(const pk_session *session)
{
    return session->client.tls != NULL || pk_address_is_local(&session->peer);
}

void pk_session_forget_keys(pk_session *session)
{
    if (!session->opened)
        return;
    pk_engine_forget_session(session->loop->hub->engine, session->number);
    session->opened = session->forget_too = session->running != 0;
}

/* ---- first packets ---- */

static void refuse_version(pk_session *session, const pk_startup *first)
{
    pk_error err;
    (void)pk_fail(&err, PK_E_UNSUPPORTED,
                  "unsupported frontend protocol %u.%u: server supports 3.0 to 3.2",
                  (unsigned)(first->version >> 16), (unsigned)(first->version & 0xffff));
    pk_session_fatal(session, &err);
}

/* Once each, and alone: a byte that came with the request was sent in the clear by somebody else
 * (CVE-2021-23214). */
static bool may_ask(pk_session *session, bool *asked, const pk_startup *first, size_t behind)
{
    pk_error err;
    if (*asked) {
        refuse_version(session, first);
        return false;
    }
    *asked = true;
    if (behind == 0)
        return true;
    (void)pk_fail(&err, PK_E_PROTOCOL, "received unencrypted data after %s request",
                  asked == &session->ssl_asked ? "SSL" : "GSSAPI encryption");
    pk_session_fatal(session, &err);
    return false;
}

static bool offers_tls(const pk_session *session)
{
    return session->loop->settings->client_tls != NULL && session->peer.family != AF_UNIX &&
           session->client.tls == NULL;
}

static void answer_ssl(pk_session *session, const pk_startup *first, size_t behind)
{
    if (!may_ask(session, &session->ssl_asked, first, behind))
        return;
    if (!offers_tls(session)) {
        pk_stream_write(&session->client, PK_SPAN("N"));
        return;
    }
    pk_stream_write(&session->client, PK_SPAN("S"));
    pk_stream_accept_tls(&session->client, session->loop->settings->client_tls, PK_SPAN(""));
}

/* A handshake without asking (PostgreSQL 17). In the clear no text of ours would be understood. */
static void begin_direct_tls(pk_session *session, pk_span begun)
{
    if (!offers_tls(session) || session->ssl_asked) {
        pk_session_event(session, PK_EV_CLIENT_LOST);
        return;
    }
    session->direct_tls = true;
    pk_stream_accept_tls(&session->client, session->loop->settings->client_tls, begun);
}

/* Who begins without asking must name the protocol, or another protocol's bytes could be meant for
 * us (the cross-protocol attack that ALPN is there for). */
static void client_secured(pk_stream *stream)
{
    pk_session *session = stream->ctx;
    pk_log_debug("session %llu: %s, %s", NUMBER(session), pk_tls_link_version(stream->tls),
                 pk_tls_link_cipher(stream->tls));
    if (session->direct_tls && !pk_tls_has_alpn(stream->tls)) {
        pk_log_info("session %llu: direct TLS without ALPN is refused", NUMBER(session));
        session->client_gone = true;
        pk_session_event(session, PK_EV_CLIENT_LOST);
    }
}

/* hostssl and clientcert=verify-full of pg_hba.conf, which cannot see the client's TLS. */
static bool check_tls(const pk_session *session, const pk_startup *first, pk_error *err)
{
    char subject[256];
    char name[PK_NAME_BYTES + 2];
    const pk_tls *tls = session->loop->settings->client_tls;
    if (tls == NULL || session->peer.family == AF_UNIX || pk_tls_mode(tls) < PK_SSL_REQUIRE)
        return true;
    if (session->client.tls == NULL) {
        (void)pk_fail(err, PK_E_NOT_ALLOWED, "connection requires SSL");
        return pk_error_hint(err, "Connect with sslmode=require.");
    }
    if (pk_tls_mode(tls) != PK_SSL_VERIFY_FULL)
        return true;
    if (pk_tls_link_peer_names(session->client.tls, subject, sizeof subject, name, sizeof name) &&
        strcmp(name, session->login) == 0) /* cut as the server cuts it */
        return true;
    return pk_fail(err, PK_E_NOT_ALLOWED,
                   "certificate authentication failed: the client certificate is not for user "
                   "\"%.*s\"",
                   PK_SPAN_ARG(first->user));
}

/* A name as the server takes it: cut to what pg_database holds, before it looks. */
static char *copy_name(pk_span text)
{
    if (text.len > PK_NAME_BYTES)
        text.len = PK_NAME_BYTES;
    char *copy = pk_new_bytes(text.len + 1);
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    return copy;
}

/* The places of the session, and whether there is room for a database and a role. Those are counted
 * once the login is over: who cannot log in takes no place of those who can. */
static bool enter(pk_session *session, pk_error *err)
{
    pk_limits *limits = session->loop->hub->limits;
    char host[PK_ADDRESS_TEXT];
    (void)pk_address_host(&session->peer, host);
    session->counted[PK_LIMIT_TOTAL] = pk_limits_take(limits, PK_LIMIT_TOTAL, NULL, err);
    if (!session->counted[PK_LIMIT_TOTAL])
        return false;
    session->counted[PK_LIMIT_ADDRESS] = pk_limits_take(limits, PK_LIMIT_ADDRESS, host, err);
    return session->counted[PK_LIMIT_ADDRESS] &&
           pk_limits_has_room(limits, PK_LIMIT_DATABASE, session->database, err) &&
           pk_limits_has_room(limits, PK_LIMIT_ROLE, session->login, err);
}

static void leave(pk_session *session)
{
    pk_limits *limits = session->loop->hub->limits;
    char host[PK_ADDRESS_TEXT];
    if (!session->counted[PK_LIMIT_TOTAL]) /* the first to be taken */
        return;
    const char *names[PK_LIMIT_COUNT] = {
        [PK_LIMIT_TOTAL] = "",
        [PK_LIMIT_ADDRESS] = pk_address_host(&session->peer, host),
        [PK_LIMIT_DATABASE] = session->database,
        [PK_LIMIT_ROLE] = session->login,
    };
    for (int i = 0; i < PK_LIMIT_COUNT; i++)
        if (session->counted[i]) {
            pk_limits_give(limits, (pk_limit)i, names[i]);
            session->counted[i] = false;
        }
}

static void read_startup(pk_session *session, const pk_startup *first)
{
    pk_error err;
    session->database = copy_name(first->database);
    session->login = copy_name(first->user);
    session->walsender = first->walsender;
    session->version = first->version;
    if (check_tls(session, first, &err) && enter(session, &err))
        pk_session_event(session, PK_EV_STARTUP_READ);
    else
        pk_session_fatal(session, &err);
}

/* Returns the bytes done with; a startup packet stays, it is forwarded once there is a backend. */
static size_t read_first_packet(pk_session *session, pk_span bytes)
{
    pk_startup first;
    pk_error err;
    switch (pk_startup_parse(bytes, &first, &err)) {
    case PK_FIRST_MORE:
        return 0;
    case PK_FIRST_TLS:
        begin_direct_tls(session, bytes);
        break;
    case PK_FIRST_SSL_REQUEST:
        answer_ssl(session, &first, bytes.len - first.size);
        return first.size;
    case PK_FIRST_GSS_REQUEST:
        if (may_ask(session, &session->gss_asked, &first, bytes.len - first.size))
            pk_stream_write(&session->client, PK_SPAN("N"));
        return first.size;
    case PK_FIRST_CANCEL:
        pk_cancel_read(session, first.pid, first.key);
        pk_session_event(session, PK_EV_CANCEL_READ);
        break;
    case PK_FIRST_STARTUP:
        read_startup(session, &first);
        return 0;
    case PK_FIRST_BAD:
        pk_session_fatal(session, &err);
        break;
    }
    return bytes.len;
}

/* ---- the backend ---- */

static void refuse_circle(pk_session *session)
{
    pk_error err;
    (void)pk_fail(&err, PK_E_BACKEND_UNREACHABLE, "the backend of pgkeep is pgkeep itself");
    (void)pk_error_hint(&err,
                        "proxy.backend (--backend) must name PostgreSQL, not the address that "
                        "pgkeep listens on.");
    pk_log_error("proxy.backend names this pgkeep itself");
    pk_session_fatal(session, &err);
}

static void not_connected(pk_session *session, const pk_error *err)
{
    if (session->state != PK_ST_CANCEL) {
        pk_session_fatal(session, err);
        return;
    }
    pk_log_fault(PK_LOG_WARNING, "a cancel request could not be forwarded", err);
    pk_session_event(session, PK_EV_REFUSED);
}

/* Channel binding cannot work then, and its failure tells nobody why: said once. */
static void compare_certificates(const pk_session *session)
{
    uint8_t ours[32];
    uint8_t theirs[32];
    pk_settings *settings = session->loop->settings;
    if (session->backend.tls == NULL || settings->client_tls == NULL ||
        atomic_exchange(&settings->certificates_compared, true))
        return;
    pk_tls_digest(settings->client_tls, ours);
    pk_tls_link_peer_digest(session->backend.tls, theirs);
    if (!pk_span_equal(pk_span_bytes(ours, sizeof ours), pk_span_bytes(theirs, sizeof theirs)))
        pk_log_warning("pgkeep and the server show different certificates: clients that use "
                       "channel binding with SCRAM cannot log in; give pgkeep the server's "
                       "certificate, or connect to the server without TLS (server_tls.sslmode = "
                       "disable), or clients channel_binding=disable");
}

static void take_connection(pk_session *session, const pk_connection *made, const pk_error *err)
{
    const pk_hub *hub = session->loop->hub;
    session->connect = NULL;
    if (made->fd < 0) {
        not_connected(session, err);
        return;
    }
    pk_stream_open(&session->backend, made->fd, made->tls);
    session->backend_at = made->to;
    compare_certificates(session);
    if (pk_address_is_circle(made->fd, &made->to, hub->listening, hub->listening_count))
        refuse_circle(session);
    else
        pk_session_event(session, PK_EV_CONNECTED);
}

static void on_connected(void *ctx, const pk_connection *made, const pk_error *err)
{
    pk_session *session = ctx;
    take_connection(session, made, err);
    pk_session_settle(session);
}

/* From settle: the startup packet is held by then. */
void pk_session_connect(pk_session *session)
{
    session->connect_due = true;
}

static void begin_to_connect(pk_session *session)
{
    pk_settings *settings = session->loop->settings;
    const pk_connect_order order = {.target = &settings->backend,
                                    .exact = session->exact_backend ? &session->backend_at : NULL,
                                    .tls = settings->server_tls};
    pk_connection made;
    session->connect_due = false;
    session->connect =
        pk_connect_start(pk_loop_poller(session->loop), &order, on_connected, session, &made);
    if (session->connect == NULL)
        take_connection(session, &made, NULL);
}

static bool rewrite_startup(pk_session *session, pk_span packet, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX((size_t)2 * PK_STARTUP_MAX);
    session->removed = PK_BUF_MAX(PK_STARTUP_MAX);
    if (!pk_startup_rewrite(packet, &out, &session->removed, err))
        return false;
    session->negotiate = true;
    pk_stream_write(&session->backend, pk_buf_span(&out));
    return true;
}

void pk_session_send_startup(pk_session *session)
{
    pk_startup first;
    pk_error err;
    pk_span held = pk_stream_held(&session->client);
    (void)pk_startup_parse(held, &first, &err); /* it was complete and right before */
    pk_span packet = {held.ptr, first.size};
    if (!first.rewrite)
        pk_stream_write(&session->backend, packet);
    else if (!rewrite_startup(session, packet, &err)) {
        pk_session_fatal(session, &err);
        return;
    }
    pk_stream_consume(&session->client, packet.len);
    session->backend.sensitive = true;
    pk_session_resume(session);
}

static void login_is_over(pk_session *session)
{
    if (session->logging_in)
        atomic_fetch_sub(&session->loop->hub->logging_in, 1);
    session->logging_in = false;
}

bool pk_session_count_login(pk_session *session, pk_error *err)
{
    pk_limits *limits = session->loop->hub->limits;
    session->counted[PK_LIMIT_DATABASE] =
        pk_limits_take(limits, PK_LIMIT_DATABASE, session->database, err);
    if (!session->counted[PK_LIMIT_DATABASE])
        return false;
    session->counted[PK_LIMIT_ROLE] = pk_limits_take(limits, PK_LIMIT_ROLE, session->login, err);
    return session->counted[PK_LIMIT_ROLE];
}

void pk_session_welcome(pk_session *session)
{
    char name[PK_ADDRESS_TEXT];
    session->deadline = 0;
    login_is_over(session);
    session->client.sensitive = session->backend.sensitive = false;
    pk_buf_clear(&session->removed);
    pk_log_debug("session %llu: %s is logged in from %s", NUMBER(session),
                 session->user == NULL ? "(unknown)" : session->user, peer_name(session, name));
}

void pk_session_resume(pk_session *session)
{
    session->resume = true;
}

/* ---- the end ---- */

void pk_session_begin_closing(pk_session *session)
{
    session->deadline = now(session) + CLOSING_MS;
    leave(session); /* others need not wait until the client has heard it */
    if (session->running != 0)
        pk_engine_cancel(session->loop->hub->engine, session->running);
    bool between_messages = session->client_left == 0 || session->client_drop;
    if (pk_stream_is_open(&session->backend) && !session->goodbye_sent && between_messages) {
        PK_AUTO(pk_buf_clear) pk_buf goodbye = PK_BUF_MAX(16);
        if (pk_reply_empty(&goodbye, 'X'))
            pk_stream_write(&session->backend, pk_buf_span(&goodbye));
        session->goodbye_sent = true;
    }
}

void pk_session_backend_lost(pk_session *session)
{
    if (!session->fatal_seen && !session->client_gone) {
        pk_error err;
        (void)pk_fail(&err, PK_E_BACKEND_LOST, "the server closed the connection unexpectedly");
        pk_log_info("session %llu: %s", NUMBER(session), err.message);
        say_fatal(session, &err);
    }
    session->goodbye_sent = true;
    pk_session_begin_closing(session);
}

/* Closing now would reset the server's connection: it gives up what it has not answered yet. */
void pk_session_finish(pk_session *session)
{
    session->deadline = now(session) + FINISH_MS;
}

void pk_session_login_timeout(pk_session *session)
{
    pk_error err;
    if (session->connect != NULL)
        (void)pk_fail(&err, PK_E_BACKEND_UNREACHABLE,
                      "could not connect to the server before the login timeout");
    else
        (void)pk_fail(&err, PK_E_CANCELED, "canceling authentication due to timeout");
    pk_log_info("session %llu: %s", NUMBER(session), err.message);
    say_fatal(session, &err);
    pk_session_begin_closing(session);
}

void pk_session_violation(pk_session *session)
{
    pk_error err;
    (void)pk_fail(&err, PK_E_PROTOCOL, "protocol violation");
    pk_log_warning("session %llu: protocol violation", NUMBER(session));
    say_fatal(session, &err);
    pk_session_begin_closing(session);
}

void pk_session_linger(pk_session *session)
{
    pk_stream_close(&session->backend);
    if (session->client_gone || session->client.ended) { /* it hears nothing any more */
        pk_session_event(session, PK_EV_LINGERED);
        return;
    }
    pk_stream_finish(&session->client);
    session->deadline = now(session) + LINGER_MS;
}

static bool is_flushed(const pk_session *session)
{
    bool client = session->client_gone || pk_stream_unsent(&session->client) == 0;
    return client && pk_stream_unsent(&session->backend) == 0;
}

static void free_session(pk_grave *grave)
{
    pk_session *session = (pk_session *)grave;
    pk_replyq_clear(&session->replies);
    pk_buf_clear(&session->removed);
    pk_request_free(session->request);
    pk_lockstep_forget(session);
    pk_free(session->nonce);
    pk_free(session->refusal);
    pk_free(session->user);
    pk_free(session->login);
    pk_free(session->database);
    pk_free(session);
}

static void delist(pk_session *session)
{
    pk_loop *loop = session->loop;
    *session->at = session->next;
    if (session->next != NULL)
        session->next->at = session->at;
    loop->session_count--;
    atomic_fetch_sub(&loop->load, 1);
    atomic_fetch_sub(&loop->hub->sessions, 1);
    login_is_over(session);
    leave(session);
    pk_poller_bury(pk_loop_poller(loop), &session->grave);
    if (loop->draining && loop->session_count == 0)
        loop->hub->loop_is_empty(loop->hub->ctx);
}

static void close_all(pk_session *session)
{
    if (session->buried)
        return;
    session->buried = true;
    pk_cancel_forget(session);
    pk_connect_abandon(pk_steal(&session->connect));
    if (session->forwards_cancel)
        session->loop->cancels--;
    session->forwards_cancel = false;
    if (session->running != 0)
        pk_engine_cancel(session->loop->hub->engine, session->running);
    session->running = 0;
    pk_session_forget_keys(session);
    pk_stream_close(&session->client);
    pk_stream_close(&session->backend);
    delist(session);
}

/* ---- draining ---- */

static bool is_idle(pk_session *session)
{
    return session->state == PK_ST_RELAY && session->replies.tx == 'I' &&
           pk_replyq_quiescent(&session->replies) && session->backend_left == 0 &&
           session->client_left == 0 && pk_stream_held(&session->client).len == 0;
}

static void drain(pk_session *session, bool force)
{
    pk_error err;
    if (session->state >= PK_ST_CANCEL)
        return;
    if (session->state <= PK_ST_CONNECT || is_idle(session) || force) {
        (void)pk_fail(&err, PK_E_SHUTDOWN, "terminating connection due to administrator command");
        (void)pk_error_detail(&err, "pgkeep is shutting down.");
        pk_session_fatal(session, &err);
    }
}

void pk_session_drain_all(pk_loop *loop, bool force)
{
    pk_session *next;
    for (pk_session *session = loop->sessions; session != NULL; session = next) {
        next = session->next;
        drain(session, force);
        pk_session_settle(session);
    }
}

void pk_session_abort_all(pk_loop *loop)
{
    pk_session *next;
    for (pk_session *session = loop->sessions; session != NULL; session = next) {
        next = session->next;
        close_all(session);
    }
}

bool pk_session_close_oldest(pk_loop *loop)
{
    pk_session *oldest = NULL; /* the list begins with the newest */
    for (pk_session *session = loop->sessions; session != NULL; session = session->next)
        if (session->state == PK_ST_START)
            oldest = session;
    if (oldest == NULL)
        return false;
    oldest->client_gone = true;
    pk_session_event(oldest, PK_EV_CLIENT_LOST);
    pk_session_settle(oldest);
    return true;
}

void pk_session_tick(pk_loop *loop)
{
    pk_session *next;
    for (pk_session *session = loop->sessions; session != NULL; session = next) {
        next = session->next;
        if (session->deadline == 0 || session->state == PK_ST_CLOSED ||
            now(session) < session->deadline)
            continue;
        session->deadline = 0;
        pk_session_event(session, PK_EV_TIMEOUT);
        pk_session_settle(session);
    }
}

/* ---- streams ---- */

static pk_session *session_of(const pk_stream *stream)
{
    return stream->ctx;
}

static size_t client_input(pk_stream *stream, pk_span bytes)
{
    pk_session *session = session_of(stream);
    if (session->state == PK_ST_START)
        return read_first_packet(session, bytes);
    if (session->state == PK_ST_LOGIN || session->state == PK_ST_RELAY)
        return pk_relay_client(session, bytes);
    if (session->state == PK_ST_LOCAL && bytes.ptr[0] == 'X' && session->client_left == 0)
        pk_session_event(session, PK_EV_CLIENT_LOST);
    /* Held while a statement of ours has the floor; thrown away when it is all over. */
    if (session->state == PK_ST_CONNECT || pk_session_is_holding(session))
        return 0;
    stream->soiled = true;
    return bytes.len;
}

static size_t backend_input(pk_stream *stream, pk_span bytes)
{
    pk_session *session = session_of(stream);
    bool open = session->state == PK_ST_LOGIN || session->state == PK_ST_RELAY ||
                session->state == PK_ST_FINISH || pk_session_is_holding(session);
    if (session->state == PK_ST_FINISH) /* who takes its answers slowly is waited for */
        session->deadline = now(session) + FINISH_MS;
    return open ? pk_relay_server(session, bytes) : bytes.len;
}

static bool client_may_read(const pk_stream *stream)
{
    const pk_session *session = session_of(stream);
    size_t held = pk_stream_held(stream).len;
    size_t most = session->client_wants > HELD_MAX ? session->client_wants : HELD_MAX;
    switch (session->state) {
    case PK_ST_START:
    case PK_ST_CONNECT:
        return held < STARTUP_HELD;
    case PK_ST_LOGIN:
    case PK_ST_RELAY:
        return !session->backend.congested && !session->client_stalled && held < most;
    case PK_ST_HOLD:
    case PK_ST_CHECK:
    case PK_ST_STEP:
    case PK_ST_POISON:
    case PK_ST_LOCAL:
        return held < most;
    case PK_ST_FINISH:
    case PK_ST_CANCEL:
    case PK_ST_CLOSING:
    case PK_ST_LINGER:
        return true;
    case PK_ST_NONE:
    case PK_ST_CLOSED:
    case PK_ST_COUNT:
        break;
    }
    return false;
}

static bool backend_may_read(const pk_stream *stream)
{
    const pk_session *session = session_of(stream);
    if (session->state == PK_ST_CANCEL || session->state == PK_ST_CLOSING)
        return true;
    return !session->client.congested && session->state != PK_ST_CLOSED;
}

static void client_ended(pk_stream *stream, int why)
{
    pk_session *session = session_of(stream);
    if (session->state == PK_ST_START && pk_stream_held(stream).len > 0)
        pk_log_info("session %llu: the client left in the middle of its first packet",
                    NUMBER(session));
    else
        pk_log_debug("session %llu: the client left (%s)", NUMBER(session),
                     why == 0 ? "end" : pk_errno_text(why));
    session->client_gone = true;
    pk_session_event(session, PK_EV_CLIENT_LOST);
}

static void backend_ended(pk_stream *stream, int why)
{
    pk_session *session = session_of(stream);
    pk_log_debug("session %llu: the server closed (%s)", NUMBER(session),
                 why == 0 ? "end" : pk_errno_text(why));
    pk_session_event(session, PK_EV_BACKEND_LOST);
}

/* While our statement runs, a client that hung up has left, also if we stopped reading it. */
static void client_hung_up(pk_stream *stream, bool hard)
{
    pk_session *session = session_of(stream);
    if (!hard && session->state != PK_ST_LOCAL)
        return; /* what it sent before is still read, then it ends */
    session->client_gone = true;
    pk_session_event(session, PK_EV_CLIENT_LOST);
}

static void backend_hung_up(pk_stream *stream, bool hard)
{
    (void)stream; /* what it sent before is still read, then it ends */
    (void)hard;
}

static void settle(pk_stream *stream)
{
    pk_session_settle(session_of(stream));
}

static void backend_secured(pk_stream *stream)
{
    (void)stream; /* its TLS is there before it is opened */
}

static const pk_stream_owner client_owner = {client_input, client_may_read, client_secured,
                                             client_ended, client_hung_up,  settle};
static const pk_stream_owner backend_owner = {backend_input, backend_may_read, backend_secured,
                                              backend_ended, backend_hung_up,  settle};

static void step_on(pk_session *session)
{
    if (session->connect_due && (session->state == PK_ST_CONNECT || session->state == PK_ST_CANCEL))
        begin_to_connect(session);
    if (session->client.broken && !session->client_gone) {
        session->client_gone = true;
        pk_session_event(session, PK_EV_CLIENT_LOST);
    }
    pk_intercept_settle(session);
    while (session->resume) {
        session->resume = false;
        pk_stream_process(&session->client);
        pk_intercept_settle(session);
    }
    if (session->loop->draining)
        drain(session, false);
    if (session->state == PK_ST_CLOSING && is_flushed(session))
        pk_session_event(session, PK_EV_FLUSHED);
}

void pk_session_settle(pk_session *session)
{
    pk_state before;
    do {
        step_on(session);
        before = session->state;
        if (before == PK_ST_CLOSED)
            break;
        pk_stream_update(&session->client);
        pk_stream_update(&session->backend);
    } while (session->state != before); /* one could not be watched */
    if (session->state == PK_ST_CLOSED)
        close_all(session);
}

/* ---- birth ---- */

static void enlist(pk_session *session)
{
    pk_loop *loop = session->loop;
    session->number = atomic_fetch_add(&loop->hub->last_session, 1) + 1;
    session->next = loop->sessions;
    if (session->next != NULL)
        session->next->at = &session->next;
    session->at = &loop->sessions;
    loop->sessions = session;
    loop->session_count++;
    atomic_fetch_add(&loop->silent, 1);
    atomic_fetch_add(&loop->hub->sessions, 1);
    atomic_fetch_add(&loop->hub->logging_in, 1);
    session->logging_in = true;
}

/* Strangers could take all descriptors. Who says nothing goes first; if all have begun to log in,
 * it is the new one that goes. The answer is one small packet into an empty socket; if it
 * does not go at once, it does not go. */
void pk_session_turn_away(pk_hub *hub, int fd, const char *why)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(FATAL_REPLY_MAX);
    pk_error err;
    (void)pk_fail(&err, PK_E_CONNECTIONS, "%s", why);
    if (pk_reply_error(&out, "SQL_ASCII", &err, true))
        (void)!send(fd, pk_buf_span(&out).ptr, pk_buf_span(&out).len, MSG_NOSIGNAL);
    (void)close(fd);
    const uint64_t at = (uint64_t)pk_clock_system.mono_us(&pk_clock_system) / 1000;
    uint_fast64_t last = atomic_load(&hub->turned_away_at);
    if ((last == 0 || at >= last + TURNED_AWAY_MS) &&
        atomic_compare_exchange_strong(&hub->turned_away_at, &last, at))
        pk_log_warning("%s: more are turned away", why);
}

static bool is_crowded(pk_loop *loop)
{
    const size_t room = atomic_load(&loop->hub->logging_in_room);
    size_t most = loop->settings->logging_in_max;
    if (most == 0 || (room > 0 && room < most))
        most = room;
    return most > 0 && atomic_load(&loop->hub->logging_in) >= most;
}

void pk_session_accept(pk_loop *loop, int fd, const pk_address *peer)
{
    char name[PK_ADDRESS_TEXT];
    if (is_crowded(loop) && !pk_loop_make_room(loop)) {
        atomic_fetch_sub(&loop->load, 1);
        pk_session_turn_away(loop->hub, fd, "too many connections that have not logged in");
        return;
    }
    pk_session *session = pk_new(pk_session);
    session->grave.free = free_session;
    session->loop = loop;
    session->state = PK_ST_START;
    pk_stream_init(&session->client, &loop->streams, &client_owner, session);
    pk_stream_init(&session->backend, &loop->streams, &backend_owner, session);
    session->client.sensitive = true;
    session->standard_conforming = true;
    session->peer = *peer;
    pk_relay_note_encoding(session, PK_SPAN("SQL_ASCII"));
    pk_stream_open(&session->client, fd, NULL);
    session->deadline = now(session) + loop->settings->login_timeout_ms;
    enlist(session);
    pk_log_debug("session %llu: connection from %s, loop %zu", NUMBER(session),
                 peer_name(session, name), loop->number);
    pk_session_settle(session);
}
