"""What the detector is given: streams of daily observations, and what is known about them in advance.

Everything is checked here, once: what gets past a constructor can be judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Nature(StrEnum):
    """What kind of number a measure is: it decides the transform and the tail."""

    COUNT = "count"  # 0, 1, 2, ...: rows, distinct values
    RATIO = "ratio"  # 0..1, of the rows `behind` it
    DURATION = "duration"  # >= 0 and skewed: any positive amount; a negative one (clocks differ) is judged as 0
    NUMBER = "number"  # any real number


class Harm(StrEnum):
    """Which way is bad. The other way counts half, or for a pure one-sided harm hardly at all (features.py)."""

    BOTH = "both"
    FALL = "fall"  # less is worse, more is half as suspicious: volumes
    RISE = "rise"  # only more is bad: null ratios, duplicates, freshness


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a stream per window."""

    name: str
    nature: Nature
    behind: str | None = None  # the COUNT of the same stream that says how many rows are behind it; None: unknown
    volume: bool = False  # says how much there is: the rules of holidays, of witnesses and of the blind apply
    harm: Harm | None = None  # None: FALL for a volume, BOTH for others
    ages: float = 0.0  # by how much it grows in a window without rows (freshness); days off then do not age it

    @property
    def bad(self) -> Harm:
        """`harm`, or what follows from the rest."""
        return self.harm or (Harm.FALL if self.volume else Harm.BOTH)


@dataclass(frozen=True, slots=True)
class Change:
    """An announced or accepted change: from `day` on this is the new normal, and older values no longer teach."""

    day: date
    measures: frozenset[str] | None = None  # None: all


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The observations of one dataset and scope: one row per consecutive window (day), one column per measure."""

    name: str  # unique among the streams judged together
    start: date  # the first window
    measures: tuple[Measure, ...]
    values: FloatArray  # T x F; NaN: not observable
    teaches: BoolArray | None = None  # T x F; False: is judged, but teaches nothing; None: all teach
    holidays: frozenset[date] = frozenset()  # known in advance
    changes: tuple[Change, ...] = ()
    source: str = ""  # streams of different non-empty sources are independent witnesses
    season: int = 7  # windows after which the pattern repeats; 1: none

    def __post_init__(self) -> None:
        """Raise ValueError, naming stream and measure, unless this can be judged."""
        names = [measure.name for measure in self.measures]
        if self.values.ndim != 2 or self.values.shape[1] != len(names):  # noqa: PLR2004 -- a table has two dimensions
            raise ValueError(f"{self.name}: values must be windows x {len(names)} measures, not {self.values.shape}")
        if self.teaches is not None and self.teaches.shape != self.values.shape:
            raise ValueError(f"{self.name}: teaches is {self.teaches.shape}, values are {self.values.shape}")
        if self.season < 1:
            raise ValueError(f"{self.name}: season must be at least 1 window, not {self.season}")
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: two measures have the same name")
        counts = {measure.name for measure in self.measures if measure.nature is Nature.COUNT}
        for measure, column in zip(self.measures, self.values.T, strict=True):
            if measure.behind is not None and measure.behind not in counts:
                raise ValueError(f"{self.name}: {measure.behind!r}, behind {measure.name!r}, is no count of the stream")
            _check(f"{self.name}: {measure.name}", measure.nature, column)

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Options:
    """What an installation may choose."""

    false_alarms_per_quarter: float = 1.0  # per stream and 90 windows
    seed: int = 0
    learn_shift_after: int = 21  # windows after which what was strange all along is the new normal

    def __post_init__(self) -> None:
        """Raise ValueError for a budget or a length that nothing can keep."""
        if not 0 < self.false_alarms_per_quarter < QUARTER:
            raise ValueError(f"false_alarms_per_quarter must be in (0, {QUARTER}), not {self.false_alarms_per_quarter}")
        if self.learn_shift_after < 1:
            raise ValueError(f"learn_shift_after must be at least 1 window, not {self.learn_shift_after}")


QUARTER = 90  # windows of the budget


def check_names(streams: Sequence[Stream]) -> None:
    """Raise ValueError if two streams have the same name."""
    seen: set[str] = set()
    for stream in streams:
        if stream.name in seen:
            raise ValueError(f"two streams are called {stream.name!r}")
        seen.add(stream.name)


def _check(what: str, nature: Nature, column: FloatArray) -> None:
    if np.isinf(column).any():
        raise ValueError(f"{what}: infinite value; use NaN for what was not observable")
    if nature in (Nature.COUNT, Nature.RATIO) and (column < 0).any():
        raise ValueError(f"{what}: a {nature} is never negative")
    if nature is Nature.RATIO and (column > 1).any():
        raise ValueError(f"{what}: a ratio is within 0..1")
