/*
 * Two lists, searched from the front: there are few entries, mostly none, and whoever makes 256 of
 * them pays for it alone.
 */
#include "proxy/names.h"

#include <string.h>

typedef struct named named;
struct named {
    named *next;
    pk_name name;
    pk_prepared *prepared;
};

struct pk_names {
    named *statements;
    pk_portal *portals;
};

pk_name pk_name_of(pk_span text)
{
    pk_name name = {{0}};
    if (text.len > 0)
        memcpy(name.text, text.ptr, text.len < PK_NAME_BYTES ? text.len : PK_NAME_BYTES);
    return name;
}

static bool same(const pk_name *a, const pk_name *b)
{
    return strcmp(a->text, b->text) == 0;
}

/* ---- statements ---- */

pk_prepared *pk_prepared_new(void)
{
    pk_prepared *prepared = pk_new(pk_prepared);
    prepared->refs = 1;
    prepared->text = PK_BUF_SECRET(PK_NAMES_BYTES);
    return prepared;
}

pk_prepared *pk_prepared_ref(pk_prepared *prepared)
{
    prepared->refs++;
    return prepared;
}

void pk_prepared_unref(pk_prepared *prepared)
{
    if (prepared == NULL || --prepared->refs > 0)
        return;
    pk_buf_clear(&prepared->text);
    pk_free(prepared);
}

static named **find_statement(pk_names *names, pk_span text)
{
    const pk_name name = pk_name_of(text);
    named **at = &names->statements;
    while (*at != NULL && !same(&(*at)->name, &name))
        at = &(*at)->next;
    return at;
}

pk_prepared *pk_names_statement(const pk_names *names, pk_span text)
{
    const pk_name name = pk_name_of(text);
    const named *at = names == NULL ? NULL : names->statements;
    while (at != NULL && !same(&at->name, &name))
        at = at->next;
    return at == NULL ? NULL : at->prepared;
}

static void remove_statement(named **at)
{
    named *gone = *at;
    *at = gone->next;
    pk_prepared_unref(gone->prepared);
    pk_free(gone);
}

/* ---- portals ---- */

pk_portal *pk_portal_new(void)
{
    pk_portal *portal = pk_new(pk_portal);
    portal->bytes = PK_BUF_SECRET(PK_NAMES_BYTES);
    return portal;
}

void pk_portal_free(pk_portal *portal)
{
    if (portal == NULL)
        return;
    pk_prepared_unref(portal->prepared);
    pk_buf_clear(&portal->bytes);
    pk_free(portal->lengths);
    pk_free(portal->formats);
    pk_result_free(portal->kept);
    pk_free(portal);
}

size_t pk_portal_size(const pk_portal *portal)
{
    size_t size = sizeof *portal + portal->bytes.size + portal->prepared->text.size +
                  portal->value_count * sizeof portal->lengths[0] +
                  portal->format_count * sizeof portal->formats[0];
    if (portal->kept != NULL)
        size += portal->kept->arena.used;
    return size;
}

static pk_portal **find_portal(pk_names *names, pk_span text)
{
    const pk_name name = pk_name_of(text);
    pk_portal **at = &names->portals;
    while (*at != NULL && !same(&(*at)->name, &name))
        at = &(*at)->next;
    return at;
}

pk_portal *pk_names_portal(const pk_names *names, pk_span text)
{
    const pk_name name = pk_name_of(text);
    pk_portal *at = names == NULL ? NULL : names->portals;
    while (at != NULL && !same(&at->name, &name))
        at = at->next;
    return at;
}

static void remove_portal(pk_portal **at)
{
    pk_portal *gone = *at;
    *at = gone->next;
    pk_portal_free(gone);
}

/* ---- limits ---- */

static size_t bytes_in(const pk_names *names)
{
    size_t size = 0;
    if (names == NULL)
        return 0;
    for (const named *at = names->statements; at != NULL; at = at->next)
        size += at->prepared->text.size;
    for (const pk_portal *at = names->portals; at != NULL; at = at->next)
        size += pk_portal_size(at);
    return size;
}

static bool has_room(const pk_names *names, size_t size, pk_error *err)
{
    if (bytes_in(names) + size <= PK_NAMES_BYTES)
        return true;
    return pk_fail(err, PK_E_TOO_LONG,
                   "the prepared statements of pgkeep in this session take more than %u bytes",
                   PK_NAMES_BYTES);
}

bool pk_names_room_for_statement(const pk_names *names, pk_span name, size_t size, pk_error *err)
{
    size_t count = 0;
    for (const named *at = names == NULL ? NULL : names->statements; at != NULL; at = at->next)
        count++;
    if (count < PK_STATEMENTS_MAX || pk_names_statement(names, name) != NULL)
        return has_room(names, size, err);
    (void)pk_fail(err, PK_E_TOO_LONG, "too many prepared statements of pgkeep in this session");
    return pk_error_detail(err, "There can be %u.", PK_STATEMENTS_MAX);
}

bool pk_names_room_for_portal(const pk_names *names, pk_span name, size_t size, pk_error *err)
{
    size_t count = 0;
    for (const pk_portal *at = names == NULL ? NULL : names->portals; at != NULL; at = at->next)
        count++;
    if (count < PK_PORTALS_MAX || pk_names_portal(names, name) != NULL)
        return has_room(names, size, err);
    (void)pk_fail(err, PK_E_TOO_LONG, "too many portals of pgkeep in this session");
    return pk_error_detail(err, "There can be %u.", PK_PORTALS_MAX);
}

/* ---- changes ---- */

static pk_names *need(pk_names **names)
{
    if (*names == NULL)
        *names = pk_new(pk_names);
    return *names;
}

static void free_if_empty(pk_names **names)
{
    if ((*names)->statements != NULL || (*names)->portals != NULL)
        return;
    pk_free(*names);
    *names = NULL;
}

void pk_names_put_statement(pk_names **names, pk_span text, pk_prepared *prepared)
{
    pk_names *table = need(names);
    named **at = find_statement(table, text);
    if (*at != NULL)
        remove_statement(at);
    named *entry = pk_new(named);
    *entry = (named){table->statements, pk_name_of(text), prepared};
    table->statements = entry;
}

void pk_names_put_portal(pk_names **names, pk_span text, pk_portal *portal)
{
    pk_names *table = need(names);
    pk_portal **at = find_portal(table, text);
    if (*at != NULL)
        remove_portal(at);
    portal->name = pk_name_of(text);
    portal->next = table->portals;
    table->portals = portal;
}

void pk_names_drop_statement(pk_names **names, pk_span text)
{
    if (*names == NULL)
        return;
    named **at = find_statement(*names, text);
    if (*at != NULL)
        remove_statement(at);
    free_if_empty(names);
}

void pk_names_drop_portal(pk_names **names, pk_span text)
{
    if (*names == NULL)
        return;
    pk_portal **at = find_portal(*names, text);
    if (*at != NULL)
        remove_portal(at);
    free_if_empty(names);
}

void pk_names_drop_named_statements(pk_names **names)
{
    if (*names == NULL)
        return;
    named **at = &(*names)->statements;
    while (*at != NULL)
        if ((*at)->name.text[0] != 0)
            remove_statement(at);
        else
            at = &(*at)->next;
    free_if_empty(names);
}

void pk_names_drop_portals(pk_names **names)
{
    if (*names == NULL)
        return;
    while ((*names)->portals != NULL)
        remove_portal(&(*names)->portals);
    free_if_empty(names);
}

void pk_names_clear(pk_names **names)
{
    pk_names_drop_portals(names);
    if (*names == NULL)
        return;
    while ((*names)->statements != NULL)
        remove_statement(&(*names)->statements);
    free_if_empty(names);
}
