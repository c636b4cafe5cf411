/*
 * The roles in PostgreSQL that pgkeep knows (DECISIONS 10): enum name, role, what it is for. One
 * list for the question of rights and for `pgkeep print-sql`.
 */
#ifndef PK_ENGINE_ROLES_H
#define PK_ENGINE_ROLES_H

#define PK_ROLES(X)                                                                                \
    X(PK_ROLE_ADMIN, "pgkeep_admin", "may run every statement of pgkeep")                          \
    X(PK_ROLE_KEY_ADMIN, "pgkeep_key_admin", "may create master keys, not take copies of them")    \
    X(PK_ROLE_KEY_EXPORT, "pgkeep_key_export", "may back up master keys")                          \
    X(PK_ROLE_KEY_RESTORE, "pgkeep_key_restore", "may restore master keys")                        \
    X(PK_ROLE_BACKUP, "pgkeep_backup", "may use master keys to back up data, not take copies")     \
    X(PK_ROLE_RESTORE, "pgkeep_restore", "may use master keys to restore data")                    \
    X(PK_ROLE_MONITOR, "pgkeep_monitor", "may look at keys, key backups and jobs of everybody")

typedef enum pk_role {
#define X(id, name, purpose) id,
    PK_ROLES(X)
#undef X
        PK_ROLE_COUNT
} pk_role;

#endif
