"""Streams stacked side by side: one matrix of windows x columns, so that numpy walks through all of them at once.

Row 0 of every stream is the first day of a season on a fixed calendar grid (for a week: a Monday), so row % season is
the phase of the season in every column, and an answer does not depend on the weekday on which a history begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from quality.detector.panel import BoolArray, FloatArray, Harm, IntArray, Nature, Stream

MONDAY = 3  # days from 1970-01-01, a Thursday, back to a Monday; only the grid matters
NATURES = (Nature.COUNT, Nature.RATIO, Nature.DURATION, Nature.NUMBER)
COUNT, RATIO, DURATION, NUMBER, GIVEN = range(5)  # codes of the scales; GIVEN: a count, given the rows behind it
HARMS = (Harm.BOTH, Harm.FALL, Harm.RISE)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Streams of one season. T rows, C columns, S streams."""

    season: int
    streams: tuple[Stream, ...]
    origin: IntArray  # S: day number of row 0
    offset: IntArray  # S: row of the first window
    begin: IntArray  # S + 1: columns of stream i are begin[i]:begin[i + 1], by name
    stream: IntArray  # C: index of the stream
    nature: IntArray  # C: COUNT, RATIO, DURATION, NUMBER or GIVEN
    harm: IntArray  # C: index into HARMS
    volume: BoolArray  # C
    behind: IntArray  # C: column with the rows behind, or -1
    values: FloatArray  # T x C
    teaches: BoolArray  # T x C
    holiday: BoolArray  # T x S
    base: IntArray  # T x C: rows before it no longer teach (announced changes), as known at the row
    off: FloatArray  # T x C: what days off have added to the age of the newest row; `values` are without it

    @property
    def age(self) -> BoolArray:
        """C: durations of which only a rise is bad. They go on growing while nothing comes in."""
        return np.asarray((self.nature == DURATION) & (self.harm == HARMS.index(Harm.RISE)))


def blocks(streams: Sequence[Stream], width: int) -> list[Block]:
    """`streams` in blocks of about `width` columns, by season and name."""
    found: list[Block] = []
    for season in sorted({stream.season for stream in streams}):
        group: list[Stream] = []
        columns = 0
        for stream in sorted((one for one in streams if one.season == season), key=lambda one: (one.windows, one.name)):
            if group and columns + len(stream.measures) > width:
                found.append(_block(season, group))
                group, columns = [], 0
            group.append(stream)
            columns += len(stream.measures)
        found.append(_block(season, group))
    return found


def by_name(stream: Stream) -> list[int]:
    """Positions of the measures of `stream` in the order of their columns: no answer depends on theirs."""
    return sorted(range(len(stream.measures)), key=lambda position: stream.measures[position].name)


def _block(season: int, streams: list[Stream]) -> Block:
    first = np.array([day_number(stream.start) for stream in streams])
    offset = (first + MONDAY) % season
    widths = [len(stream.measures) for stream in streams]
    begin = np.concatenate([[0], np.cumsum(widths)])
    rows, columns = max(int(o) + stream.windows for o, stream in zip(offset, streams, strict=True)), int(begin[-1])
    block = Block(
        season,
        tuple(streams),
        first - offset,
        offset,
        begin,
        np.repeat(np.arange(len(streams)), widths),
        np.zeros(columns, np.int64),
        np.zeros(columns, np.int64),
        np.zeros(columns, bool),
        np.full(columns, -1),
        np.full((rows, columns), np.nan),
        np.zeros((rows, columns), bool),
        np.zeros((rows, len(streams)), bool),
        np.zeros((rows, columns), np.int64),
        np.zeros((rows, columns)),
    )
    for index, stream in enumerate(streams):
        _place(block, index, stream)
    return block


def _place(block: Block, index: int, stream: Stream) -> None:
    left, top = int(block.begin[index]), int(block.offset[index])
    order = by_name(stream)
    place = {stream.measures[position].name: left + rank for rank, position in enumerate(order)}
    inside = slice(top, top + stream.windows), slice(left, left + len(order))
    block.values[inside] = stream.values[:, order]
    teaches = np.ones(stream.values.shape, bool) if stream.teaches is None else stream.teaches
    block.teaches[inside] = (np.isfinite(stream.values) & teaches)[:, order]
    for measure in stream.measures:
        column = place[measure.name]
        given = measure.nature is Nature.COUNT and measure.behind is not None
        block.nature[column] = GIVEN if given else NATURES.index(measure.nature)
        block.harm[column] = HARMS.index(measure.bad)
        block.volume[column] = measure.volume
        block.behind[column] = place[measure.behind] if measure.behind is not None else -1
    for day in stream.holidays:
        row = day_number(day) - int(block.origin[index])
        if top <= row < top + stream.windows:
            block.holiday[row, index] = True
    for measure in stream.measures:
        if measure.ages:
            _rejuvenate(block, index, place[measure.name], measure.ages)
    for change in stream.changes:
        row = day_number(change.day) - int(block.origin[index])
        told = [place[name] for name in place if change.measures is None or name in change.measures]
        if top < row < len(block.base):
            block.base[row:, told] = np.maximum(block.base[row:, told], row)


def _rejuvenate(block: Block, index: int, column: int, ages: float) -> None:
    """Take out of an age the days off since the newest row: nobody is expected to make one then."""
    row = np.arange(len(block.values))
    whole = np.nan_to_num(block.values[:, column] / ages).astype(np.int64)
    days_off = np.concatenate([[0], np.cumsum(block.holiday[:, index])])
    block.off[:, column] = ages * (days_off[row + 1] - days_off[np.maximum(row + 1 - whole, 0)])
    block.values[:, column] -= block.off[:, column]
