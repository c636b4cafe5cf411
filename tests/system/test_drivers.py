#!/usr/bin/env python3
"""Two drivers of applications with everything that they can do to our statements, the values bound by the
server: psycopg 3 and node-pg (more drivers, with more ordinary work, are in test_matrix.py). A recorder
between driver and pgkeep shows that the statement went as Parse with $1 and that the values went in Bind, so
that nothing here passes because a driver pasted the values into the text. A second one between pgkeep and
PostgreSQL, and PostgreSQL's log with everything turned on, show that no value went any further."""

import contextlib
import json
import os

import leash
import pk
import relay
from leash import BACKUP, CREATE, RESTORE, Driver
from pk import case, expect, expect_equal, expect_in

OPEN = "OPEN MASTER KEY DECRYPTION BY PASSWORD = $1"


@contextlib.contextmanager
def second_keystore(world, name):
    """Another pgkeep with its own keystore in front of the same PostgreSQL; the recorder in front of it."""
    keeper = pk.Pgkeep(world.directory, world.server, roots=[world.keys], name=f"second-{name}",
                       backend=f"{pk.HOST}:{world.back.port}")
    with keeper, relay.Relay(keeper.port) as front:
        yield front
    world.logs.append(keeper.log())


@contextlib.contextmanager
def session(world, name, database, **how):
    """A connection on which ordinary work goes well before and after."""
    with Driver(name, world, database, **how) as driver, driver.stays():
        work(driver)
        yield driver
        work(driver)


def work(driver):
    driver.run("create table if not exists things (n int, t text)")
    text = os.urandom(4).hex()
    driver.run("insert into things select n, $1 from generate_series(1, 50) n", text)
    expect_equal(driver.run("select count(*)::int, min(t), null from things where t = $1", text)["rows"],
                 [[50, text, None]], f"{driver.name}: ordinary work")
    driver.fails("22012", "select 1/0")
    driver.fails("42P01", "select $1::text from nosuch", "x")


def both(name):
    """A case for each driver."""
    def add(function):
        for driver in ("psycopg", "node-pg"):
            case(f"{driver}: {name}")(lambda world, driver=driver: function(world, driver))
        return function
    return add


@both("CREATE, BACKUP, RESTORE MASTER KEY: paths and passwords as $1, $2, $3")
def test_master_key(world, name):
    db = world.database(f"dmk {name}", key=False)
    own, password, again = world.secret(CREATE), world.secret(BACKUP), world.secret(RESTORE)
    path = world.hidden_path()
    with session(world, name, db) as driver:
        answer = driver.run(CREATE, own)
        expect_equal(answer["notices"][0][:2], ["NOTICE", "00000"], "CREATE's notice")
        answer = driver.run(BACKUP, path, password)
        expect_in("pgk1:", answer["notices"][0][2], "BACKUP's notice has the fingerprint")
        expect_equal(driver.value("select 1 + 1"), 2, "work between")
        driver.run(RESTORE, path, password, again)
        for sql, *values in ((CREATE, own), (BACKUP, path, password), (RESTORE, path, password, again)):
            driver.saw(sql, *values)
        if name == "psycopg":
            expect_equal(answer["tag"], "BACKUP MASTER KEY", "the command tag")
    expect_equal(os.stat(path).st_mode & 0o7777, 0o600, "the file's mode")
    code, _, errors = pk.openssl_open(path, password)
    expect(code == 0, "the bound password opens the file", errors)
    expect_equal(world.keeper.key(db)["backed_up"], "yes", "the keystore knows")


@both("BACKUP and RESTORE SERVICE MASTER KEY")
def test_service_master_key(world, name):
    password, path = world.secret("BACKUP SERVICE MASTER KEY"), world.hidden_path()
    backup = "BACKUP SERVICE MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2"
    restore = "RESTORE SERVICE MASTER KEY FROM FILE = $1 DECRYPTION BY PASSWORD = $2"
    with session(world, name, "postgres") as driver:
        driver.run(backup, path, password)
        driver.run(restore, path, password)
        driver.saw(backup, path, password)
        driver.saw(restore, path, password)
    expect_equal(pk.openssl_open(path, password)[0], 0, "openssl's verdict")


@both("ALTER SYSTEM BACKUP KEY and RESTORE KEY")
def test_tenant(world, name):
    db = world.database(f"tenant {name}")
    password, path = world.secret("ALTER SYSTEM BACKUP KEY"), world.hidden_path()
    os.mkdir(path, 0o700)
    backup = "ALTER SYSTEM BACKUP KEY TO $1 ENCRYPTED BY $2"
    restore = "ALTER SYSTEM RESTORE KEY FROM $1 ENCRYPTED BY $2"
    with session(world, name, db) as driver:
        driver.run(backup, f"file://{path}", password)
        driver.run(restore, f"file://{path}", password)
        driver.saw(backup, f"file://{path}", password)
        driver.saw(restore, f"file://{path}", password)


@both("OPEN and CLOSE MASTER KEY, outside and inside of a block; the key that only a password opens is open to this session only")
def test_open(world, name):
    db = world.database(f"open {name}")
    password, wrong = world.secret(OPEN), world.secret("a wrong " + OPEN)
    own = world.secret("password of the copy")
    path = world.hidden_path()
    with session(world, name, db) as driver:
        driver.run(BACKUP, path, password)
    with second_keystore(world, name) as front, session(world, name, db, front=front) as driver:
        driver.run(RESTORE, path, password, own)  # here only the password protects it
        driver.fails("55000", BACKUP, world.hidden_path(), password)
        driver.fails("28P01", OPEN, wrong)
        driver.run(OPEN, own)
        driver.saw(OPEN, own)
        driver.run(BACKUP, world.hidden_path(), password)
        with Driver(name, world, db, front=front) as stranger:
            stranger.fails("55000", BACKUP, world.hidden_path(), password)
        driver.run("begin")
        driver.run("CLOSE MASTER KEY", prepare="close")
        driver.run(OPEN, own, prepare="open")
        driver.run("commit")
        driver.run(BACKUP, world.hidden_path(), password)
        driver.run("CLOSE MASTER KEY")
        driver.fails("55000", BACKUP, world.hidden_path(), password)
        driver.run(OPEN, own)
        driver.run("discard all")
        driver.fails("55000", BACKUP, world.hidden_path(), password)


@both("SHOW MASTER KEYS: rows with the driver's own types, by text and by binary")
def test_show(world, name):
    db = world.database(f"show {name}")
    with session(world, name, "postgres") as driver:
        answers = [driver.run("SHOW MASTER KEYS"), driver.run("SHOW MASTER KEYS", prepare="shown"),
                   driver.run("SHOW MASTER KEYS", prepare="shown")]
        if name == "psycopg":  # node-pg has no reader for a binary uuid
            answers += [driver.run("SHOW MASTER KEYS", binary=True),
                        driver.run("SHOW MASTER KEYS", binary=True, prepare="binary")]
        for answer in answers:
            expect_equal(answer["rows"], answers[0]["rows"], "the same rows every way")
            expect_equal(answer["columns"], answers[0]["columns"], "the same columns every way")
        rows = [dict(zip(answers[0]["columns"], row)) for row in answers[0]["rows"]]
        mine = [row for row in rows if row["database"] == db][0]
        told = world.keeper.key(db)
        expect_equal((mine["version"], mine["encrypted_by_server"], mine["last_backup"], mine["fingerprint"], mine["key_guid"]),
                     (1, True, None, told["fingerprint"], told["key_guid"]), "an int, a bool, a null, a text and a uuid")
        expect(mine["created"].endswith("Z") and mine["created"][:10] == told["created"][:10], "a timestamp", mine, told)
        expect_equal(driver.value("select count(*)::int from things where n < $1", "0"), 0, "work between")
        kinds = [kind for kind, _ in driver.conversation().messages()]
        expect(kinds.count(b"P") > 2, "extended protocol", kinds)


@both("SHOW KEY BACKUPS and SHOW KEYSTORE come through the driver, too")
def test_show_others(world, name):
    db = world.database(f"backups {name}")
    world.backup(db)
    with session(world, name, "postgres") as driver:
        for sql in ("SHOW KEY BACKUPS", "SHOW KEYSTORE"):
            simple, extended = driver.run(sql), driver.run(sql, prepare="p" + sql[-6:])
            expect(simple["rows"] and simple["columns"], f"{sql} has rows", simple)
            steady = [i for i, c in enumerate(simple["columns"]) if c not in ("epoch", "audit_head")]  # these grow
            expect_equal([[row[i] for i in steady] for row in extended["rows"]],
                         [[row[i] for i in steady] for row in simple["rows"]], f"{sql} both ways")


CLASSES = {"28P01": "InvalidPassword", "22023": "InvalidParameterValue", "42501": "InsufficientPrivilege",
           "58P02": "DuplicateFile", "58P01": "UndefinedFile", "22004": "NullValueNotAllowed",
           "25001": "ActiveSqlTransaction", "42710": "DuplicateObject", "42601": "SyntaxError",
           "0A000": "FeatureNotSupported"}


def fails_as(driver, state, sql, *values, **how):
    error = driver.fails(state, sql, *values, **how)
    wanted = CLASSES[state] if driver.name == "psycopg" else "DatabaseError"
    expect_equal(error["class"], wanted, f"{driver.name}: class of the exception for {state}")
    for value in values:
        expect(value is None or value.startswith("/") or value not in json.dumps(error), "the error tells a value", error)
    return error


@both("errors are the driver's own exceptions with our SQLSTATE, and the session goes on")
def test_errors(world, name):
    db = world.database(f"errors {name}")
    good, wrong, path = world.secret("errors"), world.secret("wrong"), world.hidden_path()
    with session(world, name, db) as driver:
        driver.run(BACKUP, path, good)
        for how in ({}, {"prepare": "p"}):
            number = iter(range(100))

            def again(how=how, number=number):
                return {"prepare": f"{how['prepare']}{next(number)}"} if how else {}
            fails_as(driver, "58P02", BACKUP, path, good, **again())
            fails_as(driver, "28P01", RESTORE, path, wrong, good, **again())
            fails_as(driver, "58P01", RESTORE, world.hidden_path(), wrong, good, **again())
            fails_as(driver, "22023", BACKUP, "/outside/of/everything", good, **again())
            fails_as(driver, "22023", BACKUP, world.hidden_path(), "weak", **again())
            fails_as(driver, "42710", CREATE, good, **again())
            fails_as(driver, "22004", BACKUP, path, None, **again())
            fails_as(driver, "22004", BACKUP, None, good, **again())
            fails_as(driver, "42601", "BACKUP MASTER KEY TO FILE = $1 ENCRYPTION BY PASSWORD = $2 NONSENSE", path, good, **again())
            fails_as(driver, "0A000", "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = $1", good, **again())
            expect_equal(driver.value("select $1::int + 1", "41"), 42, "work between")
        error = fails_as(driver, "22023", BACKUP, "/outside/of/everything", good)
        expect_in("keys.allowed_roots", error["hint"] or "", "the hint names the setting")
    with Driver(name, world, db, user="plain") as driver:
        fails_as(driver, "42501", BACKUP, world.hidden_path(), good)
        fails_as(driver, "42501", CREATE, good)
        expect_equal(driver.value("select $1::int", "7"), 7, "work after")


@both("inside a block: 25001 with a hint, the block is aborted for the server as well, and it ends")
def test_block(world, name):
    db = world.database(f"block {name}")
    password = world.secret("in a block")
    with session(world, name, db) as driver:
        path = world.hidden_path()
        driver.run("begin")
        driver.run("insert into things values (-1, $1)", "lost")
        error = fails_as(driver, "25001", BACKUP, path, password)
        expect(error["hint"], "25001 has a hint", error)
        driver.fails("25P02", "select 1")
        driver.fails("25P02", BACKUP, path, password)
        driver.run("commit")
        expect_equal(driver.value("select count(*)::int from things where n = $1", "-1"), 0, "nothing was committed")
        driver.run("begin")
        driver.run("insert into things values (-2, $1)", "kept")
        expect(driver.run("SHOW MASTER KEYS", prepare="in_block")["rows"], "SHOW runs in a block")
        driver.run("commit")
        expect_equal(driver.value("select count(*)::int from things where n = $1", "-2"), 1, "SHOW left the block alone")
        expect(not os.path.exists(path), "a refused backup wrote")


@both("named statements are prepared once and run several times, mixed with the server's own")
def test_named(world, name):
    db = world.database(f"named {name}")
    with session(world, name, db) as driver:
        used = []
        for number in range(6):
            path, password = world.hidden_path(), world.secret("named")
            used.append((path, password))
            driver.run(BACKUP, path, password, prepare="backup")
            expect_equal(driver.run("select $1::int", str(number), prepare="theirs")["rows"], [[number]], "theirs")
            if number % 2:
                fails_as(driver, "58P02", BACKUP, path, password, prepare="backup")
            driver.run("SHOW MASTER KEYS", prepare="show")
        for path, password in used:
            driver.saw(BACKUP, path, password)
            expect_equal(pk.openssl_open(path, password)[0], 0, "openssl's verdict")
        texts = [text for _, text in driver.parsed()]
        expect_equal(texts.count(BACKUP), 1, "Parse was sent once for six executions and three that failed")
        if name == "psycopg":  # after a rollback it sends DEALLOCATE ALL and prepares anew
            driver.run("begin")
            driver.run("rollback")
            driver.run(BACKUP, world.hidden_path(), password, prepare="backup")
            expect_in(b"DEALLOCATE ALL", driver.conversation().asked, "the driver's own cleaning up")


@case("psycopg: statements that the driver prepares by itself after some executions")
def test_threshold(world):
    db = world.database("threshold")
    with session(world, "psycopg", db, threshold=2) as driver:
        for number in range(8):
            driver.run(BACKUP, world.hidden_path(), world.secret("threshold"))
            expect_equal(driver.value("select $1::int", str(number)), number, "work between")
        names = driver.parsed()
        expect(any(text == BACKUP and name for name, text in names), "the driver made a named statement", names)


@case("psycopg: autocommit off, the driver's default, gives 25001 with a hint; rolled back, the session goes on")
def test_autocommit(world):
    db = world.database("autocommit off")
    password = world.secret("autocommit off")
    with Driver("psycopg", world, db, autocommit=False) as driver:
        error = fails_as(driver, "25001", BACKUP, world.hidden_path(), password)
        expect("autocommit" in (error["hint"] or "").lower(), "the hint says autocommit", error)
        driver.ask(op="rollback")
        expect_equal(driver.value("select $1::int", "3"), 3, "work after")
        error = fails_as(driver, "25001", BACKUP, world.hidden_path(), password, prepare="p")
        driver.ask(op="rollback")
        expect(driver.run("SHOW MASTER KEYS", binary=True)["rows"], "SHOW may run there")


@case("psycopg: pipelines that mix theirs and ours")
def test_pipeline(world):
    db = world.database("pipeline")
    password, path = world.secret("pipeline"), world.hidden_path()
    theirs = {"sql": "select $1::int", "values": ["1"]}
    show = {"sql": "SHOW MASTER KEYS", "binary": True}
    with session(world, "psycopg", db) as driver:
        answers = driver.ask(op="pipeline", steps=[theirs, show, theirs, {**show, "binary": False}, theirs])["answers"]
        expect_equal([a["rows"] for a in answers[0::2]], [[[1]]] * 3, "theirs")
        expect_equal(answers[1]["rows"], answers[3]["rows"], "ours")
        answers = driver.ask(op="pipeline", steps=[{"sql": BACKUP, "values": [path, password]}])["answers"]
        expect("error" not in answers[0], "alone in its pipeline, BACKUP runs", answers)
        expect_equal(pk.openssl_open(path, password)[0], 0, "openssl's verdict")
        late = world.hidden_path()
        answers = driver.ask(op="pipeline", steps=[theirs, {"sql": BACKUP, "values": [late, password]}, theirs])["answers"]
        expect_equal([a.get("error", {}).get("sqlstate") for a in answers], [None, "25001"], "behind another, BACKUP is refused")
        expect(not os.path.exists(late), "a refused backup wrote")
        answers = driver.ask(op="pipeline", steps=[theirs, {"sql": "select 1/0", "values": None}, show])["answers"]
        expect_equal(answers[-1]["error"]["sqlstate"], "22012", "theirs fails, ours is skipped")
        expect_equal(driver.ask(op="pipeline", steps=[theirs] * 20)["answers"][-1]["rows"], [[1]], "afterwards")


@case("node-pg: a queue of statements, theirs and ours, each for itself")
def test_queue(world):
    db = world.database("queue")
    used = [(world.hidden_path(), world.secret("queue")) for _ in range(5)]
    steps = []
    for number, (path, password) in enumerate(used):
        steps += [{"sql": "select $1::int", "values": [str(number)]}, {"sql": BACKUP, "values": [path, password]},
                  {"sql": "select 1/0"}, {"sql": BACKUP, "values": [path, password]}]
    with session(world, "node-pg", db) as driver:
        answers = driver.ask(op="pipeline", steps=steps)["answers"]
        expect_equal([a["rows"] for a in answers[0::4]], [[[n]] for n in range(5)], "theirs")
        expect(all("error" not in a for a in answers[1::4]), "ours", answers[1::4])
        expect_equal({a["error"]["sqlstate"] for a in answers[2::4]}, {"22012"}, "their errors")
        expect_equal({a["error"]["sqlstate"] for a in answers[3::4]}, {"58P02"}, "our errors")


@both("values of every size and kind of byte")
def test_sizes(world, name):
    db = world.database(f"sizes {name}")
    with session(world, name, db) as driver:
        for length in (1, 7, 8, 64, 128, 129, 1000, 1024, 1025, 70000):
            value = (world.secret("sizes") + "é€😀'\"\\$1;--" + "aB3!" * (length // 4 + 1))[:max(length, 30)]
            answer = driver.tried(BACKUP, world.hidden_path(), value)
            expect(answer.get("error", {}).get("sqlstate") in (None, "22023"), f"a password of {length}", answer)
        for _ in range(20):
            driver.fails("58P01", RESTORE, world.hidden_path(), "x", world.secret("many"))
        odd = world.secret("odd") + "é€😀'\"\\$1;--"
        path = world.hidden_path()
        driver.run(BACKUP, path, odd)
        expect_equal(pk.openssl_open(path, odd)[0], 0, "openssl opens with the odd password")


leash.last_cases(50, 0.9)


if __name__ == "__main__":
    pk.main(leash.world)
