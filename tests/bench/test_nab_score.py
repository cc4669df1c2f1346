"""NAB's scorer: checked by hand, by its fixed points, and against a literal reading of numenta/NAB's sweeper."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nab_score import FALSE_ALARM, Floats, Times, Worth, at, best, found, worth

START = np.datetime64("2026-01-01T00:00:00", "s")
TIMES: Times = START + np.arange(200) * np.timedelta64(300, "s")
WINDOWS = [(TIMES[50], TIMES[69]), (TIMES[120], TIMES[139])]


def alarms(*rows: int, length: int = 200) -> Floats:
    scores = np.zeros(length)
    scores[list(rows)] = 1.0
    return scores


def test_a_detector_that_never_alarms_has_0_and_a_perfect_one_100() -> None:
    one = worth(TIMES, WINDOWS)
    assert at(0.5, [one], [alarms()]).normalised == 0
    assert at(0.5, [one], [alarms(50, 120)]).normalised == pytest.approx(100)
    assert best([one], [alarms(50, 120)]).normalised == pytest.approx(100)
    assert best([one], [np.zeros(200)]).threshold == math.inf  # better no alarm than all


def scaled(position: float) -> float:
    return 2 / (1 + math.exp(5 * position)) - 1


@pytest.mark.parametrize(
    ("rows", "raw"),
    [
        ((), -2),
        ((60,), scaled(-10 / 20) / scaled(-1) - 1),  # half of the window is left
        ((60, 65), scaled(-10 / 20) / scaled(-1) - 1),  # only the first alarm in a window counts
        ((69,), scaled(-1 / 20) / scaled(-1) - 1),
        ((40,), -2 - FALSE_ALARM),  # before any window
        ((40, 41), -2 - 2 * FALSE_ALARM),  # each row costs
        ((70,), -2 + FALSE_ALARM * scaled(1 / 19)),  # hardly late
        ((119,), -2 + FALSE_ALARM * scaled(50 / 19)),
        ((199,), -2 - FALSE_ALARM),  # more than three widths behind
        ((29,), -2),  # probation: the first 15 %
        ((30,), -2 - FALSE_ALARM),
    ],
)
def test_what_alarms_earn(rows: tuple[int, ...], raw: float) -> None:
    assert at(0.5, [worth(TIMES, WINDOWS)], [alarms(*rows)]).raw == pytest.approx(raw)


def test_probation_ends_after_750_rows_at_the_latest() -> None:
    times = START + np.arange(20_000) * np.timedelta64(60, "s")
    assert int(np.argmax(worth(times, []).scored)) == 750


def test_one_threshold_serves_all_series() -> None:
    """The first series alone would alarm at 0.4, the second alone at 0.9: together the better sum decides."""
    one, two = worth(TIMES, WINDOWS), worth(TIMES, [])
    early = np.zeros(200)
    early[[50, 120]] = 0.4
    noise = np.full(200, 0.5)
    assert best([one], [early]).threshold == 0.4
    assert best([one, two], [early, noise]).threshold == math.inf  # 170 false alarms are dearer than two windows
    noise[:190] = 0.0
    assert best([one, two], [early, noise]).threshold == 0.4
    assert found(0.4, [one, two], [early, noise]) == (2, 10)


@pytest.mark.parametrize("scores", [np.full(200, np.nan), np.zeros(199)])
def test_scores_that_cannot_be_scored_are_refused(scores: Floats) -> None:
    with pytest.raises(ValueError, match="a number"):
        best([worth(TIMES, WINDOWS)], [scores])


def test_a_window_begins_and_ends_on_a_row() -> None:
    with pytest.raises(ValueError, match="no row at"):
        worth(TIMES, [(START + np.timedelta64(1, "s"), TIMES[5])])


def literal(one: Worth, scores: Floats, threshold: float) -> float:
    """As numenta/NAB's sweeper sums: false alarms, and of each window the best row."""
    parts = dict.fromkeys(set(one.window[one.scored].tolist()) - {-1}, -1.0)
    false = 0.0
    for weight, window, scored, score in zip(one.weight, one.window, one.scored, scores, strict=True):
        if scored and score >= threshold:
            if window < 0:
                false += weight
            else:
                parts[window] = max(parts[window], weight)
    return false + sum(parts.values())


@given(st.lists(st.integers(0, 5), min_size=200, max_size=200))
def test_the_best_threshold_is_the_best_of_all(levels: list[int]) -> None:
    one, scores = worth(TIMES, WINDOWS), np.array(levels) / 5
    tried = [literal(one, scores, threshold) for threshold in {*scores.tolist(), math.inf}]
    assert best([one], [scores]).raw == pytest.approx(max(tried))
    assert at(0.4, [one], [scores]).raw == pytest.approx(literal(one, scores, 0.4))
