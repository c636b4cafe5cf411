/*
 * Five bits a character, the first bit first; 160 bits fill 32 characters without a rest. The check
 * number is worked out over the same characters, so writing and reading share one loop. Everything
 * that passes through the stack is wiped.
 */
#include "crypto/recovery.h"

#include "crypto/secret_bytes.h"

#include <string.h>

#define BODY       32u /* characters that carry the secret */
#define CHECK      2u
#define GROUP      4u
#define MODULUS    1021u
#define NO_SYMBOL  0xffu
#define SYMBOL_MAX 32u

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

_Static_assert(BODY * 5 == PK_RECOVERY_LEN * 8, "the characters carry exactly the secret");
_Static_assert(BODY + BODY / GROUP + CHECK == PK_RECOVERY_TEXT_LEN, "a dash follows every group");

static void symbols_of(const uint8_t *bytes, uint8_t symbols[static BODY])
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    for (size_t i = 0; i < PK_RECOVERY_LEN; i++) {
        bits = (bits << 8 | bytes[i]) & 0xffffu;
        held += 8;
        while (held >= 5 && at < BODY) {
            held -= 5;
            symbols[at++] = (uint8_t)(bits >> held & 31);
        }
    }
}

static void bytes_of(const uint8_t symbols[static BODY], uint8_t *bytes)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    for (size_t i = 0; i < BODY; i++) {
        bits = (bits << 5 | symbols[i]) & 0xffffu;
        held += 5;
        if (held >= 8 && at < PK_RECOVERY_LEN) {
            held -= 8;
            bytes[at++] = (uint8_t)(bits >> held & 0xff);
        }
    }
}

static uint32_t check_number(const uint8_t symbols[static BODY])
{
    uint32_t rest = 0;
    for (size_t i = 0; i < BODY; i++)
        rest = (rest * SYMBOL_MAX + symbols[i]) % MODULUS;
    return rest;
}

bool pk_recovery_write(const pk_secret *secret, pk_buf *text, pk_error *err)
{
    uint8_t symbols[BODY];
    char out[PK_RECOVERY_TEXT_LEN];
    size_t at = 0;
    if (pk_secret_len(secret) != PK_RECOVERY_LEN)
        return pk_fail(err, PK_E_INTERNAL, "a recovery code is made of %u bytes", PK_RECOVERY_LEN);
    symbols_of(pk_secret_bytes(secret), symbols);
    for (size_t i = 0; i < BODY; i++) {
        out[at++] = alphabet[symbols[i]];
        if ((i + 1) % GROUP == 0)
            out[at++] = '-';
    }
    const uint32_t check = check_number(symbols);
    out[at++] = alphabet[check / SYMBOL_MAX];
    out[at++] = alphabet[check % SYMBOL_MAX];
    const bool ok = pk_buf_append(text, out, at, err);
    pk_wipe(symbols, sizeof symbols);
    pk_wipe(out, sizeof out);
    return ok;
}

static uint8_t symbol_of(char typed)
{
    int c = typed >= 'a' && typed <= 'z' ? typed - 'a' + 'A' : typed;
    if (c == 'I' || c == 'L')
        c = '1';
    if (c == 'O')
        c = '0';
    const char *found = c == '\0' ? NULL : strchr(alphabet, c);
    return found == NULL ? NO_SYMBOL : (uint8_t)(found - alphabet);
}

static bool may_be_left_out(char c)
{
    return c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The characters that count. Never says which one is wrong: the text is a secret. */
static bool read_symbols(pk_span text, uint8_t symbols[static BODY + CHECK], pk_error *err)
{
    size_t count = 0;
    pk_fail(err, PK_E_PASSWORD, "wrong recovery code");
    for (size_t i = 0; i < text.len; i++) {
        if (may_be_left_out(text.ptr[i]))
            continue;
        const uint8_t symbol = symbol_of(text.ptr[i]);
        if (symbol == NO_SYMBOL)
            return pk_error_detail(err, "It has a character that no recovery code has.");
        if (count == BODY + CHECK)
            return pk_error_detail(err, "It is too long: a recovery code has %u characters.",
                                   BODY + CHECK);
        symbols[count++] = symbol;
    }
    if (count < BODY + CHECK)
        return pk_error_detail(err, "It is too short: a recovery code has %u characters.",
                               BODY + CHECK);
    if ((uint32_t)symbols[BODY] * SYMBOL_MAX + symbols[BODY + 1] != check_number(symbols))
        return pk_error_detail(err, "It is mistyped: its check characters do not fit.");
    return true;
}

pk_secret *pk_recovery_read(pk_span text, pk_error *err)
{
    uint8_t symbols[BODY + CHECK] = {0};
    uint8_t *bytes = NULL;
    pk_secret *secret = NULL;
    if (read_symbols(text, symbols, err)) {
        secret = pk_secret_blank(PK_RECOVERY_LEN, &bytes, err);
        if (secret != NULL)
            bytes_of(symbols, bytes);
    }
    pk_wipe(symbols, sizeof symbols);
    return secret;
}
