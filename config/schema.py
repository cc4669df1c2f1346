"""The shape of the database: collections, documents, indexes, and the one function that makes them.

After the pipeline the process boundary is the database, and this module is the contract.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NotRequired, TypedDict

from bson.dbref import DBRef
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from config import catalog

Document = dict[str, Any]
Db = Database[Document]
Coll = Collection[Document]

LEDGER: Final = "ledger"
QUARANTINE: Final = "quarantine"
OBSERVATIONS: Final = "observations"
MANIFESTS: Final = "manifests"
SCHEMA_FIELDS: Final = "schema_fields"
DRIFT: Final = "drift"
WITHDRAWN: Final = "withdrawn"
RUNS: Final = "runs"
META: Final = "meta"
INCIDENTS: Final = "incidents"
CHANNELS: Final = "channels"
SAID: Final = "detector_said"
VERDICTS: Final = "verdicts"
DELIVERY_ROWS: Final = "silver.deliveries.revisions"
GOLD_ROWS: Final = "gold.dora_daily.revisions"

DAY: Final = timedelta(days=1)


class LedgerDocument(TypedDict):
    """One partition: a window of a dataset for one scope, or the whole history (`window` None)."""

    _id: str
    dataset: str
    scope: str
    window: datetime | None
    fence: int
    owner: NotRequired[str | None]
    lease_until: NotRequired[datetime | None]
    revision: NotRequired[str]
    """Hash of the published content; absent until the first publication."""
    inputs: NotRequired[dict[str, str]]
    """Upstream dataset -> the revision that the content was made from."""
    code_version: NotRequired[str]
    rows: NotRequired[int]
    row_id: NotRequired[str]
    """Gold: which staged row the view shows."""
    proof: NotRequired[dict[str, Any]]
    receipt: NotRequired[dict[str, Any]]
    report: NotRequired[dict[str, Any]]
    """What the suite found on it (see `quality.findings.Report`)."""
    cause: NotRequired[str]
    """Why it was published last: see `quality.observations.Cause`."""
    blocked: NotRequired[dict[str, Any]]
    """What was made last and must not be published: inputs, code_version, report."""
    unobserved: NotRequired[bool]
    """Published, and its observations may not be there yet."""
    again: NotRequired[str]
    """Why it is to be made again though nothing has changed."""
    error: NotRequired[str]
    """Why the last attempt failed, if it did."""
    failed_at: NotRequired[datetime]
    """When an attempt failed last."""
    looked_at: NotRequired[datetime]
    """When it was found, after a failed attempt, that it stands."""
    run_id: NotRequired[str]
    published_at: NotRequired[datetime]


class RunDocument(TypedDict):
    """One run, as its tasks note it; see `tasks.life`."""

    _id: str
    kind: NotRequired[str]
    """Name of the task: Backfill, Daily."""
    started_at: NotRequired[datetime]
    host: NotRequired[str]
    pid: NotRequired[int]
    alive_at: NotRequired[datetime]
    """When its process last gave a sign of life."""
    ended_at: NotRequired[datetime]
    well: NotRequired[bool]
    """All that was asked for is there."""
    finished: NotRequired[dict[str, Any]]
    """What it is through with, by a hash of its name."""
    failures: NotRequired[list[dict[str, Any]]]
    """Each `task`, `where`, `place`, `error`, `at`, and `scopes` as far as they are known."""
    settled_at: NotRequired[datetime]
    """When a failure of it was last made an incident while it ran."""
    passed: NotRequired[list[dict[str, Any]]]
    """Each `places` that were finished without an error, and `at`."""


class IncidentDocument(TypedDict):
    """One incident, and what is owed for it: see `alerting.incidents.Incident`, whose fields these are."""

    _id: str
    fingerprint: str
    open: bool
    """Of one fingerprint at most one is."""
    key: dict[str, str]
    state: str
    severity: str
    revision: int
    scopes: list[str]
    """Whose metrics it makes untrustworthy."""
    failing: list[str]
    """The windows that are wrong, as ISO dates; "" where it is not about windows."""
    opened_at: datetime
    cause: str | None
    """The incident that this is an effect of."""
    told: dict[str, Any] | None
    """What was delivered last."""
    owed_at: datetime | None
    """When somebody is to be told next, if nothing else happens."""
    version: int
    """Grows with each write: every write is a compare-and-set on it."""


IN_DOUBT: Final[Mapping[str, Any]] = {"proof.reason": {"$type": "string"}}
"""Partitions that are not proven: only these have a reason. A query that names it is served by an index of them."""

_INDEXES: Final[Mapping[str, tuple[IndexModel, ...]]] = {
    LEDGER: (
        IndexModel([("dataset", ASCENDING), ("scope", ASCENDING), ("window", ASCENDING)]),
        IndexModel([("blocked.first", ASCENDING)], sparse=True),
        IndexModel([("run_id", ASCENDING)]),
        IndexModel([("report.findings.severity", ASCENDING)], sparse=True),
        IndexModel([("error", ASCENDING)], sparse=True),
        IndexModel([("proof.state", ASCENDING), ("dataset", ASCENDING)], partialFilterExpression=IN_DOUBT),
    ),
    QUARANTINE: (
        IndexModel([("sweep", ASCENDING)]),
        IndexModel([("dataset", ASCENDING), ("origin", ASCENDING), ("window", ASCENDING)]),
        IndexModel([("state", ASCENDING), ("set_aside_at", DESCENDING)]),
        IndexModel(
            [("dataset", ASCENDING), ("origin", ASCENDING), ("window", ASCENDING)],
            name="misshapen",
            partialFilterExpression={"rule": "shape", "state": "open"},
        ),
    ),
    WITHDRAWN: (IndexModel([("dataset", ASCENDING), ("origin", ASCENDING), ("window", ASCENDING)]),),
    SCHEMA_FIELDS: (IndexModel([("dataset", ASCENDING)]),),
    DRIFT: (IndexModel([("seen_at", DESCENDING)]), IndexModel([("run_id", ASCENDING)])),
    OBSERVATIONS: (
        IndexModel(
            [
                ("series.dataset", ASCENDING),
                ("series.scope", ASCENDING),
                ("series.measure", ASCENDING),
                ("at", ASCENDING),
            ]
        ),
    ),
    MANIFESTS: (IndexModel([("scope", ASCENDING)]),),
    RUNS: (
        IndexModel([("ended_at", ASCENDING), ("alive_at", ASCENDING)]),
        IndexModel([("failures.at", ASCENDING)], sparse=True),
    ),
    INCIDENTS: (
        IndexModel([("fingerprint", ASCENDING)], name="one_open", unique=True, partialFilterExpression={"open": True}),
        IndexModel([("fingerprint", ASCENDING), ("opened_at", DESCENDING)]),
        IndexModel([("owed_at", ASCENDING)], partialFilterExpression={"owed_at": {"$type": "date"}}),
        IndexModel([("open", ASCENDING), ("opened_at", DESCENDING)]),
        IndexModel([("scopes", ASCENDING)], partialFilterExpression={"open": True}),
        IndexModel([("cause", ASCENDING)], partialFilterExpression={"cause": {"$type": "string"}}),
        IndexModel([("told.chart", ASCENDING)], partialFilterExpression={"told.chart": False}),
    ),
    SAID: (IndexModel([("dataset", ASCENDING), ("scope", ASCENDING)]),),
    VERDICTS: (
        IndexModel([("window", ASCENDING)]),
        IndexModel([("state", ASCENDING), ("window", ASCENDING)]),
    ),
    DELIVERY_ROWS: (IndexModel([("partition", ASCENDING)]),),
    GOLD_ROWS: (),
    **{dataset.name: (IndexModel([("scope", ASCENDING), ("day", ASCENDING)]),) for dataset in catalog.ENTITIES},
}

_BRONZE_INDEXES: Final = (
    IndexModel([("origin", ASCENDING), ("window", ASCENDING)]),
    IndexModel([("origin", ASCENDING), ("id", ASCENDING)]),
)

FAILING: Final = 400
"""Failing windows that an incident names, the newest. One that names so many may be about older ones too."""

_TOUCHES: Final[Document] = {
    "$or": [
        {"$in": ["$$iso", "$failing"]},
        {"$and": [{"$gte": [{"$size": "$failing"}, FAILING]}, {"$lte": ["$$iso", {"$last": "$failing"}]}]},
        {"$and": [
            {"$in": ["", "$failing"]},
            {"$gte": ["$$day", {"$dateTrunc": {"date": "$opened_at", "unit": "day"}}]},
        ]},
    ]
}  # fmt: skip

GOLD_VIEW: Final[list[Document]] = [
    {"$match": {"dataset": catalog.DORA_DAILY.name, "row_id": {"$exists": True}}},
    {"$lookup": {"from": GOLD_ROWS, "localField": "row_id", "foreignField": "_id", "as": "row"}},
    {"$unwind": "$row"},
    {"$replaceRoot": {"newRoot": "$row"}},
    {"$unset": ["_id", "doomed_at"]},
    {"$lookup": {
        "from": INCIDENTS,
        "localField": "scope",
        "foreignField": "scopes",
        "let": {"day": "$day", "iso": {"$dateToString": {"date": "$day", "format": "%Y-%m-%d"}}},
        "pipeline": [{"$match": {"open": True, "$expr": _TOUCHES}}, {"$sort": {"_id": 1}}, {"$project": {"_id": 1}}],
        "as": "incidents",
    }},
    {"$set": {"incidents": "$incidents._id"}},
]  # fmt: skip
"""Follows the ledger's pointer, so that a reader who knows nothing of ledgers sees whole published partitions only.

`incidents` are the ids of the open ones that touch the day: of its scope, and the day is one of their windows (or not
after the last of them, where they have more than they name); or they are not about windows, and the day is not before
that of their opening.
"""


def ensure(db: Db) -> None:
    """Make every collection, index and view that is not there yet. Idempotent; one read when nothing is to do."""
    version = hashlib.sha256(repr((_declared(), GOLD_VIEW)).encode()).hexdigest()[:16]
    if db[META].find_one({"_id": "schema", "version": version}):
        return
    _create(db, OBSERVATIONS, timeseries={"timeField": "at", "metaField": "series", "granularity": "hours"})
    for name, indexes in _INDEXES.items():
        if indexes:
            db[name].create_indexes(list(indexes))
    if not _create(db, catalog.DORA_DAILY.name, viewOn=LEDGER, pipeline=GOLD_VIEW):
        db.command("collMod", catalog.DORA_DAILY.name, viewOn=LEDGER, pipeline=GOLD_VIEW)
    _migrate(db)
    db[META].update_one({"_id": "schema"}, {"$set": {"version": version}}, upsert=True)


def _migrate(db: Db) -> None:
    """What was set aside before records had a state is open: it must go on to count against its window."""
    rule = {"$cond": [{"$gt": ["$dataset", None]}, "shape", "readable"]}
    fields = {"state": "open", "trace": [], "rule": {"$ifNull": ["$rule", rule]}, "fence": {"$ifNull": ["$fence", 0]},
              "window": {"$ifNull": ["$window", "$item.window"]}}  # fmt: skip
    db[QUARANTINE].update_many({"state": {"$exists": False}}, [{"$set": fields}])


def ensure_bronze(db: Db, dataset: str) -> None:
    """Make the collection of one Bronze stream with its indexes."""
    db[dataset].create_indexes(list(_BRONZE_INDEXES))


def start_of(day: date) -> datetime:
    """The start of the window `day`: midnight UTC."""
    return datetime.combine(day, time(), UTC)


def each_day(days: tuple[date, date]) -> Iterator[date]:
    """The days in [first, last)."""
    return (days[0] + timedelta(days=n) for n in range((days[1] - days[0]).days))


def is_deeper(value: Any, levels: int) -> bool:
    """Whether `value` has more than `levels` levels of objects and lists, its own counted; without recursion."""
    level = [value]
    for _ in range(levels):
        inner = [one.values() if isinstance(one, Mapping) else one for one in level]
        level = [one for values in inner for one in values if isinstance(one, Mapping | list | tuple)]
        if not level:
            return False
    return True


def delivery_key(scope: str, day: str, revision: str) -> str:
    """Under which `partition` the delivery rows of a day's revision are kept."""
    return f"{scope}|{day}@{revision}"


def manifest_key(scope: str, year: str, revision: str) -> str:
    """The `_id` of the manifest of a year."""
    return f"{scope}|{year}@{revision}"


def canonical(value: Any) -> bytes:
    """`value` as JSON bytes that are equal for equal values; bytes and dates are allowed inside."""
    return _ENCODER.encode(value).encode()


def digest(value: Any) -> str:
    """A content hash of `canonical(value)`: 128 bits in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$binary": value.hex()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, DBRef):  # what PyMongo makes of any object that has a key "$ref"
        return dict(value.as_doc())
    message = f"{type(value).__name__} has no canonical form"
    raise TypeError(message)


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)


def _declared() -> list[Any]:
    return [(name, [index.document for index in indexes]) for name, indexes in sorted(_INDEXES.items())]


def _create(db: Db, name: str, **options: Any) -> bool:
    """Whether it was made just now; False if it was there (or another process made it meanwhile)."""
    try:
        db.create_collection(name, **options)
    except CollectionInvalid:
        return False
    except OperationFailure as error:
        if error.code != 48:  # noqa: PLR2004 - NamespaceExists
            raise
        return False
    return True
