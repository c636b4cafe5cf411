/*
 * A Unix socket's file outlives a process that was killed: it is removed when nobody answers on it,
 * and only then. What stands in its place and is no socket is left alone.
 */
#include "proxy/listen.h"

#include "base/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel caps it at net.core.somaxconn */

/* Over loopback keepalive costs nothing: no probe is sent while the socket is used. */
static void set_inherited(int fd)
{
    static const struct {
        int level, name, value;
    } all[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
               {SOL_SOCKET, SO_KEEPALIVE, 1},
               {IPPROTO_TCP, TCP_KEEPIDLE, 60},
               {IPPROTO_TCP, TCP_KEEPINTVL, 10},
               {IPPROTO_TCP, TCP_KEEPCNT, 6}};
    for (size_t i = 0; i < PK_COUNT(all); i++)
        (void)setsockopt(fd, all[i].level, all[i].name, &all[i].value, sizeof all[i].value);
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* The descriptor, or -1 with errno. */
static int bind_address(const struct addrinfo *a)
{
    const int on = 1;
    const int fd = new_socket(a->ai_family);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    set_inherited(fd);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

static pk_listener *add(pk_listeners *listeners, int fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    pk_listener *l = &listeners->list[listeners->count++];
    *l = (pk_listener){.watch = {.fd = fd}};
    (void)getsockname(fd, (struct sockaddr *)&name, &len);
    l->at = pk_address_of((const struct sockaddr *)&name, len);
    return l;
}

static bool could_not(const char *where, int why, pk_error *err)
{
    (void)pk_fail(err, PK_E_SYSTEM, "could not listen on %s: %s", where, pk_errno_text(why));
    return pk_error_hint(err, why == EADDRINUSE
                                  ? "Is another pgkeep or PostgreSQL running there? Choose another "
                                    "address with --listen."
                                  : "--listen takes ADDRESS:PORT of this host; *:PORT means all of "
                                    "its addresses; /DIRECTORY:PORT is a Unix socket.");
}

/* A name's other addresses will do. */
static void note_failure(const struct addrinfo *a, int why)
{
    char text[PK_ADDRESS_TEXT];
    const pk_address at = pk_address_of(a->ai_addr, a->ai_addrlen);
    pk_log_warning("could not listen on %s: %s", pk_address_text(&at, text, sizeof text),
                   pk_errno_text(why));
}

static bool listen_tcp(pk_listeners *listeners, const pk_target *target, const char *where,
                       pk_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    const char *host = strcmp(target->host, "*") == 0 ? NULL : target->host;
    const size_t before = listeners->count;
    struct addrinfo *found = NULL;
    int why = ETOOMANYREFS; /* PK_LISTENERS_MAX of them */
    /* Before a loop runs, so it may wait for a name server. */
    const int rc = getaddrinfo(host, target->port, &hints, &found);
    if (rc != 0)
        return pk_fail(err, PK_E_SYSTEM, "could not look up \"%s\": %s", target->host,
                       gai_strerror(rc));
    for (struct addrinfo *a = found; a != NULL && listeners->count < PK_LISTENERS_MAX;
         a = a->ai_next) {
        const int fd = bind_address(a);
        if (fd >= 0) {
            (void)add(listeners, fd);
        } else {
            why = errno;
            note_failure(a, why);
        }
    }
    freeaddrinfo(found);
    return listeners->count > before || could_not(where, why, err);
}

/* Nobody answers on it any more. */
static bool is_left_over(const struct sockaddr_un *path)
{
    struct stat info;
    if (lstat(path->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    const int fd = new_socket(AF_UNIX);
    const bool refused =
        connect(fd, (const struct sockaddr *)path, sizeof *path) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        (void)close(fd);
    return refused;
}

/* Nobody can connect before listen(), so the access rights are there in time. */
static int bind_path(const struct sockaddr_un *path, mode_t mode)
{
    const int fd = new_socket(AF_UNIX);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)path, sizeof *path) == 0 &&
        chmod(path->sun_path, mode) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int why = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = why;
    return -1;
}

static bool listen_unix(pk_listeners *listeners, const pk_target *target, mode_t mode,
                        const char *where, pk_error *err)
{
    struct sockaddr_un path;
    struct stat info;
    if (!pk_target_path(target, &path, err))
        return false;
    if (listeners->count == PK_LISTENERS_MAX)
        return could_not(where, ETOOMANYREFS, err);
    int fd = bind_path(&path, mode);
    if (fd < 0 && errno == EADDRINUSE) {
        const bool gone = is_left_over(&path) && unlink(path.sun_path) == 0;
        errno = EADDRINUSE; /* looking changed it */
        fd = gone ? bind_path(&path, mode) : -1;
    }
    if (fd < 0)
        return could_not(where, errno, err);
    pk_listener *l = add(listeners, fd);
    l->path = path;
    l->inode = stat(path.sun_path, &info) == 0 ? info.st_ino : 0;
    return true;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    text[strcspn(text, " \t")] = 0;
    return text;
}

bool pk_listen(pk_listeners *listeners, const char *addresses, mode_t mode, pk_error *err)
{
    PK_AUTO_PTR(pk_free) char *copy = pk_strdup(addresses);
    char *rest = copy;
    while (rest != NULL) {
        pk_target target;
        const char *where = trim(strsep(&rest, ","));
        if (!pk_target_parse(where, "6543", &target, err))
            return false;
        if (!(target.host[0] == '/' ? listen_unix(listeners, &target, mode, where, err)
                                    : listen_tcp(listeners, &target, where, err)))
            return false;
    }
    return true;
}

void pk_listen_announce(pk_listeners *listeners)
{
    char text[PK_ADDRESS_TEXT];
    for (size_t i = 0; i < listeners->count; i++) {
        const pk_listener *l = &listeners->list[i];
        pk_log_info("listening on %s", l->at.family == AF_UNIX
                                           ? l->path.sun_path
                                           : pk_address_text(&l->at, text, sizeof text));
    }
}

void pk_listen_close(pk_listeners *listeners, pk_poller *poller)
{
    struct stat info;
    for (size_t i = 0; i < listeners->count; i++) {
        pk_listener *l = &listeners->list[i];
        if (l->watch.fd < 0)
            continue;
        if (l->inode != 0 && stat(l->path.sun_path, &info) == 0 && info.st_ino == l->inode)
            (void)unlink(l->path.sun_path);
        pk_watch_close(poller, &l->watch);
    }
}
