/*
 * What a statement is: one tagged union whose values are spans of the statement's text (or of the
 * arena, where quotes had to be undone), so that a password exists once and dies with its arena.
 * Every literal has a class, given by its place in the grammar, and redact.h prints by class.
 */
#ifndef PK_PARSER_STMT_H
#define PK_PARSER_STMT_H

#include "base/span.h"

/* kind, name in the corpus, command tag (sql-surface 3), the member of the union it uses */
#define PK_STMT_KINDS(X)                                                                           \
    X(PK_STMT_OTHER, "passthrough", "", NONE)                                                      \
    X(PK_STMT_TENANT_KEY_BACKUP, "tenant_key_backup", "ALTER SYSTEM", TENANT_KEY)                  \
    X(PK_STMT_TENANT_KEY_RESTORE, "tenant_key_restore", "ALTER SYSTEM", TENANT_KEY)                \
    X(PK_STMT_TENANT_KEY_ROTATE, "tenant_key_rotate", "ALTER INSTANCE", TENANT_KEY)                \
    X(PK_STMT_TENANT_RESTORE, "tenant_restore", "ALTER SYSTEM", TENANT_RESTORE)                    \
    X(PK_STMT_SET_ENCRYPTION, "set_encryption", "SET", SESSION_PASSWORD)                           \
    X(PK_STMT_SET_DECRYPTION, "set_decryption", "SET", SESSION_PASSWORD)                           \
    X(PK_STMT_SMK_BACKUP, "smk_backup", "BACKUP SERVICE MASTER KEY", MASTER_KEY)                   \
    X(PK_STMT_SMK_RESTORE, "smk_restore", "RESTORE SERVICE MASTER KEY", MASTER_KEY)                \
    X(PK_STMT_SMK_ALTER, "smk_alter", "ALTER SERVICE MASTER KEY", MASTER_KEY)                      \
    X(PK_STMT_DMK_CREATE, "dmk_create", "CREATE MASTER KEY", MASTER_KEY)                           \
    X(PK_STMT_DMK_OPEN, "dmk_open", "OPEN MASTER KEY", MASTER_KEY)                                 \
    X(PK_STMT_DMK_CLOSE, "dmk_close", "CLOSE MASTER KEY", MASTER_KEY)                              \
    X(PK_STMT_DMK_ALTER, "dmk_alter", "ALTER MASTER KEY", MASTER_KEY)                              \
    X(PK_STMT_DMK_DROP, "dmk_drop", "DROP MASTER KEY", MASTER_KEY)                                 \
    X(PK_STMT_DMK_BACKUP, "dmk_backup", "BACKUP MASTER KEY", MASTER_KEY)                           \
    X(PK_STMT_DMK_RESTORE, "dmk_restore", "RESTORE MASTER KEY", MASTER_KEY)                        \
    X(PK_STMT_SYMKEY_BACKUP, "symkey_backup", "BACKUP SYMMETRIC KEY", MASTER_KEY)                  \
    X(PK_STMT_SYMKEY_RESTORE, "symkey_restore", "RESTORE SYMMETRIC KEY", MASTER_KEY)               \
    X(PK_STMT_SHOW_MASTER_KEYS, "show_master_keys", "SHOW", NONE)                                  \
    X(PK_STMT_SHOW_KEY_BACKUPS, "show_key_backups", "SHOW", NONE)                                  \
    X(PK_STMT_KEYSTORE_SEAL, "keystore_seal", "SEAL", NONE)                                        \
    X(PK_STMT_KEYSTORE_UNSEAL, "keystore_unseal", "UNSEAL", KEYSTORE)                              \
    X(PK_STMT_KEYSTORE_ALTER, "keystore_alter", "ALTER KEYSTORE", KEYSTORE)                        \
    X(PK_STMT_KEYSTORE_SHOW, "keystore_show", "SHOW", NONE)                                        \
    /* Claimed, so never forwarded, but of a family without a grammar yet: its head decides. */    \
    X(PK_STMT_UNBUILT, "unbuilt", "", NONE)

typedef enum pk_stmt_kind {
#define X(kind, corpus, tag, part) kind,
    PK_STMT_KINDS(X)
#undef X
        PK_STMT_KIND_COUNT
} pk_stmt_kind;

/* Which member of pk_stmt's union is filled in. */
typedef enum pk_stmt_part {
    PK_PART_NONE,
    PK_PART_TENANT_KEY,
    PK_PART_MASTER_KEY,
    PK_PART_SESSION_PASSWORD,
    PK_PART_TENANT_RESTORE,
    PK_PART_KEYSTORE,
} pk_stmt_part;

const char *pk_stmt_kind_name(pk_stmt_kind kind);
const char *pk_stmt_kind_tag(pk_stmt_kind kind);
pk_stmt_part pk_stmt_kind_part(pk_stmt_kind kind);

typedef enum pk_value_kind {
    PK_VALUE_ABSENT,
    PK_VALUE_STRING,
    PK_VALUE_WORD,
    PK_VALUE_PARAM
} pk_value_kind;

/* How a value may be shown. */
typedef enum pk_value_class {
    PK_CLASS_NAME,     /* tenant, key name: as it is */
    PK_CLASS_PLACE,    /* path or URI: through pk_uri_redact */
    PK_CLASS_PASSWORD, /* '******' */
    PK_CLASS_OTHER,    /* anything else a client wrote: '...' */
} pk_value_class;

typedef struct pk_value {
    pk_value_kind kind;
    pk_value_class class;
    pk_span text;      /* decoded; of a parameter empty until it is bound */
    pk_span source;    /* as written, within the statement's text */
    uint32_t param;    /* n of $n */
    uint32_t position; /* 1-based characters in the whole string sent by the client */
} pk_value;

static inline bool pk_value_is_set(const pk_value *v)
{
    return v->kind != PK_VALUE_ABSENT;
}

typedef enum pk_alter_action {
    PK_ALTER_REGENERATE,
    PK_ALTER_ADD_PASSWORD,
    PK_ALTER_DROP_PASSWORD,
    PK_ALTER_ADD_SMK,
    PK_ALTER_DROP_SMK,
    PK_ALTER_ACCOUNT, /* WITH OLD_ACCOUNT / NEW_ACCOUNT: Windows only */
} pk_alter_action;

typedef enum pk_keystore_action {
    PK_KEYSTORE_ADD_PASSWORD,
    PK_KEYSTORE_ADD_FILE,
    PK_KEYSTORE_ADD_RECOVERY,
    PK_KEYSTORE_ADD_OTHER, /* a kind of slot that we do not know */
    PK_KEYSTORE_DROP,
    PK_KEYSTORE_REKEY,
} pk_keystore_action;

typedef struct pk_stmt {
    pk_stmt_kind kind;
    pk_span source;   /* from its first to its last token, within the client's string */
    const char *tag;  /* command tag; of ADMINISTER KEY MANAGEMENT, for one, not the kind's */
    const char *head; /* of UNBUILT and parse errors: the claimed words, in our spelling */
    pk_value *values; /* every literal, word value and parameter, in order; the members below are
                         copies */
    size_t value_count;
    union {
        struct { /* TENANT_KEY_*; RESTORE: one tenant at most, force; ROTATE: tenants, password */
            pk_value *tenants;
            size_t tenant_count;
            pk_value path, password;
            bool force;
        } tenant_key;
        struct {                 /* SMK_*, DMK_*, SYMKEY_* */
            pk_value name;       /* SYMKEY */
            bool url;            /* TO URL / FROM URL instead of FILE */
            pk_value place;      /* BACKUP, RESTORE */
            pk_value decryption; /* DECRYPTION BY PASSWORD */
            pk_value encryption; /* ENCRYPTION BY PASSWORD */
            bool force;
            pk_alter_action action; /* ALTER */
        } master_key;
        struct { /* SET_ENCRYPTION, SET_DECRYPTION */
            pk_value *passwords;
            size_t count;
        } session_password;
        struct { /* TENANT_RESTORE: of OceanBase's data restore, only what can matter to keys */
            pk_value tenant, from, until, pool;
            pk_value data_password, key_from, key_password, description;
        } tenant_restore;
        struct {                       /* KEYSTORE_UNSEAL, KEYSTORE_ALTER */
            pk_keystore_action action; /* ALTER */
            bool recovery;             /* UNSEAL: a recovery code, not a password */
            pk_value secret;           /* UNSEAL, ADD SLOT */
            pk_value slot;             /* DROP SLOT: digits, if it is no parameter */
        } keystore;
    } u;
} pk_stmt;

#endif
