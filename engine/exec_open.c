/*
 * OPEN and CLOSE MASTER KEY (sql-surface 5.1, keys-and-security 4.4): a master key that only a
 * password protects is opened for one session, until CLOSE, DISCARD ALL, its end, another
 * session_authorization, SEAL, or long idling. The keeper holds what was opened; here is only what
 * the client is told.
 *
 * CLOSE asks nobody, so it knows the database by its name alone: what a session opened is found by
 * the session.
 */
#include "engine/exec_context.h"

bool pk_exec_dmk_open(pk_exec_context *ctx, pk_error *err)
{
    pk_key_brief brief;
    bool was_open;
    const pk_database db = pk_exec_database(ctx);
    const pk_opener opener = pk_exec_opener(ctx);
    const pk_open_request request = {
        .db = &db, .opener = &opener, .password = ctx->stmt->u.master_key.decryption.text};
    pk_exec_note(ctx, "master key", "");
    if (!pk_keeper_open_dmk(ctx->keeper, &request, &ctx->audit, &brief, &was_open, err))
        return false;
    ctx->audited = true;
    pk_exec_note(ctx, "master key", brief.fingerprint);
    if (was_open)
        pk_result_notice(
            ctx->result, PK_NOTICE, PK_OK,
            "The service master key opens it for every session; the password is right.", NULL,
            "the master key of database \"%s\" was open already: version %lld, "
            "fingerprint %s",
            db.name, (long long)brief.version, brief.fingerprint);
    else
        pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL, NULL,
                         "opened the master key of database \"%s\" for this session: version %lld, "
                         "fingerprint %s",
                         db.name, (long long)brief.version, brief.fingerprint);
    return true;
}

bool pk_exec_dmk_close(pk_exec_context *ctx, pk_error *err)
{
    const pk_database db = pk_exec_database(ctx);
    const pk_opener opener = pk_exec_opener(ctx);
    pk_exec_note(ctx, "master key", "");
    if (!pk_keeper_close_dmk(ctx->keeper, &db, &opener, &ctx->audit, err))
        return false;
    ctx->audited = true;
    pk_result_notice(ctx->result, PK_NOTICE, PK_OK, NULL, NULL,
                     "closed the master key of database \"%s\" for this session", db.name);
    return true;
}
