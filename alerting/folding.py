"""What becomes of an incident: by the reports of checks, and by what people do with it. Pure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from alerting.incidents import (
    DEFAULT,
    GROUPS,
    RANK,
    Acknowledgement,
    Event,
    Incident,
    Mark,
    Policy,
    Report,
    Said,
    Silence,
    State,
    first_id,
    is_group,
)
from alerting.reports import bounded
from config import schema
from quality.findings import Severity

MARKS: Final = schema.FAILING
"""Failing windows that an incident remembers one by one, the newest; and as many others."""
SAID: Final = 20
"""Of so many of them, the worst and then the newest, it remembers what was said."""
STORY: Final = 50
"""Events that an incident tells, and openings; the first stays, the oldest of the rest go."""
TICK: Final = timedelta(milliseconds=1)
"""The least difference between two moments that MongoDB keeps apart."""
T = TypeVar("T")


def stored(at: datetime) -> datetime:
    """`at` as MongoDB keeps it: to the millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def fold(incident: Incident | None, report: Report, policy: Policy = DEFAULT) -> Incident:
    """What `report` makes of the last incident of its fingerprint (None: there was none); see `fold_all`."""
    return fold_all(incident, [report], policy)


def fold_all(incident: Incident | None, reports: Sequence[Report], policy: Policy = DEFAULT) -> Incident:
    """What `reports`, at least one, make of the last incident of their fingerprint (None: there was none).

    Folding them twice equals folding them once. Neither their order matters for what is wrong at the end, nor whether
    they come together or one by one; those that come together make one event. A resolved incident that goes wrong again
    is reopened within `policy.reopen`; after that the answer is a new one, with the next id. Raises ValueError if a
    report is of another fingerprint.
    """
    if incident is None:
        first = reports[0]
        incident = Incident(first_id(first.key, first.kind), first.key, first.kind, Severity.INFO)
    for report in reports:
        if incident.key != report.key:
            raise ValueError(f"a report on {report.key} cannot be folded into an incident of {incident.key}")
    plain = (replace(one, at=stored(one.at), facts=bounded(one.facts)) for one in reports)
    ordered = sorted(plain, key=lambda one: (one.at, repr(one.facts)))
    marked = _marked(incident, ordered)
    if marked.marks == incident.marks:
        return incident
    fresh = {window: mark.at for window, mark in marked.marks.items() if mark != incident.marks.get(window)}
    if incident.state is not State.OPEN:
        failed = [fresh[window] for window in marked.failing if window in fresh]
        return _capped(_opened(marked, min(failed, default=ordered[-1].at), policy) if marked.failing else marked)
    if marked.failing:
        return _capped(_changed(incident, marked, max(fresh.values())))
    return _capped(_mended(incident, marked, ordered))


def _marked(incident: Incident, reports: Sequence[Report]) -> Incident:
    """With what `reports` say that was not known, and what follows; where nothing is wrong, the facts stay."""
    marks = dict(incident.marks)
    for report in reports:
        window, mark = report.on, _mark(report)
        before = marks.get(window)
        if before is None or mark.weight > before.weight:
            marks[window] = mark
        elif mark.weight == before.weight and before.said is None:
            marks[window] = replace(before, said=mark.said)
    marked = replace(incident, marks=marks)
    wrong = [marks[window] for window in marked.failing]
    if not wrong:
        return marked
    severity = _worse(marked.found, _raised(incident))
    said = [mark.said for mark in sorted((one for one in wrong if one.said), key=_importance) if mark.said]
    if not said:
        return replace(marked, severity=severity)
    return replace(
        marked,
        severity=severity,
        kind=said[-1].kind,
        facts=said[-1].facts,
        metrics=tuple(dict.fromkeys(one for each in reversed(said) for one in each.metrics)),
        scopes=tuple(dict.fromkeys(one for each in reversed(said) for one in each.scopes)),
    )


def _raised(incident: Incident) -> Severity:
    """How bad it is for what it causes, where that is worse than what was found of itself; else INFO."""
    is_raised = incident.state is State.OPEN and incident.failing and RANK[incident.severity] > RANK[incident.found]
    return incident.severity if is_raised else Severity.INFO


def _worse(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=RANK.__getitem__)


def _mark(report: Report) -> Mark:
    if not report.failed:
        return Mark(report.at, failed=False)
    said = Said(report.kind, report.facts, report.metrics, report.scopes)
    return Mark(report.at, failed=True, severity=report.severity, lasting=report.lasting, said=said)


def _importance(mark: Mark) -> tuple[int, datetime]:
    """What is told of an incident is what was said of its most important failure: the worst, and then the newest."""
    return (RANK[mark.severity], mark.at)


def _capped(incident: Incident) -> Incident:
    """Without what is too much. What fails stays as it was, but for the oldest of more than MARKS windows."""
    marks, failing = dict(incident.marks), incident.failing
    for window in failing[:-MARKS]:
        del marks[window]
    if len(incident.marks) - len(failing) > MARKS:
        mending = _mending(incident.marks)
        others = sorted(set(incident.marks).difference(failing), key=lambda window: (window in mending, window))
        for window in others[:-MARKS]:
            del marks[window]
    if len(said := [window for window, mark in marks.items() if mark.said]) > SAID:
        now = set(failing)
        said.sort(key=lambda window: (window in now, _importance(marks[window]), window))
        marks |= {window: replace(marks[window], said=None) for window in said[:-SAID]}
    return incident if marks == incident.marks else replace(incident, marks=marks)


def _mending(marks: Mapping[str, Mark]) -> set[str]:
    """Windows that passed, and no later one did so since."""
    found: set[str] = set()
    newest: datetime | None = None
    for window, mark in sorted(marks.items(), key=lambda one: one[0], reverse=True):
        if not mark.failed and (newest is None or mark.at > newest):
            found.add(window)
            newest = mark.at
    return found


def _opened(marked: Incident, at: datetime, policy: Policy) -> Incident:
    """Its moments never go back, though clocks may: the newest incident of a fingerprint was opened last."""
    title, since = marked.facts.title, marked.resolved_at
    if since is None:
        return _say(replace(marked, state=State.OPEN, openings=(at,)), at, "opened", title)
    if at - since <= policy.reopen and marked.kind not in GROUPS:  # a group is another one each time
        openings = _shortened((*marked.openings, max(at, since)))
        cause = None if is_group(marked.cause) else marked.cause  # which may be over: then nobody would be told
        again = replace(marked, state=State.OPEN, openings=openings, resolved_at=None, acknowledged=None, cause=cause)
        return _say(again, at, "reopened", title)
    name, number = marked.id.rsplit("-", 1)
    fresh = Incident(f"{name}-{int(number) + 1}", marked.key, marked.kind, marked.severity, State.OPEN)
    fresh = replace(fresh, marks=marked.marks, cleared_at=marked.cleared_at)
    fresh = replace(fresh, facts=marked.facts, metrics=marked.metrics, scopes=marked.scopes)
    at = max(at, marked.openings[0] + TICK)
    return _say(replace(fresh, openings=(at,)), at, "opened", title)


def _shortened(events: tuple[T, ...]) -> tuple[T, ...]:
    return events if len(events) <= STORY else (events[0], *events[len(events) - STORY + 1 :])


def _changed(before: Incident, marked: Incident, at: datetime) -> Incident:
    """Still open: a change is material if the severity, the failing windows or what is observed of them differ."""
    rank = RANK[marked.severity] - RANK[before.severity]
    if rank:
        what = "worsened" if rank > 0 else "eased"
        if rank > 0 and is_group(marked.cause):
            marked = replace(marked, cause=None)  # it is worth a message of its own now
        return _say(marked, at, what, f"now {marked.severity}: {marked.facts.observed or marked.facts.title}")
    failing, failed = marked.failing[-MARKS:], before.failing[-MARKS:]
    if failing != failed:
        return _say(marked, at, "changed", _windows_told(failed, failing))
    if marked.facts != before.facts:
        return _say(marked, at, "changed", marked.facts.observed or marked.facts.title)
    return marked


def _windows_told(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    more, less = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    told = [f"{', '.join(more[:3])}{' ...' if len(more) > 3 else ''} too" if more else ""]  # noqa: PLR2004 - a few
    told += [f"{', '.join(less[:3])}{' ...' if len(less) > 3 else ''} no longer" if less else ""]  # noqa: PLR2004
    return f"{len(now)} windows now: {'; '.join(one for one in told if one)}"


def _mended(before: Incident, marked: Incident, ordered: Sequence[Report]) -> Incident:
    """Resolved, at the moment of the report after which nothing was wrong any more."""
    failed, passed = [one for one in ordered if one.failed], [one for one in ordered if not one.failed]
    if not passed:
        return marked
    last = bisect_left(
        range(len(passed) - 1), x=True, key=lambda n: not _marked(before, [*failed, *passed[: n + 1]]).failing
    )
    report = passed[last]
    window = f"the check ran and passed on {report.window}" if report.window else "it is well again"
    return _over(marked, report.at, report.facts.observed or window)


def _over(incident: Incident, at: datetime, text: str, by: str = "") -> Incident:
    over = _say(replace(incident, state=State.RESOLVED), at, "resolved", text, by)
    return replace(over, resolved_at=over.changed_at)


def _say(incident: Incident, at: datetime, what: str, text: str, by: str = "") -> Incident:
    """`incident` at its next revision, with one more line in its story."""
    revision = incident.revision + 1
    story = _shortened((*incident.story, Event(revision, at, what, text, by)))
    at = max(at, incident.changed_at) if incident.changed_at else at
    return replace(incident, revision=revision, changed_at=at, story=story)


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
    ahead = {w: replace(mark, cleared=True) for w, mark in incident.marks.items() if mark.failed and mark.at > at}
    cleared = replace(incident, marks={**incident.marks, **ahead}, cleared_at=max(at, incident.cleared_at or at))
    return _over(cleared, at, note, by)


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


def raised(incident: Incident, effects: Severity, at: datetime) -> Incident:
    """`incident`, as bad as the worst of its `effects` if that is worse than what was found of itself."""
    severity = _worse(incident.found, effects)
    rank = RANK[severity] - RANK[incident.severity]
    if not rank:
        return incident
    cause = None if rank > 0 and is_group(incident.cause) else incident.cause  # it is worth a message of its own now
    why = "by what it causes" if rank > 0 else "as it causes nothing worse any more"
    what = "worsened" if rank > 0 else "eased"
    return _say(replace(incident, severity=severity, cause=cause), at, what, f"now {severity}, {why}")


def _must_be_open(incident: Incident) -> None:
    if incident.state is not State.OPEN:
        message = f"{incident.id} is {incident.state}, not open"
        raise ValueError(message)
