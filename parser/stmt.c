/*
 * What is fixed for each statement kind, from the one list.
 */
#include "parser/stmt.h"

static const struct kind {
    const char *name, *tag;
    pk_stmt_part part;
} kinds[] = {
#define X(kind, corpus, tag, part) [kind] = {corpus, tag, PK_PART_##part},
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

pk_stmt_part pk_stmt_kind_part(pk_stmt_kind kind)
{
    return kinds[kind].part;
}
