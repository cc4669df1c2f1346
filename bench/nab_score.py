"""NAB's scoring function, standard profile: what an alarm early in a window is worth, and what one elsewhere costs.

Source: Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark", 2015, and
`nab/sweeper.py` of numenta/NAB. Where the two differ the code decides, since the published figures come from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

MISSED: Final = -1.0
"""A window without an alarm (the false-negative weight is 1; so is the true-positive weight)."""
FALSE_ALARM: Final = 0.11
"""What a row's alarm far from any window costs."""
PROBATION: Final = 0.15
"""Of the rows, at most of 5,000: not scored."""
OUTSIDE: Final = -1
FAR: Final = 3.0
"""Window widths behind a window from which on a false alarm costs all of its weight."""


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What an alarm at each row of a series is worth; `window` says in which one it lies, or OUTSIDE."""

    weight: Floats
    window: NDArray[np.intp]
    scored: NDArray[np.bool_]
    windows: int


@dataclass(frozen=True, slots=True)
class Scored:
    """The best threshold (an alarm is a score at or above it) and what it earned, raw and normalised."""

    threshold: float
    raw: float
    windows: int

    @property
    def normalised(self) -> float:
        """0 for a detector that never alarms, 100 for a perfect one; nan without windows."""
        return 100 * (self.raw - MISSED * self.windows) / (2 * self.windows) if self.windows else math.nan


def worth(times: Times, windows: Sequence[tuple[Any, Any]]) -> Worth:
    """Of each row of a series with these labelled windows (first and last row's time, in order).

    Raises ValueError if a bound is no row's time.
    """
    rows = len(times)
    weight, window = np.full(rows, -FALSE_ALARM), np.full(rows, OUTSIDE, np.intp)
    for number, (first, last) in enumerate(windows):
        left, right = _row(times, first), _row(times, last)
        width = right - left + 1
        window[left : right + 1] = number
        weight[left : right + 1] = sigmoid((np.arange(left, right + 1) - right - 1) / width) / sigmoid(np.array([-1.0]))
        behind = np.arange(1, rows - right)
        weight[right + 1 :] = FALSE_ALARM * sigmoid(behind / max(width - 1, 1))
    scored = np.arange(rows) >= min(math.floor(PROBATION * rows), PROBATION * 5000)
    return Worth(weight, window, scored, len(set(window[scored]) - {OUTSIDE}))


def sigmoid(position: Floats) -> Floats:
    """NAB's scaled sigmoid: 1 well before the right edge of a window (0), -1 well behind it; in its widths."""
    return np.where(position > FAR, -1.0, 2 / (1 + np.exp(5 * position)) - 1)


def best(worths: Sequence[Worth], scores: Sequence[Floats]) -> Scored:
    """The one threshold over all series that earns most. Raises ValueError for a score that is not a number."""
    value, change, windows = _changes(worths, scores)
    earned = MISSED * windows + np.concatenate([[0.0], np.cumsum(change)])
    ends = np.concatenate([[True], value[1:] != value[:-1], [True]]) if len(value) else np.array([True])
    thresholds = np.concatenate([[math.inf], value])
    at = int(np.argmax(np.where(ends, earned, -math.inf)))
    return Scored(float(thresholds[at]), float(earned[at]), windows)


def at(threshold: float, worths: Sequence[Worth], scores: Sequence[Floats]) -> Scored:
    """What that threshold earns."""
    value, change, windows = _changes(worths, scores)
    return Scored(threshold, float(MISSED * windows + change[value >= threshold].sum()), windows)


def found(threshold: float, worths: Sequence[Worth], scores: Sequence[Floats]) -> tuple[int, int]:
    """How many windows have an alarm at that threshold, and how many alarms lie outside of any."""
    windows = false = 0
    for one, score in zip(worths, scores, strict=True):
        alarms = one.window[one.scored & (score >= threshold)]
        windows += len(set(alarms) - {OUTSIDE})
        false += int((alarms == OUTSIDE).sum())
    return windows, false


def _changes(worths: Sequence[Worth], scores: Sequence[Floats]) -> tuple[Floats, Floats, int]:
    """Scores from the highest to the lowest, by what each raises or lowers the sum, and the number of windows."""
    values: list[Floats] = [np.empty(0)]
    changes: list[Floats] = [np.empty(0)]
    for one, score in zip(worths, scores, strict=True):
        if len(score) != len(one.weight) or np.isnan(score).any():
            raise ValueError("each row needs a score that is a number")
        order = np.argsort(-score[one.scored], kind="stable")
        weight, window = one.weight[one.scored][order], one.window[one.scored][order]
        change = weight.copy()
        for number in set(window) - {OUTSIDE}:
            inside = window == number
            earned = np.maximum.accumulate(np.concatenate([[MISSED], weight[inside]]))
            change[inside] = np.diff(earned)
        values.append(score[one.scored][order])
        changes.append(change)
    value, change = np.concatenate(values), np.concatenate(changes)
    order = np.argsort(-value, kind="stable")
    return value[order], change[order], sum(one.windows for one in worths)


def _row(times: Times, bound: Any) -> int:
    """The first row of that time."""
    found = np.flatnonzero(times == bound)
    if not len(found):
        raise ValueError(f"no row at {bound}, which a window begins or ends with")
    return int(found[0])
