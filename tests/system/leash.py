"""Applications' own drivers, each a process of its own that speaks lines of JSON (drivers/), and the world
that they are tested in: a recorder between drivers and pgkeep, a second one between pgkeep and PostgreSQL,
and PostgreSQL's log with everything turned on. A value that was bound may be seen by the first only."""

import contextlib
import json
import os
import re
import selectors
import shutil
import subprocess

import pk
import relay
from pk import case, expect, expect_equal, expect_in

CREATE = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = $1"
BACKUP = "BACKUP MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2"
RESTORE = "RESTORE MASTER KEY FROM FILE = $1 DECRYPTION BY PASSWORD = $2 ENCRYPTION BY PASSWORD = $3"

DRIVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers")
JARS = ["/usr/share/java/postgresql.jar", "/usr/share/java/gson.jar"]
GOCODE = "/usr/share/gocode"


# --- where the drivers are ----------------------------------------------------------------------


def program(name):
    return os.path.join(DRIVERS, name)


def works(command, **env):
    return subprocess.run(command, capture_output=True, cwd="/", env=pk.clean_environment(**env),
                          check=False).returncode == 0


def built(command, **env):
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=pk.clean_environment(**env),
                          timeout=pk.TIMEOUT, check=False)
    expect(done.returncode == 0, " ".join(command), done.stdout, done.stderr)


def python_command(module, package, script):
    """Debian's Python, where apt puts the package; this one may be another."""
    for python in ("/usr/bin/python3", "python3"):
        if shutil.which(python) and works([python, "-c", f"import {module}"]):
            return [python, program(script)], {}
    raise pk.Failure(f"no {module}: apt-get install {package}")


def psql_command(_):
    return ["python3", program("with_psql.py")], {}


def psycopg_command(_):
    return python_command("psycopg", "python3-psycopg", "with_psycopg.py")


def psycopg2_command(_):
    return python_command("psycopg2", "python3-psycopg2", "with_psycopg2.py")


def asyncpg_command(_):
    return python_command("asyncpg", "python3-asyncpg", "with_asyncpg.py")


def jdbc_command(directory):
    expect(shutil.which("javac"), "no javac: apt-get install default-jdk-headless")
    for jar, package in zip(JARS, ("libpostgresql-jdbc-java", "libgoogle-gson-java")):
        expect(os.path.exists(jar), f"no {jar}: apt-get install {package}")
    classes = os.path.join(directory, "jdbc")
    built(["javac", "-Xlint:all", "-Werror", "-d", classes, "-cp", ":".join(JARS), program("with_jdbc.java")])
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", ":".join([classes, *JARS]), "WithJdbc"], {}


def node_command(_):
    """Debian's node-pg, or the one that scripts/test puts below build/ where it cannot be installed."""
    node = shutil.which("node") or shutil.which("nodejs")
    expect(node, "no node: apt-get install nodejs node-pg")
    for where in ("", os.path.join(pk.options.source, "build", "node", "node_modules"),
                  os.environ.get("PK_NODE_MODULES", "")):
        env = {"NODE_PATH": where} if where else {}
        if works([node, "-e", "require('pg')"], **env):
            return [node, program("with_node_pg.js")], env
    raise pk.Failure("no node-pg: apt-get install node-pg, or npm install --prefix build/node pg")


def go_command(directory):
    expect(shutil.which("go"), "no go: apt-get install golang-go")
    expect(os.path.isdir(os.path.join(GOCODE, "src/github.com/lib/pq")),
           "no lib/pq: apt-get install golang-github-lib-pq-dev")
    binary = os.path.join(directory, "with_go_pq")
    built(["go", "build", "-o", binary, program("with_go_pq.go")], GOPATH=GOCODE, GO111MODULE="off", GOFLAGS="",
          GOCACHE=os.path.join(directory, "go-cache"))
    return [binary], {}


def dbd_command(_):
    expect(works(["/usr/bin/perl", "-MDBD::Pg", "-e", "1"]), "no DBD::Pg: apt-get install libdbd-pg-perl")
    return ["/usr/bin/perl", program("with_dbd_pg.pl")], {}


COMMANDS = {"psql": psql_command, "psycopg": psycopg_command, "psycopg2": psycopg2_command, "asyncpg": asyncpg_command,
            "jdbc": jdbc_command, "node-pg": node_command, "lib/pq": go_command, "DBD::Pg": dbd_command}


# --- one of them ----------------------------------------------------------------------------------


class Driver:
    """A process with one connection. Requests and answers are lines of JSON."""

    def __init__(self, name, world, database, user="postgres", front=None, sslmode="disable", **how):
        command, env = world.command(name)
        self.name = name
        self.readable = sslmode == "disable"  # by the recorder
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
                                        env=pk.clean_environment(**env), text=True, start_new_session=True)
        self.front = front or world.front
        self.number = len(self.front.conversations)
        answer = self.ask(op="connect", port=self.front.port, database=database, user=user, sslmode=sslmode,
                          program=pk.Postgres.tool("psql"), **how)
        expect("error" not in answer, f"{name} did not connect", answer)

    def tell(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def ask(self, **request):
        self.tell(**request)
        return self.answer(request)

    def answer(self, request):
        with selectors.DefaultSelector() as wait:
            wait.register(self.process.stdout, selectors.EVENT_READ)
            expect(wait.select(pk.TIMEOUT), f"{self.name} does not answer", request)
        line = self.process.stdout.readline()
        expect(line, f"{self.name} died", request, self.process.poll())
        return json.loads(line)

    def does(self, op, **request):
        """An operation of the driver's that must succeed."""
        answer = self.ask(op=op, **request)
        expect("error" not in answer, f"{self.name} failed: {op}", answer)
        return answer

    def run(self, sql, *values, **how):
        """One statement, which must succeed; with values, as parameters."""
        answer = self.tried(sql, *values, **how)
        expect("error" not in answer, f"{self.name} refused: {sql}", answer)
        return answer

    def tried(self, sql, *values, **how):
        return self.ask(op="run", sql=sql, values=list(values) or None, **how)

    def fails(self, state, sql, *values, **how):
        answer = self.tried(sql, *values, **how)
        error = answer.get("error", {})
        expect_equal(error.get("sqlstate"), state, f"{self.name}: SQLSTATE of {sql}: {answer}")
        return error

    def value(self, sql, *values):
        return self.run(sql, *values)["rows"][0][0]

    def conversation(self):
        return self.front.conversations[self.number]

    def parsed(self):
        """Every Parse that was sent: the statement's name and its text."""
        return [relay.decode_parse(body) for kind, body in self.conversation().messages() if kind == b"P"]

    def saw(self, sql, *values):
        """The recorder saw a Parse of exactly this text, and a Bind of exactly these values to it."""
        wanted = (sql, [None if v is None else v.encode() for v in values])
        expect(wanted in relay.bound(self.conversation()), f"{self.name}: Parse and Bind of {sql}",
               relay.bound(self.conversation()))

    @contextlib.contextmanager
    def stays(self):
        """On the same backend."""
        backend = self.value("select pg_backend_pid()")
        yield
        expect_equal(self.value("select pg_backend_pid()"), backend, f"{self.name}: the same backend as before")

    def close(self):
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        pk.end_process(self.process)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- their world ----------------------------------------------------------------------------------


class World(pk.World):
    def __init__(self, directory, server, keeper, keys, front, back):
        super().__init__(directory, server, keeper, keys)
        self.front = front
        self.back = back
        self.secrets = {}  # value that only pgkeep may see: the case it stood in
        self.mark = os.urandom(8).hex()       # in every one of them, so that one search finds any
        self.path_mark = os.urandom(8).hex()  # the same for paths
        self.logs = []     # of further pgkeeps, ended by now
        self.commands = {}

    def command(self, name):
        """How to start a driver: found, and built where it must be, once."""
        if name not in self.commands:
            self.commands[name] = COMMANDS[name](self.directory)
        return self.commands[name]

    def secret(self, what):
        """Keeps the rules for passwords, and occurs once in the world."""
        value = f"Dr{len(self.secrets):04d}-{self.mark}!X"
        self.secrets[value] = what
        return value

    def hidden_path(self):
        """A path whose name occurs once; where a key lies is nobody's business either."""
        name = f"dr{len(self.secrets):04d}{self.path_mark}"
        self.secrets[name] = "a path"
        return os.path.join(self.keys, name)


@contextlib.contextmanager
def world(settings=lambda directory: ()):
    """`settings` of pgkeep's are made once there is a directory for their files."""
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        server = pk.Postgres(directory)
        with server, relay.Relay(server.port) as back, \
                pk.Pgkeep(directory, server, roots=[keys], backend=f"{pk.HOST}:{back.port}",
                          settings=settings(directory)) as keeper, \
                relay.Relay(keeper.port) as front:
            server.sql("create role plain login")
            yield World(directory, server, keeper, keys, front, back)


# --- the last cases of a file ---------------------------------------------------------------------


def last_cases(least, share):
    """So many values were given, this share of them where the recorder can read; then, where they are not."""
    @case("the recorders and the log see what they should: text of drivers, stand-ins, PostgreSQL's statements")
    def test_control(world):
        expect(len(world.secrets) > least, "values were given", len(world.secrets))
        expect_seen(world, share * len(world.secrets))

    @case("no value that was given to our statements went to PostgreSQL, into its log or ours")
    def test_nowhere(world):
        expect_nowhere(world)

    return test_control, test_nowhere


def expect_seen(world, least):
    """Else expect_nowhere looks into nothing."""
    asked, behind, log = world.front.asked(), world.back.asked(), world.server.log()
    seen = set(re.findall(rb"[Dd]r\d{4}-?(?:%s|%s)" % (world.mark.encode(), world.path_mark.encode()), asked))
    expect(len(seen) >= least, "the recorder in front saw the values", len(seen), len(world.secrets))
    expect_in(b"pgkeep:", behind, "the recorder behind saw stand-ins")
    expect_in("/* pgkeep:", log, "PostgreSQL logged stand-ins")
    expect(re.search(r"[Pp]arameters: \$1 = ", log), "PostgreSQL logs parameters")  # in capitals by some majors


def expect_nowhere(world):
    """No value that only pgkeep may see lies anywhere else."""
    places = {"the wire to PostgreSQL": world.back.everything(), "PostgreSQL's log": world.server.log().encode(),
              "pgkeep's log": "\n".join([world.keeper.log(), *world.logs]).encode("utf-8", "surrogateescape"),
              "activity": world.server.sql("select string_agg(query, e'\\n') from pg_stat_activity").encode()}
    for mark, what in ((world.mark, "a password"), (world.path_mark, "a path")):
        for form, needle in pk.forms(mark).items():
            for place, content in places.items():
                if what == "a path" and place == "pgkeep's log":  # it names the files that it wrote
                    continue
                at = content.find(needle)
                expect(at < 0, f"{what} is in {place} ({form})", content[max(0, at - 300):at + 100])
