/*
 * Moves messages between the two peers of a session: looks at headers, counts what will be
 * answered, hands Query and Parse to intercept, and writes the longest run of bytes that needs no
 * change with one call, straight from the buffer it was read into. Bodies are streamed, never
 * collected, but for the few short ones that are looked at. Loop thread only.
 */
#ifndef PK_PROXY_RELAY_H
#define PK_PROXY_RELAY_H

#include "proxy/session.h"

/* Both return how many of the bytes are done with. */
size_t pk_relay_client(pk_session *session, pk_span bytes);
size_t pk_relay_server(pk_session *session, pk_span bytes);

/* client_encoding is this now. No encoding of PostgreSQL's has a name that would be cut. */
void pk_relay_note_encoding(pk_session *session, pk_span name);

#endif
