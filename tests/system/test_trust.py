#!/usr/bin/env python3
"""What one role must not get through another's key, and what a broken surrounding must not break: names of
databases change hands, service connections hang, keystores are missing."""

import contextlib
import os
import signal
import time

import pk
from pk import GOOD, case, expect, expect_equal, expect_in
SERVICE_BACKENDS = "select pid from pg_stat_activity where application_name = 'pgkeep'"


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server, roots=[keys]) as keeper:
            server.sql("create role alice login; create role bob login createdb; create role plain login")
            yield pk.World(directory, server, keeper, keys)


@case("a file that the keystore opens by itself gives an owner the key of his own database only")
def test_foreign_copy(world):
    sales = world.database("sales", "alice")
    bobdb = world.database("bobdb", "bob", key=False)
    place = world.path("copies")
    world.keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{place}'", sales, "alice")
    done = world.keeper.fails("42501", f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}/sales'", bobdb, "bob")
    expect_in("another database", done.err, "the reason")
    world.keeper.fails("42704", f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'", bobdb, "bob")
    world.keeper.good(f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}/sales'", sales, "alice")


@case("a database that takes over a name does not take over its key")
def test_taken_name(world):
    world.database("taken", "alice")
    before = world.keeper.key("taken")["fingerprint"]
    world.server.sql("alter database taken rename to taken_old")
    world.server.sql("create database taken owner bob template template0")
    backup = f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'"
    world.keeper.fails("42501", backup, "taken", "bob")
    world.keeper.fails("42501", "CREATE MASTER KEY", "taken", "bob")
    expect("pgk1:" not in world.keeper.good("SHOW MASTER KEYS", "taken", "bob").out, "bob sees no key")
    path = world.path()
    done = world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'", "taken_old")
    expect_equal(done.states("WARNING"), ["01000"], "a superuser is told")
    world.keeper.good(f"ALTER SYSTEM RESTORE KEY TENANT = taken_old FROM 'file://{path}' ENCRYPTED BY '{GOOD}'")
    expect_equal(world.keeper.key("taken_old")["fingerprint"], before, "alice has her key again")
    world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'", "taken_old", "alice")
    world.keeper.good("CREATE MASTER KEY", "taken", "bob")
    expect(world.keeper.key("taken")["fingerprint"] != before, "bob has one of his own")


@case("a key that was never backed up is not replaced without FORCE")
def test_unbacked(world):
    one, two = world.database("one"), world.database("two")
    path = world.path()
    world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'", one)
    other = os.path.join(world.directory, "other-state")
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="other", state=other) as keeper:
        keeper.good("CREATE MASTER KEY", two)
        restore = f"RESTORE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{GOOD}' ENCRYPTION BY PASSWORD = '{GOOD}x'"
        done = keeper.fails("55000", restore, two)
        expect_in("never backed up", done.err, "the reason")
        keeper.good(restore + " FORCE", two)


@case("a server that hangs holds up key statements for seconds, forwarding not at all, and the end neither")
def test_hanging_service(world):
    name = world.database("hanging", key=False)
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="hanging") as keeper:
        with pk.Wire(keeper.port, name) as wire:
            wire.query("SHOW MASTER KEYS")
            os.kill(world.server.process.pid, signal.SIGSTOP)  # the postmaster: nobody can log in any more
            try:
                began = time.monotonic()
                expect_in("57P03", str(wire.query("SHOW MASTER KEYS")), "nobody can be asked")
                expect(time.monotonic() - began < 30, "answered in bounded time")
                expect_in("SELECT 1", str(wire.query("select 1")), "forwarding goes on")
                keeper.stop()
            finally:
                os.kill(world.server.process.pid, signal.SIGCONT)


@case("between statements pgkeep holds no connection of its own, so PostgreSQL can be shut down")
def test_no_idle_connection(world):
    world.keeper.good("SHOW MASTER KEYS")
    pk.wait_until(lambda: world.server.sql(SERVICE_BACKENDS) == "", "the service connections are gone")


@case("a broken service connection string is told to nobody, password and all")
def test_broken_conninfo(world):
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="broken",
                   service="password=tOp sEcReT-77 host=127.0.0.1") as keeper:
        done = keeper.fails("57P03", "SHOW MASTER KEYS", "postgres", "plain")
        keeper.good("select 1")
        expect("sEcReT-77" not in done.err + done.out + keeper.log(), "the password is nowhere", done.err)


@case("without a keystore: forwarding goes on, a superuser is told why, nobody else where")
def test_no_keystore(world):
    empty = os.path.join(world.directory, "empty-state")
    os.mkdir(empty, 0o700)
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="nokeystore", state=empty,
                   settings=["keystore.create=never"]) as keeper:
        keeper.good("select 1")
        done = keeper.fails("55000", "SHOW MASTER KEYS")
        expect_in(empty, done.err, "where it was looked for")
        owned = world.database("nokeystore", "alice", key=False)
        done = keeper.fails("55000", "SHOW MASTER KEYS", owned, "alice")
        expect(empty not in done.err, "an owner is not told where", done.err)
        keeper.fails("42501", "SHOW MASTER KEYS", owned, "plain")


@case("a second pgkeep on the same keystore forwards, and says who owns it")
def test_second_owner(world):
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="second", state=world.keeper.state) as keeper:
        keeper.good("select 1")
        done = keeper.fails("55000", "SHOW MASTER KEYS")
        expect_in(str(world.keeper.process.pid), done.err, "the owner's process")
    world.keeper.good("SHOW MASTER KEYS")


def absent_roles(keeper):
    return [line for line in keeper.log().splitlines() if "pgkeep print-sql" in line]


@case("print-sql makes the roles, any number of times, and a right by role works; --drop takes it all away")
def test_print_sql(world):
    world.keeper.wait_log("pgkeep print-sql")
    expect_equal(len(absent_roles(world.keeper)), 1, "absent roles are told once")
    home = os.path.join(world.directory, "verbs")
    script = pk.run_pgkeep(["print-sql"], home)
    expect_equal(script.returncode, 0, "print-sql: " + script.stderr)
    for _ in range(2):
        world.server.sql(script.stdout)
    made = world.server.sql("select count(*), bool_or(rolsuper or rolcreaterole or rolcreatedb or rolreplication),"
                            " string_agg(rolname, ',') filter (where rolcanlogin)"
                            " from pg_roles where rolname like 'pgkeep%'")
    expect_equal(made, "8|f|pgkeep_service", "what it makes")
    name = world.database("exported")
    world.server.sql("create role exporter login in role pgkeep_key_export")
    backup = f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'"
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="roles",
                   service=f"host=127.0.0.1 port={world.server.port} user=pgkeep_service dbname=postgres") as keeper:
        keeper.good("CREATE MASTER KEY", name)
        keeper.good(backup, name, "exporter")
        done = keeper.fails("42501", "CREATE MASTER KEY", name, "exporter")
        expect_in("pgkeep_key_admin", done.err, "the missing right is named")
        done = keeper.fails("42501", "SEAL", name, "exporter")
        expect_in("pgkeep_admin", done.err, "the missing right is named")
        expect_equal(absent_roles(keeper), [], "no role is absent")
    world.server.sql(pk.run_pgkeep(["print-sql", "--drop"], home).stdout)
    expect_equal(world.server.sql("select count(*) from pg_roles where rolname like 'pgkeep%'"), "0", "all gone")
    world.keeper.fails("42501", backup, name, "exporter")
    expect_equal(pk.run_pgkeep(["print-sql", "--undo"], home).returncode, 2, "another flag")


@case("superuser_is_admin off: a superuser is refused until he is made a member, directly or by steps")
def test_superuser(world):
    world.server.sql("create role pgkeep_admin; create role operators in role pgkeep_admin;"
                     "create role root_one login superuser in role operators;"
                     "create role root_two login superuser noinherit in role operators")
    try:
        with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="noadmin",
                       settings=["security.superuser_is_admin=off"]) as keeper:
            done = keeper.fails("42501", "SHOW MASTER KEYS", "postgres", "root_two")
            expect("superuser" not in done.err, "the hint does not promise what is not", done.err)
            keeper.good("SHOW MASTER KEYS", "postgres", "root_one")
            world.server.sql("alter role root_two inherit")
            keeper.good("SHOW MASTER KEYS", "postgres", "root_two")
            world.server.sql("revoke operators from root_one")
            keeper.fails("42501", "SHOW KEYSTORE", "postgres", "root_one")
    finally:
        world.server.sql("drop role pgkeep_admin, operators, root_one, root_two")


if __name__ == "__main__":
    pk.main(world)
