"""Silver's entities: Bronze items of a window are folded into rows, one per entity.

The fold converges: a row is replaced only by a newer version, so windows may be folded late, twice, in any order and by
several workers at once. A window that was half applied is only less new, and it is folded again.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from pymongo import ReplaceOne

from config import schema
from config.catalog import Dataset
from quality.receipts import Proof
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication, insert_new
from tasks.transforms import code_version, silver

BATCH: Final = 2000


@lru_cache(maxsize=1)
def code() -> str:
    """The version of the code that makes rows."""
    return code_version(silver)


@dataclass(frozen=True, slots=True)
class Stale:
    """A window whose rows are not made from today's Bronze by today's code."""

    day: date
    inputs: dict[str, str]
    proof: dict[str, Any]
    why: str


def stale(context: Context, dataset: Dataset, scope: str, days: tuple[date, date] | None = None) -> Iterator[Stale]:
    """The stale windows of `dataset` (in [first, last)), in order of time. Streams, whatever their number."""
    fields = ("dataset", "revision", "proof")
    feeds = [context.ledger.windows(upstream, scope, fields, days) for upstream in dataset.upstream]
    made = context.ledger.windows(dataset.name, scope, ("dataset", "inputs", "code_version", "owner"), days)
    for start, group in groupby(heapq.merge(*feeds, made, key=_window), key=_window):
        inputs, proof, row = {}, None, None
        for document in group:
            if document["dataset"] == dataset.name:
                row = document
            elif "revision" in document:
                inputs[document["dataset"]] = document["revision"]
                proof = document["proof"] if proof is None else min(proof, document["proof"], key=_coverage)
        if proof is not None and (why := _why(row, inputs)):
            yield Stale(start.date(), inputs, proof, why)


def _why(row: schema.Document | None, inputs: dict[str, str]) -> str | None:
    if row is None or "inputs" not in row:
        return "missing"
    if row["inputs"] != inputs:
        return "its Bronze has changed"
    if row["code_version"] != code():
        return "the transform has changed"
    return "being worked on" if row.get("owner") else None


def fold(context: Context, dataset: Dataset, scope: str, windows: Sequence[Stale]) -> int:
    """Fold `windows` and commit each by itself; returns how many (another worker may have the rest)."""
    by_partition = {Partition(dataset.name, scope, window.day): window for window in windows}
    claimed = context.ledger.claim(list(by_partition))
    current = {claim for claim in claimed if claim.is_made_from(by_partition[claim.partition].inputs, code())}
    context.ledger.release(list(current))
    if claims := [claim for claim in claimed if claim not in current]:
        with context.ledger.holding(claims):
            lost = _fold(context, dataset, scope, claims, by_partition)
        context.progress(len(claims))
        return len(claimed) - lost
    return len(claimed)


def _fold(
    context: Context, dataset: Dataset, scope: str, claims: list[Claim], by_partition: dict[Partition, Stale]
) -> int:
    """Fold what is claimed; returns how many were lost to another worker."""
    days = [claim.partition.day for claim in claims if claim.partition.day]
    versions: dict[date, list[str]] = {}
    broken: dict[date, int] = {}
    batch: list[schema.Document] = []
    _forget(context, dataset, scope, days)
    for item in _items(context, dataset, scope, days):
        day = item["window"].date()
        try:
            row = silver.row(dataset.name, item)
        except silver.RowError as error:
            _quarantine(context, dataset, item, error)
            broken[day] = broken.get(day, 0) + 1
            continue
        versions.setdefault(day, []).append(schema.digest(row))
        batch.append(row)
        if len(batch) >= BATCH:
            _apply(context, dataset, batch)
            batch.clear()
            context.ledger.renew(claims)
    _apply(context, dataset, batch)
    publications = []
    for claim in claims:
        window = by_partition[claim.partition]
        rows = sorted(versions.get(window.day, []))
        proof = _lessened(window.proof, broken.get(window.day, 0), len(rows))
        revision = schema.digest([rows, proof])
        publications.append((claim, Publication(revision, window.inputs, code(), len(rows), {"proof": proof})))
    return context.ledger.publish(publications)


def _items(context: Context, dataset: Dataset, scope: str, days: Sequence[date]) -> Iterator[schema.Document]:
    window = {"$in": [schema.start_of(day) for day in days]}
    for upstream in dataset.upstream:
        yield from context.db[upstream].find({"origin": scope, "window": window}, {"fetched_at": 0}, batch_size=BATCH)


def _apply(context: Context, dataset: Dataset, rows: Sequence[schema.Document]) -> None:
    """Write `rows`; where the entity has a row already, the newer version stays."""
    newest: dict[str, schema.Document] = {}
    for row in rows:
        if row["_id"] not in newest or newest[row["_id"]]["version"] < row["version"]:
            newest[row["_id"]] = row
    collection = context.db[dataset.name]
    there = {row["_id"]: row["version"] for row in collection.find({"_id": {"$in": list(newest)}}, {"version": 1})}
    fresh = [row for key, row in newest.items() if key not in there]
    inserted = insert_new(collection, fresh)
    # if another worker inserted one meanwhile, ours may still be the newer one
    contested = newest.values() if inserted < len(fresh) else [newest[key] for key in there]
    replacements = [
        ReplaceOne({"_id": row["_id"], "version": {"$lte": row["version"]}}, row)
        for row in contested
        if there.get(row["_id"], "") <= row["version"]
    ]
    if replacements:
        collection.bulk_write(replacements, ordered=False)


def _forget(context: Context, dataset: Dataset, scope: str, days: Sequence[date]) -> None:
    """What was set aside of these windows is looked at again."""
    collection = context.db[schema.QUARANTINE]
    aside = {"dataset": dataset.name, "origin": scope, "item.window": {"$in": [schema.start_of(day) for day in days]}}
    if collection.find_one(aside, {"_id": 1}):
        collection.delete_many(aside)


def _quarantine(context: Context, dataset: Dataset, item: schema.Document, error: silver.RowError) -> None:
    context.db[schema.QUARANTINE].replace_one(
        {"_id": f"{dataset.name}|{item['_id']}"},
        {
            "dataset": dataset.name,
            "reason": str(error),
            "path": error.path,
            "value": error.value,
            "origin": item["origin"],
            "item": item,
            "set_aside_at": context.now,
        },
        upsert=True,
    )


def _lessened(proof: dict[str, Any], broken: int, rows: int) -> dict[str, Any]:
    """The window's proof, once `broken` of its items could not become rows."""
    if not broken:
        return proof
    return {
        "state": str(Proof.UNPROVEN),
        "coverage": rows / (rows + broken),
        "reason": f"{broken} of {rows + broken} items of this window have not the shape of their stream",
        "lossy": True,
    }


def _window(document: schema.Document) -> Any:
    return document["window"]


def _coverage(proof: dict[str, Any]) -> float:
    return float(proof["coverage"])
