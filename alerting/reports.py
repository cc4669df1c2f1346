"""What is said of data: which problem, of which window, with which facts. Pure.

A report is what one check said of one window of one series; a check that did not run makes no report, so that missing
data says nothing.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from config import schema
from quality.findings import Severity

RANK: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class Kind(StrEnum):
    """What kind of trouble it is."""

    FINDING = "finding"
    """Data breaks a rule."""
    BROKEN_CHECK = "broken_check"
    """A rule could not be judged."""
    RECEIPT = "receipt"
    """An extraction is unproven, or failed."""
    DRIFT = "drift"
    """Fields of a stream have changed."""
    ANOMALY = "anomaly"
    """The numbers of a window are not as its history has it."""
    TASK = "task"
    """A task raised, or its process is gone."""
    MISSING = "missing"
    """A window was not complete by its deadline."""
    DELIVERY = "delivery"
    """A message cannot be delivered."""
    HISTORY = "history"
    """The change stream lost its history; a full sweep took its place."""
    HEARTBEAT = "heartbeat"
    """The notifier is not running."""
    STORM = "storm"
    """Many incidents at once, told as one."""
    DIGEST = "digest"
    """The warnings of a day, told as one."""


ANOMALY: Final = "anomaly"
"""The check of what the detector says; the ledger keeps it as the rule of what is held back for it."""
GROUPS: Final = frozenset({Kind.STORM, Kind.DIGEST})
"""Kinds that only tell other incidents together: these are attached to them."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which problem it is, whatever the window and the value."""

    dataset: str
    """Or "tasks", "notifier"."""
    scope: str
    check: str
    """Name of the rule, or of what else was looked at, e.g. "receipt"."""
    measure: str = ""


def fingerprint(key: Key) -> str:
    """One open incident per fingerprint: 128 bits in hex, equal for equal keys."""
    return schema.digest([key.dataset, key.scope, key.check, key.measure])


@dataclass(frozen=True, slots=True)
class Facts:
    """What is told of it, as plain text: escaped where it is rendered."""

    title: str
    """What is wrong, in a line."""
    expected: str = ""
    observed: str = ""
    why: str = ""
    """What it means."""
    command: str = ""
    """The next step: a command line."""
    examples: tuple[str, ...] = ()
    series: tuple[str, str, str] | None = None
    """Dataset, scope and measure of the observations that a chart shows."""


NOTHING: Final = Facts("")
LONGEST: Final = 4000
"""Characters of a text that are kept; an example may have a quarter."""
EXAMPLES: Final = 40
"""Examples that are kept: an incident is one document, which may have 16 MB."""


def bounded(facts: Facts) -> Facts:
    """`facts` as MongoDB can keep them: not too long, and without what is no character."""
    return Facts(
        title=_text(facts.title, LONGEST),
        expected=_text(facts.expected, LONGEST),
        observed=_text(facts.observed, LONGEST),
        why=_text(facts.why, LONGEST),
        command=_text(facts.command, LONGEST),
        examples=tuple(_text(one, LONGEST // 4) for one in facts.examples[:EXAMPLES]),
        series=facts.series,
    )


def _text(text: str, longest: int) -> str:
    return text[:longest].encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Report:
    """What one check said of one window."""

    key: Key
    at: datetime
    """When it was judged."""
    failed: bool
    kind: Kind
    window: date | None = None
    """None: it is not about a window."""
    severity: Severity = Severity.CRITICAL
    lasting: bool = False
    """Only the window itself can mend it: that a later one passes says nothing about it."""
    facts: Facts = NOTHING
    metrics: tuple[str, ...] = ()
    """What it makes untrustworthy."""
    scopes: tuple[str, ...] = ()
    """Of which scopes."""

    @property
    def on(self) -> str:
        """The window as marks name it: its ISO date, "" where it is not about one."""
        return self.window.isoformat() if self.window else ""
