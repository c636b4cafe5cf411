#!/usr/bin/env python3
"""psql on a leash, see leashed.py: one psql that reads statements from a pipe. psql has no parameters
before its version 16, values are pasted in as literals. All values come back as texts."""

import csv
import io
import re
import signal
import subprocess
import sys

from leashed import next_line, serve

END = "== end of the answer =="


def literal(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        return f"'\\x{value['bytes']}'"
    return "'" + value.replace("'", "''") + "'"


def pasted(sql, values):
    return re.sub(r"\$(\d+)", lambda found: literal(values[int(found[1]) - 1]), sql)


def error(state, message, hint):
    return {"error": {"class": "psql", "sqlstate": state, "message": message, "hint": hint}}


class Session:
    def __init__(self):
        self.command = None
        self.psql = None

    def connect(self, request):
        # Line by line, else psql keeps its answers until a buffer is full.
        self.command = ["stdbuf", "-oL", request["program"], "-X", "-w", "--csv", "-P", "null=\\N",
                        "-v", "VERBOSITY=verbose", "-d",
                        f"host=127.0.0.1 port={request['port']} user={request['user']} "
                        f"dbname={request['database']} sslmode={request['sslmode']}"]
        return self.start()

    def start(self):
        self.psql = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        self.send("")
        return self.answer()

    def send(self, text):
        self.psql.stdin.write(f"{text}\n\\echo {END}\n\\warn {END}\n")
        self.psql.stdin.flush()

    def answer(self):
        """What psql printed since the last answer, up to the mark on both of its outputs."""
        out, err = (self.up_to_mark(stream) for stream in (self.psql.stdout, self.psql.stderr))
        found = re.search(r"(?m)^(?:psql:.*?: )?(?:ERROR|FATAL):  ([0-9A-Z]{5}): (.*)", err)
        if found:
            hint = re.search(r"(?m)^HINT:  (.*)", err)
            return error(found[1], found[2], hint and hint[1])
        if lost := re.search(r"(?m)^psql: error: (.*)", err):
            return error(None, lost[1], None)
        notices = [list(notice) for notice in re.findall(r"(?m)^([A-Z]+):  ([0-9A-Z]{5}): (.*)", err)]
        table = [[None if v == "\\N" else v for v in row] for row in csv.reader(io.StringIO(out))]
        return {"tag": None, "columns": table[0] if table else [], "rows": table[1:], "notices": notices}

    @staticmethod
    def up_to_mark(stream):
        lines = []
        while (line := stream.readline()) and line != END + "\n":
            lines.append(line)
        return "".join(lines)

    def run(self, step):
        self.send(pasted(step["sql"], step.get("values") or []) + ";")
        return self.answer()

    def several(self, request):
        self.send(request["sql"].replace(";", "\\;") + ";")
        return self.answer()

    def batch(self, request):
        self.send("".join(pasted(request["sql"], row) + ";\n" for row in request["rows"]))
        return self.answer()

    def transaction(self, request):
        self.run({"sql": "begin"})
        answers = [self.run(step) for step in request["steps"]]
        self.run({"sql": "rollback"})
        return {"answers": answers}

    def copy_in(self, request):
        self.send(f"copy {request['table']} from stdin;\n" + "".join(line + "\n" for line in request["lines"]) + "\\.")
        return self.answer()

    def copy_out(self, request):
        self.send(f"copy ({request['sql']}) to stdout;")
        lines, errors = self.up_to_mark(self.psql.stdout).splitlines(), self.up_to_mark(self.psql.stderr)
        return error(None, errors, None) if errors else {"lines": lines}

    def cancel(self, request):
        """As by Ctrl-C. A psql that reads a script then ends; the next one goes on."""
        self.send(request["sql"] + ";")
        next_line()
        self.psql.send_signal(signal.SIGINT)
        answer = self.answer()
        self.psql.stdin.close()
        self.psql.wait()
        self.start()
        return answer


if __name__ == "__main__":
    session = Session()
    serve(session)
    session.psql.stdin.close()
    sys.exit(session.psql.wait())
