/*
 * What the gate lets pass, the parser must not call ours, under either meaning of backslashes: a
 * statement of ours would reach the server, password included.
 */
#include "parser/gate.h"
#include "parser/parse.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pk_span text = pk_span_bytes(data, size);
    if (size > PK_GATE_LEADING_MAX || pk_gate_maybe_ours(text))
        return 0;
    for (int conforming = 0; conforming < 2; conforming++) {
        pk_arena arena = PK_ARENA_MAX((size_t)64 << 20);
        pk_script script;
        pk_error err;
        bool ok = pk_parse(text, &(pk_parse_options){conforming == 1}, &arena, &script, &err);
        if (!ok || script.kind != PK_SCRIPT_FOREIGN)
            abort();
        pk_arena_clear(&arena);
    }
    return 0;
}
