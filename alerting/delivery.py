"""Delivering what is owed for one incident, so that it arrives once.

The order is: post, then mark. What was posted and not marked (we were killed, or the answer was lost) is looked for
before anything is posted again: every message carries the incident's id and revision as metadata. Editing the root
message is repeated without harm.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from alerting import shown
from alerting.incidents import GROUPS, Incident, Told
from alerting.reasons import Reason
from alerting.shown import BEFORE, Sender
from alerting.slack.blocks import Payload, reply, root, smaller
from alerting.slack.client import DeliveryError, Posted
from alerting.store import Store, UnknownIncidentError

__all__ = ["Delivery", "Sender"]

log = logging.getLogger(__name__)

GONE: Final = ("message_not_found", "cant_update_message", "edit_window_closed")
"""Answers after which the root message cannot be edited, and a new one takes its place."""
CLOSED: Final = ("is_archived", "channel_not_found", "not_in_channel", "is_inactive", "no_permission")
"""Answers after which nothing in the message's channel can be edited: the one that is configured now takes over."""
LOCKED: Final = (
    "restricted_action_thread_locked",
    "restricted_action_non_threadable_channel",
    "cannot_reply_to_message",
)
"""Answers of a thread that takes no replies, and never will: the root message says the same."""
LOUD: Final = (Reason.OPENED, Reason.REOPENED, Reason.WORSENED)
"""Why people are mentioned."""


class NotLeadingError(Exception):
    """The lease is not sure any more: nothing may be sent."""


@dataclass(slots=True)
class Delivery:
    """What one leader does, and what it knows of what may have arrived without being marked."""

    store: Store
    sender: Sender
    fence: int
    page_url: str | None = None
    lift: Callable[[int], int] = lambda _: 0
    """Our fence, above that of an incident that refused a mark, if we are the leader still."""
    unsettled: dict[str, datetime] = field(default_factory=dict)
    """Channels in which there may be root messages that are not marked, and since when."""
    unsure: dict[str, frozenset[str]] = field(default_factory=dict)
    """Incidents of which nobody is known to have been told, and the channels in which they may have been."""
    doubts: set[str] = field(default_factory=set)
    """Incidents that were told before, and of which a reply may have arrived that is not marked."""

    @property
    def is_certain(self) -> bool:
        """Whether all that may have arrived is marked."""
        return not self.unsettled and not self.doubts

    def doubt(self, channel: str, since: datetime, names: Iterable[str] = ()) -> None:
        """Nothing may be posted in `channel` before `settle` has looked, nor the incidents `names` anywhere."""
        if self.sender.can_edit:
            self.unsure |= {name: self.unsure.get(name, frozenset()) | {channel} for name in names}
            self.unsettled[channel] = min(since - BEFORE, self.unsettled.get(channel, since))

    def is_held(self, incident: Incident) -> bool:
        """Whether it may have been posted in a channel in which nobody has looked since."""
        return any(channel in self.unsettled for channel in self.unsure.get(incident.id, ()))

    def settle(self, channel: str, now: datetime) -> int:
        """Mark what was posted in `channel` and never marked; returns how many. Raises DeliveryError."""
        newest: dict[str, tuple[int, Posted]] = {}
        posted = self.sender.posted(channel, self.unsettled[channel])
        for (name, revision, part), one in sorted(posted.items(), key=lambda each: each[1].ts):
            if part == "root":
                newest[name] = (revision, one)
        untold = self.store.listed({"_id": {"$in": sorted(newest)}, "told.ts": {"$in": [None, ""]}})
        for incident in untold:
            revision, there = newest[incident.id]
            log.info("found what was posted before", extra={"incident": incident.id, "revision": revision})
            self.mark(incident.id, shown.as_of(incident, revision, self._told(incident, there, now)), now)
        del self.unsettled[channel]
        return len(untold)

    def deliver(  # noqa: PLR0913, PLR0917 - who, why, where, whom, when, and the last moment to say no
        self,
        incident: Incident,
        reason: Reason,
        channel: str,
        mention: tuple[str, ...],
        now: datetime,
        may_send: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Tell of `incident`; False if we must not send any more. The channel is settled.

        Raises DeliveryError; then it is still owed, and looked for before the next attempt if it may have arrived.
        """
        attempt = _Attempt(self.sender, may_send, now, self.page_url, mention if reason in LOUD else ())
        told = incident.told
        is_new = told is None or not self.sender.can_edit or not told.ts
        try:
            if told is None or is_new:
                sent = self._told(incident, attempt.open(incident, channel), now)
            else:
                at = attempt.change(incident, told, reason, channel, doubtful=incident.id in self.doubts)
                sent = replace(self._told(incident, at, now), chart=told.chart, reminded_at=told.reminded_at)
                sent = replace(sent, reminded_at=now) if reason is Reason.REMINDER else sent
        except NotLeadingError:
            return False
        except DeliveryError as error:
            if error.doubt and is_new:
                self.doubt(channel, now, [incident.id])
            elif error.doubt:
                self.doubts.add(incident.id)
            raise
        self.doubts.discard(incident.id)
        self.unsure.pop(incident.id, None)
        self.mark(incident.id, sent, now)
        return True

    def look(self, incident: Incident, channel: str, now: datetime) -> None:
        """Mark what the message of an incident in doubt shows, of which nobody is to be told now; sends nothing.

        Raises DeliveryError; then it is still in doubt.
        """
        if (told := incident.told) is not None and (seen := shown.now(self.sender, incident, told, channel)) != told:
            self.mark(incident.id, replace(seen, fence=self.fence), now)
        self.doubts.discard(incident.id)

    def mark(self, name: str, sent: Told, now: datetime) -> None:
        """Record what was told, unless a later leader has told something since."""
        above = self._mark(name, sent, now)
        if above is not None and (fence := self.lift(above)) > above:
            self.fence = fence
            above = self._mark(name, replace(sent, fence=fence), now)
        if above is not None:
            log.warning("another notifier has told it since", extra={"incident": name})

    def _mark(self, name: str, sent: Told, now: datetime) -> int | None:
        """The higher fence under which it was told already; None: it is marked, or gone."""
        above: int | None = None

        def act(current: Incident) -> Incident:
            nonlocal above
            before = current.told
            above = before.fence if before is not None and before.fence > sent.fence else None
            if above is not None:
                return current
            is_same = before is not None and before.ts == sent.ts
            chart = sent.chart or (before is not None and is_same and before.chart)  # which may be tried just now
            return replace(current, told=replace(sent, chart=chart))

        try:
            self.store.change(name, act, now)
        except UnknownIncidentError:
            log.warning("an incident is gone that was told just now", extra={"incident": name})
        return above

    def _told(self, incident: Incident, posted: Posted, now: datetime) -> Told:
        return Told(
            incident.revision, incident.state, incident.severity, now, posted.channel, posted.ts,
            chart=incident.facts.series is None, fence=self.fence,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt to tell of one incident."""

    sender: Sender
    may_send: Callable[[], bool]
    now: datetime
    page_url: str | None
    mention: tuple[str, ...]

    def open(self, incident: Incident, channel: str) -> Posted:
        """Post the root message."""
        return self._post(channel, root(incident, self.now, page_url=self.page_url, mention=self.mention))

    def change(self, incident: Incident, told: Told, reason: Reason, channel: str, *, doubtful: bool) -> Posted:
        """Edit the root message and reply to it; where it is, or what took its place in `channel`."""
        at = Posted(told.channel, told.ts)
        payload = root(incident, self.now, page_url=self.page_url)
        try:
            self._degrading(payload, lambda one: self._edit(at, one))
        except DeliveryError as error:
            if error.code not in (*GONE, *CLOSED):
                raise
            log.warning("the message is gone: another takes its place", extra={"incident": incident.id})
            found = shown.successor(self.sender, incident, told, channel) if doubtful else None
            return self._edited(found[1], payload) if found else self.open(incident, channel)
        if incident.kind not in GROUPS:
            try:
                self._reply(incident, told, reason, doubtful=doubtful)
            except DeliveryError as error:
                if error.code not in LOCKED:
                    raise
                log.warning("the thread takes no replies", extra={"incident": incident.id, "code": error.code})
        return at

    def _reply(self, incident: Incident, told: Told, reason: Reason, *, doubtful: bool) -> None:
        """Say what has changed, but for what a reply says already; looked for only where one may have arrived."""
        key, known = (f"reminder after {told.at.isoformat()}" if reason is Reason.REMINDER else "reply"), told.revision
        if doubtful:
            there = self.sender.posted(told.channel, told.at - BEFORE, thread_ts=told.ts)
            revisions = [revision for name, revision, part in there if (name, part) == (incident.id, key)]
            if key != "reply" and revisions:
                return
            known = max([known, *revisions])
            if key == "reply" and known >= incident.revision > told.revision:
                return
        payload = reply(replace(incident, told=replace(told, revision=known)), reason, self.now, mention=self.mention)
        payload["metadata"]["event_payload"]["part"] = key
        self._post(told.channel, payload, told.ts)

    def _edited(self, at: Posted, payload: Payload) -> Posted:
        return self._degrading(payload, lambda one: self._edit(at, one))

    def _edit(self, at: Posted, payload: Payload) -> Posted:
        self.sender.update(at, payload)
        return at

    def _post(self, channel: str, payload: Payload, thread_ts: str | None = None) -> Posted:
        return self._degrading(payload, lambda one: self.sender.post(channel, one, thread_ts))

    def _degrading(self, payload: Payload, send: Callable[[Payload], Posted]) -> Posted:
        """Send `payload`, and ever less of it while it is refused for what it is."""
        while True:
            if not self.may_send():
                raise NotLeadingError
            try:
                return send(payload)
            except DeliveryError as error:
                less = smaller(payload) if error.permanent and error.unfit else None
                if less is None:
                    raise
                log.warning("a message was refused, and is made smaller", extra={"code": error.code})
                payload = less
