/*
 * Points between two steps that others can see (a file renamed, a transaction committed), at which
 * a test lets the process die as by kill -9. In builds for tests only (PK_TEST_KDF): elsewhere a
 * point is nothing, and no variable of the environment can end the process.
 *
 * PGKEEP_CRASH_AT=n      the nth point that is passed, counted from 1, is the last thing that
 * happens PGKEEP_CRASH_LIST=file the name of every point passed is appended to this file, one a
 * line
 *
 * A point's name says what has just been done. Any thread.
 */
#ifndef PK_BASE_CRASH_H
#define PK_BASE_CRASH_H

#ifdef PK_TEST_KDF
void pk_crash_point(const char *name);
#define PK_CRASH_POINT(name) pk_crash_point(name)
#else
#define PK_CRASH_POINT(name) ((void)0)
#endif

#endif
