#!/usr/bin/env python3
"""psycopg 3 on a leash, see leashed.py. Runs under Debian's Python, which has the package python3-psycopg.

Connected with "pipeline", every statement goes in a pipeline of the driver's."""

import contextlib
import re

import psycopg

from leashed import cancelled, inward, outward, serve


def about(fault):
    diag = fault.diag
    return {"error": {"class": type(fault).__name__, "sqlstate": fault.sqlstate,
                      "message": diag.message_primary or str(fault), "hint": diag.message_hint}}


def in_its_words(sql):
    """$1, $2, ... the way the driver wants them."""
    return re.sub(r"\$\d+", "%s", sql)


class Session:
    def __init__(self):
        self.conn = None
        self.notices = []
        self.around = contextlib.nullcontext

    def connect(self, request):
        self.conn = psycopg.connect(
            host="127.0.0.1", port=request["port"], user=request["user"], dbname=request["database"],
            sslmode=request["sslmode"], autocommit=request.get("autocommit", True),
            prepare_threshold=request.get("threshold", 5))
        self.conn.add_notice_handler(lambda d: self.notices.append([d.severity, d.sqlstate, d.message_primary]))
        if request.get("pipeline"):
            self.around = self.conn.pipeline
        return {"version": psycopg.__version__}

    def start(self, step):
        cursor = self.conn.cursor(binary=step.get("binary", False))
        values = step.get("values")
        if values is None:
            cursor.execute(step["sql"], prepare=step.get("prepare"))
        else:
            cursor.execute(in_its_words(step["sql"]), [inward(v) for v in values], prepare=step.get("prepare"))
        return cursor

    @staticmethod
    def finish(cursor):
        if cursor.description is None:
            return {"tag": cursor.statusmessage, "columns": [], "rows": []}
        rows = [[outward(v) for v in row] for row in cursor.fetchall()]
        return {"tag": cursor.statusmessage, "columns": [c.name for c in cursor.description], "rows": rows}

    def one(self, step):
        try:
            with self.around():  # at the end of a pipeline its results are there
                cursor = self.start(step)
            return self.finish(cursor)
        except psycopg.Error as fault:
            return about(fault)

    def run(self, request):
        self.notices.clear()
        answer = self.one(request)
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

    def several(self, request):
        """One string of several statements; the driver sends no such thing in a pipeline."""
        self.conn.execute(request["sql"])
        return {}

    def batch(self, request):
        with self.around(), self.conn.cursor() as cursor:
            cursor.executemany(in_its_words(request["sql"]), request["rows"])
        return {}

    def transaction(self, request):
        """All steps in a transaction that is then rolled back, as an application's own error would."""
        answers = []
        with self.conn.transaction(force_rollback=True):
            for step in request["steps"]:
                answers.append(self.one(step))
        return {"answers": answers}

    def copy_in(self, request):
        with self.conn.cursor() as cursor, cursor.copy(f"copy {request['table']} from stdin") as copy:
            for line in request["lines"]:
                copy.write(line + "\n")
        return {}

    def copy_out(self, request):
        with self.conn.cursor() as cursor, cursor.copy(f"copy ({request['sql']}) to stdout") as copy:
            return {"lines": b"".join(copy).decode().splitlines()}

    def cancel(self, request):
        return cancelled(lambda: self.one(request), self.conn.cancel)

    def rollback(self, _):
        self.conn.rollback()
        return {}


if __name__ == "__main__":
    serve(Session())
