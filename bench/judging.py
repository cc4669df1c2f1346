"""What it costs to judge one day of 1,000 series in place: a fresh process, its imports, a year of history, a server.

Usage: python -m bench.judging [--runs N]

Forests are fitted anew, and not kept with skops, for that is not faster: fitting 150 trees to 20,000 rows took 0.25 to
0.37 s of CPU, importing skops 0.14 0.23 s and loading the fitted forest (4 MiB) from memory another 0.12 to 0.19 s,
on the same busy machine in turns; and the threshold must be calibrated anew either way.
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from config import mongo, mongod, schema, settings
from quality import observations
from quality.observations import Observation, Series

STREAMS: Final = 80
DAYS: Final = 365
RATIOS: Final = ("duplicate_ratio", *(f"null_ratio.field_{n}" for n in range(5)), "top_share.author")
COUNTS: Final = ("rows", "distinct.key", "distinct.author")
AMOUNTS: Final = ("freshness_seconds", "mean.size")
MEASURES: Final = (*COUNTS, *RATIOS, *AMOUNTS, "mean.lines")
"""12 of the streams of even number, 13 of the others."""
UNJUDGED: Final = ("receipt.coverage", "min.size", "max.size")
PROMISED: Final = "at most 3 s, below 500 MB"


def fill(name: str, last: int, first: int = 0) -> None:
    """Record the days that lie from `first` to `last` days before today into the database."""
    db = mongo.database(settings.load())
    schema.ensure(db)
    for stream in range(STREAMS):
        told = _observed(stream, range(first, last))
        observations.append(db, told, run_id=name, recorded_at=datetime.now(UTC))


def _observed(stream: int, days: range) -> Iterator[Observation]:
    measures = (*MEASURES[: 12 + stream % 2], *UNJUDGED)
    series = {measure: Series("bronze.git.commits", f"acme/service-{stream}", measure) for measure in measures}
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for back in days:
        at = today - timedelta(days=back)
        rnd = random.Random(1000 * at.toordinal() + stream)  # noqa: S311 - no secret
        usual = (20 + 5 * stream) * (0.15 if at.weekday() > 4 else 1)
        rows = max(1, round(rnd.gauss(usual, usual**0.5)))
        for measure, of in series.items():
            if measure in COUNTS:
                value: float = rows if measure != "distinct.author" else max(1, round(rows**0.5 + rnd.gauss(0, 1)))
            elif measure in AMOUNTS or measure not in RATIOS:
                value = rnd.lognormvariate(5, 0.4)
            else:
                value = min(1.0, rnd.betavariate(2, 40))
            yield Observation(of, at, value)


def judge() -> None:
    """As a run does, in this process; print what it took."""
    began = time.perf_counter()
    from tasks import judge as task  # noqa: PLC0415 - its import is part of what is measured
    from tasks.context import Context  # noqa: PLC0415

    windows = task.bring(Context.open("bench"))
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall = time.perf_counter() - began
    print(windows, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def measured(uri: str, runs: int) -> list[list[float]]:
    """Of each run, each in a process of its own: windows, wall and CPU seconds, MiB at most."""
    found = []
    for run in range(runs):
        name = f"bench_judging_{os.getpid()}_{run}"
        environment = os.environ | {"TOUCHSTONE_MONGO_URI": uri, "TOUCHSTONE_MONGO_DATABASE": name}
        for step in (["--fill", str(DAYS), "2"], ["--judge"], ["--fill", "2", "1"], ["--judge"], ["--judge"]):
            command = [sys.executable, "-m", "bench.judging", *step]
            began = time.perf_counter()
            told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
            if step == ["--judge"]:
                windows, _, cpu, peak = (float(one) for one in told)
                found.append([windows, time.perf_counter() - began, cpu, peak])
    return found


def figure(uri: str, runs: int) -> tuple[str, str, str, str]:
    """A row of the table."""
    news = [run for run in measured(uri, runs) if run[0] == STREAMS]
    wall, cpu, peak = (statistics.median(run[n] for run in news) for n in (1, 2, 3))
    return "(h) one day of 1,000 series judged", f"{wall:.2f} s (cpu {cpu:.2f}), {peak:.0f} MiB", "", PROMISED


def main() -> None:
    """Measure and print; or one step of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--fill", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--judge", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fill:
        fill("bench", *asked.fill)
    elif asked.judge:
        judge()
    else:
        with tempfile.TemporaryDirectory() as folder, mongod.embedded(Path(folder)) as server:
            for windows, wall, cpu, peak in measured(server.uri, asked.runs):
                print(f"{windows:5.0f} windows: {wall:.2f} s wall, {cpu:.2f} s CPU, {peak:.0f} MiB")


if __name__ == "__main__":
    main()
