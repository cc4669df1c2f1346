"""How surprising is a value, given those before it? Trailing quantiles and tails that never look ahead."""

from collections.abc import Iterator

import numpy as np

from quality.detector.panel import FloatArray

DECADE = float(np.log(10))  # nats
MOST = 8 * DECADE  # no past is long enough to tell rarer from rarer
TAIL = 0.98  # above this quantile of the past the tail is taken for exponential
NARROWEST = 1e-3  # mean excess of a tail, of values that are logarithms
ENOUGH = 24  # values before anything is surprising, or has a quantile
REFRESH = (
    1 / 50,
    20,
    200,
)  # the past is sorted anew when it has grown by this share, at least and at most so many points


def surprise(values: FloatArray, span: int | None) -> FloatArray:
    """-ln of the share of past values at least as large, in 0..MOST; 0 while there are few. NaN surprises nobody.

    values: >= 0, on a logarithmic scale. span: only so many values before count; None: all.
    Within the past it is the empirical share; beyond its TAIL quantile an exponential one with the mean excess there:
    a peaks-over-threshold estimate (Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, ch. 4).
    """
    result = np.zeros(len(values))
    for at, end in _refreshes(len(values)):
        past = values[max(0, at - span) if span else 0 : at]
        past = np.sort(past[np.isfinite(past)])
        if len(past) >= ENOUGH:
            result[at:end] = _surprise(values[at:end], past)
    return np.clip(np.where(np.isnan(values), 0, result), 0, MOST)


def _surprise(values: FloatArray, past: FloatArray) -> FloatArray:
    """Of `values` after the sorted `past`."""
    threshold = float(np.quantile(past, TAIL))
    excess = past[past > threshold] - threshold
    scale = max(float(excess.mean()) if len(excess) else 0.0, NARROWEST)
    at_least = len(past) - np.searchsorted(past, values) + 1
    within = -np.log(at_least / (len(past) + 1))
    beyond = -np.log(1 - TAIL) + (values - threshold) / scale
    return np.where(values > threshold, beyond, within)


def so_far(values: FloatArray, quantile: float) -> FloatArray:
    """That quantile of all values before each, missing ones apart; NaN where fewer than ENOUGH are there."""
    result = np.full(len(values), np.nan)
    for at, end in _refreshes(len(values)):
        past = values[:at][np.isfinite(values[:at])]
        if len(past) >= ENOUGH:
            result[at:end] = np.quantile(past, quantile)
    return result


def _refreshes(length: int) -> Iterator[tuple[int, int]]:
    """First and end of the points that share one look at the past."""
    share, least, most = REFRESH
    at = ENOUGH
    while at < length:
        end = min(length, at + int(np.clip(at * share, least, most)))
        yield at, end
        at = end


def trailing(values: FloatArray, width: int, *quantiles: float, least: int = 3) -> list[FloatArray]:
    """Quantiles of the last `width` values before each, missing ones apart; NaN where fewer than `least` are there.

    Refreshed every 24th of `width` only: what is that old hardly moves a quantile.
    """
    if not len(values):
        return [values for _ in quantiles]
    every = max(1, width // 24)
    padded = np.concatenate([np.full(width, np.nan), values[:-1]])
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, width)[::every], axis=1)
    there = np.isfinite(windows).sum(axis=1)
    rows = np.arange(len(windows))
    results = []
    for quantile in quantiles:
        at = np.maximum(there - 1, 0) * quantile
        low = windows[rows, np.floor(at).astype(int)]
        high = windows[rows, np.ceil(at).astype(int)]
        middle = np.where(there >= least, low + (high - low) * (at % 1), np.nan)
        results.append(np.repeat(middle, every)[: len(values)])
    return results


def running(values: FloatArray, width: int) -> FloatArray:
    """Sum of the last `width` values up to and including each."""
    total = np.concatenate([np.zeros(width), np.cumsum(values)])
    return np.asarray(total[width:] - total[:-width])
