/*
 * One piece of work at a time. It holds what it reads: configurations and settings are immutable,
 * so the worker needs no lock.
 */
#include "proxy/reload.h"

#include "base/log.h"

#include <stdio.h>

#define LOOK_EVERY 5u /* ticks */

struct pk_reload {
    uv_work_t work;
    uv_loop_t *uv;
    pk_server_reload source;
    void (*apply)(void *ctx, pk_settings *settings);
    void *ctx;
    const pk_config *first; /* borrowed */
    pk_config *config;      /* of a reload; NULL: still the first */
    pk_settings *settings;
    unsigned ticks;
    bool busy, again, closed;
    char complaint[256]; /* the last one: not to be repeated every time */
    /* the work's */
    bool all, changed;
    pk_config *new_config;
    pk_settings *new_settings;
    pk_error err;
};

static const pk_config *config_of(const pk_reload *reload)
{
    return reload->config != NULL ? reload->config : reload->first;
}

static bool files_changed(const pk_settings *settings)
{
    return (settings->client_tls != NULL && pk_tls_files_changed(settings->client_tls)) ||
           (settings->server_tls != NULL && pk_tls_files_changed(settings->server_tls));
}

static void load(pk_reload *reload)
{
    const pk_config *config = config_of(reload);
    reload->err = (pk_error){0};
    reload->changed = reload->all || files_changed(reload->settings);
    if (!reload->changed)
        return;
    if (reload->all && reload->source.load != NULL) {
        reload->new_config = reload->source.load(reload->source.ctx, &reload->err);
        if (reload->new_config == NULL)
            return;
        config = reload->new_config;
    }
    reload->new_settings = pk_settings_new(config, reload->first, &reload->err);
}

/* In a thread of libuv's pool. */
static void load_aside(uv_work_t *work)
{
    load(work->data);
    pk_tls_leave_thread();
}

static void free_reload(pk_reload *reload)
{
    pk_config_free(reload->config);
    pk_settings_unref(reload->settings);
    pk_free(reload);
}

static void warn_of_frozen(const pk_config *now, const pk_config *then)
{
    pk_option at = PK_OPTION_COUNT;
    for (const char *name = pk_config_next_frozen(now, then, &at); name != NULL;
         name = pk_config_next_frozen(now, then, &at))
        pk_log_warning("setting \"%s\" cannot be changed without a restart", name);
}

static void take(pk_reload *reload)
{
    pk_log_level level;
    if (reload->new_config != NULL) {
        warn_of_frozen(reload->first, reload->new_config);
        if (pk_log_level_parse(pk_config_text(reload->new_config, PK_OPT_LOG_LEVEL), &level))
            pk_log_set_level(level);
        pk_config_free(reload->config);
        reload->config = pk_steal(&reload->new_config);
    }
    pk_settings_unref(reload->settings);
    reload->settings = pk_steal(&reload->new_settings);
    reload->complaint[0] = 0;
    reload->apply(reload->ctx, reload->settings);
    pk_log_info(reload->all ? "configuration reloaded" : "TLS files changed and were reloaded");
}

/* A file that will not do is looked at again and again, but complained of once. */
static void complain(pk_reload *reload)
{
    if (!reload->all && strcmp(reload->complaint, reload->err.message) == 0)
        return;
    (void)snprintf(reload->complaint, sizeof reload->complaint, "%s", reload->err.message);
    pk_log_fault(PK_LOG_ERROR, "not reloaded, everything stays as it was", &reload->err);
}

static void begin(pk_reload *reload, bool all);

static void loaded(uv_work_t *work, int status)
{
    pk_reload *reload = work->data;
    (void)status;
    reload->busy = false;
    if (!reload->closed && reload->new_settings != NULL)
        take(reload);
    else if (!reload->closed && reload->changed)
        complain(reload);
    pk_config_free(pk_steal(&reload->new_config));
    pk_settings_unref(pk_steal(&reload->new_settings));
    if (reload->closed)
        free_reload(reload);
    else if (reload->again)
        begin(reload, true);
}

static void begin(pk_reload *reload, bool all)
{
    if (reload->busy) {
        reload->again = reload->again || all;
        return;
    }
    reload->again = false;
    reload->all = all;
    reload->busy = uv_queue_work(reload->uv, &reload->work, load_aside, loaded) == 0;
}

pk_reload *pk_reload_open(uv_loop_t *uv, const pk_config *config, pk_settings *settings,
                          const pk_server_reload *source,
                          void (*apply)(void *ctx, pk_settings *settings), void *ctx)
{
    pk_reload *reload = pk_new(pk_reload);
    *reload = (pk_reload){.uv = uv,
                          .source = *source,
                          .apply = apply,
                          .ctx = ctx,
                          .first = config,
                          .settings = pk_settings_ref(settings)};
    reload->work.data = reload;
    return reload;
}

void pk_reload_all(pk_reload *reload)
{
    begin(reload, true);
}

void pk_reload_tick(pk_reload *reload)
{
    const pk_settings *settings = reload->settings;
    if (settings->client_tls == NULL && settings->server_tls == NULL)
        return;
    if (++reload->ticks % LOOK_EVERY == 0)
        begin(reload, false);
}

void pk_reload_close(pk_reload *reload)
{
    if (reload == NULL)
        return;
    reload->closed = true;
    if (!reload->busy)
        free_reload(reload);
}
