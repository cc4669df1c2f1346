"""Gold: days whose metrics are not made from today's links by today's definitions are computed, staged, published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from config import schema
from config.catalog import DELIVERIES, DORA_DAILY
from tasks import links, revisions
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication
from tasks.transforms import code_version, gold
from tasks.transforms.gold import Spine

MISSING: Final = "missing"
WORKED_ON: Final = "being worked on"


@lru_cache(maxsize=1)
def code() -> str:
    """The version of the definitions."""
    return code_version(gold)


@dataclass(frozen=True, slots=True)
class Stale:
    """A day to compute, and the links it is computed from."""

    day: date
    links: links.Day
    why: str


def stale(context: Context, scope: str, days: tuple[date, date], *, missing: bool = True) -> list[Stale]:
    """The days in [first, last) to compute, in order; without `missing` only those that were published once."""
    published = {
        document["window"].date(): document
        for document in context.ledger.windows(
            DORA_DAILY.name, scope, ("inputs", "code_version", "owner", "revision"), days
        )
    }
    found = []
    for day, linked in sorted(links.manifest(context, scope, days).items()):
        document = published.get(day)
        if (missing or (document and "revision" in document)) and (why := _why(document, linked)):
            found.append(Stale(day, linked, why))
    return found


def _why(document: schema.Document | None, linked: links.Day) -> str | None:
    if document is None or "inputs" not in document:
        return MISSING
    if document["inputs"] != {DELIVERIES.name: linked.revision}:
        return "its deliveries have changed"
    if document["code_version"] != code():
        return "the definitions have changed"
    return WORKED_ON if document.get("owner") else None


def compute(context: Context, scope: str, windows: Sequence[Stale]) -> int:
    """Compute, stage and publish `windows`; returns how many (another worker may have the rest)."""
    by_partition = {Partition(DORA_DAILY.name, scope, window.day): window for window in windows}
    claimed = context.ledger.claim(list(by_partition))
    current = {
        claim
        for claim in claimed
        if claim.is_made_from({DELIVERIES.name: by_partition[claim.partition].links.revision}, code())
    }
    context.ledger.release(list(current))
    if claims := [claim for claim in claimed if claim not in current]:
        with context.ledger.holding(claims):
            lost = _compute(context, scope, {claim: by_partition[claim.partition] for claim in claims})
        context.progress(len(claims))
        return len(claimed) - lost
    return len(claimed)


def _compute(context: Context, scope: str, windows: Mapping[Claim, Stale]) -> int:
    """Compute what is claimed; returns how many were lost to another worker."""
    spine = [_spine(scope, window) for window in windows.values()]
    documents = {row["day"].date(): row for row in context.db.aggregate(gold.pipeline(spine), allowDiskUse=True)}
    staged, publications = [], []
    for claim, window in windows.items():
        document = documents[window.day]
        revision = schema.digest(document)
        row_id = f"{claim.partition.key}@{revision}"
        staged.append({"_id": row_id, **document})
        extra = {"row_id": row_id, "trust": document["trust"], "reasons": document["reasons"]}
        publication = Publication(revision, {DELIVERIES.name: window.links.revision}, code(), 1, extra)
        publications.append((claim, publication))
    revisions.stage(context.db[schema.GOLD_ROWS], staged)
    return context.ledger.publish(publications)


def _spine(scope: str, window: Stale) -> Spine:
    proofs = window.links.proofs
    return {
        "partition": schema.delivery_key(scope, window.day.isoformat(), window.links.revision),
        "scope": scope,
        "day": schema.start_of(window.day),
        "changes": proofs["changes"],
        "deployments": proofs["deployments"],
        "failures": proofs["failures"],
    }
