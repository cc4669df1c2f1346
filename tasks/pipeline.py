"""The Luigi tasks: what waits for what. The work itself is in the modules they call.

Backfill and Daily require one Unit per configured (source, unit). A Unit sweeps, then brings its scopes from Bronze to
Gold; one that fails does not hold up the others. Which windows there are to do is known only after the sweep, so a
Unit asks for its chunks as it goes (Luigi's dynamic dependencies), and several workers share them. Beside the Units
there is one Watch per configured collection that Touchstone did not make.
"""

import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import luigi

from config import settings
from config.catalog import ENTITIES
from config.settings import Collection
from tasks import bronze, checks, entities, judge, life, links, metrics, revisions, settle, survey, watched
from tasks.foreign import WatchError
from tasks.ledger import LeaseLostError
from tasks.noted import NotedTask
from tasks.sources import registry
from tasks.sources.contract import Source

Days = tuple[date, date]
date_type = date
EVER: Days = (date.min, date.max)
ROUNDS = 3


class UnitFailedError(RuntimeError):
    """What was asked for is not all there: a unit could not be swept, or the run is not complete."""


def new_run_id(now: datetime | None = None) -> str:
    """A name for one run: sortable, unique."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


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
        days = _half_open(self.start, self.end)
        while True:
            try:
                error = bronze.sweep(self.context, _source(self.source), self.unit, days, lambda: datetime.now(UTC))
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
        days = _half_open(self.start, self.end)
        return not any(
            window for dataset in ENTITIES for window in entities.stale(self.context, dataset, self.scope, days)
        )

    def run(self) -> None:
        """Fold."""
        for step, dataset in enumerate(ENTITIES):
            self._say(dataset.name, step / len(ENTITIES))
            settle.entities_of(self.context, dataset, self.scope, _half_open(self.start, self.end))
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
        days = _half_open(self.start, self.end)
        return not metrics.stale(self.context, self.scope, days, missing=not self.repair)

    def run(self) -> None:
        """Compute and publish."""
        settle.gold_of(self.context, self.scope, _half_open(self.start, self.end), missing=not self.repair)
        self._say("days published")


class Unit(NotedTask):
    """One unit of a source, from its sweep to the Gold of its scopes, for the days from `start` to `end`.

    Days outside of the range that were published once and have become stale are repaired too.
    """

    source: str = luigi.Parameter()
    unit: str = luigi.Parameter()
    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()

    def complete(self) -> bool:
        """Whether this run is through with it."""
        return self._finished(self.task_id) is not None

    def run(self) -> Iterator[Any]:
        """Ask for one layer after the other."""
        if not self._finished(f"{self.task_id}/judge"):
            judge.set_out(self.context, self.place())
        sweep = self._clone(Sweep, source=self.source, unit=self.unit, start=self.start, end=self.end)
        yield sweep
        scopes = bronze.scopes(self.context, _source(self.source), self.unit)
        if not self._finished(f"{self.task_id}/judge"):
            judge.set_out(self.context, self.place(), scopes)
        for step, layer in enumerate((self._folds, self._links, self._metrics)):
            name = layer.__name__.strip("_")
            if self._finished(f"{self.task_id}/{name}") is not None:
                continue  # Luigi runs this from the top again, once what was asked for is done
            self._say(f"{len(scopes)} scopes: {name}", step / 3)
            wanted = [task for scope in scopes for task in layer(scope)]
            if layer == self._metrics and self._awaits_verdicts(scopes):
                yield self._clone(judge.Judge)
            self._finish(f"{self.task_id}/{name}", {"tasks": len(wanted)})
            if wanted:
                yield wanted
        judge.arrive(self.context, self.place())
        if error := sweep.error():
            raise UnitFailedError(error)
        done = [f"{task.task_family} {scope}" for scope in scopes for task in (Fold, Link, Metrics)]
        self._finish(self.task_id, {"scopes": len(scopes)}, self.place(), sweep.place(), *done)

    def _folds(self, scope: str) -> list[luigi.Task]:
        stale = {window.day for dataset in ENTITIES for window in entities.stale(self.context, dataset, scope)}
        return [self._clone(Fold, scope=scope, start=days[0], end=days[1]) for days in self._pieces(sorted(stale))]

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


class Watch(NotedTask):
    """One collection that Touchstone did not make: its windows from `start` to `end`, and those that were not final."""

    dataset: str = luigi.Parameter()
    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()

    def complete(self) -> bool:
        """Whether this run has looked: a collection is looked at again by every run."""
        return self._finished(self.task_id) is not None

    def run(self) -> None:
        """Look, and judge what has changed."""
        judge.set_out(self.context, self.place())
        try:
            made = watched.watch(self.context, _dataset(self.dataset), _half_open(self.start, self.end))
        except WatchError as error:
            raise UnitFailedError(str(error)) from None
        finally:
            judge.arrive(self.context, self.place())
        self._say(f"{made} windows judged")
        self._finish(self.task_id, {"windows": made}, self.place())


class _Run(NotedTask):
    """One run over all configured sources and datasets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "run_id": kwargs.get("run_id") or new_run_id()})

    def days(self) -> Days:
        """First and last day."""
        raise NotImplementedError

    def complete(self) -> bool:
        """Whether this run is through; whether there is anything to do is for its units to find out.

        Luigi asks that first of all: whoever does has begun the run.
        """
        if self._finished(self.task_id) is not None:
            return True
        life.begin(self.context, self.task_family)
        return False

    def requires(self) -> list[luigi.Task]:
        """One Unit and one Watch each."""
        start, end = self.days()
        units = [
            Unit(source=source.name, unit=unit, start=start, end=end, run_id=self.run_id)
            for source in registry.configured(settings.load())
            for unit in source.units()
        ]
        watches = [
            Watch(dataset=one.name, start=start, end=end, run_id=self.run_id) for one in settings.load().datasets
        ]
        return [*units, *watches]

    def run(self) -> None:
        """Look once more, from outside, whether all that was asked for is there.

        Another run may have brought news meanwhile: what that left open is finished here.
        """
        days = _half_open(*self.days())
        for _ in range(ROUNDS):
            unwatched = [gap for one in settings.load().datasets for gap in watched.gaps(self.context, one.name, days)]
            gaps = survey.gaps(self.context, days)
            judge.bring(self.context, {gap.scope for gap in gaps})
            if not gaps and not unwatched:
                break
            for name in sorted({gap.dataset for gap in unwatched}):
                watched.watch(self.context, _dataset(name), days)
            for scope in sorted({gap.scope for gap in gaps}):
                settle.links_of(self.context, scope, ENTITIES)
                settle.gold_of(self.context, scope, days, missing=True)
        else:
            gaps += unwatched
            raise UnitFailedError(f"{len(gaps)} windows are not complete, e.g. {gaps[0].key}: try again")
        revisions.collect(self.context)
        if not life.is_attended(self.run_id) and (hindered := life.settle(self.context)):
            raise UnitFailedError(hindered)
        self._finish(self.task_id, {}, self.place(), well=True)


class Backfill(_Run):
    """The days from `start` to `end`, both included, and what became stale since."""

    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()

    def days(self) -> Days:
        """As asked."""
        return self.start, self.end


class Daily(_Run):
    """One day, today (UTC) if none is named, and what became stale since."""

    date: date_type = luigi.DateParameter(default=datetime.now(UTC).date())

    def days(self) -> Days:
        """That day."""
        return self.date, self.date


def _source(name: str) -> Source:
    return next(source for source in registry.configured(settings.load()) if source.name == name)


def _dataset(name: str) -> Collection:
    return next(one for one in settings.load().datasets if one.name == name)


def _half_open(first: date, last: date) -> Days:
    return first, min(last, date.max - timedelta(days=1)) + timedelta(days=1)
