/*
 * The proxy as a whole: listening sockets, event loops and their threads, signals, reload and an
 * orderly end. One object, made by main; `run` returns when SIGTERM or SIGINT has been obeyed.
 */
#ifndef PK_PROXY_SERVER_H
#define PK_PROXY_SERVER_H

#include "engine/engine.h"
#include "proxy/config.h"

typedef struct pk_server pk_server;

/* Reads the configuration again, for SIGHUP; in a worker thread. NULL: why it stays as it is. */
typedef struct pk_server_reload {
    pk_config *(*load)(void *ctx, pk_error *err);
    void *ctx;
} pk_server_reload;

/* Binds and listens, so that a port in use is known before anything else is touched. Takes the
 * configuration, also when it fails. */
pk_server *pk_server_open(pk_config *config, pk_error *err) PK_MUST_USE;
/* Serves until told to end. Requests may still be on their way back afterwards: close the engine,
 * then the server. */
bool pk_server_run(pk_server *server, pk_engine *engine, const pk_server_reload *reload,
                   pk_error *err) PK_MUST_USE;
/* After pk_engine_close. */
void pk_server_close(pk_server *server);
PK_DEFINE_AUTO_PTR(pk_server_close, pk_server *)

#endif
