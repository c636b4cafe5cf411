/*
 * The life of a request object. Its arena is wiped when it goes: the client's text, and with it
 * every password that was typed, does not outlive the answer.
 */
#include "engine/request.h"

pk_request *pk_request_new(void)
{
    pk_request *request = pk_new(pk_request);
    request->arena = PK_ARENA_MAX(PK_REQUEST_MAX);
    atomic_init(&request->canceled, false);
    return request;
}

void pk_request_free(pk_request *request)
{
    if (request == NULL)
        return;
    for (size_t i = 0; i < request->result_count; i++)
        pk_result_free(request->results[i]);
    pk_arena_clear(&request->arena);
    pk_free(request);
}
