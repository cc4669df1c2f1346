"""What a check can say: rules, what came of each, and the report on one partition. Pure.

A rule judges single rows, or a partition by its measures (one line of numbers per partition), or the rows of a
partition as a whole. Bad data is a finding, never an exception; a check that could not be carried out is an outcome of
its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """What follows when a rule is broken."""

    CRITICAL = "critical"
    """The row goes to quarantine; the partition is not published."""
    WARNING = "warning"
    """Published, and reported."""
    INFO = "info"
    """Published, and noted."""


class Judges(StrEnum):
    """What a rule looks at."""

    ROW = "row"
    """Each row by itself."""
    PARTITION = "partition"
    """Each partition by its measures: `rows`, `null_ratio.<field>`, `receipt.items`, ..."""
    BATCH = "batch"
    """The rows of one partition together; slower, as each partition is judged by itself."""


class Outcome(StrEnum):
    """What came of one rule, or of all rules on one partition; worst last."""

    PASSED = "passed"
    EMPTY = "empty"
    """There was no row to judge: whether that is right is for the receipt to say."""
    NOTED = "noted"
    WARNED = "warned"
    BROKEN = "broken"
    """The check itself could not be carried out: a missing column, types that do not compare, a naive time."""
    BLOCKED = "blocked"
    """Not published: the last good revision stays visible."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One declared expectation."""

    name: str
    expectation: str
    """A Great Expectations name, e.g. "expect_column_values_to_be_between", or the dotted path of one's own class."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the expectation. A value {"$PARAMETER": "now"} is put in by the run; see `gate.parameters`."""
    judges: Judges = Judges.ROW
    severity: Severity = Severity.CRITICAL
    why: str = ""
    """What it means when the rule is broken, for a person."""
    columns: tuple[str, ...] = ()
    """Further columns that the expectation reads, where its arguments do not name them."""

    def reads(self) -> tuple[str, ...]:
        """The columns that the expectation needs, as dotted paths, in order."""
        named = [self.arguments[key] for key in ("column", "column_A", "column_B") if key in self.arguments]
        for key in ("column_list", "column_set"):
            named += [str(column) for column in self.arguments.get(key, ())]
        return tuple(dict.fromkeys([*named, *self.columns]))

    def document(self) -> dict[str, Any]:
        """As it is hashed into a suite's version and sent to the validator."""
        return {
            "name": self.name,
            "expectation": self.expectation,
            "arguments": dict(self.arguments),
            "judges": str(self.judges),
            "severity": str(self.severity),
            "why": self.why,
            "columns": list(self.columns),
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the validator says of one rule on one table."""

    rule: str
    passed: bool
    unexpected: Sequence[int] = ()
    """Positions of all rows that break the rule, from 0, without a cap; empty where it does not judge single rows."""
    expected: str = ""
    observed: str = ""
    error: str | None = None
    """Why the check could not be carried out, if so; then `passed` is False and says nothing about the data."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a partition breaks, or that could not be judged on it."""

    rule: str
    judges: Judges
    severity: Severity
    broke: bool
    """The check broke, rather than the data."""
    rows: int
    """How many rows break it; 1 for a partition judged as a whole."""
    of: int
    """Of how many."""
    expected: str
    observed: str
    why: str = ""
    examples: tuple[Mapping[str, Any], ...] = ()
    """A few: `key`, `path`, `value`. All rows that were set aside are in the quarantine."""

    @property
    def blocks(self) -> bool:
        """Whether the partition must not be published: rows that break a critical rule are set aside instead."""
        return self.severity is Severity.CRITICAL and (self.broke or self.judges is not Judges.ROW)

    def outcome(self) -> Outcome:
        """What it does to the partition."""
        if self.blocks:
            return Outcome.BLOCKED
        if self.broke:
            return Outcome.BROKEN
        return Outcome.NOTED if self.severity is Severity.INFO else Outcome.WARNED

    def document(self) -> dict[str, Any]:
        """As it is kept with the partition."""
        return {
            "rule": self.rule,
            "judges": str(self.judges),
            "severity": str(self.severity),
            **({"broke": True} if self.broke else {}),
            "rows": self.rows,
            "of": self.of,
            "expected": self.expected,
            "observed": self.observed,
            **({"why": self.why} if self.why else {}),
            "examples": [dict(one) for one in self.examples],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Finding":
        """What `document` says."""
        judges, severity = Judges(document["judges"]), Severity(document["severity"])
        rest = {key: document[key] for key in ("rule", "rows", "of", "expected", "observed")}
        examples, why = tuple(document["examples"]), document.get("why", "")
        return cls(
            judges=judges, severity=severity, broke=document.get("broke", False), why=why, examples=examples, **rest
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All that the suite found on one partition."""

    suite: str
    """Version of the suite."""
    rows: int
    """How many rows were judged."""
    findings: tuple[Finding, ...] = ()
    judged: str = ""
    """Hash of all that was judged: what has not changed since need not be judged again."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Report":
        """What `document` says."""
        findings = tuple(Finding.from_document(one) for one in document.get("findings", ()))
        return cls(document["suite"], document["rows"], findings, document.get("judged", ""))

    @property
    def outcome(self) -> Outcome:
        """The worst that was found; nothing passes because there was nothing."""
        order = list(Outcome)
        worst = max((order.index(finding.outcome()) for finding in self.findings), default=0)
        return order[worst] if worst else Outcome.PASSED if self.rows else Outcome.EMPTY

    @property
    def blocks(self) -> bool:
        """Whether the partition must not be published."""
        return any(finding.blocks for finding in self.findings)

    @property
    def stands(self) -> bool:
        """Whether it need not be made again on the same data: nothing was set aside nor held back."""
        return not any(finding.severity is Severity.CRITICAL or finding.broke for finding in self.findings)

    def document(self) -> dict[str, Any]:
        """As it is kept with the partition; equal for equal reports."""
        return {
            "suite": self.suite,
            "outcome": str(self.outcome),
            "rows": self.rows,
            **({"judged": self.judged} if self.judged else {}),
            **({"findings": [finding.document() for finding in self.findings]} if self.findings else {}),
        }
