/*
 * Values in PostgreSQL's binary format, made of the text a result carries: what boolsend, int4send,
 * int8send, timestamptz_send and uuid_send put on the wire. Pure; any thread.
 */
#ifndef PK_PROXY_BINARY_H
#define PK_PROXY_BINARY_H

#include "engine/result.h"
#include "proxy/wire.h"

/* Length and value. Text that is none of this type fails the writer; text itself has no binary form
 * of its own and is not written here. */
void pk_binary_write(pk_writer *writer, pk_type type, const char *value);

#endif
