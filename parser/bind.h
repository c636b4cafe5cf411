/*
 * Gives the parameters of a parsed statement their values (extended query protocol). Pure; any
 * thread.
 */
#ifndef PK_PARSER_BIND_H
#define PK_PARSER_BIND_H

#include "parser/parse.h"

/* The highest n of $n in the script; 0: there is none. */
uint32_t pk_script_params(const pk_script *script);

/*
 * values[n - 1] becomes the value of $n, as if it stood there as a string; the bytes are borrowed
 * and must live as long as the script's arena. A ptr of NULL is SQL NULL: 22004 where a value is
 * used. 42P02 for a $n that has none. The error's position is that of $n.
 */
bool pk_bind(pk_script *script, const pk_span *values, size_t count, pk_error *err) PK_MUST_USE;

#endif
