"""Measures of rows that lie in MongoDB: one aggregation pipeline, and what its output says in numbers.

The names and definitions are those of `quality.tally`, which measures rows in memory. A path is put into a pipeline as
a literal name only, so that no name, whatever it begins with, becomes an operator. Pure but for the last two functions.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bson import Decimal128

from config import mongo
from config.schema import DAY, Coll, Document
from quality.suites import Suite

Number = float | int | None
Measures = dict[str, Number]

_PLAIN: Final = re.compile(r"[^$.\0][^.\0]*(\.[^$.\0][^.\0]*)*")
"""What may be a key of a query: no part begins with `$`, is empty or holds NUL."""
_INDEX_LIMIT: Final = 2**31
"""$arrayElemAt takes a 32 bit position."""
_WINDOW, _EVENT, _KEY = "w", "e", "k"


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows of a collection carry what measuring needs, as dotted paths."""

    scope: str | None
    """None: all rows are of one scope."""
    event: str
    """When it happened: a date, or a text that begins with one in ISO 8601, to the microsecond."""
    key: str
    window: str | None = None
    """The start of its window; None: the day of `event`, which is a date then."""
    gone: str | None = None
    """Present on rows that only keep a place, and are not measured."""


BRONZE: Final = Rows(scope="origin", event="updated_on", key="id", window="window")
SILVER: Final = Rows(scope="scope", event="version", key="_id", window="day", gone="deleted")


def pipeline(suite: Suite, rows: Rows, scope: Any, windows: Sequence[datetime]) -> list[Document]:
    """Yields a document per window of `windows` that has rows; `values` reads it. Run it with `allowDiskUse`.

    Memory is bounded: different values are counted by grouping, which spills to disk, never collected in a document.
    """
    numbers = [_finite(f"$v{place}") for place in _places(suite, suite.numeric)]
    stages = flat(suite, rows, scope, windows)
    plain: Document = {"_id": f"${_WINDOW}", "rows": {"$sum": 1}, "newest": {"$max": f"${_EVENT}"}}
    for number, place in enumerate(_places(suite, suite.fields)):
        plain[f"nulls{number}"] = {"$sum": {"$cond": [{"$eq": [f"$v{place}", None]}, 1, 0]}}
    for number, value in enumerate(numbers):
        plain |= {f"min{number}": {"$min": value}, f"max{number}": {"$max": value}, f"mean{number}": {"$avg": value}}
    parts = {"plain": [{"$group": plain}]}
    if rows.key != "_id":
        parts["keys"] = [*_counted(_KEY), {"$group": {"_id": "$_id.w", "keys": {"$sum": 1}}}]
    for number, place in enumerate(_places(suite, suite.categorical)):
        share: Document = {
            "_id": "$_id.w",
            f"distinct{number}": {"$sum": 1},
            f"top{number}": {"$max": "$n"},
            f"known{number}": {"$sum": "$n"},
        }
        known = {"$match": {"$expr": {"$ne": ["$_id.v", None]}}}
        parts[f"category{number}"] = [*_counted(f"v{place}"), known, {"$group": share}]
    if len(parts) == 1:
        return [*stages, *parts["plain"]]
    return [
        *stages,
        {"$facet": parts},
        {"$project": {"one": {"$concatArrays": [f"${name}" for name in parts]}}},
        {"$unwind": "$one"},
        {"$group": {"_id": "$one._id", "all": {"$mergeObjects": "$one"}}},
        {"$replaceRoot": {"newRoot": "$all"}},
    ]


def flat(suite: Suite, rows: Rows, scope: Any, windows: Sequence[datetime]) -> list[Document]:
    """Yields the rows of `windows`: `w`, where its window starts, and `v0`, ...: what is at the paths of `suite`."""
    shown = {
        "_id": 0,
        _WINDOW: _at(rows.window) if rows.window else _day(_at(rows.event)),
        _EVENT: _at(rows.event),
        **({} if rows.key == "_id" else {_KEY: {"$ifNull": [_at(rows.key), None]}}),
        **{f"v{place}": {"$ifNull": [_at(path), None]} for place, path in enumerate(_paths(suite))},
    }
    known: list[Document] = [{"$match": {_WINDOW: {"$ne": None}}}] if rows.window is None else []
    return [_match(rows, scope, windows), {"$project": shown}, *known]


def values(
    document: Mapping[str, Any] | None,
    suite: Suite,
    *,
    freshness_seconds: float | None = None,
    further: Mapping[str, Number] | None = None,
) -> Measures:
    """The measures of a window: of its `document` (None: no rows), its freshness, and what the caller adds.

    What is undefined (the null ratio of no rows, the mean of no numbers) is left out: it is neither 0 nor null.
    So is a number beyond the range of a float.
    """
    measures: Measures = {"rows": 0}
    if document:
        rows = document["rows"]
        keys = document.get("keys", rows)
        measures = {"rows": rows, "distinct.key": keys, "duplicate_ratio": 1 - keys / rows}
        for number, path in enumerate(suite.fields):
            measures[f"null_ratio.{path}"] = document[f"nulls{number}"] / rows
        for number, path in enumerate(suite.numeric):
            for name in ("min", "max", "mean"):
                if (value := _number(document[f"{name}{number}"])) is not None:
                    measures[f"{name}.{path}"] = value
        for number, path in enumerate(suite.categorical):
            if f"distinct{number}" in document:
                measures[f"distinct.{path}"] = document[f"distinct{number}"]
                measures[f"top_share.{path}"] = document[f"top{number}"] / document[f"known{number}"]
    if freshness_seconds is not None:
        measures["freshness_seconds"] = freshness_seconds
    return measures | dict(further or {})


def newest(document: Mapping[str, Any]) -> datetime | None:
    """The time of the newest event that a document of `pipeline` has."""
    return _moment(document["newest"])


def freshness(
    windows: Iterable[datetime],
    newest_by_window: Mapping[datetime, datetime],
    before: Mapping[datetime, datetime],
    now: datetime,
) -> dict[datetime, float | None]:
    """Seconds from the newest event to the end of each window, or to `now` where that is earlier.

    before: of each window of `unknown_before`, the newest event before it, if there was one. None: there has been no
    event yet, or the window has not begun. An event that is ahead of the clock counts as just now.
    """
    seconds: dict[datetime, float | None] = {}
    latest: datetime | None = None
    previous: datetime | None = None
    for window in sorted(windows):
        if previous != window - DAY:
            latest = before.get(window)
        latest = newest_by_window.get(window, latest)
        until = min(window + DAY, now)
        begun = latest is not None and window < now
        seconds[window] = max(0.0, (until - latest).total_seconds()) if latest and begun else None
        previous = window
    return seconds


def unknown_before(windows: Iterable[datetime], newest_by_window: Mapping[datetime, datetime]) -> list[datetime]:
    """The windows without rows whose freshness depends on what lies before `windows`."""
    asked = set(windows)
    return sorted(window for window in asked if window not in newest_by_window and window - DAY not in asked)


def newest_before(collection: Coll, rows: Rows, scope: Any, moments: Iterable[datetime]) -> dict[datetime, datetime]:
    """The time of the newest event before each of `moments`, which are starts of windows; absent if there is none.

    Costs a look-up for each stretch of time without events, by the index on scope and time where there is one.
    """
    collection = collection.with_options(codec_options=mongo.CODEC)
    found: dict[datetime, datetime] = {}
    last: datetime | None = None
    for moment in sorted(moments, reverse=True):
        if last is None or last >= moment:
            last = _newest_before(collection, rows, scope, moment)
            if last is None:
                break
        found[moment] = last
    return found


def measure(  # noqa: PLR0913, PLR0917 - what, of which rows, when
    collection: Coll, suite: Suite, rows: Rows, scope: Any, windows: Sequence[datetime], now: datetime
) -> dict[datetime, Measures]:
    """The measures of each of `windows` of one scope, with freshness; reads only."""
    collection = collection.with_options(codec_options=mongo.CODEC)
    found = collection.aggregate(pipeline(suite, rows, scope, windows), allowDiskUse=True)
    documents = {document["_id"]: document for document in found}
    times = {window: time for window, document in documents.items() if (time := newest(document))}
    before = newest_before(collection, rows, scope, unknown_before(windows, times))
    seconds = freshness(windows, times, before, now)
    return {window: values(documents.get(window), suite, freshness_seconds=seconds[window]) for window in windows}


def _paths(suite: Suite) -> list[str]:
    return list(dict.fromkeys([*suite.fields, *suite.numeric, *suite.categorical]))


def _places(suite: Suite, paths: Iterable[str]) -> list[int]:
    """Where `paths` are among the values of a flattened row."""
    all_paths = _paths(suite)
    return [all_paths.index(path) for path in paths]


def _at(path: str) -> Any:
    """What a row holds at `path`, as `gate.at_path` has it."""
    names = path.split(".")
    value: Any = "$$ROOT"
    for name in names:
        value = _member(value, name)
    return {"$ifNull": [_member("$$ROOT", path), value]} if len(names) > 1 else value


def _member(value: Any, name: str) -> Any:
    """The member `name` of an object, or that number of a list; missing if there is none."""
    field = {"$literal": name}
    if value == "$$ROOT" or not name.isdecimal() or int(name) >= _INDEX_LIMIT:
        return {"$getField": {"field": field, "input": value}}
    item = {"$arrayElemAt": ["$$value", int(name)]}
    member = {"$getField": {"field": field, "input": "$$value"}}
    return {"$let": {"vars": {"value": value}, "in": {"$cond": [{"$isArray": "$$value"}, item, member]}}}


def _match(rows: Rows, scope: Any, windows: Sequence[datetime]) -> Document:
    """The rows of `windows`, by an index where the paths allow for one."""
    if rows.window is not None:
        return _rows_where(rows, scope, _where(rows.window, {"$in": list(windows)}))
    times: list[Document] = [
        {"$and": [_where(rows.event, {"$gte": start}), _where(rows.event, {"$lt": end})]}
        for start, end in _stretches(windows)
    ]
    return _rows_where(rows, scope, {"$or": times} if times else {"$expr": False})


def _rows_where(rows: Rows, scope: Any, condition: Document) -> Document:
    of = [_where(rows.scope, {"$eq": scope})] if rows.scope else []
    gone = [_where(rows.gone, {"$eq": None})] if rows.gone else []
    return {"$match": {"$and": [*of, condition, *gone]}}


def _where(path: str, condition: Mapping[str, Any]) -> Document:
    if _PLAIN.fullmatch(path):
        return {path: dict(condition)}
    ((operator, value),) = condition.items()
    return {"$expr": {operator: [{"$ifNull": [_at(path), None]}, {"$literal": value}]}}


def _stretches(windows: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """`windows` as [start, end), those side by side as one."""
    stretches: list[tuple[datetime, datetime]] = []
    for window in sorted(set(windows)):
        if stretches and stretches[-1][1] == window:
            stretches[-1] = (stretches[-1][0], window + DAY)
        else:
            stretches.append((window, window + DAY))
    return stretches


def _day(moment: Any) -> Document:
    """The day of a date, null for anything else: lists of dates match a query for dates, but are none."""
    truncated = {"$dateTrunc": {"date": moment, "unit": "day"}}
    return {"$cond": [{"$eq": [{"$type": moment}, "date"]}, truncated, None]}


def _finite(value: str) -> Document:
    """`value` if it is a finite number, else null: what is above -Infinity and below Infinity is (NaN is below all)."""
    return {"$cond": [{"$and": [{"$gt": [value, -math.inf]}, {"$lt": [value, math.inf]}]}, value, None]}


def _counted(field: str) -> list[Document]:
    return [{"$group": {"_id": {"w": f"${_WINDOW}", "v": f"${field}"}, "n": {"$sum": 1}}}]


def _newest_before(collection: Coll, rows: Rows, scope: Any, moment: datetime) -> datetime | None:
    path = rows.window or rows.event
    event = _at(rows.event)
    matched = _rows_where(rows, scope, _where(path, {"$lt": moment}))
    if _PLAIN.fullmatch(path):
        one: list[Document] = [{"$sort": {path: -1}}, {"$limit": 1}, {"$project": {"at": _at(path)}}]
        last = next(collection.aggregate([matched, *one]), {})
        if rows.window is None and isinstance(last.get("at"), datetime):
            return _moment(last["at"])
        if rows.window and last:
            matched = _rows_where(rows, scope, _where(path, {"$eq": last["at"]}))
    dates = event if rows.window else {"$cond": [{"$eq": [{"$type": event}, "date"]}, event, None]}
    found: Document = next(collection.aggregate([matched, {"$group": {"_id": None, "at": {"$max": dates}}}]), {})
    return _moment(found.get("at"))


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value[:26]).replace(tzinfo=UTC)
    return value if isinstance(value, datetime) else None


def _number(value: Any) -> Number:
    if isinstance(value, Decimal128):
        value = float(value.to_decimal())
    return value if value is not None and math.isfinite(value) else None
