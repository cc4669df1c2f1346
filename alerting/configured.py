"""What is still looked at: which units, scopes and datasets the configuration names, or what it names feeds.

One database has one configuration: the notifier reads the one that the runs read. Where it names nothing to look at,
nothing can be told from it. What is known of no sweep counts as looked at: rather an incident too many than a silence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alerting.impact import TASKS
from alerting.reports import ANOMALY, Key, Kind
from config import catalog, schema, scopes
from config.settings import Git, Settings

KINDS: Final = frozenset(
    {Kind.FINDING, Kind.BROKEN_CHECK, Kind.RECEIPT, Kind.DRIFT, Kind.ANOMALY, Kind.TASK, Kind.MISSING}
)
"""What is about data, and about the tasks that make it."""
_MADE: Final = frozenset({one.name for one in (*catalog.ENTITIES, catalog.DELIVERIES, catalog.DORA_DAILY)})

Fed = tuple[str, str]
"""A dataset of Bronze, and a scope."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The configuration, and what its sweeps and those of former ones have fed."""

    settings: Settings
    once: frozenset[Fed]
    """What only sweeps fed that are no longer configured."""
    scopes: frozenset[str]
    """The scopes of `once` that nothing else feeds."""

    def has_unit(self, unit: str) -> bool:
        """Whether the unit of a source, as `source/unit`, is to be swept."""
        return _is_swept(self.settings, unit)

    def is_retired(self, key: Key, kind: Kind) -> bool:
        """Whether nobody looks any more at what an incident of `key` is about."""
        if key.check == ANOMALY and not self._is_judged(key.dataset):
            return True
        if kind not in KINDS or key.dataset == "notifier" or not _is_told(self.settings):
            return False
        if key.dataset == TASKS:
            return self._is_task_retired(*key.scope.partition(" ")[::2])
        if kind is Kind.MISSING and any(
            key.scope in one.scopes for one in self.settings.schedules if one.dataset == key.dataset
        ):
            return False
        return self.is_gone(key.dataset, key.scope)

    def is_gone(self, dataset: str, scope: str) -> bool:
        """Whether nothing feeds `scope` of `dataset` any more, though something did once."""
        if not _is_told(self.settings):
            return False
        if dataset == catalog.SWEEP:
            return not self.has_unit(scope)
        if dataset.startswith(catalog.BRONZE):
            return scope in self.scopes or (dataset, scope) in self.once
        if dataset in _MADE:
            moved = dataset == catalog.DELIVERIES.name and scopes.service_of(self.settings, scope) is not None
            return scope in self.scopes or moved or not scopes.is_named(self.settings, scope)
        return all(one.name != dataset for one in self.settings.datasets)

    def _is_judged(self, dataset: str) -> bool:
        detector = self.settings.detector
        return detector.enabled and detector.of(dataset).judge

    def _is_task_retired(self, family: str, about: str) -> bool:
        match family:
            case "Unit" | "Sweep":
                return not self.has_unit(about)
            case "Fold" | "Link" | "Metrics":
                return about in self.scopes or not scopes.is_named(self.settings, about)
            case "Watch":
                return all(one.name != about for one in self.settings.datasets)
        return False


def read(db: schema.Db, settings: Settings) -> Configured:
    """By one query, for one document per unit of a source. Raises PyMongoError."""
    live: set[Fed] = set()
    gone: set[Fed] = set()
    named = {one.origin for source in settings.sources if isinstance(source, Git) for one in source.repositories}
    for sweep in db[schema.LEDGER].find({"dataset": catalog.SWEEP}, {"scope": 1, "feeds": 1}):
        (live if _is_swept(settings, sweep["scope"]) else gone).update(_feeds(sweep))
    scopes = {scope for _, scope in live} | named
    unswept = named - {scope for _, scope in live}  # it is to be seen what their first sweeps will feed
    return Configured(
        settings,
        frozenset(one for one in gone - live if one[1] not in unswept),
        frozenset({scope for _, scope in gone} - scopes),
    )


def _is_told(settings: Settings) -> bool:
    """Whether the configuration names anything that is looked at."""
    return bool(settings.sources or settings.datasets)


def _is_swept(settings: Settings, unit: str) -> bool:
    name, _, rest = unit.partition("/")
    source = next((one for one in settings.sources if one.name == name), None)
    if isinstance(source, Git):
        return any(one.origin == rest for one in source.repositories)
    return source is not None


def _feeds(sweep: schema.Document) -> Iterator[Fed]:
    """What the sweep has fed, and that it fed the scope at all; of one that never ended, what its unit is called."""
    if not sweep.get("feeds"):
        yield "", sweep["scope"].partition("/")[2]
    for feed in sweep.get("feeds", ()):
        yield "", feed["origin"]
        for stream in feed.get("streams", ()):
            yield catalog.bronze(feed["source"], stream), feed["origin"]
