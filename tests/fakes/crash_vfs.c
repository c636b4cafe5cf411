/*
 * A file is an image that is durable, one that is seen, and its entries in the log of writes that
 * lead from the first to the second. Syncing a file makes its seen image durable and drops its
 * entries; so the log always holds just what a power loss may take, in the order it was written. A
 * name is two pointers to files: what the directory says now and what it says on the disk.
 *
 * Bytes beside a write stay what they were when it is torn, as SQLite assumes of every disk
 * (SQLITE_IOCAP_POWERSAFE_OVERWRITE) unless told otherwise. Locks are not kept: there is one
 * connection.
 */
#include "crash_vfs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX  8
#define PATH_ROOM  512
#define SECTOR     512
#define PAGES_ROOM 65536

typedef struct image {
    uint8_t *bytes;
    size_t size, room;
} image;

typedef struct disk_file {
    image durable, seen;
    struct disk_file *next; /* every file there ever was, until reset */
} disk_file;

typedef struct name_entry {
    char path[PATH_ROOM];
    disk_file *now, *durable;
} name_entry;

typedef struct pending {
    disk_file *file;
    bool truncates; /* to `offset` bytes */
    size_t offset, len;
    uint8_t *bytes;
} pending;

static struct disk {
    name_entry names[NAMES_MAX];
    disk_file *files;
    pending *log;
    size_t log_count, log_room;
    long calls, crash_at;
    bool crashed, lies;
    uint64_t random;
} disk = {.crash_at = -1};

/* SQLite allocates szOsFile bytes for this. */
typedef struct open_file {
    sqlite3_file base;
    disk_file *file;
    bool sync_directory; /* with the first sync, as SQLite's own VFS does for new journals */
} open_file;

static void must(bool held, const char *what)
{
    if (held)
        return;
    fprintf(stderr, "crash_vfs: %s\n", what);
    abort();
}

static void *grow(void *old, size_t size)
{
    void *grown = realloc(old, size);
    must(grown != NULL, "out of memory");
    return grown;
}

static void image_resize(image *of_file, size_t size)
{
    if (size > of_file->room) {
        of_file->room = (size / PAGES_ROOM + 1) * PAGES_ROOM;
        of_file->bytes = grow(of_file->bytes, of_file->room);
    }
    if (size > of_file->size)
        memset(of_file->bytes + of_file->size, 0, size - of_file->size);
    of_file->size = size;
}

static void image_write(image *of_file, size_t offset, const uint8_t *bytes, size_t len)
{
    if (offset + len > of_file->size)
        image_resize(of_file, offset + len);
    if (len > 0)
        memcpy(of_file->bytes + offset, bytes, len);
}

static void image_copy(image *to, const image *from)
{
    image_resize(to, from->size);
    if (from->size > 0)
        memcpy(to->bytes, from->bytes, from->size);
}

static void apply(image *of_file, const pending *change, size_t len)
{
    if (change->truncates)
        image_resize(of_file, change->offset);
    else
        image_write(of_file, change->offset, change->bytes, len);
}

/* The log */

static void log_change(disk_file *file, bool truncates, size_t offset, const void *bytes,
                       size_t len)
{
    if (disk.log_count == disk.log_room) {
        disk.log_room = disk.log_room == 0 ? 64 : disk.log_room * 2;
        disk.log = grow(disk.log, disk.log_room * sizeof *disk.log);
    }
    pending *change = &disk.log[disk.log_count++];
    *change = (pending){.file = file, .truncates = truncates, .offset = offset, .len = len};
    if (len > 0) {
        change->bytes = grow(NULL, len);
        memcpy(change->bytes, bytes, len);
    }
    apply(&file->seen, change, len);
}

/* Entries of one file, or all (NULL), are settled. */
static void log_drop(const disk_file *file)
{
    size_t kept = 0;
    for (size_t i = 0; i < disk.log_count; i++) {
        if (file != NULL && disk.log[i].file != file)
            disk.log[kept++] = disk.log[i];
        else
            free(disk.log[i].bytes);
    }
    disk.log_count = kept;
}

static void sync_directory(void)
{
    for (size_t i = 0; i < NAMES_MAX; i++)
        disk.names[i].durable = disk.names[i].now;
}

/* Counts a call that changes or syncs; true: the power has failed. */
static bool fails(void)
{
    if (!disk.crashed && disk.calls++ == disk.crash_at)
        disk.crashed = true;
    return disk.crashed;
}

static uint64_t draw(void)
{
    /* xorshift64: the same seed, the same disk */
    disk.random ^= disk.random << 13;
    disk.random ^= disk.random >> 7;
    disk.random ^= disk.random << 17;
    return disk.random;
}

/* File methods */

static open_file *of(sqlite3_file *file)
{
    return (open_file *)file;
}

static int file_close(sqlite3_file *file)
{
    (void)file; /* the disk keeps it */
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *out, int len, sqlite3_int64 offset)
{
    const image *seen = &of(file)->file->seen;
    size_t want = (size_t)len;
    size_t at = (size_t)offset;
    size_t have = at >= seen->size ? 0 : seen->size - at;
    if (disk.crashed)
        return SQLITE_IOERR_READ;
    if (have > want)
        have = want;
    if (have > 0)
        memcpy(out, seen->bytes + at, have);
    if (have == want)
        return SQLITE_OK;
    memset((char *)out + have, 0, want - have);
    return SQLITE_IOERR_SHORT_READ;
}

/* The write during which the power fails is one of those that may be there afterwards. */
static int file_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
    bool was_down = disk.crashed;
    bool down = fails();
    if (!was_down)
        log_change(of(file)->file, false, (size_t)offset, bytes, (size_t)len);
    return down ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    bool was_down = disk.crashed;
    bool down = fails();
    if (!was_down)
        log_change(of(file)->file, true, (size_t)size, NULL, 0);
    return down ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

static int file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    open_file *open = of(file);
    if (fails())
        return SQLITE_IOERR_FSYNC;
    if (disk.lies)
        return SQLITE_OK;
    image_copy(&open->file->durable, &open->file->seen);
    log_drop(open->file);
    if (open->sync_directory)
        sync_directory();
    open->sync_directory = false;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    *size = (sqlite3_int64)of(file)->file->seen.size;
    return disk.crashed ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

static int file_lock(sqlite3_file *file, int level)
{
    (void)file, (void)level;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *file, int *taken)
{
    (void)file;
    *taken = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    if (op != SQLITE_FCNTL_MMAP_SIZE)
        return SQLITE_NOTFOUND;
    *(sqlite3_int64 *)arg = 0; /* nothing is ever mapped */
    return SQLITE_OK;
}

static int file_sector_size(sqlite3_file *file)
{
    (void)file;
    return SECTOR;
}

static int file_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* Version 1: no shared memory, which a keystore must not need. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* Directory */

static name_entry *find_name(const char *path)
{
    name_entry *unused = NULL;
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (strcmp(disk.names[i].path, path) == 0)
            return &disk.names[i];
        if (unused == NULL && disk.names[i].path[0] == '\0')
            unused = &disk.names[i];
    }
    must(unused != NULL && strlen(path) < PATH_ROOM, "too many names, or too long a one");
    memcpy(unused->path, path, strlen(path) + 1);
    return unused;
}

static disk_file *new_file(void)
{
    disk_file *file = grow(NULL, sizeof *file);
    *file = (disk_file){.next = disk.files};
    disk.files = file;
    return file;
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *out, int flags, int *got)
{
    (void)vfs;
    open_file *open = of(out);
    *open = (open_file){0};
    if (path == NULL) { /* a temporary file that nobody can name */
        open->file = new_file();
    } else {
        name_entry *name = find_name(path);
        bool main_file = (flags & SQLITE_OPEN_MAIN_DB) != 0;
        if (name->now == NULL) {
            if (disk.crashed || fails())
                return SQLITE_CANTOPEN;
            /* The driver makes the main file by itself and syncs its directory. */
            if (!main_file && (flags & SQLITE_OPEN_CREATE) == 0)
                return SQLITE_CANTOPEN;
            name->now = new_file();
            if (main_file)
                name->durable = name->now;
            else
                open->sync_directory = true;
        }
        open->file = name->now;
    }
    if (disk.crashed)
        return SQLITE_CANTOPEN;
    if (got != NULL)
        *got = flags;
    open->base.pMethods = &methods;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
    (void)vfs;
    if (disk.crashed || fails())
        return SQLITE_IOERR_DELETE;
    name_entry *name = find_name(path);
    if (name->now == NULL)
        return SQLITE_IOERR_DELETE_NOENT;
    name->now = NULL;
    if (sync != 0 && !disk.lies)
        sync_directory();
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *there)
{
    (void)vfs;
    const name_entry *name = find_name(path);
    /* As SQLite's own: an empty file does not count when its existence is asked for. */
    *there = name->now != NULL && (flags != SQLITE_ACCESS_EXISTS || name->now->seen.size > 0);
    return disk.crashed ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size, char *out)
{
    (void)vfs;
    int len = snprintf(out, (size_t)size, "%s", path);
    return len >= 0 && len < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_randomness(sqlite3_vfs *vfs, int len, char *out)
{
    (void)vfs;
    memset(out, 7, (size_t)len); /* the same run every time */
    return len;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return microseconds;
}

static int vfs_time(sqlite3_vfs *vfs, double *days)
{
    (void)vfs;
    *days = 2461100.5; /* 2026 */
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs, (void)size, (void)out;
    return 0;
}

void pk_crash_vfs_install(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(open_file),
        .mxPathname = PATH_ROOM,
        .zName = "crash",
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
    };
    must(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK, "could not be registered");
}

void pk_crash_vfs_reset(void)
{
    log_drop(NULL);
    while (disk.files != NULL) {
        disk_file *next = disk.files->next;
        free(disk.files->durable.bytes);
        free(disk.files->seen.bytes);
        free(disk.files);
        disk.files = next;
    }
    free(disk.log);
    disk = (struct disk){.crash_at = -1};
}

void pk_crash_vfs_arm(long at)
{
    disk.crash_at = at;
    disk.calls = 0;
}

long pk_crash_vfs_calls(void)
{
    return disk.calls;
}

bool pk_crash_vfs_crashed(void)
{
    return disk.crashed;
}

void pk_crash_vfs_lie(bool lie)
{
    disk.lies = lie;
}

/* Power loss: what of the log reaches the durable images. */

static void lose_random(void)
{
    for (size_t left = disk.log_count; left > 0; left--) {
        size_t at = (size_t)(draw() % left);
        pending chosen = disk.log[at];
        if ((draw() & 1) != 0)
            apply(&chosen.file->durable, &chosen, chosen.len);
        disk.log[at] = disk.log[left - 1];
        disk.log[left - 1] = chosen;
    }
}

static void lose_after(void)
{
    size_t whole = (size_t)(draw() % (disk.log_count + 1));
    for (size_t i = 0; i < whole; i++)
        apply(&disk.log[i].file->durable, &disk.log[i], disk.log[i].len);
    if (whole == disk.log_count || disk.log[whole].truncates)
        return;
    /* Some sectors, and a part of the next. */
    pending *torn = &disk.log[whole];
    size_t len = (size_t)(draw() % (torn->len / SECTOR + 1)) * SECTOR + (size_t)(draw() % SECTOR);
    apply(&torn->file->durable, torn, len < torn->len ? len : torn->len);
}

static void lose_names(pk_power_loss loss)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        name_entry *name = &disk.names[i];
        bool kept = loss == PK_LOSS_NONE || (loss != PK_LOSS_ALL && (draw() & 1) != 0);
        if (kept)
            name->durable = name->now;
        name->now = name->durable;
    }
}

void pk_crash_vfs_reboot(pk_power_loss loss, uint64_t seed)
{
    disk.random = seed * 2 + 1;
    for (int i = 0; i < 8; i++) /* small seeds are alike at first */
        (void)draw();
    if (loss == PK_LOSS_NONE)
        for (disk_file *file = disk.files; file != NULL; file = file->next)
            image_copy(&file->durable, &file->seen);
    if (loss == PK_LOSS_RANDOM)
        lose_random();
    if (loss == PK_LOSS_TORN)
        lose_after();
    lose_names(loss);
    log_drop(NULL);
    for (disk_file *file = disk.files; file != NULL; file = file->next)
        image_copy(&file->seen, &file->durable);
    disk.crashed = false;
    pk_crash_vfs_arm(-1);
}
