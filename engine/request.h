/*
 * One string of ours on its way to the engine: the statements (all ours, in order), who sends them,
 * where the results go. A heap object whose ownership moves: proxy -> engine (pk_engine_submit) ->
 * proxy (done). It names its session by number, never by pointer: the session may be gone when the
 * answer arrives.
 */
#ifndef PK_ENGINE_REQUEST_H
#define PK_ENGINE_REQUEST_H

#include "base/arena.h"
#include "engine/result.h"
#include "parser/parse.h"

#include <stdatomic.h>

typedef struct pk_request pk_request;
struct pk_request {
    uint64_t number; /* of this request; also in the stand-in's comment and the log */
    uint64_t session;
    pk_arena arena; /* holds the client's text, the script and the strings below; wiped with the
                       request */
    pk_script script;
    const char *user;     /* session_authorization as the backend reported it; NULL: it did not */
    const char *database; /* of the session */
    const char *client;   /* address:port, for the audit */
    const char *tls_subject; /* of the client's verified certificate, likewise; NULL: it has none */
    bool secure_peer;        /* loopback, Unix socket or TLS: secrets may be sent (DECISIONS 11) */
    bool in_block;           /* inside a transaction block */
    atomic_bool canceled;    /* set through pk_engine_cancel */

    /* Called once, in a worker thread, when all is done; takes the request back. */
    void (*done)(void *ctx, pk_request *request);
    void *ctx;

    /* Filled by the engine: one result per statement that ran, the last one may have failed. */
    pk_result **results; /* in the arena; each owned by the request */
    size_t result_count;
};

#define PK_REQUEST_MAX (8u << 20)

pk_request *pk_request_new(void) PK_MUST_USE;
void pk_request_free(pk_request *request);
PK_DEFINE_AUTO_PTR(pk_request_free, pk_request *)

#endif
