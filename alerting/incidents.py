"""What an incident is: one open problem with a life, and the reports that it is made of. Pure.

A report is what one check said of one window of one series; a check that did not run makes no report, so that missing
data says nothing. Of several reports on one window the newest counts, in whichever order they come: the marks of an
incident are a map from window to the newest report, and what is wrong follows from them. `folding` makes incidents of
reports, `reasons` says whether somebody is to be told.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

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


GROUPS: Final = frozenset({Kind.STORM, Kind.DIGEST})
"""Kinds that only tell other incidents together: these are attached to them."""


class State(StrEnum):
    """Where it is in its life."""

    QUIET = "quiet"
    """Nothing was ever wrong; never stored."""
    OPEN = "open"
    RESOLVED = "resolved"


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
    facts: Facts = Facts("")
    metrics: tuple[str, ...] = ()
    """What it makes untrustworthy."""
    scopes: tuple[str, ...] = ()
    """Of which scopes."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """The newest that was said of one window; of the same moment, that it failed."""

    at: datetime
    failed: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One line of its story."""

    revision: int
    at: datetime
    what: str
    """opened, changed, worsened, eased, reopened, resolved, acknowledged, silenced, unsilenced."""
    text: str
    by: str = ""
    """Who, if a person."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody is at it."""

    by: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody wants to hear of it until then."""

    until: datetime
    by: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What has been delivered last."""

    revision: int
    state: State
    severity: Severity
    at: datetime
    channel: str
    """As Slack names it: its id."""
    ts: str
    """The root message."""
    reminded_at: datetime | None = None
    chart: bool = False
    """A chart was tried."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One problem from its opening to its resolution."""

    id: str
    key: Key
    kind: Kind
    severity: Severity
    state: State = State.QUIET
    lasting: bool = False
    revision: int = 0
    """Grows with each material change."""
    marks: Mapping[str, Mark] = field(default_factory=dict)
    """By window ("" where it is not about one)."""
    facts: Facts = Facts("")
    metrics: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    openings: tuple[datetime, ...] = ()
    """When it was opened and reopened."""
    changed_at: datetime | None = None
    resolved_at: datetime | None = None
    cleared_at: datetime | None = None
    """A person has resolved it: what failed until then no longer counts."""
    cause: str | None = None
    """Id of the incident that it is an effect of: attached to it, and not told by itself."""
    effects: tuple[str, ...] = ()
    """What it causes, one line each."""
    acknowledged: Acknowledgement | None = None
    silenced: Silence | None = None
    story: tuple[Event, ...] = ()
    told: Told | None = None

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.key)

    @property
    def opened_at(self) -> datetime | None:
        """When it was opened first."""
        return self.openings[0] if self.openings else None

    @property
    def failing(self) -> tuple[str, ...]:
        """The windows that are wrong now, in order of time."""
        return tuple(sorted(w for w, mark in self.marks.items() if _counts(w, mark, self)))

    def is_silenced(self, now: datetime) -> bool:
        """Whether nobody wants to hear of it now."""
        return self.silenced is not None and now < self.silenced.until


def _counts(window: str, mark: Mark, incident: Incident) -> bool:
    """Whether it is a failure that nothing has mended."""
    if not mark.failed or (incident.cleared_at is not None and mark.at <= incident.cleared_at):
        return False
    if incident.lasting or not window:
        return True
    return not any(
        not later.failed and later.at > mark.at and other >= window for other, later in incident.marks.items()
    )


def first_id(key: Key, kind: Kind) -> str:
    """The id of the first incident of `key`; the number behind the last dash counts them."""
    if kind in GROUPS:
        return f"{kind}-{fingerprint(key)[:8]}-1"
    return f"{fingerprint(key)[:10]}-1"


def is_group(name: str | None) -> bool:
    """Whether the id is that of an incident that only tells others together."""
    return name is not None and name.split("-", 1)[0] in GROUPS


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient we are."""

    reopen: timedelta = timedelta(hours=24)
    """A regression within that time reopens the incident; later it is another one."""
    settle: timedelta = timedelta(minutes=30)
    """How long a flapping incident must stay as it is before that is told."""
    change: timedelta = timedelta(minutes=10)
    """The least time between two tellings of changes that are no worse."""
    remind: timedelta | None = timedelta(hours=24)
    """After which a critical incident that nobody has acknowledged is told again."""
    flapping: int = 3
    """So many openings within `reopen` make it a flapping one."""


DEFAULT: Final = Policy()


def document(incident: Incident) -> dict[str, Any]:
    """As it is kept in MongoDB (see `schema.IncidentDocument`)."""
    kept = asdict(incident)
    kept["_id"] = kept.pop("id")
    kept["fingerprint"] = incident.fingerprint
    kept["open"] = incident.state is State.OPEN
    kept["opened_at"] = incident.opened_at
    kept["failing"] = list(incident.failing)
    kept["marks"] = [{"window": window, **asdict(mark)} for window, mark in sorted(incident.marks.items())]
    return {key: _plain(value) for key, value in kept.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def from_document(kept: Mapping[str, Any]) -> Incident:
    """What `document` kept."""
    facts = kept["facts"]
    series = facts["series"]
    told, acknowledged, silenced = kept["told"], kept["acknowledged"], kept["silenced"]
    return Incident(
        id=kept["_id"],
        key=Key(**kept["key"]),
        kind=Kind(kept["kind"]),
        severity=Severity(kept["severity"]),
        state=State(kept["state"]),
        lasting=kept["lasting"],
        revision=kept["revision"],
        marks={one["window"]: Mark(one["at"], one["failed"]) for one in kept["marks"]},
        facts=Facts(**{**facts, "examples": tuple(facts["examples"]), "series": tuple(series) if series else None}),
        metrics=tuple(kept["metrics"]),
        scopes=tuple(kept["scopes"]),
        openings=tuple(kept["openings"]),
        changed_at=kept["changed_at"],
        resolved_at=kept["resolved_at"],
        cleared_at=kept["cleared_at"],
        cause=kept["cause"],
        effects=tuple(kept["effects"]),
        acknowledged=Acknowledgement(**acknowledged) if acknowledged else None,
        silenced=Silence(**silenced) if silenced else None,
        story=tuple(Event(**one) for one in kept["story"]),
        told=Told(**{**told, "state": State(told["state"]), "severity": Severity(told["severity"])}) if told else None,
    )
