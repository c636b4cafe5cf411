/*
 * What of a statement may be written down; and that no secret ever is, wherever it stands.
 */
#include "parser_test.h"

#include "parser/redact.h"

static const struct row {
    const char *name, *text, *shown;
} rows[] = {
    {"words as they are, blanks folded", "close \n\t MASTER  key", "close MASTER key"},
    {"comments left out", "CLOSE /* a 'b */ MASTER -- c\n KEY", "CLOSE MASTER KEY"},
    {"a comment between words separates them", "CLOSE/**/MASTER/**/KEY", "CLOSE MASTER KEY"},
    {"passwords", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'pw'",
     "OPEN MASTER KEY DECRYPTION BY PASSWORD = '******'"},
    {"passwords in every form of string",
     "SET DECRYPTION IDENTIFIED BY 'pw', E'pw', $a$pw$a$, N'pw', U&'pw' UESCAPE '!', 'pw'\n'pw'",
     "SET DECRYPTION IDENTIFIED BY '******', '******', '******', '******', '******', '******'"},
    {"parameters as they are", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1",
     "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1"},
    {"names and paths",
     "BACKUP SYMMETRIC KEY \"Card Key\" TO FILE='/srv/k' ENCRYPTION BY PASSWORD='pw'",
     "BACKUP SYMMETRIC KEY \"Card Key\" TO FILE='/srv/k' ENCRYPTION BY PASSWORD='******'"},
    {"tenants as strings", "ALTER SYSTEM BACKUP KEY TENANT = 'it''s', Sales TO 'file:///srv/keys'",
     "ALTER SYSTEM BACKUP KEY TENANT = 'it''s', Sales TO 'file:///srv/keys'"},
    {"secret parameters of a URI",
     "ALTER SYSTEM BACKUP KEY TO 's3://b/k?AWS_ACCESS_KEY_ID=AK&AWS_SECRET_ACCESS_KEY=pw&AUTH=x'",
     NULL},
    {"what is no URI and no path", "ALTER SYSTEM BACKUP KEY TO 'pw'",
     "ALTER SYSTEM BACKUP KEY TO '******'"},
    {"a relative path", "BACKUP MASTER KEY TO FILE = 'a/pw' ENCRYPTION BY PASSWORD = 'pw'",
     "BACKUP MASTER KEY TO FILE = '******' ENCRYPTION BY PASSWORD = '******'"},
    {"a path with something behind a question mark",
     "BACKUP MASTER KEY TO FILE = '/a?pw' ENCRYPTION BY PASSWORD = 'pw'",
     "BACKUP MASTER KEY TO FILE = '******' ENCRYPTION BY PASSWORD = '******'"},
    {"other literals",
     "ALTER SYSTEM RESTORE t FROM 'oss://a?k=pw,oss://b' UNTIL SCN = 12 WITH 'pool' DESCRIPTION "
     "'d'",
     "ALTER SYSTEM RESTORE t FROM '...' UNTIL SCN = '...' WITH '...' DESCRIPTION '...'"},
    {"accounts", "ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = 'DOM\\s', OLD_PASSWORD = 'pw'",
     "ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = '...', OLD_PASSWORD = '******'"},
    {"a secret of the keystore", "UNSEAL WITH RECOVERY CODE = 'pw'",
     "UNSEAL WITH RECOVERY CODE = '******'"},
    {"a password slot", "ALTER KEYSTORE ADD SLOT password 'pw'",
     "ALTER KEYSTORE ADD SLOT password '******'"},
    {"what is no kind of slot", "ALTER KEYSTORE ADD SLOT pw 'pw'",
     "ALTER KEYSTORE ADD SLOT '...' '******'"},
    {"a slot's number", "ALTER KEYSTORE DROP SLOT 12", "ALTER KEYSTORE DROP SLOT 12"},
    {"a family without a grammar", "BACKUP INTO 's3://pw' WITH encryption_passphrase = 'pw'",
     "BACKUP"},
    {"a statement that failed", "OPEN MASTER KEY DECRYPTION BY PASSWORD = pw", "OPEN MASTER KEY"},
    {"a statement of theirs", "ALTER USER u PASSWORD 'pw'", "..."},
};

static void redacts(void **state)
{
    const struct row *row = *state;
    parsed p = parse_text(row->text);
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(4096);
    assert_true(pk_redact(&p.script.stmts[0], &out, &p.err));
    pk_span shown = pk_buf_span(&out);
    if (row->shown != NULL)
        assert_span(shown, row->shown);
    assert_null(memmem(shown.ptr, shown.len, "pw", 2));
    parsed_clear(&p);
}

static void a_full_buffer_is_54000(void **state)
{
    (void)state;
    parsed p =
        parse_text("ALTER SYSTEM BACKUP KEY TENANT 'a', b TO 's3://b/k?X=y' ENCRYPTED BY 'p'");
    size_t ceiling = 0;
    for (bool ok = false; !ok; ceiling++) {
        PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(ceiling);
        ok = pk_redact(&p.script.stmts[0], &out, &p.err);
        if (!ok)
            assert_string_equal(p.err.sqlstate, PK_E_TOO_LONG);
    }
    assert_true(ceiling > 60);
    parsed_clear(&p);
}

/* Statements made of the grammar's pieces, right and wrong, with a canary wherever a value may
 * stand: what is shown never holds one, unless it is a name. */
static const char *const pieces[] = {
    "ALTER SYSTEM BACKUP KEY ",
    "ALTER SYSTEM RESTORE KEY ",
    "TENANT = a, b ",
    "TO 'canary' ",
    "FROM 'x://h/p?k=canary' ",
    "ENCRYPTED BY 'canary' ",
    "FORCE",
    "BACKUP MASTER KEY ",
    "TO FILE = 'canary' ",
    "ENCRYPTION BY PASSWORD = E'canary' ",
    "RESTORE SERVICE MASTER KEY ",
    "FROM FILE = $$canary$$ ",
    "DECRYPTION BY PASSWORD = N'canary' ",
    "canary",
    "\"canary\" ",
    "-- canary\n",
    "/* canary */",
    ";",
    "OPEN MASTER KEY ",
    "SET DECRYPTION IDENTIFIED BY 'canary' ",
    ", 'canary' ",
    "SELECT 'canary'",
    "CREATE MASTER KEY ",
    "U&'canary'",
    "EXPLAIN ",
    "GO ",
    "UNSEAL WITH PASSWORD = ",
    "UNSEAL WITH RECOVERY CODE = 'canary' ",
    "ALTER KEYSTORE ADD SLOT ",
    "password ",
};

static void no_canary_is_ever_shown(void **state)
{
    (void)state;
    uint64_t seed = 31337;
    size_t accepted = 0;
    for (int i = 0; i < 20000; i++) {
        char sql[512];
        (void)random_text(&seed, pieces, PK_COUNT(pieces), 5, sql, sizeof sql);
        parsed p = parse_text(sql);
        for (size_t k = 0; k < p.script.count; k++) {
            PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(4096);
            assert_true(pk_redact(&p.script.stmts[k], &out, &p.err));
            pk_span shown = pk_buf_span(&out);
            if (memmem(shown.ptr, shown.len, "canary", 6) != NULL)
                fail_msg("%s becomes %.*s", sql, PK_SPAN_ARG(shown));
            accepted += p.script.stmts[k].kind != PK_STMT_OTHER &&
                        p.script.stmts[k].kind != PK_STMT_UNBUILT;
        }
        parsed_clear(&p);
    }
    assert_true(accepted > 100);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, redacts);
    PK_SUITE_TEST(&suite, a_full_buffer_is_54000);
    PK_SUITE_TEST(&suite, no_canary_is_ever_shown);
    return pk_suite_run(&suite, "redact");
}
