/* The log: levels, one write a line, nothing a client can forge. */
#include "base/log.h"

#include "table.h"
#include "wrap.h"

#include <errno.h>
#include <unistd.h>

ssize_t real_write(int fd, const void *bytes, size_t len) REAL(write);
ssize_t wrapped_write(int fd, const void *bytes, size_t len) WRAPPED(write);

static bool catching; /* what goes to stderr */
static int interruptions;
static struct {
    char text[8192];
    size_t len;
    int writes;
} caught;

ssize_t wrapped_write(int fd, const void *bytes, size_t len)
{
    if (!catching || fd != STDERR_FILENO)
        return real_write(fd, bytes, len);
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    assert_true(caught.len + len < sizeof caught.text);
    memcpy(caught.text + caught.len, bytes, len);
    caught.len += len;
    caught.writes++;
    return (ssize_t)len;
}

static char last_line[8192];
static int lines;

static void keep_line(void *ctx, const char *line)
{
    assert_ptr_equal(ctx, &lines);
    lines++;
    assert_true(strlen(line) < sizeof last_line);
    memcpy(last_line, line, strlen(line) + 1);
}

static void begin(void)
{
    lines = 0;
    last_line[0] = '\0';
    pk_log_set_level(PK_LOG_INFO);
    pk_log_set_sink(keep_line, &lines);
}

/* The line behind its time, "2026-03-01T02:03:04Z ". */
static const char *behind_time(void)
{
    assert_true(strlen(last_line) > 21);
    assert_int_equal(last_line[4], '-');
    assert_int_equal(last_line[10], 'T');
    assert_int_equal(last_line[19], 'Z');
    assert_int_equal(last_line[20], ' ');
    return last_line + 21;
}

static void a_line_is_time_level_message(void **state)
{
    (void)state;
    begin();
    pk_log_warning("key \"%s\" is %d days old", "t1", 400);
    assert_string_equal(behind_time(), "warning key \"t1\" is 400 days old");
    pk_log_error("e");
    assert_string_equal(behind_time(), "error e");
    pk_log_info("i");
    assert_string_equal(behind_time(), "info i");
    assert_int_equal(lines, 3);
}

static int evaluated;
static const char *evaluate(void)
{
    evaluated++;
    return "x";
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    begin();
    pk_log_debug("%s", evaluate());
    assert_int_equal(lines, 0);
    assert_int_equal(evaluated, 0);
    pk_log_set_level(PK_LOG_DEBUG);
    pk_log_debug("%s", evaluate());
    assert_string_equal(behind_time(), "debug x");
    pk_log_set_level(PK_LOG_ERROR);
    pk_log_warning("w");
    pk_log_error("e");
    assert_int_equal(lines, 2);
}

static void level_names_are_exactly_these(void **state)
{
    (void)state;
    pk_log_level level = PK_LOG_INFO;
    assert_true(pk_log_level_parse("debug", &level));
    assert_int_equal(level, PK_LOG_DEBUG);
    assert_true(pk_log_level_parse("error", &level));
    assert_int_equal(level, PK_LOG_ERROR);
    assert_true(pk_log_level_parse("warning", &level));
    assert_true(pk_log_level_parse("info", &level));
    assert_false(pk_log_level_parse("INFO", &level));
    assert_false(pk_log_level_parse("", &level));
    assert_false(pk_log_level_parse("warn", &level));
    assert_int_equal(level, PK_LOG_INFO);
}

static const struct row {
    const char *name, *message, *line;
} rows[] = {
    {"a line break cannot begin a new line", "a\n2026-03-01T00:00:00Z info forged",
     "info a\\n2026-03-01T00:00:00Z info forged"},
    {"return and tab", "a\r\tb", "info a\\r\\tb"},
    {"an escape sequence", "\x1b[2J\x7f", "info \\x1b[2J\\x7f"},
    {"text in UTF-8 stays", "Schl\xc3\xbcssel \xe2\x82\xac \xf0\x9f\x94\x91",
     "info Schl\xc3\xbcssel \xe2\x82\xac \xf0\x9f\x94\x91"},
    {"a control character above 0x7f",
     "a\xc2\x9b"
     "2J",
     "info a\\xc2\\x9b2J"},
    {"a lone continuation byte",
     "a\x9b"
     "b",
     "info a\\x9bb"},
    {"a character cut short", "a\xe2\x82", "info a\\xe2\\x82"},
    {"bytes that are never UTF-8", "\xc0\xaf\xff", "info \\xc0\\xaf\\xff"},
    {"nothing", "", "info "},
};

static void a_message_is_escaped(void **state)
{
    const struct row *row = *state;
    begin();
    pk_log_info("%s", row->message);
    assert_string_equal(behind_time(), row->line);
}

static void a_fault_names_code_detail_and_place(void **state)
{
    (void)state;
    begin();
    pk_error err = {0};
    pk_fail(&err, PK_E_IO, "could not sync");
    err.file = "x.c";
    err.line = 12;
    pk_log_fault(PK_LOG_ERROR, "job 7", &err);
    assert_string_equal(behind_time(), "error job 7: could not sync (58030) at x.c:12");
    pk_error_detail(&err, "Disk full.");
    pk_log_fault(PK_LOG_WARNING, "job 7", &err);
    assert_string_equal(behind_time(),
                        "warning job 7: could not sync (58030; Disk full.) at x.c:12");
    err.file = NULL;
    pk_log_fault(PK_LOG_WARNING, "job 7", &err);
    assert_string_equal(behind_time(), "warning job 7: could not sync (58030; Disk full.)");
}

static void stderr_gets_each_line_in_one_write(void **state)
{
    (void)state;
    begin();
    pk_log_set_sink(NULL, NULL);
    caught.len = 0;
    caught.writes = 0;
    interruptions = 2;
    catching = true;
    pk_log_info("hello");
    catching = false;
    assert_int_equal(interruptions, 0);
    assert_int_equal(caught.writes, 1);
    assert_int_equal(caught.len, 21 + strlen("info hello\n"));
    assert_memory_equal(caught.text + 21, "info hello\n", 11);
}

static void a_long_message_is_cut_below_pipe_buf(void **state)
{
    (void)state;
    char message[20000];
    memset(message, '\n', sizeof message - 1); /* doubles when escaped */
    message[sizeof message - 1] = '\0';
    begin();
    pk_log_info("%s", message);
    assert_int_equal(lines, 1);
    assert_in_range(strlen(last_line), 4000, 4095);

    pk_log_set_sink(NULL, NULL);
    caught.len = 0;
    caught.writes = 0;
    catching = true;
    pk_log_info("%s", message);
    catching = false;
    assert_int_equal(caught.writes, 1);
    assert_in_range(caught.len, 4000, 4096);
    assert_int_equal(caught.text[caught.len - 1], '\n');
    assert_ptr_equal(memchr(caught.text, '\n', caught.len), &caught.text[caught.len - 1]);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, a_line_is_time_level_message);
    PK_SUITE_TEST(&suite, lines_below_the_level_are_not_written);
    PK_SUITE_TEST(&suite, level_names_are_exactly_these);
    PK_SUITE_ROWS(&suite, rows, a_message_is_escaped);
    PK_SUITE_TEST(&suite, a_fault_names_code_detail_and_place);
    PK_SUITE_TEST(&suite, stderr_gets_each_line_in_one_write);
    PK_SUITE_TEST(&suite, a_long_message_is_cut_below_pipe_buf);
    return pk_suite_run(&suite, "log");
}
