/*
 * Key files and their payload. The first byte chooses what the rest is, because a fuzzer finds its
 * way neither through base64 nor through AES-GCM: 'P' a payload, 'D' the DER inside a file, else a
 * file. Nothing is derived: opening a file that was parsed is left to the tests.
 */
#include "base/json.h"
#include "crypto/keyfile_parts.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pk_error err = {0};
    if (size == 0)
        return 0;
    pk_span rest = pk_span_bytes(data + 1, size - 1);
    if (data[0] == 'P') {
        pk_keyset set;
        if (pk_keyset_read(rest, &set, &err) && set.count == 0)
            abort();
        pk_keyset_clear(&set);
    } else if (data[0] == 'D') {
        look_at(pk_keyfile_parse_der(rest, &err));
    } else {
        look_at(pk_keyfile_parse(pk_span_bytes(data, size), &err));
    }
    return 0;
}
