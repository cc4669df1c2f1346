"""Silver's deliveries: the links between a scope's entities, computed from all of them and published at once.

A link scope is a service, which has several origins, or a repository that is in none (see `config.scopes`).

Which deployment delivered a change first depends on the whole history, so this is one partition per scope. Its rows are
kept by the day of the deployment, each day under a revision of its own, and one document (the head) says which revision
of each day counts, through a manifest per year. So publishing is one compare-and-set, unchanged days keep their
revision, and nothing downstream of them moves.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Final, NamedTuple

from config import schema
from config.catalog import DELIVERIES, LINKED
from config.scopes import LinkScope
from quality.gate import Measures, Part, Row
from quality.observations import Cause
from quality.suites import Suite
from quality.tally import tally
from tasks import checks, linking, proofs, revisions, scoping
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication, RetryLaterError
from tasks.transforms import code_version, deliveries

_TELLING: Final = (Cause.REPLAY, Cause.LATE_DATA, Cause.REPAIR, Cause.DEFINITION)
"""Of several causes the one that tells a person most."""

_KINDS: Final = ("rows.deployment", "rows.change", "rows.failure")


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
    repositories: Mapping[str, Any] | None = None
    """The proofs of the repositories of a service whose own are others."""

    def proofs_of(self, repository: str | None) -> Mapping[str, Any]:
        """What the day is worth, for one repository or for all."""
        own: Mapping[str, Mapping[str, Any]] = self.repositories or {}
        return own.get(repository or "", self.proofs)

    def document(self) -> dict[str, Any]:
        """As it is kept in the manifest."""
        return {key: value for key, value in self._asdict().items() if value is not None}


def code(context: Context, link: LinkScope) -> str:
    """The version of the code that makes links, of what is configured of them, and of what they must obey."""
    return context.code(DELIVERIES.name, f"{code_version(*linking.MODULES)}+{linking.terms(context, link)}")


def _inputs(context: Context, link: LinkScope) -> dict[str, str]:
    """The revision of all entities of `link`, by dataset."""
    return {dataset.name: _hashed(context, dataset.name, link, ["revision"]) for dataset in LINKED}


def _hashed(context: Context, dataset: str, link: LinkScope, fields: Sequence[str]) -> str:
    origins = link.origins
    hashes = [context.ledger.hash_of_all(dataset, origin, fields) for origin in origins]
    return hashes[0] if len(hashes) == 1 else schema.digest([origins, hashes])


def _writers(context: Context, link: LinkScope) -> list[str]:
    """Who has claimed what so far: equal before and after means that nobody wrote in between.

    A fold begins by raising its window's fence.
    """
    fields = ["fence", "owner", "revision"]
    return [_hashed(context, dataset.name, link, fields) for dataset in LINKED]


class _Settled(NamedTuple):
    """The entities' windows at a moment at which nobody was folding one."""

    inputs: dict[str, str]
    proofs: dict[tuple[str, str], dict[date, Any]]
    """By dataset and origin."""
    writers: list[str]


def _settled(context: Context, link: LinkScope) -> _Settled:
    """Raises NotSettledError if a window is being folded, or was left half folded."""
    writers = _writers(context, link)
    found: dict[tuple[str, str], dict[date, Any]] = {}
    for dataset in LINKED:
        for origin in link.origins:
            of_origin = found[dataset.name, origin] = {}
            for document in context.ledger.windows(dataset.name, origin, ("owner", "revision", "proof")):
                if document.get("owner") or "revision" not in document:
                    raise NotSettledError(link.name)
                of_origin[document["window"].date()] = document["proof"]
    return _Settled(_inputs(context, link), found, writers)


def is_stale(context: Context, scope: str) -> str | None:
    """Why the head is not made from today's entities by today's code, or None if it is."""
    head = context.ledger.find(Partition(DELIVERIES.name, scope))
    if "revision" not in head:
        return "missing"
    link = scoping.link(context, scope)
    if head["code_version"] != code(context, link):
        return "the rules have changed"
    if head.get("unobserved") or head.get("again"):
        return "its observations are not recorded yet" if head.get("unobserved") else f"asked for: {head['again']}"
    if head["inputs"] != _inputs(context, link):
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
    of = scoping.link(context, scope)
    before = _settled(context, of)
    version = code(context, of)
    head = context.ledger.find(claim.partition)
    if claim.is_made_from(before.inputs, version):  # somebody did it while we waited
        context.ledger.leave([claim])
        return
    linked = linking.make(context, of, before.proofs)
    rows = linked.rows
    context.ledger.renew([claim])
    known = manifest(context, scope)
    again = claim.unfinished or head.get("code_version") != version
    cause = _cause(context, of, head, version)
    made = {}
    for day in sorted(linked.proofs):
        own = {name: one[day] for name, one in linked.repositories.items() if day in one} or None
        content = [rows.get(day, []), linked.proofs[day], *([own] if own else [])]
        why = cause if day in known else Cause.FIRST
        made[day] = Day(schema.digest(content), linked.proofs[day], why, repositories=own)
    fresh = {day for day, one in made.items() if again or one.revision != _tried(known.get(day))}
    made |= {day: known[day] for day in made.keys() - fresh}
    measured = _check(context, made, known, rows, fresh)
    context.ledger.renew([claim])
    days: dict[str, dict[str, Any]] = defaultdict(dict)
    for day, one in sorted(made.items()):
        days[str(day.year)][day.isoformat()] = one.document()
    _stage(context, scope, {day: (made[day].revision, rows.get(day, [])) for day in fresh}, days)
    if _writers(context, of) != before.writers:
        raise NotSettledError(scope)
    years = {year: schema.digest(content) for year, content in days.items()}
    total = sum(len(rows) for rows in rows.values())
    held = sum(1 for one in made.values() if one.blocked)
    tracked = any(proofs.INCIDENTS in one for one in linked.proofs.values())
    extra = {"years": years, "held": held, "tracked": tracked, **({} if of.is_alone else {"origins": list(of.origins)})}
    publication = Publication(schema.digest(years), before.inputs, version, total, extra)
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


def _cause(context: Context, link: LinkScope, head: schema.Document, version: str) -> str:
    """Why links change: why entities of the scope were published since the links were."""
    if "revision" not in head:
        return Cause.FIRST
    if head.get("again"):
        return Cause.REPLAY
    if head["code_version"] != version:
        return Cause.DEFINITION
    since = {"dataset": {"$in": [dataset.name for dataset in LINKED]}, "scope": {"$in": list(link.origins)}}
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
            unknown = dict.fromkeys(proofs.STREAMS, checks.unknown(found.report))
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
