#!/usr/bin/env python3
"""asyncpg on a leash, see leashed.py. It speaks the protocol by itself, without libpq: everything with
parameters is prepared under a name, described, and read in binary."""

import asyncio
import io

import asyncpg

from leashed import inward, next_line, outward, serve


def about(fault):
    return {"error": {"class": type(fault).__name__, "sqlstate": fault.sqlstate, "message": fault.message,
                      "hint": fault.hint}}


class Session:
    """The operations are coroutines behind a loop that runs only while one of them does."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.conn = None
        self.notices = []

    def __getattr__(self, name):
        operation = getattr(type(self), "do_" + name)
        return lambda request: self.loop.run_until_complete(operation(self, request))

    async def do_connect(self, request):
        self.conn = await asyncpg.connect(
            host="127.0.0.1", port=request["port"], user=request["user"], database=request["database"],
            ssl=request["sslmode"])
        self.conn.add_log_listener(lambda _, n: self.notices.append([n.severity, n.sqlstate, n.message]))
        return {"version": asyncpg.__version__}

    async def do_run(self, step):
        values = [inward(v) for v in step.get("values") or []]
        self.notices.clear()
        try:
            # What the statement is takes a prepared one to tell; the driver keeps it by its text.
            if step.get("values") is None and not step["sql"].lower().startswith(("select", "show")):
                return {"tag": await self.conn.execute(step["sql"]), "columns": [], "rows": [],
                        "notices": list(self.notices)}
            rows = await self.conn.fetch(step["sql"], *values)
            return {"tag": None, "columns": list(rows[0].keys()) if rows else [],
                    "rows": [[outward(v) for v in row] for row in rows], "notices": list(self.notices)}
        except asyncpg.PostgresError as fault:
            return about(fault)

    async def do_several(self, request):
        await self.conn.execute(request["sql"])
        return {}

    async def do_batch(self, request):
        await self.conn.executemany(request["sql"], request["rows"])
        return {}

    async def do_transaction(self, request):
        transaction = self.conn.transaction()
        await transaction.start()
        answers = [await self.do_run(step) for step in request["steps"]]
        await transaction.rollback()
        return {"answers": answers}

    async def do_copy_in(self, request):
        lines = "".join(line + "\n" for line in request["lines"])
        await self.conn.copy_to_table(request["table"], source=io.BytesIO(lines.encode()))
        return {}

    async def do_copy_out(self, request):
        out = io.BytesIO()
        await self.conn.copy_from_query(request["sql"], output=out)
        return {"lines": out.getvalue().decode().splitlines()}

    async def do_cancel(self, request):
        """A task that is cancelled makes the driver cancel its statement, in the background: the next one
        waits for that. The error ends with the task, so the answer is only that it did."""
        task = asyncio.create_task(self.conn.fetch(request["sql"]))
        await asyncio.to_thread(next_line)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            await self.conn.fetch("select 1")
            return {"error": {"class": "CancelledError", "sqlstate": None}}
        return {"rows": []}


if __name__ == "__main__":
    serve(Session())
