/* Addresses as administrators write them and as the kernel does; whether one of them is our own. */
#include "proxy/address.h"
#include "sockets.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

static const struct good_row {
    const char *name, *text, *host, *port, *shown;
} good_rows[] = {
    {"a name and a port", "db.example:5433", "db.example", "5433", "db.example:5433"},
    {"a port left out", "db.example", "db.example", "5432", "db.example:5432"},
    {"IPv4", "10.0.0.1:1", "10.0.0.1", "1", "10.0.0.1:1"},
    {"IPv6", "[::1]:5433", "::1", "5433", "[::1]:5433"},
    {"IPv6, a port left out", "[fd00::2]", "fd00::2", "5432", "[fd00::2]:5432"},
    {"all addresses", "*:6543", "*", "6543", "*:6543"},
    {"a Unix socket", "/run/postgresql:5433", "/run/postgresql", "5433", "/run/postgresql:5433"},
    {"a Unix socket, a port left out", "/run/pg", "/run/pg", "5432", "/run/pg:5432"},
    {"any free port", "localhost:0", "localhost", "0", "localhost:0"},
    {"the last port", "x:65535", "x", "65535", "x:65535"},
    {"zeros in front", "x:0005432", "x", "5432", "x:5432"},
};

static void target_is_understood(void **state)
{
    const struct good_row *row = *state;
    pk_target target;
    char text[300];
    pk_error err = {0};
    assert_true(pk_target_parse(row->text, "5432", &target, &err));
    assert_string_equal(target.host, row->host);
    assert_string_equal(target.port, row->port);
    assert_string_equal(pk_target_text(&target, text, sizeof text), row->shown);
}

static const struct bad_row {
    const char *name, *text, *hint;
} bad_rows[] = {
    {"nothing", "", ""},
    {"no host", ":5432", ""},
    {"no port behind the colon", "host:", ""},
    {"a port by name", "host:http", ""},
    {"a port with a tail", "host:5432x", ""},
    {"a port with a sign", "host:+1", ""},
    {"a port out of range", "host:65536", ""},
    {"a port beyond all numbers", "host:99999999999999999999999", ""},
    {"IPv6 without brackets", "::1", "Write an IPv6 address in brackets: [::1]:5432."},
    {"IPv6 without brackets, with a port", "fd00::2:5432",
     "Write an IPv6 address in brackets: [::1]:5432."},
    {"a bracket that is not closed", "[::1", ""},
    {"a word behind the bracket", "[::1]5432", ""},
    {"nothing in brackets", "[]:5432", ""},
    {"brackets and no port", "[::1]:", ""},
};

static void target_is_refused(void **state)
{
    const struct bad_row *row = *state;
    pk_target target;
    pk_error err = {0};
    char message[128];
    assert_false(pk_target_parse(row->text, "5432", &target, &err));
    (void)snprintf(message, sizeof message, "invalid address \"%s\"", row->text);
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_string_equal(err.message, message);
    assert_string_equal(err.hint, row->hint);
}

static void a_host_name_has_a_longest_length(void **state)
{
    char text[300] = "";
    pk_target target;
    pk_error err;
    (void)state;
    memset(text, 'h', 255);
    assert_true(pk_target_parse(text, "5432", &target, &err));
    assert_int_equal(strlen(target.host), 255);
    memset(text, 'h', 256);
    assert_false(pk_target_parse(text, "5432", &target, &err));
}

static const struct shape_row {
    const char *name, *text, *shown, *host;
    bool address, local;
} shape_rows[] = {
    {"IPv4", "192.0.2.1:5432", "192.0.2.1:5432", "192.0.2.1", true, false},
    {"IPv4 loopback", "127.0.0.1:1", "127.0.0.1:1", "127.0.0.1", true, true},
    {"all of 127 is loopback", "127.200.0.9:1", "127.200.0.9:1", "127.200.0.9", true, true},
    {"128.0.0.1 is not", "128.0.0.1:1", "128.0.0.1:1", "128.0.0.1", true, false},
    {"IPv6", "[fd00::2]:5432", "[fd00::2]:5432", "fd00::2", true, false},
    {"IPv6 loopback", "[::1]:65535", "[::1]:65535", "::1", true, true},
    {"a Unix socket", "/run/pg:1", "[local]", "[local]", true, true},
    {"a name is none", "localhost:1", NULL, NULL, false, false},
    {"all addresses are none", "*:1", NULL, NULL, false, false},
    {"IPv4 with three parts is a name", "10.0.1:1", NULL, NULL, false, false},
};

static void address_is_recognised(void **state)
{
    const struct shape_row *row = *state;
    pk_target target;
    pk_address address;
    char text[PK_ADDRESS_TEXT];
    pk_error err;
    assert_true(pk_target_parse(row->text, "5432", &target, &err));
    assert_int_equal(pk_target_is_address(&target, &address), row->address);
    if (!row->address)
        return;
    assert_string_equal(pk_address_text(&address, text, sizeof text), row->shown);
    assert_string_equal(pk_address_host(&address, text), row->host);
    assert_int_equal(pk_address_is_local(&address), row->local);
}

static void the_kernel_s_addresses_are_taken(void **state)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/run/pg/.s.PGSQL.5432"};
    const pk_address v4 = loopback(7);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    (void)state;
    pk_address got = pk_address_of((const struct sockaddr *)&v4, sizeof v4.in);
    assert_int_equal(got.family, AF_INET);
    assert_int_equal(got.in.sin_port, htons(7));
    assert_int_equal(pk_address_len(&got), sizeof(struct sockaddr_in));
    got = pk_address_of((const struct sockaddr *)&v6, sizeof v6);
    assert_int_equal(got.family, AF_INET6);
    assert_int_equal(pk_address_len(&got), sizeof(struct sockaddr_in6));
    got = pk_address_of((const struct sockaddr *)&path, sizeof path);
    assert_int_equal(got.family, AF_UNIX);
    assert_int_equal(pk_address_len(&got), 0);
    /* cut short: not looked at */
    got = pk_address_of((const struct sockaddr *)&v6, sizeof v6 - 1);
    assert_int_equal(got.family, AF_UNIX);
}

static void a_socket_path_has_a_longest_length(void **state)
{
    const size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const size_t fixed = strlen("/.s.PGSQL.5432");
    struct sockaddr_un path;
    pk_target target = {.host = "/", .port = "5432"};
    pk_error err = {0};
    (void)state;
    memset(target.host + 1, 'd', most - fixed - 1);
    assert_true(pk_target_path(&target, &path, &err));
    assert_int_equal(strlen(path.sun_path), most);
    assert_int_equal(path.sun_family, AF_UNIX);
    target.host[most - fixed] = 'd';
    assert_false(pk_target_path(&target, &path, &err));
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_non_null(strstr(err.message, "/.s.PGSQL.5432\" is too long"));
    assert_string_equal(err.detail, "It can have at most 107 bytes.");
}

/* ---- our own ---- */

static const struct circle_row {
    const char *name;
    uint32_t listen_at; /* host byte order */
    uint32_t connect_to;
    bool other_port, circle;
} circle_rows[] = {
    {"the address itself", INADDR_LOOPBACK, INADDR_LOOPBACK, false, true},
    {"another port", INADDR_LOOPBACK, INADDR_LOOPBACK, true, false},
    {"one of all addresses", INADDR_ANY, INADDR_LOOPBACK, false, true},
    {"another of all addresses", INADDR_ANY, INADDR_LOOPBACK + 8, false, true},
    {"another loopback address", INADDR_LOOPBACK + 1, INADDR_LOOPBACK, false, false},
    {"0.0.0.0 means this host", INADDR_LOOPBACK, INADDR_ANY, false, true},
    {"0.0.0.0 means this host, on all addresses", INADDR_ANY, INADDR_ANY, false, true},
};

static pk_address at(uint32_t host, in_port_t port)
{
    pk_address address = {.in = {.sin_family = AF_INET, .sin_port = port}};
    address.in.sin_addr.s_addr = htonl(host);
    return address;
}

/* Whether somebody listens there does not matter for the answer, but for getting connected. */
static void circle_is_seen(void **state)
{
    const struct circle_row *row = *state;
    socklen_t len = sizeof(struct sockaddr_in);
    pk_address real = at(INADDR_ANY, 0);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&real, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&real, &len), 0);
    const in_port_t port = real.in.sin_port;
    const pk_address to = at(row->connect_to, port);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to.in), 0);
    const pk_address listening[] = {{.family = AF_UNIX},
                                    at(row->listen_at, row->other_port ? htons(1) : port)};
    assert_int_equal(pk_address_is_circle(fd, &to, listening, 2), row->circle);
    assert_false(pk_address_is_circle(fd, &to, listening, 0));
    (void)close(fd);
    (void)close(listener);
}

static void a_circle_over_ipv6_is_seen(void **state)
{
    pk_address there = {.in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    pk_address any = {.in6 = {.sin6_family = AF_INET6}};
    socklen_t len = sizeof there.in6;
    (void)state;
    const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&there, len) != 0)
        skip(); /* a host without IPv6 */
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&there, &len), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&there, len), 0);
    any.in6.sin6_port = there.in6.sin6_port;
    const pk_address v4 = at(INADDR_ANY, there.in6.sin6_port);
    assert_true(pk_address_is_circle(fd, &there, &there, 1));
    assert_true(pk_address_is_circle(fd, &there, &any, 1));
    assert_false(pk_address_is_circle(fd, &there, &v4, 1));
    (void)close(fd);
    (void)close(listener);
}

/* ---- options ---- */

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static const struct tune_row {
    const char *name;
    uint32_t peer;
    bool keepalive;
} tune_rows[] = {
    {"a peer on this host needs no keepalive", INADDR_LOOPBACK, false},
    {"a peer elsewhere is looked after", 0xc0000201, true},
};

static void socket_is_tuned(void **state)
{
    const struct tune_row *row = *state;
    const pk_address peer = at(row->peer, htons(5432));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pk_socket_tune(fd, &peer);
    assert_int_not_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE) != 0, row->keepalive);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 60, row->keepalive);
    (void)close(fd);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, good_rows, target_is_understood);
    PK_SUITE_ROWS(&suite, bad_rows, target_is_refused);
    PK_SUITE_TEST(&suite, a_host_name_has_a_longest_length);
    PK_SUITE_ROWS(&suite, shape_rows, address_is_recognised);
    PK_SUITE_TEST(&suite, the_kernel_s_addresses_are_taken);
    PK_SUITE_TEST(&suite, a_socket_path_has_a_longest_length);
    PK_SUITE_ROWS(&suite, circle_rows, circle_is_seen);
    PK_SUITE_TEST(&suite, a_circle_over_ipv6_is_seen);
    PK_SUITE_ROWS(&suite, tune_rows, socket_is_tuned);
    return pk_suite_run(&suite, "address");
}
