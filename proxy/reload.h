/*
 * New settings while the proxy runs: at SIGHUP from the configuration file, and whenever a
 * certificate's file changed (Kubernetes swaps links). Files are read in a worker thread of
 * libuv's; what will not do is logged and leaves everything as it was. The first loop's thread
 * only.
 */
#ifndef PK_PROXY_RELOAD_H
#define PK_PROXY_RELOAD_H

#include "proxy/server.h"
#include "proxy/settings.h"

#include <uv.h>

typedef struct pk_reload pk_reload;

/* `config` and `settings` are borrowed until close, `apply` is called with new ones. */
pk_reload *pk_reload_open(uv_loop_t *uv, const pk_config *config, pk_settings *settings,
                          const pk_server_reload *source,
                          void (*apply)(void *ctx, pk_settings *settings), void *ctx) PK_MUST_USE;
/* SIGHUP. */
void pk_reload_all(pk_reload *reload);
/* Once a second: looks at the files of TLS, now and then. */
void pk_reload_tick(pk_reload *reload);
/* Freed in a later turn of the loop, when no worker is at it any more. */
void pk_reload_close(pk_reload *reload);

#endif
