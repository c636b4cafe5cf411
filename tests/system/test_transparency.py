#!/usr/bin/env python3
"""What is not ours passes through byte for byte: the same psql script, the same raw protocol bytes and
the same tools, once directly and once through pgkeep, in identical fresh databases; every byte that
comes back is compared. A proxy that flips one letter shows that the comparison can fail."""

import contextlib
import difflib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import pk
from pk import case, expect, expect_equal


def world():
    @contextlib.contextmanager
    def make():
        with pk.temporary_directory() as directory:
            server = pk.Postgres(directory, hba=[
                f"host all scrammed {pk.HOST}/32 scram-sha-256", f"host all hashed {pk.HOST}/32 md5",
                f"host all plain {pk.HOST}/32 password", f"host all shut {pk.HOST}/32 reject"])
            with server, pk.Pgkeep(directory, server) as keeper:
                yield World(directory, server, keeper)
    return make()


class World:
    def __init__(self, directory, server, keeper):
        self.directory = directory
        self.server = server
        self.keeper = keeper

    def fresh(self):
        self.server.sql("drop database if exists t with (force)")
        self.server.sql("create database t template template0")

    def script(self, port):
        """psql with the script as a file, in an empty directory, without a terminal: \\password then
        reads its answers from standard input."""
        self.fresh()
        work = os.path.join(self.directory, "work")
        os.makedirs(work)
        try:
            shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "transparency.sql"), work)
            done = subprocess.run(
                [os.path.join(pk.options.pgbin, "psql"), "-X", "-a", "-h", pk.HOST, "-p", str(port),
                 "-U", "postgres", "-d", "t", "-f", "transparency.sql"],
                input=b"new password\nnew password\nother\nother\n", capture_output=True, cwd=work,
                env=pk.clean_environment(), start_new_session=True, timeout=pk.TIMEOUT, check=False)
        finally:
            for name in os.listdir(work):
                os.unlink(os.path.join(work, name))
            os.rmdir(work)
        out, err = (text.replace(b"port %d " % port, b"port n ") for text in (done.stdout, done.stderr))
        return done.returncode, without_numbers(out), without_numbers(err, out)


def without_numbers(text, told_in=None):
    """Blanks the process numbers that the script itself printed."""
    for number in set(re.findall(rb"PID (\d+)", told_in or text)):
        text = re.sub(rb"\bPID %s\b" % number, b"PID n", text)
    return text


def first_difference(one, two):
    """None, or a text about the first byte in which they differ."""
    if one == two:
        return None
    at = next((i for i, (a, b) in enumerate(zip(one, two)) if a != b), min(len(one), len(two)))
    line = one[:at].count(b"\n") + 1
    return (f"byte {at} (line {line}; {len(one)} and {len(two)} bytes)\n"
            f"    direct:  {one[max(0, at - 60):at + 100]!r}\n    through: {two[max(0, at - 60):at + 100]!r}")


def compare(direct, through):
    expect_equal(through[0], direct[0], "psql's exit status")
    for name, a, b in (("standard output", direct[1], through[1]), ("standard error", direct[2], through[2])):
        difference = first_difference(a, b)
        expect(difference is None, f"{name} differs: {difference}")


class Flipper:
    """A proxy that changes one letter: the red control."""

    def __init__(self, port, old, new):
        self.target, self.old, self.new = port, old, new
        self.listener = socket.create_server((pk.HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection((pk.HOST, self.target))
            self.sockets += [client, server]
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, sink, changing):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data.replace(self.old, self.new) if changing else data)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()
        for one in self.sockets:
            one.close()


@case("one long psql script gives the same bytes directly and through pgkeep")
def test_script(world):
    direct = world.script(world.server.port)
    again = world.script(world.server.port)
    compare(direct, again)  # else the script itself is not repeatable
    expect(len(direct[1]) > 3_000_000, "the script produced less than it should", len(direct[1]))
    for part in (b"Asynchronous notification", "財务".encode(), b"division by zero", b"Enter new password"):
        expect(part in direct[1] + direct[2], f"the script did not reach {part!r}")
    compare(direct, world.script(world.keeper.port))


@case("control: one changed letter on the way is seen")
def test_control(world):
    direct = world.script(world.server.port)
    flipper = Flipper(world.server.port, b"division by zero", b"division by zerO")
    try:
        changed = world.script(flipper.port)
    finally:
        flipper.close()
    try:
        compare(direct, changed)
    except pk.Failure as fault:
        pk.expect_in("zerO", str(fault), "the report names the place")
        return
    raise pk.Failure("a changed letter went unnoticed")


# The extended protocol in every shape, as raw bytes: request by request, each ending with one or more
# ReadyForQuery (the number stands beside it).
def raw_requests():
    q, p, b, e, d, c, s, h = (pk.query, pk.parse, pk.bind, pk.execute, pk.describe, pk.close, pk.SYNC, pk.FLUSH)
    return [
        ("empty query", 1, [q("")]),
        ("many statements", 1, [q("create temp table r (a int, b text, c float8, d bytea); select 1; select 2")]),
        ("parse, describe, bind, execute", 1, [p("", "select $1::int4 + 1, $2::text", (23, 25)), d(b"S", ""),
                                               b("", "", (b"41", b"x")), d(b"P", ""), e(), s]),
        ("binary both ways", 1, [p("bin", "select $1::int8 * 2, $2::float8, $3::bytea, $4::timestamptz"),
                                 b("", "bin", (b"\0" * 7 + b"\x15", b"\x40\x09\x21\xfb\x54\x44\x2d\x18",
                                               b"\0\xff", b"\0\0\x01\0\0\0\0\0"), (1,), (1,)), e(), s]),
        ("portal with a row limit", 1, [q("begin")]),
        ("suspended", 1, [p("many", "select n from generate_series(1, 10) n"), b("port", "many"),
                          e("port", 3), h, e("port", 3), e("port", 0), c(b"P", "port"), s]),
        ("portal reused", 1, [b("p2", "many"), e("p2", 2), s]),
        ("commit", 1, [q("commit")]),
        ("error skips to Sync", 2, [p("", "select 1/$1::int", (23,)), b("", "", (b"0",)), e(), p("never", "select 1"),
                                    b("", "never"), e(), s, q("select 'after'")]),
        ("syntax error in Parse", 1, [p("bad", "selec 1"), b("", "bad"), e(), s]),
        ("unknown statement and portal", 2, [b("", "nosuch"), e(), s, e("nosuch"), s]),
        ("wrong parameter count", 1, [p("", "select $1::int"), b("", ""), e(), s]),
        ("null and empty parameters", 1, [p("", "select $1::text, $2::text, $3::text is null"),
                                          b("", "", (None, b"", None)), e(), s]),
        ("empty prepared statement", 1, [p("", ""), d(b"S", ""), b("", ""), e(), s]),
        ("close what is not there", 1, [c(b"S", "nosuch"), c(b"P", "nosuch"), s]),
        ("name used twice", 1, [p("bin", "select 1"), s]),
        ("pipeline of 200", 200, [m for n in range(200) for m in (p("", f"select {n}, repeat('x', {n * 7})"), b("", ""),
                                                               d(b"P", ""), e(), s)]),
        ("pipeline of simple queries", 3, [q("select 1"), q("select 1/0"), q("select 2; select 3")]),
        ("simple and extended mixed", 2, [p("m", "select 'mixed'"), q("select 'simple'"), b("", "m"), e(), s]),
        ("copy in, simple", 1, [q("copy r (a, b) from stdin"), pk.message(b"d", b"1\tone\n2\t"),
                                pk.message(b"d", b"two\n"), pk.message(b"c")]),
        ("copy in, failed by the client", 1, [q("copy r (a, b) from stdin"), pk.message(b"d", b"3\tthree\n"),
                                              pk.message(b"f", b"changed my mind\0")]),
        ("copy in, refused by the server", 1, [q("copy r (a, b) from stdin"), pk.message(b"d", b"x\ty\n" * 1000),
                                               pk.message(b"c")]),
        ("copy in, extended", 1, [p("", "copy r (a, b) from stdin"), b("", ""), e(), pk.message(b"d", b"5\tfive\n"),
                                  pk.message(b"c"), s]),
        ("copy out", 1, [q("copy r to stdout; select count(*) from r")]),
        ("copy out binary", 1, [q("copy (select n, repeat('b', 1000) from generate_series(1, 2000) n) to stdout (format binary)")]),
        # pg_backend_pid (2026) would differ; length of a text (1317) does not
        ("function call", 1, [pk.message(b"F", bytes.fromhex("00000525 0000 0001 00000003") + b"abc"
                                         + bytes.fromhex("0000"))]),
        ("settings report", 1, [q("set application_name = 'raw'; set timezone = 'UTC'; set client_encoding = 'LATIN1'")]),
        ("settings back", 1, [q("reset client_encoding")]),
        ("large message both ways", 1, [p("", "select $1::text"), b("", "", (b"L" * 3_000_000,)), e(), s]),
        ("many columns", 1, [q("select " + ", ".join(f"{n} as c{n}" for n in range(1600)))]),
        ("long statement", 1, [q("select 1 /* " + "x" * 2_000_000 + " */")]),
        ("bytes that are no UTF-8", 1, [pk.message(b"Q", b"select '\xff\xfe'\0")]),
        ("notices in a pipeline", 1, [p("", "do $$ begin raise notice 'n'; end $$"), b("", ""), e(), s]),
        ("deallocate", 1, [q("deallocate all")]),
        ("discard", 1, [q("discard all")]),
    ]


def raw_transcript(port):
    """Everything the server sends, without the secret key and process number of the session."""
    transcript = []
    with pk.Wire(port, "t") as wire:
        start = wire.transcript
        transcript.append(("start", re.sub(rb"K\0\0\0\x0c.{8}", b"K", start, flags=re.S)))
        for name, answers, messages in raw_requests():
            mark = len(wire.transcript)
            wire.send(*messages)
            for _ in range(answers):
                wire.until(b"Z")
            transcript.append((name, wire.transcript[mark:]))
    return transcript


def compare_transcripts(direct, through):
    for (name, a), (_, b) in zip(direct, through):
        difference = first_difference(a, b)
        expect(difference is None, f"answer to \"{name}\" differs: {difference}")
    expect_equal(len(through), len(direct), "number of answers")


@case("raw protocol bytes, simple and extended, come back the same")
def test_raw(world):
    world.fresh()
    direct = raw_transcript(world.server.port)
    compare_transcripts(direct, raw_transcript(world.server.port))
    compare_transcripts(direct, raw_transcript(world.keeper.port))


@case("control: one changed byte in the raw answers is seen")
def test_raw_control(world):
    world.fresh()
    direct = raw_transcript(world.server.port)
    changed = [(name, text.replace(b"after", b"aftEr")) for name, text in direct]
    try:
        compare_transcripts(direct, changed)
    except pk.Failure:
        return
    raise pk.Failure("a changed byte went unnoticed")


@case("bytes cut anywhere arrive as they were")
def test_cut(world):
    world.fresh()
    messages = b"".join(m for _, _, ms in raw_requests()[:6] for m in ms)
    answers = sum(n for _, n, _ in raw_requests()[:6])
    outputs = []
    for port, step in ((world.server.port, len(messages)), (world.keeper.port, 1), (world.keeper.port, 7)):
        with pk.Wire(port, "t") as wire:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            mark = len(wire.transcript)
            for at in range(0, len(messages), step):
                wire.send(messages[at:at + step])
            for _ in range(answers):
                wire.until(b"Z")
            outputs.append(wire.transcript[mark:])
    for other in outputs[1:]:
        difference = first_difference(outputs[0], other)
        expect(difference is None, f"cut messages were answered differently: {difference}")


@case("a COPY of 200 MB each way is not collected in memory")
def test_big_copy(world):
    world.fresh()
    world.server.sql("create table b (t text)", "t")
    port = world.keeper.port
    row = "r" * 9999 + "\n"
    work = os.path.join(world.directory, "rows")
    with open(work, "w", encoding="ascii") as out:
        for _ in range(20000):
            out.write(row)
    before = resident(world.keeper.process.pid)
    done = pk.psql(None, database="t", port=port, args=("-c", f"\\copy b from '{work}'"), stdin=b"")
    expect(done.code == 0, "copy in failed", done.err)
    back = work + ".back"
    done = pk.psql(None, database="t", port=port, args=("-c", f"\\copy b to '{back}'"), stdin=b"")
    expect(done.code == 0, "copy out failed", done.err)
    with open(work, "rb") as one, open(back, "rb") as two:
        while a := one.read(1 << 20):
            expect(a == two.read(1 << 20), "the rows that came back differ")
    os.unlink(work)
    os.unlink(back)
    grown = resident(world.keeper.process.pid) - before
    expect(grown < 64 << 20, "pgkeep grew by more than 64 MiB", grown)


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


@case("passwords pass through: SCRAM, MD5, plain, right and wrong, and a refused user")
def test_passwords(world):
    world.server.sql("create role scrammed login password 'right one'")
    world.server.sql("create role plain login password 'right one'")
    world.server.sql("set password_encryption = md5; create role hashed login password 'right one'")
    world.server.sql("create role shut login")
    for user in ("scrammed", "hashed", "plain"):
        for word in ("right one", "wrong one"):
            texts = []
            for port in (world.server.port, world.keeper.port):
                done = pk.psql("select current_user", user=user, port=port, env={"PGPASSWORD": word})
                texts.append((done.code, done.out, done.err.replace(str(port), "PORT")))
            expect_equal(texts[1], texts[0], f"{user} with the {word}")
            expect_equal(texts[0][0] == 0, word == "right one", f"{user} with the {word} directly")
    for user, database in (("shut", "postgres"), ("nobody_here", "postgres"), ("postgres", "nosuch")):
        texts = [pk.psql("select 1", user=user, database=database, port=port).err.replace(str(port), "PORT")
                 for port in (world.server.port, world.keeper.port)]
        expect_equal(texts[1], texts[0], f"refusal of {user} at {database}")


@case("a cancel request reaches the right backend and no other")
def test_cancel(world):
    texts = []
    for port in (world.server.port, world.keeper.port):
        process = subprocess.Popen(
            [os.path.join(pk.options.pgbin, "psql"), "-X", "-h", pk.HOST, "-p", str(port), "-U", "postgres",
             "-c", "select 'waiting', pg_sleep(60)"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=pk.clean_environment(), start_new_session=True)
        pk.wait_until(lambda: world.server.sql(
            "select count(*) from pg_stat_activity where query like 'select ''waiting''%' and state = 'active'") == "1",
            "the statement runs", 30)
        with pk.Wire(port) as bystander:
            bystander.send(pk.query("select 'bystander', pg_sleep(1)"))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            expect("T" in pk.kinds(bystander.until(b"Z")), "the bystander was cancelled")
        texts.append((process.returncode, out, err))
    expect_equal(texts[1], texts[0], "the cancelled statement")
    expect(b"canceling statement due to user request" in texts[0][2], "it was cancelled", texts[0])


@case("a cancel request with a wrong key does nothing")
def test_wrong_cancel(world):
    with pk.Wire(world.keeper.port) as wire:
        wire.send(pk.query("select pg_sleep(0.7)"))
        key = bytearray(wire.key)
        key[-1] ^= 1
        with socket.create_connection((pk.HOST, world.keeper.port), timeout=30) as other:
            other.sendall((16).to_bytes(4, "big") + (80877102).to_bytes(4, "big") + bytes(key))
            with contextlib.suppress(ConnectionResetError):
                expect_equal(other.recv(10), b"", "a cancel request is not answered")
        expect("E" not in pk.kinds(wire.until(b"Z")), "a wrong key cancelled the statement")


@case("a backend that is terminated looks the same from psql")
def test_terminated(world):
    texts = []
    for port in (world.server.port, world.keeper.port):
        done = pk.psql("select 1;\nselect pg_terminate_backend(pg_backend_pid());\nselect 2;", port=port)
        texts.append((done.code, done.out, done.err))
    expect_equal(texts[1], texts[0], "a terminated session")
    expect("57P01" in texts[0][2], "it was terminated", texts[0])


@case("pg_dump and pgbench work as before")
def test_tools(world):
    world.fresh()
    run = lambda name, port, *more: subprocess.run(
        [os.path.join(pk.options.pgbin, name), "-h", pk.HOST, "-p", str(port), "-U", "postgres", *more],
        capture_output=True, env=pk.clean_environment(), cwd="/", timeout=pk.TIMEOUT, check=False)
    done = run("pgbench", world.keeper.port, "-i", "-q", "-s", "1", "t")
    expect(done.returncode == 0, "pgbench -i failed", done.stderr)
    for mode in ("simple", "extended", "prepared"):
        done = run("pgbench", world.keeper.port, "-n", "-c", "4", "-j", "2", "-t", "25", "-M", mode, "t")
        expect(done.returncode == 0 and b"100/100" in done.stdout, f"pgbench -M {mode}", done.stdout, done.stderr)
    dumps = [run("pg_dump", port, "--restrict-key=same", "t") for port in (world.server.port, world.keeper.port)]
    if b"server version mismatch" not in dumps[0].stderr:  # it refuses servers newer than itself
        expect(dumps[0].returncode == 0 and len(dumps[0].stdout) > 1_000_000, "pg_dump directly", dumps[0].stderr)
    difference = first_difference(dumps[0].stdout, dumps[1].stdout)
    expect(difference is None and dumps[1].returncode == dumps[0].returncode, f"the dumps differ: {difference}", dumps[1].stderr)
    expect_equal(dumps[1].stderr, dumps[0].stderr, "what pg_dump says")


@case("two hundred sessions come and go, thirty at a time")
def test_many(world):
    limit = 30
    for _ in range(7):
        wires = [pk.Wire(world.keeper.port, "t") for _ in range(limit)]
        for number, wire in enumerate(wires):
            wire.send(pk.query(f"select {number}"))
        for number, wire in enumerate(wires):
            rows = [body for kind, body in wire.until(b"Z") if kind == b"D"]
            expect(rows and rows[0].endswith(str(number).encode()), "an answer went to the wrong session")
        for wire in wires:
            wire.close()
    pk.wait_until(lambda: int(world.server.sql(
        "select count(*) from pg_stat_activity where backend_type = 'client backend'")) < 6,
        "the backends of closed sessions end", 20)


if __name__ == "__main__":
    pk.main(world)
