/*
 * The machine's clock, and times as text. The calendar is UTC's, by gmtime_r. Times outside the
 * years 1 to 9999, which only a damaged file could hold, are moved to the nearer end, so that every
 * text fits its array.
 */
#include "base/clock.h"

#include <time.h>

#define MICRO ((int64_t)1000000)
/* 0001-01-01 00:00:00 and 9999-12-31 23:59:59. */
#define FIRST_SECOND ((int64_t)-62135596800)
#define LAST_SECOND  ((int64_t)253402300799)

static int64_t read_us(clockid_t id)
{
    struct timespec now = {0};
    (void)clock_gettime(id, &now);
    return (int64_t)now.tv_sec * MICRO + now.tv_nsec / 1000;
}

static int64_t system_wall_us(const pk_clock *clock)
{
    (void)clock;
    return read_us(CLOCK_REALTIME);
}

static int64_t system_mono_us(const pk_clock *clock)
{
    (void)clock;
    return read_us(CLOCK_MONOTONIC);
}

const pk_clock pk_clock_system = {system_wall_us, system_mono_us};

typedef struct calendar {
    unsigned year, month, day, hour, minute, second, micro;
} calendar;

static calendar calendar_of(int64_t wall_us)
{
    int64_t second = wall_us / MICRO;
    int64_t micro = wall_us % MICRO;
    if (micro < 0) {
        micro += MICRO;
        second--;
    }
    if (second < FIRST_SECOND) {
        second = FIRST_SECOND;
        micro = 0;
    }
    if (second > LAST_SECOND) {
        second = LAST_SECOND;
        micro = MICRO - 1;
    }
    time_t at = (time_t)second;
    struct tm tm = {0};
    (void)gmtime_r(&at, &tm);
    return (calendar){(unsigned)tm.tm_year + 1900,
                      (unsigned)tm.tm_mon + 1,
                      (unsigned)tm.tm_mday,
                      (unsigned)tm.tm_hour,
                      (unsigned)tm.tm_min,
                      (unsigned)tm.tm_sec,
                      (unsigned)micro};
}

/* `width` digits of a number that has no more. */
static char *put(char *out, unsigned number, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return out + width;
}

/* Year to second, with these separators; '\0' for none. */
static char *put_calendar(char *out, const calendar *c, char dash, char middle, char colon)
{
    const unsigned parts[] = {c->month, c->day, c->hour, c->minute, c->second};
    const char before[] = {dash, dash, middle, colon, colon};
    out = put(out, c->year, 4);
    for (size_t i = 0; i < PK_COUNT(parts); i++) {
        if (before[i] != '\0')
            *out++ = before[i];
        out = put(out, parts[i], 2);
    }
    return out;
}

void pk_time_iso(int64_t wall_us, char out[static 21])
{
    calendar c = calendar_of(wall_us);
    out = put_calendar(out, &c, '-', 'T', ':');
    *out++ = 'Z';
    *out = '\0';
}

void pk_time_compact(int64_t wall_us, char out[static 17])
{
    calendar c = calendar_of(wall_us);
    out = put_calendar(out, &c, '\0', 'T', '\0');
    *out++ = 'Z';
    *out = '\0';
}

void pk_time_timestamptz(int64_t wall_us, char out[static 33])
{
    calendar c = calendar_of(wall_us);
    out = put_calendar(out, &c, '-', ' ', ':');
    if (c.micro != 0) {
        *out++ = '.';
        out = put(out, c.micro, 6);
        /* PostgreSQL prints no zeros at the end of the fraction. */
        while (out[-1] == '0')
            out--;
    }
    *out++ = '+';
    *out++ = '0';
    *out++ = '0';
    *out = '\0';
}
