/*
 * What two ends agree on in the handshake: versions, protocols, the server's name, the client's
 * names, and that nothing can be resumed.
 */
#include "tls_pairs.h"

/* ---- handshake ---- */

static void it_says_what_was_agreed(void **state)
{
    const struct version_row *row = *state;
    tls_ends ends = met(state);
    const bool is_new = row->version == TLS1_3_VERSION;
    assert_string_equal(pk_tls_link_version(ends.server.link), is_new ? "TLSv1.3" : "TLSv1.2");
    assert_string_equal(pk_tls_link_cipher(ends.server.link),
                        is_new ? "TLS_AES_256_GCM_SHA384" : "ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_string_equal(pk_tls_link_why(ends.server.link), "");
    close_ends(&ends);
}

static void two_of_ours_agree_on_the_newest(void **state)
{
    tls_ends ends;
    uint8_t shown[32];
    uint8_t seen[32];
    static const uint8_t zeros[32];
    pk_tls *server = server_tls();
    (void)state;
    pk_tls_digest(server, shown);
    open_links(&ends, server, client_tls());
    must_shake(&ends);
    assert_string_equal(pk_tls_link_version(ends.client.link), "TLSv1.3");
    assert_true(pk_tls_has_alpn(ends.client.link));
    assert_true(pk_tls_has_alpn(ends.server.link));
    pk_tls_link_peer_digest(ends.client.link, seen);
    assert_memory_equal(seen, shown, sizeof seen);
    pk_tls_link_peer_digest(ends.server.link, seen);
    assert_memory_equal(seen, zeros, sizeof seen);
    close_ends(&ends);
}

static void old_versions_are_refused(void **state)
{
    tls_ends ends;
    (void)state;
    open_with_raw_client(&ends, TLS1_1_VERSION);
    assert_false(shake(&ends));
    assert_true(ends.server.failed);
    assert_string_equal(ends.server.err.message,
                        "could not accept SSL connection: unsupported protocol");
    assert_string_equal(ends.server.err.sqlstate, "08P01");
    assert_string_equal(pk_tls_link_why(ends.server.link), "unsupported protocol");
    assert_true(ends.client.failed);
    close_ends(&ends);
}

static void the_lowest_version_holds(void **state)
{
    const struct version_row *row = *state;
    const pk_tls_files files = files_of("server", NULL, NULL);
    pk_error err = {0};
    tls_ends ends = {0};
    pk_tls *tls = must_tls(pk_tls_for_clients(&files, PK_SSL_ALLOW, "TLSv1.3", &err), &err);
    open_sockets(ends.fds);
    ends.server.link = pk_tls_accept(tls, ends.fds[0], PK_SPAN(""), &err);
    ends.client.raw = raw_end(ends.fds[1], false, row->version);
    pk_tls_unref(tls);
    assert_int_equal(shake(&ends), row->version == TLS1_3_VERSION);
    close_ends(&ends);
}

/* Nothing that a later connection could begin with: no session, no ticket. */
static void nothing_is_resumed(void **state)
{
    char byte;
    tls_ends ends = met(state);
    assert_int_equal(pk_tls_write(ends.server.link, PK_SPAN("x"), &ends.server.stop), 1);
    assert_int_equal(SSL_read(ends.client.raw, &byte, 1), 1);
    assert_int_equal(SSL_SESSION_has_ticket(SSL_get_session(ends.client.raw)), 0);
    assert_int_equal(SSL_SESSION_is_resumable(SSL_get_session(ends.client.raw)), 0);
    close_ends(&ends);
}

static const struct alpn_row {
    const char *name;
    const char *offered; /* in wire format; NULL: nothing */
    bool accepted, agreed;
} alpn_rows[] = {
    {"no protocol is offered", NULL, true, false},
    {"ours is", "\x0apostgresql", true, true},
    {"ours is among others", "\x02h2\x0apostgresql\x08http/1.1", true, true},
    {"only another", "\x08http/1.1", false, false},
    {"something longer", "\x0bpostgresql2", false, false},
    {"something shorter", "\x09postgresq", false, false},
    {"in capitals", "\x0aPOSTGRESQL", false, false},
};

static void a_protocol_is_chosen(void **state)
{
    const struct alpn_row *row = *state;
    tls_ends ends;
    open_with_raw_client(&ends, 0);
    if (row->offered != NULL)
        assert_int_equal(SSL_set_alpn_protos(ends.client.raw, (const unsigned char *)row->offered,
                                             (unsigned)strlen(row->offered)),
                         0);
    assert_int_equal(shake(&ends), row->accepted);
    assert_int_equal(pk_tls_has_alpn(ends.server.link), row->agreed);
    if (!row->accepted)
        assert_string_equal(ends.server.err.message,
                            "could not accept SSL connection: no application protocol");
    close_ends(&ends);
}

/* ---- towards a server ---- */

static int choose(SSL *ssl, const unsigned char **chosen, unsigned char *len,
                  const unsigned char *offered, unsigned offered_len, void *word)
{
    (void)ssl;
    (void)offered;
    (void)offered_len;
    if (word == NULL)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = (const unsigned char *)word;
    *len = (unsigned char)strlen(word);
    return SSL_TLSEXT_ERR_OK;
}

static const struct direct_row {
    const char *name;
    bool direct, knows;
    const char *answer;
    const char *says; /* NULL: we are content */
} direct_rows[] = {
    {"asked before, an older server", false, false, NULL, NULL},
    {"asked before, a newer server", false, true, "postgresql", NULL},
    {"without asking, a newer server", true, true, "postgresql", NULL},
    {"without asking, something else", true, false, NULL,
     "direct SSL connection was established without ALPN protocol negotiation extension"},
    {"without asking, a server of another protocol", true, true, NULL,
     "SSL error: tlsv1 alert no application protocol"},
};

static void direct_connections_need_the_protocol(void **state)
{
    const struct direct_row *row = *state;
    const pk_tls_files files = {0};
    pk_error err = {0};
    tls_ends ends;
    pk_tls *tls = must_tls(
        pk_tls_for_server(&files, PK_SSL_REQUIRE, "", "db.example", row->direct, &err), &err);
    assert_int_equal(pk_tls_is_direct(tls), row->direct);
    open_with_raw_server(&ends, tls);
    if (row->knows)
        SSL_CTX_set_alpn_select_cb(SSL_get_SSL_CTX(ends.server.raw), choose,
                                   (void *)(uintptr_t)row->answer);
    (void)shake(&ends);
    assert_int_equal(ends.client.done, row->says == NULL);
    if (row->says != NULL) {
        assert_true(ends.client.failed);
        assert_string_equal(ends.client.err.message, row->says);
        assert_string_equal(ends.client.err.sqlstate, "08P01");
    }
    close_ends(&ends);
}

static const struct sni_row {
    const char *name, *host, *sent;
} sni_rows[] = {
    {"a name is sent", "db.example", "db.example"},
    {"an address is not", "127.0.0.1", NULL},
    {"nor one of IPv6", "2001:db8::1", NULL},
    {"nor an empty name", "", NULL},
    {"nor none", NULL, NULL},
};

static char sni[300];

static int note_sni(SSL *ssl, int *alert, void *unused)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    (void)unused;
    (void)snprintf(sni, sizeof sni, "%s", name == NULL ? "" : name);
    return SSL_TLSEXT_ERR_OK;
}

static void the_server_hears_its_name(void **state)
{
    const struct sni_row *row = *state;
    const pk_tls_files files = {0};
    pk_error err = {0};
    tls_ends ends;
    open_with_raw_server(
        &ends,
        must_tls(pk_tls_for_server(&files, PK_SSL_PREFER, "", row->host, false, &err), &err));
    sni[0] = 0;
    (void)SSL_CTX_set_tlsext_servername_callback(SSL_get_SSL_CTX(ends.server.raw), note_sni);
    must_shake(&ends);
    assert_string_equal(sni, row->sent == NULL ? "" : row->sent);
    close_ends(&ends);
}

/* ---- names of the client ---- */

static const struct names_row {
    const char *name, *subject;
    bool sound;
    const char *subject_text, *common_name;
} names_rows[] = {
    {"as pg_stat_ssl writes them", "/C=AT/O=Example, Inc./CN=alice", true,
     "/C=AT/O=Example\\, Inc./CN=alice", "alice"},
    {"in UTF-8", "/CN=J\xc3\xbcrgen", true, "/CN=J\xc3\xbcrgen", "J\xc3\xbcrgen"},
    {"the first of two", "/CN=alice/CN=bob", true, "/CN=alice/CN=bob", "alice"},
    {"no common name", "/O=Example", true, "/O=Example", ""},
    {"no name", "", true, "", ""},
    {"a zero byte", "/CN=alice@.evil", false, "/CN=alice\\00.evil", ""},
    {"a name that does not fit", "/CN=alice456789012345678901234567890123456789", false,
     "/CN=alice456789012345678901234567890123456789", ""},
};

static void the_client_has_a_name(void **state)
{
    const struct names_row *row = *state;
    const pk_tls_files server = files_of("server", "authority.crt", NULL);
    pk_error err = {0};
    tls_ends ends;
    char subject[256];
    char name[32];
    test_identity shown =
        make_identity(&(test_recipe){.subject = row->subject, .by = &world.authority});
    write_pair("named", &shown);
    const pk_tls_files client = files_of("named", NULL, NULL);
    open_links(
        &ends, must_tls(pk_tls_for_clients(&server, PK_SSL_VERIFY_CA, "", &err), &err),
        must_tls(pk_tls_for_server(&client, PK_SSL_PREFER, "", "db.example", false, &err), &err));
    must_shake(&ends);
    assert_int_equal(
        pk_tls_link_peer_names(ends.server.link, subject, sizeof subject, name, sizeof name),
        row->sound);
    assert_string_equal(subject, row->subject_text);
    assert_string_equal(name, row->common_name);
    /* it was shown the server's, which nobody verified */
    assert_true(
        pk_tls_link_peer_names(ends.client.link, subject, sizeof subject, name, sizeof name));
    assert_string_equal(subject, "");
    assert_string_equal(name, "");
    close_ends(&ends);
    free_identity(&shown);
}

static void no_certificate_is_no_name(void **state)
{
    char subject[64] = "x";
    char name[64] = "x";
    tls_ends ends = met(state);
    assert_true(
        pk_tls_link_peer_names(ends.server.link, subject, sizeof subject, name, sizeof name));
    assert_string_equal(subject, "");
    assert_string_equal(name, "");
    close_ends(&ends);
}

int main(void)
{
    static pk_suite suite;
    make_world();
    ROWS(&suite, it_says_what_was_agreed);
    PK_SUITE_TEST(&suite, two_of_ours_agree_on_the_newest);
    PK_SUITE_TEST(&suite, old_versions_are_refused);
    ROWS(&suite, the_lowest_version_holds);
    ROWS(&suite, nothing_is_resumed);
    PK_SUITE_ROWS(&suite, alpn_rows, a_protocol_is_chosen);
    PK_SUITE_ROWS(&suite, direct_rows, direct_connections_need_the_protocol);
    PK_SUITE_ROWS(&suite, sni_rows, the_server_hears_its_name);
    PK_SUITE_ROWS(&suite, names_rows, the_client_has_a_name);
    ROWS(&suite, no_certificate_is_no_name);
    const int failed = pk_suite_run(&suite, "tls_handshake");
    remove_world();
    return failed;
}
