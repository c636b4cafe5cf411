#!/usr/bin/env python3
"""Nothing that was typed as a secret, and no byte of a key, lies anywhere it should not. Every kind of
statement runs with secrets that occur once in the world; then every place where text ends up is searched
for each of them, in every form a program could have turned it into. The search itself is tested first:
a secret planted in a copy of the log, in each form, must turn it red."""

import contextlib
import json
import os
import sqlite3

import pk
from pk import case, expect, expect_equal

FILE_PASSWORD = "Zx9!kettle-Moor-of-the-test"

# {c} is a fresh canary. Paths and tenant names are shown by design and hold none, but their parameters do.
STATEMENTS = """
CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = N'{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = $tag${c}$tag$
CREATE MASTER KEY ENCRYPTION BY PASSWORD = U&'{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = E'{c}\\n'
BACKUP MASTER KEY TO FILE = '{file}' ENCRYPTION BY PASSWORD = '{c}'
BACKUP SERVICE MASTER KEY TO FILE = '{file}' ENCRYPTION BY PASSWORD = '{c}'
BACKUP MASTER KEY TO FILE = '/nowhere/at/all' ENCRYPTION BY PASSWORD = '{c}'
BACKUP MASTER KEY TO FILE = '{same}' ENCRYPTION BY PASSWORD = '{c}'
BACKUP MASTER KEY TO FILE = 'c:\\keys' ENCRYPTION BY PASSWORD = '{c}'
RESTORE MASTER KEY FROM FILE = '{same}' DECRYPTION BY PASSWORD = '{c}' ENCRYPTION BY PASSWORD = '{c}'
RESTORE MASTER KEY FROM FILE = '{same}' DECRYPTION BY PASSWORD = '{good}' ENCRYPTION BY PASSWORD = '{c}'
RESTORE MASTER KEY FROM FILE = '{same}' DECRYPTION BY PASSWORD = '{good}' ENCRYPTION BY PASSWORD = '{c}' FORCE
RESTORE SERVICE MASTER KEY FROM FILE = '{same}' DECRYPTION BY PASSWORD = '{c}'
RESTORE SERVICE MASTER KEY FROM FILE = '{missing}' DECRYPTION BY PASSWORD = '{c}' FORCE
ALTER SYSTEM BACKUP KEY TO 'file://{dir}' ENCRYPTED BY '{c}'
ALTER SYSTEM BACKUP KEY TENANT = app TO 'file://{dir}' ENCRYPTED BY '{c}'
ALTER SYSTEM BACKUP KEY TENANT = nosuch TO 'file://{dir}' ENCRYPTED BY '{c}'
ALTER SYSTEM BACKUP KEY TENANT = app, app TO 'file://{dir}' ENCRYPTED BY '{c}'
ALTER SYSTEM BACKUP KEY TO 's3://bucket/path?AWS_ACCESS_KEY_ID={c}&AWS_SECRET_ACCESS_KEY={c}' ENCRYPTED BY '{c}'
ALTER SYSTEM BACKUP KEY TO 'https://user:{c}@host/p/{c}/n/o?sig={c}'
ALTER SYSTEM BACKUP KEY TO 'file://{dir}?access_key={c}' ENCRYPTED BY '{c}'
ALTER SYSTEM RESTORE KEY FROM 'file://{dir}' ENCRYPTED BY '{c}'
ALTER SYSTEM RESTORE KEY TENANT = app FROM 'file://{dir}' ENCRYPTED BY '{c}' FORCE
ALTER SYSTEM RESTORE KEY FROM 's3://bucket?access_id={c}&access_key={c}'
ALTER SYSTEM RESTORE app FROM 'file:///x?access_key={c}' WITH 'pool={c}' ENCRYPTED BY '{c}' WITH KEY FROM 's3://b?access_key={c}' ENCRYPTED BY '{c}'
OPEN MASTER KEY DECRYPTION BY PASSWORD = '{c}'
ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = '{c}'
ALTER MASTER KEY DROP ENCRYPTION BY PASSWORD = '{c}'
ALTER MASTER KEY FORCE REGENERATE WITH ENCRYPTION BY PASSWORD = '{c}'
ALTER SERVICE MASTER KEY WITH OLD_ACCOUNT = '{c}', OLD_PASSWORD = '{c}'
SET ENCRYPTION ON IDENTIFIED BY '{c}' ONLY
SET DECRYPTION IDENTIFIED BY '{c}', '{c}'
ADMINISTER KEY MANAGEMENT SET KEY IDENTIFIED BY '{c}'
ADMINISTER KEY MANAGEMENT SET KEY IDENTIFIED BY {c}
BACKUP SYMMETRIC KEY k TO FILE = '/x' ENCRYPTION BY PASSWORD = '{c}'
BACKUP INTO 's3://b?AWS_SECRET_ACCESS_KEY={c}' WITH encryption_passphrase = '{c}', kms = 'aws:///k?AWS_SECRET_ACCESS_KEY={c}'
RESTORE FROM LATEST IN 's3://b?AWS_SECRET_ACCESS_KEY={c}' WITH encryption_passphrase = '{c}'
CREATE EXTERNAL CONNECTION c AS 's3://b?AWS_SECRET_ACCESS_KEY={c}'
CREATE SCHEDULE s FOR BACKUP INTO 's3://b?AWS_SECRET_ACCESS_KEY={c}' RECURRING '@daily'
SHOW BACKUPS IN 's3://b?AWS_SECRET_ACCESS_KEY={c}'
ALTER BACKUP LATEST IN 's3://b?k={c}' ADD NEW_KMS = 'aws:///n?s={c}' WITH OLD_KMS = 'aws:///o?s={c}'
BACKUP VAULT KEY k TO URI 'https://objectstorage/p/{c}/n/o'
EXPLAIN BACKUP INTO 'file:///x' WITH encryption_passphrase = '{c}'
EXPLAIN (ANALYZE) BACKUP INTO 'file:///x' WITH encryption_passphrase = '{c}'
PREPARE p AS BACKUP INTO 'file:///x' WITH encryption_passphrase = '{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = {c}
CREATE MASTER KEY ENCRYPTION BY PASSWORD = "{c}"
CREATE MASTER KEY ENCRYPTION BY PASSWORD '{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}' {c}
CREATE MASTER KEY "{c}"
CREATE MASTER KEY {c}
CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}
CREATE MASTER KEY ENCRYPTION BY PASSWORD = "{c}
CREATE MASTER KEY ENCRYPTION BY PASSWORD = $${c}
CREATE MASTER KEY ENCRYPTION BY PASSWORD = `{c}`
CREATE MASTER KEY ENCRYPTION BY PASSWORD = [{c}]
CREATE MASTER KEY ENCRYPTION BY PASSWORD = @{c}
CREATE MASTER KEY ENCRYPTION BY PASSWORD = $1{c}
CREATE MASTER KEY ENCRYPTION BY PASSWORD = E'\\{c}\\xZZ\\u12'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = U&'\\12{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}' '{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}weak{c}postgres'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'postgres{c}'
CREATE MASTER KEY /* {c} */ ENCRYPTION BY PASSWORD = '{c}' -- {c}
/* {c} */ CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}'
CREATE MASTER KEY /* {c}
BACKUP {c}
BACKUP '{c}'
BACKUP MASTER KEY TO FILE = {c} ENCRYPTION BY PASSWORD = {c}
BACKUP MASTER KEYS TO FILE = '{file}' ENCRYPTION BY PASSWORD = '{c}'
BACKUP MASTER KEY '{c}'
RESTORE {c}
RESTORE "{c}"
OPEN {c}
OPEN '{c}'
PAUSE JOB {c}
ALTER SYSTEM BACKUP KEY TO {c}
ALTER SYSTEM BACKUP KEY ENCRYPTED BY {c}
ALTER SYSTEM BACKUP KEY TO 'file://{dir}' ENCRYPTED '{c}'
ALTER SYSTEM BACKUP KEY TO 'file://{dir}' ENCRYPTED BY "{c}"
ALTER SYSTEM BACKUP KEY TO 'file://{dir}' IDENTIFIED BY {c}
ALTER SYSTEM BACKUP '{c}'
ALTER SYSTEM RESTORE '{c}
GO BACKUP SERVICE MASTER KEY TO FILE = '/x' ENCRYPTION BY PASSWORD = '{c}'
USE master BACKUP SERVICE MASTER KEY TO FILE = '/x' ENCRYPTION BY PASSWORD = '{c}'
SELECT 1; CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}'
CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}'; SELECT 1
BEGIN; BACKUP MASTER KEY TO FILE = '{file}' ENCRYPTION BY PASSWORD = '{c}'; COMMIT
SHOW MASTER KEYS; CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}'; BACKUP {c}
;;; CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}';
"""


class World:
    def __init__(self, directory, server, keeper, keys):
        self.directory = directory
        self.server = server
        self.keeper = keeper
        self.keys = keys
        self.canaries = {}   # secret: the statement it stood in
        self.answers = []    # everything pgkeep told clients
        self.activity = []   # everything pg_stat_activity showed
        self.material = {}   # key bytes: what they are
        self.broken = None   # audit rows with something that is no text, found by the sweep
        self.numbers = 0

    def canary(self, statement):
        """Passes the password rules, and is a word, too."""
        secret = f"Cq{len(self.canaries):04d}x{os.urandom(6).hex()}Z_q"
        self.canaries[secret] = statement
        return secret

    def fill(self, template):
        text = template
        self.numbers += 1
        for name, value in (("file", f"{self.keys}/n{self.numbers}.pem"), ("same", f"{self.keys}/same.pem"),
                            ("missing", f"{self.keys}/missing.pem"), ("dir", f"{self.keys}/dir"), ("good", FILE_PASSWORD)):
            text = text.replace("{" + name + "}", value)
        while "{c}" in text:
            text = text.replace("{c}", self.canary(template), 1)
        return text

    def watch(self):
        self.activity.append(self.server.sql("select string_agg(query, e'\\n') from pg_stat_activity"))


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.makedirs(os.path.join(keys, "dir"), 0o700)
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server, roots=[keys]) as keeper:
            for name in ("app", "psql", "fresh"):
                server.sql(f"create database {name} template template0")
            server.sql("create role plain login")
            keeper.good("CREATE MASTER KEY", "app")
            keeper.good(f"BACKUP MASTER KEY TO FILE = '{keys}/same.pem' ENCRYPTION BY PASSWORD = '{FILE_PASSWORD}'", "app")
            keeper.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{keys}/smk.pem' ENCRYPTION BY PASSWORD = '{FILE_PASSWORD}'")
            yield World(directory, server, keeper, keys)


def read_rows(path):
    """The catalog's rows, the way somebody would read them; with a copy of the write-ahead log beside it."""
    rows, wrong = [], []
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
            cursor = db.execute(f'select * from "{table.decode()}"')
            names = [column[0] for column in cursor.description]
            for row in cursor:
                rows.append(b"|".join(v if isinstance(v, bytes) else str(v).encode() for v in row))
                if table == b"audit":
                    about = dict(zip(names, row))
                    wrong += [about for name, value in about.items()
                              if name not in ("prev", "hash") and isinstance(value, bytes) and not value.isascii()]
    return b"\n".join(rows), wrong


def places(world):
    """Every place where text could have ended up: name and bytes."""
    found = {"pgkeep's log": world.keeper.log().encode("utf-8", "surrogateescape"),
             "PostgreSQL's log": world.server.log().encode("utf-8", "surrogateescape"),
             "answers to clients": b"\n".join(world.answers), "pg_stat_activity": "\n".join(world.activity).encode()}
    copy = os.path.join(world.directory, "copy")
    os.makedirs(copy, exist_ok=True)
    for where, folder, names in os.walk(world.keeper.state):
        for name in names:
            with contextlib.suppress(OSError), open(os.path.join(where, name), "rb") as file:
                content = file.read()
                if name == "root.key":
                    world.material[bytes.fromhex(content.decode()) if len(content.strip()) == 64 else content] = "root.key"
                    continue
                found[f"state: {name}"] = content
                if name.startswith("keystore.db"):
                    with open(os.path.join(copy, name), "wb") as out:
                        out.write(content)
    found["catalog rows"], world.broken = read_rows(os.path.join(copy, "keystore.db"))
    for where, _, names in os.walk(world.keys):
        for name in names:
            with open(os.path.join(where, name), "rb") as file:
                found[f"key file {name}"] = name.encode() + b"\n" + file.read()
    for name in ("cmdline", "environ"):
        with open(f"/proc/{world.keeper.process.pid}/{name}", "rb") as file, contextlib.suppress(OSError):
            found[f"/proc: {name}"] = file.read()
    return found


def sweep(where, secrets):
    """Every hit as text: which secret in which form in which place."""
    hits = []
    for secret, what in secrets.items():
        for form, needle in pk.forms(secret).items():
            for place, text in where.items():
                if needle in text:
                    hits.append(f"{place}, {form}: {what}")
    return hits


@case("the sweep finds a secret that was planted in a copy of the log, in each form")
def test_planted(world):
    log = world.keeper.log().encode()
    expect(len(log) > 100, "the log is there")
    for secret in ("Cq9999xdeadbeefZ_q", bytes(range(32))):
        expect_equal(sweep({"log": log}, {secret: "x"}), [], "before it was planted")
        for form, needle in pk.forms(secret).items():
            middle = len(log) // 2
            hits = sweep({"log": log[:middle] + needle + log[middle:]}, {secret: "x"})
            expect(any(f"log, {form}:" in hit for hit in hits), f"planted as {form}, not found", hits)
    for pad in range(3):  # base64 of something longer, at each alignment
        planted = pk.base64.b64encode(b"p" * pad + b"Cq9999xdeadbeefZ_q" + b"and more")
        expect(sweep({"log": planted}, {"Cq9999xdeadbeefZ_q": "x"}), f"base64 with {pad} bytes before")


@case("statements of every kind, as simple queries, in and outside of blocks")
def test_simple(world):
    for template in STATEMENTS.strip().splitlines():
        for user, database, before in (("postgres", "app", None), ("postgres", "postgres", None), ("plain", "app", None),
                                       ("postgres", "fresh", "begin"), ("postgres", "fresh", "begin; select 1/0")):
            with pk.Wire(world.keeper.port, database, user) as wire:
                if before:
                    wire.query(before)
                wire.send(pk.query(world.fill(template)))
                got = wire.until(b"Z")
                expect("E" in pk.kinds(got) or "C" in pk.kinds(got), f"no answer to {template}", got)
                if user == "postgres":
                    world.watch()
                world.answers.append(wire.transcript)
    expect(world.keeper.alive(), "pgkeep died")


@case("the same by the extended protocol, and with parameters")
def test_extended(world):
    with pk.Wire(world.keeper.port, "app") as wire:
        for template in STATEMENTS.strip().splitlines():
            if template.startswith(("SELECT 1;", "BEGIN;", "--")):
                continue  # several statements, or none, are PostgreSQL's to refuse
            wire.ask(pk.parse("", world.fill(template)), pk.bind("", ""), pk.execute(), pk.SYNC)
        for text in ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = $1", "BACKUP MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2"):
            values = [world.canary(text).encode() for _ in range(text.count("$"))]
            wire.ask(pk.parse("", text), pk.bind("", "", values), pk.describe(b"P", ""), pk.execute(), pk.SYNC)
        world.watch()
        world.answers.append(wire.transcript)


@case("the same from psql")
def test_psql(world):
    for user in ("postgres", "plain"):
        text = ";\n".join(world.fill(t) for t in STATEMENTS.strip().splitlines()
                          if t.count("'") % 2 == 0 and t.count('"') % 2 == 0 and not t.startswith("--")
                          and "$$" not in t and not ("/*" in t and "*/" not in t))
        # terse: else psql itself repeats the statement beside the position
        done = pk.psql(text, database="psql", user=user, port=world.keeper.port, args=("-v", "VERBOSITY=terse"), verbose=False)
        world.answers.append(done.raw_out + done.raw_err)
        world.watch()


@case("other encodings, backslashes, broken bytes, very long ones")
def test_odd(world):
    for encoding in ("LATIN1", "SJIS", "GBK", "BIG5", "UTF8", "SQL_ASCII"):
        with pk.Wire(world.keeper.port, "app") as wire:
            wire.query(f"set client_encoding = '{encoding}'")
            for template in ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}'", "BACKUP {c}", "CREATE MASTER KEY \"{c}\""):
                wire.query(world.fill(template))
                text = world.fill(template).encode().replace(b"Cq", b"\x83\x5cCq")
                wire.ask(pk.message(b"Q", text + b"\0"))
            world.answers.append(wire.transcript)
    with pk.Wire(world.keeper.port, "app") as wire:
        wire.query("set standard_conforming_strings = off")
        for template in ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{c}\\'", "CREATE MASTER KEY ENCRYPTION BY PASSWORD = '\\'{c}'",
                         "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'a\\\\{c}'"):
            wire.query(world.fill(template))
        wire.query("reset standard_conforming_strings")
        wire.ask(pk.message(b"Q", b"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '\xff\xfe" + world.canary("broken").encode() + b"'\0"))
        wire.query("CREATE MASTER KEY ENCRYPTION BY PASSWORD = '" + world.canary("long") * 1000 + "'")
        wire.query("BACKUP MASTER KEY TO FILE = '" + "x" * 2_000_000 + "' ENCRYPTION BY PASSWORD = '" + world.canary("too long") + "'")
        wire.query("CREATE MASTER KEY " + "/*" * 2000 + world.canary("nested"))
        world.answers.append(wire.transcript)
    wire = pk.Wire(world.keeper.port, "app")  # a client that is cut off in its statement
    wire.send(pk.query(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{world.canary('cut')}{'x' * 1000}'")[:-500])
    wire.socket.close()


@case("the keys themselves: service master key, master keys, keys of files, root secret")
def test_material(world):
    world.keeper.good("CREATE MASTER KEY", "fresh")
    path = os.path.join(world.keys, "fresh.pem")
    world.keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{FILE_PASSWORD}'", "fresh")
    world.keeper.good("SHOW MASTER KEYS")
    for name in ("same.pem", "smk.pem", "fresh.pem"):
        code, plain, errors = pk.openssl_open(os.path.join(world.keys, name), FILE_PASSWORD)
        expect(code == 0, f"openssl on {name}", errors)
        for key in json.loads(plain.splitlines()[0])["keys"]:
            material = pk.unbase64url(key["k"])
            world.material[material] = f"key in {name}"
            world.material[pk.hkdf_sha256(material, b"pgkeep kek 1", 32)] = f"key encryption key of {name}"
    world.answers.append(world.keeper.good("SHOW MASTER KEYS").raw_out)


@case("none of it is anywhere: logs, catalog, audit, answers, key files, pg_stat_activity, process")
def test_sweep(world):
    expect(len(world.canaries) > 500, "the statements ran", len(world.canaries))
    where = places(world)
    expect(len(world.material) >= 5, "the keys were found", list(world.material.values()))
    for name in ("state: keystore.db", "catalog rows", "key file same.pem", "answers to clients"):
        expect(len(where.get(name, b"")) > 100, f"{name} was looked at", {k: len(v) for k, v in where.items()})
    expect(b"CREATE MASTER KEY" in where["catalog rows"], "the audit trail has our statements")
    world.canaries[FILE_PASSWORD] = "the password of the files"
    hits = sweep(where, world.canaries) + sweep(where, world.material)
    expect(not hits, f"{len(hits)} secrets in the open", "\n    ".join(sorted(set(hits))[:40]))


@case("every text of the audit trail is text, also of statements that failed half way")
def test_audit(world):
    expect(world.broken is not None, "the sweep ran")
    expect(not world.broken, "audit rows hold something else", *world.broken[:3])


if __name__ == "__main__":
    pk.main(world)
