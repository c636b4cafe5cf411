/*
 * The keeper's messages as bytes: a version, an operation, then values one behind the other in the
 * order that the operation's two ends agree on (keeper_calls.c writes requests and reads replies,
 * keeper_ops.c the other way round). Numbers are big-endian; texts and byte strings have a length
 * in front, of which 0xffffffff says that there is none (NULL). Nothing in a message is trusted: it
 * may have come over the control socket.
 *
 * Pure; any thread.
 */
#ifndef PK_ENGINE_KEEPER_MESSAGE_H
#define PK_ENGINE_KEEPER_MESSAGE_H

#include "base/arena.h"
#include "engine/keeper_calls.h"

#define PK_KEEPER_VERSION 1u

/* name, needs an open keystore, has nobody beside it, begins with an audit row, and what that
 * row's action is if it may come over the control socket, "" if there is no row, NULL if it may
 * not come */
#define PK_KEEPER_OPS(X)                                                                           \
    X(STATUS, false, false, false, "")                                                             \
    X(SEAL, true, true, true, "SEAL")                                                              \
    X(UNSEAL, false, false, true, "UNSEAL")                                                        \
    X(ADD_SLOT, true, false, true, "ALTER KEYSTORE ADD SLOT")                                      \
    X(DROP_SLOT, true, false, true, "ALTER KEYSTORE DROP SLOT")                                    \
    X(AUDIT, true, false, true, NULL)                                                              \
    X(VERIFY_AUDIT, true, false, false, "")                                                        \
    X(CREATE_DMK, true, false, true, NULL)                                                         \
    X(OPEN_DMK, true, false, true, NULL)                                                           \
    X(CLOSE_DMK, true, false, true, NULL)                                                          \
    X(LIST, true, false, false, NULL)                                                              \
    X(BACKUPS, true, false, false, NULL)                                                           \
    X(EXPORT, true, false, false, NULL)                                                            \
    X(RECORD, true, false, true, NULL)                                                             \
    X(IMPORT, true, false, true, NULL)

typedef enum pk_keeper_op {
#define X(name, open, alone, audit, remotely) PK_KEEPER_##name,
    PK_KEEPER_OPS(X)
#undef X
        PK_KEEPER_OP_COUNT
} pk_keeper_op;

/* Writing: the first failure (no room) sticks, and is looked at once, at the end. */
typedef struct pk_message_out {
    pk_buf *buf;
    pk_error err;
    bool failed;
} pk_message_out;

void pk_put_u8(pk_message_out *out, uint8_t value);
void pk_put_bool(pk_message_out *out, bool value);
void pk_put_u32(pk_message_out *out, uint32_t value);
void pk_put_i64(pk_message_out *out, int64_t value);
void pk_put_bytes(pk_message_out *out, pk_span bytes);
void pk_put_text(pk_message_out *out, const char *text); /* may be NULL */
void pk_put_fixed(pk_message_out *out, const void *bytes, size_t len);
/* The beginning of a request. */
void pk_put_op(pk_message_out *out, pk_keeper_op op);
void pk_put_audit(pk_message_out *out, const pk_row_audit *audit);
void pk_put_database(pk_message_out *out, const pk_database *db); /* may be NULL */
void pk_put_opener(pk_message_out *out, const pk_opener *opener); /* may be NULL */
void pk_put_brief(pk_message_out *out, const pk_key_brief *brief);

/* Reading: the first value that is not there sets `bad`, and all later ones are zero or empty.
 * Spans point into the message; texts are copied into the arena, for their NUL. */
typedef struct pk_message_in {
    pk_span rest;
    pk_arena *arena;
    bool bad;
    bool starved; /* bad, but only for want of memory */
} pk_message_in;

uint8_t pk_get_u8(pk_message_in *in);
bool pk_get_bool(pk_message_in *in);
uint32_t pk_get_u32(pk_message_in *in);
int64_t pk_get_i64(pk_message_in *in);
pk_span pk_get_bytes(pk_message_in *in);
const char *pk_get_text(pk_message_in *in);      /* NULL if NULL was written */
const char *pk_get_some_text(pk_message_in *in); /* never NULL */
void pk_get_fixed(pk_message_in *in, void *bytes, size_t len);
/* A text into an array: cut off never, `bad` if it does not fit. */
void pk_get_name(pk_message_in *in, char *name, size_t size);
pk_row_audit pk_get_audit(pk_message_in *in);
/* False: none was written. */
bool pk_get_database(pk_message_in *in, pk_database *db);
bool pk_get_opener(pk_message_in *in, pk_opener *opener);
void pk_get_brief(pk_message_in *in, pk_key_brief *brief);
/* How many of something follow that take at least `least` bytes each; `bad` if they cannot all be
 * there. */
size_t pk_get_count(pk_message_in *in, size_t least);

/* Version and operation of a request. 08P01, or 53200. */
bool pk_get_op(pk_message_in *in, pk_keeper_op *op, pk_error *err) PK_MUST_USE;
/* Nothing was missing and nothing is left. 08P01, or 53200. */
bool pk_get_end(const pk_message_in *in, pk_error *err) PK_MUST_USE;

/* What the operation's row in the table says. */
bool pk_keeper_op_needs_open(pk_keeper_op op);
bool pk_keeper_op_alone(pk_keeper_op op);
bool pk_keeper_op_audited(pk_keeper_op op);
/* Its name, for the log. */
const char *pk_keeper_op_name(pk_keeper_op op);

#endif
