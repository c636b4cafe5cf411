/*
 * Whose certificate is this? libpq's rules (fe-secure-common.c and fe-secure-openssl.c of
 * PostgreSQL 15) and not OpenSSL's X509_check_host, which differ where it matters to people who
 * move a setting over: "*.internal" is a wildcard here, an address may stand in the common name or
 * be written as a dNSName, and a common name counts if there is no alternative name of the host's
 * own kind.
 *
 * One thing is stricter: a wildcard never covers a part of an address.
 */
#include "proxy/tls_context.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>

typedef enum verdict { NO, YES, BAD_NAME } verdict;

typedef struct name_search {
    const char *host;
    bool is_address;
    char first[128]; /* the first name seen, for the error */
    int names;
} name_search;

/* As it stands in a certificate. inet_aton: libpq takes an address as short as "127.1". */
static size_t read_address(const char *host, unsigned char address[static 16])
{
    struct in_addr four;
    if (inet_pton(AF_INET6, host, address) == 1)
        return 16;
    if (inet_aton(host, &four) == 0)
        return 0;
    memcpy(address, &four, sizeof four);
    return sizeof four;
}

bool pk_tls_is_address(const char *host)
{
    unsigned char address[16];
    return read_address(host, address) > 0;
}

/* "*.x.y" stands for exactly one label. */
static bool matches_wildcard(pk_span pattern, const char *host)
{
    const char *dot = strchr(host, '.');
    return pattern.len >= 3 && pattern.ptr[0] == '*' && pattern.ptr[1] == '.' && dot != NULL &&
           dot != host &&
           pk_span_equal_nocase(pk_span_bytes(pattern.ptr + 1, pattern.len - 1), pk_span_of(dot));
}

static void note_name(name_search *search, pk_span name)
{
    if (search->names++ == 0)
        (void)snprintf(search->first, sizeof search->first, "%.*s", PK_SPAN_ARG(name));
}

/* A zero byte would let "db.example\0.evil.example" pass for db.example (CVE-2009-4034). */
static verdict compare_name(name_search *search, const ASN1_STRING *string)
{
    const pk_span name =
        pk_span_bytes(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
    note_name(search, name);
    if (name.len > 0 && memchr(name.ptr, 0, name.len) != NULL)
        return BAD_NAME;
    if (pk_span_equal_nocase(name, pk_span_of(search->host)))
        return YES;
    return !search->is_address && matches_wildcard(name, search->host) ? YES : NO;
}

static verdict compare_address(name_search *search, const ASN1_STRING *string)
{
    unsigned char host[16];
    char text[INET6_ADDRSTRLEN] = "";
    const pk_span address =
        pk_span_bytes(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
    if (address.len != 4 && address.len != 16)
        return BAD_NAME;
    (void)inet_ntop(address.len == 4 ? AF_INET : AF_INET6, address.ptr, text, sizeof text);
    note_name(search, pk_span_of(text));
    const size_t len = read_address(search->host, host);
    return pk_span_equal(address, pk_span_bytes(host, len)) ? YES : NO;
}

static verdict search_alternatives(name_search *search, const GENERAL_NAMES *names, bool *same_kind)
{
    verdict found = NO;
    for (int i = 0; found == NO && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == (search->is_address ? GEN_IPADD : GEN_DNS))
            *same_kind = true;
        if (name->type == GEN_DNS)
            found = compare_name(search, name->d.dNSName);
        else if (name->type == GEN_IPADD)
            found = compare_address(search, name->d.iPAddress);
    }
    return found;
}

static verdict search_subject(name_search *search, const X509_NAME *subject)
{
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    return at < 0
               ? NO
               : compare_name(search, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static verdict search_all(name_search *search, const X509 *cert)
{
    bool same_kind = false;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const verdict found = search_alternatives(search, names, &same_kind);
    GENERAL_NAMES_free(names);
    pk_tls_forget();
    return found != NO || same_kind ? found : search_subject(search, X509_get_subject_name(cert));
}

bool pk_tls_check_host(const X509 *cert, const char *host, pk_error *err)
{
    name_search search = {.host = host, .is_address = pk_tls_is_address(host)};
    const verdict found = cert == NULL ? NO : search_all(&search, cert);
    if (found == YES)
        return true;
    if (found == BAD_NAME)
        return pk_fail(err, PK_E_NOT_ALLOWED,
                       "SSL certificate's name contains embedded null or an address of invalid "
                       "length");
    if (search.names == 0)
        return pk_fail(err, PK_E_NOT_ALLOWED,
                       "could not get server's host name from server certificate");
    if (search.names == 1)
        return pk_fail(err, PK_E_NOT_ALLOWED,
                       "server certificate for \"%s\" does not match host name \"%.100s\"",
                       search.first, host);
    return pk_fail(
        err, PK_E_NOT_ALLOWED,
        "server certificate for \"%.80s\" (and %d other name%s) does not match host name "
        "\"%.100s\"",
        search.first, search.names - 1, search.names == 2 ? "" : "s", host);
}
