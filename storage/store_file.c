/*
 * A directory of the local file system as a store. Every path is opened by openat2 below the root
 * with RESOLVE_BENEATH, so the kernel refuses "..", absolute links and races that leave it
 * (DECISIONS 14c); no check by name has to be believed. Where the descriptor really points is then
 * compared with the directories that pgkeep keeps for itself, because a link inside a root may lead
 * there.
 *
 * Nothing is cached but the root: directories come and go, and each call finds its own.
 */
#include "base/crash.h"
#include "base/newfile.h"
#include "storage/store_driver.h"
#include "storage/store_path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct file_store {
    pk_store store; /* first: the interface's pointer is ours */
    int root;
    char root_path[PATH_MAX];
    char base[PATH_MAX]; /* the location, below root; "" is the root */
    char **forbidden;    /* without symbolic links */
    size_t forbidden_count;
} file_store;

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* Where `path` (below the root) is. */
static void full_path(const file_store *file, const char *path, char out[static 2 * PATH_MAX])
{
    bool top = file->root_path[1] == '\0';
    (void)snprintf(out, 2 * (size_t)PATH_MAX, "%s%s%s", file->root_path,
                   path[0] == '\0' || top ? "" : "/", path);
}

/* The same for messages. */
static void shown_path(const file_store *file, const char *path, char out[static PK_PATH_SHOWN])
{
    char full[2 * PATH_MAX];
    full_path(file, path, full);
    (void)pk_path_shown(full, out);
}

/* Location and name joined, below the root. */
static bool join(const file_store *file, const char *name, char out[static PATH_MAX], pk_error *err)
{
    const char *slash = file->base[0] == '\0' || name[0] == '\0' ? "" : "/";
    int len = snprintf(out, PATH_MAX, "%s%s%s", file->base, slash, name);
    return (len >= 0 && len < PATH_MAX) || pk_fail(err, PK_E_PARAMETER, "path is too long");
}

/* Cuts off the last segment and returns it. */
static const char *cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        return NULL;
    *slash = '\0';
    return slash + 1;
}

static int open_beneath(const file_store *file, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    int tries = 16; /* EAGAIN: something was renamed while the kernel looked (openat2(2)) */
    do
        fd = syscall(SYS_openat2, file->root, path[0] == '\0' ? "." : path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN) && tries-- > 0);
    return (int)fd;
}

static bool fail_open(const file_store *file, const char *path, int error, pk_error *err)
{
    char full[PK_PATH_SHOWN];
    shown_path(file, path, full);
    if (error == ENOENT)
        return pk_fail(err, PK_E_UNDEFINED_FILE, "\"%s\" does not exist", full);
    if (error == EXDEV || error == ELOOP)
        return pk_fail(err, PK_E_PARAMETER, "\"%s\" leads out of \"%s\" by a symbolic link", full,
                       file->root_path);
    if (error == ENOSYS) {
        pk_fail(err, PK_E_IO, "this system cannot keep paths below a directory");
        return pk_error_detail(err, "openat2 is needed, which Linux has since 5.6.");
    }
    return pk_fail(err, PK_E_IO, "could not open \"%s\": %s", full, pk_errno_text(error));
}

/* Equal to or inside a directory that pgkeep keeps for itself; for a location also above it. */
static bool check_forbidden(const file_store *file, const char *real, bool location, pk_error *err)
{
    char shown[PK_PATH_SHOWN];
    for (size_t i = 0; i < file->forbidden_count; i++) {
        const char *forbidden = file->forbidden[i];
        if (!pk_path_within(real, forbidden) && !(location && pk_path_within(forbidden, real)))
            continue;
        pk_fail(err, PK_E_PARAMETER, "path \"%s\" is not allowed", pk_path_shown(real, shown));
        return pk_error_detail(err,
                               "It is equal to, inside or above \"%s\", which is in use for"
                               " something else.",
                               forbidden);
    }
    return true;
}

static bool check_descriptor(const file_store *file, int fd, pk_error *err)
{
    char link[64];
    char real[PATH_MAX];
    if (file->forbidden_count == 0)
        return true;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, real, sizeof real - 1);
    if (len < 0)
        return pk_fail(err, PK_E_IO, "could not read \"%s\": %s", link, pk_errno_text(errno));
    real[len] = '\0';
    return check_forbidden(file, real, false, err);
}

/* The directory `path` below the root. Absent, and `absent` is not NULL: true, *absent set, -1. */
static bool open_directory(const file_store *file, const char *path, int *fd, bool *absent,
                           pk_error *err)
{
    *fd = open_beneath(file, path, O_RDONLY | O_DIRECTORY);
    if (absent != NULL)
        *absent = *fd < 0 && (errno == ENOENT || errno == ENOTDIR);
    if (*fd < 0)
        return (absent != NULL && *absent) || fail_open(file, path, errno, err);
    if (check_descriptor(file, *fd, err))
        return true;
    close_fd(fd);
    return false;
}

static bool make_directory(const file_store *file, int parent, const char *path, pk_error *err)
{
    const char *slash = strrchr(path, '/');
    char full[PK_PATH_SHOWN];
    if (mkdirat(parent, slash == NULL ? path : slash + 1, S_IRWXU) == 0 || errno == EEXIST)
        return true;
    int error = errno;
    shown_path(file, path, full);
    return pk_fail(err, PK_E_IO, "could not create directory \"%s\": %s", full,
                   pk_errno_text(error));
}

/* The name of `path` survives a power loss, whoever made it: another process may have done so just
 * before and not have come to this. */
static bool sync_above(const file_store *file, int parent, const char *path, pk_error *err)
{
    char full[PK_PATH_SHOWN];
    if (fsync(parent) == 0)
        return true;
    int error = errno;
    shown_path(file, path, full);
    return pk_fail(err, PK_E_IO, "could not sync the directory above \"%s\": %s", full,
                   pk_errno_text(error));
}

/* Opens `path`, making it if it is absent; *fd is its parent before and itself afterwards. */
static bool descend(const file_store *file, const char *path, int *fd, pk_error *err)
{
    int next = -1;
    bool absent = false;
    bool ok = open_directory(file, path, &next, &absent, err);
    if (ok && absent)
        ok = make_directory(file, *fd, path, err) && open_directory(file, path, &next, NULL, err);
    ok = ok && sync_above(file, *fd, path, err);
    close_fd(fd);
    *fd = next;
    return ok;
}

/* The directory with everything above it, from the root down. */
static bool make_directories(const file_store *file, const char *path, int *fd, pk_error *err)
{
    char part[PATH_MAX];
    if (!open_directory(file, "", fd, NULL, err))
        return false;
    for (size_t i = 1; path[i - 1] != '\0'; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i); /* i < PATH_MAX: join saw to it */
        part[i] = '\0';
        if (!descend(file, part, fd, err))
            return false;
    }
    return true;
}

static bool write_file(int dir, const char *name, pk_span bytes, pk_error *err)
{
    PK_AUTO(pk_newfile_abort) pk_newfile new = PK_NEWFILE_INIT;
    return pk_newfile_create(&new, dir, name, err) && pk_newfile_write(&new, bytes, err) &&
           pk_newfile_commit(&new, bytes, err);
}

/* `dir` is a directory below the root, `last` the segment that was cut from it. */
static bool wrap_fault(const file_store *file, const char *dir, const char *last,
                       const pk_error *fault, pk_error *err)
{
    char path[2 * PATH_MAX];
    char full[3 * PATH_MAX];
    char shown[PK_PATH_SHOWN];
    full_path(file, dir, path);
    (void)snprintf(full, sizeof full, "%s%s%s", path, path[1] == '\0' ? "" : "/", last);
    (void)pk_path_shown(full, shown);
    if (pk_error_is(fault, PK_E_DUPLICATE_FILE))
        return pk_fail(err, PK_E_DUPLICATE_FILE, "file \"%s\" exists already", shown);
    if (pk_error_is(fault, PK_E_UNDEFINED_FILE))
        return pk_fail(err, PK_E_UNDEFINED_FILE, "file \"%s\" does not exist", shown);
    if (err != NULL)
        *err = *fault;
    return pk_error_wrap(err, "could not access file \"%s\"", shown);
}

/* Directory and last segment of an object, below the root. */
static bool locate(const file_store *file, const char *name, char dir[static PATH_MAX],
                   const char **last, pk_error *err)
{
    if (!join(file, name, dir, err))
        return false;
    *last = cut_last(dir);
    if (*last == NULL) { /* directly in the root */
        *last = name;
        dir[0] = '\0';
    }
    return true;
}

static bool file_put(pk_store *store, const char *name, pk_span bytes, pk_error *err)
{
    const file_store *file = (const file_store *)store;
    PK_AUTO(close_fd) int fd = -1;
    char dir[PATH_MAX];
    const char *last = NULL;
    pk_error fault = {0};
    if (!locate(file, name, dir, &last, err) || !make_directories(file, dir, &fd, err))
        return false;
    return write_file(fd, last, bytes, &fault) || wrap_fault(file, dir, last, &fault, err);
}

static bool file_get(pk_store *store, const char *name, pk_buf *out, pk_error *err)
{
    const file_store *file = (const file_store *)store;
    PK_AUTO(close_fd) int fd = -1;
    char dir[PATH_MAX];
    const char *last = NULL;
    pk_error fault = {0};
    if (!locate(file, name, dir, &last, err) || !open_directory(file, dir, &fd, NULL, err))
        return false;
    return pk_file_read(fd, last, out, &fault) || wrap_fault(file, dir, last, &fault, err);
}

/* A symbolic link as the last segment is never an object, but may lead to a directory. */
static char file_kind(pk_store *store, const char *name, pk_error *err)
{
    const file_store *file = (const file_store *)store;
    PK_AUTO(close_fd) int fd = -1;
    char path[PATH_MAX];
    struct stat info;
    if (!join(file, name, path, err))
        return '?';
    fd = open_beneath(file, path, O_PATH | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISLNK(info.st_mode)) {
        close_fd(&fd);
        fd = open_beneath(file, path, O_PATH | O_DIRECTORY);
    }
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0 || fstat(fd, &info) != 0) {
        fail_open(file, path, errno, err);
        return '?';
    }
    if (!check_descriptor(file, fd, err))
        return '?';
    return S_ISREG(info.st_mode) ? 'f' : S_ISDIR(info.st_mode) ? 'd' : 0;
}

typedef struct name_list {
    char **list;
    size_t count, room;
} name_list;

static bool add_name(name_list *names, const char *name, pk_arena *arena, pk_error *err)
{
    if (names->count == names->room) {
        size_t room = names->room == 0 ? 16 : names->room * 2;
        char **list = pk_arena_array(arena, room, sizeof *list, err);
        if (list == NULL)
            return false;
        if (names->count > 0)
            memcpy(list, names->list, names->count * sizeof *list);
        names->list = list;
        names->room = room;
    }
    names->list[names->count] = pk_arena_strdup(arena, name, err);
    return names->list[names->count++] != NULL;
}

/* Not an object: the two of every directory, and files that newfile has not finished. */
static bool is_hidden(const char *name)
{
    size_t len = strlen(name);
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
           (strncmp(name, ".pgkeep-", 8) == 0 && len > 12 && strcmp(name + len - 4, ".tmp") == 0);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool read_names(DIR *dir, name_list *names, pk_arena *arena, pk_error *err)
{
    const struct dirent *entry = NULL;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a DIR of one thread's own is safe in glibc. */
    for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
        if (!is_hidden(entry->d_name) && !add_name(names, entry->d_name, arena, err))
            return false;
    return errno == 0 ||
           pk_fail(err, PK_E_IO, "could not read a directory: %s", pk_errno_text(errno));
}

static bool file_list(pk_store *store, const char *name, pk_arena *arena, char ***list,
                      size_t *count, pk_error *err)
{
    const file_store *file = (const file_store *)store;
    PK_AUTO(close_fd) int fd = -1;
    char path[PATH_MAX];
    bool absent = false;
    if (!join(file, name, path, err) || !open_directory(file, path, &fd, &absent, err))
        return false;
    if (absent)
        return true;
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return pk_fail(err, PK_E_IO, "could not read a directory: %s", pk_errno_text(errno));
    fd = -1; /* closedir closes it */
    name_list names = {0};
    bool ok = read_names(dir, &names, arena, err);
    (void)closedir(dir);
    if (!ok)
        return false;
    if (names.count > 1)
        qsort(names.list, names.count, sizeof *names.list, compare_names);
    *list = names.list;
    *count = names.count;
    return true;
}

static bool file_remove(pk_store *store, const char *name, pk_error *err)
{
    const file_store *file = (const file_store *)store;
    PK_AUTO(close_fd) int fd = -1;
    char dir[PATH_MAX];
    const char *last = NULL;
    bool absent = false;
    if (!locate(file, name, dir, &last, err) || !open_directory(file, dir, &fd, &absent, err))
        return false;
    if (absent || (unlinkat(fd, last, 0) != 0 && errno == ENOENT))
        return true;
    struct stat info;
    char shown[PK_PATH_SHOWN];
    PK_CRASH_POINT("file removed");
    bool still_there = fstatat(fd, last, &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (still_there || fsync(fd) != 0)
        return pk_fail(err, PK_E_IO, "could not remove file \"%s\"", pk_path_shown(last, shown));
    return true;
}

static void file_close(pk_store *store)
{
    file_store *file = (file_store *)store;
    for (size_t i = 0; i < file->forbidden_count; i++)
        pk_free(file->forbidden[i]);
    pk_free(file->forbidden);
    close_fd(&file->root);
    pk_free(file);
}

static const pk_store_ops file_ops = {
    .put = file_put,
    .get = file_get,
    .kind = file_kind,
    .list = file_list,
    .remove = file_remove,
    .close = file_close,
};

static bool copy_forbidden(file_store *file, const pk_store_options *options, pk_error *err)
{
    char plain[PATH_MAX];
    char real[PATH_MAX];
    if (options->forbidden_count == 0)
        return true;
    file->forbidden = pk_new_bytes(options->forbidden_count * sizeof *file->forbidden);
    for (size_t i = 0; i < options->forbidden_count; i++) {
        if (!pk_path_normalise(pk_span_of(options->forbidden[i]), plain, err) ||
            !pk_path_real(plain, real, err))
            return false;
        file->forbidden[file->forbidden_count++] = pk_strdup(real);
    }
    return true;
}

static bool open_root(file_store *file, const char *path, const pk_store_options *options,
                      pk_error *err)
{
    pk_place place;
    char real[2 * PATH_MAX];
    if (!pk_path_place(path, options, &place, err))
        return false;
    memcpy(file->root_path, place.root, sizeof place.root);
    memcpy(file->base, place.rest, sizeof place.rest);
    full_path(file, file->base, real);
    if (!copy_forbidden(file, options, err) || !check_forbidden(file, real, true, err))
        return false;
    file->root = open(file->root_path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return file->root >= 0 || pk_fail(err, PK_E_IO, "could not open directory \"%s\": %s",
                                      file->root_path, pk_errno_text(errno));
}

pk_store *pk_store_file_open(const char *path, pk_span redacted, const pk_store_options *options,
                             pk_error *err)
{
    file_store *file = pk_new(file_store);
    file->store.ops = &file_ops;
    file->root = -1;
    if (!open_root(file, path, options, err)) {
        file_close(&file->store);
        return NULL;
    }
    file->store.redacted = pk_new_bytes(redacted.len + 1);
    memcpy(file->store.redacted, redacted.ptr, redacted.len);
    return &file->store;
}
