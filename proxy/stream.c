/*
 * One poll callback does everything: flush, read at most TURNS full blocks, tell the owner. A short
 * read ends the round, which saves the recv that would only say EAGAIN. A peer's hang-up is watched
 * at all times, also while reading is stopped, but only once: epoll would repeat it for ever.
 *
 * The block has headroom: a few bytes left over from the last round are put in front of the new
 * ones there, so that a header cut in two costs no allocation.
 */
#include "proxy/stream.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS 16

static ssize_t stream_recv(pk_stream *stream, char *to, size_t room)
{
    ssize_t got;
    do
        got = recv(stream->fd, to, room, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t stream_send(pk_stream *stream, pk_span bytes)
{
    ssize_t sent;
    do
        sent = send(stream->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

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
    char *bytes = stream->block->bytes + PK_STREAM_HEADROOM;
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
    if (carry > 0)
        memcpy(bytes - carry, stream->carry, carry);
    stream->carry_len = 0;
    pk_span all = {bytes - carry, len + carry};
    size_t done = stream->owner->input(stream, all);
    assert(done <= all.len);
    if (stream->fd >= 0)
        keep(stream, (pk_span){all.ptr + done, all.len - done});
    if (stream->sensitive || stream->soiled || all.len - done > PK_STREAM_CARRY)
        pk_wipe(bytes - carry, all.len);
    stream->soiled = false;
}

static void read_input(pk_stream *stream)
{
    for (int turn = 0; turn < TURNS; turn++) {
        if (stream->fd < 0 || stream->ended || !stream->owner->may_read(stream))
            return;
        ssize_t got =
            stream_recv(stream, stream->block->bytes + PK_STREAM_HEADROOM, PK_STREAM_READ_SIZE);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            end_input(stream, got == 0 ? 0 : errno);
            return;
        }
        deliver(stream, (size_t)got);
        if ((size_t)got < PK_STREAM_READ_SIZE)
            return;
    }
}

static void break_output(pk_stream *stream)
{
    stream->broken = true;
    stream->congested = false;
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

static void on_poll(uv_poll_t *poll, int status, int events)
{
    pk_stream *stream = poll->data;
    if (stream->fd < 0)
        return;
    if (status < 0) { /* POLLERR; libuv does not watch it any more */
        stream->mask = 0;
        events = UV_READABLE;
    }
    if (events & UV_WRITABLE)
        flush_output(stream);
    if (events & UV_READABLE)
        read_input(stream);
    if (status < 0 && stream->fd >= 0)
        break_output(stream); /* nothing goes out any more; watched, it would fail at once again */
    if ((status < 0 || (events & UV_DISCONNECT)) && !stream->hung_up) {
        stream->hung_up = true;
        if (stream->fd >= 0 && !stream->ended)
            stream->owner->hung_up(stream, status < 0);
    }
    stream->owner->settle(stream);
}

bool pk_stream_open(pk_stream *stream, uv_loop_t *loop, int fd, pk_error *err)
{
    int rc = uv_poll_init(loop, &stream->poll, fd);
    if (rc < 0)
        return pk_fail(err, PK_E_SYSTEM, "could not watch a socket: %s", uv_strerror(rc));
    stream->poll.data = stream;
    stream->fd = fd;
    stream->in = PK_BUF_SECRET(PK_STREAM_IN_MAX);
    stream->out = PK_BUF_SECRET(PK_STREAM_OUT_MAX);
    return true;
}

void pk_stream_write(pk_stream *stream, pk_span bytes)
{
    if (stream->fd < 0 || stream->broken || bytes.len == 0)
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
    if (stream->fd >= 0)
        pk_stream_consume(stream, done);
}

void pk_stream_update(pk_stream *stream)
{
    int mask = 0;
    if (stream->fd < 0)
        return;
    if (!stream->ended && stream->owner->may_read(stream))
        mask |= UV_READABLE;
    if (pk_stream_unsent(stream) > 0)
        mask |= UV_WRITABLE;
    if (!stream->hung_up)
        mask |= UV_DISCONNECT;
    if (mask == stream->mask)
        return;
    stream->mask = mask;
    int rc = mask == 0 ? uv_poll_stop(&stream->poll) : uv_poll_start(&stream->poll, mask, on_poll);
    assert(rc == 0);
    (void)rc;
}

void pk_stream_finish(pk_stream *stream)
{
    if (stream->fd >= 0)
        (void)shutdown(stream->fd, SHUT_WR);
}

static void on_closed(uv_handle_t *handle)
{
    pk_stream *stream = handle->data;
    stream->owner->closed(stream);
}

void pk_stream_close(pk_stream *stream)
{
    if (stream->fd < 0)
        return;
    uv_close((uv_handle_t *)&stream->poll, on_closed);
    (void)close(stream->fd);
    stream->fd = -1;
    pk_buf_clear(&stream->in);
    pk_buf_clear(&stream->out);
    pk_wipe(stream->carry, sizeof stream->carry);
    stream->carry_len = 0;
}
