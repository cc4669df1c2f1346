"""What a source is, and what it hands over.

A source is swept in *units* (one git repository, one set of recorded files). A sweep yields items as it meets them,
sets aside what it cannot read, and ends with `Swept`: the statement of what was covered. A sweep that ends without
it proves nothing, so that no source can claim completeness by stopping early.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias

from quality.extractions import Extraction

Cursor: TypeAlias = Mapping[str, Any]
"""What a source must remember between two sweeps of a unit. JSON-like, kept in the ledger, compared by equality."""

Feed: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Source, origin, streams."""

EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
"""Of every window the day before and the day after can be written down, so the first and the last of all are none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SourceError(Exception):
    """The unit could not be swept. The message names the unit and the next step, and holds no credential."""


@dataclass(frozen=True, slots=True)
class Item:
    """One raw record as the source gave it, in its envelope."""

    source: str
    """Kind of source, e.g. "git"; names the Bronze collection together with `stream`."""
    stream: str
    origin: str
    """The one place within the source, e.g. a repository: "acme/api"."""
    id: str
    """The source's own id of the entity, e.g. a commit's sha."""
    updated_on: datetime
    """When the entity took this state, aware UTC; see `instant`."""
    payload: Mapping[str, Any]
    deleted: bool = False
    """A tombstone: the source says that the entity is gone."""
    place: str = ""
    """Where it was met, for a person; see `Rejected.place`."""
    raw: bytes = field(default=b"", compare=False, repr=False)
    """As it came, where the source has it: kept instead of `payload` if MongoDB cannot hold that."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that could not be read as an item; kept byte for byte."""

    place: str
    """Where it was met, for a person: "events.jsonl.gz:17"."""
    reason: str
    raw: bytes
    origin: str | None = None
    stream: str | None = None
    updated_on: datetime | None = None
    """Which window it would have belonged to, where so much can be told."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Yielded in the middle of a long sweep, once all before it was yielded too.

    If the sweep breaks off, the next one is given this cursor in place of that of the last whole one.
    """

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Coverage:
    """For one origin: from when until when everything that exists was yielded."""

    source: str
    origin: str
    streams: tuple[str, ...]
    end: datetime
    start: datetime = EARLIEST
    problem: str | None = None
    """Why the origin's windows are unproven in spite of a sweep that ended well, e.g. a shallow clone."""
    evidence: Mapping[str, Any] | None = None
    """What the statement rests on, for the receipt: refs, tips, files."""
    extractions: tuple[Extraction, ...] = ()
    """How each part was fetched. For a window [start, end) of a stream the worst one that overlaps counts."""


@dataclass(frozen=True, slots=True)
class Swept:
    """The last thing a whole sweep yields."""

    cursor: Cursor
    coverages: tuple[Coverage, ...]
    unchanged: bool = False
    """Nothing new since the cursor that was given; no items were yielded."""
    whole: bool = False
    """Everything was yielded again, also what was there at the time of the cursor."""
    replaces: bool = False
    """And it is all that is said of these entities: what was said of them before, and was not now, is withdrawn."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at before a first run: a token, a scope, an origin, a clock."""

    what: str
    ok: bool
    text: str
    """For a person: what was seen, and what to do where it is not well."""


Part: TypeAlias = Item | Rejected | Progress | Swept
"""What a sweep yields."""


class Source(Protocol):
    """One configured source."""

    name: str

    def units(self) -> Sequence[str]:
        """What can be swept by itself."""

    def feeds(self, unit: str) -> Sequence[Feed]:
        """What a sweep of `unit` will cover, as far as it is known before the first one."""

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Part]:
        """Yield what is new since `cursor` (everything if None), then `Swept`.

        Raises SourceError if the unit cannot be read.
        """


def instant(epoch_seconds: float) -> datetime:
    """`epoch_seconds` (UTC) as an aware datetime, held within years 1 to 9999: real histories hold absurd dates."""
    try:
        return max(EARLIEST, min(_EPOCH + timedelta(seconds=epoch_seconds), LATEST))
    except OverflowError:
        return LATEST if epoch_seconds > 0 else EARLIEST
