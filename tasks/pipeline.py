"""The Luigi tasks: what waits for what. The work itself is in the modules they call.

Backfill and Daily require one Unit per configured (source, unit). A Unit sweeps, then brings its scopes from Bronze to
Gold; one that fails does not hold up the others. Which windows there are to do is known only after the sweep, so a
Unit asks for its chunks as it goes (Luigi's dynamic dependencies), and several workers share them. What is made from
several units, services and teams, is the Join's, which comes after all Units. Beside the Units there is one Watch per
configured collection that Touchstone did not make.
"""

import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import luigi

from config import scopes as configured
from config import settings
from config.catalog import DELIVERIES, DORA_DAILY, ENTITIES
from config.settings import Collection
from tasks import (
    bronze,
    entities,
    joint,
    judge,
    life,
    revisions,
    scoping,
    settle,
    survey,
    watched,
)
from tasks.foreign import WatchError
from tasks.layers import Days, Fold, Layers, Link, Metrics, Sweep, half_open, source_of
from tasks.noted import NotedTask
from tasks.sources import registry

date_type = date
ROUNDS = 3


class UnitFailedError(RuntimeError):
    """What was asked for is not all there: a unit could not be swept, or the run is not complete."""


def new_run_id(now: datetime | None = None) -> str:
    """A name for one run: sortable, unique."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class Unit(Layers):
    """One unit of a source, from its sweep to Silver, and to the Gold of repositories that are in no service."""

    source: str = luigi.Parameter()
    unit: str = luigi.Parameter()
    priority = 1

    def run(self) -> Iterator[Any]:
        """Ask for one layer after the other."""
        if not self._finished(f"{self.task_id}/judge"):
            judge.set_out(self.context, self.place())
        sweep = self._clone(Sweep, source=self.source, unit=self.unit, start=self.start, end=self.end)
        yield sweep
        scopes = bronze.scopes(self.context, source_of(self.source), self.unit)
        alone = scoping.alone(self.context, self.source, scopes)
        if not self._finished(f"{self.task_id}/judge"):
            judge.set_out(self.context, self.place(), scopes)
        layers = (("folds", self._folds, scopes), ("links", self._links, alone), ("metrics", self._metrics, alone))
        for step, (name, layer, mine) in enumerate(layers):
            if self._is_asked(name):
                continue
            self._say(f"{len(mine)} scopes: {name}", step / 3)
            wanted = [task for scope in mine for task in layer(scope)]
            if name == "metrics" and self._awaits_verdicts(mine):
                yield self._clone(judge.Judge)
            if self._ask(name, step / 3, wanted):
                yield wanted
        judge.arrive(self.context, self.place())
        if error := sweep.error():
            raise UnitFailedError(error)
        done = [f"{task.task_family} {scope}" for scope in scopes for task in (Fold, Link, Metrics)]
        self._finish(self.task_id, {"scopes": len(scopes)}, self.place(), sweep.place(), *done)

    def _folds(self, scope: str) -> list[luigi.Task]:
        stale = {window.day for dataset in ENTITIES for window in entities.stale(self.context, dataset, scope)}
        return [self._clone(Fold, scope=scope, start=days[0], end=days[1]) for days in self._pieces(sorted(stale))]


class Join(Layers):
    """The links of services, and the Gold of services, their repositories, and teams, once all units are through.

    It does not require them: one that fails must not hold up what the others bring.
    """

    def run(self) -> Iterator[Any]:
        """Ask for one layer after the other."""
        if not self._is_asked("links"):
            self._say("waiting for units", 0.0)
            joint.wait(self.context, {unit.place(): (unit.task_id, _scopes_of(unit)) for unit in self._units()})
        known = scoping.known(self.context)
        shared = [name for name, one in known.links.items() if not one.is_alone]
        scopes = [name for name in known.gold if known.is_shared(name)]
        if not self._is_asked("links") and (
            wanted := self._ask("links", 0.3, [task for one in shared for task in self._links(one)])
        ):
            yield wanted
        if not self._is_asked("metrics"):
            wanted = [task for scope in scopes for task in self._metrics(scope)]
            if self._awaits_verdicts(scopes):
                yield self._clone(judge.Judge)
            if self._ask("metrics", 0.6, wanted):
                yield wanted
        done = [f"{Link.__name__} {name}" for name in shared] + [f"{Metrics.__name__} {name}" for name in scopes]
        self._finish(self.task_id, {"scopes": len(scopes)}, self.place(), *done)

    def _units(self) -> list[Unit]:
        return _units(self.start, self.end, self.run_id)


class Watch(NotedTask):
    """One collection that Touchstone did not make: its windows from `start` to `end`, and those that were not final."""

    dataset: str = luigi.Parameter()
    start: date = luigi.DateParameter()
    end: date = luigi.DateParameter()
    priority = 1

    def complete(self) -> bool:
        """Whether this run has looked: a collection is looked at again by every run."""
        return self._finished(self.task_id) is not None

    def run(self) -> None:
        """Look, and judge what has changed."""
        judge.set_out(self.context, self.place())
        try:
            made = watched.watch(self.context, _dataset(self.dataset), half_open(self.start, self.end))
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
        """One Unit and one Watch each, and the Join where there are services or teams."""
        start, end = self.days()
        loaded = settings.load()
        watches = [Watch(dataset=one.name, start=start, end=end, run_id=self.run_id) for one in loaded.datasets]
        join = [] if configured.is_plain(loaded) else [Join(start=start, end=end, run_id=self.run_id)]
        return [*_units(start, end, self.run_id), *watches, *join]

    def run(self) -> None:
        """Look once more, from outside, whether all that was asked for is there.

        Another run may have brought news meanwhile: what that left open is finished here.
        """
        days = half_open(*self.days())
        for _ in range(ROUNDS):
            unwatched = [gap for one in settings.load().datasets for gap in watched.gaps(self.context, one.name, days)]
            gaps = survey.gaps(self.context, days)
            judge.bring(self.context, {gap.scope for gap in gaps if gap.dataset == DORA_DAILY.name})
            if not gaps and not unwatched:
                break
            for name in sorted({gap.dataset for gap in unwatched}):
                watched.watch(self.context, _dataset(name), days)
            for scope in sorted({gap.scope for gap in gaps if gap.dataset == DELIVERIES.name}):
                settle.links_of(self.context, scope, ENTITIES)
            for scope in survey.scopes_of(self.context, gaps):
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


def _units(start: date, end: date, run_id: str) -> list[Unit]:
    return [
        Unit(source=source.name, unit=unit, start=start, end=end, run_id=run_id)
        for source in registry.configured(settings.load())
        for unit in source.units()
    ]


def _scopes_of(unit: Unit) -> list[str]:
    return bronze.scopes(unit.context, source_of(unit.source), unit.unit)


def _dataset(name: str) -> Collection:
    return next(one for one in settings.load().datasets if one.name == name)


__all__ = [
    "Backfill", "Daily", "Fold", "Join", "Link", "Metrics", "Sweep", "Unit", "UnitFailedError", "Watch", "new_run_id",
]  # fmt: skip
