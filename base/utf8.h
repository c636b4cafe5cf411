/*
 * UTF-8 as RFC 3629 has it, which is what PostgreSQL takes, too (pg_utf8_islegal): no form longer
 * than needed, no half of a surrogate pair, nothing above U+10FFFF. Pure; any thread.
 */
#ifndef PK_BASE_UTF8_H
#define PK_BASE_UTF8_H

#include "base/span.h"

/* Bytes of the character at the front of `text`, which is not empty; 0: there is none. */
size_t pk_utf8_character(pk_span text);

/* Is it UTF-8 from end to end? `characters`: how many there are; may be NULL. */
bool pk_utf8_is(pk_span text, size_t *characters);

#endif
