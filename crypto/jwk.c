/*
 * The payload: line 1 a JWK Set in compact JSON, line 2 an Ed25519 signature over line 1. Reading
 * is as strict as writing: json_unpack with JSON_STRICT wants every member that we write and no
 * other, and texts of which there is one right form (kid, times, fingerprints) are made anew and
 * compared.
 *
 * Key bytes pass through jansson as base64url text; its allocator wipes (base/json.h), and the
 * buffers between are marked secret.
 */
#include "crypto/jwk.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"
#include "crypto/secret_bytes.h"

#include <stdio.h>
#include <time.h>

#define FORMAT 1
#define ARENA_MAX                                                                                  \
    ((size_t)16 << 20) /* strings of a 4 MiB payload, and the array while it grows                 \
                        */
#define KID_TEXT     48u
#define SMALLEST_SET 16u
#define US           1000000
#define SIGNATURE    "#pgkeep-sig 1 ed25519 "

static const char *const kinds[] = {"smk", "dmk", "named", "secret", NULL};
static const char *const scopes[] = {"service", "db", NULL};
static const char *const origins[] = {"generated", "restored", "imported", NULL};
static const char *const states[] = {"current",     "retired",         "disabled", "compromised",
                                     "quarantined", "pending_destroy", NULL};

static bool one_of(const char *text, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(text, *list) == 0)
            return true;
    return false;
}

void pk_keyset_init(pk_keyset *set)
{
    *set = (pk_keyset){.arena = PK_ARENA_MAX(ARENA_MAX)};
}

void pk_keyset_clear(pk_keyset *set)
{
    for (size_t i = 0; i < set->count; i++)
        pk_secret_free(set->keys[i].key);
    pk_arena_clear(&set->arena);
    pk_keyset_init(set);
}

/* The array doubles in the arena whenever its count is a power of two, so no capacity is kept. */
pk_keyset_key *pk_keyset_add(pk_keyset *set, pk_error *err)
{
    size_t count = set->count;
    if (count == PK_KEYSET_MAX) {
        pk_fail(err, PK_E_TOO_LONG, "more than %u keys in one key file", PK_KEYSET_MAX);
        return NULL;
    }
    if (count == 0 || (count >= SMALLEST_SET && (count & (count - 1)) == 0)) {
        size_t room = count == 0 ? SMALLEST_SET : 2 * count;
        pk_keyset_key *keys = pk_arena_array(&set->arena, room, sizeof *keys, err);
        if (keys == NULL)
            return NULL;
        if (count > 0)
            memcpy(keys, set->keys, count * sizeof *keys);
        set->keys = keys;
    }
    return &set->keys[set->count++];
}

static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static void kid_text(const pk_keyset_key *key, char out[static KID_TEXT])
{
    char uuid[37];
    pk_uuid_text(key->uuid, uuid);
    (void)snprintf(out, KID_TEXT, "%s:%u", uuid, key->ver);
}

/* --- writing --- */

static bool check_key(const pk_keyset_key *key, pk_error *err)
{
    uint8_t fp[PK_FP_LEN];
    if (key->key == NULL || pk_secret_len(key->key) != PK_KEY_LEN)
        return pk_fail(err, PK_E_INTERNAL, "a key in a key file must have 32 bytes");
    if (!pk_fingerprint(key->key, fp, err))
        return false;
    if (memcmp(fp, key->fp, sizeof fp) != 0) /* not secret */
        return pk_fail(err, PK_E_CORRUPT, "key \"%s\" version %u does not match its fingerprint",
                       or_empty(key->name), key->ver);
    return true;
}

static bool check_text(const char *text, pk_error *err)
{
    PK_AUTO(pk_json_unref) json_t *string = json_string(or_empty(text));
    if (string == NULL)
        return !pk_json_starved(err) &&
               pk_fail(err, PK_E_PARAMETER, "a name for a key file is not valid UTF-8");
    return true;
}

static bool check_set(const pk_keyset *set, pk_error *err)
{
    if (set->count == 0 || set->count > PK_KEYSET_MAX)
        return pk_fail(err, PK_E_INTERNAL, "a key file needs 1 to %u keys", PK_KEYSET_MAX);
    if (!check_text(set->created_by, err) || !check_text(set->server_version, err) ||
        !check_text(set->system_identifier, err))
        return false;
    for (size_t i = 0; i < set->count; i++)
        if (!check_key(&set->keys[i], err) || !check_text(set->keys[i].db, err) ||
            !check_text(set->keys[i].name, err))
            return false;
    return true;
}

static bool no_json_memory(pk_error *err)
{
    return pk_fail(err, PK_E_MEMORY, "could not build the payload of a key file");
}

/* A new JSON string that holds the key; NULL with the error set. */
static json_t *key_text(const pk_secret *key, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_SECRET((size_t)PK_SECRET_MAX * 2);
    if (!pk_base64url(pk_span_bytes(pk_secret_bytes(key), pk_secret_len(key)), &text, err))
        return NULL;
    pk_span span = pk_buf_span(&text);
    json_t *string = json_stringn(span.ptr, span.len);
    if (string == NULL)
        no_json_memory(err);
    return string;
}

static bool add_key(const pk_keyset_key *key, json_t *array, pk_error *err)
{
    char kid[KID_TEXT];
    char fp[PK_FP_TEXT];
    char created_at[21];
    kid_text(key, kid);
    pk_fingerprint_text(key->fp, fp);
    pk_time_iso(key->created_at, created_at);

    json_t *k = key_text(key->key, err);
    if (k == NULL)
        return false;
    json_t *member = json_pack(
        "{s:s, s:o, s:s, s:s, s:[ss], s:{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:b, s:s, s:s}}",
        "kty", "oct", "k", k, "alg", "A256GCM", "kid", kid, "key_ops", "wrapKey", "unwrapKey",
        "pgkeep", "kind", or_empty(key->kind), "scope", or_empty(key->scope), "db",
        or_empty(key->db), "name", or_empty(key->name), "ver", (json_int_t)key->ver, "state",
        or_empty(key->state), "fp", fp, "purpose", or_empty(key->purpose), "exportable",
        (int)key->exportable, "created_at", created_at, "origin", or_empty(key->origin));
    if (member == NULL || json_array_append_new(array, member) != 0)
        return no_json_memory(err);
    return true;
}

static bool add_keys(const pk_keyset *set, json_t *array, pk_error *err)
{
    for (size_t i = 0; i < set->count; i++)
        if (!add_key(&set->keys[i], array, err))
            return false;
    return true;
}

static json_t *texts(const char *const *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < count; i++)
        if (json_array_append_new(array, json_string(list[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* The "pgkeep" member of the set: takes `recipients`. */
static json_t *describe(const pk_keyset *set, json_t *recipients, const char *identity)
{
    char store[37];
    char created_at[21];
    pk_uuid_text(set->store_uuid, store);
    pk_time_iso(set->created_at, created_at);
    return json_pack("{s:i, s:s, s:s, s:I, s:s, s:s, s:s, s:{s:s, s:s}, s:b, s:I, s:o, s:[], s:s}",
                     "format", FORMAT, "type", or_empty(set->type), "store", store, "store_epoch",
                     (json_int_t)set->store_epoch, "audit_head", or_empty(set->audit_head),
                     "created_at", created_at, "created_by", or_empty(set->created_by), "server",
                     "version", or_empty(set->server_version), "system_identifier",
                     or_empty(set->system_identifier), "complete", 1, "count",
                     (json_int_t)set->count, "recipients", recipients, "known_backups", "identity",
                     identity);
}

static bool write_set(const pk_keyset *set, json_t *recipients, const pk_identity *signer,
                      pk_buf *out, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf identity = PK_BUF_MAX(64);
    PK_AUTO(pk_json_unref) json_t *list = recipients;
    PK_AUTO(pk_json_unref) json_t *root = json_object();
    PK_AUTO(pk_json_unref) json_t *keys = json_array();

    if (!pk_base64url(pk_span_bytes(signer->public_key, PK_IDENTITY_PUBLIC), &identity, err) ||
        !pk_buf_append(&identity, "", 1, err))
        return false;
    if (list == NULL || keys == NULL || root == NULL)
        return no_json_memory(err);
    if (!add_keys(set, keys, err))
        return false;
    if (json_object_set_new(root, "keys", pk_steal(&keys)) != 0 ||
        json_object_set_new(root, "pgkeep",
                            describe(set, pk_steal(&list), pk_buf_span(&identity).ptr)) != 0)
        return no_json_memory(err);
    return pk_json_write(root, out, err);
}

static bool write_signature(const pk_identity *signer, pk_span line, pk_buf *out, pk_error *err)
{
    uint8_t signature[PK_IDENTITY_SIGNATURE];
    uint8_t fp[PK_FP_LEN];
    char text[PK_FP_TEXT];
    if (!pk_identity_sign(signer, line, signature, err) ||
        !pk_identity_fingerprint(signer->public_key, fp, err))
        return false;
    pk_identity_fingerprint_text(fp, text);
    return pk_buf_printf(out, err, "\n" SIGNATURE "%s ", text) &&
           pk_base64(pk_span_bytes(signature, sizeof signature), out, err) &&
           pk_buf_append_text(out, "\n", err);
}

bool pk_keyset_write(const pk_keyset *set, const char *const *recipients, size_t recipient_count,
                     const pk_identity *signer, pk_buf *out, pk_error *err)
{
    size_t before = pk_buf_span(out).len;
    if (!check_set(set, err) ||
        !write_set(set, texts(recipients, recipient_count), signer, out, err))
        return false;
    pk_span all = pk_buf_span(out);
    return write_signature(signer, (pk_span){all.ptr + before, all.len - before}, out, err);
}

/* --- reading --- */

static bool damaged(pk_error *err, const char *what)
{
    if (pk_json_starved(err))
        return false; /* the file may be sound */
    pk_fail(err, PK_E_CORRUPT, "the payload of the key file is not valid");
    return pk_error_detail(err, "%s", what);
}

static int digits(const char *at, size_t count)
{
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

/* "2026-03-01T02:03:04Z" and nothing else: what was read is written again and compared. */
static bool parse_time(const char *text, int64_t *wall_us)
{
    char again[21];
    if (strlen(text) != sizeof again - 1)
        return false;
    struct tm tm = {.tm_year = digits(text, 4) - 1900,
                    .tm_mon = digits(text + 5, 2) - 1,
                    .tm_mday = digits(text + 8, 2),
                    .tm_hour = digits(text + 11, 2),
                    .tm_min = digits(text + 14, 2),
                    .tm_sec = digits(text + 17, 2)};
    if (tm.tm_year < -1900)
        return false;
    *wall_us = (int64_t)timegm(&tm) * US;
    pk_time_iso(*wall_us, again);
    return strcmp(text, again) == 0;
}

/* After decoding base64: `what` is wrong with the file, unless it is memory that was lacking. */
static bool bad_base64(const pk_error *fault, const char *what, pk_error *err)
{
    if (pk_error_is(fault, PK_E_MEMORY))
        return pk_fail(err, PK_E_MEMORY, "%s", fault->message);
    return damaged(err, what);
}

/* Exactly `len` bytes of base64url; `what` is wrong else. */
static bool unbase64url(const char *text, uint8_t *bytes, size_t len, const char *what,
                        pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf buf = PK_BUF_SECRET(256);
    pk_span span = pk_span_of(text);
    pk_error fault = {0};
    if (span.len > 256 || !pk_unbase64url(span, &buf, &fault) || pk_buf_span(&buf).len != len)
        return bad_base64(&fault, what, err);
    memcpy(bytes, pk_buf_span(&buf).ptr, len);
    return true;
}

/* The strings of one key as jansson has them; they die with the JSON. */
typedef struct key_words {
    const char *kty, *k, *alg, *kid, *op1, *op2;
    const char *kind, *scope, *db, *name, *state, *fp, *purpose, *created_at, *origin;
    json_int_t ver;
    int exportable;
} key_words;

static bool unpack_key(json_t *json, key_words *w)
{
    return json_unpack_ex(
               json, NULL, JSON_STRICT,
               "{s:s, s:s, s:s, s:s, s:[s, s], s:{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s,"
               " s:b, s:s, s:s}}",
               "kty", &w->kty, "k", &w->k, "alg", &w->alg, "kid", &w->kid, "key_ops", &w->op1,
               &w->op2, "pgkeep", "kind", &w->kind, "scope", &w->scope, "db", &w->db, "name",
               &w->name, "ver", &w->ver, "state", &w->state, "fp", &w->fp, "purpose", &w->purpose,
               "exportable", &w->exportable, "created_at", &w->created_at, "origin",
               &w->origin) == 0 &&
           strcmp(w->kty, "oct") == 0 && strcmp(w->alg, "A256GCM") == 0 &&
           strcmp(w->op1, "wrapKey") == 0 && strcmp(w->op2, "unwrapKey") == 0 &&
           one_of(w->kind, kinds) && one_of(w->scope, scopes) && one_of(w->state, states) &&
           one_of(w->origin, origins) && w->ver >= 1 && w->ver <= UINT32_MAX;
}

static bool copy_words(pk_keyset *set, const key_words *w, pk_keyset_key *key, pk_error *err)
{
    pk_arena *arena = &set->arena;
    key->ver = (uint32_t)w->ver;
    key->exportable = w->exportable != 0;
    key->kind = pk_arena_strdup(arena, w->kind, err);
    key->scope = pk_arena_strdup(arena, w->scope, err);
    key->db = pk_arena_strdup(arena, w->db, err);
    key->name = pk_arena_strdup(arena, w->name, err);
    key->state = pk_arena_strdup(arena, w->state, err);
    key->purpose = pk_arena_strdup(arena, w->purpose, err);
    key->origin = pk_arena_strdup(arena, w->origin, err);
    return key->kind != NULL && key->scope != NULL && key->db != NULL && key->name != NULL &&
           key->state != NULL && key->purpose != NULL && key->origin != NULL;
}

static bool read_kid(const char *kid, pk_keyset_key *key)
{
    char again[KID_TEXT];
    if (strlen(kid) < 36 || !pk_uuid_parse((pk_span){kid, 36}, key->uuid))
        return false;
    kid_text(key, again);
    return strcmp(kid, again) == 0;
}

/* Decoded in the secure heap's block itself; the fingerprint says whether it is the right key. */
static bool read_key_bytes(const key_words *w, pk_keyset_key *key, pk_error *err)
{
    uint8_t *bytes = NULL;
    char fp[PK_FP_TEXT];
    key->key = pk_secret_blank(PK_KEY_LEN, &bytes, err);
    if (key->key == NULL)
        return false;
    if (!unbase64url(w->k, bytes, PK_KEY_LEN, "A key does not have 256 bits.", err))
        return false;
    if (!pk_fingerprint(key->key, key->fp, err))
        return false;
    pk_fingerprint_text(key->fp, fp);
    return strcmp(fp, w->fp) == 0 || damaged(err, "A key does not match its fingerprint.");
}

static bool is_twice(const pk_keyset *set, const pk_keyset_key *key)
{
    for (const pk_keyset_key *other = set->keys; other < key; other++)
        if (other->ver == key->ver &&
            memcmp(other->uuid, key->uuid, sizeof key->uuid) == 0) /* not secret */
            return true;
    return false;
}

static bool read_key(json_t *json, pk_keyset *set, pk_error *err)
{
    key_words words = {0};
    if (!unpack_key(json, &words))
        return damaged(err, "A key has missing, unknown or wrong members.");
    pk_keyset_key *key = pk_keyset_add(set, err);
    if (key == NULL || !copy_words(set, &words, key, err))
        return false;
    if (!read_kid(words.kid, key) || !parse_time(words.created_at, &key->created_at))
        return damaged(err, "A key has a wrong identifier or time.");
    if (is_twice(set, key))
        return damaged(err, "A key version occurs twice.");
    return read_key_bytes(&words, key, err);
}

static bool read_keys(json_t *keys, json_int_t count, pk_keyset *set, pk_error *err)
{
    size_t size = json_array_size(keys); /* 0 for what is no array */
    if (size == 0 || size > PK_KEYSET_MAX || (json_int_t)size != count)
        return damaged(err, "The number of keys is not what the file says.");
    for (size_t i = 0; i < size; i++)
        if (!read_key(json_array_get(keys, i), set, err))
            return false;
    return true;
}

static bool is_hex(const char *text)
{
    return text[strspn(text, "0123456789abcdef")] == '\0';
}

static bool copy_description(pk_keyset *set, const char *const words[static 5], pk_error *err)
{
    const char **const to[5] = {&set->type, &set->audit_head, &set->created_by,
                                &set->server_version, &set->system_identifier};
    for (size_t i = 0; i < 5; i++) {
        *to[i] = pk_arena_strdup(&set->arena, words[i], err);
        if (*to[i] == NULL)
            return false;
    }
    return true;
}

static bool copy_recipients(json_t *list, pk_keyset *set, pk_error *err)
{
    size_t count = json_array_size(list);
    if (count == 0)
        return true;
    set->recipients = pk_arena_array(&set->arena, count, sizeof *set->recipients, err);
    if (set->recipients == NULL)
        return false;
    for (; set->recipient_count < count; set->recipient_count++) {
        const char *text = json_string_value(json_array_get(list, set->recipient_count));
        if (text == NULL)
            return damaged(err, "It has a member with a wrong value.");
        text = pk_arena_strdup(&set->arena, text, err);
        if (text == NULL)
            return false;
        set->recipients[set->recipient_count] = text;
    }
    return true;
}

static bool read_set(json_t *root, pk_keyset *set, pk_error *err)
{
    json_t *keys = NULL;
    json_t *recipients = NULL;
    json_t *backups = NULL;
    const char *store = NULL;
    const char *created_at = NULL;
    const char *identity = NULL;
    const char *words[5] = {NULL};
    json_int_t format = 0;
    json_int_t epoch = 0;
    json_int_t count = 0;
    int complete = 0;
    if (json_unpack_ex(root, NULL, 0, "{s:{s:I}}", "pgkeep", "format", &format) != 0 ||
        format != FORMAT)
        return damaged(err, "Its format is unknown to this version of pgkeep.");
    if (json_unpack_ex(root, NULL, JSON_STRICT,
                       "{s:o, s:{s:I, s:s, s:s, s:I, s:s, s:s, s:s, s:{s:s, s:s}, s:b, s:I, s:o,"
                       " s:o, s:s}}",
                       "keys", &keys, "pgkeep", "format", &format, "type", &words[0], "store",
                       &store, "store_epoch", &epoch, "audit_head", &words[1], "created_at",
                       &created_at, "created_by", &words[2], "server", "version", &words[3],
                       "system_identifier", &words[4], "complete", &complete, "count", &count,
                       "recipients", &recipients, "known_backups", &backups, "identity",
                       &identity) != 0)
        return damaged(err, "It has missing, unknown or wrong members.");
    if (!pk_uuid_parse(pk_span_of(store), set->store_uuid) ||
        !parse_time(created_at, &set->created_at) || !is_hex(words[1]) || epoch < 0 || !complete ||
        !json_is_array(recipients) || !json_is_array(backups))
        return damaged(err, "It has a member with a wrong value.");
    if (!unbase64url(identity, set->signer, sizeof set->signer,
                     "It has a member with a wrong value.", err))
        return false;
    set->store_epoch = epoch;
    return copy_description(set, words, err) && copy_recipients(recipients, set, err) &&
           read_keys(keys, count, set, err);
}

/* Line 2, without its newline. */
static bool signature_right(pk_span line, pk_span signed_line, const uint8_t *public_key,
                            pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf signature = PK_BUF_MAX(128);
    uint8_t fp[PK_FP_LEN];
    char text[PK_FP_TEXT + 1];
    pk_error fault = {0};
    if (!pk_identity_fingerprint(public_key, fp, err))
        return false;
    pk_identity_fingerprint_text(fp, text);
    text[PK_FP_TEXT - 1] = ' ';
    text[PK_FP_TEXT] = '\0';

    size_t head = sizeof SIGNATURE - 1;
    pk_span after = {line.ptr + head, line.len > head ? line.len - head : 0};
    pk_span code = {after.ptr + PK_FP_TEXT, after.len > PK_FP_TEXT ? after.len - PK_FP_TEXT : 0};
    if (!pk_span_starts_with(line, PK_SPAN(SIGNATURE)) ||
        !pk_span_starts_with(after, pk_span_of(text)) || code.len > 128 ||
        !pk_unbase64(code, &signature, &fault) ||
        pk_buf_span(&signature).len != PK_IDENTITY_SIGNATURE)
        return bad_base64(&fault, "Its signature line is malformed.", err);
    if (!pk_identity_verify(public_key, signed_line, (const uint8_t *)pk_buf_span(&signature).ptr))
        return damaged(err, "Its signature is wrong.");
    return true;
}

static bool read_payload(pk_span payload, pk_keyset *set, pk_error *err)
{
    const char *newline = payload.len == 0 ? NULL : memchr(payload.ptr, '\n', payload.len);
    if (newline == NULL || payload.ptr[payload.len - 1] != '\n' ||
        newline == payload.ptr + payload.len - 1)
        return damaged(err, "It does not consist of two lines.");
    pk_span first = {payload.ptr, (size_t)(newline - payload.ptr)};
    pk_span second = {newline + 1, payload.len - first.len - 2};

    PK_AUTO(pk_json_unref) json_t *root = pk_json_parse(first, err);
    return root != NULL && read_set(root, set, err) &&
           signature_right(second, first, set->signer, err);
}

bool pk_keyset_read(pk_span payload, pk_keyset *set, pk_error *err)
{
    pk_keyset_init(set);
    if (read_payload(payload, set, err))
        return true;
    pk_keyset_clear(set);
    return false;
}
