"""The injected faults: each changes what it is about, nothing before it, and never the history itself."""

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.detector.faults import FAULTS, inject
from quality.detector.panel import FloatArray, Measure, Nature, Stream

ROWS, KEYS, VALUES, DUPLICATES, NULLS, SHARE, MEAN, FRESH = range(8)
MEASURES = (
    Measure("rows", Nature.COUNT, volume=True),
    Measure("distinct.key", Nature.COUNT, behind="rows"),
    Measure("distinct.author", Nature.COUNT, behind="rows"),
    Measure("duplicate_ratio", Nature.RATIO, behind="rows"),
    Measure("null_ratio.author", Nature.RATIO, behind="rows"),
    Measure("top_share.author", Nature.RATIO, behind="rows"),
    Measure("mean.size", Nature.NUMBER, behind="rows"),
    Measure("freshness_seconds", Nature.DURATION),
)
ROW = (100.0, 100.0, 8.0, 0.0, 0.1, 0.4, 50.0, 3600.0)
AT = 40
BY_NAME = {fault.name: fault for fault in FAULTS}


def stream(windows: int = 80, rows: FloatArray | None = None) -> Stream:
    values = np.tile(np.array(ROW), (windows, 1)) if rows is None else rows
    values[:, ROWS] += np.arange(len(values)) % 7  # so that the day before is another one
    return Stream("silver.changes|acme/api", date(2026, 1, 1), MEASURES, values, source="git")


def after(name: str, window: int = AT) -> FloatArray:
    """The values from the first window of the fault on."""
    copy = inject(stream(), BY_NAME[name], window, "copy")
    assert copy is not None
    return copy.values[window:]


def test_a_gap_leaves_no_rows_and_nothing_to_say_of_them() -> None:
    found = after("gap")
    assert found[:, [ROWS, KEYS, VALUES]].tolist() == [[0, 0, 0]] * 7
    assert np.isnan(found[:, [DUPLICATES, NULLS, SHARE, MEAN]]).all()
    assert found[:, FRESH].tolist() == [3600 + day * 86_400 for day in range(1, 8)]


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("partial", ROWS, 50),
        ("double", ROWS, 200),
        ("double", DUPLICATES, 0.5),
        ("nulls", NULLS, 0.55),
        ("unit", MEAN, 50_000),
        ("stale", FRESH, 3600 + 86_400),
        ("shift", ROWS, 50),
        ("category", ROWS, 60),
        ("category", VALUES, 7),
        ("late", FRESH, 43_200 + 3600),
        ("late", ROWS, 50),
    ],
)
def test_the_first_window_shows_the_fault(name: str, column: int, expected: float) -> None:
    """Rows are lost at random, so a count is near what is expected: within 20 %."""
    assert after(name)[0, column] == pytest.approx(expected, rel=0.2)


def test_what_the_fault_is_not_about_stays() -> None:
    before = stream().values[AT]
    for name, kept in (("nulls", [ROWS, KEYS, SHARE, MEAN, FRESH]), ("unit", [ROWS, KEYS, NULLS, FRESH]),
                       ("double", [KEYS, VALUES, NULLS, MEAN])):  # fmt: skip
        assert after(name)[0, kept].tolist() == before[kept].tolist(), name


def test_a_stale_load_is_the_day_before() -> None:
    assert after("stale")[0, :FRESH].tolist() == stream().values[AT - 1, :FRESH].tolist()


def test_a_drift_takes_more_and_more() -> None:
    rows = after("drift")[:, ROWS] / stream().values[AT : AT + 28, ROWS]
    assert rows[:7].mean() > 0.85
    assert rows[-7:].mean() < 0.6


def test_a_shift_stays_to_the_end() -> None:
    assert (after("shift")[:, ROWS] < 75).all()


@given(
    name=st.sampled_from(sorted(BY_NAME)),
    window=st.integers(1, 79),
    seed=st.integers(0, 9),
    scale=st.sampled_from([0.0, 0.02, 1.0, 50.0]),
    holes=st.sets(st.integers(0, 79), max_size=20),
)
def test_a_copy_is_whole_and_the_history_is_untouched(
    name: str, window: int, seed: int, scale: float, holes: set[int]
) -> None:
    """Law: what is injected can be judged (`Stream` checks it), is equal before the fault, and for equal seeds."""
    values = np.tile(np.array(ROW), (80, 1))
    values[:, : VALUES + 1] = np.round(values[:, : VALUES + 1] * scale)
    values[np.ix_(sorted(holes), range(VALUES + 1, FRESH))] = np.nan
    history = stream(rows=values)
    kept = history.values.copy()
    fault = BY_NAME[name]
    copy = inject(history, fault, window, "copy", seed)
    np.testing.assert_array_equal(history.values, kept)
    if copy is None:
        return
    assert (copy.windows, copy.source, copy.start) == (window + fault.lasts, "", history.start)
    np.testing.assert_array_equal(copy.values[:window], kept[:window])
    again = inject(history, fault, window, "copy", seed)
    assert again is not None
    np.testing.assert_array_equal(copy.values, again.values)
    assert (copy.values[:, KEYS] <= np.maximum(copy.values[:, ROWS], kept[: copy.windows, KEYS])).all()


def test_where_it_would_change_nothing_there_is_no_fault() -> None:
    """A gap on a day without rows cannot be found by anybody, and must not count as missed."""
    empty = stream()
    empty.values[AT:, : VALUES + 1] = 0
    empty.values[AT:, DUPLICATES:FRESH] = np.nan
    for name in ("partial", "double", "nulls", "unit", "category"):
        assert inject(empty, BY_NAME[name], AT, "copy") is None, name


@pytest.mark.parametrize("window", [0, 79, 80, -1])
def test_a_fault_needs_room(window: int) -> None:
    assert inject(stream(), BY_NAME["gap"], window, "copy") is None


def test_a_fault_of_what_is_not_measured_is_not_injected() -> None:
    bare: Any = Stream("s", date(2026, 1, 1), MEASURES[:1], np.full((80, 1), 9.0))
    assert {fault.name for fault in FAULTS if inject(bare, fault, AT, "copy")} == {
        "gap", "partial", "double", "shift", "drift",
    }  # fmt: skip


def test_of_gold_only_what_has_rows_behind_it_is_told() -> None:
    """No change is shipped on a day with one deployment: its lead time is not defined, the deployment stays."""
    measures = (
        Measure("change_lead_time_median_seconds", Nature.DURATION, behind="changes_shipped"),
        Measure("changes_shipped", Nature.COUNT, volume=True),
        Measure("deployment_frequency", Nature.COUNT, volume=True),
    )
    gold = Stream("gold.dora_daily|acme/api", date(2026, 1, 1), measures, np.tile([7200.0, 1.0, 40.0], (80, 1)))
    copies = [inject(gold, BY_NAME["partial"], AT, "copy", seed) for seed in range(20)]
    lost = [copy.values[AT] for copy in copies if copy is not None and copy.values[AT, 1] == 0]
    assert lost
    assert all(np.isnan(lead) and deployments > 0 for lead, _, deployments in lost)
