/* pk_arena: alignment, zeroing, ceiling, wiping, memory that runs out. */
#include "base/arena.h"

#include "table.h"
#include "wrap.h"

void *wrapped_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : real_calloc(count, size);
}

void wrapped_free(void *block)
{
    look_for_canary(block);
    real_free(block);
}

static void pieces_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1 << 20);
    pk_error err;
    unsigned char *pieces[200];
    for (size_t i = 0; i < PK_COUNT(pieces); i++) {
        size_t size = i * 37 % 3000; /* small and large mixed */
        pieces[i] = pk_arena_alloc(&arena, size, &err);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < size; j++)
            assert_int_equal(pieces[i][j], 0);
        memset(pieces[i], (int)(i + 1), size);
    }
    for (size_t i = 0; i < PK_COUNT(pieces); i++)
        for (size_t j = 0; j < i * 37 % 3000; j++)
            assert_int_equal(pieces[i][j], (unsigned char)(i + 1));
}

static void text_is_copied_with_a_nul_behind(void **state)
{
    (void)state;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(10000);
    pk_error err;
    assert_string_equal(pk_arena_strndup(&arena, "abcdef", 3, &err), "abc");
    assert_string_equal(pk_arena_strdup(&arena, "", &err), "");
    assert_string_equal(pk_arena_strndup(&arena, NULL, 0, &err), "");
    assert_string_equal(pk_arena_printf(&arena, &err, "%s-%d", "x", 42), "x-42");
    int *number = pk_arena_new(&arena, int, &err);
    assert_int_equal(*number, 0);
}

static void the_ceiling_holds_over_many_pieces(void **state)
{
    (void)state;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1024);
    pk_error err = {0};
    int given = 0;
    while (pk_arena_alloc(&arena, 1, &err) != NULL)
        given++;
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_in_range(given, 1, 1024);
    assert_true(arena.used <= arena.max);
    assert_null(pk_arena_printf(&arena, &err, "%s", "x"));
    assert_null(pk_arena_strdup(&arena, "x", &err));
}

static const struct row {
    const char *name;
    size_t count, size;
} impossible[] = {
    {"one byte above the ceiling", 1, 4097},
    {"SIZE_MAX", 1, SIZE_MAX},
    {"close to SIZE_MAX", 1, SIZE_MAX - 8},
    {"a product that overflows", SIZE_MAX / 2, 3},
    {"a product that overflows to something small", SIZE_MAX / 4 + 2, 4},
};

static void impossible_sizes_are_refused(void **state)
{
    const struct row *row = *state;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(4096);
    pk_error err = {0};
    assert_null(pk_arena_array(&arena, row->count, row->size, &err));
    assert_string_equal(err.sqlstate, PK_E_TOO_LONG);
    assert_null(pk_arena_strndup(&arena, "", SIZE_MAX, &err));
    assert_non_null(pk_arena_array(&arena, 64, 64, &err));
}

static void clearing_wipes_every_chunk_and_makes_it_usable_again(void **state)
{
    (void)state;
    pk_arena arena = PK_ARENA_MAX(1 << 20);
    pk_error err;
    canary = "ARENA-CANARY";
    canaries_freed = 0;
    for (int i = 0; i < 100; i++) {
        assert_non_null(pk_arena_strdup(&arena, canary, &err));
        assert_non_null(pk_arena_alloc(&arena, 900, &err));
    }
    char *large = pk_arena_alloc(&arena, 9000, &err);
    assert_non_null(large);
    /* At the very end, hence without NUL. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
    memcpy(large + 9000 - strlen(canary), canary, strlen(canary));
    pk_arena_clear(&arena);
    assert_int_equal(canaries_freed, 0);
    assert_int_equal(arena.used, 0);
    assert_int_equal(arena.max, 1 << 20);
    assert_non_null(pk_arena_strdup(&arena, "again", &err));
    pk_arena_clear(&arena);
    canary = NULL;
}

static void a_large_piece_leaves_the_small_chunk_in_use(void **state)
{
    (void)state;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1 << 20);
    pk_error err;
    char *first = pk_arena_alloc(&arena, 16, &err);
    assert_non_null(pk_arena_alloc(&arena, 100000, &err));
    char *second = pk_arena_alloc(&arena, 16, &err);
    assert_ptr_equal(second, first + 16);
}

static void without_memory_it_says_so_and_stays_whole(void **state)
{
    (void)state;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(1 << 20);
    pk_error err = {0};
    char *kept = pk_arena_strdup(&arena, "kept", &err);
    failing_allocation = 1;
    assert_null(pk_arena_alloc(&arena, 20000, &err));
    assert_string_equal(err.sqlstate, PK_E_MEMORY);
    assert_string_equal(kept, "kept");
    assert_non_null(pk_arena_alloc(&arena, 20000, &err));
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_TEST(&suite, pieces_are_zeroed_aligned_and_apart);
    PK_SUITE_TEST(&suite, text_is_copied_with_a_nul_behind);
    PK_SUITE_TEST(&suite, the_ceiling_holds_over_many_pieces);
    PK_SUITE_ROWS(&suite, impossible, impossible_sizes_are_refused);
    PK_SUITE_TEST(&suite, clearing_wipes_every_chunk_and_makes_it_usable_again);
    PK_SUITE_TEST(&suite, a_large_piece_leaves_the_small_chunk_in_use);
    PK_SUITE_TEST(&suite, without_memory_it_says_so_and_stays_whole);
    return pk_suite_run(&suite, "arena");
}
