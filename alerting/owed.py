"""What is to be told now, and where: what is owed, sorted by channel; what must wait is put off."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alerting import routes
from alerting.incidents import Incident, Policy
from alerting.reasons import Reason, due, notify_reason
from alerting.store import SKEW, Store
from config.settings import Settings

LOOK: Final = 500
"""How many owed incidents are looked at, as a rule."""
LOOK_FURTHER: Final = 5000
"""How many where there are more: so many of one channel do not hide what is owed to another."""
AGAIN: Final = timedelta(hours=1)
"""When to look again at an incident that no channel is configured for."""
URGENT: Final = (Reason.OPENED, Reason.REOPENED, Reason.WORSENED)
"""Told before what only edits: a thousand resolutions do not keep an opening waiting."""


@dataclass(frozen=True, slots=True)
class Owed:
    """One incident that somebody is to be told of now."""

    incident: Incident
    reason: Reason
    to: routes.Destination


def by_channel(store: Store, settings: Settings, now: datetime, doubts: Iterable[str] = ()) -> dict[str, list[Owed]]:
    """What is to be told now, by channel: what is urgent first, then what is longest owed. Raises PyMongoError.

    doubts: incidents whose message may show another state than it is known to. What of them nobody is to be told of now
    is only to be looked at (Reason.NONE), last of all.
    """
    found = _doubted(store, settings, now, doubts)
    seen = {one.incident.id for one in found}
    incidents = store.owed(now, LOOK)
    if len(incidents) == LOOK:
        incidents = store.owed(now, LOOK_FURTHER)
    for incident in incidents:
        if incident.id not in seen and (one := _owed(store, settings, incident, now)):
            found.append(one)
    sorted_by_channel: dict[str, list[Owed]] = {}
    for one in sorted(found, key=lambda one: (one.reason is Reason.NONE, one.reason not in URGENT)):
        sorted_by_channel.setdefault(one.to.channel, []).append(one)
    return sorted_by_channel


def opened(incident: Incident, settings: Settings, now: datetime, policy: Policy) -> Owed | None:
    """`incident`, made this moment, if somebody is to be told of its opening at once; asks and writes nothing."""
    reason = notify_reason(incident, max(now, incident.changed_at or now), policy)
    to = routes.destination(incident, settings)
    if reason is not Reason.OPENED or to is None or routes.wait_until(incident, reason, to, now) is not None:
        return None
    return Owed(incident, reason, to)


def _doubted(store: Store, settings: Settings, now: datetime, doubts: Iterable[str]) -> list[Owed]:
    if not (unsure := sorted(doubts)):
        return []
    behind = store.listed({"_id": {"$in": unsure}, "$expr": {"$lt": ["$told.revision", "$revision"]}})
    found = []
    for incident in behind:
        reason, to = notify_reason(incident, now, store.policy), routes.destination(incident, settings)
        if to is None and incident.told is not None:
            found.append(Owed(incident, Reason.NONE, routes.Destination(incident.told.channel)))
        elif to is not None:
            waits = reason is Reason.NONE or routes.wait_until(incident, reason, to, now) is not None
            found.append(Owed(incident, Reason.NONE if waits else reason, to))
    return found


def _owed(store: Store, settings: Settings, incident: Incident, now: datetime) -> Owed | None:
    """None: it must wait, and is put off."""
    at = max(now, incident.changed_at or now)
    reason = notify_reason(incident, at, store.policy)
    to = routes.destination(incident, settings)
    if reason is Reason.NONE:
        later = due(incident, at, store.policy)
        if later is None or later > now + SKEW:
            store.defer(incident, later)
    elif to is None:
        store.defer(incident, now + AGAIN)
    elif (until := routes.wait_until(incident, reason, to, now)) is not None:
        store.defer(incident, until)
    else:
        return Owed(incident, reason, to)
    return None
