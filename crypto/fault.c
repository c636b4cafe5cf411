/*
 * OpenSSL explains a failure by a queue of codes. Only the reason's fixed text is used: other parts
 * of an entry may quote input.
 */
#include "crypto/fault.h"

#include <openssl/err.h>

bool pk_crypto_fault(pk_error *err, const char *what, const char *file, int line)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    bool memory = code != 0 && ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    ERR_clear_error();
    pk_error_set(err, memory ? PK_E_MEMORY : PK_E_INTERNAL, file, line, "%s failed", what);
    if (reason != NULL)
        pk_error_detail(err, "OpenSSL says: %s.", reason);
    return false;
}
