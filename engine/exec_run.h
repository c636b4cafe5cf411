/* What a worker does with the table of exec.c. Private to engine/. */
#ifndef PK_ENGINE_EXEC_RUN_H
#define PK_ENGINE_EXEC_RUN_H

#include "engine/exec_context.h"

/* What the settings and the place say about rights. */
typedef struct pk_exec_policy {
    bool superuser_is_admin, owner_manages_dmk;
    bool in_admin_database;
} pk_exec_policy;
/* The table of rights alone: may who has these run this? Fills rights->admin. Pure. */
bool pk_exec_may(const pk_stmt *stmt, const pk_exec_policy *policy, pk_rights *rights) PK_MUST_USE;

/* Fills ctx->rights. 42501, or 57P03 when nobody can be asked. */
bool pk_exec_authorize(pk_exec_context *ctx, pk_error *err) PK_MUST_USE;
/* The number of DROP SLOT; 22023. */
bool pk_exec_slot_number(const pk_value *value, int64_t *slot, pk_error *err) PK_MUST_USE;
/* The handler. The statement has passed pk_exec_check and pk_exec_authorize. */
bool pk_exec_run(pk_exec_context *ctx, pk_error *err) PK_MUST_USE;

/* The reasons why a keystore is not there name directories and processes: for administrators. */
void pk_exec_hide_absence(const pk_exec_context *ctx, pk_error *err);

#endif
