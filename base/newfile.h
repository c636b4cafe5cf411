/*
 * A file that appears whole or not at all: written under a temporary name in the same directory,
 * synced, read back, renamed without replacing anything, directory synced. Aborting leaves no
 * trace. The directory is an open descriptor, so what was checked is what is used
 * (keys-and-security 7.6).
 */
#ifndef PK_BASE_NEWFILE_H
#define PK_BASE_NEWFILE_H

#include "base/error.h"
#include "base/span.h"

typedef struct pk_newfile {
    int dir;        /* borrowed */
    int fd;         /* -1 when nothing is open */
    char temp[64];  /* name while it is being written */
    char name[256]; /* name when done */
    uint64_t size;
} pk_newfile;

#define PK_NEWFILE_INIT ((pk_newfile){.dir = -1, .fd = -1})

/* Mode 0600. `name` is one path segment (22023 else). 58P02 if it exists already, 58030 otherwise.
 * `dir` is borrowed until commit or abort. */
bool pk_newfile_create(pk_newfile *file, int dir, const char *name, pk_error *err) PK_MUST_USE;
bool pk_newfile_write(pk_newfile *file, pk_span bytes, pk_error *err) PK_MUST_USE;
/* fsync, read back and compare with `expected` (all the bytes written), rename (58P02 if the name
 * was taken meanwhile), fsync the directory. On failure nothing stands under the final name. Closes
 * the file either way. */
bool pk_newfile_commit(pk_newfile *file, pk_span expected, pk_error *err) PK_MUST_USE;
/* Removes the temporary file. Fine after commit, or when nothing was created. */
void pk_newfile_abort(pk_newfile *file);

/* Removes what processes that were killed left in the directory: temporary names of files that
 * never got their final one. Only for a directory in which nobody else writes now. Returns how
 * many. */
size_t pk_newfile_sweep(int dir);

/* Reads a regular file whole, at most `max` bytes. 58P01 absent, 54000 too large, 58030 otherwise.
 * Does not follow a symbolic link in the last segment. */
struct pk_buf;
bool pk_file_read(int dir, const char *name, struct pk_buf *out, pk_error *err) PK_MUST_USE;

#endif
