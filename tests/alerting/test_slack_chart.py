"""Charts: made of what is known, honest about what is not, and never in need of the network."""

import random
import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerting.folding import fold_all
from alerting.incidents import Facts, Incident, Key, Kind, Report
from alerting.slack import chart
from config import mongo, schema, settings
from quality import observations
from quality.detector import verdicts
from quality.detector.verdicts import Cell, State, Verdict
from quality.observations import Cause, Observation, Series, Statement

NOW = datetime(2026, 5, 2, 3, 14, tzinfo=UTC)
SERIES = Series("gold.dora_daily", "acme/api", "deployment_frequency")
LAST = date(2026, 5, 1)


@pytest.fixture
def db(database: str) -> schema.Db:  # noqa: ARG001 - names the database
    found = mongo.database(settings.load())
    schema.ensure(found)
    return found


def incident(*windows: date, series: Series | None = SERIES) -> Incident:
    facts = Facts("t", series=(series.dataset, series.scope, series.measure) if series else None)
    report = Report(Key("d", "s", "c"), NOW, failed=True, kind=Kind.FINDING, lasting=True, facts=facts)
    return fold_all(None, [replace(report, window=window) for window in windows] or [report])


def put(db: schema.Db, values: dict[date, float | None], series: Series = SERIES) -> None:
    stated = [Observation(series, schema.start_of(day), value) for day, value in values.items()]
    observations.append(db, stated, run_id="r", recorded_at=NOW)


def before(days: int) -> date:
    return LAST - timedelta(days=days)


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def values(specification: dict[str, Any], layer: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = specification["layer"][layer]["data"]["values"]
    return found


def statements(known: dict[date, float | None]) -> list[Statement]:
    return [Statement(schema.start_of(day), value, NOW, "r", Cause.FIRST) for day, value in known.items()]


def test_a_series_becomes_a_picture_of_the_size_that_slack_shows_well(db: schema.Db) -> None:
    put(db, {before(n): float(n % 7) for n in range(60)})
    png = chart.png(db, incident(LAST, before(1)))
    assert png is not None
    width, height = size(png)
    assert 1600 <= width <= 2000
    assert 500 <= height <= 900
    assert len(png) < 1_000_000


@pytest.mark.parametrize("known", [{}, {LAST: None, before(1): None}, {before(100): 1.0}])
def test_there_is_no_picture_of_nothing(db: schema.Db, known: dict[date, float | None]) -> None:
    put(db, known)
    assert chart.png(db, incident(LAST)) is None


def test_without_a_series_there_is_no_picture(db: schema.Db) -> None:
    assert chart.png(db, incident(LAST, series=None)) is None


def test_without_a_window_the_days_before_the_opening_are_shown(db: schema.Db) -> None:
    put(db, {before(n): 1.0 for n in range(5)})
    assert chart.png(db, incident()) is not None


@pytest.mark.parametrize("day", [date.min, date.max, date(1970, 1, 1)])
def test_the_ends_of_time_do_no_harm(db: schema.Db, day: date) -> None:
    assert chart.png(db, incident(day)) is None


def test_the_newest_statement_of_a_window_is_what_is_drawn(db: schema.Db) -> None:
    put(db, {LAST: 1.0})
    put(db, {LAST: None})
    assert chart.png(db, incident(LAST)) is None


def test_what_fails_is_red_what_is_unknown_is_crossed_and_gaps_are_gaps() -> None:
    """A line through a day of which nothing is known would claim something."""
    known = {before(5): 3.0, before(4): 4.0, before(3): None, before(2): 5.0, LAST: 0.0}
    drawn = chart.specification(SERIES, statements(known), [before(1).isoformat(), LAST.isoformat()])
    bands, lines, dots, unknown = (values(drawn, layer) for layer in range(4))
    assert [one["from"][:10] for one in bands] == ["2026-04-30", "2026-05-01"]
    runs: dict[int, list[str]] = {}
    for one in lines:
        runs.setdefault(one["run"], []).append(one["day"])
    assert list(runs.values()) == [["2026-04-26", "2026-04-27"], ["2026-04-29"], ["2026-05-01"]]
    assert [one["day"] for one in dots if one["state"] == "fails"] == ["2026-05-01"]
    assert [one["day"] for one in unknown] == ["2026-04-28"]
    assert "2 failing (red) · 1 unknown (crosses)" in drawn["title"]["subtitle"]


def cell(low: float | None, expected: float | None, high: float | None, measure: str = "") -> Cell:
    return Cell(measure or SERIES.measure, 1, expected, low, high, 0.5, "today", 60, "count")


def test_what_was_expected_is_drawn_below_the_line_where_it_is_known() -> None:
    known: dict[date, float | None] = {before(2): 3.0, before(1): 4.0, LAST: 0.0}
    cells = {before(1): cell(2.0, 3.0, 5.0), LAST: cell(2.5, 3.5, 9e9), before(2): cell(None, None, None)}
    drawn = chart.specification(SERIES, statements(known), [LAST.isoformat()], cells)
    _, ranges, middles, lines = (values(drawn, layer) for layer in range(4))
    assert [(one["from"][:10], one["low"], one["value"]) for one in ranges] == [
        ("2026-04-30", 2.0, 3.0), ("2026-05-01", 2.5, 3.5),
    ]  # fmt: skip
    assert ranges == middles
    assert ranges[0]["high"] == 5.0
    assert 5.0 < ranges[1]["high"] <= 4.0 * (1 + chart.ROOM), "a wide range must not press the values flat"
    assert len(lines) == 3
    assert "expected range" in drawn["title"]["subtitle"]


def test_the_ranges_are_those_of_the_verdicts_on_the_measure(db: schema.Db, monkeypatch: pytest.MonkeyPatch) -> None:
    put(db, {before(n): 5.0 for n in range(9)})
    cells = (cell(1, 2, 3, "rows"), cell(4, 5, 6))
    judged = [
        Verdict(*SERIES[:2], day, State.NORMAL, NOW, "r", "d", cells=cells) for day in (LAST, before(3), before(99))
    ]
    verdicts.put(db, [*judged, replace(judged[0], scope="acme/web", window=before(1))])
    monkeypatch.setattr(chart, "drawn", lambda *given: repr(sorted(given[3].items())).encode())
    drawn = chart.png(db, incident(LAST))
    assert drawn == repr([(before(3), cells[1]), (LAST, cells[1])]).encode()


@pytest.mark.parametrize("numbers", [(0.0, 0.0, 0.0), (-1e300, 0.0, 1e300), (5.0, None, 6.0), (-3.0, -2.0, -1.0)])
def test_any_range_can_be_drawn(db: schema.Db, numbers: tuple[float, float | None, float]) -> None:
    put(db, {LAST: 0.0})
    verdicts.put(db, [Verdict(*SERIES[:2], LAST, State.ANOMALY, NOW, "r", "d", 2.0, (cell(*numbers),))])
    assert chart.png(db, incident(LAST)) is not None


def test_of_many_windows_only_those_have_points_that_fail_or_stand_alone() -> None:
    known: dict[date, float | None] = {before(n): 1.0 for n in reversed(range(60))}
    known[before(11)] = known[before(9)] = None
    dots = values(chart.specification(SERIES, statements(known), [LAST.isoformat()]), 2)
    assert [one["day"] for one in dots] == [before(10).isoformat(), LAST.isoformat()]


def test_hostile_names_are_text_and_nothing_is_loaded(db: schema.Db) -> None:
    """vl_convert refuses addresses; a name with markup, an unseen sign or a lone surrogate is drawn as it is."""
    series = Series("d" * 500, "<image href='http://127.0.0.1:1/'>\u202e&\n\t\x01", "m\u200b\n=null_ratio" * 40)
    random.seed(1)
    put(db, {before(n): random.uniform(-1e300, 1e300) for n in range(60)}, series)  # noqa: S311 - no secret
    png = chart.png(db, incident(LAST, series=series))
    assert png is not None
    title = chart.specification(series, statements({LAST: 1.0}), [])["title"]
    assert "\u202e" not in title["text"]
    assert "\n" not in title["text"]
    assert len(title["subtitle"]) <= chart.TITLE


@pytest.mark.parametrize("value", [0.0, -5.0, 1e-300, 1e300, 2**62])
def test_a_single_value_of_any_size_can_be_drawn(db: schema.Db, value: float) -> None:
    put(db, {LAST: value})
    assert chart.png(db, incident(LAST)) is not None
