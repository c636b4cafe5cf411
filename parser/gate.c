/*
 * Looks at the start of every statement and behind every `;` for the first words of claims.def.
 * Bytes only: no literal, quote or backslash is understood, so neither client_encoding nor
 * standard_conforming_strings can mislead it, and a `;` inside a literal is a false alarm that
 * parse.h settles. No client encoding has a blank, `;`, `-`, `/` or `*` as the second byte of a
 * character (wire-protocol 4.1). Bytes above 0x7f count as blanks here, because some are, and which
 * ones depends on the encoding; no statement of PostgreSQL begins with one.
 *
 * One pass: comments behind a `;` may lie inside each other's range, so the bytes walked over in
 * gaps are counted, and beyond a budget the answer is yes.
 */
#include "parser/gate.h"

#include "parser/scan.h"

#define GAP_BUDGET ((size_t)4 * PK_GATE_LEADING_MAX)
#define WORD_MAX   16

typedef enum head_kind { HEAD_PLAIN, HEAD_EXPLAIN, HEAD_PREPARE, HEAD_BATCH } head_kind;

enum head_number {
#define PK_HEAD(first, kind) HEAD_OF_##first,
#include "parser/claims.def"
};

static const struct head {
    char word[WORD_MAX];
    unsigned char len, kind;
} heads[] = {
#define PK_HEAD(first, kind) {#first, sizeof #first - 1, HEAD_##kind},
#include "parser/claims.def"
};

static const struct second {
    unsigned char head, len;
    char word[WORD_MAX];
} seconds[] = {
#define PK_CLAIM(first, second, more, guard, parser, head)                                         \
    {HEAD_OF_##first, sizeof(second) - 1, second},
#include "parser/claims.def"
};

typedef struct gate {
    pk_span text;
    size_t walked; /* bytes of gaps so far */
} gate;

/* PostgreSQL folds only A-Z in keywords; our words hold nothing else. */
static inline bool same_word(const char *text, const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((text[i] & ~0x20) != word[i])
            return false;
    return true;
}

static inline bool is_high(char c)
{
    return (unsigned char)c >= 0x80;
}

/* In SJIS and BIG5 the second byte of the ideographic blank is '@'. */
static size_t skip_high(pk_span text, size_t at)
{
    while (at < text.len &&
           (is_high(text.ptr[at]) || (text.ptr[at] == '@' && at > 0 && is_high(text.ptr[at - 1]))))
        at++;
    return at;
}

static size_t skip_gap(gate *g, size_t at)
{
    size_t end = at;
    size_t before;
    do {
        before = end;
        end = skip_high(g->text, pk_scan_gap(g->text, end));
    } while (end > before);
    g->walked += end - at;
    return end;
}

/* One past the word at `at`, or of a longer one than all of ours somewhere inside it. */
static size_t word_end(pk_span text, size_t at)
{
    if (text.len - at > WORD_MAX)
        text.len = at + WORD_MAX;
    while (at < text.len && pk_char_is_word(text.ptr[at]) && !is_high(text.ptr[at]))
        at++;
    return at;
}

static bool second_word_fits(gate *g, size_t at, unsigned head)
{
    at = skip_gap(g, at);
    size_t len = word_end(g->text, at) - at;
    for (size_t i = 0; i < PK_COUNT(seconds); i++) {
        const struct second *s = &seconds[i];
        if (s->head == head &&
            (s->len == 0 || (s->len == len && same_word(g->text.ptr + at, s->word, len))))
            return true;
    }
    return false;
}

/* Has one of our first words this letter and length? Constants only: it settles nearly all words.
 */
static inline bool is_shape_of_head(char letter, size_t len)
{
    return false
#define PK_HEAD(first, kind) || (len == sizeof #first - 1 && letter == #first[0])
#include "parser/claims.def"
        ;
}

/* NULL if the word is no first word of ours. */
static const struct head *find_head(const char *word, size_t len)
{
    if (!is_shape_of_head((char)(word[0] & ~0x20), len))
        return NULL;
    for (size_t i = 0; i < PK_COUNT(heads); i++)
        if (heads[i].len == len && same_word(word, heads[i].word, len))
            return &heads[i];
    return NULL;
}

/* EXPLAIN's options in words are walked over; in parentheses they are not understood. */
static bool explain_fits(gate *g, size_t *at)
{
    for (;;) {
        *at = skip_gap(g, *at);
        if (*at < g->text.len && g->text.ptr[*at] == '(')
            return true;
        const char *word = g->text.ptr + *at;
        size_t len = word_end(g->text, *at) - *at;
        if (len != 7 || !(same_word(word, "ANALYZE", len) || same_word(word, "ANALYSE", len) ||
                          same_word(word, "VERBOSE", len)))
            return false;
        *at += len;
    }
}

/* Does a statement that may be ours begin at `at`, which is at no blank? */
static bool statement_fits(gate *g, size_t at)
{
    for (;;) {
        size_t len = word_end(g->text, at) - at;
        const struct head *head = len == 0 ? NULL : find_head(g->text.ptr + at, len);
        if (head == NULL)
            return false;
        at += len;
        if (head->kind == HEAD_PLAIN)
            return second_word_fits(g, at, (unsigned)(head - heads));
        if (head->kind != HEAD_EXPLAIN || explain_fits(g, &at))
            return true;
    }
}

static size_t skip_blanks(pk_span text, size_t at)
{
    while (at < text.len && (pk_char_is_blank(text.ptr[at]) || text.ptr[at] == ';'))
        at++;
    return at;
}

/* Behind a `;` or at the start. Returns where to look for the next `;`; *ours if this one fits. */
static size_t look(gate *g, size_t at, bool *ours)
{
    size_t resume = skip_blanks(g->text, at);
    size_t start = resume;
    while (start < g->text.len && (g->text.ptr[start] == '-' || g->text.ptr[start] == '/' ||
                                   is_high(g->text.ptr[start]))) {
        size_t end = skip_blanks(g->text, skip_gap(g, start));
        if (end == start)
            break;
        start = end;
    }
    *ours = (start - resume <= PK_GATE_LEADING_MAX && statement_fits(g, start)) ||
            g->walked > GAP_BUDGET;
    return resume;
}

bool pk_gate_maybe_ours(pk_span text)
{
    gate g = {.text = text};
    bool ours = false;
    size_t at = look(&g, 0, &ours);
    while (!ours && at < text.len) {
        const char *semicolon = memchr(text.ptr + at, ';', text.len - at);
        if (semicolon == NULL)
            break;
        at = look(&g, (size_t)(semicolon - text.ptr) + 1, &ours);
    }
    return ours;
}
