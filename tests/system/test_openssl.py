#!/usr/bin/env python3
"""Key files open without pgkeep: with the stock openssl tool and the password, or with the service
master key for a file that was sealed to the keystore; what is inside is the key that pgkeep shows; a
changed byte or a wrong password opens nothing, neither there nor here."""

import contextlib
import json
import os
import re
import subprocess

import pk
from pk import case, expect, expect_equal

GOOD = "Zx9!kettle-Moor $`\"\\ ü"  # what a shell would spoil goes through as it is


class World:
    def __init__(self, keeper, keys):
        self.keeper = keeper
        self.keys = keys
        self.smk = os.path.join(keys, "smk.pem")
        self.dmk = os.path.join(keys, "dmk.pem")
        self.tenant = None  # with a password
        self.sealed = None  # to the keystore


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        server = pk.Postgres(directory)
        with server, pk.Pgkeep(directory, server, roots=[keys]) as keeper:
            server.sql("create database app template template0")
            shared = World(keeper, keys)
            keeper.good(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
            keeper.good(f"BACKUP SERVICE MASTER KEY TO FILE = '{shared.smk}' ENCRYPTION BY PASSWORD = '{GOOD}'")
            keeper.good(f"BACKUP MASTER KEY TO FILE = '{shared.dmk}' ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
            for place, clause in (("with", f" ENCRYPTED BY '{GOOD}'"), ("without", "")):
                path = os.path.join(keys, place)
                os.mkdir(path, 0o700)
                keeper.good(f"ALTER SYSTEM BACKUP KEY TO 'file://{path}'{clause}", "app")
                (name,) = os.listdir(os.path.join(path, "app"))
                setattr(shared, "tenant" if clause else "sealed", os.path.join(path, "app", name))
            yield shared


def keys_in(plain):
    """The keys of a payload, as {kid: (key, what pgkeep says about it)}; two lines, strict JSON."""
    expect(plain.endswith(b"\n") or plain.count(b"\n") == 1, "two lines", plain[-200:])
    lines = plain.decode("utf-8").splitlines()
    expect_equal(len(lines), 2, "lines of the payload")
    expect(lines[1].startswith("#pgkeep-sig 1 ed25519 "), "the second line is the signature", lines[1][:60])
    document = json.loads(lines[0])
    expect_equal(document["pgkeep"]["format"], 1, "the format")
    expect_equal(document["pgkeep"]["count"], len(document["keys"]), "the count")
    found = {}
    for key in document["keys"]:
        expect_equal(key["kty"], "oct", "key type")
        found[key["kid"]] = (pk.unbase64url(key["k"]), key["pgkeep"])
    return found


def check_keys(world, plain, database):
    """Every fingerprint is right, and the newest one is what SHOW MASTER KEYS tells."""
    found = keys_in(plain)
    for kid, (key, about) in found.items():
        expect_equal(len(key), 32, f"length of {kid}")
        expect_equal(about["fp"], pk.fingerprint(key), f"fingerprint of {kid}")
    row = world.keeper.key(database)
    kid = f"{row['key_guid']}:{row['version']}"
    expect(kid in found, f"{kid} is in the file", list(found))
    expect_equal(row["fingerprint"], pk.fingerprint(found[kid][0]), "SHOW MASTER KEYS")
    return found[kid][0]


@case("every file with a password opens with openssl cms, and holds the key that SHOW MASTER KEYS shows")
def test_password(world):
    for path, database in ((world.smk, None), (world.dmk, "app"), (world.tenant, "app")):
        code, plain, errors = pk.openssl_open(path, GOOD)
        expect(code == 0, f"openssl on {path}", errors)
        check_keys(world, plain, database)


@case("the file says by itself how to open it, and who made what when")
def test_preamble(world):
    for path in (world.smk, world.dmk, world.tenant, world.sealed):
        with open(path, encoding="utf-8") as file:
            head = file.read().split("-----BEGIN CMS-----")[0]
        expect("openssl cms -decrypt -inform PEM" in head, "the command", head)
        expect("pgk1:" in head, "a fingerprint", head)
        expect(GOOD not in head, "the password is in the preamble")


@case("a file sealed to the keystore opens with the key encryption key that openssl kdf derives from the service master key")
def test_sealed(world):
    _, plain, _ = pk.openssl_open(world.smk, GOOD)
    smk = check_keys(world, plain, None)
    done = subprocess.run(
        ["openssl", "kdf", "-keylen", "32", "-binary", "-kdfopt", "digest:SHA256", "-kdfopt", f"hexkey:{smk.hex()}",
         "-kdfopt", "info:pgkeep kek 1", "HKDF"], capture_output=True, check=False, timeout=pk.TIMEOUT)
    expect(done.returncode == 0, "openssl kdf", done.stderr)
    expect_equal(done.stdout, pk.hkdf_sha256(smk, b"pgkeep kek 1", 32), "openssl's HKDF and ours")
    code, plain, errors = pk.openssl_open(world.sealed, kek=done.stdout)
    expect(code == 0, "openssl with the derived key", errors)
    sealed = check_keys(world, plain, "app")
    _, plain, _ = pk.openssl_open(world.dmk, GOOD)
    expect_equal(sealed, check_keys(world, plain, "app"), "the same key through both doors")
    code, plain, _ = pk.openssl_open(world.sealed, kek=bytes(32))
    expect(code != 0 and not plain, "a wrong key opens it")


@case("a wrong password opens nothing, in openssl and here")
def test_wrong(world):
    for path in (world.smk, world.dmk, world.tenant):
        for word in ("wrong", GOOD + " ", GOOD[:-1], GOOD.lower()):
            code, plain, _ = pk.openssl_open(path, word)
            expect(code != 0 and not plain, f"openssl opens {path} with {word!r}")
    world.keeper.fails("28P01", f"RESTORE SERVICE MASTER KEY FROM FILE = '{world.smk}' DECRYPTION BY PASSWORD = 'wrong'")
    world.keeper.fails("28P01", f"RESTORE MASTER KEY FROM FILE = '{world.dmk}' DECRYPTION BY PASSWORD = '{GOOD} '"
                       f" ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
    world.keeper.fails("28P01", f"ALTER SYSTEM RESTORE KEY FROM 'file://{world.tenant}' ENCRYPTED BY 'wrong'", "app")


@case("a flipped byte of the content or its tag opens nothing, in openssl and here")
def test_flipped(world):
    with open(world.dmk, encoding="utf-8") as file:
        text = file.read()
    body = re.search(r"-----BEGIN CMS-----\n(.*?)-----END CMS-----", text, re.S)
    digits = [i for i in range(body.start(1), body.end(1)) if text[i] not in "\n="]
    broken = os.path.join(world.keys, "broken.pem")
    # in base64, from the end: the tag (last 22 digits), then the content
    for number in (-3, -12, -30, -200, -len(digits) // 2):
        at = digits[number]
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1:]
        with open(broken, "w", encoding="utf-8") as file:
            file.write(changed)
        # its exit status decides: releases before 3.0.22 write what they decrypted before they look at the tag
        code, _, _ = pk.openssl_open(broken, GOOD)
        expect(code != 0, f"openssl opens it with digit {number} changed")
        done = world.keeper.sql(f"RESTORE MASTER KEY FROM FILE = '{broken}' DECRYPTION BY PASSWORD = '{GOOD}'"
                                f" ENCRYPTION BY PASSWORD = '{GOOD}'", "app")
        expect_equal(done.states("ERROR"), ["XX001"], f"RESTORE with digit {number} changed")


@case("control: the comparison of fingerprints can fail")
def test_control(world):
    _, plain, _ = pk.openssl_open(world.dmk, GOOD)
    try:
        check_keys(world, plain, None)  # the key of app is not the service master key
    except pk.Failure:
        return
    raise pk.Failure("another key passed for the service master key")


if __name__ == "__main__":
    pk.main(world)
