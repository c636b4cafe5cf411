/*
 * Reads and makes root.key. The bytes pass through buffers that wipe themselves and end in a
 * pk_secret; the file's mode and owner are checked before it is read, which in a directory
 * that only our user can write to is as good as on the open descriptor.
 */
#include "engine/slot_file.h"

#include "base/buf.h"
#include "base/encode.h"
#include "base/newfile.h"
#include "crypto/random.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX_LEN (2 * (size_t)PK_KEY_LEN)

static bool check_private(int state_dir, pk_error *err)
{
    struct stat st;
    if (fstatat(state_dir, PK_SLOT_FILE_NAME, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        const char *state = errno == ENOENT ? PK_E_UNDEFINED_FILE : PK_E_IO;
        return pk_fail(err, state, "could not open root secret \"" PK_SLOT_FILE_NAME "\": %s",
                       pk_errno_text(errno));
    }
    if (S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 &&
        (st.st_uid == geteuid() || st.st_uid == 0))
        return true;
    pk_fail(err, PK_E_PRIVILEGE, "root secret \"" PK_SLOT_FILE_NAME "\" is not private");
    return pk_error_hint(
        err, "It must be a regular file with mode 0600 or 0400, owned by pgkeep's user or root.");
}

static pk_secret *decode(pk_span text, pk_error *err)
{
    if (text.len == PK_KEY_LEN)
        return pk_secret_new(text.ptr, text.len, err);
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    uint8_t bytes[PK_KEY_LEN];
    if (text.len != 2 * sizeof bytes || !pk_unhex(text, bytes, sizeof bytes)) {
        pk_fail(err, PK_E_CORRUPT,
                "root secret \"" PK_SLOT_FILE_NAME "\" is not 32 bytes or 64 hex digits");
        return NULL;
    }
    pk_secret *secret = pk_secret_new(bytes, sizeof bytes, err);
    pk_wipe(bytes, sizeof bytes);
    return secret;
}

pk_secret *pk_slot_file_read(int state_dir, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_SECRET(256);
    if (!check_private(state_dir, err) || !pk_file_read(state_dir, PK_SLOT_FILE_NAME, &text, err))
        return NULL;
    return decode(pk_buf_span(&text), err);
}

static bool write_hex(int state_dir, const char *hex, size_t len, pk_error *err)
{
    PK_AUTO(pk_newfile_abort) pk_newfile file = PK_NEWFILE_INIT;
    pk_span text = pk_span_bytes(hex, len);
    return pk_newfile_create(&file, state_dir, PK_SLOT_FILE_NAME, err) &&
           pk_newfile_write(&file, text, err) && pk_newfile_commit(&file, text, err);
}

pk_secret *pk_slot_file_create(int state_dir, pk_error *err)
{
    uint8_t bytes[PK_KEY_LEN];
    char hex[HEX_LEN + 2];
    pk_secret *secret = NULL;
    if (pk_random(bytes, sizeof bytes, err)) {
        pk_hex(bytes, sizeof bytes, hex);
        hex[HEX_LEN] = '\n';
        if (write_hex(state_dir, hex, HEX_LEN + 1, err))
            secret = pk_secret_new(bytes, sizeof bytes, err);
    }
    pk_wipe(bytes, sizeof bytes);
    pk_wipe(hex, sizeof hex);
    return secret;
}
