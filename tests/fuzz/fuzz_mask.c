/*
 * Our scanner against libpg_query's, on the same text, under both meanings of backslashes: where
 * one sees the end of a literal and the other does not, a password could be taken for a word. The
 * first byte chooses the meaning; \\v is left out, because PostgreSQL 15 does not know it as a
 * blank.
 */
#include "unit/parser/scan_difference.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libpg_query aborts on text that is no UTF-8, which a server would not lex either. */
static bool is_ascii_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\v' || text[i] == '\0' || (unsigned char)text[i] >= 0x80)
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char sql[SCAN_DIFFERENCE_MAX + 1];
    if (size < 1 || size - 1 > SCAN_DIFFERENCE_MAX)
        return 0;
    memcpy(sql, data + 1, size - 1);
    sql[size - 1] = '\0';
    if (!is_ascii_text(sql, size - 1))
        return 0;
    const char *difference = scan_difference(sql, (data[0] & 1) != 0);
    if (difference != NULL) {
        (void)fprintf(stderr, "%s\n", difference);
        abort();
    }
    return 0;
}
