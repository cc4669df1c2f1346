"""The self-test: which faults would have been found in this history, and how often is there an alarm without any.

Faults are injected into copies of the observations, in memory, at several places of each stream. The product's own
engine judges them at its own threshold. A copy takes the place of its stream: forest and threshold are learnt from all
streams that are judged together, and would be others in the company of hundreds of copies. Nothing is written. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

import numpy as np

from quality.detector import engine
from quality.detector.backtest import Replayed
from quality.detector.engine import Judgement
from quality.detector.faults import FAULTS, Fault, inject
from quality.detector.panel import Options, Stream

PLACES: Final = 3
"""Where each fault is put into each stream."""
NEARBY: Final = 7
"""Windows by which a place is moved at most, to one where the fault changes something: there may be few rows."""
LONGEST: Final = max(fault.lasts for fault in FAULTS)
WEEK: Final = 7
DAY: Final = timedelta(days=1)

_SHORT: Final = tuple(fault for fault in FAULTS if fault.lasts <= WEEK)
_LONG: Final = tuple(place for fault in FAULTS if fault.lasts > WEEK for place in (fault, None))
"""In turn with untouched streams: what is judged late in a long fault has learnt from its beginning in all streams."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One fault at one place of one stream."""

    dataset: str
    scope: str
    fault: Fault
    window: date
    """The first that is spoilt."""
    after: int | None
    """Windows until the first alarm, 0: found at once; None: not found while it lasted."""
    measure: str
    """The strangest of that alarm; where there was none, of the window in which it came nearest to one."""
    shown: tuple[Stream, Judgement] | None = None
    """Of the first trial of each fault and dataset, what there is to draw: the copy, which ends with the fault."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A shadow of one stream, with a fault from row `row` on."""

    of: Replayed
    fault: Fault
    row: int
    stream: Stream


def selftest(clean: Sequence[Replayed], options: Options, first: date) -> Iterator[Trial]:
    """Every fault from `first` on, at up to PLACES places of each stream.

    clean: what `backtest.replay` says of the untouched streams: a fault is put where there is an opinion, and where
    there would be no alarm without it. What is judged at once has at most one fault in each stream, and all kinds of
    them side by side.
    """
    seen: set[tuple[str, str]] = set()
    for anchor in anchors(clean, first, options.seed):
        for copies in _rounds(clean, anchor, options.seed):
            end = max(one.stream.start + one.stream.windows * DAY for one in copies if one)
            streams = [
                copy.stream if copy else _until(one.of.stream, end) for one, copy in zip(clean, copies, strict=True)
            ]
            judged = iter(engine.judge([stream for stream in streams if stream], options, since=anchor))
            for copy, stream in zip(copies, streams, strict=True):
                judgement = next(judged) if stream else None
                if copy and judgement:
                    kind = (copy.fault.name, copy.of.of.dataset)
                    yield _trial(copy, judgement, shown=kind not in seen)
                    seen.add(kind)


def _rounds(clean: Sequence[Replayed], anchor: date, seed: int) -> Iterator[list[_Copy | None]]:
    """What is judged at once: for each stream a copy with a fault, or None; after all rounds each had each fault."""
    for faults in (_SHORT, _LONG):
        for turn in range(len(faults)):
            chosen = [faults[(number + turn) % len(faults)] for number in range(len(clean))]
            copies = [_copy(one, fault, anchor, seed) for one, fault in zip(clean, chosen, strict=True)]
            if any(copies):
                yield copies


def anchors(clean: Sequence[Replayed], first: date, seed: int) -> list[date]:
    """One at random in each of PLACES equal parts of the time in which all faults have room."""
    sighted = [one.day(int(row)) for one in clean if one.judged for row in np.flatnonzero(one.sighted)[[0, -1]]]
    if not sighted:
        return []
    first, last = max(first, min(sighted)), max(sighted) - (NEARBY + LONGEST - 1) * DAY
    days = (last - first).days + 1
    if days < 1:
        return []
    bounds = np.linspace(0, days, min(PLACES, days) + 1).astype(int)
    rng = np.random.default_rng(seed)
    return [first + int(rng.integers(low, high)) * DAY for low, high in pairwise(bounds)]


def _copy(one: Replayed, fault: Fault | None, anchor: date, seed: int) -> _Copy | None:
    """A copy of the stream with the fault near `anchor`; None if it cannot have it there."""
    at = (anchor - one.of.stream.start).days
    for row in range(max(at, 1), at + NEARBY):
        if fault is None or row + fault.lasts > len(one.alarm):
            return None
        if not one.sighted[row] or one.alarm[row : row + fault.lasts].any():
            continue
        if (copy := inject(one.of.stream, fault, row, one.of.stream.name, seed)) is not None:
            return _Copy(one, fault, row, copy)
    return None


def _until(stream: Stream, end: date) -> Stream | None:
    """The stream up to the day before `end`; None if nothing is left of it."""
    windows = (end - stream.start).days
    if windows < 1:
        return None
    teaches = None if stream.teaches is None else stream.teaches[:windows]
    return replace(stream, values=stream.values[:windows], teaches=teaches)


def _trial(copy: _Copy, judgement: Judgement, *, shown: bool) -> Trial:
    spoilt = slice(copy.row, copy.row + copy.fault.lasts)
    hits = np.flatnonzero(judgement.alarm[spoilt])
    nearest = int(np.nan_to_num(judgement.score[spoilt], nan=-np.inf).argmax())
    cells = np.nan_to_num(judgement.cells[copy.row + (int(hits[0]) if len(hits) else nearest)], nan=-np.inf)
    return Trial(
        copy.of.of.dataset,
        copy.of.of.scope,
        copy.fault,
        copy.of.day(copy.row),
        int(hits[0]) if len(hits) else None,
        copy.stream.measures[int(cells.argmax())].name,
        (copy.stream, judgement) if shown else None,
    )


__all__ = ["PLACES", "Trial", "anchors", "selftest"]
