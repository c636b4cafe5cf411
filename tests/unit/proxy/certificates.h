/*
 * Certificates for one run of a test: made in memory, written to a directory that the test owns.
 * Keys are of P-256, because RSA would take seconds. Nothing here is freed before the end of the
 * program, except what a function says it hands over.
 */
#ifndef PK_TESTS_PROXY_CERTIFICATES_H
#define PK_TESTS_PROXY_CERTIFICATES_H

#include "table.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct test_identity {
    X509 *cert;
    EVP_PKEY *key;
} test_identity;

/* What is not said is left out; it is good from yesterday until tomorrow. */
typedef struct test_recipe {
    const char *subject;     /* "/O=Example/CN=alice"; "@" in it becomes a zero byte */
    const char *alt_names;   /* "DNS:db.example,IP:127.0.0.1" */
    const char *zero_alt;    /* a dNSName of its own, "@" as above */
    const test_identity *by; /* NULL: by itself */
    bool is_authority;
    bool is_expired;
    bool is_rsa;
} test_recipe;

static inline size_t with_zeros(char *to, size_t size, const char *text, size_t len)
{
    assert_true(len < size);
    for (size_t i = 0; i < len; i++)
        to[i] = (char)(text[i] == '@' ? 0 : text[i]);
    return len;
}

static inline void set_subject(X509 *cert, const char *text)
{
    X509_NAME *name = X509_get_subject_name(cert);
    for (const char *at = text; at != NULL && *at == '/';) {
        char field[16];
        char value[300];
        const char *equals = strchr(at, '=');
        const char *end = strchr(at + 1, '/');
        assert_non_null(equals);
        const size_t len = end == NULL ? strlen(equals + 1) : (size_t)(end - equals - 1);
        (void)snprintf(field, sizeof field, "%.*s", (int)(equals - at - 1), at + 1);
        const size_t used = with_zeros(value, sizeof value, equals + 1, len);
        /* by NID, so that it is not cut at a zero byte, and of a type that takes any */
        assert_int_equal(X509_NAME_add_entry_by_NID(name, OBJ_txt2nid(field), V_ASN1_UTF8STRING,
                                                    (const unsigned char *)value, (int)used, -1, 0),
                         1);
        at = end;
    }
}

static inline void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void add_zero_alt(X509 *cert, const char *text)
{
    char value[300];
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();
    const size_t len = with_zeros(value, sizeof value, text, strlen(text));
    assert_int_equal(ASN1_STRING_set(string, value, (int)len), 1);
    GENERAL_NAME_set0_value(name, GEN_DNS, string);
    assert_true(sk_GENERAL_NAME_push(names, name) > 0);
    assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

static inline test_identity make_identity(const test_recipe *recipe)
{
    static long serial;
    const long day = 24L * 60 * 60;
    test_identity made = {X509_new(), recipe->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    const test_identity *by = recipe->by == NULL ? &made : recipe->by;
    assert_non_null(made.key);
    assert_int_equal(X509_set_version(made.cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(made.cert), -2 * day);
    (void)X509_gmtime_adj(X509_getm_notAfter(made.cert), recipe->is_expired ? -day : day);
    assert_int_equal(X509_set_pubkey(made.cert, made.key), 1);
    set_subject(made.cert, recipe->subject);
    assert_int_equal(X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert)), 1);
    add_extension(made.cert, NID_basic_constraints,
                  recipe->is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (recipe->alt_names != NULL)
        add_extension(made.cert, NID_subject_alt_name, recipe->alt_names);
    if (recipe->zero_alt != NULL)
        add_zero_alt(made.cert, recipe->zero_alt);
    assert_true(X509_sign(made.cert, by->key, EVP_sha256()) > 0);
    return made;
}

static inline void free_identity(test_identity *identity)
{
    X509_free(identity->cert);
    EVP_PKEY_free(identity->key);
}

/* ---- files ---- */

static inline FILE *create(const char *path, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    return file;
}

static inline void write_text(const char *path, const char *text)
{
    FILE *file = create(path, 0600);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline void write_cert(const char *path, const test_identity *identity)
{
    FILE *file = create(path, 0644);
    assert_int_equal(PEM_write_X509(file, identity->cert), 1);
    assert_int_equal(fclose(file), 0);
}

/* `password`: NULL, or what it is encrypted with. */
static inline void write_key(const char *path, const test_identity *identity, const char *password)
{
    FILE *file = create(path, 0600);
    assert_int_equal(PEM_write_PrivateKey(file, identity->key,
                                          password == NULL ? NULL : EVP_aes_128_cbc(), NULL, 0,
                                          NULL, (void *)(uintptr_t)password),
                     1);
    assert_int_equal(fclose(file), 0);
}

/* A list of `authority` that revokes one certificate, or none. */
static inline void write_revoked(const char *path, const test_identity *authority,
                                 const test_identity *revoked)
{
    FILE *file = create(path, 0644);
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *time = X509_gmtime_adj(NULL, -60);
    assert_int_equal(X509_CRL_set_version(list, 1), 1);
    assert_int_equal(X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->cert)), 1);
    assert_int_equal(X509_CRL_set1_lastUpdate(list, time), 1);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        assert_int_equal(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->cert)),
                         1);
        assert_int_equal(X509_REVOKED_set_revocationDate(entry, time), 1);
        assert_int_equal(X509_CRL_add0_revoked(list, entry), 1);
    }
    (void)X509_gmtime_adj(time, 3600);
    assert_int_equal(X509_CRL_set1_nextUpdate(list, time), 1);
    assert_true(X509_CRL_sign(list, authority->key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509_CRL(file, list), 1);
    ASN1_TIME_free(time);
    X509_CRL_free(list);
    assert_int_equal(fclose(file), 0);
}

#endif
