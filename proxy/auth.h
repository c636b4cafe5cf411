/*
 * Authentication passes through, with two exceptions that follow from our standing in the middle
 * (wire-protocol 2.3): a mechanism that binds to a TLS channel is not offered to a client that has
 * none, and a password is not asked for in the clear on behalf of a server that believes itself
 * safe. Loop thread only.
 */
#ifndef PK_PROXY_AUTH_H
#define PK_PROXY_AUTH_H

#include "proxy/intercept.h"
#include "proxy/session.h"

/* So many bytes of a message of type R must be there before it can be judged; 0: it passes. */
size_t pk_auth_look(const pk_session *session, pk_header header, pk_span bytes);
/* Such a message: SWALLOW means that ours was said in its place, or that the session ends. */
pk_answer pk_auth_answer(pk_session *session, pk_header header, pk_span message);

#endif
