/* Which requests to authenticate pass, are changed or refused, according to who sees TLS. */
#include "proxy/auth.h"
#include "sockets.h"

#define BYTES(literal)                                                                             \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }
#define FATAL_TEXT 512u

/* A session in the middle of its login; nothing of it runs. */
static struct {
    pk_loop loop;
    pk_hub hub;
    pk_settings settings;
    pk_session session;
    int client; /* the client's end */
} place;

static const uint32_t here = INADDR_LOOPBACK;
static const uint32_t away = 0xc0000201; /* 192.0.2.1 */

static pk_address at(uint32_t host)
{
    pk_address address = {.in = {.sin_family = AF_INET}};
    address.in.sin_addr.s_addr = htonl(host);
    return address;
}

static void secured(pk_stream *stream)
{
    (void)stream;
}

static const pk_stream_owner nobody = {.secured = secured};

/* Only whether there is TLS is looked at, not what is in it. */
static pk_tls_link *some_tls(bool there)
{
    static char link;
    return there ? (pk_tls_link *)(void *)&link : NULL;
}

static void begin(uint32_t client, bool client_tls, uint32_t server, bool server_tls)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    memset(&place.session, 0, sizeof place.session);
    place.settings.cleartext_passwords = false;
    place.loop.hub = &place.hub;
    place.loop.settings = &place.settings;
    place.client = pair[1];
    pk_session *session = &place.session;
    session->loop = &place.loop;
    session->state = PK_ST_LOGIN;
    (void)snprintf(session->encoding, sizeof session->encoding, "UTF8");
    pk_stream_init(&session->client, &place.loop.streams, &nobody, session);
    pk_stream_init(&session->backend, &place.loop.streams, &nobody, session);
    pk_stream_open(&session->client, pair[0], NULL);
    session->peer = at(client);
    session->backend_at = at(server);
    session->backend.tls = some_tls(server_tls);
    session->client.tls = some_tls(client_tls);
}

/* What the client was told, as text with zeros between. */
static pk_span end(void)
{
    static char told[FATAL_TEXT];
    place.session.client.tls = place.session.backend.tls = NULL;
    const ssize_t got = recv(place.client, told, sizeof told, 0);
    pk_stream_close(&place.session.client);
    (void)close(place.client);
    return (pk_span){told, got < 0 ? 0 : (size_t)got};
}

static pk_answer answer(pk_span message)
{
    const pk_header header = {.type = 'R', .size = message.len};
    if (pk_auth_look(&place.session, header, message) == 0)
        return PK_ANSWER_FORWARD;
    return pk_auth_answer(&place.session, header, message);
}

/* ---- passwords in the clear ---- */

static const pk_span cleartext = BYTES("R\0\0\0\x08\0\0\0\x03");

static const struct clear_row {
    const char *name;
    uint32_t client, server;
    bool client_tls, server_tls, allowed, refused;
} clear_rows[] = {
    {"the server is on its own host with us, the client is away", away, here, false, false, false,
     true},
    {"the server sees TLS, the client does not", away, away, false, true, false, true},
    {"the administrator allows it", away, here, false, false, true, false},
    {"both see what there is", away, away, false, false, false, false},
    {"the client has TLS, the server is here", away, here, true, false, false, false},
    {"TLS on both sides", away, away, true, true, false, false},
    {"client and server are here", here, here, false, false, false, false},
    {"the client is here, the server sees TLS", here, away, false, true, false, false},
};

static void cleartext_is_judged(void **state)
{
    const struct clear_row *row = *state;
    begin(row->client, row->client_tls, row->server, row->server_tls);
    place.settings.cleartext_passwords = row->allowed;
    const pk_answer said = answer(cleartext);
    const pk_state after = place.session.state;
    const pk_span told = end();
    if (!row->refused) {
        assert_int_equal(said, PK_ANSWER_FORWARD);
        assert_int_equal(after, PK_ST_LOGIN);
        assert_int_equal(told.len, 0);
        return;
    }
    assert_int_equal(said, PK_ANSWER_SWALLOW);
    assert_int_equal(after, PK_ST_CLOSING);
    assert_int_equal(told.ptr[0], 'E');
    assert_non_null(memmem(told.ptr, told.len, "SFATAL", 6));
    assert_non_null(memmem(told.ptr, told.len, "C28000", 6));
    assert_non_null(memmem(told.ptr, told.len, "password in clear text", 22));
    assert_non_null(memmem(told.ptr, told.len, "sslmode=require", 15));
}

static const struct other_row {
    const char *name;
    pk_span message;
} other_rows[] = {
    {"the end of authentication", BYTES("R\0\0\0\x08\0\0\0\0")},
    {"MD5", BYTES("R\0\0\0\x0c\0\0\0\5salt")},
    {"the middle of SASL", BYTES("R\0\0\0\x0c\0\0\0\x0b....")},
    {"one that is cut short", BYTES("R\0\0\0\x06\0\0")},
    {"an empty one", BYTES("R\0\0\0\4")},
};

static void others_pass_although_the_server_is_deceived(void **state)
{
    const struct other_row *row = *state;
    begin(away, false, away, true);
    assert_int_equal(answer(row->message), PK_ANSWER_FORWARD);
    assert_int_equal(end().len, 0);
}

static void after_the_login_nothing_is_looked_at(void **state)
{
    (void)state;
    begin(away, false, away, true);
    place.session.state = PK_ST_RELAY;
    assert_int_equal(answer(cleartext), PK_ANSWER_FORWARD);
    assert_int_equal(end().len, 0);
}

/* It is judged as soon as the code is there, a list when it is there as a whole. */
static void no_more_is_waited_for_than_is_needed(void **state)
{
    const pk_span list = PK_SPAN("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    const pk_header header = {.type = 'R', .size = list.len};
    (void)state;
    begin(away, false, away, true);
    assert_int_equal(pk_auth_look(&place.session, header, (pk_span){list.ptr, 5}), 9);
    assert_int_equal(pk_auth_look(&place.session, header, (pk_span){list.ptr, 9}), list.len);
    place.session.client.tls = some_tls(true);
    assert_int_equal(pk_auth_look(&place.session, header, (pk_span){list.ptr, 5}), 0);
    (void)end();
}

/* ---- channel binding ---- */

#define PLUS  "SCRAM-SHA-256-PLUS\0"
#define PLAIN "SCRAM-SHA-256\0"

static const struct list_row {
    const char *name;
    pk_span message;
    bool client_tls, server_tls;
    pk_answer said;
    pk_span told; /* nothing: not looked at */
} list_rows[] = {
    {"with binding is taken out, in front", BYTES("R\0\0\0\x2a\0\0\0\x0a" PLUS PLAIN "\0"), false,
     true, PK_ANSWER_SWALLOW, BYTES("R\0\0\0\x17\0\0\0\x0a" PLAIN "\0")},
    {"with binding is taken out, behind", BYTES("R\0\0\0\x2a\0\0\0\x0a" PLAIN PLUS "\0"), false,
     true, PK_ANSWER_SWALLOW, BYTES("R\0\0\0\x17\0\0\0\x0a" PLAIN "\0")},
    {"others stay in their order",
     BYTES("R\0\0\0\x2e\0\0\0\x0a"
           "B\0" PLUS "A\0" PLAIN "\0"),
     false, true, PK_ANSWER_SWALLOW,
     BYTES("R\0\0\0\x1b\0\0\0\x0a"
           "B\0"
           "A\0" PLAIN "\0")},
    {"a list without passes as it is", BYTES("R\0\0\0\x17\0\0\0\x0a" PLAIN "\0"), false, true,
     PK_ANSWER_FORWARD, BYTES("")},
    {"a client with TLS gets all", BYTES("R\0\0\0\x2a\0\0\0\x0a" PLUS PLAIN "\0"), true, true,
     PK_ANSWER_FORWARD, BYTES("")},
    {"a server without TLS offers what it likes", BYTES("R\0\0\0\x2a\0\0\0\x0a" PLUS PLAIN "\0"),
     false, false, PK_ANSWER_FORWARD, BYTES("")},
    {"a list that does not end passes", BYTES("R\0\0\0\x1b\0\0\0\x0a" PLUS), false, true,
     PK_ANSWER_FORWARD, BYTES("")},
    {"a name that does not end passes",
     BYTES("R\0\0\0\x1a\0\0\0\x0a"
           "SCRAM-SHA-256-PLUS"),
     false, true, PK_ANSWER_FORWARD, BYTES("")},
    {"an empty list passes", BYTES("R\0\0\0\x09\0\0\0\x0a\0"), false, true, PK_ANSWER_FORWARD,
     BYTES("")},
    {"a list that is not there passes", BYTES("R\0\0\0\x08\0\0\0\x0a"), false, true,
     PK_ANSWER_FORWARD, BYTES("")},
    {"a mechanism that only begins like it stays",
     BYTES("R\0\0\0\x1d\0\0\0\x0a"
           "SCRAM-SHA-256-PLUS2\0"
           "\0"),
     false, true, PK_ANSWER_FORWARD, BYTES("")},
};

static void mechanisms_are_offered(void **state)
{
    const struct list_row *row = *state;
    begin(here, row->client_tls, away, row->server_tls);
    assert_int_equal(pk_wire_u32(row->message.ptr + 1) + 1, row->message.len);
    const pk_answer said = answer(row->message);
    const pk_state after = place.session.state;
    const pk_span told = end();
    assert_int_equal(said, row->said);
    assert_int_equal(after, PK_ST_LOGIN);
    assert_true(pk_span_equal(told, row->told));
}

static void a_server_that_demands_binding_is_explained(void **state)
{
    const pk_span only = PK_SPAN("R\0\0\0\x1c\0\0\0\x0a" PLUS "\0");
    (void)state;
    begin(here, false, away, true);
    assert_int_equal(answer(only), PK_ANSWER_SWALLOW);
    assert_int_equal(place.session.state, PK_ST_CLOSING);
    const pk_span told = end();
    assert_int_equal(told.ptr[0], 'E');
    assert_non_null(memmem(told.ptr, told.len, "C28000", 6));
    assert_non_null(memmem(told.ptr, told.len, "the server demands channel binding", 34));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, clear_rows, cleartext_is_judged);
    PK_SUITE_ROWS(&suite, other_rows, others_pass_although_the_server_is_deceived);
    PK_SUITE_TEST(&suite, after_the_login_nothing_is_looked_at);
    PK_SUITE_TEST(&suite, no_more_is_waited_for_than_is_needed);
    PK_SUITE_ROWS(&suite, list_rows, mechanisms_are_offered);
    PK_SUITE_TEST(&suite, a_server_that_demands_binding_is_explained);
    return pk_suite_run(&suite, "auth");
}
