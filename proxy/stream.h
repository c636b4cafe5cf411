/*
 * The bytes of one peer: a watched socket, plain or with TLS on it. It reads into the one block
 * that all streams of a loop share and hands the bytes to its owner, who says how many it is done
 * with; only what is left over is kept here. It writes straight to the socket; only what the kernel
 * does not take is kept. So an idle stream owns no memory but this struct (wire-protocol 8.2), and
 * what TLS needs.
 *
 * Embedded in its owner, used on its loop's thread only. Closed, it is not to be freed before the
 * poller's round is over (pk_poller_bury).
 */
#ifndef PK_PROXY_STREAM_H
#define PK_PROXY_STREAM_H

#include "base/buf.h"
#include "proxy/poller.h"
#include "proxy/tls.h"

#define PK_STREAM_READ_SIZE (64u << 10)
#define PK_STREAM_HEADROOM  16u
#define PK_STREAM_LOW       (64u << 10) /* a congested stream is free again below this */
#define PK_STREAM_OUT_MAX   (48u << 20) /* the largest result, and what was already waiting */
#define PK_STREAM_IN_MAX    (2u << 20)
#define PK_STREAM_CARRY     8u

typedef struct pk_stream pk_stream;

/* What all streams of one loop share: its poller, and the block they read into. */
typedef struct pk_stream_loop {
    pk_poller poller;
    char bytes[PK_STREAM_HEADROOM + PK_STREAM_READ_SIZE];
} pk_stream_loop;

typedef struct pk_stream_owner {
    /* Returns how many of the bytes it is done with; it sees the others again, with more behind. */
    size_t (*input)(pk_stream *stream, pk_span bytes);
    bool (*may_read)(const pk_stream *stream);
    /* The handshake that pk_stream_accept_tls began is over. */
    void (*secured)(pk_stream *stream);
    /* Nothing comes any more: 0 for an orderly end, else an errno. Called once. */
    void (*ended)(pk_stream *stream, int why);
    /* The peer closed its side, but bytes may be waiting; `hard`: the connection is broken. */
    void (*hung_up)(pk_stream *stream, bool hard);
    /* A batch of events is over: the owner puts its house in order and updates its streams. */
    void (*settle)(pk_stream *stream);
} pk_stream_owner;

struct pk_stream {
    pk_watch watch; /* first */
    const pk_stream_owner *owner;
    void *ctx;
    pk_stream_loop *loop;        /* shared, borrowed */
    pk_tls_link *tls;            /* NULL: plain */
    pk_buf in;                   /* read, not done with; secret */
    pk_buf out;                  /* not yet taken by the kernel; secret */
    char carry[PK_STREAM_CARRY]; /* instead of `in` if this is enough, e.g. for a split header */
    uint8_t carry_len;
    bool congested : 1; /* the peer does not take our bytes: read no more of what goes there */
    bool ended : 1;     /* no more input */
    bool broken : 1;    /* no more output */
    bool hung_up : 1;
    bool sensitive : 1; /* authentication passes: wipe the shared block after each use */
    bool soiled : 1;    /* something of ours was thrown away in it: wipe it after this use */
    bool shaking : 1;   /* TLS begins */
    bool more : 1;      /* TLS may have bytes although the socket is silent */
    bool read_wants_write : 1, write_wants_read : 1; /* of TLS */
};

/* Not open, nothing in it. */
void pk_stream_init(pk_stream *stream, pk_stream_loop *loop, const pk_stream_owner *owner,
                    void *ctx);
/* Takes the descriptor and what is on it; watched from the next update on. */
void pk_stream_open(pk_stream *stream, int fd, pk_tls_link *tls);
bool pk_stream_is_open(const pk_stream *stream);
/* TLS from here on, with us as the server; `begun`: what was read of the handshake. What was
 * written before has gone out, or the stream breaks. */
void pk_stream_accept_tls(pk_stream *stream, pk_tls *tls, pk_span begun);
/* Sends now what it can and keeps the rest. After a failure `broken` is set and nothing is kept. */
void pk_stream_write(pk_stream *stream, pk_span bytes);
size_t pk_stream_unsent(const pk_stream *stream);
/* What was read and not done with. */
pk_span pk_stream_held(const pk_stream *stream);
/* The first bytes of it are done with; they are wiped. */
void pk_stream_consume(pk_stream *stream, size_t len);
/* Offers what is held to the owner again. */
void pk_stream_process(pk_stream *stream);
/* Watches what may_read and unsent bytes call for. */
void pk_stream_update(pk_stream *stream);
/* No more output: the peer sees an orderly end. */
void pk_stream_finish(pk_stream *stream);
/* Closes the socket. Nothing happens if it is not open. */
void pk_stream_close(pk_stream *stream);

#endif
