"""Sums over the last rows of a matrix, column by column."""

import numpy as np

from quality.detector.panel import FloatArray


def windowed(a: FloatArray, length: int) -> FloatArray:
    """At each row the sum over the last `length` rows, it included."""
    total = np.cumsum(a, axis=0)
    total[length:] -= total[:-length].copy()
    return np.asarray(total)


def before(a: FloatArray) -> FloatArray:
    """Moved down by a row: what was known before it; 0 in the first."""
    return np.vstack([np.zeros((1, a.shape[1])), a[:-1]])
