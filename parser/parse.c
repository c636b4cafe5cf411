/*
 * From a client's string to statements: lex, split, claim, then the parsers of the claimed ones
 * (parse_oceanbase.c, parse_mssql.c, parse_keystore.c; claims.def names them). Here are also the
 * claims that are only there to be refused.
 *
 * Whose string it is, is settled before anything in it can fail, so that every failure behind that
 * point is answered by us.
 */
#include "parser/parse.h"

#include "parser/claim.h"

#define REFUSED_WRAPPER_HINT "Send the statement itself, without words in front of it."

typedef struct reader {
    const pk_tokens *tokens;
    const pk_split *split;
    const pk_claim **claims; /* of each statement; NULL for a foreign one */
    size_t ours;
    bool hidden; /* a claimed head behind a semicolon inside a foreign statement */
} reader;

/* A family without a grammar: claimed is all it is. */
bool pk_parse_unbuilt(pk_cursor *c)
{
    c->at = c->end;
    return true;
}

bool pk_parse_explain(pk_cursor *c)
{
    return pk_cursor_unsupported(c, "EXPLAIN of this statement is not supported",
                                 REFUSED_WRAPPER_HINT);
}

bool pk_parse_prepare(pk_cursor *c)
{
    return pk_cursor_unsupported(c, "PREPARE of this statement is not supported",
                                 "Use your driver's prepared statements, or send the statement "
                                 "itself.");
}

/* GO and USE */
bool pk_parse_batch(pk_cursor *c)
{
    pk_cursor_syntax_error(c);
    return pk_error_hint(c->err, "GO and USE are commands of Microsoft's tools, not of SQL: leave "
                                 "them out.");
}

bool pk_parse_grant(pk_cursor *c)
{
    return pk_cursor_unsupported(
        c,
        "system privileges and privileges on external connections are "
        "not supported",
        "Who may run what follows from PostgreSQL's roles: pgkeep print-sql creates them.");
}

/* The splitter keeps `;` inside parentheses and function bodies together. PostgreSQL refuses one of
 * our heads there too, and would log the text: so the whole string is treated as mixed. */
static bool hides_claim(const pk_tokens *tokens, size_t start, size_t end)
{
    bool found = false;
    size_t piece = end; /* the first piece is the statement itself, which is known to be foreign */
    for (size_t i = start; i <= end && !found; i++) {
        if (i < end && !pk_token_is(tokens, i, ";"))
            continue;
        found = piece < i && pk_claim_find(tokens, piece, i) != NULL;
        piece = i + 1;
    }
    return found;
}

static bool find_claims(reader *r, pk_arena *arena, pk_error *err)
{
    r->claims = pk_arena_array(arena, r->split->count, sizeof(const pk_claim *), err);
    if (r->claims == NULL)
        return false;
    for (size_t k = 0; k < r->split->count; k++) {
        size_t start = r->split->starts[k], end = r->split->ends[k];
        r->claims[k] = pk_claim_find(r->tokens, start, end);
        if (r->claims[k] != NULL)
            r->ours++;
        else
            r->hidden = r->hidden || hides_claim(r->tokens, start, end);
    }
    return true;
}

static pk_script_kind script_kind(const reader *r)
{
    if (r->ours == 0)
        return r->hidden ? PK_SCRIPT_MIXED : PK_SCRIPT_FOREIGN;
    return r->ours == r->split->count ? PK_SCRIPT_OURS : PK_SCRIPT_MIXED;
}

static pk_stmt unparsed(const reader *r, size_t k)
{
    const pk_token *first = &r->tokens->list[r->split->starts[k]];
    const pk_token *last = &r->tokens->list[r->split->ends[k] - 1];
    const pk_claim *claim = r->claims[k];
    return (pk_stmt){
        .kind = claim == NULL ? PK_STMT_OTHER : PK_STMT_UNBUILT,
        .source = pk_span_bytes(r->tokens->text.ptr + first->start, last->end - first->start),
        .tag = "",
        .head = claim == NULL ? "" : claim->head,
    };
}

/* A statement that failed keeps only its head, and redacts to it. */
static bool parse_statement(const reader *r, size_t k, pk_cursor *c, pk_stmt *stmt)
{
    if (!pk_cursor_begin(c, r->split->starts[k], r->split->ends[k], stmt))
        return false;
    if (!r->claims[k]->parse(c)) {
        *stmt = unparsed(r, k);
        return false;
    }
    /* Two statements share the kind TENANT_KEY_ROTATE, not the tag. */
    stmt->tag = stmt->kind == PK_STMT_TENANT_KEY_ROTATE ? stmt->head : pk_stmt_kind_tag(stmt->kind);
    return true;
}

/* In a mixed string, which is refused anyway, faults of single statements are of no interest. */
static bool parse_statements(const reader *r, pk_arena *arena, pk_script *script, pk_error *err)
{
    pk_error ignored = {0};
    bool mixed = script->kind == PK_SCRIPT_MIXED;
    pk_cursor c = {.tokens = r->tokens, .arena = arena, .err = mixed ? &ignored : err};
    for (size_t k = 0; k < script->count; k++) {
        if (r->claims[k] == NULL)
            continue;
        if (!parse_statement(r, k, &c, &script->stmts[k]) && !mixed)
            return false;
    }
    return true;
}

bool pk_parse(pk_span text, const pk_parse_options *options, pk_arena *arena, pk_script *script,
              pk_error *err)
{
    pk_tokens tokens;
    pk_split split;
    *script = (pk_script){.kind = PK_SCRIPT_OURS}; /* until it is known: nothing leaves us */
    if (!pk_lex(text, options->standard_conforming, arena, &tokens, err) ||
        !pk_split_statements(&tokens, arena, &split, err))
        return false;

    reader r = {.tokens = &tokens, .split = &split};
    if (!find_claims(&r, arena, err))
        return false;
    script->stmts = pk_arena_array(arena, split.count, sizeof *script->stmts, err);
    if (script->stmts == NULL)
        return false;
    script->kind = script_kind(&r);
    script->count = split.count;
    for (size_t k = 0; k < split.count; k++)
        script->stmts[k] = unparsed(&r, k);
    if (script->kind == PK_SCRIPT_FOREIGN)
        return true;
    if (tokens.error.sqlstate[0] != '\0') {
        if (err != NULL)
            *err = tokens.error;
        return false;
    }
    return parse_statements(&r, arena, script, err);
}
