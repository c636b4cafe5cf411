/*
 * The text before the PEM block. It must help somebody who has this file, the password or key, and
 * no pgkeep: so it says what the file is and spells the commands (keys-and-security 7.4; the tests
 * run them). It is not protected: the same facts are inside, signed.
 *
 * Names come from users. Whatever is not printable ASCII becomes '?', long ones are cut, and no
 * name can contain five dashes, so no text can look like the beginning of a block.
 */
#include "base/clock.h"
#include "base/encode.h"
#include "crypto/keyfile_parts.h"

#define NAME_MAX_SHOWN 128u
#define KEYS_MAX_SHOWN 64u
#define DASHES_MAX     4u

/* A user's text, made harmless. */
static bool put_name(pk_buf *out, const char *text, pk_error *err)
{
    unsigned dashes = 0;
    for (size_t i = 0; text != NULL && text[i] != '\0'; i++) {
        char c = text[i];
        if (i == NAME_MAX_SHOWN)
            return pk_buf_append_text(out, "...", err);
        if (c < 0x20 || c > 0x7e)
            c = '?';
        dashes = c == '-' ? dashes + 1 : 0;
        if (dashes > DASHES_MAX)
            c = '?';
        if (!pk_buf_append(out, &c, 1, err))
            return false;
    }
    return true;
}

static bool put_key(pk_buf *out, const pk_keyset_key *key, pk_error *err)
{
    char uuid[37];
    char fp[PK_FP_TEXT];
    pk_uuid_text(key->uuid, uuid);
    pk_fingerprint_text(key->fp, fp);
    bool service = key->db == NULL || key->db[0] == '\0';
    return pk_buf_append_text(out, "  ", err) && put_name(out, key->kind, err) &&
           pk_buf_append_text(out, service ? " service/" : " database ", err) &&
           put_name(out, key->db, err) && pk_buf_append_text(out, service ? "" : "/", err) &&
           put_name(out, key->name, err) && pk_buf_printf(out, err, " v%u ", key->ver) &&
           put_name(out, key->state, err) &&
           pk_buf_printf(out, err, ", fingerprint %s, id %s\n", fp, uuid);
}

static bool put_keys(pk_buf *out, const pk_keyset *set, pk_error *err)
{
    size_t shown = set->count < KEYS_MAX_SHOWN ? set->count : KEYS_MAX_SHOWN;
    if (!pk_buf_printf(out, err, "Keys: %zu\n", set->count))
        return false;
    for (size_t i = 0; i < shown; i++)
        if (!put_key(out, &set->keys[i], err))
            return false;
    return shown == set->count || pk_buf_printf(out, err, "  and %zu more\n", set->count - shown);
}

static bool put_origin(pk_buf *out, const pk_keyset *set, const pk_identity *signer, pk_error *err)
{
    uint8_t fp[PK_FP_LEN];
    char signer_text[PK_FP_TEXT];
    char store[37];
    char created_at[21];
    if (!pk_identity_fingerprint(signer->public_key, fp, err))
        return false;
    pk_identity_fingerprint_text(fp, signer_text);
    pk_uuid_text(set->store_uuid, store);
    pk_time_iso(set->created_at, created_at);
    return pk_buf_append_text(out, "pgkeep key file, format 1: ", err) &&
           put_name(out, set->type, err) &&
           pk_buf_append_text(out,
                              "\nThis text is for people and is not protected. The same facts are "
                              "inside, encrypted and signed.\n\n",
                              err) &&
           pk_buf_printf(out, err, "Written: %s by \"", created_at) &&
           put_name(out, set->created_by, err) &&
           pk_buf_printf(out, err, "\"\nKeystore: %s, signer %s\nServer: ", store, signer_text) &&
           put_name(out, set->server_version, err) &&
           pk_buf_append_text(out, ", system identifier ", err) &&
           put_name(out, set->system_identifier, err) && pk_buf_append_text(out, "\n", err);
}

static bool is_keystore(const pk_recipient *recipient)
{
    return recipient->kind == PK_RECIPIENT_KEK &&
           pk_span_starts_with(pk_span_of(recipient->id), PK_SPAN("keystore "));
}

static bool put_recipients(pk_buf *out, const pk_recipient *recipients, size_t count, pk_error *err)
{
    if (!pk_buf_printf(out, err, "Recipients, any one opens the file: %zu\n", count))
        return false;
    for (size_t i = 0; i < count; i++) {
        bool password = recipients[i].kind == PK_RECIPIENT_PASSWORD;
        if (!pk_buf_append_text(out, password ? "  password" : "  key \"", err) ||
            !put_name(out, password ? "" : recipients[i].id, err) ||
            !pk_buf_append_text(out, password ? "\n" : "\"\n", err))
            return false;
    }
    return true;
}

/* clang-format off */
static const char with_password[] =
    "\nWith the password (other users of the host can see it in the process list meanwhile):\n"
    "  openssl cms -decrypt -inform PEM -in FILE -pwri_password 'PASSWORD' -out keys.json\n";
static const char with_keystore[] =
    "\nWith the service master key that the recipient \"keystore ..\" names: open the key file made by\n"
    "BACKUP SERVICE MASTER KEY, take \"k\" of that version (v1, v2, ..) out of it, put it for K, then\n"
    "  SMK=$(printf '%s=' 'K' | tr '_-' '/+' | base64 -d | od -An -v -tx1 | tr -d ' \\n')\n"
    "  KEK=$(openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:$SMK"
    " -kdfopt info:'pgkeep kek 1' HKDF | tr -d ':\\n')\n"
    "  openssl cms -decrypt -inform PEM -in FILE -secretkey $KEK -out keys.json\n";
static const char with_key[] =
    "\nWith the 256-bit key of a recipient, as 64 hex digits:\n"
    "  openssl cms -decrypt -inform PEM -in FILE -secretkey HEXKEY -out keys.json\n";
static const char how_to_read[] =
    "\nThen the keys, one JSON document:\n"
    "  head -n1 keys.json | python3 -m json.tool\n\n";
/* clang-format on */

static bool put_recipes(pk_buf *out, const pk_recipient *recipients, size_t count, pk_error *err)
{
    bool password = false;
    bool keystore = false;
    bool key = false;
    for (size_t i = 0; i < count; i++) {
        password |= recipients[i].kind == PK_RECIPIENT_PASSWORD;
        keystore |= is_keystore(&recipients[i]);
        key |= recipients[i].kind == PK_RECIPIENT_KEK && !is_keystore(&recipients[i]);
    }
    return pk_buf_append_text(out,
                              "\nReading it without pgkeep, with OpenSSL 3.0 or later. Use the "
                              "output only if the exit status is 0.\n",
                              err) &&
           pk_buf_append_text(out, password ? with_password : "", err) &&
           pk_buf_append_text(out, keystore ? with_keystore : "", err) &&
           pk_buf_append_text(out, key ? with_key : "", err) &&
           pk_buf_append_text(out, how_to_read, err);
}

bool pk_keyfile_preamble(const pk_keyset *set, const pk_recipient *recipients, size_t count,
                         const pk_identity *signer, pk_buf *out, pk_error *err)
{
    return put_origin(out, set, signer, err) && put_keys(out, set, err) &&
           put_recipients(out, recipients, count, err) && put_recipes(out, recipients, count, err);
}
