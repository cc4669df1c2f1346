"""The scale on which a column is judged: its values there, their noise by sample size, and what is known in advance."""

from dataclasses import dataclass

import numpy as np

from quality.detector import transforms
from quality.detector.layout import COUNT, DURATION, GIVEN, NUMBER, RATIO, Block
from quality.detector.panel import BoolArray, FloatArray, IntArray
from quality.detector.rolling import before, windowed

MEMORY = 84  # windows that an elasticity is learnt from
ELASTICITY = 0.7  # of distinct values to rows, until learnt (Heaps' law: 0.4..0.8)
BELOW = 10.0  # a duration of zero is put at the smallest so far, divided by this
FIRM = 5.0  # squared log units of rows that the prior elasticity is worth
UNIT = np.sqrt(transforms.ROWS / 2)  # makes the noise of a cell of unknown rows 1

# By scale: COUNT, RATIO, DURATION, NUMBER, GIVEN. Of NUMBER a share of the level. Medians of what was learnt after half
# a year (`python -m bench.detector SET --scales`), rounded; the least is about the lowest twentieth.
SCALE_PRIOR = np.array([1.5, 0.9, 0.6, 0.1, 0.22])
SCALE_LEAST = np.array([0.05, 0.35, 0.25, 0.04, 0.1])


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """The columns of a block on their scales; T x C, or C."""

    y: FloatArray  # values; NaN: not seen
    shift: FloatArray  # of a duration where 0 is put at; of GIVEN what the rows explain
    noise: FloatArray  # K x T x C: standard deviation by rows behind, in units of the scale, by K ideas of it
    teaches: BoolArray
    prior: FloatArray  # C: scale, before anything is learnt
    least: FloatArray  # C: and what it is at least
    relative: BoolArray  # C: both are shares of the level


def scaled(block: Block, enough: tuple[float, ...]) -> Scaled:
    """`block` on its scales, with one idea of the noise for each number of rows `enough`."""
    y, shift = _transformed(block)
    unit = np.where(np.isin(block.nature, [DURATION, NUMBER, GIVEN]), UNIT, 1.0)
    return Scaled(
        y,
        shift,
        np.array([_noise(block, rows) for rows in enough]),
        block.teaches & ~block.holiday[:, block.stream],
        SCALE_PRIOR[block.nature] * unit,
        SCALE_LEAST[block.nature] * unit,
        block.nature == NUMBER,
    )


def rows_behind(block: Block) -> FloatArray:
    """T x C: the rows behind each cell, at least 1; ROWS if unknown."""
    rows = block.values[:, np.maximum(block.behind, 0)]
    return np.where(block.behind >= 0, np.fmax(rows, 1), transforms.ROWS)


def _transformed(block: Block) -> tuple[FloatArray, FloatArray]:
    y, shift = block.values.copy(), np.zeros_like(block.values)
    count, times = block.nature == COUNT, block.nature == DURATION
    y[:, count] = transforms.count_scale(block.values[:, count])
    y[:, times], shift[:, times] = _logs(block.values[:, times], block.teaches[:, times])
    given = np.flatnonzero(block.nature == GIVEN)
    y[:, given], shift[:, given] = _given_rows(block, given)
    return y, shift


def _logs(x: FloatArray, teaches: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Logarithms; zero is put at a tenth of the smallest positive value so far, which scales with the unit."""
    positive = np.where((x > 0) & teaches, x, np.nan)
    least = np.fmin.accumulate(positive, axis=0)
    first = positive[np.isfinite(positive).argmax(0), np.arange(x.shape[1])]
    zero = np.log(np.where(np.isfinite(least), least, np.where(np.isfinite(first), first, 1.0)) / BELOW)
    logs = np.log(np.where(x > 0, x, 1.0))
    return np.where(np.isnan(x), np.nan, np.where(x > 0, logs, zero)), zero


def _given_rows(block: Block, column: IntArray) -> tuple[FloatArray, FloatArray]:
    """The logarithm of counts less what the rows behind explain, and that: an elasticity of the last MEMORY windows.

    When what is known of the elasticity changes, the line turns about the usual rows, and does not move: else a first
    quiet weekend would change what the rows of all busy days explain.
    """
    rows = block.behind[column]
    x, d = block.values[:, rows], block.values[:, column]
    x = np.log(np.where(x > 0, x, np.nan))
    d = np.log(np.maximum(d, 0.5)) + 0 * x
    known = block.teaches[:, column] & block.teaches[:, rows] & np.isfinite(d)

    def past(a: FloatArray) -> FloatArray:
        return before(windowed(np.where(known, a, 0.0), MEMORY))

    number = past(np.ones_like(x))
    mean_x, mean_d = past(x) / np.maximum(number, 1), past(d) / np.maximum(number, 1)
    slope = (past(x * d) - number * mean_x * mean_d + FIRM * ELASTICITY) / (past(x * x) - number * mean_x**2 + FIRM)
    slope = np.clip(slope, 0, 1)
    turned = np.cumsum(np.diff(slope, axis=0, prepend=ELASTICITY) * mean_x, axis=0)
    explained = slope * x - turned
    return d - explained, explained


def _noise(block: Block, enough: float) -> FloatArray:
    """sqrt(1 / rows + 1 / enough) of the rows behind each cell, as if equal for 10 rows whatever is enough.

    1 for a COUNT; sqrt(2 / ROWS) where the rows are not known. For a ratio ROWS are always enough.
    """
    noise = np.full_like(block.values, np.sqrt(2 / transforms.ROWS))
    column = np.flatnonzero(block.behind >= 0)
    rows = block.values[:, block.behind[column]]
    limit = np.where(block.nature[column] == RATIO, transforms.ROWS, enough)
    unit = np.sqrt((0.1 + 1 / transforms.ROWS) / (0.1 + 1 / limit))
    with np.errstate(divide="ignore", invalid="ignore"):
        noise[:, column] = np.where(rows > 0, unit * np.sqrt(1 / rows + 1 / limit), np.nan)
    noise[:, block.nature == COUNT] = 1.0
    return noise
