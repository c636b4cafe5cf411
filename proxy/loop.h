/*
 * What all sessions of one event loop share: the block they read into, the way to the backend and
 * to the engine, the table of cancel keys. Made and owned by the server; the loop's thread only.
 */
#ifndef PK_PROXY_LOOP_H
#define PK_PROXY_LOOP_H

#include "engine/engine.h"
#include "proxy/connect.h"
#include "proxy/post.h"
#include "proxy/stream.h"

#define PK_CANCEL_BUCKETS      256u
#define PK_LISTENERS_MAX       8u
#define PK_UNAUTHENTICATED_MAX 512u /* connections that have not logged in, if there are files */

typedef struct pk_session pk_session;

typedef struct pk_loop {
    uv_loop_t uv;
    pk_stream_block *block;
    pk_target backend;
    pk_engine *engine;
    pk_post *post;
    uint64_t login_timeout_ms;
    pk_peer_address listening[PK_LISTENERS_MAX];
    size_t listening_count;

    pk_session *sessions;
    size_t session_count;
    size_t logging_in; /* of them, have not logged in */
    size_t logging_in_max;
    uint64_t turned_away_at; /* when the last warning about too many of them was written */
    uint64_t last_session, last_request; /* numbers given so far */
    pk_session *cancel_keys[PK_CANCEL_BUCKETS];
    unsigned cancels;           /* being forwarded */
    uint64_t cancel_dropped_at; /* when the last warning about too many of them was written */
    bool draining;              /* sessions leave as soon as they are idle */
    void (*session_gone)(struct pk_loop *loop);
} pk_loop;

#endif
