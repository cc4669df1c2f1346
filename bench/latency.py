"""How long an incident takes from its commit to Slack, against a bare loop that watches the same server."""

import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from alerting.store import Store
from bench import bare
from bench.loopback import Loopback
from bench.notifying import CHANNELS, Row, Site, database, end, opened, report, wait_for
from config import schema

EACH: Final = 300
"""Incidents of either side whose latency is measured."""
BLOCK: Final = 50
RATE: Final = 20
"""A second, so that no channel waits for its second to pass."""
WARM_UP: Final = 40


class Commits(CommandListener):
    """When each document was sent to be inserted, and when that was acknowledged; epoch seconds."""

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}
        self.acknowledged: dict[str, float] = {}
        self._names: dict[int, list[str]] = {}

    def started(self, event: CommandStartedEvent) -> None:
        """An insert is about to be sent."""
        if event.command_name == "insert":
            names = self._names[event.request_id] = [str(one["_id"]) for one in event.command["documents"]]
            self.sent |= dict.fromkeys(names, time.time())

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """It was acknowledged."""
        self.acknowledged |= dict.fromkeys(self._names.pop(event.request_id, ()), time.time())

    def failed(self, event: CommandFailedEvent) -> None:
        """It was not."""
        self._names.pop(event.request_id, None)


@dataclass(frozen=True, slots=True)
class Latencies:
    """From the acknowledged commit to the arrival of the post, and from sending the commit; milliseconds."""

    acknowledged: Sequence[float]
    sent: Sequence[float]

    def told(self) -> str:
        """Median and 99th percentile."""
        return f"{at(self.acknowledged, 50):.1f} / {at(self.acknowledged, 99):.1f} ms"


def at(values: Sequence[float], percent: int) -> float:
    """That percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def figures(folder: Path, uri: str, *, full: bool) -> list[Row]:
    """The notifier against the bare loop, in turns on one server and one stand-in."""
    each = EACH * (4 if full else 1)
    with Loopback([*CHANNELS, "#rest"]) as slack:
        site = Site(folder, uri, database(), slack, CHANNELS)
        commits = Commits()
        db = site.open(event_listeners=[commits])
        with site.notifying(db), _bare(site, slack):
            sides: dict[str, Callable[[int, str], None]] = {"ours": _folding(Store(db)), "bare": _inserting(db)}
            numbers = itertools.count()
            for side in sides.values():
                _steadily(side, list(itertools.islice(numbers, WARM_UP)))
            names: dict[str, set[str]] = {side: set() for side in sides}
            for _ in range(0, each, BLOCK):
                for name, side in sides.items():
                    before = set(commits.acknowledged)
                    _steadily(side, list(itertools.islice(numbers, BLOCK)))
                    names[name] |= set(commits.acknowledged) - before
            everything = 2 * (each + WARM_UP)
            wait_for(lambda: len(slack.said()) >= everything, "all messages")
            arrivals = {one.about: one.at for one in slack.said()}
        ours, theirs = (_latencies(commits, arrivals, names[name]) for name in ("ours", "bare"))
    ratios = [at(ours.acknowledged, percent) / at(theirs.acknowledged, percent) for percent in (50, 99)]
    since_sent = f"{at(ours.sent, 50):.1f} / {at(ours.sent, 99):.1f} ms; {at(theirs.sent, 50):.1f} / "
    return [
        (
            f"(h) acknowledged commit to Slack, p50 / p99 of {each}; a bare loop",
            f"{ours.told()}; {theirs.told()}",
            f"{ratios[0]:.2f} x / {ratios[1]:.2f} x",
            "p50 at most 1.5 x, p99 below 50 ms",
        ),
        ("    the same from when the commit was sent", f"{since_sent}{at(theirs.sent, 99):.1f} ms", "", ""),
    ]


def _folding(store: Store) -> Callable[[int, str], None]:
    def send(number: int, team: str) -> None:
        now = datetime.now(UTC)
        store.fold([report(number, team, now)], now)

    return send


def _inserting(db: schema.Db) -> Callable[[int, str], None]:
    def send(number: int, team: str) -> None:
        _, kept = opened(number, team)
        db[bare.COLLECTION].insert_one({**kept, "channel": f"#{team}"})

    return send


def _steadily(send: Callable[[int, str], None], numbers: Sequence[int]) -> None:
    """`RATE` a second, at moments that nobody can adapt to."""
    for number in numbers:
        began = time.perf_counter()
        send(number, CHANNELS[number % len(CHANNELS)].removeprefix("#"))
        pause = random.uniform(0.5, 1.5) / RATE  # noqa: S311 - not for secrets
        time.sleep(max(0.0, pause - (time.perf_counter() - began)))


def _latencies(commits: Commits, arrivals: dict[str, float], names: set[str]) -> Latencies:
    """Raises KeyError if one has not arrived."""
    return Latencies(
        [(arrivals[name] - commits.acknowledged[name]) * 1000 for name in names],
        [(arrivals[name] - commits.sent[name]) * 1000 for name in names],
    )


@contextmanager
def _bare(site: Site, slack: Loopback) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.bare", site.uri, site.name, slack.base_url]
    environment = os.environ | {"BARE_TOKEN": slack.token}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or process.stdout.readline() != b"watching\n":
                raise RuntimeError("the bare loop did not start")
            yield
        finally:
            end(process)
