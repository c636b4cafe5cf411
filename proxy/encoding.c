/*
 * PostgreSQL's names (pg_enc2name_tbl) to iconv's. Where glibc has a vendor superset that matches
 * PostgreSQL's tables better (CP932 for SJIS and so on) that one is used. glibc converts through an
 * intermediate buffer of its own, which would keep a copy of a password: a run of letters is sent
 * through the same descriptor afterwards.
 */
#include "proxy/encoding.h"

#include <errno.h>
#include <iconv.h>
#include <strings.h>

static const struct {
    const char *name, *iconv;
} encodings[] = {
    {"EUC_JP", "EUC-JP-MS"},
    {"EUC_CN", "GB2312"},
    {"EUC_KR", "EUC-KR"},
    {"EUC_TW", "EUC-TW"},
    {"EUC_JIS_2004", "EUC-JISX0213"},
    {"LATIN1", "ISO-8859-1"},
    {"LATIN2", "ISO-8859-2"},
    {"LATIN3", "ISO-8859-3"},
    {"LATIN4", "ISO-8859-4"},
    {"LATIN5", "ISO-8859-9"},
    {"LATIN6", "ISO-8859-10"},
    {"LATIN7", "ISO-8859-13"},
    {"LATIN8", "ISO-8859-14"},
    {"LATIN9", "ISO-8859-15"},
    {"LATIN10", "ISO-8859-16"},
    {"ISO_8859_5", "ISO-8859-5"},
    {"ISO_8859_6", "ISO-8859-6"},
    {"ISO_8859_7", "ISO-8859-7"},
    {"ISO_8859_8", "ISO-8859-8"},
    {"WIN1256", "CP1256"},
    {"WIN1258", "CP1258"},
    {"WIN866", "CP866"},
    {"WIN874", "CP874"},
    {"KOI8R", "KOI8-R"},
    {"KOI8U", "KOI8-U"},
    {"WIN1250", "CP1250"},
    {"WIN1251", "CP1251"},
    {"WIN1252", "CP1252"},
    {"WIN1253", "CP1253"},
    {"WIN1254", "CP1254"},
    {"WIN1255", "CP1255"},
    {"WIN1257", "CP1257"},
    {"SJIS", "CP932"},
    {"SHIFT_JIS_2004", "SHIFT_JISX0213"},
    {"BIG5", "CP950"},
    {"GBK", "CP936"},
    {"UHC", "CP949"},
    {"GB18030", "GB18030"},
    {"JOHAB", "JOHAB"},
};

static const char *iconv_name(const char *encoding)
{
    for (size_t i = 0; i < PK_COUNT(encodings); i++)
        if (strcasecmp(encodings[i].name, encoding) == 0)
            return encodings[i].iconv;
    return NULL;
}

static bool is_ascii(pk_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] >= 0x80)
            return false;
    return true;
}

bool pk_encoding_is_plain(const char *encoding, pk_span text)
{
    return strcasecmp(encoding, "UTF8") == 0 || strcasecmp(encoding, "SQL_ASCII") == 0 ||
           is_ascii(text);
}

/* One call of iconv with room for what it may need. False with errno as iconv left it. */
static bool convert_some(iconv_t cd, pk_span *text, pk_buf *out)
{
    if (!pk_buf_reserve(out, text->len * 2 + 16, NULL)) {
        errno = ENOMEM;
        return false;
    }
    char *from = (char *)(uintptr_t)text->ptr; /* iconv does not write there */
    char *to = pk_buf_tail(out);
    size_t room = text->len * 2 + 16;
    size_t left = text->len;
    size_t rc = iconv(cd, &from, &left, &to, &room);
    pk_buf_filled(out, (size_t)(to - pk_buf_tail(out)));
    *text = (pk_span){from, left};
    return rc != (size_t)-1;
}

static void overwrite_its_buffer(iconv_t cd)
{
    char letters[4096];
    char out[4 * sizeof letters];
    memset(letters, 'x', sizeof letters);
    for (int i = 0; i < 8; i++) {
        char *from = letters;
        char *to = out;
        size_t left = sizeof letters;
        size_t room = sizeof out;
        if (iconv(cd, &from, &left, &to, &room) == (size_t)-1)
            break;
    }
}

pk_encoding_result pk_encoding_to_utf8(const char *encoding, pk_span text, bool cut, pk_buf *out)
{
    const char *name = iconv_name(encoding);
    iconv_t cd = name == NULL ? (iconv_t)-1 : iconv_open("UTF-8", name);
    if (cd == (iconv_t)-1)
        return PK_ENCODING_UNKNOWN;
    bool ok = true;
    while (ok && text.len > 0) {
        ok = convert_some(cd, &text, out) || errno == E2BIG;
        if (!ok && errno == EINVAL && cut) {
            ok = true; /* only the beginning of a character is left */
            break;
        }
    }
    int why = errno;
    overwrite_its_buffer(cd);
    (void)iconv_close(cd);
    if (ok)
        return PK_ENCODING_OK;
    return why == ENOMEM ? PK_ENCODING_NO_ROOM : PK_ENCODING_BAD;
}

/* Steps over one UTF-8 character that has no counterpart. */
static bool put_question_mark(pk_span *text, pk_buf *out, pk_error *err)
{
    size_t len = 1;
    while (len < text->len && ((unsigned char)text->ptr[len] & 0xc0) == 0x80)
        len++;
    *text = (pk_span){text->ptr + len, text->len - len};
    return pk_buf_append(out, "?", 1, err);
}

static bool keep_ascii(pk_span text, pk_buf *out, pk_error *err)
{
    while (text.len > 0) {
        if ((unsigned char)text.ptr[0] >= 0x80) {
            if (!put_question_mark(&text, out, err))
                return false;
            continue;
        }
        if (!pk_buf_append(out, text.ptr, 1, err))
            return false;
        text = (pk_span){text.ptr + 1, text.len - 1};
    }
    return true;
}

bool pk_encoding_from_utf8(const char *encoding, pk_span text, pk_buf *out, pk_error *err)
{
    if (pk_encoding_is_plain(encoding, text))
        return pk_buf_append_span(out, text, err);
    const char *name = iconv_name(encoding);
    iconv_t cd = name == NULL ? (iconv_t)-1 : iconv_open(name, "UTF-8");
    if (cd == (iconv_t)-1)
        return keep_ascii(text, out, err);
    bool ok = true;
    while (ok && text.len > 0) {
        if (convert_some(cd, &text, out) || errno == E2BIG)
            continue;
        ok = errno == ENOMEM ? pk_fail(err, PK_E_MEMORY, "out of memory")
                             : put_question_mark(&text, out, err);
    }
    (void)iconv_close(cd);
    return ok;
}
