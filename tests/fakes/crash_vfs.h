/*
 * A disk in memory whose power can fail: a SQLite VFS that keeps for every file what is surely on
 * the disk and what the program sees, and the writes in between (keys-and-security 6.3). Directory
 * entries are as uncertain as contents until the directory is synced, which SQLite does with the
 * first sync of a new journal or log.
 *
 * Files are found by the path that SQLite is given. One thread; one disk per process, because
 * SQLite gives its calls no place for a test's own pointer.
 */
#ifndef PK_TESTS_CRASH_VFS_H
#define PK_TESTS_CRASH_VFS_H

#include <stdbool.h>
#include <stdint.h>

/* What of the unsynced writes the disk has when the power is back. */
typedef enum pk_power_loss {
    PK_LOSS_ALL,    /* nothing of it */
    PK_LOSS_NONE,   /* everything: the process died, not the machine */
    PK_LOSS_RANDOM, /* some, in any order */
    PK_LOSS_TORN,   /* those up to some moment, the last one in part */
    PK_LOSS_COUNT
} pk_power_loss;

/* Makes the disk what SQLite opens files on from now on. */
void pk_crash_vfs_install(void);
/* An empty disk. No file may be open. */
void pk_crash_vfs_reset(void);
/* The power fails at the nth call, counted from 0, that changes or syncs something; that call and
 * every later one is an I/O error. Negative: never. Counts anew. */
void pk_crash_vfs_arm(long at);
long pk_crash_vfs_calls(void);
bool pk_crash_vfs_crashed(void);
/* The power is back. No file may be open. */
void pk_crash_vfs_reboot(pk_power_loss loss, uint64_t seed);
/* A disk that says it has synced and has not. */
void pk_crash_vfs_lie(bool lie);

#endif
