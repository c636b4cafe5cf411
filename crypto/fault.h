/*
 * A call of OpenSSL failed: one pk_error, and OpenSSL's queue of errors is empty again, so that the
 * next failure of this thread is not explained by this one. For this folder only. Any thread.
 */
#ifndef PK_CRYPTO_FAULT_H
#define PK_CRYPTO_FAULT_H

#include "base/error.h"

/* 53200 when OpenSSL ran out of memory (its secrets live in the secure heap too), else XX000.
 * False. */
#define pk_crypto_fail(err, what) pk_crypto_fault((err), (what), __FILE__, __LINE__)
bool pk_crypto_fault(pk_error *err, const char *what, const char *file, int line);

#endif
