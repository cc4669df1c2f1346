"""From the unit of a value to a scale on which its noise is about even, and back."""

import numpy as np
from scipy.special import betainc, ndtri  # type: ignore[import-untyped]

from quality.detector.panel import FloatArray

OVERDISPERSION = 0.1  # of counts, before anything is known: variance = mean + 0.1 mean^2
ROWS = 60.0  # beyond this many rows more rows make a ratio or a median hardly more certain (overdispersion)
FURTHEST = 30.0  # standard deviations; beyond them nothing is stranger
SMALLEST = 1e-300  # tail
HALF = 0.5  # of a count: nothing is nearer
TINY = 1e-9  # rows


def count_scale(x: FloatArray) -> FloatArray:
    """Variance-stabilised count: standard deviation 1 for a negative binomial of OVERDISPERSION.

    Anscombe, "The transformation of Poisson, binomial and negative-binomial data", 1948.
    """
    return np.asarray(2 / np.sqrt(OVERDISPERSION) * np.arcsinh(np.sqrt(OVERDISPERSION * (x + 3 / 8))))


def count_value(y: FloatArray) -> FloatArray:
    """The count at `y`; the inverse of `count_scale`, not below 0."""
    grown = np.sinh(np.minimum(np.maximum(y, 0) * np.sqrt(OVERDISPERSION) / 2, 50))
    return np.asarray(np.maximum(grown**2 / OVERDISPERSION - 3 / 8, 0))


def arc(p: FloatArray) -> FloatArray:
    """Variance-stabilised ratio: variance 1 / rows for a binomial (Anscombe, 1948)."""
    return np.asarray(2 * np.arcsin(np.sqrt(np.clip(p, 0, 1))))


def ratio_value(y: FloatArray) -> FloatArray:
    """The ratio at `y`; the inverse of `arc`, within 0..1."""
    return np.asarray(np.sin(np.clip(y, 0, np.pi) / 2) ** 2)


def count_deviation(x: FloatArray, mean: FloatArray, sd: FloatArray) -> FloatArray:
    """Standard normal deviate of the mid-p tail of a negative binomial at `x`.

    sd: noise on `count_scale`. Below 1 (a table that hardly changes) the deviate grows accordingly.
    """
    mean = np.maximum(mean, 1e-3)
    spread = (np.maximum(sd, 1.0) ** 2 * (mean + OVERDISPERSION * mean**2) - mean) / mean**2
    size = 1 / np.maximum(spread, 1e-3)
    chance = mean / (size + mean)
    above = x > mean
    k = np.maximum(x, 0)
    upper = 0.5 * (np.where(k > 0, betainc(np.maximum(k, TINY), size, chance), 1.0) + betainc(k + 1, size, chance))
    lower = 0.5 * (
        betainc(size, k + 1, 1 - chance) + np.where(k > 0, betainc(size, np.maximum(k, TINY), 1 - chance), 0.0)
    )
    tail = np.where(above, upper, lower)
    z = np.where(above, 1.0, -1.0) * np.maximum(-ndtri(np.maximum(tail, SMALLEST)), 0)
    z = np.where(np.abs(x - mean) < HALF, 0.0, z)  # the nearest possible value
    return np.asarray(z / np.minimum(sd, 1.0))


def ratio_deviation(x: FloatArray, p: FloatArray, rows: FloatArray) -> FloatArray:
    """Standard normal deviate of the mid-p tail of a binomial of `rows` effective rows at `x`.

    Overdispersion is a smaller effective number of rows (design effect: Kish, "Survey Sampling", 1965).
    """
    p = np.clip(p, 1e-6, 1 - 1e-6)
    above = x >= p
    x, p = np.where(above, x, 1 - x), np.where(above, p, 1 - p)
    k = x * rows
    rest = np.maximum(rows - k, 0)
    reach = np.where(k > TINY, betainc(np.maximum(k, TINY), rest + 1, p), 1.0)
    past = np.where(rest > TINY, betainc(k + 1, np.maximum(rest, TINY), p), 0.0)
    z = np.maximum(-ndtri(np.maximum(0.5 * (reach + past), SMALLEST)), 0)
    return np.asarray(np.where(above, z, -z))


def student_deviation(t: FloatArray, freedom: float) -> FloatArray:
    """Standard normal deviate as rare as `t` is in Student's distribution (Wallace, 1959; good to 0.02)."""
    share = (8 * freedom + 1) / (8 * freedom + 3)
    return np.asarray(np.sign(t) * share * np.sqrt(freedom * np.log1p(t**2 / freedom)))
