"""The observations that are judged, read in one go; and the digest of what a verdict is about. Without numpy.

Of several statements on one window of one series the newest counts, as in `quality.observations`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from config import schema, scopes
from config.catalog import DELIVERIES, DORA_DAILY, ENTITIES
from config.schema import Db
from config.settings import Settings
from quality.detector import natures
from quality.detector.said import Said, Says
from quality.receipts import STILL_OPEN, Proof

Number = float | int | None
Values = Mapping[str, Number]
"""Of one window, by measure."""
Days = tuple[date, date]

CODE: Final = "detector/1"
"""Changes when the same values may get another verdict."""


class Name(NamedTuple):
    """Of which stream: all measures of a dataset for one scope."""

    dataset: str
    scope: str


Windows = Mapping[Name, Mapping[date, Values]]


class Doubt(NamedTuple):
    """Windows by name of the stream."""

    still_open: Mapping[Name, set[date]]
    """They may still grow: they are not judged."""
    unproven: Mapping[Name, set[date]]
    """It is not known that they are whole: they teach nothing."""


def stages(days: Days, which: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Yields one document per judged series: its statements on the windows in [first, last), as columns.

    which: a condition on `series`; absent: all.
    """
    value = {"$ifNull": [{"$toDouble": "$value"}, float("nan")]}
    columns = {"at": "$at", "value": value, "recorded_at": "$recorded_at", "id": "$_id"}
    return [
        {"$match": {**(which or {}), "series.measure": {"$regex": natures.JUDGED}, **within("at", days)}},
        {"$group": {"_id": "$series", **{name: {"$push": column} for name, column in columns.items()}}},
    ]


def within(field: str, days: Days) -> dict[str, Any]:
    """The condition that `field` is a window in [first, last)."""
    return {field: {"$gte": schema.start_of(days[0]), "$lt": schema.start_of(days[1])}}


def windows(db: Db, days: Days, names: Iterable[Name] | None = None) -> dict[Name, dict[date, dict[str, float]]]:
    """What is known now of the windows in [first, last); what has no number is left out."""
    which: dict[str, Any] = {}
    if names is not None:
        which["$or"] = [{"series.dataset": dataset, "series.scope": scope} for dataset, scope in sorted(names)]
        if not which["$or"]:
            return {}
    found: dict[Name, dict[date, dict[str, float]]] = {}
    for series in db[schema.OBSERVATIONS].aggregate(stages(days, which), allowDiskUse=True):
        of = series["_id"]
        stream = found.setdefault(Name(of["dataset"], of["scope"]), {})
        statements = sorted(zip(series["at"], series["recorded_at"], series["id"], series["value"], strict=True))
        newest = {at.date(): value for at, _, _, value in statements}
        for day, value in newest.items():
            if not math.isnan(value):
                stream.setdefault(day, {})[of["measure"]] = value
    return found


def told_since(db: Db, days: Days, since: datetime) -> set[Name]:
    """The streams of which windows in [first, last) were recorded since."""
    match = {**within("at", days), "recorded_at": {"$gt": since}}
    name = {"dataset": "$series.dataset", "scope": "$series.scope"}
    found = db[schema.OBSERVATIONS].aggregate([{"$match": match}, {"$group": {"_id": name}}])
    return {Name(**one["_id"]) for one in found}


def told_by_window(db: Db, days: Days, names: Iterable[Name], since: datetime) -> dict[Name, dict[date, datetime]]:
    """Which windows in [first, last) of these streams were recorded since, and when last."""
    which = [{"series.dataset": dataset, "series.scope": scope} for dataset, scope in sorted(names)]
    match = {"$or": which, **within("at", days), "recorded_at": {"$gt": since}}
    name = {"dataset": "$series.dataset", "scope": "$series.scope", "at": "$at"}
    found: dict[Name, dict[date, datetime]] = {}
    group = {"_id": name, "last": {"$max": "$recorded_at"}}
    for one in db[schema.OBSERVATIONS].aggregate([{"$match": match}, {"$group": group}], allowDiskUse=True):
        of = one["_id"]
        found.setdefault(Name(of["dataset"], of["scope"]), {})[of["at"].date()] = one["last"]
    return found


def doubt(db: Db, settings: Settings, days: Days) -> Doubt:
    """Which windows in [first, last) may still grow, or are not proven to be whole.

    Nothing proves a watched collection; its windows are only in doubt until they are over. What is made of entities is
    in doubt wherever one of them is.
    """
    watched = [one.name for one in settings.datasets]
    wanted = [
        {"proof.state": str(Proof.PARTIAL)},
        {"proof.state": {"$in": [str(Proof.UNPROVEN), str(Proof.FAILED)]}, "dataset": {"$nin": watched}},
    ]
    match = {**schema.IN_DOUBT, "$or": wanted, **within("window", days)}
    fields = {"dataset": 1, "scope": 1, "window": 1, "proof.reason": 1}
    still_open: dict[Name, set[date]] = {}
    unproven: dict[Name, set[date]] = {}
    for one in db[schema.LEDGER].find(match, fields, batch_size=5000):
        doubted = still_open if one["proof"]["reason"].startswith(STILL_OPEN) else unproven
        for name in _touched(settings, Name(one["dataset"], one["scope"])):
            doubted.setdefault(name, set()).add(one["window"].date())
    return Doubt(still_open, unproven)


_ENTITIES: Final = frozenset(dataset.name for dataset in ENTITIES)
_MADE: Final = (DELIVERIES.name, DORA_DAILY.name)


def _touched(settings: Settings, name: Name) -> Iterator[Name]:
    """The series of `name`, and those whose windows have no proof of their own and are made of it."""
    yield name
    if name.dataset in _ENTITIES:
        for scope in scopes.reached(settings, name.scope):
            yield from (Name(dataset, scope) for dataset in _MADE)


class Terms(NamedTuple):
    """Under which a stream is judged: what is configured, and what people said of it, the newest last."""

    settings: Settings
    heard: Sequence[Said]

    def digest(self, name: Name, window: date) -> str:
        """Of all that decides on a verdict besides the values and their history."""
        detector = self.settings.detector
        chosen = [
            detector.false_alarms_per_series_per_quarter, detector.learn_shift_after, detector.seed, detector.country,
            detector.subdivision,
        ]  # fmt: skip
        events = [one.model_dump(mode="json") for one in detector.events if one.start <= window and one.is_of(*name)]
        said = [
            [str(one.says), one.first, sorted(one.measures)]
            for one in self.heard
            if (one.first <= window if one.says is Says.NORMAL else one.covers(window))
        ]
        return schema.digest([CODE, chosen, events, said])

    def of(self, name: Name, window: date, values: Values) -> str:
        """Of those, and of the values: what a verdict is `of`."""
        known = {
            measure: float(value) + 0.0
            for measure, value in values.items()
            if value is not None and not math.isnan(value) and natures.kind(measure)
        }
        return schema.digest([self.digest(name, window), known])
