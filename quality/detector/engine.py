"""Judges streams of daily observations: every window from what was known before it, one forest for all.

Walk-forward: the forest and the threshold of an ISO week know windows up to a week before its Monday, and a cell is
compared with windows before its own, so no answer changes when later windows come in. `since` changes none either:
what a week is judged by does not depend on how other weeks were judged.

Blind: a cell has no opinion before MIN_HISTORY observations that teach, nor while its level is unknown (right after a
change), nor has a count on the first free day, or the first working day, that there ever was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from quality.detector import bounds, calibration, evidence, forest, sampling, witnesses, zeros
from quality.detector.expectation import Walker
from quality.detector.layout import MONDAY, Block, blocks, by_name, day_number
from quality.detector.location import WEEK
from quality.detector.panel import BoolArray, FloatArray, IntArray, Options, Stream, check_names
from quality.detector.sampling import Evidence

WIDTH = 1200  # columns walked through at once
MIN_HISTORY = 5  # observations below which a cell is blind
EVER = day_number(date.min)
PLAIN = 2.0  # norm of the features up to which a cell is not put through the forest


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Of one stream; all arrays have a row per window, and those of cells a column per measure."""

    score: FloatArray  # T: strangeness of the strangest cell; NaN: blind
    alarm: BoolArray  # T: at the threshold of the budget, or by the rule for the blind (`zeros.unmistakable`)
    rarity: FloatArray  # T: how many times rarer than the budget allows; >= 1 exactly where there is an alarm
    cells: FloatArray  # T x F: score per measure; NaN: no opinion
    expected: FloatArray  # T x F, in the unit of the value; NaN where the cell is blind
    low: FloatArray  # T x F: from here ... (NaN also where there is no value, and before `since`)
    high: FloatArray  # T x F: ... to here a single day is no alarm
    blind: BoolArray  # T x F: too little history for an opinion
    history: IntArray  # T x F: observations before the window that teach
    drivers: IntArray  # T x F: index into evidence.FEATURES of what made the cell strange; -1: nothing
    quiet: BoolArray  # T: most sources fell together, so it is judged like a holiday


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A block and what is made of it, week by week."""

    of: Evidence
    score: FloatArray  # T x C
    top: FloatArray  # T x S
    rarity: FloatArray  # T x S
    alarm: BoolArray  # T x S
    limit: FloatArray  # T x S: standard deviations


def judge(streams: Sequence[Stream], options: Options = Options(), *, since: date | None = None) -> list[Judgement]:  # noqa: B008 -- frozen
    """One judgement per stream, in their order; windows before `since` have no score (NaN) and no alarm.

    Blocks of streams are prepared by joblib: sequentially, unless a `joblib.parallel_config` says otherwise. Raises
    ValueError if two streams have the same name.
    """
    from joblib import Parallel, delayed  # type: ignore[import-untyped]  # noqa: PLC0415 -- half a second

    check_names(streams)
    quiet = witnesses.quiet_days(streams, options, WIDTH)
    known = [replace(stream, holidays=stream.holidays | quiet) for stream in streams]
    parts = [part for part in blocks(known, WIDTH) if part.values.size]
    judged = list(Parallel()(delayed(_prepared)(block, options) for block in parts))
    first = EVER if since is None else day_number(since)
    for week in sorted({int(week) for one in judged for week in np.unique((one.of.day + MONDAY) // WEEK)}):
        if (week + 1) * WEEK - MONDAY > first:
            _judge_week(judged, week * WEEK - MONDAY, first, options)
    found = {name: one for part in judged for name, one in _judgements(part, quiet)}
    return [found.get(stream.name) or _nothing(stream) for stream in streams]


def _prepared(block: Block, options: Options) -> Judged:
    walk = Walker(block, options).walk()
    z = evidence.deviations(block, walk)
    features = evidence.features(block, walk, z)
    day = block.origin + np.arange(len(block.values))[:, None]
    rarity = np.full(day.shape, np.nan)
    unmistakable = zeros.unmistakable(block, options.false_alarms_per_quarter)
    if unmistakable.size:
        blind = np.where(walk.history < MIN_HISTORY, unmistakable, 0)
        rarer = np.maximum.reduceat(blind, block.begin[:-1], axis=1)
        rarity = np.where(rarer >= 1, rarer, np.nan)
    opinion = np.isfinite(z) & (walk.history >= MIN_HISTORY) & zeros.met(block, walk.taught)
    return Judged(
        Evidence(block, walk, features, np.sqrt((features**2).sum(-1)), day, opinion),
        np.full(z.shape, np.nan),
        np.full(day.shape, np.nan),
        rarity,
        np.zeros(day.shape, bool),
        np.full(day.shape, np.nan),
    )


def _judge_week(judged: list[Judged], monday: int, first: int, options: Options) -> None:
    known = monday - WEEK
    gathered = [one.of for one in judged]
    past = sampling.cells(gathered, known)
    short = forest.ordinary(max(forest.ROWS - len(past), 0), past.shape[1], options.seed)
    model = forest.fitted(np.vstack([past, short]), options.seed)
    recent, norm = sampling.strangest(gathered, known)
    alone = bounds.lonely(bounds.GRID)
    norms = np.concatenate([np.sqrt((alone**2).sum(1)), norm])
    scores = _scored(model, np.vstack([alone, recent]), norms)
    grid, past_scores = np.split(scores, [len(alone)])
    threshold = calibration.calibrated(past_scores, bounds.prior(grid), options.false_alarms_per_quarter)
    limit = bounds.limit(grid, threshold.score)
    for one in judged:
        day = one.of.day
        due = (day >= max(monday, first)) & (day < monday + WEEK)
        rows = np.flatnonzero(due.any(1))
        if len(rows):
            _judge_rows(one, rows, due[rows], model, threshold)
            one.limit[due] = limit


def _judge_rows(
    one: Judged, rows: IntArray, due: BoolArray, model: forest.Scorer, threshold: calibration.Threshold
) -> None:
    cells = np.nonzero(due[:, one.of.block.stream] & one.of.opinion[rows])
    at = rows[cells[0]], cells[1]
    one.score[at] = _scored(model, one.of.features[at], one.of.norm[at])
    top = np.fmax.reduceat(one.score[rows], one.of.block.begin[:-1], axis=1)
    rarity = np.fmax(threshold.rarity(top), one.rarity[rows])
    one.top[rows] = np.where(due, top, one.top[rows])
    one.rarity[rows] = np.where(due, rarity, one.rarity[rows])
    with np.errstate(invalid="ignore"):
        one.alarm[rows] |= due & (rarity >= 1)


def _scored(model: forest.Scorer, features: FloatArray, norm: FloatArray) -> FloatArray:
    score = calibration.PLAIN_SCORE * np.asarray(norm, float) / PLAIN
    far = norm > PLAIN
    score[far] = np.maximum(forest.strangeness(model, features[far]), calibration.PLAIN_SCORE)
    return score


def _judgements(one: Judged, quiet: frozenset[date]) -> Iterator[tuple[str, Judgement]]:
    block, walk, features = one.of.block, one.of.walk, one.of.features
    values = bounds.bounds(block, walk, one.limit[:, block.stream])
    driver = np.where(np.isfinite(one.score) & (features.max(-1) > 0), features.argmax(-1), -1)
    blind = (walk.history < MIN_HISTORY) | ~np.isfinite(values[0])
    rarity = np.where(one.alarm | np.isfinite(one.top), one.rarity, np.nan)
    for index, stream in enumerate(block.streams):
        rows = slice(int(block.offset[index]), int(block.offset[index]) + stream.windows)
        order = np.argsort(by_name(stream)) + block.begin[index]
        expected, low, high = (np.where(blind[rows, order], np.nan, value[rows, order]) for value in values)
        yield (
            stream.name,
            Judgement(
                one.top[rows, index],
                one.alarm[rows, index],
                rarity[rows, index],
                one.score[rows, order],
                expected,
                low,
                high,
                blind[rows, order],
                walk.history[rows, order],
                driver[rows, order],
                np.array([stream.start + timedelta(days=row) in quiet for row in range(stream.windows)], bool),
            ),
        )


def _nothing(stream: Stream) -> Judgement:
    """Of a stream without windows or measures."""
    windows = np.full(stream.windows, np.nan)
    cells = np.full(stream.values.shape, np.nan)
    no, none = np.zeros(stream.windows, bool), np.zeros(stream.values.shape, np.int64)
    return Judgement(windows, no, windows, cells, cells, cells, cells, none == 0, none, none - 1, no)
