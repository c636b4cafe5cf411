#!/usr/bin/env python3
"""Tables of a run of bench/proxy.sh: medians over the rounds, ratios as medians of the ratios within a round, and the
targets beside what was measured.

tables.py RESULTS-DIRECTORY
"""
import collections
import os
import statistics
import sys

SUITES = (  # suite, heading, what `rate` is, what `cpu` is
    ("ping", "Round trip of SELECT 1, one connection, microseconds", None, "CPU s per million"),
    ("query", "pgbench -S: protocol, clients", "queries/s", "CPU s per million"),
    ("pipe", "Pipelines", "queries/s", "CPU s per million"),
    ("connect", "A new connection for every query: authentication, clients", "connections/s", "CPU s per million"),
    ("copy", "COPY", "MB/s", "CPU s per GB"),
    ("tlsping", "TLS: round trip of SELECT 1, one connection, microseconds", None, "CPU s per million"),
    ("tls", "TLS: queries and new connections", "per second", "CPU s per million"),
    ("tlscopy", "TLS: COPY", "MB/s", "CPU s per GB"),
    ("loops", "One event loop (pgkeep-1) and two", "queries/s", "CPU s per million"),
    ("idle", "Idle connections: memory of each (proportional share)", "kB", None),
    ("micro", "Looking at a message", "ns", None),
)
CONTENDERS = ("direct", "relay", "pgbouncer", "haproxy", "pgkeep", "pgkeep-1", "pgkeep-2")  # in this order
BASES = ("direct", "relay", "pgbouncer", "haproxy", "pgkeep-1")  # what ratios are taken against

TARGETS = (  # what, suite, metric, against whom, at least or at most, bound
    ("queries: throughput against the relay", "query", "rate", "relay", "at least", 0.97),
    ("queries: throughput against PgBouncer", "query", "rate", "pgbouncer", "at least", 1.0),
    ("queries: throughput against HAProxy", "query", "rate", "haproxy", "at least", 1.0),
    ("queries: CPU against the relay", "query", "cpu", "relay", "at most", 1.05),
    ("queries: CPU against PgBouncer", "query", "cpu", "pgbouncer", "at most", 1.0),
    ("round trip: added median against the relay's", "ping", "added p50", "relay", "at most", 1.05),
    ("round trip: 99th percentile against HAProxy's", "ping", "p99", "haproxy", "at most", 1.0),
    ("pipelines: throughput against the relay", "pipe", "rate", "relay", "at least", 0.97),
    ("pipelines: CPU against the relay", "pipe", "cpu", "relay", "at most", 1.05),
    ("COPY: CPU of a GB against the relay", "copy", "cpu", "relay", "at most", 1.05),
    ("COPY: throughput against HAProxy", "copy", "rate", "haproxy", "at least", 1.0),
    ("TLS: CPU of a query against PgBouncer", "tls", "cpu", "pgbouncer", "at most", 0.85),
    ("TLS: throughput against PgBouncer", "tls", "rate", "pgbouncer", "at least", 1.0),
    ("TLS: CPU of a GB of COPY against PgBouncer", "tlscopy", "cpu", "pgbouncer", "at most", 0.75),
    ("new connections: rate against the relay", "connect", "rate", "relay", "at least", 0.97),
    ("new connections: CPU against the relay", "connect", "cpu", "relay", "at most", 1.1),
)
IDLE_KB = {"plain": 1.5, "tls": 16}
GATE_SHARE = 0.01  # of the CPU of a forwarded short query
GATE_OF = "gate: pgbench -S"
FLOOR = "floor: system calls of a forwarded query"


class Run:
    """The samples of a run, from raw.tsv."""

    def __init__(self, path):
        self.values = collections.defaultdict(dict)  # (suite, case, who, metric) -> round -> value
        self.cases = collections.defaultdict(list)
        self.who = collections.defaultdict(list)
        with open(path, encoding="ascii") as file:
            for line in file:
                suite, case, number, who, metric, value = line.rstrip("\n").split("\t")
                self.values[suite, case, who, metric][number] = float(value)
                if case not in self.cases[suite]:
                    self.cases[suite].append(case)
                if who not in self.who[suite, case]:
                    self.who[suite, case].append(who)
                    self.who[suite, case].sort(key=CONTENDERS.index)

    def each(self, suite, case, who, metric):
        """By round; "added p50" is what it is above the direct one."""
        found = self.values.get((suite, case, who, metric.removeprefix("added ")), {})
        if not metric.startswith("added "):
            return found
        direct = self.each(suite, case, "direct", metric.removeprefix("added "))
        return {number: value - direct[number] for number, value in found.items() if number in direct}

    def median(self, suite, case, who, metric):
        found = self.each(suite, case, who, metric)
        return statistics.median(found.values()) if found else None

    def ratios(self, suite, case, who, base, metric):
        """Of each round, in order of size."""
        mine, theirs = self.each(suite, case, who, metric), self.each(suite, case, base, metric)
        return sorted(mine[number] / theirs[number] for number in mine if theirs.get(number, 0) > 0)


def cell(value, digits=None):
    if value is None:
        return "-"
    if digits is None:
        digits = 0 if value >= 1000 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:.{digits}f}"


def middle(values):
    return statistics.median(values) if values else None


def table(run, suite, heading, rate, cpu):
    if not run.cases[suite]:
        return
    columns = ["p50", "p99", "added p50"] if rate is None else ["rate"]
    names = ["median", "99 %", "added"] if rate is None else [rate]
    if cpu:
        columns.append("cpu")
        names.append("proxy's " + cpu)
    bases = [b for b in BASES if any(b in run.who[suite, case] for case in run.cases[suite])]
    print(f"\n### {heading}\n")
    print("| case | | " + " | ".join(names + ["x " + base for base in bases]) + " |")
    print("|---|---|" + "---:|" * (len(names) + len(bases)))
    for case in run.cases[suite]:
        for who in run.who[suite, case]:
            found = [cell(run.median(suite, case, who, column)) for column in columns]
            found += [cell(middle(run.ratios(suite, case, who, base, columns[0])), 2) for base in bases]
            print(f"| {case} | {who} | " + " | ".join(found) + " |")


def say_target(what, case, way, bound, ratios):
    """Rounds disagree: where the bound lies within their middle half, this run does not decide it."""
    value = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (value,) * 3
    verdict = "met" if (value >= bound if way == "at least" else value <= bound) else "missed"
    if low < bound < high:
        verdict += ", within noise"
    spread = f"{low:.2f} to {high:.2f}" if len(ratios) > 1 else ""
    print(f"| {what} | {way} {bound} | {cell(value)} | {spread} | {case} | {verdict} |")


def ratio_targets(run):
    for what, suite, metric, base, way, bound in TARGETS:
        found = [(run.ratios(suite, case, "pgkeep", base, metric), case) for case in run.cases[suite]
                 if base != "pgbouncer" or not case.startswith("new connection")]  # it re-uses those to the server
        found = [(statistics.median(ratios), case, ratios) for ratios, case in found if ratios]
        if found:
            _, case, ratios = min(found) if way == "at least" else max(found)
            say_target(what, case, way, bound, ratios)


def other_targets(run):
    for case in run.cases["idle"]:
        value = run.median("idle", case, "pgkeep", "rate")
        if value is not None:
            say_target("kB of an idle connection", case, "at most", IDLE_KB[case.partition(",")[0]], [value])
    for case in run.cases["loops"]:
        ratios = run.ratios("loops", case, "pgkeep-2", "pgkeep-1", "rate")
        if ratios:
            say_target("two loops against one", case, "at least", 1.0, ratios)
    gate = run.median("micro", GATE_OF, "pgkeep", "rate")
    if gate is None:
        return
    say_target("gate, share of the least CPU of a forwarded query", "floor", "at most", GATE_SHARE,
               [gate / run.median("micro", FLOOR, "pgkeep", "rate")])
    of_query = [(run.median("query", case, "pgkeep", "cpu"), case) for case in run.cases["query"]]
    of_query = [pair for pair in of_query if pair[0]]
    if of_query:  # CPU seconds of a million queries are microseconds of one
        cpu, case = min(of_query)
        say_target("gate, share of the measured CPU of a query", case, "at most", GATE_SHARE, [gate / (cpu * 1000)])


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: tables.py RESULTS-DIRECTORY")
    run = Run(os.path.join(sys.argv[1], "raw.tsv"))
    for name in ("machine.txt", "notes.txt"):
        with open(os.path.join(sys.argv[1], name), encoding="utf-8") as file:
            print("".join("- " + line for line in file), end="")
    others = [value for key, found in run.values.items() if key[3] == "foreign" for value in found.values()]
    if others:
        print(f"- other processes took {statistics.median(others):.0f} % of the machine (median of the samples; "
              f"a tenth of them: {statistics.quantiles(others, n=10)[8]:.0f} % or more)")
    print("\n### Targets\n\nRatios of pgkeep, for each target its worst case, with the quartiles of the rounds.\n")
    print("| target | bound | measured | quartiles | worst case | |\n|---|---:|---:|---:|---|---|")
    ratio_targets(run)
    other_targets(run)
    for suite in SUITES:
        table(run, *suite)


if __name__ == "__main__":
    main()
