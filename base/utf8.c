/*
 * RFC 3629, section 4, as the table that it gives: what the first byte may be, what the second may
 * be behind it, how long the character is. Later bytes are 80 to bf.
 */
#include "base/utf8.h"

static const struct form {
    uint8_t first, last; /* of the first byte */
    uint8_t low, high;   /* of the second */
    size_t len;
} forms[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

size_t pk_utf8_character(pk_span text)
{
    const uint8_t *at = (const uint8_t *)text.ptr;
    if (at[0] < 0x80)
        return 1;
    for (size_t i = 0; i < PK_COUNT(forms); i++) {
        const struct form *form = &forms[i];
        if (at[0] < form->first || at[0] > form->last)
            continue;
        if (text.len < form->len || at[1] < form->low || at[1] > form->high)
            return 0;
        for (size_t k = 2; k < form->len; k++)
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        return form->len;
    }
    return 0;
}

bool pk_utf8_is(pk_span text, size_t *characters)
{
    size_t count = 0;
    while (text.len > 0) {
        const size_t len = pk_utf8_character(text);
        if (len == 0)
            return false;
        text = (pk_span){text.ptr + len, text.len - len};
        count++;
    }
    if (characters != NULL)
        *characters = count;
    return true;
}
