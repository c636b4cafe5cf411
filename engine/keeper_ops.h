/*
 * What each of the keeper's operations does to a keystore: reads the request's values, calls the
 * keystore, writes the reply's. Private to the keeper.
 */
#ifndef PK_ENGINE_KEEPER_OPS_H
#define PK_ENGINE_KEEPER_OPS_H

#include "engine/keeper_message.h"

/* `ks` is open if the operation needs that, else it may be sealed, or NULL: `why` says why. */
bool pk_keeper_run(pk_keeper_op op, pk_keystore *ks, const pk_error *why, pk_message_in *in,
                   pk_message_out *out, pk_error *err) PK_MUST_USE;

#endif
