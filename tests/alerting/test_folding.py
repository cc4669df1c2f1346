"""What becomes of an incident: laws that hold for any reports in any order, and the cases behind them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import bson
import pytest
from bson.codec_options import CodecOptions
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerting import folding
from alerting.folding import acknowledge, attach, fold, fold_all, raised, resolve, silence, stored, with_effects
from alerting.incidents import (
    DEFAULT,
    RANK,
    Facts,
    Incident,
    Key,
    Kind,
    Mark,
    Report,
    State,
    Told,
    document,
    fingerprint,
    from_document,
)
from quality.findings import Severity

KEY: Final = Key("gold.dora_daily", "acme/api", "not_negative", "change_lead_time")
START: Final = datetime(2026, 3, 1, tzinfo=UTC)
FIRST: Final = date(2026, 1, 1)
WINDOWS: Final = 5


def moment(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def said(day: int | None, minute: float, *, failed: bool = True, **more: Any) -> Report:
    """A report on so many days after FIRST (None: it is not about a window)."""
    window = None if day is None else FIRST + timedelta(days=day)
    title = f"day {day} judged at {minute}"
    kept = {"kind": Kind.FINDING, "facts": Facts(title), **more}
    return Report(KEY, moment(minute), failed, window=window, **kept)


def passed(day: int | None, minute: float, **more: Any) -> Report:
    return said(day, minute, failed=False, **more)


def folded(*reports: Report, onto: Incident | None = None) -> Incident:
    """One by one."""
    for report in reports:
        onto = fold(onto, report)
    assert onto is not None
    return onto


def days(incident: Incident) -> list[int]:
    """Which are wrong."""
    return [(date.fromisoformat(window) - FIRST).days for window in incident.failing]


reports_of_one_key = st.lists(
    st.builds(
        said,
        st.one_of(st.none(), st.integers(0, WINDOWS)),
        st.integers(0, 60 * 40),
        failed=st.booleans(),
        severity=st.sampled_from(Severity),
        lasting=st.booleans(),
        scopes=st.sampled_from([(), ("acme/api",), ("acme/web", "acme/api")]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda one: (one.window, one.at),
)


def wrong(reports: Sequence[Report], cleared: datetime | None = None) -> set[date | None]:
    """What the laws say, in their own words: the newest report on each window, and what has mended it since."""
    newest: dict[date | None, Report] = {}
    for one in sorted(reports, key=lambda one: (one.at, one.failed)):
        newest[one.window] = one
    return {
        one.window
        for one in newest.values()
        if one.failed
        and not (cleared and one.at <= cleared)
        and not any(
            not other.failed and other.at > one.at and other.window and one.window and other.window > one.window
            for other in newest.values()
            if not one.lasting
        )
    }


@given(reports_of_one_key, st.randoms(use_true_random=False))
@settings(max_examples=300)
@example([passed(0, 9), said(0, 5)], None)
def test_what_is_wrong_and_what_is_told_of_it_depends_neither_on_order_nor_on_batches(
    reports: list[Report], random: Any
) -> None:
    """Late reports, retries and several workers make no difference to where it ends."""
    together = fold_all(None, reports)
    assert {date.fromisoformat(one) if one else None for one in together.failing} == wrong(reports)
    assert (together.state is State.OPEN) == bool(together.failing)
    shuffled = list(reports)
    if random is not None:
        random.shuffle(shuffled)
    for other in (fold_all(None, shuffled), folded(*reports), folded(*shuffled)):
        assert other.failing == together.failing
        assert other.marks == together.marks
        if together.failing:
            told = ("facts", "kind", "severity", "metrics", "scopes")
            assert [getattr(other, one) for one in told] == [getattr(together, one) for one in told]
    assert fold_all(None, shuffled) == together


@given(reports_of_one_key)
@settings(max_examples=200)
def test_folding_again_changes_nothing(reports: list[Report]) -> None:
    """So that a run may derive all reports anew from what is stored, as often as it likes."""
    once = fold_all(None, reports)
    assert fold_all(once, reports) is once
    one_by_one = folded(*reports)
    assert folded(*reports, onto=one_by_one) is one_by_one


@given(reports_of_one_key)
@settings(max_examples=200)
def test_only_a_pass_on_the_same_or_a_later_window_resolves_and_nothing_is_resolved_that_was_not_opened(
    reports: list[Report],
) -> None:
    before: Incident | None = None
    for report in reports:
        after = fold(before, report)
        whats = [event.what for event in after.story]
        assert whats.count("resolved") <= whats.count("opened") + whats.count("reopened")
        if after.state is State.RESOLVED and before is not None and before.state is State.OPEN:
            assert not report.failed
            for window in before.failing:
                own = (report.window.isoformat() if report.window else "") == window
                assert own or (window and report.window and report.window.isoformat() > window)
                assert own or not before.marks[window].lasting
                assert report.at > before.marks[window].at
        if before is not None:
            assert after.revision >= before.revision or after.id != before.id
        assert list(after.openings) == sorted(after.openings)
        before = after


@given(reports_of_one_key)
@settings(max_examples=100)
def test_an_incident_is_the_same_after_it_was_a_document(reports: list[Report]) -> None:
    incident = fold_all(None, reports)
    if incident.state is State.OPEN:
        incident = silence(incident, moment(9_999), "kim@host", moment(3_000), "дежурный 🌙")
        incident = acknowledge(incident, "kim@host", moment(3_001), "looking")
        incident = with_effects(incident, ("gold.dora_daily acme/api",), moment(3_002))
        told = Told(3, State.OPEN, Severity.CRITICAL, moment(5_000), "C1", "17.2", moment(5_001), chart=True, fence=4)
        incident = replace(incident, told=told, cause="storm-12345678-1")
    options: CodecOptions[Mapping[str, Any]] = CodecOptions(tz_aware=True)
    assert from_document(bson.decode(bson.encode(document(incident)), options)) == incident


def test_a_report_of_another_problem_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be folded"):
        fold(fold(None, said(0, 0)), replace(said(0, 1), key=replace(KEY, scope="acme/web")))


CASES = [
    ("it fails", [said(1, 0)], [1]),
    ("judged anew, it passes", [said(1, 0), passed(1, 5)], []),
    ("a later window passes later", [said(1, 0), passed(2, 5)], []),
    ("an older window passes", [said(1, 0), passed(0, 5)], [1]),
    ("a later window had passed before", [said(1, 5), passed(2, 0)], [1]),
    ("both at the same moment: it was one run", [said(1, 5), passed(2, 5)], [1]),
    ("of the same window and moment the failure counts", [said(1, 5), passed(1, 5)], [1]),
    ("only the window itself mends what lasts", [said(1, 0, lasting=True), passed(2, 5)], [1]),
    ("and does", [said(1, 0, lasting=True), passed(1, 5)], []),
    ("what lasts does not bring back what did not", [said(1, 0), passed(2, 5), said(3, 6, lasting=True)], [3]),
    ("a report that comes late is older than what is known", [passed(1, 5), said(1, 0)], []),
    ("the pass is taken back: judged anew it fails", [said(1, 0), passed(2, 5), said(2, 6)], [1, 2]),
]


@pytest.mark.parametrize(("case", "reports", "left"), CASES, ids=[case for case, *_ in CASES])
def test_which_windows_are_wrong(case: str, reports: list[Report], left: list[int]) -> None:  # noqa: ARG001 - the id
    for given_in in (reports, reports[::-1]):
        assert days(folded(*given_in)) == days(fold_all(None, given_in)) == left


def test_what_is_not_about_windows_is_mended_by_its_own_pass_only() -> None:
    incident = fold(None, said(None, 0))
    assert incident.failing == ("",)
    assert folded(passed(3, 5), onto=incident).state is State.OPEN
    assert folded(passed(None, 5), onto=incident).state is State.RESOLVED


def test_the_worst_failure_is_what_is_told_and_among_equals_the_newest() -> None:
    """A warning on a later day must not hide that an earlier day is still critical; once mended, it shows."""
    warning = said(3, 9, severity=Severity.WARNING, lasting=True, scopes=("acme/web",))
    first, second = (said(day, day, lasting=True, scopes=("acme/api",)) for day in (1, 2))
    incident = folded(first, second, warning)
    assert (incident.severity, incident.facts.title) == (Severity.CRITICAL, "day 2 judged at 2")
    assert set(incident.scopes) == {"acme/api", "acme/web"}
    incident = folded(passed(2, 10), onto=incident)
    assert (incident.severity, incident.facts.title) == (Severity.CRITICAL, "day 1 judged at 1")
    incident = folded(passed(1, 11), onto=incident)
    assert (incident.severity, incident.facts.title) == (Severity.WARNING, "day 3 judged at 9")
    assert incident.scopes == ("acme/web",)
    assert [event.what for event in incident.story] == ["opened", "changed", "changed", "changed", "eased"]


def test_what_fails_and_is_mended_in_one_batch_was_never_an_incident() -> None:
    incident = fold_all(None, [said(1, 0), passed(1, 5), said(2, 6), passed(3, 7)])
    assert (incident.state, incident.story, incident.openings) == (State.QUIET, (), ())


def test_it_is_resolved_at_the_moment_of_the_pass_that_mended_it() -> None:
    incident = folded(said(1, 0), said(2, 1))
    over = fold_all(incident, [passed(1, 4), passed(2, 6), passed(3, 9)])
    assert over.resolved_at == moment(6)
    assert over.story[-1].text == f"the check ran and passed on {FIRST + timedelta(days=2)}"


def test_a_regression_reopens_and_a_later_one_is_the_next_incident() -> None:
    resolved = folded(said(1, 0), passed(1, 5))
    edge = resolved.resolved_at
    assert edge is not None
    again = fold(resolved, replace(said(2, 0), at=edge + DEFAULT.reopen))
    assert (again.id, again.state, len(again.openings), again.resolved_at) == (resolved.id, State.OPEN, 2, None)
    assert again.id == f"{fingerprint(KEY)[:10]}-1"
    later = fold(resolved, replace(said(2, 0), at=edge + DEFAULT.reopen + timedelta(milliseconds=1)))
    assert (later.id, later.state, later.told) == (f"{fingerprint(KEY)[:10]}-2", State.OPEN, None)
    assert [event.what for event in later.story] == ["opened"]
    tenth = replace(resolved, id=f"{fingerprint(KEY)[:10]}-9")
    assert fold(tenth, replace(said(2, 0), at=edge + 2 * DEFAULT.reopen)).id.endswith("-10")


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_next_incident_knows_what_was_mended_before_it(by_hand: bool) -> None:  # noqa: FBT001
    """What is derived from the ledger again and again must not count again under the next number."""
    old = said(1, 0)
    incident = fold(None, old)
    incident = resolve(incident, "kim", moment(5), "") if by_hand else fold(incident, passed(2, 5))
    later = fold(incident, said(9, 60 * 48))
    assert (later.id[-2:], days(later)) == ("-2", [9])
    assert days(fold(later, old)) == [9]
    assert days(fold_all(incident, [old, said(9, 60 * 48)])) == [9]


def test_resolved_by_a_person_it_stays_so_until_something_is_judged_anew() -> None:
    reports = [said(1, 0), said(2, 3)]
    over = resolve(folded(*reports), "kim", moment(10), "known, harmless")
    assert (over.state, over.failing, over.story[-1].by) == (State.RESOLVED, (), "kim")
    assert fold_all(over, reports) is over
    late = fold(over, said(7, 9))  # judged before, heard of after
    assert (late.state, late.failing) == (State.RESOLVED, ())
    assert days(fold(late, said(2, 11))) == [2]
    assert days(fold(late, said(7, 11))) == [7]


def test_what_a_clock_that_is_ahead_said_is_resolved_too_and_hides_nothing_new() -> None:
    ahead = said(1, 60)
    over = resolve(fold(None, ahead), "kim", moment(10), "")
    assert (over.failing, fold(over, ahead)) == ((), over)
    assert days(fold(over, said(2, 11))) == [2]
    assert days(fold(over, said(1, 61))) == [1]


def test_its_moments_never_go_back_though_clocks_do() -> None:
    """The newest incident of a fingerprint is the one that was opened last; the store finds it by that."""
    first = folded(said(1, 5000))  # of a clock that is days ahead
    over = resolve(first, "kim", moment(0), "")
    assert over.resolved_at == moment(5000)
    again = fold(over, said(2, 100))
    assert (again.id, again.openings) == (over.id, (moment(5000), moment(5000)))
    ended = resolve(fold(None, said(1, 5000, kind=Kind.STORM)), "kim", moment(0), "")
    following = fold(ended, said(2, 100, kind=Kind.STORM))  # a storm is another one each time
    before, after = ended.opened_at, following.opened_at
    assert before is not None
    assert after is not None
    assert (following.id[-2:], after > before) == ("-2", True)


def test_what_is_told_together_is_told_by_itself_once_it_worsens_or_comes_back() -> None:
    """A storm may be over by then, and nobody would ever hear of it."""
    group = "storm-12345678-1"
    warning = attach(fold(None, said(1, 0, severity=Severity.WARNING)), group)
    assert fold(warning, said(2, 1, severity=Severity.WARNING)).cause == group
    assert fold(warning, said(2, 1)).cause is None
    assert folded(passed(1, 1), said(2, 2), onto=warning).cause is None
    effect = attach(warning, "0123456789-1")
    assert fold(effect, said(2, 1)).cause == "0123456789-1"
    assert folded(passed(1, 1), said(2, 2), onto=effect).cause == "0123456789-1"


def test_a_regression_asks_for_a_new_acknowledgement_but_does_not_end_a_silence() -> None:
    incident = acknowledge(fold(None, said(1, 0)), "kim", moment(1))
    incident = silence(incident, moment(100), "kim", moment(2), "deploying")
    again = folded(passed(1, 5), said(1, 6), onto=incident)
    assert (again.acknowledged, again.silenced) == (None, incident.silenced)
    assert again.is_silenced(moment(99))
    assert not again.is_silenced(moment(100))


def test_people_can_only_change_what_is_open() -> None:
    over = folded(said(1, 0), passed(1, 5))
    with pytest.raises(ValueError, match="is resolved, not open"):
        acknowledge(over, "kim", moment(6))
    with pytest.raises(ValueError, match="is resolved, not open"):
        resolve(over, "kim", moment(6), "")
    with pytest.raises(ValueError, match="is past"):
        silence(fold(None, said(1, 0)), moment(5), "kim", moment(5))


def test_each_material_change_raises_the_revision_and_nothing_else_does() -> None:
    incident = fold(None, said(1, 0, facts=Facts("rows", observed="3")))
    assert incident.revision == 1
    same = fold(incident, said(1, 5, facts=Facts("rows", observed="3")))
    assert (same.revision, same.marks) == (1, {"2026-01-02": replace(incident.marks["2026-01-02"], at=moment(5))})
    assert fold(same, passed(0, 6)).revision == 1
    assert fold(same, said(1, 6, facts=Facts("rows", observed="4"))).revision == 2
    assert fold(same, said(3, 6, facts=Facts("rows", observed="3"))).revision == 2
    assert fold(same, said(1, 6, severity=Severity.WARNING)).story[-1].what == "eased"


def test_new_effects_of_what_was_told_are_a_change_and_fewer_are_not() -> None:
    incident = fold(None, said(1, 0))
    assert with_effects(incident, ("a",), moment(1)).revision == 1
    told = replace(incident, told=Told(1, State.OPEN, Severity.CRITICAL, moment(1), "C", "1"))
    more = with_effects(told, ("a", "b"), moment(2))
    assert (more.revision, more.story[-1].text) == (2, "causes a; b")
    assert with_effects(more, ("b",), moment(3)).revision == 2


def test_of_too_many_windows_the_newest_that_fail_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MARKS", 3)
    failures = [said(day, day, lasting=True) for day in range(9)]
    for incident in (fold_all(None, failures), folded(*failures), folded(*failures[::-1])):
        assert days(incident) == [6, 7, 8]
        assert fold_all(incident, failures) == incident
        mended = [passed(day, 20) for day in (6, 7, 8)]
        assert fold_all(incident, [*failures, *mended]).state is State.OPEN  # the others fail as before
        assert days(fold_all(incident, [*failures, *mended])) == [3, 4, 5]
        assert fold_all(incident, [passed(day, 20) for day in range(9)]).state is State.RESOLVED


@given(reports_of_one_key, st.integers(1, 4))
@settings(max_examples=200)
def test_what_is_forgotten_does_not_change_what_fails(reports: list[Report], marks: int) -> None:
    """In particular a pass that mends something is not forgotten before what it mends."""
    whole = fold_all(None, reports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "MARKS", marks)
        less = fold_all(None, reports)
        assert less.failing == whole.failing[-marks:]
        assert len(less.marks) <= 2 * marks
        assert fold_all(less, reports) == less


def test_the_pass_that_mends_most_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else a failure of before, heard of again, would count."""
    monkeypatch.setattr(folding, "MARKS", 2)
    old = said(1, 5)
    incident = fold_all(None, [old, said(9, 5), passed(2, 9), passed(3, 1), passed(4, 2)])
    assert days(fold(incident, old)) == [9]


def test_of_many_failures_only_the_most_important_are_remembered_word_by_word() -> None:
    incident = fold_all(None, [said(day, day) for day in range(folding.SAID * 3)])
    assert sum(mark.said is not None for mark in incident.marks.values()) == folding.SAID
    assert incident.facts.title == incident.marks[max(incident.marks)].said.facts.title  # type: ignore[union-attr]
    last = folding.SAID * 3 - 1
    rest = [passed(day, 500, lasting=True) for day in range(last - folding.SAID + 1, last + 1)]
    lasting = [said(day, day, lasting=True) for day in range(folding.SAID * 3)]
    assert fold_all(
        fold_all(None, lasting), [*lasting, *rest]
    ).facts.title == f"day {last - folding.SAID} judged at " + str(last - folding.SAID)


def test_a_story_keeps_its_first_and_its_last_events() -> None:
    incident = fold(None, said(0, 0))
    for n in range(1, 100):
        incident = folded(passed(0, 2 * n), said(0, 2 * n + 1), onto=incident)
    assert (len(incident.story), incident.story[0].what, incident.story[-1].revision) == (folding.STORY, "opened", 199)
    assert (len(incident.openings), incident.opened_at) == (folding.STORY, moment(0))


def test_texts_of_any_kind_and_length_can_be_kept() -> None:
    """Data decides what they are: no characters at all, halves of characters, whole files."""
    hostile = Facts("\ud800 \x00 \u202e 日本", observed="x" * 10_000_000, examples=("y" * 10_000_000,) * 999)
    incident = fold_all(None, [said(day, 0, facts=hostile) for day in range(500)])
    assert len(bson.encode(document(incident))) < 8_000_000
    assert incident.facts.title == "\\ud800 \x00 \u202e 日本"
    assert fold(None, said(0, 0, facts=Facts(""))).story[0].text == ""


def test_five_thousand_windows_are_folded_in_no_time() -> None:
    """Twelve years of days that fail at once, again, and are mended."""
    failures = [said(day, day, lasting=bool(day % 2)) for day in range(5_000)]
    mixed = [replace(one, failed=bool(number % 3)) for number, one in enumerate(failures)]
    began = time.process_time()
    incident = fold_all(None, failures)
    assert fold_all(incident, failures) == incident
    assert (
        fold_all(incident, [replace(one, at=one.at + timedelta(days=9), failed=False) for one in failures]).failing
        == ()
    )
    fold_all(None, mixed)
    assert time.process_time() - began < 4


def test_moments_are_kept_to_the_millisecond() -> None:
    assert stored(START + timedelta(microseconds=1999)) == START + timedelta(milliseconds=1)
    incident = fold(None, replace(said(1, 0), at=START + timedelta(microseconds=1999)))
    assert incident.marks["2026-01-02"].at == START + timedelta(milliseconds=1)


def test_marks_are_weighed_by_time_then_by_how_bad_they_are() -> None:
    assert Mark(moment(1), failed=False).weight > Mark(moment(0), failed=True, severity=Severity.CRITICAL).weight
    by_rank = [Mark(moment(0), failed=True, severity=one).weight for one in sorted(Severity, key=lambda one: RANK[one])]
    assert by_rank == sorted(by_rank)


def test_what_was_worse_once_does_not_count_as_raised_by_an_effect() -> None:
    """Nothing of it fails for a moment, as a failure that a later day mends took the place of a lasting one."""
    warning = said(0, 7, severity=Severity.WARNING)
    after = folded(said(0, 1, lasting=True), passed(1, 5), said(0, 2), warning)
    assert (after.failing, after.severity) == (("2026-01-01",), Severity.WARNING)


def test_what_it_causes_makes_it_worse_as_long_as_it_lasts() -> None:
    """More of what was found of itself, by that time, changes nothing of it; once it is over nothing is left of it."""
    found = folded(said(0, 1, severity=Severity.WARNING))
    worse = raised(found, Severity.CRITICAL, moment(2))
    assert raised(worse, Severity.CRITICAL, moment(3)) == worse
    more = folded(said(1, 4, severity=Severity.WARNING), onto=worse)
    assert (more.severity, more.found) == (Severity.CRITICAL, Severity.WARNING)
    eased = raised(more, Severity.INFO, moment(5))
    assert (eased.severity, [one.what for one in eased.story]) == (
        Severity.WARNING, ["opened", "worsened", "changed", "eased"],
    )  # fmt: skip
    again = folded(passed(1, 6), passed(0, 6), said(0, 8, severity=Severity.WARNING), onto=worse)
    assert (again.severity, again.openings[1:]) == (Severity.WARNING, (moment(8),))
