#include "crypto_test.h"

#include "crypto/password.h"

#define TEN(x) x x x x x x x x x x

static const struct rule_row {
    const char *name, *password;
    const char *const names[3];
    const char *detail; /* NULL: accepted */
} rule_rows[] = {
    {"three classes and eight characters", "Passw0rd", {NULL}, NULL},
    {"lower, digit and other", "pa$$w0rd", {NULL}, NULL},
    {"upper, digit and other", "PA$$W0RD", {NULL}, NULL},
    {"other letters are the fourth class", "p\303\244ssw0rd", {NULL}, NULL},
    {"a blank is another character", "pass w0rd", {NULL}, NULL},
    {"seven characters", "Passw0r", {NULL}, "8 characters"},
    {"seven characters of more bytes", "P\303\244\303\244\303\244w0r", {NULL}, "8 characters"},
    {"eight characters of more bytes", "P\303\244\303\244\303\244\303\244w0r", {NULL}, NULL},
    {"two classes", "password1", {NULL}, "three of"},
    {"one class", "passwordpassword", {NULL}, "three of"},
    {"128 characters", TEN(TEN("x")) TEN("A1") "12345678", {NULL}, NULL},
    {"129 characters", TEN(TEN("x")) TEN("A1") "123456789", {NULL}, "at most 128"},
    {"128 characters of 248 bytes",
     TEN(TEN("\303\244")) TEN("\303\204") TEN("1") "12345aAA",
     {NULL},
     NULL},
    {"contains the role", "xxAlice1xx", {"alice"}, "must not contain"},
    {"contains the database, other case", "xxsALes1xx", {NULL, "Sales"}, "must not contain"},
    {"is the name itself", "Alice123", {"alice123"}, "must not contain"},
    {"a name of two characters does not count", "xxAl1234", {"al"}, NULL},
    {"a name of two long characters does not count",
     "xx\303\244\303\266A1234",
     {"\303\244\303\266"},
     NULL},
    {"a name of three long characters counts",
     "xx\303\244\303\266\303\274A1234",
     {"\303\244\303\266\303\274"},
     "must not contain"},
    {"an empty name does not count", "Passw0rd", {""}, NULL},
    {"half of the name is fine", "xxAlic12", {"alice"}, NULL},
};

static void follows_the_rules(void **state)
{
    const struct rule_row *row = *state;
    pk_error err = {0};
    pk_span password = pk_span_of(row->password);
    bool ok = pk_password_check(password, row->names, PK_COUNT(row->names), &err);
    if (row->detail == NULL) {
        assert_ok(ok);
        return;
    }
    assert_false(ok);
    assert_string_equal(err.sqlstate, PK_E_PARAMETER);
    assert_non_null(strstr(err.detail, row->detail));
    assert_null(strstr(err.detail, row->password));
    assert_null(strstr(err.message, row->password));
}

#define BYTES(literal) literal, sizeof(literal) - 1
static const struct byte_row {
    const char *name, *bytes;
    size_t len;
    bool ok;
} byte_rows[] = {
    {"one character is presented", BYTES("x"), true},
    {"nothing", BYTES(""), false},
    {"a zero byte", BYTES("abc\0def"), false},
    {"1024 bytes", BYTES(TEN(TEN("0123456789")) "abcdefghijklmnopqrstuvwx"), true},
    {"1025 bytes", BYTES(TEN(TEN("0123456789")) "abcdefghijklmnopqrstuvwxy"), false},
    {"two-byte, three-byte and four-byte characters", BYTES("\302\200\340\240\200\360\220\200\200"),
     true},
    {"the last code point", BYTES("\364\217\277\277"), true},
    {"above the last code point", BYTES("\364\220\200\200"), false},
    {"an overlong slash", BYTES("\300\257"), false},
    {"an overlong three-byte form", BYTES("\340\237\277"), false},
    {"an overlong four-byte form", BYTES("\360\217\277\277"), false},
    {"a surrogate", BYTES("\355\240\200"), false},
    {"before the surrogates", BYTES("\355\237\277"), true},
    {"a continuation alone", BYTES("a\200"), false},
    {"cut off after one byte", BYTES("abc\303"), false},
    {"cut off after two bytes", BYTES("abc\342\202"), false},
    {"cut off after three bytes", BYTES("abc\360\237\230"), false},
    {"Latin-1", BYTES("p\344ssword"), false},
    {"a byte that never occurs", BYTES("abc\377"), false},
};

static void presented_bytes(void **state)
{
    const struct byte_row *row = *state;
    pk_error err = {0};
    pk_span password = {row->bytes, row->len};
    if (row->ok) {
        assert_ok(pk_password_check_presented(password, &err));
        return;
    }
    assert_refused(pk_password_check_presented(password, &err), PK_E_PARAMETER);
    assert_refused(pk_password_check(password, NULL, 0, &err), PK_E_PARAMETER);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rule_rows, follows_the_rules);
    PK_SUITE_ROWS(&suite, byte_rows, presented_bytes);
    return pk_suite_run(&suite, "password");
}
