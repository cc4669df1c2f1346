"""Sweeps without a database: what they yield, and what they say of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from quality.extractions import Extraction
from quality.receipts import Proof, Receipt, classify, worst
from tasks.sources.contract import Cursor, Item, Part, Progress, Rejected, Swept
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.github.hub import Repo, sha

NOW: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
T0: Final = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
DAY: Final = 86_400
ORIGIN: Final = "acme/api"


def day(number: float) -> float:
    """Epoch seconds of a day of October 2026, from 1.0 on."""
    return T0 + (number - 1) * DAY


def at(number: float) -> datetime:
    return datetime.fromtimestamp(day(number), UTC)


@dataclass
class Read:
    """What a sweep yielded."""

    items: list[Item] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    swept: Swept | None = None

    @property
    def cursor(self) -> Cursor:
        assert self.swept is not None
        return self.swept.cursor

    def of(self, stream: str) -> list[Item]:
        return [item for item in self.items if item.stream == stream]

    def ids(self, stream: str) -> list[str]:
        return sorted(item.id for item in self.of(stream))

    def extraction(self, stream: str) -> Extraction:
        found = [one for one in self.extractions() if one.stream == stream]
        return found[0]

    def extractions(self) -> Iterator[Extraction]:
        assert self.swept is not None
        for coverage in self.swept.coverages:
            yield from coverage.extractions

    def proof(self, stream: str, number: int) -> Proof | None:
        """What the sweep says of a window, by the rules of receipts; None if it does not look at it."""
        assert self.swept is not None
        coverage = next(one for one in self.swept.coverages if stream in one.streams)
        start, end = at(number), at(number + 1)
        extraction = worst(coverage.extractions, stream, start, end)
        if extraction is None:
            return None
        receipt = Receipt("", start, end, coverage.start, coverage.end, 0, extraction=extraction)
        return classify(receipt).proof


def read(source: GitHubSource, cursor: Cursor | None = None, now: datetime = NOW) -> Read:
    """All of a sweep."""
    return taken(source.sweep(ORIGIN, cursor, now))


def taken(parts: Iterator[Part]) -> Read:
    found = Read()
    for part in parts:
        match part:
            case Item():
                found.items.append(part)
            case Rejected():
                found.rejected.append(part)
            case Progress():
                found.progress.append(part)
            case Swept():
                found.swept = part
    return found


def versions(items: list[Item]) -> set[tuple[Any, ...]]:
    """What Bronze would store of them: once each."""
    return {(one.stream, one.id, one.updated_on, one.deleted, repr(one.payload)) for one in items}


def filled(repo: Repo) -> None:
    """Something in each stream."""
    first = repo.commit("first", day(2))
    repo.commit("second", day(3), message=f"Revert it\n\nThis reverts commit {first}.")
    repo.pull(1, day(4), merged=day(4))
    repo.pull(3, day(5), merged=day(5), body="Reverts acme/api#1")
    repo.issue(2, day(5) + 9, labels=["incident"])
    repo.deployment(10, day(6), ("pending", day(6) + 1), ("success", day(6) + 60))
    repo.run(20, day(7), day(7) + 300)
    repo.release(30, day(8))
    repo.tag("light", first)
    repo.tag("v2", sha("second"), tagged=day(9))


def later(**span: float) -> datetime:
    return NOW + timedelta(**span)
