#include "crypto_test.h"

#include <openssl/crypto.h>

/* Runs first, before main starts the heap. */
static void before_the_heap_is_started_nothing_is_a_secret(void)
{
    pk_error err = {0};
    pk_secret *early = pk_secret_new("x", 1, &err);
    if (early != NULL || !pk_error_is(&err, PK_E_MEMORY)) {
        fprintf(stderr, "a secret was made in ordinary memory\n");
        abort();
    }
}

static void the_heap_is_started_once(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_secure_heap heap;
    assert_refused(pk_secret_heap_init(&heap, &err), PK_E_INTERNAL);
}

static void a_secret_copies_the_bytes_into_the_secure_heap(void **state)
{
    (void)state;
    pk_error err = {0};
    char bytes[] = "correct horse";
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_new(bytes, 13, &err);
    assert_non_null(secret);
    bytes[0] = 'X';
    assert_int_equal(pk_secret_len(secret), 13);
    assert_memory_equal(pk_secret_bytes(secret), "correct horse", 13);
    assert_true(CRYPTO_secure_allocated(pk_secret_bytes(secret)));
}

static void a_copy_is_equal_and_independent(void **state)
{
    (void)state;
    pk_error err = {0};
    pk_secret *one = secret_text("one");
    PK_AUTO_PTR(pk_secret_free) pk_secret *two = pk_secret_copy(one, &err);
    assert_non_null(two);
    assert_ptr_not_equal(pk_secret_bytes(one), pk_secret_bytes(two));
    assert_true(pk_secret_equal(one, two));
    pk_secret_free(one);
    assert_memory_equal(pk_secret_bytes(two), "one", 3);
}

static void equality_needs_length_and_every_byte(void **state)
{
    (void)state;
    PK_AUTO_PTR(pk_secret_free) pk_secret *secret = secret_text("abcd");
    PK_AUTO_PTR(pk_secret_free) pk_secret *longer = secret_text("abcde");
    PK_AUTO_PTR(pk_secret_free) pk_secret *last = secret_text("abcD");
    PK_AUTO_PTR(pk_secret_free) pk_secret *first = secret_text("Abcd");
    assert_false(pk_secret_equal(secret, longer));
    assert_false(pk_secret_equal(longer, secret));
    assert_false(pk_secret_equal(secret, last));
    assert_false(pk_secret_equal(secret, first));
    assert_true(pk_secret_equal(secret, secret));
}

static void impossible_lengths_are_refused(void **state)
{
    (void)state;
    pk_error err = {0};
    static const char bytes[PK_SECRET_MAX + 1];
    assert_refused(pk_secret_new(bytes, 0, &err), PK_E_PARAMETER);
    assert_refused(pk_secret_new(bytes, PK_SECRET_MAX + 1, &err), PK_E_PARAMETER);
    assert_refused(pk_secret_random(0, &err), PK_E_PARAMETER);
    PK_AUTO_PTR(pk_secret_free) pk_secret *longest = pk_secret_new(bytes, PK_SECRET_MAX, &err);
    assert_non_null(longest);
}

static void random_secrets_differ(void **state)
{
    (void)state;
    pk_error err = {0};
    PK_AUTO_PTR(pk_secret_free) pk_secret *one = pk_secret_random(PK_KEY_LEN, &err);
    PK_AUTO_PTR(pk_secret_free) pk_secret *two = pk_secret_random(PK_KEY_LEN, &err);
    assert_non_null(one);
    assert_non_null(two);
    assert_false(pk_secret_equal(one, two));
}

static void a_full_heap_is_an_error_and_recovers(void **state)
{
    (void)state;
    enum { MORE_THAN_FIT = 1024 };
    static const char bytes[PK_SECRET_MAX];
    pk_secret *all[MORE_THAN_FIT] = {NULL};
    pk_error err = {0};
    size_t count = 0;
    while (count < MORE_THAN_FIT && (all[count] = pk_secret_new(bytes, sizeof bytes, &err)) != NULL)
        count++;
    assert_true(count > 100 && count < MORE_THAN_FIT);
    assert_string_equal(err.sqlstate, PK_E_MEMORY);
    assert_refused(pk_secret_copy(all[0], &err), PK_E_MEMORY);
    for (size_t i = 0; i < count; i++)
        pk_secret_free(all[i]);
    PK_AUTO_PTR(pk_secret_free) pk_secret *again = pk_secret_new(bytes, sizeof bytes, &err);
    assert_non_null(again);
}

/*
 * Looks at the block after it was freed. The secure heap stays mapped and keeps two pointers of its
 * free list at the front of a free block; what lies behind them must be zero.
 */
static void freeing_wipes_the_bytes(void **state)
{
    (void)state;
    enum { LEN = 64, LIST = 2 * sizeof(void *) };
    pk_error err = {0};
    uint8_t *bytes = NULL;
    pk_secret *secret = pk_secret_blank(LEN, &bytes, &err);
    assert_non_null(secret);
    memset(bytes, 0xee, LEN);
    volatile const uint8_t *later = bytes;
    pk_secret_free(secret);
    for (size_t i = LIST; i < LEN; i++)
        assert_int_equal(later[i], 0);
}

static void a_blank_secret_is_zero_also_in_used_memory(void **state)
{
    (void)state;
    pk_error err = {0};
    static const uint8_t zeros[128];
    for (int i = 0; i < 3; i++) {
        uint8_t *bytes = NULL;
        PK_AUTO_PTR(pk_secret_free) pk_secret *secret = pk_secret_blank(128, &bytes, &err);
        assert_non_null(secret);
        assert_memory_equal(bytes, zeros, sizeof zeros);
        memset(bytes, 0xff, 128);
    }
    pk_secret_free(NULL);
}

int main(void)
{
    static pk_suite suite;
    before_the_heap_is_started_nothing_is_a_secret();
    start_crypto();
    PK_SUITE_TEST(&suite, the_heap_is_started_once);
    PK_SUITE_TEST(&suite, a_secret_copies_the_bytes_into_the_secure_heap);
    PK_SUITE_TEST(&suite, a_copy_is_equal_and_independent);
    PK_SUITE_TEST(&suite, equality_needs_length_and_every_byte);
    PK_SUITE_TEST(&suite, impossible_lengths_are_refused);
    PK_SUITE_TEST(&suite, random_secrets_differ);
    PK_SUITE_TEST(&suite, a_full_heap_is_an_error_and_recovers);
    PK_SUITE_TEST(&suite, freeing_wipes_the_bytes);
    PK_SUITE_TEST(&suite, a_blank_secret_is_zero_also_in_used_memory);
    return pk_suite_run(&suite, "secret");
}
