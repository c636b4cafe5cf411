/*
 * One thread listens; every peer gets a thread and a seat, of which there are few. A stop
 * descriptor that stays readable ends every wait at once.
 *
 * The socket file of a process that was killed stays behind: it is removed when nobody answers on
 * it, under a lock on the directory, so that two that start at once cannot remove each other's.
 */
#include "engine/control.h"

#include "base/log.h"
#include "engine/control_frame.h"
#include "engine/keeper_transport.h"
#include "storage/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_MS 30000 /* for a whole request, or for the next one */
#define ANSWER_MS  10000
#define RETRY_MS   1000

typedef struct peer_seat {
    pk_control *control;
    pthread_t thread;
    int fd;
    bool taken;       /* the listener's: there is a thread to be joined */
    atomic_bool done; /* the thread's last word */
} peer_seat;

struct pk_control {
    pk_keeper *keeper;
    char *path;
    int stop; /* an eventfd */
    pthread_t thread;
    pk_state_dir dir; /* open while we listen, as is: */
    int listener;
    ino_t inode; /* of our socket file */
    pk_error last;
    peer_seat seats[PK_CONTROL_PEERS];
};

/* A peer */

static bool admit_peer(int fd, char *actor, size_t room, pk_error *err)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return pk_fail(err, PK_E_IO, "could not tell who is on the control socket: %s",
                       pk_errno_text(errno));
    if (peer.uid != geteuid() && peer.uid != 0)
        return pk_fail(err, PK_E_PRIVILEGE, "the control socket is for pgkeep's user and root");
    (void)snprintf(actor, room, "uid:%u", (unsigned)peer.uid);
    return true;
}

/* False when the peer cannot be answered. What the keeper says no to is an answer, too. */
static bool answer(peer_seat *seat, pk_span request, const char *actor)
{
    PK_AUTO(pk_buf_clear) pk_buf admitted = PK_BUF_SECRET(2 * (size_t)PK_CONTROL_MAX);
    PK_AUTO(pk_buf_clear) pk_buf reply = PK_BUF_SECRET(PK_KEEPER_MESSAGE_MAX);
    pk_error err = {0};
    if (!pk_keeper_admit(request, actor, &admitted, &err) ||
        !pk_keeper_call(seat->control->keeper, pk_buf_span(&admitted), &reply, &err))
        return pk_frame_send_error(seat->fd, &err, ANSWER_MS);
    if (pk_frame_send(seat->fd, PK_FRAME_REPLY, pk_buf_span(&reply), ANSWER_MS, &err))
        return true;
    return pk_error_is(&err, PK_E_TOO_LONG) && pk_frame_send_error(seat->fd, &err, ANSWER_MS);
}

static bool serve_one(peer_seat *seat, const char *actor)
{
    PK_AUTO(pk_buf_clear) pk_buf request = PK_BUF_SECRET(PK_CONTROL_MAX + 1);
    pk_error err = {0};
    char kind = 0;
    bool got = pk_frame_receive(seat->fd, seat->control->stop, MESSAGE_MS, &kind, &request, &err);
    if (got && kind != PK_FRAME_REQUEST)
        got = pk_fail(&err, PK_E_PROTOCOL, "only questions are taken on the control socket");
    if (!got && pk_error_is(&err, PK_E_PROTOCOL))
        (void)pk_frame_send_error(seat->fd, &err, ANSWER_MS);
    return got && answer(seat, pk_buf_span(&request), actor);
}

static void *serve_peer(void *arg)
{
    peer_seat *seat = arg;
    char actor[32];
    pk_error err = {0};
    if (!admit_peer(seat->fd, actor, sizeof actor, &err)) {
        pk_log_fault(PK_LOG_WARNING, "refused on the control socket", &err);
        (void)pk_frame_send_error(seat->fd, &err, ANSWER_MS);
    } else {
        while (serve_one(seat, actor))
            ;
    }
    (void)close(seat->fd);
    atomic_store(&seat->done, true);
    return NULL;
}

/* The listener */

static void leave(peer_seat *seat)
{
    (void)pthread_join(seat->thread, NULL);
    seat->taken = false;
}

static peer_seat *free_seat(pk_control *control)
{
    peer_seat *free_one = NULL;
    for (size_t i = 0; i < PK_COUNT(control->seats); i++) {
        peer_seat *seat = &control->seats[i];
        if (seat->taken && atomic_load(&seat->done))
            leave(seat);
        if (!seat->taken)
            free_one = seat;
    }
    return free_one;
}

/* Without a descriptor for it a peer stays in the queue, and would wake us at once again. */
static void wait_for_descriptors(const pk_control *control)
{
    struct pollfd stop = {.fd = control->stop, .events = POLLIN};
    (void)poll(&stop, 1, RETRY_MS);
}

static void accept_peer(pk_control *control)
{
    pk_error err = {0};
    const int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            wait_for_descriptors(control);
        return;
    }
    peer_seat *seat = free_seat(control);
    if (seat != NULL) {
        seat->control = control;
        seat->fd = fd;
        atomic_store(&seat->done, false);
        seat->taken = pthread_create(&seat->thread, NULL, serve_peer, seat) == 0;
        if (seat->taken)
            return;
    }
    pk_fail(&err, PK_E_CONNECTIONS, "too many peers on the control socket");
    (void)pk_frame_send_error(fd, &err, 100);
    (void)close(fd);
}

/* connect(2) says the same of a file that is no socket. */
static bool is_socket(const pk_state_dir *dir)
{
    struct stat info;
    return fstatat(dir->fd, PK_CONTROL_NAME, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISSOCK(info.st_mode);
}

/* Does anybody answer on the socket that is there? A socket nobody answers on is removed. */
static bool make_way(const pk_state_dir *dir, const struct sockaddr_un *address, pk_error *err)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return pk_fail(err, PK_E_IO, "could not make a socket: %s", pk_errno_text(errno));
    const bool connected = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    const int why = errno;
    (void)close(fd);
    if (connected || why == EAGAIN)
        return pk_fail(err, PK_E_IN_USE, "another pgkeep has the control socket in \"%s\"",
                       dir->path);
    if (why == ENOENT ||
        (why == ECONNREFUSED && is_socket(dir) && unlinkat(dir->fd, PK_CONTROL_NAME, 0) == 0))
        return true;
    return pk_fail(err, PK_E_IO, "there is something in place of \"%s/%s\": %s", dir->path,
                   PK_CONTROL_NAME, pk_errno_text(why));
}

/* The directory is 0700 and ours, so nobody can come in before the mode is set. */
static bool bind_socket(pk_control *control, const struct sockaddr_un *address, pk_error *err)
{
    struct stat info;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 &&
        fchmodat(control->dir.fd, PK_CONTROL_NAME, S_IRUSR | S_IWUSR, 0) == 0 &&
        fstatat(control->dir.fd, PK_CONTROL_NAME, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        listen(fd, (int)PK_CONTROL_PEERS) == 0) {
        control->listener = fd;
        control->inode = info.st_ino;
        return true;
    }
    pk_fail(err, PK_E_IO, "could not listen on \"%s/%s\": %s", control->dir.path, PK_CONTROL_NAME,
            pk_errno_text(errno));
    if (fd >= 0)
        (void)close(fd);
    return false;
}

static bool start_listening(pk_control *control, pk_error *err)
{
    struct sockaddr_un address;
    if (!pk_state_dir_open(&control->dir, control->path, false, err))
        return false;
    pk_control_address(control->dir.fd, &address);
    bool ok = flock(control->dir.fd, LOCK_EX | LOCK_NB) == 0 ||
              pk_fail(err, PK_E_IN_USE, "another pgkeep looks at the control socket");
    ok = ok && make_way(&control->dir, &address, err) && bind_socket(control, &address, err);
    (void)flock(control->dir.fd, LOCK_UN);
    if (!ok)
        pk_state_dir_close(&control->dir);
    return ok;
}

static void stop_listening(pk_control *control)
{
    struct stat info;
    if (control->listener < 0)
        return;
    (void)flock(control->dir.fd, LOCK_EX);
    if (fstatat(control->dir.fd, PK_CONTROL_NAME, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        info.st_ino == control->inode)
        (void)unlinkat(control->dir.fd, PK_CONTROL_NAME, 0);
    (void)close(control->listener);
    control->listener = -1;
    pk_state_dir_close(&control->dir);
}

/* No directory yet is how a first start looks; another process is how a second one does. */
static void note(pk_control *control, const pk_error *err)
{
    const bool news = strcmp(control->last.message, err->message) != 0;
    control->last = *err;
    if (news && !pk_error_is(err, PK_E_UNDEFINED_FILE))
        pk_log_fault(pk_error_is(err, PK_E_IN_USE) ? PK_LOG_INFO : PK_LOG_WARNING,
                     "no control socket for now", err);
}

static void listen_on(pk_control *control)
{
    pk_error err = {0};
    if (control->listener >= 0)
        return;
    if (!start_listening(control, &err)) {
        note(control, &err);
        return;
    }
    control->last = (pk_error){0};
    pk_log_info("control socket \"%s/%s\"", control->dir.path, PK_CONTROL_NAME);
}

static void *run(void *arg)
{
    pk_control *control = arg;
    for (;;) {
        listen_on(control);
        struct pollfd set[] = {{.fd = control->stop, .events = POLLIN},
                               {.fd = control->listener, .events = POLLIN}};
        (void)poll(set, PK_COUNT(set), control->listener < 0 ? RETRY_MS : -1);
        if (set[0].revents != 0)
            break;
        if (set[1].revents != 0)
            accept_peer(control);
    }
    stop_listening(control);
    for (size_t i = 0; i < PK_COUNT(control->seats); i++)
        if (control->seats[i].taken)
            leave(&control->seats[i]);
    return NULL;
}

static void control_free(pk_control *control)
{
    if (control->stop >= 0)
        (void)close(control->stop);
    pk_free(control->path);
    pk_free(control);
}

pk_control *pk_control_open(const char *state_dir, pk_keeper *keeper, pk_error *err)
{
    pk_control *control = pk_new(pk_control);
    control->keeper = keeper;
    control->path = pk_strdup(state_dir);
    control->dir = PK_STATE_DIR_INIT;
    control->listener = -1;
    control->stop = eventfd(0, EFD_CLOEXEC);
    if (control->stop >= 0 && pthread_create(&control->thread, NULL, run, control) == 0)
        return control;
    pk_fail(err, PK_E_SYSTEM, "could not start the control socket's thread");
    control_free(control);
    return NULL;
}

void pk_control_close(pk_control *control)
{
    if (control == NULL)
        return;
    const uint64_t one = 1;
    (void)!write(control->stop, &one, sizeof one);
    (void)pthread_join(control->thread, NULL);
    control_free(control);
}
