/*
 * Names of statement kinds, from the one list.
 */
#include "parser/stmt.h"

static const struct kind {
    const char *name, *tag;
} kinds[] = {
#define X(kind, corpus, tag) [kind] = {corpus, tag},
    PK_STMT_KINDS(X)
#undef X
};

const char *pk_stmt_kind_name(pk_stmt_kind kind)
{
    return kinds[kind].name;
}

const char *pk_stmt_kind_tag(pk_stmt_kind kind)
{
    return kinds[kind].tag;
}
