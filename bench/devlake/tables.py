"""DevLake's tables as CSV, and what a cell says. Only reading: nothing here knows our rows."""

import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

Row = Mapping[str, str]

_TIME: Final = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d+)?\s*(Z|[+-]\d{2}:?\d{2})?"
)


class At(NamedTuple):
    """A moment of ours, in whole epoch seconds."""

    ts: int


class Is(NamedTuple):
    """Whether theirs is this one of several that we do not tell apart otherwise."""

    text: str
    yes: bool


class View(NamedTuple):
    """Our rows, told in the columns of a table of theirs; only those that both have."""

    key: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    none: frozenset[str] = frozenset()
    """What there is and is none for us, by the first column of the key."""


@dataclass(frozen=True)
class Case:
    """One test case of theirs."""

    folder: Path
    """Of the plugin."""
    plugin: str
    name: str
    inputs: Sequence[tuple[str, str]]
    """File, and whether it holds raw responses or is a table of theirs."""
    expected: Sequence[tuple[str, Sequence[str] | None, Sequence[str]]]
    """File; the columns that they compare, None for all; the columns that they do not."""
    patterns: Mapping[str, str]
    options: Mapping[str, str]
    met: set[str] = field(default_factory=set)
    """The inputs that were asked for and are there."""

    @property
    def connection(self) -> str:
        """Their number of the connection."""
        return str(self.options.get("ConnectionId", "1"))

    def raw(self, part: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """What was recorded in the input whose name holds `part`, for the place that the case is about.

        Each record, and what it was asked for with.
        """
        for file, kind in self.inputs:
            if kind == "input-raw" and part in Path(file).stem:
                self.met.add(file)
                return [
                    (json.loads(row["data"]), _object(row.get("input")))
                    for row in read(self.folder / file)
                    if self._is_mine(_object(row["params"]))
                ]
        return []

    def table(self, name: str) -> list[Row]:
        """The rows of the case's connection in the input table that is called `name`, or begins so; if there is one."""
        for file, kind in sorted(self.inputs, key=lambda one: len(Path(one[0]).stem)):
            if kind == "input-table" and Path(file).stem.startswith(name):
                self.met.add(file)
                rows = read(self.folder / file)
                return [row for row in rows if row.get("connection_id", self.connection) == self.connection]
        return []

    def _is_mine(self, params: Mapping[str, Any]) -> bool:
        wanted = {
            "ConnectionId": self.options.get("ConnectionId"),
            "Name": self.options.get("Name"),
            "FullName": self.options.get("JobFullName"),
            "BoardId": self.options.get("BoardId"),
        }
        named = {key: value for key, value in wanted.items() if value is not None and key in params}
        return all(str(params[key]) == str(value) for key, value in named.items())


def cases(folder: Path) -> list[Case]:
    """All that `cases.json` in `folder` names."""
    found = []
    for one in json.loads((folder / "cases.json").read_text(encoding="utf-8")):
        config = one.get("config") or {}
        expected = [
            (
                table["file"],
                columns if isinstance(columns := table.get("asserted_columns"), list) else None,
                table.get("ignored_columns") or [],
            )
            for table in one["expected"]
        ]
        found.append(
            Case(
                folder / one["plugin"],
                one["plugin"],
                one["case"],
                [(table["file"], table["kind"]) for table in one["inputs"]],
                expected,
                dict(config.get("patterns") or ()),
                config.get("options") or {},
            )
        )
    return found


def read(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def seconds(text: str | None) -> float | None:
    """A time in any of their forms; without an offset it is UTC. None if there is none."""
    if not (match := _TIME.match((text or "").strip())):
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    zone = match[8] if match[8] and match[8] != "Z" else "+00:00"
    offset = (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60) * (-1 if zone[0] == "-" else 1)
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp() + float(match[7] or 0) - offset


def says(cell: str, ours: Any) -> bool:
    """Whether a cell of theirs says what our value says: times to the second, numbers as numbers."""
    match ours:
        case None:
            return cell == ""
        case At(ts):
            at = seconds(cell)
            return at is not None and at // 1 == ts
        case Is(text, yes):
            return (cell == text) is yes
        case bool():
            return cell.lower() in ({"1", "true"} if ours else {"0", "false", ""})
        case int() | float():
            try:
                return abs(float(cell) - ours) < 1e-9
            except ValueError:
                return False
    return cell == str(ours)


def at(ts: int | None) -> At | None:
    """The moment, if there is one."""
    return None if ts is None else At(ts)


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "null")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
