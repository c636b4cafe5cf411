#!/usr/bin/env python3
"""Master keys that only a password protects, opened for one session: what opens them, what closes them, who
sees it; and the list of key backups."""

import contextlib
import os

import pk
from pk import GOOD, case, expect, expect_equal, expect_in

NEW = "Lorry-5-teapot"
OPEN = f"OPEN MASTER KEY DECRYPTION BY PASSWORD = '{NEW}'"


class World(pk.World):
    """Two keystores in front of one server: keys are made in `source` and restored into `keeper`, where
    nothing but a password protects them then."""

    source = None

    def by_password(self, name, owner="postgres"):
        self.server.sql(f'create database "{name}" template template0 owner "{owner}"')
        self.source.good("CREATE MASTER KEY", name)
        path = self.path()
        self.source.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'", name)
        self.keeper.good(f"RESTORE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{GOOD}' "
                         f"ENCRYPTION BY PASSWORD = '{NEW}'", name)
        return name

    def backup_text(self):
        return f"BACKUP MASTER KEY TO FILE = '{self.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'"


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server, roots=[keys]) as keeper, \
                pk.Pgkeep(directory, server, roots=[keys], name="source") as source:
            server.sql("create role boss login; create role plain login")
            made = World(directory, server, keeper, keys)
            made.source = source
            yield made


def is_open(world, wire):
    """Can this session use the key? "" or the SQLSTATE."""
    got = wire.query(world.backup_text())
    return (pk.states(got) or [""])[0]


def opened(world, wire, text=OPEN):
    expect_equal(pk.tags(wire.query(text)), ["OPEN MASTER KEY"], "OPEN")
    expect_equal(is_open(world, wire), "", "usable behind OPEN")


@case("OPEN makes a password's key usable, for this session alone; CLOSE ends it")
def test_life(world):
    name = world.by_password("life")
    with pk.Wire(world.keeper.port, name) as wire, pk.Wire(world.keeper.port, name) as other:
        expect_equal(is_open(world, wire), "55000", "before OPEN")
        opened(world, wire)
        expect_equal(is_open(world, other), "55000", "in another session")
        opened(world, wire)
        expect_equal(pk.tags(wire.query("CLOSE MASTER KEY")), ["CLOSE MASTER KEY"], "CLOSE")
        expect_equal(is_open(world, wire), "55000", "behind CLOSE")
        expect_equal(wire.error(pk.query("CLOSE MASTER KEY"))["C"], "55000", "a second CLOSE")
        opened(world, wire)
    with pk.Wire(world.keeper.port, name) as wire:
        expect_equal(is_open(world, wire), "55000", "in the next session")


@case("SHOW MASTER KEYS says whether the key is open in the session that asks")
def test_is_open(world):
    name = world.by_password("shown")
    with pk.Wire(world.keeper.port, name) as wire:
        expect(not shows_open(wire, name), "before OPEN")
        opened(world, wire)
        expect(shows_open(wire, name), "behind OPEN")
        row = world.keeper.key(name)
    expect_equal((row["is_open"], row["encrypted_by_server"]), ("f", "f"), "in another session")


@case("a key that the service master key opens: OPEN says so, and looks at the password all the same")
def test_was_open(world):
    world.server.sql("create database served owner boss template template0")
    world.keeper.good(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{NEW}'", "served", "boss")
    done = world.keeper.good(OPEN, "served", "boss")
    expect_in("was open already", done.err, "the notice")
    world.keeper.fails("28P01", "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'wrong'", "served", "boss")
    world.server.sql("create database bare template template0")
    world.keeper.fails("42704", OPEN, "bare")
    world.keeper.good("CREATE MASTER KEY", "bare")
    world.keeper.fails("55000", OPEN, "bare")


@case("a wrong password opens nothing, and is in no log")
def test_wrong(world):
    name = world.by_password("wrong")
    word = "CanaryOpen11!"
    with pk.Wire(world.keeper.port, name) as wire:
        fault = wire.error(pk.query(f"OPEN MASTER KEY DECRYPTION BY PASSWORD = '{word}'"))
        expect_equal(fault["C"], "28P01", "a wrong password")
        expect_equal(is_open(world, wire), "55000", "behind it")
        opened(world, wire)
    expect(word not in str(fault) + world.keeper.log() + world.server.log(), "the password is nowhere")


@case("DISCARD ALL closes; other DISCARDs, ROLLBACK and failed statements do not")
def test_discard(world):
    name = world.by_password("discarded")
    with pk.Wire(world.keeper.port, name) as wire:
        wire.query("begin")
        expect_equal(pk.tags(wire.query(OPEN)), ["OPEN MASTER KEY"], "OPEN inside a block")
        wire.query("rollback")
        expect_equal(is_open(world, wire), "", "behind ROLLBACK")
        for harmless in ("discard plans", "discard temp", "select 1/0", "reset all", "set role plain", "reset role"):
            wire.query(harmless)
            expect_equal(is_open(world, wire), "", f"behind {harmless}")
        wire.query("discard all")
        expect_equal(is_open(world, wire), "55000", "behind DISCARD ALL")


@case("another session_authorization closes, and going back does not open again")
def test_identity(world):
    name = world.by_password("identity")
    with pk.Wire(world.keeper.port, name) as wire:
        opened(world, wire)
        wire.query("set session authorization plain")
        expect_equal(is_open(world, wire), "42501", "as somebody else")
        wire.query("reset session authorization")
        expect_equal(is_open(world, wire), "55000", "as oneself again")


@case("SEAL closes what sessions opened, and UNSEAL does not open it again")
def test_seal(world):
    name = world.by_password("sealed")
    world.keeper.good(f"ALTER KEYSTORE ADD SLOT password '{GOOD}'")
    with pk.Wire(world.keeper.port, name) as wire:
        opened(world, wire)
        world.keeper.good("SEAL")
        expect_equal(wire.error(pk.query("CLOSE MASTER KEY"))["C"], "55000", "CLOSE while sealed")
        expect_equal(is_open(world, wire), "55000", "while sealed")
        expect_equal(pk.tags(wire.query("select 1")), ["SELECT 1"], "forwarding goes on")
        done = world.keeper.good("SHOW KEYSTORE")
        expect_in("sealed", done.out, "SHOW KEYSTORE while sealed")
        world.keeper.fails("28P01", "UNSEAL WITH PASSWORD = 'wrong'")
        world.keeper.good(f"UNSEAL WITH PASSWORD = '{GOOD}'")
        world.keeper.fails("55000", f"UNSEAL WITH PASSWORD = '{GOOD}'")
        expect_equal(is_open(world, wire), "55000", "behind UNSEAL")
        opened(world, wire)


@case("a key that nobody uses for keys.open_idle_timeout is closed")
def test_idle(world):
    name = world.by_password("idle")
    world.keeper.stop()
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="idle", state=world.keeper.state,
                   settings=["keys.open_idle_timeout=1"]) as keeper:
        with pk.Wire(keeper.port, name) as wire:
            opened(world, wire)
            pk.wait_until(lambda: not shows_open(wire, name), "the idle key is closed")
            expect_equal(is_open(world, wire), "55000", "after a while")
    world.keeper.start()


def shows_open(wire, name):
    """The column is_open of this database's row, as this session sees it; looking is not using."""
    return [row[7] for row in pk.rows(wire.query("SHOW MASTER KEYS")) if row[0] == name] == ["t"]


@case("CLOSE asks nobody: any role, and no service connection needed")
def test_close_right(world):
    world.server.sql("create database anybodys template template0")
    world.keeper.fails("55000", "CLOSE MASTER KEY", "anybodys", "plain")
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="unserved",
                   service="host=127.0.0.1 port=1") as keeper:
        keeper.fails("55000", "CLOSE MASTER KEY", "anybodys", "plain")
        keeper.fails("57P03", OPEN, "anybodys", "plain")


@case("OPEN takes its password as a parameter; NULL and a missing value are refused")
def test_parameter(world):
    name = world.by_password("parameter")
    text = "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1"
    with pk.Wire(world.keeper.port, name) as wire:
        fault = wire.error(pk.extended(text, None), pk.SYNC)
        expect_equal(fault["C"], "22004", "NULL")
        expect_equal(wire.error(pk.query(text))["C"], "42P02", "in a simple query")
        got = wire.ask(pk.extended(text, NEW), pk.SYNC)
        expect_equal(pk.tags(got), ["OPEN MASTER KEY"], "the tag")
        expect_equal(is_open(world, wire), "", "usable")


@case("SHOW KEY BACKUPS lists each file and key, newest first; an owner sees his own rows")
def test_backups(world):
    world.server.sql("create database listed owner boss template template0")
    world.keeper.good("CREATE MASTER KEY", "listed", "boss")
    expect_equal(world.keeper.good("SHOW KEY BACKUPS", "listed", "boss").out.count("listed"), 0, "none yet")
    path, service = world.path(), world.path()
    world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'", "listed", "boss")
    world.keeper.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{service}' ENCRYPTION BY PASSWORD = '{GOOD}'")
    done = world.keeper.sql("SHOW KEY BACKUPS", "listed", "boss", args=("-A", "-P", "footer=off"))
    lines = done.out.splitlines()
    expect_equal(lines[0], "tenant|path|key_version|encrypted|stale|created|kind|fingerprint|verified", "the columns")
    expect_equal(len(lines), 2, "an owner sees his own")
    row = dict(zip(lines[0].split("|"), lines[1].split("|")))
    key = world.keeper.key("listed")
    wanted = dict(tenant="listed", path=path, key_version="1", encrypted="t", stale="f", verified="t",
                  kind="database master key", fingerprint=key["fingerprint"])
    expect_equal({name: row[name] for name in wanted}, wanted, "the row")
    everything = world.keeper.sql("SHOW KEY BACKUPS", args=("-At",)).out.splitlines()
    expect_in(service, everything[0], "the newest file comes first")
    expect(everything[0].startswith("|"), "the service master key belongs to no database", everything[0])
    expect_in("service master key", everything[0], "its kind")
    world.keeper.fails("42501", "SHOW KEY BACKUPS", "listed", "plain")


@case("SHOW KEYSTORE: one row for each slot, which come and go by ALTER KEYSTORE")
def test_keystore(world):
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="slots") as keeper:
        def slots():
            out = keeper.sql("SHOW KEYSTORE", args=("-At",)).out
            return [tuple(line.split("|")[6:8]) for line in out.splitlines()]

        expect_equal(slots(), [("1", "file")], "a new keystore")
        done = keeper.good(f"ALTER KEYSTORE ADD SLOT password '{GOOD}'")
        expect_equal(done.tags(), ["ALTER KEYSTORE"], "the tag")
        expect_equal(slots(), [("1", "file"), ("2", "password")], "with a password")
        keeper.fails("22023", "ALTER KEYSTORE ADD SLOT password 'weak'")
        keeper.fails("42704", "ALTER KEYSTORE DROP SLOT 9")
        keeper.good("ALTER KEYSTORE DROP SLOT 2")
        expect_equal(slots(), [("1", "file")], "and without it")
        keeper.fails("55000", "ALTER KEYSTORE DROP SLOT 1")
        keeper.fails("42501", "SHOW KEYSTORE", "postgres", "plain")
        expect(GOOD not in keeper.log(), "the password is not in the log")


if __name__ == "__main__":
    pk.main(world)
