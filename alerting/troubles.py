"""What is wrong with telling itself: channels that refuse, a stream without history, a leader that died."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from alerting import routes
from alerting.incidents import Facts, Incident, Key, Kind, Report
from alerting.reasons import Reason
from alerting.store import SKEW, Store
from config.redaction import redacted
from config.settings import Settings
from quality.findings import Severity

UNDELIVERABLE_PAUSE: Final = timedelta(minutes=5)
"""After which a message that a channel refused for good is tried again: somebody may have mended the channel."""
RECENT: Final = timedelta(days=1)
"""For how long a resolved incident may have a message that nobody marked."""

_HISTORY: Final = Key("notifier", "doorbell", "history")
_HEARTBEAT: Final = Key("notifier", "notifier", "heartbeat")
_MESSAGE: Final = "message"


def repair(store: Store, now: datetime) -> int:
    """Look at every incident that may be owed, whether it says so or not; returns how many did not."""
    where = {"$or": [{"open": True, "cause": None}, {"open": False, "told.state": "open"}]}
    return sum(store.reschedule(incident, now) for incident in store.listed(where))


def doubted(store: Store, settings: Settings, now: datetime) -> dict[str, tuple[datetime, set[str]]]:
    """Where a leader that died may have posted without marking it: by channel since when, and which incidents."""
    recent = [{"open": True}, {"changed_at": {"$gte": now - RECENT}}]
    found: dict[str, tuple[datetime, set[str]]] = {}
    for incident in store.listed({"told": None, "cause": None, "$or": recent}):
        if _was_due(incident, settings, now):
            at = incident.opened_at or now
            for channel in _channels(incident, settings):
                since, names = found.get(channel, (at, set()))
                names.add(incident.id)
                found[channel] = (min(at, since), names)
    return found


def _channels(incident: Incident, settings: Settings) -> set[str]:
    """Where it may have been told: with its severity it may have changed its route."""
    changed = any(event.what in {"worsened", "eased"} for event in incident.story)
    each = [replace(incident, severity=severity) for severity in Severity] if changed else [incident]
    return {to.channel for one in each if (to := routes.destination(one, settings))}


def _was_due(incident: Incident, settings: Settings, now: datetime) -> bool:
    """Whether somebody was to be told of an opening by now: it was neither silenced from the first, nor waits since."""
    opened = incident.opened_at or now
    if incident.silenced is not None and incident.is_silenced(now) and incident.silenced.at <= opened:
        return False
    to = routes.destination(incident, settings)
    if to is None or any(event.what in {"worsened", "eased"} for event in incident.story):
        return True  # who knows where it went, and when
    until = routes.wait_until(incident, Reason.OPENED, to, opened)
    return until is None or until <= now


def suspected(store: Store, now: datetime) -> set[str]:
    """Incidents in whose threads a leader that died may have replied without marking it.

    Not what is long over, nor the digests of the days before, of whose end nobody is ever told.
    """
    lately: list[dict[str, Any]] = [
        {"open": True},
        {"kind": {"$ne": Kind.DIGEST}, "changed_at": {"$gte": now - RECENT}},
    ]
    where = {"told.ts": {"$gt": ""}, "$expr": {"$lt": ["$told.revision", "$revision"]}, "$or": lately}
    return {incident.id for incident in (*store.listed(where), *store.owed(now)) if incident.told is not None}


def beyond_doubt(store: Store, doubts: Iterable[str], now: datetime) -> set[str]:
    """Of `doubts` those of which nobody is to be told any more: what they show is what they are."""
    shown = {"$expr": {"$gte": ["$told.revision", "$revision"]}, "owed_at": {"$not": {"$lte": now + SKEW}}}
    return {incident.id for incident in store.listed({"_id": {"$in": sorted(doubts)}, **shown})}


def history(store: Store, why: Iterable[str], now: datetime) -> None:
    """The change stream lost its history."""
    facts = Facts(
        title="The notifier's change stream lost its history; a full sweep took its place",
        expected="a change stream that goes on where it stopped",
        observed="; ".join(dict.fromkeys(why)),
        why="No message is lost by it. If it happens often, the oplog is too small for the time the notifier is away.",
        command="touchstone incidents list",
    )
    _fail(store, _HISTORY, Kind.HISTORY, facts, now, Severity.WARNING)


def history_is_well(store: Store, now: datetime) -> None:
    """The change stream goes on."""
    _pass(store, _HISTORY, Kind.HISTORY, now)


def undeliverable(store: Store, channel: str, code: str, now: datetime) -> None:
    """A channel refuses for good: told in the channel that is left, and kept in any case."""
    facts = Facts(
        title=f"Messages to {channel} cannot be delivered",
        expected="a channel that takes messages",
        observed=f"Slack answers {code}",
        why="Incidents that are routed there reach nobody until this is mended; they are kept, and tried again.",
        command="touchstone slack test",
    )
    _fail(store, _delivery(channel), Kind.DELIVERY, facts, now)


def delivered(store: Store, channel: str, now: datetime) -> None:
    """The channel takes messages."""
    _pass(store, _delivery(channel), Kind.DELIVERY, now)


def unreadable(store: Store, channel: str, code: str, now: datetime) -> None:
    """A channel cannot be read: what was posted there and not marked may be posted twice."""
    facts = Facts(
        title=f"Messages in {channel} cannot be looked for",
        expected="the bot may read the channels it posts to",
        observed=f"Slack answers {code}",
        why="After a crash or a lost answer a message may arrive twice.",
        command="touchstone slack test",
    )
    _fail(store, _reading(channel), Kind.DELIVERY, facts, now, Severity.WARNING)


def readable(store: Store, channel: str, now: datetime) -> None:
    """The channel can be read."""
    _pass(store, _reading(channel), Kind.DELIVERY, now)


def untellable(store: Store, incident: Incident, error: Exception, now: datetime) -> None:
    """A defect of ours keeps one incident from being told."""
    facts = Facts(
        title=f"Incident {incident.id} cannot be told",
        expected="a message that can be made of it",
        observed=redacted(f"{type(error).__name__}: {error}")[:500],
        why=f"It is about {incident.key.dataset} {incident.key.scope}, and {incident.severity}.",
        command=f"touchstone incidents show {incident.id}",
    )
    _fail(store, _telling(incident), Kind.DELIVERY, facts, now)


def tellable(store: Store, incident: Incident, now: datetime) -> None:
    """It was told after all."""
    _pass(store, _telling(incident), Kind.DELIVERY, now)


def broken(store: Store, duty: str, error: Exception, now: datetime) -> None:
    """One of the notifier's duties fails."""
    facts = Facts(
        title=f"The notifier cannot do one of its duties: {duty}",
        expected="duties that end well",
        observed=redacted(f"{type(error).__name__}: {error}")[:500],
        why="What it would have found is found by nobody until this is mended; messages are delivered all the same.",
        command="touchstone notify",
    )
    _fail(store, _duty(duty), Kind.TASK, facts, now)


def mended(store: Store, duty: str, now: datetime) -> None:
    """It does it again."""
    _pass(store, _duty(duty), Kind.TASK, now)


def silent(store: Store, since: datetime | None, now: datetime) -> None:
    """No notifier gives a sign of life."""
    last = f"the last sign of life was at {since:%Y-%m-%d %H:%M:%S} UTC" if since else "none was ever seen"
    facts = Facts(
        title="The notifier is not running",
        expected="a notifier that runs all the time",
        observed=last,
        why="Runs deliver what is owed at their end, but deadlines and dead runs are not watched between them.",
        command="touchstone notify",
    )
    _fail(store, _HEARTBEAT, Kind.HEARTBEAT, facts, now)


def alive(store: Store, now: datetime) -> None:
    """A notifier is running."""
    _pass(store, _HEARTBEAT, Kind.HEARTBEAT, now)


def refusing(store: Store) -> set[str]:
    """The channels that refused for good when they were last spoken to."""
    return _undelivered(store, "")


def untold(store: Store) -> set[str]:
    """The incidents that a defect of ours kept from being told when that was last tried."""
    return _undelivered(store, _MESSAGE)


def _undelivered(store: Store, measure: str) -> set[str]:
    found = store.listed({"open": True, "kind": str(Kind.DELIVERY), "key.measure": measure})
    return {incident.key.scope for incident in found}


def _delivery(channel: str) -> Key:
    return Key("notifier", channel, "delivery")


def _reading(channel: str) -> Key:
    return Key("notifier", channel, "delivery", "history")


def _telling(incident: Incident) -> Key:
    return Key("notifier", incident.id, "delivery", _MESSAGE)


def _duty(name: str) -> Key:
    return Key("notifier", name, "failed")


def _fail(  # noqa: PLR0913, PLR0917 - what, of which kind, how bad, and when
    store: Store, key: Key, kind: Kind, facts: Facts, now: datetime, severity: Severity = Severity.CRITICAL
) -> None:
    store.fold([Report(key, now, failed=True, kind=kind, severity=severity, facts=facts)], now)


def _pass(store: Store, key: Key, kind: Kind, now: datetime) -> None:
    if store.is_open(key):
        store.fold([Report(key, now, failed=False, kind=kind)], now)
