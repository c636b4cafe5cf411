/*
 * pk_error is what went wrong, in exactly the fields of PostgreSQL's ErrorResponse: SQLSTATE,
 * message, detail, hint, position; plus the place in our source, for our log. Its strings are fixed
 * arrays: making an error cannot fail, copying is `=`, nobody frees it. Text that does not fit is
 * cut.
 *
 * Who finds the fault chooses SQLSTATE and hint (pk_fail, pk_error_hint); who knows what was being
 * attempted wraps (pk_error_wrap). All return false, so the failing line is the returning line. A
 * NULL error is accepted and dropped. Never put a secret or a literal of a statement into one.
 */
#ifndef PK_BASE_ERROR_H
#define PK_BASE_ERROR_H

#include "base/defs.h"
#include "base/sqlstate.h"

typedef struct pk_error {
    char sqlstate[6]; /* "" while nothing has failed */
    char message[256];
    char detail[512];
    char hint[256];
    uint32_t position; /* 1-based, in characters of the statement; 0 = none */
    const char *file;
    int line;
} pk_error;

/* Fills the error anew; detail, hint and position become empty. False. */
#define pk_fail(err, sqlstate, ...)                                                                \
    pk_error_false(pk_error_set((err), (sqlstate), __FILE__, __LINE__, __VA_ARGS__))
/* False in sight of the caller, so that compilers and analysers know what a failing line returns.
 */
static inline bool pk_error_false(bool set)
{
    (void)set;
    return false;
}
bool pk_error_set(pk_error *err, const char *sqlstate, const char *file, int line,
                  const char *format, ...) PK_PRINTF(5, 6);
/* Each sets its field of an error that is set already. A sentence, with its full stop. False. */
bool pk_error_detail(pk_error *err, const char *format, ...) PK_PRINTF(2, 3);
bool pk_error_hint(pk_error *err, const char *format, ...) PK_PRINTF(2, 3);
bool pk_error_at(pk_error *err, uint32_t position);
/* New message; the old one slides to the front of the detail, with a capital and a full stop.
 * False. */
bool pk_error_wrap(pk_error *err, const char *format, ...) PK_PRINTF(2, 3);

/* The system's text of an errno, the same in every locale and safe in every thread. */
const char *pk_errno_text(int number);

static inline bool pk_error_is(const pk_error *err, const char *sqlstate)
{
    return __builtin_strcmp(err->sqlstate, sqlstate) == 0;
}

#endif
