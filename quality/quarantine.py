"""Rows and records set aside: whole, with the rule they break, until they are mended, replayed or discarded.

A record is written under the fence of the worker that judged it, so that one that lost its lease cannot bring back what
its successor has released. Nothing is deleted while it is open; what is released or discarded keeps its trace.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import bson
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from config import schema
from quality.gate import Break

VALUE_LIMIT: Final = 2000
"""Bytes of a value that are kept beside the item, which holds it whole."""
BATCH_BYTES: Final = 8 * 1024 * 1024
PARTS: Final = f"{schema.QUARANTINE}.parts"
"""Where the rest of records is that are longer than one document can be."""
PART: Final = 8 * 1024 * 1024
"""Bytes of a record that one document holds; MongoDB's documents end at 16 MiB."""
DUPLICATE_KEY: Final = 11000
SHAPE: Final = "shape"
"""The rule of items that have not the shape of their stream."""
READABLE: Final = "readable"
"""The rule of records that could not be read as items, or that MongoDB cannot hold."""


class State(StrEnum):
    """What became of it."""

    OPEN = "open"
    RELEASED = "released"
    """It no longer breaks the rule, or is no longer there: mended at the source, or replayed."""
    DISCARDED = "discarded"
    """A person said that it is no data; it no longer counts against its window."""


OUT: Final[Mapping[str, Any]] = {"state": {"$in": [State.OPEN, State.DISCARDED]}}
"""What does not go on to the next layer."""


@dataclass(frozen=True, slots=True)
class Row:
    """An item that did not become a row, and why."""

    item: Mapping[str, Any]
    """The whole Bronze document."""
    breaks: Sequence[Break]


def key(dataset: str, item_id: str) -> str:
    """The `_id` of what was set aside of one item."""
    return schema.digest([dataset, item_id])[:16]


def put(  # noqa: PLR0913 - who, what, when
    db: schema.Db, dataset: str, rows: Iterable[Row], *, fence: int, run_id: str, now: datetime
) -> int:
    """Set `rows` aside; returns how many of them count, as nobody has discarded them."""
    batch: list[UpdateOne] = []
    keys: list[str] = []
    size = 0
    for row in rows:
        first, *also = row.breaks
        name = key(dataset, row.item["_id"])
        keys.append(name)
        document = {
            "dataset": dataset,
            "origin": row.item["origin"],
            "window": row.item["window"],
            "rule": first.rule,
            "path": first.path,
            "value": short(first.value),
            "reason": first.reason,
            "also": [{"rule": one.rule, "path": one.path, "reason": one.reason} for one in also],
            "item": row.item,
            "content": hashlib.sha256(bson.encode(row.item)).hexdigest()[:32],
            "fence": fence,
            "run_id": run_id,
        }
        batch += _operations(name, document, now)
        size += len(bson.encode(document))
        if size > BATCH_BYTES:
            _write(db, batch)
            batch, size = [], 0
    _write(db, batch)
    return len(keys) - len(discarded(db, keys))


def put_record(db: schema.Db, documents: Sequence[tuple[str, Mapping[str, Any]]], now: datetime) -> None:
    """Set records aside that are no items; each a name and a document with `fence`, `origin`, `reason`, `raw`.

    What `raw` has beyond PART bytes goes into documents of its own, see `whole`.
    """
    batch: list[UpdateOne] = []
    size = 0
    for name, document in documents:
        raw = document["raw"]
        parts = [raw[at : at + PART] for at in range(PART, len(raw), PART)]
        for number, part in enumerate(parts, start=1):  # before the record, which then lacks none
            kept = {"record": name, "raw": part}
            db[PARTS].update_one({"_id": f"{name}|{number}"}, {"$setOnInsert": kept}, upsert=True)
        kept = {"rule": READABLE, **document, "raw": raw[:PART], **({"parts": len(parts)} if parts else {})}
        batch += _operations(name, kept, now)
        size += len(kept["raw"])
        if size > BATCH_BYTES:
            _write(db, batch)
            batch, size = [], 0
    _write(db, batch)


def whole(db: schema.Db, document: Mapping[str, Any]) -> bytes:
    """All bytes of a record that could not be read. Raises ValueError if some are not there."""
    names = [f"{document['_id']}|{number}" for number in range(1, document.get("parts", 0) + 1)]
    found = {one["_id"]: one["raw"] for one in db[PARTS].find({"_id": {"$in": names}})}
    raw = b"".join([document["raw"], *(found.get(name, b"") for name in names)])
    if len(raw) != document["bytes"]:
        message = f"quarantine: {document['_id']} has {len(raw):,} of its {document['bytes']:,} bytes"
        raise ValueError(message)
    return raw


def forget(db: schema.Db, before: datetime) -> None:
    """Delete what was released before that: it is where it belongs, or no longer there."""
    released = {"state": State.RELEASED, "closed_at": {"$lt": before}}
    names = [one["_id"] for one in db[schema.QUARANTINE].find({**released, "parts": {"$exists": True}}, {"_id": 1})]
    db[schema.QUARANTINE].delete_many(released)
    gone = set(names) - {one["_id"] for one in db[schema.QUARANTINE].find({"_id": {"$in": names}}, {"_id": 1})}
    db[PARTS].delete_many({"record": {"$in": sorted(gone)}})


def discarded(db: schema.Db, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that a person has discarded."""
    if not keys:
        return set()
    found = db[schema.QUARANTINE].find({"_id": {"$in": list(keys)}, "state": State.DISCARDED}, {"_id": 1})
    return {one["_id"] for one in found}


def release(db: schema.Db, where: Mapping[str, Any], *, below: int, run_id: str, now: datetime) -> int:
    """Release what is open of `where` and was not met again under the fence `below`; returns how many."""
    return (
        db[schema.QUARANTINE]
        .update_many(
            {**where, "state": State.OPEN, "fence": {"$lt": below}},
            {
                "$set": {"state": State.RELEASED, "closed_at": now},
                "$push": {"trace": {"at": now, "what": "released", "run_id": run_id}},
            },
        )
        .modified_count
    )


def note(db: schema.Db, keys: Sequence[str], what: str, now: datetime, **more: Any) -> None:
    """Leave a trace on what was set aside."""
    db[schema.QUARANTINE].update_many(
        {"_id": {"$in": list(keys)}}, {"$push": {"trace": {"at": now, "what": what, **more}}}
    )


def discard(db: schema.Db, keys: Sequence[str], reason: str, now: datetime) -> int:
    """Say that these open records are no data; returns how many were open."""
    return (
        db[schema.QUARANTINE]
        .update_many(
            {"_id": {"$in": list(keys)}, "state": State.OPEN},
            {
                "$set": {"state": State.DISCARDED, "closed_at": now},
                "$push": {"trace": {"at": now, "what": "discarded", "reason": reason}},
            },
        )
        .modified_count
    )


def short(value: Any) -> Any:
    """`value` if it is small, else the start of its text."""
    if len(bson.encode({"value": value})) <= VALUE_LIMIT:
        return value
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "backslashreplace")[:VALUE_LIMIT].decode("utf-8", "ignore") + "…"


def _operations(name: str, document: Mapping[str, Any], now: datetime) -> list[UpdateOne]:
    ours = {"_id": name, "$or": [{"fence": {"$lte": document["fence"]}}, {"fence": {"$exists": False}}]}
    fresh = {"state": State.OPEN, "set_aside_at": now, "trace": []}
    again: dict[str, Any] = {"$set": {"state": State.OPEN}, "$unset": {"closed_at": ""}}
    again["$push"] = {"trace": {"at": now, "what": "set aside again", "run_id": document.get("run_id", "")}}
    # what was discarded is what it was then; something else under the same name is to be judged anew
    other = {"state": State.DISCARDED, "content": {"$exists": True, "$ne": document.get("content")}}
    return [
        UpdateOne(ours | {"state": State.RELEASED}, again),
        *([UpdateOne(ours | other, again)] if "content" in document else []),
        UpdateOne(ours, {"$set": document, "$setOnInsert": fresh}, upsert=True),
    ]


def _write(db: schema.Db, operations: Sequence[UpdateOne]) -> None:
    if not operations:
        return
    try:
        db[schema.QUARANTINE].bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        # a duplicate key: a later worker has judged this row meanwhile, and what it says stays
        if error.details["writeConcernErrors"] or any(e["code"] != DUPLICATE_KEY for e in error.details["writeErrors"]):
            raise


__all__ = [
    "OUT",
    "PART", "PARTS", "READABLE", "SHAPE", "Row", "State", "discard", "discarded", "forget", "key", "note", "put",
    "put_record", "release", "short", "whole",
]  # fmt: skip
