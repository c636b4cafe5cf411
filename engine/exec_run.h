/* What a worker does with the table of exec.c. Private to engine/. */
#ifndef PK_ENGINE_EXEC_RUN_H
#define PK_ENGINE_EXEC_RUN_H

#include "engine/exec_context.h"

/* Fills ctx->rights. 42501, or 57P03 when nobody can be asked. */
bool pk_exec_authorize(pk_exec_context *ctx, pk_error *err) PK_MUST_USE;
/* The handler. The statement has passed pk_exec_check and pk_exec_authorize. */
bool pk_exec_run(pk_exec_context *ctx, pk_error *err) PK_MUST_USE;

#endif
