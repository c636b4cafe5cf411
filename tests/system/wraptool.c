/*
 * A data key under a database's master key, kept outside the keystore: what a backup's
 * ENCRYPTION_INFO will hold. The disaster drill wraps one, loses the keystore, restores the keys
 * from their files and must unwrap it. Runs while pgkeep is stopped (one owner per keystore).
 *
 *     wraptool wrap   --state DIR --database DB [--password-file F] OUTFILE
 *     wraptool unwrap --state DIR --database DB [--password-file F] INFILE
 *
 * Both print the data key's fingerprint.
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

static pk_database database(const arguments *a)
{
    return (pk_database){.name = a->database, .privileged = true}; /* its OID is not known here */
}

static const pk_opener self = {.session = 1, .user = "wraptool"};

/* As OPEN MASTER KEY, if there is a password. */
static bool open_key(pk_keystore *ks, const arguments *a, pk_error *err)
{
    const pk_row_audit audit = {.actor = self.user,
                                .client = "",
                                .db = a->database,
                                .action = "OPEN MASTER KEY",
                                .object = "master key",
                                .fp = "",
                                .outcome = "ok",
                                .sqlstate = PK_OK,
                                .text_redacted = ""};
    const pk_database db = database(a);
    pk_key_brief brief;
    bool was_open;
    if (a->password_file == NULL)
        return true;
    PK_AUTO_PTR(pk_secret_free) pk_secret *password = read_password(a->password_file, err);
    const pk_open_order order = {.db = &db, .opener = &self, .password = password};
    return password != NULL && pk_keystore_open_dmk(ks, &order, &audit, &brief, &was_open, err);
}

static bool wrap(pk_keystore *ks, const arguments *a, pk_error *err)
{
    const pk_database db = database(a);
    pk_data_wrap out;
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_random(PK_KEY_LEN, err);
    if (key == NULL || !pk_keystore_wrap_data_key(ks, &db, &self, key, &out, err))
        return false;
    FILE *f = fopen(a->file, "wb");
    if (f == NULL || fwrite(&out, sizeof out, 1, f) != 1 || fclose(f) != 0)
        return pk_fail(err, PK_E_IO, "could not write \"%s\"", a->file);
    return print_fingerprint(key, err);
}

static bool unwrap(pk_keystore *ks, const arguments *a, pk_error *err)
{
    pk_data_wrap in;
    FILE *f = fopen(a->file, "rb");
    if (f == NULL || fread(&in, sizeof in, 1, f) != 1 || fclose(f) != 0)
        return pk_fail(err, PK_E_IO, "could not read \"%s\"", a->file);
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *key = pk_keystore_unwrap_data_key(ks, &self, &in, err);
    return key != NULL && print_fingerprint(key, err);
}

static bool run(const arguments *a, pk_error *err)
{
    PK_AUTO_PTR(pk_keystore_close)
    pk_keystore *ks = pk_keystore_open(a->state, false, NULL, &pk_clock_system, err);
    if (ks == NULL || !open_key(ks, a, err))
        return false;
    return strcmp(a->verb, "wrap") == 0 ? wrap(ks, a, err) : unwrap(ks, a, err);
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
