"""All fall together: a day on which most of the independent sources are quiet is a holiday that nobody announced."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from quality.detector.evidence import deviations
from quality.detector.expectation import Walker
from quality.detector.layout import Block, blocks
from quality.detector.panel import BoolArray, Options, Stream

FEWEST = 3  # sources that must fall
MAJORITY = 0.8  # of the sources that have an opinion
FAR = 2.0  # standard deviations
OPINION = 5  # observations that a witness needs


def quiet_days(streams: Sequence[Stream], options: Options, width: int) -> frozenset[date]:
    """Days on which at least FEWEST sources fell, and MAJORITY of those with an opinion.

    A source falls when most of its volumes are FAR below expectation, or nearer to their rest day than to their own
    day, where those are FAR apart. The days are known the day they happen: nothing looks ahead.
    """
    witnesses = [stream for stream in streams if stream.source]
    if len({stream.source for stream in witnesses}) < FEWEST:
        return frozenset()
    seen: dict[date, dict[str, list[bool]]] = {}
    for block in blocks([_volumes(stream) for stream in witnesses], width):
        opinion, fell = _fallen(block, options)
        for row, column in zip(*np.nonzero(opinion), strict=True):
            stream = block.streams[block.stream[column]]
            day = stream.start + timedelta(days=int(row - block.offset[block.stream[column]]))
            seen.setdefault(day, {}).setdefault(stream.source, []).append(bool(fell[row, column]))
    return frozenset(day for day, sources in seen.items() if _agreed(list(sources.values())))


def _volumes(stream: Stream) -> Stream:
    chosen = [position for position, measure in enumerate(stream.measures) if measure.volume]
    return replace(
        stream,
        measures=tuple(replace(stream.measures[position], behind=None) for position in chosen),
        values=stream.values[:, chosen],
        teaches=None if stream.teaches is None else stream.teaches[:, chosen],
    )


def _fallen(block: Block, options: Options) -> tuple[BoolArray, BoolArray]:
    walk = Walker(block, options).walk()
    z = deviations(block, walk)
    day, rest = walk.level + walk.season, walk.level + walk.rest
    with np.errstate(invalid="ignore"):
        like_rest = (day - rest > FAR * walk.width) & (walk.y < (day + rest) / 2)
        opinion = np.isfinite(z) & (walk.history >= OPINION)
        return opinion, (z < -FAR) | like_rest


def _agreed(sources: list[list[bool]]) -> bool:
    fell = sum(2 * sum(volumes) > len(volumes) for volumes in sources)
    return fell >= max(FEWEST, MAJORITY * len(sources))
