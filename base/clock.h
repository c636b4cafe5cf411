/*
 * Time, handed in, so that a test can decide what it is. Any thread may read a clock.
 */
#ifndef PK_BASE_CLOCK_H
#define PK_BASE_CLOCK_H

#include "base/defs.h"

typedef struct pk_clock pk_clock;
struct pk_clock {
    /* Microseconds since 1970-01-01 00:00:00 UTC. */
    int64_t (*wall_us)(const pk_clock *clock);
    /* Microseconds since some moment; never goes back. */
    int64_t (*mono_us)(const pk_clock *clock);
};

/* The machine's own. */
extern const pk_clock pk_clock_system;

/* "2026-03-01T02:03:04Z" and "20260301T020304Z" of a wall time (seconds, UTC). */
void pk_time_iso(int64_t wall_us, char out[static 21]);
void pk_time_compact(int64_t wall_us, char out[static 17]);
/* "2026-03-01 02:03:04.567891+00": PostgreSQL's text form of timestamptz at UTC. */
void pk_time_timestamptz(int64_t wall_us, char out[static 33]);

#endif
