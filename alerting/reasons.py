"""Whether, and why, somebody is to be told of an incident: one pure function, and when it will next say yes."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerting.incidents import DEFAULT, GROUPS, RANK, Incident, Kind, Policy, State, Told
from quality.findings import Severity

STORM_CHANGE: Final = timedelta(seconds=20)
"""The least time between two counts of a storm."""


class Reason(StrEnum):
    """Why somebody is to be told."""

    NONE = "none"
    OPENED = "opened"
    WORSENED = "worsened"
    CHANGED = "changed"
    REOPENED = "reopened"
    REMINDER = "reminder"
    RESOLVED = "resolved"


def is_flapping(incident: Incident, policy: Policy = DEFAULT) -> bool:
    """Whether it opened so often lately that only what lasts is told."""
    if not incident.openings or incident.kind in GROUPS:
        return False
    last = incident.openings[-1]
    return sum(last - at <= policy.reopen for at in incident.openings) >= policy.flapping


def notify_reason(incident: Incident, now: datetime, policy: Policy = DEFAULT) -> Reason:
    """Whether, and why, somebody is to be told of `incident` now. The first rule that applies decides."""
    told = incident.told
    if incident.state is State.RESOLVED:
        if told is None or told.state is State.RESOLVED or incident.kind is Kind.DIGEST:
            return Reason.NONE  # a resolution whose opening was never told stays silent, and so does yesterday's digest
        return Reason.RESOLVED if _is_settled(incident, incident.resolved_at or now, now, policy) else Reason.NONE
    if incident.state is State.QUIET or incident.cause is not None:
        return Reason.NONE
    if incident.is_silenced(now):  # that somebody has silenced it is shown, without a sound
        is_shown = told is None or told.state is not State.OPEN or not _was_answered(incident, told)
        return Reason.NONE if is_shown else Reason.CHANGED
    return _of_open(incident, now, policy)


def _of_open(incident: Incident, now: datetime, policy: Policy) -> Reason:
    told = incident.told
    if told is None:
        return Reason.OPENED
    if told.state is State.RESOLVED:
        return Reason.REOPENED if _is_settled(incident, incident.openings[-1], now, policy) else Reason.NONE
    if told.revision < incident.revision:
        if RANK[incident.severity] > RANK[told.severity]:
            return Reason.WORSENED
        if now - told.at >= patience(incident, policy) or _was_answered(incident, told):
            return Reason.CHANGED
    if policy.remind is not None and incident.severity is Severity.CRITICAL and incident.acknowledged is None:
        last = max(told.at, told.reminded_at or told.at)
        if now - last >= policy.remind:
            return Reason.REMINDER
    return Reason.NONE


def _is_settled(incident: Incident, since: datetime, now: datetime, policy: Policy) -> bool:
    """Whether it has been as it is for long enough; a moment that is yet to come is of a clock that is wrong."""
    return not is_flapping(incident, policy) or not timedelta(0) <= now - since < policy.settle


def patience(incident: Incident, policy: Policy) -> timedelta:
    """The least time between two tellings of changes that are no worse."""
    return STORM_CHANGE if incident.kind is Kind.STORM else policy.change


def _was_answered(incident: Incident, told: Told) -> bool:
    """Whether a person has done something with it since: shown at once."""
    return any(event.by and event.revision > told.revision for event in incident.story)


def due(incident: Incident, now: datetime, policy: Policy = DEFAULT) -> datetime | None:
    """When somebody is to be told next if nothing else happens; None if never."""
    moments = [now]
    if incident.silenced:
        moments.append(incident.silenced.until)
    if incident.resolved_at:
        moments.append(incident.resolved_at + policy.settle)
    if incident.openings:
        moments.append(incident.openings[-1] + policy.settle)
    if told := incident.told:
        moments.append(told.at + patience(incident, policy))
        if policy.remind is not None:
            moments.append(max(told.at, told.reminded_at or told.at) + policy.remind)
    coming = sorted(moment for moment in moments if moment >= now)
    return next((at for at in coming if notify_reason(incident, at, policy) is not Reason.NONE), None)
