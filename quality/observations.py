"""Observations: measured numbers in a time-series collection that is only ever appended to.

A reader takes the newest statement of each (series, window); the older ones are the history of restatements: what was
known on which date, and why it changed. Nothing relies on uniqueness: a crash may append a statement twice.
"""

import difflib
import math
import struct
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby, islice
from operator import itemgetter
from typing import Final, NamedTuple

import bson
from bson.raw_bson import RawBSONDocument

from config import schema
from config.schema import OBSERVATIONS, Db

Number = float | int | None

BATCH: Final = 10_000
"""Larger ones gain nothing, and hold 3 MB at a time."""
NEAR: Final = 5
"""How many similar names an error tells."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NULL: Final = b"\x0avalue\0"
_INT32: Final = 2**31
_INT64: Final = 2**63
_FLOAT: Final = 2**1023


class Cause(StrEnum):
    """Why a number was stated."""

    FIRST = "first"
    LATE_DATA = "late data"
    REPAIR = "repair"
    DEFINITION = "definition"
    REPLAY = "quarantine replay"


class Series(NamedTuple):
    """Of what the numbers are."""

    dataset: str
    scope: str
    measure: str

    def __str__(self) -> str:
        """As a person writes it; see `parse_series`."""
        return f"{self.dataset}:{self.scope}:{self.measure}"


class Observation(NamedTuple):
    """One number about one window. A tuple, for there are hundreds of thousands in a run."""

    series: Series
    at: datetime
    """Start of the window, aware."""
    value: Number
    """None: it is known that there is no number. NaN and infinities are stored as None."""
    cause: Cause = Cause.FIRST


class Statement(NamedTuple):
    """What was said of one window at one time."""

    at: datetime
    value: Number
    recorded_at: datetime
    """Known from then on."""
    run_id: str
    cause: Cause


def append(db: Db, observations: Iterable[Observation], *, run_id: str, recorded_at: datetime) -> int:
    """Store `observations`, all stated by one run at one time, and return how many there were.

    Of two about the same window the later one counts. The documents are written as BSON by hand, because most of their
    bytes are the same: this takes half the time that dictionaries take.
    """
    collection = db[OBSERVATIONS]
    encoded = _encoded(observations, run_id, recorded_at)
    count = 0
    while batch := list(islice(encoded, BATCH)):
        collection.insert_many(batch, ordered=False)
        count += len(batch)
    return count


def latest(db: Db, of: Series, since: datetime | None = None, until: datetime | None = None) -> list[Statement]:
    """What is known now of each window in [since, until), in order of time."""
    window = {key: moment for key, moment in (("$gte", since), ("$lt", until)) if moment}
    return [statements[-1] for statements in _history(db, of, {"at": window} if window else {}).values()]


def known_on(db: Db, of: Series, when: datetime) -> list[Statement]:
    """What `latest` would have answered at the time `when`."""
    return [statements[-1] for statements in _history(db, of, {"recorded_at": {"$lte": when}}).values()]


def restatements(db: Db, of: Series, at: datetime | None = None) -> dict[datetime, list[Statement]]:
    """What was said of each window, or of `at` only, in order of recording: what was known when, and why it changed.

    Statements that repeat the value before are left out: they told nothing new.
    """
    return {
        window: [next(same) for _, same in groupby(statements, key=lambda one: one.value)]
        for window, statements in _history(db, of, {"at": at} if at else {}).items()
    }


def series(db: Db, dataset: str | None = None, scope: str | None = None) -> list[Series]:
    """Of what there are observations, in order of name."""
    asked = {"series.dataset": dataset, "series.scope": scope}
    match = {key: value for key, value in asked.items() if value is not None}
    found = db[OBSERVATIONS].aggregate([{"$match": match}, {"$group": {"_id": "$series"}}])
    return sorted(Series(**one["_id"]) for one in found)


def parse_series(text: str, known: Iterable[Series]) -> Series:
    """The one of `known` that is written `text`: "DATASET:SCOPE:MEASURE", where each may hold colons itself.

    Raises ValueError, which names similar ones, if there is none, and if there are several.
    """
    by_text: dict[str, list[Series]] = {}
    for one in known:
        by_text.setdefault(str(one), []).append(one)
    found = sorted(set(by_text.get(text, ())))
    if len(found) == 1:
        return found[0]
    if found:
        ways = "; ".join(f"dataset {d!r}, scope {s!r}, measure {m!r}" for d, s, m in found)
        raise ValueError(f"{text!r} can be read in {len(found)} ways: {ways}")
    near = difflib.get_close_matches(text, by_text, n=NEAR, cutoff=0.5)
    hint = f"; near to it: {', '.join(near)}" if near else "" if by_text else "; there are no observations yet"
    raise ValueError(f"there is no series {text!r} (DATASET:SCOPE:MEASURE){hint}")


def _history(db: Db, of: Series, match: schema.Document) -> dict[datetime, list[Statement]]:
    """All that was said of each window, in order of time, then of recording."""
    wanted = {f"series.{key}": value for key, value in of._asdict().items()} | match
    found = db[OBSERVATIONS].find(wanted, {"series": 0}, batch_size=BATCH)
    history: dict[datetime, list[Statement]] = {}
    for one in sorted(found, key=itemgetter("at", "recorded_at", "_id")):
        statement = Statement(one["at"], one["value"], one["recorded_at"], one["run_id"], Cause(one["cause"]))
        history.setdefault(statement.at, []).append(statement)
    return history


def _encoded(observations: Iterable[Observation], run_id: str, recorded_at: datetime) -> Iterator[RawBSONDocument]:
    """As MongoDB takes them. `_id` is the order of recording: nanoseconds, counted up by one.

    An ObjectId orders by the second only, and its counter wraps around.
    """
    tails = {cause: _elements({"recorded_at": recorded_at, "run_id": run_id, "cause": str(cause)}) for cause in Cause}
    heads: dict[Series, bytes] = {}
    moments: dict[datetime, bytes] = {}
    pack_long = struct.Struct("<q").pack
    pack_size = struct.Struct("<i").pack
    for number, (of, at, value, cause) in enumerate(observations, time.time_ns()):
        if (head := heads.get(of)) is None:
            head = heads[of] = _elements({"series": of._asdict()})
        if (moment := moments.get(at)) is None:
            moment = moments[at] = pack_long((at - _EPOCH) // _MILLISECOND)
        body = b"".join(
            (b"\x12_id\0", pack_long(number), b"\x09at\0", moment, head, _value(value), tails[cause], b"\0")
        )
        yield RawBSONDocument(pack_size(len(body) + 4) + body)


def _elements(document: schema.Document) -> bytes:
    """`document` in BSON without its length and its end."""
    return bson.encode(document)[4:-1]


def _value(value: Number) -> bytes:
    # compared with <, not looked up in a range: that walks through all of it for an Int64, which is not quite an int
    if isinstance(value, int):
        if -_INT32 <= value < _INT32:
            return b"\x10value\0" + struct.pack("<i", value)
        if -_INT64 <= value < _INT64:
            return b"\x12value\0" + struct.pack("<q", value)
        value = float(value) if -_FLOAT <= value < _FLOAT else None
    if value is None or not math.isfinite(value):
        return _NULL
    return b"\x01value\0" + struct.pack("<d", value)
