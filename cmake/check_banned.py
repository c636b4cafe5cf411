#!/usr/bin/env python3
"""Calls and words that CONTRIBUTING bans, and what to use instead.

check_banned.py SOURCE_DIR lists every use in our C files. Comments and strings do not count, except
that a comment must not put work off. A line may excuse itself where a rule says how.
check_banned.py --self-test shows on small files of its own that each rule turns red.
"""
import pathlib
import re
import sys
import tempfile

FOLDERS = ["base", "parser", "crypto", "storage", "backup", "engine", "proxy", "cli", "tests"]

CALL = r"(?<![\w.>])(?:%s)\s*\("
UNSAFE = re.compile(CALL % "strcpy|strcat|sprintf|vsprintf|strtok|atoi|system|gets")
ALLOCATION = re.compile(CALL % "malloc|calloc|realloc|reallocarray|free|strdup|strndup|v?asprintf")
ZEROING = re.compile(r"(?<![\w.>])(?:memset\s*\([^;]*?,\s*(?:0[xX]?0*|'\\0'|' *')\s*,|bzero\s*\()")
COMPARING = re.compile(CALL % "memcmp")
LOGGING = re.compile(r"\bpk_log_\w+\s*\([^;]*;")
SECRET_NAME = re.compile(r"\b\w*(?:password|secret|passphrase)\w*\b", re.IGNORECASE)
FORMATS_TEXT = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?s")
PUT_OFF = re.compile(r"\b(?:TODO|FIXME|XXX)\b")

TOKEN = re.compile(r"'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|//[^\n]*|/\*.*?\*/", re.DOTALL)


def blank(text, comments_too):
    """The text with the contents of strings, and perhaps comments, as blanks; same length."""

    def blanked(token):
        inner = re.sub(r"[^\n]", " ", token[0][1:-1])
        if token[0][0] in "\"'":
            return token[0][0] + inner + token[0][0]
        return re.sub(r"[^\n]", " ", token[0]) if comments_too else token[0]

    return TOKEN.sub(blanked, text)


def excused(text, found, words):
    """Does the statement at `found` say `words` in a comment on one of its lines?"""
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find(";", found.start())
    end = text.find("\n", max(end, found.end()))
    return words in text[start : end if end >= 0 else len(text)]


def faults_in(path, text):
    """Pairs of a position and what is wrong there."""
    code = blank(text, comments_too=True)
    commented = blank(text, comments_too=False)
    for found in UNSAFE.finditer(code):
        yield found, f"{found[0].rstrip('( ')} is banned"
    if not path.startswith(("base/", "tests/")):
        for found in ALLOCATION.finditer(code):
            yield found, f"{found[0].rstrip('( ')} outside base/: use pk_new, pk_buf or pk_arena"
    if path.startswith("crypto/"):
        for found in ZEROING.finditer(code):
            if not excused(commented, found, "not a wipe"):
                yield found, "use pk_wipe, or say /* not a wipe */"
        for found in COMPARING.finditer(code):
            if not excused(commented, found, "not secret"):
                yield found, "use pk_secret_equal, or say /* not secret */"
    for found in LOGGING.finditer(code):
        if FORMATS_TEXT.search(text[found.start() : found.end()]) and SECRET_NAME.search(found[0]):
            yield found, f"logs {SECRET_NAME.search(found[0])[0]}"
    for found in PUT_OFF.finditer(commented):
        yield found, f"{found[0]}: do it, or write down why not"


def check(root):
    faults = []
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.[ch]")):
            path = file.relative_to(root).as_posix()
            text = file.read_text(encoding="utf-8")
            for found, fault in faults_in(path, text):
                faults.append((path, text.count("\n", 0, found.start()) + 1, fault))
    return [f"{path}:{line}: {fault}" for path, line, fault in sorted(faults)]


# A file and its text, and the lines that must be reported.
SELF_TESTS = [
    ("base/a.c", "x = strcpy(a, b);\n", [1]),
    ("base/a.c", "\nstrcat (a, b);\nsprintf(a, b);\nvsprintf(a, b, c);\n", [2, 3, 4]),
    ("cli/a.c", "strtok(a, b);\natoi(a);\nsystem(a);\ngets(a);\n", [1, 2, 3, 4]),
    ("tests/unit/a.c", "strcpy(a, b);\nmalloc(1);\nfree(a);\n", [1]),
    ("base/a.c", "snprintf(a, 1, b);\nmy_system(a);\na->system(b);\na.system(c);\n", []),
    ("base/a.c", '/* strcpy(a, b) */ f("strcpy(a, b)"); // gets(x)\n', []),
    ("base/a.c", "f('\"');\nstrcpy(a, b);\ng('\"');\n", [2]),
    ("base/a.c", 'f("\\"");\nstrcpy(a, b);\n', [2]),
    ("base/a.c", "/* \" */\nstrcpy(a, b);\n/* \" */\n", [2]),
    ("base/a.c", "malloc(1);\nfree(a);\n", []),
    ("engine/a.c", "malloc(1);\ncalloc(1, 1);\nrealloc(a, 1);\nfree(a);\nstrdup(a);\n", [1, 2, 3, 4, 5]),
    ("engine/a.c", "pk_free(a);\nstore->free(a);\nvoid (*free)(void *);\n", []),
    ("crypto/a.c", "memset(a, 0, 1);\nmemset(b,\n       '\\0', 2);\n", [1, 2]),
    ("crypto/a.c", "memset(a, 0, 1); /* not a wipe */\nmemset(b, 0xff, 1);\n", []),
    ("crypto/a.c", "memset(a, 0,\n       1); /* not a wipe: a new block */\nmemset(b, 0, 1);\n", [3]),
    ("engine/a.c", "memset(a, 0, 1);\nmemcmp(a, b, 1);\n", []),
    ("crypto/a.c", "memcmp(a, b, 1);\n", [1]),
    ("crypto/a.c", "memcmp(a, b, 1); /* not secret: a magic */\n", []),
    ("crypto/a.c", 'memcmp(a, "not secret", 1);\n', [1]),
    ("proxy/a.c", 'pk_log_info("%s", stmt->password);\n', [1]),
    ("proxy/a.c", 'pk_log_debug("%.*s",\n             PK_SPAN_ARG(the_Passphrase));\n', [1]),
    ("proxy/a.c", 'pk_log_write(PK_LOG_INFO, "%-10s", secret_text);\n', [1]),
    ("proxy/a.c", 'pk_log_info("password of %s is weak", role);\n', []),
    ("proxy/a.c", 'pk_log_info("%zu bytes", pk_secret_len(s));\n', []),
    ("base/a.c", "/* TODO: later */\nint a; // FIXME\n/* XXX */\n", [1, 2, 3]),
    ("base/a.c", 'f("TODO");\nf("/tmp/x-XXXXXX");\n/* XX000, XXL */\n', []),
]


def self_test():
    failed = 0
    for path, text, lines in SELF_TESTS:
        with tempfile.TemporaryDirectory() as name:
            file = pathlib.Path(name) / path
            file.parent.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
            got = [int(fault.split(":")[1]) for fault in check(pathlib.Path(name))]
        if got != lines:
            print(f"self-test: {path} {text!r} gave lines {got}, not {lines}")
            failed += 1
    print(f"self-test: {len(SELF_TESTS)} cases, {failed} failed")
    return failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 1 if self_test() else 0
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    root = pathlib.Path(sys.argv[1])
    if not (root / "base").is_dir():
        print(f"{root} is not the source directory")
        return 2
    faults = check(root)
    print("\n".join(faults) or "banned: nothing to report")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
