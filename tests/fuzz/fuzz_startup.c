/*
 * The first bytes of a stranger: whatever they are, what is understood lies within them, what is
 * forwarded is a packet that PostgreSQL understands in the same way, and every answer to it is well
 * formed. What was cut off must be the beginning of something: more bytes never change the verdict
 * on a packet that is complete.
 */
#include "proxy/startup.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_rewritten(pk_span packet, const pk_startup *first)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX((size_t)2 * PK_STARTUP_MAX);
    PK_AUTO(pk_buf_clear) pk_buf removed = PK_BUF_MAX(PK_STARTUP_MAX);
    PK_AUTO(pk_buf_clear) pk_buf negotiated = PK_BUF_MAX((size_t)2 * PK_STARTUP_MAX);
    pk_error err;
    pk_startup again;
    pk_header header;
    require(pk_startup_rewrite(packet, &out, &removed, &err));
    require(pk_startup_parse(pk_buf_span(&out), &again, &err) == PK_FIRST_STARTUP);
    require(!again.rewrite && again.size == pk_buf_span(&out).len);
    require(again.walsender == first->walsender && pk_span_equal(again.user, first->user) &&
            pk_span_equal(again.database, first->database));
    require(pk_startup_negotiated(PK_SPAN(""), first->version, pk_buf_span(&removed), &negotiated,
                                  &err));
    pk_span message = pk_buf_span(&negotiated);
    if (message.len > 0)
        require(pk_wire_server(message, &header) == PK_FRAMING_OK && header.size == message.len &&
                header.type == 'v');
}

/* The same packet with more behind it is the same packet. */
static void check_prefix(pk_span bytes, pk_first_packet kind, const pk_startup *first)
{
    pk_error err;
    pk_startup whole;
    if (kind == PK_FIRST_MORE || kind == PK_FIRST_BAD || kind == PK_FIRST_TLS)
        return;
    require(first->size <= bytes.len && first->size <= PK_STARTUP_MAX);
    require(pk_startup_parse((pk_span){bytes.ptr, first->size}, &whole, &err) == kind);
    for (size_t len = 0; len < first->size; len++)
        require(pk_startup_parse((pk_span){bytes.ptr, len}, &whole, &err) == PK_FIRST_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pk_span bytes = pk_span_bytes(data, size);
    pk_startup first;
    pk_error err = {0};
    pk_first_packet kind = pk_startup_parse(bytes, &first, &err);
    if (kind == PK_FIRST_MORE)
        require(first.size > bytes.len && first.size <= PK_STARTUP_MAX);
    if (kind == PK_FIRST_BAD)
        require(err.sqlstate[0] != '\0' && err.message[0] != '\0');
    check_prefix(bytes, kind, &first);
    if (kind == PK_FIRST_STARTUP)
        check_rewritten((pk_span){bytes.ptr, first.size}, &first);
    return 0;
}
