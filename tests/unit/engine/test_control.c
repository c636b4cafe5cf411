/*
 * The control socket from both ends: a real keeper behind it, the offline verbs' own connection or
 * raw bytes before it. Garbage, long messages, slow and too many peers, files left behind.
 */
#include "keystore_fixture.h"

#include "engine/control.h"
#include "engine/control_frame.h"
#include "engine/keeper_calls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

typedef struct place {
    char dir[64];
    pk_keeper *keeper;
    pk_control *control;
} place;

/* The linker's names begin with two underscores, which C keeps for itself; hence the labels. */
int real_accept4(int fd, struct sockaddr *address, socklen_t *len,
                 int flags) __asm__("__real_accept4");
int wrap_accept4(int fd, struct sockaddr *address, socklen_t *len,
                 int flags) __asm__("__wrap_accept4");

static atomic_bool accepts_fail;
static atomic_uint accepts_failed;

int wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    if (!atomic_load(&accepts_fail))
        return real_accept4(fd, address, len, flags);
    atomic_fetch_add(&accepts_failed, 1);
    errno = EMFILE;
    return -1;
}

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void socket_path(const char *dir, char path[static 256])
{
    snprintf(path, 256, "%s/" PK_CONTROL_NAME, dir);
}

static bool there(const char *dir)
{
    char path[256];
    socket_path(dir, path);
    return access(path, F_OK) == 0;
}

/* The listener starts in its own thread. */
static pk_keeper *reach(const char *dir)
{
    pk_error err = {0};
    for (int i = 0; i < 500; i++) {
        pk_keeper *keeper = pk_keeper_connect(dir, &err);
        if (keeper != NULL)
            return keeper;
        pause_ms(10);
    }
    fail_msg("%s", err.message);
    return NULL;
}

static pk_keeper *open_keeper(const char *dir)
{
    pk_error err = {0};
    const pk_keeper_options options = {.state_dir = dir, .create = true, .unlock_timeout_ms = 5000};
    pk_keeper *keeper = pk_keeper_open(&options, &pk_clock_system, &err);
    must(keeper != NULL, &err);
    return keeper;
}

static int open_place(void **state)
{
    pk_error err = {0};
    place *p = calloc(1, sizeof *p);
    fixture_dir(p->dir);
    p->keeper = open_keeper(p->dir);
    p->control = pk_control_open(p->dir, p->keeper, &err);
    must(p->control != NULL, &err);
    pk_keeper_close(reach(p->dir));
    *state = p;
    return 0;
}

static int close_place(void **state)
{
    place *p = *state;
    pk_control_close(p->control);
    pk_keeper_close(p->keeper);
    fixture_remove(p->dir);
    free(p);
    return 0;
}

static int dial(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/" PK_CONTROL_NAME, dir);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* What a raw message is answered with: the SQLSTATE, "" for a reply, "closed". */
static void ask(int fd, const void *head, size_t head_len, pk_span rest, char state[static 8])
{
    PK_AUTO(pk_buf_clear) pk_buf answer = PK_BUF_SECRET(PK_CONTROL_MAX + 1);
    pk_error err = {0};
    char kind = 0;
    (void)!send(fd, head, head_len, MSG_NOSIGNAL);
    if (rest.len > 0)
        (void)!send(fd, rest.ptr, rest.len, MSG_NOSIGNAL);
    if (!pk_frame_receive(fd, -1, 5000, &kind, &answer, &err))
        snprintf(state, 8, "closed");
    else if (kind == PK_FRAME_REPLY)
        state[0] = '\0';
    else {
        pk_frame_error(pk_buf_span(&answer), &err);
        snprintf(state, 8, "%.5s", err.sqlstate);
    }
}

static void status_works(const char *dir)
{
    pk_error err = {0};
    pk_keeper_status status;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *remote = reach(dir);
    must(pk_keeper_status_get(remote, &arena, &status, &err), &err);
    assert_string_equal(status.state, "open");
    assert_int_equal(status.slot_count, 1);
}

static void verbs_reach_the_keeper_and_stand_in_the_trail_as_themselves(void **state)
{
    place *p = *state;
    pk_error err = {0};
    int64_t id = 0;
    static const char *const actions[] = {"ALTER KEYSTORE ADD SLOT", "SEAL", "UNSEAL",
                                          "ALTER KEYSTORE DROP SLOT"};
    const int64_t before = pk_clock_system.wall_us(&pk_clock_system);
    pk_row_audit audit = fixture_audit(); /* "alice", "test", long ago: not believed */
    audit.at = 1;
    PK_AUTO(pk_buf_clear) pk_buf code = PK_BUF_SECRET(256);
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *remote = reach(p->dir);
    const pk_slot_request slot = {.kind = "recovery", .label = "paper", .secret = PK_SPAN("")};
    must(pk_keeper_add_slot(remote, &slot, &audit, &code, &id, &err), &err);
    assert_int_equal(id, 2);
    assert_int_equal(pk_buf_span(&code).len, 42);
    must(pk_keeper_seal(remote, &audit, &err), &err);
    assert_false(pk_keeper_seal(remote, &audit, &err)); /* errors come through whole */
    assert_string_equal(err.sqlstate, PK_E_STATE);
    assert_string_equal(err.message, "keystore is sealed");
    assert_non_null(strstr(err.hint, "RECOVERY CODE"));
    must(pk_keeper_unseal(remote, "recovery", pk_buf_span(&code), &audit, &err), &err);
    must(pk_keeper_drop_slot(remote, 2, &audit, &err), &err);
    pk_audit_summary summary;
    must(pk_keeper_verify_audit(remote, "", &summary, &err), &err);
    assert_int_equal(summary.rows, 5);

    pk_control_close(p->control);
    p->control = NULL;
    pk_keeper_close(p->keeper);
    p->keeper = NULL;
    sqlite3 *db = NULL;
    sqlite3_stmt *rows = NULL;
    char path[256], who[32];
    snprintf(path, sizeof path, "%s/keystore.db", p->dir);
    snprintf(who, sizeof who, "uid:%u", (unsigned)geteuid());
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT actor, client, action, at FROM audit WHERE seq > 1",
                                        -1, &rows, NULL),
                     SQLITE_OK);
    for (size_t i = 0; i < PK_COUNT(actions); i++) {
        assert_int_equal(sqlite3_step(rows), SQLITE_ROW);
        assert_string_equal((const char *)sqlite3_column_text(rows, 0), who);
        assert_string_equal((const char *)sqlite3_column_text(rows, 1), "control socket");
        assert_string_equal((const char *)sqlite3_column_text(rows, 2), actions[i]);
        assert_true(sqlite3_column_int64(rows, 3) >= before);
    }
    sqlite3_finalize(rows);
    sqlite3_close(db);
}

static void what_no_verb_needs_is_refused(void **state)
{
    place *p = *state;
    pk_error err = {0};
    const pk_database sales = {.name = "sales", .oid = 16384};
    const pk_opener nobody = {0};
    pk_key_brief brief;
    pk_row_audit audit = fixture_audit();
    pk_key_info *list = NULL;
    size_t count = 0;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1u << 20);
    PK_AUTO_PTR(pk_keeper_close) pk_keeper *remote = reach(p->dir);
    assert_false(pk_keeper_create_dmk(remote, &sales, PK_SPAN(""), &audit, &brief, &err));
    assert_string_equal(err.sqlstate, PK_E_PRIVILEGE);
    assert_false(pk_keeper_list(remote, &nobody, &arena, &list, &count, &err));
    assert_string_equal(err.sqlstate, PK_E_PRIVILEGE);
    assert_false(pk_keeper_audit(remote, &audit, &err));
    assert_string_equal(err.sqlstate, PK_E_PRIVILEGE);
    status_works(p->dir);
}

static const struct nonsense {
    const char *name;
    uint32_t len;
    char kind;
    const char *bytes;
    const char *state;
} nonsense[] = {
    {"an empty request", 0, 'Q', "", PK_E_PROTOCOL},
    {"a request that nobody knows", 4, 'Q', "\xff\xff\xff\xff", PK_E_PROTOCOL},
    {"zeroes", 4, 'Q', "\0\0\0\0", PK_E_PROTOCOL},
    {"an answer instead of a question", 0, 'R', "", PK_E_PROTOCOL},
    {"no known kind", 0, 'x', "", PK_E_PROTOCOL},
    {"a message of the largest length there is", UINT32_MAX, 'Q', "", PK_E_PROTOCOL},
    {"a message that is one byte too long", PK_CONTROL_MAX + 1, 'Q', "", PK_E_PROTOCOL},
};

static void is_answered_and_hurts_nobody(void **state)
{
    const struct nonsense *row = *state;
    char head[5], sqlstate[8];
    void *opened = NULL;
    const uint32_t len = htonl(row->len);
    open_place(&opened);
    place *p = opened;
    memcpy(head, &len, 4);
    head[4] = row->kind;
    const int fd = dial(p->dir);
    ask(fd, head, sizeof head, pk_span_bytes(row->bytes, row->len > 64 ? 0 : row->len), sqlstate);
    assert_string_equal(sqlstate, row->state);
    close(fd);
    status_works(p->dir);
    close_place(&opened);
}

static void slow_peers_hinder_neither_others_nor_the_end(void **state)
{
    place *p = *state;
    int fds[PK_CONTROL_PEERS - 1];
    pause_ms(50); /* the fixture's own connection has left its seat */
    for (size_t i = 0; i < PK_COUNT(fds); i++) {
        fds[i] = dial(p->dir);
        assert_int_equal(send(fds[i], "\0\0", 2, MSG_NOSIGNAL), 2); /* of a head of five bytes */
    }
    status_works(p->dir);
    const time_t before = time(NULL);
    pk_control_close(p->control);
    p->control = NULL;
    assert_true(time(NULL) - before <= 2);
    assert_false(there(p->dir));
    for (size_t i = 0; i < PK_COUNT(fds); i++)
        close(fds[i]);
}

static void more_peers_than_seats_are_told_so(void **state)
{
    place *p = *state;
    int fds[PK_CONTROL_PEERS];
    char sqlstate[8];
    pause_ms(50); /* the fixture's own connection has left its seat */
    for (size_t i = 0; i < PK_COUNT(fds); i++)
        fds[i] = dial(p->dir);
    const int last = dial(p->dir);
    ask(last, "", 0, PK_SPAN(""), sqlstate);
    assert_string_equal(sqlstate, PK_E_CONNECTIONS);
    close(last);
    for (size_t i = 0; i < PK_COUNT(fds); i++)
        close(fds[i]);
    pause_ms(50);
    status_works(p->dir);
}

static void the_socket_is_private_and_goes_with_its_owner(void **state)
{
    place *p = *state;
    char path[256];
    struct stat info;
    socket_path(p->dir, path);
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISSOCK(info.st_mode));
    assert_int_equal(info.st_mode & 0777, 0600);
    pk_control_close(p->control);
    p->control = NULL;
    assert_false(there(p->dir));
    pk_error err = {0};
    assert_null(pk_keeper_connect(p->dir, &err));
    assert_string_equal(err.sqlstate, PK_E_UNDEFINED_FILE);
}

static void a_socket_left_by_a_killed_process_is_replaced(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_control_close(p->control);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/" PK_CONTROL_NAME, p->dir);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd); /* nobody listens, the file stays */
    assert_true(there(p->dir));
    assert_null(pk_keeper_connect(p->dir, &err));
    assert_string_equal(err.sqlstate, PK_E_UNDEFINED_FILE);
    p->control = pk_control_open(p->dir, p->keeper, &err);
    status_works(p->dir);
}

static void what_is_no_socket_is_left_alone(void **state)
{
    place *p = *state;
    pk_error err = {0};
    char path[256];
    pk_control_close(p->control);
    socket_path(p->dir, path);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    p->control = pk_control_open(p->dir, p->keeper, &err);
    pause_ms(200);
    pk_control_close(p->control);
    p->control = NULL;
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(info.st_size, 4);
}

/* As if all descriptors were taken: a peer waits, and nobody spins meanwhile. */
static void without_descriptors_it_waits(void **state)
{
    place *p = *state;
    atomic_store(&accepts_failed, 0);
    atomic_store(&accepts_fail, true);
    const int fd = dial(p->dir);
    pause_ms(300);
    atomic_store(&accepts_fail, false);
    assert_in_range(atomic_load(&accepts_failed), 1, 3);
    status_works(p->dir);
    close(fd);
}

static void a_second_one_waits_its_turn(void **state)
{
    place *p = *state;
    pk_error err = {0};
    pk_control *second = pk_control_open(p->dir, p->keeper, &err);
    pause_ms(1300); /* one more try of its own */
    status_works(p->dir);
    pk_control_close(p->control);
    p->control = NULL;
    status_works(p->dir); /* reach() waits for the second one's next try */
    pk_control_close(second);
    assert_false(there(p->dir));
}

static void the_path_may_be_longer_than_a_socket_address(void **state)
{
    (void)state;
    pk_error err = {0};
    char top[64], deep[300];
    fixture_dir(top);
    snprintf(deep, sizeof deep, "%s/%0150d", top, 7);
    assert_int_equal(mkdir(deep, 0700), 0);
    pk_keeper *keeper = open_keeper(deep);
    pk_control *control = pk_control_open(deep, keeper, &err);
    status_works(deep);
    pk_control_close(control);
    pk_keeper_close(keeper);
    fixture_remove(deep);
    fixture_remove(top);
}

static void another_user_is_refused(void **state)
{
    place *p = *state;
    char path[256], sqlstate[8] = "";
    int status = 0;
    if (geteuid() != 0)
        skip(); /* nobody to become */
    socket_path(p->dir, path);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(chmod(p->dir, 0755), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (setuid(65534) != 0)
            _exit(1);
        const int fd = dial(p->dir);
        ask(fd, "", 0, PK_SPAN(""), sqlstate);
        _exit(strcmp(sqlstate, PK_E_PRIVILEGE) == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(p->dir, 0700), 0);
    assert_int_equal(status, 0);
}

static void a_directory_that_others_can_write_to_is_not_asked(void **state)
{
    place *p = *state;
    pk_error err = {0};
    assert_int_equal(chmod(p->dir, 0777), 0);
    assert_null(pk_keeper_connect(p->dir, &err));
    assert_string_equal(err.sqlstate, PK_E_PRIVILEGE);
    assert_int_equal(chmod(p->dir, 0700), 0);
}

#define PLACE_TEST(suite, test)                                                                    \
    ((suite)->tests[(suite)->count++] =                                                            \
         (struct CMUnitTest){#test, test, open_place, close_place, NULL})

int main(void)
{
    static pk_suite suite;
    fixture_init();
    PLACE_TEST(&suite, verbs_reach_the_keeper_and_stand_in_the_trail_as_themselves);
    PLACE_TEST(&suite, what_no_verb_needs_is_refused);
    PK_SUITE_ROWS(&suite, nonsense, is_answered_and_hurts_nobody);
    PLACE_TEST(&suite, slow_peers_hinder_neither_others_nor_the_end);
    PLACE_TEST(&suite, more_peers_than_seats_are_told_so);
    PLACE_TEST(&suite, the_socket_is_private_and_goes_with_its_owner);
    PLACE_TEST(&suite, a_socket_left_by_a_killed_process_is_replaced);
    PLACE_TEST(&suite, what_is_no_socket_is_left_alone);
    PLACE_TEST(&suite, without_descriptors_it_waits);
    PLACE_TEST(&suite, a_second_one_waits_its_turn);
    PK_SUITE_TEST(&suite, the_path_may_be_longer_than_a_socket_address);
    PLACE_TEST(&suite, another_user_is_refused);
    PLACE_TEST(&suite, a_directory_that_others_can_write_to_is_not_asked);
    return pk_suite_run(&suite, "control");
}
