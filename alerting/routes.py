"""Who hears of an incident, and when: channels, mentions, quiet hours, the daily digest. Pure.

Quiet hours and digests make what is not critical wait; nothing is dropped by either. What was told and changes, or is
over, edits the message that is there.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from alerting.deadlines import instant
from alerting.incidents import Incident, Kind, State
from alerting.reasons import Reason
from alerting.reports import GROUPS
from config.settings import Route, Settings, Team
from quality.findings import Severity

DAY: Final = timedelta(days=1)
_URGENT: Final = frozenset({Reason.OPENED, Reason.WORSENED, Reason.REOPENED})


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an incident is told."""

    channel: str
    mention: tuple[str, ...] = ()
    quiet: str | None = None
    """Hours of which nobody is told, e.g. "22:00-07:00"."""
    digest: str | None = None
    """Time of the day's one message of warnings, e.g. "09:00"."""
    timezone: str = "UTC"


def destination(incident: Incident, settings: Settings) -> Destination | None:
    """Where `incident` is told: by the first route that fits, else in Slack's channel; None if there is none.

    A storm or a digest is told in its own channel, trouble with a channel in another one. Who is mentioned: whom the
    route names, and the team of the route, or where it names none the first team that owns the scope.
    """
    if incident.kind in GROUPS:
        return Destination(incident.key.scope)
    if incident.kind is Kind.DELIVERY and (other := _other_than(incident.key.scope, settings)):
        return Destination(other)
    teams = {team.name: team for team in settings.teams}
    for route in settings.routes:
        if _fits(incident, route, teams):
            owner = teams[route.team] if route.team else _owner(incident, settings)
            mention = tuple(dict.fromkeys((*route.mention, *(owner.mention if owner else ()))))
            return Destination(route.channel, mention, route.quiet, route.digest, route.timezone)
    if settings.slack.channel is None:
        return None
    owner = _owner(incident, settings)
    return Destination(settings.slack.channel, owner.mention if owner else ())


def _other_than(channel: str, settings: Settings) -> str | None:
    """A channel that may tell of trouble in `channel`, if there is another one."""
    return next((one for one in channels(settings) if one != channel), None)


def channels(settings: Settings) -> list[str]:
    """All channels that are configured, each once, the default one first."""
    each = [settings.slack.channel, *(route.channel for route in settings.routes)]
    return list(dict.fromkeys(channel for channel in each if channel))


def wait_until(incident: Incident, reason: Reason, to: Destination, now: datetime) -> datetime | None:
    """Until when telling `incident` for `reason` must wait; None: it is told now.

    That something critical opened, reopened or worsened never waits, nor that something is over.
    """
    critical = incident.severity is Severity.CRITICAL
    if incident.kind in GROUPS or reason is Reason.RESOLVED or (critical and reason in _URGENT):
        return None
    if to.digest is not None and waits_for_digest(incident):
        return next_digest(to.digest, to.timezone, now)
    return quiet_until(to.quiet, to.timezone, now) if to.quiet is not None else None


def waits_for_digest(incident: Incident) -> bool:
    """Whether it is one of those that a digest tells, where there is one: not critical, and not told as open."""
    untold = incident.told is None or incident.told.state is State.RESOLVED
    return incident.kind not in GROUPS and incident.severity is not Severity.CRITICAL and untold


def next_digest(clock: str, timezone: str, now: datetime) -> datetime:
    """The first digest time (UTC) later than `now`."""
    zone = ZoneInfo(timezone)
    today = now.astimezone(zone).date()
    return next(at for n in range(-1, 4) if (at := _at(today + DAY * n, clock, zone)) > now)


def last_digest(clock: str, timezone: str, now: datetime) -> tuple[date, datetime]:
    """The last digest time that is no later than `now`: its local date, and the moment (UTC)."""
    zone = ZoneInfo(timezone)
    today = now.astimezone(zone).date()
    days = (today + DAY * n for n in range(1, -4, -1))
    return next((day, at) for day in days if (at := _at(day, clock, zone)) <= now)


def quiet_until(hours: str, timezone: str, now: datetime) -> datetime | None:
    """When the quiet hours that it is now end (UTC); None if it is not quiet now."""
    zone = ZoneInfo(timezone)
    begin, end = hours.split("-")
    today = now.astimezone(zone).date()
    for day in (today - DAY, today):
        last = _at(day if begin < end else day + DAY, end, zone)
        if _at(day, begin, zone) <= now < last:
            return last
    return None


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern`, a name or the start of names and a star, names `name`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _fits(incident: Incident, route: Route, teams: dict[str, Team]) -> bool:
    key = incident.key
    if route.severity and incident.severity not in route.severity:
        return False
    if route.team is not None and not _owns(teams[route.team], key.scope):
        return False
    return matches(route.dataset, key.dataset) and matches(route.scope, key.scope)


def _owner(incident: Incident, settings: Settings) -> Team | None:
    return next((team for team in settings.teams if _owns(team, incident.key.scope)), None)


def _owns(team: Team, scope: str) -> bool:
    return any(matches(pattern, scope) for pattern in team.scopes)


def _at(day: date, clock: str, zone: ZoneInfo) -> datetime:
    return instant(datetime.combine(day, time.fromisoformat(clock)), zone)
