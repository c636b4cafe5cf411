#!/usr/bin/env python3
"""Who may run what: one table of statements and rights, held against every combination of role, ownership,
superuser and the two settings that steer them. A refusal is 42501, tells nothing and changes nothing; an
allowed statement is a harmless one that goes on to another error, or succeeds without an effect."""

import contextlib
import itertools
import os
import re

import pk
from pk import GOOD, case, expect, expect_equal

ROLES = ("pgkeep_admin", "pgkeep_key_admin", "pgkeep_key_export", "pgkeep_key_restore", "pgkeep_backup",
         "pgkeep_restore", "pgkeep_monitor")
REFUSED = "42501"

# Statement, database, who may besides admins, and what the allowed get ("": success).
#   admin      member of pgkeep_admin; a superuser while security.superuser_is_admin is on
#   manager    owner of the session's database while security.owner_manages_dmk is on
#   owner      owner of the session's database, whatever that setting says
#   key_admin, key_export, key_restore, monitor: members of that role; any: of any of the seven
#   everybody, nobody (not even admins)
TABLE = """
CREATE MASTER KEY                                                         | app      | key_admin manager   | 42710
OPEN MASTER KEY DECRYPTION BY PASSWORD = '{good}'                         | app      | any manager         |
CLOSE MASTER KEY                                                          | app      | everybody           | "" 55000
BACKUP MASTER KEY TO FILE = '/outside/x' ENCRYPTION BY PASSWORD = '{good}' | app      | key_export manager  | 22023
RESTORE MASTER KEY FROM FILE = '{keys}/none' DECRYPTION BY PASSWORD = '{good}' ENCRYPTION BY PASSWORD = '{good}' | app | key_restore manager | 58P01
RESTORE MASTER KEY FROM FILE = '{keys}/none' DECRYPTION BY PASSWORD = '{good}' ENCRYPTION BY PASSWORD = '{good}' FORCE | app | key_restore manager | 58P01
BACKUP SERVICE MASTER KEY TO FILE = '/outside/x' ENCRYPTION BY PASSWORD = '{good}' | app |                  | 22023
RESTORE SERVICE MASTER KEY FROM FILE = '{keys}/none' DECRYPTION BY PASSWORD = '{good}' | app |              | 58P01
RESTORE SERVICE MASTER KEY FROM FILE = '{keys}/none' DECRYPTION BY PASSWORD = '{good}' FORCE | app |        | 58P01
ALTER SYSTEM BACKUP KEY TO 'file:///outside' ENCRYPTED BY '{good}'        | app      | key_export manager  | 22023
ALTER SYSTEM BACKUP KEY TO 'file:///outside' ENCRYPTED BY '{good}'        | postgres | key_export          | 22023
ALTER SYSTEM BACKUP KEY TENANT = app TO 'file:///outside' ENCRYPTED BY '{good}' | postgres | key_export    | 22023
ALTER SYSTEM BACKUP KEY TENANT = app TO 'file:///outside' ENCRYPTED BY '{good}' | app | nobody             |
ALTER SYSTEM RESTORE KEY FROM 'file://{keys}/none' ENCRYPTED BY '{good}'  | app      | key_restore manager | 58P01
ALTER SYSTEM RESTORE KEY FROM 'file://{keys}/none' ENCRYPTED BY '{good}'  | postgres | key_restore manager | 58P01
ALTER SYSTEM RESTORE KEY TENANT = app FROM 'file://{keys}/none' ENCRYPTED BY '{good}' | postgres | key_restore | 58P01
ALTER SYSTEM RESTORE KEY TENANT = app FROM 'file://{keys}/none' ENCRYPTED BY '{good}' | app | nobody       |
SHOW MASTER KEYS                                                          | app      | monitor owner       |
SHOW KEY BACKUPS                                                          | app      | monitor owner       |
SHOW KEYSTORE                                                             | app      |                     |
UNSEAL WITH PASSWORD = '{good}'                                           | app      |                     | 55000
ALTER KEYSTORE ADD SLOT file                                              | app      |                     | 58P02
ALTER KEYSTORE DROP SLOT 4711                                             | app      |                     | 42704
SEAL                                                                      | app      |                     |
"""


class Statement:
    def __init__(self, line):
        text, self.database, who, states = (part.strip() for part in line.split("|"))
        self.template = text
        self.who = set(who.split())
        self.states = {s.strip('"') for s in states.split()} or {""}

    def text(self, world):
        return self.template.replace("{good}", GOOD).replace("{keys}", world.keys)

    def allows(self, user, settings):
        """What the table says, and nothing but the table."""
        if self.who & {"everybody", "nobody"}:
            return "everybody" in self.who
        if user.role == "pgkeep_admin" or (user.superuser and settings["superuser_is_admin"]):
            return True
        if user.role is not None and self.who & {"any", user.role.removeprefix("pgkeep_")}:
            return True
        return user.owner and bool(self.who & ({"owner", "manager"} if settings["owner_manages_dmk"] else {"owner"}))


class User:
    def __init__(self, role, owner, superuser):
        self.role, self.owner, self.superuser = role, owner, superuser
        self.name = "_".join([(role or "nobody").replace("pgkeep_", ""), *["owner"] * owner, *["super"] * superuser])

    def create(self, server):
        roles = [r for r in (self.role, "boss" if self.owner else None) if r]
        server.sql(f"create role {self.name} login {'superuser' if self.superuser else ''}"
                   + (f" in role {', '.join(roles)}" if roles else ""))


STATEMENTS = [Statement(line) for line in TABLE.strip().splitlines()]
USERS = [User(*which) for which in itertools.product((None, *ROLES), (False, True), (False, True))]
SETTINGS = [dict(superuser_is_admin=a, owner_manages_dmk=b) for a, b in itertools.product((True, False), repeat=2)]


class World:
    def __init__(self, directory, server, keys):
        self.directory, self.server, self.keys = directory, server, keys
        self.numbers = 0

    @contextlib.contextmanager
    def keeper(self, name="any", keys=True, **settings):
        """A pgkeep of its own, whose databases app, postgres and other have keys, and a slot with a password."""
        chosen = [f"security.{k}={'on' if v else 'off'}" for k, v in settings.items()]
        with pk.Pgkeep(self.directory, self.server, roots=[self.keys], settings=chosen, name=f"keeper-{name}") as keeper:
            if keys:
                for database in ("app", "postgres", "other"):
                    keeper.good(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{GOOD}'", database, "admin")
                path = os.path.join(self.keys, f"{name}.pem")
                keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}' ENCRYPTION BY PASSWORD = '{GOOD}'", "other", "admin")
                keeper.good(f"BACKUP MASTER KEY TO FILE = '{path}2' ENCRYPTION BY PASSWORD = '{GOOD}'", "app", "admin")
                keeper.good(f"ALTER KEYSTORE ADD SLOT password '{GOOD}'", "postgres", "admin")
            yield keeper

    def plain(self, roles="", how=""):
        """A role of its own for one case."""
        self.numbers += 1
        name = f"plain{self.numbers}"
        self.server.sql(f"create role {name} login {how}" + (f" in role {roles}" if roles else ""))
        return name


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory:
        keys = os.path.join(directory, "keys")
        os.mkdir(keys, 0o700)
        with pk.Postgres(directory) as server:
            server.sql("create role boss")
            for role in ROLES:
                server.sql(f"create role {role}")
            for user in USERS:
                user.create(server)
            for name in ("app", "empty"):
                server.sql(f"create database {name} owner boss template template0")
            server.sql("create database other template template0")
            server.sql("alter database postgres owner to boss")  # the admin database has an owner, too
            yield World(directory, server, keys)


def run(wire, text, extended=False):
    """SQLSTATE ("" for success) and all messages."""
    got = wire.ask(pk.extended(text), pk.SYNC) if extended else wire.query(text)
    states = pk.states(got)
    expect(len(states) <= 1, "one error at most", got)
    return (states[0] if states else ""), got


def state_of(world, keeper):
    """Everything that an administrator sees, and the files."""
    keystore = keeper.sql("SHOW KEYSTORE", user="admin", args=("-At",)).out
    return (keeper.sql("SHOW MASTER KEYS", user="admin", args=("-At",)).out,
            keeper.sql("SHOW KEY BACKUPS", user="admin", args=("-At",)).out,
            keystore.count("password"), sorted(os.listdir(world.keys)))


def check_rows(statement, user, settings, got, told):
    """Admins and monitors see every row, an owner those of his database."""
    if "monitor" not in statement.who:
        return
    everything = statement.allows(User(user.role, False, user.superuser), settings)
    shown = {row[0] for row in pk.rows(got)}
    if everything:
        expect({"app", "other"} <= shown, f"every row is shown {told}", shown)
    else:
        expect_equal(shown, {"app"}, f"only the own row is shown {told}")


def matrix(world, keeper, settings):
    """Every statement as every user; the wrong answers as text, and how many were asked."""
    wrong, asked = [], 0
    for user in USERS:
        with contextlib.ExitStack() as stack:
            wires = {name: stack.enter_context(pk.Wire(keeper.port, name, user.name)) for name in ("app", "postgres")}
            for statement in STATEMENTS:
                told = f"{statement.template[:60]} in {statement.database} as {user.name} with {settings}"
                allowed = statement.allows(user, settings)
                state, got = run(wires[statement.database], statement.text(world), extended=bool(asked % 2))
                asked += 1
                if (state != REFUSED) != allowed or (allowed and state not in statement.states):
                    wrong.append(f"{told}: {'allowed' if allowed else 'refused'}, got {state or 'success'}")
                    continue
                if allowed and statement.template == "SEAL":
                    keeper.good(f"UNSEAL WITH PASSWORD = '{GOOD}'", user="admin")
                elif allowed:
                    check_rows(statement, user, settings, got, told)
    return wrong, asked


for number, combination in enumerate(SETTINGS):
    @case(f"every statement as every user with {combination}")
    def test_matrix(world, number=number, settings=combination):
        with world.keeper(f"matrix-{number}", **settings) as keeper:
            before = state_of(world, keeper)
            wrong, asked = matrix(world, keeper, settings)
            print(f"        {asked} cases: {len(STATEMENTS)} statements, {len(USERS)} users")
            expect(not wrong, f"{len(wrong)} of {asked} answers were wrong", "\n    ".join(wrong[:40]))
            expect_equal(asked, len(STATEMENTS) * len(USERS), "every combination was asked")
            expect_equal(state_of(world, keeper), before, "nothing was changed")


@case("the table has what it should: each kind of statement, allowed and refused combinations of each")
def test_table(_):
    heads = {re.match(r"[A-Z ]+[A-Z]", s.template)[0] for s in STATEMENTS}
    for head in ("CREATE MASTER KEY", "OPEN MASTER KEY", "CLOSE MASTER KEY", "BACKUP MASTER KEY", "RESTORE MASTER KEY",
                 "BACKUP SERVICE MASTER KEY", "RESTORE SERVICE MASTER KEY", "ALTER SYSTEM BACKUP KEY",
                 "ALTER SYSTEM RESTORE KEY", "SHOW MASTER KEYS", "SHOW KEY BACKUPS", "SHOW KEYSTORE", "SEAL", "UNSEAL",
                 "ALTER KEYSTORE ADD SLOT", "ALTER KEYSTORE DROP SLOT"):
        expect(any(h.startswith(head) for h in heads), f"{head} is in the table", sorted(heads))
    for statement in STATEMENTS:
        answers = {statement.allows(user, settings) for user in USERS for settings in SETTINGS}
        if not statement.who & {"everybody", "nobody"}:
            expect_equal(answers, {True, False}, f"{statement.template} is allowed to some and refused to some")


@case("a refusal reads the same whether or not there is a key, a file, a database")
def test_reveals_nothing(world):
    file = os.path.join(world.keys, "there.pem")
    with world.keeper("reveals") as keeper:
        keeper.good(f"BACKUP MASTER KEY TO FILE = '{file}' ENCRYPTION BY PASSWORD = '{GOOD}'", "app", "admin")
        plain = world.plain()

        def refusal(database, text):
            with pk.Wire(keeper.port, database, plain) as wire:
                error = wire.error(pk.query(text))
                expect_equal(error["C"], REFUSED, f"SQLSTATE of {text}")
                return {k: v.replace(f'"{database}"', '"it"') for k, v in error.items()}
        for statement in STATEMENTS:
            if not statement.allows(User(None, False, False), SETTINGS[0]) and statement.database == "app" \
                    and "TENANT" not in statement.template:
                text = statement.text(world)
                expect_equal(refusal("app", text), refusal("empty", text), f"with and without a key: {text}")
                expect_equal(refusal("app", text.replace(f"{world.keys}/none", file)), refusal("app", text),
                             f"with and without a file: {text}")
        for head in ("BACKUP", "RESTORE"):
            way = "TO" if head == "BACKUP" else "FROM"
            text = f"ALTER SYSTEM {head} KEY TENANT = %s {way} 'file://{world.keys}' ENCRYPTED BY '{GOOD}'"
            expect_equal(refusal("postgres", text % "app"), refusal("postgres", text % "nosuch"), f"with and without a database: {head}")


@case("membership through another role counts, membership that is not inherited does not")
def test_membership(world):
    world.server.sql("create role team in role pgkeep_monitor; create role crew in role team;"
                     "create role deep login in role crew; create role firm in role boss")
    with world.keeper("membership") as keeper:
        keeper.good("SHOW MASTER KEYS", "app", "deep")
        keeper.good("SHOW MASTER KEYS", "app", world.plain("firm"))
        for role in ("pgkeep_monitor", "pgkeep_admin", "boss", "crew"):
            keeper.fails(REFUSED, "SHOW MASTER KEYS", "app", world.plain(role, "noinherit"))
        keeper.fails(REFUSED, "SHOW KEYSTORE", "app", world.plain("pgkeep_admin", "noinherit"))
        keeper.fails(REFUSED, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'x'", "app", world.plain("pgkeep_backup", "noinherit"))
    with world.keeper("explicit", superuser_is_admin=False) as keeper:
        world.server.sql("create role ops in role pgkeep_admin")
        keeper.good("SHOW KEYSTORE", "app", world.plain("ops", "superuser"))
        keeper.fails(REFUSED, "SHOW KEYSTORE", "app", world.plain("pgkeep_admin", "superuser noinherit"))
        keeper.fails(REFUSED, "SHOW KEYSTORE", "app", "postgres")
        keeper.fails(REFUSED, "BACKUP SERVICE MASTER KEY TO FILE = '/x/y' ENCRYPTION BY PASSWORD = 'Aa1!aaaaaa'", "app", "postgres")


@case("SET ROLE changes nothing, SET SESSION AUTHORIZATION changes who is asked for")
def test_set_role(world):
    with world.keeper("set-role") as keeper:
        idle = world.plain("pgkeep_admin", "noinherit")
        with pk.Wire(keeper.port, "app", idle) as wire:
            wire.query("set role pgkeep_admin")
            expect_equal(run(wire, "SHOW KEYSTORE")[0], REFUSED, "SET ROLE gives nothing")
        with pk.Wire(keeper.port, "app", "admin") as wire:
            wire.query("set role pgkeep_monitor")
            expect_equal(run(wire, "SHOW KEYSTORE")[0], "", "SET ROLE takes nothing")
        nobody = world.plain()
        with pk.Wire(keeper.port, "app", "postgres") as wire:
            wire.query(f"set session authorization {nobody}")
            expect_equal(run(wire, "SHOW MASTER KEYS")[0], REFUSED, "as somebody else")
            wire.query("reset session authorization")
            expect_equal(run(wire, "SHOW MASTER KEYS")[0], "", "as oneself again")


@case("rights are asked for every time: what is granted or revoked counts for the next statement")
def test_not_cached(world):
    with world.keeper("cached") as keeper:
        user = world.plain()
        with pk.Wire(keeper.port, "app", user) as wire:
            for grant, wanted in (("select", REFUSED), (f"grant pgkeep_monitor to {user}", ""),
                                  (f"revoke pgkeep_monitor from {user}", REFUSED), (f"grant boss to {user}", ""),
                                  (f"revoke boss from {user}", REFUSED), (f"alter role {user} superuser", ""),
                                  (f"alter role {user} nosuperuser", REFUSED), (f"alter database app owner to {user}", ""),
                                  ("alter database app owner to boss", REFUSED)):
                world.server.sql(grant)
                for extended in (False, True):
                    expect_equal(run(wire, "SHOW MASTER KEYS", extended)[0], wanted, f"after {grant}")


@case("without the roles: owners and superusers as ever, nobody else, and no error about roles")
def test_without_roles(world):
    with pk.Postgres(world.directory, name="bare") as server, \
            pk.Pgkeep(world.directory, server, roots=[world.keys], name="keeper-bare") as keeper:
        server.sql("create role boss login; create role plain login; create database app owner boss template template0")
        keeper.good("CREATE MASTER KEY", "app", "boss")
        keeper.good("SHOW KEYSTORE")
        for text in ("SHOW MASTER KEYS", "SHOW KEYSTORE", "CREATE MASTER KEY", "SEAL"):
            keeper.fails(REFUSED, text, "app", "plain")
        keeper.fails(REFUSED, "SHOW KEYSTORE", "app", "boss")


@case("a key that was made for another database of that name: owners are refused, admins are not")
def test_moved(world):
    with world.keeper("moved") as keeper:
        world.server.sql("drop database app")
        world.server.sql("create database app owner boss template template0")
        text = f"BACKUP MASTER KEY TO FILE = '{world.keys}/%s.pem' ENCRYPTION BY PASSWORD = '{GOOD}'"
        keeper.fails(REFUSED, text % "moved-owner", "app", "nobody_owner")
        keeper.fails(REFUSED, text % "moved-export", "app", "key_export")
        keeper.good(text % "moved-admin", "app", "admin")


if __name__ == "__main__":
    pk.main(world)
