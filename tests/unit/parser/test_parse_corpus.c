/*
 * Every entry of the corpora. Families without a grammar yet must be claimed, whatever is in them;
 * a family that gets one moves to `built` here, and its entries then count as they are marked.
 */
#include "corpus.h"
#include "parser_test.h"

/* The corpus's kinds of the families that have a grammar are those of PK_STMT_KINDS. */
static bool is_built(const char *kind)
{
    for (pk_stmt_kind k = 0; k < PK_STMT_UNBUILT; k++)
        if (strcmp(pk_stmt_kind_name(k), kind) == 0)
            return true;
    return false;
}

/* The value of `tag` ("kind=") in a separator line; false if it has none. */
static bool tag_value(const char *tags, const char *tag, char *value, size_t size)
{
    const char *at = strstr(tags, tag);
    if (at == NULL)
        return false;
    at += strlen(tag);
    size_t len = strcspn(at, " ");
    assert_true(len < size);
    memcpy(value, at, len);
    value[len] = '\0';
    return true;
}

static void assert_kind(const pk_stmt *stmt, const char *kind)
{
    assert_string_equal(pk_stmt_kind_name(stmt->kind), is_built(kind) ? kind : "unbuilt");
}

static void check_multi(const parsed *p, const char *kinds)
{
    size_t i = 0, foreign = 0;
    while (*kinds != '\0') {
        char kind[64];
        size_t len = strcspn(kinds, ",");
        assert_true(i < p->script.count && len < sizeof kind);
        memcpy(kind, kinds, len);
        kind[len] = '\0';
        assert_kind(&p->script.stmts[i++], kind);
        foreign += strcmp(kind, "passthrough") == 0;
        kinds += len;
        kinds += *kinds == ',';
    }
    assert_int_equal(i, p->script.count);
    assert_int_equal(p->script.kind, foreign == 0 ? PK_SCRIPT_OURS : PK_SCRIPT_MIXED);
}

static void accepts(void **state)
{
    const corpus_entry *entry = *state;
    parsed p = parse_text(entry->sql);
    char kind[128];
    if (!p.ok)
        print_error("%s: %s\n", entry->sql, p.err.message);
    assert_true(p.ok);
    if (tag_value(entry->tags, "multi=", kind, sizeof kind)) {
        check_multi(&p, kind);
    } else {
        assert_true(tag_value(entry->tags, "kind=", kind, sizeof kind));
        bool foreign = strcmp(kind, "passthrough") == 0;
        assert_int_equal(p.script.kind, foreign ? PK_SCRIPT_FOREIGN : PK_SCRIPT_OURS);
        assert_int_equal(p.script.count, 1);
        assert_kind(&p.script.stmts[0], kind);
        if (strstr(entry->tags, "force=true") != NULL)
            assert_true(p.script.stmts[0].u.master_key.force);
    }
    parsed_clear(&p);
}

/* Heads whose grammar is not built: whatever stands behind them. */
static bool only_claimed(const parsed *p)
{
    return p->ok && p->script.stmts[0].kind == PK_STMT_UNBUILT;
}

static void rejects(void **state)
{
    const corpus_entry *entry = *state;
    parsed p = parse_text(entry->sql);
    char error[16], phase[16];
    assert_true(tag_value(entry->tags, "error=", error, sizeof error));
    assert_true(tag_value(entry->tags, "phase=", phase, sizeof phase));
    assert_int_equal(p.script.kind, PK_SCRIPT_OURS); /* never forwarded */
    bool check = strcmp(phase, "check") == 0;
    if (p.ok)
        assert_true(check || only_claimed(&p));
    else if (check)
        assert_string_equal(p.err.sqlstate, strcmp(error, "0A000") == 0 ? error : "");
    else
        assert_string_equal(p.err.sqlstate, error);
    if (!p.ok && strcmp(error, "42601") == 0)
        assert_true(p.err.position > 0);
    parsed_clear(&p);
}

/* So that the two tests above cannot pass by calling everything unbuilt. */
static void enough_of_the_corpus_is_parsed(void **state)
{
    const corpus *const *files = *state;
    size_t parsed_ok = 0, refused = 0;
    for (size_t i = 0; i < files[0]->count; i++) {
        parsed p = parse_text(files[0]->entries[i].sql);
        parsed_ok +=
            p.ok && p.script.kind == PK_SCRIPT_OURS && p.script.stmts[0].kind != PK_STMT_UNBUILT;
        parsed_clear(&p);
    }
    for (size_t i = 0; i < files[1]->count; i++) {
        parsed p = parse_text(files[1]->entries[i].sql);
        refused += !p.ok;
        parsed_clear(&p);
    }
    assert_true(parsed_ok >= 51);
    assert_true(refused >= 34);
}

int main(void)
{
    static pk_suite suite;
    static const corpus *files[2];
    corpus *accept = corpus_load(PK_CORPUS, "accept.sql");
    corpus *reject = corpus_load(PK_CORPUS, "reject.sql");
    files[0] = accept;
    files[1] = reject;
    for (size_t i = 0; i < accept->count; i++)
        pk_suite_add(&suite, accept->entries[i].name, accepts, &accept->entries[i]);
    for (size_t i = 0; i < reject->count; i++)
        pk_suite_add(&suite, reject->entries[i].name, rejects, &reject->entries[i]);
    pk_suite_add(&suite, "enough of the corpus is parsed", enough_of_the_corpus_is_parsed, files);
    return pk_suite_run(&suite, "corpus");
}
