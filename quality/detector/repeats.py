"""What repeats exactly: a number that never changed and now does, and a window that is a copy of the one before."""

import numpy as np

from quality.detector.layout import COUNT, RATIO, Block
from quality.detector.panel import BoolArray, FloatArray, IntArray
from quality.detector.scales import rows_behind

SHORT = 3  # repetitions that are no constancy yet
ENOUGH = 2  # measures that must repeat together
FEW = 2  # rows below which neither a copy nor a change is a surprise


def constancy(block: Block) -> FloatArray:
    """T x C: surprise of a change after a run of the same value, log(1 + length of the run beyond SHORT).

    Ages are never constant; and a first event after many windows without any, or one row that is unlike all others,
    is what rare events are like.
    """
    x = block.values
    count, ratio, rows = block.nature == COUNT, block.nature == RATIO, rows_behind(block)
    found = np.zeros_like(x)
    last, run = np.full(x.shape[1], np.nan), np.zeros(x.shape[1])
    for t in range(len(x)):
        seen, teaches = np.isfinite(x[t]), block.teaches[t]
        broken = seen & (x[t] != last) & np.isfinite(last)
        seldom = (count & (last == 0)) | (ratio & (np.abs(x[t] - last) * rows[t] < FEW))
        counts = broken & ~block.age & ~seldom
        found[t] = np.where(counts, np.log1p(np.maximum(run - SHORT, 0)), 0)
        run = np.where(teaches, np.where(broken, 0, run + 1), run)
        last = np.where(teaches, x[t], last)
    return found


def stale(block: Block) -> FloatArray:
    """T x C: surprise that everything is exactly as the window before, put on the volume of the stream.

    The chances of the measures to repeat are multiplied, up to the chance that they repeated together. Ages are left
    out, and windows of FEW rows: of one row all measures are alike.
    """
    found = np.zeros_like(block.values)
    for index in range(len(block.streams)):
        columns = np.arange(block.begin[index], block.begin[index + 1])
        if len(columns):
            told = _told(block, columns)
            copied = _copied(block.values[:, columns[~block.age[columns]]])
            few = block.volume[told] & (block.values[:, told] < FEW)
            found[:, told] = np.where(few, 0.0, copied)
    return found


def _told(block: Block, columns: IntArray) -> int:
    """Who is to blame: the volume, or the first by name."""
    return int(columns[block.volume[columns].argmax()])


def _copied(x: FloatArray) -> FloatArray:
    """Surprise, in nats, that a row of `x` is a copy of the one before."""
    seen = np.isfinite(x)
    both = np.vstack([np.zeros((1, x.shape[1]), bool), seen[1:] & seen[:-1]])
    same = np.vstack([np.zeros((1, x.shape[1]), bool), x[1:] == x[:-1]])
    alike = np.concatenate([[False], (seen[1:] == seen[:-1]).all(1)])
    chances = both.sum(1) >= ENOUGH
    copy = (same | ~both).all(1) & alike & chances & np.nan_to_num(x).any(1)
    chance = (_past(same) + 0.5) / (_past(both) + 1)
    apart = np.where(same, -np.log(chance), 0).sum(1)
    before = _past(copy[:, None])[:, 0]
    together = np.where(before > 0, np.log((_past(chances[:, None])[:, 0] + 1) / np.maximum(before, 1)), np.inf)
    return np.where(copy, np.minimum(apart, together), 0.0)


def _past(a: BoolArray) -> FloatArray:
    """How often, before each row."""
    return np.vstack([np.zeros((1, a.shape[1])), np.cumsum(a, axis=0)[:-1]])
