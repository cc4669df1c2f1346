"""Stage, check, publish: what the suite of a dataset says of staged partitions, before anybody sees them.

Rows that break a critical row rule are taken out, for the quarantine; what is left is measured, and the measures are
judged. Several partitions are judged at once: a suite costs as much for a thousand of them as for one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, Final, Protocol

from config import schema
from quality.findings import Finding, Judgement, Judges, Report, Rule, Severity
from quality.suites import Suite

Row = Mapping[str, Any]
Measures = Mapping[str, float | int | None]

SHOWN: Final = 200
"""Characters of a value in a finding's example."""

MISSING: Final = object()
"""What `at_path` finds where there is nothing; a null is something."""


class Judge(Protocol):
    """Carries out rules on a table; see `quality.validation.Validator`."""

    def judge(
        self, rules: Sequence[Rule], columns: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]
    ) -> list[Judgement]:
        """One judgement per rule, in order. `columns` are equally long."""


@dataclass(frozen=True, slots=True)
class Break:
    """That a row breaks a rule, and where."""

    rule: str
    path: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """One staged partition."""

    rows: Sequence[Row]
    extra: Measures = field(default_factory=dict)
    """Measures that its rows do not tell, e.g. `receipt.items`; those given here count."""
    aside: int = 0
    """How many of its rows were set aside already."""
    count: int | None = None
    """How many rows it has, where `rows` does not tell because no rule looks at them."""
    content: str = ""
    """A hash of its rows; empty: it is to be judged in any case."""
    before: Mapping[str, Any] | None = None
    """The report's document of last time: if it was of the same content, it stands."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found of one partition."""

    report: Report
    kept: Sequence[Row]
    broken: Sequence[tuple[Row, Sequence[Break]]]
    """Rows for the quarantine, and why."""
    measures: Measures
    """Of the rows that were kept."""


def parameters(now: datetime) -> dict[str, Any]:
    """What rules may refer to as {"$PARAMETER": name}: times as aware UTC, and as whole epoch seconds (`_ts`)."""
    tomorrow = now + timedelta(days=1)
    return {
        "now": now,
        "now_ts": int(now.timestamp()),
        "tomorrow": tomorrow,
        "tomorrow_ts": int(tomorrow.timestamp()),
    }


def _nowhere(_: str) -> bool:
    return False


@dataclass(frozen=True)
class Gate:
    """The suite of one dataset at one moment, and who carries it out."""

    suite: Suite
    judge: Judge
    now: datetime
    key: str = "_id"
    """Where a row's own id is, for examples."""
    examples: int = 5
    exists: Callable[[str], bool] = _nowhere
    """Whether any row of the dataset has the path: a column that is empty here is null then, and else it is missing."""

    def assess(self, parts: Sequence[Part], measure: Callable[[Sequence[Row]], Measures]) -> list[Assessment]:
        """What the suite says of each of `parts`, in order. `measure` tells the measures of the rows that are kept."""
        judged = [self._judged(part) for part in parts]
        stands = {number: report for number, part in enumerate(parts) if (report := _stands(part, judged[number]))}
        todo = [part for number, part in enumerate(parts) if number not in stands]
        fresh = iter(self._assess(todo, measure))
        assessments = []
        for number, part in enumerate(parts):
            if last := stands.get(number):
                assessments.append(Assessment(last, part.rows, (), _measures(part, part.rows, 0, measure)))
            else:
                found = next(fresh)
                report = Report(found.report.suite, found.report.rows, found.report.findings, judged[number])
                assessments.append(Assessment(report, found.kept, found.broken, found.measures))
        return assessments

    def _judged(self, part: Part) -> str:
        """A hash of all that is judged of `part`; empty if that is not known."""
        if not part.content:
            return ""
        numbers = tuple(part.extra.get(column) for column in self.suite.columns(Judges.PARTITION))
        return _hash(self.suite.version, part.content, part.aside, numbers)

    def _assess(self, parts: Sequence[Part], measure: Callable[[Sequence[Row]], Measures]) -> list[Assessment]:
        findings: list[list[Finding]] = [[] for _ in parts]
        breaks = self._judge_rows(parts, findings)
        numbers = count()
        sorted_out = []
        for part in parts:
            kept: list[Row] = []
            broken: list[tuple[Row, Sequence[Break]]] = []
            for row in part.rows:
                if wrong := breaks.get(next(numbers)):
                    broken.append((row, wrong))
                else:
                    kept.append(row)
            sorted_out.append((kept, broken))
        measures = [
            _measures(part, kept, len(broken), measure) for part, (kept, broken) in zip(parts, sorted_out, strict=True)
        ]
        for number, found in self.judge_measures(measures).items():
            findings[number] += found
        assessments = []
        for part, (kept, broken), found, measured in zip(parts, sorted_out, findings, measures, strict=True):
            rows = len(part.rows) if part.count is None else part.count
            report = Report(self.suite.version, rows, (*found, *self._judge_batch(kept)))
            assessments.append(Assessment(report, kept, broken, measured))
        return assessments

    def judge_measures(self, measures: Sequence[Measures]) -> dict[int, list[Finding]]:
        """The findings of the rules that look at partitions, by the partition's position in `measures`."""
        rules = self.suite.judging(Judges.PARTITION)
        if not rules or not measures:
            return {}
        known = {name for one in measures for name in one}
        columns = {
            column: [one.get(column) for one in measures]
            for column in self.suite.columns(Judges.PARTITION)
            if column in known or column in (*self.suite.measures, "freshness_seconds")
        }
        askable = [rule for rule in rules if any(_has_values(columns.get(name)) for name in rule.reads() or ("",))]
        found: dict[int, list[Finding]] = {}
        for rule, judgement in self._ask(askable, columns):
            everyone = range(len(measures))
            for number in everyone if judgement.error else judgement.unexpected:
                observed = ", ".join(f"{name} = {_shown(measures[number].get(name))}" for name in rule.reads())
                found.setdefault(number, []).append(_finding(rule, judgement, 1, 1, observed))
        return found

    def _judge_rows(self, parts: Sequence[Part], findings: list[list[Finding]]) -> dict[int, list[Break]]:
        """Adds to `findings`; returns what is wrong with the rows that are to be set aside, by position."""
        rules = self.suite.judging(Judges.ROW)
        rows = [row for part in parts for row in part.rows]
        owner = [number for number, part in enumerate(parts) for _ in part.rows]
        breaks: dict[int, list[Break]] = {}
        if not rows:
            return breaks
        for rule, judgement in self._ask(rules, self._columns(Judges.ROW, rows)):
            by_part: dict[int, list[int]] = {}
            for position in range(len(rows)) if judgement.error else judgement.unexpected:
                by_part.setdefault(owner[position], []).append(position)
                if rule.severity is Severity.CRITICAL and not judgement.error:
                    breaks.setdefault(position, []).append(_break(rule, judgement, rows[position]))
            for number, positions in by_part.items():
                shown = [] if judgement.error else self._examples(rule, rows, positions)
                observed = f"{len(positions):,} of {len(parts[number].rows):,} rows"
                findings[number].append(
                    _finding(rule, judgement, len(positions), len(parts[number].rows), observed, shown)
                )
        return breaks

    def _judge_batch(self, rows: Sequence[Row]) -> list[Finding]:
        rules = self.suite.judging(Judges.BATCH)
        if not rules or not rows:
            return []
        found = []
        for rule, judgement in self._ask(rules, self._columns(Judges.BATCH, rows)):
            if not judgement.passed:
                shown = self._examples(rule, rows, judgement.unexpected)
                broken = len(judgement.unexpected) or len(rows)
                found.append(_finding(rule, judgement, broken, len(rows), judgement.observed, shown))
        return found

    def _columns(self, judges: Judges, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """The columns that the rules read; one that no row ever had is left out, so that the check breaks."""
        columns = {}
        for path in self.suite.columns(judges):
            values = [at_path(row, path) for row in rows]
            if any(value is not MISSING for value in values) or self.exists(path):
                columns[path] = [None if value is MISSING else value for value in values]
        return columns or {"": [None] * len(rows)}

    def _ask(self, rules: Sequence[Rule], columns: Mapping[str, Sequence[Any]]) -> Iterator[tuple[Rule, Judgement]]:
        if rules:
            yield from zip(rules, self.judge.judge(rules, columns, parameters(self.now)), strict=True)

    def _examples(self, rule: Rule, rows: Sequence[Row], positions: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {
                "key": _shown(at_path(rows[position], self.key)),
                "path": ", ".join(rule.reads()),
                "value": ", ".join(_shown(at_path(rows[position], path)) for path in rule.reads()),
            }
            for position in positions[: self.examples]
        ]


@lru_cache(maxsize=1000)  # most windows are empty, and alike
def _hash(*what: Any) -> str:
    return schema.digest(what)[:16]


def _stands(part: Part, judged: str) -> Report | None:
    """The report of last time, if it is of the same data and nothing had to be done about it."""
    if not judged or part.before is None or part.before.get("judged") != judged:
        return None
    report = Report.from_document(part.before)
    return report if report.stands else None


def _measures(part: Part, kept: Sequence[Row], broken: int, measure: Callable[[Sequence[Row]], Measures]) -> Measures:
    aside = part.aside + broken
    everything = aside + len(kept)
    counted = {"quarantined": aside, **({"quarantine_ratio": aside / everything} if everything else {})}
    return {**measure(kept), **counted, **part.extra}


def at_path(row: Row, path: str) -> Any:
    """What `row` holds at the dotted `path`; numbers count in lists. A name that has dots itself is found too."""
    if path in row:
        return row[path]
    value: Any = row
    for name in path.split("."):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value


def _has_values(column: Sequence[Any] | None) -> bool:
    """Whether there is something to judge; a column that is not there is for the check to complain of."""
    return column is None or any(value is not None for value in column)


def _finding(  # noqa: PLR0913, PLR0917 - what makes a finding
    rule: Rule, judgement: Judgement, rows: int, of: int, observed: str, examples: Sequence[Mapping[str, Any]] = ()
) -> Finding:
    broke = judgement.error is not None
    told = f"the check broke: {judgement.error}" if broke else observed
    return Finding(
        rule.name, rule.judges, rule.severity, broke, rows, of, judgement.expected, told, rule.why, tuple(examples)
    )


def _break(rule: Rule, judgement: Judgement, row: Row) -> Break:
    values = [_plain(at_path(row, path)) for path in rule.reads()]
    value = values[0] if len(values) == 1 else values
    path = ", ".join(rule.reads())
    return Break(rule.name, path, value, f"{path} should be {judgement.expected}, is {_shown(value)}")


def _plain(value: Any) -> Any:
    return None if value is MISSING else value


def _shown(value: Any) -> str:
    if value is MISSING:
        return "missing"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = f"{value:,.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
