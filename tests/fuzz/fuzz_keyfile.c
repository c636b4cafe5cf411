/*
 * Key files and their payload. The first byte chooses what the rest is, because a fuzzer finds its
 * way neither through base64 nor through AES-GCM: 'P' a payload, 'D' the DER inside a file, else a
 * file. Nothing is derived: opening a file that was parsed is left to the tests. Nor does a fuzzer
 * sign: the linker sends pk_identity_verify here, which believes every signature, so that what is
 * behind it is reached.
 */
#include "base/json.h"
#include "crypto/keyfile_parts.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The linker's name begins with two underscores, which C keeps for itself; hence the label. */
bool believe(const uint8_t *public_key, pk_span message,
             const uint8_t *signature) __asm__("__wrap_pk_identity_verify");

bool believe(const uint8_t *public_key, pk_span message, const uint8_t *signature)
{
    (void)public_key, (void)message, (void)signature;
    return true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    pk_error err = {0};
    pk_secure_heap state;
    if (!pk_secret_heap_init(&state, &err))
        abort();
    pk_json_init();
    return 0;
}

/* What a caller may ask of a file that was accepted must hold. */
static void look_at(pk_keyfile *file)
{
    if (file == NULL)
        return;
    size_t count = pk_keyfile_recipients(file);
    if (count == 0 || count > PK_KEYFILE_RECIPIENTS)
        abort();
    for (size_t i = 0; i < count; i++)
        if (strlen(pk_keyfile_recipient_id(file, i)) > PK_KEYFILE_ID_MAX)
            abort();
    pk_keyfile_free(file);
}

/* What a caller may ask of a set that was accepted. */
static void use(const pk_keyset *set)
{
    if (set->count == 0 || set->count > PK_KEYSET_MAX)
        abort();
    for (size_t i = 0; i < set->count; i++)
        if (pk_secret_len(set->keys[i].key) != PK_KEY_LEN || set->keys[i].name == NULL)
            abort();
    for (size_t i = 0; i < set->recipient_count; i++)
        if (set->recipients[i] == NULL)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pk_error err = {0};
    if (size == 0)
        return 0;
    pk_span rest = pk_span_bytes(data + 1, size - 1);
    if (data[0] == 'P') {
        pk_keyset set;
        if (pk_keyset_read(rest, &set, &err))
            use(&set);
        pk_keyset_clear(&set);
    } else if (data[0] == 'D') {
        look_at(pk_keyfile_parse_der(rest, &err));
    } else {
        look_at(pk_keyfile_parse(pk_span_bytes(data, size), &err));
    }
    return 0;
}
