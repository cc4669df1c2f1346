"""Rows of entities are written so that the newest version stays, whoever writes when."""

from collections.abc import Sequence

from pymongo import ReplaceOne

from config.catalog import Dataset
from quality.gate import Row
from tasks.context import Context
from tasks.ledger import insert_new


class LostWriteError(RuntimeError):
    """The database said that it stored what is not there."""


def apply(context: Context, dataset: Dataset, rows: Sequence[Row]) -> None:
    """Write `rows`; where the entity has a row already, the newer version stays.

    Raises LostWriteError if they are not there afterwards.
    """
    newest: dict[str, Row] = {}
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
        ReplaceOne({"_id": row["_id"], "version": {"$lte": row["version"]}}, dict(row))
        for row in contested
        if there.get(row["_id"], "") <= row["version"]
    ]
    if replacements:
        collection.bulk_write(replacements, ordered=False)
    written = {row["_id"]: row["version"] for row in collection.find({"_id": {"$in": list(newest)}}, {"version": 1})}
    if lost := [key for key, row in newest.items() if written.get(key, "") < row["version"]]:
        raise LostWriteError(f"{dataset.name}: {len(lost)} of {len(newest)} rows were not stored, e.g. {lost[0][:100]}")
