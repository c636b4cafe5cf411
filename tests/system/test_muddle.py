#!/usr/bin/env python3
"""Sessions that send messages in any order: statements of pgkeep and others under the same few names, in pieces of
all sizes, with errors before, between and behind. Whatever they mean together, no claimed text and no value bound
to one may reach PostgreSQL's log, and the session must answer or end. The generator's seed is printed, so that a
failure can be repeated: PK_MUDDLE=SEED runs that one, PK_MUDDLES=N so many. COPY has scripts of its own in
tests/wire."""

import contextlib
import os
import random
import re
import socket

import pk
from pk import case, expect

COUNT = int(os.environ.get("PK_MUDDLES", "150"))
NAMES = ("", "", "", "a", "b")
CLAIM = "Claimed-text-{}"  # inside of a literal of ours: must never be seen behind pgkeep
VALUE = "Bound-value-{}"


class Script:
    """What one session sends, a list of messages."""

    def __init__(self, seed):
        self.seed = seed
        self.random = random.Random(seed)
        self.numbers = 0

    def mark(self, form):
        self.numbers += 1
        return form.format(f"{self.seed}-{self.numbers}")

    def ours(self, parameters):
        words = ("OPEN MASTER KEY DECRYPTION BY PASSWORD = {}", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = {}",
                 "BACKUP MASTER KEY TO FILE = '/nowhere' ENCRYPTION BY PASSWORD = {}", "SHOW MASTER KEYS",
                 "SHOW KEY BACKUPS", "BACKUP INTO {}", "OPEN MASTER KEY nonsense {}")
        literal = "$1" if parameters else "'" + self.mark(CLAIM) + "'"
        return self.random.choice(words).format(literal).encode()

    def theirs(self):
        return self.random.choice((
            b"select 1", b"select $1", b"select 1/0", b"selec", b"begin", b"rollback", b"commit", b"select '\xff'",
            b"deallocate all", b"discard all", b"deallocate a", b"prepare a as select 1", b"savepoint s", b"",
            b"set client_encoding = latin1", b"set client_encoding = utf8", b"close all", b"select generate_series(1, 5)",
            b"set standard_conforming_strings = off", b"set standard_conforming_strings = on",
            b"select 1 /* " + b"x" * self.random.choice((10, 10, 10, 65000, 70000, 1100000)) + b" */"))

    def text(self):
        return self.ours(self.random.random() < 0.7) if self.random.random() < 0.5 else self.theirs()

    def bind(self):
        values = [self.mark(VALUE).encode() for _ in range(self.random.choice((0, 1, 1, 1, 2)))]
        if values and self.random.random() < 0.05:
            values[0] += b"x" * 1100000
        if values and self.random.random() < 0.1:
            values[0] += b"\xff"
        return pk.bind(self.random.choice(NAMES), self.random.choice(NAMES), values)

    def message(self):
        choose = self.random
        kind = choose.choice("PPPBBBBDDEEECSSSHQQQQF")
        if kind == "P":
            return pk.parse("", b"") if choose.random() < 0.02 else self.parse()
        if kind == "B":
            return self.bind()
        if kind == "D":
            return pk.describe(choose.choice((b"S", b"P")), choose.choice(NAMES))
        if kind == "E":
            return pk.execute(choose.choice(NAMES), choose.choice((0, 0, 1)))
        if kind == "C":
            return pk.close(choose.choice((b"S", b"P")), choose.choice(NAMES))
        if kind == "Q":
            return pk.message(b"Q", (self.ours(False) if choose.random() < 0.3 else self.theirs()) + b"\0")
        if kind == "F":
            return pk.message(b"F", bytes(12)) if choose.random() < 0.3 else pk.SYNC
        return pk.SYNC if kind == "S" else pk.FLUSH

    def parse(self):
        types = self.random.choice(((), (), (25,), (23,)))
        body = pk.cstring(self.random.choice(NAMES)) + self.text() + b"\0"
        body += len(types).to_bytes(2, "big") + b"".join(t.to_bytes(4, "big") for t in types)
        return pk.message(b"P", body)

    def pieces(self):
        """All of it, cut anywhere."""
        data = b"".join(self.message() for _ in range(self.random.randint(5, 60))) + pk.SYNC
        while data:
            size = self.random.choice((1, 7, 100, 5000, 70000, len(data)))
            yield data[:size]
            data = data[size:]


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server, settings=["log.level=info"]) as keeper:
            yield server, keeper


def run(keeper, seed):
    """Sends, reads what comes meanwhile, then wants the answer to a last question or the end."""
    wire = pk.Wire(keeper.port)
    wire.socket.settimeout(pk.TIMEOUT)
    script = Script(seed)
    got = b""
    try:
        for piece in script.pieces():
            wire.socket.sendall(piece)
            wire.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while part := wire.socket.recv(1 << 20):
                    got += part
            wire.socket.settimeout(pk.TIMEOUT)
        wire.socket.sendall(pk.SYNC + pk.query("select 'the last question'"))
        while b"the last question" not in got[-400:] and not re.search(rb"25P02", got[-600:]):
            part = wire.socket.recv(1 << 20)
            if not part:
                break
            got += part
    except socket.timeout:
        raise pk.Failure(f"seed {seed}: no answer", got[-300:], keeper.log()[-1500:]) from None
    except (BrokenPipeError, ConnectionResetError):
        pass  # FATAL, and it left
    finally:
        wire.socket.close()


def read_from(path, offset):
    with open(path, "rb") as log:
        log.seek(offset)
        return log.read().decode("utf-8", "replace")


def leaks(log):
    """Claimed texts; and values bound to a stand-in, which is known by its nonce."""
    found = []
    stand_in = False
    for line in log.splitlines():
        if "LOG:" in line or "ERROR:" in line:
            stand_in = "SELECT 'pgkeep_" in line
        if "Claimed-text-" in line or (stand_in and "Bound-value-" in line and "STATEMENT:" not in line):
            found.append(line[:500])
    return found


@case("no order of messages lets a claimed text or its values through")
def test_muddle(world):
    server, keeper = world
    only = os.environ.get("PK_MUDDLE")
    begin = random.randrange(1 << 30)
    seeds = [int(only)] if only else range(begin, begin + COUNT)
    for seed in seeds:
        mark = os.path.getsize(server.logfile)
        run(keeper, seed)
        log = read_from(server.logfile, mark)
        expect(not leaks(log), f"seed {seed}: seen behind pgkeep", "\n".join(leaks(log)[:3]))
        expect(keeper.alive(), f"seed {seed}: pgkeep died", keeper.log()[-2000:])
    print(f"# {len(seeds)} sessions, seeds from {seeds[0]}")


if __name__ == "__main__":
    pk.main(world)
