/* What the tests of key files share: a directory, the stock tool, files to take apart. */
#ifndef PK_TESTS_KEYFILE_TEST_H
#define PK_TESTS_KEYFILE_TEST_H

#include "crypto_test.h"

#include "base/newfile.h"
#include "crypto/keyfile_parts.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define PASSWORD "Correct-Horse-1"
#define SIGNER   0x77

static char directory[] = "/tmp/pk-keyfile-XXXXXX";

static inline void write_file(const char *name, pk_span bytes)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.ptr, bytes.len), bytes.len);
    close(fd);
}

static inline void read_file(const char *dir, const char *name, pk_buf *out)
{
    pk_error err = {0};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(pk_file_read(fd, name, out, &err));
    close(fd);
}

/* Runs in `directory`; the exit status. (POSIX keeps argv without const; nothing is changed.) */
static inline int run(const char *const argv[])
{
    pid_t pid = 0;
    int status = 0;
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_addchdir_np(&actions, directory);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(rc, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* openssl cms -decrypt; how is "-pwri_password" or "-secretkey". */
static inline int openssl_opens(const char *how, const char *secret)
{
    const char *const argv[] = {"openssl", "cms", "-decrypt", "-inform", "PEM",       "-in",
                                "FILE",    how,   secret,     "-out",    "keys.json", NULL};
    return run(argv);
}

static inline pk_recipient by_password(const pk_secret *password)
{
    return (pk_recipient){PK_RECIPIENT_PASSWORD, password, NULL};
}

static inline pk_recipient by_key(const pk_secret *key, const char *id)
{
    return (pk_recipient){PK_RECIPIENT_KEK, key, id};
}

static inline void seal(const pk_recipient *recipients, size_t count, pk_buf *out)
{
    pk_error err = {0};
    PK_AUTO(pk_keyset_clear) pk_keyset set;
    PK_AUTO(pk_identity_clear) pk_identity signer;
    sample_identity(&signer, SIGNER);
    sample_set(&set);
    assert_ok(pk_keyfile_seal(&set, recipients, count, &signer, out, &err));
}

static inline void seal_with_password(pk_buf *out)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = secret_text(PASSWORD);
    pk_recipient recipient = by_password(password);
    seal(&recipient, 1, out);
}

static inline void assert_sample(pk_keyset *set)
{
    PK_AUTO(pk_keyset_clear) pk_keyset sample;
    sample_set(&sample);
    assert_int_equal(set->count, 1);
    assert_true(pk_secret_equal(set->keys[0].key, sample.keys[0].key));
}

static inline void pem_of(pk_span der, pk_buf *out)
{
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    assert_ok(pk_base64(der, &text, &err));
    pk_span all = pk_buf_span(&text);
    assert_ok(pk_buf_append_text(out, "-----BEGIN CMS-----\n", &err));
    for (size_t at = 0; at < all.len; at += 64) {
        size_t len = all.len - at < 64 ? all.len - at : 64;
        assert_ok(pk_buf_append(out, all.ptr + at, len, &err) &&
                  pk_buf_append_text(out, "\n", &err));
    }
    assert_ok(pk_buf_append_text(out, "-----END CMS-----\n", &err));
}

/* The DER inside a file of ours. */
static inline void der_of(pk_span file, pk_buf *der)
{
    pk_error err = {0};
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_MAX(PK_KEYFILE_MAX);
    const char *begin = memmem(file.ptr, file.len, "-----BEGIN CMS-----\n", 20);
    const char *end = memmem(file.ptr, file.len, "-----END CMS-----\n", 18);
    assert_true(begin != NULL && end != NULL);
    for (const char *at = begin + 20; at < end; at++)
        if (*at != '\n')
            assert_ok(pk_buf_append(&text, at, 1, &err));
    assert_ok(pk_unbase64(pk_buf_span(&text), der, &err));
}

static inline int clean_up(void)
{
    const char *const argv[] = {"rm", "-rf", directory, NULL};
    return run(argv);
}

#endif
