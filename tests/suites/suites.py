#!/usr/bin/env python3
"""PostgreSQL's own suites give through pgkeep exactly what they give directly: the regression tests (the
full parallel schedule), the isolation tests and libpq_pipeline, each once against PostgreSQL and once
against pgkeep in front of it. What they leave is compared byte for byte, with each other and not with
what PostgreSQL expects, so that a difference is pgkeep's doing and nothing else.

Both runs have a fresh cluster with the same settings at the same path, and the same port: PostgreSQL's
in the first run, and in the second pgkeep's, behind which PostgreSQL has the same port of another
loopback address. Nothing that a test can print tells one from the other."""

import argparse
import contextlib
import filecmp
import glob
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "system")]

import pk  # noqa: E402  (the line above is what finds it)
import source  # noqa: E402
from pk import case, expect, expect_equal  # noqa: E402

BEHIND = "127.0.0.2"  # where PostgreSQL listens while pgkeep has its place
LIMIT = 900  # seconds for one suite; the slowest takes a tenth of it
PIPELINE_LIMIT = 90  # seconds for one test of libpq_pipeline; uniqviol hangs where a proxy lets both sides block
PIPELINE_ROWS = "700"  # as PostgreSQL's own script for it has it

# libpq_pipeline's tests whose trace is the same in every run; PostgreSQL compares the same ones. In the
# others it depends on when an answer arrives what is sent next.
TRACED = ("simple_pipeline", "nosync", "multi_pipelines", "prepared", "singlerow", "pipeline_abort",
          "pipeline_idle", "transaction", "disallowed_in_pipeline")

# Where PostgreSQL listens is told apart from the rest, which is one set for every run.
SETTINGS = ["max_connections=100", "max_prepared_transactions=10", "log_statement=none", "log_connections=off",
            "log_disconnections=off", "log_min_duration_statement=-1", "log_min_messages=warning",
            "log_error_verbosity=default"]


# --- one run ---------------------------------------------------------------------------------------


class Server(pk.Postgres):
    """Like the other tests', but silent and with the limits that the suites ask for."""

    def __init__(self, directory, address, port):
        super().__init__(directory, settings=[*SETTINGS, f"listen_addresses={address}"])
        self.wanted = port

    def start(self, port=None):
        return super().start(port or self.wanted)

    def activity(self):
        return self.sql("select pid, datname, application_name, state, wait_event, left(query, 200) "
                        "from pg_stat_activity where backend_type = 'client backend'")


class Keeper(pk.Pgkeep):
    """pgkeep as it is in service: its default log level, at a given port."""

    def __init__(self, directory, server, port):
        super().__init__(directory, server, settings=["log.level=info"], backend=f"{BEHIND}:{port}")
        self.wanted = port

    def command(self):
        return [f"{pk.HOST}:{self.wanted}" if word == f"{pk.HOST}:0" else word for word in super().command()]


class Changer:
    """A proxy that changes one word in what the server says, all at one length: the red control."""

    def __init__(self, port, old, new):
        self.target, self.old, self.new = (BEHIND, port), old, new
        self.listener = socket.create_server((pk.HOST, port))

    def accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                for ends in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, origin, sink, changing):
        with contextlib.suppress(OSError):
            while data := origin.recv(65536):
                sink.sendall(data.replace(self.old, self.new) if changing else data)
            sink.shutdown(socket.SHUT_WR)

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which would keep the port
        self.listener.close()


def through_pgkeep(directory, server, port):
    return Keeper(directory, server, port)


def changing(old, new):
    return lambda _directory, _server, port: Changer(port, old, new)


def unused_port():
    """Free at both addresses, and below the range that outgoing connections are given."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server((pk.HOST, port)), socket.create_server((BEHIND, port)):
            return port
    raise pk.Failure("no free port")


class World:
    def __init__(self, directory, tests, built):
        self.directory, self.tests, self.built = directory, tests, built
        self.port = unused_port()
        self.again = False

    def run(self, suite, name, front=None, **more):
        """One suite against a fresh cluster, with `front` before it or alone. Returns the directory of
        what is to be compared."""
        place = os.path.join(self.directory, "run")  # the same path each time: the tests print it
        os.mkdir(place, 0o755)
        kept = os.path.join(self.directory, name)
        try:
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(Server(place, BEHIND if front else pk.HOST, self.port))
                if front is not None:
                    stack.enter_context(front(self.directory, server, self.port))
                begin = time.monotonic()
                suite(self, server, os.path.join(place, "work"), **more)
                print(f"#   {name}: {time.monotonic() - begin:.1f} s")
        finally:
            os.rename(place, kept)
            shutil.rmtree(os.path.join(kept, "pg", "data"), ignore_errors=True)  # the log stays
        return os.path.join(kept, "work", "compared")

    def compare(self, suite, name, **more):
        """Directly and through pgkeep; with --again also directly once more, to see what is never the
        same twice. Returns how many files were compared."""
        direct = self.run(suite, f"{name}, direct", **more)
        if self.again:
            report(name, "two direct runs", direct, self.run(suite, f"{name}, direct again", **more))
        count = report(name, "direct and through pgkeep", direct,
                       self.run(suite, f"{name}, through pgkeep", front=through_pgkeep, **more))
        check_comparison(direct)
        return count


def report(name, pair, one, other):
    count, faults = compare_trees(one, other)
    expect(not faults, f"{name}: {len(faults)} of {count} files differ between {pair}", *faults[:40])
    print(f"#   {name}: {count} files, {pair} the same")
    return count


def run_tool(command, work, server, limit):
    """A runner as the user that PostgreSQL runs as: server and runner write into the same folders."""
    begun = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             cwd=work, env=pk.clean_environment(), start_new_session=True, **pk.unprivileged())
    try:
        out, err = begun.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        stuck = server.activity()
        os.killpg(begun.pid, signal.SIGKILL)  # its own session, begun above
        out, err = begun.communicate()
        raise pk.Failure(f"{os.path.basename(command[0])} was still running after {limit} s\n    {stuck}\n    "
                         + pk.shown(out[-1500:] + err[-1500:])) from None
    return begun.returncode, out, err


# --- the suites --------------------------------------------------------------------------------------


def give(path):
    """To the user that PostgreSQL runs as."""
    who = pk.unprivileged()
    if who:
        os.chown(path, who["user"], who["group"])
        for folder, names, files in os.walk(path):
            for entry in names + files:
                os.chown(os.path.join(folder, entry), who["user"], who["group"])


def steady(text):
    """What a runner says, without how long a test took and which of a group was ready first."""
    text = re.sub(rb"(?m) +\d+ ms$", b"", text)
    return re.sub(rb"(?m)^(parallel group .*: )(.*)$",
                  lambda line: line[1] + b" ".join(sorted(line[2].split())), text)


def keep(work, name, data):
    with open(os.path.join(work, "compared", name), "wb") as out:
        out.write(data)


def regression_runner(folder, runner, schedule):
    """pg_regress or pg_isolation_regress over the tests in `folder`."""
    def suite(world, server, work, only=None, count=0):
        shutil.copytree(os.path.join(world.tests, folder), work)
        shutil.copytree(world.built, os.path.join(work, "lib"))
        give(work)
        names = [f"--schedule={work}/{schedule}"] if only is None else only
        place = os.path.join(os.path.dirname(pk.options.pgbin), "lib", "pgxs", "src", "test", folder, runner)
        code, out, err = run_tool(
            [place, f"--bindir={pk.options.pgbin}", f"--dlpath={work}/lib", f"--inputdir={work}", f"--outputdir={work}",
             f"--host={pk.HOST}", f"--port={world.port}", "--user=postgres", *names], work, server, LIMIT)
        expect(code in (0, 1), f"{runner} ended with {code}", out[-3000:], err[-3000:])
        good, bad = (len(re.findall(rb"(?m)\.\.\. +%s\b" % word, out)) for word in (b"ok", b"FAILED"))
        print(f"#   {good + bad} tests, {good} as PostgreSQL expects")
        expect(good + bad >= max(count, 1), f"{runner} ran too few tests", out[-3000:], err[-3000:])
        # What fails in both runs says little about pgkeep. Some do where the SQL is of another minor
        # release than the server; more than that means that the tests could not do their work.
        expect(only is not None or (bad * 10 <= good and b"test_setup                   ... FAILED" not in out),
               f"{runner}: {bad} tests do not give what PostgreSQL expects", out[-3000:])
        os.rename(os.path.join(work, "results"), os.path.join(work, "compared"))
        keep(work, "exit-status", b"%d\n" % code)
        keep(work, "told", steady(out))
    return suite


regress = regression_runner("regress", "pg_regress", "parallel_schedule")
isolation = regression_runner("isolation", "pg_isolation_regress", "isolation_schedule")


def pipeline(world, server, work, only=None, count=0):
    """Every test that libpq_pipeline tells of: its exit status, what it prints, and its trace."""
    os.makedirs(os.path.join(work, "compared"))
    give(work)
    tool = os.path.join(work, "libpq_pipeline")
    shutil.copy(os.path.join(world.built, "libpq_pipeline"), tool)
    names = only or run_tool([tool, "tests"], work, server, PIPELINE_LIMIT)[1].decode().split()
    expect(len(names) >= max(count, 1), "libpq_pipeline tells of too few tests", names)
    where = f"host={pk.HOST} port={world.port} user=postgres dbname=postgres"
    for name in names:
        trace = ["-t", os.path.join(work, "compared", name + ".trace")] if name in TRACED else []
        code, out, err = run_tool([tool, "-r", PIPELINE_ROWS, *trace, name, where], work, server, PIPELINE_LIMIT)
        expect_equal(code, 0, f"libpq_pipeline {name}: exit status (it said: {pk.shown((out + err)[-1500:])})")
        keep(work, name + ".out", out)
        keep(work, name + ".err", uniqviol_gist(err) if name == "uniqviol" else err)


def uniqviol_gist(text):
    """What uniqviol says, without what no two runs agree on (--again, with this function left out, shows
    it): how much it sent, which is as much as fits into the buffers on the way, and whether the error
    arrived before it was done writing. It counts the results itself; here each must carry its number,
    without a gap, and the kinds must follow one another."""
    kinds, others, number = [], [], 0
    for line in text.splitlines():
        result = re.fullmatch(rb"result (\d+)/\d+(?:: (\d+)|( \(error\): .*)|(: pipeline aborted))", line)
        if result is None:
            if line not in (b"", b"switch to reading") and line.strip(b"."):
                others.append(re.sub(rb"\(id\)=\(\d+\)", b"(id)=(n)", line.strip(b".") if line[:1] in b".E" else line))
            continue
        expect(int(result[1]) == number and (result[2] is None or int(result[2]) == number),
               f"libpq_pipeline uniqviol: result {number} is missing or is another one's", line)
        number += 1
        kind = b"a value" if result[2] else result[3] or result[4]
        if kinds[-1:] != [kind]:
            kinds.append(kind)
    expect(number > 0, "libpq_pipeline uniqviol told of no result", text[-500:])
    return b"\n".join(kinds + sorted(others)) + b"\n"


# --- comparing ---------------------------------------------------------------------------------------


def files_below(root):
    return {os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names}


def compare_trees(one, other):
    """How many files there are, and a text about each that is not the same in both."""
    mine, theirs = files_below(one), files_below(other)
    faults = [f"{name}: only in the first" for name in sorted(mine - theirs)]
    faults += [f"{name}: only in the second" for name in sorted(theirs - mine)]
    for name in sorted(mine & theirs):
        if not filecmp.cmp(os.path.join(one, name), os.path.join(other, name), shallow=False):
            faults.append(f"{name}:\n" + first_lines(os.path.join(one, name), os.path.join(other, name)))
    return len(mine | theirs), faults


def first_lines(one, other, limit=30):
    done = subprocess.run(["diff", "-a", "-U3", one, other], capture_output=True, check=False)
    lines = done.stdout.decode("utf-8", "replace").splitlines()[2:]
    return "\n".join("      " + line[:300] for line in lines[:limit])


def check_comparison(tree):
    """The comparison that just found nothing, with one byte of these very results changed."""
    copy = tree + "-changed"
    shutil.copytree(tree, copy)
    victim = max(files_below(copy), key=lambda name: os.path.getsize(os.path.join(copy, name)))
    with open(os.path.join(copy, victim), "r+b") as file:
        file.seek(os.path.getsize(file.name) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    faults = compare_trees(tree, copy)[1]
    expect(len(faults) == 1 and faults[0].startswith(victim), "a changed byte went unnoticed", victim, faults)
    shutil.rmtree(copy)


# --- the cases ---------------------------------------------------------------------------------------


@case("control: the comparison sees a changed byte, a missing file and one too many")
def control_files(world):
    one, other = (os.path.join(world.directory, name) for name in ("control-one", "control-other"))
    for root in (one, other):
        os.makedirs(os.path.join(root, "deep"))
        for name in ("a", "b", "deep/c"):
            with open(os.path.join(root, name), "w", encoding="ascii") as file:
                file.write("same text\n")
    expect_equal(compare_trees(one, other), (3, []), "two equal trees")
    check_comparison(one)
    os.unlink(os.path.join(one, "deep/c"))
    expect_equal([f.partition(":")[0] for f in compare_trees(one, other)[1]], ["deep/c"], "a missing file")
    expect_equal([f.partition(":")[0] for f in compare_trees(other, one)[1]], ["deep/c"], "one too many")


@case("control: a proxy that changes one word turns the comparison red")
def control_proxy(world):
    ran = {"told", "exit-status"}  # pg_regress notices as well, and says so
    for suite, name, test, old, new, wanted in (
            (regress, "regress", "boolean", b"invalid input syntax", b"Invalid input syntax", {"boolean.out", *ran}),
            (isolation, "isolation", "read-only-anomaly-2", b"could not serialize", b"Could not serialize",
             {"read-only-anomaly-2.out", *ran}),
            (pipeline, "pipeline", "pipeline_abort", b"division by zero", b"division by zerO",
             {"pipeline_abort.trace"})):
        direct = world.run(suite, f"control: {name}, direct", only=[test])
        changed = world.run(suite, f"control: {name}, changed", front=changing(old, new), only=[test])
        found = {fault.partition(":")[0] for fault in compare_trees(direct, changed)[1]}
        expect_equal(found, wanted, f"{name}: the files that differ after one word was changed")


@case("libpq_pipeline: what it says and its traces are the same through pgkeep")
def pipeline_case(world):
    world.compare(pipeline, "pipeline", count=11)


@case("isolation: every result is the same through pgkeep")
def isolation_case(world):
    world.compare(isolation, "isolation", count=110)


@case("regress: every result of the parallel schedule is the same through pgkeep")
def regress_case(world):
    world.compare(regress, "regress", count=215)


@contextlib.contextmanager
def world_of(arguments):
    tests, built = source.prepare(arguments.cache, arguments.pgbin)
    with pk.temporary_directory() as directory:
        world = World(directory, tests, built)
        world.again = arguments.again
        yield world


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--binary", required="PK_BINARY" not in os.environ, help="the pgkeep to test")
    parser.add_argument("--pgbin", default="/usr/lib/postgresql/15/bin", help="PostgreSQL's programs")
    parser.add_argument("--cache", default=os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "suites"),
                        help="where the source package and what is built of it are kept")
    parser.add_argument("--small", action="store_true", help="libpq_pipeline and the isolation tests only")
    parser.add_argument("--again", action="store_true",
                        help="run directly twice, and compare these runs too: shows what is never the same")
    parser.add_argument("--only", help="run the cases whose name matches this pattern (* and ?)")
    return parser.parse_args()


if __name__ == "__main__":
    given = read_arguments()
    sys.argv[1:] = ["--pgbin", given.pgbin, *(["--binary", given.binary] if given.binary else []),
                    *(["--only", given.only] if given.only else [])]
    if given.small:
        pk.cases[:] = [entry for entry in pk.cases if not entry[0].startswith("regress:")]
    pk.main(lambda: world_of(given))
