/* Which locations may be opened: good and bad URIs and paths, with SQLSTATE and hint. */
#include "storage/store.h"

#include "fixture.h"

#define NO_ROOT_HINT                                                                               \
    "Set keys.allowed_roots in the configuration file, or start with --set "                       \
    "keys.allowed_roots=/directory."

/* "@" in a text stands for a temporary directory with: root/ (allowed), root/keys/, root/state/
 * (forbidden), root/inside -> keys, root/absolute -> @/root/keys, root/escape -> @/outside,
 * outside/, link -> root. */
typedef struct place {
    char top[PATH_MAX];
    char root[PATH_MAX + 16];
    char state[PATH_MAX + 16];
    const char *roots[1];
    const char *forbidden[1];
    pk_store_options options;
} place;

static void make_link(const place *at, const char *target, const char *name)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", at->top, name);
    assert_int_equal(symlink(target, path), 0);
}

static void make_dir(const place *at, const char *name)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/%s", at->top, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void set_up(place *at)
{
    char target[PATH_MAX + 32];
    *at = (place){0};
    make_temp(at->top);
    (void)snprintf(at->root, sizeof at->root, "%s/root", at->top);
    (void)snprintf(at->state, sizeof at->state, "%s/root/state", at->top);
    make_dir(at, "root");
    make_dir(at, "root/keys");
    make_dir(at, "root/state");
    make_dir(at, "outside");
    make_link(at, "root", "link");
    make_link(at, "keys", "root/inside");
    (void)snprintf(target, sizeof target, "%s/root/keys", at->top);
    make_link(at, target, "root/absolute");
    (void)snprintf(target, sizeof target, "%s/outside", at->top);
    make_link(at, target, "root/escape");
    make_link(at, "../outside", "root/climb");
    make_link(at, "state", "root/alias");
    at->roots[0] = at->root;
    at->forbidden[0] = at->state;
    at->options = (pk_store_options){.roots = at->roots,
                                     .root_count = 1,
                                     .roots_setting = "keys.allowed_roots",
                                     .forbidden = at->forbidden,
                                     .forbidden_count = 1};
}

static void tear_down(const place *at)
{
    remove_tree(at->top);
}

static void expand(const place *at, const char *text, char out[static 2 * PATH_MAX])
{
    const char *mark = strchr(text, '@');
    if (mark == NULL)
        (void)snprintf(out, 2 * (size_t)PATH_MAX, "%s", text);
    else
        (void)snprintf(out, 2 * (size_t)PATH_MAX, "%.*s%s%s", (int)(mark - text), text, at->top,
                       mark + 1);
}

static const struct row {
    const char *name, *text;
    const char *sqlstate; /* NULL: opens */
    const char *hint;     /* part of it */
    const char *never;    /* must not be repeated */
} uris[] = {
    {"a directory below the root opens", "file://@/root/keys", NULL, NULL, NULL},
    {"a directory that does not exist yet opens", "file://@/root/keys/new/er", NULL, NULL, NULL},
    {"a trailing slash is nothing", "file://@/root/keys/", NULL, NULL, NULL},
    {"doubled slashes and dots are nothing", "file://@//root/./keys//.", NULL, NULL, NULL},
    {"the scheme may be in upper case", "FILE://@/root/keys", NULL, NULL, NULL},
    {"percent escapes are decoded", "file://@/root/%6beys", NULL, NULL, NULL},
    {"a blank may be escaped", "file://@/root/my%20keys", NULL, NULL, NULL},
    {"the root may be reached by a symbolic link", "file://@/link/keys", NULL, NULL, NULL},
    {"a symbolic link that stays inside is fine", "file://@/root/inside", NULL, NULL, NULL},
    {"an absolute symbolic link that stays inside is fine", "file://@/root/absolute/x", NULL, NULL,
     NULL},
    {"a name that begins with dots is fine", "file://@/root/..keys", NULL, NULL, NULL},

    {"no scheme", "/root/keys", PK_E_PARAMETER, NULL, NULL},
    {"empty text", "", PK_E_PARAMETER, NULL, NULL},
    {"unknown scheme", "ftp://host/secret?password=hush", PK_E_PARAMETER, "file:///", "hush"},
    {"a host in a file URI", "file://host/root", PK_E_PARAMETER, "three slashes", NULL},
    {"localhost is a host too", "file://localhost/root", PK_E_PARAMETER, "three slashes", NULL},
    {"two slashes", "file://keys", PK_E_PARAMETER, "three slashes", NULL},
    {"no path", "file://", PK_E_PARAMETER, NULL, NULL},
    {"a parameter in a file URI", "file://@/root/keys?token=hush", PK_E_PARAMETER, NULL, "hush"},
    {"a bad escape", "file://@/root/%zz", PK_E_PARAMETER, NULL, NULL},
    {"an escaped zero byte", "file://@/root/a%00b", PK_E_PARAMETER, NULL, NULL},
    {"dots that climb", "file://@/root/keys/../keys", PK_E_PARAMETER, NULL, NULL},
    {"dots that climb out", "file://@/root/../outside", PK_E_PARAMETER, NULL, NULL},
    {"escaped dots", "file://@/root/%2e%2e/outside", PK_E_PARAMETER, NULL, NULL},
    {"escaped dots in upper case, with escaped slashes", "file://@/root%2F%2E%2E%2Foutside",
     PK_E_PARAMETER, NULL, NULL},
    {"outside the root", "file://@/outside", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"a name that begins like the root's", "file://@/rooter", PK_E_PARAMETER, "keys.allowed_roots",
     NULL},
    {"above the root", "file://@", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"the top of the file system", "file:///", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"a symbolic link that leads out", "file://@/root/escape", PK_E_PARAMETER, "keys.allowed_roots",
     NULL},
    {"a relative symbolic link that leads out", "file://@/root/climb/x", PK_E_PARAMETER,
     "keys.allowed_roots", NULL},
    {"a path that holds a password is not repeated", "file://@/outside/user:hush@host",
     PK_E_PARAMETER, "keys.allowed_roots", "hush"},
    {"a path that holds an escaped parameter is not repeated", "file://@/outside/token%3Dhush",
     PK_E_PARAMETER, "keys.allowed_roots", "hush"},
    {"below the forbidden directory neither", "file://@/root/state/user:hush@host", PK_E_PARAMETER,
     NULL, "hush"},
    {"the forbidden directory", "file://@/root/state", PK_E_PARAMETER, NULL, NULL},
    {"inside the forbidden directory", "file://@/root/state/x/y", PK_E_PARAMETER, NULL, NULL},
    {"above the forbidden directory", "file://@/root", PK_E_PARAMETER, NULL, NULL},
    {"the forbidden directory by another name", "file://@/root/alias", PK_E_PARAMETER, NULL, NULL},
    {"the forbidden directory through the root's link", "file://@/link/state/x", PK_E_PARAMETER,
     NULL, NULL},

    {"s3 is known", "s3://bucket/p?AWS_SECRET_ACCESS_KEY=hush", PK_E_UNSUPPORTED, "file:///",
     "hush"},
    {"gs is known", "gs://bucket/p", PK_E_UNSUPPORTED, NULL, NULL},
    {"azure-blob is known", "azure-blob://c/p", PK_E_UNSUPPORTED, NULL, NULL},
    {"azure is known", "azure://c/p", PK_E_UNSUPPORTED, NULL, NULL},
    {"oci is known", "oci://n/b", PK_E_UNSUPPORTED, NULL, NULL},
    {"external is known", "external://name", PK_E_UNSUPPORTED, NULL, NULL},
    {"https is known and its path is not repeated", "https://h/p/hush/x", PK_E_UNSUPPORTED, NULL,
     "hush"},
    {"http is known", "http://h/x", PK_E_UNSUPPORTED, NULL, NULL},
    {"nodelocal has a hint", "nodelocal://1/x", PK_E_UNSUPPORTED, "file:///directory", NULL},
    {"userfile has a hint", "userfile:///x", PK_E_UNSUPPORTED, "file:///directory", NULL},
    {"oss has a hint", "oss://b/x?access_key=hush", PK_E_UNSUPPORTED, "S3 compatible", "hush"},
    {"cos has a hint", "COS://b/x", PK_E_UNSUPPORTED, "S3 compatible", NULL},
};

static void check_refusal(const struct row *row, const pk_error *err)
{
    assert_fault(err, row->sqlstate);
    if (row->hint != NULL && strstr(err->hint, row->hint) == NULL)
        fail_msg("hint is \"%s\"", err->hint);
    if (row->never == NULL)
        return;
    assert_null(strstr(err->message, row->never));
    assert_null(strstr(err->detail, row->never));
    assert_null(strstr(err->hint, row->never));
}

static void location_opens_or_is_refused(void **state)
{
    const struct row *row = *state;
    char text[2 * PATH_MAX];
    place at;
    pk_error err = {0};
    set_up(&at);
    expand(&at, row->text, text);
    pk_store *store = pk_store_open(pk_span_of(text), &at.options, &err);
    if (row->sqlstate == NULL) {
        if (store == NULL)
            print_message("%s: %s\n", err.message, err.detail);
        assert_non_null(store);
    } else {
        assert_null(store);
        check_refusal(row, &err);
    }
    pk_store_close(store);
    tear_down(&at);
}

static const struct row files[] = {
    {"a plain path opens", "@/root/keys/smk.pem", NULL, NULL, NULL},
    {"a file URI opens", "file://@/root/keys/smk.pem", NULL, NULL, NULL},
    {"a percent sign in a plain path is itself", "@/root/keys/%2e%2e", NULL, NULL, NULL},
    {"a plain path with blanks opens", "@/root/keys/my key", NULL, NULL, NULL},
    {"a directory reached by a symbolic link opens", "@/link/inside/x", NULL, NULL, NULL},

    {"an empty path", "", PK_E_PARAMETER, "below", NULL},
    {"a relative path", "keys/smk.pem", PK_E_PARAMETER, "/root, or change", NULL},
    {"a path that begins with a dot", "./smk.pem", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"a drive letter", "C:\\keys\\smk.key", PK_E_PARAMETER, "/root, or change", NULL},
    {"a drive letter with a slash", "c:/keys/smk.key", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"a network path", "\\\\server\\share\\smk.key", PK_E_PARAMETER, "/root, or change", NULL},
    {"another scheme", "s3://bucket/smk?AWS_SECRET_ACCESS_KEY=hush", PK_E_PARAMETER,
     "keys.allowed_roots", "hush"},
    {"a trailing slash", "@/root/keys/", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"the root of everything", "/", PK_E_PARAMETER, NULL, NULL},
    {"only dots behind the last slash", "/.", PK_E_PARAMETER, NULL, NULL},
    {"dots that climb", "@/root/keys/../smk.pem", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"outside", "@/outside/smk.pem", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"a link that leads out", "@/root/escape/smk.pem", PK_E_PARAMETER, "keys.allowed_roots", NULL},
    {"the forbidden directory", "@/root/state/keystore.db", PK_E_PARAMETER, NULL, NULL},
    {"above the forbidden directory", "@/root/smk.pem", PK_E_PARAMETER, NULL, NULL},
    {"a directory that does not exist and holds a password", "@/root/keys/user:hush@h/x",
     PK_E_UNDEFINED_FILE, NULL, "hush"},
    {"a path outside that holds a password", "@/outside/user:hush@h/x", PK_E_PARAMETER,
     "keys.allowed_roots", "hush"},
    {"a path that holds a parameter", "@/outside/x?token=hush", PK_E_PARAMETER,
     "keys.allowed_roots", "hush"},
    {"a directory that does not exist", "@/root/keys/none/smk.pem", PK_E_UNDEFINED_FILE, NULL,
     NULL},
};

static void file_opens_or_is_refused(void **state)
{
    const struct row *row = *state;
    char text[2 * PATH_MAX];
    place at;
    const char *name = NULL;
    pk_arena arena = ARENA;
    pk_error err = {0};
    set_up(&at);
    expand(&at, row->text, text);
    pk_store *store = pk_store_open_file(pk_span_of(text), &at.options, &arena, &name, &err);
    if (row->sqlstate == NULL) {
        if (store == NULL)
            print_message("%s: %s\n", err.message, err.detail);
        assert_non_null(store);
        assert_string_equal(name, strrchr(text, '/') + 1);
    } else {
        assert_null(store);
        check_refusal(row, &err);
    }
    pk_store_close(store);
    pk_arena_clear(&arena);
    tear_down(&at);
}

static void without_roots_the_hint_spells_the_setting(void **state)
{
    (void)state;
    static const char *const texts[] = {"/tmp/x", "C:\\x", "x"};
    pk_store_options none = {.roots_setting = "keys.allowed_roots"};
    const char *name = NULL;
    pk_arena arena = ARENA;
    pk_error err = {0};
    assert_null(pk_store_open(PK_SPAN("file:///tmp"), &none, &err));
    assert_fault(&err, PK_E_PARAMETER);
    assert_string_equal(err.hint, NO_ROOT_HINT);
    assert_non_null(strstr(err.detail, "administrators included"));
    for (size_t i = 0; i < PK_COUNT(texts); i++) {
        assert_null(pk_store_open_file(pk_span_of(texts[i]), &none, &arena, &name, &err));
        assert_fault(&err, PK_E_PARAMETER);
        assert_string_equal(err.hint, NO_ROOT_HINT);
    }
    pk_arena_clear(&arena);
}

static void a_root_that_does_not_exist_is_told_apart(void **state)
{
    (void)state;
    static const char *const roots[] = {"/nonexistent-root-of-pgkeep"};
    pk_store_options options = {
        .roots = roots, .root_count = 1, .roots_setting = "backup.allowed_roots"};
    pk_error err = {0};
    assert_null(pk_store_open(PK_SPAN("file:///nonexistent-root-of-pgkeep/x"), &options, &err));
    assert_fault(&err, PK_E_UNDEFINED_FILE);
    assert_non_null(strstr(err.message, "backup.allowed_roots"));
    assert_null(pk_store_open(PK_SPAN("file:///tmp/x"), &options, &err));
    assert_fault(&err, PK_E_PARAMETER);
}

static void the_second_of_two_roots_counts_too(void **state)
{
    (void)state;
    place at;
    pk_error err = {0};
    char text[2 * PATH_MAX];
    set_up(&at);
    const char *const roots[] = {at.state, at.root, "relative"};
    at.options.roots = roots;
    at.options.root_count = 3;
    expand(&at, "file://@/root/keys", text);
    pk_store *store = pk_store_open(pk_span_of(text), &at.options, &err);
    assert_non_null(store);
    pk_store_close(store);
    tear_down(&at);
}

static void a_root_given_by_a_symbolic_link_is_a_root(void **state)
{
    (void)state;
    static const char *const texts[] = {"file://@/link/keys", "file://@/root/keys"};
    place at;
    pk_error err = {0};
    char link[PATH_MAX + 8];
    char text[2 * PATH_MAX];
    set_up(&at);
    (void)snprintf(link, sizeof link, "%s/link/", at.top);
    at.roots[0] = link;
    for (size_t i = 0; i < PK_COUNT(texts); i++) {
        expand(&at, texts[i], text);
        pk_store *store = pk_store_open(pk_span_of(text), &at.options, &err);
        assert_non_null(store);
        pk_store_close(store);
    }
    tear_down(&at);
}

static void a_very_long_path_is_refused(void **state)
{
    (void)state;
    place at;
    pk_error err = {0};
    static char text[3 * PATH_MAX];
    set_up(&at);
    memset(text, 'a', sizeof text - 1);
    text[snprintf(text, 16, "file:///")] = 'a';
    assert_null(pk_store_open(pk_span_of(text), &at.options, &err));
    assert_fault(&err, PK_E_PARAMETER);
    tear_down(&at);
}

static void redacted_is_the_uri_without_its_end(void **state)
{
    (void)state;
    place at;
    pk_error err = {0};
    pk_arena arena = ARENA;
    const char *name = NULL;
    char text[2 * PATH_MAX];
    char want[2 * PATH_MAX];
    set_up(&at);
    expand(&at, "file://@/root/my%20keys//?", text);
    expand(&at, "file://@/root/my%20keys", want);
    pk_store *store = pk_store_open(pk_span_of(text), &at.options, &err);
    assert_non_null(store);
    assert_string_equal(pk_store_redacted(store), want);
    pk_store_close(store);
    expand(&at, "@/root/keys/smk.pem", text);
    expand(&at, "@/root/keys", want);
    store = pk_store_open_file(pk_span_of(text), &at.options, &arena, &name, &err);
    assert_non_null(store);
    assert_string_equal(pk_store_redacted(store), want);
    pk_store_close(store);
    pk_arena_clear(&arena);
    tear_down(&at);
}

static void what_a_redactor_hides_is_hidden_in_a_location_and_its_messages(void **state)
{
    (void)state;
    place at;
    pk_error err = {0};
    pk_arena arena = ARENA;
    pk_buf out = PK_BUF_MAX(100);
    const char *name = NULL;
    char text[2 * PATH_MAX];
    set_up(&at);
    make_dir(&at, "root/user:hush@host");
    expand(&at, "file://@/root/user:hush@host", text);
    pk_store *store = pk_store_open(pk_span_of(text), &at.options, &err);
    assert_non_null(store);
    assert_string_equal(pk_store_redacted(store), "file:///redacted");
    assert_ok(pk_store_put(store, "x", PK_SPAN("x"), &err), &err);
    assert_false(pk_store_put(store, "x", PK_SPAN("x"), &err));
    assert_fault(&err, PK_E_DUPLICATE_FILE);
    assert_null(strstr(err.message, "hush"));
    assert_false(pk_store_put(store, "x/y", PK_SPAN("x"), &err));
    assert_null(strstr(err.message, "hush"));
    assert_false(pk_store_get(store, "no/x", &out, &err));
    assert_null(strstr(err.message, "hush"));
    pk_store_close(store);
    expand(&at, "@/root/user:hush@host/smk.pem", text);
    store = pk_store_open_file(pk_span_of(text), &at.options, &arena, &name, &err);
    assert_non_null(store);
    assert_string_equal(pk_store_redacted(store), "/redacted");
    pk_store_close(store);
    pk_arena_clear(&arena);
    tear_down(&at);
}

static void an_ordinary_path_is_named_in_messages(void **state)
{
    (void)state;
    place at;
    pk_error err = {0};
    char text[2 * PATH_MAX];
    char want[3 * PATH_MAX];
    set_up(&at);
    expand(&at, "file://@/outside/a%20b/service_master_%20key", text);
    (void)snprintf(want, sizeof want,
                   "path \"%s/outside/a b/service_master_ key\" is outside keys.allowed_roots",
                   at.top);
    assert_null(pk_store_open(pk_span_of(text), &at.options, &err));
    assert_string_equal(err.message, want);
    tear_down(&at);
}

static const struct bad_name {
    const char *name, *object;
} bad_names[] = {
    {"an empty name", ""},       {"a dot", "."},
    {"two dots", ".."},          {"dots that climb", "a/../b"},
    {"a leading slash", "/a"},   {"a trailing slash", "a/"},
    {"a doubled slash", "a//b"}, {"a dot in the middle", "a/./b"},
};

static void name_is_refused(void **state)
{
    const struct bad_name *row = *state;
    place at;
    pk_error err = {0};
    char text[2 * PATH_MAX];
    pk_buf out = PK_BUF_MAX(100);
    pk_arena arena = ARENA;
    char **names = NULL;
    size_t count = 0;
    set_up(&at);
    expand(&at, "file://@/root/keys", text);
    pk_store *store = pk_store_open(pk_span_of(text), &at.options, &err);
    assert_non_null(store);
    assert_false(pk_store_put(store, row->object, PK_SPAN("x"), &err));
    assert_fault(&err, PK_E_PARAMETER);
    assert_false(pk_store_get(store, row->object, &out, &err));
    assert_fault(&err, PK_E_PARAMETER);
    assert_false(pk_store_delete(store, row->object, &err));
    assert_fault(&err, PK_E_PARAMETER);
    if (row->object[0] != '\0') { /* "" is the location itself for these two */
        assert_int_equal(pk_store_kind(store, row->object, &err), '?');
        assert_fault(&err, PK_E_PARAMETER);
        assert_false(pk_store_list(store, row->object, &arena, &names, &count, &err));
        assert_fault(&err, PK_E_PARAMETER);
    }
    pk_store_close(store);
    tear_down(&at);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, uris, location_opens_or_is_refused);
    PK_SUITE_ROWS(&suite, files, file_opens_or_is_refused);
    PK_SUITE_ROWS(&suite, bad_names, name_is_refused);
    PK_SUITE_TEST(&suite, without_roots_the_hint_spells_the_setting);
    PK_SUITE_TEST(&suite, a_root_that_does_not_exist_is_told_apart);
    PK_SUITE_TEST(&suite, the_second_of_two_roots_counts_too);
    PK_SUITE_TEST(&suite, a_root_given_by_a_symbolic_link_is_a_root);
    PK_SUITE_TEST(&suite, a_very_long_path_is_refused);
    PK_SUITE_TEST(&suite, what_a_redactor_hides_is_hidden_in_a_location_and_its_messages);
    PK_SUITE_TEST(&suite, an_ordinary_path_is_named_in_messages);
    PK_SUITE_TEST(&suite, redacted_is_the_uri_without_its_end);
    return pk_suite_run(&suite, "store");
}
