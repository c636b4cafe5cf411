/*
 * A string from a client, understood: split, each statement claimed or not (claims.def, from
 * sql-surface 2), ours parsed. Once a statement is claimed it is ours, also when malformed: its
 * text may hold a password, and the server would log it. Pure; any thread.
 */
#ifndef PK_PARSER_PARSE_H
#define PK_PARSER_PARSE_H

#include "base/arena.h"
#include "parser/stmt.h"

typedef enum pk_script_kind {
    PK_SCRIPT_FOREIGN, /* nothing of ours: forward byte for byte */
    PK_SCRIPT_OURS,    /* ours only, one or more */
    PK_SCRIPT_MIXED,   /* refused as a whole with 0A000 (DECISIONS 8a) */
} pk_script_kind;

typedef struct pk_script {
    pk_script_kind kind;
    pk_stmt *stmts; /* in the arena; every statement of the string, foreign ones as PK_STMT_OTHER */
    size_t count;
} pk_script;

typedef struct pk_parse_options {
    bool standard_conforming; /* the session's standard_conforming_strings */
} pk_parse_options;

/*
 * `text` (UTF-8, no NUL behind it needed) and `arena` must outlive the script. True: script->kind
 * says whose it is. False: it is ours and malformed (42601 with position and no literal echoed;
 * 42P02 for $0; 0A000 for EXPLAIN, PREPARE and forms we refuse by design; 22023) or too large
 * (54000); script->kind is OURS or MIXED then too, and script->stmts[0].head names the claimed
 * words. Without room even to tell whose it is, kind is OURS and count 0.
 *
 * A mixed string fails only for a lexical error; faults of its statements do not count, since it is
 * refused anyway. A malformed statement's kind is UNBUILT.
 */
bool pk_parse(pk_span text, const pk_parse_options *options, pk_arena *arena, pk_script *script,
              pk_error *err) PK_MUST_USE;

#endif
