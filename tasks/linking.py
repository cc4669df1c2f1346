"""From the entities of a link scope to the links between them: what is read, and what it is worth."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from config import catalog, schema
from config.catalog import CHANGES, DEPLOYMENTS, FAILURES
from config.scopes import LinkScope, Project, Repository, repository
from tasks import proofs
from tasks.context import Context
from tasks.proofs import INCIDENTS, Given, OfDay, Wanted
from tasks.transforms import attribution, deliveries, history, incidents, reverts
from tasks.transforms.deliveries import SECONDS_PER_DAY, Delivered
from tasks.transforms.history import Change, Deployment, Failure, History, Incident, Pull, PullRevert
from tasks.transforms.incidents import Line

MODULES: Final = (deliveries, history, reverts, attribution, incidents, proofs)
"""What links depend on."""
EPOCH: Final = date(1970, 1, 1).toordinal()
_UNLINKED: Final = "a deployment of the service is of no repository that is known: it may have delivered any change"
_MISSING: Final = "changes are pull requests by `dora.changes`, and no source fetches those of this repository"

Rows = dict[date, list[dict[str, Any]]]


@dataclass(slots=True)
class _Entities:
    """Those of one repository."""

    is_pulls: bool
    changes: list[Change] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    reverts: list[Failure] = field(default_factory=list)
    pull_reverts: list[PullRevert] = field(default_factory=list)

    def history(self, name: str | None, gaps: Sequence[int]) -> History:
        """As links are made of them."""
        pulls = self.pulls if self.is_pulls else None
        pull_reverts = self.pull_reverts if self.is_pulls else ()
        return History(self.changes, self.deployments, self.reverts, gaps, pulls, pull_reverts, name)


@dataclass(frozen=True, slots=True)
class Made:
    """All links of a scope, and what each day of them is worth."""

    rows: Rows
    proofs: dict[date, OfDay]
    repositories: Mapping[str, Mapping[date, OfDay]]
    """Of a scope of several, where a repository's own are others than those of the whole scope."""


def terms(context: Context, link: LinkScope) -> str:
    """A digest of what the configuration says of the scope's links."""
    facts = [(one, _facts(context, one)) for one in link.repositories]
    told = [[one, said.changes, said.tags, sorted(said.addresses), sorted(said.streams)] for one, said in facts]
    of = [link.name, link.repositories, link.jobs, link.projects, link.environments]
    return schema.digest([of, told, context.settings.dora.window_hours])[:8]


def make(context: Context, link: LinkScope, given: Given) -> Made:
    """Read all entities of `link` and link them; `given`: the proofs of their windows."""
    facts = {one: _facts(context, one) for one in link.repositories}
    entities = {one: _entities(context, one, said) for one, said in facts.items()}
    gaps = {one: _gaps(given, (one, *link.jobs)) for one in link.repositories}
    loose = _deployments(context, link, facts, entities)
    for times in gaps.values():
        times += [one.deployed_ts for one in loose]
    alone = link.is_alone
    made = [one.history(None if alone else name, gaps[name]) for name, one in entities.items()]
    found = [deliveries.delivered(one) for one in made]
    if loose:
        found.append(_loose(loose, has_code=bool(entities)))
    wanted = _wanted(link, facts)
    tracked = [(one, said) for one, said in _projects(link, wanted) if given.get((FAILURES.name, one.origin))]
    issues = list(_incidents(context, [one for one, _ in tracked]))
    if alone and issues:
        wanted = replace(wanted, origins={**wanted.origins, INCIDENTS: tuple(one.origin for one, _ in tracked)})
    rows = _rows(found, issues, context.settings.dora.window_hours * 3600, judged=INCIDENTS in wanted.origins)
    of_days = {date.fromordinal(EPOCH + day): of_day for day, of_day in rows.items() if _is_date(day)}
    return Made(of_days, *_proofs(context, link, given, wanted, facts, of_days))


def _facts(context: Context, origin: str) -> Repository:
    return repository(context.settings, origin)


def _wanted(link: LinkScope, facts: Mapping[str, Repository], only: str | None = None) -> Wanted:
    """Which origins each stream is of; only: of the one repository, and of what all of them have in common."""
    mine = {one: said for one, said in facts.items() if only in {None, one}}
    origins = {stream: tuple(one for one, said in mine.items() if stream in said.streams) for stream in proofs.STREAMS}
    origins["deployments"] = (*origins["deployments"], *link.jobs)
    tracked = [one.origin for one in link.projects]
    tracked += [one for one, said in mine.items() if INCIDENTS in said.streams]
    if tracked:
        origins[INCIDENTS] = tuple(dict.fromkeys(tracked))
    missing = any(said.changes == "missing" for said in mine.values())
    return Wanted(origins, _MISSING if missing else None)


def _proofs(  # noqa: PLR0913, PLR0917 - one call, from one place
    context: Context,
    link: LinkScope,
    given: Given,
    wanted: Wanted,
    facts: Mapping[str, Repository],
    rows: Rows,
) -> tuple[dict[date, OfDay], dict[str, dict[date, OfDay]]]:
    days = sorted(rows.keys() | {day for of_origin in given.values() for day in of_origin})
    whole = _doubted(context, given, wanted, days, sorted(rows))
    if len(facts) == 0 or link.is_alone or len(link.repositories) == 1:
        return whole, {}
    own = {}
    for name in link.repositories:
        mine = _doubted(context, given, _wanted(link, facts, name), days, sorted(rows))
        own[name] = {day: one for day, one in mine.items() if one != whole[day]}
    return whole, own


def _doubted(
    context: Context, given: Given, wanted: Wanted, days: Sequence[date], deployed: Sequence[date]
) -> dict[date, OfDay]:
    found = proofs.of_days(given, wanted, days)
    proofs.doubt_all(found, context.now)
    proofs.doubt_failures(found, context.now)
    if tracked := wanted.origins.get(INCIDENTS):
        proofs.doubt_incidents(found, given, tracked, deployed)
    return found


def _rows(
    found: Sequence[Delivered], issues: Sequence[Incident], window: float, *, judged: bool
) -> dict[int, list[dict[str, Any]]]:
    """judged: there is something that tells of incidents, even if there was none."""
    if not judged:
        return deliveries.by_day(found)
    both = [
        (Line(deployment, row.get("repository")), row)
        for one in found
        for deployment, row in zip(one.deployments, one.rows, strict=True)
    ]
    both.sort(key=lambda pair: (pair[0].deployment.deployed_ts, pair[0].deployment.origin, pair[0].deployment.id))
    lines, rows = [line for line, _ in both], [row for _, row in both]
    laid = incidents.lay(issues, lines, window)
    incidents.mark(rows, laid)
    for one in found:
        for _, row in one.links:
            if row["kind"] == "failure":
                row["beside"] = True
    more = [(lines[one.failed].deployment.deployed_ts, incidents.row(one, lines)) for one in laid]
    return deliveries.by_day(found, more)


def _loose(loose: Sequence[Deployment], *, has_code: bool) -> Delivered:
    """Deployments that are of no repository: they deliver nothing that is known."""
    made = deliveries.delivered(History((), [one._replace(target="", commits=()) for one in loose], ()))
    for row in made.rows:
        row |= {"whole": not has_code, **({"why": _UNLINKED} if has_code else {})}
    return made


def _gaps(given: Given, origins: Iterable[str]) -> list[int]:
    """The ends of the days of which deployments may be missing."""
    lossy = {
        day for origin in origins for day, one in given.get((DEPLOYMENTS.name, origin), {}).items() if one.get("lossy")
    }
    return [int((schema.start_of(day) + schema.DAY).timestamp()) for day in sorted(lossy)]


def _read(context: Context, dataset: str, where: Mapping[str, Any], *fields: str) -> Iterator[schema.Document]:
    there = {**where, "deleted": {"$ne": True}}
    return iter(context.db[dataset].find(there, {"_id": 0, **dict.fromkeys(fields, 1)}, batch_size=5000))


_PULL: Final = ("id", "number", "merge_sha", "authored_ts", "merged_ts", "commits")
_COMMIT: Final = ("id", "parents", "authored_ts", "committed_ts")
_REVERT: Final = ("reverted_by", "reverted", "reverted_ts")
_PULL_REVERT: Final = ("reverted_by", "reverted_pull", "reverted_ts")


def _entities(context: Context, origin: str, facts: Repository) -> _Entities:
    def rows(dataset: str, fields: Sequence[str], *kinds: str | None) -> Iterator[schema.Document]:
        return _read(context, dataset, {"scope": origin, "kind": {"$in": list(kinds)}}, *fields)

    pulls = []
    if facts.changes in {"pull_requests", ""}:
        pulls = [Pull(**row) for row in rows(CHANGES.name, _PULL, "pull_request")]
    found = _Entities(facts.changes == "pull_requests" or bool(pulls), pulls=pulls)
    found.changes = deliveries.compact(rows(CHANGES.name, _COMMIT, None, "commit"))
    found.reverts = [Failure(**row) for row in rows(FAILURES.name, _REVERT, None, "revert")]
    if found.is_pulls:
        found.pull_reverts = [PullRevert(**row) for row in rows(FAILURES.name, _PULL_REVERT, "pull_revert")]
    return found


def _deployments(
    context: Context, link: LinkScope, facts: Mapping[str, Repository], entities: Mapping[str, _Entities]
) -> list[Deployment]:
    """Give each repository its deployments; returns those that are of none."""
    for origin, mine in entities.items():
        mine.deployments += _own_deployments(context, link, origin, facts[origin])
    loose: list[Deployment] = []
    if not link.jobs:
        return loose
    addresses = {origin: one.addresses for origin, one in facts.items()}
    commits = {origin: {change.id for change in one.changes} for origin, one in entities.items()}
    for origin, mine in entities.items():
        commits[origin] |= {sha for pull in mine.pulls for sha in (pull.merge_sha, *pull.commits)}
    where = {"scope": {"$in": list(link.jobs)}, "deleted": {"$ne": True}}
    rows = list(context.db[DEPLOYMENTS.name].find(where))
    carried = attribution.carried(rows)
    for row in rows:
        if attribution.is_counted(row):
            changes = carried[row["_id"]]
            owner, target = attribution.repository_of(row, addresses, commits, changes)
            made = attribution.deployment(row, target, changes, job=True)
            (loose if owner is None else entities[owner].deployments).append(made)
    return loose


def _own_deployments(context: Context, link: LinkScope, origin: str, facts: Repository) -> Iterator[Deployment]:
    where: dict[str, Any] = {"scope": origin, "production": {"$ne": False}, "result": {"$in": [None, "success"]}}
    if not facts.tags:
        where["kind"] = {"$nin": [None, "tag"]}
    if link.environments:
        where["environment"] = {"$in": list(link.environments)}
    fields = ("id", "target", "deployed_ts", "started_ts", "environment", "commits", "name", "url", "kind", "scope")
    rows = list(_read(context, DEPLOYMENTS.name, where, *fields))
    named = [row["name"] for row in rows if row.get("kind") == "release" and not row["target"]]
    tags = _tags(context, origin, named) if named else {}
    for row in rows:
        target = row["target"] or tags.get(row.get("name", ""), "")
        yield attribution.deployment(row, target, row.get("commits") or (), job=False)


def _tags(context: Context, origin: str, names: Sequence[str]) -> dict[str, str]:
    """The commits of tags that are no deployments themselves, where releases of theirs are."""
    wanted = {"_id": {"$in": [f"{origin}|{name}" for name in names]}}
    kept = {one["bronze"]: one["id"] for one in context.db[DEPLOYMENTS.name].find(wanted, {"id": 1, "bronze": 1})}
    found: dict[str, str] = {}
    for kind in ("git", "github"):
        items = context.db[catalog.bronze(kind, "tags")].find({"_id": {"$in": list(kept)}}, {"payload.target": 1})
        found |= {kept[one["_id"]]: str(one.get("payload", {}).get("target", "")) for one in items}
    return found


def _projects(link: LinkScope, wanted: Wanted) -> list[tuple[Project, bool]]:
    """Where incidents are looked for; whether by configuration."""
    told = [(one, True) for one in link.projects]
    named = {one.origin for one, _ in told}
    told += [(Project(one), True) for one in wanted.origins.get(INCIDENTS, ()) if one not in named]
    return told or [(Project(one), False) for one in link.repositories if link.is_alone]


def _incidents(context: Context, projects: Sequence[Project]) -> Iterator[Incident]:
    components: dict[str, set[str] | None] = defaultdict(set)
    for one in projects:
        if one.component is None:
            components[one.origin] = None
        elif (mine := components[one.origin]) is not None:
            mine.add(one.component)
    fields = ("id", "key", "started_ts", "resolved_ts", "deployment")
    for origin, only in components.items():
        where: dict[str, Any] = {"scope": origin, "kind": "incident"}
        if only is not None:
            where["components"] = {"$in": sorted(only)}
        for row in _read(context, FAILURES.name, where, *fields):
            yield Incident(**{"resolved_ts": None, "deployment": None, **row, "origin": origin})


def _is_date(day: int) -> bool:
    return 1 <= EPOCH + day <= date.max.toordinal()


__all__ = ["MODULES", "SECONDS_PER_DAY", "Made", "make", "terms"]
