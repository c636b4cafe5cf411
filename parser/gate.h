/*
 * The gate decides about every Query and Parse, in one pass over the bytes and without allocating:
 * could one of its statements be ours? It may say yes to a foreign one (a `;` inside a literal is
 * enough), never no to ours, in any client encoding and under either meaning of backslashes
 * (wire-protocol 4.1). Its words come from claims.def, like the claims of parse.h.
 *
 * Pure; any thread.
 */
#ifndef PK_PARSER_GATE_H
#define PK_PARSER_GATE_H

#include "base/span.h"

/* More than this much white space and comments in front of a statement: not ours (documented). */
#define PK_GATE_LEADING_MAX (64u << 10)

bool pk_gate_maybe_ours(pk_span text) PK_MUST_USE;

#endif
