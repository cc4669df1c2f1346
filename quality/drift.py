"""Schema drift in MongoDB: new, missing and type-changed fields of streams, reported once each.

What drift is, and what does not depend on the order of arrival, is said in quality.fields.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import Any

from pymongo import DESCENDING, UpdateOne

from config import schema
from quality.fields import Drift, History, Kind
from quality.shapes import Seen, Shape, Shapes


def merge(db: schema.Db, shapes: Shapes, *, run_id: str, now: datetime) -> list[Drift]:
    """Record what `shapes` have seen, and return the drift that nobody reported before.

    One read and no write where there is no news. After a crash at any point the same items are to be merged again: a
    witness counts as known once what follows from it is in the collection `drift`. Of workers that merge at the same
    time the one that reads last sees the witnesses of all, and reports what follows from them together.
    """
    batch = shapes.collected()
    judged = _witnesses(db, list(batch), judged=True) if batch else {}
    learned, writes = {}, []
    for dataset, collected in batch.items():
        history = History(_shape(row) for row in judged[dataset])
        news = [shape for shape in map(history.learn, collected) if shape]
        writes += [write for shape in news for write in _witness(dataset, shape)]
        if news or history.overflow:
            learned[dataset] = history
    if not learned:
        return []
    if writes:
        db[schema.SCHEMA_FIELDS].bulk_write(writes)  # in order of time: a part of it is only less, not something else
    rows = _witnesses(db, list(learned))
    found = {}
    for dataset, history in learned.items():
        everything = History(_shape(row) for row in rows[dataset])
        everything.overflow = everything.overflow or history.overflow
        found.update({one.key: one for one in everything.drift(dataset, run_id=run_id, now=now)})
    reported = _report(db, found)
    settled = [
        UpdateOne({"_id": row["_id"], "first_window": row["first_window"]}, {"$set": {"judged": True}})
        for row in chain.from_iterable(rows.values())
        if not row["judged"]
    ]
    if settled:
        db[schema.SCHEMA_FIELDS].bulk_write(settled, ordered=False)
    return reported


def listed(db: schema.Db, dataset: str | None = None) -> list[schema.Document]:
    """The drift on record, newest first; of `dataset` if given."""
    chosen = {} if dataset is None else {"dataset": dataset}
    return list(db[schema.DRIFT].find(chosen, sort=[("seen_at", DESCENDING), ("first_window", DESCENDING), ("_id", 1)]))


def fields(db: schema.Db, dataset: str) -> list[dict[str, Any]]:
    """Every path of the dataset with its types, its first window, the first window that lacks it, and an example."""
    return History(_shape(row) for row in _witnesses(db, [dataset])[dataset]).fields()


def _report(db: schema.Db, found: Mapping[str, Drift]) -> list[Drift]:
    """Insert what is not there yet, and return it; move back in time what has turned out to be older."""
    there = {
        row["_id"]: row["first_window"]
        for row in db[schema.DRIFT].find({"_id": {"$in": list(found)}}, {"first_window": 1})
    }
    writes = []
    for key, one in sorted(found.items(), key=lambda pair: (pair[1].first_window, pair[0])):
        if key not in there or one.first_window < there[key]:
            document = asdict(one)
            moved = {name: document[name] for name in ("first_window", "scope", "item", "example", "before")}
            writes += _earliest(key, document, moved)
    if not writes:
        return []
    result = db[schema.DRIFT].bulk_write(writes)
    return [found[key] for key in (result.upserted_ids or {}).values()]


def _witnesses(db: schema.Db, datasets: list[str], **chosen: bool) -> dict[str, list[schema.Document]]:
    rows = defaultdict(list)
    for row in db[schema.SCHEMA_FIELDS].find({"dataset": {"$in": datasets}, **chosen}):
        rows[row["dataset"]].append(row)
    return rows


def _witness(dataset: str, shape: Shape) -> list[UpdateOne]:
    document = {
        "dataset": dataset,
        "path": list(shape.path),
        "of": str(shape.of),
        "fields": [{"name": seen.name, "type": str(seen.type), "example": seen.example} for seen in shape.fields],
        "first_window": shape.window,
        "scope": shape.scope,
        "item": shape.item,
        "judged": False,
    }
    same = [dataset, shape.path, shape.of, sorted((seen.name, seen.type) for seen in shape.fields)]
    return _earliest(schema.digest(same), document, document)


def _shape(row: schema.Document) -> Shape:
    seen = tuple(Seen(one["name"], one["type"], one["example"]) for one in row["fields"])
    return Shape(tuple(row["path"]), row["of"], seen, row["first_window"], row["scope"], row["item"])


def _earliest(key: str, document: schema.Document, moved: schema.Document) -> list[UpdateOne]:
    """Insert `document` unless its `_id` is there; set `moved` in it if what is there is of a later window."""
    return [
        UpdateOne({"_id": key}, {"$setOnInsert": document}, upsert=True),
        UpdateOne({"_id": key, "first_window": {"$gt": document["first_window"]}}, {"$set": moved}),
    ]


def told(document: schema.Document) -> str:
    """One record in words."""
    what = {
        Kind.NEW: "is new",
        Kind.MISSING: "is missing",
        Kind.TYPE: f"became {document['type']}, was {', '.join(document['before'])}",
        Kind.MAP: "has ever new keys, and is taken as a map",
        Kind.OVERFLOW: "there are more fields than are kept apart",
    }[Kind(document["kind"])]
    where = f"{document['dataset']} {document['path'] or '(all)'}"
    return f"{where} {what} since {document['first_window']:%Y-%m-%d} ({document['scope']}, e.g. {document['example']})"


def of_run(db: schema.Db, run_id: str) -> list[str]:
    """What a run was the first to see, in words, in order of time."""
    return [told(one) for one in db[schema.DRIFT].find({"run_id": run_id}, sort=[("first_window", 1), ("_id", 1)])]
