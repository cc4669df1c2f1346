"""What becomes of an incident: by the reports of checks, and by what people do with it. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from alerting.incidents import (
    DEFAULT,
    RANK,
    Acknowledgement,
    Event,
    Incident,
    Mark,
    Policy,
    Report,
    Silence,
    State,
    first_id,
    is_group,
)

MARKS: Final = 400
"""Windows that an incident remembers one by one; the oldest go first."""
STORY: Final = 50
"""Events that an incident tells; the first stays, the oldest of the rest go."""


def stored(at: datetime) -> datetime:
    """`at` as MongoDB keeps it: to the millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def fold(incident: Incident | None, report: Report, policy: Policy = DEFAULT) -> Incident:
    """What `report` makes of the last incident of its fingerprint (None: there was none).

    Folding a report twice equals folding it once, and the order of reports does not matter for what is wrong at the
    end. A resolved incident that goes wrong again is reopened within `policy.reopen`; after that the answer is a new
    one, with the next id. Raises ValueError if the report is of another fingerprint.
    """
    if incident is None:
        incident = Incident(first_id(report.key, report.kind), report.key, report.kind, report.severity)
    if incident.key != report.key:
        message = f"a report on {report.key} cannot be folded into an incident of {incident.key}"
        raise ValueError(message)
    report = replace(report, at=stored(report.at))
    window = report.window.isoformat() if report.window else ""
    mark = Mark(report.at, report.failed)
    before = incident.marks.get(window)
    if before is not None and mark <= before:
        return incident
    newest = all((mark.at, window) >= (other.at, w) for w, other in incident.marks.items() if other.failed)
    marked = replace(
        incident, lasting=incident.lasting or report.lasting, marks=_capped({**incident.marks, window: mark})
    )
    if report.failed and (newest or incident.state is State.QUIET):
        marked = replace(marked, facts=report.facts, kind=report.kind, severity=report.severity)
        marked = replace(marked, metrics=report.metrics, scopes=report.scopes)
    if not marked.failing:
        return _resolved(marked, report) if incident.state is State.OPEN else marked
    if incident.state is State.OPEN:
        return _changed(incident, marked, report)
    return _opened(marked, report, policy)


def _opened(marked: Incident, report: Report, policy: Policy) -> Incident:
    if marked.state is State.QUIET:
        opened = replace(marked, state=State.OPEN, openings=(report.at,))
        return _say(opened, report.at, "opened", report.facts.title)
    since = marked.resolved_at or report.at
    if report.at - since <= policy.reopen:
        again = replace(
            marked, state=State.OPEN, openings=(*marked.openings, report.at), resolved_at=None, acknowledged=None
        )
        return _say(again, report.at, "reopened", report.facts.title)
    name, number = marked.id.rsplit("-", 1)
    kept = {window: marked.marks[window] for window in marked.failing}
    fresh = Incident(f"{name}-{int(number) + 1}", marked.key, report.kind, report.severity, lasting=marked.lasting)
    fresh = replace(fresh, marks=kept, facts=report.facts, metrics=report.metrics, scopes=report.scopes)
    return _say(replace(fresh, state=State.OPEN, openings=(report.at,)), report.at, "opened", report.facts.title)


def _changed(before: Incident, marked: Incident, report: Report) -> Incident:
    """Still open: a change is material if the severity, the failing windows or what is observed of them differ."""
    rank = RANK[marked.severity] - RANK[before.severity]
    if rank:
        what = "worsened" if rank > 0 else "eased"
        if rank > 0 and is_group(marked.cause):
            marked = replace(marked, cause=None)  # it is worth a message of its own now
        return _say(marked, report.at, what, f"now {marked.severity}: {marked.facts.observed or marked.facts.title}")
    if marked.failing != before.failing:
        return _say(marked, report.at, "changed", _windows_told(before.failing, marked.failing))
    if marked.facts != before.facts:
        return _say(marked, report.at, "changed", marked.facts.observed or marked.facts.title)
    return marked


def _windows_told(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    more, less = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    told = [f"{', '.join(more[:3])}{' ...' if len(more) > 3 else ''} too" if more else ""]  # noqa: PLR2004 - a few
    told += [f"{', '.join(less[:3])}{' ...' if len(less) > 3 else ''} no longer" if less else ""]  # noqa: PLR2004
    return f"{len(now)} windows now: {'; '.join(one for one in told if one)}"


def _resolved(marked: Incident, report: Report) -> Incident:
    passed = f"the check ran and passed on {report.window}" if report.window else "it is well again"
    return _say(replace(marked, state=State.RESOLVED, resolved_at=report.at), report.at, "resolved", passed)


def _say(incident: Incident, at: datetime, what: str, text: str, by: str = "") -> Incident:
    """`incident` at its next revision, with one more line in its story."""
    revision = incident.revision + 1
    told = (*incident.story, Event(revision, at, what, text, by))
    if len(told) > STORY:
        told = (told[0], *told[len(told) - STORY + 1 :])
    at = max(at, incident.changed_at) if incident.changed_at else at
    return replace(incident, revision=revision, changed_at=at, story=told)


def _capped(marks: Mapping[str, Mark]) -> Mapping[str, Mark]:
    if len(marks) <= MARKS:
        return marks
    passed = sorted(window for window, mark in marks.items() if not mark.failed)
    failed = sorted(window for window, mark in marks.items() if mark.failed)
    gone = set([*passed[:-1], *failed][: len(marks) - MARKS])
    return {window: mark for window, mark in marks.items() if window not in gone}


def acknowledge(incident: Incident, by: str, at: datetime, note: str = "") -> Incident:
    """Somebody is at it: no more reminders. Raises ValueError if it is not open."""
    _must_be_open(incident)
    said = replace(incident, acknowledged=Acknowledgement(by, at, note))
    return _say(said, at, "acknowledged", note, by)


def silence(incident: Incident, until: datetime, by: str, at: datetime, reason: str = "") -> Incident:
    """Nobody is told of it until then; it goes on living. Raises ValueError if it is not open, or `until` is past."""
    _must_be_open(incident)
    if until <= at:
        message = f"{until:%Y-%m-%d %H:%M} UTC is past"
        raise ValueError(message)
    said = replace(incident, silenced=Silence(until, by, at, reason))
    return _say(said, at, "silenced", f"until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {reason}".rstrip(": "), by)


def resolve(incident: Incident, by: str, at: datetime, note: str) -> Incident:
    """A person says that it is over: what failed until now no longer counts. Raises ValueError if it is not open."""
    _must_be_open(incident)
    newest = max((mark.at for mark in incident.marks.values()), default=at)
    over = replace(incident, state=State.RESOLVED, resolved_at=at, cleared_at=max(at, newest))
    return _say(over, at, "resolved", note, by)


def attach(incident: Incident, cause: str | None) -> Incident:
    """`incident` as an effect of `cause`, or by itself."""
    return incident if incident.cause == cause else replace(incident, cause=cause)


def with_effects(incident: Incident, effects: tuple[str, ...], at: datetime) -> Incident:
    """`incident`, causing these; new effects are a change."""
    if effects == incident.effects:
        return incident
    more = [one for one in effects if one not in incident.effects]
    said = replace(incident, effects=effects)
    return _say(said, at, "changed", f"causes {'; '.join(more)}") if more and incident.told else said


def _must_be_open(incident: Incident) -> None:
    if incident.state is not State.OPEN:
        message = f"{incident.id} is {incident.state}, not open"
        raise ValueError(message)
