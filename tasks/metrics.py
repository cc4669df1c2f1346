"""Gold: days whose metrics are not made from today's links by today's definitions are computed, staged, published."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from config import schema
from config.catalog import DELIVERIES, DORA_DAILY
from quality.findings import Report
from quality.gate import Measures, Part
from quality.observations import Cause
from quality.receipts import Proof
from tasks import checks, held, links, revisions
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication
from tasks.transforms import code_version, gold
from tasks.transforms.gold import Spine

_BECAUSE: Final = checks.Because(
    inputs="its deliveries have changed",
    code="the definitions have changed",
    blocked="its deliveries, its rules or the verdict on it have changed since it was blocked",
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


def stale(
    context: Context, scope: str, days: tuple[date, date], *, missing: bool = True, waiting: bool = False
) -> list[Stale]:
    """The days in [first, last) to compute, in order; without `missing` only those that were published once.

    waiting: and those that verdicts hold back, though nothing has changed.
    """
    published = {
        document["window"].date(): document
        for document in context.ledger.windows(DORA_DAILY.name, scope, checks.LOOKED_AT, days)
    }
    version = code(context)
    manifest = links.manifest(context, scope, days)
    blocked = {day: document.get("blocked") for day, document in published.items()}
    wanted = _inputs(context, scope, {day: linked.revision for day, linked in manifest.items()}, blocked)
    found = []
    for day, linked in sorted(manifest.items()):
        document = published.get(day)
        if not missing and not (document and "revision" in document):
            continue
        held_back = waiting and held.INPUT in ((blocked.get(day) or {}).get("inputs", {}))
        if why := checks.why_stale(document, wanted[day], version, _BECAUSE) or (held_back and held.RULE):
            found.append(Stale(day, linked, why, checks.cause_of(document, version, linked.cause)))
    return found


def compute(context: Context, scope: str, windows: Sequence[Stale]) -> int:
    """Compute, stage and publish `windows`; returns how many (another worker may have the rest)."""
    by_partition = {Partition(DORA_DAILY.name, scope, window.day): window for window in windows}
    claimed = context.ledger.claim(list(by_partition))
    todo = {claim: by_partition[claim.partition] for claim in claimed}
    linked = {window.day: window.links.revision for window in todo.values()}
    wanted = _inputs(context, scope, linked, {window.day: claim.blocked for claim, window in todo.items()})
    current = {claim for claim, window in todo.items() if claim.is_made_from(wanted[window.day], code(context))}
    context.ledger.leave(list(current))
    if claims := [claim for claim in claimed if claim not in current]:
        with context.ledger.holding(claims):
            lost = _compute(context, scope, {claim: by_partition[claim.partition] for claim in claims})
        context.progress(len(claims))
        return len(claimed) - lost
    return len(claimed)


def made_of(context: Context, scope: str, windows: Iterable[Stale]) -> dict[date, str]:
    """Digest of what each day is computed from, and judged by."""
    return held.made_of(context, scope, {window.day: window.links.revision for window in windows}, code(context))


def candidates(context: Context, scope: str, windows: Iterable[Stale]) -> dict[date, Measures]:
    """What the metrics of each day would be."""
    return {day: _metrics(document) for day, document in _documents(context, scope, windows).items()}


def _inputs(
    context: Context, scope: str, linked: Mapping[date, str], blocked: Mapping[date, Mapping[str, Any] | None]
) -> dict[date, dict[str, str]]:
    """What each day is to be made from: the revision of its links, and the verdicts that hold it back, if any do.

    blocked: what the ledger keeps of days that are held back; a verdict on a day that is published changes nothing.
    """
    days = [day for day, one in blocked.items() if one and held.INPUT in one["inputs"] and day in linked]
    made = held.made_of(context, scope, {day: linked[day] for day in days}, code(context)) if days else {}
    by = held.holding(context, scope, made)
    return {day: {DELIVERIES.name: revision, **held.inputs(by.get(day, ()))} for day, revision in linked.items()}


def _documents(context: Context, scope: str, windows: Iterable[Stale]) -> dict[date, schema.Document]:
    spine = [_spine(scope, window) for window in windows]
    return {row["day"].date(): row for row in context.db.aggregate(gold.pipeline(spine), allowDiskUse=True)}


def _compute(context: Context, scope: str, windows: Mapping[Claim, Stale]) -> int:
    """Compute what is claimed; returns how many were lost to another worker."""
    documents = _documents(context, scope, windows.values())
    measured = {window.day: _metrics(documents[window.day]) for window in windows.values()}
    by = held.holding(context, scope, made_of(context, scope, windows.values())) if held.blocking(context) else {}
    parts = []
    for claim, window in windows.items():
        document = documents[window.day]
        told = {**{metric: document[metric] for metric in gold.METRICS}, **_evidence(window.links.proofs)}
        content = schema.digest([document[metric] for metric in gold.METRICS])
        before = None if claim.unfinished else claim.report
        parts.append(Part([document], told, content=content, before=before))
    assessments = checks.assess(context, DORA_DAILY.name, parts, lambda _: {})
    staged, publications = [], []
    for (claim, window), assessed in zip(windows.items(), assessments, strict=True):
        anomalies = by.get(window.day, ())
        found = replace(assessed, report=held.noted(assessed.report, anomalies))
        blocked = checks.blocked(found, first=claim.is_first, whole=True)
        document = _unknown(documents[window.day], found.report) if blocked else documents[window.day]
        revision = schema.digest(document)
        row_id = f"{claim.partition.key}@{revision}"
        staged.append({"_id": row_id, **document})
        extra: dict[str, Any] = {"row_id": row_id, "trust": document["trust"], "reasons": document["reasons"]}
        if context.checks:
            extra |= {"report": found.report.document(), "cause": window.cause}
        inputs = {DELIVERIES.name: window.links.revision, **held.inputs(anomalies)}
        publications.append((claim, Publication(revision, inputs, code(context), 1, extra, blocked=blocked)))
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
