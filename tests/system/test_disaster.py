#!/usr/bin/env python3
"""The reason for key backups: the keystore is lost, another one is made, the keys come back from their
files. What was wrapped under the lost keys opens again, and the fingerprints are the old ones.

wraptool stands for the data that the keys protect: it wraps a random data key under the master key of a
database, in a keystore that nobody else has open, and unwraps it later, in another one. It prints the data
key's fingerprint, for a key never leaves the program in clear: equal fingerprints are equal keys."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess

import pk
from pk import case, expect, expect_equal, expect_in

GOOD = "Zx9!kettle-Moor"
OWN = "Quarry=Slate=3306"


class World:
    """Two databases with a key each, all backups taken, data keys wrapped, keystore lost and made anew."""

    def __init__(self, directory, server):
        self.directory = directory
        self.server = server
        self.keys = os.path.join(directory, "keys")
        os.mkdir(self.keys, 0o700)
        self.state = os.path.join(directory, "state")
        self.saved = os.path.join(directory, "lost-state")
        self.before = {}
        self.data = {}
        self.password_file = os.path.join(directory, "password")
        with open(self.password_file, "w", encoding="utf-8") as file:
            file.write(OWN)
        os.chmod(self.password_file, 0o600)

    def keeper(self):
        return pk.Pgkeep(self.directory, self.server, roots=[self.keys], state=self.state)

    def path(self, name):
        return os.path.join(self.keys, name)

    def wrap(self, database, password=False):
        out = os.path.join(self.directory, f"wrap-{database}")
        return wraptool(self, "wrap", database, out, password)

    def unwrap(self, database, password=False):
        return wraptool(self, "unwrap", database, os.path.join(self.directory, f"wrap-{database}"), password)

    def prepare(self):
        self.server.sql("create database one template template0")
        self.server.sql("create database two template template0")
        self.init()
        with self.keeper() as keeper:
            keeper.good(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{OWN}'", "one")
            keeper.good("CREATE MASTER KEY", "two")
            keeper.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{self.path('smk.pem')}' ENCRYPTION BY PASSWORD = '{GOOD}'")
            keeper.good(f"BACKUP MASTER KEY TO FILE = '{self.path('one.pem')}' ENCRYPTION BY PASSWORD = '{GOOD}'", "one")
            for place, clause in (("with", f" ENCRYPTED BY '{GOOD}'"), ("without", "")):
                os.mkdir(self.path(place), 0o700)
                keeper.good(f"ALTER SYSTEM BACKUP KEY TENANT = two TO 'file://{self.path(place)}'{clause}")
            self.before = {k["database"]: k["fingerprint"] for k in keeper.keys()}
        self.data = {name: self.wrap(name) for name in ("one", "two")}
        self.uuid = store_uuid(self.state)
        os.rename(self.state, self.saved)

    def init(self):
        done = pk.run_pgkeep(["init", "--state", self.state], self.state + "-init")
        expect(done.returncode == 0, "pgkeep init", done.stdout, done.stderr)
        return done

    def lose(self):
        """A fresh, empty keystore in place of whatever is there."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.init()
        expect(store_uuid(self.state) != self.uuid, "the new keystore has the old one's uuid")


def wraptool(world, verb, database, path, password):
    tool = os.path.join(pk.options.tools or "", "wraptool")
    expect(os.path.exists(tool), f"{tool} is missing: it is built with the tests")
    command = [tool, verb, "--state", world.state, "--database", database]
    if password:
        command += ["--password-file", world.password_file]
    done = subprocess.run(command + [path], capture_output=True, text=True, check=False, timeout=pk.TIMEOUT,
                          env=pk.clean_environment(ASAN_OPTIONS="exitcode=99"))
    expect(done.returncode == 0, f"wraptool {verb} {database}", done.stdout, done.stderr)
    expect(re.fullmatch(r"pgk1:[0-9a-f]{4}(-[0-9a-f]{4}){3}\n", done.stdout), "the data key's fingerprint", done.stdout)
    return done.stdout.strip()


def store_uuid(state):
    with contextlib.closing(sqlite3.connect(f"file:{state}/keystore.db?immutable=1", uri=True)) as db:
        return db.execute("select uuid from store").fetchone()[0]


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        server = pk.Postgres(directory)
        with server:
            shared = World(directory, server)
            shared.prepare()
            yield shared


@case("before anything is restored, nothing of the old keys is there; neither without nor with new keys anything opens")
def test_lost(world):
    world.lose()
    nothing_opens(world)
    with world.keeper() as keeper:
        keeper.good("CREATE MASTER KEY", "one")
        keeper.good("CREATE MASTER KEY", "two")
        fingerprints = {k["fingerprint"] for k in keeper.keys()}
        expect(not fingerprints & set(world.before.values()), "an old key in the new keystore", fingerprints)
    nothing_opens(world)


def nothing_opens(world):
    for name in ("one", "two"):
        try:
            world.unwrap(name)
        except pk.Failure as fault:
            expect_in("wraptool unwrap", str(fault), "it was the tool that refused")
            continue
        raise pk.Failure(f"the data key of {name} opened without its master key")


@case("BACKUP MASTER KEY and RESTORE MASTER KEY: same fingerprint, and the old data key opens with the new password")
def test_master_key(world):
    world.lose()
    with world.keeper() as keeper:
        done = keeper.good(f"RESTORE MASTER KEY FROM FILE = '{world.path('one.pem')}' DECRYPTION BY PASSWORD = '{GOOD}'"
                           f" ENCRYPTION BY PASSWORD = '{OWN}'", "one")
        expect_in(world.before["one"], done.err, "the notice has the fingerprint")
        key = keeper.key("one")
        expect_equal(key["fingerprint"], world.before["one"], "fingerprint")
        expect_equal((key["encrypted_by_server"], key["password_protectors"]), ("f", "1"),
                     "as in SQL Server, the restored key is protected by the password only")
    expect_equal(world.unwrap("one", password=True), world.data["one"], "the data key")


@case("ALTER SYSTEM BACKUP KEY with a password: same fingerprint, and the old data key opens by itself")
def test_tenant_with_password(world):
    world.lose()
    with world.keeper() as keeper:
        keeper.good(f"ALTER SYSTEM RESTORE KEY TENANT = two FROM 'file://{world.path('with')}' ENCRYPTED BY '{GOOD}'")
        expect_equal(keeper.key("two")["fingerprint"], world.before["two"], "fingerprint")
    expect_equal(world.unwrap("two"), world.data["two"], "the data key")


@case("each RESTORE reads what the other's BACKUP wrote; a key that only a password opens gets the service master key back")
def test_other_door(world):
    world.lose()
    with world.keeper() as keeper:
        keeper.good(f"RESTORE MASTER KEY FROM FILE = '{world.path('one.pem')}' DECRYPTION BY PASSWORD = '{GOOD}'"
                    f" ENCRYPTION BY PASSWORD = '{OWN}'", "one")
        backup = f"BACKUP MASTER KEY TO FILE = '{world.path('again.pem')}' ENCRYPTION BY PASSWORD = '{GOOD}'"
        keeper.fails("55000", backup, "one")
        keeper.good(f"ALTER SYSTEM RESTORE KEY FROM 'file://{world.path('one.pem')}' ENCRYPTED BY '{GOOD}'", "one")
        expect_equal(keeper.key("one")["encrypted_by_server"], "t", "it opens by itself")
        keeper.good(backup, "one")
        (name,) = os.listdir(os.path.join(world.path("with"), "two"))
        keeper.good(f"RESTORE MASTER KEY FROM FILE = '{world.path('with')}/two/{name}' DECRYPTION BY PASSWORD = '{GOOD}'"
                    f" ENCRYPTION BY PASSWORD = '{OWN}'", "two")
        for name in ("one", "two"):
            expect_equal(keeper.key(name)["fingerprint"], world.before[name], f"fingerprint of {name}")
    expect_equal((world.unwrap("one"), world.unwrap("two", password=True)), (world.data["one"], world.data["two"]),
                 "the data keys")


@case("a copy sealed to the lost keystore is refused clearly, and opens once the service master key is back")
def test_sealed(world):
    world.lose()
    with world.keeper() as keeper:
        text = f"ALTER SYSTEM RESTORE KEY FROM 'file://{world.path('without')}'"
        done = keeper.fails("28P01", text, "two")
        expect_in("RESTORE SERVICE MASTER KEY", done.err, "the hint tells what to do")
        done = keeper.good(f"RESTORE SERVICE MASTER KEY FROM FILE = '{world.path('smk.pem')}' DECRYPTION BY PASSWORD = '{GOOD}'")
        expect_in("01000", done.states("WARNING"), "an unknown signer is a warning")
        expect_equal(keeper.key(None)["fingerprint"], world.before["\\N"], "the service master key")
        keeper.good(text, "two")
        expect_equal(keeper.key("two")["fingerprint"], world.before["two"], "fingerprint")
    expect_equal(world.unwrap("two"), world.data["two"], "the data key")


@case("everything together, and again after a restart")
def test_all(world):
    world.lose()
    with world.keeper() as keeper:
        keeper.good(f"RESTORE SERVICE MASTER KEY FROM FILE = '{world.path('smk.pem')}' DECRYPTION BY PASSWORD = '{GOOD}'")
        keeper.good(f"RESTORE MASTER KEY FROM FILE = '{world.path('one.pem')}' DECRYPTION BY PASSWORD = '{GOOD}'"
                    f" ENCRYPTION BY PASSWORD = '{OWN}'", "one")
        keeper.good(f"ALTER SYSTEM RESTORE KEY TENANT = two FROM 'file://{world.path('with')}' ENCRYPTED BY '{GOOD}'")
    with world.keeper() as keeper:
        now = {k["database"]: k["fingerprint"] for k in keeper.keys() if k["state"] == "active"}
        expect_equal(now, world.before, "fingerprints after a restart")
    expect_equal((world.unwrap("one", password=True), world.unwrap("two")), (world.data["one"], world.data["two"]),
                 "the data keys")


@case("the service master key comes back under keys that were made meanwhile: they stay usable")
def test_meanwhile(world):
    world.lose()
    with world.keeper() as keeper:
        keeper.good("CREATE MASTER KEY", "two")
        young = keeper.key("two")["fingerprint"]
        keeper.good(f"RESTORE SERVICE MASTER KEY FROM FILE = '{world.path('smk.pem')}' DECRYPTION BY PASSWORD = '{GOOD}'")
        expect_equal(keeper.key("two")["fingerprint"], young, "the young key")
        keeper.good(f"BACKUP MASTER KEY TO FILE = '{world.path('young.pem')}' ENCRYPTION BY PASSWORD = '{GOOD}'", "two")
        keeper.fails("42710", f"ALTER SYSTEM RESTORE KEY FROM 'file://{world.path('with')}' ENCRYPTED BY '{GOOD}'", "two")
        keeper.good(f"ALTER SYSTEM RESTORE KEY FROM 'file://{world.path('with')}' ENCRYPTED BY '{GOOD}' FORCE", "two")
        expect_equal(keeper.key("two")["fingerprint"], world.before["two"], "FORCE brings the old one")
    expect_equal(world.unwrap("two"), world.data["two"], "the data key")


@case("a keystore.db without its root secret is of no use, and forwarding goes on")
def test_no_root(world):
    world.lose()
    secrets = [f for f in os.listdir(world.state) if not f.startswith(("keystore.db", "control", "lock"))]
    expect(secrets, "the root secret is a file of its own", os.listdir(world.state))
    for name in secrets:
        os.unlink(os.path.join(world.state, name))
    with world.keeper() as keeper:
        keeper.good("select 1")
        done = keeper.sql("SHOW MASTER KEYS")
        expect(done.states("ERROR") and done.states("ERROR")[0] in ("55000", "57P03"), "sealed", done.err)


@case("init does not touch a keystore that is there")
def test_init_again(world):
    world.lose()
    uuid = store_uuid(world.state)
    done = pk.run_pgkeep(["init", "--state", world.state], world.state + "-again")
    expect(done.returncode != 0, "a second init succeeded", done.stdout)
    expect_equal(store_uuid(world.state), uuid, "the keystore's uuid")


@case("keystore.expect refuses another keystore; keystore.create = never makes none")
def test_settings(world):
    world.lose()
    for settings, state in ([f"keystore.expect={'0' * 8}-0000-4000-8000-{'0' * 12}"], world.state), \
            (["keystore.create=never"], os.path.join(world.directory, "never")):
        keeper = pk.Pgkeep(world.directory, world.server, roots=[world.keys], state=state, settings=settings, name="strict")
        with keeper:
            keeper.good("select 1")
            done = keeper.sql("SHOW MASTER KEYS")
            expect(done.states("ERROR") and done.states("ERROR")[0] in ("55000", "57P03"), f"{settings}", done.err)
    expect(not os.path.exists(os.path.join(world.directory, "never", "keystore.db")), "a keystore was made")


if __name__ == "__main__":
    pk.main(world)
