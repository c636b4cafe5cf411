/*
 * jansson behind our limits. Its allocator is replaced by one that keeps the size in front of each
 * block, so that everything can be wiped when it is freed: key payloads are parsed with it. Depth
 * and number of values are counted before jansson sees the text: its own limit of depth (2048) is
 * fixed when it is built and its parser recurses, and it has no limit for the other.
 *
 * jansson's error text quotes what it stumbled over, which may be a key; only line and column are
 * taken from it.
 */
#include "base/json.h"

#include <stdlib.h>

#define DEPTH_MAX  32
#define VALUES_MAX 200000 /* each becomes a node of 80 bytes or more */

/* In front of each block; keeps the alignment of malloc. */
typedef struct header {
    _Alignas(max_align_t) size_t size;
} header;

/* jansson says of most of its failures only that they happened. */
static _Thread_local bool starved;

static void *allocate(size_t size)
{
    size_t whole = 0;
    header *block = NULL;
    if (!__builtin_add_overflow(size, sizeof(header), &whole))
        block = malloc(whole);
    if (block == NULL) {
        starved = true;
        return NULL;
    }
    block->size = size;
    return block + 1;
}

bool pk_json_starved(pk_error *err)
{
    bool was = starved;
    starved = false;
    if (was)
        pk_fail(err, PK_E_MEMORY, "out of memory");
    return was;
}

static void wipe_and_free(void *at)
{
    if (at == NULL)
        return;
    header *block = (header *)at - 1;
    pk_wipe(at, block->size);
    free(block);
}

void pk_json_init(void)
{
    json_set_alloc_funcs(allocate, wipe_and_free);
    /* Now, because jansson would do it at the first object, perhaps in two threads at once. */
    json_object_seed(0);
}

static bool refuse(int line, int column, pk_error *err)
{
    return pk_fail(err, PK_E_CORRUPT, "invalid JSON at line %d, column %d", line, column);
}

/* What has been seen of a text, outside and inside of strings. */
typedef struct scan {
    int line, column, depth;
    size_t values; /* at most so many: each but the first follows one of , [ { */
    bool in_string;
} scan;

static bool count_mark(scan *at, char c, pk_error *err)
{
    if ((c == ',' || c == '[' || c == '{') && ++at->values > VALUES_MAX)
        return pk_fail(err, PK_E_CORRUPT, "JSON has more than %d values at line %d, column %d",
                       VALUES_MAX, at->line, at->column);
    if ((c == '[' || c == '{') && ++at->depth > DEPTH_MAX)
        return pk_fail(err, PK_E_CORRUPT, "JSON nests deeper than %d at line %d, column %d",
                       DEPTH_MAX, at->line, at->column);
    if (c == ']' || c == '}')
        at->depth--;
    return true;
}

/* False, with the place, where the text nests deeper or holds more than we accept. */
static bool check_size(pk_span text, pk_error *err)
{
    scan at = {.line = 1};
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        at.column++;
        if (c == '\n') {
            at.line++;
            at.column = 0;
        } else if (at.in_string && c == '\\') {
            i++; /* a quote behind it does not end the string */
            at.column++;
        } else if (c == '"') {
            at.in_string = !at.in_string;
        } else if (!at.in_string && !count_mark(&at, c, err)) {
            return false;
        }
    }
    return true;
}

json_t *pk_json_parse(pk_span text, pk_error *err)
{
    if (text.len > PK_JSON_MAX) {
        pk_fail(err, PK_E_CORRUPT, "JSON is longer than %u bytes", PK_JSON_MAX);
        return NULL;
    }
    if (!check_size(text, err))
        return NULL;
    json_error_t fault;
    starved = false;
    json_t *value = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &fault);
    if (value == NULL) {
        if (!pk_json_starved(err)) /* it has a code for this, and does not always use it */
            refuse(fault.line, fault.column, err);
    }
    pk_wipe(&fault, sizeof fault);
    return value;
}

typedef struct writer {
    pk_buf *out;
    pk_error *err;
    bool failed; /* by us, and err says why */
} writer;

static int on_written(const char *bytes, size_t len, void *ctx)
{
    writer *to = ctx;
    /* jansson goes on after a key that was not taken, and says that all is well. */
    to->failed = to->failed || !pk_buf_append(to->out, bytes, len, to->err);
    return to->failed ? -1 : 0;
}

bool pk_json_write(const json_t *value, pk_buf *out, pk_error *err)
{
    writer to = {.out = out, .err = err};
    starved = false;
    if (json_dump_callback(value, on_written, &to, JSON_COMPACT) == 0 && !to.failed)
        return true;
    if (to.failed || pk_json_starved(err))
        return false;
    return pk_fail(err, PK_E_INTERNAL, "could not write JSON");
}
