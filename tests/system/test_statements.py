#!/usr/bin/env python3
"""Our statements as a user meets them: tags, notices, SQLSTATEs, rights, transaction blocks, strings of
several statements, bad input of every kind, and the examples of the manuals that users bring along."""

import base64
import contextlib
import hashlib
import os
import re
import signal
import socket
import struct
import time

import pk
from pk import GOOD, case, expect, expect_equal, expect_in

OTHER = "Quarry=Slate=3306"


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server, roots=[keys]) as keeper:
            server.sql("create role boss login; create role staff login in role boss;"
                       "create role stiff login noinherit in role boss; create role plain login")
            server.sql("create database app owner boss template template0")
            yield pk.World(directory, server, keeper, keys)


# --- the good road ------------------------------------------------------------------------------


@case("CREATE MASTER KEY answers with its tag and tells to back it up; a second one is refused")
def test_create(world):
    done = world.keeper.good("CREATE MASTER KEY", "app", "boss")
    expect_equal(done.tags(), ["CREATE MASTER KEY"], "the command tag")
    expect_equal(done.states("NOTICE"), ["00000"], "one notice")
    expect_in("pgk1:", done.err, "the notice has the fingerprint")
    expect_in("HINT:", done.err, "the notice has a hint")
    world.keeper.fails("42710", "create master key", "app")
    world.keeper.fails("42710", f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{GOOD}'", "app")


@case("SHOW MASTER KEYS has the documented columns and tells what became of each key")
def test_show(world):
    db = world.database("shown", key=False)
    world.keeper.good(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{GOOD}'", db)
    keys = world.keeper.keys()
    expect_equal(list(keys[0]), [
        "database", "key_guid", "version", "algorithm", "key_length", "encrypted_by_server",
        "password_protectors", "is_open", "created", "modified", "last_backup", "fingerprint", "state",
        "backed_up"], "columns")
    key = world.keeper.key(db)
    expect(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", key["key_guid"]), "a uuid", key)
    expect(re.fullmatch(r"pgk1(:|-)[0-9a-f]{4}(-[0-9a-f]{4}){3}", key["fingerprint"]), "a fingerprint", key)
    wanted = dict(version="1", key_length="256", encrypted_by_server="t", password_protectors="1", is_open="t",
                  last_backup="\\N", state="active", backed_up="never")
    expect_equal({k: key[k] for k in wanted}, wanted, "the row of a new key")
    world.backup(db)
    key = world.keeper.key(db)
    expect(key["last_backup"] != "\\N" and key["backed_up"] == "yes", "the row of a key that is backed up", key)
    expect_equal(world.keeper.key(None)["version"], "1", "the service master key is there")
    with pk.Wire(world.keeper.port, db) as wire:
        got = wire.query("SHOW MASTER KEYS;")
        expect_equal(re.sub("D+", "D", pk.kinds(got)), "TDCZ", "messages of SHOW")
        expect_equal(pk.tags(got), ["SHOW"], "tag of SHOW")


@case("BACKUP MASTER KEY writes one 0600 file whose hash is in the notice, and never over another")
def test_backup(world):
    db = world.database("backed")
    path = world.path()
    text = f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'"
    done = world.keeper.good(text, db)
    expect_equal(done.tags(), ["BACKUP MASTER KEY"], "the command tag")
    expect_equal(done.states("NOTICE", "WARNING"), ["00000"], "one notice, no warning")
    with open(path, "rb") as file:
        content = file.read()
    expect_in(hashlib.sha256(content).hexdigest(), done.err, "the notice has the file's hash")
    expect_in(world.keeper.key(db)["fingerprint"], done.err, "the notice has the fingerprint")
    expect_in(path, done.err, "the notice has the destination")
    expect_equal(os.stat(path).st_mode & 0o7777, 0o600, "the file's mode")
    world.keeper.fails("58P02", text, db)
    with open(path, "rb") as file:
        expect(file.read() == content, "a refused backup changed the file")
    expect(not [n for n in os.listdir(world.keys) if "tmp" in n or n.startswith(".")], "rubbish was left",
           os.listdir(world.keys))


@case("BACKUP and RESTORE SERVICE MASTER KEY: the same key comes back with a notice only")
def test_service(world):
    before = world.keeper.keys()
    path = world.path()
    done = world.keeper.good(
        f"BACKUP SERVICE MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'")
    expect_equal(done.tags(), ["BACKUP SERVICE MASTER KEY"], "the command tag")
    done = world.keeper.good(f"RESTORE SERVICE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{GOOD}'")
    expect_equal(done.tags(), ["RESTORE SERVICE MASTER KEY"], "the command tag")
    expect_equal(done.states("NOTICE", "WARNING"), ["00000"], "one notice")
    expect_equal([k["fingerprint"] for k in world.keeper.keys()], [k["fingerprint"] for k in before], "fingerprints")
    world.keeper.fails("28P01", f"RESTORE SERVICE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = 'wrong'")
    world.keeper.good(f"RESTORE SERVICE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{GOOD}' FORCE")


@case("RESTORE MASTER KEY: the same key comes back with a notice only, with FORCE too")
def test_restore(world):
    db = world.database("restored")
    path = world.backup(db)
    before = world.keeper.key(db)["fingerprint"]
    for force in ("", " FORCE"):
        done = world.keeper.good(
            f"RESTORE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{GOOD}'"
            f" ENCRYPTION BY PASSWORD = '{OTHER}'{force}", db)
        expect_equal(done.tags(), ["RESTORE MASTER KEY"], "the command tag")
    expect_equal(world.keeper.key(db)["fingerprint"], before, "fingerprint")
    world.keeper.fails("28P01", f"RESTORE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{OTHER}'"
                       f" ENCRYPTION BY PASSWORD = '{OTHER}'", db)
    world.keeper.fails("22023", f"RESTORE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{GOOD}'"
                       " ENCRYPTION BY PASSWORD = 'weak'", db)


@case("a service master key's file is no master key's file, and the reverse")
def test_kinds(world):
    db = world.database("kinds")
    dmk, smk = world.backup(db), world.path()
    world.keeper.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{smk}' ENCRYPTION BY PASSWORD = '{GOOD}'")
    for text in (f"RESTORE SERVICE MASTER KEY FROM FILE = '{dmk}' DECRYPTION BY PASSWORD = '{GOOD}'",
                 f"RESTORE MASTER KEY FROM FILE = '{smk}' DECRYPTION BY PASSWORD = '{GOOD}'"
                 f" ENCRYPTION BY PASSWORD = '{OTHER}'"):
        done = world.keeper.sql(text, "postgres" if "SERVICE" in text else db)
        expect(done.states("ERROR")[:1] in (["22023"], ["XX001"]), "the wrong kind of file is refused", done.err)


@case("ALTER SYSTEM BACKUP KEY writes one file per tenant under its documented name")
def test_tenants(world):
    world.database("sales")
    world.database("Finance Dept")
    place = world.path("tenants")
    os.mkdir(place, 0o700)
    done = world.keeper.good(
        f"ALTER SYSTEM BACKUP KEY TENANT = sales, \"Finance Dept\" TO 'file://{place}' ENCRYPTED BY 'short'")
    expect_equal(done.tags(), ["ALTER SYSTEM"], "the command tag")
    expect_equal(done.states("WARNING"), [], "no warning with a password")
    expect_equal(sorted(os.listdir(place)), ["Finance%20Dept", "sales"], "one directory per tenant")
    for tenant in os.listdir(place):
        (name,) = os.listdir(os.path.join(place, tenant))
        expect(re.fullmatch(r"key-\d{8}T\d{6}Z-v1\.cms\.pem", name), "the file's name", name)
        expect_equal(os.stat(os.path.join(place, tenant, name)).st_mode & 0o777, 0o600, "the file's mode")
    world.keeper.good(f"ALTER SYSTEM BACKUP KEY TENANT sales TO 'file://{place}'")
    world.keeper.good(f"alter system backup key tenant='sales' to = 'file://{place}' encrypted by 'x'")
    expect_equal(len(os.listdir(os.path.join(place, "sales"))), 3, "backups do not replace each other")


@case("without a password the file is sealed to the keystore, with a warning")
def test_sealed(world):
    db = world.database("sealed")
    place = world.path("sealed")
    os.mkdir(place, 0o700)
    done = world.keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{place}'", db)
    expect_equal(done.states("WARNING"), ["01000"], "one warning")
    done = world.keeper.good(f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}'", db)
    expect_equal(done.tags(), ["ALTER SYSTEM"], "the command tag")


@case("in the admin database, BACKUP KEY without TENANT takes every database with a key and names the others")
def test_all_tenants(world):
    world.database("nokey", key=False)
    world.database("withkey")
    place = world.path("all")
    os.mkdir(place, 0o700)
    done = world.keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{place}' ENCRYPTED BY 'x'")
    with_key = {k["database"] for k in world.keeper.keys() if k["database"] != "\\N"}
    expect_equal(len(os.listdir(place)), len(with_key), "one directory per database with a key")
    expect("withkey" in os.listdir(place) and "nokey" not in os.listdir(place), "the right ones", os.listdir(place))
    expect(re.search(r'NOTICE:.*"nokey" has no master key', done.err), "the database without a key is named", done.err)


@case("in a list of tenants the ones that can be backed up are, and the failures are told together")
def test_some_tenants(world):
    for name, key in (("some1", True), ("some2", False), ("some3", True), ("some4", False)):
        world.database(name, key=key)
    place = world.path("some")
    os.mkdir(place, 0o700)
    done = world.keeper.fails(
        "42704", f"ALTER SYSTEM BACKUP KEY TENANT = some1, some2, some3, some4 TO 'file://{place}' ENCRYPTED BY 'x'")
    expect(all(name in done.err for name in ("some2", "some4")), "the failures are named", done.err)
    expect_equal(sorted(os.listdir(place)), ["some1", "some3"], "the others are backed up")
    expect_equal([world.keeper.key(n)["backed_up"] for n in ("some1", "some3")], ["yes", "yes"], "and recorded")
    world.keeper.fails("42704", f"ALTER SYSTEM BACKUP KEY TENANT = some2, some4 TO 'file://{place}' ENCRYPTED BY 'x'")
    expect_equal(sorted(os.listdir(place)), ["some1", "some3"], "nothing else was made")


@case("ALTER SYSTEM RESTORE KEY takes collection, tenant's directory or file; the newest copy counts")
def test_tenant_restore(world):
    db = world.database("back")
    place = world.path("back-copies")
    os.mkdir(place, 0o700)
    world.keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{place}' ENCRYPTED BY 'x'", db)
    (name,) = os.listdir(os.path.join(place, db))
    for path in (place, f"{place}/{db}", f"{place}/{db}/{name}"):
        world.keeper.good(f"ALTER SYSTEM RESTORE KEY FROM 'file://{path}' ENCRYPTED BY 'x'", db)
        world.keeper.good(f"ALTER SYSTEM RESTORE KEY TENANT = {db} FROM 'file://{path}' ENCRYPTED BY 'x' FORCE")
    world.keeper.fails("28P01", f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}' ENCRYPTED BY 'y'", db)
    world.keeper.fails("28P01", f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}'", db)
    world.keeper.fails("58P01", f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}/nothing' ENCRYPTED BY 'x'", db)
    world.keeper.fails("3D000", f"ALTER SYSTEM RESTORE KEY TENANT = nosuch FROM 'file://{place}' ENCRYPTED BY 'x'")


@case("a copy of another key replaces the present one only with FORCE")
def test_replace(world):
    db = world.database("replaced")
    place = world.path("replaced-copies")
    os.mkdir(place, 0o700)
    other = pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="other")
    with other:
        other.good("CREATE MASTER KEY", db)
        other.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{place}' ENCRYPTED BY 'x'", db)
        foreign = other.key(db)["fingerprint"]
    world.keeper.fails("42710", f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}' ENCRYPTED BY 'x'", db)
    done = world.keeper.good(f"ALTER SYSTEM RESTORE KEY FROM 'file://{place}' ENCRYPTED BY 'x' FORCE", db)
    expect_in("01000", done.states("WARNING"), "a warning about the unknown signer")
    expect_equal(world.keeper.key(db)["fingerprint"], foreign, "the key of the file is the key now")


@case("a string of ours runs in order and stops at the first error")
def test_script(world):
    db = world.database("script", key=False)
    path = world.path()
    text = (f"CREATE MASTER KEY; ; /* two */ BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}';"
            "-- three; with a semicolon\nSHOW MASTER KEYS")
    with pk.Wire(world.keeper.port, db) as wire:
        got = wire.query(text)
        expect_equal(pk.tags(got), ["CREATE MASTER KEY", "BACKUP MASTER KEY", "SHOW"], "tags in order")
        expect_equal(pk.kinds(got).count("Z"), 1, "one ReadyForQuery")
        expect(os.path.exists(path), "the file is there")
        path = world.path()
        got = wire.query("SHOW MASTER KEYS; CREATE MASTER KEY;"
                         f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'")
        expect_equal(pk.tags(got), ["SHOW"], "what ran before the error")
        expect_equal([pk.fields(b)["C"] for k, b in got if k == b"E"], ["42710"], "the error")
        expect(not os.path.exists(path), "a statement behind the error ran")
        expect_equal(pk.tags(wire.query("select 1")), ["SELECT 1"], "the session goes on")


# --- who may --------------------------------------------------------------------------------------


@case("a plain role is refused, the owner and members of his role are not")
def test_rights(world):
    db = world.database("owned", "boss", key=False)
    statements = lambda: [
        "CREATE MASTER KEY",
        f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'",
        f"ALTER SYSTEM BACKUP KEY TO 'file://{world.keys}' ENCRYPTED BY 'x'",
        "SHOW MASTER KEYS"]
    for user in ("plain", "stiff"):
        for text in statements():
            world.keeper.fails("42501", text, db, user)
    expect_equal([k for k in world.keeper.keys() if k["database"] == db], [], "a refused CREATE made a key")
    for text in statements():
        world.keeper.good(text, db, "boss")
    for text in statements()[1:]:
        world.keeper.good(text, db, "staff")
    rows = world.keeper.keys(db, "boss")
    expect_equal([k["database"] for k in rows], [db], "an owner sees the key of his database only")


@case("the service master key, TENANT lists and the admin database need an administrator")
def test_superuser(world):
    path = world.path()
    for text in (f"BACKUP SERVICE MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'",
                 f"RESTORE SERVICE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{GOOD}' FORCE"):
        for user, database in (("boss", "app"), ("boss", "postgres"), ("plain", "postgres")):
            world.keeper.fails("42501", text, database, user)
    expect(not os.path.exists(path), "a refused backup wrote a file")
    world.keeper.fails("42501", f"ALTER SYSTEM BACKUP KEY TENANT = app TO 'file://{world.keys}'", "postgres", "boss")
    world.keeper.fails("42501", f"ALTER SYSTEM BACKUP KEY TO 'file://{world.keys}'", "postgres", "boss")
    world.keeper.fails("42501", f"ALTER SYSTEM BACKUP KEY TENANT = app TO 'file://{world.keys}'", "app")
    done = world.keeper.fails("42501", f"ALTER SYSTEM BACKUP KEY TENANT = nosuch TO 'file://{world.keys}'", "postgres", "plain")
    expect("nosuch" not in done.err, "a refusal tells whether the tenant exists", done.err)


@case("who the session is decides, not who logged in; SET ROLE changes nothing")
def test_identity(world):
    db = world.database("identity", key=False)
    with pk.Wire(world.keeper.port, db) as wire:
        wire.query("set session authorization plain")
        expect_equal(wire.error(pk.query("CREATE MASTER KEY"))["C"], "42501", "as plain")
        wire.query("begin; set local session authorization postgres; rollback")
        expect_equal(wire.error(pk.query("CREATE MASTER KEY"))["C"], "42501", "after a rolled back change")
        wire.query("reset session authorization")
        wire.query("set role plain")
        expect_equal(pk.tags(wire.query("CREATE MASTER KEY")), ["CREATE MASTER KEY"], "as postgres again")


# --- transactions -----------------------------------------------------------------------------------


@case("inside a block: 25001, and the server's transaction is aborted too")
def test_block(world):
    db = world.database("block", key=False)
    with pk.Wire(world.keeper.port, db) as wire:
        wire.query("begin; create table t (a int)")
        got = wire.query("CREATE MASTER KEY")
        expect_equal([pk.fields(b)["C"] for k, b in got if k == b"E"], ["25001"], "the refusal")
        expect_equal(got[-1], (b"Z", b"E"), "the block is aborted")
        expect_equal(wire.error(pk.query("select 1"))["C"], "25P02", "PostgreSQL agrees")
        expect_equal(wire.error(pk.query("SHOW MASTER KEYS"))["C"], "25P02", "ours in an aborted block")
        expect_equal(wire.error(pk.query("CREATE MASTER KEY"))["C"], "25P02", "ours in an aborted block")
        expect_equal(pk.tags(wire.query("commit")), ["ROLLBACK"], "COMMIT rolls back")
        expect_equal(wire.error(pk.query("select * from t"))["C"], "42P01", "the table is gone")
        expect_equal(pk.tags(wire.query("CREATE MASTER KEY")), ["CREATE MASTER KEY"], "outside it runs")


@case("SHOW MASTER KEYS runs inside a block and leaves it alone")
def test_show_in_block(world):
    with pk.Wire(world.keeper.port) as wire:
        wire.query("begin; create table shown_in_block (a int); savepoint s")
        got = wire.query("SHOW MASTER KEYS")
        expect_equal((pk.tags(got), got[-1]), (["SHOW"], (b"Z", b"T")), "rows, and still in the block")
        expect_equal(pk.tags(wire.query("release s; commit")), ["RELEASE", "COMMIT"], "it commits")
        expect_equal(pk.tags(wire.query("drop table shown_in_block")), ["DROP TABLE"], "it was committed")


@case("a malformed statement of ours aborts the block as one of PostgreSQL's would")
def test_malformed_in_block(world):
    with pk.Wire(world.keeper.port) as wire:
        wire.query("begin")
        got = wire.query("BACKUP MASTER KEY TO NOWHERE")
        expect_equal([pk.fields(b)["C"] for k, b in got if k == b"E"], ["42601"], "the error")
        expect_equal(got[-1], (b"Z", b"E"), "the block is aborted")
        expect_equal(pk.tags(wire.query("commit")), ["ROLLBACK"], "COMMIT rolls back")


@case("a string that mixes ours with PostgreSQL's is refused as a whole")
def test_mixed(world):
    for text in ("create table mixed (a int); SHOW MASTER KEYS", "SHOW MASTER KEYS; create table mixed (a int)",
                 "begin; CREATE MASTER KEY; commit", "select 1; CREATE MASTER KEY; select 2"):
        done = pk.psql(command=text, port=world.keeper.port)
        expect_equal((done.states("ERROR"), done.out.strip()), (["0A000"], ""), f"answer to: {text}")
    expect_equal(world.server.sql("select count(*) from pg_class where relname = 'mixed'"), "0", "a part ran")
    expect(not [k for k in world.keeper.keys() if k["database"] == "postgres"], "a part ran")


@case("our statements keep their place among pipelined queries")
def test_order(world):
    with pk.Wire(world.keeper.port) as wire:
        wire.send(pk.query("select 1"), pk.query("SHOW MASTER KEYS"), pk.query("select 2"), pk.query("BACKUP rubbish"),
                  pk.query("begin"), pk.query("CREATE MASTER KEY"), pk.query("commit"), pk.query("select 3"))
        got = [wire.until(b"Z") for _ in range(8)]
        expect_equal([pk.tags(g) for g in got], [["SELECT 1"], ["SHOW"], ["SELECT 1"], [], ["BEGIN"], [], ["ROLLBACK"],
                                                 ["SELECT 1"]], "tags in order")
        expect_equal([g[-1][1] for g in got], [b"I", b"I", b"I", b"I", b"T", b"E", b"I", b"I"], "states")


@case("in the extended protocol ours keep their place; one that fails skips to Sync and aborts what was open")
def test_extended(world):
    name = world.database("extended", key=False)
    ours = pk.extended("CREATE MASTER KEY")
    plain = lambda sql: pk.parse("", sql) + pk.bind("", "") + pk.execute()
    with pk.Wire(world.keeper.port, name) as wire:
        got = wire.ask(plain("select 1"), pk.extended("SHOW MASTER KEYS"), plain("select 2"), pk.SYNC)
        expect_equal((pk.states(got), pk.tags(got)), ([], ["SELECT 1", "SHOW", "SELECT 1"]), "answers in their order")
        expect_equal(pk.states(wire.ask(ours, pk.SYNC)), [], "alone it runs")
        got = wire.ask(plain("select 1"), ours, plain("select 2"), pk.SYNC)
        expect_equal((len(pk.states(got)), pk.tags(got)), (1, ["SELECT 1"]), "what came behind is skipped")
        got = wire.ask(plain("create table piped (a int)"), ours, pk.SYNC)
        expect_equal((len(pk.states(got)), got[-1][1]), (1, b"I"), "in a pipeline")
        expect_equal(wire.error(pk.query("table piped"))["C"], "42P01", "the pipeline's transaction was rolled back")
        wire.query("begin")
        got = wire.ask(ours, pk.SYNC)
        expect_equal((pk.states(got), got[-1][1]), (["25001"], b"E"), "in a block")
        expect_equal(pk.tags(wire.query("commit")), ["ROLLBACK"], "COMMIT rolls back")
        expect_equal(wire.error(pk.parse("", "RESTORE MASTER KEY FROM FILE = $1"), pk.SYNC)["C"], "42601",
                     "a malformed one is refused by its Parse")
        expect_equal(pk.kinds(wire.ask(plain("select 'goes on'"), pk.SYNC)), "12DCZ", "the session goes on")


# --- mistakes ----------------------------------------------------------------------------------------


@case("malformed statements: 42601 with a position, and never a byte of them in PostgreSQL's log")
def test_malformed(world):
    mark = len(world.server.log())
    word = "CanaryMalformed77"
    rows = [
        ("ALTER SYSTEM BACKUP KEY", 24),
        ("ALTER SYSTEM BACKUP KEY TO k", 28),
        (f"BACKUP MASTER KEY TO FILE = '/x' ENCRYPTION BY PASSWORD = {word}", 59),
        (f"BACKUP MASTER KEY TO FILE '/x' ENCRYPTION BY PASSWORD '{word}'", 27),
        (f"/* ü財 */ BACKUP MASTER KEY TO DISK = '{word}'", 31),
        (f"BACKUP SERVICE MASTER KEYS TO FILE = '/x' ENCRYPTION BY PASSWORD = '{word}'", 23),
        (f"RESTORE MASTER KEY FROM FILE = '/x' DECRYPTION BY PASSWORD = '{word}'", None),
        (f"CREATE MASTER KEY ENCRYPTION BY PASSWORD '{word}'", 42),
        (f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{word}' \"{word}\"", 64),
        (f"BACKUP MASTER KEYS TO FILE = '/x' ENCRYPTION BY PASSWORD = '{word}'", 15),
        (f"UNSEAL WITH PASSWORD = {word}", 24),
        (f"ALTER KEYSTORE ADD SLOT password {word}", 34),
        (f"OPEN MASTER KEY '{word}", None),
        (f"BACKUP MASTER KEY /* {word}", None),
        (f"ALTER SYSTEM BACKUP KEY TO 'file:///x' ENCRYPTED '{word}'", 50),
        (f"GO BACKUP SERVICE MASTER KEY TO FILE = '/x' ENCRYPTION BY PASSWORD = '{word}'", None),
    ]
    with pk.Wire(world.keeper.port) as wire:
        for text, position in rows:
            fault = wire.error(pk.query(text))
            expect_equal(fault["C"], "42601", f"SQLSTATE of: {text}")
            expect(position is None or fault.get("P") == str(position), f"position {position} in: {text}", fault)
            expect(word not in " ".join(fault.values()), "an error repeats what was written", fault)
        expect_equal(pk.tags(wire.query("select 1")), ["SELECT 1"], "the session goes on")
    log = world.server.log()[mark:]
    expect(word not in log, "PostgreSQL's log has it", [l for l in log.splitlines() if word in l])
    expect(word not in world.keeper.log(), "pgkeep's log has it")


@case("what is not offered yet says so with a hint, and reaches PostgreSQL as little")
def test_not_offered(world):
    mark = len(world.server.log())
    word = "CanaryLater55!"
    for text in ("DROP MASTER KEY", "ALTER KEYSTORE REKEY", "ALTER KEYSTORE ADD SLOT recovery",
                 f"ALTER KEYSTORE ADD SLOT tpm '{word}'", f"UNSEAL WITH PASSWORD = FROM FILE '{word}'",
                 f"ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = '{word}'", "ALTER SERVICE MASTER KEY REGENERATE",
                 f"BACKUP SYMMETRIC KEY k TO FILE = '/x' ENCRYPTION BY PASSWORD = '{word}'",
                 f"BACKUP MASTER KEY TO URL = 'https://host/{word}' ENCRYPTION BY PASSWORD = '{word}'",
                 f"BACKUP INTO 's3://bk?AWS_SECRET_ACCESS_KEY={word}'", "SHOW BACKUPS IN 'file:///x'", "SHOW JOBS",
                 f"SET DECRYPTION IDENTIFIED BY '{word}'", "ALTER INSTANCE ROTATE INNODB MASTER KEY"):
        with pk.Wire(world.keeper.port) as wire:
            fault = wire.error(pk.query(text))
        expect(fault["C"] == "0A000" and fault.get("H"), f"0A000 with a hint for: {text}", fault)
        expect(word not in str(fault), f"the error repeats the secret of: {text}", fault)
    expect(word not in world.server.log()[mark:] + world.keeper.log(), "a log has it")


@case("weak, wrong and empty passwords, empty and foreign places")
def test_values(world):
    db = world.database("values", key=False)
    for text, state in [
            ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Ab1!'", "22023"),
            ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'abcdefgh1234'", "22023"),
            ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'xValues1!postgres'", "22023"),
            (f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Aa1!{'a' * 125}'", "22023"),
            (f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'", "42704"),
            (f"ALTER SYSTEM BACKUP KEY TO 'file://{world.keys}'", "42704"),
            ("ALTER SYSTEM BACKUP KEY TO ''", "22023"),
            ("ALTER SYSTEM BACKUP KEY TO 'keys/x'", "22023"),
            (f"ALTER SYSTEM BACKUP KEY TO 'file://{world.keys}' ENCRYPTED BY ''", "22023"),
    ]:
        world.keeper.fails(state, text, db)
    world.keeper.good("CREATE MASTER KEY", db)
    end = f"ENCRYPTION BY PASSWORD = '{GOOD}'"
    for place, state in [("", "22023"), ("relative.pem", "22023"), ("d:\\keys\\k", "22023"), ("\\\\host\\share", "22023"),
                         ("/etc/pgkeep-test", "22023"), (f"{world.keys}/../outside.pem", "22023"), (world.keys, None),
                         (f"{world.keys}/nodirectory/k.pem", None), (f"{world.keys}/x" + "y" * 300, None)]:
        done = world.keeper.sql(f"BACKUP MASTER KEY TO FILE = '{place}' {end}", db)
        expect(done.states("ERROR") == [state] if state else done.states("ERROR"), f"place {place!r}", done.err)
    expect(not os.path.exists(os.path.join(world.directory, "outside.pem")), "a file outside the root")
    for tenants, state in [("nosuch", "3D000"), ("app, nosuch", "3D000"), ("app, APP", "22023"), ("values, \"VALUES\"", None)]:
        done = world.keeper.sql(f"ALTER SYSTEM BACKUP KEY TENANT = {tenants} TO 'file://{world.keys}' ENCRYPTED BY 'x'")
        expect(done.states("ERROR") == [state or "3D000"], f"tenants {tenants}", done.err)


@case("links cannot lead out of the allowed directory")
def test_links(world):
    db = world.database("links")
    outside = os.path.join(world.directory, "outside")
    os.makedirs(outside, exist_ok=True)
    os.symlink(outside, os.path.join(world.keys, "door"))
    os.symlink(os.path.join(outside, "target.pem"), os.path.join(world.keys, "dangling.pem"))
    for place in ("door/k.pem", "dangling.pem"):
        done = world.keeper.sql(f"BACKUP MASTER KEY TO FILE = '{world.keys}/{place}' ENCRYPTION BY PASSWORD = '{GOOD}'", db)
        expect(done.states("ERROR"), f"written through a link: {place}", done.err)
    done = world.keeper.sql(f"ALTER SYSTEM BACKUP KEY TO 'file://{world.keys}/door' ENCRYPTED BY 'x'", db)
    expect(done.states("ERROR"), "a directory that is a link", done.err)
    expect_equal(os.listdir(outside), [], "files outside")


@case("no allowed directory: 22023, and the hint spells the setting")
def test_no_roots(world):
    with pk.Pgkeep(world.directory, world.server, name="noroots") as keeper:
        db = world.database("noroots", key=False)
        keeper.good("CREATE MASTER KEY", db)
        for text in (f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'",
                     f"ALTER SYSTEM BACKUP KEY TO 'file://{world.keys}'"):
            done = keeper.fails("22023", text, db)
            expect(re.search(r"HINT:.*keys\.allowed_roots", done.err), "the hint", done.err)


# --- hostile files -----------------------------------------------------------------------------------


def der_change(data, change):
    """The same DER with every primitive passed through change(tag, value)."""
    out, at = b"", 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7f
            size = int.from_bytes(data[at:at + count], "big")
            at += count
        value = data[at:at + size]
        at += size
        value = der_change(value, change) if tag & 0x20 else change(tag, value)
        length = len(value).to_bytes((len(value).bit_length() + 7) // 8 or 1, "big")
        out += bytes([tag]) + (length if len(value) < 0x80 else bytes([0x80 | len(length)]) + length) + value
    return out


def der_of(path):
    with open(path, encoding="utf-8") as file:
        body = re.search(r"-----BEGIN CMS-----\n(.*?)-----END CMS-----", file.read(), re.S).group(1)
    return base64.b64decode(body)


def write_pem(path, der):
    text = base64.b64encode(der).decode()
    with open(path, "w", encoding="ascii") as file:
        file.write("-----BEGIN CMS-----\n" + "\n".join(text[i:i + 64] for i in range(0, len(text), 64))
                   + "\n-----END CMS-----\n")
    os.chmod(path, 0o600)


def restore_of(path, password=GOOD):
    return (f"RESTORE MASTER KEY FROM FILE = '{path}' DECRYPTION BY PASSWORD = '{password}'"
            f" ENCRYPTION BY PASSWORD = '{OTHER}'")


@case("a file rewritten without its preamble opens: the surgery below is sound")
def test_surgery(world):
    db = world.database("surgery")
    path = world.path()
    write_pem(path, der_change(der_of(world.backup(db)), lambda tag, value: value))
    world.keeper.good(restore_of(path), db)


@case("a hostile writer's file is refused at once, before any key derivation")
def test_hostile(world):
    db = world.database("hostile")
    good = der_of(world.backup(db))
    rounds = []

    def with_rounds(count):
        def change(tag, value):
            if tag == 2 and int.from_bytes(value, "big") >= 10_000:
                rounds.append(int.from_bytes(value, "big"))
                return count.to_bytes(count.bit_length() // 8 + 1, "big")
            return value
        return der_change(good, change)

    files = {"2^31-1 iterations": with_rounds(2**31 - 1), "2^62 iterations": with_rounds(2**62),
             "1 iteration": with_rounds(1), "no iteration": with_rounds(0), "10,000,001": with_rounds(10_000_001),
             "cut": good[:len(good) // 2], "trailing": good + b"\0", "nothing": b"", "deep": b"\x30\x80" * 5000,
             "long length": b"\x30\x84\x7f\xff\xff\xff" + good[4:], "zeroes": bytes(len(good)),
             "another type": good.replace(bytes.fromhex("060b2a864886f70d0109100117"), bytes.fromhex("060b2a864886f70d0109100118")),
             "salt of 1 byte": der_change(good, lambda tag, value: value[:1] if tag == 4 and len(value) == 32 else value)}
    expect(rounds, "no iteration count was found in the file")
    for name, der in files.items():
        path = world.path()
        write_pem(path, der)
        begin = time.monotonic()
        done = world.keeper.sql(restore_of(path), db)
        expect(done.states("ERROR") == ["XX001"], f"{name}: {done.err}")
        expect(time.monotonic() - begin < 3, f"{name} took {time.monotonic() - begin:.1f} s")
    for name, text in {"empty": b"", "no key file": b"hello\n" * 100, "only the begin": b"-----BEGIN CMS-----\n",
                       "not base64": b"-----BEGIN CMS-----\n!!!!\n-----END CMS-----\n", "nul": bytes(1000),
                       "two": (b"-----BEGIN CMS-----\n" + base64.encodebytes(good) + b"-----END CMS-----\n") * 2}.items():
        path = world.path()
        with open(path, "wb") as file:
            file.write(text)
        done = world.keeper.sql(restore_of(path), db)
        expect(name == "two" or done.states("ERROR") == ["XX001"], f"{name}: {done.err}")
    path = world.path()
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    expect(world.keeper.sql(restore_of(path), db).states("ERROR")[0] in ("54000", "XX001"), "64 MiB of nothing")
    path = world.path()
    os.mkfifo(path)
    begin = time.monotonic()
    expect(world.keeper.sql(restore_of(path), db).states("ERROR"), "a pipe is no key file")
    expect(time.monotonic() - begin < 5, "a pipe holds it up")
    world.keeper.fails("58P01", restore_of(world.path()), db)
    expect(world.keeper.sql(restore_of(world.keys), db).states("ERROR"), "a directory is no key file")


@case("every byte of the sealed part counts: a flipped one is found")
def test_flipped(world):
    db = world.database("flipped")
    good = der_of(world.backup(db))
    before = world.keeper.key(db)["fingerprint"]
    for at in sorted({len(good) * n // 12 for n in range(12)} | {len(good) - 1, len(good) - 20}):
        path = world.path()
        write_pem(path, good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1:])
        done = world.keeper.sql(restore_of(path), db)
        expect(done.states("ERROR") and done.states("ERROR")[0] in ("XX001", "28P01", "0A000", "22023"),
               f"byte {at} of {len(good)} flipped: {done.err}")
    expect_equal(world.keeper.key(db)["fingerprint"], before, "the key afterwards")


# --- bad connections ---------------------------------------------------------------------------------


@case("garbage instead of a start-up packet ends that connection and no other")
def test_garbage(world):
    packets = {
        "length 0": struct.pack("!I", 0), "length 3": struct.pack("!I", 3), "length 7": struct.pack("!I", 7) + b"abc",
        "length 10005": struct.pack("!I", 10005) + bytes(10001), "length 2^31": struct.pack("!I", 1 << 31) + bytes(100),
        "length 2^32-1": b"\xff" * 200, "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(200),
        "protocol 2": struct.pack("!II", 16, 0x20000) + bytes(8), "protocol 9": struct.pack("!II", 8, 9 << 16),
        "no terminator": struct.pack("!II", 12, 196608) + b"user", "cut": b"\0\0", "nothing": b"",
        "cancel too long": struct.pack("!IIII", 20, 80877102, 1, 2) + bytes(4),
    }
    with pk.Wire(world.keeper.port) as bystander:
        bystander.query("begin; create temp table untouched (a int)")
        for name, packet in packets.items():
            with socket.create_connection((pk.HOST, world.keeper.port), timeout=30) as sock:
                with contextlib.suppress(OSError):
                    sock.sendall(packet)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass
            expect(world.keeper.alive(), f"pgkeep died of {name}", world.keeper.log()[-2000:])
        for name, message in {"length 3": b"Q\0\0\0\x03", "length 2^31": b"Q\x80\0\0\0rest", "unknown type": b"\x01\0\0\0\x04",
                              "no end": b"Q\0\0\0\x0aselect", "no NUL": pk.message(b"Q", b"SHOW MASTER KEYS"),
                              "NUL inside": pk.message(b"Q", b"SHOW MASTER\0KEYS\0"), "empty P": pk.message(b"P", b""),
                              "ours, cut": pk.query("BACKUP MASTER KEY TO FILE = 'x'")[:20]}.items():
            wire = pk.Wire(world.keeper.port)
            with contextlib.suppress(OSError):
                wire.send(message)
                wire.socket.shutdown(socket.SHUT_WR)
                wire.closed()
            wire.socket.close()
            expect(world.keeper.alive(), f"pgkeep died of a message: {name}", world.keeper.log()[-2000:])
        expect_equal(pk.tags(bystander.query("table untouched; commit")), ["SELECT 0", "COMMIT"], "the bystander")


@case("SSLRequest and GSSENCRequest are answered N, and the session goes on in clear")
def test_ssl_request(world):
    wire = pk.Wire(world.keeper.port, begin=False)
    for code in (80877103, 80877104):
        wire.send(struct.pack("!II", 8, code))
        expect_equal(wire.socket.recv(1), b"N", "the answer")
    wire.send(pk.startup(user="postgres", database="postgres"))
    wire.until(b"Z")
    wire.close()


@case("a statement of ours that is too long is refused and not forwarded")
def test_long(world):
    mark = len(world.server.log())
    word = "CanaryLong99"
    with pk.Wire(world.keeper.port) as wire:
        text = f"BACKUP MASTER KEY TO FILE = '{word * 400_000}' ENCRYPTION BY PASSWORD = '{GOOD}'"
        fault = wire.error(pk.query(text))
        expect(fault["C"] in ("54000", "22023"), "SQLSTATE", fault)
        expect(len(fault["M"]) < 2000, "the message is as long as the statement")
        expect_equal(pk.tags(wire.query("select 1")), ["SELECT 1"], "the session goes on")
    expect(word not in world.server.log()[mark:], "PostgreSQL saw it")


@case("a client that leaves in the middle of its statement disturbs nobody")
def test_client_leaves(world):
    db = world.database("leaving")
    for _ in range(10):
        wire = pk.Wire(world.keeper.port, db)
        wire.send(pk.query(f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'"))
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
        wire.socket.close()
    world.keeper.good("SHOW MASTER KEYS", db)
    expect(world.keeper.alive(), "pgkeep died")


@case("a key statement that waits leaves other sessions alone")
def test_others(world):
    db = world.database("busy")
    with pk.Wire(world.keeper.port, db) as slow, pk.Wire(world.keeper.port, db) as quick:
        for _ in range(8):
            slow.send(pk.query(f"BACKUP MASTER KEY TO FILE = '{world.path()}' ENCRYPTION BY PASSWORD = '{GOOD}'"))
        answers = 0
        begin = time.monotonic()
        for number in range(200):
            answers += pk.tags(quick.query(f"select {number}")) == ["SELECT 1"]
        expect_equal(answers, 200, "answers in the other session")
        expect(time.monotonic() - begin < 30, "they took long")
        for _ in range(8):
            expect_equal(pk.tags(slow.until(b"Z")), ["BACKUP MASTER KEY"], "the slow one")


@case("the service connection is unreachable: forwarding goes on, ours answers 57P03 with a hint")
def test_no_service(world):
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="noservice",
                   service=f"host={pk.HOST} port=1 user=postgres dbname=postgres connect_timeout=3") as keeper:
        expect_equal(keeper.good("select 1").tags()[-1], "(1 row)", "forwarding")
        done = keeper.fails("57P03", "CREATE MASTER KEY", "app")
        expect_in("HINT:", done.err, "a hint")


@case("a role without any rights is enough for the service connection")
def test_humble_service(world):
    service = f"host={world.server.home} port={world.server.port} user=plain dbname=postgres"
    with pk.Pgkeep(world.directory, world.server, roots=[world.keys], name="humble", service=service) as keeper:
        keeper.good("CREATE MASTER KEY", "app", "boss")
        keeper.fails("42501", "SHOW MASTER KEYS", "app", "plain")
        keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{world.keys}' ENCRYPTED BY 'x'")


@case("PostgreSQL goes away in the middle and comes back: so do the sessions")
def test_backend_gone(world):
    with pk.temporary_directory() as directory:
        server = pk.Postgres(directory)
        server.start()
        with pk.Pgkeep(directory, server, roots=[world.keys]) as keeper:
            wires = [pk.Wire(keeper.port) for _ in range(3)]
            wires[0].send(pk.query("select pg_sleep(60)"))
            wires[1].query("begin")
            time.sleep(0.2)
            port = server.port
            server.stop(signal.SIGQUIT)
            for wire in wires:
                ends = wire.closed()
                expect(set(pk.kinds(ends)) <= set("TNE"), "what a lost session hears", ends)
            lost = pk.Wire(keeper.port, begin=False)
            lost.send(pk.startup(user="postgres", database="postgres"))
            got = lost.closed()
            expect_equal([pk.fields(b)["C"] for k, b in got if k == b"E"], ["08001"], "a new session meanwhile")
            expect(keeper.alive(), "pgkeep died", keeper.log()[-2000:])
            server.start(port)
            pk.wait_until(lambda: keeper.sql("select 1").code == 0, "sessions work again", 20)
            keeper.good("CREATE MASTER KEY")
            keeper.good("SHOW MASTER KEYS")
        server.stop()


# --- what users bring along ----------------------------------------------------------------------------


@case("OceanBase's manual: BACKUP KEY of a tenant, from the admin database and from inside")
def test_oceanbase_manual(world):
    world.database("mysql_tenant")
    path = os.path.join(world.keys, "data_backup_dest", "key")
    os.makedirs(path, 0o700)
    done = world.keeper.good(
        f"ALTER SYSTEM BACKUP KEY TENANT = mysql_tenant TO 'file://{path}' ENCRYPTED BY '******';")
    expect_equal(done.tags(), ["ALTER SYSTEM"], "the command tag")
    done = world.keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{path}';", "mysql_tenant")
    expect_equal(done.tags(), ["ALTER SYSTEM"], "the command tag")
    expect_equal(len(os.listdir(os.path.join(path, "mysql_tenant"))), 2, "two copies")


@case("SQL Server's manual: the service master key to a file whose name has a space")
def test_mssql_manual(world):
    os.makedirs(os.path.join(world.keys, "temp_backups", "keys"), 0o700)
    text = ("-- Creates a backup of the \"AdventureWorks2012\" master key.\n"
            "-- Because this master key is not encrypted by the service master key, a password must be specified when it is opened.\n"
            "BACKUP SERVICE MASTER KEY TO FILE = '{}'   \n    ENCRYPTION BY PASSWORD = '3dH85Hhk003GHk2597gheij4';\n")
    done = world.keeper.fails("22023", text.format(r"c:\temp_backups\keys\service_master_ key"))
    expect("HINT:" in done.err, "a drive letter gets a hint", done.err)
    path = os.path.join(world.keys, "temp_backups", "keys", "service_master_ key")
    done = world.keeper.good(text.format(path))
    expect_equal(done.tags(), ["BACKUP SERVICE MASTER KEY"], "the command tag")
    expect(os.path.exists(path), "the file is there")
    mark = len(world.server.log())
    with pk.Wire(world.keeper.port) as wire:
        fault = wire.error(pk.query("USE AdventureWorks2012;\nGO\n" + text.format(path) + "GO\n"))
        expect(fault["C"] in ("42601", "0A000"), "client commands in front of it", fault)
    expect("3dH85Hhk003GHk2597gheij4" not in world.server.log()[mark:], "the password is in PostgreSQL's log")


@case("everything is still there after a restart, and a second owner of the keystore is kept out")
def test_restart(world):
    before = world.keeper.keys()
    with pk.Pgkeep(world.directory, world.server, name="second", state=world.keeper.state) as second:
        expect_equal(second.good("select 1").tags()[-1], "(1 row)", "forwarding")
        second.fails("55000", "SHOW MASTER KEYS")
    world.keeper.stop()
    world.keeper.start()
    expect_equal(world.keeper.keys(), before, "the keys after a restart")
    world.keeper.stop(signal.SIGKILL)
    world.keeper.start()
    expect_equal(world.keeper.keys(), before, "the keys after a kill")


if __name__ == "__main__":
    pk.main(world)
