/*
 * What stands behind the keeper's door (keeper.h): threads of this process, or the control socket
 * of a running `serve`. Each is a struct of functions; pk_keeper_call and the like hand over to it.
 * Private to the keeper's own files.
 */
#ifndef PK_ENGINE_KEEPER_TRANSPORT_H
#define PK_ENGINE_KEEPER_TRANSPORT_H

#include "engine/keeper.h"

typedef struct pk_keeper_transport {
    /* One request, one reply appended, or the error that the keeper answered with. Any thread. */
    bool (*call)(void *self, pk_span request, pk_buf *reply, pk_error *err);
    /* Nobody waits for it. NULL: there are no sessions. */
    void (*forget)(void *self, uint64_t session);
    void (*drain)(void *self); /* NULL: nothing to give up */
    void (*close)(void *self); /* frees self */
} pk_keeper_transport;

struct pk_keeper {
    const pk_keeper_transport *transport;
    void *self; /* the transport's */
};

/* For a request that came over the control socket: 42501 unless it is one that offline verbs need
 * (status, add_slot, drop_slot, seal, unseal, verify_audit); 08P01 if it cannot be understood.
 * Appends the request to `admitted` (a secret buffer) with an audit row of our own, which keeps of
 * the request's the object only: by `actor`, client "control socket", at the keystore's time. */
bool pk_keeper_admit(pk_span request, const char *actor, pk_buf *admitted,
                     pk_error *err) PK_MUST_USE;

#endif
