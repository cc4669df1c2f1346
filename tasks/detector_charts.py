"""Charts of what the detector says of a series, as SVG files: its numbers, what was expected of them, the alarms."""

import json
import re
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from alerting.slack import chart
from config import schema
from quality.detector.engine import Judgement
from quality.detector.judging import cell
from quality.detector.panel import Stream
from quality.detector.verdicts import Cell
from quality.observations import Cause, Series, Statement

LONGEST: Final = 365
"""Windows of one chart; a longer time has several, of which those with an alarm are drawn."""


def write(  # noqa: PLR0913, PLR0917 - of what, and when
    folder: Path, of: Series, stream: Stream, judgement: Judgement, since: int, alarms: Collection[date]
) -> list[Path]:
    """Draw the measure of `stream` that `of` names, from row `since` on; returns the files.

    alarms: the windows that are marked. Makes `folder`. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = [measure.name for measure in stream.measures].index(of.measure)
    written = []
    for first, last in _parts(stream, since, alarms):
        rows = range(first, last)
        known = [_statement(stream, row, place) for row in rows]
        if not any(one.value is not None for one in known):
            continue
        cells = {_day(stream, row): cell(stream, judgement, row, place) for row in rows}
        days = [day.isoformat() for day in sorted(alarms) if _day(stream, first) <= day < _day(stream, last)]
        told = of._replace(scope=f"{of.scope}, {_day(stream, first)} to {_day(stream, last - 1)}")
        path = folder / f"{_name(of)}.{_day(stream, first)}.svg"
        path.write_text(_svg(told, known, days, cells), encoding="utf-8")
        written.append(path)
    return written


def _parts(stream: Stream, since: int, alarms: Collection[date]) -> Iterator[tuple[int, int]]:
    """Rows [first, last) of each chart; the newest first."""
    for last in range(stream.windows, since, -LONGEST):
        first = max(last - LONGEST, since)
        if any(_day(stream, first) <= day < _day(stream, last) for day in alarms) or stream.windows - since <= LONGEST:
            yield first, last


def _statement(stream: Stream, row: int, place: int) -> Statement:
    at = schema.start_of(_day(stream, row))
    value = stream.values[row, place]
    return Statement(at, None if np.isnan(value) else float(value), datetime.now(UTC), "", Cause.FIRST)


def _day(stream: Stream, row: int) -> date:
    return stream.start + timedelta(days=row)


def _svg(of: Series, known: list[Statement], days: list[str], cells: dict[date, Cell]) -> str:
    import vl_convert  # noqa: PLC0415 - 40 MB, and most commands draw nothing

    drawn: str = vl_convert.vegalite_to_svg(
        json.dumps(chart.specification(of, known, days, cells)), allowed_base_urls=[]
    )
    return drawn


def _name(of: Series) -> str:
    """As a name of a file: what is not a letter, a digit, a dot or a dash is an underscore."""
    return re.sub(r"[^\w.-]+", "_", ".".join(of)).lstrip(".")[:150]


__all__ = ["write"]
