/*
 * The directory that holds a keystore, and the files in it: nobody but their owner may look in,
 * and the owner is the user that runs us (keys-and-security 6.2). Worker threads; plain calls.
 */
#ifndef PK_STORAGE_STATE_DIR_H
#define PK_STORAGE_STATE_DIR_H

#include "base/error.h"

#include <limits.h>
#include <sys/types.h>

typedef struct pk_state_dir {
    int fd;              /* -1 while closed */
    char path[PATH_MAX]; /* without symbolic links */
} pk_state_dir;

#define PK_STATE_DIR_INIT ((pk_state_dir){.fd = -1})

/* Makes the directory (0700) if it is absent and `create`. 58P01 absent, 42501 wrong owner or mode,
 * 58030 otherwise. */
bool pk_state_dir_open(pk_state_dir *dir, const char *path, bool create, pk_error *err) PK_MUST_USE;
void pk_state_dir_close(pk_state_dir *dir);

/* The file is there, regular, ours and 0600; `create`: makes it, empty, if it is absent. Never
 * opens a file that is there already: closing it would drop this process's locks on it (fcntl(2)).
 * 58P01 absent, 42501, 58030. */
bool pk_state_file_ready(const pk_state_dir *dir, const char *name, bool create,
                         pk_error *err) PK_MUST_USE;
/* As ready, but absent is fine. */
bool pk_state_file_safe(const pk_state_dir *dir, const char *name, pk_error *err) PK_MUST_USE;
/* The process that holds a lock on the file; 0 if that cannot be told. */
pid_t pk_state_file_owner(const pk_state_dir *dir, const char *name);

#endif
