/*
 * The sockets where clients come in: TCP and Unix ones, made and bound by hand, so that a port in
 * use is known before anything else is touched. Options that every connection is to have are set
 * here once: an accepted socket inherits them.
 */
#ifndef PK_PROXY_LISTEN_H
#define PK_PROXY_LISTEN_H

#include "proxy/loop.h"

typedef struct pk_listener {
    pk_watch watch; /* first */
    void *ctx;      /* whose it is */
    pk_address at;
    struct sockaddr_un path; /* of a Unix socket */
    ino_t inode;             /* of its file */
} pk_listener;

typedef struct pk_listeners {
    pk_listener list[PK_LISTENERS_MAX];
    size_t count;
} pk_listeners;

/* Addresses as proxy.listen writes them; `mode`: access rights of Unix sockets. 58000, with the
 * address that cannot be had. */
bool pk_listen(pk_listeners *listeners, const char *addresses, mode_t mode,
               pk_error *err) PK_MUST_USE;
/* One line in the log for each: clients are served now. */
void pk_listen_announce(pk_listeners *listeners);
/* Closes them and removes our Unix sockets. */
void pk_listen_close(pk_listeners *listeners, pk_poller *poller);

#endif
