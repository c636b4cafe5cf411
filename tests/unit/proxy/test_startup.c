/* First packets: whole, cut, and wrong. */
#include "proxy/startup.h"
#include "table.h"

#define BYTES(literal)                                                                             \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }

static const struct row {
    const char *name;
    pk_span bytes;
    pk_first_packet kind;
    size_t size;
    const char *sqlstate, *user, *database;
    bool walsender, rewrite;
} rows[] = {
    {"nothing", BYTES(""), PK_FIRST_MORE, 4, .rewrite = false},
    {"half a length", BYTES("\0\0\0"), PK_FIRST_MORE, 4, .rewrite = false},
    {"a length alone", BYTES("\0\0\0\x09"), PK_FIRST_MORE, 9, .rewrite = false},
    {"TLS at once", BYTES("\x16"), PK_FIRST_TLS, 4, .rewrite = false},
    {"SSLRequest", BYTES("\0\0\0\x08\x04\xd2\x16\x2f"), PK_FIRST_SSL_REQUEST, 8, .rewrite = false},
    {"GSSENCRequest", BYTES("\0\0\0\x08\x04\xd2\x16\x30"), PK_FIRST_GSS_REQUEST, 8,
     .rewrite = false},
    {"SSLRequest that is longer", BYTES("\0\0\0\x09\x04\xd2\x16\x2f."), PK_FIRST_BAD, 9,
     .sqlstate = PK_E_PROTOCOL},
    {"CancelRequest", BYTES("\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34zkey"), PK_FIRST_CANCEL, 16,
     .rewrite = false},
    {"CancelRequest without a key", BYTES("\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\1"), PK_FIRST_BAD, 12,
     .sqlstate = PK_E_PROTOCOL},
    {"length 3", BYTES("\0\0\0\3"), PK_FIRST_BAD, 4, .sqlstate = PK_E_PROTOCOL},
    {"length 7", BYTES("\0\0\0\7"), PK_FIRST_BAD, 4, .sqlstate = PK_E_PROTOCOL},
    {"length 10004 is waited for", BYTES("\0\0\x27\x14"), PK_FIRST_MORE, 10004, .rewrite = false},
    {"length 10005", BYTES("\0\0\x27\x15"), PK_FIRST_BAD, 4, .sqlstate = PK_E_PROTOCOL},
    {"length 2^31", BYTES("\x80\0\0\0"), PK_FIRST_BAD, 4, .sqlstate = PK_E_PROTOCOL},
    {"length 2^32-1", BYTES("\xff\xff\xff\xff"), PK_FIRST_BAD, 4, .sqlstate = PK_E_PROTOCOL},
    {"protocol 2.0", BYTES("\0\0\0\x08\0\2\0\0"), PK_FIRST_BAD, 8, .sqlstate = PK_E_UNSUPPORTED},
    {"protocol 4.0", BYTES("\0\0\0\x08\0\4\0\0"), PK_FIRST_BAD, 8, .sqlstate = PK_E_UNSUPPORTED},
    {"the shortest packet", BYTES("\0\0\0\x09\0\3\0\0\0"), PK_FIRST_STARTUP, 9, NULL, "", "",
     .rewrite = false},
    {"a user", BYTES("\0\0\0\x10\0\3\0\0user\0u\0\0"), PK_FIRST_STARTUP, 16, NULL, "u", "u",
     .rewrite = false},
    {"user and database", BYTES("\0\0\0\x1b\0\3\0\0user\0u\0database\0d\0\0"), PK_FIRST_STARTUP, 27,
     NULL, "u", "d", .rewrite = false},
    {"without terminator", BYTES("\0\0\0\x0a\0\3\0\0u\0"), PK_FIRST_BAD, 10,
     .sqlstate = PK_E_PROTOCOL},
    {"a name without end", BYTES("\0\0\0\x0a\0\3\0\0us"), PK_FIRST_BAD, 10,
     .sqlstate = PK_E_PROTOCOL},
    {"bytes behind the terminator", BYTES("\0\0\0\x0a\0\3\0\0\0."), PK_FIRST_BAD, 10,
     .sqlstate = PK_E_PROTOCOL},
    {"replication", BYTES("\0\0\0\x17\0\3\0\0replication\0T\0\0"), PK_FIRST_STARTUP, 23, NULL, "",
     "", .walsender = true},
    {"replication=database", BYTES("\0\0\0\x1e\0\3\0\0replication\0database\0\0"), PK_FIRST_STARTUP,
     30, NULL, "", "", .walsender = true},
    {"replication=oF", BYTES("\0\0\0\x18\0\3\0\0replication\0oF\0\0"), PK_FIRST_STARTUP, 24, NULL,
     "", "", .rewrite = false},
    {"replication=0",
     BYTES("\0\0\0\x17\0\3\0\0replication\0"
           "0\0\0"),
     PK_FIRST_STARTUP, 23, NULL, "", "", .rewrite = false},
    {"replication=on", BYTES("\0\0\0\x18\0\3\0\0replication\0on\0\0"), PK_FIRST_STARTUP, 24, NULL,
     "", "", .walsender = true},
    {"a newer minor", BYTES("\0\0\0\x09\0\3\x27\x0f\0"), PK_FIRST_STARTUP, 9, NULL, "", "",
     .rewrite = true},
    {"3.2", BYTES("\0\0\0\x09\0\3\0\2\0"), PK_FIRST_STARTUP, 9, NULL, "", "", .rewrite = false},
    {"an option of the protocol", BYTES("\0\0\0\x12\0\3\0\0_pq_.x\0y\0\0"), PK_FIRST_STARTUP, 18,
     NULL, "", "", .rewrite = true},
};

static void packet_is_understood(void **state)
{
    const struct row *row = *state;
    pk_startup startup;
    pk_error err = {0};
    /* The length in front is the packet's own, so that a row cannot lie about it. */
    assert_int_equal(pk_startup_parse(row->bytes, &startup, &err), row->kind);
    assert_int_equal(startup.size, row->size);
    assert_string_equal(err.sqlstate, row->sqlstate == NULL ? "" : row->sqlstate);
    if (row->user != NULL) {
        assert_true(pk_span_equal(startup.user, pk_span_of(row->user)));
        assert_true(pk_span_equal(startup.database, pk_span_of(row->database)));
    }
    assert_int_equal(startup.walsender, row->walsender);
    assert_int_equal(startup.rewrite, row->rewrite);
}

static const char packet[] = "\0\0\0\x24\0\3\0\5user\0u\0_pq_.x\0001\0database\0d\0\0";

static void every_prefix_asks_for_more(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof packet - 1; len++) {
        pk_startup startup;
        pk_error err;
        assert_int_equal(pk_startup_parse((pk_span){packet, len}, &startup, &err), PK_FIRST_MORE);
        assert_int_equal(startup.size, len < 4 ? 4 : sizeof packet - 1);
    }
}

static void a_cancel_request_is_read(void **state)
{
    pk_startup startup;
    pk_error err;
    (void)state;
    pk_span bytes = PK_SPAN("\0\0\0\x12\x04\xd2\x16\x2e\0\0\x12\x34longer");
    assert_int_equal(pk_startup_parse(bytes, &startup, &err), PK_FIRST_CANCEL);
    assert_int_equal(startup.pid, 0x1234);
    assert_true(pk_span_equal(startup.key, PK_SPAN("longer")));
}

static void what_is_not_understood_is_taken_out(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_STARTUP_MAX);
    PK_AUTO(pk_buf_clear) pk_buf removed = PK_BUF_MAX(PK_STARTUP_MAX);
    pk_error err;
    (void)state;
    pk_span whole = {packet, sizeof packet - 1};
    assert_true(pk_startup_rewrite(whole, &out, &removed, &err));
    assert_true(
        pk_span_equal(pk_buf_span(&out), PK_SPAN("\0\0\0\x1b\0\3\0\2user\0u\0database\0d\0\0")));
    assert_true(pk_span_equal(pk_buf_span(&removed), PK_SPAN("_pq_.x\0")));
}

static void negotiation_is_said_once_and_whole(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(1024);
    pk_error err;
    (void)state;
    assert_true(pk_startup_negotiated(PK_SPAN(""), 0x00030f0f, PK_SPAN("_pq_.x\0"), &out, &err));
    assert_true(pk_span_equal(pk_buf_span(&out), PK_SPAN("v\0\0\0\x13\0\3\0\2\0\0\0\1_pq_.x\0")));
    pk_buf_clear(&out);
    assert_true(pk_startup_negotiated(PK_SPAN("v\0\0\0\x0e\0\3\0\0\0\0\0\1a\0"), 0x00030002,
                                      PK_SPAN("b\0"), &out, &err));
    assert_true(pk_span_equal(pk_buf_span(&out), PK_SPAN("v\0\0\0\x10\0\3\0\0\0\0\0\2a\0b\0")));
    pk_buf_clear(&out);
    /* a count that lies */
    assert_false(pk_startup_negotiated(PK_SPAN("v\0\0\0\x0e\0\3\0\0\0\0\0\2a\0"), 0x00030002,
                                       PK_SPAN("b\0"), &out, &err));
    assert_false(
        pk_startup_negotiated(PK_SPAN("v\0\0\0\x06\0\3"), 0x00030002, PK_SPAN("b\0"), &out, &err));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, packet_is_understood);
    PK_SUITE_TEST(&suite, every_prefix_asks_for_more);
    PK_SUITE_TEST(&suite, a_cancel_request_is_read);
    PK_SUITE_TEST(&suite, what_is_not_understood_is_taken_out);
    PK_SUITE_TEST(&suite, negotiation_is_said_once_and_whole);
    return pk_suite_run(&suite, "startup");
}
