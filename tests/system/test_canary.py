#!/usr/bin/env python3
"""Nothing that was typed as a secret, and no byte of a key, lies anywhere it should not. Every kind of
statement runs with secrets that occur once in the world; then every place where text ends up is searched
for each of them, in every form a program could have turned it into. The search itself is tested first:
a secret planted in a copy of the log, in each form, must turn it red."""

import contextlib
import json
import os
import re
import sqlite3

import pk
import relay
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
OPEN MASTER KEY DECRYPTION BY PASSWORD = N'{c}'
OPEN MASTER KEY DECRYPTION BY PASSWORD = {c}
CLOSE MASTER KEY '{c}'
UNSEAL WITH PASSWORD = '{c}'
UNSEAL WITH PASSWORD = {c}
UNSEAL WITH RECOVERY CODE = '{c}'
UNSEAL WITH RECOVERY CODE = "{c}"
UNSEAL WITH RECOVERY CODE = '7ZK4-M0QB-{c}'
UNSEAL '{c}'
UNSEAL {c}
ALTER KEYSTORE ADD SLOT password '{c}'
ALTER KEYSTORE ADD SLOT password {c}
ALTER KEYSTORE ADD SLOT recovery '{c}'
ALTER KEYSTORE ADD SLOT tpm '{c}'
ALTER KEYSTORE ADD SLOT {c}
ALTER KEYSTORE ADD SLOT '{c}'
ALTER KEYSTORE DROP SLOT '{c}'
ALTER KEYSTORE {c}
SEAL '{c}'
SHOW KEYSTORE '{c}'
SHOW KEY BACKUPS '{c}'
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
    def __init__(self, directory, server, keeper, keys, back):
        self.back = back     # the recorder between pgkeep and PostgreSQL
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
        with server, relay.Relay(server.port) as back, \
                pk.Pgkeep(directory, server, roots=[keys], backend=f"{pk.HOST}:{back.port}") as keeper:
            for name in ("app", "psql", "fresh", "opened"):
                server.sql(f"create database {name} template template0")
            server.sql("create role plain login")
            keeper.good("CREATE MASTER KEY", "app")
            keeper.good(f"BACKUP MASTER KEY TO FILE = '{keys}/same.pem' ENCRYPTION BY PASSWORD = '{FILE_PASSWORD}'", "app")
            keeper.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{keys}/smk.pem' ENCRYPTION BY PASSWORD = '{FILE_PASSWORD}'")
            yield World(directory, server, keeper, keys, back)


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
             "the wire to PostgreSQL": world.back.everything(), "answers to clients": b"\n".join(world.answers), "pg_stat_activity": "\n".join(world.activity).encode()}
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


HEAD = 8  # bytes


def sweep(where, secrets):
    """Every hit as text: which secret in which form in which place. There are tens of thousands of
    needles, so each place is walked once and looked up by the needles' first bytes."""
    heads = {}
    for secret, what in secrets.items():
        for form, needle in pk.forms(secret).items():
            heads.setdefault(needle[:HEAD], []).append((needle, f"{form}: {what}"))
    expect(all(len(head) == HEAD for head in heads), "every needle is long enough")
    hits = set()
    for place, text in where.items():
        for at in range(len(text) - HEAD + 1):
            for needle, told in heads.get(text[at:at + HEAD], ()):
                if text.startswith(needle, at):
                    hits.add(f"{place}, {told}")
    return sorted(hits)


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
                if database == "fresh":
                    world.watch()
                world.answers.append(wire.transcript)
    expect(world.keeper.alive(), "pgkeep died")


STRING = re.compile(r"(?:\b[NE]|\bU&)?'([^']*)'")


def as_parameters(text):
    """The statement with $1, $2, .. in place of its strings, and the strings."""
    values = []

    def number(found):
        values.append(found[1])
        return f"${len(values)}"
    return STRING.sub(number, text), values


def extended_templates():
    """Several statements, or none, are PostgreSQL's to refuse."""
    return [t for t in STATEMENTS.strip().splitlines() if not t.startswith(("SELECT 1;", "BEGIN;", "--"))]


@case("the same by the extended protocol")
def test_extended(world):
    for user in ("postgres", "plain"):
        with pk.Wire(world.keeper.port, "app", user) as wire:
            for template in extended_templates():
                wire.ask(pk.extended(world.fill(template)), pk.SYNC)
            world.watch()
            world.answers.append(wire.transcript)


@case("the same as parameters: text and binary, unnamed and named, of every type, in and outside of blocks")
def test_parameters(world):
    bound = 0
    for number, user in enumerate(("postgres", "plain", "postgres")):
        with pk.Wire(world.keeper.port, "app", user) as wire:
            for template in extended_templates():
                text, values = as_parameters(world.fill(template))
                for form, kind in ((0, 0), (1, 25)) if number == 0 else ((number % 2, 1043),):
                    name = "" if form else "named"
                    if number == 2:
                        wire.query("begin")
                    wire.ask(pk.close(b"S", name), pk.parse(name, text, [kind] * len(values)),
                             pk.bind("portal", name, [v.encode() for v in values], [form]), pk.describe(b"P", "portal"),
                             pk.execute("portal"), pk.SYNC)
                    bound += len(values)
                    if number == 2:
                        wire.query("rollback")
            world.watch()
            world.answers.append(wire.transcript)
    expect(bound > 200, "parameters were bound", bound)


@case("values that a Bind cannot have: too few, too many, broken, of a wrong type, cut off")
def test_odd_parameters(world):
    text = "BACKUP MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2"

    def secret():
        return world.canary(text).encode()
    with pk.Wire(world.keeper.port, "app") as wire:
        for values, formats, types in (([secret()], (), ()), ([secret(), secret(), secret()], (), ()),
                                       ([secret(), b"\xff" + secret()], (), ()), ([secret(), secret()], (1, 1, 1), ()),
                                       ([secret(), secret()], (7,), ()), ([secret(), secret() + b"\0" + secret()], (1,), ()),
                                       ([secret(), secret()], (), (23, 23)), ([secret(), secret()], (), (17, 17)),
                                       ([None, secret()], (), ()), ([secret(), secret() * 300], (), ()),
                                       ([secret(), secret() * 100000], (), ())):
            wire.ask(pk.parse("", text, types), pk.bind("", "", values, formats), pk.execute(), pk.SYNC)
        wire.ask(pk.parse("", "BACKUP MASTER KEY TO FILE = $2 ENCRYPTION BY PASSWORD = $9"),
                 pk.bind("", "", [secret() for _ in range(9)]), pk.execute(), pk.SYNC)
        world.answers.append(wire.transcript)
    wire = pk.Wire(world.keeper.port, "app")
    wire.send(pk.parse("", text), pk.bind("", "", [secret(), secret() + b"x" * 1000])[:-500])
    wire.socket.close()


@case("passwords and codes that are right: OPEN, SEAL and UNSEAL, and the recovery code of the command line")
def test_right(world):
    own, slot = world.canary("the right password of a master key"), world.canary("the right password of a slot")
    code_file = os.path.join(world.directory, "code")
    world.keeper.good(f"ALTER KEYSTORE ADD SLOT password '{slot}'")
    done = pk.run_pgkeep(["key", "recovery", "--to", code_file, "--state", world.keeper.state], os.path.join(world.directory, "verb"))
    expect_equal(done.returncode, 0, f"pgkeep key recovery: {done.stderr}")
    world.answers.append((done.stdout + done.stderr).encode())
    expect_equal(os.stat(code_file).st_mode & 0o7777, 0o600, "the mode of the code's file")
    with open(code_file, encoding="utf-8") as file:
        code = file.read().strip()
    expect(re.fullmatch(r"([0-9A-Z]{4}-){8}[0-9A-Z]{2}", code), "the file holds the code and nothing else", len(code))
    world.canaries[code] = world.canaries[code.replace("-", "")] = "the recovery code"
    with pk.Wire(world.keeper.port, "opened") as wire:
        wire.query(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{own}'")
        for extended in (False, True):
            for text, value in (("OPEN MASTER KEY DECRYPTION BY PASSWORD = $1", own), ("SEAL", None), ("UNSEAL WITH PASSWORD = $1", slot),
                                ("SEAL", None), ("UNSEAL WITH RECOVERY CODE = $1", code)):
                literal = pk.query(text.replace("$1", f"'{value}'"))
                got = wire.ask(pk.extended(text, value), pk.SYNC) if extended and value else wire.ask(literal)
                expect_equal(pk.states(got), [], f"SQLSTATE of {text}")
        world.answers.append(wire.transcript)
    world.watch()


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
    expect(not hits, f"{len(hits)} secrets in the open", "\n    ".join(hits[:40]))


@case("every text of the audit trail is text, also of statements that failed half way")
def test_audit(world):
    expect(world.broken is not None, "the sweep ran")
    expect(not world.broken, "audit rows hold something else", *world.broken[:3])


if __name__ == "__main__":
    pk.main(world)
