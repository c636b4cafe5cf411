/*
 * A few threads of low priority on which passwords become keys: guessing keeps neither the keeper
 * nor the machine busy (keys-and-security 8.2, T11). There is one pool in a process, or none: then
 * the work is done in the calling thread. pk_kdf_password is its only user.
 */
#ifndef PK_CRYPTO_KDF_POOL_H
#define PK_CRYPTO_KDF_POOL_H

#include "base/error.h"

/* Starting it again only counts; the last stop ends it, after the work that waits. A starter after
 * the first gets the first one's sizes. 58000 when no thread can be started. */
bool pk_kdf_pool_start(unsigned workers, unsigned waiting, pk_error *err) PK_MUST_USE;
void pk_kdf_pool_stop(void);

/* work(arg), on a thread of the pool; waits for it. What arg points to is lent meanwhile. 53400,
 * and nothing was done, when every worker is busy and `waiting` others wait. Any thread but the
 * pool's own. */
bool pk_kdf_pool_run(void (*work)(void *arg), void *arg, pk_error *err) PK_MUST_USE;

#endif
