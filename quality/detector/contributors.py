"""What accounts for an anomaly: which scopes, which values of which fields, and whose nulls.

What is there is held against the mean of the last same weekdays that teach, which need not be what the detector
expects: it is the same question for each part, so that the parts add up to the whole.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final

from pymongo.errors import OperationFailure, PyMongoError

from config import catalog, mongo, schema
from config.schema import Db, Document
from config.settings import Settings
from quality import measures, suites
from quality.detector import explain, natures
from quality.detector.explain import NULLS, SCOPE
from quality.detector.history import Panelled, Window
from quality.detector.units import COUNT
from quality.detector.verdicts import Contributor, Verdict
from quality.suites import Suite

WEEKS: Final = 4
"""So many same weekdays are compared with."""
BACK: Final = 8
"""Weeks back in which they are looked for."""
MOST: Final = 5
"""Contributors of one kind."""
FIELDS: Final = 5
"""Fields whose values are counted."""
ENOUGH: Final = 0.8
"""Those that account for so much of the change say enough."""
PATIENCE_MS: Final = 5_000
"""What takes longer to count is not told: the verdict stands without it."""
LONGEST: Final = 100
"""Characters of a value."""
_ROWS: Final = "rows"
_NONE: Final = "(none)"
_WORDY: Final = ("double", "int", "long", "decimal", "bool", "date", "objectId")

Place = tuple[schema.Coll, measures.Rows, str | None]
"""A collection, where its rows carry what is needed, and the scope they are of."""


def of(db: Db, settings: Settings, verdict: Verdict, history: Sequence[Panelled]) -> tuple[Contributor, ...]:
    """What accounts for the anomaly, per kind the most first; nothing where nothing can be told. Raises PyMongoError.

    history: that of all scopes of its dataset at least.
    """
    strange = explain.names(verdict.cells)
    mine = next((one for one in history if (one.dataset, one.scope) == (verdict.dataset, verdict.scope)), None)
    if not strange or mine is None:
        return ()
    found = [*_scopes(verdict, history, strange), *_values(db, settings, verdict, mine, strange)]
    nulls = _nulls(verdict)
    return tuple([*nulls, *found] if strange[0].startswith(f"{NULLS}.") else [*found, *nulls])


def _scopes(verdict: Verdict, history: Sequence[Panelled], strange: Sequence[str]) -> list[Contributor]:
    """Which scopes account for the change of the dataset's total, if this one is among those that do."""
    measure = next((name for name in strange if _adds_up(name)), None)
    if measure is None:
        return []
    parts = [
        (one.scope, *numbers)
        for one in history
        if one.dataset == verdict.dataset and (numbers := _numbers(one, measure, verdict.window)) is not None
    ]
    total = sum(observed - expected for _, observed, expected in parts)
    shares = _most([Contributor(SCOPE, name, o, e, (o - e) / total) for name, o, e in parts]) if total else []
    return shares if len(parts) > 1 and any(one.name == verdict.scope for one in shares) else []


def _numbers(one: Panelled, measure: str, window: date) -> tuple[float, float] | None:
    """What there is, and the mean of the same weekdays before; None where either is not known."""
    column = next((n for n, each in enumerate(one.stream.measures) if each.name == measure), None)
    row, before = one.row(window), _before(one, window)
    if column is None or row is None:
        return None
    observed = float(one.stream.values[row, column])
    known = [float(one.stream.values[one_row, column]) for day in before if (one_row := one.row(day)) is not None]
    known = [value for value in known if not math.isnan(value)]
    return (observed, sum(known) / len(known)) if known and not math.isnan(observed) else None


def _before(one: Panelled, window: date) -> list[date]:
    """The last same weekdays that teach."""
    days = [window - timedelta(weeks=week) for week in range(1, BACK + 1)]
    rows = [(day, one.row(day)) for day in days]
    return [day for day, row in rows if row is not None and one.states[row] is Window.KNOWN][:WEEKS]


def _adds_up(measure: str) -> bool:
    """Whether the numbers of all scopes make one of the dataset."""
    kind = natures.kind(measure)
    return kind is not None and kind.nature == COUNT and not measure.startswith("distinct.")


def _nulls(verdict: Verdict) -> list[Contributor]:
    """Which fields are null more often than they should be."""
    jumped = [
        (cell.measure.partition(".")[2], cell.observed, cell.expected)
        for cell in verdict.cells
        if cell.measure.startswith(f"{NULLS}.") and explain.is_above(cell)
    ]
    known = [(name, o, e) for name, o, e in jumped if o is not None and e is not None]
    total = sum(o - e for _, o, e in known)
    return [Contributor(NULLS, name, o, e, (o - e) / total) for name, o, e in known if total][:MOST]


def _values(
    db: Db, settings: Settings, verdict: Verdict, mine: Panelled, strange: Sequence[str]
) -> Iterator[Contributor]:
    """Which values of the categorical fields account for the change of the rows."""
    fields = suites.suite(verdict.dataset, settings).categorical
    if _ROWS not in strange:
        fields = tuple(one for one in fields if {f"distinct.{one}", f"top_share.{one}"} & set(strange))
    before = _before(mine, verdict.window)
    if not fields or not before:
        return
    days = [verdict.window, *before]
    if verdict.dataset.startswith(catalog.BRONZE):
        place: Place = (db[verdict.dataset], measures.BRONZE, verdict.scope)
    elif verdict.dataset in {one.name for one in catalog.ENTITIES}:
        place = db[verdict.dataset], measures.SILVER, verdict.scope
    elif (watched := _watched(settings, verdict)) is not None:
        place = watched
    else:
        return
    for path in fields[:FIELDS]:
        yield from _counted(path, verdict.dataset, place, days, is_ours=place[0].database.client is db.client)


def _watched(settings: Settings, verdict: Verdict) -> Place | None:
    """Where the rows of a watched collection are; None if they cannot be looked at, or told from others."""
    one = next((each for each in settings.datasets if each.name == verdict.dataset), None)
    if one is None:
        return None
    try:
        foreign = mongo.foreign(settings, one.uri.get_secret_value() if one.uri else None, one.database)
    except mongo.MongoError:
        return None
    rows = measures.Rows(scope=one.scope, event=one.time, key=one.key)
    return foreign[one.collection], rows, None if verdict.scope == _NONE else verdict.scope


def _counted(path: str, dataset: str, place: Place, days: Sequence[date], *, is_ours: bool) -> list[Contributor]:
    """The values of the field at `path` whose rows have changed most.

    The share is of the change of all rows; where values rose while others fell, of all that moved.
    """
    collection, rows, scope = place
    windows = [schema.start_of(day) for day in days]
    head = measures.flat(Suite(dataset, categorical=(path,)), rows, scope, windows)
    stages = [*head, *_changes(windows[0], len(windows) - 1)]
    try:
        found = next(collection.aggregate(stages, allowDiskUse=True, maxTimeMS=PATIENCE_MS), None)
    except OperationFailure:
        return []  # too slow, or values that the server cannot compare: the verdict stands without it
    except PyMongoError:
        if is_ours:
            raise
        return []
    if found is None or not found["moved"]:
        return []
    mixed = abs(found["change"]) < found["moved"] / 2
    parts = []
    for one in found["top"]:
        share = abs(one["change"]) / found["moved"] if mixed else one["change"] / found["change"]
        parts.append(Contributor(path, one["name"], one["now"], one["was"], share))
    return _most(parts)


def _changes(window: Any, before: int) -> list[Document]:
    """Yields one document: by how much all values changed, up and down together, and those that changed most."""
    is_now = {"$eq": ["$w", window]}
    kind = {"$type": "$_id"}
    name = {
        "$switch": {
            "branches": [
                {"case": {"$eq": [kind, "string"]}, "then": {"$substrCP": ["$_id", 0, LONGEST]}},
                {"case": {"$in": [kind, list(_WORDY)]}, "then": {"$toString": "$_id"}},
                {"case": {"$in": [kind, ["null", "missing"]]}, "then": _NONE},
            ],
            "default": {"$concat": ["(", kind, ")"]},
        }
    }
    count = {"now": {"$sum": {"$cond": [is_now, 1, 0]}}, "was": {"$sum": {"$cond": [is_now, 0, 1 / before]}}}
    size = {"$abs": "$change"}
    shown = {"name": "$name", "now": "$now", "was": "$was", "change": "$change"}
    return [
        {"$group": {"_id": "$v0", **count}},
        {"$project": {"_id": 0, "name": name, "now": 1, "was": 1, "change": {"$subtract": ["$now", "$was"]}}},
        {"$set": {"size": size}},
        {
            "$group": {
                "_id": None,
                "change": {"$sum": "$change"},
                "moved": {"$sum": "$size"},
                "top": {"$topN": {"n": MOST, "sortBy": {"size": -1, "name": 1}, "output": shown}},
            }
        },
    ]


def _most(parts: Sequence[Contributor]) -> list[Contributor]:
    """Those that account for most of the change: as many as are enough, the most first."""
    kept: list[Contributor] = []
    for one in sorted(parts, key=lambda part: (-part.share, part.name))[:MOST]:
        if one.share <= 0 or sum(part.share for part in kept) >= ENOUGH:
            break
        kept.append(one)
    return kept
