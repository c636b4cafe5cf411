/*
 * Calls of the program under test that fail on order: the linker sends them here (--wrap), SQLite
 * through its own hooks. One family at a time is armed; its nth call fails, all others work.
 */
#ifndef PK_TESTS_NTH_FAILURE_H
#define PK_TESTS_NTH_FAILURE_H

#include <stdbool.h>

typedef enum pk_family {
    PK_FAIL_MEMORY,  /* malloc and calloc of buffers, arenas and JSON; not of what must not fail */
    PK_FAIL_SECRETS, /* OpenSSL's secure heap */
    PK_FAIL_SQLITE,  /* SQLite's memory */
    PK_FAIL_WRITE,   /* write, and SQLite's */
    PK_FAIL_SYNC,    /* fsync, and SQLite's */
    PK_FAIL_RENAME,  /* renameat2, linkat */
    PK_FAIL_CATALOG, /* a call of the catalog to its driver */
    PK_FAIL_FAMILIES
} pk_family;

/* Before SQLite's and OpenSSL's first use. */
void pk_nth_init(void);
/* The nth call from now on, counted from 1, fails; 0: none does. */
void pk_nth_arm(pk_family family, long nth);
/* Disarms; did the armed call come? */
bool pk_nth_fired(void);
/* What pk_secret_random has made since pk_nth_arm, as it lies masked in this program's own memory:
 * how often it is found in the rest of what the process can write. */
long pk_nth_secrets_left(void);
/* The same for a secret of the test's own, given byte by byte xor 0x5a. */
long pk_nth_find(const unsigned char *masked, unsigned long len);

#endif
