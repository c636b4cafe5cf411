/*
 * What the administrator wants: defaults, then the configuration file, then the command line, each
 * overriding the one before. One immutable snapshot, checked when it is loaded; it names where
 * secrets are and holds none. Any thread may read it.
 */
#ifndef PK_PROXY_CONFIG_H
#define PK_PROXY_CONFIG_H

#include "base/buf.h"

typedef enum pk_option {
#define OPTION(id, name, type, standard, reloadable, flag, help) PK_OPT_##id,
#include "proxy/options.def"
#undef OPTION
    PK_OPTION_COUNT
} pk_option;

typedef struct pk_config pk_config;

/*
 * `args` are those behind the verb: --config FILE, --set section.key=value, and the flags of
 * options.def as --flag VALUE or --flag=VALUE. NULL with 22023 for an unknown setting (naming the
 * nearest one), a bad value, a file that cannot be read (58030) or understood.
 */
pk_config *pk_config_load(int count, char *const *args, pk_error *err) PK_MUST_USE;
void pk_config_free(pk_config *config);
PK_DEFINE_AUTO_PTR(pk_config_free, pk_config *)

/* "" when not set. */
const char *pk_config_text(const pk_config *config, pk_option option);
bool pk_config_is_set(const pk_config *config, pk_option option);
bool pk_config_bool(const pk_config *config, pk_option option);
uint32_t pk_config_seconds(const pk_config *config, pk_option option);
uint32_t pk_config_number(const pk_config *config, pk_option option);
/* Those of the settings that cannot change while the proxy runs, and do differ; NULL: none is left
 * behind `after` (PK_OPTION_COUNT: from the beginning). For a reload's warnings. */
const char *pk_config_next_frozen(const pk_config *now, const pk_config *then, pk_option *after);
/* The directories of a list, ended by NULL; borrowed. */
const char *const *pk_config_list(const pk_config *config, pk_option option, size_t *count);

/* The service connection's connection string, complete (DECISIONS 10b). */
bool pk_config_service(const pk_config *config, pk_buf *out, pk_error *err) PK_MUST_USE;

/* One line per setting, for --help. */
bool pk_config_help(pk_buf *out, pk_error *err) PK_MUST_USE;

#endif
