/*
 * The keeper: the only part of the process that has master keys in clear. Everything else asks it
 * by message: flat bytes go in, flat bytes or an error come back (keys-and-security D12, 9.2). No
 * pointer and no plain key crosses that door, so it makes no difference to a caller whether the
 * keeper lives in threads of this process, behind the control socket of a running `serve`, or, one
 * day, in a child process of its own. keeper_calls.h has one function a message.
 *
 * Passwords become keys on threads of their own, at most PK_KDF_WORKERS at once and
 * PK_KDF_WAITING more in the queue, then 53400: nobody's guessing keeps the keeper or the machine
 * busy. No lock is held meanwhile.
 *
 * Calls block; any thread but an event loop's.
 */
#ifndef PK_ENGINE_KEEPER_H
#define PK_ENGINE_KEEPER_H

#include "base/buf.h"
#include "base/clock.h"

#define PK_KDF_WORKERS        2u
#define PK_KDF_WAITING        8u
#define PK_KEEPER_MESSAGE_MAX (64u << 20) /* of a request or a reply */

typedef struct pk_keeper pk_keeper;

typedef struct pk_keeper_options {
    const char *state_dir;
    const char *expect;         /* keystore.expect: uuid text, or NULL */
    bool create;                /* keystore.create = auto */
    uint32_t unlock_timeout_ms; /* a call waits so long for an unseal attempt that is running */
    uint32_t open_idle_ms;      /* an opened master key that nobody used for so long is closed */
} pk_keeper_options;

/*
 * Starts the threads and a first attempt to open and unseal the keystore. Never fails because of
 * the keystore: calls then answer 55000 and try again (DECISIONS 14e). Copies the options. NULL
 * only without memory or threads.
 */
pk_keeper *pk_keeper_open(const pk_keeper_options *options, const pk_clock *clock,
                          pk_error *err) PK_MUST_USE;
/* The keeper of the `serve` that owns this state directory, through its control socket. 58P01: no
 * one listens there; 42501: it is not ours to ask. */
pk_keeper *pk_keeper_connect(const char *state_dir, pk_error *err) PK_MUST_USE;
/* Wipes every key; waits for calls that are running. NULL is fine. */
void pk_keeper_close(pk_keeper *keeper);
PK_DEFINE_AUTO_PTR(pk_keeper_close, pk_keeper *)

/* The door. Both buffers are secret ones: a request may hold a password, a reply a recovery code.
 * 08P01 for a request that cannot be understood. */
bool pk_keeper_call(pk_keeper *keeper, pk_span request, pk_buf *reply, pk_error *err) PK_MUST_USE;

/* From now on the keystore is given up whenever no call runs, and taken again for the next one if
 * it is free: a successor can have it while we drain (DECISIONS 14e). Any thread, never waits. */
void pk_keeper_drain(pk_keeper *keeper);

#endif
