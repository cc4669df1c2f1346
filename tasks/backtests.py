"""`touchstone detector backtest`: the alerts that would have fired, for people and for programs. Only reads."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from config import mongo, settings
from config.settings import ConfigError, Settings
from quality.detector import explain, history, judging
from quality.detector.backtest import Alert, Replayed, per_quarter, replay
from quality.detector.history import Panelled
from quality.detector.said import heard
from quality.detector.verdicts import Verdict
from quality.observations import Series
from tasks import detector_charts
from tasks.cli_common import plain
from tasks.feedback import span
from tasks.sparkline import sparkline

BEFORE: Final = 42
"""Windows of the line that an alert ends."""
NOTE: Final = "as it is known now: late data, repairs and what people said since are in it"


@dataclass(frozen=True, slots=True)
class Backtest:
    """What came of one."""

    first: date
    last: date
    budget: float
    """False alarms that are accepted of a series in 90 windows."""
    streams: Sequence[Replayed]
    loaded: Settings

    @property
    def judged(self) -> int:
        """Windows with an opinion, of all streams."""
        return sum(one.judged for one in self.streams)

    @property
    def alerts(self) -> int:
        """Of all streams."""
        return sum(len(one.alerts) for one in self.streams)

    @property
    def per_quarter(self) -> float | None:
        """Alerts in 90 judged windows of a stream; None if none was judged."""
        return per_quarter(self.streams)


def run(days: int, dataset: str | None = None, scope: str | None = None) -> Backtest:
    """Replay the `days` days up to yesterday. Raises ConfigError if nothing of the kind is observed, MongoError."""
    loaded = settings.load()
    today = datetime.now(UTC).date()
    first = today - timedelta(days=days)
    histories = observed(loaded, days, dataset, scope)
    return Backtest(
        first, today - timedelta(days=1), loaded.detector.false_alarms_per_series_per_quarter,
        replay(histories, judging.options(loaded), first, heard(mongo.database(loaded))), loaded,
    )  # fmt: skip


def observed(loaded: Settings, days: int, dataset: str | None = None, scope: str | None = None) -> list[Panelled]:
    """The streams as they stand in the database, with enough history before `days` to judge by.

    Raises ConfigError if there are none, MongoError.
    """
    now = datetime.now(UTC)
    found = history.streams(
        mongo.database(loaded),
        loaded,
        until=now.date() - timedelta(days=1),
        now=now,
        datasets=[dataset] if dataset else None,
        scopes=[scope] if scope else None,
        days=days + loaded.detector.history_days,
    )
    if not found:
        of = " ".join(part for part in (dataset, scope) if part)
        raise ConfigError(
            f"detector: nothing is observed{f' of {of}' if of else ''}: `touchstone status` shows what there is, and "
            "`touchstone backfill` makes history"
        )
    return found


def verdict(one: Replayed, alert: Alert, loaded: Settings) -> Verdict:
    """What the detector says of the strangest window of an alert."""
    return judging.verdict(one.of, one.judgement, alert.worst, loaded)


def as_json(found: Backtest) -> str:
    """For programs."""
    document = {
        "first": found.first,
        "last": found.last,
        "known": NOTE,
        "budget": found.budget,
        "judged": found.judged,
        "alerts": found.alerts,
        "alerts_per_series_and_quarter": found.per_quarter,
        "series": [_series(one, found.loaded) for one in found.streams],
    }
    return json.dumps(document, indent=1, default=str)


def _series(one: Replayed, loaded: Settings) -> dict[str, Any]:
    return {
        "dataset": one.of.dataset,
        "scope": one.of.scope,
        "judged": one.judged,
        "blind": one.blind,
        "alerts_per_quarter": one.per_quarter,
        "alerts": [_alert(one, alert, loaded) for alert in one.alerts],
    }


def _alert(one: Replayed, alert: Alert, loaded: Settings) -> dict[str, Any]:
    said = verdict(one, alert, loaded)
    (cell, *_) = said.cells
    told = {key: value for key, value in asdict(cell).items() if key not in {"score", "history", "nature"}}
    return {
        "first": one.day(alert.rows[0]),
        "last": one.day(alert.rows[-1]),
        "windows": [one.day(row) for row in alert.rows],
        "strangest": said.window,
        **told,
        "times_rarer": said.rarity,
        "title": explain.title(said),
        "explanation": explain.reasons(said, loaded.detector.false_alarms_per_series_per_quarter),
        "together": explain.together(said),
    }


def show(found: Backtest, console: Console) -> None:
    """For people: every alert with its reason and the numbers before it, then the total against the budget."""
    days = (found.last - found.first).days + 1
    say(console, f"Judged {span(found.first, found.last)} ({days:,} days) of {len(found.streams):,} series, {NOTE}.")
    for one in found.streams:
        for alert in one.alerts:
            console.print()
            _show_alert(one, alert, found, console)
    console.print()
    for one in found.streams:
        where = f"{one.of.dataset} {one.of.scope}"
        if not one.judged:
            told = (
                f"{one.blind:,} windows, too little history for an opinion of any" if one.blind else "nothing is known"
            )
            say(console, f"blind: {where}: {told}", "yellow")
        elif one.alerts:
            of = f"{len(one.alerts):,} alerts in {one.judged:,} judged windows"
            say(console, f"{where}: {of}, {one.per_quarter:.2f} a quarter")
    total = f"{found.alerts:,} alerts in {found.judged:,} judged windows"
    rate = f": {found.per_quarter:.2f} per series and quarter; the budget is {found.budget:g}" if found.judged else ""
    say(console, f"{total}{rate}. Nothing was written.", "bold")


def _show_alert(one: Replayed, alert: Alert, found: Backtest, console: Console) -> None:
    said = verdict(one, alert, found.loaded)
    title, *reasons = explain.lines(said, found.budget)
    say(console, f"{span(one.day(alert.rows[0]), one.day(alert.rows[-1]))}  {title}", "bold")
    for reason in reasons:
        say(console, f"  {reason}")
    if said.cells:
        console.print(Text.assemble("  ", line(one, said.cells[0].measure, alert)))


def line(one: Replayed, measure: str, alert: Alert) -> Text:
    """The measure up to the end of the alert, its windows marked."""
    place = [known.name for known in one.of.stream.measures].index(measure)
    last = min(alert.rows[-1], alert.rows[0] + BEFORE)
    first = max(last - BEFORE, 0)
    values = [float(value) for value in one.of.stream.values[first : last + 1, place]]
    return Text.assemble(sparkline(values, {row - first for row in alert.rows}), f"  {measure}")


def draw(found: Backtest, folder: Path, console: Console) -> None:
    """A chart of the strangest measure of each alert's series, with what was expected, as SVG files."""
    for one in found.streams:
        by_measure: dict[str, list[date]] = {}
        for alert in one.alerts:
            measure = verdict(one, alert, found.loaded).cells[0].measure
            by_measure.setdefault(measure, []).extend(one.day(row) for row in alert.rows)
        for measure, days in by_measure.items():
            series = Series(one.of.dataset, one.of.scope, measure)
            for path in detector_charts.write(folder, series, one.of.stream, one.judgement, one.since, days):
                say(console, f"drawn: {path}")


def say(console: Console, text: str, style: str = "") -> None:
    """A line of plain text."""
    console.print(plain(text), style=style or None, markup=False, soft_wrap=True)
