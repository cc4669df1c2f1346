"""How far each cell strays, at several time scales: the features that the forest isolates cells by.

Every feature is >= 0 and larger is stranger. Those of values are in standard deviations, those of chances in nats.
"""

import numpy as np

from quality.detector import transforms
from quality.detector.expectation import LEVEL, LONG, Walk
from quality.detector.layout import COUNT, GIVEN, HARMS, RATIO, Block
from quality.detector.panel import BoolArray, FloatArray, Harm
from quality.detector.repeats import constancy, stale
from quality.detector.rolling import before, windowed
from quality.detector.scales import rows_behind
from quality.detector.zeros import zero

FEATURES = ("today", "three", "week", "drift", "constant", "stale", "zero")
CLIP = 4.0  # standard deviations that one window adds to accumulated evidence at most
REACH = 15.0  # all features end here: beyond, nothing is stranger
FREEDOM = 10.0  # degrees of freedom of the tails of what is neither a ratio nor a count of its own
HOLIDAY = 0.7  # holidays are of many kinds: what is off on one counts less
THREE, FORTNIGHT = 3, 14  # windows
PRIOR_MASS = 14.0  # windows that the prior of accumulated evidence is worth
PRIOR_VARIANCE = 0.8  # of what some days add up to, until learnt; on average 0.3 (ratios) to 0.8 (counts given rows)
DRIFT_VARIANCE = 1.0  # of a drift, until learnt
LITTLE = 1e-9  # weight
CALMEST = 0.7  # standard deviation of accumulated evidence at least
WEIGHTS = {Harm.BOTH: (1.0, 1.0), Harm.FALL: (1.0, 0.5), Harm.RISE: (0.35, 1.0)}
FELT = np.array([WEIGHTS[harm] for harm in HARMS])  # by harm: how much a fall counts, and a rise
FRESH = 0.2  # how much it counts that an age falls: something came in


def deviations(block: Block, walk: Walk) -> FloatArray:
    """T x C: signed deviates; on a holiday anything between its weekday and a rest day is expected."""
    day, rest = walk.level + walk.season, walk.level + walk.rest
    free = block.holiday[:, block.stream]
    near = np.clip(walk.y, np.minimum(day, rest), np.maximum(day, rest))
    return np.asarray(_tails(block, walk, np.where(free, near, day)) * np.where(free, HOLIDAY, 1.0))


def features(block: Block, walk: Walk, z: FloatArray) -> FloatArray:
    """T x C x len(FEATURES), of the deviates `z`. On a holiday nobody is late: nothing is added to an age."""
    free = block.holiday[:, block.stream]
    quiet = np.where(free, 0 * z, z)
    added = (
        _still(_lasting(block, walk, quiet, THREE), z, walk.taught),
        _still(_lasting(block, walk, quiet, block.season), z, walk.taught),
        _drift(block, walk),
    )
    found = (
        np.abs(felt(z, block)),
        *(np.where(free & block.age, 0 * z, one) for one in added),
        constancy(block),
        stale(block),
        zero(block, walk.taught),
    )
    return np.minimum(np.nan_to_num(np.stack(found, axis=-1).astype(np.float32)), REACH)


def weights_of(block: Block) -> FloatArray:
    """C x 2: how much a fall counts, and a rise."""
    weights = FELT[block.harm]
    weights[block.age, 0] = FRESH
    return np.asarray(weights)


def felt(z: FloatArray, block: Block) -> FloatArray:
    """Deviates by the harm they do."""
    weights = weights_of(block)
    return np.asarray(z * np.where(z < 0, weights[:, 0], weights[:, 1]))


def _tails(block: Block, walk: Walk, expected: FloatArray) -> FloatArray:
    """Deviates by the tail of the scale: negative binomial, binomial, or Student's."""
    with np.errstate(invalid="ignore"):
        z = np.where(walk.y == expected, 0.0, (walk.y - expected) / walk.width)
    z[np.isnan(walk.width)] = np.nan
    seen, other = np.isfinite(z), ~np.isin(block.nature, [COUNT, RATIO])
    z[:, other] = transforms.student_deviation(z[:, other], FREEDOM)
    at = seen & (block.nature == COUNT)
    z[at] = transforms.count_deviation(block.values[at], transforms.count_value(expected[at]), walk.width[at])
    at = seen & (block.nature == RATIO)
    rows = np.minimum(1 / walk.width[at] ** 2, rows_behind(block)[at])
    z[at] = transforms.ratio_deviation(block.values[at], expected[at], rows)
    return np.clip(z, -transforms.FURTHEST, transforms.FURTHEST)


def _lasting(block: Block, walk: Walk, z: FloatArray, length: int) -> FloatArray:
    """Sum of the last `length` deviates from the level before them, over the root of their number; NaN: not seen.

    A level that follows what is strange would hide what lasts. All of them have the error of that one level in common:
    the variance of their sum, in units of its own, is one and their weight over the weight behind the level.
    """
    p = np.clip(walk.level, 0.01, 0.99)
    unit = walk.width * np.where(block.nature == RATIO, np.sqrt(p * (1 - p)), 1.0)
    first, behind = _earlier(walk, walk.level, length - 1), _earlier(walk, walk.mass, length - 1)
    total, number, worth = np.zeros_like(z), np.zeros_like(z), np.zeros_like(z)
    for back in range(min(length, len(z))):
        then = slice(0, len(z) - back)
        moved = np.nan_to_num((walk.level[then] - first[back:]) / unit[then])
        one = np.clip(felt(z[then] + np.where(z[then] == 0, 0, moved), block), -CLIP, CLIP)
        seen = np.isfinite(one)
        total[back:] += np.where(seen, one, 0)
        number[back:] += seen
        worth[back:] += np.where(seen, walk.worth[then], 0)
    enough = np.isfinite(z) & (number >= min(length, 2))
    return np.where(enough, total / np.sqrt(np.maximum(number, 1) * (1 + _doubt(worth, behind))), 0 * z)


def _earlier(walk: Walk, known: FloatArray, windows: int) -> FloatArray:
    """What was `known` so many windows ago; NaN if what is normal has changed since."""
    row = np.arange(len(known))[:, None]
    moved = np.vstack([np.full((min(windows, len(known)), known.shape[1]), np.nan), known])[: len(known)]
    return np.where((walk.base > row - windows) & (walk.base > 0), np.nan, moved)


def _doubt(weight: FloatArray, behind: FloatArray) -> FloatArray:
    """Variance of the mean of observations of `weight` that the level adds to it, by the weight `behind` the level."""
    return np.asarray(np.nan_to_num(weight / np.maximum(behind, LITTLE)))


def _still(lasting: FloatArray, z: FloatArray, taught: BoolArray) -> FloatArray:
    """Accumulated evidence, where the window itself strays the same way: once it no longer does, it is over."""
    return np.where(lasting * z > 0, _usual(lasting, taught, PRIOR_VARIANCE), 0 * lasting)


def _usual(lasting: FloatArray, taught: BoolArray, prior: float) -> FloatArray:
    """Accumulated evidence in units of what it has been: windows that follow each other are not independent."""
    seen = np.isfinite(lasting)
    square = before(windowed(np.where(taught & seen, np.nan_to_num(lasting) ** 2, 0.0), LONG))
    number = before(windowed((taught & seen).astype(float), LONG))
    usual = np.sqrt((square + PRIOR_MASS * prior) / (number + PRIOR_MASS))
    return np.where(seen, np.abs(lasting) / np.maximum(usual, CALMEST), np.nan)


def _drift(block: Block, walk: Walk) -> FloatArray:
    """The last fortnight against the level of LEVEL windows ago; of counts growth is no harm."""
    old, behind = _earlier(walk, walk.level, LEVEL), _earlier(walk, walk.mass, LEVEL)
    old[:, np.isin(block.nature, [COUNT, GIVEN])] = np.nan
    z = felt(np.clip(_tails(block, walk, old + walk.season), -CLIP, CLIP), block)
    seen = np.isfinite(z)
    number = windowed(seen.astype(float), FORTNIGHT)
    doubt = _doubt(windowed(np.where(seen, walk.worth, 0.0), FORTNIGHT), behind)
    mean = windowed(np.nan_to_num(z), FORTNIGHT) / np.sqrt(np.maximum(number, 1) * (1 + doubt))
    return _usual(np.where(seen & (number > 1), mean, 0 * z), seen, DRIFT_VARIANCE)
