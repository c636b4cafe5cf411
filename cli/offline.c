/*
 * A code that is shown and a slot that has it must both be there or neither: the place is made
 * first, then the slot, then the code is delivered; a delivery that fails takes the slot back. The
 * code never passes through stdio, whose buffers are not wiped.
 */
#include "cli/offline.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define SECRET_MAX 4096u

pk_keeper *pk_cli_keeper(const pk_config *config, bool alone, pk_error *err)
{
    const char *state = pk_config_text(config, PK_OPT_STATE_DIR);
    const char *expect = pk_config_text(config, PK_OPT_KEYSTORE_EXPECT);
    pk_keeper *running = pk_keeper_connect(state, err);
    if (running != NULL || !alone || !pk_error_is(err, PK_E_UNDEFINED_FILE))
        return running;
    const pk_keeper_options options = {
        .state_dir = state,
        .expect = expect[0] == '\0' ? NULL : expect,
        .unlock_timeout_ms = pk_config_seconds(config, PK_OPT_KEYSTORE_UNLOCK_TIMEOUT) * 1000,
    };
    pk_log_set_level(PK_LOG_ERROR); /* what is wrong is said once, as the verb's error */
    return pk_keeper_open(&options, &pk_clock_system, err);
}

pk_row_audit pk_cli_audit_row(char actor[static 32], const char *action, const char *object)
{
    (void)snprintf(actor, 32, "uid:%u", (unsigned)geteuid());
    return (pk_row_audit){.at = pk_clock_system.wall_us(&pk_clock_system),
                          .actor = actor,
                          .client = "command line",
                          .db = "",
                          .action = action,
                          .object = object,
                          .fp = "",
                          .outcome = "ok",
                          .sqlstate = PK_OK,
                          .text_redacted = ""};
}

/* Reading */

static bool write_all(int fd, pk_span text, pk_error *err)
{
    while (text.len > 0) {
        const ssize_t done = write(fd, text.ptr, text.len);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return pk_fail(err, PK_E_IO, "could not write: %s", pk_errno_text(errno));
        text = pk_span_bytes(text.ptr + done, text.len - (size_t)done);
    }
    return true;
}

static bool read_line(pk_buf *line, pk_error *err)
{
    for (;;) {
        char c = 0;
        const ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return pk_fail(err, PK_E_IO, "could not read: %s", pk_errno_text(errno));
        if (got == 0 || c == '\n')
            break;
        if (c != '\r' && !pk_buf_append(line, &c, 1, err))
            return false;
    }
    return pk_buf_span(line).len > 0 || pk_fail(err, PK_E_PARAMETER, "nothing was given");
}

/* Signals wait until the terminal echoes again. */
static bool read_quietly(const char *prompt, pk_buf *line, pk_error *err)
{
    struct termios before;
    sigset_t all;
    sigset_t mask;
    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return pk_fail(err, PK_E_IO, "could not ask on the terminal: %s", pk_errno_text(errno));
    struct termios quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &mask);
    bool ok = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0 &&
              write_all(STDERR_FILENO, pk_span_of(prompt), err) && read_line(line, err);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    (void)!write_all(STDERR_FILENO, PK_SPAN("\n"), NULL);
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return ok;
}

bool pk_cli_read_secret(const char *prompt, pk_buf *secret, pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf line = PK_BUF_SECRET(SECRET_MAX);
    const bool ok = isatty(STDIN_FILENO) ? read_quietly(prompt, &line, err) : read_line(&line, err);
    return ok && pk_buf_append_span(secret, pk_buf_span(&line), err);
}

/* Handing out */

bool pk_cli_code_open(pk_cli_code *code, const char *path, pk_error *err)
{
    char folder[PATH_MAX];
    *code = PK_CLI_CODE_INIT;
    code->path = path;
    if (path == NULL) {
        if (isatty(STDOUT_FILENO))
            return true;
        pk_fail(err, PK_E_STATE, "a recovery code is shown on a terminal only, or put into a file");
        return pk_error_hint(err, "Name a file that does not exist yet: --to FILE.");
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const size_t len = slash == NULL ? 0 : (size_t)(name - path);
    if (len >= sizeof folder)
        return pk_fail(err, PK_E_PARAMETER, "the file's path is too long");
    memcpy(folder, len == 0 ? "./" : path, len == 0 ? 2 : len);
    folder[len == 0 ? 2 : len] = '\0';
    code->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (code->dir < 0)
        return pk_fail(err, errno == ENOENT ? PK_E_UNDEFINED_FILE : PK_E_IO,
                       "could not open directory \"%s\": %s", folder, pk_errno_text(errno));
    return pk_newfile_create(&code->file, code->dir, name, err);
}

void pk_cli_code_close(pk_cli_code *code)
{
    pk_newfile_abort(&code->file);
    if (code->dir >= 0)
        (void)close(code->dir);
    code->dir = -1;
}

/* The file holds the code and nothing else: `pgkeep key unseal --recovery < FILE` reads it. */
static bool deliver(pk_cli_code *code, pk_buf *text, pk_error *err)
{
    if (code->path != NULL)
        return pk_buf_append_text(text, "\n", err) &&
               pk_newfile_write(&code->file, pk_buf_span(text), err) &&
               pk_newfile_commit(&code->file, pk_buf_span(text), err);
    return write_all(STDOUT_FILENO, PK_SPAN("\nrecovery code       "), err) &&
           write_all(STDOUT_FILENO, pk_buf_span(text), err) &&
           write_all(STDOUT_FILENO,
                     PK_SPAN("\n\nWrite it down and keep it away from this machine: with it and "
                             "keystore.db every key can\nbe had, and it is not shown again.\n"),
                     err);
}

/* Was the request refused, so that no slot can have come of it? */
static bool is_refusal(const pk_error *err)
{
    return !pk_error_is(err, PK_E_IO) && !pk_error_is(err, PK_E_CANCELED) &&
           !pk_error_is(err, PK_E_PROTOCOL);
}

/* What was handed out opens nothing, or nobody knows. */
static bool take_back(const pk_cli_code *code, pk_error *err)
{
    if (!is_refusal(err))
        return pk_error_hint(err,
                             "pgkeep key slots tells whether the slot of this code was added.");
    if (code->path == NULL)
        return pk_error_hint(err, "The code above opens nothing.");
    (void)unlinkat(code->dir, code->file.name, 0);
    return false;
}

bool pk_cli_code_make(pk_cli_code *code, pk_keeper *keeper, const char *label, int64_t *slot,
                      pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf text = PK_BUF_SECRET(SECRET_MAX);
    char actor[32];
    pk_row_audit audit = pk_cli_audit_row(actor, "ALTER KEYSTORE ADD SLOT", "recovery");
    if (!pk_keeper_new_code(&text, err))
        return false;
    const size_t len = pk_buf_span(&text).len;
    if (!deliver(code, &text, err))
        return false;
    const pk_slot_request wanted = {
        .kind = "recovery", .label = label, .secret = {pk_buf_span(&text).ptr, len}};
    return pk_keeper_add_slot(keeper, &wanted, &audit, NULL, slot, err) || take_back(code, err);
}
