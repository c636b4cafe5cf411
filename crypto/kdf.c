/*
 * Password derivation by OpenSSL's EVP_KDF, with every parameter given: its defaults (scrypt's
 * memory cap for one) are not ours. Two sets of numbers rule costs: what this build writes with,
 * and the limits within which foreign parameters are believed (keys-and-security 7.5, 8.2). They
 * are far apart on purpose: old and other files must open, hostile ones must not keep us busy.
 */
#include "crypto/kdf.h"
#include "crypto/kdf_pool.h"

#include "base/encode.h"
#include "base/json.h"
#include "crypto/fault.h"
#include "crypto/kdf_pool.h"
#include "crypto/random.h"
#include "crypto/secret_bytes.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

/* What is written, and the floor below which nothing is written. */
#ifdef PK_TEST_KDF
#define SCRYPT_N            ((uint64_t)1 << 10)
#define PBKDF2_ROUNDS       10000u
#define PBKDF2_FLOOR        10000u
#define PBKDF2_SHA256_FLOOR 10000u
#else
#define SCRYPT_N            ((uint64_t)1 << 15)
#define PBKDF2_ROUNDS       1000000u
#define PBKDF2_FLOOR        210000u
#define PBKDF2_SHA256_FLOOR 600000u /* SHA-256 is that much cheaper to attack */
#endif
#define SCRYPT_R 8u
#define SCRYPT_P 3u
#define SALT_LEN 32u

/* What is read. */
#define SCRYPT_MEMORY_MAX ((uint64_t)64 << 20)
#define SCRYPT_N_MIN      ((uint64_t)1 << 10)
#define SCRYPT_WORK_MAX   ((uint64_t)1 << 24) /* n * r * p: about ten seconds */

PK_DEFINE_AUTO_PTR(EVP_KDF_free, EVP_KDF *)
PK_DEFINE_AUTO_PTR(EVP_KDF_CTX_free, EVP_KDF_CTX *)

static const char *const alg_names[] = {
    [PK_KDF_SCRYPT] = "scrypt",
    [PK_KDF_PBKDF2_SHA512] = "pbkdf2-sha512",
    [PK_KDF_PBKDF2_SHA256] = "pbkdf2-sha256",
};

bool pk_kdf_params_new(pk_kdf_alg alg, pk_kdf_params *params, pk_error *err)
{
    *params = (pk_kdf_params){.alg = alg, .salt_len = SALT_LEN};
    if (alg == PK_KDF_SCRYPT) {
        params->n = SCRYPT_N;
        params->r = SCRYPT_R;
        params->p = SCRYPT_P;
    } else {
        params->iterations = PBKDF2_ROUNDS;
    }
    return pk_random(params->salt, SALT_LEN, err);
}

bool pk_kdf_floor_ok(const pk_kdf_params *params)
{
    static const uint32_t rounds[] = {
        [PK_KDF_PBKDF2_SHA512] = PBKDF2_FLOOR,
        [PK_KDF_PBKDF2_SHA256] = PBKDF2_SHA256_FLOOR,
    };
    if (params->salt_len < SALT_LEN)
        return false;
    if (params->alg == PK_KDF_SCRYPT)
        return params->n >= SCRYPT_N && params->r >= SCRYPT_R && params->p >= SCRYPT_P;
    return params->iterations >= rounds[params->alg];
}

/* Bounds before products, so that none overflows. */
static bool scrypt_limits_ok(const pk_kdf_params *params)
{
    bool power_of_two = params->n != 0 && (params->n & (params->n - 1)) == 0;
    if (!power_of_two || params->n < SCRYPT_N_MIN || params->n > SCRYPT_MEMORY_MAX)
        return false;
    if (params->r < 1 || params->r > 32 || params->p < 1 || params->p > 16)
        return false;
    return 128 * params->n * params->r <= SCRYPT_MEMORY_MAX &&
           params->n * params->r * params->p <= SCRYPT_WORK_MAX;
}

bool pk_kdf_limits_ok(const pk_kdf_params *params)
{
    if (params->salt_len < 16 || params->salt_len > sizeof params->salt)
        return false;
    if (params->alg == PK_KDF_SCRYPT)
        return scrypt_limits_ok(params);
    return params->iterations >= PK_KDF_ROUNDS_MIN && params->iterations <= PK_KDF_ROUNDS_MAX;
}

bool pk_kdf_params_write(const pk_kdf_params *params, pk_buf *out, pk_error *err)
{
    if (!pk_kdf_floor_ok(params))
        return pk_fail(err, PK_E_INTERNAL, "key derivation is too cheap to be written");
    bool head = params->alg == PK_KDF_SCRYPT
                    ? pk_buf_printf(out, err, "{\"alg\":\"scrypt\",\"n\":%llu,\"r\":%u,\"p\":%u",
                                    (unsigned long long)params->n, params->r, params->p)
                    : pk_buf_printf(out, err, "{\"alg\":\"%s\",\"iterations\":%u",
                                    alg_names[params->alg], params->iterations);
    return head && pk_buf_append_text(out, ",\"salt\":\"", err) &&
           pk_base64(pk_span_bytes(params->salt, params->salt_len), out, err) &&
           pk_buf_append_text(out, "\"}", err);
}

static bool read_salt(const char *text, pk_kdf_params *params, pk_error *fault)
{
    PK_AUTO(pk_buf_clear) pk_buf salt = PK_BUF_MAX(256);
    pk_span bytes;
    if (!pk_unbase64(pk_span_of(text), &salt, fault))
        return false;
    bytes = pk_buf_span(&salt);
    if (bytes.len > sizeof params->salt)
        return false;
    memcpy(params->salt, bytes.ptr, bytes.len);
    params->salt_len = bytes.len;
    return true;
}

static bool to_u32(json_int_t value, uint32_t *out)
{
    if (value < 0 || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

/* Exactly the members that we write, none else. `fault` may say more. */
static bool read_members(json_t *json, pk_kdf_params *params, pk_error *fault)
{
    const char *alg = NULL;
    const char *salt = NULL;
    json_int_t n = 0;
    json_int_t r = 0;
    json_int_t p = 0;
    json_int_t rounds = 0;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:I, s:I, s:s}", "alg", &alg, "n", &n,
                       "r", &r, "p", &p, "salt", &salt) == 0) {
        params->alg = PK_KDF_SCRYPT;
        params->n = n < 0 ? 0 : (uint64_t)n;
        return strcmp(alg, alg_names[PK_KDF_SCRYPT]) == 0 && to_u32(r, &params->r) &&
               to_u32(p, &params->p) && read_salt(salt, params, fault);
    }
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:s}", "alg", &alg, "iterations",
                       &rounds, "salt", &salt) != 0)
        return false;
    bool sha512 = strcmp(alg, alg_names[PK_KDF_PBKDF2_SHA512]) == 0;
    params->alg = sha512 ? PK_KDF_PBKDF2_SHA512 : PK_KDF_PBKDF2_SHA256;
    return (sha512 || strcmp(alg, alg_names[PK_KDF_PBKDF2_SHA256]) == 0) &&
           to_u32(rounds, &params->iterations) && read_salt(salt, params, fault);
}

bool pk_kdf_params_read(pk_span json, pk_kdf_params *params, pk_error *err)
{
    *params = (pk_kdf_params){0};
    PK_AUTO(pk_json_unref) json_t *root = pk_json_parse(json, err);
    if (root == NULL)
        return false;
    pk_error fault = {0};
    if (read_members(root, params, &fault) && pk_kdf_limits_ok(params))
        return true;
    if (pk_error_is(&fault, PK_E_MEMORY)) { /* they may be sound */
        *err = fault;
        return false;
    }
    return !pk_json_starved(err) &&
           pk_fail(err, PK_E_CORRUPT, "parameters of a key derivation are damaged");
}

static pk_secret *derive(const char *kdf_name, const OSSL_PARAM *params, pk_error *err)
{
    uint8_t *out = NULL;
    PK_AUTO_PTR(pk_secret_free) pk_secret *key = pk_secret_blank(PK_KEY_LEN, &out, err);
    if (key == NULL)
        return NULL;
    PK_AUTO_PTR(EVP_KDF_free) EVP_KDF *kdf = EVP_KDF_fetch(NULL, kdf_name, NULL);
    PK_AUTO_PTR(EVP_KDF_CTX_free) EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    if (ctx == NULL || EVP_KDF_derive(ctx, out, PK_KEY_LEN, params) != 1) {
        pk_crypto_fail(err, kdf_name);
        return NULL;
    }
    return pk_steal(&key);
}

/* OSSL_PARAM has no const: OpenSSL only reads what these point to. */
static OSSL_PARAM octets(const char *name, const void *bytes, size_t len)
{
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes, len);
}

static OSSL_PARAM text(const char *name, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)value, 0);
}

/* What scrypt needs and a little more. OpenSSL's own default is about what our cost needs, and
 * fails at it; no cap at all would let a parameter take all memory. */
static bool scrypt_memory(const pk_kdf_params *params, uint64_t *cap)
{
    uint64_t blocks = 0;
    return !__builtin_add_overflow(params->n, params->p, &blocks) &&
           !__builtin_mul_overflow(blocks, (uint64_t)128 * params->r, cap) &&
           !__builtin_add_overflow(*cap, (uint64_t)1 << 20, cap);
}

static pk_secret *derive_scrypt(const pk_secret *password, const pk_kdf_params *params,
                                pk_error *err)
{
    uint64_t n = params->n;
    uint64_t cap = 0;
    uint32_t r = params->r;
    uint32_t p = params->p;
    if (!scrypt_memory(params, &cap)) {
        pk_fail(err, PK_E_CORRUPT, "parameters of a key derivation are damaged");
        return NULL;
    }
    const OSSL_PARAM list[] = {
        octets(OSSL_KDF_PARAM_PASSWORD, pk_secret_bytes(password), pk_secret_len(password)),
        octets(OSSL_KDF_PARAM_SALT, params->salt, params->salt_len),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &cap),
        OSSL_PARAM_construct_end(),
    };
    return derive("SCRYPT", list, err);
}

static pk_secret *derive_pbkdf2(const pk_secret *password, const pk_kdf_params *params,
                                pk_error *err)
{
    uint64_t rounds = params->iterations;
    const OSSL_PARAM list[] = {
        text(OSSL_KDF_PARAM_DIGEST, params->alg == PK_KDF_PBKDF2_SHA512 ? "SHA512" : "SHA256"),
        octets(OSSL_KDF_PARAM_PASSWORD, pk_secret_bytes(password), pk_secret_len(password)),
        octets(OSSL_KDF_PARAM_SALT, params->salt, params->salt_len),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_ITER, &rounds),
        OSSL_PARAM_construct_end(),
    };
    return derive("PBKDF2", list, err);
}

/* One derivation, on its way through the pool. */
typedef struct derivation {
    const pk_secret *password;
    const pk_kdf_params *params;
    pk_secret *key;
    pk_error err;
} derivation;

static void run_derivation(void *arg)
{
    derivation *d = arg;
    d->key = d->params->alg == PK_KDF_SCRYPT ? derive_scrypt(d->password, d->params, &d->err)
                                             : derive_pbkdf2(d->password, d->params, &d->err);
}

pk_secret *pk_kdf_password(const pk_secret *password, const pk_kdf_params *params, pk_error *err)
{
    derivation d = {.password = password, .params = params};
    if (!pk_kdf_limits_ok(params)) {
        pk_fail(err, PK_E_CORRUPT, "parameters of a key derivation are damaged");
        return NULL;
    }
    if (!pk_kdf_pool_run(run_derivation, &d, err))
        return NULL;
    if (d.key == NULL && err != NULL)
        *err = d.err;
    return d.key;
}

pk_secret *pk_hkdf(const pk_secret *key, const char *label, pk_span context, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf info = PK_BUF_MAX((size_t)16384);
    if (!pk_buf_append_text(&info, label, err) ||
        (context.len > 0 &&
         (!pk_buf_append(&info, "", 1, err) || !pk_buf_append_span(&info, context, err))))
        return NULL;
    pk_span whole = pk_buf_span(&info);
    const OSSL_PARAM list[] = {
        text(OSSL_KDF_PARAM_DIGEST, "SHA256"),
        octets(OSSL_KDF_PARAM_KEY, pk_secret_bytes(key), pk_secret_len(key)),
        octets(OSSL_KDF_PARAM_INFO, whole.ptr, whole.len),
        OSSL_PARAM_construct_end(),
    };
    return derive("HKDF", list, err);
}
