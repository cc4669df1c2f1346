"""From a score to an alarm: the threshold that keeps a budget of false alarms."""

from dataclasses import dataclass

import numpy as np

from quality.detector.panel import QUARTER, FloatArray

LASTS = 1.3  # windows that one false alarm lasts on average
PLAIN_SCORE = 0.3  # up to which a score is only in proportion to the norm of its features: no forest gave it
ORDINARY = 0.5, 0.85  # quantiles of the scores by a forest between which they are hardly ever those of incidents
TRIMS = 3  # times that what alarms is taken out, and the tail fitted again
ENOUGH = 50  # stream-windows below which only the prior counts
FEWEST = 20  # of them with a score by a forest
SCALE = 0.03  # of the tail, before there is a past
PRIOR_WINDOWS = 400.0  # stream-windows that the prior threshold is worth


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores from `score` on alarm; a score `scale` higher is e times rarer."""

    score: float
    scale: float

    def rarity(self, score: FloatArray) -> FloatArray:
        """How many times rarer than the budget allows; 1 at the threshold."""
        return np.asarray(np.exp(np.clip((score - self.score) / self.scale, -50, 50)))


def calibrated(past: FloatArray, prior: float, false_alarms_per_quarter: float) -> Threshold:
    """The threshold by the scores `past` of stream-windows (NaN: blind), blended with `prior` while they are few.

    Nobody has labelled the past, and its highest scores are incidents. So the tail is not counted but drawn: it is
    taken for exponential from where scores are ordinary (peaks over a threshold: Pickands, 1975; Siffer et al.,
    "Anomaly detection in streams with extreme value theory", 2017), and fitted again without what would alarm. Only
    scores by a forest are of that tail; how many stream-windows have none says how often there is one at all.
    """
    chance = false_alarms_per_quarter * LASTS / QUARTER
    known = np.sort(past[np.isfinite(past)])
    prior -= SCALE * float(np.log(false_alarms_per_quarter))  # it is that of one
    scale, own = SCALE, prior
    far = known[known > PLAIN_SCORE]
    if len(known) >= ENOUGH and len(far) >= FEWEST:
        within = far
        for _ in range(TRIMS):
            low, high = np.quantile(within, ORDINARY)
            scale = max(float((high - low) / np.log((1 - ORDINARY[0]) / (1 - ORDINARY[1]))), 1e-3)
            beyond = (1 - ORDINARY[1]) * len(within) / len(known)
            own = float(high + scale * np.log(beyond / chance))
            within = far[far < max(own, high)]
    share = len(known) / (len(known) + PRIOR_WINDOWS)
    return Threshold(share * own + (1 - share) * prior, scale)
