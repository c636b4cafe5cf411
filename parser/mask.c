/*
 * One pass: every token is a region (literal, quoted name, comment), a word, a number or a single
 * byte, and leaves its shape in the copy. Regions are counted in a first round, so that their list
 * is allocated once.
 *
 * Quotes, tags and comment marks stay, because libpg_query must still see closed literals; what is
 * inside becomes `x`, line breaks included: a literal that goes on over several lines is one
 * literal on one line in the copy.
 */
#include "parser/mask.h"

#include "parser/scan.h"

typedef struct masker {
    pk_span text;
    bool standard_conforming;
    pk_mask *mask; /* its text and regions are NULL in the first round */
} masker;

static void fill(masker *m, size_t from, size_t to, char with)
{
    if (m->mask->text != NULL && from < to)
        memset(m->mask->text + from, with, to - from);
}

static void note_fault(masker *m, const char *fault, size_t at)
{
    if (m->mask->fault != NULL)
        return;
    m->mask->fault = fault;
    m->mask->fault_at = at;
}

/* How much of a region's front is a mark that must stay; its end carries as much of it as closes.
 */
static size_t opening(pk_span text, const pk_region *region)
{
    switch (region->kind) {
    case PK_REGION_STRING:
    case PK_REGION_NAME:
        return 1;
    case PK_REGION_ESCAPE:
    case PK_REGION_BIT:
    case PK_REGION_LINE_COMMENT:
    case PK_REGION_BLOCK_COMMENT:
        return 2;
    case PK_REGION_UNICODE:
    case PK_REGION_UNICODE_NAME:
        return 3;
    case PK_REGION_DOLLAR:
        break;
    }
    const char *tag = text.ptr + region->start + 1;
    const char *end = memchr(tag, '$', text.len - region->start - 1);
    return end == NULL ? 1 : (size_t)(end - tag) + 2;
}

static size_t closing(const pk_region *region, size_t open)
{
    if (!region->closed || region->kind == PK_REGION_LINE_COMMENT)
        return 0;
    if (region->kind == PK_REGION_DOLLAR || region->kind == PK_REGION_BLOCK_COMMENT)
        return open;
    return 1;
}

static size_t mask_region(masker *m, const pk_region *region)
{
    pk_mask *mask = m->mask;
    if (mask->regions != NULL)
        mask->regions[mask->count] = *region;
    mask->count++;

    size_t open = opening(m->text, region);
    size_t close = closing(region, open);
    bool name = region->kind == PK_REGION_NAME || region->kind == PK_REGION_UNICODE_NAME;
    if (name && region->closed && region->end - region->start == open + close) {
        note_fault(m, "zero-length delimited identifier", region->start);
        fill(m, region->start, region->start + open - 1, '_');
        fill(m, region->start + open - 1, region->end, ',');
    } else {
        fill(m, region->start + open, region->end - close, 'x');
    }
    if (region->kind == PK_REGION_DOLLAR && open > 2) {
        /* A tag is a mark, but its letters are the client's. */
        fill(m, region->start + 1, region->start + open - 1, '_');
        if (region->closed)
            fill(m, region->end - close + 1, region->end - 1, '_');
    }
    return region->end;
}

/* Keeps dots, exponent and sign; `start` is at a digit, a dot or, of a parameter, the dollar. */
static size_t mask_number(masker *m, size_t start)
{
    bool parameter = m->text.ptr[start] == '$';
    size_t end = start + 1;
    if (!parameter)
        end = pk_scan_number(m->text, start);
    else
        while (end < m->text.len && pk_char_is_digit(m->text.ptr[end]))
            end++;
    if (end < m->text.len && pk_char_is_word_start(m->text.ptr[end])) {
        note_fault(m, parameter ? "trailing junk after parameter" : "trailing junk after number",
                   start);
        end = pk_scan_word(m->text, end);
        /* A dollar or dot stays: an underscore would stick to a number in front of it. */
        fill(m, start + !pk_char_is_digit(m->text.ptr[start]), end, '_');
        return end;
    }
    for (size_t i = start; i < end; i++)
        if (pk_char_is_digit(m->text.ptr[i]))
            fill(m, i, i + 1, '1');
    return end;
}

static size_t mask_word(masker *m, size_t start)
{
    size_t end = pk_scan_word(m->text, start);
    fill(m, start, end, '_');
    return end;
}

static size_t mask_token(masker *m, size_t at)
{
    pk_span text = m->text;
    char c = text.ptr[at];
    pk_region region = {.end = at};
    if (pk_scan_region(text, at, m->standard_conforming, &region))
        return mask_region(m, &region);
    size_t wide = pk_scan_wide_blank(text, at);
    if (wide > 0) {
        fill(m, at, at + wide, ' ');
        return at + wide;
    }
    if (pk_char_is_word_start(c))
        return mask_word(m, at);
    bool digit_next = at + 1 < text.len && pk_char_is_digit(text.ptr[at + 1]);
    if (pk_char_is_digit(c) || ((c == '.' || c == '$') && digit_next))
        return mask_number(m, at);
    /* The second dot of `1..5` is no decimal point; the lexer takes both as one token. */
    if (c == '.' && at + 1 < text.len && text.ptr[at + 1] == '.')
        return at + 2;
    if (pk_char_is_blank(c) && !pk_char_is_newline(c))
        fill(m, at, at + 1, ' ');
    return at + 1;
}

static void run(masker *m)
{
    m->mask->count = 0;
    for (size_t at = 0; at < m->text.len;)
        at = mask_token(m, at);
}

bool pk_mask_make(pk_span text, bool standard_conforming, pk_arena *arena, pk_mask *mask,
                  pk_error *err)
{
    *mask = (pk_mask){.len = text.len};
    masker m = {text, standard_conforming, mask};
    run(&m);
    pk_region *regions = pk_arena_array(arena, mask->count, sizeof *regions, err);
    char *copy = regions == NULL ? NULL : pk_arena_strndup(arena, text.ptr, text.len, err);
    if (copy == NULL)
        return false;
    mask->regions = regions;
    mask->text = copy;
    run(&m);
    return true;
}
