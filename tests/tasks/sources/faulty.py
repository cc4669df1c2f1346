"""A HTTP server on loopback for a healthy API, that can go wrong in all the ways of `FAULTS`.

`with FaultyServer(app) as server:` serves `app(request)` until the block ends. `server.inject("404", path="/pulls")`
spoils the first question that fits; `server.heal()` ends all faults. All that was asked is in `server.requests`.
"""

import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeAlias

from tests.tasks.sources.exchanges import End, Fault, Part, Request, Response, Scene, Sent
from tests.tasks.sources.faults import FAULTS, LOGIN_PAGE

__all__ = ["FAULTS", "Fault", "FaultyServer", "Request", "Response"]

Answering: TypeAlias = Callable[[socket.socket, Request], bool]
"""Answers a request, and tells whether the connection may serve on."""

_RESET: Final = struct.pack("ii", 1, 0)
"""Of SO_LINGER: closing throws away what was not sent, and tells the other end so."""
_STALLED_FOR: Final = 30.0
_PIECE: Final = 2**16


@dataclass
class _Plan:
    """One fault that is waiting for its question."""

    fault: Fault
    method: str
    path: re.Pattern[str]
    nth: int
    times: int
    every: bool
    met: dict[tuple[str, str, bytes], Response] = field(default_factory=dict)
    """The questions that fit, in order, with their healthy answers."""
    spoilt: Counter[tuple[str, str, bytes]] = field(default_factory=Counter)

    def applies(self, request: Request, healthy: Response) -> bool:
        if self.method not in ("*", request.method) or not self.path.search(request.target):
            return False
        self.met.setdefault(request.key, healthy)
        number = list(self.met).index(request.key) + 1
        due = number >= self.nth if self.every else number == self.nth
        return due and (not self.fault.transient or self.spoilt[request.key] < self.times)


class FaultyServer:
    """Two addresses on loopback: one of the API, and one where no credential should ever go."""

    def __init__(self, app: Callable[[Request], Response], *, latency_seconds: float = 0.0) -> None:
        self.app, self.latency_seconds = app, latency_seconds
        self.requests: list[Request] = []
        """All that came to the API, spoilt or not, as it came."""
        self.strays: list[Request] = []
        """What came to the other address, headers and all."""
        self.applied: Counter[str] = Counter()
        """How often each fault was really met."""
        self.under_way = self.most_under_way = 0
        self.connections = self.most_connections = self.connections_made = 0
        self._plans: list[_Plan] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = self._listen(0)
        self._elsewhere = self._listen(0)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.elsewhere = f"http://127.0.0.1:{self._elsewhere.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._start(self._accept, self._listener, self._answer)
        self._start(self._accept, self._elsewhere, self._answer_stray)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        with self._lock:
            for one in (self._listener, self._elsewhere, *self._open):
                _shut(one)
        for thread in self._threads:
            thread.join(5)

    def inject(
        self, name: str, *, method: str = "*", path: str = "", nth: int = 1, times: int = 1, every: bool = False
    ) -> None:
        """Spoil the nth different question of `method` whose path and query fit the pattern `path`.

        A transient fault spoils its first `times` tries, a lasting one all of them. every: later questions too.
        """
        with self._lock:
            self._plans.append(_Plan(FAULTS[name], method, re.compile(path), nth, times, every))

    def heal(self) -> None:
        """No faults any more."""
        with self._lock:
            self._plans.clear()
            if self._listener.fileno() < 0:
                self._listener = self._listen(self.port)
                self._start(self._accept, self._listener, self._answer)

    def stop_listening(self) -> None:
        """Connections are refused, until `heal`."""
        with self._lock:
            _shut(self._listener)

    def hosts_with(self, name: str) -> set[str]:
        """Which addresses got a header of this name."""
        return {one.host for one in (*self.requests, *self.strays) if name.lower() in one.headers}

    def _listen(self, port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", port), backlog=128)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _accept(self, listener: socket.socket, answer: Answering) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
                self.connections += 1
                self.connections_made += 1
                self.most_connections = max(self.most_connections, self.connections)
            self._start(self._serve, connection, answer)

    def _serve(self, connection: socket.socket, answer: Answering) -> None:
        try:
            with connection.makefile("rb") as reader:
                for request in _requests(reader):
                    if not answer(connection, request):
                        break
        except (OSError, ValueError):
            pass  # the client is gone, or the server is being closed
        finally:
            with self._lock:
                self._open.discard(connection)
                self.connections -= 1
                connection.close()

    def _answer_stray(self, connection: socket.socket, request: Request) -> bool:
        with self._lock:
            self.strays.append(request)
        page = Response(200, {"Content-Type": "text/html"}, content=LOGIN_PAGE)
        connection.sendall(b"".join(Sent(page).pieces(datetime.now(UTC))))
        return True

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        """Answer, and whether the connection may serve on."""
        with self._lock:
            self.requests.append(request)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.latency_seconds:
                time.sleep(self.latency_seconds)
            sent = self._spoilt(request, self.app(request))
        finally:
            with self._lock:
                self.under_way -= 1
        if sent.deaf:
            self.stop_listening()
        return self._send(connection, sent)

    def _spoilt(self, request: Request, healthy: Response) -> Sent:
        now = datetime.now(UTC)
        with self._lock:
            for plan in self._plans:
                if not plan.applies(request, healthy):
                    continue
                before = list(plan.met.values())[: list(plan.met).index(request.key)]
                outcome = plan.fault.spoil(Scene(request, healthy, before, self.url, self.elsewhere, now))
                if outcome is not None:
                    plan.spoilt[request.key] += 1
                    self.applied[plan.fault.name] += 1
                    return outcome if isinstance(outcome, Sent) else Sent(outcome)
        return Sent(healthy)

    def _send(self, connection: socket.socket, sent: Sent) -> bool:
        connection.sendall(b"".join(sent.pieces(datetime.now(UTC))))
        if sent.endless:
            while not self._closing.is_set():
                connection.sendall(b"%x\r\n%b\r\n" % (_PIECE, b" " * _PIECE))
        stalled = sent.part is not None and sent.end is End.STALLED
        if stalled or (sent.length or 0) > len(sent.response.body):
            connection.settimeout(_STALLED_FOR)
            with suppress(OSError):
                connection.recv(1)  # until the client gives up
            return False
        if sent.part is not None and sent.end is End.RESET:
            if sent.part is not Part.NOTHING:
                time.sleep(0.02)  # so that what was sent is read before it is thrown away
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        whole = sent.part is None and sent.raw is None and sent.length is None
        return whole and sent.response.headers.get("Connection") != "close"


def _requests(reader: BinaryIO) -> Iterator[Request]:
    """As they come over one connection."""
    while line := reader.readline():
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = {}
        while (line := reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0)))
        yield Request(method, target, headers, body, headers.get("host", ""))


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
