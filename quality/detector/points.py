"""Judges one series of points at any cadence (minutes, hours), each by those before it alone: how rare is it.

Evidence of several kinds (points_evidence.py) is turned into surprise, each by its own past (points_tail.py); the
forest of the daily detector, refitted on a schedule on a bounded sample of everything before, says how strange a
point's surprises are together. No point teaches before it is judged.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from quality.detector import forest
from quality.detector.panel import BoolArray, FloatArray
from quality.detector.points_evidence import BLIND, Seen, Times, evidence
from quality.detector.points_tail import DECADE, MOST, surprise

ROWS = 1024  # past points that a forest is fitted to at most
GROWN, LATEST = 2.0, 2000  # refitted when the past has grown so much, or by so many points
FORESTS = 3  # whose mean counts: one alone depends on its seed by more than a small change of the series
ANCHORS = 81  # rows by which isolation is turned into surprise
LATELY, FEWEST = 0.025, 20  # share of the past, and points, in which the same event is not told again ...
ALARM_AT = 2.0  # decades; near the best threshold of the Numenta Anomaly Benchmark (bench/nab.py)
MARGIN = 0.2  # ... unless it has become so much stranger (decades: 1.6 times as rare)


@dataclass(frozen=True, slots=True, eq=False)
class PointJudgement:
    """Of n points; NaN (False) where the value is missing or too little history makes the detector blind."""

    score: (
        FloatArray  # decades: what every kind of evidence would have to show (2: once in 100 points) to be as strange
    )
    fresh: BoolArray  # clearly stranger than all points shortly before: an event begins here, or gets worse
    alarm: BoolArray  # fresh, and at or above `alarm_at`
    expected: FloatArray  # in the unit of the values
    low: FloatArray  # `low` to `high`: where 99 of 100 recent points would be
    high: FloatArray
    evidence: FloatArray  # n x len(EVIDENCE), decades: what is strange about it


def judge_points(
    times: Times, values: FloatArray, *, season: timedelta | None = None, seed: int = 0, alarm_at: float = ALARM_AT
) -> PointJudgement:
    """The judgement of each point from the points before it; the first BLIND values with a number are not judged.

    times: never decreasing; gaps, irregular steps and equal times are fine. values: NaN where there is none.
    season: after which the pattern repeats; None: looks for a daily and a weekly one.
    Raises ValueError for times out of order or missing, infinite values, unequal lengths, or a season of no length.
    """
    _check(times, values, season)
    known = np.isfinite(values)
    seen = evidence(times[known], values[known], season)
    surprises = _surprises(seen)
    score = _strangeness(surprises, seed)
    fresh = _fresh(score)
    return PointJudgement(
        score=_spread(score, known),
        fresh=_spread(fresh, known) == 1,
        alarm=_spread(fresh & (score >= alarm_at), known) == 1,
        expected=_spread(seen.expected, known),
        low=_spread(seen.expected - seen.range, known),
        high=_spread(seen.expected + seen.range, known),
        evidence=_spread(surprises / DECADE, known),
    )


def _check(times: Times, values: FloatArray, season: timedelta | None) -> None:
    if times.shape != values.shape or values.ndim != 1:
        raise ValueError(f"times and values must be two rows of equal length, not {times.shape} and {values.shape}")
    if np.isnat(times).any() or (times[1:] < times[:-1]).any():
        raise ValueError("times must be there and must not decrease: sort the points first")
    if np.isinf(values).any():
        raise ValueError("infinite value; use NaN for what was not observable")
    if season is not None and season <= timedelta(0):
        raise ValueError(f"season must be longer than nothing, not {season}")


def _surprises(seen: Seen) -> FloatArray:
    """Points x kinds of evidence: nats, against all of the past or its last `span` points."""
    return np.stack([surprise(kind, seen.span if recent else None) for kind, recent in seen.kinds], axis=1)


def _strangeness(surprises: FloatArray, seed: int) -> FloatArray:
    """Decades of equal surprise that the forest finds as strange as each point; NaN while blind."""
    points, kinds = surprises.shape
    score = np.full(points, np.nan)
    anchors = np.linspace(0, MOST, ANCHORS)
    at = BLIND
    while at < points:
        end = min(points, int(at * GROWN), at + LATEST)
        rows = np.arange(at)
        if at > ROWS:
            rows = np.random.default_rng([seed, at]).choice(at, ROWS, replace=False)
        asked = np.vstack([np.repeat(anchors[:, None], kinds, axis=1), surprises[at:end]])
        forests = [forest.fitted(surprises[rows], FORESTS * seed + number) for number in range(FORESTS)]
        strange = np.mean([forest.strangeness(one, asked) for one in forests], axis=0)
        known = np.maximum.accumulate(strange[:ANCHORS]) + np.arange(ANCHORS) * 1e-9  # np.interp needs it to rise
        score[at:end] = np.interp(strange[ANCHORS:], known, anchors) / DECADE
        at = end
    return score


def _fresh(score: FloatArray) -> BoolArray:
    """Whether each score is above all in the last points (LATELY of the past) by MARGIN."""
    known = np.nan_to_num(score)
    fresh = np.zeros(len(score), np.bool_)
    for at in range(BLIND, len(score)):
        lately = known[at - min(at, max(FEWEST, int(LATELY * at))) : at]
        fresh[at] = known[at] > lately.max() + MARGIN
    return fresh


def _spread(part: FloatArray | BoolArray, known: BoolArray) -> FloatArray:
    """`part` at the places of the known values, NaN elsewhere."""
    whole = np.full((len(known), *part.shape[1:]), np.nan)
    whole[known] = part
    return whole
