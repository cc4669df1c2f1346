"""What the server of faults takes and gives: requests as they came, and answers with the way they end."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from enum import StrEnum
from functools import cached_property
from http import HTTPStatus
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes = b""
    host: str = ""
    """Which address was asked: "127.0.0.1:4711"."""

    @cached_property
    def path(self) -> str:
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @cached_property
    def json(self) -> Any:
        """The body, decoded; None if it is empty."""
        return json.loads(self.body) if self.body else None

    @property
    def key(self) -> tuple[str, str, bytes]:
        """The same for the same question."""
        return self.method, self.target, self.body


@dataclass(frozen=True)
class Response:
    """An answer: `json`, unless there are `content` bytes. A header that is None is left out."""

    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None

    @cached_property
    def body(self) -> bytes:
        return json.dumps(self.json).encode() if self.content is None else self.content

    def having(self, **headers: str | None) -> Self:
        """With further headers, whose names are written with underscores."""
        return replace(self, headers={**self.headers, **{name.replace("_", "-"): headers[name] for name in headers}})

    def holding(self, content: Any) -> Self:
        """With other JSON."""
        return replace(self, json=content, content=None)


class Part(StrEnum):
    """How much of an answer is sent before it ends as no answer should."""

    NOTHING = "nothing"
    HEAD = "head"
    """Half of the status line and headers."""
    BODY = "body"
    """The head and half of the body."""


class End(StrEnum):
    """How it ends then."""

    RESET = "reset"
    CLOSED = "closed"
    STALLED = "stalled"
    """The connection stays open, and nothing more comes."""


@dataclass(frozen=True)
class Sent:
    """What is sent, where it is not simply an answer."""

    response: Response
    part: Part | None = None
    """None: all of it."""
    end: End = End.CLOSED
    length: int | None = None
    """Told as Content-Length instead of the true one."""
    chunked: bool = False
    raw: bytes | None = None
    """All that is sent, whatever it is."""
    hints: bytes = b""
    """Sent before the answer."""
    endless: bool = False
    """The body never ends."""
    deaf: bool = False
    """Nobody listens from now on, until the fault is removed."""

    def head(self, now: datetime) -> bytes:
        length = str(len(self.response.body) if self.length is None else self.length)
        framed = {"Transfer-Encoding": "chunked"} if self.chunked or self.endless else {"Content-Length": length}
        if self.response.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            framed = {}
        usual = {"Date": format_datetime(now, usegmt=True), "Content-Type": "application/json", **framed}
        named = {name.lower(): (name, value) for name, value in (*usual.items(), *self.response.headers.items())}
        lines = [f"{name}: {value}" for name, value in named.values() if value is not None]
        return "\r\n".join([f"HTTP/1.1 {self.response.status} Told", *lines, "", ""]).encode("latin-1")

    def pieces(self, now: datetime) -> Sequence[bytes]:
        """What goes over the wire, head first."""
        if self.raw is not None:
            return (self.raw,)
        head, body = self.head(now), self.response.body
        if self.response.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            body = b""
        if self.endless:
            return (head,)
        if self.chunked and body:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        match self.part:
            case None:
                return self.hints, head, body
            case Part.NOTHING:
                return ()
            case Part.HEAD:
                return (head[: len(head) // 2],)
            case Part.BODY:
                return head, body[: max(len(body) // 2, 1)]


@dataclass(frozen=True)
class Scene:
    """Where a fault happens."""

    request: Request
    healthy: Response
    before: Sequence[Response]
    """The healthy answers to the questions before this one that the same fault was waiting for."""
    base: str
    elsewhere: str
    """The address of another server, which records what it is sent."""
    now: datetime


Outcome: TypeAlias = Response | Sent | None
"""None: the fault makes no sense here, e.g. an earlier page repeated on the first one."""


@dataclass(frozen=True)
class Fault:
    """One way to go wrong."""

    name: str
    spoil: Callable[[Scene], Outcome]
    transient: bool = False
    harmless: bool = False
    paging: bool = False
    """It is about the pages of a listing: of other questions it may change nothing."""
    needs_total: bool = False
    """Nobody can notice it but where the source tells how many there are, or its ids are contiguous."""
