/*
 * Cancel keys and cancel requests (wire-protocol 7): a request for a session that runs a statement
 * of ours stops that; every other one is forwarded as it is, known or not, because the server
 * checks the key. The client's connection stays open until the server closed ours.
 *
 * The table of keys is shared by all loops: a cancel request comes to any of them.
 */
#ifndef PK_PROXY_CANCEL_H
#define PK_PROXY_CANCEL_H

#include "proxy/session.h"

/* Any thread. */
pk_cancel_table *pk_cancel_table_new(void) PK_MUST_USE;
void pk_cancel_table_free(pk_cancel_table *table);

/* From now on the session is found by its key, which is a copy of `body`: process number and key.
 */
void pk_cancel_register(pk_session *session, pk_span body);
/* Forgets and frees the key, if there is one. */
void pk_cancel_forget(pk_session *session);
/* The session runs this request of ours; 0: none. For all loops to see. */
void pk_cancel_note_running(pk_session *session, uint64_t request);
/* The key of a client's request, for pk_cancel_forward. */
void pk_cancel_read(pk_session *session, uint32_t pid, pk_span key);

/* Actions of the state table. */
void pk_cancel_forward(pk_session *session);
void pk_cancel_send(pk_session *session);

#endif
