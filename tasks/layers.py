"""The Luigi tasks that do the work, one for each layer, and what those that ask for them have in common."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import luigi

from config import settings
from config.catalog import ENTITIES
from tasks import bronze, checks, entities, judge, links, metrics, settle
from tasks.ledger import LeaseLostError
from tasks.noted import NotedTask
from tasks.sources import registry
from tasks.sources.contract import Source

Days = tuple[date, date]
EVER: Days = (date.min, date.max)


class Sweep(NotedTask):
    """Bronze: bring in what one unit of a source holds now."""

    source: str = luigi.Parameter()
    unit: str = luigi.Parameter()
    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()

    def complete(self) -> bool:
        """Whether this run has swept: a source is looked at again by every run."""
        return self._finished(self.task_id) is not None

    def run(self) -> None:
        """Sweep; a source that cannot be read is recorded, and reported by the Unit at its end."""
        days = half_open(self.start, self.end)
        while True:
            try:
                error = bronze.sweep(self.context, source_of(self.source), self.unit, days, lambda: datetime.now(UTC))
            except LeaseLostError:  # look again, once the other one is through
                continue
            break
        self._say(error or "swept")
        self._finish(self.task_id, {"error": error})

    def error(self) -> str | None:
        """Why the sweep failed, if it did."""
        note = self._finished(self.task_id)
        return note["error"] if note else None


class Fold(NotedTask):
    """Silver: fold the stale windows of all entities of one scope from `start` to `end`."""

    scope: str = luigi.Parameter()
    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()

    def complete(self) -> bool:
        """Whether no window of the range is stale."""
        days = half_open(self.start, self.end)
        return not any(
            window for dataset in ENTITIES for window in entities.stale(self.context, dataset, self.scope, days)
        )

    def run(self) -> None:
        """Fold."""
        for step, dataset in enumerate(ENTITIES):
            self._say(dataset.name, step / len(ENTITIES))
            settle.entities_of(self.context, dataset, self.scope, half_open(self.start, self.end))
        self._say(f"{len(ENTITIES)} datasets folded")


class Link(NotedTask):
    """Silver: the deliveries of one scope, from all its entities."""

    scope: str = luigi.Parameter()

    def complete(self) -> bool:
        """Whether they are made from today's entities by today's rules."""
        return links.is_stale(self.context, self.scope) is None

    def run(self) -> None:
        """Link."""
        settle.links_of(self.context, self.scope, ENTITIES)
        self._say("deliveries published")


class Metrics(NotedTask):
    """Gold: the stale days of one scope from `start` to `end`."""

    scope: str = luigi.Parameter()
    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()
    repair: bool = luigi.BoolParameter(default=False)
    """Only days that were published before."""

    def complete(self) -> bool:
        """Whether no day of the range is stale."""
        days = half_open(self.start, self.end)
        return not metrics.stale(self.context, self.scope, days, missing=not self.repair)

    def run(self) -> None:
        """Compute and publish."""
        settle.gold_of(self.context, self.scope, half_open(self.start, self.end), missing=not self.repair)
        self._say("days published")


class Layers(NotedTask):
    """What asks for layers above Silver's entities, for the days from `start` to `end`.

    Days outside of the range that were published once and have become stale are repaired too.
    """

    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()

    def complete(self) -> bool:
        """Whether this run is through with it."""
        return self._finished(self.task_id) is not None

    def _ask(self, name: str, share: float, wanted: list[luigi.Task]) -> list[luigi.Task]:
        """`wanted`, once: Luigi runs this from the top again, once what was asked for is done."""
        self._say(name, share)
        self._finish(f"{self.task_id}/{name}", {"tasks": len(wanted)})
        return wanted

    def _is_asked(self, name: str) -> bool:
        return self._finished(f"{self.task_id}/{name}") is not None

    def _links(self, scope: str) -> list[luigi.Task]:
        return [self._clone(Link, scope=scope)] if links.is_stale(self.context, scope) else []

    def _metrics(self, scope: str) -> list[luigi.Task]:
        stale = metrics.stale(self.context, scope, EVER)
        asked = [window.day for window in stale if self.start <= window.day <= self.end]
        others = [w.day for w in stale if not self.start <= w.day <= self.end and w.why != checks.MISSING]
        return [
            self._clone(Metrics, scope=scope, start=days[0], end=days[1], repair=repair)
            for repair, wanted in ((False, asked), (True, others))
            for days in self._pieces(wanted)
        ]

    def _awaits_verdicts(self, scopes: list[str]) -> bool:
        """Whether Gold is about to be published that was not judged: for a few times, then it does not wait."""
        asked = self._finished(f"{self.task_id}/judge") or 0
        if asked == judge.ASKED or not any(judge.awaited(self.context, scope) for scope in scopes):
            return False
        self._finish(f"{self.task_id}/judge", asked + 1)
        judge.arrive(self.context, self.place())
        return True

    def _pieces(self, days: list[date]) -> list[Days]:
        """First and last day of each piece that one task carries."""
        size = self.context.chunk
        return [(days[at], days[min(at + size, len(days)) - 1]) for at in range(0, len(days), size)]

    def _clone(self, task: type[luigi.Task], **parameters: Any) -> Any:
        return task(run_id=self.run_id, **parameters)


def source_of(name: str) -> Source:
    """The configured source of that name."""
    return next(source for source in registry.configured(settings.load()) if source.name == name)


def half_open(first: date, last: date) -> Days:
    """The days from `first` to `last`, both included, as [first, last)."""
    return first, min(last, date.max - timedelta(days=1)) + timedelta(days=1)
