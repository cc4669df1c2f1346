"""The detector on real histories: what it would have said of them day by day, and what it finds of injected faults.

Each recorded git history goes through the real pipeline into a database of its own, and all of it is judged at the
default budget. Every alarm is listed with its explanation, then the self-test, then two things that are known of
alphagov/collections: in 2023 no tags were made for months while commits went on, and Christmas is no fault.

Usage: python -m bench.histories DIR [--only NAME] [--charts FOLDER]      DIR holds <owner>__<repo>/events.jsonl.gz
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.__main__ import name
from config import mongo, mongod, settings
from quality.detector import history, judging
from quality.detector.backtest import Replayed, replay
from quality.detector.history import Panelled
from quality.detector.selftest import selftest
from tasks import backtests, selftests
from tasks.backtests import Backtest
from tasks.selftests import Selftest

COUNTRIES: Final = {"alphagov/collections": ("GB", "ENG")}
"""Whose holidays are given in advance. The other two are made all over the world."""
GAPPED: Final = "alphagov/collections"
CHRISTMAS: Final = ((12, 24), (1, 2))
"""From the first to the second of these days."""
WEEKS: Final = timedelta(days=14)
LEAST_GAP: Final = timedelta(days=60)
TRIED: Final = 730
"""Days in which the self-test puts faults."""


def read(path: Path) -> tuple[str, dict[str, list[date]]]:
    """The name of the repository, and the days of its events by their type."""
    days: dict[str, list[date]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            moment = datetime.fromtimestamp(event.get("tag_ts") or event["commit_ts"], UTC)
            days.setdefault(event["type"], []).append(moment.date())
    return event["repo"], {kind: sorted(found) for kind, found in days.items()}


@contextmanager
def prepared(path: Path, repository: str, days: tuple[date, date], folder: Path, uri: str) -> Iterator[None]:
    """The history in a database of its own, and settings that name it. Raises CalledProcessError."""
    config = folder / f"{path.parent.name}.toml"
    country = ""
    if repository in COUNTRIES:
        country = '[detector]\ncountry = "{}"\nsubdivision = "{}"\n'.format(*COUNTRIES[repository])
    source = f'[[sources]]\nname = "history"\ntype = "replay"\npaths = ["{path.resolve()}"]\n'
    config.write_text(source + country, encoding="utf-8")
    changed = {
        settings.CONFIG_VARIABLE: str(config), "TOUCHSTONE_MONGO_URI": uri, "TOUCHSTONE_MONGO_DATABASE": name(),
    }  # fmt: skip
    before = {key: os.environ.get(key) for key in changed}
    os.environ.update(changed)
    settings.load.cache_clear()
    try:
        command = [sys.executable, "-m", "tasks.cli", "backfill", "--from", str(days[0]), "--to", str(days[1])]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        yield
    finally:
        mongo.close()
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
        settings.load.cache_clear()


def judged(days: tuple[date, date]) -> tuple[Backtest, Selftest]:
    """All of the history at the default budget, and the self-test in its last two years."""
    loaded = settings.load()
    options, budget = judging.options(loaded), loaded.detector.false_alarms_per_series_per_quarter
    backtest = Backtest(days[0], days[1], budget, replay(known(days, (days[1] - days[0]).days + 1), options), loaded)
    began, first = time.monotonic(), days[1] - timedelta(days=TRIED - 1)
    recent = replay(known(days, TRIED + loaded.detector.history_days), options, first)
    trials = list(selftest(recent, options, first))
    return backtest, Selftest(first, budget, options.seed, recent, trials, time.monotonic() - began)


def known(days: tuple[date, date], number: int) -> list[Panelled]:
    """So many days up to the last one, as they stand in the database."""
    loaded = settings.load()
    return history.streams(mongo.database(loaded), loaded, until=days[1], now=datetime.now(UTC), days=number)


def gap_of_tags(tags: list[date], commits: list[date]) -> tuple[date, date]:
    """First and last day of the longest time in 2023 with commits and without a tag."""
    days = sorted({day for day in tags if date(2022, 12, 1) <= day <= date(2024, 1, 31)})
    before, after = max(pairwise(days), key=lambda pair: pair[1] - pair[0])
    gap = before + timedelta(days=1), after - timedelta(days=1)
    assert gap[1] - gap[0] > LEAST_GAP  # noqa: S101 - else this is another recording
    assert sum(gap[0] <= day <= gap[1] for day in commits) > LEAST_GAP.days  # noqa: S101
    return gap


def alarms(streams: list[Replayed]) -> Iterator[tuple[date, str]]:
    """Each day with an alarm, and of what."""
    for one in streams:
        for alert in one.alerts:
            for row in alert.rows:
                yield one.day(row), f"{one.of.dataset} {one.of.scope}"


def is_christmas(day: date) -> bool:
    """Whether it is one of the days on which nobody works."""
    return (day.month, day.day) >= CHRISTMAS[0] or (day.month, day.day) <= CHRISTMAS[1]


def known_things(found: Backtest, days: dict[str, list[date]], console: Console) -> None:
    """The gap must be found within its first two weeks, and there must be no alarm at Christmas."""
    gap = gap_of_tags(days["tag"], days["commit"])
    raised = sorted(alarms(list(found.streams)))
    seen = [(day, where) for day, where in raised if gap[0] <= day <= gap[1]]
    first, where = seen[0] if seen else (None, "")
    well = first is not None and first < gap[0] + WEEKS
    told = f"first alarm {first}, {(first - gap[0]).days + 1} days in, of {where}" if first else "no alarm"
    console.print(f"{'OK' if well else 'MISSED'}: no tags {gap[0]} to {gap[1]}: {told}", markup=False)
    xmas = [(day, where) for day, where in raised if is_christmas(day)]
    told = f"{found.last.year - found.first.year} Christmases, {len(xmas)} alarms on Dec 24 to Jan 2"
    console.print(f"{'ALARMED' if xmas else 'OK'}: {told}", markup=False)
    for day, where in xmas:
        console.print(f"  {day} {where}", markup=False)


def main() -> None:
    """Judge each history, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of <owner>__<repo>/events.jsonl.gz")
    parser.add_argument("--only", help="the name of one repository")
    parser.add_argument("--charts", type=Path, help="draw charts into this folder")
    asked = parser.parse_args()
    console = Console(width=160, highlight=False)
    with tempfile.TemporaryDirectory() as folder, mongod.embedded(Path(folder) / "state") as server:
        for path in sorted(asked.folder.glob("*/events.jsonl.gz")):
            repository, events = read(path)
            if asked.only not in {None, repository}:
                continue
            days = events["commit"][0], max(found[-1] for found in events.values())
            console.rule(f"{repository}, {days[0]} to {days[1]}")
            began = time.monotonic()
            with prepared(path, repository, days, Path(folder), server.uri):
                console.print(f"backfilled in {time.monotonic() - began:.0f} s")
                backtest, tested = judged(days)
                backtests.show(backtest, console)
                console.print()
                selftests.show(tested, console)
                if repository == GAPPED:
                    known_things(backtest, events, console)
                if asked.charts:
                    backtests.draw(backtest, asked.charts, console)


if __name__ == "__main__":
    main()
