/*
 * The text of a statement that may be written down: words as they are, passwords '******', places
 * through pk_uri_redact, any other literal '...', comments left out, white space folded to one
 * blank. Pure; any thread.
 */
#ifndef PK_PARSER_REDACT_H
#define PK_PARSER_REDACT_H

#include "base/buf.h"
#include "parser/stmt.h"

bool pk_redact(const pk_stmt *stmt, pk_buf *out, pk_error *err) PK_MUST_USE;

#endif
