"""What came of a request: an answer, or an error that says what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from tasks.sources.contract import SourceError


class Reason(StrEnum):
    """Why there is no answer."""

    REFUSED = "refused"
    """The credential, or what it may do."""
    LIMITED = "limited"
    """A rate limit, whose end is too far away."""
    GONE = "gone"
    """There is nothing at this address, or nothing that may be seen."""
    BROKEN = "broken"
    """The server, or the connection to it, failed each time; or it did not understand the request."""
    TIMEOUT = "timeout"
    CONTENT = "content"
    """It answered well, with what is no answer: a login page."""
    REDIRECTED = "redirected"
    """To where no credential may go."""
    TOO_LARGE = "too_large"
    UNREACHABLE = "unreachable"


class HttpError(SourceError):
    """A request without an answer. Its text says what was asked, what came, after how many tries, and what to do."""

    def __init__(  # noqa: PLR0913 - its facts
        self,
        text: str,
        *,
        reason: Reason,
        status: int | None = None,
        place: str = "",
        said: str = "",
        content: str | None = None,
        reset: datetime | None = None,
    ) -> None:
        """place: method and path, without the query; said: why, in a few words, without place or advice.

        content: what a 200 held instead of records; reset: when a rate limit ends, by our clock.
        """
        super().__init__(text)
        self.reason, self.status, self.place = reason, status, place
        self.said, self.content, self.reset = said, content, reset


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered, decoded."""

    status: int
    """200, 201 or 304."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""
    content: Any = field(repr=False)
    """Decoded JSON, a list or an object; None for 304."""
    raw: bytes = field(repr=False)
    etag: str | None = None
    next: str | None = field(default=None, repr=False)
    """URL of the next page, of our own host; None if there is none."""
    last: int | None = None
    """Number of the last page, where the Link header tells."""
    place: str = ""
    """What was asked: host, method and path."""

    @property
    def unchanged(self) -> bool:
        """Whether it is still as it was when the ETag was given."""
        return self.status == HTTPStatus.NOT_MODIFIED

    def records(self, key: str | None = None) -> list[Any]:
        """The list that the answer is, or has under `key`. Raises HttpError if there is none."""
        found = self.content if key is None else self.content.get(key) if isinstance(self.content, Mapping) else None
        if isinstance(found, list):
            return found
        where = "" if key is None else f" under {key!r}"
        what = f"{_kind(self.content)} without a list{where}"
        raise HttpError(
            f"{self.place}: answered {self.status} with {what}: check the address and the kind of the source",
            reason=Reason.CONTENT, status=self.status, place=self.place, said=what, content=what,
        )  # fmt: skip


def _kind(content: Any) -> str:
    return "an object" if isinstance(content, Mapping) else "a list" if isinstance(content, list) else "nothing"
