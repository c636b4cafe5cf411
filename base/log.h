/*
 * One line per event on stderr: `time level message`. The sink is set before the first thread and
 * then only read. Any thread may log; a line is one write. Control characters and line breaks in a
 * message are escaped, so a client cannot forge a line. Never log statement text or a secret; name
 * the object and, for an error, give the pk_error.
 */
#ifndef PK_BASE_LOG_H
#define PK_BASE_LOG_H

#include "base/error.h"

typedef enum pk_log_level { PK_LOG_DEBUG, PK_LOG_INFO, PK_LOG_WARNING, PK_LOG_ERROR } pk_log_level;

void pk_log_set_level(pk_log_level level);
/* Accepts debug, info, warning, error. */
bool pk_log_level_parse(const char *text, pk_log_level *level) PK_MUST_USE;
/* NULL: back to stderr. For tests. Called with the whole line, without its newline. */
void pk_log_set_sink(void (*sink)(void *ctx, const char *line), void *ctx);

void pk_log_write(pk_log_level level, const char *format, ...) PK_PRINTF(2, 3);
bool pk_log_enabled(pk_log_level level);
#define pk_log_debug(...)                                                                          \
    (pk_log_enabled(PK_LOG_DEBUG) ? pk_log_write(PK_LOG_DEBUG, __VA_ARGS__) : (void)0)
#define pk_log_info(...)    pk_log_write(PK_LOG_INFO, __VA_ARGS__)
#define pk_log_warning(...) pk_log_write(PK_LOG_WARNING, __VA_ARGS__)
#define pk_log_error(...)   pk_log_write(PK_LOG_ERROR, __VA_ARGS__)
/* `what: message (sqlstate; detail) at file:line` */
void pk_log_fault(pk_log_level level, const char *what, const pk_error *err);

#endif
