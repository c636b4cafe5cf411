/* Where clients come in: what is bound, in which words it fails, whose socket files are removed. */
#include "base/log.h"
#include "proxy/listen.h"
#include "sockets.h"

#include <netinet/tcp.h>

static pk_listeners listeners;
static char directory[64], path[100], where[100]; /* a path fits into sun_path */

static int begin(void **state)
{
    (void)state;
    listeners = (pk_listeners){0};
    make_directory(directory);
    (void)snprintf(path, sizeof path, "%s/.s.PGSQL.6543", directory);
    (void)snprintf(where, sizeof where, "%s:6543", directory);
    return 0;
}

static bool try_listen(const char *addresses, pk_error *err)
{
    *err = (pk_error){0};
    return pk_listen(&listeners, addresses, 0700, err);
}

static void close_all(void)
{
    static pk_poller none; /* nothing was watched */
    pk_listen_close(&listeners, &none);
}

static void end(void)
{
    close_all();
    (void)unlink(path);
    assert_int_equal(rmdir(directory), 0); /* nothing else was left in it */
}

static int connect_path(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static bool is_there(const char *file)
{
    struct stat info;
    return lstat(file, &info) == 0;
}

/* ---- TCP ---- */

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void a_free_port_is_found_and_told(void **state)
{
    pk_error err;
    (void)begin(state);
    assert_true(try_listen("127.0.0.1:0", &err));
    assert_int_equal(listeners.count, 1);
    const pk_address *at = &listeners.list[0].at;
    assert_int_equal(at->family, AF_INET);
    assert_int_not_equal(at->in.sin_port, 0);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)at, sizeof at->in), 0);
    (void)close(fd);
    end();
}

/* Set once, on the listener. */
static void an_accepted_socket_has_its_options(void **state)
{
    pk_error err;
    (void)begin(state);
    assert_true(try_listen("127.0.0.1:0", &err));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const pk_address *at = &listeners.list[0].at;
    assert_int_equal(connect(fd, (const struct sockaddr *)at, sizeof at->in), 0);
    const int got = accept4(listeners.list[0].watch.fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(got >= 0);
    assert_int_not_equal(option(got, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_not_equal(option(got, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(option(got, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_true(fcntl(listeners.list[0].watch.fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(listeners.list[0].watch.fd, F_GETFD) & FD_CLOEXEC);
    (void)close(got);
    (void)close(fd);
    end();
}

static void several_addresses_are_served(void **state)
{
    char text[256];
    pk_error err;
    (void)begin(state);
    (void)snprintf(text, sizeof text, "127.0.0.1:0, %s ,127.0.0.2:0", where);
    assert_true(try_listen(text, &err));
    assert_int_equal(listeners.count, 3);
    assert_int_equal(listeners.list[0].at.family, AF_INET);
    assert_int_equal(listeners.list[1].at.family, AF_UNIX);
    assert_int_equal(ntohl(listeners.list[2].at.in.sin_addr.s_addr), INADDR_LOOPBACK + 1);
    end();
}

static void a_port_in_use_is_named(void **state)
{
    pk_address taken;
    pk_error err;
    char text[64];
    char message[128];
    (void)begin(state);
    const int fd = listen_somewhere(&taken, 1);
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", ntohs(taken.in.sin_port));
    (void)snprintf(message, sizeof message, "could not listen on %s: Address already in use", text);
    assert_false(try_listen(text, &err));
    assert_string_equal(err.sqlstate, PK_E_SYSTEM);
    assert_string_equal(err.message, message);
    assert_non_null(strstr(err.hint, "Is another pgkeep or PostgreSQL running there?"));
    assert_int_equal(listeners.count, 0);
    (void)close(fd);
    end();
}

static void an_address_of_another_host_is_named(void **state)
{
    pk_error err;
    (void)begin(state);
    assert_false(try_listen("192.0.2.77:0", &err));
    assert_string_equal(err.sqlstate, PK_E_SYSTEM);
    assert_string_equal(err.message,
                        "could not listen on 192.0.2.77:0: Cannot assign requested address");
    assert_non_null(strstr(err.hint, "--listen takes ADDRESS:PORT of this host"));
    end();
}

static void one_address_that_cannot_be_had_is_enough_to_fail(void **state)
{
    pk_error err;
    char text[200];
    (void)begin(state);
    (void)snprintf(text, sizeof text, "%s,192.0.2.77:0", where);
    assert_false(try_listen(text, &err));
    close_all(); /* what was made before is closed and removed by whoever asked */
    assert_false(is_there(path));
    end();
}

static void more_addresses_than_there_is_room_for_are_refused(void **state)
{
    static const char one[] = "127.0.0.1:0,";
    char text[PK_LISTENERS_MAX * (sizeof one - 1) + 1];
    pk_error err;
    (void)begin(state);
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = one[i % (sizeof one - 1)];
    text[sizeof text - 2] = 0; /* no comma behind the last */
    assert_true(try_listen(text, &err));
    assert_int_equal(listeners.count, PK_LISTENERS_MAX);
    assert_false(try_listen("127.0.0.1:0", &err));
    assert_false(try_listen(where, &err));
    assert_false(is_there(path));
    end();
}

static void without_descriptors_it_fails_and_leaves_none(void **state)
{
    pk_error err;
    (void)begin(state);
    const size_t before = count_files();
    struct rlimit limit = allow_files(0);
    const bool unix_one = try_listen(where, &err);
    restore_files(&limit);
    assert_false(unix_one);
    assert_non_null(strstr(err.message, "Too many open files"));
    limit = allow_files(0);
    const bool tcp = try_listen("127.0.0.1:0", &err);
    restore_files(&limit);
    assert_false(tcp);
    assert_non_null(strstr(err.message, "Too many open files"));
    assert_int_equal(count_files(), before);
    end();
}

/* ---- Unix sockets ---- */

static void a_unix_socket_has_its_rights_and_goes_with_us(void **state)
{
    struct stat info;
    pk_error err;
    (void)begin(state);
    const mode_t mask = umask(0077);
    assert_true(pk_listen(&listeners, where, 0770, &err));
    (void)umask(mask);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0770);
    assert_string_equal(listeners.list[0].path.sun_path, path);
    const int fd = connect_path();
    assert_true(fd >= 0);
    (void)close(fd);
    close_all();
    assert_false(is_there(path));
    end();
}

/* A process that was killed. */
static void leave_socket_behind(void)
{
    pk_error err;
    pk_listeners old = {0};
    assert_true(pk_listen(&old, where, 0700, &err));
    assert_int_equal(close(old.list[0].watch.fd), 0);
    assert_true(is_there(path));
    assert_int_equal(connect_path(), -1);
}

static void a_socket_that_was_left_behind_is_replaced(void **state)
{
    pk_error err;
    (void)begin(state);
    leave_socket_behind();
    assert_true(try_listen(where, &err));
    const int fd = connect_path();
    assert_true(fd >= 0);
    (void)close(fd);
    end();
}

static void a_socket_that_is_served_is_left_alone(void **state)
{
    pk_error err;
    (void)begin(state);
    assert_true(try_listen(where, &err));
    pk_listeners second = {0};
    err = (pk_error){0};
    assert_false(pk_listen(&second, where, 0700, &err));
    assert_string_equal(err.sqlstate, PK_E_SYSTEM);
    assert_non_null(strstr(err.message, ": Address already in use"));
    assert_non_null(strstr(err.hint, "Is another pgkeep or PostgreSQL running there?"));
    const int fd = connect_path();
    assert_true(fd >= 0);
    (void)close(fd);
    end();
}

/* Its queue is full: connecting says EAGAIN, which is no reason to think that nobody is there. */
static void a_busy_socket_is_left_alone(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    pk_error err;
    int clients[2];
    (void)begin(state);
    const int owner = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    assert_int_equal(bind(owner, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(owner, 0), 0);
    clients[0] = connect_path();
    clients[1] = connect_path();
    assert_int_equal(clients[1], -1);
    assert_false(try_listen(where, &err));
    assert_true(is_there(path));
    assert_non_null(strstr(err.message, ": Address already in use"));
    (void)close(clients[0]);
    (void)close(owner);
    end();
}

static void what_is_no_socket_is_left_alone(void **state)
{
    struct stat info;
    pk_error err;
    (void)begin(state);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "data", 4), 4);
    (void)close(fd);
    assert_false(try_listen(where, &err));
    assert_non_null(strstr(err.message, ": Address already in use"));
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(info.st_size, 4);
    end();
}

static void a_link_to_a_socket_is_left_alone(void **state)
{
    char real[160];
    pk_error err;
    (void)begin(state);
    leave_socket_behind();
    (void)snprintf(real, sizeof real, "%s.real", path);
    assert_int_equal(rename(path, real), 0);
    assert_int_equal(symlink(real, path), 0);
    assert_false(try_listen(where, &err));
    assert_true(is_there(path));
    assert_true(is_there(real));
    (void)unlink(real);
    end();
}

static void somebody_else_s_socket_is_not_removed_at_the_end(void **state)
{
    pk_error err;
    (void)begin(state);
    assert_true(try_listen(where, &err));
    assert_int_equal(unlink(path), 0); /* an administrator did */
    pk_listeners other = {0};
    assert_true(pk_listen(&other, where, 0700, &err)); /* and another pgkeep came */
    close_all();
    assert_true(is_there(path));
    const int fd = connect_path();
    assert_true(fd >= 0);
    (void)close(fd);
    listeners = other;
    end();
}

static void a_directory_that_is_not_there_is_named(void **state)
{
    pk_error err;
    (void)begin(state);
    assert_false(try_listen("/nonexistent/pgkeep:6543", &err));
    assert_string_equal(err.sqlstate, PK_E_SYSTEM);
    assert_string_equal(err.message,
                        "could not listen on /nonexistent/pgkeep:6543: No such file or directory");
    end();
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    char text[256] = "/tmp/";
    pk_error err;
    (void)begin(state);
    memset(text + 5, 'd', 110);
    assert_false(try_listen(text, &err));
    assert_non_null(strstr(err.message, "is too long"));
    assert_int_equal(listeners.count, 0);
    end();
}

/* ---- the log ---- */

static char logged[1024];

static void sink(void *ctx, const char *line)
{
    (void)ctx;
    strncat(logged, line, sizeof logged - strlen(logged) - 1);
    strncat(logged, "\n", sizeof logged - strlen(logged) - 1);
}

static void every_address_is_announced(void **state)
{
    char text[200];
    pk_error err;
    (void)begin(state);
    (void)snprintf(text, sizeof text, "%s,127.0.0.1:0", where);
    assert_true(try_listen(text, &err));
    logged[0] = 0;
    pk_log_set_sink(sink, NULL);
    pk_listen_announce(&listeners);
    pk_log_set_sink(NULL, NULL);
    (void)snprintf(text, sizeof text, "listening on %s\n", path);
    assert_non_null(strstr(logged, text));
    (void)snprintf(text, sizeof text, "listening on 127.0.0.1:%u\n",
                   ntohs(listeners.list[1].at.in.sin_port));
    assert_non_null(strstr(logged, text));
    end();
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, a_free_port_is_found_and_told);
    PK_SUITE_TEST(&suite, an_accepted_socket_has_its_options);
    PK_SUITE_TEST(&suite, several_addresses_are_served);
    PK_SUITE_TEST(&suite, a_port_in_use_is_named);
    PK_SUITE_TEST(&suite, an_address_of_another_host_is_named);
    PK_SUITE_TEST(&suite, one_address_that_cannot_be_had_is_enough_to_fail);
    PK_SUITE_TEST(&suite, more_addresses_than_there_is_room_for_are_refused);
    PK_SUITE_TEST(&suite, without_descriptors_it_fails_and_leaves_none);
    PK_SUITE_TEST(&suite, a_unix_socket_has_its_rights_and_goes_with_us);
    PK_SUITE_TEST(&suite, a_socket_that_was_left_behind_is_replaced);
    PK_SUITE_TEST(&suite, a_socket_that_is_served_is_left_alone);
    PK_SUITE_TEST(&suite, a_busy_socket_is_left_alone);
    PK_SUITE_TEST(&suite, what_is_no_socket_is_left_alone);
    PK_SUITE_TEST(&suite, a_link_to_a_socket_is_left_alone);
    PK_SUITE_TEST(&suite, somebody_else_s_socket_is_not_removed_at_the_end);
    PK_SUITE_TEST(&suite, a_directory_that_is_not_there_is_named);
    PK_SUITE_TEST(&suite, a_path_that_is_too_long_is_refused);
    PK_SUITE_TEST(&suite, every_address_is_announced);
    return pk_suite_run(&suite, "listen");
}
