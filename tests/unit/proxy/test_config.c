/* Settings: where they come from, which wins, what is refused and in which words. */
#include "proxy/config.h"
#include "table.h"

#include <unistd.h>

#define ARGS_MAX 8

static pk_config *load(const char *const *args, pk_error *err)
{
    int count = 0;
    while (args[count] != NULL)
        count++;
    return pk_config_load(count, (char *const *)(uintptr_t)args, err);
}

static const struct good_row {
    const char *name;
    const char *args[ARGS_MAX];
    pk_option option;
    const char *value;
} good_rows[] = {
    {"no argument at all: listen", {NULL}, PK_OPT_PROXY_LISTEN, "127.0.0.1:6543"},
    {"no argument at all: backend", {NULL}, PK_OPT_PROXY_BACKEND, "127.0.0.1:5432"},
    {"no argument at all: admin database", {NULL}, PK_OPT_ADMIN_DATABASE, "postgres"},
    {"no argument at all: superusers are administrators", {NULL}, PK_OPT_SUPERUSER_IS_ADMIN, "on"},
    {"no argument at all: owners manage their key", {NULL}, PK_OPT_OWNER_MANAGES_DMK, "on"},
    {"no argument at all: waiting for an unseal", {NULL}, PK_OPT_KEYSTORE_UNLOCK_TIMEOUT, "30"},
    {"no argument at all: idle opened keys", {NULL}, PK_OPT_KEYS_OPEN_IDLE_TIMEOUT, "600"},
    {"superusers are not administrators",
     {"--set", "security.superuser_is_admin=off"},
     PK_OPT_SUPERUSER_IS_ADMIN,
     "off"},
    {"owners do not manage their key",
     {"--set", "security.owner_manages_dmk=off"},
     PK_OPT_OWNER_MANAGES_DMK,
     "off"},
    {"a day of idling",
     {"--set", "keys.open_idle_timeout=86400"},
     PK_OPT_KEYS_OPEN_IDLE_TIMEOUT,
     "86400"},
    {"a flag", {"--listen", "[::1]:0"}, PK_OPT_PROXY_LISTEN, "[::1]:0"},
    {"a flag with =",
     {"--backend=/run/postgresql:5433"},
     PK_OPT_PROXY_BACKEND,
     "/run/postgresql:5433"},
    {"a port left out", {"--backend", "db.example"}, PK_OPT_PROXY_BACKEND, "db.example"},
    {"--set", {"--set", "log.level=debug"}, PK_OPT_LOG_LEVEL, "debug"},
    {"--set with = in the value",
     {"--set", "service.conninfo=user=x"},
     PK_OPT_SERVICE_CONNINFO,
     "user=x"},
    {"the last one wins",
     {"--set", "proxy.login_timeout=1", "--set", "proxy.login_timeout=2"},
     PK_OPT_PROXY_LOGIN_TIMEOUT,
     "2"},
    {"a name without section", {"--set", "admin_database=ops"}, PK_OPT_ADMIN_DATABASE, "ops"},
    {"several addresses",
     {"--listen", "127.0.0.1:1, [::1]:2 ,/run/pgkeep:3"},
     PK_OPT_PROXY_LISTEN,
     "127.0.0.1:1, [::1]:2 ,/run/pgkeep:3"},
    {"no argument at all: a loop for each processor", {NULL}, PK_OPT_PROXY_THREADS, "0"},
    {"threads by their flag", {"--threads", "4"}, PK_OPT_PROXY_THREADS, "4"},
    {"the largest number",
     {"--set", "proxy.max_connections=1000000"},
     PK_OPT_PROXY_MAX_CONNECTIONS,
     "1000000"},
    {"TLS towards clients",
     {"--set", "client_tls.sslmode=verify-full"},
     PK_OPT_CLIENT_TLS_MODE,
     "verify-full"},
    {"TLS towards the server",
     {"--set", "server_tls.sslmode=prefer"},
     PK_OPT_SERVER_TLS_MODE,
     "prefer"},
    {"TLS as the place of the server asks for",
     {"--set", "server_tls.sslmode="},
     PK_OPT_SERVER_TLS_MODE,
     ""},
    {"no argument at all: lowest version of TLS", {NULL}, PK_OPT_CLIENT_TLS_MIN, "TLSv1.2"},
    {"negotiation",
     {"--set", "server_tls.sslnegotiation=direct"},
     PK_OPT_SERVER_TLS_NEGOTIATION,
     "direct"},
    {"no argument at all: passwords in the clear", {NULL}, PK_OPT_PROXY_CLEARTEXT_PASSWORDS, "off"},
};

static void setting_is_taken(void **state)
{
    const struct good_row *row = *state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(row->args, &err);
    assert_string_equal(err.message, "");
    assert_non_null(config);
    assert_string_equal(pk_config_text(config, row->option), row->value);
    assert_int_equal(pk_config_is_set(config, row->option), row->args[0] != NULL);
}

static const struct bad_row {
    const char *name;
    const char *args[ARGS_MAX];
    const char *message, *hint;
} bad_rows[] = {
    {"an unknown setting names the nearest",
     {"--set", "proxy.lisen=:1"},
     "unknown setting \"proxy.lisen\"",
     "The nearest known one is \"proxy.listen\"."},
    {"a section forgotten",
     {"--set", "allowed_roots=/k"},
     "unknown setting \"allowed_roots\"",
     "The nearest known one is \"keys.allowed_roots\"."},
    {"an unknown flag", {"--lisen", "x"}, "unknown option \"--lisen\"", ""},
    {"a flag that only begins like one", {"--listener", "x"}, "unknown option \"--listener\"", ""},
    {"a word that is no flag", {"start"}, "unknown option \"start\"", ""},
    {"a flag without value", {"--listen"}, "option \"--listen\" needs a value", ""},
    {"--set without =",
     {"--set", "log.level"},
     "\"log.level\" is not of the form section.key=value",
     ""},
    {"a port that is none",
     {"--listen", "localhost:http"},
     "invalid value of setting \"proxy.listen\"",
     ""},
    {"a port out of range",
     {"--listen", "localhost:65536"},
     "invalid value of setting \"proxy.listen\"",
     ""},
    {"IPv6 without brackets",
     {"--listen", "::1:5432"},
     "invalid value of setting \"proxy.listen\"",
     "Write an IPv6 address in brackets: [::1]:5432."},
    {"no host", {"--backend", ":5432"}, "invalid value of setting \"proxy.backend\"", ""},
    {"a number that is none",
     {"--set", "proxy.login_timeout=1s"},
     "invalid value \"1s\" of setting \"proxy.login_timeout\": must be a number of seconds, 1 to "
     "86400",
     ""},
    {"no time to log in",
     {"--set", "proxy.login_timeout=0"},
     "invalid value \"0\" of setting \"proxy.login_timeout\": must be a number of seconds, 1 to "
     "86400",
     ""},
    {"a negative number",
     {"--set", "proxy.drain_timeout=-1"},
     "invalid value \"-1\" of setting \"proxy.drain_timeout\": must be a number of seconds, 0 to "
     "86400",
     ""},
    {"neither on nor off",
     {"--set", "security.require_tls_for_secrets=maybe"},
     "invalid value \"maybe\" of setting \"security.require_tls_for_secrets\": must be on or off",
     ""},
    {"superuser_is_admin is no list of names",
     {"--set", "security.superuser_is_admin=alice"},
     "invalid value \"alice\" of setting \"security.superuser_is_admin\": must be on or off",
     ""},
    {"owner_manages_dmk without a value",
     {"--set", "security.owner_manages_dmk="},
     "invalid value \"\" of setting \"security.owner_manages_dmk\": must be on or off",
     ""},
    {"an unlock timeout with a unit",
     {"--set", "keystore.unlock_timeout=30s"},
     "invalid value \"30s\" of setting \"keystore.unlock_timeout\": must be a number of seconds, 0 "
     "to 86400",
     ""},
    {"more than a day of idling",
     {"--set", "keys.open_idle_timeout=86401"},
     "invalid value \"86401\" of setting \"keys.open_idle_timeout\": must be a number of seconds, "
     "0 to 86400",
     ""},
    {"keystore.create",
     {"--set", "keystore.create=yes"},
     "invalid value \"yes\" of setting \"keystore.create\": must be auto or never",
     ""},
    {"keystore.expect",
     {"--set", "keystore.expect=123"},
     "invalid value \"123\" of setting \"keystore.expect\": must be a uuid",
     ""},
    {"log.level",
     {"--set", "log.level=loud"},
     "invalid value \"loud\" of setting \"log.level\": must be debug, info, warning or error",
     ""},
    {"a relative directory",
     {"--set", "keys.allowed_roots=/a,b"},
     "invalid value \"/a,b\" of setting \"keys.allowed_roots\": must be absolute directories, "
     "separated by commas",
     ""},
    {"no address", {"--listen", ""}, "invalid value of setting \"proxy.listen\"", ""},
    {"an address missing between two",
     {"--listen", "127.0.0.1:1,,127.0.0.1:2"},
     "invalid value of setting \"proxy.listen\"",
     ""},
    {"a comma behind the last address",
     {"--listen", "127.0.0.1:1,"},
     "invalid value of setting \"proxy.listen\"",
     ""},
    {"the second address is wrong",
     {"--listen", "127.0.0.1:1,::1:5432"},
     "invalid value of setting \"proxy.listen\"",
     "Write an IPv6 address in brackets: [::1]:5432."},
    {"a backend is one address",
     {"--backend", "127.0.0.1:1,127.0.0.1:2"},
     "invalid value of setting \"proxy.backend\"",
     "Write an IPv6 address in brackets: [::1]:5432."},
    {"a number out of range",
     {"--set", "proxy.max_connections=1000001"},
     "invalid value \"1000001\" of setting \"proxy.max_connections\": must be a number, 0 to "
     "1000000",
     ""},
    {"a number beyond all numbers",
     {"--threads=99999999999999999999999"},
     "invalid value \"99999999999999999999999\" of setting \"proxy.threads\": must be a number, "
     "0 to 1000000",
     ""},
    {"an empty number",
     {"--set", "proxy.max_connections_per_role="},
     "invalid value \"\" of setting \"proxy.max_connections_per_role\": must be a number, 0 to "
     "1000000",
     ""},
    {"a number with a sign",
     {"--set", "proxy.max_logging_in=+1"},
     "invalid value \"+1\" of setting \"proxy.max_logging_in\": must be a number, 0 to 1000000",
     ""},
    {"prefer is nothing a server can do",
     {"--set", "client_tls.sslmode=prefer"},
     "invalid value \"prefer\" of setting \"client_tls.sslmode\": must be disable, allow, "
     "require, verify-ca or verify-full",
     ""},
    {"allow is nothing a client wants",
     {"--set", "server_tls.sslmode=allow"},
     "invalid value \"allow\" of setting \"server_tls.sslmode\": must be disable, prefer, "
     "require, verify-ca or verify-full",
     ""},
    {"words are written as they are",
     {"--set", "server_tls.sslmode=Require"},
     "invalid value \"Require\" of setting \"server_tls.sslmode\": must be disable, prefer, "
     "require, verify-ca or verify-full",
     ""},
    {"an old version of TLS",
     {"--set", "client_tls.min_protocol_version=TLSv1.1"},
     "invalid value \"TLSv1.1\" of setting \"client_tls.min_protocol_version\": must be TLSv1.2 or "
     "TLSv1.3",
     ""},
    {"a negotiation that is none",
     {"--set", "server_tls.sslnegotiation="},
     "invalid value \"\" of setting \"server_tls.sslnegotiation\": must be postgres or direct",
     ""},
    {"an empty directory",
     {"--state", ""},
     "invalid value \"\" of setting \"state.dir\": must name a directory",
     ""},
    {"a file that is not there",
     {"--config", "/nonexistent/pgkeep.conf"},
     "could not open configuration file \"/nonexistent/pgkeep.conf\": No such file or directory",
     ""},
};

static void setting_is_refused(void **state)
{
    const struct bad_row *row = *state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(row->args, &err);
    assert_null(config);
    assert_string_equal(err.message, row->message);
    assert_string_equal(err.hint, row->hint);
}

static const struct file_row {
    const char *name, *text;
    const char *detail; /* NULL: it is right */
    int line;
} file_rows[] = {
    {"an empty file", "", NULL, 0},
    {"comments and sections", "admin_database = ops\n# c\n[log]\nlevel = debug ; c\n", NULL, 0},
    {"an unknown key", "[proxy]\nlisten = 127.0.0.1:1\nbakend = x:1\n",
     "Unknown setting \"proxy.bakend\".", 3},
    {"an unknown section", "[proxi]\nlisten = 127.0.0.1:1\n", "Unknown setting \"proxi.listen\".",
     2},
    {"a bad value", "[log]\n\nlevel = loud\n",
     "Invalid value \"loud\" of setting \"log.level\": must be "
     "debug, info, warning or error.",
     3},
    {"a setting given twice", "[log]\nlevel = info\nlevel = debug\n",
     "Setting \"log.level\" is given twice.", 3},
    {"a continuation line", "[log]\nlevel = info\n  debug\n",
     "Setting \"log.level\" is given twice.", 3},
    {"neither a section nor a setting", "[log]\nnonsense\n", "", 2},
    {"a section that is not closed", "[log\n", "", 1},
};

/* The file's path in `path`. */
static void write_file(char *path, size_t size, const char *text, size_t len)
{
    (void)snprintf(path, size, "/tmp/pgkeep-test-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(close(fd), 0);
}

static void file_is_read(void **state)
{
    const struct file_row *row = *state;
    char path[64];
    char message[200];
    pk_error err = {0};
    write_file(path, sizeof path, row->text, strlen(row->text));
    const char *const args[] = {"--config", path, NULL};
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(args, &err);
    (void)unlink(path);
    if (row->detail == NULL) {
        assert_non_null(config);
        return;
    }
    assert_null(config);
    (void)snprintf(message, sizeof message,
                   row->detail[0] != 0 ? "configuration file \"%s\", line %d, is wrong"
                                       : "configuration file \"%s\", line %d, is neither a section "
                                         "nor a setting",
                   path, row->line);
    assert_string_equal(err.message, message);
    assert_string_equal(err.detail, row->detail);
}

static void a_long_line_is_refused_not_cut(void **state)
{
    char path[64];
    char text[512] = "[service]\nconninfo = ";
    pk_error err = {0};
    (void)state;
    memset(text + strlen(text), 'x', 300);
    write_file(path, sizeof path, text, strlen(text));
    const char *const args[] = {"--config", path, NULL};
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(args, &err);
    (void)unlink(path);
    assert_null(config);
    assert_string_equal(err.detail, "The line is longer than 198 bytes.");
}

static void the_command_line_overrides_the_file(void **state)
{
    static const char text[] = "[proxy]\nlisten = 127.0.0.1:1\nbackend = 127.0.0.1:2\n";
    char path[64];
    pk_error err = {0};
    (void)state;
    write_file(path, sizeof path, text, strlen(text));
    const char *const args[] = {"--listen", "127.0.0.1:3", "--config", path, NULL};
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(args, &err);
    (void)unlink(path);
    assert_non_null(config);
    assert_string_equal(pk_config_text(config, PK_OPT_PROXY_LISTEN), "127.0.0.1:3");
    assert_string_equal(pk_config_text(config, PK_OPT_PROXY_BACKEND), "127.0.0.1:2");
}

static void lists_are_split(void **state)
{
    const char *const args[] = {"--set", "keys.allowed_roots= /a , /b/c,/d ", NULL};
    pk_error err;
    size_t count = 0;
    (void)state;
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(args, &err);
    assert_non_null(config);
    const char *const *list = pk_config_list(config, PK_OPT_KEYS_ALLOWED_ROOTS, &count);
    assert_int_equal(count, 3);
    assert_string_equal(list[0], "/a");
    assert_string_equal(list[1], "/b/c");
    assert_string_equal(list[2], "/d");
    assert_null(list[3]);
    list = pk_config_list(config, PK_OPT_BACKUP_ALLOWED_ROOTS, &count);
    assert_int_equal(count, 0);
    assert_non_null(list);
}

static const struct state_row {
    const char *name, *systemd, *xdg, *home, *as_user, *as_root;
} state_rows[] = {
    {"systemd", "/var/lib/x", "/xdg", "/home/u", "/var/lib/x", "/var/lib/x"},
    {"systemd gives two", "/var/lib/x:/y", NULL, "/home/u", "/var/lib/x", "/var/lib/x"},
    {"XDG", NULL, "/xdg", "/home/u", "/xdg/pgkeep", "/var/lib/pgkeep"},
    {"home", NULL, NULL, "/home/u", "/home/u/.local/state/pgkeep", "/var/lib/pgkeep"},
};

static void put_env(const char *name, const char *value)
{
    if (value == NULL)
        (void)unsetenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */
    else
        (void)setenv(name, value, 1); /* NOLINT(concurrency-mt-unsafe): one thread */
}

static void state_directory_has_a_default(void **state)
{
    const struct state_row *row = *state;
    const char *const args[] = {NULL};
    pk_error err;
    put_env("STATE_DIRECTORY", row->systemd);
    put_env("XDG_STATE_HOME", row->xdg);
    put_env("HOME", row->home);
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(args, &err);
    assert_non_null(config);
    assert_string_equal(pk_config_text(config, PK_OPT_STATE_DIR),
                        geteuid() == 0 ? row->as_root : row->as_user);
    put_env("STATE_DIRECTORY", NULL);
}

static const struct service_row {
    const char *name;
    const char *args[ARGS_MAX];
    const char *conninfo;
} service_rows[] = {
    {"nothing said: the backend's host and port",
     {NULL},
     "dbname='postgres' application_name=pgkeep connect_timeout=5 host='127.0.0.1' port='5432' "},
    {"a socket directory and an odd database",
     {"--backend", "/run/pg:5433", "--set", "admin_database=it's \\ odd"},
     "dbname='it\\'s \\\\ odd' application_name=pgkeep connect_timeout=5 host='/run/pg' "
     "port='5433' "},
    {"a conninfo comes last, so it wins",
     {"--service", "dbname=x user=y"},
     "dbname='postgres' application_name=pgkeep connect_timeout=5 host='127.0.0.1' port='5432' "
     "dbname=x user=y"},
    {"a connection string that names a host keeps to it, with the backend's port",
     {"--backend", "127.0.0.1:5733", "--service", "host=/run/pg user=y"},
     "dbname='postgres' application_name=pgkeep connect_timeout=5 port='5733' host=/run/pg user=y"},
    {"a service file knows it all",
     {"--service", "service=keys"},
     "dbname='postgres' application_name=pgkeep connect_timeout=5 service=keys"},
    {"a URI",
     {"--service", "postgresql://u@h:1"},
     "postgresql://u@h:1?application_name=pgkeep&connect_timeout=5&dbname=postgres"},
    {"a URI with a database and parameters",
     {"--service", "postgres://h/d?sslmode=require"},
     "postgres://h/d?application_name=pgkeep&connect_timeout=5&sslmode=require"},
    {"TLS to the server is the service connection's as well",
     {"--backend", "db:1", "--set", "server_tls.sslmode=verify-full", "--set",
      "server_tls.ca_file=/ca.pem"},
     "dbname='postgres' application_name=pgkeep connect_timeout=5 host='db' port='1' "
     "sslmode='verify-full' sslrootcert='/ca.pem' "},
    {"the system's authorities, for a libpq that does not know them by that name",
     {"--service", "postgres://h/d", "--set", "server_tls.ca_file=system"},
     "postgres://h/d?application_name=pgkeep&connect_timeout=5&sslmode=verify-full"
     "&sslrootcert=%2Fetc%2Fssl%2Fcerts%2Fca-certificates%2Ecrt"},
    {"a URI with an empty path",
     {"--service", "postgres://h/"},
     "postgres://h/?application_name=pgkeep&connect_timeout=5&dbname=postgres"},
};

static void service_connection_is_complete(void **state)
{
    const struct service_row *row = *state;
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_SECRET(8192);
    pk_error err;
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(row->args, &err);
    assert_non_null(config);
    assert_true(pk_config_service(config, &out, &err));
    assert_true(pk_buf_append(&out, "", 1, &err));
    assert_string_equal(pk_buf_span(&out).ptr, row->conninfo);
}

/* What a reload has to warn of. */
static void frozen_settings_that_differ_are_told(void **state)
{
    const char *const before[] = {"--listen", "127.0.0.1:1", "--set", "proxy.max_connections=1",
                                  NULL};
    const char *const after[] = {"--listen",  "127.0.0.1:2", "--set", "proxy.max_connections=2",
                                 "--threads", "3",           NULL};
    pk_option at = PK_OPTION_COUNT;
    pk_error err;
    (void)state;
    PK_AUTO_PTR(pk_config_free) pk_config *then = load(before, &err);
    PK_AUTO_PTR(pk_config_free) pk_config *now = load(after, &err);
    assert_string_equal(pk_config_next_frozen(now, then, &at), "proxy.listen");
    assert_int_equal(at, PK_OPT_PROXY_LISTEN);
    assert_string_equal(pk_config_next_frozen(now, then, &at), "proxy.threads");
    assert_null(pk_config_next_frozen(now, then, &at)); /* the limit may change */
    at = PK_OPTION_COUNT;
    assert_null(pk_config_next_frozen(now, now, &at));
}

static void typed_values(void **state)
{
    const char *const args[] = {"--set",     "security.require_tls_for_secrets=No",
                                "--set",     "proxy.drain_timeout=7",
                                "--threads", "0012",
                                NULL};
    PK_AUTO(pk_buf_clear) pk_buf help = PK_BUF_MAX(64u << 10);
    pk_error err;
    (void)state;
    PK_AUTO_PTR(pk_config_free) pk_config *config = load(args, &err);
    assert_non_null(config);
    assert_false(pk_config_bool(config, PK_OPT_REQUIRE_TLS_FOR_SECRETS));
    assert_int_equal(pk_config_seconds(config, PK_OPT_PROXY_DRAIN_TIMEOUT), 7);
    assert_int_equal(pk_config_seconds(config, PK_OPT_PROXY_LOGIN_TIMEOUT), 60);
    assert_int_equal(pk_config_number(config, PK_OPT_PROXY_THREADS), 12);
    assert_int_equal(pk_config_number(config, PK_OPT_PROXY_MAX_LOGGING_IN), 512);
    assert_int_equal(pk_config_number(config, PK_OPT_PROXY_MAX_CONNECTIONS), 0);
    assert_true(pk_config_help(&help, &err));
    assert_non_null(
        memmem(pk_buf_span(&help).ptr, pk_buf_span(&help).len, "proxy.drain_timeout", 19));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, good_rows, setting_is_taken);
    PK_SUITE_ROWS(&suite, bad_rows, setting_is_refused);
    PK_SUITE_ROWS(&suite, file_rows, file_is_read);
    PK_SUITE_TEST(&suite, a_long_line_is_refused_not_cut);
    PK_SUITE_TEST(&suite, the_command_line_overrides_the_file);
    PK_SUITE_TEST(&suite, lists_are_split);
    PK_SUITE_ROWS(&suite, state_rows, state_directory_has_a_default);
    PK_SUITE_ROWS(&suite, service_rows, service_connection_is_complete);
    PK_SUITE_TEST(&suite, frozen_settings_that_differ_are_told);
    PK_SUITE_TEST(&suite, typed_values);
    return pk_suite_run(&suite, "config");
}
