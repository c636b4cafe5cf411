/*
 * Which directories were synced: the linker sends the calls of the code under test here (--wrap).
 * Any thread may sync; was_synced is for when they are done.
 */
#ifndef PK_TESTS_STORAGE_FSYNC_H
#define PK_TESTS_STORAGE_FSYNC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* The linker's names begin with two underscores, which C keeps for itself; hence the labels. */
int real_fsync(int fd) __asm__("__real_fsync");
int wrapped_fsync(int fd) __asm__("__wrap_fsync");

static ino_t synced[64];
static atomic_size_t sync_count; /* calls, which may be more than there is room for */

int wrapped_fsync(int fd)
{
    struct stat info;
    size_t at = atomic_fetch_add(&sync_count, 1);
    if (fstat(fd, &info) == 0 && at < sizeof synced / sizeof synced[0])
        synced[at] = info.st_ino;
    return real_fsync(fd);
}

static inline bool was_synced(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    for (size_t i = 0; i < sync_count && i < sizeof synced / sizeof synced[0]; i++)
        if (synced[i] == info.st_ino)
            return true;
    return false;
}

#endif
