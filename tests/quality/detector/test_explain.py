"""What people read of a verdict: the words follow from the numbers, in units that fit them."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.detector import explain, natures
from quality.detector.evidence import FEATURES
from quality.detector.units import Unit, lasting
from quality.detector.verdicts import Cell, Contributor, State, Verdict

DAY = date(2026, 11, 20)
ROWS = Cell("rows", 12, 44.2, 30.6, 58.4, 0.9, "today", 210, "count")
VERDICT = Verdict(
    "silver.deployments", "alphagov/collections", DAY, State.ANOMALY, datetime(2026, 11, 21, 2, tzinfo=UTC), "r", "d",
    rarity=40.0, cells=(ROWS,),
)  # fmt: skip


def of(*cells: Cell, **changed: Any) -> Verdict:
    return replace(VERDICT, cells=cells, **changed)


def cell(  # noqa: PLR0917 - numbers of one line
    measure: str, nature: str, observed: float | None, expected: float | None = None, low: float | None = None,
    high: float | None = None, driver: str = "today",
) -> Cell:  # fmt: skip
    return Cell(measure, observed, expected, low, high, 0.9, driver, 100, nature)


def test_a_verdict_in_words() -> None:
    assert explain.title(VERDICT) == "silver.deployments alphagov/collections: far fewer rows than expected"
    assert explain.expected(VERDICT) == "31 to 58 rows, expected 44"
    assert explain.observed(VERDICT) == "2026-11-20: 12 rows"
    assert explain.reasons(VERDICT) == (
        "40 times rarer than the budget of 1 false alarm a quarter allows; it is this window by itself that is strange"
    )


@pytest.mark.parametrize(
    ("strange", "title"),
    [
        (cell("rows", "count", 90, 44, 30, 58), "far more rows than expected"),
        (cell("rows", "count", 0, 44, 30, 58, driver="zero"), "no rows, where 44 are expected"),
        (cell("rows", "count", 31, 44, 30, 58, driver="week"),
         "far fewer rows than expected, taken together with the days before"),
        (cell("rows", "count", 44, 44, 30, 58, driver="stale"), "exactly the numbers of the window before"),
        (cell("rows", "count", None, 44, 30, 58), "rows: no number, where one is expected"),
        (cell("rows", "count", 3), "3 rows, which is not as expected"),
        (cell("distinct.author", "count", 2, 9, 5, 13), "far fewer different values of author than expected"),
        (cell("null_ratio.author", "ratio", 0.9, 0.01, 0, 0.05), "author is far more often null than expected"),
        (cell("duplicate_ratio", "ratio", 0.5, 0, 0, 0.05), "far more duplicates than expected"),
        (cell("top_share.author", "ratio", 0.9, 0.3, 0.1, 0.5),
         "the commonest author has a far larger share than expected"),
        (cell("mean.size", "number", -3, 9, 5, 13), "the mean of size is far lower than expected"),
        (cell("freshness_seconds", "duration", 9e4, 3e3, 10, 2e4), "the newest row is far older than expected"),
        (cell("deployment_frequency", "count", 1, 9, 5, 13), "far fewer deployments than expected"),
        (cell("change_lead_time_median_seconds", "duration", 9e6, 9e4, 1e3, 1e6),
         "change lead time median is far longer than expected"),
        (cell("change_fail_rate_revert_ever", "ratio", 0.9, 0.1, 0, 0.3),
         "change_fail_rate_revert_ever is far higher than expected"),
    ],
    ids=lambda one: f"{one.measure} {one.driver}" if isinstance(one, Cell) else "",
)  # fmt: skip
def test_each_measure_has_its_words(strange: Cell, title: str) -> None:
    assert explain.title(of(strange)) == f"silver.deployments alphagov/collections: {title}"


def test_what_is_hardly_rare_is_not_far() -> None:
    assert explain.title(of(ROWS, rarity=3)).endswith(": fewer rows than expected")


@pytest.mark.parametrize(
    ("rarity", "budget", "told"),
    [
        (1.0, 1, "just rare enough for what the budget of 1 false alarm a quarter allows"),
        (3.21, 1, "3.2 times rarer than the budget of 1 false alarm a quarter allows"),
        (40, 2, "40 times rarer than the budget of 2 false alarms a quarter allow"),
        (1e308, 0.5, "more than 1,000 times rarer than the budget of 0.5 false alarms a quarter allow"),
    ],
)
def test_rarity_is_told_as_far_as_anybody_can_know(rarity: float, budget: float, told: str) -> None:
    assert explain.rarity(of(ROWS, rarity=rarity), budget) == told


@pytest.mark.parametrize(
    ("measure", "nature", "numbers", "told"),
    [
        ("rows", "count", (44.2, 30.6, 58.4), "31 to 58 rows, expected 44"),
        ("rows", "count", (1.44, 0.2, 3.9), "1 to 3 rows, expected 1.4"),
        ("rows", "count", (7, 7, 7), "7 rows"),
        ("rows", "count", (1, 1, 1), "1 row"),
        ("rows", "count", (0.4, 0.3, 0.6), "0.3 to 0.6 rows, expected 0.4"),
        ("rows", "count", (2e6, 1e6, 3e6), "1,000,000 to 3,000,000 rows, expected 2,000,000"),
        ("null_ratio.author", "ratio", (0.004, 0, 0.02), "0 % to 2 % without author, expected 0.4 %"),
        ("freshness_seconds", "duration", (3600, 600, 93_600), "freshness 10 min to 1 d 2 h, expected 1 h"),
        ("mean.lead_seconds", "duration", (30, 0.5, 59.9), "mean.lead 0.5 s to 59.9 s, expected 30 s"),
        ("mean.size", "number", (-1.23456, -2e9, 12345.6), "mean.size -2,000,000,000 to 12,346, expected -1.23"),
    ],
)
def test_a_range_has_the_unit_of_its_nature(
    measure: str, nature: str, numbers: tuple[float, float, float], told: str
) -> None:
    assert explain.cell_expected(cell(measure, nature, 1.0, *numbers)) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (59.4, "59.4 s"), (60, "1 min"), (3600, "1 h"), (5430, "1 h 30 min"), (273_600, "3 d 4 h"),
        (-90, "-2 min"),
    ],
)  # fmt: skip
def test_spans_of_time_are_told_in_their_two_largest_units(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


def test_measures_that_are_strange_together_are_named_and_others_are_not() -> None:
    verdict = of(
        ROWS, cell("freshness_seconds", "duration", 30_600, 3_100, 240, 19_800),
        cell("duplicate_ratio", "ratio", 0, 0, 0, 0.1), together="all sources fell",
    )  # fmt: skip
    assert explain.together(verdict) == ("freshness 8 h 30 min (4 min to 5 h 30 min)",)
    assert explain.names(verdict.cells) == ("rows", "freshness_seconds")
    assert explain.reasons(verdict).endswith("freshness 8 h 30 min (4 min to 5 h 30 min); all sources fell")


def test_contributors_are_a_line_each() -> None:
    found = (
        Contributor("scope", "alphagov/collections", 12, 44.2, 0.92), Contributor("scope", "x", 12, 10, -0.1),
        Contributor("author", "dev-1", 0, 14, 0.43), Contributor("null_ratio", "author", 0.43, 0.004, 1),
        Contributor("scope", "y", 9, 1, 1.2),
    )  # fmt: skip
    assert explain.contributors(of(ROWS, contributors=found)) == (
        "alphagov/collections accounts for 92 % of the fall: 12 instead of 44",
        "x: 12 instead of 10",
        "author dev-1: 0 instead of 14 (43 % of the change)",
        "author: 43 % null instead of 0.4 %",
        "y accounts for all of the rise: 9 instead of 1",
    )


def test_what_is_blind_says_what_is_missing_and_how_to_get_it() -> None:
    verdict = replace(VERDICT, state=State.BLIND, missing="14 more windows with a number are needed")
    assert explain.lines(verdict) == (
        "silver.deployments alphagov/collections: there is too little history to judge it",
        f"{verdict.missing}; history ends that at once: touchstone backfill --from 2026-09-25 --to 2026-11-19",
    )
    assert not explain.blind(VERDICT)


def test_a_broken_detector_says_that_nothing_is_known() -> None:
    verdict = replace(VERDICT, state=State.BROKEN, cells=(), error="ValueError: so it is")
    assert explain.lines(verdict) == (
        "silver.deployments alphagov/collections: the detector could not judge it", "ValueError: so it is",
    )  # fmt: skip
    assert "nothing is known" in explain.reasons(verdict)


def test_each_driver_that_the_engine_names_has_its_words() -> None:
    assert all(explain.driver(of(replace(ROWS, driver=name))) for name in FEATURES)


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1))
MEASURES = st.sampled_from(
    ["rows", "rows.change", "distinct.a", "null_ratio.a", "top_share.a", "mean.a", "duplicate_ratio",
     "freshness_seconds", "deployment_frequency", "change_lead_time_p90_seconds", "change_fail_rate_revert_ever", "x"]
)  # fmt: skip
CELLS = st.builds(
    Cell, MEASURES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS,
    st.sampled_from([*FEATURES, ""]), st.integers(0, 99),
    st.sampled_from(["count", "ratio", "duration", "number"]),
)  # fmt: skip
PARTS = st.builds(
    Contributor, st.sampled_from(["scope", "a", "null_ratio"]), st.text(max_size=5), *[st.floats(-1e9, 1e9)] * 3
)


@given(
    st.lists(CELLS, max_size=10).map(tuple), st.floats(0, 1e308), st.sampled_from(State),
    st.lists(PARTS, max_size=9).map(tuple),
)  # fmt: skip
def test_there_are_words_for_any_verdict(
    cells: tuple[Cell, ...], rarity: float, state: State, parts: tuple[Contributor, ...]
) -> None:
    """Whatever the numbers are, and where there are none: one line each, with no number that nobody can read."""
    verdict = of(*cells, rarity=rarity, state=state, contributors=parts)
    for line in (*explain.lines(verdict), explain.reasons(verdict, 2.5)):
        assert line
        assert "nan" not in line
        assert "None" not in line


@given(MEASURES, st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_never_longer_than_a_line_can_hold(measure: str, value: float) -> None:
    kind = natures.kind(measure)
    assert len(Unit(measure, kind.nature if kind else "number").full(value)) < 80
