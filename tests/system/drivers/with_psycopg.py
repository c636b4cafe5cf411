#!/usr/bin/env python3
"""psycopg 3 on a leash, for test_drivers.py: one JSON request a line comes in, one answer a line goes
out. Runs under Debian's Python, which has the package python3-psycopg."""

import datetime
import json
import re
import sys

import psycopg


def outward(value):
    """A value of the driver's in the form that both drivers answer with."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def about(fault):
    diag = fault.diag
    return {"error": {"class": type(fault).__name__, "sqlstate": fault.sqlstate,
                      "message": diag.message_primary or str(fault), "hint": diag.message_hint}}


class Session:
    def __init__(self):
        self.conn = None
        self.notices = []

    def connect(self, request):
        self.conn = psycopg.connect(
            host="127.0.0.1", port=request["port"], user=request["user"], dbname=request["database"],
            autocommit=request.get("autocommit", True), prepare_threshold=request.get("threshold", 5))
        self.conn.add_notice_handler(lambda d: self.notices.append([d.severity, d.sqlstate, d.message_primary]))
        return {"version": psycopg.__version__}

    def start(self, step):
        """Sends one statement; $1, $2, ... are given to the driver the way it wants them."""
        cursor = self.conn.cursor(binary=step.get("binary", False))
        values = step.get("values")
        text = step["sql"] if values is None else re.sub(r"\$\d+", "%s", step["sql"])
        cursor.execute(text, values, prepare=step.get("prepare"))
        return cursor

    @staticmethod
    def finish(cursor):
        if cursor.description is None:
            return {"tag": cursor.statusmessage, "columns": [], "rows": []}
        rows = [[outward(v) for v in row] for row in cursor.fetchall()]
        return {"tag": cursor.statusmessage, "columns": [c.name for c in cursor.description], "rows": rows}

    def run(self, request):
        self.notices.clear()
        try:
            answer = self.finish(self.start(request))
        except psycopg.Error as fault:
            answer = about(fault)
        return {**answer, "notices": list(self.notices)}

    def pipeline(self, request):
        """All steps in one pipeline; an answer for each that had a result, then the error, if any."""
        cursors, end = [], []
        try:
            with self.conn.pipeline():
                for step in request["steps"]:
                    cursors.append(self.start(step))
        except psycopg.Error as fault:
            end.append(about(fault))
        return {"answers": [self.finish(cursor) for cursor in cursors if cursor.pgresult is not None] + end}

    def rollback(self, _):
        self.conn.rollback()
        return {}


def main():
    session = Session()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(session, request["op"])(request)), flush=True)


if __name__ == "__main__":
    main()
