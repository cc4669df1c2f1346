"""A Jenkins on loopback, and a source that reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from config.sources import Jenkins, Requests
from quality.receipts import Proof, Receipt, Verdict, classify, worst
from tasks.sources.contract import Item, Part, Progress, Rejected, Swept
from tasks.sources.http import Http
from tasks.sources.jenkins.api import connect
from tasks.sources.jenkins.source import JenkinsSource
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.jenkins.controller import Controller

SINCE: Final = datetime(2026, 10, 1, tzinfo=UTC)
NOW: Final = datetime(2026, 10, 20, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
CANARY: Final = "c4naryT0kenOfJenkinsThatMustNeverBeSeen"


@dataclass
class Sweep:
    """What one sweep yielded."""

    parts: list[Part] = field(default_factory=list)

    @property
    def items(self) -> list[Item]:
        return [one for one in self.parts if isinstance(one, Item)]

    @property
    def ids(self) -> list[str]:
        """Of the builds; those of tombstones with a minus."""
        return [f"-{one.id}" if one.deleted else one.id for one in self.items]

    @property
    def rejected(self) -> list[Rejected]:
        return [one for one in self.parts if isinstance(one, Rejected)]

    @property
    def progress(self) -> list[Progress]:
        return [one for one in self.parts if isinstance(one, Progress)]

    @property
    def swept(self) -> Swept:
        last = self.parts[-1]
        assert isinstance(last, Swept)
        return last


@dataclass
class Place:
    """Jenkins, and how it is read."""

    jenkins: Controller
    server: FaultyServer
    timeout_seconds: float = 20
    retries: int = 1
    later: timedelta = timedelta(0)
    """How far our clock is ahead: it moves by what others would sleep."""

    def source(self, jobs: Sequence[str] = ("api",), key: bytes | None = None, **more: Any) -> JenkinsSource:
        told = {"since": SINCE.date(), "user": "reader", "token": CANARY, **more}
        requests = Requests(
            timeout_seconds=self.timeout_seconds, retries=self.retries, longest_wait_seconds=600, answer_megabytes=1
        )  # fmt: skip
        section = Jenkins(
            type="jenkins", name="ci", base_url=self.server.url, jobs=tuple(jobs), requests=requests, **told
        )
        return JenkinsSource(section, key, opened=self._opened)

    def sweep(self, cursor: Any = None, now: datetime = NOW, jobs: Sequence[str] = ("api",), **more: Any) -> Sweep:
        return Sweep(list(self.source(jobs, **more).sweep(jobs[0], cursor, now)))

    def _opened(self, section: Jenkins) -> Http:
        return connect(section, clock=lambda: datetime.now(UTC) + self.later, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.later += timedelta(seconds=seconds)

    def asked(self) -> list[str]:
        """The paths since the last time."""
        found = [one.path for one in self.server.requests]
        self.server.requests.clear()
        return found


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.delenv("JENKINS_TOKEN", raising=False)
    jenkins = Controller()
    with FaultyServer(jenkins) as server:
        yield Place(jenkins, server)


def verdict(sweep: Sweep, day: int, origin: str = "api") -> Verdict:
    """Of one day of October."""
    (coverage,) = (one for one in sweep.swept.coverages if one.origin == origin)
    start = SINCE + (day - 1) * DAY
    found = worst(coverage.extractions, "builds", start, start + DAY)
    return classify(Receipt("", start, start + DAY, coverage.start, coverage.end, items=0, extraction=found))


def proofs(sweep: Sweep, last: int = 19) -> set[int]:
    """The days of October that are not proven."""
    return {day for day in range(1, last + 1) if verdict(sweep, day).proof is not Proof.PROVEN}
