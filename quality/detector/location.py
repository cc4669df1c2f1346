"""Robust estimates over a window of past observations, for all columns at once."""

import numpy as np

from quality.detector.panel import BoolArray, FloatArray, IntArray

HUBER = 2.0  # standard deviations beyond which an observation pulls only as if it were there
ROUNDS = 2  # of reweighting
JEFFREYS = 0.5  # rows added to either side of a ratio (Jeffreys' prior): what was never seen is not impossible
WEIGHTED = 30.0  # rows that an observation of weight 1 is worth
WORK = slice(0, 5)  # Monday to Friday
FREE = slice(5, 7)
WEEK = 7
# By scale: COUNT, RATIO, DURATION, NUMBER, GIVEN: observations of weight 1 that "no effect" is worth.
REST_PRIOR = np.array([0.5, 6.0, 3.0, 3.0, 3.0])
DAY_PRIOR = np.array([2.0, 16.0, 8.0, 8.0, 8.0])


def weighted_mean(data: FloatArray, weight: FloatArray, ratio: BoolArray) -> FloatArray:
    """By column; of ratios with Jeffreys' prior. NaN without weight."""
    total, mass = (weight * data).sum(0), weight.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(ratio, (total * WEIGHTED + JEFFREYS) / (mass * WEIGHTED + 2 * JEFFREYS), total / mass)
    return np.where(mass > 0, mean, np.nan)


def median(data: FloatArray, there: BoolArray) -> FloatArray:
    """By column, of what is there; NaN if nothing is."""
    ordered = np.sort(np.where(there, data, np.inf), axis=0)
    number, column = there.sum(0), np.arange(data.shape[1])
    low = ordered[np.maximum(number - 1, 0) // 2, column]
    high = ordered[np.minimum(number // 2, len(ordered) - 1), column]
    return np.where(number > 0, (low + high) / 2, np.nan)


def located(data: FloatArray, weight: FloatArray, start: FloatArray, reach: FloatArray, ratio: BoolArray) -> FloatArray:
    """Huber's M-estimate of location from `start`, by iterated winsorising (Huber, "Robust Statistics", 1981).

    reach: standard deviation of each observation; of ratios but for the factor sqrt(p (1 - p)).
    """
    at = start
    for _ in range(ROUNDS):
        width = HUBER * reach * np.where(ratio, np.sqrt(np.clip(at * (1 - at), 1e-4, 1)), 1.0)
        at = weighted_mean(np.clip(data, at - width, at + width), weight, ratio)
    return at


def seasonal(data: FloatArray, weight: FloatArray, season: int, scale: IntArray) -> FloatArray:
    """The effect of each phase, season x C; rows of `data` begin with phase 0.

    Every season has its own level, so growth is no effect. In a week the two free days have an effect in common, and
    each day one of its own; both are shrunk towards none while observations are few. scale: the scale of each column.
    """
    rows, columns = data.shape
    whole = -(-rows // season)
    padded, mass = np.zeros((whole * season, columns)), np.zeros((whole * season, columns))
    padded[:rows], mass[:rows] = data, weight
    padded, mass = padded.reshape(whole, season, columns), mass.reshape(whole, season, columns)
    base = WORK if season == WEEK else slice(0, season)
    under = mass[:, base].sum(1)
    level = (mass[:, base] * padded[:, base]).sum(1) / np.where(under > 0, under, 1)
    mass = np.where((under > 0)[:, None], mass, 0)
    off = np.where(mass > 0, padded - level[:, None], 0)
    effects = np.zeros((season, columns))
    if season == WEEK:
        effects[FREE] = (mass[:, FREE] * off[:, FREE]).sum((0, 1)) / (mass[:, FREE].sum((0, 1)) + REST_PRIOR[scale])
    own = (mass * (off - effects)).sum(0) / (mass.sum(0) + DAY_PRIOR[scale])
    return np.asarray(effects + own)


def doubt(weight: FloatArray, season: int, scale: IntArray) -> FloatArray:
    """Variance of each effect, season x C, that observations of `weight` leave; rows begin with phase 0.

    In units of the variance of an observation of weight 1. A prior that is worth n observations says that the effect
    itself has the variance 1 / n, so this is the posterior variance of a normal mean. None without a season.
    """
    if season == 1:
        return np.zeros((1, weight.shape[1]))
    rows, columns = weight.shape
    padded = np.zeros((-(-rows // season), season, columns))
    padded.reshape(-(-rows // season) * season, columns)[:rows] = weight
    mass = padded.sum(0)
    left = 1 / (mass + DAY_PRIOR[scale])
    if season == WEEK:
        left[FREE] += 1 / (mass[FREE].sum(0) + REST_PRIOR[scale])
    return np.asarray(left)
