"""Silver's deliveries: the links between a scope's entities, computed from all of them and published at once.

Which deployment delivered a change first depends on the whole history, so this is one partition per scope. Its rows are
kept by the day of the deployment, each day under a revision of its own, and one document (the head) says which revision
of each day counts, through a manifest per year. So publishing is one compare-and-set, unchanged days keep their
revision, and nothing downstream of them moves.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Final, NamedTuple

from config import schema
from config.catalog import CHANGES, DELIVERIES, DEPLOYMENTS, ENTITIES, FAILURES
from quality.gate import Measures, Part, Row
from quality.observations import Cause
from quality.receipts import Proof
from quality.suites import Suite
from quality.tally import tally
from tasks import checks, revisions
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication, RetryLaterError
from tasks.transforms import code_version, deliveries
from tasks.transforms.deliveries import Deployment, Failure, History
from tasks.windows import is_possible

EPOCH: Final = date(1970, 1, 1).toordinal()
_STREAM_OF: Final = {CHANGES.name: "changes", DEPLOYMENTS.name: "deployments", FAILURES.name: "failures"}
_TELLING: Final = (Cause.REPLAY, Cause.LATE_DATA, Cause.REPAIR, Cause.DEFINITION)
"""Of several causes the one that tells a person most."""

_KINDS: Final = ("rows.deployment", "rows.change", "rows.failure")

_NO_RECEIPT: Final = {"state": "unproven", "coverage": 0.0, "reason": "this window was never extracted"}


class NotSettledError(RetryLaterError):
    """The entities changed while they were read; read them again."""


class Day(NamedTuple):
    """What the manifest says of one day."""

    revision: str
    proofs: Mapping[str, Any]
    cause: str = Cause.FIRST
    report: Mapping[str, Any] | None = None
    """What the suite found of it, if anything."""
    blocked: Mapping[str, Any] | None = None
    """The `revision` that was made last and must not be published, and its `report`."""

    def document(self) -> dict[str, Any]:
        """As it is kept in the manifest."""
        return {key: value for key, value in self._asdict().items() if value is not None}


def code(context: Context) -> str:
    """The version of the code that makes links, and of what they must obey."""
    return context.code(DELIVERIES.name, code_version(deliveries))


def _inputs(context: Context, scope: str) -> dict[str, str]:
    """The revision of all entities of `scope`, by dataset."""
    return {dataset.name: context.ledger.hash_of_all(dataset.name, scope, ["revision"]) for dataset in ENTITIES}


def _writers(context: Context, scope: str) -> list[str]:
    """Who has claimed what so far: equal before and after means that nobody wrote in between.

    A fold begins by raising its window's fence.
    """
    fields = ["fence", "owner", "revision"]
    return [context.ledger.hash_of_all(dataset.name, scope, fields) for dataset in ENTITIES]


class _Settled(NamedTuple):
    """The entities' windows at a moment at which nobody was folding one."""

    inputs: dict[str, str]
    proofs: dict[date, dict[str, Any]]
    writers: list[str]


def _settled(context: Context, scope: str) -> _Settled:
    """Raises NotSettledError if a window is being folded, or was left half folded."""
    writers = _writers(context, scope)
    proofs: dict[date, dict[str, Any]] = defaultdict(dict)
    for dataset in ENTITIES:
        for document in context.ledger.windows(dataset.name, scope, ("owner", "revision", "proof")):
            if document.get("owner") or "revision" not in document:
                raise NotSettledError(scope)
            proofs[document["window"].date()][_STREAM_OF[dataset.name]] = document["proof"]
    return _Settled(_inputs(context, scope), proofs, writers)


def is_stale(context: Context, scope: str) -> str | None:
    """Why the head is not made from today's entities by today's code, or None if it is."""
    head = context.ledger.find(Partition(DELIVERIES.name, scope))
    if "revision" not in head:
        return "missing"
    if head["code_version"] != code(context):
        return "the rules have changed"
    if head.get("unobserved") or head.get("again"):
        return "its observations are not recorded yet" if head.get("unobserved") else f"asked for: {head['again']}"
    if head["inputs"] != _inputs(context, scope):
        return "its entities have changed"
    return checks.FAILED if "error" in head else None


def link(context: Context, scope: str) -> None:
    """Recompute the links of `scope` and publish the days that differ.

    Raises LeaseLostError if another worker took over, NotSettledError if the entities changed under it.
    """
    partition = Partition(DELIVERIES.name, scope)
    claim = context.wait_for(partition)
    with context.ledger.holding([claim]):
        _link(context, scope, claim)


def _link(context: Context, scope: str, claim: Claim) -> None:
    before = _settled(context, scope)
    head = context.ledger.find(claim.partition)
    if claim.is_made_from(before.inputs, code(context)):  # somebody did it while we waited
        context.ledger.leave([claim])
        return
    proofs = before.proofs
    gaps = [day for day, one in proofs.items() if one.get("deployments", {}).get("lossy")]
    rows = {date.fromordinal(EPOCH + day): rows for day, rows in _deliver(context, scope, gaps) if _is_date(day)}
    _doubt_all(proofs, context.now)
    _doubt_failures(proofs, context.now)
    context.ledger.renew([claim])
    known = manifest(context, scope)
    again = claim.unfinished or head.get("code_version") != code(context)
    cause = _cause(context, scope, head)
    made = {}
    for day in sorted(rows.keys() | proofs.keys()):
        day_proofs = {stream: proofs.get(day, {}).get(stream, _NO_RECEIPT) for stream in _STREAM_OF.values()}
        revision = schema.digest([rows.get(day, []), day_proofs])
        made[day] = Day(revision, day_proofs, cause if day in known else Cause.FIRST)
    fresh = {day for day, one in made.items() if again or one.revision != _tried(known.get(day))}
    made |= {day: known[day] for day in made.keys() - fresh}
    measured = _check(context, made, known, rows, fresh)
    context.ledger.renew([claim])
    days: dict[str, dict[str, Any]] = defaultdict(dict)
    for day, one in sorted(made.items()):
        days[str(day.year)][day.isoformat()] = one.document()
    _stage(context, scope, {day: (made[day].revision, rows.get(day, [])) for day in fresh}, days)
    if _writers(context, scope) != before.writers:
        raise NotSettledError(scope)
    years = {year: schema.digest(content) for year, content in days.items()}
    total = sum(len(rows) for rows in rows.values())
    held = sum(1 for one in made.values() if one.blocked)
    publication = Publication(schema.digest(years), before.inputs, code(context), total, {"years": years, "held": held})
    context.ledger.publish_one(claim, publication, keep=context.checks)
    if context.checks:
        news = [
            (day, measures, made[day].cause)
            for day, measures in measured.items()
            if claim.unfinished or day not in known or _is_new(known[day], made[day])
        ]
        checks.observe(context, DELIVERIES.name, scope, news, (*context.suite(DELIVERIES.name).measures, *_KINDS))
        context.ledger.finish([claim])


def _is_new(before: Day, made: Day) -> bool:
    """Whether it says something else, or was made while nothing was measured."""
    return before.revision != made.revision or (before.report is None and before.blocked is None)


def _tried(day: Day | None) -> str | None:
    """The revision that was made last, published or not."""
    return None if day is None else day.blocked["revision"] if day.blocked else day.revision


def _cause(context: Context, scope: str, head: schema.Document) -> str:
    """Why links change: why entities of the scope were published since the links were."""
    if "revision" not in head:
        return Cause.FIRST
    if head.get("again"):
        return Cause.REPLAY
    if head["code_version"] != code(context):
        return Cause.DEFINITION
    since = {"dataset": {"$in": [dataset.name for dataset in ENTITIES]}, "scope": scope}
    found = context.db[schema.LEDGER].distinct("cause", {**since, "published_at": {"$gt": head["published_at"]}})
    return next((cause for cause in _TELLING if cause in found), Cause.LATE_DATA)


def _check(
    context: Context,
    made: dict[date, Day],
    known: Mapping[date, Day],
    rows: dict[date, list[dict[str, Any]]],
    fresh: set[date],
) -> dict[date, Measures]:
    """Judge the days that are new, and hold back those that must not be published; returns the others' measures."""
    if not context.checks:
        return {}
    suite = context.suite(DELIVERIES.name)
    days = sorted(fresh)
    parts = []
    for day in days:
        last = known[day].report if day in known else None
        alike = [{**deliveries.BLANK, **row} for row in rows.get(day, [])]
        parts.append(Part(alike, content=schema.digest(rows.get(day, [])), before=last))
    measured = {}
    for day, found in zip(days, checks.assess(context, DELIVERIES.name, parts, partial(_measures, suite)), strict=True):
        report = found.report.document()
        before = known.get(day)
        held = checks.blocked(found, first=before is None, whole=True)
        if held is None:
            made[day] = made[day]._replace(report=report)
            measured[day] = found.measures
            continue
        blocked = {"revision": made[day].revision, "report": report}
        rows.pop(day, None)
        if before is None:
            unknown = dict.fromkeys(_STREAM_OF.values(), checks.unknown(found.report))
            before = Day(schema.digest([[], unknown]), unknown)
        made[day] = before._replace(blocked=blocked)
    return measured


def _measures(suite: Suite, rows: Sequence[Row]) -> Measures:
    kinds = Counter(row["kind"] for row in rows)
    return {**tally(suite, rows, "deployment"), **{f"rows.{kind}": n for kind, n in kinds.items()}}


def manifest(context: Context, scope: str, days: tuple[date, date] | None = None) -> dict[date, Day]:
    """The published revision of each day; of [first, last) if `days` is given."""
    head = context.ledger.find(Partition(DELIVERIES.name, scope))
    years = head.get("years", {})
    wanted = [schema.manifest_key(scope, year, key) for year, key in years.items()
              if days is None or days[0].year <= int(year) <= days[1].year]  # fmt: skip
    return {
        date.fromisoformat(day): Day(**entry)
        for document in context.db[schema.MANIFESTS].find({"_id": {"$in": wanted}})
        for day, entry in document["days"].items()
        if days is None or days[0] <= date.fromisoformat(day) < days[1]
    }


def _doubt_all(proofs: dict[date, dict[str, Any]], now: datetime) -> None:
    """What was set aside with a date that cannot be may belong to any day: none has a proven zero then."""
    for stream in _STREAM_OF.values():
        lossy = [day for day, one in proofs.items() if one.get(stream, {}).get("lossy") and not is_possible(day, now)]
        if not lossy:
            continue
        reason = f"records of {max(lossy)} are set aside: that date cannot be, and they may belong here"
        for one in proofs.values():
            if one.get(stream, {}).get("state") == Proof.PROVEN:
                one[stream] = one[stream] | {"state": str(Proof.PARTIAL), "reason": reason}


def _doubt_failures(proofs: dict[date, dict[str, Any]], now: datetime) -> None:
    """A revert that could not be read may name any deployment before it: that none of those failed is not proven."""
    lossy = [day for day, one in proofs.items() if any(one.get(s, {}).get("lossy") for s in ("failures", "changes"))]
    if not lossy:
        return
    last = max(lossy) if all(is_possible(day, now) for day in lossy) else date.max
    reason = f"a revert of {max(lossy)} could not be read, and may name a deployment of this day"
    for day, one in proofs.items():
        if day < last and one.get("failures", {}).get("state") == Proof.PROVEN:
            one["failures"] = one["failures"] | {"state": str(Proof.PARTIAL), "reason": reason}


def _deliver(context: Context, scope: str, gaps: Sequence[date]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    def rows(dataset: str, *fields: str) -> Iterator[schema.Document]:
        return iter(
            context.db[dataset].find(
                {"scope": scope, "deleted": {"$ne": True}}, {"_id": 0, **dict.fromkeys(fields, 1)}, batch_size=5000
            )
        )

    history = History(
        deliveries.compact(rows(CHANGES.name, "id", "parents", "authored_ts", "committed_ts")),
        [Deployment(**row) for row in rows(DEPLOYMENTS.name, "id", "target", "deployed_ts")],
        [Failure(**row) for row in rows(FAILURES.name, "reverted_by", "reverted", "reverted_ts")],
        [int((schema.start_of(day) + schema.DAY).timestamp()) for day in gaps],
    )
    yield from deliveries.deliver(history).items()


def _stage(
    context: Context,
    scope: str,
    fresh: Mapping[date, tuple[str, Sequence[Mapping[str, Any]]]],
    days: Mapping[str, Mapping[str, Any]],
) -> None:
    """Put the rows of `fresh` days and the manifests there, visible to nobody yet."""
    staged = []
    for day, (revision, rows) in fresh.items():
        key = schema.delivery_key(scope, day.isoformat(), revision)
        staged += [{"_id": f"{key}|{n}", "partition": key, **row} for n, row in enumerate(rows)]
    revisions.stage(context.db[schema.DELIVERY_ROWS], staged)
    manifests = []
    for year, content in days.items():
        key = schema.digest(content)
        manifests.append({"_id": schema.manifest_key(scope, year, key), "scope": scope, "days": content})
    revisions.stage(context.db[schema.MANIFESTS], manifests)


def _is_date(day: int) -> bool:
    return 1 <= EPOCH + day <= date.max.toordinal()
