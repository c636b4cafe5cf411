/*
 * A URI taken apart: scheme, authority, path and parameters as spans of the text, still
 * percent-encoded. Which parameters are secret is decided here, by an allow-list of those that are
 * not (keys-and-security 9.3): everything else is redacted.
 */
#ifndef PK_BASE_URI_H
#define PK_BASE_URI_H

#include "base/arena.h"
#include "base/buf.h"

#define PK_URI_PARAMETERS 32

typedef struct pk_uri {
    pk_span scheme;    /* as written; compare without case */
    pk_span authority; /* between // and the next /, userinfo not taken apart */
    pk_span path;      /* with its leading /; "" if absent */
    size_t count;
    struct {
        pk_span name, value;
    } parameters[PK_URI_PARAMETERS];
} pk_uri;

/* 22023: no scheme, no "//", control characters or blanks, a bad escape, a '#', too many
 * parameters. The message never repeats the text. */
bool pk_uri_parse(pk_span text, pk_uri *uri, pk_error *err) PK_MUST_USE;
/* Does the text begin with `scheme://`? */
bool pk_uri_has_scheme(pk_span text);
/* The text without what could be a secret: userinfo, parameters off the allow-list, tokens of
 * pre-authenticated URLs (/p/<token>/n/). A text that cannot be parsed becomes '******'. */
bool pk_uri_redact(pk_span text, pk_buf *out, pk_error *err) PK_MUST_USE;
/* A plain path by the same rules: as it is, or "/redacted" if parameters or user:password@host have
 * slipped in. So the length of what is shown may differ. */
bool pk_path_redact(pk_span path, pk_buf *out, pk_error *err) PK_MUST_USE;

#endif
