/*
 * One statement against one expected line: kind, then each value in order as class letter, kind
 * letter and text, then flags. Shared by the tests of the grammars.
 */
#ifndef PK_TESTS_GRAMMAR_TEST_H
#define PK_TESTS_GRAMMAR_TEST_H

#include "parser_test.h"

typedef struct grammar_row {
    const char *name, *text;
    const char *parsed;   /* e.g. "dmk_open password:s'pw'"; see describe */
    const char *sqlstate; /* NULL: accepted */
    uint32_t position;
    const char *message, *hint; /* NULL: not looked at; hint: a part of it */
} grammar_row;

typedef struct description {
    char text[512];
    size_t len;
} description;

static inline void describe_text(description *d, const char *text, size_t len)
{
    assert_true(d->len + len < sizeof d->text);
    memcpy(d->text + d->len, text, len);
    d->len += len;
    d->text[d->len] = '\0';
}

/* " name:s'text'", w for a word, $n for a parameter; nothing if it is absent. */
static inline void describe_value(description *d, const char *name, const pk_value *v)
{
    static const char *const open[] = {[PK_VALUE_ABSENT] = "",
                                       [PK_VALUE_STRING] = "s'",
                                       [PK_VALUE_WORD] = "w'",
                                       [PK_VALUE_PARAM] = ""};
    if (!pk_value_is_set(v))
        return;
    bool param = v->kind == PK_VALUE_PARAM;
    pk_span shown = param ? v->source : v->text;
    assert_true(v->position > 0);
    describe_text(d, " ", 1);
    describe_text(d, name, strlen(name));
    describe_text(d, ":", 1);
    describe_text(d, open[v->kind], strlen(open[v->kind]));
    describe_text(d, shown.ptr, shown.len);
    describe_text(d, "'", !param);
}

static inline void describe_flag(description *d, const char *flag, bool set)
{
    describe_text(d, " ", set);
    describe_text(d, flag, set ? strlen(flag) : 0);
}

/* Each grammar's test knows its part of the union. */
void describe(description *d, const pk_stmt *stmt);

static inline void parses(void **state)
{
    const grammar_row *row = *state;
    parsed p = parse_text(row->text);
    assert_int_equal(p.script.kind, PK_SCRIPT_OURS);
    assert_string_equal(p.ok ? "" : p.err.sqlstate, row->sqlstate == NULL ? "" : row->sqlstate);
    if (p.ok) {
        description d = {.len = 0};
        const char *kind = pk_stmt_kind_name(p.script.stmts[0].kind);
        describe_text(&d, kind, strlen(kind));
        describe(&d, &p.script.stmts[0]);
        assert_string_equal(d.text, row->parsed);
    } else {
        assert_int_equal(p.err.position, row->position);
        if (row->message != NULL)
            assert_string_equal(p.err.message, row->message);
        if (row->hint != NULL && strstr(p.err.hint, row->hint) == NULL)
            fail_msg("the hint is \"%s\"", p.err.hint);
    }
    parsed_clear(&p);
}

#endif
