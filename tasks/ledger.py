"""The ledger: who may work on a partition, what was published of it, and from what.

A claim is a lease and a fence on the partition's own document. Publishing is one compare-and-set on that document: it
succeeds only for the fence that was claimed last, so that a worker which lost its lease can not publish, however late
it wakes up. Times are the server's.
"""

import hashlib
import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, UpdateMany
from pymongo.errors import BulkWriteError, PyMongoError

from config import schema
from config.redaction import redacted

log = logging.getLogger(__name__)

DUPLICATE_KEY = 11000
_BEATS = 3
"""How often within a lease it is renewed while a source is waited for."""


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
    inputs: Mapping[str, str] | None = field(default=None, compare=False)
    code_version: str | None = field(default=None, compare=False)
    """What it was published from at the time of the claim: another worker may just have done the work."""
    revision: str | None = field(default=None, compare=False)
    unfinished: bool = field(default=False, compare=False)
    """It was published but not observed yet, or it is to be made again."""
    report: Mapping[str, Any] | None = field(default=None, compare=False)
    """What the suite found of what is published."""
    blocked: Mapping[str, Any] | None = field(default=None, compare=False)
    """What was made of these inputs last, and not published because a critical rule is broken."""

    @property
    def is_first(self) -> bool:
        """Whether there is no good revision yet that a blocked one could leave visible."""
        return self.revision is None or bool(self.blocked and self.blocked.get("first"))

    def is_made_from(self, inputs: Mapping[str, str], code_version: str) -> bool:
        """Whether there is nothing left to do."""
        if self.unfinished:
            return False
        if self.blocked:
            return is_blocked_on(self.blocked, inputs, code_version)
        return self.inputs == inputs and self.code_version == code_version


def is_blocked_on(blocked: Mapping[str, Any] | None, inputs: Mapping[str, str], code_version: str) -> bool:
    """Whether just this was tried, and held back."""
    return blocked is not None and blocked["inputs"] == inputs and blocked["code_version"] == code_version


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be recorded of a partition."""

    revision: str
    inputs: Mapping[str, str]
    code_version: str
    rows: int
    extra: Mapping[str, Any] = field(default_factory=dict)
    blocked: Mapping[str, Any] | None = None
    """Why it must not be published: `report`, and whether it is the `first`: then there is nothing older to keep, and
    this is published as the statement that nothing is known."""


class RetryLaterError(Exception):
    """Not a failure: somebody else is at it, and the work is to be looked at again."""


class LeaseLostError(RetryLaterError):
    """Another worker claimed the partition meanwhile; what this one made of it is dropped."""

    def __init__(self, partition: Partition) -> None:
        super().__init__(f"{partition.key}: another worker has taken over")
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
        insert_new(self._ledger, [_blank(partition) for partition in partitions if partition.key not in known])
        self._ledger.update_many(
            {"_id": {"$in": keys}, "$expr": {"$lte": [{"$ifNull": ["$lease_until", None]}, "$$NOW"]}},
            [{"$set": {"owner": self.owner, "fence": {"$add": ["$fence", 1]}, "lease_until": self._lease_end()}}],
        )
        fields = dict.fromkeys(
            ("fence", "inputs", "code_version", "revision", "unobserved", "again", "report", "blocked"), 1
        )
        mine = {one["_id"]: one for one in self._ledger.find({"_id": {"$in": keys}, "owner": self.owner}, fields)}
        return [
            Claim(
                partition,
                one["fence"],
                one.get("inputs"),
                one.get("code_version"),
                one.get("revision"),
                bool(one.get("unobserved") or one.get("again")),
                one.get("report"),
                one.get("blocked"),
            )
            for partition in partitions
            if (one := mine.get(partition.key))
        ]

    @contextmanager
    def holding(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Give `claims` back if the work on them ends early, and note on them why it failed."""
        try:
            yield
        except RetryLaterError:
            self.release(claims)
            raise
        except Exception as error:
            self.fail(claims, redacted(f"{type(error).__name__}: {error}")[:500])
            raise
        except BaseException:
            self.release(claims)
            raise

    def renew(self, claims: Sequence[Claim]) -> None:
        """Hold on to `claims` for another lease. Raises LeaseLostError if one of them is gone."""
        update = [{"$set": {"lease_until": self._lease_end()}}]
        operations = [UpdateMany(mine, update) for mine in self._all_of(claims)]
        if operations and self._ledger.bulk_write(operations).matched_count < len(claims):
            raise LeaseLostError(claims[0].partition)

    @contextmanager
    def kept(self, claim: Claim) -> Iterator[None]:
        """Renew `claim` from beside, as long as something else is waited for, e.g. a source that is slow to answer."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self.lease.total_seconds() / _BEATS):
                try:
                    self.renew([claim])
                except LeaseLostError:  # the next one who writes under it hears of that too
                    return
                except PyMongoError:
                    log.warning(
                        "a lease could not be renewed; it is tried again", extra={"partition": claim.partition.key}
                    )

        beside = threading.Thread(target=renew, name="lease", daemon=True)
        beside.start()
        try:
            yield
        finally:
            over.set()
            beside.join()

    def note(self, claim: Claim, fields: Mapping[str, Any]) -> None:
        """Keep `fields` on a claimed document. Raises LeaseLostError if another worker has taken it over."""
        held = self._mine(claim)
        if not self._ledger.update_one(held, {"$set": dict(fields)}).matched_count:
            raise LeaseLostError(claim.partition)

    def release(self, claims: Sequence[Claim]) -> None:
        """Give `claims` back unpublished, so that the next worker need not wait for the lease to end."""
        self._unset(claims, "owner", "lease_until")

    def leave(self, claims: Sequence[Claim]) -> None:
        """Give `claims` back as they are: they stand, and that an attempt at them failed meanwhile is over."""
        if claims:
            stands: list[dict[str, Any]] = [
                {"$set": {"looked_at": "$$NOW"}},
                {"$unset": ["error", "owner", "lease_until"]},
            ]
            failed = {"error": {"$exists": True}}
            self._ledger.bulk_write([UpdateMany(mine | failed, stands) for mine in self._all_of(claims)], ordered=False)
        self.release(claims)

    def held(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those of `claims` that nobody has taken over."""
        fences = {claim.partition.key: claim.fence for claim in claims}
        found = self._ledger.find({"_id": {"$in": list(fences)}, "owner": self.owner}, {"fence": 1})
        ours = {one["_id"] for one in found if one["fence"] == fences[one["_id"]]}
        return [claim for claim in claims if claim.partition.key in ours]

    def finish(self, claims: Sequence[Claim]) -> None:
        """Give `claims` back, published and observed.

        If another worker has taken one over meanwhile, it may have recorded newer observations before our older ones:
        then they are to be recorded once more.
        """
        if self._unset(claims, "owner", "lease_until", "unobserved") < len(claims):
            keys = {claim.partition.key: claim.fence for claim in claims}
            newer = [one["_id"] for one in self._ledger.find({"_id": {"$in": list(keys)}}, {"fence": 1})
                     if one["fence"] != keys[one["_id"]]]  # fmt: skip
            self._ledger.update_many({"_id": {"$in": newer}}, {"$set": {"unobserved": True}})

    def _unset(self, claims: Sequence[Claim], *fields: str) -> int:
        update = {"$unset": dict.fromkeys(fields, "")}
        if not claims:
            return 0
        operations = [UpdateMany(mine, update) for mine in self._all_of(claims)]
        return self._ledger.bulk_write(operations, ordered=False).matched_count

    def publish(self, publications: Sequence[tuple[Claim, Publication]], *, keep: bool = False) -> int:
        """Publish each by one compare-and-set; returns how many were lost to another worker.

        With `keep` the claims are held on to, until `finish` says that the observations are there too. A publication
        that is blocked leaves what was published before, and is only recorded.

        Partitions with the same fence and the same content (most days are empty) share one command; the comparison is
        still each document's own.
        """
        now = datetime.now(UTC)
        groups: dict[bytes, tuple[dict[str, Any], int, list[str]]] = {}
        for claim, publication in publications:
            record = self._changes(publication, now, keep=keep)
            key = schema.canonical([claim.fence, record])
            groups.setdefault(key, (record, claim.fence, []))[2].append(claim.partition.key)
        operations = [UpdateMany(self._held(keys, fence), record) for record, fence, keys in groups.values()]
        if not operations:
            return 0
        return len(publications) - self._ledger.bulk_write(operations, ordered=False).matched_count

    def _changes(self, publication: Publication, now: datetime, *, keep: bool) -> dict[str, Any]:
        """What a publication changes of its document."""
        gone = dict.fromkeys(("error", "again", *(() if keep else ("owner", "lease_until", "unobserved"))), "")
        if publication.blocked is None:
            changes = self._record(publication) | {"published_at": now} | ({"unobserved": True} if keep else {})
            return {"$set": changes, "$unset": gone | {"blocked": ""}}
        tried = {"inputs": dict(publication.inputs), "code_version": publication.code_version, "at": now}
        held = {"blocked": tried | dict(publication.blocked), "run_id": self.run_id}
        if publication.blocked["first"]:
            held |= self._record(publication) | {"published_at": now}
        return {"$set": held, "$unset": gone}

    def publish_one(self, claim: Claim, publication: Publication, *, keep: bool = False) -> None:
        """Publish one partition. Raises LeaseLostError if another worker has taken it over."""
        if self.publish([(claim, publication)], keep=keep):
            raise LeaseLostError(claim.partition)

    def fail(self, claims: Sequence[Claim], error: str) -> None:
        """Record why `claims` could not be published, and give them back. What was published before stays."""
        if claims:
            said = {"error": error, "failed_at": datetime.now(UTC), "run_id": self.run_id}
            failed = {"$set": said, "$unset": {"owner": "", "lease_until": ""}}
            self._ledger.bulk_write([UpdateMany(mine, failed) for mine in self._all_of(claims)], ordered=False)

    def record_under(
        self, claim: Claim, publications: Sequence[tuple[Partition, Publication]], *, keep: bool = False
    ) -> None:
        """Record partitions that `claim`, on a wider partition, stands for (the windows of one sweep).

        With `keep` they count as unfinished until `observed` says that their observations are there too.

        Each keeps the fence that each recorder recorded it under, and a lower one of the same recorder never overwrites
        it. That is enough where content only grows: whoever sweeps later knows at least as much.

        Raises LeaseLostError if the same sweep was taken over by another worker meanwhile.
        """
        recorder = hashlib.sha256(claim.partition.key.encode()).hexdigest()[:12]
        mine = f"fences.{recorder}"
        now = datetime.now(UTC)
        known = self._known([partition.key for partition, _ in publications])
        fresh = {}
        for partition, publication in publications:
            if partition.key not in known:
                changes = self._changes(publication, now, keep=keep)["$set"]
                fresh[partition] = _blank(partition) | changes | {"fences": {recorder: claim.fence}}
        if insert_new(self._ledger, list(fresh.values())) < len(fresh):
            fresh = {}  # somebody was there first: compare fences with all of them
        groups: dict[bytes, tuple[dict[str, Any], list[str]]] = {}
        for partition, publication in publications:
            if partition not in fresh:
                changes = self._changes(publication, now, keep=keep)
                groups.setdefault(schema.canonical(changes), (changes, []))[1].append(partition.key)
        operations = [
            UpdateMany(
                {"_id": {"$in": keys}, "$or": [{mine: {"$exists": False}}, {mine: {"$lte": claim.fence}}]},
                {"$set": changes["$set"] | {mine: claim.fence}, "$unset": changes["$unset"]},
            )
            for changes, keys in groups.values()
        ]
        if operations:
            matched = self._ledger.bulk_write(operations, ordered=False).matched_count
            if matched < sum(len(keys) for _, keys in groups.values()):
                raise LeaseLostError(claim.partition)

    def observed(self, claim: Claim, dataset: str, scope: str, days: Sequence[date]) -> None:
        """The observations of these windows, recorded under `claim` on a wider partition, are there too.

        Raises LeaseLostError if another worker has taken it over: then they are to be recorded once more.
        """
        windows = {"$in": [schema.start_of(day) for day in days]}
        where = {"dataset": dataset, "scope": scope, "window": windows}
        try:
            self.renew([claim])
        except LeaseLostError:
            self._ledger.update_many(where, {"$set": {"unobserved": True}})
            raise
        self._ledger.update_many(where, {"$unset": {"unobserved": ""}})

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

    def unsettled_days(self, dataset: str, scope: str) -> list[date]:
        """The windows of which another look may tell more.

        They were open at the last look, in a sweep that failed, or fetched by a token that did not see all.
        """
        found = self._ledger.find(
            {
                "dataset": dataset,
                "scope": scope,
                "window": {"$type": "date"},
                "$or": [
                    {"proof.state": {"$in": ["partial", "failed"]}},
                    {"proof.state": "unproven", "receipt.extraction": {"$exists": True}},
                ],
            },
            {"window": 1},
        )
        return [one["window"].date() for one in found]

    def count_proven(self, dataset: str, scope: str, days: tuple[date, date]) -> int:
        """How many windows of [first, last) have a receipt that proves them."""
        window = {"$gte": schema.start_of(days[0]), "$lt": schema.start_of(days[1])}
        return self._ledger.count_documents(
            {"dataset": dataset, "scope": scope, "window": window, "proof.state": "proven"}
        )

    def _all_of(self, claims: Sequence[Claim]) -> list[dict[str, Any]]:
        """The comparisons that stand for those of all `claims`: one per fence."""
        by_fence: dict[int, list[str]] = {}
        for claim in claims:
            by_fence.setdefault(claim.fence, []).append(claim.partition.key)
        return [self._held(keys, fence) for fence, keys in by_fence.items()]

    def _mine(self, claim: Claim) -> dict[str, Any]:
        return self._held([claim.partition.key], claim.fence)

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
        if error.details["writeConcernErrors"] or any(e["code"] != DUPLICATE_KEY for e in error.details["writeErrors"]):
            raise
        return int(error.details["nInserted"])


def _blank(partition: Partition) -> dict[str, Any]:
    window = schema.start_of(partition.day) if partition.day else None
    return {
        "_id": partition.key, "dataset": partition.dataset, "scope": partition.scope, "window": window, "fence": 0,
    }  # fmt: skip
