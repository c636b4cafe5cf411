/*
 * A data key under a database's master key, kept outside the keystore: what a backup's
 * ENCRYPTION_INFO will hold. The disaster drill wraps one, loses the keystore, restores the keys
 * from their files and must unwrap it. Runs while pgkeep is stopped (one owner per keystore).
 *
 *     wraptool wrap   --state DIR --database DB [--password-file F] OUTFILE   prints the data key's
 * fingerprint wraptool unwrap --state DIR --database DB [--password-file F] INFILE    prints the
 * same
 *
 * A secret never leaves crypto/ as bytes, so the data key itself is not printed: equal fingerprints
 * are equal keys.
 */
#include "base/log.h"
#include "base/newfile.h"
#include "engine/keystore.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct arguments {
    const char *verb, *state, *database, *password_file, *file;
} arguments;

static bool parse(int argc, char **argv, arguments *a)
{
    if (argc < 3)
        return false;
    a->verb = argv[1];
    for (int i = 2; i < argc - 1; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--state") == 0)
            a->state = value;
        else if (strcmp(argv[i], "--database") == 0)
            a->database = value;
        else if (strcmp(argv[i], "--password-file") == 0)
            a->password_file = value;
        else
            return false;
    }
    a->file = argv[argc - 1];
    return a->state != NULL && a->database != NULL;
}

static pk_secret *read_password(const char *path, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_SECRET(1024);
    if (!pk_file_read(AT_FDCWD, path, &text, err))
        return NULL;
    pk_span span = pk_buf_span(&text);
    while (span.len > 0 && span.ptr[span.len - 1] == '\n')
        span.len--;
    return pk_secret_new(span.ptr, span.len, err);
}

static bool print_fingerprint(const pk_secret *key, pk_error *err)
{
    uint8_t fp[PK_FP_LEN];
    char text[PK_FP_TEXT];
    if (!pk_fingerprint(key, fp, err))
        return false;
    pk_fingerprint_text(fp, text);
    return puts(text) >= 0;
}

static bool wrap(pk_keystore *ks, const arguments *a, const pk_secret *password, pk_error *err)
{
    const pk_database db = {.name = a->database,
                            .privileged = true}; /* its OID is not known here */
    pk_data_wrap out;
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, err);
    if (key == NULL || !pk_keystore_wrap_data_key(ks, &db, password, key, &out, err))
        return false;
    FILE *f = fopen(a->file, "wb");
    if (f == NULL || fwrite(&out, sizeof out, 1, f) != 1 || fclose(f) != 0)
        return pk_fail(err, PK_E_IO, "could not write \"%s\"", a->file);
    return print_fingerprint(key, err);
}

static bool unwrap(pk_keystore *ks, const arguments *a, const pk_secret *password, pk_error *err)
{
    pk_data_wrap in;
    FILE *f = fopen(a->file, "rb");
    if (f == NULL || fread(&in, sizeof in, 1, f) != 1 || fclose(f) != 0)
        return pk_fail(err, PK_E_IO, "could not read \"%s\"", a->file);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *key = pk_keystore_unwrap_data_key(ks, password, &in, err);
    return key != NULL && print_fingerprint(key, err);
}

static bool run(const arguments *a, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = NULL;
    if (a->password_file != NULL) {
        password = read_password(a->password_file, err);
        if (password == NULL)
            return false;
    }
    PK_AUTO_PTR(pk_keystore_close)
    pk_keystore *ks = pk_keystore_open(a->state, false, NULL, &pk_clock_system, err);
    if (ks == NULL)
        return false;
    return strcmp(a->verb, "wrap") == 0 ? wrap(ks, a, password, err) : unwrap(ks, a, password, err);
}

int main(int argc, char **argv)
{
    arguments a = {0};
    pk_error err = {0};
    if (!parse(argc, argv, &a)) {
        fputs("usage: wraptool wrap|unwrap --state DIR --database DB [--password-file F] FILE\n",
              stderr);
        return 2;
    }
    if (pk_engine_init_process(&err) && run(&a, &err))
        return 0;
    pk_log_fault(PK_LOG_ERROR, a.verb, &err);
    return 1;
}
