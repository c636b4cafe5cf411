/*
 * The texts are our own (result.h), so they are read strictly: booleans t and f, integers in
 * decimal, uuids in their usual form, times as "2026-02-03 04:05:06.789+00", always UTC.
 */
#include "proxy/binary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch. */
#define EPOCH_DAYS  10957
#define DAY_SECONDS 86400

static void write_u64(pk_writer *writer, uint64_t value)
{
    pk_write_u32(writer, (uint32_t)(value >> 32));
    pk_write_u32(writer, (uint32_t)value);
}

static bool read_integer(const char *text, long long least, long long most, long long *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return end != text && *end == 0 && errno == 0 && *value >= least && *value <= most;
}

/* `count` digits and what must follow them; moves on. */
static bool read_digits(const char **text, int count, char behind, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        *value = *value * 10 + (**text - '0');
    }
    if (behind == 0)
        return true;
    return *(*text)++ == behind;
}

/* Of the proleptic Gregorian calendar, counted from 1970-01-01 (the usual era arithmetic: years
 * begin in March, 400 of them have 146097 days). */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool read_fraction(const char **text, int64_t *micros)
{
    int64_t unit = 100000;
    *micros = 0;
    if (**text != '.')
        return true;
    for ((*text)++; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
        *micros += unit * (**text - '0');
    return true;
}

static bool read_time(const char *text, int64_t *micros)
{
    int year, month, day, hour, minute, second;
    int64_t fraction;
    if (!read_digits(&text, 4, '-', &year) || !read_digits(&text, 2, '-', &month) ||
        !read_digits(&text, 2, ' ', &day) || !read_digits(&text, 2, ':', &hour) ||
        !read_digits(&text, 2, ':', &minute) || !read_digits(&text, 2, 0, &second) ||
        !read_fraction(&text, &fraction) || strcmp(text, "+00") != 0 || month < 1 || month > 12)
        return false;
    int64_t seconds = (days_of(year, month, day) - EPOCH_DAYS) * DAY_SECONDS +
                      (int64_t)hour * 3600 + (int64_t)minute * 60 + second;
    *micros = seconds * 1000000 + fraction;
    return true;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_uuid(const char *text, uint8_t uuid[static 16])
{
    for (size_t i = 0; i < 16; i++) {
        if (*text == '-')
            text++;
        int high = digit_of(text[0]);
        int low = high < 0 ? -1 : digit_of(text[1]);
        if (low < 0)
            return false;
        uuid[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return *text == 0;
}

static void write_time(pk_writer *writer, const char *value)
{
    int64_t micros = 0;
    writer->failed = writer->failed || !read_time(value, &micros);
    pk_write_u32(writer, 8);
    write_u64(writer, (uint64_t)micros);
}

static void write_integer(pk_writer *writer, const char *value, bool eight)
{
    long long number = 0;
    bool fits = eight ? read_integer(value, INT64_MIN, INT64_MAX, &number)
                      : read_integer(value, INT32_MIN, INT32_MAX, &number);
    writer->failed = writer->failed || !fits;
    pk_write_u32(writer, eight ? 8 : 4);
    if (eight)
        write_u64(writer, (uint64_t)number);
    else
        pk_write_u32(writer, (uint32_t)number);
}

static void write_uuid(pk_writer *writer, const char *value)
{
    uint8_t uuid[16] = {0};
    writer->failed = writer->failed || !read_uuid(value, uuid);
    pk_write_u32(writer, sizeof uuid);
    pk_write_bytes(writer, pk_span_bytes(uuid, sizeof uuid));
}

void pk_binary_write(pk_writer *writer, pk_type type, const char *value)
{
    switch (type) {
    case PK_TYPE_BOOL:
        writer->failed = writer->failed || (strcmp(value, "t") != 0 && strcmp(value, "f") != 0);
        pk_write_u32(writer, 1);
        pk_write_u8(writer, value[0] == 't');
        return;
    case PK_TYPE_INT8:
    case PK_TYPE_INT4:
        write_integer(writer, value, type == PK_TYPE_INT8);
        return;
    case PK_TYPE_TIMESTAMPTZ:
        write_time(writer, value);
        return;
    case PK_TYPE_UUID:
        write_uuid(writer, value);
        return;
    case PK_TYPE_TEXT:
        break;
    }
    writer->failed = true;
}
