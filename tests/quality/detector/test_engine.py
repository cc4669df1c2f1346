"""What the detector finds, what it leaves alone, and what it learns from."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from quality.detector.engine import MIN_HISTORY, Judgement, judge
from quality.detector.evidence import FEATURES
from quality.detector.panel import Change, Nature, Options, Stream
from tests.quality.detector.made import MONDAY, column, made, only, with_value

WEDNESDAY = 121 // 7 * 7 + 2  # row 121
FEW = 5


def last(*streams: Stream, days: int = 3, options: Options | None = None) -> list[Judgement]:
    """Judgements of the last windows."""
    end = max(stream.start + timedelta(days=stream.windows) for stream in streams)
    return judge(streams, options or Options(), since=end - timedelta(days=days))


@pytest.mark.parametrize(
    ("measure", "value", "drivers"),
    [
        ("rows", 0.0, {"today", "zero"}),
        ("rows", 6.0, {"today"}),
        ("rows", 6000.0, {"today"}),
        ("authors", 1.0, {"today"}),
        ("null", 0.6, {"today"}),
        ("hours", 20.0 / 3600, {"today"}),
        ("hours", 0.0, {"today"}),
        ("change", 9.0, {"today"}),
    ],
)
def test_a_broken_day_alarms_and_the_broken_measure_is_blamed(measure: str, value: float, drivers: set[str]) -> None:
    stream = with_value(made(days=WEDNESDAY + 1), WEDNESDAY, measure, value)
    told = last(stream)[0]
    at = column(stream, measure)
    assert told.alarm[-1]
    assert told.rarity[-1] >= 1
    assert np.nanargmax(told.cells[-1]) == at
    assert FEATURES[told.drivers[-1, at]] in drivers
    assert not told.low[-1, at] <= value <= told.high[-1, at]


def test_a_broken_day_is_over_when_the_next_one_strays_the_other_way() -> None:
    """What has been added up over the last days is no alarm by itself: it must go on."""
    stream = with_value(made(days=WEDNESDAY + 2), WEDNESDAY, "rows", 0.0)
    usual = int(np.median(stream.values[WEDNESDAY + 1 - 28 : WEDNESDAY + 1 : 7, column(stream, "rows")]))
    told = last(with_value(stream, -1, "rows", usual + 15.0))[0]
    assert told.alarm[-2]
    rows = told.drivers[-1, column(stream, "rows")]
    assert FEATURES[rows] not in {"three", "week"}
    low = last(with_value(stream, -1, "rows", usual / 2))[0]
    assert low.cells[-1, column(stream, "rows")] > told.cells[-1, column(stream, "rows")]


def test_a_null_ratio_of_a_few_rows_is_no_evidence() -> None:
    """One null of two rows is not what forty of eighty are."""
    stream = with_value(made(days=WEDNESDAY + 1), slice(WEDNESDAY - 1, None), "rows", 2.0)
    values = stream.values.copy()
    values[-1, [column(stream, "null"), column(stream, "authors")]] = 0.5, 2.0
    told = last(replace(stream, values=values))[0]
    many = last(with_value(made(days=WEDNESDAY + 1), -1, "null", 0.5))[0]
    at = column(stream, "null")
    assert many.cells[-1, at] > told.cells[-1, at] + 0.1


def test_ordinary_days_keep_the_budget() -> None:
    """Four weeks of twelve streams: 3.7 false alarms were allowed; those of one stream in a row count once."""
    told = last(*(made(f"s{seed}", 84, seed) for seed in range(12)), days=28)
    alarms = sum(int((np.diff(one.alarm[55:].astype(int)) == 1).sum()) for one in told)
    assert alarms <= 2 * FEW


def test_a_copy_of_yesterday_is_stale() -> None:
    stream = made(days=WEDNESDAY + 1)
    stream.values[-1] = stream.values[-2]
    told = last(stream)[0]
    assert told.alarm[-1]
    assert FEATURES[told.drivers[-1, column(stream, "rows")]] == "stale"


def test_what_lasts_alarms_though_no_day_of_it_would() -> None:
    """Nulls at 12 % instead of 5 %."""
    stream = made(days=WEDNESDAY + 1)
    once = last(with_value(stream, -1, "null", 0.12))[0]
    lasting = last(with_value(stream, slice(-7, None), "null", 0.12))[0]
    assert not once.alarm[-1]
    assert lasting.alarm[-1]
    assert FEATURES[lasting.drivers[-1, column(stream, "null")]] in {"three", "week"}


def test_what_teaches_nothing_does_not_change_tomorrow() -> None:
    stream = made(days=WEDNESDAY + 1)
    teaches = np.ones(stream.values.shape, bool)
    teaches[-2] = False
    broken = replace(stream, values=np.vstack([stream.values[:-2], [[0, 0, 1, 900, 70]], stream.values[-1:]]))
    told = [last(replace(one, teaches=teaches))[0] for one in (stream, broken)]
    for name in ("expected", "low", "high", "history"):
        np.testing.assert_array_equal(getattr(told[0], name)[-1], getattr(told[1], name)[-1])
    assert told[1].alarm[-2]


def test_an_incident_that_nobody_marked_does_not_move_tomorrow_either() -> None:
    """Five days without a row."""
    stream = made(days=WEDNESDAY + 1)
    at = column(stream, "rows")
    calm, broken = (last(one)[0] for one in (stream, with_value(stream, slice(-6, -1), "rows", 0.0)))
    assert abs(broken.expected[-1, at] - calm.expected[-1, at]) < 0.05 * calm.expected[-1, at]


def test_a_shift_alarms_teaches_nothing_for_three_weeks_and_then_is_normal() -> None:
    """Somebody changed the unit of a duration."""
    stream = made(days=91)
    at = column(stream, "hours")
    values = stream.values.copy()
    values[60:, at] *= 100
    told = last(replace(stream, values=values), days=35, options=Options(learn_shift_after=21))[0]
    assert told.alarm[60:72].all()
    assert (told.expected[60:81, at] < 40).all()
    assert (told.expected[81:, at] > 1000).all()
    assert not told.alarm[81:].any()


def test_an_announced_change_is_normal_at_once() -> None:
    stream = made(days=70)
    values = stream.values.copy()
    values[60:, column(stream, "hours")] *= 100
    change = Change(MONDAY + timedelta(days=60), frozenset({"hours"}))
    told = last(replace(stream, values=values, changes=(change,)), days=12)[0]
    assert not told.alarm[60:].any()
    assert told.expected[-1, column(stream, "hours")] > 600
    assert last(replace(stream, values=values), days=12)[0].alarm[60:].any()


def test_on_a_holiday_the_value_may_look_like_a_sunday() -> None:
    stream = with_value(with_value(made(days=WEDNESDAY + 1), -1, "rows", 10.0), -1, "authors", 4.0)
    free = replace(stream, holidays=frozenset({MONDAY + timedelta(days=WEDNESDAY)}))
    assert last(stream)[0].alarm[-1]
    told = last(free)[0]
    assert not told.alarm[-1]
    assert told.cells[-1, 0] < 0.3  # nothing strange at all
    assert told.low[-1, 0] <= 10 <= told.high[-1, 0]


def test_all_fall_together_is_a_holiday_and_one_alone_is_not() -> None:
    def sources(fallen: int) -> list[Stream]:
        every = [made(f"s{n}", WEDNESDAY + 1, n, source=f"forge{n}") for n in range(4)]
        return [with_value(one, -1, "rows", 9.0) if n < fallen else one for n, one in enumerate(every)]

    rows = 0
    alone, together = last(*sources(1))[0], last(*sources(4))[0]
    assert alone.alarm[-1]
    assert (together.quiet[-1], alone.quiet[-1]) == (True, False)
    assert together.cells[-1, rows] < alone.cells[-1, rows]
    assert together.low[-1, rows] <= 9 <= together.high[-1, rows]
    assert last(*sources(2))[0].alarm[-1]


def test_sources_without_a_name_are_no_witnesses() -> None:
    told = last(*(with_value(made(f"s{n}", WEDNESDAY + 1, n), -1, "rows", 9.0) for n in range(4)))
    assert all(one.alarm[-1] for one in told)


@pytest.mark.parametrize(
    ("rows", "alarm"),
    [
        ([50, 60, 40, 0], True),
        ([50, 60, 40, 30], False),
        ([2, 1, 3, 0], False),  # a zero is nothing special among so few
        ([50, 60, 0], False),  # two windows are no history
        ([50, 60, 40, 55, 50, 0], False),  # the first Saturday
    ],
)
def test_while_blind_only_a_fall_to_nothing_alarms(rows: list[float], *, alarm: bool) -> None:
    told = judge([only(Nature.COUNT, rows, volume=True)])[0]
    assert told.alarm[-1] == alarm
    if len(rows) <= MIN_HISTORY:
        assert np.isnan(told.score).all()
        assert told.blind.all()
        assert not alarm or told.rarity[-1] >= 1


WEEKS = np.arange(140)
ODD = {
    "zeros and ones": (Nature.COUNT, np.where(WEEKS % 3 == 0, 1.0, 0.0)),
    "only Mondays": (Nature.COUNT, np.where(WEEKS % 7 == 0, 40.0 + WEEKS % 5, np.nan)),
    "gaps": (Nature.DURATION, np.where(WEEKS % 4 == 1, np.nan, 3.0 + WEEKS % 3)),
    "constant": (Nature.NUMBER, np.full(140, 7.0)),
    "always zero, a number": (Nature.NUMBER, np.zeros(140)),
    "always zero, a duration": (Nature.DURATION, np.zeros(140)),
    "always zero, a ratio": (Nature.RATIO, np.zeros(140)),
    "always one": (Nature.RATIO, np.ones(140)),
    "one value": (Nature.COUNT, np.array([3.0])),
    "nothing seen": (Nature.COUNT, np.full(20, np.nan)),
    "no window": (Nature.COUNT, np.zeros(0)),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_series_has_a_sane_answer(name: str) -> None:
    told = last(only(*ODD[name]), days=14)[0]
    assert not told.alarm.any()
    known = np.isfinite(told.low)
    assert known.any() == np.isfinite(told.score).any()
    assert np.isfinite(told.expected[known]).all()
    assert (told.low[known] <= told.expected[known]).all()
    assert (told.expected[known] <= told.high[known]).all()
    assert np.isfinite(told.high[known]).all()
    assert (told.low[known] >= 0).all() or ODD[name][0] is Nature.NUMBER
    assert (told.high[known] <= 1).all() or ODD[name][0] is not Nature.RATIO


@pytest.mark.parametrize("name", ["only Mondays", "constant", "always zero, a ratio", "always zero, a duration"])
def test_and_an_odd_series_that_breaks_alarms(name: str) -> None:
    nature, values = ODD[name]
    broken = values[:134].copy()
    broken[-1] = 1.0 if nature is Nature.RATIO else 400.0
    assert last(only(nature, broken), days=1)[0].alarm[-1]


def test_rarity_says_the_same_as_the_alarm_and_rises_with_the_score() -> None:
    told = judge([with_value(made(days=60), 50, "null", 0.7)])[0]
    scored = np.isfinite(told.score)
    assert (told.alarm == (np.nan_to_num(told.rarity) >= 1)).all()
    np.testing.assert_array_equal(told.score[scored], np.nanmax(told.cells[scored], axis=1))
    week = slice(49, 56)  # one forest
    order = np.argsort(told.score[week])
    assert (np.diff(told.rarity[week][order]) >= 0).all()


def test_a_larger_budget_alarms_more() -> None:
    stream = made(days=100)
    few, many = (last(stream, days=20, options=Options(budget))[0] for budget in (0.1, 20.0))
    assert few.alarm.sum() < many.alarm.sum()
    assert (few.high[-1] >= many.high[-1]).all()
