/*
 * The members of a statement's union are copies of entries of its list of values, and both must
 * tell the same story. So the list is filled first, and every copy is then found again by where it
 * stands in the text. Tenants and session passwords point into the list and need no copy.
 */
#include "parser/bind.h"

uint32_t pk_script_params(const pk_script *script)
{
    uint32_t highest = 0;
    for (size_t k = 0; k < script->count; k++)
        for (size_t i = 0; i < script->stmts[k].value_count; i++)
            if (script->stmts[k].values[i].param > highest)
                highest = script->stmts[k].values[i].param;
    return highest;
}

static bool bind_value(pk_value *value, const pk_span *values, size_t count, pk_error *err)
{
    if (value->param > count) {
        pk_fail(err, PK_E_UNDEFINED_PARAMETER, "there is no parameter $%u", value->param);
        return pk_error_at(err, value->position);
    }
    const pk_span text = values[value->param - 1];
    if (text.ptr == NULL) {
        pk_fail(err, PK_E_NULL, "parameter $%u must not be NULL", value->param);
        return pk_error_at(err, value->position);
    }
    /* No literal can hold one, and what opens files would stop there. */
    if (memchr(text.ptr, '\0', text.len) != NULL) {
        pk_fail(err, PK_E_PARAMETER, "parameter $%u holds a zero byte", value->param);
        return pk_error_at(err, value->position);
    }
    value->kind = PK_VALUE_STRING;
    value->text = text;
    return true;
}

static void refresh(const pk_stmt *stmt, pk_value *copy)
{
    for (size_t i = 0; copy->kind == PK_VALUE_PARAM && i < stmt->value_count; i++)
        if (stmt->values[i].source.ptr == copy->source.ptr)
            *copy = stmt->values[i];
}

static void refresh_tenant_restore(pk_stmt *stmt)
{
    pk_value *copies[] = {
        &stmt->u.tenant_restore.tenant,        &stmt->u.tenant_restore.from,
        &stmt->u.tenant_restore.until,         &stmt->u.tenant_restore.pool,
        &stmt->u.tenant_restore.data_password, &stmt->u.tenant_restore.key_from,
        &stmt->u.tenant_restore.key_password,  &stmt->u.tenant_restore.description,
    };
    for (size_t i = 0; i < PK_COUNT(copies); i++)
        refresh(stmt, copies[i]);
}

static void refresh_master_key(pk_stmt *stmt)
{
    refresh(stmt, &stmt->u.master_key.name);
    refresh(stmt, &stmt->u.master_key.place);
    refresh(stmt, &stmt->u.master_key.decryption);
    refresh(stmt, &stmt->u.master_key.encryption);
}

static void refresh_copies(pk_stmt *stmt)
{
    switch (pk_stmt_kind_part(stmt->kind)) {
    case PK_PART_TENANT_KEY:
        refresh(stmt, &stmt->u.tenant_key.path);
        refresh(stmt, &stmt->u.tenant_key.password);
        break;
    case PK_PART_MASTER_KEY:
        refresh_master_key(stmt);
        break;
    case PK_PART_TENANT_RESTORE:
        refresh_tenant_restore(stmt);
        break;
    case PK_PART_KEYSTORE:
        refresh(stmt, &stmt->u.keystore.secret);
        refresh(stmt, &stmt->u.keystore.slot);
        break;
    case PK_PART_SESSION_PASSWORD:
    case PK_PART_NONE:
        break;
    }
}

bool pk_bind(pk_script *script, const pk_span *values, size_t count, pk_error *err)
{
    for (size_t k = 0; k < script->count; k++) {
        pk_stmt *stmt = &script->stmts[k];
        for (size_t i = 0; i < stmt->value_count; i++)
            if (stmt->values[i].kind == PK_VALUE_PARAM &&
                !bind_value(&stmt->values[i], values, count, err))
                return false;
        refresh_copies(stmt);
    }
    return true;
}
