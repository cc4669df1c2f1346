"""Verdicts: what the detector says of one window of one stream (dataset and scope), as it is kept.

One document per window. A verdict that changes, after a repair or because somebody said something, replaces the older
one; what was said before is kept in `was`, the newest last.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from config import schema
from config.schema import Db

CELLS: Final = 10
"""How many measures a verdict tells of."""
WAS: Final = 20
"""How many older verdicts on one window are kept."""
DUPLICATE_KEY: Final = 11000


class State(StrEnum):
    """What came of judging."""

    NORMAL = "normal"
    ANOMALY = "anomaly"
    BLIND = "blind"
    """Too little history for an opinion: neither a pass nor an alarm."""
    BROKEN = "broken"
    """The detector itself failed, which says nothing of the data."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One measure of the window. None: there is no such number, or no opinion."""

    measure: str
    observed: float | None
    expected: float | None
    low: float | None
    high: float | None
    """Within low and high the value alone would not alarm."""
    score: float | None
    """How strange; higher is stranger."""
    driver: str
    """What made it strange; see `quality.detector.engine`."""
    history: int
    """How many windows of usable history are behind the opinion."""
    nature: str


@dataclass(frozen=True, slots=True)
class Contributor:
    """A part of the whole, and how much of the change it accounts for."""

    what: str
    """ "scope", or the name of a field."""
    name: str
    observed: float
    expected: float
    share: float
    """Of the change: 1 is all of it, negative is against it; the most first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the detector says of one window of one stream."""

    dataset: str
    scope: str
    window: date
    state: State
    judged_at: datetime
    """When the values were read that it is about."""
    run_id: str
    of: str
    """Digest of what was judged; see `quality.detector.judging.digest`."""
    rarity: float = 0.0
    """How many times rarer than the budget of false alarms allows; from 1 on it is an anomaly."""
    cells: tuple[Cell, ...] = ()
    """The strangest first, at most CELLS."""
    missing: str = ""
    """Blind: what is missing for an opinion, in words."""
    together: str = ""
    """That all sources fell together, which is no fault of one."""
    blocks: bool = False
    """Gold that is made of it is held back."""
    contributors: tuple[Contributor, ...] = ()
    error: str = ""
    """Broken: what happened."""
    made_of: str = ""
    """Gold that was judged before it was published: digest of what it was computed from."""

    @property
    def key(self) -> str:
        """The `_id` of its document."""
        return f"{self.dataset}|{self.scope}|{self.window.isoformat()}"

    def document(self) -> dict[str, Any]:
        """As it is kept; without `_id` and `was`."""
        return asdict(self) | {
            "window": schema.start_of(self.window),
            "state": str(self.state),
            "rarity": _finite(self.rarity),
            "cells": [asdict(cell) for cell in self.cells],
            "contributors": [asdict(one) for one in self.contributors],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Verdict":
        """What `document` says."""
        known = {one.name: document[one.name] for one in fields(cls) if one.name in document}
        return cls(
            **known
            | {
                "window": document["window"].date(),
                "state": State(document["state"]),
                "cells": tuple(Cell(**cell) for cell in document["cells"]),
                "contributors": tuple(Contributor(**one) for one in document["contributors"]),
            }
        )


def put(db: Db, verdicts: Iterable[Verdict]) -> None:
    """Keep `verdicts`. One of values that were read later is never replaced by an older one.

    An anomaly that still stands keeps its time: judged again, it is no news. One that holds back Gold goes on doing so
    where the detector breaks.
    """
    operations = [_put(verdict) for verdict in verdicts]
    if not operations:
        return
    try:
        db[schema.VERDICTS].bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        # a duplicate key: another verdict is there, and stays
        if error.details["writeConcernErrors"] or any(e["code"] != DUPLICATE_KEY for e in error.details["writeErrors"]):
            raise


def find(db: Db, dataset: str, scope: str, days: tuple[date, date] | None = None) -> list[Verdict]:
    """The verdicts of a stream in order of time; of the windows in [first, last) if `days` is given."""
    first, last = days or (date.min, date.max)
    between = {"$gte": f"{dataset}|{scope}|{first.isoformat()}", "$lt": f"{dataset}|{scope}|{last.isoformat()}"}
    found = db[schema.VERDICTS].find({"_id": between, "dataset": dataset, "scope": scope}).sort("_id")
    return [Verdict.from_document(one) for one in found]


def anomalies(db: Db, since: date | None = None) -> Iterator[Verdict]:
    """All anomalies of windows from `since` on, in order of time."""
    yield from of_state(db, (State.ANOMALY,), since)


def of_state(db: Db, states: Sequence[State], since: date | None = None) -> Iterator[Verdict]:
    """All verdicts of these states on windows from `since` on, in order of time."""
    window = {"window": {"$gte": schema.start_of(since)}} if since else {}
    found = db[schema.VERDICTS].find({"state": {"$in": [str(state) for state in states]}, **window})
    for one in found.sort([("window", 1), ("_id", 1)]):
        yield Verdict.from_document(one)


def _put(verdict: Verdict) -> UpdateOne:
    """One write: the older verdict goes into `was` if the new one says something else."""
    older = {"state": "$state", "judged_at": "$judged_at", "rarity": "$rarity"}
    is_other = {"$and": [{"$ne": [{"$type": "$state"}, "missing"]}, {"$ne": ["$state", str(verdict.state)]}]}
    was = {"$ifNull": ["$was", []]}
    kept = {"$slice": [{"$cond": [is_other, {"$concatArrays": [was, [older]]}, was]}, -WAS]}
    anomaly = str(State.ANOMALY)
    told: dict[str, Any] = {name: {"$literal": value} for name, value in verdict.document().items()}
    where: dict[str, Any] = {"_id": verdict.key, "judged_at": {"$not": {"$gt": verdict.judged_at}}}
    if verdict.state is State.ANOMALY:
        stands = {"$and": [{"$eq": ["$state", anomaly]}, {"$eq": ["$of", {"$literal": verdict.of}]}]}
        told["judged_at"] = {"$cond": [stands, "$judged_at", told["judged_at"]]}
    if verdict.state is State.BROKEN:
        where["$nor"] = [{"state": anomaly, "blocks": True}]
    return UpdateOne(where, [{"$set": {"was": kept}}, {"$set": told}], upsert=True)


def _finite(rarity: float) -> float:
    return rarity if math.isfinite(rarity) else 1e308
