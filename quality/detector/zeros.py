"""A volume that falls to nothing: how surprising, and what may be said of it while there is hardly any history."""

import numpy as np

from quality.detector.layout import COUNT, GIVEN, Block
from quality.detector.location import FREE, WEEK
from quality.detector.panel import QUARTER, BoolArray, FloatArray
from quality.detector.rolling import before, windowed

MEMORY = 84  # windows
LIKE = 3  # windows of the same kind of day that there must have been
BURSTY = 0.5  # overdispersion of a volume of which nothing is known: variance = mean + 0.5 mean^2


def zero(block: Block, taught: BoolArray) -> FloatArray:
    """T x C: surprise of a zero, log of how seldom days of its kind had none, and of the smallest that they had."""
    found = np.zeros_like(block.values)
    column = np.flatnonzero(block.nature == COUNT)
    x, free = block.values[:, column], block.holiday[:, block.stream[column]]
    for kind in _kinds(block):
        known = taught[:, column] & kind[:, None]
        number = before(windowed(known.astype(float), MEMORY))
        zeros = before(windowed((known & (x == 0)).astype(float), MEMORY))
        least = _least(np.where(known, x, np.inf), MEMORY)
        surprise = np.log((number + 1) / (zeros + 0.5)) + np.where(zeros == 0, np.log1p(least), 0)
        here = kind[:, None] & (x == 0) & (number >= LIKE) & ~free
        found[:, column] = np.where(here, surprise, found[:, column])
    return found


def met(block: Block, taught: BoolArray) -> BoolArray:
    """T x C: there was a day of that kind before; always so of what is no count, which hardly knows free days."""
    found = np.ones(block.values.shape, bool)
    column = np.flatnonzero(np.isin(block.nature, [COUNT, GIVEN]))
    for kind in _kinds(block):
        known = before(np.cumsum(taught[:, column] & kind[:, None], axis=0)) > 0
        found[:, column] = np.where(kind[:, None], known, found[:, column])
    return found


def unmistakable(block: Block, false_alarms_per_quarter: float) -> FloatArray:
    """T x C: how many times rarer than the budget a zero is, of a volume of which next to nothing is known; else 0.

    From LIKE windows of its kind of day (working days, or free ones) on: if all had at least m rows, a zero has the
    probability (1 + BURSTY m) ** (-1 / BURSTY) of a negative binomial of mean m.
    """
    found = np.zeros_like(block.values)
    column = np.flatnonzero(block.volume & (block.nature == COUNT))
    x, free = block.values[:, column], block.holiday[:, block.stream[column]]
    row = np.arange(len(x))[:, None]
    for kind in _kinds(block):
        known = block.teaches[:, column] & kind[:, None] & ~free & (block.base[:, column] == 0)
        least = _least(np.where(known, x, np.inf), MEMORY)
        rarer = false_alarms_per_quarter / QUARTER * (1 + BURSTY * least) ** (1 / BURSTY)
        here = kind[:, None] & (x == 0) & (before(np.cumsum(known, axis=0)) >= LIKE) & ~free & (row > 0)
        found[:, column] = np.where(here & (rarer >= 1), rarer, found[:, column])
    return found


def _kinds(block: Block) -> list[BoolArray]:
    """Rows of each kind of day: working and free ones in a week, else all."""
    row = np.arange(len(block.values))
    if block.season != WEEK:
        return [np.ones(len(row), bool)]
    free = row % WEEK >= FREE.start
    return [~free, free]


def _least(x: FloatArray, length: int) -> FloatArray:
    """The smallest of the last `length` rows before each; 0 if there are none."""
    least = np.zeros_like(x)
    for t in range(1, len(x)):
        least[t] = x[max(0, t - length) : t].min(0)
    return np.where(np.isfinite(least), least, 0.0)
