"""Rows kept under a revision: staged before anything points at them, collected when nothing has for a day.

Collecting takes two looks. The first marks what nothing points at; the second, at least `GRACE` later, deletes what is
still marked and still not pointed at. Staging removes the mark before publishing, and looks whether the rows are really
there, so a revision that comes back in between is never deleted under its publisher.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from config import schema
from config.catalog import DELIVERIES, DORA_DAILY
from quality import quarantine
from tasks.context import Context
from tasks.ledger import insert_new

GRACE: Final = timedelta(days=1)
"""Longer than any reader holds on to a pointer."""

RUNS_KEPT: Final = timedelta(days=30)
"""How long the notes of a run are kept; their ids begin with the time."""

RELEASED_KEPT: Final = timedelta(days=90)
"""How long the trace of a record that was mended or replayed is kept; what is discarded stays."""

BATCH: Final = 5000


def stage(collection: schema.Coll, rows: Sequence[schema.Document]) -> None:
    """Put `rows` there, visible to nobody yet; their `_id` names their content."""
    for at in range(0, len(rows), BATCH):
        batch = rows[at : at + BATCH]
        while insert_new(collection, batch) < len(batch):
            kept = collection.update_many(
                {"_id": {"$in": [row["_id"] for row in batch]}}, {"$unset": {"doomed_at": ""}}
            )
            if kept.matched_count == len(batch):
                break


def collect(context: Context) -> int:
    """Delete revisions that nothing has pointed at for `GRACE`, at most once in that time; returns how many rows."""
    meta = context.db[schema.META]
    last = meta.find_one({"_id": "collected"})
    if last and context.now - last["at"] < GRACE:
        return 0
    meta.update_one({"_id": "collected"}, {"$set": {"at": context.now}}, upsert=True)
    quarantine.forget(context.db, context.now - RELEASED_KEPT)
    context.db[schema.RUNS].delete_many({"_id": {"$lt": f"{context.now - RUNS_KEPT:%Y%m%dT%H%M%SZ}"}})
    return sum(
        _collect(context, context.db[name], key, wanted)
        for name, key, wanted in (
            (schema.GOLD_ROWS, "_id", _gold),
            (schema.DELIVERY_ROWS, "partition", _deliveries),
            (schema.MANIFESTS, "_id", _manifests),
        )
    )


def _collect(context: Context, collection: schema.Coll, key: str, wanted: Callable[[Context], Iterable[str]]) -> int:
    before = context.now - GRACE
    marked = _keys(collection, key, {"doomed_at": {"$lt": before}})
    present = _keys(collection, key, {})
    pointed_at = set(wanted(context))
    deleted = 0
    for keys in _pieces(sorted(marked - pointed_at)):
        deleted += collection.delete_many({key: {"$in": keys}, "doomed_at": {"$lt": before}}).deleted_count
    for keys in _pieces(sorted(pointed_at & marked)):
        collection.update_many({key: {"$in": keys}}, {"$unset": {"doomed_at": ""}})
    for keys in _pieces(sorted(present - pointed_at)):
        collection.update_many(
            {key: {"$in": keys}, "doomed_at": {"$exists": False}}, {"$set": {"doomed_at": context.now}}
        )
    return deleted


def _keys(collection: schema.Coll, key: str, where: dict[str, Any]) -> set[str]:
    return {one["_id"] for one in collection.aggregate([{"$match": where}, {"$group": {"_id": f"${key}"}}])}


def _gold(context: Context) -> Iterable[str]:
    published = {"dataset": DORA_DAILY.name, "row_id": {"$exists": True}}
    return (one["row_id"] for one in context.db[schema.LEDGER].find(published, {"row_id": 1}))


def _manifests(context: Context) -> Iterable[str]:
    for head in context.db[schema.LEDGER].find({"dataset": DELIVERIES.name, "years": {"$exists": True}}):
        yield from (schema.manifest_key(head["scope"], year, key) for year, key in head["years"].items())


def _deliveries(context: Context) -> Iterable[str]:
    for manifest in context.db[schema.MANIFESTS].find({"_id": {"$in": list(_manifests(context))}}):
        for day, entry in manifest["days"].items():
            yield schema.delivery_key(manifest["scope"], day, entry["revision"])


def _pieces(keys: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (keys[at : at + BATCH] for at in range(0, len(keys), BATCH))
