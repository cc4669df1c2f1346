"""The pipeline's side of the validator: tables go out, judgements come back. Never imports Great Expectations.

The server (`quality.validator`) is started on demand, shared by all processes of a user that run the same code, and
ends by itself. A rule that hangs or kills it is named, and harms no other rule and no other process.
"""

import atexit
import hashlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from quality.findings import Judgement, Rule
from quality.wire import PATH_LIMIT, SOCKET, address, encode, read_answer, receive, send
from quality.wording import LIMIT, Columns, count_rows, expected, short, unjudged

_START: Final = 120.0  # seconds for a server to import all: 5, or 12 on a busy machine
_ATTEMPTS: Final = 3  # a server may just be leaving, or be killed, before it begins
_SOURCES: Final = ("engine", "expectations", "findings", "validation", "validator", "wire", "wording")


class ValidatorError(RuntimeError):
    """The validator cannot be used at all; the message says what to do."""


class _EndedError(Exception):
    """The validator ended before it answered."""


class Validator:
    """One process's connection to the server, made when it is needed. May be used after a fork, and from threads.

    folder: where the socket is; by default one for each version of the code and its environment.
    timeout: seconds for one answer.
    """

    def __init__(self, folder: Path | None = None, timeout: float = 600) -> None:
        self._folder = folder
        self._timeout = timeout
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._stream: socket.socket | None = None
        self._welcome = False
        """Whether the server has said on this connection that it is ready."""

    def warm(self) -> None:
        """Start the server if there is none, without waiting for its imports. Raises ValidatorError."""
        with self._mine():
            if not self._alive() and not self._connect():
                self._start()

    def judge(self, rules: Sequence[Rule], columns: Columns, parameters: Mapping[str, Any]) -> list[Judgement]:
        """As `engine.judge`, in another process. A rule that ends the validator or takes too long is broken.

        Raises ValidatorError if there is no validator to be had, and ValueError if the columns differ in length.
        """
        if not rules or not count_rows(columns):
            return unjudged(rules, parameters)
        with self._mine():
            try:
                return self._ask(rules, columns, parameters)
            except (_EndedError, TimeoutError):
                return self._one_by_one(rules, columns, parameters)

    def close(self) -> None:
        """Disconnect; the server ends by itself."""
        with self._mine():
            self._hang_up()

    def _one_by_one(self, rules: Sequence[Rule], columns: Columns, parameters: Mapping[str, Any]) -> list[Judgement]:
        """Find out which rules are guilty; the others are judged together if one needs what another sets aside."""
        found: dict[int, Judgement] = {}
        guilty = {}
        for at, rule in enumerate(rules):
            try:
                (found[at],) = self._ask([rule], columns, parameters)
            except _EndedError:
                guilty[at] = "the validator ended while judging"
            except TimeoutError:
                guilty[at] = f"took longer than {self._timeout:g} s"
        if len(found) > 1 and any(one.error is not None for one in found.values()):
            with suppress(_EndedError, TimeoutError):
                found = dict(zip(found, self._ask([rules[at] for at in found], columns, parameters), strict=True))
        for at, error in guilty.items():
            found[at] = Judgement(rules[at].name, passed=False, expected=expected(rules[at], parameters), error=error)
        return [found[at] for at in range(len(rules))]

    def _ask(self, rules: Sequence[Rule], columns: Columns, parameters: Mapping[str, Any]) -> list[Judgement]:
        request = encode(rules, columns, parameters)
        stream = self._ready()
        deadline = time.monotonic() + self._timeout
        reply = None
        try:
            stream.settimeout(self._timeout)
            with suppress(ConnectionError):
                send(stream, request)
                reply = receive(stream, deadline)
        finally:
            if reply is None:  # also where we were interrupted: what it says later answers nothing
                self._hang_up()
        if reply is None:
            raise _EndedError
        return read_answer(reply)

    def _ready(self) -> socket.socket:
        """A connection to a server that has imported all it needs."""
        for _ in range(_ATTEMPTS):
            if self._alive() and self._welcome and self._stream is not None:
                return self._stream
            if self._stream is None and not self._connect():
                self._start()
                self._connect()
            if self._stream is not None:
                with suppress(TimeoutError):
                    self._welcome = receive(self._stream, time.monotonic() + _START) is not None
                if self._welcome:
                    return self._stream
                self._hang_up()
        log = self._socket().with_name("log")
        said = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
        last = next((line for line in reversed(said) if line.strip()), "nothing in its log")
        raise ValidatorError(f"the validator does not start: {short(last)} ({log})")

    def _alive(self) -> bool:
        """Whether the connection is open and nothing unexpected was said; else it is closed."""
        if self._stream is None:
            return False
        self._stream.settimeout(0)
        try:
            alive = bool(self._stream.recv(1, socket.MSG_PEEK)) and not self._welcome
        except BlockingIOError:
            return True
        except OSError:
            alive = False
        if not alive:
            self._hang_up()
        return alive

    def _connect(self) -> bool:
        stream = socket.socket(socket.AF_UNIX)
        try:
            with address(self._socket()) as name:
                stream.connect(name)
        except (FileNotFoundError, ConnectionError, BlockingIOError):
            stream.close()
            return False
        except BaseException:
            stream.close()
            raise
        self._stream, self._welcome = stream, False
        return True

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._welcome = None, False

    def _start(self) -> None:
        """Start a server, which listens when this returns; if there is one already, the new one gives way."""
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # the server forks
        command = [sys.executable, "-P", "-W", "ignore", "-m", "quality.validator", str(self._socket())]
        done = subprocess.run(  # noqa: S603 - ourselves
            command,
            env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(_search())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise ValidatorError(
                f"the validator does not start: {short(done.stderr.decode(errors='replace')[-LIMIT:])}"
            )

    def _socket(self) -> Path:
        """Where the socket is; raises ValidatorError unless only we can get there."""
        folder = self._folder or Path(tempfile.gettempdir()) / f"touchstone-validator-{_version()}"
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link that somebody laid
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            raise ValidatorError(
                f"{folder} must be a folder of ours that nobody else may enter; remove it, or chmod 700"
            )
        path = folder / SOCKET
        if len(os.fsencode(path)) > PATH_LIMIT and not Path("/proc/self/fd").exists():
            raise ValidatorError(f"{path} is too long for a socket; set TMPDIR to a shorter folder")
        return path

    @contextmanager
    def _mine(self) -> Iterator[None]:
        """Ours, of this process and thread: what a fork has copied is the parent's conversation."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.RLock()
            self._hang_up()
        with self._lock:
            yield


def shared(timeout: float = 600.0) -> Validator:
    """The validator of this process for answers within `timeout` seconds; a fork gets a connection of its own."""
    return _shared(float(timeout))


@cache
def _shared(timeout: float) -> Validator:
    validator = Validator(timeout=timeout)
    atexit.register(validator.close)
    os.register_at_fork(after_in_child=validator.close)
    return validator


def _search() -> list[str]:
    """Where Python looks for modules here, absolute, so that a user's own expectations are found there too."""
    ours = Path(__file__).absolute().parents[1]
    return list(dict.fromkeys([*(str(Path(entry).absolute()) for entry in sys.path), str(ours)]))


@cache
def _version() -> str:
    """A digest of all that makes a server another one."""
    try:
        engine = metadata.version("great_expectations")
    except metadata.PackageNotFoundError:
        raise ValidatorError("great_expectations is not installed; pip install great-expectations") from None
    digest = hashlib.sha256(repr([os.geteuid(), sys.executable, engine, Path.cwd(), _search()]).encode())
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]
