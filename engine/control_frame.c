/*
 * Reading and writing with a deadline for the whole message, so that a peer that sends a byte a
 * second ends like one that sends nothing. Lengths are looked at before anything is allocated.
 */
#include "engine/control_frame.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define HEAD 5u

void pk_control_address(int dir, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", dir,
                   PK_CONTROL_NAME);
}

static int64_t now_ms(void)
{
    return pk_clock_system.mono_us(&pk_clock_system) / 1000;
}

/* Until the socket is ready for `events`. 57014 at the deadline, or when told to stop. */
static bool wait_for(int fd, short events, int stop, int64_t deadline, pk_error *err)
{
    struct pollfd set[] = {{.fd = fd, .events = events}, {.fd = stop, .events = POLLIN}};
    for (;;) {
        const int64_t left = deadline - now_ms();
        const int ready = left <= 0 ? 0 : poll(set, PK_COUNT(set), (int)left);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0)
            return pk_fail(err, PK_E_IO, "could not wait for the control socket: %s",
                           pk_errno_text(errno));
        if (ready == 0)
            return pk_fail(err, PK_E_CANCELED, "the other side of the control socket is too slow");
        if (set[1].revents != 0)
            return pk_fail(err, PK_E_CANCELED, "the control socket is being closed");
        return true;
    }
}

static bool again(ssize_t done)
{
    return done < 0 && (errno == EAGAIN || errno == EINTR);
}

static bool send_all(int fd, pk_span bytes, int64_t deadline, pk_error *err)
{
    while (bytes.len > 0) {
        if (!wait_for(fd, POLLOUT, -1, deadline, err))
            return false;
        const ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (again(sent))
            continue;
        if (sent < 0)
            return pk_fail(err, PK_E_IO, "could not write to the control socket: %s",
                           pk_errno_text(errno));
        bytes = pk_span_bytes(bytes.ptr + sent, bytes.len - (size_t)sent);
    }
    return true;
}

static bool receive_all(int fd, int stop, char *out, size_t len, int64_t deadline, pk_error *err)
{
    while (len > 0) {
        if (!wait_for(fd, POLLIN, stop, deadline, err))
            return false;
        const ssize_t got = recv(fd, out, len, MSG_DONTWAIT);
        if (again(got))
            continue;
        if (got < 0)
            return pk_fail(err, PK_E_IO, "could not read from the control socket: %s",
                           pk_errno_text(errno));
        if (got == 0)
            return pk_fail(err, PK_E_IO, "the other side closed the control socket");
        out += got;
        len -= (size_t)got;
    }
    return true;
}

bool pk_frame_send(int fd, char kind, pk_span bytes, int timeout_ms, pk_error *err)
{
    char head[HEAD];
    const int64_t deadline = now_ms() + timeout_ms;
    if (bytes.len > PK_CONTROL_MAX)
        return pk_fail(err, PK_E_TOO_LONG, "a message is too long for the control socket");
    const uint32_t len = htonl((uint32_t)bytes.len);
    memcpy(head, &len, sizeof len);
    head[4] = kind;
    return send_all(fd, pk_span_bytes(head, sizeof head), deadline, err) &&
           send_all(fd, bytes, deadline, err);
}

bool pk_frame_send_error(int fd, const pk_error *error, int timeout_ms)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(8192);
    const char *const parts[] = {error->sqlstate, error->message, error->detail, error->hint};
    for (size_t i = 0; i < PK_COUNT(parts); i++)
        if (!pk_buf_append(&text, parts[i], strlen(parts[i]) + 1, NULL))
            return false;
    return pk_frame_send(fd, PK_FRAME_ERROR, pk_buf_span(&text), timeout_ms, NULL);
}

bool pk_frame_receive(int fd, int stop, int timeout_ms, char *kind, pk_buf *bytes, pk_error *err)
{
    char head[HEAD];
    uint32_t len = 0;
    const int64_t deadline = now_ms() + timeout_ms;
    if (!receive_all(fd, stop, head, sizeof head, deadline, err))
        return false;
    memcpy(&len, head, sizeof len);
    len = ntohl(len);
    *kind = head[4];
    if (*kind != PK_FRAME_REQUEST && *kind != PK_FRAME_REPLY && *kind != PK_FRAME_ERROR)
        return pk_fail(err, PK_E_PROTOCOL, "a message of no known kind on the control socket");
    if (len > PK_CONTROL_MAX)
        return pk_fail(err, PK_E_PROTOCOL, "a message on the control socket is too long");
    if (!pk_buf_reserve(bytes, len, err) ||
        !receive_all(fd, stop, pk_buf_tail(bytes), len, deadline, err))
        return false;
    pk_buf_filled(bytes, len);
    return true;
}

/* The next text of *bytes that a zero byte ends, cut to the room there is. */
static bool next_text(pk_span *bytes, char *out, size_t room)
{
    const char *end = memchr(bytes->ptr, '\0', bytes->len);
    if (end == NULL)
        return false;
    (void)snprintf(out, room, "%s", bytes->ptr);
    const size_t used = (size_t)(end - bytes->ptr) + 1;
    *bytes = pk_span_bytes(bytes->ptr + used, bytes->len - used);
    return true;
}

bool pk_frame_error(pk_span bytes, pk_error *err)
{
    pk_error told = {0};
    pk_fail(&told, PK_E_INTERNAL, "an error without a text");
    if (!next_text(&bytes, told.sqlstate, sizeof told.sqlstate) ||
        !next_text(&bytes, told.message, sizeof told.message) ||
        !next_text(&bytes, told.detail, sizeof told.detail) ||
        !next_text(&bytes, told.hint, sizeof told.hint) || bytes.len != 0 ||
        strlen(told.sqlstate) != 5)
        return pk_fail(err, PK_E_PROTOCOL, "an error on the control socket cannot be understood");
    *err = told;
    return false;
}
