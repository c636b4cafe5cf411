/* What a configuration means for connections: numbers, targets, which TLS is wanted. */
#include "proxy/settings.h"
#include "sockets.h"

#define ARGS_MAX 12

static pk_settings *make(const char *const *args, pk_error *err)
{
    int count = 0;
    while (args[count] != NULL)
        count++;
    *err = (pk_error){0};
    PK_AUTO_PTR(pk_config_free)
    pk_config *config = pk_config_load(count, (char *const *)(uintptr_t)args, err);
    assert_non_null(config);
    return pk_settings_new(config, config, err); /* needs the configuration no longer */
}

static void numbers_are_taken(void **state)
{
    const char *const args[] = {"--set", "proxy.login_timeout=7",
                                "--set", "proxy.drain_timeout=0",
                                "--set", "proxy.max_connections=11",
                                "--set", "proxy.max_connections_per_address=12",
                                "--set", "proxy.max_connections_per_database=13",
                                "--set", "proxy.max_connections_per_role=14",
                                "--set", "proxy.max_logging_in=15",
                                "--set", "proxy.allow_cleartext_password=on",
                                NULL};
    pk_error err;
    (void)state;
    PK_AUTO_PTR(pk_settings_unref) pk_settings *settings = make(args, &err);
    assert_non_null(settings);
    assert_int_equal(settings->login_timeout_ms, 7000);
    assert_int_equal(settings->drain_timeout_ms, 0);
    assert_int_equal(settings->limits[PK_LIMIT_TOTAL], 11);
    assert_int_equal(settings->limits[PK_LIMIT_ADDRESS], 12);
    assert_int_equal(settings->limits[PK_LIMIT_DATABASE], 13);
    assert_int_equal(settings->limits[PK_LIMIT_ROLE], 14);
    assert_int_equal(settings->logging_in_max, 15);
    assert_true(settings->cleartext_passwords);
}

static void nothing_said_means_no_limit_and_no_tls(void **state)
{
    const char *const args[] = {NULL};
    pk_error err;
    (void)state;
    PK_AUTO_PTR(pk_settings_unref) pk_settings *settings = make(args, &err);
    assert_non_null(settings);
    for (size_t i = 0; i < PK_LIMIT_COUNT; i++)
        assert_int_equal(settings->limits[i], 0);
    assert_int_equal(settings->logging_in_max, 512);
    assert_int_equal(settings->login_timeout_ms, 60000);
    assert_int_equal(settings->drain_timeout_ms, 25000);
    assert_false(settings->cleartext_passwords);
    assert_null(settings->client_tls);
    assert_null(settings->server_tls);
    assert_string_equal(settings->backend.host, "127.0.0.1");
    assert_string_equal(settings->backend.port, "5432");
}

static const struct mode_row {
    const char *name, *backend, *set;
    int mode; /* -1: no TLS */
} mode_rows[] = {
    {"over loopback none", "127.0.0.1", "log.level=info", -1},
    {"over IPv6 loopback none", "[::1]", "log.level=info", -1},
    {"to localhost none", "localhost", "log.level=info", -1},
    {"over a network if the server has it", "192.0.2.1", "log.level=info", PK_SSL_PREFER},
    {"to a name if the server has it", "db.example", "log.level=info", PK_SSL_PREFER},
    {"over a network none, if so wished", "192.0.2.1", "server_tls.sslmode=disable", -1},
    {"over loopback, if so wished", "127.0.0.1", "server_tls.sslmode=require", PK_SSL_REQUIRE},
    {"fully verified by the system's authorities, over loopback too", "127.0.0.1",
     "server_tls.ca_file=system", PK_SSL_VERIFY_FULL},
    {"a Unix socket has none (libpq's rule)", "/run/pg", "server_tls.sslmode=require", -1},
    {"a Unix socket has none by default", "/run/pg", "log.level=info", -1},
};

static void tls_to_the_server_follows_where_it_is(void **state)
{
    const struct mode_row *row = *state;
    const char *const args[] = {"--backend", row->backend, "--set", row->set, NULL};
    pk_error err;
    PK_AUTO_PTR(pk_settings_unref) pk_settings *settings = make(args, &err);
    assert_string_equal(err.message, "");
    assert_non_null(settings);
    assert_int_equal(settings->server_tls == NULL ? -1 : (int)pk_tls_mode(settings->server_tls),
                     row->mode);
}

static void direct_tls_is_begun_without_asking(void **state)
{
    const char *const args[] = {"--backend", "192.0.2.1",
                                "--set",     "server_tls.sslmode=require",
                                "--set",     "server_tls.sslnegotiation=direct",
                                NULL};
    pk_error err;
    (void)state;
    PK_AUTO_PTR(pk_settings_unref) pk_settings *settings = make(args, &err);
    assert_non_null(settings);
    assert_true(pk_tls_is_direct(settings->server_tls));
}

static const struct bad_row {
    const char *name;
    const char *args[ARGS_MAX];
    const char *sqlstate, *message, *hint;
} bad_rows[] = {
    {"TLS for clients without a certificate",
     {"--set", "client_tls.sslmode=require"},
     PK_E_PARAMETER,
     "TLS towards clients needs a certificate and its key",
     "Set client_tls.cert_file and client_tls.key_file."},
    {"a certificate without its key",
     {"--set", "client_tls.cert_file=/c.pem"},
     PK_E_PARAMETER,
     "TLS towards clients needs a certificate and its key",
     "Set client_tls.cert_file and client_tls.key_file."},
    {"client certificates without authorities",
     {"--set", "client_tls.cert_file=/c.pem", "--set", "client_tls.key_file=/k.pem", "--set",
      "client_tls.sslmode=verify-ca"},
     PK_E_PARAMETER,
     "verifying client certificates needs authorities",
     "Set client_tls.ca_file."},
    {"a certificate that is not there",
     {"--set", "client_tls.cert_file=/nonexistent/c.pem", "--set",
      "client_tls.key_file=/nonexistent/k.pem"},
     "58P01",
     "TLS towards clients",
     ""},
    {"a server to be verified without authorities",
     {"--backend", "192.0.2.1", "--set", "server_tls.sslmode=verify-full"},
     PK_E_PARAMETER,
     "verifying the server's certificate needs authorities",
     "Set server_tls.ca_file; \"system\" means this host's."},
    {"authorities that are not there",
     {"--backend", "192.0.2.1", "--set", "server_tls.sslmode=verify-ca", "--set",
      "server_tls.ca_file=/nonexistent/ca.pem"},
     "58P01",
     "TLS towards the server",
     ""},
    {"direct TLS that may be left out",
     {"--backend", "192.0.2.1", "--set", "server_tls.sslnegotiation=direct"},
     PK_E_PARAMETER,
     "weak sslmode \"prefer\" may not be used with sslnegotiation=direct",
     "Use server_tls.sslmode=require, verify-ca or verify-full."},
};

static void settings_are_refused(void **state)
{
    const struct bad_row *row = *state;
    pk_error err;
    assert_null(make(row->args, &err));
    assert_string_equal(err.sqlstate, row->sqlstate);
    assert_string_equal(err.message, row->message);
    assert_string_equal(err.hint, row->hint);
}

/* A session that began with them may outlive them in the server. */
static void they_are_there_until_the_last_lets_go(void **state)
{
    const char *const args[] = {"--backend", "192.0.2.1:77", NULL};
    pk_error err;
    (void)state;
    pk_settings *settings = make(args, &err);
    assert_non_null(settings);
    assert_ptr_equal(pk_settings_ref(settings), settings);
    pk_settings_unref(settings);
    assert_string_equal(settings->backend.port, "77");
    assert_int_equal(pk_tls_mode(settings->server_tls), PK_SSL_PREFER);
    pk_settings_unref(settings);
    pk_settings_unref(NULL);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, numbers_are_taken);
    PK_SUITE_TEST(&suite, nothing_said_means_no_limit_and_no_tls);
    PK_SUITE_ROWS(&suite, mode_rows, tls_to_the_server_follows_where_it_is);
    PK_SUITE_TEST(&suite, direct_tls_is_begun_without_asking);
    PK_SUITE_ROWS(&suite, bad_rows, settings_are_refused);
    PK_SUITE_TEST(&suite, they_are_there_until_the_last_lets_go);
    return pk_suite_run(&suite, "settings");
}
