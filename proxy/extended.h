/*
 * Messages of the extended query protocol as bytes: whose names a message carries, what a Bind
 * says, and the rebuilt ones that go to the server in place of ours (wire-protocol 5.3). Pure; any
 * thread.
 */
#ifndef PK_PROXY_EXTENDED_H
#define PK_PROXY_EXTENDED_H

#include "proxy/names.h"
#include "proxy/wire.h"

/* Highest $n of a statement of ours; what a Parse declares counts too. */
#define PK_PARAMETERS_MAX 256u

/* The names that a Parse, Bind, Describe, Execute or Close is about. A name that is not there has a
 * ptr of NULL. False: they are not all within `bytes`, which begins with the header. */
typedef struct pk_targets {
    pk_span statement, portal;
} pk_targets;
bool pk_extended_targets(char type, pk_span bytes, pk_targets *targets) PK_MUST_USE;

/* Parse. Types that a parameter of ours may be declared as: none, text, varchar, bpchar, name,
 * unknown; else 42804. `types` are the bytes of the message. */
typedef struct pk_parse_message {
    pk_span name, text, types;
    uint16_t type_count;
} pk_parse_message;
bool pk_extended_read_parse(pk_span message, pk_parse_message *parse) PK_MUST_USE;
bool pk_extended_check_types(const pk_parse_message *parse, pk_error *err) PK_MUST_USE;
/* The stand-in: one row with the nonce, in a column of that name, and `parameters` parameters. */
bool pk_extended_stand_in(pk_buf *out, const pk_parse_message *parse, const char *nonce,
                          const char *comment, uint32_t parameters) PK_MUST_USE;

/* The limit of rows of an Execute; 0: none. */
uint32_t pk_extended_row_limit(pk_span message);

/*
 * Bind: what the client bound, as UTF-8, into `portal`, whose statement is known already. `columns`
 * is how many its result has. 08P01, 22021, 22023 as the server would say; 54000.
 */
bool pk_extended_read_bind(pk_span message, const char *encoding, size_t columns, pk_portal *portal,
                           pk_error *err) PK_MUST_USE;
/* The same Bind with every value NULL and no format. */
bool pk_extended_null_bind(pk_buf *out, const pk_targets *targets, uint16_t values) PK_MUST_USE;

/* Describe of a prepared statement. */
bool pk_extended_describe(pk_buf *out, pk_span statement) PK_MUST_USE;
/* Close of a prepared statement. */
bool pk_extended_close(pk_buf *out, pk_span statement) PK_MUST_USE;

/* Is it a RowDescription of one column of this name; a DataRow of one column with this value? What
 * is there of the message is enough. */
bool pk_extended_is_column(pk_span message, const char *nonce);
bool pk_extended_is_row(pk_span message, const char *nonce);
/* So many bytes of a message of the server decide that. */
#define PK_EXTENDED_LOOK 128u

#endif
