/* Keystores in temporary directories, for the engine's tests. */
#ifndef PK_TESTS_KEYSTORE_FIXTURE_H
#define PK_TESTS_KEYSTORE_FIXTURE_H

#include "table.h"

#include "base/json.h"
#include "base/log.h"
#include "engine/keyring.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* mkdtemp makes it 0700, as a state directory must be. */
static inline void fixture_dir(char path[static 64])
{
    snprintf(path, 64, "/tmp/pgkeep-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static inline void fixture_remove(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of one's own */
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    rmdir(path);
}

static inline void fixture_init(void)
{
    pk_secure_heap heap;
    pk_error err = {0};
    if (!pk_secret_heap_init(&heap, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    pk_json_init();
    pk_log_set_level(PK_LOG_ERROR);
}

static inline pk_keystore *fixture_open(const char *path)
{
    pk_error err = {0};
    pk_keystore *ks = pk_keystore_open(path, true, NULL, &pk_clock_system, &err);
    if (ks == NULL)
        fail_msg("%s (%s) %s", err.message, err.sqlstate, err.detail);
    return ks;
}

static inline pk_row_audit fixture_audit(void)
{
    return (pk_row_audit){.at = pk_clock_system.wall_us(&pk_clock_system),
                          .actor = "alice",
                          .client = "test",
                          .db = "sales",
                          .action = "test",
                          .object = "",
                          .fp = "",
                          .outcome = "ok",
                          .sqlstate = PK_OK,
                          .text_redacted = ""};
}

static inline void must(bool ok, const pk_error *err)
{
    if (!ok)
        fail_msg("%s (%s) %s", err->message, err->sqlstate, err->detail);
}

#endif
