/*
 * `pgkeep serve`: bind, then open the engine, then listen for the offline verbs, then serve.
 * Binding comes first, so that a second instance on the same port fails before it touches the
 * keystore. The end goes the other way round: no session and no verb is left when the engine
 * closes, and no worker is left when the server goes.
 */
#include "cli/cli.h"

#include "base/log.h"
#include "engine/control.h"
#include "proxy/server.h"

#include <string.h>

static void fill_options(const pk_config *config, const char *service, pk_engine_options *options)
{
    const char *expected = pk_config_text(config, PK_OPT_KEYSTORE_EXPECT);
    *options = (pk_engine_options){
        .state_dir = pk_config_text(config, PK_OPT_STATE_DIR),
        .service = service,
        .admin_database = pk_config_text(config, PK_OPT_ADMIN_DATABASE),
        .create_keystore = strcmp(pk_config_text(config, PK_OPT_KEYSTORE_CREATE), "auto") == 0,
        .expect_keystore = expected[0] == 0 ? NULL : expected,
        .secrets_need_tls = pk_config_bool(config, PK_OPT_REQUIRE_TLS_FOR_SECRETS),
        .superuser_is_admin = pk_config_bool(config, PK_OPT_SUPERUSER_IS_ADMIN),
        .owner_manages_dmk = pk_config_bool(config, PK_OPT_OWNER_MANAGES_DMK),
        .unlock_timeout_ms = pk_config_seconds(config, PK_OPT_KEYSTORE_UNLOCK_TIMEOUT) * 1000,
        .open_idle_ms = pk_config_seconds(config, PK_OPT_KEYS_OPEN_IDLE_TIMEOUT) * 1000,
    };
    options->key_roots =
        pk_config_list(config, PK_OPT_KEYS_ALLOWED_ROOTS, &options->key_root_count);
}

/* NULL is no reason to stop: the offline verbs will miss it, clients will not. */
static pk_control *open_control(const char *state_dir, pk_engine *engine)
{
    pk_error err = {0};
    pk_keeper *keeper = pk_engine_keeper(engine);
    pk_control *control = keeper == NULL ? NULL : pk_control_open(state_dir, keeper, &err);
    if (keeper != NULL && control == NULL)
        pk_log_fault(PK_LOG_WARNING, "no control socket", &err);
    return control;
}

/* The command line again, for SIGHUP. */
typedef struct arguments {
    int count;
    char *const *args;
} arguments;

static pk_config *load_again(void *ctx, pk_error *err)
{
    const arguments *given = ctx;
    return pk_config_load(given->count, given->args, err);
}

/* The server has the configuration. */
static int serve(pk_server *server, const pk_config *config, arguments *given)
{
    PK_AUTO(pk_buf_clear) pk_buf service = PK_BUF_SECRET(8192);
    const pk_server_reload reload = {load_again, given};
    pk_engine_options options;
    pk_error err;

    if (!pk_config_service(config, &service, &err) || !pk_buf_append(&service, "", 1, &err))
        return pk_cli_fail(&err, PK_EXIT_USAGE);
    fill_options(config, pk_buf_span(&service).ptr, &options);
    pk_engine *engine = pk_engine_open(&options, &pk_clock_system, &err);
    if (engine == NULL)
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    pk_control *control = open_control(options.state_dir, engine);
    const bool served = pk_server_run(server, engine, &reload, &err);
    pk_control_close(control);
    pk_engine_close(engine);
    return served ? PK_EXIT_OK : pk_cli_fail(&err, PK_EXIT_FAILED);
}

int pk_cli_serve(int count, char *const *args)
{
    int code = PK_EXIT_USAGE;
    arguments given = {count, args};
    pk_error err;
    pk_config *config = pk_cli_config(count, args, &code);
    if (config == NULL)
        return code;
    if (pk_config_is_set(config, PK_OPT_HTTP_LISTEN))
        pk_log_warning("setting \"http.listen\" is not used by this release");
    PK_AUTO_PTR(pk_server_close) pk_server *server = pk_server_open(config, &err);
    if (server == NULL)
        return pk_cli_fail(&err, PK_EXIT_FAILED);
    return serve(server, config, &given);
}
