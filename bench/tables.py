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
    ("copy", "COPY of 1 GB", "MB/s", "CPU s per GB"),
    ("tlsping", "TLS: round trip, microseconds", None, "CPU s per million"),
    ("tls", "TLS: queries and new connections", "per second", "CPU s per million"),
    ("tlscopy", "TLS: COPY of 1 GB", "MB/s", "CPU s per GB"),
    ("loops", "Event loops", "queries/s", "CPU s per million"),
    ("idle", "Idle connections, kB of each (proportional share)", "kB", None),
)

TARGETS = (  # what, suite, metric, against whom, at least or at most, bound
    ("throughput against the relay", "query", "rate", "relay", "at least", 0.97),
    ("throughput against PgBouncer", "query", "rate", "pgbouncer", "at least", 1.0),
    ("throughput against HAProxy", "query", "rate", "haproxy", "at least", 1.0),
    ("CPU of a query against the relay", "query", "cpu", "relay", "at most", 1.05),
    ("CPU of a query against PgBouncer", "query", "cpu", "pgbouncer", "at most", 1.0),
    ("added latency, median, against the relay's", "ping", "added p50", "relay", "at most", 1.05),
    ("99th percentile against HAProxy's", "ping", "p99", "haproxy", "at most", 1.0),
    ("pipelines against the relay", "pipe", "rate", "relay", "at least", 0.97),
    ("CPU of a pipeline against the relay", "pipe", "cpu", "relay", "at most", 1.05),
    ("CPU of a GB of COPY against the relay", "copy", "cpu", "relay", "at most", 1.05),
    ("COPY against HAProxy", "copy", "rate", "haproxy", "at least", 1.0),
    ("new connections against the relay", "connect", "rate", "relay", "at least", 0.97),
    ("CPU of a new connection against the relay", "connect", "cpu", "relay", "at most", 1.1),
    ("TLS: CPU of a query against PgBouncer", "tls", "cpu", "pgbouncer", "at most", 0.85),
    ("TLS: throughput against PgBouncer", "tls", "rate", "pgbouncer", "at least", 1.0),
    ("TLS: CPU of a GB of COPY against PgBouncer", "tlscopy", "cpu", "pgbouncer", "at most", 0.75),
)


class Run:
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

    def ratio(self, suite, case, who, base, metric):
        mine, theirs = self.each(suite, case, who, metric), self.each(suite, case, base, metric)
        found = [mine[number] / theirs[number] for number in mine if theirs.get(number, 0) > 0]
        return statistics.median(found) if found else None


def cell(value, digits=None):
    if value is None:
        return "-"
    return f"{value:.{(0 if value >= 1000 else 1 if value >= 10 else 3) if digits is None else digits}f}"


def table(run, suite, heading, rate, cpu):
    if not run.cases[suite]:
        return
    latency = rate is None
    columns = ["p50", "p99", "added p50"] if latency else ["rate"]
    names = ["median", "99 %", "added"] if latency else [rate]
    if cpu:
        columns.append("cpu")
        names.append("proxy's " + cpu)
    bases = [b for b in ("direct", "relay", "pgbouncer", "haproxy", "pgkeep-1")
             if any(b in run.who[suite, case] for case in run.cases[suite])]
    print(f"\n### {heading}\n")
    print("| case | | " + " | ".join(names + ["x " + base for base in bases]) + " |")
    print("|---|---|" + "---:|" * (len(names) + len(bases)))
    for case in run.cases[suite]:
        for who in run.who[suite, case]:
            found = [cell(run.median(suite, case, who, column)) for column in columns]
            found += [cell(run.ratio(suite, case, who, base, columns[0]), 2) for base in bases]
            print(f"| {case} | {who} | " + " | ".join(found) + " |")


def targets(run):
    print("\n### Targets\n\nRatios of pgkeep, the worst case of each suite.\n")
    print("| target | case | bound | measured | |\n|---|---|---:|---:|---|")
    for what, suite, metric, base, way, bound in TARGETS:
        found = [(run.ratio(suite, case, "pgkeep", base, metric), case) for case in run.cases[suite]]
        found = [pair for pair in found if pair[0] is not None]
        if not found:
            continue
        value, case = min(found) if way == "at least" else max(found)
        good = value >= bound if way == "at least" else value <= bound
        print(f"| {what} | {case} | {way} {bound} | {value:.2f} | {'met' if good else 'missed'} |")
    for case in run.cases["idle"]:
        value, bound = run.median("idle", case, "pgkeep", "rate"), 1.5 if case.startswith("plain") else 16
        if value is not None:
            print(f"| kB of an idle connection | {case} | at most {bound} | {value:.2f} | {'met' if value <= bound else 'missed'} |")
    for case in run.cases["loops"]:
        value = run.ratio("loops", case, "pgkeep-2", "pgkeep-1", "rate")
        if value is not None:
            print(f"| two loops against one | {case} | more than 1 | {value:.2f} | {'met' if value > 1 else 'missed'} |")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: tables.py RESULTS-DIRECTORY")
    run = Run(os.path.join(sys.argv[1], "raw.tsv"))
    with open(os.path.join(sys.argv[1], "machine.txt"), encoding="utf-8") as file:
        print("".join("- " + line for line in file), end="")
    targets(run)
    for suite in SUITES:
        table(run, *suite)


if __name__ == "__main__":
    main()
