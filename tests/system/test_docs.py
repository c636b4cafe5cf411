#!/usr/bin/env python3
"""The examples of the documentation, run. Every ```sql block of the pages below goes through pgkeep by
psql, in the order of the page, against a new PostgreSQL and a new keystore.

A block may begin with directives, one comment line each:

    -- database: sales      where it runs (else: postgres)
    -- user: boss           who runs it (else: postgres, the superuser)
    -- keystore: second     a keystore of that name instead of the page's first one, made when first named
    -- environment: A=b     a variable of psql's environment
    -- expect: 42710        the SQLSTATEs of its errors, in order (else: there must be none)

A ```text block right behind an ```sql block is what psql prints for it, where <words> stand for any
text and blanks and dashes count as one. /srv/pgkeep/keys stands for a directory that
keys.allowed_roots names.
"""

import contextlib
import os
import re

import pk
from pk import case, expect, expect_equal

ROOT = "/srv/pgkeep/keys"
PAGES = {  # and how many examples there must be at least, so that none gets lost
    "docs/statements/mssql.md": 23,
    "docs/statements/oceanbase.md": 15,
    "docs/statements/keystore.md": 8,
    "docs/compatibility.md": 5,
    "docs/security.md": 5,
}
DIRECTIVE = re.compile(r"-- (database|user|keystore|environment|expect): (.+)")


class Example:
    def __init__(self, page, line):
        self.where = f"{page}:{line}"
        self.database, self.user, self.keystore = "postgres", "postgres", "first"
        self.environment = self.expect = ""
        self.sql = []
        self.output = None

    def add(self, line):
        """A line of the block: a directive as long as no SQL was seen."""
        found = DIRECTIVE.fullmatch(line)
        if found and not self.sql:
            setattr(self, found[1], found[2])
        else:
            self.sql.append(line)


def fences(text):
    """The fenced blocks: (line of the opening fence, its language, its lines, line behind it)."""
    language, start, block = None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                language, start, block = line[3:].strip(), number, []
            else:
                yield start, language, block, number + 1
                language = None
        elif language is not None:
            block.append(line)
    expect(language is None, f"the fence of line {start} is never closed")


def examples_of(page, text):
    examples, last_end = [], None
    for start, language, block, behind in fences(text):
        if language == "sql":
            example = Example(page, start)
            for line in block:
                example.add(line)
            examples.append(example)
        elif language == "text" and last_end is not None and start <= last_end + 1:
            examples[-1].output = block
        last_end = behind if language == "sql" else None
    return examples


def normal(line):
    """Blanks and dashes vary with the width of values; the SQLSTATE is looked at elsewhere."""
    line = re.sub(r"^(NOTICE|WARNING|INFO|ERROR|FATAL):  [0-9A-Z]{5}: ", r"\1:  ", line)
    return re.sub(r"-{2,}", "--", re.sub(r"\s+", " ", line)).strip()


def matches(wanted, got):
    parts = re.split(r"<[a-z0-9 ]+>", normal(wanted))
    return re.fullmatch(".+".join(re.escape(part) for part in parts), normal(got)) is not None


def check_output(example, done, root):
    got = [line for line in (done.err + done.out).splitlines()
           if line.strip() and not line.startswith("LOCATION:")]
    wanted = [line.replace(ROOT, root) for line in example.output if line.strip()]
    same = len(got) == len(wanted) and all(matches(w, g) for w, g in zip(wanted, got))
    expect(same, f"{example.where}: psql prints something else", "\n".join(["", *wanted]), "\n".join(["", *got]))


@contextlib.contextmanager
def stage():
    """A server, and keystores by name."""
    with pk.temporary_directory() as directory, contextlib.ExitStack() as stack:
        root = os.path.join(directory, "keys")
        os.mkdir(root, 0o700)
        server = stack.enter_context(pk.Postgres(directory))
        keepers = {}

        def keeper(name):
            if name not in keepers:
                keepers[name] = stack.enter_context(pk.Pgkeep(directory, server, roots=[root], name=f"pgkeep-{name}"))
            return keepers[name]

        yield root, keeper


def run(example, root, keeper):
    text = "\n".join(example.sql).replace(ROOT, root) + "\n"
    environment = dict(part.split("=", 1) for part in example.environment.split())
    done = keeper(example.keystore).sql(text, example.database, example.user, env=environment)
    expect_equal(done.states("ERROR", "FATAL"), example.expect.split(),
                 f"{example.where}: SQLSTATEs of\n{text}\n{done.err}")
    if example.output is not None:
        check_output(example, done, root)


def add_page(page, least):
    @case(f"the examples of {page} do what the page says")
    def test_page(_):
        with open(os.path.join(pk.options.source, page), encoding="utf-8") as file:
            examples = examples_of(page, file.read())
        expect(len(examples) >= least, f"{page} has {len(examples)} examples, at least {least} were expected")
        with stage() as (root, keeper):
            for example in examples:
                run(example, root, keeper)


for name, count in PAGES.items():
    add_page(name, count)


# --- the pages themselves -----------------------------------------------------------------------


def own_pages():
    """Every page of the project, as (path within the tree, text)."""
    for folder in ("", "docs", "docs/statements", "docs/formats", "docs/decisions"):
        directory = os.path.join(pk.options.source, folder)
        for entry in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            if entry.endswith(".md"):
                with open(os.path.join(directory, entry), encoding="utf-8") as file:
                    yield os.path.join(folder, entry), file.read()


@case("every link from page to page leads somewhere")
def test_links(_):
    links = 0
    for page, text in own_pages():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" in target:
                continue
            links += 1
            path = os.path.join(pk.options.source, os.path.dirname(page), target)
            expect(os.path.exists(path), f"{page} links to {target}, which does not exist")
    expect(links > 10, f"only {links} links were found")


@case("a setting that a page names is one of options.def")
def test_settings(_):
    with open(os.path.join(pk.options.source, "proxy/options.def"), encoding="utf-8") as file:
        known = set(re.findall(r'^OPTION\(\w+, "([a-z_.]+)"', file.read(), re.M))
    sections = {name.split(".")[0] for name in known if "." in name}
    named = 0
    for page, text in own_pages():
        for section, key in re.findall(r"`([a-z]+)\.([a-z_]+)[`=]", text):
            if section in sections and key not in ("c", "h", "db", "md"):  # names of files
                named += 1
                expect(f"{section}.{key}" in known, f"{page} names the setting {section}.{key}, which does not exist")
    expect(named > 5, f"only {named} settings were found")


@case("the reader of these pages sees a wrong example")
def test_can_fail(_):
    page = "```sql\n-- expect: 42601\nBACKUP\n```\n\n```text\nERROR:  a <thing> b\n```\n"
    (example,) = examples_of("page", page)
    expect_equal((example.expect, example.sql, example.output), ("42601", ["BACKUP"], ["ERROR:  a <thing> b"]), "read")
    expect(matches("ERROR:  a <thing> b", "ERROR:  42601: a c d b"), "a placeholder stands for any text")
    expect(not matches("ERROR:  a <thing> b", "ERROR:  42601: a c d"), "the rest does not")
    expect(not matches("NOTICE:  x", "WARNING:  01000: x"), "a severity is not another")


if __name__ == "__main__":
    pk.main()
