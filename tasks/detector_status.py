"""`touchstone detector status`: which series are judged, which are blind and what they lack, and what was said last.

Made of the verdicts as they are stored; nothing is judged for it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import mongo, schema, settings
from config.detector import fits
from config.settings import ConfigError, Settings
from quality import observations
from quality.detector import explain
from quality.detector.verdicts import State, Verdict
from tasks.cli_common import plain

RECENT: Final = 90
"""Days in which anomalies are counted: those of the budget."""


class Stands(StrEnum):
    """How the detector stands to a series."""

    JUDGED = "judged"
    BLIND = "blind"
    """Too little history: neither a pass nor an alarm."""
    BROKEN = "broken"
    """The detector failed on it."""
    WAITING = "not yet"
    """It is observed, and no window of it was judged yet."""
    OFF = "off"
    """It is observed only, by configuration."""


STYLES: Final = {Stands.BLIND: "yellow", Stands.BROKEN: "bold red", Stands.OFF: "dim", Stands.WAITING: "dim"}
_OF: Final = {State.BLIND: Stands.BLIND, State.BROKEN: Stands.BROKEN}


@dataclass(frozen=True, slots=True)
class Line:
    """One series: a dataset and a scope with all its measures."""

    dataset: str
    scope: str
    stands: Stands
    window: date | None = None
    """The last one that was judged."""
    said: State | None = None
    title: str = ""
    """What an anomaly is, what is missing for an opinion, or what broke."""
    history: int = 0
    """Windows of usable history behind the measure that has the most."""
    anomalies: int = 0
    """Windows of the last RECENT days that are anomalies."""
    blocks: bool = False
    """Anomalies hold Gold back, by configuration."""


def found(dataset: str | None = None, scope: str | None = None) -> list[Line]:
    """A line for each series that is observed; dataset: a name, or the start of names and a star.

    Raises ConfigError if there is none, MongoError.
    """
    loaded = settings.load()
    db = mongo.database(loaded)
    streams = {(one.dataset, one.scope) for one in observations.series(db)}
    asked = [(d, s) for d, s in sorted(streams) if fits(dataset or "*", d) and scope in {None, s}]
    if not asked and (dataset or scope):
        of = " ".join(part for part in (dataset, scope) if part)
        near = ", ".join(sorted({d for d, _ in streams} if dataset else {s for _, s in streams})) or "nothing yet"
        raise ConfigError(f"detector: nothing is observed of {of}; there is {near}")
    last = newest(db)
    return [_line(d, s, last.get((d, s)), loaded) for d, s in asked]


def newest(db: schema.Db) -> dict[tuple[str, str], dict[str, Any]]:
    """Of each stream its newest verdict, and how many anomalies there were of late."""
    since = schema.start_of(datetime.now(UTC).date() - timedelta(days=RECENT))
    recent = {"$and": [{"$eq": ["$state", str(State.ANOMALY)]}, {"$gte": ["$window", since]}]}
    group = {
        "_id": {"dataset": "$dataset", "scope": "$scope"},
        "last": {"$top": {"sortBy": {"window": -1}, "output": "$$ROOT"}},
        "anomalies": {"$sum": {"$cond": [recent, 1, 0]}},
    }
    found = db[schema.VERDICTS].aggregate([{"$group": group}])
    return {(one["_id"]["dataset"], one["_id"]["scope"]): one for one in found}


def _line(dataset: str, scope: str, known: dict[str, Any] | None, loaded: Settings) -> Line:
    declared = loaded.detector.of(dataset)
    blocks = declared.block_on_anomaly
    if not loaded.detector.enabled or not declared.judge:
        return Line(dataset, scope, Stands.OFF)
    if known is None:
        return Line(dataset, scope, Stands.WAITING, blocks=blocks)
    last = Verdict.from_document(known["last"])
    title = {
        State.NORMAL: "",
        State.ANOMALY: explain.title(last),
        State.BLIND: last.missing,
        State.BROKEN: last.error,
    }[last.state]
    history = max((cell.history for cell in last.cells), default=0)
    stands = _OF.get(last.state, Stands.JUDGED)
    return Line(dataset, scope, stands, last.window, last.state, title, history, known["anomalies"], blocks)


def as_json(lines: Sequence[Line]) -> str:
    """For programs."""
    return json.dumps([asdict(line) for line in lines], indent=1, default=str)


def show(lines: Sequence[Line], console: Console) -> None:
    """For people: one line each, then what is blind and why."""
    if not lines:
        console.print("Nothing is observed yet: try `touchstone run`, or `touchstone backfill` for the past.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 1, 0, 0))
    for heading in ("dataset", "scope", "is", "last window", "history", "anomalies", "last verdict"):
        right = heading.startswith(("history", "anomalies"))
        long = heading in {"dataset", "scope", "last verdict"}
        table.add_column(heading, justify="right" if right else "left", no_wrap=not long, overflow="fold")
    for line in lines:
        table.add_row(
            plain(line.dataset), Text(plain(line.scope)), Text(str(line.stands), STYLES.get(line.stands, "green")),
            str(line.window or "-"), f"{line.history:,} d" if line.window else "-",
            f"{line.anomalies:,}" if line.window else "-", Text(plain(line.title or line.said or "-")),
        )  # fmt: skip
    console.print(table)
    counts = {stands: sum(line.stands is stands for line in lines) for stands in Stands}
    told = ", ".join(f"{number:,} {stands}" for stands, number in counts.items() if number)
    console.print(f"{len(lines):,} series: {told}. Anomalies are windows of the last {RECENT} days.", markup=False)
    if counts[Stands.WAITING]:
        console.print("What is not judged yet, the next `touchstone run` judges.", markup=False)
