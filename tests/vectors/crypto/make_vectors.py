#!/usr/bin/python3
"""Writes vectors.h: what crypto/ must compute, computed a second time without it.

HKDF, fingerprints and PBKDF2 are spelled out over hmac and hashlib; AES-GCM, AES-CBC and Ed25519 come
from the `cryptography` package (Debian: python3-cryptography). Run it without arguments in this
directory; the result is committed and must not change while the formats keep their numbers.
"""
import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY = bytes(range(32))
OTHER = bytes([0xA5]) * 32


def hkdf(key, info, length=32):
    """RFC 5869 with SHA-256 and an empty salt."""
    prk = hmac.new(bytes(32), key, hashlib.sha256).digest()
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out += block
        count += 1
    return out[:length]


def labelled(key, label, context=b""):
    return hkdf(key, label.encode() + (b"\0" + context if context else b""))


def fingerprint_text(prefix, fp):
    digits = fp[:8].hex()
    return prefix + ":" + "-".join(digits[i : i + 4] for i in range(0, 16, 4))


def pbkdf2_sha512(password, salt, rounds):
    """RFC 8018 5.2, the first block."""
    inner = hmac.new(password, salt + b"\0\0\0\1", hashlib.sha512).digest()
    total = int.from_bytes(inner, "big")
    for _ in range(rounds - 1):
        inner = hmac.new(password, inner, hashlib.sha512).digest()
        total ^= int.from_bytes(inner, "big")
    return total.to_bytes(64, "big")[:32]


def wrap_context(c):
    def u32(value):
        return struct.pack(">I", value)

    parts = [b"pgkeep", b"\1", c["store"], c["parent_kind"].encode(), c["parent_uuid"],
             u32(c["parent_ver"]), c["child_kind"].encode(), c["child_uuid"], u32(c["child_ver"]),
             c["child_alg"].encode(), c["purpose"].encode(), u32(c["flags"]), c["owner"].encode()]
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def wrap(parent, c, nonce, key):
    context = wrap_context(c)
    wrap_key = labelled(parent, "pgkeep wrap 1", context)
    return b"\1\1" + nonce + AESGCM(wrap_key).encrypt(nonce, key, context)


def cbc(key, iv, data):
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def rfc3211(kek, iv, cek, padding):
    block = bytes([len(cek)]) + bytes(b ^ 0xFF for b in cek[:3]) + cek + padding
    first = cbc(kek, iv, block)
    return cbc(kek, first[-16:], first)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def payload(identity, public):
    signer = fingerprint_text("pgs1", hashlib.sha256(public).digest())
    keys = []
    for key, ver, state, origin, exportable in (
        (KEY, 2, "retired", "restored", False),
        (OTHER, 3, "current", "generated", True),
    ):
        fp = fingerprint_text("pgk1", labelled(key, "pgkeep fp 1"))
        keys.append({
            "kty": "oct", "k": b64url(key), "alg": "A256GCM",
            "kid": "00112233-4455-6677-8899-aabbccddeeff:%d" % ver,
            "key_ops": ["wrapKey", "unwrapKey"],
            "pgkeep": {"kind": "dmk", "scope": "db", "db": "sales", "name": "master", "ver": ver,
                       "state": state, "fp": fp, "purpose": "wrap", "exportable": exportable,
                       "created_at": "2026-03-01T02:03:04Z", "origin": origin},
        })
    document = {
        "keys": keys,
        "pgkeep": {"format": 1, "type": "BACKUP MASTER KEY",
                   "store": "0f0e0d0c-0b0a-4908-8706-050403020100", "store_epoch": 412,
                   "audit_head": "00ff", "created_at": "2026-03-02T00:00:00Z",
                   "created_by": "alice",
                   "server": {"version": "15.4", "system_identifier": "7300000000000000001"},
                   "complete": True, "count": 2, "recipients": ["password"], "known_backups": [],
                   "identity": b64url(public)},
    }
    line = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    signature = base64.b64encode(identity.sign(line.encode())).decode()
    return "%s\n#pgkeep-sig 1 ed25519 %s %s\n" % (line, signer, signature)


def c_text(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def recovery_code(secret):
    """160 bits as 32 characters, then the number modulo 1021 as two."""
    number = int.from_bytes(secret, "big")
    body = "".join(CROCKFORD[number >> 5 * (31 - i) & 31] for i in range(32))
    check = number % 1021
    groups = [body[i : i + 4] for i in range(0, 32, 4)]
    return "-".join(groups + [CROCKFORD[check // 32] + CROCKFORD[check % 32]])


def main():
    out = ["/* Written by make_vectors.py; do not edit. */", "/* clang-format off */",
           "#ifndef PK_TESTS_VECTORS_CRYPTO_H", "#define PK_TESTS_VECTORS_CRYPTO_H", ""]

    out += ["static const struct hkdf_vector {",
            "    const char *name, *key, *label, *context, *out;", "} hkdf_vectors[] __attribute__((unused)) = {"]
    for label in ("wrap", "fp", "row", "audit", "slot", "kek"):
        for context in (b"", b"a context"):
            full = "pgkeep %s 1" % label
            name = full + (" with a context" if context else "")
            out.append("    {%s, %s, %s, %s, %s}," % tuple(map(c_text, (
                name, KEY.hex(), full, context.decode(), labelled(KEY, full, context).hex()))))
    out += ["};", ""]

    out += ["/* kek: of a recovery slot in the store of OTHER's first 16 bytes. */",
            "static const struct recovery_vector {", "    const char *name, *secret, *code, *kek;",
            "} recovery_vectors[] __attribute__((unused)) = {"]
    for name, secret in (("counting bytes", KEY[:20]), ("all zero", bytes(20)),
                         ("all ones", b"\xff" * 20), ("bytes of a5", OTHER[:20])):
        kek = labelled(secret, "pgkeep slot 1", OTHER[:16])
        out.append("    {%s, %s, %s, %s}," % tuple(map(c_text, (
            name, secret.hex(), recovery_code(secret), kek.hex()))))
    out += ["};", ""]

    out += ["static const struct fp_vector {", "    const char *name, *key, *fp, *text;",
            "} fp_vectors[] __attribute__((unused)) = {"]
    for name, key in (("counting key", KEY), ("key of a5", OTHER), ("key of zeros", bytes(32))):
        fp = labelled(key, "pgkeep fp 1")[:16]
        out.append("    {%s, %s, %s, %s}," % tuple(map(c_text, (
            name, key.hex(), fp.hex(), fingerprint_text("pgk1", fp)))))
    out += ["};", ""]

    contexts = [
        ("database master key under the service master key", {
            "store": bytes(range(16)), "parent_kind": "smk", "parent_uuid": bytes([0x11]) * 16,
            "parent_ver": 1, "child_kind": "dmk", "child_uuid": bytes([0x22]) * 16,
            "child_ver": 0x01020304, "child_alg": "A256", "purpose": "wrap", "flags": 1,
            "owner": "db:sales"}),
        ("data key outside the catalog", {
            "store": bytes(16), "parent_kind": "dmk", "parent_uuid": bytes([0x33]) * 16,
            "parent_ver": 7, "child_kind": "data key", "child_uuid": bytes([0x44]) * 16,
            "child_ver": 1, "child_alg": "A256", "purpose": "wrap", "flags": 0,
            "owner": "service"}),
    ]
    out += ["static const struct wrap_vector {", "    const char *name, *parent, *key;",
            "    const char *store, *parent_kind, *parent_uuid;", "    unsigned parent_ver;",
            "    const char *child_kind, *child_uuid;", "    unsigned child_ver;",
            "    const char *child_alg, *purpose;", "    unsigned flags;",
            "    const char *owner_scope, *blob;", "} wrap_vectors[] __attribute__((unused)) = {"]
    for name, c in contexts:
        blob = wrap(OTHER, c, bytes(range(100, 112)), KEY)
        out.append("    {%s, %s, %s, %s, %s, %s, %d, %s, %s, %d, %s, %s, %d, %s,\n     %s}," % (
            c_text(name), c_text(OTHER.hex()), c_text(KEY.hex()), c_text(c["store"].hex()),
            c_text(c["parent_kind"]), c_text(c["parent_uuid"].hex()), c["parent_ver"],
            c_text(c["child_kind"]), c_text(c["child_uuid"].hex()), c["child_ver"],
            c_text(c["child_alg"]), c_text(c["purpose"]), c["flags"], c_text(c["owner"]),
            c_text(blob.hex())))
    out += ["};", ""]

    out += ["static const struct pbkdf2_vector {", "    const char *name, *password, *salt;",
            "    unsigned rounds;", "    const char *out;", "} pbkdf2_sha512_vectors[] __attribute__((unused)) = {"]
    for password, salt, rounds in ((b"password", b"salt", 1), (b"password", b"salt", 2),
                                   (b"Tr0ub4dor&3", bytes(range(32)), 10000)):
        out.append("    {%s, %s, %s, %d, %s}," % (
            c_text("PBKDF2-HMAC-SHA512 with %d rounds" % rounds), c_text(password.decode()),
            c_text(salt.hex()), rounds, c_text(pbkdf2_sha512(password, salt, rounds).hex())))
    out += ["};", ""]

    out += ["static const struct pwri_vector {", "    const char *name, *kek, *iv, *cek, *wrapped;",
            "} pwri_vectors[] __attribute__((unused)) = {"]
    for name, kek, iv, cek in (("RFC 3211 with AES-256-CBC", KEY, bytes(range(16)), OTHER),
                               ("the same with other keys", OTHER, bytes([0xFE]) * 16, KEY)):
        wrapped = rfc3211(kek, iv, cek, bytes(range(12)))
        out.append("    {%s, %s, %s, %s, %s}," % tuple(map(c_text, (
            name, kek.hex(), iv.hex(), cek.hex(), wrapped.hex()))))
    out += ["};", ""]

    identity = Ed25519PrivateKey.from_private_bytes(OTHER)
    public = identity.public_key().public_bytes(serialization.Encoding.Raw,
                                                serialization.PublicFormat.Raw)
    signer = hashlib.sha256(public).digest()[:16]
    out += ["/* An identity whose private key is 32 bytes of a5, and a payload that it signed. */",
            "#define IDENTITY_PRIVATE %s" % c_text(OTHER.hex()),
            "#define IDENTITY_PUBLIC %s" % c_text(public.hex()),
            "#define IDENTITY_FP %s" % c_text(signer.hex()),
            "#define IDENTITY_FP_TEXT %s" % c_text(fingerprint_text("pgs1", signer)),
            "static const char payload_vector[] __attribute__((unused)) =", "    %s;" % c_text(payload(identity, public)),
            "", "#endif", ""]
    with open("vectors.h", "w", encoding="utf-8") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main()
