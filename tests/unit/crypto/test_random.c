#include "crypto_test.h"

#include "crypto/random.h"

static void two_draws_differ(void **state)
{
    (void)state;
    pk_error err = {0};
    uint8_t one[32] = {0};
    uint8_t two[32] = {0};
    assert_ok(pk_random(one, sizeof one, &err));
    assert_ok(pk_random(two, sizeof two, &err));
    assert_memory_not_equal(one, two, sizeof one);
}

static void uuids_are_version_4_and_differ(void **state)
{
    (void)state;
    pk_error err = {0};
    uint8_t before[16] = {0};
    for (int i = 0; i < 64; i++) {
        uint8_t uuid[16];
        assert_ok(pk_random_uuid(uuid, &err));
        assert_int_equal(uuid[6] >> 4, 4);
        assert_int_equal(uuid[8] >> 6, 2);
        assert_memory_not_equal(uuid, before, sizeof uuid);
        memcpy(before, uuid, sizeof uuid);
    }
}

static void more_than_openssl_takes_is_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    uint8_t byte = 0;
    assert_refused(pk_random(&byte, (size_t)INT32_MAX + 1, &err), PK_E_TOO_LONG);
}

int main(void)
{
    static pk_suite suite;
    start_crypto();
    PK_SUITE_TEST(&suite, two_draws_differ);
    PK_SUITE_TEST(&suite, uuids_are_version_4_and_differ);
    PK_SUITE_TEST(&suite, more_than_openssl_takes_is_refused);
    return pk_suite_run(&suite, "random");
}
