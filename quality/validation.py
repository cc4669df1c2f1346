"""The pipeline's side of the validator: tables go out, judgements come back. Never imports Great Expectations.

The server (`quality.validator`) is started on demand, shared by all processes of a user that run the same code, and
ends by itself. A rule that hangs or kills it is named, and harms no other rule and no other process.

Longer than most: what is said where nothing is asked must not need the engine, so the words are here too.
"""

import atexit
import hashlib
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from quality.findings import Judgement, Rule
from quality.validator import PATH_LIMIT, SOCKET, address, encode, read_answer, receive, send

Columns = Mapping[str, Sequence[Any]]

NO_ROWS: Final = "no rows"
_LIMIT: Final = 300  # characters of an error or a text, which end up in a message
_BITS: Final = 256  # of an integer that is written out; Python refuses from some 14,000 on
_START: Final = 120.0  # seconds for a server to import all: 5, or 12 on a busy machine
_ATTEMPTS: Final = 3  # a server may just be leaving, or be killed, before it begins
_SOURCES: Final = ("engine.py", "findings.py", "validation.py", "validator.py")


class ValidatorError(RuntimeError):
    """The validator cannot be used at all; the message says what to do."""


class RuleError(Exception):
    """The rule cannot be carried out as it is declared; the message says what to do."""


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
                f"the validator does not start: {short(done.stderr.decode(errors='replace')[-_LIMIT:])}"
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


@cache
def shared() -> Validator:
    """The validator of this process; a fork gets a connection of its own."""
    validator = Validator()
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
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]


# --- What is said without judging ------------------------------------------------------------------------------------


def count_rows(columns: Columns) -> int:
    """How many rows the table has; raises ValueError if its columns differ."""
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns of {sorted(lengths)} rows are not one table")
    return max(lengths, default=0)


def unjudged(rules: Sequence[Rule], parameters: Mapping[str, Any]) -> list[Judgement]:
    """What is said where there is no row: nothing breaks a rule, which `observed` tells from a pass."""
    return [Judgement(rule.name, passed=True, expected=expected(rule, parameters), observed=NO_ROWS) for rule in rules]


def put_in(value: Any, parameters: Mapping[str, Any]) -> Any:
    """`value` with what the run knows in place of each {"$PARAMETER": name}; raises RuleError if it knows no such."""
    if isinstance(value, Mapping):
        if set(value) == {"$PARAMETER"}:
            if value["$PARAMETER"] not in parameters:
                known = ", ".join(sorted(parameters)) or "none"
                raise RuleError(f"there is no parameter {value['$PARAMETER']!r}; there are: {known}")
            return parameters[value["$PARAMETER"]]
        return {key: put_in(one, parameters) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [put_in(one, parameters) for one in value]
    return value


_PAIR: Final = "expect_column_pair_values_a_to_be_greater_than_b"
_BETWEEN: Final = re.compile(r"expect_(?:column_|table_)?(?:values?_)?(.*?)_?to_be_between")
_FIXED: Final[Mapping[str, str]] = {
    "expect_column_values_to_not_be_null": "not null",
    "expect_column_values_to_be_null": "null",
    "expect_column_values_to_be_unique": "unique",
    "expect_column_pair_values_to_be_equal": "{column_A} = {column_B}",
    "expect_compound_columns_to_be_unique": "unique together: {column_list}",
    "expect_column_values_to_match_regex": "match {regex}",
    "expect_column_values_to_not_match_regex": "do not match {regex}",
    "expect_column_values_to_be_in_set": "one of {value_set}",
    "expect_column_values_to_not_be_in_set": "none of {value_set}",
    "expect_column_values_to_be_of_type": "of type {type_}",
    "expect_column_values_to_be_in_type_list": "of type {type_list}",
    "expect_table_row_count_to_equal": "{value} rows",
}


def expected(rule: Rule, parameters: Mapping[str, Any]) -> str:
    """The expectation and its arguments in a few words: "a >= b", "between 0 and 1", "one of 'x', 'y'"."""
    try:
        arguments = put_in(rule.arguments, parameters)
    except RuleError:
        arguments = dict(rule.arguments)
    mostly = arguments.pop("mostly", 1)
    text = _words(rule.expectation, arguments)
    return short(text if mostly == 1 else f"{text}, for {words(mostly)} of all")


def _words(name: str, arguments: Mapping[str, Any]) -> str:
    said = {key: words(one, quoted=key == "value_set") for key, one in arguments.items()}
    if name == _PAIR and {"column_A", "column_B"} <= set(said):
        return f"{said['column_A']} {'>=' if arguments.get('or_equal') else '>'} {said['column_B']}"
    if (between := _BETWEEN.fullmatch(name)) and (bounds := _bounds(arguments, said)):
        return f"{between[1].replace('_', ' ')} {bounds}".strip()
    try:
        return _FIXED[name].format_map(said)
    except KeyError:
        values = ", ".join(f"{key}={one}" for key, one in said.items())
        return f"{name if '.' in name else name.replace('_', ' ')} ({values})"


def _bounds(arguments: Mapping[str, Any], said: Mapping[str, str]) -> str:
    low, high = (said[key] if arguments.get(key) is not None else None for key in ("min_value", "max_value"))
    over = "more than" if arguments.get("strict_min") else "at least"
    under = "less than" if arguments.get("strict_max") else "at most"
    if low is not None and high is not None and (over, under) == ("at least", "at most"):
        return f"between {low} and {high}"
    return " and ".join([f"{over} {low}"] * (low is not None) + [f"{under} {high}"] * (high is not None))


def words(value: Any, *, quoted: bool = False) -> str:
    """A value of any kind as short text."""
    if isinstance(value, list | tuple | set):
        return ", ".join(f"({words(one)})" if isinstance(one, list) else words(one, quoted=quoted) for one in value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"an integer of {value.bit_length():,} bits"
    return repr(value) if quoted and not isinstance(value, date) else str(value)


def short(text: str) -> str:
    """One line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _LIMIT else line[: _LIMIT - 1] + "…"
