/*
 * Write beside, sync, read back, rename, sync the directory (keys-and-security 7.6). The temporary
 * name is random and opened with O_EXCL, so nobody can have prepared it; the final name appears by
 * a rename that refuses to replace, so what stood there before still stands. Whatever fails, the
 * file is taken away again under both names.
 *
 * Reading back shows what was written wrongly by us, not what the disk loses later.
 */
#include "base/newfile.h"

#include "base/buf.h"
#include "base/crash.h"
#include "base/encode.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 8192

static bool is_segment(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 255 && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static bool io_failed(const char *doing, const char *name, pk_error *err)
{
    return pk_fail(err, PK_E_IO, "could not %s file \"%s\": %s", doing, name, pk_errno_text(errno));
}

static bool exists_already(const char *name, pk_error *err)
{
    return pk_fail(err, PK_E_DUPLICATE_FILE, "file \"%s\" exists already", name);
}

static int open_at(int dir, const char *name, int flags)
{
    int fd = -1;
    do
        fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int sync_fd(int fd)
{
    int result = -1;
    do
        result = fsync(fd);
    while (result < 0 && errno == EINTR);
    return result;
}

/* The descriptor is gone whatever close says; what matters was synced before. */
static void close_file(pk_newfile *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    file->fd = -1;
}

static bool random_name(char *out, size_t size, pk_error *err)
{
    uint8_t bytes[12];
    char digits[2 * sizeof bytes + 1];
    /* Up to 256 bytes come whole once the system's generator is ready. */
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return pk_fail(err, PK_E_SYSTEM, "could not get random bytes: %s", pk_errno_text(errno));
    pk_hex(bytes, sizeof bytes, digits);
    (void)snprintf(out, size, ".pgkeep-%s.tmp", digits);
    return true;
}

bool pk_newfile_create(pk_newfile *file, int dir, const char *name, pk_error *err)
{
    *file = PK_NEWFILE_INIT;
    if (!is_segment(name))
        return pk_fail(err, PK_E_PARAMETER, "invalid file name");
    struct stat there;
    if (fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0)
        return exists_already(name, err);
    if (errno != ENOENT)
        return io_failed("create", name, err);

    char temp[sizeof file->temp];
    if (!random_name(temp, sizeof temp, err))
        return pk_error_wrap(err, "could not create file \"%s\"", name);
    file->fd = open_at(dir, temp, O_RDWR | O_CREAT | O_EXCL);
    if (file->fd < 0)
        return io_failed("create", name, err);
    file->dir = dir;
    memcpy(file->temp, temp, sizeof temp);
    memcpy(file->name, name, strlen(name) + 1);
    /* The umask may have taken bits away that reading back by another tool needs. */
    if (fchmod(file->fd, S_IRUSR | S_IWUSR) != 0) {
        io_failed("create", name, err);
        pk_newfile_abort(file);
        return false;
    }
    PK_CRASH_POINT("file created");
    return true;
}

bool pk_newfile_write(pk_newfile *file, pk_span bytes, pk_error *err)
{
    while (bytes.len > 0) {
        ssize_t done = write(file->fd, bytes.ptr, bytes.len);
        if (done < 0 && errno == EINTR)
            continue;
        if (done == 0)
            errno = ENOSPC;
        if (done <= 0)
            return io_failed("write", file->name, err);
        bytes.ptr += done;
        bytes.len -= (size_t)done;
        file->size += (uint64_t)done;
    }
    PK_CRASH_POINT("file written");
    return true;
}

/* One block at `offset`; short only at the end of the file. */
static ssize_t read_block(int fd, char *block, size_t len, off_t offset)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = pread(fd, block + done, len - done, offset + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static bool compare_with(const pk_newfile *file, pk_span expected, pk_error *err)
{
    char block[BLOCK];
    bool same = true;
    ssize_t got = 0;
    size_t at = 0;
    do {
        got = read_block(file->fd, block, sizeof block, (off_t)at);
        size_t len = got < 0 ? 0 : (size_t)got;
        same = got >= 0 && len <= expected.len - at &&
               pk_span_equal((pk_span){block, len}, (pk_span){expected.ptr + at, len});
        at += len;
    } while (same && got == (ssize_t)sizeof block);
    int read_errno = errno;
    pk_wipe(block, sizeof block); /* what is written may be a key in the clear (7.7) */
    if (got < 0) {
        errno = read_errno;
        return io_failed("read back", file->name, err);
    }
    if (!same || at != expected.len)
        return pk_fail(err, PK_E_IO, "file \"%s\" was not written as intended", file->name);
    PK_CRASH_POINT("file verified");
    return true;
}

/* As rename, without replacing anything, where the file system cannot do that in one step. */
static int link_and_unlink(const pk_newfile *file)
{
    if (linkat(file->dir, file->temp, file->dir, file->name, 0) != 0)
        return -1;
    if (unlinkat(file->dir, file->temp, 0) == 0)
        return 0;
    int unlink_errno = errno;
    (void)unlinkat(file->dir, file->name, 0);
    errno = unlink_errno;
    return -1;
}

static bool give_final_name(const pk_newfile *file, pk_error *err)
{
    int result = renameat2(file->dir, file->temp, file->dir, file->name, RENAME_NOREPLACE);
    if (result != 0 && (errno == EINVAL || errno == ENOSYS))
        result = link_and_unlink(file);
    if (result == 0)
        return true;
    if (errno == EEXIST)
        return exists_already(file->name, err);
    return io_failed("rename", file->name, err);
}

static bool sync_directory(const pk_newfile *file, pk_error *err)
{
    if (sync_fd(file->dir) == 0)
        return true;
    io_failed("sync the directory of", file->name, err);
    /* Nobody was told of this file yet, so it is still ours to take away. */
    (void)unlinkat(file->dir, file->name, 0);
    return false;
}

bool pk_newfile_commit(pk_newfile *file, pk_span expected, pk_error *err)
{
    bool synced = sync_fd(file->fd) == 0 || io_failed("sync", file->name, err);
    PK_CRASH_POINT("file synced");
    if (!synced || !compare_with(file, expected, err) || !give_final_name(file, err)) {
        pk_newfile_abort(file);
        return false;
    }
    PK_CRASH_POINT("file renamed");
    file->temp[0] = '\0';
    close_file(file);
    synced = sync_directory(file, err);
    PK_CRASH_POINT("directory synced");
    return synced;
}

void pk_newfile_abort(pk_newfile *file)
{
    if (file->temp[0] == '\0')
        return;
    close_file(file);
    (void)unlinkat(file->dir, file->temp, 0);
    file->temp[0] = '\0';
}

/* ".pgkeep-<hex>.tmp", as random_name makes them. */
static bool is_temporary(const char *name)
{
    const size_t len = strlen(name);
    return strncmp(name, ".pgkeep-", 8) == 0 && len > 12 && strcmp(name + len - 4, ".tmp") == 0 &&
           strspn(name + 8, "0123456789abcdef") == len - 12;
}

size_t pk_newfile_sweep(int dir)
{
    size_t removed = 0;
    const int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (list == NULL) {
        if (copy >= 0)
            (void)close(copy);
        return 0;
    }
    /* readdir is safe for a stream of one's own. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    for (const struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list))
        if (is_temporary(entry->d_name) && unlinkat(dir, entry->d_name, 0) == 0)
            removed++;
    (void)closedir(list);
    return removed;
}

static bool open_regular(int dir, const char *name, int *fd, pk_error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    *fd = open_at(dir, name, O_RDONLY | O_NONBLOCK);
    if (*fd < 0 && errno == ENOENT)
        return pk_fail(err, PK_E_UNDEFINED_FILE, "file \"%s\" does not exist", name);
    if (*fd < 0 && errno == ELOOP)
        return pk_fail(err, PK_E_IO, "file \"%s\" is a symbolic link", name);
    if (*fd < 0)
        return io_failed("open", name, err);
    struct stat info;
    if (fstat(*fd, &info) != 0)
        return io_failed("examine", name, err);
    if (!S_ISREG(info.st_mode))
        return pk_fail(err, PK_E_IO, "\"%s\" is not a regular file", name);
    return true;
}

static bool read_whole(int fd, const char *name, pk_buf *out, pk_error *err)
{
    char block[BLOCK];
    ssize_t got = 0;
    bool ok = true;
    off_t at = 0;
    do {
        got = read_block(fd, block, sizeof block, at);
        if (got < 0)
            ok = io_failed("read", name, err);
        else if (!pk_buf_append(out, block, (size_t)got, err))
            ok = pk_error_wrap(err, "could not read file \"%s\"", name);
        else
            at += got;
    } while (ok && got == (ssize_t)sizeof block);
    pk_wipe(block, sizeof block);
    return ok;
}

bool pk_file_read(int dir, const char *name, struct pk_buf *out, pk_error *err)
{
    int fd = -1;
    bool ok = open_regular(dir, name, &fd, err) && read_whole(fd, name, out, err);
    if (fd >= 0)
        (void)close(fd);
    return ok;
}
