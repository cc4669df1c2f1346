"""What the reader of one stream works with: where to ask, since when to look, and how a record becomes an item.

A reader is a generator. It yields items, records that it cannot read, and a `Mark` wherever all before was yielded, so
that it could go on from there; it returns its state for the next time.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from quality.extractions import Id
from quality.receipts import SKEW_SECONDS
from tasks.sources.contract import Item, Rejected, instant
from tasks.sources.github.known import Known, Seen
from tasks.sources.github.payloads import Record, moment
from tasks.sources.http import Answer, Http, HttpError, Reason, Trace
from tasks.sources.people import written

KIND: Final = "github"
_NOUNS: Final = {
    "pull_requests": "pull request", "commits": "commit", "deployments": "deployment", "workflow_runs": "run",
    "releases": "release", "tags": "tag", "issues": "issue",
}  # fmt: skip
"""What one of each stream is called."""

State: TypeAlias = dict[str, Any]
"""What a reader remembers, as a part of the cursor. "until": all that bears an earlier time was seen, epoch seconds."""

SAFETY: Final = timedelta(seconds=SKEW_SECONDS)
"""What happened so lately may be listed later: clocks differ, and indexes lag."""
_SKEW_IGNORED: Final = 60.0
"""Seconds: far within `SAFETY`."""


class Mark(NamedTuple):
    """All before was yielded; `state` may be kept."""

    state: State


Part: TypeAlias = Item | Rejected | Mark
Reading: TypeAlias = Generator[Part, None, State]


class Entry(NamedTuple):
    """A record that can be told from others and has a time."""

    id: int
    at: datetime
    record: Record


@dataclass(frozen=True, slots=True)
class Repository:
    """What a repository says of itself."""

    id: int
    full_name: str
    private: bool
    has_issues: bool


@dataclass(slots=True)
class Visit:
    """One stream of one repository in one sweep."""

    http: Http
    trace: Trace
    stream: str
    origin: str
    configured: str
    """Owner and name as configured."""
    since: datetime
    """Nothing older is wanted."""
    now: datetime
    recheck: timedelta
    key: bytes | None
    identify: Callable[[], Repository]
    """Asks once in a sweep; raises SourceError if another repository took the place."""
    name: Callable[[], str]
    """Owner and name: as the repository says once it was asked, else as configured."""
    heard: Callable[[Answer], None]
    """Takes note of what an answer says of the token."""
    skew: Callable[[], float]
    """Seconds, at most 0: how far the server's clock is behind ours."""
    size: int = 100
    """Records on a page."""
    unchanged: bool = False
    """The one conditional request was answered: nothing new."""
    problem: str | None = None
    """Why the stream is unproven, though it was read well."""
    ahead: float | None = None
    """Where what was refused is read again: until when all else was read before; epoch seconds."""
    again: frozenset[int] | None = None
    """And what that was; None: not all of it had a number."""
    refused: list[int | None] = field(default_factory=list)
    """What could not be read in this sweep: numbers, None of what has none."""
    earlier: list[Trace] = field(default_factory=list)
    """Of lists that were read before the present one."""

    @property
    def names(self) -> tuple[str, str]:
        """What the repository is and was called."""
        return self.configured, self.identify().full_name

    @property
    def until(self) -> int:
        """All that bears an earlier time can be seen; epoch seconds of the server's clock."""
        skew = min(self.skew(), self.trace.clock_skew_seconds or 0.0)
        behind = timedelta(seconds=skew if skew < -_SKEW_IGNORED else 0.0)
        return int((self.now + behind - SAFETY).timestamp())

    def listed(self, records: Sequence[Any], ids: Iterable[Id]) -> None:
        """Note a page: its records, and how those that can be read are told apart."""
        self.trace.page(len(records), ids=list(ids))

    def begin_again(self) -> None:
        """Another list is read from here on, whose pages are to be judged by themselves."""
        self.earlier.append(self.trace)
        self.trace = Trace(self.stream)

    def probe(self, path: str, params: Mapping[str, str | int], etag: str | None) -> Answer | None:
        """The answer if there is news, None if there is none. Sets `unchanged`."""
        answer = self.http.get(f"repos/{self.configured}/{path}", params, trace=self.trace, etag=etag)
        self.heard(answer)
        self.unchanged = answer.unchanged
        if answer.unchanged:
            self.trace.complete = True
            return None
        self.identify()
        return answer

    def path(self, path: str) -> str:
        """Of something in the repository, by its present name as far as it is known."""
        return f"repos/{self.name()}/{path}"

    def get(self, path: str, params: Mapping[str, str | int] | None = None, etag: str | None = None) -> Answer:
        """What is there. Raises HttpError."""
        return self.http.get(self.path(path), params, trace=self.trace, etag=etag)

    def find(self, path: str, etag: str | None = None) -> Answer | None:
        """What is there; None if the repository, which is still visible then, has no such thing."""
        try:
            return self.get(path, etag=etag)
        except HttpError as error:
            if error.reason is not Reason.GONE or error.status is None:
                raise
            self.http.get(f"repos/{self.name()}", trace=self.trace)  # to a token without access nothing is there
            self.trace.forgive(error.status)
            return None

    def item(
        self,
        id_: str | int,
        updated_on: datetime,
        payload: Mapping[str, Any],
        *,
        stream: str | None = None,
        deleted: bool = False,
    ) -> Item:
        """An item of this repository."""
        place = self.place(id_)
        return Item(KIND, stream or self.stream, self.origin, str(id_), updated_on, payload, deleted, place)

    def place(self, id_: str | int) -> str:
        """Of one entity, whether it can be read or not."""
        return f"{self.origin}: {_NOUNS[self.stream]} {id_}"

    def tombstone(self, known: Known, number: int, payload: Mapping[str, Any], after: int | None = None) -> Item:
        """Of what is gone: newer than what it was, even if the clocks differ. after: its time, if that is no state."""
        if after is None:
            seen = known.get(number)
            after = max(seen.at, seen.state) if seen is not None else 0
        when = max(self.now, instant(after + 1))
        known.bury(number, int(epoch(when)) + 1)
        return self.item(number, when, payload, deleted=True)

    def back(self, seen: Seen | None, when: datetime) -> datetime:
        """The time of a state: if the entity was taken back before, newer than its tombstone."""
        gone = seen.gone_since if seen is not None else None
        return when if gone is None else max(when, self.now, instant(gone + 1))

    def entries(
        self, records: Iterable[Any], when: Callable[[Record], datetime], page: int, *, id_: str = "id"
    ) -> tuple[list[Entry], list[Rejected]]:
        """What of a page can be read, and what cannot. `when`: raises where the record has no time."""
        found, refused = [], []
        for number, record in enumerate(records, 1):
            try:
                entry = Entry(_number(record, id_), when(record), record)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                named = record.get(id_) if isinstance(record, Mapping) else None
                of = named if isinstance(named, int) and not isinstance(named, bool) else None
                refused.append(self.refuse(record, f"page {page}, record {number}", error, id_=of))
            else:
                found.append(entry)
        return found, refused

    def refuse(
        self, record: Any, where: str, error: Exception, at: datetime | None = None, *, id_: str | int | None = None
    ) -> Rejected:
        """Set a record aside. People in it are hidden even so. where: of one that has no `id_`."""
        reason = f"no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        place = f"{self.origin}: {self.stream}, {where}" if id_ is None else self.place(id_)
        self.refused.append(id_ if isinstance(id_, int) else None)
        return Rejected(place, reason[:200], written(record, self.key), self.origin, self.stream, at)

    def deletions(
        self, path: str, known: Known, present: Iterable[int], since: float
    ) -> Iterator[tuple[int, Record | None]]:
        """What is known and no longer listed, each with what it is now: None if it is gone."""
        for number in known.missing(present, since):
            answer = self.find(f"{path}/{number}")
            yield number, answer.content if answer is not None and isinstance(answer.content, Mapping) else None

    def left_out(self, what: object) -> None:
        """A list did not have what is there: it may lack what nobody knows of too."""
        self.trace.error = f"the list left out {what}, which is there"

    def due(self, state: State) -> bool:
        """Whether what can change without notice is to be looked at: once for each day, when that has ended."""
        return self.until // 86_400 > int(state.get("checked", -1)) // 86_400

    @property
    def made_from(self) -> datetime:
        """What was made before did not come to its end in the time that is wanted; it is not looked for."""
        return self.since - self.recheck

    @property
    def recheck_made_from(self) -> float:
        """Of what is listed by when it was made, as `recheck_from`."""
        return self.until - self.recheck.total_seconds()

    @property
    def recheck_from(self) -> float:
        """Since when; epoch seconds."""
        return max(self.since.timestamp(), self.until - self.recheck.total_seconds())


def epoch(at: datetime) -> float:
    """Seconds since 1970."""
    return at.timestamp()


def iso(seconds: float) -> str:
    """As GitHub writes it."""
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"


def time_of(*names: str) -> Callable[[Record], datetime]:
    """Reads the first of these times that is there."""

    def read(record: Record) -> datetime:
        return moment(next((record[name] for name in names if record.get(name)), None))

    return read


def _number(record: Any, name: str) -> int:
    if not isinstance(record, Mapping):
        raise TypeError(f"{type(record).__name__} is no object")
    value = record[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is no number")
    return value
