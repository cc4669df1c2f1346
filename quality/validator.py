"""The validator's server: `python -m quality.validator SOCKET`, and the wire that its clients speak.

Great Expectations takes 5 s and 200 MB to import, and an expectation of the user's may hang or kill its process. So one
process imports it once, and forks a child for each client: what happens there hits that client alone. It listens on a
Unix socket in a folder of the user's own, never on a network, and ends when nobody has been connected for LINGER.

A message is its length and BSON documents: never a pickle, as what is read here must not be able to run. Longer than
most, as it is two things that change together: the wire and the server, which a client must find of one version.
"""

import array
import ctypes
import faulthandler
import fcntl
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError

from quality.findings import Judgement, Judges, Rule, Severity

SOCKET: Final = "socket"
LINGER: Final = 2.0  # seconds without a client; two commands in a row find it warm
PATIENCE: Final = 60.0  # seconds for the first client, which may still be importing
_GRACE: Final = 0.5  # seconds that a child has to notice that its client is gone
PATH_LIMIT: Final = 100  # bytes of a socket's path: sun_path holds 108 on Linux, 104 on macOS
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

# --- The wire --------------------------------------------------------------------------------------------------------

_LENGTH: Final = struct.Struct("<Q")
_TAGS: Final = ("$int", "$time", "$date", "$dict")
_INT64: Final = 2**63
_UTC_AWARE: Final[CodecOptions[dict[str, Any]]] = CodecOptions(tz_aware=True, tzinfo=UTC)
_SIMPLE: Final = frozenset({int, float, str, bool, bytes})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_TICKS: Final = range(
    (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _TICK, (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _TICK + 1
)
"""Times that exist in UTC; a zone has a few hours more at either end."""


def send(stream: socket.socket, documents: Sequence[bytes]) -> None:
    """One message."""
    stream.sendall(_LENGTH.pack(sum(map(len, documents))))
    for document in documents:
        stream.sendall(document)


def receive(stream: socket.socket, deadline: float | None = None) -> list[dict[str, Any]] | None:
    """The documents of one message; None where the other side has ended. Raises TimeoutError past `deadline`."""
    head = _exactly(stream, _LENGTH.size, deadline)
    body = None if head is None else _exactly(stream, _LENGTH.unpack(head)[0], deadline)
    return None if body is None else bson.decode_all(body, _UTC_AWARE)


def _exactly(stream: socket.socket, size: int, deadline: float | None) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        if deadline is not None:
            stream.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            count = stream.recv_into(view)
        except ConnectionError:
            return None
        if not count:
            return None
        view = view[count:]
    return data


def encode(rules: Sequence[Rule], columns: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]) -> list[bytes]:
    """A request: what is asked, then a document for each column, as names may hold what no key may."""
    head = {"rules": pack([rule.document() for rule in rules]), "parameters": pack(dict(parameters))}
    return [bson.encode(head), *(_column(name, values) for name, values in columns.items())]


def _column(name: str, values: Sequence[Any]) -> bytes:
    document = {"name": pack(name), "form": "plain", "values": list(values)}
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= _SIMPLE:
        with suppress(OverflowError, UnicodeError, BSONError):
            return bson.encode(document)
    if kinds == {datetime} and all(one is None or one.tzinfo is not None for one in values):
        ticks = [None if one is None else (one - _EPOCH) // _TICK for one in values]
        if all(one is None or one in _TICKS for one in ticks):
            return bson.encode(document | {"form": "times", "values": ticks})
    return bson.encode(document | {"form": "packed", "values": pack(list(values))})


def _values(form: str, values: list[Any]) -> list[Any]:
    if form == "times":
        return [None if one is None else _EPOCH + one * _TICK for one in values]
    return values if form == "plain" else [unpack(one) for one in values]


def decode(documents: Sequence[Mapping[str, Any]]) -> tuple[list[Rule], dict[str, list[Any]], dict[str, Any]]:
    """What `encode` took."""
    head, *columns = documents
    rules = [
        Rule(
            **one
            | {"judges": Judges(one["judges"]), "severity": Severity(one["severity"]), "columns": tuple(one["columns"])}
        )
        for one in unpack(head["rules"])
    ]
    table = {unpack(one["name"]): _values(one["form"], one["values"]) for one in columns}
    return rules, table, unpack(head["parameters"])


def pack(value: Any) -> Any:
    """`value` as BSON can hold it, to be restored by `unpack`; what is of no such kind becomes text."""
    match value:
        case None | bool() | float() | bytes():
            return value
        case str():
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        case int():
            return int(value) if -_INT64 <= value < _INT64 else {"$int": hex(value)}
        case datetime():
            exact = value.utcoffset() == timedelta(0) and value.microsecond % 1000 == 0  # BSON: UTC, milliseconds
            return value if exact else {"$time": value.isoformat()}
        case date():
            return {"$date": value.isoformat()}
        case Mapping():
            if all(isinstance(key, str) and key.isprintable() for key in value) and not set(value) & set(_TAGS):
                return {key: pack(one) for key, one in value.items()}
            return {"$dict": [[pack(key), pack(one)] for key, one in value.items()]}
        case list() | tuple() | set() | frozenset():
            return [pack(one) for one in value]
    try:
        bson.encode({"value": value})
    except (BSONError, OverflowError, UnicodeError, TypeError, ValueError):
        return pack(str(value))
    return value


def unpack(value: Any) -> Any:
    """What `pack` took; a tuple or a set has become a list."""
    if isinstance(value, list):
        return [unpack(one) for one in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$int": text}:
            return int(text, 16)
        case {"$time": text}:
            return datetime.fromisoformat(text)
        case {"$date": text}:
            return date.fromisoformat(text)
        case {"$dict": items}:
            return {_key(unpack(key)): unpack(one) for key, one in items}
    return {key: unpack(one) for key, one in value.items()}


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


def answer(judgements: Sequence[Judgement]) -> list[bytes]:
    """A reply; positions travel as an array of 64-bit integers."""
    documents = [
        {
            "rule": pack(one.rule),
            "passed": one.passed,
            "unexpected": array.array("q", one.unexpected).tobytes(),
            "expected": pack(one.expected),
            "observed": pack(one.observed),
            "error": pack(one.error),
        }
        for one in judgements
    ]
    return [bson.encode({"judgements": documents})]


def read_answer(documents: Sequence[Mapping[str, Any]]) -> list[Judgement]:
    """What `answer` took."""
    return [
        Judgement(**one | {"unexpected": array.array("q", one["unexpected"])}) for one in documents[0]["judgements"]
    ]


@contextmanager
def address(path: Path) -> Iterator[str]:
    """How to name the socket at `path` to the kernel, however long that is. Raises OSError if it cannot be named."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


# --- The server ------------------------------------------------------------------------------------------------------


class _Server:
    """Listens, forks a child for each client, and ends when it is no longer needed."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self.listener = listener
        self.children: dict[int, socket.socket | None] = {}
        """Child's process id -> its client, of which a copy is kept to see it go; None once it has gone."""
        self.doomed: dict[int, float] = {}
        """Child's process id -> when it is killed, as its client has gone and it has not noticed."""
        self.ends = time.monotonic() + PATIENCE
        self.wake, waker = socket.socketpair()
        for end in (self.wake, waker, listener):
            end.settimeout(0)
        self.waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, _terminate)

    def run(self) -> None:
        """Until nobody has been connected for a while. SIGTERM raises SystemExit."""
        try:
            while self.children or time.monotonic() < self.ends or not self._leave():
                self._wait()
                self._reap()
        finally:
            for child in self.children:
                _kill(child)

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        clients = {client.fileno(): child for child, client in self.children.items() if client is not None}
        for number in clients:
            poll.register(number, 0)  # POLLHUP is always told; what a client says is for its child to read
        until = min([*self.doomed.values(), *([] if self.children else [self.ends])], default=None)
        for number, _ in poll.poll(None if until is None else max(until - time.monotonic(), 0) * 1000 + 1):
            if number == self.listener.fileno():
                self._fork(self._next())
            elif number == self.wake.fileno():
                with suppress(BlockingIOError):
                    self.wake.recv(4096)
            else:
                self._forget(clients[number])
                self.doomed[clients[number]] = time.monotonic() + _GRACE
        for child in [child for child, when in self.doomed.items() if when <= time.monotonic()]:
            del self.doomed[child]
            _kill(child)

    def _next(self) -> socket.socket | None:
        try:
            return self.listener.accept()[0]
        except (BlockingIOError, ConnectionError):
            return None

    def _fork(self, client: socket.socket | None) -> None:
        if client is not None:
            client.settimeout(None)
            child = os.fork()
            if not child:
                self._become_child(client)
            self.children[child] = client

    def _become_child(self, client: socket.socket) -> None:
        """Serve one client, and end."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for one in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(one, signal.SIG_DFL)
            server = os.getppid()
            os.setpgid(0, 0)  # what an expectation starts is killed with it
            _die_with_parent(server)
            for end in (self.listener, self.wake, self.waker, *filter(None, self.children.values())):
                end.close()
            _serve(client)
            code = 0
        except BaseException:  # noqa: BLE001 - a child must never go on as the server; the client sees that it ended
            traceback.print_exc(file=_log)
        finally:
            os._exit(code)

    def _forget(self, child: int) -> None:
        client = self.children.get(child)
        if client is not None:
            client.close()
            self.children[child] = None

    def _reap(self) -> None:
        while self.children:
            child, _ = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            self._forget(child)
            self.children.pop(child, None)
            self.doomed.pop(child, None)
            self.ends = time.monotonic() + LINGER

    def _leave(self) -> bool:
        """Whether nobody came at the last moment; then the socket is gone, and the next one starts a new server."""
        with _locked(self.path.parent):
            client = self._next()
            if client is None:
                with suppress(FileNotFoundError):
                    self.path.unlink()
                self.listener.close()
        self._fork(client)  # not before the lock is free: a child would keep it
        return client is None


def _serve(client: socket.socket) -> None:
    from quality import engine  # noqa: PLC0415 - imported by now, in the parent

    with suppress(ConnectionError):  # a client need not wait for its answer
        send(client, [bson.encode({"ready": True})])
        while (documents := receive(client)) is not None:
            send(client, answer(engine.judge(*decode(documents))))


_log: IO[str] | None = None


def main(arguments: Sequence[str]) -> int:
    """Listen, and serve as a daemon. When this returns a server is listening: this one, or one that was there."""
    path = Path(arguments[0])
    listener = _bind(path)
    if listener is None or os.fork():
        return 0
    os.setsid()
    if os.fork():
        os._exit(0)
    global _log  # noqa: PLW0603 - the log of this process
    _log = _detach(path.with_name("log"))
    code = 1
    try:
        faulthandler.enable(_log)
        _import()
        _Server(path, listener).run()
        code = 0
    except SystemExit:
        code = 0
    except BaseException:  # noqa: BLE001 - there is nobody to raise it to
        traceback.print_exc(file=_log)
    finally:
        _log.flush()
        os._exit(code)


def _detach(log: Path) -> IO[str]:
    """Stdio goes nowhere: who started the server may be waiting for the end of its output. Returns the new log."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.umask(0o077)
    return log.open("w", encoding="utf-8")


def _bind(path: Path) -> socket.socket | None:
    """The listening socket; None where another server has it. What a server that was killed left behind is replaced."""
    with _locked(path.parent), address(path) as name:
        with socket.socket(socket.AF_UNIX) as other:
            try:
                other.connect(name)
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            else:
                return None
        with suppress(FileNotFoundError):
            path.unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen(128)
        return listener


def _import() -> None:
    """Import all that judging needs, and judge once, so that no child has to."""
    from quality import engine  # noqa: PLC0415

    rule = Rule("start", "expect_column_values_to_not_be_null", {"column": "value"})
    (found,) = engine.judge([rule], {"value": [1]}, {})
    if found.error is not None:
        raise RuntimeError(found.error)
    gc.collect()
    gc.freeze()  # else the collector of each child would touch, and so copy, all pages


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _die_with_parent(server: int) -> None:
    """A child that hangs must not outlive a server that was killed. Elsewhere than on Linux it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)


def _kill(child: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not have made its group yet
        with suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def _terminate(*_: object) -> None:
    raise SystemExit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
