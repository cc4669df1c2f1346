"""The detector of points: what it must never do, whatever the series, and what it must find."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.detector import points
from quality.detector.panel import FloatArray
from quality.detector.points import PointJudgement, judge_points
from quality.detector.points_evidence import BLIND, EVIDENCE, Times
from quality.detector.points_tail import DECADE, MOST, running, so_far, surprise, trailing

START = np.datetime64("2026-01-05T00:00:00", "s")
HOUR = np.timedelta64(3600, "s")


@pytest.fixture(autouse=True, scope="module")
def one_forest() -> Iterator[None]:
    """Quicker, and what is tested here holds for any number of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "FORESTS", 1)
        yield


def hourly(length: int) -> Times:
    return START + np.arange(length) * HOUR


def noise(length: int, seed: int = 0) -> FloatArray:
    return np.asarray(100 + np.random.default_rng(seed).normal(0, 5, length))


def daily(length: int) -> FloatArray:
    return np.asarray(noise(length) + 50 * np.sin(np.arange(length) * 2 * np.pi / 24))


def same(one: PointJudgement, two: PointJudgement, first: int | None = None) -> None:
    for name in ("score", "fresh", "alarm", "expected", "low", "high", "evidence"):
        np.testing.assert_array_equal(getattr(one, name)[:first], getattr(two, name)[:first])


@pytest.mark.parametrize("cut", [100, 331])
def test_what_comes_later_changes_nothing(cut: int) -> None:
    values = daily(400)
    values[300] = 500
    whole = judge_points(hourly(400), values)
    same(judge_points(hourly(cut), values[:cut]), whole, cut)
    values[cut:] = -1e6
    times = hourly(400)
    times[cut:] = times[cut] + np.arange(400 - cut) * np.timedelta64(1, "s")  # the cadence changes, too
    same(judge_points(times, values), whole, cut)


def test_the_same_points_have_the_same_answer() -> None:
    same(judge_points(hourly(200), noise(200)), judge_points(hourly(200), noise(200)))


def test_a_spike_a_fall_and_a_peak_at_night_stand_out() -> None:
    values = daily(800)
    values[500] += 60
    values[600:606] = 20
    values[714:716] = 150  # as at noon: ordinary, but not at this hour
    judged = judge_points(hourly(800), values)
    assert judged.alarm[500]
    assert judged.alarm[600:603].any()
    rest = np.ones(800, np.bool_)
    rest[:300] = rest[500:510] = rest[600:610] = rest[714:720] = False
    assert judged.score[714] > np.quantile(judged.score[rest], 0.99)
    quiet = judged.alarm.copy()
    quiet[500:510] = quiet[600:640] = quiet[714:740] = False
    assert quiet.sum() <= 8
    assert EVIDENCE[int(np.argmax(judged.evidence[500]))] in {
        "residual", "residual, recently", "day", "step", "step, recently", "level", "level, recently",
    }  # fmt: skip


def test_one_event_is_told_once() -> None:
    values = noise(400)
    values[300:310] = 200
    judged = judge_points(hourly(400), values)
    assert judged.alarm[300]
    assert judged.alarm[301:310].sum() <= 2
    assert (judged.score[300:305] > 1).all()  # still strange, only not news


def test_a_pattern_of_another_length_can_be_named() -> None:
    values = noise(400) + np.where(np.arange(400) % 10 < 4, 300.0, 0.0)
    values[300:304] = 100  # it fails to come
    judged = judge_points(hourly(400), values, season=timedelta(hours=10))
    assert abs(judged.expected[301] - 400) < 20
    assert judged.alarm[300:304].any()
    assert judged.alarm[200:300].sum() <= 2


def test_a_constant_series_is_quiet_until_it_changes() -> None:
    values = np.full(300, 7.0)
    assert not judge_points(hourly(300), values).alarm.any()
    values[250:] = 8
    judged = judge_points(hourly(300), values)
    assert judged.alarm[250]
    assert judged.alarm.sum() == 1
    assert (judged.expected[:250] == 7).all()


def test_a_series_that_stops_changing_is_strange() -> None:
    values = noise(500)
    values[400:] = values[399]
    assert judge_points(hourly(500), values).evidence[410, EVIDENCE.index("constant")] > 2


def test_too_little_history_is_blind_and_blind_never_alarms() -> None:
    values = noise(BLIND + 5)
    values[10] = values[BLIND - 1] = 1e9
    judged = judge_points(hourly(len(values)), values)
    assert np.isnan(judged.score[:BLIND]).all()
    assert not judged.alarm[:BLIND].any()
    assert np.isfinite(judged.score[BLIND:]).all()


@pytest.mark.parametrize("length", [0, 1, 2, BLIND])
def test_short_series_have_an_answer(length: int) -> None:
    judged = judge_points(hourly(length), noise(length))
    assert len(judged.score) == length
    assert judged.evidence.shape == (length, len(EVIDENCE))
    assert not judged.alarm.any()


def test_a_missing_value_has_no_opinion_and_teaches_nothing() -> None:
    values, times = noise(300), hourly(300)
    gone = np.array([120, 121, 122, 250])
    values[gone] = np.nan
    judged = judge_points(times, values)
    assert np.isnan(judged.score[gone]).all()
    assert not judged.alarm[gone].any()
    kept = np.isfinite(values)
    np.testing.assert_array_equal(judged.score[kept], judge_points(times[kept], values[kept]).score)


def test_nothing_but_missing_values_has_an_answer() -> None:
    assert np.isnan(judge_points(hourly(100), np.full(100, np.nan)).score).all()


def test_gaps_repeated_times_and_uneven_steps_are_judged() -> None:
    rng = np.random.default_rng(0)
    seconds = np.sort(rng.choice(400 * 3600, 400))
    seconds[200:] += 40 * 86400
    seconds[100] = seconds[101]
    judged = judge_points(START + seconds.astype("timedelta64[s]"), noise(400))
    assert np.isfinite(judged.score[BLIND:]).all()
    assert np.isfinite(judge_points(np.full(100, START), noise(100)).score[BLIND:]).all()


@pytest.mark.parametrize("unit", [0.001, 1e9])
def test_the_unit_does_not_matter(unit: float) -> None:
    values = daily(300)
    values[250] = 500
    one, other = judge_points(hourly(300), values), judge_points(hourly(300), values * unit)
    np.testing.assert_array_equal(one.alarm, other.alarm)
    np.testing.assert_allclose(one.score, other.score, atol=0.1)
    np.testing.assert_allclose(one.expected * unit, other.expected)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12) | st.just(0.0) | st.just(float("nan")), min_size=80, max_size=140))
def test_whatever_the_values_the_answer_is_sane(numbers: list[float]) -> None:
    values = np.array(numbers)
    judged = judge_points(hourly(len(values)), values)
    known = np.isfinite(values)
    assert not np.isfinite(judged.score[~known]).any()
    assert np.isfinite(judged.score[known][BLIND:]).all()
    assert ((judged.score[known][BLIND:] >= 0) & (judged.score[known][BLIND:] <= MOST / DECADE)).all()
    assert (judged.low[known] <= judged.expected[known]).all()
    assert (judged.expected[known] <= judged.high[known]).all()
    assert (judged.fresh | ~judged.alarm).all()


@pytest.mark.parametrize(
    ("times", "values", "season", "text"),
    [
        (hourly(3)[::-1], np.zeros(3), None, "must not decrease"),
        (np.array([START, np.datetime64("NaT")]), np.zeros(2), None, "must be there"),
        (hourly(3), np.zeros(2), None, "equal length"),
        (hourly(4), np.zeros((4, 1)), None, "equal length"),
        (hourly(2), np.array([1.0, np.inf]), None, "infinite"),
        (hourly(2), np.zeros(2), timedelta(0), "longer than nothing"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    times: Times, values: FloatArray, season: timedelta | None, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        judge_points(times, values, season=season)


def test_surprise_is_the_share_of_the_past_and_grows_beyond_it() -> None:
    values = np.concatenate([np.random.default_rng(0).exponential(1, 4000), [2.0, 12.0, 13.0, 1e9, np.nan]])
    tail = surprise(values, None)
    assert tail[4000] == pytest.approx(2.0, abs=0.1)  # exponential: -ln of the share is the value
    assert tail[4001] == pytest.approx(12.0, rel=0.15)
    assert tail[4002] > tail[4001]
    assert tail[4003] == MOST
    assert tail[4004] == 0


@pytest.mark.parametrize("width", [3, 12, 50])
def test_trailing_quantiles_are_of_what_was_before(width: int) -> None:
    values = noise(100)
    values[40:44] = np.nan
    (middle,) = trailing(values, width, 0.5)
    for at in range(width, 100, max(1, width // 24)):
        before = values[at - width : at]
        if np.isfinite(before).sum() >= 3:
            assert middle[at] == pytest.approx(np.nanmedian(before))
    assert so_far(values, 0.5)[24] == pytest.approx(np.nanmedian(values[:24]))
    np.testing.assert_allclose(running(np.ones(5), 3), [1, 2, 3, 3, 3])
