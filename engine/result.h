/*
 * What a statement answers: columns, rows, notices, a command tag or an error; values as text, not
 * as wire bytes. The engine fills it in a worker, the proxy reads it on its loop; it moves, it is
 * never shared. Everything inside lives in its own arena.
 */
#ifndef PK_ENGINE_RESULT_H
#define PK_ENGINE_RESULT_H

#include "base/arena.h"

/* Types of columns, by PostgreSQL's OIDs (pg_type.dat). */
typedef enum pk_type {
    PK_TYPE_BOOL = 16,
    PK_TYPE_INT8 = 20,
    PK_TYPE_INT4 = 23,
    PK_TYPE_TEXT = 25,
    PK_TYPE_TIMESTAMPTZ = 1184,
    PK_TYPE_UUID = 2950,
} pk_type;

typedef struct pk_column {
    const char *name;
    pk_type type;
} pk_column;

typedef enum pk_severity { PK_NOTICE, PK_WARNING, PK_INFO } pk_severity;

typedef struct pk_notice pk_notice;
struct pk_notice {
    pk_notice *next; /* in the order they were raised */
    pk_severity severity;
    const char *sqlstate, *message, *detail, *hint; /* "" when absent */
};

typedef struct pk_row pk_row;
struct pk_row {
    pk_row *next;
    const char **values; /* one per column, text form; NULL is SQL NULL */
};

typedef struct pk_result {
    pk_arena arena;
    const pk_column *columns; /* NULL: the statement returns no rows */
    size_t column_count;
    pk_row *rows, *last_row;
    pk_notice *notices, *last_notice;
    const char *tag; /* CommandComplete */
    bool failed;
    pk_error error; /* when failed */
} pk_result;

#define PK_RESULT_MAX (16u << 20)

pk_result *pk_result_new(void) PK_MUST_USE;
void pk_result_free(pk_result *result);
PK_DEFINE_AUTO_PTR(pk_result_free, pk_result *)

/* Filling. The columns are static; row values are copied. */
void pk_result_columns(pk_result *result, const pk_column *columns, size_t count);
bool pk_result_row(pk_result *result, const char *const *values, pk_error *err) PK_MUST_USE;
/* A notice that does not fit any more is dropped: notices never fail a statement. detail, hint may
 * be NULL. */
void pk_result_notice(pk_result *result, pk_severity severity, const char *sqlstate,
                      const char *detail, const char *hint, const char *format, ...)
    PK_PRINTF(6, 7);

#endif
