#!/usr/bin/env python3
"""Eight clients at once, each doing at random what clients do: simple and extended queries, COPY both ways,
pipelines, errors, transactions, cancels, broken connections, and key statements in between. Every answer
is checked. Under ThreadSanitizer the time matters more than the number of statements: PK_MIX_SECONDS."""

import collections
import contextlib
import os
import random
import socket
import struct
import threading
import time
import traceback

import pk
from pk import GOOD, SYNC, bind, case, execute, expect, expect_equal, extended, parse, query, rows, states

CLIENTS = 8
SECONDS = float(os.environ.get("PK_MIX_SECONDS", "10"))
BACKUP = "BACKUP MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2"


def status(messages):
    """Of the last ReadyForQuery."""
    return messages[-1][1].decode()


class Client:
    """One connection and its random work. Each method named do_ is a thing to do."""

    def __init__(self, world, number, database):
        self.world, self.number, self.database = world, number, database
        self.random = random.Random(number)
        self.counts = collections.Counter()
        self.wire = None
        self.files = 0

    def connect(self):
        self.wire = pk.Wire(self.world.keeper.port, self.database)
        self.wire.query("create temporary table if not exists mine (n int primary key, t text)")

    def ask(self, *messages):
        self.wire.transcript = b""  # nobody looks at it here
        return self.wire.ask(*messages)

    def path(self):
        self.files += 1
        return os.path.join(self.world.keys, f"mix-{self.number}-{self.files}.pem")

    def run(self, until):
        todo = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        self.connect()
        while time.monotonic() < until:
            thing = self.random.choice(todo)
            thing()
            self.counts[thing.__name__[3:]] += 1
        self.wire.close()

    # --- theirs

    def do_simple(self):
        n = self.random.randrange(10**9)
        got = self.ask(query(f"select {n}, 'x'; select {n} + 1"))
        expect_equal(rows(got), [[str(n), "x"], [str(n + 1)]], "rows of a simple query")

    def do_extended(self):
        text = f"v{self.random.randrange(10**9)}"
        got = self.ask(extended("select $1::text, length($1)", text), SYNC)
        expect_equal(rows(got), [[text, str(len(text))]], "rows of the extended protocol")

    def do_named(self):
        name = f"n{self.random.randrange(5)}"
        got = self.ask(parse(name, "select $1::int * 2"), SYNC)
        expect(states(got) in ([], ["42P05"]), "Parse of a named statement", got)
        got = self.ask(bind("", name, [b"21"]), execute(), SYNC)
        expect_equal(rows(got), [["42"]], "a named statement")
        if self.random.random() < 0.3:
            self.ask(query("deallocate all"))

    def do_copy_out(self):
        count = self.random.choice((1, 10, 20000))
        got = self.ask(query(f"copy (select generate_series(1, {count})) to stdout"))
        expect_equal(pk.kinds(got).count("d"), count, "rows of COPY TO")

    def do_copy_in(self):
        count = self.random.choice((1, 10, 5000))
        self.wire.send(query("truncate mine; copy mine from stdin"))
        self.wire.until(b"G")
        for start in range(0, count, 500):
            lines = "".join(f"{n}\ttext {n}\n" for n in range(start, min(start + 500, count)))
            self.wire.send(pk.message(b"d", lines.encode()))
        if self.random.random() < 0.2:
            got = self.ask(pk.message(b"f", b"no more\0"))
            expect_equal(states(got), ["57014"], "COPY that the client ends")
            count = 0
        else:
            got = self.ask(pk.message(b"c"))
            expect_equal(pk.tags(got), [f"COPY {count}"], "tag of COPY FROM")
            expect_equal(rows(self.ask(query("select count(*) from mine"))), [[str(count)]], "rows after COPY FROM")

    def do_pipeline(self):
        values = [str(self.random.randrange(1000)) for _ in range(self.random.choice((2, 10, 200)))]
        got = self.ask(*(extended("select $1::int", v) for v in values), SYNC)
        expect_equal([r[0] for r in rows(got)], values, "a pipeline's rows, in order")

    def do_pipeline_with_error(self):
        got = self.ask(extended("select 1"), extended("select 1/0"), extended("select 2"), SYNC)
        expect_equal((rows(got), states(got), status(got)), ([["1"]], ["22012"], "I"), "a pipeline that fails")

    def do_errors(self):
        for text, state in (("selec", "42601"), ("select 1/0", "22012"), ("table nosuch", "42P01")):
            expect_equal(states(self.ask(query(text))), [state], f"SQLSTATE of {text}")
            expect_equal(states(self.ask(extended(text), SYNC)), [state], f"SQLSTATE of {text}, extended")

    def do_transaction(self):
        self.ask(query("begin; truncate mine; insert into mine values (1, 'a'); savepoint s"))
        expect_equal(states(self.ask(query("insert into mine values (1, 'b')"))), ["23505"], "a duplicate")
        expect_equal(status(self.ask(query("rollback to s"))), "T", "back to the savepoint")
        expect_equal(states(self.ask(extended("insert into mine values ($1::int, 'c')", "2"), SYNC)), [], "an insert")
        expect_equal(pk.tags(self.ask(query("commit"))), ["COMMIT"], "the end of a transaction")
        expect_equal(rows(self.ask(query("select t from mine order by n"))), [["a"], ["c"]], "what was committed")

    def do_large(self):
        size = self.random.choice((1000, 100000, 3000000))
        got = self.ask(extended("select length($1), repeat('y', $2::int)", "x" * size, str(size)), SYNC)
        expect_equal(rows(got), [[str(size), "y" * size]], "large values")

    def do_cancel(self):
        self.wire.send(query("select pg_sleep(20)"))
        time.sleep(0.05)
        with socket.create_connection((pk.HOST, self.world.keeper.port), timeout=pk.TIMEOUT) as other:
            other.sendall(struct.pack("!II", 16, 80877102) + self.wire.key)
            expect_equal(other.recv(1), b"", "a cancel is answered by nothing")
        expect_equal(states(self.wire.until(b"Z")), ["57014"], "a canceled query")

    def do_reconnect(self):
        if self.random.random() < 0.5:
            self.wire.close()
        else:
            self.wire.send(self.random.choice((query("select pg_sleep(0.01)"), query("SHOW MASTER KEYS"), query("x")[:4],
                                               query(f"BACKUP MASTER KEY TO FILE = '{self.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'"),
                                               extended(BACKUP, self.path(), GOOD))))
            self.wire.socket.close()
        self.connect()

    # --- ours

    def do_show(self):
        for messages in ((query("SHOW MASTER KEYS"),), (extended("SHOW MASTER KEYS"), SYNC),
                         (parse("shown", "SHOW MASTER KEYS"), bind("", "shown"), execute(), pk.close(b"S", "shown"), SYNC)):
            got = self.ask(*messages)
            mine = [row for row in rows(got) if row[0] == self.database and row[12] == "active"]
            expect_equal((len(mine), states(got), status(got)), (1, [], "I"), "rows of SHOW MASTER KEYS")

    def do_backup(self):
        path = self.path()
        if self.random.random() < 0.5:
            got = self.ask(query(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'"))
        else:
            got = self.ask(extended(BACKUP, path, GOOD), SYNC)
        expect_equal((states(got), pk.tags(got), status(got)), ([], ["BACKUP MASTER KEY"], "I"), "a key backup")
        expect(os.path.getsize(path) > 500, "the key file")

    def do_restore(self):
        path = self.path()
        self.ask(extended(BACKUP, path, GOOD), SYNC)
        for password, wanted in ((GOOD, []), ("wrong", ["28P01"])):
            got = self.ask(extended("RESTORE MASTER KEY FROM FILE = $1 DECRYPTION BY PASSWORD = $2 ENCRYPTION BY PASSWORD = $3",
                                path, password, GOOD), SYNC)
            expect_equal((states(got), status(got)), (wanted, "I"), "RESTORE MASTER KEY")

    def do_tenant(self):
        path = os.path.join(self.world.keys, f"dir-{self.number}")
        got = self.ask(extended("ALTER SYSTEM BACKUP KEY TO $1 ENCRYPTED BY $2", f"file://{path}", GOOD), SYNC)
        expect_equal((states(got), status(got)), ([], "I"), "ALTER SYSTEM BACKUP KEY")

    def do_open_and_close(self):
        for text, *values in (("OPEN MASTER KEY DECRYPTION BY PASSWORD = $1", GOOD), ("CLOSE MASTER KEY",)):
            got = self.ask(extended(text, *values), SYNC)
            expect(states(got) in ([], ["55000"]) and status(got) == "I", text, got)

    def do_key_errors(self):
        for text, values, state in (("CREATE MASTER KEY ENCRYPTION BY PASSWORD = $1", [GOOD], "42710"),
                                    (BACKUP, ["/outside", GOOD], "22023"), (BACKUP, [None, GOOD], "22004"),
                                    ("BACKUP MASTER KEY TO $1", ["x"], "42601")):
            got = self.ask(extended(text, *values), SYNC)
            expect_equal((states(got), status(got)), ([state], "I"), f"SQLSTATE of {text}")

    def do_key_in_block(self):
        self.ask(query("begin"))
        got = self.ask(extended(BACKUP, self.path(), GOOD), SYNC)
        expect_equal((states(got), status(got)), (["25001"], "E"), "a key backup in a block")
        got = self.ask(query("select 1"))
        expect_equal((states(got), status(got)), (["25P02"], "E"), "the block is aborted")
        expect_equal(status(self.ask(query("rollback"))), "I", "the end of the block")

    def do_key_in_pipeline(self):
        first, last = (str(self.random.randrange(100)) for _ in range(2))
        got = self.ask(extended("select $1::int", first), extended("SHOW MASTER KEYS"), extended("select $1::int", last), SYNC)
        found = rows(got)
        expect_equal((found[0], found[-1], states(got)), ([first], [last], []), "SHOW within a pipeline")
        got = self.ask(extended("select $1::int", first), extended(BACKUP, self.path(), GOOD), extended("select 5"), SYNC, extended("select 6"), SYNC)
        got += self.wire.until(b"Z")
        expect_equal((rows(got), states(got)), ([[first], ["6"]], ["25001"]), "a key backup behind another Execute")


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        for number in range(CLIENTS):
            os.mkdir(os.path.join(keys, f"dir-{number}"), 0o700)
        server = pk.Postgres(directory, settings=("log_statement=none", "log_min_duration_statement=-1", "log_min_messages=warning"))
        with server, pk.Pgkeep(directory, server, roots=[keys], settings=["log.level=info"]) as keeper:
            shared = pk.World(directory, server, keeper, keys)
            for number in range(CLIENTS // 2):
                shared.database(f"mix{number}", key=False)
                keeper.good(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{GOOD}'", f"mix{number}")
                shared.backup(f"mix{number}")
            yield shared


@case(f"eight clients for {SECONDS:.0f} seconds: every answer is the right one")
def test_mix(world):
    clients = [Client(world, number, f"mix{number // 2}") for number in range(CLIENTS)]
    faults = []
    until = time.monotonic() + SECONDS

    def work(client):
        try:
            client.run(until)
        except Exception:  # pylint: disable=broad-except
            faults.append(f"client {client.number}, {dict(client.counts)}:\n{traceback.format_exc()[-1500:]}")
    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + pk.TIMEOUT + 60)
        expect(not thread.is_alive(), "a client hangs", *faults)
    done = sum((client.counts for client in clients), collections.Counter())
    print("        " + ", ".join(f"{name} {count}" for name, count in sorted(done.items())))
    expect(not faults, f"{len(faults)} clients got a wrong answer", *faults)
    expect(world.keeper.alive(), "pgkeep died", world.keeper.log()[-3000:])
    if SECONDS >= 10:
        names = {name[3:] for name in dir(Client) if name.startswith("do_")}
        expect_equal(names - set(done), set(), "things that nobody did")


@case("afterwards: no session is left over, fingerprints are what they were, no file is half written")
def test_afterwards(world):
    pk.wait_until(lambda: world.server.sql("select count(*) from pg_stat_activity where datname like 'mix%'") == "0",
                  "backends of ended sessions end", 30)
    for number in range(CLIENTS // 2):
        world.keeper.good("SHOW MASTER KEYS", f"mix{number}")
    key = world.keeper.key("mix0")
    expect_equal((key["version"], key["backed_up"]), ("1", "yes"), "the key of a database")
    names = os.listdir(world.keys)
    expect(not [n for n in names if n.startswith(".") or "tmp" in n], "rubbish was left", names[:50])
    sample = [n for n in names if n.startswith("mix-")][:20]
    for name in sample:
        code, _, errors = pk.openssl_open(os.path.join(world.keys, name), GOOD)
        expect(code == 0, f"openssl opens {name}", errors)


if __name__ == "__main__":
    pk.main(world)
