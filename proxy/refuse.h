/*
 * Saying no to a statement of ours: the error goes to the client, and where a transaction may be
 * open the server is made to fail too ("poison", wire-protocol 6.4), its error being replaced by
 * ours. Also the few messages that every part of intercept says and sends. Loop thread only.
 */
#ifndef PK_PROXY_REFUSE_H
#define PK_PROXY_REFUSE_H

#include "proxy/intercept.h"

#define PK_OWN_MESSAGE_MAX (64u << 10) /* what we send the server ourselves */

void pk_refuse_say_error(pk_session *session, const pk_error *err);
void pk_refuse_say_ready(pk_session *session);
void pk_refuse_send_query(pk_session *session, const char *sql);
void pk_refuse_send_flush(pk_session *session);
/* The session's name that nobody else can have used. */
void pk_refuse_need_nonce(pk_session *session);

/* What messages call a statement. */
const char *pk_refuse_name(const pk_stmt *stmt);
/* 25001. False. */
bool pk_refuse_in_block(const char *name, pk_error *err);
bool pk_refuse_in_pipeline(const char *name, pk_error *err);

/* Makes the server fail and remembers what to say when it has: of a Query, or (`query` false) in
 * the extended protocol. */
void pk_refuse_poison(pk_session *session, bool query, const pk_error *err);
/* The held message is ours: what is there of it goes now, the rest when it comes. */
void pk_refuse_drop_held(pk_session *session, pk_header header);
/* The held Query or Parse is answered with an error. */
void pk_refuse_held(pk_session *session, pk_header header, const pk_error *err);

pk_answer pk_refuse_answer(pk_session *session, char type);

#endif
