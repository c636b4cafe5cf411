/*
 * The keeper behind the control socket of a running `serve`: the same requests and replies, one at
 * a time over one connection. Passwords and recovery codes go this way, so who listens is checked
 * too: the state directory's owner, or root.
 */
#include "engine/control_frame.h"
#include "engine/keeper_transport.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK_MS    10000
#define ANSWER_MS 180000 /* passwords wait for their turn, and for an unseal attempt */

typedef struct remote {
    pthread_mutex_t lock; /* one message at a time */
    int fd;
    bool broken; /* an answer is missing: the next one might be it */
} remote;

static bool exchange(remote *self, pk_span request, char *kind, pk_buf *answer, pk_error *err)
{
    if (self->broken)
        return pk_fail(err, PK_E_IO, "the control socket is closed");
    self->broken = true;
    if (!pk_frame_send(self->fd, PK_FRAME_REQUEST, request, ASK_MS, err) ||
        !pk_frame_receive(self->fd, -1, ANSWER_MS, kind, answer, err))
        return pk_error_wrap(err, "the running pgkeep did not answer");
    self->broken = false;
    return true;
}

static bool call(void *opaque, pk_span request, pk_buf *reply, pk_error *err)
{
    remote *self = opaque;
    PK_AUTO(pk_buf_clear) pk_buf answer = PK_BUF_SECRET(PK_CONTROL_MAX + 1);
    char kind = 0;
    pthread_mutex_lock(&self->lock);
    const bool exchanged = exchange(self, request, &kind, &answer, err);
    pthread_mutex_unlock(&self->lock);
    if (!exchanged)
        return false;
    if (kind == PK_FRAME_ERROR)
        return pk_frame_error(pk_buf_span(&answer), err);
    if (kind != PK_FRAME_REPLY)
        return pk_fail(err, PK_E_PROTOCOL, "the running pgkeep answered with a question");
    return pk_buf_append_span(reply, pk_buf_span(&answer), err);
}

static void disconnect(void *opaque)
{
    remote *self = opaque;
    if (self->fd >= 0)
        (void)close(self->fd);
    pthread_mutex_destroy(&self->lock);
    pk_free(self);
}

static const pk_keeper_transport transport = {.call = call, .close = disconnect};

static bool fail_nobody(const char *state_dir, pk_error *err)
{
    return pk_fail(err, PK_E_UNDEFINED_FILE, "no pgkeep is running on state directory \"%s\"",
                   state_dir);
}

/* The directory is ours, or we are root; nobody else can have put a socket into it. */
static bool open_directory(const char *state_dir, int *dir, uid_t *owner, pk_error *err)
{
    struct stat info;
    *dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0 && errno == EACCES)
        return pk_fail(err, PK_E_PRIVILEGE, "state directory \"%s\" belongs to another user",
                       state_dir);
    if (*dir < 0 || fstat(*dir, &info) != 0)
        return fail_nobody(state_dir, err);
    *owner = info.st_uid;
    if ((geteuid() == 0 || info.st_uid == geteuid()) && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return true;
    return pk_fail(err, PK_E_PRIVILEGE,
                   "state directory \"%s\" belongs to another user, or others can write to it",
                   state_dir);
}

static bool check_listener(int fd, uid_t owner, pk_error *err)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
        (peer.uid == 0 || peer.uid == owner))
        return true;
    return pk_fail(err, PK_E_PRIVILEGE, "somebody else listens on the control socket");
}

static int connect_in(int dir, const char *state_dir, uid_t owner, pk_error *err)
{
    struct sockaddr_un address;
    pk_control_address(dir, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        pk_fail(err, PK_E_IO, "could not make a socket: %s", pk_errno_text(errno));
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        if (errno == EACCES || errno == EPERM)
            pk_fail(err, PK_E_PRIVILEGE, "the control socket in \"%s\" is not ours to ask",
                    state_dir);
        else
            fail_nobody(state_dir, err);
    } else if (check_listener(fd, owner, err))
        return fd;
    (void)close(fd);
    return -1;
}

pk_keeper *pk_keeper_connect(const char *state_dir, pk_error *err)
{
    int dir = -1;
    int fd = -1;
    uid_t owner = 0;
    if (open_directory(state_dir, &dir, &owner, err))
        fd = connect_in(dir, state_dir, owner, err);
    if (dir >= 0)
        (void)close(dir);
    if (fd < 0)
        return NULL;
    remote *self = pk_new(remote);
    pthread_mutex_init(&self->lock, NULL);
    self->fd = fd;
    pk_keeper *keeper = pk_new(pk_keeper);
    keeper->transport = &transport;
    keeper->self = self;
    return keeper;
}
