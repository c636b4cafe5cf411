#!/usr/bin/env python3
"""kill -9 between any two steps of a key statement, and at random moments: afterwards the whole effect
is there or none of it, what the client was told is there, every key file under its final name opens
with the stock tool, and the same statement can be run again (keys-and-security 6.3).

A build for tests dies at the nth of its crash points (base/crash.h) when PGKEEP_CRASH_AT says so. What
is on the disk is read from copies of the keystore's files, with Python's SQLite, before pgkeep runs
again. The last cases show that these judgements can fail."""

import contextlib
import glob
import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time

import pk
from pk import GOOD, Failure, case, expect, expect_equal

KILLS = int(os.environ.get("PK_TEST_KILLS", "200"))
PART = re.compile(os.environ.get("PK_TEST_STATEMENTS", ""))  # those whose text has a match, when working on one
SEED = int(os.environ.get("PK_TEST_SEED", str(int(time.time()))))
AGAIN = {"CREATE MASTER KEY": "42710", "BACKUP": "58P02", "ADD SLOT": "42710", "DROP SLOT": "42704"}  # what a second run may say: it is done


class CrashKeeper(pk.Pgkeep):
    """A pgkeep that dies at its nth crash point; `list` names the points it passed."""

    def __init__(self, *arguments, crash_at=None, points=None, **more):
        super().__init__(*arguments, **more)
        self.variables = {}
        if crash_at is not None:
            self.variables["PGKEEP_CRASH_AT"] = str(crash_at)
        if points is not None:
            self.variables["PGKEEP_CRASH_LIST"] = points

    def environment(self):
        return {**super().environment(), **self.variables}

    def died(self):
        """It must be gone by SIGKILL; forgets it."""
        code = pk.wait_until(lambda: self.process.poll() is not None and [self.process.returncode],
                             "pgkeep dies", 30)[0]
        self.process = None
        expect_equal(code, -signal.SIGKILL, "how pgkeep ended: " + self.log()[-1500:])
        self.check_reports()


# --- what is on the disk ------------------------------------------------------------------------


TABLES = ("store", "slot", "key", "key_version", "wrap", "key_backup", "audit")


class Disk:
    """The keystore's rows as a machine would find them now, and the key files."""

    opened = set()  # files that were found whole

    def __init__(self, state, keys, scratch):
        self.keys = keys
        self.rows = {table: [] for table in TABLES}
        shutil.rmtree(scratch, ignore_errors=True)
        os.mkdir(scratch, 0o700)
        for name in glob.glob(os.path.join(state, "keystore.db*")):
            shutil.copy(name, scratch)
        path = os.path.join(scratch, "keystore.db")
        if not os.path.exists(path) or not os.path.getsize(path) and not os.path.exists(path + "-wal"):
            return
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.row_factory = sqlite3.Row
            expect_equal(db.execute("PRAGMA integrity_check").fetchone()[0], "ok", "SQLite's own check")
            if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'store'").fetchone():
                return
            for table in TABLES:
                self.rows[table] = [dict(r) for r in db.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2')]

    def audit(self):
        """What was done, but for the SHOW with which these tests wait for the keystore."""
        return [r for r in self.rows["audit"] if not r["action"].startswith("show_")]

    def exact(self):
        """Everything that a statement changes; the time a slot was last used is not."""
        slots = [{k: v for k, v in r.items() if k not in ("last_ok_at", "mac")} for r in self.rows["slot"]]
        audit = [{k: v for k, v in r.items() if k in ("db", "action", "outcome")} for r in self.audit()]
        return slots, audit, *(self.rows[t] for t in ("key", "key_version", "wrap", "key_backup"))

    def shape(self, before):
        """The same without what differs from run to run: new ids, times, random bytes."""
        known = {v for rows in before.rows.values() for r in rows for v in r.values() if isinstance(v, bytes)}
        kept = {"slot": ("kind", "label"), "key": ("uuid", "scope", "db_name", "kind", "state", "current_ver"),
                "key_version": ("key_uuid", "ver", "state", "fp", "origin"),
                "wrap": ("key_uuid", "ver", "by", "parent_uuid", "parent_ver", "quarantined"),
                "key_backup": ("dest_redacted",), "audit": ("db", "action", "object", "outcome", "sqlstate")}

        def plain(value):
            if isinstance(value, bytes):
                return value.hex() if value in known else "new"
            return re.sub(r"\d{8}T\d{6}Z", "TIME", value) if isinstance(value, str) else value
        rows = {**self.rows, "audit": self.audit()}
        return {table: sorted(repr([plain(r[c]) for c in columns]) for r in rows[table])
                for table, columns in kept.items()}

    def check(self):
        """The invariants of keys-and-security 6.3 that hold after every crash."""
        rows = self.rows
        if not rows["store"]:
            expect(not rows["key"] and not rows["audit"], "rows without a store", rows)
            return
        versions = {(r["key_uuid"], r["ver"]) for r in rows["key_version"]}
        for version in versions:
            wraps = [w for w in rows["wrap"] if (w["key_uuid"], w["ver"]) == version]
            expect(wraps, "(i) a key version without a wrap", version)
            expect(any(w["parent_uuid"] is None or w["quarantined"] or
                       (w["parent_uuid"], w["parent_ver"]) in versions for w in wraps),
                   "(i) a key version whose wraps have no parent", version)
        for key in rows["key"]:
            current = [v for v in rows["key_version"]
                       if v["key_uuid"] == key["uuid"] and v["ver"] == key["current_ver"]]
            states = [v["state"] for v in rows["key_version"] if v["key_uuid"] == key["uuid"]]
            if key["state"] == "active":
                expect(len(current) == 1 and states.count("current") == 1, "(ii) one current version", key, states)
        epochs = [r["epoch"] for r in rows["audit"]]
        expect_equal(epochs, list(range(1, len(epochs) + 1)), "(iii) one audit row for every epoch")
        expect_equal(rows["store"][0]["epoch"], len(epochs), "(iii) the store's epoch")
        self.check_files(rows["key_backup"])

    def check_files(self, backups):
        """(v): what is recorded as backed up is there, to the byte; what has a final name opens."""
        for row in backups:
            path = re.sub(r"^file://", "", row["dest_redacted"])
            expect(os.path.isfile(path), "(v) a recorded key backup is not there", path)
            with open(path, "rb") as file:
                expect_equal(hashlib.sha256(file.read()).digest(), row["sha256"], f"(v) SHA-256 of {path}")
        for path in self.files():
            info = os.stat(path)
            which = (path, info.st_ino, info.st_size, info.st_mtime_ns)
            if which in self.opened:  # the tool takes a while
                continue
            code, text, fault = pk.openssl_open(path, GOOD)
            expect(code == 0 and b"pgkeep" in text, f"a half file under a final name: {path}", fault)
            self.opened.add(which)

    def files(self):
        return sorted(glob.glob(os.path.join(self.keys, "**", "*.pem"), recursive=True))


# --- the world ----------------------------------------------------------------------------------


class World:
    """One PostgreSQL; a prepared state directory and key directory that every run gets a copy of."""

    def __init__(self, directory, server):
        self.directory = directory
        self.server = server
        self.keys = os.path.join(directory, "keys")
        self.state = os.path.join(directory, "state")
        self.points = os.path.join(directory, "points")
        os.mkdir(self.keys, 0o700)

    def path(self, name):
        return os.path.join(self.keys, name)

    def keeper(self, name="crash", **more):
        return CrashKeeper(self.directory, self.server, roots=[self.keys], name=name,
                           **{"state": self.state, **more})

    def disk(self):
        return Disk(self.state, self.keys, os.path.join(self.directory, "scratch"))

    def keep(self, name="prepared"):
        """What there is now is what reset() brings back."""
        for part in ("state", "keys"):
            shutil.copytree(os.path.join(self.directory, part), os.path.join(self.directory, name, part))

    def reset(self, name="prepared"):
        for part in ("state", "keys"):
            there = os.path.join(self.directory, part)
            shutil.rmtree(there, ignore_errors=True)
            shutil.copytree(os.path.join(self.directory, name, part), there)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.points)

    def passed(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.points, encoding="ascii") as file:
                return file.read().split("\n")[:-1]
        return []

    def prepare(self):
        """A keystore with keys of two databases, another one that differs, and backups of both."""
        password = f"ENCRYPTION BY PASSWORD = '{GOOD}'"
        with self.keeper("other", state=os.path.join(self.directory, "other-state")) as other:
            for database, file in ("app", "other-dmk.pem"), ("two", "other-two.pem"):
                other.good("CREATE MASTER KEY", database)
                other.good(f"BACKUP MASTER KEY TO FILE = '{self.path(file)}' {password}", database)
            other.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{self.path('other-smk.pem')}' {password}")
        with self.keeper("first") as first:
            first.good("CREATE MASTER KEY", "app")
            first.good(f"CREATE MASTER KEY {password}", "two")
            first.good(f"BACKUP MASTER KEY TO FILE = '{self.path('dmk.pem')}' {password}", "app")
            first.good(f"BACKUP MASTER KEY TO FILE = '{self.path('two.pem')}' {password}", "two")
            first.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{self.path('smk.pem')}' {password}")
            first.good(f"ALTER SYSTEM BACKUP KEY TENANT = app, two TO 'file://{self.path('copies')}'"
                       f" ENCRYPTED BY '{GOOD}'")
        self.keep()
        self.disk().check()


DATABASES = ("app", "two", "bare", *(f"bare{i}" for i in range(12)))


@contextlib.contextmanager
def world():
    print(f"# seed {SEED} (PK_TEST_SEED), {KILLS} random kills (PK_TEST_KILLS)")
    with pk.temporary_directory() as directory, pk.Postgres(directory) as server:
        for name in DATABASES:
            server.sql(f'create database "{name}" template template0 strategy file_copy')
        made = World(directory, server)
        made.prepare()
        yield made


def ask(port, database, *statements):
    """Sends them one after the other; for each its tag, ("error", SQLSTATE), or None if the connection
    ended before the answer was complete."""
    answers = [None] * len(statements)
    try:
        with pk.Wire(port, database) as wire:
            for i, statement in enumerate(statements):
                wire.send(pk.query(statement))
                while True:
                    kind, body = wire.read()
                    if kind is None:
                        return answers
                    if kind == b"C":
                        answers[i] = body.rstrip(b"\0").decode()
                    elif kind == b"E":
                        answers[i] = ("error", pk.fields(body)["C"])
                    elif kind == b"Z":
                        break
    except (OSError, Failure):
        pass
    return answers


# --- every step of every statement --------------------------------------------------------------


class Statement:
    """`sql` with {k} for the key directory and {p} for the password. `before` was run once, in a run of
    its own; `during` is what has to be sent in each, on the same connection."""

    def __init__(self, database, sql, before=(), during=()):
        self.database = database
        self.sql = sql
        self.before = before
        self.during = during

    def text(self, world):
        return self.fill(world, self.sql)

    def first(self, world):
        """SHOW makes sure that the keystore is open before points are counted."""
        return ["SHOW MASTER KEYS", *(self.fill(world, s) for s in self.during)]

    def reset(self, world):
        """The state in which the statement is run."""
        world.reset()
        if not self.before:
            return
        name = "before-" + hashlib.sha256(self.sql.encode()).hexdigest()[:12]
        if not os.path.exists(os.path.join(world.directory, name)):
            with world.keeper() as keeper:
                answers = ask(keeper.port, self.database, *(self.fill(world, s) for s in self.before))
                expect(all(isinstance(a, str) for a in answers), "what goes before", answers)
            world.keep(name)
        world.reset(name)

    @staticmethod
    def fill(world, sql):
        return sql.format(k=world.keys, p=GOOD)


STATEMENTS = [
    Statement("bare", "CREATE MASTER KEY"),
    Statement("bare", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{p}'"),
    Statement("app", "BACKUP MASTER KEY TO FILE = '{k}/new.pem' ENCRYPTION BY PASSWORD = '{p}'"),
    Statement("postgres", "BACKUP SERVICE MASTER KEY TO FILE = '{k}/new.pem' ENCRYPTION BY PASSWORD = '{p}'"),
    Statement("postgres", "ALTER SYSTEM BACKUP KEY TENANT = app TO 'file://{k}/new' ENCRYPTED BY '{p}'"),
    Statement("postgres", "ALTER SYSTEM BACKUP KEY TENANT = app, two TO 'file://{k}/new' ENCRYPTED BY '{p}'"),
    Statement("bare", "RESTORE MASTER KEY FROM FILE = '{k}/other-dmk.pem' DECRYPTION BY PASSWORD = '{p}'"
              " ENCRYPTION BY PASSWORD = '{p}'"),
    Statement("app", "RESTORE MASTER KEY FROM FILE = '{k}/other-dmk.pem' DECRYPTION BY PASSWORD = '{p}'"
              " ENCRYPTION BY PASSWORD = '{p}' FORCE"),
    Statement("postgres", "RESTORE SERVICE MASTER KEY FROM FILE = '{k}/smk.pem' DECRYPTION BY PASSWORD = '{p}'"),
    Statement("postgres", "RESTORE SERVICE MASTER KEY FROM FILE = '{k}/other-smk.pem' DECRYPTION BY PASSWORD = '{p}'"
              " FORCE"),
    Statement("postgres", "ALTER SYSTEM RESTORE KEY TENANT = bare FROM 'file://{k}/other-dmk.pem' ENCRYPTED BY '{p}'"),
    Statement("postgres", "ALTER KEYSTORE ADD SLOT password '{p}'"),
    Statement("postgres", "ALTER KEYSTORE DROP SLOT 2", before=["ALTER KEYSTORE ADD SLOT password '{p}'"]),
    Statement("postgres", "SEAL"),
    Statement("postgres", "UNSEAL WITH PASSWORD = '{p}'", before=["ALTER KEYSTORE ADD SLOT password '{p}'"],
              during=["SEAL"]),
    Statement("two", "OPEN MASTER KEY DECRYPTION BY PASSWORD = '{p}'"),
]


class Reference:
    """A run that nothing interrupts: the points it passes, and the shape of what it leaves."""

    def __init__(self, world, statement):
        statement.reset(world)
        with world.keeper(points=world.points) as keeper, pk.Wire(keeper.port, statement.database) as wire:
            for text in statement.first(world):
                expect(b"E" not in pk.kinds(wire.query(text)).encode(), f"{text} fails", keeper.log()[-800:])
            self.first = len(world.passed())
            self.before = world.disk()  # nothing is under way
            answer = wire.query(statement.text(world))
            expect("E" not in pk.kinds(answer), f"{statement.sql} fails without any crash", answer)
            self.points = world.passed()
        self.disk = world.disk()
        self.disk.check()
        expect(len(self.points) > self.first, "no crash point was passed: is this a build for tests?", statement.sql)


def judge(disk, before, wanted, acknowledged, what):
    """Whole or nothing, and whole if the client was told so. True: whole."""
    disk.check()
    if disk.exact() == before.exact():
        expect(not acknowledged, f"an acknowledged statement is not there: {what}")
        return False
    got, want = disk.shape(before), wanted.shape(before)
    expect(got == want, f"half an effect: {what}",
           *(f"{t}: {[r for r in got[t] if r not in want[t]]} instead of {[r for r in want[t] if r not in got[t]]}"
             for t in got if got[t] != want[t]))
    return True


def run_again(world, statement, whole, what):
    """After the crash: pgkeep serves, and the same statement works or says that it is done."""
    with world.keeper() as keeper:
        broken = [k for k in keeper.keys() if k["state"] not in ("active", "quarantined", "retired")]
        expect(not broken, f"damaged keys after a crash: {what}", broken)
        files = world.disk().files()
        answer = ask(keeper.port, statement.database, *statement.first(world), statement.text(world))[-1]
        done = [state for words, state in AGAIN.items() if words in statement.sql]
        may_fail = whole or any(f.endswith("new.pem") for f in files)
        expect(isinstance(answer, str) or (may_fail and answer is not None and answer[1] in done),
               f"the statement cannot be run again: {what}", answer, keeper.log()[-800:])
    world.disk().check()


def crash_at_every_point(world, statement):
    reference = Reference(world, statement)
    counts = {True: 0, False: 0}
    for n in range(reference.first + 1, len(reference.points) + 1):
        statement.reset(world)
        what = f"{statement.sql}, killed at point {n} ({reference.points[n - 1]})"
        keeper = world.keeper(crash_at=n).start()
        try:
            answers = ask(keeper.port, statement.database, *statement.first(world), statement.text(world))
            keeper.died()
        finally:
            keeper.stop(signal.SIGKILL)
        whole = judge(world.disk(), reference.before, reference.disk, isinstance(answers[-1], str), what)
        counts[whole] += 1
        run_again(world, statement, whole, what)
    print(f"#   {statement.database}: {statement.sql[:70]}: {len(reference.points) - reference.first} points,"
          f" {counts[True]} whole, {counts[False]} nothing")
    expect(counts[True] and counts[False], "both sides of the commit were seen", counts)
    return sum(counts.values())


@case("killed between any two steps, a statement has its whole effect or none")
def test_every_point(world):
    total = sum(crash_at_every_point(world, statement) for statement in STATEMENTS if PART.search(statement.sql))
    print(f"#   {total} kills at crash points")


@case("killed as soon as the client has its answer, the statement's effect is there")
def test_acknowledged(world):
    for statement in (s for s in STATEMENTS if PART.search(s.sql)):
        reference = Reference(world, statement)
        statement.reset(world)
        keeper = world.keeper().start()
        try:
            answers = ask(keeper.port, statement.database, *statement.first(world), statement.text(world))
            expect(isinstance(answers[-1], str), statement.sql, answers)
        finally:
            keeper.stop(signal.SIGKILL)
        judge(world.disk(), reference.before, reference.disk, True, statement.sql)


def make_keystore(world, crash_at, points, by):
    """`pgkeep init`, or the first start of `serve`; its exit status."""
    keeper = world.keeper("maker", crash_at=crash_at, points=points)
    if by == "serve":
        try:
            keeper.start()
            ask(keeper.port, "postgres", "SHOW MASTER KEYS")
            if crash_at is not None:
                keeper.died()
            return 0
        except Failure:
            expect(keeper.process is None or keeper.process.poll() == -signal.SIGKILL, "pgkeep died otherwise",
                   keeper.log()[-1500:])
            return -signal.SIGKILL
        finally:
            keeper.stop(signal.SIGKILL)
    done = pk.subprocess.run([pk.options.binary, "init", "--state", world.state], stdin=pk.subprocess.DEVNULL,
                             capture_output=True, text=True, env=keeper.environment(), cwd="/", check=False,
                             timeout=pk.TIMEOUT)
    keeper.said = done.stdout + done.stderr
    expect(done.returncode in (0, -signal.SIGKILL) or "exists" in keeper.said or "already" in keeper.said,
           "pgkeep init", done.returncode, keeper.said)
    return done.returncode


@case("killed anywhere while the keystore is made, the next start or init finishes it or finds it whole")
def test_creation(world):
    for by in ("init", "serve"):
        world.reset()
        shutil.rmtree(world.state)
        make_keystore(world, None, world.points, by)
        points = world.passed()
        expect(len(points) > 5, "creation passes points", points)
        whole = 0
        for n in range(1, len(points) + 1):
            shutil.rmtree(world.state)
            make_keystore(world, n, None, by)
            disk = world.disk()
            disk.check()
            made = bool(disk.rows["store"])
            whole += made
            identity = disk.rows["store"][0]["uuid"] if made else None
            code = make_keystore(world, None, None, by)
            expect(by == "serve" or (code == 0) == (not made), f"init after a crash at {points[n - 1]}", code)
            disk = world.disk()
            disk.check()
            expect(not made or disk.rows["store"][0]["uuid"] == identity, "the keystore was replaced")
            with world.keeper() as keeper:
                keeper.good("CREATE MASTER KEY", "bare")
        print(f"#   {by}: {len(points)} points, {whole} whole")
    shutil.rmtree(world.state)


# --- random kills -------------------------------------------------------------------------------


ACTIONS = {"CREATE MASTER KEY": "dmk_create", "BACKUP MASTER KEY": "dmk_backup", "RESTORE MASTER KEY": "dmk_restore",
           "BACKUP SERVICE MASTER KEY": "smk_backup", "RESTORE SERVICE MASTER KEY": "smk_restore",
           "ALTER SYSTEM": "tenant_key_backup"}  # what the audit trail calls a command tag


class Client(threading.Thread):
    """Sends a random mix of key statements until the connection ends; remembers what it was told."""

    def __init__(self, world, port, number, dice):
        super().__init__(daemon=True)
        self.world, self.port, self.number, self.dice = world, port, number, dice
        self.told = []       # (database, tag, path or None) of every CommandComplete
        self.waiting = None  # the statement without an answer
        self.faults = []

    def statement(self, turn):
        place = self.world.path(f"r{self.number}-{turn}-{self.dice.randrange(1 << 40)}")
        password = f"ENCRYPTION BY PASSWORD = '{GOOD}'"
        kind = self.dice.randrange(10)
        own = "app" if self.number % 2 == 0 else "two"
        if kind < 4:
            return own, f"BACKUP MASTER KEY TO FILE = '{place}.pem' {password}", place + ".pem"
        if kind < 5:
            return "postgres", f"BACKUP SERVICE MASTER KEY TO FILE = '{place}.pem' {password}", place + ".pem"
        if kind < 7:
            return "postgres", f"ALTER SYSTEM BACKUP KEY TENANT = app, two TO 'file://{place}' ENCRYPTED BY '{GOOD}'", place
        if kind < 8:
            name = self.dice.choice(("dmk.pem", "other-dmk.pem") if own == "app" else ("two.pem", "other-two.pem"))
            return own, (f"RESTORE MASTER KEY FROM FILE = '{self.world.path(name)}' DECRYPTION BY PASSWORD = '{GOOD}'"
                         f" {password} FORCE"), None
        if kind < 9:
            return "postgres", (f"RESTORE SERVICE MASTER KEY FROM FILE = '{self.world.path('smk.pem')}'"
                                f" DECRYPTION BY PASSWORD = '{GOOD}'"), None
        return f"bare{self.dice.randrange(12)}", "CREATE MASTER KEY", None

    def run(self):
        for turn in range(1000):
            database, sql, path = self.statement(turn)
            self.waiting = (database, sql, path)
            answer = ask(self.port, database, sql)[0]
            if answer is None:
                return
            self.waiting = None
            if isinstance(answer, str):
                self.told.append((database, answer, path))
            elif answer[1] not in ("42710", "57P01", "57P03", "08006", "08P01"):
                self.faults.append((sql, answer))


def check_told(disk, clients, before):
    """Every acknowledged statement has its audit row, and its file if it wrote one; what had no answer
    may have one row more."""
    rows = [(r["db"], r["action"]) for r in disk.rows["audit"] if r["outcome"] == "ok"]
    old = [(r["db"], r["action"]) for r in before.rows["audit"] if r["outcome"] == "ok"]
    told = [(database, ACTIONS[tag]) for c in clients for database, tag, _ in c.told]
    new = list(rows[len(old):])
    for which in told:
        expect(which in new, f"an acknowledged statement is not there: {which}", new)
        new.remove(which)
    waiting = [c.waiting for c in clients if c.waiting]
    expect(len(new) <= len(waiting), "effects that nobody asked for", new, waiting)
    recorded = "\n".join(r["dest_redacted"] for r in disk.rows["key_backup"])
    for client in clients:
        for _, _, path in client.told:
            expect(path is None or path in recorded, f"an acknowledged key backup is not recorded: {path}", recorded)


@case("killed at random moments while clients work, nothing acknowledged is lost and nothing is half done")
def test_random(world):
    dice = random.Random(SEED)
    told = waiting = hit = 0
    world.reset()
    before = world.disk()
    for kill in range(KILLS):
        if kill % 10 == 0:
            world.reset()
            before = world.disk()
        keeper = world.keeper("random").start()
        clients = [Client(world, keeper.port, i, random.Random(dice.random())) for i in range(dice.randint(2, 4))]
        for client in clients:
            client.start()
        # So many statements, not so many seconds: a busy machine must not leave the kills without prey.
        wanted, until = dice.randint(0, 8), time.monotonic() + pk.TIMEOUT
        while sum(len(client.told) for client in clients) < wanted and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.02))
        keeper.stop(signal.SIGKILL)
        for client in clients:
            client.join(pk.TIMEOUT)
            expect(not client.is_alive(), "a client hangs")
            expect(not client.faults, "a statement failed for another reason than the kill", client.faults[:3])
        disk = world.disk()
        disk.check()
        check_told(disk, clients, before)
        told += sum(len(c.told) for c in clients)
        waiting += sum(c.waiting is not None for c in clients)
        hit += len(disk.rows["audit"]) - len(before.rows["audit"]) > sum(len(c.told) for c in clients)
        before = disk
    with world.keeper("random") as keeper:
        keeper.keys()
    print(f"#   {KILLS} kills, seed {SEED}: {told} statements acknowledged, {waiting} interrupted,"
          f" {hit} kills between commit and answer")
    expect(told > KILLS / 2 and waiting > KILLS / 2, "the kills hit statements", told, waiting)


# --- the judgements can fail ---------------------------------------------------------------------


def must_fail(text, judgement):
    try:
        judgement()
    except Failure:
        return
    raise Failure(f"not noticed: {text}")


def change_rows(state, sql):
    with contextlib.closing(sqlite3.connect(os.path.join(state, "keystore.db"))) as db:
        db.executescript(sql)


@case("control: a file or row that is missing or half there is noticed")
def test_control(world):
    damages = {
        "a key file is gone": lambda: os.remove(world.path("dmk.pem")),
        "a key file is cut": lambda: os.truncate(world.path("dmk.pem"), 500),
        "an unrecorded key file is half written": lambda: shutil.copy("/proc/version", world.path("half.pem")),
        "a wrap is gone": lambda: change_rows(world.state, "DELETE FROM wrap WHERE id = 1"),
        "two current versions": lambda: change_rows(
            world.state, "INSERT INTO key_version SELECT key_uuid, 7, state, fp, origin, created_at, not_after,"
            " destroy_at, covered_by, mac FROM key_version; INSERT INTO wrap SELECT id + 99, key_uuid, 7, \"by\","
            " parent_uuid, parent_ver, parent_fp, kdf_json, blob, quarantined, mac FROM wrap"),
        "the last audit row is gone": lambda: change_rows(
            world.state, "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"),
        "the keystore is cut": lambda: os.truncate(os.path.join(world.state, "keystore.db"), 20000),
    }
    for text, damage in damages.items():
        world.reset()
        damage()

        def looks():
            try:
                world.disk().check()
            except sqlite3.DatabaseError as fault:
                raise Failure(str(fault)) from None
        must_fail(text, looks)


@case("control: half an effect, and a lost acknowledged one, are noticed")
def test_control_effect(world):
    statement = Statement("bare", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{p}'")
    reference = Reference(world, statement)
    world.reset()
    before = world.disk()
    must_fail("an acknowledged statement without effect",
              lambda: judge(world.disk(), before, reference.disk, True, "control"))
    with world.keeper() as keeper:
        keeper.good(Statement.fill(world, statement.sql), "bare")
    expect(judge(world.disk(), before, reference.disk, True, "control"), "the whole effect is seen as such")
    change_rows(world.state, "DELETE FROM wrap WHERE \"by\" = 'password' AND id = (SELECT max(id) FROM wrap)")
    must_fail("half an effect", lambda: judge(world.disk(), before, reference.disk, False, "control"))
    client = Client(world, 0, 0, random.Random(0))
    client.told = [("bare1", "CREATE MASTER KEY", None)]
    must_fail("an acknowledged statement without an audit row", lambda: check_told(before, [client], before))


if __name__ == "__main__":
    pk.main(world)
