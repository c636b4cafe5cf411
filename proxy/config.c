/*
 * Every value is text until it is asked for, and was checked by its type when it was set, so
 * reading cannot fail. The file is INI, read by inih; its line limit of 200 bytes would cut longer
 * lines silently, so our reader refuses them. A value given twice in the file is an error: inih
 * would also report an indented continuation line as a second value.
 *
 * The service connection (DECISIONS 10b): our defaults are put in front of what the administrator
 * wrote, because of two settings of the same name libpq takes the last.
 */
#include "proxy/config.h"

#include "base/encode.h"
#include "base/log.h"
#include "proxy/address.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define NAME_MAX_LEN 64u
#define LINE_MAX_LEN 199u /* inih keeps one byte for the NUL */
#define SECONDS_MAX  86400L
#define NUMBER_MAX   1000000L
#define LIST_MAX     64u

typedef enum value_type {
    ADDRESS,
    ADDRESSES,
    TEXT,
    FILE_PATH,
    NUMBER,
    SECONDS,
    TIMEOUT,
    BOOL,
    DIRECTORY,
    DIRECTORIES,
    UUID,
    LEVEL,
    /* one of a few words */
    CREATE,
    CLIENT_SSLMODE,
    SERVER_SSLMODE,
    NEGOTIATION,
    TLS_VERSION,
} value_type;

static const char *const words[][7] = {
    [CREATE] = {"auto", "never"},
    [CLIENT_SSLMODE] = {"", "disable", "allow", "require", "verify-ca", "verify-full"},
    [SERVER_SSLMODE] = {"", "disable", "prefer", "require", "verify-ca", "verify-full"},
    [NEGOTIATION] = {"postgres", "direct"},
    [TLS_VERSION] = {"TLSv1.2", "TLSv1.3"},
};

typedef struct setting {
    const char *name;
    value_type type;
    const char *standard;
    bool reloadable;
    const char *flag, *help;
} setting;

static const setting options[PK_OPTION_COUNT] = {
#define OPTION(id, name, type, standard, reloadable, flag, help)                                   \
    [PK_OPT_##id] = {name, type, standard, reloadable, flag, help},
#include "proxy/options.def"
#undef OPTION
};

struct pk_config {
    char *values[PK_OPTION_COUNT];
    bool set[PK_OPTION_COUNT];           /* by file or command line */
    const char **lists[PK_OPTION_COUNT]; /* DIRECTORIES: pointers into list_text */
    char *list_text[PK_OPTION_COUNT];
    size_t list_count[PK_OPTION_COUNT];
};

/* ---- checking ---- */

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        text[--len] = 0;
    return text;
}

static bool bad_value(pk_error *err, const setting *option, const char *value, const char *wanted)
{
    return pk_fail(err, PK_E_PARAMETER, "invalid value \"%s\" of setting \"%s\": %s", value,
                   option->name, wanted);
}

static bool is_number(const char *value, long most)
{
    char *end = NULL;
    const long number = strtol(value, &end, 10);
    return value[0] >= '0' && value[0] <= '9' && *end == 0 && number >= 0 && number <= most;
}

/* "must be a, b or c"; the word for "not set" is not told. */
static bool check_word(const setting *option, const char *value, pk_error *err)
{
    const char *const *list = words[option->type];
    char wanted[128] = "must be ";
    for (size_t i = 0; list[i] != NULL; i++)
        if (strcmp(value, list[i]) == 0)
            return true;
    for (size_t i = 0; list[i] != NULL; i++) {
        const size_t len = strlen(wanted);
        if (list[i][0] != 0)
            (void)snprintf(wanted + len, sizeof wanted - len, "%s%s", list[i],
                           list[i + 1] == NULL   ? ""
                           : list[i + 2] == NULL ? " or "
                                                 : ", ");
    }
    return bad_value(err, option, value, wanted);
}

static bool check_address(const setting *option, const char *value, pk_error *err)
{
    pk_target target;
    return pk_target_parse(value, "5432", &target, err) ||
           pk_error_wrap(err, "invalid value of setting \"%s\"", option->name);
}

/* Separated by commas, at least one. */
static bool check_addresses(const setting *option, const char *value, pk_error *err)
{
    PK_AUTO_PTR(pk_free) char *copy = pk_strdup(value);
    char *rest = copy;
    while (rest != NULL)
        if (!check_address(option, trim(strsep(&rest, ",")), err))
            return false;
    return true;
}

static bool is_true(const char *value)
{
    return strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 ||
           strcasecmp(value, "yes") == 0 || strcmp(value, "1") == 0;
}

static bool is_false(const char *value)
{
    return strcasecmp(value, "off") == 0 || strcasecmp(value, "false") == 0 ||
           strcasecmp(value, "no") == 0 || strcmp(value, "0") == 0;
}

static bool check(const setting *option, const char *value, pk_error *err)
{
    uint8_t uuid[16];
    pk_log_level level;
    switch (option->type) {
    case ADDRESS:
        return check_address(option, value, err);
    case ADDRESSES:
        return check_addresses(option, value, err);
    case NUMBER:
        return is_number(value, NUMBER_MAX) ||
               bad_value(err, option, value, "must be a number, 0 to 1000000");
    case SECONDS:
        return is_number(value, SECONDS_MAX) ||
               bad_value(err, option, value, "must be a number of seconds, 0 to 86400");
    case TIMEOUT:
        return (is_number(value, SECONDS_MAX) && strtoul(value, NULL, 10) > 0) ||
               bad_value(err, option, value, "must be a number of seconds, 1 to 86400");
    case BOOL:
        return is_true(value) || is_false(value) ||
               bad_value(err, option, value, "must be on or off");
    case DIRECTORY:
        return value[0] != 0 || bad_value(err, option, value, "must name a directory");
    case UUID:
        return pk_uuid_parse(pk_span_of(value), uuid) ||
               bad_value(err, option, value, "must be a uuid");
    case LEVEL:
        return pk_log_level_parse(value, &level) ||
               bad_value(err, option, value, "must be debug, info, warning or error");
    case CREATE:
    case CLIENT_SSLMODE:
    case SERVER_SSLMODE:
    case NEGOTIATION:
    case TLS_VERSION:
        return check_word(option, value, err);
    case TEXT:
    case FILE_PATH:
    case DIRECTORIES:
        break;
    }
    return true;
}

/* "/a, /b" to its parts. */
static bool split_list(pk_config *config, pk_option id, pk_error *err)
{
    char *rest = pk_strdup(config->values[id]);
    config->list_text[id] = rest;
    config->lists[id] = pk_new_bytes((LIST_MAX + 1) * sizeof(char *));
    config->list_count[id] = 0;
    while (rest != NULL && trim(rest)[0] != 0) {
        char *part = strsep(&rest, ",");
        part = trim(part);
        if (part[0] != '/')
            return bad_value(err, &options[id], config->values[id],
                             "must be absolute directories, separated by commas");
        if (config->list_count[id] == LIST_MAX)
            return bad_value(err, &options[id], config->values[id], "has more than 64 parts");
        config->lists[id][config->list_count[id]++] = part;
    }
    return true;
}

static void clear_value(pk_config *config, pk_option id)
{
    pk_free(config->values[id]);
    pk_free(config->lists[id]);
    pk_free(config->list_text[id]);
    config->values[id] = NULL;
    config->lists[id] = NULL;
    config->list_text[id] = NULL;
}

static bool set(pk_config *config, pk_option id, const char *value, pk_error *err)
{
    if (!check(&options[id], value, err))
        return false;
    clear_value(config, id);
    config->values[id] = pk_strdup(value);
    config->set[id] = true;
    return options[id].type != DIRECTORIES || split_list(config, id, err);
}

/* ---- names ---- */

/* Edits that turn one name into the other. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    size_t width = strlen(b);
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != 0; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            size_t least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = change < least ? change : least;
        }
    }
    return row[width];
}

static bool unknown(const char *name, pk_error *err)
{
    size_t best = SIZE_MAX;
    size_t nearest = 0;
    for (size_t i = 0; i < PK_OPTION_COUNT; i++) {
        size_t d = distance(name, options[i].name);
        if (d < best) {
            best = d;
            nearest = i;
        }
    }
    (void)pk_fail(err, PK_E_PARAMETER, "unknown setting \"%.64s\"", name);
    return pk_error_hint(err, "The nearest known one is \"%s\".", options[nearest].name);
}

/* PK_OPTION_COUNT: unknown, with the error. */
static pk_option by_name(const char *name, pk_error *err)
{
    for (size_t i = 0; i < PK_OPTION_COUNT; i++)
        if (strcmp(options[i].name, name) == 0)
            return (pk_option)i;
    (void)unknown(name, err);
    return PK_OPTION_COUNT;
}

/* ---- the file ---- */

typedef struct file_reader {
    pk_config *config;
    FILE *file;
    const char *path;
    int line;
    bool seen[PK_OPTION_COUNT];
    bool failed;
    pk_error err;
} file_reader;

/* fgets that refuses lines inih would cut. */
static char *read_line(char *to, int size, void *stream)
{
    file_reader *reader = stream;
    if (reader->failed || fgets(to, size, reader->file) == NULL)
        return NULL;
    reader->line++;
    if (strlen(to) >= LINE_MAX_LEN && to[LINE_MAX_LEN - 1] != '\n' && !feof(reader->file)) {
        reader->failed = true;
        (void)pk_fail(&reader->err, PK_E_PARAMETER, "the line is longer than %u bytes",
                      LINE_MAX_LEN - 1);
        return NULL;
    }
    return to;
}

static int on_setting(void *user, const char *section, const char *name, const char *value)
{
    file_reader *reader = user;
    char full[NAME_MAX_LEN * 4];
    if (reader->failed)
        return 1;
    (void)snprintf(full, sizeof full, "%s%s%s", section, section[0] == 0 ? "" : ".", name);
    pk_option id = by_name(full, &reader->err);
    if (id == PK_OPTION_COUNT) {
        reader->failed = true;
    } else if (reader->seen[id]) {
        reader->failed = true;
        (void)pk_fail(&reader->err, PK_E_PARAMETER, "setting \"%s\" is given twice", full);
    } else {
        reader->seen[id] = true;
        reader->failed = !set(reader->config, id, value, &reader->err);
    }
    return 1;
}

static bool read_file(pk_config *config, const char *path, pk_error *err)
{
    file_reader reader = {.config = config, .path = path, .file = fopen(path, "re")};
    if (reader.file == NULL)
        return pk_fail(err, PK_E_IO, "could not open configuration file \"%s\": %s", path,
                       pk_errno_text(errno));
    int bad_line = ini_parse_stream(read_line, &reader, on_setting, &reader);
    bool broken = ferror(reader.file) != 0;
    (void)fclose(reader.file);
    if (reader.failed) {
        *err = reader.err;
        return pk_error_wrap(err, "configuration file \"%s\", line %d, is wrong", path,
                             reader.line);
    }
    if (broken)
        return pk_fail(err, PK_E_IO, "could not read configuration file \"%s\"", path);
    if (bad_line != 0)
        return pk_fail(err, PK_E_PARAMETER,
                       "configuration file \"%s\", line %d, is neither a section nor a setting",
                       path, bad_line);
    return true;
}

/* ---- the command line ---- */

/* --flag VALUE or --flag=VALUE. NULL with the error if there is no value. */
static const char *value_of(int count, char *const *args, int *at, pk_error *err)
{
    const char *equals = strchr(args[*at], '=');
    if (equals != NULL)
        return equals + 1;
    if (*at + 1 < count)
        return args[++*at];
    (void)pk_fail(err, PK_E_PARAMETER, "option \"%s\" needs a value", args[*at]);
    return NULL;
}

static bool is_flag(const char *arg, const char *flag)
{
    size_t len = strlen(flag);
    return len > 0 && strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, flag, len) == 0 &&
           (arg[2 + len] == 0 || arg[2 + len] == '=');
}

static bool set_pair(pk_config *config, const char *pair, pk_error *err)
{
    char name[NAME_MAX_LEN * 4];
    const char *equals = strchr(pair, '=');
    if (equals == NULL || (size_t)(equals - pair) >= sizeof name)
        return pk_fail(err, PK_E_PARAMETER, "\"%.64s\" is not of the form section.key=value", pair);
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - pair), pair);
    pk_option id = by_name(name, err);
    return id != PK_OPTION_COUNT && set(config, id, equals + 1, err);
}

static bool apply(pk_config *config, const char *arg, const char *value, pk_error *err)
{
    if (is_flag(arg, "set"))
        return set_pair(config, value, err);
    for (size_t i = 0; i < PK_OPTION_COUNT; i++)
        if (is_flag(arg, options[i].flag))
            return set(config, (pk_option)i, value, err);
    return true; /* --config, which had its turn */
}

static bool is_known_flag(const char *arg)
{
    bool known = is_flag(arg, "set") || is_flag(arg, "config");
    for (size_t i = 0; i < PK_OPTION_COUNT && !known; i++)
        known = is_flag(arg, options[i].flag);
    return known;
}

/* `files`: only --config, which comes first wherever it stands; else everything but that. */
static bool read_args(pk_config *config, int count, char *const *args, bool files, pk_error *err)
{
    for (int i = 0; i < count; i++) {
        const char *arg = args[i];
        if (!is_known_flag(arg))
            return pk_fail(err, PK_E_PARAMETER, "unknown option \"%.64s\"", arg);
        const char *value = value_of(count, args, &i, err);
        if (value == NULL)
            return false;
        bool is_file = is_flag(arg, "config");
        if (is_file == files &&
            !(files ? read_file(config, value, err) : apply(config, arg, value, err)))
            return false;
    }
    return true;
}

/* ---- defaults ---- */

static bool default_state_dir(pk_config *config, pk_error *err)
{
    char path[512];
    /* Nobody in this process changes its environment. */
    const char *systemd = getenv("STATE_DIRECTORY"); /* NOLINT(concurrency-mt-unsafe) */
    const char *xdg = getenv("XDG_STATE_HOME");      /* NOLINT(concurrency-mt-unsafe) */
    const char *home = getenv("HOME");               /* NOLINT(concurrency-mt-unsafe) */
    int len;
    if (systemd != NULL && systemd[0] == '/')
        len = snprintf(path, sizeof path, "%.*s", (int)strcspn(systemd, ":"), systemd);
    else if (geteuid() == 0)
        len = snprintf(path, sizeof path, "/var/lib/pgkeep");
    else if (xdg != NULL && xdg[0] == '/')
        len = snprintf(path, sizeof path, "%s/pgkeep", xdg);
    else if (home != NULL && home[0] == '/')
        len = snprintf(path, sizeof path, "%s/.local/state/pgkeep", home);
    else
        return pk_fail(err, PK_E_PARAMETER, "setting \"state.dir\" is needed: there is no HOME");
    if (len < 0 || (size_t)len >= sizeof path)
        return pk_fail(err, PK_E_PARAMETER, "the path of the state directory is too long");
    clear_value(config, PK_OPT_STATE_DIR);
    config->values[PK_OPT_STATE_DIR] = pk_strdup(path);
    return true;
}

static void set_defaults(pk_config *config)
{
    for (size_t i = 0; i < PK_OPTION_COUNT; i++) {
        config->values[i] = pk_strdup(options[i].standard);
        if (options[i].type == DIRECTORIES)
            (void)split_list(config, (pk_option)i, NULL);
    }
}

pk_config *pk_config_load(int count, char *const *args, pk_error *err)
{
    PK_AUTO_PTR(pk_config_free) pk_config *config = pk_new(pk_config);
    set_defaults(config);
    if (!read_args(config, count, args, true, err) || !read_args(config, count, args, false, err))
        return NULL;
    if (config->values[PK_OPT_STATE_DIR][0] == 0 && !default_state_dir(config, err))
        return NULL;
    return pk_steal(&config);
}

void pk_config_free(pk_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < PK_OPTION_COUNT; i++)
        clear_value(config, (pk_option)i);
    pk_free(config);
}

/* ---- reading ---- */

const char *pk_config_text(const pk_config *config, pk_option option)
{
    return config->values[option];
}

bool pk_config_is_set(const pk_config *config, pk_option option)
{
    return config->set[option];
}

bool pk_config_bool(const pk_config *config, pk_option option)
{
    return is_true(config->values[option]);
}

uint32_t pk_config_number(const pk_config *config, pk_option option)
{
    return (uint32_t)strtoul(config->values[option], NULL, 10);
}

const char *pk_config_next_frozen(const pk_config *now, const pk_config *then, pk_option *after)
{
    size_t i = *after == PK_OPTION_COUNT ? 0 : (size_t)*after + 1;
    for (; i < PK_OPTION_COUNT; i++)
        if (!options[i].reloadable && strcmp(now->values[i], then->values[i]) != 0) {
            *after = (pk_option)i;
            return options[i].name;
        }
    return NULL;
}

uint32_t pk_config_seconds(const pk_config *config, pk_option option)
{
    return (uint32_t)strtoul(config->values[option], NULL, 10);
}

const char *const *pk_config_list(const pk_config *config, pk_option option, size_t *count)
{
    *count = config->list_count[option];
    return config->lists[option];
}

/* ---- the service connection ---- */

/* 'value' of a connection string: backslash and quote escaped. */
static bool add_pair(pk_buf *out, const char *name, const char *value, pk_error *err)
{
    if (!pk_buf_printf(out, err, "%s='", name))
        return false;
    for (const char *c = value; *c != 0; c++) {
        if ((*c == '\'' || *c == '\\') && !pk_buf_append(out, "\\", 1, err))
            return false;
        if (!pk_buf_append(out, c, 1, err))
            return false;
    }
    return pk_buf_append_text(out, "' ", err);
}

/* What the service connection takes over from server_tls; what is not set is libpq's default. Its
 * version 15 does not know "system". */
static const struct {
    pk_option option;
    const char *name;
} service_tls[] = {
    {PK_OPT_SERVER_TLS_MODE, "sslmode"}, {PK_OPT_SERVER_TLS_CA, "sslrootcert"},
    {PK_OPT_SERVER_TLS_CRL, "sslcrl"},   {PK_OPT_SERVER_TLS_CERT, "sslcert"},
    {PK_OPT_SERVER_TLS_KEY, "sslkey"},   {PK_OPT_SERVER_TLS_MIN, "ssl_min_protocol_version"},
};

#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

static const char *service_tls_value(const pk_config *config, size_t i)
{
    const char *value = config->values[service_tls[i].option];
    const bool of_system = strcmp(config->values[PK_OPT_SERVER_TLS_CA], "system") == 0;
    if (of_system && service_tls[i].option == PK_OPT_SERVER_TLS_CA)
        return SYSTEM_AUTHORITIES;
    if (of_system && service_tls[i].option == PK_OPT_SERVER_TLS_MODE && value[0] == 0)
        return "verify-full";
    if (strcmp(value, options[service_tls[i].option].standard) == 0)
        return "";
    return value;
}

static bool is_uri(const char *text)
{
    return strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0;
}

/* A URI's parameters are read from left to right too, so ours go in front of them. */
static bool extend_uri(const pk_config *config, const char *uri, pk_buf *out, pk_error *err)
{
    const char *query = strchr(uri, '?');
    size_t base = query == NULL ? strlen(uri) : (size_t)(query - uri);
    const char *authority = strstr(uri, "://") + 3;
    const char *path = memchr(authority, '/', base - (size_t)(authority - uri));
    bool has_database = path != NULL && path + 1 < uri + base;
    if (!pk_buf_append(out, uri, base, err) ||
        !pk_buf_append_text(out, "?application_name=pgkeep&connect_timeout=5", err))
        return false;
    if (!has_database && (!pk_buf_append_text(out, "&dbname=", err) ||
                          !pk_percent(pk_span_of(config->values[PK_OPT_ADMIN_DATABASE]), out, err)))
        return false;
    for (size_t i = 0; i < PK_COUNT(service_tls); i++) {
        const char *value = service_tls_value(config, i);
        if (value[0] != 0 && (!pk_buf_printf(out, err, "&%s=", service_tls[i].name) ||
                              !pk_percent(pk_span_of(value), out, err)))
            return false;
    }
    return query == NULL || query[1] == 0 || pk_buf_printf(out, err, "&%s", query + 1);
}

static bool add_service_tls(const pk_config *config, pk_buf *out, pk_error *err)
{
    for (size_t i = 0; i < PK_COUNT(service_tls); i++) {
        const char *value = service_tls_value(config, i);
        if (value[0] != 0 && !add_pair(out, service_tls[i].name, value, err))
            return false;
    }
    return true;
}

bool pk_config_service(const pk_config *config, pk_buf *out, pk_error *err)
{
    const char *given = config->values[PK_OPT_SERVICE_CONNINFO];
    pk_target backend;
    if (is_uri(given))
        return extend_uri(config, given, out, err);
    if (!add_pair(out, "dbname", config->values[PK_OPT_ADMIN_DATABASE], err) ||
        !pk_buf_append_text(out, "application_name=pgkeep connect_timeout=5 ", err))
        return false;
    if (!pk_target_parse(config->values[PK_OPT_PROXY_BACKEND], "5432", &backend, err))
        return false;
    /* A service file says where the server is; ours would override it. */
    if (strstr(given, "service") == NULL &&
        ((strstr(given, "host") == NULL && !add_pair(out, "host", backend.host, err)) ||
         !add_pair(out, "port", backend.port, err) || !add_service_tls(config, out, err)))
        return false;
    return pk_buf_append_text(out, given, err);
}

bool pk_config_help(pk_buf *out, pk_error *err)
{
    for (size_t i = 0; i < PK_OPTION_COUNT; i++) {
        const setting *o = &options[i];
        if (!pk_buf_printf(out, err, "  %-34s %s%s%s%s\n", o->name, o->help,
                           o->standard[0] == 0 ? "" : " (default: ", o->standard,
                           o->standard[0] == 0 ? "" : ")"))
            return false;
    }
    return true;
}
