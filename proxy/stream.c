/*
 * One callback does everything: flush, read at most TURNS full blocks, tell the owner. A short read
 * ends the round, which saves the recv that would only say EAGAIN. A peer's hang-up is watched at
 * all times, also while reading is stopped, but only once: epoll would repeat it for ever.
 *
 * The block has headroom: a few bytes left over from the last round are put in front of the new
 * ones there, so that a header cut in two costs no allocation.
 *
 * TLS changes three things. A short read says nothing, because a record ends where it ends: reading
 * goes on while TLS has something left. That may be while the socket is silent; if the owner did
 * not want it then, update asks for another call later. And reading may have to
 * wait until the socket takes bytes, writing until some come.
 */
#include "proxy/stream.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define TURNS 16

/* ---- the descriptor ---- */

static ssize_t tls_recv(pk_stream *stream, char *to, size_t room)
{
    pk_tls_stop stop = PK_TLS_BROKEN;
    const ssize_t got = pk_tls_read(stream->tls, to, room, &stop);
    stream->read_wants_write = got < 0 && stop == PK_TLS_WANTS_WRITE;
    stream->more = got >= 0 && pk_tls_has_pending(stream->tls);
    if (got >= 0)
        return got;
    if (stop == PK_TLS_ENDED)
        return 0;
    if (stop == PK_TLS_BROKEN)
        pk_log_info("TLS failed: %s", pk_tls_link_why(stream->tls));
    errno = stop == PK_TLS_BROKEN ? ECONNRESET : EAGAIN;
    return -1;
}

static ssize_t stream_recv(pk_stream *stream, char *to, size_t room)
{
    ssize_t got;
    if (stream->tls != NULL)
        return tls_recv(stream, to, room);
    do
        got = recv(stream->watch.fd, to, room, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t tls_send(pk_stream *stream, pk_span bytes)
{
    pk_tls_stop stop = PK_TLS_BROKEN;
    const ssize_t sent = pk_tls_write(stream->tls, bytes, &stop);
    stream->write_wants_read = sent < 0 && stop == PK_TLS_WANTS_READ;
    if (sent >= 0)
        return sent;
    const bool later = stop == PK_TLS_WANTS_READ || stop == PK_TLS_WANTS_WRITE;
    if (!later)
        pk_log_info("TLS failed: %s", pk_tls_link_why(stream->tls));
    errno = later ? EAGAIN : EPIPE;
    return -1;
}

static ssize_t stream_send(pk_stream *stream, pk_span bytes)
{
    ssize_t sent;
    if (stream->tls != NULL)
        return tls_send(stream, bytes);
    do
        sent = send(stream->watch.fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

/* ---- input ---- */

static void end_input(pk_stream *stream, int why)
{
    if (stream->ended)
        return;
    stream->ended = true;
    stream->owner->ended(stream, why);
}

static void keep(pk_stream *stream, pk_span rest)
{
    if (rest.len <= PK_STREAM_CARRY) {
        if (rest.len > 0)
            memcpy(stream->carry, rest.ptr, rest.len);
        stream->carry_len = (uint8_t)rest.len;
    } else if (!pk_buf_append_span(&stream->in, rest, NULL)) {
        end_input(stream, ENOBUFS);
    }
}

/* `len` new bytes stand in the block behind its headroom. */
static void deliver(pk_stream *stream, size_t len)
{
    char *bytes = stream->loop->bytes + PK_STREAM_HEADROOM;
    if (pk_buf_span(&stream->in).len > 0) {
        if (!pk_buf_append(&stream->in, bytes, len, NULL)) {
            end_input(stream, ENOBUFS);
            return;
        }
        pk_wipe(bytes, len);
        pk_stream_process(stream);
        return;
    }
    size_t carry = stream->carry_len;
    if (carry > 0) {
        memcpy(bytes - carry, stream->carry, carry);
        pk_wipe(stream->carry, carry);
    }
    stream->carry_len = 0;
    pk_span all = {bytes - carry, len + carry};
    size_t done = stream->owner->input(stream, all);
    assert(done <= all.len);
    if (pk_stream_is_open(stream))
        keep(stream, (pk_span){all.ptr + done, all.len - done});
    if (stream->sensitive || stream->soiled || all.len - done > PK_STREAM_CARRY)
        pk_wipe(bytes - carry, all.len);
    stream->soiled = false;
}

static void read_input(pk_stream *stream)
{
    for (int turn = 0; turn < TURNS; turn++) {
        if (!pk_stream_is_open(stream) || stream->ended || stream->shaking ||
            !stream->owner->may_read(stream))
            return;
        ssize_t got =
            stream_recv(stream, stream->loop->bytes + PK_STREAM_HEADROOM, PK_STREAM_READ_SIZE);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            end_input(stream, got == 0 ? 0 : errno);
            return;
        }
        deliver(stream, (size_t)got);
        if (stream->tls == NULL ? (size_t)got < PK_STREAM_READ_SIZE : !stream->more)
            return;
    }
}

/* ---- output ---- */

static void break_output(pk_stream *stream)
{
    stream->broken = true;
    stream->congested = false;
    stream->write_wants_read = false;
    pk_buf_clear(&stream->out);
}

static void flush_output(pk_stream *stream)
{
    pk_span rest = pk_buf_span(&stream->out);
    if (rest.len == 0)
        return;
    ssize_t sent = stream_send(stream, rest);
    if (sent < 0 && errno != EAGAIN) {
        break_output(stream);
        return;
    }
    if (sent > 0)
        pk_buf_consume(&stream->out, (size_t)sent);
    if (pk_stream_unsent(stream) < PK_STREAM_LOW)
        stream->congested = false;
    if (pk_stream_unsent(stream) == 0)
        pk_buf_clear(&stream->out);
}

/* ---- TLS begins ---- */

static void shake_hands(pk_stream *stream)
{
    pk_error err = {0};
    pk_tls_stop stop = PK_TLS_BROKEN;
    stream->read_wants_write = false;
    if (pk_tls_handshake(stream->tls, &stop, &err)) {
        stream->shaking = false;
        stream->more = true;
        stream->owner->secured(stream);
    } else if (stop == PK_TLS_WANTS_WRITE) {
        stream->read_wants_write = true;
    } else if (stop != PK_TLS_WANTS_READ) {
        pk_log_info("TLS handshake failed: %s", err.message);
        stream->shaking = false;
        break_output(stream);
        end_input(stream, stop == PK_TLS_ENDED ? 0 : EPROTO);
    }
}

void pk_stream_accept_tls(pk_stream *stream, pk_tls *tls, pk_span begun)
{
    pk_error err = {0};
    if (pk_stream_unsent(stream) == 0)
        stream->tls = pk_tls_accept(tls, stream->watch.fd, begun, &err);
    if (stream->tls == NULL) {
        break_output(stream);
        end_input(stream, ENOBUFS);
        return;
    }
    stream->shaking = true;
    if (begun.len > 0) /* it may be all that comes before an answer */
        pk_watch_again(&stream->loop->poller, &stream->watch);
}

/* ---- events ---- */

static void on_failure(pk_stream *stream)
{
    read_input(stream); /* the cause, behind what is still there to be read */
    if (!pk_stream_is_open(stream))
        return;
    break_output(stream); /* nothing goes out any more */
    if (!stream->hung_up && !stream->ended)
        stream->owner->hung_up(stream, true);
    stream->hung_up = true;
}

static void on_ready(pk_watch *watch, unsigned events)
{
    pk_stream *stream = (pk_stream *)watch;
    const bool readable = (events & PK_READABLE) != 0;
    const bool writable = (events & PK_WRITABLE) != 0;
    if (stream->shaking && (events & (PK_READABLE | PK_WRITABLE)))
        shake_hands(stream);
    if (writable || (readable && stream->write_wants_read))
        flush_output(stream);
    if (events & PK_FAILED)
        on_failure(stream);
    else if (readable || (writable && stream->read_wants_write))
        read_input(stream);
    if ((events & PK_HUNG_UP) && !stream->hung_up) {
        stream->hung_up = true;
        if (pk_stream_is_open(stream) && !stream->ended)
            stream->owner->hung_up(stream, false);
    }
    stream->owner->settle(stream);
}

/* ---- what the owner calls ---- */

void pk_stream_init(pk_stream *stream, pk_stream_loop *loop, const pk_stream_owner *owner,
                    void *ctx)
{
    *stream = (pk_stream){.watch = {.ready = on_ready, .fd = -1},
                          .owner = owner,
                          .ctx = ctx,
                          .loop = loop,
                          .in = PK_BUF_SECRET(PK_STREAM_IN_MAX),
                          .out = PK_BUF_SECRET(PK_STREAM_OUT_MAX)};
}

void pk_stream_open(pk_stream *stream, int fd, pk_tls_link *tls)
{
    stream->watch.fd = fd;
    stream->tls = tls;
}

bool pk_stream_is_open(const pk_stream *stream)
{
    return stream->watch.fd >= 0;
}

void pk_stream_write(pk_stream *stream, pk_span bytes)
{
    if (!pk_stream_is_open(stream) || stream->broken || bytes.len == 0)
        return;
    if (pk_stream_unsent(stream) == 0) {
        ssize_t sent = stream_send(stream, bytes);
        if (sent < 0 && errno != EAGAIN) {
            break_output(stream);
            return;
        }
        if (sent > 0)
            bytes = (pk_span){bytes.ptr + sent, bytes.len - (size_t)sent};
        if (bytes.len == 0)
            return;
    }
    stream->congested = true;
    if (!pk_buf_append_span(&stream->out, bytes, NULL))
        break_output(stream);
}

size_t pk_stream_unsent(const pk_stream *stream)
{
    return stream->out.filled - stream->out.consumed;
}

pk_span pk_stream_held(const pk_stream *stream)
{
    if (stream->carry_len > 0)
        return (pk_span){stream->carry, stream->carry_len};
    return pk_buf_span(&stream->in);
}

void pk_stream_consume(pk_stream *stream, size_t len)
{
    if (len == 0)
        return;
    if (stream->carry_len > 0) {
        memmove(stream->carry, stream->carry + len, stream->carry_len - len);
        stream->carry_len = (uint8_t)(stream->carry_len - len);
        pk_wipe(stream->carry + stream->carry_len, len);
        return;
    }
    pk_wipe(stream->in.block + stream->in.consumed, len);
    pk_buf_consume(&stream->in, len);
    if (pk_buf_span(&stream->in).len == 0)
        pk_buf_clear(&stream->in);
}

void pk_stream_process(pk_stream *stream)
{
    pk_span held = pk_stream_held(stream);
    if (held.len == 0)
        return;
    size_t done = stream->owner->input(stream, held);
    if (pk_stream_is_open(stream))
        pk_stream_consume(stream, done);
}

void pk_stream_update(pk_stream *stream)
{
    unsigned mask = 0;
    if (!pk_stream_is_open(stream))
        return;
    const bool reads = !stream->ended && (stream->shaking || stream->owner->may_read(stream));
    /* What cannot go on is not watched: the poller would tell for ever that it could begin. */
    if ((reads && !stream->read_wants_write) || stream->write_wants_read)
        mask |= PK_READABLE;
    if ((pk_stream_unsent(stream) > 0 && !stream->write_wants_read) ||
        (reads && stream->read_wants_write))
        mask |= PK_WRITABLE;
    if (!stream->hung_up)
        mask |= PK_HUNG_UP;
    if (!pk_watch_set(&stream->loop->poller, &stream->watch, mask)) {
        break_output(stream);
        end_input(stream, errno);
    } else if (reads && stream->more && !stream->shaking) {
        pk_watch_again(&stream->loop->poller, &stream->watch);
    }
}

void pk_stream_finish(pk_stream *stream)
{
    if (!pk_stream_is_open(stream))
        return;
    if (stream->tls != NULL)
        pk_tls_goodbye(stream->tls);
    (void)shutdown(stream->watch.fd, SHUT_WR);
}

void pk_stream_close(pk_stream *stream)
{
    if (!pk_stream_is_open(stream))
        return;
    pk_tls_link_free(pk_steal(&stream->tls));
    pk_watch_close(&stream->loop->poller, &stream->watch);
    pk_buf_clear(&stream->in);
    pk_buf_clear(&stream->out);
    pk_wipe(stream->carry, sizeof stream->carry);
    stream->carry_len = 0;
}
