"""Whether somebody is to be told, as a table, and when that will next be so."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.folding import acknowledge, attach, fold, resolve, silence
from alerting.incidents import DEFAULT, Facts, Incident, Key, Kind, Policy, Report, State, Told
from alerting.reasons import STORM_CHANGE, Reason, due, is_flapping, notify_reason
from quality.findings import Severity

KEY: Final = Key("bronze.git.commits", "acme/api", "receipt")
START: Final = datetime(2026, 3, 1, tzinfo=UTC)
HOUR: Final = 60.0
DAY: Final = 24 * HOUR


def moment(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def report(minute: float, *, failed: bool = True, **more: Any) -> Report:
    return Report(KEY, moment(minute), failed, **{"kind": Kind.RECEIPT, "facts": Facts(f"at {minute}"), **more})


def opened(minute: float = 0, **more: Any) -> Incident:
    return fold(None, report(minute, **more))


def passed(incident: Incident, minute: float) -> Incident:
    return fold(incident, report(minute, failed=False))


def failed(incident: Incident, minute: float, **more: Any) -> Incident:
    return fold(incident, report(minute, **more))


def told(incident: Incident, minute: float, **more: Any) -> Incident:
    """As the notifier leaves it."""
    sent = Told(incident.revision, incident.state, incident.severity, moment(minute), "C1", "1.1")
    return replace(incident, told=replace(sent, **more))


def flapping(times: int = DEFAULT.flapping, every: float = 10) -> Incident:
    """Told when it opened first; open now, for the last time since `(times - 1) * every`."""
    incident = told(opened(), 0)
    for n in range(1, times):
        incident = failed(passed(incident, n * every - 5), n * every)
    return incident


WARNING: Final[dict[str, Any]] = {"severity": Severity.WARNING}
SETTLE: Final = DEFAULT.settle / timedelta(minutes=1)
CHANGE: Final = DEFAULT.change / timedelta(minutes=1)
AGAIN: Final = told(passed(told(opened(), 1), 5), 6)
"""Its opening and its resolution were told."""

CASES: Final[list[tuple[str, Incident, float, Reason]]] = [
    # it opened, and nobody knows
    ("opened", opened(), 0, Reason.OPENED),
    # also long after: nothing was delivered meanwhile
    ("opened long ago", opened(), 9 * DAY, Reason.OPENED),
    # the very first passes: there is no incident
    ("nothing ever failed", fold(None, report(0, failed=False)), 1, Reason.NONE),
    # it was told, and nothing has happened
    ("told", told(opened(), 1), 2, Reason.NONE),
    # it was over before anybody was told: silence
    ("mended before it was told", passed(opened(), 5), 6, Reason.NONE),
    # a person said so before anybody was told
    ("resolved by hand before it was told", resolve(opened(), "kim", moment(5), ""), 6, Reason.NONE),
    # what was told to be open is told to be over, at once
    ("mended", passed(told(opened(), 1), 5), 5, Reason.RESOLVED),
    # a resolution is told once
    ("told to be over", AGAIN, 9 * DAY, Reason.NONE),
    # it is back
    ("back", failed(AGAIN, 10), 10, Reason.REOPENED),
    # back, though nobody was told that it had gone: no more than a change
    ("back unnoticed", failed(passed(told(opened(), 1), 5), 6), 7, Reason.NONE),
    ("back unnoticed, after a while", failed(passed(told(opened(), 1), 5), 6), 1 + CHANGE, Reason.CHANGED),
    # worse is told at once
    ("worse", failed(told(opened(**WARNING), 1), 2), 2, Reason.WORSENED),
    # better waits its turn
    ("less bad", failed(told(opened(), 1), 2, **WARNING), 2, Reason.NONE),
    ("less bad, after a while", failed(told(opened(), 1), 2, **WARNING), 1 + CHANGE, Reason.CHANGED),
    # so does any other change
    ("changed", failed(told(opened(), 1), 2), 1 + CHANGE - 0.01, Reason.NONE),
    ("changed, after a while", failed(told(opened(), 1), 2), 1 + CHANGE, Reason.CHANGED),
    # the same again is no change
    ("the same", fold(told(opened(), 1), replace(report(0), at=moment(2))), 1 + CHANGE, Reason.NONE),
    # what a person does is shown at once
    ("acknowledged", acknowledge(told(opened(), 1), "kim", moment(2)), 2, Reason.CHANGED),
    # a storm counts more often
    ("storm grows", failed(told(opened(kind=Kind.STORM), 1), 1.1, kind=Kind.STORM), 1.2, Reason.NONE),
    (
        "storm grows, after a while",
        failed(told(opened(kind=Kind.STORM), 1), 1.1, kind=Kind.STORM),
        1 + STORM_CHANGE / timedelta(minutes=1),
        Reason.CHANGED,
    ),
    # yesterday's digest ends in silence
    ("digest over", fold(told(opened(kind=Kind.DIGEST), 1), report(5, failed=False)), DAY, Reason.NONE),
    # a critical one that nobody has taken is told again
    ("forgotten", told(opened(), 1), 1 + DAY, Reason.REMINDER),
    ("not yet forgotten", told(opened(), 1), DAY, Reason.NONE),
    ("reminded", told(opened(), 1, reminded_at=moment(1 + DAY)), 2 * DAY, Reason.NONE),
    ("reminded a day ago", told(opened(), 1, reminded_at=moment(1 + DAY)), 1 + 2 * DAY, Reason.REMINDER),
    # one that somebody is at is not
    ("taken", told(acknowledge(opened(), "kim", moment(1)), 2), 9 * DAY, Reason.NONE),
    # nor a warning
    ("a warning", told(opened(**WARNING), 1), 9 * DAY, Reason.NONE),
    # silenced: nobody wants to hear, not even that it is worse
    ("silenced", silence(opened(), moment(HOUR), "kim", moment(1)), 2, Reason.NONE),
    (
        "worse while silenced",
        failed(told(silence(opened(**WARNING), moment(HOUR), "kim", moment(1)), 1), 2),
        3,
        Reason.NONE,
    ),
    # that it is silenced is shown where it was told
    ("silenced just now", silence(told(opened(), 1), moment(HOUR), "kim", moment(1)), 2, Reason.CHANGED),
    # the silence is over: what was kept back is told
    ("silence over", silence(opened(), moment(HOUR), "kim", moment(1)), HOUR, Reason.OPENED),
    (
        "worse, silence over",
        failed(silence(told(opened(**WARNING), 1), moment(HOUR), "kim", moment(1)), 2),
        HOUR,
        Reason.WORSENED,
    ),
    # that it is over is good news
    ("mended, silenced", passed(silence(told(opened(), 1), moment(HOUR), "kim", moment(1)), 5), 5, Reason.RESOLVED),
    # an effect is told with its cause
    ("effect", attach(opened(), "0123456789-1"), 1, Reason.NONE),
    ("effect of long ago", attach(told(opened(), 1), "0123456789-1"), 9 * DAY, Reason.NONE),
    # the cause is over, the effect is not
    ("no longer an effect", attach(attach(opened(), "0123456789-1"), None), 1, Reason.OPENED),
    # it was told by itself before its cause was found
    ("mended as an effect", passed(attach(told(opened(), 1), "0123456789-1"), 5), 5, Reason.RESOLVED),
    # flapping: told only once it stays as it is
    ("flapping, over", passed(flapping(), 25), 26, Reason.NONE),
    ("flapping, over for good", passed(flapping(), 25), 25 + SETTLE, Reason.RESOLVED),
    ("flapping, back", told(flapping(), 15, state=State.RESOLVED), 21, Reason.NONE),
    ("flapping, back for good", told(flapping(), 15, state=State.RESOLVED), 20 + SETTLE, Reason.REOPENED),
    # the opening of one that flaps before anybody could be told is no news less
    ("flapping, never told", replace(flapping(), told=None), 21, Reason.OPENED),
    # not so often: no flapping
    ("twice", passed(flapping(2), 25), 26, Reason.RESOLVED),
    # a clock that was ahead keeps nobody waiting until others have caught up
    ("over in the future", passed(flapping(), 9 * DAY), 30, Reason.RESOLVED),
    (
        "back in the future",
        failed(told(passed(flapping(), 25), 26), DAY),
        30,
        Reason.REOPENED,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("incident", "minute", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_why_somebody_is_told(incident: Incident, minute: float, reason: Reason) -> None:
    assert notify_reason(incident, moment(minute)) is reason


@pytest.mark.parametrize(("incident", "minute"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_it_is_due_at_the_first_moment_at_which_somebody_is_to_be_told(incident: Incident, minute: float) -> None:
    """Found by trying every minute of three days."""
    is_first_moment(incident, moment(minute), DEFAULT)


def is_first_moment(incident: Incident, now: datetime, policy: Policy) -> None:
    """Whether `due` answers as a look at every minute does."""
    minutes = [now + timedelta(minutes=minute) for minute in range(int(3 * DAY))]
    seen = next((at for at in minutes if notify_reason(incident, at, policy) is not Reason.NONE), None)
    at = due(incident, now, policy)
    if at is None or seen is None:
        assert seen is None
        assert at is None or at > minutes[-1]
        return
    assert at <= seen < at + timedelta(minutes=1)
    assert notify_reason(incident, at, policy) is not Reason.NONE
    assert at == now or notify_reason(incident, at - timedelta(milliseconds=1), policy) is Reason.NONE


lives = st.lists(
    st.tuples(
        st.sampled_from(["fail", "warn", "pass", "acknowledge", "silence", "resolve", "attach", "detach", "tell"]),
        st.integers(0, 90),
    ),
    max_size=14,
)


def lived(steps: Iterable[tuple[str, int]], policy: Policy) -> tuple[Incident, float]:
    """An incident after these steps, so many minutes apart, and when it is."""
    incident, minute = opened(), 0.0
    for what, later in steps:
        minute += later
        at, is_open = moment(minute), incident.state is State.OPEN
        if what in {"fail", "warn", "pass"}:
            severity = Severity.WARNING if what == "warn" else Severity.CRITICAL
            incident = fold(incident, report(minute, failed=what != "pass", severity=severity), policy)
        elif what == "acknowledge" and is_open:
            incident = acknowledge(incident, "kim", at)
        elif what == "silence" and is_open:
            incident = silence(incident, at + timedelta(minutes=45), "kim", at)
        elif what == "resolve" and is_open:
            incident = resolve(incident, "kim", at, "")
        elif what in {"attach", "detach"}:
            incident = attach(incident, "0123456789-1" if what == "attach" else None)
        elif what == "tell" and (reason := notify_reason(incident, at, policy)) is not Reason.NONE:
            reminded = at if reason is Reason.REMINDER else incident.told and incident.told.reminded_at
            incident = told(incident, minute, reminded_at=reminded)
    return incident, minute


@given(
    lives,
    st.sampled_from([DEFAULT, Policy(remind=None), Policy(reopen=timedelta(0)), Policy(remind=timedelta(hours=2))]),
    st.integers(0, 120),
)
@settings(max_examples=300, deadline=None)
def test_it_is_due_exactly_then_whatever_its_life_was(steps: list[tuple[str, int]], policy: Policy, wait: int) -> None:
    incident, minute = lived(steps, policy)
    is_first_moment(incident, moment(minute + wait), policy)


def tellings(events: dict[int, bool], last: int, **more: Any) -> list[tuple[int, Reason]]:
    """What a notifier that looks every minute tells: by minute; events: whether the check failed, by minute."""
    incident: Incident | None = None
    heard: list[tuple[int, Reason]] = []
    for minute in range(last + 1):
        if minute in events:
            incident = fold(incident, report(minute, failed=events[minute], **more))
        if incident and (reason := notify_reason(incident, moment(minute))) is not Reason.NONE:
            heard.append((minute, reason))
            incident = told(incident, minute)
    return heard


@pytest.mark.parametrize("every", [1, 3, 7, 20, 29])
def test_a_flapping_incident_is_told_seldom(every: int) -> None:
    """A check that fails and passes in turn for two days."""
    heard = tellings({minute: (minute // every) % 2 == 0 for minute in range(0, 2 * int(DAY), every)}, 2 * int(DAY))
    calm = heard[2 * DEFAULT.flapping :]
    assert all(after - before >= CHANGE for (before, _), (after, _) in pairwise(calm))
    assert not {Reason.RESOLVED, Reason.REOPENED} & {reason for _, reason in calm}


@pytest.mark.parametrize("since", range(40, 70))
def test_where_a_flapping_incident_stays_is_what_is_known_of_it_in_the_end(since: int) -> None:
    """However often it changed before, and whatever was kept back meanwhile."""
    for stays in (True, False):
        flaps = {minute: (minute // 2) % 3 == 0 for minute in range(since)}
        heard = tellings({**flaps, since: stays}, since + int(SETTLE + CHANGE))
        assert heard[0] == (0, Reason.OPENED)
        assert (heard[-1][1] is not Reason.RESOLVED) == stays


def test_a_flapping_incident_that_was_told_to_be_over_is_told_to_be_back_if_it_stays() -> None:
    flaps = {0: True, 1: False, 2: True, 3: False, 50: True, 52: False, 54: True}
    heard = tellings(flaps, 54 + int(SETTLE))
    assert heard[:4] == [(0, Reason.OPENED), (1, Reason.RESOLVED), (2, Reason.REOPENED), (3, Reason.RESOLVED)]
    assert heard[4:] == [(54 + int(SETTLE), Reason.REOPENED)]


def test_flapping_is_about_openings_within_the_time_of_a_regression() -> None:
    assert is_flapping(flapping())
    assert not is_flapping(flapping(2))
    assert not is_flapping(flapping(every=13 * HOUR))
    assert not is_flapping(replace(flapping(), kind=Kind.STORM))
