/*
 * Where PostgreSQL's lexer sees a blank, a word, a comment or a quoted piece begin and end
 * (scan.l of PostgreSQL 15). Inside parser/ only: the gate, the mask, the decoding of literals and
 * redaction share it, so that they cannot disagree. Pure; any thread.
 *
 * Two liberties: \v is a blank, as in PostgreSQL 16; 15 refuses it outside of literals. And so are
 * the blanks of Unicode, byte order mark included, which PostgreSQL takes for letters: pasted in
 * front of or between our words they make no statement of PostgreSQL, only one that it would log.
 */
#ifndef PK_PARSER_SCAN_H
#define PK_PARSER_SCAN_H

#include "parser/mask.h"

static inline bool pk_char_is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool pk_char_is_newline(char c)
{
    return c == '\n' || c == '\r';
}

static inline bool pk_char_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Every byte above 0x7f belongs to a word, whatever the encoding. */
static inline bool pk_char_is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static inline bool pk_char_is_word(char c)
{
    return pk_char_is_word_start(c) || pk_char_is_digit(c) || c == '$';
}

/* Bytes of the Unicode blank (UTF-8) at `at`: no-break, ideographic and zero-width ones, those of
 * U+2000, line separators, the byte order mark. 0: there is none. */
size_t pk_scan_wide_blank(pk_span text, size_t at) PK_MUST_USE;
/* One past the word that begins at `at`. */
size_t pk_scan_word(pk_span text, size_t at) PK_MUST_USE;
/* One past the number: digits, fraction, exponent. */
size_t pk_scan_number(pk_span text, size_t at) PK_MUST_USE;
/* One past the blanks, wide ones too, and comments at `at`; an unclosed comment reaches to the end
 * of the text. */
size_t pk_scan_gap(pk_span text, size_t at) PK_MUST_USE;
/* One past the closing quote; `at` is behind the opening one. Without one: the end, *closed false.
 * `doubled`: a quote written twice is one; `backslash`: what follows a backslash is taken as is. */
size_t pk_scan_quoted(pk_span text, size_t at, bool doubled, bool backslash,
                      bool *closed) PK_MUST_USE;
/* `at` is behind a closing quote: where the literal goes on (the next opening quote, a line break
 * in between), else `at`. */
size_t pk_scan_continued(pk_span text, size_t at) PK_MUST_USE;
/* Does a literal, quoted name or comment begin at `at`, which is where a token may begin? */
bool pk_scan_region(pk_span text, size_t at, bool standard_conforming, pk_region *region);

#endif
