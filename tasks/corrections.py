"""Rows of Silver whose item no longer counts: withdrawn by its source, set aside, or said to be no data.

What a fold writes only ever grows newer; this is the one way back. It begins with the items, not with the rows, so that
after a crash in the middle it ends in the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

from pymongo import DeleteOne, ReplaceOne

from config import schema
from config.catalog import Dataset
from quality import quarantine
from tasks import withdrawn
from tasks.context import Context
from tasks.ledger import insert_new
from tasks.transforms import counting, silver

BATCH: Final = 1000


def correct(context: Context, dataset: Dataset, scope: str, days: Iterable[date], held: Iterable[date]) -> None:
    """Give every entity that has an item in `days` which does not count the newest version that does, if there is one.

    held: windows that are blocked: their items do not count yet.
    """
    window = {"$in": [schema.start_of(day) for day in days]}
    ids = _concerned(context, dataset, scope, window)
    if not ids:
        return
    blocked = context.db[schema.LEDGER].find(
        {"dataset": dataset.name, "scope": scope, "blocked.first": {"$exists": True}}, {"window": 1}
    )
    out = {schema.start_of(day) for day in held} | {one["window"] for one in blocked} - set(window["$in"])
    for at in range(0, len(ids), BATCH):
        _correct(context, dataset, scope, ids[at : at + BATCH], out)


def _concerned(context: Context, dataset: Dataset, scope: str, window: Any) -> list[str]:
    """The ids of entities that have an item in these windows which does not count."""
    ids = set()
    for upstream in dataset.upstream:
        if gone := withdrawn.ids(context, upstream, scope, window):
            ids |= {one["id"] for one in context.db[upstream].find({"_id": {"$in": sorted(gone)}}, {"id": 1})}
    where = {"dataset": {"$in": [dataset.name, *dataset.upstream]}, "origin": scope, "window": window}
    found = context.db[schema.QUARANTINE].find({**where, **quarantine.OUT}, {"item.id": 1})
    return sorted(ids | {one["item"]["id"] for one in found})


def _correct(context: Context, dataset: Dataset, scope: str, ids: Sequence[str], held: set[Any]) -> None:
    items: list[schema.Document] = []
    out: set[str] = set()
    for upstream in dataset.upstream:
        versions = list(context.db[upstream].find({"origin": scope, "id": {"$in": list(ids)}}))
        items += versions
        out |= _not_counting(context, dataset, upstream, [one["_id"] for one in versions])
    best: dict[str, schema.Document] = {}
    rules = counting.rules(context.settings, scope)
    for item in items:
        if item["_id"] in out or item["window"] in held:
            continue
        try:
            row = silver.row(dataset.name, item, rules)
        except silver.RowError:
            continue  # its own window sets it aside
        if row["_id"] not in best or best[row["_id"]]["version"] < row["version"]:
            best[row["_id"]] = row
    collection = context.db[dataset.name]
    names = sorted({f"{scope}|{silver.row_id(item)}" for item in items})
    there = {row["_id"]: row["bronze"] for row in collection.find({"_id": {"$in": names}}, {"bronze": 1})}
    insert_new(collection, [row for name, row in best.items() if name not in there])
    writes: list[Any] = []
    for name, bronze in there.items():
        if bronze in out:  # and if another worker has put something newer there meanwhile, that stays
            ours = {"_id": name, "bronze": bronze}
            writes.append(ReplaceOne(ours, best[name]) if name in best else DeleteOne(ours))
    if writes:
        collection.bulk_write(writes, ordered=False)


def _not_counting(context: Context, dataset: Dataset, upstream: str, ids: Sequence[str]) -> set[str]:
    """Those of the Bronze `ids` that are withdrawn, or set aside in Bronze or in `dataset`."""
    by_key = defaultdict(list)
    for one in ids:
        for name in (upstream, dataset.name):
            by_key[quarantine.key(name, one)].append(one)
    aside = context.db[schema.QUARANTINE].find({"_id": {"$in": list(by_key)}, **quarantine.OUT}, {"_id": 1})
    gone = context.db[schema.WITHDRAWN].find({"_id": {"$in": list(ids)}}, {"_id": 1})
    return {one["_id"] for one in gone} | {item for one in aside for item in by_key[one["_id"]]}
