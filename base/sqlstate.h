/*
 * Every SQLSTATE we can answer with, by name: PostgreSQL's own where one fits (errcodes.txt of
 * PostgreSQL 15; sql-surface 11). docs/errors.md lists the same codes; a test compares the two.
 */
#ifndef PK_BASE_SQLSTATE_H
#define PK_BASE_SQLSTATE_H

#define PK_SQLSTATES(X)                                                                            \
    X(PK_OK, "00000", "successful completion, notices")                                            \
    X(PK_E_WARNING, "01000", "warning")                                                            \
    X(PK_E_BACKEND_UNREACHABLE, "08001", "the PostgreSQL behind cannot be reached")                \
    X(PK_E_BACKEND_LOST, "08006", "the PostgreSQL behind went away")                               \
    X(PK_E_PROTOCOL, "08P01", "protocol violation")                                                \
    X(PK_E_UNSUPPORTED, "0A000", "parsed, but not offered")                                        \
    X(PK_E_NULL, "22004", "a parameter is NULL")                                                   \
    X(PK_E_CHARACTERS, "22021", "a parameter is no text of client_encoding")                       \
    X(PK_E_PARAMETER, "22023", "invalid parameter value")                                          \
    X(PK_E_IN_TRANSACTION, "25001", "cannot run inside a transaction block")                       \
    X(PK_E_ABORTED_TRANSACTION, "25P02", "current transaction is aborted")                         \
    X(PK_E_NOT_ALLOWED, "28000", "not allowed from this address")                                  \
    X(PK_E_PASSWORD, "28P01", "wrong password, or no recipient of this file")                      \
    X(PK_E_UNDEFINED_DATABASE, "3D000", "database does not exist")                                 \
    X(PK_E_CONFLICT, "40001", "the catalog was changed by somebody else")                          \
    X(PK_E_PRIVILEGE, "42501", "insufficient privilege")                                           \
    X(PK_E_SYNTAX, "42601", "syntax error")                                                        \
    X(PK_E_UNDEFINED_OBJECT, "42704", "no such key or object")                                     \
    X(PK_E_DUPLICATE_OBJECT, "42710", "the key or object exists already")                          \
    X(PK_E_DATATYPE, "42804", "a parameter is declared as something else than text")               \
    X(PK_E_UNDEFINED_PARAMETER, "42P02", "$n without a value")                                     \
    X(PK_E_CONNECTIONS, "53300", "too many connections")                                           \
    X(PK_E_MEMORY, "53200", "out of memory, or of secure memory")                                  \
    X(PK_E_LIMIT_CONFIGURED, "53400", "a configured limit is reached")                             \
    X(PK_E_TOO_LONG, "54000", "a limit of the program is exceeded")                                \
    X(PK_E_STATE, "55000", "not in the state that this needs")                                     \
    X(PK_E_IN_USE, "55006", "in use")                                                              \
    X(PK_E_CANCELED, "57014", "canceled")                                                          \
    X(PK_E_SHUTDOWN, "57P01", "pgkeep is shutting down")                                           \
    X(PK_E_NOT_READY, "57P03", "not ready: the service connection or keystore is unreachable")     \
    X(PK_E_SYSTEM, "58000", "an error outside pgkeep")                                             \
    X(PK_E_IO, "58030", "input or output failed")                                                  \
    X(PK_E_UNDEFINED_FILE, "58P01", "file does not exist")                                         \
    X(PK_E_DUPLICATE_FILE, "58P02", "file exists already")                                         \
    X(PK_E_CONFIG_FILE, "F0000", "a file that the configuration names will not do")                \
    X(PK_E_INTERNAL, "XX000", "internal error")                                                    \
    X(PK_E_CORRUPT, "XX001", "damaged or forged data")

#define PK_SQLSTATE_CONST(name, code, meaning)                                                     \
    static const char name[6] __attribute__((unused)) = code;
PK_SQLSTATES(PK_SQLSTATE_CONST)
#undef PK_SQLSTATE_CONST

#endif
