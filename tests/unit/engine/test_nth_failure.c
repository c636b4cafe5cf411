/*
 * Every key statement, from the request to the answer, with its first allocation, write, sync,
 * rename or catalog call failing, then the second, until it passes clean (CONVENTIONS 10). After
 * each failure: an error that says what it is about, nothing changed that SHOW can tell, no file
 * that was not there before, no password and no new key anywhere in memory; and the same engine
 * serves the next attempt. Leaks are the sanitizer build's to find.
 *
 * PostgreSQL is not asked: the questions about rights are answered here.
 */
#include "keystore_fixture.h"
#include "nth_failure.h"

#include "engine/authz.h"
#include "engine/engine.h"

#include <ftw.h>
#include <semaphore.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SCANS 0 /* freed memory is kept in quarantine, wiped or not */
#else
#define SCANS 1
#endif

#define ATTEMPTS_MAX 5000
#define FAULTS_SHOWN 20

/* "Zx9!canary-Moor-4711", never in the clear in this program's memory. */
static const unsigned char masked_password[] = {
    'Z' ^ 0x5a, 'x' ^ 0x5a, '9' ^ 0x5a, '!' ^ 0x5a, 'c' ^ 0x5a, 'a' ^ 0x5a, 'n' ^ 0x5a,
    'a' ^ 0x5a, 'r' ^ 0x5a, 'y' ^ 0x5a, '-' ^ 0x5a, 'M' ^ 0x5a, 'o' ^ 0x5a, 'o' ^ 0x5a,
    'r' ^ 0x5a, '-' ^ 0x5a, '4' ^ 0x5a, '7' ^ 0x5a, '1' ^ 0x5a, '1' ^ 0x5a};

/* Rights: everything is allowed, two databases. */

bool wrapped_ask(pk_authz *authz, const char *user, const char *database, pk_rights *rights,
                 pk_error *err) __asm__("__wrap_pk_authz_ask");
bool wrapped_databases(pk_authz *authz, pk_arena *arena, pk_authz_database **list, size_t *count,
                       pk_error *err) __asm__("__wrap_pk_authz_databases");

bool wrapped_ask(pk_authz *authz, const char *user, const char *database, pk_rights *rights,
                 pk_error *err)
{
    (void)authz, (void)user, (void)err;
    *rights = (pk_rights){.superuser = true, .owner = true, .connect = true};
    rights->db_oid = strcmp(database, "sales") == 0 ? 101 : strcmp(database, "hr") == 0 ? 102 : 103;
    return true;
}

bool wrapped_databases(pk_authz *authz, pk_arena *arena, pk_authz_database **list, size_t *count,
                       pk_error *err)
{
    static const pk_authz_database all[] = {{"bare", 103}, {"hr", 102}, {"sales", 101}};
    (void)authz;
    *list = pk_arena_array(arena, PK_COUNT(all), sizeof **list, err);
    if (*list == NULL)
        return false;
    memcpy(*list, all, sizeof all);
    *count = PK_COUNT(all);
    return true;
}

/* A directory with a keystore and key files, and an engine on it. */

typedef struct world {
    char dir[64]; /* state/ and keys/ */
    pk_engine *engine;
} world;

typedef struct outcome {
    sem_t done;
    pk_request *request;
} outcome;

static void on_done(void *ctx, pk_request *request)
{
    outcome *o = ctx;
    o->request = request;
    sem_post(&o->done);
}

static size_t put_password(char *out)
{
    for (size_t i = 0; i < sizeof masked_password; i++)
        out[i] = (char)(masked_password[i] ^ 0x5a);
    return sizeof masked_password;
}

/* %d is the directory, %p the password; the text is made in the request's arena, which is wiped. */
static pk_span fill(const world *w, pk_request *request, const char *sql)
{
    pk_error err = {0};
    char *text = pk_arena_alloc(&request->arena, 2048, &err);
    size_t len = 0;
    assert_non_null(text);
    for (const char *at = sql; *at != '\0'; at++) {
        if (at[0] == '%' && at[1] == 'd')
            len += (size_t)snprintf(text + len, 2048 - len, "%s", w->dir), at++;
        else if (at[0] == '%' && at[1] == 'p')
            len += put_password(text + len), at++;
        else
            text[len++] = *at;
        assert_true(len < 2000);
    }
    return (pk_span){text, len};
}

/* Only the engine's own calls fail: the request is made before (`nth` 0: none does). */
static pk_request *submit_failing(const world *w, const char *database, const char *sql,
                                  pk_family family, long nth)
{
    pk_error err = {0};
    outcome o = {.request = NULL};
    const pk_parse_options options = {.standard_conforming = true};
    pk_request *request = pk_request_new();
    must(pk_parse(fill(w, request, sql), &options, &request->arena, &request->script, &err), &err);
    request->number = 1;
    request->session = 1;
    request->user = "alice";
    request->database = database;
    request->client = "test";
    request->secure_peer = true;
    request->done = on_done;
    request->ctx = &o;
    assert_int_equal(sem_init(&o.done, 0, 0), 0);
    if (nth > 0)
        pk_nth_arm(family, nth);
    pk_engine_submit(w->engine, request);
    sem_wait(&o.done);
    sem_destroy(&o.done);
    return o.request;
}

static pk_request *submit(const world *w, const char *database, const char *sql)
{
    return submit_failing(w, database, sql, PK_FAIL_MEMORY, 0);
}

static void run(const world *w, const char *database, const char *sql)
{
    pk_request *request = submit(w, database, sql);
    assert_int_equal(request->result_count, 1);
    if (request->results[0]->failed)
        fail_msg("%s: %s (%s) %s", sql, request->results[0]->error.message,
                 request->results[0]->error.sqlstate, request->results[0]->error.detail);
    pk_request_free(request);
}

static void open_engine(world *w)
{
    char state[96];
    char keys[96];
    pk_error err = {0};
    (void)snprintf(state, sizeof state, "%s/state", w->dir);
    (void)snprintf(keys, sizeof keys, "%s/keys", w->dir);
    const char *roots[] = {keys};
    const pk_engine_options options = {.state_dir = state,
                                       .service = "host=127.0.0.1 port=1",
                                       .admin_database = "postgres",
                                       .key_roots = roots,
                                       .key_root_count = 1,
                                       .create_keystore = true,
                                       .superuser_is_admin = true,
                                       .owner_manages_dmk = true,
                                       .unlock_timeout_ms = 20000,
                                       .workers = 1};
    w->engine = pk_engine_open(&options, &pk_clock_system, &err);
    must(w->engine != NULL, &err);
}

static void shell(const char *command)
{
    /* NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): directories of the test's own */
    FILE *done = popen(command, "r");
    assert_non_null(done);
    assert_int_equal(pclose(done), 0);
}

#define SHELL(...)                                                                                 \
    do {                                                                                           \
        char command_[256];                                                                        \
        (void)snprintf(command_, sizeof command_, __VA_ARGS__);                                    \
        shell(command_);                                                                           \
    } while (0)

static void make_world(world *w)
{
    fixture_dir(w->dir);
    SHELL("mkdir -m 700 %s/state %s/keys", w->dir, w->dir);
    open_engine(w);
}

static void drop_world(world *w)
{
    pk_engine_close(w->engine);
    SHELL("rm -rf -- %s", w->dir);
}

/* Two keystores were here: the files of the other one lie beside. */
static world template;

static void make_template(void)
{
    world other;
    make_world(&other);
    run(&other, "sales", "CREATE MASTER KEY");
    run(&other, "sales",
        "BACKUP MASTER KEY TO FILE = '%d/keys/x.pem' ENCRYPTION BY PASSWORD = '%p'");
    run(&other, "sales",
        "BACKUP SERVICE MASTER KEY TO FILE = '%d/keys/xs.pem' ENCRYPTION BY PASSWORD = '%p'");
    make_world(&template);
    run(&template, "sales", "CREATE MASTER KEY");
    run(&template, "hr", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = '%p'");
    run(&template, "sales",
        "BACKUP SERVICE MASTER KEY TO FILE = '%d/keys/s.pem' ENCRYPTION BY PASSWORD = '%p'");
    pk_engine_close(template.engine);
    template.engine = NULL;
    SHELL("cp -p %s/keys/x*.pem %s/keys/", other.dir, template.dir);
    drop_world(&other);
}

static void copy_world(world *w)
{
    fixture_dir(w->dir);
    SHELL("cp -pr %s/. %s/", template.dir, w->dir);
    open_engine(w);
    run(w, "sales", "SHOW MASTER KEYS"); /* the keystore is open */
}

/* What SHOW tells and which files there are, as text. One picture is made at a time. */

static struct picture {
    char text[8192];
    size_t len;
} made;

static void add(const char *text)
{
    int len = snprintf(made.text + made.len, sizeof made.text - made.len, "%s|", text);
    made.len += (size_t)len;
    assert_true(made.len < sizeof made.text);
}

static int add_file(const char *path, const struct stat *info, int flag, struct FTW *walk)
{
    (void)info, (void)walk;
    if (flag == FTW_F && strstr(path, "keystore.db-") == NULL)
        add(path);
    return 0;
}

static void picture(const world *w)
{
    made.len = 0;
    pk_request *request = submit(w, "sales", "SHOW MASTER KEYS");
    assert_false(request->results[0]->failed);
    for (pk_row *row = request->results[0]->rows; row != NULL; row = row->next)
        for (size_t i = 0; i < request->results[0]->column_count; i++)
            add(row->values[i] == NULL ? "" : row->values[i]);
    pk_request_free(request);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else walks here */
    assert_int_equal(nftw(w->dir, add_file, 16, FTW_PHYS), 0);
}

/* `stride` other than 1: most calls are those of another statement here, so a part of them will do;
 * PK_TEST_ALL makes it 1 again. */
static const struct statement {
    const char *name, *database, *sql;
    long stride;
} statements[] = {
    {"CREATE MASTER KEY", "bare", "CREATE MASTER KEY", 1},
    {"CREATE MASTER KEY with a password", "bare", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = '%p'",
     1},
    {"BACKUP MASTER KEY", "sales",
     "BACKUP MASTER KEY TO FILE = '%d/keys/new.pem' ENCRYPTION BY PASSWORD = '%p'", 1},
    {"BACKUP SERVICE MASTER KEY", "sales",
     "BACKUP SERVICE MASTER KEY TO FILE = '%d/keys/new.pem' ENCRYPTION BY PASSWORD = '%p'", 7},
    {"ALTER SYSTEM BACKUP KEY of one tenant", "postgres",
     "ALTER SYSTEM BACKUP KEY TENANT = sales TO 'file://%d/keys' ENCRYPTED BY '%p'", 3},
    {"ALTER SYSTEM BACKUP KEY of two tenants", "postgres",
     "ALTER SYSTEM BACKUP KEY TENANT = sales, hr TO 'file://%d/keys' ENCRYPTED BY '%p'", 7},
    {"RESTORE MASTER KEY where there is none", "bare",
     "RESTORE MASTER KEY FROM FILE = '%d/keys/x.pem' DECRYPTION BY PASSWORD = '%p'"
     " ENCRYPTION BY PASSWORD = '%p'",
     1},
    {"RESTORE MASTER KEY in place of another", "sales",
     "RESTORE MASTER KEY FROM FILE = '%d/keys/x.pem' DECRYPTION BY PASSWORD = '%p'"
     " ENCRYPTION BY PASSWORD = '%p' FORCE",
     3},
    {"RESTORE SERVICE MASTER KEY, the same", "sales",
     "RESTORE SERVICE MASTER KEY FROM FILE = '%d/keys/s.pem' DECRYPTION BY PASSWORD = '%p'", 1},
    {"RESTORE SERVICE MASTER KEY in place of another", "sales",
     "RESTORE SERVICE MASTER KEY FROM FILE = '%d/keys/xs.pem' DECRYPTION BY PASSWORD = '%p' FORCE",
     3},
    {"ALTER SYSTEM RESTORE KEY", "postgres",
     "ALTER SYSTEM RESTORE KEY TENANT = bare FROM 'file://%d/keys/x.pem' ENCRYPTED BY '%p'", 3},
    {"OPEN MASTER KEY", "hr", "OPEN MASTER KEY DECRYPTION BY PASSWORD = '%p'", 1},
    {"ALTER KEYSTORE ADD SLOT", "postgres", "ALTER KEYSTORE ADD SLOT password '%p'", 1},
};

static const char *const families[] = {"memory", "secure heap", "SQLite's memory", "write",
                                       "sync",   "rename",      "catalog"};

/* A word of what the statement is about, in the message or its detail. */
static bool names_an_object(const pk_error *err)
{
    static const char *const words[] = {"\"", "keystore", "catalog", "master key", "/keys"};
    for (size_t i = 0; i < PK_COUNT(words); i++)
        if (strstr(err->message, words[i]) != NULL || strstr(err->detail, words[i]) != NULL)
            return true;
    return false;
}

typedef struct count {
    long failed, overcome; /* attempts with a failing call that ended in an error, or did not */
    long faults;           /* of what this test looks for */
} count;

static void complain(count *c, const char *what, const struct statement *st, const char *family,
                     long n, const pk_error *err)
{
    c->faults++;
    if (c->faults <= FAULTS_SHOWN)
        print_message("%s: %s, %s call %ld: %s %s (%s)\n", what, st->name, family, n, err->sqlstate,
                      err->message, err->detail);
}

static void look_at_error(count *c, const struct statement *st, const char *family, long n,
                          const pk_error *err)
{
    if (err->sqlstate[0] == '\0' || err->message[0] == '\0')
        complain(c, "no error set", st, family, n, err);
    else if (pk_error_is(err, PK_E_INTERNAL))
        complain(c, "an internal error", st, family, n, err);
    else if (!names_an_object(err))
        complain(c, "the error names no object", st, family, n, err);
}

static void look_for_secrets(count *c, const struct statement *st, const char *family, long n,
                             const pk_error *err)
{
    if (SCANS == 0 || n % 16 != 1) /* a search takes a while */
        return;
    if (pk_nth_find(masked_password, sizeof masked_password) > 0)
        complain(c, "the password was left in memory", st, family, n, err);
    if (pk_nth_secrets_left() > 0)
        complain(c, "a new key was left in memory", st, family, n, err);
}

/* Several tenants are several copies: the error says of each that failed, the others were made
 * (docs/statements/oceanbase.md). */
static bool says_which(const pk_error *err)
{
    return strcmp(err->message, "could not back up every key") == 0 ||
           strncmp(err->detail, "Could not back up every key", 27) == 0;
}

/* One attempt; true: the armed call came. */
static bool attempt(world *w, const struct statement *st, pk_family family, long n, count *c,
                    bool *changed)
{
    struct picture before;
    pk_error err = {0};
    picture(w);
    before = made;
    pk_request *request = submit_failing(w, st->database, st->sql, family, n);
    bool fired = pk_nth_fired();
    bool failed = request->result_count == 0 || request->results[0]->failed;
    if (request->result_count > 0)
        err = request->results[0]->error;
    pk_request_free(request);
    look_for_secrets(c, st, families[family], n, &err); /* before others use that memory */
    picture(w);
    *changed = !failed || strcmp(before.text, made.text) != 0;
    if (failed && !fired)
        fail_msg("%s fails by itself: %s (%s) %s", st->name, err.message, err.sqlstate, err.detail);
    if (failed && *changed && !says_which(&err))
        complain(c, "an error, but something has changed", st, families[family], n, &err);
    if (failed)
        look_at_error(c, st, families[family], n, &err);
    c->failed += fired && failed;
    c->overcome += fired && !failed;
    return fired;
}

static void every_call_may_fail(void **state)
{
    const struct statement *st = *state;
    count c = {0};
    for (pk_family family = 0; family < PK_FAIL_FAMILIES; family++) {
        world w;
        long n = 1;
        copy_world(&w);
        /* How SQLite bears a lack of memory is its authors' care; here a part will do. */
        long stride = family == PK_FAIL_SQLITE ? 11 : family == PK_FAIL_MEMORY ? st->stride : 1;
        if (getenv("PK_TEST_ALL") != NULL) // NOLINT(concurrency-mt-unsafe): nobody sets any
            stride = 1;
        for (bool changed = false; attempt(&w, st, family, n, &c, &changed); n += stride) {
            assert_true(n < ATTEMPTS_MAX);
            if (!changed)
                continue;
            drop_world(&w);
            copy_world(&w);
        }
        print_message("    %s: %ld calls\n", families[family], n - 1);
        drop_world(&w);
    }
    print_message("  %s: %ld errors, %ld overcome, %ld faults\n", st->name, c.failed, c.overcome,
                  c.faults);
    assert_int_equal(c.faults, 0);
    assert_true(c.failed > 20);
}

/* `pgkeep init`, again and again on the same directory until it succeeds; then on a new one. */
static void a_keystore_that_could_not_be_made_can_be_made_again(void **state)
{
    (void)state;
    static const struct statement init = {.name = "init"};
    count c = {0};
    for (pk_family family = 0; family < PK_FAIL_FAMILIES; family++) {
        char dir[64];
        bool fired = true;
        bool told = false; /* by the error before, that there is one now */
        fixture_dir(dir);
        for (long n = 1; fired; n += family == PK_FAIL_SQLITE ? 11 : 1) {
            pk_keystore_summary summary;
            pk_error err = {0};
            pk_nth_arm(family, n);
            bool made_it = pk_engine_create_keystore(dir, &pk_clock_system, &summary, &err);
            fired = pk_nth_fired();
            if (!made_it && pk_error_is(&err, PK_E_DUPLICATE_OBJECT) && !told)
                complain(&c, "an error, but the keystore was made", &init, families[family], n - 1,
                         &err);
            else if (!made_it)
                look_at_error(&c, &init, families[family], n, &err);
            told = strstr(err.message, "was made, but cannot be opened") != NULL;
            c.failed += !made_it;
            c.overcome += fired && made_it;
            if (made_it || pk_error_is(&err, PK_E_DUPLICATE_OBJECT)) {
                fixture_remove(dir);
                fixture_dir(dir);
            }
        }
        fixture_remove(dir);
    }
    print_message("  init: %ld errors, %ld overcome, %ld faults\n", c.failed, c.overcome, c.faults);
    assert_int_equal(c.faults, 0);
    assert_true(c.failed > 20);
}

/* The search is worth something only if it finds what is there. */
static void a_secret_that_is_left_is_found(void **state)
{
    (void)state;
    if (SCANS == 0)
        skip();
    char *copy = pk_new_bytes(64);
    assert_int_equal(pk_nth_find(masked_password, sizeof masked_password), 0);
    for (size_t i = 0; i < sizeof masked_password; i++)
        copy[i] = (char)(masked_password[i] ^ 0x5a);
    assert_int_equal(pk_nth_find(masked_password, sizeof masked_password), 1);
    pk_wipe(copy, 64);
    assert_int_equal(pk_nth_find(masked_password, sizeof masked_password), 0);
    pk_free(copy);
}

static void quiet(void *ctx, const char *line)
{
    (void)ctx, (void)line; /* every failure is one */
}

int main(void)
{
    static pk_suite suite;
    pk_error err = {0};
    pk_nth_init();
    if (!pk_engine_init_process(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    pk_log_set_sink(quiet, NULL);
    make_template();
    PK_SUITE_TEST(&suite, a_secret_that_is_left_is_found);
    PK_SUITE_TEST(&suite, a_keystore_that_could_not_be_made_can_be_made_again);
    PK_SUITE_ROWS(&suite, statements, every_call_may_fail);
    int failed = pk_suite_run(&suite, "nth_failure");
    SHELL("rm -rf -- %s", template.dir);
    return failed;
}
