"""What every system test shares: a throwaway PostgreSQL, a pgkeep in front of it, psql, a raw wire
client and a tiny runner. Standard library only.

A test file is a list of functions marked with @case("a sentence"); main() starts nothing by itself,
each file makes the world it needs. The runner prints one line per case and fails when a case failed,
when none ran, when a sanitizer wrote a report or when pgkeep did not end cleanly.
"""

import argparse
import base64
import contextlib
import fnmatch
import hashlib
import hmac
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

HOST = "127.0.0.1"
TIMEOUT = 120  # seconds; nothing here takes half as long, even under sanitizers on a busy machine


class Failure(AssertionError):
    """An expectation that did not hold; its text is the report."""


def expect(condition, text, *details):
    if not condition:
        raise Failure(text + "".join("\n    " + shown(d) for d in details))


def expect_equal(got, wanted, text):
    expect(got == wanted, text, f"wanted: {wanted!r}", f"got:    {got!r}")


def expect_in(part, whole, text):
    expect(part in whole, text, f"wanted within: {part!r}", f"got: {whole!r}")


def shown(value, limit=2000):
    text = str(value)
    return text if len(text) <= limit else text[:limit] + f" .. ({len(text)} characters)"


# --- the machine ------------------------------------------------------------------------------


class Options:
    binary = None
    pgbin = None
    source = None
    tools = None
    only = None


options = Options()


def clean_environment(**more):
    """The caller's environment without anything that steers libpq, psql or the messages' language."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "PSQL", "LC_", "LANG"))}
    env.update(LC_ALL="C.UTF-8", PSQLRC="/dev/null", PSQL_HISTORY="/dev/null", PAGER="cat", TZ="UTC")
    env.update(more)
    return env


def unprivileged():
    """How to start PostgreSQL, which refuses to run as root: nothing, or another user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_until(ready, text, seconds=TIMEOUT):
    """Asks again and again; an exception out of `ready` is not patience but a failure."""
    end = time.monotonic() + seconds
    while True:
        answer = ready()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s in vain: {text}")
        time.sleep(0.02)


def end_process(process, how=signal.SIGTERM, seconds=30):
    """Ends one process of ours; its exit status, negative for a signal."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"process {process.args[0]} did not end within {seconds} s") from None
    return process.returncode


@contextlib.contextmanager
def temporary_directory():
    path = tempfile.mkdtemp(prefix="pgkeep-test-")
    os.chmod(path, 0o711)  # PostgreSQL's user must pass through when we are root
    try:
        yield path
    finally:
        if os.environ.get("PK_TEST_KEEP"):
            print(f"# kept: {path}")
        else:
            shutil.rmtree(path, ignore_errors=True)


def self_signed(directory):
    """A certificate for 127.0.0.1 that signs itself, and its key: paths of files in this new directory."""
    os.mkdir(directory, 0o755)
    cert, key = os.path.join(directory, "tls.pem"), os.path.join(directory, "tls.key")
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                           "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                           "-keyout", key, "-out", cert], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    expect(done.returncode == 0, "openssl req", done.stderr)
    return cert, key


# --- PostgreSQL -------------------------------------------------------------------------------


class Postgres:
    """A cluster of its own: superuser postgres, trust, everything logged into one file."""

    def __init__(self, directory, name="pg", hba=(), settings=()):
        self.home = os.path.join(directory, name)
        self.data = os.path.join(self.home, "data")
        self.logfile = os.path.join(self.home, "log")
        self.port = None
        self.process = None
        self.settings = settings
        os.mkdir(self.home, 0o755)
        who = unprivileged()
        if who:
            os.chown(self.home, who["user"], who["group"])
        done = subprocess.run(
            [self.tool("initdb"), "-D", self.data, "-U", "postgres", "--auth=trust", "--no-sync",
             "--encoding=UTF8", "--locale=C.UTF-8"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/",
            env=clean_environment(), timeout=TIMEOUT, **who)
        expect(done.returncode == 0, "initdb failed", done.stdout, done.stderr)
        if hba:
            with open(os.path.join(self.data, "pg_hba.conf"), "r+", encoding="utf-8") as conf:
                rest = conf.read()
                conf.seek(0)
                conf.write("\n".join(hba) + "\n" + rest)

    @staticmethod
    def tool(name):
        return os.path.join(options.pgbin, name)

    def start(self, port=None):
        for _ in range(5):
            self.port = port or free_port()
            settings = [
                f"port={self.port}", f"listen_addresses={HOST}",
                f"unix_socket_directories={self.home}", "fsync=off", "logging_collector=off",
                "log_statement=all", "log_min_duration_statement=0", "log_connections=on",
                "log_disconnections=on", "log_min_messages=debug1", "log_error_verbosity=verbose",
                "max_connections=60", "timezone=UTC",
                "password_encryption=scram-sha-256",  # as is usual since 14
                *self.settings]
            command = [self.tool("postgres"), "-D", self.data]
            for setting in settings:
                command += ["-c", setting]
            with open(self.logfile, "ab") as log:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                    env=clean_environment(), start_new_session=True, **unprivileged())
            try:
                wait_until(self.ready, "PostgreSQL accepts connections")
                return self
            except Failure:
                if self.process.poll() is None or port or "in use" not in self.log():
                    raise
        raise Failure("no free port for PostgreSQL")

    def ready(self):
        if self.process.poll() is not None:
            raise Failure("PostgreSQL ended while starting", self.log()[-2000:])
        done = subprocess.run([self.tool("pg_isready"), "-q", "-h", self.home, "-p", str(self.port)],
                              env=clean_environment(), timeout=TIMEOUT, check=False)
        return done.returncode == 0

    def stop(self, how=signal.SIGINT):  # SIGINT: fast shutdown, SIGQUIT: crash
        if self.process is not None:
            end_process(self.process, how)
            self.process = None

    def log(self):
        with open(self.logfile, "rb") as log:
            return log.read().decode("utf-8", "surrogateescape")

    def sql(self, text, database="postgres"):
        """Direct, over the Unix socket; fails loudly."""
        done = psql(text, database=database, host=self.home, port=self.port, args=("-At",))
        expect(done.code == 0, f"direct SQL failed: {text}", done.err)
        return done.out.strip()

    def service(self):
        return f"host={self.home} port={self.port} user=postgres dbname=postgres"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


# --- pgkeep -----------------------------------------------------------------------------------


class Pgkeep:
    """One pgkeep in front of one PostgreSQL. Sanitizer reports go to files that stop() looks for."""

    def __init__(self, directory, postgres, roots=None, settings=(), name="pgkeep", state=None,
                 backend=None, service=None):
        self.home = os.path.join(directory, name)
        os.makedirs(self.home, 0o755, exist_ok=True)
        self.state = state or os.path.join(self.home, "state")
        self.logfile = os.path.join(self.home, "log")
        self.postgres = postgres
        self.backend = backend
        self.service = service
        self.settings = list(settings)
        if roots is not None:
            self.settings.append("keys.allowed_roots=" + ",".join(roots))
        self.port = None
        self.process = None

    def environment(self):
        reports = os.path.join(self.home, "sanitizer")
        common = f"log_path={reports}:exitcode=99"
        return clean_environment(
            ASAN_OPTIONS=f"{common}:detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
            UBSAN_OPTIONS=f"{common}:print_stacktrace=1",
            TSAN_OPTIONS=f"{common}:second_deadlock_stack=1:history_size=4",
            LSAN_OPTIONS=f"log_path={reports}")

    def command(self):
        command = [options.binary, "serve", "--listen", f"{HOST}:0",  # any free port
                   "--backend", self.backend or f"{HOST}:{self.postgres.port}",
                   "--service", self.service or self.postgres.service(), "--state", self.state]
        for setting in ["log.level=debug", *self.settings]:
            command += ["--set", setting]
        return command

    def start(self):
        mark = len(self.log())
        with open(self.logfile, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env=self.environment(), start_new_session=True)
        try:
            self.port = wait_until(lambda: self.listening(mark), "pgkeep listens")
        except Failure:
            end_process(self.process, signal.SIGKILL)
            raise
        return self

    def listening(self, mark):
        """The port, as soon as the log tells it."""
        text = self.log()[mark:]
        found = re.search(rf"listening on {re.escape(HOST)}:(\d+)\n", text)
        if found:
            return int(found[1])
        if self.process.poll() is not None:
            raise Failure(f"pgkeep ended with {self.process.returncode} while starting:\n{text[-3000:]}")
        return None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, how=signal.SIGTERM):
        """Ends it and looks at what it leaves: exit status and sanitizer reports."""
        if self.process is None:
            return
        code = end_process(self.process, how, 60)
        self.process = None
        self.check_reports()
        if how == signal.SIGTERM:
            expect_equal(code, 0, "pgkeep's exit status after SIGTERM (log: "
                         + shown(self.log()[-1500:]) + ")")

    def check_reports(self):
        reports = [f for f in sorted(os.listdir(self.home)) if f.startswith("sanitizer")]
        text = "".join(open(os.path.join(self.home, f), encoding="utf-8", errors="replace").read()
                       for f in reports)
        expect(not reports, "a sanitizer reported", text[:6000])
        log = self.log()
        found = re.search(r"(?:ERROR|WARNING): (?:Leak|Address|Thread|UndefinedBehavior)Sanitizer|runtime error:|"
                          r"FATAL: ThreadSanitizer", log)
        expect(not found, "a sanitizer reported into the log", found and log[found.start():][:6000])

    def log(self):
        try:
            with open(self.logfile, "rb") as log:
                return log.read().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""

    def wait_log(self, part, mark=0):
        wait_until(lambda: part in self.log()[mark:], f"pgkeep logs {part!r}", 30)

    def sql(self, text, database="postgres", user="postgres", **more):
        return psql(text, database=database, user=user, port=self.port, **more)

    def good(self, text, database="postgres", user="postgres"):
        done = self.sql(text, database, user)
        expect(done.code == 0 and not done.states("ERROR", "FATAL"), f"refused: {text}", done.err)
        return done

    def fails(self, state, text, database="postgres", user="postgres"):
        """The statement must fail with this SQLSTATE and leave pgkeep alive."""
        done = self.sql(text, database, user)
        expect_equal(done.states("ERROR", "FATAL"), [state], f"SQLSTATE of: {text}\n    {done.err.strip()}")
        expect(self.alive(), "pgkeep died", self.log()[-3000:])
        return done

    def keys(self, database="postgres", user="postgres"):
        """SHOW MASTER KEYS as a list of dictionaries."""
        done = self.sql("SHOW MASTER KEYS", database, user, args=("-A", "-F", "\t", "-P", "null=\\N"))
        expect(done.code == 0, "SHOW MASTER KEYS failed", done.err)
        lines = done.out.splitlines()
        head = lines[0].split("\t")
        return [dict(zip(head, line.split("\t"))) for line in lines[1:] if "\t" in line]

    def key(self, database, **where):
        """The one key of a database; of the service with None."""
        name = "\\N" if database is None else database
        rows = [k for k in self.keys(**where) if k["database"] == name and k["state"] == "active"]
        expect(len(rows) == 1, f"SHOW MASTER KEYS has {len(rows)} rows for {database}", rows)
        return rows[0]

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        elif self.process is not None:  # do not hide the failure that brought us here
            try:
                self.stop()
            except Failure as fault:
                print(f"# {fault}")
            print("# end of pgkeep's log:")
            print("".join("#   " + line + "\n" for line in self.log().splitlines()[-15:]), end="")


GOOD = "Zx9!kettle-Moor"  # keeps the rules for passwords


class World:
    """A PostgreSQL, a pgkeep in front of it, and a directory that key files may lie in."""

    def __init__(self, directory, server, keeper, keys):
        self.directory = directory
        self.server = server
        self.keeper = keeper
        self.keys = keys
        self.numbers = 0

    def path(self, name=None):
        """A file name in the key directory that was not used before."""
        self.numbers += 1
        return os.path.join(self.keys, name or f"file-{self.numbers}.pem")

    def database(self, name, owner="postgres", key=True):
        self.server.sql(f'create database "{name}" template template0 owner "{owner}"')
        if key:
            self.keeper.good("CREATE MASTER KEY", name)
        return name

    def backup(self, database, password=GOOD):
        path = self.path()
        self.keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{password}'", database)
        return path


def run_pgkeep(arguments, home, **more):
    """A verb that ends by itself (init, --version), with sanitizer reports checked as well."""
    runner = Pgkeep(os.path.dirname(home), None, name=os.path.basename(home))
    done = subprocess.run([options.binary, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, env=runner.environment(), cwd="/", timeout=TIMEOUT, check=False,
                          **more)
    runner.check_reports()
    return done


# --- psql -------------------------------------------------------------------------------------


class Psql:
    def __init__(self, done):
        self.code = done.returncode
        self.raw_out = done.stdout
        self.raw_err = done.stderr
        self.out = done.stdout.decode("utf-8", "surrogateescape")
        self.err = done.stderr.decode("utf-8", "surrogateescape")

    def states(self, *severities):
        """SQLSTATEs of the messages of these severities, in order (needs VERBOSITY verbose)."""
        return re.findall(r"(?m)^(?:psql:.*?: )?(?:%s):  ([0-9A-Z]{5}):" % "|".join(severities), self.err)

    def tags(self):
        return [line for line in self.out.splitlines() if line]


def psql(text=None, *, database="postgres", user="postgres", host=HOST, port, args=(), command=None,
         stdin=None, env=None, verbose=True, timeout=TIMEOUT):
    """Runs text (one message per statement) or command (one message for all) with a clean psql."""
    line = [os.path.join(options.pgbin, "psql"), "-X", "-h", host, "-p", str(port), "-U", user,
            "-d", database, "-w"]
    if verbose:
        line += ["-v", "VERBOSITY=verbose"]
    line += list(args)
    if command is not None:
        line += ["-c", command]
        data = stdin or b""
    else:
        data = stdin if text is None else text.encode("utf-8", "surrogateescape")
    done = subprocess.run(line, input=data, capture_output=True, env=clean_environment(**(env or {})),
                          cwd="/", timeout=timeout, start_new_session=True, check=False)
    return Psql(done)


# --- the wire, by hand ------------------------------------------------------------------------


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def startup(protocol=0x30000, **parameters):
    body = struct.pack("!I", protocol)
    for name, value in parameters.items():
        body += name.encode() + b"\0" + value.encode() + b"\0"
    return struct.pack("!I", len(body) + 5) + body + b"\0"


def cstring(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def parse(name, sql, types=()):
    return message(b"P", cstring(name) + cstring(sql) + struct.pack("!H", len(types))
                   + b"".join(struct.pack("!I", t) for t in types))


def bind(portal, statement, values=(), formats=(), results=()):
    body = cstring(portal) + cstring(statement) + struct.pack("!H", len(formats))
    body += b"".join(struct.pack("!H", f) for f in formats) + struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value
    return message(b"B", body + struct.pack("!H", len(results))
                   + b"".join(struct.pack("!H", f) for f in results))


def describe(kind, name):
    return message(b"D", kind + cstring(name))


def execute(portal="", rows=0):
    return message(b"E", cstring(portal) + struct.pack("!I", rows))


def close(kind, name):
    return message(b"C", kind + cstring(name))


SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")


def query(sql):
    return message(b"Q", cstring(sql))


def extended(text, *given, name="", results=()):
    """Parse, Bind, Describe and Execute of one statement with these values (texts or bytes; None for
    NULL). The Sync is the caller's."""
    return b"".join((parse(name, text),
                     bind("", name, [v.encode() if isinstance(v, str) else v for v in given], results=results),
                     describe(b"P", ""), execute()))


def fields(body):
    """The fields of an ErrorResponse or NoticeResponse."""
    return {part[:1].decode("latin-1"): part[1:].decode("utf-8", "replace")
            for part in body.split(b"\0") if part}


class Wire:
    """A raw connection. Keeps every byte received in `transcript`."""

    def __init__(self, port, database="postgres", user="postgres", host=HOST, begin=True):
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT)
        self.transcript = b""
        self.pending = b""
        self.key = None
        if begin:
            self.send(startup(user=user, database=database))
            for kind, body in self.until(b"Z"):
                if kind == b"K":
                    self.key = body
                expect(kind != b"E", "the session was refused", body)

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def read(self):
        """The next message; (None, b"") at the end of the stream."""
        while True:
            if len(self.pending) >= 5:
                size = struct.unpack("!I", self.pending[1:5])[0] + 1
                if len(self.pending) >= size:
                    kind, body = self.pending[:1], self.pending[5:size]
                    self.pending = self.pending[size:]
                    return kind, body
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None, b""
            self.pending += data
            self.transcript += data

    def until(self, end):
        got = []
        while True:
            kind, body = self.read()
            expect(kind is not None, f"the connection ended before {end!r}", got[-3:])
            got.append((kind, body))
            if kind == end:
                return got

    def ask(self, *messages):
        """Sends and returns everything up to ReadyForQuery."""
        self.send(*messages)
        return self.until(b"Z")

    def query(self, sql):
        return self.ask(query(sql))

    def error(self, *messages):
        """Sends, wants exactly one ErrorResponse, returns its fields."""
        got = self.ask(*messages)
        errors = [fields(body) for kind, body in got if kind == b"E"]
        expect(len(errors) == 1, f"{len(errors)} errors where one was expected", got)
        return errors[0]

    def closed(self):
        """Reads up to the end of the stream; the messages on the way."""
        got = []
        while True:
            kind, body = self.read()
            if kind is None:
                return got
            got.append((kind, body))

    def close(self):
        with contextlib.suppress(OSError):
            self.send(TERMINATE)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def kinds(messages):
    return b"".join(kind for kind, _ in messages).decode()


def tags(messages):
    return [body.rstrip(b"\0").decode() for kind, body in messages if kind == b"C"]


def states(messages):
    """The SQLSTATEs of the errors."""
    return [fields(body)["C"] for kind, body in messages if kind == b"E"]


def values(body):
    """The values of a DataRow, as bytes; None for NULL."""
    found, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        size = struct.unpack_from("!i", body, at)[0]
        found.append(None if size < 0 else body[at + 4:at + 4 + size])
        at += 4 + max(size, 0)
    return found


def rows(messages):
    """The DataRows as lists of texts."""
    return [[v if v is None else v.decode() for v in values(body)] for kind, body in messages if kind == b"D"]


# --- keys, as an outsider computes them ---------------------------------------------------------


def hkdf_sha256(key, info, length, salt=b""):
    """RFC 5869."""
    prk = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out += block
        count += 1
    return out[:length]


def fingerprint(key):
    digits = hkdf_sha256(key, b"pgkeep fp 1", 16)[:8].hex()
    return "pgk1:" + "-".join(digits[i:i + 4] for i in range(0, 16, 4))


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def openssl_open(path, password=None, kek=None):
    """The stock tool; (exit status, plaintext, stderr)."""
    command = ["openssl", "cms", "-decrypt", "-inform", "PEM", "-in", path]
    command += ["-pwri_password", password] if password is not None else ["-secretkey", kek.hex()]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                          check=False)
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def forms(secret):
    """Every form in which a secret could lie somewhere: name and bytes to look for."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    found = {"raw": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    for shift in range(3):  # base64 of the secret at each alignment, without the uncertain edges
        text = base64.b64encode(bytes(shift) + raw).rstrip(b"=")
        start = (0, 2, 3)[shift]
        whole = (shift + len(raw)) * 8 // 6
        found[f"base64 +{shift}"] = text[start:whole]
        found[f"base64url +{shift}"] = text[start:whole].translate(bytes.maketrans(b"+/", b"-_"))
    found["percent"] = "".join(f"%{b:02X}" for b in raw).encode()
    found["percent, sparing"] = urllib.parse.quote_from_bytes(raw, safe="").encode()
    found["utf-16"] = raw.decode("latin-1").encode("utf-16-le")
    return found


# --- the runner -------------------------------------------------------------------------------

cases = []


def case(name):
    def add(function):
        cases.append((name, function))
        return function
    return add


def read_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=os.environ.get("PK_BINARY"), help="the pgkeep to test")
    parser.add_argument("--pgbin", default="/usr/lib/postgresql/15/bin", help="PostgreSQL's programs")
    parser.add_argument("--source", help="the source tree")
    parser.add_argument("--tools", help="directory of the tests' own helper programs")
    parser.add_argument("--only", action="append", help="run the cases whose name matches this pattern (* and ?), or another")
    vars(options).update(vars(parser.parse_args()))
    if options.source is None:
        options.source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    options.source = os.path.abspath(options.source)
    if options.binary is not None:
        options.binary = os.path.abspath(options.binary)


def main(world=None):
    """Runs the cases inside `world`, a context manager that makes what they share and is handed to
    each of them."""
    os.umask(0o022)
    sys.stdout.reconfigure(line_buffering=True)
    read_arguments()
    failed = ran = 0
    try:
        with (world() if world is not None else contextlib.nullcontext()) as shared:
            for name, function in cases:
                if options.only and not any(fnmatch.fnmatch(name, pattern) for pattern in options.only):
                    continue
                ran += 1
                begin = time.monotonic()
                try:
                    function(shared)
                    print(f"ok      {name} ({time.monotonic() - begin:.1f} s)")
                except Exception as fault:  # pylint: disable=broad-except
                    failed += 1
                    print(f"FAILED  {name}")
                    if isinstance(fault, Failure):
                        place = traceback.extract_tb(fault.__traceback__)
                        lines = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in place
                                 if os.path.dirname(f.filename) == os.path.dirname(os.path.abspath(__file__))]
                        print(f"    {fault}\n    at {' '.join(lines[1:])}")
                    else:
                        traceback.print_exc(file=sys.stdout)
    except Exception:  # the world itself: start, stop, sanitizer reports
        failed += 1
        print("FAILED  around the cases")
        traceback.print_exc(file=sys.stdout)
    print(f"{ran - min(failed, ran)} passed, {failed} failed")
    sys.exit(1 if failed or not ran else 0)
