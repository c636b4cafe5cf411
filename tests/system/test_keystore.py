#!/usr/bin/env python3
"""The keystore's life as an administrator meets it: unlock slots, a lost root secret, recovery codes, SEAL
and UNSEAL, two processes on one keystore, the verbs that go through the control socket, the audit trail.

Every recovery code that a case gets is remembered; at the end no file but the ones that were made for
codes may contain one."""

import contextlib
import os
import pty
import re
import select
import signal
import sqlite3
import stat
import subprocess

import pk
from pk import GOOD, case, expect, expect_equal, expect_in

CODE = re.compile(r"\b(?:[0-9A-HJKMNP-TV-Z]{4}-){8}[0-9A-HJKMNP-TV-Z]{2}\b")
OTHER_CODE = "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-CF"  # well-formed, of no slot


class World:
    def __init__(self, directory, server):
        self.directory = directory
        self.server = server
        self.keys = os.path.join(directory, "keys")
        os.mkdir(self.keys, 0o700)
        self.codes = set()
        self.files = []
        self.numbers = 0

    def fresh(self, *, init=True):
        """A new state directory; with init its keystore has a file and a recovery slot."""
        self.numbers += 1
        place = Place(self, os.path.join(self.directory, f"state-{self.numbers}"))
        if init:
            place.init()
        return place

    def learn(self, path):
        """The code in a file that was made for it."""
        with open(path, encoding="ascii") as file:
            text = file.read()
        expect(CODE.fullmatch(text.strip()), "a recovery code is in the file", text[:4])
        self.codes.add(text.strip())
        self.files.append(path)
        return text.strip()


class Place:
    """One state directory, and the ways to it."""

    def __init__(self, world, state):
        self.world = world
        self.state = state
        self.code = None

    def init(self):
        path = self.code_file()
        done = self.verb("init", "--recovery-to", path)
        expect(done.returncode == 0, "pgkeep init", done.stdout, done.stderr)
        expect(not CODE.search(done.stdout + done.stderr), "the code is in the file only")
        self.code = self.world.learn(path)

    def code_file(self):
        self.world.numbers += 1
        return os.path.join(self.world.directory, f"code-{self.world.numbers}")

    def serve(self, name=None, **more):
        return pk.Pgkeep(self.world.directory, self.world.server, roots=[self.world.keys], state=self.state,
                         name=name or "serve-" + os.path.basename(self.state), **more)

    def verb(self, *words, stdin=None):
        words = [*words, "--state", self.state]
        home = self.state + "-verbs"
        runner = pk.Pgkeep(os.path.dirname(home), None, name=os.path.basename(home))
        given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run([pk.options.binary, *words], capture_output=True, text=True, cwd="/",
                              env=runner.environment(), timeout=pk.TIMEOUT, check=False, **given)
        runner.check_reports()
        return done

    def does(self, *words, **more):
        done = self.verb(*words, **more)
        expect(done.returncode == 0, "pgkeep " + " ".join(words), done.stdout, done.stderr)
        return done

    def refuses(self, part, *words, code=1, **more):
        done = self.verb(*words, **more)
        expect_equal(done.returncode, code, "exit status of pgkeep " + " ".join(words) + ": " + done.stderr)
        expect_in(part, done.stderr, "what pgkeep " + " ".join(words) + " says")
        return done

    def recovery(self):
        path = self.code_file()
        done = self.does("key", "recovery", "--to", path)
        expect(not CODE.search(done.stdout + done.stderr), "the code is in the file only")
        expect_equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode of the code's file")
        return self.world.learn(path)

    def root(self):
        return os.path.join(self.state, "root.key")

    def lose_root(self):
        os.unlink(self.root())

    def reachable(self):
        """The control socket comes up beside the listener."""
        pk.wait_until(lambda: os.path.exists(os.path.join(self.state, "control.sock")), "control.sock", 10)


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        server = pk.Postgres(directory)
        with server:
            made = World(directory, server)
            yield made


def forwards(keeper):
    expect_in("42", keeper.good("select 6 * 7").out, "forwarding goes on")


def unseal(code):
    return f"UNSEAL WITH RECOVERY CODE = '{code}'"


@case("without a terminal and without a file init makes no recovery slot, and says how to make one")
def test_init_without_place(world):
    place = world.fresh(init=False)
    done = place.does("init")
    expect_in("pgkeep key recovery --to FILE", done.stdout, "the way to a code")
    expect(not CODE.search(done.stdout + done.stderr), "no code")
    slots = place.does("key", "slots").stdout
    expect_equal(re.findall(r"(?m)^ +(\d+)  (\w+)", slots), [("1", "file")], "slots")
    expect_in("A single slot", slots, "the warning")


@case("on a terminal init and key recovery show their code, and both codes open the keystore")
def test_terminal(world):
    place = world.fresh(init=False)
    shown = []
    for words in (["init"], ["key", "recovery"]):
        status, text = on_terminal([*words, "--state", place.state])
        expect_equal(status, 0, "exit status of " + " ".join(words) + ": " + text)
        found = CODE.findall(text)
        expect_equal(len(found), 1, "codes shown by " + " ".join(words))
        shown += found
    world.codes.update(shown)
    place.lose_root()
    with place.serve() as keeper:
        keeper.good(unseal(shown[0]))
        keeper.good("SEAL")
        keeper.good(unseal(shown[1].lower().replace("-", " ")))


def on_terminal(words):
    """Exit status and everything a verb writes when its standard output is a terminal."""
    outside, inside = pty.openpty()
    process = subprocess.Popen([pk.options.binary, *words], stdin=subprocess.DEVNULL, stdout=inside,
                               stderr=inside, cwd="/", env=pk.clean_environment())
    os.close(inside)
    text = b""
    while True:
        ready, _, _ = select.select([outside], [], [], pk.TIMEOUT)
        try:
            data = os.read(outside, 65536) if ready else b""
        except OSError:  # what a terminal gives at its end
            data = b""
        if not data:
            break
        text += data
    os.close(outside)
    return process.wait(pk.TIMEOUT), text.decode()


@case("a file for the code that exists already is left alone, and no keystore is made")
def test_code_file_exists(world):
    place = world.fresh(init=False)
    path = place.code_file()
    with open(path, "w", encoding="ascii") as file:
        file.write("mine")
    place.refuses("exists already", "init", "--recovery-to", path)
    expect(not os.path.exists(os.path.join(place.state, "keystore.db")), "no keystore was made")
    place.does("init")
    place.refuses("exists already", "key", "recovery", "--to", path)
    place.refuses("terminal", "key", "recovery")
    place.refuses("directory", "key", "recovery", "--to", "/nowhere/at/all")
    expect_equal(open(path, encoding="ascii").read(), "mine", "the file")
    expect_equal(len(re.findall(r"(?m)^ +\d+  \w+", place.does("key", "slots").stdout)), 1, "slots")


@case("a lost root secret: the start is sealed, the recovery code opens it, a new root secret keeps it open")
def test_lost_root(world):
    place = world.fresh()
    world.server.sql("create database lost template template0")
    with place.serve() as keeper:
        keeper.good("CREATE MASTER KEY", "lost")
        before = keeper.key("lost")["fingerprint"]
    place.lose_root()
    with place.serve() as keeper:
        forwards(keeper)
        done = keeper.fails("55000", "SHOW MASTER KEYS")
        expect_in("keystore is sealed", done.err, "the message")
        expect_in("root.key", done.err, "why")
        expect_in("UNSEAL WITH RECOVERY CODE", done.err, "the way out")
        keeper.wait_log("keystore is sealed")
        keeper.fails("28P01", unseal(OTHER_CODE))
        mistyped = ("8" if place.code[0] != "8" else "9") + place.code[1:]
        expect_in("mistyped", keeper.fails("28P01", unseal(mistyped)).err, "a typing error is told")
        keeper.fails("55000", "SHOW MASTER KEYS")
        keeper.good(unseal(place.code))
        expect_equal(keeper.key("lost")["fingerprint"], before, "the same key")
        keeper.good("ALTER KEYSTORE ADD SLOT file")
        forwards(keeper)
    with place.serve() as keeper:
        expect_equal(keeper.key("lost")["fingerprint"], before, "it opens by itself again")


@case("a root secret of another keystore leaves it sealed and says why; the right one opens it without a restart")
def test_wrong_root(world):
    place, other = world.fresh(), world.fresh()
    right = open(place.root(), "rb").read()
    with open(place.root(), "wb") as file:
        file.write(open(other.root(), "rb").read())
    with place.serve() as keeper:
        keeper.wait_log("does not open the keystore")
        expect_in("does not open the keystore", keeper.fails("55000", "SHOW MASTER KEYS").err, "why")
        forwards(keeper)
        with open(place.root(), "wb") as file:
            file.write(right)
        keeper.good("SHOW MASTER KEYS")


@case("SEAL and UNSEAL in one session: key statements are refused in between, forwarding goes on")
def test_seal(world):
    place = world.fresh()
    with place.serve() as keeper, pk.Wire(keeper.port) as wire:
        def state(sql):
            return pk.states(wire.query(sql))
        expect_equal(state("SHOW MASTER KEYS"), [], "open")
        expect_equal(state("create temporary table t as select 1 as one"), [], "the session's own table")
        expect_equal(state("SEAL"), [], "SEAL")
        for sql in ("SHOW MASTER KEYS", "CREATE MASTER KEY", "SEAL",
                    f"BACKUP SERVICE MASTER KEY TO FILE = '{world.keys}/sealed.pem' ENCRYPTION BY PASSWORD = '{GOOD}'"):
            expect_equal(state(sql), ["55000"], sql)
        expect(not os.path.exists(f"{world.keys}/sealed.pem"), "nothing was written")
        expect_equal(pk.rows(wire.query("select one from t")), [["1"]], "the session goes on")
        expect_equal(state(unseal(OTHER_CODE)), ["28P01"], "another code")
        expect_equal(state("UNSEAL WITH PASSWORD = 'Zx9!kettle-Moor'"), ["42704"], "no password slot")
        expect_equal(state(unseal(place.code)), [], "UNSEAL")
        expect_equal(state(unseal(place.code)), ["55000"], "once is enough")
        expect_equal(state("SHOW MASTER KEYS"), [], "open again")
        expect_equal(pk.rows(wire.query("select one from t")), [["1"]], "still the same session")


@case("a password slot opens it; the last slot cannot be dropped, by SQL or by the verb")
def test_slots(world):
    place = world.fresh(init=False)
    place.does("init")
    with place.serve() as keeper:
        place.reachable()
        keeper.wait_log("single unlock slot")
        keeper.fails("55000", "ALTER KEYSTORE DROP SLOT 1")
        place.refuses("last unlock slot", "key", "drop-slot", "1")
        keeper.good(f"ALTER KEYSTORE ADD SLOT password '{GOOD}'")
        keeper.good("SEAL")
        keeper.fails("28P01", "UNSEAL WITH PASSWORD = 'Zx9!kettle-Moos'")
        keeper.good(f"UNSEAL WITH PASSWORD = '{GOOD}'")
        keeper.fails("42704", "ALTER KEYSTORE DROP SLOT 77")
        place.does("key", "drop-slot", "1")
        keeper.fails("55000", "ALTER KEYSTORE DROP SLOT 2")
        place.refuses("no unlock slot", "key", "drop-slot", "1")
    with place.serve() as keeper:
        keeper.fails("55000", "SHOW MASTER KEYS")
        keeper.good(f"UNSEAL WITH PASSWORD = '{GOOD}'")


@case("the verbs go through the control socket of a running serve, and stand in the audit trail as themselves")
def test_verbs(world):
    place = world.fresh()
    with place.serve() as keeper:
        place.reachable()
        expect_equal(stat.S_IMODE(os.stat(os.path.join(place.state, "control.sock")).st_mode), 0o600, "mode")
        code = place.recovery()
        slots = place.does("key", "slots").stdout
        expect_equal(re.findall(r"(?m)^ +(\d+)  (\w+)", slots),
                     [("1", "file"), ("2", "recovery"), ("3", "recovery")], "slots")
        place.does("key", "seal")
        keeper.fails("55000", "SHOW MASTER KEYS")
        place.refuses("sealed", "key", "seal")
        place.refuses("sealed", "key", "recovery", "--to", place.code_file())
        expect_in("sealed", place.does("key", "slots").stdout, "state")
        place.refuses("wrong recovery code", "key", "unseal", "--recovery", stdin=OTHER_CODE + "\n")
        place.refuses("no unlock slot", "key", "unseal", stdin=GOOD + "\n")
        place.does("key", "unseal", "--recovery", stdin=code + "\n")
        keeper.good("SHOW MASTER KEYS")
        place.does("key", "drop-slot", "3")
    expect(not os.path.exists(os.path.join(place.state, "control.sock")), "the socket went with serve")
    place.refuses("no pgkeep is running", "key", "seal")
    place.refuses("no pgkeep is running", "key", "unseal", "--recovery", stdin=code + "\n")
    with sqlite3.connect(os.path.join(place.state, "keystore.db")) as db:
        rows = db.execute("select actor, client, action from audit where client = 'control socket'").fetchall()
    expect_equal({row[0] for row in rows}, {f"uid:{os.geteuid()}"}, "who it was")
    expect_equal([row[2] for row in rows], ["ALTER KEYSTORE ADD SLOT", "SEAL", "UNSEAL", "ALTER KEYSTORE DROP SLOT"],
                 "what was done")


@case("key recovery opens the keystore itself when nobody runs")
def test_offline_recovery(world):
    place = world.fresh(init=False)
    place.does("init")
    code = place.recovery()
    place.lose_root()
    place.refuses("sealed", "key", "recovery", "--to", place.code_file())
    with place.serve() as keeper:
        keeper.good(unseal(code))


@case("when somebody has the lock but does not listen, a verb names him")
def test_no_listener(world):
    place = world.fresh()
    with place.serve() as keeper:
        place.reachable()
        keeper.good("SHOW MASTER KEYS")
        os.unlink(os.path.join(place.state, "control.sock"))
        done = place.refuses(str(keeper.process.pid), "key", "recovery", "--to", place.code_file())
        expect(not CODE.search(done.stdout + done.stderr), "no code")


@case("a killed serve leaves a socket behind that the next one replaces")
def test_killed(world):
    place = world.fresh()
    keeper = place.serve().start()
    place.reachable()
    keeper.stop(signal.SIGKILL)
    expect(os.path.exists(os.path.join(place.state, "control.sock")), "left behind")
    place.does("key", "slots")  # by itself: nobody answers
    with place.serve() as keeper:
        keeper.wait_log("control socket")
        pk.wait_until(lambda: place.verb("key", "seal").returncode == 0, "the new one listens", 10)
        keeper.fails("55000", "SHOW MASTER KEYS")


@case("a second serve forwards, names the owner, and takes the keystore over when the first one ends")
def test_second_process(world):
    place = world.fresh()
    world.server.sql("create database twice template template0")
    first = place.serve("first").start()
    first.good("CREATE MASTER KEY", "twice")
    before = first.key("twice")["fingerprint"]
    with place.serve("second") as second:
        forwards(second)
        done = second.fails("55000", "SHOW MASTER KEYS")
        expect_in(str(first.process.pid), done.err, "the owner")
        first.good("SHOW MASTER KEYS")
        with pk.Wire(second.port) as wire:
            expect_equal(pk.states(wire.query("SHOW MASTER KEYS")), ["55000"], "still")
            mark = len(second.log())
            first.stop()
            expect_equal(pk.states(wire.query("SHOW MASTER KEYS")), [], "the same session, once the first has gone")
        second.wait_log("keystore", mark)
        expect_equal(second.key("twice")["fingerprint"], before, "the same key")
        pk.wait_until(lambda: place.verb("key", "seal").returncode == 0, "its control socket", 10)
        second.fails("55000", "SHOW MASTER KEYS")


@case("an unreachable service connection: 57P03 for key statements, forwarding goes on")
def test_no_service(world):
    place = world.fresh()
    service = f"host={pk.HOST} port={pk.free_port()} dbname=postgres user=postgres connect_timeout=2"
    with place.serve(service=service) as keeper:
        forwards(keeper)
        keeper.fails("57P03", "SHOW MASTER KEYS")
        keeper.fails("57P03", "SEAL")
        keeper.fails("57P03", unseal(place.code))
        forwards(keeper)
        place.reachable()
        place.does("key", "slots")  # needs no rights but the file system's


@case("nobody but an administrator seals, unseals or touches slots")
def test_rights(world):
    place = world.fresh()
    world.server.sql("create role nobody_special login")
    with place.serve() as keeper:
        for sql in ("SEAL", unseal(place.code), "ALTER KEYSTORE ADD SLOT file", "ALTER KEYSTORE DROP SLOT 2"):
            keeper.fails("42501", sql, user="nobody_special")
        keeper.good("SHOW MASTER KEYS")


@case("audit verify: a whole trail, a head that is in it, one that is not, and a row that was changed")
def test_audit(world):
    place = world.fresh()
    head = head_of(place.does("audit", "verify"))
    with place.serve() as keeper:
        place.reachable()
        keeper.good("SHOW MASTER KEYS")
        keeper.good("CREATE MASTER KEY")
        rows = int(re.search(r"rows +(\d+)", place.does("audit", "verify").stdout)[1])
        expect(rows >= 3, "rows of the trail", rows)
        place.does("audit", "verify", "--head", head)
    place.does("audit", "verify", f"--head={head}")
    place.refuses("does not contain", "audit", "verify", "--head", "00" * 32)
    place.refuses("64 hexadecimal", "audit", "verify", "--head", "zz")
    with sqlite3.connect(os.path.join(place.state, "keystore.db")) as db:
        db.execute("update audit set actor = 'mallory' where seq = 2")
    db.close()
    place.refuses("audit row 2", "audit", "verify")
    with sqlite3.connect(os.path.join(place.state, "keystore.db")) as db:
        db.execute("delete from audit where seq = 2")
    db.close()
    place.refuses("missing", "audit", "verify")
    with place.serve() as keeper:
        keeper.good("SHOW MASTER KEYS")  # a hole in the past stops nobody
        place.reachable()
        place.refuses("missing", "audit", "verify")


def head_of(done):
    return re.search(r"head +([0-9a-f]{64})", done.stdout)[1]


@case("wrong words: exit status 2 and a sentence; --help for every verb")
def test_usage(world):
    place = world.fresh(init=False)
    place.refuses("what is to be done", "key", code=2)
    place.refuses("does not know", "key", "rotate", code=2)
    place.refuses("number of a slot", "key", "drop-slot", "two", code=2)
    place.refuses("what is to be done", "audit", code=2)
    place.refuses("There is no keystore", "key", "slots")
    place.refuses("There is no keystore", "audit", "verify")
    for verb in ("serve", "init", "key", "audit", "print-sql"):
        done = pk.run_pgkeep([verb, "--help"], place.state + "-help")
        expect(done.returncode == 0 and done.stdout.startswith(f"usage: pgkeep {verb}"), f"{verb} --help", done.stdout[:200])
    done = pk.run_pgkeep(["key", "recovery", "--to"], place.state + "-help")
    expect_equal(done.returncode, 2, "an option without its value")


@case("no recovery code is in any log, any part of a state directory, or PostgreSQL's own files")
def test_no_trace(world):
    expect(len(world.codes) >= 8, "codes that were handed out", len(world.codes))
    needles = []
    for code in world.codes:
        bare = code.replace("-", "")
        needles += [code.encode(), bare.encode(), code.lower().encode(), bare.lower().encode(),
                    code.replace("-", " ").encode()]
    looked = 0
    for folder, _, names in os.walk(world.directory):
        for name in names:
            path = os.path.join(folder, name)
            if path in world.files or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                data = file.read()
            looked += 1
            for needle in needles:
                expect(needle not in data, f"a recovery code is in {path}")
    expect(looked > 100, "files that were looked at", looked)


if __name__ == "__main__":
    pk.main(world)
