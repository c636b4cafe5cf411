/*
 * The wrapped functions, the hooks into SQLite, and a search through this process's own memory
 * through /proc/self/maps.
 */
#include "nth_failure.h"

#include "storage/catalog_driver.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MASK        0x5a
#define SECRETS_MAX 64

static atomic_int armed = -1;
static atomic_long left;
static atomic_bool fired;
static _Thread_local int exempt; /* inside a call that must not fail */

/* One of the armed family's calls; true: this is the one. */
static bool fails(pk_family family)
{
    if (atomic_load(&armed) != (int)family || exempt > 0)
        return false;
    if (atomic_fetch_sub(&left, 1) != 1)
        return false;
    atomic_store(&fired, true);
    return true;
}

/* Memory. The linker's names begin with two underscores, which C keeps for itself; hence labels. */

void *real_malloc(size_t size) __asm__("__real_malloc");
void *wrapped_malloc(size_t size) __asm__("__wrap_malloc");
void *real_calloc(size_t count, size_t size) __asm__("__real_calloc");
void *wrapped_calloc(size_t count, size_t size) __asm__("__wrap_calloc");
void *real_new(size_t size) __asm__("__real_pk_new_bytes");
void *wrapped_new(size_t size) __asm__("__wrap_pk_new_bytes");
void *real_secure(size_t size, const char *file, int line) __asm__("__real_CRYPTO_secure_zalloc");
void *wrapped_secure(size_t size, const char *file,
                     int line) __asm__("__wrap_CRYPTO_secure_zalloc");

void *wrapped_malloc(size_t size)
{
    return fails(PK_FAIL_MEMORY) ? NULL : real_malloc(size);
}

void *wrapped_calloc(size_t count, size_t size)
{
    return fails(PK_FAIL_MEMORY) ? NULL : real_calloc(count, size);
}

/* Ends the process when memory is gone, by design: sizes that we chose. */
void *wrapped_new(size_t size)
{
    exempt++;
    void *block = real_new(size);
    exempt--;
    return block;
}

void *wrapped_secure(size_t size, const char *file, int line)
{
    return fails(PK_FAIL_SECRETS) ? NULL : real_secure(size, file, line);
}

/* Files */

ssize_t real_write(int fd, const void *bytes, size_t len) __asm__("__real_write");
ssize_t wrapped_write(int fd, const void *bytes, size_t len) __asm__("__wrap_write");
int real_fsync(int fd) __asm__("__real_fsync");
int wrapped_fsync(int fd) __asm__("__wrap_fsync");
int real_rename(int from, const char *a, int to, const char *b,
                unsigned flags) __asm__("__real_renameat2");
int wrapped_rename(int from, const char *a, int to, const char *b,
                   unsigned flags) __asm__("__wrap_renameat2");
int real_link(int from, const char *a, int to, const char *b, int flags) __asm__("__real_linkat");
int wrapped_link(int from, const char *a, int to, const char *b,
                 int flags) __asm__("__wrap_linkat");

static int fail_with(int code)
{
    errno = code;
    return -1;
}

ssize_t wrapped_write(int fd, const void *bytes, size_t len)
{
    /* The log's lines are nobody's data. */
    if (fd != STDERR_FILENO && fails(PK_FAIL_WRITE))
        return fail_with(ENOSPC);
    return real_write(fd, bytes, len);
}

int wrapped_fsync(int fd)
{
    return fails(PK_FAIL_SYNC) ? fail_with(EIO) : real_fsync(fd);
}

int wrapped_rename(int from, const char *a, int to, const char *b, unsigned flags)
{
    return fails(PK_FAIL_RENAME) ? fail_with(EIO) : real_rename(from, a, to, b, flags);
}

int wrapped_link(int from, const char *a, int to, const char *b, int flags)
{
    return fails(PK_FAIL_RENAME) ? fail_with(EIO) : real_link(from, a, to, b, flags);
}

/* SQLite */

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return fails(PK_FAIL_SQLITE) ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *block, int size)
{
    return fails(PK_FAIL_SQLITE) ? NULL : sqlite_memory.xRealloc(block, size);
}

static ssize_t sqlite_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return fails(PK_FAIL_WRITE) ? fail_with(ENOSPC) : pwrite(fd, bytes, len, at);
}

/* What SQLite syncs files with has no hook: the program's own function comes before the C
 * library's.
 */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    return fails(PK_FAIL_SYNC) ? fail_with(EIO) : (int)syscall(SYS_fdatasync, fd);
}

/* The catalog's driver: every call to it that can fail. */

typedef struct shim {
    pk_catalog_driver real;
} shim;

static bool step(pk_error *err)
{
    return !fails(PK_FAIL_CATALOG) || pk_fail(err, PK_E_IO, "could not write the catalog: test");
}

static bool shim_begin(void *self, pk_error *err)
{
    shim *s = self;
    return step(err) && s->real.ops->begin(s->real.self, err);
}

static bool shim_commit(void *self, bool scrub, pk_error *err)
{
    shim *s = self;
    if (step(err))
        return s->real.ops->commit(s->real.self, scrub, err);
    s->real.ops->rollback(s->real.self); /* as the contract says */
    return false;
}

static void shim_rollback(void *self)
{
    shim *s = self;
    s->real.ops->rollback(s->real.self);
}

static bool shim_next_id(void *self, const pk_table *table, int64_t *id, pk_error *err)
{
    shim *s = self;
    return step(err) && s->real.ops->next_id(s->real.self, table, id, err);
}

static bool shim_insert(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    shim *s = self;
    return step(err) && s->real.ops->insert(s->real.self, table, values, err);
}

static bool shim_update(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    shim *s = self;
    return step(err) && s->real.ops->update(s->real.self, table, values, err);
}

static bool shim_erase(void *self, const pk_table *table, const pk_value *values, pk_error *err)
{
    shim *s = self;
    return step(err) && s->real.ops->erase(s->real.self, table, values, err);
}

static bool shim_select(void *self, const pk_table *table, const pk_select *what, pk_on_row on_row,
                        void *ctx, pk_error *err)
{
    shim *s = self;
    return step(err) && s->real.ops->select(s->real.self, table, what, on_row, ctx, err);
}

static void shim_close(void *self)
{
    shim *s = self;
    s->real.ops->close(s->real.self);
    pk_free(s);
}

static const pk_catalog_ops shim_ops = {
    .begin = shim_begin,
    .commit = shim_commit,
    .rollback = shim_rollback,
    .next_id = shim_next_id,
    .insert = shim_insert,
    .update = shim_update,
    .erase = shim_erase,
    .select = shim_select,
    .close = shim_close,
};

pk_catalog_driver real_driver(const char *dir, bool create, const pk_clock *clock,
                              pk_error *err) __asm__("__real_pk_catalog_sqlite_driver");
pk_catalog_driver wrapped_driver(const char *dir, bool create, const pk_clock *clock,
                                 pk_error *err) __asm__("__wrap_pk_catalog_sqlite_driver");

pk_catalog_driver wrapped_driver(const char *dir, bool create, const pk_clock *clock, pk_error *err)
{
    pk_catalog_driver real = real_driver(dir, create, clock, err);
    if (real.ops == NULL)
        return real;
    shim *s = pk_new(shim);
    s->real = real;
    return (pk_catalog_driver){&shim_ops, s};
}

/* Secrets made while armed, masked. */

static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    unsigned char masked[32];
} secrets[SECRETS_MAX];
static size_t secret_count;

int real_random(unsigned char *bytes, int len) __asm__("__real_RAND_priv_bytes");
int wrapped_random(unsigned char *bytes, int len) __asm__("__wrap_RAND_priv_bytes");

int wrapped_random(unsigned char *bytes, int len)
{
    int made = real_random(bytes, len);
    if (made != 1 || len != (int)sizeof secrets[0].masked || atomic_load(&armed) < 0)
        return made;
    pthread_mutex_lock(&secrets_lock);
    if (secret_count < SECRETS_MAX) {
        for (size_t i = 0; i < sizeof secrets[0].masked; i++)
            secrets[secret_count].masked[i] = bytes[i] ^ MASK;
        secret_count++;
    }
    pthread_mutex_unlock(&secrets_lock);
    return made;
}

/* Looking through memory. The window is masked as well, so that the search finds nothing of its
 * own making. */

#define WINDOW (1u << 20)

/* Every place in [from, to) where the bytes lie. */
static long find_between(unsigned long from, unsigned long to, const unsigned char *masked,
                         size_t want)
{
    static unsigned char window[WINDOW];
    long found = 0;
    while (from + want <= to) {
        size_t len = to - from < WINDOW ? to - from : WINDOW;
        struct iovec mine = {window, len};
        struct iovec there = {(void *)from, len}; /* NOLINT(performance-no-int-to-ptr) */
        ssize_t got = process_vm_readv(getpid(), &mine, 1, &there, 1, 0);
        if (got < (ssize_t)want)
            break;
        for (ssize_t i = 0; i < got; i++)
            window[i] ^= MASK;
        for (size_t i = 0; i + want <= (size_t)got; i++)
            if (window[i] == masked[0] && memcmp(window + i, masked, want) == 0)
                found++;
        if (to - from <= WINDOW)
            break;
        from += (unsigned long)got - want + 1;
    }
    explicit_bzero(window, sizeof window);
    return found;
}

long pk_nth_find(const unsigned char *masked, unsigned long want)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    long found = 0;
    if (maps == NULL)
        abort();
    while (fgets(line, sizeof line, maps) != NULL) {
        char *end = NULL;
        unsigned long from = strtoul(line, &end, 16);
        unsigned long to = strtoul(end + 1, &end, 16);
        if (strncmp(end, " rw", 3) == 0 && strstr(line, "[vvar]") == NULL)
            found += find_between(from, to, masked, want);
    }
    (void)fclose(maps);
    return found;
}

long pk_nth_secrets_left(void)
{
    long found = 0;
    for (size_t i = 0; i < secret_count; i++)
        found += pk_nth_find(secrets[i].masked, sizeof secrets[i].masked);
    return found;
}

/* Steering */

void pk_nth_init(void)
{
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
        abort();
    sqlite3_mem_methods mine = sqlite_memory;
    mine.xMalloc = sqlite_malloc;
    mine.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK)
        abort();
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    (void)vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)(void (*)(void))sqlite_pwrite);
    (void)vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)(void (*)(void))sqlite_pwrite);
}

void pk_nth_arm(pk_family family, long nth)
{
    pthread_mutex_lock(&secrets_lock);
    secret_count = 0;
    pthread_mutex_unlock(&secrets_lock);
    atomic_store(&fired, false);
    atomic_store(&left, nth);
    atomic_store(&armed, (int)family);
}

bool pk_nth_fired(void)
{
    atomic_store(&armed, -1);
    return atomic_load(&fired);
}
