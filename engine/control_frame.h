/*
 * Messages on the control socket, both ends: a length (4 bytes, network order, of what follows the
 * kind), a kind (1 byte) and that many bytes. 'Q' asks (a request of the keeper), 'R' answers it,
 * 'E' refuses: SQLSTATE, message, detail, hint, each ended by a zero byte. Every wait has an end.
 * docs/operations.md, "The control socket".
 */
#ifndef PK_ENGINE_CONTROL_FRAME_H
#define PK_ENGINE_CONTROL_FRAME_H

#include "base/buf.h"

#include <sys/socket.h>
#include <sys/un.h>

#define PK_CONTROL_NAME "control.sock"
#define PK_CONTROL_MAX  (256u << 10) /* of what follows the kind */

#define PK_FRAME_REQUEST 'Q'
#define PK_FRAME_REPLY   'R'
#define PK_FRAME_ERROR   'E'

/* The socket in an open directory, however long the directory's path is. */
void pk_control_address(int dir, struct sockaddr_un *address);

/* One whole message. 54000 above PK_CONTROL_MAX, 57014 not taken in time, 58030 else. */
bool pk_frame_send(int fd, char kind, pk_span bytes, int timeout_ms, pk_error *err) PK_MUST_USE;
bool pk_frame_send_error(int fd, const pk_error *error, int timeout_ms);

/* One whole message, its bytes appended to a secret buffer. `stop`: a descriptor that ends the wait
 * when it can be read, or -1. 08P01 too long or of no known kind; 57014 not complete in time, or
 * stopped; 58030 the peer is gone. */
bool pk_frame_receive(int fd, int stop, int timeout_ms, char *kind, pk_buf *bytes,
                      pk_error *err) PK_MUST_USE;
/* What an 'E' message says, into *err; always false. */
bool pk_frame_error(pk_span bytes, pk_error *err);

#endif
