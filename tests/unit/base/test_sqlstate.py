#!/usr/bin/env python3
"""Compares docs/errors.md with base/sqlstate.h, both ways: a code that only one of them knows is a
code that a user cannot look up, or one that is promised and never sent. Codes that the statement pages
name must exist as well. `--self-test` proves that each fault is found.
"""

import os
import re
import sys

STATE = r"[0-9A-Z]{5}"


def states_of_header(text):
    """Code -> meaning."""
    return dict(re.findall(rf'X\(PK_\w+, "({STATE})", "([^"]*)"\)', text))


def states_of_page(text):
    """The rows of the table, in order: (code, meaning)."""
    return re.findall(rf"(?m)^\| `({STATE})` \| ([^|]*?) \|", text)


def named_on(text):
    """Codes in backticks, as the tables of the statement pages write them, and those of `-- expect:`."""
    expected = " ".join(re.findall(r"(?m)^-- expect: (.+)$", text)).split()
    return {code for code in re.findall(rf"`({STATE})`", text) if re.search(r"\d", code)} | set(expected)


def compare(header, page, others):
    """All that is wrong, as lines."""
    known, listed = states_of_header(header), states_of_page(page)
    codes = [code for code, _ in listed]
    faults = []
    if len(known) < 10:
        faults.append(f"only {len(known)} codes were found in the header")
    faults += [f"{code} is in base/sqlstate.h, but not in docs/errors.md" for code in known if code not in codes]
    faults += [f"{code} is in docs/errors.md, but not in base/sqlstate.h" for code in codes if code not in known]
    faults += [f"{code} stands in docs/errors.md {codes.count(code)} times" for code in sorted(set(codes))
               if codes.count(code) > 1]
    faults += [f"{code}: docs/errors.md calls it \"{meaning}\", base/sqlstate.h \"{known[code]}\""
               for code, meaning in listed if code in known and meaning != known[code]]
    if codes != sorted(codes):
        faults.append("the rows of docs/errors.md are not sorted by code")
    for name, text in others:
        faults += [f"{name} names {code}, which is not in base/sqlstate.h" for code in sorted(named_on(text))
                   if code not in known]
    return faults


def self_test():
    codes = [f"{n:05d}" for n in range(10)]
    header = "".join(f'X(PK_{c}, "{c}", "m{c}")\n' for c in codes)
    page = "".join(f"| `{c}` | m{c} | text |\n" for c in codes)
    rows = [
        ("a clean pair", header, page, [("p", "| `00001` | x |")], None),
        ("a code missing in the page", header, page.replace("00003", "xxxxx"), [], "not in docs/errors.md"),
        ("a code missing in the header", header.replace("00003", "xxxxx"), page, [], "not in base/sqlstate.h"),
        ("a code twice", header, page + "| `00009` | m00009 | |\n", [], "2 times"),
        ("another meaning", header, page.replace("| m00004", "| other"), [], "calls it"),
        ("rows out of order", header, "".join(reversed(page.splitlines(True))), [], "not sorted"),
        ("an unknown code on a page", header, page, [("p", "| `0000A` | x |")], "p names 0000A"),
        ("an unknown expectation", header, page, [("p", "-- expect: 00001 0000B\n")], "p names 0000B"),
        ("an empty header", "", page, [], "only 0 codes"),
    ]
    wrong = 0
    for name, h, p, others, wanted in rows:
        faults = compare(h, p, others)
        good = not faults if wanted is None else any(wanted in fault for fault in faults)
        wrong += not good
        print(f"{'ok    ' if good else 'FAILED'}  {name}")
    return wrong


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def main():
    if "--self-test" in sys.argv:
        sys.exit(1 if self_test() else 0)
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
    folder = os.path.join(root, "docs/statements")
    others = [(name, read(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".md")]
    faults = compare(read(root, "base/sqlstate.h"), read(root, "docs/errors.md"), others)
    for fault in faults:
        print(fault)
    if not faults:
        print("docs/errors.md and base/sqlstate.h agree")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
