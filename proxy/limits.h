/*
 * How many sessions there may be: in total, of one database, of one role, from one address. Counts
 * are kept whether there is a limit or not, so that one can be set while the proxy runs. Shared by
 * all loops; any thread.
 */
#ifndef PK_PROXY_LIMITS_H
#define PK_PROXY_LIMITS_H

#include "base/error.h"

typedef enum pk_limit {
    PK_LIMIT_TOTAL,
    PK_LIMIT_ADDRESS,
    PK_LIMIT_DATABASE,
    PK_LIMIT_ROLE,
    PK_LIMIT_COUNT
} pk_limit;

typedef struct pk_limits pk_limits;
pk_limits *pk_limits_new(void) PK_MUST_USE;
void pk_limits_free(pk_limits *limits);
/* 0: no limit. Sessions that are beyond it already stay. */
void pk_limits_set(pk_limits *limits, const uint32_t most[static PK_LIMIT_COUNT]);

/* Would one more be too many? `name`: the address, database or role; ignored for TOTAL. 53300. */
bool pk_limits_has_room(pk_limits *limits, pk_limit limit, const char *name,
                        pk_error *err) PK_MUST_USE;
/* One more, if it is not too many. 53300. Each to be given back, by the same name. */
bool pk_limits_take(pk_limits *limits, pk_limit limit, const char *name, pk_error *err) PK_MUST_USE;
void pk_limits_give(pk_limits *limits, pk_limit limit, const char *name);

#endif
