/*
 * What several tests of base/ do with the C library's allocator: the linker sends the calls of the
 * code under test here (--wrap), so that the nth allocation can fail and a freed block can be
 * searched for what must have been wiped. One test program, one thread.
 */
#ifndef PK_TESTS_UNIT_BASE_WRAP_H
#define PK_TESTS_UNIT_BASE_WRAP_H

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The linker's names begin with two underscores, which C keeps for itself; hence the labels. */
#define WRAPPED(function) __asm__("__wrap_" #function)
#define REAL(function)    __asm__("__real_" #function)

void *real_malloc(size_t size) REAL(malloc);
void *wrapped_malloc(size_t size) WRAPPED(malloc);
void *real_calloc(size_t count, size_t size) REAL(calloc);
void *wrapped_calloc(size_t count, size_t size) WRAPPED(calloc);
void real_free(void *block) REAL(free);
void wrapped_free(void *block) WRAPPED(free);

/* 0: none fails; n: the nth from now. */
static int failing_allocation;
/* Never in a freed block once set; how often it was. */
static const char *canary;
static int canaries_freed;

static inline bool allocation_fails(void)
{
    return failing_allocation > 0 && --failing_allocation == 0;
}

static inline void look_for_canary(void *block)
{
    if (block != NULL && canary != NULL &&
        memmem(block, malloc_usable_size(block), canary, strlen(canary)) != NULL)
        canaries_freed++;
}

#endif
