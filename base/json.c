/*
 * jansson behind our limits. Its allocator is replaced by one that keeps the size in front of each
 * block, so that everything can be wiped when it is freed: key payloads are parsed with it. Depth
 * is counted before jansson sees the text, because its own limit (2048) is fixed when it is built
 * and its parser recurses.
 *
 * jansson's error text quotes what it stumbled over, which may be a key; only line and column are
 * taken from it.
 */
#include "base/json.h"

#include <stdlib.h>

#define DEPTH_MAX 32

/* In front of each block; keeps the alignment of malloc. */
typedef struct header {
    _Alignas(max_align_t) size_t size;
} header;

static void *allocate(size_t size)
{
    size_t whole = 0;
    if (__builtin_add_overflow(size, sizeof(header), &whole))
        return NULL;
    header *block = malloc(whole);
    if (block == NULL)
        return NULL;
    block->size = size;
    return block + 1;
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

/* False, with the place, where the text nests deeper than we accept. */
static bool check_depth(pk_span text, pk_error *err)
{
    int line = 1;
    int column = 0;
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        column++;
        if (c == '\n') {
            line++;
            column = 0;
        } else if (in_string && c == '\\') {
            i++; /* a quote behind it does not end the string */
            column++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (in_string) {
            continue;
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                return pk_fail(err, PK_E_CORRUPT, "JSON nests deeper than %d at line %d, column %d",
                               DEPTH_MAX, line, column);
        } else if (c == ']' || c == '}') {
            depth--;
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
    if (!check_depth(text, err))
        return NULL;
    json_error_t fault;
    json_t *value = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &fault);
    if (value == NULL) {
        if (json_error_code(&fault) == json_error_out_of_memory)
            pk_fail(err, PK_E_MEMORY, "out of memory");
        else
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
    to->failed = !pk_buf_append(to->out, bytes, len, to->err);
    return to->failed ? -1 : 0;
}

bool pk_json_write(const json_t *value, pk_buf *out, pk_error *err)
{
    writer to = {.out = out, .err = err};
    if (json_dump_callback(value, on_written, &to, JSON_COMPACT) == 0)
        return true;
    if (to.failed)
        return false;
    return pk_fail(err, PK_E_INTERNAL, "could not write JSON");
}
