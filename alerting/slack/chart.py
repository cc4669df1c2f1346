"""The series around an incident as a picture: what was measured, what was expected, and which windows are wrong.

Made without a browser and without the network: Vega-Lite drawn by vl_convert, with nothing that it could load.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby, pairwise
from typing import Any, Final

from alerting.incidents import Incident
from alerting.slack import text as say
from config import schema
from quality import observations
from quality.detector import verdicts
from quality.detector.verdicts import Cell
from quality.observations import Series, Statement

BEFORE: Final = 60
"""Days before the last window that is wrong."""
AFTER: Final = 8
WIDTH: Final = 800
HEIGHT: Final = 260
SCALE: Final = 2
"""Pixels a point: Slack shows pictures at half their size on most screens."""
INK, GREY, BLUE, RED, PALE = "#1d1c1d", "#868686", "#1264a3", "#d0021b", "#9dc3e6"
FONT: Final = "Liberation Sans, DejaVu Sans, Arial, sans-serif"
TITLE: Final = 90
DAY: Final = 86_400_000
"""Milliseconds."""
FEWEST: Final = 13
"""Days that are shown at least, besides the last."""
FEW: Final = 40
"""Windows up to which each has a point of its own."""

ROOM: Final = 0.5
"""How far beyond all values the expected range is shown: a wide one must not press them flat."""

Value = dict[str, Any]


def png(db: schema.Db, incident: Incident) -> bytes | None:
    """The series of `incident.facts.series` up to its last failing window; None if there is nothing to draw."""
    if incident.facts.series is None:
        return None
    of = Series(*incident.facts.series)
    if (shown := _shown(incident)) is None:
        return None
    known = observations.latest(db, of, schema.start_of(shown[0]), schema.start_of(shown[1]))
    if not any(one.value is not None for one in known):
        return None
    found = verdicts.find(db, of.dataset, of.scope, shown)
    cells = {one.window: cell for one in found for cell in one.cells if cell.measure == of.measure}
    return drawn(of, known, incident.failing, cells)


def drawn(
    of: Series, known: Sequence[Statement], failing: Sequence[str], cells: Mapping[date, Cell] | None = None
) -> bytes:
    """The picture of `specification`; one of `known` at least is a number."""
    import vl_convert  # noqa: PLC0415 - 40 MB, and most processes draw nothing

    picture: bytes = vl_convert.vegalite_to_png(
        json.dumps(specification(of, known, failing, cells)), scale=SCALE, allowed_base_urls=[]
    )
    return picture


def _shown(incident: Incident) -> tuple[date, date] | None:
    """The days in [first, last) that matter."""
    days = [date.fromisoformat(window) for window in incident.failing if window]
    days = days or [moment.date() for moment in incident.openings]
    if not days:
        return None
    last = max(days).toordinal()
    return date.fromordinal(max(last - BEFORE, 1)), date.fromordinal(min(last + AFTER, date.max.toordinal()))


def specification(
    of: Series, known: Sequence[Statement], failing: Sequence[str], cells: Mapping[date, Cell] | None = None
) -> Value:
    """Vega-Lite: a line with gaps where there is no number, failing windows red, unknown ones crossed at the foot.

    cells: what was expected of windows, drawn below the line as a range for each of them.
    """
    wrong = {window[:10] for window in failing}
    points = [_point(one, wrong) for one in known]
    numbers = [one for one in points if one["value"] is not None]
    low, high = min(one["value"] for one in numbers), max(one["value"] for one in numbers)
    ranges = _ranges(cells or {}, low, high)
    low, high = min([low, *(one["low"] for one in ranges)]), max([high, *(one["high"] for one in ranges)])
    foot = min(0, low)
    unknown = [{**one, "value": foot} for one in points if one["value"] is None]
    bands = [
        {"from": f"{day}T00:00Z", "to": f"{_plus(day, 1)}T00:00Z"} for day in sorted(wrong) if day >= points[0]["day"]
    ]
    newest = max([points[-1]["day"], *wrong])
    oldest = min(points[0]["day"], _plus(newest, -FEWEST))
    domain = [f"{oldest}T00:00Z", f"{_plus(newest, 1)}T00:00Z"]
    place = {"x": _x("at", domain), "y": _y(of.measure, foot, high)}
    layers: list[Value] = [
        {"data": {"values": bands}, "mark": {"type": "rect", "color": RED, "opacity": 0.12},
         "encoding": {"x": _x("from", domain), "x2": {"field": "to"}}},
        *_range_layers(ranges, {"x": _x("from", domain), "x2": {"field": "to"}}, _y(of.measure, foot, high)),
        {"data": {"values": _lines(points)},
         "mark": {"type": "line", "color": BLUE, "strokeWidth": 2, "strokeJoin": "round"},
         "encoding": place | {"detail": {"field": "run"}}},
        {"data": {"values": _dots(numbers, points)}, "mark": {"type": "point", "filled": True, "opacity": 1},
         "encoding": place | {
             "color": {"field": "state", "type": "nominal", "legend": None,
                       "scale": {"domain": ["fails", "well"], "range": [RED, BLUE]}},
             "size": {"condition": {"test": "datum.state === 'fails'", "value": 90}, "value": 30}}},
        {"data": {"values": unknown},
         "mark": {"type": "point", "shape": "cross", "angle": 45, "filled": True, "color": GREY, "size": 60},
         "encoding": place},
    ]  # fmt: skip
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": WIDTH, "height": HEIGHT, "padding": 16, "background": "white",
        "title": {"text": _plain(f"{of.measure} of {of.scope}"), "subtitle": _legend(of, wrong, unknown, ranges),
                  "anchor": "start", "fontWeight": 600, "fontSize": 18, "subtitleFontSize": 13, "subtitleColor": GREY,
                  "color": INK, "offset": 14, "limit": WIDTH},
        "layer": layers,
        "config": {"font": FONT, "view": {"stroke": None},
                   "axis": {"labelFontSize": 13, "titleFontSize": 13, "labelColor": INK, "titleColor": GREY,
                            "titleFontWeight": "normal", "gridColor": "#ececec", "domainColor": "#c8c8c8",
                            "tickColor": "#c8c8c8"}},
    }  # fmt: skip


def _ranges(cells: Mapping[date, Cell], low: float, high: float) -> list[Value]:
    """What was expected window by window, cut where it leaves what is shown: around the values `low` to `high`."""
    known = [(day, one.low, one.high, one.expected) for day, one in sorted(cells.items())]
    whole = [(day, a, b, b if c is None else c) for day, a, b, c in known if a is not None and b is not None]
    if not whole:
        return []
    floor, top = min(low, *(one[3] for one in whole)), max(high, *(one[3] for one in whole))
    room = ROOM * max(top - floor, abs(top) / 2)
    least, most = floor - room, top + room
    return [
        {"from": f"{day}T00:00Z", "to": f"{_plus(day.isoformat(), 1)}T00:00Z", "low": min(max(a, least), most),
         "high": max(min(b, most), least), "value": c}
        for day, a, b, c in whole
    ]  # fmt: skip


def _range_layers(ranges: Sequence[Value], x: Value, y: Value) -> list[Value]:
    if not ranges:
        return []
    data = {"values": list(ranges)}
    high = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
    return [
        {"data": data, "mark": {"type": "rect", "color": PALE, "opacity": 0.4}, "encoding": x | high},
        {"data": data, "mark": {"type": "rule", "color": PALE, "strokeWidth": 2}, "encoding": x | {"y": y}},
    ]


def _point(one: Statement, wrong: set[str]) -> Value:
    day = one.at.date().isoformat()
    return {"day": day, "at": f"{day}T12:00Z", "value": one.value, "state": "fails" if day in wrong else "well"}


def _lines(points: Sequence[Value]) -> list[Value]:
    """The points that follow each other without a gap, numbered run by run: each run is a line of its own."""
    breaks = [0]
    for before, after in pairwise(points):
        gap = after["value"] is None or _plus(before["day"], 1) != after["day"]
        breaks.append(breaks[-1] + gap)
    return [{**one, "run": run} for run, one in zip(breaks, points, strict=True) if one["value"] is not None]


def _dots(numbers: Sequence[Value], points: Sequence[Value]) -> list[Value]:
    """The points that are drawn as such: all if they are few, else what fails and what stands alone."""
    if len(numbers) <= FEW:
        return list(numbers)
    runs = {run: list(of) for run, of in groupby(_lines(points), key=lambda one: one["run"])}
    return [one for of in runs.values() for one in of if one["state"] == "fails" or len(of) == 1]


def _legend(of: Series, wrong: set[str], unknown: Sequence[Value], ranges: Sequence[Value]) -> str:
    told = [of.dataset]
    told += ["expected range (pale blue)"] if ranges else []
    told += [f"{len(wrong)} failing (red)"] if wrong else []
    told += [f"{len(unknown)} unknown (crosses)"] if unknown else []
    return _plain(" · ".join(told))


def _x(field: str, domain: list[str]) -> Value:
    axis = {"format": "%-d %b", "labelOverlap": True, "tickCount": 10, "tickMinStep": DAY, "grid": False}
    return {"field": field, "type": "temporal", "scale": {"type": "utc", "domain": domain}, "axis": axis,
            "title": "window (day, UTC)"}  # fmt: skip


def _y(measure: str, low: float, high: float) -> Value:
    scale = {"domain": [low, high if high > low else low + 1], "nice": True}
    return {"field": "value", "type": "quantitative", "title": _plain(measure), "scale": scale}


def _plus(day: str, days: int) -> str:
    ordinal = date.fromisoformat(day).toordinal() + days
    return date.fromordinal(min(max(ordinal, 1), date.max.toordinal())).isoformat()


def _plain(text: str) -> str:
    """One short line of what can be seen."""
    line = " ".join(say.seen(text[: 4 * TITLE]).split())
    return line if len(line) <= TITLE else line[: TITLE - 1] + say.ELLIPSIS


__all__ = ["drawn", "png", "specification"]
