/*
 * Defaults that depend on other settings are worked out here. Which TLS is wanted towards the
 * server follows libpq (prefer), except over loopback and Unix sockets, where it would protect
 * nothing and break channel binding (docs/security.md).
 */
#include "proxy/settings.h"

#include <string.h>

static pk_sslmode mode_of(const char *word, pk_sslmode standard)
{
    static const char *const names[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};
    for (size_t i = 0; i < PK_COUNT(names); i++)
        if (strcmp(word, names[i]) == 0)
            return (pk_sslmode)i;
    return standard;
}

static bool load_client_tls(const pk_config *config, pk_settings *settings, pk_error *err)
{
    const pk_tls_files files = {.cert = pk_config_text(config, PK_OPT_CLIENT_TLS_CERT),
                                .key = pk_config_text(config, PK_OPT_CLIENT_TLS_KEY),
                                .ca = pk_config_text(config, PK_OPT_CLIENT_TLS_CA),
                                .crl = pk_config_text(config, PK_OPT_CLIENT_TLS_CRL)};
    const bool given = files.cert[0] != 0;
    const pk_sslmode mode = mode_of(pk_config_text(config, PK_OPT_CLIENT_TLS_MODE),
                                    given ? PK_SSL_ALLOW : PK_SSL_DISABLE);
    if (mode == PK_SSL_DISABLE)
        return true;
    if (!given || files.key[0] == 0) {
        (void)pk_fail(err, PK_E_PARAMETER, "TLS towards clients needs a certificate and its key");
        return pk_error_hint(err, "Set client_tls.cert_file and client_tls.key_file.");
    }
    if (mode >= PK_SSL_VERIFY_CA && files.ca[0] == 0) {
        (void)pk_fail(err, PK_E_PARAMETER, "verifying client certificates needs authorities");
        return pk_error_hint(err, "Set client_tls.ca_file.");
    }
    settings->client_tls =
        pk_tls_for_clients(&files, mode, pk_config_text(config, PK_OPT_CLIENT_TLS_MIN), err);
    return settings->client_tls != NULL || pk_error_wrap(err, "TLS towards clients");
}

static pk_sslmode server_mode(const pk_config *config, const pk_settings *settings)
{
    pk_address address;
    const bool local = pk_target_is_address(&settings->backend, &address)
                           ? pk_address_is_local(&address)
                           : strcmp(settings->backend.host, "localhost") == 0;
    pk_sslmode standard = local ? PK_SSL_DISABLE : PK_SSL_PREFER;
    if (strcmp(pk_config_text(config, PK_OPT_SERVER_TLS_CA), "system") == 0)
        standard = PK_SSL_VERIFY_FULL; /* anybody can get a certificate of theirs: libpq 16 */
    return mode_of(pk_config_text(config, PK_OPT_SERVER_TLS_MODE), standard);
}

static bool load_server_tls(const pk_config *config, pk_settings *settings, pk_error *err)
{
    const pk_sslmode mode = server_mode(config, settings);
    const pk_tls_files files = {.cert = pk_config_text(config, PK_OPT_SERVER_TLS_CERT),
                                .key = pk_config_text(config, PK_OPT_SERVER_TLS_KEY),
                                .ca = pk_config_text(config, PK_OPT_SERVER_TLS_CA),
                                .crl = pk_config_text(config, PK_OPT_SERVER_TLS_CRL)};
    if (mode == PK_SSL_DISABLE || settings->backend.host[0] == '/')
        return true;
    if (mode >= PK_SSL_VERIFY_CA && files.ca[0] == 0) {
        (void)pk_fail(err, PK_E_PARAMETER, "verifying the server's certificate needs authorities");
        return pk_error_hint(err, "Set server_tls.ca_file; \"system\" means this host's.");
    }
    const bool direct =
        strcmp(pk_config_text(config, PK_OPT_SERVER_TLS_NEGOTIATION), "direct") == 0;
    if (direct && mode < PK_SSL_REQUIRE) {
        (void)pk_fail(err, PK_E_PARAMETER,
                      "weak sslmode \"%s\" may not be used with sslnegotiation=direct", "prefer");
        return pk_error_hint(err, "Use server_tls.sslmode=require, verify-ca or verify-full.");
    }
    settings->server_tls =
        pk_tls_for_server(&files, mode, pk_config_text(config, PK_OPT_SERVER_TLS_MIN),
                          settings->backend.host, direct, err);
    return settings->server_tls != NULL || pk_error_wrap(err, "TLS towards the server");
}

static void load_limits(const pk_config *config, pk_settings *settings)
{
    static const pk_option of[PK_LIMIT_COUNT] = {
        [PK_LIMIT_TOTAL] = PK_OPT_PROXY_MAX_CONNECTIONS,
        [PK_LIMIT_ADDRESS] = PK_OPT_PROXY_MAX_PER_ADDRESS,
        [PK_LIMIT_DATABASE] = PK_OPT_PROXY_MAX_PER_DATABASE,
        [PK_LIMIT_ROLE] = PK_OPT_PROXY_MAX_PER_ROLE,
    };
    for (size_t i = 0; i < PK_LIMIT_COUNT; i++)
        settings->limits[i] = pk_config_number(config, of[i]);
    settings->logging_in_max = pk_config_number(config, PK_OPT_PROXY_MAX_LOGGING_IN);
}

pk_settings *pk_settings_new(const pk_config *config, const pk_config *first, pk_error *err)
{
    PK_AUTO_PTR(pk_settings_unref) pk_settings *settings = pk_new(pk_settings);
    atomic_store(&settings->refs, 1);
    settings->login_timeout_ms =
        (uint64_t)pk_config_seconds(config, PK_OPT_PROXY_LOGIN_TIMEOUT) * 1000;
    settings->drain_timeout_ms =
        (uint64_t)pk_config_seconds(config, PK_OPT_PROXY_DRAIN_TIMEOUT) * 1000;
    settings->cleartext_passwords = pk_config_bool(config, PK_OPT_PROXY_CLEARTEXT_PASSWORDS);
    load_limits(config, settings);
    if (!pk_target_parse(pk_config_text(first, PK_OPT_PROXY_BACKEND), "5432", &settings->backend,
                         err) ||
        !load_client_tls(config, settings, err) || !load_server_tls(config, settings, err))
        return NULL;
    return pk_steal(&settings);
}

pk_settings *pk_settings_ref(pk_settings *settings)
{
    atomic_fetch_add(&settings->refs, 1);
    return settings;
}

void pk_settings_unref(pk_settings *settings)
{
    if (settings == NULL || atomic_fetch_sub(&settings->refs, 1) > 1)
        return;
    pk_tls_unref(settings->client_tls);
    pk_tls_unref(settings->server_tls);
    pk_free(settings);
}
