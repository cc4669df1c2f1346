"""A collection that Touchstone did not make: looked at, measured and read, never written to.

What goes wrong with it is a WatchError, which names the dataset and says what to do; nothing of our own database is
touched here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure, PyMongoError

from config import mongo, schema
from config.redaction import redacted
from config.settings import Collection
from quality import measures
from quality.gate import at_path
from quality.suites import Suite
from tasks import checks
from tasks.context import Context

ALL: Final = "all"
"""The scope of all rows, where no field tells scopes apart."""
NONE: Final = "(none)"
"""The scope of rows whose scope field is null or missing."""
MOST_SCOPES: Final = 1000
"""Each has windows of its own for every day; a field of more values is a key rather than a scope."""
LONGEST_SCOPE: Final = 200

BYTES: Final = 64 * 1024 * 1024
"""About how many bytes of rows are held in memory at once; a single row has up to 16 MB."""

_RAW: Final = CodecOptions(document_class=RawBSONDocument)
_ROW: Final[CodecOptions[schema.Document]] = mongo.CODEC.with_options(unicode_decode_error_handler="replace")
_NO_DATES: Final = (
    "double", "string", "object", "array", "binData", "undefined", "objectId", "bool", "regex", "dbPointer",
    "javascript", "symbol", "javascriptWithScope", "int", "timestamp", "long", "decimal", "minKey", "maxKey",
)  # fmt: skip
"""All types of BSON but null and date: a query for them is served by an index on the field."""


class WatchError(RuntimeError):
    """The dataset cannot be watched; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look says of a window."""

    rows: int
    fingerprint: str
    """Changes when rows are added, removed or changed in size, time or key, or in the numbers that are measured."""


NOTHING: Final = Seen(0, schema.digest([]))


@dataclass(slots=True)
class Look:
    """What one look says of all windows that were asked for. Windows without rows are not in it."""

    windows: dict[tuple[str, date], Seen] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """Per scope the values of the scope field that are written like it: 7 and "7" are one scope."""
    no_time: int = 0
    """How many rows have no date in the time field, and so are of no window."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, as it can be judged, and as it lies in the collection, byte for byte."""

    day: date
    value: schema.Document
    raw: bytes


@dataclass(frozen=True, slots=True)
class Foreign:
    """One watched collection, opened."""

    dataset: Collection
    rows: schema.Coll
    suite: Suite

    @classmethod
    def open(cls, context: Context, dataset: Collection) -> "Foreign":
        """Connect as configured. Raises WatchError if there is no such server or collection."""
        with _told(dataset):
            uri = dataset.uri.get_secret_value() if dataset.uri else None
            db = mongo.foreign(context.settings, uri, dataset.database)
            if not db.list_collection_names(filter={"name": dataset.collection}):
                raise WatchError(
                    f"{dataset.name}: there is no collection {dataset.collection!r} in the database {db.name!r}: "
                    "correct `collection` or `database` in its [[datasets]]"
                )
            return cls(dataset, db[dataset.collection], context.suite(dataset.name))

    def look(self, days: Iterable[date]) -> Look:
        """What the windows of `days` hold, by one aggregation. Raises WatchError."""
        look = Look()
        digests: dict[tuple[str, date], list[str]] = defaultdict(list)
        rows: Counter[tuple[str, date]] = Counter()
        strays = 0
        with _told(self.dataset):
            for one in self.rows.aggregate(self._fingerprints(list(days)), allowDiskUse=True):
                if one["_id"]["w"] is None:
                    strays += one["rows"]  # dates in a list, which a query for dates finds
                    continue
                window = (scope_of(one["_id"].get("s")) if self.dataset.scope else ALL, one["_id"]["w"].date())
                digests[window].append(schema.digest(bson.encode(one)))
                rows[window] += one["rows"]
                values = look.values[window[0]]
                if self.dataset.scope and one["_id"].get("s") not in values:
                    values.append(one["_id"].get("s"))
                if len(look.values) > MOST_SCOPES:
                    raise WatchError(
                        f"{self.dataset.name}: {self.dataset.scope!r} has more than {MOST_SCOPES:,} values: name a "
                        "field of few values as its `scope` in [[datasets]], or leave it out"
                    )
            look.windows = {one: Seen(rows[one], schema.digest(sorted(digests[one]))) for one in rows}
            types = [{self.dataset.time: None}, {self.dataset.time: {"$type": list(_NO_DATES)}}]
            look.no_time = max(strays, self.rows.count_documents({"$or": types}))
            if not look.windows and look.no_time and not self._has_dates():
                raise WatchError(
                    f"{self.dataset.name}: none of its rows has a date in {self.dataset.time!r}: correct `time` in its "
                    "[[datasets]]; a text or a number is no date"
                )
        return look

    def measure(self, look: Look, scope: str, days: Sequence[date], now: datetime) -> dict[date, measures.Measures]:
        """The measures of each of `days` of one scope, with freshness. Raises WatchError."""
        windows = [schema.start_of(day) for day in days]
        rows = measures.Rows(scope=None, event=self.dataset.time, key=self.dataset.key)
        of_scope = measures.Rows(scope=self.dataset.scope, event=self.dataset.time, key=self.dataset.key)
        with _told(self.dataset):
            of = [{"$match": {"$and": found}}] if (found := self._of(look, scope)) else []
            stages = [*of, *measures.pipeline(self.suite, rows, None, windows)]
            documents = {one["_id"]: one for one in self.rows.aggregate(stages, allowDiskUse=True)}
            times = {window: time for window, one in documents.items() if (time := measures.newest(one))}
            asked = measures.unknown_before(windows, times)
            before: dict[datetime, datetime] = {}
            for value in self._values(look, scope):
                for window, time in measures.newest_before(self.rows, of_scope, value, asked).items():
                    before[window] = max(time, before.get(window, time))
        seconds = measures.freshness(windows, times, before, now)
        return {
            window.date(): measures.values(documents.get(window), self.suite, freshness_seconds=seconds[window])
            for window in windows
        }

    def read(self, look: Look, scope: str, days: Sequence[date]) -> Iterator[list[Row]]:
        """The rows of `days` of one scope, in pieces of about ROWS and BYTES. Raises WatchError."""
        rows = self.rows.with_options(codec_options=_RAW)
        wanted = set(days)
        piece: list[Row] = []
        size = 0
        with _told(self.dataset):
            for one in rows.find({"$and": [self._times(days), *self._of(look, scope)]}):
                value = bson.decode(one.raw, _ROW)
                time = at_path(value, self.dataset.time)
                if not isinstance(time, datetime) or time.date() not in wanted:
                    continue
                piece.append(Row(time.date(), value, bytes(one.raw)))
                size += len(one.raw)
                if len(piece) >= checks.ROWS or size >= BYTES:
                    yield piece
                    piece, size = [], 0
        if piece:
            yield piece

    def has(self, path: str) -> bool:
        """Whether any row has the path. Raises WatchError."""
        if any(not part or part.startswith("$") for part in path.split(".")):
            return False
        with _told(self.dataset):
            return self.rows.find_one({path: {"$exists": True}}, {"_id": 1}) is not None

    def _has_dates(self) -> bool:
        return self.rows.find_one({self.dataset.time: {"$type": "date"}}, {"_id": 1}) is not None

    def _fingerprints(self, days: Sequence[date]) -> list[schema.Document]:
        time, key = f"${self.dataset.time}", f"${self.dataset.key}"
        is_date = {"$eq": [{"$type": time}, "date"]}
        since_midnight = {"$mod": [{"$toLong": time}, 86_400_000]}
        group: schema.Document = {
            "_id": {"w": {"$cond": [is_date, {"$dateTrunc": {"date": time, "unit": "day"}}, None]}},
            "rows": {"$sum": 1},
            "bytes": {"$sum": {"$bsonSize": "$$ROOT"}},
            "first": {"$min": key},
            "last": {"$max": key},
            "newest": {"$max": time},
            "times": {"$sum": {"$cond": [is_date, since_midnight, 0]}},
        }
        if self.dataset.scope:
            group["_id"]["s"] = {"$ifNull": [f"${self.dataset.scope}", None]}
        for number, path in enumerate(self.suite.numeric):
            if not any(not part or part.startswith("$") for part in path.split(".")):
                group[f"sum{number}"] = {"$sum": f"${path}"}
        return [{"$match": self._times(days)}, {"$group": group}]

    def _times(self, days: Iterable[date]) -> schema.Document:
        """The rows of `days`, by an index where there is one; days side by side are one range."""
        ranges: list[tuple[date, date]] = []
        for day in sorted(set(days)):
            after = day + timedelta(days=1)
            if ranges and ranges[-1][1] == day:
                ranges[-1] = (ranges[-1][0], after)
            else:
                ranges.append((day, after))
        return {
            "$or": [
                {self.dataset.time: {"$gte": schema.start_of(first), "$lt": schema.start_of(after)}}
                for first, after in ranges
            ]
            or [{"$expr": False}]
        }

    def _of(self, look: Look, scope: str) -> list[schema.Document]:
        """The rows of one scope: by an index where there is one, then exactly (a list matches what it holds)."""
        if self.dataset.scope is None:
            return []
        values = self._values(look, scope)
        exactly = {"$in": [{"$ifNull": [f"${self.dataset.scope}", None]}, {"$literal": values}]}
        return [{self.dataset.scope: {"$in": values}}, {"$expr": exactly}]

    def _values(self, look: Look, scope: str) -> list[Any]:
        """What rows of the scope have in the scope field; a guess where none of them was seen."""
        if self.dataset.scope is None or scope == NONE:
            return [None]
        return look.values.get(scope) or [scope]


def scope_of(value: Any) -> str:
    """What the windows of rows with this scope are called: `value` as text that fits into a key of the ledger."""
    if value is None:
        return NONE
    text = value if isinstance(value, str) else str(value)
    text = "".join("_" if character == "|" or ord(character) < ord(" ") else character for character in text)
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > LONGEST_SCOPE:
        text = f"{text[:LONGEST_SCOPE]}#{schema.digest(text)[:8]}"
    return text or "(empty)"


@contextmanager
def _told(dataset: Collection) -> Iterator[None]:
    """What the driver says, in words that name the dataset and hold no credential."""
    try:
        yield
    except mongo.MongoError as error:
        raise WatchError(redacted(f"{dataset.name}: {error}")) from None
    except OperationFailure as error:
        code = (error.details or {}).get("codeName", error.code)
        told = redacted(f"{dataset.name}: MongoDB refused to read {dataset.collection!r}: {code}: {error}")
        raise WatchError(told[:500]) from None
    except PyMongoError as error:
        told = redacted(f"{type(error).__name__}: {error}")[:300]
        raise WatchError(f"{dataset.name}: its server does not answer as it should: {told}") from None
