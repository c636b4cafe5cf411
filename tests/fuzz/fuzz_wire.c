/*
 * Bytes of a stranger before anything is known about him: the first packet of a connection, and the
 * framing of both directions with the books behind it. The first byte chooses: 'S' a first packet,
 * 'C' messages of a client, 'B' a Bind, else a conversation in which the top bit of each step says
 * who speaks.
 */
#include "proxy/extended.h"
#include "proxy/replyq.h"
#include "proxy/startup.h"
#include "proxy/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* A packet that was understood lies within the bytes, and can be written again without what is new.
 */
static void first_packet(pk_span bytes)
{
    pk_startup startup;
    pk_error err;
    pk_first_packet kind = pk_startup_parse(bytes, &startup, &err);
    if (kind == PK_FIRST_MORE)
        must(startup.size > bytes.len && startup.size <= PK_STARTUP_MAX);
    if (kind != PK_FIRST_STARTUP)
        return;
    must(startup.size <= bytes.len);
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX((size_t)2 * PK_STARTUP_MAX);
    PK_AUTO(pk_buf_clear) pk_buf removed = PK_BUF_MAX(PK_STARTUP_MAX);
    must(pk_startup_rewrite((pk_span){bytes.ptr, startup.size}, &out, &removed, &err));
    pk_startup again;
    must(pk_startup_parse(pk_buf_span(&out), &again, &err) == PK_FIRST_STARTUP);
    must(!again.rewrite && again.size == pk_buf_span(&out).len);
    must(again.walsender == startup.walsender);
    must(pk_span_equal(again.user, startup.user));
    pk_buf_clear(&out);
    must(pk_startup_negotiated(PK_SPAN(""), startup.version, pk_buf_span(&removed), &out, &err));
}

static void messages(pk_span bytes)
{
    pk_header header;
    while (pk_wire_client(bytes, &header) == PK_FRAMING_OK) {
        must(header.size >= PK_WIRE_HEADER && header.size <= 0x3fffffffu);
        if (header.size > bytes.len)
            return;
        bytes = (pk_span){bytes.ptr + header.size, bytes.len - header.size};
    }
}

/* Whatever was bound lies within the message, and the Bind made of it names the same things. */
static void bind_message(pk_span bytes)
{
    pk_targets targets;
    pk_targets again;
    pk_error err;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1u << 20);
    PK_AUTO_PTR(pk_portal_free) pk_portal *portal = pk_portal_new();
    portal->prepared = pk_prepared_new();
    if (bytes.len < PK_WIRE_HEADER || bytes.len > 64u << 10)
        return;
    if (!pk_extended_targets('B', bytes, &targets))
        return;
    if (!pk_extended_read_bind(bytes, "UTF8", 3, portal, &err)) {
        must(err.sqlstate[0] != 0);
        return;
    }
    size_t total = 0;
    for (size_t i = 0; i < portal->value_count; i++)
        total += portal->lengths[i] == UINT32_MAX ? 0 : portal->lengths[i];
    must(total == pk_buf_span(&portal->bytes).len && total < bytes.len);
    must(portal->format_count <= 1 || portal->format_count == 3);
    must(pk_extended_null_bind(&out, &targets, portal->value_count));
    must(pk_extended_targets('B', pk_buf_span(&out), &again));
    must(pk_span_equal(again.portal, targets.portal));
    must(pk_span_equal(again.statement, targets.statement));
    must(pk_portal_size(portal) >= total);
}

static void conversation(pk_span bytes)
{
    pk_replyq queue = {0};
    for (size_t i = 0; i < bytes.len; i++) {
        char type = (char)(bytes.ptr[i] & 0x7f);
        if (bytes.ptr[i] & 0x80)
            pk_replyq_got(&queue, type, 'I');
        else if (!pk_replyq_full(&queue))
            pk_replyq_sent(&queue, type);
        must(queue.count <= PK_REPLYQ_MAX);
    }
    /* However tangled it was: behind a Sync that is answered the books are balanced. */
    pk_replyq_got(&queue, 'Z', 'I');
    if (!pk_replyq_full(&queue)) {
        pk_replyq_sent(&queue, 'S');
        while (queue.count > 0)
            pk_replyq_got(&queue, 'Z', 'I');
        pk_replyq_got(&queue, 'Z', 'I');
    }
    must(queue.count > 0 || pk_replyq_quiescent(&queue));
    pk_replyq_clear(&queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    pk_span rest = pk_span_bytes(data + 1, size - 1);
    if (data[0] == 'S')
        first_packet(rest);
    else if (data[0] == 'C')
        messages(rest);
    else if (data[0] == 'B')
        bind_message(rest);
    else
        conversation(rest);
    return 0;
}
