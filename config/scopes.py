"""Which origins are linked together, and of which links the metrics of a scope are made. Pure.

A link scope is what is deployed and fails as one: a service, or a repository that is in none. Gold has a scope for each
repository, each service, and each team whose patterns fit any of these.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from config.services import SERVICE, TEAM, FailRule
from config.sources import Git, GitHub, Jira, Replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from config.services import Service
    from config.settings import Settings
    from config.sources import AnySource

JOB: Final = "jenkins"
PROJECT: Final = "jira"
"""Kinds of sources whose origins are no repositories: alone they have no metrics."""


class Kind(StrEnum):
    """What a scope of Gold is."""

    REPOSITORY = "repository"
    SERVICE = "service"
    TEAM = "team"


class Project(NamedTuple):
    """Issues that are failures of a service."""

    origin: str
    component: str | None = None
    """Only those of it; None: all."""


@dataclass(frozen=True, slots=True)
class LinkScope:
    """The origins between whose entities links are made."""

    name: str
    repositories: tuple[str, ...]
    jobs: tuple[str, ...] = ()
    projects: tuple[Project, ...] = ()
    environments: tuple[str, ...] = ()
    """Of the repositories' deployments only these; empty: all that are production."""

    @property
    def is_alone(self) -> bool:
        """Whether it is one repository under its own name."""
        return self.repositories == (self.name,)

    @property
    def origins(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.repositories, *self.jobs, *(one.origin for one in self.projects))))


class Part(NamedTuple):
    """The rows of a link scope that go into a scope of Gold."""

    link: str
    repository: str | None = None
    """Only what is of it; None: all."""


@dataclass(frozen=True, slots=True)
class GoldScope:
    """Whose metrics are told together, and what they are made of."""

    name: str
    kind: Kind
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Scopes:
    """All scopes of a configuration, as far as its origins are known."""

    links: Mapping[str, LinkScope] = field(default_factory=dict)
    gold: Mapping[str, GoldScope] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    """Jobs and projects that are in no service, with their kind: they go no further than Silver."""

    def is_shared(self, name: str) -> bool:
        """Whether a scope of Gold is not simply the links of one repository."""
        one = self.gold[name]
        return one.kind is not Kind.REPOSITORY or one.parts != (Part(name),)


@dataclass(frozen=True, slots=True)
class Repository:
    """What is configured of a repository."""

    changes: str
    """"commits", "pull_requests", "missing": these, but nothing fetches them; "": whichever there are."""
    tags: bool
    """Whether its tags are deployments, as far as Silver calls them so."""
    addresses: frozenset[str]
    """As `address` gives them."""
    streams: frozenset[str]
    """What is fetched of it: "changes", "deployments", "failures" (reverts), "incidents"."""


def scopes(settings: Settings, fed: Iterable[tuple[str, str]]) -> Scopes:
    """The scopes of `fed`: kinds of sources and origins. Raises ConfigError."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for kind, origin in fed:
        kinds[origin].add(kind if kind in {JOB, PROJECT} else Kind.REPOSITORY)
    jobs = sorted(origin for origin, kind in kinds.items() if JOB in kind)
    links = {one.name: one for service in settings.services if (one := _service(service, settings, jobs, kinds))}
    within = {origin for one in links.values() for origin in one.origins}
    alone = sorted(o for o, kind in kinds.items() if Kind.REPOSITORY in kind and service_of(settings, o) is None)
    links = {**{origin: LinkScope(origin, (origin,)) for origin in alone}, **links}
    left = {o: min(k) for o, k in sorted(kinds.items()) if Kind.REPOSITORY not in k and o not in within}
    gold = {one.name: one for link in links.values() for one in _own(link)}
    for team in settings.teams:
        if parts := _parts(team.scopes, links):
            gold[f"{TEAM}{team.name}"] = GoldScope(f"{TEAM}{team.name}", Kind.TEAM, parts)
    return Scopes(links, dict(sorted(gold.items())), left)


def service_of(settings: Settings, repository: str) -> str | None:
    """The link scope of the service that a repository is in, None if it is alone."""
    return next((f"{SERVICE}{one.name}" for one in settings.services if repository in one.repositories), None)


def is_plain(settings: Settings) -> bool:
    """Whether there are neither services nor teams: each repository is a scope, and there are no others."""
    return not settings.services and not settings.teams


def reached(settings: Settings, name: str) -> tuple[str, ...]:
    """The scopes of Gold that an origin or a link scope goes into, `name` itself first."""
    found = [name]
    for service in settings.services:
        own = f"{SERVICE}{service.name}"
        if name == own or _has(service, name):
            found += [own, *service.repositories]
    for team in settings.teams:
        if any(fits(pattern, one) for pattern in team.scopes for one in found):
            found.append(f"{TEAM}{team.name}")
    return tuple(dict.fromkeys(found))


def is_named(settings: Settings, name: str) -> bool:
    """Whether a service or a team is still configured, where `name` is that of one."""
    if name.startswith(SERVICE):
        return any(f"{SERVICE}{one.name}" == name for one in settings.services)
    return not name.startswith(TEAM) or any(f"{TEAM}{one.name}" == name for one in settings.teams)


def rule_of(settings: Settings, *, incidents: bool) -> FailRule:
    """Which rule of the band is the change fail rate."""
    return settings.dora.change_fail_rate if incidents else "revert_before_next"


def fits(pattern: str, name: str) -> bool:
    """Whether `pattern`, a name or the start of names and a star, names `name`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def agree(settings: Settings) -> None:
    """Raises ValueError where two services want the same repository, or one wants what no source has."""
    owners: dict[str, str] = {}
    repositories = {origin for source in settings.sources for origin in _repositories(source)}
    projects = {one.origin for source in settings.sources if isinstance(source, Jira) for one in source.projects}
    recorded = any(isinstance(source, Replay) for source in settings.sources)
    for service in settings.services:
        for origin in service.repositories:
            if owners.setdefault(origin, service.name) != service.name:
                message = f"services: the repository {origin!r} is in {owners[origin]!r} and in {service.name!r}"
                raise ValueError(f"{message}; it may be in one")
        missing = [] if recorded else [one for one in service.repositories if one not in repositories]
        missing += [] if recorded else [one for one in service.projects if _project(one, projects) is None]
        if missing:
            message = f"services: {service.name!r} names {missing[0]!r}, which no source has as an origin"
            raise ValueError(f"{message}; there are: {', '.join(sorted(repositories | projects)) or 'none'}")
    if both := repositories & projects:
        raise ValueError(f"sources: {min(both)!r} is the origin of a repository and of a project; give one another")


def repository(settings: Settings, origin: str) -> Repository:
    """What is configured of the repository `origin`."""
    mine = [source for source in settings.sources if origin in _repositories(source)]
    hubs = [source for source in mine if isinstance(source, GitHub)]
    fetched = any("pull_requests" in source.streams for source in hubs)
    match settings.dora.changes:
        case "commits":
            changes = "commits"
        case "pull_requests":
            changes = "pull_requests" if fetched else "missing" if mine else ""
        case _:
            changes = "pull_requests" if fetched else "commits" if mine else ""
    tags = any("tags" in source.counts.deployments for source in hubs) if hubs else None
    service = next((one for one in settings.services if origin in one.repositories), None)
    if service and tags is None:
        tags = not service.jobs if service.tags is None else service.tags
    streams = {name for source in mine for name in _streams(source)} if mine else {*_GIT}
    if tags is False and not hubs:
        streams -= {"deployments"}
    addresses = frozenset(one for source in mine for one in _addresses(source, origin))
    return Repository(changes, tags is not False, addresses, frozenset(streams))


def address(url: str) -> str:
    """Host and path of a repository's URL in one spelling, "" of a text that has none."""
    scp = re.fullmatch(r"(?:[^@/]+@)?([^:/@]+):(?!//)(.+)", url.strip())
    try:
        parts = urlsplit(f"ssh://{scp[1]}/{scp[2]}" if scp else url.strip())
        host = (parts.hostname or "").lower()
    except ValueError:
        return ""
    path = parts.path.strip("/").removesuffix(".git").lower()
    return f"{host}/{path}" if path else ""


def _service(
    service: Service, settings: Settings, jobs: Iterable[str], kinds: Mapping[str, set[str]]
) -> LinkScope | None:
    known = {one.origin for source in settings.sources if isinstance(source, Jira) for one in source.projects}
    known |= {origin for origin, kind in kinds.items() if PROJECT in kind}
    projects = [one for text in service.projects if (one := _project(text, known))]
    mine = [job for job in jobs if any(fits(pattern, job) for pattern in service.jobs)]
    mine += [job for job in service.jobs if not any(fits(job, one) for one in mine)]  # what was never seen is missing
    if not (service.repositories or mine or projects):
        return None
    name = f"{SERVICE}{service.name}"
    return LinkScope(name, service.repositories, tuple(mine), tuple(projects), service.environments)


def _project(text: str, known: Iterable[str]) -> Project | None:
    known = set(known)
    if text in known:
        return Project(text)
    at = [n for n, letter in enumerate(text) if letter == "/"]
    return next((Project(text[:n], text[n + 1 :]) for n in reversed(at) if text[:n] in known), None)


def _own(link: LinkScope) -> list[GoldScope]:
    """The scopes of Gold that are of one link scope."""
    if link.is_alone:
        return [GoldScope(link.name, Kind.REPOSITORY, (Part(link.name),))]
    ours = [GoldScope(origin, Kind.REPOSITORY, (Part(link.name, origin),)) for origin in link.repositories]
    return [GoldScope(link.name, Kind.SERVICE, (Part(link.name),)), *ours]


def _parts(patterns: Iterable[str], links: Mapping[str, LinkScope]) -> tuple[Part, ...]:
    """What the patterns of a team fit: whole link scopes, or single repositories of one."""
    patterns = tuple(patterns)
    found = []
    for link in links.values():
        if any(fits(pattern, link.name) for pattern in patterns):
            found.append(Part(link.name))
        elif not link.is_alone:
            mine = [one for one in link.repositories if any(fits(pattern, one) for pattern in patterns)]
            found += [Part(link.name, one) for one in mine]
    return tuple(found)


def _has(service: Service, origin: str) -> bool:
    if origin in service.repositories or any(fits(pattern, origin) for pattern in service.jobs):
        return True
    return any(_project(text, [origin]) is not None for text in service.projects)


_GIT: Final = ("changes", "deployments", "failures")
_HUB: Final = {
    "changes": {"pull_requests", "commits"},
    "deployments": {"deployments", "workflow_runs", "releases", "tags"},
    "failures": {"pull_requests", "commits"},
    "incidents": {"issues"},
}
"""Which streams of GitHub bring what."""


def _streams(source: AnySource) -> Iterable[str]:
    if isinstance(source, GitHub):
        return [name for name, wanted in _HUB.items() if wanted & {*source.streams}]
    return _GIT


def _repositories(source: AnySource) -> list[str]:
    return [one.origin for one in source.repositories] if isinstance(source, Git | GitHub) else []


def _addresses(source: AnySource, origin: str) -> Iterable[str]:
    """As what a build may name the repository."""
    if isinstance(source, Git):
        yield from (found for one in source.repositories if one.origin == origin and (found := address(one.url)))
    elif isinstance(source, GitHub):
        host = (urlsplit(source.base_url).hostname or "").removeprefix("api.")
        yield from (f"{host}/{one.repository.lower()}" for one in source.repositories if one.origin == origin)
