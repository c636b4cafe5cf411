/*
 * A result is a sink: handlers append rows and notices, the proxy walks the lists. Everything lives
 * in one arena, so freeing is one call and a result can cross threads as one object.
 */
#include "engine/result.h"

#include <stdarg.h>
#include <stdio.h>

pk_result *pk_result_new(void)
{
    pk_result *result = pk_new(pk_result);
    result->arena = PK_ARENA_MAX(PK_RESULT_MAX);
    result->tag = "";
    return result;
}

void pk_result_free(pk_result *result)
{
    if (result == NULL)
        return;
    pk_arena_clear(&result->arena);
    pk_free(result);
}

void pk_result_columns(pk_result *result, const pk_column *columns, size_t count)
{
    result->columns = columns;
    result->column_count = count;
}

bool pk_result_row(pk_result *result, const char *const *values, pk_error *err)
{
    pk_row *row = pk_arena_new(&result->arena, pk_row, err);
    if (row == NULL)
        return false;
    row->values = pk_arena_array(&result->arena, result->column_count, sizeof(char *), err);
    if (row->values == NULL)
        return false;
    for (size_t i = 0; i < result->column_count; i++) {
        if (values[i] == NULL)
            continue;
        row->values[i] = pk_arena_strdup(&result->arena, values[i], err);
        if (row->values[i] == NULL)
            return false;
    }
    if (result->last_row == NULL)
        result->rows = row;
    else
        result->last_row->next = row;
    result->last_row = row;
    return true;
}

void pk_result_notice(pk_result *result, pk_severity severity, const char *sqlstate,
                      const char *detail, const char *hint, const char *format, ...)
{
    pk_error dropped;
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);

    pk_notice *notice = pk_arena_new(&result->arena, pk_notice, &dropped);
    if (notice == NULL)
        return;
    notice->severity = severity;
    notice->sqlstate = sqlstate;
    notice->message = pk_arena_strdup(&result->arena, message, &dropped);
    notice->detail = pk_arena_strdup(&result->arena, detail == NULL ? "" : detail, &dropped);
    notice->hint = pk_arena_strdup(&result->arena, hint == NULL ? "" : hint, &dropped);
    if (notice->message == NULL || notice->detail == NULL || notice->hint == NULL)
        return;
    if (result->last_notice == NULL)
        result->notices = notice;
    else
        result->last_notice->next = notice;
    result->last_notice = notice;
}
