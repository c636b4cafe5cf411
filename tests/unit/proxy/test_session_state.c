/*
 * The state table: the picture in docs/architecture.md is the one the code has, and every state has
 * a way out. Run with PK_PRINT=1 to print the picture for pasting.
 */
#include "base/buf.h"
#include "proxy/session_state.h"
#include "table.h"

#define BEGIN "<!-- session states: printed by test_session_state -->\n"
#define END   "<!-- end of session states -->\n"

#ifndef PK_SOURCE_DIR
#define PK_SOURCE_DIR "."
#endif

static void print_picture(pk_buf *out)
{
    assert_true(pk_buf_append_text(out, "```text\n", NULL));
    for (pk_state s = PK_ST_START; s < PK_ST_COUNT; s++) {
        assert_true(pk_buf_printf(out, NULL, "%-8s %s\n", pk_state_name(s), pk_state_meaning(s)));
        for (pk_event e = 0; e < PK_EV_COUNT; e++)
            if (pk_state_after(s, e) != PK_ST_NONE)
                assert_true(pk_buf_printf(out, NULL, "           %-14s -> %s\n", pk_event_name(e),
                                          pk_state_name(pk_state_after(s, e))));
    }
    assert_true(pk_buf_append_text(out, "```\n", NULL));
}

static void read_document(pk_buf *out)
{
    FILE *file = fopen(PK_SOURCE_DIR "/docs/architecture.md", "re");
    assert_non_null(file);
    char bytes[4096];
    size_t got;
    while ((got = fread(bytes, 1, sizeof bytes, file)) > 0)
        assert_true(pk_buf_append(out, bytes, got, NULL));
    assert_int_equal(fclose(file), 0);
    assert_true(pk_buf_append(out, "", 1, NULL));
}

static void the_picture_in_the_docs_is_the_table(void **state)
{
    PK_AUTO(pk_buf_clear) pk_buf picture = PK_BUF_MAX(64u << 10);
    PK_AUTO(pk_buf_clear) pk_buf document = PK_BUF_MAX(1u << 20);
    (void)state;
    print_picture(&picture);
    if (getenv("PK_PRINT") != NULL) /* NOLINT(concurrency-mt-unsafe): one thread */
        (void)printf("%.*s", PK_SPAN_ARG(pk_buf_span(&picture)));
    read_document(&document);
    const char *begin = strstr(pk_buf_span(&document).ptr, BEGIN);
    assert_non_null(begin);
    begin += strlen(BEGIN);
    const char *end = strstr(begin, END);
    assert_non_null(end);
    assert_int_equal(end - begin, pk_buf_span(&picture).len);
    assert_memory_equal(begin, pk_buf_span(&picture).ptr, pk_buf_span(&picture).len);
}

static void every_state_but_the_last_can_be_left(void **state)
{
    (void)state;
    for (pk_state s = PK_ST_START; s < PK_ST_CLOSED; s++) {
        bool out = false;
        for (pk_event e = 0; e < PK_EV_COUNT; e++)
            out = out || (pk_state_after(s, e) != PK_ST_NONE && pk_state_after(s, e) != s);
        assert_true(out);
    }
    for (pk_event e = 0; e < PK_EV_COUNT; e++)
        assert_true(pk_state_after(PK_ST_CLOSED, e) == PK_ST_CLOSED ||
                    pk_state_after(PK_ST_CLOSED, e) == PK_ST_NONE);
}

/* A peer can go away at any time; that must never count as a violation. */
static void every_state_knows_what_to_do_without_a_client(void **state)
{
    (void)state;
    for (pk_state s = PK_ST_START; s < PK_ST_COUNT; s++)
        assert_int_not_equal(pk_state_after(s, PK_EV_CLIENT_LOST), PK_ST_NONE);
    for (pk_state s = PK_ST_LOGIN; s < PK_ST_COUNT; s++)
        assert_int_not_equal(pk_state_after(s, PK_EV_BACKEND_LOST), PK_ST_NONE);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, the_picture_in_the_docs_is_the_table);
    PK_SUITE_TEST(&suite, every_state_but_the_last_can_be_left);
    PK_SUITE_TEST(&suite, every_state_knows_what_to_do_without_a_client);
    return pk_suite_run(&suite, "session_state");
}
