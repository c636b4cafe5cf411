/*
 * Requests of the keeper as they may come over the control socket: what is admitted reads the same
 * again with nobody's name in it but the peer's; every kind of value is read to its end or found
 * bad.
 */
#include "engine/keeper_message.h"
#include "engine/keeper_transport.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_admitted(pk_span request)
{
    PK_AUTO(pk_buf_clear) pk_buf admitted = PK_BUF_SECRET(1u << 20);
    PK_AUTO(pk_buf_clear) pk_buf again = PK_BUF_SECRET(1u << 20);
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    pk_error err = {0};
    if (!pk_keeper_admit(request, "uid:1", &admitted, &err)) {
        require(err.sqlstate[0] != '\0');
        return;
    }
    require(pk_keeper_admit(pk_buf_span(&admitted), "uid:1", &again, &err));
    require(pk_span_equal(pk_buf_span(&admitted), pk_buf_span(&again)));
    pk_message_in in = {.rest = pk_buf_span(&admitted), .arena = &arena};
    pk_keeper_op op;
    require(pk_get_op(&in, &op, &err));
    if (!pk_keeper_op_audited(op))
        return;
    pk_row_audit audit = pk_get_audit(&in);
    require(!in.bad && pk_span_equal(pk_span_of(audit.actor), PK_SPAN("uid:1")));
}

/* Values in the order that the data itself chooses. */
static void check_values(pk_span bytes)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4u << 20);
    pk_message_in in = {.rest = bytes, .arena = &arena};
    pk_database db;
    pk_opener opener;
    pk_key_brief brief;
    char name[16];
    while (!in.bad && in.rest.len > 0) {
        const size_t before = in.rest.len;
        switch (pk_get_u8(&in) & 7) {
        case 0:
            (void)pk_get_database(&in, &db);
            break;
        case 1:
            (void)pk_get_opener(&in, &opener);
            break;
        case 2:
            pk_get_brief(&in, &brief);
            break;
        case 3:
            pk_get_name(&in, name, sizeof name);
            require(memchr(name, 0, sizeof name) != NULL);
            break;
        case 4:
            require(pk_get_count(&in, 4) <= before / 4);
            break;
        case 5:
            (void)pk_get_audit(&in);
            break;
        default:
            require(pk_get_bytes(&in).len < before);
            break;
        }
        require(in.rest.len < before);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pk_span bytes = pk_span_bytes(data, size);
    if (size > 1u << 16)
        return 0;
    check_admitted(bytes);
    check_values(bytes);
    return 0;
}
