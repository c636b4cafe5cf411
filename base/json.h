/*
 * JSON by jansson, behind our limits: at most 4 MiB, 200,000 values, depth 32, duplicate names
 * rejected, UTF-8 checked, and an allocator that wipes, because key payloads pass through it. This
 * header shows jansson's types; it is the one place that sets it up.
 */
#ifndef PK_BASE_JSON_H
#define PK_BASE_JSON_H

#include "base/buf.h"

#include <jansson.h>

#define PK_JSON_MAX (4u << 20)

/* Once per process, before the first thread and before any other call of jansson. */
void pk_json_init(void);

/* XX001 when it is not what we accept; the message names the place, never the content. NULL then.
 * The caller owns the reference. */
json_t *pk_json_parse(pk_span text, pk_error *err) PK_MUST_USE;
/* Compact, keys in the order they were set. Mark out as secret if the content is. */
bool pk_json_write(const json_t *value, pk_buf *out, pk_error *err) PK_MUST_USE;

/* Was jansson refused memory in this thread since it was last asked? Then *err is set, 53200: to be
 * asked where a call of jansson's fails that can also fail for another reason. */
bool pk_json_starved(pk_error *err);

static inline void pk_json_unref(json_t **at)
{
    json_decref(*at);
}

#endif
