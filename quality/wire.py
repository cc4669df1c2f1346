"""What travels between the validator's client and its server: tables and rules out, judgements back.

A message is its length and BSON documents: never a pickle, as what is read here must not be able to run. BSON knows no
large integers, no microseconds, no naive times and no NUL in a key, so what it cannot hold is packed. Both sides must
be of one version: `quality.validation` sees to that.
"""

import array
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError

from quality.findings import Judgement, Judges, Rule, Severity

SOCKET: Final = "socket"
PATH_LIMIT: Final = 100  # bytes of a socket's path: sun_path holds 108 on Linux, 104 on macOS

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
