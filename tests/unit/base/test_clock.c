/* Times as text, and the machine's clock. */
#include "base/clock.h"

#include "table.h"

#define SECOND INT64_C(1000000)

static const struct row {
    const char *name;
    int64_t wall_us;
    const char *iso, *compact, *timestamptz;
} rows[] = {
    {"the epoch", 0, "1970-01-01T00:00:00Z", "19700101T000000Z", "1970-01-01 00:00:00+00"},
    {"one microsecond before it", -1, "1969-12-31T23:59:59Z", "19691231T235959Z",
     "1969-12-31 23:59:59.999999+00"},
    {"an ordinary moment", 1772330584 * SECOND + 567891, "2026-03-01T02:03:04Z", "20260301T020304Z",
     "2026-03-01 02:03:04.567891+00"},
    {"zeros at the end of a fraction go", 1772330584 * SECOND + 500000, "2026-03-01T02:03:04Z",
     "20260301T020304Z", "2026-03-01 02:03:04.5+00"},
    {"zeros at its front stay", 1772330584 * SECOND + 50, "2026-03-01T02:03:04Z",
     "20260301T020304Z", "2026-03-01 02:03:04.00005+00"},
    {"a leap day", 951782400 * SECOND, "2000-02-29T00:00:00Z", "20000229T000000Z",
     "2000-02-29 00:00:00+00"},
    {"the last second of 9999", 253402300799 * SECOND, "9999-12-31T23:59:59Z", "99991231T235959Z",
     "9999-12-31 23:59:59+00"},
    {"later than that", INT64_MAX, "9999-12-31T23:59:59Z", "99991231T235959Z",
     "9999-12-31 23:59:59.999999+00"},
    {"earlier than the year 1", INT64_MIN, "0001-01-01T00:00:00Z", "00010101T000000Z",
     "0001-01-01 00:00:00+00"},
};

static void is_written_like_this(void **state)
{
    const struct row *row = *state;
    char out[33];
    pk_time_iso(row->wall_us, out);
    assert_string_equal(out, row->iso);
    pk_time_compact(row->wall_us, out);
    assert_string_equal(out, row->compact);
    pk_time_timestamptz(row->wall_us, out);
    assert_string_equal(out, row->timestamptz);
}

static void the_clock_goes_and_never_back(void **state)
{
    (void)state;
    const pk_clock *clock = &pk_clock_system;
    assert_true(clock->wall_us(clock) > 1700000000 * SECOND);
    int64_t before = clock->mono_us(clock);
    int64_t after = before;
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock->mono_us(clock);
        assert_true(now >= after);
        after = now;
    }
    while (after == before)
        after = clock->mono_us(clock);
    assert_true(after > before);
}

int main(void)
{
    static pk_suite suite;
    PK_SUITE_ROWS(&suite, rows, is_written_like_this);
    PK_SUITE_TEST(&suite, the_clock_goes_and_never_back);
    return pk_suite_run(&suite, "clock");
}
