/*
 * Our tokens held against libpg_query's, on the text itself: for the unit test's generated texts
 * and for the fuzz target (DECISIONS 6).
 */
#ifndef PK_TEST_SCAN_DIFFERENCE_H
#define PK_TEST_SCAN_DIFFERENCE_H

#include <stdbool.h>

#define SCAN_DIFFERENCE_MAX 512 /* of a text, in bytes */

/* NULL: none; else what differs. A text in which a string goes on behind a comment, and one with a
 * fault in an escape, which libpg_query's scanner reads and our lexer does not, are not compared.
 */
const char *scan_difference(const char *sql, bool conforming);

#endif
