#!/usr/bin/env python3
"""What only the binary that users run can show: the real cost of a password guess in every key file, and
the permissions of what is left on disk. A build with the tests' cheap key derivation fails here."""

import contextlib
import json
import os
import re
import stat
import subprocess
import time

import pk
from pk import case, expect, expect_equal

GOOD = "Zx9!kettle-Moor"
ROUNDS = 1_000_000  # PBKDF2-HMAC-SHA512 of a key file


class World:
    def __init__(self, directory, server, keeper, keys):
        self.directory, self.server, self.keeper, self.keys = directory, server, keeper, keys


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server, roots=[keys]) as keeper:
            server.sql("create database app template template0")
            keeper.good(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
            yield World(directory, server, keeper, keys)


def rounds_in(path):
    """Iteration counts, as the stock tool prints the structure."""
    done = subprocess.run(["openssl", "asn1parse", "-strictpem", "-inform", "PEM", "-in", path], capture_output=True,
                          text=True, check=False, timeout=pk.TIMEOUT)
    expect(done.returncode == 0, "openssl asn1parse", done.stderr)
    text = done.stdout
    expect("PBKDF2" in text and "hmacWithSHA512" in text, "PBKDF2 with HMAC-SHA512", text[:3000])
    after = text[text.index("PBKDF2"):]
    return int(re.search(r"INTEGER\s+:([0-9A-F]+)", after).group(1), 16)


@case("a password in a key file costs a million rounds to try, whichever statement wrote it")
def test_rounds(world):
    smk, dmk = os.path.join(world.keys, "smk.pem"), os.path.join(world.keys, "dmk.pem")
    place = os.path.join(world.keys, "tenant")
    os.mkdir(place, 0o700)
    world.keeper.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{smk}' ENCRYPTION BY PASSWORD = '{GOOD}'")
    world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{dmk}' ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
    world.keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{place}' ENCRYPTED BY '{GOOD}'", "app")
    tenant = os.path.join(place, "app", os.listdir(os.path.join(place, "app"))[0])
    for path in (smk, dmk, tenant):
        expect(rounds_in(path) >= ROUNDS, f"rounds in {path}", rounds_in(path))


@case("a wrong password takes as long as a right one, and blocks nobody else meanwhile")
def test_time(world):
    path = os.path.join(world.keys, "slow.pem")
    world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
    with pk.Wire(world.keeper.port, "app") as slow, pk.Wire(world.keeper.port, "app") as quick:
        begin = time.monotonic()
        slow.send(pk.query(f"RESTORE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = 'wrong'"
                           f" ENCRYPTION BY PASSWORD = '{GOOD}'"))
        for number in range(20):
            expect_equal(pk.tags(quick.query(f"select {number}")), ["SELECT 1"], "the other session")
        others = time.monotonic() - begin
        (fault,) = [pk.fields(body) for kind, body in slow.until(b"Z") if kind == b"E"]
        taken = time.monotonic() - begin
    expect_equal(fault["C"], "28P01", "the wrong password")
    expect(taken > 0.1, "the derivation was skipped", taken)
    expect(others < max(0.25, taken), "the other session waited", others, taken)


@case("the state directory is 0700, everything in it and every key file 0600, and all of it belongs to the process's user")
def test_permissions(world):
    wrong = []
    for root, wanted_files in ((world.keeper.state, 0o600), (world.keys, 0o600)):
        for where, folders, names in os.walk(root):
            for name in names + folders + ([""] if where == root else []):
                state = os.lstat(os.path.join(where, name))
                mode = stat.S_IMODE(state.st_mode)
                if stat.S_ISREG(state.st_mode) or stat.S_ISSOCK(state.st_mode):
                    if mode & ~wanted_files:
                        wrong.append(f"{where}/{name}: {mode:o}")
                elif stat.S_ISDIR(state.st_mode) and mode != 0o700:
                    wrong.append(f"{where}/{name}: {mode:o}")
                if state.st_uid != os.geteuid():
                    wrong.append(f"{where}/{name}: owner {state.st_uid}")
    expect(not wrong, "permissions", wrong)
    expect(os.path.exists(os.path.join(world.keeper.state, "keystore.db")), "the keystore is there")


@case("no core dumps, and not even the same user may read the process's memory")
def test_process(world):
    pid = world.keeper.process.pid
    with open(f"/proc/{pid}/limits", encoding="ascii") as limits:
        core = next(line.split() for line in limits if line.startswith("Max core file size"))
    expect_equal(core[4:6], ["0", "0"], "limit of core files")
    expect(os.stat(f"/proc/{pid}/mem").st_uid == 0, "the process is dumpable: its /proc/mem belongs to its user")


@case("a state directory that others could read is refused")
def test_open_state(world):
    state = os.path.join(world.directory, "open-state")
    os.mkdir(state, 0o755)
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="open", state=state) as keeper:
        done = keeper.sql("SHOW MASTER KEYS")
        expect(done.states("ERROR") or os.stat(state).st_mode & 0o77 == 0, "a readable state directory was used", done.out)


@case("--version and --help answer and end; nonsense on the command line is refused with 2 or 1")
def test_command_line(world):
    home = os.path.join(world.directory, "verbs")
    done = pk.run_pgkeep(["--version"], home)
    expect(done.returncode == 0 and re.fullmatch(r"pgkeep \d+\.\d+\.\d+\n", done.stdout), "--version", done.stdout, done.stderr)
    done = pk.run_pgkeep(["--help"], home)
    expect(done.returncode == 0 and "serve" in done.stdout and "init" in done.stdout, "--help", done.stdout, done.stderr)
    for arguments in ([], ["nonsense"], ["serve", "--listen"], ["serve", "--nonsense"], ["serve", "--set", "no.such=1"],
                      ["serve", "--set", "keys.allowed_roots=relative/path"], ["serve", "--listen", "127.0.0.1:99999"],
                      ["serve", "--listen", "192.0.2.1:6543"]):  # no address of this host
        done = pk.run_pgkeep(arguments, home)
        expect(done.returncode in (1, 2) and done.stderr, f"pgkeep {' '.join(arguments)}", done.returncode, done.stderr)


@case("init makes a keystore and shows what identifies it, nothing secret")
def test_init(world):
    state = os.path.join(world.directory, "made", "with", "parents")
    done = pk.run_pgkeep(["init", "--state", state], os.path.join(world.directory, "init"))
    expect(done.returncode == 0, "pgkeep init", done.stderr)
    expect(re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", done.stdout), "the uuid", done.stdout)
    with open(os.path.join(state, "root.key"), "rb") as file:
        root = file.read().strip()
    expect(root not in (done.stdout + done.stderr).encode(), "the root secret was printed")


@case("the payload of a file names every key once and carries the signature")
def test_payload(world):
    path = os.path.join(world.keys, "payload.pem")
    world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
    code, plain, errors = pk.openssl_open(path, GOOD)
    expect(code == 0, "openssl", errors)
    document = json.loads(plain.splitlines()[0])
    kids = [key["kid"] for key in document["keys"]]
    expect_equal(len(kids), len(set(kids)), "a key twice")


@case("the variables that make a test build die at a step mean nothing to it")
def test_no_crash_points(world):
    state, points = os.path.join(world.directory, "crash"), os.path.join(world.directory, "points")
    done = subprocess.run([pk.options.binary, "init", "--state", state], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=pk.TIMEOUT, cwd="/",
                          env=pk.clean_environment(PGKEEP_CRASH_AT="1", PGKEEP_CRASH_LIST=points))
    expect_equal(done.returncode, 0, f"pgkeep init: {done.stderr}")
    expect(not os.path.exists(points), "a list of points was written")
    with open(pk.options.binary, "rb") as file:
        expect(b"PGKEEP_CRASH" not in file.read(), "the variables' names are in the binary")


if __name__ == "__main__":
    pk.main(world)
