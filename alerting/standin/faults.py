"""What can go wrong between us and Slack, to be told to the stand-in: each fault spoils one call."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

LOGIN_PAGE: Final = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>...</form></body></html>"


class End(StrEnum):
    """How the connection ends."""

    ANSWER = "answer"
    RESET = "reset"
    """A TCP reset instead of an answer."""
    CLOSE = "close"
    """Closed without a byte."""
    CUT = "cut"
    """Half of the answer, then closed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came in."""

    method: str
    """E.g. "chat.postMessage"; "webhook" and "upload" for what is no method."""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens instead of, or after, what was asked for."""

    done: bool = False
    """What was asked for is done all the same, so that only the answer is wrong."""
    delay: float = 0.0
    """Seconds before the answer."""
    end: End = End.ANSWER
    status: int | None = None
    """None: the right answer, if `done`."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    error: str = ""
    """Answer `ok: false` with this code."""


def limited(seconds: int = 1) -> Fault:
    """429 with Retry-After."""
    return Fault(status=429, headers=(("Retry-After", str(seconds)),), error="ratelimited")


def server_error(status: int = 503, *, done: bool = False) -> Fault:
    """5xx with a page; `done`: the message was posted all the same."""
    return Fault(done=done, status=status, body=b"upstream connect error")


def reset(*, done: bool = False) -> Fault:
    """The connection is reset, before or after the call was done."""
    return Fault(done=done, end=End.RESET)


def dropped() -> Fault:
    """The call is done, and the connection closed without an answer."""
    return Fault(done=True, end=End.CLOSE)


def cut() -> Fault:
    """The call is done, and the answer ends in its middle."""
    return Fault(done=True, end=End.CUT)


def slow(seconds: float, *, done: bool = True) -> Fault:
    """The answer takes so long; the call is done before."""
    return Fault(done=done, delay=seconds) if done else Fault(delay=seconds, end=End.CLOSE)


def login_page() -> Fault:
    """A page of somebody in between, with status 200."""
    return Fault(status=200, headers=(("Content-Type", "text/html"),), body=LOGIN_PAGE)


def refused(code: str) -> Fault:
    """`ok: false` with this code."""
    return Fault(status=200, error=code)


def redirected(to: str) -> Fault:
    """302 to another address."""
    return Fault(status=302, headers=(("Location", to),))
