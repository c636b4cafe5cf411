/*
 * Rules for passwords. Lengths count characters, not bytes; the classes are those of ASCII and
 * every other character is "other" (sql-surface 5.2). Case is folded for A-Z only: no tables of
 * Unicode here, and a rule that is sometimes too mild for a foreign name is no hole.
 */
#include "crypto/password.h"

#include "base/utf8.h"

#define BYTES_MAX      1024u
#define CHARACTERS_MIN 8u
#define CHARACTERS_MAX 128u
#define CLASSES_MIN    3u
#define NAME_MIN       3u

static size_t count_classes(pk_span text)
{
    bool upper = false;
    bool lower = false;
    bool digit = false;
    bool other = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= 'A' && c <= 'Z')
            upper = true;
        else if (c >= 'a' && c <= 'z')
            lower = true;
        else if (c >= '0' && c <= '9')
            digit = true;
        else
            other = true;
    }
    return (size_t)upper + (size_t)lower + (size_t)digit + (size_t)other;
}

static bool contains(pk_span text, pk_span name)
{
    size_t characters = 0;
    /* A name in another encoding is measured in bytes: rather one refusal too many. */
    if (!pk_utf8_is(name, &characters))
        characters = name.len;
    if (characters < NAME_MIN)
        return false;
    for (size_t at = 0; at + name.len <= text.len; at++)
        if (pk_span_equal_nocase((pk_span){text.ptr + at, name.len}, name))
            return true;
    return false;
}

static bool weak(pk_error *err, const char *rule)
{
    pk_fail(err, PK_E_PARAMETER, "password does not meet the password policy");
    return pk_error_detail(err, "%s", rule);
}

static bool check_bytes(pk_span password, size_t *characters, pk_error *err)
{
    if (password.len == 0)
        return pk_fail(err, PK_E_PARAMETER, "password must not be empty");
    if (password.len > BYTES_MAX)
        return pk_fail(err, PK_E_PARAMETER, "password must not be longer than %u bytes", BYTES_MAX);
    if (memchr(password.ptr, '\0', password.len) != NULL)
        return pk_fail(err, PK_E_PARAMETER, "password must not contain a zero byte");
    if (!pk_utf8_is(password, characters))
        return pk_fail(err, PK_E_PARAMETER, "password must be valid UTF-8");
    return true;
}

bool pk_password_check_presented(pk_span password, pk_error *err)
{
    size_t characters = 0;
    return check_bytes(password, &characters, err);
}

bool pk_password_check(pk_span password, const char *const *names, size_t name_count, pk_error *err)
{
    size_t characters = 0;
    if (!check_bytes(password, &characters, err))
        return false;
    if (characters < CHARACTERS_MIN)
        return weak(err, "It must have at least 8 characters.");
    if (characters > CHARACTERS_MAX)
        return weak(err, "It must have at most 128 characters.");
    if (count_classes(password) < CLASSES_MIN)
        return weak(err,
                    "It must contain three of: upper case letters A-Z, lower case letters a-z, "
                    "digits, other characters.");
    for (size_t i = 0; i < name_count; i++)
        if (names[i] != NULL && contains(password, pk_span_of(names[i])))
            return weak(err, "It must not contain the name of the role, database or key.");
    return true;
}
