/*
 * Our statements in the extended query protocol (wire-protocol 5.3): what becomes of a message that
 * touches a name of ours. Such a message waits until everything before it is answered, goes to the
 * server alone with a Flush, and its answer is awaited before the next one is looked at; only then
 * the session's table of names changes. Loop thread only.
 */
#ifndef PK_PROXY_LOCKSTEP_H
#define PK_PROXY_LOCKSTEP_H

#include "proxy/extended.h"
#include "proxy/intercept.h"

/* Of a Parse that is foreign, Bind, Describe, Execute or Close, while the session has names. */
pk_look pk_lockstep_look(pk_session *session, pk_header header, pk_span bytes);
/* The held message of one of these types; everything before it is answered. False: it touches no
 * name of ours (any more) and can be forwarded. */
bool pk_lockstep_decide(pk_session *session, pk_header header, pk_span message) PK_MUST_USE;
/* The held Parse is one statement of ours: the server gets its stand-in. */
void pk_lockstep_prepare(pk_session *session, pk_header header, pk_span message,
                         const pk_request *parsed);

/* In state STEP. */
pk_answer pk_lockstep_answer(pk_session *session, pk_header header, pk_span message);
/* The answer was replaced: what is said in its place. */
void pk_lockstep_say_columns(pk_session *session);
/* In state STEP: goes on if the answer is there. */
void pk_lockstep_settle(pk_session *session);
/* The request of an Execute is done; takes it. */
void pk_lockstep_tell(pk_session *session, pk_request *request);

/* What the server's messages do to the table: ReadyForQuery (of a message of type `of`), and a
 * command tag. Only while there is a table or a key is open. */
void pk_lockstep_ready(pk_session *session, char of, char status);
void pk_lockstep_completed(pk_session *session, pk_span tag);

void pk_lockstep_forget(pk_session *session);

#endif
