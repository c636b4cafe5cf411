/*
 * What the configuration means for connections, worked out: targets resolved to their shape, TLS
 * contexts loaded. Immutable and counted; SIGHUP makes new ones, or, if anything in them will not
 * do, leaves the old ones in place. Any thread.
 */
#ifndef PK_PROXY_SETTINGS_H
#define PK_PROXY_SETTINGS_H

#include "proxy/address.h"
#include "proxy/config.h"
#include "proxy/limits.h"
#include "proxy/tls.h"

#include <stdatomic.h>

typedef struct pk_settings {
    atomic_uint refs;
    pk_target backend;
    pk_tls *client_tls; /* NULL: none is offered */
    pk_tls *server_tls; /* NULL: none is asked for */
    uint64_t login_timeout_ms, drain_timeout_ms;
    uint32_t logging_in_max; /* connections that have not logged in */
    uint32_t limits[PK_LIMIT_COUNT];
    atomic_bool certificates_compared; /* ours and the server's, for the warning */
    bool cleartext_passwords;          /* may go over a plain connection to a server that has TLS */
} pk_settings;

/* `first`: the configuration we were started with, which rules where a setting cannot change. */
pk_settings *pk_settings_new(const pk_config *config, const pk_config *first,
                             pk_error *err) PK_MUST_USE;
pk_settings *pk_settings_ref(pk_settings *settings) PK_MUST_USE;
void pk_settings_unref(pk_settings *settings);
PK_DEFINE_AUTO_PTR(pk_settings_unref, pk_settings *)

#endif
