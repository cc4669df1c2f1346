"""The second half of `touchstone demo`: a source breaks, Slack hears of it once, and the numbers come back.

The history is real, and so are pipeline, notifier and commands. Only the mishap is staged: two nights in a row the
export ends in the middle of its last line, and what that line tells of is a release.
"""

import csv
import gzip
import json
import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from alerting.incidents import Incident
from config import mongo, schema, settings
from config.catalog import DORA_DAILY
from config.settings import Slack
from tasks import report
from tasks.demonstration_place import RECORDED
from tasks.demonstration_stage import PAGE, Stage, prepared

SCOPE: Final = "psf/requests"
SINCE: Final = date(2025, 6, 1)
"""The recording is used from here on: a year takes less time than fifteen, and no later release lacks a commit."""
FIRST: Final = date(2026, 3, 20)
WELL: Final = date(2026, 5, 12)
"""The last day before the mishap."""
TORN: Final = (date(2026, 5, 13), date(2026, 5, 14))
"""Days with a release, which is the last line of each."""
LOST: Final = 45
"""Bytes that are missing at their ends."""
TAIL: Final = 50
OTHER_DATABASE: Final = "TOUCHSTONE_MONGO_DATABASE"
ORACLE: Final = {
    "deployment_frequency": "tags",
    "changes_shipped": "commits_first_shipped",
    "change_lead_time_median_seconds": "lead_median_s",
}
"""Metric -> what it is called where it was counted by other means."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it."""

    config: Path
    """To go on with."""
    incident: str
    """Its id."""
    series: str
    """A number that was unknown for a while."""
    day: date
    """When it was."""


def tell(console: Console, slack: Slack | None) -> Told | None:
    """Tell it; None if it cannot be told here, which is said then.

    slack: where to; None: to a stand-in. Raises SourceError, ConfigError, MongoError, PyMongoError.
    """
    if hindrance := _hindrance():
        console.print(f"\nWhat happens when a source breaks is left out: {hindrance}.", markup=False, highlight=False)
        return None
    recorded = _by_day()
    with prepared(console, slack) as stage:
        _all_is_well(stage, recorded)
        incident = _it_breaks(stage, recorded)
        _what_is_known(stage, incident)
        _it_is_mended(stage, recorded)
        return Told(stage.config, incident.id, f"{DORA_DAILY.name}:{SCOPE}:{next(iter(ORACLE))}", TORN[-1])


def _hindrance() -> str:
    if not RECORDED.exists():
        return "it is told with a recorded history, which only a checkout has"
    if os.environ.get(OTHER_DATABASE):
        return f"it is told in a database of its own, and {OTHER_DATABASE} names another one"
    return ""


def _by_day() -> Mapping[date, Sequence[str]]:
    """The recorded lines of each day, in their order."""
    lines = defaultdict(list)
    with gzip.open(RECORDED, "rt", encoding="utf-8") as recording:
        for line in recording:
            event = json.loads(line)
            lines[datetime.fromtimestamp(event.get("tag_ts") or event["commit_ts"], UTC).date()].append(line)
    return lines


def _all_is_well(stage: Stage, recorded: Mapping[date, Sequence[str]]) -> None:
    stage.chapter(f"1. The recorded history of {SCOPE} up to {WELL}")
    known = sorted(day for day in recorded if SINCE <= day <= WELL)
    stage.export(WELL, "".join(line for day in known for line in recorded[day]))
    stage.deliver()  # a notifier is there before the first run
    stage.run(FIRST, WELL)
    stage.deliver()
    rows = list(report.rows(FIRST, WELL, [SCOPE]))
    proven = sum(row["trust"] == "proven" for row in rows)
    releases = sum(row["deployment_frequency"] or 0 for row in rows)
    stage.say(
        f"{proven} of {len(rows)} days are proven: {releases} releases, and days without one, each a zero with a "
        f"proof. {len(stage.incidents()) or 'No'} incidents."
    )


def _it_breaks(stage: Stage, recorded: Mapping[date, Sequence[str]]) -> Incident:
    stage.chapter("2. Two nights in a row the export dies in the middle of its last line")
    counted = []
    for day in TORN:
        text = "".join(recorded[day])[:-LOST]
        path = stage.export(day, text)
        stage.say(f"{path.name} ends with {text[-TAIL:]}")
        counted.append(f"{_naive_count(path)} releases on {day}")
    stage.say(f"A script that skips what it cannot read counts {' and '.join(counted)}, and nobody is surprised.")
    stage.run(FIRST, TORN[-1])
    (incident,) = stage.incidents()
    seconds = stage.deliver()
    stage.say(f"Touchstone runs as every night, and {seconds:.1f} seconds later this is in Slack:\n")
    stage.slack()
    return incident


def _naive_count(path: Path) -> int:
    """How many tags there are in the lines that can be read."""
    found = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found += json.loads(line)["type"] == "tag"
        except ValueError:
            continue
    return found


def _what_is_known(stage: Stage, incident: Incident) -> None:
    day = TORN[-1]
    stage.chapter(f"3. What {DORA_DAILY.name} says meanwhile: no zero, but null, and why")
    db = mongo.database(settings.load())
    document = db[DORA_DAILY.name].find_one({"scope": SCOPE, "day": schema.start_of(day)}) or {}
    metric = next(iter(ORACLE))
    shown: dict[str, Any] = {
        "day": day.isoformat(), metric: document.get(metric), "trust": document.get("trust"),
        f"reasons.{metric}": document.get("reasons", {}).get(metric), "incidents": document.get("incidents"),
    }  # fmt: skip
    for name, value in shown.items():
        stage.say(f"{name}: {json.dumps(value)}")
    stage.say("\nThe next step that the message names:")
    stage.command(*shlex.split(incident.facts.command)[1:])


def _it_is_mended(stage: Stage, recorded: Mapping[date, Sequence[str]]) -> None:
    stage.chapter("4. The export is made again; the next run, and the same message")
    for day in TORN:
        stage.export(day, "".join(recorded[day]))
    stage.run(FIRST, TORN[-1])
    stage.deliver()
    stage.slack()
    stage.command("metrics", "--from", str(TORN[0] - timedelta(days=2)), "--to", str(TORN[-1]))
    counted, rows = _counted(), list(report.rows(FIRST, TORN[-1], [SCOPE]))
    equal = sum(counted.get(row["day"], _NOTHING) == _values(row, ORACLE) for row in rows)
    oracle = f"what git, sort and awk alone have counted ({RECORDED.with_name('daily.csv')})"
    stage.say(f"{equal} of {len(rows)} days equal {oracle}.")
    if stage.standin is not None:
        stage.say(f"The channel as a page, with the chart: {PAGE}")


_NOTHING: Final = (0.0, 0.0, None)
"""What is true of a day that the oracle leaves out."""


def _counted() -> Mapping[str, tuple[float | None, ...]]:
    """By day what was counted by other means."""
    with RECORDED.with_name("daily.csv").open(encoding="utf-8", newline="") as file:
        return {row["utc_day"]: _values(row, ORACLE.values()) for row in csv.DictReader(file)}


def _values(row: Mapping[str, Any], names: Iterable[str]) -> tuple[float | None, ...]:
    return tuple(None if row[name] in {None, ""} else float(row[name]) for name in names)
