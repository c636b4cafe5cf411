/*
 * Parameters get their values: the same statement written with literals and with parameters is the
 * same afterwards, wherever a value is looked up, and prints the same.
 */
#include "parser_test.h"

#include "parser/bind.h"
#include "parser/redact.h"

/* $n is bound to "v<n>", which is what the literal text has in its place. */
static const struct row {
    const char *name, *text, *literal;
} rows[] = {
    {"tenant_key_backup", "ALTER SYSTEM BACKUP KEY TENANT = a, b TO $1 ENCRYPTED BY $2",
     "ALTER SYSTEM BACKUP KEY TENANT = a, b TO 'v1' ENCRYPTED BY 'v2'"},
    {"tenant_key_backup: a place alone", "ALTER SYSTEM BACKUP KEY TO = $3",
     "ALTER SYSTEM BACKUP KEY TO = 'v3'"},
    {"tenant_key_restore", "ALTER SYSTEM RESTORE KEY TENANT a FROM $1 ENCRYPTED BY $2 FORCE",
     "ALTER SYSTEM RESTORE KEY TENANT a FROM 'v1' ENCRYPTED BY 'v2' FORCE"},
    {"tenant_key_rotate", "ADMINISTER KEY MANAGEMENT SET KEY IDENTIFIED BY $1",
     "ADMINISTER KEY MANAGEMENT SET KEY IDENTIFIED BY 'v1'"},
    {"tenant_restore",
     "ALTER SYSTEM RESTORE t FROM $1 UNTIL TIME = $2 WITH $3 ENCRYPTED BY $4 WITH KEY FROM $5 "
     "ENCRYPTED BY $6 DESCRIPTION $7",
     "ALTER SYSTEM RESTORE t FROM 'v1' UNTIL TIME = 'v2' WITH 'v3' ENCRYPTED BY 'v4' WITH KEY FROM "
     "'v5' ENCRYPTED BY 'v6' DESCRIPTION 'v7'"},
    {"set_encryption", "SET ENCRYPTION ON IDENTIFIED BY $1 ONLY",
     "SET ENCRYPTION ON IDENTIFIED BY 'v1' ONLY"},
    {"set_decryption", "SET DECRYPTION IDENTIFIED BY $1, 'v2', $3",
     "SET DECRYPTION IDENTIFIED BY 'v1', 'v2', 'v3'"},
    {"smk_backup", "BACKUP SERVICE MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2",
     "BACKUP SERVICE MASTER KEY TO FILE = 'v1' ENCRYPTION BY PASSWORD = 'v2'"},
    {"smk_restore", "RESTORE SERVICE MASTER KEY FROM FILE = $2 DECRYPTION BY PASSWORD = $1 FORCE",
     "RESTORE SERVICE MASTER KEY FROM FILE = 'v2' DECRYPTION BY PASSWORD = 'v1' FORCE"},
    {"smk_alter", "ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = $1, OLD_PASSWORD = $2",
     "ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = 'v1', OLD_PASSWORD = 'v2'"},
    {"dmk_create", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = $1",
     "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'v1'"},
    {"dmk_open", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1",
     "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'v1'"},
    {"dmk_alter", "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = $1",
     "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = 'v1'"},
    {"dmk_backup", "BACKUP MASTER KEY TO URL = $1 ENCRYPTION BY PASSWORD = $2",
     "BACKUP MASTER KEY TO URL = 'v1' ENCRYPTION BY PASSWORD = 'v2'"},
    {"dmk_restore",
     "RESTORE MASTER KEY FROM FILE = $1 DECRYPTION BY PASSWORD = $2 ENCRYPTION BY PASSWORD = $3",
     "RESTORE MASTER KEY FROM FILE = 'v1' DECRYPTION BY PASSWORD = 'v2' ENCRYPTION BY PASSWORD = "
     "'v3'"},
    {"dmk_restore: one value three times",
     "RESTORE MASTER KEY FROM FILE = $1 DECRYPTION BY PASSWORD = $1 ENCRYPTION BY PASSWORD = $1",
     "RESTORE MASTER KEY FROM FILE = 'v1' DECRYPTION BY PASSWORD = 'v1' ENCRYPTION BY PASSWORD = "
     "'v1'"},
    {"symkey_backup", "BACKUP SYMMETRIC KEY k TO FILE = $1 ENCRYPTION BY PASSWORD = $2",
     "BACKUP SYMMETRIC KEY k TO FILE = 'v1' ENCRYPTION BY PASSWORD = 'v2'"},
    {"symkey_restore",
     "RESTORE SYMMETRIC KEY k FROM FILE = $1 DECRYPTION BY PASSWORD = $2 ENCRYPTION BY PASSWORD = "
     "$3",
     "RESTORE SYMMETRIC KEY k FROM FILE = 'v1' DECRYPTION BY PASSWORD = 'v2' ENCRYPTION BY "
     "PASSWORD = 'v3'"},
    {"keystore_unseal", "UNSEAL WITH PASSWORD = $1", "UNSEAL WITH PASSWORD = 'v1'"},
    {"keystore_unseal: a code", "UNSEAL WITH RECOVERY CODE = $2",
     "UNSEAL WITH RECOVERY CODE = 'v2'"},
    {"keystore_alter: a slot's password", "ALTER KEYSTORE ADD SLOT password $1",
     "ALTER KEYSTORE ADD SLOT password 'v1'"},
    {"two statements", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $2; UNSEAL WITH PASSWORD = $1",
     "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'v2'; UNSEAL WITH PASSWORD = 'v1'"},
    {"nothing to bind", "CLOSE MASTER KEY", "CLOSE MASTER KEY"},
};

static const pk_span given[] = {
    {"v1", 2}, {"v2", 2}, {"v3", 2}, {"v4", 2}, {"v5", 2}, {"v6", 2}, {"v7", 2}, {"v8", 2},
};

/* Every copy of a value inside the union, whatever its members are called: found by the place in
 * the text that it names. */
static void copies_are_bound(const pk_stmt *stmt, const pk_value *value)
{
    const unsigned char *bytes = (const unsigned char *)&stmt->u;
    for (size_t at = 0; at + sizeof(pk_value) <= sizeof stmt->u; at += _Alignof(pk_value)) {
        pk_value copy;
        memcpy(&copy, bytes + at, sizeof copy);
        if (copy.source.ptr != value->source.ptr || copy.source.len != value->source.len)
            continue;
        assert_int_equal(copy.kind, PK_VALUE_STRING);
        assert_int_equal(copy.class, value->class);
        assert_ptr_equal(copy.text.ptr, value->text.ptr);
        assert_int_equal(copy.text.len, value->text.len);
    }
}

static void prints_alike(const pk_stmt *a, const pk_stmt *b)
{
    PK_AUTO(pk_buf_clear) pk_buf left = PK_BUF_MAX(4096);
    PK_AUTO(pk_buf_clear) pk_buf right = PK_BUF_MAX(4096);
    pk_error err;
    assert_true(pk_redact(a, &left, &err) && pk_redact(b, &right, &err));
    assert_true(pk_span_equal(pk_buf_span(&left), pk_buf_span(&right)));
    assert_null(memchr(pk_buf_span(&left).ptr, '$', pk_buf_span(&left).len));
}

static void bound_is_as_good_as_written(void **state)
{
    const struct row *row = *state;
    parsed p = parse_text(row->text), literal = parse_text(row->literal);
    assert_true(p.ok && literal.ok);
    assert_int_equal(p.script.count, literal.script.count);
    const uint32_t params = pk_script_params(&p.script);
    assert_int_equal(params == 0, strchr(row->text, '$') == NULL);
    assert_int_equal(pk_script_params(&literal.script), 0);

    assert_true(pk_bind(&p.script, given, params, &p.err));
    for (size_t k = 0; k < p.script.count; k++) {
        const pk_stmt *stmt = &p.script.stmts[k], *other = &literal.script.stmts[k];
        assert_int_equal(stmt->value_count, other->value_count);
        for (size_t i = 0; i < stmt->value_count; i++) {
            assert_int_equal(stmt->values[i].kind, other->values[i].kind);
            assert_int_equal(stmt->values[i].class, other->values[i].class);
            assert_true(pk_span_equal(stmt->values[i].text, other->values[i].text));
            if (stmt->values[i].param != 0)
                copies_are_bound(stmt, &stmt->values[i]);
        }
        prints_alike(stmt, other);
    }
    parsed_clear(&p);
    parsed_clear(&literal);
}

static void copies_are_where_the_handlers_look(void **state)
{
    (void)state;
    parsed p = parse_text("RESTORE MASTER KEY FROM FILE = $3 DECRYPTION BY PASSWORD = $1 "
                          "ENCRYPTION BY PASSWORD = $2");
    assert_int_equal(pk_script_params(&p.script), 3);
    assert_true(pk_bind(&p.script, given, 3, &p.err));
    const pk_stmt *stmt = &p.script.stmts[0];
    assert_span(stmt->u.master_key.place.text, "v3");
    assert_span(stmt->u.master_key.decryption.text, "v1");
    assert_span(stmt->u.master_key.encryption.text, "v2");
    assert_int_equal(stmt->u.master_key.encryption.kind, PK_VALUE_STRING);
    assert_int_equal(stmt->u.master_key.place.position, 32);
    parsed_clear(&p);
}

static void a_slot_number_may_be_a_parameter(void **state)
{
    (void)state;
    const pk_span seven = {"7", 1};
    parsed p = parse_text("ALTER KEYSTORE DROP SLOT $1");
    assert_true(pk_bind(&p.script, &seven, 1, &p.err));
    assert_span(p.script.stmts[0].u.keystore.slot.text, "7");
    parsed_clear(&p);
}

static void a_bound_password_is_never_shown(void **state)
{
    (void)state;
    const pk_span values[] = {{"canary", 6}, {"s3://b/k?AWS_SECRET_ACCESS_KEY=canary", 37}};
    parsed p = parse_text("ALTER SYSTEM BACKUP KEY TO $2 ENCRYPTED BY $1");
    assert_true(pk_bind(&p.script, values, 2, &p.err));
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(4096);
    assert_true(pk_redact(&p.script.stmts[0], &out, &p.err));
    const pk_span shown = pk_buf_span(&out);
    assert_non_null(memmem(shown.ptr, shown.len, "BY '******'", 11));
    assert_null(memmem(shown.ptr, shown.len, "canary", 6));
    parsed_clear(&p);
}

static const pk_span bad_values[] = {{"v1", 2}, {NULL, 0}, {"a\0b", 3}, {"", 0}};

static const struct bad_row {
    const char *name, *text;
    size_t count;
    const char *sqlstate, *message;
    uint32_t position;
} bad_rows[] = {
    {"no value at all", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1", 0, "42P02",
     "there is no parameter $1", 42},
    {"one value too few", "BACKUP MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2", 1, "42P02",
     "there is no parameter $2", 57},
    {"NULL as password", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $2", 4, "22004",
     "parameter $2 must not be NULL", 42},
    {"NULL as place", "ALTER SYSTEM BACKUP KEY TO $2", 4, "22004", "parameter $2 must not be NULL",
     28},
    {"a zero byte", "BACKUP MASTER KEY TO FILE = $3 ENCRYPTION BY PASSWORD = $1", 4, "22023",
     "parameter $3 holds a zero byte", 29},
    {"in the second statement", "CLOSE MASTER KEY; UNSEAL WITH PASSWORD = $9", 4, "42P02",
     "there is no parameter $9", 42},
    {"NULL that nobody uses", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1", 4, "", "", 0},
    {"an empty string is a value", "OPEN MASTER KEY DECRYPTION BY PASSWORD = $4", 4, "", "", 0},
};

static void bad_value_is_refused(void **state)
{
    const struct bad_row *row = *state;
    parsed p = parse_text(row->text);
    pk_error err = {0};
    assert_int_equal(pk_bind(&p.script, bad_values, row->count, &err), row->sqlstate[0] == '\0');
    assert_string_equal(err.sqlstate, row->sqlstate);
    assert_string_equal(err.message, row->message);
    assert_int_equal(err.position, row->position);
    parsed_clear(&p);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, bound_is_as_good_as_written);
    PK_SUITE_ROWS(&suite, bad_rows, bad_value_is_refused);
    PK_SUITE_TEST(&suite, copies_are_where_the_handlers_look);
    PK_SUITE_TEST(&suite, a_slot_number_may_be_a_parameter);
    PK_SUITE_TEST(&suite, a_bound_password_is_never_shown);
    return pk_suite_run(&suite, "bind");
}
