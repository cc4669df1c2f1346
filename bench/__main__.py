"""`make bench`: the figures that the project promises, measured as whole processes and printed as ratios.

Usage: python -m bench [--runs N], or python -m bench alerts [--full] [--only NAME]
"""

import argparse
import gzip
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench import alerts, judging, sources, validation
from config import mongod

EVENTS: Final = (
    Path(__file__).parent.parent / "tests" / "data" / "git_events" / "alphagov__collections" / "events.jsonl.gz"
)
FROM, TO, ONE_YEAR = "2014-04-03", "2026-08-21", "2015-04-02"
MIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process: wall and CPU seconds, peak memory of its largest process in KiB."""

    wall: float
    cpu: float
    peak: int


def timed(command: Sequence[str], environment: dict[str, str]) -> Run:
    """Run `command` to its end. Raises CalledProcessError if it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, output.read())
    return Run(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


class Bench:
    """One folder, one server, many databases."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.uri = uri

    def environment(self, database: str, files: str = str(EVENTS)) -> dict[str, str]:
        """What a command needs to work on `database` with `files` as its source."""
        config = self.folder / f"{database}.toml"
        config.write_text(f'[[sources]]\nname = "history"\ntype = "replay"\npaths = ["{files}"]\n', encoding="utf-8")
        return os.environ | {
            "TOUCHSTONE_CONFIG": str(config),
            "TOUCHSTONE_MONGO_URI": self.uri,
            "TOUCHSTONE_MONGO_DATABASE": database,
        }

    def backfill(self, environment: dict[str, str], to: str = TO, *, checks: bool = True) -> Run:
        """`touchstone backfill` as a process of its own."""
        environment = environment | {"TOUCHSTONE_QUALITY_CHECKS": str(checks).lower()}
        return timed([sys.executable, "-m", "tasks.cli", "backfill", "--from", FROM, "--to", to], environment)

    def floor(self) -> Run:
        """The plain script as a process of its own."""
        return timed([sys.executable, "-m", "bench.floor", str(EVENTS), self.uri, name()], dict(os.environ))


def name() -> str:
    """A database that nobody has used."""
    return f"bench_{secrets.token_hex(5)}"


def late_item(folder: Path, number: int) -> None:
    """One more tag in the middle of the history, on a commit that is there."""
    with gzip.open(EVENTS) as lines:
        tags = [event for event in map(json.loads, lines) if event["type"] == "tag"]
    tag = tags[len(tags) // 2 + number]
    late = tag | {"name": f"late_{number}", "tag_ts": tag["tag_ts"] + 60}
    (folder / f"late_{number}.jsonl").write_text(json.dumps(late) + "\n", encoding="utf-8")


def figures(bench: Bench, runs: int) -> list[tuple[str, str, str, str]]:
    """What was measured: title, seconds, ratio, and what was promised."""
    triples = [
        (
            bench.backfill(bench.environment(name())),
            bench.backfill(bench.environment(name()), checks=False),
            bench.floor(),
        )
        for _ in range(runs)
    ]
    full = [checked for checked, _, _ in triples]
    pairs = [(unchecked, floor) for _, unchecked, floor in triples]
    checks = [(checked, unchecked) for checked, unchecked, _ in triples]
    imports = [sys.executable, "-c", "import luigi, pymongo"]
    late: dict[bool, list[tuple[Run, Run]]] = {}
    for checked in (False, True):
        folder = bench.folder / f"files {checked}"
        folder.mkdir()
        (folder / EVENTS.name).symlink_to(EVENTS)
        environment = bench.environment(name(), f"{folder}/*.jsonl*")
        bench.backfill(environment, checks=checked)
        if checked:
            again = [(bench.backfill(environment), timed(imports, dict(os.environ))) for _ in range(2 * runs)]
        late[checked] = []
        for number in range(runs):
            late_item(folder, number)
            one = bench.backfill(environment, checks=checked)
            late[checked].append((one, bench.backfill(environment, checks=checked)))
    year = bench.backfill(bench.environment(name()), ONE_YEAR)

    return [
        line("(a) 12-year backfill without checks / plain script", pairs, "at most 15 x"),
        line("(b) the same again / import luigi, pymongo", again, "at most 6 x and 2 s"),
        line("(c) one late item / nothing new, without checks", late[False], "at most 2 x"),
        (
            "(d) peak memory of twelve years; of one",
            f"{max(run.peak for run in full) / MIB:.0f} MiB; {year.peak / MIB:.0f} MiB",
            f"{max(run.peak for run in full) / year.peak:.2f} x",
            "below 350 MB, not growing",
        ),
        line("(e) 12-year backfill with all checks / without", checks, "at most 2 x"),
        validation.figure(),
        line("(g) one late item / nothing new, with all checks", late[True], "Great Expectations starts"),
        judging.figure(bench.uri, runs),
        *sources.figures(bench.uri, pulls=3_000, concurrency=8, latency=20.0),
    ]


def line(title: str, pairs: Sequence[tuple[Run, Run]], promised: str) -> tuple[str, str, str, str]:
    """Medians of both sides, and of the ratios pair by pair (wall; CPU of our processes in brackets)."""
    ours = statistics.median(run.wall for run, _ in pairs)
    cpu = statistics.median(run.cpu for run, _ in pairs)
    theirs = statistics.median(run.wall for _, run in pairs)
    ratio = statistics.median(a.wall / b.wall for a, b in pairs)
    return title, f"{ours:.2f} s (cpu {cpu:.2f}) / {theirs:.2f} s", f"{ratio:.1f} x", promised


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["alerts"]:
        alerts.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each pair is run (medians are printed)")
    runs = parser.parse_args().runs
    table = Table(
        "what", "medians, whole processes", "ratio", "promised", title=f"alphagov/collections, {FROM} to {TO}"
    )
    with tempfile.TemporaryDirectory() as folder, mongod.embedded(Path(folder) / "state") as server:
        for row in figures(Bench(Path(folder), server.uri), runs):
            table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
