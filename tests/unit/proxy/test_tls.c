/*
 * What a context takes and refuses, whom it lets in, and whether it sees that its files were
 * replaced. Whom it lets in is tried with whole handshakes between two of our own ends.
 */
#include "tls_ends.h"

/* ---- loading ---- */

static const struct load_row {
    const char *name;
    const char *cert, *key, *ca, *crl; /* names in the world */
    const char *min_version;
    pk_sslmode mode;
    const char *sqlstate, *message; /* NULL: it is taken; the message begins so */
} client_rows[] = {
    {"a certificate and its key", "server.crt", "server.key", .mode = PK_SSL_REQUIRE},
    {"a certificate with its chain", "chain.crt", "server.key", .mode = PK_SSL_REQUIRE},
    {"with authorities", "server.crt", "server.key", "authority.crt", .mode = PK_SSL_VERIFY_FULL},
    {"with a list of the revoked", "server.crt", "server.key", "authority.crt", "none.crl",
     .mode = PK_SSL_VERIFY_CA},
    {"TLSv1.2", "server.crt", "server.key", .min_version = "TLSv1.2", .mode = PK_SSL_REQUIRE},
    {"TLSv1.3", "server.crt", "server.key", .min_version = "TLSv1.3", .mode = PK_SSL_REQUIRE},
    {"another version", "server.crt", "server.key", .min_version = "TLSv1.1",
     .mode = PK_SSL_REQUIRE, .sqlstate = "22023",
     .message = "invalid lowest version of TLS: \"TLSv1.1\""},
    {"no certificate file", "gone.crt", "server.key", .sqlstate = "58P01",
     .message = "could not open certificate file \"%/gone.crt\": No such file or directory"},
    {"no key file", "server.crt", "gone.key", .sqlstate = "58P01",
     .message = "could not open private key file \"%/gone.key\": No such file or directory"},
    {"no authorities' file", "server.crt", "server.key", "gone.crt", .sqlstate = "58P01",
     .message = "could not open root certificate file \"%/gone.crt\": No such file or directory"},
    {"no list's file", "server.crt", "server.key", "authority.crt", "gone.crl", .sqlstate = "58P01",
     .message = "could not open certificate revocation list file \"%/gone.crl\": No such file or "
                "directory"},
    {"a certificate without its key", "server.crt", .sqlstate = "22023",
     .message = "a certificate needs its private key, and the reverse"},
    {"a key without its certificate", .key = "server.key", .sqlstate = "22023",
     .message = "a certificate needs its private key, and the reverse"},
    {"an empty certificate file", "empty", "server.key", .sqlstate = "F0000",
     .message = "could not load certificate file \"%/empty\": no start line"},
    {"an empty key file", "server.crt", "empty", .sqlstate = "F0000",
     .message = "could not load private key file \"%/empty\": "},
    {"an empty authorities' file", "server.crt", "server.key", "empty", .sqlstate = "F0000",
     .message = "could not load root certificate file \"%/empty\": "},
    {"an empty list's file", "server.crt", "server.key", "authority.crt", "empty",
     .sqlstate = "F0000",
     .message = "could not load certificate revocation list file \"%/empty\": "},
    {"certificates where the list should be", "server.crt", "server.key", "authority.crt",
     "stranger.crt", .sqlstate = "F0000",
     .message = "could not load certificate revocation list file \"%/stranger.crt\": "},
    {"text where a certificate should be", "text", "server.key", .sqlstate = "F0000",
     .message = "could not load certificate file \"%/text\": no start line"},
    {"text where a key should be", "server.crt", "text", .sqlstate = "F0000",
     .message = "could not load private key file \"%/text\": "},
    {"a certificate where the key should be", "server.crt", "secret.crt", .sqlstate = "F0000",
     .message = "could not load private key file \"%/secret.crt\": "},
    {"a cut certificate", "cut.crt", "server.key", .sqlstate = "F0000",
     .message = "could not load certificate file \"%/cut.crt\": "},
    {"another certificate's key", "server.crt", "client.key", .sqlstate = "F0000",
     .message = "could not load private key file \"%/client.key\": key values mismatch"},
    {"another certificate's key, of another kind", "rsa.crt", "server.key", .sqlstate = "F0000",
     .message = "private key file \"%/server.key\" is not the certificate's: key values mismatch"},
    {"an encrypted key", "server.crt", "encrypted.key", .sqlstate = "F0000",
     .message = "private key file \"%/encrypted.key\" is protected by a passphrase"},
    {"an encrypted key in the old format", "server.crt", "old.key", .sqlstate = "F0000",
     .message = "private key file \"%/old.key\" is protected by a passphrase"},
    {"an encrypted certificate", "encrypted.crt", "server.key", .sqlstate = "F0000",
     .message = "certificate file \"%/encrypted.crt\" is protected by a passphrase"},
    {"a directory", "", "server.key", .sqlstate = "F0000",
     .message = "certificate file \"%/\" is not a regular file"},
    {"a pipe, which would wait for a writer", "pipe", "server.key", .sqlstate = "F0000",
     .message = "certificate file \"%/pipe\" is not a regular file"},
    {"certificates demanded without authorities", "server.crt", "server.key",
     .mode = PK_SSL_VERIFY_CA, .sqlstate = "22023",
     .message = "verifying client certificates needs authorities"},
    {"revoked by whom?", "server.crt", "server.key", .crl = "none.crl", .sqlstate = "22023",
     .message = "a certificate revocation list needs the authorities that it is of"},
};

static pk_tls_files files_of_row(const struct load_row *row)
{
    return (pk_tls_files){.cert = row->cert == NULL ? NULL : in_world(row->cert),
                          .key = row->key == NULL ? NULL : in_world(row->key),
                          .ca = place(row->ca),
                          .crl = place(row->crl)};
}

/* In `pattern`, "%" is the world's directory. */
static void assert_begins(const char *text, const char *pattern)
{
    char wanted[256];
    const char *mark = strchr(pattern, '%');
    if (mark == NULL)
        (void)snprintf(wanted, sizeof wanted, "%s", pattern);
    else
        (void)snprintf(wanted, sizeof wanted, "%.*s%s%s", (int)(mark - pattern), pattern,
                       world.directory, mark + 1);
    if (strncmp(text, wanted, strlen(wanted)) != 0)
        assert_string_equal(text, wanted);
}

static void assert_loaded(pk_tls *tls, const struct load_row *row, const pk_error *err)
{
    PK_AUTO_PTR(pk_tls_unref) pk_tls *loaded = tls;
    assert_int_equal(ERR_peek_error(), 0);
    if (row->sqlstate == NULL) {
        must_tls(loaded, err);
        assert_int_equal(pk_tls_mode(loaded), row->mode);
        return;
    }
    assert_null(loaded);
    assert_string_equal(err->sqlstate, row->sqlstate);
    assert_begins(err->message, row->message);
}

static void files_towards_clients(void **state)
{
    const struct load_row *row = *state;
    const pk_tls_files files = files_of_row(row);
    pk_error err = {0};
    assert_loaded(pk_tls_for_clients(&files, row->mode, row->min_version, &err), row, &err);
}

static const struct load_row server_rows[] = {
    {"no file at all", .mode = PK_SSL_PREFER},
    {"an authority, whatever the mode", .ca = "authority.crt", .mode = PK_SSL_PREFER},
    {"a certificate of ours", "client.crt", "client.key", .mode = PK_SSL_REQUIRE},
    {"the system's authorities", .ca = "system", .mode = PK_SSL_VERIFY_FULL},
    {"the system's authorities and a list", .ca = "system", .crl = "none.crl",
     .mode = PK_SSL_VERIFY_FULL},
    {"the system's authorities, and any host of theirs", .ca = "system", .mode = PK_SSL_VERIFY_CA,
     .sqlstate = "22023",
     .message = "weak sslmode may not be used with the system's authorities (use \"verify-full\")"},
    {"nobody to verify by", .mode = PK_SSL_VERIFY_FULL, .sqlstate = "22023",
     .message = "verifying the server's certificate needs authorities"},
    {"revoked by whom, towards the server?", .crl = "none.crl", .mode = PK_SSL_REQUIRE,
     .sqlstate = "22023",
     .message = "a certificate revocation list needs the authorities that it is of"},
    {"a key of somebody else's", "client.crt", "server.key", .mode = PK_SSL_REQUIRE,
     .sqlstate = "F0000",
     .message = "could not load private key file \"%/server.key\": key values mismatch"},
    {"an unknown version", .min_version = "SSLv3", .mode = PK_SSL_PREFER, .sqlstate = "22023",
     .message = "invalid lowest version of TLS: \"SSLv3\""},
};

static void files_towards_the_server(void **state)
{
    const struct load_row *row = *state;
    const pk_tls_files files = files_of_row(row);
    pk_error err = {0};
    assert_loaded(pk_tls_for_server(&files, row->mode, row->min_version, "db.example", false, &err),
                  row, &err);
}

static void verify_full_needs_a_name(void **state)
{
    const pk_tls_files files = files_of(NULL, "authority.crt", NULL);
    pk_error err = {0};
    (void)state;
    assert_null(pk_tls_for_server(&files, PK_SSL_VERIFY_FULL, "", "", false, &err));
    assert_string_equal(err.message, "host name must be specified for a verified SSL connection");
}

/* ---- who may read the key ---- */

static const struct mode_row {
    const char *name;
    mode_t mode;
    uid_t owner;
    bool if_ours, if_roots; /* taken from a user who owns it; from root */
} mode_rows[] = {
    {"0600", 0600, 0, true, true},
    {"0400", 0400, 0, true, true},
    {"0700, which its owner may", 0700, 0, true, true},
    {"0640: the group reads", 0640, 0, false, true},
    {"0620: the group writes", 0620, 0, false, false},
    {"0610: the group runs", 0610, 0, false, false},
    {"0604: the world reads", 0604, 0, false, false},
    {"0602: the world writes", 0602, 0, false, false},
    {"0644", 0644, 0, false, false},
    {"0600 of another user", 0600, 12345, false, false},
    {"0644 of another user", 0644, 12345, false, false},
};

static void the_key_is_private(void **state)
{
    const struct mode_row *row = *state;
    const pk_tls_files files = files_of("private", NULL, NULL);
    pk_error err = {0};
    if (row->owner != 0 && geteuid() != 0)
        skip(); /* only root gives files away */
    write_pair("private", &world.server);
    assert_int_equal(chmod(files.key, row->mode), 0);
    if (row->owner != 0)
        assert_int_equal(chown(files.key, row->owner, (gid_t)-1), 0);
    PK_AUTO_PTR(pk_tls_unref)
    pk_tls *tls = pk_tls_for_clients(&files, PK_SSL_ALLOW, "", &err);
    (void)unlink(files.key);
    assert_int_equal(tls != NULL, geteuid() == 0 ? row->if_roots : row->if_ours);
    if (tls == NULL) {
        assert_string_equal(err.sqlstate, "42501");
        assert_begins(err.message, "private key file \"%/private.key\" ");
    }
}

/* ---- whom it lets in ---- */

static const struct meet_row {
    const char *name;
    const char *server_pair, *server_ca, *server_crl;
    pk_sslmode server_mode;
    const char *client_pair, *client_ca, *client_crl;
    pk_sslmode client_mode;
    const char *client_says, *server_says; /* NULL: lets the other in */
} meet_rows[] = {
    {"prefer believes anybody", "stranger", .server_mode = PK_SSL_ALLOW,
     .client_mode = PK_SSL_PREFER},
    {"require believes anybody", "stranger", .server_mode = PK_SSL_ALLOW,
     .client_mode = PK_SSL_REQUIRE},
    {"require with an authority is verify-ca", "alone", .server_mode = PK_SSL_ALLOW,
     .client_ca = "authority.crt", .client_mode = PK_SSL_REQUIRE,
     .client_says = "certificate verify failed: self-signed certificate",
     .server_says = "could not accept SSL connection: tlsv1 alert unknown ca"},
    {"prefer with an authority is, too", "alone", .server_mode = PK_SSL_ALLOW,
     .client_ca = "authority.crt", .client_mode = PK_SSL_PREFER,
     .client_says = "certificate verify failed: self-signed certificate",
     .server_says = "could not accept SSL connection: tlsv1 alert unknown ca"},
    {"verify-ca looks not at the name", "elsewhere", .server_mode = PK_SSL_ALLOW,
     .client_ca = "authority.crt", .client_mode = PK_SSL_VERIFY_CA},
    {"verify-full does", "elsewhere", .server_mode = PK_SSL_ALLOW, .client_ca = "authority.crt",
     .client_mode = PK_SSL_VERIFY_FULL,
     .client_says =
         "server certificate for \"elsewhere.example\" does not match host name \"db.example\""},
    {"verify-full likes its host", "server", .server_mode = PK_SSL_ALLOW,
     .client_ca = "authority.crt", .client_mode = PK_SSL_VERIFY_FULL},
    {"another authority's", "server", .server_mode = PK_SSL_ALLOW, .client_ca = "stranger.crt",
     .client_mode = PK_SSL_VERIFY_CA,
     .client_says = "certificate verify failed: unable to get local issuer certificate",
     .server_says = "could not accept SSL connection: tlsv1 alert unknown ca"},
    {"the system's authorities do not know ours", "server", .server_mode = PK_SSL_ALLOW,
     .client_ca = "system", .client_mode = PK_SSL_VERIFY_FULL,
     .client_says = "certificate verify failed: unable to get local issuer certificate",
     .server_says = "could not accept SSL connection: tlsv1 alert unknown ca"},
    {"expired", "expired", .server_mode = PK_SSL_ALLOW, .client_ca = "authority.crt",
     .client_mode = PK_SSL_VERIFY_CA,
     .client_says = "certificate verify failed: certificate has expired",
     .server_says = "could not accept SSL connection: sslv3 alert certificate expired"},
    {"expired, and nobody looks", "expired", .server_mode = PK_SSL_ALLOW,
     .client_mode = PK_SSL_REQUIRE},
    {"revoked", "server", .server_mode = PK_SSL_ALLOW, .client_ca = "authority.crt",
     .client_crl = "server.crl", .client_mode = PK_SSL_VERIFY_CA,
     .client_says = "certificate verify failed: certificate revoked",
     .server_says = "could not accept SSL connection: sslv3 alert certificate revoked"},
    {"not among the revoked", "server", .server_mode = PK_SSL_ALLOW, .client_ca = "authority.crt",
     .client_crl = "none.crl", .client_mode = PK_SSL_VERIFY_CA},
    {"a list of another authority", "server", .server_mode = PK_SSL_ALLOW,
     .client_ca = "authority.crt", .client_crl = "stranger.crl", .client_mode = PK_SSL_VERIFY_CA,
     .client_says = "certificate verify failed: unable to get certificate CRL",
     .server_says = "could not accept SSL connection: tlsv1 alert unknown ca"},
    {"no certificate is asked for", "server", .server_mode = PK_SSL_REQUIRE,
     .client_pair = "client", .client_mode = PK_SSL_REQUIRE},
    {"a certificate that need not be there is not", "server", "authority.crt",
     .server_mode = PK_SSL_REQUIRE, .client_mode = PK_SSL_REQUIRE},
    {"a certificate that need not be there is good", "server", "authority.crt",
     .server_mode = PK_SSL_REQUIRE, .client_pair = "client", .client_mode = PK_SSL_REQUIRE},
    {"a certificate that need not be there must be good", "server", "authority.crt",
     .server_mode = PK_SSL_REQUIRE, .client_pair = "mallory", .client_mode = PK_SSL_REQUIRE,
     .server_says = "certificate verify failed: unable to get local issuer certificate"},
    {"a certificate that must be there", "server", "authority.crt", .server_mode = PK_SSL_VERIFY_CA,
     .client_pair = "client", .client_mode = PK_SSL_REQUIRE},
    {"a certificate that must be there is not", "server", "authority.crt",
     .server_mode = PK_SSL_VERIFY_CA, .client_mode = PK_SSL_REQUIRE,
     .server_says = "could not accept SSL connection: peer did not return a certificate"},
    {"verify-full demands one as well", "server", "authority.crt",
     .server_mode = PK_SSL_VERIFY_FULL, .client_mode = PK_SSL_REQUIRE,
     .server_says = "could not accept SSL connection: peer did not return a certificate"},
    {"a client's certificate that expired", "server", "authority.crt",
     .server_mode = PK_SSL_VERIFY_CA, .client_pair = "expired", .client_mode = PK_SSL_REQUIRE,
     .server_says = "certificate verify failed: certificate has expired"},
    {"a client's certificate that is revoked", "server", "authority.crt", "client.crl",
     .server_mode = PK_SSL_VERIFY_CA, .client_pair = "client", .client_mode = PK_SSL_REQUIRE,
     .server_says = "certificate verify failed: certificate revoked"},
    {"another client's certificate is revoked", "server", "authority.crt", "server.crl",
     .server_mode = PK_SSL_VERIFY_CA, .client_pair = "client", .client_mode = PK_SSL_REQUIRE},
    {"without authorities a server shows what it has", .server_pair = "rsa",
     .server_mode = PK_SSL_ALLOW, .client_mode = PK_SSL_PREFER},
};

static void assert_end(const tls_end *end, const char *says)
{
    if (says == NULL) {
        assert_true(end->done);
        return;
    }
    assert_true(end->failed);
    assert_begins(end->err.message, says);
    const bool about_peer = strncmp(says, "certificate verify", 18) == 0 ||
                            strncmp(says, "server certificate", 18) == 0;
    assert_string_equal(end->err.sqlstate, about_peer ? "28000" : "08P01");
    assert_string_not_equal(pk_tls_link_why(end->link), "");
}

static void they_meet(void **state)
{
    const struct meet_row *row = *state;
    const pk_tls_files server = files_of(row->server_pair, row->server_ca, row->server_crl);
    const pk_tls_files client = files_of(row->client_pair, row->client_ca, row->client_crl);
    pk_error err = {0};
    tls_ends ends;
    open_links(&ends, must_tls(pk_tls_for_clients(&server, row->server_mode, "", &err), &err),
               must_tls(pk_tls_for_server(&client, row->client_mode, "", "db.example", false, &err),
                        &err));
    (void)shake(&ends);
    assert_end(&ends.server, row->server_says);
    assert_end(&ends.client, row->client_says);
    /* in TLS 1.3 a client hears only now that its certificate will not do */
    if (row->server_says != NULL && row->client_says == NULL) {
        assert_int_equal(stop_of_read(ends.client.link), PK_TLS_BROKEN);
        assert_string_not_equal(pk_tls_link_why(ends.client.link), "");
    }
    close_ends(&ends);
}

/* ---- whose certificate is it? ---- */

static const struct host_row {
    const char *name, *subject, *alt_names, *zero_alt, *host;
    const char *says; /* NULL: it is the host's */
} host_rows[] = {
    {"the common name", "/CN=db.example", .host = "db.example"},
    {"case does not count", "/CN=DB.Example", .host = "db.eXample"},
    {"an alternative name", "/CN=x", "DNS:db.example", .host = "db.example"},
    {"the last of them", "/CN=x", "DNS:a.example,DNS:b.example,DNS:db.example",
     .host = "db.example"},
    {"with alternative names the common one is nothing", "/CN=db.example", "DNS:a.example",
     .host = "db.example",
     .says = "server certificate for \"a.example\" does not match host name \"db.example\""},
    {"with an alternative address it still is", "/CN=db.example", "IP:10.0.0.1",
     .host = "db.example"},
    {"many others", "/CN=x", "DNS:a.example,DNS:b.example,IP:10.0.0.1", .host = "db.example",
     .says = "server certificate for \"a.example\" (and 2 other names) does not match host name "
             "\"db.example\""},
    {"one other", "/CN=x", "DNS:a.example,DNS:b.example", .host = "db.example",
     .says = "server certificate for \"a.example\" (and 1 other name) does not match host name "
             "\"db.example\""},
    {"no name", "/O=x", .host = "db.example",
     .says = "could not get server's host name from server certificate"},
    {"a wildcard", "/CN=x", "DNS:*.example", .host = "db.example"},
    {"a wildcard in the common name", "/CN=*.db.example", .host = "a.db.example"},
    {"a wildcard is one label, not two", "/CN=x", "DNS:*.example", .host = "a.db.example",
     .says = "server certificate for \"*.example\" does not match"},
    {"a wildcard is one label, not none", "/CN=x", "DNS:*.db.example", .host = "db.example",
     .says = "server certificate for \"*.db.example\" does not match"},
    {"nor an empty one", "/CN=x", "DNS:*.example", .host = ".example",
     .says = "server certificate for \"*.example\" does not match"},
    {"a wildcard is a whole label", "/CN=x", "DNS:d*.example", .host = "db.example",
     .says = "server certificate for \"d*.example\" does not match"},
    {"a wildcard stands in front", "/CN=x", "DNS:db.*", .host = "db.example",
     .says = "server certificate for \"db.*\" does not match"},
    {"a wildcard for everything", "/CN=x", "DNS:*", .host = "db.example",
     .says = "server certificate for \"*\" does not match"},
    {"the beginning is not the name", "/CN=db.example.com", .host = "db.example",
     .says = "server certificate for \"db.example.com\" does not match"},
    {"the end is not the name", "/CN=example", .host = "db.example",
     .says = "server certificate for \"example\" does not match"},
    {"an address", "/CN=x", "IP:127.0.0.1", .host = "127.0.0.1"},
    {"a short address", "/CN=x", "IP:127.0.0.1", .host = "127.1"},
    {"another address", "/CN=x", "IP:127.0.0.2", .host = "127.0.0.1",
     .says = "server certificate for \"127.0.0.2\" does not match host name \"127.0.0.1\""},
    {"an address of IPv6", "/CN=x", "IP:2001:db8::1", .host = "2001:DB8:0:0::1"},
    {"another address of IPv6", "/CN=x", "IP:2001:db8::1", .host = "2001:db8::2",
     .says = "server certificate for \"2001:db8::1\" does not match host name \"2001:db8::2\""},
    {"an address as a name", "/CN=x", "DNS:127.0.0.1", .host = "127.0.0.1"},
    {"an address as the common name", "/CN=127.0.0.1", .host = "127.0.0.1"},
    {"beside a name, too", "/CN=127.0.0.1", "DNS:db.example", .host = "127.0.0.1"},
    {"but not beside an address", "/CN=127.0.0.1", "IP:10.0.0.1", .host = "127.0.0.1",
     .says = "server certificate for \"10.0.0.1\" does not match host name \"127.0.0.1\""},
    {"no wildcard for addresses", "/CN=*.0.0.1", .host = "127.0.0.1",
     .says = "server certificate for \"*.0.0.1\" does not match"},
    {"a zero byte in the common name", "/CN=db.example@.evil.example", .host = "db.example",
     .says = "SSL certificate's name contains embedded null"},
    {"a zero byte in an alternative name", "/CN=x", .zero_alt = "db.example@.evil.example",
     .host = "db.example", .says = "SSL certificate's name contains embedded null"},
    {"an empty name", "/CN=x", .zero_alt = "", .host = "db.example",
     .says = "server certificate for \"\" does not match"},
};

static void it_is_the_hosts(void **state)
{
    const struct host_row *row = *state;
    test_identity shown = make_identity(&(test_recipe){.subject = row->subject,
                                                       .alt_names = row->alt_names,
                                                       .zero_alt = row->zero_alt,
                                                       .by = &world.authority});
    pk_error err = {0};
    tls_ends ends;
    write_pair("shown", &shown);
    const pk_tls_files server = files_of("shown", NULL, NULL);
    const pk_tls_files client = files_of(NULL, "authority.crt", NULL);
    open_links(
        &ends, must_tls(pk_tls_for_clients(&server, PK_SSL_ALLOW, "", &err), &err),
        must_tls(pk_tls_for_server(&client, PK_SSL_VERIFY_FULL, "", row->host, false, &err), &err));
    (void)shake(&ends);
    assert_true(ends.server.done);
    assert_int_equal(ends.client.done, row->says == NULL);
    if (row->says != NULL) {
        assert_true(ends.client.failed);
        assert_begins(ends.client.err.message, row->says);
        assert_string_equal(ends.client.err.sqlstate, "28000");
    }
    close_ends(&ends);
    free_identity(&shown);
}

/* ---- were the files replaced? ---- */

/* As Kubernetes does it: name -> ..data/name, ..data -> a directory of this moment. */
static void make_generation(const char *directory, const test_identity *identity)
{
    char name[80];
    assert_int_equal(mkdir(in_world(directory), 0700), 0);
    (void)snprintf(name, sizeof name, "%s/tls", directory);
    write_pair(name, identity);
}

static void a_swapped_directory_is_seen(void **state)
{
    pk_error err = {0};
    (void)state;
    make_generation("..1", &world.server);
    make_generation("..2", &world.server);
    assert_int_equal(symlink("..1", in_world("..data")), 0);
    assert_int_equal(symlink("..data/tls.crt", in_world("mounted.crt")), 0);
    assert_int_equal(symlink("..data/tls.key", in_world("mounted.key")), 0);
    const pk_tls_files files = files_of("mounted", NULL, NULL);
    pk_tls *tls = must_tls(pk_tls_for_clients(&files, PK_SSL_ALLOW, "", &err), &err);
    assert_false(pk_tls_files_changed(tls));
    assert_int_equal(symlink("..2", in_world("..data_tmp")), 0);
    assert_int_equal(rename(in_world("..data_tmp"), in_world("..data")), 0);
    assert_true(pk_tls_files_changed(tls));
    pk_tls_unref(tls);
}

static const struct change_row {
    const char *name, *file;
    enum { TOUCH, REWRITE, REPLACE, REMOVE, LOOK } how;
} change_rows[] = {
    {"nothing happened", "watched.crt", LOOK},
    {"the certificate was touched", "watched.crt", TOUCH},
    {"the key was touched", "watched.key", TOUCH},
    {"the authorities were touched", "watched.ca", TOUCH},
    {"the list was touched", "watched.crl", TOUCH},
    {"the certificate was written to", "watched.crt", REWRITE},
    {"the key was replaced by a copy", "watched.key", REPLACE},
    {"the list is gone", "watched.crl", REMOVE},
};

static void change(const char *path, const struct change_row *row)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
    struct stat before;
    assert_int_equal(stat(path, &before), 0);
    if (row->how == TOUCH) {
        times[1] = before.st_mtim; /* by a nanosecond */
        times[1].tv_nsec += times[1].tv_nsec == 999999999 ? -1 : 1;
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    } else if (row->how == REWRITE) {
        FILE *file = fopen(path, "ae");
        assert_non_null(file);
        assert_true(fputs("# a word\n", file) >= 0);
        assert_int_equal(fclose(file), 0);
        times[1] = before.st_mtim;
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    } else if (row->how == REPLACE) {
        write_key(in_world("copy"), &world.server, NULL);
        times[1] = before.st_mtim;
        assert_int_equal(utimensat(AT_FDCWD, in_world("copy"), times, 0), 0);
        assert_int_equal(rename(in_world("copy"), path), 0);
    } else if (row->how == REMOVE) {
        assert_int_equal(unlink(path), 0);
    }
}

static void changes_are_seen(void **state)
{
    const struct change_row *row = *state;
    pk_error err = {0};
    write_pair("watched", &world.server);
    write_cert(in_world("watched.ca"), &world.authority);
    write_revoked(in_world("watched.crl"), &world.authority, NULL);
    const pk_tls_files files = files_of("watched", "watched.ca", "watched.crl");
    pk_tls *tls = must_tls(pk_tls_for_clients(&files, PK_SSL_ALLOW, "", &err), &err);
    change(in_world(row->file), row);
    assert_int_equal(pk_tls_files_changed(tls), row->how != LOOK);
    pk_tls_unref(tls);
}

static void the_systems_authorities_are_no_file_of_ours(void **state)
{
    const pk_tls_files files = {.ca = "system"};
    pk_error err = {0};
    (void)state;
    pk_tls *tls = must_tls(
        pk_tls_for_server(&files, PK_SSL_VERIFY_FULL, "", "db.example", false, &err), &err);
    assert_false(pk_tls_files_changed(tls));
    pk_tls_unref(tls);
}

/* ---- the rest ---- */

static void who_holds_it_keeps_it(void **state)
{
    pk_tls *tls = server_tls();
    (void)state;
    assert_ptr_equal(pk_tls_ref(tls), tls);
    pk_tls_unref(tls);
    assert_int_equal(pk_tls_mode(tls), PK_SSL_REQUIRE);
    assert_false(pk_tls_is_direct(tls));
    pk_tls_unref(tls);
    pk_tls_unref(NULL);
}

static void the_digest_is_the_certificates(void **state)
{
    static const uint8_t zeros[32];
    uint8_t digest[32];
    uint8_t wanted[32];
    (void)state;
    pk_tls *tls = server_tls();
    pk_tls_digest(tls, digest);
    assert_int_equal(X509_digest(world.server.cert, EVP_sha256(), wanted, NULL), 1);
    assert_memory_equal(digest, wanted, sizeof wanted);
    pk_tls_unref(tls);
    tls = client_tls();
    pk_tls_digest(tls, digest);
    assert_memory_equal(digest, zeros, sizeof zeros);
    pk_tls_unref(tls);
}

/* ---- files that nobody should have ---- */

static void write_encrypted(const char *cert_path, const char *old_key_path)
{
    char password[] = "secret";
    FILE *file = create(cert_path, 0644);
    assert_true(PEM_ASN1_write((i2d_of_void *)i2d_X509, PEM_STRING_X509, file, world.server.cert,
                               EVP_aes_128_cbc(), (unsigned char *)password, (int)strlen(password),
                               NULL, NULL) > 0);
    assert_int_equal(fclose(file), 0);
    BIO *bio = BIO_new_file(old_key_path, "w");
    assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, world.server.key, EVP_aes_128_cbc(),
                                                          NULL, 0, NULL, password),
                     1);
    (void)BIO_free(bio);
    assert_int_equal(chmod(old_key_path, 0600), 0);
}

static void write_cut(const char *whole_path, const char *cut_path)
{
    char text[256];
    FILE *whole = fopen(whole_path, "re");
    assert_non_null(whole);
    const size_t len = fread(text, 1, sizeof text - 1, whole);
    assert_int_equal(fclose(whole), 0);
    text[len] = 0;
    write_text(cut_path, text);
}

static void write_signed(const char *name, test_recipe recipe)
{
    test_identity made = make_identity(&recipe);
    write_pair(name, &made);
    free_identity(&made);
}

static void make_files(void)
{
    write_text(in_world("empty"), "");
    write_text(in_world("text"), "this is not PEM\n");
    write_key(in_world("encrypted.key"), &world.server, "secret");
    write_encrypted(in_world("encrypted.crt"), in_world("old.key"));
    write_cut(in_world("server.crt"), in_world("cut.crt"));
    write_cert(in_world("secret.crt"), &world.server);
    assert_int_equal(chmod(in_world("secret.crt"), 0600), 0);
    assert_int_equal(mkfifo(in_world("pipe"), 0600), 0);
    write_signed("alone", (test_recipe){.subject = "/CN=db.example"});
    write_signed("rsa",
                 (test_recipe){.subject = "/CN=rsa", .by = &world.authority, .is_rsa = true});
    write_signed("mallory", (test_recipe){.subject = "/CN=alice", .by = &world.stranger});
    write_signed("elsewhere",
                 (test_recipe){.subject = "/CN=elsewhere.example", .by = &world.authority});
    write_signed(
        "expired",
        (test_recipe){.subject = "/CN=db.example", .by = &world.authority, .is_expired = true});
    write_revoked(in_world("none.crl"), &world.authority, NULL);
    write_revoked(in_world("server.crl"), &world.authority, &world.server);
    write_revoked(in_world("client.crl"), &world.authority, &world.client);
    write_revoked(in_world("stranger.crl"), &world.stranger, NULL);
    FILE *chain = create(in_world("chain.crt"), 0644);
    assert_int_equal(PEM_write_X509(chain, world.server.cert), 1);
    assert_int_equal(PEM_write_X509(chain, world.authority.cert), 1);
    assert_int_equal(fclose(chain), 0);
}

int main(void)
{
    static pk_suite suite;
    make_world();
    make_files();
    PK_SUITE_ROWS(&suite, client_rows, files_towards_clients);
    PK_SUITE_ROWS(&suite, server_rows, files_towards_the_server);
    PK_SUITE_TEST(&suite, verify_full_needs_a_name);
    PK_SUITE_ROWS(&suite, mode_rows, the_key_is_private);
    PK_SUITE_ROWS(&suite, meet_rows, they_meet);
    PK_SUITE_ROWS(&suite, host_rows, it_is_the_hosts);
    PK_SUITE_TEST(&suite, a_swapped_directory_is_seen);
    PK_SUITE_ROWS(&suite, change_rows, changes_are_seen);
    PK_SUITE_TEST(&suite, the_systems_authorities_are_no_file_of_ours);
    PK_SUITE_TEST(&suite, who_holds_it_keeps_it);
    PK_SUITE_TEST(&suite, the_digest_is_the_certificates);
    const int failed = pk_suite_run(&suite, "tls");
    remove_world();
    return failed;
}
