/*
 * One event, one line, one write. The line is built in a local array below PIPE_BUF, so lines of
 * several threads or processes do not mix even in a pipe, and logging cannot fail for want of
 * memory. What a message may carry from a client is escaped: control characters, among them those
 * above 0x7f that terminals obey, and bytes that are not UTF-8.
 */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define MESSAGE_MAX    3072

static const char *const level_names[] = {"debug", "info", "warning", "error"};

static _Atomic pk_log_level lowest = PK_LOG_INFO;
/* Set before the first thread, then only read. */
static struct {
    void (*line)(void *ctx, const char *line);
    void *ctx;
} sink;

void pk_log_set_level(pk_log_level level)
{
    atomic_store(&lowest, level);
}

bool pk_log_level_parse(const char *text, pk_log_level *level)
{
    for (size_t i = 0; i < PK_COUNT(level_names); i++)
        if (strcmp(text, level_names[i]) == 0) {
            *level = (pk_log_level)i;
            return true;
        }
    return false;
}

void pk_log_set_sink(void (*line)(void *ctx, const char *line), void *ctx)
{
    sink.line = line;
    sink.ctx = ctx;
}

bool pk_log_enabled(pk_log_level level)
{
    return level >= atomic_load(&lowest);
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the printable character at `text` (NUL-terminated); 0 if it has to be escaped. */
static size_t printable(const unsigned char *text)
{
    if (text[0] < 0x80)
        return text[0] >= 0x20 && text[0] != 0x7f ? 1 : 0;
    size_t len = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if (!is_continuation(text[i]))
            return 0;
    /* U+0080 to U+009F are control characters too. */
    return text[0] == 0xc2 && text[1] < 0xa0 ? 0 : len;
}

static size_t escape(unsigned char byte, char out[static 4])
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[] = {['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    out[0] = '\\';
    if (byte < sizeof letters && letters[byte] != '\0') {
        out[1] = letters[byte];
        return 2;
    }
    out[1] = 'x';
    out[2] = digits[byte >> 4];
    out[3] = digits[byte & 15];
    return 4;
}

/* Appends the message to the line, escaped; stops before the end of the array. */
static size_t put_message(char *line, size_t used, const char *message)
{
    for (const unsigned char *at = (const unsigned char *)message; *at != '\0';) {
        char escaped[4];
        const void *from = at;
        size_t step = printable(at);
        size_t len = step;
        if (step == 0) {
            len = escape(*at, escaped);
            from = escaped;
            step = 1;
        }
        if (used + len > LINE_MAX_BYTES - 2) /* newline and NUL */
            break;
        memcpy(line + used, from, len);
        used += len;
        at += step;
    }
    return used;
}

static void emit(char *line, size_t len)
{
    if (sink.line != NULL) {
        line[len] = '\0';
        sink.line(sink.ctx, line);
        return;
    }
    line[len] = '\n';
    while (write(STDERR_FILENO, line, len + 1) < 0 && errno == EINTR)
        continue;
}

void pk_log_write(pk_log_level level, const char *format, ...)
{
    if (!pk_log_enabled(level))
        return;
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (wanted < 0)
        return;

    char line[LINE_MAX_BYTES];
    char time[21];
    pk_time_iso(pk_clock_system.wall_us(&pk_clock_system), time);
    int head = snprintf(line, sizeof line, "%s %s ", time, level_names[level]);
    emit(line, put_message(line, (size_t)head, message));
}

void pk_log_fault(pk_log_level level, const char *what, const pk_error *err)
{
    const char *gap = err->detail[0] == '\0' ? "" : "; ";
    if (err->file == NULL)
        pk_log_write(level, "%s: %s (%s%s%s)", what, err->message, err->sqlstate, gap, err->detail);
    else
        pk_log_write(level, "%s: %s (%s%s%s) at %s:%d", what, err->message, err->sqlstate, gap,
                     err->detail, err->file, err->line);
}
