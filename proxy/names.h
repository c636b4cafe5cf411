/*
 * Which prepared statements and portals of a session are ours: notes in the margin of the server's
 * own tables, for the server has a stand-in under every one of these names (wire-protocol 5.3).
 * An entry too many is found out at its next use, because the stand-in proves itself; a statement
 * that is missing would hand its parameters to the server, so in doubt an entry stays.
 *
 * A session without any owns no table (NULL), which is all the hot path asks. Names count by their
 * first 63 bytes, as the server's hash key. What entries hold may be secret and is wiped. Pure;
 * belongs to its session.
 */
#ifndef PK_PROXY_NAMES_H
#define PK_PROXY_NAMES_H

#include "base/buf.h"
#include "engine/result.h"
#include "parser/parse.h"

#define PK_NAME_BYTES     63u /* NAMEDATALEN - 1 */
#define PK_STATEMENTS_MAX 256u
#define PK_PORTALS_MAX    64u
#define PK_NAMES_BYTES    (8u << 20) /* of texts, values and kept results */

typedef struct pk_name {
    char text[PK_NAME_BYTES + 1];
} pk_name;
pk_name pk_name_of(pk_span text);

/* A statement as it was parsed. Two own it: its name, and every portal bound from it, which
 * outlives the name. */
typedef struct pk_prepared {
    unsigned refs;
    pk_buf text; /* UTF-8, secret */
    bool standard_conforming;
    pk_stmt_kind kind;
    char words[64]; /* what messages call it */
} pk_prepared;
pk_prepared *pk_prepared_new(void) PK_MUST_USE;
pk_prepared *pk_prepared_ref(pk_prepared *prepared) PK_MUST_USE;
void pk_prepared_unref(pk_prepared *prepared);
PK_DEFINE_AUTO_PTR(pk_prepared_unref, pk_prepared *)

typedef struct pk_portal pk_portal;
struct pk_portal {
    pk_portal *next; /* the table's */
    pk_name name;
    pk_prepared *prepared;
    pk_buf bytes;      /* of all values, UTF-8, secret */
    uint32_t *lengths; /* of each value; UINT32_MAX: NULL */
    uint16_t value_count;
    uint16_t *formats; /* of result columns: none, one for all, or one each */
    uint16_t format_count;
    bool has_rows;
    bool ran;               /* executed once; further Executes continue it */
    pk_result *kept;        /* what a row limit left over; NULL: nothing */
    const pk_row *next_row; /* of it */
    char tag[64];           /* once it ran */
};
pk_portal *pk_portal_new(void) PK_MUST_USE;
void pk_portal_free(pk_portal *portal);
PK_DEFINE_AUTO_PTR(pk_portal_free, pk_portal *)
/* The bytes that it holds, as the limit counts them: its statement's too, which may have lost its
 * name. */
size_t pk_portal_size(const pk_portal *portal);

typedef struct pk_names pk_names;

/* NULL table: nothing is ours. */
pk_prepared *pk_names_statement(const pk_names *names, pk_span name);
pk_portal *pk_names_portal(const pk_names *names, pk_span name);

/* Is there room for one more of `size` bytes? 54000. What stood under the same name counts as gone
 * only for the number of entries. */
bool pk_names_room_for_statement(const pk_names *names, pk_span name, size_t size,
                                 pk_error *err) PK_MUST_USE;
bool pk_names_room_for_portal(const pk_names *names, pk_span name, size_t size,
                              pk_error *err) PK_MUST_USE;

/* Each replaces what stood there and takes the object. */
void pk_names_put_statement(pk_names **names, pk_span name, pk_prepared *prepared);
void pk_names_put_portal(pk_names **names, pk_span name, pk_portal *portal);

/* Each may leave NULL behind. */
void pk_names_drop_statement(pk_names **names, pk_span name);
void pk_names_drop_portal(pk_names **names, pk_span name);
/* DEALLOCATE ALL: the unnamed one stays, as on the server. */
void pk_names_drop_named_statements(pk_names **names);
void pk_names_drop_portals(pk_names **names);
void pk_names_clear(pk_names **names);

#endif
