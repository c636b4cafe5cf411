/*
 * What the client answers is signed together with the list of mechanisms it chose from, in one
 * letter (n, y, p) that cannot be edited. So a list can be shortened only for a client without TLS,
 * which says "n" or "y" and is right both times; on TLS at both ends nothing helps but the server's
 * own certificate at ours (docs/security.md).
 */
#include "proxy/auth.h"

#include "base/log.h"

#define CODE_LEN       (PK_WIRE_HEADER + 4)
#define CODE_CLEARTEXT 3u
#define CODE_SASL      10u
#define WITH_BINDING   "SCRAM-SHA-256-PLUS"

static bool binds_in_vain(const pk_session *session)
{
    return session->backend.tls != NULL && session->client.tls == NULL;
}

/* The server sees TLS, or a peer on its own host; the client sees neither. */
static bool is_deceived(const pk_session *session)
{
    const bool server_feels_safe =
        session->backend.tls != NULL || pk_address_is_local(&session->backend_at);
    return server_feels_safe && !pk_session_is_secure(session) &&
           !session->loop->settings->cleartext_passwords;
}

static uint32_t code_of(pk_span message)
{
    return pk_wire_u32(message.ptr + PK_WIRE_HEADER);
}

size_t pk_auth_look(const pk_session *session, pk_header header, pk_span bytes)
{
    if (session->state != PK_ST_LOGIN || header.size < CODE_LEN ||
        (!binds_in_vain(session) && !is_deceived(session)))
        return 0;
    if (bytes.len >= CODE_LEN && code_of(bytes) == CODE_SASL)
        return header.size;
    return CODE_LEN;
}

static pk_answer refuse_cleartext(pk_session *session)
{
    pk_error err;
    (void)pk_fail(&err, PK_E_NOT_ALLOWED,
                  "the server asks for the password in clear text, and the connection has no TLS");
    (void)pk_error_hint(&err, "Connect with sslmode=require. proxy.allow_cleartext_password = on "
                              "lets passwords pass in the clear.");
    pk_session_fatal(session, &err);
    return PK_ANSWER_SWALLOW;
}

/* The server offers nothing without. */
static pk_answer refuse_list(pk_session *session)
{
    pk_error err;
    (void)pk_fail(&err, PK_E_NOT_ALLOWED,
                  "the server demands channel binding, and the connection has no TLS");
    pk_session_fatal(session, &err);
    return PK_ANSWER_SWALLOW;
}

static pk_answer shorten_list(pk_session *session, pk_span message)
{
    PK_AUTO(pk_buf_clear) pk_buf out = PK_BUF_MAX(PK_WIRE_SHORT_MAX);
    pk_writer writer = {.out = &out};
    pk_reader reader = {.rest = {message.ptr + CODE_LEN, message.len - CODE_LEN}};
    unsigned left = 0;
    bool removed = false;
    pk_write_begin(&writer, 'R');
    pk_write_u32(&writer, CODE_SASL);
    for (pk_span name = pk_read_text(&reader); name.len > 0; name = pk_read_text(&reader)) {
        if (pk_span_equal(name, PK_SPAN(WITH_BINDING))) {
            removed = true;
            continue;
        }
        pk_write_text(&writer, name);
        left++;
    }
    pk_write_u8(&writer, 0);
    pk_write_end(&writer);
    if (reader.bad || writer.failed || !removed)
        return PK_ANSWER_FORWARD; /* not a list as we know them */
    if (left == 0)
        return refuse_list(session);
    pk_session_say(session, &out);
    return PK_ANSWER_SWALLOW;
}

pk_answer pk_auth_answer(pk_session *session, pk_header header, pk_span message)
{
    if (message.len < CODE_LEN || pk_auth_look(session, header, message) == 0)
        return PK_ANSWER_FORWARD;
    if (code_of(message) == CODE_CLEARTEXT && is_deceived(session))
        return refuse_cleartext(session);
    if (code_of(message) == CODE_SASL && binds_in_vain(session))
        return shorten_list(session, message);
    return PK_ANSWER_FORWARD;
}
