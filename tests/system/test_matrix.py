#!/usr/bin/env python3
"""Every driver that applications are likely to use, each in its own ways: ordinary work, our statements with
ordinary work between, cancelling, and all of it again over TLS. What is special to a driver is said in the
table; everything else holds for all. Where a driver binds parameters on the server, a recorder in front of
pgkeep shows that it did; one behind it, and PostgreSQL's log, show that our values went no further."""

import contextlib
import os
import re

import leash
import pk
from leash import BACKUP, CREATE, RESTORE, Driver
from pk import case, expect, expect_equal, expect_in

OFTEN = 12  # more often than any driver waits before it makes a named statement
ROWS = 5000


class Kind:
    """One line of the matrix: a driver, how it connects, and where it differs from the others."""

    def __init__(self, driver, *, binds=True, binds_ours=None, prepare=False, copies=("in", "out"), stays=True,
                 typed=True, tells_cancel=True, **how):
        self.driver = driver
        self.binds = binds                # on the server; else into the text
        self.binds_ours = binds if binds_ours is None else binds_ours
        self.prepare = prepare            # named statements are the program's business, not the driver's
        self.copies = copies
        self.stays = stays                # on the same backend after a cancelled statement
        self.typed = typed                # values have types, not only texts
        self.tells_cancel = tells_cancel  # the cancelled statement's SQLSTATE
        self.how = how

    def named(self, name):
        """How a statement is run that is run often."""
        return {"prepare": name} if self.prepare else {}


KINDS = {
    "psql": Kind("psql", binds=False, typed=False, stays=False),
    "psycopg 3": Kind("psycopg"),
    "psycopg 3, pipeline mode": Kind("psycopg", pipeline=True),
    "psycopg2": Kind("psycopg2", binds=False),
    "asyncpg": Kind("asyncpg", tells_cancel=False),
    "JDBC": Kind("jdbc"),
    "node-pg": Kind("node-pg", prepare=True, copies=()),
    "Go lib/pq": Kind("lib/pq", prepare=True, copies=("in",), stays=False),
    "DBD::Pg": Kind("DBD::Pg", prepare=True, binds_ours=False),  # it binds what it knows for DML, and pastes the rest
}


def each(text):
    """A case for each driver."""
    def add(function):
        for name, kind in KINDS.items():
            case(f"{name}: {text}")(lambda world, name=name, kind=kind: function(world, name, kind))
        return function
    return add


def tls(directory):
    """pgkeep's settings."""
    cert, key = pk.self_signed(os.path.join(directory, "certificate"))
    return [f"client_tls.cert_file={cert}", f"client_tls.key_file={key}"]


def database(world, what, name, **how):
    """One of its own for a case. Its name needs no quotes in connection strings."""
    return world.database(re.sub(r"\W+", "_", f"{what} {name}".lower()), **how)


def connected(world, kind, db, **how):
    return Driver(kind.driver, world, db, **kind.how, **how)


@contextlib.contextmanager
def session(world, kind, db, **how):
    """A connection on which the backend stays the same."""
    with connected(world, kind, db, **how) as driver, driver.stays():
        yield driver


# --- ordinary work --------------------------------------------------------------------------------

ODD_END = "é財🗝'\"\\$1%s?:x;--"
ODD_TEXT = "Grüße, 財务 🗝 ' \" \\ $1 %s ? :x ; -- /* \t\n" + "long " * 4000

# Cast, value, and how a driver without types shows it.
TYPES = [
    ("int4", 42, "42"), ("int8", 1 << 40, str(1 << 40)), ("float8", 1.5, "1.5"), ("bool", True, "t"),
    ("text", ODD_TEXT, ODD_TEXT), ("text", "", ""), ("text", None, None), ("numeric", "12345.67890", "12345.67890"),
    ("bytea", {"bytes": "00ff275c"}, "\\x00ff275c"),
]


def types(driver, kind):
    sql = "select " + ", ".join(f"${n}::{cast} as c{n}" for n, (cast, _, _) in enumerate(TYPES, 1))
    answer = driver.run(sql, *[value for _, value, _ in TYPES])
    expect_equal(answer["rows"], [[typed if kind.typed else text for _, typed, text in TYPES]], "values come back")
    answer = driver.run("select timestamptz '2024-02-29 12:34:56.789+02' as t, null as n, 'a'::varchar as c")
    expect_equal(answer["columns"], ["t", "n", "c"], "the columns' names")
    time = "2024-02-29T10:34:56.789Z" if kind.typed else "2024-02-29 10:34:56.789+00"
    expect_equal(answer["rows"], [[time, None, "a"]], "values of the server's")
    expect_equal(len(driver.run("select n, md5(n::text) from generate_series(1, 20000) n")["rows"]), 20000, "rows")


def errors(driver, kind):
    driver.fails("22012", "select 1/0")
    if kind.how.get("pipeline") and driver.readable:  # a simple query cannot be in one
        expect(("", "select 1/0") in driver.parsed(), "it was sent in a pipeline", driver.parsed())
    driver.fails("42P01", "select $1::text from nosuch", "x")
    driver.fails("42601", "selec 1")
    expect_equal(driver.run("do $$ begin raise notice 'heard'; end $$")["rows"], [], "a notice")


def transactions(driver, kind):
    yes = {"sql": "insert into things values (-1, 'lost')"}
    answers = driver.does("transaction", steps=[yes, {"sql": "select 1/0"}, {"sql": "select 1"}])["answers"]
    expect_equal([a.get("error", {}).get("sqlstate") for a in answers], [None, "22012", "25P02"], "in a transaction")
    answers = driver.does("transaction", steps=[yes, {"sql": "select count(*) from things where n = -1"}])["answers"]
    one = 1 if kind.typed else "1"
    expect_equal(answers[1].get("rows"), [[one]], "seen inside")
    expect_equal(driver.run("select n from things where n = -1")["rows"], [], "gone after the rollback")


def often(driver, kind):
    sql = "select $1::int4 * 2 as twice"
    for number in range(OFTEN):
        twice = 2 * number if kind.typed else str(2 * number)
        expect_equal(driver.run(sql, number, **kind.named("twice"))["rows"], [[twice]], "a statement that is run often")
    if kind.binds and driver.readable:
        expect_named(driver, sql)


def expect_named(driver, sql):
    expect(any(name and text == sql for name, text in driver.parsed()), "it was prepared under a name", driver.parsed())


def many(driver, kind):
    driver.does("several", sql="insert into things values (-2, 'several'); update things set t = 'twice' where n = -2")
    expect_equal(driver.value("select t from things where n = -2"), "twice", "several statements at once")
    driver.does("batch", sql="insert into things values ($1, $2)", rows=[[n, f"batch {n}"] for n in range(300)])
    expect_equal(str(driver.value("select count(*) from things where t like 'batch %'")), "300", "a batch")


def copies(driver, kind):
    lines = [f"{n}\tcopied {n} {'c' * 100}" for n in range(ROWS)]
    if "in" in kind.copies:
        driver.does("copy_in", table="things", lines=lines)
        expect_equal(str(driver.value("select count(*) from things where t like 'copied %'")), str(ROWS), "COPY in")
    if "out" in kind.copies:
        answer = driver.does("copy_out", sql="select * from things where t like 'copied %' order by n")
        expect_equal(answer["lines"], lines, "COPY out")


def work(driver, kind):
    driver.run("drop table if exists things")
    driver.run("create table things (n int, t text)")
    types(driver, kind)
    errors(driver, kind)
    transactions(driver, kind)
    often(driver, kind)
    many(driver, kind)
    copies(driver, kind)


# --- our statements -------------------------------------------------------------------------------


def ours(world, driver, kind, db):
    """The connection's database has no key yet."""
    own, password, again = world.secret(CREATE), world.secret(BACKUP) + ODD_END, world.secret(RESTORE)
    path = world.hidden_path()
    driver.run(CREATE, own)
    notices = driver.run(BACKUP, path, password)["notices"]
    expect_in(world.keeper.key(db)["fingerprint"], str(notices), "the notice has the fingerprint")
    code, _, told = pk.openssl_open(path, password)
    expect(code == 0, "the password opens the file", told)
    answer = driver.run("SHOW MASTER KEYS")
    rows = [dict(zip(answer["columns"], row)) for row in answer["rows"]]
    expect_in((db, world.keeper.key(db)["fingerprint"]), [(r["database"], r["fingerprint"]) for r in rows], "SHOW's rows")
    driver.run(RESTORE, path, password, again)
    refused(world, driver, path, password)
    expect_equal(str(driver.value("select $1::int4 + 1", 41)), "42", "work between")
    for _ in range(OFTEN):
        often_path, often_password = world.hidden_path(), world.secret("often")
        driver.run(BACKUP, often_path, often_password, **kind.named("backup"))
        expect_equal(pk.openssl_open(often_path, often_password)[0], 0, "openssl's verdict")
        driver.fails("58P02", BACKUP, often_path, often_password, **kind.named("backup"))
    in_transaction(world, driver, password)
    return [(CREATE, own), (BACKUP, path, password), (RESTORE, path, password, again),
            (BACKUP, often_path, often_password)]


def refused(world, driver, path, password):
    wrong = world.secret("a wrong one")
    driver.fails("58P02", BACKUP, path, password)
    driver.fails("28P01", RESTORE, path, wrong, password)
    driver.fails("42710", CREATE, password)
    driver.fails("42601", "BACKUP MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2 NONSENSE", path, password)
    error = driver.fails("22023", BACKUP, "/outside/of/everything", password)
    expect_in("keys.allowed_roots", error["hint"] or "", "the hint names the setting")
    expect("$1" not in error["message"] and password not in str(error), "the error tells a value", error)


def in_transaction(world, driver, password):
    path = world.hidden_path()
    answers = driver.does("transaction", steps=[
        {"sql": "insert into things values (-3, 'lost')"}, {"sql": BACKUP, "values": [path, password]},
        {"sql": "select 1"}])["answers"]
    expect_equal([a.get("error", {}).get("sqlstate") for a in answers], [None, "25001", "25P02"], "in a transaction")
    expect(not os.path.exists(path), "a refused backup wrote")
    expect_equal(driver.run("select n from things where n = -3")["rows"], [], "the transaction was rolled back")
    driver.run(BACKUP, path, password)


# --- cancelling -----------------------------------------------------------------------------------


def cancel(world, driver, kind):
    """By the driver's own means; the test only says when."""
    text = f"select 'cancel {os.urandom(4).hex()}', pg_sleep(100)"
    cancelled = world.server.log().count("canceling statement due to user request")
    driver.tell(op="cancel", sql=text)
    literal = text.replace("'", "''")
    pk.wait_until(lambda: world.server.sql(
        f"select count(*) from pg_stat_activity where starts_with(query, '{literal}') and state = 'active'") == "1",
        "the statement runs", 30)
    driver.tell(op="now")
    answer = driver.answer("cancel")
    expect("error" in answer, "the statement was not cancelled", answer)
    if kind.tells_cancel:
        expect_equal(answer["error"]["sqlstate"], "57014", "SQLSTATE of a cancelled statement")
    pk.wait_until(lambda: world.server.log().count("canceling statement due to user request") == cancelled + 1,
                  "PostgreSQL cancelled one statement", 10)
    expect_equal(str(driver.value("select $1::int4 + 1", 41)), "42", "work after")


@each("ordinary work")
def test_work(world, name, kind):
    with session(world, kind, database(world, "work", name, key=False)) as driver:
        work(driver, kind)
        work(driver, kind)


@each("our statements, and ordinary work before and after in the same session")
def test_ours(world, name, kind):
    db = database(world, "ours", name, key=False)
    with session(world, kind, db) as driver:
        work(driver, kind)
        used = ours(world, driver, kind, db)
        work(driver, kind)
        if kind.binds_ours:
            for sql, *values in used:
                driver.saw(sql, *values)
            expect_named(driver, BACKUP)


@each("a running statement is cancelled")
def test_cancel(world, name, kind):
    db = database(world, "cancel", name)
    with (session if kind.stays else connected)(world, kind, db) as driver:
        cancel(world, driver, kind)
        path, password = world.hidden_path(), world.secret("after a cancel")
        driver.run(BACKUP, path, password)
        expect_equal(pk.openssl_open(path, password)[0], 0, "openssl's verdict")
        cancel(world, driver, kind)


@each("over TLS: ordinary work, our statements, a statement that is cancelled")
def test_tls(world, name, kind):
    db = database(world, "tls", name, key=False)
    with session(world, kind, db, sslmode="require") as driver:
        work(driver, kind)
        ours(world, driver, kind, db)
        work(driver, kind)
        conversation = driver.conversation()
        expect(conversation.asked.startswith(bytes.fromhex("0000000804d2162f")), "an SSLRequest came first")
        expect(b"postgres" not in conversation.asked and b"things" not in conversation.asked, "nothing went in clear")
    with connected(world, kind, db, sslmode="require") as driver:
        cancel(world, driver, kind)


leash.last_cases(100, 0.4)  # those that went by TLS cannot be read


if __name__ == "__main__":
    pk.main(lambda: leash.world(tls))
