/*
 * The `file` unlock slot's secret: 32 random bytes, as 64 hex digits in `root.key` of the state
 * directory (mode 0600), or 32 raw bytes if somebody put them there (keys-and-security 2.1).
 * Whoever has this file and the catalog has every key. Blocking; any thread.
 */
#ifndef PK_ENGINE_SLOT_FILE_H
#define PK_ENGINE_SLOT_FILE_H

#include "crypto/secret.h"

#define PK_SLOT_FILE_NAME "root.key"

/* 58P01 absent; 42501 when others could read it; XX001 when it is not 32 bytes. */
pk_secret *pk_slot_file_read(int state_dir, pk_error *err) PK_MUST_USE;
/* Makes a new one; 58P02 if there is one. */
pk_secret *pk_slot_file_create(int state_dir, pk_error *err) PK_MUST_USE;

#endif
