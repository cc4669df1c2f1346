"""What an incident is: one open problem with a life, made of the reports on it. Pure.

Of several reports on one window the newest counts, in whichever order they come: the marks of an incident are a map
from window to what was said of it last, and what is wrong, how badly and what is told of it follow from them. `folding`
makes incidents of reports, `reasons` says whether somebody is to be told.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from alerting.reports import GROUPS, NOTHING, RANK, Facts, Key, Kind, Report, fingerprint
from quality.findings import Severity

__all__ = [
    "DEFAULT", "GROUPS", "RANK", "Acknowledgement", "Event", "Facts", "Incident", "Key", "Kind", "Mark", "Policy",
    "Report", "Said", "Silence", "State", "Told", "document", "fingerprint", "first_id", "from_document", "is_group",
]  # fmt: skip


class State(StrEnum):
    """Where it is in its life."""

    QUIET = "quiet"
    """Nothing was ever wrong; never stored."""
    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Said:
    """What a report told of a failure, besides that it is one."""

    kind: Kind
    facts: Facts
    metrics: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """What was said of one window last."""

    at: datetime
    failed: bool
    severity: Severity = Severity.INFO
    lasting: bool = False
    """See `Report`."""
    said: Said | None = None
    """Kept for the failures that matter most."""
    cleared: bool = False
    """A person has resolved it, whose clock is behind that of the check."""

    @property
    def weight(self) -> tuple[datetime, bool, int]:
        """Of two marks on one window the heavier counts: the newer; of the same moment, the worse."""
        return (self.at, self.failed, RANK[self.severity])


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
    fence: int = 0
    """Of the notifier that delivered it: one that lost its lease cannot overwrite what its successor has told."""


@dataclass(frozen=True)
class Incident:
    """One problem from its opening to its resolution."""

    id: str
    key: Key
    kind: Kind
    severity: Severity
    state: State = State.QUIET
    revision: int = 0
    """Grows with each material change."""
    marks: Mapping[str, Mark] = field(default_factory=dict)
    """By window ("" where it is not about one)."""
    facts: Facts = NOTHING
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

    @cached_property
    def failing(self) -> tuple[str, ...]:
        """The windows that are wrong now, in order of time: those that failed and that nothing has mended since.

        A later window that was judged later, and passed, mends it, unless only the window itself can.
        """
        found: list[str] = []
        mended: datetime | None = None
        for window, mark in sorted(self.marks.items(), key=lambda one: one[0], reverse=True):
            if not mark.failed:
                mended = mark.at if mended is None else max(mended, mark.at)
            elif mark.cleared or (self.cleared_at is not None and mark.at <= self.cleared_at):
                continue
            elif mark.lasting or not window or mended is None or mended <= mark.at:
                found.append(window)
        return tuple(reversed(found))

    @property
    def found(self) -> Severity:
        """How bad it is by itself: `severity` may be that of what it causes."""
        return max(
            (self.marks[window].severity for window in self.failing), key=RANK.__getitem__, default=Severity.INFO
        )

    def is_silenced(self, now: datetime) -> bool:
        """Whether nobody wants to hear of it now."""
        return self.silenced is not None and now < self.silenced.until


def first_id(key: Key, kind: Kind) -> str:
    """The id of the first incident of `key`; the number behind the last dash counts them."""
    if kind in GROUPS:
        return f"{kind}-{fingerprint(key)[:8]}-1"
    return f"{fingerprint(key)[:10]}-1"


def is_group(name: str | None) -> bool:
    """Whether the id is that of an incident that only tells others together."""
    return name is not None and name.split("-", 1)[0] in GROUPS


def ids_of(kind: Kind) -> dict[str, str]:
    """For MongoDB: the ids of all groups of `kind`."""
    return {"$gte": f"{kind}-", "$lt": f"{kind}."}


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
    kept = asdict(replace(incident, marks={}))
    kept["_id"] = kept.pop("id")
    kept["fingerprint"] = incident.fingerprint
    kept["open"] = incident.state is State.OPEN
    kept["opened_at"] = incident.opened_at
    kept["failing"] = incident.failing
    kept["marks"] = [{"window": window, **_kept(mark)} for window, mark in sorted(incident.marks.items())]
    return {key: _plain(value) for key, value in kept.items()}


def _kept(mark: Mark) -> dict[str, Any]:
    """`mark` without what is as it is by default: there may be many."""
    kept = {"at": mark.at, "failed": mark.failed, "severity": mark.severity, "lasting": mark.lasting}
    kept |= {"cleared": mark.cleared, "said": asdict(mark.said) if mark.said else None}
    return {key: value for key, value in kept.items() if value or key == "failed"}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def from_document(kept: Mapping[str, Any]) -> Incident:
    """What `document` kept."""
    told, acknowledged, silenced = kept["told"], kept["acknowledged"], kept["silenced"]
    return Incident(
        id=kept["_id"],
        key=Key(**kept["key"]),
        kind=Kind(kept["kind"]),
        severity=Severity(kept["severity"]),
        state=State(kept["state"]),
        revision=kept["revision"],
        marks={one["window"]: _mark(one) for one in kept["marks"]},
        facts=_facts(kept["facts"]),
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


def _facts(kept: Mapping[str, Any]) -> Facts:
    series = kept["series"]
    return Facts(**{**kept, "examples": tuple(kept["examples"]), "series": tuple(series) if series else None})


def _mark(kept: Mapping[str, Any]) -> Mark:
    said = None
    if told := kept.get("said"):
        said = Said(Kind(told["kind"]), _facts(told["facts"]), tuple(told["metrics"]), tuple(told["scopes"]))
    severity = Severity(kept.get("severity", Severity.INFO))
    cleared = kept.get("cleared", False)
    return Mark(kept["at"], kept["failed"], severity, kept.get("lasting", False), said, cleared)
