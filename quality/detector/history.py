"""The history that the detector is given: all streams with their observations, and what of it may teach.

Nothing teaches that is known, or feared, to be wrong: windows that an open incident is about, that a person called a
fault, of which rows are set aside, or which are not proven to be whole (see `taught`). An anomaly that has lasted for
`learn_shift_after` windows is the new normal, open incident or not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final, cast

import bson
import numpy as np

from config import catalog, schema
from config.schema import Db
from config.settings import Settings
from quality.detector import calendar, columns, natures, recorded, taught
from quality.detector.panel import BoolArray, FloatArray, Harm, Measure, Nature, Stream
from quality.detector.recorded import Days, Name, Values, Windows
from quality.detector.said import Said, Says
from quality.detector.taught import Known

_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
_SOME: Final = 0.01
"""An amount of which no larger share is negative is a duration: clocks that differ make a few."""
_SAYS: Final = {Says.EXPECTED: 1, Says.NORMAL: 1, Says.FAULT: 2}

Columns = dict[str, FloatArray]
"""A number per window, by measure."""


class Window(StrEnum):
    """What is known of a window."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    """Nothing is recorded of it."""
    OPEN = "open"
    """It may still grow: its numbers are left out."""
    DOUBTED = "doubted"
    """It is judged, and teaches nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Panelled:
    """One stream with what the detector is given of it."""

    dataset: str
    scope: str
    stream: Stream
    states: tuple[Window, ...]
    """Of each row of the stream."""

    def row(self, window: date) -> int | None:
        """The row of `window`, None if it is not in the stream."""
        row = (window - self.stream.start).days
        return row if 0 <= row < self.stream.windows else None


def streams(  # noqa: PLR0913 - what, when, and what is not published yet
    db: Db,
    settings: Settings,
    *,
    until: date,
    now: datetime,
    datasets: Iterable[str] | None = None,
    scopes: Iterable[str] | None = None,
    days: int | None = None,
    candidates: Windows | None = None,
    refused: dict[Name, str] | None = None,
) -> list[Panelled]:
    """All streams that are judged, with what is known now of the windows up to and with `until`, in order of name.

    days: of how many windows at most; absent: as configured. now: windows that have not ended by then are open.
    datasets, scopes: only these. candidates: numbers that are not recorded yet, by window; they count instead of
    those that are. A stream begins with its first number; one that has none is left out. refused: is given the streams
    that cannot be judged, and why; without it such a stream is a ValueError.
    """
    last = min(until + timedelta(days=1), now.astimezone(UTC).date() + timedelta(days=1))
    span = (last - timedelta(days=days or settings.detector.history_days), last)
    read = _read(db, span, datasets, scopes)
    for name, told in (candidates or {}).items():
        _overlay(read.setdefault(name, {}), span, told)
    known = taught.known(db, settings, span)
    today = now.astimezone(UTC).date()
    fed = {name.dataset.split(".")[1] for name in read if name.dataset.startswith(catalog.BRONZE)}
    found = []
    for name, numbers in sorted(read.items()):
        if settings.detector.of(name.dataset).judge and any(not np.isnan(one).all() for one in numbers.values()):
            try:
                heard = _with_today(known.get(name, Known()), today)
                found.append(_panelled(settings, name, numbers, span, heard, _source(name.dataset, fed)))
            except ValueError as error:
                if refused is None:
                    raise
                refused[name] = str(error)
    return found


def _with_today(known: Known, today: date) -> Known:
    return known._replace(still_open=known.still_open | {today})


def _read(db: Db, span: Days, datasets: Iterable[str] | None, scopes: Iterable[str] | None) -> dict[Name, Columns]:
    """The newest statement of each window in [first, last)."""
    asked = {"series.dataset": datasets, "series.scope": scopes}
    only = {field: {"$in": sorted(names)} for field, names in asked.items() if names is not None}
    length = (span[1] - span[0]).days
    first = (span[0] - _EPOCH).days
    found: dict[Name, Columns] = {}
    batches = db[schema.OBSERVATIONS].aggregate_raw_batches(recorded.stages(span, only), allowDiskUse=True)
    for document in columns.documents(cast("Iterable[bytes]", batches)):
        parts = dict(columns.members(document))
        of = bson.decode(parts.pop("_id"))
        rows = (columns.column(parts["at"]) // _DAY_MS - first).astype(np.int64)
        values = columns.column(parts["value"])
        if np.bincount(rows).max(initial=0) > 1:  # of two of one window the later one stays
            order = np.lexsort((columns.column(parts["id"]), columns.column(parts["recorded_at"])))
            rows, values = rows[order], values[order]
        numbers = np.full(length, np.nan)
        numbers[rows] = values
        found.setdefault(Name(of["dataset"], of["scope"]), {})[of["measure"]] = numbers
    return found


def _overlay(numbers: Columns, span: Days, told: Mapping[date, Values]) -> None:
    """Put what is not recorded yet in the place of what is."""
    length = (span[1] - span[0]).days
    for day, values in told.items():
        row = (day - span[0]).days
        if not 0 <= row < length:
            continue
        for measure in {*numbers, *filter(natures.kind, values)}:
            value = values.get(measure)
            column = numbers.setdefault(measure, np.full(length, np.nan))
            column[row] = np.nan if value is None else float(value)


def _panelled(  # noqa: PLR0913, PLR0917 - one call, from one place
    settings: Settings, name: Name, numbers: Columns, span: Days, known: Known, source: str
) -> Panelled:
    names = sorted(measure for measure, column in numbers.items() if not np.isnan(column).all())
    values = np.column_stack([numbers[measure] for measure in names])
    begin = int(np.argmax(~np.isnan(values).all(axis=1)))
    start, values = span[0] + timedelta(days=begin), values[begin:]
    rows = _rows(known.still_open, start, len(values))
    teaches = _teaches(names, start, values.shape, known)
    states = _states(values, teaches, rows)
    _fill(name.dataset, names, values)
    values[rows] = np.nan
    stream = Stream(
        name=f"{name.dataset}|{name.scope}",
        start=start,
        measures=_measures(names, values),
        values=values,
        teaches=teaches,
        holidays=calendar.holidays(settings.detector, *name, (start, span[1])),
        changes=calendar.changes(settings.detector, *name, known.heard),
        source=source,
    )
    return Panelled(*name, stream, states)


def _fill(dataset: str, names: Sequence[str], values: FloatArray) -> None:
    """Put 0 where nothing is recorded because there was nothing.

    Windows between two that a sweep has recorded had no row: of windows that nobody asks for only those are recorded
    that have some, and a volume that is never seen to be 0 would teach that it never is.
    """
    if "rows" not in names:
        return
    rows = values[:, names.index("rows")]
    if dataset.startswith(catalog.LAYERS):
        told = np.flatnonzero(~np.isnan(rows))
        between = rows[told[0] : told[-1]] if len(told) else rows[:0]
        between[np.isnan(between)] = 0.0
    for place, measure in enumerate(names):
        if natures.counts_zero(measure):
            values[np.isnan(values[:, place]) & ~np.isnan(rows), place] = 0.0


def _measures(names: Sequence[str], values: FloatArray) -> tuple[Measure, ...]:
    made = []
    for place, name in enumerate(names):
        kind = natures.kind(name)
        if kind is None:
            raise ValueError(f"{name!r} is not judged")
        nature = kind.nature
        if nature == natures.AMOUNT:
            known = values[~np.isnan(values[:, place]), place]
            nature = Nature.NUMBER if (known < 0).sum() > _SOME * len(known) else Nature.DURATION
        behind = kind.behind if kind.behind in names else None
        harm = Harm(kind.harm) if kind.harm else None
        made.append(Measure(name, Nature(nature), behind, kind.volume, harm, kind.ages))
    return tuple(made)


def _teaches(names: Sequence[str], start: date, shape: tuple[int, ...], known: Known) -> BoolArray:
    """What of it teaches. What people said is expected teaches though its incident is still open."""
    length = shape[0]
    said = np.zeros(shape, np.int64)
    for one in known.heard:
        if one.says in _SAYS:
            said[_slice(one, start, length), _places(one, names)] = _SAYS[one.says]
    wrong = np.zeros(length, bool)
    wrong[_rows(known.wrong, start, length)] = True
    teaches: BoolArray = ~(wrong[:, np.newaxis] & (said != _SAYS[Says.EXPECTED])) & (said != _SAYS[Says.FAULT])
    teaches[_rows(known.doubted | known.still_open, start, length)] = False
    return teaches


def _slice(said: Said, start: date, length: int) -> slice:
    last = said.at.date() if said.says is Says.NORMAL else said.last  # of what comes after, nobody has spoken yet
    end = length if last is None else (last - start).days + 1
    return slice(max(0, (said.first - start).days), max(0, end))


def _places(said: Said, names: Sequence[str]) -> list[int]:
    return [place for place, name in enumerate(names) if not said.measures or name in said.measures]


def _rows(windows: Iterable[date], start: date, length: int) -> list[int]:
    return [row for window in windows if 0 <= (row := (window - start).days) < length]


def _states(values: FloatArray, teaches: BoolArray, still_open: Iterable[int]) -> tuple[Window, ...]:
    known = ~np.isnan(values)
    there: BoolArray = np.logical_or.reduce(known, axis=1)
    teaching: BoolArray = np.logical_or.reduce(known & teaches, axis=1)
    states = [
        Window.KNOWN if taught else Window.DOUBTED if some else Window.UNKNOWN
        for some, taught in zip(there, teaching, strict=True)
    ]
    for row in still_open:
        states[row] = Window.OPEN
    return tuple(states)


def _source(dataset: str, fed: set[str]) -> str:
    """Of which system its rows come: streams of different systems are independent witnesses. "" if of several.

    All repositories of one source are one: its credentials, or its network, may fail for all of them at once.
    fed: the systems that there are records of.
    """
    if not dataset.startswith(catalog.LAYERS):
        return dataset
    systems = {name.split(".")[1] for name in (dataset, *catalog.upstream(dataset)) if name.startswith(catalog.BRONZE)}
    if len(systems) > 1:
        systems &= fed
    return systems.pop() if len(systems) == 1 else ""
