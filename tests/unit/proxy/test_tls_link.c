/*
 * Connections: every way in which bytes can come in pieces, stop, end or be wrong. The other end is
 * mostly plain OpenSSL, because that can be told to misbehave. recv and send are counted, and fail
 * when a test wants it.
 */
#include "tls_pairs.h"

#include <malloc.h>

/* ---- what stands between us and the kernel ---- */

static struct kernel {
    unsigned recvs, sends;
    int recv_errno, send_errno; /* what the next one fails with; 0: nothing */
} kernel;

/* The linker's names for the two, which C reserves. */
ssize_t real_recv(int fd, void *to, size_t room, int flags) __asm__("__real_recv");
ssize_t counted_recv(int fd, void *to, size_t room, int flags) __asm__("__wrap_recv");
ssize_t real_send(int fd, const void *bytes, size_t len, int flags) __asm__("__real_send");
ssize_t counted_send(int fd, const void *bytes, size_t len, int flags) __asm__("__wrap_send");

static bool fails_with(int *number)
{
    errno = *number;
    *number = 0;
    return errno != 0;
}

ssize_t counted_recv(int fd, void *to, size_t room, int flags)
{
    kernel.recvs++;
    return fails_with(&kernel.recv_errno) ? -1 : real_recv(fd, to, room, flags);
}

ssize_t counted_send(int fd, const void *bytes, size_t len, int flags)
{
    kernel.sends++;
    return fails_with(&kernel.send_errno) ? -1 : real_send(fd, bytes, len, flags);
}

/* OpenSSL's share of the heap, as malloc hands it out. */
static struct heap {
    size_t bytes, calls;
} heap;

static void *count_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    void *block = malloc(size);
    heap.calls++;
    heap.bytes += malloc_usable_size(block);
    return block;
}

static void count_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    heap.bytes -= malloc_usable_size(block);
    free(block);
}

static void *count_realloc(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    heap.calls++;
    heap.bytes -= malloc_usable_size(block);
    block = realloc(block, size);
    heap.bytes += malloc_usable_size(block);
    return block;
}

/* ---- in pieces ---- */

/* As after a direct start: the first bytes were read when nobody knew yet that it is TLS. */
static void any_prefix_may_have_been_read(void **state)
{
    const struct version_row *row = *state;
    size_t whole = 1;
    for (size_t begun = 0; begun <= whole; begun++) {
        char hello[4096];
        courier carried;
        open_carried(&carried, row->version);
        (void)step_end(&carried.ends.client);
        whole = from_client(&carried, hello, sizeof hello);
        start_server(&carried, pk_span_bytes(hello, begun));
        if (begun < whole)
            to_server(&carried, hello + begun, whole - begun);
        memset(hello, 'x', begun); /* it was copied */
        (void)step_end(&carried.ends.server);
        answer(&carried);
        finish_carried(&carried, SIZE_MAX / 2);
        raw_write(carried.ends.client.raw, "hello");
        const size_t len = from_client(&carried, hello, sizeof hello);
        to_server(&carried, hello, len);
        assert_reads(carried.ends.server.link, "hello");
        close_carried(&carried);
    }
    assert_true(whole > 100);
}

static void a_handshake_may_come_byte_by_byte(void **state)
{
    const struct version_row *row = *state;
    courier carried;
    open_carried(&carried, row->version);
    start_server(&carried, PK_SPAN(""));
    finish_carried(&carried, 1);
    close_carried(&carried);
}

static void a_record_may_be_cut_anywhere(void **state)
{
    const struct version_row *row = *state;
    char record[256];
    courier carried;
    open_carried(&carried, row->version);
    start_server(&carried, PK_SPAN(""));
    finish_carried(&carried, SIZE_MAX / 2);
    size_t len = 2;
    for (size_t cut = 1; cut < len; cut++) {
        raw_write(carried.ends.client.raw, "twenty bytes of text");
        len = from_client(&carried, record, sizeof record);
        to_server(&carried, record, cut);
        assert_int_equal(stop_of_read(carried.ends.server.link), PK_TLS_WANTS_READ);
        assert_false(pk_tls_has_pending(carried.ends.server.link));
        to_server(&carried, record + cut, len - cut);
        assert_reads(carried.ends.server.link, "twenty bytes of text");
        assert_false(pk_tls_has_pending(carried.ends.server.link));
    }
    assert_true(len > 40);
    close_carried(&carried);
}

/* A whole record and a part of the next: the part does not count as something to be read. */
static void half_a_record_is_nothing(void **state)
{
    const struct version_row *row = *state;
    char records[256];
    courier carried;
    open_carried(&carried, row->version);
    start_server(&carried, PK_SPAN(""));
    finish_carried(&carried, SIZE_MAX / 2);
    raw_write(carried.ends.client.raw, "one");
    raw_write(carried.ends.client.raw, "two");
    const size_t len = from_client(&carried, records, sizeof records);
    to_server(&carried, records, len - 1);
    assert_reads(carried.ends.server.link, "one");
    assert_false(pk_tls_has_pending(carried.ends.server.link));
    to_server(&carried, records + len - 1, 1);
    assert_reads(carried.ends.server.link, "two");
    close_carried(&carried);
}

/* What comes with the last message of the handshake is not lost behind a silent socket. */
static void data_may_come_with_the_handshake(void **state)
{
    const struct version_row *row = *state;
    char bytes[16384];
    courier carried;
    open_carried(&carried, row->version);
    start_server(&carried, PK_SPAN(""));
    while (!carried.ends.client.done) {
        (void)step_end(&carried.ends.client);
        if (carried.ends.client.done)
            break; /* TLS 1.3: its last message is still on the way */
        const size_t len = from_client(&carried, bytes, sizeof bytes);
        if (len > 0)
            to_server(&carried, bytes, len);
        (void)step_end(&carried.ends.server);
        answer(&carried);
    }
    raw_write(carried.ends.client.raw, "early");
    to_server(&carried, bytes, from_client(&carried, bytes, sizeof bytes));
    (void)step_end(&carried.ends.server);
    assert_true(carried.ends.server.done);
    if (row->version == TLS1_3_VERSION)
        assert_true(pk_tls_has_pending(carried.ends.server.link));
    assert_reads(carried.ends.server.link, "early");
    assert_false(pk_tls_has_pending(carried.ends.server.link));
    close_carried(&carried);
}

/* ---- reading ---- */

static void what_finds_no_room_is_pending(void **state)
{
    char got[8];
    pk_tls_stop stop = PK_TLS_BROKEN;
    tls_ends ends = met(state);
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_WANTS_READ);
    assert_false(pk_tls_has_pending(ends.server.link));
    raw_write(ends.client.raw, "0123456789");
    raw_write(ends.client.raw, "abc");
    assert_false(pk_tls_has_pending(ends.server.link)); /* nobody has looked */
    assert_int_equal(pk_tls_read(ends.server.link, got, 4, &stop), 4);
    assert_memory_equal(got, "0123", 4);
    assert_true(pk_tls_has_pending(ends.server.link));
    assert_int_equal(pk_tls_read(ends.server.link, got, 8, &stop), 8); /* over the record's end */
    assert_memory_equal(got, "456789ab", 8);
    assert_true(pk_tls_has_pending(ends.server.link));
    assert_int_equal(pk_tls_read(ends.server.link, got, 8, &stop), 1);
    assert_memory_equal(got, "c", 1);
    assert_false(pk_tls_has_pending(ends.server.link));
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_WANTS_READ);
    close_ends(&ends);
}

static void records_that_are_there_come_with_one_recv(void **state)
{
    char got[64];
    pk_tls_stop stop = PK_TLS_BROKEN;
    tls_ends ends = met(state);
    (void)stop_of_read(ends.server.link);
    raw_write(ends.client.raw, "one");
    raw_write(ends.client.raw, "two");
    raw_write(ends.client.raw, "three");
    kernel.recvs = 0;
    assert_int_equal(pk_tls_read(ends.server.link, got, sizeof got, &stop), 11);
    assert_memory_equal(got, "onetwothree", 11);
    assert_int_equal(kernel.recvs, 1);
    close_ends(&ends);
}

static void a_record_goes_with_one_send(void **state)
{
    pk_tls_stop stop = PK_TLS_BROKEN;
    tls_ends ends = met(state);
    kernel.sends = 0;
    assert_int_equal(pk_tls_write(ends.server.link, PK_SPAN("hello"), &stop), 5);
    assert_int_equal(kernel.sends, 1);
    close_ends(&ends);
}

static void interrupted_calls_are_repeated(void **state)
{
    char got[8];
    pk_tls_stop stop = PK_TLS_BROKEN;
    tls_ends ends = met(state);
    kernel.send_errno = EINTR;
    assert_int_equal(pk_tls_write(ends.server.link, PK_SPAN("hello"), &stop), 5);
    assert_int_equal(SSL_read(ends.client.raw, got, sizeof got), 5);
    raw_write(ends.client.raw, "hello");
    kernel.recv_errno = EINTR;
    assert_reads(ends.server.link, "hello");
    close_ends(&ends);
}

static void a_reset_says_so(void **state)
{
    pk_tls_stop stop = PK_TLS_WANTS_READ;
    tls_ends ends = met(state);
    kernel.recv_errno = ECONNRESET;
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_BROKEN);
    assert_string_equal(pk_tls_link_why(ends.server.link), "Connection reset by peer");
    kernel.send_errno = EPIPE;
    assert_int_equal(pk_tls_write(ends.server.link, PK_SPAN("x"), &stop), -1);
    assert_int_equal(stop, PK_TLS_BROKEN);
    assert_string_equal(pk_tls_link_why(ends.server.link), "Connection reset by peer");
    close_ends(&ends);
}

static void a_reset_in_the_handshake_says_so(void **state)
{
    const struct version_row *row = *state;
    tls_ends ends;
    open_with_raw_client(&ends, row->version);
    (void)step_end(&ends.client);
    kernel.recv_errno = ECONNRESET;
    (void)step_end(&ends.server);
    assert_true(ends.server.failed);
    assert_string_equal(ends.server.err.message,
                        "could not accept SSL connection: Connection reset by peer");
    close_ends(&ends);
}

/* ---- writing ---- */

/* A byte for every place, so that nothing can be lost, repeated or moved. */
static char byte_at(size_t at)
{
    return (char)(at * 7 + at / 251 + at / 65521);
}

/* The next bytes in a block of their own, which is gone afterwards. */
static ssize_t write_moved(pk_tls_link *link, size_t at, size_t len, pk_tls_stop *stop)
{
    char *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(at + i);
    const ssize_t done = pk_tls_write(link, pk_span_bytes(bytes, len), stop);
    memset(bytes, 'x', len);
    free(bytes);
    return done;
}

static size_t take(SSL *raw, size_t at)
{
    char got[20000];
    size_t taken = 0;
    size_t len;
    while (SSL_read_ex(raw, got, sizeof got, &len) == 1) {
        for (size_t i = 0; i < len; i++)
            if (got[i] != byte_at(at + taken + i))
                fail_msg("wrong at %zu", at + taken + i);
        taken += len;
    }
    ERR_clear_error();
    return taken;
}

static void a_full_socket_stops_a_write(void **state)
{
    const size_t all = (size_t)3 << 20;
    const int small = 20000;
    size_t written = 0;
    size_t read = 0;
    unsigned stops = 0;
    tls_ends ends = met(state);
    assert_int_equal(setsockopt(ends.fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    while (read < all) {
        const size_t left = all - written;
        pk_tls_stop stop = PK_TLS_BROKEN;
        const ssize_t done = left == 0 ? 0
                                       : write_moved(ends.server.link, written,
                                                     left < 100000 ? left : 100000, &stop);
        if (done > 0)
            written += (size_t)done;
        if (done < 0) {
            assert_int_equal(stop, PK_TLS_WANTS_WRITE);
            stops++;
        }
        if (done <= 0)
            read += take(ends.client.raw, read);
    }
    assert_int_equal(read, all);
    assert_true(stops > 10);
    close_ends(&ends);
}

static void goodbye_does_not_cut_what_is_stopped(void **state)
{
    const int small = 20000;
    size_t written = 0;
    pk_tls_stop stop = PK_TLS_BROKEN;
    ssize_t done;
    tls_ends ends = met(state);
    assert_int_equal(setsockopt(ends.fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    while ((done = write_moved(ends.server.link, written, 100000, &stop)) > 0)
        written += (size_t)done;
    pk_tls_goodbye(ends.server.link);
    const size_t read = take(ends.client.raw, 0);
    assert_true(read > 0 && read <= written);
    assert_int_equal(SSL_get_shutdown(ends.client.raw), 0);
    close_ends(&ends);
}

/* SIGPIPE would end the process. */
static void a_peer_that_left_is_an_error(void **state)
{
    pk_tls_stop stop = PK_TLS_WANTS_READ;
    tls_ends ends = met(state);
    (void)close(ends.fds[1]);
    ends.fds[1] = -1;
    assert_int_equal(pk_tls_write(ends.server.link, PK_SPAN("x"), &stop), -1);
    assert_int_equal(stop, PK_TLS_BROKEN);
    assert_string_equal(pk_tls_link_why(ends.server.link), "Broken pipe");
    close_ends(&ends);
}

/* ---- ends ---- */

static void goodbye_is_heard(void **state)
{
    char got[8];
    tls_ends ends = met(state);
    pk_tls_goodbye(ends.server.link);
    pk_tls_goodbye(ends.server.link);
    assert_int_equal(SSL_read(ends.client.raw, got, sizeof got), 0);
    assert_int_equal(SSL_get_error(ends.client.raw, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(read(ends.fds[1], got, sizeof got), -1); /* one is enough */
    /* and the other direction is still open */
    raw_write(ends.client.raw, "last");
    assert_reads(ends.server.link, "last");
    (void)SSL_shutdown(ends.client.raw);
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_ENDED);
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_ENDED);
    assert_string_equal(pk_tls_link_why(ends.server.link), "");
    close_ends(&ends);
}

static void freeing_says_goodbye(void **state)
{
    char got[8];
    tls_ends ends = met(state);
    pk_tls_link_free(pk_steal(&ends.server.link));
    assert_int_equal(SSL_read(ends.client.raw, got, sizeof got), 0);
    assert_int_equal(SSL_get_error(ends.client.raw, 0), SSL_ERROR_ZERO_RETURN);
    close_ends(&ends);
}

static void a_link_without_a_handshake_says_nothing(void **state)
{
    char got[8];
    tls_ends ends;
    (void)state;
    open_with_raw_client(&ends, 0);
    pk_tls_goodbye(ends.server.link);
    pk_tls_link_free(pk_steal(&ends.server.link));
    assert_int_equal(read(ends.fds[1], got, sizeof got), -1);
    assert_int_equal(errno, EAGAIN);
    close_ends(&ends);
}

static void closing_without_a_word_is_an_end(void **state)
{
    tls_ends ends = met(state);
    raw_write(ends.client.raw, "last");
    (void)close(ends.fds[1]);
    ends.fds[1] = -1;
    assert_reads(ends.server.link, "last");
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_ENDED);
    close_ends(&ends);
}

/* The socket will not become readable again, so that something else has to tell. */
static void an_end_behind_bytes_is_told(void **state)
{
    tls_ends ends = met(state);
    raw_write(ends.client.raw, "last");
    (void)SSL_shutdown(ends.client.raw);
    assert_reads(ends.server.link, "last");
    assert_true(pk_tls_has_pending(ends.server.link));
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_ENDED);
    assert_false(pk_tls_has_pending(ends.server.link));
    close_ends(&ends);
}

static void what_comes_behind_an_end_is_nothing(void **state)
{
    tls_ends ends = met(state);
    (void)SSL_shutdown(ends.client.raw);
    assert_int_equal(write(ends.fds[1], "\x17\x03\x03\x00\x05wrong", 10), 10);
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_ENDED);
    assert_false(pk_tls_has_pending(ends.server.link));
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_ENDED);
    close_ends(&ends);
}

static void a_fault_behind_bytes_is_told(void **state)
{
    tls_ends ends = met(state);
    raw_write(ends.client.raw, "last");
    assert_int_equal(write(ends.fds[1], "\x17\x03\x03\x00\x05wrong", 10), 10);
    assert_reads(ends.server.link, "last");
    assert_true(pk_tls_has_pending(ends.server.link));
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_BROKEN);
    assert_false(pk_tls_has_pending(ends.server.link));
    assert_string_not_equal(pk_tls_link_why(ends.server.link), "");
    close_ends(&ends);
}

static void leaving_in_the_handshake_is_an_end(void **state)
{
    const struct version_row *row = *state;
    tls_ends ends;
    open_with_raw_client(&ends, row->version);
    (void)step_end(&ends.client);
    (void)step_end(&ends.server);
    assert_int_equal(shutdown(ends.fds[1], SHUT_WR), 0);
    assert_true(step_end(&ends.server));
    assert_int_equal(ends.server.stop, PK_TLS_ENDED);
    assert_string_equal(ends.server.err.message,
                        "could not accept SSL connection: the peer closed the connection");
    close_ends(&ends);
}

/* An unverified server's certificate is not the reason why it went away. */
static void a_certificate_that_nobody_verifies_is_not_blamed(void **state)
{
    const pk_tls_files files = {0};
    pk_error err = {0};
    tls_ends ends;
    (void)state;
    open_with_raw_server(&ends, must_tls(pk_tls_for_server(&files, PK_SSL_REQUIRE, "TLSv1.2",
                                                           "db.example", false, &err),
                                         &err));
    (void)SSL_set_max_proto_version(ends.server.raw, TLS1_2_VERSION);
    (void)step_end(&ends.client);
    (void)step_end(&ends.server);
    (void)step_end(&ends.client); /* it has seen the certificate */
    assert_int_equal(write(ends.fds[0], "\x15\x03\x03\x00\x02\x02\x28", 7), 7);
    assert_true(step_end(&ends.client));
    assert_string_equal(ends.client.err.message, "SSL error: sslv3 alert handshake failure");
    close_ends(&ends);
}

/* ---- wrong bytes ---- */

static const struct garbage_row {
    const char *name, *bytes;
    size_t len;
} garbage_rows[] = {
#define GARBAGE(bytes) bytes, sizeof(bytes) - 1
    {"HTTP", GARBAGE("GET / HTTP/1.0\r\n\r\n")},
    {"zeros", GARBAGE("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"a second SSLRequest", GARBAGE("\0\0\0\x08\x04\xd2\x16\x2f")},
    {"a startup message", GARBAGE("\0\0\0\x13\0\3\0\0user\0alice\0\0")},
    {"an SSLv2 hello", GARBAGE("\x80\x0b\x01\x00\x02\x00\x03\x00\x00\x00\x10\x01\x00\x80")},
    {"a record of another type", GARBAGE("\x17\x03\x03\x00\x05hello")},
    {"an alert", GARBAGE("\x15\x03\x01\x00\x02\x02\x28")},
    {"an alert without a name", GARBAGE("\x15\x03\x01\x00\x02\x02\xfe")},
    {"a record that is too long", GARBAGE("\x16\x03\x01\xff\xff\x01")},
    {"an empty hello", GARBAGE("\x16\x03\x01\x00\x04\x01\x00\x00\x00")},
    {"a hello of nonsense", GARBAGE("\x16\x03\x01\x00\x0c\x01\x00\x00\x08nonsense")},
    {"not a hello", GARBAGE("\x16\x03\x01\x00\x04\x14\x00\x00\x00")},
};

static void garbage_is_refused(void **state)
{
    const struct garbage_row *row = *state;
    for (int begun = 0; begun < 2; begun++) {
        pk_error err = {0};
        tls_ends ends = {0};
        pk_tls *tls = server_tls();
        open_sockets(ends.fds);
        ends.server.link = pk_tls_accept(
            tls, ends.fds[0], pk_span_bytes(row->bytes, begun == 0 ? 0 : row->len), &err);
        pk_tls_unref(tls);
        if (begun == 0)
            assert_int_equal(write(ends.fds[1], row->bytes, row->len), row->len);
        assert_true(step_end(&ends.server));
        assert_true(ends.server.failed);
        assert_int_equal(ends.server.stop, PK_TLS_BROKEN);
        assert_string_equal(ends.server.err.sqlstate, "08P01");
        assert_memory_equal(ends.server.err.message, "could not accept SSL connection: ", 33);
        assert_string_not_equal(pk_tls_link_why(ends.server.link), "");
        close_ends(&ends);
    }
}

static void plain_text_breaks_it(void **state)
{
    pk_tls_stop stop = PK_TLS_WANTS_READ;
    tls_ends ends = met(state);
    assert_int_equal(write(ends.fds[1], "Q\0\0\0\x0dSELECT 1\0", 14), 14);
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_BROKEN);
    assert_string_equal(pk_tls_link_why(ends.server.link), "wrong version number");
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_BROKEN);
    assert_int_equal(pk_tls_write(ends.server.link, PK_SPAN("x"), &stop), -1);
    assert_int_equal(stop, PK_TLS_BROKEN);
    assert_string_equal(pk_tls_link_why(ends.server.link), "wrong version number");
    close_ends(&ends);
}

static void a_forged_record_breaks_it(void **state)
{
    const struct version_row *row = *state;
    char record[256];
    courier carried;
    open_carried(&carried, row->version);
    start_server(&carried, PK_SPAN(""));
    finish_carried(&carried, SIZE_MAX / 2);
    raw_write(carried.ends.client.raw, "pay 100 to alice");
    const size_t len = from_client(&carried, record, sizeof record);
    record[len - 1] = (char)(record[len - 1] ^ 1);
    to_server(&carried, record, len);
    assert_int_equal(stop_of_read(carried.ends.server.link), PK_TLS_BROKEN);
    assert_string_equal(pk_tls_link_why(carried.ends.server.link),
                        row->version == TLS1_3_VERSION ? "decryption failed or bad record mac"
                                                       : "cipher operation failed");
    close_carried(&carried);
}

/* ---- a client that talks about keys ---- */

static void renegotiation_is_refused(void **state)
{
    tls_ends ends;
    (void)state;
    open_with_raw_client(&ends, TLS1_2_VERSION);
    must_shake(&ends);
    assert_int_equal(SSL_renegotiate(ends.client.raw), 1);
    ends.client.done = false;
    (void)step_end(&ends.client);
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_WANTS_READ);
    (void)step_end(&ends.client);
    assert_true(ends.client.failed); /* OpenSSL takes the warning for an end */
    assert_int_equal(stop_of_read(ends.server.link), PK_TLS_BROKEN);
    close_ends(&ends);
}

static void keys_may_be_renewed(void **state)
{
    char got[8];
    pk_tls_stop stop = PK_TLS_BROKEN;
    tls_ends ends;
    (void)state;
    open_with_raw_client(&ends, TLS1_3_VERSION);
    must_shake(&ends);
    assert_int_equal(SSL_key_update(ends.client.raw, SSL_KEY_UPDATE_REQUESTED), 1);
    raw_write(ends.client.raw, "hello");
    assert_reads(ends.server.link, "hello");
    assert_int_equal(pk_tls_write(ends.server.link, PK_SPAN("hello"), &stop), 5);
    assert_int_equal(SSL_read(ends.client.raw, got, sizeof got), 5);
    close_ends(&ends);
}

/* The same from a server: what we answer is an alert (21) and not a hello (22). */
static void renegotiation_is_refused_to_servers(void **state)
{
    const pk_tls_files files = {0};
    pk_error err = {0};
    char type = 0;
    tls_ends ends;
    (void)state;
    open_with_raw_server(
        &ends,
        must_tls(pk_tls_for_server(&files, PK_SSL_PREFER, "", "db.example", false, &err), &err));
    assert_int_equal(SSL_set_max_proto_version(ends.server.raw, TLS1_2_VERSION), 1);
    must_shake(&ends);
    assert_int_equal(SSL_renegotiate(ends.server.raw), 1);
    ends.server.done = false;
    (void)step_end(&ends.server);
    assert_int_equal(stop_of_read(ends.client.link), PK_TLS_WANTS_READ);
    assert_int_equal(recv(ends.fds[0], &type, 1, MSG_PEEK), 1);
    assert_int_equal(type, 21);
    close_ends(&ends);
}

#define RENEWALS 7000 /* more than fit into two reads */

/* One call takes two reads of them, and nothing behind them is lost. */
static void renewing_keys_all_day_is_not_our_day(void **state)
{
    static char bytes[RENEWALS * 32];
    size_t len = 0;
    unsigned calls = 0;
    ssize_t got;
    courier carried;
    (void)state;
    open_carried(&carried, TLS1_3_VERSION);
    start_server(&carried, PK_SPAN(""));
    finish_carried(&carried, SIZE_MAX / 2);
    for (int i = 0; i < RENEWALS; i++) {
        assert_int_equal(SSL_key_update(carried.ends.client.raw, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(carried.ends.client.raw), 1);
        len += from_client(&carried, bytes + len, sizeof bytes - len);
    }
    raw_write(carried.ends.client.raw, "hello");
    len += from_client(&carried, bytes + len, sizeof bytes - len);
    to_server(&carried, bytes, len);
    do {
        char text[16];
        pk_tls_stop stop = PK_TLS_BROKEN;
        kernel.recvs = 0;
        got = pk_tls_read(carried.ends.server.link, text, sizeof text, &stop);
        assert_true(got > 0 || stop == PK_TLS_WANTS_READ);
        assert_in_range(kernel.recvs, 0, 2);
        calls++;
    } while (got < 0 && calls < 40);
    assert_int_equal(got, 5);
    assert_true(calls > 1);
    close_carried(&carried);
}

/* ---- what it costs ---- */

#define MANY 20

static void an_idle_link_is_small(void **state)
{
    const struct version_row *row = *state;
    pk_tls_link *links[MANY];
    int fds[MANY][2];
    pk_error err = {0};
    pk_tls *tls = server_tls();
    for (size_t i = 0; i < MANY; i++) {
        tls_ends ends = {0};
        open_sockets(fds[i]);
        ends.server.link = links[i] = pk_tls_accept(tls, fds[i][0], PK_SPAN(""), &err);
        ends.client.raw = raw_end(fds[i][1], false, row->version);
        must_shake(&ends);
        raw_write(ends.client.raw, "hello");
        assert_reads(links[i], "hello");
        assert_int_equal(stop_of_read(links[i]), PK_TLS_WANTS_READ);
        SSL_free(ends.client.raw);
    }
    const size_t before = heap.bytes;
    for (size_t i = 0; i < MANY; i++) {
        pk_tls_link_free(links[i]);
        (void)close(fds[i][0]);
        (void)close(fds[i][1]);
    }
    const size_t each = (before - heap.bytes) / MANY;
    print_message("%s: %zu bytes of OpenSSL's for an idle link\n", row->name, each);
    assert_in_range(each, 1000, 16000);
    pk_tls_unref(tls);
}

int main(void)
{
    static pk_suite suite;
    if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
        return 1;
    make_world();
    ROWS(&suite, any_prefix_may_have_been_read);
    ROWS(&suite, a_handshake_may_come_byte_by_byte);
    ROWS(&suite, a_record_may_be_cut_anywhere);
    ROWS(&suite, half_a_record_is_nothing);
    ROWS(&suite, data_may_come_with_the_handshake);
    ROWS(&suite, what_finds_no_room_is_pending);
    ROWS(&suite, records_that_are_there_come_with_one_recv);
    ROWS(&suite, a_record_goes_with_one_send);
    ROWS(&suite, interrupted_calls_are_repeated);
    ROWS(&suite, a_reset_says_so);
    ROWS(&suite, a_reset_in_the_handshake_says_so);
    ROWS(&suite, a_full_socket_stops_a_write);
    ROWS(&suite, goodbye_does_not_cut_what_is_stopped);
    ROWS(&suite, a_peer_that_left_is_an_error);
    ROWS(&suite, goodbye_is_heard);
    ROWS(&suite, freeing_says_goodbye);
    PK_SUITE_TEST(&suite, a_link_without_a_handshake_says_nothing);
    ROWS(&suite, closing_without_a_word_is_an_end);
    ROWS(&suite, an_end_behind_bytes_is_told);
    ROWS(&suite, what_comes_behind_an_end_is_nothing);
    ROWS(&suite, a_fault_behind_bytes_is_told);
    ROWS(&suite, leaving_in_the_handshake_is_an_end);
    PK_SUITE_TEST(&suite, a_certificate_that_nobody_verifies_is_not_blamed);
    PK_SUITE_ROWS(&suite, garbage_rows, garbage_is_refused);
    ROWS(&suite, plain_text_breaks_it);
    ROWS(&suite, a_forged_record_breaks_it);
    PK_SUITE_TEST(&suite, renegotiation_is_refused);
    PK_SUITE_TEST(&suite, renegotiation_is_refused_to_servers);
    PK_SUITE_TEST(&suite, keys_may_be_renewed);
    PK_SUITE_TEST(&suite, renewing_keys_all_day_is_not_our_day);
    ROWS(&suite, an_idle_link_is_small);
    const int failed = pk_suite_run(&suite, "tls_link");
    remove_world();
    return failed;
}
