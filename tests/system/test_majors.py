#!/usr/bin/env python3
"""Other major versions of PostgreSQL than Debian's (majors.py): the tests of forwarding and of interception
run against each, and what only some majors have is tried here: protocol 3.2 with its long cancel keys, the
negotiation of versions, and TLS that begins without asking. What differs between majors is PostgreSQL's own:
wherever an answer may depend on it, the answer that comes directly is the one that is wanted."""

import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import majors
import pk
import relay
from pk import case, expect, expect_equal, expect_in

CANCEL_REQUEST = (80877102).to_bytes(4, "big")
PROTOCOL_3_2 = 0x30002
NEWEST_POSSIBLE = 0x3270F  # 3.9999, which servers never have and must bargain down
SESSIONS = 30


class Server(pk.Postgres):
    """With programs of its own; those of --pgbin stay everybody else's."""

    def __init__(self, programs, *where, **how):
        self.programs = programs
        super().__init__(*where, **how)

    def tool(self, name):
        return os.path.join(self.programs, name)


class World:
    """Servers' programs are unpacked when a case needs them; each server runs for one case."""

    def __init__(self, directory):
        self.directory = directory
        self.programs = {}
        self.numbers = 0

    def pgbin(self, major):
        if major not in self.programs:
            self.programs[major] = majors.unpacked(major, self.directory)
        return self.programs[major]

    @contextlib.contextmanager
    def server(self, major, **how):
        self.numbers += 1
        with Server(self.pgbin(major), self.directory, f"pg-{self.numbers}", **how) as server:
            expect(server.sql("show server_version").startswith(f"{major}."), "the server's version")
            yield server

    @contextlib.contextmanager
    def both(self, major):
        with self.server(major) as server, \
                pk.Pgkeep(self.directory, server, name=f"pgkeep-{self.numbers}") as keeper:
            yield server, keeper


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        yield World(directory)


def every(text, numbers=tuple(majors.VERSIONS)):
    """A case for each of these majors."""
    def add(function):
        for major in numbers:
            case(f"PostgreSQL {major}: {text}")(lambda world, major=major: function(world, major))
        return function
    return add


# --- the tests that Debian's version passes -------------------------------------------------------

CHOSEN = [int(major) for major in os.environ.get("PK_MAJORS", "13 18").split()]  # the rest: scripts/test --long


def passes(programs, name, least, only):
    """A whole test file against the server that these programs are; `least`: how many of its cases must have run."""
    here = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, os.path.join(here, f"test_{name}.py"), "--binary", pk.options.binary, "--source",
               pk.options.source, "--pgbin", programs]
    for pattern in only:
        command += ["--only", pattern]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False)
    told = re.search(r"(\d+) passed, 0 failed\n\Z", done.stdout)
    failures = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("ok "))
    expect(done.returncode == 0 and told, f"test_{name}.py fails", failures, done.stderr)
    expect(int(told[1]) >= least, f"test_{name}.py ran too little", done.stdout)


def chosen(text, name, least, *only):
    """A case of it: the majors side by side, as many at a time as there are cores."""
    @case(f"PostgreSQL {', '.join(map(str, CHOSEN))}: {text}")
    def test(world):
        programs = [world.pgbin(major) for major in CHOSEN]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = [pool.submit(passes, one, name, least, only) for one in programs]
        failures = [f"PostgreSQL {major}: {run.exception()}" for major, run in zip(CHOSEN, runs) if run.exception()]
        expect(not failures, "a test that Debian's version passes", *failures)
    return test


chosen("test_transparency.py", "transparency", 10, "[!c]*")  # all but the controls, which do not depend on the server
chosen("test_statements.py", "statements", 40)
chosen("test_rights.py, where it depends on what membership means, which changed in 16",
       "rights", 4, "membership*", "SET ROLE*", "rights are asked*", "without the roles*")
chosen("test_drivers.py, with psycopg", "drivers", 14, "psycopg:*", "the recorders*", "no value*")


# --- protocol 3.2, and what came to be before it ----------------------------------------------------


def begun(port, protocol, **more):
    """A session begun by hand: the connection, and the messages up to the first ReadyForQuery or the end
    of the stream. A key's bytes are the server's choice; its length is not."""
    wire = pk.Wire(port, begin=False)
    wire.send(pk.startup(protocol, user="postgres", database="postgres", **more))
    messages = []
    while not messages or messages[-1][0] not in (b"Z", None):
        messages.append(wire.read())
    wire.key = next((body for kind, body in messages if kind == b"K"), None)
    return wire, [(kind, len(body) if kind == b"K" else body) for kind, body in messages]


@every("versions of the protocol and options that it does not know are negotiated as directly")
def test_negotiation(world, major):
    with world.both(major) as (server, keeper):
        for protocol, more in ((0x30000, {}), (0x30001, {}), (PROTOCOL_3_2, {}), (NEWEST_POSSIBLE, {}),
                               (0x30000, {"_pq_.nosuch": "1"}), (PROTOCOL_3_2, {"_pq_.nosuch": "1", "_pq_.other": "2"})):
            answers = []
            for port in (server.port, keeper.port):
                wire, messages = begun(port, protocol, **more)
                with wire:
                    if messages[-1][0] == b"Z":
                        messages += wire.query("select 'first'; select 1/0")
                answers.append(messages)
            expect_equal(answers[1], answers[0], f"answers to version {protocol:#x} with {more}")
        refusals = []
        for port in (server.port, keeper.port):
            wire, messages = begun(port, 0x40000)
            wire.close()
            expect_equal(messages[0][0], b"E", "an unsupported version is refused")
            refusals.append([pk.fields(messages[0][1])[field] for field in "SVC"])  # M names the server's range
        expect_equal(refusals[1], refusals[0], "the refusal")


@every("the newest version: a session with ours and theirs, and a cancel key of any length", (17, 18))
def test_newest(world, major):
    with world.both(major) as (_, keeper):
        wire, messages = begun(keeper.port, PROTOCOL_3_2)
        with wire:
            offered = [body for kind, body in messages if kind == b"v"]
            expect_equal((len(wire.key), len(offered)), (36, 0) if major >= 18 else (8, 1), "key and negotiation")
            expect_equal(pk.tags(wire.query("CREATE MASTER KEY")), ["CREATE MASTER KEY"], "ours")
            expect_equal(pk.tags(wire.ask(pk.extended("SHOW MASTER KEYS"), pk.SYNC)), ["SHOW"], "ours, extended")
            wrong = wire.key[:-1] + bytes([wire.key[-1] ^ 1])
            for key, states in ((wrong, []), (wire.key + b"\0\0\0\0", []), (wire.key, ["57014"])):
                wire.send(pk.query(f"select pg_sleep({60 if states else 0.5})"))
                time.sleep(0.1)
                cancel(keeper.port, key)
                expect_equal(pk.states(wire.until(b"Z")), states, f"a key of {len(key)} bytes")
            expect_equal(pk.rows(wire.query("select 'after'")), [["after"]], "the session goes on")


def cancel(port, key):
    with socket.create_connection((pk.HOST, port), timeout=pk.TIMEOUT) as request:
        request.sendall((len(key) + 8).to_bytes(4, "big") + CANCEL_REQUEST + key)
        with contextlib.suppress(ConnectionResetError):
            expect_equal(request.recv(10), b"", "a cancel request is not answered")


@every("its libpq, in psql: protocol 3.2, cancelling, and TLS that begins without asking", (18,))
def test_libpq(world, major):
    cert, key = pk.self_signed(os.path.join(world.directory, f"proxy-{major}"))
    settings = [f"client_tls.cert_file={cert}", f"client_tls.key_file={key}"]
    with world.server(major) as server, \
            pk.Pgkeep(world.directory, server, settings=settings, name=f"libpq-{major}") as keeper, \
            relay.Relay(keeper.port) as recorder:
        library = {"LD_LIBRARY_PATH": os.path.join(os.path.dirname(world.pgbin(major)), "lib")}
        plain = "dbname=postgres sslmode=disable min_protocol_version=3.2 max_protocol_version=latest"
        for words in (plain, plain.replace("disable", "require"), plain.replace("disable", "require sslnegotiation=direct")):
            done = pk.psql("select 'theirs'; SHOW MASTER KEYS;", database=words, port=recorder.port, env=library, args=("-At",))
            expect_equal((done.code, done.states("ERROR"), done.tags()[0]), (0, [], "theirs"), f"{words}: {done.err}")
            error = interrupted_psql(words, server, recorder.port, library)
            expect_in("canceling statement due to user request", error, words)
        asked = [bytes(conversation.asked[:8]) for conversation in recorder.conversations]
        expect_equal(asked[0][4:], PROTOCOL_3_2.to_bytes(4, "big"), "the version that libpq asked for")
        expect(any(first[:1] == b"\x16" for first in asked), "TLS began without asking", asked)


def interrupted_psql(words, server, port, library):
    """What psql says when Ctrl-C ends its statement."""
    process = subprocess.Popen(
        [pk.Postgres.tool("psql"), "-X", "-h", pk.HOST, "-p", str(port), "-U", "postgres", "-d", words,
         "-c", "select 'interrupt me', pg_sleep(60)"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env=pk.clean_environment(**library), start_new_session=True)
    pk.wait_until(lambda: server.sql("select count(*) from pg_stat_activity where state = 'active' "
                                     "and query like 'select ''interrupt%'") == "1", "the statement runs", 30)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=30)[1]


# --- TLS towards the server without asking first ----------------------------------------------------


@contextlib.contextmanager
def server_with_tls(world, major):
    """And a user whose session says whether it is encrypted; he may not come without."""
    cert, key = pk.self_signed(os.path.join(world.directory, f"server-{major}"))
    if who := pk.unprivileged():
        shutil.chown(key, who["user"], who["group"])
    os.chmod(key, 0o600)
    with world.server(major, hba=[f"hostssl all postgres {pk.HOST}/32 trust", f"host all all {pk.HOST}/32 reject"],
                      settings=["ssl=on", f"ssl_cert_file={cert}", f"ssl_key_file={key}"]) as server:
        yield server, cert


class Yielding(pk.Pgkeep):
    """On the server's core and behind it: often the server's half of the handshake is there as soon as ours
    is sent. What is freed is overwritten, so that nobody lives on it."""

    def environment(self):
        return {**super().environment(), "MALLOC_PERTURB_": "85"}

    def command(self):
        core = min(os.sched_getaffinity(0))
        os.sched_setaffinity(self.postgres.process.pid, {core})
        return ["nice", "-n", "10", "taskset", "-c", str(core), *super().command()]


def through_direct_tls(world, server, cert):
    settings = ["server_tls.sslmode=verify-full", "server_tls.sslnegotiation=direct", f"server_tls.ca_file={cert}"]
    return Yielding(world.directory, server, settings=settings, name=f"direct-{world.numbers}")


@every("TLS towards the server begins without asking", (17, 18))
def test_direct_tls(world, major):
    with server_with_tls(world, major) as (server, cert), through_direct_tls(world, server, cert) as keeper:
        keeper.good("CREATE MASTER KEY")
        for _ in range(SESSIONS):
            with pk.Wire(keeper.port) as wire:
                encrypted = wire.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
                expect_equal(pk.rows(encrypted), [["t"]], "the session is encrypted")
        with pk.Wire(keeper.port) as wire:
            wire.send(pk.query("select pg_sleep(60)"))
            time.sleep(0.1)
            cancel(keeper.port, wire.key)
            expect_equal(pk.states(wire.until(b"Z")), ["57014"], "a cancel request goes the same way")


@every("a server that must be asked first for TLS is not met by one that does not ask, and the client is told", (16,))
def test_no_direct_tls(world, major):
    with server_with_tls(world, major) as (server, cert), through_direct_tls(world, server, cert) as keeper:
        done = keeper.sql("select 1")
        expect(done.code != 0, "a session came about", done.out)
        expect_in("the peer closed the connection", done.err, "the reason is told")


if __name__ == "__main__":
    pk.main(world)
