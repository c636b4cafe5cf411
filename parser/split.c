/*
 * Statement boundaries. libpg_query's own splitter drops statements that hold no PostgreSQL keyword
 * (fact L1) and cuts bodies of SQL-standard functions apart (fact L2), so this one walks over the
 * tokens: a semicolon ends a statement unless it stands in parentheses (CREATE RULE) or between
 * BEGIN ATOMIC and its END within a CREATE. CASE .. END nests inside such a body; both words are
 * reserved, so nothing else can be called that.
 */
#include "parser/lexer.h"

typedef struct nesting {
    size_t parentheses;
    size_t body; /* BEGIN ATOMIC and CASE not yet ended */
    bool create;
} nesting;

static void step(nesting *n, const pk_tokens *tokens, size_t i)
{
    if (pk_token_is(tokens, i, "("))
        n->parentheses++;
    else if (pk_token_is(tokens, i, ")"))
        n->parentheses -= n->parentheses > 0;
    else if (n->body > 0 && pk_token_is(tokens, i, "END"))
        n->body--;
    else if (n->body > 0 && pk_token_is(tokens, i, "CASE"))
        n->body++;
    else if (n->create && n->body == 0 && pk_token_is(tokens, i, "ATOMIC") &&
             pk_token_is(tokens, i - 1, "BEGIN"))
        n->body = 1;
}

static void close_statement(pk_split *split, size_t start, size_t end)
{
    if (start == end)
        return;
    split->starts[split->count] = start;
    split->ends[split->count] = end;
    split->count++;
}

bool pk_split_statements(const pk_tokens *tokens, pk_arena *arena, pk_split *split, pk_error *err)
{
    size_t most = 1;
    for (size_t i = 0; i < tokens->count; i++)
        most += pk_token_is(tokens, i, ";");
    *split = (pk_split){.starts = pk_arena_array(arena, most, sizeof(size_t), err)};
    if (split->starts != NULL)
        split->ends = pk_arena_array(arena, most, sizeof(size_t), err);
    if (split->ends == NULL)
        return false;

    nesting n = {0};
    size_t start = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        if (i == start)
            n = (nesting){.create = pk_token_is(tokens, i, "CREATE")};
        if (n.parentheses == 0 && n.body == 0 && pk_token_is(tokens, i, ";")) {
            close_statement(split, start, i);
            start = i + 1;
        } else {
            step(&n, tokens, i);
        }
    }
    close_statement(split, start, tokens->count);
    return true;
}
