"""What the Python programs of this directory share: the loop that answers, and values inward and outward.

One JSON request a line comes in and names an operation, a method of the session; one JSON answer a line
goes out. Values are JSON's own, and {"bytes": "<hex digits>"}."""

import datetime
import decimal
import json
import sys
import threading
import uuid


def inward(value):
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value


def outward(value):
    """A value of the driver's in the form that all drivers answer with."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, (bytes, memoryview)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def next_line():
    """Blocks until the test says to go on in the middle of an operation."""
    return sys.stdin.readline()


def cancelled(run, cancel):
    """Runs the one in a thread until the test says that it is time to call the other; the answer of `run`."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(run()))
    thread.start()
    next_line()
    cancel()
    thread.join()
    return answers[0]


def serve(session):
    while line := next_line():
        request = json.loads(line)
        print(json.dumps(getattr(session, request["op"])(request)), flush=True)
