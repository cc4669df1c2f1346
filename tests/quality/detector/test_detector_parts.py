"""The formulas, against the distributions they stand for, and the pieces that decide."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from quality.detector import calibration, evidence, location, transforms
from quality.detector.expectation import Walker
from quality.detector.layout import blocks
from quality.detector.panel import QUARTER, Harm, Measure, Nature, Options, Stream
from quality.detector.repeats import constancy, stale
from quality.detector.rolling import before, windowed
from quality.detector.zeros import unmistakable
from tests.quality.detector.made import made, only


@given(st.floats(0, 1e6))
def test_a_count_and_a_ratio_come_back_from_their_scale(x: float) -> None:
    assert transforms.count_value(transforms.count_scale(np.array([x])))[0] == pytest.approx(x, rel=1e-6, abs=1e-6)
    assert transforms.ratio_value(transforms.arc(np.array([x / 1e6])))[0] == pytest.approx(x / 1e6, abs=1e-9)


@pytest.mark.parametrize("x", [0, 3, 19, 21, 60, 200])
def test_a_count_is_as_rare_as_the_negative_binomial_says(x: int) -> None:
    """At a scale of 1 its variance is that of OVERDISPERSION."""
    size = 1 / transforms.OVERDISPERSION
    law = stats.nbinom(size, size / (size + 20))
    tail = law.sf(x) + law.pmf(x) / 2 if x > 20 else law.cdf(x) - law.pmf(x) / 2
    told = transforms.count_deviation(np.array([float(x)]), np.array([20.0]), np.array([1.0]))[0]
    assert told == pytest.approx((1 if x > 20 else -1) * max(-stats.norm.ppf(tail), 0), abs=1e-6)


@pytest.mark.parametrize("nulls", [0, 1, 5, 20, 50])
def test_a_ratio_is_as_rare_as_the_binomial_says(nulls: int) -> None:
    law = stats.binom(50, 0.1)
    tail = law.sf(nulls) + law.pmf(nulls) / 2 if nulls >= 5 else law.cdf(nulls) - law.pmf(nulls) / 2
    told = transforms.ratio_deviation(np.array([nulls / 50]), np.array([0.1]), np.array([50.0]))[0]
    assert told == pytest.approx((1 if nulls >= 5 else -1) * max(-stats.norm.ppf(tail), 0), abs=1e-6)


@pytest.mark.parametrize("t", [-12.0, -2.0, 0.0, 1.0, 4.0])
def test_a_duration_is_as_rare_as_student_says(t: float) -> None:
    told = transforms.student_deviation(np.array([t]), 10.0)[0]
    assert told == pytest.approx(np.sign(t) * -stats.norm.ppf(stats.t(10).sf(abs(t))), abs=0.05)


def test_the_threshold_is_that_of_the_ordinary_whatever_the_incidents() -> None:
    """One stream-window in twenty is an incident: an eighth more score at most, where a quantile would be far off."""
    ordinary = 0.35 + np.random.default_rng(0).exponential(0.02, 8000)
    incidents = np.full(400, 0.8)
    told = calibration.calibrated(np.concatenate([ordinary, incidents]), 0.5, 1.0).score
    wanted = 0.35 + 0.02 * np.log(QUARTER / calibration.LASTS)
    assert wanted - 0.01 < told < 1.05 * wanted
    assert calibration.calibrated(np.zeros(0), 0.5, 1.0).score == 0.5


def test_a_calm_installation_has_the_threshold_of_its_own_tail() -> None:
    """Where most stream-windows are plain, the tail begins far out; what is below it says nothing of its steepness."""
    rng = np.random.default_rng(0)
    plain, tail = rng.uniform(0, calibration.PLAIN_SCORE, 6000), 0.35 + rng.exponential(0.02, 2000)
    told = calibration.calibrated(np.concatenate([plain, tail]), 0.5, 1.0).score
    assert told == pytest.approx(0.35 + 0.02 * np.log(QUARTER / calibration.LASTS / 4), rel=0.05)


def test_days_off_do_not_age_what_nobody_is_expected_to_make() -> None:
    start, day = date(2026, 1, 5), 86_400.0
    ages = np.array([1000.0, 1000 + day, 1000 + 2 * day, 1000 + 3 * day, 500.0])[:, None]
    measure = Measure("freshness_seconds", Nature.DURATION, harm=Harm.RISE, ages=day)
    off = frozenset({start + timedelta(days=2), start + timedelta(days=4)})
    (block,) = blocks([Stream("api", start, (measure,), ages, holidays=off)], 100)
    np.testing.assert_array_equal(block.values[:, 0], [1000, 1000 + day, 1000 + day, 1000 + 2 * day, 500])
    np.testing.assert_array_equal(block.off[:, 0], [0, 0, day, day, 0])


def test_a_first_event_after_a_long_time_without_any_is_no_broken_constant() -> None:
    seldom = [0.0] * 30 + [1.0]
    assert constancy(*blocks([only(Nature.COUNT, seldom)], 100))[-1, 0] == 0
    assert constancy(*blocks([only(Nature.RATIO, seldom)], 100))[-1, 0] > 3
    assert constancy(*blocks([only(Nature.COUNT, [4.0] * 30 + [5.0])], 100))[-1, 0] > 3


@pytest.mark.parametrize(("rows", "is_surprise"), [(2.0, False), (40.0, True)])
def test_one_row_that_is_unlike_all_others_is_no_broken_constant(rows: float, *, is_surprise: bool) -> None:
    measures = (Measure("failed", Nature.RATIO, "rows"), Measure("rows", Nature.COUNT))
    values = np.column_stack([[0.0] * 30 + [0.5], [rows] * 31])
    (block,) = blocks([Stream("api", date(2026, 1, 5), measures, values)], 100)
    assert bool(constancy(block)[-1, 0] > 3) is is_surprise


def test_rolling_sums_know_only_what_is_behind_them() -> None:
    a = np.arange(6.0)[:, None]
    np.testing.assert_array_equal(windowed(a, 3)[:, 0], [0, 1, 3, 6, 9, 12])
    np.testing.assert_array_equal(before(a)[:, 0], [0, 0, 1, 2, 3, 4])


def test_a_few_wild_values_do_not_move_the_level() -> None:
    data = np.concatenate([np.full(20, 5.0), np.full(4, 500.0)])[:, None]
    ones, no = np.ones_like(data), np.zeros(1, bool)
    assert location.median(data, ones > 0)[0] == 5
    near = location.weighted_mean(np.clip(data, 0, 20), ones, no)
    assert location.located(data, ones, near, ones, no)[0] == pytest.approx(5, abs=near[0] - 5 - 0.5)


def test_a_number_that_never_changed_and_does_is_a_surprise_that_grows_with_the_run() -> None:
    block = blocks([only(Nature.NUMBER, [1, 2, 2, 2, 2, 2, 2, 2, 2, 9, 9])], 10)[0]
    told = constancy(block)[block.offset[0] :, 0]
    assert np.flatnonzero(told).tolist() == [9]
    assert told[9] == pytest.approx(np.log1p(7 - 3))


def test_two_equal_windows_are_no_copy_where_they_are_usual() -> None:
    """A table that nobody writes to at weekends repeats itself every Sunday."""
    usual, seldom = made("a", 40), made("b", 40)
    usual.values[6::7] = usual.values[5::7][: len(usual.values[6::7])]
    seldom.values[34] = seldom.values[33]
    told = [stale(block)[34].max() for block in (blocks([one], 10)[0] for one in (usual, seldom))]
    assert told[0] < 3
    assert told[1] > 8


def test_the_rule_for_the_blind_wants_three_days_of_the_kind_and_enough_rows() -> None:
    block = blocks([only(Nature.COUNT, [40, 30, 20, 0, 0], volume=True)], 10)[0]
    told = unmistakable(block, 1.0)[:, 0]
    assert told[:3].tolist() == [0, 0, 0]
    assert told[3] == pytest.approx((1 + 0.5 * 20) ** 2 / QUARTER)
    assert told[4] == 0  # a zero before: zeros happen


def test_what_the_first_weekend_left_open_is_known_after_some() -> None:
    """Of a count nothing is known of a free day that never was; a ratio hardly differs between days."""
    count, ratio = np.zeros(1, np.int64), np.ones(1, np.int64)
    none, eight = (location.doubt(np.ones((rows, 1)), 7, count)[:, 0] for rows in (0, 56))
    assert none[0] == pytest.approx(1 / location.DAY_PRIOR[0])
    assert none[6] == pytest.approx(none[0] + 1 / location.REST_PRIOR[0])
    assert eight.max() < 0.2
    assert location.doubt(np.ones((0, 1)), 7, ratio).max() < none[0]
    assert not location.doubt(np.ones((5, 1)), 1, count).any()


def test_a_quiet_weekend_does_not_change_what_busy_days_let_expect() -> None:
    """Distinct authors, given the rows: twelve of them on each of the busy days before and after it."""
    rows = [400.0] * 5 + [4.0, 4.0] + [400.0] * 5
    measures = (Measure("rows", Nature.COUNT, volume=True), Measure("authors", Nature.COUNT, "rows"))
    values = np.column_stack([rows, [12.0 if busy > 4 else 1.0 for busy in rows]])
    (block,) = blocks([Stream("api", date(2026, 1, 5), measures, values)], 100)
    walk = Walker(block, Options()).walk()
    told = np.exp(walk.level + walk.season + walk.shift)[:, 0]
    assert told[7] == pytest.approx(12, rel=0.1)


def test_free_days_are_learnt_though_the_first_of_them_were_holidays() -> None:
    """They are far below all that is known, and would else teach nothing for weeks."""
    usual = [700.0] * 5 + [6.0, 6.0]
    off = frozenset({date(2026, 1, 10), date(2026, 1, 11)})
    stream = replace(only(Nature.COUNT, usual * 4, volume=True), holidays=off)
    (block,) = blocks([stream], 10)
    walk = Walker(block, Options()).walk()
    assert walk.taught[12:14].all()
    assert walk.level[26, 0] + walk.season[26, 0] == pytest.approx(walk.y[26, 0], abs=2)


def test_a_sum_against_a_level_of_one_day_is_little_evidence() -> None:
    """One day of 40 % before a fortnight of 5 %: that day was odd, not the week that follows."""
    measures = (Measure("rows", Nature.COUNT, volume=True), Measure("null", Nature.RATIO, "rows"))
    values = np.column_stack([np.full(14, 20.0), [0.4] + [0.05] * 13])
    (block,) = blocks([Stream("api", date(2026, 1, 5), measures, values)], 10)
    walk = Walker(block, Options()).walk()
    week = evidence.features(block, walk, evidence.deviations(block, walk))[7, 0, evidence.FEATURES.index("week")]
    assert week < 2
