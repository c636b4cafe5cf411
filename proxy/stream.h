/*
 * The bytes of one peer: a socket watched by uv_poll, our own recv and send. It reads into the one
 * block that all streams of a loop share and hands the bytes to its owner, who says how many it is
 * done with; only what is left over is kept here. It writes straight to the socket; only what the
 * kernel does not take is kept. So an idle stream owns no memory but this struct
 * (wire-protocol 8.2).
 *
 * recv and send stand in two functions of stream.c, which is where TLS goes. Embedded in its owner,
 * used on its loop's thread only. Ends with `closed`, later, when libuv lets go of the handle.
 */
#ifndef PK_PROXY_STREAM_H
#define PK_PROXY_STREAM_H

#include "base/buf.h"

#include <uv.h>

#define PK_STREAM_READ_SIZE (64u << 10)
#define PK_STREAM_HEADROOM  16u
#define PK_STREAM_LOW       (64u << 10) /* a congested stream is free again below this */
#define PK_STREAM_OUT_MAX   (48u << 20) /* the largest result, and what was already waiting */
#define PK_STREAM_IN_MAX    (2u << 20)
#define PK_STREAM_CARRY     8u

typedef struct pk_stream pk_stream;

/* The block all streams of one loop read into. */
typedef struct pk_stream_block {
    char bytes[PK_STREAM_HEADROOM + PK_STREAM_READ_SIZE];
} pk_stream_block;

typedef struct pk_stream_owner {
    /* Returns how many of the bytes it is done with; it sees the others again, with more behind. */
    size_t (*input)(pk_stream *stream, pk_span bytes);
    bool (*may_read)(const pk_stream *stream);
    /* Nothing comes any more: 0 for an orderly end, else an errno. Called once. */
    void (*ended)(pk_stream *stream, int why);
    /* The peer closed its side, but bytes may be waiting; `hard`: the connection is broken. */
    void (*hung_up)(pk_stream *stream, bool hard);
    /* A batch of events is over: the owner puts its house in order and updates its streams. */
    void (*settle)(pk_stream *stream);
    void (*closed)(pk_stream *stream);
} pk_stream_owner;

struct pk_stream {
    uv_poll_t poll;
    const pk_stream_owner *owner;
    void *ctx;
    pk_stream_block *block;      /* shared, borrowed */
    pk_buf in;                   /* read, not done with; secret */
    pk_buf out;                  /* not yet taken by the kernel; secret */
    int fd;                      /* -1: not open */
    int mask;                    /* what uv_poll watches now */
    char carry[PK_STREAM_CARRY]; /* instead of `in` if this is enough, e.g. for a split header */
    uint8_t carry_len;
    bool congested; /* the peer does not take our bytes: read no more of what goes there */
    bool ended;     /* no more input */
    bool broken;    /* no more output */
    bool hung_up;
    bool sensitive; /* authentication passes: wipe the shared block after each use */
    bool soiled;    /* something of ours was thrown away in it: wipe it after this use */
};

/* Takes the descriptor; false if libuv refuses it (the caller closes it then). */
bool pk_stream_open(pk_stream *stream, uv_loop_t *loop, int fd, pk_error *err) PK_MUST_USE;
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
/* Closes the socket now; `closed` follows. Nothing happens if it is not open. */
void pk_stream_close(pk_stream *stream);

#endif
