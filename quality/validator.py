"""The validator's server: `python -m quality.validator SOCKET`.

Great Expectations takes 5 s and 200 MB to import, and an expectation of the user's may hang or kill its process. So one
process imports it once, and forks a child for each client: what happens there hits that client alone. It listens on a
Unix socket in a folder of the user's own, never on a network, and ends when nobody has been connected for LINGER.
"""

import ctypes
import faulthandler
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import bson

from quality.findings import Rule
from quality.wire import address, answer, decode, receive, send

LINGER: Final = float(os.environ.get("TOUCHSTONE_VALIDATOR_LINGER", "2"))
"""Seconds without a client. More where many commands follow each other: each that judges pays for a start otherwise."""
PATIENCE: Final = 60.0  # seconds for the first client, which may still be importing
_GRACE: Final = 0.5  # seconds that a child has to notice that its client is gone
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


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
