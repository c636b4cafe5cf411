/*
 * Getting connected: at once, later, at the second address, not at all; what happens to who gives
 * up in the middle; TLS asked for and refused. Names are looked up here and not on a network: this
 * program's getaddrinfo is found before the C library's, also by libuv.
 */
#include "proxy/connect.h"
#include "sockets.h"
#include "tls_ends.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define LATE_MS 10000u

/* ---- a name service ---- */

static struct names {
    pk_address list[20];
    size_t count;
    int rc;
    bool waits; /* until `go` */
    sem_t asked, go;
    atomic_int lookups;
} names;

__attribute__((visibility("default"))) int getaddrinfo(const char *host, const char *port,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **found)
{
    (void)host;
    (void)port;
    (void)hints;
    atomic_fetch_add(&names.lookups, 1);
    if (names.waits) {
        sem_post(&names.asked);
        while (sem_wait(&names.go) != 0)
            ;
    }
    *found = NULL;
    for (size_t i = names.count; i > 0; i--) {
        struct addrinfo *one = calloc(1, sizeof *one);
        one->ai_addr = (struct sockaddr *)&names.list[i - 1];
        one->ai_addrlen = pk_address_len(&names.list[i - 1]);
        one->ai_next = *found;
        *found = one;
    }
    return names.rc;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *found)
{
    while (found != NULL) {
        struct addrinfo *next = found->ai_next;
        free(found);
        found = next;
    }
}

/* ---- one attempt ---- */

static test_poller loop;
static pk_target target;
static pk_connect_order order;
static pk_connection made;
static pk_error why;
static int answers; /* how often `done` was called */
static size_t files_before;

static void done(void *ctx, const pk_connection *connection, const pk_error *err)
{
    assert_ptr_equal(ctx, &order);
    answers++;
    made = *connection;
    if (err != NULL)
        why = *err;
    pk_poller_stop(&loop.poller);
}

static void set_target(const char *text)
{
    pk_error err;
    assert_true(pk_target_parse(text, "5432", &target, &err));
}

static void set_address(const pk_address *at)
{
    char text[PK_ADDRESS_TEXT];
    set_target(pk_address_text(at, text, sizeof text));
}

static void set_names(const pk_address *list, size_t count)
{
    set_target("db.example:5432");
    memcpy(names.list, list, count * sizeof *list);
    names.count = count;
}

static void begin(void)
{
    names.count = 0;
    names.rc = 0;
    names.waits = false;
    atomic_store(&names.lookups, 0);
    answers = 0;
    made = (pk_connection){.fd = -1};
    why = (pk_error){0};
    order = (pk_connect_order){.target = &target};
    open_poller(&loop);
    (void)run_for(&loop, 1); /* libuv has made what it makes once */
    files_before = count_files();
}

static void end(void)
{
    pk_tls_link_free(pk_steal(&made.tls));
    if (made.fd >= 0)
        (void)close(made.fd);
    assert_int_equal(count_files(), files_before);
    pk_tls_unref(order.tls);
    close_poller(&loop);
}

static pk_connect *start(void)
{
    pk_connect *dial = pk_connect_start(&loop.poller, &order, done, &order, &made);
    assert_int_equal(answers, 0); /* never from within */
    return dial;
}

static void start_and_wait(void)
{
    assert_non_null(start());
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(answers, 1);
}

static void assert_connected(const pk_address *to)
{
    char byte = 0;
    assert_true(made.fd >= 0);
    assert_int_equal(made.to.family, to->family);
    if (to->family == AF_INET)
        assert_int_equal(made.to.in.sin_port, to->in.sin_port);
    assert_true(fcntl(made.fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(recv(made.fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static void assert_failed(const char *sqlstate, const char *text)
{
    assert_int_equal(made.fd, -1);
    assert_null(made.tls);
    assert_string_equal(why.sqlstate, sqlstate);
    assert_non_null(strstr(why.message, "could not connect to server at "));
    assert_string_equal(strstr(why.message, text), text); /* the message ends so */
}

/* ---- without TLS ---- */

static void over_loopback_it_is_connected_at_once(void **state)
{
    pk_address at;
    (void)state;
    begin();
    const int listener = listen_somewhere(&at, 1);
    set_address(&at);
    assert_null(start());
    assert_connected(&at);
    assert_false(run_for(&loop, 20)); /* and nothing more is heard */
    assert_int_equal(answers, 0);
    (void)close(listener);
    end();
}

static void an_exact_address_is_the_only_one(void **state)
{
    pk_address at;
    pk_address other = nowhere();
    (void)state;
    begin();
    const int listener = listen_somewhere(&at, 1);
    set_address(&other);
    order.exact = &at;
    assert_null(start());
    assert_connected(&at);
    (void)close(listener);
    end();
}

static void nobody_there_is_told_later(void **state)
{
    pk_address at = nowhere();
    char text[PK_ADDRESS_TEXT];
    char message[200];
    (void)state;
    begin();
    set_address(&at);
    start_and_wait();
    assert_failed(PK_E_BACKEND_UNREACHABLE, ": Connection refused");
    (void)snprintf(message, sizeof message, "could not connect to server at %s: Connection refused",
                   pk_address_text(&at, text, sizeof text));
    assert_string_equal(why.message, message);
    assert_non_null(strstr(why.hint, "proxy.backend"));
    end();
}

static void of_two_addresses_the_second_may_answer(void **state)
{
    pk_address both[2] = {nowhere()};
    (void)state;
    begin();
    const int listener = listen_somewhere(&both[1], 1);
    set_names(both, 2);
    start_and_wait();
    assert_connected(&both[1]);
    assert_int_equal(atomic_load(&names.lookups), 1);
    (void)close(listener);
    end();
}

static void the_first_that_answers_is_taken(void **state)
{
    pk_address both[2];
    (void)state;
    begin();
    const int first = listen_somewhere(&both[0], 1);
    const int second = listen_somewhere(&both[1], 1);
    set_names(both, 2);
    start_and_wait();
    assert_connected(&both[0]);
    (void)close(first);
    (void)close(second);
    end();
}

static void if_none_answers_the_last_says_why(void **state)
{
    pk_address all[3] = {nowhere(), nowhere(), nowhere()};
    (void)state;
    begin();
    set_names(all, 3);
    start_and_wait();
    assert_failed(PK_E_BACKEND_UNREACHABLE, "at db.example:5432: Connection refused");
    end();
}

static const struct many_row {
    const char *name;
    size_t listening; /* which of them */
    bool tried;
} many_rows[] = {
    {"of very many addresses the sixteenth is tried", 15, true},
    {"of very many addresses the seventeenth is not", 16, false},
};

static void many_addresses_are_tried(void **state)
{
    const struct many_row *row = *state;
    pk_address all[18];
    begin();
    const int listener = listen_somewhere(&all[row->listening], 1);
    for (size_t i = 0; i < 18; i++)
        if (i != row->listening)
            all[i] = nowhere();
    set_names(all, 18);
    start_and_wait();
    if (row->tried)
        assert_connected(&all[row->listening]);
    else
        assert_failed(PK_E_BACKEND_UNREACHABLE, ": Connection refused");
    (void)close(listener);
    end();
}

/* It says nothing, not even no. */
static void a_silent_address_does_not_keep_the_next_from_its_chance(void **state)
{
    pk_address both[2];
    int clients[2];
    (void)state;
    begin();
    const int silent = listen_full(&both[0], clients);
    const int listener = listen_somewhere(&both[1], 1);
    set_names(both, 2);
    const uint64_t began = pk_poller_now(&loop.poller);
    start_and_wait();
    assert_connected(&both[1]);
    assert_in_range(pk_poller_now(&loop.poller) - began, 4900, 8000);
    (void)close(clients[0]);
    (void)close(clients[1]);
    (void)close(silent);
    (void)close(listener);
    end();
}

static const struct lookup_row {
    const char *name;
    int rc;
    const char *message;
} lookup_rows[] = {
    {"a name that nobody knows", EAI_NONAME, ": unknown node or service"},
    {"a name service that does not answer", EAI_AGAIN, ": temporary failure"},
    {"a name without addresses", 0, ": the name has no address"},
};

static void a_lookup_fails(void **state)
{
    const struct lookup_row *row = *state;
    begin();
    set_target("db.example:5432");
    names.rc = row->rc;
    start_and_wait();
    assert_failed(PK_E_BACKEND_UNREACHABLE, row->message);
    end();
}

static void without_descriptors_it_is_our_fault(void **state)
{
    pk_address at;
    (void)state;
    begin();
    const int listener = listen_somewhere(&at, 1);
    set_address(&at);
    const struct rlimit limit = allow_files(0);
    start_and_wait();
    restore_files(&limit);
    assert_failed(PK_E_CONNECTIONS, ": Too many open files");
    (void)close(listener);
    end();
}

/* ---- Unix sockets ---- */

static char directory[64];
static struct sockaddr_un path;

static int listen_path(int backlog)
{
    pk_error err;
    char text[80];
    make_directory(directory);
    (void)snprintf(text, sizeof text, "%s:5432", directory);
    set_target(text);
    assert_true(pk_target_path(&target, &path, &err));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&path, sizeof path), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void remove_path(void)
{
    assert_int_equal(unlink(path.sun_path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void a_unix_socket_is_connected_at_once(void **state)
{
    static const pk_address local = {.family = AF_UNIX};
    (void)state;
    begin();
    const int listener = listen_path(1);
    assert_null(start());
    assert_connected(&local);
    (void)close(listener);
    remove_path();
    end();
}

static void a_unix_socket_where_nobody_listens_refuses(void **state)
{
    (void)state;
    begin();
    const int bound = listen_path(-1);
    start_and_wait();
    assert_failed(PK_E_BACKEND_UNREACHABLE, ": Connection refused");
    (void)close(bound);
    remove_path();
    end();
}

static void a_unix_socket_that_is_not_there_is_named(void **state)
{
    (void)state;
    begin();
    set_target("/nonexistent/pg:5432");
    start_and_wait();
    assert_failed(PK_E_BACKEND_UNREACHABLE, "at /nonexistent/pg:5432: No such file or directory");
    end();
}

static void a_unix_socket_path_that_is_too_long_is_refused(void **state)
{
    char text[200] = "/";
    (void)state;
    begin();
    memset(text + 1, 'd', 120);
    set_target(text);
    start_and_wait();
    assert_int_equal(made.fd, -1);
    assert_non_null(strstr(why.message, "could not connect to server at /ddd"));
    end();
}

/* The kernel does not queue there: EAGAIN, and no event when there is room. A server whose queue is
 * full for a moment is not one that is not there. */
static void a_unix_socket_whose_queue_is_full_is_tried_again(void **state)
{
    static const pk_address local = {.family = AF_UNIX};
    (void)state;
    begin();
    const int listener = listen_path(0);
    const int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(first, (const struct sockaddr *)&path, sizeof path), 0);
    assert_non_null(start());
    assert_false(run_for(&loop, 30));
    assert_int_equal(answers, 0);
    const int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(answers, 1);
    assert_connected(&local);
    (void)close(accepted);
    (void)close(first);
    (void)close(listener);
    remove_path();
    end();
}

/* ---- giving up ---- */

static void abandon(pk_connect *dial)
{
    pk_connect_abandon(dial);
    assert_false(run_for(&loop, 30));
    assert_int_equal(answers, 0);
    made = (pk_connection){.fd = -1};
}

static void one_may_give_up_nothing(void **state)
{
    (void)state;
    pk_connect_abandon(NULL);
}

/* The lookup runs in a thread and cannot be stopped: it is let go of when it comes back. */
static void one_may_give_up_while_a_name_is_looked_up(void **state)
{
    const pk_address at = nowhere();
    (void)state;
    begin();
    set_names(&at, 1);
    names.waits = true;
    pk_connect *dial = start();
    assert_non_null(dial);
    while (sem_wait(&names.asked) != 0)
        ;
    pk_connect_abandon(dial);
    assert_false(run_for(&loop, 20));
    sem_post(&names.go);
    assert_false(run_for(&loop, 50));
    assert_int_equal(answers, 0);
    end();
}

/* One that waits for a thread never begins. */
static void one_may_give_up_before_a_name_is_looked_up(void **state)
{
    enum { MANY = 8 }; /* libuv has four threads */
    const pk_address at = nowhere();
    pk_connect *dials[MANY];
    (void)state;
    begin();
    set_names(&at, 1);
    names.waits = true;
    for (int i = 0; i < MANY; i++)
        dials[i] = start();
    while (sem_wait(&names.asked) != 0)
        ;
    for (int i = 0; i < MANY; i++)
        pk_connect_abandon(dials[i]);
    for (int i = 0; i < MANY; i++)
        sem_post(&names.go);
    assert_false(run_for(&loop, 50));
    assert_int_equal(answers, 0);
    assert_true(atomic_load(&names.lookups) < MANY);
    while (sem_trywait(&names.go) == 0 || sem_trywait(&names.asked) == 0)
        ;
    end();
}

static void one_may_give_up_while_connecting(void **state)
{
    pk_address at;
    int clients[2];
    (void)state;
    begin();
    const int silent = listen_full(&at, clients);
    set_address(&at);
    pk_connect *dial = start();
    assert_non_null(dial);
    assert_false(run_for(&loop, 20));
    abandon(dial);
    (void)close(clients[0]);
    (void)close(clients[1]);
    (void)close(silent);
    end();
}

static void one_may_give_up_between_two_addresses(void **state)
{
    pk_address both[2] = {nowhere(), nowhere()};
    (void)state;
    begin();
    set_address(&both[0]);
    abandon(start()); /* refused already, which is told a moment later */
    end();
}

static pk_connect *first_dial, *second_dial;

static void done_and_abandon_other(void *ctx, const pk_connection *connection, const pk_error *err)
{
    (void)ctx;
    (void)connection;
    (void)err;
    pk_connect_abandon(second_dial);
    pk_poller_stop(&loop.poller);
}

static void one_may_be_given_up_in_another_s_callback(void **state)
{
    const pk_address at = nowhere();
    (void)state;
    begin();
    set_address(&at);
    first_dial = pk_connect_start(&loop.poller, &order, done_and_abandon_other, NULL, &made);
    second_dial = start();
    assert_true(run_for(&loop, LATE_MS));
    assert_false(run_for(&loop, 30));
    assert_int_equal(answers, 0);
    made = (pk_connection){.fd = -1};
    end();
}

/* ---- TLS ---- */

static const char request[] = {0, 0, 0, 8, 0x04, (char)0xd2, 0x16, 0x2f};

static void use_tls(pk_sslmode mode, bool direct)
{
    static const pk_tls_files none = {0};
    pk_error err;
    order.tls = pk_tls_for_server(&none, mode, "", "db.example", direct, &err);
    assert_non_null(order.tls);
}

static bool is_readable(int fd)
{
    struct pollfd it = {.fd = fd, .events = POLLIN};
    return poll(&it, 1, 0) == 1;
}

/* Runs the poller until the server has a connection with something to read; its socket. */
static int meet(int listener)
{
    for (int i = 0; i < 100 && !is_readable(listener); i++)
        (void)run_for(&loop, 10);
    assert_true(is_readable(listener));
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; i < 100 && !is_readable(fd) && answers == 0; i++)
        (void)run_for(&loop, 10);
    return fd;
}

static void expect_request(int fd)
{
    char got[16] = {0};
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), sizeof request);
    assert_memory_equal(got, request, sizeof request);
}

static void reply(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static const struct no_row {
    const char *name;
    pk_sslmode mode;
    const char *said; /* NULL: it closes */
    const char *message;
} no_rows[] = {
    {"require, and the server has none", PK_SSL_REQUIRE, "N",
     ": server does not support SSL, but SSL was required"},
    {"require, and it says nonsense", PK_SSL_REQUIRE, "X",
     ": received invalid response to SSL negotiation"},
    {"require, and it sends an error", PK_SSL_REQUIRE, "E\0\0\0\5",
     ": received invalid response to SSL negotiation"},
    {"require, and it closes", PK_SSL_REQUIRE, NULL,
     ": the server closed the connection during SSL negotiation"},
};

static void tls_is_not_had(void **state)
{
    const struct no_row *row = *state;
    pk_address at;
    begin();
    const int listener = listen_somewhere(&at, 4);
    set_address(&at);
    use_tls(row->mode, false);
    assert_non_null(start());
    const int server = meet(listener);
    expect_request(server);
    if (row->said != NULL)
        reply(server, row->said);
    else
        (void)close(server);
    assert_true(run_for(&loop, LATE_MS));
    assert_failed(PK_E_BACKEND_UNREACHABLE, row->message);
    if (row->said != NULL)
        (void)close(server);
    (void)close(listener);
    end();
}

static void prefer_takes_a_server_without_tls_as_it_is(void **state)
{
    pk_address at;
    (void)state;
    begin();
    const int listener = listen_somewhere(&at, 4);
    set_address(&at);
    use_tls(PK_SSL_PREFER, false);
    assert_non_null(start());
    const int server = meet(listener);
    expect_request(server);
    reply(server, "N");
    assert_true(run_for(&loop, LATE_MS));
    assert_connected(&at);
    assert_null(made.tls);
    (void)close(server);
    (void)close(listener);
    end();
}

static const struct again_row {
    const char *name;
    const char *said; /* NULL: it closes at once */
} again_rows[] = {
    {"it closes when asked", NULL},
    {"it says nonsense", "X"},
    {"it says yes and then nonsense", "Snonsense"},
    {"it says yes and then what looks like TLS", "S\x16\x03\x03"},
};

/* libpq's rule: the same address once more, and without asking. */
static void prefer_tries_once_more_without_tls(void **state)
{
    const struct again_row *row = *state;
    pk_address at;
    begin();
    const int listener = listen_somewhere(&at, 4);
    set_address(&at);
    use_tls(PK_SSL_PREFER, false);
    assert_non_null(start());
    const int server = meet(listener);
    expect_request(server);
    if (row->said != NULL)
        reply(server, row->said);
    (void)close(server);
    assert_true(run_for(&loop, LATE_MS));
    assert_connected(&at);
    assert_null(made.tls);
    assert_true(is_readable(listener));
    const int second = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_false(is_readable(second)); /* nothing was sent yet */
    assert_false(is_readable(listener));
    (void)close(second);
    (void)close(listener);
    end();
}

/* That one address cannot do TLS says nothing about the next. */
static void prefer_asks_the_next_address_for_tls(void **state)
{
    pk_address both[2];
    (void)state;
    begin();
    const int broken = listen_somewhere(&both[0], 4);
    const int listener = listen_somewhere(&both[1], 4);
    set_names(both, 2);
    use_tls(PK_SSL_PREFER, false);
    assert_non_null(start());
    const int server = meet(broken);
    expect_request(server);
    (void)close(broken); /* so that it refuses the second attempt */
    (void)close(server);
    const int second = meet(listener);
    expect_request(second);
    reply(second, "N");
    assert_true(answers > 0 || run_for(&loop, LATE_MS));
    assert_connected(&both[1]);
    (void)close(second);
    (void)close(listener);
    end();
}

/* Accepted at once, over loopback, and then silence: the next address has its chance. */
static void a_server_that_does_not_answer_the_request_has_its_time(void **state)
{
    pk_address both[2];
    (void)state;
    begin();
    const int silent = listen_somewhere(&both[0], 4);
    const int listener = listen_somewhere(&both[1], 4);
    set_names(both, 2);
    use_tls(PK_SSL_PREFER, false);
    pk_connect *dial = start();
    assert_non_null(dial);
    const int server = meet(silent);
    expect_request(server);
    for (int i = 0; i < 80 && !is_readable(listener); i++)
        (void)run_for(&loop, 100);
    const bool came = is_readable(listener);
    pk_connect_abandon(dial);
    (void)run_for(&loop, 20);
    (void)close(server);
    (void)close(silent);
    (void)close(listener);
    made = (pk_connection){.fd = -1};
    end();
    assert_true(came);
}

static void direct_tls_begins_without_asking(void **state)
{
    pk_address at;
    unsigned char got[5];
    (void)state;
    begin();
    const int listener = listen_somewhere(&at, 4);
    set_address(&at);
    use_tls(PK_SSL_REQUIRE, true);
    assert_non_null(start());
    const int server = meet(listener);
    assert_int_equal(recv(server, got, sizeof got, 0), sizeof got);
    assert_int_equal(got[0], 0x16); /* a handshake's record */
    reply(server, "N");
    (void)close(server);
    assert_true(run_for(&loop, LATE_MS));
    assert_int_equal(made.fd, -1);
    assert_string_equal(why.sqlstate, PK_E_BACKEND_UNREACHABLE);
    (void)close(listener);
    end();
}

/* ---- a server that has answered before we look ---- */

static _Thread_local bool waits_for_answer;
static sem_t answered;

/* The linker's names, which C reserves. */
ssize_t real_send(int fd, const void *bytes, size_t len, int flags) __asm__("__real_send");
ssize_t patient_send(int fd, const void *bytes, size_t len, int flags) __asm__("__wrap_send");

ssize_t patient_send(int fd, const void *bytes, size_t len, int flags)
{
    const ssize_t sent = real_send(fd, bytes, len, flags);
    if (waits_for_answer)
        while (sem_wait(&answered) != 0)
            ;
    waits_for_answer = false;
    return sent;
}

static void *serve_tls(void *listener)
{
    pk_error err = {0};
    pk_tls_stop stop = PK_TLS_WANTS_READ;
    bool told = false;
    pk_tls *tls = server_tls();
    struct pollfd it = {.fd = accept4(*(int *)listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK),
                        .events = POLLIN};
    pk_tls_link *link = pk_tls_accept(tls, it.fd, PK_SPAN(""), &err);
    while (stop == PK_TLS_WANTS_READ && poll(&it, 1, LATE_MS) == 1 &&
           !pk_tls_handshake(link, &stop, &err)) {
        if (!told)
            sem_post(&answered);
        told = true;
    }
    pk_tls_link_free(link);
    (void)close(it.fd);
    pk_tls_unref(tls);
    pk_tls_leave_thread();
    return NULL;
}

/* Then the connection is there at once, with TLS, and `done` is not called. */
static void direct_tls_may_be_there_at_once(void **state)
{
    pk_address at;
    pthread_t server;
    (void)state;
    make_world();
    begin();
    int listener = listen_somewhere(&at, 4);
    set_address(&at);
    use_tls(PK_SSL_REQUIRE, true);
    assert_int_equal(sem_init(&answered, 0, 0), 0);
    assert_int_equal(pthread_create(&server, NULL, serve_tls, &listener), 0);
    waits_for_answer = true;
    assert_null(start());
    assert_true(made.fd >= 0);
    assert_non_null(made.tls);
    assert_int_equal(pthread_join(server, NULL), 0);
    assert_int_equal(answers, 0);
    (void)close(listener);
    end();
    remove_world();
}

static const struct phase_row {
    const char *name, *said;
    bool direct;
} phase_rows[] = {
    {"while it waits for yes or no", "", false},
    {"in the middle of the handshake", "S", false},
    {"in the middle of a handshake that was begun without asking", "", true},
};

static void one_may_give_up_tls(void **state)
{
    const struct phase_row *row = *state;
    pk_address at;
    begin();
    const int listener = listen_somewhere(&at, 4);
    set_address(&at);
    use_tls(PK_SSL_REQUIRE, row->direct);
    pk_connect *dial = start();
    assert_non_null(dial);
    const int server = meet(listener);
    reply(server, row->said);
    assert_false(run_for(&loop, 20));
    abandon(dial);
    (void)close(server);
    (void)close(listener);
    end();
}

static void a_unix_socket_is_not_asked_for_tls(void **state)
{
    static const pk_address local = {.family = AF_UNIX};
    (void)state;
    begin();
    const int listener = listen_path(1);
    use_tls(PK_SSL_REQUIRE, false);
    assert_null(start());
    assert_connected(&local);
    (void)close(listener);
    remove_path();
    end();
}

int main(void)
{
    static pk_suite suite;
    sem_init(&names.asked, 0, 0);
    sem_init(&names.go, 0, 0);
    PK_SUITE_TEST(&suite, over_loopback_it_is_connected_at_once);
    PK_SUITE_TEST(&suite, an_exact_address_is_the_only_one);
    PK_SUITE_TEST(&suite, nobody_there_is_told_later);
    PK_SUITE_TEST(&suite, of_two_addresses_the_second_may_answer);
    PK_SUITE_TEST(&suite, the_first_that_answers_is_taken);
    PK_SUITE_TEST(&suite, if_none_answers_the_last_says_why);
    PK_SUITE_ROWS(&suite, many_rows, many_addresses_are_tried);
    PK_SUITE_TEST(&suite, a_silent_address_does_not_keep_the_next_from_its_chance);
    PK_SUITE_ROWS(&suite, lookup_rows, a_lookup_fails);
    PK_SUITE_TEST(&suite, without_descriptors_it_is_our_fault);
    PK_SUITE_TEST(&suite, a_unix_socket_is_connected_at_once);
    PK_SUITE_TEST(&suite, a_unix_socket_where_nobody_listens_refuses);
    PK_SUITE_TEST(&suite, a_unix_socket_that_is_not_there_is_named);
    PK_SUITE_TEST(&suite, a_unix_socket_path_that_is_too_long_is_refused);
    PK_SUITE_TEST(&suite, a_unix_socket_whose_queue_is_full_is_tried_again);
    PK_SUITE_TEST(&suite, one_may_give_up_nothing);
    PK_SUITE_TEST(&suite, one_may_give_up_while_a_name_is_looked_up);
    PK_SUITE_TEST(&suite, one_may_give_up_before_a_name_is_looked_up);
    PK_SUITE_TEST(&suite, one_may_give_up_while_connecting);
    PK_SUITE_TEST(&suite, one_may_give_up_between_two_addresses);
    PK_SUITE_TEST(&suite, one_may_be_given_up_in_another_s_callback);
    PK_SUITE_ROWS(&suite, no_rows, tls_is_not_had);
    PK_SUITE_TEST(&suite, prefer_takes_a_server_without_tls_as_it_is);
    PK_SUITE_ROWS(&suite, again_rows, prefer_tries_once_more_without_tls);
    PK_SUITE_TEST(&suite, prefer_asks_the_next_address_for_tls);
    PK_SUITE_TEST(&suite, a_server_that_does_not_answer_the_request_has_its_time);
    PK_SUITE_TEST(&suite, direct_tls_begins_without_asking);
    PK_SUITE_TEST(&suite, direct_tls_may_be_there_at_once);
    PK_SUITE_ROWS(&suite, phase_rows, one_may_give_up_tls);
    PK_SUITE_TEST(&suite, a_unix_socket_is_not_asked_for_tls);
    return pk_suite_run(&suite, "connect");
}
