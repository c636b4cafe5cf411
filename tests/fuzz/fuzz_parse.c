/*
 * Any bytes through lexer, splitter, claims, grammars and redaction. Beside what the sanitizers
 * see: tokens are in order and within the text, a failure has its code, and what libpg_query was
 * given holds no letter of the text.
 */
#include "parser/lexer.h"
#include "parser/parse.h"
#include "parser/redact.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_tokens(pk_span text, bool conforming)
{
    pk_arena arena = PK_ARENA_MAX((size_t)64 << 20);
    pk_tokens tokens;
    pk_mask mask;
    pk_error err;
    require(pk_lex(text, conforming, &arena, &tokens, &err));
    for (size_t i = 0; i < tokens.count; i++) {
        require(tokens.list[i].start < tokens.list[i].end);
        require(tokens.list[i].end <= tokens.list[i + 1].start);
        pk_span value;
        bool text_value = tokens.list[i].kind == PK_TOKEN_WORD ||
                          tokens.list[i].kind == PK_TOKEN_NAME ||
                          tokens.list[i].kind == PK_TOKEN_STRING;
        if (text_value && !pk_token_value(&tokens, i, &arena, &value, &err))
            require(err.sqlstate[0] != '\0');
    }
    require(pk_mask_make(text, conforming, &arena, &mask, &err));
    for (size_t i = 0; i < mask.len; i++) {
        char c = mask.text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        require((unsigned char)c < 0x80 && (!letter || strchr("xeEbBXuU", c) != NULL));
    }
    pk_arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16)
        return 0;
    pk_span text = pk_span_bytes(data, size);
    for (int conforming = 0; conforming < 2; conforming++) {
        check_tokens(text, conforming == 1);
        pk_arena arena = PK_ARENA_MAX((size_t)64 << 20);
        pk_script script;
        pk_error err = {0};
        bool ok = pk_parse(text, &(pk_parse_options){conforming == 1}, &arena, &script, &err);
        require(ok || (err.sqlstate[0] != '\0' && script.kind != PK_SCRIPT_FOREIGN));
        for (size_t i = 0; i < script.count; i++) {
            PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX((size_t)1 << 20);
            require(pk_redact(&script.stmts[i], &out, &err));
        }
        pk_arena_clear(&arena);
    }
    return 0;
}
