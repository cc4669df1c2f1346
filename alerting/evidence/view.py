"""What the sources of evidence look at, and what all of them need."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Final

from alerting.incidents import Incident
from alerting.reports import Facts, Key, Kind, Report, fingerprint
from alerting.store import Store
from config import catalog, schema
from config.settings import Settings
from quality import suites
from quality.findings import Judges, Rule, Severity
from quality.suites import Suite

Window = tuple[Key, str]
"""Which problem, and of which window: its ISO date, "" where it is not about one."""

SEVERE: Final = (str(Severity.CRITICAL), str(Severity.WARNING))
"""What of findings makes an incident; the rest is noted with the partition."""


@dataclass(frozen=True)
class View:
    """The database at one moment, and the incidents that are there."""

    db: schema.Db
    settings: Settings
    now: datetime
    store: Store
    _suites: dict[str, Suite] = field(default_factory=dict)

    @property
    def ledger(self) -> schema.Coll:
        """The ledger."""
        return self.db[schema.LEDGER]

    @cached_property
    def open(self) -> dict[Key, Incident]:
        """The open incidents, as they are when first asked for."""
        return {one.key: one for one in self.store.listed()}

    def latest(self, keys: Collection[Key]) -> dict[Key, Incident]:
        """The last incident of each key, if there was one."""
        found = {key: self.open[key] for key in keys if key in self.open}
        marks = [fingerprint(key) for key in keys if key not in found]
        for one in self.store.listed({"fingerprint": {"$in": marks}}) if marks else ():
            found.setdefault(one.key, one)
        return found

    def rule(self, dataset: str, name: str) -> Rule | None:
        """What is declared by that name today, if anything."""
        if dataset not in self._suites:
            self._suites[dataset] = suites.suite(dataset, self.settings)
        return next((one for one in self._suites[dataset].rules if one.name == name), None)

    def column(self, dataset: str, name: str) -> str:
        """The measure that the rule judges; empty where it judges rows, or is not known."""
        rule = self.rule(dataset, name)
        if rule is None or rule.judges is not Judges.PARTITION:
            return ""
        return next(iter(rule.reads()), "")

    def of(self, *kinds: Kind) -> Iterator[Incident]:
        """The open incidents of these kinds."""
        return (one for one in self.open.values() if one.kind in kinds)

    def documents(self, keys: Iterable[str], fields: Iterable[str]) -> dict[str, schema.Document]:
        """The ledger documents of these keys, by key, with `fields` only."""
        wanted = list(keys)
        if not wanted:
            return {}
        found = self.ledger.find({"_id": {"$in": wanted}}, dict.fromkeys(fields, 1))
        return {one["_id"]: one for one in found}


def is_watched(dataset: str) -> bool:
    """Whether it is a collection that Touchstone did not make."""
    return dataset != catalog.SWEEP and not dataset.startswith(catalog.LAYERS)


def partition(dataset: str, scope: str, window: str = "") -> str:
    """The `_id` of its ledger document."""
    return f"{dataset}|{scope}|{window or 'all'}"


def passed(incident: Incident, window: str, at: datetime, told: str = "") -> Report:
    """That the check of `incident` ran and passed."""
    day = date.fromisoformat(window) if window else None
    return Report(incident.key, at, failed=False, kind=incident.kind, window=day, facts=Facts("", observed=told))


def command(*words: str) -> str:
    """The next step, fit for a shell."""
    return shlex.join(["touchstone", *words])


def named(dataset: str, scope: str) -> str:
    """How a dataset of one scope is called in a title."""
    return f"{dataset} {scope}".strip()


def times(document: Mapping[str, datetime], *names: str) -> datetime | None:
    """The newest of the times that `document` has under `names`."""
    return max((document[name] for name in names if document.get(name)), default=None)
