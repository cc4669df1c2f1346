"""What stands in Slack, where that is not known: looked for by the metadata of every message; nothing is sent."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from alerting.incidents import GROUPS, Incident, State, Told
from alerting.slack.blocks import Payload
from alerting.slack.client import DeliveryError, Posted
from quality.findings import Severity

BEFORE: Final = timedelta(minutes=10)
"""How much earlier than the incident a message may be dated: clocks differ."""
TURNS: Final = frozenset({"opened", "reopened", "resolved"})
"""What in a story says whether it is open."""

Keys = dict[tuple[str, int, str], Posted]


class Sender(Protocol):
    """What of a Slack client is needed."""

    @property
    def can_edit(self) -> bool:
        """Whether messages can be edited, threaded and looked for."""
        ...

    def post(self, channel: str, payload: Payload, thread_ts: str | None = None) -> Posted:
        """Post; raises DeliveryError."""
        ...

    def update(self, posted: Posted, payload: Payload) -> None:
        """Edit; raises DeliveryError."""
        ...

    def posted(self, channel: str, since: datetime, thread_ts: str | None = None) -> Keys:
        """What of ours is there; raises DeliveryError."""
        ...


def as_of(incident: Incident, revision: int, told: Told) -> Told:
    """`told` of a message that was found, and tells of the incident as it was at `revision`."""
    if revision == incident.revision:
        return replace(told, revision=revision, state=incident.state, severity=incident.severity)
    worsened = any(event.what == "worsened" and event.revision > revision for event in incident.story)
    severity = Severity.INFO if worsened else incident.severity  # less than it is now: so much is known
    turns = [event.what for event in incident.story if event.what in TURNS and event.revision <= revision]
    state = State.RESOLVED if turns and turns[-1] == "resolved" else State.OPEN
    return replace(told, revision=revision, state=state, severity=severity)


def now(sender: Sender, incident: Incident, told: Told, channel: str) -> Told:
    """What the message of `incident`, or what took its place in `channel`, shows now. Raises DeliveryError.

    Its revision is that of the last reply where there are replies: what they have not told yet, the next one tells.
    """
    since = datetime.fromtimestamp(float(told.ts), UTC) - BEFORE
    there = _posted(sender, told.channel, since, told.ts)
    newest = {part: revision for name, revision, part in sorted(there) if name == incident.id}
    if "root" not in newest:  # it is gone
        if (other := successor(sender, incident, told, channel)) is None:
            return told
        revision, at = other
        return replace(as_of(incident, revision, told), channel=at.channel, ts=at.ts)
    root, reply = newest["root"], newest.get("reply", 0)
    shows = as_of(incident, root, told) if root > told.revision else told
    return replace(shows, revision=root if incident.kind in GROUPS else max(told.revision, reply))


def successor(sender: Sender, incident: Incident, told: Told, channel: str) -> tuple[int, Posted] | None:
    """What took the place of a message that is gone, and of which revision it is, if such a one has arrived."""
    found = [each for where in {told.channel, channel} for each in _posted(sender, where, told.at - BEFORE).items()]
    ours = [(key[1], at) for key, at in found if (key[0], key[2]) == (incident.id, "root") and at.ts > told.ts]
    return max(ours, key=lambda one: one[1].ts, default=None)


def _posted(sender: Sender, channel: str, since: datetime, thread_ts: str | None = None) -> Keys:
    """What of ours is there; nothing if it may not be read. Raises DeliveryError."""
    try:
        return sender.posted(channel, since, thread_ts)
    except DeliveryError as error:
        if not error.permanent:
            raise
        return {}
