"""What a cell should have been: a robust level, a season and a scale, walking forward one window at a time."""

from dataclasses import dataclass

import numpy as np

from quality.detector import location, scales, transforms
from quality.detector.layout import COUNT, GIVEN, RATIO, Block
from quality.detector.panel import BoolArray, FloatArray, IntArray, Options

LEVEL = 28  # windows of the level
LONG = 84  # windows of the level of what is seen seldom, and of the scale
FEW = 8  # observations in LEVEL windows below which the level looks back LONG windows
MATCH = 56  # windows over which the candidates are compared; a return is to the level of MATCH windows ago
SEASONS = 8  # seasons of the seasonal effect
YOUNG = 4  # seasons in which the effect is learnt anew in every window, not only at the start of a season
STRONG = 5.0  # standard deviations: teaches nothing
LEARNT = 5  # observations from which on one can be strong: those with an opinion of their cell
QUIET = 3  # ordinary observations that end a run of strong ones
RETURN = 3  # strong observations in a row at the level of MATCH windows ago: that is normal again
FRESH = 7  # windows whose strong observations do not yet widen the scale
CAP = 1.5  # prior scales up to which past incidents can widen a scale
CALM = 3.0  # standard deviations that the strangest observation of the past is allowed to have been
PRIOR_WEIGHT = 4.0  # observations that the prior scale is worth
LITTLE = 1e-9  # weight
LEAST_MASS = 0.3  # weight that a level has at least, in those of the observation that is judged by it
Q50, Q90, Q97 = 0.6745, 1.645, 2.17  # quantiles of the absolute value of a standard normal
MANY = 30  # observations from which the 97 % quantile is looked at
STEP = 0.7  # share of the distance to the next count that the scale of a count is at least

# How a value is predicted: share of the last value in the prediction, and rows beyond which more rows hardly help. A
# candidate but the first must have been better by its margin, in log-likelihood per observation.
CANDIDATES = ((0.0, transforms.ROWS), (0.0, 5.0), (1.0, transforms.ROWS))
MARGINS = np.array([[0.0], [0.1], [0.35]])
SHARES = np.array([share for share, _ in CANDIDATES])


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """All T x C, on the scale of the column."""

    y: FloatArray
    shift: FloatArray
    level: FloatArray
    season: FloatArray
    rest: FloatArray  # the seasonal effect of a rest day: of Sunday
    width: FloatArray  # standard deviation; of ratios on the arc scale
    worth: FloatArray  # weight of the observation by its rows: 1 for a count, and for 30 effective rows
    mass: FloatArray  # weight behind the level
    taught: BoolArray
    history: IntArray  # observations that taught, before the window
    base: IntArray  # row from which on levels are of what is normal now


class Walker:
    """The state between two windows of a block."""

    def __init__(self, block: Block, options: Options) -> None:
        self.options, self.base_known = options, block.base
        self.season, self.nature = block.season, block.nature
        self.count, self.ratio = block.nature == COUNT, block.nature == RATIO
        self.skewed = ~(self.count | self.ratio)
        self.of = scales.scaled(block, tuple(enough for _, enough in CANDIDATES))
        self.seen = np.isfinite(self.of.y) & np.isfinite(self.of.noise[0])
        self.noise = np.where(self.seen, self.of.noise, 1.0)
        self.logs = np.log(self.noise).astype(np.float32)
        self.filled = np.where(self.seen, self.of.y, 0.0)
        self.weight = np.where(self.count, 1.0, 2 / (transforms.ROWS * self.noise[0] ** 2))
        self.taught = self.of.teaches & self.seen
        rows, columns = self.of.y.shape
        self.residual = np.full((len(CANDIDATES), rows, columns), np.nan, np.float32)  # of what teaches
        self.every = self.residual.copy()  # and of strong ones
        self.level, self.effect, self.rest, self.width, self.mass = (np.full((rows, columns), np.nan) for _ in range(5))
        self.history, self.bases = np.zeros((rows, columns), np.int64), np.zeros((rows, columns), np.int64)
        self.scale = np.where(self.of.relative, np.nan, self.of.prior)
        self.effects = np.zeros((block.season, columns))
        self.doubt = location.doubt(np.zeros((0, columns)), block.season, block.nature)
        self.last = np.full(columns, np.nan)
        self.number, self.base, self.quiet, self.home = (np.zeros(columns, np.int64) for _ in range(4))
        self.met = np.tile(~np.isin(block.nature, [COUNT, GIVEN]), (2, 1))  # a working day, a free one
        self.run = np.full(columns, -1)  # row of the first of a run of strong observations

    def walk(self) -> Walk:
        """Judge every window from those before it."""
        for t in range(len(self.of.y)):
            self._rebase(t)
            self._learn_season(t)
            self._judge(t)
        width = np.where(self.seen, self.width, np.nan)
        known = self.weight, self.mass, self.taught, self.history, self.bases
        return Walk(self.of.y, self.of.shift, self.level, self.effect, self.rest, width, *known)

    def _rebase(self, t: int) -> None:
        changed = self.base_known[t] > self.base
        self.base = np.where(changed, self.base_known[t], self.base)
        self.last = np.where(changed, np.nan, self.last)
        self.run = np.where(changed, -1, self.run)

    def _learn_season(self, t: int) -> None:
        if t == 0 or self.season == 1 or (t % self.season and t >= YOUNG * self.season):
            return
        start = max(0, t // self.season - SEASONS) * self.season
        weight = np.where(self.taught[start:t], self.weight[start:t], 0.0)
        self.effects = location.seasonal(self.filled[start:t], weight, self.season, self.nature)
        self.doubt = location.doubt(weight, self.season, self.nature)

    def _judge(self, t: int) -> None:
        level, mass = self._level(t)
        self._learn_scale(t, level)
        best = self._best(t)
        scale = self._scale(t, best)
        last = np.where(np.isnan(self.last), level, self.last)
        effect, spread = self.effects[t % self.season], self._spread(t, mass)
        columns = np.arange(len(level))
        self.level[t] = level + SHARES[best] * (last - level)
        self.effect[t], self.mass[t] = effect, mass
        self.rest[t] = self.effects[-1] if self.season == location.WEEK else effect
        self.width[t] = scale * self.noise[best, t, columns] * spread
        self.history[t], self.bases[t] = self.number, self.base
        off = {share: self._off(t, level + share * (last - level) + effect) / spread for share in set(SHARES)}
        for index, share in enumerate(SHARES):
            here = np.where(self.taught[t], off[share] / self.noise[index, t], np.nan)
            self.residual[index, t] = self.every[index, t] = here
        self.scale = scale
        with np.errstate(invalid="ignore"):
            limit = np.where(self.run >= 0, STRONG / 2, STRONG)  # in a run of strong ones what is doubtful is strong
            strong = np.abs(self._off(t, self.level[t] + effect)) > limit * self.width[t]
        kind = int(self.season == location.WEEK and t % self.season >= location.FREE.start)
        judged = self.taught[t] & (self.number >= LEARNT) & self.met[kind]
        self.met[kind] |= self.taught[t]  # the first free day is far off, and must teach: else no free day ever would
        self._remember(t, strong & judged)

    def _spread(self, t: int, mass: FloatArray) -> FloatArray:
        """Standard deviation of the residual, in those of the observation alone: level and effect are uncertain too.

        That of the posterior predictive of a normal mean (Gelman et al., "Bayesian Data Analysis", 2.5).
        """
        weight = self.weight[t]
        level = np.minimum(weight / np.maximum(mass, LITTLE), 1 / LEAST_MASS)
        return np.asarray(np.sqrt(1 + level + weight * self.doubt[t % self.season]))

    def _off(self, t: int, expected: FloatArray) -> FloatArray:
        """The residual, of ratios on the arc scale; NaN: not seen."""
        off = self.of.y[t] - expected
        off[self.ratio] = transforms.arc(self.of.y[t, self.ratio]) - transforms.arc(expected[self.ratio])
        return np.where(self.seen[t], off, np.nan)

    def _level(self, t: int) -> tuple[FloatArray, FloatArray]:
        """Robust location of the last windows without their season, and the weight behind it."""
        everything = np.arange(len(self.base))
        level, mass, number = self._located(max(0, t - LEVEL), t, everything)
        few = np.flatnonzero(number < FEW)
        if t > LEVEL and len(few):
            level[few], mass[few], _ = self._located(max(0, t - LONG), t, few)
        return level, mass

    def _located(self, start: int, t: int, columns: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
        if t == start:
            return np.full(len(columns), np.nan), np.zeros(len(columns)), np.zeros(len(columns), np.int64)
        rows = np.arange(start, t)
        pick = slice(start, t), slice(None) if len(columns) == len(self.base) else columns
        taught = self.taught[pick] & (rows[:, None] >= self.base[columns])
        weight = np.where(taught, self.weight[pick], 0.0)
        data = self.filled[pick] - self.effects[rows % self.season][:, pick[1]]
        ratio, skewed = self.ratio[columns], self.skewed[columns]
        at = location.weighted_mean(data, weight, ratio)
        at[skewed] = location.median(data[:, skewed], taught[:, skewed])
        unknown = np.isnan(self.scale[columns])
        scale = np.where(unknown, self.of.prior[columns] * np.abs(at), self.scale[columns])
        reach = scale * self.noise[0][pick]
        return location.located(data, weight, at, reach, ratio), weight.sum(0), taught.sum(0)

    def _learn_scale(self, t: int, level: FloatArray) -> None:
        """The prior scale and the least one, as far as they depend on the level."""
        size = np.where(self.of.relative, np.abs(np.nan_to_num(level)), 1.0)
        mean = transforms.count_value(np.nan_to_num(level) + self.effects[t % self.season])
        step = STEP / np.sqrt(np.maximum(mean + transforms.OVERDISPERSION * mean**2, 0.25))
        self.prior = self.of.prior * size
        self.least = np.where(self.count, np.maximum(self.of.least, step), self.of.least * size)

    def _best(self, t: int) -> IntArray:
        """The candidate that would have predicted the last windows best."""
        if t < FEW:
            return np.zeros(len(self.base), np.int64)
        near = slice(max(0, t - MATCH), t)
        there = np.isfinite(self.residual[:, near])
        number = np.maximum(there[0].sum(0), 1)
        usual = np.where(np.isnan(self.scale), self.prior, self.scale)
        far = np.maximum(9 * usual**2, 1e-24).astype(np.float32)
        square = np.where(there, np.minimum(self.residual[:, near] ** 2, far), 0).sum(1) / number
        logs = np.where(there, self.logs[:, near], 0).sum(1) / number
        cost = logs + 0.5 * np.log(square + 0.01 * far / 9) + MARGINS
        return np.where(there[0].sum(0) >= FEW, cost.argmin(0), 0)

    def _scale(self, t: int, best: IntArray) -> FloatArray:
        """Quantiles of past residuals, shrunk to the prior; wide enough for what past incidents were, up to CAP."""
        least, prior = np.maximum(self.least, 1e-12), np.maximum(self.prior, 1e-12)
        if t == 0:
            return np.maximum(prior, least)
        start, columns = max(0, t - LONG), np.arange(len(best))
        ordered = np.sort(np.abs(self.residual[best, start:t, columns]), axis=1)  # NaN last
        number = np.isfinite(ordered).sum(1)
        end = np.maximum(number - 1, 0)
        own = np.maximum(ordered[columns, end // 2] / Q50, ordered[columns, np.minimum(9 * number // 10, end)] / Q90)
        rare = ordered[columns, np.minimum(97 * number // 100, end)] / Q97
        own = np.where(number >= MANY, np.maximum(own, rare), own)
        own = np.where(number > 0, own, prior)
        strangest = np.abs(self.every[best, start : max(start + 1, t - FRESH), columns])
        largest = np.nan_to_num(np.fmax.reduce(strangest, axis=1))
        own = np.maximum(np.maximum(own, np.minimum(largest / CALM, CAP * prior)), least)
        share = number / (number + PRIOR_WEIGHT)
        return np.asarray(np.exp(share * np.log(own) + (1 - share) * np.log(prior)))

    def _remember(self, t: int, strong: BoolArray) -> None:
        ordinary = self.taught[t] & ~strong
        self.home = np.where(strong & self._returned(t), self.home + 1, np.where(self.taught[t], 0, self.home))
        self.run = np.where(strong & (self.run < 0), t, self.run)
        self.quiet = np.where(strong, 0, self.quiet + ordinary)
        self.run = np.where((self.quiet >= QUIET) & ~strong, -1, self.run)
        self.taught[t] = ordinary
        self.residual[:, t, strong] = np.nan
        lasted = strong & ((t - self.run + 1 >= self.options.learn_shift_after) | (self.home >= RETURN))
        self.number = self.number + ordinary
        now = self.filled[t] - self.effects[t % self.season]
        rows = 1 / self.noise[0, t] ** 2
        now = np.where(self.ratio, (now * rows + location.JEFFREYS) / (rows + 2 * location.JEFFREYS), now)
        self.last = np.where(ordinary | lasted, now, self.last)
        for column in np.flatnonzero(lasted):
            self._accept(t, int(column))

    def _returned(self, t: int) -> BoolArray:
        """Where the value is at the level of MATCH windows ago."""
        if t < MATCH:
            return np.zeros(len(self.base), bool)
        with np.errstate(invalid="ignore"):
            off = self._off(t, self.level[t - MATCH] + self.effects[t % self.season])
            return np.asarray(np.abs(off) < STRONG / 2 * self.width[t])

    def _accept(self, t: int, column: int) -> None:
        """What was strange since the run began is the new normal."""
        start = int(self.run[column])
        rows = slice(start, t + 1)
        self.base[column] = start
        self.taught[rows, column] = self.of.teaches[rows, column] & self.seen[rows, column]
        self.residual[:, rows, column] = self.every[:, rows, column] = np.nan
        self.run[column], self.home[column] = -1, 0
