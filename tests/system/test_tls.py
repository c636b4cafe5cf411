#!/usr/bin/env python3
"""TLS towards clients, towards PostgreSQL, and both at once, by psql and by hand: which modes meet, which
certificates pass, what SCRAM makes of a proxy in the middle, what is refused before TLS is up, certificates
that change while sessions run, and bulk both ways."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import time

import pk
from pk import case, expect, expect_equal, expect_in

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)
PASSWORD = "Scram-pass-7"
ROW = "select coalesce(ssl::text, 'false') from pg_stat_ssl where pid = pg_backend_pid()"


# --- certificates -------------------------------------------------------------------------------


class Authority:
    """A root and what it signs, made by openssl."""

    def __init__(self, directory, name):
        self.home = os.path.join(directory, name)
        os.mkdir(self.home)
        self.cert = os.path.join(self.home, "ca.pem")
        self.key = os.path.join(self.home, "ca.key")
        self.openssl("req", "-x509", *self.fresh(self.key), "-days", "30", "-subj", f"/CN={name}", "-out", self.cert,
                     "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign")

    @staticmethod
    def fresh(path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]

    @staticmethod
    def openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=pk.TIMEOUT, check=False)
        expect(done.returncode == 0, "openssl " + arguments[0], done.stderr)

    def sign(self, name, subject, names="", days="30"):
        """Paths of a certificate and its key."""
        base = os.path.join(self.home, name)
        self.openssl("req", *self.fresh(base + ".key"), "-subj", subject, "-out", base + ".csr")
        extra = base + ".ext"
        with open(extra, "w", encoding="ascii") as file:
            file.write(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        self.openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                     "-days", days, "-extfile", extra, "-out", base + ".pem")
        os.chmod(base + ".key", 0o600)
        return base + ".pem", base + ".key"


class World:
    def __init__(self, directory):
        self.directory = directory
        self.authority = Authority(directory, "authority")
        self.stranger = Authority(directory, "stranger")
        here = "DNS:localhost,IP:127.0.0.1"
        self.proxy = self.authority.sign("proxy", "/CN=localhost", here)
        self.server = self.authority.sign("server", "/CN=localhost", here)
        self.elsewhere = self.authority.sign("elsewhere", "/CN=db.example", "DNS:db.example")
        self.alice = self.authority.sign("alice", "/O=Example/CN=alice")
        self.mallory = self.stranger.sign("mallory", "/CN=alice")
        self.postgres = self.make_postgres("tls", self.server)
        self.plain = pk.Postgres(directory, "plain")
        self.numbers = 0

    def make_postgres(self, name, pair):
        """One that speaks TLS; passwords over TCP, so that SCRAM has its say."""
        home = os.path.join(self.directory, name + "-files")
        os.mkdir(home, 0o755)
        files = []
        for path in pair:
            mine = os.path.join(home, os.path.basename(path))
            shutil.copy(path, mine)
            who = pk.unprivileged()
            if who:
                os.chown(mine, who["user"], who["group"])
            os.chmod(mine, 0o600)
            files.append(mine)
        return pk.Postgres(self.directory, name, hba=["host all scram all scram-sha-256", "host all clear all password"],
                           settings=["ssl=on", f"ssl_cert_file={files[0]}", f"ssl_key_file={files[1]}"])

    @contextlib.contextmanager
    def keeper(self, postgres=None, client=None, settings=(), backend=None):
        """A pgkeep; `client`: the pair it shows to clients."""
        self.numbers += 1
        settings = list(settings)
        if client is not None:
            settings += [f"client_tls.cert_file={client[0]}", f"client_tls.key_file={client[1]}"]
        postgres = postgres or self.postgres
        with pk.Pgkeep(self.directory, postgres, settings=settings, name=f"pgkeep-{self.numbers}", backend=backend) as keeper:
            yield keeper

    def psql(self, keeper, text="select 'fine'", user="postgres", **words):
        """With these words of libpq's."""
        host = words.pop("host", pk.HOST)
        info = " ".join(f"{name}='{value}'" for name, value in {"dbname": "postgres", **words}.items())
        return pk.psql(text, port=keeper.port, user=user, host=host, database=info, args=("-At",))

    def fine(self, keeper, **words):
        done = self.psql(keeper, **words)
        expect_equal((done.code, done.out.strip()), (0, "fine"), f"psql with {words}: {done.err}")

    def refused(self, part, keeper, **words):
        done = self.psql(keeper, **words)
        expect(done.code != 0, f"psql with {words} got in", done.out)
        expect_in(part, done.err, f"psql with {words}")
        return done


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        it = World(directory)
        with it.postgres, it.plain:
            for postgres in (it.postgres, it.plain):
                postgres.sql(f"set password_encryption = 'scram-sha-256'; create role scram login password '{PASSWORD}'")
                postgres.sql("create role alice login")
            it.postgres.sql(f"create role clear login password '{PASSWORD}'")
            yield it


# --- by hand ------------------------------------------------------------------------------------


def dial(keeper):
    return socket.create_connection((pk.HOST, keeper.port), timeout=pk.TIMEOUT)


def read_all(connection):
    got = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while data := connection.recv(65536):
            got += data
    return got


def context(authority=None, alpn=("postgresql",), pair=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED if authority else ssl.CERT_NONE
    if authority:
        made.load_verify_locations(authority.cert)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    if pair:
        made.load_cert_chain(*pair)
    return made


def ask_tls(keeper, how=None):
    """By SSLRequest."""
    connection = dial(keeper)
    connection.sendall(SSL_REQUEST)
    expect_equal(connection.recv(1), b"S", "the answer to SSLRequest")
    return (how or context()).wrap_socket(connection)


def log_in(connection, user="postgres"):
    """The rest of a session by hand."""
    wire = pk.Wire.__new__(pk.Wire)
    wire.socket, wire.transcript, wire.pending, wire.key = connection, b"", b"", None
    wire.send(pk.startup(user=user, database="postgres"))
    for kind, body in wire.until(b"Z"):
        if kind == b"K":
            wire.key = body
    return wire


# --- towards clients ----------------------------------------------------------------------------


@case("every sslmode of libpq meets a proxy with a certificate")
def test_client_modes(world):
    ca = world.authority.cert
    with world.keeper(client=world.proxy) as keeper:
        for mode in ("disable", "allow", "prefer", "require"):
            world.fine(keeper, sslmode=mode)
        world.fine(keeper, sslmode="verify-ca", sslrootcert=ca)
        world.fine(keeper, sslmode="verify-full", sslrootcert=ca)
        world.fine(keeper, sslmode="verify-full", sslrootcert=ca, host="localhost")
        world.refused("certificate verify failed", keeper, sslmode="verify-ca", sslrootcert=world.stranger.cert)
        for version in ("TLSv1.2", "TLSv1.3"):
            world.fine(keeper, sslmode="require", ssl_min_protocol_version=version, ssl_max_protocol_version=version)
    with world.keeper(client=world.elsewhere) as keeper:
        world.fine(keeper, sslmode="verify-ca", sslrootcert=ca)
        world.refused("does not match host name", keeper, sslmode="verify-full", sslrootcert=ca)
    with world.keeper() as keeper:
        world.fine(keeper, sslmode="prefer")
        world.refused("server does not support SSL", keeper, sslmode="require")


@case("TLS can be demanded, and a lowest version")
def test_client_demands(world):
    with world.keeper(client=world.proxy, settings=["client_tls.sslmode=require",
                                                    "client_tls.min_protocol_version=TLSv1.3"]) as keeper:
        world.fine(keeper, sslmode="require")
        done = world.refused("connection requires SSL", keeper, sslmode="disable")
        expect_in("HINT", done.err, "what to do")
        world.refused("protocol version", keeper, sslmode="require", ssl_max_protocol_version="TLSv1.2")


@case("client certificates: asked for, demanded, and held against the role")
def test_client_certificates(world):
    ca = world.authority.cert
    alice = {"sslmode": "require", "sslcert": world.alice[0], "sslkey": world.alice[1]}
    mallory = {"sslmode": "require", "sslcert": world.mallory[0], "sslkey": world.mallory[1]}
    with world.keeper(client=world.proxy, settings=[f"client_tls.ca_file={ca}"]) as keeper:
        world.fine(keeper, sslmode="require")
        world.fine(keeper, **alice)
        world.refused("unknown ca", keeper, **mallory)
    with world.keeper(client=world.proxy, settings=[f"client_tls.ca_file={ca}", "client_tls.sslmode=verify-ca"]) as keeper:
        world.fine(keeper, **alice)
        world.refused("certificate required", keeper, sslmode="require")
        world.refused("connection requires SSL", keeper, sslmode="disable")
    with world.keeper(client=world.proxy, settings=[f"client_tls.ca_file={ca}", "client_tls.sslmode=verify-full"]) as keeper:
        world.fine(keeper, user="alice", **alice)
        world.refused("certificate authentication failed", keeper, user="postgres", **alice)


@case("the audit names the certificate of who ran a statement, if it was verified")
def test_audit_subject(world):
    alice = {"sslmode": "require", "sslcert": world.alice[0], "sslkey": world.alice[1]}
    with world.keeper(client=world.proxy, settings=[f"client_tls.ca_file={world.authority.cert}"]) as keeper:
        for words in ({"sslmode": "disable"}, {"sslmode": "require"}, alice):
            world.psql(keeper, "CREATE MASTER KEY", **words)
    with contextlib.closing(sqlite3.connect(os.path.join(keeper.state, "keystore.db"))) as catalog:
        rows = catalog.execute("select action, tls_subject from audit where actor = 'postgres' order by seq").fetchall()
    expect_equal(rows, [("dmk_create", subject) for subject in ("", "", "/O=Example/CN=alice")], "the audit")


@case("a handshake without asking needs the protocol's name")
def test_direct(world):
    with world.keeper(client=world.proxy) as keeper:
        wire = log_in(context().wrap_socket(dial(keeper)))
        expect_equal(pk.rows(wire.query("select 1")), [["1"]], "a session")
        wire.close()
        for alpn, why in ((("http/1.1",), "a wrong protocol"), ((), "no protocol")):
            try:
                secured = context(alpn=alpn).wrap_socket(dial(keeper))
                secured.sendall(pk.startup(user="postgres", database="postgres"))
                expect_equal(read_all(secured), b"", why)
            except (ssl.SSLError, ConnectionError):
                pass  # an alert, which is right for a wrong protocol
        with ask_tls(keeper, context(alpn=())) as secured:  # asked for, no name is needed
            log_in(secured)
    with world.keeper() as keeper:
        connection = dial(keeper)
        connection.sendall(b"\x16\x03\x01\x00\x05hello")
        expect_equal(read_all(connection), b"", "no TLS here, no text either")


@case("the first bytes of a handshake may come one by one")
def test_split_handshake(world):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with world.keeper(client=world.proxy) as keeper:
        machine = context().wrap_bio(incoming, outgoing)
        connection = dial(keeper)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                machine.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    connection.sendall(bytes([byte]))
                    time.sleep(0.0005)
                incoming.write(connection.recv(65536))
        machine.write(pk.startup(user="postgres", database="postgres"))
        for byte in outgoing.read():
            connection.sendall(bytes([byte]))
        got = b""
        while b"Z\0\0\0\5I" not in got:
            incoming.write(connection.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                while True:
                    got += machine.read(65536)
        connection.close()


@case("nothing that came in the clear is taken for something inside TLS")
def test_injected(world):
    with world.keeper(client=world.proxy) as keeper:
        for request, name in ((SSL_REQUEST, "SSL"), (GSS_REQUEST, "GSSAPI encryption")):
            connection = dial(keeper)
            connection.sendall(request + pk.startup(user="postgres", database="postgres"))
            expect_in(f"received unencrypted data after {name} request".encode(), read_all(connection), name)
        connection = dial(keeper)
        connection.sendall(GSS_REQUEST)
        expect_equal(connection.recv(1), b"N", "no GSSAPI")
        connection.sendall(SSL_REQUEST)
        expect_equal(connection.recv(1), b"S", "then TLS")
        secured = context().wrap_socket(connection)
        secured.sendall(SSL_REQUEST)
        expect_in(b"unsupported frontend protocol", read_all(secured), "TLS inside of TLS")
        connection = dial(keeper)
        connection.sendall(SSL_REQUEST)
        connection.recv(1)
        connection.sendall(b"Q\0\0\0\x0dselect 1\0" * 10)
        expect(b"E" not in read_all(connection)[:1], "plain text in place of a handshake is not answered in the clear")
        expect(keeper.alive(), "pgkeep lives")


# --- towards PostgreSQL ---------------------------------------------------------------------------


@case("every mode towards PostgreSQL")
def test_server_modes(world):
    ca = [f"server_tls.ca_file={world.authority.cert}"]
    for mode, more, wanted in (("disable", [], "false"), ("prefer", [], "true"), ("require", [], "true"),
                               ("verify-ca", ca, "true"), ("verify-full", ca, "true")):
        with world.keeper(settings=[f"server_tls.sslmode={mode}", *more]) as keeper:
            expect_equal(world.psql(keeper, ROW).out.strip(), wanted, mode)
    with world.keeper(settings=["server_tls.sslmode=verify-full", *ca], backend=f"localhost:{world.postgres.port}") as keeper:
        expect_equal(world.psql(keeper, ROW).out.strip(), "true", "by name")
    with world.keeper(settings=["server_tls.sslmode=verify-ca", f"server_tls.ca_file={world.stranger.cert}"]) as keeper:
        world.refused("certificate verify failed", keeper)
    with world.keeper(world.plain, settings=["server_tls.sslmode=prefer"]) as keeper:
        world.fine(keeper)
    with world.keeper(world.plain, settings=["server_tls.sslmode=require"]) as keeper:
        world.refused("server does not support SSL, but SSL was required", keeper)
    with world.keeper(backend=f"{world.postgres.home}:{world.postgres.port}", settings=["server_tls.sslmode=require"]) as keeper:
        world.fine(keeper)


@case("a server that answers nonsense to SSLRequest is left alone")
def test_strange_server(world):
    for answer in (b"E", b"SS", b"", b"Sgarbage-in-the-clear"):
        with socket.create_server((pk.HOST, 0)) as listener:
            port = listener.getsockname()[1]
            with world.keeper(settings=["server_tls.sslmode=require", "proxy.login_timeout=20"],
                              backend=f"{pk.HOST}:{port}") as keeper:
                wire = pk.Wire(keeper.port, begin=False)
                wire.send(pk.startup(user="postgres", database="postgres"))
                peer, _ = listener.accept()
                expect_equal(peer.recv(8), SSL_REQUEST, "what the server gets")
                peer.sendall(answer)
                if answer != b"SS":
                    peer.shutdown(socket.SHUT_WR)
                else:
                    peer.sendall(b"\0" * 100)
                expect_equal(pk.states(wire.closed()), ["08001"], f"the client is told ({answer})")
                peer.close()


# --- SCRAM ------------------------------------------------------------------------------------------


@case("SCRAM through one proxy and two connections, all combinations of TLS and channel binding")
def test_scram(world):
    ok, fails = True, False
    rows = (  # client's TLS, server's, pair shown to clients; disable, prefer, require
        (False, "disable", world.proxy, (ok, ok, fails)),
        (True, "disable", world.proxy, (ok, ok, fails)),
        (False, "require", world.proxy, (ok, ok, fails)),
        (True, "require", world.proxy, (ok, fails, fails)),
        (True, "require", world.server, (ok, ok, ok)),
    )
    for client, server, pair, wanted in rows:
        with world.keeper(client=pair, settings=[f"server_tls.sslmode={server}"]) as keeper:
            for binding, good in zip(("disable", "prefer", "require"), wanted):
                words = {"user": "scram", "password": PASSWORD, "sslmode": "require" if client else "disable",
                         "channel_binding": binding}
                done = world.psql(keeper, **words)
                expect_equal(done.code == 0, good, f"client TLS {client}, server {server}, {binding}: {done.err}")
            if client and server == "require":
                expect_equal("show different certificates" in keeper.log(), pair is world.proxy, "the warning")


@case("a wrong password stays wrong")
def test_scram_wrong(world):
    with world.keeper(client=world.proxy, settings=["server_tls.sslmode=require"]) as keeper:
        world.refused("password authentication failed", keeper, user="scram", password="wrong", sslmode="disable")
        world.fine(keeper, user="clear", password=PASSWORD, sslmode="require")


# --- while it runs ----------------------------------------------------------------------------------


def shown_certificate(keeper):
    with ask_tls(keeper) as secured:
        return hashlib.sha256(secured.getpeercert(binary_form=True)).hexdigest()


@case("a certificate is exchanged without a session noticing; one that will not do is not taken")
def test_reload(world):
    home = os.path.join(world.directory, "swap")
    for name, pair in (("one", world.proxy), ("two", world.server)):
        os.makedirs(os.path.join(home, name))
        shutil.copy(pair[0], os.path.join(home, name, "tls.crt"))
        shutil.copy(pair[1], os.path.join(home, name, "tls.key"))
    link = os.path.join(home, "now")
    os.symlink("one", link)
    with world.keeper(client=(os.path.join(link, "tls.crt"), os.path.join(link, "tls.key"))) as keeper:
        first = shown_certificate(keeper)
        session = log_in(ask_tls(keeper))
        os.symlink("two", link + ".new")
        os.rename(link + ".new", link)
        pk.wait_until(lambda: shown_certificate(keeper) != first, "the new certificate is shown", 30)
        expect_in("TLS files changed", keeper.log(), "the log says so")
        expect_equal(pk.rows(session.query("select 2")), [["2"]], "the old session")
        second = shown_certificate(keeper)
        with open(os.path.join(home, "two", "tls.crt"), "w", encoding="ascii") as file:
            file.write("no certificate")
        keeper.process.send_signal(signal.SIGHUP)
        keeper.wait_log("not reloaded, everything stays as it was")
        expect_equal(shown_certificate(keeper), second, "the last good one")
        expect_equal(pk.rows(session.query("select 3")), [["3"]], "the old session")
        session.close()


@case("files that will not do are refused at start, by name")
def test_bad_files(world):
    cert, key = world.proxy
    loose = os.path.join(world.directory, "loose.key")
    shutil.copy(key, loose)
    os.chmod(loose, 0o644)
    locked = os.path.join(world.directory, "locked.key")
    Authority.openssl("ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
    os.chmod(locked, 0o600)
    for pair, part in (((cert, loose), "has group or world access"), ((cert, world.server[1]), "key values mismatch"),
                       ((cert + ".none", key), "ould not open certificate file"), ((key, key), "ould not load certificate file"),
                       ((cert, locked), "protected by a passphrase"), ((cert, ""), "needs a certificate and its key")):
        done = pk.run_pgkeep(["serve", "--listen", f"{pk.HOST}:0", "--state", os.path.join(world.directory, "none"), "--set",
                              f"client_tls.cert_file={pair[0]}", "--set", f"client_tls.key_file={pair[1]}"],
                             os.path.join(world.directory, "bad"))
        expect(done.returncode != 0, "it started", pair)
        expect_in(part, done.stderr, "the reason")
        expect("secret" not in done.stderr, "no passphrase")


@case("bulk both ways is the same bytes, also to a reader who takes his time")
def test_bulk(world):
    with world.keeper(client=world.proxy, settings=["server_tls.sslmode=require"]) as keeper:
        words = {"sslmode": "require"}
        data = os.urandom(1 << 20).hex().encode() + b"\n"
        world.psql(keeper, "create table bulk (t text)", **words)
        done = pk.psql(None, port=keeper.port, env={"PGSSLMODE": "require"}, command="copy bulk from stdin", stdin=data * 20)
        expect_equal((done.code, done.out.strip()), (0, "COPY 20"), "in: " + done.err)
        done = pk.psql(None, port=keeper.port, env={"PGSSLMODE": "require"}, command="copy bulk to stdout", args=("-At",))
        expect_equal(hashlib.sha256(done.raw_out).hexdigest(), hashlib.sha256(data * 20).hexdigest(), "out")
        wire = log_in(ask_tls(keeper))
        wire.send(*[pk.query("select repeat('y', 100000)")] * 100)
        time.sleep(1)
        for _ in range(100):
            expect_equal(len(pk.rows(wire.until(b"Z"))[0][0]), 100000, "a row")
        wire.close()


@case("statements of pgkeep run over TLS, and a cancel request comes through it")
def test_statements(world):
    with world.keeper(client=world.proxy, settings=["server_tls.sslmode=require"]) as keeper:
        done = world.psql(keeper, "CREATE MASTER KEY;\nSHOW MASTER KEYS;", sslmode="require")
        expect_equal(done.code, 0, done.err)
        session = log_in(ask_tls(keeper))
        session.send(pk.query("select pg_sleep(60)"))
        time.sleep(0.3)
        with ask_tls(keeper) as secured:
            secured.sendall(struct.pack("!II", 16, 80877102) + session.key)
            read_all(secured)
        expect_equal(pk.states(session.until(b"Z")), ["57014"], "canceled")
        session.close()


if __name__ == "__main__":
    pk.main(world)
