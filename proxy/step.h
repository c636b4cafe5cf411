/*
 * What state STEP waits for: one message that was sent alone, and what its answer will do to the
 * table of names. Shared by the files of lockstep; nobody else looks inside. Loop thread only.
 */
#ifndef PK_PROXY_STEP_H
#define PK_PROXY_STEP_H

#include "proxy/session.h"

typedef enum pk_step_kind {
    PK_STEP_PREPARE, /* the stand-in of a Parse of ours */
    PK_STEP_PARSE,   /* a foreign Parse over a name of ours */
    PK_STEP_VERIFY,  /* Describe of ours: is the stand-in still there? The client's Bind is held. */
    PK_STEP_BIND,    /* the rebuilt Bind */
    PK_STEP_REBIND,  /* a foreign Bind over a portal of ours */
    PK_STEP_DESCRIBE, /* of a statement or portal of ours */
    PK_STEP_CLOSE,    /* likewise */
    PK_STEP_EXECUTE,  /* of a portal of ours */
} pk_step_kind;

struct pk_step {
    pk_step_kind kind;
    bool of_portal;        /* the name is a portal's */
    bool proved;           /* the stand-in answered */
    bool foreign;          /* it did not: somebody else's answer passes */
    bool answered;         /* the server is done with this step */
    bool in_block;         /* PK_STEP_EXECUTE: inside a transaction, as far as we know */
    uint32_t limit;        /* PK_STEP_EXECUTE: rows wanted, 0: all */
    pk_name name;          /* of the statement or portal */
    pk_prepared *prepared; /* PK_STEP_PREPARE: becomes the statement */
    pk_portal *portal;     /* PK_STEP_BIND: becomes the portal */
};

pk_step *pk_step_new(pk_step_kind kind) PK_MUST_USE;
/* NULL is fine. */
void pk_step_free(pk_step *step);
pk_span pk_step_name(const pk_step *step);
/* The session's step is over; what happens then. */
void pk_step_end(pk_session *session, pk_event event);
/* The entry that the session's step is about goes. */
void pk_step_drop_entry(pk_session *session);

/* An Execute proved itself, for the first time or again (portal_run). */
void pk_step_run(pk_session *session);

#endif
