"""The backtest: which alarms are one alert, what does not count, and that nothing is judged by what came later."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from quality.detector.backtest import grouped, replay
from quality.detector.history import Panelled, Window
from quality.detector.panel import Measure, Nature, Options, Stream
from quality.detector.said import Said, Says
from quality.detector.selftest import PLACES, Trial, anchors, selftest
from tests.harness import NOW

START = date(2026, 1, 5)
"""A Monday."""
MEASURES = (
    Measure("rows", Nature.COUNT, volume=True),
    Measure("null_ratio.author", Nature.RATIO, behind="rows"),
    Measure("freshness_seconds", Nature.DURATION),
)
FALLEN = 120
SINCE = START + timedelta(days=112)


def panelled(scope: str, seed: int, windows: int = 140, rows: float = 200.0) -> Panelled:
    """A well-behaved stream: five days of work and a weekend."""
    rng = np.random.default_rng(seed)
    weekday = (np.arange(windows) % 7) < 5
    count = rng.poisson(np.where(weekday, rows, rows / 5)).astype(float)
    nulls = rng.binomial(np.maximum(count, 1).astype(int), 0.05) / np.maximum(count, 1)
    values = np.column_stack([count, nulls, rng.gamma(4, 900, windows)])
    stream = Stream(f"silver.changes|{scope}", START, MEASURES, values)
    return Panelled("silver.changes", scope, stream, (Window.KNOWN,) * windows)


def fallen(of: Panelled, *rows: int) -> Panelled:
    """The same with nothing in these windows."""
    values = of.stream.values.copy()
    values[list(rows), 0] = 0
    values[list(rows), 1] = np.nan
    values[list(rows), 2] += 86_400
    return replace(of, stream=replace(of.stream, values=values))


@pytest.mark.parametrize(
    ("alarm", "sighted", "expected"),
    [
        ("....", "xxxx", []),
        (".!!.", "xxxx", [(1, 2)]),
        ("!..!", "xxxx", [(0,), (3,)]),
        ("!..!", "x..x", [(0, 3)]),  # what could not be judged ends nothing
        ("..!!", "xxxx", [(2, 3)]),
        ("!.!.", "x.xx", [(0, 2)]),
    ],
)
def test_alarms_without_a_pass_between_them_are_one_alert(
    alarm: str, sighted: str, expected: list[tuple[int, ...]]
) -> None:
    """As with incidents: only a window that was judged, and passed, ends one."""
    flags = (np.array([one == "!" for one in alarm]), np.array([one == "x" for one in sighted]))
    assert [one.rows for one in grouped(*flags, np.arange(4.0))] == expected


def test_the_strangest_window_stands_for_the_alert() -> None:
    flags = np.array([True, True, True])
    (alert,) = grouped(flags, flags, np.array([1.0, 9.0, 9.0]))
    assert alert.worst == 1


def test_a_fall_is_one_alert_of_its_series_and_no_other() -> None:
    histories = [panelled("a", 1), fallen(panelled("b", 2), FALLEN, FALLEN + 1), panelled("c", 3)]
    found = {one.of.scope: one for one in replay(histories, Options(), SINCE)}
    (alert,) = (one for one in found["b"].alerts if FALLEN in one.rows)
    assert alert.rows[:2] == (FALLEN, FALLEN + 1)
    assert found["b"].day(alert.worst) in {START + timedelta(days=FALLEN), START + timedelta(days=FALLEN + 1)}
    assert FALLEN not in {row for scope in "ac" for alert in found[scope].alerts for row in alert.rows}
    assert all(one.judged == 28 for one in found.values())


def test_what_was_said_or_may_still_grow_has_no_alert() -> None:
    """It is replayed by what is known now: who has said that a day was expected is not told of it again."""
    one = fallen(panelled("b", 2), FALLEN, 139)
    states = (*one.states[:139], Window.OPEN)
    day = START + timedelta(days=FALLEN)
    said = Said(Says.EXPECTED, one.dataset, one.scope, day, day, (), "me", NOW)
    (found,) = replay([replace(one, states=states)], Options(), SINCE, [said])
    rows = {row for alert in found.alerts for row in alert.rows}
    assert (FALLEN in rows, 139 in rows, found.judged) == (False, False, 27)
    (other,) = replay([replace(one, states=states)], Options(), SINCE, [replace(said, scope="another")])
    assert FALLEN in {row for alert in other.alerts for row in alert.rows}


def test_nothing_is_judged_by_what_came_later() -> None:
    """The law that a backtest stands on: cut the history off, and the days before the cut are judged the same."""
    histories = [panelled("a", 1), fallen(panelled("b", 2), FALLEN)]
    cut = [
        replace(one, stream=replace(one.stream, values=one.stream.values[:126]), states=one.states[:126])
        for one in histories
    ]
    whole = replay(histories, Options(), SINCE)
    for before, after in zip(replay(cut, Options(), SINCE), whole, strict=True):
        np.testing.assert_array_equal(before.alarm, after.alarm[:126])
        np.testing.assert_array_equal(before.judgement.score, after.judgement.score[:126])


def test_a_history_that_is_too_short_is_blind_and_never_silent() -> None:
    (found,) = replay([panelled("a", 1, windows=3)], Options())
    assert (found.judged, found.blind, found.alerts, found.per_quarter) == (0, 3, (), None)


@pytest.fixture(scope="module")
def tried() -> list[Trial]:
    histories = [panelled("a", 1), panelled("b", 2), panelled("sparse", 3, rows=1.0), panelled("new", 4, windows=3)]
    first = START + timedelta(days=84)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quality.detector.selftest.PLACES", 1)  # it is the fits that take time
        return list(selftest(replay(histories, Options(), first), Options(), first))


def test_a_blatant_fault_is_found_in_a_plain_history(tried: list[Trial]) -> None:
    """Two hundred rows a day, and then none in a week: who does not find that finds nothing."""
    after = [one.after for one in tried if one.fault.name == "gap" and one.scope in {"a", "b"}]
    assert len(after) == 2
    assert None not in after


def test_what_changes_nothing_is_not_counted(tried: list[Trial]) -> None:
    assert {one.scope for one in tried} == {"a", "b", "sparse"}
    assert not [one for one in tried if one.fault.name in {"unit", "category"}]  # no mean, no share is measured


def test_a_fault_is_found_in_its_own_time(tried: list[Trial]) -> None:
    assert all(one.after is None or 0 <= one.after < one.fault.lasts for one in tried)
    shown = [(one.fault.name, one.dataset) for one in tried if one.shown]
    assert len(shown) == len(set(shown)) == len({one.fault.name for one in tried})


def test_another_seed_chooses_other_places_and_the_same_one_the_same() -> None:
    clean = replay([panelled("a", 1)], Options(), START + timedelta(days=84))
    chosen = [anchors(clean, START, seed) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == PLACES


def test_no_fault_is_put_where_there_is_an_alarm_without_it() -> None:
    """It would count as found whatever the detector thinks of it."""
    (clean,) = replay([panelled("a", 1)], Options(), START + timedelta(days=84))
    always = replace(clean, alarm=clean.sighted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quality.detector.selftest.inject", lambda *_: pytest.fail("there is no such place"))
        assert list(selftest([always], Options(), START)) == []
