#!/usr/bin/env python3
"""The corpora of statements, sent through pgkeep to a real PostgreSQL. What the parser's own test decides
inside the process is seen here from outside: what is not ours reaches PostgreSQL unchanged and is answered
as it would be directly; what is ours never reaches it, whether it is built, not built yet or malformed."""

import contextlib
import os
import re

import pk
from pk import case, expect, expect_equal

# The families that are built; a statement of any other is claimed and answered 0A000 or, when it is
# malformed and the parser gets that far, 42601.
BUILT = {"tenant_key_backup", "tenant_key_restore", "smk_backup", "smk_restore", "dmk_create", "dmk_backup", "dmk_restore",
         "dmk_open", "dmk_close", "show_master_keys", "show_key_backups", "keystore_seal", "keystore_unseal",
         "keystore_show"}
KEY_FAMILIES = re.compile(
    r"(?is)^(?:\s|/\*.*?\*/)*(alter\s+system\s+backup\s+key|(backup|restore|alter)\s+(service\s+)?master\s+key"
    r"|backup\s+service\s+master|(create|open|close|drop)\s+master\s+key|(backup|restore)\s+symmetric\s+key)")


class Entry:
    def __init__(self, line, head, text):
        self.line = line
        self.text = text
        self.tags = dict(word.split("=", 1) for word in head.split() if re.match(r"(kind|multi|error|phase|ctx)=", word))

    def __str__(self):
        return f"line {self.line}: {self.text}"


def read_corpus(name):
    """What stands before the first separator is prose; the last newline of a statement is none of it."""
    path = os.path.join(pk.options.source, "tests", "vectors", "corpus", name)
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.read().split("\n")
    entries, head = [], None
    for number, line in enumerate(lines + ["--# end"], 1):
        if line.startswith("--#"):
            if head is not None:
                entries.append(Entry(start, head, "\n".join(body)))
            start, head, body = number, line[3:], []
        elif head is not None:
            body.append(line)
    if entries and entries[-1].text.endswith("\n"):
        entries[-1].text = entries[-1].text[:-1]
    return entries


class World:
    def __init__(self, server, keeper):
        self.server = server
        self.keeper = keeper


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server) as keeper:
            server.sql("create database tenant template template0")
            yield World(server, keeper)


def answer(port, entry, database="postgres", block=False):
    """The messages up to the end, or None for a session that was closed."""
    with pk.Wire(port, database) as wire:
        if block:
            wire.query("begin")
        wire.send(pk.query(entry.text))
        got = wire.until(b"Z")
        # COPY and the like would need more; nothing in the corpora does
        return got


def states(messages):
    return [pk.fields(body)["C"] for kind, body in messages if kind == b"E"]


def blank(messages):
    """What must be equal directly and through pgkeep."""
    return [(kind, body) for kind, body in messages if kind not in b"S"]


def in_log(text, log):
    """As a statement; PostgreSQL writes its further lines with a tab in front."""
    text = text.replace("\n", "\n\t")
    return f"statement: {text}" in log or f"STATEMENT:  {text}" in log


@case("the corpora are there and hold what they should")
def test_there(world):
    accept, reject = read_corpus("accept.sql"), read_corpus("reject.sql")
    expect(len(accept) > 120 and len(reject) > 80, "number of entries", len(accept), len(reject))
    expect(sum("kind" in e.tags and e.tags["kind"] == "passthrough" for e in accept) >= 15, "passthrough entries")
    expect(all("error" in e.tags for e in reject), "a reject entry without error=")


@case("passthrough entries reach PostgreSQL byte for byte and are answered as directly")
def test_passthrough(world):
    for entry in read_corpus("accept.sql"):
        if entry.tags.get("kind") != "passthrough":
            continue
        world.server.sql("drop table if exists backup; drop server if exists master; reset all")
        direct = answer(world.server.port, entry)
        world.server.sql("drop table if exists backup; drop server if exists master")
        mark = len(world.server.log())
        through = answer(world.keeper.port, entry)
        expect_equal(blank(through), blank(direct), f"answer to {entry}")
        pk.wait_until(lambda: in_log(entry.text, world.server.log()[mark:]), f"in PostgreSQL's log: {entry}", 10)


@case("entries that are ours never reach PostgreSQL, and are answered by their outcome")
def test_accept(world):
    for entry in read_corpus("accept.sql"):
        kind = entry.tags.get("kind")
        if kind in (None, "passthrough"):
            continue
        mark = len(world.server.log())
        got = states(answer(world.keeper.port, entry))
        if "$1" in entry.text:
            wanted = ("42P02",) if kind in BUILT else ("0A000", "42P02")
        elif kind in BUILT:
            # parsed: what is answered now is about paths, rights and keys, never about grammar
            elsewhere = re.search(r"'(s3|gs|https)://", entry.text)
            expect("42601" not in got and ("0A000" not in got or elsewhere), f"{got} for {entry}")
            wanted = None
        else:
            wanted = ("0A000",)
        expect(wanted is None or (len(got) == 1 and got[0] in wanted), f"{got} where {wanted} was wanted: {entry}")
        expect(not in_log(entry.text.strip(), world.server.log()[mark:]), f"PostgreSQL saw {entry}")


@case("strings of several statements: mixed ones are refused as a whole, ours only are answered by pgkeep")
def test_multi(world):
    for entry in read_corpus("accept.sql"):
        if "multi" not in entry.tags:
            continue
        mark = len(world.server.log())
        got = answer(world.keeper.port, entry)
        parts = set(entry.tags["multi"].split(","))
        # of ours alone the first is answered; here its password does not open the key
        expect_equal(states(got), ["28P01" if parts <= BUILT else "0A000"], f"answer to {entry}")
        expect_equal(pk.tags(got), [], f"something ran of {entry}")
        expect(not in_log(entry.text.strip(), world.server.log()[mark:]), f"PostgreSQL saw {entry}")


@case("malformed entries of the built families fail with their SQLSTATE and position; none reaches PostgreSQL")
def test_reject(world):
    for entry in read_corpus("reject.sql"):
        mark = len(world.server.log())
        ctx = entry.tags.get("ctx")
        got = answer(world.keeper.port, entry, "tenant" if ctx == "tenant" else "postgres", ctx == "txn")
        wanted = {entry.tags["error"]}
        if not KEY_FAMILIES.match(entry.text):
            wanted |= {"0A000", "42601"}  # a family that is not built
        found = states(got)
        expect(len(found) == 1 and found[0] in wanted, f"{found} where {wanted} was wanted: {entry}")
        if entry.tags["phase"] == "parse" and found[0] == "42601":
            (fault,) = [pk.fields(body) for kind, body in got if kind == b"E"]
            expect(1 <= int(fault.get("P", 0)) <= len(entry.text) + 1, f"position of {entry}", fault)
        expect(not in_log(entry.text.strip(), world.server.log()[mark:]), f"PostgreSQL saw {entry}")


@case("control: PostgreSQL itself would have logged every malformed entry")
def test_control(world):
    entry = next(e for e in read_corpus("reject.sql") if e.tags["error"] == "42601")
    mark = len(world.server.log())
    expect_equal(states(answer(world.server.port, entry)), ["42601"], "PostgreSQL refuses it")
    pk.wait_until(lambda: in_log(entry.text, world.server.log()[mark:]), "PostgreSQL logs what it refuses", 10)


if __name__ == "__main__":
    pk.main(world)
