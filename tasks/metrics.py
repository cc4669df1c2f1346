"""Gold: days whose metrics are not made from today's links by today's definitions are computed, staged, published.

A scope of Gold may be made from several link scopes (a team), or from a part of one (a repository of a service); each
of its days then has as many inputs, and is worth no more than the worst of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from config import schema, scopes
from config.catalog import DELIVERIES, DORA_DAILY
from config.scopes import GoldScope
from quality.findings import Report
from quality.gate import Measures, Part
from quality.observations import Cause
from quality.receipts import Proof
from tasks import checks, held, links, proofs, revisions, scoping
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication
from tasks.transforms import code_version, definitions, gold
from tasks.transforms.gold import Spine, Terms

_BECAUSE: Final = checks.Because(
    inputs="its deliveries have changed",
    code="the definitions have changed",
    blocked="its deliveries, its rules or the verdict on it have changed since it was blocked",
)


def code(context: Context) -> str:
    """The version of the definitions, and of what their numbers must obey."""
    return context.code(DORA_DAILY.name, f"{code_version(gold, definitions)}+{context.settings.dora.change_fail_rate}")


@dataclass(frozen=True, slots=True)
class Stale:
    """A day to compute, and the links it is computed from."""

    day: date
    links: links.Day
    """Of all parts together."""
    why: str
    cause: str = Cause.FIRST
    parts: tuple[tuple[scopes.Part, str], ...] = ()
    """The revision of each of them that has the day, where there are several, or it is one of another name."""


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
    manifest, parts = _manifest(context, scoping.gold(context, scope), days)
    blocked = {day: document.get("blocked") for day, document in published.items()}
    wanted = _inputs(
        context, scope, {day: (one.revision, parts.get(day, ())) for day, one in manifest.items()}, blocked
    )
    found = []
    for day, linked in sorted(manifest.items()):
        document = published.get(day)
        if not missing and not (document and "revision" in document):
            continue
        held_back = waiting and held.INPUT in ((blocked.get(day) or {}).get("inputs", {}))
        if why := checks.why_stale(document, wanted[day], version, _BECAUSE) or (held_back and held.RULE):
            cause = checks.cause_of(document, version, linked.cause)
            found.append(Stale(day, linked, why, cause, parts.get(day, ())))
    return found


def days_of(context: Context, scope: str, days: tuple[date, date] | None = None) -> dict[date, links.Day]:
    """What is published of the links of all parts of `scope`, together; of [first, last) if `days` is given."""
    return _manifest(context, scoping.gold(context, scope), days)[0]


def input_of(part: scopes.Part, scope: str) -> str:
    """What the revision of `part` is called among the inputs of `scope`."""
    return DELIVERIES.name if part == scopes.Part(scope) else "|".join([DELIVERIES.name, *(one for one in part if one)])


Parts = tuple[tuple[scopes.Part, str], ...]


def _manifest(
    context: Context, of: GoldScope, days: tuple[date, date] | None
) -> tuple[dict[date, links.Day], dict[date, Parts]]:
    if of.parts == (scopes.Part(of.name),):
        return links.manifest(context, of.name, days), {}
    manifests = {part: links.manifest(context, part.link, days) for part in of.parts}
    found: dict[date, links.Day] = {}
    parts: dict[date, Parts] = {}
    for day in sorted({day for manifest in manifests.values() for day in manifest}):
        there = {part: manifest.get(day) for part, manifest in manifests.items()}
        named = [(part.repository or part.link, one and one.proofs_of(part.repository)) for part, one in there.items()]
        known = {part: one for part, one in there.items() if one is not None}
        revision = schema.digest([[*part, one.revision] for part, one in known.items()])
        cause = next((one.cause for one in known.values() if one.cause != Cause.FIRST), Cause.FIRST)
        found[day] = links.Day(revision, proofs.combined(named), cause)
        parts[day] = tuple((part, one.revision) for part, one in known.items())
    return found, parts


def compute(context: Context, scope: str, windows: Sequence[Stale]) -> int:
    """Compute, stage and publish `windows`; returns how many (another worker may have the rest)."""
    by_partition = {Partition(DORA_DAILY.name, scope, window.day): window for window in windows}
    claimed = context.ledger.claim(list(by_partition))
    todo = {claim: by_partition[claim.partition] for claim in claimed}
    linked = {window.day: (window.links.revision, window.parts) for window in todo.values()}
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
    context: Context,
    scope: str,
    linked: Mapping[date, tuple[str, Parts]],
    blocked: Mapping[date, Mapping[str, Any] | None],
) -> dict[date, dict[str, str]]:
    """What each day is to be made from: the revisions of its links, and the verdicts that hold it back, if any do.

    blocked: what the ledger keeps of days that are held back; a verdict on a day that is published changes nothing.
    """
    days = [day for day, one in blocked.items() if one and held.INPUT in one["inputs"] and day in linked]
    made = held.made_of(context, scope, {day: linked[day][0] for day in days}, code(context)) if days else {}
    by = held.holding(context, scope, made)
    return {day: {**_named(scope, *one), **held.inputs(by.get(day, ()))} for day, one in linked.items()}


def _named(scope: str, revision: str, parts: Parts) -> dict[str, str]:
    return {input_of(part, scope): one for part, one in parts} if parts else {DELIVERIES.name: revision}


def _documents(context: Context, scope: str, windows: Iterable[Stale]) -> dict[date, schema.Document]:
    windows = list(windows)
    of = scoping.gold(context, scope)
    by_day = [window.links.proofs for window in windows]
    stages = gold.pipeline([_spine(scope, window) for window in windows], _terms(context, of, by_day), _rows(windows))
    return {row["day"].date(): row for row in context.db.aggregate(stages, allowDiskUse=True)}


def _terms(context: Context, of: GoldScope, proofs_of_days: Sequence[Mapping[str, Any]]) -> Terms:
    rule = context.settings.dora.change_fail_rate
    mixed = len(of.parts) > 1 and len({_is_tracked(context, part) for part in of.parts}) > 1
    return gold.terms(of.name, str(of.kind), rule, proofs_of_days, mixed=mixed)


def _is_tracked(context: Context, part: scopes.Part) -> bool:
    """Whether something tells of incidents there."""
    return bool(context.ledger.find(Partition(DELIVERIES.name, part.link)).get("tracked"))


def _rows(windows: Sequence[Stale]) -> dict[str, Any] | None:
    """Which delivery rows the days are made from, where they are more or less than those of one link scope."""
    by_repository: dict[str | None, list[str]] = {}
    for window in windows:
        for part, revision in window.parts:
            key = schema.delivery_key(part.link, window.day.isoformat(), revision)
            by_repository.setdefault(part.repository, []).append(key)
    if not any(window.parts for window in windows):
        return None
    return {
        "$or": [
            {"partition": {"$in": keys}, **({} if repository is None else {"repository": repository})}
            for repository, keys in by_repository.items()
        ]
    }


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
        inputs = {**_named(scope, window.links.revision, window.parts), **held.inputs(anomalies)}
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
    day = window.day.isoformat()
    key = day if window.parts else schema.delivery_key(scope, day, window.links.revision)
    return {"key": key, "day": schema.start_of(window.day), "proofs": window.links.proofs}
