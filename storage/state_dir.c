/*
 * Owner and mode of directory and file are looked at before SQLite opens anything. Whoever could
 * write here could swap the keystore; whoever could read could take a copy and try passwords on it.
 * The check by name is not raced against: in a directory that is 0700 and ours nobody else can
 * exchange a file, and its parents are the administrator's business.
 */
#include "storage/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool check_private(const struct stat *info, const char *what, const char *path,
                          pk_error *err)
{
    if (info->st_uid != geteuid()) {
        pk_fail(err, PK_E_PRIVILEGE, "%s \"%s\" belongs to another user", what, path);
        return pk_error_detail(err, "Its owner is user %u, pgkeep runs as user %u.", info->st_uid,
                               geteuid());
    }
    if ((info->st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        pk_fail(err, PK_E_PRIVILEGE, "%s \"%s\" is open to other users", what, path);
        pk_error_detail(err, "Its mode is %04o.", info->st_mode & 07777);
        return pk_error_hint(err, "Run: chmod go-rwx %s", path);
    }
    return true;
}

/* The name must survive a power loss, like everything that will be put below it. Whoever made the
 * directory may not have synced it. A parent that we may not read is none that we made it in. */
static bool sync_parent(const char *path, bool made, pk_error *err)
{
    char parent[PATH_MAX + 4];
    (void)snprintf(parent, sizeof parent, "%s/..", path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && !made)
        return true;
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (!ok)
        pk_fail(err, PK_E_IO, "could not sync the directory above \"%s\": %s", path,
                pk_errno_text(errno));
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static bool make_directory(const char *path, bool *made, pk_error *err)
{
    *made = mkdir(path, S_IRWXU) == 0;
    if (!*made && errno == EEXIST)
        return true;
    if (!*made)
        return pk_fail(err, errno == ENOENT ? PK_E_UNDEFINED_FILE : PK_E_IO,
                       "could not create directory \"%s\": %s", path, pk_errno_text(errno));
    /* A umask could have taken the owner's own bits. */
    return chmod(path, S_IRWXU) == 0 ||
           pk_fail(err, PK_E_IO, "could not set the mode of directory \"%s\": %s", path,
                   pk_errno_text(errno));
}

static bool open_directory(pk_state_dir *dir, const char *path, pk_error *err)
{
    struct stat info;
    if (realpath(path, dir->path) == NULL ||
        (dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        return pk_fail(err, errno == ENOENT ? PK_E_UNDEFINED_FILE : PK_E_IO,
                       "could not open directory \"%s\": %s", path, pk_errno_text(errno));
    if (fstat(dir->fd, &info) != 0)
        return pk_fail(err, PK_E_IO, "could not examine directory \"%s\": %s", path,
                       pk_errno_text(errno));
    return check_private(&info, "directory", path, err);
}

bool pk_state_dir_open(pk_state_dir *dir, const char *path, bool create, pk_error *err)
{
    *dir = PK_STATE_DIR_INIT;
    bool made = false;
    if (create && !make_directory(path, &made, err))
        return false;
    if (open_directory(dir, path, err) && (!create || sync_parent(dir->path, made, err)))
        return true;
    pk_state_dir_close(dir);
    return false;
}

void pk_state_dir_close(pk_state_dir *dir)
{
    if (dir->fd >= 0)
        (void)close(dir->fd);
    dir->fd = -1;
}

static bool create_file(const pk_state_dir *dir, const char *name, pk_error *err)
{
    int fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    S_IRUSR | S_IWUSR);
    if (fd < 0 && errno == EEXIST) /* another process was faster; its lock decides who stays */
        return true;
    bool ok = fd >= 0 && fchmod(fd, S_IRUSR | S_IWUSR) == 0 && fsync(dir->fd) == 0;
    if (!ok)
        pk_fail(err, PK_E_IO, "could not create file \"%s/%s\": %s", dir->path, name,
                pk_errno_text(errno));
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* *absent is set instead of failing when there is no such file. */
static bool check_file(const pk_state_dir *dir, const char *name, bool *absent, pk_error *err)
{
    char path[PATH_MAX + NAME_MAX + 2];
    (void)snprintf(path, sizeof path, "%s/%s", dir->path, name);
    struct stat info;
    *absent = false;
    if (fstatat(dir->fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        *absent = errno == ENOENT;
        return *absent || pk_fail(err, PK_E_IO, "could not examine file \"%s\": %s", path,
                                  pk_errno_text(errno));
    }
    if (!S_ISREG(info.st_mode))
        return pk_fail(err, PK_E_PRIVILEGE, "\"%s\" is not a regular file", path);
    return check_private(&info, "file", path, err);
}

bool pk_state_file_ready(const pk_state_dir *dir, const char *name, bool create, pk_error *err)
{
    bool absent = false;
    if (!check_file(dir, name, &absent, err))
        return false;
    if (!absent)
        return true;
    if (!create)
        return pk_fail(err, PK_E_UNDEFINED_FILE, "file \"%s/%s\" does not exist", dir->path, name);
    return create_file(dir, name, err) && check_file(dir, name, &absent, err);
}

bool pk_state_file_safe(const pk_state_dir *dir, const char *name, pk_error *err)
{
    bool absent = false;
    return check_file(dir, name, &absent, err);
}

/* A line of /proc/locks: `7: POSIX  ADVISORY  WRITE 4021 fe:00:131074 1073741824 1073742335`. */
static pid_t pid_in(const char *line, const char *device_and_inode)
{
    const char *at = strstr(line, device_and_inode);
    while (at != NULL && at > line && at[-1] != ' ')
        at--;
    return at == NULL ? 0 : (pid_t)strtol(at, NULL, 10);
}

pid_t pk_state_file_owner(const pk_state_dir *dir, const char *name)
{
    struct stat info;
    char device_and_inode[64];
    char line[256];
    pid_t pid = 0;
    if (fstatat(dir->fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    (void)snprintf(device_and_inode, sizeof device_and_inode, " %02x:%02x:%lu ", major(info.st_dev),
                   minor(info.st_dev), (unsigned long)info.st_ino);
    FILE *locks = fopen("/proc/locks", "re");
    if (locks == NULL)
        return 0;
    while (pid == 0 && fgets(line, sizeof line, locks) != NULL)
        pid = pid_in(line, device_and_inode);
    (void)fclose(locks);
    return pid > 0 ? pid : 0;
}
