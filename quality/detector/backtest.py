"""The backtest: history judged day by day as the product would have, and the alerts that would have fired.

It is judged by what is known now: late data, repairs and what people said since are in it. No window is judged by
anything that lies behind it. Nothing is written. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import numpy as np

from quality.detector import engine
from quality.detector.engine import Judgement
from quality.detector.history import Panelled, Window
from quality.detector.panel import QUARTER, BoolArray, FloatArray, Options
from quality.detector.said import Said, Says, about

_JUDGED: Final = frozenset({Window.KNOWN, Window.DOUBTED})


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that would have fired: alarms that no window which was judged, and passed, lies between.

    As with incidents, a window that could not be judged ends nothing.
    """

    rows: tuple[int, ...]
    """The windows of the alarms, as rows of the stream."""
    worst: int
    """The strangest of them."""


@dataclass(frozen=True, eq=False)
class Replayed:
    """One stream, judged from row `since` on."""

    of: Panelled
    judgement: Judgement
    since: int
    alarm: BoolArray
    """By row; a window that is expected by what somebody said, or may still grow, has none."""
    sighted: BoolArray
    """By row, whether there is an opinion."""

    @cached_property
    def alerts(self) -> tuple[Alert, ...]:
        """The alarms, grouped."""
        return tuple(grouped(self.alarm, self.sighted, self.judgement.rarity))

    @property
    def judged(self) -> int:
        """Windows that there is an opinion of."""
        return int(self.sighted.sum())

    @property
    def blind(self) -> int:
        """Windows that are known, and that there is no opinion of."""
        known = [row for row, state in enumerate(self.of.states) if row >= self.since and state in _JUDGED]
        return len(known) - int(self.sighted[known].sum())

    def day(self, row: int) -> date:
        """The window of a row."""
        return self.of.stream.start + timedelta(days=row)

    @property
    def per_quarter(self) -> float | None:
        """As `per_quarter`, of this stream alone."""
        return per_quarter([self])


def per_quarter(streams: Sequence[Replayed]) -> float | None:
    """Alerts in 90 judged windows of a stream, as the budget counts; None if none was judged.

    Faults that really happened are among them.
    """
    judged = sum(one.judged for one in streams)
    return sum(len(one.alerts) for one in streams) * QUARTER / judged if judged else None


def replay(
    histories: Sequence[Panelled], options: Options, since: date | None = None, heard: Sequence[Said] = ()
) -> list[Replayed]:
    """Judge all windows from `since` on (None: all), all streams together.

    heard: what people said, the newest last.
    """
    judgements = engine.judge([one.stream for one in histories], options, since=since)
    return [_replayed(one, judgement, since, heard) for one, judgement in zip(histories, judgements, strict=True)]


def _replayed(of: Panelled, judgement: Judgement, since: date | None, heard: Sequence[Said]) -> Replayed:
    first = max((since - of.stream.start).days, 0) if since else 0
    theirs = [one for one in heard if (one.dataset, one.scope) == (of.dataset, of.scope)]
    asked = np.array([row >= first and state in _JUDGED for row, state in enumerate(of.states)], dtype=bool)
    days = [of.stream.start + timedelta(days=row) for row in range(len(asked))]
    expected = np.array([about(theirs, day) is Says.EXPECTED for day in days], dtype=bool)
    alarm = judgement.alarm & asked & ~expected
    return Replayed(of, judgement, first, alarm, (~np.isnan(judgement.score) | judgement.alarm) & asked)


def grouped(alarm: BoolArray, sighted: BoolArray, rarity: FloatArray) -> Iterator[Alert]:
    """The rows with an alarm, as alerts: a row with an opinion and without an alarm ends one."""
    rows: list[int] = []
    for row in range(len(alarm)):
        if alarm[row]:
            rows.append(row)
        elif sighted[row] and rows:
            yield Alert(tuple(rows), max(rows, key=lambda one: (rarity[one], -one)))
            rows = []
    if rows:
        yield Alert(tuple(rows), max(rows, key=lambda one: (rarity[one], -one)))


__all__ = ["Alert", "Replayed", "grouped", "per_quarter", "replay"]
