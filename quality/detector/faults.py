"""A fixed set of faults, as they would show in the observations of a stream: what the self-test injects.

Each acts on a copy of the observations as the incident would act on the rows behind them. What it cannot know of these
rows it takes from the simplest model that is stated at the place. Pure.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from quality.detector.panel import FloatArray, Nature, Stream

DAY: Final = 86_400.0
KEPT: Final = 0.5
"""The share of rows that a partial load, a shift and a late load keep."""
LATE: Final = DAY / 2
"""Seconds by which the newest row is older, of a load that came too late."""
UNIT: Final = 1000.0
NULLED: Final = 0.5
"""The share of values that become null."""
DRIFTED: Final = 0.4
"""The share of rows that are left at the end of a drift."""
FRESHNESS: Final = "freshness_seconds"
DUPLICATES: Final = "duplicate_ratio"
NULLS, DISTINCT, SHARE, MEAN = "null_ratio.", "distinct.", "top_share.", "mean."


class Shadow:
    """A copy of a stream's observations that may be spoilt; the stream itself is never touched."""

    def __init__(self, stream: Stream, rng: np.random.Generator) -> None:
        self.stream = stream
        self.rng = rng
        self.values: FloatArray = stream.values.copy()
        self.column = {measure.name: place for place, measure in enumerate(stream.measures)}
        self.behind = {
            place: self.column[measure.behind] for place, measure in enumerate(stream.measures) if measure.behind
        }
        self.counts = [
            place
            for place, measure in enumerate(stream.measures)
            if measure.nature is Nature.COUNT and not measure.name.startswith(DISTINCT)
        ]
        self.volumes = [place for place in self.counts if stream.measures[place].volume] or self.counts
        self.about: int | None = None
        """The column that the fault is about, if it is about one: the same in each of its windows."""

    def named(self, prefix: str) -> list[int]:
        """The columns whose names begin so."""
        return [place for name, place in self.column.items() if name.startswith(prefix)]

    def known(self, window: int, columns: list[int], least: float = -np.inf) -> list[int]:
        """Those of `columns` that have a number above `least` in the window."""
        return [place for place in columns if self.values[window, place] > least]

    def chosen(self, window: int, columns: list[int], least: float = -np.inf) -> int | None:
        """The column that the fault is about, chosen from `known` in its first window; None where it has no number."""
        if self.about is None and (known := self.known(window, columns, least)):
            self.about = int(self.rng.choice(known))
        return self.about if self.about is not None and self.values[window, self.about] > least else None

    def rows(self, window: int, place: int) -> int:
        """How many rows are behind the number in that column; 0: unknown."""
        rows = self.values[window, self.behind[place]] if place in self.behind else 0.0
        return round(rows) if rows > 0 else 0

    def thin(self, window: int, kept: float) -> None:
        """Keep each row of the window with the probability `kept`.

        Counts become binomial. Of D values that n rows have, D * (1 - (1 - kept)^(n / D)) are expected to be left:
        rarefaction with equally frequent values (Heck, van Belle and Simberloff, "Explicit calculation of the
        rarefaction diversity measurement", 1975). Ratios and means stay as they are; without rows there are none.
        """
        row = self.values[window]
        if not self.known(window, self.volumes, 0.0):
            return
        distinct = {place: self.rows(window, place) for place in self.known(window, self.named(DISTINCT), 0.0)}
        for place in self.known(window, self.counts):
            row[place] = self.rng.binomial(round(row[place]), kept)
        if not self.known(window, self.volumes, 0.0):
            self.empty(window)
            return
        for place, rows in distinct.items():
            left = max(round(row[place] * (1 - (1 - kept) ** max(rows / row[place], 1.0))), 1)
            row[place] = min(left, self.rows(window, place)) if rows else left
        for place, behind in self.behind.items():
            if row[behind] == 0 and place not in distinct:
                row[place] = np.nan

    def empty(self, window: int) -> None:
        """Take all rows away: counts are 0, what is told of rows is not defined, and what is newest is a day older."""
        row = self.values[window]
        counts = self.known(window, [*self.counts, *self.named(DISTINCT)])
        row[counts] = 0.0
        row[[place for place in range(len(row)) if place not in counts]] = np.nan
        self.age(window)

    def age(self, window: int) -> None:
        """Nothing newer has come than there was the window before."""
        if (place := self.column.get(FRESHNESS)) is not None and window > 0:
            self.values[window, place] = self.values[window - 1, place] + DAY


def _gap(shadow: Shadow, window: int, _: float) -> None:
    shadow.empty(window)


def _partial(shadow: Shadow, window: int, _: float) -> None:
    shadow.thin(window, KEPT)


def _duplicate(shadow: Shadow, window: int, _: float) -> None:
    """Each row once more: of d duplicates among n rows, n + dn of 2n are then further ones."""
    row = shadow.values[window]
    row[shadow.counts] *= 2
    if (place := shadow.column.get(DUPLICATES)) is not None:
        row[place] = (1 + row[place]) / 2


def _nulls(shadow: Shadow, window: int, _: float) -> None:
    """Half of the values that one field still has become null."""
    if (place := shadow.chosen(window, shadow.named(NULLS))) is None:
        return
    row, rows = shadow.values[window], shadow.rows(window, place)
    lost = shadow.rng.binomial(rows, NULLED) / rows if rows else NULLED
    row[place] += (1 - row[place]) * lost


def _unit(shadow: Shadow, window: int, _: float) -> None:
    """One amount is told in another unit."""
    amounts = [
        place
        for place, measure in enumerate(shadow.stream.measures)
        if measure.name != FRESHNESS and measure.nature in {Nature.DURATION, Nature.NUMBER}
    ]
    if (place := shadow.chosen(window, amounts, 0.0)) is not None:
        shadow.values[window, place] *= UNIT


def _stale(shadow: Shadow, window: int, _: float) -> None:
    """What the window before had is loaded again, and nothing else."""
    if window > 0:
        shadow.values[window] = shadow.values[window - 1]
        shadow.age(window)


def _drift(shadow: Shadow, window: int, progress: float) -> None:
    shadow.thin(window, 1 - (1 - DRIFTED) * progress)


def _category(shadow: Shadow, window: int, _: float) -> None:
    """The most frequent value of a field is gone with its rows; the next one has the same share of what is left.

    So it is where shares fall geometrically.
    """
    if (place := shadow.chosen(window, shadow.named(SHARE), 0.0)) is None:
        return
    distinct = shadow.column.get(DISTINCT + shadow.stream.measures[place].name.removeprefix(SHARE))
    before = 0.0 if distinct is None else shadow.values[window, distinct]
    shadow.thin(window, 1 - shadow.values[window, place])
    if distinct is not None and shadow.values[window, distinct] > 0:
        shadow.values[window, distinct] = min(max(before - 1, 1.0), shadow.values[window, distinct])


def _late(shadow: Shadow, window: int, _: float) -> None:
    """What came in the second half of the day is not there yet."""
    place = shadow.column.get(FRESHNESS)
    if place is None or not (before := shadow.values[window, place]) < DAY:
        return
    shadow.thin(window, KEPT)
    if shadow.values[window, place] == before:
        shadow.values[window, place] = LATE + min(before, LATE)


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of mishap."""

    name: str
    what: str
    lasts: int
    """Windows; it has to be found within them."""
    act: Callable[[Shadow, int, float], None]
    """Spoils one window; how far the fault has come is in (0, 1]."""


FAULTS: Final = (
    Fault("gap", "no rows at all", 7, _gap),
    Fault("partial", "half of the rows are missing", 3, _partial),
    Fault("double", "each row is there twice", 1, _duplicate),
    Fault("nulls", "half of a field's values become null", 3, _nulls),
    Fault("unit", "an amount is told in another unit (x 1,000)", 3, _unit),
    Fault("stale", "the day before is loaded again", 3, _stale),
    Fault("shift", "half of the rows are missing from now on", 14, _partial),
    Fault("drift", "rows are lost little by little, 60 % in the end", 28, _drift),
    Fault("category", "the most frequent value of a field is gone, with its rows", 7, _category),
    Fault("late", "the second half of the day is not there yet", 2, _late),
)


def inject(stream: Stream, fault: Fault, window: int, name: str, seed: int = 0) -> Stream | None:
    """A copy of `stream`, called `name`, that ends with the fault, which begins in `window`.

    None where the stream is too short for it, or where it would change nothing in its first window (in any of them, of
    a drift). The copy is no witness for others. Deterministic for a seed, whatever else is injected.
    """
    end = window + fault.lasts
    if not 0 < window <= stream.windows - fault.lasts:
        return None
    mark = zlib.crc32(f"{stream.name}|{fault.name}|{window}".encode())
    shadow = Shadow(stream, np.random.default_rng([seed, mark]))
    for number in range(window, end):
        fault.act(shadow, number, (number - window + 1) / fault.lasts)
    spoilt = slice(window, end if fault.act is _drift else window + 1)
    if np.array_equal(shadow.values[spoilt], stream.values[spoilt], equal_nan=True):
        return None
    teaches = None if stream.teaches is None else stream.teaches[:end]
    return replace(stream, name=name, values=shadow.values[:end], teaches=teaches, source="")


__all__ = ["FAULTS", "Fault", "inject"]
