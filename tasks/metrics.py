"""Gold: days whose metrics are not made from today's links by today's definitions are computed, staged, published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from config import schema
from config.catalog import DELIVERIES, DORA_DAILY
from quality.findings import Report
from quality.gate import Part
from quality.observations import Cause
from quality.receipts import Proof
from tasks import checks, links, revisions
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication
from tasks.transforms import code_version, gold
from tasks.transforms.gold import Spine

_BECAUSE: Final = checks.Because(
    inputs="its deliveries have changed",
    code="the definitions have changed",
    blocked="its deliveries or its rules have changed since it was blocked",
)


def code(context: Context) -> str:
    """The version of the definitions, and of what their numbers must obey."""
    return context.code(DORA_DAILY.name, code_version(gold))


@dataclass(frozen=True, slots=True)
class Stale:
    """A day to compute, and the links it is computed from."""

    day: date
    links: links.Day
    why: str
    cause: str = Cause.FIRST


def stale(context: Context, scope: str, days: tuple[date, date], *, missing: bool = True) -> list[Stale]:
    """The days in [first, last) to compute, in order; without `missing` only those that were published once."""
    published = {
        document["window"].date(): document
        for document in context.ledger.windows(DORA_DAILY.name, scope, checks.LOOKED_AT, days)
    }
    version = code(context)
    found = []
    for day, linked in sorted(links.manifest(context, scope, days).items()):
        document = published.get(day)
        if not missing and not (document and "revision" in document):
            continue
        if why := checks.why_stale(document, {DELIVERIES.name: linked.revision}, version, _BECAUSE):
            found.append(Stale(day, linked, why, checks.cause_of(document, version, linked.cause)))
    return found


def compute(context: Context, scope: str, windows: Sequence[Stale]) -> int:
    """Compute, stage and publish `windows`; returns how many (another worker may have the rest)."""
    by_partition = {Partition(DORA_DAILY.name, scope, window.day): window for window in windows}
    claimed = context.ledger.claim(list(by_partition))
    current = {
        claim
        for claim in claimed
        if claim.is_made_from({DELIVERIES.name: by_partition[claim.partition].links.revision}, code(context))
    }
    context.ledger.leave(list(current))
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
    measured = {window.day: _metrics(documents[window.day]) for window in windows.values()}
    parts = []
    for claim, window in windows.items():
        document = documents[window.day]
        told = {**{metric: document[metric] for metric in gold.METRICS}, **_evidence(window.links.proofs)}
        content = schema.digest([document[metric] for metric in gold.METRICS])
        before = None if claim.unfinished else claim.report
        parts.append(Part([document], told, content=content, before=before))
    assessments = checks.assess(context, DORA_DAILY.name, parts, lambda _: {})
    staged, publications = [], []
    for (claim, window), found in zip(windows.items(), assessments, strict=True):
        held = checks.blocked(found, first=claim.is_first, whole=True)
        document = _unknown(documents[window.day], found.report) if held else documents[window.day]
        revision = schema.digest(document)
        row_id = f"{claim.partition.key}@{revision}"
        staged.append({"_id": row_id, **document})
        extra: dict[str, Any] = {"row_id": row_id, "trust": document["trust"], "reasons": document["reasons"]}
        if context.checks:
            extra |= {"report": found.report.document(), "cause": window.cause}
        inputs = {DELIVERIES.name: window.links.revision}
        publications.append((claim, Publication(revision, inputs, code(context), 1, extra, blocked=held)))
    revisions.stage(context.db[schema.GOLD_ROWS], staged)
    return checks.publish(context, DORA_DAILY.name, scope, publications, measured, gold.METRICS)


def _metrics(document: schema.Document) -> dict[str, float | int | None]:
    """The metrics of the day, None where they are not known; those that are not defined on it are left out."""
    known = {metric: document[metric] for metric in gold.METRICS if document[metric] is not None}
    return {**dict.fromkeys(document["reasons"]), **known, "coverage": document["coverage"]}


def _evidence(proofs: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Which zeros are proven, said once more from the receipts alone: the rules hold the metrics against it."""
    proven = [proofs[stream]["state"] == Proof.PROVEN for stream in ("deployments", "changes", "failures")]
    return {
        "proven_deployments": int(proven[0]),
        "proven_changes": int(all(proven[:2])),
        "proven_failures": int(all(proven)),
    }


def _unknown(document: schema.Document, report: Report) -> schema.Document:
    """The day's document where none of its numbers may be shown."""
    reason = checks.unknown(report)["reason"]
    nothing = dict.fromkeys(gold.METRICS)
    return {**document, **nothing, "trust": "unknown", "coverage": 0.0, "reasons": dict.fromkeys(gold.METRICS, reason)}


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
