#!/usr/bin/env python3
"""Thousands of idle sessions and some that ask without a pause, through pgkeep to a stand-in server: every byte
compared, no connection lost, memory flat. PK_SOAK says how long, in seconds; a short run by default."""

import contextlib
import os
import resource
import subprocess

import pk
from pk import case, expect, expect_in

SECONDS = int(os.environ.get("PK_SOAK", "10"))
BUSY = 100
SESSION_MAX = 1536  # bytes of ours for an idle session
GROWTH_MAX = 4 << 20  # of a run: what allocators keep


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


class StandIn:
    """Looks like a server to pk.Pgkeep."""

    def __init__(self):
        self.port = pk.free_port()
        self.process = subprocess.Popen([os.path.join(pk.options.tools, "bench_stand_in"), str(self.port)],
                                        stdin=subprocess.DEVNULL, start_new_session=True)

    def service(self):
        return f"host={pk.HOST} port={self.port} user=bench dbname=bench"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pk.end_process(self.process)


@contextlib.contextmanager
def world():
    with pk.temporary_directory() as directory, StandIn() as server:
        yield directory, server


@case("every answer is right, and memory is flat")
def test_soak(world):
    directory, server = world
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    idle = min(9000, (room - 200) // 2 - BUSY)  # two descriptors a session in pgkeep
    with pk.Pgkeep(directory, server, settings=["log.level=info"]) as keeper:
        empty = resident(keeper.process.pid)
        soak = subprocess.Popen([os.path.join(pk.options.tools, "bench_soak"), str(keeper.port), str(idle), str(BUSY),
                                 str(SECONDS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        expect(soak.stdout.readline() == "ready\n", "all are connected", keeper.log()[-2000:])
        full = resident(keeper.process.pid)
        out, _ = soak.communicate("go\n", timeout=SECONDS + 150)
        expect(soak.returncode == 0, "an answer was wrong or missing", out, keeper.log()[-2000:])
        expect_in("answered", out, "the sum")
        after = resident(keeper.process.pid)
        each = (full - empty) / (idle + BUSY)
        print(f"# {idle} idle and {BUSY} busy sessions, {SECONDS} s: {out.strip()}; {each:.0f} bytes a session, "
              f"{(after - full) >> 10} KiB more after the run")
        if is_plain_build(keeper):
            expect(each <= SESSION_MAX, f"an idle session takes {each:.0f} bytes")
            expect(after - full <= GROWTH_MAX, f"memory grew by {after - full} bytes")


def is_plain_build(keeper):
    """Sanitizers have a memory of their own."""
    with open(f"/proc/{keeper.process.pid}/maps", encoding="utf-8", errors="replace") as maps:
        text = maps.read()
    return "asan" not in text and "tsan" not in text


if __name__ == "__main__":
    pk.main(world)
