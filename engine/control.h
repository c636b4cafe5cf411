/*
 * The control socket: `<state>/control.sock`, by which the offline verbs reach the keeper of a
 * running `serve` (DECISIONS 14e). One request a message, admitted only if an offline verb needs it
 * (42501 else), from our own user or root; whoever asks stands in the audit trail as "uid:<n>".
 * Threads of its own; a peer that is slow or talks nonsense is dropped. docs/operations.md.
 */
#ifndef PK_ENGINE_CONTROL_H
#define PK_ENGINE_CONTROL_H

#include "engine/keeper.h"

#define PK_CONTROL_PEERS 8u /* at once; more are told 53300 */

typedef struct pk_control pk_control;

/* Borrows the keeper. While there is no state directory, or another process listens there, it tries
 * again every second and says so once. NULL only without threads or descriptors. */
pk_control *pk_control_open(const char *state_dir, pk_keeper *keeper, pk_error *err) PK_MUST_USE;
/* Removes the socket, waits for requests that are running. NULL is fine. */
void pk_control_close(pk_control *control);
PK_DEFINE_AUTO_PTR(pk_control_close, pk_control *)

#endif
