"""How a failure is told: what was asked, what came, after how many tries, and what to do next."""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx2

from tasks.sources.http.answers import HttpError, Reason
from tasks.sources.http.secrecy import shown

_PLACE_LENGTH: Final = 200
_ADVICE: Final = {
    Reason.REFUSED: "renew the token, or grant it access",
    Reason.LIMITED: "run again after the limit's reset, or ask less often",
    Reason.GONE: "check the address, and what the token may see",
    Reason.BROKEN: "run again; if it stays, look at the server",
    Reason.TIMEOUT: "run again; if it stays, look at the network, or raise timeout_seconds",
    Reason.CONTENT: "check address and token",
    Reason.REDIRECTED: "configure the address that really answers",
    Reason.TOO_LARGE: "check the address, or ask for smaller pages",
    Reason.UNREACHABLE: "check address, network and proxy",
}
_NOT_UNDERSTOOD: Final = "check the address, and the kind and version of the server"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked."""

    method: str
    url: str = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    etag: str | None = None

    @property
    def place(self) -> str:
        """For a person: without the query and credentials, which are secret."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{self.method} {parts.scheme}://{host}{parts.path or '/'}"


@dataclass(frozen=True, slots=True)
class Failing:
    """A request that is under way, and may fail."""

    asked: Asked
    tries: int
    """This one included; 0 if it is not even made."""
    credential: Mapping[str, str] = field(default_factory=dict, repr=False)
    """To be hidden."""

    @property
    def place(self) -> str:
        """For a person."""
        return shown(self.asked.place, self.credential, _PLACE_LENGTH)

    def error(
        self, reason: Reason, said: str, *, status: int | None = None, content: bool = False,
        reset: datetime | None = None,
    ) -> HttpError:  # fmt: skip
        """The error to raise. said: what came, in few words; content: it is what a 200 held."""
        told = shown(said, self.credential)
        answered = f"answered {status}{' with ' if content else ': ' if told else ''}" if status else ""
        after = f" after {self.tries} tries" if self.tries > 1 else ""
        misunderstood = reason is Reason.BROKEN and status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR
        advice = _NOT_UNDERSTOOD if misunderstood else _ADVICE[reason]
        return HttpError(
            f"{self.place}: {answered}{told}{after}: {advice}",
            reason=reason, status=status, place=self.place, said=told, content=told if content else None, reset=reset,
        )  # fmt: skip


def transport_failure(error: Exception) -> tuple[Reason, str, bool]:
    """Reason, words, and whether to ask again. Its own text is not used: it may hold headers and addresses."""
    if isinstance(error, httpx2.TimeoutException):
        connecting = isinstance(error, httpx2.ConnectTimeout)
        return Reason.TIMEOUT, "no connection in time" if connecting else "no answer in time", True
    if _has_cause(error, ssl.SSLCertVerificationError):
        return Reason.UNREACHABLE, "its certificate is not trusted", False
    if isinstance(error, httpx2.ProxyError):
        return Reason.UNREACHABLE, "the proxy let nothing through", True
    if isinstance(error, httpx2.ConnectError):
        return Reason.UNREACHABLE, _why_unconnected(error), True
    if isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return Reason.BROKEN, "the request could not be written: a header or the address is malformed", False
    return Reason.BROKEN, "the connection broke off before the answer was whole", True


def _why_unconnected(error: BaseException) -> str:
    if _has_cause(error, ConnectionRefusedError):
        return "the connection was refused"
    if _has_cause(error, socket.gaierror):
        return "the name of the host is not known"
    return "no connection could be made"


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return False
        if isinstance(seen, kind):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
