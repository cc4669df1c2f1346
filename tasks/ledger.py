"""The ledger: who may work on a partition, what was published of it, and from what.

A claim is a lease and a fence on the partition's own document. Publishing is one compare-and-set on that document: it
succeeds only for the fence that was claimed last, so that a worker which lost its lease can not publish, however late
it wakes up. Times are the server's.
"""

import hashlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError

from config import schema

DUPLICATE_KEY = 11000


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One window of one dataset for one scope; the whole history where `day` is None."""

    dataset: str
    scope: str
    day: date | None = None

    @property
    def key(self) -> str:
        """The `_id` of its ledger document."""
        return f"{self.dataset}|{self.scope}|{self.day.isoformat() if self.day else 'all'}"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to publish one partition, until somebody else claims it."""

    partition: Partition
    fence: int


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be recorded of a partition."""

    revision: str
    inputs: Mapping[str, str]
    code_version: str
    rows: int
    extra: Mapping[str, Any] = field(default_factory=dict)


class LeaseLostError(Exception):
    """Another worker claimed the partition meanwhile; what this one made of it is dropped."""

    def __init__(self, partition: Partition) -> None:
        super().__init__(f"{partition.key}: another worker has taken over; nothing to do, its result counts")
        self.partition = partition


class Ledger:
    """The ledger of one database, seen by one worker."""

    def __init__(self, db: schema.Db, *, run_id: str, lease: timedelta = timedelta(seconds=60)) -> None:
        self.db = db
        self.run_id = run_id
        self.lease = lease
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._ledger: schema.Coll = db[schema.LEDGER]

    def claim(self, partitions: Sequence[Partition]) -> list[Claim]:
        """Those of `partitions` that nobody else holds, each with a new fence. Three round trips, however many."""
        keys = [partition.key for partition in partitions]
        known = self._known(keys)
        fresh = [_blank(partition) for partition in partitions if partition.key not in known]
        insert_new(self._ledger, fresh)
        self._ledger.update_many(
            {"_id": {"$in": keys}, "$expr": {"$lte": [{"$ifNull": ["$lease_until", None]}, "$$NOW"]}},
            [{"$set": {"owner": self.owner, "fence": {"$add": ["$fence", 1]}, "lease_until": self._lease_end()}}],
        )
        mine = {
            document["_id"]: document["fence"]
            for document in self._ledger.find({"_id": {"$in": keys}, "owner": self.owner}, {"fence": 1})
        }
        return [Claim(partition, mine[partition.key]) for partition in partitions if partition.key in mine]

    def renew(self, claims: Sequence[Claim]) -> None:
        """Hold on to `claims` for another lease. Raises LeaseLostError if one of them is gone."""
        result = self._ledger.bulk_write(
            [
                UpdateOne(
                    self._held([claim.partition.key], claim.fence), [{"$set": {"lease_until": self._lease_end()}}]
                )
                for claim in claims
            ]
        )
        if result.matched_count < len(claims):
            raise LeaseLostError(claims[0].partition)

    def release(self, claims: Sequence[Claim]) -> None:
        """Give `claims` back unpublished, so that the next worker need not wait for the lease to end."""
        if claims:
            self._ledger.bulk_write(
                [
                    UpdateOne(
                        self._held([claim.partition.key], claim.fence), {"$unset": {"owner": "", "lease_until": ""}}
                    )
                    for claim in claims
                ],
                ordered=False,
            )

    def publish(self, publications: Sequence[tuple[Claim, Publication]]) -> int:
        """Publish each by one compare-and-set; returns how many were lost to another worker.

        Partitions with the same fence and the same content (most days are empty) share one command; the comparison is
        still each document's own.
        """
        groups: dict[bytes, tuple[dict[str, Any], int, list[str]]] = {}
        for claim, publication in publications:
            record = self._record(publication)
            key = schema.canonical([claim.fence, record])
            groups.setdefault(key, (record, claim.fence, []))[2].append(claim.partition.key)
        now = datetime.now(UTC)
        operations = [
            UpdateMany(
                self._held(keys, fence),
                {"$set": record | {"published_at": now}, "$unset": {"owner": "", "lease_until": "", "error": ""}},
            )
            for record, fence, keys in groups.values()
        ]
        if not operations:
            return 0
        return len(publications) - self._ledger.bulk_write(operations, ordered=False).matched_count

    def publish_one(self, claim: Claim, publication: Publication) -> None:
        """Publish one partition. Raises LeaseLostError if another worker has taken it over."""
        if self.publish([(claim, publication)]):
            raise LeaseLostError(claim.partition)

    def fail(self, claims: Sequence[Claim], error: str) -> None:
        """Record why `claims` could not be published, and give them back. What was published before stays."""
        if claims:
            self._ledger.bulk_write(
                [
                    UpdateOne(
                        self._held([claim.partition.key], claim.fence),
                        {"$set": {"error": error, "run_id": self.run_id}, "$unset": {"owner": "", "lease_until": ""}},
                    )
                    for claim in claims
                ],
                ordered=False,
            )

    def record_under(self, claim: Claim, publications: Sequence[tuple[Partition, Publication]]) -> None:
        """Record partitions that `claim`, on a wider partition, stands for (the windows of one sweep).

        Each keeps the fence that it was recorded under, and a lower one never overwrites it. That is enough where
        content only grows: whoever sweeps later knows at least as much.
        """
        known = self._known([partition.key for partition, _ in publications])
        now = datetime.now(UTC)
        fresh: list[dict[str, Any]] = []
        groups: dict[bytes, tuple[dict[str, Any], list[str]]] = {}
        for partition, publication in publications:
            record = self._record(publication) | {"fence": claim.fence}
            if partition.key in known:
                groups.setdefault(schema.canonical(record), (record, []))[1].append(partition.key)
            else:
                fresh.append(_blank(partition) | record | {"published_at": now})
        lost = len(fresh) - insert_new(self._ledger, fresh)
        if groups:
            operations = [
                UpdateMany(
                    {"_id": {"$in": keys}, "fence": {"$lte": claim.fence}},
                    {"$set": record | {"published_at": now}, "$unset": {"error": ""}},
                )
                for record, keys in groups.values()
            ]
            changed = self._ledger.bulk_write(operations, ordered=False).matched_count
            lost += sum(len(keys) for _, keys in groups.values()) - changed
        if lost:
            raise LeaseLostError(claim.partition)

    def find(self, partition: Partition) -> schema.Document:
        """The document of `partition` (see `schema.LedgerDocument`), empty if there is none."""
        return self._ledger.find_one({"_id": partition.key}) or {}

    def windows(
        self, dataset: str, scope: str, fields: Iterable[str], days: tuple[date, date] | None = None
    ) -> Iterator[schema.Document]:
        """The windowed partitions of (dataset, scope) in order of time, with `window` and `fields` only.

        days: [first, last), else all. Streams: the memory does not grow with the number of windows.
        """
        window: dict[str, Any] = {"$type": "date"}
        if days:
            window |= {"$gte": schema.start_of(days[0]), "$lt": schema.start_of(days[1])}
        return iter(
            self._ledger.find(
                {"dataset": dataset, "scope": scope, "window": window},
                {"_id": 0, "window": 1, **dict.fromkeys(fields, 1)},
                sort=[("window", 1)],
                batch_size=5000,
            )
        )

    def hash_of_all(self, dataset: str, scope: str, fields: Iterable[str]) -> str:
        """A hash over `fields` of all windows of (dataset, scope), made from the server's bytes undecoded."""
        batches = self._ledger.find_raw_batches(
            {"dataset": dataset, "scope": scope, "window": {"$type": "date"}},
            {"_id": 0, "window": 1, **dict.fromkeys(fields, 1)},
            sort=[("window", 1)],
            batch_size=5000,
        )
        seen = hashlib.sha256()
        for batch in batches:
            seen.update(cast("bytes", batch))
        return seen.hexdigest()[:32]

    def count_proven(self, dataset: str, scope: str, days: tuple[date, date]) -> int:
        """How many windows of [first, last) have a receipt that proves them."""
        window = {"$gte": schema.start_of(days[0]), "$lt": schema.start_of(days[1])}
        return self._ledger.count_documents(
            {"dataset": dataset, "scope": scope, "window": window, "proof.state": "proven"}
        )

    def _held(self, keys: Sequence[str], fence: int) -> dict[str, Any]:
        """The comparison of every compare-and-set: nobody has claimed these since we did."""
        return {"_id": {"$in": keys}, "fence": fence, "owner": self.owner}

    def _lease_end(self) -> dict[str, Any]:
        return {"$add": ["$$NOW", int(self.lease.total_seconds() * 1000)]}

    def _record(self, publication: Publication) -> dict[str, Any]:
        return {
            "revision": publication.revision,
            "inputs": dict(publication.inputs),
            "code_version": publication.code_version,
            "rows": publication.rows,
            "run_id": self.run_id,
            **publication.extra,
        }

    def _known(self, keys: Sequence[str]) -> set[str]:
        return {document["_id"] for document in self._ledger.find({"_id": {"$in": keys}}, {"_id": 1})}


def insert_new(collection: schema.Coll, documents: Sequence[Mapping[str, Any] | RawBSONDocument]) -> int:
    """Insert those of `documents` whose `_id` is not there yet; returns how many those were."""
    if not documents:
        return 0
    try:
        return collection.bulk_write([InsertOne(cast("Any", one)) for one in documents], ordered=False).inserted_count
    except BulkWriteError as error:
        if any(detail["code"] != DUPLICATE_KEY for detail in error.details["writeErrors"]):
            raise
        return int(error.details["nInserted"])


def _blank(partition: Partition) -> dict[str, Any]:
    window = schema.start_of(partition.day) if partition.day else None
    return {
        "_id": partition.key, "dataset": partition.dataset, "scope": partition.scope, "window": window, "fence": 0,
    }  # fmt: skip


def day_of(window: datetime) -> date:
    """The day that a ledger document's `window` starts."""
    return window.date()
