"""The scopes of this database: those of the configuration, for the origins that its sources are known to feed."""

from collections.abc import Iterator, Sequence

from config import catalog, schema
from config.scopes import PROJECT, GoldScope, Kind, LinkScope, Part, Scopes, is_plain, scopes, service_of
from config.services import SERVICE, TEAM
from config.settings import Git, GitHub, Jenkins, Jira, Replay, Settings
from tasks.context import Context

_USED = frozenset(upstream for dataset in catalog.ENTITIES for upstream in dataset.upstream)


def known(context: Context) -> Scopes:
    """All scopes, by one query."""
    return scopes(context.settings, {*_named(context.settings), *_swept(context)})


def link(context: Context, name: str) -> LinkScope:
    """What links are made between under that name; nothing, if it is a service that is no longer configured."""
    if not name.startswith(SERVICE):
        return LinkScope(name, (name,))
    return known(context).links.get(name, LinkScope(name, ()))


def gold(context: Context, name: str) -> GoldScope:
    """What the metrics of `name` are made of; nothing, if it is a team that has no scope."""
    if name.startswith(TEAM):
        return known(context).gold.get(name, GoldScope(name, Kind.TEAM, ()))
    if name.startswith(SERVICE):
        return GoldScope(name, Kind.SERVICE, (Part(name),))
    service = service_of(context.settings, name)
    return GoldScope(name, Kind.REPOSITORY, (Part(name) if service is None else Part(service, name),))


def alone(context: Context, source: str, origins: Sequence[str]) -> list[str]:
    """Those of `origins`, fed by the source of that name, that are repositories and in no service."""
    section = next((one for one in context.settings.sources if one.name == source), None)
    if isinstance(section, Jira | Jenkins):
        return []
    if isinstance(section, Replay):  # its files may hold anything
        links = known(context).links
        return [one for one in origins if one in links]
    return [one for one in origins if service_of(context.settings, one) is None]


def linked(context: Context) -> list[str]:
    """The scopes of Gold that have links."""
    heads = set(context.db[schema.LEDGER].distinct("scope", {"dataset": catalog.DELIVERIES.name}))
    if is_plain(context.settings):
        return sorted(heads)
    return [name for name, one in known(context).gold.items() if any(part.link in heads for part in one.parts)]


def _named(settings: Settings) -> Iterator[tuple[str, str]]:
    """What the configuration itself names."""
    for source in settings.sources:
        match source:
            case Git() | GitHub():
                yield from ((source.type, one.origin) for one in source.repositories)
            case Jira():
                yield from ((PROJECT, one.origin) for one in source.projects)


def _swept(context: Context) -> Iterator[tuple[str, str]]:
    """What is known once a sweep has found it."""
    sources = {one.name: one for one in context.settings.sources}
    for sweep in context.db[schema.LEDGER].find({"dataset": catalog.SWEEP}, {"scope": 1, "feeds": 1}):
        name, _, unit = sweep["scope"].partition("/")
        source = sources.get(name)
        if not isinstance(source, Replay) and not (isinstance(source, Jenkins) and unit in source.jobs):
            continue
        for feed in sweep.get("feeds", ()):
            if any(catalog.bronze(feed["source"], stream) in _USED for stream in feed["streams"]):
                yield feed["source"], feed["origin"]
