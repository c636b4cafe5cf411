/*
 * Loading is all or nothing: every file is looked at before a connection depends on it, and each
 * complaint names the file. A context is for many connections; nothing in it changes later.
 *
 * Settings that a proxy wants: no session cache and no tickets (libpq resumes nothing, and tickets
 * would keep secrets of past sessions in memory), plaintext wiped once it was read (OpenSSL
 * decrypts in place and frees the buffer as it is), buffers given back while a connection is idle,
 * one recv for as many records as there are (read-ahead).
 */
#include "proxy/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CIPHERS "HIGH:MEDIUM:+3DES:!aNULL" /* PostgreSQL's ssl_ciphers */
/* PostgreSQL's ssl_groups. The larger ones are for clients that are told to use nothing else. */
#define GROUPS "X25519:prime256v1:secp384r1:secp521r1"
/* One record of the largest size: it is allocated for each read, and a larger one costs more than
 * the recv that it saves. */
#define READ_BUFFER (18u << 10)

/* ---- complaints ---- */

void pk_tls_forget(void)
{
    if (ERR_peek_error() != 0) /* clearing an empty queue costs more than looking */
        ERR_clear_error();
}

const char *pk_tls_reason(void)
{
    const unsigned long first = ERR_peek_error();
    const int reason = ERR_GET_REASON(first);
    if (first == 0)
        return NULL;
    if (ERR_SYSTEM_ERROR(first))
        return pk_errno_text(reason);
    const char *text = ERR_reason_error_string(first);
    if (text != NULL)
        return text;
    /* a peer may send an alert that OpenSSL has no text for */
    return reason > SSL_AD_REASON_OFFSET ? SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET)
                                         : "a reason without a name";
}

bool pk_tls_complain(pk_error *err, const char *sqlstate, const char *what)
{
    const char *reason = pk_tls_reason();
    pk_tls_forget();
    return pk_fail(err, sqlstate, "%s: %s", what, reason == NULL ? "no reason known" : reason);
}

/* ---- files ---- */

static bool is_set(const char *path)
{
    return path != NULL && path[0] != 0;
}

static bool look_at(pk_tls_file *file, const char *path, const char *what, pk_error *err)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        const int why = errno;
        if (fd >= 0)
            (void)close(fd);
        return pk_fail(err,
                       why == ENOENT   ? PK_E_UNDEFINED_FILE
                       : why == EACCES ? PK_E_PRIVILEGE
                                       : PK_E_IO,
                       "could not open %s file \"%s\": %s", what, path, pk_errno_text(why));
    }
    (void)close(fd);
    if (!S_ISREG(info.st_mode))
        return pk_fail(err, PK_E_CONFIG_FILE, "%s file \"%s\" is not a regular file", what, path);
    *file = (pk_tls_file){.path = pk_strdup(path),
                          .device = info.st_dev,
                          .inode = info.st_ino,
                          .size = info.st_size,
                          .changed = info.st_mtim};
    return true;
}

/* Both libpq's and the server's rule. */
static bool check_private(const char *path, pk_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return pk_fail(err, PK_E_IO, "could not look at private key file \"%s\": %s", path,
                       pk_errno_text(errno));
    const mode_t forbidden = info.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (info.st_uid != 0 && info.st_uid != geteuid())
        return pk_fail(err, PK_E_PRIVILEGE,
                       "private key file \"%s\" must be owned by pgkeep's user or root", path);
    if ((info.st_mode & forbidden) == 0)
        return true;
    (void)pk_fail(err, PK_E_PRIVILEGE, "private key file \"%s\" has group or world access", path);
    return pk_error_detail(err, "File must have permissions u=rw (0600) or less if owned by "
                                "pgkeep's user, or permissions u=rw,g=r (0640) or less if owned "
                                "by root.");
}

static bool bad_file(const char *what, const char *path, pk_error *err)
{
    char text[200];
    (void)snprintf(text, sizeof text, "could not load %s file \"%.120s\"", what, path);
    return pk_tls_complain(err, PK_E_CONFIG_FILE, text);
}

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool has_passphrase(const char *what, const char *path, pk_error *err)
{
    pk_tls_forget();
    (void)pk_fail(err, PK_E_CONFIG_FILE, "%s file \"%s\" is protected by a passphrase", what, path);
    return pk_error_hint(err, "pgkeep asks nobody: give it a file without one, readable by its "
                              "user only.");
}

/* The last of these also looks whether the two belong together: OpenSSL does not when it loads
 * them, if they are of different kinds. */
static bool read_pair(pk_tls *tls, const pk_tls_files *files, const bool *asked, pk_error *err)
{
    if (SSL_CTX_use_certificate_chain_file(tls->ctx, files->cert) != 1)
        return *asked ? has_passphrase("certificate", files->cert, err)
                      : bad_file("certificate", files->cert, err);
    if (SSL_CTX_use_PrivateKey_file(tls->ctx, files->key, SSL_FILETYPE_PEM) != 1)
        return *asked ? has_passphrase("private key", files->key, err)
                      : bad_file("private key", files->key, err);
    if (SSL_CTX_check_private_key(tls->ctx) != 1) {
        pk_tls_forget();
        return pk_fail(err, PK_E_CONFIG_FILE,
                       "private key file \"%s\" is not the certificate's: key values mismatch",
                       files->key);
    }
    return true;
}

static bool load_pair(pk_tls *tls, const pk_tls_files *files, pk_error *err)
{
    bool asked = false;
    if (!is_set(files->cert) && !is_set(files->key))
        return true;
    if (!is_set(files->cert) || !is_set(files->key))
        return pk_fail(err, PK_E_PARAMETER, "a certificate needs its private key, and the reverse");
    if (!look_at(&tls->files[0], files->cert, "certificate", err) ||
        !look_at(&tls->files[1], files->key, "private key", err) || !check_private(files->key, err))
        return false;
    SSL_CTX_set_default_passwd_cb(tls->ctx, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(tls->ctx, &asked);
    const bool loaded = read_pair(tls, files, &asked, err);
    SSL_CTX_set_default_passwd_cb_userdata(tls->ctx, NULL);
    if (!loaded)
        return false;
    unsigned len = sizeof tls->digest;
    return X509_digest(SSL_CTX_get0_certificate(tls->ctx), EVP_sha256(), tls->digest, &len) == 1 ||
           bad_file("certificate", files->cert, err);
}

/* Not X509_STORE_load_locations: certificates in this file would become authorities. */
static bool load_revoked(pk_tls *tls, const pk_tls_files *files, pk_error *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(tls->ctx);
    if (!is_set(files->crl))
        return true;
    if (!look_at(&tls->files[3], files->crl, "certificate revocation list", err))
        return false;
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, files->crl, X509_FILETYPE_PEM) < 1)
        return bad_file("certificate revocation list", files->crl, err);
    pk_tls_forget();
    (void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return true;
}

static bool load_authorities(pk_tls *tls, const pk_tls_files *files, pk_error *err)
{
    if (!look_at(&tls->files[2], files->ca, "root certificate", err))
        return false;
    if (SSL_CTX_load_verify_locations(tls->ctx, files->ca, NULL) != 1)
        return bad_file("root certificate", files->ca, err);
    return load_revoked(tls, files, err);
}

/* Without authorities: nothing to be verified, and nothing that would be revoked. */
static bool need_none(const pk_tls *tls, const pk_tls_files *files, const char *whose,
                      pk_error *err)
{
    if (is_set(files->crl))
        return pk_fail(err, PK_E_PARAMETER,
                       "a certificate revocation list needs the authorities that it is of");
    return tls->mode < PK_SSL_VERIFY_CA ||
           pk_fail(err, PK_E_PARAMETER, "verifying %s needs authorities", whose);
}

/* ---- contexts ---- */

/* PostgreSQL 17's: who offers protocols must offer ours. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *len,
                           const unsigned char *offered, unsigned offered_len, void *unused)
{
    (void)ssl;
    (void)unused;
    for (unsigned at = 0; at < offered_len; at += 1u + offered[at]) {
        const pk_span name = pk_span_bytes(offered + at + 1, offered[at]);
        if (at + 1u + offered[at] <= offered_len && pk_span_equal(name, PK_SPAN(PK_TLS_PROTOCOL))) {
            *chosen = offered + at + 1;
            *len = offered[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool version_of(const char *name, int *version, pk_error *err)
{
    *version = TLS1_2_VERSION;
    if (!is_set(name) || strcmp(name, "TLSv1.2") == 0)
        return true;
    *version = TLS1_3_VERSION;
    return strcmp(name, "TLSv1.3") == 0 ||
           pk_fail(err, PK_E_PARAMETER, "invalid lowest version of TLS: \"%.20s\"", name);
}

static bool new_context(pk_tls *tls, const SSL_METHOD *method, const char *min_version,
                        pk_error *err)
{
    int version;
    if (!version_of(min_version, &version, err))
        return false;
    pk_tls_forget();
    tls->ctx = SSL_CTX_new(method);
    if (tls->ctx == NULL || SSL_CTX_set_cipher_list(tls->ctx, CIPHERS) != 1 ||
        SSL_CTX_set_min_proto_version(tls->ctx, version) != 1)
        return pk_tls_complain(err, PK_E_SYSTEM, "could not make a TLS context");
    (void)SSL_CTX_set_options(tls->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                            SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                            SSL_OP_CIPHER_SERVER_PREFERENCE |
                                            SSL_OP_CLEANSE_PLAINTEXT);
    (void)SSL_CTX_set_mode(tls->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(tls->ctx, 0);
    SSL_CTX_set_read_ahead(tls->ctx, 1);
    SSL_CTX_set_default_read_buffer_len(tls->ctx, READ_BUFFER);
    return true;
}

static pk_tls *tls_new(pk_sslmode mode)
{
    pk_tls *tls = pk_new(pk_tls);
    atomic_store(&tls->refs, 1);
    tls->mode = mode;
    return tls;
}

/* A certificate that is shown is verified whatever the mode, as by PostgreSQL. */
static bool ask_for_certificates(pk_tls *tls, const pk_tls_files *files, pk_error *err)
{
    if (!is_set(files->ca))
        return need_none(tls, files, "client certificates", err);
    if (!load_authorities(tls, files, err))
        return false;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(files->ca);
    if (names == NULL)
        return bad_file("root certificate", files->ca, err);
    SSL_CTX_set_client_CA_list(tls->ctx, names);
    const int demanded = tls->mode >= PK_SSL_VERIFY_CA ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER | demanded, NULL);
    return true;
}

pk_tls *pk_tls_for_clients(const pk_tls_files *files, pk_sslmode mode, const char *min_version,
                           pk_error *err)
{
    static const unsigned char id[] = "pgkeep";
    char groups[] = GROUPS; /* OpenSSL's macro casts const away */
    PK_AUTO_PTR(pk_tls_unref) pk_tls *tls = tls_new(mode);
    if (!new_context(tls, TLS_server_method(), min_version, err) || !load_pair(tls, files, err) ||
        !ask_for_certificates(tls, files, err))
        return NULL;
    if (SSL_CTX_set1_groups_list(tls->ctx, groups) != 1) {
        (void)pk_tls_complain(err, PK_E_SYSTEM, "could not set the groups of a TLS context");
        return NULL;
    }
    (void)SSL_CTX_set_session_id_context(tls->ctx, id, sizeof id - 1);
    SSL_CTX_set_alpn_select_cb(tls->ctx, choose_protocol, NULL);
    return pk_steal(&tls);
}

/* libpq 16: who trusts everybody's authorities must look at the name. */
static bool use_system(pk_tls *tls, const pk_tls_files *files, pk_error *err)
{
    if (tls->mode != PK_SSL_VERIFY_FULL)
        return pk_fail(err, PK_E_PARAMETER,
                       "weak sslmode may not be used with the system's authorities (use "
                       "\"verify-full\")");
    if (SSL_CTX_set_default_verify_paths(tls->ctx) != 1)
        return pk_tls_complain(err, PK_E_SYSTEM, "could not load the system's authorities");
    return load_revoked(tls, files, err);
}

/* libpq: authorities that are there are used, whatever the mode says. */
static bool verify_server(pk_tls *tls, const pk_tls_files *files, const char *host, pk_error *err)
{
    if (!is_set(files->ca))
        return need_none(tls, files, "the server's certificate", err);
    if (tls->mode == PK_SSL_VERIFY_FULL && !is_set(host))
        return pk_fail(err, PK_E_PARAMETER,
                       "host name must be specified for a verified SSL connection");
    if (tls->mode == PK_SSL_VERIFY_FULL)
        tls->host = pk_strdup(host);
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    return strcmp(files->ca, "system") == 0 ? use_system(tls, files, err)
                                            : load_authorities(tls, files, err);
}

pk_tls *pk_tls_for_server(const pk_tls_files *files, pk_sslmode mode, const char *min_version,
                          const char *host, bool direct, pk_error *err)
{
    static const unsigned char protocols[] = "\x0a" PK_TLS_PROTOCOL;
    PK_AUTO_PTR(pk_tls_unref) pk_tls *tls = tls_new(mode);
    tls->direct = direct;
    if (is_set(host) && !pk_tls_is_address(host))
        tls->server_name = pk_strdup(host);
    if (!new_context(tls, TLS_client_method(), min_version, err) || !load_pair(tls, files, err) ||
        !verify_server(tls, files, host, err))
        return NULL;
    if (SSL_CTX_set_alpn_protos(tls->ctx, protocols, sizeof protocols - 1) != 0) {
        (void)pk_tls_complain(err, PK_E_SYSTEM, "could not offer the protocol");
        return NULL;
    }
    return pk_steal(&tls);
}

pk_tls *pk_tls_ref(pk_tls *tls)
{
    atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void pk_tls_unref(pk_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->refs, 1) > 1)
        return;
    SSL_CTX_free(tls->ctx);
    for (size_t i = 0; i < PK_TLS_FILES; i++)
        pk_free(tls->files[i].path);
    pk_free(tls->server_name);
    pk_free(tls->host);
    pk_free(tls);
}

pk_sslmode pk_tls_mode(const pk_tls *tls)
{
    return tls->mode;
}

bool pk_tls_is_direct(const pk_tls *tls)
{
    return tls->direct;
}

void pk_tls_digest(const pk_tls *tls, uint8_t digest[static 32])
{
    memcpy(digest, tls->digest, sizeof tls->digest);
}

static bool is_as_it_was(const pk_tls_file *file)
{
    struct stat now;
    return file->path == NULL || (stat(file->path, &now) == 0 && now.st_dev == file->device &&
                                  now.st_ino == file->inode && now.st_size == file->size &&
                                  now.st_mtim.tv_sec == file->changed.tv_sec &&
                                  now.st_mtim.tv_nsec == file->changed.tv_nsec);
}

void pk_tls_leave_thread(void)
{
    OPENSSL_thread_stop();
}

bool pk_tls_files_changed(const pk_tls *tls)
{
    for (size_t i = 0; i < PK_TLS_FILES; i++)
        if (!is_as_it_was(&tls->files[i]))
            return true;
    return false;
}
