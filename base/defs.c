/*
 * Allocation for sizes we chose. When memory for those is gone nothing sensible can be done or even
 * reported to a client, so the process ends here, with one line, instead of at a NULL somewhere
 * else.
 */
#include "base/defs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *or_die(void *block)
{
    static const char last_word[] = "pgkeep: out of memory\n";
    if (block == NULL) {
        /* Nothing is left to do about a failing write. */
        ssize_t ignored = write(STDERR_FILENO, last_word, sizeof last_word - 1);
        (void)ignored;
        abort();
    }
    return block;
}

void *pk_new_bytes(size_t size)
{
    return or_die(calloc(1, size == 0 ? 1 : size));
}

char *pk_strdup(const char *text)
{
    return or_die(strdup(text));
}

void pk_free(void *block)
{
    free(block);
}

void pk_wipe(void *bytes, size_t len)
{
    if (len > 0)
        explicit_bzero(bytes, len);
}
