#!/usr/bin/env python3
"""The table of the folders: who may include whom, which file owns which library.

check_layers.py SOURCE_DIR lists every include that the table does not allow, every .c file that its
folder's CMakeLists.txt does not build, and every file named there that does not exist.
check_layers.py --self-test shows on small trees of its own that each rule turns red.
"""
import fnmatch
import pathlib
import re
import sys
import tempfile

MAY_INCLUDE = {
    "base": set(),
    "parser": {"base"},
    "crypto": {"base"},
    "storage": {"base", "crypto"},
    "backup": {"base", "crypto", "storage"},
    "engine": {"base", "parser", "crypto", "storage", "backup"},
    "proxy": {"base", "parser", "engine"},
    "cli": {"base", "engine", "proxy"},
}

# One owner per library: the header, and the files that may know it.
OWNERS = {
    "pg_query*": ["parser/lexer.c"],
    "sqlite3*": ["storage/catalog_sqlite.c"],
    "curl/*": ["storage/http_curl.c"],
    "libpq*": ["engine/authz.c", "storage/catalog_pg.c", "backup/*"],
    "zstd*": ["backup/*"],
    "uv.h": ["proxy/*"],
    "uv/*": ["proxy/*"],
    "openssl/*": ["crypto/*", "proxy/tls*"],
    "jansson*": ["base/json.h"],
    "ini.h": ["proxy/config.c"],
    "microhttpd.h": ["proxy/health.c"],
    "crypto/secret_bytes.h": ["crypto/*"],
}

TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def without_comments(text):
    return TOKEN.sub(lambda t: t[0] if t[0][0] == '"' else re.sub(r"[^\n]", " ", t[0]), text)


def fault_of(path, quote, header):
    """Why this file must not include this header; None if it may."""
    folder = path.split("/")[0]
    for pattern, owners in OWNERS.items():
        if fnmatch.fnmatch(header, pattern) and not any(fnmatch.fnmatch(path, o) for o in owners):
            return f"only {', '.join(owners)} may include {header}"
    target = header.split("/")[0] if "/" in header else None
    if target in MAY_INCLUDE and target != folder and target not in MAY_INCLUDE[folder]:
        return f"{folder}/ must not know {target}/ ({header})"
    if quote == '"' and target not in MAY_INCLUDE:
        return f'our headers are included with their folder, others as <..>: "{header}"'
    return None


def check_includes(root, folder):
    for file in sorted((root / folder).rglob("*.[ch]")):
        path = file.relative_to(root).as_posix()
        text = without_comments(file.read_text(encoding="utf-8"))
        for found in INCLUDE.finditer(text):
            fault = fault_of(path, found[1], found[2])
            if fault:
                yield f"{path}:{text.count(chr(10), 0, found.start(2)) + 1}: {fault}"


def check_listed(root, folder):
    listing = root / folder / "CMakeLists.txt"
    text = listing.read_text(encoding="utf-8") if listing.exists() else ""
    lines = [line.split("#")[0] for line in text.splitlines()]
    listed = {}
    for number, line in enumerate(lines, 1):
        for name in re.findall(r"[^\s()\"]+\.c\b", line):
            if not name.startswith("${"):  # written by the build
                listed.setdefault(name, number)
    present = {f.relative_to(root / folder).as_posix() for f in (root / folder).rglob("*.c")}
    for name in sorted(present - listed.keys()):
        yield f"{folder}/{name}:1: not listed in {folder}/CMakeLists.txt"
    for name in sorted(listed.keys() - present):
        yield f"{folder}/CMakeLists.txt:{listed[name]}: {name} does not exist"


def check(root):
    faults = []
    for folder in MAY_INCLUDE:
        if (root / folder).is_dir():
            faults += [*check_includes(root, folder), *check_listed(root, folder)]
    return faults


# A file and its text, and the place that must be reported; None where all is well.
SELF_TESTS = [
    ("proxy/a.c", '#include "engine/engine.h"\n#include <uv.h>\n', None),
    ("proxy/a.c", '#include "base/buf.h"\n#include "crypto/secret.h"\n', "proxy/a.c:2"),
    ("proxy/a.c", '#include <storage/store.h>\n', "proxy/a.c:1"),
    ("proxy/a.h", '\n\n  #  include "storage/store.h"\n', "proxy/a.h:3"),
    ("base/a.c", '#include "parser/lexer.h"\n', "base/a.c:1"),
    ("parser/a.c", '#include "engine/engine.h"\n', "parser/a.c:1"),
    ("engine/a.c", '#include "proxy/wire.h"\n', "engine/a.c:1"),
    ("cli/a.c", '#include "crypto/kdf.h"\n', "cli/a.c:1"),
    ("engine/a.c", '#include "crypto/secret_bytes.h"\n', "engine/a.c:1"),
    ("crypto/a.c", '#include "crypto/secret_bytes.h"\n#include <openssl/evp.h>\n', None),
    ("storage/a.c", "#include <openssl/evp.h>\n", "storage/a.c:1"),
    ("proxy/stream.c", "#include <openssl/ssl.h>\n", "proxy/stream.c:1"),
    ("proxy/tls*", "#include <openssl/ssl.h>\n", None),
    ("engine/a.c", "#include <uv.h>\n", "engine/a.c:1"),
    ("parser/gate.c", "#include <pg_query.h>\n", "parser/gate.c:1"),
    ("parser/lexer.c", "#include <pg_query.h>\n", None),
    ("storage/catalog.c", "#include <sqlite3.h>\n", "storage/catalog.c:1"),
    ("engine/exec.c", "#include <libpq-fe.h>\n", "engine/exec.c:1"),
    ("backup/sink.c", "#include <libpq-fe.h>\n", None),
    ("crypto/jwk.c", "#include <jansson.h>\n", "crypto/jwk.c:1"),
    ("base/json.c", "#include <jansson.h>\n", "base/json.c:1"),
    ("proxy/a.c", "#include <ini.h>\n", "proxy/a.c:1"),
    ("base/a.c", '#include "a.h"\n', "base/a.c:1"),
    ("base/a.c", '/*\n#include "proxy/wire.h"\n*/\n// x\n', None),
    ("base/a.c", '#define X "/*"\n#include "proxy/wire.h"\n#define Y "*/"\n', "base/a.c:2"),
]


def reported(files):
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return check(root)


def self_test():
    cases = []
    for path, text, place in SELF_TESTS:
        folder, file = path.split("/")
        listing = f"pk_library({folder} {file})\n" if file.endswith(".c") else ""
        cases.append(({path: text, f"{folder}/CMakeLists.txt": listing}, place))
    cases.append(({"base/a.c": "", "base/CMakeLists.txt": "pk_library(base) # a.c\n"}, "base/a.c:1"))
    cases.append(({"base/a.c": ""}, "base/a.c:1"))
    cases.append(({"base/CMakeLists.txt": "pk_library(base\n  gone.c)\n"}, "base/CMakeLists.txt:2"))
    cases.append(({"base/CMakeLists.txt": "pk_library(base ${CMAKE_BINARY_DIR}/made.c)\n"}, None))
    failed = 0
    for files, place in cases:
        got = [fault.split(": ")[0] for fault in reported(files)]
        if got != ([place] if place else []):
            print(f"self-test: {files} gave {got}, not {place}")
            failed += 1
    print(f"self-test: {len(cases)} cases, {failed} failed")
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
    print("\n".join(faults) or "layers: nothing to report")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
