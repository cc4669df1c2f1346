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
from tasks.sources.contract import Item, Rejected
from tasks.sources.github.known import Known
from tasks.sources.github.payloads import Record, moment
from tasks.sources.http import Answer, Http, HttpError, Reason, Trace
from tasks.sources.people import written

KIND: Final = "github"

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
        """What is there; None if the repository says that there is nothing, or has it no longer."""
        try:
            return self.get(path, etag=etag)
        except HttpError as error:
            if error.reason is not Reason.GONE or error.status is None:
                raise
            self.trace.forgive(error.status)
            return None

    def item(  # noqa: PLR0913 - what makes an item
        self,
        id_: str | int,
        updated_on: datetime,
        payload: Mapping[str, Any],
        *,
        stream: str | None = None,
        deleted: bool = False,
        place: str = "",
    ) -> Item:
        """An item of this repository."""
        where = place or f"{self.origin}: {self.stream} {id_}"
        return Item(KIND, stream or self.stream, self.origin, str(id_), updated_on, payload, deleted, where)

    def entries(
        self, records: Iterable[Any], when: Callable[[Record], datetime], page: int, *, id_: str = "id"
    ) -> tuple[list[Entry], list[Rejected]]:
        """What of a page can be read, and what cannot. `when`: raises where the record has no time."""
        found, refused = [], []
        for number, record in enumerate(records, 1):
            try:
                entry = Entry(_number(record, id_), when(record), record)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                refused.append(self.refuse(record, f"page {page}, record {number}", error))
            else:
                found.append(entry)
        return found, refused

    def refuse(self, record: Any, where: str, error: Exception, at: datetime | None = None) -> Rejected:
        """Set a record aside. People in it are hidden even so."""
        reason = f"no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        place = f"{self.origin}: {self.stream}, {where}"
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
