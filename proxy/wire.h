/*
 * Message framing and building of protocol 3: how long is this message, may it be that long, and
 * how is one of ours written (wire-protocol 1). Lengths are 32-bit until they are checked, and only
 * then widened. Pure; any thread.
 */
#ifndef PK_PROXY_WIRE_H
#define PK_PROXY_WIRE_H

#include "base/buf.h"

#define PK_WIRE_HEADER 5u
/* libpq refuses longer messages of most types; nothing we look into is longer either. */
#define PK_WIRE_SHORT_MAX 30000u
/* Longest password or SASL message a client may send. */
#define PK_WIRE_PASSWORD_MAX 65535u

typedef struct pk_header {
    char type;
    size_t size; /* of the whole message, type byte and length included */
} pk_header;

typedef enum pk_framing {
    PK_FRAMING_OK,
    PK_FRAMING_MORE, /* not even a header yet */
    PK_FRAMING_BAD_TYPE,
    PK_FRAMING_BAD_LENGTH,
} pk_framing;

/* The most that a length may say in a message of this type from a client; 0: there is no such type.
 * From a server every printable type is let through. */
extern const uint32_t pk_wire_client_limits[256];
#define PK_WIRE_SERVER_LIMIT 0x7fffffffu

/* Four bytes as the wire has them. Inline like what follows: these are asked for every message that
 * passes. */
static inline uint32_t pk_wire_u32(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline bool pk_wire_is_length(uint32_t length, uint32_t limit)
{
    return length >= 4 && length <= limit;
}

/* The header at the start of `bytes`, with the limits the server itself has. After any BAD the
 * framing is lost: the connection must end. */
pk_framing pk_wire_client(pk_span bytes, pk_header *header) PK_MUST_USE;
pk_framing pk_wire_server(pk_span bytes, pk_header *header) PK_MUST_USE;

/* Reads a body piece by piece; the first thing that is not there sets `bad`, and all later ones are
 * empty. */
typedef struct pk_reader {
    pk_span rest;
    bool bad;
} pk_reader;

pk_span pk_read_text(pk_reader *reader); /* up to a NUL, which is skipped */
uint16_t pk_read_u16(pk_reader *reader);
uint32_t pk_read_u32(pk_reader *reader);
pk_span pk_read_bytes(pk_reader *reader, size_t len);

/* Writes messages; failing (no memory, ceiling reached) sticks and is looked at once, at the end.
 */
typedef struct pk_writer {
    pk_buf *out;
    size_t start; /* of the current message, from the buffer's consumed position */
    bool failed;
} pk_writer;

void pk_write_begin(pk_writer *writer, char type);
void pk_write_u8(pk_writer *writer, uint8_t value);
void pk_write_u16(pk_writer *writer, uint16_t value);
void pk_write_u32(pk_writer *writer, uint32_t value);
void pk_write_bytes(pk_writer *writer, pk_span bytes);
void pk_write_text(pk_writer *writer, pk_span text); /* with a NUL behind */
void pk_write_end(pk_writer *writer);

#endif
