"""From scores back to the unit of the value: what was expected, and how far a single day may be off."""

import numpy as np

from quality.detector import transforms
from quality.detector.evidence import CLIP, FEATURES, REACH, THREE, weights_of
from quality.detector.expectation import Walk
from quality.detector.layout import COUNT, DURATION, GIVEN, RATIO, Block
from quality.detector.location import WEEK
from quality.detector.panel import FloatArray

ALONE = 5.0  # standard deviations that alarm, before there is a past to calibrate on
GRID = np.linspace(0, REACH, 61)
LARGEST = 700.0  # of a logarithm


def lonely(today: FloatArray) -> FloatArray:
    """Features of cells that are `today` standard deviations off, after an ordinary past."""
    rows = np.zeros((len(today), len(FEATURES)))
    rows[:, FEATURES.index("today")] = today
    rows[:, FEATURES.index("three")] = np.minimum(today, CLIP) / np.sqrt(THREE)
    rows[:, FEATURES.index("week")] = np.minimum(today, CLIP) / np.sqrt(WEEK)
    return rows


def prior(scores: FloatArray) -> float:
    """The score that only just alarms as long as there is no past, by those of `lonely(GRID)`."""
    return float(np.interp(ALONE, GRID, scores))


def limit(scores: FloatArray, threshold: float) -> float:
    """Standard deviations that a cell with an ordinary past may be off without an alarm, by those of `lonely(GRID)`."""
    over = np.flatnonzero(np.maximum.accumulate(scores) >= threshold)
    return float(GRID[over[0]]) if len(over) else ALONE


def bounds(block: Block, walk: Walk, reach: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Expectation, low and high, T x C in the unit of the value; `reach`: standard deviations.

    On a holiday the range goes on to what a rest day would allow. It is that of the transformed scale, so near a small
    count or ratio the exact tail may judge a little differently.
    """
    day, rest = walk.level + walk.season, walk.level + walk.rest
    free = block.holiday[:, block.stream]
    fall, rise = (reach * walk.width / weights_of(block)[:, side] for side in (0, 1))
    low = np.where(free, np.minimum(day, rest), day)
    high = np.where(free, np.maximum(day, rest), day)
    ratio = block.nature == RATIO
    low[:, ratio] = transforms.ratio_value(transforms.arc(low[:, ratio]) - fall[:, ratio])
    high[:, ratio] = transforms.ratio_value(transforms.arc(high[:, ratio]) + rise[:, ratio])
    low[:, ~ratio] -= fall[:, ~ratio]
    high[:, ~ratio] += rise[:, ~ratio]
    expected = _value(block, walk, day)
    below, above = np.minimum(_value(block, walk, low), expected), np.maximum(_value(block, walk, high), expected)
    return expected + block.off, below + block.off, above + block.off


def _value(block: Block, walk: Walk, y: FloatArray) -> FloatArray:
    """`y` back in the unit of the value."""
    x = y.copy()
    count, ratio, times, given = (block.nature == scale for scale in (COUNT, RATIO, DURATION, GIVEN))
    x[:, count] = transforms.count_value(y[:, count])
    x[:, ratio] = np.clip(y[:, ratio], 0, 1)
    x[:, times] = np.where(y[:, times] <= walk.shift[:, times], 0.0, np.exp(np.minimum(y[:, times], LARGEST)))
    x[:, given] = np.exp(np.minimum(y[:, given] + walk.shift[:, given], LARGEST))
    return x
