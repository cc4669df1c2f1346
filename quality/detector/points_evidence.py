"""What may be strange about a point: kinds of evidence, each measured against the points before it."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from quality.detector.panel import FloatArray
from quality.detector.points_tail import running, so_far, trailing

Times = NDArray[np.datetime64]

BLIND = 72  # points before the first opinion
SHORT, LONG = 12, 96  # points of a local level
RECENT = 24  # points by whose residuals a season's level is corrected
SPAN = 168, 2016  # points that count as recent: a week, between these (hours of a week, ten minutes of a fortnight)
DAYS, WEEKS = 7, 4  # seasons that say what is usual
BESIDE = -1, 0, 1  # the same slot and its neighbours: times jitter; a pattern of fewer points than two is not learnt
NEEDED = 4  # values at those: of two seasons at least
SHORTEST = 4  # steps of a season
HIT = 0.98  # quantile of recent residuals; beyond it is a hit
NARROW, WIDE, HEAVY = 0.5, 0.9, 0.7  # quantiles of a spread, and the weight of the wide one, which outliers reach
NORMAL = 0.6745, 1.6449  # those of a normal deviate's absolute value
FLOOR = 0.2  # of the spread over all of the past: a lull is no reason to jump at the first noise
RESOLUTION = 1e-9  # of the largest value so far: less is rounding
FURTHEST = 30.0  # spreads; also what any change after a constant past is
EVIDENCE = (
    "residual", "residual, recently", "level", "level, recently", "step", "step, recently",
    "day", "week", "weeks of late", "3 hits", "6 hits", "constant",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Evidence in the order of EVIDENCE (sizes; whether the recent past alone counts), and what was expected."""

    kinds: list[tuple[FloatArray, bool]]
    expected: FloatArray
    range: FloatArray  # half the width of what 99 of 100 recent residuals kept within
    span: int  # recent points


def evidence(times: Times, values: FloatArray, season: timedelta | None) -> Seen:
    """Of points in order, without missing values."""
    slots, seconds = _slots(times)
    day, week = (season, timedelta(0)) if season else (timedelta(days=1), timedelta(days=7))
    span = int(np.clip(timedelta(days=7).total_seconds() / seconds, *SPAN))
    by_day = _same_slot(slots, values, round(day.total_seconds() / seconds), DAYS)
    by_week = _same_slot(slots, values, round(week.total_seconds() / seconds), WEEKS)
    expected = _expected(values, by_day, by_week, span)
    rounding = RESOLUTION * np.nan_to_num(so_far(np.abs(values), WIDE))

    def spreads(part: FloatArray) -> FloatArray:
        return _spreads(np.where(np.abs(part) <= rounding, 0.0, part), span)

    residual, level = spreads(values - expected), spreads(values - so_far(values, 0.5))
    step = spreads(np.diff(values, prepend=values[:1]))
    weekly = values - by_week
    of_late = trailing(np.append(weekly, np.nan), RECENT, 0.5, least=RECENT // 2)[0][1:]
    hits = (np.abs(residual) > trailing(np.abs(residual), span, HIT, least=RECENT)[0]).astype(np.float64)
    kinds = [
        (residual, False), (residual, True), (level, False), (level, True), (step, False), (step, True),
        (spreads(values - by_day), False), (spreads(weekly), False), (spreads(of_late), False),
        (running(hits, 3), False), (running(hits, 6), False), (_constant(values), False),
    ]  # fmt: skip
    (reach,) = trailing(np.abs(values - expected), span, 0.99)
    return Seen(
        kinds=[(np.log1p(np.abs(kind)), recent) for kind, recent in kinds],
        expected=expected,
        range=np.nan_to_num(reach),
        span=span,
    )


def _slots(times: Times) -> tuple[NDArray[np.int64], float]:
    """The step in which each point lies, and a step's seconds.

    A step is the median distance of the first BLIND + 1 points: later ones must not change what was said before.
    """
    seconds = (times - times[:1]).astype("timedelta64[ms]").astype(np.int64) / 1000
    apart = np.diff(seconds[: BLIND + 1])
    step = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
    return np.round(seconds / step).astype(np.int64), step


def _same_slot(slots: NDArray[np.int64], values: FloatArray, steps: int, back: int) -> FloatArray:
    """Median of the values at the same slot, and beside it, in the seasons before; NaN where too few are there."""
    if steps < SHORTEST or not len(values):
        return np.full(len(values), np.nan)
    found = []
    for lag in range(1, back + 1):
        for beside in BESIDE:
            wanted = slots - lag * steps + beside
            at = np.maximum(np.searchsorted(slots, wanted, side="right") - 1, 0)
            found.append(np.where(slots[at] == wanted, values[at], np.nan))
    columns = np.sort(np.stack(found), axis=0)
    there = np.isfinite(columns).sum(axis=0)
    points = np.arange(len(values))
    middle = (columns[np.maximum(there - 1, 0) // 2, points] + columns[there // 2 % len(columns), points]) / 2
    return np.where(there >= NEEDED, middle, np.nan)


def _expected(values: FloatArray, by_day: FloatArray, by_week: FloatArray, span: int) -> FloatArray:
    """Of local levels and seasons, these with and without correction by recent residuals, what erred least of late."""
    short, long = (trailing(values, width, 0.5)[0] for width in (SHORT, LONG))
    candidates = [short, long]
    for season in (by_day, by_week):
        candidates += [season, season + trailing(values - season, RECENT, 0.5)[0]]
    errors = []
    for candidate in candidates:
        error = np.abs(values - candidate)
        known = np.isfinite(error).astype(np.float64)
        total, count = (_before(running(part, span)) for part in (np.nan_to_num(error), known))
        mean = np.maximum(total, 0) / np.maximum(count, 1)
        errors.append(np.where((count >= span // 7) & np.isfinite(candidate), mean, np.inf))
    best = np.argmin(errors, axis=0)
    chosen = np.stack(candidates)[best, np.arange(len(values))]
    start = np.where(np.isfinite(short), short, np.concatenate([values[:1], values[:-1]]))
    return np.where(np.isfinite(chosen), chosen, start)


def _before(part: FloatArray) -> FloatArray:
    """`part`, one point later: without what the point itself adds."""
    return np.concatenate([np.zeros(min(1, len(part))), part[:-1]])


def _spreads(part: FloatArray, span: int) -> FloatArray:
    """`part` in spreads of its recent past, at most FURTHEST; NaN where that is too short."""
    size = np.abs(part)
    narrow, wide = trailing(size, span, NARROW, WIDE, least=RECENT)
    recent = np.maximum(narrow / NORMAL[0], HEAVY * wide / NORMAL[1])
    spread = np.fmax(recent, FLOOR * so_far(size, WIDE) / NORMAL[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        spreads = np.where(part == 0, 0.0 * spread, part / spread)
    return np.clip(spreads, -FURTHEST, FURTHEST)


def _constant(values: FloatArray) -> FloatArray:
    """How many points before each had the same value without a break; 0 until a first change shows that it can."""
    places = np.arange(len(values))
    changed = np.maximum.accumulate(np.where(np.diff(values, prepend=values[:1]) == 0, 0, places))
    return np.where(changed > 0, places - changed, 0).astype(np.float64)
