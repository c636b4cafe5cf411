#!/usr/bin/env python3
"""psycopg2 on a leash, see leashed.py. It knows nothing of the extended protocol: parameters are pasted
into the text as literals before it is sent."""

import io
import re

import psycopg2
import psycopg2.extras

from leashed import cancelled, inward, outward, serve


def about(fault):
    return {"error": {"class": type(fault).__name__, "sqlstate": fault.pgcode,
                      "message": fault.diag.message_primary or str(fault), "hint": fault.diag.message_hint}}


def in_its_words(sql):
    return re.sub(r"\$\d+", "%s", sql)


class Session:
    def __init__(self):
        self.conn = None

    def connect(self, request):
        self.conn = psycopg2.connect(host="127.0.0.1", port=request["port"], user=request["user"],
                                     dbname=request["database"], sslmode=request["sslmode"])
        self.conn.autocommit = True
        return {"version": psycopg2.__version__}

    def run(self, step):
        values = step.get("values")
        self.conn.notices.clear()
        try:
            with self.conn.cursor() as cursor:
                if values is None:
                    cursor.execute(step["sql"])
                else:
                    cursor.execute(in_its_words(step["sql"]), [inward(v) for v in values])
                shape = cursor.description
                rows = [[outward(v) for v in row] for row in cursor.fetchall()] if shape else []
                return {"tag": cursor.statusmessage, "columns": [c.name for c in shape or ()], "rows": rows,
                        "notices": self.notices()}
        except psycopg2.Error as fault:
            return about(fault)

    def notices(self):
        """The driver has them as texts."""
        found = [re.match(r"(\w+): +(.*)", text) for text in self.conn.notices]
        return [[notice[1], None, notice[2]] for notice in found]

    def several(self, request):
        with self.conn.cursor() as cursor:
            cursor.execute(request["sql"])
        return {}

    def batch(self, request):
        """Many statements, pasted together, in few messages."""
        with self.conn.cursor() as cursor:
            psycopg2.extras.execute_batch(cursor, in_its_words(request["sql"]), request["rows"])
        return {}

    def transaction(self, request):
        self.conn.autocommit = False
        answers = [self.run(step) for step in request["steps"]]
        self.conn.rollback()
        self.conn.autocommit = True
        return {"answers": answers}

    def copy_in(self, request):
        with self.conn.cursor() as cursor:
            lines = "".join(line + "\n" for line in request["lines"])
            cursor.copy_expert(f"copy {request['table']} from stdin", io.StringIO(lines))
        return {}

    def copy_out(self, request):
        out = io.StringIO()
        with self.conn.cursor() as cursor:
            cursor.copy_expert(f"copy ({request['sql']}) to stdout", out)
        return {"lines": out.getvalue().splitlines()}

    def cancel(self, request):
        return cancelled(lambda: self.run(request), self.conn.cancel)


if __name__ == "__main__":
    serve(Session())
