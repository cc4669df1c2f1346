"""The daily digest: the warnings of a channel, told once a day as one message.

A digest is an incident like any other, named by its channel and its local date; the warnings that it tells are attached
to it, and so not told by themselves. They are attached first, then the digest is folded from what is attached: killed
at any point, the next look goes on where this one ended, and what one digest has told no other one of that day tells.
A warning that is still open the next day moves to the next digest; one that has become critical has left it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from alerting import routes
from alerting.folding import attach
from alerting.incidents import Incident, State, first_id, ids_of
from alerting.reports import Facts, Key, Kind, Report
from alerting.routes import Destination
from alerting.store import Store
from config.settings import Settings
from quality.findings import Severity

SHOWN: Final = 30
"""Warnings that a digest names; the others are counted."""
REMEMBERED: Final = 7
"""Days of whose digests it is still told what was resolved since the last one."""
_OURS: Final = ids_of(Kind.DIGEST)


@dataclass(frozen=True, slots=True)
class _Digest:
    """One channel's digest of one day."""

    channel: str
    day: date
    """Local."""
    at: datetime
    """Its time: what has opened by then is told."""
    before: datetime
    """The time of the one of the day before."""

    @property
    def key(self) -> Key:
        return Key("notifier", self.channel, "digest", self.day.isoformat())

    @property
    def id(self) -> str:
        return first_id(self.key, Kind.DIGEST)

    def earlier(self) -> set[str]:
        """The ids of those of the days before."""
        days = (self.day - timedelta(days=n) for n in range(1, REMEMBERED + 1))
        return {replace(self, day=day).id for day in days}


def gather(store: Store, settings: Settings, now: datetime) -> None:
    """Make the digests whose time has come; let go what no digest will tell any more. Raises PyMongoError."""
    _let_go(store, settings, now)
    channels = {route.channel: (route.digest, route.timezone) for route in settings.routes if route.digest is not None}
    for channel, (clock, timezone) in channels.items():
        day, at = routes.last_digest(clock, timezone, now)
        _, before = routes.last_digest(clock, timezone, at - timedelta(seconds=1))
        digest = _Digest(channel, day, at, before)
        if not store.listed({"_id": digest.id}):
            _make(store, settings, digest, now)
        _close(store, {"key.scope": channel, "_id": {"$ne": digest.id}}, now)
    _close(store, {"key.scope": {"$nin": sorted(channels)}}, now)
    _let_go_of_ended(store, now)


def _make(store: Store, settings: Settings, digest: _Digest, now: datetime) -> None:
    """Attach what was open at the digest's time, and fold the digest; none if there is nothing to tell."""

    def taken(kept: Incident) -> Incident:
        return attach(kept, digest.id) if _belongs(kept, digest, now) else kept

    members = []
    for one in store.listed({"open": True, "severity": {"$ne": str(Severity.CRITICAL)}}):
        if _is_for(routes.destination(one, settings), digest.channel) and _belongs(one, digest, now):
            held = store.change(one.id, taken, now)
            if held.cause == digest.id:
                members.append(held)
    resolved = {"$gt": digest.before, "$lte": digest.at}
    over = store.listed({"open": False, "cause": {"$in": sorted(digest.earlier())}, "resolved_at": resolved})
    if members or over:
        facts = _facts(members, sum(one.openings[-1] > digest.before for one in members), len(over))
        report = Report(digest.key, digest.at, failed=True, kind=Kind.DIGEST, severity=Severity.WARNING, facts=facts)
        store.fold([report], now)


def _facts(members: list[Incident], new: int, over: int) -> Facts:
    many = "warning" if len(members) == 1 else "warnings"
    since = f", {over:,} resolved since yesterday" if over else ""
    lines = [_line(one) for one in members[:SHOWN]]
    if len(members) > SHOWN:
        lines.append(f"and {len(members) - SHOWN:,} more")
    return Facts(
        title=f"Daily digest: {len(members):,} {many} open, {new:,} new{since}",
        why="What is not critical is told here once a day.",
        command="touchstone incidents list",
        examples=tuple(lines),
    )


def _line(incident: Incident) -> str:
    scope = f" {incident.key.scope}" if incident.key.scope else ""
    return f"{incident.id} {incident.key.dataset}{scope}: {incident.facts.title}"


def _belongs(one: Incident, digest: _Digest, now: datetime) -> bool:
    """Whether `digest` tells it: what nobody was told of yet, and what an earlier digest told."""
    if one.state is not State.OPEN or not routes.waits_for_digest(one) or one.is_silenced(now):
        return False
    return (one.cause is None or _is_digest(one.cause)) and one.openings[-1] <= digest.at


def _is_digest(cause: str) -> bool:
    return cause.startswith(f"{Kind.DIGEST}-")


def _is_for(to: Destination | None, channel: str) -> bool:
    return to is not None and to.channel == channel and to.digest is not None


def _let_go(store: Store, settings: Settings, now: datetime) -> None:
    """Detach what waits for a digest that will not tell it.

    It is critical, or has a message of its own by now, or its route has no digest any more.
    """
    for one in store.listed({"open": True, "cause": _OURS}):
        to = routes.destination(one, settings)
        if not routes.waits_for_digest(one) or to is None or to.digest is None:
            store.change(one.id, _detached, now)


def _let_go_of_ended(store: Store, now: datetime) -> None:
    """Detach what no later digest has taken from one that is over, e.g. as it was silenced: it waits for the next."""
    current = {one.id for one in store.listed({"open": True, "kind": str(Kind.DIGEST)})}
    for one in store.listed({"open": True, "cause": _OURS}):
        if one.cause not in current:
            store.change(one.id, _detached, now)


def _detached(kept: Incident) -> Incident:
    return attach(kept, None) if kept.cause is not None and _is_digest(kept.cause) else kept


def _close(store: Store, where: Mapping[str, Any], now: datetime) -> None:
    """End the digests of earlier days, without a word: what they told and is still open, a later one tells."""
    ended = store.listed({"open": True, "kind": str(Kind.DIGEST), **where})
    store.fold([Report(one.key, now, failed=False, kind=Kind.DIGEST) for one in ended], now)
