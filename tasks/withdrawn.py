"""Versions that a source has withdrawn: it still has the entity, and no longer says this of it.

Items in Bronze are for ever. But where a recording is mended, the broken version of an entity must not count any more,
whatever its time or its hash: it stays in Bronze, and a note beside it keeps it from the next layers. Only what the
same unit of the same source brought is withdrawn, and only if it hands over everything: a line that is missing removes
nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from pymongo import UpdateOne

from config import schema
from config.catalog import SWEEP
from tasks.context import Context
from tasks.ledger import Claim

MOST: Final = 500_000
"""Items of one sweep that are told apart in memory (about 100 bytes each); beyond it nothing is withdrawn."""
BATCH: Final = 5000

Entity = tuple[str, str]
"""Origin, id."""


@dataclass(slots=True)
class Handed:
    """What a sweep has handed over, and which entities of it have several versions in Bronze."""

    unit: str
    keys: set[int] = field(default_factory=set)
    several: dict[str, set[Entity]] = field(default_factory=lambda: defaultdict(set))
    """By dataset."""
    count: int = 0

    def take(self, key: str) -> None:
        """An item with this Bronze id was handed over."""
        self.count += 1
        if self.count <= MOST:
            self.keys.add(int(key[:16], 16))

    def has(self, key: str) -> bool:
        """Whether it was."""
        return int(key[:16], 16) in self.keys


def settle(context: Context, claim: Claim, handed: Handed) -> Iterable[tuple[str, str, date, int]]:
    """Withdraw what is no longer said, and bring back what is said again.

    Yields what changed: dataset, origin, window, and by how many items it has more. To be called after a sweep that has
    handed over everything.
    """
    if handed.count > MOST:
        return
    for dataset, entities in handed.several.items():
        ordered = sorted(entities)
        for at in range(0, len(ordered), BATCH):
            yield from _settle(context, claim, handed, dataset, ordered[at : at + BATCH])


def _settle(
    context: Context, claim: Claim, handed: Handed, dataset: str, entities: Sequence[Entity]
) -> Iterable[tuple[str, str, date, int]]:
    notes = context.db[schema.WITHDRAWN]
    where = {"origin": {"$in": sorted({origin for origin, _ in entities})}, "id": {"$in": [id_ for _, id_ in entities]}}
    asked = set(entities)
    sole = _sole_feeders(context, {origin for origin, _ in entities})
    found = list(context.db[dataset].find(where, {"origin": 1, "id": 1, "window": 1, "unit": 1}))
    noted = {one["_id"] for one in notes.find({"_id": {"$in": [one["_id"] for one in found]}}, {"_id": 1})}
    by_entity: dict[Entity, list[schema.Document]] = defaultdict(list)
    for one in found:
        if (one["origin"], one["id"]) in asked:
            by_entity[one["origin"], one["id"]].append(one)
    writes: list[Any] = []
    changes = []
    back = []
    for versions in by_entity.values():
        if not any(handed.has(one["_id"]) for one in versions):
            continue
        for one in versions:
            said = handed.has(one["_id"])
            if said and one["_id"] in noted:
                back.append(one["_id"])
                changes.append((dataset, one["origin"], one["window"].date(), 1))
            elif not said and one["_id"] not in noted and one.get("unit", sole.get(one["origin"])) == handed.unit:
                note = {"dataset": dataset, "origin": one["origin"], "window": one["window"], "at": context.now,
                        "fence": claim.fence, "run_id": context.ledger.run_id}  # fmt: skip
                writes.append(UpdateOne({"_id": one["_id"]}, {"$set": note}, upsert=True))
                changes.append((dataset, one["origin"], one["window"].date(), -1))
    if writes:
        notes.bulk_write(writes, ordered=False)
    if back:
        notes.delete_many({"_id": {"$in": back}})
    return changes


def _sole_feeders(context: Context, origins: Iterable[str]) -> dict[str, str]:
    """Of each origin that one unit alone feeds, that unit: it has brought what does not say who did."""
    feeders = defaultdict(set)
    for sweep in context.db[schema.LEDGER].find({"dataset": SWEEP}, {"scope": 1, "feeds.origin": 1}):
        for feed in sweep.get("feeds", ()):
            feeders[feed["origin"]].add(sweep["scope"])
    return {origin: next(iter(feeders[origin])) for origin in origins if len(feeders[origin]) == 1}


def ids(context: Context, dataset: str, origin: str, window: Any) -> set[str]:
    """The Bronze ids that are withdrawn in the windows that match `window`."""
    where = {"dataset": dataset, "origin": origin, "window": window}
    return {one["_id"] for one in context.db[schema.WITHDRAWN].find(where, {"_id": 1})}
